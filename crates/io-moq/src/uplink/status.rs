//! How an upstream stands, in numbers, and what is pulled over one connection to it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Semaphore;

use crate::limits::{UPLINK_ASKS_EACH, UPLINK_ASKS_MAX, UPLINK_FETCHES_MAX};
use crate::link::Link;

/// How an upstream stands.
#[derive(Default)]
pub struct UplinkStatus {
    /// Whether it tells us what it has.
    pub connected: AtomicBool,
    /// How often that began.
    pub connections: AtomicU64,
    /// It has said that the token in its address is not good for what that is to open.
    pub token_refused: AtomicBool,
    /// Namespaces that it tells of, those that wait for others to go among them.
    pub namespaces: AtomicUsize,
    /// Those of them that are here by it: another upstream may bring them, or somebody who publishes here.
    pub carried: AtomicUsize,
    /// Subscriptions of ours there.
    pub subscriptions: AtomicUsize,
    /// Bytes of connections that are over, and the one that is there.
    received: Mutex<(u64, Weak<Link>)>,
}

impl UplinkStatus {
    fn received(&self) -> MutexGuard<'_, (u64, Weak<Link>)> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that have come from it, all of its datagrams.
    pub fn received_bytes(&self) -> u64 {
        let (before, link) = &*self.received();
        before + link.upgrade().map_or(0, |link| link.connection.numbers().bytes_received)
    }
}

/// One more of something, until this is dropped.
pub(crate) struct OneMore(Arc<UplinkStatus>, fn(&UplinkStatus) -> &AtomicUsize);

impl OneMore {
    pub(super) fn new(status: &Arc<UplinkStatus>, of: fn(&UplinkStatus) -> &AtomicUsize) -> Self {
        of(status).fetch_add(1, Ordering::Relaxed);
        Self(status.clone(), of)
    }

    /// A subscription.
    pub(crate) fn subscription(status: &Arc<UplinkStatus>) -> Self {
        Self::new(status, |status| &status.subscriptions)
    }
}

impl Drop for OneMore {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is pulled over one connection.
#[derive(Clone)]
pub(crate) struct Pull {
    pub(crate) status: Arc<UplinkStatus>,
    /// Places for SUBSCRIBEs that have no answer yet, of one broadcast.
    pub(crate) asks_each: Arc<Semaphore>,
    /// And of all.
    pub(crate) asks: Arc<Semaphore>,
    /// And for FETCHes, until all of the answer is here.
    pub(crate) fetches: Arc<Semaphore>,
}

impl Pull {
    pub(crate) fn new(status: Arc<UplinkStatus>) -> Self {
        let places = |most| Arc::new(Semaphore::new(most));
        Self {
            status,
            asks_each: places(UPLINK_ASKS_EACH),
            asks: places(UPLINK_ASKS_MAX),
            fetches: places(UPLINK_FETCHES_MAX),
        }
    }

    /// For one more broadcast.
    pub(super) fn of_another(&self) -> Self {
        Self { asks_each: Arc::new(Semaphore::new(UPLINK_ASKS_EACH)), ..self.clone() }
    }
}

/// The connection is there, until this is dropped.
pub(super) struct ConnectedGuard(Arc<UplinkStatus>, Arc<Link>);

impl ConnectedGuard {
    pub(super) fn new(status: &Arc<UplinkStatus>, link: &Arc<Link>) -> Self {
        status.received().1 = Arc::downgrade(link);
        Self(status.clone(), link.clone())
    }
}

impl Drop for ConnectedGuard {
    fn drop(&mut self) {
        self.0.connected.store(false, Ordering::Relaxed);
        let (before, link) = &mut *self.0.received();
        *before += self.1.connection.numbers().bytes_received;
        *link = Weak::new();
    }
}
