//! Where originals come from: a broadcast on the air, or a recording.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

/// It is there, and can't be read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store can't be read now")]
pub struct Unreadable;

/// What an answer that takes a while is. None: there is no such thing, or no longer.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<Option<T>, Unreadable>> + Send + 'a>>;

/// A part of an original segment.
#[derive(Debug, Clone)]
pub struct OriginalPart {
    /// `moof` and `mdat`.
    pub pieces: Vec<Bytes>,
    /// In units of the track's timescale.
    pub duration: u32,
    /// No part of the segment follows.
    pub last: bool,
}

/// What is known of an original segment that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OriginalSegment {
    /// Its initialisation segment.
    pub init: u64,
    /// The ownership under which it was made.
    pub epoch: u64,
    /// It begins with a key frame.
    pub independent: bool,
    /// All of it is there.
    pub complete: bool,
    /// It is, and the next one follows at once, at whose head pictures may be coded that are shown in this one. Where the next one is
    /// there already, nobody goes by it.
    pub open: bool,
    /// How many parts of it are there. One of them that is not to be had is not its end.
    pub parts: usize,
    /// Of what is there of it.
    pub bytes: u64,
    /// How long that lasts.
    pub duration_ns: u64,
}

/// One track of a video that levels are made of.
pub trait Original: Send + Sync {
    /// The video's uid.
    fn video(&self) -> &str;
    /// The packaged track, such as `video.cmaf`.
    fn track(&self) -> &str;
    /// Whether it stays when its broadcast is over: of what does not, nothing is put on a disk.
    fn is_kept(&self) -> bool;
    /// A segment that has begun.
    fn segment(&self, number: u64) -> Option<OriginalSegment>;
    /// Whether a segment that has not begun lies behind all that have, and more is to come.
    fn is_ahead(&self, _number: u64) -> bool {
        false
    }
    /// A part: waited for while its segment is being made, or is the next one. None if it never comes.
    fn part(&self, number: u64, part: usize) -> Answer<'_, OriginalPart>;
    /// An initialisation segment.
    fn init(&self, id: u64) -> Answer<'_, Bytes>;
}
