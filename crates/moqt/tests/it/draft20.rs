//! What only drafts from 20 on have. 20, 21 and 22 are told apart by nothing here but their bytes.

use std::time::Duration;

use moqt::session::{Command, Config, Event, StreamId};
use moqt::{
    Answer, Done, DoneCode, Fetch, FetchOk, Filter, GroupOrder, Location, Parameters, Properties,
    Range, RangeFilter, Ranged, Ranges, Request, RequestCode, RequestId, ResetCode, SessionCode,
    SessionError, Version, properties,
};

use crate::support::*;

const LATER: [Version; 3] = [Version::Draft20, Version::Draft21, Version::Draft22];

/// What is new, and the past from this filter on.
fn filled(filter: Filter, order: Option<GroupOrder>) -> Parameters {
    let fill = Parameters { filter: Some(filter), group_order: order, ..Parameters::default() };
    Parameters {
        filter: Some(Filter::NextObject),
        fill: Some(Box::new(fill)),
        ..Parameters::default()
    }
}

fn subscribe_with(name: &'static str, parameters: Parameters) -> Request {
    Request::Subscribe { track: track(name), parameters }
}

/// Sends the past of a subscription: these groups, one object each.
fn fill(pair: &mut Pair, id: RequestId, header: RequestId, groups: &[u64]) {
    let stream = pair.send_fill(Server, id, header, groups).unwrap();
    pair.finish_data(Server, id, stream);
}

fn groups(pair: &mut Pair) -> Vec<u64> {
    let mut groups: Vec<u64> = pair.client.received.iter().map(|it| it.group).collect();
    groups.dedup();
    groups
}

/// Duty D24, as far as it is of the session: the past comes on a stream that names the SUBSCRIBE, before its answer or
/// after it; and once more for an update, which names that. Both count as streams of the subscription.
#[test]
fn draft21_s3_4_d24_the_past_comes_with_a_subscription() {
    for (seed, v) in (0..60).zip(LATER.into_iter().cycle()) {
        let mut pair = Pair::of(v, seed);
        let wanted = filled(Filter::Recent(3), None);
        let id = pair.ask(Client, subscribe_with("video", wanted));
        pair.settle();
        let events = pair.take(Server);
        let [Event::Request { request, .. }] = &events[..] else { panic!("{events:?}") };
        let said = request.parameters().fill.as_ref().unwrap();
        // The order is always said, as that of the track may not be known when the stream comes.
        assert_eq!(said.group_order, Some(GroupOrder::Ascending));
        assert_eq!(said.filter, Some(Filter::Recent(3)));
        pair.answer(Server, id, Answer::ok());
        fill(&mut pair, id, id, &[5, 6, 7]);
        pair.settle();
        assert_eq!(groups(&mut pair), [5, 6, 7], "seed {seed}");
        let events = pair.take(Client);
        let data = |event: &Event| match event {
            Event::Data { id, order, fill, .. } => Some((*id, *order, *fill)),
            _ => None,
        };
        let came: Vec<_> = events.iter().filter_map(data).collect();
        assert_eq!(came, [(id, GroupOrder::Ascending, Some(id))]);
        // Again, further back.
        let parameters = filled(Filter::Recent(9), Some(GroupOrder::Descending));
        pair.command(Client, Command::Update { id, parameters });
        pair.settle();
        let events = pair.take(Server);
        let [Event::Update { update, .. }] = events[..] else { panic!("{events:?}") };
        assert_ne!(update, id);
        pair.command(Server, Command::AnswerUpdate { id, answer: Answer::ok() });
        fill(&mut pair, id, update, &[4, 3]);
        pair.settle();
        assert_eq!(groups(&mut pair), [5, 6, 7, 4, 3], "seed {seed}");
        let came: Vec<_> = pair.take(Client).iter().filter_map(data).collect();
        assert_eq!(came, [(id, GroupOrder::Descending, Some(update))]);
        // The count of PUBLISH_DONE has both: nothing is waited for.
        let done = Done { code: DoneCode::TrackEnded, reason: String::new() };
        pair.command(Server, Command::Done { id, done: done.clone() });
        pair.settle();
        assert_eq!(pair.take(Client), [Event::Done { id, done }, Event::Drained { id }]);
        assert_eq!(pair.client.session.kept() + pair.server.session.kept(), 0, "seed {seed}");
    }
}

