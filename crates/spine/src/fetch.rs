//! Reading a range of the past: what memory holds, and what a responder brings for the rest.

use std::collections::VecDeque;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::budget::{Budget, Payload};
use crate::error::Close;
use crate::limits::OBJECT_OVERHEAD_BYTES;
use crate::object::{Cell, Header, Location, ObjectReader};
use crate::responder::{Ask, Want};
use crate::track::{Group, Shared, State};
use crate::wake::{Ticket, Wakers, lock};

/// The order of groups. Objects inside a group are always in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// Oldest group first.
    Ascending,
    /// Newest group first.
    Descending,
}

/// Identifies a request that several readers can share.
pub(crate) type Key = (Location, Location, Order);

/// Why objects of a range are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// They never existed.
    Missing,
    /// Nobody here knows them.
    Unknown,
    /// Nobody answered in time.
    TimedOut,
}

/// What a fetch finds next.
#[derive(Debug)]
pub enum FetchEvent {
    /// The next object; it may still be arriving.
    Object(ObjectReader),
    /// Nothing (more) is known of these groups, for this reason.
    Gap {
        /// First group of the gap.
        from: u64,
        /// Last group of the gap.
        to: u64,
        /// Why.
        why: Absence,
    },
    /// Nothing is known of the objects of a group from behind what came before, up to and with this one, for this reason; what is
    /// behind them comes.
    Hole {
        /// The last of them.
        last: Location,
        /// Why.
        why: Absence,
    },
    /// The range is done.
    End,
}

/// Reads a range.
pub struct FetchCursor {
    track: Arc<Shared>,
    start: Location,
    end: Location,
    order: Order,
    /// Groups that are not done, both ends included.
    left: Option<(u64, u64)>,
    /// The lowest object id still wanted of the group that is being read.
    next_object: u64,
    deadline: Instant,
    asked: Option<Asked>,
    /// What became of the first hole of the group that is being read. Where holes are many, the rest of them is one request; and where
    /// nobody could say, nobody is asked again.
    hole: Option<Absence>,
    /// What is older is as if it were not in memory.
    age_max: Option<Duration>,
    /// Memory did not hold all of it.
    has_asked: bool,
    ticket: Ticket,
    stream_ticket: Ticket,
}

/// Items of an answer that are kept for readers who share it. Who falls further behind the fastest of them asks again,
/// for what is left.
pub(crate) const WINDOW: usize = 64;

/// Groups that a responder was asked for.
struct Asked {
    want: Arc<Want>,
    stream: Arc<Stream>,
    next: usize,
    from: u64,
    to: u64,
    /// Only objects of one group up to this one: memory has what is behind it.
    hole: Option<u64>,
}

/// What memory says about the group that is next.
enum Here {
    Object(Arc<Cell>),
    /// All that there is of it was read.
    Done,
    /// Of its objects up to this one it is not known whether they exist, or all of them is not here.
    Hole(u64),
    /// The same of all behind what was read.
    Rest,
    /// This group and its neighbours up to `far` are not in memory.
    Absent {
        far: u64,
        never: bool,
    },
}

impl FetchCursor {
    pub(crate) fn new(
        track: Arc<Shared>,
        range: RangeInclusive<Location>,
        order: Order,
        deadline: Instant,
    ) -> Self {
        let (start, end) = range.into_inner();
        let largest = lock(&track.state).largest;
        let end = largest.map_or(end, |largest| largest.min(end));
        let left = largest.filter(|_| start <= end).map(|_| (start.group, end.group));
        Self {
            track,
            start,
            end,
            order,
            left,
            next_object: 0,
            deadline,
            asked: None,
            hole: None,
            age_max: None,
            has_asked: false,
            ticket: Ticket::new(),
            stream_ticket: Ticket::new(),
        }
    }

    /// Of memory no object counts that came longer ago: it is asked for.
    pub fn no_older_than(mut self, age_max: Option<Duration>) -> Self {
        self.age_max = age_max;
        self
    }

