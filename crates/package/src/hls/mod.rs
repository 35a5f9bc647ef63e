//! HLS and LL-HLS text: a pure function of the index and of the broadcast's description.

mod media;
mod multivariant;

pub(crate) use media::init_file;
pub use media::{MediaOptions, render_media};
pub use multivariant::{Variant, VariantKind, render_multivariant};
