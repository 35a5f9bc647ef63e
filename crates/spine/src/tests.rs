//! One promise of the spine a test; the random model in `model.rs` checks them together.

mod over;

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::limits::LOG_LOOK_MIN;
use crate::wake::lock;
use crate::*;

#[allow(clippy::disallowed_methods)]
pub(crate) fn start() -> Instant {
    Instant::now()
}

pub(crate) fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

pub(crate) fn path() -> Path {
    Path::new(["default", "input"]).unwrap()
}

fn name(name: &'static str) -> TrackName {
    TrackName::from_static(name)
}

pub(crate) fn route() -> Route {
    Route::local(NodeId(1), 1)
}

pub(crate) fn header(id: u64, now: Instant) -> Header {
    Header::new(id, now)
}

pub(crate) fn ready<T>(poll: Poll<T>) -> T {
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
fn an_older_ownership_replaces_no_newer_one() {
    let now = start();
    let publish =
        |origin: &Origin, epoch, how| origin.publish(&path(), Route::local(NodeId(1), epoch), how);
    for (there, comes, parked, taken) in [
        (6, 5, false, false),
        (6, 5, true, false),
        (5, 6, false, true),
        (5, 6, true, true),
        (5, 5, false, true),
        (5, 5, true, true),
    ] {
        let what = format!("{comes} after {there}, parked: {parked}");
        let origin = Origin::new(Limits::default());
        let first = publish(&origin, there, Takeover::Replace).unwrap();
        let broadcast = first.consume();
        let mut first = Some(first);
        if parked {
            first.take().unwrap().park(now + Duration::from_secs(15));
        }
        let second = publish(&origin, comes, Takeover::Replace);
        let superseded = second.as_ref().err() == Some(&PublishError::Superseded);
        assert_eq!((second.is_ok(), superseded), (taken, !taken), "{what}");
        assert_eq!(broadcast.route().epoch, there.max(comes), "{what}");
        let replaced = (taken && !parked).then_some(Close::Replaced);
        assert_eq!(first.and_then(|first| first.closed()), replaced, "{what}");
    }

    // Nor does one that wants to begin anew end it.
    let origin = Origin::new(Limits::default());
    let newer = publish(&origin, 6, Takeover::Replace).unwrap();
    for (below, ended) in [(5, None), (6, None), (7, Some(Close::SourceLost))] {
        origin.end_below(&path(), below, Close::SourceLost);
        assert_eq!(newer.closed(), ended, "below {below}");
    }
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
        FetchEvent::Hole { last, why } => Some(format!("-{last:?} {why:?}")),
        FetchEvent::End => None,
    })
    .collect();
    assert_eq!(locations, ["2", "2-4 Unknown", "5", "6"]);
}

/// A track of a fresh origin, and who publishes it.
pub(crate) fn video(limits: Limits) -> (Origin, broadcast::Producer, track::Producer) {
    let origin = Origin::new(limits);
    let broadcast = origin.publish(&path(), route(), Takeover::Refuse).unwrap();
    let track = broadcast.track(name("video"), TrackInfo::default()).unwrap();
    (origin, broadcast, track)
}

/// A group of one object.
fn write(track: &track::Producer, group: u64, at: Instant, bytes: usize) {
    let Ok(group) = track.group(group, at) else { panic!("no group") };
    // Evicted at once, perhaps.
    let Ok(subgroup) = group.subgroup(0, at) else { return };
    subgroup.write(header(0, at), vec![track.budget().payload(vec![1; bytes])]).unwrap();
    subgroup.fin();
}

fn events(cursor: &mut Cursor, now: Instant) -> Vec<String> {
    let mut seen = Vec::new();
    while let Poll::Ready(event) = cursor.poll(&cx(), now) {
        match event {
            Event::Group(id) => seen.push(format!("group {id}")),
            Event::Skipped { from, to, why } => seen.push(format!("skipped {from}-{to} {why:?}")),
            Event::End(why) => {
                seen.push(format!("end {why:?}"));
                break;
            }
            _ => {}
        }
    }
    seen
}

fn patient(latency_s: u64, on_lag: OnLag) -> Policy {
    Policy { latency_max: Duration::from_secs(latency_s), on_lag, priority: 0 }
}

