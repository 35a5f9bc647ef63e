//! Whose fault a failure is, and what the peer is told.

use crate::code::{ResetCode, SessionCode};

/// The peer broke the protocol: the session must be closed with this code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} ({code:?})")]
pub struct Violation {
    /// What to close the session with.
    pub code: SessionCode,
    /// What was wrong, in words; it is also the reason that the peer reads.
    pub what: &'static str,
}

impl Violation {
    pub(crate) const fn new(code: SessionCode, what: &'static str) -> Violation {
        Violation { code, what }
    }

    /// PROTOCOL_VIOLATION, the code of most checks.
    pub(crate) const fn protocol(what: &'static str) -> Violation {
        Violation::new(SessionCode::ProtocolViolation, what)
    }
}

/// Why a data stream or datagram can't be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// The session must be closed.
    #[error(transparent)]
    Session(#[from] Violation),
    /// The track breaks the rules of draft-18 §2.4.2: cancel its subscription and fetches from this
    /// publisher, tell those downstream MALFORMED_TRACK, do not keep the object.
    #[error("malformed track: {0}")]
    MalformedTrack(&'static str),
    /// More than we hold: stop this stream with the code.
    #[error("over a bound: {1}")]
    Limit(ResetCode, &'static str),
}

/// Why a session did not do what was asked of it, or is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The peer broke the protocol. The session is over; its last output is the close.
    #[error(transparent)]
    Peer(#[from] Violation),
    /// A time limit of the session passed. It is over; its last output is the close.
    #[error("{}", .0.what)]
    Timeout(Violation),
    /// The owner's command does not fit. Nothing has changed: the session goes on.
    #[error("misuse: {0}")]
    Misuse(&'static str),
}

impl SessionError {
    /// Whether the session goes on.
    pub fn is_misuse(&self) -> bool {
        matches!(self, SessionError::Misuse(_))
    }
}
