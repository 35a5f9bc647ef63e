//! I1 and I6: what it costs to take streams in and make parts and playlists of them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::{Input, Url};

use super::Window;
use crate::Setup;
use crate::airwave::Airwave;
use crate::load_rtmp::Fleet;
use crate::peer::Peer;
use crate::report::{NGINX_RTMP_HLS, Report};
use crate::ring::{HD, Ring};
use crate::stats::{Sample, noise, ratios};

const STREAMS: usize = 20;
const HELD: usize = 200;
/// Playlists are full, buffers have their size.
const WARM: Duration = Duration::from_secs(5);
/// Airwave keeps what it was sent until its cache is full, a quarter of the memory by default. This
/// much a stream holds a live window of six segments, and is full within [`FULL`]: what is measured is
/// a server that has run for a while, and not the system's work to hand out fresh memory.
const CACHE_MIB: usize = 18;
/// Until so much of 6.85 Mbit/s has come.
const FULL: Duration = Duration::from_secs(21);
/// Whole groups of pictures.
const WINDOW: Duration = Duration::from_secs(10);

/// One run of a server.
struct Arm<'a> {
    setup: &'a Setup,
    ring: Arc<Ring>,
}

impl Arm<'_> {
    fn window(&self, pid: u32, urls: &[String]) -> Result<Window> {
        let fleet = Fleet::start(&self.ring, urls, false)?;
        std::thread::sleep(WARM);
        let offered = self.ring.bits_per_s() * urls.len() as f64;
        let window = Window::look(pid, &fleet, offered, self.setup.window(WINDOW))?;
        fleet.goodbye()?;
        Ok(window)
    }

    /// With the cache full, or with one that grows as by default.
    fn airwave(&self, full: bool, report: &mut Report) -> Result<Window> {
        let cache = cache(STREAMS);
        let settings = if full { vec![cache.as_str()] } else { Vec::new() };
        let mut airwave = Airwave::start(&self.setup.program, &settings)?;
        let inputs = airwave.inputs(STREAMS, false);
        let fleet = Fleet::start(&self.ring, &urls(&inputs), false)?;
        std::thread::sleep(if full { FULL } else { WARM });
        let offered = self.ring.bits_per_s() * STREAMS as f64;
        let pid = airwave.pid();
        let window = Window::look(pid, &fleet, offered, self.setup.window(WINDOW))?;
        if let Some(error) = inputs.iter().find_map(|input| whole(&airwave, input).err()) {
            report.void(format!("{error:#}"));
        }
        drop(fleet);
        Ok(window)
    }

    fn peer(&self, peer: &Peer, report: &mut Report) -> Result<Window> {
        let urls: Vec<String> = (0..STREAMS).map(|n| peer.rtmp_url(&format!("s{n}"))).collect();
        let window = self.window(peer.pid(), &urls)?;
        let files = peer.written()?;
        // A playlist and some segments of each.
        if files < STREAMS * 4 {
            report.void(format!("the peer wrote {files} files only"));
        }
        Ok(window)
    }
}

fn cache(streams: usize) -> String {
    format!("limits.cache_mb={}", CACHE_MIB * streams)
}

fn urls(inputs: &[Input]) -> Vec<String> {
    inputs.iter().map(|input| input.rtmp.clone()).collect()
}

/// Per cent of a core that one stream costs.
fn per_stream(report: &mut Report, who: &str, window: &Window) -> f64 {
    if let Some(why) = window.void() {
        report.void(format!("{who}: {why}"));
    }
    window.core() / STREAMS as f64
}

