//! Packaging: raw tracks become CMAF segments and parts once, and everything that lists them (HLS,
//! LL-HLS, DASH) is a pure function of the index that those tracks describe.
//!
//! - [`Packager`] cuts frames into segments and parts: one cut list for all tracks of a broadcast.
//! - [`Index`] is built from the packaged objects' [`properties`] only, on any node.
//! - [`Recut`] cuts encoded levels like their original; [`Grid`] says where those of sound lie, and [`Regrid`] cuts them.
//! - [`hls`] renders playlists and [`dash`] MPDs, [`reload`] decides whether a request waits.
//!
//! Followed: draft-pantos-hls-rfc8216bis for playlists and blocking reload, ISO/IEC 23000-19 (CMAF)
//! and draft-ietf-moq-cmsf-01 for the objects (one moof and one mdat each).

#![forbid(unsafe_code)]

pub mod clip;
mod cut;
pub mod dash;
#[doc(hidden)]
pub mod fuzzing;
mod grid;
pub mod hls;
mod index;
pub mod limits;
mod packager;
mod packaging;
pub mod properties;
mod recut;
pub mod reload;
mod rendition;

#[cfg(test)]
mod testing;

pub use cut::CutRules;
pub use grid::{Grid, Regrid};
pub use index::{Index, Part, Rendition, Segment, Version};
pub use packager::{Earlier, Findings, Outputs, Packager, Rules, TrackId};
pub use packaging::{CATALOG, CATALOG_LOC, INIT, Original, Packaging, PackagingError, raw_track};
pub use recut::{Recut, RecutError, RecutPart};
pub use rendition::{Frame, Output};
