//! Operations on broadcasts: published, replaced, parked, ended, expired, forgotten.

use std::task::Poll;

use super::asks::{Asks, Kind};
use super::readers::Seen;
use super::reference::DERIVED;
use super::sim::{
    Answerer, Broadcast, Life, NAMES, PATHS, Publisher, Sim, Wait, is_of, track_name,
};
use super::{Outcome, same};
use crate::track::Waiting;
use crate::*;

impl Sim {
    /// Something happens to a broadcast or to who can answer for one.
    pub(super) fn live(&mut self) -> Outcome {
        let slot = self.random.below(PATHS as u64) as usize;
        match self.random.below(40) {
            0..6 => {
                let replace = self.random.one_in(3);
                self.publish(slot, if replace { Takeover::Replace } else { Takeover::Refuse })
            }
            6..8 => self.leave(),
            8..12 => {
                if self.random.one_in(3) {
                    self.now += self.random.below(2_000);
                }
                self.expire()
            }
            12..26 => {
                let Some(i) = self.random.index(self.publishers.len()) else { return Ok(()) };
                let name = self.random.below(NAMES.len() as u64) as usize;
                // What is packaged is made by ourselves, "late" most often on request only.
                if name < 3 || self.random.one_in(8) { self.add_track(i, name) } else { Ok(()) }
            }
            26..28 => {
                let Some(broadcast) = &self.slots[slot] else { return Ok(()) };
                let name = 3;
                let real = broadcast.consumer.derive(track_name(name), super::write::info(name));
                self.added(slot, name, DERIVED, real, None)
            }
            28..31 => self.responders(),
            31..36 => self.watch(slot),
            _ => self.poll_publisher(),
        }
    }

    fn responders(&mut self) -> Outcome {
        if self.answerers.len() < 2 {
            let id = self.serials;
            self.serials += 1;
            // The first one that is there is the cheaper one.
            let cost = 1 + id as u32;
            let responder = self.origin.responder(Path::root(), cost);
            self.answerers.push(Answerer { responder, wait: Wait::new() });
            self.asks.queues.push((id, Vec::new()));
            self.log(|| format!("responder {id}"));
        } else if self.random.one_in(4) {
            let i = self.random.below(2) as usize;
            drop(self.answerers.remove(i));
            for ask in self.asks.queues.remove(i).1 {
                self.asks.offer(ask);
            }
            self.log(|| format!("responder at {i} leaves"));
        }
        Ok(())
    }

    fn announce(&mut self, path: usize, live: bool) {
        for listening in &mut self.listening {
            listening.heard[path].0.push(live);
        }
    }

    fn ended(&self) -> Vec<usize> {
        let over = |b: &Broadcast| matches!(b.life, Life::Ended(_));
        (0..PATHS).filter(|i| self.slots[*i].as_ref().is_some_and(over)).collect()
    }

    pub(super) fn publish(&mut self, path: usize, takeover: Takeover) -> Outcome {
        let gone = self.ended();
        for slot in &gone {
            self.announce(*slot, false);
        }
        let life = self.slots[path].as_ref().map(|b| b.life);
        let fresh = matches!(life, None | Some(Life::Ended(_)));
        let there = |i: &usize| !gone.contains(i);
        let tracks = (0..PATHS).filter(there).filter_map(|i| self.slots[i].as_ref());
        let evictable: usize = tracks.flat_map(|b| &b.tracks).map(|t| t.model.evictable()).sum();
        let ledger = &self.ledger;
        let full = ledger.used > ledger.cache && ledger.used - evictable > ledger.cache;
        // Ownerships mostly come in their order, or the same one again.
        let there = self.slots[path].as_ref().map_or(1, |b| b.epoch);
        let epoch = (there + self.random.below(2)).saturating_sub(self.random.below(8) / 6);
        let refused = match (life, takeover) {
            _ if fresh => full.then_some(PublishError::OutOfMemory),
            (Some(Life::Live), Takeover::Refuse) => Some(PublishError::Busy),
            _ if epoch < there => Some(PublishError::Superseded),
            _ => None,
        };
        let route = Route::local(NodeId(1), epoch);
        let real = self.origin.publish(&self.paths[path], route, takeover);
        self.log(|| format!("publish {path} {takeover:?}: {refused:?}"));
        self.count(match (refused, life) {
            (Some(PublishError::OutOfMemory), _) => "publish: out of memory",
            (Some(PublishError::Superseded), _) => "publish: superseded",
            (Some(_), _) => "publish: busy",
            (None, Some(Life::Parked(_))) => "publish: resumed",
            (None, Some(Life::Live)) => "publish: take-over",
            (None, _) => "publish: new",
        });
        same!("publish", real.as_ref().err().copied(), refused);
        if real.is_ok() {
            self.asks.resolve(Kind::Broadcast(path), Ok(()));
        }
        for slot in gone {
            self.sweep(slot)?;
        }
        let Ok(producer) = real else { return Ok(()) };
        self.announce(path, true);
        if fresh {
            let serial = self.serials;
            self.serials += 1;
            self.slots[path] = Some(Broadcast {
                serial,
                consumer: producer.consume(),
                life: Life::Live,
                epoch,
                term: 0,
                revision: 0,
                tracks: Vec::new(),
                watch: (0, Waiting::new(), Wait::new()),
            });
        } else {
            let parked = matches!(life, Some(Life::Parked(_)));
            let why = if parked { Close::SourceLost } else { Close::Replaced };
            self.renew(path, Life::Live, why);
            self.broadcast(path).epoch = epoch;
        }
        let (term, waiting, wait) = (self.broadcast(path).term, Waiting::new(), Wait::new());
        self.publishers.push(Publisher { slot: path, term, producer, waiting, wait });
        let last = self.publishers.len() - 1;
        for name in 0..2 {
            self.add_track(last, name)?;
        }
        Ok(())
    }

