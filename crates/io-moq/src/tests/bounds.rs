//! What sessions may have: how many there are, how long one stays that wants nothing, and what is held for them before it is known
//! what for.

use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use moqt::{Parameters, Request, RequestCode};
use proxy::network::Networks;
use proxy::share::Shares;
use spine::TrackInfo;
use testkit::Shape;
use tokio::time::Instant;

use super::duties::{VIDEO, code, group, text};
use super::live::ms;
use super::rig::{Client, Rig, Set, next_object, soon, track};
use super::streams::{header, publish};
use crate::limits::{AHEAD_BYTES_MAX, IDLE, NOTHING_ASKED, NOTHING_ASKED_LOOK};
use crate::transport::{Congestion, Network, SendStream};

pub(super) fn status(name: &str) -> Request {
    let track = track(&["default", "one"], name);
    Request::TrackStatus { track, parameters: Parameters::default() }
}

/// RFC 9000 §20.1: who is refused is told so, by CONNECTION_REFUSED, and not left to wait.
#[tokio::test(start_paused = true)]
async fn connections_have_a_bound_in_all_and_for_each_address() {
    let network = Network::new(7);
    let set = Set {
        connections: Shares::new(5, 2),
        proxies: Networks::new(vec!["127.0.0.9".parse().unwrap()]),
        ..Set::default()
    };
    let rig = Rig::set(&network, Congestion::Ours, set);
    let counted = || {
        let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        (of(&rig.counters.refused_address), of(&rig.counters.refused))
    };
    let open = |n: usize| rig.counters.open.load(Ordering::Relaxed) == n;
    let connect = async |host: u8| {
        let endpoint = network.client_of(host, Shape::default()).unwrap();
        rig.knock(endpoint).await
    };
    let first = connect(2).await.unwrap();
    let second = connect(2).await.unwrap();
    let refused = connect(2).await.err().expect("its share is used up");
    assert!(refused.to_string().contains("refused to accept"), "{refused}");
    assert_eq!(counted(), (1, 0));
    // Whoever is in is served as before, and others have a share of their own.
    let other = connect(3).await.unwrap();
    for client in [&first, &second, &other] {
        assert_eq!(code(&client.ask(status("video")).await.1), Some(RequestCode::DoesNotExist));
    }
    // Those of a proxy are of many people.
    let mut many = vec![connect(9).await.unwrap(), connect(9).await.unwrap()];
    let refused = connect(9).await.err().expect("there are as many as there may be");
    assert!(refused.to_string().contains("refused to accept"), "{refused}");
    assert_eq!(counted(), (1, 1));
    settled("five to be in", || open(5)).await;
    drop(second);
    settled("one to be gone", || open(4)).await;
    many.push(connect(9).await.unwrap());
    drop(first);
    settled("another one to be gone", || open(4)).await;
    assert!(connect(2).await.is_ok());
}

