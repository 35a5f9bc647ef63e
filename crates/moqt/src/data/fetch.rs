//! Fetch streams (draft-18 §11.4.4, draft-16 §10.4.4): a header, then objects and ranges that are missing, each told by
//! its difference to the one before.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::carry::{Carry, Fields, Stop};
use super::subgroup::{properties_span, take_payload};
use super::{Via, WriteError, opening};
use crate::error::{DataError, Violation};
use crate::location::{GroupOrder, Location};
use crate::properties::Properties;
use crate::request::RequestId;
use crate::version::{FetchIds, Row, Version};

/// Serialization flags.
mod flag {
    pub(super) const SUBGROUP: u64 = 0x03;
    pub(super) const SUBGROUP_ZERO: u64 = 0x00;
    pub(super) const SUBGROUP_PRIOR: u64 = 0x01;
    pub(super) const SUBGROUP_NEXT: u64 = 0x02;
    pub(super) const SUBGROUP_PRESENT: u64 = 0x03;
    pub(super) const OBJECT: u64 = 0x04;
    pub(super) const GROUP: u64 = 0x08;
    pub(super) const PRIORITY: u64 = 0x10;
    pub(super) const PROPERTIES: u64 = 0x20;
    pub(super) const DATAGRAM: u64 = 0x40;
    /// Values that are no flags.
    pub(super) const END_OF_NON_EXISTENT: u64 = 0x8c;
    pub(super) const END_OF_UNKNOWN: u64 = 0x10c;
    pub(super) const END_OF_TIMED_OUT: u64 = 0x20c;
}

/// The head of an object on a fetch stream. It always has the status Normal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchObject {
    /// Group and object ID.
    pub location: Location,
    /// How it was published.
    pub via: Via,
    /// Publisher priority.
    pub priority: u8,
    /// As they came.
    pub properties: Properties,
    /// Payload bytes that follow.
    pub payload_length: u64,
}

/// Why objects of a range are not on a fetch stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Missing {
    /// They do not exist.
    NonExistent,
    /// Nobody knows.
    Unknown,
    /// Whoever knows did not say it in time (draft-21 §11.4.1); to earlier drafts it is unknown.
    TimedOut,
}

/// What comes next on a fetch stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchItem {
    /// An object begins. If its payload length is 0 it is also complete. Between it and what came before
    /// nothing exists.
    Object(FetchObject),
    /// The next bytes of its payload, never none.
    Payload {
        /// A slice of the chunk that was read.
        bytes: Bytes,
        /// Whether the object is complete with it.
        last: bool,
    },
    /// From what came before (or the start of the range) up to and with this location.
    Gap {
        /// Why.
        missing: Missing,
        /// The last location of it.
        end: Location,
    },
}

/// What both sides remember of the stream so far.
#[derive(Debug, Clone, Default)]
struct Prior {
    /// Of the last object or range.
    location: Option<Location>,
    /// Of the last object.
    subgroup: Option<u64>,
    /// Of the last object.
    priority: Option<u8>,
}

/// Reads a fetch stream, behind its header.
#[derive(Debug)]
pub struct FetchReader {
    version: Version,
    order: GroupOrder,
    prior: Prior,
    payload_left: u64,
    carry: Carry,
    range: Ended,
}

/// Whether an end of a range was the last thing read, or one was at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// None yet.
    None,
    /// The last thing, and behind it no object can say that all of it is as before: a 0 is a payload length.
    ThenNoZero,
    /// The last thing: a 0 may begin an object.
    Last,
    /// Something came behind it.
    Before,
}

enum Parsed {
    Object {
        location: Location,
        via: Via,
        priority: u8,
        properties: std::ops::Range<usize>,
        payload_length: u64,
    },
    Gap(Missing, Location),
}

impl FetchReader {
    /// For the answer to a FETCH that asked for this order.
    pub fn new(version: Version, order: GroupOrder) -> FetchReader {
        let (prior, carry) = (Prior::default(), Carry::default());
        FetchReader { version, order, prior, payload_left: 0, carry, range: Ended::None }
    }

    /// Whether an end of a range was read. What follows one isn't said well enough by the drafts (draft-18 §11.4.4.2): if the
    /// stream can't be read from there on, its sender may have meant well.
    pub fn has_ranges(&self) -> bool {
        self.range != Ended::None
    }

    /// Whether the stream stands inside an object.
    pub fn is_inside_object(&self) -> bool {
        self.payload_left > 0 || !self.carry.is_empty()
    }

