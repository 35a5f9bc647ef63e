//! Sound that is encoded anew: frames of another length than the original's, on a grid that begins with the time line.
//!
//! Frame n of a level lies at n times its length, whoever makes it and whichever segment is made. So a segment of a level
//! begins and ends a moment before its original's: with the last frame for which everything is known when the original's
//! segment is complete. Where two segments meet there is neither a hole nor anything twice, as one function says where the
//! first ends and the second begins. Playlists say so too: a level has segments and parts of its own durations under the
//! numbers of its original.

use std::collections::VecDeque;

use bytes::Bytes;
use media::fmp4::{Sample, fragment_header};

use crate::index::{Part, Period, Rendition, Segment};
use crate::properties;
use crate::recut::{RecutError, RecutPart};

/// Where frames of a level of sound lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grid {
    /// Samples a second; what the level's times count in.
    pub rate: u32,
    /// Samples of a frame.
    pub frame: u32,
    /// Samples that an encoder must know behind a frame.
    pub ahead: u32,
}

impl Grid {
    /// The frame with which a segment begins whose original begins `at` so many of `timescale`.
    pub fn first(&self, at: u64, timescale: u32) -> u64 {
        let timescale = u128::from(timescale.max(1));
        let (at, ahead) = (u128::from(at) * u128::from(self.rate), u128::from(self.ahead));
        let frame = u128::from(self.frame.max(1)) * timescale;
        u64::try_from(at.saturating_sub(ahead * timescale) / frame).unwrap_or(u64::MAX)
    }

    /// The frame before which a part ends whose original ends `at`. The last one of a segment ends where the next segment
    /// begins; others end a frame earlier, so that a last part of a few samples has a frame, too.
    fn end(&self, at: u64, timescale: u32, last: bool) -> u64 {
        self.first(at, timescale).saturating_sub(u64::from(!last))
    }

    /// When a frame begins.
    pub fn ticks(&self, frame: u64) -> u64 {
        frame.saturating_mul(self.frame.into())
    }

    fn ms(&self, frame: u64) -> u64 {
        ms(self.ticks(frame), self.rate)
    }

    /// The level of a rendition, as playlists list it. Initialisation segments have still the original's names.
    pub fn rendition(&self, original: &Rendition) -> Rendition {
        Rendition {
            begins_ns: original.begins_ns,
            part_target_ms: self.part_target_ms(original.part_target_ms),
            segments: original.segments.iter().map(|segment| self.segment(segment)).collect(),
        }
    }

    /// PART-TARGET, from that of the original: a part has a frame more than fits into its original's, if it is the last one.
    pub fn part_target_ms(&self, original: u32) -> u32 {
        let samples = u64::from(original) * u64::from(self.rate) / 1_000;
        let frames = samples.div_ceil(self.frame.max(1).into()) + 1;
        let ms = (self.ticks(frames) * 1_000).div_ceil(self.rate.max(1).into());
        u32::try_from(ms).unwrap_or(u32::MAX)
    }

    /// One segment of it.
    pub fn segment(&self, original: &Segment) -> Segment {
        let (info, timescale) = (&original.info, original.info.timescale);
        let (start, wall_clock_ms) = self.moved(info.start, info.wall_clock_ms, timescale);
        let (period_start, period_ms) =
            self.moved(original.period.start, original.period.wall_clock_ms, timescale);
        let (mut at, mut from) = (info.start, self.first(info.start, timescale));
        let begin = from;
        let mut parts = Vec::with_capacity(original.parts.len());
        for (i, part) in original.parts.iter().enumerate() {
            at = at.saturating_add(part.duration.into());
            let last = original.complete && i + 1 == original.parts.len();
            let to = self.end(at, timescale, last).max(from);
            let duration = u32::try_from(self.ticks(to - from)).unwrap_or(u32::MAX);
            parts.push(Part { duration, key_bytes: None, ..*part });
            from = to;
        }
        // What is shorter than a frame may have none.
        let gap = info.gap || (original.complete && from == begin);
        let info = properties::Segment { timescale: self.rate, start, wall_clock_ms, gap, ..*info };
        let number = original.period.number;
        let period = Period { number, start: period_start, wall_clock_ms: period_ms };
        Segment { info, parts, period, ..original.clone() }
    }

    /// A beginning, and its date.
    fn moved(&self, start: u64, wall_clock_ms: u64, timescale: u32) -> (u64, u64) {
        let first = self.first(start, timescale);
        let earlier_ms = ms(start, timescale).saturating_sub(self.ms(first));
        (self.ticks(first), wall_clock_ms.saturating_sub(earlier_ms))
    }
}

fn ms(ticks: u64, timescale: u32) -> u64 {
    let ms = u128::from(ticks) * 1_000 / u128::from(timescale.max(1));
    u64::try_from(ms).unwrap_or(u64::MAX)
}

