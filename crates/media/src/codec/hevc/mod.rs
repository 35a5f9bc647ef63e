//! HEVC: the configuration record, the sequence parameter set, and what an access unit says about itself.
//!
//! As with H.264, NAL units have 4-byte lengths inside the server, the sample entry is `hvc1`, and parameter sets that also
//! come in band are left where they are.

mod record;
mod sps;
mod stream;

pub use record::DecoderConfiguration;
pub use sps::{ProfileTierLevel, Sps};
pub use stream::Stream;

use super::Error;

const CODEC: &str = "HEVC";

/// nal_unit_type, ITU-T H.265 table 7-1.
pub(super) mod kind {
    pub(super) const VPS: u8 = 32;
    pub(super) const SPS: u8 = 33;
    pub(super) const PPS: u8 = 34;
    pub(in crate::codec) const PREFIX_SEI: u8 = 39;
    pub(super) const SUFFIX_SEI: u8 = 40;
}

/// nal_unit_type of a NAL unit with its two header bytes, H.265 §7.3.1.2.
pub(super) fn kind_of(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |b| b >> 1 & 0x3f)
}

/// Decoding can start here: BLA (16 to 18), IDR (19, 20), CRA (21) and what is reserved for intra random access points (22,
/// 23), H.265 table 7-1. Leading pictures behind a CRA are shown before it and may be undecodable; decoders drop those.
fn is_random_access(kind: u8) -> bool {
    matches!(kind, 16..=23)
}

/// A coded slice segment: types 0 to 31 are VCL, of which these are in use.
fn is_slice(kind: u8) -> bool {
    matches!(kind, 0..=9 | 16..=23)
}

fn malformed(what: &'static str) -> Error {
    Error::Malformed { codec: CODEC, what }
}

fn truncated(field: &'static str) -> Error {
    Error::Truncated { codec: CODEC, field }
}

fn too_large(what: &'static str, max: usize) -> Error {
    Error::TooLarge { codec: CODEC, what, max }
}

#[cfg(test)]
pub(super) use record::tests::record as a_record;
