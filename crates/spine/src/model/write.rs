//! Operations that write.

use super::reference::{Added, DERIVED, New};
use super::sim::{
    At, GroupWriter, OPAQUE, PINNED, Sim, SubWriter, Wait, Writer, Writing, bytes, track_name,
};
use super::{Outcome, same};
use crate::track::{Demand, Waiting};
use crate::*;

impl Sim {
    fn payload(&self, at: At, place: super::Loc, range: std::ops::Range<usize>) -> Payload {
        self.origin.budget().payload(bytes((at.slot, self.name(at)), place, range))
    }

    fn header(&mut self, at: At, id: u64) -> (Header, bool) {
        let opaque = self.name(at) == OPAQUE;
        let sync = opaque || self.random.one_in(3);
        let timing = Timing { decode: 0, present: 0, duration: 1, sync };
        let timing = (!opaque).then_some(timing);
        let late = self.random.below(3) * 300;
        let arrived = self.time(self.now.saturating_sub(late));
        (Header { timing, ..Header::new(id, arrived) }, sync)
    }

    pub(super) fn open_group(&mut self) -> Outcome {
        let Some(i) = self.random.index(self.writers.len()) else { return self.live() };
        let (at, term) = (self.writers[i].at, self.writers[i].term);
        let now = self.time(self.now);
        let next = self.track(at).0.next_id();
        let kind = self.random.below(20);
        let id = match kind {
            0 => next + self.random.below(4),
            1..4 => next.saturating_sub(self.random.below(6)),
            4 if self.random.one_in(50) => u64::MAX,
            _ => next,
        };
        let ms = self.now;
        let model = {
            let (track, ledger) = self.track(at);
            track.open_group(ledger, id, ms, term)
        };
        let writer = &self.writers[i].producer;
        let real = if kind > 4 { writer.next_group(now) } else { writer.group(id, now) };
        self.log(|| format!("group {id} of {at:?}: {model:?}"));
        let reopened = !matches!(model, Ok(())) || id < next;
        self.count(match model {
            Ok(()) if reopened => "write: group joined",
            Ok(()) => "write: group",
            Err(_) => "write: group refused",
        });
        same!("open group", real.as_ref().map(group::Producer::id), model.as_ref().map(|()| id));
        if let Ok(producer) = real {
            self.groups.push(GroupWriter { at, term, id, producer });
            if self.groups.len() > 40 {
                self.groups.remove(0);
            }
        } else if self.random.one_in(3) {
            self.drop_writer(i);
        }
        Ok(())
    }

    pub(super) fn end_group(&mut self) -> Outcome {
        let Some(i) = self.random.index(self.groups.len()) else { return Ok(()) };
        let now = self.now;
        let (at, id, term) = (self.groups[i].at, self.groups[i].id, self.groups[i].term);
        let last = (!self.random.one_in(5)).then(|| self.random.below(8));
        self.groups[i].producer.end(last, self.time(now));
        self.track(at).0.end_group(id, last, now, term);
        self.log(|| format!("group {id} of {at:?} ends at {last:?}"));
        Ok(())
    }

    /// One of the writers that were opened last, most often: a few stall for long.
    fn recent(&mut self, len: usize) -> Option<usize> {
        let near = if self.random.one_in(4) { len } else { len.min(4) };
        self.random.index(near).map(|i| len - 1 - i)
    }

    pub(super) fn open_subgroup(&mut self) -> Outcome {
        let Some(i) = self.recent(self.groups.len()) else { return Ok(()) };
        let GroupWriter { at, id: group, term, .. } = self.groups[i];
        let id = self.random.below(3);
        let now = self.now;
        let model = {
            let (track, ledger) = self.track(at);
            track.open_subgroup(ledger, (group, id), now, term)
        };
        let real = self.groups[i].producer.subgroup(id, self.time(now));
        self.log(|| format!("subgroup {group}/{id} of {at:?}: {model:?}"));
        same!("open subgroup", real.as_ref().map(|_| ()), model.as_ref().map(|_| ()));
        if let (Ok(producer), Ok(place)) = (real, model) {
            self.subs.push(SubWriter { at, term, place, producer });
        }
        Ok(())
    }

