//! Chunks to messages. One copy: from the input straight into the message.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{ChunkError, DEFAULT_CHUNK_SIZE, EXTENDED, Message, check_chunk_size};
use crate::limits;

/// What a reader may hold; a stranger gets less.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The largest message.
    pub message_bytes_max: usize,
    /// Memory reserved for all unfinished messages.
    pub partial_bytes_max: usize,
    /// Memory reserved ahead of arrival, or as much as has arrived if that is more.
    pub ahead_bytes_max: usize,
}

impl Bounds {
    /// Before `publish` is asked for.
    pub const SETUP: Bounds = Bounds {
        message_bytes_max: limits::SETUP_MESSAGE_BYTES_MAX,
        partial_bytes_max: limits::SETUP_PARTIAL_BYTES_MAX,
        ahead_bytes_max: limits::SETUP_AHEAD_BYTES_MAX,
    };
    /// For a peer that publishes.
    pub const MEDIA: Bounds = Bounds {
        message_bytes_max: limits::MESSAGE_BYTES_MAX,
        partial_bytes_max: limits::PARTIAL_BYTES_MAX,
        ahead_bytes_max: limits::AHEAD_BYTES_MAX,
    };
}

/// Reads one direction of a chunk stream.
pub struct ChunkReader {
    bounds: Bounds,
    chunk_size: u32,
    streams: BTreeMap<u32, Stream>,
    /// The chunk whose payload comes now.
    current: Option<Current>,
    /// Input that was too short for a header: at most 17 bytes.
    carry: Vec<u8>,
    /// Reserved for unfinished messages, by capacity.
    held: usize,
}

struct Current {
    chunk_stream: u32,
    left: usize,
}

/// What later headers on the same chunk stream refer to, and the message under way.
#[derive(Default)]
struct Stream {
    timestamp: u32,
    /// Added when a type 3 header begins a message.
    delta: u32,
    length: usize,
    type_id: u8,
    stream_id: u32,
    /// The 32-bit field that followed the last full header, if one did.
    extended: Option<u32>,
    partial: Option<Vec<u8>>,
}

/// A chunk header as it stands on the wire.
struct Header {
    bytes: usize,
    chunk_stream: u32,
    kind: Kind,
}

enum Kind {
    /// Type 0: absolute time.
    Full { timestamp: u32, extended: Option<u32>, length: usize, type_id: u8, stream_id: u32 },
    /// Types 1 and 2: a difference, and perhaps a new length and type.
    Delta { delta: u32, extended: Option<u32>, shape: Option<(usize, u8)> },
    /// Type 3: as before.
    Same,
}

impl ChunkReader {
    /// A reader at the start of a chunk stream.
    pub fn new(bounds: Bounds) -> ChunkReader {
        ChunkReader {
            bounds,
            chunk_size: DEFAULT_CHUNK_SIZE,
            streams: BTreeMap::new(),
            current: None,
            carry: Vec::new(),
            held: 0,
        }
    }

    /// Changes the bounds for what comes now.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// The peer set its chunk size.
    pub fn set_chunk_size(&mut self, size: u32) -> Result<(), ChunkError> {
        self.chunk_size = check_chunk_size(size)?;
        Ok(())
    }

    /// The peer gives up the message under way on a chunk stream (RTMP 1.0 §5.4.2).
    pub fn abort(&mut self, chunk_stream: u32) {
        if let Some(partial) =
            self.streams.get_mut(&chunk_stream).and_then(|stream| stream.partial.take())
        {
            self.held -= partial.capacity();
        }
    }

    /// Memory reserved for unfinished messages.
    pub fn held_bytes(&self) -> usize {
        self.held
    }

