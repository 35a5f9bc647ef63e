//! Control messages (draft-18 §10, draft-16 §9): their frame here, one file for each or a small family.
//!
//! Decoding knows nothing of a session: whether a message may come now is decided there.

pub(crate) mod fetch;
pub(crate) mod first;
pub(crate) mod goaway;
pub(crate) mod namespace;
pub(crate) mod publish;
pub(crate) mod response;
pub(crate) mod setup;
pub(crate) mod shared;
pub(crate) mod subscribe;
pub(crate) mod update;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::limits;
use crate::request::RequestId;
use crate::varint;
use crate::version::{Requests, Version};
use crate::wire::{Body, Writer};

/// What a message is, whatever its number in a draft: those stand in `version.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    RequestUpdate,
    Subscribe,
    SubscribeOk,
    RequestError,
    PublishNamespace,
    RequestOk,
    Namespace,
    PublishNamespaceDone,
    Unsubscribe,
    PublishDone,
    PublishNamespaceCancel,
    TrackStatus,
    NamespaceDone,
    PublishBlocked,
    GoAway,
    MaxRequestId,
    Fetch,
    FetchCancel,
    FetchOk,
    RequestsBlocked,
    Publish,
    PublishOk,
    PublishStateNotify,
    ClientSetup,
    ServerSetup,
    SubscribeNamespace,
    SubscribeTracks,
    Setup,
    /// No message of the draft.
    Unknown,
}

/// A message that does not fit into its frame (draft-18 §10: 65,535 bytes), or that the draft has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Type, length, body.
pub(crate) fn frame(
    version: Version,
    message: Message,
    body: impl FnOnce(&mut Writer<'_>),
) -> Result<Bytes, TooLong> {
    let coding = version.row().integers;
    let mut out = BytesMut::new();
    coding.write(version.number_of(message).ok_or(TooLong)?, &mut out);
    let length_at = out.len();
    out.put_u16(0);
    body(&mut Writer::new(coding, &mut out));
    let length = out.len() - length_at - 2;
    let length = u16::try_from(length).map_err(|_| TooLong)?;
    out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    Ok(out.freeze())
}

/// A message about a request: it names the request where requests share the control stream.
pub(crate) fn frame_about(
    version: Version,
    message: Message,
    id: RequestId,
    body: impl FnOnce(&mut Writer<'_>),
) -> Result<Bytes, TooLong> {
    frame(version, message, |out| {
        if version.row().requests == Requests::OnControl {
            out.number(id.0);
        }
        body(out);
    })
}

/// Puts messages together, of any type: what a type may not do is not decided here.
#[derive(Debug)]
pub(crate) struct MessageReader {
    version: Version,
    buffer: BytesMut,
}

impl MessageReader {
    pub(crate) fn new(version: Version) -> MessageReader {
        MessageReader { version, buffer: BytesMut::new() }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message.
    pub(crate) fn next(&mut self) -> Option<(Message, Body)> {
        let coding = self.version.row().integers;
        let (number, length) = coding.read(&self.buffer).ok()?;
        let size = self.buffer.get(length..length + 2)?;
        let size = usize::from(u16::from_be_bytes([size[0], size[1]]));
        if self.buffer.len() < length + 2 + size {
            return None;
        }
        self.buffer.advance(length + 2);
        let body = self.buffer.split_to(size).freeze();
        Some((self.version.message_of(number), Body::new(coding, body)))
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
