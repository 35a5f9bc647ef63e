//! Following the packaged tracks of a broadcast, and deciding when a segment is sealed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use package::{CATALOG, INIT, properties};
use spine::broadcast::{Consumer, Liveness};
use spine::{
    Cursor, Event, Filter, Location, ObjectReader, Policy, Start, SubgroupEvent, SubgroupReader,
    Waiting,
};

use crate::limits::LATE_SEGMENTS;
use crate::segment::{Sealed, Share, is_recorded};
use crate::status::Status;

/// What following brings.
#[derive(Debug)]
pub(crate) enum News {
    /// The next segment, numbers without holes.
    Sealed(Sealed),
    /// The newest catalog.
    Catalog(Bytes),
    /// The broadcast is over, and everything of it was told.
    Over,
}

/// Follows one broadcast.
pub(crate) struct Follower {
    broadcast: Consumer,
    status: Arc<Status>,
    seen: u64,
    changed: Waiting,
    tracks: Vec<Followed>,
    catalog: Option<Track>,
    open: BTreeMap<u64, Vec<Share>>,
    /// The number that is sealed next; none before the first part.
    next: Option<u64>,
    newest: u64,
    news: std::collections::VecDeque<News>,
    over: bool,
}

struct Followed {
    name: String,
    track: Track,
    /// It has completed everything below.
    passed: u64,
}

/// A cursor with the group that it is in.
struct Track {
    cursor: Cursor,
    group: Option<SubgroupReader>,
    ended: bool,
}

enum Step {
    Object(ObjectReader),
    Passed(u64),
    Nothing,
}

impl Track {
    fn new(consumer: &spine::track::Consumer) -> Self {
        let start = Start::At(Location { group: 0, object: 0 });
        let cursor = consumer.subscribe(Filter::from(start), Policy::EVERYTHING);
        Self { cursor, group: None, ended: false }
    }

    fn poll(&mut self, cx: &Context<'_>, now: Instant) -> Step {
        while !self.ended {
            if let Some(group) = &mut self.group {
                match group.poll(cx) {
                    Poll::Ready(SubgroupEvent::Object(object)) => return Step::Object(object),
                    Poll::Ready(SubgroupEvent::Fin | SubgroupEvent::Reset(_)) => {
                        let passed = group.group() + 1;
                        self.group = None;
                        return Step::Passed(passed);
                    }
                    Poll::Pending => return Step::Nothing,
                }
            }
            match self.cursor.poll(cx, now) {
                Poll::Ready(Event::Subgroup(reader)) => {
                    let begun = reader.group();
                    self.group = Some(reader);
                    return Step::Passed(begun);
                }
                Poll::Ready(Event::End(_)) => self.ended = true,
                Poll::Ready(Event::Skipped { to, .. }) => return Step::Passed(to + 1),
                Poll::Ready(Event::Group(_) | Event::GroupEnd { .. } | Event::Datagram(_)) => {}
                Poll::Pending => return Step::Nothing,
            }
        }
        Step::Nothing
    }
}

impl Follower {
    /// Follows from the first segment on, which has the number `first`.
    pub(crate) fn new(broadcast: Consumer, first: u64, status: Arc<Status>) -> Self {
        Self {
            broadcast,
            status,
            seen: u64::MAX,
            changed: Waiting::new(),
            tracks: Vec::new(),
            catalog: None,
            open: BTreeMap::new(),
            next: Some(first),
            newest: first,
            news: std::collections::VecDeque::new(),
            over: false,
        }
    }

    /// The newest number that was begun.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    /// An initialisation segment, as long as the broadcast is in memory.
    pub(crate) fn init(&self, id: u64) -> Option<Bytes> {
        let object = self.broadcast.get(&INIT)?.object(Location { group: id, object: 0 }).ok()?;
        whole(&object).map(joined)
    }

