//! E1, E2, E4 and E8: how much work a segment is and how soon its first part is there.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use encode::{Level, Made};

use super::original::{Film, again, original};
use super::{command, makers};
use crate::Setup;
use crate::host::{self, Cpu};
use crate::report::{Goal, Report};
use crate::stats::{Sample, ratios};

const RUNGS: [&str; 3] = ["480p", "360p", "240p"];
/// So few that five pairs of a whole clip stay within minutes.
const SEGMENTS: usize = 4;
/// Longer than players take who fill a buffer, and shorter than a segment: nothing is measured while they wait.
const PACE: Duration = Duration::from_millis(1_200);
/// Of who fills a buffer: asks within a second of the one before.
const FILLING: Duration = Duration::from_millis(400);
/// Plays, of which each asks for four segments of six: sixty behind a first one.
const PLAYS: u64 = 20;
const PLAYED: u64 = 4;
const PLAY: u64 = 6;
const LONG: Duration = Duration::from_secs(600);

pub(super) fn run(setup: &Setup, film: &Arc<Film>) -> Result<bool> {
    let bench = Bench::new(setup, film)?;
    Ok(bench.costs()? & bench.first_part()? & bench.ahead()?)
}

struct Bench<'a> {
    setup: &'a Setup,
    film: &'a Arc<Film>,
    levels: Vec<Level>,
    numbers: Vec<u64>,
    folder: tempfile::TempDir,
}

impl<'a> Bench<'a> {
    fn new(setup: &'a Setup, film: &'a Arc<Film>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let levels = film.levels(&RUNGS)?;
        let levels = levels.into_iter().filter(|l| l.name != "h264").collect();
        let numbers: Vec<u64> = film.numbers().take(SEGMENTS).collect();
        for number in &numbers {
            std::fs::write(folder.path().join(format!("{number}.mp4")), film.file(*number))?;
        }
        Ok(Self { setup, film, levels, numbers, folder })
    }

    fn file(&self, number: u64) -> PathBuf {
        self.folder.path().join(format!("{number}.mp4"))
    }

    /// CPU seconds of all segments by commands, one for each level of each.
    fn by_command(&self, levels: &[Level]) -> Result<f64> {
        let before = host::of_ended_children()?;
        for number in &self.numbers {
            for level in levels {
                command(&self.file(*number), level, &[], &self.folder.path().join("out.mp4"))?;
            }
        }
        Ok(host::of_ended_children()? - before)
    }

    /// CPU seconds of all segments by us: those of the encoder process and ours. All levels are asked for together.
    fn by_us(&self, levels: &[Level]) -> Result<f64> {
        let (runtime, renditions) = makers(self.setup, LONG)?;
        let own = std::process::id();
        let cpu = host::on_server_core(|| {
            runtime.block_on(async {
                let original = original(self.film);
                // A process that is there already, as while somebody watches.
                renditions.init(original.as_ref(), 1, &levels[0]).await?;
                let before = Cpu::of(own)?;
                for number in &self.numbers {
                    let ask = |level| renditions.segment(&original, *number, level);
                    let made: Vec<Arc<Made>> = levels.iter().map(ask).collect::<Result<_, _>>()?;
                    for made in made {
                        made.part(usize::MAX).await?;
                    }
                }
                // The segment behind the last one is made ahead: that belongs to who goes on watching.
                anyhow::Ok((Cpu::of(own)? - before).seconds)
            })
        })??;
        let counters = renditions.counters();
        ensure!(counters.lost.load(Ordering::Relaxed) == 0, "an encoder was lost");
        Ok(cpu)
    }