/// Cuts the frames of one segment of a level where [`Grid`] says.
#[derive(Debug)]
pub struct Regrid {
    grid: Grid,
    timescale: u32,
    /// `mfhd` counts from here.
    sequence: u32,
    /// Where the last known part of the original ends.
    known_to: u64,
    /// First and last frames, exclusive, of parts that are to come.
    parts: VecDeque<(u64, u64)>,
    /// The frame behind the last known part.
    to: u64,
    frames: VecDeque<(u64, Bytes)>,
    ended: bool,
    /// Whether there is any frame, and there must be one.
    made: bool,
    owed: bool,
    out: VecDeque<RecutPart>,
}

impl Regrid {
    /// Segment `number`, whose original begins at `start`.
    pub fn new(number: u64, grid: Grid, start: u64, timescale: u32) -> Self {
        Self {
            grid,
            timescale,
            // Rises within a segment and from one to the next, whoever made them.
            sequence: (number as u32).wrapping_shl(10),
            known_to: start,
            parts: VecDeque::new(),
            to: grid.first(start, timescale),
            frames: VecDeque::new(),
            ended: false,
            made: false,
            owed: false,
            out: VecDeque::new(),
        }
    }

    /// The original's next part begins at `start`; none comes after the last one.
    pub fn part(&mut self, start: u64, duration: u32, last: bool) -> Result<(), RecutError> {
        // Where the original has a hole, so has the level.
        let from = match start > self.known_to {
            true => self.grid.end(start, self.timescale, false).max(self.to),
            false => self.to,
        };
        self.known_to = start.max(self.known_to).saturating_add(duration.into());
        self.to = self.grid.end(self.known_to, self.timescale, last).max(from);
        self.owed |= from < self.to;
        self.parts.push_back((from, self.to));
        self.cut()
    }

    /// The encoder's next frame, by its time.
    pub fn frame(&mut self, present: i64, data: Bytes) -> Result<(), RecutError> {
        let ticks = u64::try_from(present).unwrap_or(0);
        self.frames.push_back((ticks / u64::from(self.grid.frame.max(1)), data));
        self.cut()
    }

    /// No more frames come. What is shorter than a frame may have none.
    pub fn end(&mut self) -> Result<(), RecutError> {
        self.ended = true;
        let all = self.grid.first(self.known_to, self.timescale);
        if all > self.to {
            // The broadcast ended before its last part was known to be the last one.
            self.parts.push_back((self.to, all));
        }
        self.cut()?;
        if self.owed && !self.made { Err(RecutError::NoFrames) } else { Ok(()) }
    }

    /// The next whole part.
    pub fn take(&mut self) -> Option<RecutPart> {
        self.out.pop_front()
    }

    fn cut(&mut self) -> Result<(), RecutError> {
        while let Some((from, to)) = self.parts.front().copied() {
            let newest = self.frames.back().map(|(n, _)| *n);
            let whole = from == to || newest.is_some_and(|newest| newest + 1 >= to);
            if !whole && !self.ended {
                break;
            }
            self.parts.pop_front();
            let within = self.frames.partition_point(|(n, _)| *n < to);
            let frames: Vec<_> = self.frames.drain(..within).filter(|(n, _)| *n >= from).collect();
            self.emit(frames)?;
        }
        Ok(())
    }

