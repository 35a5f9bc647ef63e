//! Variable-length integers: those of QUIC (RFC 9000 §16), which drafts up to 16 have, and those of later
//! drafts (draft-18 §1.4.1), in which the leading 1-bits of the first byte count the bytes that follow.

use bytes::BufMut;

/// So many bytes more, at least, until a value is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need(pub(crate) usize);

/// The longest encoding.
pub(crate) const BYTES_MAX: usize = 9;

/// How integers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// RFC 9000 §16: one, two, four or eight bytes, 62 bits of value.
    Quic,
    /// draft-18 §1.4.1: one to nine bytes, 64 bits of value.
    Vi64,
}

impl Coding {
    /// The largest value that can be written.
    pub(crate) const fn max(self) -> u64 {
        match self {
            Coding::Quic => (1 << 62) - 1,
            Coding::Vi64 => u64::MAX,
        }
    }

    /// Reads one number from the front of `bytes`: its value and length. Any length that can hold the
    /// value is valid.
    #[inline]
    pub(crate) fn read(self, bytes: &[u8]) -> Result<(u64, usize), Need> {
        match self {
            Coding::Vi64 => read(bytes),
            Coding::Quic => read_quic(bytes),
        }
    }

    /// Writes the shortest encoding. A value that has none becomes the largest one: where that would be
    /// another thing, the caller looks at [`Coding::max`] before.
    #[inline]
    pub(crate) fn write(self, value: u64, out: &mut impl BufMut) {
        match self {
            Coding::Vi64 => write(value, out),
            Coding::Quic => write_quic(value, out),
        }
    }
}

#[inline]
fn read_quic(bytes: &[u8]) -> Result<(u64, usize), Need> {
    let Some(&first) = bytes.first() else {
        return Err(Need(1));
    };
    let length = 1usize << (first >> 6);
    let Some(rest) = bytes.get(1..length) else {
        return Err(Need(length - bytes.len()));
    };
    let high = u64::from(first & 0x3f);
    Ok((rest.iter().fold(high, |value, byte| (value << 8) | u64::from(*byte)), length))
}

#[inline]
fn length_quic(value: u64) -> usize {
    match value {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        0x4000..=0x3fff_ffff => 4,
        _ => 8,
    }
}

#[inline]
fn write_quic(value: u64, out: &mut impl BufMut) {
    let value = value.min(Coding::Quic.max());
    let length = length_quic(value);
    let mut bytes = value.to_be_bytes();
    let at = bytes.len() - length;
    bytes[at] |= (length.trailing_zeros() as u8) << 6;
    out.put_slice(&bytes[at..]);
}

#[inline]
fn read(bytes: &[u8]) -> Result<(u64, usize), Need> {
    let Some(&first) = bytes.first() else {
        return Err(Need(1));
    };
    if first < 0x80 {
        return Ok((u64::from(first), 1));
    }
    let more = first.leading_ones() as usize;
    let Some(rest) = bytes.get(1..=more) else {
        return Err(Need(more + 1 - bytes.len()));
    };
    // From seven leading ones on, the first byte holds no bit of the value.
    let high = if more >= 7 { 0 } else { u64::from(first) & (0x7f >> more) };
    let value = rest.iter().fold(high, |value, byte| (value << 8) | u64::from(*byte));
    Ok((value, more + 1))
}

#[inline]
fn length(value: u64) -> usize {
    let bits = 64 - value.leading_zeros() as usize;
    // 7 bits per byte, but the ninth byte holds eight.
    bits.div_ceil(7).clamp(1, BYTES_MAX)
}

