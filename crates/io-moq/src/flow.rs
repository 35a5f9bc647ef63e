//! One track on its way over one session, in numbers. Who counts here shares nothing with others: sums are made when
//! somebody asks for them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use spine::{Location, Path};

use crate::clock;
use crate::traffic::Traffic;

/// What a session does with a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The peer follows it live: we send.
    Subscription,
    /// The peer asked for its past, by FETCH or with a subscription: we send.
    Fetch,
    /// The peer publishes it: we receive.
    Publication,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Subscription, Self::Fetch, Self::Publication];

    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Subscription => "subscription",
            Self::Fetch => "fetch",
            Self::Publication => "publication",
        }
    }
}

/// Bounds of the classes that waits are counted in, in milliseconds: from less than a relay's work to more than a player's
/// buffer.
pub const WAIT_MS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000];

/// Waits by their class, and those above all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waits {
    /// How many were within each bound of [`WAIT_MS`] and above the one before; last those above all.
    pub within: [u64; WAIT_MS.len() + 1],
    /// All of them together.
    pub sum: Duration,
}

impl Waits {
    pub(crate) fn add(&mut self, wait: Duration) {
        self.within[class_of(wait)] += 1;
        self.sum += wait;
    }

    fn join(&mut self, other: &Self) {
        self.within.iter_mut().zip(other.within).for_each(|(all, more)| *all += more);
        self.sum += other.sum;
    }
}

fn class_of(wait: Duration) -> usize {
    let within = |bound: &u64| wait <= Duration::from_millis(*bound);
    WAIT_MS.iter().position(within).unwrap_or(WAIT_MS.len())
}

/// What went over one or many sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    /// Subscriptions, fetches or publications.
    pub flows: u64,
    /// Groups of which something went.
    pub groups: u64,
    /// Objects.
    pub objects: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Groups of which nothing was sent: the subscriber was too slow for them.
    pub groups_skipped: u64,
    /// Streams that were cut short.
    pub streams_reset: u64,
    /// Fetches that memory alone could answer.
    pub hits: u64,
    /// From when an object came in, or was asked for, until its last byte was with QUIC. Of subscriptions.
    pub waits: Waits,
}

impl Sum {
    pub(crate) fn join(&mut self, other: &Self) {
        self.flows += other.flows;
        self.groups += other.groups;
        self.objects += other.objects;
        self.bytes += other.bytes;
        self.groups_skipped += other.groups_skipped;
        self.streams_reset += other.streams_reset;
        self.hits += other.hits;
        self.waits.join(&other.waits);
    }
}

/// The newest object that went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newest {
    /// Its group.
    pub group: u64,
    /// Its number in the group.
    pub object: u64,
    /// How long ago it came into this server.
    pub age: Duration,
}

/// One track in one session.
#[derive(Debug, Clone)]
pub struct FlowReport {
    /// What is done with it.
    pub role: Role,
    /// Of which broadcast.
    pub path: Path,
    /// Which track.
    pub track: Bytes,
    /// Since when.
    pub age: Duration,
    /// What went.
    pub sum: Sum,
    /// The newest of it.
    pub newest: Option<Newest>,
}

/// Counts one track of one session.
pub(crate) struct Flow {
    pub(crate) role: Role,
    pub(crate) path: Path,
    pub(crate) track: Bytes,
    since: Instant,
    groups: AtomicU64,
    objects: AtomicU64,
    bytes: AtomicU64,
    skipped: AtomicU64,
    reset: AtomicU64,
    hit: AtomicBool,
    waits: [AtomicU64; WAIT_MS.len() + 1],
    waits_us: AtomicU64,
    /// Group and object of the newest one, each with 1 added.
    newest: [AtomicU64; 2],
    /// When that came in, in microseconds from `since`.
    newest_us: AtomicI64,
}

impl Flow {
    fn new(role: Role, path: Path, track: Bytes) -> Self {
        Self {
            role,
            path,
            track,
            since: clock::now(),
            groups: AtomicU64::new(0),
            objects: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            reset: AtomicU64::new(0),
            hit: AtomicBool::new(false),
            waits: Default::default(),
            waits_us: AtomicU64::new(0),
            newest: Default::default(),
            newest_us: AtomicI64::new(0),
        }
    }

    /// An object went, which came in then.
    pub(crate) fn object(&self, at: Location, arrived: Instant, bytes: u64) {
        self.objects.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let (group, object) = (at.group.saturating_add(1), at.object.saturating_add(1));
        let before = match self.role {
            // In one order or the other, but one after another.
            Role::Fetch => self.newest[0].swap(group, Ordering::Relaxed),
            _ => self.newest[0].fetch_max(group, Ordering::Relaxed),
        };
        if before != group && (self.role == Role::Fetch || before < group) {
            self.groups.fetch_add(1, Ordering::Relaxed);
        }
        if before <= group || self.role == Role::Fetch {
            self.newest[1].store(object, Ordering::Relaxed);
            self.newest_us.store(micros_from(self.since, arrived), Ordering::Relaxed);
        }
    }

    /// How long it took until QUIC had all of an object.
    pub(crate) fn waited(&self, wait: Duration) {
        self.waits[class_of(wait)].fetch_add(1, Ordering::Relaxed);
        let us = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        self.waits_us.fetch_add(us, Ordering::Relaxed);
    }

