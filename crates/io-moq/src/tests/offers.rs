//! SUBSCRIBE_NAMESPACE and SUBSCRIBE_TRACKS: what is told and offered, and what updates change of it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use moqt::session::{Command, DataHeader, Event};
use moqt::{
    Answer, Fetch, Filter, GroupOrder, Location, Namespace, Parameters, Properties, Range, Ranged,
    Request, RequestId, Version,
};
use spine::{TrackInfo, TrackName};
use testkit::Shape;
use tokio::sync::mpsc::UnboundedReceiver;

use super::duties::{VIDEO, code, group, read_past};
use super::relay::{give, send};
use super::rig::{Client, Rig, namespace, next_object, soon, track, use_value};
use super::select::filter;
use crate::limits::{OFFERED_TRACKS_MAX, OFFERS_OPENING_MAX};
use crate::link::Told;
use crate::transport::{Congestion, Network};

const LATER: [Version; 3] = [Version::Draft20, Version::Draft21, Version::Draft22];

pub(super) async fn subscribe_tracks(
    client: &Client,
    prefix: &[&str],
    parameters: Parameters,
) -> (RequestId, UnboundedReceiver<Told>) {
    let request = Request::SubscribeTracks { prefix: namespace(prefix), parameters };
    let (id, answer, told) = client.ask(request).await;
    assert_eq!(code(&answer), None);
    (id, told)
}

/// The next track that is offered.
pub(super) async fn offered(client: &mut Client) -> (RequestId, moqt::TrackName, Parameters) {
    loop {
        if let (id, Request::Publish { track, parameters, .. }) = client.asked().await {
            return (id, track, parameters);
        }
    }
}

pub(super) async fn update(
    client: &Client,
    (id, told): &mut (RequestId, UnboundedReceiver<Told>),
    parameters: Parameters,
) {
    client.command(Command::Update { id: *id, parameters });
    loop {
        match soon("the answer to an update", told.recv()).await {
            Some(Told::Event(Event::UpdateAnswered { answer, .. })) => {
                return assert_eq!(code(&answer), None);
            }
            Some(_) => {}
            None => panic!("the request is over"),
        }
    }
}

#[tokio::test]
async fn draft18_s6_1_d06_nobody_is_offered_his_own_tracks() {
    let rig = Rig::new();
    let mut one = rig.client("/").await;
    let mut two = rig.client("/").await;
    // The names come in this order. The first with PUBLISH, the second when it is asked for.
    let (_, answer) = one.publish(track(&["open", "room"], "a published")).await;
    assert_eq!(code(&answer), None);
    assert_eq!(code(&one.publish_namespace(&["open", "room"]).await), None);
    let viewer = rig.client("/").await;
    let asked = Request::Subscribe {
        track: track(&["open", "room"], "b asked for"),
        parameters: next_object(),
    };
    let (_, _told) = viewer.link.request(asked).unwrap();
    give(&mut one, Properties::empty()).await;
    let (_, answer) = two.publish(track(&["open", "room"], "c of somebody else")).await;
    assert_eq!(code(&answer), None);
    let _one = subscribe_tracks(&one, &["open"], Parameters::default()).await;
    assert_eq!(offered(&mut one).await.1, track(&["open", "room"], "c of somebody else"));
    let _two = subscribe_tracks(&two, &["open"], Parameters::default()).await;
    for name in ["a published", "b asked for"] {
        assert_eq!(offered(&mut two).await.1, track(&["open", "room"], name));
    }
    // Of a live input everything is made of what its encoder sends.
    let mut encoder = rig.client("/KEY").await;
    assert_eq!(code(&encoder.publish_namespace(&["default", "one"]).await), None);
    let other = rig.broadcast(&["default", "two"]);
    let _video = other.track(VIDEO, TrackInfo::default()).unwrap();
    let path = spine::Path::new(["default", "one"]).unwrap();
    let of_own = rig.origin.get(&path).unwrap();
    let _derived = of_own.derive(TrackName::from_static("a"), TrackInfo::default()).unwrap();
    let _own = subscribe_tracks(&encoder, &["default"], Parameters::default()).await;
    assert_eq!(offered(&mut encoder).await.1, track(&["default", "two"], "video"));
}

