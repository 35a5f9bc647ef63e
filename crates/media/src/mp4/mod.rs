//! Reading MP4 files that lie in memory, progressive or fragmented.

mod demux;
mod tables;

pub use demux::{Error, Movie, Sample, Track, demux};
