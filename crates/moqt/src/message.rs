//! Control messages (draft-18 §10): their frame here, one file for each or a small family.
//!
//! Decoding knows nothing of a session: whether a message may come now is decided there.

pub(crate) mod fetch;
pub(crate) mod first;
pub(crate) mod goaway;
pub(crate) mod namespace;
pub(crate) mod publish;
pub(crate) mod response;
pub(crate) mod setup;
pub(crate) mod subscribe;
pub(crate) mod update;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::limits;
use crate::varint;
use crate::wire::Body;

/// The types (draft-18 §10).
pub(crate) mod kind {
    pub(crate) const REQUEST_UPDATE: u64 = 0x02;
    pub(crate) const SUBSCRIBE: u64 = 0x03;
    pub(crate) const SUBSCRIBE_OK: u64 = 0x04;
    pub(crate) const REQUEST_ERROR: u64 = 0x05;
    pub(crate) const PUBLISH_NAMESPACE: u64 = 0x06;
    pub(crate) const REQUEST_OK: u64 = 0x07;
    pub(crate) const NAMESPACE: u64 = 0x08;
    pub(crate) const PUBLISH_DONE: u64 = 0x0b;
    pub(crate) const TRACK_STATUS: u64 = 0x0d;
    pub(crate) const NAMESPACE_DONE: u64 = 0x0e;
    pub(crate) const PUBLISH_BLOCKED: u64 = 0x0f;
    pub(crate) const GOAWAY: u64 = 0x10;
    pub(crate) const FETCH: u64 = 0x16;
    pub(crate) const FETCH_OK: u64 = 0x18;
    pub(crate) const PUBLISH: u64 = 0x1d;
    /// Stands in the table of draft 18 as a type of its own, while its text (§10.5) makes it another name
    /// of REQUEST_OK. We send that, and take both.
    pub(crate) const PUBLISH_OK: u64 = 0x1e;
    pub(crate) const SUBSCRIBE_NAMESPACE: u64 = 0x50;
    pub(crate) const SUBSCRIBE_TRACKS: u64 = 0x51;
    pub(crate) const SETUP: u64 = 0x2f00;
}

/// A message that does not fit into its frame (draft-18 §10: 65,535 bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Type, length, body.
pub(crate) fn frame(kind: u64, body: impl FnOnce(&mut BytesMut)) -> Result<Bytes, TooLong> {
    let mut out = BytesMut::new();
    varint::write(kind, &mut out);
    let length_at = out.len();
    out.put_u16(0);
    body(&mut out);
    let length = out.len() - length_at - 2;
    let length = u16::try_from(length).map_err(|_| TooLong)?;
    out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    Ok(out.freeze())
}

/// Puts messages together, of any type: what a type may not do is not decided here.
#[derive(Debug, Default)]
pub(crate) struct MessageReader {
    buffer: BytesMut,
}

impl MessageReader {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message.
    pub(crate) fn next(&mut self) -> Option<(u64, Body)> {
        let (kind, length) = varint::read(&self.buffer).ok()?;
        let size = self.buffer.get(length..length + 2)?;
        let size = usize::from(u16::from_be_bytes([size[0], size[1]]));
        if self.buffer.len() < length + 2 + size {
            return None;
        }
        self.buffer.advance(length + 2);
        let body = self.buffer.split_to(size).freeze();
        Some((kind, Body::new(body)))
    }

    /// Bytes of a message that is not whole; at most one message's.
    pub(crate) fn held(&self) -> usize {
        debug_assert!(self.buffer.len() < limits::MESSAGE_BYTES_MAX + varint::BYTES_MAX + 2);
        self.buffer.len()
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
