//! `airwave serve`

use std::io::{IsTerminal, Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::configured::Configured;
use super::{failed, misused, wrong};
use crate::banner::Banner;
use crate::config::Loaded;
use crate::demo;
use crate::logging::LogLevel;
use crate::node::{Node, Options};
use crate::reload::Holds;

const EXAMPLES: &str = "\
Examples:
  airwave serve                                    HTTP 8080, HTTPS 8443, RTMP 1935, RTMPS 1936
  airwave serve --demo                             with a broadcast to look at
  airwave serve --domain live.example.org          HTTPS with a real certificate, on ports 80 and 443 too
  airwave serve --config /etc/airwave.toml --data /var/lib/airwave
  airwave serve --set http.listen=127.0.0.1:9000 --set rtmps.listen=off

SIGTERM and Ctrl-C end broadcasts in good order (10 s at most; a second one does not wait).
--domain asks Let's Encrypt, whose terms you agree to. The name must lead to this machine in the DNS, and its
ports 80 and 443 must be open to the world. --set acme.directory=staging tries it without using up anything.

SIGHUP reads the configuration and the certificate again and says what needs a restart; a terminal that
goes away ends the server.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Serve {
    #[command(flatten)]
    configured: Configured,
    /// Publish a clip to itself: an MP4 or FLV, or the one that came along
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    demo: Option<Option<PathBuf>>,
    /// Write this file once everything listens: JSON with all addresses
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

impl Serve {
    pub(super) fn run(self) -> ExitCode {
        let loaded = match self.configured.load().and_then(Loaded::with_its_files) {
            Ok(loaded) => loaded,
            Err(errors) => return wrong(&errors),
        };
        let demo = match self.demo {
            None => None,
            Some(Some(file)) => Some(file),
            Some(None) => match demo::installed_clip() {
                Ok(file) => Some(file),
                Err(words) => return misused(&words),
            },
        };
        if demo.is_some() && loaded.config.rtmp.listen.0.is_none() {
            return misused(
                "--demo is published over RTMP, and rtmp.listen is off: leave one of them out",
            );
        }
        let log = crate::logging::start(&loaded.config.log);
        // Keys and tokens are in memory: what is left of a crash is its words, not its memory.
        if let Err(error) = without_core_dumps() {
            tracing::warn!(%error, "core dumps can't be switched off");
        }
        crate::descriptors::raise();
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return failed(&format!("can't start: {error}")),
        };
        let options = Options { demo, ready_file: self.ready_file };
        runtime.block_on(serve(&self.configured, loaded, options, &log))
    }
}

fn without_core_dumps() -> rustix::io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
}

async fn serve(
    configured: &Configured,
    loaded: Loaded,
    options: Options,
    log: &LogLevel,
) -> ExitCode {
    // Before anything listens: a signal that comes early must not end the program in its own way.
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return failed(&format!("can't start: {error}")),
    };
    let (node, banner) = match Node::start(loaded.config.clone(), options).await {
        Ok(started) => started,
        Err(error) => return failed(&format!("{error:#}")),
    };
    greet(&banner, &node);
    let mut holds = Holds { started: loaded.clone(), now: loaded };
    let outcome = loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Stop => break None,
                Asked::Reload => reload(configured, &mut holds, &node, log),
            },
            failure = node.failed() => break Some(failure),
        }
    };
    tracing::info!("stopping");
    // A second signal does not wait for anything.
    tokio::select! {
        () = node.stop() => {}
        () = signals.stop() => {}
    }
    match outcome {
        None => ExitCode::SUCCESS,
        Some(failure) => failed(&failure),
    }
}

/// Takes a new configuration, as a whole or not at all.
fn reload(configured: &Configured, holds: &mut Holds, node: &Node, log: &LogLevel) {
    let new = match configured.load().and_then(Loaded::with_its_files) {
        Ok(new) => new,
        Err(errors) => {
            for error in errors {
                tracing::error!(%error, "SIGHUP: wrong configuration; nothing was changed");
            }
            return;
        }
    };
    match node.reload(holds, &new) {
        Ok(report) => {
            log.set(&new.config.log.level);
            let list =
                |keys: &[String]| if keys.is_empty() { "none".into() } else { keys.join(", ") };
            tracing::info!(changed = list(&report.changed), "SIGHUP: configuration reloaded");
            if !report.restart.is_empty() {
                tracing::warn!(keys = list(&report.restart), "SIGHUP: these need a restart");
            }
            holds.now = new;
        }
        Err(error) => {
            let error = format!("{error:#}");
            tracing::error!(error, "SIGHUP: wrong configuration; nothing was changed");
        }
    }
}

/// The banner on a terminal only: it shows a stream key. Elsewhere the log says what listens where.
fn greet(banner: &Banner, node: &Node) {
    if stdout().is_terminal() {
        let _ = stdout().write_all(banner.text().as_bytes());
    } else {
        tracing::info!(version = banner.version, "Airwave serves {}", node.addresses().listeners());
    }
}

struct Signals {
    /// A terminal that goes away sends SIGHUP too, and means something else.
    on_terminal: bool,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

enum Asked {
    Stop,
    Reload,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            on_terminal: stdout().is_terminal(),
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => match self.on_terminal && !stdout().is_terminal() {
                true => Asked::Stop,
                false => Asked::Reload,
            },
        }
    }

    async fn stop(&mut self) {
        while let Asked::Reload = self.next().await {}
    }
}