pub(super) async fn next_named(told: &mut UnboundedReceiver<Told>) -> (bool, Namespace) {
    loop {
        match soon("a namespace", told.recv()).await {
            Some(Told::Event(Event::Namespace { namespace, .. })) => return (true, namespace),
            Some(Told::Event(Event::NamespaceDone { namespace, .. })) => return (false, namespace),
            Some(Told::Event(Event::UpdateAnswered { answer, .. })) => {
                assert_eq!(code(&answer), None);
            }
            Some(_) => {}
            None => panic!("the request is over"),
        }
    }
}

#[tokio::test]
async fn draft18_s10_9_2_a_prefix_moves_and_other_tokens_show_more() {
    let rig = Rig::new();
    let _hidden = rig.broadcast(&["default", "secret"]);
    let _one = rig.broadcast(&["default", "one"]);
    let _far = rig.broadcast(&["elsewhere", "two"]);
    let client = rig.client("/").await;
    let prefix = namespace(&["default"]);
    let request =
        Request::SubscribeNamespace { prefix, tracks: false, parameters: Parameters::default() };
    let (id, _, mut told) = client.ask(request).await;
    assert_eq!(next_named(&mut told).await, (true, namespace(&["default", "one"])));
    // A token that it did not have.
    let parameters = Parameters { tokens: vec![use_value("TOKEN")], ..Parameters::default() };
    client.command(Command::Update { id, parameters });
    assert_eq!(next_named(&mut told).await, (true, namespace(&["default", "secret"])));
    let prefix = Some(namespace(&["elsewhere"]));
    let parameters = Parameters { namespace_prefix: prefix, ..Parameters::default() };
    client.command(Command::Update { id, parameters });
    let mut news = Vec::new();
    for _ in 0..3 {
        news.push(next_named(&mut told).await);
    }
    let expected = [
        (false, namespace(&["default", "one"])),
        (false, namespace(&["default", "secret"])),
        (true, namespace(&["elsewhere", "two"])),
    ];
    assert_eq!(news, expected);
    // From now on, too; and of what was left nothing.
    let _more = rig.broadcast(&["default", "three"]);
    let _near = rig.broadcast(&["elsewhere", "four"]);
    assert_eq!(next_named(&mut told).await, (true, namespace(&["elsewhere", "four"])));
}

#[tokio::test]
async fn draft21_s9_20_19_updates_of_subscribe_tracks_are_for_what_comes() {
    let rig = Rig::new();
    let near = rig.broadcast(&["default", "one"]);
    let _a = near.track(TrackName::from_static("a"), TrackInfo::default()).unwrap();
    let mut client = rig.client_of(Version::Draft22).await;
    let mut asked = subscribe_tracks(&client, &["default"], Parameters::default()).await;
    let (_, name, said) = offered(&mut client).await;
    assert_eq!((name, said.forward), (track(&["default", "one"], "a"), Some(true)));
    update(&client, &mut asked, Parameters { forward: Some(false), ..Parameters::default() }).await;
    let _b = near.track(TrackName::from_static("b"), TrackInfo::default()).unwrap();
    let (_, name, said) = offered(&mut client).await;
    assert_eq!((name, said.forward), (track(&["default", "one"], "b"), Some(false)));
    let prefix = Some(namespace(&["elsewhere"]));
    update(&client, &mut asked, Parameters { namespace_prefix: prefix, ..Parameters::default() })
        .await;
    let _c = near.track(TrackName::from_static("c"), TrackInfo::default()).unwrap();
    let far = rig.broadcast(&["elsewhere", "two"]);
    let _d = far.track(TrackName::from_static("d"), TrackInfo::default()).unwrap();
    assert_eq!(offered(&mut client).await.1, track(&["elsewhere", "two"], "d"));
}

