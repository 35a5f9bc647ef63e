//! What the index knows of one segment: enough to say of every part what `package` says of it live,
//! so that the playlists of the past are rendered from the index alone.

use std::ops::Range;

use crate::ids::Epoch;
use crate::limits::{RECORD_BYTES, RECORD_PARTS, RECORD_TRACKS, TRACK_NAME_BYTES};
use crate::varint::{put, put_difference, take, take_bytes, take_count, take_difference};

/// The shape of an encoded record; its first byte. The one before did not know where key pictures end.
const SHAPE: u8 = 2;
const SHAPE_WITHOUT_KEYS: u8 = 1;

/// One committed segment: all recorded tracks, in one object (none for a gap).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SegmentRecord {
    /// The segment's number; the group id of every `.cmaf` track.
    pub number: u64,
    /// The ownership under which it was made; part of its object's name and of its URL.
    pub epoch: Epoch,
    /// The random part of its object's name; none if there is no object.
    pub object: Option<u64>,
    /// How long it is, on the track that decides cuts; a video's length is that of its longest track.
    pub duration_ms: u64,
    /// Size of its object.
    pub bytes: u64,
    /// Milliseconds since 1970 at its first frame, on the track that decides cuts.
    pub wall_clock_ms: u64,
    /// There is no media in it.
    pub gap: bool,
    /// It does not follow from the one before.
    pub discontinuity: bool,
    /// Its tracks.
    pub tracks: Vec<TrackRecord>,
}

/// One track's share of a segment, in the words of `package::properties::Segment`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrackRecord {
    /// The track's name.
    pub name: String,
    /// Units a second.
    pub timescale: u32,
    /// Decode time of its first frame.
    pub start: u64,
    /// Milliseconds since 1970 at its first frame.
    pub wall_clock_ms: u64,
    /// It does not follow from the one before.
    pub discontinuity: bool,
    /// How many discontinuities the broadcast has had, this one included.
    pub discontinuity_sequence: u64,
    /// There is no media in it.
    pub gap: bool,
    /// Its initialisation segment: the group of the track `init`.
    pub init: u64,
    /// Where that is in the object, if this object has it.
    pub init_at: Option<Range<u64>>,
    /// The rendition's part target in milliseconds.
    pub part_target_ms: u32,
    /// The broadcast's target duration in seconds, where a part's `target_known` says so.
    pub target_duration: u32,
    /// Where its first part begins in the object; the others follow without holes.
    pub offset: u64,
    /// Its parts.
    pub parts: Vec<PartRecord>,
    /// Its last part closes: what came behind it was not known then.
    pub closes: bool,
}

/// One part, in the words of `package::properties::Part`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PartRecord {
    /// In units of the track's timescale.
    pub duration: u32,
    /// Its size.
    pub bytes: u64,
    /// It starts with a frame that decoding can start with.
    pub independent: bool,
    /// No part of this segment follows.
    pub last: bool,
    /// The target duration was fixed when it was made.
    pub target_known: bool,
    /// Its first picture, which can be decoded alone, ends so many bytes from its beginning.
    pub key_bytes: Option<u32>,
}

impl TrackRecord {
    /// Decode time where the next segment would begin.
    pub fn end(&self) -> u64 {
        let parts = self.parts.iter().map(|part| u64::from(part.duration)).sum();
        self.start.saturating_add(parts)
    }

    /// The same time without media: a gap.
    #[must_use]
    pub fn lost(mut self) -> Self {
        let duration = self.parts.iter().fold(0u32, |sum, p| sum.saturating_add(p.duration));
        let target_known = self.parts.iter().any(|p| p.target_known);
        let (independent, last) = (true, true);
        let lost = PartRecord { duration, independent, last, target_known, ..Default::default() };
        (self.parts, self.gap) = (vec![lost], true);
        self
    }

    /// Each part with the bytes of the object that it is.
    pub fn ranges(&self) -> impl Iterator<Item = (&PartRecord, Range<u64>)> {
        self.parts.iter().scan(self.offset, |at, part| {
            let range = *at..at.saturating_add(part.bytes);
            *at = range.end;
            Some((part, range))
        })
    }
}

