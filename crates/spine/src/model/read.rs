//! Operations that read.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::asks::{Answer, Kind};
use super::readers::{self, ChunkSeen, FetchSeen, Seen, SubSeen};
use super::reference::DERIVED;
use super::sim::{
    Answering, At, Fetching, Following, Life, Listening, Looking, Lookup, NAMES, PATHS, Reading,
    Sim, SubReading, Wait, bytes, track_name,
};
use super::{Outcome, same};
use crate::*;

/// What a lookup brings: the broadcast's serial number, or the track's name.
type Found = Result<u64, LookupError>;

impl Sim {
    pub(super) fn subscribe(&mut self) -> Outcome {
        let Some(at) = self.any_track() else { return Ok(()) };
        let near = self.track(at).0.next_id().saturating_sub(self.random.below(8));
        let object = self.random.below(3);
        let start = match self.random.below(4) {
            0 => Start::NewestGroup,
            1 => Start::NextGroup,
            2 => Start::NextObject,
            _ => Start::At(Location { group: near, object }),
        };
        let end_group = self.random.one_in(4).then(|| near + self.random.below(6));
        let latency = [u64::MAX / 4, 500, 50][self.random.below(3) as usize];
        let fail = self.random.one_in(3);
        let policy = Policy {
            latency_max: Duration::from_millis(latency),
            on_lag: if fail { OnLag::Fail } else { OnLag::SkipToLatest },
            priority: 0,
        };
        let cursor = self.consumer(at)?.subscribe(Filter { start, end_group }, policy);
        let track = self.track(at).0;
        let model = readers::Cursor::new(track, start, end_group, (latency, fail));
        track.subscribed(model.from);
        let from = (cursor.from().group, cursor.from().object);
        self.log(|| format!("cursor on {at:?} {start:?}..{end_group:?}, {latency} ms, {fail}"));
        same!("start", from, model.from);
        self.following.push(Following { at, cursor, model, wait: Wait::new() });
        if self.following.len() > 8 {
            self.drop_following(0);
        }
        Ok(())
    }

    pub(super) fn drop_following(&mut self, i: usize) {
        let at = self.following.remove(i).at;
        let track = self.track(at).0;
        track.readers_changed(track.readers - 1);
    }

    pub(super) fn poll_cursor(&mut self) -> Outcome {
        let Some(i) = self.random.index(self.following.len()) else { return Ok(()) };
        for _ in 0..=self.random.below(4) {
            match self.poll_cursor_at(i)? {
                Some(Seen::End(_)) if self.random.one_in(4) => {
                    self.drop_following(i);
                    return Ok(());
                }
                None | Some(Seen::End(_)) => return Ok(()),
                Some(_) => {}
            }
        }
        Ok(())
    }

    pub(super) fn poll_cursor_at(&mut self, i: usize) -> Outcome<Option<Seen>> {
        let now = self.time(self.now);
        let f = &mut self.following[i];
        let at = f.at;
        let track = &self.slots[at.slot].as_ref().unwrap().tracks[at.track].model;
        let model = f.model.next(track, self.now);
        let polled = f.cursor.poll(&f.wait.cx(), now);
        let (mut subgroup, mut datagram) = (None, None);
        let real = polled.map(|event| match event {
            Event::Group(id) => Seen::Group(id),
            Event::Subgroup(reader) => {
                let (place, run) = ((reader.group(), reader.id()), reader.run());
                subgroup = Some(reader);
                Seen::Subgroup(place, run)
            }
            Event::Datagram(reader) => {
                let place = (reader.location().group, reader.location().object);
                datagram = Some(reader);
                Seen::Datagram(place)
            }
            Event::GroupEnd { group, last } => Seen::GroupEnd(group, last),
            Event::Skipped { from, to, why } => Seen::Skipped(from, to, why),
            Event::End(why) => Seen::End(why),
        });
        f.wait.judge("cursor", &real, model)?;
        self.count(match model {
            None => "cursor: pending",
            Some(Seen::Group(_)) => "cursor: group",
            Some(Seen::Subgroup(..)) => "cursor: subgroup",
            Some(Seen::Datagram(_)) => "cursor: datagram",
            Some(Seen::GroupEnd(..)) => "cursor: group end",
            Some(Seen::Skipped(_, _, Close::Evicted)) => "cursor: evicted",
            Some(Seen::Skipped(..)) => "cursor: skipped",
            Some(Seen::End(Close::TooFarBehind)) => "cursor: too far behind",
            Some(Seen::End(_)) => "cursor: end",
        });
        let next = model.map(|_| self.following[i].model.clone());
        self.log(|| format!("cursor {i} on {at:?} sees {real:?}"));
        if let (Some(reader), Some(Seen::Subgroup((group, id), run)), Some(cursor)) =
            (subgroup, model, next)
        {
            let (place, next) = ((group, (id, run)), cursor.first_of(group));
            self.sub_reading.push(SubReading { at, place, next, reader, wait: Wait::new() });
            if self.sub_reading.len() > 30 {
                self.sub_reading.remove(0);
            }
        }
        if let (Some(reader), Some(Seen::Datagram((group, id)))) = (datagram, model) {
            let track = self.track(at).0;
            let objects = track.group(group).into_iter().flat_map(|g| &g.objects);
            let object = objects.copied().find(|o| track.objects[*o].id == id);
            self.read(at, object.ok_or("the model lost a datagram")?, reader)?;
        }
        Ok(model)
    }

