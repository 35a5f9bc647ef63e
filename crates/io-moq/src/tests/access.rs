//! Who may do what: tokens wherever they can stand, looked at for each request and again and again.

use std::sync::atomic::Ordering;
use std::time::Duration;

use moqt::session::{Command, Event};
use moqt::{
    Answer, DoneCode, Fetch, Location, Parameters, Range, Request, RequestCode, ResetCode, Token,
    Version,
};
use spine::TrackInfo;
use testkit::Shape;

use super::duties::{VIDEO, code, group, text};
use super::rig::{
    Carrier, Client, Rig, Subscribed, namespace, next_object, register, soon, track, until,
    use_value, with_token,
};
use crate::limits::{GATE_AGAIN, GATE_NAMES};
use crate::link::Told;
use crate::listen::{Counters, Why};
use crate::take::Taken;
use crate::transport::{Congestion, Network};

fn secret() -> moqt::TrackName {
    track(&["default", "secret"], "video")
}

#[tokio::test]
async fn d01_d19_a_viewers_token_may_stand_in_setup_or_in_the_request() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "secret"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    group(&video, 0, &["a"]);
    let unauthorized = Some(RequestCode::Unauthorized);
    let parameters = |tokens: Vec<Token>| Parameters { tokens, ..next_object() };
    for (what, path, setup, tokens, expect) in [
        ("nothing", "/", vec![], vec![], unauthorized),
        ("setup", "/", vec![use_value("TOKEN")], vec![], None),
        ("setup, wrong", "/", vec![use_value("WRONG")], vec![], unauthorized),
        ("setup, registered", "/", vec![register(1, "TOKEN")], vec![], None),
        (
            "an alias of setup",
            "/",
            vec![register(1, "TOKEN")],
            vec![Token::UseAlias { alias: 1 }],
            None,
        ),
        ("request", "/", vec![], vec![use_value("TOKEN")], None),
        (
            "request, beside a wrong one in the path",
            "/WRONG",
            vec![],
            vec![use_value("TOKEN")],
            None,
        ),
        ("request, the second of two", "/", vec![], vec![use_value("X"), use_value("TOKEN")], None),
        ("expired", "/", vec![], vec![use_value("OLD")], Some(RequestCode::ExpiredAuthToken)),
    ] {
        let client = rig.client_with(path, setup).await;
        let one = client.subscribe(secret(), parameters(tokens.clone())).await;
        assert_eq!(code(&one.answer), expect, "SUBSCRIBE: {what}");
        let range = Range { start: Location::new(0, 0), end: Location::new(0, 0) };
        let fetch = Fetch::Standalone { track: secret(), range };
        let tokens = Parameters { tokens, ..Parameters::default() };
        let fetch = Request::Fetch { fetch, parameters: tokens.clone() };
        assert_eq!(code(&client.ask(fetch).await.1), expect, "FETCH: {what}");
        let status = Request::TrackStatus { track: secret(), parameters: tokens };
        assert_eq!(code(&client.ask(status).await.1), expect, "TRACK_STATUS: {what}");
    }
}

/// One after the other in a session, and over many. Whoever has the right one is let in all the
/// same.
#[tokio::test]
async fn d19_who_guesses_tokens_is_remembered_for_it_in_his_session() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "secret"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    group(&video, 0, &["a"]);
    let counted = || {
        let Counters { wrong_tokens, unread_tokens, .. } = &*rig.counters;
        [wrong_tokens, unread_tokens].map(|of| of.load(Ordering::Relaxed))
    };
    let mut expect = [0, 0];
    for version in Version::ALL.iter().copied() {
        // What is no token stands before it, or a good one behind it.
        for first in [&["GUESS 1"][..], &["x", "GUESS 1"], &["GUESS 1", "TOKEN"]] {
            let client = rig.client_of(version).await;
            let ask = async |tokens: &[&'static str]| {
                let tokens = tokens.iter().copied().map(use_value).collect();
                let parameters = Parameters { tokens, ..Parameters::default() };
                let status = Request::TrackStatus { track: secret(), parameters };
                code(&client.ask(status).await.1)
            };
            let is_let_in = first.contains(&"TOKEN");
            let refused = Some(RequestCode::Unauthorized).filter(|_| !is_let_in);
            assert_eq!(ask(first).await, refused, "{version:?}: {first:?}");
            let why = match version {
                // It has no word for it.
                Version::Draft16 => RequestCode::InternalError,
                _ => RequestCode::ExcessiveLoad,
            };
            for guess in ["GUESS 2", "GUESS 3"] {
                assert_eq!(ask(&[guess]).await, Some(why), "{version:?}: {guess}");
            }
            expect = [expect[0] + 1, expect[1] + 2];
            assert_eq!(counted(), expect, "{version:?}");
            assert_eq!(ask(&["TOKEN"]).await, None, "{version:?}");
        }
    }
}

