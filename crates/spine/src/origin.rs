//! The origin: all broadcasts that a node knows, who publishes them, and who wants to hear of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::Instant;

use crate::broadcast::{self, Life, Pending, expire_wants};
use crate::budget::Budget;
use crate::error::{Close, PublishError};
use crate::limits::Limits;
use crate::name::Path;
use crate::responder::{Ask, Desk, Responder, Waiter, Want};
use crate::track;
use crate::wake::{Ticket, Wakers, Woken, lock};

/// A node of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// Where a broadcast comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The node that takes it from its encoder.
    pub origin: NodeId,
    /// The nodes between there and here.
    pub hops: Vec<NodeId>,
    /// The ownership under which it is published; a higher one replaces a lower one.
    pub epoch: u64,
}

impl Route {
    /// Published at this node.
    pub const fn local(node: NodeId, epoch: u64) -> Self {
        Self { origin: node, hops: Vec::new(), epoch }
    }

    /// Whether it is published at this node, which calls itself 0.
    pub const fn is_local(&self) -> bool {
        self.origin.0 == 0
    }
}

/// What happens if somebody publishes the path already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takeover {
    /// The one who is there stays.
    Refuse,
    /// The new one writes from now on; ids go on.
    Replace,
}

/// All broadcasts of a node. Clones share it.
#[derive(Clone)]
pub struct Origin {
    inner: Arc<Inner>,
}

struct Inner {
    limits: Arc<Limits>,
    budget: Budget,
    desk: Arc<Desk>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    broadcasts: BTreeMap<Path, Arc<broadcast::Shared>>,
    wanted: BTreeMap<Path, Arc<Want>>,
    /// Tracks of those that were, for as long as somebody reads them.
    over: Vec<Weak<track::Shared>>,
    listeners: Vec<Weak<Listener>>,
}

impl Origin {
    /// An origin without broadcasts.
    pub fn new(limits: Limits) -> Self {
        let budget = Budget::new(limits.cache_bytes);
        let desk = Desk::new(limits.requests_per_responder);
        let state = Mutex::default();
        Self { inner: Arc::new(Inner { limits: Arc::new(limits), budget, desk, state }) }
    }

    /// The node's budget for media.
    pub fn budget(&self) -> &Budget {
        &self.inner.budget
    }

    /// Publishes a broadcast. A parked one of the same path goes on; one of a newer epoch stays as it is.
    pub fn publish(
        &self,
        path: &Path,
        route: Route,
        takeover: Takeover,
    ) -> Result<broadcast::Producer, PublishError> {
        self.publish_as(path, route, takeover, true)
    }

    /// Publishes a broadcast that only who knows its name finds, until [`tell`](Self::tell).
    pub fn publish_untold(
        &self,
        path: &Path,
        route: Route,
    ) -> Result<broadcast::Producer, PublishError> {
        self.publish_as(path, route, Takeover::Refuse, false)
    }

    /// Who listens hears of this broadcast from now on.
    pub fn tell(&self, broadcast: &broadcast::Consumer) {
        let _told = {
            let state = lock(&self.inner.state);
            match broadcast.shared.told.swap(true, Ordering::Relaxed) {
                true => Vec::new(),
                false => state.announce(broadcast.path(), &Announce::Live(broadcast.clone())),
            }
        };
    }

    fn publish_as(
        &self,
        path: &Path,
        route: Route,
        takeover: Takeover,
        told: bool,
    ) -> Result<broadcast::Producer, PublishError> {
        self.forget_ended();
        self.check_room(path)?;
        let inner = &self.inner;
        let (shared, renewal, want, _news) = {
            let mut state = lock(&inner.state);
            let there = state.broadcasts.get(path).cloned();
            let renewal = match &there {
                Some(shared) => shared.take_over(&route, takeover)?,
                None => None,
            };
            let mut news = Vec::new();
            let shared = match there {
                Some(shared) if renewal.is_some() => shared,
                ended => {
                    if ended.is_some() {
                        news.extend(state.announce(path, &Announce::Gone(path.clone())));
                    }
                    let parts = (inner.limits.clone(), inner.budget.clone(), inner.desk.clone());
                    let shared = broadcast::Shared::new(path.clone(), route, told, parts);
                    state.broadcasts.insert(path.clone(), shared.clone());
                    shared
                }
            };
            if shared.told.load(Ordering::Relaxed) {
                let live = Announce::Live(broadcast::Consumer::new(shared.clone()));
                news.extend(state.announce(path, &live));
            }
            (shared, renewal, state.wanted.remove(path), news)
        };
        let term = renewal.map_or(0, broadcast::Renewal::settle);
        if let Some(want) = want {
            want.resolve(Ok(()));
        }
        Ok(broadcast::Producer::new(shared, term))
    }

