//! A file that plays from its front without fragments: `ftyp`, `moov` with whole sample tables (ISO 14496-12 §8.6, §8.7),
//! and the head of `mdat`. The bytes of the samples stay where they are; whoever sends the file puts them behind.

use bytes::{BufMut, Bytes};

use super::boxes::{boxed, boxes, find, full};
use super::init::{LANGUAGE_UND, MATRIX};
use super::merge::MergeError;

/// Units a second of the movie's own times: those of video, so that an edit ends with a frame.
pub const MOVIE_TIMESCALE: u32 = 90_000;

/// What becomes of one track, sample by sample in decode order.
#[derive(Debug, Clone, Default)]
pub struct SampleTables {
    durations: Runs<u32>,
    compositions: Runs<i32>,
    sizes: Vec<u32>,
    /// Numbers of the samples that decoding can start with, from 1.
    sync: Vec<u32>,
    ticks: u64,
}

/// Equal values one after the other, as `stts`, `ctts` and `stsc` have them.
#[derive(Debug, Clone)]
struct Runs<T>(Vec<(u32, T)>);

impl<T> Default for Runs<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq> Runs<T> {
    fn push(&mut self, value: T) {
        match self.0.last_mut() {
            Some((count, last)) if *last == value => *count += 1,
            _ => self.0.push((1, value)),
        }
    }
}

impl SampleTables {
    /// Adds a sample.
    pub fn push(&mut self, duration: u32, size: u32, sync: bool, composition_offset: i32) {
        self.durations.push(duration);
        self.compositions.push(composition_offset);
        self.sizes.push(size);
        self.ticks += u64::from(duration);
        if sync {
            self.sync.push(u32::try_from(self.sizes.len()).unwrap_or(u32::MAX));
        }
    }

    /// The newest sample lasts longer or shorter than was said, so that the next one begins `ticks` after the first.
    pub fn end_at(&mut self, ticks: u64) {
        let Some((count, duration)) = self.durations.0.pop() else { return };
        if count > 1 {
            self.durations.0.push((count - 1, duration));
        }
        let before = self.ticks - u64::from(duration);
        // A sample without duration would make the order of samples ambiguous.
        let duration = u32::try_from(ticks.saturating_sub(before)).unwrap_or(u32::MAX).max(1);
        self.durations.push(duration);
        self.ticks = before + u64::from(duration);
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// Decode time of the sample that would come next, counted from the first.
    pub fn ticks(&self) -> u64 {
        self.ticks
    }
}

/// A track of the file.
#[derive(Debug, Clone)]
pub struct ProgressiveTrack {
    /// Its initialisation segment, of one track: what it says of handler, size and codec is taken over as it stands.
    pub init: Bytes,
    /// Ticks a second of its samples.
    pub timescale: u32,
    /// Its samples.
    pub samples: SampleTables,
    /// Presentation time at which what is shown begins, in ticks from the first sample's decode time.
    pub shown_from: u64,
    /// Nothing of this track is shown for so long, in [`MOVIE_TIMESCALE`].
    pub delay: u64,
    /// How long it is shown, in [`MOVIE_TIMESCALE`].
    pub shown: u64,
}

/// Samples that stand one after the other in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Index of the track.
    pub track: usize,
    /// How many samples.
    pub samples: u32,
    /// Bytes of them all.
    pub bytes: u64,
}

