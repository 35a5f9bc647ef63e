//! Clips and downloads: a range of a broadcast as one MP4 file, without encoding anything anew. The file is
//! computed from the index and from the heads of its parts; its media is the parts' own bytes.
//!
//! - [`Outline`] says which parts there are to look at: from the key frame ahead of the range on.
//! - [`Assembly`] takes the front of each part (`moof`) and chooses samples.
//! - [`Plan`] is the file: its head, and which bytes of which part follow.
//!
//! What is decoded ahead of the range is hidden by an edit list. The range is half open: it has the frames whose
//! presentation begins in it.

mod assembly;
mod fragments;
mod outline;
mod planner;
#[cfg(test)]
mod tests;

use std::ops::Range;

use bytes::Bytes;

pub use assembly::Assembly;
pub use fragments::{ClipPart, ClipSegment, ClipShare, ClipTrack, Fragments};
pub use outline::{Outline, PartRef, Track, source_tracks};
pub use planner::Planner;

use crate::limits::{CLIP_PARTS, CLIP_SAMPLES};

/// Times that differ by no more are the same: a viewer's seconds have few digits.
pub(crate) const SAME_NS: u64 = 1_000_000;

/// What is asked for, as players count: nanoseconds from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Where it begins.
    pub from_ns: u64,
    /// Where it ends; beyond what is there, all of it.
    pub to_ns: u64,
    /// With the picture; without, the sound alone.
    pub picture: bool,
}

impl Wanted {
    /// All that is there.
    pub fn everything(picture: bool) -> Self {
        Self { from_ns: 0, to_ns: u64::MAX, picture }
    }
}

/// Why there is no such file.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Refused {
    /// There is nothing at that time.
    #[error("there is nothing at {:.3} s: what is to be had is from {:.3} s to {:.3} s", .from, .begin, .end)]
    Outside {
        /// The time, in seconds.
        from: f64,
        /// What is to be had begins here.
        begin: f64,
        /// And ends here.
        end: f64,
    },
    /// A file has one format, and it changes within.
    #[error(
        "the format of the {what} changes at {at:.3} s: a file has only one; ask for what is before or behind"
    )]
    Changes {
        /// Picture or sound.
        what: &'static str,
        /// When, in seconds.
        at: f64,
    },
    /// No picture can be decoded.
    #[error("there is no key frame in this range, nor shortly before it")]
    NoKeyFrame,
    /// So short that no frame begins in it.
    #[error("there is no picture and no sound within this range: ask for a longer one")]
    Empty,
    /// There is no media in it.
    #[error("there is no media in this range: it was lost")]
    Gap,
    /// It has no such track.
    #[error("there is no {0} in this broadcast")]
    NoTrack(&'static str),
    /// More than one file shall have.
    #[error(
        "too long for one file, which has at most {CLIP_PARTS} parts and {CLIP_SAMPLES} samples; take a clip of it"
    )]
    TooLong,
    /// A part or an initialisation segment is not what packaging writes.
    #[error("a part of it is damaged")]
    Damaged,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// `ftyp`, `moov` and the head of `mdat`.
    pub head: Bytes,
    /// What follows, in order.
    pub pieces: Vec<Piece>,
    /// The names of its tracks.
    pub tracks: Vec<String>,
    /// Bytes of all of it.
    pub len: u64,
    /// Where what is shown begins, in nanoseconds as players count.
    pub from_ns: u64,
    /// How long it lasts.
    pub duration_ns: u64,
}

/// Bytes of one part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Index of its track in the plan.
    pub track: usize,
    /// Its segment.
    pub segment: u64,
    /// The ownership under which that was made.
    pub epoch: u64,
    /// The part of it.
    pub part: u64,
    /// Where the bytes begin in the part.
    pub start: u64,
    /// How many.
    pub len: u64,
}

/// What of a range of a file was not taken yet, behind its head.
#[derive(Debug, Clone)]
pub struct Rest {
    range: Range<u64>,
    /// The piece that comes next, and where it begins in the file.
    next: usize,
    at: u64,
}

impl Plan {
    /// The bytes of a range of the file: of its head, and what then [comes](Self::take).
    pub fn cut(&self, range: Range<u64>) -> (Bytes, Rest) {
        let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(self.head.len());
        let head = self.head.slice(within(range.start)..within(range.end).max(within(range.start)));
        (head, Rest { range, next: 0, at: self.head.len() as u64 })
    }

    /// The pieces that come next: of one segment, and of so many bytes at most. None at the end.
    pub fn take(&self, rest: &mut Rest, most: u64) -> Vec<Piece> {
        let (mut taken, mut room) = (Vec::<Piece>::new(), most);
        while let Some(piece) = self.pieces.get(rest.next)
            && rest.at < rest.range.end
        {
            let piece_end = rest.at + piece.len;
            let (begin, end) = (rest.at.max(rest.range.start), piece_end.min(rest.range.end));
            if begin < end {
                let same = taken.first().is_none_or(|first| first.segment == piece.segment);
                if room == 0 || !same {
                    break;
                }
                let len = (end - begin).min(room);
                taken.push(Piece { start: piece.start + (begin - rest.at), len, ..*piece });
                room -= len;
                rest.range.start = begin + len;
            }
            // What is left of it comes another time.
            if begin >= end || rest.range.start == piece_end {
                (rest.next, rest.at) = (rest.next + 1, piece_end);
            }
        }
        taken
    }
}

pub(crate) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
