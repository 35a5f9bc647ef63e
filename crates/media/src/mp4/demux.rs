//! Boxes to tracks: ISO 14496-12 §8.2 to §8.8. Tracks of codecs that are not carried are named and left out.

use std::ops::Range;

use bytes::Bytes;

use super::{entry, language, tables};
use crate::codec::h264::{LengthSize, with_four_byte_lengths};
use crate::codec::{self, Config};
use crate::limits;
use crate::read::Reader;

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A box says something that cannot be.
    #[error("MP4: {0}")]
    Malformed(&'static str),
    /// There is no `moov`.
    #[error("MP4: no movie header: the file is cut off, or is no MP4")]
    NoMovie,
    /// Beyond a bound of [`limits`].
    #[error("MP4: more than {1} {0}")]
    TooMany(&'static str, usize),
    /// A codec's configuration is wrong.
    #[error("MP4: {0}")]
    Codec(#[from] codec::Error),
}

/// A file's tracks, with times of each track in its own timescale.
#[derive(Clone, Debug, Default)]
pub struct Movie {
    /// Those that can be carried.
    pub tracks: Vec<Track>,
    /// Those that cannot.
    pub unsupported: Vec<Unsupported>,
}

/// A track that can't be carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Handler: `vide`, `soun`; others are subtitles, time codes and the like.
    pub handler: [u8; 4],
    /// The name of its sample entry, such as `apcn`.
    pub entry: String,
}

/// One track.
#[derive(Clone, Debug)]
pub struct Track {
    /// track_ID.
    pub id: u32,
    /// Decoder configuration.
    pub config: Config,
    /// How the NAL units of a video track are framed in the file.
    pub length_size: LengthSize,
    /// Ticks per second.
    pub timescale: u32,
    /// What is spoken (BCP 47), where `mdhd` says it.
    pub language: Option<String>,
    /// media_time of the edit list's first real edit: what is presented at [`Self::delay_us`].
    pub edit_start: i64,
    /// Microseconds of nothing ahead of that edit.
    pub delay_us: i64,
    /// In decode order.
    pub samples: Vec<Sample>,
    pub(super) defaults: tables::Defaults,
}

/// One sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Decode time in ticks.
    pub decode: i64,
    /// Presentation minus decode time in ticks.
    pub composition: i32,
    /// Ticks.
    pub duration: u32,
    /// What the file says; the bitstream decides.
    pub sync: bool,
    /// Where its bytes are: always inside the file.
    pub range: Range<usize>,
}

impl Sample {
    /// Its bytes, by reference.
    pub fn data(&self, file: &Bytes) -> Option<Bytes> {
        (self.range.start <= self.range.end && self.range.end <= file.len())
            .then(|| file.slice(self.range.clone()))
    }
}

impl Track {
    /// Microseconds of a time in ticks, rounded down.
    pub fn us(&self, ticks: i64) -> i64 {
        let us = i128::from(ticks) * 1_000_000;
        i64::try_from(us.div_euclid(i128::from(self.timescale.max(1)))).unwrap_or(i64::MAX)
    }

    /// When a time of this track is on the clock that all tracks of the file share, in microseconds.
    pub fn shared_us(&self, ticks: i64) -> i64 {
        self.us(ticks.saturating_sub(self.edit_start)).saturating_add(self.delay_us)
    }

    /// A sample's bytes as everything inside the server has them: NAL units with lengths of four bytes.
    pub fn frame(&self, data: Bytes) -> Result<Bytes, Error> {
        match (self.length_size, &self.config) {
            (LengthSize::Four, _) | (_, Config::Audio(_)) => Ok(data),
            (size, Config::Video(_)) => Ok(with_four_byte_lengths(&data, size)?),
        }
    }
}

/// Reads all tables of a file.
pub fn demux(file: &Bytes) -> Result<Movie, Error> {
    let mut walk = Walk::new(file.len(), 0);
    let boxes = walk.children(file, 0)?;
    assemble(walk, &boxes, file.len())
}

/// A box of a file's outermost level that was read apart from its media.
#[derive(Clone, Debug)]
pub struct TopBox {
    /// Such as `moov`.
    pub kind: [u8; 4],
    /// Offset of the box itself in the file.
    pub start: usize,
    /// Its contents without header.
    pub contents: Bytes,
}

/// Reads all tables of a file of which only `moov` and `moof` boxes are in memory. Samples lie inside of `file_len`.
pub fn demux_boxes(boxes: &[TopBox], file_len: usize) -> Result<Movie, Error> {
    let found: Vec<Found<'_>> =
        boxes.iter().map(|b| Found { kind: b.kind, data: &b.contents, start: b.start }).collect();
    assemble(Walk::new(file_len, 0), &found, file_len)
}