#[tokio::test]
async fn d01_a_fetch_goes_on_with_a_fresh_token() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "secret"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let mut responder = rig.origin.responder(broadcast.path().clone(), 1);
    group(&video, 5, &["a"]);
    let client = rig.client("/").await;
    let range = Range { start: Location::new(0, 0), end: Location::new(5, 0) };
    let fetch = Fetch::Standalone { track: track(&["default", "secret"], "video"), range };
    let parameters = Parameters { tokens: vec![use_value("TOKEN")], ..Parameters::default() };
    let (id, answer, told) = client.ask(Request::Fetch { fetch, parameters }).await;
    assert!(matches!(answer, Answer::FetchOk(_)), "{answer:?}");
    let held = soon("the responder", std::future::poll_fn(|cx| responder.poll(cx))).await;
    let parameters = Parameters {
        tokens: vec![use_value("FRESH")],
        subscriber_priority: Some(3),
        ..Parameters::default()
    };
    let mut asked = (id, told);
    update(&client, &mut asked, parameters).await;
    rig.revoked.store(true, Ordering::Relaxed);
    // Looked at again meanwhile, it is still allowed: what nobody brings is said to be unknown, and the rest comes.
    tokio::time::timeout(crate::limits::GATE_AGAIN * 2, std::future::pending::<()>()).await.ok();
    drop(held);
    let data = Client::fetched(&mut asked.1).await;
    assert_eq!(read_past(data, GroupOrder::Ascending).await, "?4 5.0a");
}

/// draft-21 §9.18.1: what SUBSCRIBE_TRACKS says its subscriptions begin with, their past included; in their PUBLISH stands what a
/// PUBLISH may say.
#[tokio::test]
async fn draft21_s9_18_1_d24_what_subscribe_tracks_says_its_subscriptions_have() {
    for version in LATER {
        let rig = Rig::new();
        let mut publisher = rig.client("/").await;
        assert_eq!(code(&publisher.publish_namespace(&["open", "room"]).await), None);
        let early = rig.client("/").await;
        let request = Request::Subscribe {
            track: track(&["open", "room"], "chat"),
            parameters: next_object(),
        };
        let (_, _told) = early.link.request(request).unwrap();
        let value = moqt::properties::Value::Number(1);
        let dynamic = Properties::from_pairs(&[(0x30, value)]).unwrap();
        let (upstream, _) = give(&mut publisher, dynamic).await;
        send(&publisher, upstream, 4, 0, "x", true).await;
        let path = spine::Path::new(["open", "room"]).unwrap();
        let here = rig.origin.get(&path).unwrap();
        let chat = TrackName::from_static("chat");
        super::rig::until("the object to be here", || {
            here.get(&chat).and_then(|track| track.largest()).is_some_and(|at| at.group == 4)
        })
        .await;
        let mut client = rig.client_of(version).await;
        let fill = Parameters { filter: Some(Filter::Recent(1)), ..Parameters::default() };
        let wishes = Parameters {
            subscriber_priority: Some(7),
            group_order: Some(GroupOrder::Descending),
            object_delivery_timeout_ms: Some(60_000),
            subgroup_delivery_timeout_ms: Some(50_000),
            rendezvous_timeout_ms: Some(1),
            new_group: Some(0),
            fill: Some(Box::new(fill)),
            ..next_object()
        };
        let _asked = subscribe_tracks(&client, &["open"], wishes.clone()).await;
        let (id, _, said) = offered(&mut client).await;
        let expected = Parameters {
            rendezvous_timeout_ms: None,
            new_group: None,
            fill: None,
            forward: Some(true),
            largest: Some(Location::new(4, 0)),
            ..wishes
        };
        assert_eq!(said, expected, "{version:?}");
        let mut told = client.link.own(id);
        client.command(Command::Answer { id, answer: Answer::ok() });
        let data = Client::fetched(&mut told).await;
        assert_eq!(data.header, DataHeader::Fetch(id), "{version:?}");
        assert_eq!(read_past(data, GroupOrder::Descending).await, "4.0x", "{version:?}");
        // NEW_GROUP_REQUEST, which PUBLISH can't say, has gone upstream.
        soon("the publisher to be asked", async {
            loop {
                if let Event::Update { id, parameters, .. } = publisher.event().await {
                    assert_eq!(id, upstream);
                    publisher.command(Command::AnswerUpdate { id, answer: Answer::ok() });
                    if parameters.new_group == Some(5) {
                        return;
                    }
                }
            }
        })
        .await;
    }
}

