//! Chats: what viewers of a broadcast say to each other.
//!
//! A viewer publishes tracks of messages into a broadcast of his own, which nobody but the chat reads ([`Rooms::guest`]), or
//! sends one message a request. What is fit ([`message`]) and not too much ([`Rooms::say`]) goes into the track [`TRACK`] of
//! the broadcast that is watched ([`room`]), and into the database with the recording. Who relays these tracks knows nothing
//! of what is in them.
//!
//! An object of [`TRACK`] is JSON. The first of each group says everything anew: whether the chat is open, and its newest
//! messages; each further one is one more message. When one is deleted, a new group begins without it, and the older groups are
//! forgotten: whoever comes later, or was behind, never sees it.

#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod fuzzing;
mod guest;
pub mod limits;
pub mod message;
pub mod room;
mod rooms;

#[cfg(test)]
mod tests;

pub use message::Unfit;
pub use room::{Room, TRACK};
pub use rooms::{Counters, Refused, Rooms, Sender};
