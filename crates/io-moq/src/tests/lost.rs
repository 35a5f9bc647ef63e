//! A link is lost without a word while it brings something (decision 160): who watches is carried over to who brings it next. And what
//! is over at an upstream may begin again (decision 161).

use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::time::Duration;

use moqt::session::{Command, Event};
use moqt::{
    Answer, Done, DoneCode, Fetch, Filter, GroupOrder, Location, Node, Parameters, Properties,
    Range, Request, RequestCode,
};
use spine::{Origin, TrackInfo};
use testkit::{Impaired, Shape};
use tokio::time::Instant;

use super::duties::{VIDEO, code, group, read_fetch, text};
use super::moves::{Viewer, begin, give, give_past, go_away};
use super::relay::{room, send};
use super::rig::{Rig, answered, namespace, next_object, soon, until};
use super::uplinks::{Told, Upstream, edge, path};
use crate::client::Server;
use crate::link::Told as Heard;
use crate::listen::protocols;
use crate::take::Taken;
use crate::transport::{Congestion, Known, Network, Trust};
use crate::{client, clock};

/// Something went wrong there: nobody has said goodbye.
fn is_lost(told: &Told) {
    told.peer.link.connection.close(1, "");
}

fn there(rig: &Rig) -> bool {
    rig.origin.get(&path(&["open", "room"])).is_some()
}

/// The same upstream is back, or another one has the same: what was not seen of the newest group comes, and what is new.
#[tokio::test]
async fn d18_who_watches_is_carried_over_a_link_that_is_lost() {
    for same in [true, false] {
        let first = Upstream::new();
        let other = first.beside().saying(Node::new(8));
        let rig = edge(&[&first, &other]).await;
        let (mut old, mut second) = (first.accept().await, other.accept().await);
        (old.way, second.way) = (vec![1, 7], vec![1, 8]);
        let (mut viewer, asked) = Viewer::of(&rig, &mut old).await;
        send(&old.peer, asked, 0, 0, "a", true).await;
        let mut under_way = begin(&old.peer, asked, 1, true).await;
        under_way.object(0, "b").await;
        viewer.sees(&[(0, 0, "a"), (1, 0, "b")]).await;
        if !same {
            second.tell(&["open", "room"]);
            let told = || other.status.namespaces.load(Ordering::Relaxed);
            until("both tell of it", || told() == 1).await;
        }
        is_lost(&old);
        let new = &mut match same {
            true => first.accept().await,
            false => second,
        };
        viewer.check();
        if same {
            new.way = vec![1, 7];
            new.tell(&["open", "room"]);
        }
        let here = give(new, Some((1, 1))).await;
        give_past(new, &["b", "c"]).await;
        viewer.sees(&[(1, 1, "c")]).await;
        let mut goes_on = begin(&new.peer, here, 1, false).await;
        goes_on.object(2, "d").await;
        viewer.sees(&[(1, 2, "d")]).await;
        goes_on.end(&new.peer);
        // What came to be and went meanwhile is missing: who wants it fetches it.
        send(&new.peer, here, 5, 0, "e", true).await;
        viewer.sees(&[(5, 0, "e")]).await;
        viewer.check();
        let carried = || first.status.carried.load(Ordering::Relaxed);
        until("the old one to be let go", || carried() == usize::from(same)).await;
        let subscriptions =
            [&first, &other].map(|it| it.status.subscriptions.load(Ordering::Relaxed));
        assert_eq!(subscriptions.iter().sum::<usize>(), 1);
        // What was said early was not said again.
        assert_eq!(first.came.load(Ordering::Relaxed), 1 + usize::from(same));
        assert_eq!(rig.counters.panics.load(Ordering::Relaxed), 0);
    }
}

/// The way there is cut: it is noticed by the silence.
#[tokio::test]
async fn d18_who_watches_is_carried_over_a_way_that_is_cut() {
    let mut first = Upstream::new();
    let wire = Impaired::start(first.address(), Shape::default(), Shape::default(), 7);
    first.by = Some(wire.address());
    let rig = edge(&[&first]).await;
    let mut old = first.accept().await;
    let (mut viewer, asked) = Viewer::of(&rig, &mut old).await;
    send(&old.peer, asked, 0, 0, "a", true).await;
    viewer.sees(&[(0, 0, "a")]).await;
    let cut = Shape { loss: 1.0, ..Shape::default() };
    wire.reshape(cut, cut);
    let connected = || first.status.connected.load(Ordering::Relaxed);
    until("it to be missed", || !connected()).await;
    wire.reshape(Shape::default(), Shape::default());
    let mut new = first.accept().await;
    viewer.check();
    new.tell(&["open", "room"]);
    let here = give(&mut new, Some((0, 0))).await;
    give_past(&mut new, &["a"]).await;
    send(&new.peer, here, 1, 0, "b", true).await;
    viewer.sees(&[(1, 0, "b")]).await;
    viewer.check();
}

