//! Following a track live. A reader owns a cursor, a position in the track's log, and a policy;
//! never a queue. It costs nothing while it is slow, and loses whole groups then.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::error::{Close, ResetCode};
use crate::object::{Location, ObjectReader};
use crate::track::{Event as Logged, Run, Shared, State};
use crate::wake::{Ticket, lock};

/// Where a subscription starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The beginning of the newest group that decoding can start with.
    NewestGroup,
    /// The first group after the newest one.
    NextGroup,
    /// The first object after the largest one.
    NextObject,
    /// This location, or the first thing behind it that is in memory.
    At(Location),
}

/// What part of a track a subscription covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter {
    /// Where it starts.
    pub start: Start,
    /// The last group, if there is a last one.
    pub end_group: Option<u64>,
}

impl Filter {
    /// Everything from `start` on.
    pub const fn from(start: Start) -> Self {
        Self { start, end_group: None }
    }
}

/// What happens to a reader that falls behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLag {
    /// It goes on at the newest group that decoding can start with.
    SkipToLatest,
    /// It is ended with [`Close::TooFarBehind`].
    Fail,
}

/// How a reader wants to be treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How old the next thing to read may get.
    pub latency_max: Duration,
    /// What happens then.
    pub on_lag: OnLag,
    /// The reader's priority of this track; lower is sent first.
    pub priority: u8,
}

impl Policy {
    /// A reader that wants everything that memory holds, however old.
    pub const EVERYTHING: Self =
        Self { latency_max: Duration::MAX, on_lag: OnLag::SkipToLatest, priority: 128 };
}

/// What a cursor finds next.
#[derive(Debug)]
pub enum Event {
    /// A group began.
    Group(u64),
    /// A subgroup began, or goes on behind a cut.
    Subgroup(SubgroupReader),
    /// An object on its own.
    Datagram(ObjectReader),
    /// A group is complete; `last` is its last object's id, if it has any object.
    GroupEnd {
        /// The group's id.
        group: u64,
        /// Its last object's id.
        last: Option<u64>,
    },
    /// Groups that this reader will not get.
    Skipped {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
        /// Evicted, or the reader was too far behind.
        why: Close,
    },
    /// The track is over.
    End(Close),
}

/// One reader's place in a track.
pub struct Cursor {
    track: Arc<Shared>,
    position: u64,
    from: Location,
    end_group: Option<u64>,
    policy: Policy,
    /// The highest group that was begun, to know where a skip starts.
    last_group: Option<u64>,
    ticket: Ticket,
    /// Told to the reader, and so final.
    over: Option<Close>,
}

impl Cursor {
    pub(crate) fn new(track: Arc<Shared>, filter: Filter, policy: Policy) -> Self {
        let (from, position, past) = {
            let state = lock(&track.state);
            let from = start(&state, filter.start);
            let first = state.groups.range(from.group..).map(|(_, g)| g.first_event).min();
            let past = state.largest.is_some_and(|largest| from <= largest);
            (from, first.unwrap_or(state.logged), past)
        };
        track.demand(|demand, readers| {
            *readers += 1;
            if past {
                demand.from = Some(demand.from.map_or(from, |lowest| lowest.min(from)));
            }
        });
        Self {
            track,
            position,
            from,
            end_group: filter.end_group,
            policy,
            last_group: None,
            ticket: Ticket::new(),
            over: None,
        }
    }

    /// Where it started: the filter, resolved.
    pub fn from(&self) -> Location {
        self.from
    }

