//! Fetches, also such that join a subscription.

use bytes::BytesMut;
use moqt::data::{FetchObject, FetchWriter, Missing, Via};
use moqt::session::{Command, Event};
use moqt::{
    Answer, Fetch, FetchOk, GroupOrder, JoiningStart, Location, Parameters, Properties, Range,
    Request, RequestCode, RequestId, ResetCode, SessionError,
};

use crate::support::*;

fn fetch(range: Range) -> Request {
    let fetch = Fetch::Standalone { track: track("video"), range };
    Request::Fetch { fetch, parameters: Parameters::default() }
}

fn joining(subscription: RequestId, start: JoiningStart) -> Request {
    let fetch = Fetch::Joining { subscription, start };
    Request::Fetch { fetch, parameters: Parameters::default() }
}

fn groups(first: u64, last: u64) -> Range {
    Range { start: Location::new(first, 0), end: Location::new(last, Range::WHOLE_GROUP) }
}

fn fetch_ok(end: Location) -> Answer {
    Answer::FetchOk(FetchOk {
        end_of_track: false,
        end,
        parameters: Parameters::default(),
        properties: Properties::empty(),
    })
}

/// Two objects of each group, newest group first, and a part that nobody knows.
fn serve(pair: &mut Pair, id: RequestId) {
    assert_eq!(pair.server.session.open_data(id), Some(0));
    assert_eq!(pair.server.session.open_data(id), None, "one stream for a fetch");
    let mut out = BytesMut::new();
    let mut writer = FetchWriter::new(V, id, GroupOrder::Descending, &mut out);
    for group in [6, 5] {
        for object in 0..2 {
            let head = FetchObject {
                location: Location::new(group, object),
                via: Via::Subgroup(object),
                priority: 3,
                properties: Properties::empty(),
                payload_length: 2,
            };
            writer.object(&head, &mut out).unwrap();
            out.extend_from_slice(b"xy");
        }
    }
    writer.gap(Missing::Unknown, Location::new(4, 9), &mut out).unwrap();
    let stream = pair.send_data(Server, out.freeze());
    pair.finish_data(Server, id, stream);
}

/// Duty D23, as far as it is of the session.
#[test]
fn draft18_s10_12_d23_a_range_and_its_answer() {
    for seed in 0..200 {
        let mut pair = Pair::new(seed);
        let parameters =
            Parameters { group_order: Some(GroupOrder::Descending), ..Parameters::default() };
        let request = Request::Fetch {
            fetch: Fetch::Standalone { track: track("video"), range: groups(4, 6) },
            parameters,
        };
        let id = pair.ask_and_see(Client, request);
        let answer = fetch_ok(Location::new(6, 1));
        // Objects may come before the answer (draft-18 §10.13), or behind it.
        if seed % 2 == 0 {
            serve(&mut pair, id);
            pair.answer(Server, id, answer.clone());
        } else {
            pair.answer(Server, id, answer.clone());
            serve(&mut pair, id);
        }
        pair.settle();
        let events = pair.take(Client);
        assert_eq!(events.len(), 2, "seed {seed}: {events:?}");
        assert!(events.contains(&Event::Answered { id, answer }));
        let places: Vec<_> = pair.client.received.iter().map(|it| (it.group, it.object)).collect();
        assert_eq!(places, [(6, 0), (6, 1), (5, 0), (5, 1)]);
        assert_eq!(pair.client.session.kept() + pair.server.session.kept(), 0, "seed {seed}");
    }
}

#[test]
fn draft18_s5_2_a_fetch_is_cancelled() {
    for seed in 0..100 {
        let mut pair = Pair::new(seed);
        let id = pair.ask_and_see(Client, fetch(groups(4, 6)));
        serve(&mut pair, id);
        pair.command(Client, Command::Cancel { id, code: ResetCode::Cancelled });
        pair.settle();
        assert_eq!(pair.take(Server), [Event::Cancelled { id, code: ResetCode::Cancelled }]);
        // What came after the cancel is stopped, and not read.
        assert_eq!(pair.server.stopped.len(), 1);
        assert_eq!(pair.client.received, []);
        assert_eq!(pair.client.session.kept() + pair.server.session.kept(), 0, "seed {seed}");
    }
}

#[test]
fn draft18_s10_12_3_ranges_that_end_before_they_begin() {
    let mut pair = Pair::new(1);
    let backward = Range { start: Location::new(5, 3), end: Location::new(5, 2) };
    let now = pair.now;
    let refused = pair.client.session.request(now, fetch(backward));
    assert!(matches!(refused, Err(SessionError::Misuse(_))));
}