    /// A reader of an object was handed out.
    pub(super) fn read(&mut self, at: At, object: usize, reader: ObjectReader) -> Outcome {
        let track = self.track(at).0;
        track.hold(object);
        let model = &track.objects[object];
        same!("location", (reader.location().group, reader.header().id), (model.group, model.id));
        same!("bytes so far", reader.len(), model.len());
        let wait = Wait::new();
        self.reading.push(Reading { at, object, next: 0, reader, wait });
        if self.reading.len() > 40 {
            self.drop_reading(0);
        }
        Ok(())
    }

    pub(super) fn drop_reading(&mut self, i: usize) {
        let Reading { at, object, .. } = self.reading.remove(i);
        let (track, ledger) = self.track(at);
        track.release(ledger, object);
    }

    pub(super) fn poll_subgroup(&mut self) -> Outcome {
        let Some(i) = self.random.index(self.sub_reading.len()) else { return Ok(()) };
        for _ in 0..=self.random.below(3) {
            match self.poll_subgroup_at(i)? {
                Some(SubSeen::Object(_)) => {}
                Some(_) => {
                    self.sub_reading.remove(i);
                    return Ok(());
                }
                None => return Ok(()),
            }
        }
        Ok(())
    }

    pub(super) fn poll_subgroup_at(&mut self, i: usize) -> Outcome<Option<SubSeen>> {
        let s = &mut self.sub_reading[i];
        let (at, place) = (s.at, s.place);
        let track = &self.slots[at.slot].as_ref().unwrap().tracks[at.track].model;
        let model = readers::subgroup(track, place, s.next);
        let polled = s.reader.poll(&s.wait.cx());
        let mut object = None;
        let real = polled.map(|event| match event {
            SubgroupEvent::Object(reader) => {
                let id = reader.header().id;
                object = Some(reader);
                SubSeen::Object(id)
            }
            SubgroupEvent::Fin => SubSeen::Fin,
            SubgroupEvent::Reset(code) => SubSeen::Reset(code.0),
        });
        s.wait.judge("subgroup", &real, model)?;
        self.count(match model {
            None => "subgroup: pending",
            Some(SubSeen::Object(_)) => "subgroup: object",
            Some(SubSeen::Fin) => "subgroup: fin",
            Some(SubSeen::Reset(1)) => "subgroup: cancelled",
            Some(SubSeen::Reset(5)) => "subgroup: evicted",
            Some(SubSeen::Reset(_)) => "subgroup: reset",
        });
        self.log(|| format!("subgroup {i} {place:?} of {at:?} holds {real:?}"));
        if let (Some(reader), Some(SubSeen::Object(id))) = (object, model) {
            self.sub_reading[i].next = id + 1;
            let track = self.track(at).0;
            let objects =
                track.group(place.0).into_iter().flat_map(|g| g.objects.iter().chain(&g.cut));
            let here = |o: &&usize| {
                let object = &track.objects[**o];
                object.id == id && object.run == Some(place.1)
            };
            let object = objects.clone().find(here).copied();
            self.read(at, object.ok_or("the model lost an object")?, reader)?;
        }
        Ok(model)
    }