/// Writes everything up to the first byte of the first chunk. `chunks` are in the order of the file and hold all samples
/// of all tracks.
pub fn progressive_header(
    tracks: &[ProgressiveTrack],
    chunks: &[Chunk],
) -> Result<Vec<u8>, MergeError> {
    let bytes: u64 = chunks.iter().map(|c| c.bytes).sum();
    let mut out = Vec::new();
    boxed(&mut out, b"ftyp", |out| {
        out.put_slice(b"isom");
        out.put_u32(0x200);
        // iso4 and later: composition offsets may be negative.
        for brand in [b"isom", b"iso6", b"mp41", b"mp42"] {
            out.put_slice(brand);
        }
    });
    // The tables are as long wherever the media begins, so they are written twice and measured in between.
    let sizes = 128 + tracks.iter().map(|t| t.samples.len() as u64 * 16).sum::<u64>();
    let wide = bytes + sizes + chunks.len() as u64 * 8 + 1_000_000 > u64::from(u32::MAX);
    let head = if wide { 16 } else { 8 };
    let measured = movie(tracks, chunks, 0, wide)?.len();
    let begin = (out.len() + measured + head) as u64;
    out.append(&mut movie(tracks, chunks, begin, wide)?);
    if wide {
        out.put_u32(1);
        out.put_slice(b"mdat");
        out.put_u64(bytes + 16);
    } else {
        // invariant: not wide, so it fits 32 bits.
        out.put_u32(u32::try_from(bytes + 8).unwrap_or(u32::MAX));
        out.put_slice(b"mdat");
    }
    Ok(out)
}

fn movie(
    tracks: &[ProgressiveTrack],
    chunks: &[Chunk],
    begin: u64,
    wide: bool,
) -> Result<Vec<u8>, MergeError> {
    let mut out = Vec::new();
    let duration = tracks.iter().map(|t| t.delay.saturating_add(t.shown)).max().unwrap_or(0);
    let mut made = Ok(());
    boxed(&mut out, b"moov", |out| {
        // mvhd, §8.2.2, version 1: times of 64 bits.
        full(out, b"mvhd", 1, 0, |out| {
            out.put_u64(0);
            out.put_u64(0);
            out.put_u32(MOVIE_TIMESCALE);
            out.put_u64(duration);
            out.put_u32(0x0001_0000);
            out.put_u16(0x0100);
            out.put_bytes(0, 10);
            MATRIX.iter().for_each(|m| out.put_u32(*m));
            out.put_bytes(0, 24);
            out.put_u32(tracks.len() as u32 + 1);
        });
        for (i, t) in tracks.iter().enumerate() {
            boxed(out, b"trak", |out| {
                if let Err(error) = track(out, t, i, chunks, begin, wide) {
                    made = Err(error);
                }
            });
        }
    });
    made.map(|()| out)
}

/// tkhd's fields behind its duration, the same in both versions.
const TKHD_TAIL: usize = 60;

fn track(
    out: &mut Vec<u8>,
    track: &ProgressiveTrack,
    index: usize,
    chunks: &[Chunk],
    begin: u64,
    wide: bool,
) -> Result<(), MergeError> {
    let within = |data, kind: &[u8; 4], name| find(data, kind).ok_or(MergeError::Missing(name));
    let trak = within(within(&track.init, b"moov", "moov")?, b"trak", "trak")?;
    let tkhd = within(trak, b"tkhd", "tkhd")?;
    let tail = tkhd.len().checked_sub(TKHD_TAIL).and_then(|at| tkhd.get(at..));
    let tail = tail.ok_or(MergeError::Early("tkhd"))?;
    full(out, b"tkhd", 1, 7, |out| {
        out.put_u64(0);
        out.put_u64(0);
        out.put_u32(index as u32 + 1);
        out.put_u32(0);
        out.put_u64(track.delay.saturating_add(track.shown));
        out.put_slice(tail);
    });
    boxed(out, b"edts", |out| edits(out, track));
    let mdia = within(trak, b"mdia", "mdia")?;
    let minf = within(mdia, b"minf", "minf")?;
    let stbl = within(minf, b"stbl", "stbl")?;
    within(stbl, b"stsd", "stsd")?;
    boxed(out, b"mdia", |out| {
        // mdhd, §8.4.2.
        full(out, b"mdhd", 1, 0, |out| {
            out.put_u64(0);
            out.put_u64(0);
            out.put_u32(track.timescale);
            out.put_u64(track.samples.ticks);
            out.put_u16(LANGUAGE_UND);
            out.put_u16(0);
        });
        keep(out, mdia, b"hdlr");
        boxed(out, b"minf", |out| {
            for kind in [b"vmhd", b"smhd", b"dinf"] {
                keep(out, minf, kind);
            }
            boxed(out, b"stbl", |out| {
                keep(out, stbl, b"stsd");
                let own = chunks.iter().filter(|c| c.track == index);
                sample_tables(out, &track.samples, own.map(|c| c.samples));
                offsets(out, index, chunks, begin, wide);
            });
        });
    });
    Ok(())
}