    fn emit(&mut self, frames: Vec<(u64, Bytes)>) -> Result<(), RecutError> {
        let Some((first, _)) = frames.first() else {
            // So short that it has no frame: parts are counted all the same.
            self.out.push_back(RecutPart { pieces: Vec::new(), frames: Vec::new() });
            return Ok(());
        };
        let decode = self.grid.ticks(*first);
        let sample = |data: &Bytes| Sample {
            duration: self.grid.frame,
            size: u32::try_from(data.len()).unwrap_or(u32::MAX),
            sync: true,
            composition_offset: 0,
        };
        let samples: Vec<Sample> = frames.iter().map(|(_, data)| sample(data)).collect();
        self.sequence = self.sequence.wrapping_add(1);
        let mut pieces = vec![fragment_header(self.sequence, decode, &samples)?.into()];
        let time = |n: u64| i64::try_from(self.grid.ticks(n)).unwrap_or(i64::MAX);
        let times = frames.iter().map(|(n, _)| (time(*n), true)).collect();
        pieces.extend(frames.into_iter().map(|(_, data)| data));
        self.out.push_back(RecutPart { pieces, frames: times });
        self.made = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sound;

    const AAC: Grid = Grid { rate: 48_000, frame: 1_024, ahead: 2_048 };

    #[test]
    fn segments_begin_with_the_last_frame_that_can_be_made_by_then() {
        for (at, timescale, expect) in [
            (0, 48_000, 0),
            (2_048, 48_000, 0),
            (3_071, 48_000, 0),
            (3_072, 48_000, 1),
            (96_000, 48_000, 91),
            // The same moment of a source at another rate.
            (88_200, 44_100, 91),
            (u64::MAX, 1, u64::MAX),
        ] {
            assert_eq!(AAC.first(at, timescale), expect, "{at}/{timescale}");
        }
    }

    /// Opus in parts of 340 ms, 2.02 s a segment: a last part of one frame. And all of a segment is less than a frame.
    #[test]
    fn a_level_has_the_parts_of_its_original_and_no_hole() {
        let parts = [16_320, 16_320, 16_320, 16_320, 16_320, 15_360];
        let short = [16_320, 16_320, 16_320, 16_320, 16_320, 16_320, 960];
        let index = sound(340, &[&parts, &short, &parts, &[960], &[500], &parts[..2]]);
        let original = index.rendition("audio").unwrap();
        let level = AAC.rendition(original);
        assert_eq!(level.part_target_ms, 363);
        let mut end = None;
        for (segment, own) in original.segments.iter().zip(&level.segments) {
            assert_eq!((own.number, own.parts.len()), (segment.number, segment.parts.len()));
            assert_eq!((own.info.timescale, own.info.start % 1_024), (48_000, 0));
            let early = segment.info.start.saturating_sub(own.info.start);
            assert!((2_048..3_072).contains(&early) || own.info.start == 0, "{early}");
            let passed_ms = (segment.info.start - own.info.start) / 48;
            let date = own.info.wall_clock_ms + passed_ms;
            assert!(date.abs_diff(segment.info.wall_clock_ms) <= 1, "{date}");
            assert_eq!(own.info.gap, own.duration() == 0, "{}", segment.number);
            let target = u64::from(level.part_target_ms) * 48;
            for part in &own.parts {
                let long = segment.duration() > 2_048;
                assert!(u64::from(part.duration) <= target && (part.duration > 0 || !long));
            }
            assert!(end.is_none_or(|end| end == own.info.start), "{}", segment.number);
            end = Some(own.info.start + own.duration());
        }
        let gaps = level.segments.iter().filter(|s| s.info.gap).count();
        assert!(gaps <= 1, "{gaps}");
    }

    #[test]
    fn what_is_cut_is_what_playlists_say() {
        let parts: [&[u32]; 3] =
            [&[16_320, 16_320, 960], &[16_320, 16_320, 16_320], &[16_320, 9_600]];
        let index = sound(340, &parts);
        let level = AAC.rendition(index.rendition("audio").unwrap());
        let mut next = None;
        for (own, original) in
            level.segments.iter().zip(&index.rendition("audio").unwrap().segments)
        {
            let mut cut = Regrid::new(own.number, AAC, original.info.start, 48_000);
            let (first, mut at) = (own.info.start / 1_024, original.info.start);
            // Frames come before their part is known, and those of the segments beside it, too.
            for n in first.saturating_sub(3)..first + 20 {
                cut.frame(n as i64 * 1_024, Bytes::from_static(b"frame")).unwrap();
            }
            for (i, part) in original.parts.iter().enumerate() {
                cut.part(at, part.duration, i + 1 == original.parts.len()).unwrap();
                at += u64::from(part.duration);
            }
            for n in first + 20..first + 80 {
                cut.frame(n as i64 * 1_024, Bytes::from_static(b"frame")).unwrap();
            }
            cut.end().unwrap();
            for part in &own.parts {
                let made = cut.take().unwrap();
                assert_eq!(made.frames.len() as u32 * 1_024, part.duration);
                assert!(next.is_none_or(|next| next == made.frames[0].0));
                next = made.frames.last().map(|f| f.0 + 1_024);
            }
            assert!(cut.take().is_none());
        }
    }

    #[test]
    fn a_hole_of_the_original_is_one_of_the_level() {
        let mut cut = Regrid::new(1, AAC, 48_000, 48_000);
        cut.part(48_000, 16_320, false).unwrap();
        cut.part(96_000, 16_320, false).unwrap();
        for n in 40..140 {
            cut.frame(n * 1_024, Bytes::from_static(b"frame")).unwrap();
        }
        // It ends without a word.
        cut.end().unwrap();
        let times: Vec<(i64, i64)> = std::iter::from_fn(|| cut.take())
            .map(|p| (p.frames[0].0 / 1_024, p.frames.last().unwrap().0 / 1_024))
            .collect();
        assert_eq!(times, [(44, 58), (90, 105), (106, 106)]);
    }

    #[test]
    fn what_has_no_frame_is_said() {
        let mut cut = Regrid::new(1, AAC, 48_000, 48_000);
        cut.part(48_000, 16_320, true).unwrap();
        assert_eq!(cut.end(), Err(RecutError::NoFrames));
        let mut cut = Regrid::new(1, AAC, 48_128, 48_000);
        cut.part(48_128, 500, true).unwrap();
        assert_eq!((cut.end(), cut.take().map(|p| p.frames)), (Ok(()), Some(Vec::new())));
    }
}