fn assemble(mut walk: Walk, boxes: &[Found<'_>], file_len: usize) -> Result<Movie, Error> {
    let moov = boxes.iter().find(|b| &b.kind == b"moov").ok_or(Error::NoMovie)?;
    let mut movie = movie_box(&mut walk, moov, file_len)?;
    for moof in boxes.iter().filter(|b| &b.kind == b"moof") {
        tables::fragment(&mut walk, moof, &mut movie.tracks, file_len)?;
    }
    Ok(movie)
}

/// Reads the contents of a `moov` whose media is elsewhere.
pub(super) fn movie(contents: &[u8]) -> Result<Movie, Error> {
    let mut walk = Walk::new(contents.len(), 0);
    movie_box(&mut walk, &Found { kind: *b"moov", data: contents, start: 0 }, 0)
}

impl Movie {
    /// Reads the fragments of a piece of the same movie that came by itself: its samples, with ranges in the piece, take
    /// the place of those before.
    pub fn fragment(&mut self, piece: &Bytes) -> Result<(), Error> {
        self.fragment_head(piece, piece.len())
    }

    /// Like [`fragment`](Self::fragment) of a piece of `len` bytes whose `moof`s alone are at hand: `head` is its front.
    pub fn fragment_head(&mut self, head: &[u8], len: usize) -> Result<(), Error> {
        let mut walk = Walk::new(head.len(), 0);
        self.tracks.iter_mut().for_each(|track| track.samples.clear());
        for moof in walk.children(head, 0)?.iter().filter(|b| &b.kind == b"moof") {
            tables::fragment(&mut walk, moof, &mut self.tracks, len)?;
        }
        Ok(())
    }
}

/// A box: its type, its contents, and where they start in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    pub(super) kind: [u8; 4],
    pub(super) data: &'a [u8],
    /// Offset of the box itself.
    pub(super) start: usize,
}

impl<'a> Found<'a> {
    /// version, flags and the rest of a full box.
    pub(super) fn full(&self) -> Result<(u8, u32, Reader<'a>), Error> {
        let mut reader = Reader::new(self.data);
        let head = reader.u32().ok_or(Error::Malformed("a box without version"))?;
        Ok(((head >> 24) as u8, head & 0x00ff_ffff, reader))
    }
}

/// Counts boxes and samples, so that a file of nothing but announcements has an end.
#[derive(Debug)]
pub(super) struct Walk {
    boxes: usize,
    /// Samples that may still come: a table can name the same bytes again and again, a real file has no more samples
    /// than bytes.
    samples: usize,
    /// Where in the file the bytes begin that are walked: for offsets that count from the file's start.
    pub(super) origin: u64,
}

impl Walk {
    pub(super) fn new(bytes: usize, origin: u64) -> Self {
        Self { boxes: 0, samples: bytes.min(limits::MP4_SAMPLES_MAX), origin }
    }

    /// The boxes inside of `data`, which starts at `offset` in the file. A last box that is cut off ends the list.
    pub(super) fn children<'a>(
        &mut self,
        data: &'a [u8],
        offset: usize,
    ) -> Result<Vec<Found<'a>>, Error> {
        let mut reader = Reader::new(data);
        let mut found = Vec::new();
        loop {
            let start = offset + (data.len() - reader.len());
            let (Some(size), Some(kind)) = (reader.u32(), reader.array()) else {
                return Ok(found);
            };
            // §4.2: 1 = a 64-bit size follows, 0 = to the end.
            let len = match size {
                0 => reader.len(),
                1 => match reader.u64().map(|n| n.checked_sub(16).map(usize::try_from)) {
                    Some(Some(Ok(len))) => len,
                    _ => return Err(Error::Malformed("a box with an impossible size")),
                },
                _ => match size.checked_sub(8) {
                    Some(len) => len as usize,
                    None => return Err(Error::Malformed("a box smaller than its header")),
                },
            };
            let Some(contents) = reader.take(len) else {
                return Ok(found);
            };
            self.boxes += 1;
            if self.boxes > limits::MP4_BOXES_MAX {
                return Err(Error::TooMany("boxes", limits::MP4_BOXES_MAX));
            }
            found.push(Found { kind, data: contents, start });
        }
    }

    pub(super) fn count_sample(&mut self) -> Result<(), Error> {
        self.samples = self
            .samples
            .checked_sub(1)
            .ok_or(Error::TooMany("samples", limits::MP4_SAMPLES_MAX))?;
        Ok(())
    }

    /// The first box along a path.
    pub(super) fn find<'a>(
        &mut self,
        data: &'a [u8],
        path: &[&[u8; 4]],
    ) -> Result<Option<Found<'a>>, Error> {
        let mut at = data;
        let mut last = None;
        for kind in path {
            let Some(found) = self.children(at, 0)?.into_iter().find(|b| &b.kind == *kind) else {
                return Ok(None);
            };
            at = found.data;
            last = Some(found);
        }
        Ok(last)
    }
}

