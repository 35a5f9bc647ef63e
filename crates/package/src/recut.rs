//! A level of the ladder, packaged by the cut list of its original: one segment of it, part by part.
//!
//! The encoder gives frames in presentation order without reordering, with the presentation times of the original; so
//! decode and presentation time are one. A part takes the frames that lie in the original's part on the time line of
//! presentation: a segment begins where the picture of the original's key frame is shown and ends where the next one's
//! is, and what playlists say of one holds for the other.

use std::collections::VecDeque;

use bytes::Bytes;
use media::fmp4::{FragmentError, Sample, fragment_header};

/// A part of a level: `moof` and the head of `mdat`, and the frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecutPart {
    /// `moof` and the head of `mdat`, then the frames.
    pub pieces: Vec<Bytes>,
    /// The frames: presentation time, and whether decoding can start there.
    pub frames: Vec<(i64, bool)>,
}

/// Why a segment of a level can't be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecutError {
    /// Nothing of it can be decoded.
    #[error("there is no picture in it")]
    NoFrames,
    /// Too many or too large for a fragment.
    #[error(transparent)]
    Fragment(#[from] FragmentError),
}

/// Cuts the frames of one segment.
#[derive(Debug)]
pub struct Recut {
    /// `mfhd` counts from here.
    sequence: u32,
    /// Where the last known part of the original ends, on the time line of presentation.
    known_to: i64,
    /// Ends of parts that are to come, and whether it is the last one.
    ends: VecDeque<(i64, bool)>,
    frames: VecDeque<Frame>,
    /// No more frames come.
    ended: bool,
    made: bool,
    out: VecDeque<RecutPart>,
}

#[derive(Debug, Clone)]
struct Frame {
    present: i64,
    sync: bool,
    data: Bytes,
}

impl Recut {
    /// Segment `number`, whose first picture is shown at `present`.
    pub fn new(number: u64, present: i64) -> Self {
        Self {
            // Rises within a segment and from one to the next, whoever made them.
            sequence: (number as u32).wrapping_shl(10),
            known_to: present,
            ends: VecDeque::new(),
            frames: VecDeque::new(),
            ended: false,
            made: false,
            out: VecDeque::new(),
        }
    }

    /// The original's next part has this duration; none comes after the last one.
    pub fn part(&mut self, duration: u32, last: bool) -> Result<(), RecutError> {
        self.known_to += i64::from(duration);
        self.ends.push_back((self.known_to, last));
        self.cut()
    }

    /// The encoder's next frame.
    pub fn frame(&mut self, present: i64, sync: bool, data: Bytes) -> Result<(), RecutError> {
        self.frames.push_back(Frame { present, sync, data });
        self.cut()
    }

    /// No more frames: everything that is left goes into the parts that are left.
    pub fn end(&mut self) -> Result<(), RecutError> {
        self.ended = true;
        self.cut()
    }

    /// The next whole part.
    pub fn take(&mut self) -> Option<RecutPart> {
        self.out.pop_front()
    }

    fn cut(&mut self) -> Result<(), RecutError> {
        while let Some((end, last)) = self.ends.front().copied() {
            // What an open group of pictures shows behind the end is the last part's too.
            let within = match last {
                true => self.frames.len(),
                false => self.frames.partition_point(|f| f.present < end),
            };
            let followed = within < self.frames.len();
            let whole = self.ended || (!last && (followed || self.filled(end)));
            // At a variable rate a border may shift by a frame: no part goes without, as long as there is one.
            let count = within.max(usize::from(followed));
            if !whole || (count == 0 && !self.ended) {
                return Ok(());
            }
            if count > 0 {
                self.emit(count, end)?;
            }
            self.ends.pop_front();
        }
        if self.ended && !self.made { Err(RecutError::NoFrames) } else { Ok(()) }
    }

    /// Whether the newest frame reaches the end, going by the one before: then nobody waits for the next.
    fn filled(&self, end: i64) -> bool {
        let mut newest = self.frames.iter().rev();
        let (Some(last), Some(before)) = (newest.next(), newest.next()) else { return false };
        let frame = last.present.saturating_sub(before.present);
        last.present.saturating_add(frame) >= end.saturating_sub(frame / 4)
    }

    fn emit(&mut self, count: usize, end: i64) -> Result<(), RecutError> {
        let frames: Vec<Frame> = self.frames.drain(..count).collect();
        let Some(first) = frames.first() else { return Ok(()) };
        let decode = u64::try_from(first.present).unwrap_or(0);
        let after = self.frames.front().map_or_else(|| last_end(&frames, end), |f| f.present);
        let ends = frames.iter().skip(1).map(|f| f.present).chain([after]);
        let samples: Vec<Sample> = frames
            .iter()
            .zip(ends)
            .map(|(frame, end)| Sample {
                duration: u32::try_from(end.saturating_sub(frame.present)).unwrap_or(0).max(1),
                size: u32::try_from(frame.data.len()).unwrap_or(u32::MAX),
                sync: frame.sync,
                composition_offset: 0,
            })
            .collect();
        self.sequence = self.sequence.wrapping_add(1);
        let head = fragment_header(self.sequence, decode, &samples)?;
        let times = frames.iter().map(|f| (f.present, f.sync)).collect();
        let mut pieces = Vec::with_capacity(frames.len() + 1);
        pieces.push(head.into());
        pieces.extend(frames.into_iter().map(|f| f.data));
        self.out.push_back(RecutPart { pieces, frames: times });
        self.made = true;
        Ok(())
    }
}

