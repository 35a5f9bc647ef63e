//! Who waits for a change. Wakers are taken under the lock of what changed and woken after it is
//! released, in one batch.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Waker};

/// Locks, also after a panic of another holder: a panic ends one connection, not its neighbours.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells one waiting handle from another. Only a handle that has waited costs anything.
#[derive(Debug)]
pub(crate) struct Ticket {
    alive: Option<Arc<()>>,
    /// The [`Wakers`] where it was registered last, by address, and their round then.
    last: Option<(usize, u64)>,
}

impl Ticket {
    pub(crate) const fn new() -> Self {
        Self { alive: None, last: None }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Wakers {
    round: u64,
    waiting: Vec<(Weak<()>, Waker)>,
    /// How many may wait before those whose handle is gone are looked for.
    tidy_at: usize,
}

impl Wakers {
    /// Registers a handle until the next change. At most one waker a handle, and none of handles
    /// that are gone for longer than it takes to double: readers come and go for hours on what
    /// does not change.
    pub(crate) fn register(&mut self, ticket: &mut Ticket, cx: &Context<'_>) {
        let here = (std::ptr::from_ref(self).addr(), self.round);
        let alive = ticket.alive.get_or_insert_default();
        let last = ticket.last.replace(here);
        // Registered here before the last change: gone since. Last elsewhere: it may still be here.
        let maybe = last.is_some_and(|last| last == here || last.0 != here.0);
        let key = Arc::as_ptr(alive);
        if maybe && let Some((_, waker)) = self.waiting.iter_mut().find(|w| w.0.as_ptr() == key) {
            waker.clone_from(cx.waker());
            return;
        }
        if self.waiting.len() >= self.tidy_at {
            self.waiting.retain(|(alive, _)| alive.strong_count() > 0);
            self.tidy_at = 32.max(self.waiting.len() * 2);
        }
        self.waiting.push((Arc::downgrade(alive), cx.waker().clone()));
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
pub(crate) struct Woken(Vec<(Weak<()>, Waker)>);

impl Drop for Woken {
    fn drop(&mut self) {
        for (_, waker) in self.0.drain(..) {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cx() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    #[test]
    fn handles_that_come_and_go_on_something_quiet_do_not_pile_up() {
        let mut wakers = Wakers::default();
        for _ in 0..10_000 {
            wakers.register(&mut Ticket::new(), &cx());
        }
        assert!(wakers.waiting.len() <= 64, "{}", wakers.waiting.len());
    }

    #[test]
    fn one_place_that_waits_for_two_things_is_registered_once_with_each() {
        let (mut busy, mut quiet) = (Wakers::default(), Wakers::default());
        let mut ticket = Ticket::new();
        for _ in 0..100 {
            busy.register(&mut ticket, &cx());
            quiet.register(&mut ticket, &cx());
            drop(busy.take());
        }
        assert_eq!(quiet.waiting.len(), 1);
    }
}
