//! A broadcast: the tracks that are published together, and who may write them.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::Instant;

use crate::budget::Budget;
use crate::error::{Close, LookupError, PublishError};
use crate::limits::{Limits, RELAYED_TRACKS_MAX};
use crate::name::{Path, TrackName};
use crate::origin::{Route, Takeover};
use crate::responder::{Ask, Desk, Waiter, Want};
use crate::track::{self, DERIVED, Term, TrackInfo, Waiting};
use crate::wake::{Ticket, Wakers, Woken, lock};

pub(crate) struct Shared {
    path: Path,
    limits: Arc<Limits>,
    budget: Budget,
    desk: Arc<Desk>,
    /// Who listens for broadcasts hears of it. Changed under the lock of the origin.
    pub(crate) told: AtomicBool,
    state: Mutex<State>,
}

struct State {
    tracks: BTreeMap<TrackName, Arc<track::Shared>>,
    /// Those that were over and have made room, for as long as somebody reads them.
    over: Vec<Weak<track::Shared>>,
    /// How many of the tracks the publisher made.
    published: usize,
    wanted: BTreeMap<TrackName, Arc<Want>>,
    route: Route,
    life: Life,
    term: Term,
    /// Changes to the set of tracks and to the life, for those who follow.
    revision: u64,
    wakers: Wakers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Live,
    /// Its publisher is gone and may come back until then.
    Parked(Instant),
    Ended(Close),
}

impl Shared {
    pub(crate) fn new(
        path: Path,
        route: Route,
        told: bool,
        (limits, budget, desk): (Arc<Limits>, Budget, Arc<Desk>),
    ) -> Arc<Self> {
        let state = State {
            tracks: BTreeMap::new(),
            over: Vec::new(),
            published: 0,
            wanted: BTreeMap::new(),
            route,
            life: Life::Live,
            term: 0,
            revision: 0,
            wakers: Wakers::default(),
        };
        let (told, state) = (AtomicBool::new(told), Mutex::new(state));
        Arc::new(Self { path, limits, budget, desk, told, state })
    }

    pub(crate) fn life(&self) -> Life {
        lock(&self.state).life
    }

    pub(crate) fn route(&self) -> Route {
        lock(&self.state).route.clone()
    }

    pub(crate) fn tracks(&self) -> Vec<Arc<track::Shared>> {
        lock(&self.state).tracks.values().cloned().collect()
    }

    /// Those as well that were over and have made room.
    pub(crate) fn all_tracks(&self) -> Vec<Arc<track::Shared>> {
        let state = lock(&self.state);
        let over = state.over.iter().filter_map(Weak::upgrade);
        state.tracks.values().cloned().chain(over).collect()
    }

    /// A new publisher writes from now on, if the broadcast is not over. What is looked at and what
    /// is done about it are under one lock: the one before may leave at the same moment.
    pub(crate) fn take_over(
        &self,
        route: &Route,
        takeover: Takeover,
    ) -> Result<Option<Renewal>, PublishError> {
        let mut state = lock(&self.state);
        let why = match (state.life, takeover) {
            (Life::Live, Takeover::Refuse) => return Err(PublishError::Busy),
            (Life::Live, Takeover::Replace) => Close::Replaced,
            (Life::Parked(_), _) => Close::SourceLost,
            (Life::Ended(_), _) => return Ok(None),
        };
        // Two claims may be granted at the same moment and arrive here in any order.
        if route.epoch < state.route.epoch {
            return Err(PublishError::Superseded);
        }
        state.route = route.clone();
        Ok(Some(state.renew(Life::Live, why)))
    }

    /// Parks it, if this publisher is still the one that writes.
    fn park(&self, term: Term, until: Instant) {
        let renewal = {
            let mut state = lock(&self.state);
            if state.term != term || state.life != Life::Live {
                return;
            }
            state.renew(Life::Parked(until), Close::SourceLost)
        };
        renewal.settle();
    }

    /// Ends it, if it was parked until `now` at most; else says when it will have been.
    pub(crate) fn end_parked(&self, now: Instant) -> Option<Instant> {
        match self.life() {
            Life::Parked(until) if until > now => Some(until),
            Life::Parked(_) => {
                let parked = |s: &State| matches!(s.life, Life::Parked(until) if until <= now);
                self.end_if(parked, Close::SourceLost);
                None
            }
            Life::Live | Life::Ended(_) => None,
        }
    }

