//! E1 to E9: levels that are made when they are asked for, beside the `ffmpeg` command with the same settings
//! (`peers/ffmpeg-level.args`), which makes the same bits of a closed group: `crates/encoder/tests/it/equality.rs`.

mod at_once;
mod original;
mod quality;
mod served;
mod work;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use encode::{Kind, Level, Program, Renditions, Settings};

use self::original::Film;
use crate::Setup;
use crate::host;

const SETTINGS: &str = include_str!("../../../peers/ffmpeg-level.args");

/// All of it: of both clips, and of a running server.
pub(crate) fn run(setup: &Setup) -> Result<bool> {
    let mut valid = served(setup)?;
    for name in ["crossing", "dog"] {
        let film = Film::read(&setup.clips.join(format!("{name}.mp4")))?;
        valid &= quality::run(setup, &film)?;
        valid &= work::run(setup, &film)?;
    }
    Ok(valid)
}

/// E5, E6, E7: of a running server.
pub(crate) fn served(setup: &Setup) -> Result<bool> {
    Ok(at_once::run(setup)? & served::for_nobody(setup)? & served::unwatched(setup)?)
}

/// The encoder program beside the server.
fn makers(setup: &Setup, linger: Duration) -> Result<(tokio::runtime::Runtime, Arc<Renditions>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let path = setup.program.with_file_name("airwave-encode");
    let program = runtime.block_on(Program::ask(&path))?;
    let settings = Settings {
        workers: 8,
        memory: u64::MAX,
        cache_bytes: 256 << 20,
        linger,
        patience: Duration::from_secs(60),
        silent_max: Duration::from_secs(60),
        allowance: encode::Allowance::default(),
        encoder: encode::SOFTWARE.to_owned(),
        hardware_again: encode::limits::HARDWARE_AGAIN,
        disk: None,
    };
    let renditions = Renditions::new(program, settings);
    let running = renditions.clone();
    runtime.spawn(running.run());
    Ok((runtime, renditions))
}

/// The command that makes a level of a file, on the server's core.
fn command(file: &Path, level: &Level, more: &[&str], to: &Path) -> Result<()> {
    let Kind::Pictures { width, height, level_idc } = level.kind else { bail!("no pictures") };
    let settings = SETTINGS
        .replace("LEVEL", &level_idc.to_string())
        .replace("KBPS", &level.max_kbps.to_string());
    let scale = format!("scale={width}:{height}:flags=bicubic");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-y", "-threads", "1", "-filter_threads", "1", "-i"]);
    ffmpeg.arg(file).args(["-an", "-fps_mode", "passthrough", "-vf", &scale]);
    ffmpeg.args(settings.split_whitespace()).args(more).arg(to);
    let status = host::on_server_core(|| ffmpeg.status())?.context("starting ffmpeg")?;
    ensure!(status.success(), "ffmpeg: {status}");
    Ok(())
}