    pub(super) fn write_object(&mut self) -> Outcome {
        let Some(i) = self.recent(self.subs.len()) else { return Ok(()) };
        let SubWriter { at, term, mut place, .. } = self.subs[i];
        let (group, subgroup, before) = (place.group, place.run.0, place.run);
        let id = self.object_id(at, group);
        let (header, starts) = self.header(at, id);
        let arrived = (header.arrived - self.base).as_millis() as u64;
        let mut ends = Vec::new();
        for _ in 0..self.random.below(3) {
            let most = if self.random.one_in(12) { 250 } else { 60 };
            ends.push(ends.last().unwrap_or(&0) + 1 + self.random.below(most) as usize);
        }
        let starts_of = std::iter::once(0).chain(ends.iter().copied());
        let ranges: Vec<_> = starts_of.zip(ends.iter().copied()).map(|(a, b)| a..b).collect();
        let chunks = ranges.into_iter().map(|r| self.payload(at, (group, id), r)).collect();
        let new = New { group, id, starts, at: arrived, whole: Some(ends.clone()) };
        let (track, ledger) = self.track(at);
        let model = track.add(ledger, new, Some(&mut place), term);
        self.subs[i].place = place;
        if place.run != before {
            self.count("write: a run of its own");
        }
        self.count(match model {
            Ok(Added::New(_)) => "write: object",
            Ok(Added::There(_)) => "write: duplicate",
            Ok(Added::Dropped) => "write: object dropped",
            Err(WriteError::GroupTooLarge) => "write: group too large",
            Err(WriteError::ObjectTooLarge) => "write: object too large",
            Err(_) => "write: object refused",
        });
        let model = model.map(|_| ());
        let real = self.subs[i].producer.write(header, chunks);
        self.log(|| format!("object {group}/{subgroup}/{id} {ends:?} of {at:?}: {model:?}"));
        same!("write object", real, model);
        if real.is_err() && self.random.one_in(2) {
            self.close_subgroup_at(i);
        }
        Ok(())
    }

    /// Mostly behind the last object, sometimes one that may be there already.
    fn object_id(&mut self, at: At, group: u64) -> u64 {
        let group = self.track(at).0.group(group);
        let count = group.map_or(0, |g| g.objects.len() as u64);
        match self.random.below(400) {
            0..120 => self.random.below(count + 2),
            120 => u64::MAX,
            _ => count + self.random.below(3),
        }
    }

    pub(super) fn begin_object(&mut self) -> Outcome {
        let Some(i) = self.recent(self.subs.len()) else { return Ok(()) };
        let SubWriter { at, term, mut place, .. } = self.subs[i];
        let (group, subgroup) = (place.group, place.run.0);
        let id = self.object_id(at, group);
        let (header, starts) = self.header(at, id);
        let arrived = (header.arrived - self.base).as_millis() as u64;
        let declared = self.random.one_in(2).then(|| self.random.below(80));
        let new = New { group, id, starts, at: arrived, whole: None };
        let (track, ledger) = self.track(at);
        let model = track.add(ledger, new, Some(&mut place), term);
        self.subs[i].place = place;
        let real = self.subs[i].producer.begin(header, declared);
        let object = match model {
            Ok(Added::New(object) | Added::There(object)) => Ok(Some(object)),
            Ok(Added::Dropped) => Ok(None),
            Err(why) => Err(why),
        };
        let shared = object.is_ok_and(|o| o.is_some_and(|o| self.is_written(at, o)));
        self.count(if shared { "write: second writer" } else { "write: begin" });
        self.log(|| format!("begin {group}/{subgroup}/{id} {declared:?} of {at:?}: {object:?}"));
        let begun = real.as_ref().map(Option::is_some);
        same!("begin object", begun, object.as_ref().map(Option::is_some));
        if let (Ok(Some(writer)), Ok(Some(object))) = (real, object) {
            let (track, ledger) = self.track(at);
            track.begin(ledger, object);
            self.writing.push(Writing { at, object, offset: 0, declared, writer });
        }
        Ok(())
    }