/// draft-21 §6.4.2.1, §9.18.1: that of a track which is offered bears the name of its PUBLISH, and may come before it.
#[test]
fn draft21_s9_18_1_d24_the_past_comes_with_a_track_that_is_offered() {
    let tracks = |parameters| Request::SubscribeTracks { prefix: namespace(&["acc"]), parameters };
    for (seed, v) in (0..60).zip(LATER.into_iter().cycle()) {
        let mut pair = Pair::of(v, seed);
        pair.establish(Client, tracks(filled(Filter::Recent(3), None)));
        let id = pair.ask(Server, publish("video"));
        fill(&mut pair, id, id, &[5, 6, 7]);
        pair.settle();
        assert_eq!(groups(&mut pair), [5, 6, 7], "seed {seed}");
        let events = pair.take(Client);
        let came = events.iter().find_map(|event| match event {
            Event::Data { id, order, fill, .. } => Some((*id, *order, *fill)),
            _ => None,
        });
        assert_eq!(came, Some((id, GroupOrder::Ascending, Some(id))), "{events:?}");
        // It counts: with it the subscription is over.
        pair.answer(Client, id, Answer::ok());
        let done = Done { code: DoneCode::TrackEnded, reason: String::new() };
        pair.command(Server, Command::Done { id, done: done.clone() });
        pair.settle();
        assert_eq!(pair.take(Client), [Event::Done { id, done }, Event::Drained { id }]);
        // One more is of nobody.
        let bytes = {
            let mut out = bytes::BytesMut::new();
            moqt::data::FetchWriter::new(v, id, GroupOrder::Ascending, &mut out);
            out.freeze()
        };
        pair.send_data(Server, bytes);
        pair.settle();
        assert_eq!(pair.server.stopped.len(), 1, "seed {seed}");
        assert_eq!(pair.client.closed, None);
    }
    // Nobody asked for it: no such request exists.
    let mut pair = Pair::of(Version::Draft20, 3);
    pair.establish(Client, tracks(Parameters::default()));
    let id = pair.ask(Server, publish("video"));
    fill(&mut pair, id, id, &[5]);
    pair.settle();
    let code = Version::Draft20.session_code(SessionCode::ProtocolViolation);
    assert_eq!(pair.client.closed.as_ref().map(|closed| closed.0), Some(code));
}

/// One that nobody asked for, and one of a subscription that is over, are stopped.
#[test]
fn draft21_s3_4_1_d24_fills_that_nobody_waits_for() {
    let v = Version::Draft20;
    let mut pair = Pair::of(v, 3);
    let id = pair.establish(Client, subscribe("video"));
    fill(&mut pair, id, id, &[5]);
    pair.settle();
    assert_eq!(pair.server.stopped.len(), 1);
    let id = pair.establish(Client, subscribe_with("audio", filled(Filter::All, None)));
    pair.command(Client, Command::Cancel { id, code: ResetCode::Cancelled });
    fill(&mut pair, id, id, &[5]);
    pair.settle();
    assert_eq!(pair.server.stopped.len(), 2);
    assert_eq!(pair.client.received, []);
    // Drafts that have no fill do not wait for one.
    let mut pair = Pair::of(Version::Draft18, 3);
    let id = pair.establish(Client, subscribe_with("audio", filled(Filter::NextGroup, None)));
    fill(&mut pair, id, id, &[5]);
    pair.settle();
    assert_eq!((pair.server.stopped.len(), pair.client.session.kept()), (1, 1));
}

