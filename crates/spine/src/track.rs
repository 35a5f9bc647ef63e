//! A track: groups of objects, written by one or several producers, read by cursors. One lock.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;

use crate::budget::{Budget, Charge};
use crate::cursor::{Cursor, Filter, Policy};
use crate::error::{Close, LookupError, ResetCode, WriteError};
#[cfg(test)]
use crate::faults::{self, Fault};
use crate::fetch::{FetchCursor, Order};
use crate::group;
use crate::limits::{GAPS_MAX, GROUPS_KEPT, GROUPS_KEPT_MIN, LOG_LOOK_MIN, Limits, OVER_KEPT};
use crate::name::{Path, TrackName};
use crate::object::{Cell, Location};
use crate::responder::{Desk, Want};
use crate::wake::{Ticket, Wakers, Woken, lock};
use crate::writing::Writer;

/// What a track says of itself, fixed when it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackInfo {
    /// Units a second of [`Timing`](crate::Timing); none on opaque tracks.
    pub timescale: Option<u32>,
    /// The publisher's priority against the other tracks; lower is sent first.
    pub priority: u8,
    /// The order in which the publisher wants groups delivered.
    pub order: Order,
    /// Whether the publisher can begin a group when asked.
    pub dynamic_groups: bool,
    /// Never evicted while the broadcast lives: initialisation segments, catalogs.
    pub pinned: bool,
    /// So many of its newest groups stay as long as the whole cache is not over its limit: those that readers are told of.
    /// Its producer may learn later how many those are ([`Producer::set_window_groups`]).
    pub window_groups: usize,
    /// Key-value pairs of the publisher, passed on as they are.
    pub properties: Bytes,
    /// The largest object that exists elsewhere when the track is made here.
    pub largest: Option<Location>,
}

impl Default for TrackInfo {
    fn default() -> Self {
        Self {
            timescale: None,
            priority: 128,
            order: Order::Ascending,
            dynamic_groups: false,
            pinned: false,
            window_groups: GROUPS_KEPT,
            properties: Bytes::new(),
            largest: None,
        }
    }
}

/// What readers want of a track's producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demand {
    /// Whether anybody reads.
    pub forward: bool,
    /// A reader wants a group newer than this one as soon as it can be.
    pub new_group_above: Option<u64>,
    /// The lowest location that a reader began at, of those that something was behind already, here or elsewhere.
    pub from: Option<Location>,
}

/// Which publisher may write. A broadcast's publisher has the broadcast's term and loses its right
/// when it is parked or replaced; derived tracks are written by ourselves for as long as the
/// broadcast lives.
pub(crate) type Term = u64;
pub(crate) const DERIVED: Term = Term::MAX;

pub(crate) struct Shared {
    pub(crate) path: Path,
    pub(crate) name: TrackName,
    pub(crate) info: TrackInfo,
    pub(crate) limits: Arc<Limits>,
    pub(crate) budget: Budget,
    pub(crate) desk: Arc<Desk>,
    pub(crate) derived: bool,
    /// It is written by whoever comes.
    pub(crate) relayed: bool,
    /// Held by all producers of a derived track.
    ends: Mutex<Weak<EndsDerived>>,
    pub(crate) state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) groups: BTreeMap<u64, Group>,
    /// What happened, in order: the one queue that all cursors read, each from its own position.
    pub(crate) log: VecDeque<Logged>,
    /// So many entries the log ever had: the position of the next one.
    pub(crate) logged: u64,
    /// When it has so many entries, those of groups that are gone are looked for.
    log_look: usize,
    pub(crate) largest: Option<Location>,
    /// The highest group that was evicted. A group is begun once: what is not above the floor does
    /// not come (again), or a slow second writer would fill the log with groups that go at once.
    pub(crate) floor: Option<u64>,
    /// No object is here or behind.
    pub(crate) behind: Option<Location>,
    pub(crate) end: Option<Close>,
    /// When it was first seen that it is over, and memory short.
    over_since: Option<Instant>,
    pub(crate) wakers: Wakers,
    /// How many of its newest groups readers are told of.
    pub(crate) window_groups: usize,
    /// Ranges of groups that the publisher says never existed.
    pub(crate) never: Vec<RangeInclusive<u64>>,
    /// Requests to responders under way: one answer serves all who ask for the same.
    pub(crate) fetches: BTreeMap<crate::fetch::Key, Weak<Want>>,
    term: Term,
    /// Why writers of an earlier term are refused.
    term_over: Option<Close>,
    demand: Demand,
    demand_revision: u64,
    readers: usize,
    /// So many of who bring it have paused their publishers.
    pub(crate) paused: usize,
    /// Its publisher writes nothing for now.
    pub(crate) rests: bool,
    evicted: u64,
}