    fn renew(&mut self, slot: usize, life: Life, why: Close) {
        let broadcast = self.broadcast(slot);
        broadcast.term += 1;
        broadcast.life = life;
        broadcast.revision += 1;
        for track in &mut broadcast.tracks {
            track.model.renew(broadcast.term, why);
        }
    }

    fn end(&mut self, slot: usize, why: Close) {
        self.count("broadcast: end");
        let broadcast = self.broadcast(slot);
        broadcast.life = Life::Ended(why);
        broadcast.revision += 1;
        let serial = broadcast.serial;
        for track in broadcast.tracks.iter_mut().filter(|t| !t.derived) {
            track.model.finish_track(why);
        }
        self.asks.close(serial, why);
    }

    /// A publisher parks, ends or vanishes.
    fn leave(&mut self) -> Outcome {
        let Some(i) = self.random.index(self.publishers.len()) else { return Ok(()) };
        let Publisher { slot, term, producer, .. } = self.publishers.remove(i);
        let (life, current) = (self.broadcast(slot).life, self.broadcast(slot).term);
        let mine = term == current && life == Life::Live;
        let how = self.random.below(6);
        self.log(|| format!("publisher {term} of {slot} leaves ({how}), {mine}"));
        match how {
            0 => {
                drop(producer);
                if mine {
                    self.end(slot, Close::SourceLost);
                }
            }
            1 => {
                producer.end(Close::Ended);
                if mine {
                    self.end(slot, Close::Ended);
                }
            }
            _ => {
                let until = self.now + self.random.below(1_500);
                producer.park(self.time(until));
                if mine {
                    self.renew(slot, Life::Parked(until), Close::SourceLost);
                }
            }
        }
        Ok(())
    }

    fn expire(&mut self) -> Outcome {
        let now = self.now;
        self.log(|| "expire".into());
        let real = self.origin.expire(self.time(now));
        let mut next = None;
        for ask in self.asks.all.iter_mut().filter(|a| a.outcome.is_none()) {
            match ask.kind {
                Kind::Fetch(..) => {}
                _ if ask.deadline <= now => ask.outcome = Some(Err(LookupError::TimedOut)),
                _ => next = next.into_iter().chain([ask.deadline]).min(),
            }
        }
        for slot in 0..PATHS {
            match self.slots[slot].as_ref().map(|b| b.life) {
                Some(Life::Parked(until)) if until <= now => self.end(slot, Close::SourceLost),
                Some(Life::Parked(until)) => next = next.into_iter().chain([until]).min(),
                _ => {}
            }
        }
        let early = |real: std::time::Instant| next.is_none_or(|next| real <= self.time(next));
        same!("expire answers a time", real.is_some_and(early) || real.is_none(), true);
        same!("expire forgets no time", real.is_some() || next.is_none(), true);
        for slot in self.ended() {
            self.announce(slot, false);
            self.sweep(slot)?;
        }
        for slot in 0..PATHS {
            let here = self.origin.get(&self.paths[slot]).is_some();
            same!("what is here", here, self.slots[slot].is_some());
        }
        Ok(())
    }

    fn watch(&mut self, slot: usize) -> Outcome {
        let Some(b) = &mut self.slots[slot] else { return Ok(()) };
        let (seen, waiting, wait) = &mut b.watch;
        let model = (*seen != b.revision).then_some(b.revision);
        *seen = b.revision;
        let old = model.map_or(b.revision, |_| u64::MAX);
        let real = b.consumer.poll_changed(old, waiting, &wait.cx());
        wait.judge("broadcast changes", &real, model)?;
        let liveness = match b.life {
            Life::Live => broadcast::Liveness::Live,
            Life::Parked(_) => broadcast::Liveness::Parked,
            Life::Ended(why) => broadcast::Liveness::Ended(why),
        };
        same!("liveness", b.consumer.liveness(), liveness);
        same!("tracks", b.consumer.tracks().len(), b.tracks.len());
        Ok(())
    }

