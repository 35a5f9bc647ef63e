//! Peers that lie, stall or speak something else (T8, T9).

use std::time::Duration;

use rtmp::amf0::{AmfError, Value};
use rtmp::chunk::ChunkError;
use rtmp::handshake::{Done, HandshakeError};
use rtmp::server::{self, Command, End, Event, RefusalCode, Server};
use rtmp::{Fault, MessageError, PeerFault, ServerError, WireError, limits};
use sansio::harness::{Link, Pair, epoch};

use crate::support::*;

fn chunk(error: ChunkError) -> ServerError {
    ServerError::Wire(WireError::Chunk(error))
}

#[test]
fn lies_end_the_session_with_their_name() {
    let chunk_size = |size: u32| message(2, 0, 1, size.to_be_bytes().to_vec());
    let header = |length: u32| {
        let mut bytes = vec![5, 0, 0, 0];
        bytes.extend_from_slice(&length.to_be_bytes()[1..]);
        bytes.extend_from_slice(&[9, 1, 0, 0, 0]);
        bytes
    };
    let too_long =
        ChunkError::MessageTooLong { announced: 0xff_ffff, limit: limits::MESSAGE_BYTES_MAX };
    let many: Vec<u8> = (0..80).flat_map(|id| message(100 + id, 1, 9, vec![0])).collect();
    let nested = command("x", 1.0, &[])
        .iter()
        .copied()
        .chain([10, 0, 0, 0, 1].repeat(10_000))
        .collect::<Vec<_>>();
    let depth = WireError::Message(MessageError::Command(AmfError::Depth));
    let cases: [(Vec<u8>, ServerError, Fault); 8] = [
        (header(0xff_ffff), chunk(too_long), Fault::Peer),
        (chunk_size(0), chunk(ChunkError::ChunkSize(0)), Fault::Malformed),
        (chunk_size(1 << 31), chunk(ChunkError::ChunkSize(1 << 31)), Fault::Malformed),
        (
            message(2, 0, 1, vec![0, 0]),
            WireError::Message(MessageError::CutOff(1)).into(),
            Fault::Malformed,
        ),
        (
            message(2, 0, 4, vec![0]),
            WireError::Message(MessageError::CutOff(4)).into(),
            Fault::Malformed,
        ),
        (vec![0xc7], chunk(ChunkError::NoEarlierHeader(7)), Fault::Malformed),
        (many, chunk(ChunkError::TooManyStreams), Fault::Peer),
        (message(7, 0, 20, nested), depth.into(), Fault::Malformed),
    ];
    for (bytes, expect, fault) in cases {
        let mut pair = publishing_liar(1, true);
        pair.inject_b(bytes);
        pair.settle();
        assert_eq!(pair.b.error.as_ref(), Some(&expect));
        assert_eq!(expect.fault(), fault);
        assert!(pair.b.closed.is_some());
        assert_eq!(ends(pair.b.take_events()), [(1, End::Lost)]);
    }
}

#[test]
fn a_stranger_may_send_little() {
    let mut pair = liar(2);
    pair.inject_b(message(3, 0, 9, vec![0; limits::SETUP_MESSAGE_BYTES_MAX + 1]));
    pair.settle();
    let announced = limits::SETUP_MESSAGE_BYTES_MAX + 1;
    let limit = limits::SETUP_MESSAGE_BYTES_MAX;
    assert_eq!(pair.b.error, Some(chunk(ChunkError::MessageTooLong { announced, limit })));
}

#[test]
fn commands_out_of_order_are_the_peers_fault() {
    let connected = || {
        let mut pair = liar(3);
        say(&mut pair, 0, "connect", 1.0, &[]);
        pair
    };
    let check = |mut pair: Liars, stream_id: u32, name: &str, expect: PeerFault| {
        say(&mut pair, stream_id, name, 9.0, &[Value::Null, Value::text(KEY)]);
        assert_eq!(pair.b.error, Some(ServerError::Peer(expect)), "{name}");
    };
    check(liar(3), 0, "createStream", PeerFault::NotConnected);
    check(connected(), 0, "connect", PeerFault::ConnectedTwice);
    check(connected(), 0, "publish", PeerFault::NoSuchStream(0));
    check(connected(), 7, "play", PeerFault::NoSuchStream(7));
    check(publishing_liar(3, false), 1, "publish", PeerFault::StreamInUse(1));
    let mut many = connected();
    for _ in 0..limits::MESSAGE_STREAMS_MAX {
        say(&mut many, 0, "createStream", 2.0, &[Value::Null]);
    }
    check(many, 0, "createStream", PeerFault::TooManyStreams);
    let mut pair = publishing_liar(3, true);
    say(&mut pair, 0, "createStream", 2.0, &[Value::Null]);
    let long = Value::text("x".repeat(limits::NAME_BYTES_MAX + 1));
    say(&mut pair, 2, "publish", 0.0, &[Value::Null, long]);
    assert_eq!(pair.b.error, Some(ServerError::Peer(PeerFault::NameTooLong)));
}