#[test]
fn a_reader_that_failed_stays_over() {
    let now = start();
    let (_origin, _broadcast, track) = video(Limits::default());
    let mut cursor =
        track.consume().subscribe(Filter::from(Start::NewestGroup), patient(1, OnLag::Fail));
    write(&track, 0, now, 1);
    write(&track, 1, now + Duration::from_secs(3), 1);
    let late = now + Duration::from_secs(3);
    assert_eq!(events(&mut cursor, late), ["end TooFarBehind"]);
    write(&track, 2, late, 1);
    assert_eq!(events(&mut cursor, late), ["end TooFarBehind"]);
}

#[test]
fn a_skip_never_goes_back_and_is_not_for_what_the_filter_leaves_out() {
    let now = start();
    let late = now + Duration::from_secs(3);
    let (_origin, _broadcast, track) = video(Limits::default());
    let policy = patient(1, OnLag::SkipToLatest);
    let mut all = track.consume().subscribe(Filter::from(Start::NewestGroup), policy);
    let at = Start::At(Location { group: 5, object: 0 });
    let mut from_five = track.consume().subscribe(Filter::from(at), policy);
    write(&track, 9, late, 1);
    assert_eq!(events(&mut all, late), ["group 9"]);
    write(&track, 3, now, 1);
    assert_eq!(events(&mut all, late), ["skipped 3-8 TooFarBehind"], "not group 9 again");
    assert_eq!(events(&mut from_five, late), ["group 9"]);
}

#[test]
fn a_reader_that_keeps_up_loses_nothing_however_short_memory_is() {
    let now = start();
    let (origin, _broadcast, track) = video(Limits { cache_bytes: 1_000, ..Limits::default() });
    let mut cursor =
        track.consume().subscribe(Filter::from(Start::NewestGroup), Policy::EVERYTHING);
    let mut read = 0;
    let mut reader: Option<SubgroupReader> = None;
    let mut later = VecDeque::new();
    let payload = || vec![origin.budget().payload(vec![1; 4_000])];
    let mut subgroup = track.next_group(now).unwrap().subgroup(0, now).unwrap();
    subgroup.write(header(0, now), payload()).unwrap();
    for _ in 0..20 {
        // All at once: the end of a group, and the beginning of the next one.
        subgroup.write(header(1, now), payload()).unwrap();
        subgroup.fin();
        subgroup = track.next_group(now).unwrap().subgroup(0, now).unwrap();
        subgroup.write(header(0, now), payload()).unwrap();
        loop {
            while let Poll::Ready(event) = cursor.poll(&cx(), now) {
                match event {
                    Event::Subgroup(subgroup) => later.push_back(subgroup),
                    Event::Skipped { .. } => panic!("{event:?}"),
                    _ => {}
                }
            }
            if reader.is_none() {
                reader = later.pop_front();
            }
            match reader.as_mut().map(|r| r.poll(&cx())) {
                Some(Poll::Ready(SubgroupEvent::Object(_))) => read += 1,
                Some(Poll::Ready(SubgroupEvent::Fin)) => reader = None,
                Some(Poll::Ready(SubgroupEvent::Reset(code))) => panic!("{code:?} after {read}"),
                Some(Poll::Pending) | None => break,
            }
        }
    }
    assert_eq!(read, 41);
}