    /// The next thing. `now` is what the policy's latency is measured against.
    pub fn poll(&mut self, cx: &Context<'_>, now: Instant) -> Poll<Event> {
        if let Some(why) = self.over {
            return Poll::Ready(Event::End(why));
        }
        let shared = self.track.clone();
        let mut state = lock(&shared.state);
        if let Some(why) = state.end.filter(|why| *why == Close::Malformed) {
            // draft-18 §2.4.2: at once.
            self.over = Some(why);
            return Poll::Ready(Event::End(why));
        }
        loop {
            if let Some(skipped) = self.skip_lost(&state, now) {
                return Poll::Ready(skipped);
            }
            let Some(logged) = state.entry(self.position).copied() else { break };
            self.position = logged.position + 1;
            if !self.wants(logged.group) {
                continue;
            }
            let Some(group) = state.groups.get(&logged.group) else {
                if logged.event == Logged::Group {
                    self.last_group = self.last_group.max(Some(logged.group));
                    let (from, to) = (logged.group, logged.group);
                    return Poll::Ready(Event::Skipped { from, to, why: Close::Evicted });
                }
                continue;
            };
            let id = logged.group;
            return Poll::Ready(match logged.event {
                Logged::Group => {
                    self.last_group = self.last_group.max(Some(id));
                    Event::Group(id)
                }
                Logged::Subgroup(subgroup, run) => {
                    let track = self.track.clone();
                    Event::Subgroup(SubgroupReader::new(track, id, (subgroup, run), self.from))
                }
                Logged::Datagram(object) => {
                    let Some(cell) = group.objects.get(&object).cloned() else { continue };
                    if (Location { group: id, object }) < self.from {
                        continue;
                    }
                    Event::Datagram(ObjectReader::new(self.track.clone(), id, cell))
                }
                Logged::GroupEnd => Event::GroupEnd { group: id, last: group.end.flatten() },
            });
        }
        let past = |end| state.groups.range(end..).any(|(id, g)| *id > end || g.end.is_some());
        let done = self.end_group.is_some_and(past).then_some(Close::Ended);
        if let Some(why) = state.end.or(done) {
            self.over = Some(why);
            return Poll::Ready(Event::End(why));
        }
        state.wakers.register(&mut self.ticket, cx);
        Poll::Pending
    }

    /// The end of the track, for who takes nothing of it now: at once, also if there is more to read; if `all` is not set, only
    /// an end at which nothing more may be read.
    pub fn poll_end(&mut self, cx: &Context<'_>, all: bool) -> Poll<Close> {
        if let Some(why) = self.over {
            return Poll::Ready(why);
        }
        let mut state = lock(&self.track.state);
        if let Some(why) = state.end.filter(|why| all || *why == Close::Malformed) {
            self.over = Some(why);
            return Poll::Ready(why);
        }
        state.wakers.register(&mut self.ticket, cx);
        Poll::Pending
    }

    /// From now on this is what is wanted. What was read is not read again, so `from` must not be before what it was.
    pub fn narrow(&mut self, from: Location, end_group: Option<u64>) {
        self.from = self.from.max(from);
        self.end_group = end_group;
    }

    fn wants(&self, group: u64) -> bool {
        group >= self.from.group && self.end_group.is_none_or(|end| group <= end)
    }

    /// Steps over what was evicted under the cursor, and over what is older than the policy allows.
    fn skip_lost(&mut self, state: &State, now: Instant) -> Option<Event> {
        let logged = state.entry(self.position);
        let next = logged.map_or(state.logged, |logged| logged.position);
        if self.position < next {
            self.position = next;
            if let Some((from, to)) = self.lost(state) {
                return Some(Event::Skipped { from, to, why: Close::Evicted });
            }
        }
        let logged = logged?;
        let late = now.saturating_duration_since(logged.at) > self.policy.latency_max;
        if !late || !self.wants(logged.group) {
            return None;
        }
        let newest = state.newest_sync()?;
        if newest <= logged.group || !self.wants(newest) {
            return None;
        }
        if self.policy.on_lag == OnLag::Fail {
            self.over = Some(Close::TooFarBehind);
            return Some(Event::End(Close::TooFarBehind));
        }
        // Never back: groups may begin out of order, and what was read is not read again.
        let first = state.groups.get(&newest)?.first_event;
        #[cfg(test)]
        if crate::faults::is(crate::faults::Fault::CursorBack) {
            self.position = first;
        }
        self.position = self.position.max(first);
        // The groups before the newest one are not wanted any more, whatever comes of them.
        self.from = self.from.max(Location { group: newest, object: 0 });
        Some(Event::Skipped { from: logged.group, to: newest - 1, why: Close::TooFarBehind })
    }

    /// The groups behind the last one begun that were evicted: up to the next that is in memory.
    /// What was never evicted is not among them, as it may still come.
    fn lost(&self, state: &State) -> Option<(u64, u64)> {
        let from = self.last_group.map_or(self.from.group, |g| self.from.group.max(g + 1));
        let next = state.groups.range(from..).next().map(|(id, _)| *id);
        let last = next.map_or(Some(u64::MAX), |next| next.checked_sub(1))?;
        let to = last.min(state.floor?).min(self.end_group.unwrap_or(u64::MAX));
        (from <= to).then_some((from, to))
    }
}