    pub(super) fn poll_object(&mut self) -> Outcome {
        let Some(i) = self.random.index(self.reading.len()) else { return Ok(()) };
        for _ in 0..=self.random.below(4) {
            match self.poll_object_at(i)? {
                Some(ChunkSeen::Data(..)) => {}
                Some(_) => {
                    self.drop_reading(i);
                    return Ok(());
                }
                None => return Ok(()),
            }
        }
        Ok(())
    }

    pub(super) fn poll_object_at(&mut self, i: usize) -> Outcome<Option<ChunkSeen>> {
        let r = &mut self.reading[i];
        let (at, object) = (r.at, r.object);
        let track = &self.slots[at.slot].as_ref().unwrap().tracks[at.track];
        let model = readers::chunk(&track.model, object, r.next);
        let place = (track.model.objects[object].group, track.model.objects[object].id);
        let start = match model {
            Some(ChunkSeen::Data(start, _)) => start,
            _ => 0,
        };
        let polled = r.reader.poll_chunk(&r.wait.cx());
        let mut payload = None;
        let real = polled.map(|chunk| match chunk {
            Chunk::Data(data) => {
                let end = start + data.len();
                payload = Some(data);
                ChunkSeen::Data(start, end)
            }
            Chunk::End => ChunkSeen::End,
            Chunk::Reset(code) => ChunkSeen::Reset(code.0),
        });
        r.wait.judge("object", &real, model)?;
        r.next += usize::from(payload.is_some());
        let partly = r.next > 0;
        if let (Some(payload), Some(ChunkSeen::Data(start, end))) = (payload, model) {
            same!("payload", payload[..], bytes((at.slot, track.name), place, start..end)[..]);
        }
        self.count(match model {
            None => "object: pending",
            Some(ChunkSeen::Data(..)) => "object: data",
            Some(ChunkSeen::End) => "object: end",
            Some(ChunkSeen::Reset(_)) if partly => "object: half and reset",
            Some(ChunkSeen::Reset(_)) => "object: reset",
        });
        self.log(|| format!("object {i} {place:?} of {at:?} holds {real:?}"));
        Ok(model)
    }

    pub(super) fn drop_reader(&mut self) -> Outcome {
        match self.random.below(4) {
            0 => {
                if let Some(i) = self.random.index(self.following.len()) {
                    self.drop_following(i);
                }
            }
            1 => {
                if let Some(i) = self.random.index(self.sub_reading.len()) {
                    self.sub_reading.remove(i);
                }
            }
            2 => {
                if let Some(i) = self.random.index(self.reading.len()) {
                    self.drop_reading(i);
                }
            }
            _ => return self.read_by_location(),
        }
        Ok(())
    }

    fn read_by_location(&mut self) -> Outcome {
        let Some(at) = self.any_track() else { return Ok(()) };
        let track = self.track(at).0;
        let group = track.next_id().saturating_sub(1);
        let (largest, ended) = (track.largest, track.end);
        let group = group.saturating_sub(self.random.below(3));
        let object = self.random.below(4);
        let consumer = self.consumer(at)?;
        same!("largest", consumer.largest().map(|l| (l.group, l.object)), largest);
        same!("ended", consumer.ended(), ended);
        let track = self.track(at).0;
        let mut objects = track.group(group).into_iter().flat_map(|g| &g.objects).copied();
        let model = objects.find(|o| track.objects[*o].id == object);
        let real = consumer.object(Location { group, object });
        same!("object by location", real.as_ref().is_ok(), model.is_some());
        match (real, model) {
            (Ok(reader), Some(object)) => self.read(at, object, reader),
            _ => Ok(()),
        }
    }