#[test]
fn live_windows_stay_as_long_as_the_limit_holds() {
    let now = start();
    let (origin, broadcast, video) = video(Limits { cache_bytes: 150_000, ..Limits::default() });
    let audio = broadcast.track(name("audio"), TrackInfo::default()).unwrap();
    let groups = |track: &track::Producer| {
        let newest = track.next_group_id();
        let there = |id: &u64| track.consume().object(Location { group: *id, object: 0 }).is_ok();
        (0..newest).rev().take_while(there).count()
    };
    let packaged = broadcast.track(name("video.cmaf"), TrackInfo::default()).unwrap();
    let write_all = |track: &track::Producer, id, payloads: Vec<Payload>| {
        let subgroup = track.group(id, now).unwrap().subgroup(0, now).unwrap();
        for (n, payload) in (0..).zip(payloads) {
            subgroup.write(header(n, now), vec![payload]).unwrap();
        }
    };
    // While the pictures' bytes are shared nobody frees any, and sound pays too, again and again.
    for id in 0..100 {
        let picture = origin.budget().payload(vec![1; 8_000]);
        write_all(&video, id, vec![picture.clone()]);
        write_all(&audio, id, (0..10).map(|_| origin.budget().payload(vec![1; 10])).collect());
        write_all(&packaged, id, vec![picture]);
        for track in [&video, &audio, &packaged] {
            assert!(groups(track) >= 8.min(id as usize + 1), "{track:?} {id}");
        }
    }
    assert!(origin.budget().used() <= 150_000, "{:?}", origin.budget());
    // A track whose groups are shorter says how many are its window.
    let short = TrackInfo { window_groups: 20, ..TrackInfo::default() };
    let short = broadcast.track(name("short"), short).unwrap();
    for id in 0..40 {
        write_all(&short, id, vec![origin.budget().payload(vec![1; 100])]);
        assert!(groups(&short) >= 20.min(id as usize + 1), "{id}");
    }
    assert!(groups(&short) < 40, "not all of it");
    // Or learns it.
    short.set_window_groups(12);
    for id in 40..80 {
        write_all(&short, id, vec![origin.budget().payload(vec![1; 100])]);
        assert!(groups(&short) >= 12, "{id}");
    }
    assert!(groups(&short) < 20, "no more than that");
    // Where they do not fit, the newest two stay.
    for id in 100..200 {
        write(&video, id, now, 60_000);
    }
    assert_eq!(groups(&video), 2);
}

#[test]
fn an_evicted_group_does_not_come_back_nor_count_as_one_that_may_still_come() {
    let now = start();
    let limits = Limits { cache_bytes: 10_000, ..Limits::default() };
    let (_origin, _broadcast, track) = video(limits);
    let mut cursor =
        track.consume().subscribe(Filter::from(Start::NewestGroup), Policy::EVERYTHING);
    for id in [1, 2, 20, 21, 22] {
        write(&track, id, now, 4_000);
    }
    assert_eq!(events(&mut cursor, now), ["skipped 0-20 Evicted", "group 21", "group 22"]);
    for _ in 0..100 {
        write(&track, 2, now, 4_000);
    }
    assert!(events(&mut cursor, now).is_empty());
    assert_eq!(track.next_group_id(), 23);
}

/// A group of a far higher id than those that come then is never the oldest one, and holds its place in the log.
#[test]
fn what_comes_and_goes_behind_a_group_that_stays_leaves_nothing() {
    const GROUPS: u64 = 100_000;
    let (origin, _broadcast, track) = video(Limits { cache_bytes: 20_000, ..Limits::default() });
    let now = start();
    let read = |from: Start| track.consume().subscribe(Filter::from(from), Policy::EVERYTHING);
    let all = Start::At(Location { group: 0, object: 0 });
    let (mut keeps_up, slow) = (read(all), read(all));
    let entries = || lock(&track.shared.state).log.len();
    write(&track, 1 << 60, now, 100);
    let (mut most, mut seen) = (0, Vec::new());
    for group in 0..GROUPS {
        write(&track, group, now, 100);
        seen.extend(events(&mut keeps_up, now));
        most = most.max(entries());
    }
    let live = lock(&track.shared.state).groups.len();
    assert!(live < 50, "{live} groups");
    assert!(most <= 2 * 3 * live.max(LOG_LOOK_MIN), "{most} entries of {live} groups");
    // Who keeps up gets each of them; who does not, and who comes late, what there is.
    let begun = seen.iter().filter(|event| event.starts_with("group ")).count() as u64;
    assert_eq!(begun, GROUPS + 1, "{:?}", &seen[..20]);
    for mut late in [slow, read(all)] {
        let seen = events(&mut late, now);
        let begun = seen.iter().filter(|event| event.starts_with("group ")).count();
        assert_eq!(begun, live, "{seen:?}");
    }
    assert!(origin.budget().used() < 20_000);
}

