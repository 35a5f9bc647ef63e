//! RTMP and Enhanced RTMP without I/O, both ends: [`server`] takes publishers, [`client`] publishes.
//!
//! Both are cores in the sense of [`sansio`]: bytes, time and the owner's wishes go in, bytes and
//! events come out. Media passes through as it is: nothing in a message's body is parsed here, and
//! nothing is gated by what was negotiated (FFmpeg 9 sends FourCCs that it has not announced).
//!
//! | document | done | where |
//! |---|---|---|
//! | RTMP 1.0 §5.2 handshake | plain; Adobe's digests, both layouts; RTMPE refused | [`handshake`] |
//! | §5.3 chunking | all; extended timestamps also where peers leave them out | [`chunk`] |
//! | §5.4 protocol control | all; the peer's bandwidth limit is noted and not obeyed | `connection` |
//! | §6, §7.1 messages | audio, video, data, command, aggregate, user control (begin, ping) | `message` |
//! | §7.2 commands | connect, createStream, publish, closeStream, deleteStream and what encoders add | [`server`], [`client`] |
//! | AMF 0 | all that encoders send; no references, no XML | [`amf0`] |
//! | Enhanced RTMP v2 | capsEx, fourCcList and info maps; tags are `media`'s | [`server::Connect`] |
//!
//! Deliberately absent: playing (a request for it can be refused), AMF3, shared objects, RTMPE, RTMPT,
//! Adobe's and Limelight's authentication by challenge.

#![forbid(unsafe_code)]

pub mod amf0;
pub mod chunk;
pub mod client;
mod connection;
mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod handshake;
pub mod limits;
mod message;
mod secret;
pub mod server;

pub use connection::WireError;
pub use error::{Fault, PeerFault, ServerError};
pub use message::{Kind, Media, MessageError};
pub use secret::Secret;
