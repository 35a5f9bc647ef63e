//! A track's objects, whole, group by group in the order in which those began. A group may have several subgroups, whose ids
//! interleave (draft-ietf-moq-transport-18 §2.2, §2.3), and objects that came in datagrams, each by
//! itself: they are read side by side, the lowest id first of those that have begun to come. Who
//! can't do anything with an object that comes too late waits for what is missing before one that
//! is there, for a while ([`Patience`]).
//!
//! Not so between groups: datagrams say nothing of where a group ends, so the next one is read when it is there. Of a group that
//! was left nothing more is read in order; one that a later one has overtaken as a whole is read behind it.

use std::collections::VecDeque;
use std::fmt;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::budget::Payload;
use crate::cursor::{Cursor, Event, SubgroupEvent, SubgroupReader};
use crate::error::Close;
use crate::limits::SUBGROUPS_AHEAD_MAX;
use crate::object::{Chunk, Header, ObjectReader};

/// What is read next.
#[derive(Debug)]
pub enum Read {
    /// A whole object.
    Object {
        /// Its group.
        group: u64,
        /// What is known of it.
        header: Header,
        /// Its pieces, as they were stored.
        payload: Vec<Payload>,
    },
    /// A group of which something was read was cut: how much of it is missing, if anything, is not known.
    Cut,
    /// A group, or more of them, of which nothing comes.
    Skipped,
    /// The track is over.
    End(Close),
}

/// How long something is waited for that stands in the way of what has come. It is over by the clock of whoever polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// An object with a lower id, of which nothing has come. Until it turns out that none comes: then no more of them are waited
    /// for before a group had all of its ids.
    pub missing: Duration,
    /// The rest of an object that has begun to come, or of a group.
    pub stalled: Duration,
}

/// Groups as they began.
pub struct Objects {
    cursor: Cursor,
    over: Option<Close>,
    ahead: VecDeque<Ahead>,
    /// The group that is read.
    group: Option<u64>,
    /// Something was read of it.
    begun: bool,
    /// Which runs of it were read: of which subgroup, and the first object of each.
    runs: VecDeque<(u64, u64)>,
    in_order: Option<InOrder>,
    /// When it is to be polled again, whatever comes.
    due: Option<Instant>,
}

/// Where who wants objects in order is.
struct InOrder {
    patience: Patience,
    /// The id that comes next in the group that is read.
    next: u64,
    /// Not all ids before it came.
    holes: bool,
    /// What is missing is waited for.
    waits: bool,
    /// Groups that were read.
    left: VecDeque<u64>,
}

enum Ahead {
    Run(Run),
    Skipped,
}

/// A subgroup, or what follows in it on a cut; or an object that came in a datagram.
struct Run {
    source: Source,
    first: Option<u64>,
    /// The last object that was read.
    last: Option<u64>,
    object: Option<(ObjectReader, Vec<Payload>)>,
}

enum Source {
    Subgroup(SubgroupReader),
    /// Of this group; none once it was taken up.
    Datagram(u64, Option<ObjectReader>),
}

/// How a run ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    Cut,
}

impl Objects {
    /// Reads what the cursor finds. What comes late is read late, and nothing is waited for but what has begun to come.
    pub fn new(cursor: Cursor) -> Self {
        let (ahead, runs) = Default::default();
        let (over, group, begun, in_order, due) = (None, None, false, None, None);
        Self { cursor, over, ahead, group, begun, runs, in_order, due }
    }

    /// The same with rising ids in each group, and no group twice: what comes later than it is waited for is left out.
    pub fn in_order(cursor: Cursor, patience: Patience) -> Self {
        let (next, holes, waits, left) = (0, false, true, VecDeque::new());
        let in_order = Some(InOrder { patience, next, holes, waits, left });
        Self { in_order, ..Self::new(cursor) }
    }

    /// When it is to be polled again even if nothing comes.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The next one.
    pub fn poll(&mut self, cx: &Context<'_>, now: Instant) -> Poll<Read> {
        self.due = None;
        loop {
            self.look_ahead(cx, now);
            let group = match self.ahead.front() {
                _ if self.is_within() => self.group.unwrap_or_default(),
                Some(Ahead::Run(run)) => run.group(),
                Some(Ahead::Skipped) => {
                    self.ahead.pop_front();
                    return Poll::Ready(Read::Skipped);
                }
                None => match self.over {
                    Some(why) => return Poll::Ready(Read::End(why)),
                    None => return Poll::Pending,
                },
            };
            if self.group != Some(group) {
                if let (Some(in_order), Some(left)) = (&mut self.in_order, self.group) {
                    in_order.leave(left);
                }
                (self.group, self.begun) = (Some(group), false);
                self.runs.clear();
            }
            let read = match self.poll_group(group, cx, now) {
                Poll::Ready(read) => read,
                Poll::Pending if self.ahead.len() < SUBGROUPS_AHEAD_MAX => return Poll::Pending,
                // Who has so many behind it is not waited for.
                Poll::Pending => self.first_of(group).and_then(|at| self.leave(at, End::Cut)),
            };
            if let Some(read) = read {
                return Poll::Ready(read);
            }
        }
    }

