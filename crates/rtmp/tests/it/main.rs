//! The server core against the client core, and against peers that lie, in virtual time.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod hostile;
mod publish;
mod support;
