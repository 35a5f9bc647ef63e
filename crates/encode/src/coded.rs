//! Coded frames of an original, read out of its parts.

use bytes::Bytes;
use media::mp4::{Event, Reader, StreamError};

use crate::limits::LOOK_BACK_SEGMENTS;
use crate::original::{Original, OriginalPart};

/// A frame of the original.
pub(crate) struct Coded {
    pub(crate) decode: i64,
    pub(crate) present: i64,
    pub(crate) duration: u32,
    pub(crate) sync: bool,
    pub(crate) data: Bytes,
}

impl Coded {
    /// By how many pictures presentation lags behind decoding, if this is the first frame.
    pub(crate) fn reorder(&self) -> u8 {
        let offset = self.present - self.decode;
        let frames = offset.max(0) / i64::from(self.duration.max(1));
        u8::try_from(frames.min(16)).unwrap_or(0)
    }
}

/// Reads parts that follow from each other.
pub(crate) struct Frames(Reader);

impl Frames {
    /// Of what this initialisation segment describes.
    pub(crate) fn new(init: &Bytes) -> Self {
        let mut reader = Reader::new();
        reader.push(init);
        Self(reader)
    }

    /// The frames of the next part, in decode order.
    pub(crate) fn of(&mut self, part: &OriginalPart) -> Result<Vec<Coded>, StreamError> {
        for piece in &part.pieces {
            self.0.push(piece);
        }
        let mut frames = Vec::new();
        while let Some(event) = self.0.next_event()? {
            let Event::Fragment(samples) = event else { continue };
            frames.extend(samples.into_iter().map(|f| Coded {
                decode: f.sample.decode,
                present: f.sample.decode + i64::from(f.sample.composition),
                duration: f.sample.duration,
                sync: f.sample.sync,
                data: f.data,
            }));
        }
        Ok(frames)
    }
}

/// Where the pictures of a segment begin, from its frames so far in decode order: with its key frame, or behind all pictures that
/// were coded before it. None while that is not certain: a picture that is coded later may be shown sooner, and parts may be of
/// one frame each. Who encodes a segment and who encodes the one before it go by this alike, so that each picture is in one.
/// `whole`: there are no more frames of it.
pub(crate) fn shown_from<'a>(
    frames: impl IntoIterator<Item = &'a Coded, IntoIter: Clone>,
    reached: i64,
    independent: bool,
    whole: bool,
) -> Option<i64> {
    let frames = frames.into_iter();
    if independent {
        return frames.clone().next().map(|first| first.present);
    }
    let presents = frames.clone().map(|frame| frame.present);
    let behind = presents.clone().filter(|present| *present > reached).min();
    let known = |from: &i64| whole || is_behind(frames.clone(), *from);
    match behind {
        Some(from) => Some(from).filter(known),
        // At the end of a broadcast there may be no such picture: then the last one is left to it.
        None => presents.max().filter(|_| whole),
    }
}

/// Whether no frame behind these can be shown before this time: none is shown before it is decoded.
pub(crate) fn is_behind<'a>(frames: impl IntoIterator<Item = &'a Coded>, time: i64) -> bool {
    let last = frames.into_iter().last();
    last.is_some_and(|last| last.decode + i64::from(last.duration) >= time)
}

/// The segment with which decoding must start for this one to be decoded: itself, or the last one before it that begins
/// with a key frame. Itself, too, if there is none as far back as is looked.
pub(crate) fn decodable_from(original: &dyn Original, number: u64) -> u64 {
    let oldest = number.saturating_sub(LOOK_BACK_SEGMENTS);
    for from in (oldest..=number).rev() {
        match original.segment(from) {
            Some(segment) if segment.independent => return from,
            Some(_) => {}
            None => break,
        }
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pyramid: each fourth picture refers back, those between lie between their neighbours.
    fn pyramid(count: usize) -> Vec<Coded> {
        let order = std::iter::once(0).chain((0..).flat_map(|n| [4, 2, 1, 3].map(|i| 4 * n + i)));
        let coded = |(at, shown): (i64, i64)| Coded {
            decode: at * 3_000,
            present: (shown + 2) * 3_000,
            duration: 3_000,
            sync: at == 0,
            data: Bytes::new(),
        };
        (0..).zip(order).map(coded).take(count).collect()
    }

    /// What is known of where a segment begins, reading one part after the other.
    fn begins(frames: &[Coded], part: usize, reached: i64, independent: bool) -> (i64, usize) {
        let read = (1..).map(|parts| (parts * part).min(frames.len()));
        let known = |n: usize| {
            Some((shown_from(&frames[..n], reached, independent, n == frames.len())?, n))
        };
        read.take(frames.len() + 1).find_map(known).unwrap()
    }

    #[test]
    fn each_picture_is_in_one_segment_wherever_borders_lie() {
        for (long, part) in (4..12).flat_map(|long| (1..=long).map(move |part| (long, part))) {
            let frames = pyramid(40);
            let segments: Vec<&[Coded]> = frames.chunks(long).collect();
            let (mut reached, mut shown) = (i64::MIN, Vec::new());
            for (n, own) in segments.iter().enumerate() {
                let (from, read) = begins(own, part, reached, n == 0);
                assert!(read < part + 6, "{long} {part}: {read} frames were waited for");
                let newest = own.iter().map(|f| f.present).max().unwrap().max(reached);
                let mut pictures: Vec<i64> =
                    own.iter().map(|f| f.present).filter(|present| *present >= from).collect();
                if let Some(next) = segments.get(n + 1) {
                    let (until, _) = begins(next, part, newest, false);
                    let read = (1..=next.len()).find(|n| is_behind(&next[..*n], until));
                    let leading = next[..read.unwrap_or(next.len())].iter().map(|f| f.present);
                    pictures.extend(leading.filter(|present| *present < until));
                }
                pictures.sort_unstable();
                shown.extend(pictures);
                reached = newest;
            }
            let mut expect: Vec<i64> = frames.iter().map(|f| f.present).collect();
            expect.sort_unstable();
            assert_eq!(shown, expect, "{part} of {long}");
        }
    }
}