/// A box of the initialisation segment, as it stands.
fn keep(out: &mut Vec<u8>, data: &[u8], kind: &[u8; 4]) {
    let found = boxes(data).find(|(k, _)| k == kind);
    if let Some((_, whole)) = found {
        out.put_slice(whole);
    }
}

/// elst, §8.6.6: what is decoded ahead of the first picture, for its sake only, is not shown.
fn edits(out: &mut Vec<u8>, track: &ProgressiveTrack) {
    full(out, b"elst", 1, 0, |out| {
        let empty = track.delay > 0;
        out.put_u32(1 + u32::from(empty));
        if empty {
            out.put_u64(track.delay);
            out.put_i64(-1);
            out.put_u32(0x0001_0000);
        }
        out.put_u64(track.shown);
        out.put_i64(i64::try_from(track.shown_from).unwrap_or(i64::MAX));
        out.put_u32(0x0001_0000);
    });
}

fn count(out: &mut Vec<u8>, entries: usize) {
    out.put_u32(u32::try_from(entries).unwrap_or(u32::MAX));
}

fn sample_tables(out: &mut Vec<u8>, samples: &SampleTables, per_chunk: impl Iterator<Item = u32>) {
    full(out, b"stts", 0, 0, |out| {
        count(out, samples.durations.0.len());
        for (n, duration) in &samples.durations.0 {
            out.put_u32(*n);
            out.put_u32(*duration);
        }
    });
    if samples.compositions.0.iter().any(|(_, offset)| *offset != 0) {
        // §8.6.1.3: version 1 is signed.
        full(out, b"ctts", 1, 0, |out| {
            count(out, samples.compositions.0.len());
            for (n, offset) in &samples.compositions.0 {
                out.put_u32(*n);
                out.put_i32(*offset);
            }
        });
    }
    // §8.6.2: without it, all are.
    if samples.sync.len() < samples.sizes.len() {
        full(out, b"stss", 0, 0, |out| {
            count(out, samples.sync.len());
            samples.sync.iter().for_each(|n| out.put_u32(*n));
        });
    }
    full(out, b"stsz", 0, 0, |out| {
        out.put_u32(0);
        count(out, samples.sizes.len());
        samples.sizes.iter().for_each(|size| out.put_u32(*size));
    });
    let mut runs = Runs::default();
    per_chunk.for_each(|n| runs.push(n));
    full(out, b"stsc", 0, 0, |out| {
        count(out, runs.0.len());
        let mut first = 1;
        for (chunks, samples) in runs.0 {
            for field in [first, samples, 1] {
                out.put_u32(field);
            }
            first += chunks;
        }
    });
}

/// stco or co64, §8.7.5.
fn offsets(out: &mut Vec<u8>, index: usize, chunks: &[Chunk], begin: u64, wide: bool) {
    full(out, if wide { b"co64" } else { b"stco" }, 0, 0, |out| {
        count(out, chunks.iter().filter(|c| c.track == index).count());
        let mut at = begin;
        for chunk in chunks {
            if chunk.track == index && wide {
                out.put_u64(at);
            } else if chunk.track == index {
                out.put_u32(u32::try_from(at).unwrap_or(u32::MAX));
            }
            at += chunk.bytes;
        }
    });
}

