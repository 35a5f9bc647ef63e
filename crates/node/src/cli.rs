//! The command line.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::banner::Banner;
use crate::config::{Config, ConfigError, Layer, load};
use crate::node::{Node, Options};

/// Live video from any encoder to any viewer, in one program.
#[derive(Debug, Parser)]
#[command(name = "airwave", version, after_help = "Start with: airwave serve --demo=clip.mp4")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(Serve),
    /// Print the API token of a data directory
    Token(Configured),
    /// Print the version
    Version,
}

#[derive(Debug, Args)]
struct Configured {
    /// The configuration, a TOML file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data directory; the same as --set data.dir=DIR
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// One key of the configuration, as in --set http.listen=127.0.0.1:8080
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Args)]
struct Serve {
    #[command(flatten)]
    configured: Configured,
    /// Publish this MP4 (H.264 and AAC) to the server itself, again and again
    #[arg(long, value_name = "FILE")]
    demo: Option<PathBuf>,
    /// Write this file once everything listens: JSON with all addresses
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// Wrong arguments or configuration.
const WRONG: u8 = 2;

/// Runs the program.
pub fn run(arguments: Arguments) -> ExitCode {
    match arguments.command {
        Command::Version => say(&format!("airwave {}\n", env!("CARGO_PKG_VERSION"))),
        Command::Token(configured) => token(&configured),
        Command::Serve(serve) => self::serve(serve),
    }
}

fn token(configured: &Configured) -> ExitCode {
    let config = match configured.load() {
        Ok(config) => config,
        Err(errors) => return wrong(&errors),
    };
    let path = config.data.dir.join(crate::node::API_TOKEN);
    match std::fs::read_to_string(&path) {
        Ok(token) => say(&format!("{}\n", token.trim())),
        Err(error) => {
            let path = path.display();
            failed(&format!("can't read {path}: {error}\nThe first `airwave serve` makes it."))
        }
    }
}

fn serve(serve: Serve) -> ExitCode {
    let config = match serve.configured.load() {
        Ok(config) => config,
        Err(errors) => return wrong(&errors),
    };
    crate::logging::start(&config.log);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("can't start: {error}")),
    };
    let options = Options { demo: serve.demo, ready_file: serve.ready_file };
    runtime.block_on(async {
        let (node, banner) = match Node::start(config, options).await {
            Ok(started) => started,
            Err(error) => return failed(&format!("{error:#}")),
        };
        greet(&banner);
        let outcome = tokio::select! {
            () = stop_signal() => None,
            failure = node.failed() => Some(failure),
        };
        // A second signal does not wait for anything.
        tokio::select! {
            () = node.stop() => {}
            () = stop_signal() => {}
        }
        match outcome {
            None => ExitCode::SUCCESS,
            Some(failure) => failed(&failure),
        }
    })
}

impl Configured {
    fn load(&self) -> Result<Config, Vec<ConfigError>> {
        let mut layers = Vec::new();
        let mut errors = Vec::new();
        let mut add = |layer: Result<Layer, ConfigError>| match layer {
            Ok(layer) => layers.push(layer),
            Err(error) => errors.push(error),
        };
        if let Some(path) = &self.config {
            let name = path.display().to_string();
            match std::fs::read_to_string(path) {
                Ok(text) => add(Layer::text(&name, &text)),
                Err(error) => add(Err(ConfigError {
                    key: String::new(),
                    problem: format!("can't read the file: {error}"),
                    from: name,
                })),
            }
        }
        add(Layer::environment(std::env::vars()));
        if let Some(dir) = &self.data {
            add(Layer::data_dir(dir));
        }
        for setting in &self.set {
            add(Layer::setting(setting));
        }
        match load(&layers) {
            Ok(config) if errors.is_empty() => Ok(config),
            Ok(_) => Err(errors),
            Err(more) => Err(errors.into_iter().chain(more).collect()),
        }
    }
}

/// On a terminal only: it shows a stream key.
fn greet(banner: &Banner) {
    if stdout().is_terminal() {
        let _ = stdout().write_all(banner.text().as_bytes());
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

fn wrong(errors: &[ConfigError]) -> ExitCode {
    for error in errors {
        let _ = writeln!(stderr(), "airwave: configuration: {error}");
    }
    ExitCode::from(WRONG)
}

async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    let mut hangup = signal(SignalKind::hangup()).ok();
    loop {
        let hung_up = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => return,
            _ = tokio::signal::ctrl_c() => return,
            _ = hung_up => {
                tracing::warn!("SIGHUP: no key can be changed while running; restart to apply changes");
            }
        }
    }
}
