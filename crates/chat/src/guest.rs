//! A viewer who publishes messages: tracks of a broadcast of his own, on a spine of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use access::rate::neighbourhood;
use bytes::{Bytes, BytesMut};
use media::{FrameEvent, Frames};
use spine::broadcast::{Consumer, Liveness, Producer};
use spine::{
    Close, Filter, Limits, Location, NodeId, Origin, Path, Policy, PublishError, Route, Start,
    Takeover, TrackName, Waiting,
};

use crate::limits::{GUEST_BYTES, GUEST_TRACKS, GUESTS_MAX, GUESTS_PER_ADDRESS, MESSAGE_BYTES_MAX};

/// A viewer who publishes.
pub(crate) struct Guest {
    pub(crate) address: IpAddr,
    /// Tells him from others of his address.
    pub(crate) number: u64,
    origin: Origin,
    broadcast: Consumer,
    _place: Place,
}

/// The places that are taken.
#[derive(Clone, Default)]
pub(crate) struct Places(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// One of the places that there are; free again when it is dropped.
struct Place {
    places: Places,
    /// With its neighbourhood.
    address: IpAddr,
}

impl Places {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.taken().all
    }

    fn take(&self, address: IpAddr) -> Option<Place> {
        let address = neighbourhood(address);
        let mut taken = self.taken();
        let here = taken.by_address.get(&address).copied().unwrap_or(0);
        if taken.all >= GUESTS_MAX || here >= GUESTS_PER_ADDRESS {
            return None;
        }
        taken.all += 1;
        taken.by_address.insert(address, here + 1);
        Some(Place { places: self.clone(), address })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all = taken.all.saturating_sub(1);
        match taken.by_address.get(&self.address).copied().unwrap_or(0) {
            0 | 1 => drop(taken.by_address.remove(&self.address)),
            here => drop(taken.by_address.insert(self.address, here - 1)),
        }
    }
}

impl Drop for Guest {
    /// Who still publishes is told that nobody reads it.
    fn drop(&mut self) {
        self.origin.end(&Path::root(), Close::Ended);
    }
}

impl Guest {
    /// A guest, and what he writes to.
    pub(crate) fn new(
        address: IpAddr,
        number: u64,
        places: &Places,
    ) -> Result<(Self, Producer), PublishError> {
        let place = places.take(address).ok_or(PublishError::TooManyBroadcasts)?;
        let limits = Limits {
            cache_bytes: GUEST_BYTES,
            object_bytes: MESSAGE_BYTES_MAX,
            // Groups that are not over are not evicted: one of each track may be open, and another one arrive.
            group_bytes: GUEST_BYTES / (2 * GUEST_TRACKS),
            broadcasts: 1,
            tracks_per_broadcast: GUEST_TRACKS,
            ..Limits::default()
        };
        let origin = Origin::new(limits);
        let route = Route::local(NodeId(0), 0);
        let producer = origin.publish(&Path::root(), route, Takeover::Refuse)?;
        let broadcast = producer.consume();
        Ok((Self { address, number, origin, broadcast, _place: place }, producer))
    }
}

/// Reads what a guest publishes, one object after the other.
pub(crate) struct Reading<'a> {
    guest: &'a Guest,
    known: BTreeSet<TrackName>,
    tracks: Vec<Frames>,
    seen: u64,
    changed: Waiting,
}

impl<'a> Reading<'a> {
    pub(crate) fn new(guest: &'a Guest) -> Self {
        let (known, tracks, changed) = (BTreeSet::new(), Vec::new(), Waiting::new());
        Self { guest, known, tracks, seen: u64::MAX, changed }
    }

    /// The next object; nothing when he is gone and all is read.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        let broadcast = &self.guest.broadcast;
        while let Poll::Ready(seen) = broadcast.poll_changed(self.seen, &mut self.changed, cx) {
            self.seen = seen;
            for name in broadcast.tracks() {
                if let Some(track) = broadcast.get(&name).filter(|_| self.known.insert(name)) {
                    let start = Start::At(Location { group: 0, object: 0 });
                    let cursor = track.subscribe(Filter::from(start), Policy::EVERYTHING);
                    self.tracks.push(Frames::new(cursor));
                }
            }
        }
        let mut at = 0;
        while let Some(track) = self.tracks.get_mut(at) {
            match track.poll(cx, Instant::now()) {
                Poll::Ready(FrameEvent::Frame { payload, .. }) => {
                    let mut all = BytesMut::new();
                    payload
                        .into_iter()
                        .for_each(|piece| all.extend_from_slice(&piece.into_bytes()));
                    return Poll::Ready(Some(all.freeze()));
                }
                Poll::Ready(FrameEvent::Lost) => {}
                Poll::Ready(FrameEvent::End(_)) => drop(self.tracks.swap_remove(at)),
                Poll::Pending => at += 1,
            }
        }
        match broadcast.liveness() {
            Liveness::Ended(_) if self.tracks.is_empty() => Poll::Ready(None),
            _ => Poll::Pending,
        }
    }
}
