//! Objects in datagrams, on their way to who takes those of their request. Nobody waits for one that is lost, so of a request whose owner
//! does not come to it the oldest are dropped.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use moqt::Properties;
use moqt::data::{Body, Datagram};

use crate::limits::{DATAGRAMS_EACH, DATAGRAMS_WAITING_MAX, PIECE_BYTES};

/// Bytes that wait, of a connection.
pub(crate) type Held = Arc<AtomicUsize>;

/// Those of one request.
#[derive(Debug)]
pub(crate) struct Datagrams {
    held: Held,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Datagram>,
    /// What they cost.
    bytes: usize,
    /// So many [`Queued`] are on their way: as many as wait, or more, if several were dropped for one.
    told: usize,
}

/// One of them waits, unless it was dropped.
#[derive(Debug)]
pub(crate) struct Queued(Option<Arc<Datagrams>>);

impl Datagrams {
    pub(crate) fn new(held: &Held) -> Arc<Self> {
        Arc::new(Self { held: held.clone(), state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more; what its owner is to be told, if it is not told so already.
    pub(crate) fn push(self: &Arc<Self>, datagram: Datagram) -> Option<Queued> {
        let mut state = self.state();
        let bytes = cost(&datagram);
        // Others may have all the room that there is, but for that.
        while self.held.load(Ordering::Relaxed) + bytes > DATAGRAMS_WAITING_MAX
            && state.bytes + bytes > DATAGRAMS_EACH
        {
            let oldest = state.waiting.pop_front()?;
            state.bytes -= cost(&oldest);
            self.held.fetch_sub(cost(&oldest), Ordering::Relaxed);
        }
        state.bytes += bytes;
        self.held.fetch_add(bytes, Ordering::Relaxed);
        // One that waits would hold the packet that it came in.
        let datagram = if state.waiting.is_empty() { datagram } else { copied(datagram) };
        state.waiting.push_back(datagram);
        let news = state.told < state.waiting.len();
        state.told += usize::from(news);
        news.then(|| Queued(Some(self.clone())))
    }
}

impl Queued {
    /// The oldest that is left.
    pub(crate) fn take(mut self) -> Option<Datagram> {
        self.pop()
    }

    fn pop(&mut self) -> Option<Datagram> {
        let of = self.0.take()?;
        let mut state = of.state();
        state.told = state.told.saturating_sub(1);
        let datagram = state.waiting.pop_front()?;
        state.bytes -= cost(&datagram);
        of.held.fetch_sub(cost(&datagram), Ordering::Relaxed);
        Some(datagram)
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.pop();
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        let left = self.state().bytes;
        self.held.fetch_sub(left, Ordering::Relaxed);
    }
}

fn cost(datagram: &Datagram) -> usize {
    let payload = match &datagram.body {
        Body::Payload(bytes) => bytes.len(),
        Body::Status(_) => 0,
    };
    payload + datagram.properties.as_bytes().len() + PIECE_BYTES
}

fn copied(datagram: Datagram) -> Datagram {
    let body = match datagram.body {
        Body::Payload(bytes) => Body::Payload(Bytes::copy_from_slice(&bytes)),
        status @ Body::Status(_) => status,
    };
    let properties = Bytes::copy_from_slice(datagram.properties.as_bytes());
    Datagram { body, properties: Properties::from_checked(properties), ..datagram }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(group: u64, bytes: usize) -> Datagram {
        Datagram {
            alias: 1,
            group,
            object: 0,
            priority: None,
            end_of_group: false,
            properties: Properties::empty(),
            body: Body::Payload(Bytes::from(vec![7; bytes])),
        }
    }

    #[test]
    fn the_oldest_are_dropped_and_what_is_told_of_them_has_a_bound() {
        let held = Held::default();
        let (one, other) = (Datagrams::new(&held), Datagrams::new(&held));
        let mut told = VecDeque::new();
        let mut most = 0;
        // Large ones drop several small ones, which come again.
        for group in 0..50_000u64 {
            let bytes = if group % 9 == 0 { 1_200 } else { 1 };
            told.extend(one.push(datagram(group, bytes)));
            assert!(held.load(Ordering::Relaxed) <= DATAGRAMS_WAITING_MAX);
            most = most.max(told.len());
        }
        assert!(most <= DATAGRAMS_WAITING_MAX / PIECE_BYTES, "{most}");
        // Another request of the connection has some room all the same, and drops nothing of this one.
        let mut others: Vec<_> = (0..100).filter_map(|n| other.push(datagram(n, 1_200))).collect();
        assert!(held.load(Ordering::Relaxed) <= DATAGRAMS_WAITING_MAX + DATAGRAMS_EACH);
        assert_eq!(others.pop().and_then(Queued::take).map(|d| d.group), Some(89));
        // Not taken up, it is as if it was: what comes then is told.
        drop(others);
        assert!(other.push(datagram(100, 1_200)).is_some());
        drop(other);
        let other = Datagrams::new(&held);
        let left: Vec<u64> = told.drain(..).filter_map(Queued::take).map(|d| d.group).collect();
        assert_eq!(left.last(), Some(&49_999));
        assert!(left.len() > 1_000 && left.windows(2).all(|two| two[1] == two[0] + 1));
        assert_eq!(held.load(Ordering::Relaxed), 0);
        assert!(other.push(datagram(1, 1_200)).is_some());
        drop((one, other));
        assert_eq!(held.load(Ordering::Relaxed), 0, "what nobody took is given back");
    }
}