#[tokio::test]
async fn d01_what_one_subscriber_may_see_another_may_not() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "secret"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let (one, two) = (rig.client("/TOKEN").await, rig.client("/").await);
    let mut seen = one.subscribe(secret(), next_object()).await;
    let refused = two.subscribe(secret(), next_object()).await;
    assert_eq!(code(&refused.answer), Some(RequestCode::Unauthorized));
    group(&video, 0, &["a"]);
    assert_eq!(text(&seen.next().await), (0, 0, "a"));
    // The token of one request is not that of the next one.
    let allowed = two.subscribe(secret(), with_token("TOKEN")).await;
    assert_eq!(code(&allowed.answer), None);
    let other = Request::TrackStatus { track: secret(), parameters: Parameters::default() };
    assert_eq!(code(&two.ask(other).await.1), Some(RequestCode::Unauthorized));
}

/// However short the prefix is that somebody asks for.
#[tokio::test]
async fn d01_what_may_not_be_watched_is_not_told_of() {
    let rig = Rig::new();
    let _secret = rig.broadcast(&["default", "secret"]);
    let _open = rig.broadcast(&["default", "two"]);
    for (tokens, expect) in [(vec![], &["two"][..]), (vec![use_value("TOKEN")], &["secret", "two"])]
    {
        let client = rig.client_with("/", tokens).await;
        let request = Request::SubscribeNamespace {
            tracks: false,
            prefix: namespace(&[]),
            parameters: Parameters::default(),
        };
        let (_, answer, mut told) = client.ask(request).await;
        assert_eq!(code(&answer), None);
        // Those that are here already, by their names.
        for name in expect {
            match soon("a namespace", told.recv()).await {
                Some(Told::Event(Event::Namespace { namespace: told, .. })) => {
                    assert_eq!(told, namespace(&["default", name]), "of {expect:?}");
                }
                _ => panic!("the request is over"),
            }
        }
    }
}

#[tokio::test]
async fn d01_d19_a_token_that_is_revoked_ends_what_it_allowed() {
    const { assert!(GATE_AGAIN.as_millis() < Duration::from_secs(1).as_millis()) };
    let rig = Rig::new();
    let broadcasts = ["one", "secret"].map(|name| rig.broadcast(&["default", name]));
    let [open, video] =
        broadcasts.each_ref().map(|b| b.track(VIDEO, TrackInfo::default()).unwrap());
    let client = rig.client("/").await;
    let mut neighbour = client.subscribe(track(&["default", "one"], "video"), next_object()).await;
    let one = client.subscribe(secret(), with_token("TOKEN")).await;
    let other = rig.client("/").await;
    let mut renewed = other.subscribe(secret(), with_token("TOKEN")).await;
    // A fresh token takes the old one's place.
    let fresh = Parameters { tokens: vec![use_value("FRESH")], ..Parameters::default() };
    other.command(Command::Update { id: renewed.id, parameters: fresh });
    let status = Request::TrackStatus { track: secret(), parameters: with_token("FRESH") };
    let status = match status {
        Request::TrackStatus { track, parameters } => {
            Request::TrackStatus { track, parameters: Parameters { filter: None, ..parameters } }
        }
        other => other,
    };
    assert_eq!(code(&other.ask(status).await.1), None, "the update has arrived before it");
    rig.revoked.store(true, Ordering::Relaxed);
    let done = soon("the end of what the token allowed", one.taken).await.unwrap();
    assert_eq!(done, Taken::Done(DoneCode::Unauthorized));
    let again = client.subscribe(secret(), with_token("TOKEN")).await;
    assert_eq!(code(&again.answer), Some(RequestCode::Unauthorized));
    group(&video, 0, &["still"]);
    group(&open, 0, &["here"]);
    assert_eq!(text(&renewed.next().await), (0, 0, "still"));
    assert_eq!(text(&neighbour.next().await), (0, 0, "here"));
}

