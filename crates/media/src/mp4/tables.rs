//! Sample tables (ISO 14496-12 §8.6, §8.7) and fragments (§8.8) to samples.

use super::demux::{Error, Found, Sample, Track, Walk};
use crate::read::Reader;

/// `trex`, §8.8.3: what samples have that say nothing themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Defaults {
    duration: u32,
    size: u32,
    flags: u32,
}

/// sample_is_non_sync_sample, §8.8.3.1.
const NON_SYNC: u32 = 0x0001_0000;

/// Of the first edit that is not empty, §8.6.6: the length of the empty ones before it in the movie's timescale, and its
/// media_time.
pub(super) fn edit_start(elst: &Found<'_>) -> Result<(u64, i64), Error> {
    let (version, _, mut reader) = elst.full()?;
    let count = reader.u32().unwrap_or(0);
    let mut delay = 0u64;
    for _ in 0..count {
        let (length, start) = if version == 1 {
            (reader.u64(), reader.u64().map(|t| t as i64))
        } else {
            (reader.u32().map(u64::from), reader.u32().map(|t| i64::from(t as i32)))
        };
        reader.u32();
        match (length, start) {
            (Some(length), Some(-1)) => delay = delay.saturating_add(length),
            (Some(_), Some(start)) => return Ok((delay, start)),
            _ => break,
        }
    }
    Ok((0, 0))
}

/// Runs of a table: (count, value) pairs of `stts` and `ctts`, read as they are needed.
struct Runs<'a> {
    reader: Reader<'a>,
    left: u32,
    value: u32,
}

impl<'a> Runs<'a> {
    fn new(found: Option<&Found<'a>>) -> Result<Self, Error> {
        let reader = match found {
            Some(found) => {
                let (_, _, mut reader) = found.full()?;
                reader.u32();
                reader
            }
            None => Reader::new(&[]),
        };
        Ok(Self { reader, left: 0, value: 0 })
    }

    fn next(&mut self) -> Option<u32> {
        while self.left == 0 {
            self.left = self.reader.u32()?;
            self.value = self.reader.u32()?;
        }
        self.left -= 1;
        Some(self.value)
    }
}

/// The samples of a progressive file.
pub(super) fn samples(
    walk: &mut Walk,
    stbl: &Found<'_>,
    file_len: usize,
) -> Result<Vec<Sample>, Error> {
    let tables = walk.children(stbl.data, 0)?;
    let table = |kind: &[u8; 4]| tables.iter().find(|t| &t.kind == kind);
    let Some(stsz) = table(b"stsz") else {
        return Ok(Vec::new());
    };
    let (_, _, mut sizes) = stsz.full()?;
    let early = || Error::Malformed("stsz ends early");
    let common = sizes.u32().ok_or_else(early)?;
    let count = sizes.u32().ok_or_else(early)?;
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut places = Chunks::new(table(b"stsc"), table(b"stco"), table(b"co64"))?;
    let mut durations = Runs::new(table(b"stts"))?;
    let mut compositions = Runs::new(table(b"ctts"))?;
    let mut sync = match table(b"stss") {
        Some(stss) => {
            let (_, _, mut reader) = stss.full()?;
            reader.u32();
            Some((reader.u32(), reader))
        }
        None => None,
    };
    let mut samples = Vec::new();
    let mut decode = 0i64;
    for number in 1..=count {
        let size = if common != 0 { common } else { sizes.u32().ok_or_else(early)? };
        let Some(start) = places.next(size)? else {
            break;
        };
        let Some(range) = inside(start, size, file_len) else {
            // A file that is cut off plays as far as it goes.
            break;
        };
        let duration = durations.next().unwrap_or(0);
        let is_sync = match &mut sync {
            None => true,
            Some((next, reader)) => {
                let hit = *next == Some(number);
                if hit {
                    *next = reader.u32();
                }
                hit
            }
        };
        walk.count_sample()?;
        // Version 0 is unsigned by the letter, and signed in practice.
        let composition = compositions.next().unwrap_or(0) as i32;
        samples.push(Sample { decode, composition, duration, sync: is_sync, range });
        decode = decode.saturating_add(duration.into());
    }
    Ok(samples)
}

fn inside(start: u64, size: u32, file_len: usize) -> Option<std::ops::Range<usize>> {
    let start = usize::try_from(start).ok()?;
    let end = start.checked_add(size as usize)?;
    (end <= file_len).then_some(start..end)
}

/// Where each next sample begins: stsc (§8.7.4) over stco or co64 (§8.7.5).
struct Chunks<'a> {
    runs: Reader<'a>,
    offsets: Reader<'a>,
    wide: bool,
    /// Number of the current chunk, from 1; samples left in it; where the next one begins.
    chunk: u32,
    left: u32,
    at: u64,
    per_chunk: u32,
    /// first_chunk and samples_per_chunk of the run that comes next.
    coming: Option<(u32, u32)>,
}

impl<'a> Chunks<'a> {
    fn new(
        stsc: Option<&Found<'a>>,
        stco: Option<&Found<'a>>,
        co64: Option<&Found<'a>>,
    ) -> Result<Self, Error> {
        let wide = stco.is_none();
        let (Some(stsc), Some(offsets)) = (stsc, stco.or(co64)) else {
            return Err(Error::Malformed("a track without chunk tables"));
        };
        let (_, _, mut runs) = stsc.full()?;
        runs.u32();
        let (_, _, mut offsets) = offsets.full()?;
        offsets.u32();
        let mut chunks =
            Self { runs, offsets, wide, chunk: 0, left: 0, at: 0, per_chunk: 0, coming: None };
        chunks.coming = chunks.run();
        Ok(chunks)
    }

