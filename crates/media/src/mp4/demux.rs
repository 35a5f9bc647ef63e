//! Boxes to tracks: ISO 14496-12 §8.2 to §8.8. H.264 and AAC; other tracks are named and left out.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::tables;
use crate::codec::aac::AudioSpecificConfig;
use crate::codec::h264::{DecoderConfiguration, LengthSize};
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
#[derive(Clone, Debug)]
pub struct Movie {
    /// Those that can be carried.
    pub tracks: Vec<Track>,
    /// Sample entries that cannot, such as `hvc1`.
    pub unsupported: Vec<String>,
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
    /// media_time of the edit list's first real edit: what is presented at time zero.
    pub edit_start: i64,
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

/// Reads all tables of a file.
pub fn demux(file: &Bytes) -> Result<Movie, Error> {
    let mut walk = Walk { boxes: 0, samples: file.len().min(limits::MP4_SAMPLES_MAX) };
    let mut movie: Option<Movie> = None;
    let mut fragments = Vec::new();
    for found in walk.children(file, 0)? {
        match &found.kind {
            b"moov" if movie.is_none() => movie = Some(movie_box(&mut walk, &found, file.len())?),
            b"moof" => fragments.push(found),
            _ => {}
        }
    }
    let mut movie = movie.ok_or(Error::NoMovie)?;
    for moof in fragments {
        tables::fragment(&mut walk, &moof, &mut movie.tracks, file.len())?;
    }
    Ok(movie)
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
}

impl Walk {
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
    for trak in children.iter().filter(|b| &b.kind == b"trak") {
        if movie.tracks.len() + movie.unsupported.len() >= limits::MP4_TRACKS_MAX {
            return Err(Error::TooMany("tracks", limits::MP4_TRACKS_MAX));
        }
        match track_box(walk, trak, file_len)? {
            Ok(track) => movie.tracks.push(track),
            Err(name) => movie.unsupported.push(name),
        }
    }
    for mvex in children.iter().filter(|b| &b.kind == b"mvex") {
        for trex in walk.children(mvex.data, 0)?.iter().filter(|b| &b.kind == b"trex") {
            tables::track_defaults(trex, &mut movie.tracks)?;
        }
    }
    Ok(movie)
}

/// The inner error is the name of what cannot be carried.
fn track_box(
    walk: &mut Walk,
    trak: &Found<'_>,
    file_len: usize,
) -> Result<Result<Track, String>, Error> {
    let id = match walk.find(trak.data, &[b"tkhd"])? {
        Some(tkhd) => {
            let (version, _, mut reader) = tkhd.full()?;
            reader.take(if version == 1 { 16 } else { 8 });
            reader.u32().ok_or(Error::Malformed("tkhd ends early"))?
        }
        None => return Err(Error::Malformed("a track without tkhd")),
    };
    let timescale = match walk.find(trak.data, &[b"mdia", b"mdhd"])? {
        Some(mdhd) => {
            let (version, _, mut reader) = mdhd.full()?;
            reader.take(if version == 1 { 16 } else { 8 });
            reader.u32().filter(|t| *t > 0).ok_or(Error::Malformed("mdhd without timescale"))?
        }
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
    let (config, length_size) = match &entry.kind {
        b"avc1" | b"avc3" => video_entry(walk, &entry)?,
        b"mp4a" => (audio_entry(walk, &entry)?, LengthSize::Four),
        other => return Ok(Err(other.escape_ascii().to_string())),
    };
    let edit_start = match walk.find(trak.data, &[b"edts", b"elst"])? {
        Some(elst) => tables::edit_start(&elst)?,
        None => 0,
    };
    let samples = tables::samples(walk, &stbl, file_len)?;
    let defaults = tables::Defaults::default();
    Ok(Ok(Track { id, config, length_size, timescale, edit_start, samples, defaults }))
}

/// VisualSampleEntry, §12.1.3: 78 bytes before its boxes.
fn video_entry(walk: &mut Walk, entry: &Found<'_>) -> Result<(Config, LengthSize), Error> {
    let boxes = entry.data.get(78..).ok_or(Error::Malformed("a video sample entry ends early"))?;
    let avcc = walk.find(boxes, &[b"avcC"])?.ok_or(Error::Malformed("avc1 without avcC"))?;
    let (record, length) = DecoderConfiguration::parse(avcc.data)?;
    Ok((Config::Video(Arc::new(record).config()), length))
}

/// AudioSampleEntry, §12.2.3: 28 bytes before its boxes; QuickTime's versions 1 and 2 have more.
fn audio_entry(walk: &mut Walk, entry: &Found<'_>) -> Result<Config, Error> {
    let early = Error::Malformed("an audio sample entry ends early");
    let mut version = Reader::new(entry.data.get(8..).ok_or(early.clone())?);
    let skip = match version.u16() {
        Some(1) => 28 + 16,
        Some(2) => 28 + 36,
        _ => 28,
    };
    let boxes = entry.data.get(skip..).ok_or(early)?;
    let esds = match walk.find(boxes, &[b"esds"])? {
        Some(esds) => Some(esds),
        None => walk.find(boxes, &[b"wave", b"esds"])?,
    };
    let (_, _, reader) = esds.ok_or(Error::Malformed("mp4a without esds"))?.full()?;
    let asc =
        decoder_specific(reader).ok_or(Error::Malformed("esds without AudioSpecificConfig"))?;
    Ok(Config::Audio(AudioSpecificConfig::parse(asc)?.config()))
}

/// ES_Descriptor > DecoderConfigDescriptor > DecoderSpecificInfo, ISO 14496-1 §7.2.6.
fn decoder_specific<'a>(mut reader: Reader<'a>) -> Option<&'a [u8]> {
    let mut stream = descriptor(&mut reader, 0x03)?;
    stream.u16()?;
    let flags = stream.u8()?;
    if flags & 0x80 != 0 {
        stream.u16()?;
    }
    if flags & 0x40 != 0 {
        let url = stream.u8()?;
        stream.take(url.into())?;
    }
    if flags & 0x20 != 0 {
        stream.u16()?;
    }
    let mut decoder = descriptor(&mut stream, 0x04)?;
    decoder.take(13)?;
    Some(descriptor(&mut decoder, 0x05)?.rest())
}

fn descriptor<'a>(reader: &mut Reader<'a>, tag: u8) -> Option<Reader<'a>> {
    if reader.u8()? != tag {
        return None;
    }
    let mut len = 0usize;
    for _ in 0..4 {
        let byte = reader.u8()?;
        len = len << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    reader.take(len).map(Reader::new)
}
