//! SETUP, and what comes around it.

use std::time::Duration;

use bytes::Bytes;
use moqt::session::{Command, Config, Event, Input, StreamId, Transport};
use moqt::{Answer, AuthToken, RequestCode, Secret, SessionCode, SessionError, Token};

use crate::support::*;

#[test]
fn draft18_s10_3_1_a_client_says_where_it_wants_to() {
    let client = Config {
        path: "/live?jwt=x".to_owned(),
        authority: "a.example:4443".to_owned(),
        implementation: "client/1".to_owned(),
        tokens: vec![Token::UseValue(AuthToken::new(Secret::new("jwt")))],
        grease: 77,
        ..config()
    };
    let server =
        Config { implementation: "server/1".to_owned(), token_cache_bytes: 500, ..config() };
    let mut pair = Pair::raw(1, client, server);
    pair.settle();
    let [Event::Ready(peer)] = &pair.take(Server)[..] else { panic!() };
    assert_eq!(peer.path, "/live?jwt=x");
    assert_eq!(peer.authority, "a.example:4443");
    assert_eq!(peer.implementation, "client/1");
    assert_eq!(peer.tokens, [AuthToken::new(Secret::new("jwt"))]);
    let [Event::Ready(peer)] = &pair.take(Client)[..] else { panic!() };
    assert_eq!((peer.path.as_str(), peer.token_cache_bytes), ("", 500));
    assert_eq!(peer.implementation, "server/1");
}

#[test]
fn draft18_s10_3_1_no_path_over_web_transport() {
    let web = Config { transport: Transport::WebTransport, path: "/live".to_owned(), ..config() };
    let mut pair = Pair::raw(1, web.clone(), web);
    pair.settle();
    let [Event::Ready(peer)] = &pair.take(Server)[..] else { panic!() };
    assert_eq!(peer.path, "");
    // A client that takes WebTransport for QUIC.
    let quic = Config { path: "/live".to_owned(), authority: "a".to_owned(), ..config() };
    let web = Config { transport: Transport::WebTransport, ..config() };
    let mut pair = Pair::raw(1, quic, web);
    pair.settle();
    let code = V.session_code(SessionCode::InvalidPath);
    assert_eq!(pair.server.closed.as_ref().map(|closed| closed.0), Some(code));
}

#[test]
fn draft18_s3_5_no_setup_in_time() {
    let mut pair = Pair::raw(1, config(), config());
    pair.advance(Duration::from_secs(1));
    assert!(pair.client.closed.is_none());
    let mut alone = Pair::raw(1, config(), config());
    alone.jitter = Duration::ZERO;
    // Nothing is delivered: only timers run.
    alone.client.closed = Some((0, String::new()));
    let now = alone.now + Duration::from_secs(10);
    alone.now = now;
    alone.input(Server, Input::Timeout);
    let code = V.session_code(SessionCode::ControlMessageTimeout);
    assert_eq!(alone.server.closed.as_ref().map(|closed| closed.0), Some(code));
    assert!(matches!(alone.server.error, Some(SessionError::Timeout(_))));
}

/// draft-18 §3.3: a client subscribes with its first packet; streams may outrun each other.
#[test]
fn draft18_s3_3_requests_may_come_before_setup() {
    for seed in 0..100 {
        let mut pair = Pair::raw(seed, config(), config());
        let id = pair.ask(Client, subscribe("video"));
        let other = pair.ask(Server, subscribe("audio"));
        pair.settle();
        for (side, id) in [(Server, id), (Client, other)] {
            let events = pair.take(side);
            assert!(
                matches!(&events[..], [Event::Ready(_), Event::Request { id: seen, .. }] if *seen == id),
                "seed {seed}: {events:?}"
            );
            pair.answer(side, id, Answer::error(RequestCode::DoesNotExist, "no"));
        }
        pair.settle();
        assert_eq!(refusals(&pair.take(Client)), [(id, RequestCode::DoesNotExist)]);
        assert_eq!(pair.client.session.kept() + pair.server.session.kept(), 0);
    }
}

#[test]
fn what_comes_before_setup_is_bounded() {
    let mut pair = Pair::raw(1, config(), config());
    // 300 streams with 1,000 bytes each, no SETUP.
    for stream in 0..300 {
        let bytes = Bytes::from(vec![3; 1_000]);
        pair.input(Server, Input::Bytes { stream: StreamId::Peers(1_000 + stream), bytes });
    }
    assert!(pair.server.session.kept_bytes() <= 64 << 10);
    assert!(pair.server.closed.is_none());
}

#[test]
fn draft18_s3_5_close_says_why() {
    let mut pair = Pair::new(1);
    let reason = "not here".to_owned();
    pair.command(Server, Command::Close { code: SessionCode::Unauthorized, reason });
    assert_eq!(pair.server.closed, Some((2, "not here".to_owned())));
    // Nothing more happens.
    pair.command(Server, Command::Request(subscribe("x")));
    pair.input(Server, Input::ControlClosed);
    assert!(pair.server.error.is_none());
}
