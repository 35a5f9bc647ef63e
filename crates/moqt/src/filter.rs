//! Which objects a subscriber wants: by their place (draft-18 §5.1.2, draft-21 §3.3.1), and by other numbers
//! of theirs (draft-21 §3.3.2).

use bytes::{Bytes, BytesMut};

use crate::error::Violation;
use crate::location::{Location, Range};
use crate::varint::Coding;
use crate::version::FilterForm;
use crate::wire::{Body, Writer};

/// Which objects a subscriber wants: of those that are published from now on, or (in a FETCH or a fill) of
/// those that were. Without a filter: all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Filter {
    /// All: takes a filter away that was set before. Drafts before 20 write it as a start at `{0, 0}`, and 20
    /// and 21 write that so.
    All,
    /// From `{Largest.Group + 1, 0}` on.
    NextGroup,
    /// From so many groups before that on, at least 1, which is the group of the largest object. Of drafts
    /// from 20 on.
    Recent(u64),
    /// From `{Largest.Group, Largest.Object + 1}` on.
    NextObject,
    /// From this place on.
    From(Location),
    /// From this place to the end of group `end_group`. If that is before `start.group`, which only draft 16
    /// can say, nothing passes.
    Range {
        /// The first place.
        start: Location,
        /// The last group.
        end_group: u64,
    },
    /// From this place to this one, inclusive. Of drafts from 20 on.
    Within(Range),
}

impl Filter {
    /// Whether nothing can pass, in drafts that say so to who asks.
    pub(crate) fn is_backward(self) -> bool {
        matches!(self, Filter::Range { start, end_group } if end_group < start.group)
    }

    /// The first place that passes and the last one, if there is one, given the largest place so far. The
    /// object of the last is [`Range::WHOLE_GROUP`] where the group is wanted to its end.
    pub fn resolve(self, largest: Option<Location>) -> (Location, Option<Location>) {
        // draft-21 §3.3.1: what is computed stays among the numbers that there are.
        let group = |before: u64| match largest {
            None => 0,
            Some(largest) if before == 0 => largest.group.saturating_add(1),
            Some(largest) => largest.group.saturating_sub(before - 1),
        };
        match self {
            Filter::All => (Location::default(), None),
            Filter::NextGroup => (Location::new(group(0), 0), None),
            Filter::Recent(groups) => (Location::new(group(groups), 0), None),
            Filter::NextObject => {
                let next = |it: Location| Location::new(it.group, it.object.saturating_add(1));
                (largest.map_or(Location::default(), next), None)
            }
            Filter::From(start) => (start, None),
            Filter::Range { start, end_group } => {
                (start, Some(Location::new(end_group, Range::WHOLE_GROUP)))
            }
            Filter::Within(range) => (range.start, Some(range.end)),
        }
    }

    /// What of the past it selects, given the largest place so far (draft-21 §3.3.1: of a FETCH): nothing
    /// behind that.
    pub fn past(self, largest: Location) -> Range {
        let (start, end) = self.resolve(Some(largest));
        Range { start, end: end.map_or(largest, |end| end.min(largest)) }
    }

    /// The filter that selects a range.
    pub(crate) fn of_range(range: Range) -> Filter {
        match range.end.object {
            Range::WHOLE_GROUP => Filter::Range { start: range.start, end_group: range.end.group },
            _ => Filter::Within(range),
        }
    }

    /// The range that it selects, if it does so whatever the largest object is.
    pub(crate) fn range(self) -> Option<Range> {
        let (start, end) = self.resolve(None);
        end.map(|end| Range { start, end })
    }

    /// Whether a draft can write it.
    pub(crate) fn is_writable(self, form: FilterForm) -> bool {
        match form {
            FilterForm::AbsoluteEnd | FilterForm::DeltaEnd => {
                !matches!(self, Filter::Recent(_) | Filter::Within(_))
            }
            FilterForm::Fields | FilterForm::Typed => true,
        }
    }

    /// Reads what stands in a parameter of its own length.
    pub(crate) fn decode(form: FilterForm, mut body: Body) -> Result<Filter, Violation> {
        let filter = match form {
            FilterForm::Fields => return Filter::decode_fields(body),
            FilterForm::Typed => Filter::decode_typed(&mut body)?,
            FilterForm::AbsoluteEnd | FilterForm::DeltaEnd => match body.number()? {
                1 => Filter::NextGroup,
                2 => Filter::NextObject,
                3 => Filter::From(body.location()?),
                4 => {
                    let start = body.location()?;
                    let end = body.number()?;
                    let end_group = match form {
                        FilterForm::AbsoluteEnd => end,
                        _ => end_of(start, end)?,
                    };
                    Filter::Range { start, end_group }
                }
                _ => return Err(UNKNOWN_TYPE),
            },
        };
        body.end()?;
        Ok(filter)
    }

