//! H9: from the moment the encoder gives a picture to its socket to the moment Chromium shows it, by
//! the number drawn into it. HTTPS and HTTP/2, our player.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::Setup;
use crate::airwave::Airwave;
use crate::host::unpin;
use crate::load_rtmp::{Fleet, counter_of};
use crate::report::{Report, short};
use crate::ring::{COUNTED, Ring};
use crate::stats::Sample;

const SECONDS: u32 = 20;
/// Until the player has found its distance to the live edge.
const SETTLE: &str = "8";

/// H9.
pub(crate) fn run(setup: &Setup) -> Result<bool> {
    let mut valid = true;
    for part_ms in [333, 200] {
        valid &= with_parts(setup, part_ms)?;
    }
    Ok(valid)
}

fn with_parts(setup: &Setup, part_ms: u32) -> Result<bool> {
    let ring = Arc::new(Ring::make(&setup.clips, &COUNTED)?);
    let mut report = Report::begin("H9")?;
    // Without QUIC: the page would take MoQ.
    let settings = [&format!("hls.part_ms={part_ms}")[..], "quic.listen=off"];
    let airwave = Airwave::start(&setup.program, &settings)?;
    // The browser needs both cores.
    unpin()?;
    let input = airwave.inputs(1, false).pop().context("no input")?;
    let clocks = (Instant::now(), SystemTime::now());
    let fleet = Fleet::start(&ring, std::slice::from_ref(&input.rtmp), true)?;
    airwave.server().wait_live(&input);
    let url = format!("https://{}/{}/watch", airwave.address("https")?, input.uid);
    let seconds = if setup.results.quick { 8 } else { SECONDS };
    let more = ["--counter", "--no-tone", "--settle", SETTLE];
    let played = testkit::play(&url, "airwave", seconds, &more);
    ensure!(fleet.running(), "the encoder's connection was lost");
    let sent = fleet.cut()?.pictures.pop().context("no pictures")?;
    let sent: Vec<f64> = sent.iter().map(|at| wall_ms(clocks, *at)).collect();
    let origin = played.0["timeOriginMs"].as_f64().context("no pictures were shown")?;
    let frames = played.0["framesShown"]["list"].as_array().context("no list of frames")?;
    let shown = frames.iter().filter_map(|frame| {
        let at = origin + frame["expectedDisplayTime"].as_f64()?;
        latency(&sent, frame["counter"].as_u64()?, at)
    });
    let latency = Sample::new(shown);
    let share = played.presented_share();
    let stalls = played.0["stalls"].as_array().map_or(0, Vec::len);
    if share < 0.95 || stalls > 0 {
        report.void(format!("{:.1} % of the pictures shown, {stalls} stalls", share * 100.0));
    }
    let way = (&played.0["modes"], &played.0["protocols"]);
    if way != (&json!(["Low latency"]), &json!(["h2"])) {
        report.void(format!("played another way: {way:?}"));
    }
    report.set("part_ms", part_ms);
    report.set("presented_share", share);
    report.set("stalls", stalls);
    report.set("target_s", played.0["targetLatencySeconds"].clone());
    report.times(&format!("picture sent to picture shown, parts of {part_ms} ms"), &latency);
    report.say(format_args!(
        "{} % of the pictures shown, {stalls} stalls; the player aims at {} s",
        short(share * 100.0),
        played.0["targetLatencySeconds"]
    ));
    report.end(&setup.results)
}

/// An instant as milliseconds since 1970, by one look at both clocks.
fn wall_ms(clocks: (Instant, SystemTime), at: Instant) -> f64 {
    let base = clocks.1.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    (base + at.saturating_duration_since(clocks.0).as_secs_f64()) * 1e3
}

/// From the newest picture with this number that was sent before `shown_ms`.
fn latency(sent_ms: &[f64], counter: u64, shown_ms: f64) -> Option<f64> {
    let with_number = sent_ms.iter().enumerate().rev();
    let mut with_number = with_number.filter(|(n, _)| counter_of(*n as u64) == counter);
    with_number.find(|(_, at)| **at < shown_ms).map(|(_, at)| shown_ms - at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_of_the_newest_picture_that_can_be_meant() {
        let sent: Vec<f64> = (0..600).map(|n| f64::from(n) * 33.0).collect();
        for (counter, shown, expect) in [
            (0, 1_000.0, Some(1_000.0)),
            // 240 came at 7,920 ms.
            (0, 8_000.0, Some(80.0)),
            (239, 8_000.0, Some(8_000.0 - 239.0 * 33.0)),
            (5, 100.0, None),
            (240, 9_000.0, None),
        ] {
            assert_eq!(latency(&sent, counter, shown), expect, "{counter} at {shown}");
        }
    }
}