/// draft-18 §10.2.2: as a request would be. What it is about is over then (draft-18 §10.9.1).
#[tokio::test]
async fn d01_d19_an_update_that_shows_a_token_which_is_not_good_is_refused() {
    for (token, expect) in [
        ("WRONG", RequestCode::Unauthorized),
        ("GUESS", RequestCode::Unauthorized),
        ("OLD", RequestCode::ExpiredAuthToken),
    ] {
        for version in [Version::Draft16, Version::Draft18, Version::Draft22] {
            let rig = Rig::new();
            let broadcast = rig.broadcast(&["default", "secret"]);
            let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
            group(&video, 5, &["a"]);
            // What is fetched waits for who could bring it.
            let _nobody = rig.origin.responder(broadcast.path().clone(), 1);
            let shows = |tokens| Parameters { tokens, ..Parameters::default() };
            let good = || shows(vec![use_value("TOKEN")]);
            let range = Range { start: Location::new(0, 0), end: Location::new(5, 0) };
            let fetch = Fetch::Standalone { track: secret(), range };
            let prefix = || namespace(&["default"]);
            let mut requests = vec![
                Request::Subscribe { track: secret(), parameters: good() },
                Request::SubscribeNamespace { prefix: prefix(), tracks: false, parameters: good() },
            ];
            if version != Version::Draft16 {
                // Neither is updated there.
                requests.push(Request::Fetch { fetch, parameters: good() });
                requests.push(Request::SubscribeTracks { prefix: prefix(), parameters: good() });
            }
            let guesses = if token == "GUESS" { requests.len() as u64 } else { 0 };
            for request in requests {
                let what = format!("{version:?}: {token} for {request:?}");
                // One that has guessed once is not listened to: each in a session of its own.
                let client = rig.client_of(version).await;
                let (id, answer, mut told) = client.ask(request).await;
                assert_eq!(code(&answer), None, "{what}");
                let parameters = shows(vec![use_value(token)]);
                client.command(Command::Update { id, parameters });
                loop {
                    match soon("the answer to an update", told.recv()).await {
                        Some(Told::Event(Event::UpdateAnswered { answer, .. })) => {
                            break assert_eq!(code(&answer), Some(expect), "{what}");
                        }
                        Some(_) => {}
                        None => panic!("{what}: no answer"),
                    }
                }
                if what.contains("Subscribe {") {
                    let done = client.follow(id, Answer::ok(), told).taken;
                    let done = soon("its end", done).await.unwrap();
                    assert_eq!(done, Taken::Done(DoneCode::UpdateFailed), "{what}");
                }
            }
            let wrong = rig.counters.wrong_tokens.load(Ordering::Relaxed);
            assert_eq!(wrong, guesses, "decision 104");
        }
    }
}

/// Subscribes with `TOKEN` and shows `SLOW` then, which is being looked at.
async fn shows_slow(rig: &Rig, client: &Client) -> Subscribed {
    let seen = client.subscribe(secret(), with_token("TOKEN")).await;
    assert_eq!(code(&seen.answer), None);
    let looked = rig.looks.load(Ordering::Relaxed);
    let slow = Parameters { tokens: vec![use_value("SLOW")], ..Parameters::default() };
    client.command(Command::Update { id: seen.id, parameters: slow });
    until("the look at it", || rig.looks.load(Ordering::Relaxed) > looked).await;
    seen
}

