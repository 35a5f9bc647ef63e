//! The contract of every protocol core in Airwave.
//!
//! A core knows its protocol and nothing else: no socket, no clock, no random numbers. Its owner
//! hands in what happened ([`Core::handle`], [`Core::command`]), always with the time, and then
//! drains [`Core::poll`] until it answers [`Poll::Wait`].
//!
//! [`stream`] has the inputs and outputs that all cores over one byte stream share; [`harness`] runs
//! two such cores against each other in virtual time.

#![forbid(unsafe_code)]

pub mod harness;
pub mod stream;

use std::time::Instant;

/// What a core wants next, once everything that it had to say was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Poll<O> {
    /// Something for the owner: bytes to send, or an event of the protocol.
    Output(O),
    /// Nothing until more input comes, or until this time if there is one.
    Wait(Option<Instant>),
}

/// A protocol core: pure state, driven from outside.
///
/// The rule of use is "change once, then drain": after each successful `handle` or `command`, call
/// `poll` until it returns [`Poll::Wait`]. After an error, `poll` may still hold last words to the
/// peer (a refusal, a close frame); drain them, then drop the core.
pub trait Core {
    /// What comes from the peer or from time.
    type Input<'a>;
    /// What the owner asks for.
    type Command;
    /// What the core wants done, or tells.
    type Output;
    /// Why this core can't go on.
    type Error: std::error::Error;

    /// Takes one input. `now` never goes back.
    fn handle(&mut self, now: Instant, input: Self::Input<'_>) -> Result<(), Self::Error>;
    /// Takes one wish of the owner.
    fn command(&mut self, now: Instant, command: Self::Command) -> Result<(), Self::Error>;
    /// The next output.
    fn poll(&mut self) -> Poll<Self::Output>;
}
