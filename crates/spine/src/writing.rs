//! What is written into a track: groups, the runs of subgroups, objects; and what contradicts what is there.
//!
//! A subgroup is one run of objects that follow each other, unless its stream was cut and it went on with another one, or two
//! who write it are not at the same place: what is not known to be the next object begins a run of its own. Readers
//! read run by run, so none of them takes what is next in memory for what is next in the subgroup.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;

use crate::budget::Charge;
use crate::error::{Close, ResetCode, WriteError};
#[cfg(test)]
use crate::faults::{self, Fault};
use crate::limits::{HOLES_MAX, ID_MAX, OBJECT_OVERHEAD_BYTES, RUNS_MAX};
use crate::object::{Cell, Location, Status};
use crate::track::{Event, Group, Run, Shared, State, Term};

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Writer {
    pub(crate) term: Term,
    /// What contradicts what is there is an error; else the first word stays, without a word.
    pub(crate) checked: bool,
}

/// Where a writer is in its subgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) run: u32,
    /// The last object that it has brought, also if it was there.
    pub(crate) last: Option<u64>,
}

/// How an object comes.
pub(crate) enum How<'a> {
    Stream(&'a mut Place),
    Datagram {
        /// It is the last one of its group.
        last: bool,
    },
}

pub(crate) enum Added {
    New(Arc<Cell>),
    There(Arc<Cell>),
    Dropped,
}

impl Group {
    /// The runs of a subgroup.
    fn runs(&self, subgroup: u64) -> impl DoubleEndedIterator<Item = (u32, &Run)> {
        self.runs.range((subgroup, 0)..=(subgroup, u32::MAX)).map(|((_, run), r)| (*run, r))
    }

    /// Whether the subgroup is over, and behind which object.
    fn is_behind_end(&self, subgroup: u64, object: u64) -> bool {
        self.runs(subgroup)
            .any(|(_, run)| run.end == Some(Ok(())) && run.last.is_none_or(|last| object > last))
    }

    /// Of the objects of a subgroup, which all have the same.
    fn priority_of(&self, subgroup: u64) -> Option<u8> {
        let newest = self.runs(subgroup).rev().find_map(|(_, run)| run.objects.last());
        newest.map(|(_, object)| object.header.priority)
    }

    /// Everything of it is there.
    pub(crate) fn is_sealed(&self) -> bool {
        self.end.is_some()
            && self.runs.iter().all(|((subgroup, _), run)| match run.end {
                Some(Ok(())) => true,
                // Where it was cut it was gone on with; before it was cut, perhaps: the beginning of a subgroup may come behind the rest.
                Some(Err(_)) => {
                    let behind = run.objects.last().and_then(|(last, _)| last.checked_add(1));
                    let first = |run: &Run| run.objects.first().map(|(id, _)| *id);
                    behind.is_some() && self.runs(*subgroup).any(|(_, run)| first(run) == behind)
                }
                None => false,
            })
    }

    /// Whether it is known that none of these objects exists: its publisher says so, or all that there is of the group came. Of what
    /// is before the first one that is not known, as it may have begun before it was followed, unless that is said to be the first.
    pub(crate) fn lacks(&self, ids: RangeInclusive<u64>) -> bool {
        if self.objects.range(ids.clone()).next().is_some() {
            // One that was cut.
            return false;
        }
        let said =
            self.holes.iter().any(|hole| hole.contains(ids.start()) && hole.contains(ids.end()));
        let before = self.objects.range(..ids.start()).next().is_some();
        let next = ids.end().checked_add(1).and_then(|next| self.objects.range(next..).next());
        let begins = next.is_none_or(|(_, object)| object.header.first);
        said || (self.is_sealed() && (before || begins))
    }

    /// An object with a payload behind this one.
    fn has_behind(&self, object: u64) -> bool {
        let behind = object.checked_add(1).map(|next| self.objects.range(next..));
        behind.is_some_and(|mut all| all.any(|(_, o)| o.header.status == Status::Normal))
    }
}