    /// draft-21 §9.20.10: as many numbers as its length holds. (The text counts bytes; numbers of several
    /// bytes leave no other reading than this, which others have as well.)
    fn decode_fields(mut body: Body) -> Result<Filter, Violation> {
        let mut fields = [0; 4];
        let mut count = 0;
        while !body.is_empty() {
            let field = fields.get_mut(count);
            *field.ok_or(Violation::protocol("a location filter of more than four fields"))? =
                body.number()?;
            count += 1;
        }
        match count {
            2 if fields[..2] == [0, 0] => Ok(Filter::NextObject),
            count => Filter::of_fields(&fields[..count]),
        }
    }

    /// Draft 22: a type, then the numbers that it has; no length.
    pub(crate) fn decode_typed(body: &mut Body) -> Result<Filter, Violation> {
        let count = match body.number()? {
            5 => return Ok(Filter::NextObject),
            count @ 0..=4 => count as usize,
            _ => return Err(UNKNOWN_TYPE),
        };
        let mut fields = [0; 4];
        for field in &mut fields[..count] {
            *field = body.number()?;
        }
        Filter::of_fields(&fields[..count])
    }

    fn of_fields(fields: &[u64]) -> Result<Filter, Violation> {
        Ok(match *fields {
            [] => Filter::All,
            [0] => Filter::NextGroup,
            [groups] => Filter::Recent(groups),
            [group, object] => Filter::From(Location::new(group, object)),
            [group, object, delta] => {
                let start = Location::new(group, object);
                Filter::Range { start, end_group: end_of(start, delta)? }
            }
            [group, object, delta, end_object, ..] => {
                let start = Location::new(group, object);
                let end = Location::new(end_of(start, delta)?, end_object);
                Filter::Within(Range { start, end })
            }
        })
    }

    /// Writes what stands in the parameter, without a length.
    pub(crate) fn encode(self, form: FilterForm, out: &mut Writer<'_>) {
        if matches!(form, FilterForm::Fields | FilterForm::Typed) {
            return self.encode_fields(form, out);
        }
        match self {
            Filter::NextGroup => out.number(1),
            Filter::NextObject => out.number(2),
            Filter::From(start) => {
                out.number(3);
                out.location(start);
            }
            Filter::Range { start, end_group } => {
                out.number(4);
                out.location(start);
                // A range that ends before it begins is one that ends where it begins: the wire has no other.
                out.number(match form {
                    FilterForm::AbsoluteEnd => end_group,
                    _ => end_group.saturating_sub(start.group),
                });
            }
            // The last two are never written so: they are not writable.
            Filter::All | Filter::Recent(_) | Filter::Within(_) => {
                out.number(3);
                out.location(Location::default());
            }
        }
    }

    fn encode_fields(self, form: FilterForm, out: &mut Writer<'_>) {
        let group_delta = |start: Location, end: u64| end.saturating_sub(start.group);
        let mut fields = [0; 4];
        let count = match self {
            Filter::NextObject if form == FilterForm::Typed => {
                return out.number(5);
            }
            // Two fields of 0 are the next object.
            Filter::From(start) if form == FilterForm::Fields && start == Location::default() => 0,
            Filter::All => 0,
            Filter::NextGroup => 1,
            Filter::NextObject => 2,
            Filter::Recent(groups) => {
                fields[0] = groups;
                1
            }
            Filter::From(start) => {
                fields[..2].copy_from_slice(&[start.group, start.object]);
                2
            }
            Filter::Range { start, end_group } => {
                let delta = group_delta(start, end_group);
                fields[..3].copy_from_slice(&[start.group, start.object, delta]);
                3
            }
            Filter::Within(Range { start, end }) => {
                fields = [start.group, start.object, group_delta(start, end.group), end.object];
                4
            }
        };
        if form == FilterForm::Typed {
            out.number(count as u64);
        }
        fields[..count].iter().for_each(|field| out.number(*field));
    }
}

const UNKNOWN_TYPE: Violation = Violation::protocol("a filter of an unknown type");

fn end_of(start: Location, delta: u64) -> Result<u64, Violation> {
    let end = start.group.checked_add(delta);
    end.ok_or(Violation::protocol("the end of a filter overflows"))
}

/// What a range filter looks at (draft-21 §9.20.11 to §9.20.15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ranged {
    /// The subgroup's ID.
    Subgroup,
    /// The object's ID.
    Object,
    /// The publisher's priority.
    Priority,
    /// A property of the object.
    ObjectProperty,
    /// A property of the track.
    TrackProperty,
}

