//! `airwave config init | print | check`

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::configured::Configured;
use super::{failed, say, wrong};
use crate::config::{Loaded, SAMPLE};

const EXAMPLES: &str = "\
Examples:
  airwave config init airwave.toml              every key, explained, with its default
  airwave config check --config airwave.toml    every mistake at once; exit code 2 if there is one
  airwave config print --config airwave.toml    what is in effect, and where each value came from";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a sample configuration with every key explained
    Init {
        /// The file to write, which must not exist; without it the sample is printed
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Print the merged configuration, and where each value came from; secrets are masked
    Print(Configured),
    /// Say everything that is wrong at once, with its key
    Check(Configured),
}

impl Arguments {
    pub(super) fn run(&self) -> ExitCode {
        match &self.command {
            Command::Init { file: None } => say(SAMPLE),
            Command::Init { file: Some(file) } => init(file),
            Command::Print(configured) => match configured.load() {
                Ok(loaded) => say(&loaded.print()),
                Err(errors) => wrong(&errors),
            },
            Command::Check(configured) => check(configured),
        }
    }
}

fn init(file: &PathBuf) -> ExitCode {
    let name = file.display();
    let made = OpenOptions::new().write(true).create_new(true).open(file);
    match made.and_then(|mut made| made.write_all(SAMPLE.as_bytes())) {
        Ok(()) => say(&format!(
            "{name} has every key with its default.\nStart with: airwave serve --config {name}\n"
        )),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            failed(&format!("{name} is there already; it was left as it is"))
        }
        Err(error) => failed(&format!("can't write {name}: {error}")),
    }
}

fn check(configured: &Configured) -> ExitCode {
    match configured.load().and_then(Loaded::with_its_files) {
        Ok(_) => say("the configuration is good\n"),
        Err(errors) => wrong(&errors),
    }
}