impl Shared {
    /// A payload of `group` grew: the writer pays with its oldest groups if memory is short.
    pub(crate) fn grown(&self, group: u64, bytes: usize) -> Result<(), WriteError> {
        self.check_memory()?;
        self.change(|state| self.grow(state, group, bytes))
    }

    /// The newest groups of a track stay whatever is short, and strangers may have many tracks.
    fn check_memory(&self) -> Result<(), WriteError> {
        match self.relayed && self.budget.is_full(self.limits.group_bytes) {
            true => Err(WriteError::Closed(Close::Evicted)),
            false => Ok(()),
        }
    }

    /// A group bounds what is not payload too: a million empty objects are not free. Said before
    /// anything is added, so that nothing is left half there.
    fn check_room(&self, group: &Group, bytes: usize) -> Result<(), WriteError> {
        self.check_memory()?;
        if group.bytes + bytes + OBJECT_OVERHEAD_BYTES > self.limits.group_bytes {
            return Err(WriteError::GroupTooLarge);
        }
        Ok(())
    }

    fn grow(&self, state: &mut State, group: u64, bytes: usize) -> Result<(), WriteError> {
        let Some(g) = state.groups.get_mut(&group) else { return Ok(()) };
        g.bytes += bytes;
        if g.bytes > self.limits.group_bytes {
            return Err(WriteError::GroupTooLarge);
        }
        self.pay(state);
        Ok(())
    }

    /// One group a write while memory is short: enough to come down, as every write adds at most one
    /// object, and gentle where the bytes are shared with another track that holds them.
    fn pay(&self, state: &mut State) {
        if !self.info.pinned
            && let Some(kept) = self.budget.kept_groups(state.window_groups)
            && let Some(oldest) = state.evictable(kept)
        {
            state.evict(oldest);
        }
    }

    pub(crate) fn open_group(&self, id: u64, now: Instant, term: Term) -> Result<(), WriteError> {
        self.change(|state| self.begin_group(state, id, now, term))
    }

    /// Opens the group after the largest one: found and taken under one lock, so that no two
    /// writers get the same.
    pub(crate) fn open_next_group(&self, now: Instant, term: Term) -> Result<u64, WriteError> {
        self.change(|state| {
            let id = state.next_group_id();
            self.begin_group(state, id, now, term).map(|()| id)
        })
    }

    fn begin_group(
        &self,
        state: &mut State,
        id: u64,
        now: Instant,
        term: Term,
    ) -> Result<(), WriteError> {
        state.check(term).map_err(WriteError::Closed)?;
        if id > ID_MAX {
            return Err(WriteError::Closed(Close::Malformed));
        }
        if state.groups.contains_key(&id) || state.floor >= Some(id) {
            return Ok(());
        }
        let first_event = state.log(now, id, Event::Group);
        let group = Group {
            objects: BTreeMap::new(),
            runs: BTreeMap::new(),
            end: None,
            first_event,
            bytes: 0,
            groups_before: None,
            holes: Vec::new(),
            _overhead: self.budget.charge(OBJECT_OVERHEAD_BYTES),
        };
        state.groups.insert(id, group);
        state.rests = false;
        self.pay(state);
        Ok(())
    }

    pub(crate) fn end_group(
        &self,
        id: u64,
        last: Option<u64>,
        now: Instant,
        writer: Writer,
    ) -> Result<(), WriteError> {
        self.change(|state| {
            state.check(writer.term).map_err(WriteError::Closed)?;
            let Some(group) = state.groups.get_mut(&id) else { return Ok(()) };
            // draft-18 §2.4.2 (4)
            if writer.checked && last.is_some_and(|last| group.has_behind(last)) {
                return Err(WriteError::Malformed("a group ends before an object that it has"));
            }
            if group.end.is_none() {
                group.end = Some(last);
                state.log(now, id, Event::GroupEnd);
            }
            Ok(())
        })
    }

