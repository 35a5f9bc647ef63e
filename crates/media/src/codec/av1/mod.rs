//! AV1: OBUs, the sequence header, the configuration record, and what a temporal unit says about itself.
//!
//! Inside the server a temporal unit is as AV1-ISOBMFF §2.4 wants it in a sample: every OBU with its size, no temporal
//! delimiters.

mod obu;
mod record;
mod sequence;
mod stream;

pub use record::CodecConfiguration;
pub use sequence::SequenceHeader;
pub use stream::Stream;

use super::Error;

const CODEC: &str = "AV1";

fn malformed(what: &'static str) -> Error {
    Error::Malformed { codec: CODEC, what }
}

fn truncated(field: &'static str) -> Error {
    Error::Truncated { codec: CODEC, field }
}
