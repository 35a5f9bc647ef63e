//! RTMP.

#![forbid(unsafe_code)]

pub mod amf0;
pub mod chunk;
pub mod client;
mod connection;
mod error;
pub mod handshake;
pub mod limits;
mod message;
mod secret;
pub mod server;

pub use connection::WireError;
pub use error::{Fault, PeerFault, ServerError};
pub use message::{Kind, Media, MessageError};
pub use secret::Secret;
