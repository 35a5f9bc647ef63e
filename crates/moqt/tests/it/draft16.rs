//! What draft 16 has otherwise: one control stream for all requests, how many there may be, ends that are
//! said, and one request for namespaces and tracks.

use bytes::Bytes;
use moqt::session::{Command, Config, Event, Input, Output, Session, StreamId};
use moqt::{
    Answer, Done, DoneCode, Fetch, FetchOk, Filter, JoiningStart, Location, Parameters, Properties,
    Range, Request, RequestCode, RequestId, ResetCode, Route, SessionCode, SessionError, Version,
};
use sansio::{Core, Poll};

use crate::hostile::hex;
use crate::support::*;

const V16: Version = Version::Draft16;

fn pair(seed: u64) -> Pair {
    Pair::of(V16, seed)
}

/// With the filter that lets it be joined.
fn subscribe_at_largest(name: &'static str) -> Request {
    let parameters = Parameters { filter: Some(Filter::NextObject), ..Parameters::default() };
    Request::Subscribe { track: track(name), parameters }
}

fn ok_at(group: u64, object: u64) -> Answer {
    let largest = Some(Location::new(group, object));
    let parameters = Parameters { largest, ..Parameters::default() };
    Answer::Ok { parameters, properties: Properties::empty() }
}

/// Duties of both ends on the one stream: subscribed, delivered, done.
#[test]
fn draft16_s5_1_a_subscription_from_its_start_to_its_end() {
    for seed in 0..200 {
        let mut pair = pair(seed);
        let id = pair.ask_and_see(Client, subscribe("video"));
        pair.answer(Server, id, ok_at(4, 2));
        let stream = pair.send_group(Server, id, 5, &["one", "two"]).unwrap();
        pair.finish_data(Server, id, stream);
        let done = Done { code: DoneCode::Expired, reason: "bye".to_owned() };
        pair.command(Server, Command::Done { id, done: done.clone() });
        pair.settle();
        pair.advance(std::time::Duration::from_secs(5));
        let events = pair.take(Client);
        assert!(events.contains(&Event::Done { id, done }), "{seed}: {events:?}");
        assert!(events.contains(&Event::Drained { id }), "{seed}: {events:?}");
        let payloads: Vec<&[u8]> =
            pair.client.received.iter().map(|object| &object.payload[..]).collect();
        assert_eq!(payloads, [b"one", b"two"], "{seed}");
        assert_eq!((pair.client.session.kept(), pair.server.session.kept()), (0, 0));
    }
}

/// Each way to give a request up, and what the other end hears of it.
#[test]
fn draft16_s9_12_s9_18_s9_22_s9_24_requests_are_given_up_by_words() {
    let range = Range { start: Location::new(0, 0), end: Location::new(4, Range::WHOLE_GROUP) };
    let fetch = Request::Fetch {
        fetch: Fetch::Standalone { track: track("video"), range },
        parameters: Parameters::default(),
    };
    let offer = Request::PublishNamespace {
        namespace: namespace(&["acc"]),
        parameters: Parameters::default(),
    };
    // Who gives up, whether the request was accepted, and whether the other end is told `Cancelled`.
    for (request, by, accepted) in [
        (subscribe("video"), Client, true),
        (subscribe("video"), Client, false),
        (fetch.clone(), Client, true),
        (fetch, Client, false),
        (offer.clone(), Client, true),
        (offer.clone(), Client, false),
        (offer, Server, true),
        (publish("video"), Server, true),
    ] {
        let mut pair = pair(3);
        let id = pair.ask_and_see(Client, request.clone());
        if accepted {
            let answer = match &request {
                Request::Fetch { .. } => Answer::FetchOk(FetchOk {
                    end_of_track: false,
                    end: Location::new(4, 0),
                    parameters: Parameters::default(),
                    properties: Properties::empty(),
                }),
                _ => Answer::ok(),
            };
            pair.answer(Server, id, answer);
            pair.settle();
            pair.take(Client);
        }
        pair.command(by, Command::Cancel { id, code: ResetCode::Cancelled });
        pair.settle();
        let events = pair.take(by.other());
        let told = matches!(events[..], [Event::Cancelled { id: told, .. }] if told == id);
        assert!(told, "{request:?} by {by:?}: {events:?}");
        // An answer that crossed it is nobody's.
        let answer = Answer::error(RequestCode::Timeout, "late");
        pair.answer(Server, id, answer);
        pair.settle();
        for side in [Client, Server] {
            assert_eq!(pair.end(side).closed, None, "{request:?}");
            assert_eq!(pair.end(side).session.kept(), 0, "{request:?} by {by:?}, {side:?}");
        }
    }
}