fn movie_box(walk: &mut Walk, moov: &Found<'_>, file_len: usize) -> Result<Movie, Error> {
    let mut movie = Movie { tracks: Vec::new(), unsupported: Vec::new() };
    let children = walk.children(moov.data, 0)?;
    let timescale = match children.iter().find(|b| &b.kind == b"mvhd") {
        Some(mvhd) => timescale(mvhd)?,
        None => return Err(Error::Malformed("a movie without mvhd")),
    };
    for trak in children.iter().filter(|b| &b.kind == b"trak") {
        if movie.tracks.len() + movie.unsupported.len() >= limits::MP4_TRACKS_MAX {
            return Err(Error::TooMany("tracks", limits::MP4_TRACKS_MAX));
        }
        match track_box(walk, trak, timescale, file_len)? {
            Ok(track) => movie.tracks.push(track),
            Err(unsupported) => movie.unsupported.push(unsupported),
        }
    }
    for mvex in children.iter().filter(|b| &b.kind == b"mvex") {
        for trex in walk.children(mvex.data, 0)?.iter().filter(|b| &b.kind == b"trex") {
            tables::track_defaults(trex, &mut movie.tracks)?;
        }
    }
    Ok(movie)
}

/// Of `mvhd` and `mdhd`, which begin alike.
fn timescale(found: &Found<'_>) -> Result<u32, Error> {
    let (version, _, mut reader) = found.full()?;
    reader.take(if version == 1 { 16 } else { 8 });
    reader.u32().filter(|t| *t > 0).ok_or(Error::Malformed("a header without timescale"))
}

/// ISO/IEC 14496-12 §8.4.2.3: three letters of five bits each.
fn spoken(mdhd: &Found<'_>) -> Result<Option<String>, Error> {
    let (version, _, mut reader) = mdhd.full()?;
    let packed = reader.take(if version == 1 { 28 } else { 16 }).and_then(|_| reader.u16());
    Ok(packed.and_then(|packed| {
        language::tag([10, 5, 0].map(|shift| 0x60 + (packed >> shift & 0x1f) as u8))
    }))
}

/// The inner error is what cannot be carried.
fn track_box(
    walk: &mut Walk,
    trak: &Found<'_>,
    movie_timescale: u32,
    file_len: usize,
) -> Result<Result<Track, Unsupported>, Error> {
    let id = match walk.find(trak.data, &[b"tkhd"])? {
        Some(tkhd) => {
            let (version, _, mut reader) = tkhd.full()?;
            reader.take(if version == 1 { 16 } else { 8 });
            reader.u32().ok_or(Error::Malformed("tkhd ends early"))?
        }
        None => return Err(Error::Malformed("a track without tkhd")),
    };
    let (timescale, language) = match walk.find(trak.data, &[b"mdia", b"mdhd"])? {
        Some(mdhd) => (timescale(&mdhd)?, spoken(&mdhd)?),
        None => return Err(Error::Malformed("a track without mdhd")),
    };
    let Some(stbl) = walk.find(trak.data, &[b"mdia", b"minf", b"stbl"])? else {
        return Err(Error::Malformed("a track without stbl"));
    };
    let Some(stsd) = walk.find(stbl.data, &[b"stsd"])? else {
        return Err(Error::Malformed("a track without stsd"));
    };
    let (_, _, mut reader) = stsd.full()?;
    reader.u32();
    let Some(entry) = walk.children(reader.rest(), 0)?.into_iter().next() else {
        return Err(Error::Malformed("a track without sample entry"));
    };
    let Some((config, length_size)) = entry::config(walk, &entry)? else {
        let hdlr = walk.find(trak.data, &[b"mdia", b"hdlr"])?;
        let handler = hdlr.and_then(|hdlr| hdlr.data.get(8..)?.first_chunk::<4>().copied());
        let handler = handler.unwrap_or_default();
        return Ok(Err(Unsupported { handler, entry: entry.kind.escape_ascii().to_string() }));
    };
    let (delay, edit_start) = match walk.find(trak.data, &[b"edts", b"elst"])? {
        Some(elst) => tables::edit_start(&elst)?,
        None => (0, 0),
    };
    let delay_us = i128::from(delay) * 1_000_000 / i128::from(movie_timescale);
    let delay_us = i64::try_from(delay_us).unwrap_or(0);
    let samples = tables::samples(walk, &stbl, file_len)?;
    let defaults = tables::Defaults::default();
    Ok(Ok(Track {
        id,
        config,
        length_size,
        timescale,
        language,
        edit_start,
        delay_us,
        samples,
        defaults,
    }))
}