    /// A new broadcast needs room; one that goes on has it already.
    fn check_room(&self, path: &Path) -> Result<(), PublishError> {
        let broadcasts: Vec<_> = {
            let state = lock(&self.inner.state);
            if state.broadcasts.contains_key(path) {
                return Ok(());
            }
            state.broadcasts.values().cloned().collect()
        };
        if broadcasts.len() >= self.inner.limits.broadcasts {
            return Err(PublishError::TooManyBroadcasts);
        }
        let budget = &self.inner.budget;
        if budget.exceeded() {
            let tracks = broadcasts.iter().flat_map(|b| b.tracks());
            let evictable: usize = tracks.map(|t| t.evictable_bytes()).sum();
            if budget.used().saturating_sub(evictable) > budget.limit() {
                return Err(PublishError::OutOfMemory);
            }
        }
        Ok(())
    }

    /// A broadcast that is here now; no responder is asked.
    pub fn get(&self, path: &Path) -> Option<broadcast::Consumer> {
        let shared = lock(&self.inner.state).broadcasts.get(path)?.clone();
        (!matches!(shared.life(), Life::Ended(_))).then(|| broadcast::Consumer::new(shared))
    }

    /// A broadcast: the one that is here, else one that a responder brings before `deadline`.
    pub fn lookup(&self, path: &Path, deadline: Instant) -> Pending<broadcast::Consumer> {
        let (want, fresh) = {
            let mut state = lock(&self.inner.state);
            if let Some(shared) = state.broadcasts.get(path)
                && !matches!(shared.life(), Life::Ended(_))
            {
                return Pending::ready(Ok(broadcast::Consumer::new(shared.clone())));
            }
            state.wanted.retain(|_, want| want.outcome().is_none());
            if let Some(want) = state.wanted.get(path) {
                want.extend(deadline);
                (want.clone(), false)
            } else {
                let want = Want::new(&self.inner.desk, Ask::Broadcast(path.clone()), deadline);
                state.wanted.insert(path.clone(), want.clone());
                (want, true)
            }
        };
        if fresh {
            want.offer();
        }
        let (origin, path) = (self.clone(), path.clone());
        Pending::waiting(Waiter::of(want), Box::new(move || origin.get(&path)))
    }

    /// Ends a broadcast, whoever publishes it. Nothing happens if there is none.
    pub fn end(&self, path: &Path, why: Close) {
        let shared = lock(&self.inner.state).broadcasts.get(path).cloned();
        if let Some(shared) = shared {
            shared.end(None, why);
            self.forget_ended();
        }
    }

    /// Ends a broadcast that is published under an ownership before this one: what follows it is a new one, and not its
    /// continuation. A newer one stays.
    pub fn end_below(&self, path: &Path, epoch: u64, why: Close) {
        let shared = lock(&self.inner.state).broadcasts.get(path).cloned();
        if let Some(shared) = shared {
            shared.end_below(epoch, why);
            self.forget_ended();
        }
    }

    /// All broadcasts under `prefix`: those that are here, then every change.
    pub fn announcements(&self, prefix: Path) -> Announcements {
        let listener = Arc::new(Listener { prefix, state: Mutex::default() });
        let mut state = lock(&self.inner.state);
        for (path, shared) in &state.broadcasts {
            let told = shared.told.load(Ordering::Relaxed);
            let here = told && !matches!(shared.life(), Life::Ended(_));
            if here && path.starts_with(&listener.prefix) {
                let consumer = broadcast::Consumer::new(shared.clone());
                lock(&listener.state).news.insert(path.clone(), News::Live(consumer));
            }
        }
        state.listeners.retain(|l| l.strong_count() > 0);
        state.listeners.push(Arc::downgrade(&listener));
        Announcements { listener, ticket: Ticket::new(), told: BTreeSet::new() }
    }

    /// Answers requests for what is under `prefix`. Cheaper responders are asked first.
    pub fn responder(&self, prefix: Path, cost: u32) -> Responder {
        self.inner.desk.register(prefix, cost)
    }

    /// Ends what was parked for too long, gives up what nobody brought in time, and forgets what
    /// has ended. Answers when to call again; call it too whenever a broadcast may have ended.
    pub fn expire(&self, now: Instant) -> Option<Instant> {
        let broadcasts: Vec<_> = lock(&self.inner.state).broadcasts.values().cloned().collect();
        let mut next: Option<Instant> = None;
        let mut at = |deadline: Option<Instant>| {
            next = next.into_iter().chain(deadline).min();
        };
        for shared in broadcasts {
            at(broadcast::Consumer::new(shared.clone()).expire(now));
            at(shared.end_parked(now));
        }
        let wants: Vec<_> = lock(&self.inner.state).wanted.values().cloned().collect();
        at(expire_wants(wants, now));
        self.forget_ended();
        next
    }

