//! The spine: broadcasts, tracks, groups, subgroups and objects in memory.
//!
//! MoQ's data model is the inside of Airwave, not only a wire format. Everything is a publisher or a
//! subscriber of an [`Origin`]; what is derived (packaged, encoded) is again a track; who can
//! produce something that nobody has yet is a [`Responder`].
//!
//! - **Readers own a cursor and a policy, never a queue.** Publishers are never blocked by readers.
//! - **One memory.** A [`Payload`] is stored once, shared by reference, and charged once to the
//!   [`Budget`] until its last reference goes.
//! - **Ids.** Groups and objects have sparse, rising ids. Several producers may write one track; an
//!   object that is there already is dropped, the longest prefix of a half-written one wins.
//! - **Time is an argument.** Nothing in here reads a clock, spawns a task or opens a socket.
//!
//! Locks: one per track, one per broadcast, one per origin, always taken in the order origin,
//! broadcast, track and never held while a waker runs. What is looked at and what is done about it
//! are under one lock: publishers come back at the very moment when they are given up.

#![forbid(unsafe_code)]

pub mod broadcast;
mod budget;
mod cursor;
mod error;
mod fetch;
pub mod group;
pub mod limits;
mod name;
mod object;
mod origin;
mod pause;
mod reading;
mod responder;
pub mod track;
mod wake;
mod writing;

#[cfg(test)]
mod faults;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use broadcast::Pending;
pub use budget::{Budget, Payload};
pub use cursor::{Cursor, Event, Filter, OnLag, Policy, Start, SubgroupEvent, SubgroupReader};
pub use error::{Close, LookupError, PublishError, ResetCode, WriteError};
pub use fetch::{Absence, FetchCursor, FetchEvent, FetchProducer, Order};
pub use limits::Limits;
pub use name::{NameError, Path, TrackName};
pub use object::{Chunk, Header, Location, ObjectReader, ObjectWriter, Status, Timing, Via};
pub use origin::{Announce, Announcements, NodeId, Origin, Route, Takeover};
pub use pause::{Interest, Paused};
pub use reading::{Objects, Patience, Read};
pub use responder::{BroadcastRequest, FetchRequest, Request, Responder, TrackRequest};
pub use track::{Demand, TrackInfo, Waiting};