    /// Whether more of the group that is read is there, for who wants it before anything else.
    fn is_within(&self) -> bool {
        self.in_order.is_some() && self.group.is_some_and(|group| self.first_of(group).is_some())
    }

    /// The first run of a group.
    fn first_of(&self, group: u64) -> Option<usize> {
        let of = |ahead: &Ahead| matches!(ahead, Ahead::Run(run) if run.group() == group);
        self.ahead.iter().position(of)
    }

    fn look_ahead(&mut self, cx: &Context<'_>, now: Instant) {
        while self.over.is_none() && self.ahead.len() < SUBGROUPS_AHEAD_MAX {
            let source = match self.cursor.poll(cx, now) {
                Poll::Ready(Event::Subgroup(reader)) => Source::Subgroup(reader),
                Poll::Ready(Event::Datagram(object)) => {
                    Source::Datagram(object.location().group, Some(object))
                }
                Poll::Ready(Event::Skipped { .. }) => {
                    self.ahead.push_back(Ahead::Skipped);
                    continue;
                }
                Poll::Ready(Event::End(why)) => {
                    self.over = Some(why);
                    return;
                }
                Poll::Ready(Event::Group(_) | Event::GroupEnd { .. }) => continue,
                Poll::Pending => return,
            };
            let run = Run { source, first: None, last: None, object: None };
            let left = self.in_order.as_ref().map(|in_order| &in_order.left);
            if left.is_none_or(|left| !left.contains(&run.group())) {
                self.ahead.push_back(Ahead::Run(run));
            }
        }
    }

    /// What comes of a group; ready without anything if one of its runs has ended.
    fn poll_group(&mut self, group: u64, cx: &Context<'_>, now: Instant) -> Poll<Option<Read>> {
        let mut lowest: Option<(u64, usize)> = None;
        let mut over: Option<(usize, End)> = None;
        for (at, run) in self.ahead.iter_mut().enumerate().filter_map(Ahead::run) {
            if run.group() != group {
                continue;
            }
            match run.poll(cx) {
                Poll::Ready(Ok(id)) if lowest.is_none_or(|(low, _)| id < low) => {
                    lowest = Some((id, at));
                }
                Poll::Ready(Err(end)) => over = over.or(Some((at, end))),
                Poll::Ready(Ok(_)) | Poll::Pending => {}
            }
        }
        if let Some((at, end)) = over {
            return Poll::Ready(self.leave(at, end));
        }
        let Some((id, at)) = lowest else {
            return self.stalled(self.first_of(group), cx, now);
        };
        let is_full = self.ahead.len() >= SUBGROUPS_AHEAD_MAX;
        let Some(Ahead::Run(run)) = self.ahead.get_mut(at) else { return Poll::Pending };
        if let Some(in_order) = &mut self.in_order {
            if id < in_order.next {
                // It may be worth waiting for after all.
                in_order.waits = true;
                run.pass_over(id);
                return Poll::Ready(None);
            }
            let until = in_order.waits_until(run, id).filter(|_| self.over.is_none());
            if let Some(until) = until {
                // With so much behind it, nothing is waited for: what is there goes first.
                if now < until && !is_full {
                    self.due = Some(until);
                    return Poll::Pending;
                }
                in_order.waits = false;
            }
        }
        let object = match run.poll_object(cx) {
            Poll::Ready(object) => object,
            Poll::Pending => return self.stalled(Some(at), cx, now),
        };
        self.begun |= object.is_some();
        if let (Some(in_order), Some(_)) = (&mut self.in_order, &object) {
            in_order.holes |= id > in_order.next;
            in_order.next = id.saturating_add(1);
        }
        Poll::Ready(object.map(|(header, payload)| Read::Object { group, header, payload }))
    }

    /// A run of which nothing comes for now. It is left when what is behind it has waited for too long.
    fn stalled(&mut self, at: Option<usize>, cx: &Context<'_>, now: Instant) -> Poll<Option<Read>> {
        let (Some(in_order), Some(at)) = (&self.in_order, at) else { return Poll::Pending };
        let patience = in_order.patience.stalled;
        let others = self.ahead.iter_mut().enumerate().filter(|(other, _)| *other != at);
        let came = others.filter_map(Ahead::run).filter_map(|(_, run)| run.came(cx)).min();
        let Some(until) = came.and_then(|came| came.checked_add(patience)) else {
            return Poll::Pending;
        };
        if now < until {
            self.due = Some(until);
            return Poll::Pending;
        }
        Poll::Ready(self.leave(at, End::Cut))
    }