/// The next track that is said not to be offered.
async fn skipped(told: &mut UnboundedReceiver<Told>) -> moqt::TrackName {
    loop {
        match soon("a track that is not offered", told.recv()).await {
            Some(Told::Event(Event::PublishBlocked { track, .. })) => return track,
            Some(_) => {}
            None => panic!("the request is over"),
        }
    }
}

#[tokio::test]
async fn draft18_s10_20_tracks_that_are_not_offered_are_named() {
    let limits = spine::Limits { tracks_per_broadcast: 300, ..spine::Limits::default() };
    let rig = Rig::with(limits);
    let broadcast = rig.broadcast(&["default", "one"]);
    let named = |n: usize| format!("{n:03}");
    let _tracks: Vec<_> = (0..OFFERED_TRACKS_MAX + 2)
        .map(|n| broadcast.track(TrackName::new(named(n)).unwrap(), TrackInfo::default()).unwrap())
        .collect();
    let client = rig.client("/").await;
    let (_, mut told) = subscribe_tracks(&client, &["default"], Parameters::default()).await;
    for n in [OFFERED_TRACKS_MAX, OFFERED_TRACKS_MAX + 1] {
        assert_eq!(skipped(&mut told).await, track(&["default", "one"], &named(n)));
    }
    // Who goes away is asked for nothing new. A track is offered, and refused, until its GOAWAY has come: so one more, and one more.
    let leaving = rig.client("/").await;
    let (_, mut told) = subscribe_tracks(&leaving, &["elsewhere"], Parameters::default()).await;
    let (request, uri, timeout) = (None, String::new(), Duration::ZERO);
    leaving.command(Command::GoAway { request, uri, timeout });
    let other = rig.broadcast(&["elsewhere", "two"]);
    let mut tracks = Vec::new();
    let name = loop {
        let name = TrackName::new(format!("{}", tracks.len())).unwrap();
        tracks.push(other.track(name, TrackInfo::default()).unwrap());
        let named = tokio::time::timeout(Duration::from_millis(100), skipped(&mut told));
        if let Ok(name) = named.await {
            break name;
        }
    };
    assert_eq!(*name.namespace(), namespace(&["elsewhere", "two"]));
}

