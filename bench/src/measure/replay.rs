//! H11: from an encoder's goodbye to a recording that plays.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testkit::wait_until;

use crate::Setup;
use crate::airwave::Airwave;
use crate::load_rtmp::Fleet;
use crate::report::Report;
use crate::ring::{COUNTED, Ring};
use crate::stats::Sample;

const ROUNDS: usize = 10;
const POLL: Duration = Duration::from_millis(1);
const GIVEN_UP: Duration = Duration::from_secs(10);

/// H11.
pub(crate) fn run(setup: &Setup) -> Result<bool> {
    let ring = Arc::new(Ring::make(&setup.clips, &COUNTED)?);
    let mut report = Report::begin("H11")?;
    let airwave = Airwave::start(&setup.program, &[])?;
    let (mut playable, mut ready) = (Vec::new(), Vec::new());
    let rounds = if setup.results.quick { 3 } else { ROUNDS };
    for _ in 0..rounds {
        let (p, r) = once(&airwave, &ring)?;
        playable.push(p);
        ready.push(r);
    }
    report.times("goodbye to a replay that plays", &Sample::new(playable));
    report.times("goodbye to ready in the API", &Sample::new(ready));
    report.end(&setup.results)
}

/// Milliseconds from the goodbye: until the video's playlists have their end and its last segments can
/// be had, and until the API says so.
fn once(airwave: &Airwave, ring: &Arc<Ring>) -> Result<(f64, f64)> {
    let input = airwave.inputs(1, true).pop().context("no input")?;
    let fleet = Fleet::start(ring, std::slice::from_ref(&input.rtmp), false)?;
    let video = airwave.server().wait_live(&input);
    let lists = wait_until("playlists", 10, || {
        let of = |audio| airwave.media_playlist(&video, audio).ok();
        Some([of(false)?, of(true)?])
    });
    std::thread::sleep(Duration::from_secs(7));
    let goodbye = fleet.goodbye()?.goodbye.context("no goodbye")?;
    let ended = |list| -> Result<bool> {
        let (_, list) = match airwave.playlist(list) {
            Ok(list) => list,
            // Between two homes, if there is such a moment: not playable.
            Err(_) => return Ok(false),
        };
        Ok(list.ended && list.segments.iter().all(|s| s.file.is_some()))
    };
    for list in &lists {
        while !ended(list)? {
            ensure!(goodbye.elapsed() < GIVEN_UP, "the playlist does not end");
            std::thread::sleep(POLL);
        }
    }
    for url in &lists {
        let (_, list) = airwave.playlist(url)?;
        let last = list.segments.last().and_then(|s| s.file.as_ref()).context("no segment")?;
        let answer = testkit::request("GET", &url.join(&last.1), &[], b"");
        ensure!(answer.status == 200, "{}: {}", last.1, answer.status);
    }
    let playable = ms(goodbye);
    let state = || {
        let answer = airwave.server().api("GET", &format!("/stream/{video}"), None);
        (answer.status == 200).then(|| answer.json()["result"]["status"]["state"].clone())
    };
    while state().is_none_or(|state| state != "ready") {
        ensure!(goodbye.elapsed() < GIVEN_UP, "the video does not get ready");
        std::thread::sleep(POLL);
    }
    Ok((playable, ms(goodbye)))
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
