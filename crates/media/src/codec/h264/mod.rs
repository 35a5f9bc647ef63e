//! H.264: the configuration record, NAL units, and what an access unit says about itself.
//!
//! Inside the server NAL units have 4-byte lengths and the sample entry is `avc1`: parameter sets stand in the record.
//! Those that also come in band are left where they are, so that the packets of an encoder stay byte for byte what it
//! sent; when they differ from the record, a new record comes of it.

pub(in crate::codec) mod nal;
mod record;
pub(in crate::codec) mod sps;
mod stream;

pub use nal::{LengthSize, NalUnit, Sync, annex_b_to_lengths, sync_of, with_four_byte_lengths};
pub use record::DecoderConfiguration;
pub use sps::Sps;
pub use stream::{AccessUnit, Stream};

use super::Error;

const CODEC: &str = "H.264";

fn malformed(what: &'static str) -> Error {
    Error::Malformed { codec: CODEC, what }
}

fn truncated(field: &'static str) -> Error {
    Error::Truncated { codec: CODEC, field }
}

fn too_large(what: &'static str, max: usize) -> Error {
    Error::TooLarge { codec: CODEC, what, max }
}