    fn is_written(&self, at: At, object: usize) -> bool {
        self.writing.iter().any(|w| (w.at, w.object) == (at, object))
    }

    pub(super) fn continue_object(&mut self) -> Outcome {
        let Some(i) = self.recent(self.writing.len()) else { return Ok(()) };
        if self.random.one_in(3) {
            let finish = !self.random.one_in(4);
            return self.close_object(i, finish);
        }
        let Writing { at, object, offset, declared, .. } = self.writing[i];
        let rest = declared.map_or(60, |d| d - offset as u64);
        let len = self.random.below(rest + 2) as usize;
        let (track, ledger) = self.track(at);
        let place = (track.objects[object].group, track.objects[object].id);
        let model = track.write(ledger, object, (offset, declared), len);
        let payload = self.payload(at, place, offset..offset + len);
        self.log(|| format!("{place:?} of {at:?} grows {offset}+{len}: {model:?}"));
        same!("write", self.writing[i].writer.write(payload), model.map(|_| ()).map_err(|e| e.1));
        self.writing[i].offset = model.unwrap_or_else(|e| e.0);
        Ok(())
    }

    pub(super) fn close_object(&mut self, i: usize, finish: bool) -> Outcome {
        let Writing { at, object, offset, declared, writer } = self.writing.remove(i);
        let short = declared.is_some_and(|d| d != offset as u64);
        let (track, ledger) = self.track(at);
        if finish && !short {
            track.finish(object, offset);
        } else {
            track.give_up(object);
        }
        let state = track.objects[object].state;
        track.release(ledger, object);
        self.log(|| format!("object {object} of {at:?} closed ({finish}): {state:?}"));
        if finish {
            let model = if short { Err(WriteError::ShorterThanDeclared) } else { Ok(()) };
            same!("finish", writer.finish(), model);
        }
        Ok(())
    }

    pub(super) fn datagram(&mut self) -> Outcome {
        let Some(i) = self.recent(self.groups.len()) else { return Ok(()) };
        let GroupWriter { at, id: group, term, .. } = self.groups[i];
        let id = self.object_id(at, group);
        let (header, starts) = self.header(at, id);
        let len = self.random.below(20) as usize;
        let payload = self.payload(at, (group, id), 0..len);
        let arrived = (header.arrived - self.base).as_millis() as u64;
        let whole = Some(vec![len]);
        let new = New { group, id, starts, at: arrived, whole };
        let (track, ledger) = self.track(at);
        let model = track.add(ledger, new, None, term).map(|_| ());
        self.log(|| format!("datagram {group}/{id} +{len} of {at:?}: {model:?}"));
        same!("datagram", self.groups[i].producer.datagram(header, payload), model);
        Ok(())
    }

    pub(super) fn close_subgroup(&mut self) -> Outcome {
        let Some(i) = self.recent(self.subs.len()) else { return Ok(()) };
        self.close_subgroup_at(i);
        Ok(())
    }

    fn close_subgroup_at(&mut self, i: usize) {
        let sub = self.subs.remove(i);
        let how = match self.random.below(10) {
            0 => {
                sub.producer.reset(ResetCode(77));
                Err(77)
            }
            1 => {
                drop(sub.producer);
                Err(super::reference::CANCELLED)
            }
            _ => {
                sub.producer.fin();
                Ok(())
            }
        };
        self.track(sub.at).0.close_subgroup(sub.place, how);
        self.log(|| format!("subgroup {:?} of {:?} closed: {how:?}", sub.place, sub.at));
    }

    pub(super) fn write_rarely(&mut self) -> Outcome {
        let Some(i) = self.random.index(self.writers.len()) else { return Ok(()) };
        let (at, term) = (self.writers[i].at, self.writers[i].term);
        match self.random.below(10) {
            0 => {
                let why = Close::Ended;
                self.writers[i].producer.end(why);
                let track = self.track(at).0;
                if track.check(term).is_ok() {
                    track.finish_track(why);
                }
                self.log(|| format!("{at:?} ends"));
            }
            1..5 => {
                let near = self.track(at).0.next_id() + 4;
                let from = self.random.below(near);
                let to = from + self.random.below(3);
                self.writers[i].producer.gap(from..=to);
                let track = self.track(at).0;
                if track.check(term).is_ok() {
                    track.never.push((from, to));
                }
                self.log(|| format!("{at:?} has no {from}..={to}"));
            }
            5..8 => {
                let evicted = self.track(at).0.evicted;
                self.count(if evicted > 0 { "track: evicted" } else { "track: all there" });
                if self.track(at).0.looks > 0 {
                    self.count("track: entries left out");
                }
                same!("evicted groups", self.writers[i].producer.evicted(), evicted);
            }
            _ => self.drop_writer(i),
        }
        Ok(())
    }

