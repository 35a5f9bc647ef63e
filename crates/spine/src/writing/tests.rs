//! Subgroups that come in parts, and what contradicts what is there.

use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::*;

#[allow(clippy::disallowed_methods)]
fn start() -> Instant {
    Instant::now()
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

struct Rig {
    origin: Origin,
    _broadcast: broadcast::Producer,
    track: track::Producer,
    now: Instant,
}

impl Rig {
    fn new() -> Self {
        let (origin, now) = (Origin::new(Limits::default()), start());
        let path = Path::new(["open", "room"]).unwrap();
        let route = Route::local(NodeId(1), 1);
        let broadcast = origin.publish(&path, route, Takeover::Refuse).unwrap();
        let name = TrackName::from_static("chat");
        let track = broadcast.track(name, TrackInfo::default()).unwrap();
        Self { origin, _broadcast: broadcast, track, now }
    }

    /// One more writer of a subgroup of group 7.
    fn writer(&self, subgroup: u64) -> group::SubgroupProducer {
        self.track.group(7, self.now).unwrap().subgroup(subgroup, self.now).unwrap()
    }

    fn write(&self, to: &group::SubgroupProducer, id: u64) {
        to.write(Header::new(id, self.now), vec![self.payload("x")]).unwrap();
    }

    fn payload(&self, text: &'static str) -> Payload {
        self.origin.budget().payload(text.as_bytes())
    }

    /// What a reader of everything sees: a line for each part of the subgroup.
    fn seen(&self) -> Vec<String> {
        let start = Start::At(Location { group: 0, object: 0 });
        let mut cursor = self.track.consume().subscribe(Filter::from(start), Policy::EVERYTHING);
        let mut seen = Vec::new();
        while let Poll::Ready(event) = cursor.poll(&cx(), self.now) {
            let Event::Subgroup(mut reader) = event else { continue };
            let mut line = Vec::new();
            loop {
                match reader.poll(&cx()) {
                    Poll::Ready(SubgroupEvent::Object(o)) => line.push(o.header().id.to_string()),
                    Poll::Ready(SubgroupEvent::Fin) => line.push("fin".to_owned()),
                    Poll::Ready(SubgroupEvent::Reset(_)) => line.push("cut".to_owned()),
                    Poll::Pending => line.push("...".to_owned()),
                }
                if line.last().is_some_and(|last| last.parse::<u64>().is_err()) {
                    break;
                }
            }
            seen.push(line.join(" "));
        }
        seen
    }

    /// Whether a fetch of the group says that it knows all of it.
    fn is_known(&self) -> bool {
        let at = |object| Location { group: 7, object };
        let deadline = self.now;
        let mut fetch = self.track.consume().fetch(at(1)..=at(99), Order::Ascending, deadline);
        loop {
            match fetch.poll(&cx(), self.now) {
                Poll::Ready(FetchEvent::Object(_)) => {}
                Poll::Ready(FetchEvent::End) => return true,
                Poll::Ready(
                    FetchEvent::Gap { from: 7, to: 7, why: Absence::Unknown }
                    | FetchEvent::Hole { why: Absence::Unknown, .. },
                ) => return false,
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn what_was_cut_goes_on_behind_the_cut() {
    for (behind, known) in [(3, true), (5, false)] {
        let rig = Rig::new();
        let first = rig.writer(0);
        rig.write(&first, 1);
        rig.write(&first, 2);
        first.reset(ResetCode(9));
        let second = rig.writer(0);
        // What is there does not come twice.
        rig.write(&second, 2);
        let third = rig.writer(0);
        rig.write(&second, behind);
        rig.write(&third, behind);
        rig.write(&third, 9);
        drop(second);
        third.fin();
        rig.track.group(7, rig.now).unwrap().end(Some(9), rig.now);
        assert_eq!(rig.seen(), ["1 2 cut".to_owned(), format!("{behind} 9 fin")]);
        assert_eq!(rig.is_known(), known, "{behind}");
    }
}

#[test]
fn who_is_behind_or_ahead_brings_a_part_of_its_own() {
    let rig = Rig::new();
    let (early, late) = (rig.writer(0), rig.writer(0));
    rig.write(&late, 5);
    // Behind what the other one has brought.
    rig.write(&early, 3);
    rig.write(&early, 4);
    rig.write(&early, 5);
    rig.write(&late, 6);
    rig.write(&early, 6);
    // Not known to be the next one: another one has brought 6 here.
    rig.write(&early, 9);
    late.fin();
    drop(early);
    assert_eq!(rig.seen(), ["5 6 fin", "3 4 cut", "9 cut"]);
}

/// As a relay fetches what was before it was asked, while what is live comes already: the beginning has no end of its own.
#[test]
fn a_beginning_that_comes_behind_the_rest_is_all_that_was_missing() {
    for (last, known) in [(2, true), (1, false)] {
        let rig = Rig::new();
        let live = rig.writer(0);
        // There are no 4 and 5.
        rig.write(&live, 3);
        rig.write(&live, 6);
        let beginning = rig.writer(0);
        (1..=last).for_each(|id| rig.write(&beginning, id));
        live.fin();
        rig.track.group(7, rig.now).unwrap().end(Some(6), rig.now);
        assert!(!rig.is_known(), "it may go on");
        drop(beginning);
        assert_eq!(rig.is_known(), known, "{last}");
    }
}

#[test]
fn an_object_that_was_cut_in_the_middle_comes_again() {
    let rig = Rig::new();
    let first = rig.writer(0);
    let mut half = first.begin(Header::new(0, rig.now), Some(2)).unwrap().unwrap();
    half.write(rig.payload("a")).unwrap();
    drop(half);
    first.reset(ResetCode(9));
    let second = rig.writer(0);
    second.write(Header::new(0, rig.now), vec![rig.payload("ab")]).unwrap();
    second.fin();
    assert_eq!(rig.seen(), ["0 cut", "0 fin"]);
    let object = rig.track.consume().object(Location { group: 7, object: 0 }).unwrap();
    assert_eq!(object.whole().unwrap().len(), 1);
}

type Step = fn(&Rig, &track::Producer) -> Result<(), WriteError>;

type Begun = Result<group::SubgroupProducer, WriteError>;

fn put(rig: &Rig, track: &track::Producer, (group, subgroup): (u64, u64), header: Header) -> Begun {
    let to = track.group(group, rig.now)?.subgroup(subgroup, rig.now)?;
    to.write(header, vec![rig.payload("x")])?;
    Ok(to)
}

/// What stands before, and what contradicts it.
fn contradictions() -> Vec<(&'static str, Step, Step)> {
    fn object(rig: &Rig, track: &track::Producer, at: (u64, u64, u64)) -> Begun {
        put(rig, track, (at.0, at.1), Header::new(at.2, rig.now))
    }
    vec![
        (
            "another payload",
            |rig, t| object(rig, t, (7, 0, 0)).map(drop),
            |rig, t| {
                let to = t.group(7, rig.now)?.subgroup(0, rig.now)?;
                let mut object = to.begin(Header::new(0, rig.now), Some(1))?.unwrap();
                object.write(rig.payload("y"))
            },
        ),
        (
            "another length",
            |rig, t| object(rig, t, (7, 0, 0)).map(drop),
            |rig, t| {
                let to = t.group(7, rig.now)?.subgroup(0, rig.now)?;
                to.begin(Header::new(0, rig.now), Some(2)).map(drop)
            },
        ),
        (
            "another subgroup",
            |rig, t| object(rig, t, (7, 0, 0)).map(drop),
            |rig, t| object(rig, t, (7, 1, 0)).map(drop),
        ),
        (
            "another way",
            |rig, t| object(rig, t, (7, 0, 0)).map(drop),
            |rig, t| t.group(7, rig.now)?.datagram(Header::new(0, rig.now), rig.payload("x")),
        ),
        (
            "another priority of the object",
            |rig, t| object(rig, t, (7, 0, 0)).map(drop),
            |rig, t| {
                let header = Header { priority: 3, ..Header::new(0, rig.now) };
                put(rig, t, (7, 0), header).map(drop)
            },
        ),
        (
            "another priority in the subgroup",
            |rig, t| object(rig, t, (7, 0, 0)).map(drop),
            |rig, t| {
                let header = Header { priority: 3, ..Header::new(1, rig.now) };
                put(rig, t, (7, 0), header).map(drop)
            },
        ),
        (
            "behind the end of its subgroup",
            |rig, t| object(rig, t, (7, 0, 0))?.try_fin(),
            |rig, t| object(rig, t, (7, 0, 1)).map(drop),
        ),
        (
            "another end of the subgroup",
            |rig, t| {
                let to = object(rig, t, (7, 0, 0))?;
                to.write(Header::new(1, rig.now), vec![rig.payload("x")])?;
                to.try_fin()
            },
            |rig, t| object(rig, t, (7, 0, 0))?.try_fin(),
        ),
        (
            "behind the end of its group",
            |rig, t| t.group(7, rig.now)?.try_end(Some(4), rig.now),
            |rig, t| object(rig, t, (7, 1, 5)).map(drop),
        ),
        (
            "an end of the group before what it has",
            |rig, t| object(rig, t, (7, 1, 5)).map(drop),
            |rig, t| t.group(7, rig.now)?.try_end(Some(4), rig.now),
        ),
        (
            "behind the end of the track",
            |_, t| t.end_at(Location { group: 7, object: 2 }),
            |rig, t| object(rig, t, (7, 0, 2)).map(drop),
        ),
        (
            "an end of the track before what it has",
            |rig, t| object(rig, t, (7, 0, 2)).map(drop),
            |_, t| t.end_at(Location { group: 7, object: 2 }),
        ),
        (
            "in a gap of objects",
            |rig, t| t.group(7, rig.now)?.lacks(5, 2, 0),
            |rig, t| object(rig, t, (7, 0, 3)).map(drop),
        ),
        (
            "a gap over an object",
            |rig, t| object(rig, t, (7, 0, 4)).map(drop),
            |rig, t| t.group(7, rig.now)?.lacks(5, 2, 0),
        ),
        (
            "in a gap of groups",
            |rig, t| t.group(7, rig.now)?.lacks(0, 0, 2),
            |rig, t| object(rig, t, (5, 0, 0)).map(drop),
        ),
        (
            "a gap over a group",
            |rig, t| object(rig, t, (5, 0, 0)).map(drop),
            |rig, t| t.group(7, rig.now)?.lacks(0, 0, 2),
        ),
        (
            "two gaps before one group",
            |rig, t| t.group(7, rig.now)?.lacks(0, 0, 2),
            |rig, t| t.group(7, rig.now)?.lacks(1, 0, 3),
        ),
    ]
}

#[test]
fn d13_what_contradicts_what_is_there_is_an_error_and_not_kept() {
    for (what, before, then) in contradictions() {
        let rig = Rig::new();
        let checked = rig.track.clone().checked();
        assert_eq!(before(&rig, &checked), Ok(()), "{what}");
        // The same again contradicts nothing.
        assert_eq!(before(&rig, &checked), Ok(()), "{what}, twice");
        let seen = rig.seen().join(", ");
        let error = then(&rig, &checked);
        assert!(matches!(error, Err(WriteError::Malformed(_))), "{what}: {error:?}");
        let objects = |seen: &str| seen.matches(|c: char| c.is_ascii_digit()).count();
        assert_eq!(
            objects(&rig.seen().join(", ")),
            objects(&seen),
            "{what}: nothing more is there"
        );
    }
}

#[test]
fn d13_who_writes_without_checks_is_dropped_without_a_word() {
    for (what, before, then) in contradictions() {
        let rig = Rig::new();
        assert_eq!(before(&rig, &rig.track), Ok(()), "{what}");
        let error = then(&rig, &rig.track);
        let gap = what.contains("gap");
        assert!(gap || !matches!(error, Err(WriteError::Malformed(_))), "{what}: {error:?}");
    }
}

#[test]
fn d13_the_end_of_a_malformed_track_comes_before_what_is_left_of_it() {
    for (why, first) in [(Close::Ended, "Group(7)"), (Close::Malformed, "End(Malformed)")] {
        let rig = Rig::new();
        let start = Start::At(Location { group: 0, object: 0 });
        let mut cursor = rig.track.consume().subscribe(Filter::from(start), Policy::EVERYTHING);
        rig.write(&rig.writer(0), 0);
        rig.track.end(why);
        let Poll::Ready(event) = cursor.poll(&cx(), rig.now) else { panic!("{why:?}") };
        assert_eq!(format!("{event:?}"), first);
    }
}
