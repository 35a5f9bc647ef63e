//! How an upstream stands, in numbers, and what is pulled over one connection to it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Semaphore;

use crate::handover::{Carried, Hands};
use crate::limits::{UPLINK_ASKS_EACH, UPLINK_ASKS_MAX, UPLINK_FETCHES_MAX};
use crate::link::Link;
use crate::names::{name_of, path_of};

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
    links: Mutex<Links>,
}

/// Connections: one, and those that have been asked to leave.
#[derive(Default)]
struct Links {
    /// Bytes of those that are over.
    received: u64,
    there: Vec<Weak<Link>>,
    /// How many of them tell us what they have.
    telling: usize,
}

impl UplinkStatus {
    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that have come from it, all of its datagrams.
    pub fn received_bytes(&self) -> u64 {
        let links = self.links();
        let there = links.there.iter().filter_map(Weak::upgrade);
        links.received + there.map(|link| link.connection.numbers().bytes_received).sum::<u64>()
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
    /// The broadcast that it is pulled for.
    pub(crate) carried: Arc<Carried>,
    /// By whom that was brought before, who is left once all of it comes here.
    pub(crate) before: Option<Weak<Carried>>,
    /// That one is lost; known also when it is left.
    pub(crate) follows_lost: bool,
}

impl Pull {
    pub(crate) fn new(status: Arc<UplinkStatus>) -> Self {
        let places = |most| Arc::new(Semaphore::new(most));
        Self {
            status,
            asks_each: places(UPLINK_ASKS_EACH),
            asks: places(UPLINK_ASKS_MAX),
            fetches: places(UPLINK_FETCHES_MAX),
            carried: Arc::default(),
            before: None,
            follows_lost: false,
        }
    }

    /// For one more broadcast.
    pub(super) fn of_another(&self) -> Self {
        let asks_each = Arc::new(Semaphore::new(UPLINK_ASKS_EACH));
        let (carried, before, follows_lost) = (Arc::default(), None, false);
        Self { asks_each, carried, before, follows_lost, ..self.clone() }
    }

    /// A track of it that is asked for now.
    pub(crate) fn hands(&self, track: &moqt::TrackName) -> Option<Hands> {
        let key = (path_of(track.namespace())?, name_of(track)?);
        let (carried, before) = (self.carried.clone(), self.before.clone());
        Some(Hands { key, carried, before, follows_lost: self.follows_lost })
    }
}

/// A connection is there, until this is dropped.
pub(super) struct ConnectedGuard {
    status: Arc<UplinkStatus>,
    link: Arc<Link>,
    tells: bool,
}

impl ConnectedGuard {
    pub(super) fn new(status: &Arc<UplinkStatus>, link: &Arc<Link>) -> Self {
        status.links().there.push(Arc::downgrade(link));
        Self { status: status.clone(), link: link.clone(), tells: false }
    }

    /// It tells us what it has. Whether that is new.
    pub(super) fn tells(&mut self) -> bool {
        if std::mem::replace(&mut self.tells, true) {
            return false;
        }
        self.status.links().telling += 1;
        self.status.connected.store(true, Ordering::Relaxed);
        self.status.connections.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// It tells us nothing any more.
    pub(super) fn is_silent(&mut self) {
        let mut links = self.status.links();
        links.telling -= usize::from(std::mem::take(&mut self.tells));
        self.status.connected.store(links.telling > 0, Ordering::Relaxed);
    }
}

impl Drop for ConnectedGuard {
    fn drop(&mut self) {
        self.is_silent();
        let mut links = self.status.links();
        links.received += self.link.connection.numbers().bytes_received;
        links.there.retain(|link| !std::ptr::eq(link.as_ptr(), Arc::as_ptr(&self.link)));
    }
}
