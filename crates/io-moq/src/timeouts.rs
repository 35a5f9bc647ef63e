//! When objects are too old to be sent: delivery timeouts (draft-18 §8, draft-21 §5.2), and how long they may be kept.

use std::time::{Duration, Instant};

use moqt::{Properties, Version};
use spine::{Header, TrackInfo};

use crate::play::Wishes;

/// The timeouts of a subgroup or a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// OBJECT_DELIVERY_TIMEOUT
    pub(crate) object: Option<Duration>,
    /// SUBGROUP_DELIVERY_TIMEOUT
    pub(crate) subgroup: Option<Duration>,
}

impl Timeouts {
    /// In milliseconds; 0: none.
    fn new(object_ms: u64, subgroup_ms: u64) -> Self {
        let some = |ms: u64| Some(ms).filter(|ms| *ms > 0).map(Duration::from_millis);
        Self { object: some(object_ms), subgroup: some(subgroup_ms) }
    }

    /// What the publisher says of a subgroup with its first object, else of the track (draft-21 §5.2).
    pub(crate) fn of_subgroup(track: Self, first: &Header, version: Version) -> Self {
        let is_first = first.first || first.id == 0;
        if first.properties.is_empty() || !is_first || !version.objects_have_timeouts() {
            return track;
        }
        let said = Properties::from_checked(first.properties.clone());
        let of = |kind, track: Option<Duration>| match said.number(kind) {
            Some(0) => None,
            Some(ms) => Some(Duration::from_millis(ms)),
            None => track,
        };
        Self {
            object: of(moqt::properties::kind::OBJECT_DELIVERY_TIMEOUT, track.object),
            subgroup: of(moqt::properties::kind::SUBGROUP_DELIVERY_TIMEOUT, track.subgroup),
        }
    }

    /// The smaller ones of these and the subscriber's.
    pub(crate) fn or_less(self, wishes: &Wishes) -> Self {
        let wished = Self::new(wishes.timeout_ms, wishes.subgroup_timeout_ms);
        let less = |a: Option<Duration>, b: Option<Duration>| a.into_iter().chain(b).min();
        Self {
            object: less(self.object, wished.object),
            subgroup: less(self.subgroup, wished.subgroup),
        }
    }

    /// Whether a datagram that is here since then may not be sent any more: for those both are the same.
    pub(crate) fn are_over_for(self, since: Instant, now: Instant) -> bool {
        let most = self.object.into_iter().chain(self.subgroup).min();
        most.is_some_and(|most| now.saturating_duration_since(since) > most)
    }
}

/// What a track says of how long its objects are good for: read once, asked for with each object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lifetimes {
    /// The publisher's.
    pub(crate) timeouts: Timeouts,
    /// MAX_CACHE_DURATION
    cached: Option<Duration>,
}

impl Lifetimes {
    pub(crate) fn of(info: &TrackInfo) -> Self {
        let said = Properties::from_checked(info.properties.clone());
        let (object, subgroup) =
            (said.object_delivery_timeout_ms(), said.subgroup_delivery_timeout_ms());
        let cached = said.max_cache_duration_ms().map(Duration::from_millis);
        Self { timeouts: Timeouts::new(object, subgroup), cached }
    }

    /// MAX_CACHE_DURATION
    pub(crate) fn cached(&self) -> Option<Duration> {
        self.cached
    }

    /// Whether MAX_CACHE_DURATION is over for this object: it may not be sent any more, and what became of it is unknown
    /// (draft-18 §12.2).
    pub(crate) fn are_over_for(&self, header: &Header, now: Instant) -> bool {
        self.cached.is_some_and(|most| now.saturating_duration_since(header.arrived) > most)
    }
}

#[cfg(test)]
mod tests {
    use moqt::Parameters;
    use moqt::properties::Value;

    use super::*;

    fn properties(pairs: &[(u64, u64)]) -> bytes::Bytes {
        let pairs: Vec<_> = pairs.iter().map(|(kind, n)| (*kind, Value::Number(*n))).collect();
        Properties::from_pairs(&pairs).unwrap().as_bytes().clone()
    }

    /// Kinds: 0x02 is the timeout of objects, 0x06 that of subgroups.
    #[test]
    fn draft21_s10_1_s10_2_d15_timeouts_of_a_subgroup_are_those_of_its_first_object() {
        let (old, new) = (Version::Draft18, Version::Draft21);
        let track: &[(u64, u64)] = &[(0x02, 500), (0x06, 900)];
        let own: &[(u64, u64)] = &[(0x02, 70)];
        for (what, version, track, object, is_first, wished, expect) in [
            ("nothing", new, &[][..], &[][..], true, (0, 0), (0, 0)),
            ("the track's", new, track, &[], true, (0, 0), (500, 900)),
            ("the subscriber's is smaller", new, track, &[], true, (400, 1_000), (400, 900)),
            ("the object's instead", new, track, own, true, (0, 0), (70, 900)),
            ("and the smaller one", new, track, own, true, (30, 20), (30, 20)),
            ("larger than the track's", new, track, &[(0x02, 800)], true, (0, 0), (800, 900)),
            ("none for this subgroup", new, track, &[(0x06, 0)], true, (0, 0), (500, 0)),
            ("not of another object", new, track, own, false, (0, 0), (500, 900)),
            ("draft 18 has none of objects", old, track, own, true, (0, 0), (500, 900)),
        ] {
            let info = TrackInfo { properties: properties(track), ..TrackInfo::default() };
            #[allow(clippy::disallowed_methods, reason = "a header needs one")]
            let now = Instant::now();
            let header =
                Header { properties: properties(object), first: is_first, ..Header::new(5, now) };
            let parameters = Parameters {
                object_delivery_timeout_ms: Some(wished.0),
                subgroup_delivery_timeout_ms: Some(wished.1),
                ..Parameters::default()
            };
            let wishes = Wishes::new(&parameters, None);
            let track = Lifetimes::of(&info).timeouts;
            let found = Timeouts::of_subgroup(track, &header, version).or_less(&wishes);
            assert_eq!(found, Timeouts::new(expect.0, expect.1), "{what}");
        }
    }
}