/// Nobody brings it any more: that is told, some seconds later.
#[tokio::test]
async fn d18_what_a_lost_link_brought_ends_when_nobody_else_has_it() {
    let first = Upstream::new();
    let rig = edge(&[&first]).await;
    let mut old = first.accept().await;
    let (mut viewer, _) = Viewer::of(&rig, &mut old).await;
    is_lost(&old);
    let _new = first.accept().await;
    assert!(there(&rig));
    viewer.check();
    let gone = soon("the end", viewer.namespaces.recv()).await;
    assert!(matches!(gone, Some(Heard::Event(Event::NamespaceDone { .. }))));
    let taken = soon("the end of the track", viewer.seen.taken).await.unwrap();
    assert!(matches!(taken, Taken::Done(_)), "{taken:?}");
    assert!(!there(&rig));
    assert_eq!(first.status.carried.load(Ordering::Relaxed), 0);
}

/// Its publisher is another one by now, who has other numbers: the one that was lost is over as soon as that is known.
#[tokio::test]
async fn d18_what_another_publisher_has_is_not_gone_on_with() {
    let first = Upstream::new();
    let other = first.beside().saying(Node::new(8));
    let rig = edge(&[&first, &other]).await;
    let (mut old, second) = (first.accept().await, other.accept().await);
    let (mut viewer, _) = Viewer::of(&rig, &mut old).await;
    second.tell(&["open", "room"]);
    until("both tell of it", || other.status.namespaces.load(Ordering::Relaxed) == 1).await;
    is_lost(&old);
    let news = async { [viewer.namespaces.recv().await, viewer.namespaces.recv().await] };
    let news = soon("the end and the beginning", news).await;
    assert!(matches!(
        news,
        [
            Some(Heard::Event(Event::NamespaceDone { .. })),
            Some(Heard::Event(Event::Namespace { .. }))
        ]
    ));
    assert_eq!(other.status.carried.load(Ordering::Relaxed), 1);
}

/// Of an upstream that does not say who it is that can't be known: its numbers show it.
#[tokio::test]
async fn d18_who_begins_anew_behind_a_lost_link_ends_the_track() {
    // A node that says which it is may have a client that numbers anew in an open namespace.
    for (at_once, named) in [(true, false), (false, false), (true, true), (false, true)] {
        let first = Upstream::new();
        let first = if named { first } else { first.saying(None) };
        let rig = edge(&[&first]).await;
        let mut old = first.accept().await;
        let (mut viewer, asked) = Viewer::of(&rig, &mut old).await;
        send(&old.peer, asked, 7, 0, "a", true).await;
        viewer.sees(&[(7, 0, "a")]).await;
        is_lost(&old);
        let mut new = first.accept().await;
        new.tell(&["open", "room"]);
        let here = give(&mut new, at_once.then_some((3, 0))).await;
        if !at_once {
            send(&new.peer, here, 0, 0, "b", true).await;
        }
        let taken = soon("the end of the track", viewer.seen.taken).await.unwrap();
        assert!(matches!(taken, Taken::Done(_)), "{taken:?}");
        assert!(there(&rig), "the rest of it goes on");
    }
}

/// A stop in good order is as kind as a crash: who has asked us to leave may say goodbye before what it brought is there elsewhere.
#[tokio::test]
async fn d18_who_watches_is_carried_over_an_upstream_that_is_stopped_and_back() {
    // NO_ERROR, GOAWAY_TIMEOUT
    for code in [0, 0x10] {
        let first = Upstream::new();
        let rig = edge(&[&first]).await;
        let mut old = first.accept().await;
        let (mut viewer, asked) = Viewer::of(&rig, &mut old).await;
        send(&old.peer, asked, 0, 0, "a", true).await;
        viewer.sees(&[(0, 0, "a")]).await;
        go_away(&old, String::new());
        // It has been heard.
        let mut new = first.accept_silently().await;
        old.peer.link.connection.close(code, "");
        let connected = || first.status.connected.load(Ordering::Relaxed);
        until("it to be missed", || !connected()).await;
        viewer.check();
        new.agree();
        new.tell(&["open", "room"]);
        let here = give(&mut new, Some((0, 0))).await;
        give_past(&mut new, &["a"]).await;
        send(&new.peer, here, 1, 0, "b", true).await;
        viewer.sees(&[(1, 0, "b")]).await;
        viewer.check();
    }
}

