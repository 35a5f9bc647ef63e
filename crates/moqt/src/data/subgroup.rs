//! Subgroup streams (draft-18 §11.4.2, draft-16 §10.4.2): a header, then objects with rising IDs.

use bytes::{BufMut, Bytes, BytesMut};

use super::carry::{Carry, Fields, Stop};
use super::{Status, WriteError};
use crate::code::ResetCode;
use crate::error::{DataError, Violation};
use crate::limits;
use crate::properties::Properties;
use crate::version::Version;

/// Bits of the stream's type.
mod bit {
    pub(super) const PROPERTIES: u64 = 0x01;
    pub(super) const ID_MODE: u64 = 0x06;
    pub(super) const ID_FIRST_OBJECT: u64 = 0x02;
    pub(super) const ID_PRESENT: u64 = 0x04;
    pub(super) const END_OF_GROUP: u64 = 0x08;
    pub(super) const ALWAYS: u64 = 0x10;
    pub(super) const DEFAULT_PRIORITY: u64 = 0x20;
    pub(super) const FIRST_OBJECT: u64 = 0x40;
}

/// Which subgroup a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubgroupId {
    /// Subgroup 0, written without a field.
    Zero,
    /// The one that is named like the first object on the stream.
    FirstObject,
    /// This one.
    Given(u64),
}

/// The header of a subgroup stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubgroupHeader {
    /// Track alias.
    pub alias: u64,
    /// Group ID.
    pub group: u64,
    /// Subgroup ID.
    pub subgroup: SubgroupId,
    /// Publisher priority; `None`: the track's.
    pub priority: Option<u8>,
    /// Whether objects on this stream can have properties.
    pub properties: bool,
    /// Whether the last object before a FIN is the last one of the group.
    pub end_of_group: bool,
    /// Whether the first object here is the first one that the original publisher put into the subgroup.
    pub first_object: bool,
}

/// The head of an object on a subgroup stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectHead {
    /// Object ID.
    pub id: u64,
    /// As they came.
    pub properties: Properties,
    /// If it is not `Normal`, there is no payload.
    pub status: Status,
    /// Payload bytes that follow.
    pub payload_length: u64,
}

/// Whether a stream of this type carries a subgroup, also in an invalid form of it: 0b0XX1XXXX, in draft 16
/// 0b00X1XXXX.
pub(super) fn is_kind(version: Version, kind: u64) -> bool {
    kind & !version.row().subgroup_bits == 0 && kind & bit::ALWAYS != 0
}

pub(super) fn parse_header(kind: u64, fields: &mut Fields<'_>) -> Result<SubgroupHeader, Stop> {
    if kind & bit::ID_MODE == bit::ID_MODE {
        // draft-18 §11.4.2
        return Err(Violation::protocol("a subgroup stream with the reserved ID mode").into());
    }
    let alias = fields.number()?;
    let group = fields.number()?;
    let subgroup = match kind & bit::ID_MODE {
        bit::ID_PRESENT => SubgroupId::Given(fields.number()?),
        bit::ID_FIRST_OBJECT => SubgroupId::FirstObject,
        _ => SubgroupId::Zero,
    };
    let priority = match kind & bit::DEFAULT_PRIORITY {
        0 => Some(fields.byte()?),
        _ => None,
    };
    Ok(SubgroupHeader {
        alias,
        group,
        subgroup,
        priority,
        properties: kind & bit::PROPERTIES != 0,
        end_of_group: kind & bit::END_OF_GROUP != 0,
        first_object: kind & bit::FIRST_OBJECT != 0,
    })
}