pub(crate) struct Group {
    pub(crate) objects: BTreeMap<u64, Arc<Cell>>,
    /// By subgroup, and number in it.
    pub(crate) runs: BTreeMap<(u64, u32), Run>,
    /// Ended, and its last object's id if it has one.
    pub(crate) end: Option<Option<u64>>,
    /// The position in the log where it begins.
    pub(crate) first_event: u64,
    pub(crate) bytes: usize,
    /// So many groups before this one do not exist, its publisher says.
    pub(crate) groups_before: Option<u64>,
    /// Ids of objects that do not exist, its publisher says.
    pub(crate) holes: Vec<RangeInclusive<u64>>,
    pub(crate) _overhead: Charge,
}

/// Objects of a subgroup that follow each other: all of it, unless it was cut and gone on with.
pub(crate) struct Run {
    /// By id. The ids stand beside, so that looking for one touches no object.
    pub(crate) objects: Vec<(u64, Arc<Cell>)>,
    pub(crate) end: Option<Result<(), ResetCode>>,
    /// The last object before its end, also if it stands in another run.
    pub(crate) last: Option<u64>,
    pub(crate) writers: u32,
    /// It holds the largest object of its group.
    pub(crate) ends_group: bool,
    pub(crate) _overhead: Charge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Group,
    /// A run of this subgroup, by its number.
    Subgroup(u64, u32),
    Datagram(u64),
    GroupEnd,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Logged {
    /// They rise, and not always by one: entries of groups that are gone are left out some time.
    pub(crate) position: u64,
    pub(crate) at: Instant,
    pub(crate) group: u64,
    pub(crate) event: Event,
}

impl State {
    pub(crate) fn log(&mut self, at: Instant, group: u64, event: Event) -> u64 {
        let position = self.logged;
        self.log.push_back(Logged { position, at, group, event });
        self.logged += 1;
        position
    }

    /// What the log has here, or next.
    pub(crate) fn entry(&self, position: u64) -> Option<&Logged> {
        if position >= self.logged {
            return None;
        }
        let behind = position.saturating_sub(self.log.front()?.position);
        let index = usize::try_from(behind).unwrap_or(usize::MAX);
        match self.log.get(index).filter(|logged| logged.position == position) {
            Some(logged) => Some(logged),
            // Some before it were left out, or it was.
            None => self.log.get(self.log.partition_point(|logged| logged.position < position)),
        }
    }

    /// The newest group that decoding can start with; on opaque tracks any group that has begun.
    pub(crate) fn newest_sync(&self) -> Option<u64> {
        self.groups.iter().rev().find(|(_, g)| g.starts_sync()).map(|(id, _)| *id)
    }

    /// The oldest group that may go: none of the newest `kept`, nor the newest that can be started
    /// with (as long as it is near enough to be worth it).
    pub(crate) fn evictable(&self, kept: usize) -> Option<u64> {
        #[cfg(test)]
        if faults::is(Fault::NewestEvicted) {
            return self.groups.keys().next().copied();
        }
        let may_go = self.groups.len().saturating_sub(kept);
        let mut oldest = self.groups.keys().copied().take(may_go);
        let first = oldest.next()?;
        let sync = self.groups.iter().rev().take(SYNC_KEPT).find(|(_, g)| g.starts_sync());
        if sync.is_some_and(|(id, _)| *id == first) { oldest.next() } else { Some(first) }
    }

