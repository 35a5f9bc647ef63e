//! What was handed out of a track, whichever session it came in: what of the rest is new, late, or of other numbers.

use std::collections::BTreeMap;

use moqt::Location;

use crate::limits::{GROUPS_AHEAD_MAX, LATE_GROUPS_MAX, SUBGROUPS_REMEMBERED_MAX};

/// What was handed out.
#[derive(Debug, Default)]
pub(super) struct HandedOut {
    newest: Option<Newest>,
    /// A group that is too far back to be late, and is left out all the same: a relay may get so late what it had before it was
    /// asked. That is one group; whoever counts anew goes on with the next one.
    far_back: Option<u64>,
}

/// The newest group of which something was.
#[derive(Debug)]
struct Newest {
    group: u64,
    /// The largest object of it.
    largest: u64,
    /// The last one of each subgroup.
    lasts: BTreeMap<u64, u64>,
    /// The same of all others.
    rest: Option<u64>,
}

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    New,
    /// It was handed out, or what is behind it: nobody goes back for it.
    Late,
    /// Its publisher has begun to count anew.
    Anew,
}

impl HandedOut {
    /// Everything up to here.
    pub(super) fn up_to(last: Location) -> Self {
        let Location { group, object } = last;
        let (lasts, rest) = (BTreeMap::new(), Some(object));
        let newest = Some(Newest { group, largest: object, lasts, rest });
        Self { newest, far_back: None }
    }

    /// The largest object of the newest group.
    pub(super) fn last(&self) -> Option<(u64, u64)> {
        self.newest.as_ref().map(|newest| (newest.group, newest.largest))
    }

    /// What an object of this subgroup is.
    pub(super) fn look(&mut self, (group, id): (u64, u64), subgroup: u64) -> Verdict {
        let Some(newest) = &self.newest else { return Verdict::New };
        if group > newest.group {
            return Verdict::New;
        }
        if group == newest.group {
            // Those of a subgroup come in order, those of several need not.
            let last = newest.lasts.get(&subgroup).copied().or(newest.rest);
            return if last.is_none_or(|last| id > last) { Verdict::New } else { Verdict::Late };
        }
        if newest.group - group <= LATE_GROUPS_MAX {
            return Verdict::Late;
        }
        match self.far_back {
            Some(before) if before < group => Verdict::Anew,
            _ => {
                self.far_back = Some(group);
                Verdict::Late
            }
        }
    }

    /// Whether the numbers of another session, in which this group is the newest and this object came, can't be those of
    /// this: what was handed out last was long ago over there, or is yet to come.
    pub(super) fn is_anew(&self, newest_there: Option<u64>, group_there: Option<u64>) -> bool {
        self.newest.as_ref().is_some_and(|Newest { group, .. }| {
            newest_there.is_some_and(|newest| newest.saturating_add(1) < *group)
                || group_there.is_some_and(|there| there > group.saturating_add(GROUPS_AHEAD_MAX))
        })
    }

    /// Whether something is missing before the first new object of another session. Of several subgroups nobody can say.
    pub(super) fn misses_before(&self, (group, id): (u64, u64)) -> bool {
        self.newest.as_ref().is_some_and(|newest| match group == newest.group {
            true => newest.lasts.len() <= 1 && id > newest.largest.saturating_add(1),
            false => id > 0,
        })
    }