    /// Takes the next item out of `input`, which is the next chunk of the stream. `None`: it is used up.
    #[inline]
    pub fn read(&mut self, input: &mut Bytes) -> Result<Option<FetchItem>, DataError> {
        if input.is_empty() {
            return Ok(None);
        }
        if self.payload_left > 0 {
            let bytes = take_payload(&mut self.payload_left, input);
            return Ok(Some(FetchItem::Payload { bytes, last: self.payload_left == 0 }));
        }
        if self.range == Ended::ThenNoZero {
            let length = input[0] == 0;
            self.range = if length { Ended::Before } else { Ended::Last };
            input.advance(usize::from(length));
        }
        let row = self.version.row();
        let (order, prior) = (self.order, &self.prior);
        let parse = |fields: &mut Fields<'_>| parse(row, order, prior, fields);
        let Some((parsed, head)) = self.carry.take(row.integers, input, parse)? else {
            return Ok(None);
        };
        match parsed {
            Parsed::Gap(missing, end) => {
                // The largest object that the draft can name: the group's end.
                let whole = end.object == row.integers.max();
                let prior = self.prior.location.replace(end);
                self.range = match whole || self.prior.priority.is_none() {
                    true => Ended::ThenNoZero,
                    false => Ended::Last,
                };
                if prior.is_some_and(|prior| !is_behind(self.order, prior, end)) {
                    let what = "an end of range before the object before it";
                    return Err(DataError::MalformedTrack(what));
                }
                let object = if whole { crate::Range::WHOLE_GROUP } else { end.object };
                Ok(Some(FetchItem::Gap { missing, end: Location { object, ..end } }))
            }
            Parsed::Object { location, via, priority, properties, payload_length } => {
                let properties = match properties.is_empty() {
                    true => Properties::empty(),
                    false => Properties::of_object(
                        self.version,
                        head.slice(properties),
                        location.group,
                        location.object,
                    )?,
                };
                self.prior.remember(location, via, priority);
                self.payload_left = payload_length;
                if self.range != Ended::None {
                    self.range = Ended::Before;
                }
                Ok(Some(FetchItem::Object(FetchObject {
                    location,
                    via,
                    priority,
                    properties,
                    payload_length,
                })))
            }
        }
    }

    /// The stream ended with a FIN.
    pub fn finish(&self) -> Result<(), Violation> {
        // A last end of a range with a payload length.
        let length = self.range == Ended::Last && self.carry.is_zero();
        if self.is_inside_object() && !length {
            // draft-18 §11.4
            return Err(Violation::protocol("a stream ends in the middle of an object"));
        }
        Ok(())
    }
}

impl Prior {
    fn remember(&mut self, location: Location, via: Via, priority: u8) {
        self.location = Some(location);
        self.priority = Some(priority);
        if let Via::Subgroup(id) = via {
            self.subgroup = Some(id);
        }
    }
}

const NO_PRIOR: Violation =
    Violation::protocol("an object refers to the one before it, but there is none");
const OVERFLOW: Violation = Violation::protocol("an ID on a fetch stream overflows");

#[inline]
fn parse(
    row: &Row,
    order: GroupOrder,
    prior: &Prior,
    fields: &mut Fields<'_>,
) -> Result<Parsed, Stop> {
    let flags = fields.number()?;
    if flags >= 0x80 {
        return parse_gap(row, flags, fields);
    }
    let group = if flags & flag::GROUP != 0 { Some(fields.number()?) } else { None };
    let via = parse_via(prior, flags, fields)?;
    let object = if flags & flag::OBJECT != 0 { Some(fields.number()?) } else { None };
    let location = match row.fetch_ids {
        FetchIds::Deltas => locate(order, prior.location, group, object)?,
        FetchIds::Absolute => locate_absolute(order, prior.location, group, object)?,
    };
    let priority = match flags & flag::PRIORITY {
        0 => prior.priority.ok_or(NO_PRIOR)?,
        _ => fields.byte()?,
    };
    let properties = match flags & flag::PROPERTIES {
        0 => 0..0,
        _ => properties_span(fields)?,
    };
    let payload_length = fields.number()?;
    Ok(Parsed::Object { location, via, priority, properties, payload_length })
}

