//! The streams of a connection, over QUIC itself or over WebTransport.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use quinn::VarInt;
use tokio::sync::watch;
use web_transport_proto::{error_from_http3, error_to_http3};

use super::grants::Granted;
use super::room::Room;
use crate::limits;

/// What numbers stand for the codes of resets on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codes {
    /// The codes themselves.
    Quic,
    /// Those of draft-ietf-webtrans-http3 §4.4, which HTTP/3 leaves free.
    Http3,
}

/// What a reset that says nothing is taken for: INTERNAL_ERROR, in all drafts.
const UNSPECIFIED: u64 = 0x0;

impl Codes {
    pub(super) fn write(self, code: u64) -> VarInt {
        let number = match self {
            Codes::Quic => code,
            Codes::Http3 => error_to_http3(u32::try_from(code).unwrap_or(u32::MAX)),
        };
        // Codes have 62 bits on the wire; ours are all small.
        VarInt::from_u64(number).unwrap_or(VarInt::MAX)
    }

    fn read(self, code: VarInt) -> u64 {
        match self {
            Codes::Quic => code.into_inner(),
            // A code of HTTP/3's own says nothing to us.
            Codes::Http3 => error_from_http3(code.into_inner()).map_or(UNSPECIFIED, u64::from),
        }
    }
}

/// Our side of a stream. Dropped without a word it is reset, never finished: what is cut short must not
/// look complete.
pub(crate) struct SendStream {
    stream: quinn::SendStream,
    codes: Codes,
    room: Arc<Room>,
    /// What is not with QUIC yet waits so.
    turn: (i32, u64),
    open: bool,
    /// Until the peer has all that was [held](Self::hold).
    held: Option<watch::Sender<()>>,
    /// If the peer has opened it.
    _granted: Option<Arc<Granted>>,
}

/// What is written, for as long as QUIC keeps it: until it is acknowledged, with all before it.
struct Held {
    bytes: Bytes,
    _held: watch::Receiver<()>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why nothing more can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteEnd {
    /// The peer does not want more, with this code.
    Stopped(u64),
    /// The connection is over.
    Lost,
}

/// CANCELLED, in all drafts.
const CANCELLED: u64 = 0x1;

impl SendStream {
    pub(super) fn new(stream: quinn::SendStream, codes: Codes, room: &Arc<Room>) -> Self {
        let (room, held, _granted) = (room.clone(), None, None);
        Self { stream, codes, room, turn: (0, 0), open: true, held, _granted }
    }

    /// It counts among those that the peer has opened, until it is dropped.
    pub(super) fn granted(mut self, granted: Option<Arc<Granted>>) -> Self {
        self._granted = granted;
        self
    }

    /// Its number in the connection.
    pub(crate) fn id(&self) -> u64 {
        VarInt::from(self.stream.id()).into_inner()
    }

    /// Hands all of it over, by reference, as far as there is room and nobody more urgent waits for it. A write that
    /// is dropped half done leaves the rest in `chunks`.
    pub(crate) async fn write(&mut self, chunks: &mut [Bytes]) -> Result<(), WriteEnd> {
        let codes = self.codes;
        let mut turn = self.room.turn(self.turn);
        let mut writing = pin!(self.stream.write_all_chunks(chunks));
        let written = poll_fn(|cx| {
            // Also while it waits: the path may take more by now.
            self.room.look();
            if !turn.is_now(cx) {
                return Poll::Pending;
            }
            let written = writing.as_mut().poll(cx);
            if written.is_pending() {
                turn.wait(cx);
            }
            written
        });
        written.await.map_err(|error| match error {
            quinn::WriteError::Stopped(code) => WriteEnd::Stopped(codes.read(code)),
            _ => WriteEnd::Lost,
        })
    }

    /// The same bytes, to be written: [`Self::carried`] says when the peer has them.
    pub(crate) fn hold(&mut self, bytes: Bytes) -> Bytes {
        let held = self.held.get_or_insert_with(|| watch::channel(()).0);
        Bytes::from_owner(Held { bytes, _held: held.subscribe() })
    }

    /// Waits until the peer's QUIC has what was [held](Self::hold), and what was written before it.
    pub(crate) fn carried(&self) -> impl Future<Output = ()> + Send + use<> {
        let held = self.held.clone();
        async move {
            if let Some(held) = held {
                held.closed().await;
            }
        }
    }

