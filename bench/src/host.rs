//! The machine: which core runs what, and what a process has used.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_setaffinity};

/// The core of the server under test.
pub(crate) const SERVER_CORE: usize = 0;
/// The core of the load generator.
pub(crate) const LOAD_CORE: usize = 1;

/// Keeps this thread, and what it starts from now on, to one core.
pub(crate) fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).with_context(|| format!("can't run on core {core} alone"))
}

/// Lets this thread run on every core again.
pub(crate) fn unpin() -> Result<()> {
    let mut set = CpuSet::new();
    for core in 0..cores() {
        set.set(core);
    }
    sched_setaffinity(None, &set).context("can't run on all cores")
}

fn cores() -> usize {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines().filter(|line| line.starts_with("processor")).count().max(1)
}

/// Runs `start` so that the process it starts has the server's core for itself.
pub(crate) fn on_server_core<T>(start: impl FnOnce() -> T) -> Result<T> {
    pin(SERVER_CORE)?;
    let started = start();
    pin(LOAD_CORE)?;
    Ok(started)
}

/// CPU time that a process and its children have used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Cpu {
    /// Seconds on a core.
    pub(crate) seconds: f64,
    /// Of these, in the kernel; counted in ticks of 10 ms.
    pub(crate) system: f64,
    /// Times that a thread went to sleep of its own accord.
    pub(crate) sleeps: u64,
}

impl std::ops::Sub for Cpu {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            seconds: self.seconds - before.seconds,
            system: self.system - before.system,
            sleeps: self.sleeps.saturating_sub(before.sleeps),
        }
    }
}

impl Cpu {
    /// Of the process `pid` and its living children. Nanoseconds from `schedstat` where no thread has
    /// ended; the process's own count, in ticks, where one has and took its nanoseconds along.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let mut all = Self::of_process(pid)?;
        for child in children(pid) {
            // A child may end at any time.
            let cpu = Self::of(child).unwrap_or_default();
            all.seconds += cpu.seconds;
            all.system += cpu.system;
            all.sleeps += cpu.sleeps;
        }
        Ok(all)
    }

    fn of_process(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
            .with_context(|| format!("process {pid} is gone"))?;
        let (user, system) = ticks(&stat).context("/proc/PID/stat")?;
        let mut cpu = Self { seconds: 0.0, system, sleeps: 0 };
        for task in tasks(pid) {
            let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
            let nanos = text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
            cpu.seconds += nanos as f64 / 1e9;
            let status = fs::read_to_string(task.join("status")).unwrap_or_default();
            cpu.sleeps += status_number(&status, "voluntary_ctxt_switches:").unwrap_or(0);
        }
        cpu.seconds = cpu.seconds.max(user + system - 0.01);
        Ok(cpu)
    }

    /// Of this thread.
    pub(crate) fn of_this_thread() -> f64 {
        let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let nanos = text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        nanos as f64 / 1e9
    }
}

/// CPU seconds of all children of this process that have ended and were waited for; in ticks of 10 ms.
pub(crate) fn of_ended_children() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, rest) = stat.rsplit_once(')').context("/proc/self/stat")?;
    let fields = rest.split_whitespace().skip(13).take(2);
    let ticks: u64 = fields.map(|field| field.parse::<u64>().unwrap_or(0)).sum();
    Ok(ticks as f64 / 100.0)
}

fn tasks(pid: u32) -> Vec<std::path::PathBuf> {
    let folder = fs::read_dir(format!("/proc/{pid}/task"));
    folder.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn children(pid: u32) -> Vec<u32> {
    let lists = tasks(pid).into_iter().map(|task| fs::read_to_string(task.join("children")));
    let text: Vec<String> = lists.filter_map(Result::ok).collect();
    text.iter().flat_map(|t| t.split_whitespace()).filter_map(|n| n.parse().ok()).collect()
}

/// User and system seconds of `/proc/PID/stat`. The name in it may hold anything, so what follows it
/// is counted from its closing bracket.
fn ticks(stat: &str) -> Option<(f64, f64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut seconds = || Some(fields.next()?.parse::<u64>().ok()? as f64 / 100.0);
    Some((seconds()?, seconds()?))
}

/// A number of `/proc/PID/status`.
fn status_number(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Memory of a process in MB (10^6): resident now, and the most it has been.
pub(crate) fn memory_mb(pid: u32) -> Result<(f64, f64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mb = |name| status_number(&status, name).map(|kib| kib as f64 * 1024.0 / 1e6);
    Ok((mb("VmRSS:").context("no VmRSS")?, mb("VmHWM:").context("no VmHWM")?))
}

/// Bytes of all files below a folder.
pub(crate) fn bytes_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

/// What kind of machine this is, without its name.
pub(crate) fn class() -> String {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let gib = status_number(&memory, "MemTotal:").unwrap_or(0) as f64 / f64::from(1 << 20);
    let flags = cpuinfo("flags");
    let kind = if flags.split(' ').any(|f| f == "hypervisor") { "virtual" } else { "bare" };
    let (processor, arch) = (processor(), std::env::consts::ARCH);
    format!("{} {kind} cores, {processor}, {arch}, {gib:.0} GiB, Linux {}", cores(), kernel())
}

/// The processor's name.
pub(crate) fn processor() -> String {
    cpuinfo("model name")
}

fn cpuinfo(name: &str) -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|line| line.starts_with(name));
    line.and_then(|l| l.split_once(": ")).map_or_else(String::new, |(_, v)| v.trim().to_owned())
}

/// Major and minor number of the kernel: what follows names its builder.
fn kernel() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    text.trim().split(['.', '-']).take(2).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proc_says() {
        let stat = "42 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 250 75 0 0 20 0 4 0 100 0 0";
        assert_eq!(ticks(stat), Some((2.5, 0.75)));
        assert_eq!(ticks("42 (short) S 1"), None);
        let status = "VmHWM:\t  2000 kB\nVmRSS:\t  1000 kB\nvoluntary_ctxt_switches:\t7\n";
        assert_eq!(status_number(status, "VmRSS:"), Some(1000));
        assert_eq!(status_number(status, "voluntary_ctxt_switches:"), Some(7));
        assert_eq!(status_number(status, "VmSwap:"), None);
    }

    #[test]
    fn this_process_uses_time() {
        let before = Cpu::of(std::process::id()).unwrap();
        let mut x = 1_u64;
        while (Cpu::of(std::process::id()).unwrap() - before).seconds < 0.02 {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        assert!(memory_mb(std::process::id()).unwrap().0 > 1.0);
        assert!(Cpu::of(u32::MAX).is_err());
    }

    #[test]
    fn files_are_counted_with_their_folders() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/b"), [0; 100]).unwrap();
        fs::write(folder.path().join("c"), [0; 11]).unwrap();
        assert_eq!(bytes_below(folder.path()), 111);
    }
}