/// A record that can't be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// More than [`RECORD_TRACKS`].
    #[error("a record has at most {RECORD_TRACKS} tracks")]
    Tracks,
    /// More than [`RECORD_PARTS`].
    #[error("a track has at most {RECORD_PARTS} parts in a record")]
    Parts,
    /// A name of more than [`TRACK_NAME_BYTES`].
    #[error("a track's name has at most {TRACK_NAME_BYTES} bytes")]
    Name,
    /// More than [`RECORD_BYTES`].
    #[error("a record has at most {RECORD_BYTES} bytes")]
    Bytes,
    /// It was made under a later ownership than the one that commits it.
    #[error("the record is of a later ownership")]
    Epoch,
}

/// What was read back is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a damaged record")]
pub struct Damaged;

fn flags(bits: &[bool]) -> u64 {
    bits.iter().rev().fold(0, |flags, bit| flags << 1 | u64::from(*bit))
}

impl SegmentRecord {
    /// The bytes that are stored. The number is not among them: it is the key.
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        if self.tracks.len() > RECORD_TRACKS {
            return Err(RecordError::Tracks);
        }
        let mut out = vec![SHAPE];
        put(&mut out, flags(&[self.gap, self.discontinuity, self.object.is_some()]));
        put(&mut out, self.epoch.0);
        if let Some(object) = self.object {
            out.extend_from_slice(&object.to_be_bytes());
        }
        for n in [self.duration_ms, self.bytes, self.wall_clock_ms, self.tracks.len() as u64] {
            put(&mut out, n);
        }
        for track in &self.tracks {
            track.encode(self.wall_clock_ms, &mut out)?;
        }
        if out.len() > RECORD_BYTES { Err(RecordError::Bytes) } else { Ok(out) }
    }

    /// Reads back what [`SegmentRecord::encode`] made.
    pub fn decode(number: u64, mut bytes: &[u8]) -> Result<Self, Damaged> {
        let input = &mut bytes;
        let (shape, rest) = input.split_first().ok_or(Damaged)?;
        *input = rest;
        let keys = match *shape {
            SHAPE => true,
            SHAPE_WITHOUT_KEYS => false,
            _ => return Err(Damaged),
        };
        let bits = take(input)?;
        let epoch = Epoch(take(input)?);
        let object = match bits & 4 {
            0 => None,
            _ => {
                let (object, rest) = input.split_first_chunk().ok_or(Damaged)?;
                *input = rest;
                Some(u64::from_be_bytes(*object))
            }
        };
        let [duration_ms, bytes, wall_clock_ms] = [take(input)?, take(input)?, take(input)?];
        let count = take_count(input, RECORD_TRACKS)?;
        let tracks = (0..count)
            .map(|_| TrackRecord::decode(wall_clock_ms, keys, input))
            .collect::<Result<_, _>>()?;
        if !input.is_empty() {
            return Err(Damaged);
        }
        let (gap, discontinuity) = (bits & 1 != 0, bits & 2 != 0);
        Ok(Self {
            number,
            epoch,
            object,
            duration_ms,
            bytes,
            wall_clock_ms,
            gap,
            discontinuity,
            tracks,
        })
    }
}

impl TrackRecord {
    fn encode(&self, wall_clock_ms: u64, out: &mut Vec<u8>) -> Result<(), RecordError> {
        if self.name.len() > TRACK_NAME_BYTES {
            return Err(RecordError::Name);
        }
        if self.parts.len() > RECORD_PARTS {
            return Err(RecordError::Parts);
        }
        put(out, self.name.len() as u64);
        out.extend_from_slice(self.name.as_bytes());
        let has_init = self.init_at.is_some();
        put(out, flags(&[self.gap, self.discontinuity, has_init, self.closes]));
        put(out, u64::from(self.timescale));
        put(out, self.start);
        put_difference(out, wall_clock_ms, self.wall_clock_ms);
        put(out, self.discontinuity_sequence);
        put(out, self.init);
        if let Some(at) = &self.init_at {
            put(out, at.start);
            put_difference(out, at.start, at.end);
        }
        for n in [self.part_target_ms, self.target_duration] {
            put(out, u64::from(n));
        }
        put(out, self.offset);
        put(out, self.parts.len() as u64);
        // Parts are alike: most durations are the one before, and take one byte.
        let mut before = 0;
        for part in &self.parts {
            let key = part.key_bytes;
            let bits = flags(&[part.independent, part.last, part.target_known, key.is_some()]);
            let duration = u64::from(part.duration);
            put_difference(out, before, duration << 4 | bits);
            before = duration << 4;
            put(out, part.bytes);
            if let Some(key) = key {
                put(out, u64::from(key));
            }
        }
        Ok(())
    }