#[tokio::test(start_paused = true)]
async fn d01_d19_a_token_that_ends_while_another_one_is_looked_at_ends_nothing() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    *rig.why.lock().unwrap() = Why::Expired;
    let broadcast = rig.broadcast(&["default", "secret"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let client = rig.client_over(&network, Shape::default()).await;
    let mut seen = shows_slow(&rig, &client).await;
    rig.revoked.store(true, Ordering::Relaxed);
    tokio::time::sleep(GATE_AGAIN * 2).await;
    rig.says.send_replace(true);
    tokio::time::sleep(GATE_AGAIN * 3).await;
    group(&video, 0, &["still"]);
    assert_eq!(text(&seen.next().await), (0, 0, "still"));
    // One about which nobody says anything keeps nothing open for ever.
    rig.says.send_replace(false);
    rig.revoked.store(false, Ordering::Relaxed);
    let client = rig.client_over(&network, Shape::default()).await;
    let seen = shows_slow(&rig, &client).await;
    rig.revoked.store(true, Ordering::Relaxed);
    let done = soon("its end", seen.taken).await.unwrap();
    assert_eq!(done, Taken::Done(DoneCode::Expired));
}

#[tokio::test]
async fn d01_who_leaves_while_what_he_shows_is_looked_at_is_sent_nothing_more() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "secret"]);
    let _video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let client = rig.client("/").await;
    let seen = shows_slow(&rig, &client).await;
    client.command(Command::Cancel { id: seen.id, code: ResetCode::Cancelled });
    let open = || rig.counters.subscriptions_open.load(Ordering::Relaxed);
    until("the end of the subscription", || open() == 0).await;
}

/// A token is none the better for that nobody can say so of one broadcast.
#[tokio::test(start_paused = true)]
async fn d01_d19_a_bad_token_for_a_prefix_is_refused_also_where_nobody_can_say_of_one_broadcast() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let _both = ["secret", "unsaid"].map(|name| rig.broadcast(&["default", name]));
    for (token, expect) in [("WRONG", Some(RequestCode::Unauthorized)), ("FRESH", None)] {
        let client = rig.client_over(&network, Shape::default()).await;
        let (id, answer, mut told) = client
            .ask(Request::SubscribeNamespace {
                prefix: namespace(&["default"]),
                tracks: false,
                parameters: Parameters {
                    tokens: vec![use_value("TOKEN")],
                    ..Parameters::default()
                },
            })
            .await;
        assert_eq!(code(&answer), None);
        let parameters = Parameters { tokens: vec![use_value(token)], ..Parameters::default() };
        client.command(Command::Update { id, parameters });
        let answer = loop {
            match soon("the answer to an update", told.recv()).await {
                Some(Told::Event(Event::UpdateAnswered { answer, .. })) => break answer,
                Some(_) => {}
                None => panic!("{token}: no answer"),
            }
        };
        assert_eq!(code(&answer), expect, "{token}");
    }
}

/// However many are told of before the one that it opens.
#[tokio::test(start_paused = true)]
async fn d01_d19_a_token_for_a_prefix_is_good_if_it_opens_any_broadcast_below_it() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let open: Vec<String> = (0..GATE_NAMES).map(|n| format!("b {n}")).collect();
    let mut broadcasts: Vec<_> = open.iter().map(|name| rig.broadcast(&["all", name])).collect();
    broadcasts.push(rig.broadcast(&["all", "a", "secret"]));
    broadcasts.push(rig.broadcast(&["all", "c", "late"]));
    let client = rig.client_over(&network, Shape::default()).await;
    let shows = |token| Parameters { tokens: vec![use_value(token)], ..Parameters::default() };
    let (prefix, parameters) = (namespace(&["all"]), shows("TOKEN"));
    let request = Request::SubscribeNamespace { prefix, tracks: false, parameters };
    let (id, answer, mut told) = client.ask(request).await;
    assert_eq!(code(&answer), None);
    for (token, expect) in [("LATE", None), ("WRONG", Some(RequestCode::Unauthorized))] {
        client.command(Command::Update { id, parameters: shows(token) });
        let answer = loop {
            match soon("the answer to an update", told.recv()).await {
                Some(Told::Event(Event::UpdateAnswered { answer, .. })) => break answer,
                Some(_) => {}
                None => panic!("{token}: no answer"),
            }
        };
        assert_eq!(code(&answer), expect, "{token}");
    }
}

