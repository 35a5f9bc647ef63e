//! NAL units: how they are framed, and what the first bits of each say.

use bytes::{BufMut, Bytes, BytesMut};

use super::{malformed, too_large};
use crate::codec::Error;
use crate::limits;
use crate::read::{BitReader, Reader};

/// Bytes of the length before each NAL unit (lengthSizeMinusOne of the avcC).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LengthSize {
    /// One byte.
    One,
    /// Two bytes.
    Two,
    /// Four bytes: what everything inside the server has.
    #[default]
    Four,
}

/// One NAL unit with its header byte, as it stands in the stream (with emulation prevention bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NalUnit<'a>(
    /// The bytes, never empty.
    pub &'a [u8],
);

impl<'a> NalUnit<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        (!bytes.is_empty()).then_some(Self(bytes))
    }

    /// nal_unit_type, ISO 14496-10 table 7-1.
    pub fn kind(self) -> u8 {
        self.0.first().map_or(0, |b| b & 0x1f)
    }

    /// Coded slice (1), data partition A (2) or IDR slice (5).
    pub fn is_slice(self) -> bool {
        matches!(self.kind(), 1 | 2 | 5)
    }
}

/// Whether decoding can start at an access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Instantaneous decoder refresh.
    Idr,
    /// A recovery point SEI with recovery_frame_cnt 0 on an intra picture: exact from here on, although leading
    /// pictures may refer to what came before (open GOP).
    RecoveryPoint,
    /// Needs earlier pictures.
    None,
}

impl Sync {
    /// Decoding can start here.
    pub fn is_sync(self) -> bool {
        self != Self::None
    }
}

/// Splits length-prefixed bytes. Empty units are skipped; a length beyond the end is an error.
pub(in crate::codec) fn split_lengths(
    data: &[u8],
    size: LengthSize,
) -> Result<Vec<NalUnit<'_>>, Error> {
    let mut reader = Reader::new(data);
    let mut units = Vec::new();
    while !reader.is_empty() {
        let len = match size {
            LengthSize::One => reader.u8().map(usize::from),
            LengthSize::Two => reader.u16().map(usize::from),
            LengthSize::Four => reader.u32().map(|n| n as usize),
        };
        let unit = len
            .and_then(|n| reader.take(n))
            .ok_or(malformed("a NAL unit's length goes beyond the packet"))?;
        push(&mut units, unit)?;
    }
    Ok(units)
}

/// The units of a sample, whose lengths have four bytes; ends where one can't be read.
pub(in crate::codec) fn split_units(sample: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut reader = Reader::new(sample);
    let next = move || {
        let len = reader.u32()?;
        reader.take(len as usize)
    };
    std::iter::from_fn(next).take(limits::NAL_UNITS_MAX)
}

fn push<'a>(units: &mut Vec<NalUnit<'a>>, unit: &'a [u8]) -> Result<(), Error> {
    if units.len() == limits::NAL_UNITS_MAX {
        return Err(too_large("number of NAL units", limits::NAL_UNITS_MAX));
    }
    units.extend(NalUnit::new(unit));
    Ok(())
}

/// Starts like Annex B: 00 00 01 or 00 00 00 01.
pub(in crate::codec) fn looks_like_annex_b(data: &[u8]) -> bool {
    data.starts_with(&[0, 0, 1]) || data.starts_with(&[0, 0, 0, 1])
}

/// Splits an Annex B byte stream, ISO 14496-10 §B.1; trailing zero bytes belong to no unit.
pub(in crate::codec) fn split_annex_b(data: &[u8]) -> Result<Vec<NalUnit<'_>>, Error> {
    let mut units = Vec::new();
    let mut rest = data;
    let mut inside = false;
    loop {
        let start = rest.windows(3).position(|w| w == [0, 0, 1]);
        let (unit, next) = match start {
            Some(at) => rest.split_at_checked(at).unwrap_or((rest, &[])),
            None => (rest, &[][..]),
        };
        if inside {
            let zeros = unit.iter().rev().take_while(|b| **b == 0).count();
            push(&mut units, unit.get(..unit.len() - zeros).unwrap_or_default())?;
        }
        if start.is_none() {
            return Ok(units);
        }
        rest = next.get(3..).unwrap_or_default();
        inside = true;
    }
}

/// Rewrites NAL units with lengths of one or two bytes as ones with lengths of four; HEVC has the same framing.
pub fn with_four_byte_lengths(data: &[u8], size: LengthSize) -> Result<Bytes, Error> {
    Ok(join(&split_lengths(data, size)?))
}

/// Rewrites Annex B as NAL units with 4-byte lengths.
pub fn annex_b_to_lengths(data: &[u8]) -> Result<Bytes, Error> {
    Ok(join(&split_annex_b(data)?))
}

