//! H4, H5, H6: many who wait for one playlist, over TLS: what they cost while they wait, and how soon all are answered.
//! Beside nginx with nchan, whose long polling is told the same bytes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testkit::{MediaPlaylist, Url, wait_until};

use crate::Setup;
use crate::airwave::Airwave;
use crate::client::Client;
use crate::host::{Cpu, memory_mb};
use crate::load_http::{Target, Viewers, tls};
use crate::load_parked::{Crowd, Protocol};
use crate::load_rtmp::Fleet;
use crate::peer::NCHAN_FOLDER;
use crate::report::{Report, short};
use crate::ring::{COUNTED, GROUP, Ring};
use crate::stats::Sample;

/// Who wait.
const VIEWERS: usize = 10_000;

/// Who ask again and again, for H3 in the same run.
const ASKING: usize = 50;

/// H4, H5, H6.
pub(crate) fn run(setup: &Setup) -> Result<bool> {
    let viewers = if setup.results.quick { VIEWERS / 10 } else { VIEWERS };
    let mut valid = true;
    for (id, protocol, connections) in [
        ("H4 H5, HTTP/2", Protocol::Http2(1), viewers),
        ("H4 H5, HTTP/1.1", Protocol::Http1, viewers),
        ("H6, HTTP/2, 100 on a connection", Protocol::Http2(100), viewers / 20),
    ] {
        let list = one(setup, id, protocol, connections, &mut valid)?;
        if connections == viewers {
            valid &= nchan(setup, id, protocol, connections, &list)?;
        }
    }
    Ok(valid)
}

/// The playlist that is waited for.
struct Listed {
    /// Answers per CPU second, asked for one after the other: H3.
    rate: f64,
    bytes: usize,
}

/// Airwave.
fn one(
    setup: &Setup,
    id: &'static str,
    protocol: Protocol,
    connections: usize,
    valid: &mut bool,
) -> Result<Listed> {
    let mut report = Report::begin(id)?;
    let mut airwave = Airwave::start(&setup.program, &[])?;
    let ring = Arc::new(Ring::make(&setup.clips, &COUNTED)?);
    let inputs = airwave.inputs(1, false);
    let encoder = Fleet::start(&ring, &[inputs[0].rtmp.clone()], true)?;
    let url = wait_until("a playlist", 10, || airwave.media_playlist(&inputs[0].uid, false).ok());
    let first = newest(&airwave, &url)?.sequence;
    let (address, tls) = (airwave.address("https")?, tls(&airwave.certificate().0)?);
    let pid = airwave.pid();
    let rate =
        asking(setup, pid, Target { address, tls: Some(tls.clone()), path: url.path.clone() })?;

    let before = memory_mb(pid)?.0;
    let mut crowd = Crowd::connect(address, &tls, connections, protocol, "/time")?;
    let all = crowd.requests();
    let mut rounds = Vec::new();
    let mut parked_mb = 0.0;
    let (mut renderings, mut cpu) = (0.0, 0.0);
    for _ in 0..setup.pairs() {
        // The one after that which is being made: there is time for all to ask.
        let number = newest(&airwave, &url)?.segments.last().context("no segments")?.number + 1;
        crowd.ask(&format!("{}?_HLS_msn={number}", url.path))?;
        wait_until("everybody to wait", 4, || {
            let parked = airwave.metric("playlist_requests_parked").ok()?;
            (parked as usize == all).then_some(())
        });
        parked_mb = memory_mb(pid)?.0;
        let (rendered, used) = (airwave.metric("playlist_renderings_total")?, Cpu::of(pid)?);
        rounds.push((number, crowd.answers()?));
        cpu += (Cpu::of(pid)? - used).seconds;
        renderings += airwave.metric("playlist_renderings_total")? - rendered;
    }
    let sent = encoder.cut()?.pictures.pop().context("no pictures")?;
    let mut tells = Vec::new();
    for (number, times) in rounds {
        // The first picture behind a segment ends it; segments are whole groups.
        let closing = (number - first + 1) * GROUP;
        let told = sent.get(usize::try_from(closing)?).context("the picture that ends it")?;
        tells.push(Told::new(*told, &times));
    }
    say(&mut report, all, rate, &tells, (parked_mb - before) * 1e6 / all as f64);
    report.set("renderings", renderings);
    report.say(format_args!("{renderings} renderings in {} rounds", tells.len()));
    let each_us = cpu * 1e6 / (all * tells.len()) as f64;
    report.set("cpu_us_each", each_us);
    report.say(format_args!(
        "{} us of CPU for each answer, with the encoder's parts meanwhile",
        short(each_us)
    ));
    *valid &= report.end(&setup.results)?;
    Ok(Listed { rate, bytes: airwave.playlist(&url)?.0.len() })
}

