//! The door that all ingest protocols share: who may publish where. The node answers, the drivers
//! put the answer into the words of their protocol.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use crate::Publication;
use crate::timeline::SourceClock;

/// An encoder asks to publish.
#[derive(Clone)]
pub struct Asking {
    /// The secret that names the input: its stream key.
    pub key: String,
    /// The broadcast that it names besides, where the protocol names one; it must be the key's own.
    pub path: Option<spine::Path>,
    /// Where the encoder is.
    pub peer: SocketAddr,
    /// The protocol, as its owner reads it: `rtmp`, `rtmps`, `srt`, `whip`, `moq`.
    pub protocol: &'static str,
    /// What the encoder calls itself.
    pub encoder: String,
    /// How it counts time.
    pub clock: SourceClock,
}

impl fmt::Debug for Asking {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Asking({} from {}, {:?})", self.protocol, self.peer, self.encoder)
    }
}

/// Why an encoder may not publish, in words for the person in front of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No key at all.
    #[error("no stream key: put the input's key into your encoder's settings")]
    NoKey,
    /// No input has this key.
    #[error("this stream key is not known here: copy it again from the input's page")]
    UnknownKey,
    /// The key is that of another input than the one that is named.
    #[error("this stream key is of another input: publish in the namespace of its own")]
    NotItsInput,
    /// The owner switched the input off.
    #[error("this input is disabled: enable it to go live")]
    Disabled,
    /// Another encoder took over a moment ago.
    #[error("another encoder has taken over this input")]
    TakenOver,
    /// Another encoder is live, and the first one wins.
    #[error("this input is already live from another encoder")]
    Busy,
    /// Too many attempts with wrong keys from there.
    #[error("too many attempts with a wrong stream key: wait a minute")]
    TooManyAttempts,
    /// The node can't take it now.
    #[error("this server can't take another broadcast now: {0}")]
    Unavailable(String),
}

/// How an encoder left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// It said goodbye.
    Goodbye,
    /// Its connection was lost.
    Lost,
    /// It sent nothing for so long that it was cut off.
    Idle,
    /// What it sent broke the rules; it may come back like one that was lost.
    Faulty,
    /// Another encoder has replaced it, or the broadcast was ended from here.
    Dismissed,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Goodbye => "it said goodbye",
            Self::Lost => "its connection was lost",
            Self::Idle => "it sent nothing for too long",
            Self::Faulty => "what it sent broke the rules",
            Self::Dismissed => "it was dismissed",
        })
    }
}

/// An encoder that may publish.
pub struct Admitted {
    /// Takes its frames.
    pub publication: Publication,
    /// Takes the publication back when the encoder has left.
    pub leave: Box<dyn FnOnce(Publication, Left) + Send>,
}

/// Decides who may publish.
pub type Door = Arc<
    dyn Fn(Asking) -> Pin<Box<dyn Future<Output = Result<Admitted, Refused>> + Send>> + Send + Sync,
>;
