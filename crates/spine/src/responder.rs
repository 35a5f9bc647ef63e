//! Who can produce something that nobody has yet is a responder. It is asked for a broadcast, a
//! track or a range of the past; responders are tried in order of cost, and one answer serves all
//! who wait.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::Instant;

use crate::broadcast;
use crate::error::{LookupError, PublishError};
use crate::fetch::{FetchProducer, Order, Stream};
use crate::name::{Path, TrackName};
use crate::object::Location;
use crate::track::{self, TrackInfo};
use crate::wake::{Ticket, Wakers, lock};

/// Something that is asked of responders. A request in a queue must not keep in memory what has
/// ended since, so it does not own what it is about.
#[derive(Clone)]
pub(crate) enum Ask {
    Broadcast(Path),
    Track(Path, Weak<broadcast::Shared>, TrackName),
    Fetch(Path, Weak<track::Shared>, RangeInclusive<Location>, Order, Arc<Stream>),
}

impl Ask {
    /// Whether an answer to it, if there is one already, can be read from its beginning.
    pub(crate) fn is_whole(&self) -> bool {
        match self {
            Self::Fetch(.., stream) => stream.is_whole(),
            Self::Broadcast(_) | Self::Track(..) => true,
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Broadcast(path) | Self::Track(path, ..) | Self::Fetch(path, ..) => path,
        }
    }
}

/// One thing that is wanted, shared by all who wait for it.
pub(crate) struct Want {
    pub(crate) ask: Ask,
    desk: Weak<Desk>,
    state: Mutex<WantState>,
}

struct WantState {
    tried: BTreeSet<u64>,
    outcome: Option<Result<(), LookupError>>,
    /// Why there is nothing, once all were asked.
    why: LookupError,
    deadline: Instant,
    /// So many wait for it.
    waiters: usize,
    wakers: Wakers,
}

/// One who waits for something, until this is dropped.
pub(crate) struct Waiter(Arc<Want>);

impl Waiter {
    /// One more; none, if it is answered.
    pub(crate) fn join(want: &Arc<Want>) -> Option<Self> {
        let mut state = lock(&want.state);
        if state.outcome.is_some() {
            return None;
        }
        state.waiters += 1;
        drop(state);
        Some(Self(want.clone()))
    }

    /// One more, who may hear the answer that there is.
    pub(crate) fn of(want: Arc<Want>) -> Self {
        lock(&want.state).waiters += 1;
        Self(want)
    }

    pub(crate) fn want(&self) -> &Want {
        &self.0
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let _woken = {
            let mut state = lock(&self.0.state);
            state.waiters -= 1;
            (state.waiters == 0).then(|| state.wakers.take())
        };
    }
}

impl Want {
    pub(crate) fn new(desk: &Arc<Desk>, ask: Ask, deadline: Instant) -> Arc<Self> {
        let state = WantState {
            tried: BTreeSet::new(),
            outcome: None,
            why: LookupError::NotFound,
            deadline,
            waiters: 0,
            wakers: Wakers::default(),
        };
        Arc::new(Self { ask, desk: Arc::downgrade(desk), state: Mutex::new(state) })
    }

    pub(crate) fn resolve(&self, outcome: Result<(), LookupError>) {
        let _woken = {
            let mut state = lock(&self.state);
            state.outcome.get_or_insert(outcome);
            state.wakers.take()
        };
    }

    pub(crate) fn outcome(&self) -> Option<Result<(), LookupError>> {
        lock(&self.state).outcome
    }

    /// Whether it is worth asking somebody: not answered, and what it is about is still there.
    fn is_open(&self) -> bool {
        let there = match &self.ask {
            Ask::Broadcast(_) => true,
            Ask::Track(_, broadcast, _) => broadcast.strong_count() > 0,
            Ask::Fetch(_, track, ..) => track.strong_count() > 0,
        };
        there && self.outcome().is_none()
    }

    pub(crate) fn extend(&self, deadline: Instant) {
        let mut state = lock(&self.state);
        state.deadline = state.deadline.max(deadline);
    }

    pub(crate) fn deadline(&self) -> Instant {
        lock(&self.state).deadline
    }

