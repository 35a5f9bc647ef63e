//! What those who run a server are told of sessions.

use moqt::{Fetch, GroupOrder, Location, Parameters, Properties, Range, Request, Version};
use spine::TrackInfo;

use super::duties::{VIDEO, code, group, read_fetch};
use super::relay::{announced, give, room, send};
use super::rig::{Rig, answered, next_object, soon, track, until, with_token};
use crate::traffic::{Role, TrackReport};

fn track_of(rig: &Rig, name: &[u8]) -> TrackReport {
    let tracks = rig.counters.traffic.tracks();
    tracks.into_iter().find(|track| track.track == name).unwrap()
}

#[tokio::test]
async fn who_watches_which_track_and_how_it_goes() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "secret"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    group(&video, 0, &["a0", "a1"]);
    let name = || track(&["default", "secret"], "video");
    let viewer = rig.client_of(Version::Draft18).await;
    let web = rig.web_client("/TOKEN").await;
    let mut watched = viewer.subscribe(name(), with_token("TOKEN")).await;
    assert_eq!(code(&watched.answer), None);
    let idle = web.subscribe(name(), next_object()).await;
    assert_eq!(code(&idle.answer), None);
    group(&video, 1, &["b0", "b1", "b2"]);
    for _ in 0..3 {
        soon("an object", watched.objects.recv()).await.unwrap();
    }
    let list = || rig.counters.traffic.list();
    until("what was counted", || {
        list().iter().all(|s| s.flows.first().is_some_and(|f| f.sum.objects == 3))
    })
    .await;
    let sessions = list();
    assert_eq!(
        sessions.iter().map(|s| (s.id, s.over_web)).collect::<Vec<_>>(),
        [(2, true), (1, false)]
    );
    let told = &sessions[1];
    assert_eq!((told.draft, told.peer.ip()), (18, rig.endpoint.local_address().unwrap().ip()));
    assert!(told.numbers.congestion_window > 0 && told.numbers.bytes_sent > 0, "{told:?}");
    let flow = &told.flows[0];
    assert_eq!(
        (flow.role, &flow.path, &flow.track[..]),
        (Role::Subscription, video.consume().path(), &b"video"[..])
    );
    let sum = flow.sum;
    assert_eq!((sum.groups, sum.bytes, sum.groups_skipped, sum.streams_reset), (1, 6, 0, 0));
    assert_eq!(sum.waits.within.iter().sum::<u64>(), 3);
    let newest = flow.newest.unwrap();
    assert_eq!((newest.group, newest.object), (1, 2));
    assert!(newest.age < std::time::Duration::from_secs(20), "{newest:?}");
    assert!(!format!("{sessions:?}{:?}", rig.counters).contains("TOKEN"), "no token is told");
    assert_eq!(track_of(&rig, b"video").subscribers, 2);

    viewer.link.close(moqt::SessionCode::NoError, "enough");
    until("the session's end", || list().len() == 1).await;
    let track = track_of(&rig, b"video");
    assert_eq!((track.subscribers, track.sent.flows, track.sent.objects), (1, 2, 6));
    let totals = rig.counters.traffic.totals();
    assert_eq!(totals.by_role[&(Role::Subscription, 18)].bytes, 12);
    let over = totals.by_draft[&18];
    assert_eq!((over.sessions, over.round_trips.within.iter().sum::<u64>()), (1, 1));
    assert_eq!(totals.open, [((18, true), 1)].into());
}

#[tokio::test]
async fn a_fetch_is_a_hit_if_memory_has_all_of_it() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    group(&video, 4, &["a0", "a1"]);
    group(&video, 5, &["b0"]);
    let viewer = rig.client("/").await;
    // Nobody knows what was before 4.
    for (from, to, got, hits) in
        [(4, 5, "4.0a0 4.1a1 5.0b0", 1), (5, 5, "5.0b0", 2), (3, 4, "?3 4.0a0 4.1a1", 2)]
    {
        let range =
            Range { start: Location::new(from, 0), end: Location::new(to, Range::WHOLE_GROUP) };
        let fetch = Fetch::Standalone { track: track(&["default", "one"], "video"), range };
        let request = Request::Fetch { fetch, parameters: Parameters::default() };
        // The stream may come before the answer.
        let (_, mut told) = viewer.link.request(request).unwrap();
        assert_eq!(read_fetch(&mut told, GroupOrder::Ascending).await, got);
        let open = || rig.counters.traffic.list()[0].flows.len();
        until("the fetch's end", || open() == 0).await;
        assert_eq!(track_of(&rig, b"video").fetched.hits, hits, "{from} {to}");
    }
    let fetched = track_of(&rig, b"video").fetched;
    assert_eq!((fetched.flows, fetched.objects, fetched.groups), (3, 6, 4));
}

#[tokio::test]
async fn what_a_peer_publishes_is_counted_as_received() {
    let rig = Rig::new();
    let mut publisher = announced(&rig).await;
    let viewer = rig.client("/").await;
    let request = Request::Subscribe { track: room(), parameters: next_object() };
    let (id, mut told) = viewer.link.request(request).unwrap();
    let (upstream, _) = give(&mut publisher, Properties::empty()).await;
    let answer = answered(&mut told).await;
    let mut seen = viewer.follow(id, answer, told);
    send(&publisher, upstream, 9, 0, "live", true).await;
    assert_eq!(seen.next().await.group, 9);
    until("what was counted", || track_of(&rig, b"chat").sent.objects == 1).await;
    let told = track_of(&rig, b"chat");
    assert_eq!((told.received.objects, told.received.bytes, told.received.flows), (1, 4, 1));
    assert_eq!((told.subscribers, told.sent.bytes), (1, 4));
}