    /// When an answer that is being waited for is given up; poll again then.
    pub fn deadline(&self) -> Option<Instant> {
        self.asked.as_ref().map(|_| self.deadline)
    }

    /// Whether memory did not hold all of it, and somebody was asked for the rest.
    pub fn has_asked(&self) -> bool {
        self.has_asked
    }

    /// Waits for answers until then.
    pub fn extend(&mut self, deadline: Instant) {
        self.deadline = self.deadline.max(deadline);
        if let Some(asked) = &self.asked {
            asked.want.extend(self.deadline);
        }
    }

    /// The next object or gap.
    pub fn poll(&mut self, cx: &Context<'_>, now: Instant) -> Poll<FetchEvent> {
        loop {
            if let Some(asked) = self.asked.take() {
                match self.poll_asked(asked, cx, now) {
                    Poll::Ready(Some(event)) => return Poll::Ready(event),
                    Poll::Ready(None) => continue,
                    Poll::Pending => return Poll::Pending,
                }
            }
            let Some((low, high)) = self.left else { return Poll::Ready(FetchEvent::End) };
            let near = if self.order == Order::Ascending { low } else { high };
            let since = self.age_max.and_then(|age| now.checked_sub(age));
            let here = self.look(&lock(&self.track.state), near, (low, high), since);
            match here {
                Here::Object(cell) => {
                    self.next_object = cell.header.id + 1;
                    let reader = ObjectReader::new(self.track.clone(), near, cell);
                    return Poll::Ready(FetchEvent::Object(reader));
                }
                Here::Done => self.pass(near),
                // draft-18 §10.12.3: whether they exist is to be asked.
                Here::Hole(last) => match self.hole {
                    None => self.ask(near, near, Some(last)),
                    Some(Absence::Missing) => self.ask(near, near, None),
                    Some(why) => {
                        let last = Location { group: near, object: last };
                        self.stands_at(near, last.object.saturating_add(1));
                        return Poll::Ready(FetchEvent::Hole { last, why });
                    }
                },
                Here::Rest => match self.hole {
                    None | Some(Absence::Missing) => self.ask(near, near, None),
                    Some(why) => {
                        self.pass(near);
                        return Poll::Ready(gap(near, near, why));
                    }
                },
                // Evicted while it was read: the rest of this group is one request.
                Here::Absent { .. } if self.next_object > 0 => self.ask(near, near, None),
                Here::Absent { far, never: true } => {
                    self.pass(far);
                    return Poll::Ready(gap(near, far, Absence::Missing));
                }
                Here::Absent { far, never: false } => {
                    self.ask(near.min(far), near.max(far), None);
                }
            }
        }
    }

    /// All groups up to `far`, in reading order, are done.
    fn pass(&mut self, far: u64) {
        (self.next_object, self.hole) = (0, None);
        self.left = self.left.and_then(|(low, high)| match self.order {
            Order::Ascending => (far < high).then(|| (far + 1, high)),
            Order::Descending => (far > low).then(|| (low, far - 1)),
        });
    }

