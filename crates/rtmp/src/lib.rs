//! RTMP.

#![forbid(unsafe_code)]

pub mod amf0;
pub mod chunk;
pub mod handshake;
pub mod limits;
mod secret;

pub use secret::Secret;
