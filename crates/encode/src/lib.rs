//! Levels of quality that are made when somebody watches them.
//!
//! Decoding and encoding happen in processes of their own (`airwave-encode`), so that no library of codecs is in the
//! server and a stranger's frames cost one of them at worst.
//!
//! - [`wire`] is what server and process say to each other, [`Program`] finds one.
//! - [`Ladder`] says which levels an original has; nothing is encoded to know it.
//! - [`Renditions`] makes them, a segment at a time: once, however many ask, and the next one ahead.
//! - [`Picture`]s are drawn from the same originals by the same processes: thumbnails, sheets of them, films.
//! - [`Original`] is where the segments come from.
//!
//! Spawns: a task for each job, by [`Renditions::run`], which ends with it.

#![forbid(unsafe_code)]

mod ahead;
mod allowance;
mod asks;
mod attempts;
mod cache;
mod coded;
mod demand;
mod fit;
#[doc(hidden)]
pub mod fuzzing;
mod hardware;
mod inits;
mod job;
mod ladder;
pub mod limits;
mod made;
mod memory;
mod off;
mod original;
mod picture;
mod pictures;
mod places;
mod pool;
mod presence;
mod program;
mod rate;
mod recent;
mod renditions;
mod sound;
pub mod wire;
mod worker;

pub use allowance::Allowance;
pub use fit::{Fit, Size};
pub use job::config_of;
pub use ladder::{Kind, Ladder, Level};
pub use made::{Failed, Made};
pub use media::rung::{NoRung, Rung};
pub use memory::TooLarge;
pub use original::{Answer, Original, OriginalPart, OriginalSegment, Unreadable};
pub use picture::{Picture, What};
pub use program::{Encoder, NoEncoder, Program, Unavailable, WITHOUT_PROGRAM};
pub use rate::{LevelBits, OriginalBits};
pub use renditions::{Disk, Renditions, SOFTWARE, Settings};
pub use sound::{SOUND_LEVEL_CHANNELS, Sound, sound_of};
pub use wire::SoundCoding;
pub use worker::Counters;
