//! What ten thousand cost who wait while an encoder says nothing: nothing is there for them, and each may be shut out at any time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use testkit::{Url, wait_until};

use crate::Setup;
use crate::airwave::Airwave;
use crate::host::Cpu;
use crate::load_http::tls;
use crate::load_parked::{Crowd, Protocol};
use crate::load_rtmp::Fleet;
use crate::report::{Report, short};
use crate::ring::{COUNTED, Ring};

/// Who wait, each on a connection of his own, over HTTP/1.1 and TLS.
const VIEWERS: usize = 10_000;

/// Links of those who have their own: as many as one input has.
const LINKS: usize = 100;

/// How long they are watched while they wait: less than the three target durations after which they are answered.
const WATCHED: Duration = Duration::from_secs(2);

/// All by the open address, all by one link, and each by one of many.
pub(crate) fn run(setup: &Setup) -> Result<bool> {
    let mut valid = true;
    for (id, links) in [("open", 0), ("one link", 1), ("100 links", LINKS)] {
        valid &= by(setup, id, links)?;
    }
    Ok(valid)
}

fn by(setup: &Setup, id: &'static str, links: usize) -> Result<bool> {
    let mut report = Report::begin(id)?;
    let viewers = if setup.results.quick { VIEWERS / 10 } else { VIEWERS };
    let mut airwave = Airwave::start(&setup.program, &["ingest.reconnect_s=600"])?;
    let ring = Arc::new(Ring::make(&setup.clips, &COUNTED)?);
    let input = airwave.inputs(1, false).remove(0);
    let encoder = Fleet::start(&ring, std::slice::from_ref(&input.rtmp), false)?;
    let url = wait_until("a playlist", 10, || airwave.media_playlist(&input.uid, false).ok());
    let list = url.path.strip_prefix(&format!("/{}", input.uid)).context("an address")?.to_owned();
    let mut segments = vec![input.uid.clone()];
    if links > 0 {
        let lock = json!({ "recording": { "requireSignedURLs": true } });
        let path = format!("/stream/live_inputs/{}", input.uid);
        ensure!(airwave.server().api("PUT", &path, Some(&lock)).status == 200, "not locked");
        segments.clear();
    }
    for n in 0..links {
        let (path, name) =
            (format!("/stream/{}/links", input.uid), json!({ "name": n.to_string() }));
        let made = airwave.server().api("POST", &path, Some(&name)).json();
        segments.push(made["result"]["token"].as_str().context("no link")?.to_owned());
    }
    let path = |n: usize| format!("/{}{list}", segments[n % segments.len()]);
    let (address, tls) = (airwave.address("https")?, tls(&airwave.certificate().0)?);
    let mut crowd = Crowd::connect(address, &tls, viewers, Protocol::Http1, "/time")?;
    encoder.cut()?;
    wait_until("the loss", 10, || (airwave.metric("rtmp_encoders").ok()? == 0.0).then_some(()));
    let (newest, pid) = (Url { path: path(0), ..url }, airwave.pid());
    let (mut waited, mut used) = (0.0, 0.0);
    for _ in 0..setup.pairs() {
        let newest = airwave.playlist(&newest)?.1.segments.pop().context("no segments")?.number;
        crowd.ask_each(|n| format!("{}?_HLS_msn={}", path(n), newest + 1))?;
        let all_wait = || {
            Ok::<_, anyhow::Error>(airwave.metric("playlist_requests_parked")? == viewers as f64)
        };
        wait_until("everybody to wait", 5, || all_wait().ok().filter(|all| *all));
        let (began, before) = (Instant::now(), Cpu::of(pid)?);
        std::thread::sleep(WATCHED);
        used += (Cpu::of(pid)? - before).seconds;
        waited += began.elapsed().as_secs_f64();
        ensure!(all_wait()?, "some were answered while they were watched");
        crowd.answers()?;
    }
    let percent = used / waited * 100.0;
    report.set("waiting", viewers);
    report.set("core_percent", percent);
    report.say(format_args!("{viewers} wait by {id}: {} % of a core", short(percent)));
    report.end(&setup.results)
}
