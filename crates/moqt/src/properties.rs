//! Properties of tracks and objects: key-value pairs (draft-18 §1.4.3, §2.5, §12).
//!
//! They are kept as the bytes that came, checked, and forwarded so: what is not understood must not be
//! changed, and what is immutable not even be encoded anew. Between drafts whose integers differ only the
//! bytes change: here they are always in the form of the later ones.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::{DataError, Violation};
use crate::limits;
use crate::location::GroupOrder;
use crate::varint::Coding;
use crate::version::Version;
use crate::wire::Body;

/// The types that draft 18 defines (§12).
pub mod kind {
    /// Track: milliseconds.
    pub const OBJECT_DELIVERY_TIMEOUT: u64 = 0x02;
    /// Track: milliseconds.
    pub const MAX_CACHE_DURATION: u64 = 0x04;
    /// Track: milliseconds.
    pub const SUBGROUP_DELIVERY_TIMEOUT: u64 = 0x06;
    /// Track, object: pairs that nobody but the original publisher adds, changes or removes.
    pub const IMMUTABLE_PROPERTIES: u64 = 0x0b;
    /// Track: 0 to 255, default 128.
    pub const DEFAULT_PUBLISHER_PRIORITY: u64 = 0x0e;
    /// Track: 1 ascending (the default), 2 descending.
    pub const DEFAULT_PUBLISHER_GROUP_ORDER: u64 = 0x22;
    /// Track: 1: NEW_GROUP_REQUEST is served.
    pub const DYNAMIC_GROUPS: u64 = 0x30;
    /// Object: so many groups before this one never exist.
    pub const PRIOR_GROUP_ID_GAP: u64 = 0x3c;
    /// Object: so many objects before this one never exist.
    pub const PRIOR_OBJECT_ID_GAP: u64 = 0x3e;
    /// Types that a track is not forwarded with by who does not understand them (§2.5.1).
    pub const MANDATORY: std::ops::RangeInclusive<u64> = 0x4000..=0x7fff;
}

/// The value of one property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Of an even type.
    Number(u64),
    /// Of an odd type; at most 65,535 bytes.
    Bytes(&'a [u8]),
}

/// A well-formed sequence of key-value pairs.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Properties(Bytes);

impl Properties {
    /// No property.
    pub const fn empty() -> Properties {
        Properties(Bytes::new())
    }