    pub(super) fn fetch(&mut self) -> Outcome {
        if self.random.one_in(3) {
            let Some(at) = self.any_track() else { return Ok(()) };
            let near = self.track(at).0.next_id().saturating_sub(self.random.below(30));
            let start = (near, self.random.below(3));
            let end = (near + self.random.below(30), self.random.below(6));
            let orders = [Order::Ascending, Order::Descending];
            let order = orders[self.random.below(2) as usize];
            let deadline = self.now + self.random.below(4_000);
            let location = |(group, object)| Location { group, object };
            let range = location(start)..=location(end);
            let cursor = self.consumer(at)?.fetch(range, order, self.time(deadline));
            let track = self.track(at).0;
            let model = readers::Fetch::new(track, start, end, order, deadline);
            self.log(|| format!("fetch {start:?}..={end:?} {order:?} of {at:?} by {deadline}"));
            self.fetching.push(Fetching { at, cursor, model, wait: Wait::new() });
            if self.fetching.len() > 6 {
                self.drop_fetch(0);
            }
            return Ok(());
        }
        let Some(i) = self.random.index(self.fetching.len()) else { return Ok(()) };
        for _ in 0..self.random.below(6) {
            let f = &mut self.fetching[i];
            let (at, asked) = (f.at, f.model.asked());
            let named = self.slots[at.slot].as_ref().unwrap();
            let key = (named.serial, named.tracks[at.track].name);
            let track = &named.tracks[at.track].model;
            let model = f.model.next(track, key, &mut self.asks, self.now);
            let polled = f.cursor.poll(&f.wait.cx(), self.base + Duration::from_millis(self.now));
            let mut object = None;
            let real = polled.map(|event| match event {
                FetchEvent::Object(reader) => {
                    object = Some(reader);
                    // Which one it is: `read` compares.
                    model.unwrap_or(FetchSeen::Object(usize::MAX))
                }
                FetchEvent::Gap { from, to, why } => FetchSeen::Gap(from, to, why),
                FetchEvent::Hole { last, why } => FetchSeen::Hole((last.group, last.object), why),
                FetchEvent::End => FetchSeen::End,
            });
            if f.model.by_clock {
                f.wait.by_clock();
            }
            f.wait.judge("fetch", &real, model)?;
            self.count(match model {
                None => "fetch: pending",
                Some(FetchSeen::Object(_)) if asked.is_some() => "fetch: object of a responder",
                Some(FetchSeen::Object(_)) => "fetch: object",
                Some(FetchSeen::Gap(_, _, Absence::Missing)) => "fetch: missing",
                Some(FetchSeen::Gap(_, _, Absence::Unknown)) => "fetch: unknown",
                Some(FetchSeen::Gap(_, _, Absence::TimedOut)) => "fetch: timed out",
                Some(FetchSeen::Hole(..)) => "fetch: hole",
                Some(FetchSeen::End) => "fetch: end",
            });
            self.log(|| format!("fetch {i} of {at:?} brings {real:?}"));
            if let (Some(reader), Some(FetchSeen::Object(object))) = (object, model) {
                self.read(at, object, reader)?;
            } else if matches!(model, Some(FetchSeen::Object(_))) {
                return Err(format!("fetch: the spine has no object, the model {model:?}"));
            }
            if let Some(asked) = asked {
                self.free(at, asked);
            }
            match model {
                Some(FetchSeen::End) => {
                    self.drop_fetch(i);
                    return Ok(());
                }
                Some(_) => {}
                None => return Ok(()),
            }
        }
        Ok(())
    }

    pub(super) fn drop_fetch(&mut self, i: usize) {
        let Fetching { at, model, .. } = self.fetching.remove(i);
        if let Some(ask) = model.asked() {
            self.asks.leave(ask);
            self.free(at, ask);
        }
    }

    fn free(&mut self, at: At, ask: usize) {
        for object in self.asks.free(ask) {
            let (track, ledger) = self.track(at);
            track.release(ledger, object);
        }
    }

    // Answering.

    pub(super) fn respond(&mut self) -> Outcome {
        match self.random.below(8) {
            0..3 => self.poll_responder().map(|_| ()),
            3..5 => self.answer_request(),
            _ => self.answer_fetch(),
        }
    }

    /// The slot of a broadcast.
    fn serial(&self, consumer: &broadcast::Consumer) -> u64 {
        let slots = self.slots.iter().flatten();
        slots.filter(|b| b.consumer == *consumer).map(|b| b.serial).next().unwrap_or(u64::MAX)
    }