#[test]
fn what_is_refused_beside_a_broadcast_leaves_it_on_the_air() {
    let denied = RefusalCode::PublishDenied.as_str();
    let failed = RefusalCode::PlayFailed.as_str();
    let name = [Value::Null, Value::text(KEY)];
    let mut pair = publishing_liar(6, true);
    // On its own stream.
    say(&mut pair, 1, "publish", 9.0, &name);
    say(&mut pair, 1, "play", 9.0, &name);
    assert_eq!((pair.a.core.heard(denied), pair.a.core.heard(failed)), (1, 1));
    assert!(pair.b.take_events().is_empty());
    // And on another one, where the owner says so; also twice.
    say(&mut pair, 0, "createStream", 2.0, &[Value::Null]);
    for (round, (what, code)) in
        [("publish", RefusalCode::PublishDenied), ("play", RefusalCode::PlayFailed)]
            .iter()
            .enumerate()
    {
        say(&mut pair, 2, what, 9.0, &name);
        assert_eq!(pair.b.take_events().len(), 1, "{what}");
        pair.command_b(Command::Reject { stream_id: 2, refusal: refusal(*code, "not now") });
        pair.settle();
        assert_eq!(pair.a.core.heard("not now"), round + 1);
        let dismissed = ends(pair.b.take_events());
        assert!(dismissed.iter().all(|end| *end == (2, End::Dismissed)), "{dismissed:?}");
    }
    pair.inject_b(message(6, 1, 9, vec![1; 10]));
    pair.settle();
    assert!(matches!(pair.b.take_events()[..], [Event::Media(_)]));
    assert!(pair.b.error.is_none() && pair.b.closed.is_none());
    // Its own dismissal ends the connection as ever.
    pair.command_b(Command::Reject {
        stream_id: 1,
        refusal: refusal(RefusalCode::PublishDenied, "over"),
    });
    assert!(pair.b.closed.is_some());
    assert_eq!(ends(pair.b.take_events()), [(1, End::Dismissed)]);
}

#[test]
fn unknown_commands_are_answered_if_they_want() {
    let mut pair = publishing_liar(4, true);
    say(&mut pair, 0, "whatIsThis", 8.0, &[Value::Null]);
    assert_eq!(pair.a.core.heard("_error"), 1);
    say(&mut pair, 0, "whatIsThis", 0.0, &[Value::Null]);
    say(&mut pair, 1, "pause", 7.0, &[Value::Null]);
    assert_eq!(pair.a.core.heard("_error"), 1);
    say(&mut pair, 0, "getStreamLength", 8.0, &[Value::Null]);
    assert!(pair.b.error.is_none());
}

#[test]
fn too_much_before_the_answer_ends_it() {
    let mut pair = publishing_liar(5, false);
    for _ in 0..3 {
        pair.inject_b(message(6, 1, 9, vec![1; 4 << 20]));
    }
    pair.settle();
    assert_eq!(pair.b.error, Some(ServerError::Peer(PeerFault::TooMuchUnanswered)));
    assert_eq!(ends(pair.b.take_events()), [(1, End::Lost)]);
}

