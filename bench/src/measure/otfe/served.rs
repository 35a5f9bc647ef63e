//! E5, E6 and E7: levels of a running server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testkit::{Input, Url};

use crate::Setup;
use crate::airwave::Airwave;
use crate::host;
use crate::load_rtmp::Fleet;
use crate::measure::Window;
use crate::report::Report;
use crate::ring::{HD, Ring, SMALL_PARTS};
use crate::stats::{Sample, ratios};

const WITH: &str = "encode.ladder=[\"360p\"]";
const WITHOUT: &str = "encode.ladder=[]";
const NO_DISK: &str = "encode.cache_gb=0";
const WARM: Duration = Duration::from_secs(6);
const WINDOW: Duration = Duration::from_secs(10);
const VIEWERS: usize = 700;
const UNWATCHED: usize = 8;

pub(super) fn run(setup: &Setup) -> Result<bool> {
    Ok(at_once(setup)? & for_nobody(setup)? & unwatched(setup)?)
}

/// A server with one recorded or live broadcast.
fn start(setup: &Setup, settings: &[&str], inputs: usize) -> Result<(Airwave, Vec<Input>)> {
    let airwave = Airwave::start(&setup.program, settings)?;
    let inputs = airwave.inputs(inputs, false);
    Ok((airwave, inputs))
}

fn urls(inputs: &[Input]) -> Vec<String> {
    inputs.iter().map(|input| input.rtmp.clone()).collect()
}

/// The level's media playlist, once it is listed and has segments.
fn playlist(airwave: &Airwave, input: &Input) -> Result<(Url, Vec<String>)> {
    let url = airwave.server().url(&format!("/{}/manifest/video.360p.cmaf.m3u8", input.uid));
    let listed = || {
        let answer = testkit::request("GET", &url, &[], b"");
        let text = answer.text();
        let segments: Vec<String> = text
            .lines()
            .filter(|l| !l.is_empty() && !l.starts_with('#'))
            .map(str::to_owned)
            .collect();
        (answer.status == 200 && segments.len() >= 2).then_some(segments)
    };
    let segments = testkit::wait_until("the level to be listed", 30, listed);
    Ok((url, segments))
}

fn get(address: SocketAddr, path: &str) -> Result<(u16, usize)> {
    ask(TcpStream::connect(address)?, path)
}

fn ask(mut socket: TcpStream, path: &str) -> Result<(u16, usize)> {
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    let head = answer.get(..12).context("no answer")?;
    Ok((std::str::from_utf8(head)?[9..].parse()?, answer.len()))
}

/// E5: so many ask for one segment of one rung in the same moment.
fn at_once(setup: &Setup) -> Result<bool> {
    let mut report = Report::begin("E5")?;
    let ring = Arc::new(Ring::make(&setup.clips, &SMALL_PARTS)?);
    let (airwave, inputs) = start(setup, &[WITH, NO_DISK], 1)?;
    let fleet = Fleet::start(&ring, &urls(&inputs), false)?;
    airwave.server().wait_live(&inputs[0]);
    let (url, segments) = playlist(&airwave, &inputs[0])?;
    let path = url.join(&segments[segments.len() - 2]).path;
    let address = airwave.address("http")?;
    let count = |name| airwave.metric(name);
    let before = (count("level_segments_encoded_total")?, count("level_segments_decoded_total")?);
    let gate = Arc::new(Barrier::new(VIEWERS));
    // Connected one after the other: it is the requests that come at once.
    let viewers: Vec<_> = (0..VIEWERS)
        .map(|_| {
            let (gate, path) = (gate.clone(), path.clone());
            let socket = TcpStream::connect(address)?;
            std::thread::Builder::new().stack_size(256 << 10).spawn(move || {
                gate.wait();
                ask(socket, &path)
            })
        })
        .collect::<Result<_, _>>()?;
    let mut sizes = Vec::new();
    for viewer in viewers {
        let (status, bytes) = viewer.join().map_err(|_| anyhow::anyhow!("a viewer"))??;
        ensure!(status == 200, "{status}");
        sizes.push(bytes);
    }
    // Ahead of who watches one more is made, perhaps already.
    let encodes = count("level_segments_encoded_total")? - before.0;
    let decodes = count("level_segments_decoded_total")? - before.1;
    let ahead = count("level_segments_made_ahead_total")?;
    drop(fleet);
    report.set("viewers", VIEWERS);
    report.set("encodes", encodes);
    report.set("decodes", decodes);
    report.set("made_ahead", ahead);
    report.say(format_args!(
        "{VIEWERS} viewers of one segment at once: {encodes} encodes and {decodes} decodes, of which the {ahead} next ones are made ahead"
    ));
    if encodes > 1.0 + ahead || decodes > 1.0 + ahead {
        report.void("more than one encode");
    }
    report.end(&setup.results)
}

