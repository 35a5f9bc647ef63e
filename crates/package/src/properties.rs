//! What objects of a `.cmaf` track say of themselves, so that an index can be built from a cursor
//! alone, on any node.
//!
//! Key-value pairs as MoQ has them (draft-ietf-moq-transport §1.4.3): the type as the difference to
//! the one before, odd types with a length and bytes. Ours are in the range for applications
//! (0x3800-0x3FFF): PART 0x3801 on every object, SEGMENT 0x3803 on the first of each group.

use bytes::{Buf, BufMut, Bytes, BytesMut};

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
    /// The rendition's part target in milliseconds; never changes.
    pub target_ms: u32,
    /// The broadcast's target duration in seconds; none until it is fixed, then never changes.
    pub target_duration: Option<u32>,
}

/// What the first object of a group says of the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
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

/// Properties that can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed properties of a packaged object")]
pub struct Malformed;

/// The properties of one object.
pub fn encode(part: &Part, segment: Option<&Segment>) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    let mut value = BytesMut::with_capacity(48);
    put_varint(&mut value, flags(&[part.independent, part.last]));
    put_varint(&mut value, u64::from(part.duration));
    put_varint(&mut value, u64::from(part.target_ms));
    put_varint(&mut value, u64::from(part.target_duration.unwrap_or(0)));
    put_pair(&mut out, PART, &value);
    if let Some(segment) = segment {
        value.clear();
        put_varint(&mut value, flags(&[segment.discontinuity, segment.gap]));
        put_varint(&mut value, segment.epoch);
        put_varint(&mut value, segment.wall_clock_ms);
        put_varint(&mut value, segment.start);
        put_varint(&mut value, segment.discontinuity_sequence);
        put_varint(&mut value, segment.init);
        put_pair(&mut out, SEGMENT - PART, &value);
    }
    out.freeze()
}

/// Reads the properties of one object; pairs that are not ours are passed over.
pub fn decode(mut properties: &[u8]) -> Result<(Part, Option<Segment>), Malformed> {
    let (mut part, mut segment) = (None, None);
    let mut kind = 0u64;
    while properties.has_remaining() {
        kind = kind.checked_add(varint(&mut properties)?).ok_or(Malformed)?;
        if kind % 2 == 0 {
            varint(&mut properties)?;
            continue;
        }
        let len = usize::try_from(varint(&mut properties)?).map_err(|_| Malformed)?;
        let (mut value, rest) = properties.split_at_checked(len).ok_or(Malformed)?;
        properties = rest;
        match kind {
            PART => part = Some(decode_part(&mut value)?),
            SEGMENT => segment = Some(decode_segment(&mut value)?),
            _ => {}
        }
    }
    Ok((part.ok_or(Malformed)?, segment))
}

fn decode_part(value: &mut &[u8]) -> Result<Part, Malformed> {
    let flags = varint(value)?;
    let small = |n: u64| u32::try_from(n).map_err(|_| Malformed);
    Ok(Part {
        independent: flags & 1 != 0,
        last: flags & 2 != 0,
        duration: small(varint(value)?)?,
        target_ms: small(varint(value)?)?,
        target_duration: Some(small(varint(value)?)?).filter(|t| *t != 0),
    })
}

fn decode_segment(value: &mut &[u8]) -> Result<Segment, Malformed> {
    let flags = varint(value)?;
    Ok(Segment {
        discontinuity: flags & 1 != 0,
        gap: flags & 2 != 0,
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

fn put_pair(out: &mut BytesMut, delta: u64, value: &[u8]) {
    put_varint(out, delta);
    put_varint(out, value.len() as u64);
    out.put_slice(value);
}

/// RFC 9000 §16. Values above 2^62-1 do not occur here and are cut to it.
fn put_varint(out: &mut BytesMut, value: u64) {
    match value {
        0..=0x3f => out.put_u8(value as u8),
        0x40..=0x3fff => out.put_u16(0x4000 | value as u16),
        0x4000..=0x3fff_ffff => out.put_u32(0x8000_0000 | value as u32),
        _ => out.put_u64(0xc000_0000_0000_0000 | value.min(0x3fff_ffff_ffff_ffff)),
    }
}

fn varint(input: &mut &[u8]) -> Result<u64, Malformed> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const A_PART: Part = Part {
        duration: 30_000,
        independent: true,
        last: false,
        target_ms: 334,
        target_duration: Some(2),
    };
    const A_SEGMENT: Segment = Segment {
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
            for part in
                [A_PART, Part { last: true, independent: false, target_duration: None, ..A_PART }]
            {
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
        let mut foreign = BytesMut::new();
        put_varint(&mut foreign, 0x02);
        put_varint(&mut foreign, 77);
        put_varint(&mut foreign, PART - 0x02);
        foreign.extend_from_slice(&encoded[2..]);
        assert_eq!(decode(&foreign), Ok((A_PART, Some(A_SEGMENT))));
    }
}
