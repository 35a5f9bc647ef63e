//! What the modules do together, from an encoder's frames to playlists, in one binary.

#![allow(clippy::unwrap_used, reason = "tests; clippy's own exemption ends at helper functions")]

mod anchors;
mod asked;
mod copy;
mod offers;
mod studio;
mod window;
