//! The chunk stream (RTMP 1.0 §5.3): messages cut into chunks, interleaved, with compressed headers.

pub mod reader;
pub mod writer;

use std::fmt;

use bytes::Bytes;

use crate::limits::{CHUNK_SIZE_MAX, CHUNK_STREAMS_MAX};

pub use reader::{Bounds, ChunkReader};
pub use writer::ChunkWriter;

/// A 24-bit timestamp field with this value says that 32 bits follow (RTMP 1.0 §5.3.1.3).
const EXTENDED: u32 = 0xff_ffff;
/// The chunk size until the sender sets another (RTMP 1.0 §5.4.1).
const DEFAULT_CHUNK_SIZE: u32 = 128;

/// One whole message.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The chunk stream that carried it, 2 to 65,599.
    pub chunk_stream: u32,
    /// The message stream that it belongs to; 0 is the connection itself.
    pub stream_id: u32,
    /// What it is, RTMP 1.0 §5.4, §6.2 and §7.1.
    pub type_id: u8,
    /// Absolute, in milliseconds, wraps at 32 bits.
    pub timestamp: u32,
    /// Its body.
    pub payload: Bytes,
}

impl fmt::Debug for Message {
    /// Without the body: it may be a command with a stream key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Message { chunk_stream, stream_id, type_id, timestamp, payload } = self;
        write!(
            f,
            "Message {{ chunk_stream: {chunk_stream}, stream_id: {stream_id}, type_id: {type_id}, \
             timestamp: {timestamp}, {} bytes }}",
            payload.len()
        )
    }
}

/// Why a chunk stream can't be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// A compressed header on a chunk stream without one to refer to.
    #[error("chunk stream {0} begins with a header that refers to an earlier one")]
    NoEarlierHeader(u32),
    /// A new header before the message under way was complete.
    #[error("a new message begins on chunk stream {0} before its last one was complete")]
    Unfinished(u32),
    /// Set Chunk Size with 0 or more than 24 bits.
    #[error("chunk size {0} is not between 1 and {CHUNK_SIZE_MAX}")]
    ChunkSize(u32),
    /// A message over the bound.
    #[error("a message of {announced} bytes is over the limit of {limit}")]
    MessageTooLong {
        /// By its header.
        announced: usize,
        /// In force now.
        limit: usize,
    },
    /// Too many unfinished messages at once.
    #[error("unfinished messages take more than {0} bytes")]
    TooMuchUnfinished(usize),
    /// Too many chunk streams.
    #[error("more than {CHUNK_STREAMS_MAX} chunk streams")]
    TooManyStreams,
}

impl ChunkError {
    /// Whether a bound of ours was hit, and not a rule of the document broken.
    pub fn is_limit(self) -> bool {
        matches!(
            self,
            ChunkError::MessageTooLong { .. }
                | ChunkError::TooMuchUnfinished(_)
                | ChunkError::TooManyStreams
        )
    }
}

/// Checks a Set Chunk Size (RTMP 1.0 §5.4.1: the first bit must be 0; at least 1; more than 24 bits are
/// as good as 24, but only a liar sends that).
pub fn check_chunk_size(size: u32) -> Result<u32, ChunkError> {
    match size {
        1..=CHUNK_SIZE_MAX => Ok(size),
        _ => Err(ChunkError::ChunkSize(size)),
    }
}