#[test]
fn the_term_s_end_also_cuts_the_last_object_of_a_complete_subgroup() {
    let now = start();
    let (origin, broadcast, track) = video(Limits::default());
    let group = track.group(0, now).unwrap();
    let subgroup = group.subgroup(0, now).unwrap();
    let mut writer = subgroup.begin(header(0, now), None).unwrap().unwrap();
    subgroup.fin();
    let mut object = track.consume().object(Location { group: 0, object: 0 }).unwrap();
    track.gap(5..=6);
    let _new = origin.publish(&path(), route(), Takeover::Replace).unwrap();
    assert_eq!(writer.write(origin.budget().payload(vec![1])), Err(WriteError::Reset));
    assert_eq!(ready(object.poll_chunk(&cx())), Chunk::Reset(ResetCode::CANCELLED));
    // The loser can neither end the winner's track nor say what does not exist.
    track.end(Close::Ended);
    track.gap(0..=99);
    assert_eq!(track.consume().ended(), None);
    drop(broadcast);
    assert_eq!(track.consume().ended(), None);
}

#[test]
fn a_flood_of_empty_objects_and_subgroups_fills_a_group() {
    let now = start();
    let limits = Limits { group_bytes: 10_000, ..Limits::default() };
    let (_origin, _broadcast, track) = video(limits);
    let group = track.group(0, now).unwrap();
    let subgroup = group.subgroup(0, now).unwrap();
    let full = Err(WriteError::GroupTooLarge);
    let fit = (0..100).take_while(|id| subgroup.write(header(*id, now), vec![]) != full).count();
    assert_eq!(fit, 38);
    assert_eq!(group.subgroup(1, now).err(), full.err());
    // What is refused is not left half there for readers to wait on.
    assert!(subgroup.begin(header(99, now), None).is_err());
    assert!(track.consume().object(Location { group: 0, object: 99 }).is_err());
}

#[test]
fn the_largest_id_is_refused_because_nothing_comes_after_it() {
    let now = start();
    let (_origin, _broadcast, track) = video(Limits::default());
    let malformed = WriteError::Closed(Close::Malformed);
    assert_eq!(track.group(u64::MAX, now).err(), Some(malformed));
    let group = track.group(u64::MAX - 1, now).unwrap();
    assert_eq!(track.next_group(now).err(), Some(malformed));
    let subgroup = group.subgroup(0, now).unwrap();
    assert_eq!(subgroup.write(header(u64::MAX, now), vec![]), Err(malformed));
}

#[test]
fn gaps_are_joined_and_bounded() {
    let (_origin, _broadcast, track) = video(Limits::default());
    for id in (0..10_000).chain(20_000..20_010) {
        track.gap(id..=id);
    }
    assert_eq!(track.shared.state.lock().unwrap().never, [0..=9_999, 20_000..=20_009]);
    for id in 30_000..40_000 {
        track.gap(id * 2..=id * 2);
    }
    assert_eq!(track.shared.state.lock().unwrap().never.len(), limits::GAPS_MAX);
}

#[test]
fn a_group_evicted_while_it_is_fetched_is_asked_for_from_where_the_reader_is() {
    let now = start();
    let limits = Limits { cache_bytes: 10_000, ..Limits::default() };
    let (origin, _broadcast, track) = video(limits);
    let mut past = origin.responder(Path::root(), 1);
    let subgroup = track.group(0, now).unwrap().subgroup(0, now).unwrap();
    subgroup.write(header(0, now), vec![]).unwrap();
    subgroup.write(header(1, now), vec![]).unwrap();
    write(&track, 1, now, 1);
    let range = Location { group: 0, object: 0 }..=Location { group: 1, object: 9 };
    let mut fetch = track.consume().fetch(range, Order::Ascending, now + Duration::from_secs(1));
    assert!(matches!(ready(fetch.poll(&cx(), now)), FetchEvent::Object(_)));
    for id in 2..6 {
        write(&track, id, now, 4_000);
    }
    assert!(fetch.poll(&cx(), now).is_pending());
    let Request::Fetch(request) = ready(past.poll(&cx())) else { panic!() };
    assert_eq!(*request.range().start(), Location { group: 0, object: 1 });
}

/// Answers a request with an object a group, as far as there is room for it.
fn bring(origin: &Origin, answer: &mut FetchProducer, from: &mut u64, to: u64) {
    while *from <= to && answer.poll_room(&cx()).is_ready() {
        answer.object(*from, header(0, start()), vec![origin.budget().payload(vec![0; 1_000])]);
        *from += 1;
    }
}