/// A range filter as it came. What is wrong in one is answered, and does not end the session (draft-21
/// §3.3.2); so it is read only when it is judged, by [`RangeFilter::ranges`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeFilter {
    /// What it looks at.
    pub of: Ranged,
    /// Empty: no such filter any more.
    value: Bytes,
}

/// What a range filter lets pass: the ranges are ORed, filters of one set are ANDed, sets are ORed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranges {
    /// Which set it belongs to.
    pub set: u8,
    /// The type of the property that it looks at.
    pub property: Option<u64>,
    /// First and last number; only the last range can be open.
    pub ranges: Vec<(u64, Option<u64>)>,
}

/// INVALID_FILTER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidFilter(pub &'static str);

impl RangeFilter {
    /// Writes one. Ranges rise and do not overlap.
    pub fn new(of: Ranged, ranges: &Ranges) -> RangeFilter {
        let mut value = BytesMut::new();
        let mut out = Writer::new(CODING, &mut value);
        out.byte(ranges.set);
        if let Some(property) = ranges.property {
            out.number(property);
        }
        let mut last = 0u64;
        for (start, end) in &ranges.ranges {
            out.number(start.saturating_sub(last));
            if let Some(end) = end {
                out.number(end.saturating_sub(*start));
                last = *end;
            }
        }
        RangeFilter { of, value: value.freeze() }
    }

    /// One that takes filters away.
    pub fn none(of: Ranged) -> RangeFilter {
        RangeFilter { of, value: Bytes::new() }
    }

    pub(crate) fn from_wire(of: Ranged, value: Bytes) -> RangeFilter {
        RangeFilter { of, value }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.value
    }

    /// What it says (draft-21 §8.6); nothing: it takes a filter away.
    pub fn ranges(&self) -> Result<Option<Ranges>, InvalidFilter> {
        if self.value.is_empty() {
            return Ok(None);
        }
        let mut body = Body::new(CODING, self.value.clone());
        let cut_off = |_| InvalidFilter("a range filter ends inside a field");
        let set = body.byte().map_err(cut_off)?;
        let mut property = None;
        if matches!(self.of, Ranged::ObjectProperty | Ranged::TrackProperty) {
            let kind = body.number().map_err(cut_off)?;
            if kind % 2 != 0 {
                return Err(InvalidFilter("a filter of a property that is no number"));
            }
            property = Some(kind);
        }
        let (mut ranges, mut last) = (Vec::new(), 0u64);
        while !body.is_empty() {
            let overflow = InvalidFilter("a range filter overflows");
            let start = last.checked_add(body.number().map_err(cut_off)?).ok_or(overflow)?;
            let end = match body.is_empty() {
                true => None,
                false => Some(start.checked_add(body.number().map_err(cut_off)?).ok_or(overflow)?),
            };
            if self.of == Ranged::Priority && end.unwrap_or(start) > 255 {
                return Err(InvalidFilter("a filter of a priority above 255"));
            }
            last = end.unwrap_or(start);
            ranges.push((start, end));
        }
        Ok(Some(Ranges { set, property, ranges }))
    }
}

/// That of all drafts that have such filters.
const CODING: Coding = Coding::Vi64;

#[cfg(test)]
mod tests {
    use super::*;

    const LARGEST: Location = Location::new(7, 3);

    #[test]
    fn draft18_s5_1_2_draft21_s3_3_1_filters() {
        let (start, end) = (Location::new(2, 9), Location::new(4, 1));
        let whole = Some(Location::new(4, Range::WHOLE_GROUP));
        for (filter, largest, want) in [
            (Filter::All, Some(LARGEST), (Location::new(0, 0), None)),
            (Filter::NextGroup, None, (Location::new(0, 0), None)),
            (Filter::NextObject, None, (Location::new(0, 0), None)),
            (Filter::Recent(3), None, (Location::new(0, 0), None)),
            (Filter::NextGroup, Some(LARGEST), (Location::new(8, 0), None)),
            (Filter::NextObject, Some(LARGEST), (Location::new(7, 4), None)),
            (Filter::Recent(1), Some(LARGEST), (Location::new(7, 0), None)),
            (Filter::Recent(3), Some(LARGEST), (Location::new(5, 0), None)),
            (Filter::Recent(u64::MAX), Some(LARGEST), (Location::new(0, 0), None)),
            (Filter::From(start), Some(LARGEST), (start, None)),
            (Filter::Range { start, end_group: 4 }, Some(LARGEST), (start, whole)),
            (Filter::Within(Range { start, end }), Some(LARGEST), (start, Some(end))),
        ] {
            assert_eq!(filter.resolve(largest), want, "{filter:?}");
        }
    }

