//! A viewer who publishes messages: tracks of a broadcast of his own, on a spine of its own.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use media::{FrameEvent, Frames};
use spine::broadcast::{Consumer, Liveness, Producer};
use spine::{
    Close, Filter, Limits, Location, NodeId, Origin, Path, Policy, PublishError, Route, Start,
    Takeover, TrackName, Waiting,
};

use crate::limits::{GUEST_BYTES, GUEST_TRACKS, GUESTS_MAX, MESSAGE_BYTES_MAX};

/// A viewer who publishes.
pub(crate) struct Guest {
    pub(crate) address: IpAddr,
    /// Tells him from others of his address.
    pub(crate) number: u64,
    origin: Origin,
    broadcast: Consumer,
    _place: Place,
}

/// One of the places that there are; free again when it is dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(taken: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(taken.clone());
        (taken.fetch_add(1, Ordering::Relaxed) < GUESTS_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
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
        taken: &Arc<AtomicUsize>,
    ) -> Result<(Self, Producer), PublishError> {
        let place = Place::take(taken).ok_or(PublishError::TooManyBroadcasts)?;
        let limits = Limits {
            cache_bytes: GUEST_BYTES,
            object_bytes: MESSAGE_BYTES_MAX,
            group_bytes: GUEST_BYTES,
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