    pub(crate) fn end(&self, term: Option<Term>, why: Close) {
        self.end_if(|state| term.is_none_or(|term| term == state.term), why);
    }

    pub(crate) fn end_below(&self, epoch: u64, why: Close) {
        self.end_if(|state| state.route.epoch < epoch, why);
    }

    fn end_if(&self, may: impl FnOnce(&State) -> bool, why: Close) {
        let (tracks, wanted, _woken) = {
            let mut state = lock(&self.state);
            if !may(&state) || matches!(state.life, Life::Ended(_)) {
                return;
            }
            state.life = Life::Ended(why);
            state.revision += 1;
            let tracks: Vec<_> = state.tracks.values().cloned().collect();
            (tracks, std::mem::take(&mut state.wanted), state.wakers.take())
        };
        // What is derived still has the last of it to write: its producer ends it.
        for track in tracks.iter().filter(|t| !t.derived) {
            track.end(why);
        }
        for want in wanted.into_values() {
            want.resolve(Err(LookupError::Closed(why)));
        }
    }

    fn add(
        self: &Arc<Self>,
        name: TrackName,
        info: TrackInfo,
        (term, anew): (Term, bool),
    ) -> Result<track::Producer, PublishError> {
        let (track, want, _over, _woken) = {
            let mut state = lock(&self.state);
            // What is derived of it may begin when the last of it is already there.
            if let Life::Ended(why) = state.life
                && term != DERIVED
            {
                return Err(PublishError::Closed(why));
            }
            if term != DERIVED && term != state.term {
                return Err(PublishError::Closed(Close::Replaced));
            }
            if let Some(track) = state.tracks.get(&name)
                && !(anew && track.has_ended())
            {
                return Ok(track::Producer::new(track.clone(), term));
            }
            if term != DERIVED {
                if state.published >= self.limits.tracks_per_broadcast {
                    return Err(PublishError::TooManyTracks);
                }
                state.published += 1;
            }
            let mut over = if anew { self.make_room(&mut state)? } else { Vec::new() };
            let shared = (self.limits.clone(), self.budget.clone(), self.desk.clone());
            let kind = (term, anew);
            let track = track::Shared::new(self.path.clone(), name.clone(), info, kind, shared);
            over.extend(state.tracks.insert(name.clone(), track.clone()));
            if !over.is_empty() {
                state.over.retain(|over| over.strong_count() > 0);
                state.over.extend(over.iter().map(Arc::downgrade));
            }
            state.revision += 1;
            (track, state.wanted.remove(&name), over, state.wakers.take())
        };
        if let Some(want) = want {
            want.resolve(Ok(()));
        }
        Ok(track::Producer::new(track, term))
    }
}

impl Shared {
    /// Room for one more track that is relayed: those that are over and that nobody reads go when there are too many, and when memory
    /// is short.
    fn make_room(&self, state: &mut State) -> Result<Vec<Arc<track::Shared>>, PublishError> {
        let mut over = Vec::new();
        if state.tracks.len() >= RELAYED_TRACKS_MAX || self.budget.is_short() {
            let may_go = |track: &Arc<track::Shared>| track.has_ended() && !track.is_read();
            over.extend(state.tracks.extract_if(.., |_, track| may_go(track)).map(|(_, it)| it));
        }
        match state.tracks.len() < RELAYED_TRACKS_MAX {
            true => Ok(over),
            false => Err(PublishError::TooManyTracks),
        }
    }
}

impl State {
    fn renew(&mut self, life: Life, why: Close) -> Renewal {
        self.term += 1;
        self.life = life;
        self.revision += 1;
        let tracks = self.tracks.values().cloned().collect();
        Renewal { term: self.term, why, tracks, _woken: self.wakers.take() }
    }
}

/// A change of the publisher, to be settled once all locks are released.
#[must_use]
pub(crate) struct Renewal {
    term: Term,
    why: Close,
    tracks: Vec<Arc<track::Shared>>,
    _woken: Woken,
}

impl Renewal {
    /// Whatever the one before left open is cut, and who waits is woken.
    pub(crate) fn settle(self) -> Term {
        for track in &self.tracks {
            track.set_term(self.term, self.why);
        }
        self.term
    }
}