    pub(crate) fn evict(&mut self, group: u64) {
        self.groups.remove(&group);
        self.floor = self.floor.max(Some(group));
        self.evicted += 1;
        while self.log.front().is_some_and(|e| !self.groups.contains_key(&e.group)) {
            self.log.pop_front();
        }
        // Behind a group that stays others come and go without end, if it was begun before them and its id is higher. Looked at
        // once for as many as are left then.
        if self.log.len() >= self.log_look.max(LOG_LOOK_MIN) {
            self.log.retain(|entry| self.groups.contains_key(&entry.group));
            self.log_look = 2 * self.log.len();
        }
    }

    fn forget_before(&mut self, group: u64) {
        let evicted = self.evicted;
        while let Some(oldest) = self.groups.keys().next().copied().filter(|id| *id < group) {
            self.evict(oldest);
        }
        // Not because its writer had to pay.
        self.evicted = evicted;
    }

    pub(crate) fn saw(&mut self, location: Location) {
        // A peer may name any: there is always a next one.
        let location = location.clamped();
        if self.largest.is_none_or(|largest| location > largest) {
            self.largest = Some(location);
        }
    }

    pub(crate) fn check(&self, term: Term) -> Result<(), Close> {
        let current = self.term == term;
        #[cfg(test)]
        let current = current || faults::is(Fault::TermUnchecked);
        match (self.end, current) {
            (Some(why), _) => Err(why),
            (None, true) => Ok(()),
            (None, false) => Err(self.term_over.unwrap_or(Close::Replaced)),
        }
    }
}

/// Groups among which the newest startable one is kept from eviction.
const SYNC_KEPT: usize = 16;

impl Run {
    /// Where the first object from `id` on is. Writers and readers are nearly always at the end.
    pub(crate) fn position(&self, id: u64) -> usize {
        match self.objects.last() {
            Some((last, _)) if *last >= id => self.objects.partition_point(|(o, _)| *o < id),
            _ => self.objects.len(),
        }
    }
}

impl Group {
    fn starts_sync(&self) -> bool {
        self.objects.values().next().is_some_and(|o| o.header.timing.is_none_or(|t| t.sync))
    }
}

impl Shared {
    pub(crate) fn new(
        path: Path,
        name: TrackName,
        info: TrackInfo,
        (term, relayed): (Term, bool),
        (limits, budget, desk): (Arc<Limits>, Budget, Arc<Desk>),
    ) -> Arc<Self> {
        let (largest, window_groups) = (info.largest.map(Location::clamped), info.window_groups);
        let state = Mutex::new(State { term, largest, window_groups, ..State::default() });
        let derived = term == DERIVED;
        Arc::new(Self {
            path,
            name,
            info,
            limits,
            budget,
            desk,
            derived,
            relayed,
            ends: Mutex::default(),
            state,
        })
    }

    /// Changes the state and wakes whom it concerns once the lock is released.
    pub(crate) fn change<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let (result, _woken): (R, Woken) = {
            let mut state = lock(&self.state);
            let result = f(&mut state);
            (result, state.wakers.take())
        };
        result
    }

    pub(crate) fn wake(&self) {
        self.change(|_| ());
    }

    pub(crate) fn register(&self, ticket: &mut Ticket, cx: &Context<'_>) {
        lock(&self.state).wakers.register(ticket, cx);
    }

    pub(crate) fn end(&self, why: Close) {
        self.change(|state| state.finish(why));
    }

    /// Ends it, if this writer may still write.
    pub(crate) fn end_by(&self, why: Close, term: Term) {
        self.change(|state| {
            if state.check(term).is_ok() {
                state.finish(why);
            }
        });
    }

    /// The publisher says that these groups never existed.
    pub(crate) fn gap(&self, range: RangeInclusive<u64>, term: Term) {
        self.change(|state| {
            if state.check(term).is_ok() && !range.is_empty() {
                state.never(range);
            }
        });
    }

    /// The term of the publisher is over: what it left open is cut.
    pub(crate) fn set_term(&self, term: Term, why: Close) {
        self.change(|state| {
            // Two take-overs at one time may arrive here in either order.
            if state.term != DERIVED && state.term < term {
                state.term = term;
                state.term_over = Some(why);
                state.reset_open(ResetCode::CANCELLED);
            }
        });
    }

