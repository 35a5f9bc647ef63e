//! An encoder that is none of the processor's: whether it works, and when it is tried again after it has failed.
//!
//! Whoever plays must not notice which of the two made a segment: what a level begins with holds the parameter sets of both,
//! under ids of their own ([`Coder`]), and every segment says which it is coded with.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use media::codec::h264::annex_b_to_lengths;
use tokio::time::Instant as Timestamp;

use crate::limits::HARDWARE_AGAIN_MAX;
use crate::off::Off;
use crate::renditions::SOFTWARE;

/// Who encodes the pictures of a level, and the id of the parameter sets that they refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Coder<'a> {
    /// The encoder's name in FFmpeg.
    pub(crate) encoder: &'a str,
    /// Encoders in hardware take 0 and can't be told another one.
    pub(crate) parameter_set: u8,
}

/// The id that libx264 has where an encoder in hardware is configured.
const BESIDE: u8 = 1;

impl<'a> Coder<'a> {
    /// libx264, where nothing else is configured.
    pub(crate) const ALONE: Self = Self { encoder: SOFTWARE, parameter_set: 0 };
    /// libx264, in the place of an encoder in hardware.
    pub(crate) const IN_ITS_PLACE: Self = Self { encoder: SOFTWARE, parameter_set: BESIDE };

    /// An encoder in hardware.
    pub(crate) fn hardware(encoder: &'a str) -> Self {
        Self { encoder, parameter_set: 0 }
    }

    pub(crate) fn is_hardware(self) -> bool {
        self.encoder != SOFTWARE
    }
}

/// Whether parameter sets in Annex B have the id that libx264 has beside them: pictures could be read by the wrong ones.
pub(crate) fn clashes(parameters: &[u8]) -> bool {
    // H.264 §9.1: 1 is 010. §7.3.2.1.1 and §7.3.2.2: in an SPS it stands behind profile, constraints and level.
    let is_beside = |byte: Option<&u8>| byte.is_some_and(|byte| byte >> 5 == 0b010);
    let mut rest = annex_b_to_lengths(parameters).unwrap_or_else(|_| Bytes::new());
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = (u32::from_be_bytes(*length) as usize).min(behind.len());
        let (unit, _) = behind.split_at(length);
        let clashes = match unit.first().map(|kind| kind & 0x1f) {
            Some(7) => is_beside(unit.get(4)),
            Some(8) => is_beside(unit.get(1)),
            _ => false,
        };
        if clashes {
            return true;
        }
        rest = rest.slice(4 + length..);
    }
    false
}

/// The encoder that is configured, when it is none of the processor's.
pub(crate) struct Hardware {
    name: String,
    /// Differs from one server to the next: with another driver the same level begins with something else.
    run: u128,
    /// How long it is left alone when it has failed once.
    again: Duration,
    state: Mutex<State>,
}

struct State {
    off: Option<Off>,
    /// Since when it works.
    since: Timestamp,
    /// How long it is left alone if it fails now.
    wait: Duration,
}

