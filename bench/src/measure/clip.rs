//! C1 to C4: clips, beside ffmpeg that cuts the same without encoding, and `cp` of as many bytes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use testkit::{Packet, packets, wait_until};

use crate::Setup;
use crate::airwave::Airwave;
use crate::host::{self, Cpu};
use crate::load_rtmp::Fleet;
use crate::report::{Goal, Report};
use crate::ring::{HD, Ring};
use crate::stats::{Sample, ratios};

/// Longer than a clip, and faster than it plays: nobody waits a minute for a minute.
const ROUNDS: u32 = 10;
const SPEED: &str = "12";
const LENGTH_S: f64 = 60.0;

/// Copies of a clip at a time: of a process that has ended only ticks of 10 ms are known.
const COPIES: usize = 20;
/// All bytes of a clip to a socket, by as many to a file.
const SENT: (&str, Goal) = ("C2", Goal::within(1.2, None));
/// What is read and computed until it can be sent: served like that, no byte of it is copied before somebody wants it.
const READY: (&str, Goal) = ("C2", Goal::within(1.2, Some(0.1)));

/// Of a running broadcast.
const LIVE_WARM: Duration = Duration::from_secs(9);
const LIVE_CLIPS: usize = 60;
const LIVE_LENGTH_S: f64 = 5.0;

/// All of it.
pub(crate) fn run(setup: &Setup) -> Result<bool> {
    let ring = Arc::new(Ring::make(&setup.clips, &HD)?);
    let mut film = Film::record(setup)?;
    let made = recorded(setup, &mut film)? & copied(setup, &mut film)?;
    drop(film);
    Ok(made & live(setup, &ring)?)
}

/// A recording that is longer than a clip.
struct Film {
    airwave: Airwave,
    video: String,
    folder: tempfile::TempDir,
}