    /// No object is here or behind.
    pub(crate) fn end_track(&self, at: Location, writer: Writer) -> Result<(), WriteError> {
        self.change(|state| {
            state.check(writer.term).map_err(WriteError::Closed)?;
            // draft-18 §2.4.2 (5)
            if writer.checked && state.largest.is_some_and(|largest| largest >= at) {
                return Err(WriteError::Malformed("a track ends before an object that it has"));
            }
            let ends = state.behind.map_or(at, |before| before.min(at));
            state.behind = Some(ends);
            Ok(())
        })
    }

    pub(crate) fn open_subgroup(
        &self,
        group: u64,
        id: u64,
        now: Instant,
        term: Term,
    ) -> Result<Place, WriteError> {
        self.change(|state| {
            state.check(term).map_err(WriteError::Closed)?;
            let g = state.groups.get_mut(&group).ok_or(WriteError::Closed(Close::Evicted))?;
            let newest = g.runs(id).next_back().map(|(run, r)| (run, r.end));
            let run = match newest {
                None => 0,
                // What was cut goes on in a run of its own.
                Some((run, Some(Err(_)))) => run.saturating_add(1),
                Some((run, _)) => run,
            };
            if let Some(there) = g.runs.get_mut(&(id, run)) {
                there.writers += 1;
                return Ok(Place { run, last: None });
            }
            self.check_room(g, 0)?;
            g.runs.insert((id, run), self.new_run(false));
            state.log(now, group, Event::Subgroup(id, run));
            self.grow(state, group, OBJECT_OVERHEAD_BYTES)?;
            Ok(Place { run, last: None })
        })
    }

    fn new_run(&self, ends_group: bool) -> Run {
        let overhead = self.budget.charge(OBJECT_OVERHEAD_BYTES);
        let (objects, end, last) = (Vec::new(), None, None);
        Run { objects, end, last, writers: 1, ends_group, _overhead: overhead }
    }

    /// This subgroup will hold the largest object of its group.
    pub(crate) fn ends_group(&self, group: u64, id: u64, place: Place) {
        self.change(|state| {
            let run = state.groups.get_mut(&group).and_then(|g| g.runs.get_mut(&(id, place.run)));
            if let Some(run) = run {
                run.ends_group = true;
            }
        });
    }

    /// A writer of the subgroup is done with it. It is complete if one of them says so, and reset
    /// only when the last of them gives up.
    pub(crate) fn close_subgroup(
        &self,
        group: u64,
        id: u64,
        (place, checked): (Place, bool),
        how: Result<(), ResetCode>,
    ) -> Result<(), WriteError> {
        self.change(|state| {
            let Some(g) = state.groups.get_mut(&group) else { return Ok(()) };
            let contradicts = how.is_ok() && checked && g.ends_otherwise(id, place.last);
            let Some(run) = g.runs.get_mut(&(id, place.run)) else { return Ok(()) };
            run.writers = run.writers.saturating_sub(1);
            if contradicts {
                // draft-18 §2.4.2 (2), (3)
                let _ = run.end.get_or_insert(Err(ResetCode::CANCELLED));
                return Err(WriteError::Malformed("a subgroup ends at two places"));
            }
            if run.end.is_none() && (how.is_ok() || run.writers == 0) {
                run.end = Some(how);
                run.last = place.last.max(run.objects.last().map(|(id, _)| *id));
            }
            Ok(())
        })
    }

