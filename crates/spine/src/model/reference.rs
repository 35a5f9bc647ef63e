//! The reference: what a track is, said with plain `Vec`s and linear searches. Shares no code with
//! the implementation; ids, times and bytes are bare numbers.

use std::collections::BTreeSet;

use super::Loc;
use crate::limits::{
    GROUPS_KEPT, GROUPS_KEPT_MIN, LOG_LOOK_MIN, OBJECT_OVERHEAD_BYTES as OVERHEAD, SHARE_OF_WINDOWS,
};
use crate::{Close, WriteError};

pub(super) const CANCELLED: u64 = 0x1;
pub(super) const TOO_FAR_BEHIND: u64 = 0x5;
pub(super) const DERIVED: u64 = u64::MAX;

/// Groups among which the newest startable one is never evicted.
const SYNC_KEPT: usize = 16;

/// What is charged, and the bounds.
pub(super) struct Ledger {
    pub(super) used: usize,
    pub(super) cache: usize,
    pub(super) object: usize,
    pub(super) group: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Open,
    Done,
    Reset(u64),
}

#[derive(Debug)]
pub(super) struct Object {
    pub(super) group: u64,
    pub(super) id: u64,
    /// The subgroup, and which run of it.
    pub(super) run: Option<(u64, u32)>,
    pub(super) starts: bool,
    /// Where each chunk ends.
    pub(super) chunks: Vec<usize>,
    pub(super) state: State,
    writers: usize,
    charged: usize,
    /// Readers and writers that keep it in memory, and whether its group does.
    handles: usize,
    stored: bool,
}

impl Object {
    pub(super) fn len(&self) -> usize {
        self.chunks.last().copied().unwrap_or(0)
    }
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: u64,
    pub(super) end: Option<Option<u64>>,
    pub(super) runs: Vec<Run>,
    /// Indices of its objects, in the order of their ids.
    pub(super) objects: Vec<usize>,
    /// Objects that were cut, and came again.
    pub(super) cut: Vec<usize>,
    pub(super) bytes: usize,
    first_entry: usize,
}

/// One of the parts that a subgroup came in.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: (u64, u32),
    pub(super) end: Option<Result<(), u64>>,
    /// Its objects, as they came.
    pub(super) objects: Vec<u64>,
    /// The last object that it ends with.
    pub(super) last: Option<u64>,
    writers: usize,
}

/// Where a writer is in its subgroup.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) group: u64,
    pub(super) run: (u64, u32),
    pub(super) last: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Group,
    Subgroup((u64, u32)),
    Datagram(u64),
    GroupEnd,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) at: u64,
    pub(super) group: u64,
    pub(super) what: What,
}

pub(super) enum Added {
    New(usize),
    There(usize),
    Dropped,
}

/// One object to add.
pub(super) struct New {
    pub(super) group: u64,
    pub(super) id: u64,
    pub(super) starts: bool,
    pub(super) at: u64,
    /// The chunks of a whole object; none of one that is begun.
    pub(super) whole: Option<Vec<usize>>,
}

#[derive(Default)]
pub(super) struct Track {
    pub(super) pinned: bool,
    /// Live groups, in the order of their ids.
    pub(super) groups: Vec<Group>,
    pub(super) objects: Vec<Object>,
    /// Everything that ever happened. Entries before `trimmed` are of groups that are gone.
    pub(super) history: Vec<Entry>,
    pub(super) trimmed: usize,
    /// Others that are kept no more.
    left_out: BTreeSet<usize>,
    look: usize,
    pub(super) looks: u64,
    pub(super) largest: Option<Loc>,
    pub(super) end: Option<Close>,
    pub(super) never: Vec<(u64, u64)>,
    pub(super) floor: Option<u64>,
    pub(super) term: u64,
    pub(super) term_over: Option<Close>,
    pub(super) readers: usize,
    pub(super) new_group_above: Option<u64>,
    /// The lowest beginning of a reader that something was behind.
    pub(super) from: Option<Loc>,
    pub(super) demand_revision: u64,
    pub(super) evicted: u64,
    pub(super) ids: Vec<u64>,
}