    pub(crate) fn demand(&self, f: impl FnOnce(&mut Demand, &mut usize)) {
        self.change(|state| {
            let before = state.demand;
            f(&mut state.demand, &mut state.readers);
            state.demand.forward = state.readers > 0;
            if state.demand != before {
                state.demand_revision += 1;
            }
        });
    }

    pub(crate) fn has_ended(&self) -> bool {
        lock(&self.state).end.is_some()
    }

    pub(crate) fn is_read(&self) -> bool {
        lock(&self.state).readers > 0
    }

    /// Memory is short: what has been over for [`OVER_KEPT`] goes, whoever may still read it.
    pub(crate) fn give_back(&self, now: Instant) {
        if self.info.pinned || !self.has_ended() {
            return;
        }
        self.change(|state| {
            let since = *state.over_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= OVER_KEPT {
                state.forget_before(u64::MAX);
            }
        });
    }

    /// Bytes of payload that eviction could free.
    pub(crate) fn evictable_bytes(&self) -> usize {
        let state = lock(&self.state);
        if self.info.pinned {
            return 0;
        }
        let may_go = state.groups.len().saturating_sub(GROUPS_KEPT_MIN);
        state.groups.values().take(may_go).map(|g| g.bytes).sum()
    }
}

impl State {
    fn finish(&mut self, why: Close) {
        if self.end.is_none() {
            self.end = Some(why);
            self.reset_open(ResetCode::CANCELLED);
        }
    }

    /// The id after the largest one that was ever used.
    pub(crate) fn next_group_id(&self) -> u64 {
        let newest = self.groups.keys().next_back().copied();
        let largest = newest.max(self.largest.map(|l| l.group)).max(self.floor);
        #[cfg(test)]
        if faults::is(Fault::GroupIdTwice) {
            return largest.unwrap_or(0);
        }
        largest.map_or(0, |id| id + 1)
    }

    /// Ranges are kept joined, in order, and bounded: to forget one only makes "missing" "unknown".
    pub(crate) fn never(&mut self, range: RangeInclusive<u64>) {
        let (mut from, mut to) = range.into_inner();
        self.never.retain(|r| {
            let apart = *r.start() > to.saturating_add(1) || r.end().saturating_add(1) < from;
            if !apart {
                (from, to) = (from.min(*r.start()), to.max(*r.end()));
            }
            apart
        });
        let at = self.never.partition_point(|r| *r.start() < from);
        self.never.insert(at, from..=to);
        if self.never.len() > GAPS_MAX {
            self.never.remove(0);
        }
    }

    /// Whether this group is in a range of those that do not exist.
    pub(crate) fn never_has(&self, group: u64) -> bool {
        let behind = self.never.partition_point(|range| *range.start() <= group);
        let range = behind.checked_sub(1).and_then(|at| self.never.get(at));
        range.is_some_and(|range| range.contains(&group))
    }

    fn reset_open(&mut self, code: ResetCode) {
        for group in self.groups.values_mut() {
            for run in group.runs.values_mut().filter(|run| run.end.is_none()) {
                run.end = Some(Err(code));
            }
            // Also in subgroups that are complete: their last object may still be arriving.
            for object in group.objects.values() {
                object.abandon(code);
            }
        }
    }
}

/// Writes a track. Clones and further producers of the same track may write it too: an object that
/// is there already is dropped.
#[derive(Clone)]
pub struct Producer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: Writer,
    seen_demand: u64,
    _ends: Option<Arc<EndsDerived>>,
}

/// Ends a derived track with its last producer, so that its readers never wait for nobody.
struct EndsDerived(Arc<Shared>);

impl Drop for EndsDerived {
    fn drop(&mut self) {
        self.0.end(Close::Ended);
    }
}

