//! Writing and walking boxes, ISO 14496-12 §4.2.

use bytes::BufMut;

use crate::read::Reader;

/// Writes one box; its size is filled in when the contents are there.
pub(super) fn boxed(out: &mut Vec<u8>, kind: &[u8; 4], contents: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_u32(0);
    out.put_slice(kind);
    contents(out);
    let size = u32::try_from(out.len() - start).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(field) = out.get_mut(start..start + 4) {
        field.copy_from_slice(&size);
    }
}

/// Writes a box with version and flags.
pub(super) fn full(
    out: &mut Vec<u8>,
    kind: &[u8; 4],
    version: u8,
    flags: u32,
    contents: impl FnOnce(&mut Vec<u8>),
) {
    boxed(out, kind, |out| {
        out.put_u32(u32::from(version) << 24 | flags & 0x00ff_ffff);
        contents(out);
    });
}

/// A box header with a 32-bit size. Larger ones occur only as `mdat` of files, and then count as what follows.
pub(super) const HEADER: usize = 8;

/// Boxes with their headers, as far as they are whole.
pub(super) fn boxes(data: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let mut reader = Reader::new(rest);
        let size = reader.u32()? as usize;
        let kind = reader.array::<4>()?;
        let size = if size == 0 { rest.len() } else { size };
        let (whole, next) = rest.split_at_checked(size).filter(|_| size >= HEADER)?;
        rest = next;
        Some((kind, whole))
    })
}

pub(super) fn contents(whole: &[u8]) -> &[u8] {
    whole.get(HEADER..).unwrap_or_default()
}

pub(super) fn find<'a>(data: &'a [u8], wanted: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(data).find(|(kind, _)| kind == wanted).map(|(_, whole)| contents(whole))
}
