//! A picture, drawn: frames of the original in, a JPEG or a GIF out.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use media::codec::VideoConfig;

use crate::coded::{Coded, Frames, decodable_from};
use crate::fit::{Size, within_all};
use crate::job::{JobError, begin_with, has_part};
use crate::limits::{FILM_DECODED_PIXELS_MAX, FILM_PIXELS_MAX, FILM_SEGMENTS_MAX, SHEET_SIDE};
use crate::original::{Original, OriginalSegment};
use crate::pool::Lease;
use crate::wire::{Frame, FromEncoder, Output, ToEncoder, WireError};
use crate::worker::{Counters, From, To, WorkerError};

/// A picture of a video.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Picture {
    /// Its size; on a sheet and in a film that of each picture.
    pub size: Size,
    /// What is on it.
    pub what: What,
}

/// What is on a picture.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// What is shown so many milliseconds after the beginning of a segment: a JPEG.
    Shown {
        /// The segment.
        segment: u64,
        /// From its beginning.
        at_ms: u32,
    },
    /// The first picture of a segment that can be decoded alone: a JPEG.
    Key(u64),
    /// Those of several segments, side by side and row by row, [`SHEET_SIDE`] of them: a JPEG.
    Sheet(Vec<u64>),
    /// What is shown at several times, one after the other: a GIF.
    Film {
        /// The segment from whose beginning times are counted.
        segment: u64,
        /// The first picture's time.
        from_ms: u32,
        /// From one picture to the next.
        every_ms: u32,
        /// How many pictures.
        pictures: u32,
    },
}

impl What {
    /// The segment that describes the source.
    pub(crate) fn first(&self) -> Option<u64> {
        match self {
            Self::Shown { segment, .. } | Self::Key(segment) | Self::Film { segment, .. } => {
                Some(*segment)
            }
            Self::Sheet(segments) => segments.first().copied(),
        }
    }
}

/// 2 is the best of JPEG in FFmpeg, 31 the worst.
const QUALITY: u8 = 4;
/// Small pictures beside each other: nobody looks at one for long.
const SHEET_QUALITY: u8 = 6;

/// Units of the original's timescale in a millisecond.
const PER_MS: i64 = media::codec::VIDEO_TIMESCALE as i64 / 1_000;

/// One picture to draw.
pub(crate) struct Draw<'a> {
    pub(crate) original: &'a dyn Original,
    pub(crate) picture: &'a Picture,
    pub(crate) config: &'a VideoConfig,
    /// Id and bytes of the initialisation segment.
    pub(crate) init: (u64, &'a Bytes),
    pub(crate) counters: &'a Counters,
    /// Something was said to the process.
    pub(crate) begun: AtomicBool,
}

impl Draw<'_> {
    pub(crate) async fn run(&self, lease: &mut Lease) -> Result<Bytes, JobError> {
        let worker = lease.worker().ok_or(WorkerError::Ended)?;
        let frames = Frames::new(self.init.1);
        let mut feed = Feed { draw: self, to: &mut worker.to, frames };
        let ended = AtomicBool::new(false);
        let fed = async {
            match &self.picture.what {
                What::Key(segment) => feed.keys(&[*segment]).await?,
                What::Sheet(segments) => feed.keys(segments).await?,
                What::Shown { segment, at_ms } => {
                    feed.shown(*segment, [*at_ms].into(), u64::MAX).await?;
                }
                What::Film { segment, from_ms, every_ms, pictures } => {
                    let time = |n: u32| from_ms.saturating_add(n.saturating_mul(*every_ms));
                    let times = (0..*pictures).map(time).collect();
                    feed.shown(*segment, times, FILM_DECODED_PIXELS_MAX).await?;
                }
            }
            if !self.begun.load(Ordering::Relaxed) {
                return Err(JobError::NoOriginal);
            }
            feed.to.send(&ToEncoder::End).await?;
            ended.store(true, Ordering::Release);
            Ok(())
        };
        let drawn = receive(&mut worker.from, self.counters, &ended);
        let ((), drawn) = tokio::try_join!(fed, drawn)?;
        drawn.ok_or_else(|| JobError::Failed("nothing of it can be decoded".to_owned()))
    }

    fn output(&self) -> Output {
        let tile = self.picture.size.tile(self.config);
        match &self.picture.what {
            What::Shown { .. } | What::Key(_) => {
                Output::Sheet { tile, columns: 1, rows: 1, quality: QUALITY }
            }
            What::Sheet(_) => Output::Sheet {
                tile,
                columns: SHEET_SIDE,
                rows: SHEET_SIDE,
                quality: SHEET_QUALITY,
            },
            What::Film { every_ms, pictures, .. } => Output::Film {
                tile: within_all(tile, *pictures, FILM_PIXELS_MAX),
                last: u8::try_from(every_ms / 10).unwrap_or(u8::MAX),
            },
        }
    }
}

/// What was drawn.
async fn receive(
    from: &mut From,
    counters: &Counters,
    ended: &AtomicBool,
) -> Result<Option<Bytes>, JobError> {
    let mut drawn = None;
    loop {
        // While the store is read it has nothing to say, and it may have been idle before.
        match from.answer(|| ended.load(Ordering::Acquire)).await? {
            FromEncoder::Packet { data, .. } => drawn = Some(data),
            FromEncoder::Done { decoded, broken } => {
                counters.pictures.fetch_add(u64::from(decoded), Ordering::Relaxed);
                counters.broken_frames.fetch_add(u64::from(broken), Ordering::Relaxed);
                return Ok(drawn);
            }
            FromEncoder::Failed(words) | FromEncoder::NoEncoder(words) => {
                return Err(JobError::Failed(words));
            }
            FromEncoder::GoesOn => {}
            FromEncoder::Began { .. } | FromEncoder::Hello(_) => {
                return Err(
                    WorkerError::from(WireError::Unknown("what it says of a picture")).into()
                );
            }
        }
    }
}

