//! Sessions against each other, and against clients that do what none should.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::task::JoinHandle;

use super::*;
use crate::transport::{Certificate, ConnectError, Connection, Endpoint, Read, Trust};

const PROTOCOLS: &[&str] = &["moqt-18"];

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("nothing came")
}

fn server() -> (Endpoint, SocketAddr) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let made = params.self_signed(&pair).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
    let certificate = Certificate { chain: vec![made.der().clone()], key };
    let endpoint = Endpoint::server(([127, 0, 0, 1], 0).into(), certificate, PROTOCOLS).unwrap();
    let address = endpoint.local_address().unwrap();
    (endpoint, address)
}

/// The server's end of the next connection.
fn accept(endpoint: &Endpoint) -> JoinHandle<Result<Connection, ConnectError>> {
    let endpoint = endpoint.clone();
    tokio::spawn(async move { endpoint.accept().await.unwrap().accept().await })
}

fn request(to: SocketAddr, path: &str, protocols: &[&str]) -> proto::ConnectRequest {
    let url: url::Url = format!("https://{to}{path}").parse().unwrap();
    let request = proto::ConnectRequest::new(url);
    request.with_protocols(protocols.iter().map(|&p| p.to_owned()))
}

/// A bare connection that speaks HTTP/3.
async fn bare(to: SocketAddr) -> (Endpoint, quinn::Connection) {
    let endpoint = Endpoint::client(to).unwrap();
    let config = super::super::client_config(Trust::Anybody, &["h3"]).unwrap();
    let connecting = endpoint.quic().connect_with(config, to, "localhost").unwrap();
    let quic = soon(connecting).await.unwrap();
    (endpoint, quic)
}

struct Pair {
    server: Connection,
    client: Web,
    _endpoints: [Endpoint; 2],
    _pumps: [JoinHandle<()>; 2],
}

/// A session, both ends of it.
async fn pair(path: &str, origin: Option<&str>) -> Pair {
    let (listening, to) = server();
    let accepted = accept(&listening);
    let (endpoint, quic) = bare(to).await;
    let mut request = request(to, path, &["moqt-99", "moqt-18"]);
    if let Some(origin) = origin {
        let name = proto::http::HeaderName::from_static("origin");
        request = request.with_header(name, origin.parse().unwrap());
    }
    let client = soon(Web::connect(quic, request)).await.unwrap();
    let server = soon(accepted).await.unwrap().unwrap();
    let pumps = [tokio::spawn(server.pump()), tokio::spawn(client.take_pump().unwrap().run())];
    Pair { server, client, _endpoints: [listening, endpoint], _pumps: pumps }
}

/// The server still takes streams of the session.
async fn still_serves(pair: &Pair) {
    let mut send = pair.client.open_uni().await.unwrap();
    send.write(&mut [Bytes::from_static(b"still there")]).await.unwrap();
    send.finish();
    let mut recv = soon(pair.server.accept_uni()).await.unwrap();
    assert_eq!(soon(recv.read()).await, Read::Chunk(Bytes::from_static(b"still there")));
    assert_eq!(soon(recv.read()).await, Read::Fin);
}

