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

/// Per cent of a core that the streams cost, and what was kept of what was sent.
fn arm(setup: &Setup, ring: &Arc<Ring>, on: bool, report: &mut Report) -> Result<(f64, f64)> {
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
    Ok((window.core(), kept as f64 / sent as f64))
}

/// C5.
pub(crate) fn run(setup: &Setup) -> Result<bool> {
    let ring = Arc::new(Ring::make(&setup.clips, &HD)?);
    let mut report = Report::begin("C5")?;
    report.set("streams", STREAMS);
    let (mut off, mut on, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..setup.pairs() {
        off.push(arm(setup, &ring, false, &mut report)?.0);
        let (core, share) = arm(setup, &ring, true, &mut report)?;
        on.push(core);
        kept.push(share);
    }
    report.sample("CPU with recording by CPU without", "", &ratios(&on, &off));
    report.sample("recording on", "% of a core", &Sample::new(on));
    report.sample("recording off", "% of a core", &Sample::new(off.iter().copied()));
    report.sample("bytes kept by bytes sent", "", &Sample::new(kept));
    report.set("noise", noise(&off));
    report.say(format_args!("one run without to the next: {:.1} %", noise(&off) * 100.0));
    report.end(&setup.results)
}
