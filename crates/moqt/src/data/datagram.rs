//! Object datagrams (draft-18 §11.3).

use bytes::{BufMut, Bytes, BytesMut};

use super::carry::{Fields, Stop};
use super::subgroup::properties_span;
use super::{Status, WriteError, opening};
use crate::error::{DataError, Violation};
use crate::properties::Properties;
use crate::varint;
use crate::version::Version;

/// Bits of the datagram's type.
mod bit {
    pub(super) const PROPERTIES: u64 = 0x01;
    pub(super) const END_OF_GROUP: u64 = 0x02;
    pub(super) const ZERO_OBJECT_ID: u64 = 0x04;
    pub(super) const DEFAULT_PRIORITY: u64 = 0x08;
    pub(super) const STATUS: u64 = 0x20;
    pub(super) const ALL: u64 = 0x2f;
}

/// An object in a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Track alias.
    pub alias: u64,
    /// Group ID.
    pub group: u64,
    /// Object ID.
    pub object: u64,
    /// Publisher priority; `None`: the track's.
    pub priority: Option<u8>,
    /// Whether no object of the group has a larger ID.
    pub end_of_group: bool,
    /// As they came.
    pub properties: Properties,
    /// The payload, or what there is instead.
    pub body: Body,
}

/// What a datagram carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The whole payload, perhaps of no bytes.
    Payload(Bytes),
    /// A status.
    Status(Status),
}

impl Datagram {
    /// Reads a datagram. `None`: padding, which is nothing (draft-18 §11.5.2).
    pub fn decode(version: Version, mut bytes: Bytes) -> Result<Option<Datagram>, DataError> {
        let mut fields = Fields::new(version.row().integers, &bytes);
        let parsed = match parse(version, &mut fields) {
            Ok(parsed) => parsed,
            Err(Stop::Need(_)) => {
                return Err(Violation::protocol("a datagram is shorter than its fields").into());
            }
            Err(Stop::Error(error)) => return Err(error),
        };
        let Some((mut datagram, span)) = parsed else {
            return Ok(None);
        };
        let length = fields.at();
        if !span.is_empty() {
            datagram.properties =
                Properties::of_object(version, bytes.slice(span), datagram.group, datagram.object)?;
        }
        if let Body::Payload(payload) = &mut datagram.body {
            *payload = bytes.split_off(length);
        } else if length < bytes.len() {
            return Err(Violation::protocol("a datagram is longer than its fields").into());
        }
        Ok(Some(datagram))
    }

    /// The track alias of a datagram that can't be read on.
    pub(crate) fn alias_of(version: Version, bytes: &[u8]) -> Option<u64> {
        let mut fields = Fields::new(version.row().integers, bytes);
        let mut number = || fields.number().ok();
        number().and_then(|_kind| number())
    }

    /// Writes the datagram as a whole: the payload is copied, as transports take datagrams in one piece.
    pub fn encode(&self, version: Version) -> Result<Bytes, WriteError> {
        let coding = version.row().integers;
        if self.alias.max(self.group).max(self.object) > coding.max() {
            return Err(WriteError::TooLarge);
        }
        let (status, payload) = match &self.body {
            Body::Payload(payload) => (None, &payload[..]),
            Body::Status(status) => (Some(*status), &[][..]),
        };
        if status.is_some() && self.end_of_group {
            return Err(WriteError::Status);
        }
        let properties = self.properties.to_wire(version);
        if !properties.is_empty() && status.is_some_and(|status| status != Status::Normal) {
            return Err(WriteError::Properties);
        }
        let flag = |set: bool, bit: u64| if set { bit } else { 0 };
        let kind = flag(!properties.is_empty(), bit::PROPERTIES)
            | flag(self.end_of_group, bit::END_OF_GROUP)
            | flag(self.object == 0, bit::ZERO_OBJECT_ID)
            | flag(self.priority.is_none(), bit::DEFAULT_PRIORITY)
            | flag(status.is_some(), bit::STATUS);
        let mut out = BytesMut::with_capacity(HEAD_BYTES_MAX + properties.len() + payload.len());
        coding.write(kind, &mut out);
        coding.write(self.alias, &mut out);
        coding.write(self.group, &mut out);
        if self.object > 0 {
            coding.write(self.object, &mut out);
        }
        if let Some(priority) = self.priority {
            out.put_u8(priority);
        }
        if !properties.is_empty() {
            coding.write(properties.len() as u64, &mut out);
            out.put_slice(&properties);
        }
        match status {
            Some(status) => coding.write(status.number(), &mut out),
            None => out.put_slice(payload),
        }
        Ok(out.freeze())
    }
}

/// Type, three IDs, priority, two lengths.
const HEAD_BYTES_MAX: usize = 2 + 5 * varint::BYTES_MAX;

type Parsed = Option<(Datagram, std::ops::Range<usize>)>;

fn parse(version: Version, fields: &mut Fields<'_>) -> Result<Parsed, Stop> {
    let kind = fields.number()?;
    if kind == opening::PADDING_DATAGRAM && version.row().padding {
        return Ok(None);
    }
    let has = |bit: u64| kind & bit != 0;
    // draft-18 §11.3.1
    if kind & !bit::ALL != 0 {
        return Err(Violation::protocol("a datagram of an unknown type").into());
    }
    if has(bit::STATUS) && has(bit::END_OF_GROUP) {
        return Err(Violation::protocol("a datagram with a status ends its group").into());
    }
    let alias = fields.number()?;
    let group = fields.number()?;
    let object = if has(bit::ZERO_OBJECT_ID) { 0 } else { fields.number()? };
    let priority = if has(bit::DEFAULT_PRIORITY) { None } else { Some(fields.byte()?) };
    let span = if has(bit::PROPERTIES) { properties_span(fields)? } else { 0..0 };
    if has(bit::PROPERTIES) && span.is_empty() {
        return Err(Violation::protocol("a datagram has properties of no length").into());
    }
    let body = match has(bit::STATUS) {
        true => Body::Status(Status::from_number(fields.number()?)?),
        false => Body::Payload(Bytes::new()),
    };
    if !span.is_empty() && !matches!(body, Body::Payload(_) | Body::Status(Status::Normal)) {
        return Err(Violation::protocol("an object with a status has properties").into());
    }
    let datagram = Datagram {
        alias,
        group,
        object,
        priority,
        end_of_group: has(bit::END_OF_GROUP),
        properties: Properties::empty(),
        body,
    };
    Ok(Some((datagram, span)))
}