impl Film {
    fn record(setup: &Setup) -> Result<Self> {
        let airwave = Airwave::start(&setup.program, &[])?;
        let input = airwave.inputs(1, true).pop().context("no input")?;
        let clip = setup.clips.join(format!("{}.flv", HD.name));
        let rounds = (ROUNDS - 1).to_string();
        let mut encoder = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-readrate", SPEED, "-stream_loop", &rounds, "-i"])
            .arg(&clip)
            .args(["-c", "copy", "-f", "flv", &input.rtmp])
            .spawn()?;
        let video = airwave.server().wait_live(&input);
        ensure!(encoder.wait()?.success(), "the encoder failed");
        wait_until("the recording to be complete", 30, || {
            airwave.metric("broadcasts").is_ok_and(|n| n == 0.0).then_some(())
        });
        Ok(Self { airwave, video, folder: tempfile::tempdir()? })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The address of a minute of it.
    fn clip(&self, from_s: f64) -> String {
        format!("/{}/clip.mp4?time={from_s}s&duration={LENGTH_S}s", self.video)
    }
}

/// Milliseconds until the first byte of a body came, and until all of it was in a file.
fn get(airwave: &Airwave, path: &str, to: &Path) -> Result<(f64, f64)> {
    get_with(airwave, path, "", to)
}

/// The same, with this in the head.
fn get_with(airwave: &Airwave, path: &str, field: &str, to: &Path) -> Result<(f64, f64)> {
    let mut file = std::fs::File::create(to)?;
    let start = Instant::now();
    let mut socket = TcpStream::connect(airwave.address("http")?)?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\n{field}Connection: close\r\n\r\n")?;
    let mut buffer = vec![0; 256 << 10];
    let mut head = Vec::new();
    let end = loop {
        if let Some(at) = head.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        let n = socket.read(&mut buffer)?;
        ensure!(n > 0, "{path}: no answer");
        head.extend_from_slice(&buffer[..n]);
    };
    let words = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
    ensure!(words.starts_with("http/1.1 20"), "{path}: {words}");
    let length = words.lines().find_map(|l| l.strip_prefix("content-length:"));
    let length: u64 = length.context("no length")?.trim().parse()?;
    let mut first = (head.len() > end).then(|| ms(start));
    file.write_all(&head[end..])?;
    let mut got = (head.len() - end) as u64;
    while got < length {
        let n = socket.read(&mut buffer)?;
        ensure!(n > 0, "{path}: {got} of {length} bytes");
        first.get_or_insert_with(|| ms(start));
        file.write_all(&buffer[..n])?;
        got += n as u64;
    }
    Ok((first.context("an empty clip")?, ms(start)))
}

/// ffmpeg, on the server's core.
fn ffmpeg(arguments: &[&str], to: &Path) -> Result<f64> {
    let start = Instant::now();
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-y"]).args(arguments).arg(to);
    let status = host::on_server_core(|| command.status())??;
    ensure!(status.success(), "ffmpeg: {status}");
    Ok(ms(start))
}

/// C1 and C4, of a recording.
fn recorded(setup: &Setup, film: &mut Film) -> Result<bool> {
    let mut report = Report::begin("C1")?;
    let (airwave, video) = (&film.airwave, &film.video);
    let file = |name: &str| film.file(name);
    let downloads = format!("/stream/{video}/downloads");
    ensure!(airwave.server().api("POST", &downloads, None).status == 200, "no download");
    get(airwave, &format!("/{video}/downloads/default.mp4"), &file("source.mp4"))?;
    let source = file("source.mp4").display().to_string();

    let (mut ours, mut theirs, mut first, mut stored) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut last_from = 0.0;
    for round in 0..setup.pairs() {
        // Each time another one: what was planned before is kept.
        let from = 2.0 + round as f64 / 10.0;
        let (at, length) = (from.to_string(), LENGTH_S.to_string());
        let cut =
            ["-ss", &at, "-t", &length, "-i", &source, "-c", "copy", "-movflags", "+faststart"];
        theirs.push(ffmpeg(&cut, &file("theirs.mp4"))?);
        let (begun, whole) = get(airwave, &film.clip(from), &file("ours.mp4"))?;
        first.push(begun);
        ours.push(whole);
        let fields = json!({
            "clippedFromVideoUID": video, "startTimeSeconds": from, "endTimeSeconds": from + LENGTH_S,
        });
        let start = Instant::now();
        let made = airwave.server().api("POST", "/stream/clip", Some(&fields));
        ensure!(made.status == 200, "{}", made.text());
        stored.push(ms(start));
        last_from = from;
    }
    let bytes = std::fs::metadata(file("ours.mp4"))?.len();
    report.set("bytes", bytes);
    report.say(format_args!("{LENGTH_S} s, {:.1} MB", bytes as f64 / 1e6));
    report.sample("whole clip by ffmpeg -c copy +faststart", "", &ratios(&ours, &theirs));
    report.sample("first byte by ffmpeg's end", "", &ratios(&first, &theirs));
    report.sample("a video of its own by ffmpeg", "", &ratios(&stored, &theirs));
    for (name, values) in [
        ("whole clip", ours),
        ("first byte", first),
        ("a video of its own", stored),
        ("ffmpeg", theirs),
    ] {
        report.sample(name, "ms", &Sample::new(values));
    }
    let equal = same(&file("source.mp4"), &file("ours.mp4"), last_from);
    report.set("C4", equal);
    report.say(format_args!("C4: the same packets as the source's range: {equal}"));
    if !equal {
        report.void("the clip is not the source's range");
    }
    report.end(&setup.results)
}

/// C2, of the same recording.
fn copied(setup: &Setup, film: &mut Film) -> Result<bool> {
    let mut report = Report::begin("C2")?;
    let (from, to) = (film.file("ours.mp4"), film.file("copy.mp4"));
    let pid = film.airwave.pid();
    let airwave = &film.airwave;
    let used = |ask: &dyn Fn() -> Result<()>| {
        let before = Cpu::of(pid)?;
        ask()?;
        anyhow::Ok((Cpu::of(pid)? - before).seconds)
    };
    let (mut copies, mut sent, mut ready) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..setup.pairs() {
        copies.push(copy(&from, &to)?);
        // Each another one, that nobody had before.
        let other = |n: f64| 3.0 + round as f64 / 10.0 + n;
        sent.push(used(&|| get(airwave, &film.clip(other(0.05)), &to).map(drop))?);
        let byte = "Range: bytes=0-0\r\n";
        ready.push(used(&|| get_with(airwave, &film.clip(other(0.07)), byte, &to).map(drop))?);
    }
    let made = |list: &[f64]| Sample::new(list.iter().map(|seconds| seconds * 1e3));
    report.set("bytes", std::fs::metadata(&from)?.len());
    report.judged(SENT, "CPU of all bytes to a socket by cp", "", &ratios(&sent, &copies));
    report.judged(READY, "CPU until it can be sent by cp", "", &ratios(&ready, &copies));
    for (name, list) in [("all bytes", sent), ("until it can be sent", ready), ("cp", copies)] {
        report.sample(name, "ms of CPU", &made(&list));
    }
    report.end(&setup.results)
}

/// CPU seconds of one copy: the mean of many, each to a file that was not there.
fn copy(from: &Path, to: &Path) -> Result<f64> {
    let before = host::of_ended_children()?;
    for _ in 0..COPIES {
        if to.exists() {
            std::fs::remove_file(to)?;
        }
        let mut command = Command::new("cp");
        command.arg("--reflink=never").args([from, to]);
        ensure!(host::on_server_core(|| command.status())??.success(), "cp failed");
    }
    Ok((host::of_ended_children()? - before) / COPIES as f64)
}

/// From a key frame to the next one, and a packet of sound: so much earlier than it is asked for a clip may begin.
const LEAD_S: f64 = 2.1;

/// C4: packet by packet, pictures and sound, one after the other, from where it was asked for: the source repeats itself.
fn same(source: &Path, clip: &Path, from: f64) -> bool {
    let begins = |packet: &Packet| {
        let at = packet.present_us as f64 / 1e6;
        (from - LEAD_S..=from + 0.1).contains(&at)
    };
    let equal = |range: &[Packet], clip: &[Packet]| {
        range.iter().zip(clip).all(|(source, clip)| source.hash == clip.hash)
    };
    ['v', 'a'].into_iter().all(|kind| {
        let (source, clip) = (packets(source, kind), packets(clip, kind));
        let long = clip.len() as f64 >= LENGTH_S * if kind == 'v' { 29.9 } else { 46.0 };
        long && source.windows(clip.len()).any(|range| begins(&range[0]) && equal(range, &clip))
    })
}

/// C3, of a broadcast on the air.
fn live(setup: &Setup, ring: &Arc<Ring>) -> Result<bool> {
    let mut report = Report::begin("C3")?;
    let airwave = Airwave::start(&setup.program, &[])?;
    let input = airwave.inputs(1, true).pop().context("no input")?;
    let fleet = Fleet::start(ring, std::slice::from_ref(&input.rtmp), false)?;
    airwave.server().wait_live(&input);
    std::thread::sleep(LIVE_WARM);
    let folder = tempfile::tempdir()?;
    let mut first = Vec::new();
    let clips = if setup.results.quick { 10 } else { LIVE_CLIPS };
    for n in 0..clips {
        let from = n as f64 / 30.0;
        let path = format!("/{}/clip.mp4?time={from:.3}s&duration={LIVE_LENGTH_S}s", input.uid);
        first.push(get(&airwave, &path, &folder.path().join("clip.mp4"))?.0);
    }
    ensure!(fleet.running(), "the broadcast was lost");
    report.times("first byte of a clip of what is on the air", &Sample::new(first));
    report.end(&setup.results)
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