    /// A group is not sent.
    pub(crate) fn skipped(&self) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
    }

    /// A stream is cut short.
    pub(crate) fn reset(&self) {
        self.reset.fetch_add(1, Ordering::Relaxed);
    }

    /// All of a fetch was in memory.
    pub(crate) fn hit(&self) {
        self.hit.store(true, Ordering::Relaxed);
    }

    pub(crate) fn sum(&self) -> Sum {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Sum {
            flows: 1,
            groups: of(&self.groups),
            objects: of(&self.objects),
            bytes: of(&self.bytes),
            groups_skipped: of(&self.skipped),
            streams_reset: of(&self.reset),
            hits: u64::from(self.hit.load(Ordering::Relaxed)),
            waits: Waits {
                within: std::array::from_fn(|class| of(&self.waits[class])),
                sum: Duration::from_micros(of(&self.waits_us)),
            },
        }
    }

    pub(crate) fn report(&self, now: Instant) -> FlowReport {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed).checked_sub(1);
        let age = now.saturating_duration_since(self.since);
        let newest = of(&self.newest[0]).zip(of(&self.newest[1])).map(|(group, object)| {
            let us = self.newest_us.load(Ordering::Relaxed);
            let distance = Duration::from_micros(us.unsigned_abs());
            let age = if us < 0 { age + distance } else { age.saturating_sub(distance) };
            Newest { group, object, age }
        });
        FlowReport {
            role: self.role,
            path: self.path.clone(),
            track: self.track.clone(),
            age,
            sum: self.sum(),
            newest,
        }
    }
}

fn micros_from(since: Instant, at: Instant) -> i64 {
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    match at.checked_duration_since(since) {
        Some(later) => micros(later),
        None => -micros(since.saturating_duration_since(at)),
    }
}

/// What goes over one session.
pub(crate) struct Flows {
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) draft: u8,
    pub(crate) since: Instant,
    pub(crate) software: OnceLock<String>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    flows: BTreeMap<u64, Arc<Flow>>,
}

impl Flows {
    pub(crate) fn new(traffic: Arc<Traffic>, draft: u8) -> Arc<Self> {
        let (software, open) = (OnceLock::new(), Mutex::default());
        Arc::new(Self { traffic, draft, since: clock::now(), software, open })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A track begins to go over this session, until what this answers is dropped.
    pub(crate) fn begin(self: &Arc<Self>, role: Role, path: Path, track: Bytes) -> OpenFlow {
        let flow = Arc::new(Flow::new(role, path, track));
        let mut open = self.open();
        open.next += 1;
        let id = open.next;
        open.flows.insert(id, flow.clone());
        drop(open);
        OpenFlow { flow, flows: self.clone(), id }
    }

    /// Those that are open.
    pub(crate) fn all(&self) -> Vec<Arc<Flow>> {
        self.open().flows.values().cloned().collect()
    }
}

/// A track that goes over a session. Dropped, its numbers go to those of what is over.
pub(crate) struct OpenFlow {
    flow: Arc<Flow>,
    flows: Arc<Flows>,
    id: u64,
}

impl OpenFlow {
    /// For others who count it.
    pub(crate) fn share(&self) -> Arc<Flow> {
        self.flow.clone()
    }
}

impl std::ops::Deref for OpenFlow {
    type Target = Flow;

    fn deref(&self) -> &Flow {
        &self.flow
    }
}

impl Drop for OpenFlow {
    fn drop(&mut self) {
        // In one step: who makes a sum finds it in one place or the other.
        let mut ended = self.flows.traffic.ended();
        let over = self.flows.open().flows.remove(&self.id);
        ended.add(self.flows.draft, &self.flow);
        drop(ended);
        drop(over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(group: u64, object: u64) -> Location {
        Location { group, object }
    }

    fn flow(role: Role) -> Flow {
        Flow::new(role, Path::root(), Bytes::from_static(b"video"))
    }

    #[test]
    fn groups_are_counted_once_whatever_comes_between() {
        for (role, objects, groups, newest) in [
            (Role::Subscription, &[(3, 0), (4, 0), (3, 1), (4, 1), (3, 2)][..], 2, (4, 1)),
            (Role::Publication, &[(0, 0), (0, 1), (1, 0)], 2, (1, 0)),
            // The newest group first: the newest is the one that went last.
            (Role::Fetch, &[(9, 0), (9, 1), (8, 0), (7, 0)], 3, (7, 0)),
        ] {
            let flow = flow(role);
            objects
                .iter()
                .for_each(|(group, object)| flow.object(at(*group, *object), flow.since, 5));
            let report = flow.report(flow.since);
            assert_eq!(report.sum.groups, groups, "{role:?}");
            assert_eq!(
                (report.sum.objects, report.sum.bytes),
                (objects.len() as u64, 5 * objects.len() as u64)
            );
            let there = report.newest.unwrap();
            assert_eq!((there.group, there.object), newest, "{role:?}");
        }
    }

    #[test]
    fn the_newest_object_ages_also_if_it_was_there_before() {
        let flow = flow(Role::Subscription);
        let (since, ms) = (flow.since, Duration::from_millis);
        assert_eq!(flow.report(since).newest, None);
        flow.object(at(1, 0), since - ms(300), 1);
        assert_eq!(flow.report(since + ms(200)).newest.unwrap().age, ms(500));
        flow.object(at(1, 1), since + ms(150), 1);
        assert_eq!(flow.report(since + ms(200)).newest.unwrap().age, ms(50));
    }

    #[test]
    fn waits_have_classes() {
        let flow = flow(Role::Subscription);
        for wait_us in [0, 1_000, 1_001, 5_000_000, 5_000_001] {
            flow.waited(Duration::from_micros(wait_us));
        }
        let waits = flow.sum().waits;
        let mut expect = [0; WAIT_MS.len() + 1];
        (expect[0], expect[1], expect[11], expect[12]) = (2, 1, 1, 1);
        assert_eq!(waits.within, expect);
        assert_eq!(waits.sum, Duration::from_micros(10_002_002));
        let mut sum = flow.sum();
        sum.join(&flow.sum());
        assert_eq!((sum.flows, sum.waits.within[0]), (2, 4));
    }
}