    #[test]
    fn draft21_s3_3_1_the_past_ends_with_the_largest_object() {
        let (start, end) = (Location::new(2, 9), Location::new(9, 1));
        for (filter, want) in [
            (Filter::All, (Location::default(), LARGEST)),
            (Filter::Recent(2), (Location::new(6, 0), LARGEST)),
            (Filter::Within(Range { start, end }), (start, LARGEST)),
            (Filter::Range { start, end_group: 6 }, (start, Location::new(6, u64::MAX))),
        ] {
            let range = filter.past(LARGEST);
            assert_eq!((range.start, range.end), want, "{filter:?}");
        }
        assert!(Filter::NextObject.past(LARGEST).is_backward());
    }

    fn written(form: FilterForm, filter: Filter) -> Vec<u8> {
        let mut out = BytesMut::new();
        filter.encode(form, &mut Writer::new(CODING, &mut out));
        out.to_vec()
    }

    /// Each in the forms of 20 and of 22. Only numbers above 127 tell a length from a type.
    #[test]
    fn draft21_s9_20_10_filters_on_the_wire() {
        let (start, end) = (Location::new(300, 2), Location::new(301, 5));
        for (filter, fields, typed) in [
            (Filter::All, &[][..], &[0][..]),
            (Filter::NextGroup, &[0], &[1, 0]),
            (Filter::Recent(300), &[0x81, 0x2c], &[1, 0x81, 0x2c]),
            (Filter::NextObject, &[0, 0], &[5]),
            (Filter::From(start), &[0x81, 0x2c, 2], &[2, 0x81, 0x2c, 2]),
            (Filter::Range { start, end_group: 301 }, &[0x81, 0x2c, 2, 1], &[3, 0x81, 0x2c, 2, 1]),
            (
                Filter::Within(Range { start, end }),
                &[0x81, 0x2c, 2, 1, 5],
                &[4, 0x81, 0x2c, 2, 1, 5],
            ),
        ] {
            for (form, bytes) in [(FilterForm::Fields, fields), (FilterForm::Typed, typed)] {
                assert_eq!(written(form, filter), bytes, "{filter:?}");
                let body = Body::new(CODING, Bytes::copy_from_slice(bytes));
                assert_eq!(Filter::decode(form, body), Ok(filter));
            }
        }
        // "From the start" has no form of its own in 20 and 21.
        let from_start = Filter::From(Location::default());
        assert_eq!(written(FilterForm::Fields, from_start), []);
        assert_eq!(written(FilterForm::Typed, from_start), [2, 0, 0]);
        for (form, bytes) in [
            (FilterForm::Fields, &[1, 2, 3, 4, 5][..]),
            (FilterForm::Fields, &[1, 0x81]),
            (FilterForm::Fields, &[0xff; 9]),
            (FilterForm::Fields, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x01"),
            (FilterForm::Typed, &[]),
            (FilterForm::Typed, &[6]),
            (FilterForm::Typed, &[2, 1]),
            (FilterForm::Typed, &[1, 0, 0]),
            (FilterForm::Typed, b"\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x01"),
        ] {
            let body = Body::new(CODING, Bytes::copy_from_slice(bytes));
            let is_one = bytes == [0xff; 9];
            assert_eq!(Filter::decode(form, body).is_ok(), is_one, "{form:?} {bytes:x?}");
        }
    }

    #[test]
    fn draft21_s8_6_range_filters() {
        let of = Ranged::Object;
        // The example of the draft.
        let ranges = vec![(3, Some(5)), (10, Some(15))];
        let said = Ranges { set: 0, property: None, ranges };
        let filter = RangeFilter::new(of, &said);
        assert_eq!(filter.as_bytes(), [0, 3, 2, 5, 5]);
        assert_eq!(filter.ranges(), Ok(Some(said)));
        assert_eq!(RangeFilter::none(of).ranges(), Ok(None));
        let open = Ranges { set: 9, property: Some(300), ranges: vec![(1, None)] };
        let filter = RangeFilter::new(Ranged::TrackProperty, &open);
        assert_eq!(filter.as_bytes(), [9, 0x81, 0x2c, 1]);
        assert_eq!(filter.ranges(), Ok(Some(open)));
        for (of, bytes) in [
            (of, &b"\x00\x81"[..]),
            (of, b"\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
            (of, b"\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
            (Ranged::Priority, &[0, 0x81, 0x00]),
            (Ranged::Priority, &[0, 200, 100]),
            (Ranged::ObjectProperty, &[0, 3, 1, 1]),
            (Ranged::ObjectProperty, &[0]),
        ] {
            let filter = RangeFilter::from_wire(of, Bytes::copy_from_slice(bytes));
            assert!(filter.ranges().is_err(), "{of:?} {bytes:x?}");
        }
    }
}
