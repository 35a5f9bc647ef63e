//! End to end: the built program, real encoders, real players.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

mod access;
mod api;
mod backup;
mod browser;
mod codecs;
mod dash;
mod encoders;
mod help;
mod keys;
mod live;
mod program;
mod publish;
mod recording;
mod reload;
mod watch;

/// The program under test.
const AIRWAVE: &str = env!("CARGO_BIN_EXE_airwave");
