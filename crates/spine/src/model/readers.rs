//! What each reader must see next.

use super::Loc;
use super::asks::{Answer, Asks, Kind};
use super::reference::{CANCELLED, State, TOO_FAR_BEHIND, Track, What};
use crate::{Absence, Close, Order, Start};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Group(u64),
    Subgroup(Loc, u32),
    Datagram(Loc),
    GroupEnd(u64, Option<u64>),
    Skipped(u64, u64, Close),
    End(Close),
}

#[derive(Debug, Clone)]
pub(super) struct Cursor {
    next: usize,
    pub(super) from: Loc,
    end_group: Option<u64>,
    latency: u64,
    fail: bool,
    begun: Option<u64>,
    over: Option<Close>,
}

impl Cursor {
    pub(super) fn new(
        track: &Track,
        start: Start,
        end_group: Option<u64>,
        (latency, fail): (u64, bool),
    ) -> Self {
        let newest = track.groups.last().map(|g| g.id);
        let seen = newest.max(track.largest.map(|l| l.0));
        let from = match (start, seen) {
            (Start::At(l), _) => (l.group, l.object),
            (_, None) => (0, 0),
            (Start::NewestGroup, Some(_)) => {
                (track.newest_startable().or(newest).or(seen).unwrap_or(0), 0)
            }
            (Start::NextGroup, Some(seen)) => (seen + 1, 0),
            (Start::NextObject, Some(seen)) => match track.largest {
                Some((group, object)) => (group, object + 1),
                None => (seen, 0),
            },
        };
        let wanted = track.groups.iter().filter(|g| g.id >= from.0);
        let next = wanted.map(|g| track.first_entry(g.id)).min().unwrap_or(track.history.len());
        Self { next, from, end_group, latency, fail, begun: None, over: None }
    }

    fn wants(&self, group: u64) -> bool {
        group >= self.from.0 && self.end_group.is_none_or(|end| group <= end)
    }

    pub(super) fn next(&mut self, track: &Track, now: u64) -> Option<Seen> {
        if let Some(why) = self.over {
            return Some(Seen::End(why));
        }
        loop {
            let kept = track.kept_from(self.next);
            if self.next < kept {
                self.next = kept;
                let from = self.begun.map_or(self.from.0, |g| self.from.0.max(g + 1));
                let live = track.groups.iter().map(|g| g.id).find(|id| *id >= from);
                let gone = (from..=track.floor.unwrap_or(0)).take_while(|id| Some(*id) != live);
                if let Some(to) = gone.filter(|id| self.wants(*id)).last() {
                    return Some(Seen::Skipped(from, to, Close::Evicted));
                }
            }
            let Some(entry) = track.history.get(self.next) else { break };
            if self.wants(entry.group)
                && now.saturating_sub(entry.at) > self.latency
                && let Some(newest) = track.newest_startable()
                && newest > entry.group
                && self.wants(newest)
            {
                if self.fail {
                    self.over = Some(Close::TooFarBehind);
                    return Some(Seen::End(Close::TooFarBehind));
                }
                self.next = self.next.max(track.first_entry(newest));
                self.from = self.from.max((newest, 0));
                return Some(Seen::Skipped(entry.group, newest - 1, Close::TooFarBehind));
            }
            self.next += 1;
            if !self.wants(entry.group) {
                continue;
            }
            let group = track.group(entry.group);
            let id = entry.group;
            match (entry.what, group) {
                (What::Group, None) => {
                    self.begun = self.begun.max(Some(id));
                    return Some(Seen::Skipped(id, id, Close::Evicted));
                }
                (What::Group, Some(_)) => {
                    self.begun = self.begun.max(Some(id));
                    return Some(Seen::Group(id));
                }
                (_, None) => {}
                (What::Subgroup((s, run)), Some(_)) => return Some(Seen::Subgroup((id, s), run)),
                (What::Datagram(object), Some(_)) if (id, object) >= self.from => {
                    return Some(Seen::Datagram((id, object)));
                }
                (What::Datagram(_), Some(_)) => {}
                (What::GroupEnd, Some(g)) => return Some(Seen::GroupEnd(id, g.end.flatten())),
            }
        }
        let past =
            |end| track.groups.iter().any(|g| g.id > end || (g.id == end && g.end.is_some()));
        self.over = track.end.or((self.end_group.is_some_and(past)).then_some(Close::Ended));
        self.over.map(Seen::End)
    }