/// Publishes a broadcast. Dropping it ends the broadcast with [`Close::SourceLost`].
pub struct Producer {
    shared: Arc<Shared>,
    term: Term,
    done: bool,
}

impl Producer {
    pub(crate) fn new(shared: Arc<Shared>, term: Term) -> Self {
        Self { shared, term, done: false }
    }

    /// The broadcast's path.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// The budget that its payloads are charged to.
    pub fn budget(&self) -> &Budget {
        &self.shared.budget
    }

    /// Makes a track, or goes on with one that is there (of a parked broadcast, say).
    pub fn track(&self, name: TrackName, info: TrackInfo) -> Result<track::Producer, PublishError> {
        self.shared.add(name, info, (self.term, false))
    }

    /// A consumer of this broadcast.
    pub fn consume(&self) -> Consumer {
        Consumer { shared: self.shared.clone() }
    }

    /// It comes over other nodes from now on, of the same publisher: the epoch stays.
    pub fn reroute(&self, route: Route) {
        let mut state = lock(&self.shared.state);
        state.route = Route { epoch: state.route.epoch, ..route };
    }

    /// Whether another publisher has replaced this one, or the broadcast is over.
    pub fn closed(&self) -> Option<Close> {
        let state = lock(&self.shared.state);
        match state.life {
            Life::Ended(why) => Some(why),
            _ if state.term != self.term => Some(Close::Replaced),
            _ => None,
        }
    }

    /// Waits for [`closed`](Self::closed).
    pub fn poll_closed(&self, waiting: &mut Waiting, cx: &Context<'_>) -> Poll<Close> {
        lock(&self.shared.state).wakers.register(&mut waiting.0, cx);
        self.closed().map_or(Poll::Pending, Poll::Ready)
    }

    /// The publisher is gone but may come back until then: readers wait, ids go on.
    pub fn park(mut self, until: Instant) {
        self.done = true;
        self.shared.park(self.term, until);
    }

    /// The broadcast is over.
    pub fn end(mut self, why: Close) {
        self.done = true;
        self.end_for_all(why);
    }

    /// The same while others keep it, too.
    pub fn end_for_all(&self, why: Close) {
        self.shared.end(Some(self.term), why);
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        if !self.done {
            self.shared.end(Some(self.term), Close::SourceLost);
        }
    }
}

/// What [`Consumer::poll_changed`] reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// A publisher writes.
    Live,
    /// The publisher is gone and may come back.
    Parked,
    /// It is over.
    Ended(Close),
}

/// Reads a broadcast. Two consumers are equal if they read the same broadcast.
#[derive(Clone)]
pub struct Consumer {
    pub(crate) shared: Arc<Shared>,
}

