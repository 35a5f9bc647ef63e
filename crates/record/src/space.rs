//! Room on the disk: below its floor, recording pauses in good order instead of failing somewhere.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use store::Store;
use tokio::sync::Notify;

use crate::limits::{FAILING_KNOWN, GAINED_LEAST, IN_VAIN_WAIT, IN_VAIN_WAIT_MAX};
use crate::retention::Freed;

/// The room that all recorders of a node have. Retention works for the floor; recording pauses at half of
/// it, which is left for the index and for deleting, and goes on when the floor is free again.
#[derive(Debug, Default)]
pub struct Space {
    floor: Mutex<Option<u64>>,
    input: Mutex<Option<u64>>,
    paused: Mutex<Option<Paused>>,
    in_vain: Mutex<Option<InVain>>,
    failing: Mutex<Option<Failing>>,
    lost: AtomicU64,
    short: Notify,
}

/// Recording is paused for want of room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paused {
    /// Bytes that were free when it was last looked.
    pub free: u64,
    /// Bytes that must be free.
    pub floor: u64,
}

/// What is to be recorded can't be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    since: Instant,
    /// When it failed last.
    last: Instant,
    /// For how long it had failed then.
    lasted: Duration,
    error: String,
}

impl Failing {
    /// Who records tries again every few seconds; afterwards nobody knows.
    fn recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) < FAILING_KNOWN
    }
}

impl std::fmt::Display for Failing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { lasted, error, .. } = self;
        write!(f, "recording has failed for {} s: {error}", lasted.as_secs())
    }
}

/// Deleting recordings gave no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InVain {
    /// When it is tried again.
    again: Instant,
    /// How long that is after the last time.
    wait: Duration,
    /// Their media could not be deleted.
    stuck: bool,
}

impl std::fmt::Display for InVain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cause = match self.stuck {
            true => "their files could not be deleted, which is tried again",
            false => "a backup on the same disk, or a snapshot of it, may still have them",
        };
        write!(
            f,
            "recordings were deleted to free the disk (retention.min_free_gb), which freed next to nothing: \
             {cause}; for {} s no more are deleted for this",
            self.wait.as_secs()
        )
    }
}

impl std::fmt::Display for Paused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        write!(
            f,
            "recording is paused: the disk has {:.1} MB free, and {:.1} MB must be \
             (retention.min_free_gb); the broadcast goes on, and what is not recorded will be a gap",
            mb(self.free),
            mb(self.floor)
        )
    }
}

impl Space {
    /// With a floor in bytes, or without.
    pub fn new(floor: Option<u64>) -> Self {
        Self { floor: Mutex::new(floor), ..Self::default() }
    }

    /// Another floor holds.
    pub fn set_floor(&self, floor: Option<u64>) {
        *self.floor.lock().unwrap_or_else(PoisonError::into_inner) = floor;
    }

    /// What the clips of an input without a bound of its own may take up together, in bytes: as much as its broadcasts.
    pub fn set_input_max(&self, max: Option<u64>) {
        *self.input.lock().unwrap_or_else(PoisonError::into_inner) = max;
    }