    fn look(
        &self,
        state: &State,
        near: u64,
        (low, high): (u64, u64),
        since: Option<Instant>,
    ) -> Here {
        let is_here = |cell: &Cell| !cell.is_cut() && !is_before(since, cell);
        // All of it: then it is asked for with its neighbours.
        let is_old = |group: &Group| {
            let mut whole = group.objects.values().filter(|cell| !cell.is_cut()).peekable();
            whole.peek().is_some() && whole.all(|cell| is_before(since, cell))
        };
        let first = if near == self.start.group { self.start.object } else { 0 };
        let last = if near == self.end.group { self.end.object } else { u64::MAX };
        let group = state.groups.get(&near);
        if let Some(group) = group.filter(|group| self.next_object > 0 || !is_old(group)) {
            let next = first.max(self.next_object);
            if next > last {
                return Here::Done;
            }
            let mut objects = group.objects.range(next..=last);
            return match objects.find(|(_, cell)| is_here(cell)) {
                Some((id, _)) if *id > next && !group.lacks(next..=*id - 1) => Here::Hole(*id - 1),
                Some((_, cell)) => Here::Object(cell.clone()),
                None if group.lacks(next..=last) => Here::Done,
                None => Here::Rest,
            };
        }
        let in_never = |id: u64| state.never.iter().find(|range| range.contains(&id));
        let never = in_never(near);
        let far = match self.order {
            Order::Ascending => {
                let present = state
                    .groups
                    .range(near..)
                    .find(|(_, group)| !is_old(group))
                    .map_or(high, |(id, _)| id - 1);
                let until = match never {
                    Some(range) => *range.end(),
                    None => state
                        .never
                        .iter()
                        .map(|r| *r.start())
                        .filter(|s| *s > near)
                        .min()
                        .map_or(high, |s| s - 1),
                };
                high.min(present).min(until)
            }
            Order::Descending => {
                let present = state
                    .groups
                    .range(..=near)
                    .rev()
                    .find(|(_, group)| !is_old(group))
                    .map_or(low, |(id, _)| id + 1);
                let until = match never {
                    Some(range) => *range.start(),
                    None => state
                        .never
                        .iter()
                        .map(|r| *r.end())
                        .filter(|e| *e < near)
                        .max()
                        .map_or(low, |e| e + 1),
                };
                low.max(present).max(until)
            }
        };
        Here::Absent { far, never: never.is_some() }
    }

    /// Asks the responders for groups, or of one of them up to this object; or joins somebody who has asked for the same.
    fn ask(&mut self, from: u64, to: u64, hole: Option<u64>) {
        self.has_asked = true;
        let start = self.start.max(Location { group: from, object: self.next_object });
        let end = self.end.min(Location { group: to, object: hole.unwrap_or(u64::MAX) });
        let key = (start, end, self.order);
        let (want, fresh) = {
            let mut state = lock(&self.track.state);
            state.fetches.retain(|_, want| want.strong_count() > 0);
            match state.fetches.get(&key).and_then(std::sync::Weak::upgrade) {
                Some(want) if want.ask.is_whole() => (want, false),
                _ => {
                    let stream = Arc::new(Stream::default());
                    let (path, track) = (self.track.path.clone(), Arc::downgrade(&self.track));
                    let ask = Ask::Fetch(path, track, start..=end, self.order, stream);
                    let want = Want::new(&self.track.desk, ask, self.deadline);
                    state.fetches.insert(key, Arc::downgrade(&want));
                    (want, true)
                }
            }
        };
        if fresh {
            want.offer();
        }
        let Ask::Fetch(.., stream) = &want.ask else { return };
        self.asked = Some(Asked { stream: stream.clone(), want, next: 0, from, to, hole });
    }

