//! Who waits for what. Requests for the same version share one place to wait, and only those are woken whose version is
//! there: ten thousand who wait for a segment sleep through its parts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use package::Index;
use package::reload::{Decision, Directives, decide};
use tokio::sync::Notify;

use crate::limits::PARKED_MAX;
use crate::shelf::Shelf;

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Awaited {
    /// Anything that happens to the broadcast.
    Change,
    /// A segment of a rendition, or this part of it.
    Version {
        /// The rendition.
        rendition: String,
        /// The segment.
        number: u64,
        /// The part; none: the whole segment.
        part: Option<u64>,
    },
}

impl Awaited {
    fn there(&self, index: &Index) -> bool {
        match self {
            Self::Change => true,
            Self::Version { rendition, number, part } => {
                let directives = Directives { msn: Some(*number), part: *part, skip: false };
                decide(index, rendition, &directives) != Decision::Wait
            }
        }
    }
}

/// The places where requests for one broadcast wait.
#[derive(Debug, Default)]
pub(crate) struct Rooms(Mutex<BTreeMap<Awaited, Arc<Notify>>>);

impl Rooms {
    /// Where those wait who wait for this. Whoever registers there and then looks misses nothing.
    fn of(&self, awaited: &Awaited) -> Arc<Notify> {
        let mut rooms = self.lock();
        if let Some(room) = rooms.get(awaited) {
            return room.clone();
        }
        rooms.entry(awaited.clone()).or_default().clone()
    }

    /// The index has changed: wakes those who have what they wait for, and forgets places that nobody waits at.
    pub(crate) fn changed(&self, index: impl FnOnce(&mut dyn FnMut(&Index))) {
        let mut woken = Vec::new();
        let mut rooms = self.lock();
        index(&mut |index| {
            rooms.retain(|awaited, room| {
                let there = awaited.there(index);
                if there {
                    woken.push(room.clone());
                }
                !there && Arc::strong_count(room) > 1
            });
        });
        drop(rooms);
        woken.iter().for_each(|room| room.notify_waiters());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Awaited, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Too many wait already.
#[derive(Debug)]
pub(crate) struct Busy;

/// Waits until `ready` has an answer, at most `patience`; it is asked again when `awaited` is there. Fails if too many
/// wait already.
pub(crate) async fn wait_for<T>(
    shelf: &Arc<Shelf>,
    patience: Duration,
    awaited: Awaited,
    ready: impl Fn(&Arc<Shelf>) -> Option<T>,
) -> Result<Option<T>, Busy> {
    if let Some(answer) = ready(shelf) {
        return Ok(Some(answer));
    }
    let _parked = Parked::new(&shelf.counters().parked).ok_or(Busy)?;
    let deadline = tokio::time::Instant::from_std(Instant::now() + patience);
    loop {
        let room = shelf.rooms().of(&awaited);
        let mut woken = std::pin::pin!(room.notified());
        woken.as_mut().enable();
        if let Some(answer) = ready(shelf) {
            return Ok(Some(answer));
        }
        if tokio::time::timeout_at(deadline, woken).await.is_err() {
            return Ok(ready(shelf));
        }
    }
}

struct Parked<'a>(&'a AtomicU64);

impl<'a> Parked<'a> {
    fn new(count: &'a AtomicU64) -> Option<Self> {
        let before = count.fetch_add(1, Ordering::Relaxed);
        let guard = Self(count);
        (before < PARKED_MAX as u64).then_some(guard)
    }
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use package::properties::{Part, Segment};
    use spine::Location;

    /// Segment 1 whole, of three parts; then parts of segment 2.
    fn index(parts: u64) -> Index {
        let mut index = Index::new();
        for n in 0..3 + parts {
            let at = Location { group: 1 + n / 3, object: n % 3 };
            let part = Part {
                duration: 60_000,
                independent: true,
                last: n % 3 == 2,
                target_ms: 667,
                target_duration: Some(2),
                key_bytes: None,
            };
            let segment = Segment {
                timescale: 90_000,
                epoch: 1,
                wall_clock_ms: 0,
                start: 60_000 * n,
                discontinuity: false,
                discontinuity_sequence: 0,
                gap: false,
                init: 7,
            };
            index.add("v", at, &part, (n % 3 == 0).then_some(segment), 1).unwrap();
        }
        index
    }

    #[test]
    fn only_those_are_woken_whose_version_is_there() {
        let rooms = Rooms::default();
        let version = |number, part| Awaited::Version { rendition: "v".to_owned(), number, part };
        let awaited = [
            (Awaited::Change, 0),
            (version(2, Some(0)), 1),
            (version(2, Some(1)), 2),
            (version(2, None), 3),
            (version(3, None), u64::MAX),
        ];
        for parts in 0..=3 {
            for (what, at) in &awaited {
                let room = rooms.of(what);
                let mut waiting = [Box::pin(room.notified()), Box::pin(room.notified())];
                waiting.iter_mut().for_each(|w| _ = w.as_mut().enable());
                rooms.changed(|look| look(&index(parts)));
                for waiting in waiting {
                    assert_eq!(waiting.now_or_never().is_some(), parts >= *at, "{what:?} {parts}");
                }
            }
        }
        rooms.changed(|look| look(&index(0)));
        assert_eq!(rooms.lock().len(), 0, "nobody waits");
    }

    #[test]
    fn an_end_wakes_everybody() {
        let rooms = Rooms::default();
        let room = rooms.of(&Awaited::Version { rendition: "v".to_owned(), number: 9, part: None });
        let mut waiting = Box::pin(room.notified());
        waiting.as_mut().enable();
        let mut index = index(1);
        index.end();
        rooms.changed(|look| look(&index));
        assert!(waiting.now_or_never().is_some());
    }
}
