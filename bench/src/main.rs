//! What Airwave costs, beside its peers. `make bench` runs all of it; README.md says how to read it.

#![forbid(unsafe_code)]

mod airwave;
mod anchor;
mod client;
mod host;
mod load_http;
mod load_moq;
mod load_parked;
mod load_rtmp;
mod measure;
mod peer;
mod report;
mod ring;
mod stats;
mod wire;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};

use crate::peer::Peers;
use crate::report::Results;

/// Measures Airwave beside its peers
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    #[command(subcommand)]
    measure: Measure,
    /// The server: a release build
    #[arg(long, global = true, default_value = "target/release/airwave")]
    program: PathBuf,
    /// The folder that scripts/nginx.sh has filled
    #[arg(long, global = true, default_value = ".cache/nginx")]
    nginx: PathBuf,
    /// The program of SRS, if there is one
    #[arg(long, global = true)]
    srs: Option<PathBuf>,
    /// The folder that scripts/moq-relays.sh has filled
    #[arg(long, global = true, default_value = ".cache/moq-relays")]
    relays: PathBuf,
    /// Where clips are kept
    #[arg(long, global = true, default_value = ".cache/bench")]
    clips: PathBuf,
    /// Where the lines of JSON go
    #[arg(long, global = true, default_value = "bench/results")]
    results: PathBuf,
    /// Fewer and shorter runs: shows that everything works, and roughly where the figures are
    #[arg(long, global = true)]
    quick: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
enum Measure {
    /// Makes the clips, so that nothing is encoded while something is measured
    Clips,
    /// I1: CPU of a stream, beside nginx-rtmp and SRS
    Ingest,
    /// I6: 200 streams on one core
    Hold,
    /// I5: bytes in to object visible, inside of one process
    Visible,
    /// C5: what recording adds
    Recording,
    /// H1, H2, H3: segments, parts and playlists over HTTPS, beside nginx
    Delivery,
    /// H4, H5, H6: ten thousand who wait for a playlist over TLS, beside nginx with nchan
    Parked,
    /// What ten thousand cost who wait while an encoder says nothing
    Silence,
    /// R1 to R9: a MoQ relay beside other relays, and beside bare QUIC streams
    LoadMoq {
        /// Only this of it
        part: Option<measure::moq::Part>,
    },
    /// What the last one starts: bare QUIC streams, until its input ends
    #[command(hide = true)]
    Bare {
        /// Frames a second
        #[arg(long)]
        rate: u32,
        /// Bytes of each
        #[arg(long)]
        bytes: usize,
        /// Frames of a group
        #[arg(long)]
        group: u64,
    },
    /// H8: TLS handshakes, beside nginx
    Handshake,
    /// H9: from the encoder's frame to the picture in Chromium
    Glass,
    /// H9: the server's share, from a part's last byte to the playlist that names it
    Share,
    /// C1 to C4: clips, beside ffmpeg that cuts without encoding, and cp
    Clip,
    /// H11: from the goodbye to a replay that plays
    Replay,
    /// E1, E2, E4 to E9: levels of quality made when they are asked for, beside ffmpeg and of a running server
    Otfe,
    /// Of these E5, E6 and E7: those of a running server
    OtfeServed,
    /// F1: from exec to the first answer
    Start,
    /// F2, F3, F4: size, memory and CPU of a server that does nothing
    Idle,
    /// Everything, in this order
    All,
}

impl Measure {
    const EACH: [Self; 16] = [
        Self::Idle,
        Self::Start,
        Self::Ingest,
        Self::Hold,
        Self::Visible,
        Self::Recording,
        Self::Delivery,
        Self::Parked,
        Self::Silence,
        Self::LoadMoq { part: None },
        Self::Handshake,
        Self::Share,
        Self::Clip,
        Self::Replay,
        Self::Otfe,
        Self::Glass,
    ];
}

/// What every measure is told.
pub(crate) struct Setup {
    pub(crate) program: PathBuf,
    pub(crate) peers: Peers,
    pub(crate) clips: PathBuf,
    pub(crate) results: Results,
}

impl Setup {
    /// How many pairs of runs.
    fn pairs(&self) -> usize {
        if self.results.quick { 2 } else { 5 }
    }

    /// `full`, or less of it in a hurry.
    fn window(&self, full: Duration) -> Duration {
        if self.results.quick { full.div_f64(2.5) } else { full }
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("bench: {error:#}\n"),
            );
            ExitCode::FAILURE
        }
    }
}

/// Whether all runs count.
fn run(arguments: &Arguments) -> Result<bool> {
    if let Measure::Bare { rate, bytes, group } = arguments.measure {
        load_moq::serve_bare(load_moq::Shape { rate, bytes, group })?;
        return Ok(true);
    }
    ensure!(
        arguments.program.is_file(),
        "{} is not there: cargo build --release -p node",
        arguments.program.display()
    );
    let results =
        Results { folder: arguments.results.clone(), commit: commit()?, quick: arguments.quick };
    let setup = Setup {
        program: arguments.program.canonicalize()?,
        peers: Peers {
            nginx: arguments.nginx.clone(),
            srs: arguments.srs.clone(),
            // Relays run in a folder of their own.
            relays: std::path::absolute(&arguments.relays)?,
        },
        clips: arguments.clips.clone(),
        results,
    };
    let list = match arguments.measure {
        Measure::All => Measure::EACH.to_vec(),
        one => vec![one],
    };
    let mut valid = true;
    for measure in list {
        valid &= one(measure, &setup).with_context(|| format!("{measure:?}"))?;
    }
    Ok(valid)
}

fn one(measure: Measure, setup: &Setup) -> Result<bool> {
    host::pin(host::LOAD_CORE)?;
    match measure {
        Measure::Clips => {
            host::unpin()?;
            measure::clips(setup)
        }
        Measure::Ingest => measure::ingest::cost(setup),
        Measure::Hold => measure::ingest::hold(setup),
        Measure::Visible => measure::visible::run(setup),
        Measure::Recording => measure::recording::run(setup),
        Measure::Delivery => measure::delivery::run(setup),
        Measure::Parked => measure::parked::run(setup),
        Measure::Silence => measure::silence::run(setup),
        Measure::LoadMoq { part } => measure::moq::run(setup, part),
        Measure::Bare { .. } => Ok(true),
        Measure::Handshake => measure::handshake::run(setup),
        Measure::Glass => measure::glass::run(setup),
        Measure::Share => measure::share::run(setup),
        Measure::Clip => measure::clip::run(setup),
        Measure::Replay => measure::replay::run(setup),
        Measure::Otfe => measure::otfe::run(setup),
        Measure::OtfeServed => measure::otfe::served(setup),
        Measure::Start => measure::start::run(setup),
        Measure::Idle => measure::idle::run(setup),
        Measure::All => Ok(true),
    }
}

/// The commit that is measured, with a mark if there is more than it.
fn commit() -> Result<String> {
    let git = |arguments: &[&str]| -> Result<String> {
        let output = Command::new("git").args(arguments).output().context("starting git")?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=10", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Ok(if changed.is_empty() { commit } else { format!("{commit}+") })
}
