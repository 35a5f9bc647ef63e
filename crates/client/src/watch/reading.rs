//! A track in one session: its objects, group by group in the order in which those began. A group may have several subgroups, whose
//! ids interleave (draft-18 §2.2, §2.3): they are read side by side, the lowest id first of those that have begun to come.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use io_moq::client::{Denial, Handle, Remote, Subscribed};
use moqt::{Filter, Location, Namespace};
use spine::{
    Chunk, Cursor, Event, Header, ObjectReader, Payload, Policy, Start, SubgroupEvent,
    SubgroupReader,
};

use crate::limits::SUBGROUPS_AHEAD_MAX;

/// What is read next.
#[derive(Debug)]
pub(super) enum Read {
    /// A whole object.
    Object { group: u64, header: Header, payload: Vec<Payload> },
    /// A group of which something was read was cut: how much of it is missing, if anything, is not known.
    Cut,
    /// A group, or more of them, of which nothing comes.
    Skipped,
    /// The track is over.
    End,
}

/// A track in one session.
pub(super) struct Reading {
    pub(super) session: u64,
    pub(super) subscribed: Subscribed,
    groups: Groups,
    /// Looked at, and not handed out.
    first: Option<Read>,
    /// What is subscribed to is kept in it.
    _remote: Remote,
}

impl Reading {
    pub(super) async fn begin(
        (session, handle): (u64, Handle),
        namespace: Namespace,
        name: &str,
    ) -> Result<Self, Denial> {
        let remote = handle.remote(namespace).map_err(|_| Denial::Misuse)?;
        // From the group that is under way: it may have been written long ago.
        let subscribed = remote.subscribe(name, Filter::From(Location::default())).await?;
        let start = Start::At(spine::Location { group: 0, object: 0 });
        let cursor = subscribed.track.subscribe(spine::Filter::from(start), Policy::EVERYTHING);
        Ok(Self { session, subscribed, groups: Groups::new(cursor), first: None, _remote: remote })
    }

    pub(super) async fn next(&mut self) -> Read {
        match self.first.take() {
            Some(first) => first,
            None => poll_fn(|cx| self.groups.poll(cx, Instant::now())).await,
        }
    }

    /// It comes again.
    pub(super) fn put_back(&mut self, read: Read) {
        self.first = Some(read);
    }

    /// Looks at the first object, or at the end.
    pub(super) async fn look(&mut self) {
        while self.first.is_none() {
            self.first = match poll_fn(|cx| self.groups.poll(cx, Instant::now())).await {
                // Before anything is taken from here nothing is missing.
                Read::Cut | Read::Skipped => None,
                first => Some(first),
            };
        }
    }

    pub(super) fn was_looked_at(&self) -> bool {
        self.first.is_some()
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.first, Some(Read::End))
    }

    /// The first object: its group, and its id.
    pub(super) fn first(&self) -> Option<(u64, u64)> {
        match &self.first {
            Some(Read::Object { group, header, .. }) => Some((*group, header.id)),
            _ => None,
        }
    }

    /// The newest group that is known here.
    pub(super) fn newest(&self) -> Option<u64> {
        self.subscribed.track.largest().map(|largest| largest.group)
    }
}

/// Groups as they began.
struct Groups {
    cursor: Cursor,
    is_over: bool,
    ahead: VecDeque<Ahead>,
    /// The group that is read.
    group: Option<u64>,
    /// Something was read of it.
    begun: bool,
    /// Which runs of it were read: of which subgroup, and the first object of each.
    runs: VecDeque<(u64, u64)>,
}

enum Ahead {
    Run(Run),
    Skipped,
}

/// A subgroup, or what follows in it on a cut.
struct Run {
    reader: SubgroupReader,
    first: Option<u64>,
    /// The last object that was read.
    last: Option<u64>,
    object: Option<(ObjectReader, Vec<Payload>)>,
}

/// How a run ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    Cut,
}

impl Groups {
    fn new(cursor: Cursor) -> Self {
        let (ahead, runs) = Default::default();
        Self { cursor, is_over: false, ahead, group: None, begun: false, runs }
    }

