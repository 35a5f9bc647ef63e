//! One packaged track: frames become parts (one moof and one mdat each), parts become segments.

use std::time::Instant;

use bytes::Bytes;
use media::codec::Config;
use media::fmp4::{Sample, fragment_header, init_segment};
use sha2::{Digest, Sha256};
use spine::{Payload, Timing};

use crate::properties::{self, Part, Segment};

/// A frame of a raw track, as the packager takes it.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Decode time in units of the track's timescale.
    pub decode: i64,
    /// Presentation time.
    pub present: i64,
    /// Duration as far as it is known.
    pub duration: u32,
    /// Decoding can start here.
    pub sync: bool,
    /// A viewer asked for it: a segment may begin here, though the one before is short.
    pub asked: bool,
    /// It does not follow from the frame before.
    pub discontinuity: bool,
    /// Milliseconds since 1970 when it was taken.
    pub wall_clock_ms: u64,
    /// When it came in.
    pub arrived: Instant,
    /// The coded picture or sound; never copied from here on.
    pub payload: Vec<Payload>,
}

impl Frame {
    fn size(&self) -> usize {
        self.payload.iter().map(|p| p.len()).sum()
    }
}

/// What packaging brings forth.
#[derive(Debug, Clone)]
pub enum Output {
    /// A new initialisation segment; its id is its name in the track `init`.
    Init {
        /// Its id: 53 bits of its hash, so that a browser can hold it in a number.
        id: u64,
        /// `ftyp` and `moov`.
        bytes: Bytes,
    },
    /// A part: the object `part` of group `segment`.
    Part {
        /// Segment number.
        segment: u64,
        /// Part number in the segment.
        part: u64,
        /// No part of this segment follows.
        last: bool,
        /// PART and SEGMENT.
        properties: Bytes,
        /// Its place on the timeline.
        timing: Timing,
        /// When its last frame came in.
        arrived: Instant,
        /// `moof` and the head of `mdat`.
        head: Vec<u8>,
        /// The frames.
        body: Vec<Payload>,
    },
}

/// What a segment's first part says of it; the rest is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentStart {
    pub(crate) number: u64,
    /// The ownership under which it begins, the same in all tracks.
    pub(crate) epoch: u64,
    pub(crate) discontinuity: bool,
    pub(crate) discontinuity_sequence: u64,
}

/// What ends with a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// Nothing else.
    Part,
    /// Its segment; the next one follows.
    Segment,
    /// Its segment, and it is not known what comes behind it.
    Run,
}

impl Ends {
    /// Of a frame behind which a segment begins, or none.
    pub(crate) fn before_segment(begins: bool) -> Self {
        if begins { Self::Segment } else { Self::Part }
    }
}

/// One packaged track.
pub(crate) struct Rendition {
    timescale: u32,
    init: u64,
    /// It is of pictures.
    picture: bool,
    /// A frame's duration as the configuration declares it.
    nominal: Option<u32>,
    /// How many frames make a part, and their duration; fixed with a configuration's first frame.
    part: Option<PartSize>,
    /// PART-TARGET in milliseconds, once it was said: it never changes.
    promised_ms: Option<u32>,
    segment: Option<SegmentStart>,
    next_part: u64,
    sequence: u32,
    frames: Vec<Frame>,
    /// What the frames of earlier parts last beyond what those parts are said to: the next one is said to begin so much sooner.
    carried: u32,
    /// When the last picture of the segment so far is shown.
    reached: i64,
    /// What the next segment begins with, if it follows at once.
    next: Option<Next>,
}

/// The first frame of a segment.
#[derive(Debug, Clone, Copy)]
struct Next {
    decode: i64,
    present: i64,
    sync: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PartSize {
    frames: usize,
    /// In units of the timescale.
    duration: u32,
    /// The shortest that a part may be that is not the last one of its segment: RFC 8216bis §4.4.4.9 wants 85 % of PART-TARGET.
    least: u32,
    target_ms: u32,
}

impl PartSize {
    /// Whether nothing more belongs to a part of so many frames that last so long. There are fewer where frames are longer than
    /// the first one said, and more where they are shorter.
    fn is_full(&self, frames: usize, lasts: u64) -> bool {
        let counted = frames >= self.frames && lasts >= u64::from(self.least);
        counted || lasts >= u64::from(self.duration)
    }
}

impl Rendition {
    pub(crate) fn new() -> Self {
        Self {
            timescale: 1,
            init: 0,
            picture: false,
            nominal: None,
            part: None,
            promised_ms: None,
            segment: None,
            next_part: 0,
            sequence: 0,
            frames: Vec::new(),
            carried: 0,
            reached: i64::MIN,
            next: None,
        }
    }