    /// Higher is sent first; strict between different numbers.
    pub(crate) fn set_priority(&mut self, priority: i32) {
        self.set_priority_in(priority, (priority, 0));
    }

    /// The same, where what is not with QUIC yet has another turn: higher priorities are handed over first, then lower orders.
    pub(crate) fn set_priority_in(&mut self, priority: i32, turn: (i32, u64)) {
        self.turn = turn;
        let _ = self.stream.set_priority(priority);
    }

    pub(crate) fn finish(&mut self) {
        self.open = false;
        let _ = self.stream.finish();
    }

    /// Takes back what was not sent yet.
    pub(crate) fn reset(&mut self, code: u64) {
        self.open = false;
        let _ = self.stream.reset(self.codes.write(code));
    }

    /// Waits until the peer has everything after `finish`, or wants no more: with its code then.
    pub(crate) async fn stopped(&mut self) -> Option<u64> {
        let code = self.stream.stopped().await.ok().flatten();
        code.map(|code| self.codes.read(code))
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        if self.open {
            self.reset(CANCELLED);
        }
    }
}

/// The peer's side of a stream. Dropped before its end it is stopped.
pub(crate) struct RecvStream {
    stream: quinn::RecvStream,
    codes: Codes,
    /// If the peer has opened it.
    _granted: Option<Arc<Granted>>,
    /// What was read ahead.
    ahead: VecDeque<Read>,
}

/// What a stream holds next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Read {
    /// Bytes.
    Chunk(Bytes),
    /// It is complete.
    Fin,
    /// The peer gave it up.
    Reset(u64),
    /// The connection is over.
    Lost,
}

impl RecvStream {
    pub(super) fn new(stream: quinn::RecvStream, codes: Codes) -> Self {
        Self { stream, codes, _granted: None, ahead: VecDeque::new() }
    }

    /// As of a [`SendStream`].
    pub(super) fn granted(self, granted: Option<Arc<Granted>>) -> Self {
        Self { _granted: granted, ..self }
    }

    /// Its number in the connection.
    pub(crate) fn id(&self) -> u64 {
        VarInt::from(self.stream.id()).into_inner()
    }

    pub(crate) async fn read(&mut self) -> Read {
        match self.ahead.pop_front() {
            Some(read) => read,
            None => self.read_new().await,
        }
    }

    /// Takes the next piece out of QUIC's hands, where it holds room of the whole connection, and keeps it for
    /// [`Self::read`]. Answers what it costs to keep; nothing at the end. Dropping the future loses nothing.
    pub(crate) async fn read_ahead(&mut self) -> Option<usize> {
        let read = match self.read_new().await {
            // A short piece would keep the whole packet that it came in.
            Read::Chunk(bytes) if bytes.len() < limits::SHORT_BYTES => {
                Read::Chunk(Bytes::copy_from_slice(&bytes))
            }
            read => read,
        };
        let bytes = match &read {
            Read::Chunk(bytes) => Some(bytes.len() + limits::PIECE_BYTES),
            Read::Fin | Read::Reset(_) | Read::Lost => None,
        };
        self.ahead.push_back(read);
        bytes
    }

    async fn read_new(&mut self) -> Read {
        match self.stream.read_chunk(limits::READ_BYTES, true).await {
            Ok(Some(chunk)) => Read::Chunk(chunk.bytes),
            Ok(None) => Read::Fin,
            Err(quinn::ReadError::Reset(code)) => Read::Reset(self.codes.read(code)),
            Err(_) => Read::Lost,
        }
    }

    pub(crate) fn stop(&mut self, code: u64) {
        let _ = self.stream.stop(self.codes.write(code));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_go_around_those_that_http3_reserves() {
        // draft-ietf-webtrans-http3 §4.4: every 31st number is for greasing.
        let first = 0x52e4_a40f_a8db;
        for (code, wire) in [
            (0, first),
            (0x1d, first + 0x1d),
            (0x1e, first + 0x1f),
            (u64::from(u32::MAX), 0x52e5_ac98_3162),
        ] {
            assert_eq!(Codes::Http3.write(code).into_inner(), wire, "{code:#x}");
            assert_eq!(Codes::Http3.read(Codes::Http3.write(code)), code);
            assert_eq!(Codes::Quic.write(code).into_inner(), code);
        }
        // H3_REQUEST_CANCELLED
        assert_eq!(Codes::Http3.read(VarInt::from_u32(0x10c)), UNSPECIFIED);
    }
}