    fn poll_publisher(&mut self) -> Outcome {
        let Some(i) = self.random.index(self.publishers.len()) else { return Ok(()) };
        let slot = self.publishers[i].slot;
        let (life, term) = (self.broadcast(slot).life, self.broadcast(slot).term);
        let p = &mut self.publishers[i];
        let model = match life {
            Life::Ended(why) => Some(why),
            _ => (p.term != term).then_some(Close::Replaced),
        };
        let real: Poll<Close> = p.producer.poll_closed(&mut p.waiting, &p.wait.cx());
        p.wait.judge("publisher", &real, model)
    }

    /// A broadcast was forgotten: everybody reads to the end and leaves, and nothing is left of it.
    fn sweep(&mut self, slot: usize) -> Outcome {
        self.log(|| format!("{slot} is forgotten"));
        let serial = self.broadcast(slot).serial;
        while let Some(i) = self.writing.iter().position(|w| w.at.slot == slot) {
            self.close_object(i, false)?;
        }
        while let Some(i) = self.subs.iter().position(|s| s.at.slot == slot) {
            let sub = self.subs.remove(i);
            let how = Err(super::reference::CANCELLED);
            self.track(sub.at).0.close_subgroup(sub.place, how);
        }
        self.groups.retain(|g| g.at.slot != slot);
        while let Some(i) = self.writers.iter().position(|w| w.at.slot == slot) {
            self.drop_writer(i);
        }
        while let Some(i) = self.following.iter().position(|f| f.at.slot == slot) {
            loop {
                match self.poll_cursor_at(i)? {
                    Some(Seen::End(_)) => break,
                    Some(_) => {}
                    None => return Err("a cursor waits on a track that is over".into()),
                }
            }
            self.drop_following(i);
        }
        while let Some(i) = self.sub_reading.iter().position(|s| s.at.slot == slot) {
            if self.poll_subgroup_at(i)?.is_none() {
                return Err("a subgroup stays open on a track that is over".into());
            }
            self.sub_reading.remove(i);
        }
        while let Some(i) = self.answering.iter().position(|a| a.at.slot == slot) {
            self.finish_answer(i, false);
        }
        while let Some(i) = self.fetching.iter().position(|f| f.at.slot == slot) {
            self.drop_fetch(i);
        }
        while let Some(i) = self.reading.iter().position(|r| r.at.slot == slot) {
            if self.poll_object_at(i)?.is_none() {
                return Err("an object stays open on a track that is over".into());
            }
            self.drop_reading(i);
        }
        // Requests in hand are about it; those in a queue are not given out any more.
        let about = |asks: &Asks, ask: usize| is_of(asks.all[ask].kind, serial);
        while let Some(i) = self.held.iter().position(|h| about(&self.asks, h.0)) {
            self.decline(i);
        }
        let of = |l: &super::sim::Looking| match l.lookup {
            super::sim::Lookup::Track(s, ..) => s == slot,
            super::sim::Lookup::Broadcast(..) => false,
        };
        while let Some(i) = self.looking.iter().position(of) {
            if !self.poll_looking(i)? {
                return Err("a lookup waits on a broadcast that is over".into());
            }
        }
        self.publishers.retain(|p| p.slot != slot);
        let gone = self.slots[slot].take().ok_or("forgotten twice")?;
        self.asks.forget(serial);
        for mut track in gone.tracks {
            track.model.drop_all(&mut self.ledger);
        }
        Ok(())
    }

    /// The node stops: everything ends, and all memory is given back.
    pub(super) fn finish(&mut self) -> Outcome {
        self.log(|| "shutdown".into());
        for slot in 0..PATHS {
            let life = self.slots[slot].as_ref().map(|b| b.life);
            if matches!(life, Some(Life::Live | Life::Parked(_))) {
                self.end(slot, Close::Shutdown);
            }
        }
        self.origin.shutdown();
        for slot in self.ended() {
            self.announce(slot, false);
            self.sweep(slot)?;
        }
        same!("bytes charged by the model at the end", 0, self.ledger.used);
        same!("bytes charged at the end", self.origin.budget().used(), 0);
        Ok(())
    }
}

/// How often each thing was seen.
pub(super) type Counts = std::collections::BTreeMap<&'static str, u64>;

/// Runs one history; a failure tells the last operations.
pub(super) fn run(seed: u64, steps: u64) -> Outcome<Counts> {
    let once = |traced| {
        let mut sim = Sim::new(seed, traced);
        let result = (0..steps).try_for_each(|_| sim.step()).and_then(|()| sim.finish());
        result.map(|()| std::mem::take(&mut sim.seen)).map_err(|why| {
            let trace = sim.trace.take().unwrap_or_default();
            let last = trace.len().saturating_sub(
                std::env::var("AIRWAVE_MODEL_TRACE")
                    .ok()
                    .and_then(|n| n.parse().ok())
                    .unwrap_or(60),
            );
            // Handles that are dropped after a failure would only fail again.
            std::mem::forget(sim);
            format!("AIRWAVE_MODEL_SEED={seed}: {why}\n{}", trace[last..].join("\n"))
        })
    };
    once(false).or_else(|_| once(true))
}
