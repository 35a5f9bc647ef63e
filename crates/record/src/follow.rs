//! Following the packaged tracks of a broadcast, and deciding when a segment is sealed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use package::{CATALOG, INIT, properties, raw_track};
use spine::broadcast::{Consumer, Liveness};
use spine::{
    Cursor, Event, Filter, Location, ObjectReader, Policy, Start, SubgroupEvent, SubgroupReader,
    Waiting,
};

use crate::limits::{LATE, LATE_START, UNKNOWN};
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
    /// Whether an encoder has announced sound, and pictures.
    announced: [bool; 2],
    catalog: Option<Track>,
    open: BTreeMap<u64, Vec<Share>>,
    open_bytes: usize,
    /// So many may wait for a late track.
    open_bytes_max: usize,
    /// How far the furthest track has come, in nanoseconds.
    furthest_ns: u64,
    /// Where the broadcast began, or went on behind a discontinuity: the number, and its time in nanoseconds.
    began: Option<(u64, u64)>,
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
    /// How late its newest part was, in nanoseconds; none before its first one, and before the first one behind a
    /// discontinuity.
    late_ns: Option<u64>,
    /// Since when there is none, by the others.
    since_ns: u64,
}

impl Followed {
    fn of_pictures(&self) -> bool {
        self.name.starts_with("video")
    }

    /// How long after it, by the others, a segment waits for this track, in nanoseconds.
    fn patience_ns(&self, furthest_ns: u64) -> u64 {
        match self.late_ns {
            Some(late) => late.saturating_add(nanos(LATE)).min(nanos(LATE_START)),
            None if furthest_ns - self.since_ns < nanos(LATE_START) => nanos(LATE_START),
            // Announced, and nothing ever came of it.
            None => 0,
        }
    }
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
    /// Follows from the first segment on, which has the number `first`. Up to `open_bytes_max` wait for late tracks.
    pub(crate) fn new(
        broadcast: Consumer,
        first: u64,
        open_bytes_max: usize,
        status: Arc<Status>,
    ) -> Self {
        Self {
            broadcast,
            status,
            seen: u64::MAX,
            changed: Waiting::new(),
            tracks: Vec::new(),
            announced: [false; 2],
            catalog: None,
            open: BTreeMap::new(),
            open_bytes: 0,
            open_bytes_max,
            furthest_ns: 0,
            began: None,
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
            // Before it is asked whether there are others: a new track has a share in segments only that those before
            // it have not completed, so none is sealed without it.
            self.poll_catalog(cx, now);
            for index in 0..self.tracks.len() {
                self.poll_track(index, cx, now);
            }
            // Tracks that came together with the end would be passed over if this were asked first.
            let liveness = broadcast.liveness();
            match broadcast.poll_changed(self.seen, &mut self.changed, cx) {
                Poll::Ready(seen) => self.seen = seen,
                Poll::Pending => break liveness,
            }
            self.add_tracks();
        };
        // While the catalog lasts, packaging may still make tracks.
        let packaged = self.catalog.as_ref().is_none_or(|catalog| catalog.ended);
        let ended = matches!(liveness, Liveness::Ended(_)) && packaged;
        let over = ended && self.tracks.iter().all(|t| t.track.ended);
        self.seal(over);
        if over {
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
            if let Some((pictures, _)) = raw_track(&name) {
                self.announced[usize::from(pictures)] = true;
            }
            let Some(name) = name.as_str().filter(|n| is_recorded(n)) else { continue };
            if self.tracks.iter().all(|t| t.name != name) {
                let track = Track::new(&consumer);
                let (name, since_ns) = (name.to_owned(), self.furthest_ns);
                self.tracks.push(Followed { name, track, passed: 0, late_ns: None, since_ns });
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
        while let Some(followed) = self.tracks.get_mut(index) {
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
                    let Some(share) = take(shares, &followed.name, &object) else {
                        // Its own packager wrote it; a part without a place is a fault of ours.
                        tracing::error!(track = followed.name, number, "a part can't be recorded");
                        continue;
                    };
                    let span = share.span_ns();
                    let anew = share.discontinuity();
                    self.open_bytes += object.len();
                    followed.late_ns = Some(self.furthest_ns.saturating_sub(span.end));
                    self.furthest_ns = self.furthest_ns.max(span.end);
                    if self.began.is_none_or(|(began, _)| anew && number > began) {
                        self.began = Some((number, span.start));
                        self.begin_anew(index);
                    }
                }
                Step::Nothing => return,
            }
        }
    }

    /// A track is the first one behind a discontinuity: nothing is known of when the others come.
    fn begin_anew(&mut self, first: usize) {
        for (_, other) in self.tracks.iter_mut().enumerate().filter(|(i, _)| *i != first) {
            (other.late_ns, other.since_ns) = (None, self.furthest_ns);
        }
    }

    /// Hands out what is complete, or has waited for long enough; everything when the broadcast is `over`.
    fn seal(&mut self, over: bool) {
        while let (Some(next), Some(last)) = (self.next, self.open.keys().next_back().copied()) {
            let full = self.open_bytes > self.open_bytes_max && next < last;
            if next > last || !(over || full || self.is_whole(next)) {
                break;
            }
            let sealed =
                Sealed { number: next, shares: self.open.remove(&next).unwrap_or_default() };
            self.open_bytes -= sealed.bytes();
            self.news.push_back(News::Sealed(sealed));
            self.next = Some(next + 1);
        }
    }

    /// Whether nothing more is waited for in a segment.
    fn is_whole(&self, number: u64) -> bool {
        // Its end, or the beginning of what comes behind a hole.
        let shares = self.open.get(&number).into_iter().flatten();
        let end = shares.map(|share| share.span_ns().end).max();
        let behind = || self.open.range(number..).flat_map(|(_, shares)| shares).next();
        let Some(end) = end.or_else(|| behind().map(|share| share.span_ns().start)) else {
            return false;
        };
        let passed_ns = self.furthest_ns.saturating_sub(end);
        let open = |followed: &&Followed| !followed.track.ended && followed.passed <= number;
        let late = |f: &Followed| passed_ns < f.patience_ns(self.furthest_ns);
        if self.tracks.iter().filter(open).any(late) {
            return false;
        }
        let (began, began_ns) = self.began.unwrap_or_default();
        let since_ns = self.furthest_ns.saturating_sub(began_ns);
        number < began
            || [true, false].into_iter().all(|pictures| self.is_there(pictures, since_ns))
    }

    /// Whether pictures, or sound, have come, or are not waited for any longer: `since_ns` after the beginning.
    fn is_there(&self, pictures: bool, since_ns: u64) -> bool {
        let announced = self.announced[usize::from(pictures)];
        let wait = if announced { LATE_START } else { UNKNOWN };
        since_ns >= nanos(wait) || self.tracks.iter().any(|t| t.of_pictures() == pictures)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Adds one part to its track's share.
fn take<'a>(shares: &'a mut Vec<Share>, name: &str, object: &ObjectReader) -> Option<&'a Share> {
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
    Some(share)
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
