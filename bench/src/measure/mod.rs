//! The measures, one file each. Their ids are those of the goals in `RESULTS.md`.

pub(crate) mod clip;
pub(crate) mod delivery;
pub(crate) mod glass;
pub(crate) mod handshake;
pub(crate) mod idle;
pub(crate) mod ingest;
pub(crate) mod moq;
pub(crate) mod otfe;
pub(crate) mod parked;
pub(crate) mod recording;
pub(crate) mod replay;
pub(crate) mod share;
pub(crate) mod silence;
pub(crate) mod start;
pub(crate) mod visible;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::Setup;
use crate::host::Cpu;
use crate::load_rtmp::{Fleet, Sent};
use crate::ring::{BIG_SEGMENTS, COUNTED, HD, HD60, Ring, SMALL_PARTS};

/// Makes all clips.
pub(crate) fn clips(setup: &Setup) -> Result<bool> {
    for spec in [&HD, &HD60, &BIG_SEGMENTS, &SMALL_PARTS, &COUNTED] {
        Ring::make(&setup.clips, spec)?;
    }
    Ok(true)
}

/// What a server used while encoders sent.
#[derive(Debug, Clone, Copy)]
struct Window {
    cpu: Cpu,
    sent: Sent,
    seconds: f64,
    /// What the generator used of its core.
    busy: f64,
    /// Sent by offered.
    delivered: f64,
}

impl Window {
    /// Looks at process `pid` for so long.
    fn look(pid: u32, fleet: &Fleet, offered_bits: f64, length: Duration) -> Result<Self> {
        let generator = std::process::id();
        let (start, before) = (Instant::now(), fleet.sent());
        let (cpu, own) = (Cpu::of(pid)?, Cpu::of(generator)?);
        std::thread::sleep(length);
        let cpu = Cpu::of(pid)? - cpu;
        let after = fleet.sent();
        let seconds = start.elapsed().as_secs_f64();
        let own = Cpu::of(generator)? - own;
        ensure!(fleet.running(), "a connection was lost");
        let bytes = after.bytes - before.bytes;
        let messages = after.messages - before.messages;
        Ok(Self {
            cpu,
            sent: Sent { bytes, messages, ..after },
            seconds,
            busy: own.seconds / seconds,
            delivered: bytes as f64 * 8.0 / seconds / offered_bits,
        })
    }

    /// Per cent of a core.
    fn core(&self) -> f64 {
        self.cpu.seconds / self.seconds * 100.0
    }

    /// Why this window does not count.
    fn void(&self) -> Option<String> {
        // Key frames are spread over a group; what a window of whole groups holds varies little.
        if !(0.985..=1.015).contains(&self.delivered) {
            return Some(format!("{:.1} % of the offered load", self.delivered * 100.0));
        }
        (self.busy > 0.85)
            .then(|| format!("the generator used {:.0} % of its core", self.busy * 100.0))
    }
}