#[test]
fn slow_peers_meet_their_deadlines() {
    // Not a byte.
    let now = epoch();
    let server = Server::new(now, server::Config::new([2; 32]));
    let mut pair = Pair::new(now, Link::seeded(6), Mute::default(), server);
    pair.advance(limits::SETUP_TIMEOUT - Duration::from_millis(1));
    assert!(pair.b.error.is_none());
    pair.advance(Duration::from_millis(1));
    assert_eq!(
        pair.b.error,
        Some(ServerError::Peer(PeerFault::HandshakeTimeout(limits::SETUP_TIMEOUT)))
    );
    assert_eq!(pair.b.closed, Some(pair.now));

    // A byte now and then does not help.
    let mut pair = liar(6);
    say(&mut pair, 0, "connect", 1.0, &[]);
    for _ in 0..10 {
        say(&mut pair, 0, "_checkbw", 0.0, &[]);
        pair.advance(Duration::from_secs(1));
    }
    assert_eq!(
        pair.b.error,
        Some(ServerError::Peer(PeerFault::SetupTimeout(limits::SETUP_TIMEOUT)))
    );

    // Nor does what is taken back each time.
    for asks in ["publish", "play"] {
        let mut pair = liar(6);
        say(&mut pair, 0, "connect", 1.0, &[]);
        for stream_id in 1..=10 {
            say(&mut pair, 0, "createStream", 2.0, &[Value::Null]);
            say(&mut pair, stream_id, asks, 0.0, &[Value::Null, Value::text(KEY)]);
            let number = Value::Number(stream_id.into());
            say(&mut pair, 0, "deleteStream", 0.0, &[Value::Null, number]);
            pair.advance(Duration::from_secs(1));
        }
        assert_eq!(
            pair.b.error,
            Some(ServerError::Peer(PeerFault::SetupTimeout(limits::SETUP_TIMEOUT))),
            "{asks}"
        );
    }

    // The owner may think for as long as it likes; then silence counts.
    let mut pair = publishing_liar(6, false);
    pair.advance(Duration::from_secs(600));
    assert!(pair.b.error.is_none());
    accept(&mut pair);
    pair.advance(Duration::from_secs(29));
    pair.inject_b(message(6, 1, 9, vec![1]));
    pair.advance(Duration::from_secs(29));
    assert!(pair.b.error.is_none());
    pair.advance(Duration::from_secs(2));
    assert_eq!(pair.b.error, Some(ServerError::Peer(PeerFault::IdleTimeout(limits::IDLE_TIMEOUT))));
    assert_eq!(ends(pair.b.take_events()), [(1, End::Idle)]);
}

#[test]
fn a_client_does_not_wait_for_ever() {
    let mut pair = pair(Link::seeded(7), Done::Plain);
    pair.settle();
    pair.advance(limits::SETUP_TIMEOUT);
    let error = pair.a.error.as_ref().unwrap().to_string();
    assert_eq!(error, "no answer within 10s at publish");
}

#[test]
fn other_protocols_are_refused() {
    let check = |bytes: &'static [u8], expect: HandshakeError| {
        let now = epoch();
        let server = Server::new(now, server::Config::new([2; 32]));
        let mut pair = Pair::new(now, Link::seeded(8), Mute::default(), server);
        pair.inject_b(bytes);
        pair.settle();
        assert_eq!(pair.b.error, Some(ServerError::Handshake(expect)));
        assert!(pair.a.core.heard.is_empty() && pair.b.closed.is_some());
    };
    check(b"GET / HTTP/1.1\r\n", HandshakeError::NotRtmp(b'G'));
    check(&[0x16, 3, 1], HandshakeError::Tls);
    check(&[6], HandshakeError::Encrypted(6));
}

#[test]
fn players_can_be_refused() {
    let mut pair = liar(9);
    say(&mut pair, 0, "connect", 1.0, &[]);
    say(&mut pair, 0, "createStream", 2.0, &[Value::Null]);
    say(&mut pair, 1, "play", 0.0, &[Value::Null, Value::text("uid?token=1")]);
    let events = pair.b.take_events();
    let [Event::Play(play)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((play.name.expose(), play.query.expose()), ("uid", "token=1"));
    let refusal = refusal(RefusalCode::PlayStreamNotFound, "Nothing is on the air here.");
    pair.command_b(Command::Reject { stream_id: 1, refusal });
    pair.settle();
    assert_eq!(pair.a.core.heard("Nothing is on the air here."), 1);
    assert!(pair.b.closed.is_some() && ends(pair.b.take_events()).is_empty());
}

#[test]
fn control_messages_are_answered() {
    let mut pair = publishing_liar(10, true);
    pair.a.core.heard.clear();
    // Ping: the same four bytes come back in a response, type 7.
    pair.inject_b(message(2, 0, 4, vec![0, 6, 1, 2, 3, 4]));
    pair.settle();
    assert!(pair.a.core.heard.ends_with(&[0, 7, 1, 2, 3, 4]));
    // A window of 1,000 bytes, and 2,500 bytes of media: at least one acknowledgement of all of them.
    pair.inject_b(message(2, 0, 5, 1_000u32.to_be_bytes().to_vec()));
    pair.inject_b(message(6, 1, 9, vec![0; 2_500]));
    pair.settle();
    let acks = pair.a.core.heard.windows(5).filter(|w| w[..4] == [0, 0, 4, 3]).count();
    assert!(acks >= 1, "{:?}", pair.a.core.heard);
    assert!(pair.b.error.is_none());
}