fn parse_via(prior: &Prior, flags: u64, fields: &mut Fields<'_>) -> Result<Via, Stop> {
    if flags & flag::DATAGRAM != 0 {
        // draft-18 §11.4.4.1: the two bits are ignored. We take them for no field.
        return Ok(Via::Datagram);
    }
    Ok(Via::Subgroup(match flags & flag::SUBGROUP {
        flag::SUBGROUP_ZERO => 0,
        flag::SUBGROUP_PRIOR => prior.subgroup.ok_or(NO_PRIOR)?,
        flag::SUBGROUP_NEXT => prior.subgroup.ok_or(NO_PRIOR)?.checked_add(1).ok_or(OVERFLOW)?,
        _ => fields.number()?,
    }))
}

/// draft-18 §11.4.4.1: where an object is, from its two fields and what came before.
fn locate(
    order: GroupOrder,
    prior: Option<Location>,
    group: Option<u64>,
    object: Option<u64>,
) -> Result<Location, DataError> {
    let Some(prior) = prior else {
        // The first one has both fields, as they are.
        return match (group, object) {
            (Some(group), Some(object)) => Ok(Location { group, object }),
            _ => Err(NO_PRIOR.into()),
        };
    };
    let next = prior.object.checked_add(1);
    match group {
        Some(delta) => {
            let step = delta.checked_add(1).ok_or(OVERFLOW)?;
            let group = match order {
                GroupOrder::Ascending => prior.group.checked_add(step),
                GroupOrder::Descending => prior.group.checked_sub(step),
            };
            let object = object.or(next);
            Ok(Location { group: group.ok_or(OVERFLOW)?, object: object.ok_or(OVERFLOW)? })
        }
        None => {
            let object = match object {
                // draft-18 §10.12.3: objects of a group come in the order of their IDs.
                Some(0) => return Err(DataError::MalformedTrack("an object twice in a fetch")),
                Some(delta) => prior.object.checked_add(delta),
                None => next,
            };
            Ok(Location { group: prior.group, object: object.ok_or(OVERFLOW)? })
        }
    }
}

/// draft-16 §10.4.4.1: the same, with fields that are what they say.
fn locate_absolute(
    order: GroupOrder,
    prior: Option<Location>,
    group: Option<u64>,
    object: Option<u64>,
) -> Result<Location, DataError> {
    let next = match prior {
        Some(prior) => Some(prior.object.checked_add(1).ok_or(OVERFLOW)?),
        None => None,
    };
    let location = Location {
        group: group.or(prior.map(|prior| prior.group)).ok_or(NO_PRIOR)?,
        object: object.or(next).ok_or(NO_PRIOR)?,
    };
    if prior.is_some_and(|prior| !is_behind(order, prior, location)) {
        // draft-16 §2.4.2
        return Err(DataError::MalformedTrack("objects of a fetch are not in its order"));
    }
    Ok(location)
}

/// draft-18 §11.4.4.2, draft-16 §10.4.4.2, draft-21 §11.4.1.2: in all drafts the IDs are as they are, and no payload length follows.
/// The text leaves both open; nearly all others have it so (moq-wg/moq-transport#1861). Some write a payload length of 0 as well:
/// [`FetchReader`] passes over it where it can be nothing else.
fn parse_gap(row: &Row, flags: u64, fields: &mut Fields<'_>) -> Result<Parsed, Stop> {
    let missing = match flags {
        flag::END_OF_NON_EXISTENT => Missing::NonExistent,
        flag::END_OF_UNKNOWN => Missing::Unknown,
        flag::END_OF_TIMED_OUT if row.timed_out_ranges => Missing::TimedOut,
        _ => return Err(Violation::protocol("unknown serialization flags of an object").into()),
    };
    let end = Location { group: fields.number()?, object: fields.number()? };
    Ok(Parsed::Gap(missing, end))
}

/// Whether `next` may follow `prior` on a fetch stream.
fn is_behind(order: GroupOrder, prior: Location, next: Location) -> bool {
    match order {
        GroupOrder::Ascending => next > prior,
        GroupOrder::Descending => {
            next.group < prior.group || (next.group == prior.group && next.object > prior.object)
        }
    }
}

/// Writes a fetch stream: its header, then the heads of objects, whose payloads go between them.
#[derive(Debug, Clone)]
pub struct FetchWriter {
    version: Version,
    order: GroupOrder,
    prior: Prior,
}

impl FetchWriter {
    /// Writes the header of the answer to a FETCH that asked for this order.
    pub fn new(
        version: Version,
        request: RequestId,
        order: GroupOrder,
        out: &mut BytesMut,
    ) -> FetchWriter {
        let coding = version.row().integers;
        coding.write(opening::FETCH, out);
        coding.write(request.0, out);
        FetchWriter { version, order, prior: Prior::default() }
    }

