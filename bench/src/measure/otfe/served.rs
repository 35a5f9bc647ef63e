//! E6 and E7: what a ladder costs that nobody watches, and how soon a level is there when somebody does.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testkit::{Input, Url, wait_until};

use crate::Setup;
use crate::airwave::Airwave;
use crate::load_rtmp::Fleet;
use crate::measure::Window;
use crate::report::{Goal, Report};
use crate::ring::{HD60, ROUND_US, Ring, SMALL_PARTS};
use crate::stats::{Sample, ratios};

pub(super) const WITH: &str = "encode.ladder=[\"360p\"]";
const WITHOUT: &str = "encode.ladder=[]";
pub(super) const NO_DISK: &str = "encode.cache_gb=0";
pub(super) const LEVEL: &str = "video.360p.cmaf";

/// On each of two servers: of one the processor's time is too little to compare.
const INPUTS: usize = 50;
const WARM: Duration = Duration::from_secs(4);
/// A round, so that each window has the same bytes.
const WINDOW: Duration = Duration::from_micros(ROUND_US);
/// So many are looked at: the system counts a process's time in steps that are not small beside one.
const ROUNDS: u32 = 4;
/// Servers, so that each time no process waits for work.
const UNWATCHED: usize = 5;

/// A server with inputs that are not recorded.
pub(super) fn start(
    setup: &Setup,
    settings: &[&str],
    inputs: usize,
) -> Result<(Airwave, Vec<Input>)> {
    let airwave = Airwave::start(&setup.program, settings)?;
    let inputs = airwave.inputs(inputs, false);
    Ok((airwave, inputs))
}

pub(super) fn urls(inputs: &[Input]) -> Vec<String> {
    inputs.iter().map(|input| input.rtmp.clone()).collect()
}

/// The level's media playlist, once it is listed and has segments; and those that are whole.
pub(super) fn playlist(airwave: &Airwave, input: &Input) -> Result<(Url, Vec<String>)> {
    let url = airwave.server().url(&format!("/{}/manifest/{LEVEL}.m3u8", input.uid));
    let listed = || {
        let answer = testkit::request("GET", &url, &[], b"");
        let text = answer.text();
        let uris = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
        let segments: Vec<String> = uris.map(str::to_owned).collect();
        (answer.status == 200 && segments.len() >= 2).then_some(segments)
    };
    let segments = wait_until("the level to be listed", 30, listed);
    Ok((url, segments))
}

fn get(address: SocketAddr, path: &str) -> Result<u16> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    let head = answer.get(..12).context("no answer")?;
    Ok(std::str::from_utf8(head)?[9..].parse()?)
}

/// E6: what a ladder costs that nobody watches.
pub(super) fn for_nobody(setup: &Setup) -> Result<bool> {
    let mut report = Report::begin("E6")?;
    let ring = Arc::new(Ring::make(&setup.clips, &HD60)?);
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let (mut running, mut decodes, mut started) = (0.0, 0.0, 0.0f64);
    for pair in 0..setup.pairs() {
        // Both at one time: what the machine does meanwhile falls on both alike.
        let mut order = [WITHOUT, WITH];
        if pair % 2 == 1 {
            order.reverse();
        }
        let mut arms = Vec::new();
        for ladder in order {
            let (mut airwave, inputs) = start(setup, &[ladder], INPUTS)?;
            let fleet = Fleet::start(&ring, &urls(&inputs), false)?;
            arms.push((ladder, airwave.pid(), airwave, fleet));
        }
        std::thread::sleep(WARM);
        let (offered, length) = (ring.bits_per_s() * INPUTS as f64, setup.window(ROUNDS * WINDOW));
        let look =
            |(_, pid, _, fleet): &(_, u32, _, Fleet)| Window::look(*pid, fleet, offered, length);
        let (here, there) = std::thread::scope(|scope| {
            let there = scope.spawn(|| look(&arms[1]));
            (look(&arms[0]), there.join())
        });
        let there = there.map_err(|_| anyhow::anyhow!("a window failed"))?;
        for ((ladder, _, airwave, _), window) in arms.iter().zip([here, there]) {
            let window = window?;
            if let Some(why) = window.void() {
                report.void(why);
            }
            let cpu = if *ladder == WITH { &mut with } else { &mut without };
            cpu.push(window.core() / INPUTS as f64);
            running += airwave.metric("encoder_processes")?;
            decodes += airwave.metric("level_segments_decoded_total")?;
            started = started.max(airwave.metric("encoder_processes_started_total")?);
        }
    }
    let by = ratios(&with, &without);
    report.sample("CPU of a 1080p60 input with a ladder that nobody watches, by without", "", &by);
    report.sample("with a ladder", "% of a core", &Sample::new(with));
    let off = (by.median() - 1.0).abs();
    report.goal("E6: CPU by without a ladder, away from 1", off, Goal::at_most(0.03, None));
    report.goal("E6: encoder processes", running, Goal::at_most(0.0, 0.0));
    report.goal("E6: segments that were decoded", decodes, Goal::at_most(0.0, 0.0));
    // Each server has a disk of its own: one for all inputs, to say what levels begin with.
    report.goal("E6: encoder processes started, by any server", started, Goal::at_most(1.0, 1.0));
    report.end(&setup.results)
}

/// E7: from the request for the newest part that a player can begin with, of a level that nobody watches and no process
/// waits for, until all of it is there.
pub(super) fn unwatched(setup: &Setup) -> Result<bool> {
    let mut report = Report::begin("E7")?;
    let ring = Arc::new(Ring::make(&setup.clips, &SMALL_PARTS)?);
    let mut times = Vec::new();
    for _ in 0..if setup.results.quick { 2 } else { UNWATCHED } {
        let (airwave, inputs) = start(setup, &[WITH, NO_DISK], 1)?;
        let fleet = Fleet::start(&ring, &urls(&inputs), false)?;
        let address = airwave.address("http")?;
        playlist(&airwave, &inputs[0])?;
        // One has said what the level begins with, and ends.
        let idle = || (airwave.metric("encoder_processes").ok()? == 0.0).then_some(());
        wait_until("no encoder to run", 30, idle);
        let (url, _) = playlist(&airwave, &inputs[0])?;
        let text = testkit::request("GET", &url, &[], b"").text();
        let path = url.join(&newest_independent(&text).context("no part")?).path;
        let began = Instant::now();
        let status = get(address, &path)?;
        ensure!(status == 200, "{status} of {path}");
        times.push(began.elapsed().as_secs_f64() * 1e3);
        ensure!(fleet.running(), "a connection was lost");
    }
    let times = Sample::new(times);
    report.times("first decodable part of an unwatched level, 360p of 720p", &times);
    report.goal("E7: ms at most", times.max(), Goal::at_most(500.0, 120.0));
    report.end(&setup.results)
}

/// The newest part with which a player can begin.
fn newest_independent(playlist: &str) -> Option<String> {
    let mut parts = playlist.lines().filter_map(|line| line.strip_prefix("#EXT-X-PART:"));
    let newest = parts.rfind(|attributes| attributes.contains("INDEPENDENT=YES"))?;
    let uri = newest.split_once("URI=\"")?.1.split_once('"')?.0;
    Some(uri.to_owned())
}