/// A publisher that gives up says so with PUBLISH_DONE, once its streams are closed (draft-16 §9.15).
#[test]
fn draft16_s9_15_a_publisher_gives_up_behind_its_data() {
    let mut pair = pair(5);
    let id = pair.establish(Client, subscribe("video"));
    let stream = pair.send_group(Server, id, 1, &["x"]).unwrap();
    pair.command(Server, Command::Cancel { id, code: ResetCode::TooFarBehind });
    pair.settle();
    assert!(!pair.take(Client).iter().any(|event| matches!(event, Event::Done { .. })));
    pair.reset_data(Server, id, stream);
    pair.settle();
    let events = pair.take(Client);
    let done = events.iter().find_map(|event| match event {
        Event::Done { done, .. } => Some(done.code),
        _ => None,
    });
    assert_eq!(done, Some(DoneCode::TooFarBehind), "{events:?}");
}

#[test]
fn draft16_s9_11_updates_are_answered_by_their_own_names() {
    for seed in 0..100 {
        let mut pair = pair(seed);
        let id = pair.establish(Client, subscribe("video"));
        let other = pair.establish(Client, subscribe("audio"));
        let update =
            |priority| Parameters { subscriber_priority: Some(priority), ..Parameters::default() };
        for (id, priority) in [(id, 1), (other, 2), (id, 3)] {
            pair.command(Client, Command::Update { id, parameters: update(priority) });
        }
        pair.settle();
        let told: Vec<(RequestId, Option<u8>)> = pair
            .take(Server)
            .iter()
            .map(|event| match event {
                Event::Update { id, parameters, .. } => (*id, parameters.subscriber_priority),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(told, [(id, Some(1)), (other, Some(2)), (id, Some(3))]);
        // Answered in another order than asked.
        for id in [other, id] {
            pair.command(Server, Command::AnswerUpdate { id, answer: Answer::ok() });
        }
        let answer = Answer::error(RequestCode::Unauthorized, "no");
        pair.command(Server, Command::AnswerUpdate { id, answer });
        pair.settle();
        let events = pair.take(Client);
        let answers: Vec<(RequestId, bool)> = events
            .iter()
            .filter_map(|event| match event {
                Event::UpdateAnswered { id, answer } => {
                    Some((*id, matches!(answer, Answer::Ok { .. })))
                }
                _ => None,
            })
            .collect();
        assert_eq!(answers, [(other, true), (id, true), (id, false)]);
        let failed = |event: &Event| matches!(event, Event::Done { id: over, done } if *over == id && done.code == DoneCode::UpdateFailed);
        assert!(events.iter().any(failed), "{events:?}");
    }
}

/// draft-16 §9.16.2: only to what was the largest at the start of a subscription with that filter; also if
/// it is paused.
#[test]
fn draft16_s9_16_2_joining() {
    for seed in 0..100 {
        let mut pair = pair(seed);
        let id = pair.ask(Client, subscribe_at_largest("video"));
        let fetch = Fetch::Joining { subscription: id, start: JoiningStart::Relative(2) };
        let parameters = Parameters::default();
        let joins = pair.ask(Client, Request::Fetch { fetch, parameters });
        pair.settle();
        let events = pair.take(Server);
        assert!(matches!(events[..], [Event::Request { id: told, .. }] if told == id));
        pair.answer(Server, id, ok_at(7, 3));
        pair.settle();
        let events = pair.take(Server);
        let Some(Event::Request { id: told, request: Request::Fetch { fetch, .. }, .. }) =
            events.first()
        else {
            panic!("{events:?}")
        };
        let range = Range { start: Location::new(5, 0), end: Location::new(7, 3) };
        let expected = Fetch::Standalone { track: track("video"), range };
        assert_eq!((told, fetch), (&joins, &expected));
    }
    // With another filter, or none, it is a violation.
    for filter in [None, Some(Filter::NextGroup), Some(Filter::From(Location::default()))] {
        let mut pair = pair(1);
        let parameters = Parameters { filter, ..Parameters::default() };
        let request = Request::Subscribe { track: track("video"), parameters };
        let id = pair.ask(Client, request);
        let fetch = Fetch::Joining { subscription: id, start: JoiningStart::Relative(2) };
        pair.ask(Client, Request::Fetch { fetch, parameters: Parameters::default() });
        pair.settle();
        let code = V16.session_code(SessionCode::ProtocolViolation);
        assert_eq!(pair.server.closed.as_ref().map(|closed| closed.0), Some(code), "{filter:?}");
    }
}

/// draft-16 §9.25: one message for namespaces, tracks, and both, on a stream of its own.
#[test]
fn draft16_s9_25_namespaces_tracks_and_both() {
    let mut pair = pair(2);
    let both = Request::SubscribeNamespace {
        prefix: namespace(&["a"]),
        tracks: true,
        parameters: Parameters::default(),
    };
    let tracks = Request::SubscribeTracks {
        prefix: namespace(&["b"]),
        parameters: Parameters { forward: Some(false), ..Parameters::default() },
    };
    for request in [both.clone(), tracks.clone(), namespaces_below(namespace(&["c"]))] {
        let id = pair.ask(Client, request.clone());
        pair.settle();
        let events = pair.take(Server);
        let [Event::Request { request: told, .. }] = &events[..] else { panic!("{events:?}") };
        assert_eq!(*told, request);
        pair.answer(Server, id, Answer::ok());
        pair.settle();
        pair.take(Client);
    }
    // One space for all three.
    let id = pair.ask(Client, namespaces_below(namespace(&["b", "x"])));
    pair.settle();
    assert_eq!(refusals(&pair.take(Client)), [(id, RequestCode::PrefixOverlap)]);
    let id = RequestId(0);
    let told = namespace(&["a", "x"]);
    pair.command(
        Server,
        Command::Namespace { id, namespace: told.clone(), route: Route::default() },
    );
    pair.command(Server, Command::NamespaceDone { id, namespace: told.clone() });
    // There is no PUBLISH_BLOCKED to say.
    pair.command(Server, Command::PublishBlocked { id: RequestId(2), track: track("x") });
    pair.settle();
    let expected = [
        Event::Namespace { id, namespace: told.clone(), route: Route::default() },
        Event::NamespaceDone { id, namespace: told },
    ];
    assert_eq!(pair.take(Client), expected);
    pair.command(Client, Command::Cancel { id, code: ResetCode::Cancelled });
    pair.settle();
    assert!(matches!(pair.take(Server)[..], [Event::Cancelled { .. }]));
    // Draft 18 has two messages for it.
    let mut newer = Pair::new(1);
    let now = newer.now;
    assert!(matches!(newer.client.session.request(now, both), Err(SessionError::Misuse(_))));
}

/// One session of draft 16 alone, against bytes.
struct Alone {
    session: Session,
    events: Vec<Event>,
    control: Vec<u8>,
    closed: Option<u64>,
}

impl Alone {
    fn new(session: Session) -> Alone {
        let mut alone = Alone { session, events: Vec::new(), control: Vec::new(), closed: None };
        alone.drain();
        alone
    }

    /// A server that has heard CLIENT_SETUP with a MAX_REQUEST_ID of 4.
    fn server() -> Alone {
        let now = sansio::harness::epoch();
        let mut alone = Alone::new(Session::server(now, Config::new(V16)));
        assert_eq!(alone.control, b"", "the client speaks first");
        alone.input(Input::ControlOpened(hex("20 0003 01 0204")));
        alone
    }

    fn client(setup: &str) -> Alone {
        let now = sansio::harness::epoch();
        let mut alone = Alone::new(Session::client(now, Config::new(V16)));
        alone.input(Input::ControlOpened(hex(setup)));
        alone
    }

    fn input(&mut self, input: Input) {
        let result = self.session.handle(sansio::harness::epoch(), input);
        self.drain();
        assert_eq!(result.is_err(), self.closed.is_some(), "{result:?}");
    }

    fn request(&mut self, request: Request) -> RequestId {
        let id = self.session.request(sansio::harness::epoch(), request).unwrap();
        self.drain();
        id
    }

    fn drain(&mut self) {
        while let Poll::Output(output) = self.session.poll() {
            match output {
                Output::Control(bytes) => self.control.extend_from_slice(&bytes),
                Output::Event(event) => self.events.push(event),
                Output::Close { code, .. } => self.closed = Some(code),
                _ => {}
            }
        }
    }

    /// What was said on the control stream since the last look.
    fn said(&mut self) -> Bytes {
        std::mem::take(&mut self.control).into()
    }
}

#[test]
fn draft16_s9_3_setups() {
    let mut server = Alone::server();
    // A count, MAX_REQUEST_ID for 1,000 requests, MAX_AUTH_TOKEN_CACHE_SIZE; no grease.
    assert_eq!(server.said(), hex("21 0009 02 02 47d0 02 8000 4000"));
    assert!(matches!(server.events[..], [Event::Ready(_)]));
    let mut client = Alone::client("21 0001 00");
    assert_eq!(client.said(), hex("20 0009 02 02 47d1 02 8000 4000"));
    for (text, code) in [
        // No SETUP, one of the other side, one that counts wrong, one that says an option twice.
        ("07 0002 00 00", SessionCode::ProtocolViolation),
        ("21 0001 00", SessionCode::ProtocolViolation),
        ("20 0003 02 0204", SessionCode::ProtocolViolation),
        ("20 0005 02 0204 0005", SessionCode::ProtocolViolation),
        ("20 0004 01 01 01 61", SessionCode::MalformedPath),
    ] {
        let now = sansio::harness::epoch();
        let mut alone = Alone::new(Session::server(now, Config::new(V16)));
        alone.input(Input::ControlOpened(hex(text)));
        assert_eq!(alone.closed, Some(V16.session_code(code)), "{text}");
    }
}

/// draft-16 §9.5, §9.6: what the peer does not allow yet waits, and is complained about once.
#[test]
fn draft16_s9_5_s9_6_requests_wait_for_their_turn() {
    let mut client = Alone::client("21 0001 00");
    client.said();
    let first = client.request(subscribe("a"));
    // REQUESTS_BLOCKED at 0.
    assert_eq!(client.said(), hex("1a 0001 00"));
    let second = client.request(subscribe("b"));
    assert_eq!((first, second, client.said()), (RequestId(0), RequestId(2), Bytes::new()));
    let publishes = client.request(publish("p"));
    assert_eq!(client.session.alias(publishes), None, "not offered yet");
    assert_eq!(client.session.open_data(publishes), None);
    // Given up before it was asked: asked all the same, as numbers must not be left out.
    let cancel = Command::Cancel { id: second, code: ResetCode::Cancelled };
    client.session.command(sansio::harness::epoch(), cancel).unwrap();
    client.drain();
    assert_eq!(client.said(), Bytes::new());
    client.input(Input::Control(hex("15 0001 02")));
    let a = "03 000d 00 02 03616363 0363616d 0161 00";
    assert_eq!(client.said(), [hex(a), hex("1a 0001 02")].concat());
    client.input(Input::Control(hex("15 0001 04")));
    let b = "03 000d 02 02 03616363 0363616d 0162 00";
    assert_eq!(client.said(), [hex(b), hex("0a 0001 02"), hex("1a 0001 04")].concat());
    client.input(Input::Control(hex("15 0001 06")));
    let p = "1d 000e 04 02 03616363 0363616d 0170 00 00";
    assert_eq!(client.said(), hex(p));
    assert_eq!(client.session.open_data(publishes), Some(0));
    // It must rise.
    client.input(Input::Control(hex("15 0001 06")));
    assert_eq!(client.closed, Some(V16.session_code(SessionCode::ProtocolViolation)));
}

/// A peer that allows nothing does not make us keep everything that somebody wants of it.
#[test]
fn draft16_s9_5_what_waits_is_bounded() {
    let mut client = Alone::client("21 0001 00");
    let now = sansio::harness::epoch();
    for _ in 0..1_000 {
        let id = client.request(subscribe("a"));
        let cancel = Command::Cancel { id, code: ResetCode::Cancelled };
        client.session.command(now, cancel).unwrap();
    }
    let more = client.session.request(now, subscribe("a"));
    assert!(matches!(more, Err(SessionError::Misuse(_))), "{more:?}");
}

/// draft-16 §9.5: as requests end, more are allowed; not for each one.
#[test]
fn draft16_s9_5_more_is_allowed_as_requests_end() {
    let mut server = Alone::server();
    server.said();
    let mut allowed = Vec::new();
    for number in 0..1_500u64 {
        let id = 2 * number;
        let mut message = hex("03 0010 8000").to_vec();
        message.extend(u16::try_from(id).unwrap().to_be_bytes());
        message.extend(hex("02 03616363 0363616d 0161 00"));
        server.input(Input::Control(message.into()));
        assert_eq!(server.closed, None, "{number}");
        let unsubscribe = [&hex("0a 0004 8000")[..], &u16::try_from(id).unwrap().to_be_bytes()];
        server.input(Input::Control(unsubscribe.concat().into()));
        let said = server.said();
        if !said.is_empty() {
            allowed.push((number, said));
        }
    }
    assert_eq!(
        allowed,
        [(499, hex("15 0002 4bb8")), (999, hex("15 0002 4fa0")), (1_499, hex("15 0002 5388")),]
            .map(|(number, text)| (number, text))
    );
}

#[test]
fn draft16_s9_what_closes_the_session() {
    let subscribe = "03 000d 00 02 03616363 0363616d 0176 00";
    let again = "03 000d 02 02 03616363 0363616d 0177 00";
    for (texts, code) in [
        // §9.1: the wrong side's, the same again, one behind.
        (vec!["03 000d 01 02 03616363 0363616d 0176 00"], SessionCode::InvalidRequestId),
        (vec![subscribe, subscribe], SessionCode::InvalidRequestId),
        (vec![again, subscribe], SessionCode::InvalidRequestId),
        // §9.5: beyond MAX_REQUEST_ID.
        (vec!["03 000e 47d0 02 03616363 0363616d 0176 00"], SessionCode::TooManyRequests),
        // §9.11: of nothing.
        (vec!["02 0003 00 02 00"], SessionCode::ProtocolViolation),
        // About requests that there are not.
        (vec!["07 0002 01 00"], SessionCode::InvalidRequestId),
        (vec!["0a 0001 04"], SessionCode::InvalidRequestId),
        // Ends that do not fit.
        (vec![subscribe, "17 0001 00"], SessionCode::ProtocolViolation),
        (vec![subscribe, "09 0001 00"], SessionCode::ProtocolViolation),
        (vec![subscribe, "0a 0002 00 00"], SessionCode::ProtocolViolation),
        (vec![subscribe, "0b 0004 00 02 00 00"], SessionCode::ProtocolViolation),
        (vec![subscribe, "04 0004 00 01 00 00"], SessionCode::ProtocolViolation),
        // §9.25: it has a stream of its own.
        (vec!["11 0006 00 01 0161 01 00"], SessionCode::ProtocolViolation),
        // §9: what later drafts have, and a second SETUP.
        (vec!["4050 0005 00 01 0161 00"], SessionCode::ProtocolViolation),
        (vec!["20 0001 00"], SessionCode::ProtocolViolation),
        // §9.4
        (vec!["10 0001 00", "10 0001 00"], SessionCode::ProtocolViolation),
        (vec!["10 0002 01 61"], SessionCode::ProtocolViolation),
        // §9.2: a parameter that is none, one twice, a value that is none.
        (vec!["03 000f 00 02 03616363 0363616d 0176 01 04 00"], SessionCode::ProtocolViolation),
        (vec!["03 0010 00 02 03616363 0363616d 0176 01 20 4100"], SessionCode::ProtocolViolation),
        (vec!["03 000f 00 02 03616363 0363616d 0176 01 02 00"], SessionCode::ProtocolViolation),
        (vec!["03 000f 00 02 03616363 0363616d 0176 01 10 02"], SessionCode::ProtocolViolation),
        (
            vec!["1d 0011 00 02 03616363 0363616d 0176 00 01 09 01 05"],
            SessionCode::KeyValueFormattingError,
        ),
    ] {
        let mut server = Alone::server();
        for (at, text) in texts.iter().enumerate() {
            assert_eq!(server.closed, None, "{texts:?}");
            server.input(Input::Control(hex(text)));
            assert!(at + 1 == texts.len() || server.closed.is_none(), "{texts:?}");
        }
        assert_eq!(server.closed, Some(V16.session_code(code)), "{texts:?}");
    }
    // §3.3: a stream that begins with anything but SUBSCRIBE_NAMESPACE.
    let mut server = Alone::server();
    let stream = StreamId::Peers(4);
    server.input(Input::Bytes { stream, bytes: hex(subscribe) });
    assert_eq!(server.closed, Some(V16.session_code(SessionCode::ProtocolViolation)));
}

/// draft-16 §9.2.2: a known parameter in a message that has no use for it is not looked at; and GROUP_ORDER
/// 0, which shaka-player sends, is none.
#[test]
fn draft16_s9_2_2_what_is_ignored() {
    let mut server = Alone::server();
    // EXPIRES in SUBSCRIBE, GROUP_ORDER 0.
    let text = "03 0011 00 02 03616363 0363616d 0176 02 08 05 1a 00";
    server.input(Input::Control(hex(text)));
    let [_, Event::Request { request, .. }] = &server.events[..] else { panic!() };
    assert_eq!(*request.parameters(), Parameters::default());
}