    /// The next news.
    pub(crate) fn poll(&mut self, cx: &Context<'_>, now: Instant) -> Poll<News> {
        if let Some(news) = self.news.pop_front() {
            return Poll::Ready(news);
        }
        if self.over {
            return Poll::Pending;
        }
        let broadcast = self.broadcast.clone();
        let liveness = loop {
            // Before the tracks: those that came together with the end would be passed over.
            let liveness = broadcast.liveness();
            match broadcast.poll_changed(self.seen, &mut self.changed, cx) {
                Poll::Ready(seen) => self.seen = seen,
                Poll::Pending => break liveness,
            }
            self.add_tracks();
        };
        self.poll_catalog(cx, now);
        for index in 0..self.tracks.len() {
            self.poll_track(index, cx, now);
        }
        self.seal();
        // While the catalog lasts, packaging may still make tracks.
        let packaged = self.catalog.as_ref().is_none_or(|catalog| catalog.ended);
        let ended = matches!(liveness, Liveness::Ended(_)) && packaged;
        if ended && self.tracks.iter().all(|t| t.track.ended) {
            self.over = true;
            self.news.push_back(News::Over);
        }
        self.news.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    fn add_tracks(&mut self) {
        for name in self.broadcast.tracks() {
            let Some(consumer) = self.broadcast.get(&name) else { continue };
            if name == CATALOG && self.catalog.is_none() {
                self.catalog = Some(Track::new(&consumer));
            }
            let Some(name) = name.as_str().filter(|n| is_recorded(n)) else { continue };
            if self.tracks.iter().all(|t| t.name != name) {
                let track = Track::new(&consumer);
                self.tracks.push(Followed { name: name.to_owned(), track, passed: 0 });
            }
        }
    }

    fn poll_catalog(&mut self, cx: &Context<'_>, now: Instant) {
        let Some(track) = &mut self.catalog else { return };
        let mut newest = None;
        loop {
            match track.poll(cx, now) {
                Step::Object(object) => newest = whole(&object).map(joined).or(newest),
                Step::Passed(_) => {}
                Step::Nothing => break,
            }
        }
        self.news.extend(newest.map(News::Catalog));
    }

    fn poll_track(&mut self, index: usize, cx: &Context<'_>, now: Instant) {
        let Some(followed) = self.tracks.get_mut(index) else { return };
        loop {
            match followed.track.poll(cx, now) {
                Step::Passed(passed) => followed.passed = followed.passed.max(passed),
                Step::Object(object) => {
                    let number = object.location().group;
                    self.newest = self.newest.max(number);
                    if self.next.is_some_and(|next| number < next) {
                        self.status.late_parts.fetch_add(1, Ordering::Relaxed);
                        self.status.changed.notify_one();
                        continue;
                    }
                    let shares = self.open.entry(number).or_default();
                    if take(shares, &followed.name, &object).is_none() {
                        // Its own packager wrote it; a part without a place is a fault of ours.
                        tracing::error!(track = followed.name, number, "a part can't be recorded");
                    }
                }
                Step::Nothing => return,
            }
        }
    }

    /// Hands out what is complete.
    fn seal(&mut self) {
        let slowest = self.tracks.iter().filter(|t| !t.track.ended).map(|t| t.passed).min();
        let slowest = slowest.unwrap_or(u64::MAX);
        let furthest = self.tracks.iter().map(|t| t.passed).max().unwrap_or(0);
        // `passed` is one above the last complete number.
        let waited_for = furthest.saturating_sub(LATE_SEGMENTS);
        while let (Some(next), Some(last)) = (self.next, self.open.keys().next_back().copied()) {
            let sealed = next < slowest || next < waited_for;
            if next > last || !sealed {
                break;
            }
            let shares = self.open.remove(&next).unwrap_or_default();
            self.news.push_back(News::Sealed(Sealed { number: next, shares }));
            self.next = Some(next + 1);
        }
    }
}

/// Adds one part to its track's share.
fn take(shares: &mut Vec<Share>, name: &str, object: &ObjectReader) -> Option<()> {
    let (part, segment) = properties::decode(&object.header().properties).ok()?;
    let chunks = whole(object)?;
    let share = match shares.iter_mut().position(|s| s.name() == name) {
        Some(at) => shares.get_mut(at)?,
        None => {
            shares.push(Share::new(name, segment?));
            shares.last_mut()?
        }
    };
    share.push(&part, chunks);
    Some(())
}

fn whole(object: &ObjectReader) -> Option<Vec<Bytes>> {
    Some(object.whole()?.into_iter().map(spine::Payload::into_bytes).collect())
}

fn joined(chunks: Vec<Bytes>) -> Bytes {
    match <[Bytes; 1]>::try_from(chunks) {
        Ok([one]) => one,
        Err(chunks) => chunks.concat().into(),
    }
}