    fn run(&mut self) -> Option<(u32, u32)> {
        let run = (self.runs.u32()?, self.runs.u32()?);
        self.runs.u32()?;
        Some(run)
    }

    fn next(&mut self, size: u32) -> Result<Option<u64>, Error> {
        while self.left == 0 {
            let offset =
                if self.wide { self.offsets.u64() } else { self.offsets.u32().map(u64::from) };
            let Some(offset) = offset else {
                return Ok(None);
            };
            self.chunk = self.chunk.checked_add(1).ok_or(Error::Malformed("too many chunks"))?;
            if let Some((_, per_chunk)) = self.coming.filter(|(first, _)| *first <= self.chunk) {
                self.per_chunk = per_chunk;
                self.coming = self.run();
            }
            self.left = self.per_chunk;
            self.at = offset;
        }
        self.left -= 1;
        let at = self.at;
        self.at =
            at.checked_add(size.into()).ok_or(Error::Malformed("a chunk goes beyond 2^64"))?;
        Ok(Some(at))
    }
}

pub(super) fn track_defaults(trex: &Found<'_>, tracks: &mut [Track]) -> Result<(), Error> {
    let (_, _, mut reader) = trex.full()?;
    let fields = (reader.u32(), reader.u32(), reader.u32(), reader.u32(), reader.u32());
    let (Some(id), Some(_), Some(duration), Some(size), Some(flags)) = fields else {
        return Err(Error::Malformed("trex ends early"));
    };
    if let Some(track) = tracks.iter_mut().find(|t| t.id == id) {
        track.defaults = Defaults { duration, size, flags };
    }
    Ok(())
}

/// Adds the samples of one `moof`.
pub(super) fn fragment(
    walk: &mut Walk,
    moof: &Found<'_>,
    tracks: &mut [Track],
    file_len: usize,
) -> Result<(), Error> {
    for traf in walk.children(moof.data, 0)?.iter().filter(|b| &b.kind == b"traf") {
        let boxes = walk.children(traf.data, 0)?;
        let Some(tfhd) = boxes.iter().find(|b| &b.kind == b"tfhd") else {
            return Err(Error::Malformed("traf without tfhd"));
        };
        let (_, flags, mut reader) = tfhd.full()?;
        let early = || Error::Malformed("tfhd ends early");
        let id = reader.u32().ok_or_else(early)?;
        let Some(track) = tracks.iter_mut().find(|t| t.id == id) else {
            continue;
        };
        // §8.8.7.1: each field is there when its flag is.
        let mut base = moof.start as u64;
        if flags & 0x01 != 0 {
            let absolute = reader.u64().ok_or_else(early)?;
            base =
                absolute.checked_sub(walk.origin).ok_or(Error::Malformed("a base in the past"))?;
        }
        if flags & 0x02 != 0 {
            reader.u32();
        }
        let mut defaults = track.defaults;
        for (flag, field) in [
            (0x08, &mut defaults.duration),
            (0x10, &mut defaults.size),
            (0x20, &mut defaults.flags),
        ] {
            if flags & flag != 0 {
                *field = reader.u32().ok_or_else(early)?;
            }
        }
        let mut run = Run {
            decode: track.samples.last().map_or(0, |s| s.decode.saturating_add(s.duration.into())),
            at: base,
            base,
            defaults,
        };
        if let Some(tfdt) = boxes.iter().find(|b| &b.kind == b"tfdt") {
            let (version, _, mut reader) = tfdt.full()?;
            let time = if version == 1 { reader.u64() } else { reader.u32().map(u64::from) };
            let time = time.ok_or(Error::Malformed("tfdt ends early"))?;
            run.decode =
                i64::try_from(time).map_err(|_| Error::Malformed("a decode time beyond 2^63"))?;
        }
        for trun in boxes.iter().filter(|b| &b.kind == b"trun") {
            run.add(walk, trun, &mut track.samples, file_len)?;
        }
    }
    Ok(())
}

struct Run {
    decode: i64,
    base: u64,
    at: u64,
    defaults: Defaults,
}

impl Run {
    /// trun, §8.8.8.
    fn add(
        &mut self,
        walk: &mut Walk,
        trun: &Found<'_>,
        samples: &mut Vec<Sample>,
        file_len: usize,
    ) -> Result<(), Error> {
        let (_, flags, mut reader) = trun.full()?;
        let early = || Error::Malformed("trun ends early");
        let count = reader.u32().ok_or_else(early)?;
        if flags & 0x01 != 0 {
            let offset = reader.u32().ok_or_else(early)? as i32;
            self.at = self
                .base
                .checked_add_signed(offset.into())
                .ok_or(Error::Malformed("a trun before the file"))?;
        }
        let mut first_flags =
            if flags & 0x04 != 0 { Some(reader.u32().ok_or_else(early)?) } else { None };
        for _ in 0..count {
            let mut field = |flag: u32, default: u32| {
                if flags & flag != 0 { reader.u32().ok_or_else(early) } else { Ok(default) }
            };
            let duration = field(0x100, self.defaults.duration)?;
            let size = field(0x200, self.defaults.size)?;
            let sample_flags = field(0x400, first_flags.take().unwrap_or(self.defaults.flags))?;
            let composition = field(0x800, 0)? as i32;
            let Some(range) = inside(self.at, size, file_len) else {
                return Ok(());
            };
            walk.count_sample()?;
            let sync = sample_flags & NON_SYNC == 0;
            samples.push(Sample { decode: self.decode, composition, duration, sync, range });
            self.decode = self.decode.saturating_add(duration.into());
            self.at = self.at.saturating_add(size.into());
        }
        Ok(())
    }
}
