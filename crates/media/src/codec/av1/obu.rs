//! Open bitstream units, AV1 §5.3.

use super::{CODEC, malformed, truncated};
use crate::codec::Error;
use crate::limits::OBUS_MAX;
use crate::read::Reader;

/// obu_type, AV1 §6.2.2.
pub(super) mod kind {
    pub(in super::super) const SEQUENCE_HEADER: u8 = 1;
    pub(in super::super) const TEMPORAL_DELIMITER: u8 = 2;
    pub(in super::super) const FRAME_HEADER: u8 = 3;
    pub(in super::super) const METADATA: u8 = 5;
    pub(in super::super) const FRAME: u8 = 6;
}

/// One unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Obu<'a> {
    pub(super) kind: u8,
    /// obu_has_size_field was set.
    pub(super) sized: bool,
    /// The header without the size, one or two bytes.
    pub(super) head: &'a [u8],
    /// All its bytes.
    pub(super) whole: &'a [u8],
    pub(super) payload: &'a [u8],
}

/// Takes a temporal unit apart. The last unit may have no size (AV1-ISOBMFF §2.4).
pub(super) fn split(data: &[u8]) -> Result<Vec<Obu<'_>>, Error> {
    let mut reader = Reader::new(data);
    let mut units = Vec::new();
    while !reader.is_empty() {
        if units.len() == OBUS_MAX {
            return Err(Error::TooLarge { codec: CODEC, what: "number of OBUs", max: OBUS_MAX });
        }
        units.push(next(&mut reader)?);
    }
    Ok(units)
}

/// obu_header and obu_size, AV1 §5.3.1 to §5.3.3.
fn next<'a>(reader: &mut Reader<'a>) -> Result<Obu<'a>, Error> {
    let all = reader.rest();
    let first = reader.u8().ok_or(truncated("obu_header"))?;
    if first & 0x80 != 0 {
        return Err(malformed("obu_forbidden_bit is set"));
    }
    let extended = first & 0x04 != 0;
    if extended {
        reader.u8().ok_or(truncated("obu_extension_header"))?;
    }
    let sized = first & 0x02 != 0;
    let size = if sized { leb128(reader)? } else { reader.len() };
    let payload = reader.take(size).ok_or(malformed("an OBU's size goes beyond the packet"))?;
    let used = all.len() - reader.len();
    Ok(Obu {
        kind: first >> 3 & 0x0f,
        sized,
        head: all.get(..1 + usize::from(extended)).unwrap_or_default(),
        whole: all.get(..used).unwrap_or_default(),
        payload,
    })
}

/// leb128(), AV1 §4.10.5: at most eight bytes and 32 bits.
fn leb128(reader: &mut Reader<'_>) -> Result<usize, Error> {
    let mut value = 0u64;
    for i in 0..8 {
        let byte = reader.u8().ok_or(truncated("obu_size"))?;
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).map_err(|_| malformed("obu_size above 32 bits"))?;
            return Ok(value as usize);
        }
    }
    Err(malformed("obu_size of more than eight bytes"))
}

/// Writes a unit with its size.
pub(super) fn put(out: &mut Vec<u8>, obu: &Obu<'_>) {
    if obu.sized {
        out.extend_from_slice(obu.whole);
        return;
    }
    for (i, byte) in obu.head.iter().enumerate() {
        out.push(if i == 0 { byte | 0x02 } else { *byte });
    }
    let mut size = obu.payload.len();
    loop {
        let byte = (size & 0x7f) as u8;
        size >>= 7;
        out.push(if size > 0 { byte | 0x80 } else { byte });
        if size == 0 {
            break;
        }
    }
    out.extend_from_slice(obu.payload);
}
