//! End to end: the built program, real encoders, real players.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

mod access;
mod api;
mod backup;
mod beside;
mod browser;
mod codecs;
mod dash;
mod encoders;
mod help;
mod hostile;
mod keys;
mod lies;
mod live;
mod program;
mod publish;
mod recording;
mod reload;
mod rounds;
mod startup;
mod watch;

/// The program under test.
const AIRWAVE: &str = env!("CARGO_BIN_EXE_airwave");
