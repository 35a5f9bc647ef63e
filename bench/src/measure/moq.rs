//! R1 to R9: what a MoQ relay costs, and how late it is, beside other relays and beside bare streams of our own QUIC
//! library.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::Setup;
use crate::airwave::Airwave;
use crate::host::{Cpu, memory_mb, on_server_core};
use crate::load_moq::{CHAT, Crowd, Load, OPEN, PICTURES, SMALL, Shape, Target};
use crate::peer::RELAYS;
use crate::report::{Report, short};
use crate::stats::{Sample, noise, ratios};
use crate::wire;

const WINDOW: Duration = Duration::from_secs(5);
const WARM: Duration = Duration::from_secs(2);

/// All of it.
pub(crate) fn run(setup: &Setup) -> Result<bool> {
    let mut valid = true;
    for (id, what, shape, viewers) in [
        ("R1 R2 R4, A", "6 Mbit/s", PICTURES, 50),
        ("R3 R4, B", "60 objects of 4 KB", SMALL, 100),
        ("R2 R4, D", "20 groups of 1 KB", CHAT, 100),
    ] {
        valid &= cost(setup, id, what, shape, viewers)?;
    }
    valid &= late(setup)?;
    valid &= memory(setup)?;
    valid &= stalled(setup)?;
    Ok(valid)
}

/// The server that is measured, in a process on the server's core.
struct Server {
    pid: u32,
    target: Target,
    _running: Running,
}

enum Running {
    Airwave(#[allow(dead_code, reason = "ends when it is dropped")] Box<Airwave>),
    Peer(#[allow(dead_code, reason = "ends when it is dropped")] crate::peer::Peer),
    Bare(#[allow(dead_code, reason = "ends when it is dropped")] Bare),
}

/// Ends when its input does.
struct Bare(Child, Option<ChildStdin>);

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.1.take());
        let _ = self.0.wait();
    }
}

fn airwave(setup: &Setup) -> Result<Server> {
    let open = format!("moq.open_namespaces=[\"{OPEN}\"]");
    let mut airwave = Airwave::start(&setup.program, &[&open])?;
    let target = Target::Relay(airwave.address("quic")?);
    Ok(Server { pid: airwave.pid(), target, _running: Running::Airwave(Box::new(airwave)) })
}

fn bare(shape: Shape) -> Result<Server> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bare", "--rate", &shape.rate.to_string()]);
    command.args(["--bytes", &shape.bytes.to_string(), "--group", &shape.group.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = on_server_core(|| command.spawn())??;
    let mut port = String::new();
    BufReader::new(child.stdout.take().context("its output")?).read_line(&mut port)?;
    let to = SocketAddr::from(([127, 0, 0, 1], port.trim().parse()?));
    let input = child.stdin.take();
    let pid = child.id();
    Ok(Server { pid, target: Target::Bare(to), _running: Running::Bare(Bare(child, input)) })
}

fn peer(setup: &Setup, name: &str) -> Option<Result<Server>> {
    let peer = setup.peers.relay(name)?;
    Some(peer.map(|peer| {
        let target = Target::Relay(peer.address);
        Server { pid: peer.pid(), target, _running: Running::Peer(peer) }
    }))
}

/// Why a run does not count.
fn void(load: &Load) -> Option<String> {
    if !(0.985..=1.015).contains(&load.delivered) {
        return Some(format!("{:.1} % of the offered load", load.delivered * 100.0));
    }
    (load.busy > 0.85).then(|| format!("the generator used {:.0} % of its core", load.busy * 100.0))
}

/// One run: CPU seconds for 10^9 bytes, and what came.
fn once(setup: &Setup, server: &Server, shape: Shape, viewers: usize) -> Result<(f64, Load)> {
    let mut crowd = Crowd::connect(server.target, shape, (viewers, 0))?;
    crowd.begin(WARM)?;
    let before = Cpu::of(server.pid)?;
    let load = crowd.run(setup.window(WINDOW))?;
    let cpu = (Cpu::of(server.pid)? - before).seconds;
    Ok((cpu / (load.bytes / 1e9), load))
}

/// R1, R2, R3, R4.
fn cost(setup: &Setup, id: &'static str, what: &str, shape: Shape, viewers: usize) -> Result<bool> {
    let mut report = Report::begin(id)?;
    report.say(format_args!("{what} to {viewers}"));
    let wire = Sample::new(
        (0..5).map(|_| wire::cost(Duration::from_millis(300))).collect::<Result<Vec<_>>>()?,
    );
    report.sample("wire", "CPU-s/GB", &wire);
    type Start<'a> = Box<dyn Fn() -> Option<Result<Server>> + 'a>;
    let mut arms: Vec<(&str, Start<'_>)> = vec![
        ("airwave", Box::new(|| Some(airwave(setup)))),
        ("bare", Box::new(move || Some(bare(shape)))),
    ];
    for name in RELAYS {
        arms.push((name, Box::new(move || peer(setup, name))));
    }
    let mut costs: Vec<Vec<f64>> = vec![Vec::new(); arms.len()];
    for _ in 0..setup.pairs() {
        for ((name, start), costs) in arms.iter().zip(&mut costs) {
            let Some(server) = start() else { continue };
            match server.and_then(|server| once(setup, &server, shape, viewers)) {
                Ok((cost, load)) => {
                    // A peer that does not deliver is a finding and not a figure.
                    if let Some(why) = void(&load) {
                        if RELAYS.contains(name) {
                            report.say(format_args!("{name}: {why}"));
                            continue;
                        }
                        report.void(format!("{name}: {why}"));
                    }
                    costs.push(cost);
                }
                Err(error) if RELAYS.contains(name) => {
                    report.say(format_args!("{name}: {error:#}"));
                }
                Err(error) => return Err(error).context(name.to_string()),
            }
        }
    }
    let ours = costs.first().cloned().unwrap_or_default();
    for ((name, _), theirs) in arms.iter().zip(&costs) {
        if theirs.is_empty() {
            report.say(format_args!("{name}: left out"));
            continue;
        }
        report.sample(name, "CPU-s/GB", &Sample::new(theirs.iter().copied()));
        if *name != "airwave" {
            let ratio = ratios(&ours, theirs);
            report.sample(&format!("by {name}"), "", &ratio);
        }
    }
    let by_wire = Sample::new(ours.iter().map(|cost| cost / wire.median()));
    report.sample("by wire", "", &by_wire);
    report.set("noise", noise(&ours));
    report.end(&setup.results)
}

/// R6.
fn late(setup: &Setup) -> Result<bool> {
    let mut report = Report::begin("R6")?;
    let viewers = 100;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..setup.pairs() {
        for (server, runs) in [(bare(PICTURES)?, &mut theirs), (airwave(setup)?, &mut ours)] {
            let (cost, load) = once(setup, &server, PICTURES, viewers)?;
            if let Some(why) = void(&load) {
                report.void(why);
            }
            report.say(format_args!(
                "{} CPU-s/GB, p50 {} ms, p99 {} ms, generator {:.0} %",
                short(cost),
                short(load.late.median()),
                short(load.late.percentile(0.99)),
                load.busy * 100.0
            ));
            runs.push(load.late);
        }
    }
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let added =
            ours.iter().zip(&theirs).map(|(o, t)| o.percentile(share) - t.percentile(share));
        report.sample(&format!("added {name}"), "ms", &Sample::new(added));
    }
    report.end(&setup.results)
}

