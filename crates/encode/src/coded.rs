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