/// nginx with nchan.
fn nchan(
    setup: &Setup,
    id: &'static str,
    protocol: Protocol,
    connections: usize,
    list: &Listed,
) -> Result<bool> {
    let mut report = Report::begin(id)?;
    let certified = Airwave::start(&setup.program, &[])?;
    let (certificate, key) = certified.certificate();
    let Some(nginx) = setup.peers.nginx_nchan(&certificate, &key) else {
        report.say(format_args!("nchan is left out: it insists on a folder {NCHAN_FOLDER}"));
        return report.end(&setup.results);
    };
    let nginx = nginx?;
    let tls = tls(&certificate)?;
    let pid = nginx.pid();
    let mut teller = Client::connect(nginx.address, tls.clone())?;
    let message = "#".repeat(list.bytes);
    let before = memory_mb(pid)?.0;
    let mut crowd = Crowd::connect(nginx.address, &tls, connections, protocol, "/now")?;
    let (mut tells, mut parked_mb) = (Vec::new(), 0.0);
    for _ in 0..setup.pairs() {
        crowd.ask("/wait")?;
        // It does not tell when all wait; they are on one core, so by now they do.
        std::thread::sleep(Duration::from_secs(1));
        parked_mb = memory_mb(pid)?.0;
        let told = Instant::now();
        teller.post("/tell", &message)?;
        tells.push(Told::new(told, &crowd.answers()?));
    }
    report.say(format_args!("nginx with nchan"));
    report.set("peer", "nginx with nchan");
    let all = crowd.requests();
    say(&mut report, all, list.rate, &tells, (parked_mb - before) * 1e6 / all as f64);
    report.end(&setup.results)
}

/// A round: milliseconds from the publication to the answers.
struct Told {
    p50: f64,
    p99: f64,
    last: f64,
}

impl Told {
    fn new(told: Instant, times: &[Instant]) -> Self {
        let since = |at: &Instant| at.saturating_duration_since(told).as_secs_f64() * 1e3;
        let times = Sample::new(times.iter().map(since));
        Self { p50: times.median(), p99: times.percentile(0.99), last: times.max() }
    }
}

fn say(report: &mut Report, all: usize, rate: f64, tells: &[Told], bytes_each: f64) {
    report.set("waiting", all);
    report.set("playlists_per_cpu_s", rate);
    report.set("bytes_each", bytes_each);
    report.say(format_args!(
        "{all} wait, {} KB each; {} playlists per CPU second otherwise",
        short(bytes_each / 1e3),
        short(rate)
    ));
    let ideal_ms = all as f64 / rate * 1e3;
    for (name, of) in [
        ("first half answered", (|t| t.p50) as fn(&Told) -> f64),
        ("99 of 100 answered", |t| t.p99),
        ("all answered", |t| t.last),
    ] {
        report.sample(name, "ms", &Sample::new(tells.iter().map(of)));
    }
    report.sample("by N / H3", "", &Sample::new(tells.iter().map(|t| t.last / ideal_ms)));
}

fn newest(airwave: &Airwave, url: &Url) -> Result<MediaPlaylist> {
    Ok(airwave.playlist(url)?.1)
}

/// H3 of this playlist, now.
fn asking(setup: &Setup, pid: u32, target: Target) -> Result<f64> {
    let mut viewers = Viewers::connect(&target, ASKING)?;
    viewers.run(Duration::from_millis(500))?;
    let before = Cpu::of(pid)?;
    let answered = viewers.run(setup.window(Duration::from_secs(4)))?;
    let cpu = Cpu::of(pid)? - before;
    ensure!(answered.requests > 0, "no answers");
    Ok(answered.requests as f64 / cpu.seconds)
}