#[inline]
fn write(value: u64, out: &mut impl BufMut) {
    if value < 0x80 {
        out.put_u8(value as u8);
        return;
    }
    let length = length(value);
    let big_endian = value.to_be_bytes();
    if length == BYTES_MAX {
        out.put_u8(0xff);
        out.put_slice(&big_endian);
        return;
    }
    let more = length - 1;
    let prefix = !(0xffu8 >> more);
    let first = if more >= 7 { prefix } else { prefix | big_endian[7 - more] };
    out.put_u8(first);
    out.put_slice(&big_endian[8 - more..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// draft-18 §1.4.1, table "Example Integer Encodings".
    #[test]
    fn draft18_s1_4_1_examples() {
        for (bytes, value) in [
            (&[0x25][..], 37),
            (&[0x80, 0x25], 37),
            (&[0xbb, 0xbd], 15_293),
            (&[0xed, 0x7f, 0x3e, 0x7d], 226_442_877),
            (&[0xfa, 0xa1, 0xa0, 0xe4, 0x03, 0xd8], 2_893_212_287_960),
            (&[0xfc, 0x89, 0x98, 0xab, 0xc6, 0x6b, 0xc0], 151_288_809_941_952),
            (&[0xfe, 0xfa, 0x31, 0x8f, 0xa8, 0xe3, 0xca, 0x11], 70_423_237_261_249_041),
            (&[0xff; 9], u64::MAX),
        ] {
            assert_eq!(read(bytes), Ok((value, bytes.len())), "{bytes:02x?}");
            for cut in 0..bytes.len() {
                let need = if cut == 0 { 1 } else { bytes.len() - cut };
                assert_eq!(read(&bytes[..cut]), Err(Need(need)), "{bytes:02x?} cut at {cut}");
            }
        }
    }

    /// Each length at both of its ends.
    #[test]
    fn draft18_s1_4_1_lengths() {
        for (length_wanted, bits) in
            [(1, 7), (2, 14), (3, 21), (4, 28), (5, 35), (6, 42), (7, 49), (8, 56)]
        {
            for (value, wanted) in
                [((1u64 << bits) - 1, length_wanted), (1 << bits, length_wanted + 1)]
            {
                let mut out = Vec::new();
                write(value, &mut out);
                assert_eq!(out.len(), wanted, "{value}");
                assert_eq!(length(value), wanted, "{value}");
                assert_eq!(read(&out), Ok((value, wanted)));
            }
        }
    }

    /// RFC 9000 appendix A.1.
    #[test]
    fn draft16_s1_3_examples() {
        for (bytes, value) in [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ] {
            assert_eq!(Coding::Quic.read(bytes), Ok((value, bytes.len())), "{bytes:02x?}");
            for cut in 0..bytes.len() {
                let need = if cut == 0 { 1 } else { bytes.len() - cut };
                assert_eq!(Coding::Quic.read(&bytes[..cut]), Err(Need(need)), "{bytes:02x?}");
            }
        }
        for (value, wanted) in [
            (0x3f, 1),
            (0x40, 2),
            (0x3fff, 2),
            (0x4000, 4),
            (0x3fff_ffff, 4),
            (0x4000_0000, 8),
            (Coding::Quic.max(), 8),
        ] {
            let mut out = Vec::new();
            Coding::Quic.write(value, &mut out);
            assert_eq!((out.len(), length_quic(value)), (wanted, wanted), "{value}");
            assert_eq!(Coding::Quic.read(&out), Ok((value, wanted)));
        }
        let mut out = Vec::new();
        Coding::Quic.write(u64::MAX, &mut out);
        assert_eq!(Coding::Quic.read(&out), Ok((Coding::Quic.max(), 8)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value: u64, shift in 0u32..64) {
            let value = value >> shift;
            let mut out = Vec::new();
            write(value, &mut out);
            prop_assert_eq!(read(&out), Ok((value, out.len())));
            prop_assert_eq!(out.len(), length(value));
        }

        #[test]
        fn any_length_is_read(value in 0u64..(1 << 56), longer in 0usize..9) {
            // A longer form than needed: the prefix of `bytes` leading ones, zeros, the value.
            let more = longer.max(length(value) - 1);
            let mut out = vec![if more == 8 { 0xff } else { !(0xffu8 >> more) }];
            out.extend(&value.to_be_bytes()[8 - more..]);
            if more < 7 {
                let spare = value >> (8 * more);
                out[0] |= spare as u8;
            }
            prop_assert_eq!(read(&out), Ok((value, more + 1)));
        }
    }
}