/// All that is here may be much more than anybody answers at once.
#[tokio::test]
async fn draft18_s10_19_tracks_are_offered_some_at_a_time_and_all_of_them() {
    const BROADCASTS: usize = 3;
    const TRACKS: usize = 60;
    let rig = Rig::new();
    let broadcasts: Vec<_> =
        (0..BROADCASTS).map(|n| rig.broadcast(&["default", &format!("{n}")])).collect();
    let name = |n: usize| TrackName::new(format!("track {n}")).unwrap();
    let _tracks: Vec<_> = broadcasts
        .iter()
        .flat_map(|b| (0..TRACKS).map(|n| b.track(name(n), TrackInfo::default()).unwrap()))
        .collect();
    let mut client = rig.client("/").await;
    let _asked = subscribe_tracks(&client, &[], Parameters::default()).await;
    let mut open = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    let see = |seen: &mut std::collections::BTreeSet<_>, track: moqt::TrackName| {
        assert!(seen.insert(track.to_string()), "twice: {track}");
    };
    while open.len() < OFFERS_OPENING_MAX {
        let (id, track, _) = offered(&mut client).await;
        see(&mut seen, track);
        open.push(id);
    }
    // Nothing more, until there is an answer. What is asked now is answered behind all that is said before.
    let parameters = Parameters::default();
    let status = Request::TrackStatus { track: track(&["default", "0"], "none"), parameters };
    client.ask(status).await;
    let more = client.events.try_recv();
    assert!(more.is_err(), "{more:?}");
    let mut refused = false;
    while let Some(id) = open.pop() {
        // Some are taken, some are not.
        refused = !refused;
        let no = Answer::error(moqt::RequestCode::Uninterested, "");
        let answer = if refused { no } else { Answer::ok() };
        client.command(Command::Answer { id, answer });
        if seen.len() < BROADCASTS * TRACKS {
            let (id, track, _) = offered(&mut client).await;
            see(&mut seen, track);
            open.push(id);
        }
        assert!(open.len() <= OFFERS_OPENING_MAX);
    }
    assert_eq!(seen.len(), BROADCASTS * TRACKS);
}

/// One who does not answer holds no place for ever, nor what is over.
#[tokio::test(start_paused = true)]
async fn draft18_s10_19_who_answers_nothing_is_offered_the_rest_all_the_same() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let broadcast = rig.broadcast(&["default", "one"]);
    let name = |n: usize| TrackName::new(format!("track {n}")).unwrap();
    let all = OFFERS_OPENING_MAX + 6;
    let _tracks: Vec<_> =
        (0..all).map(|n| broadcast.track(name(n), TrackInfo::default()).unwrap()).collect();
    let mut client = rig.client_over(&network, Shape::default()).await;
    let (_, mut told) = subscribe_tracks(&client, &[], Parameters::default()).await;
    let mut first = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..all {
        let (id, track, _) = offered(&mut client).await;
        if n < OFFERS_OPENING_MAX {
            first.push((id, track.clone()));
        }
        assert!(seen.insert(track.to_string()), "twice: {track}");
    }
    // What it was offered for too long is taken back, and named.
    let named = skipped(&mut told).await;
    assert!(first.iter().any(|(_, track)| *track == named), "{named}");
}

/// A client of `default`, and what it has been offered and has not answered: as much as it may be.
async fn full(
    rig: &Rig,
    broadcast: &spine::broadcast::Producer,
) -> (Client, (RequestId, UnboundedReceiver<Told>), Vec<RequestId>) {
    for n in 0..OFFERS_OPENING_MAX {
        let name = TrackName::new(format!("track {n}")).unwrap();
        broadcast.track(name, TrackInfo::default()).unwrap();
    }
    let mut client = rig.client_of(Version::Draft22).await;
    let asked = subscribe_tracks(&client, &["default"], Parameters::default()).await;
    let mut open = Vec::new();
    while open.len() < OFFERS_OPENING_MAX {
        open.push(offered(&mut client).await.0);
    }
    (client, asked, open)
}

/// What is asked now is answered behind all that came before.
async fn settle(client: &Client) {
    let (track, parameters) = (track(&["default", "a"], "none"), Parameters::default());
    client.ask(Request::TrackStatus { track, parameters }).await;
}

/// Refuses one that is open; the next one.
async fn next_turn(
    client: &mut Client,
    open: &mut Vec<RequestId>,
) -> (moqt::TrackName, Parameters) {
    let answer = Answer::error(moqt::RequestCode::Uninterested, "");
    client.command(Command::Answer { id: open.pop().unwrap(), answer });
    let (_, track, said) = offered(client).await;
    (track, said)
}

const X: TrackName = TrackName::from_static("x");