impl Hardware {
    pub(crate) fn new(name: String, again: Duration) -> Self {
        let run = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let state = State { off: None, since: Timestamp::now(), wait: again };
        Self { name, run, again, state: Mutex::new(state) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Of this encoder in this server.
    pub(crate) fn id(&self) -> String {
        format!("{} {}", self.name, self.run)
    }

    pub(crate) fn works(&self) -> bool {
        self.state().off.is_none()
    }

    /// It has failed: it is left alone for a while, each time for longer. False if that is known already.
    pub(crate) fn fails(&self, why: &str) -> bool {
        let mut state = self.state();
        if state.off.is_some() {
            return false;
        }
        let now = Timestamp::now();
        // What has worked for so long is not what failed before.
        if now.saturating_duration_since(state.since) > HARDWARE_AGAIN_MAX {
            state.wait = self.again;
        }
        tracing::warn!(encoder = %self.name, %why, again_in = ?state.wait, "the encoder has failed; {SOFTWARE} does it");
        state.goes_off(why, now);
        true
    }

    /// When it is to be tried again.
    pub(crate) fn again_at(&self) -> Option<Timestamp> {
        self.state().off.as_ref()?.until()
    }

    /// Whether it is to be tried now; then it is, and nobody else does.
    pub(crate) fn is_due(&self) -> bool {
        self.state().off.as_mut().is_some_and(Off::is_due)
    }

    /// What came of it. True if it works again.
    pub(crate) fn tried(&self, outcome: Result<(), String>) -> bool {
        let mut state = self.state();
        match outcome {
            Ok(()) => {
                tracing::info!(encoder = %self.name, "the encoder works again");
                state.off = None;
                state.since = Timestamp::now();
                true
            }
            Err(why) => {
                tracing::warn!(encoder = %self.name, %why, again_in = ?state.wait, "the encoder does not work yet");
                state.goes_off(&why, Timestamp::now());
                false
            }
        }
    }

    /// Why it does not encode now, if so.
    pub(crate) fn complaint(&self) -> Option<String> {
        let state = self.state();
        let off = state.off.as_ref()?;
        let left = off.until().map(|until| until.saturating_duration_since(Timestamp::now()));
        let left = left.unwrap_or_default().as_secs();
        let (name, why) = (&self.name, off.why());
        Some(format!(
            "the encoder {name} has failed, {SOFTWARE} does it ({why}); it is tried again in {left} s"
        ))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn goes_off(&mut self, why: &str, now: Timestamp) {
        self.off = Some(Off::new(why, now + self.wait));
        self.wait = (self.wait * 2).min(HARDWARE_AGAIN_MAX);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_left_alone_for_longer_each_time_and_tried_by_one() {
        let second = Duration::from_secs(1);
        let hardware = Hardware::new("h264_vaapi".to_owned(), 30 * second);
        assert!(hardware.works() && hardware.again_at().is_none() && !hardware.is_due());
        assert_eq!(hardware.complaint(), None);
        assert!(hardware.fails("no device"));
        assert!(!hardware.fails("all jobs that are under way say so"));
        let said = "the encoder h264_vaapi has failed, libx264 does it (no device); it is tried again in 30 s";
        assert_eq!(hardware.complaint().as_deref(), Some(said));
        for wait in [30, 60, 120, 240, 480, 960, 1_800, 1_800] {
            advance((wait - 1) * second).await;
            assert!(!hardware.is_due(), "{wait}");
            advance(second).await;
            assert!(hardware.is_due() && !hardware.is_due(), "{wait}: by one");
            assert!(hardware.again_at().is_none() && !hardware.works());
            assert!(!hardware.tried(Err("still none".to_owned())));
        }
        assert!(hardware.complaint().is_some_and(|words| words.contains("still none")));
        advance(HARDWARE_AGAIN_MAX).await;
        assert!(hardware.is_due() && hardware.tried(Ok(())) && hardware.works());
        assert_eq!(hardware.complaint(), None);
        // What fails soon after it worked again is left alone as long; what has worked for long is not.
        assert!(hardware.fails("again"));
        assert_eq!(hardware.again_at(), Some(Timestamp::now() + HARDWARE_AGAIN_MAX));
        advance(HARDWARE_AGAIN_MAX).await;
        assert!(hardware.is_due() && hardware.tried(Ok(())));
        advance(HARDWARE_AGAIN_MAX + second).await;
        assert!(hardware.fails("something else"));
        assert_eq!(hardware.again_at(), Some(Timestamp::now() + 30 * second));
    }

    #[test]
    fn parameter_sets_that_would_be_taken_for_those_of_the_software_are_seen() {
        let sets = |sps: u8, pps: u8| {
            [&[0, 0, 0, 1, 0x67, 100, 0, 31, sps, 0xd9][..], &[0, 0, 0, 1, 0x68, pps, 0xe3]]
                .concat()
        };
        // ue(v): 0 is 1, 1 is 010, 2 is 011.
        for (sps, pps, clash) in [
            (0b1010_1100, 0b1110_1011, false),
            (0b0101_0110, 0b1110_1011, true),
            (0b1010_1100, 0b0101_0110, true),
            (0b0111_0110, 0b0111_0110, false),
        ] {
            assert_eq!(clashes(&sets(sps, pps)), clash, "{sps:08b} {pps:08b}");
        }
        assert!(!clashes(b"") && !clashes(&[0, 0, 1, 0x67]));
    }
}