fn start(state: &State, start: Start) -> Location {
    let newest = state.groups.keys().next_back().copied();
    match (start, newest, state.largest) {
        (Start::At(location), _, _) => location,
        (_, None, None) => Location { group: 0, object: 0 },
        (Start::NewestGroup, newest, largest) => {
            let group = state.newest_sync().or(newest).or(largest.map(|l| l.group));
            Location { group: group.unwrap_or(0), object: 0 }
        }
        (Start::NextGroup, newest, largest) => {
            let group = newest.max(largest.map(|l| l.group));
            Location { group: group.map_or(0, |g| g + 1), object: 0 }
        }
        (Start::NextObject, _, Some(l)) => Location { group: l.group, object: l.object + 1 },
        (Start::NextObject, Some(group), None) => Location { group, object: 0 },
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.track.demand(|_, readers| *readers = readers.saturating_sub(1));
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({:?} {:?} at {})", self.track.path, self.track.name, self.position)
    }
}

/// What a subgroup holds next.
#[derive(Debug)]
pub enum SubgroupEvent {
    /// The next object; it may still be arriving.
    Object(ObjectReader),
    /// The subgroup is complete.
    Fin,
    /// The rest will not come.
    Reset(ResetCode),
}

/// Reads one subgroup in order; of one that was cut and gone on with, one part, and another reader the next.
pub struct SubgroupReader {
    track: Arc<Shared>,
    group: u64,
    /// The subgroup, and which run of it.
    run: (u64, u32),
    /// The lowest object id that is still wanted.
    next: u64,
    ticket: Ticket,
}

impl SubgroupReader {
    fn new(track: Arc<Shared>, group: u64, run: (u64, u32), from: Location) -> Self {
        let next = if group == from.group { from.object } else { 0 };
        Self { track, group, run, next, ticket: Ticket::new() }
    }

    /// The group it belongs to.
    pub fn group(&self) -> u64 {
        self.group
    }

    /// The subgroup's id.
    pub fn id(&self) -> u64 {
        self.run.0
    }

    /// Which part of it: the first one is 0.
    pub fn run(&self) -> u32 {
        self.run.1
    }

    /// Whether its writer has said that it holds the largest object of the group.
    pub fn ends_group(&self) -> bool {
        self.look(|run| run.ends_group)
    }

    /// Whether all of its objects are there.
    pub fn is_complete(&self) -> bool {
        self.look(|run| run.end == Some(Ok(())))
    }

    fn look(&self, what: impl Fn(&Run) -> bool) -> bool {
        let state = lock(&self.track.state);
        let group = state.groups.get(&self.group);
        group.and_then(|group| group.runs.get(&self.run)).is_some_and(what)
    }

    /// The next object.
    pub fn poll(&mut self, cx: &Context<'_>) -> Poll<SubgroupEvent> {
        let mut state = lock(&self.track.state);
        let run = state.groups.get(&self.group).and_then(|g| g.runs.get(&self.run));
        let Some(run) = run else {
            return Poll::Ready(SubgroupEvent::Reset(ResetCode::TOO_FAR_BEHIND));
        };
        if let Some((id, cell)) = run.objects.get(run.position(self.next)) {
            self.next = id + 1;
            let cell = cell.clone();
            drop(state);
            let reader = ObjectReader::new(self.track.clone(), self.group, cell);
            return Poll::Ready(SubgroupEvent::Object(reader));
        }
        match run.end {
            // The rest of it stands in another run: here it does not end, it is cut.
            Some(Ok(())) if run.last > run.objects.last().map(|(id, _)| *id) => {
                Poll::Ready(SubgroupEvent::Reset(ResetCode::CANCELLED))
            }
            Some(Ok(())) => Poll::Ready(SubgroupEvent::Fin),
            Some(Err(code)) => Poll::Ready(SubgroupEvent::Reset(code)),
            None => {
                state.wakers.register(&mut self.ticket, cx);
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for SubgroupReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubgroupReader({}/{} at {})", self.group, self.run.0, self.next)
    }
}
