//! HTTP delivery: playlists, media, pages.
//!
//! A [`Shelf`] follows the packaged tracks of one broadcast and knows what playlists say; [`Library`]
//! finds the shelf for an id, or the recording of what is over; [`router`] answers HTTP. Nothing here spawns: the node runs
//! [`Shelf::follow`] for as long as the broadcast lasts.

#![forbid(unsafe_code)]

mod body;
mod captions;
mod chat;
mod clip;
mod dash;
mod disk;
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod guarded;
mod http;
mod level_files;
mod levels;
mod library;
pub mod limits;
mod media;
mod originals;
mod pages;
mod past_levels;
mod pictures;
mod playback;
mod playlist;
mod query;
mod ranges;
mod right;
mod share;
mod shelf;
pub mod tracks;
mod viewers;
mod waiting;
mod whole;
mod window;

pub use gate::EDGE;
pub use http::{Moq, Site, router, table};
pub use levels::Levels;
pub use library::{Found, Library, uid_of};
pub use past_levels::{PastGroup, PastLevel, PastLevels, PastPart};
pub use query::PARAMETERS;
pub use shelf::{About, Counters, Past, Seat, Shelf};
pub use waiting::{OfMany, Places};