/// R7, R8.
fn memory(setup: &Setup) -> Result<bool> {
    let mut report = Report::begin("R7 R8")?;
    let viewers = 300;
    for (name, server) in [("airwave", Some(airwave(setup)))]
        .into_iter()
        .chain(RELAYS.map(|name| (name, peer(setup, name))))
    {
        let Some(server) = server else { continue };
        let found = server.and_then(|server| {
            let before = memory_mb(server.pid)?.0;
            let mut crowd = Crowd::connect(server.target, PICTURES, (viewers, 0))?;
            let idle = memory_mb(server.pid)?.0;
            let mut sent = Vec::new();
            // Groups of 2 s: from the third on there is nothing new in it.
            crowd.begin(WARM)?;
            for _ in 0..3 {
                crowd.run(Duration::from_secs(2))?;
                sent.push(memory_mb(server.pid)?.0);
            }
            Ok((before, idle, sent))
        });
        match found {
            Ok((before, idle, sent)) => {
                let each = (idle - before) * 1e3 / viewers as f64;
                report.set(&format!("{name} idle KB"), each);
                report.set(&format!("{name} sending MB"), sent.clone());
                let last = sent.last().copied().unwrap_or(f64::NAN);
                report.say(format_args!(
                    "{name}: {} MB, {} MB with {viewers} who wait ({} KB each), then {} MB",
                    short(before),
                    short(idle),
                    short(each),
                    short(last)
                ));
                let payload = 8.0 * f64::from(PICTURES.rate) * PICTURES.bytes as f64 / 1e6;
                report.say(format_args!("{name}: payload of those 8 s: {} MB", short(payload)));
            }
            Err(error) if name != "airwave" => report.say(format_args!("{name}: {error:#}")),
            Err(error) => return Err(error),
        }
    }
    report.end(&setup.results)
}

/// R9.
fn stalled(setup: &Setup) -> Result<bool> {
    let mut report = Report::begin("R9")?;
    let (mut p99, mut grown) = (Vec::new(), Vec::new());
    for _ in 0..setup.pairs() {
        let mut late = Vec::new();
        let mut memory = Vec::new();
        for (reading, stalled) in [(45, 0), (45, 5)] {
            let server = airwave(setup)?;
            let mut crowd = Crowd::connect(server.target, PICTURES, (reading, stalled))?;
            crowd.begin(WARM)?;
            // Long enough for all that can be held back to be so.
            crowd.run(Duration::from_secs(8))?;
            let load = crowd.run(setup.window(WINDOW))?;
            if let Some(why) = void(&load) {
                report.void(why);
            }
            late.push(load.late.percentile(0.99));
            memory.push(memory_mb(server.pid)?.0);
        }
        p99.push(late[1] / late[0]);
        grown.push((memory[1] - memory[0]) * 1e3 / 5.0);
    }
    report.sample("p99 of the others, by none stalled", "", &Sample::new(p99));
    report.sample("memory of a stalled one", "KB", &Sample::new(grown));
    report.end(&setup.results)
}