    fn poll(&mut self, cx: &Context<'_>, now: Instant) -> Poll<Read> {
        loop {
            self.look_ahead(cx, now);
            let group = match self.ahead.front() {
                Some(Ahead::Run(run)) => run.reader.group(),
                Some(Ahead::Skipped) => {
                    self.ahead.pop_front();
                    return Poll::Ready(Read::Skipped);
                }
                None if self.is_over => return Poll::Ready(Read::End),
                None => return Poll::Pending,
            };
            if self.group != Some(group) {
                (self.group, self.begun) = (Some(group), false);
                self.runs.clear();
            }
            let read = match self.poll_group(group, cx) {
                Poll::Ready(read) => read,
                Poll::Pending if self.ahead.len() < SUBGROUPS_AHEAD_MAX => return Poll::Pending,
                // Who has so many behind it is not waited for.
                Poll::Pending => self.leave(0, End::Cut),
            };
            if let Some(read) = read {
                return Poll::Ready(read);
            }
        }
    }

    fn look_ahead(&mut self, cx: &Context<'_>, now: Instant) {
        while !self.is_over && self.ahead.len() < SUBGROUPS_AHEAD_MAX {
            match self.cursor.poll(cx, now) {
                Poll::Ready(Event::Subgroup(reader)) => {
                    let run = Run { reader, first: None, last: None, object: None };
                    self.ahead.push_back(Ahead::Run(run));
                }
                Poll::Ready(Event::Skipped { .. }) => self.ahead.push_back(Ahead::Skipped),
                Poll::Ready(Event::End(_)) => self.is_over = true,
                Poll::Ready(Event::Group(_) | Event::GroupEnd { .. } | Event::Datagram(_)) => {}
                Poll::Pending => return,
            }
        }
    }

