//! The index of a recording: records that were committed, some of them sealed into pages.

use bytes::Bytes;

use crate::error::EngineError;
use crate::ids::{InputUid, VideoUid};
use crate::page::PageError;
use crate::record::SegmentRecord;

/// What a commit leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The newest committed number.
    pub last_number: u64,
    /// The last number that may be shown to viewers.
    pub reserved_to: u64,
}

/// A page that can be sealed: put its bytes into the store, then call
/// [`Control::seal_page`](crate::Control::seal_page).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsealedPage {
    /// The broadcast.
    pub video: VideoUid,
    /// The number of its first record.
    pub first_number: u64,
    /// The number of its last record.
    pub last_number: u64,
    /// The object.
    pub bytes: Bytes,
}

/// A sealed page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRef {
    /// The number of its first record.
    pub first_number: u64,
    /// The number of its last record.
    pub last_number: u64,
    /// The object's key, as it was given when the page was sealed.
    pub object: String,
    /// The object's size.
    pub bytes: u64,
}

/// What is committed of a range of numbers: pages to be read from the store, then the records that
/// are not sealed yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Committed {
    /// Sealed pages that overlap the range, in order.
    pub pages: Vec<PageRef>,
    /// Records of the range above them, in order.
    pub tail: Vec<SegmentRecord>,
}

/// Why records can't be read.
#[derive(Debug, thiserror::Error)]
pub enum CommittedError<E> {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A page could not be read from the store.
    #[error("the page {0} could not be read: {1}")]
    Store(String, E),
    /// A page is not what was written.
    #[error("the page {0}: {1}")]
    Page(String, PageError),
}

/// What one input's broadcasts take up, or its clips.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The input, which may be deleted by now.
    pub input: InputUid,
    /// How many videos it has, the one on the air among them.
    pub videos: u64,
    /// Their size.
    pub bytes: u64,
    /// How much of it the input's owner wants to keep ([`RecordingSettings::max_total_bytes`](crate::RecordingSettings)).
    pub max_bytes: Option<u64>,
    /// These are its clips: no bound of the input's is for them.
    pub clips: bool,
}
