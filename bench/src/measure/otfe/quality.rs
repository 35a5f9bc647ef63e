//! E9: what is lost by beginning anew with each segment, beside one continuous encode at the same caps.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use encode::Level;
use media::mp4::{Event, Reader};

use super::original::{Film, original};
use super::{command, makers};
use crate::Setup;
use crate::host;
use crate::report::{Goal, Report};

const RUNGS: [&str; 2] = ["480p", "360p"];

pub(super) fn run(setup: &Setup, film: &Arc<Film>) -> Result<bool> {
    let mut report = Report::begin("E9")?;
    report.set("clip", film.name.as_str());
    let ffmpeg = setup.clips.with_file_name("ffmpeg9").join("ffmpeg");
    ensure!(ffmpeg.is_file(), "{} is not there: scripts/ffmpeg9.sh", ffmpeg.display());
    let folder = tempfile::tempdir()?;
    let source = setup.clips.join(format!("{}.mp4", film.name));
    let levels = film.levels(&RUNGS)?;
    for level in levels.iter().filter(|l| l.name != "h264") {
        let (ours, theirs) = (folder.path().join("ours.mp4"), folder.path().join("theirs.mp4"));
        let times = make(setup, film, level, &ours)?;
        ensure!(times == film.times, "{}: not every frame at its time", level.name);
        // Key frames where segments begin: the same grid, one rate control.
        let keys = ["-force_key_frames", "source"];
        command(&source, level, &keys, &theirs)?;
        host::unpin()?;
        let (our, their) =
            (vmaf(&ffmpeg, &ours, &source, level)?, vmaf(&ffmpeg, &theirs, &source, level)?);
        host::pin(host::LOAD_CORE)?;
        let bytes = |path: &Path| anyhow::Ok(video_bytes(&std::fs::read(path)?));
        let rate = bytes(&ours)? as f64 / bytes(&theirs)? as f64;
        let name = &level.name;
        report.set(&format!("{name} VMAF"), our);
        report.set(&format!("{name} VMAF, continuous"), their);
        report.set(&format!("{name} bytes by continuous"), rate);
        report.say(format_args!(
            "{} {name}: VMAF {our:.2}, {:+.2} beside a continuous encode; {:+.1} % of its bytes; every frame at its time",
            film.name,
            our - their,
            (rate - 1.0) * 100.0
        ));
        let (vmaf, bytes) = (format!("E9 {name}: VMAF"), format!("E9 {name}: bytes off, %"));
        report.goal(&vmaf, our - their, Goal::at_least(-1.0, -0.2));
        report.goal(&bytes, (rate - 1.0).abs() * 100.0, Goal::at_most(3.0, 1.0));
    }
    report.end(&setup.results)
}

/// All segments of a level as one file; the times of its frames.
fn make(setup: &Setup, film: &Arc<Film>, level: &Level, to: &Path) -> Result<Vec<i64>> {
    let (runtime, renditions) = makers(setup, Duration::from_secs(600))?;
    let mut file = Vec::new();
    runtime.block_on(async {
        let original = original(film);
        file.extend(renditions.init(original.as_ref(), 1, level).await?);
        for number in film.numbers() {
            let made = renditions.segment(&original, number, level)?;
            made.part(usize::MAX).await?;
            file.extend(made.whole().context("not whole")?.concat());
        }
        anyhow::Ok(())
    })?;
    let mut reader = Reader::new();
    reader.push(&file);
    let mut times = Vec::new();
    while let Some(event) = reader.next_event()? {
        let Event::Fragment(fragment) = event else { continue };
        times.extend(fragment.iter().map(|f| f.sample.decode + i64::from(f.sample.composition)));
    }
    std::fs::write(to, file)?;
    Ok(times)
}

/// Bytes of a file's media.
fn video_bytes(file: &[u8]) -> usize {
    let (mut at, mut bytes) = (0, 0);
    while let Some(head) = file.get(at..at + 8) {
        let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if &head[4..] == b"mdat" {
            bytes += size;
        }
        at += size.max(8);
    }
    bytes
}

/// Beside the source, scaled as the levels are. By the number of the frame: where times are rounded in another timescale, a frame
/// that is the least bit early would be held against the one before.
fn vmaf(ffmpeg: &Path, made: &Path, source: &Path, level: &Level) -> Result<f64> {
    let (width, height) = level.size().context("no pictures")?;
    let graph = format!(
        "[0:v]settb=1/1000,setpts=N[a];[1:v]settb=1/1000,setpts=N,scale={width}:{height}:flags=bicubic[b];\
         [a][b]libvmaf=n_threads=2"
    );
    let mut command = Command::new(ffmpeg);
    command.args(["-nostdin", "-hide_banner", "-i"]).arg(made).arg("-i").arg(source);
    command.args(["-an", "-lavfi", &graph, "-f", "null", "-"]);
    let output = command.output().context("starting ffmpeg")?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{words}");
    let score = words.lines().find_map(|line| line.split_once("VMAF score: "));
    Ok(score.with_context(|| format!("no score: {words}"))?.1.trim().parse()?)
}
