//! REQUEST_UPDATE.

use moqt::session::{Command, Event};
use moqt::{
    Answer, Done, DoneCode, Fetch, Location, Parameters, Range, Request, RequestCode, ResetCode,
};

use crate::support::*;

fn priority(priority: u8) -> Parameters {
    Parameters { subscriber_priority: Some(priority), ..Parameters::default() }
}

/// Without its own name.
fn updates(events: Vec<Event>) -> Vec<(moqt::RequestId, Parameters)> {
    let update = |event| match event {
        Event::Update { id, parameters, tokens, .. } if tokens.is_empty() => (id, parameters),
        other => panic!("{other:?}"),
    };
    events.into_iter().map(update).collect()
}

/// They are told in order, after the answer to the request itself, and answered in order.
#[test]
fn draft18_s10_9_updates_keep_their_order() {
    for seed in 0..100 {
        let mut pair = Pair::new(seed);
        let id = pair.ask(Client, subscribe("video"));
        for n in 0..3 {
            pair.command(Client, Command::Update { id, parameters: priority(n) });
        }
        pair.settle();
        assert!(matches!(pair.take(Server)[..], [Event::Request { .. }]));
        pair.answer(Server, id, Answer::ok());
        let told = updates(pair.take(Server));
        assert_eq!(told, [0, 1, 2].map(|n| (id, priority(n))));
        for n in 0..3 {
            let parameters = Parameters { expires_ms: Some(n), ..Parameters::default() };
            let answer = Answer::Ok { parameters, properties: moqt::Properties::empty() };
            pair.command(Server, Command::AnswerUpdate { id, answer });
        }
        pair.settle();
        let answers: Vec<_> = pair
            .take(Client)
            .into_iter()
            .filter_map(|event| match event {
                Event::UpdateAnswered { answer: Answer::Ok { parameters, .. }, .. } => {
                    parameters.expires_ms
                }
                _ => None,
            })
            .collect();
        assert_eq!(answers, [0, 1, 2], "seed {seed}");
    }
}

/// draft-18 §10.9.1: an update that fails ends the subscription, with PUBLISH_DONE.
#[test]
fn draft18_s10_9_1_a_subscription_ends_with_its_update() {
    let mut pair = Pair::new(2);
    let id = pair.establish(Client, subscribe("video"));
    let stream = pair.send_group(Server, id, 1, &["a"]).unwrap();
    pair.command(Client, Command::Update { id, parameters: priority(1) });
    pair.settle();
    pair.take(Client);
    let answer = Answer::error(RequestCode::Unauthorized, "no");
    pair.command(Server, Command::AnswerUpdate { id, answer: answer.clone() });
    pair.settle();
    assert_eq!(pair.take(Client), [Event::UpdateAnswered { id, answer }]);
    // PUBLISH_DONE waits for the open stream.
    assert_eq!(pair.send_group(Server, id, 2, &[]), None);
    pair.reset_data(Server, id, stream);
    pair.settle();
    let done = Done { code: DoneCode::UpdateFailed, reason: "an update failed".to_owned() };
    assert_eq!(pair.take(Client), [Event::Done { id, done }, Event::Drained { id }]);
    assert_eq!(pair.client.session.kept() + pair.server.session.kept(), 0);
}

#[test]
fn draft18_s10_9_1_fetches_and_namespaces_end_with_their_update() {
    let range = Range { start: Location::new(1, 0), end: Location::new(2, 0) };
    let fetch = Request::Fetch {
        fetch: Fetch::Standalone { track: track("video"), range },
        parameters: Parameters::default(),
    };
    let prefix = namespace(&["acc"]);
    for request in [
        fetch,
        namespaces_below(prefix.clone()),
        Request::SubscribeTracks { prefix: prefix.clone(), parameters: Parameters::default() },
        Request::PublishNamespace { namespace: prefix, parameters: Parameters::default() },
    ] {
        let mut pair = Pair::new(2);
        let id = pair.ask_and_see(Client, request.clone());
        let answer = match request {
            Request::Fetch { .. } => Answer::FetchOk(moqt::FetchOk {
                end_of_track: false,
                end: range.end,
                parameters: Parameters::default(),
                properties: moqt::Properties::empty(),
            }),
            _ => Answer::ok(),
        };
        pair.answer(Server, id, answer);
        pair.command(Client, Command::Update { id, parameters: Parameters::default() });
        pair.settle();
        pair.take(Client);
        assert_eq!(updates(pair.take(Server)), [(id, Parameters::default())]);
        let answer = Answer::error(RequestCode::Unauthorized, "no");
        pair.command(Server, Command::AnswerUpdate { id, answer: answer.clone() });
        pair.settle();
        let events = pair.take(Client);
        assert_eq!(events[0], Event::UpdateAnswered { id, answer }, "{request:?}");
        assert_eq!(pair.server.session.open_requests(), 0);
        // The stream's end says the rest, where its end means something.
        pair.command(Client, Command::Cancel { id, code: ResetCode::Cancelled });
        pair.settle();
        assert_eq!(pair.client.session.kept() + pair.server.session.kept(), 0, "{request:?}");
    }
}

/// More than we hold: the update is refused, and its subscription ends.
#[test]
fn updates_without_an_answer_are_bounded() {
    let mut pair = Pair::new(2);
    let id = pair.establish(Client, subscribe("video"));
    for _ in 0..=moqt::limits::UPDATES_MAX {
        pair.command(Client, Command::Update { id, parameters: priority(1) });
    }
    pair.settle();
    let events = pair.take(Server);
    assert_eq!(events.len(), moqt::limits::UPDATES_MAX + 1);
    assert_eq!(events.last(), Some(&Event::Cancelled { id, code: ResetCode::Cancelled }));
    let events = pair.take(Client);
    assert!(
        matches!(&events[0], Event::UpdateAnswered { answer: Answer::Error(error), .. }
            if error.code == RequestCode::ExcessiveLoad),
        "{events:?}"
    );
    assert_eq!(events.last(), Some(&Event::Drained { id }));
    assert_eq!(pair.client.session.kept() + pair.server.session.kept(), 0);
}

/// draft-18 §10.9: the subscriber of a publication may update it, its publisher too.
#[test]
fn draft18_s10_9_publications_are_updated_from_both_sides() {
    let mut pair = Pair::new(2);
    let id = pair.establish(Client, publish("video"));
    let pause = Parameters { forward: Some(false), ..Parameters::default() };
    pair.command(Server, Command::Update { id, parameters: pause.clone() });
    pair.command(Client, Command::Update { id, parameters: Parameters::default() });
    pair.settle();
    assert_eq!(updates(pair.take(Client)), [(id, pause)]);
    assert_eq!(updates(pair.take(Server)), [(id, Parameters::default())]);
    pair.command(Client, Command::AnswerUpdate { id, answer: Answer::ok() });
    let answer = Answer::error(RequestCode::Unauthorized, "no");
    pair.command(Server, Command::AnswerUpdate { id, answer: answer.clone() });
    pair.settle();
    assert_eq!(pair.take(Server), [Event::UpdateAnswered { id, answer: Answer::ok() }]);
    assert_eq!(pair.take(Client), [Event::UpdateAnswered { id, answer }]);
    assert_eq!(pair.server.session.open_requests(), 1);
}