/// I1.
pub(crate) fn cost(setup: &Setup) -> Result<bool> {
    let arm = Arm { setup, ring: Arc::new(Ring::make(&setup.clips, &HD)?) };
    let mut report = Report::begin("I1")?;
    report.set("streams", STREAMS);
    report.set("mbit_per_s", arm.ring.bits_per_s() / 1e6);
    let (mut ours, mut nginx, mut srs) = (Vec::new(), Vec::new(), Vec::new());
    let mut system = Vec::new();
    // A pair takes a minute.
    for _ in 0..setup.pairs().min(4) {
        let peer = setup.peers.nginx_rtmp()?;
        let window = arm.peer(&peer, &mut report)?;
        drop(peer);
        nginx.push(per_stream(&mut report, "nginx-rtmp", &window));
        let window = arm.airwave(true, &mut report)?;
        ours.push(per_stream(&mut report, "airwave", &window));
        system.push(window.cpu.system / window.cpu.seconds);
        if let Some(peer) = setup.peers.srs() {
            let peer = peer?;
            let window = arm.peer(&peer, &mut report)?;
            srs.push(per_stream(&mut report, "srs", &window));
        }
    }
    let window = arm.airwave(false, &mut report)?;
    let growing = per_stream(&mut report, "airwave, memory growing", &window);
    let percent = "% of a core a stream";
    report.sample("airwave", percent, &Sample::new(ours.iter().copied()));
    report.sample("nginx-rtmp", percent, &Sample::new(nginx.iter().copied()));
    report.sample("ratio to nginx-rtmp", "", &ratios(&ours, &nginx));
    if srs.is_empty() {
        report.say(format_args!("SRS: not there, left out"));
    } else {
        report.sample("srs", percent, &Sample::new(srs.iter().copied()));
        report.sample("ratio to srs", "", &ratios(&ours, &srs));
    }
    report.sample("share of it in the kernel", "", &Sample::new(system));
    report.set("airwave_growing", growing);
    report.say(format_args!("airwave while its memory grows: {growing:.3} {percent}"));
    report.set("noise", noise(&nginx));
    report.say(format_args!("one run of nginx-rtmp to the next: {:.1} %", noise(&nginx) * 100.0));
    report.peer(&NGINX_RTMP_HLS, Sample::new(nginx).median());
    report.end(&setup.results)
}

/// I6.
pub(crate) fn hold(setup: &Setup) -> Result<bool> {
    let ring = Arc::new(Ring::make(&setup.clips, &HD)?);
    let mut report = Report::begin("I6")?;
    let mut airwave = Airwave::start(&setup.program, &[&cache(HELD)])?;
    let inputs = airwave.inputs(HELD, false);
    let fleet = Fleet::start(&ring, &urls(&inputs), false)?;
    std::thread::sleep(FULL);
    let offered = ring.bits_per_s() * HELD as f64;
    let pid = airwave.pid();
    let window = Window::look(pid, &fleet, offered, setup.window(Duration::from_secs(30)))?;
    let live = airwave.metric("rtmp_encoders")?;
    let errors = airwave.metric("rtmp_protocol_errors_total")?;
    let mut broken = Vec::new();
    for input in &inputs {
        if let Err(error) = whole(&airwave, input) {
            broken.push(format!("{error:#}"));
        }
    }
    let (resident, _) = crate::host::memory_mb(pid)?;
    drop(fleet);
    if let Some(why) = window.void() {
        report.void(why);
    }
    let held = broken.is_empty() && live as usize == HELD && errors == 0.0;
    report.set("streams", HELD);
    report.set("held", held);
    report.set("core_percent", window.core());
    report.set("late_ms_max", window.sent.late_ms_max);
    report.set("unsent_bytes_max", window.sent.unsent_max);
    report.set("resident_mb", resident);
    report.set("broken", broken.len());
    report.say(format_args!(
        "{HELD} streams of {:.2} Mbit/s, {}: {:.0} % of the core, {resident:.0} MB resident",
        ring.bits_per_s() / 1e6,
        if held { "none dropped" } else { "DROPPED" },
        window.core()
    ));
    report.say(format_args!(
        "the latest message left {:.1} ms after its time; at most {} bytes of one waited",
        window.sent.late_ms_max, window.sent.unsent_max
    ));
    for why in broken.iter().take(3) {
        report.say(format_args!("broken: {why}"));
    }
    report.end(&setup.results)
}

/// Whether an input's playlists are all there: six whole segments in order without a gap or a break,
/// and parts at the end.
fn whole(airwave: &Airwave, input: &Input) -> Result<()> {
    for audio in [false, true] {
        track(airwave, &airwave.media_playlist(&input.uid, audio)?)?;
    }
    Ok(())
}

fn track(airwave: &Airwave, url: &Url) -> Result<()> {
    let (_, list) = airwave.playlist(url)?;
    let complete: Vec<_> = list.segments.iter().filter(|s| s.file.is_some()).collect();
    let numbers: Vec<u64> = complete.iter().map(|s| s.number).collect();
    let first = *numbers.first().context("no segment")?;
    ensure!(numbers.len() >= 6, "{} segments only", numbers.len());
    ensure!(numbers.iter().copied().eq(first..first + numbers.len() as u64), "{numbers:?}");
    for segment in complete {
        let long = segment.file.as_ref().is_some_and(|(s, _)| (s - 2.0).abs() < 0.1);
        let follows = !segment.gap && !segment.discontinuity;
        ensure!(long && follows, "segment {} of {first} on: {segment:?}", segment.number);
    }
    let parts: usize = list.segments.iter().map(|s| s.parts.len()).sum();
    ensure!(parts >= 6, "{parts} parts only");
    Ok(())
}
