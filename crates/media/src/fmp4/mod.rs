//! Fragmented MP4 as CMAF wants it (ISO 23000-19): initialisation segments and fragment headers of one track.
//!
//! A chunk is [`fragment_header`] followed by the payloads of its samples, which stay where they are: nothing is copied.
//! The header is the strictest common form of what players read: exactly one `traf`, `tfdt` with 64 bits, exactly one
//! `trun`, duration, size and flags on every sample (shaka-player ignores the defaults of `trex`).

mod boxes;
mod fragment;
mod init;
mod merge;
mod progressive;

pub use fragment::{
    FragmentError, Sample, empty_fragment, first_sample_alone, fragment_header, is_empty_fragment,
};
pub use init::{TRACK_ID, init_segment};
pub use merge::{MergeError, TrackIds, append_fragments, merge_inits};
pub use progressive::{
    Chunk, MOVIE_TIMESCALE, ProgressiveTrack, SampleTables, moof_bytes, progressive_header,
};