/// The code that the peer closed the connection with.
async fn closed_with(quic: &quinn::Connection) -> u64 {
    match soon(quic.closed()).await {
        quinn::ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_server_knows_what_was_asked() {
    let pair = pair("/KEY/x?jwt=T", Some("https://example.net")).await;
    assert_eq!(pair.server.protocol().as_deref(), Some(b"moqt-18".as_slice()));
    assert_eq!(pair.client.hello.protocol, "moqt-18");
    let address = pair.server.address().unwrap();
    assert_eq!(address.path, "/KEY/x?jwt=T");
    assert_eq!(address.origin.as_deref(), Some("https://example.net"));
    assert!(address.authority.starts_with("127.0.0.1:"), "{}", address.authority);
}

#[tokio::test]
async fn nothing_in_common_is_no_session() {
    for offered in [&["moqt-99"][..], &[]] {
        let (listening, to) = server();
        let accepted = accept(&listening);
        let (_endpoint, quic) = bare(to).await;
        let refused = soon(Web::connect(quic.clone(), request(to, "/", offered))).await;
        assert_eq!(refused.err(), Some(WebError::Refused));
        let server = soon(accepted).await.unwrap();
        assert!(matches!(server.err(), Some(ConnectError::Web(WebError::NoProtocol))));
    }
}

#[tokio::test]
async fn a_close_arrives_with_its_code_and_words() {
    let long = format!("{}\u{e9}", "w".repeat(REASON_BYTES - 1));
    for (code, words, got) in
        [(0, "", ""), (0x10, "later", "later"), (3, &long, &long[..REASON_BYTES - 1])]
    {
        let expect = Ended { code: Some(code), reason: got.to_owned() };
        let pair = pair("/", None).await;
        pair.server.close(code, words);
        assert_eq!(soon(pair.client.closed()).await, expect, "the server closed");
        assert_eq!(soon(pair.server.closed()).await.code, None, "our own is no goodbye");
        let pair = self::pair("/", None).await;
        pair.client.close(code, words);
        assert_eq!(soon(pair.server.closed()).await, expect, "the client closed");
        soon(pair.client.flushed()).await;
    }
}

#[tokio::test]
async fn who_is_gone_without_a_word_was_lost() {
    let pair = pair("/", None).await;
    pair.client.quic.close(VarInt::from_u32(H3_NO_ERROR), b"");
    assert_eq!(soon(pair.server.closed()).await.code, None);
    // A stream that ends is a word.
    let pair = self::pair("/", None).await;
    lock(&pair.client.connect).as_mut().unwrap().finish().unwrap();
    assert_eq!(soon(pair.server.closed()).await.code, Some(0));
}

#[tokio::test]
async fn codes_of_streams_arrive() {
    let pair = pair("/", None).await;
    let (mut send, mut recv) = pair.client.open_bi().await.unwrap();
    send.write(&mut [Bytes::from_static(b"a")]).await.unwrap();
    let (mut theirs, mut read) = soon(pair.server.accept_bi()).await.unwrap();
    assert_eq!(soon(read.read()).await, Read::Chunk(Bytes::from_static(b"a")));
    send.reset(0x12);
    assert_eq!(soon(read.read()).await, Read::Reset(0x12));
    theirs.write(&mut [Bytes::from_static(b"b")]).await.unwrap();
    assert_eq!(soon(recv.read()).await, Read::Chunk(Bytes::from_static(b"b")));
    recv.stop(0x31);
    assert_eq!(soon(theirs.stopped()).await, Some(0x31));
}

#[tokio::test]
async fn datagrams_of_others_are_dropped() {
    let pair = pair("/", None).await;
    pair.client.quic.send_datagram(Bytes::from_static(&[1, b'x'])).unwrap();
    pair.client.quic.send_datagram(Bytes::new()).unwrap();
    assert!(pair.client.send_datagram(b"ours"));
    assert_eq!(soon(pair.server.read_datagram()).await.unwrap(), "ours");
}

/// What a client may not begin with, and the code it is sent away with.
#[tokio::test]
async fn a_bad_beginning_is_no_session() {
    let mut good = BytesMut::new();
    request(([127, 0, 0, 1], 1).into(), "/", PROTOCOLS).encode(&mut good).unwrap();
    let mut settings = BytesMut::new();
    let mut ours = proto::Settings::default();
    ours.enable_webtransport(1);
    ours.encode(&mut settings);
    // Control stream, SETTINGS, no settings.
    let plain: &[u8] = &[0x00, 0x04, 0x00];
    // HEADERS of 16 KiB and one byte.
    let large: &[u8] = &[0x01, 0x80, 0x00, 0x40, 0x01];
    let get: &[u8] = &[0x01, 0x04, 0x00, 0x00, 0xd1, 0xd7];
    for (what, control, stream, code) in [
        ("no WebTransport in the settings", plain, &good[..], H3_SETTINGS_ERROR),
        ("a request of too many headers", &settings, large, H3_GENERAL_PROTOCOL_ERROR),
        ("another request", &settings, get, H3_GENERAL_PROTOCOL_ERROR),
        ("no request", &settings, b"\x00\x01a", H3_GENERAL_PROTOCOL_ERROR),
    ] {
        let (listening, to) = server();
        let accepted = accept(&listening);
        let (_endpoint, quic) = bare(to).await;
        let mut uni = quic.open_uni().await.unwrap();
        uni.write_all(control).await.unwrap();
        let (mut send, _recv) = quic.open_bi().await.unwrap();
        send.write_all(stream).await.unwrap();
        assert_eq!(closed_with(&quic).await, u64::from(code), "{what}");
        assert!(soon(accepted).await.unwrap().is_err(), "{what}");
    }
}

#[tokio::test]
async fn streams_that_are_not_of_the_session_are_turned_away() {
    let pair = pair("/", None).await;
    let quic = &pair.client.quic;
    // A stream of another session, one of a kind that nobody knows.
    for (bytes, code) in
        [([0x40, 0x54, 0x04], WT_BUFFERED_STREAM_REJECTED), ([0x40, 0x99, 0x00], 0x103)]
    {
        let mut send = quic.open_uni().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        let stopped = soon(send.stopped()).await.unwrap();
        assert_eq!(stopped, Some(VarInt::from_u32(code)), "{bytes:x?}");
    }
    // The same in both directions, and a second request.
    for (bytes, code) in [
        ([0x40, 0x41, 0x04], WT_BUFFERED_STREAM_REJECTED),
        ([0x01, 0x00, 0x00], H3_REQUEST_REJECTED),
    ] {
        let (mut send, mut recv) = quic.open_bi().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        assert_eq!(soon(send.stopped()).await.unwrap(), Some(VarInt::from_u32(code)));
        let read = soon(recv.read_chunk(1, true)).await.unwrap_err();
        assert_eq!(read, quinn::ReadError::Reset(VarInt::from_u32(code)), "{bytes:x?}");
    }
    still_serves(&pair).await;
}

#[tokio::test]
async fn half_a_beginning_holds_up_nobody_else() {
    let pair = pair("/", None).await;
    let mut held = Vec::new();
    for _ in 0..limits::DATA_STREAMS / 2 {
        let mut send = pair.client.quic.open_uni().await.unwrap();
        send.write_all(&[0x40]).await.unwrap();
        held.push(send);
    }
    still_serves(&pair).await;
    // They end as they began.
    drop(held);
    still_serves(&pair).await;
}

#[tokio::test]
async fn what_must_stay_open_stays_open() {
    for (what, bytes, finish, code) in [
        ("a second control stream", &[0x00][..], false, H3_STREAM_CREATION_ERROR),
        ("a push of a client", &[0x01], false, H3_STREAM_CREATION_ERROR),
        ("QPACK's stream ends", &[0x02], true, H3_CLOSED_CRITICAL_STREAM),
    ] {
        let pair = pair("/", None).await;
        let mut send = pair.client.quic.open_uni().await.unwrap();
        send.write_all(bytes).await.unwrap();
        if finish {
            send.finish().unwrap();
        }
        assert_eq!(closed_with(&pair.client.quic).await, u64::from(code), "{what}");
    }
}

#[tokio::test]
async fn capsules_are_bounded_and_others_are_passed_over() {
    let pair = pair("/", None).await;
    // In a DATA frame each: one that nobody knows, and a close of 3 bytes, which is too short.
    let sent = |bytes: &'static [u8]| {
        let mut connect = lock(&pair.client.connect).take().unwrap();
        async move {
            connect.write_all(bytes).await.unwrap();
            connect
        }
    };
    let connect = sent(&[0x00, 0x04, 0x40, 0x99, 0x01, 0xff]).await;
    still_serves(&pair).await;
    *lock(&pair.client.connect) = Some(connect);
    // DATA of 64 KiB and one byte.
    let _connect = sent(&[0x00, 0x80, 0x01, 0x00, 0x01]).await;
    assert_eq!(soon(pair.server.closed()).await.code, None);
}

/// Each kind of client looks for another one.
#[tokio::test]
async fn all_settings_that_some_client_looks_for_are_sent() {
    let (listening, to) = server();
    let _accepted = accept(&listening);
    let (_endpoint, quic) = bare(to).await;
    let mut control = soon(quic.accept_uni()).await.unwrap();
    let mut next = async || {
        let mut bytes = [0; 8];
        control.read_exact(&mut bytes[..1]).await.unwrap();
        let more = (1_usize << (bytes[0] >> 6)) - 1;
        bytes[0] &= 0x3f;
        control.read_exact(&mut bytes[1..=more]).await.unwrap();
        (bytes[..=more].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)), more as u64 + 1)
    };
    let (kind, _) = soon(next()).await;
    let (frame, _) = soon(next()).await;
    assert_eq!((kind, frame), (0x00, 0x04), "a control stream, SETTINGS");
    let (mut left, _) = soon(next()).await;
    let mut sent = std::collections::BTreeMap::new();
    while left > 0 {
        let ((id, a), (value, b)) = (soon(next()).await, soon(next()).await);
        sent.insert(id, value);
        left -= a + b;
    }
    for (id, name) in [
        (0x08, "ENABLE_CONNECT_PROTOCOL"),
        (0x33, "H3_DATAGRAM"),
        (0xff_d277, "H3_DATAGRAM of draft 4"),
        (0x2b60_3742, "ENABLE_WEBTRANSPORT"),
        (0x2b60_3743, "MAX_SESSIONS of drafts 2 to 6"),
        (0xc671_706a, "WEBTRANSPORT_MAX_SESSIONS of draft 7"),
        (0x14e9_cd29, "WT_MAX_SESSIONS of drafts from 13 on"),
    ] {
        assert_eq!(sent.get(&id), Some(&1), "{name}");
    }
}