    /// Adds an object, or says that there is one with its id already.
    pub(crate) fn add(
        &self,
        group: u64,
        cell: impl FnOnce(Charge) -> Cell,
        bytes: usize,
        writer: Writer,
        how: How<'_>,
    ) -> Result<Added, WriteError> {
        if bytes > self.limits.object_bytes {
            return Err(WriteError::ObjectTooLarge);
        }
        let cell = Arc::new(cell(self.budget.charge(OBJECT_OVERHEAD_BYTES)));
        let id = cell.header.id;
        self.change(|state| {
            state.check(writer.term).map_err(WriteError::Closed)?;
            if writer.checked {
                state.check_location(Location { group, object: id }, cell.header.status)?;
            }
            let Some(g) = state.groups.get_mut(&group) else {
                // Evicted under its writer: nobody can read it any more.
                return Ok(Added::Dropped);
            };
            // One that was cut in the middle is not there: who has all of it brings it again.
            let there = g.objects.get(&id).filter(|there| !there.is_cut());
            #[cfg(test)]
            let there = there.filter(|_| !faults::is(Fault::ObjectTwice));
            if let Some(there) = there {
                if writer.checked && there.contradicts(&cell) {
                    // draft-18 §2.4.2 (1), (6), (7), §9.1
                    return Err(WriteError::Malformed("an object comes again, and is another one"));
                }
                let there = there.clone();
                if let How::Stream(place) = how {
                    place.last = Some(id);
                }
                return Ok(Added::There(there));
            }
            if id > ID_MAX {
                return Err(WriteError::Closed(Close::Malformed));
            }
            if g.end.is_some_and(|last| last.is_none_or(|last| id > last)) {
                // draft-18 §2.4.2 (4)
                return match writer.checked && cell.header.status == Status::Normal {
                    true => Err(WriteError::Malformed("an object is behind the end of its group")),
                    false => Ok(Added::Dropped),
                };
            }
            if writer.checked && g.holes.iter().any(|hole| hole.contains(&id)) {
                // draft-18 §12.9
                return Err(WriteError::Malformed("an object is in a gap of its group"));
            }
            match how {
                How::Stream(place) => self.add_to_run(state, group, &cell, bytes, writer, place)?,
                How::Datagram { last } => {
                    self.check_room(g, bytes)?;
                    g.objects.insert(id, cell.clone());
                    let ends = last && g.end.is_none();
                    if ends {
                        g.end = Some(Some(id));
                    }
                    state.log(cell.header.arrived, group, Event::Datagram(id));
                    if ends {
                        state.log(cell.header.arrived, group, Event::GroupEnd);
                    }
                }
            }
            if cell.header.status == Status::Normal {
                state.saw(Location { group, object: id });
            }
            self.grow(state, group, bytes + OBJECT_OVERHEAD_BYTES)?;
            Ok(Added::New(cell.clone()))
        })
    }

    /// Puts an object behind the one that it follows, or at the beginning of a new run.
    fn add_to_run(
        &self,
        state: &mut State,
        group: u64,
        cell: &Arc<Cell>,
        bytes: usize,
        writer: Writer,
        place: &mut Place,
    ) -> Result<(), WriteError> {
        let (id, arrived) = (cell.header.id, cell.header.arrived);
        let crate::Via::Subgroup(subgroup) = cell.header.via else { return Ok(()) };
        let Some(g) = state.groups.get_mut(&group) else { return Ok(()) };
        if g.is_behind_end(subgroup, id) {
            // draft-18 §2.4.2 (2)
            return Err(match writer.checked {
                true => WriteError::Malformed("an object is behind the end of its subgroup"),
                false => WriteError::Reset,
            });
        }
        if writer.checked && g.priority_of(subgroup).is_some_and(|p| p != cell.header.priority) {
            // draft-18 §2.4.2 (1)
            return Err(WriteError::Malformed("a subgroup changes its priority"));
        }
        let Some(run) = g.runs.get(&(subgroup, place.run)) else { return Err(WriteError::Reset) };
        if let Some(Err(_)) = run.end {
            return Err(WriteError::Reset);
        }
        let newest = run.objects.last().map(|(id, _)| *id);
        // draft-18 §11.4.3: it is the next one if its number says so, or if who brings it has brought the one before.
        let follows = newest
            .is_none_or(|newest| id > newest && (id - newest == 1 || place.last == Some(newest)));
        let begins = run.end.is_some() || !follows;
        if begins {
            self.check_room(g, bytes + OBJECT_OVERHEAD_BYTES)?;
            let next = g.runs(subgroup).next_back().map_or(0, |(run, _)| run.saturating_add(1));
            if next >= RUNS_MAX {
                return Err(WriteError::Reset);
            }
            let ends_group = g.leave(subgroup, place.run);
            g.runs.insert((subgroup, next), self.new_run(ends_group));
            place.run = next;
            g.bytes += OBJECT_OVERHEAD_BYTES;
        } else {
            self.check_room(g, bytes)?;
        }
        if let Some(run) = g.runs.get_mut(&(subgroup, place.run)) {
            run.objects.push((id, cell.clone()));
        }
        g.objects.insert(id, cell.clone());
        place.last = Some(id);
        if begins {
            state.log(arrived, group, Event::Subgroup(subgroup, place.run));
        }
        Ok(())
    }