impl Group {
    fn begin_run(&mut self, id: (u64, u32)) {
        self.bytes += OVERHEAD;
        self.runs.push(Run { id, end: None, objects: Vec::new(), last: None, writers: 1 });
    }

    /// Everything of it is there.
    pub(super) fn is_sealed(&self) -> bool {
        let goes_on = |run: &Run| {
            let mut beside = self.runs.iter().filter(|r| r.id.0 == run.id.0);
            let last = run.objects.last();
            last.is_some_and(|last| beside.any(|r| r.objects.first() == Some(&(last + 1))))
        };
        let whole = |run: &Run| run.end == Some(Ok(())) || (run.end.is_some() && goes_on(run));
        self.end.is_some() && self.runs.iter().all(whole)
    }
}

impl Track {
    pub(super) fn new(term: u64, pinned: bool) -> Self {
        Self { term, pinned, ..Self::default() }
    }

    pub(super) fn check(&self, term: u64) -> Result<(), Close> {
        match self.end {
            Some(why) => Err(why),
            None if term == self.term => Ok(()),
            None => Err(self.term_over.unwrap_or(Close::Replaced)),
        }
    }

    pub(super) fn group(&self, id: u64) -> Option<&Group> {
        self.groups.iter().find(|g| g.id == id)
    }

    fn group_mut(&mut self, id: u64) -> Option<&mut Group> {
        self.groups.iter_mut().find(|g| g.id == id)
    }

    pub(super) fn run(&self, group: u64, id: (u64, u32)) -> Option<&Run> {
        self.group(group)?.runs.iter().find(|r| r.id == id)
    }

    fn starts(&self, group: &Group) -> bool {
        group.objects.first().is_some_and(|o| self.objects[*o].starts)
    }

    pub(super) fn newest_startable(&self) -> Option<u64> {
        self.groups.iter().rev().find(|g| self.starts(g)).map(|g| g.id)
    }

    pub(super) fn first_entry(&self, group: u64) -> usize {
        self.group(group).map_or(self.history.len(), |g| g.first_entry)
    }

    pub(super) fn next_id(&self) -> u64 {
        self.ids.iter().max().map_or(0, |id| id + 1)
    }

    // Memory.

    fn pay(&mut self, ledger: &mut Ledger) {
        let kept = match ledger.used {
            all if all > ledger.cache => GROUPS_KEPT_MIN,
            most if most > ledger.cache - ledger.cache / SHARE_OF_WINDOWS => GROUPS_KEPT,
            _ => return,
        };
        if self.pinned {
            return;
        }
        let near = self.groups.iter().rev().take(SYNC_KEPT);
        let startable = near.filter(|g| self.starts(g)).map(|g| g.id).next();
        let newest: Vec<u64> = self.groups.iter().rev().take(kept).map(|g| g.id).collect();
        let may_go = |g: &Group| !newest.contains(&g.id) && Some(g.id) != startable;
        let Some(oldest) = self.groups.iter().position(may_go) else { return };
        let gone = self.groups.remove(oldest);
        self.forget(ledger, &gone);
        self.floor = self.floor.max(Some(gone.id));
        self.evicted += 1;
        while self.history.get(self.trimmed).is_some_and(|e| self.group(e.group).is_none()) {
            self.trimmed += 1;
        }
        let kept = (self.trimmed..self.history.len()).filter(|at| !self.left_out.contains(at));
        let kept: Vec<usize> = kept.collect();
        if kept.len() >= self.look.max(LOG_LOOK_MIN) {
            let gone = |at: &usize| self.group(self.history[*at].group).is_none();
            let (gone, left): (Vec<usize>, Vec<usize>) = kept.into_iter().partition(gone);
            self.looks += u64::from(!gone.is_empty());
            self.left_out.extend(gone);
            self.look = 2 * left.len();
        }
    }

    /// The first entry that is kept, from this one on.
    pub(super) fn kept_from(&self, at: usize) -> usize {
        let all = at.max(self.trimmed)..self.history.len();
        all.clone().find(|at| !self.left_out.contains(at)).unwrap_or(all.end)
    }