    fn poll_asked(
        &mut self,
        mut asked: Asked,
        cx: &Context<'_>,
        now: Instant,
    ) -> Poll<Option<FetchEvent>> {
        let far = if self.order == Order::Ascending { asked.to } else { asked.from };
        let answer = match asked.want.poll(&mut self.ticket, cx) {
            Poll::Ready(Ok(())) => asked.stream.poll(asked.next, &mut self.stream_ticket, cx),
            Poll::Ready(Err(_)) => Poll::Ready(Item::Gap(asked.from, asked.to, Absence::Unknown)),
            Poll::Pending => Poll::Pending,
        };
        match answer {
            Poll::Ready(Item::Object(group, cell)) => {
                asked.next += 1;
                if (asked.from..=asked.to).contains(&group) {
                    self.stands_at(group, cell.header.id.saturating_add(1));
                }
                self.asked = Some(asked);
                let reader = ObjectReader::new(self.track.clone(), group, cell);
                Poll::Ready(Some(FetchEvent::Object(reader)))
            }
            Poll::Ready(Item::Gap(_, _, why)) if asked.hole.is_some() => {
                Poll::Ready(self.pass_hole(&asked, why))
            }
            Poll::Ready(Item::Gap(from, to, why)) => {
                asked.next += 1;
                if asked.want.outcome() == Some(Ok(())) {
                    let behind = if self.order == Order::Ascending { to } else { from };
                    if behind != far && (asked.from..=asked.to).contains(&behind) {
                        self.pass(behind);
                    }
                    self.asked = Some(asked);
                } else {
                    self.pass(far);
                }
                Poll::Ready(Some(FetchEvent::Gap { from, to, why }))
            }
            // Others who share the answer are far ahead, or nobody read it for long: the rest is another request.
            Poll::Ready(Item::Passed) => Poll::Ready(None),
            Poll::Ready(Item::End) if asked.hole.is_some() => {
                Poll::Ready(self.pass_hole(&asked, Absence::Missing))
            }
            Poll::Ready(Item::End) => {
                self.pass(far);
                Poll::Ready(None)
            }
            Poll::Pending if now >= self.deadline && asked.hole.is_some() => {
                Poll::Ready(self.pass_hole(&asked, Absence::TimedOut))
            }
            Poll::Pending if now >= self.deadline => {
                self.pass(far);
                Poll::Ready(Some(gap(asked.from, asked.to, Absence::TimedOut)))
            }
            Poll::Pending => {
                self.asked = Some(asked);
                Poll::Pending
            }
        }
    }
}

impl FetchCursor {
    /// Goes on behind a hole. What does not exist needs no word.
    fn pass_hole(&mut self, asked: &Asked, why: Absence) -> Option<FetchEvent> {
        let last = Location { group: asked.from, object: asked.hole? };
        self.stands_at(last.group, last.object.saturating_add(1));
        self.hole = Some(why);
        (why != Absence::Missing).then_some(FetchEvent::Hole { last, why })
    }

    /// Everything before this location, in reading order, is read.
    fn stands_at(&mut self, group: u64, object: u64) {
        self.next_object = object;
        self.left = self.left.map(|(low, high)| match self.order {
            Order::Ascending => (group.max(low), high),
            Order::Descending => (low, group.min(high)),
        });
    }
}

/// Whether an object came before that.
fn is_before(since: Option<Instant>, cell: &Cell) -> bool {
    since.is_some_and(|since| cell.header.arrived < since)
}

fn gap(a: u64, b: u64, why: Absence) -> FetchEvent {
    FetchEvent::Gap { from: a.min(b), to: a.max(b), why }
}

impl fmt::Debug for FetchCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FetchCursor({:?}..={:?})", self.start, self.end)
    }
}

/// The answer to one request, shared by all who asked for the same.
#[derive(Default)]
pub(crate) struct Stream(Mutex<StreamState>);

#[derive(Default)]
struct StreamState {
    items: VecDeque<Item>,
    /// Items that are not kept any more.
    gone: usize,
    /// How far the fastest reader is.
    read: usize,
    done: bool,
    /// Who brings it has stopped before its end: the rest is another request.
    left_off: bool,
    wakers: Wakers,
    /// The writer waits for room.
    writer: Wakers,
}

#[derive(Clone)]
enum Item {
    Object(u64, Arc<Cell>),
    Gap(u64, u64, Absence),
    /// No longer kept.
    Passed,
    End,
}

impl Stream {
    /// Whether who comes now can read all of it.
    pub(crate) fn is_whole(&self) -> bool {
        let state = lock(&self.0);
        state.gone == 0 && !state.left_off
    }

    fn poll(&self, next: usize, ticket: &mut Ticket, cx: &Context<'_>) -> Poll<Item> {
        let mut state = lock(&self.0);
        let Some(index) = next.checked_sub(state.gone) else { return Poll::Ready(Item::Passed) };
        let found = state.items.get(index).cloned();
        match found {
            Some(item) => {
                state.read = state.read.max(next + 1);
                while state.items.len() > WINDOW && state.gone < state.read {
                    state.items.pop_front();
                    state.gone += 1;
                }
                let woken = state.writer.take();
                drop(state);
                drop(woken);
                Poll::Ready(item)
            }
            None if state.done && state.left_off => Poll::Ready(Item::Passed),
            None if state.done => Poll::Ready(Item::End),
            None => {
                state.wakers.register(ticket, cx);
                Poll::Pending
            }
        }
    }