/// A FETCH by a filter is told as it is, where its range depends on the largest object; else as a range.
#[test]
fn draft21_s9_11_a_fetch_has_a_filter() {
    let range = Range { start: Location::new(4, 0), end: Location::new(6, Range::WHOLE_GROUP) };
    let exact = Range { start: Location::new(4, 1), end: Location::new(4, 1) };
    let named = |filter| Fetch::Filtered { track: track("video"), filter };
    let ranged = |range| Fetch::Standalone { track: track("video"), range };
    for v in LATER {
        for fetch in [
            ranged(range),
            ranged(exact),
            named(Filter::All),
            named(Filter::Recent(2)),
            named(Filter::From(Location::new(0, 1))),
        ] {
            let mut pair = Pair::of(v, 1);
            let request = Request::Fetch { fetch, parameters: Parameters::default() };
            let id = pair.ask(Client, request.clone());
            pair.settle();
            let told = Event::Request { id, request, tokens: Vec::new() };
            assert_eq!(pair.take(Server), [told], "{v:?}");
            let ok = FetchOk {
                end_of_track: false,
                end: Location::new(6, 0),
                parameters: Parameters::default(),
                properties: Properties::empty(),
            };
            let answer = Answer::FetchOk(ok);
            pair.answer(Server, id, answer.clone());
            pair.settle();
            assert_eq!(pair.take(Client), [Event::Answered { id, answer }]);
        }
        // There is nothing to join.
        let start = moqt::JoiningStart::Relative(0);
        let fetch = Fetch::Joining { subscription: RequestId(0), start };
        let request = Request::Fetch { fetch, parameters: Parameters::default() };
        let mut pair = Pair::of(v, 1);
        let now = pair.now;
        let refused = pair.client.session.request(now, request);
        assert!(matches!(refused, Err(SessionError::Misuse(_))));
    }
    // What an older draft has no form for is not asked.
    for request in [
        Request::Fetch { fetch: named(Filter::All), parameters: Parameters::default() },
        subscribe_with(
            "v",
            Parameters { filter: Some(Filter::Recent(1)), ..Parameters::default() },
        ),
    ] {
        let mut pair = Pair::of(Version::Draft18, 1);
        let now = pair.now;
        let refused = pair.client.session.request(now, request);
        assert!(matches!(refused, Err(SessionError::Misuse(_))));
    }
}

/// draft-21 §3.1: several subscriptions to a track, each with an alias of its own.
#[test]
fn draft21_s3_1_a_second_subscription() {
    let mut pair = Pair::of(Version::Draft20, 5);
    let first = pair.establish(Client, subscribe("video"));
    // Our own sessions make no second one; as another client does it:
    let second = RequestId(first.0 + 2);
    let mut bytes = vec![0x03, 0, 0x10, second.0 as u8, 2, 3];
    bytes.extend(b"acc\x03cam\x05video\x00");
    bytes[2] = bytes.len() as u8 - 3;
    let stream = StreamId::Peers(77);
    pair.input(Server, moqt::session::Input::Bytes { stream, bytes: bytes.into() });
    let events = pair.take(Server);
    assert!(matches!(events[..], [Event::Request { id, .. }] if id == second), "{events:?}");
    pair.answer(Server, second, Answer::ok());
    let alias = |id| pair.server.session.alias(id);
    assert_ne!(alias(first), alias(second));
    assert_eq!(pair.server.session.open_requests(), 2);
    pair.command(Client, Command::Cancel { id: first, code: ResetCode::Cancelled });
    pair.settle();
    assert!(pair.server.session.alias(second).is_some());
}

/// draft-21 §9.10: what the publisher says of a subscription, and where it must not.
#[test]
fn draft21_s9_10_state_notifications() {
    let mut pair = Pair::of(Version::Draft22, 5);
    let id = pair.establish(Client, subscribe("video"));
    let parameters = Parameters {
        largest: Some(Location::new(3, 4)),
        forward: Some(false),
        filter: Some(Filter::NextGroup),
        ..Parameters::default()
    };
    pair.command(Server, Command::Notify { id, parameters: parameters.clone() });
    pair.settle();
    assert_eq!(pair.take(Client), [Event::Notified { id, parameters: parameters.clone() }]);
    let wrong = Parameters { expires_ms: Some(4), ..Parameters::default() };
    let refused = pair.try_command(Server, Command::Notify { id, parameters: wrong });
    assert!(matches!(refused, Err(SessionError::Misuse(_))));
    // By the subscriber it is a violation.
    let bytes = bytes::Bytes::from_static(&[0x22, 0, 1, 0]);
    pair.input(Server, moqt::session::Input::Bytes { stream: StreamId::Peers(0), bytes });
    let code = Version::Draft22.session_code(SessionCode::ProtocolViolation);
    assert_eq!(pair.server.closed.as_ref().map(|closed| closed.0), Some(code));
    // Draft 18 can't say it.
    let mut pair = Pair::of(Version::Draft18, 5);
    let id = pair.establish(Client, subscribe("video"));
    let parameters = Parameters::default();
    pair.command(Server, Command::Notify { id, parameters });
    pair.settle();
    assert_eq!(pair.take(Client), []);
}