    /// A configuration, the first one or another. A part is never of two.
    pub(crate) fn configure(&mut self, config: &Config, out: &mut Vec<Output>) {
        self.timescale = config.timescale();
        // Its frames may be longer or shorter, and time may count otherwise.
        self.part = None;
        let bytes = init_segment(config, self.timescale);
        self.init = init_id(&bytes);
        self.picture = matches!(config, Config::Video(_));
        self.nominal = match config {
            Config::Video(video) => video.frame_rate.map(|rate| {
                let ticks =
                    u64::from(self.timescale) * u64::from(rate.den()) / u64::from(rate.num());
                u32::try_from(ticks).unwrap_or(u32::MAX)
            }),
            Config::Audio(audio) => Some(audio.samples_per_frame),
        };
        out.push(Output::Init { id: self.init, bytes });
    }

    /// PART-TARGET is this, said before this rendition was made.
    pub(crate) fn promise(&mut self, part_target_ms: u32) {
        self.promised_ms = Some(part_target_ms);
    }

    pub(crate) fn timescale(&self) -> u32 {
        self.timescale
    }

    pub(crate) fn init(&self) -> u64 {
        self.init
    }

    /// The number of the segment that is being made.
    pub(crate) fn segment(&self) -> Option<u64> {
        self.segment.map(|s| s.number)
    }

    /// Discontinuities up to the segment that is being made.
    pub(crate) fn discontinuities(&self) -> Option<u64> {
        self.segment.map(|s| s.discontinuity_sequence)
    }

    /// Nanoseconds of a whole part; nothing before the first frame.
    pub(crate) fn part_ns(&self) -> i64 {
        self.part.map_or(0, |p| ticks_to_ns(i64::from(p.duration), self.timescale))
    }

    /// Begins a segment. The one before was ended with its last frame.
    pub(crate) fn begin(&mut self, start: SegmentStart) {
        self.segment = Some(start);
        self.next_part = 0;
        self.carried = 0;
        (self.reached, self.next) = (i64::MIN, None);
    }

    /// The segment ends with the frame that comes, and another one follows at once with this one.
    pub(crate) fn is_followed(&mut self, next: &Frame) {
        let Frame { decode, present, sync, .. } = *next;
        self.next = Some(Next { decode, present, sync });
    }

    /// Whether pictures may be coded behind the next segment's first one that are shown before it: of an open group, or as the border goes
    /// through a group. `frames`: the segment's last ones.
    fn is_open(&self, next: Next, frames: &[Frame]) -> bool {
        if !next.sync {
            // None is shown before it is decoded.
            return self.reached > next.decode;
        }
        // Where nothing is missing it is shown a frame after the one before; times may be rounded to milliseconds.
        let frame = frames.iter().map(|frame| i64::from(frame.duration)).min().unwrap_or(0);
        next.present > next.decode && next.present - self.reached > frame + frame / 4
    }

    /// Whether there is anything of the part that is being made.
    pub(crate) fn has_frames(&self) -> bool {
        !self.frames.is_empty()
    }

    /// Adds a frame with its final duration. `ends`: what does with it beside its part, which does if it is full; none: that is
    /// only known with the next one, and a part that is full waits for it.
    pub(crate) fn push(
        &mut self,
        frame: Frame,
        ends: Option<Ends>,
        part_target: std::time::Duration,
        target_duration: Option<u32>,
        out: &mut Vec<Output>,
    ) {
        if self.part.is_none() {
            let frame = self.nominal.unwrap_or_else(|| likely(frame.duration, self.timescale));
            let size = part_size(frame, self.timescale, part_target, self.promised_ms);
            self.promised_ms = Some(size.target_ms);
            self.part = Some(size);
        }
        let Some(size) = self.part else { return };
        // PART-TARGET is a promise: at a variable rate a part may hold fewer frames, never more time. Where that would be too few, its
        // last one lasts over its border.
        let more = self.lasts_with(frame.duration);
        let enough = self.lasts_with(0) >= u64::from(size.least);
        if enough && more > u64::from(size.duration) {
            self.flush(Ends::Part, target_duration, out);
        }
        self.reached = self.reached.max(frame.present);
        self.frames.push(frame);
        let full = size.is_full(self.frames.len(), self.lasts_with(0));
        if let Some(ends) = ends.filter(|ends| full || *ends != Ends::Part) {
            self.flush(ends, target_duration, out);
        }
    }

    /// How long the part that is being made is with so much more.
    fn lasts_with(&self, more: u32) -> u64 {
        let frames: u64 = self.frames.iter().map(|f| u64::from(f.duration)).sum();
        frames + u64::from(self.carried) + u64::from(more)
    }