    /// Writes these pairs, by rising type.
    pub fn from_pairs(pairs: &[(u64, Value<'_>)]) -> Result<Properties, PairError> {
        let mut sorted: Vec<_> = pairs.iter().collect();
        sorted.sort_by_key(|(kind, _)| *kind);
        let mut out = BytesMut::new();
        let mut previous = 0;
        for (kind, value) in sorted {
            match value {
                Value::Number(_) if kind % 2 == 0 => {}
                Value::Bytes(bytes) if kind % 2 == 1 => {
                    if bytes.len() as u64 > limits::PAIR_VALUE_BYTES_MAX {
                        return Err(PairError::TooLong);
                    }
                }
                _ => return Err(PairError::WrongKind),
            }
            put_pair(CANONICAL, &mut previous, *kind, *value, &mut out);
        }
        Ok(Properties(out.freeze()))
    }

    /// As they stand on the wire of drafts from 17 on, and as [`Properties::from_checked`] takes them.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pairs in order. What is inside IMMUTABLE_PROPERTIES is not among them.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Value<'_>)> {
        // A parsed sequence has no errors.
        Pairs::new(CANONICAL, &self.0).map_while(Result::ok)
    }

    /// The first value of a type, also from inside IMMUTABLE_PROPERTIES (draft-18 §12.7).
    pub fn find(&self, kind: u64) -> Option<Value<'_>> {
        let immutable = |pair: &(u64, Value<'_>)| pair.0 == kind::IMMUTABLE_PROPERTIES;
        let wanted = |pair: &(u64, Value<'_>)| pair.0 == kind;
        self.iter()
            .find(wanted)
            .or_else(|| {
                self.iter().filter(immutable).find_map(|(_, value)| match value {
                    Value::Bytes(bytes) => {
                        Pairs::new(CANONICAL, bytes).map_while(Result::ok).find(wanted)
                    }
                    Value::Number(_) => None,
                })
            })
            .map(|(_, value)| value)
    }

    /// Pairs that were checked when they came in, or that the owner wrote itself.
    pub fn from_checked(bytes: Bytes) -> Properties {
        Properties(bytes)
    }

    /// The first number of an even type.
    pub fn number(&self, kind: u64) -> Option<u64> {
        match self.find(kind) {
            Some(Value::Number(number)) => Some(number),
            _ => None,
        }
    }

    /// A track's properties: the rest of a message.
    pub(crate) fn of_track(version: Version, body: Body) -> Result<Properties, Violation> {
        let coding = body.coding();
        let bytes = body.into_bytes();
        for pair in Pairs::new(coding, &bytes) {
            let (kind, value) = pair.map_err(PairsError::violation)?;
            match (kind, value) {
                // draft-16 §11.1.1
                (kind::OBJECT_DELIVERY_TIMEOUT, Value::Number(0))
                    if !version.row().zero_timeout =>
                {
                    return Err(Violation::protocol("DELIVERY_TIMEOUT is 0"));
                }
                // draft-18 §12.5
                (kind::DEFAULT_PUBLISHER_GROUP_ORDER, Value::Number(n))
                    if !(1..=2).contains(&n) =>
                {
                    return Err(Violation::protocol("the publisher's group order is not 1 or 2"));
                }
                // draft-18 §12.6
                (kind::DYNAMIC_GROUPS, Value::Number(n)) if n > 1 => {
                    return Err(Violation::protocol("dynamic groups are not 0 or 1"));
                }
                // draft-18 §12.4
                (kind::DEFAULT_PUBLISHER_PRIORITY, Value::Number(n)) if n > 255 => {
                    return Err(Violation::protocol("the publisher's priority is above 255"));
                }
                _ => {}
            }
        }
        Ok(Properties(recode(coding, CANONICAL, bytes)))
    }

    /// As they stand on the wire of a draft.
    pub(crate) fn to_wire(&self, version: Version) -> Bytes {
        recode(CANONICAL, version.row().integers, self.0.clone())
    }

    /// An object's properties, which must be the whole of `bytes`.
    pub(crate) fn of_object(
        version: Version,
        bytes: Bytes,
        group: u64,
        object: u64,
    ) -> Result<Properties, DataError> {
        check_object(version, &bytes, group, object)?;
        Ok(Properties(recode(version.row().integers, CANONICAL, bytes)))
    }

    /// OBJECT_DELIVERY_TIMEOUT of a track in milliseconds; 0: none.
    pub fn object_delivery_timeout_ms(&self) -> u64 {
        self.number(kind::OBJECT_DELIVERY_TIMEOUT).unwrap_or(0)
    }

    /// SUBGROUP_DELIVERY_TIMEOUT of a track in milliseconds; 0: none.
    pub fn subgroup_delivery_timeout_ms(&self) -> u64 {
        self.number(kind::SUBGROUP_DELIVERY_TIMEOUT).unwrap_or(0)
    }

    /// MAX_CACHE_DURATION of a track in milliseconds.
    pub fn max_cache_duration_ms(&self) -> Option<u64> {
        self.number(kind::MAX_CACHE_DURATION)
    }

    /// DEFAULT_PUBLISHER_PRIORITY of a track.
    pub fn default_priority(&self) -> u8 {
        let number = self.number(kind::DEFAULT_PUBLISHER_PRIORITY);
        number.and_then(|number| number.try_into().ok()).unwrap_or(128)
    }

    /// DEFAULT_PUBLISHER_GROUP_ORDER of a track.
    pub fn default_group_order(&self) -> GroupOrder {
        match self.number(kind::DEFAULT_PUBLISHER_GROUP_ORDER) {
            Some(2) => GroupOrder::Descending,
            _ => GroupOrder::Ascending,
        }
    }

    /// DYNAMIC_GROUPS of a track.
    pub fn dynamic_groups(&self) -> bool {
        self.number(kind::DYNAMIC_GROUPS) == Some(1)
    }

    /// The first Mandatory Track Property (draft-18 §2.5.1) that is not in `understood`.
    pub fn mandatory_unknown(&self, understood: &[u64]) -> Option<u64> {
        let unknown = |kind: &u64| kind::MANDATORY.contains(kind) && !understood.contains(kind);
        let nested = |value: Value<'_>| match value {
            Value::Bytes(bytes) => {
                let pairs = Pairs::new(CANONICAL, bytes).map_while(Result::ok);
                pairs.map(|(kind, _)| kind).find(unknown)
            }
            Value::Number(_) => None,
        };
        self.iter().find_map(|(kind, value)| match kind {
            kind::IMMUTABLE_PROPERTIES => nested(value),
            kind => Some(kind).filter(unknown),
        })
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(kind, value)| (format!("{kind:#x}"), value)))
            .finish()
    }
}

