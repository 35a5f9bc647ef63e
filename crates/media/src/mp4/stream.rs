//! Fragmented MP4 as it comes: from a pipe, or segment by segment.

use bytes::{Buf, Bytes, BytesMut};

use super::demux::{self, Error, Found, Movie, Sample, Walk};
use super::tables;
use crate::limits;

/// Reads a fragmented file piece by piece: [`Reader::push`] bytes, then take what came until `None`.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: BytesMut,
    /// Offset of the buffer in the stream.
    at: u64,
    /// Bytes of a box that nobody needs, still to come.
    skip: u64,
    movie: Option<Movie>,
    /// From a `moof` to the end of its `mdat`.
    fragment: BytesMut,
    fragment_at: u64,
}

/// What a stream holds.
#[derive(Debug)]
pub enum Event {
    /// The tracks; their lists of samples are empty.
    Movie(Movie),
    /// The samples of one `moof` with their bytes, in the order of the file.
    Fragment(Vec<Frame>),
}

/// One sample with its bytes.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Index in [`Movie::tracks`].
    pub track: usize,
    /// Times of the track; its range is of no use.
    pub sample: Sample,
    /// As they stand in the file.
    pub data: Bytes,
}

/// Why a stream can't be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The boxes are wrong.
    #[error(transparent)]
    Mp4(#[from] Error),
    /// A progressive file: its index may be at its end, and is for the whole file.
    #[error("MP4: not fragmented, and only a fragmented file can be read as it comes")]
    NotFragmented,
    /// Media before the description of its tracks.
    #[error("MP4: a fragment before the movie header")]
    NoMovie,
    /// Beyond a bound of [`limits`].
    #[error("MP4: a {0} of {1} bytes, at most {2} are read")]
    TooLarge(&'static str, u64, usize),
}

impl Reader {
    /// A reader at the start of a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next bytes. What is held is bounded by [`limits::MP4_FRAGMENT_BYTES_MAX`] and what is pushed at once.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The tracks, once they are known.
    pub fn movie(&self) -> Option<&Movie> {
        self.movie.as_ref()
    }

    /// What came next, or `None` until more bytes come.
    pub fn next_event(&mut self) -> Result<Option<Event>, StreamError> {
        loop {
            let skipped = self.skip.min(self.buffer.len() as u64);
            self.advance(skipped as usize);
            self.skip -= skipped;
            if self.skip > 0 {
                return Ok(None);
            }
            let Some((kind, len, header)) = self.head()? else { return Ok(None) };
            let wanted = match &kind {
                b"moov" => Some(("moov", limits::MP4_MOOV_BYTES_MAX)),
                b"moof" => Some(("moof", limits::MP4_FRAGMENT_BYTES_MAX)),
                b"mdat" if self.fragment.is_empty() => {
                    return Err(StreamError::NotFragmented);
                }
                // What lies between a moof and its mdat counts for the offsets.
                _ if !self.fragment.is_empty() => {
                    Some(("fragment", limits::MP4_FRAGMENT_BYTES_MAX))
                }
                _ => None,
            };
            let Some((what, max)) = wanted else {
                self.skip = len;
                continue;
            };
            if len.saturating_add(self.fragment.len() as u64) > max as u64 {
                return Err(StreamError::TooLarge(what, len, max));
            }
            // Bounded by `max`.
            let len = len as usize;
            if self.buffer.len() < len {
                return Ok(None);
            }
            let start = self.at;
            let whole = self.buffer.split_to(len);
            self.at += len as u64;
            match &kind {
                b"moov" if self.movie.is_none() => {
                    let contents = whole.get(header..).unwrap_or_default();
                    let movie = demux::movie(contents)?;
                    self.movie = Some(movie.clone());
                    return Ok(Some(Event::Movie(movie)));
                }
                b"moov" => {}
                b"moof" => {
                    // A moof without an mdat before the next one has nothing to show.
                    self.fragment = whole;
                    self.fragment_at = start;
                }
                b"mdat" => {
                    self.fragment.unsplit(whole);
                    let fragment = std::mem::take(&mut self.fragment).freeze();
                    return self.fragment(&fragment).map(|frames| Some(Event::Fragment(frames)));
                }
                _ => self.fragment.unsplit(whole),
            }
        }
    }

    /// Type, whole length and length of the header of the box that comes.
    fn head(&self) -> Result<Option<([u8; 4], u64, usize)>, StreamError> {
        let mut reader = crate::read::Reader::new(&self.buffer);
        let (Some(size), Some(kind)) = (reader.u32(), reader.array::<4>()) else {
            return Ok(None);
        };
        let (len, header) = match size {
            // To the end of the file: of a stream nobody knows where that is.
            0 => return Err(StreamError::NotFragmented),
            1 => match reader.u64() {
                Some(len) => (len, 16),
                None => return Ok(None),
            },
            size => (u64::from(size), 8),
        };
        if len < header as u64 {
            return Err(Error::Malformed("a box smaller than its header").into());
        }
        Ok(Some((kind, len, header)))
    }

    fn advance(&mut self, bytes: usize) {
        self.buffer.advance(bytes);
        self.at += bytes as u64;
    }

    fn fragment(&mut self, bytes: &Bytes) -> Result<Vec<Frame>, StreamError> {
        let Some(movie) = &mut self.movie else { return Err(StreamError::NoMovie) };
        let mut walk = Walk::new(bytes.len(), self.fragment_at);
        let boxes = walk.children(bytes, 0)?;
        let moof = boxes.iter().find(|b| &b.kind == b"moof");
        let moof: &Found<'_> = moof.ok_or(Error::Malformed("a fragment without moof"))?;
        let before: Vec<usize> = movie.tracks.iter().map(|t| t.samples.len()).collect();
        tables::fragment(&mut walk, moof, &mut movie.tracks, bytes.len())?;
        let mut frames = Vec::new();
        for (track, (samples, before)) in
            movie.tracks.iter_mut().map(|t| &mut t.samples).zip(before).enumerate()
        {
            for sample in samples.iter().skip(before) {
                if let Some(data) = sample.data(bytes) {
                    frames.push(Frame { track, sample: sample.clone(), data });
                }
            }
            // The last one stays: a fragment without tfdt goes on behind it.
            samples.drain(..samples.len().saturating_sub(1));
        }
        Ok(frames)
    }
}
