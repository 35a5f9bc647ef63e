//! Two sessions against each other in virtual time, and one against bytes that nobody should send.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod data;
mod draft16;
mod draft20;
mod fetch;
mod goaway;
mod hostile;
mod namespaces;
mod publish;
mod random;
mod setup;
mod subscribe;
mod support;
mod updates;