    /// While memory is short: what has been over for [`OVER_KEPT`](crate::limits::OVER_KEPT) goes, whoever may still read it. A reader
    /// who takes nothing would hold all that there was. To be called now and then.
    pub fn give_back(&self, now: Instant) {
        if !self.inner.budget.is_short() {
            return;
        }
        let tracks: Vec<_> = {
            let state = lock(&self.inner.state);
            let over = state.over.iter().filter_map(Weak::upgrade);
            state.broadcasts.values().flat_map(|it| it.all_tracks()).chain(over).collect()
        };
        for track in tracks {
            track.give_back(now);
        }
    }

    /// Ends every broadcast.
    pub fn shutdown(&self) {
        let broadcasts: Vec<_> = lock(&self.inner.state).broadcasts.values().cloned().collect();
        for shared in broadcasts {
            shared.end(None, Close::Shutdown);
        }
        self.forget_ended();
    }

    /// Forgets what has ended, and tells who listens: at once, where [`expire`](Self::expire) does it in its time.
    pub fn forget_ended(&self) {
        let (_gone, _told) = {
            let mut state = lock(&self.inner.state);
            let ended = |s: &broadcast::Shared| matches!(s.life(), Life::Ended(_));
            let gone: Vec<_> = state.broadcasts.extract_if(.., |_, s| ended(s)).collect();
            state.over.retain(|over| over.strong_count() > 0);
            let over = gone.iter().flat_map(|(_, shared)| shared.all_tracks());
            state.over.extend(over.map(|track| Arc::downgrade(&track)));
            let mut told = Vec::new();
            for (path, _) in &gone {
                told.extend(state.announce(path, &Announce::Gone(path.clone())));
            }
            (gone, told)
        };
    }
}

impl State {
    /// Tells who listens, under the lock of what changed, so that news come in its order. The
    /// caller drops the answer, and so wakes, once it has released the lock.
    #[must_use]
    fn announce(&self, path: &Path, what: &Announce) -> Vec<(Woken, Arc<Listener>)> {
        let listeners = self.listeners.iter().filter_map(Weak::upgrade);
        let concerned = listeners.filter(|l| path.starts_with(&l.prefix));
        let told = concerned.map(|listener| {
            let mut state = lock(&listener.state);
            let news = match (what, state.news.get(path)) {
                (Announce::Live(c), Some(News::Gone | News::GoneThenLive(_))) => {
                    News::GoneThenLive(c.clone())
                }
                (Announce::Live(c), _) => News::Live(c.clone()),
                (Announce::Gone(_), _) => News::Gone,
            };
            state.news.insert(path.clone(), news);
            let woken = state.wakers.take();
            drop(state);
            (woken, listener)
        });
        told.collect()
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let broadcasts = lock(&self.inner.state).broadcasts.len();
        write!(f, "Origin({broadcasts} broadcasts, {:?})", self.inner.budget)
    }
}

/// News of a broadcast.
#[derive(Debug, Clone, PartialEq)]
pub enum Announce {
    /// It is here, or its publisher changed.
    Live(broadcast::Consumer),
    /// It is over.
    Gone(Path),
}

/// What a listener has not heard yet: at most one entry a path, however slow it is.
enum News {
    Live(broadcast::Consumer),
    Gone,
    GoneThenLive(broadcast::Consumer),
}

struct Listener {
    prefix: Path,
    state: Mutex<ListenerState>,
}

#[derive(Default)]
struct ListenerState {
    news: BTreeMap<Path, News>,
    wakers: Wakers,
}

/// Hears of broadcasts that come and go.
pub struct Announcements {
    listener: Arc<Listener>,
    ticket: Ticket,
    /// What the owner believes to be here: it never hears of an end without a beginning. Names only:
    /// a listener that does not listen must not keep what has ended in memory.
    told: BTreeSet<Path>,
}

impl Announcements {
    /// The next news.
    pub fn poll(&mut self, cx: &Context<'_>) -> Poll<Announce> {
        let mut state = lock(&self.listener.state);
        while let Some((path, news)) = state.news.pop_first() {
            let known = self.told.contains(&path);
            match news {
                News::Live(consumer) => {
                    self.told.insert(path);
                    return Poll::Ready(Announce::Live(consumer));
                }
                News::GoneThenLive(consumer) if !known => {
                    self.told.insert(path);
                    return Poll::Ready(Announce::Live(consumer));
                }
                News::GoneThenLive(consumer) => {
                    self.told.remove(&path);
                    state.news.insert(path.clone(), News::Live(consumer));
                    return Poll::Ready(Announce::Gone(path));
                }
                News::Gone if known => {
                    self.told.remove(&path);
                    return Poll::Ready(Announce::Gone(path));
                }
                News::Gone => {}
            }
        }
        state.wakers.register(&mut self.ticket, cx);
        Poll::Pending
    }
}

impl fmt::Debug for Announcements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Announcements({:?})", self.listener.prefix)
    }
}