#[tokio::test]
async fn draft21_s9_20_19_what_waits_is_offered_as_was_said_last() {
    let rig = Rig::new();
    let a = rig.broadcast(&["default", "a"]);
    let (mut client, mut asked, mut open) = full(&rig, &a).await;
    let b = rig.broadcast(&["default", "b"]);
    let _x = b.track(X, TrackInfo::default()).unwrap();
    settle(&client).await;
    update(&client, &mut asked, Parameters { forward: Some(false), ..Parameters::default() }).await;
    let (name, said) = next_turn(&mut client, &mut open).await;
    assert_eq!((name, said.forward), (track(&["default", "b"], "x"), Some(false)));
}

#[tokio::test]
async fn draft18_s10_9_2_what_waits_below_a_prefix_that_was_left_is_not_offered() {
    let rig = Rig::new();
    let a = rig.broadcast(&["default", "a"]);
    let (mut client, mut asked, mut open) = full(&rig, &a).await;
    let b = rig.broadcast(&["default", "b"]);
    let _x = b.track(X, TrackInfo::default()).unwrap();
    settle(&client).await;
    let to = |field| {
        let namespace_prefix = Some(namespace(&[field]));
        Parameters { namespace_prefix, ..Parameters::default() }
    };
    update(&client, &mut asked, to("elsewhere")).await;
    let far = rig.broadcast(&["elsewhere", "c"]);
    let _far = far.track(X, TrackInfo::default()).unwrap();
    settle(&client).await;
    assert_eq!(next_turn(&mut client, &mut open).await.0, track(&["elsewhere", "c"], "x"));
    // Where it comes back to, it is.
    update(&client, &mut asked, to("default")).await;
    settle(&client).await;
    assert_eq!(next_turn(&mut client, &mut open).await.0, track(&["default", "b"], "x"));
}

#[tokio::test]
async fn draft18_s6_1_what_waits_and_is_brought_by_the_peer_meanwhile_is_not_offered() {
    let rig = Rig::new();
    let a = rig.broadcast(&["open", "a"]);
    let other = rig.client("/").await;
    let of = |name| track(&["open", "room"], name);
    for n in 0..OFFERS_OPENING_MAX {
        let name = TrackName::new(format!("track {n}")).unwrap();
        a.track(name, TrackInfo::default()).unwrap();
    }
    let mut client = rig.client_of(Version::Draft22).await;
    let _asked = subscribe_tracks(&client, &["open"], Parameters::default()).await;
    let mut open = Vec::new();
    while open.len() < OFFERS_OPENING_MAX {
        open.push(offered(&mut client).await.0);
    }
    for name in ["t", "u"] {
        assert_eq!(code(&other.publish(of(name)).await.1), None);
        settle(&client).await;
    }
    assert_eq!(code(&client.publish(of("t")).await.1), None);
    settle(&client).await;
    assert_eq!(next_turn(&mut client, &mut open).await.0, of("u"));
}

#[tokio::test]
async fn what_waits_goes_with_its_broadcast() {
    let rig = Rig::new();
    let a = rig.broadcast(&["default", "a"]);
    let (mut client, _asked, mut open) = full(&rig, &a).await;
    let b = rig.broadcast(&["default", "b"]);
    let x = b.track(X, TrackInfo::default()).unwrap();
    group(&x, 3, &["old"]);
    settle(&client).await;
    drop((b, x));
    let b = rig.broadcast(&["default", "b"]);
    let x = b.track(X, TrackInfo::default()).unwrap();
    group(&x, 5, &["new"]);
    settle(&client).await;
    let (name, said) = next_turn(&mut client, &mut open).await;
    assert_eq!((name, said.largest), (track(&["default", "b"], "x"), Some(Location::new(5, 0))));
}