    pub(crate) fn poll(
        &self,
        ticket: &mut Ticket,
        cx: &Context<'_>,
    ) -> Poll<Result<(), LookupError>> {
        let mut state = lock(&self.state);
        if let Some(outcome) = state.outcome {
            return Poll::Ready(outcome);
        }
        state.wakers.register(ticket, cx);
        Poll::Pending
    }

    /// Whether it is answered, or nobody waits for it any more: then it is over, and who comes now asks anew.
    fn poll_unwanted(&self, ticket: &mut Ticket, cx: &Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        if state.outcome.is_none() && state.waiters == 0 {
            state.outcome = Some(Err(LookupError::TimedOut));
        }
        if state.outcome.is_some() {
            return Poll::Ready(());
        }
        state.wakers.register(ticket, cx);
        Poll::Pending
    }

    /// Offers it to the cheapest responder that has not been asked.
    pub(crate) fn offer(self: &Arc<Self>) {
        let Some(desk) = self.desk.upgrade() else {
            return self.resolve(Err(LookupError::NotFound));
        };
        loop {
            if self.outcome().is_some() {
                return;
            }
            let queue = {
                let registered = lock(&desk.registered);
                let mut state = lock(&self.state);
                let next = registered.iter().find(|r| {
                    self.ask.path().starts_with(&r.prefix) && !state.tried.contains(&r.id)
                });
                next.map(|r| {
                    state.tried.insert(r.id);
                    r.queue.clone()
                })
            };
            match queue {
                None => {
                    let why = lock(&self.state).why;
                    return self.resolve(Err(why));
                }
                Some(queue) if queue.push(self.clone(), desk.requests_max) => return,
                Some(_) => {}
            }
        }
    }
}

/// All responders of an origin, cheapest first.
pub(crate) struct Desk {
    registered: Mutex<Vec<Registered>>,
    /// Never used twice: a request remembers whom it was offered to.
    next_id: AtomicU64,
    requests_max: usize,
}

struct Registered {
    id: u64,
    prefix: Path,
    cost: u32,
    queue: Arc<Queue>,
}

impl Desk {
    pub(crate) fn new(requests_max: usize) -> Arc<Self> {
        Arc::new(Self { registered: Mutex::default(), next_id: AtomicU64::new(0), requests_max })
    }

    pub(crate) fn register(self: &Arc<Self>, prefix: Path, cost: u32) -> Responder {
        let mut registered = lock(&self.registered);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let queue = Arc::new(Queue::default());
        let at = registered.partition_point(|r| r.cost <= cost);
        registered.insert(at, Registered { id, prefix, cost, queue: queue.clone() });
        Responder { desk: self.clone(), id, queue, ticket: Ticket::new() }
    }
}

#[derive(Default)]
struct Queue(Mutex<QueueState>);

#[derive(Default)]
struct QueueState {
    wants: VecDeque<Arc<Want>>,
    closed: bool,
    wakers: Wakers,
}

impl Queue {
    fn push(&self, want: Arc<Want>, max: usize) -> bool {
        let _woken = {
            let mut state = lock(&self.0);
            if state.wants.len() >= max {
                state.wants.retain(|want| want.is_open());
            }
            if state.closed || state.wants.len() >= max {
                return false;
            }
            state.wants.push_back(want);
            state.wakers.take()
        };
        true
    }
}

/// Gets the requests of one responder.
pub struct Responder {
    desk: Arc<Desk>,
    id: u64,
    queue: Arc<Queue>,
    ticket: Ticket,
}

impl Responder {
    /// The next request. Dropping a request without an answer declines it.
    pub fn poll(&mut self, cx: &Context<'_>) -> Poll<Request> {
        let mut state = lock(&self.queue.0);
        while let Some(want) = state.wants.pop_front() {
            if want.outcome().is_none()
                && let Some(request) = Request::new(&want)
            {
                return Poll::Ready(request);
            }
        }
        state.wakers.register(&mut self.ticket, cx);
        Poll::Pending
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        lock(&self.desk.registered).retain(|r| r.id != self.id);
        let wants = {
            let mut state = lock(&self.queue.0);
            state.closed = true;
            std::mem::take(&mut state.wants)
        };
        for want in wants {
            want.offer();
        }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Responder({})", self.id)
    }
}