/// draft-21 §9.1.7: the bound is told, kept by the sender, and enforced.
#[test]
fn draft21_s9_1_7_updates_without_an_answer() {
    let mut pair = Pair::of(Version::Draft21, 2);
    let id = pair.establish(Client, subscribe("video"));
    let most = moqt::limits::UPDATES_MAX;
    let update = || Command::Update { id, parameters: Parameters::default() };
    for _ in 0..most {
        pair.command(Client, update());
    }
    let refused = pair.try_command(Client, update());
    assert!(matches!(refused, Err(SessionError::Misuse(_))));
    pair.settle();
    assert_eq!(pair.take(Server).len(), most);
    // One answer, one more.
    pair.command(Server, Command::AnswerUpdate { id, answer: Answer::ok() });
    pair.settle();
    pair.command(Client, update());
    pair.settle();
    // Who does not count is closed.
    let bytes = bytes::Bytes::from_static(&[0x02, 0, 3, 0x80, 0xf0, 0]);
    pair.input(Server, moqt::session::Input::Bytes { stream: StreamId::Peers(0), bytes });
    let code = Version::Draft21.session_code(SessionCode::TooManyRequestUpdates);
    assert_eq!(pair.server.closed.as_ref().map(|closed| closed.0), Some(code));
}

/// draft-21 §3.3.2: a bad range filter, and one more than is allowed, are refused and end nothing else.
#[test]
fn draft21_s3_3_2_range_filters() {
    let range = |ranges| Ranges { set: 0, property: None, ranges };
    let filters =
        |filters: Vec<RangeFilter>| Parameters { range_filters: filters, ..Parameters::default() };
    let one = RangeFilter::new(Ranged::Object, &range(vec![(3, Some(5)), (10, None)]));
    let other = RangeFilter::new(Ranged::Priority, &range(vec![(0, Some(9))]));
    let v = Version::Draft20;
    let takes = |filter_ranges| Config { filter_ranges, ..Config::new(v) };
    // The peer says how many it takes, and more are not asked for.
    let mut pair = Pair::raw(1, Config::new(v), takes(2));
    pair.settle();
    let ready = pair.take(Client);
    assert!(matches!(&ready[..], [Event::Ready(peer)] if peer.filter_ranges == 2));
    let now = pair.now;
    let both = subscribe_with("v", filters(vec![one.clone(), other.clone()]));
    assert!(pair.client.session.request(now, both.clone()).is_err());
    let id = pair.ask(Client, subscribe_with("v", filters(vec![one.clone()])));
    pair.settle();
    let events = pair.take(Server);
    let Some(Event::Request { request, .. }) = events.last() else { panic!("{events:?}") };
    assert_eq!(request.parameters().range_filters, std::slice::from_ref(&one));
    pair.answer(Server, id, Answer::ok());
    pair.settle();
    let twice = subscribe_with("w", filters(vec![other.clone(), other]));
    assert!(pair.client.session.request(now, twice).is_err());
}

