//! Subscriptions that the publisher offers.

use moqt::session::{Command, Event};
use moqt::{
    Answer, Done, DoneCode, Location, Parameters, Properties, Request, RequestCode, ResetCode,
    SessionError, properties,
};

use crate::support::*;

/// draft-18 §10.10: objects may come before the answer.
#[test]
fn draft18_s10_10_data_before_the_answer() {
    for seed in 0..200 {
        let mut pair = Pair::new(seed);
        let id = pair.ask(Client, publish("video"));
        let stream = pair.send_group(Client, id, 7, &["first", "second"]).unwrap();
        pair.finish_data(Client, id, stream);
        pair.settle();
        let events = pair.take(Server);
        assert!(
            matches!(events[..], [Event::Request { .. }, Event::Data { id: to, .. }] if to == id),
            "seed {seed}: {events:?}"
        );
        assert_eq!(pair.server.received.len(), 2);
        pair.answer(Server, id, Answer::ok());
        let done = Done { code: DoneCode::TrackEnded, reason: String::new() };
        pair.command(Client, Command::Done { id, done: done.clone() });
        pair.settle();
        assert_eq!(pair.take(Server), [Event::Done { id, done }, Event::Drained { id }]);
        assert_eq!(pair.client.session.kept() + pair.server.session.kept(), 0);
    }
}

/// A publication that is over before it was answered.
#[test]
fn draft18_s10_11_done_before_the_answer() {
    for refuse in [false, true] {
        let mut pair = Pair::new(1);
        let id = pair.ask(Client, publish("video"));
        let stream = pair.send_group(Client, id, 7, &["a"]).unwrap();
        // Not among those that come: the subscription stays for a while.
        pair.client.session.open_data(id).unwrap();
        pair.command(Client, Command::DataClosed { id });
        pair.finish_data(Client, id, stream);
        let done = Done { code: DoneCode::TrackEnded, reason: String::new() };
        pair.command(Client, Command::Done { id, done: done.clone() });
        pair.settle();
        assert!(pair.take(Server).contains(&Event::Done { id, done }));
        let answer = if refuse { Answer::error(RequestCode::Timeout, "") } else { Answer::ok() };
        pair.answer(Server, id, answer);
        pair.advance(std::time::Duration::from_secs(3));
        assert_eq!(pair.take(Server), [Event::Drained { id }]);
        assert_eq!(pair.client.session.kept() + pair.server.session.kept(), 0);
    }
}

#[test]
fn draft18_s10_10_an_unwanted_publication() {
    for seed in 0..100 {
        let mut pair = Pair::new(seed);
        let id = pair.ask(Client, publish("video"));
        let open = pair.send_group(Client, id, 1, &["a"]).unwrap();
        pair.settle();
        pair.take(Server);
        pair.answer(Server, id, Answer::error(RequestCode::Uninterested, "no"));
        // "abandon reading any publisher initiated streams ... using a STOP_SENDING frame"
        assert_eq!(pair.client.stopped, [(open, V.reset_code(ResetCode::Cancelled))]);
        let late = pair.send_group(Client, id, 2, &["b"]).unwrap();
        pair.settle();
        assert_eq!(pair.client.stopped.last().unwrap().0, late);
        assert_eq!(refusals(&pair.take(Client)), [(id, RequestCode::Uninterested)]);
        pair.reset_data(Client, id, open);
        pair.reset_data(Client, id, late);
        pair.settle();
        assert_eq!(pair.client.session.kept() + pair.server.session.kept(), 0);
    }
}

/// A publication that the session refuses by itself: its objects are not waited for.
#[test]
fn draft18_s5_1_a_second_publication() {
    let mut pair = Pair::new(1);
    pair.establish(Server, subscribe("video"));
    let id = pair.ask(Client, publish("audio"));
    pair.settle();
    pair.take(Server);
    pair.answer(Server, id, Answer::ok());
    pair.settle();
    pair.take(Client);
    // The server has both tracks; the client offers one again.
    let again = pair.ask(
        Client,
        Request::Publish {
            track: track("other"),
            parameters: Parameters::default(),
            properties: Properties::empty(),
        },
    );
    pair.settle();
    pair.take(Server);
    pair.command(Server, Command::Cancel { id: again, code: ResetCode::Cancelled });
    pair.settle();
    assert_eq!(pair.take(Client), [Event::Cancelled { id: again, code: ResetCode::Cancelled }]);
}

/// draft-18 §5.1: a PUBLISH that crosses our SUBSCRIBE of the same track takes its place, if we accept it.
#[test]
fn draft18_s5_1_publish_and_subscribe_cross() {
    for seed in 0..200 {
        let mut pair = Pair::new(seed);
        let subscription = pair.ask(Server, subscribe("video"));
        let publication = pair.ask(Client, publish("video"));
        pair.settle();
        // The publisher sees a SUBSCRIBE for what it offers, and refuses it.
        let at_client = pair.take(Client);
        assert_eq!(at_client, [], "seed {seed}: answered by the session");
        let at_server = pair.take(Server);
        assert!(
            at_server
                .iter()
                .any(|event| matches!(event, Event::Request { id, .. } if *id == publication)),
            "seed {seed}: {at_server:?}"
        );
        pair.answer(Server, publication, Answer::ok());
        pair.settle();
        let ends = [&at_server[..], &pair.take(Server)[..]].concat();
        // Either the refusal or the session's own end of the SUBSCRIBE, exactly once.
        let refused = refusals(&ends) == [(subscription, RequestCode::DuplicateSubscription)];
        let ended =
            ends.contains(&Event::Cancelled { id: subscription, code: ResetCode::Cancelled });
        assert!(refused != ended, "seed {seed}: {ends:?}");
        assert!(matches!(
            pair.take(Client)[..],
            [Event::Answered { answer: Answer::Ok { .. }, .. }]
        ));
        assert_eq!(pair.server.session.open_requests(), 1);
        let second = pair.try_command(Server, Command::Request(subscribe("video")));
        assert!(matches!(second, Err(SessionError::Misuse(_))), "the publication is the one");
    }
}

/// draft-18 §10.2.13
#[test]
fn draft18_s10_2_13_d17_new_groups_only_where_they_are_dynamic() {
    let wants = || Parameters { new_group: Some(8), ..Parameters::default() };
    for dynamic in [false, true] {
        let mut pair = Pair::new(1);
        let value = properties::Value::Number(u64::from(dynamic));
        let request = Request::Publish {
            track: track("video"),
            parameters: Parameters { largest: Some(Location::new(7, 0)), ..Parameters::default() },
            properties: Properties::from_pairs(&[(properties::kind::DYNAMIC_GROUPS, value)])
                .unwrap(),
        };
        let id = pair.ask_and_see(Client, request);
        let answer = Answer::Ok { parameters: wants(), properties: Properties::empty() };
        let result = pair.try_command(Server, Command::Answer { id, answer });
        assert_eq!(result.is_ok(), dynamic);
        if !dynamic {
            pair.answer(Server, id, Answer::ok());
        }
        assert_eq!(pair.server.session.has_dynamic_groups(id), dynamic);
        assert!(!pair.client.session.has_dynamic_groups(id), "its own");
        let update = Command::Update { id, parameters: wants() };
        assert_eq!(pair.try_command(Server, update).is_ok(), dynamic);
        // In SUBSCRIBE it may stand without knowing.
        pair.ask(Server, Request::Subscribe { track: track("audio"), parameters: wants() });
    }
}
