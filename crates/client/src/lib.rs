//! The other end of the wire: publishing a file or a pipe, and watching a broadcast. `airwave publish`, `airwave watch`
//! and the demo are thin shells around this.
//!
//! ```text
//! source::start --> Item (tracks, frames) --> publish::run: paces --> publish::messages --> io_rtmp::push
//!                                                                  `-> publish::moq: a spine of its own --> io_moq::client
//! watch::Watch: playlists, or the catalog --> a follower a track --> what was measured, and a recording
//! ```
//!
//! A source knows nothing of protocols, so that others than RTMP can be added beside it.

#![forbid(unsafe_code)]

pub mod address;
mod leaving;
pub mod limits;
pub mod publish;
pub mod source;
pub mod trust;
pub mod watch;