    /// The first object that a reader of this subgroup, got from here, wants.
    pub(super) fn first_of(&self, group: u64) -> u64 {
        if group == self.from.0 { self.from.1 } else { 0 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SubSeen {
    Object(u64),
    Fin,
    Reset(u64),
}

/// What the reader of a subgroup that wants objects from `next` on sees.
pub(super) fn subgroup(
    track: &Track,
    (group, id): (u64, (u64, u32)),
    next: u64,
) -> Option<SubSeen> {
    let Some(run) = track.run(group, id) else {
        return Some(SubSeen::Reset(TOO_FAR_BEHIND));
    };
    if let Some(object) = run.objects.iter().find(|o| **o >= next) {
        return Some(SubSeen::Object(*object));
    }
    // The rest of one that ends further on stands in another run.
    let cut = run.last > run.objects.iter().copied().max();
    let over = if cut { SubSeen::Reset(CANCELLED) } else { SubSeen::Fin };
    run.end.map(|end| end.map_or_else(SubSeen::Reset, |()| over))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChunkSeen {
    Data(usize, usize),
    End,
    Reset(u64),
}

pub(super) fn chunk(track: &Track, object: usize, next: usize) -> Option<ChunkSeen> {
    let object = &track.objects[object];
    if let Some(end) = object.chunks.get(next) {
        let start = if next == 0 { 0 } else { object.chunks[next - 1] };
        return Some(ChunkSeen::Data(start, *end));
    }
    match object.state {
        State::Open => None,
        State::Done => Some(ChunkSeen::End),
        State::Reset(code) => Some(ChunkSeen::Reset(code)),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FetchSeen {
    /// An object, by its index.
    Object(usize),
    Gap(u64, u64, Absence),
    Hole(Loc, Absence),
    End,
}

/// A request of a fetch.
#[derive(Debug, Clone, Copy)]
struct Asking {
    ask: usize,
    /// How much of its answer was read.
    read: usize,
    /// The groups that it is about.
    groups: (u64, u64),
    /// Only up to this object of one.
    hole: Option<u64>,
}

/// A fetch: the groups left, from the end where it reads on.
#[derive(Debug)]
pub(super) struct Fetch {
    start: Loc,
    end: Loc,
    order: Order,
    left: Vec<u64>,
    next_object: u64,
    deadline: u64,
    asked: Option<Asking>,
    /// What became of the first hole of the group.
    hole: Option<Absence>,
    /// Whether the last answer came from the clock, not from somebody who wakes.
    pub(super) by_clock: bool,
}

impl Fetch {
    pub(super) fn new(track: &Track, start: Loc, end: Loc, order: Order, deadline: u64) -> Self {
        let end = track.largest.map_or(end, |l| l.min(end));
        let some = track.largest.is_some() && start <= end;
        let mut left: Vec<u64> = if some { (start.0..=end.0).collect() } else { Vec::new() };
        // The group that is read next stands last.
        if order == Order::Ascending {
            left.reverse();
        }
        let by_clock = false;
        let (asked, hole) = (None, None);
        Self { start, end, order, left, next_object: 0, deadline, asked, hole, by_clock }
    }

    fn pass(&mut self, low: u64, high: u64) {
        self.left.retain(|id| *id < low || *id > high);
        (self.next_object, self.hole) = (0, None);
    }

    pub(super) fn asked(&self) -> Option<usize> {
        self.asked.map(|a| a.ask)
    }

    /// The next event. `key` says which track this is.
    pub(super) fn next(
        &mut self,
        track: &Track,
        key: (u64, usize),
        asks: &mut Asks,
        now: u64,
    ) -> Option<FetchSeen> {
        self.by_clock = false;
        loop {
            if let Some(asking) = self.asked {
                let Asking { ask, read, groups: (low, high), hole } = asking;
                let (outcome, item) = asks.answer(ask, read);
                let late = now >= self.deadline;
                if let Some(last) = hole {
                    let why = match (outcome, item) {
                        (Some(Err(_)), _) => Absence::Unknown,
                        (Some(Ok(())), Some(Answer::Gap(_, _, why))) => why,
                        (Some(Ok(())), Some(Answer::End)) => Absence::Missing,
                        (Some(Ok(())), Some(Answer::Object(object))) => {
                            self.asked = Some(Asking { read: read + 1, ..asking });
                            return Some(FetchSeen::Object(object));
                        }
                        _ if late => Absence::TimedOut,
                        _ => return None,
                    };
                    self.by_clock = why == Absence::TimedOut && item.is_none();
                    asks.leave(ask);
                    self.asked = None;
                    self.next_object = last + 1;
                    self.hole = Some(why);
                    if why != Absence::Missing {
                        return Some(FetchSeen::Hole((low, last), why));
                    }
                    continue;
                }
                match (outcome, item) {
                    (Some(Err(_)), _) => {
                        self.leave(asks, low, high);
                        return Some(FetchSeen::Gap(low, high, Absence::Unknown));
                    }
                    (Some(Ok(())), Some(Answer::Object(object))) => {
                        self.asked = Some(Asking { read: read + 1, ..asking });
                        return Some(FetchSeen::Object(object));
                    }
                    (Some(Ok(())), Some(Answer::Gap(a, b, why))) => {
                        self.asked = Some(Asking { read: read + 1, ..asking });
                        return Some(FetchSeen::Gap(a, b, why));
                    }
                    (Some(Ok(())), Some(Answer::End)) => self.leave(asks, low, high),
                    _ if late => {
                        self.by_clock = true;
                        self.leave(asks, low, high);
                        return Some(FetchSeen::Gap(low, high, Absence::TimedOut));
                    }
                    _ => return None,
                }
                continue;
            }
            let Some(near) = self.left.last().copied() else { return Some(FetchSeen::End) };
            let first = if near == self.start.0 { self.start.1 } else { 0 };
            let last = if near == self.end.0 { self.end.1 } else { u64::MAX };
            if let Some(group) = track.group(near) {
                let next = first.max(self.next_object);
                if next > last {
                    self.pass(near, near);
                    continue;
                }
                // What was cut in the middle is as good as not there, but it exists.
                let is_cut = |id: u64| {
                    let object = group.objects.iter().find(|o| track.objects[**o].id == id);
                    object.is_some_and(|o| matches!(track.objects[*o].state, State::Reset(_)))
                };
                let mut ids: Vec<u64> =
                    group.objects.iter().map(|o| track.objects[*o].id).collect();
                ids.sort_unstable();
                let whole = |id: &&u64| (next..=last).contains(*id) && !is_cut(**id);
                let found = ids.iter().find(whole).copied();
                let until = found.map_or(last, |id| id.saturating_sub(1));
                let none = ids.iter().all(|id| *id < next || *id > until);
                // Its first object is not said to be the first, here.
                let begins = ids.iter().any(|id| *id < next) || ids.iter().all(|id| *id <= until);
                let known = none && group.is_sealed() && begins;
                match found {
                    Some(id) if id == next || known => {
                        let object = group.objects.iter().find(|o| track.objects[**o].id == id);
                        self.next_object = id + 1;
                        return Some(FetchSeen::Object(*object.unwrap()));
                    }
                    None if known => self.pass(near, near),
                    found => match (self.hole, found) {
                        (None, Some(_)) => self.ask(key, asks, (near, near), Some(until)),
                        (None | Some(Absence::Missing), _) => {
                            self.ask(key, asks, (near, near), None);
                        }
                        (Some(why), Some(_)) => {
                            self.next_object = until + 1;
                            return Some(FetchSeen::Hole((near, until), why));
                        }
                        (Some(why), None) => {
                            self.pass(near, near);
                            return Some(FetchSeen::Gap(near, near, why));
                        }
                    },
                }
                continue;
            }
            let never = |id: u64| track.never.iter().any(|(a, b)| *a <= id && id <= *b);
            let partly = self.next_object > 0;
            let alike = |id: &&u64| {
                **id == near
                    || (!partly && track.group(**id).is_none() && never(**id) == never(near))
            };
            let far = self.left.iter().rev().take_while(alike).last().copied().unwrap_or(near);
            let (low, high) = (near.min(far), near.max(far));
            if never(near) && !partly {
                self.pass(low, high);
                return Some(FetchSeen::Gap(low, high, Absence::Missing));
            }
            self.ask(key, asks, (low, high), None);
        }
    }

    fn ask(
        &mut self,
        key: (u64, usize),
        asks: &mut Asks,
        (low, high): (u64, u64),
        hole: Option<u64>,
    ) {
        let start = self.start.max((low, self.next_object));
        let end = self.end.min((high, hole.unwrap_or(u64::MAX)));
        let ask = asks.fetch(Kind::Fetch(key.0, key.1, start, end, self.order), self.deadline);
        self.asked = Some(Asking { ask, read: 0, groups: (low, high), hole });
    }

    fn leave(&mut self, asks: &mut Asks, low: u64, high: u64) {
        if let Some(ask) = self.asked() {
            asks.leave(ask);
        }
        self.asked = None;
        self.pass(low, high);
    }
}