impl SubgroupHeader {
    /// Writes the beginning of a stream.
    pub fn encode(&self, version: Version, out: &mut BytesMut) -> Result<(), WriteError> {
        let coding = version.row().integers;
        let subgroup = match self.subgroup {
            SubgroupId::Given(id) => id,
            SubgroupId::Zero | SubgroupId::FirstObject => 0,
        };
        if self.alias.max(self.group).max(subgroup) > coding.max() {
            return Err(WriteError::TooLarge);
        }
        let id_mode = match self.subgroup {
            SubgroupId::Zero => 0,
            SubgroupId::FirstObject => bit::ID_FIRST_OBJECT,
            SubgroupId::Given(_) => bit::ID_PRESENT,
        };
        let flag = |set: bool, bit: u64| if set { bit } else { 0 };
        let kind = bit::ALWAYS
            | id_mode
            | flag(self.properties, bit::PROPERTIES)
            | flag(self.end_of_group, bit::END_OF_GROUP)
            | flag(self.priority.is_none(), bit::DEFAULT_PRIORITY)
            | flag(self.first_object, bit::FIRST_OBJECT);
        coding.write(kind & version.row().subgroup_bits, out);
        coding.write(self.alias, out);
        coding.write(self.group, out);
        if let SubgroupId::Given(id) = self.subgroup {
            coding.write(id, out);
        }
        if let Some(priority) = self.priority {
            out.put_u8(priority);
        }
        Ok(())
    }
}

/// What comes next on a subgroup stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubgroupItem {
    /// An object begins. If its payload length is 0 it is also complete.
    Object(ObjectHead),
    /// The next bytes of its payload, never none.
    Payload {
        /// A slice of the chunk that was read.
        bytes: Bytes,
        /// Whether the object is complete with it.
        last: bool,
    },
}

/// Reads the objects of a subgroup stream, behind its header.
#[derive(Debug)]
pub struct SubgroupReader {
    version: Version,
    group: u64,
    subgroup: SubgroupId,
    properties: bool,
    previous: Option<u64>,
    /// An end of group or track was said here.
    ended: bool,
    payload_left: u64,
    carry: Carry,
}

struct Parsed {
    id: u64,
    properties: std::ops::Range<usize>,
    status: Status,
    payload_length: u64,
}

impl SubgroupReader {
    /// For a stream with this header.
    pub fn new(version: Version, header: &SubgroupHeader) -> SubgroupReader {
        SubgroupReader {
            version,
            group: header.group,
            subgroup: header.subgroup,
            properties: header.properties,
            previous: None,
            ended: false,
            payload_left: 0,
            carry: Carry::default(),
        }
    }

    /// The subgroup ID. `None`: the first object, which has not come, will tell.
    pub fn subgroup(&self) -> Option<u64> {
        match self.subgroup {
            SubgroupId::Zero => Some(0),
            SubgroupId::Given(id) => Some(id),
            SubgroupId::FirstObject => None,
        }
    }

    /// The ID of the last object that began.
    pub fn largest(&self) -> Option<u64> {
        self.previous
    }

    /// Whether the stream stands inside an object.
    pub fn is_inside_object(&self) -> bool {
        self.payload_left > 0 || !self.carry.is_empty()
    }

    /// Whether it stands inside the head of one.
    pub fn is_inside_head(&self) -> bool {
        !self.carry.is_empty()
    }

    /// Takes the next item out of `input`, which is the next chunk of the stream. `None`: it is used up.
    #[inline]
    pub fn read(&mut self, input: &mut Bytes) -> Result<Option<SubgroupItem>, DataError> {
        if input.is_empty() {
            return Ok(None);
        }
        if self.payload_left > 0 {
            let bytes = take_payload(&mut self.payload_left, input);
            return Ok(Some(SubgroupItem::Payload { bytes, last: self.payload_left == 0 }));
        }
        let (properties, previous) = (self.properties, self.previous);
        let parse = |fields: &mut Fields<'_>| parse_object(properties, previous, fields);
        let Some((parsed, head)) = self.carry.take(self.version.row().integers, input, parse)?
        else {
            return Ok(None);
        };
        if self.ended {
            // draft-18 §2.4.2: beyond the final object of the group or track.
            return Err(DataError::MalformedTrack("an object behind the end of its group"));
        }
        let properties = match parsed.properties.is_empty() {
            true => Properties::empty(),
            false => {
                let bytes = head.slice(parsed.properties);
                Properties::of_object(self.version, bytes, self.group, parsed.id)?
            }
        };
        drop(head);
        if self.subgroup == SubgroupId::FirstObject {
            self.subgroup = SubgroupId::Given(parsed.id);
        }
        self.previous = Some(parsed.id);
        self.ended = parsed.status != Status::Normal;
        self.payload_left = parsed.payload_length;
        Ok(Some(SubgroupItem::Object(ObjectHead {
            id: parsed.id,
            properties,
            status: parsed.status,
            payload_length: parsed.payload_length,
        })))
    }