#[test]
fn an_answer_of_any_length_passes_through_a_window_and_who_is_slow_asks_again() {
    let now = start();
    let (origin, _broadcast, track) = video(Limits::default());
    let mut past = origin.responder(Path::root(), 1);
    write(&track, 5_000, now, 1);
    let range = || Location { group: 0, object: 0 }..=Location { group: 4_999, object: 9 };
    let deadline = now + Duration::from_secs(1);
    let fetch = || track.consume().fetch(range(), Order::Ascending, deadline);
    let (mut fast, mut slow) = (fetch(), fetch());
    assert!(fast.poll(&cx(), now).is_pending() && slow.poll(&cx(), now).is_pending());
    let Request::Fetch(request) = ready(past.poll(&cx())) else { panic!() };
    let (mut answer, mut next) = (request.accept(), 0);
    let mut most = 0;
    let group = |event: FetchEvent| match event {
        FetchEvent::Object(object) => object.location().group,
        other => panic!("{other:?}"),
    };
    for expect in 0..5_000 {
        bring(&origin, &mut answer, &mut next, 4_999);
        most = most.max(origin.budget().used());
        assert_eq!(group(ready(fast.poll(&cx(), now))), expect);
        // The other one reads its first three and falls asleep.
        if expect < 3 {
            assert_eq!(group(ready(slow.poll(&cx(), now))), expect);
        }
    }
    assert!(most < 300_000, "{most} bytes of five million");
    answer.end();
    assert!(matches!(ready(fast.poll(&cx(), now)), FetchEvent::End));
    // A third who comes now can't join what is half gone.
    let mut late = fetch();
    // The slow one asks for the rest of the group that it is in by itself.
    assert!(slow.poll(&cx(), now).is_pending());
    let Request::Fetch(request) = ready(past.poll(&cx())) else { panic!() };
    assert_eq!(*request.range().start(), Location { group: 2, object: 1 });
    assert_eq!(request.range().end().group, 2);
    request.accept().end();
    for (cursor, from) in [(&mut slow, 3), (&mut late, 0)] {
        assert!(cursor.poll(&cx(), now).is_pending());
        let Request::Fetch(request) = ready(past.poll(&cx())) else { panic!() };
        assert_eq!(request.range().start().group, from);
        let (mut answer, mut next) = (request.accept(), from);
        for expect in from..5_000 {
            bring(&origin, &mut answer, &mut next, 4_999);
            assert_eq!(group(ready(cursor.poll(&cx(), now))), expect);
        }
        answer.end();
        assert!(matches!(ready(cursor.poll(&cx(), now)), FetchEvent::End));
    }
}

#[test]
fn neither_a_deaf_listener_nor_a_queue_keeps_what_has_ended() {
    let now = start();
    let (origin, broadcast, track) = video(Limits::default());
    let mut listener = origin.announcements(Path::root());
    let _busy = origin.responder(Path::root(), 1);
    assert!(matches!(ready(listener.poll(&cx())), Announce::Live(_)));
    let lookup = broadcast.consume().track(&name("audio"), now + Duration::from_secs(9));
    write(&track, 0, now, 4_000);
    drop((lookup, track, broadcast));
    origin.expire(now);
    assert_eq!(origin.budget().used(), 0);
}

#[test]
fn a_new_responder_is_not_taken_for_one_that_was_asked_before() {
    let now = start();
    let origin = Origin::new(Limits::default());
    let mut first = origin.responder(Path::root(), 1);
    let mut lookup = Box::pin(origin.lookup(&path(), now + Duration::from_secs(9)));
    let request = ready(first.poll(&cx()));
    drop(first);
    let mut second = origin.responder(Path::root(), 1);
    drop(request);
    assert!(lookup.as_mut().poll(&mut cx()).is_pending());
    assert!(matches!(ready(second.poll(&cx())), Request::Broadcast(_)));
}

#[test]
fn a_reader_knows_how_long_an_object_will_be_if_its_writer_does() {
    let origin = Origin::new(Limits::default());
    let now = start();
    let broadcast = origin.publish(&path(), route(), Takeover::Refuse).unwrap();
    let track = broadcast.track(name("chat"), TrackInfo::default()).unwrap();
    let group = track.group(0, now).unwrap();
    let subgroup = group.subgroup(0, now).unwrap();
    for (id, declared) in [(0, Some(5)), (1, None)] {
        let mut writer = subgroup.begin(header(id, now), declared).unwrap().unwrap();
        let reader = track.consume().object(Location { group: 0, object: id }).unwrap();
        assert_eq!(reader.length(), declared);
        writer.write(track.budget().payload(&b"hello"[..])).unwrap();
        writer.finish().unwrap();
        assert_eq!(reader.length(), Some(5), "whole");
    }
}