/// As they come from others: judged, refused, and the session goes on.
#[test]
fn draft21_s3_3_2_bad_filters_are_refused_one_by_one() {
    let mut pair = Pair::of(Version::Draft20, 1);
    for (stream, value) in [
        // None is allowed here.
        (0, &[0x26, 3, 0, 1, 1][..]),
        // Not even one that overflows, or names a property that is no number.
        (1, b"\x26\x0b\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        (2, &[0x28, 2, 0, 3]),
    ] {
        let id = stream as u8 * 2;
        let mut bytes = vec![0x03, 0, 0, id, 2, 3];
        bytes.extend(b"acc\x03cam\x05video\x01");
        bytes.extend(value);
        bytes[2] = bytes.len() as u8 - 3;
        let stream = StreamId::Peers(50 + stream);
        pair.input(Server, moqt::session::Input::Bytes { stream, bytes: bytes.into() });
        assert_eq!(pair.take(Server), [], "{value:x?}");
        assert_eq!(pair.server.closed, None);
        assert_eq!(pair.server.session.open_requests(), 0);
    }
    assert_eq!(Version::Draft20.request_code(RequestCode::InvalidFilter), 0x36);
}

/// draft-21 §9.20.22: who wants no properties of the track gets none.
#[test]
fn draft21_s9_20_22_properties_are_left_out() {
    let pairs = [(properties::kind::DYNAMIC_GROUPS, properties::Value::Number(1))];
    let of_track = Properties::from_pairs(&pairs).unwrap();
    for (wanted, got) in [
        (None, of_track.clone()),
        (Some(true), of_track.clone()),
        (Some(false), Properties::empty()),
    ] {
        let mut pair = Pair::of(Version::Draft20, 1);
        let parameters = Parameters { include_properties: wanted, ..Parameters::default() };
        for request in [
            subscribe_with("video", parameters.clone()),
            Request::TrackStatus { track: track("video"), parameters: parameters.clone() },
        ] {
            let id = pair.ask_and_see(Client, request);
            let parameters = Parameters::default();
            let answer = Answer::Ok { parameters, properties: of_track.clone() };
            pair.answer(Server, id, answer);
            pair.settle();
            let events = pair.take(Client);
            let Some(Event::Answered { answer: Answer::Ok { properties, .. }, .. }) = events.last()
            else {
                panic!("{events:?}")
            };
            assert_eq!(*properties, got, "{wanted:?}");
        }
    }
}

/// draft-21 §6.4.2.2: a FIN of the requester says nothing.
#[test]
fn draft21_s6_4_2_2_a_fin_gives_nothing_up() {
    for (v, open) in [(Version::Draft18, 0), (Version::Draft20, 1)] {
        let mut pair = Pair::of(v, 1);
        pair.establish(Client, namespaces_below(namespace(&["acc"])));
        pair.input(Server, moqt::session::Input::Finished(StreamId::Peers(0)));
        assert_eq!(pair.server.session.open_requests(), open, "{v:?}");
        assert_eq!(pair.server.closed, None);
    }
}

/// draft-21 §9.3: the OK of a PUBLISH can't say FORWARD; it stays as it was offered.
#[test]
fn draft21_s9_20_19_forwarding_is_as_it_was_offered() {
    let mut pair = Pair::of(Version::Draft20, 1);
    let offered = Request::Publish {
        track: track("video"),
        parameters: Parameters {
            forward: Some(false),
            subscriber_priority: Some(7),
            filter: Some(Filter::NextGroup),
            ..Parameters::default()
        },
        properties: Properties::empty(),
    };
    let id = pair.ask_and_see(Client, offered);
    let forward = Parameters { forward: Some(true), ..Parameters::default() };
    let answer = Answer::Ok { parameters: forward, properties: Properties::empty() };
    let refused = pair.try_command(Server, Command::Answer { id, answer });
    assert!(matches!(refused, Err(SessionError::Misuse(_))));
    pair.answer(Server, id, Answer::ok());
    pair.settle();
    assert!(matches!(pair.take(Client)[..], [Event::Answered { .. }]));
}

/// A session moves, and a request by itself: what is told apart by the stream that it comes on.
#[test]
fn draft21_s9_2_a_goaway_is_for_the_session_or_for_the_request_on_whose_stream_it_comes() {
    for v in LATER {
        let mut pair = Pair::of(v, 3);
        let id = pair.establish(Client, subscribe("video"));
        let other = pair.establish(Client, subscribe("audio"));
        let (uri, timeout) = ("moqt://b.example/".to_owned(), Duration::from_secs(2));
        for request in [Some(id), None] {
            pair.command(Server, Command::GoAway { request, uri: uri.clone(), timeout });
            pair.settle();
            assert_eq!(pair.take(Client), [Event::GoAway { request, uri: uri.clone(), timeout }]);
        }
        // What is under way goes on until the time is over.
        pair.send_group(Server, other, 1, &["a"]).unwrap();
        pair.settle();
        assert_eq!(pair.client.received.len(), 1, "{v:?}");
        pair.advance(Duration::from_secs(3));
        let code = v.session_code(SessionCode::GoawayTimeout);
        assert_eq!(pair.server.closed.as_ref().map(|closed| closed.0), Some(code), "{v:?}");
    }
}

/// A track that matches SUBSCRIBE_TRACKS and is not offered is named, with the part behind the prefix.
#[test]
fn draft21_s9_19_a_track_is_skipped() {
    for v in LATER {
        let mut pair = Pair::of(v, 3);
        let prefix = namespace(&["acc"]);
        let parameters = Parameters::default();
        let asked = Request::SubscribeTracks { prefix, parameters };
        let id = pair.establish(Client, asked);
        let skipped = Command::PublishBlocked { id, track: track("video") };
        pair.command(Server, skipped.clone());
        pair.settle();
        let told = Event::PublishBlocked { id, track: track("video") };
        assert_eq!(pair.take(Client), [told], "{v:?}");
        // The request goes on, and the same may be said again.
        pair.command(Server, skipped);
        pair.settle();
        assert_eq!(pair.take(Client).len(), 1, "{v:?}");
        // Not where nobody asked for tracks.
        let other = pair.establish(Client, subscribe("audio"));
        let misplaced = Command::PublishBlocked { id: other, track: track("video") };
        let refused = pair.try_command(Server, misplaced);
        assert!(matches!(refused, Err(SessionError::Misuse(_))), "{v:?} {refused:?}");
    }
}