/// Looks again and again, while time passes.
async fn settled(what: &str, done: impl Fn() -> bool) {
    soon(what, async {
        while !done() {
            tokio::time::sleep(ms(10)).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_nothing_is_let_go_and_who_waits_for_something_is_not() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let broadcast = rig.broadcast(&["default", "one"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let client = async || rig.client_over(&network, Shape::default()).await;
    // Nothing is sent to one, another one asks now and then, a third one has given up what he asked for.
    let waiting = client().await;
    let mut seen = waiting.subscribe(track(&["default", "one"], "video"), next_object()).await;
    let asking = client().await;
    let (done, idle) = (client().await, client().await);
    let given_up = done.subscribe(track(&["default", "one"], "video"), next_object()).await;
    assert_eq!(code(&given_up.answer), None);
    let began = Instant::now();
    let ended = async |client: &Client, from: Instant| {
        let ended = client.link.connection.closed().await;
        assert_eq!(ended.code, Some(0), "{}", ended.reason);
        let waited = from.elapsed();
        assert!(
            waited >= NOTHING_ASKED && waited <= NOTHING_ASKED + NOTHING_ASKED_LOOK * 2,
            "{waited:?}"
        );
    };
    let others = async {
        ended(&idle, began).await;
        done.command(moqt::session::Command::Cancel {
            id: given_up.id,
            code: moqt::ResetCode::Cancelled,
        });
        ended(&done, Instant::now()).await;
    };
    let asks = async {
        for _ in 0..8 {
            tokio::time::sleep(NOTHING_ASKED - NOTHING_ASKED_LOOK).await;
            assert_eq!(code(&asking.ask(status("none")).await.1), Some(RequestCode::DoesNotExist));
        }
    };
    tokio::join!(others, asks);
    group(&video, 0, &["still here"]);
    assert_eq!(text(&seen.next().await), (0, 0, "still here"));
    assert_eq!(rig.counters.session_errors.load(Ordering::Relaxed), 0);
}

/// Writes this much on a stream of a track that nobody knows; answers the stream.
async fn unknown(client: &Client, bytes: usize) -> SendStream {
    let mut opening = BytesMut::new();
    let header = moqt::data::SubgroupHeader { alias: 99, ..header(0) };
    header.encode(client.link.version, &mut opening).unwrap();
    let mut stream = client.link.connection.open_uni().await.unwrap();
    let _ = stream.write(&mut [opening.freeze(), Bytes::from(vec![0; bytes])]).await;
    stream
}

#[tokio::test(start_paused = true)]
async fn what_is_read_ahead_has_a_bound_for_all_connections_and_who_holds_most_pays() {
    const SMALL: usize = 100_000;
    const GREEDY: usize = 250_000;
    let network = Network::new(7);
    let most = 4 * SMALL + GREEDY;
    let rig = Rig::set(&network, Congestion::Ours, Set { ahead: most, ..Set::default() });
    let held = || rig.counters.traffic.ahead.bytes();
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(rig.client_over(&network, Shape::default()).await);
    }
    // One of them has two streams.
    let mut greedy = Vec::new();
    for bytes in [GREEDY - SMALL, SMALL] {
        greedy.push(unknown(&clients[0], bytes).await);
    }
    settled("it to be read", || held() >= GREEDY).await;
    let mut small = Vec::new();
    for client in &clients[1..5] {
        small.push(unknown(client, SMALL).await);
    }
    // What a piece costs comes on top: one of these is too much, and it is not theirs to pay.
    small.push(unknown(&clients[5], SMALL).await);
    const { assert!(GREEDY < AHEAD_BYTES_MAX) };
    let load = clients[0].link.version.reset_code(moqt::ResetCode::ExcessiveLoad);
    for stream in &mut greedy {
        assert_eq!(soon("it to be stopped", stream.stopped()).await, Some(load));
    }
    settled("the others to be read", || held() >= 5 * SMALL).await;
    assert!(held() < most);
    for stream in &mut small {
        assert!(tokio::time::timeout(ms(100), stream.stopped()).await.is_err());
    }
    drop((small, greedy));
    clients.clear();
    settled("all to be given back", || held() == 0).await;
}

/// A window is what a peer can make us hold.
#[tokio::test(start_paused = true)]
async fn who_publishes_may_have_more_in_flight_to_us_than_others() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let client = async || rig.client_over(&network, Shape::default()).await;
    let viewer = client().await;
    assert_eq!(code(&viewer.ask(status("video")).await.1), Some(RequestCode::DoesNotExist));
    let refused = client().await;
    assert!(code(&refused.publish(track(&["default", "one"], "video")).await.1).is_some());
    let publisher = client().await;
    let _published = publish(&publisher, track(&["open", "room"], "video")).await;
    let raised = |client: &Client| client.link.connection.windows_raised();
    settled("the window to be raised", || raised(&publisher) == 1).await;
    assert_eq!([raised(&viewer), raised(&refused)], [0, 0]);
}

/// A word now and then keeps a session, and the mappings of routers on its way, alive.
#[tokio::test(start_paused = true)]
async fn who_waits_for_long_with_nothing_said_still_gets_an_object() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let broadcast = rig.broadcast(&["default", "one"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let client = rig.client_over(&network, Shape::default()).await;
    let mut seen = client.subscribe(track(&["default", "one"], "video"), next_object()).await;
    assert_eq!(code(&seen.answer), None);
    for group_id in 0..3 {
        tokio::time::sleep(4 * IDLE).await;
        group(&video, group_id, &["still here"]);
        assert_eq!(text(&seen.next().await), (group_id, 0, "still here"));
    }
}
