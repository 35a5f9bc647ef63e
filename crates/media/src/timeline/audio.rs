//! Audio is counted in samples; the source's times only say whether the count is still true.

use super::{Repairs, Slot, to_nanos, to_ticks, to_ticks_up};

/// DESIGN §4: re-anchored only when off by more than 60 ms for 1 s.
const OFF_MS_MAX: i64 = 60;

/// A hole of this size is no jitter: the count goes on behind it at once.
const GAP_MS: i64 = 500;

/// Samples of a frame that does not say: AAC.
const SAMPLES_DEFAULT: u32 = 1024;

/// Longest frame, 10 s at 192 kHz: a frame that claims more is cut, so that no single claim moves the clock far.
const SAMPLES_MAX: u32 = 1_920_000;

#[derive(Clone, Debug)]
pub(super) struct AudioPace {
    rate: u32,
    /// Where the next frame begins, in samples.
    next: i64,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Frames follow each other; `off` samples have passed while the times disagreed.
    Counting { off: i64 },
    /// The next frame begins where its time says, and frames that overlap earlier ones are dropped.
    Aligning,
}

impl AudioPace {
    pub(super) fn new(rate: u32, end: i128) -> Self {
        Self { rate, next: to_ticks_up(end, rate), state: State::Aligning }
    }

    pub(super) fn raise_floor(&mut self, end: i128) {
        self.next = self.next.max(to_ticks_up(end, self.rate));
        self.state = State::Aligning;
    }

    /// `None`: the frame overlaps earlier ones and is to be dropped.
    pub(super) fn place(
        &mut self,
        time: i128,
        samples: u32,
        moved: bool,
        repairs: &mut Repairs,
    ) -> Option<Slot> {
        let samples = if samples == 0 { SAMPLES_DEFAULT } else { samples.min(SAMPLES_MAX) };
        let ideal = to_ticks(time, self.rate);
        let rate = i64::from(self.rate);
        if moved {
            self.state = State::Aligning;
        }
        let error = ideal.saturating_sub(self.next);
        let decode = match self.state {
            State::Aligning if error >= 0 => ideal,
            // Less than half a frame of overlap is only counted on; more would push the sound away from the picture.
            State::Aligning if -error <= i64::from(samples) / 2 => self.next,
            State::Aligning => return None,
            State::Counting { .. } if error.abs() <= OFF_MS_MAX * rate / 1000 => {
                self.state = State::Counting { off: 0 };
                self.next
            }
            State::Counting { .. } if error >= GAP_MS * rate / 1000 => {
                repairs.audio_gaps += 1;
                ideal
            }
            State::Counting { off } if off + i64::from(samples) < rate => {
                self.state = State::Counting { off: off + i64::from(samples) };
                return Some(self.emit(self.next, samples));
            }
            State::Counting { .. } => {
                repairs.audio_reanchored += 1;
                if error < 0 {
                    self.state = State::Aligning;
                    return None;
                }
                ideal
            }
        };
        self.state = State::Counting { off: 0 };
        Some(self.emit(decode, samples))
    }

    fn emit(&mut self, decode: i64, samples: u32) -> Slot {
        self.next = decode.saturating_add(samples.into());
        Slot { decode, present: decode, duration: samples, end: to_nanos(self.next, self.rate) }
    }
}