/// Who has asked us to leave and is lost then is waited for as who is lost, and not as one that still brings something.
#[tokio::test]
async fn d18_who_asks_us_to_leave_and_is_lost_is_lost() {
    let first = Upstream::new();
    let other = first.beside().saying(Node::new(8));
    let rig = edge(&[&first, &other]).await;
    let (mut old, second) = (first.accept().await, other.accept().await);
    let (mut viewer, _) = Viewer::of(&rig, &mut old).await;
    go_away(&old, String::new());
    let _new = first.accept_silently().await;
    is_lost(&old);
    let connected = || first.status.connected.load(Ordering::Relaxed);
    until("it to be missed", || !connected()).await;
    viewer.check();
    // It is another publisher's.
    second.tell(&["open", "room"]);
    let news = async { [viewer.namespaces.recv().await, viewer.namespaces.recv().await] };
    let news = soon("the end and the beginning", news).await;
    assert!(matches!(
        news,
        [
            Some(Heard::Event(Event::NamespaceDone { .. })),
            Some(Heard::Event(Event::Namespace { .. }))
        ]
    ));
    assert_eq!(other.status.carried.load(Ordering::Relaxed), 1);
}

/// What is back when the time is nearly over is asked for then, and has time to be answered.
#[tokio::test]
async fn d18_what_is_back_at_the_last_moment_is_waited_for() {
    let first = Upstream::new();
    let rig = edge(&[&first]).await;
    let mut old = first.accept().await;
    let (mut viewer, asked) = Viewer::of(&rig, &mut old).await;
    old.tell(&["open", "other"]);
    let other = soon("another namespace", viewer.namespaces.recv()).await;
    assert!(matches!(other, Some(Heard::Event(Event::Namespace { .. }))));
    send(&old.peer, asked, 0, 0, "a", true).await;
    viewer.sees(&[(0, 0, "a")]).await;
    is_lost(&old);
    let mut new = first.accept().await;
    new.tell(&["open", "room"]);
    let (here, _, _) = new.subscribe().await;
    // The time is over with the end of what is not back.
    let gone = soon("the end", viewer.namespaces.recv()).await;
    assert!(matches!(gone, Some(Heard::Event(Event::NamespaceDone { .. }))));
    viewer.check();
    let parameters = Parameters { largest: Some(Location::new(0, 0)), ..Parameters::default() };
    let answer = Answer::Ok { parameters, properties: Properties::empty() };
    new.peer.command(Command::Answer { id: here, answer });
    give_past(&mut new, &["a"]).await;
    send(&new.peer, here, 1, 0, "b", true).await;
    viewer.sees(&[(1, 0, "b")]).await;
    viewer.check();
}

/// What has no answer yet is asked of who brings it next.
#[tokio::test]
async fn d18_what_a_lost_link_did_not_answer_is_asked_for_again() {
    let first = Upstream::new();
    let rig = edge(&[&first]).await;
    let mut old = first.accept().await;
    let (mut viewer, asked) = Viewer::of(&rig, &mut old).await;
    send(&old.peer, asked, 9, 0, "a", true).await;
    viewer.sees(&[(9, 0, "a")]).await;
    let late = rig.client("/").await;
    let track = super::rig::track(&["open", "room"], "late");
    let request = Request::Subscribe { track, parameters: next_object() };
    let (_, mut subscribed) = late.link.request(request).unwrap();
    let (_, mut fetched) = late.link.request(past()).unwrap();
    let (mut subscribes, mut fetches) = (0, 0);
    while (subscribes, fetches) != (1, 1) {
        match old.peer.asked().await.1 {
            Request::Subscribe { .. } => subscribes += 1,
            Request::Fetch { .. } => fetches += 1,
            _ => {}
        }
    }
    is_lost(&old);
    let mut new = first.accept().await;
    new.tell(&["open", "room"]);
    let work = async {
        assert_eq!(code(&answered(&mut subscribed).await), None);
        assert_eq!(code(&answered(&mut fetched).await), None);
        assert_eq!(read_fetch(&mut fetched, GroupOrder::Ascending).await, "2.0past");
    };
    tokio::select! {
        () = work => {}
        () = answer_all(&mut new) => {}
    }
    viewer.check();
}

