//! MoQ Transport on sockets: the driver around the core of the crate `moqt`.
//!
//! [`listen`] serves peers: what is on the spine can be subscribed to and fetched ([`play`], [`fetch`],
//! [`announce`]), and what they publish becomes a live input ([`ingest`]), in an open namespace a
//! broadcast as it is ([`open`]), as does what other relays tell of ([`uplink`]), or, from a viewer, what somebody else reads ([`guest`]). [`client`] is the other end: it asks a server, and serves it what we publish
//! there. Nothing here spawns by itself but [`listen::run`], which owns the tasks of its connections and ends
//! them with itself.

#![forbid(unsafe_code)]

mod ahead;
mod announce;
mod answers;
pub mod client;
mod clock;
mod datagrams;
mod fetch;
#[cfg(feature = "floor")]
pub mod floor;
mod flow;
pub mod fuzzing;
mod guesses;
mod guest;
mod handover;
mod ingest;
pub mod limits;
mod link;
pub mod listen;
mod names;
mod open;
mod own;
mod play;
mod priority;
mod publish;
pub mod qlog;
mod session;
mod take;
mod timeouts;
pub mod traffic;
pub mod transport;
mod updates;
pub mod uplink;
mod upstream;
mod viewer;
mod wishes;

#[cfg(test)]
mod tests;