impl Consumer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The broadcast's path.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Where it comes from.
    pub fn route(&self) -> Route {
        self.shared.route()
    }

    /// Whether somebody writes it.
    pub fn liveness(&self) -> Liveness {
        match self.shared.life() {
            Life::Live => Liveness::Live,
            Life::Parked(_) => Liveness::Parked,
            Life::Ended(why) => Liveness::Ended(why),
        }
    }

    /// The names of its tracks now.
    pub fn tracks(&self) -> Vec<TrackName> {
        lock(&self.shared.state).tracks.keys().cloned().collect()
    }

    /// A track that is there now; no responder is asked.
    pub fn get(&self, name: &TrackName) -> Option<track::Consumer> {
        let shared = lock(&self.shared.state).tracks.get(name)?.clone();
        Some(track::Consumer { shared })
    }

    /// A track: the one that is there, else one that a responder makes before `deadline`.
    pub fn track(&self, name: &TrackName, deadline: Instant) -> Pending<track::Consumer> {
        self.find(name, deadline, false)
    }

    /// The same, where responders are asked for one that is over as well: it may have begun again.
    pub fn track_anew(&self, name: &TrackName, deadline: Instant) -> Pending<track::Consumer> {
        self.find(name, deadline, true)
    }

    fn find(&self, name: &TrackName, deadline: Instant, anew: bool) -> Pending<track::Consumer> {
        let (broadcast, of) = (self.clone(), name.clone());
        let get = Box::new(move || broadcast.get(&of));
        let mut state = lock(&self.shared.state);
        if let Some(shared) = state.tracks.get(name)
            && !(anew && shared.has_ended())
        {
            return Pending::ready(Ok(track::Consumer { shared: shared.clone() }));
        }
        if let Life::Ended(why) = state.life {
            return Pending::ready(Err(LookupError::Closed(why)));
        }
        state.wanted.retain(|_, want| want.outcome().is_none());
        if let Some(want) = state.wanted.get(name)
            && let Some(waiter) = Waiter::join(want)
        {
            want.extend(deadline);
            return Pending::waiting(waiter, get);
        }
        let shared = Arc::downgrade(&self.shared);
        let ask = Ask::Track(self.shared.path.clone(), shared, name.clone());
        let want = Want::new(&self.shared.desk, ask, deadline);
        state.wanted.insert(name.clone(), want.clone());
        drop(state);
        // Before it is offered: nobody is asked for what nobody wants.
        let waiter = Waiter::of(want.clone());
        want.offer();
        Pending::waiting(waiter, get)
    }

    /// Makes a track that is derived from the others (packaged, encoded), also of a broadcast that has
    /// ended: a short one may be over before anybody looked. It outlives a change of the publisher, and
    /// the end of the broadcast until its last producer is dropped.
    pub fn derive(
        &self,
        name: TrackName,
        info: TrackInfo,
    ) -> Result<track::Producer, PublishError> {
        self.shared.add(name, info, (DERIVED, false))
    }

    /// The same of one that is relayed, where one that is over under this name makes room: whoever brings it has begun it again. Its readers
    /// keep it. There are [`RELAYED_TRACKS_MAX`] at most.
    pub fn derive_anew(
        &self,
        name: TrackName,
        info: TrackInfo,
    ) -> Result<track::Producer, PublishError> {
        self.shared.add(name, info, (DERIVED, true))
    }

    /// Waits until tracks were added or the liveness changed after `seen`; answers the new revision.
    pub fn poll_changed(&self, seen: u64, waiting: &mut Waiting, cx: &Context<'_>) -> Poll<u64> {
        let mut state = lock(&self.shared.state);
        if state.revision != seen {
            return Poll::Ready(state.revision);
        }
        state.wakers.register(&mut waiting.0, cx);
        Poll::Pending
    }

    /// Requests of this broadcast whose deadline has passed are answered.
    pub(crate) fn expire(&self, now: Instant) -> Option<Instant> {
        let wants: Vec<_> = lock(&self.shared.state).wanted.values().cloned().collect();
        expire_wants(wants, now)
    }
}

pub(crate) fn expire_wants(wants: Vec<Arc<Want>>, now: Instant) -> Option<Instant> {
    let mut next = None;
    for want in wants.into_iter().filter(|w| w.outcome().is_none()) {
        let deadline = want.deadline();
        if deadline <= now {
            want.resolve(Err(LookupError::TimedOut));
        } else {
            next = Some(next.map_or(deadline, |next: Instant| next.min(deadline)));
        }
    }
    next
}

impl PartialEq for Consumer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broadcast::Consumer({:?})", self.shared.path)
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broadcast::Producer({:?})", self.shared.path)
    }
}

type Get<T> = Box<dyn Fn() -> Option<T> + Send>;

/// Something that may have to be produced first.
#[must_use = "futures do nothing unless polled"]
pub struct Pending<T> {
    state: PendingState<T>,
    ticket: Ticket,
}

enum PendingState<T> {
    Ready(Option<Result<T, LookupError>>),
    Waiting(Waiter, Get<T>),
}

impl<T> Pending<T> {
    pub(crate) fn ready(result: Result<T, LookupError>) -> Self {
        Self { state: PendingState::Ready(Some(result)), ticket: Ticket::new() }
    }

    pub(crate) fn waiting(waiter: Waiter, get: Get<T>) -> Self {
        Self { state: PendingState::Waiting(waiter, get), ticket: Ticket::new() }
    }
}

impl<T: Unpin> Future for Pending<T> {
    type Output = Result<T, LookupError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        match &mut this.state {
            PendingState::Ready(result) => {
                Poll::Ready(result.take().unwrap_or(Err(LookupError::NotFound)))
            }
            PendingState::Waiting(waiter, get) => match waiter.want().poll(&mut this.ticket, cx) {
                Poll::Ready(outcome) => {
                    Poll::Ready(outcome.and_then(|()| get().ok_or(LookupError::NotFound)))
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }
}