/// A group that is not here.
fn past() -> Request {
    let at = Location::new(2, 0);
    let fetch = Fetch::Standalone { track: room(), range: Range { start: at, end: at } };
    Request::Fetch { fetch, parameters: Parameters::default() }
}

/// Answers whatever is asked.
async fn answer_all(told: &mut Told) {
    loop {
        match told.peer.asked().await {
            (id, Request::Subscribe { .. }) => {
                told.peer.command(Command::Answer { id, answer: Answer::ok() });
            }
            (id, Request::Fetch { fetch: Fetch::Standalone { range, .. }, .. }) => {
                super::moves::answer_past(told, (id, range), &["past"]).await;
            }
            _ => {}
        }
    }
}

/// The refusal of a FETCH may be read before the GOAWAY that is its reason.
#[tokio::test]
async fn draft18_s10_4_d18_a_fetch_that_is_refused_by_who_goes_away_is_asked_of_the_next() {
    let first = Upstream::new();
    let rig = edge(&[&first]).await;
    let mut old = first.accept().await;
    let (mut viewer, asked) = Viewer::of(&rig, &mut old).await;
    send(&old.peer, asked, 9, 0, "a", true).await;
    viewer.sees(&[(9, 0, "a")]).await;
    let late = rig.client("/").await;
    let (_, mut fetched) = late.link.request(past()).unwrap();
    let id = loop {
        if let (id, Request::Fetch { .. }) = old.peer.asked().await {
            break id;
        }
    };
    let answer = Answer::error(RequestCode::GoingAway, "");
    old.peer.command(Command::Answer { id, answer });
    go_away(&old, String::new());
    let mut new = first.accept().await;
    new.tell(&["open", "room"]);
    let work = async {
        assert_eq!(code(&answered(&mut fetched).await), None);
        assert_eq!(read_fetch(&mut fetched, GroupOrder::Ascending).await, "2.0past");
    };
    tokio::select! {
        () = work => {}
        () = answer_all(&mut new) => {}
    }
    viewer.check();
}

/// Its publisher has ended a track, and begins it again in a broadcast that goes on.
#[tokio::test]
async fn draft18_s9_5_a_track_that_is_over_may_begin_again_under_its_name() {
    let first = Upstream::new();
    let rig = edge(&[&first]).await;
    let mut told = first.accept().await;
    let (mut viewer, asked) = Viewer::of(&rig, &mut told).await;
    send(&told.peer, asked, 0, 0, "a", true).await;
    viewer.sees(&[(0, 0, "a")]).await;
    let done = || Done { code: DoneCode::TrackEnded, reason: String::new() };
    told.peer.command(Command::Done { id: asked, done: done() });
    let taken = soon("the end", viewer.seen.taken).await.unwrap();
    assert_eq!(taken, Taken::Done(DoneCode::TrackEnded));
    let late = rig.client("/").await;
    let ask = || Request::Subscribe { track: room(), parameters: next_object() };
    // Not yet: what there is of it stays.
    let (_, mut answers) = late.link.request(ask()).unwrap();
    let (id, _, _) = told.subscribe().await;
    let answer = Answer::error(RequestCode::DoesNotExist, "");
    told.peer.command(Command::Answer { id, answer });
    assert_eq!(code(&answered(&mut answers).await), None);
    let over =
        async { while !matches!(answers.recv().await, Some(Heard::Event(Event::Done { .. }))) {} };
    soon("that it is over", over).await;
    drop(late);
    let late = rig.client("/").await;
    let (id, mut answers) = late.link.request(ask()).unwrap();
    let again = give(&mut told, None).await;
    let answer = answered(&mut answers).await;
    assert_eq!(code(&answer), None);
    let mut seen = late.follow(id, answer, answers);
    send(&told.peer, again, 5, 0, "b", true).await;
    assert_eq!(text(&seen.next().await), (5, 0, "b"));
}