pub(in crate::codec) fn join(units: &[NalUnit<'_>]) -> Bytes {
    let total = units.iter().map(|u| u.0.len() + 4).sum();
    let mut out = BytesMut::with_capacity(total);
    for unit in units {
        // invariant: units come from packets that are bounded far below 4 GiB
        out.put_u32(u32::try_from(unit.0.len()).unwrap_or(u32::MAX));
        out.put_slice(unit.0);
    }
    out.freeze()
}

/// Reads from the bitstream whether decoding can start at this access unit (DESIGN §4: not the container's flag).
pub fn sync_of(units: &[NalUnit<'_>]) -> Sync {
    let mut recovery = false;
    let mut intra = None;
    for unit in units {
        match unit.kind() {
            5 => return Sync::Idr,
            1 | 2 => intra = Some(intra != Some(false) && is_intra_slice(*unit)),
            6 => recovery |= has_exact_recovery_point(*unit),
            _ => {}
        }
    }
    if recovery && intra == Some(true) { Sync::RecoveryPoint } else { Sync::None }
}

/// slice_type of the slice header, ISO 14496-10 §7.3.3 and table 7-6: 2, 4, 7 and 9 are I and SI.
fn is_intra_slice(unit: NalUnit<'_>) -> bool {
    // Two Exp-Golomb numbers of at most 32 bits with their zeros, and possible emulation prevention.
    let head = unescape(unit.0.get(1..).unwrap_or_default(), 24);
    let mut bits = BitReader::new(&head);
    let _first_mb = bits.ue();
    matches!(bits.ue(), Some(2 | 4 | 7 | 9))
}

/// sei_message of payload type 6 with recovery_frame_cnt 0 (ISO 14496-10 §D.1.8).
fn has_exact_recovery_point(unit: NalUnit<'_>) -> bool {
    let rbsp = unescape(unit.0.get(1..).unwrap_or_default(), limits::SEI_BYTES_MAX);
    let point = sei_messages(&rbsp).find(|(kind, _)| *kind == 6);
    point.is_some_and(|(_, payload)| BitReader::new(payload).ue() == Some(0))
}

/// Payload type and payload of each sei_message, ISO 14496-10 §7.3.2.3.1; HEVC has the same. Ends where one can't be read.
pub(in crate::codec) fn sei_messages(rbsp: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut reader = Reader::new(rbsp);
    std::iter::from_fn(move || {
        // One byte is left over at least: the trailing bits.
        if reader.len() <= 2 {
            return None;
        }
        let (kind, size) = (sei_number(&mut reader)?, sei_number(&mut reader)?);
        Some((kind, reader.take(size)?))
    })
}

fn sei_number(reader: &mut Reader<'_>) -> Option<usize> {
    let mut total = 0usize;
    loop {
        let byte = reader.u8()?;
        total += usize::from(byte);
        if byte != 0xff {
            return Some(total);
        }
    }
}

/// Removes emulation prevention bytes (ISO 14496-10 §7.3.1) from at most `max` bytes.
pub(in crate::codec) fn unescape(data: &[u8], max: usize) -> Vec<u8> {
    let data = data.get(..max).unwrap_or(data);
    let mut out = Vec::with_capacity(data.len());
    let mut zeros = 0;
    for byte in data {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        out.push(*byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annex_b_framing() {
        let table: &[(&[u8], &[u8])] = &[
            (&[0, 0, 1, 0x65, 9], &[0, 0, 0, 2, 0x65, 9]),
            (&[0, 0, 0, 1, 0x65, 9, 0, 0, 0, 1, 0x41], &[0, 0, 0, 2, 0x65, 9, 0, 0, 0, 1, 0x41]),
            (&[0, 0, 0, 1, 0x65, 9, 0, 0], &[0, 0, 0, 2, 0x65, 9]),
            (&[0, 0, 1, 0, 0, 1, 0x41], &[0, 0, 0, 1, 0x41]),
            (&[7, 7, 0, 0, 1, 0x41], &[0, 0, 0, 1, 0x41]),
            (&[], &[]),
            (&[0, 0, 1], &[]),
        ];
        for (input, expect) in table {
            assert_eq!(annex_b_to_lengths(input).unwrap(), expect, "{input:?}");
        }
    }

    #[test]
    fn lengths_of_every_size() {
        let table: &[(LengthSize, &[u8])] = &[
            (LengthSize::One, &[2, 0x65, 9, 1, 0x41]),
            (LengthSize::Two, &[0, 2, 0x65, 9, 0, 1, 0x41]),
            (LengthSize::Four, &[0, 0, 0, 2, 0x65, 9, 0, 0, 0, 1, 0x41]),
        ];
        for (size, input) in table {
            let units = split_lengths(input, *size).unwrap();
            assert_eq!(units, [NalUnit(&[0x65, 9]), NalUnit(&[0x41])]);
            assert!(split_lengths(&input[..input.len() - 1], *size).is_err());
        }
    }

    #[test]
    fn sync_points() {
        // first_mb ue(0) = 1, slice_type ue(7) = 0001000 -> 1000 1000; P = ue(5) = 00110 -> 1001 1000
        const I: &[u8] = &[0x41, 0b1000_1000, 0x80];
        const P: &[u8] = &[0x41, 0b1001_1000, 0x80];
        const IDR: &[u8] = &[0x65, 0b1000_1000, 0x80];
        const AUD: &[u8] = &[9, 0xf0];
        const FILLER: &[u8] = &[12, 0xff, 0x80];
        const RECOVERY: &[u8] = &[6, 6, 1, 0xc4, 0x80];
        const RECOVERY_LATER: &[u8] = &[6, 6, 1, 0x44, 0x80];
        const OTHER_SEI: &[u8] = &[6, 1, 1, 0xc4, 0x80];
        let table: &[(&[&[u8]], Sync)] = &[
            (&[AUD, IDR, FILLER], Sync::Idr),
            (&[AUD, P], Sync::None),
            (&[I], Sync::None),
            (&[RECOVERY, I], Sync::RecoveryPoint),
            (&[RECOVERY, I, P], Sync::None),
            (&[RECOVERY, P, I], Sync::None),
            (&[RECOVERY_LATER, I], Sync::None),
            (&[OTHER_SEI, RECOVERY, I, I], Sync::RecoveryPoint),
            (&[RECOVERY], Sync::None),
            (&[], Sync::None),
        ];
        for (units, expect) in table {
            let units: Vec<_> = units.iter().map(|u| NalUnit(u)).collect();
            assert_eq!(sync_of(&units), *expect, "{units:02x?}");
        }
    }
}
