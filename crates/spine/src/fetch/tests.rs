//! Ranges of which memory has a part.

use std::task::Poll;
use std::time::Duration;

use crate::limits::ID_MAX;
use crate::tests::{cx, header, path, ready, route, start, video};
use crate::*;

/// draft-18 §10.12.3: what is not here is no object that does not exist. A group that was followed from its middle on, one of which a
/// stream was lost, and one whose end nobody has said.
#[test]
fn holes_of_groups_are_asked_for_and_what_is_behind_them_comes() {
    let now = start();
    for (answered, expect) in [
        // Where nobody can say, nobody is asked again.
        (None, "?0 1 ?2 3 5 ?6 7 4-4?"),
        (Some(false), "0 ?0 1 ?2 3 5 ?6 7 4-4?"),
        // The second hole, and what is behind it, is one request.
        (Some(true), "0 1 2 3 5 7"),
    ] {
        let (origin, _broadcast, track) = video(Limits::default());
        let mut past = origin.responder(Path::root(), 1);
        let write = |subgroup: &group::SubgroupProducer, id| {
            let payload = origin.budget().payload(vec![id as u8]);
            subgroup.write(header(id, now), vec![payload]).unwrap();
        };
        let group = track.group(4, now).unwrap();
        let (first, other) = (group.subgroup(0, now).unwrap(), group.subgroup(1, now).unwrap());
        write(&first, 1);
        write(&first, 3);
        // 4 does not exist, says who publishes.
        group.lacks(5, 1, 0).unwrap();
        write(&other, 5);
        write(&other, 7);
        drop(other);
        track.saw(Location { group: 9, object: 0 });
        let range = Location { group: 4, object: 0 }..=Location { group: 4, object: 9 };
        let deadline = now + Duration::from_secs(1);
        let mut fetch = track.consume().fetch(range, Order::Ascending, deadline);
        let (mut came, mut requests) = (Vec::new(), 0);
        loop {
            let Poll::Ready(event) = fetch.poll(&cx(), now) else {
                let Request::Fetch(request) = ready(past.poll(&cx())) else { panic!() };
                requests += 1;
                let (at, end) = request.range().into_inner();
                let Some(whole) = answered else { continue };
                let mut answer = request.accept();
                for id in [0, 1, 2, 3, 5, 7]
                    .into_iter()
                    .filter(|id| (at.object..=end.object).contains(id))
                {
                    let payload = origin.budget().payload(vec![id as u8]);
                    answer.object(4, header(id, now), vec![payload]);
                }
                if whole {
                    answer.end();
                }
                continue;
            };
            came.push(match event {
                FetchEvent::Object(object) => format!("{}", object.location().object),
                FetchEvent::Gap { from, to, why: Absence::Unknown } => format!("{from}-{to}?"),
                FetchEvent::Hole { last, why: Absence::Unknown } => format!("?{}", last.object),
                FetchEvent::End => break,
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(came.join(" "), expect, "{answered:?}");
        assert_eq!(requests, if answered == Some(true) { 2 } else { 1 }, "{answered:?}");
    }
}

/// Ids may have holes everywhere, as those of every second datagram: that is no reason to ask a thousand times.
#[test]
fn a_group_of_many_holes_is_asked_for_twice_at_most() {
    let (now, count) = (start(), 1_000);
    let (origin, _broadcast, track) = video(Limits::default());
    let mut past = origin.responder(Path::root(), 1);
    let group = track.group(4, now).unwrap();
    let payload = || origin.budget().payload(vec![1]);
    for id in 0..count {
        group.datagram(header(2 * id + 1, now), payload()).unwrap();
    }
    let range = Location { group: 4, object: 0 }..=Location { group: 4, object: 2 * count };
    let mut fetch = track.consume().fetch(range, Order::Ascending, now + Duration::from_secs(1));
    let (mut came, mut requests) = (Vec::new(), 0);
    loop {
        match fetch.poll(&cx(), now) {
            Poll::Ready(FetchEvent::Object(object)) => came.push(object.location().object),
            Poll::Ready(FetchEvent::End) => break,
            Poll::Ready(other) => panic!("{other:?}"),
            Poll::Pending => {
                let Poll::Ready(Request::Fetch(request)) = past.poll(&cx()) else { panic!() };
                requests += 1;
                let (at, end) = request.range().into_inner();
                let mut answer = request.accept();
                for id in (0..count)
                    .map(|id| 2 * id + 1)
                    .filter(|id| *id >= at.object && *id <= end.object)
                {
                    answer.object(4, header(id, now), vec![payload()]);
                }
                answer.end();
            }
        }
    }
    assert!(came.into_iter().eq((0..count).map(|id| 2 * id + 1)));
    assert_eq!(requests, 2);
}

/// A publisher may answer with an id that has no next.
#[test]
fn the_last_of_all_ids_ends_its_group() {
    let now = start();
    let (origin, _broadcast, track) = video(Limits::default());
    let mut past = origin.responder(Path::root(), 1);
    track.saw(Location { group: 9, object: 0 });
    let range = Location { group: 4, object: 0 }..=Location { group: 5, object: u64::MAX };
    let mut fetch = track.consume().fetch(range, Order::Ascending, now + Duration::from_secs(1));
    assert!(fetch.poll(&cx(), now).is_pending());
    let Request::Fetch(request) = ready(past.poll(&cx())) else { panic!() };
    let mut answer = request.accept();
    for (group, id) in [(4, u64::MAX), (5, 0)] {
        answer.object(group, header(id, now), vec![origin.budget().payload(vec![1])]);
    }
    answer.end();
    let mut came = Vec::new();
    while let FetchEvent::Object(object) = ready(fetch.poll(&cx(), now)) {
        came.push((object.location().group, object.location().object));
    }
    assert_eq!(came, [(4, u64::MAX), (5, 0)]);
}

/// A peer may say that any object is the largest one.
#[test]
fn there_is_always_a_next_object() {
    let now = start();
    let far = Location { group: u64::MAX, object: u64::MAX };
    for said in [false, true] {
        let origin = Origin::new(Limits::default());
        let broadcast = origin.publish(&path(), route(), Takeover::Refuse).unwrap();
        let info = TrackInfo { largest: Some(far).filter(|_| !said), ..TrackInfo::default() };
        let track = broadcast.track(TrackName::from_static("video"), info).unwrap();
        if said {
            track.saw(far);
        }
        let reader = track.consume();
        assert_eq!(reader.largest(), Some(Location { group: ID_MAX, object: ID_MAX }));
        for (start, expect) in [
            (Start::NextGroup, (u64::MAX, 0)),
            (Start::NextObject, (ID_MAX, u64::MAX)),
            (Start::NewestGroup, (ID_MAX, 0)),
        ] {
            let cursor = reader.subscribe(Filter::from(start), Policy::EVERYTHING);
            assert_eq!((cursor.from().group, cursor.from().object), expect, "{start:?}");
        }
        assert!(track.next_group(now).is_err(), "there is no group behind it");
    }
}

#[test]
fn a_responder_knows_whether_somebody_still_waits() {
    let now = start();
    let (origin, _broadcast, track) = video(Limits::default());
    let mut past = origin.responder(Path::root(), 1);
    track.saw(Location { group: 9, object: 0 });
    let fetch = || {
        let range = Location { group: 4, object: 0 }..=Location { group: 4, object: 9 };
        let deadline = now + Duration::from_secs(1);
        let mut fetch = track.consume().fetch(range, Order::Ascending, deadline);
        assert!(fetch.poll(&cx(), now).is_pending());
        fetch
    };
    let (one, two) = (fetch(), fetch());
    let Request::Fetch(request) = ready(past.poll(&cx())) else { panic!() };
    assert!(request.is_wanted());
    drop(one);
    assert!(request.is_wanted());
    drop(two);
    assert!(!request.is_wanted());
}

/// An answer that its readers leave lying is given up by who brings it: they have what there is of it, and ask anew for the rest.
#[test]
fn the_rest_of_an_answer_that_was_left_off_is_asked_for_by_who_reads_on() {
    for order in [Order::Ascending, Order::Descending] {
        let now = start();
        let (origin, _broadcast, track) = video(Limits::default());
        let mut past = origin.responder(Path::root(), 1);
        track.saw(Location { group: 9, object: 0 });
        let fetch = || {
            let range = Location { group: 4, object: 0 }..=Location { group: 5, object: 1 };
            let mut fetch = track.consume().fetch(range, order, now + Duration::from_secs(1));
            assert!(fetch.poll(&cx(), now).is_pending());
            fetch
        };
        let mut next = |left_off: usize| {
            let Poll::Ready(Request::Fetch(request)) = past.poll(&cx()) else { panic!() };
            let (from, to) = request.range().into_inner();
            let mut all: Vec<Location> = [(4, 0), (4, 1), (5, 0), (5, 1)]
                .map(|(group, object)| Location { group, object })
                .into();
            all.retain(|at| (from..=to).contains(at));
            if order == Order::Descending {
                all.sort_by_key(|at| (std::cmp::Reverse(at.group), at.object));
            }
            let (mut answer, whole) = (request.accept(), left_off >= all.len());
            for at in all.into_iter().take(left_off) {
                let payload = origin.budget().payload(vec![at.object as u8]);
                answer.object(at.group, header(at.object, now), vec![payload]);
            }
            if whole { answer.end() } else { answer.leave_off() }
        };
        let mut one = fetch();
        // Nothing came of it: it is asked for again as it was. Then it comes object by object.
        let mut came = Vec::new();
        for brings in [0, 1, 2, 9, 9] {
            next(brings);
            while let Poll::Ready(event) = one.poll(&cx(), now) {
                match event {
                    FetchEvent::Object(object) => came.push(object.location()),
                    FetchEvent::End => break,
                    other => panic!("{other:?}"),
                }
            }
            if came.len() == 4 {
                break;
            }
        }
        let mut groups = [4, 5];
        if order == Order::Descending {
            groups.reverse();
        }
        let all = groups.map(|group| [0, 1].map(|object| Location { group, object }));
        assert_eq!(came, all.concat(), "{order:?}");
    }
}