    fn forget(&mut self, ledger: &mut Ledger, gone: &Group) {
        ledger.used -= OVERHEAD * (1 + gone.runs.len());
        for index in gone.objects.iter().chain(&gone.cut) {
            let object = &mut self.objects[*index];
            object.stored = false;
            if object.handles == 0 {
                ledger.used -= object.charged;
            }
        }
    }

    /// The track and all who read it are gone.
    pub(super) fn drop_all(&mut self, ledger: &mut Ledger) {
        for group in std::mem::take(&mut self.groups) {
            self.forget(ledger, &group);
        }
    }

    pub(super) fn hold(&mut self, object: usize) {
        self.objects[object].handles += 1;
    }

    /// The caller of `add` keeps the object, also if its own group had to go for it.
    pub(super) fn begin(&mut self, ledger: &mut Ledger, object: usize) {
        self.hold(object);
        let object = &mut self.objects[object];
        object.writers += 1;
        if object.handles == 1 && !object.stored {
            ledger.used += object.charged;
        }
    }

    pub(super) fn release(&mut self, ledger: &mut Ledger, object: usize) {
        let object = &mut self.objects[object];
        object.handles -= 1;
        if object.handles == 0 && !object.stored {
            ledger.used -= object.charged;
        }
    }

    /// Bytes that eviction could free: all but the newest groups.
    pub(super) fn evictable(&self) -> usize {
        let older = self.groups.len().saturating_sub(GROUPS_KEPT_MIN);
        if self.pinned { 0 } else { self.groups[..older].iter().map(|g| g.bytes).sum() }
    }

    // Writing.

    pub(super) fn open_group(
        &mut self,
        ledger: &mut Ledger,
        id: u64,
        now: u64,
        term: u64,
    ) -> Result<(), WriteError> {
        self.check(term).map_err(WriteError::Closed)?;
        if id == u64::MAX {
            return Err(WriteError::Closed(Close::Malformed));
        }
        if self.group(id).is_some() || self.floor >= Some(id) {
            return Ok(());
        }
        let group = Group {
            id,
            end: None,
            runs: Vec::new(),
            objects: Vec::new(),
            cut: Vec::new(),
            bytes: 0,
            first_entry: self.history.len(),
        };
        self.history.push(Entry { at: now, group: id, what: What::Group });
        self.groups.push(group);
        self.groups.sort_by_key(|g| g.id);
        self.ids.push(id);
        ledger.used += OVERHEAD;
        self.pay(ledger);
        Ok(())
    }

    pub(super) fn end_group(&mut self, id: u64, last: Option<u64>, now: u64, term: u64) {
        if self.check(term).is_err() {
            return;
        }
        let Some(group) = self.group_mut(id) else { return };
        if group.end.is_none() {
            group.end = Some(last);
            self.history.push(Entry { at: now, group: id, what: What::GroupEnd });
        }
    }

    pub(super) fn open_subgroup(
        &mut self,
        ledger: &mut Ledger,
        (group, id): Loc,
        now: u64,
        term: u64,
    ) -> Result<Place, WriteError> {
        self.check(term).map_err(WriteError::Closed)?;
        let Some(g) = self.group_mut(group) else {
            return Err(WriteError::Closed(Close::Evicted));
        };
        let place = |run| Place { group, run, last: None };
        // Runs are in the order in which they began.
        let newest = g.runs.iter_mut().rfind(|r| r.id.0 == id);
        let run = match newest {
            Some(there) if !matches!(there.end, Some(Err(_))) => {
                there.writers += 1;
                return Ok(place(there.id));
            }
            Some(cut) => (id, cut.id.1 + 1),
            None => (id, 0),
        };
        if g.bytes + OVERHEAD > ledger.group {
            return Err(WriteError::GroupTooLarge);
        }
        g.begin_run(run);
        self.history.push(Entry { at: now, group, what: What::Subgroup(run) });
        ledger.used += OVERHEAD;
        self.pay(ledger);
        Ok(place(run))
    }