impl Producer {
    pub(crate) fn new(shared: Arc<Shared>, term: Term) -> Self {
        let ends = shared.derived.then(|| {
            let mut there = lock(&shared.ends);
            there.upgrade().unwrap_or_else(|| {
                let ends = Arc::new(EndsDerived(shared.clone()));
                *there = Arc::downgrade(&ends);
                ends
            })
        });
        let writer = Writer { term, checked: false };
        Self { shared, writer, seen_demand: 0, _ends: ends }
    }

    /// What it writes comes from somebody who may contradict himself, or another one: that is an error then,
    /// [`WriteError::Malformed`], and not kept.
    #[must_use]
    pub fn checked(mut self) -> Self {
        self.writer.checked = true;
        self
    }

    /// The track's name.
    pub fn name(&self) -> &TrackName {
        &self.shared.name
    }

    /// What the track says of itself.
    pub fn info(&self) -> &TrackInfo {
        &self.shared.info
    }

    /// From now on so many of its newest groups are those that readers are told of.
    pub fn set_window_groups(&self, groups: usize) {
        lock(&self.shared.state).window_groups = groups;
    }

    /// The budget that payloads for this track are charged to.
    pub fn budget(&self) -> &Budget {
        &self.shared.budget
    }

    /// Opens a group. Several may be open at once; a group that is there already is joined.
    pub fn group(&self, id: u64, now: Instant) -> Result<group::Producer, WriteError> {
        self.shared.open_group(id, now, self.writer.term)?;
        Ok(group::Producer::new(self.shared.clone(), self.writer, id))
    }

    /// Opens the group after the largest one so far.
    pub fn next_group(&self, now: Instant) -> Result<group::Producer, WriteError> {
        let id = self.shared.open_next_group(now, self.writer.term)?;
        Ok(group::Producer::new(self.shared.clone(), self.writer, id))
    }

    /// The id that [`next_group`](Self::next_group) would take.
    pub fn next_group_id(&self) -> u64 {
        lock(&self.shared.state).next_group_id()
    }

    /// States that groups of this range do not exist and never will.
    pub fn gap(&self, range: RangeInclusive<u64>) {
        self.shared.gap(range, self.writer.term);
    }

    /// Forgets what is older than this group: it is not to be had any more, also by those who are behind. For tracks whose
    /// groups each say everything anew.
    pub fn forget_before(&self, group: u64) {
        self.shared.change(|state| {
            if state.check(self.writer.term).is_ok() {
                state.forget_before(group);
            }
        });
    }

    /// States that this object exists elsewhere, though it did not come here: what is newer comes behind it.
    pub fn saw(&self, location: Location) {
        self.shared.change(|state| {
            if state.check(self.writer.term).is_ok() {
                state.saw(location);
            }
        });
    }

    /// The same, unless somebody reads it, who begins behind what was the largest when he came. Whether it was stated.
    pub fn saw_unread(&self, location: Location) -> bool {
        self.shared.change(|state| {
            let unread = state.readers == 0 && state.check(self.writer.term).is_ok();
            if unread {
                state.saw(location);
            }
            unread
        })
    }

    /// What readers want, when it has changed since the last call.
    pub fn poll_demand(&mut self, ticket: &mut Waiting, cx: &Context<'_>) -> Poll<Demand> {
        let mut state = lock(&self.shared.state);
        if state.demand_revision != self.seen_demand {
            self.seen_demand = state.demand_revision;
            return Poll::Ready(state.demand);
        }
        state.wakers.register(&mut ticket.0, cx);
        Poll::Pending
    }

    /// Gives all groups back: who comes from now on begins with what is written then. Ids go on above them.
    pub fn clear(&self) {
        // Above every id.
        self.forget_before(u64::MAX);
    }

    /// Groups evicted so far because memory was short.
    pub fn evicted(&self) -> u64 {
        lock(&self.shared.state).evicted
    }

    /// No object is at this location or behind it, says who publishes. What is before it may still come.
    pub fn end_at(&self, location: Location) -> Result<(), WriteError> {
        self.shared.end_track(location, self.writer)
    }

    /// Nothing comes until the next group begins, which may be never: lists leave the track out until then.
    pub fn rest(&self) {
        self.shared.change(|state| state.rests |= state.check(self.writer.term).is_ok());
    }

