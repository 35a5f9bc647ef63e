//! The listener against a client of our own core, over QUIC on the loopback. The numbers in the names are
//! those of the relay's duties in docs/protocols/moq.md.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

mod access;
mod bounds;
mod congestion;
mod drafts;
mod duties;
mod encoder;
mod expiry;
mod fill;
mod floods;
mod guests;
mod hurry;
mod leaving;
mod links;
mod live;
mod lost;
mod malformed;
mod moves;
mod offered;
mod offers;
mod past;
mod pauses;
mod prefixes;
mod pressure;
mod qlog;
mod ranges;
mod relay;
mod rig;
mod select;
mod selves;
mod strangers;
mod streams;
mod told;
mod traffic;
mod turns;
mod unread;
mod updates;
mod uplinks;
mod web;
mod written;
