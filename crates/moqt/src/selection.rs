//! The range filters of a request put together (draft-21 §3.3.2): which objects pass, and which tracks.

use crate::filter::{RangeFilter, Ranged, Ranges};
use crate::properties::Properties;

/// What range filters look at in an object.
#[derive(Debug, Clone, Copy)]
pub struct Looked<'a> {
    /// None: it came in a datagram. No filter of subgroups lets that pass.
    pub subgroup: Option<u64>,
    /// Its ID in the group.
    pub object: u64,
    /// The publisher's.
    pub priority: u8,
    /// Its own; not those of its track.
    pub properties: &'a Properties,
}

/// All range filters of a request: those of one set are ANDed, sets are ORed. Without any, everything passes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    filters: Vec<(Ranged, Ranges)>,
}

impl Selection {
    /// Those of a request. One that can't be read lets nothing pass; a session has refused it before.
    pub fn new(filters: &[RangeFilter]) -> Selection {
        Selection::default().updated(filters)
    }

    /// What an update makes of it: it replaces all filters of the kinds that it names.
    pub fn updated(&self, filters: &[RangeFilter]) -> Selection {
        let named = |of: Ranged| filters.iter().any(|filter| filter.of == of);
        let kept = self.filters.iter().filter(|(of, _)| !named(*of)).cloned();
        let new = filters.iter().filter_map(|filter| {
            let nothing = Ranges { set: 0, property: None, ranges: Vec::new() };
            Some((filter.of, filter.ranges().unwrap_or(Some(nothing))?))
        });
        Selection { filters: kept.chain(new).collect() }
    }

    /// Whether everything passes.
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// How many ranges it has, of which MAX_FILTER_RANGES is the bound (draft-21 §9.1.6).
    pub fn ranges(&self) -> u64 {
        self.filters.iter().map(|(_, ranges)| ranges.ranges.len() as u64).sum()
    }

    /// Whether an object passes.
    pub fn passes(&self, object: Looked<'_>) -> bool {
        let matches = |(of, ranges): &(Ranged, Ranges)| {
            let number = match of {
                Ranged::Subgroup => object.subgroup,
                Ranged::Object => Some(object.object),
                Ranged::Priority => Some(u64::from(object.priority)),
                Ranged::ObjectProperty => ranges.property.and_then(|p| object.properties.number(p)),
                // Of tracks it is decided before there are objects.
                Ranged::TrackProperty => None,
            };
            number.is_some_and(|number| ranges.have(number))
        };
        self.is_empty() || self.sets().any(|set| self.of(set).all(matches))
    }

    /// What is left to look at in the objects of a track with these properties; none: the track does not pass.
    pub fn of_track(&self, properties: &Properties) -> Option<Selection> {
        let is_of_track = |(of, _): &&(Ranged, Ranges)| *of == Ranged::TrackProperty;
        let passes = |(_, ranges): &(Ranged, Ranges)| {
            let number = ranges.property.and_then(|property| properties.number(property));
            number.is_some_and(|number| ranges.have(number))
        };
        let mut left = Vec::new();
        let mut passed = self.is_empty();
        for set in self.sets().filter(|set| self.of(*set).filter(is_of_track).all(passes)) {
            passed = true;
            let of_objects = left.len();
            left.extend(self.of(set).filter(|filter| !is_of_track(filter)).cloned());
            if left.len() == of_objects {
                // Nothing else is wanted of them in this set.
                return Some(Selection::default());
            }
        }
        passed.then_some(Selection { filters: left })
    }

    fn sets(&self) -> impl Iterator<Item = u8> {
        let mut sets: Vec<u8> = self.filters.iter().map(|(_, ranges)| ranges.set).collect();
        sets.sort_unstable();
        sets.dedup();
        sets.into_iter()
    }

    fn of(&self, set: u8) -> impl Iterator<Item = &(Ranged, Ranges)> {
        self.filters.iter().filter(move |(_, ranges)| ranges.set == set)
    }
}