    /// The track is over. Readers get what there is, then the reason.
    pub fn end(&self, why: Close) {
        self.shared.end_by(why, self.writer.term);
    }

    /// A consumer of the same track.
    pub fn consume(&self) -> Consumer {
        Consumer { shared: self.shared.clone() }
    }
}

/// A place in the list of those who wait; one for each task that polls.
#[derive(Debug)]
pub struct Waiting(pub(crate) Ticket);

impl Waiting {
    /// A new place.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(Ticket::new())
    }
}

/// Reads a track: makes cursors.
#[derive(Clone)]
pub struct Consumer {
    pub(crate) shared: Arc<Shared>,
}

impl Consumer {
    /// Of which broadcast it is.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// The track's name.
    pub fn name(&self) -> &TrackName {
        &self.shared.name
    }

    /// What the track says of itself.
    pub fn info(&self) -> &TrackInfo {
        &self.shared.info
    }

    /// The largest location seen.
    pub fn largest(&self) -> Option<Location> {
        lock(&self.shared.state).largest
    }

    /// The oldest group in memory.
    pub fn oldest_group(&self) -> Option<u64> {
        lock(&self.shared.state).groups.keys().next().copied()
    }

    /// Why it is over, if it is.
    pub fn ended(&self) -> Option<Close> {
        lock(&self.shared.state).end
    }

    /// Waits for [`ended`](Self::ended).
    pub fn poll_ended(&self, waiting: &mut Waiting, cx: &Context<'_>) -> Poll<Close> {
        let mut state = lock(&self.shared.state);
        if let Some(why) = state.end {
            return Poll::Ready(why);
        }
        state.wakers.register(&mut waiting.0, cx);
        Poll::Pending
    }

    /// Whether its publisher has said that nothing comes for now. Who reads it is woken when that is said.
    pub fn rests(&self) -> bool {
        lock(&self.shared.state).rests
    }

    /// Whether its publisher has said where it ends, and all that it has begun is over.
    pub fn is_final(&self) -> bool {
        let state = lock(&self.shared.state);
        let is_over = |group: &Group| {
            // Behind the last object of its group nothing comes.
            let is_last = |run: &Run| {
                let last = run.objects.last().map(|(id, _)| *id);
                last.is_some() && group.end == Some(last)
            };
            group.runs.values().all(|run| run.end.is_some() || is_last(run))
        };
        state.behind.is_some() && state.groups.values().all(is_over)
    }

    /// Reads from `filter` on, under `policy`.
    pub fn subscribe(&self, filter: Filter, policy: Policy) -> Cursor {
        Cursor::new(self.shared.clone(), filter, policy)
    }

    /// Reads a range of the past: from memory, else from who can bring it before `deadline`. The
    /// range ends at the largest location at the latest.
    pub fn fetch(
        &self,
        range: RangeInclusive<Location>,
        order: Order,
        deadline: Instant,
    ) -> FetchCursor {
        FetchCursor::new(self.shared.clone(), range, order, deadline)
    }

    /// The complete object at this location, if it is in memory.
    pub fn object(&self, location: Location) -> Result<crate::ObjectReader, LookupError> {
        let state = lock(&self.shared.state);
        let group = state.groups.get(&location.group).ok_or(LookupError::NotFound)?;
        let cell = group.objects.get(&location.object).ok_or(LookupError::NotFound)?.clone();
        drop(state);
        Ok(crate::ObjectReader::new(self.shared.clone(), location.group, cell))
    }

    /// The group above which a reader wants a new one, or wanted: whoever asked for most.
    pub fn wanted_above(&self) -> Option<u64> {
        lock(&self.shared.state).demand.new_group_above
    }

    /// Asks the publisher for a group newer than `above`.
    pub fn request_group(&self, above: u64) {
        self.shared.demand(|demand, _| {
            demand.new_group_above = demand.new_group_above.max(Some(above));
        });
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "track::Producer({:?} {:?})", self.shared.path, self.shared.name)
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "track::Consumer({:?} {:?})", self.shared.path, self.shared.name)
    }
}
