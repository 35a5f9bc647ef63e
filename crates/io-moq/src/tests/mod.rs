//! The listener against a client of our own core, over QUIC on the loopback. The numbers in the names are
//! those of the relay's duties in docs/protocols/moq.md.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

mod access;
mod congestion;
mod drafts;
mod duties;
mod fill;
mod floods;
mod guests;
mod live;
mod past;
mod pressure;
mod relay;
mod rig;
mod strangers;
mod web;
