//! What is held of data streams before it is known whose they are: of each session, and of all together. Where all have too much, those of
//! the session that has most are given up. Many sessions that hold a little each are no such: how many an address has is bounded elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Of all sessions.
#[derive(Debug)]
pub(crate) struct Ahead {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: usize,
    /// Of sessions, and of times in which one of them holds something.
    next: u64,
    sessions: BTreeMap<u64, Holding>,
    by_bytes: BTreeSet<(usize, u64)>,
}

/// What a session holds.
#[derive(Debug)]
struct Holding {
    bytes: usize,
    /// From when it held nothing to when it does again, or is made to give it up: those are never the same.
    term: u64,
    shed: watch::Sender<()>,
}

impl Ahead {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much there is.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.state().bytes
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// A session holds so many more, in this term of its; says how many that are.
    fn grow(&mut self, session: u64, bytes: usize) -> usize {
        let Some(holding) = self.sessions.get_mut(&session) else { return 0 };
        self.by_bytes.remove(&(holding.bytes, session));
        holding.bytes += bytes;
        self.bytes += bytes;
        self.by_bytes.insert((holding.bytes, session));
        holding.bytes
    }

    /// All of a session is given up, or gone.
    fn forget(&mut self, session: u64) {
        if let Some(holding) = self.sessions.remove(&session) {
            self.by_bytes.remove(&(holding.bytes, session));
            self.bytes -= holding.bytes;
            holding.shed.send_replace(());
        }
    }
}

/// One session's part of it.
#[derive(Debug)]
pub(crate) struct Share {
    of: Arc<Ahead>,
    session: u64,
    most: usize,
}

impl Share {
    /// A session may hold so many.
    pub(crate) fn new(of: &Arc<Ahead>, most: usize) -> Self {
        let session = of.state().number();
        Self { of: of.clone(), session, most }
    }

    /// A stream of it.
    pub(crate) fn stream(&self) -> Stream<'_> {
        Stream { share: self, bytes: 0, term: None }
    }
}

/// One stream's part of that; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    share: &'a Share,
    bytes: usize,
    /// In which it holds what it does, and when that is given up.
    term: Option<(u64, watch::Receiver<()>)>,
}

impl Stream<'_> {
    /// Whether so many more may be held. If not, the stream must end.
    pub(crate) fn add(&mut self, bytes: usize) -> bool {
        let Share { of, session, most } = self.share;
        let mut state = of.state();
        let term = match (state.sessions.get(session), &self.term) {
            (Some(holding), Some((term, _))) if holding.term == *term => *term,
            // It was given up.
            (_, Some(_)) => return false,
            (Some(holding), None) => {
                let term = holding.term;
                self.term = Some((term, holding.shed.subscribe()));
                term
            }
            (None, None) => {
                let (term, (shed, told)) = (state.number(), watch::channel(()));
                state.sessions.insert(*session, Holding { bytes: 0, term, shed });
                self.term = Some((term, told));
                term
            }
        };
        self.bytes += bytes;
        if state.grow(*session, bytes) > *most {
            return false;
        }
        while state.bytes > of.most {
            let Some((_, largest)) = state.by_bytes.last().copied() else { break };
            state.forget(largest);
        }
        // It may have been its own.
        state.sessions.get(session).is_some_and(|holding| holding.term == term)
    }

    /// Waits until all that its session holds is given up.
    pub(crate) async fn is_shed(&mut self) {
        match &mut self.term {
            // Also if whoever would say so is gone.
            Some((_, shed)) => drop(shed.changed().await),
            None => std::future::pending().await,
        }
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        let Some((term, _)) = &self.term else { return };
        let Share { of, session, .. } = self.share;
        let mut state = of.state();
        let Some(holding) = state.sessions.get_mut(session).filter(|it| it.term == *term) else {
            return;
        };
        let left = holding.bytes - self.bytes;
        if left == 0 {
            state.forget(*session);
            return;
        }
        let before = std::mem::replace(&mut holding.bytes, left);
        state.by_bytes.remove(&(before, *session));
        state.by_bytes.insert((left, *session));
        state.bytes -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_most_makes_room_for_others() {
        let all = Arc::new(Ahead::new(1_000));
        let shares: Vec<Share> = (0..4).map(|_| Share::new(&all, 700)).collect();
        let mut one = shares[0].stream();
        assert!(one.add(100));
        let (mut greedy, mut more) = (shares[1].stream(), shares[1].stream());
        assert!(greedy.add(400) && more.add(200));
        let mut other = shares[2].stream();
        assert!(other.add(300) && all.bytes() == 1_000);
        // All of it goes, and that of nobody else.
        let mut last = shares[3].stream();
        assert!(last.add(50));
        assert_eq!(all.bytes(), 450);
        assert!(!greedy.add(1) && !more.add(1), "it was given up");
        assert!(one.add(1) && other.add(1));
        // It may hold something again, whatever becomes of the streams that went.
        let mut again = shares[1].stream();
        assert!(again.add(20));
        drop((greedy, more));
        assert_eq!(all.bytes(), 472);
        // Who holds most pays for itself.
        assert!(again.add(300) && !other.add(399));
        assert_eq!(all.bytes(), 471);
        drop((one, other, last, again));
        assert_eq!(all.bytes(), 0);
        let state = all.state();
        assert!(state.sessions.is_empty() && state.by_bytes.is_empty());
    }

    #[test]
    fn a_session_has_a_bound_of_its_own() {
        let all = Arc::new(Ahead::new(1_000));
        let share = Share::new(&all, 300);
        let (mut one, mut two) = (share.stream(), share.stream());
        assert!(one.add(200) && two.add(100));
        assert!(!two.add(1));
        drop(two);
        assert!(one.add(100) && all.bytes() == 300);
    }

    #[tokio::test]
    async fn streams_hear_that_they_are_given_up() {
        let all = Arc::new(Ahead::new(100));
        let (greedy, other) = (Share::new(&all, 100), Share::new(&all, 100));
        let (mut stream, mut small) = (greedy.stream(), other.stream());
        assert!(stream.add(90) && small.add(20));
        stream.is_shed().await;
        let waiting = tokio::time::timeout(std::time::Duration::ZERO, small.is_shed()).await;
        assert!(waiting.is_err(), "it stays");
    }
}