    /// It is handed out.
    pub(super) fn push(&mut self, (group, id): (u64, u64), subgroup: u64) {
        self.far_back = None;
        let same = self.newest.take().filter(|newest| newest.group == group);
        let mut newest = same.unwrap_or_else(|| Newest {
            group,
            largest: id,
            lasts: BTreeMap::new(),
            rest: None,
        });
        newest.largest = newest.largest.max(id);
        newest.lasts.insert(subgroup, id);
        if newest.lasts.len() > SUBGROUPS_REMEMBERED_MAX
            && let Some((oldest, last)) =
                newest.lasts.iter().map(|(s, last)| (*s, *last)).min_by_key(|(_, last)| *last)
        {
            newest.lasts.remove(&oldest);
            newest.rest = newest.rest.max(Some(last));
        }
        self.newest = Some(newest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of objects that come so, each with its subgroup: those that are handed out, with a `!` where it is said that the
    /// numbers are others.
    fn check(objects: &[(u64, u64, u64)], expect: &str) {
        let mut handed = HandedOut::default();
        let mut said = Vec::new();
        for (group, subgroup, id) in objects.iter().copied() {
            let verdict = handed.look((group, id), subgroup);
            if verdict == Verdict::Anew {
                handed = HandedOut::default();
            }
            if verdict != Verdict::Late {
                handed.push((group, id), subgroup);
                let anew = if verdict == Verdict::Anew { "!" } else { "" };
                said.push(format!("{anew}{group}.{id}"));
            }
        }
        assert_eq!(said.join(" "), expect, "{objects:?}");
    }

    #[test]
    fn draft18_s2_2_ids_of_subgroups_interleave_and_nothing_comes_twice() {
        // A subgroup for what depends on nothing, and one for the rest; in any order.
        let (first, second) =
            ([(7, 0, 0), (7, 0, 2), (7, 0, 4)], [(7, 1, 1), (7, 1, 3), (7, 1, 5)]);
        check(&[first, second].concat(), "7.0 7.2 7.4 7.1 7.3 7.5");
        check(&[second, first].concat(), "7.1 7.3 7.5 7.0 7.2 7.4");
        check(&[first, second, first, second].concat(), "7.0 7.2 7.4 7.1 7.3 7.5");
        // One more that had nothing before; and of a group before it nothing is new.
        check(
            &[&first[..], &[(7, 2, 1), (6, 9, 9), (8, 0, 0), (7, 3, 9)]].concat(),
            "7.0 7.2 7.4 7.1 8.0",
        );
        // Nobody goes back in a subgroup.
        check(&[(7, 0, 3), (7, 0, 0), (7, 0, 4)], "7.3 7.4");
    }

    #[test]
    fn who_has_very_many_subgroups_has_the_oldest_forgotten_and_nothing_twice() {
        let each = |id| (7, 1_000 - id, id);
        let mut objects: Vec<_> = (0..500).map(each).collect();
        let mut handed = HandedOut::default();
        for (group, subgroup, id) in objects.iter().copied() {
            assert_eq!(handed.look((group, id), subgroup), Verdict::New, "{id}");
            handed.push((group, id), subgroup);
        }
        assert_eq!(handed.newest.as_ref().unwrap().lasts.len(), SUBGROUPS_REMEMBERED_MAX);
        objects.reverse();
        for (group, subgroup, id) in objects {
            assert_eq!(handed.look((group, id), subgroup), Verdict::Late, "{id}");
        }
        // One that is behind all of them is new in whatever subgroup.
        assert_eq!(handed.look((7, 500), 2_000), Verdict::New);
    }

    #[test]
    fn what_was_fetched_is_behind_in_every_subgroup() {
        let mut handed = HandedOut::up_to(Location::new(7, 3));
        assert_eq!(
            [2, 3, 4].map(|id| handed.look((7, id), 5)),
            [Verdict::Late, Verdict::Late, Verdict::New]
        );
        assert!(handed.misses_before((7, 5)) && handed.misses_before((8, 1)));
        assert!(!handed.misses_before((7, 4)) && !handed.misses_before((8, 0)));
    }

    #[test]
    fn who_counts_anew_is_believed_with_the_second_group() {
        let last = (5_000, 0, 0);
        check(&[last, (0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1)], "5000.0 !1.0 1.1");
        // What a relay gets late of one group is none, though it comes again and again.
        let late = [(4_900, 0, 0), (4_900, 0, 1), (4_899, 0, 0)];
        check(&[&[last][..], &late, &[(5_001, 0, 0), (4_901, 0, 0)]].concat(), "5000.0 5001.0");
        // Within what may be late nobody is.
        let first = 5_000 - LATE_GROUPS_MAX;
        let near: Vec<_> = (first..5_000).map(|group| (group, 0, 0)).collect();
        check(&[&[last][..], &near, &[(5_001, 0, 0)]].concat(), "5000.0 5001.0");
    }

    #[test]
    fn another_session_has_other_numbers_if_its_newest_group_was_long_ago_or_is_far_ahead() {
        let mut handed = HandedOut::default();
        assert!(!handed.is_anew(Some(0), Some(0)), "of the first one nothing is known");
        handed.push((100, 3), 0);
        let far = 100 + GROUPS_AHEAD_MAX;
        for (newest, group, expect) in [
            (Some(0), Some(0), true),
            (Some(98), None, true),
            (Some(99), Some(99), false),
            // It passes on the past first.
            (Some(100), Some(3), false),
            (None, None, false),
            (Some(far), Some(far), false),
            (Some(far + 1), Some(100), false),
            (Some(far + 1), Some(far + 1), true),
        ] {
            assert_eq!(handed.is_anew(newest, group), expect, "{newest:?} {group:?}");
        }
    }
}
