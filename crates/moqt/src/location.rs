//! Where an object stands in its track, and ranges of the past.

/// A place in a track (draft-18 §1.4.2), ordered by group, then object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Location {
    /// Group ID.
    pub group: u64,
    /// Object ID.
    pub object: u64,
}

impl Location {
    /// `{group, object}`, as the drafts write it.
    pub const fn new(group: u64, object: u64) -> Location {
        Location { group, object }
    }
}

/// Which groups first (draft-18 §10.2.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum GroupOrder {
    /// Old ones first.
    #[default]
    Ascending,
    /// New ones first.
    Descending,
}

/// A closed range of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range {
    /// The first place.
    pub start: Location,
    /// The last place that is wanted, inclusive. [`Range::WHOLE_GROUP`] as object: to the group's end.
    pub end: Location,
}

impl Range {
    /// The object ID that stands for "the end of the group, wherever it is". From draft 20 on it is also
    /// written so: 2^64 - 1.
    pub const WHOLE_GROUP: u64 = u64::MAX;

    /// From the coding of drafts up to 19 (draft-18 §10.12.1): the end is one more than the last object,
    /// and 0 means the whole group.
    pub(crate) fn from_wire(start: Location, end: Location) -> Range {
        // 0 wraps to the greatest number, which is the mark for the whole group.
        Range { start, end: Location::new(end.group, end.object.wrapping_sub(1)) }
    }

    /// The end in that coding.
    pub(crate) fn end_to_wire(end: Location) -> Location {
        Location::new(end.group, end.object.wrapping_add(1))
    }

    /// Whether nothing can be in it.
    pub fn is_backward(&self) -> bool {
        self.end < self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draft18_s10_12_1_ends() {
        let start = Location::new(5, 2);
        for (wire, end, backward) in [
            (Location::new(5, 0), Location::new(5, Range::WHOLE_GROUP), false),
            (Location::new(5, 3), Location::new(5, 2), false),
            (Location::new(5, 2), Location::new(5, 1), true),
            (Location::new(4, 0), Location::new(4, Range::WHOLE_GROUP), true),
        ] {
            let range = Range::from_wire(start, wire);
            assert_eq!(range.end, end);
            assert_eq!(range.is_backward(), backward, "{wire:?}");
            assert_eq!(Range::end_to_wire(range.end), wire);
        }
    }
}
