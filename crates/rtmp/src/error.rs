//! Whose fault a failure is, the same for every operation, and what ends a server session.

use std::time::Duration;

use crate::connection::WireError;
use crate::handshake::HandshakeError;
use crate::limits;

/// Whose fault a failure is: what a driver counts and logs by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The bytes break the protocol.
    Malformed,
    /// The peer is well-formed, but breaks order, bounds or deadlines.
    Peer,
    /// The peer speaks something that we don't.
    Incompatible,
    /// We asked for what can't be.
    Misuse,
}

/// Why a server session ended by force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// In the handshake.
    #[error("handshake: {0}")]
    Handshake(#[from] HandshakeError),
    /// In the bytes after it.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// What the peer asked for is out of order or over a bound.
    #[error(transparent)]
    Peer(#[from] PeerFault),
    /// The owner's command does not fit the state.
    #[error("misuse: {0}")]
    Misuse(&'static str),
}

impl ServerError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            ServerError::Handshake(_) => Fault::Incompatible,
            ServerError::Wire(error) => error.fault(),
            ServerError::Peer(_) => Fault::Peer,
            ServerError::Misuse(_) => Fault::Misuse,
        }
    }
}

impl WireError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            WireError::Chunk(error) if error.is_limit() => Fault::Peer,
            WireError::Chunk(_) | WireError::Message(_) => Fault::Malformed,
        }
    }
}

/// What a well-formed peer did wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerFault {
    /// Any command before `connect`.
    #[error("a command before connect")]
    NotConnected,
    /// `connect` again.
    #[error("connect a second time")]
    ConnectedTwice,
    /// `publish` or `play` on a message stream that was not created.
    #[error("publish or play on message stream {0}, which does not exist")]
    NoSuchStream(u32),
    /// `publish` or `play` on a message stream that is in use.
    #[error("publish or play on message stream {0}, which is in use")]
    StreamInUse(u32),
    /// Too many message streams.
    #[error("more than {} message streams", limits::MESSAGE_STREAMS_MAX)]
    TooManyStreams,
    /// Application, stream name or URL too long.
    #[error("a name of more than {} bytes", limits::NAME_BYTES_MAX)]
    NameTooLong,
    /// Media before the answer to `publish`, more than we hold.
    #[error("too much media before publish was answered")]
    TooMuchUnanswered,
    /// The handshake did not end in time.
    #[error("no handshake within {0:?}")]
    HandshakeTimeout(Duration),
    /// No `publish` in time.
    #[error("no publish within {0:?}")]
    SetupTimeout(Duration),
    /// A publisher without a byte.
    #[error("nothing received for {0:?}")]
    IdleTimeout(Duration),
}