    pub(super) fn close_subgroup(&mut self, place: Place, how: Result<(), u64>) {
        let Some(g) = self.group_mut(place.group) else { return };
        let Some(run) = g.runs.iter_mut().find(|r| r.id == place.run) else { return };
        run.writers -= 1;
        if run.end.is_none() && (how.is_ok() || run.writers == 0) {
            run.end = Some(how);
            run.last = run.objects.iter().copied().chain(place.last).max();
        }
    }

    pub(super) fn add(
        &mut self,
        ledger: &mut Ledger,
        new: New,
        place: Option<&mut Place>,
        term: u64,
    ) -> Result<Added, WriteError> {
        let bytes = new.whole.as_ref().and_then(|c| c.last().copied()).unwrap_or(0);
        if bytes > ledger.object {
            return Err(WriteError::ObjectTooLarge);
        }
        self.check(term).map_err(WriteError::Closed)?;
        let Some(g) = self.groups.iter_mut().find(|g| g.id == new.group) else {
            return Ok(Added::Dropped);
        };
        let same = g.objects.iter().copied().find(|o| self.objects[*o].id == new.id);
        let cut = |o: &usize| matches!(self.objects[*o].state, State::Reset(_));
        if let Some(there) = same.filter(|o| !cut(o)) {
            if let Some(place) = place {
                place.last = Some(new.id);
            }
            return Ok(Added::There(there));
        }
        if new.id == u64::MAX {
            return Err(WriteError::Closed(Close::Malformed));
        }
        if g.end.is_some_and(|last| last.is_none_or(|last| new.id > last)) {
            return Ok(Added::Dropped);
        }
        let room = ledger.group.saturating_sub(g.bytes);
        let (mut run, mut began) = (None, false);
        if let Some(place) = place {
            let behind = |r: &Run| r.end == Some(Ok(())) && r.last.is_none_or(|last| new.id > last);
            if g.runs.iter().any(|r| r.id.0 == place.run.0 && behind(r)) {
                return Err(WriteError::Reset);
            }
            let Some(here) = g.runs.iter_mut().find(|r| r.id == place.run) else {
                return Err(WriteError::Reset);
            };
            if matches!(here.end, Some(Err(_))) {
                return Err(WriteError::Reset);
            }
            let next = match here.objects.last() {
                None => true,
                Some(before) => {
                    new.id == before + 1 || (new.id > *before && place.last == Some(*before))
                }
            };
            began = here.end.is_some() || !next;
            let overheads = if began { 2 } else { 1 };
            if bytes + overheads * OVERHEAD > room {
                return Err(WriteError::GroupTooLarge);
            }
            if began {
                here.writers -= 1;
                if here.writers == 0 && here.end.is_none() {
                    here.end = Some(Err(CANCELLED));
                }
                let parts = g.runs.iter().filter(|r| r.id.0 == place.run.0).count();
                place.run.1 = parts as u32;
                g.begin_run(place.run);
            }
            if let Some(here) = g.runs.iter_mut().find(|r| r.id == place.run) {
                here.objects.push(new.id);
            }
            place.last = Some(new.id);
            run = Some(place.run);
        } else if bytes + OVERHEAD > room {
            return Err(WriteError::GroupTooLarge);
        }
        g.bytes += bytes + OVERHEAD;
        let index = self.objects.len();
        self.objects.push(Object {
            group: new.group,
            id: new.id,
            run,
            starts: new.starts,
            state: if new.whole.is_some() { State::Done } else { State::Open },
            chunks: new.whole.unwrap_or_default(),
            writers: 0,
            charged: bytes + OVERHEAD,
            handles: 0,
            stored: true,
        });
        if let Some(cut) = same {
            g.objects.retain(|o| *o != cut);
            // Its run keeps it; one that came alone is gone.
            match self.objects[cut].run {
                Some(_) => g.cut.push(cut),
                None => self.objects[cut].stored = false,
            }
        }
        g.objects.push(index);
        g.objects.sort_by_key(|o| self.objects[*o].id);
        let (group, at) = (new.group, new.at);
        match run {
            None => {
                let what = What::Datagram(new.id);
                self.history.push(Entry { at, group, what });
            }
            Some(run) if began => {
                self.history.push(Entry { at, group, what: What::Subgroup(run) });
                ledger.used += OVERHEAD;
            }
            Some(_) => {}
        }
        self.largest = self.largest.max(Some((new.group, new.id)));
        ledger.used += bytes + OVERHEAD;
        // Its caller holds it while memory is paid for.
        self.hold(index);
        self.pay(ledger);
        self.release(ledger, index);
        Ok(Added::New(index))
    }