/// Two people side by side, whatever carries their sessions: one of them is where it may be watched.
#[tokio::test(start_paused = true)]
async fn d01_of_two_addresses_one_may_subscribe_and_fetch() {
    for carrier in [Carrier::Quic(Version::Draft18), Carrier::WebTransport(Version::Draft18)] {
        let network = Network::new(7);
        let rig = Rig::over(&network, Congestion::Ours);
        let broadcast = rig.broadcast(&["default", "near"]);
        let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
        group(&video, 0, &["a"]);
        let name = || track(&["default", "near"], "video");
        let mut people = Vec::new();
        for (host, expect) in [(1, None), (2, Some(RequestCode::Unauthorized))] {
            let endpoint = network.client_of(host, Shape::default()).unwrap();
            let client = rig.client_on(endpoint, carrier).await;
            let seen = client.subscribe(name(), next_object()).await;
            assert_eq!(code(&seen.answer), expect, "{carrier:?} from {host}");
            let range = Range { start: Location::new(0, 0), end: Location::new(0, 0) };
            let fetch = Fetch::Standalone { track: name(), range };
            let request = Request::Fetch { fetch, parameters: Parameters::default() };
            let (_, answer, _) = client.ask(request).await;
            assert_eq!(code(&answer), expect, "{carrier:?} from {host}");
            people.push((client, seen));
        }
        // What comes next, comes to the one.
        group(&video, 1, &["b"]);
        let object = people[0].1.next().await;
        assert_eq!((object.group, &object.payload[..]), (1, &b"b"[..]), "{carrier:?}");
    }
}

/// RFC 9000 §9: whoever has moved is judged by where he is now.
#[tokio::test(start_paused = true)]
async fn d01_who_moves_to_where_it_may_not_be_watched_is_shut_out() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let broadcast = rig.broadcast(&["default", "near"]);
    let _video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let near = track(&["default", "near"], "video");
    let client = rig.client_over(&network, Shape::default()).await;
    let seen = client.subscribe(near.clone(), next_object()).await;
    assert_eq!(code(&seen.answer), None);
    network.move_client_to(&client.endpoint, 2, Shape::default()).unwrap();
    let status = Request::TrackStatus { track: near, parameters: Parameters::default() };
    // By this the server hears of it.
    assert_eq!(code(&client.ask(status).await.1), Some(RequestCode::Unauthorized));
    let done = soon("the end of what was allowed there", seen.taken).await.unwrap();
    assert_eq!(done, Taken::Done(DoneCode::Unauthorized));
}

/// An address on packets is not proved by them.
#[tokio::test(start_paused = true)]
async fn d01_who_may_not_watch_is_not_let_in_by_another_address_on_his_packets() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let broadcast = rig.broadcast(&["default", "near"]);
    let _video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let near = track(&["default", "near"], "video");
    let far = network.client_of(2, Shape::default()).unwrap();
    let client = rig.client_from(far).await;
    for moved in [false, true] {
        if moved {
            network.move_client(&client.endpoint, Shape::default()).unwrap();
        }
        let status =
            Request::TrackStatus { track: near.clone(), parameters: Parameters::default() };
        assert_eq!(code(&client.ask(status).await.1), Some(RequestCode::Unauthorized), "{moved}");
    }
}

#[tokio::test]
async fn d01_a_fetch_that_is_under_way_ends_with_its_token() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "secret"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    // Nobody brings group 0: the fetch waits for who could.
    let path = broadcast.path().clone();
    let mut responder = rig.origin.responder(path, 1);
    group(&video, 5, &["a"]);
    let client = rig.client("/").await;
    let range = Range { start: Location::new(0, 0), end: Location::new(5, 0) };
    let fetch = Fetch::Standalone { track: secret(), range };
    let parameters = Parameters { tokens: vec![use_value("TOKEN")], ..Parameters::default() };
    let (_, answer, mut told) = client.ask(Request::Fetch { fetch, parameters }).await;
    assert!(matches!(answer, Answer::FetchOk(_)), "{answer:?}");
    let _held =
        soon("the responder to be asked", std::future::poll_fn(|cx| responder.poll(cx))).await;
    rig.revoked.store(true, Ordering::Relaxed);
    let reset = loop {
        match soon("the end of the fetch", told.recv()).await {
            Some(Told::Event(moqt::session::Event::Cancelled { code, .. })) => break code,
            Some(_) => {}
            None => panic!("the request is over without a word"),
        }
    };
    assert_eq!(reset, ResetCode::Cancelled);
}

