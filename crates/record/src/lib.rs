//! Recording: what is packaged goes into the store and the index, and comes back from there.
//!
//! - [`Recorder`] follows the packaged tracks of one broadcast: one object a segment number with all
//!   tracks in it, put first, committed second, in order.
//! - [`History`] reads the past: [`Recording`] is a video's index and catalog, and media is read by
//!   byte ranges of the committed objects.
//! - [`Retention`] deletes what is too old or too much.
//!
//! **When a segment is sealed.** Segment N is put when every recorded track has completed it. A track that is late is
//! waited for, [`limits::LATE`] longer than it is late already, by the times of the media; then N is sealed without it
//! and what still comes is counted ([`Status::late_parts`]). At the beginning, and when an encoder has come back, sound
//! or pictures that are announced are waited for as well ([`limits::LATE_START`]), and for a moment those that nobody has
//! announced ([`limits::UNKNOWN`]).
//!
//! **What is lost is a gap, never silence.** Sealed segments wait in memory while the store fails, up to
//! the bounds of [`limits`]; beyond them they become gap records, counted ([`Status::gaps`]) and logged.
//!
//! Deliberately absent: a spool on disk. With objects on a local disk it would be on the same one.
//!
//! Nothing here spawns: the node runs [`Recorder::run`] and [`Retention::pass`].

#![forbid(unsafe_code)]

mod captions;
mod clip;
mod follow;
mod history;
mod index;
pub mod limits;
mod past;
mod recorder;
mod recording;
mod retention;
mod segment;
mod space;
mod status;

#[cfg(test)]
mod tests;

pub use captions::CaptionsError;
pub use clip::{ClipError, Cut};
pub use history::{DeleteError, History, HistoryError, Stored};
pub use past::{Extent, PastGroup, PastObject};
pub use recorder::{Outcome, Recorder, Setup};
pub use recording::{File, Recording};
pub use retention::{Freed, Pass, Retention};
pub use segment::is_recorded;
pub use space::{Failing, InVain, Paused, Space};
pub use status::{Backlog, CommitTimes, Status};
