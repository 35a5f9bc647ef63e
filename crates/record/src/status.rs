//! How a recorder is doing, for health and for whoever shows numbers to viewers.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::limits::{COMMIT_MS, LOST_KEPT};

/// Counters of one recorder.
#[derive(Debug, Default)]
pub struct Status {
    pub(crate) committed: AtomicU64,
    pub(crate) reserved_to: AtomicU64,
    pub(crate) backlog_bytes: AtomicUsize,
    pub(crate) gaps: AtomicU64,
    pub(crate) late_parts: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) stopped: AtomicBool,
    pub(crate) changed: Notify,
    /// Numbers that are gaps and that nobody has asked for yet.
    lost: Mutex<BTreeSet<u64>>,
}

impl Status {
    /// Waits for the next commit or late part.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The newest committed number.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// The last number that may be shown to viewers, as far as commits and [`Status::reserved`] say.
    pub fn reserved_to(&self) -> u64 {
        self.reserved_to.load(Ordering::Acquire)
    }

    /// Numbers were reserved besides.
    pub fn reserved(&self, to: u64) {
        self.reserved_to.fetch_max(to, Ordering::AcqRel);
    }

    /// Bytes that are sealed and not in the store.
    pub fn backlog_bytes(&self) -> usize {
        self.backlog_bytes.load(Ordering::Relaxed)
    }

    /// It has ended without all of its broadcast: nothing more of it will be recorded.
    pub fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Segments that were lost, and are gaps in the recording. More than none is an alarm.
    pub fn gaps(&self) -> u64 {
        self.gaps.load(Ordering::Relaxed)
    }

    /// A segment is lost.
    pub(crate) fn lose(&self, number: u64) {
        self.gaps.fetch_add(1, Ordering::Relaxed);
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.insert(number);
        while lost.len() > LOST_KEPT {
            lost.pop_first();
        }
    }

    /// Segments below `number` that were lost, each told once.
    pub fn take_lost(&self, number: u64) -> BTreeSet<u64> {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = lost.split_off(&number);
        std::mem::replace(&mut lost, kept)
    }

    /// Parts that came when their segment was sealed already.
    pub fn late_parts(&self) -> u64 {
        self.late_parts.load(Ordering::Relaxed)
    }

    /// Puts and commits that failed and were tried again.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

/// How long segments waited for the store and the index, both synced. What an operator looks at when a disk is slow.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CommitTimes {
    /// How many within each of [`COMMIT_MS`], and after more.
    pub within: [u64; COMMIT_MS.len() + 1],
    /// Of all of them.
    pub sum: Duration,
}

impl CommitTimes {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.within.iter().sum()
    }

    fn add(&mut self, waited: Duration) {
        let class = COMMIT_MS.partition_point(|bound| Duration::from_millis(*bound) < waited);
        self.within[class] += 1;
        self.sum += waited;
    }
}

/// What all recorders of a node have waiting for the store. Clones share it.
#[derive(Debug, Clone)]
pub struct Backlog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: usize,
    used: AtomicUsize,
    commits: Mutex<CommitTimes>,
}

impl Backlog {
    /// A bound of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Shared {
            limit: bytes,
            used: AtomicUsize::new(0),
            commits: Mutex::default(),
        }))
    }

    /// How long segments waited until they were safe, since the start.
    pub fn commit_times(&self) -> CommitTimes {
        *self.0.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Segments are safe, each so long after its last part.
    pub(crate) fn committed(&self, waited: impl Iterator<Item = Duration>) {
        let mut times = self.0.commits.lock().unwrap_or_else(PoisonError::into_inner);
        waited.for_each(|waited| times.add(waited));
    }

    /// Bytes that wait now.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Room for `bytes` of one broadcast, until the guard is dropped.
    pub(crate) fn take(
        &self,
        status: &Arc<Status>,
        bytes: usize,
        own_limit: usize,
    ) -> Option<Waiting> {
        let own = status.backlog_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let all = self.0.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let waiting = Waiting { backlog: self.clone(), status: status.clone(), bytes };
        (own <= own_limit && all <= self.0.limit).then_some(waiting)
    }
}

/// Bytes that wait for the store.
#[derive(Debug)]
pub(crate) struct Waiting {
    backlog: Backlog,
    status: Arc<Status>,
    bytes: usize,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.status.backlog_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.backlog.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_in_its_class() {
        let backlog = Backlog::new(0);
        let ms = [0, 5, 6, 60_000].map(Duration::from_millis);
        backlog.committed(ms.into_iter());
        let times = backlog.commit_times();
        assert_eq!((times.count(), times.sum), (4, Duration::from_millis(60_011)));
        let class = |ms| COMMIT_MS.iter().position(|bound| *bound == ms);
        assert_eq!(class(5).map(|at| times.within[at]), Some(1));
        assert_eq!(class(10).map(|at| times.within[at]), Some(1));
        assert_eq!(times.within[0], 1, "at once");
        assert_eq!(times.within[COMMIT_MS.len()], 1, "longer than all of them");
    }
}
