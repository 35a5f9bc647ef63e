//! One promise of the spine a test; the random model in `model.rs` checks them together.

use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::*;

#[allow(clippy::disallowed_methods)]
fn start() -> Instant {
    Instant::now()
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn path() -> Path {
    Path::new(["default", "input"]).unwrap()
}

fn name(name: &'static str) -> TrackName {
    TrackName::from_static(name)
}

fn route() -> Route {
    Route::local(NodeId(1), 1)
}

fn header(id: u64, now: Instant) -> Header {
    Header::new(id, now)
}

fn ready<T>(poll: Poll<T>) -> T {
    match poll {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("expected something to be ready"),
    }
}

#[test]
fn an_object_can_be_read_while_it_is_written() {
    let now = start();
    let origin = Origin::new(Limits::default());
    let broadcast = origin.publish(&path(), route(), Takeover::Refuse).unwrap();
    let track = broadcast.track(name("video"), TrackInfo::default()).unwrap();
    let mut cursor =
        track.consume().subscribe(Filter::from(Start::NewestGroup), Policy::EVERYTHING);

    let group = track.next_group(now).unwrap();
    let subgroup = group.subgroup(0, now).unwrap();
    let mut writer = subgroup.begin(header(0, now), Some(6)).unwrap().unwrap();
    writer.write(origin.budget().payload(&b"abc"[..])).unwrap();

    assert!(matches!(ready(cursor.poll(&cx(), now)), Event::Group(0)));
    let Event::Subgroup(mut reader) = ready(cursor.poll(&cx(), now)) else { panic!() };
    let SubgroupEvent::Object(mut object) = ready(reader.poll(&cx())) else { panic!() };
    assert_eq!(ready(object.poll_chunk(&cx())), Chunk::Data(origin.budget().payload(&b"abc"[..])));
    assert!(object.poll_chunk(&cx()).is_pending());
    writer.write(origin.budget().payload(&b"def"[..])).unwrap();
    writer.finish().unwrap();
    assert_eq!(ready(object.poll_chunk(&cx())), Chunk::Data(origin.budget().payload(&b"def"[..])));
    assert_eq!(ready(object.poll_chunk(&cx())), Chunk::End);
}

#[test]
fn two_writers_of_one_object_make_one_and_the_longest_prefix_wins() {
    let now = start();
    let origin = Origin::new(Limits::default());
    let broadcast = origin.publish(&path(), route(), Takeover::Refuse).unwrap();
    let track = broadcast.track(name("video"), TrackInfo::default()).unwrap();
    let other = broadcast.track(name("video"), TrackInfo::default()).unwrap();
    let payload = |bytes: &'static [u8]| origin.budget().payload(bytes);

    let a = track.group(7, now).unwrap().subgroup(0, now).unwrap();
    let b = other.group(7, now).unwrap().subgroup(0, now).unwrap();
    let mut first = a.begin(header(0, now), None).unwrap().unwrap();
    let mut second = b.begin(header(0, now), None).unwrap().unwrap();
    first.write(payload(b"abcd")).unwrap();
    second.write(payload(b"abcdef")).unwrap();
    drop(first);
    drop(a);
    second.write(payload(b"gh")).unwrap();
    second.finish().unwrap();
    b.fin();

    let object = track.consume().object(Location { group: 7, object: 0 }).unwrap();
    let whole: Vec<u8> = object.whole().unwrap().iter().flat_map(|c| c.to_vec()).collect();
    assert_eq!(whole, b"abcdefgh");
}

#[test]
fn a_parked_broadcast_goes_on_under_the_same_ids_and_the_old_publisher_is_shut_out() {
    let now = start();
    let origin = Origin::new(Limits::default());
    let mut news = origin.announcements(Path::root());
    let broadcast = origin.publish(&path(), route(), Takeover::Refuse).unwrap();
    let track = broadcast.track(name("video"), TrackInfo::default()).unwrap();
    let derived = broadcast.consume().derive(name("video.cmaf"), TrackInfo::default()).unwrap();
    track.next_group(now).unwrap().subgroup(0, now).unwrap().fin();
    let consumer = broadcast.consume();
    broadcast.park(now + Duration::from_secs(15));
    assert_eq!(consumer.liveness(), broadcast::Liveness::Parked);
    assert_eq!(track.next_group(now).err(), Some(WriteError::Closed(Close::SourceLost)));
    assert!(derived.next_group(now).is_ok(), "derived tracks outlive their source");

    let again = origin.publish(&path(), route(), Takeover::Refuse).unwrap();
    let track = again.track(name("video"), TrackInfo::default()).unwrap();
    assert_eq!(track.next_group(now).unwrap().id(), 1);
    assert!(matches!(ready(news.poll(&cx())), Announce::Live(c) if c == consumer));

    let replaced = origin.publish(&path(), route(), Takeover::Replace).unwrap();
    assert_eq!(again.closed(), Some(Close::Replaced));
    drop(again);
    assert_eq!(consumer.liveness(), broadcast::Liveness::Live, "the loser can't end it");
    replaced.park(now + Duration::from_secs(15));
    assert_eq!(origin.expire(now), Some(now + Duration::from_secs(15)));
    origin.expire(now + Duration::from_secs(15));
    assert_eq!(consumer.liveness(), broadcast::Liveness::Ended(Close::SourceLost));
    assert!(origin.get(&path()).is_none());
    let packaged = consumer.get(&name("video.cmaf")).unwrap();
    assert!(derived.next_group(now).is_ok(), "the last of it is still written");
    assert_eq!(packaged.ended(), None);
    drop(derived);
    assert_eq!(packaged.ended(), Some(Close::Ended));
}

#[test]
fn writers_pay_with_their_oldest_groups_and_keep_the_newest() {
    let now = start();
    let origin = Origin::new(Limits { cache_bytes: 20_000, ..Limits::default() });
    let broadcast = origin.publish(&path(), route(), Takeover::Refuse).unwrap();
    let track = broadcast.track(name("video"), TrackInfo::default()).unwrap();
    let pinned = TrackInfo { pinned: true, ..TrackInfo::default() };
    let init = broadcast.track(name("init"), pinned).unwrap();
    let write = |track: &track::Producer| {
        let subgroup = track.next_group(now).unwrap().subgroup(0, now).unwrap();
        subgroup.write(header(0, now), vec![origin.budget().payload(vec![1; 3_000])]).unwrap();
        subgroup.fin();
    };
    write(&init);
    for _ in 0..100 {
        write(&track);
    }
    assert!(origin.budget().used() <= 20_000 + 4_000, "{:?}", origin.budget());
    assert!(track.consume().object(Location { group: 99, object: 0 }).is_ok());
    assert!(track.consume().object(Location { group: 0, object: 0 }).is_err());
    assert!(init.consume().object(Location { group: 0, object: 0 }).is_ok());
    drop((track, init));
    broadcast.end(Close::Ended);
    origin.expire(now);
    assert_eq!(origin.budget().used(), 0);
}

#[test]
fn a_slow_reader_skips_to_the_newest_group_that_decoding_can_start_with() {
    let now = start();
    let origin = Origin::new(Limits::default());
    let broadcast = origin.publish(&path(), route(), Takeover::Refuse).unwrap();
    let track = broadcast.track(name("video"), TrackInfo::default()).unwrap();
    let policy = Policy { latency_max: Duration::from_secs(2), ..Policy::EVERYTHING };
    let mut cursor = track.consume().subscribe(Filter::from(Start::NewestGroup), policy);
    for id in 0..5u64 {
        let at = now + Duration::from_secs(id);
        let subgroup = track.group(id, at).unwrap().subgroup(0, at).unwrap();
        let timing = Timing { decode: 0, present: 0, duration: 1, sync: id != 4 };
        let header = Header { timing: Some(timing), ..header(0, at) };
        subgroup.write(header, vec![]).unwrap();
        subgroup.fin();
    }
    let late = now + Duration::from_secs(4);
    let event = ready(cursor.poll(&cx(), late));
    assert!(
        matches!(event, Event::Skipped { from: 0, to: 2, why: Close::TooFarBehind }),
        "{event:?}"
    );
    assert!(matches!(ready(cursor.poll(&cx(), late)), Event::Group(3)));
}

#[test]
fn one_answer_serves_all_who_wait() {
    let now = start();
    let origin = Origin::new(Limits::default());
    let mut dear = origin.responder(Path::root(), 10);
    let mut cheap = origin.responder(Path::root(), 1);
    let deadline = now + Duration::from_secs(5);
    let mut first = Box::pin(origin.lookup(&path(), deadline));
    let mut second = Box::pin(origin.lookup(&path(), deadline));
    let mut context = cx();
    assert!(first.as_mut().poll(&mut context).is_pending());
    let Request::Broadcast(request) = ready(cheap.poll(&cx())) else { panic!() };
    assert!(cheap.poll(&cx()).is_pending(), "two who ask are one request");
    drop(request);
    let Request::Broadcast(request) = ready(dear.poll(&cx())) else { panic!() };
    let broadcast = origin.publish(request.path(), route(), Takeover::Refuse).unwrap();
    drop(request);
    assert_eq!(ready(first.as_mut().poll(&mut context)), Ok(broadcast.consume()));
    assert_eq!(ready(second.as_mut().poll(&mut context)), Ok(broadcast.consume()));

    let mut nobody = Box::pin(broadcast.consume().track(&name("x"), deadline));
    drop(ready(cheap.poll(&cx())));
    drop(ready(dear.poll(&cx())));
    assert_eq!(ready(nobody.as_mut().poll(&mut context)).err(), Some(LookupError::NotFound));
}

#[test]
fn a_fetch_says_what_it_does_not_know() {
    let now = start();
    let origin = Origin::new(Limits::default());
    let mut past = origin.responder(Path::root(), 1);
    let broadcast = origin.publish(&path(), route(), Takeover::Refuse).unwrap();
    let track = broadcast.track(name("video"), TrackInfo::default()).unwrap();
    for id in [5u64, 6] {
        let group = track.group(id, now).unwrap();
        let subgroup = group.subgroup(0, now).unwrap();
        subgroup.write(header(0, now), vec![origin.budget().payload(vec![9])]).unwrap();
        subgroup.fin();
        group.end(Some(0), now);
    }
    track.gap(0..=1);
    let range = Location { group: 0, object: 0 }..=Location { group: 99, object: 0 };
    let mut fetch = track.consume().fetch(range, Order::Ascending, now + Duration::from_secs(1));
    let event = ready(fetch.poll(&cx(), now));
    assert!(
        matches!(event, FetchEvent::Gap { from: 0, to: 1, why: Absence::Missing }),
        "{event:?}"
    );
    assert!(fetch.poll(&cx(), now).is_pending());
    let Request::Fetch(request) = ready(past.poll(&cx())) else { panic!() };
    assert_eq!((request.range().start().group, request.range().end().group), (2, 4));
    let mut answer = request.accept();
    answer.object(2, header(0, now), vec![origin.budget().payload(vec![2])]);
    drop(answer);
    let locations: Vec<String> = std::iter::from_fn(|| match ready(fetch.poll(&cx(), now)) {
        FetchEvent::Object(o) => Some(format!("{}", o.location().group)),
        FetchEvent::Gap { from, to, why } => Some(format!("{from}-{to} {why:?}")),
        FetchEvent::End => None,
    })
    .collect();
    assert_eq!(locations, ["2", "2-4 Unknown", "5", "6"]);
}
