//! What was looked up lately in the state: remembered for a moment, and looked up once for all who ask meanwhile. A thousand
//! viewers of one video ask several times a second.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};

use crate::limits::{POLICIES_KEPT, POLICY_AGE};

/// What is found; nothing while nobody can say.
type Found<V> = Option<V>;

/// A look into the state that others may wait for as well.
type Look<V> = BoxFuture<'static, Found<V>>;

#[derive(Debug)]
pub(crate) struct Lookups<K, V: Clone>(Mutex<State<K, V>>);

#[derive(Debug)]
struct State<K, V: Clone> {
    /// When it was asked for, and what was said.
    known: BTreeMap<K, (u64, V)>,
    /// Since when it is being looked up, for as long as somebody waits.
    looking: BTreeMap<K, (u64, WeakShared<Look<V>>)>,
    /// How many somebody waited for when they were last walked through.
    kept: usize,
    /// How often something was forgotten. What was being read then may be of before.
    forgotten: u64,
}

impl<K, V: Clone> Default for Lookups<K, V> {
    fn default() -> Self {
        let (known, looking) = (BTreeMap::new(), BTreeMap::new());
        Self(Mutex::new(State { known, looking, kept: 0, forgotten: 0 }))
    }
}

/// Whether what was asked for then can be taken now. A clock that was put back makes nothing last longer.
fn is_fresh(since_ms: u64, now_ms: u64) -> bool {
    let age = u64::try_from(POLICY_AGE.as_millis()).unwrap_or(0);
    since_ms <= now_ms && now_ms - since_ms < age
}

impl<K: Ord + Clone, V: Clone> Lookups<K, V> {
    fn state(&self) -> MutexGuard<'_, State<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of it, or is being looked up, no longer ago than may be; else `look` says it.
    pub(crate) async fn get(
        &self,
        key: K,
        now_ms: u64,
        look: impl FnOnce() -> Look<V>,
    ) -> Found<V> {
        let (since_ms, forgotten, looking) = {
            let mut state = self.state();
            if let Some((since_ms, value)) = state.known.get(&key)
                && is_fresh(*since_ms, now_ms)
            {
                return Some(value.clone());
            }
            let (since_ms, looking) = state.look(&key, now_ms, look);
            (since_ms, state.forgotten, looking)
        };
        let found = looking.await;
        let mut state = self.state();
        state.looked(&key, since_ms);
        if state.forgotten == forgotten {
            state.found(key, since_ms, now_ms, found.clone());
        }
        found
    }

    /// What is asked for from now on is looked up anew.
    pub(crate) fn forget_all(&self) {
        let mut state = self.state();
        state.known.clear();
        state.looking.clear();
        state.forgotten += 1;
    }

    /// The same of one.
    pub(crate) fn forget(&self, key: &K) {
        let mut state = self.state();
        state.known.remove(key);
        state.looking.remove(key);
        state.forgotten += 1;
    }
}

impl<K: Ord + Clone, V: Clone> State<K, V> {
    /// Looks, or waits with those who look.
    fn look(
        &mut self,
        key: &K,
        now_ms: u64,
        look: impl FnOnce() -> Look<V>,
    ) -> (u64, Shared<Look<V>>) {
        if let Some((since_ms, looking)) = self.looking.get(key)
            && is_fresh(*since_ms, now_ms)
            && let Some(looking) = looking.upgrade()
        {
            return (*since_ms, looking);
        }
        if self.looking.len() >= POLICIES_KEPT.max(2 * self.kept) {
            // Of those who did not wait for the end. Those who do are not walked through again for each one more.
            self.looking.retain(|_, (_, looking)| looking.upgrade().is_some());
            self.kept = self.looking.len();
        }
        let looking = look().shared();
        if let Some(weak) = looking.downgrade() {
            self.looking.insert(key.clone(), (now_ms, weak));
        }
        (now_ms, looking)
    }

    /// Nobody waits for this look any more.
    fn looked(&mut self, key: &K, since_ms: u64) {
        if self.looking.get(key).is_some_and(|(since, _)| *since == since_ms) {
            self.looking.remove(key);
        }
    }

