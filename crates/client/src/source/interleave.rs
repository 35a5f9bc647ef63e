//! Frames of several tracks, each in its order, to one order by time.

use std::collections::VecDeque;

use super::Frame;
use crate::limits::{INTERLEAVE, INTERLEAVE_BYTES};

/// Holds each track's frames until all tracks have one, but not without bound: a track may have ended, or be sparse.
pub(super) struct Interleave {
    tracks: Vec<VecDeque<(i64, Frame)>>,
    bytes: usize,
    /// The time of the first frame that left.
    zero_us: Option<i64>,
    ended: bool,
}

impl Interleave {
    pub(super) fn new(tracks: usize) -> Self {
        let tracks = (0..tracks).map(|_| VecDeque::new()).collect();
        Self { tracks, bytes: 0, zero_us: None, ended: false }
    }

    /// `at_us`: on the clock that all tracks share.
    pub(super) fn push(&mut self, track: usize, at_us: i64, frame: Frame) {
        self.bytes += frame.data.len();
        if let Some(track) = self.tracks.get_mut(track) {
            track.push_back((at_us, frame));
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// The earliest frame, if no earlier one can come.
    pub(super) fn pop(&mut self) -> Option<Frame> {
        let waiting = self.tracks.iter().any(VecDeque::is_empty);
        if waiting && !self.ended && !self.full() {
            return None;
        }
        let first = |t: &VecDeque<(i64, Frame)>| t.front().map(|(at, _)| *at);
        let next = self.tracks.iter_mut().filter(|t| !t.is_empty()).min_by_key(|t| first(t))?;
        let (at, frame) = next.pop_front()?;
        self.bytes -= frame.data.len();
        let zero = *self.zero_us.get_or_insert(at);
        Some(Frame { at_us: u64::try_from(at - zero).unwrap_or(0), ..frame })
    }

    fn full(&self) -> bool {
        let span =
            |track: &VecDeque<(i64, Frame)>| Some(track.back()?.0.saturating_sub(track.front()?.0));
        let longest = self.tracks.iter().filter_map(span).max().unwrap_or(0);
        i128::from(longest) > INTERLEAVE.as_micros() as i128 || self.bytes > INTERLEAVE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Codec;
    use media::codec::VideoFormat;

    fn frame(n: u8) -> Frame {
        let codec = Codec::Video(VideoFormat::H264);
        let data = bytes::Bytes::from(vec![n]);
        Frame { codec, id: 0, at_us: 0, composition_us: 0, key: true, data }
    }

    fn drain(queue: &mut Interleave) -> Vec<(u64, u8)> {
        std::iter::from_fn(|| queue.pop()).map(|f| (f.at_us, f.data[0])).collect()
    }

    #[test]
    fn fragments_of_tracks_become_one_order() {
        let mut queue = Interleave::new(2);
        for (n, at) in [(1, 1_000), (2, 3_000), (3, 5_000)] {
            queue.push(0, at, frame(n));
        }
        assert_eq!(drain(&mut queue), [], "an earlier frame may come of the other track");
        for (n, at) in [(4, 2_000), (5, 6_000)] {
            queue.push(1, at, frame(n));
        }
        assert_eq!(drain(&mut queue), [(0, 1), (1_000, 4), (2_000, 2), (4_000, 3)]);
        queue.end();
        assert_eq!(drain(&mut queue), [(5_000, 5)]);
    }

    #[test]
    fn a_track_that_has_ended_is_not_waited_for() {
        let mut queue = Interleave::new(2);
        let seconds = INTERLEAVE.as_secs() as i64 + 2;
        for n in 0..seconds {
            queue.push(0, n * 1_000_000, frame(n as u8));
        }
        assert!(!drain(&mut queue).is_empty());
    }
}
