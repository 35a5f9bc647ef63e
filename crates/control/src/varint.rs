//! Numbers of variable length (LEB128: seven bits a byte, the lowest first), for records at rest.

use crate::record::Damaged;

pub(crate) fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// A difference: small ones of either sign are short.
pub(crate) fn put_difference(out: &mut Vec<u8>, from: u64, to: u64) {
    let n = to.wrapping_sub(from).cast_signed();
    put(out, ((n << 1) ^ (n >> 63)).cast_unsigned());
}

pub(crate) fn take(input: &mut &[u8]) -> Result<u64, Damaged> {
    let mut n = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = input.split_first().ok_or(Damaged)?;
        *input = rest;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return Err(Damaged);
        }
        n |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(n);
        }
    }
    Err(Damaged)
}

pub(crate) fn take_difference(input: &mut &[u8], from: u64) -> Result<u64, Damaged> {
    let n = take(input)?;
    Ok(from.wrapping_add((n >> 1) ^ (n & 1).wrapping_neg()))
}

/// A number that counts what follows: bounded, so that nothing is allocated for a lie.
pub(crate) fn take_count(input: &mut &[u8], max: usize) -> Result<usize, Damaged> {
    usize::try_from(take(input)?).ok().filter(|n| *n <= max).ok_or(Damaged)
}

pub(crate) fn take_bytes<'a>(input: &mut &'a [u8], max: usize) -> Result<&'a [u8], Damaged> {
    let count = take_count(input, max)?;
    let (bytes, rest) = input.split_at_checked(count).ok_or(Damaged)?;
    *input = rest;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_differences_survive() {
        for n in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            put(&mut out, n);
            assert_eq!(take(&mut &out[..]), Ok(n));
            assert_eq!(take(&mut &out[..out.len() - 1]), Err(Damaged), "cut {n}");
            for from in [0, 5, u64::MAX] {
                let mut out = Vec::new();
                put_difference(&mut out, from, n);
                assert_eq!(take_difference(&mut &out[..], from), Ok(n));
            }
        }
        assert_eq!(take(&mut &[0xff; 10][..]), Err(Damaged), "65 bits");
    }
}