    fn push(&self, item: Option<Item>) {
        let _woken = {
            let mut state = lock(&self.0);
            match item {
                Some(item) => {
                    state.items.push_back(item);
                    while state.items.len() > WINDOW && state.gone < state.read {
                        state.items.pop_front();
                        state.gone += 1;
                    }
                }
                None => state.done = true,
            }
            state.wakers.take()
        };
    }
}

/// Answers a fetch: objects in the order that was asked for. Dropping it early says that the rest
/// is unknown.
pub struct FetchProducer {
    track: Arc<Shared>,
    stream: Arc<Stream>,
    /// Groups not spoken of yet, both ends included.
    left: Option<(u64, u64)>,
    order: Order,
    ticket: Ticket,
}

impl FetchProducer {
    pub(crate) fn new(
        track: Arc<Shared>,
        stream: Arc<Stream>,
        range: RangeInclusive<Location>,
        order: Order,
    ) -> Self {
        let left = Some((range.start().group, range.end().group));
        Self { track, stream, left, order, ticket: Ticket::new() }
    }

    /// The next object.
    pub fn object(&mut self, group: u64, header: Header, chunks: Vec<Payload>) {
        self.spoke_of(group, false);
        let overhead = self.track.budget.charge(OBJECT_OVERHEAD_BYTES);
        let cell = Arc::new(Cell::whole(header, chunks, overhead));
        self.stream.push(Some(Item::Object(group, cell)));
    }

    /// Ready when the readers have come so far that more is worth bringing. Who brings more all the same fills memory.
    pub fn poll_room(&mut self, cx: &Context<'_>) -> Poll<()> {
        let mut state = lock(&self.stream.0);
        if state.gone + state.items.len() < state.read + WINDOW {
            return Poll::Ready(());
        }
        state.writer.register(&mut self.ticket, cx);
        Poll::Pending
    }

    /// What the publisher says contradicts itself: the track is over, for everybody.
    pub fn malformed(self) {
        self.track.end(Close::Malformed);
    }

    /// The budget that payloads must be charged to.
    pub fn budget(&self) -> &Budget {
        &self.track.budget
    }

    /// Whether anybody still reads the answer.
    pub fn is_wanted(&self) -> bool {
        Arc::strong_count(&self.stream) > 1
    }

    /// These groups are not to be had.
    pub fn gap(&mut self, from: u64, to: u64, why: Absence) {
        self.spoke_of(if self.order == Order::Ascending { to } else { from }, true);
        self.stream.push(Some(Item::Gap(from, to, why)));
    }

    /// No more of it comes from here: who has read what there is asks anew for the rest. For an answer that nobody reads on for long.
    pub fn leave_off(mut self) {
        self.left = None;
        lock(&self.stream.0).left_off = true;
    }

    /// That was all: what was not sent does not exist.
    pub fn end(mut self) {
        self.left = None;
    }

    fn spoke_of(&mut self, group: u64, done: bool) {
        let past = u64::from(done);
        self.left = self.left.and_then(|(low, high)| match self.order {
            Order::Ascending => Some((group.saturating_add(past), high)).filter(|(l, h)| l <= h),
            Order::Descending => group.checked_sub(past).map(|g| (low, g)).filter(|(l, h)| l <= h),
        });
    }
}

impl Drop for FetchProducer {
    fn drop(&mut self) {
        if let Some((from, to)) = self.left {
            self.stream.push(Some(Item::Gap(from, to, Absence::Unknown)));
        }
        self.stream.push(None);
    }
}

#[cfg(test)]
mod tests;