/// Where the last frame ends: at the border, unless that is another frame's.
fn last_end(frames: &[Frame], border: i64) -> i64 {
    let mut newest = frames.iter().rev();
    let (Some(last), Some(before)) = (newest.next(), newest.next()) else { return border };
    let frame = last.present.saturating_sub(before.present);
    let by_rate = last.present.saturating_add(frame);
    if by_rate.saturating_sub(border).saturating_abs() <= frame / 2 { border } else { by_rate }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> Bytes {
        Bytes::from_static(b"frame")
    }

    /// Times of the frames of each part.
    fn taken(recut: &mut Recut) -> Vec<Vec<i64>> {
        std::iter::from_fn(|| recut.take())
            .map(|part| part.frames.iter().map(|f| f.0).collect())
            .collect()
    }

    #[test]
    fn parts_have_the_frames_of_the_originals_parts() {
        let mut recut = Recut::new(7, 96_000);
        recut.part(9_000, false).unwrap();
        for i in 0..2 {
            recut.frame(96_000 + i * 3_000, i == 0, data()).unwrap();
            assert!(recut.take().is_none());
        }
        recut.frame(102_000, false, data()).unwrap();
        let part = recut.take().expect("the third frame fills it");
        assert_eq!(part.frames, [(96_000, true), (99_000, false), (102_000, false)]);
        assert_eq!(part.pieces.len(), 4);
        let file = part.pieces.concat();
        let tfdt = file.windows(4).position(|w| w == b"tfdt").unwrap() + 8;
        assert_eq!(u64::from_be_bytes(file[tfdt..tfdt + 8].try_into().unwrap()), 96_000);
        // The last part is shorter, and frames may come before it is known.
        recut.frame(105_000, false, data()).unwrap();
        recut.part(6_000, true).unwrap();
        recut.frame(108_000, false, data()).unwrap();
        assert!(recut.take().is_none(), "pictures of an open group may follow");
        recut.end().unwrap();
        assert_eq!(taken(&mut recut), [[105_000, 108_000]]);
    }

    #[test]
    fn a_variable_rate_and_a_missing_frame_leave_no_hole() {
        // One frame is missing in the first part, and its neighbour lasts longer.
        let mut recut = Recut::new(0, 0);
        recut.part(12_000, false).unwrap();
        for present in [0, 3_000, 9_000] {
            recut.frame(present, present == 0, data()).unwrap();
        }
        recut.part(12_000, true).unwrap();
        for present in [12_000, 18_000] {
            recut.frame(present, false, data()).unwrap();
        }
        recut.end().unwrap();
        assert_eq!(taken(&mut recut), [vec![0, 3_000, 9_000], vec![12_000, 18_000]]);
        // No frame lies in the second part: it takes the next one.
        let mut recut = Recut::new(0, 0);
        for last in [false, false, true] {
            recut.part(3_000, last).unwrap();
        }
        for present in [0, 1_000, 6_000, 7_000] {
            recut.frame(present, present == 0, data()).unwrap();
        }
        recut.end().unwrap();
        assert_eq!(taken(&mut recut), [vec![0, 1_000], vec![6_000], vec![7_000]]);
    }

    #[test]
    fn open_groups_move_pictures_over_the_border() {
        // Three pictures of the next group are shown before its key frame.
        let mut recut = Recut::new(0, 0);
        recut.part(9_000, true).unwrap();
        for i in 0..6 {
            recut.frame(i * 3_000, i == 0, data()).unwrap();
        }
        recut.end().unwrap();
        let part = recut.take().unwrap();
        assert_eq!(part.frames.len(), 6);
        assert_eq!(durations(&part), [3_000; 6]);
        // The last group of the broadcast lacks as many.
        let mut recut = Recut::new(1, 18_000);
        recut.part(9_000, false).unwrap();
        recut.part(6_000, true).unwrap();
        for i in 6..8 {
            recut.frame(i * 3_000, i == 6, data()).unwrap();
        }
        recut.end().unwrap();
        let part = recut.take().unwrap();
        assert_eq!(durations(&part), [3_000; 2]);
        assert!(recut.take().is_none());
    }

    /// An encoder that was taken over says any times.
    #[test]
    fn times_that_are_none_are_borne() {
        let ends = [i64::MIN, i64::MAX, 0, i64::MIN + 1, -1];
        for (first, second) in ends.iter().flat_map(|a| ends.map(|b| (*a, b))) {
            let mut recut = Recut::new(0, 0);
            recut.part(9_000, false).unwrap();
            recut.part(9_000, true).unwrap();
            for present in [first, second, first] {
                let _ = recut.frame(present, true, data());
            }
            let _ = recut.end();
        }
    }

    #[test]
    fn what_cannot_be_filled_is_said() {
        let mut recut = Recut::new(0, 0);
        recut.part(3_000, false).unwrap();
        recut.part(3_000, true).unwrap();
        assert_eq!(recut.end(), Err(RecutError::NoFrames));
    }

    fn durations(part: &RecutPart) -> Vec<u32> {
        let file = part.pieces.concat();
        let trun = file.windows(4).position(|w| w == b"trun").unwrap() + 4;
        let word = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().unwrap());
        (0..part.frames.len()).map(|i| word(trun + 12 + i * 12)).collect()
    }

    #[test]
    fn durations_fill_the_part_exactly() {
        let mut recut = Recut::new(3, 500);
        recut.part(12_010, true).unwrap();
        for present in [500, 3_503, 6_507, 9_510] {
            recut.frame(present, present == 500, data()).unwrap();
        }
        recut.end().unwrap();
        assert_eq!(durations(&recut.take().unwrap()), [3_003, 3_004, 3_003, 3_000]);
    }
}
