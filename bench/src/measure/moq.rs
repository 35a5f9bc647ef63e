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
use crate::load_moq::{CHAT, Crew, Crowd, Load, OPEN, PICTURES, SMALL, Shape, Target, audience};
use crate::peer::RELAYS;
use crate::report::{Goal, Report, short};
use crate::stats::{Sample, noise, ratios};
use crate::wire;

const WINDOW: Duration = Duration::from_secs(4);
/// A group and more: who comes to bare streams waits for the next one.
const WARM: Duration = Duration::from_millis(2_500);

/// Rounds of all arms: with four arms each, all of it takes twelve minutes.
const ROUNDS: usize = 3;

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// One publisher of 6 Mbit/s to 50, to 100, and to 300
    A,
    /// Small objects to 200
    B,
    /// 20 publishers, each to 8
    C,
    /// Chat: a group for each object
    D,
    /// How late it is
    Late,
    /// Memory of those who wait, and of what is sent
    Memory,
    /// A tenth that reads nothing
    Stalled,
}

impl Part {
    const EACH: [Self; 7] =
        [Self::A, Self::B, Self::C, Self::D, Self::Late, Self::Memory, Self::Stalled];
}

const BY_WIRE: (&str, Goal) = ("R1", Goal::within(4.5, Some(2.0)));
const BY_RELAY: (&str, Goal) = ("R2", Goal::within(0.8, Some(0.35)));
const BY_RELAY_SMALL: (&str, Goal) = ("R3", Goal::within(0.5, Some(0.2)));
const BY_BARE: (&str, Goal) = ("R4", Goal::within(1.15, Some(0.6)));
const ADDED_P50: (&str, Goal) = ("R6", Goal::within(1.0, None));
const ADDED_P99: (&str, Goal) = ("R6", Goal::within(5.0, None));
const IDLE_KB: (&str, Goal) = ("R7", Goal::within(80.0, Some(30.0)));
const STALLED_P99: (&str, Goal) = ("R9", Goal::within(1.3, Some(1.05)));

/// All of it, or a part.
pub(crate) fn run(setup: &Setup, part: Option<Part>) -> Result<bool> {
    let mut valid = true;
    for part in part.map_or(Part::EACH.to_vec(), |part| vec![part]) {
        valid &= match part {
            Part::A => Ok(cost(setup, &Cost::A)?
                & cost(setup, &Cost::A_TO_100)?
                & cost(setup, &Cost::A_TO_300)?),
            Part::B => cost(setup, &Cost::B),
            Part::C => cost(setup, &Cost::C),
            Part::D => cost(setup, &Cost::D),
            Part::Late => late(setup),
            Part::Memory => memory(setup),
            Part::Stalled => stalled(setup),
        }?;
    }
    Ok(valid)
}

fn rounds(setup: &Setup) -> usize {
    setup.pairs().min(ROUNDS)
}