    /// A derived track ends with its last producer.
    pub(super) fn drop_writer(&mut self, i: usize) {
        let writer = self.writers.remove(i);
        let at = writer.at;
        drop(writer);
        let derived = self.broadcast(at.slot).tracks[at.track].derived;
        if derived && !self.writers.iter().any(|w| w.at == at) {
            self.track(at).0.finish_track(Close::Ended);
        }
        self.log(|| format!("a writer of {at:?} leaves"));
    }

    /// The publisher makes a track, or one more writer of it.
    pub(super) fn add_track(&mut self, publisher: usize, name: usize) -> Outcome {
        let (slot, term) = (self.publishers[publisher].slot, self.publishers[publisher].term);
        let producer = &self.publishers[publisher].producer;
        let real = producer.track(track_name(name), info(name));
        self.added(slot, name, term, real, None)
    }

    /// The model's side of a track that was made, or refused.
    pub(super) fn added(
        &mut self,
        slot: usize,
        name: usize,
        term: u64,
        real: Result<track::Producer, PublishError>,
        ended: Option<Close>,
    ) -> Outcome {
        let broadcast = self.slots[slot].as_mut().unwrap();
        let over = match broadcast.life {
            super::sim::Life::Ended(why) if term != DERIVED => Some(why),
            _ if term != DERIVED && term != broadcast.term => Some(Close::Replaced),
            _ => ended,
        };
        let refused = real.as_ref().err().copied();
        same!("make a track", refused, over.map(PublishError::Closed));
        let Ok(producer) = real else { return Ok(()) };
        let there = broadcast.tracks.iter().position(|t| t.name == name);
        let track = there.unwrap_or_else(|| {
            let model = super::reference::Track::new(term, name == PINNED);
            let derived = term == DERIVED;
            broadcast.tracks.push(super::sim::Named { name, derived, model });
            broadcast.revision += 1;
            let kind = super::asks::Kind::Track(broadcast.serial, name);
            self.asks.resolve(kind, Ok(()));
            broadcast.tracks.len() - 1
        });
        let at = At { slot, track };
        let (waiting, wait) = (Waiting::new(), Wait::new());
        self.writers.push(Writer { at, term, producer, seen_demand: 0, waiting, wait });
        self.log(|| format!("track {name} of {slot}: {at:?}, term {term}"));
        Ok(())
    }

    pub(super) fn demand(&mut self) -> Outcome {
        if self.random.one_in(3) {
            let Some(at) = self.any_track() else { return Ok(()) };
            let above = self.random.below(20);
            self.consumer(at)?.request_group(above);
            self.track(at).0.request_group(above);
            self.log(|| format!("{at:?}: a group above {above} is wanted"));
            return Ok(());
        }
        let Some(i) = self.random.index(self.writers.len()) else { return Ok(()) };
        let at = self.writers[i].at;
        let track = self.track(at).0;
        let revision = track.demand_revision;
        let (forward, new_group_above) = (track.readers > 0, track.new_group_above);
        let from = track.from.map(|(group, object)| Location { group, object });
        let writer = &mut self.writers[i];
        let wanted = Demand { forward, new_group_above, from };
        let model = (writer.seen_demand != revision).then_some(wanted);
        writer.seen_demand = revision;
        let real = writer.producer.poll_demand(&mut writer.waiting, &writer.wait.cx());
        writer.wait.judge("demand", &real, model)
    }
}

pub(super) fn info(name: usize) -> TrackInfo {
    TrackInfo { pinned: name == PINNED, ..TrackInfo::default() }
}
