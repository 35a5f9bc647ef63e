//! Who watches a level: which of its segments were asked for lately, so that the next ones are made ahead.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant as Timestamp;

use crate::ladder::Level;
use crate::limits::DEMAND_MAX;

/// What was asked for of a level.
pub(crate) struct Demand {
    pub(crate) level: Level,
    /// Segments that were asked for, and when.
    asked: BTreeMap<u64, Timestamp>,
    /// Those of them that were at the live edge, and those that were made because they follow on such a one: when that was asked for.
    live: BTreeMap<u64, Timestamp>,
}

/// Whether this was not long ago.
fn is_fresh(at: Option<&Timestamp>, now: Timestamp, linger: Duration) -> bool {
    at.is_some_and(|at| now.saturating_duration_since(*at) < linger)
}

impl Demand {
    pub(crate) fn new(level: &Level) -> Self {
        Self { level: level.clone(), asked: BTreeMap::new(), live: BTreeMap::new() }
    }

    pub(crate) fn ask(&mut self, number: u64, live: bool) {
        let now = Timestamp::now();
        keep(&mut self.asked, number, now);
        if live {
            keep(&mut self.live, number, now);
        }
    }

    /// Whether this segment was asked for not long ago.
    pub(crate) fn is_asked(&self, number: u64, now: Timestamp, linger: Duration) -> bool {
        is_fresh(self.asked.get(&number), now, linger)
    }

    /// The same; or a live one that it follows on, whether it is live itself or whole by now, as on a machine that lags.
    pub(crate) fn is_followed(&self, number: u64, now: Timestamp, linger: Duration) -> bool {
        self.is_asked(number, now, linger) || is_fresh(self.live.get(&number), now, linger)
    }

    /// A segment is made ahead: for who left the live edge a while ago if the one before was, or if this one is live itself.
    pub(crate) fn goes_on(&mut self, number: u64, live: bool) {
        let Some(before) = number.checked_sub(1) else { return };
        let asked = self.asked.get(&before).filter(|_| live);
        let at = self.live.get(&before).max(asked).max(self.live.get(&number)).copied();
        if let Some(at) = at {
            keep(&mut self.live, number, at);
        }
    }

    pub(crate) fn forget(&mut self, now: Timestamp, linger: Duration) {
        for times in [&mut self.asked, &mut self.live] {
            times.retain(|_, at| is_fresh(Some(at), now, linger));
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.asked.is_empty() && self.live.is_empty()
    }
}

/// Of too many the oldest is forgotten, wherever in the video that is.
fn keep(times: &mut BTreeMap<u64, Timestamp>, number: u64, at: Timestamp) {
    times.insert(number, at);
    if times.len() > DEMAND_MAX {
        let oldest = times.iter().min_by_key(|(_, at)| **at).map(|(number, _)| *number);
        oldest.map(|number| times.remove(&number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ahead::tests::level;

    /// Many watch the end of a film, and one comes to its beginning.
    #[tokio::test(start_paused = true)]
    async fn of_too_many_who_watch_a_level_the_one_who_asked_first_is_forgotten() {
        let (mut demand, linger) = (Demand::new(&level()), Duration::from_secs(10));
        let places = (0..DEMAND_MAX as u64).map(|n| 1_000 + n).chain([1, 2]);
        for number in places.clone() {
            demand.ask(number, true);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let now = Timestamp::now();
        let left: Vec<u64> = places.clone().filter(|n| demand.is_asked(*n, now, linger)).collect();
        assert_eq!(left, places.skip(2).collect::<Vec<_>>());
        assert_eq!((demand.asked.len(), demand.live.len()), (DEMAND_MAX, DEMAND_MAX));
    }
}