/// E6: what a ladder costs that nobody watches.
fn for_nobody(setup: &Setup) -> Result<bool> {
    let mut report = Report::begin("E6")?;
    let ring = Arc::new(Ring::make(&setup.clips, &HD)?);
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let mut processes = 0.0;
    for _ in 0..setup.pairs() {
        for (ladder, cpu) in [(WITHOUT, &mut without), (WITH, &mut with)] {
            // Ten inputs: of one the processor's time is too little to compare.
            let (mut airwave, inputs) = start(setup, &[ladder], 10)?;
            let fleet = Fleet::start(&ring, &urls(&inputs), false)?;
            std::thread::sleep(WARM);
            let offered = ring.bits_per_s() * inputs.len() as f64;
            let pid = airwave.pid();
            let window = Window::look(pid, &fleet, offered, setup.window(WINDOW))?;
            if let Some(why) = window.void() {
                report.void(why);
            }
            cpu.push(window.core() / inputs.len() as f64);
            if ladder == WITH {
                processes += airwave.metric("encoder_processes_started_total")?;
            }
            drop(fleet);
        }
    }
    report.sample(
        "E6: CPU of an input with a ladder that nobody watches, by without",
        "",
        &ratios(&with, &without),
    );
    report.sample("with a ladder", "% of a core", &Sample::new(with));
    report.set("processes", processes);
    report.say(format_args!("{processes} encoder processes"));
    report.end(&setup.results)
}

/// E7: from the request for the newest part of a level that nobody watches until it is there.
fn unwatched(setup: &Setup) -> Result<bool> {
    let mut report = Report::begin("E7")?;
    let ring = Arc::new(Ring::make(&setup.clips, &SMALL_PARTS)?);
    let rounds = if setup.results.quick { 1 } else { 3 };
    let mut times = Vec::new();
    for _ in 0..rounds {
        let (airwave, inputs) = start(setup, &[WITH, NO_DISK], UNWATCHED)?;
        let fleet = Fleet::start(&ring, &urls(&inputs), false)?;
        std::thread::sleep(WARM);
        let address = airwave.address("http")?;
        for input in &inputs {
            let (url, _) = playlist(&airwave, input)?;
            let text = testkit::request("GET", &url, &[], b"").text();
            let part = newest_independent(&text).context("no part")?;
            let path = url.join(&part).path;
            let began = Instant::now();
            let (status, _) = get(address, &path)?;
            ensure!(status == 200, "{status} of {path}");
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        drop(fleet);
    }
    host::pin(host::LOAD_CORE)?;
    report.times("E7: first decodable part of an unwatched level, 360p", &Sample::new(times));
    report.end(&setup.results)
}

/// The newest part with which a player can begin.
fn newest_independent(playlist: &str) -> Option<String> {
    let mut parts = playlist.lines().filter_map(|line| line.strip_prefix("#EXT-X-PART:"));
    let newest = parts.rfind(|attributes| attributes.contains("INDEPENDENT=YES"))?;
    let uri = newest.split_once("URI=\"")?.1.split_once('"')?.0;
    Some(uri.to_owned())
}
