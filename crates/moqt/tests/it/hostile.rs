//! What a peer may not do, and the code that the draft closes the session with. Each row is one session
//! that was in order until then.

use bytes::Bytes;
use moqt::session::{Command, Config, DataHeader, DataId, Event, Input, Output, Session, StreamId};
use moqt::{
    Answer, Fetch, JoiningStart, Location, Parameters, Range, Request, RequestCode, RequestId,
    SessionCode, SessionError, Version,
};
use sansio::{Core, Poll};

use crate::support::*;

/// The drafts whose sessions are shaped alike (draft-18 §3.3). What they disagree on stands apart.
const FAMILY: [Version; 4] =
    [Version::Draft18, Version::Draft20, Version::Draft21, Version::Draft22];

/// Something that the peer does, in hexadecimal digits.
#[derive(Debug, Clone, Copy)]
enum Step {
    Control(&'static str),
    SecondControl,
    ControlClosed,
    /// On a stream of its own.
    Peers(u64, &'static str),
    /// On a stream of ours.
    Ours(u64, &'static str),
    PeersFin(u64),
    OursFin(u64),
    OursStopped(u64),
    FetchStream(u64),
    Datagram(&'static str),
}

use Step::{
    Control, ControlClosed, Datagram, FetchStream, Ours, OursFin, OursStopped, Peers, PeersFin,
    SecondControl,
};

pub(crate) fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.bytes().filter(|digit| *digit != b' ').collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect::<Vec<u8>>().into()
}

/// One session, and what it said so far.
struct Alone {
    session: Session,
    now: std::time::Instant,
    events: Vec<Event>,
    sent: Vec<(StreamId, Vec<u8>)>,
    closed: Option<u64>,
    data: u64,
}

impl Alone {
    fn new(session: Session, now: std::time::Instant) -> Alone {
        let (events, sent) = (Vec::new(), Vec::new());
        let mut alone = Alone { session, now, events, sent, closed: None, data: 0 };
        alone.drain();
        alone
    }

    /// A server that has heard SETUP.
    fn server() -> Alone {
        Alone::server_of(V)
    }

    fn server_of(version: Version) -> Alone {
        let now = sansio::harness::epoch();
        let mut alone = Alone::new(Session::server(now, Config::new(version)), now);
        alone.step(Control("af00 0000"));
        alone
    }

    /// A client that has heard SETUP, with one request of each kind, on streams 0 to 6: SUBSCRIBE, FETCH of
    /// groups 5 to 6, SUBSCRIBE_NAMESPACE (a), PUBLISH, TRACK_STATUS, SUBSCRIBE_TRACKS (a),
    /// PUBLISH_NAMESPACE.
    fn client() -> Alone {
        Alone::client_of(V)
    }

    fn client_of(version: Version) -> Alone {
        let now = sansio::harness::epoch();
        let mut alone = Alone::new(Session::client(now, Config::new(version)), now);
        alone.step(Control("af00 0000"));
        let parameters = Parameters::default;
        let range = Range { start: Location::new(5, 0), end: Location::new(6, Range::WHOLE_GROUP) };
        let fetch = Fetch::Standalone { track: track("v"), range };
        for request in [
            subscribe("v"),
            Request::Fetch { fetch, parameters: parameters() },
            namespaces_below(namespace(&["a"])),
            publish("p"),
            Request::TrackStatus { track: track("v"), parameters: parameters() },
            Request::SubscribeTracks { prefix: namespace(&["a"]), parameters: parameters() },
            Request::PublishNamespace { namespace: namespace(&["b"]), parameters: parameters() },
        ] {
            alone.session.request(now, request).unwrap();
        }
        alone.drain();
        alone
    }

    fn step(&mut self, step: Step) {
        let input = match step {
            Control(text) if self.data == 0 => {
                self.data = 1;
                Input::ControlOpened(hex(text))
            }
            Control(text) => Input::Control(hex(text)),
            SecondControl => Input::ControlOpened(hex("af00 0000")),
            ControlClosed => Input::ControlClosed,
            Peers(stream, text) => {
                Input::Bytes { stream: StreamId::Peers(stream), bytes: hex(text) }
            }
            Ours(stream, text) => Input::Bytes { stream: StreamId::Ours(stream), bytes: hex(text) },
            PeersFin(stream) => Input::Finished(StreamId::Peers(stream)),
            OursFin(stream) => Input::Finished(StreamId::Ours(stream)),
            OursStopped(stream) => Input::Stopped { stream: StreamId::Ours(stream), code: 0 },
            FetchStream(id) => {
                self.data += 1;
                let header = DataHeader::Fetch(RequestId(id));
                Input::DataOpened { stream: DataId(self.data), header }
            }
            Datagram(text) => Input::Datagram(hex(text)),
        };
        let result = self.session.handle(self.now, input);
        self.drain();
        assert_eq!(result.is_err(), self.closed.is_some(), "{step:?}: {result:?}");
    }

    fn drain(&mut self) {
        while let Poll::Output(output) = self.session.poll() {
            assert!(self.closed.is_none(), "an output after Close");
            match output {
                Output::Event(event) => self.events.push(event),
                Output::Send { stream, bytes } => self.sent.push((stream, bytes.to_vec())),
                Output::Close { code, .. } => self.closed = Some(code),
                _ => {}
            }
        }
    }

    fn command(&mut self, command: Command) {
        self.session.command(self.now, command).unwrap();
        self.drain();
    }
}

fn check(mut alone: Alone, steps: &[Step], code: SessionCode) {
    let (last, before) = steps.split_last().unwrap();
    for step in before {
        alone.step(*step);
        assert_eq!(alone.closed, None, "{steps:?}: too early");
    }
    alone.step(*last);
    let version = alone.session.version();
    assert_eq!(alone.closed, Some(version.session_code(code)), "{version:?} {steps:?}");
}

/// The same in each of these drafts, after the beginning of a session that `alone` makes.
fn check_all(alone: fn(Version) -> Alone, rows: &[&[Step]], code: SessionCode) {
    for version in FAMILY {
        rows.iter().for_each(|steps| check(alone(version), steps, code));
    }
}

/// SUBSCRIBE, id, track (acc, cam) / v, no parameters.
const SUBSCRIBE_0: &str = "03 000d 00 02 03616363 0363616d 01 76 00";
const SUBSCRIBE_2: &str = "03 000d 02 02 03616363 0363616d 01 77 00";

/// A long field count, length or name in front of nothing.
const HUGE: &str = "ffffffffffffffffff";

#[test]
fn draft18_control_stream_violations() {
    use SessionCode::*;
    let fresh = |config: Config, client: bool| {
        let now = sansio::harness::epoch();
        let session =
            if client { Session::client(now, config) } else { Session::server(now, config) };
        Alone::new(session, now)
    };
    for (text, code, version) in [
        // §3.3: something else first, SETUP of other drafts among it.
        ("10 0003 00 00 00", ProtocolViolation),
        ("20 0000", ProtocolViolation),
        ("2f 0000", ProtocolViolation),
        // §10.3.1.1, §10.3.1.2
        ("af00 0003 01 01 78", MalformedPath),
        ("af00 0003 05 01 2f", MalformedAuthority),
        ("af00 0002 05 00", MalformedAuthority),
        // §10.3: a known option twice.
        ("af00 0006 01 01 2f 00 01 2f", ProtocolViolation),
        ("af00 0004 04 01 00 02", ProtocolViolation),
        // §1.4.3
        ("af00 0001 01", KeyValueFormattingError),
        ("af00 0002 01 05", KeyValueFormattingError),
        ("af00 0004 01 c10000", ProtocolViolation),
        ("af00 0001 04", KeyValueFormattingError),
        // §10.2.2: a token that can't be decoded; one that refers to another.
        ("af00 0003 03 01 07", KeyValueFormattingError),
        ("af00 0004 03 02 02 05", ProtocolViolation),
        ("af00 0004 03 02 00 05", ProtocolViolation),
        // The same alias twice.
        ("af00 000a 03 03 01 05 00 00 03 01 05 00", DuplicateAuthTokenAlias),
    ]
    .into_iter()
    .flat_map(|(text, code)| FAMILY.map(|version| (text, code, version)))
    {
        check(fresh(Config::new(version), false), &[Control(text)], code);
    }
    for (text, code, version) in [
        ("af00 0003 01 01 2f", InvalidPath),
        ("af00 0003 05 01 61", InvalidAuthority),
        ("af00 0004 03 02 02 05", UnknownAuthTokenAlias),
    ]
    .into_iter()
    .flat_map(|(text, code)| FAMILY.map(|version| (text, code, version)))
    {
        check(fresh(Config::new(version), true), &[Control(text)], code);
    }
    let rows: &[&[Step]] = &[
        // §3.3, §10
        &[SecondControl][..],
        &[ControlClosed],
        &[Control("af00 0000")],
        &[Control(SUBSCRIBE_0)],
        &[Control("7e 0000")],
        &[Control("07 0001 00")],
    ];
    check_all(Alone::server_of, rows, ProtocolViolation);
    for steps in [
        // §10.4: twice; a client with a URI; a URI that is too long; too short; too long.
        &[Control("10 0003 00 00 01"), Control("10 0003 00 00 01")][..],
        &[Control("10 0004 01 61 00 01")],
        &[Control("10 0005 a001 00 00 01")],
        &[Control("10 0002 00 00")],
        &[Control("10 0004 00 00 01 00")],
    ] {
        check(Alone::server(), steps, ProtocolViolation);
    }
    // §10.4: an ID of the sender's own.
    check(Alone::server(), &[Control("10 0003 00 00 00")], InvalidRequestId);
    check(Alone::client(), &[Control("10 0003 00 00 01")], InvalidRequestId);
    check(Alone::client(), &[Control("10 0004 c02001 00 00")], ProtocolViolation);
    // draft-21 §9.2: the same without a Request ID.
    for version in FAMILY.into_iter().filter(|version| *version != V) {
        for steps in [
            &[Control("10 0002 00 00"), Control("10 0002 00 00")][..],
            &[Control("10 0003 01 61 00")],
            &[Control("10 0004 a001 00 00")],
            &[Control("10 0001 00")],
            &[Control("10 0003 00 00 01")],
        ] {
            check(Alone::server_of(version), steps, ProtocolViolation);
        }
        check(Alone::client_of(version), &[Control("10 0003 c02001 00")], ProtocolViolation);
    }
}

#[test]
fn draft18_request_violations() {
    use SessionCode::*;
    let rows: &[&[Step]] = &[
        // §3.3: no request first.
        &[Peers(1, "07 0001 00")][..],
        &[Peers(1, "04 0003 01 00 00")],
        &[Peers(1, "10 0002 00 00")],
        &[Peers(1, "02 0002 00 00")],
        &[Peers(1, "7e 0000")],
        &[Peers(1, "af00 0000")],
        // §10: lengths that do not match.
        &[Peers(1, "03 000e 00 02 03616363 0363616d 01 76 00 00")],
        &[Peers(1, "03 000c 00 02 03616363 0363616d 01 76")],
        &[Peers(1, "03 0000")],
        // §2.4.1: 33 fields; a field of no byte; more than 4,096 bytes; counts and lengths of nothing.
        &[Peers(1, "50 0003 00 21 00")],
        &[Peers(1, "03 0008 00 01 00 01 76 00 00 00")],
        &[Peers(1, "50 000b 00 ffffffffffffffffff 00")],
        &[Peers(1, "50 000c 00 01 ffffffffffffffffff 00")],
        // §10.2: a parameter that is none, twice, out of its message, of an overflowing type, too many.
        &[Peers(1, "03 000f 00 02 03616363 0363616d 01 76 01 05 00")],
        &[Peers(1, "03 0011 00 02 03616363 0363616d 01 76 02 10 01 00 01")],
        &[Peers(1, "03 000f 00 02 03616363 0363616d 01 76 01 08 00")],
        &[Peers(1, "0d 000f 00 02 03616363 0363616d 01 76 01 10 01")],
        &[Peers(1, "03 0018 00 02 03616363 0363616d 01 76 02 02 00 ffffffffffffffffff")],
        &[Peers(1, "03 000d 00 02 03616363 0363616d 01 76 41")],
        // §10.2.8, §10.2.12: values out of range.
        &[Peers(1, "03 000f 00 02 03616363 0363616d 01 76 01 22 00")],
        &[Peers(1, "03 000f 00 02 03616363 0363616d 01 76 01 22 03")],
        &[Peers(1, "03 000f 00 02 03616363 0363616d 01 76 01 10 02")],
        // §10.12: a type that is none.
        &[Peers(1, "16 0004 00 04 00 00")],
        // §12.5, §12.6 in PUBLISH.
        &[Peers(1, "1d 0010 00 02 03616363 0363616d 01 76 00 00 22 03")],
        &[Peers(1, "1d 0010 00 02 03616363 0363616d 01 76 00 00 30 02")],
        // §10.9: who may not update, and what may not be updated.
        &[Peers(1, "0d 000d 00 02 03616363 0363616d 01 76 00"), Peers(1, "02 0002 02 00")],
        &[Peers(1, SUBSCRIBE_0), Peers(1, "02 0004 02 01 34 00")],
        // A second request on a stream; answers to nothing; what a requester does not say.
        &[Peers(1, SUBSCRIBE_0), Peers(1, SUBSCRIBE_2)],
        &[Peers(1, SUBSCRIBE_0), Peers(1, "07 0001 00")],
        &[Peers(1, SUBSCRIBE_0), Peers(1, "0b 0003 00 00 00")],
        &[Peers(1, SUBSCRIBE_0), Peers(1, "08 0001 00")],
        &[Peers(1, SUBSCRIBE_0), Peers(1, "0f 0002 00 00")],
        &[Peers(1, SUBSCRIBE_0), Peers(1, "7e 0000")],
        // §10.4: two GOAWAYs for one request.
        &[Peers(1, SUBSCRIBE_0), Peers(1, "10 0002 00 00"), Peers(1, "10 0002 00 00")],
        // §10.11: after PUBLISH_DONE there is none.
        &[
            Peers(1, "1d 000e 00 02 03616363 0363616d 01 76 00 00"),
            Peers(1, "0b 0003 00 01 00"),
            Peers(1, "0b 0003 00 01 00"),
        ],
        // A FIN inside a message.
        &[Peers(1, SUBSCRIBE_0), Peers(1, "02 00"), PeersFin(1)],
    ];
    check_all(Alone::server_of, rows, ProtocolViolation);
    for steps in [
        // §5.1.2: filters of an unknown type, with too much, too little, with an end that overflows.
        &[Peers(1, "03 0010 00 02 03616363 0363616d 01 76 01 21 01 05")][..],
        &[Peers(1, "03 0011 00 02 03616363 0363616d 01 76 01 21 02 02 00")],
        &[Peers(1, "03 0010 00 02 03616363 0363616d 01 76 01 21 01 03")],
        &[Peers(1, "03 001b 00 02 03616363 0363616d 01 76 01 21 0c 04 01 00 ffffffffffffffffff")],
    ] {
        check(Alone::server(), steps, ProtocolViolation);
    }
    // draft-21 §9.20.10: fields that do not end with their length, five of them, and an end that overflows.
    for (version, steps) in [
        (Version::Draft20, "03 0010 00 02 03616363 0363616d 01 76 01 21 01 80"),
        (Version::Draft20, "03 0014 00 02 03616363 0363616d 01 76 01 21 05 01 01 01 01 01"),
        (
            Version::Draft21,
            "03 001a 00 02 03616363 0363616d 01 76 01 21 0b 01 00 ffffffffffffffffff",
        ),
        // 22 says a type, and that it has: one that is none, too little, an end that overflows.
        (Version::Draft22, "03 000f 00 02 03616363 0363616d 01 76 01 21 3f"),
        (Version::Draft22, "03 000f 00 02 03616363 0363616d 01 76 01 21 03"),
        // Parameters of a fill (draft-21 §9.20.16) that is none, and that reaches behind its end.
        (Version::Draft22, "03 0012 00 02 03616363 0363616d 01 76 01 23 03 01 10 01"),
        (Version::Draft20, "03 0010 00 02 03616363 0363616d 01 76 01 23 05 01"),
        // INCLUDE_PROPERTIES is 0 or 1 (draft-21 §9.20.22).
        (Version::Draft22, "03 000f 00 02 03616363 0363616d 01 76 01 35 02"),
        // FETCH without a name (draft-21 §9.11), and as draft 18 has it.
        (Version::Draft20, "16 0004 00 04 00 00"),
        (Version::Draft22, "16 0012 00 01 02 03616363 0363616d 01 76 05 03 05 02 00"),
    ] {
        check(Alone::server_of(version), &[Peers(1, steps)], ProtocolViolation);
    }
    for (steps, code) in [
        // §10.1
        (&[Peers(1, "03 000d 01 02 03616363 0363616d 01 76 00")][..], InvalidRequestId),
        (&[Peers(1, SUBSCRIBE_0), Peers(2, SUBSCRIBE_0)], InvalidRequestId),
        (&[Peers(1, SUBSCRIBE_0), Peers(1, "02 0002 00 00")], InvalidRequestId),
        (&[Peers(1, SUBSCRIBE_0), Peers(1, "02 0002 03 00")], InvalidRequestId),
        // §10.2.2
        (
            &[Peers(1, "03 0011 00 02 03616363 0363616d 01 76 01 03 02 02 05")],
            UnknownAuthTokenAlias,
        ),
        (
            &[Peers(1, "03 0011 00 02 03616363 0363616d 01 76 01 03 02 07 05")],
            KeyValueFormattingError,
        ),
        // §1.4.3, in track properties: a pair that is cut off.
        (&[Peers(1, "1d 0010 00 02 03616363 0363616d 01 76 00 00 0b 05")], KeyValueFormattingError),
        // §11.1: one alias, two tracks.
        (
            &[
                Peers(1, "1d 000e 00 02 03616363 0363616d 01 76 05 00"),
                Peers(2, "1d 000e 02 02 03616363 0363616d 01 77 05 00"),
            ],
            DuplicateTrackAlias,
        ),
    ] {
        check_all(Alone::server_of, &[steps], code);
    }
    assert_eq!(HUGE.len(), 18);
}

#[test]
fn draft18_answer_violations() {
    use SessionCode::*;
    let rows: &[&[Step]] = &[
        // Answers of the wrong type.
        &[Ours(0, "07 0001 00")][..],
        &[Ours(0, "18 0004 00 05 00 00")],
        &[Ours(1, "07 0001 00")],
        &[Ours(2, "04 0002 01 00")],
        &[Ours(3, "04 0002 01 00")],
        // §10.18, §10.19: anything but an answer first.
        &[Ours(2, "08 0001 00")],
        &[Ours(2, "10 0002 00 00")],
        &[Ours(5, "0f 0002 00 00")],
        // §5.1, §6.2: two answers.
        &[Ours(0, "04 0002 01 00"), Ours(0, "04 0002 01 00")],
        &[Ours(6, "07 0001 00"), Ours(6, "07 0001 00")],
        &[Ours(6, "07 0001 00"), Ours(6, "05 0003 00 00 00")],
        // §10.5: track properties where there are none.
        &[Ours(6, "07 0003 00 30 01")],
        &[Ours(3, "07 0003 00 30 01")],
        &[Ours(2, "07 0003 00 30 01")],
        // §10.2.1: parameters that the answer does not have.
        &[Ours(0, "04 0004 01 01 10 01")],
        // §1.4.4: a reason that is too long.
        &[Ours(0, "05 0004 00 00 8401")],
        // §10.6.1: a namespace is not redirected to a track.
        &[Ours(2, "05 0007 34 00 00 00 00 01 78")],
        // §10.13: an end before the start.
        &[Ours(1, "18 0004 00 04 00 00")],
        // §10.11: PUBLISH_DONE before the OK; on what is no subscription.
        &[Ours(0, "0b 0003 00 00 00")],
        &[Ours(1, "18 0004 00 06 00 00"), Ours(1, "0b 0003 00 00 00")],
        // §10.9: a publisher does not update a SUBSCRIBE.
        &[Ours(0, "04 0002 01 00"), Ours(0, "02 0002 01 00")],
        // §10.18: NAMESPACE_DONE before NAMESPACE; a name that is too long with its prefix (33 fields).
        &[Ours(2, "07 0001 00"), Ours(2, "0e 0003 01 01 78")],
        &[Ours(5, "07 0001 00"), Ours(5, "08 0003 01 01 78")],
        &[
            Ours(2, "07 0001 00"),
            Ours(
                2,
                "08 0041 20 0178017801780178017801780178017801780178017801780178017801780178 0178017801780178017801780178017801780178017801780178017801780178",
            ),
        ],
        // Data: two streams for a fetch; a fetch that never was; one of the peer's.
        &[FetchStream(2), FetchStream(2)],
        &[FetchStream(14)],
        &[FetchStream(1)],
        &[Datagram("10")],
        &[Datagram("22 01 00 00 00")],
        &[Ours(0, "04 00"), OursFin(0)],
    ];
    check_all(Alone::client_of, rows, ProtocolViolation);
    // EXPIRES of a namespace, which later drafts have.
    check(Alone::client(), &[Ours(6, "07 0003 01 08 05")], ProtocolViolation);
    // §11.1: one alias, two tracks, by SUBSCRIBE_OK and PUBLISH.
    let steps =
        &[Ours(0, "04 0002 05 00"), Peers(1, "1d 000e 01 02 03616363 0363616d 01 77 05 00")];
    check_all(Alone::client_of, &[steps], DuplicateTrackAlias);
    // §10.6.1: a client that redirects a server to another one.
    let now = sansio::harness::epoch();
    let mut server = Alone::new(Session::server(now, config()), now);
    server.step(Control("af00 0000"));
    server.session.request(now, subscribe("v")).unwrap();
    server.drain();
    check(server, &[Ours(0, "05 0007 34 00 00 01 61 00 00")], ProtocolViolation);
}

/// What looks wrong, and is not.
#[test]
fn draft18_what_must_be_borne() {
    let rows: &[&[Step]] = &[
        // Longer integers than need be, also as types (§1.4.1).
        &[Peers(1, "8003 0010 8000 8002 03616363 0363616d 01 76 8000")][..],
        // A FIN right behind a request.
        &[Peers(1, SUBSCRIBE_0), PeersFin(1)],
        &[Peers(1, "0d 000d 00 02 03616363 0363616d 01 76 00"), PeersFin(1)],
        // Requests in any order, with gaps.
        &[Peers(1, "03 000d 08 02 03616363 0363616d 01 76 00"), Peers(2, SUBSCRIBE_0)],
        // A stream that ends before it was a request.
        &[Peers(1, "03 00"), PeersFin(1)],
        // Unknown setup options and properties; an unknown reason in words.
        &[Peers(1, "1d 0011 00 02 03616363 0363616d 01 76 00 00 809e 00")],
        &[Datagram("f0132b3e29 00")],
        // A datagram and a stream of nobody.
        &[Datagram("0c 05 00 61")],
        // An empty update, as a sign of life (§13.6.1).
        &[Peers(1, SUBSCRIBE_0), Peers(1, "02 0002 02 00")],
    ];
    let goaways = [(V, "10 0003 00 00 01"), (Version::Draft20, "10 0002 00 00")];
    let goaways = goaways.map(|(version, text)| (version, vec![Control(text)]));
    let rows = FAMILY
        .into_iter()
        .flat_map(|version| rows.iter().map(move |steps| (version, steps.to_vec())));
    for (version, steps) in rows.chain(goaways) {
        let mut alone = Alone::server_of(version);
        for step in &steps {
            alone.step(*step);
        }
        assert_eq!(alone.closed, None, "{version:?} {steps:?}");
    }
    let mut alone = Alone::client();
    for step in [
        // PUBLISH_OK by its other name.
        Ours(3, "1e 0001 00"),
        // Codes that nobody knows (§14).
        Ours(0, "05 0004 809d 00 00"),
        // A cancelled fetch's stream.
        FetchStream(2),
        Ours(1, "05 0003 00 00 00"),
    ] {
        alone.step(step);
    }
    assert_eq!(alone.closed, None);
    let unknown =
        Event::Answered { id: RequestId(0), answer: Answer::error(RequestCode::InternalError, "") };
    assert!(alone.events.contains(&unknown), "{:?}", alone.events);
}

/// While the last streams of its subscription are waited for, of which nobody has said how many there are.
#[test]
fn draft18_s11_1_an_alias_is_free_behind_publish_done() {
    for version in FAMILY {
        let mut alone = Alone::server_of(version);
        for step in [
            Peers(1, "1d 000e 00 02 03616363 0363616d 01 76 05 00"),
            Peers(1, "0b 000b 02 ff3fffffffffffffff 00"),
            Peers(2, "1d 000e 02 02 03616363 0363616d 01 77 05 00"),
            Datagram("0c 05 00 61"),
        ] {
            alone.step(step);
            assert_eq!(alone.closed, None, "{version:?} {step:?}");
        }
        let came = alone.events.last();
        let of_the_second = matches!(came, Some(Event::Datagram { id: RequestId(2), .. }));
        assert!(of_the_second, "{version:?} {came:?}");
    }
}

/// Range filters may be in an update "from the subscriber only".
#[test]
fn draft21_s3_3_2_a_publisher_filters_nothing() {
    const PUBLISH: &str = "1d 000e 00 02 03616363 0363616d 01 76 05 00";
    // SUBGROUP_FILTER, 0 to 1.
    const UPDATE: &str = "02 0007 02 01 25 03 00 00 01";
    for version in [Version::Draft20, Version::Draft21, Version::Draft22] {
        let steps = &[Peers(1, PUBLISH), Peers(1, UPDATE)];
        check(Alone::server_of(version), steps, SessionCode::ProtocolViolation);
        let mut alone = Alone::server_of(version);
        alone.step(Peers(1, SUBSCRIBE_0));
        alone.step(Peers(1, UPDATE));
        assert_eq!(alone.closed, None, "{version:?}");
    }
}

/// A publisher that wants no updates of a SUBSCRIBE stops our side, and goes on; any other STOP_SENDING
/// ends its request.
#[test]
fn draft18_s3_3_2_stop_sending() {
    for (stream, ends) in [(0, false), (1, false), (2, true), (3, true), (4, false), (6, true)] {
        let mut alone = Alone::client();
        alone.step(OursStopped(stream));
        alone.step(OursStopped(stream));
        let id = RequestId(2 * stream);
        let told = Event::Cancelled { id, code: moqt::ResetCode::InternalError };
        assert_eq!(alone.events.contains(&told), ends, "{stream}");
        // The answer still counts, where there is one to wait for.
        if stream == 0 {
            alone.step(Ours(0, "04 0002 01 00"));
            alone.command(Command::Update { id, parameters: Parameters::default() });
            assert!(matches!(alone.events.last(), Some(Event::Answered { .. })));
            alone.step(OursFin(0));
            let ended = Event::Cancelled { id, code: moqt::ResetCode::Cancelled };
            assert!(alone.events.contains(&ended));
        }
    }
}

/// Requests that are refused without the owner, with the draft's code.
#[test]
fn draft18_requests_that_are_refused() {
    for (steps, code) in [
        // §5.1
        (
            &[Peers(1, SUBSCRIBE_0), Peers(2, "03 000d 02 02 03616363 0363616d 01 76 00")][..],
            RequestCode::DuplicateSubscription,
        ),
        // §10.12.3
        (
            &[Peers(1, "16 0012 00 01 02 03616363 0363616d 01 76 05 03 05 02 00")],
            RequestCode::InvalidRange,
        ),
        // §10.12.2
        (&[Peers(1, "16 0005 00 02 02 00 00")], RequestCode::InvalidJoiningRequestId),
        // §2.5.1
        (
            &[Peers(1, "1d 0012 00 02 03616363 0363616d 01 76 00 00 c04000 00")],
            RequestCode::UnsupportedExtension,
        ),
        // §3.2.1
        (&[Peers(1, "50 0005 00 01 01 2e 00")], RequestCode::DoesNotExist),
        // §10.2.2: the same token twice.
        (
            &[Peers(1, "03 0017 00 02 03616363 0363616d 01 76 02 03 03 03 00 61 00 03 03 00 61")],
            RequestCode::MalformedAuthToken,
        ),
    ] {
        let mut alone = Alone::server();
        for step in steps {
            alone.step(*step);
        }
        assert_eq!(alone.closed, None, "{steps:?}");
        let (_, bytes) = alone.sent.last().expect("an answer");
        let expected = [5, 0];
        assert_eq!(bytes[..2], expected, "{steps:?}: {bytes:02x?}");
        assert_eq!(u64::from(bytes[3]), V.request_code(code), "{steps:?}");
    }
}

/// Duty D22 and others: a flood costs the one who makes it.
#[test]
fn floods_are_bounded() {
    let mut alone = Alone::server();
    for i in 0..5_000u64 {
        // SUBSCRIBE with an ID of four bytes, a name that is the number.
        let id = 0xe000_0000u32 | (2 * i) as u32;
        let number = i.to_be_bytes();
        let bytes =
            [&[3, 0, 19][..], &id.to_be_bytes(), &[1, 3, b'a', b'c', b'c', 8], &number, &[0]]
                .concat();
        let stream = StreamId::Peers(i);
        alone.session.handle(alone.now, Input::Bytes { stream, bytes: bytes.into() }).unwrap();
        alone.drain();
    }
    assert_eq!(alone.session.open_requests(), 1_000);
    assert_eq!(alone.closed, None);
    // Requests that never end: bytes are counted over all streams.
    let mut alone = Alone::server();
    for i in 0..1_000 {
        let bytes = [&[3, 0xff, 0xff][..], &[0; 10_000]].concat();
        let stream = StreamId::Peers(i);
        alone.session.handle(alone.now, Input::Bytes { stream, bytes: bytes.into() }).unwrap();
        alone.drain();
    }
    assert!(alone.session.kept_bytes() <= moqt::limits::NASCENT_BYTES_MAX);
    // The same behind requests that are open, and updates with tokens of 16,000 bytes.
    let mut alone = Alone::server();
    let token = [&hex("03 be82 03 00")[..], &vec![b'x'; 16_000]].concat();
    for i in 0..300u64 {
        let id = 0xe000_0000u32 | (4 * i) as u32;
        let (name, update) = (i.to_be_bytes(), (id + 2).to_be_bytes());
        let subscribe =
            [&[3, 0, 19][..], &id.to_be_bytes(), &[1, 3, b'a', b'c', b'c', 8], &name, &[0]];
        let body = [&update[..], &[1], &token].concat();
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        let half = [&[2, 0xff, 0xff][..], &[0; 9_000]].concat();
        let bytes = [subscribe.concat(), [&[2][..], &length, &body].concat(), half].concat();
        let stream = StreamId::Peers(i);
        alone.session.handle(alone.now, Input::Bytes { stream, bytes: bytes.into() }).unwrap();
        alone.drain();
    }
    assert_eq!(alone.closed, None);
    assert!(alone.session.kept_bytes() <= moqt::limits::PENDING_BYTES_MAX);
    // Namespaces without end, at a subscriber.
    let mut alone = Alone::client();
    alone.step(Ours(2, "07 0001 00"));
    for i in 0..100_000u64 {
        let bytes = [&[8, 0, 10, 1, 8][..], &i.to_be_bytes()].concat();
        let input = Input::Bytes { stream: StreamId::Ours(2), bytes: bytes.into() };
        alone.session.handle(alone.now, input).unwrap();
        alone.drain();
    }
    let told = alone.events.iter().filter(|event| matches!(event, Event::Namespace { .. })).count();
    assert!(told < 40_000, "{told}");
    assert!(matches!(alone.events.last(), Some(Event::Cancelled { id: RequestId(4), .. })));
}

/// How many; `AIRWAVE_MOQ_FLOOD` says another number.
fn size() -> u64 {
    let said = std::env::var("AIRWAVE_MOQ_FLOOD").ok();
    said.map_or(20_000, |n| n.parse().unwrap_or_else(|_| panic!("AIRWAVE_MOQ_FLOOD={n}")))
}

/// Subscriptions that come and go, each with a token that is registered and deleted: what is over takes no room.
#[test]
fn what_comes_and_goes_leaves_nothing() {
    let mut alone = Alone::server();
    // A quarter of what the cache of tokens holds.
    let token = vec![b'x'; 4_000];
    for i in 0..size() {
        let id = 0xe000_0000u32 | (2 * i) as u32;
        let name = [&[1, 3, b'a', b'c', b'c', 8][..], &i.to_be_bytes()].concat();
        // REGISTER alias 5, then DELETE it.
        let register = [&hex("03 8fa3 01 05 00")[..], &token].concat();
        let tokens = [&[2][..], &register, &hex("00 02 00 05")].concat();
        let body = [&id.to_be_bytes()[..], &name, &tokens].concat();
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        let bytes = [&[3][..], &length, &body].concat();
        let stream = StreamId::Peers(i);
        alone.session.handle(alone.now, Input::Bytes { stream, bytes: bytes.into() }).unwrap();
        alone.drain();
        let Some(Event::Request { id, tokens, .. }) = alone.events.pop() else {
            panic!("{i}: {:?} {:?}", alone.events, alone.closed)
        };
        assert_eq!(tokens.len(), 1);
        assert!(alone.session.kept() <= 2, "{i}: {}", alone.session.kept());
        alone.command(Command::Answer { id, answer: Answer::ok() });
        assert!(alone.session.open_data(id).is_some());
        alone.command(Command::DataClosed { id });
        for input in [Input::Reset { stream, code: 1 }, Input::Stopped { stream, code: 1 }] {
            alone.session.handle(alone.now, input).unwrap();
        }
        alone.drain();
        alone.events.clear();
        alone.sent.clear();
    }
    assert_eq!((alone.session.kept(), alone.session.kept_bytes()), (0, 0));
}

/// Tokens that are registered count, whatever becomes of their request.
#[test]
fn draft18_s10_2_2_d19_tokens_of_requests() {
    let mut alone = Alone::server();
    // REGISTER alias 5 "t", in a request that is refused (a second subscription).
    alone.step(Peers(1, SUBSCRIBE_0));
    alone.step(Peers(2, "03 0013 02 02 03616363 0363616d 01 76 01 03 04 01 05 00 74"));
    // USE_ALIAS 5
    alone.step(Peers(3, "03 0011 04 02 03616363 0363616d 01 77 01 03 02 02 05"));
    let Some(Event::Request { tokens, .. }) = alone.events.last() else { panic!() };
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].value.expose(), b"t");
    // DELETE, then it is unknown.
    alone.step(Peers(4, "03 0011 06 02 03616363 0363616d 01 78 01 03 02 00 05"));
    alone.step(Peers(5, "03 0011 08 02 03616363 0363616d 01 79 01 03 02 02 05"));
    assert_eq!(alone.closed, Some(V.session_code(SessionCode::UnknownAuthTokenAlias)));
    // More than we said that we hold.
    let mut alone = Alone::server();
    let value = vec![b'x'; 16_000];
    let mut message = vec![3];
    let body = [&hex("00 02 03616363 0363616d 01 76 01 03 be83 01 05 00")[..], &value].concat();
    message.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    message.extend(body);
    let input = Input::Bytes { stream: StreamId::Peers(1), bytes: message.into() };
    alone.session.handle(alone.now, input).unwrap();
    alone.drain();
    assert_eq!(alone.closed, None);
    let again = "03 0014 02 02 03616363 0363616d 01 77 01 03 05 01 06 00 7878";
    alone.step(Peers(2, again));
    assert_eq!(alone.closed, None);
    let mut message = vec![3];
    let body =
        [&hex("04 02 03616363 0363616d 01 78 01 03 81f7 01 07 00")[..], &vec![0; 500]].concat();
    message.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    message.extend(body);
    let input = Input::Bytes { stream: StreamId::Peers(3), bytes: message.into() };
    let result = alone.session.handle(alone.now, input);
    assert!(
        matches!(result, Err(SessionError::Peer(violation))
            if violation.code == SessionCode::AuthTokenCacheOverflow),
        "{result:?}"
    );
}

#[test]
fn joining_a_fetch_that_is_no_subscription() {
    let mut alone = Alone::client();
    let fetch = |id| Request::Fetch {
        fetch: Fetch::Joining { subscription: RequestId(id), start: JoiningStart::Relative(0) },
        parameters: Parameters::default(),
    };
    let now = alone.now;
    assert!(alone.session.request(now, fetch(2)).is_err());
    assert!(alone.session.request(now, fetch(0)).is_ok());
    alone.command(Command::Cancel { id: RequestId(0), code: moqt::ResetCode::Cancelled });
    assert!(alone.session.request(now, fetch(0)).is_err());
}
