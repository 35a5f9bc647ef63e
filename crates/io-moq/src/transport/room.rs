//! How much of what there is to send is handed to QUIC, and who hands over first.
//!
//! What QUIC has been given can't get too old any more, and nothing overtakes it but by its stream's priority. So it
//! is given what is under way and about as much again, and no more: the rest waits here, where the most urgent stream
//! goes first, and where what a newer group supersedes is dropped without having cost anything.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Instant;

use tokio::sync::Notify;

use crate::clock;
use crate::limits::{
    DATAGRAM_SEND_BUFFER, SEND_WINDOW, SEND_WINDOW_LOOK, SEND_WINDOW_MIN, TURNS_ASKED,
};

/// What the streams of a connection share.
pub(super) struct Room {
    quic: quinn::Connection,
    /// What QUIC takes at the moment, and when it was looked at.
    window: Mutex<(u64, Option<Instant>)>,
    turns: Turns,
}

impl Room {
    pub(super) fn new(quic: quinn::Connection) -> Self {
        Self { quic, window: Mutex::new((SEND_WINDOW, None)), turns: Turns::default() }
    }

    /// Looks at the path now and then: twice the congestion window fits, so that QUIC never runs out while it waits
    /// for an acknowledgement.
    pub(super) fn look(&self) {
        let now = clock::now();
        let mut window = lock(&self.window);
        if window.1.is_some_and(|looked| now < looked + SEND_WINDOW_LOOK) {
            return;
        }
        let wanted = window_for(self.quic.stats().path.cwnd);
        // Telling QUIC wakes it up: a little is not worth it.
        if wanted.abs_diff(window.0) > window.0 / 8 {
            self.quic.set_send_window(wanted);
            window.0 = wanted;
        }
        window.1 = Some(now);
    }

    /// A datagram's turn: what is more urgent has room.
    pub(super) async fn datagrams_turn(&self, urgency: impl Fn() -> i32) {
        loop {
            let cleared = self.turns.cleared.notified();
            self.look();
            if !self.turns.is_waited_before(urgency()) {
                if self.quic.datagram_send_buffer_space() >= DATAGRAM_SEND_BUFFER / 2 {
                    return;
                }
                // QUIC says to nobody when it has sent some.
                tokio::time::sleep(SEND_WINDOW_LOOK / 4).await;
                continue;
            }
            cleared.await;
        }
    }

    /// Somebody of this [turn](super::SendStream::set_priority_in) has something to write.
    pub(super) fn turn(&self, (priority, order): (i32, u64)) -> Turn<'_> {
        self.turns.of(priority, order)
    }
}

fn window_for(congestion: u64) -> u64 {
    congestion.saturating_mul(2).clamp(SEND_WINDOW_MIN, SEND_WINDOW)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The most urgent first, then by order, then by write.
type Key = (Reverse<i32>, u64, u64);

/// Those who wait for room.
#[derive(Default)]
struct Turns {
    state: Mutex<State>,
    /// Somebody who waited does not any more.
    cleared: Notify,
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<Key, Waiting>,
    /// Counts turns.
    clock: u64,
    /// Numbers writes.
    next: u64,
}

struct Waiting {
    waker: Waker,
    tried: u64,
}

impl Turns {
    fn of(&self, priority: i32, order: u64) -> Turn<'_> {
        let mut state = lock(&self.state);
        state.next += 1;
        Turn { turns: self, key: (Reverse(priority), order, state.next), since: None }
    }

    /// Whether somebody more urgent than this waits.
    fn is_waited_before(&self, priority: i32) -> bool {
        let state = lock(&self.state);
        state.waiting.range(..(Reverse(priority), 0, 0)).next().is_some()
    }
}

/// A write of one stream among those of all.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    key: Key,
    /// Since when it lets others try first.
    since: Option<u64>,
}

