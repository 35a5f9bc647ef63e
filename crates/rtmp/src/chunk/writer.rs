//! Messages to chunks. Payloads of some size are not copied: headers and slices go out in turn.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use super::{DEFAULT_CHUNK_SIZE, EXTENDED, Message};
use crate::limits::CHUNK_SIZE_MAX;

/// Below this a slice is copied beside its header: cheaper than a piece of its own for the socket.
const COPIED_BYTES_MAX: usize = 1_024;

/// Writes one direction of a chunk stream.
pub struct ChunkWriter {
    chunk_size: u32,
    /// The caller's few chunk streams, never a peer's choice: no bound is needed.
    streams: BTreeMap<u32, Previous>,
}

/// What compressed headers refer to.
#[derive(Clone, Copy)]
struct Previous {
    timestamp: u32,
    /// None after a full header: readers disagree about what a type 3 header then means.
    delta: Option<u32>,
    length: usize,
    type_id: u8,
    stream_id: u32,
}

/// Bytes to send, in pieces, so that payloads can be shared.
#[derive(Default)]
pub struct Pieces {
    pieces: Vec<Bytes>,
    tail: BytesMut,
}

impl Pieces {
    /// The end, for small writes.
    pub fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Appends without copying, unless it is small.
    pub fn push(&mut self, bytes: Bytes) {
        if bytes.len() <= COPIED_BYTES_MAX {
            self.tail.put_slice(&bytes);
        } else {
            self.flush();
            self.pieces.push(bytes);
        }
    }

    /// Takes everything.
    pub fn take(&mut self) -> std::vec::IntoIter<Bytes> {
        self.flush();
        std::mem::take(&mut self.pieces).into_iter()
    }

    fn flush(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push(self.tail.split().freeze());
        }
    }
}

impl ChunkWriter {
    /// A writer at the start of a chunk stream.
    pub fn new() -> ChunkWriter {
        ChunkWriter { chunk_size: DEFAULT_CHUNK_SIZE, streams: BTreeMap::new() }
    }

    /// Sets the size of the chunks after this, at least 1; the caller has told the peer.
    pub fn set_chunk_size(&mut self, size: u32) {
        self.chunk_size = size.clamp(1, CHUNK_SIZE_MAX);
    }

    /// Writes one message. `chunk_stream` is 2 to 65,599; a payload over 24 bits of length is cut.
    pub fn write(&mut self, message: &Message, out: &mut Pieces) {
        let mut payload = message.payload.clone();
        payload.truncate(0xff_ffff);
        let extended = self.first_header(message, payload.len(), out.tail());
        loop {
            out.push(payload.split_to(payload.len().min(self.chunk_size as usize)));
            if payload.is_empty() {
                return;
            }
            basic_header(3, message.chunk_stream, out.tail());
            // RTMP 1.0 §5.3.1.3: repeated on type 3 chunks.
            if let Some(field) = extended {
                out.tail().put_u32(field);
            }
        }
    }

    /// The shortest header that every reader understands; the extended field, if there is one.
    fn first_header(
        &mut self,
        message: &Message,
        length: usize,
        out: &mut BytesMut,
    ) -> Option<u32> {
        let &Message { chunk_stream, stream_id, type_id, timestamp, .. } = message;
        let previous = self.streams.get(&chunk_stream).filter(|p| p.stream_id == stream_id);
        // Time that goes back or far ahead gets a full header; so does the wrap at 32 bits.
        let delta = previous
            .and_then(|p| timestamp.checked_sub(p.timestamp))
            .filter(|delta| *delta < EXTENDED);
        let mut extended = None;
        match (previous, delta) {
            (Some(previous), Some(delta)) => {
                let same_shape = previous.length == length && previous.type_id == type_id;
                let format = match same_shape {
                    true if previous.delta == Some(delta) => 3,
                    true => 2,
                    false => 1,
                };
                basic_header(format, chunk_stream, out);
                if format < 3 {
                    put_u24(delta, out);
                }
                if format < 2 {
                    put_u24(length as u32, out);
                    out.put_u8(type_id);
                }
            }
            _ => {
                extended = (timestamp >= EXTENDED).then_some(timestamp);
                basic_header(0, chunk_stream, out);
                put_u24(timestamp.min(EXTENDED), out);
                put_u24(length as u32, out);
                out.put_u8(type_id);
                out.put_u32_le(stream_id);
                if let Some(field) = extended {
                    out.put_u32(field);
                }
            }
        }
        let delta = previous.and(delta);
        self.streams
            .insert(chunk_stream, Previous { timestamp, delta, length, type_id, stream_id });
        extended
    }
}

impl Default for ChunkWriter {
    fn default() -> ChunkWriter {
        ChunkWriter::new()
    }
}

/// RTMP 1.0 §5.3.1.1: one, two or three bytes.
pub(super) fn basic_header(format: u8, chunk_stream: u32, out: &mut BytesMut) {
    let format = format << 6;
    match chunk_stream {
        0..=63 => out.put_u8(format | chunk_stream as u8),
        64..=319 => {
            out.put_u8(format);
            out.put_u8((chunk_stream - 64) as u8);
        }
        _ => {
            out.put_u8(format | 1);
            out.put_u16_le((chunk_stream - 64) as u16);
        }
    }
}

pub(super) fn put_u24(value: u32, out: &mut BytesMut) {
    out.put_slice(&value.to_be_bytes()[1..]);
}
