//! Who waits for a change. Wakers are taken under the lock of what changed and woken after it is
//! released, in one batch.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

/// Locks, also after a panic of another holder: a panic ends one connection, not its neighbours.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells one waiting handle from another.
#[derive(Debug)]
pub(crate) struct Ticket {
    key: u64,
    /// The round of [`Wakers`] in which it was registered last.
    round: Option<u64>,
}

impl Ticket {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { key: NEXT.fetch_add(1, Ordering::Relaxed), round: None }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Wakers {
    round: u64,
    waiting: Vec<(u64, Waker)>,
}

impl Wakers {
    /// Registers a handle until the next change. At most one waker a handle.
    pub(crate) fn register(&mut self, ticket: &mut Ticket, cx: &Context<'_>) {
        if ticket.round == Some(self.round)
            && let Some((_, waker)) = self.waiting.iter_mut().find(|(key, _)| *key == ticket.key)
        {
            waker.clone_from(cx.waker());
            return;
        }
        ticket.round = Some(self.round);
        self.waiting.push((ticket.key, cx.waker().clone()));
    }

    /// Takes all who wait; the caller wakes them once it has released the lock.
    #[must_use]
    pub(crate) fn take(&mut self) -> Woken {
        self.round += 1;
        #[cfg(test)]
        if crate::faults::is(crate::faults::Fault::SkippedWake) {
            return Woken(Vec::new());
        }
        Woken(std::mem::take(&mut self.waiting))
    }
}

/// Wakers that were taken. Dropping it wakes them: drop it outside of any lock.
pub(crate) struct Woken(Vec<(u64, Waker)>);

impl Drop for Woken {
    fn drop(&mut self) {
        for (_, waker) in self.0.drain(..) {
            waker.wake();
        }
    }
}