impl Turn<'_> {
    /// Whether to try now. Else the most urgent of those who wait try first: QUIC wakes all who wait when there is
    /// room, in no order, and the first one takes it.
    pub(super) fn is_now(&mut self, cx: &Context<'_>) -> bool {
        let mut state = lock(&self.turns.state);
        let since = self.since.unwrap_or(state.clock + 1);
        let more_urgent = state.waiting.range(..self.key).map(|(_, waiting)| waiting);
        // Those that come last would wake all others each time.
        let more_urgent = more_urgent.take(TURNS_ASKED);
        let late = more_urgent.filter(|waiting| waiting.tried < since);
        let late: Vec<Waker> = late.map(|waiting| waiting.waker.clone()).collect();
        if late.is_empty() {
            self.since = None;
            return true;
        }
        if self.since.is_none() {
            state.clock = since;
            self.since = Some(since);
        }
        drop(state);
        late.into_iter().for_each(Waker::wake);
        cx.waker().wake_by_ref();
        false
    }

    /// There was no room, in the connection or in the stream.
    pub(super) fn wait(&mut self, cx: &Context<'_>) {
        let mut state = lock(&self.turns.state);
        state.clock += 1;
        let waiting = Waiting { waker: cx.waker().clone(), tried: state.clock };
        state.waiting.insert(self.key, waiting);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let waited = lock(&self.turns.state).waiting.remove(&self.key);
        if waited.is_some() {
            self.turns.cleared.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    /// Who is to be polled, each once.
    type Ready = Arc<Mutex<VecDeque<usize>>>;

    struct Number(usize, Ready);

    impl Wake for Number {
        fn wake(self: Arc<Self>) {
            let mut ready = lock(&self.1);
            if !ready.contains(&self.0) {
                ready.push_back(self.0);
            }
        }
    }

    #[test]
    fn what_quic_is_given_follows_the_path() {
        for (congestion, window) in [
            (0, SEND_WINDOW_MIN),
            (12_000, SEND_WINDOW_MIN),
            (40_000, 80_000),
            (10 << 20, SEND_WINDOW),
            (u64::MAX, SEND_WINDOW),
        ] {
            assert_eq!(window_for(congestion), window, "{congestion}");
        }
    }

    #[test]
    fn many_who_wait_are_polled_a_few_times_each() {
        const MANY: usize = 256;
        let (turns, ready) = (Turns::default(), Ready::default());
        let number = |n| Waker::from(Arc::new(Number(n, ready.clone())));
        let wakers: Vec<Waker> = (0..MANY).map(number).collect();
        // The least urgent first: nobody lets another one try.
        let mut waiting: Vec<Turn<'_>> = (0..MANY).map(|n| turns.of(n as i32, 0)).collect();
        for (turn, waker) in waiting.iter_mut().zip(&wakers) {
            let cx = Context::from_waker(waker);
            assert!(turn.is_now(&cx));
            turn.wait(&cx);
        }
        // There is room for nobody, and all hear of it in that order.
        wakers.iter().for_each(Waker::wake_by_ref);
        let (mut polls, mut tried) = (0, Vec::new());
        while let Some(next) = { lock(&ready).pop_front() } {
            polls += 1;
            let cx = Context::from_waker(&wakers[next]);
            if waiting[next].is_now(&cx) {
                tried.push(next);
                waiting[next].wait(&cx);
            }
            assert!(polls < MANY * (TURNS_ASKED + 4), "{} have tried", tried.len());
        }
        assert_eq!(tried[0], MANY - 1, "the most urgent one");
        tried.sort_unstable();
        tried.dedup();
        assert_eq!(tried.len(), MANY, "everybody");
    }

    #[test]
    fn who_is_more_urgent_tries_first_and_then_the_others() {
        let turns = Turns::default();
        let cx = Context::from_waker(Waker::noop());
        let (mut low, mut high, mut highest) = (turns.of(1, 0), turns.of(7, 0), turns.of(9, 0));
        // Nobody waits: all try, and find no room.
        for turn in [&mut low, &mut high, &mut highest] {
            assert!(turn.is_now(&cx));
            turn.wait(&cx);
        }
        // There is room, and the least urgent one hears of it first.
        assert!(!low.is_now(&cx));
        assert!(!high.is_now(&cx));
        assert!(highest.is_now(&cx));
        // Its stream is full: the next one's turn, and so on.
        highest.wait(&cx);
        assert!(high.is_now(&cx));
        high.wait(&cx);
        assert!(low.is_now(&cx));
        low.wait(&cx);
        // Who is done, or gone, is waited for no more.
        assert!(!low.is_now(&cx));
        drop((high, highest));
        assert!(low.is_now(&cx));
        // Equals take turns as they come.
        let mut other = turns.of(1, 0);
        assert!(!other.is_now(&cx));
        assert!(low.is_now(&cx));
    }

    #[test]
    fn of_equals_who_is_first_in_order_tries_first_however_often_it_has_written() {
        let turns = Turns::default();
        let cx = Context::from_waker(Waker::noop());
        let (mut second, mut first) = (turns.of(1, 40), turns.of(1, 8));
        for turn in [&mut second, &mut first] {
            assert!(turn.is_now(&cx));
            turn.wait(&cx);
        }
        assert!(!second.is_now(&cx));
        drop(first);
        let mut first = turns.of(1, 8);
        assert!(first.is_now(&cx));
        first.wait(&cx);
        assert!(second.is_now(&cx));
        second.wait(&cx);
        assert!(first.is_now(&cx) && !second.is_now(&cx));
    }
}
