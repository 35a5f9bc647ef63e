//! Several single-track streams as one file: one `moov` for all, and fragments with new track ids.

use std::collections::BTreeMap;

use bytes::BufMut;

use super::boxes::{HEADER, boxed, boxes, contents, find};
use crate::read::Reader;

/// Why files can't be put together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// A box that every such file has.
    #[error("MP4: no {0}")]
    Missing(&'static str),
    /// A box that ends before it should.
    #[error("MP4: {0} ends early")]
    Early(&'static str),
}

/// The old track ids of one input with their new ones.
pub type TrackIds = BTreeMap<u32, u32>;

/// Writes `ftyp` and one `moov` with the tracks of all initialisation segments, numbered from 1 in their order; says
/// which track became which.
pub fn merge_inits(inits: &[&[u8]]) -> Result<(Vec<u8>, Vec<TrackIds>), MergeError> {
    let movies: Vec<&[u8]> = inits
        .iter()
        .map(|init| find(init, b"moov").ok_or(MergeError::Missing("moov")))
        .collect::<Result<_, _>>()?;
    let mut next = 1;
    let (mut tracks, mut defaults, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for movie in &movies {
        let mut mine = TrackIds::new();
        for (_, whole) in boxes(movie).filter(|(kind, _)| kind == b"trak") {
            let mut track = whole.to_vec();
            let at = track_id_at(contents(whole)).ok_or(MergeError::Missing("tkhd"))? + HEADER;
            let old = replace(&mut track, at, next).ok_or(MergeError::Early("tkhd"))?;
            mine.insert(old, next);
            next += 1;
            tracks.extend(track);
        }
        let extends = find(movie, b"mvex").ok_or(MergeError::Missing("mvex"))?;
        for (_, whole) in boxes(extends).filter(|(kind, _)| kind == b"trex") {
            let mut trex = whole.to_vec();
            let old = read(&trex, HEADER + 4).ok_or(MergeError::Early("trex"))?;
            if let Some(new) = mine.get(&old) {
                replace(&mut trex, HEADER + 4, *new);
                defaults.extend(trex);
            }
        }
        ids.push(mine);
    }
    let header = movies.first().and_then(|movie| boxes(movie).find(|(kind, _)| kind == b"mvhd"));
    let (_, header) = header.ok_or(MergeError::Missing("mvhd"))?;
    let mut header = header.to_vec();
    // next_track_ID is the last field of mvhd, §8.2.2.
    let last = header.len().checked_sub(4).ok_or(MergeError::Early("mvhd"))?;
    replace(&mut header, last, next);

    let mut out = Vec::new();
    boxed(&mut out, b"ftyp", |out| {
        out.put_slice(b"iso6");
        out.put_u32(0);
        for brand in [b"iso6", b"mp41"] {
            out.put_slice(brand);
        }
    });
    boxed(&mut out, b"moov", |out| {
        out.put_slice(&header);
        out.put_slice(&tracks);
        boxed(out, b"mvex", |out| out.put_slice(&defaults));
    });
    Ok((out, ids))
}

/// Appends the fragments of a segment with new track ids and sequence numbers that rise. Only `moof` and `mdat` are kept:
/// what else stands in a segment (`styp`, `sidx`, `prft`) is of no use in one file.
pub fn append_fragments(
    out: &mut Vec<u8>,
    segment: &[u8],
    ids: &TrackIds,
    sequence: &mut u32,
) -> Result<(), MergeError> {
    for (kind, whole) in boxes(segment) {
        if kind == *b"mdat" {
            out.put_slice(whole);
        }
        if kind != *b"moof" {
            continue;
        }
        let mut moof = whole.to_vec();
        let mut at = HEADER;
        for (kind, inner) in boxes(contents(whole)) {
            if kind == *b"mfhd" {
                *sequence = sequence.wrapping_add(1);
                replace(&mut moof, at + HEADER + 4, *sequence).ok_or(MergeError::Early("mfhd"))?;
            }
            if kind == *b"traf" {
                let id_at = track_header_at(contents(inner)).ok_or(MergeError::Missing("tfhd"))?;
                let id_at = at + HEADER + id_at;
                let old = read(&moof, id_at).ok_or(MergeError::Early("tfhd"))?;
                if let Some(new) = ids.get(&old) {
                    replace(&mut moof, id_at, *new);
                }
            }
            at += inner.len();
        }
        out.put_slice(&moof);
    }
    Ok(())
}

/// Where in a `trak`'s contents its track_ID stands: in `tkhd`, behind two times of 32 or 64 bits (§8.3.2).
fn track_id_at(trak: &[u8]) -> Option<usize> {
    let mut at = 0;
    for (kind, whole) in boxes(trak) {
        if kind == *b"tkhd" {
            let times = if *contents(whole).first()? == 1 { 16 } else { 8 };
            return Some(at + HEADER + 4 + times);
        }
        at += whole.len();
    }
    None
}

/// Where in a `traf`'s contents the track_ID of its `tfhd` stands (§8.8.7).
fn track_header_at(traf: &[u8]) -> Option<usize> {
    let mut at = 0;
    for (kind, whole) in boxes(traf) {
        if kind == *b"tfhd" {
            return Some(at + HEADER + 4);
        }
        at += whole.len();
    }
    None
}

fn read(data: &[u8], at: usize) -> Option<u32> {
    Reader::new(data.get(at..)?).u32()
}

/// Writes a number over another one, and answers that one.
fn replace(data: &mut [u8], at: usize, new: u32) -> Option<u32> {
    let field = data.get_mut(at..at.checked_add(4)?)?;
    let old = Reader::new(field).u32()?;
    field.copy_from_slice(&new.to_be_bytes());
    Some(old)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::codec::aac::AudioSpecificConfig;
    use crate::codec::{Config, opus};
    use crate::fmp4::{Sample, fragment_header, init_segment};
    use crate::mp4::demux;

    fn segment(decode: u64, payload: &[u8]) -> Vec<u8> {
        let size = payload.len() as u32;
        let sample = Sample { duration: 1024, size, sync: true, composition_offset: 0 };
        let mut out = fragment_header(9, decode, &[sample]).unwrap();
        out.extend(payload);
        let mut styp = Vec::new();
        boxed(&mut styp, b"styp", |out| out.put_slice(b"msdh\0\0\0\0"));
        [styp, out].concat()
    }

    #[test]
    fn two_streams_become_one_file() {
        let aac = AudioSpecificConfig::parse(&[0x11, 0x90]).unwrap().config();
        let head = opus::Head::parse(b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0").unwrap();
        let configs = [Config::Audio(aac), Config::Audio(head.config())];
        let inits: Vec<Bytes> = configs.iter().map(|c| init_segment(c, 48_000)).collect();
        let inits: Vec<&[u8]> = inits.iter().map(|i| &i[..]).collect();
        let (mut file, ids) = merge_inits(&inits).unwrap();
        let mut sequence = 0;
        for (track, decode, payload) in
            [(0, 0, &b"one"[..]), (1, 0, b"two"), (1, 1024, b"three"), (0, 1024, b"four")]
        {
            append_fragments(&mut file, &segment(decode, payload), &ids[track], &mut sequence)
                .unwrap();
        }
        assert_eq!(sequence, 4);
        let file = Bytes::from(file);
        let movie = demux(&file).unwrap();
        let tracks: Vec<_> = movie.tracks.iter().map(|t| (t.id, &t.config)).collect();
        assert_eq!(tracks, [(1, &configs[0]), (2, &configs[1])]);
        for (track, expect) in movie.tracks.iter().zip([[&b"one"[..], b"four"], [b"two", b"three"]])
        {
            let data: Vec<Bytes> = track.samples.iter().map(|s| s.data(&file).unwrap()).collect();
            assert_eq!(data, expect);
            assert_eq!(track.samples[1].decode, 1024);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(merge_inits(&[b""]), Err(MergeError::Missing("moov")));
        assert_eq!(merge_inits(&[b"\0\0\0\x08moov"]), Err(MergeError::Missing("mvex")));
        let mut out = Vec::new();
        let broken = b"\0\0\0\x10moof\0\0\0\x08traf";
        let done = append_fragments(&mut out, broken, &TrackIds::new(), &mut 0);
        assert_eq!(done, Err(MergeError::Missing("tfhd")));
    }
}
