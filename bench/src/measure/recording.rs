//! C5: what recording adds to a stream.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use testkit::wait_until;

use super::Window;
use crate::Setup;
use crate::airwave::Airwave;
use crate::host::bytes_below;
use crate::load_rtmp::Fleet;
use crate::report::Report;
use crate::ring::{HD, Ring};
use crate::stats::{Sample, noise, ratios};

const STREAMS: usize = 10;
const WARM: Duration = Duration::from_secs(5);
const WINDOW: Duration = Duration::from_secs(12);

/// What an acknowledgement may take on one machine (C5), as a class of the metric.
const ACKNOWLEDGED_S: &str = "0.02";

struct Arm {
    /// Per cent of a core that the streams cost.
    core: f64,
    /// Bytes kept by bytes sent.
    kept: f64,
    /// Per cent of the segments that were synced and committed in time.
    in_time: f64,
}

fn arm(setup: &Setup, ring: &Arc<Ring>, on: bool, report: &mut Report) -> Result<Arm> {
    let mut airwave = Airwave::start(&setup.program, &[])?;
    let inputs = airwave.inputs(STREAMS, on);
    let urls: Vec<String> = inputs.iter().map(|input| input.rtmp.clone()).collect();
    let fleet = Fleet::start(ring, &urls, false)?;
    std::thread::sleep(WARM);
    let (pid, offered) = (airwave.pid(), ring.bits_per_s() * STREAMS as f64);
    let window = Window::look(pid, &fleet, offered, setup.window(WINDOW))?;
    if let Some(why) = window.void() {
        report.void(why);
    }
    let sent = fleet.sent().bytes;
    fleet.goodbye()?;
    wait_until("the recordings to be complete", 20, || {
        airwave.metric("broadcasts").is_ok_and(|n| n == 0.0).then_some(())
    });
    let kept = bytes_below(&airwave.server().data().join("media"));
    let segments = airwave.metric("segment_commit_seconds_count")?;
    let in_time = format!("segment_commit_seconds_bucket{{le=\"{ACKNOWLEDGED_S}\"}}");
    let in_time = airwave.metric(&in_time)? / segments * 100.0;
    Ok(Arm { core: window.core(), kept: kept as f64 / sent as f64, in_time })
}

/// C5.
pub(crate) fn run(setup: &Setup) -> Result<bool> {
    let ring = Arc::new(Ring::make(&setup.clips, &HD)?);
    let mut report = Report::begin("C5")?;
    report.set("streams", STREAMS);
    let (mut off, mut on) = (Vec::new(), Vec::new());
    let (mut kept, mut in_time) = (Vec::new(), Vec::new());
    for _ in 0..setup.pairs() {
        off.push(arm(setup, &ring, false, &mut report)?.core);
        let arm = arm(setup, &ring, true, &mut report)?;
        on.push(arm.core);
        kept.push(arm.kept);
        in_time.push(arm.in_time);
    }
    report.sample("CPU with recording by CPU without", "", &ratios(&on, &off));
    report.sample("recording on", "% of a core", &Sample::new(on));
    report.sample("recording off", "% of a core", &Sample::new(off.iter().copied()));
    report.sample("bytes kept by bytes sent", "", &Sample::new(kept));
    report.sample("segments synced and committed within 20 ms", "%", &Sample::new(in_time));
    report.set("noise", noise(&off));
    report.say(format_args!("one run without to the next: {:.1} %", noise(&off) * 100.0));
    report.end(&setup.results)
}