    /// Consumes `input` up to the end of the next whole message. `None`: all of it, and no message yet.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Message>, ChunkError> {
        loop {
            if self.current.is_none() {
                let Some(header) = self.header(input) else {
                    self.carry.extend_from_slice(input);
                    *input = &[];
                    return Ok(None);
                };
                self.skip(input, header.bytes);
                self.begin_chunk(&header)?;
            }
            if let Some(message) = self.payload(input)? {
                return Ok(Some(message));
            }
            if input.is_empty() && (self.current.is_some() || self.carry.is_empty()) {
                return Ok(None);
            }
        }
    }

    /// The header that stands next, if all of it is there. Consumes nothing.
    fn header(&self, input: &[u8]) -> Option<Header> {
        let ahead = Ahead { carry: &self.carry, input };
        let first = ahead.byte(0)?;
        // RTMP 1.0 §5.3.1.1: 0 and 1 are escapes to one and two more bytes.
        let (mut at, chunk_stream) = match first & 0x3f {
            0 => (2, 64 + u32::from(ahead.byte(1)?)),
            1 => (3, 64 + u32::from(ahead.byte(1)?) + 256 * u32::from(ahead.byte(2)?)),
            small => (1, u32::from(small)),
        };
        // RTMP 1.0 §5.3.1.2: 11, 7, 3 or 0 bytes of message header.
        let format = first >> 6;
        if format == 3 {
            at += self.repeated_extended(chunk_stream, &ahead, at)?;
            return Some(Header { bytes: at, chunk_stream, kind: Kind::Same });
        }
        let mut timestamp = ahead.u24(at)?;
        let fields = at + 3;
        at += [11, 7, 3][usize::from(format)];
        let mut extended = None;
        if timestamp == EXTENDED {
            timestamp = (u32::from(ahead.byte(at)?) << 24) | ahead.u24(at + 1)?;
            extended = Some(timestamp);
            at += 4;
        }
        let kind = if format == 2 {
            Kind::Delta { delta: timestamp, extended, shape: None }
        } else {
            let (length, type_id) = (ahead.u24(fields)? as usize, ahead.byte(fields + 3)?);
            if format == 1 {
                Kind::Delta { delta: timestamp, extended, shape: Some((length, type_id)) }
            } else {
                // RTMP 1.0 §5.3.1.2.5: the one little-endian field.
                let id = [4, 5, 6, 7].map(|offset| ahead.byte(fields + offset));
                let stream_id = u32::from_le_bytes([id[0]?, id[1]?, id[2]?, id[3]?]);
                Kind::Full { timestamp, extended, length, type_id, stream_id }
            }
        };
        Some(Header { bytes: at, chunk_stream, kind })
    }

    /// RTMP 1.0 §5.3.1.3: a type 3 chunk repeats the extended timestamp of the header it refers to.
    /// Some peers leave it out, and some repeat the absolute time: take the four bytes for a timestamp
    /// only if they are one of the two. `None`: more bytes are needed to tell.
    fn repeated_extended(&self, chunk_stream: u32, ahead: &Ahead<'_>, at: usize) -> Option<usize> {
        let Some(stream) = self.streams.get(&chunk_stream) else {
            return Some(0);
        };
        let Some(field) = stream.extended else {
            return Some(0);
        };
        let candidates = [field.to_be_bytes(), stream.timestamp.to_be_bytes()];
        let mut possible = [true, true];
        for offset in 0..4 {
            let byte = ahead.byte(at + offset)?;
            for (candidate, possible) in candidates.iter().zip(&mut possible) {
                *possible &= candidate[offset] == byte;
            }
            if possible == [false, false] {
                return Some(0);
            }
        }
        Some(4)
    }

    fn begin_chunk(&mut self, header: &Header) -> Result<(), ChunkError> {
        let id = header.chunk_stream;
        if !self.streams.contains_key(&id) {
            // librtmp begins chunk streams with type 1: only type 2 and 3 lack a length.
            if matches!(header.kind, Kind::Same | Kind::Delta { shape: None, .. }) {
                return Err(ChunkError::NoEarlierHeader(id));
            }
            if self.streams.len() >= limits::CHUNK_STREAMS_MAX {
                return Err(ChunkError::TooManyStreams);
            }
        }
        let stream = self.streams.entry(id).or_default();
        if stream.partial.is_some() {
            if !matches!(header.kind, Kind::Same) {
                return Err(ChunkError::Unfinished(id));
            }
        } else {
            stream.begin_message(&header.kind);
            if stream.length > self.bounds.message_bytes_max {
                let limit = self.bounds.message_bytes_max;
                return Err(ChunkError::MessageTooLong { announced: stream.length, limit });
            }
            stream.partial = Some(Vec::new());
        }
        let arrived = stream.partial.as_ref().map_or(0, Vec::len);
        let left = (stream.length - arrived).min(self.chunk_size as usize);
        self.current = Some(Current { chunk_stream: id, left });
        Ok(())
    }

    /// Moves payload of the current chunk; the message, if it is complete with it.
    fn payload(&mut self, input: &mut &[u8]) -> Result<Option<Message>, ChunkError> {
        if !self.carry.is_empty() {
            let carry = std::mem::take(&mut self.carry);
            let mut rest = &carry[..];
            let message = self.move_payload(&mut rest);
            self.carry = rest.to_vec();
            let message = message?;
            if message.is_some() || self.current.is_none() {
                return Ok(message);
            }
        }
        self.move_payload(input)
    }

    fn move_payload(&mut self, input: &mut &[u8]) -> Result<Option<Message>, ChunkError> {
        let Some(current) = &mut self.current else {
            return Ok(None);
        };
        let id = current.chunk_stream;
        // A chunk stream has an entry, and a message under way, as long as a chunk of it is current;
        // only `abort` between two reads takes the message, and then the rest of the chunk is dropped.
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(None);
        };
        let (now, rest) = input.split_at(input.len().min(current.left));
        *input = rest;
        current.left -= now.len();
        let chunk_complete = current.left == 0;
        if chunk_complete {
            self.current = None;
        }
        let Some(partial) = &mut stream.partial else {
            return Ok(None);
        };
        if let Some(capacity) =
            grown_capacity(partial, now.len(), stream.length, self.bounds.ahead_bytes_max)
        {
            let held = self.held - partial.capacity() + capacity;
            if held > self.bounds.partial_bytes_max {
                return Err(ChunkError::TooMuchUnfinished(self.bounds.partial_bytes_max));
            }
            self.held -= partial.capacity();
            partial.reserve_exact(capacity - partial.len());
            self.held += partial.capacity();
        }
        partial.extend_from_slice(now);
        if !chunk_complete || partial.len() < stream.length {
            return Ok(None);
        }
        let payload = stream.partial.take().unwrap_or_default();
        self.held -= payload.capacity();
        Ok(Some(Message {
            chunk_stream: id,
            stream_id: stream.stream_id,
            type_id: stream.type_id,
            timestamp: stream.timestamp,
            payload: Bytes::from(payload),
        }))
    }

    /// Consumes a header that [`ChunkReader::header`] has seen.
    fn skip(&mut self, input: &mut &[u8], count: usize) {
        let from_carry = count.min(self.carry.len());
        self.carry.drain(..from_carry);
        *input = &input[count - from_carry..];
    }
}