    /// The stream ended with a FIN.
    pub fn finish(&self) -> Result<(), Violation> {
        if self.is_inside_object() {
            // draft-18 §11.4
            return Err(Violation::protocol("a stream ends in the middle of an object"));
        }
        Ok(())
    }
}

/// A slice of the payload, as much as there is.
#[inline]
pub(super) fn take_payload(left: &mut u64, input: &mut Bytes) -> Bytes {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    *left -= length as u64;
    if length == input.len() { std::mem::take(input) } else { input.split_to(length) }
}

/// Where an object's properties are, if their length is within our bound.
#[inline]
pub(super) fn properties_span(fields: &mut Fields<'_>) -> Result<std::ops::Range<usize>, Stop> {
    let length = fields.number()?;
    if length > limits::OBJECT_PROPERTIES_BYTES_MAX {
        let what = "the properties of an object are too long";
        return Err(DataError::Limit(ResetCode::ExcessiveLoad, what).into());
    }
    fields.span(length as usize)
}

#[inline]
fn parse_object(
    properties: bool,
    previous: Option<u64>,
    fields: &mut Fields<'_>,
) -> Result<Parsed, Stop> {
    let delta = fields.number()?;
    let id = match previous {
        None => Some(delta),
        Some(previous) => previous.checked_add(1).and_then(|next| next.checked_add(delta)),
    };
    // draft-18 §11.4.2
    let id =
        id.filter(|id| *id <= fields.max()).ok_or(Violation::protocol("an object ID overflows"))?;
    let properties = if properties { properties_span(fields)? } else { 0..0 };
    let payload_length = fields.number()?;
    let status = match payload_length {
        0 => Status::from_number(fields.number()?)?,
        _ => Status::Normal,
    };
    if status != Status::Normal && !properties.is_empty() {
        // draft-18 §11.2.1.2
        return Err(Violation::protocol("an object with a status has properties").into());
    }
    Ok(Parsed { id, properties, status, payload_length })
}

/// Writes the heads of a subgroup stream's objects; their payloads go between them.
#[derive(Debug, Clone)]
pub struct SubgroupWriter {
    version: Version,
    properties: bool,
    previous: Option<u64>,
}

impl SubgroupWriter {
    /// For a stream that began with this header.
    pub fn new(version: Version, header: &SubgroupHeader) -> SubgroupWriter {
        SubgroupWriter { version, properties: header.properties, previous: None }
    }

    /// Writes the head of the next object; `payload_length` bytes must follow.
    #[inline]
    pub fn object(&mut self, head: &ObjectHead, out: &mut BytesMut) -> Result<(), WriteError> {
        let delta = match self.previous {
            None => head.id,
            Some(previous) if head.id > previous => head.id - previous - 1,
            Some(_) => return Err(WriteError::Order),
        };
        if head.status != Status::Normal && head.payload_length > 0 {
            return Err(WriteError::Status);
        }
        let any = !head.properties.is_empty();
        if any && (!self.properties || head.status != Status::Normal) {
            return Err(WriteError::Properties);
        }
        let coding = self.version.row().integers;
        if head.id > coding.max() {
            return Err(WriteError::TooLarge);
        }
        self.previous = Some(head.id);
        coding.write(delta, out);
        if self.properties {
            let properties = head.properties.to_wire(self.version);
            coding.write(properties.len() as u64, out);
            out.put_slice(&properties);
        }
        coding.write(head.payload_length, out);
        if head.payload_length == 0 {
            coding.write(head.status.number(), out);
        }
        Ok(())
    }
}
