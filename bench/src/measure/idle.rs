//! F2, F3, F4: what a server costs that nobody uses.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use testkit::Server;

use crate::Setup;
use crate::host::{Cpu, memory_mb, unpin};
use crate::report::Report;

const WINDOW: Duration = Duration::from_secs(20);

/// F2, F3, F4.
pub(crate) fn run(setup: &Setup) -> Result<bool> {
    unpin()?;
    let mut report = Report::begin("F2 F3 F4")?;
    let (whole, stripped) = sizes(setup)?;
    report.set("binary_mb", whole);
    report.set("stripped_mb", stripped);
    report.say(format_args!("the program: {stripped:.1} MB stripped, {whole:.1} MB as built"));

    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let program = setup.program.display().to_string();
    // The second start is the usual one.
    let mut first = Server::start_in(&program, &data, &["log.level=warn"]);
    first.child().terminate();
    first.child().wait(10);
    drop(first);
    let mut server = Server::start_in(&program, &data, &["log.level=warn"]);
    let pid = server.child().id();
    std::thread::sleep(Duration::from_secs(3));
    let before = Cpu::of(pid)?;
    let window = setup.window(WINDOW);
    std::thread::sleep(window);
    let used = Cpu::of(pid)? - before;
    let (resident, peak) = memory_mb(pid)?;
    let seconds = window.as_secs_f64();
    let core = used.seconds / seconds * 100.0;
    let wakeups = used.sleeps as f64 / seconds;
    report.set("resident_mb", resident);
    report.set("resident_peak_mb", peak);
    report.set("core_percent", core);
    report.set("wakeups_per_s", wakeups);
    report.say(format_args!("idle: {resident:.1} MB resident, {peak:.1} MB at most"));
    report.say(format_args!("idle: {core:.3} % of a core, {wakeups:.1} wake-ups a second"));
    report.end(&setup.results)
}

/// The program in MB, as it is and without symbols.
fn sizes(setup: &Setup) -> Result<(f64, f64)> {
    let mb = |path: &std::path::Path| anyhow::Ok(std::fs::metadata(path)?.len() as f64 / 1e6);
    let stripped = tempfile::NamedTempFile::new()?;
    let status =
        Command::new("strip").arg("-o").arg(stripped.path()).arg(&setup.program).status()?;
    ensure!(status.success(), "strip failed");
    Ok((mb(&setup.program)?, mb(stripped.path())?))
}