impl Ranges {
    fn have(&self, number: u64) -> bool {
        let within = |(start, end): &(u64, Option<u64>)| {
            *start <= number && end.is_none_or(|end| number <= end)
        };
        self.ranges.iter().any(within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::properties::Value;

    fn filter(
        of: Ranged,
        set: u8,
        property: Option<u64>,
        ranges: &[(u64, Option<u64>)],
    ) -> RangeFilter {
        RangeFilter::new(of, &Ranges { set, property, ranges: ranges.to_vec() })
    }

    fn object(
        subgroup: Option<u64>,
        object: u64,
        priority: u8,
        properties: &Properties,
    ) -> Looked<'_> {
        Looked { subgroup, object, priority, properties }
    }

    #[test]
    fn draft21_s3_3_2_sets_are_ored_and_what_is_in_them_is_anded() {
        let none = Properties::empty();
        let six = Properties::from_pairs(&[(6, Value::Number(60))]).unwrap();
        let selection = Selection::new(&[
            filter(Ranged::Subgroup, 0, None, &[(0, Some(0))]),
            filter(Ranged::Object, 0, None, &[(3, Some(5)), (10, None)]),
            filter(Ranged::Priority, 1, None, &[(0, Some(9))]),
            filter(Ranged::ObjectProperty, 2, Some(6), &[(60, Some(70))]),
        ]);
        assert_eq!(selection.ranges(), 5);
        for (looked, passes) in [
            (object(Some(0), 3, 128, &none), true),
            (object(Some(0), 6, 128, &none), false),
            (object(Some(0), u64::MAX, 128, &none), true),
            (object(Some(1), 3, 128, &none), false),
            (object(None, 3, 128, &none), false),
            (object(None, 3, 9, &none), true),
            (object(Some(7), 0, 10, &none), false),
            (object(Some(7), 0, 10, &six), true),
        ] {
            assert_eq!(selection.passes(looked), passes, "{looked:?}");
        }
        assert!(Selection::default().passes(object(None, 0, 0, &none)));
    }

    #[test]
    fn draft21_s3_3_2_an_update_replaces_the_kinds_that_it_names() {
        let none = Properties::empty();
        let number = |n| object(Some(n), n, 0, &none);
        let first = Selection::new(&[
            filter(Ranged::Subgroup, 0, None, &[(1, Some(1))]),
            filter(Ranged::Object, 0, None, &[(1, Some(1))]),
            filter(Ranged::Object, 4, None, &[(8, Some(8))]),
        ]);
        assert_eq!([0, 1, 8].map(|n| first.passes(number(n))), [false, true, true]);
        let second = first.updated(&[filter(Ranged::Object, 0, None, &[(1, Some(2))])]);
        assert_eq!([0, 1, 8].map(|n| second.passes(number(n))), [false, true, false]);
        let third = second.updated(&[RangeFilter::none(Ranged::Subgroup)]);
        assert!(third.passes(object(Some(9), 2, 0, &none)) && !third.passes(number(3)));
        assert!(third.updated(&[RangeFilter::none(Ranged::Object)]).is_empty());
    }

    #[test]
    fn draft21_s3_3_2_tracks_pass_by_their_properties() {
        let of = |value: u64| Properties::from_pairs(&[(8, Value::Number(value))]).unwrap();
        let selection = Selection::new(&[
            filter(Ranged::TrackProperty, 0, Some(8), &[(1, Some(1))]),
            filter(Ranged::TrackProperty, 1, Some(8), &[(2, Some(3))]),
            filter(Ranged::Object, 1, None, &[(0, Some(0))]),
        ]);
        assert_eq!(selection.of_track(&of(1)), Some(Selection::default()), "all of its objects");
        let left = selection.of_track(&of(3)).unwrap();
        let none = Properties::empty();
        assert!(left.passes(object(None, 0, 0, &none)) && !left.passes(object(None, 1, 0, &none)));
        assert_eq!(selection.of_track(&of(4)), None);
        assert_eq!(selection.of_track(&none), None);
        assert_eq!(Selection::default().of_track(&none), Some(Selection::default()));
        // What can't be read lets nothing pass.
        let odd = RangeFilter::from_wire(
            Ranged::ObjectProperty,
            bytes::Bytes::from_static(&[0, 3, 1, 1]),
        );
        assert!(!Selection::new(&[odd]).passes(object(None, 0, 0, &none)));
    }
}