/// In a chain of nodes the one before answers with its ended track: what has come of that is not asked for again.
#[tokio::test]
async fn what_is_over_there_as_well_is_answered_from_memory() {
    let first = Upstream::new();
    let rig = edge(&[&first]).await;
    let mut told = first.accept().await;
    let (mut viewer, asked) = Viewer::of(&rig, &mut told).await;
    send(&told.peer, asked, 0, 0, "a", true).await;
    viewer.sees(&[(0, 0, "a")]).await;
    let done = || Done { code: DoneCode::TrackEnded, reason: String::new() };
    told.peer.command(Command::Done { id: asked, done: done() });
    soon("the end", viewer.seen.taken).await.unwrap();
    let late = rig.client("/").await;
    for _ in 0..2 {
        let at = Location::new(0, 0);
        let fetch = Fetch::Standalone { track: room(), range: Range { start: at, end: at } };
        let request = Request::Fetch { fetch, parameters: Parameters::default() };
        let (_, mut fetched) = late.link.request(request).unwrap();
        let id = give(&mut told, Some((0, 0))).await;
        told.peer.command(Command::Done { id, done: done() });
        assert_eq!(code(&answered(&mut fetched).await), None);
        assert_eq!(read_fetch(&mut fetched, GroupOrder::Ascending).await, "0.0a");
    }
    // It has begun again, with the numbers that follow.
    let filter = Some(Filter::From(Location::new(1, 0)));
    let parameters = Parameters { filter, ..Parameters::default() };
    let (id, mut answers) =
        late.link.request(Request::Subscribe { track: room(), parameters }).unwrap();
    let again = give(&mut told, Some((0, 0))).await;
    send(&told.peer, again, 1, 0, "b", true).await;
    let answer = answered(&mut answers).await;
    assert_eq!(code(&answer), None);
    let mut seen = late.follow(id, answer, answers);
    assert_eq!(text(&seen.next().await), (1, 0, "b"));
}

/// A link that is made again says what it wants with its first packet.
#[tokio::test(start_paused = true)]
async fn draft18_s3_3_1_d26_a_link_that_is_made_again_has_its_first_object_a_round_trip_earlier() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let broadcast = rig.broadcast(&["default", "one"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    group(&video, 0, &["a"]);
    let (to, protocols, known) =
        (rig.endpoint.local_address().unwrap(), protocols(), Known::default());
    let (host, port, path) = (to.ip().to_string(), to.port(), "/".to_owned());
    let server = Server { host, port, path, draft: None };
    let mut waits = Vec::new();
    for again in [false, true] {
        let line = Shape { delay: Duration::from_millis(25), ..Shape::default() };
        let (endpoint, began) = (network.client(line).unwrap(), Instant::now());
        let with = (Trust::Fingerprint(rig.hash), &protocols[..]);
        let connected = endpoint.connect_up(to, "localhost", with, (&known, again)).await;
        let nothing = Origin::new(spine::Limits::default());
        let mut client =
            client::Client::begin(connected.unwrap(), endpoint, &server, nothing, None);
        let handle = client.handle();
        let work = async {
            let remote = handle.remote(namespace(&["default", "one"])).unwrap();
            let subscribed = remote.subscribe("video", Filter::From(Location::default())).await;
            let track = subscribed.as_ref().unwrap().track.clone();
            let start = spine::Start::At(spine::Location { group: 0, object: 0 });
            let mut cursor = track.subscribe(spine::Filter::from(start), spine::Policy::EVERYTHING);
            while !matches!(
                poll_fn(|cx| cursor.poll(cx, clock::now())).await,
                spine::Event::Subgroup(_)
            ) {}
            waits.push(began.elapsed());
            // The server's tickets come behind its handshake.
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        tokio::select! {
            over = client.run() => panic!("{over:?}"),
            () = work => {}
        }
    }
    println!("the first object of a link after {waits:?}: new, made again");
    let sooner = waits[0].saturating_sub(waits[1]).as_millis();
    assert!((45..=55).contains(&sooner), "{waits:?}");
}

/// A server that was started anew knows nobody: it is all said again at once.
#[tokio::test]
async fn draft18_s3_3_1_what_was_said_too_early_is_said_again() {
    let first = Upstream::new();
    let rig = edge(&[&first]).await;
    let mut old = first.accept().await;
    let (mut viewer, _) = Viewer::of(&rig, &mut old).await;
    first.forgets_all();
    is_lost(&old);
    // Before it is given up there that our SETUP comes.
    let again = tokio::time::timeout(moqt::limits::SETUP_TIMEOUT / 2, first.accept());
    let mut new = again.await.unwrap();
    new.tell(&["open", "room"]);
    let here = give(&mut new, None).await;
    send(&new.peer, here, 0, 0, "a", true).await;
    viewer.sees(&[(0, 0, "a")]).await;
    viewer.check();
    assert_eq!(first.status.connections.load(Ordering::Relaxed), 2);
    let came = first.came.load(Ordering::Relaxed);
    assert_eq!(came, 3, "one of them said what it wanted too early");
}