    /// What comes of a group; ready without anything if one of its runs has ended.
    fn poll_group(&mut self, group: u64, cx: &Context<'_>) -> Poll<Option<Read>> {
        let mut lowest: Option<(u64, usize)> = None;
        let mut over: Option<(usize, End)> = None;
        for (at, run) in self.ahead.iter_mut().enumerate().filter_map(Ahead::run) {
            if run.reader.group() != group {
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
        let lowest = lowest.and_then(|(_, at)| self.ahead.get_mut(at));
        let Some(Ahead::Run(run)) = lowest else { return Poll::Pending };
        let object = ready!(run.poll_object(cx));
        self.begun |= object.is_some();
        Poll::Ready(object.map(|(header, payload)| Read::Object { group, header, payload }))
    }

    /// A run has ended.
    fn leave(&mut self, at: usize, end: End) -> Option<Read> {
        let Some(Ahead::Run(run)) = self.ahead.remove(at) else { return None };
        let subgroup = run.reader.id();
        if let Some(first) = run.first {
            self.runs.push_back((subgroup, first));
            if self.runs.len() > SUBGROUPS_AHEAD_MAX {
                self.runs.pop_front();
            }
        }
        let mut others = self.ahead.iter().filter_map(|ahead| match ahead {
            Ahead::Run(other) if Some(other.reader.group()) == self.group => {
                Some((other.reader.id(), other.first?))
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

impl Ahead {
    fn run((at, ahead): (usize, &mut Self)) -> Option<(usize, &mut Run)> {
        match ahead {
            Self::Run(run) => Some((at, run)),
            Self::Skipped => None,
        }
    }
}

impl Run {
    /// The id of its next object, which may still be arriving; or how it ends.
    fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<u64, End>> {
        if let Some((object, _)) = &self.object {
            return Poll::Ready(Ok(object.header().id));
        }
        Poll::Ready(match ready!(self.reader.poll(cx)) {
            SubgroupEvent::Object(object) => {
                let id = object.header().id;
                self.first.get_or_insert(id);
                self.object = Some((object, Vec::new()));
                Ok(id)
            }
            SubgroupEvent::Fin => Err(End::Whole),
            SubgroupEvent::Reset(_) => Err(End::Cut),
        })
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
mod tests {
    use std::task::Waker;

    use spine::group::SubgroupProducer;
    use spine::{NodeId, Origin, Path, ResetCode, Route, Takeover, TrackInfo, TrackName, track};

    use super::*;

    struct Rig {
        track: track::Producer,
        groups: Groups,
        _broadcast: spine::broadcast::Producer,
    }

    impl Rig {
        fn new() -> Self {
            let origin = Origin::new(spine::Limits::default());
            let (path, route) = (Path::new(["one"]).unwrap(), Route::local(NodeId(0), 0));
            let broadcast = origin.publish(&path, route, Takeover::Refuse).unwrap();
            let name = TrackName::from_static("video");
            let track = broadcast.track(name, TrackInfo::default()).unwrap();
            let filter = spine::Filter::from(Start::At(spine::Location { group: 0, object: 0 }));
            let cursor = track.consume().subscribe(filter, Policy::EVERYTHING);
            Self { track, groups: Groups::new(cursor), _broadcast: broadcast }
        }

        fn subgroup(&self, group: u64, id: u64) -> SubgroupProducer {
            self.track.group(group, Instant::now()).unwrap().subgroup(id, Instant::now()).unwrap()
        }

        fn object(&self, to: &SubgroupProducer, id: u64) {
            let payload = self.track.budget().payload(&b"x"[..]);
            to.write(Header::new(id, Instant::now()), vec![payload]).unwrap();
        }

        /// All that is read by now, in words.
        fn read(&mut self) -> String {
            let mut read = Vec::new();
            let cx = Context::from_waker(Waker::noop());
            while let Poll::Ready(next) = self.groups.poll(&cx, Instant::now()) {
                read.push(match next {
                    Read::Object { group, header, .. } => format!("{group}.{}", header.id),
                    Read::Cut => "cut".to_owned(),
                    Read::Skipped => "skipped".to_owned(),
                    Read::End => return read.join(" ") + " end",
                });
            }
            read.join(" ")
        }
    }

    #[test]
    fn draft18_s2_2_subgroups_are_read_side_by_side() {
        let mut rig = Rig::new();
        let [even, odd] = [0, 1].map(|id| rig.subgroup(7, id));
        (0..3).for_each(|n| rig.object(&even, 2 * n));
        (0..2).for_each(|n| rig.object(&odd, 2 * n + 1));
        assert_eq!(rig.read(), "7.0 7.1 7.2 7.3 7.4");
        // What has begun to come is waited for.
        let begun = even.begin(Header::new(6, Instant::now()), Some(1)).unwrap();
        rig.object(&odd, 7);
        assert_eq!(rig.read(), "");
        let mut begun = begun.unwrap();
        begun.write(rig.track.budget().payload(&b"x"[..])).unwrap();
        begun.finish().unwrap();
        assert_eq!(rig.read(), "7.6 7.7");
        // And so is the end of the group, by the next one.
        let next = rig.subgroup(8, 0);
        rig.object(&next, 0);
        even.fin();
        assert_eq!(rig.read(), "");
        rig.object(&odd, 9);
        odd.fin();
        assert_eq!(rig.read(), "7.9 8.0");
        next.fin();
        rig.track.end(spine::Close::Ended);
        assert_eq!(rig.read(), " end");
    }

    #[test]
    fn what_is_cut_is_told_unless_it_went_on() {
        for (first, then, expect) in [
            // Something of the group was read.
            (&[0, 1][..], &[][..], "7.0 7.1 cut"),
            (&[0, 1], &[3, 4], "7.0 7.1 cut 7.3 7.4"),
            // It goes on where it was cut.
            (&[0, 1], &[2, 3], "7.0 7.1 7.2 7.3"),
            // Nothing was read.
            (&[], &[], "skipped"),
        ] {
            let mut rig = Rig::new();
            let cut = rig.subgroup(7, 0);
            first.iter().for_each(|id| rig.object(&cut, *id));
            cut.reset(ResetCode::CANCELLED);
            if !then.is_empty() {
                let rest = rig.subgroup(7, 0);
                then.iter().for_each(|id| rig.object(&rest, *id));
                rest.fin();
            }
            assert_eq!(rig.read(), expect, "{first:?} {then:?}");
        }
        // A beginning that was fetched has no end of its own; it may come when the rest was read, and there may be no rest.
        for (rest, late, expect) in
            [(2, false, "7.0 7.1 7.2"), (2, true, "7.2 7.0 7.1"), (4, true, "7.4 7.0 7.1 cut")]
        {
            let mut rig = Rig::new();
            let live = rig.subgroup(7, 0);
            rig.object(&live, rest);
            let mut read = if late { rig.read() + " " } else { String::new() };
            let beginning = rig.subgroup(7, 0);
            [0, 1].iter().for_each(|id| rig.object(&beginning, *id));
            live.fin();
            drop(beginning);
            read += &rig.read();
            assert_eq!(read, expect, "{rest} {late}");
        }
    }

    #[test]
    fn a_group_that_does_not_end_is_left_when_many_wait_behind_it() {
        let mut rig = Rig::new();
        let open = rig.subgroup(0, 0);
        rig.object(&open, 0);
        let others = (1..SUBGROUPS_AHEAD_MAX as u64).map(|group| {
            let subgroup = rig.subgroup(group, 0);
            rig.object(&subgroup, 0);
            subgroup.fin();
            format!("{group}.0")
        });
        let others: Vec<_> = others.collect();
        assert_eq!(rig.read(), format!("0.0 cut {}", others.join(" ")));
    }
}