    fn kind(&self, request: &Request) -> Kind {
        let path = |p: &Path| self.paths.iter().position(|x| x == p).unwrap_or(PATHS);
        let name = |n: &TrackName| NAMES.iter().position(|x| Some(*x) == n.as_str()).unwrap_or(99);
        match request {
            Request::Broadcast(r) => Kind::Broadcast(path(r.path())),
            Request::Track(r) => Kind::Track(self.serial(&r.broadcast()), name(r.name())),
            Request::Fetch(r) => {
                let slot = self.slots[path(r.path())].as_ref();
                let place = |l: &Location| (l.group, l.object);
                let (start, end) = (place(r.range().start()), place(r.range().end()));
                Kind::Fetch(slot.map_or(0, |b| b.serial), name(r.name()), start, end, r.order())
            }
        }
    }

    pub(super) fn poll_responder(&mut self) -> Outcome<bool> {
        let Some(i) = self.random.index(self.answerers.len()) else { return Ok(false) };
        self.poll_responder_at(i)
    }

    pub(super) fn poll_responder_at(&mut self, i: usize) -> Outcome<bool> {
        let ask = self.asks.pop(i);
        let answerer = &mut self.answerers[i];
        let polled = answerer.responder.poll(&answerer.wait.cx());
        let mut request = None;
        let polled = polled.map(|r| request = Some(r));
        let real = polled.map(|()| request.as_ref().map(|r| self.kind(r)));
        let model = ask.map(|ask| Some(self.asks.all[ask].kind));
        self.answerers[i].wait.judge("responder", &real, model)?;
        self.log(|| format!("responder {i} is asked for {real:?}"));
        if let (Some(request), Some(ask)) = (request, ask) {
            self.held.push((ask, request));
        }
        Ok(ask.is_some())
    }

    pub(super) fn decline(&mut self, i: usize) {
        let (ask, request) = self.held.remove(i);
        drop(request);
        self.asks.decline(ask);
        self.log(|| format!("request {ask} is declined"));
    }

    fn answer_request(&mut self) -> Outcome {
        let Some(i) = self.random.index(self.held.len()) else { return Ok(()) };
        if self.random.one_in(3) {
            self.decline(i);
            return Ok(());
        }
        let (ask, request) = self.held.remove(i);
        self.log(|| format!("request {ask} is answered"));
        match request {
            Request::Broadcast(request) => {
                let path = self.paths.iter().position(|p| p == request.path()).unwrap_or(0);
                self.publish(path, Takeover::Refuse)?;
                drop(request);
                self.asks.decline(ask);
            }
            Request::Track(request) => {
                let serial = self.serial(&request.broadcast());
                let mut slots = self.slots.iter();
                let slot = slots.position(|b| b.as_ref().is_some_and(|b| b.serial == serial));
                let slot = slot.ok_or("a request for a broadcast that is gone")?;
                let name = request.name().clone();
                let name = NAMES.iter().position(|n| Some(*n) == name.as_str()).unwrap_or(0);
                let real = request.accept(super::write::info(name));
                let made = real.is_ok();
                self.added(slot, name, DERIVED, real, None)?;
                if made {
                    self.asks.all[ask].outcome.get_or_insert(Ok(()));
                }
                self.asks.decline(ask);
            }
            Request::Fetch(request) => {
                let Kind::Fetch(serial, name, start, end, order) = self.asks.all[ask].kind else {
                    return Err("not a fetch".into());
                };
                let at = self.find(serial, name)?;
                let left = Some((start.0, end.0));
                let producer = request.accept();
                let asked = &mut self.asks.all[ask];
                asked.outcome.get_or_insert(Ok(()));
                (asked.held, asked.producing) = (false, true);
                let next_object = 0;
                self.answering.push(Answering { at, ask, left, order, next_object, producer });
            }
        }
        Ok(())
    }

    fn find(&self, serial: u64, name: usize) -> Outcome<At> {
        for (slot, b) in self.slots.iter().enumerate() {
            let Some(b) = b.as_ref().filter(|b| b.serial == serial) else { continue };
            if let Some(track) = b.tracks.iter().position(|t| t.name == name) {
                return Ok(At { slot, track });
            }
        }
        Err("a track that is gone".into())
    }

