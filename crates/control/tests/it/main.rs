//! One binary for all tests of the crate that use it from outside.

#![allow(missing_docs, clippy::unwrap_used)]

mod conformance;
mod crash;
mod engine;