    /// An object that a responder brings: it is in the answer only, which holds it.
    pub(super) fn fetched(&mut self, ledger: &mut Ledger, (group, id): Loc, len: usize) -> usize {
        ledger.used += len + OVERHEAD;
        self.objects.push(Object {
            group,
            id,
            run: None,
            starts: true,
            state: State::Done,
            chunks: vec![len],
            writers: 0,
            charged: len + OVERHEAD,
            handles: 1,
            stored: false,
        });
        self.objects.len() - 1
    }

    /// A writer that has brought `offset` bytes brings `len` more.
    pub(super) fn write(
        &mut self,
        ledger: &mut Ledger,
        object: usize,
        (offset, declared): (usize, Option<u64>),
        len: usize,
    ) -> Result<usize, (usize, WriteError)> {
        let end = offset + len;
        if declared.is_some_and(|d| end as u64 > d) {
            return Err((offset, WriteError::LongerThanDeclared));
        }
        if end > ledger.object {
            return Err((offset, WriteError::ObjectTooLarge));
        }
        let o = &mut self.objects[object];
        if matches!(o.state, State::Reset(_)) {
            return Err((offset, WriteError::Reset));
        }
        let known = o.len();
        if o.state == State::Done || end <= known {
            return Ok(end);
        }
        o.chunks.push(end);
        // The allocation is kept whole, also if only the end of it is news.
        o.charged += len;
        ledger.used += len;
        let group = o.group;
        let bound = ledger.group;
        if let Some(g) = self.group_mut(group) {
            g.bytes += end - known;
            if g.bytes > bound {
                return Err((end, WriteError::GroupTooLarge));
            }
            self.pay(ledger);
        }
        Ok(end)
    }

    pub(super) fn finish(&mut self, object: usize, offset: usize) {
        let o = &mut self.objects[object];
        o.writers -= 1;
        if o.state == State::Open && offset >= o.len() {
            o.state = State::Done;
        } else if o.state == State::Open && o.writers == 0 {
            o.state = State::Reset(CANCELLED);
        }
    }

    pub(super) fn give_up(&mut self, object: usize) {
        let o = &mut self.objects[object];
        o.writers -= 1;
        if o.state == State::Open && o.writers == 0 {
            o.state = State::Reset(CANCELLED);
        }
    }

    fn cut(&mut self) {
        for group in &mut self.groups {
            for run in group.runs.iter_mut().filter(|r| r.end.is_none()) {
                run.end = Some(Err(CANCELLED));
            }
            for index in &group.objects {
                let object = &mut self.objects[*index];
                if object.state == State::Open {
                    object.state = State::Reset(CANCELLED);
                }
            }
        }
    }

    pub(super) fn finish_track(&mut self, why: Close) {
        if self.end.is_none() {
            self.end = Some(why);
            self.cut();
        }
    }

    pub(super) fn renew(&mut self, term: u64, why: Close) {
        if self.term != DERIVED {
            self.term = term;
            self.term_over = Some(why);
            self.cut();
        }
    }

    pub(super) fn readers_changed(&mut self, readers: usize) {
        self.demand_revision += u64::from((readers > 0) != (self.readers > 0));
        self.readers = readers;
    }

    /// One more reader, that begins here.
    pub(super) fn subscribed(&mut self, from: Loc) {
        let (before, had) = (self.from, self.readers > 0);
        if self.largest.is_some_and(|largest| largest >= from) {
            self.from = Some(before.unwrap_or(from).min(from));
        }
        self.readers += 1;
        self.demand_revision += u64::from(!had || self.from != before);
    }

    pub(super) fn request_group(&mut self, above: u64) {
        if Some(above) > self.new_group_above {
            self.new_group_above = Some(above);
            self.demand_revision += 1;
        }
    }
}