    /// Writes the head of the next object; `payload_length` bytes must follow.
    #[inline]
    pub fn object(&mut self, head: &FetchObject, out: &mut BytesMut) -> Result<(), WriteError> {
        let coding = self.version.row().integers;
        let subgroup_id = match head.via {
            Via::Subgroup(id) => id,
            Via::Datagram => 0,
        };
        if head.location.group.max(head.location.object).max(subgroup_id) > coding.max() {
            return Err(WriteError::TooLarge);
        }
        let (group, object) = self.fields(head.location)?;
        let subgroup = match head.via {
            Via::Datagram => flag::DATAGRAM,
            Via::Subgroup(0) => flag::SUBGROUP_ZERO,
            Via::Subgroup(id) if self.prior.subgroup == Some(id) => flag::SUBGROUP_PRIOR,
            Via::Subgroup(id) if self.prior.subgroup == Some(id - 1) => flag::SUBGROUP_NEXT,
            Via::Subgroup(_) => flag::SUBGROUP_PRESENT,
        };
        let has = |present: bool, flag: u64| if present { flag } else { 0 };
        let new_priority = self.prior.priority != Some(head.priority);
        let flags = subgroup
            | has(group.is_some(), flag::GROUP)
            | has(object.is_some(), flag::OBJECT)
            | has(new_priority, flag::PRIORITY)
            | has(!head.properties.is_empty(), flag::PROPERTIES);
        coding.write(flags, out);
        if let Some(group) = group {
            coding.write(group, out);
        }
        if let (flag::SUBGROUP_PRESENT, Via::Subgroup(id)) = (subgroup, head.via) {
            coding.write(id, out);
        }
        if let Some(object) = object {
            coding.write(object, out);
        }
        if new_priority {
            out.put_u8(head.priority);
        }
        if !head.properties.is_empty() {
            let properties = head.properties.to_wire(self.version);
            coding.write(properties.len() as u64, out);
            out.put_slice(&properties);
        }
        coding.write(head.payload_length, out);
        self.prior.remember(head.location, head.via, head.priority);
        if head.via == Via::Datagram {
            // It has no Subgroup ID to refer to: what an object behind it has is said.
            self.prior.subgroup = None;
        }
        Ok(())
    }

    /// Says that what lies between the last thing written and `end`, inclusive, is missing. The object
    /// [`crate::Range::WHOLE_GROUP`] stands for the largest that the draft can name.
    pub fn gap(
        &mut self,
        missing: Missing,
        end: Location,
        out: &mut BytesMut,
    ) -> Result<(), WriteError> {
        let coding = self.version.row().integers;
        let whole = end.object == crate::Range::WHOLE_GROUP;
        let end = Location { object: if whole { coding.max() } else { end.object }, ..end };
        if end.group.max(end.object) > coding.max() {
            return Err(WriteError::TooLarge);
        }
        if self.prior.location.is_some_and(|prior| !is_behind(self.order, prior, end)) {
            return Err(WriteError::Order);
        }
        let flags = match missing {
            Missing::NonExistent => flag::END_OF_NON_EXISTENT,
            Missing::TimedOut if self.version.row().timed_out_ranges => flag::END_OF_TIMED_OUT,
            Missing::Unknown | Missing::TimedOut => flag::END_OF_UNKNOWN,
        };
        coding.write(flags, out);
        coding.write(end.group, out);
        coding.write(end.object, out);
        self.prior.location = Some(end);
        Ok(())
    }

    /// The group and object field of the next object.
    fn fields(&self, next: Location) -> Result<(Option<u64>, Option<u64>), WriteError> {
        let Some(prior) = self.prior.location else {
            return Ok((Some(next.group), Some(next.object)));
        };
        if !is_behind(self.order, prior, next) {
            return Err(WriteError::Order);
        }
        let follows = prior.object.checked_add(1) == Some(next.object);
        if self.version.row().fetch_ids == FetchIds::Absolute {
            let group = (next.group != prior.group).then_some(next.group);
            return Ok((group, (!follows).then_some(next.object)));
        }
        if next.group == prior.group {
            return Ok((None, (!follows).then(|| next.object - prior.object)));
        }
        let delta = next.group.abs_diff(prior.group) - 1;
        Ok((Some(delta), (!follows).then_some(next.object)))
    }
}
