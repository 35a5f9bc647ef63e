//! Reading MP4: files that lie in memory or on a disk, progressive or fragmented, and fragments as they come.

mod demux;
mod entry;
mod language;
mod stream;
mod tables;

pub use demux::{Error, Movie, Sample, TopBox, Track, Unsupported, demux, demux_boxes};
pub use stream::{Event, Frame, Reader, StreamError};