    /// E1 and E4.
    fn costs(&self) -> Result<bool> {
        let mut report = Report::begin("E1")?;
        report.set("clip", self.film.name.as_str());
        report.say(format_args!("{}: {} segments", self.film.name, self.numbers.len()));
        for level in self.levels.iter().take(2) {
            let one = std::slice::from_ref(level);
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for _ in 0..self.setup.pairs() {
                theirs.push(self.by_command(one)?);
                ours.push(self.by_us(one)?);
            }
            let name = format!("E1 {}: CPU by the command's", level.name);
            let by = ratios(&ours, &theirs);
            report.sample(&name, "", &by);
            report.goal(&name, by.median(), Goal::at_most(1.05, 0.9));
            report.sample(&format!("{} by the command", level.name), "CPU-s", &Sample::new(theirs));
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..self.setup.pairs() {
            theirs.push(self.by_command(&self.levels)?);
            ours.push(self.by_us(&self.levels)?);
        }
        let (name, by) =
            ("E4: three rungs from one decode by three commands", ratios(&ours, &theirs));
        report.sample(name, "", &by);
        report.goal(name, by.median(), Goal::at_most(0.82, 0.75));
        report.end(&self.setup.results)
    }

    /// E2: with a process that waits for work, and with one that has to start.
    fn first_part(&self) -> Result<bool> {
        let mut report = Report::begin("E2")?;
        report.set("clip", self.film.name.as_str());
        for level in self.levels.iter().take(2) {
            let (mut warm, mut cold, mut whole) = (Vec::new(), Vec::new(), Vec::new());
            for number in &self.numbers {
                let began = Instant::now();
                command(&self.file(*number), level, &[], &self.folder.path().join("out.mp4"))?;
                whole.push(began.elapsed().as_secs_f64() * 1e3);
                cold.push(self.time(level, *number, false)?);
                warm.push(self.time(level, *number, true)?);
            }
            let name = |what: &str| format!("E2 {}, {what}", level.name);
            for (what, times) in
                [("by the command's end", &warm), ("with a start, by the command's end", &cold)]
            {
                let by = ratios(times, &whole);
                report.sample(&name(what), "", &by);
                report.goal(&name(what), by.median(), Goal::at_most(0.5, 0.15));
            }
            report.sample(&name("first part"), "ms", &Sample::new(warm));
        }
        report.end(&self.setup.results)
    }

    /// Milliseconds from the request to the first part.
    fn time(&self, level: &Level, number: u64, warm: bool) -> Result<f64> {
        let (runtime, renditions) = makers(self.setup, LONG)?;
        host::on_server_core(|| {
            runtime.block_on(async {
                let original = original(self.film);
                if warm {
                    renditions.init(original.as_ref(), 1, level).await?;
                }
                let began = Instant::now();
                let made = renditions.segment(&original, number, level)?;
                ensure!(made.part(0).await?.is_some(), "no part");
                Ok(began.elapsed().as_secs_f64() * 1e3)
            })
        })?
    }

    /// E8: a viewer who plays, and one who fills a buffer.
    fn ahead(&self) -> Result<bool> {
        Ok(self.plays("E8", PACE)? & self.plays("E8 (filling)", FILLING)?)
    }

    /// Plays of four segments, each of segments of its own.
    fn plays(&self, name: &'static str, pace: Duration) -> Result<bool> {
        let mut report = Report::begin(name)?;
        let (runtime, renditions) = makers(self.setup, LONG)?;
        let level = &self.levels[1];
        let plays = if self.setup.results.quick { 4 } else { PLAYS };
        let (mut asked, mut whole) = (0, 0);
        host::on_server_core(|| {
            runtime.block_on(async {
                let original = again(self.film, plays * PLAY);
                for play in 0..plays {
                    for number in 0..PLAYED {
                        let made = renditions.segment(&original, play * PLAY + number, level)?;
                        if number > 0 {
                            asked += 1;
                            whole += u64::from(made.whole().is_some());
                        }
                        let next = tokio::time::Instant::now() + pace;
                        made.part(usize::MAX).await?;
                        tokio::time::sleep_until(next).await;
                    }
                }
                anyhow::Ok(())
            })
        })??;
        let counters = renditions.counters();
        let begun = counters.prefetched.load(Ordering::Relaxed);
        let used = counters.prefetched_used.load(Ordering::Relaxed);
        report.set("clip", self.film.name.as_str());
        report.say(format_args!(
            "{}: {used} of {asked} segments behind the first were begun before they were asked for, {whole} of them whole; \
             {} for nobody in {plays} stops",
            self.film.name,
            begun - used
        ));
        let by = used as f64 / f64::from(asked);
        report.goal(&format!("{name}: begun ahead"), by, Goal::at_least(0.98, 0.995));
        let wasted = (begun - used) as f64 / plays as f64;
        report.goal(&format!("{name}: for nobody, each stop"), wasted, Goal::at_most(1.0, 1.0));
        report.end(&self.setup.results)
    }
}
