//! What a unidirectional stream is (draft-18 §3.4).

use bytes::{BufMut, Bytes, BytesMut};

use super::carry::{Carry, Fields, Stop};
use super::subgroup::{self, SubgroupHeader};
use crate::error::{DataError, Violation};
use crate::request::RequestId;
use crate::version::{ControlStream, Version};

/// draft-18 §3.4; a control stream begins with its first message, whose type is the stream's type.
pub(crate) const CONTROL: u64 = 0x2f00;
pub(super) const FETCH: u64 = 0x05;
/// draft-18 §11.5
const PADDING_STREAM: u64 = 0x132b_3e28;
pub(super) const PADDING_DATAGRAM: u64 = 0x132b_3e29;

/// How a unidirectional stream begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// The peer's control stream. It goes to the session, these first bytes before all others
    /// (`Input::Control`).
    Control(Bytes),
    /// Objects of a subscription; a [`super::SubgroupReader`] reads on.
    Subgroup(SubgroupHeader),
    /// Objects that a FETCH asked for; a [`super::FetchReader`] reads on.
    Fetch(RequestId),
    /// Nothing: read on and throw away, or stop the stream (draft-18 §11.5.1).
    Padding,
}

/// Reads the beginning of a unidirectional stream.
#[derive(Debug)]
pub struct OpeningReader {
    version: Version,
    carry: Carry,
}

enum Parsed {
    Control,
    Subgroup(SubgroupHeader),
    Fetch(u64),
    Padding,
}

impl OpeningReader {
    /// For a stream that the peer opened.
    pub fn new(version: Version) -> OpeningReader {
        OpeningReader { version, carry: Carry::default() }
    }

    /// Takes the next chunk. Once it has answered, what is left in `input` belongs to what the stream
    /// turned out to be. `None`: more is needed.
    pub fn read(&mut self, input: &mut Bytes) -> Result<Option<Opening>, DataError> {
        let version = self.version;
        let parse = |fields: &mut Fields<'_>| parse(version, fields);
        let Some((parsed, head)) = self.carry.take(version.row().integers, input, parse)? else {
            return Ok(None);
        };
        Ok(Some(match parsed {
            Parsed::Control => {
                let length = match &head {
                    super::carry::Head::Input(_, length) => *length,
                    super::carry::Head::Carried(bytes) => bytes.len(),
                };
                Opening::Control(head.slice(0..length))
            }
            Parsed::Subgroup(header) => Opening::Subgroup(header),
            Parsed::Fetch(request) => Opening::Fetch(RequestId(request)),
            Parsed::Padding => Opening::Padding,
        }))
    }
}

fn parse(version: Version, fields: &mut Fields<'_>) -> Result<Parsed, Stop> {
    match fields.number()? {
        CONTROL if version.control_stream() == ControlStream::Unidirectional => Ok(Parsed::Control),
        FETCH => Ok(Parsed::Fetch(fields.number()?)),
        PADDING_STREAM if version.row().padding => Ok(Parsed::Padding),
        kind if subgroup::is_kind(version, kind) => {
            Ok(Parsed::Subgroup(subgroup::parse_header(kind, fields)?))
        }
        // draft-18 §3.4
        _ => Err(Violation::protocol("a stream of an unknown type").into()),
    }
}

/// The beginning of a padding stream; zeros follow (draft-18 §11.5.1). For drafts that have none it is an
/// error to send it.
pub fn padding_stream(version: Version, out: &mut BytesMut) {
    version.row().integers.write(PADDING_STREAM, out);
}

/// A whole padding datagram with so many zeros (draft-18 §11.5.2).
pub fn padding_datagram(version: Version, zeros: usize, out: &mut BytesMut) {
    version.row().integers.write(PADDING_DATAGRAM, out);
    out.put_bytes(0, zeros);
}