/// What was offered of the last one may not be over when the next one is here: a track is offered
/// once at a time.
#[tokio::test]
async fn a_broadcast_that_begins_again_is_offered_when_the_last_offer_of_it_is_over() {
    for version in [Version::Draft18, Version::Draft22] {
        let rig = Rig::new();
        let begin = |group: u64| {
            let broadcast = rig.broadcast(&["default", "b"]);
            let x = broadcast.track(X, TrackInfo::default()).unwrap();
            super::duties::group(&x, group, &["object"]);
            (broadcast, x)
        };
        let mut on_air = begin(0);
        let mut client = rig.client_of(version).await;
        let _asked = subscribe_tracks(&client, &["default"], Parameters::default()).await;
        let (mut id, ..) = offered(&mut client).await;
        for group in 1..4 {
            drop(on_air);
            on_air = begin(group);
            settle(&client).await;
            assert!(client.events.try_recv().is_err(), "{version:?}: it is offered still");
            // It is served to its end, or not wanted.
            let no = Answer::error(moqt::RequestCode::Uninterested, "");
            let answer = if group == 2 { no } else { Answer::ok() };
            client.command(Command::Answer { id, answer });
            let (next, name, said) = offered(&mut client).await;
            assert_eq!((name, next != id), (track(&["default", "b"], "x"), true));
            assert_eq!(said.largest, Some(Location::new(group, 0)), "{version:?}");
            id = next;
        }
    }
}

/// draft-18 §10.9.1: an update that fails takes its request with it, and all that it made.
#[tokio::test]
async fn draft18_s10_9_1_nothing_is_offered_for_a_request_whose_update_was_refused() {
    let rig = Rig::new();
    let near = rig.broadcast(&["default", "one"]);
    let _a = near.track(TrackName::from_static("a"), TrackInfo::default()).unwrap();
    let mut client = rig.client_of(Version::Draft22).await;
    let (id, mut told) = subscribe_tracks(&client, &["default"], Parameters::default()).await;
    let (first, ..) = offered(&mut client).await;
    let range_filters = vec![filter(Ranged::TrackProperty, Some(0x100), &[(0, 1)])];
    client.command(Command::Update {
        id,
        parameters: Parameters { range_filters, ..Parameters::default() },
    });
    loop {
        match soon("the answer to an update", told.recv()).await {
            Some(Told::Event(Event::UpdateAnswered { answer, .. })) => {
                break assert_eq!(code(&answer), Some(moqt::RequestCode::NotSupported));
            }
            Some(_) => {}
            None => panic!("the request is over"),
        }
    }
    settle(&client).await;
    let _b = near.track(TrackName::from_static("b"), TrackInfo::default()).unwrap();
    settle(&client).await;
    let mut came = Vec::new();
    while let Ok(event) = client.events.try_recv() {
        match event {
            Event::Request { request, .. } => panic!("{request:?}"),
            Event::Cancelled { id, .. } => came.push(id),
            _ => {}
        }
    }
    assert_eq!(came, [first], "what had no answer is taken back");
}

/// Who subscribes anew is offered everything anew.
#[tokio::test]
async fn what_a_request_has_made_ends_with_it() {
    for version in [Version::Draft18, Version::Draft22] {
        let rig = Rig::new();
        let near = rig.broadcast(&["default", "one"]);
        let _a = near.track(TrackName::from_static("a"), TrackInfo::default()).unwrap();
        let _b = near.track(TrackName::from_static("b"), TrackInfo::default()).unwrap();
        let mut client = rig.client_of(version).await;
        let (id, _told) = subscribe_tracks(&client, &["default"], Parameters::default()).await;
        let (first, ..) = offered(&mut client).await;
        client.command(Command::Answer { id: first, answer: Answer::ok() });
        offered(&mut client).await;
        settle(&client).await;
        client.command(Command::Cancel { id, code: moqt::ResetCode::Cancelled });
        settle(&client).await;
        let _again = subscribe_tracks(&client, &["default"], Parameters::default()).await;
        for name in ["a", "b"] {
            assert_eq!(offered(&mut client).await.1, track(&["default", "one"], name));
        }
    }
}