/// What of a piece is `moof`, with its box header; the rest needs not be there.
pub fn moof_bytes(piece: &[u8]) -> Option<u64> {
    let size = piece.first_chunk::<4>().map(|b| u64::from(u32::from_be_bytes(*b)))?;
    (piece.get(4..8)? == b"moof").then_some(size).filter(|size| *size >= 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Config;
    use crate::codec::aac::AudioSpecificConfig;
    use crate::fmp4::init_segment;
    use crate::mp4::demux;

    fn audio() -> Bytes {
        let config = AudioSpecificConfig::parse(&[0x11, 0x90]).unwrap().config();
        init_segment(&Config::Audio(config), 48_000)
    }

    fn a_track(samples: SampleTables) -> ProgressiveTrack {
        let init = audio();
        ProgressiveTrack {
            init,
            timescale: 48_000,
            samples,
            shown_from: 0,
            delay: 0,
            shown: 90_000,
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut one = SampleTables::default();
        for (i, size) in [3, 5, 4].into_iter().enumerate() {
            one.push(1_024, size, i != 1, if i == 1 { -512 } else { 1_024 });
        }
        one.end_at(10_000);
        let mut other = SampleTables::default();
        other.push(1_000, 2, true, 0);
        other.push(1_000, 2, true, 0);
        let tracks =
            [ProgressiveTrack { shown_from: 1_024, delay: 45_000, ..a_track(one) }, a_track(other)];
        let chunk = |track, samples, bytes| Chunk { track, samples, bytes };
        let chunks = [chunk(0, 1, 3), chunk(1, 1, 2), chunk(0, 2, 9), chunk(1, 1, 2)];
        let mut file = progressive_header(&tracks, &chunks).unwrap();
        file.extend_from_slice(b"aaaXXbbbbbccccYY");
        let file = Bytes::from(file);
        let movie = demux(&file).unwrap();
        let shape = |track: usize| {
            let track = &movie.tracks[track];
            let samples = track.samples.iter().map(|s| {
                let data = s.data(&file).unwrap();
                (s.decode, s.composition, s.duration, s.sync, data)
            });
            samples.collect::<Vec<_>>()
        };
        let data = Bytes::from_static;
        assert_eq!(
            shape(0),
            [
                (0, 1_024, 1_024, true, data(b"aaa")),
                (1_024, -512, 1_024, false, data(b"bbbbb")),
                (2_048, 1_024, 7_952, true, data(b"cccc")),
            ]
        );
        assert_eq!(
            shape(1),
            [(0, 0, 1_000, true, data(b"XX")), (1_000, 0, 1_000, true, data(b"YY"))]
        );
        let first = &movie.tracks[0];
        assert_eq!((first.edit_start, first.delay_us, first.id), (1_024, 500_000, 1));
    }

    #[test]
    fn more_than_four_gigabytes_have_wide_offsets() {
        let mut samples = SampleTables::default();
        samples.push(1, u32::MAX, true, 0);
        samples.push(1, 10, true, 0);
        let chunk = |bytes| Chunk { track: 0, samples: 1, bytes };
        let chunks = [chunk(u64::from(u32::MAX)), chunk(10)];
        let file = progressive_header(&[a_track(samples)], &chunks).unwrap();
        let co64 = file.windows(4).position(|w| w == b"co64").unwrap();
        let second = u64::from_be_bytes(file[co64 + 20..co64 + 28].try_into().unwrap());
        assert_eq!(second, file.len() as u64 + u64::from(u32::MAX));
        let mdat = &file[file.len() - 16..];
        assert_eq!(&mdat[..8], b"\0\0\0\x01mdat");
    }

    #[test]
    fn an_initialisation_segment_that_is_none_is_refused() {
        let track = ProgressiveTrack {
            init: Bytes::from_static(b"xx"),
            ..a_track(SampleTables::default())
        };
        assert_eq!(progressive_header(&[track], &[]), Err(MergeError::Missing("moov")));
    }
}
