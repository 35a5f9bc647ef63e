//! Subscriptions from request to end.

use std::time::Duration;

use moqt::session::{Command, Event, Input};
use moqt::{
    Answer, Done, DoneCode, Location, Parameters, Properties, Request, RequestCode, ResetCode,
    Route, SessionError, Version, properties,
};

use crate::support::*;

fn done(code: DoneCode) -> Done {
    Done { code, reason: "over".to_owned() }
}

/// A publisher with three groups, a subscriber that gets all of it, whatever overtakes what.
#[test]
fn draft18_s10_11_everything_comes_and_then_the_end() {
    for seed in 0..300 {
        let mut pair = Pair::new(seed);
        let id = pair.ask_and_see(Client, subscribe("video"));
        let parameters = Parameters { largest: Some(Location::new(4, 2)), ..Parameters::default() };
        pair.answer(Server, id, Answer::Ok { parameters, properties: Properties::empty() });
        let streams: Vec<_> = (5..8)
            .map(|group| pair.send_group(Server, id, group, &["a", "bc", ""]).unwrap())
            .collect();
        pair.command(Server, Command::Done { id, done: done(DoneCode::TrackEnded) });
        // Not said before the last stream is closed, and no stream is opened any more.
        assert_eq!(pair.send_group(Server, id, 9, &[]), None);
        for stream in streams {
            pair.finish_data(Server, id, stream);
        }
        pair.settle();
        let events = pair.take(Client);
        assert!(
            matches!(&events[0], Event::Answered { answer: Answer::Ok { parameters, .. }, .. }
                if parameters.largest == Some(Location::new(4, 2))),
            "seed {seed}: {events:?}"
        );
        assert_eq!(events.last(), Some(&Event::Drained { id }), "seed {seed}");
        let ended = Event::Done { id, done: done(DoneCode::TrackEnded) };
        assert_eq!(events.iter().filter(|event| **event == ended).count(), 1);
        let mut received = std::mem::take(&mut pair.client.received);
        received.sort();
        let expected = (5..8).flat_map(|group| {
            ["a", "bc", ""].into_iter().enumerate().map(move |(object, payload)| Received {
                request: id,
                group,
                object: object as u64,
                payload: payload.into(),
            })
        });
        assert!(received.into_iter().eq(expected), "seed {seed}");
        assert_eq!(pair.client.session.kept() + pair.server.session.kept(), 0, "seed {seed}");
    }
}

/// draft-18 §10.11: streams that never came are waited for, but not for ever.
#[test]
fn draft18_s10_11_a_stream_that_was_lost() {
    let mut pair = Pair::new(3);
    let id = pair.establish(Client, subscribe("video"));
    // Counted, but its header does not come: it was reset at once.
    pair.server.session.open_data(id).unwrap();
    pair.command(Server, Command::DataClosed { id });
    pair.command(Server, Command::Done { id, done: done(DoneCode::Expired) });
    pair.advance(Duration::from_millis(1_500));
    assert_eq!(pair.take(Client), [Event::Done { id, done: done(DoneCode::Expired) }]);
    // Another subscription may begin meanwhile.
    let again = pair.ask(Client, subscribe("video"));
    pair.advance(Duration::from_secs(2));
    assert_eq!(pair.take(Client), [Event::Drained { id }]);
    pair.command(Client, Command::Cancel { id: again, code: ResetCode::Cancelled });
    pair.settle();
    assert_eq!(pair.client.session.kept() + pair.server.session.kept(), 0);
}

/// What was counted and got no stream is not said to the peer, which would wait for it.
#[test]
fn draft18_s10_11_a_stream_that_was_never_opened() {
    for v in [Version::Draft16, Version::Draft18, Version::Draft22] {
        let mut pair = Pair::of(v, 3);
        let id = pair.establish(Client, subscribe("video"));
        let stream = pair.send_group(Server, id, 5, &["a"]).unwrap();
        pair.server.session.open_data(id).unwrap();
        pair.finish_data(Server, id, stream);
        pair.command(Server, Command::Done { id, done: done(DoneCode::TrackEnded) });
        pair.settle();
        let over = [Event::Done { id, done: done(DoneCode::TrackEnded) }, Event::Drained { id }];
        assert!(!pair.take(Client).ends_with(&over), "{v:?}: it may be opened yet");
        pair.command(Server, Command::DataUnopened { id });
        pair.settle();
        assert_eq!(pair.take(Client), over, "{v:?}");
    }
}

