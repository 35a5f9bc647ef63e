//! Key-value pairs on objects, as MoQ has them: the type as the difference to the one before, even
//! types with a number, odd types with a length and bytes (draft-ietf-moq-transport §1.4.3). Numbers
//! are RFC 9000 §16 variable-length integers.
//!
//! On the first object of each raw group stands what a reader needs to start there: the codec, its
//! configuration, the wall clock, and whether it follows from the group before.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::codec::aac::AudioSpecificConfig;
use crate::codec::h264::DecoderConfiguration;
use crate::codec::{AudioCodec, Config, VideoCodec};
use std::sync::Arc;

/// draft-ietf-moq-loc-04: VIDEO_CONFIG.
const VIDEO_CONFIG: u64 = 0x0d;
/// draft-ietf-moq-loc-04: AUDIO_CONFIG.
const AUDIO_CONFIG: u64 = 0x0f;
/// Ours, in the range for applications: the sample entry's four characters.
const CODEC: u64 = 0x3805;
/// Ours: milliseconds since 1970 when the first frame of the group was taken.
const WALL_CLOCK: u64 = 0x3806;
/// Ours: 1 if the group does not follow from the one before.
const DISCONTINUITY: u64 = 0x3808;

/// Properties that can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed object properties")]
pub struct Malformed;

/// Writes pairs in rising order of their types.
#[derive(Debug, Default)]
pub struct PairsWriter {
    out: BytesMut,
    last: u64,
}

impl PairsWriter {
    /// An even type and its number. Numbers above 2^62-1 are cut to it.
    pub fn number(mut self, kind: u64, value: u64) -> Self {
        debug_assert!(kind.is_multiple_of(2) && kind >= self.last);
        put_varint(&mut self.out, kind - self.last);
        put_varint(&mut self.out, value);
        self.last = kind;
        self
    }

    /// An odd type and its bytes.
    pub fn bytes(mut self, kind: u64, value: &[u8]) -> Self {
        debug_assert!(!kind.is_multiple_of(2) && kind >= self.last);
        put_varint(&mut self.out, kind - self.last);
        put_varint(&mut self.out, value.len() as u64);
        self.out.put_slice(value);
        self.last = kind;
        self
    }

    /// The pairs.
    pub fn finish(self) -> Bytes {
        self.out.freeze()
    }
}

/// A pair's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Of an even type.
    Number(u64),
    /// Of an odd type.
    Bytes(&'a [u8]),
}

/// Reads pairs, in order.
pub fn pairs(mut input: &[u8]) -> impl Iterator<Item = Result<(u64, Value<'_>), Malformed>> {
    let mut kind = 0u64;
    std::iter::from_fn(move || {
        if input.is_empty() {
            return None;
        }
        let pair = read_pair(&mut input, &mut kind);
        if pair.is_err() {
            input = &[];
        }
        Some(pair)
    })
}

fn read_pair<'a>(input: &mut &'a [u8], kind: &mut u64) -> Result<(u64, Value<'a>), Malformed> {
    *kind = kind.checked_add(varint(input)?).ok_or(Malformed)?;
    if kind.is_multiple_of(2) {
        return Ok((*kind, Value::Number(varint(input)?)));
    }
    let len = usize::try_from(varint(input)?).map_err(|_| Malformed)?;
    let (value, rest) = input.split_at_checked(len).ok_or(Malformed)?;
    *input = rest;
    Ok((*kind, Value::Bytes(value)))
}

/// RFC 9000 §16. Values above 2^62-1 are cut to it.
pub fn put_varint(out: &mut BytesMut, value: u64) {
    match value {
        0..=0x3f => out.put_u8(value as u8),
        0x40..=0x3fff => out.put_u16(0x4000 | value as u16),
        0x4000..=0x3fff_ffff => out.put_u32(0x8000_0000 | value as u32),
        _ => out.put_u64(0xc000_0000_0000_0000 | value.min(0x3fff_ffff_ffff_ffff)),
    }
}