#[test]
fn what_exists_elsewhere_is_the_largest_too() {
    let origin = Origin::new(Limits::default());
    let broadcast = origin.publish(&path(), route(), Takeover::Refuse).unwrap();
    let track = broadcast.track(name("chat"), TrackInfo::default()).unwrap();
    let far = Location { group: 40, object: 2 };
    track.saw(far);
    track.saw(Location { group: 3, object: 9 });
    assert_eq!(track.consume().largest(), Some(far));
    assert_eq!(track.next_group_id(), 41);
    let next = track.consume().subscribe(Filter::from(Start::NextObject), Policy::EVERYTHING);
    assert_eq!(next.from(), Location { group: 40, object: 3 });
    // Who reads was told where he begins.
    let farther = Location { group: 41, object: 2 };
    assert!(!track.saw_unread(farther));
    drop(next);
    let about_to = track.consume().interest();
    assert!(!track.saw_unread(farther));
    assert_eq!(track.consume().largest(), Some(far));
    drop(about_to);
    assert!(track.saw_unread(farther));
    assert_eq!(track.consume().largest(), Some(farther));
}

#[test]
fn who_comes_to_a_cleared_track_begins_with_what_is_written_then() {
    let now = start();
    let origin = Origin::new(Limits::default());
    let broadcast = origin.publish(&path(), route(), Takeover::Refuse).unwrap();
    let track = broadcast.consume().derive(name("level"), TrackInfo::default()).unwrap();
    let write = |id: u64| {
        let group = track.group(id, now).unwrap();
        let subgroup = group.subgroup(0, now).unwrap();
        subgroup.write(header(0, now), vec![origin.budget().payload(&b"part"[..])]).unwrap();
        subgroup.fin();
        group.end(Some(0), now);
    };
    write(7);
    track.clear();
    assert_eq!(track.evicted(), 0, "memory was not short");
    let largest = Location { group: 7, object: 0 };
    assert_eq!(track.consume().largest(), Some(largest), "ids go on above");
    let mut cursor =
        track.consume().subscribe(Filter::from(Start::At(largest)), Policy::EVERYTHING);
    write(9);
    let mut groups = Vec::new();
    while let Poll::Ready(event) = cursor.poll(&cx(), now) {
        if let Event::Group(id) = event {
            groups.push(id);
        }
    }
    assert_eq!(groups, [9]);
}

#[test]
fn what_is_forgotten_is_not_to_be_had_and_its_readers_go_on_behind_it() {
    let now = start();
    let origin = Origin::new(Limits::default());
    let broadcast = origin.publish(&path(), route(), Takeover::Refuse).unwrap();
    let track = broadcast.track(name("chat"), TrackInfo::default()).unwrap();
    let from = Start::At(Location { group: 0, object: 0 });
    let mut cursor = track.consume().subscribe(Filter::from(from), Policy::EVERYTHING);
    let write = |id: u64| {
        let group = track.group(id, now).unwrap();
        let subgroup = group.subgroup(0, now).unwrap();
        subgroup.write(header(0, now), vec![origin.budget().payload(&b"said"[..])]).unwrap();
    };
    (3..6).for_each(write);
    let used = origin.budget().used();
    track.forget_before(5);
    assert!(origin.budget().used() < used, "memory is given back");
    let reader = track.consume();
    assert_eq!((reader.oldest_group(), reader.largest().map(|l| l.group)), (Some(5), Some(5)));
    assert!(reader.object(Location { group: 4, object: 0 }).is_err());
    let mut groups = Vec::new();
    while let Poll::Ready(event) = cursor.poll(&cx(), now) {
        if let Event::Group(id) = event {
            groups.push(id);
        }
    }
    assert_eq!(groups, [5]);
    // Nor does it come again.
    assert!(track.group(4, now).unwrap().subgroup(0, now).is_err());
    assert_eq!(track.consume().oldest_group(), Some(5));
}
