//! Which group was under way some time ago, found by asking when single groups began. Groups may be of any length, and some
//! may be lost. Pure: what is asked for and what is found are arguments.

/// Questions, at most: each second one halves what is left.
const QUESTIONS_MAX: u32 = 64;

/// How long groups are as a rule, before anything is known.
const USUAL_MS: u64 = 2_000;

/// A group, and when it began, in milliseconds.
type Began = (u64, u64);

#[derive(Debug)]
pub(super) struct Search {
    wanted_ms: u64,
    /// The newest that is known to have begun by then.
    low: Option<Began>,
    /// One that began later, or that is not there, as are all from it on to one that began later.
    high: Began,
    asked: u32,
}

impl Search {
    /// So long before the newest group began.
    pub(super) fn new(newest: Began, back_ms: u64) -> Self {
        let wanted_ms = newest.1.saturating_sub(back_ms);
        let low = (back_ms == 0).then_some(newest);
        Self { wanted_ms, low, high: newest, asked: 0 }
    }

    /// A group to be asked for, and the last one that may be found in its place if it is not there. None: the answer is known.
    pub(super) fn next(&mut self) -> Option<(u64, u64)> {
        let least = self.low.map_or(0, |(group, _)| group.saturating_add(1));
        let last = self.high.0.checked_sub(1).filter(|last| *last >= least)?;
        if self.asked >= QUESTIONS_MAX {
            return None;
        }
        let guess = match self.low {
            Some(low) if self.asked.is_multiple_of(2) => self.between(low),
            Some((low, _)) => low + (last - low).div_ceil(2),
            None => {
                let groups = self.high.1.saturating_sub(self.wanted_ms) / USUAL_MS;
                let further = 1u64.checked_shl(self.asked).unwrap_or(u64::MAX);
                self.high.0.saturating_sub(groups.max(further))
            }
        };
        self.asked += 1;
        Some((guess.clamp(least, last), last))
    }

    /// As if all groups between were of one length.
    fn between(&self, (group, ms): Began) -> u64 {
        let (groups, lasts_ms) = (self.high.0 - group, self.high.1.saturating_sub(ms).max(1));
        let wanted = u128::from(groups) * u128::from(self.wanted_ms.saturating_sub(ms));
        group.saturating_add(u64::try_from(wanted / u128::from(lasts_ms)).unwrap_or(groups))
    }

    /// What was found of `group` and those behind it.
    pub(super) fn found(&mut self, group: u64, found: Option<Began>) {
        match found {
            Some(began) if began.1 <= self.wanted_ms => self.low = Some(began),
            found => self.high = (group, found.map_or(self.high.1, |(_, ms)| ms)),
        }
    }

    /// The newest group that began by then; else where the first one can be.
    pub(super) fn answer(&self) -> u64 {
        self.low.unwrap_or(self.high).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks as long as there are questions; the group that is begun with, and how many questions it took.
    fn search(groups: &[Began], back_ms: u64) -> (Option<u64>, u32) {
        let newest = *groups.last().unwrap();
        let mut search = Search::new(newest, back_ms);
        while let Some((group, last)) = search.next() {
            assert!(group <= last && last < newest.0, "{group} to {last} of {groups:?}");
            let found = groups.iter().find(|(id, _)| (group..=last).contains(id));
            search.found(group, found.copied());
        }
        let first = groups.iter().find(|(id, _)| *id >= search.answer());
        (first.map(|(id, _)| *id), search.asked)
    }

    fn wanted(groups: &[Began], back_ms: u64) -> Option<u64> {
        let at = groups.last().unwrap().1.saturating_sub(back_ms);
        let by_then = groups.iter().rev().find(|(_, ms)| *ms <= at);
        by_then.or(groups.first()).map(|(id, _)| *id)
    }

    #[test]
    fn regular_groups_are_found_at_once() {
        let groups: Vec<Began> = (0..40_000).map(|n| (7_000 + n, 90_000 + 2_000 * n)).collect();
        for (back_ms, questions_max) in [(0, 0), (1, 2), (2_000, 3), (30_000, 3), (3_600_500, 3)] {
            let (found, asked) = search(&groups, back_ms);
            assert_eq!(found, wanted(&groups, back_ms), "{back_ms}");
            assert!(asked <= questions_max, "{back_ms}: {asked} questions");
        }
        // Further back than there is anything.
        let (found, asked) = search(&groups, 100_000_000);
        assert!(found == Some(7_000) && asked <= 40, "{found:?} by {asked} questions");
    }

    #[test]
    fn groups_of_any_length_with_holes_are_found() {
        let mut state = 1u64;
        let mut below = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % n
        };
        for _ in 0..2_000 {
            let (mut id, mut ms) = (below(3) * below(1_000), below(100_000));
            let groups: Vec<Began> = (0..1 + below(60))
                .map(|_| {
                    id += 1 + if below(8) == 0 { below(40) } else { 0 };
                    let longest = if below(4) == 0 { 60_000 } else { 3_000 };
                    ms += 1 + below(longest);
                    (id, ms)
                })
                .collect();
            let back_ms = below(200_000);
            let (found, asked) = search(&groups, back_ms);
            assert_eq!(found, wanted(&groups, back_ms), "{back_ms} before the end of {groups:?}");
            assert!(asked < 40, "{asked} questions: {groups:?}");
        }
    }

    #[test]
    fn clocks_that_jump_end_the_search_all_the_same() {
        let groups: Vec<Began> = (0..500).map(|n| (n, (n * 7_919) % 5_000)).collect();
        for back_ms in 0..100 {
            assert!(search(&groups, back_ms * 50).1 <= QUESTIONS_MAX);
        }
    }
}
