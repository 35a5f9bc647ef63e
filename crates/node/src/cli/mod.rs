//! The command line: one file a command.

mod audit;
mod backup;
mod config;
mod configured;
mod publish;
mod serve;
mod state;
mod terminal;
mod timeline;
mod token;
mod trace;
mod watch;

use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::ConfigError;

/// Live video from any encoder to any viewer, in one program.
#[derive(Debug, Parser)]
#[command(name = "airwave", version, after_help = AFTER_HELP)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Begin with:
  airwave serve                     prints where to watch, and what to paste into OBS
  airwave serve --demo              the same with something to see
  airwave COMMAND --help            each command's help has examples

Exit codes: 0 stopped as asked, 1 failed while running, 2 wrong arguments or configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::Serve),
    /// Send a file or a pipe to a server, paced in real time
    Publish(publish::Publish),
    /// Watch a broadcast in numbers: tracks, bitrates, latency, gaps; and record it
    Watch(watch::Watch),
    /// Follow one frame from the encoder to each viewer, or read the log of a MoQ session
    Trace(trace::Trace),
    /// Write a sample configuration, show the one in effect, or check it
    Config(config::Arguments),
    /// Print the API token of a data directory; make, list and revoke others
    Token(token::Token),
    /// List who changed what
    Audit(audit::Audit),
    /// Copy a data directory, while a server uses it or not
    Backup(backup::Backup),
    /// Make a data directory of a backup
    Restore(backup::Restore),
    /// Print the version
    Version,
}

/// Wrong arguments or configuration.
const WRONG: u8 = 2;

/// Runs the program.
pub fn run(arguments: Arguments) -> ExitCode {
    match arguments.command {
        Command::Serve(serve) => serve.run(),
        Command::Publish(publish) => publish.run(),
        Command::Watch(watch) => watch.run(),
        Command::Trace(trace) => trace.run(),
        Command::Config(config) => config.run(),
        Command::Token(token) => token.run(),
        Command::Audit(audit) => audit.run(),
        Command::Backup(backup) => backup.run(),
        Command::Restore(restore) => restore.run(),
        Command::Version => say(&format!("airwave {}\n", env!("CARGO_PKG_VERSION"))),
    }
}

fn say(text: &str) -> ExitCode {
    match stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn failed(problem: &str) -> ExitCode {
    let _ = writeln!(stderr(), "airwave: {problem}");
    ExitCode::FAILURE
}

/// Arguments that clap can't know to be wrong.
fn misused(problem: &str) -> ExitCode {
    let _ = writeln!(stderr(), "airwave: {problem}");
    ExitCode::from(WRONG)
}

fn wrong(errors: &[ConfigError]) -> ExitCode {
    for error in errors {
        let _ = writeln!(stderr(), "airwave: configuration: {error}");
    }
    ExitCode::from(WRONG)
}

/// Until somebody asks the program to end.
async fn stop_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted,
    }
}