/// A subscription with a largest location of {9, 4} and a joining fetch, in the states that it may be in.
#[test]
fn draft18_s10_12_2_joining_fetches() {
    for (start, first_group) in [
        (JoiningStart::Relative(0), 9),
        (JoiningStart::Relative(3), 6),
        // Before group 0: the draft does not say; group 0.
        (JoiningStart::Relative(10), 0),
        (JoiningStart::Absolute(2), 2),
    ] {
        let mut pair = Pair::new(1);
        let subscription = pair.ask_and_see(Client, subscribe("video"));
        // Pending: the fetch waits.
        let id = pair.ask(Client, joining(subscription, start));
        pair.settle();
        assert_eq!(pair.take(Server), []);
        let parameters = Parameters { largest: Some(Location::new(9, 4)), ..Parameters::default() };
        let answer = Answer::Ok { parameters, properties: Properties::empty() };
        pair.answer(Server, subscription, answer);
        let range = Range { start: Location::new(first_group, 0), end: Location::new(9, 4) };
        let told = Event::Request { id, request: fetch(range), tokens: Vec::new() };
        assert_eq!(pair.take(Server), [told]);
        pair.answer(Server, id, fetch_ok(Location::new(9, 4)));
        pair.settle();
        assert_eq!(refusals(&pair.take(Client)), []);
    }
}

#[test]
fn draft18_s10_12_2_joining_fetches_that_fail() {
    let largest = Parameters { largest: Some(Location::new(9, 4)), ..Parameters::default() };
    let ok = |parameters: &Parameters| Answer::Ok {
        parameters: parameters.clone(),
        properties: Properties::empty(),
    };
    let paused = Request::Subscribe {
        track: track("video"),
        parameters: Parameters { forward: Some(false), ..Parameters::default() },
    };
    let refused = Answer::error(RequestCode::DoesNotExist, "no");
    for (request, start, answer, code) in [
        (subscribe("video"), JoiningStart::Relative(0), Answer::ok(), RequestCode::InvalidRange),
        (paused, JoiningStart::Relative(0), ok(&largest), RequestCode::InvalidRange),
        (subscribe("video"), JoiningStart::Absolute(10), ok(&largest), RequestCode::InvalidRange),
        (
            subscribe("video"),
            JoiningStart::Relative(0),
            refused,
            RequestCode::InvalidJoiningRequestId,
        ),
    ] {
        let mut pair = Pair::new(1);
        let subscription = pair.ask_and_see(Client, request);
        let id = pair.ask(Client, joining(subscription, start));
        pair.settle();
        pair.answer(Server, subscription, answer);
        pair.settle();
        assert_eq!(pair.take(Server), [], "the owner is not asked");
        assert!(refusals(&pair.take(Client)).contains(&(id, code)), "{code:?}");
    }
    // No such subscription at all.
    let mut pair = Pair::new(1);
    let subscription = pair.establish(Client, subscribe("video"));
    let id = pair.ask(Client, joining(subscription, JoiningStart::Relative(0)));
    pair.command(Server, Command::Cancel { id: subscription, code: ResetCode::Cancelled });
    pair.settle();
    assert_eq!(pair.take(Server), []);
    assert!(refusals(&pair.take(Client)).contains(&(id, RequestCode::InvalidJoiningRequestId)));
}

/// The location to join at is the one that was told when the subscription was set going (draft-18 §5.1).
#[test]
fn draft18_s5_1_joining_after_a_pause() {
    let mut pair = Pair::new(1);
    let request = Request::Subscribe {
        track: track("video"),
        parameters: Parameters { forward: Some(false), ..Parameters::default() },
    };
    let subscription = pair.establish(Client, request);
    let parameters = Parameters { forward: Some(true), ..Parameters::default() };
    pair.command(Client, Command::Update { id: subscription, parameters });
    pair.settle();
    let id = pair.ask(Client, joining(subscription, JoiningStart::Relative(1)));
    pair.settle();
    // The update comes first (draft-18 §10.12.2).
    assert!(matches!(pair.take(Server)[..], [Event::Update { .. }]));
    let parameters = Parameters { largest: Some(Location::new(7, 1)), ..Parameters::default() };
    let answer = Answer::Ok { parameters, properties: Properties::empty() };
    pair.command(Server, Command::AnswerUpdate { id: subscription, answer });
    let range = Range { start: Location::new(6, 0), end: Location::new(7, 1) };
    let told = Event::Request { id, request: fetch(range), tokens: Vec::new() };
    assert_eq!(pair.take(Server), [told]);
    pair.settle();
    pair.take(Client);
    // To join what is published to it, too: PUBLISH says the location.
    let request = Request::Publish {
        track: track("audio"),
        parameters: Parameters { largest: Some(Location::new(3, 3)), ..Parameters::default() },
        properties: Properties::empty(),
    };
    let publication = pair.establish(Server, request);
    let id = pair.ask(Client, joining(publication, JoiningStart::Absolute(1)));
    pair.settle();
    let events = pair.take(Server);
    assert!(matches!(&events[..], [Event::Request { id: seen, .. }] if *seen == id), "{events:?}");
}