struct Feed<'a> {
    draw: &'a Draw<'a>,
    to: &'a mut To,
    frames: Frames,
}

impl Feed<'_> {
    /// The first picture that can be decoded alone, of each of these segments; its place is its time.
    async fn keys(&mut self, segments: &[u64]) -> Result<(), JobError> {
        for (place, number) in (0..).zip(segments) {
            let Some(key) = self.key(*number).await? else { continue };
            self.send(&key, place, true, true).await?;
        }
        Ok(())
    }

    async fn key(&mut self, number: u64) -> Result<Option<Coded>, JobError> {
        for index in 0.. {
            let segment = self.segment_of(number);
            // Of one that is being made there is the first part.
            if !segment.is_some_and(|s| s.complete || (s.independent && index == 0)) {
                return Ok(None);
            }
            let original = self.draw.original;
            let part = match original.part(number, index).await? {
                Some(part) => part,
                None if has_part(original, number, index) => return Err(JobError::NoOriginal),
                None => return Ok(None),
            };
            // Each by itself: what was read before may be of another place.
            let frames = Frames::new(self.draw.init.1).of(&part)?;
            let key = frames.into_iter().find(|f| f.sync);
            if key.is_some() || part.last {
                return Ok(key);
            }
        }
        Ok(None)
    }

    /// What is shown at these times after the beginning of a segment, in it and those behind it. They rise. Those that are left
    /// out for which more would have to be decoded: all but the first.
    async fn shown(
        &mut self,
        number: u64,
        times: VecDeque<u32>,
        pixels_max: u64,
    ) -> Result<(), JobError> {
        let pixels = u64::from(self.draw.config.width) * u64::from(self.draw.config.height);
        let (mut decoded, mut any) = (0_u64, false);
        let from = decodable_from(self.draw.original, number);
        for before in from..number {
            for frame in self.segment(before).await?.unwrap_or_default() {
                decoded += pixels;
                self.send(&frame, frame.present, false, false).await?;
            }
        }
        let (mut times, mut base) = (times, None);
        for number in number..number.saturating_add(FILM_SEGMENTS_MAX) {
            let Some(frames) = self.segment(number).await? else { break };
            let Some(first) = frames.first() else { break };
            let duration: i64 = frames.iter().map(|f| i64::from(f.duration)).sum();
            let (begin, end) = (first.present, first.present + duration);
            let base = *base.get_or_insert(begin);
            let mut wanted = Vec::new();
            while let Some(at) = times.front().map(|ms| base + i64::from(*ms) * PER_MS) {
                if at >= end {
                    break;
                }
                times.pop_front();
                wanted.extend(shown_at(&frames, at));
            }
            let last = if times.is_empty() { wanted.iter().max().copied() } else { None };
            for (index, frame) in frames.iter().enumerate() {
                if last.is_some_and(|last| index > last) {
                    return Ok(());
                }
                decoded += pixels;
                if any && decoded > pixels_max {
                    return Ok(());
                }
                any |= wanted.contains(&index);
                self.send(frame, frame.present, wanted.contains(&index), false).await?;
            }
            if times.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// All frames of a segment that goes on from what was read before; none if it is not there, or something else.
    async fn segment(&mut self, number: u64) -> Result<Option<Vec<Coded>>, JobError> {
        let mut all = Vec::new();
        for index in 0.. {
            if !self.segment_of(number).is_some_and(|segment| segment.complete) {
                return Ok(None);
            }
            let original = self.draw.original;
            let part = match original.part(number, index).await? {
                Some(part) => part,
                None if has_part(original, number, index) => return Err(JobError::NoOriginal),
                None => break,
            };
            all.extend(self.frames.of(&part)?);
            if part.last {
                break;
            }
        }
        Ok(Some(all))
    }

    /// A segment of the same source. Parts are waited for while they are being made, so look before.
    fn segment_of(&self, number: u64) -> Option<OriginalSegment> {
        let segment = self.draw.original.segment(number);
        segment.filter(|segment| segment.init == self.draw.init.0)
    }

    async fn send(
        &mut self,
        frame: &Coded,
        present: i64,
        shown: bool,
        alone: bool,
    ) -> Result<(), JobError> {
        if !self.draw.begun.swap(true, Ordering::Relaxed) {
            let reorder = if alone { 0 } else { frame.reorder() };
            let begin = begin_with(self.draw.config, reorder, vec![self.draw.output()])?;
            self.to.send(&begin).await?;
        }
        let (sync, data) = (frame.sync, frame.data.clone());
        let frame = Frame { present, sync, shown, begins: false, alone, data };
        self.to.send(&ToEncoder::Frame(frame)).await?;
        Ok(())
    }
}

/// The frame that is on the screen at a time: the newest that has begun, or the first.
fn shown_at(frames: &[Coded], at: i64) -> Option<usize> {
    let begun = frames.iter().enumerate().filter(|(_, f)| f.present <= at);
    let newest = begun.max_by_key(|(_, f)| f.present);
    let first = || frames.iter().enumerate().min_by_key(|(_, f)| f.present);
    newest.or_else(first).map(|(index, _)| index)
}
