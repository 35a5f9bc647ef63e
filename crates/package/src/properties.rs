//! What objects of a `.cmaf` track say of themselves, so that an index can be built from a cursor
//! alone, on any node.
//!
//! Key-value pairs as MoQ has them (draft-ietf-moq-transport §1.4.3): the type as the difference to
//! the one before, odd types with a length and bytes. Ours are in the range for applications
//! (0x3800-0x3FFF): PART 0x3801 on every object, SEGMENT 0x3803 on the first of each group.

use bytes::{Bytes, BytesMut};
pub use media::properties::Malformed;
use media::properties::{PairsWriter, Value, pairs, put_varint, varint};

const PART: u64 = 0x3801;
const SEGMENT: u64 = 0x3803;

/// What an object says of itself as an LL-HLS part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Duration in units of the track's timescale.
    pub duration: u32,
    /// It starts with a frame that decoding can start with.
    pub independent: bool,
    /// No part of this segment follows.
    pub last: bool,
    /// With [`last`](Self::last): nor does anything that is known yet. What comes behind it is of another publisher or has
    /// another configuration, if anything comes.
    pub closes: bool,
    /// It is the last one, and another segment follows at once, at whose head pictures may be coded that are shown before it.
    pub open: bool,
    /// The rendition's part target in milliseconds; never changes.
    pub target_ms: u32,
    /// The broadcast's target duration in seconds; none until it is fixed, then never changes.
    pub target_duration: Option<u32>,
    /// It begins with a picture that can be decoded alone, which ends so many bytes from its beginning: what is loaded to
    /// leaf through pictures.
    pub key_bytes: Option<u32>,
}

/// What the first object of a group says of the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Units a second of this segment's times.
    pub timescale: u32,
    /// The ownership under which it was made; part of its URL.
    pub epoch: u64,
    /// Milliseconds since 1970 at its first frame.
    pub wall_clock_ms: u64,
    /// Decode time of its first frame, in units of the track's timescale.
    pub start: u64,
    /// It does not follow from the one before.
    pub discontinuity: bool,
    /// How many discontinuities the broadcast has had, this one included.
    pub discontinuity_sequence: u64,
    /// There is no media in it.
    pub gap: bool,
    /// Its initialisation segment: the group of the track `init` that holds it.
    pub init: u64,
}

/// The properties of one object.
pub fn encode(part: &Part, segment: Option<&Segment>) -> Bytes {
    let mut value = BytesMut::with_capacity(48);
    let said = [part.independent, part.last, part.closes, part.open];
    put_varint(&mut value, flags(&said));
    put_varint(&mut value, u64::from(part.duration));
    put_varint(&mut value, u64::from(part.target_ms));
    put_varint(&mut value, u64::from(part.target_duration.unwrap_or(0)));
    if let Some(bytes) = part.key_bytes {
        put_varint(&mut value, u64::from(bytes));
    }
    let pairs = PairsWriter::default().bytes(PART, &value);
    let Some(segment) = segment else { return pairs.finish() };
    value.clear();
    put_varint(&mut value, flags(&[segment.discontinuity, segment.gap]));
    put_varint(&mut value, u64::from(segment.timescale));
    put_varint(&mut value, segment.epoch);
    put_varint(&mut value, segment.wall_clock_ms);
    put_varint(&mut value, segment.start);
    put_varint(&mut value, segment.discontinuity_sequence);
    put_varint(&mut value, segment.init);
    pairs.bytes(SEGMENT, &value).finish()
}

/// Reads the properties of one object; pairs that are not ours are passed over.
pub fn decode(properties: &[u8]) -> Result<(Part, Option<Segment>), Malformed> {
    let (mut part, mut segment) = (None, None);
    for pair in pairs(properties) {
        match pair? {
            (PART, Value::Bytes(mut value)) => part = Some(decode_part(&mut value)?),
            (SEGMENT, Value::Bytes(mut value)) => segment = Some(decode_segment(&mut value)?),
            _ => {}
        }
    }
    Ok((part.ok_or(Malformed)?, segment))
}

fn small(n: u64) -> Result<u32, Malformed> {
    u32::try_from(n).map_err(|_| Malformed)
}

fn decode_part(value: &mut &[u8]) -> Result<Part, Malformed> {
    let flags = varint(value)?;
    Ok(Part {
        independent: flags & 1 != 0,
        last: flags & 2 != 0,
        closes: flags & 6 == 6,
        open: flags & 8 != 0,
        duration: small(varint(value)?)?,
        target_ms: small(varint(value)?)?,
        target_duration: Some(small(varint(value)?)?).filter(|t| *t != 0),
        key_bytes: if value.is_empty() { None } else { Some(small(varint(value)?)?) },
    })
}

fn decode_segment(value: &mut &[u8]) -> Result<Segment, Malformed> {
    let flags = varint(value)?;
    Ok(Segment {
        discontinuity: flags & 1 != 0,
        gap: flags & 2 != 0,
        timescale: Some(small(varint(value)?)?).filter(|t| *t != 0).ok_or(Malformed)?,
        epoch: varint(value)?,
        wall_clock_ms: varint(value)?,
        start: varint(value)?,
        discontinuity_sequence: varint(value)?,
        init: varint(value)?,
    })
}

fn flags(bits: &[bool]) -> u64 {
    bits.iter().rev().fold(0, |flags, bit| flags << 1 | u64::from(*bit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A_PART: Part = Part {
        duration: 30_000,
        independent: true,
        last: false,
        closes: false,
        open: false,
        target_ms: 334,
        target_duration: Some(2),
        key_bytes: Some(70_000),
    };
    const A_SEGMENT: Segment = Segment {
        timescale: 90_000,
        epoch: 3,
        wall_clock_ms: 1_763_812_800_123,
        start: 1 << 40,
        discontinuity: true,
        discontinuity_sequence: 4,
        gap: false,
        init: (1 << 53) - 1,
    };

    #[test]
    fn properties_survive_the_round_trip() {
        for segment in
            [None, Some(A_SEGMENT), Some(Segment { gap: true, discontinuity: false, ..A_SEGMENT })]
        {
            for part in [
                A_PART,
                Part { last: true, closes: true, ..A_PART },
                Part {
                    last: true,
                    open: true,
                    independent: false,
                    target_duration: None,
                    key_bytes: None,
                    ..A_PART
                },
            ] {
                let encoded = encode(&part, segment.as_ref());
                assert_eq!(decode(&encoded), Ok((part, segment)));
            }
        }
    }

    #[test]
    fn cut_properties_are_refused_and_foreign_ones_passed_over() {
        let encoded = encode(&A_PART, Some(&A_SEGMENT));
        for len in 0..encoded.len() {
            if let Ok((_, segment)) = decode(&encoded[..len]) {
                assert_eq!(segment, None, "a cut SEGMENT at {len}");
            }
        }
        let mut foreign = vec![0x02, 0x33];
        let mut rest = &encoded[..];
        let first = varint(&mut rest).unwrap();
        let mut delta = BytesMut::new();
        put_varint(&mut delta, first - 0x02);
        foreign.extend_from_slice(&delta);
        foreign.extend_from_slice(rest);
        assert_eq!(decode(&foreign), Ok((A_PART, Some(A_SEGMENT))));
    }
}