/// The wait is at least the larger delivery timeout, of which the smaller one of both sides counts.
#[test]
fn draft18_s10_11_the_wait_after_done() {
    let mut pair = Pair::new(3);
    let parameters = Parameters {
        object_delivery_timeout_ms: Some(9_000),
        subgroup_delivery_timeout_ms: Some(3_000),
        ..Parameters::default()
    };
    let id = pair.ask_and_see(Client, Request::Subscribe { track: track("video"), parameters });
    let number = properties::Value::Number(5_000);
    let properties =
        Properties::from_pairs(&[(properties::kind::OBJECT_DELIVERY_TIMEOUT, number)]).unwrap();
    pair.answer(Server, id, Answer::Ok { parameters: Parameters::default(), properties });
    pair.server.session.open_data(id).unwrap();
    pair.command(Server, Command::DataClosed { id });
    pair.command(Server, Command::Done { id, done: done(DoneCode::TrackEnded) });
    pair.advance(Duration::from_millis(4_900));
    assert!(!pair.take(Client).contains(&Event::Drained { id }));
    pair.advance(Duration::from_millis(200));
    assert_eq!(pair.take(Client), [Event::Drained { id }]);
}

/// Data that outran its SUBSCRIBE_OK waits for it; what belongs to nothing does not wait for ever.
#[test]
fn draft18_s11_4_2_d25_unknown_aliases() {
    let mut pair = Pair::new(1);
    let id = pair.ask_and_see(Client, subscribe("video"));
    pair.answer(Server, id, Answer::ok());
    let alias = pair.server.session.alias(id).unwrap();
    // The answer is still on its way when the data is there.
    let header = moqt::data::SubgroupHeader {
        alias,
        group: 1,
        subgroup: moqt::data::SubgroupId::Zero,
        priority: None,
        properties: false,
        end_of_group: false,
        first_object: true,
    };
    let early = moqt::session::DataId(900);
    let never = moqt::session::DataId(901);
    let other = moqt::data::SubgroupHeader { alias: alias + 7, ..header };
    for (stream, header) in [(early, header), (never, other)] {
        let header = moqt::session::DataHeader::Subgroup(header);
        let now = pair.now;
        sansio::Core::handle(&mut pair.client.session, now, Input::DataOpened { stream, header })
            .unwrap();
    }
    assert!(matches!(sansio::Core::poll(&mut pair.client.session), sansio::Poll::Wait(Some(_))));
    // The harness knows nothing of these streams, so their events are taken by hand.
    let now = pair.now + Duration::from_secs(3);
    sansio::Core::handle(&mut pair.client.session, now, Input::Timeout).unwrap();
    let mut stopped = Vec::new();
    while let sansio::Poll::Output(output) = sansio::Core::poll(&mut pair.client.session) {
        match output {
            moqt::session::Output::StopData { stream, .. } => stopped.push(stream),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(stopped, [early, never]);
}

#[test]
fn draft18_s3_3_2_a_subscriber_cancels() {
    for seed in 0..100 {
        let mut pair = Pair::new(seed);
        let id = pair.establish(Client, subscribe("video"));
        let open = pair.send_group(Server, id, 1, &["a"]).unwrap();
        pair.settle();
        pair.take(Client);
        pair.command(Client, Command::Cancel { id, code: ResetCode::Cancelled });
        // The stream that was open is stopped at once.
        assert_eq!(pair.server.stopped, [(open, V.reset_code(ResetCode::Cancelled))]);
        // Late ones are known to be late (draft-18 §11.1).
        let late = pair.send_group(Server, id, 2, &["b"]).unwrap();
        pair.settle();
        assert_eq!(pair.server.stopped.last().unwrap().0, late);
        assert_eq!(pair.take(Server), [Event::Cancelled { id, code: ResetCode::Cancelled }]);
        assert_eq!(pair.send_group(Server, id, 3, &[]), None);
        assert_eq!(pair.take(Client), []);
        pair.reset_data(Server, id, open);
        pair.reset_data(Server, id, late);
        pair.settle();
        assert_eq!(pair.client.session.kept() + pair.server.session.kept(), 0, "seed {seed}");
    }
}

#[test]
fn draft18_s3_3_2_a_publisher_cancels() {
    let mut pair = Pair::new(5);
    let id = pair.establish(Client, subscribe("video"));
    pair.command(Server, Command::Cancel { id, code: ResetCode::ExcessiveLoad });
    pair.settle();
    assert_eq!(pair.take(Client), [Event::Cancelled { id, code: ResetCode::ExcessiveLoad }]);
    assert_eq!(pair.client.session.kept() + pair.server.session.kept(), 0);
}

/// Both at once: each is told what it does not know, and commands that cross are without effect.
#[test]
fn ends_that_cross() {
    for seed in 0..100 {
        let mut pair = Pair::new(seed);
        let id = pair.establish(Client, subscribe("video"));
        pair.command(Client, Command::Cancel { id, code: ResetCode::Cancelled });
        pair.command(Server, Command::Done { id, done: done(DoneCode::TrackEnded) });
        pair.settle();
        pair.command(Server, Command::Cancel { id, code: ResetCode::Cancelled });
        pair.command(Server, Command::DataClosed { id });
        pair.settle();
        assert_eq!(pair.take(Client), []);
        assert_eq!(pair.take(Server), []);
        assert_eq!(pair.client.session.kept() + pair.server.session.kept(), 0, "seed {seed}");
    }
}

/// draft-18 §5.1: one subscription for a track and role.
#[test]
fn draft18_s5_1_second_subscriptions() {
    let mut pair = Pair::new(1);
    pair.establish(Client, subscribe("video"));
    let now = pair.now;
    let second = pair.client.session.request(now, subscribe("video"));
    assert!(matches!(second, Err(SessionError::Misuse(_))));
    // The server publishes to the client already.
    let now = pair.now;
    let second = pair.server.session.request(now, publish("video"));
    assert!(matches!(second, Err(SessionError::Misuse(_))));
    // In the other role it is another subscription (draft-18 §5.1: also to one's own track).
    pair.establish(Client, publish("video"));
}

/// draft-18 §2.5.1: a track with a mandatory property that we do not understand.
#[test]
fn draft18_s2_5_1_mandatory_properties() {
    let pairs = [(0x4001, properties::Value::Bytes(b"x"))];
    let mandatory = Properties::from_pairs(&pairs).unwrap();
    let mut pair = Pair::new(1);
    let id = pair.ask_and_see(Client, subscribe("video"));
    let answer = Answer::Ok { parameters: Parameters::default(), properties: mandatory.clone() };
    pair.answer(Server, id, answer.clone());
    pair.settle();
    assert_eq!(refusals(&pair.take(Client)), [(id, RequestCode::UnsupportedExtension)]);
    assert_eq!(pair.take(Server), [Event::Cancelled { id, code: ResetCode::Cancelled }]);
    let request = Request::Publish {
        track: track("video"),
        parameters: Parameters::default(),
        properties: mandatory,
    };
    let id = pair.ask(Client, request);
    pair.settle();
    assert_eq!(refusals(&pair.take(Client)), [(id, RequestCode::UnsupportedExtension)]);
    assert_eq!(pair.take(Server), []);
    // Who understands it is told.
    let understands = moqt::session::Config { mandatory_properties: vec![0x4001], ..config() };
    let mut pair = Pair::raw(1, understands, config());
    let id = pair.ask(Client, subscribe("video"));
    pair.settle();
    pair.answer(Server, id, answer);
    pair.settle();
    assert_eq!(refusals(&pair.take(Client)), []);
}

#[test]
fn draft18_s10_14_track_status() {
    let mut pair = Pair::new(1);
    let status =
        || Request::TrackStatus { track: track("video"), parameters: Parameters::default() };
    let id = pair.ask_and_see(Client, status());
    let value = properties::Value::Number(1);
    let properties = Properties::from_pairs(&[(properties::kind::DYNAMIC_GROUPS, value)]).unwrap();
    let parameters = Parameters { largest: Some(Location::new(3, 4)), ..Parameters::default() };
    let answer = Answer::Ok { parameters, properties };
    pair.answer(Server, id, answer.clone());
    pair.settle();
    assert_eq!(pair.take(Client), [Event::Answered { id, answer }]);
    assert_eq!(pair.client.session.kept() + pair.server.session.kept(), 0);
    // It is not a subscription: it may stand beside one, and twice, and cannot be updated.
    pair.establish(Client, subscribe("video"));
    let id = pair.ask_and_see(Client, status());
    pair.ask_and_see(Client, status());
    let update = Command::Update { id, parameters: Parameters::default() };
    assert!(matches!(pair.try_command(Client, update), Err(SessionError::Misuse(_))));
}

#[test]
fn misuse_changes_nothing() {
    let mut pair = Pair::new(1);
    let id = pair.ask_and_see(Client, subscribe("video"));
    let expires = Parameters { fill_timeout_ms: Some(1), ..Parameters::default() };
    let fetch_ok = Answer::FetchOk(moqt::FetchOk {
        end_of_track: false,
        end: Location::default(),
        parameters: Parameters::default(),
        properties: Properties::empty(),
    });
    for (side, command) in [
        // Parameters that do not belong there.
        (
            Client,
            Command::Request(Request::Subscribe { track: track("x"), parameters: expires.clone() }),
        ),
        (
            Server,
            Command::Answer {
                id,
                answer: Answer::Ok { parameters: expires, properties: Properties::empty() },
            },
        ),
        // Answers that do not fit, and to one's own request.
        (Server, Command::Answer { id, answer: fetch_ok }),
        (Client, Command::Answer { id, answer: Answer::ok() }),
        (Server, Command::AnswerUpdate { id, answer: Answer::ok() }),
        (Server, Command::Done { id, done: done(DoneCode::TrackEnded) }),
        (Client, Command::Done { id, done: done(DoneCode::TrackEnded) }),
        (
            Server,
            Command::Namespace { id, namespace: namespace(&["acc"]), route: Route::default() },
        ),
        (Server, Command::PublishBlocked { id, track: track("video") }),
    ] {
        let result = pair.try_command(side, command.clone());
        assert!(matches!(result, Err(SessionError::Misuse(_))), "{command:?}");
    }
    pair.answer(Server, id, Answer::ok());
    let again = Command::Answer { id, answer: Answer::ok() };
    assert!(matches!(pair.try_command(Server, again), Err(SessionError::Misuse(_))));
    pair.settle();
    assert_eq!(pair.take(Client).len(), 1);
}