    /// The publisher says that so many objects and groups before this object do not exist (draft-18 §12.8, §12.9).
    pub(crate) fn lacks(
        &self,
        at: Location,
        (objects, groups): (u64, u64),
        writer: Writer,
    ) -> Result<(), WriteError> {
        self.change(|state| {
            state.check(writer.term).map_err(WriteError::Closed)?;
            if let Some(hole) = before(at.object, objects)
                && let Some(g) = state.groups.get_mut(&at.group)
            {
                let mut there = g.objects.range(hole.clone());
                if there.any(|(_, o)| o.header.status == Status::Normal) {
                    return Err(WriteError::Malformed("a gap covers an object of its group"));
                }
                if !g.holes.contains(&hole) {
                    if g.holes.len() >= HOLES_MAX {
                        g.holes.remove(0);
                    }
                    g.holes.push(hole);
                }
            }
            let Some(gap) = before(at.group, groups) else { return Ok(()) };
            if let Some(g) = state.groups.get_mut(&at.group) {
                if g.groups_before.is_some_and(|said| said != groups) {
                    return Err(WriteError::Malformed("the gap before a group has two sizes"));
                }
                g.groups_before = Some(groups);
            }
            if state.groups.range(gap.clone()).any(|(_, g)| !g.objects.is_empty()) {
                return Err(WriteError::Malformed("a gap covers a group that is there"));
            }
            state.never(gap);
            Ok(())
        })
    }
}

/// So many ids before this one.
fn before(id: u64, count: u64) -> Option<RangeInclusive<u64>> {
    let last = id.checked_sub(1).filter(|_| count > 0)?;
    Some(id.saturating_sub(count)..=last)
}

impl Group {
    /// Whether a subgroup that ends with this object is another one than what is known.
    fn ends_otherwise(&self, subgroup: u64, last: Option<u64>) -> bool {
        let Some(last) = last else { return false };
        self.runs(subgroup).any(|(_, run)| {
            let ended = run.end == Some(Ok(())) && run.last.is_some_and(|other| other != last);
            ended || run.objects.last().is_some_and(|(id, _)| *id > last)
        })
    }

    /// A writer goes on elsewhere: a run that nobody writes is cut. Says whether it ends its group.
    fn leave(&mut self, subgroup: u64, run: u32) -> bool {
        let Some(run) = self.runs.get_mut(&(subgroup, run)) else { return false };
        run.writers = run.writers.saturating_sub(1);
        if run.writers == 0 && run.end.is_none() {
            run.end = Some(Err(ResetCode::CANCELLED));
        }
        run.ends_group
    }
}

impl State {
    /// Whether an object may be here, by what was said of the track.
    fn check_location(&self, at: Location, status: Status) -> Result<(), WriteError> {
        if status == Status::Normal && self.behind.is_some_and(|end| at >= end) {
            // draft-18 §2.4.2 (5)
            return Err(WriteError::Malformed("an object is behind the end of its track"));
        }
        if self.never_has(at.group) {
            // draft-18 §12.8
            return Err(WriteError::Malformed("an object is in a group that does not exist"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
