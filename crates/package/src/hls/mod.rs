//! HLS and LL-HLS text: a pure function of the index and of the broadcast's description; and back, for clients.

mod captions;
mod iframes;
mod media;
mod multivariant;
mod parse;
mod range;
mod variants;

pub use captions::{clock, render_captions};
pub use iframes::render_iframes;
pub use media::{
    Levels, MediaOptions, Names, Reach, level_folder, level_of_folder, render_media,
    render_media_as, still_of_file,
};
pub(crate) use media::{init_file, listed_parts};
pub use multivariant::{ROOM_LIVE, Variant, VariantKind, nearest, render_multivariant};
pub use parse::{
    MediaPlaylist, MediaRendition, Multivariant, ParseError, Playlist, PlaylistPart,
    PlaylistSegment, VariantStream, attribute,
};
pub use range::render_range;
pub use variants::{Formats, Listed, variants};