    /// A run has ended.
    fn leave(&mut self, at: usize, end: End) -> Option<Read> {
        let Some(Ahead::Run(run)) = self.ahead.remove(at) else { return None };
        let Source::Subgroup(reader) = &run.source else { return None };
        let subgroup = reader.id();
        if let Some(first) = run.first {
            self.runs.push_back((subgroup, first));
            if self.runs.len() > SUBGROUPS_AHEAD_MAX {
                self.runs.pop_front();
            }
        }
        let mut others = self.ahead.iter().filter_map(|ahead| match ahead {
            Ahead::Run(Run { source: Source::Subgroup(other), first, .. })
                if Some(other.group()) == self.group =>
            {
                Some((other.id(), (*first)?))
            }
            _ => None,
        });
        // What a relay had before it was asked comes by itself, and is cut where what is live begins.
        let next = run.last.map(|last| (subgroup, last.saturating_add(1)));
        let goes_on =
            next.is_some_and(|next| self.runs.contains(&next) || others.any(|o| o == next));
        match end {
            End::Whole => None,
            End::Cut if goes_on => None,
            End::Cut if self.begun => Some(Read::Cut),
            End::Cut => Some(Read::Skipped),
        }
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Objects({:?} in {:?}, {} ahead)", self.cursor, self.group, self.ahead.len())
    }
}

impl InOrder {
    /// It goes on with another group than this.
    fn leave(&mut self, group: u64) {
        self.left.push_back(group);
        if self.left.len() > SUBGROUPS_AHEAD_MAX {
            self.left.pop_front();
        }
        self.waits |= !self.holes;
        (self.next, self.holes) = (0, false);
    }

    /// Until when this object, which is there, waits for those before it. Not if they are known not to exist.
    fn waits_until(&self, run: &Run, id: u64) -> Option<Instant> {
        let before = id.checked_sub(1).filter(|before| self.waits && *before >= self.next)?;
        let (object, _) = run.object.as_ref()?;
        let until = object.header().arrived.checked_add(self.patience.missing)?;
        (!object.lacks(self.next..=before)).then_some(until)
    }
}

impl Ahead {
    fn run((at, ahead): (usize, &mut Self)) -> Option<(usize, &mut Run)> {
        match ahead {
            Self::Run(run) => Some((at, run)),
            Self::Skipped => None,
        }
    }
}

impl Run {
    fn group(&self) -> u64 {
        match &self.source {
            Source::Subgroup(reader) => reader.group(),
            Source::Datagram(group, _) => *group,
        }
    }

    /// The id of its next object, which may still be arriving; or how it ends.
    fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<u64, End>> {
        if let Some((object, _)) = &self.object {
            return Poll::Ready(Ok(object.header().id));
        }
        let next = match &mut self.source {
            Source::Subgroup(reader) => match ready!(reader.poll(cx)) {
                SubgroupEvent::Object(object) => Ok(object),
                SubgroupEvent::Fin => Err(End::Whole),
                SubgroupEvent::Reset(_) => Err(End::Cut),
            },
            Source::Datagram(_, object) => object.take().ok_or(End::Whole),
        };
        Poll::Ready(next.map(|object| {
            let id = object.header().id;
            self.first.get_or_insert(id);
            self.object = Some((object, Vec::new()));
            id
        }))
    }

    /// Since when something of it waits.
    fn came(&mut self, cx: &Context<'_>) -> Option<Instant> {
        let _ = self.poll(cx);
        self.object.as_ref().map(|(object, _)| object.header().arrived)
    }

    /// Its next object is not read.
    fn pass_over(&mut self, id: u64) {
        self.object = None;
        self.last = Some(id);
    }

    /// Collects the next object; nothing if it was cut.
    fn poll_object(&mut self, cx: &Context<'_>) -> Poll<Option<(Header, Vec<Payload>)>> {
        let Some((object, chunks)) = &mut self.object else { return Poll::Ready(None) };
        let whole = loop {
            match ready!(object.poll_chunk(cx)) {
                Chunk::Data(chunk) => chunks.push(chunk),
                Chunk::End => break true,
                Chunk::Reset(_) => break false,
            }
        };
        let read = self.object.take().filter(|_| whole);
        Poll::Ready(read.map(|(object, chunks)| {
            self.last = Some(object.header().id);
            (object.header().clone(), chunks)
        }))
    }
}

#[cfg(test)]
mod tests;
