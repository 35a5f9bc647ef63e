//! Writing boxes, ISO 14496-12 §4.2.

use bytes::BufMut;

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