/// RFC 9000 §16.
pub fn varint(input: &mut &[u8]) -> Result<u64, Malformed> {
    let first = *input.first().ok_or(Malformed)?;
    let len = 1usize << (first >> 6);
    if input.len() < len {
        return Err(Malformed);
    }
    let mut value = u64::from(input.get_u8() & 0x3f);
    for _ in 1..len {
        value = value << 8 | u64::from(input.get_u8());
    }
    Ok(value)
}

/// What the first object of a raw group says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupStart {
    /// The configuration of everything in the group.
    pub config: Config,
    /// Milliseconds since 1970 when its first frame was taken.
    pub wall_clock_ms: u64,
    /// It does not follow from the group before.
    pub discontinuity: bool,
}

impl GroupStart {
    /// As properties of the group's first object.
    pub fn encode(&self) -> Bytes {
        let pairs = PairsWriter::default();
        let (pairs, codec) = match &self.config {
            Config::Video(video) => match &video.codec {
                VideoCodec::H264(record) => (pairs.bytes(VIDEO_CONFIG, &record.to_avcc()), b"avc1"),
            },
            Config::Audio(audio) => match &audio.codec {
                AudioCodec::Aac(asc) => (pairs.bytes(AUDIO_CONFIG, asc.bytes()), b"mp4a"),
            },
        };
        pairs
            .bytes(CODEC, codec)
            .number(WALL_CLOCK, self.wall_clock_ms)
            .number(DISCONTINUITY, u64::from(self.discontinuity))
            .finish()
    }

    /// Reads the properties of a group's first object; pairs that are not known are passed over.
    pub fn decode(properties: &[u8]) -> Result<Self, Malformed> {
        let (mut codec, mut record, mut wall_clock_ms, mut discontinuity) = (None, None, 0, false);
        for pair in pairs(properties) {
            match pair? {
                (VIDEO_CONFIG | AUDIO_CONFIG, Value::Bytes(bytes)) => record = Some(bytes),
                (CODEC, Value::Bytes(bytes)) => codec = Some(bytes),
                (WALL_CLOCK, Value::Number(ms)) => wall_clock_ms = ms,
                (DISCONTINUITY, Value::Number(n)) => discontinuity = n != 0,
                _ => {}
            }
        }
        let record = record.ok_or(Malformed)?;
        let config = match codec.ok_or(Malformed)? {
            b"avc1" => {
                let (record, _) = DecoderConfiguration::parse(record).map_err(|_| Malformed)?;
                Config::Video(Arc::new(record).config())
            }
            b"mp4a" => {
                let asc = AudioSpecificConfig::parse(record).map_err(|_| Malformed)?;
                Config::Audio(asc.config())
            }
            _ => return Err(Malformed),
        };
        Ok(Self { config, wall_clock_ms, discontinuity })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_says_what_a_reader_needs_to_start_there() {
        let asc = AudioSpecificConfig::parse(&[0x11, 0x90]).unwrap();
        let start = GroupStart {
            config: Config::Audio(asc.config()),
            wall_clock_ms: 1_763_812_800_123,
            discontinuity: true,
        };
        let encoded = start.encode();
        assert_eq!(GroupStart::decode(&encoded), Ok(start.clone()));
        for len in 0..encoded.len() {
            assert_ne!(GroupStart::decode(&encoded[..len]), Ok(start.clone()), "cut at {len}");
        }
    }

    #[test]
    fn pairs_are_bounded_by_what_is_there() {
        let lie = PairsWriter::default().bytes(3, b"abc").finish();
        let mut lie = lie.to_vec();
        lie[1] = 60;
        assert_eq!(pairs(&lie).next(), Some(Err(Malformed)));
        assert_eq!(pairs(&[0xff; 16]).count(), 1, "stops at the first that can't be read");
    }
}