    fn answer_fetch(&mut self) -> Outcome {
        let Some(i) = self.random.index(self.answering.len()) else { return Ok(()) };
        let Answering { at, ask, left, order, next_object, .. } = self.answering[i];
        let what = self.random.below(10);
        let Some((low, high)) = left.filter(|_| what < 8) else {
            self.finish_answer(i, self.random.0.is_multiple_of(2));
            return Ok(());
        };
        let near = if order == Order::Ascending { low } else { high };
        let step = self.random.below(3).min(high - low);
        let group = if order == Order::Ascending { low + step } else { high - step };
        let done = what >= 6;
        if done {
            let (from, to) = (near.min(group), near.max(group));
            self.answering[i].producer.gap(from, to, Absence::Missing);
            self.asks.all[ask].answers.push(Answer::Gap(from, to, Absence::Missing));
        } else {
            let id = if group == near { next_object } else { 0 };
            let len = self.random.below(50) as usize;
            let data = bytes((at.slot, self.name(at)), (group, id), 0..len);
            let payload = self.origin.budget().payload(data);
            let header = Header::new(id, self.time(self.now));
            let answer = &mut self.answering[i];
            answer.producer.object(group, header, vec![payload]);
            answer.next_object = id + 1;
            let (track, ledger) = self.track(at);
            let object = track.fetched(ledger, (group, id), len);
            self.asks.all[ask].answers.push(Answer::Object(object));
        }
        let past = u64::from(done);
        let left = match order {
            Order::Ascending => (group + past, high),
            Order::Descending => (low, group.wrapping_sub(past)),
        };
        let some = left.1 != u64::MAX && left.0 <= left.1;
        self.answering[i].left = some.then_some(left);
        if done {
            self.answering[i].next_object = 0;
        }
        self.log(|| format!("answer to {ask}: group {group}, gap {done}"));
        Ok(())
    }

    pub(super) fn finish_answer(&mut self, i: usize, end: bool) {
        let Answering { at, ask, left, producer, .. } = self.answering.remove(i);
        if end {
            producer.end();
        } else {
            drop(producer);
            if let Some((from, to)) = left {
                self.asks.all[ask].answers.push(Answer::Gap(from, to, Absence::Unknown));
            }
        }
        self.asks.all[ask].answers.push(Answer::End);
        self.asks.all[ask].producing = false;
        self.free(at, ask);
        self.log(|| format!("answer to {ask} is done ({end})"));
    }

    // Lookups.

    pub(super) fn look_up(&mut self) -> Outcome {
        let slot = self.random.below(PATHS as u64) as usize;
        let deadline = self.now + self.random.below(800);
        let at = self.time(deadline);
        match self.random.below(4) {
            0 => {
                let pending = self.origin.lookup(&self.paths[slot], at);
                let life = self.slots[slot].as_ref().map(|b| b.life);
                let here = matches!(life, Some(Life::Live | Life::Parked(_)));
                let ask = if here {
                    Ok(Ok(()))
                } else {
                    Err(self.asks.lookup(Kind::Broadcast(slot), deadline))
                };
                self.looking_for(ask, Lookup::Broadcast(slot, pending))
            }
            1 => {
                let Some(broadcast) = &self.slots[slot] else { return Ok(()) };
                let name = self.random.below(NAMES.len() as u64) as usize;
                let pending = broadcast.consumer.track(&track_name(name), at);
                let there = broadcast.tracks.iter().any(|t| t.name == name);
                let ask = match broadcast.life {
                    _ if there => Ok(Ok(())),
                    Life::Ended(why) => Ok(Err(LookupError::Closed(why))),
                    _ => Err(self.asks.lookup(Kind::Track(broadcast.serial, name), deadline)),
                };
                self.looking_for(ask, Lookup::Track(slot, name, pending))
            }
            _ => {
                let Some(i) = self.random.index(self.looking.len()) else { return Ok(()) };
                self.poll_looking(i).map(|_| ())
            }
        }
    }

    fn looking_for(
        &mut self,
        ask: Result<Result<(), LookupError>, usize>,
        lookup: Lookup,
    ) -> Outcome {
        let looking = Looking { ask, lookup, wait: Wait::new() };
        self.log(|| format!("lookup, {:?}", looking.ask));
        self.looking.push(looking);
        if self.looking.last().is_some_and(|l| l.ask.is_ok()) || self.looking.len() > 10 {
            let last = self.looking.len() - 1;
            self.poll_looking(last)?;
        }
        Ok(())
    }

