//! What the modules do together, in one binary.

#![allow(clippy::unwrap_used, reason = "tests; clippy's own exemption ends at helper functions")]

mod hostile;
mod packaging;
mod streams;
mod timeline;