    /// What a part lasts behind those frames that it has and one more of this duration; a whole one, if that fills it.
    pub(crate) fn left_after(&self, more: u32) -> Option<u32> {
        let whole = self.part?.duration;
        let so_far = u32::try_from(self.lasts_with(more)).unwrap_or(u32::MAX);
        Some(whole.checked_sub(so_far).filter(|left| *left > 0).unwrap_or(whole))
    }

    /// Whether the part that is being made lasts as long as any may.
    pub(crate) fn is_full(&self) -> bool {
        self.part.is_some_and(|size| self.lasts_with(0) >= u64::from(size.duration))
    }

    /// Whether the part that is being made is full with one more frame of this duration: by frames, or as another one like it
    /// would be too much, where frames are longer than the first one said.
    pub(crate) fn ends_part(&self, more: u32) -> bool {
        let lasts = self.lasts_with(more);
        let with_another = lasts.saturating_add(more.into());
        self.part.is_some_and(|size| {
            let followed = lasts >= size.least.into() && with_another > size.duration.into();
            size.is_full(self.frames.len() + 1, lasts) || followed
        })
    }

    /// Ends the part that is being made, if there is any of it.
    pub(crate) fn flush(
        &mut self,
        ends: Ends,
        target_duration: Option<u32>,
        out: &mut Vec<Output>,
    ) {
        let (Some(segment), Some(size)) = (self.segment, self.part) else { return };
        let last = ends != Ends::Part;
        let lasts = u32::try_from(self.lasts_with(0)).unwrap_or(u32::MAX);
        let frames = std::mem::take(&mut self.frames);
        let (Some(first), Some(newest)) = (frames.first(), frames.last()) else { return };
        let samples: Vec<Sample> = frames.iter().map(sample).collect();
        self.sequence = self.sequence.wrapping_add(1);
        let start = u64::try_from(first.decode).unwrap_or(0);
        let Ok(head) = fragment_header(self.sequence, start, &samples) else {
            // More than 4 GiB in one part: bounds on objects make that impossible.
            return;
        };
        // Of a picture that lasts over the border of a part there are whole ones; the rest is the next part's.
        let duration = match lasts > size.duration && !last {
            true => lasts - lasts % size.duration,
            false => lasts,
        };
        self.carried = lasts - duration;
        let part = Part {
            duration,
            independent: first.sync,
            last,
            closes: ends == Ends::Run,
            target_ms: size.target_ms,
            target_duration,
            open: last && self.picture && self.next.is_some_and(|next| self.is_open(next, &frames)),
            key_bytes: (self.picture && first.sync)
                .then(|| u32::try_from(head.len() + first.size()).ok())
                .flatten(),
        };
        let info = (self.next_part == 0).then_some(Segment {
            timescale: self.timescale,
            epoch: segment.epoch,
            wall_clock_ms: first.wall_clock_ms,
            start,
            discontinuity: segment.discontinuity,
            discontinuity_sequence: segment.discontinuity_sequence,
            gap: false,
            init: self.init,
        });
        let timing =
            Timing { decode: first.decode, present: first.present, duration, sync: first.sync };
        out.push(Output::Part {
            segment: segment.number,
            part: self.next_part,
            last,
            properties: properties::encode(&part, info.as_ref()),
            timing,
            arrived: newest.arrived,
            head,
            body: frames.into_iter().flat_map(|f| f.payload).collect(),
        });
        self.next_part += 1;
    }
}

fn sample(frame: &Frame) -> Sample {
    let offset = frame.present.saturating_sub(frame.decode);
    Sample {
        duration: frame.duration,
        size: u32::try_from(frame.size()).unwrap_or(u32::MAX),
        sync: frame.sync,
        composition_offset: i32::try_from(offset).unwrap_or(0),
    }
}

/// A part holds n frames, n = round(rate x part duration), at least one. PART-TARGET is their duration
/// rounded up to the millisecond, unless it was said before: then as many frames as that allows.
fn part_size(
    frame: u32,
    timescale: u32,
    target: std::time::Duration,
    promised_ms: Option<u32>,
) -> PartSize {
    let wanted = target.as_nanos() * u128::from(timescale) / 1_000_000_000;
    let frame = u128::from(frame.max(1));
    let mut frames = (wanted + frame / 2) / frame;
    if let Some(promised) = promised_ms {
        frames = u128::from(promised) * u128::from(timescale) / 1000 / frame;
    }
    let duration = frames.max(1) * frame;
    let target_ms = (duration * 1000).div_ceil(u128::from(timescale));
    let target_ms = promised_ms.unwrap_or(u32::try_from(target_ms).unwrap_or(u32::MAX));
    let least = u128::from(target_ms) * u128::from(timescale) * 85 / 100_000;
    PartSize {
        frames: usize::try_from(frames.max(1)).unwrap_or(usize::MAX),
        duration: u32::try_from(duration).unwrap_or(u32::MAX),
        least: u32::try_from(least + 1).unwrap_or(u32::MAX),
        target_ms,
    }
}

/// The first frame's duration may be a millisecond off: that of the usual rate next to it.
fn likely(frame: u32, timescale: u32) -> u32 {
    let usual = [24_000, 25_000, 30_000, 50_000, 60_000]
        .map(|rate| u32::try_from(u64::from(timescale) * 1_000 / rate).unwrap_or(u32::MAX));
    let near = |usual: &u32| usual.abs_diff(frame) <= timescale / 500;
    usual.into_iter().filter(near).min_by_key(|usual| usual.abs_diff(frame)).unwrap_or(frame)
}

/// 53 bits of the hash: the largest whole number of which every browser is sure.
fn init_id(bytes: &[u8]) -> u64 {
    let hash = Sha256::digest(bytes);
    hash.iter().take(8).fold(0u64, |id, byte| id << 8 | u64::from(*byte)) >> 11
}

/// Units of a timescale in nanoseconds.
pub(crate) fn ticks_to_ns(ticks: i64, timescale: u32) -> i64 {
    let ns = i128::from(ticks) * 1_000_000_000 / i128::from(timescale.max(1));
    i64::try_from(ns).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// What a picture lasts longer than a part is said of whole parts, and the rest of the next one; all of it at the end of a segment.
    #[allow(clippy::disallowed_methods)]
    #[test]
    fn a_picture_that_stands_fills_whole_parts() {
        let mut rendition = Rendition::new();
        rendition.promise(334);
        let (timescale, size) = (90_000, (334 * 90 / 3_000) * 3_000);
        (rendition.timescale, rendition.nominal) = (timescale, Some(3_000));
        let start = |number| SegmentStart {
            number,
            epoch: 1,
            discontinuity: false,
            discontinuity_sequence: 0,
        };
        let (mut out, mut decode) = (Vec::new(), 0);
        let third = Duration::from_nanos(333_333_333);
        rendition.begin(start(1));
        let row: &[(u32, bool)] = &[(3_000, false), (3_000, false), (135_000, false)];
        let rest = [(3_000, false); 9].into_iter().chain([(100_000, true), (3_000, false)]);
        for (i, (duration, last)) in row.iter().copied().chain(rest).enumerate() {
            if i == 13 {
                rendition.begin(start(2));
            }
            let frame = Frame {
                decode,
                present: decode,
                duration,
                sync: false,
                asked: false,
                discontinuity: false,
                wall_clock_ms: 0,
                arrived: Instant::now(),
                payload: Vec::new(),
            };
            decode += i64::from(duration);
            let ends = Some(Ends::before_segment(last));
            rendition.push(frame, ends, third, Some(2), &mut out);
        }
        rendition.flush(Ends::Segment, Some(2), &mut out);
        let parts: Vec<(u64, i64, u32)> = out
            .iter()
            .map(|output| match output {
                Output::Part { segment, timing, .. } => (*segment, timing.decode, timing.duration),
                Output::Init { .. } => panic!("no initialisation segment"),
            })
            .collect();
        // 4.7 parts: four, and the rest with the frames that fill it.
        let carried = 141_000 - 4 * size;
        let filled = carried + 3 * 3_000;
        assert_eq!(
            parts,
            [
                (1, 0, 4 * size),
                (1, 141_000, filled),
                (1, 150_000, 6 * 3_000 + 100_000),
                (2, 268_000, 3_000)
            ]
        );
    }

    #[test]
    fn a_part_is_a_whole_number_of_frames() {
        let third = Duration::from_nanos(333_333_333);
        for (frame, timescale, promised, frames, target_ms) in [
            (3_000, 90_000, None, 10, 334),
            (3_003, 90_000, None, 10, 334),
            (3_600, 90_000, None, 8, 320),
            (1_024, 48_000, None, 16, 342),
            (1_024, 44_100, None, 14, 326),
            (90_000, 90_000, None, 1, 1_000),
            // Said before: never longer, also where another rate begins.
            (3_000, 90_000, Some(334), 10, 334),
            (3_600, 90_000, Some(334), 8, 334),
            (3_000, 90_000, Some(320), 9, 320),
            (1_024, 44_100, Some(342), 14, 342),
            (1_024, 48_000, Some(326), 15, 326),
            (90_000, 90_000, Some(334), 1, 334),
        ] {
            let size = part_size(frame, timescale, third, promised);
            let found = (size.frames, size.target_ms);
            assert_eq!(found, (frames, target_ms), "{frame}/{timescale}, {promised:?}");
        }
    }
}