impl Stream {
    fn begin_message(&mut self, kind: &Kind) {
        match *kind {
            Kind::Full { timestamp, extended, length, type_id, stream_id } => {
                // RTMP 1.0 §5.3.1.2.4: a type 3 chunk after a type 0 has that chunk's timestamp as delta.
                *self = Stream {
                    timestamp,
                    delta: timestamp,
                    length,
                    type_id,
                    stream_id,
                    extended,
                    partial: None,
                };
            }
            Kind::Delta { delta, extended, shape } => {
                self.timestamp = self.timestamp.wrapping_add(delta);
                self.delta = delta;
                self.extended = extended;
                if let Some((length, type_id)) = shape {
                    (self.length, self.type_id) = (length, type_id);
                }
            }
            Kind::Same => self.timestamp = self.timestamp.wrapping_add(self.delta),
        }
    }
}

/// The capacity that a message needs for `more` bytes, if it has too little: never over the message's
/// length, and ahead of arrival by `ahead` or by what has already arrived.
fn grown_capacity(partial: &Vec<u8>, more: usize, length: usize, ahead: usize) -> Option<usize> {
    let needed = partial.len() + more;
    (needed > partial.capacity()).then(|| needed.max(length.min((partial.len() * 2).max(ahead))))
}

/// The bytes that stand next, wherever they are.
struct Ahead<'a> {
    carry: &'a [u8],
    input: &'a [u8],
}

impl Ahead<'_> {
    fn byte(&self, at: usize) -> Option<u8> {
        match self.carry.get(at) {
            Some(byte) => Some(*byte),
            None => self.input.get(at - self.carry.len()).copied(),
        }
    }

    fn u24(&self, at: usize) -> Option<u32> {
        let [a, b, c] = [0, 1, 2].map(|offset| self.byte(at + offset));
        Some((u32::from(a?) << 16) | (u32::from(b?) << 8) | u32::from(c?))
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