    fn found(&mut self, key: K, since_ms: u64, now_ms: u64, found: Found<V>) {
        let Some(value) = found else { return };
        if self.known.get(&key).is_some_and(|(since, _)| is_fresh(since_ms, *since)) {
            // Somebody who asked later was answered before.
            return;
        }
        if self.known.len() >= POLICIES_KEPT {
            self.known.retain(|_, (since_ms, _)| is_fresh(*since_ms, now_ms));
        }
        // Of so many at once the newest are read again each time.
        if self.known.len() < POLICIES_KEPT {
            self.known.insert(key, (since_ms, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Poll;

    use tokio::sync::watch;

    use super::*;

    const NOW: u64 = 1_763_812_800_000;

    /// A state that is read when it is said so, and how often it was.
    struct Slow {
        lookups: Lookups<&'static str, u32>,
        read: Arc<AtomicU32>,
        go: watch::Sender<bool>,
        /// What is read, at the moment when it is asked for; nothing: it can't be.
        value: Option<u32>,
    }

    impl Slow {
        fn new(value: Option<u32>) -> Self {
            let (lookups, read, go) = (Lookups::default(), Arc::default(), watch::channel(false).0);
            Self { lookups, read, go, value }
        }

        fn ask(&self, now_ms: u64) -> impl Future<Output = Option<u32>> + '_ {
            let (read, mut go, value) = (self.read.clone(), self.go.subscribe(), self.value);
            self.lookups.get("one", now_ms, move || {
                read.fetch_add(1, Ordering::Relaxed);
                async move {
                    go.wait_for(|go| *go).await.unwrap();
                    value
                }
                .boxed()
            })
        }

        fn reads(&self) -> u32 {
            self.read.load(Ordering::Relaxed)
        }
    }

    /// Asks, and waits no longer than until it has to wait.
    async fn begin<F: Future + Unpin>(asking: &mut F) {
        poll_fn(|cx| {
            assert!(asking.poll_unpin(cx).is_pending(), "it can't be known yet");
            Poll::Ready(())
        })
        .await;
    }

    #[tokio::test]
    async fn a_thousand_who_ask_at_once_are_one_look() {
        for value in [Some(7), None] {
            let slow = Slow::new(value);
            let mut all: Vec<_> = (0..1_000).map(|_| Box::pin(slow.ask(NOW))).collect();
            for asking in &mut all {
                begin(asking).await;
            }
            // Whoever was first does not wait for the end.
            drop(all.remove(0));
            slow.go.send_replace(true);
            for asking in all {
                assert_eq!(asking.await, value);
            }
            assert_eq!(slow.reads(), 1);
            // What is known is not read again, for as long as it may be; what can't be known is.
            assert_eq!(slow.ask(NOW + 499).await, value);
            assert_eq!(slow.reads(), if value.is_some() { 1 } else { 2 });
            assert_eq!(slow.ask(NOW + 500).await, value);
            assert_eq!(slow.reads(), if value.is_some() { 2 } else { 3 });
            assert!(slow.lookups.state().looking.is_empty());
        }
    }

    #[tokio::test]
    async fn what_was_being_read_when_it_changed_is_not_remembered() {
        for all in [true, false] {
            let mut slow = Slow::new(Some(1));
            let mut before = Box::pin(slow.lookups.get("one", NOW, {
                let mut go = slow.go.subscribe();
                move || async move { go.wait_for(|go| *go).await.map(|_| 1).ok() }.boxed()
            }));
            begin(&mut before).await;
            // Changed while it was on its way here.
            if all {
                slow.lookups.forget_all();
            } else {
                slow.lookups.forget(&"one");
            }
            slow.go.send_replace(true);
            assert_eq!(before.await, Some(1), "who asked before hears of before");
            assert!(slow.lookups.state().looking.is_empty());
            slow.value = Some(2);
            assert_eq!(slow.ask(NOW).await, Some(2));
            assert_eq!(slow.ask(NOW).await, Some(2));
            assert_eq!(slow.reads(), 1);
        }
    }

    /// Also of one who had asked for something else than what was forgotten.
    #[tokio::test]
    async fn what_is_looked_up_is_not_kept_when_it_is_found() {
        let slow = Slow::new(Some(1));
        let mut asking = Box::pin(slow.ask(NOW));
        begin(&mut asking).await;
        slow.lookups.forget(&"another");
        slow.go.send_replace(true);
        assert_eq!(asking.await, Some(1));
        assert!(slow.lookups.state().looking.is_empty());
    }

    #[tokio::test]
    async fn who_comes_much_later_does_not_wait_for_an_old_look() {
        let slow = Slow::new(Some(1));
        let mut first = Box::pin(slow.ask(NOW));
        begin(&mut first).await;
        let mut late = Box::pin(slow.ask(NOW + 500));
        begin(&mut late).await;
        assert_eq!(slow.reads(), 2);
        slow.go.send_replace(true);
        assert_eq!((first.await, late.await), (Some(1), Some(1)));
        assert_eq!(slow.ask(NOW + 999).await, Some(1));
        assert_eq!(slow.reads(), 2, "the later one is remembered");
    }
}
