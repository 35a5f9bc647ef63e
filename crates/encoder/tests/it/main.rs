//! The encoder program as its users see it: what it makes of files that ffmpeg made, and what it does not let through.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

mod equality;
mod faults;
mod hardware;
mod joints;
mod kept;
mod levels;
mod memory;
mod odd;
mod pictures;
mod rates;
mod sandbox;
mod sound;
mod studio;