/// Something that a responder is asked for.
pub enum Request {
    /// A broadcast that nobody here has. Answered by publishing it.
    Broadcast(BroadcastRequest),
    /// A track that a broadcast does not have.
    Track(TrackRequest),
    /// Objects that are no longer in memory.
    Fetch(FetchRequest),
}

impl Request {
    /// Nothing, if what it is about is gone.
    fn new(want: &Arc<Want>) -> Option<Self> {
        let offered = || Offered(want.clone());
        Some(match want.ask.clone() {
            Ask::Broadcast(path) => Self::Broadcast(BroadcastRequest { path, _offered: offered() }),
            Ask::Track(_, broadcast, name) => {
                let broadcast = broadcast.upgrade()?;
                Self::Track(TrackRequest { broadcast, name, offered: offered() })
            }
            Ask::Fetch(_, track, range, order, stream) => {
                let track = track.upgrade()?;
                Self::Fetch(FetchRequest { track, range, order, stream, offered: offered() })
            }
        })
    }
}

/// Passes the request on to the next responder when it is dropped without an answer.
struct Offered(Arc<Want>);

impl Drop for Offered {
    fn drop(&mut self) {
        self.0.offer();
    }
}

/// A broadcast is wanted. Publish it on the origin while holding this, or drop it to decline.
pub struct BroadcastRequest {
    path: Path,
    _offered: Offered,
}

impl BroadcastRequest {
    /// The path that is wanted.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A track is wanted. Dropping it declines.
pub struct TrackRequest {
    broadcast: Arc<broadcast::Shared>,
    name: TrackName,
    offered: Offered,
}

impl TrackRequest {
    /// The broadcast that lacks it.
    pub fn broadcast(&self) -> broadcast::Consumer {
        broadcast::Consumer::new(self.broadcast.clone())
    }

    /// The track that is wanted.
    pub fn name(&self) -> &TrackName {
        &self.name
    }

    /// Makes the track; everybody who waits for it gets it.
    pub fn accept(self, info: TrackInfo) -> Result<track::Producer, PublishError> {
        let producer = self.broadcast().derive(self.name.clone(), info)?;
        self.offered.0.resolve(Ok(()));
        Ok(producer)
    }

    /// The same, where one that is over under its name makes room ([`broadcast::Consumer::derive_anew`]).
    pub fn accept_anew(self, info: TrackInfo) -> Result<track::Producer, PublishError> {
        let producer = self.broadcast().derive_anew(self.name.clone(), info)?;
        self.offered.0.resolve(Ok(()));
        Ok(producer)
    }

    /// Ready when nobody waits for the track any more, or it is there.
    pub fn unwanted(&self) -> impl Future<Output = ()> + Send + 'static {
        let (want, mut ticket) = (self.offered.0.clone(), Ticket::new());
        std::future::poll_fn(move |cx| want.poll_unwanted(&mut ticket, cx))
    }

    /// Declines for this reason, which is what everybody who waits for the track hears if nobody else has it.
    pub fn decline(self, why: LookupError) {
        lock(&self.offered.0.state).why = why;
    }
}

/// A range of the past is wanted. Dropping it declines.
pub struct FetchRequest {
    track: Arc<track::Shared>,
    range: RangeInclusive<Location>,
    order: Order,
    stream: Arc<Stream>,
    offered: Offered,
}

impl FetchRequest {
    /// The broadcast's path.
    pub fn path(&self) -> &Path {
        &self.track.path
    }

    /// The track's name.
    pub fn name(&self) -> &TrackName {
        &self.track.name
    }

    /// The range, both ends included.
    pub fn range(&self) -> RangeInclusive<Location> {
        self.range.clone()
    }

    /// The order in which groups are wanted. Objects of a group are always wanted in rising order.
    pub fn order(&self) -> Order {
        self.order
    }

    /// Whether somebody still waits for the answer.
    pub fn is_wanted(&self) -> bool {
        // Readers keep it; the track only knows of it.
        Arc::strong_count(&self.offered.0) > 1
    }

    /// Begins the answer.
    pub fn accept(self) -> FetchProducer {
        self.offered.0.resolve(Ok(()));
        FetchProducer::new(self.track.clone(), self.stream.clone(), self.range.clone(), self.order)
    }
}
