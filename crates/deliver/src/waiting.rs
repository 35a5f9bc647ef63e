//! Who waits for what. Requests for the same version share one place to wait, and only those are woken whose version is
//! there: ten thousand who wait for a segment sleep through its parts.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use access::rate::neighbourhood;
use axum::response::Response;
use package::Index;
use package::reload::{Decision, Directives, decide};
use tokio::sync::Notify;

use crate::http::not_now;
use crate::limits::{
    PARKED_MAX, PARKED_PER_ADDRESS_MAX, READ_BYTES_MAX, READ_BYTES_PER_ADDRESS_MAX,
};
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

/// Why nobody else may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Busy {
    /// Too many wait on the node.
    All,
    /// The address has its share.
    Address,
}

impl Busy {
    /// What is answered. Places become free with every part, so it is worth trying again soon.
    pub(crate) fn response(self) -> Response {
        let words = match self {
            Self::All => format!(
                "{PARKED_MAX} requests wait at this server, and it holds no more: try again in a second"
            ),
            Self::Address => format!(
                "{PARKED_PER_ADDRESS_MAX} requests from your address wait at this server, and each \
                 address has no more: try again in a second. If this address is a proxy of many \
                 viewers, its operator has to name it in http.trusted_proxies"
            ),
        };
        not_now(&words, Duration::from_secs(1))
    }
}

/// Written beside a request that a trusted proxy did not say the client of: its address is that of many people, of whom each
/// has a share of the places.
#[derive(Debug, Clone, Copy)]
pub struct OfMany;

/// Who waits: the address that has a share of the places. None: the server itself, or many people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waiter(pub(crate) Option<IpAddr>);

impl Waiter {
    /// What the node itself waits for.
    pub(crate) const NODE: Self = Self(None);

    /// The address, or network, that has a share.
    pub(crate) fn address(self) -> Option<IpAddr> {
        self.0.map(neighbourhood)
    }
}

/// Waits until `ready` has an answer, at most `patience`; it is asked again when `awaited` is there. Fails if too many
/// wait already.
pub(crate) async fn wait_for<T>(
    shelf: &Arc<Shelf>,
    waiter: Waiter,
    patience: Duration,
    awaited: Awaited,
    ready: impl Fn(&Arc<Shelf>) -> Option<T>,
) -> Result<Option<T>, Busy> {
    if let Some(answer) = ready(shelf) {
        return Ok(Some(answer));
    }
    let _place = shelf.counters().parked.take(waiter)?;
    let deadline = tokio::time::Instant::now() + patience;
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

/// The places of the node, and how many of them each address has.
#[derive(Debug)]
pub struct Places {
    most: u64,
    each: u64,
    taken: AtomicU64,
    of: Mutex<BTreeMap<IpAddr, u64>>,
    /// Who found no place: too many waited.
    pub refused: AtomicU64,
    /// Who found no place: too many of his address waited.
    pub refused_address: AtomicU64,
}

impl Places {
    /// So many in all, and for each address.
    fn new(most: u64, each: u64) -> Arc<Self> {
        let (taken, of) = (AtomicU64::new(0), Mutex::default());
        let (refused, refused_address) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { most, each, taken, of, refused, refused_address })
    }

    /// For requests that wait.
    pub(crate) fn to_wait() -> Arc<Self> {
        Self::new(PARKED_MAX as u64, PARKED_PER_ADDRESS_MAX as u64)
    }

    /// For bytes that wait to be taken.
    pub(crate) fn of_bytes() -> Arc<Self> {
        Self::new(READ_BYTES_MAX, READ_BYTES_PER_ADDRESS_MAX)
    }

    /// How many are taken now.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// One more, unless too many wait, or too many of this address.
    pub(crate) fn take(self: &Arc<Self>, waiter: Waiter) -> Result<Place, Busy> {
        self.take_some(waiter, 1)
    }

    /// So many more.
    pub(crate) fn take_some(self: &Arc<Self>, waiter: Waiter, some: u64) -> Result<Place, Busy> {
        let taken = self.try_take(waiter, some);
        match taken {
            Ok(_) => {}
            Err(Busy::All) => _ = self.refused.fetch_add(1, Ordering::Relaxed),
            Err(Busy::Address) => _ = self.refused_address.fetch_add(1, Ordering::Relaxed),
        }
        taken
    }

    fn try_take(self: &Arc<Self>, waiter: Waiter, some: u64) -> Result<Place, Busy> {
        let before = self.taken.fetch_add(some, Ordering::Relaxed);
        let mut place = Place { places: self.clone(), some, of: None };
        if before.saturating_add(some) > self.most {
            return Err(Busy::All);
        }
        if let Some(address) = waiter.address() {
            let mut of = self.of();
            let here = of.get(&address).copied().unwrap_or(0).saturating_add(some);
            if here > self.each {
                return Err(Busy::Address);
            }
            of.insert(address, here);
            place.of = Some(address);
        }
        Ok(place)
    }

    fn of(&self) -> MutexGuard<'_, BTreeMap<IpAddr, u64>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody waits, until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    some: u64,
    of: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.fetch_sub(self.some, Ordering::Relaxed);
        let Some(address) = self.of else { return };
        let mut of = self.places.of();
        match of.get(&address).copied().unwrap_or(0).saturating_sub(self.some) {
            0 => drop(of.remove(&address)),
            left => drop(of.insert(address, left)),
        }
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
                closes: false,
                target_ms: 667,
                target_duration: Some(2),
                open: false,
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
    fn an_address_has_a_share_of_the_places() {
        let places = Places::to_wait();
        let take = |from: &str| places.take(Waiter(Some(from.parse().unwrap())));
        let mut one: Vec<_> =
            (0..PARKED_PER_ADDRESS_MAX).map_while(|_| take("192.0.2.1").ok()).collect();
        assert_eq!(one.len(), PARKED_PER_ADDRESS_MAX);
        // Whoever has IPv6 has all of a network.
        for same in ["192.0.2.1", "::ffff:192.0.2.1"] {
            assert_eq!(take(same).err(), Some(Busy::Address));
        }
        let others = [take("192.0.2.2"), take("2001:db8::1"), places.take(Waiter::NODE)];
        assert!(others.iter().all(Result::is_ok));
        one.pop();
        one.extend(take("192.0.2.1"));
        assert_eq!(one.len(), PARKED_PER_ADDRESS_MAX);
        assert_eq!(take("192.0.2.1").err(), Some(Busy::Address));
        // Those who are many people have all of them together.
        let many: Vec<_> = (0..).map_while(|_| places.take(Waiter(None)).ok()).collect();
        assert_eq!(one.len() + others.len() + many.len(), PARKED_MAX);
        assert_eq!(take("192.0.2.3").err(), Some(Busy::All));
        // Who was refused is counted, by the reason.
        let counted = [&places.refused, &places.refused_address].map(|n| n.load(Ordering::Relaxed));
        assert_eq!(counted, [2, 3]);
        drop((one, others, many));
        assert_eq!(places.taken(), 0);
        assert!(places.of().is_empty(), "who has gone is forgotten");
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