/// What is sent to whom, and what it should cost.
struct Cost {
    id: &'static str,
    what: &'static str,
    shape: Shape,
    crew: Crew,
    by_wire: Option<(&'static str, Goal)>,
    by_relay: Option<(&'static str, Goal)>,
    /// None: there is no such thing as this over bare streams.
    by_bare: Option<(&'static str, Goal)>,
}

impl Cost {
    const A: Self = Self {
        id: "R1 R2 R4, A",
        what: "6 Mbit/s to 50",
        shape: PICTURES,
        crew: audience(50),
        by_wire: Some(BY_WIRE),
        by_relay: Some(BY_RELAY),
        by_bare: Some(BY_BARE),
    };
    const A_TO_100: Self =
        Self { id: "R1 R2 R4, A to 100", what: "6 Mbit/s to 100", crew: audience(100), ..Self::A };
    const A_TO_300: Self =
        Self { id: "R1 R2 R4, A to 300", what: "6 Mbit/s to 300", crew: audience(300), ..Self::A };
    const B: Self = Self {
        id: "R3 R4, B",
        what: "60 objects of 4 KB a second to 200",
        shape: SMALL,
        crew: audience(200),
        by_wire: None,
        by_relay: Some(BY_RELAY_SMALL),
        by_bare: Some(BY_BARE),
    };
    /// A fifth of moq-bench's 100 publishers, as there is one core for all.
    const C: Self = Self {
        id: "R2, C",
        what: "20 publishers of 6 Mbit/s, each to 8",
        shape: PICTURES,
        crew: Crew { publishers: 20, reading: 160, stalled: 0 },
        by_wire: None,
        by_relay: Some(BY_RELAY),
        by_bare: None,
    };
    const D: Self = Self {
        id: "R4, D",
        what: "20 groups of 1 KB a second to 100",
        shape: CHAT,
        crew: audience(100),
        by_wire: None,
        by_relay: None,
        by_bare: Some(BY_BARE),
    };
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

/// One run.
#[derive(Debug, Clone)]
struct Run {
    /// CPU seconds for 10^9 bytes.
    cost: f64,
    /// What the server used of its core.
    core: f64,
    /// What came.
    load: Load,
}

fn once(setup: &Setup, server: &Server, shape: Shape, crew: Crew) -> Result<Run> {
    let mut crowd = Crowd::connect(server.target, shape, crew)?;
    crowd.begin(WARM)?;
    let before = Cpu::of(server.pid)?;
    let window = setup.window(WINDOW);
    let load = crowd.run(window)?;
    let cpu = (Cpu::of(server.pid)? - before).seconds;
    Ok(Run { cost: cpu / (load.bytes / 1e9), core: cpu / window.as_secs_f64(), load })
}

/// How a server is started; nothing, if it is not there.
type Start<'a> = Box<dyn Fn() -> Option<Result<Server>> + 'a>;

/// Airwave, bare streams where there are any, and the relays of others.
fn arms(setup: &Setup, shape: Shape, with_bare: bool) -> Vec<(&'static str, Start<'_>)> {
    let mut arms: Vec<(&str, Start<'_>)> =
        vec![("airwave", Box::new(move || Some(airwave(setup))))];
    if with_bare {
        arms.push(("bare", Box::new(move || Some(bare(shape)))));
    }
    for name in RELAYS {
        arms.push((name, Box::new(move || peer(setup, name))));
    }
    arms
}

/// All arms in turn; what each has done, by its name.
fn all(
    setup: &Setup,
    report: &mut Report,
    (shape, crew): (Shape, Crew),
    with_bare: bool,
) -> Result<Vec<(&'static str, Vec<Run>)>> {
    let arms = arms(setup, shape, with_bare);
    let mut runs: Vec<_> = arms.iter().map(|(name, _)| (*name, Vec::new())).collect();
    for _ in 0..rounds(setup) {
        for ((name, start), (_, runs)) in arms.iter().zip(&mut runs) {
            let Some(server) = start() else { continue };
            match server.and_then(|server| once(setup, &server, shape, crew)) {
                Ok(run) => {
                    if let Some(why) = void(&run.load) {
                        // A peer that does not deliver is a finding and not a figure.
                        if RELAYS.contains(name) && run.load.delivered < 0.9 {
                            report.say(format_args!("{name}: {why}"));
                            continue;
                        }
                        report.void(format!("{name}: {why}"));
                    }
                    runs.push(run);
                }
                Err(error) if RELAYS.contains(name) => {
                    report.say(format_args!("{name}: {error:#}"));
                }
                Err(error) => return Err(error).context(*name),
            }
        }
    }
    for (name, runs) in &runs {
        let Some(run) = runs.first() else {
            report.say(format_args!("{name}: left out"));
            continue;
        };
        report.say(format_args!(
            "{name}: {:.0} % of its core, generator {:.0} %",
            run.core * 100.0,
            run.load.busy * 100.0
        ));
    }
    Ok(runs)
}

/// R1, R2, R3, R4.
fn cost(setup: &Setup, cost: &Cost) -> Result<bool> {
    let mut report = Report::begin(cost.id)?;
    report.say(format_args!("{}", cost.what));
    let wire = Sample::new(
        (0..5).map(|_| wire::cost(Duration::from_millis(300))).collect::<Result<Vec<_>>>()?,
    );
    report.sample("wire", "CPU-s/GB", &wire);
    let runs = all(setup, &mut report, (cost.shape, cost.crew), cost.by_bare.is_some())?;
    let costs = |runs: &[Run]| runs.iter().map(|run| run.cost).collect::<Vec<_>>();
    let ours = runs.first().map(|(_, runs)| costs(runs)).unwrap_or_default();
    for (name, theirs) in runs.iter().filter(|(_, runs)| !runs.is_empty()) {
        let theirs = costs(theirs);
        report.sample(name, "CPU-s/GB", &Sample::new(theirs.iter().copied()));
        if *name == "airwave" {
            continue;
        }
        let (by, ratio) = (format!("by {name}"), ratios(&ours, &theirs));
        let goal = match *name {
            "bare" => cost.by_bare,
            "moq-relay" => cost.by_relay,
            _ => None,
        };
        match goal {
            Some(goal) => report.judged(goal, &by, "", &ratio),
            None => report.sample(&by, "", &ratio),
        }
    }
    let by_wire = Sample::new(ours.iter().map(|cost| cost / wire.median()));
    match cost.by_wire {
        Some(goal) => report.judged(goal, "by wire", "", &by_wire),
        None => report.sample("by wire", "", &by_wire),
    }
    report.set("noise", noise(&ours));
    report.end(&setup.results)
}

/// R6.
fn late(setup: &Setup) -> Result<bool> {
    let mut report = Report::begin("R6")?;
    report.say(format_args!("6 Mbit/s to 100"));
    let runs = all(setup, &mut report, (PICTURES, audience(100)), true)?;
    let late = |of: &str, share| -> Vec<f64> {
        let runs = runs.iter().filter(|(name, _)| *name == of).flat_map(|(_, runs)| runs);
        runs.map(|run| run.load.late.percentile(share)).collect()
    };
    for (name, share, goal) in [("p50", 0.5, ADDED_P50), ("p99", 0.99, ADDED_P99)] {
        for (of, _) in runs.iter().filter(|(_, runs)| !runs.is_empty()) {
            report.sample(&format!("{of} {name}"), "ms", &Sample::new(late(of, share)));
        }
        let (ours, theirs) = (late("airwave", share), late("bare", share));
        let added = Sample::new(ours.iter().zip(&theirs).map(|(ours, theirs)| ours - theirs));
        report.judged(goal, &format!("added {name}"), "ms", &added);
    }
    report.end(&setup.results)
}

/// R7, R8.
fn memory(setup: &Setup) -> Result<bool> {
    let mut report = Report::begin("R7 R8")?;
    let viewers = 300;
    let mut idle_kb = Vec::new();
    for (name, server) in [("airwave", Some(airwave(setup)))]
        .into_iter()
        .chain(RELAYS.map(|name| (name, peer(setup, name))))
    {
        let Some(server) = server else { continue };
        let found = server.and_then(|server| {
            let before = memory_mb(server.pid)?.0;
            let mut crowd = Crowd::connect(server.target, PICTURES, audience(viewers))?;
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
                idle_kb.push((name, each));
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
    let each = |of: &str| idle_kb.iter().find(|(name, _)| *name == of).map(|(_, each)| *each);
    report.judged(IDLE_KB, "each who waits", "KB", &Sample::new(each("airwave")));
    if let Some((ours, theirs)) = each("airwave").zip(each("moq-relay")) {
        report.sample("by moq-relay", "", &Sample::new([ours / theirs]));
    }
    report.end(&setup.results)
}

/// R9.
fn stalled(setup: &Setup) -> Result<bool> {
    let mut report = Report::begin("R9")?;
    let (mut p99, mut grown) = (Vec::new(), Vec::new());
    for _ in 0..rounds(setup) {
        let mut late = Vec::new();
        let mut memory = Vec::new();
        for stalled in [0, 5] {
            let crew = Crew { stalled, ..audience(45) };
            let server = airwave(setup)?;
            let mut crowd = Crowd::connect(server.target, PICTURES, crew)?;
            crowd.begin(WARM)?;
            // Long enough for all that can be held back to be so.
            crowd.run(Duration::from_secs(6))?;
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
    let p99 = Sample::new(p99);
    report.judged(STALLED_P99, "p99 of the others, by none stalled", "", &p99);
    report.sample("memory of a stalled one", "KB", &Sample::new(grown));
    report.end(&setup.results)
}
