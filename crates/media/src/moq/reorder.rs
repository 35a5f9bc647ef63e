//! Decode times of frames that say only when they are shown.
//!
//! With at most n frames decoded ahead of their turn, the decode times are the presentation times in
//! rising order, n frames later: so each frame is answered at once, without looking ahead. How many
//! those are is learned from the frames; until it is known a time may not rise, which the timeline
//! repairs.

use std::collections::{BTreeSet, VecDeque};

use crate::limits::REORDER_FRAMES_MAX;

/// One track's frames in decode order.
#[derive(Debug, Default)]
pub(super) struct Reorder {
    /// Presentation times that are not decode times yet.
    waiting: BTreeSet<i64>,
    depth: usize,
    /// Presentation times of the last frames.
    recent: VecDeque<i64>,
    /// The highest presentation time so far, and the last answer.
    highest: Option<i64>,
    last: Option<i64>,
}

impl Reorder {
    /// The decode time of the next frame.
    pub(super) fn decode_time(&mut self, present: i64) -> i64 {
        if self.jumped(present) {
            *self = Self { depth: self.depth, ..Self::default() };
        }
        // Shown before something that was decoded earlier: so many frames were ahead of their turn.
        let ahead = self.recent.iter().filter(|recent| **recent > present).count();
        self.depth = self.depth.max(ahead);
        self.recent.push_back(present);
        if self.recent.len() > REORDER_FRAMES_MAX {
            self.recent.pop_front();
        }
        self.highest = self.highest.max(Some(present));
        self.waiting.insert(present);
        let decode = if self.waiting.len() > self.depth {
            self.waiting.pop_first().unwrap_or(present)
        } else {
            // The first ones: as far before the earliest known as frames are still to come.
            let step = self.step();
            let missing = (self.depth + 1 - self.waiting.len()) as i64;
            let first = self.waiting.first().copied().unwrap_or(present);
            first.saturating_sub(step.saturating_mul(missing))
        };
        let decode = self.last.map_or(decode, |last| decode.max(last.saturating_add(1)));
        self.last = Some(decode);
        decode.min(present)
    }

    /// The source began anew.
    fn jumped(&self, present: i64) -> bool {
        const JUMP_US: u64 = 2_000_000;
        self.highest.is_some_and(|highest| present.abs_diff(highest) > JUMP_US)
    }

    /// The time between two frames, as far as it is known.
    fn step(&self) -> i64 {
        const USUAL_US: i64 = 33_333;
        let steps = self.waiting.iter().zip(self.waiting.iter().skip(1));
        steps.map(|(a, b)| b - a).min().unwrap_or(USUAL_US)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(present: &[i64]) -> Vec<i64> {
        let mut reorder = Reorder::default();
        present.iter().map(|p| reorder.decode_time(*p)).collect()
    }

    #[test]
    fn without_reordering_a_frame_is_decoded_when_it_is_shown() {
        let times: Vec<i64> = (0..100).map(|i| i * 33_333).collect();
        assert_eq!(decode(&times), times);
    }

    #[test]
    fn decode_times_rise_and_are_never_after_the_presentation() {
        // I P B B P B B ..., and a pyramid of depth 2.
        for pattern in [&[0, 3, 1, 2][..], &[0, 4, 2, 1, 3], &[0, 1, 2, 3]] {
            let period = pattern.len() as i64;
            let present: Vec<i64> = (0..40)
                .flat_map(|gop| pattern.iter().map(move |p| (gop * period + p) * 33_333))
                .collect();
            let decode = decode(&present);
            for (i, (d, p)) in decode.iter().zip(&present).enumerate() {
                assert!(d <= p, "{pattern:?} frame {i}: decoded at {d}, shown at {p}");
            }
            // Once the depth is known they are a frame apart.
            for (i, pair) in decode.windows(2).enumerate().skip(8) {
                assert_eq!(pair[1] - pair[0], 33_333, "{pattern:?} frame {i}");
            }
        }
    }

    #[test]
    fn a_source_that_begins_anew_is_followed() {
        let mut reorder = Reorder::default();
        assert_eq!(reorder.decode_time(60_000_000), 60_000_000);
        assert_eq!(reorder.decode_time(0), 0);
        assert_eq!(reorder.decode_time(33_333), 33_333);
    }

    #[test]
    fn hostile_times_are_bounded() {
        let mut reorder = Reorder::default();
        for i in 0..100_000_i64 {
            reorder.decode_time(-i);
        }
        assert!(reorder.waiting.len() <= REORDER_FRAMES_MAX + 1, "{}", reorder.waiting.len());
        for extreme in [i64::MIN, i64::MAX, 0, i64::MIN] {
            reorder.decode_time(extreme);
        }
    }
}