    fn decode(wall_clock_ms: u64, keys: bool, input: &mut &[u8]) -> Result<Self, Damaged> {
        let small = |n: u64| u32::try_from(n).map_err(|_| Damaged);
        let name = std::str::from_utf8(take_bytes(input, TRACK_NAME_BYTES)?);
        let name = name.map_err(|_| Damaged)?.to_owned();
        let bits = take(input)?;
        let timescale = small(take(input)?)?;
        let start = take(input)?;
        let wall_clock_ms = take_difference(input, wall_clock_ms)?;
        let [discontinuity_sequence, init] = [take(input)?, take(input)?];
        let init_at = match bits & 4 {
            0 => None,
            _ => {
                let start = take(input)?;
                Some(start..take_difference(input, start)?)
            }
        };
        let [part_target_ms, target_duration] = [small(take(input)?)?, small(take(input)?)?];
        let offset = take(input)?;
        let count = take_count(input, RECORD_PARTS)?;
        let mut before = 0;
        let mut parts = Vec::with_capacity(count);
        for _ in 0..count {
            let coded = take_difference(input, before)?;
            let flags = if keys { 4 } else { 3 };
            before = coded >> flags << flags;
            let bytes = take(input)?;
            let key = keys && coded & 8 != 0;
            parts.push(PartRecord {
                duration: small(coded >> flags)?,
                bytes,
                independent: coded & 1 != 0,
                last: coded & 2 != 0,
                target_known: coded & 4 != 0,
                key_bytes: if key { Some(small(take(input)?)?) } else { None },
            });
        }
        Ok(Self {
            name,
            timescale,
            start,
            wall_clock_ms,
            discontinuity: bits & 2 != 0,
            discontinuity_sequence,
            gap: bits & 1 != 0,
            init,
            init_at,
            part_target_ms,
            target_duration,
            offset,
            parts,
            closes: bits & 8 != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_record() -> SegmentRecord {
        let part = |duration, bytes, independent| PartRecord {
            duration,
            bytes,
            independent,
            last: false,
            target_known: true,
            key_bytes: None,
        };
        let mut parts: Vec<_> = (0..6).map(|i| part(30_000, 250_000 + i, i == 0)).collect();
        parts[0].target_known = false;
        parts[0].key_bytes = Some(70_001);
        parts[5].last = true;
        let video = TrackRecord {
            name: "video.cmaf".into(),
            timescale: 90_000,
            start: 1 << 40,
            wall_clock_ms: 1_763_812_800_123,
            discontinuity: true,
            discontinuity_sequence: 3,
            gap: false,
            init: (1 << 53) - 1,
            init_at: Some(0..700),
            part_target_ms: 334,
            target_duration: 2,
            offset: 700,
            parts,
            closes: true,
        };
        let audio = TrackRecord {
            name: "audio.cmaf".into(),
            timescale: 48_000,
            wall_clock_ms: 1_763_812_800_101,
            discontinuity: false,
            init_at: None,
            offset: 1_500_715,
            parts: (0..6).map(|i| part(16_384 - (i & 1) * 1_024, 5_333, true)).collect(),
            ..video.clone()
        };
        SegmentRecord {
            number: 9,
            epoch: Epoch(4),
            object: Some(u64::MAX),
            duration_ms: 2_000,
            bytes: 1_532_713,
            wall_clock_ms: 1_763_812_800_123,
            gap: false,
            discontinuity: true,
            tracks: vec![video, audio],
        }
    }

    #[test]
    fn a_record_survives_exactly_and_is_small() {
        let gap = SegmentRecord { gap: true, object: None, bytes: 0, ..a_record() };
        for record in [a_record(), gap, SegmentRecord::default()] {
            let encoded = record.encode().unwrap();
            assert_eq!(SegmentRecord::decode(record.number, &encoded), Ok(record));
        }
        let bytes = a_record().encode().unwrap().len();
        assert!(bytes < 165, "{bytes}");
    }

    /// What an Airwave wrote that did not know key pictures.
    #[test]
    fn records_of_the_shape_before_are_read() {
        // As `SegmentRecord::encode` was then: one track with the durations 3 and 4, the second part's last.
        let mut encoded = vec![SHAPE_WITHOUT_KEYS];
        for n in [0, 4, 70, 900, 5_000, 1] {
            put(&mut encoded, n);
        }
        put(&mut encoded, 1);
        encoded.push(b'v');
        for n in [0, 90, 1_000] {
            put(&mut encoded, n);
        }
        put_difference(&mut encoded, 5_000, 5_001);
        for n in [2, 7, 334, 2, 0, 2] {
            put(&mut encoded, n);
        }
        put_difference(&mut encoded, 0, 3 << 3 | 0b101);
        put(&mut encoded, 40);
        put_difference(&mut encoded, 3 << 3, 4 << 3 | 0b110);
        put(&mut encoded, 50);
        let part = |duration, bytes, independent, last| PartRecord {
            duration,
            bytes,
            independent,
            last,
            target_known: true,
            key_bytes: None,
        };
        let track = TrackRecord {
            name: "v".into(),
            timescale: 90,
            start: 1_000,
            wall_clock_ms: 5_001,
            discontinuity_sequence: 2,
            init: 7,
            part_target_ms: 334,
            target_duration: 2,
            parts: vec![part(3, 40, true, false), part(4, 50, false, true)],
            ..TrackRecord::default()
        };
        let old = SegmentRecord {
            number: 9,
            epoch: Epoch(4),
            duration_ms: 70,
            bytes: 900,
            wall_clock_ms: 5_000,
            tracks: vec![track],
            ..SegmentRecord::default()
        };
        assert_eq!(SegmentRecord::decode(9, &encoded), Ok(old));
        encoded[0] = SHAPE + 1;
        assert_eq!(SegmentRecord::decode(9, &encoded), Err(Damaged));
    }

    #[test]
    fn ranges_follow_each_other() {
        let record = a_record();
        let ranges: Vec<_> = record.tracks[0].ranges().map(|(_, range)| range).collect();
        assert_eq!(ranges[0], 700..250_700);
        assert!(ranges.windows(2).all(|w| w[0].end == w[1].start));
        assert_eq!(ranges[5].end, record.tracks[1].offset);
        assert_eq!(record.tracks[0].end(), (1 << 40) + 180_000);
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let encoded = a_record().encode().unwrap();
        for len in 0..encoded.len() {
            assert_eq!(SegmentRecord::decode(9, &encoded[..len]), Err(Damaged), "cut at {len}");
        }
        for at in 0..encoded.len() {
            for bit in 0..8 {
                let mut damaged = encoded.clone();
                damaged[at] ^= 1 << bit;
                // It may well decode; the page's checksum is what finds such damage.
                let _ = SegmentRecord::decode(9, &damaged);
            }
        }
    }

    #[test]
    fn bounds_are_kept() {
        let check = |record: SegmentRecord, error| assert_eq!(record.encode(), Err(error));
        let tracks = |n, track: TrackRecord| SegmentRecord {
            tracks: vec![track; n],
            ..SegmentRecord::default()
        };
        let parts = |n| TrackRecord { parts: vec![PartRecord::default(); n], ..Default::default() };
        check(tracks(RECORD_TRACKS + 1, TrackRecord::default()), RecordError::Tracks);
        check(tracks(1, parts(RECORD_PARTS + 1)), RecordError::Parts);
        check(tracks(RECORD_TRACKS, parts(RECORD_PARTS)), RecordError::Bytes);
        let name = "x".repeat(TRACK_NAME_BYTES + 1);
        check(tracks(1, TrackRecord { name, ..Default::default() }), RecordError::Name);
    }
}
