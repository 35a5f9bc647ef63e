//! How a recorder is doing, for health and for whoever shows numbers to viewers.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::limits::LOST_KEPT;

/// Counters of one recorder.
#[derive(Debug, Default)]
pub struct Status {
    pub(crate) committed: AtomicU64,
    pub(crate) reserved_to: AtomicU64,
    pub(crate) backlog_bytes: AtomicUsize,
    pub(crate) gaps: AtomicU64,
    pub(crate) late_parts: AtomicU64,
    pub(crate) failures: AtomicU64,
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

/// What all recorders of a node have waiting for the store. Clones share it.
#[derive(Debug, Clone)]
pub struct Backlog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: usize,
    used: AtomicUsize,
}

impl Backlog {
    /// A bound of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Shared { limit: bytes, used: AtomicUsize::new(0) }))
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