    pub(crate) fn input_max(&self) -> Option<u64> {
        *self.input.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing is recorded at the moment, if that is so.
    pub fn paused(&self) -> Option<Paused> {
        *self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether recordings may be deleted for room now: where that gave none, not for a while.
    pub fn may_delete(&self, now: Instant) -> bool {
        self.in_vain().is_none_or(|vain| vain.again <= now)
    }

    /// Why none are deleted for room at the moment, if that is so.
    pub fn in_vain(&self) -> Option<InVain> {
        *self.in_vain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What deleting recordings for room gave.
    pub fn freed(&self, freed: Freed, now: Instant) {
        let mut in_vain = self.in_vain.lock().unwrap_or_else(PoisonError::into_inner);
        let to_gain = freed.deleted + freed.stuck;
        *in_vain = (freed.gained < to_gain / GAINED_LEAST).then(|| {
            let wait = in_vain.map_or(IN_VAIN_WAIT, |vain| vain.wait * 2).min(IN_VAIN_WAIT_MAX);
            // What was deleted has given its share: the rest is what is missing.
            let stuck = freed.stuck > 0 && freed.gained >= freed.deleted / GAINED_LEAST;
            InVain { again: now + wait, wait, stuck }
        });
        if let Some(why) = &*in_vain {
            let Freed { deleted, stuck, gained } = freed;
            tracing::warn!(deleted, stuck, gained, "{why}");
        }
    }

    /// Something could not be stored.
    pub(crate) fn fail(&self, error: &str, now: Instant) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let since = failing.as_ref().filter(|f| f.recent(now)).map_or(now, |f| f.since);
        let lasted = now.saturating_duration_since(since);
        *failing = Some(Failing { since, last: now, lasted, error: error.to_owned() });
    }

    /// Media is stored and in the index.
    pub(crate) fn works(&self) {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Why nothing can be stored, if that was so a moment ago.
    pub fn failing(&self, now: Instant) -> Option<Failing> {
        let failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.clone().filter(|failing| failing.recent(now))
    }

    /// Segments that were lost, of all broadcasts since the start.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until there is less room than there must be.
    pub async fn short(&self) {
        self.short.notified().await;
    }

    pub(crate) fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks the disk whether recording may go on.
    pub fn look(&self, store: &Store) -> Result<(), Paused> {
        self.judge(store.free_bytes())
    }

    fn judge(&self, free: Option<u64>) -> Result<(), Paused> {
        let floor = *self.floor.lock().unwrap_or_else(PoisonError::into_inner);
        let floor = floor.unwrap_or(0);
        let Some(free) = free else { return Ok(()) };
        match free < floor {
            true => self.short.notify_one(),
            // It came later.
            false => *self.in_vain.lock().unwrap_or_else(PoisonError::into_inner) = None,
        }
        let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        let least = if paused.is_some() { floor } else { floor / 2 };
        let now = (free < least).then_some(Paused { free, floor });
        match (&*paused, now) {
            (None, Some(why)) => tracing::error!("{why}"),
            (Some(_), None) => tracing::info!(free, "there is room again: recording goes on"),
            _ => {}
        }
        *paused = now;
        now.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn where_deleting_gives_no_room_it_is_tried_again_later_and_later() {
        let (space, now) = (Space::new(Some(1_000)), Instant::now());
        let freed = |gained, now| space.freed(Freed { deleted: 400, stuck: 0, gained }, now);
        freed(100, now);
        assert!(space.may_delete(now), "a quarter: others write to it, too");
        let mut at = now;
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            freed(99, at);
            let wait = Duration::from_secs(minutes * 60);
            assert!(!space.may_delete(at + wait - Duration::from_secs(1)), "{minutes}");
            assert!(space.may_delete(at + wait), "{minutes}");
            at += wait;
        }
        assert!(space.in_vain().unwrap().to_string().contains("for 3600 s no more are deleted"));
        // A snapshot that is gone gives it back, and the next time may be sooner again.
        let _ = space.judge(Some(999));
        assert!(space.in_vain().is_some());
        let _ = space.judge(Some(1_000));
        assert_eq!(space.in_vain(), None);
        freed(0, now);
        assert!(space.may_delete(now + IN_VAIN_WAIT));
        freed(400, now);
        assert!(space.may_delete(now));
        // Who reads it is told what to look for.
        for (deleted, stuck, gained, words) in [
            (0, 400, 0, Some("their files could not be deleted")),
            (100, 400, 100, Some("their files could not be deleted")),
            (400, 400, 0, Some("a backup on the same disk")),
            (400, 400, 400, None),
        ] {
            space.freed(Freed { deleted, stuck, gained }, now);
            let said = space.in_vain().map(|vain| vain.to_string());
            assert_eq!(said.is_some(), words.is_some(), "{said:?}");
            assert!(words.is_none_or(|words| said.unwrap().contains(words)), "{words:?}");
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn what_fails_is_known_until_it_works_or_nobody_tries_any_more() {
        let (space, began) = (Space::default(), Instant::now());
        let at = |second| began + Duration::from_secs(second);
        let words = |second| space.failing(at(second)).map(|failing| failing.to_string());
        assert_eq!(words(0), None);
        space.fail("no space left", at(0));
        space.fail("no space left", at(7));
        assert_eq!(words(8).unwrap(), "recording has failed for 7 s: no space left");
        assert_eq!(words(37), None, "the broadcast is over");
        space.fail("no space left", at(60));
        assert_eq!(words(60).unwrap(), "recording has failed for 0 s: no space left");
        space.works();
        assert_eq!(words(60), None);
    }

    #[test]
    fn recording_pauses_at_half_the_floor_and_goes_on_at_the_floor() {
        let space = Space::new(Some(1_000));
        for (free, goes_on) in [
            (5_000, true),
            (900, true),
            (500, true),
            (499, false),
            (600, false),
            (999, false),
            (1_000, true),
            (600, true),
            (0, false),
        ] {
            assert_eq!(space.judge(Some(free)).is_ok(), goes_on, "{free}");
            assert_eq!(space.paused().is_none(), goes_on, "{free}");
        }
        assert_eq!(Space::new(None).judge(Some(0)), Ok(()));
        // Another floor ends a pause, too.
        space.set_floor(None);
        assert_eq!(space.judge(Some(0)), Ok(()));
        space.set_floor(Some(1_000));
        assert_eq!(space.judge(None), Ok(()), "not known: nobody pauses");
        let words = Paused { free: 1_234_567, floor: 1_000_000_000 }.to_string();
        let expect = "recording is paused: the disk has 1.2 MB free, and 1000.0 MB must be \
                      (retention.min_free_gb); the broadcast goes on, and what is not recorded will \
                      be a gap";
        assert_eq!(words, expect);
    }
}