/// Properties that can't be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// Even types are numbers, odd ones bytes (draft-18 §1.4.3).
    #[error("a property of an even type is a number, one of an odd type is bytes")]
    WrongKind,
    /// More than 65,535 bytes.
    #[error("a property has at most 65,535 bytes")]
    TooLong,
}

/// Why a sequence of pairs is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PairsError {
    /// draft-18 §1.4.3: a type above 2^64 - 1.
    Type,
    /// draft-18 §1.4.3: a value above 65,535 bytes.
    Length,
    /// The sequence ends inside a pair.
    CutOff,
}

impl PairsError {
    pub(crate) fn violation(self) -> Violation {
        match self {
            PairsError::Type => Violation::protocol("the type of a key-value pair overflows"),
            PairsError::Length => Violation::protocol("a value is longer than 65,535 bytes"),
            PairsError::CutOff => Violation::new(
                crate::code::SessionCode::KeyValueFormattingError,
                "a key-value pair is cut off",
            ),
        }
    }
}

/// Iterates over a sequence of pairs without taking memory; ends after an error.
pub(crate) struct Pairs<'a> {
    coding: Coding,
    rest: &'a [u8],
    previous: u64,
}

impl<'a> Pairs<'a> {
    pub(crate) fn new(coding: Coding, bytes: &'a [u8]) -> Pairs<'a> {
        Pairs { coding, rest: bytes, previous: 0 }
    }

    fn pair(&mut self) -> Result<(u64, Value<'a>), PairsError> {
        let delta = self.number()?;
        let kind = self.previous.checked_add(delta).ok_or(PairsError::Type)?;
        self.previous = kind;
        let number = self.number()?;
        if kind.is_multiple_of(2) {
            return Ok((kind, Value::Number(number)));
        }
        if number > limits::PAIR_VALUE_BYTES_MAX {
            return Err(PairsError::Length);
        }
        let (value, rest) =
            self.rest.split_at_checked(number as usize).ok_or(PairsError::CutOff)?;
        self.rest = rest;
        Ok((kind, Value::Bytes(value)))
    }

    fn number(&mut self) -> Result<u64, PairsError> {
        let (value, length) = self.coding.read(self.rest).map_err(|_| PairsError::CutOff)?;
        self.rest = &self.rest[length..];
        Ok(value)
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Result<(u64, Value<'a>), PairsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let pair = self.pair();
        if pair.is_err() {
            self.rest = &[];
        }
        Some(pair)
    }
}

/// What can be said of an object's properties without other objects.
fn check_object(version: Version, bytes: &[u8], group: u64, object: u64) -> Result<(), DataError> {
    let mut gaps = Gaps { version, group: false, object: false };
    let mut immutable = false;
    for pair in Pairs::new(version.row().integers, bytes) {
        let (kind, value) = pair.map_err(PairsError::violation)?;
        match value {
            Value::Bytes(nested) if kind == kind::IMMUTABLE_PROPERTIES => {
                // draft-18 §12.7
                if std::mem::replace(&mut immutable, true) {
                    return Err(DataError::MalformedTrack(
                        "two immutable properties in one object",
                    ));
                }
                check_immutable(nested, &mut gaps, group, object)?;
            }
            value => gaps.check(kind, value, group, object)?,
        }
    }
    Ok(())
}

fn check_immutable(
    bytes: &[u8],
    gaps: &mut Gaps,
    group: u64,
    object: u64,
) -> Result<(), DataError> {
    for pair in Pairs::new(gaps.version.row().integers, bytes) {
        // draft-18 §12.7: a pair inside that can't be parsed, or another 0xB, is the track's fault, not
        // the peer's, who may not look inside.
        let unreadable = |_| DataError::MalformedTrack("unreadable immutable properties");
        let (kind, value) = pair.map_err(unreadable)?;
        if kind == kind::IMMUTABLE_PROPERTIES {
            return Err(DataError::MalformedTrack("immutable properties inside each other"));
        }
        gaps.check(kind, value, group, object)?;
    }
    Ok(())
}

struct Gaps {
    version: Version,
    group: bool,
    object: bool,
}

impl Gaps {
    fn check(
        &mut self,
        kind: u64,
        value: Value<'_>,
        group: u64,
        object: u64,
    ) -> Result<(), DataError> {
        let (seen, id) = match kind {
            // draft-18 §12.8, §12.9
            kind::PRIOR_GROUP_ID_GAP => (&mut self.group, group),
            kind::PRIOR_OBJECT_ID_GAP => (&mut self.object, object),
            // draft-18 §2.5.1
            kind if kind::MANDATORY.contains(&kind) && self.version.row().mandatory_properties => {
                return Err(DataError::MalformedTrack("a mandatory track property on an object"));
            }
            _ => return Ok(()),
        };
        if std::mem::replace(seen, true) {
            return Err(DataError::MalformedTrack("a gap property twice in one object"));
        }
        match value {
            Value::Number(gap) if gap > id => {
                Err(DataError::MalformedTrack("a gap that is larger than the ID before it"))
            }
            _ => Ok(()),
        }
    }
}

/// The form in memory.
const CANONICAL: Coding = Coding::Vi64;

fn put_pair(coding: Coding, previous: &mut u64, kind: u64, value: Value<'_>, out: &mut BytesMut) {
    coding.write(kind - *previous, out);
    *previous = kind;
    match value {
        Value::Number(number) => coding.write(number, out),
        Value::Bytes(bytes) => {
            coding.write(bytes.len() as u64, out);
            out.put_slice(bytes);
        }
    }
}

/// The same pairs with integers of another form. What is inside IMMUTABLE_PROPERTIES is pairs as well, and
/// could not be read otherwise. A pair with a number that the form has not, or a step to its type, is left out.
fn recode(from: Coding, to: Coding, bytes: Bytes) -> Bytes {
    match from == to || bytes.is_empty() {
        true => bytes,
        false => recode_pairs(from, to, &bytes, true),
    }
}

/// `outer`: not inside IMMUTABLE_PROPERTIES, where another one would be an error.
fn recode_pairs(from: Coding, to: Coding, bytes: &[u8], outer: bool) -> Bytes {
    let (mut out, mut previous) = (BytesMut::with_capacity(bytes.len()), 0);
    for (kind, value) in Pairs::new(from, bytes).map_while(Result::ok) {
        let nested;
        let value = match value {
            Value::Bytes(inside) if outer && kind == kind::IMMUTABLE_PROPERTIES => {
                nested = recode_pairs(from, to, inside, false);
                Value::Bytes(&nested)
            }
            value => value,
        };
        let fits = !matches!(value, Value::Number(number) if number > to.max())
            && !matches!(value, Value::Bytes(bytes) if bytes.len() as u64 > limits::PAIR_VALUE_BYTES_MAX);
        if fits && kind.wrapping_sub(previous) <= to.max() {
            put_pair(to, &mut previous, kind, value, &mut out);
        }
    }
    out.freeze()
}

#[cfg(test)]
#[path = "properties_tests.rs"]
mod tests;