    pub(super) fn poll_looking(&mut self, i: usize) -> Outcome<bool> {
        let mut looking = self.looking.remove(i);
        let outcome = match looking.ask {
            Ok(found) => Some(found),
            Err(ask) => self.asks.all[ask].outcome,
        };
        let mut cx = Context::from_waker(looking.wait.waker());
        let (real, model): (Poll<Found>, Option<Found>) = match &mut looking.lookup {
            Lookup::Broadcast(slot, pending) => {
                let real = Pin::new(pending).poll(&mut cx);
                let broadcast = self.slots[*slot].as_ref();
                let here = broadcast.filter(|b| !matches!(b.life, Life::Ended(_)));
                let serial = here.map(|b| b.serial).ok_or(LookupError::NotFound);
                let real = real.map(|r| r.map(|c| self.serial(&c)));
                (real, outcome.map(|o| o.and(serial)))
            }
            Lookup::Track(_, name, pending) => {
                let real = Pin::new(pending).poll(&mut cx);
                let right = |c: track::Consumer| u64::from(*c.name() == track_name(*name));
                (real.map(|r| r.map(right)), outcome.map(|o| o.map(|()| 1)))
            }
        };
        looking.wait.judge("lookup", &real, model)?;
        self.count(match (model, &looking.ask) {
            (None, _) => "lookup: pending",
            (Some(Ok(_)), Ok(_)) => "lookup: here",
            (Some(Ok(_)), Err(_)) => "lookup: brought",
            (Some(Err(LookupError::NotFound)), _) => "lookup: not found",
            (Some(Err(LookupError::TimedOut)), _) => "lookup: timed out",
            (Some(Err(LookupError::Closed(_))), _) => "lookup: closed",
            (Some(Err(LookupError::NotUnderstood)), _) => "lookup: not understood",
            (Some(Err(LookupError::TooMany)), _) => "lookup: too many",
        });
        self.log(|| format!("lookup {i}: {real:?}"));
        if real.is_pending() {
            self.looking.push(looking);
        }
        Ok(real.is_ready())
    }

    pub(super) fn listen(&mut self) -> Outcome {
        if self.listening.len() < 3 && self.random.one_in(8) {
            let announcements = self.origin.announcements(Path::root());
            let here = |b: &Option<super::sim::Broadcast>| {
                b.as_ref().is_some_and(|b| !matches!(b.life, Life::Ended(_)))
            };
            let heard = self.slots.iter().map(|b| (vec![true; usize::from(here(b))], false));
            let heard = heard.collect();
            self.listening.push(Listening { announcements, heard, wait: Wait::new() });
            return Ok(());
        }
        let Some(i) = self.random.index(self.listening.len()) else { return Ok(()) };
        if self.random.one_in(40) {
            self.listening.remove(i);
            return Ok(());
        }
        let listening = &mut self.listening[i];
        let mut model = None;
        for (path, (news, knows)) in listening.heard.iter_mut().enumerate() {
            let last = news.last() == Some(&true);
            let gone = *knows && news.contains(&false);
            news.clear();
            if gone {
                news.extend(last.then_some(true));
                *knows = false;
                model = Some((path, None));
                break;
            }
            if last {
                *knows = true;
                model = Some((path, self.slots[path].as_ref().map(|b| b.serial)));
                break;
            }
        }
        let polled = listening.announcements.poll(&listening.wait.cx());
        let path = |p: &Path| self.paths.iter().position(|x| x == p).unwrap_or(PATHS);
        let real = polled.map(|announce| match announce {
            Announce::Live(c) => (path(c.path()), Some(self.serial(&c))),
            Announce::Gone(p) => (path(&p), None),
        });
        self.listening[i].wait.judge("announcements", &real, model)?;
        self.count(match model {
            None => "listener: pending",
            Some((_, Some(_))) => "listener: live",
            Some((_, None)) => "listener: gone",
        });
        self.log(|| format!("listener {i} hears {real:?}"));
        Ok(())
    }
}