#[tokio::test]
async fn d01_a_stream_key_may_stand_in_the_request_and_is_that_of_the_namespace() {
    let rig = Rig::new();
    let own: &[&str] = &["default", "one"];
    let parameters = |token: &'static str| Parameters {
        tokens: if token.is_empty() { Vec::new() } else { vec![use_value(token)] },
        ..Parameters::default()
    };
    for (path, setup, token, namespace, expect) in [
        ("/", vec![], "KEY", own, None),
        ("/", vec![use_value("KEY")], "", own, None),
        ("/WRONG", vec![use_value("KEY")], "", own, None),
        ("/KEY", vec![], "WRONG", own, Some(RequestCode::Unauthorized)),
        ("/", vec![], "TOKEN", own, Some(RequestCode::Unauthorized)),
        ("/", vec![], "KEY", &["default", "two"], Some(RequestCode::Unauthorized)),
        ("/", vec![], "KEY", &["default"], Some(RequestCode::Unauthorized)),
        ("/", vec![], "KEY", &["default", "one", "more"], Some(RequestCode::Unauthorized)),
    ] {
        let client = rig.client_with(path, setup.clone()).await;
        let answer = client.publish_namespace_with(namespace, parameters(token)).await;
        assert_eq!(code(&answer), expect, "PUBLISH_NAMESPACE at {path} with {token:?}");
        let client = rig.client_with(path, setup).await;
        let name = track(namespace, "video");
        let answer = client.publish_with(name, parameters(token)).await.1;
        assert_eq!(code(&answer), expect, "PUBLISH at {path} with {token:?}");
    }
    // The namespace is open to this session by its key; another key in a later request is not passed over.
    let client = rig.client("/").await;
    assert_eq!(code(&client.publish_namespace_with(own, parameters("KEY")).await), None);
    for (token, expect) in [("WRONG", Some(RequestCode::Unauthorized)), ("KEY", None), ("", None)] {
        let name = track(own, if token.is_empty() { "none" } else { token });
        let answer = client.publish_with(name, parameters(token)).await.1;
        assert_eq!(code(&answer), expect, "{token:?}");
    }
}

#[tokio::test]
async fn who_watches_is_counted_once_a_session_and_what_is_sent_is_counted() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let media = || TrackInfo { timescale: Some(90_000), ..TrackInfo::default() };
    let video = broadcast.track(VIDEO, media()).unwrap();
    let _sound = broadcast.track(spine::TrackName::from_static("audio"), media());
    let _chat = broadcast.track(spine::TrackName::from_static("chat"), TrackInfo::default());
    let [one, two, beside] = [rig.client("/").await, rig.client("/").await, rig.client("/").await];
    let name = |track_name| track(&["default", "one"], track_name);
    let mut first = one.subscribe(name("video"), next_object()).await;
    let _more = one.subscribe(name("audio"), next_object()).await;
    let mut second = two.subscribe(name("video"), next_object()).await;
    let _chats = beside.subscribe(name("chat"), next_object()).await;
    let watching = || rig.watching.load(Ordering::Relaxed);
    until("two to be seated", || watching() == 2).await;
    let open = || rig.counters.subscriptions_open.load(Ordering::Relaxed);
    until("four subscriptions", || open() == 4).await;
    assert_eq!(watching(), 2, "who chats watches by another session");
    beside.link.close(moqt::SessionCode::NoError, "");
    until("three subscriptions", || open() == 3).await;
    group(&video, 0, &["ab", "cde"]);
    for viewer in [&mut first, &mut second] {
        for _ in 0..2 {
            viewer.next().await;
        }
    }
    let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    until("all to be counted", || of(&rig.counters.objects) == 4).await;
    assert_eq!(of(&rig.counters.object_bytes), 10);
    assert_eq!((of(&rig.counters.subscriptions), of(&rig.counters.session_errors)), (4, 0));
    two.link.close(moqt::SessionCode::NoError, "");
    until("one to leave", || watching() == 1).await;
    assert_eq!(of(&rig.counters.session_errors), 0, "a goodbye is no error");
    drop((two, second));
    one.link.close(moqt::SessionCode::ProtocolViolation, "a test");
    until("the other to leave", || watching() == 0 && open() == 0).await;
    until("its error to be counted", || of(&rig.counters.session_errors) == 1).await;
}
