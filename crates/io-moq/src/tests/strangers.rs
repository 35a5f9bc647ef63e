//! Datagrams from addresses that may be somebody else's; peers that say nothing, or nothing that is meant.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use moqt::{Parameters, Request, RequestCode};
use spine::TrackInfo;
use testkit::Shape;
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::bounds::status;
use super::duties::{VIDEO, code, group, text};
use super::rig::{Rig, next_object, soon, track};
use crate::limits::{HALF_OPEN_PER_ADDRESS_MAX, IDLE, RECEIVE_WINDOW};
use crate::listen::protocols;
use crate::transport::{Congestion, ConnectError, Endpoint, Network, Trust, WriteEnd};

/// A client whose datagrams reach the server from an address that nothing of the server's answers comes back from: as if
/// the address were forged.
struct Forged {
    /// Where the client takes the server to be.
    ahead: UdpSocket,
    /// The address that the server sees.
    behind: UdpSocket,
    server: SocketAddr,
    sent: usize,
    got: usize,
}

enum Came {
    FromClient,
    FromServer(Vec<u8>),
}

impl Forged {
    async fn knock(server: SocketAddr) -> Self {
        let bind = async || UdpSocket::bind((server.ip(), 0)).await.unwrap();
        let (ahead, behind) = (bind().await, bind().await);
        let to = ahead.local_addr().unwrap();
        let endpoint = Endpoint::client(to).unwrap();
        tokio::spawn(async move {
            let _ = endpoint.connect(to, "localhost", Trust::Anybody, &protocols()).await;
        });
        Self { ahead, behind, server, sent: 0, got: 0 }
    }

    /// The next datagram; the client's goes on to the server.
    async fn next(&mut self) -> Came {
        let (mut up, mut down) = ([0; 2_048], [0; 2_048]);
        tokio::select! {
            got = self.ahead.recv_from(&mut up) => {
                let (length, _) = got.unwrap();
                // Counted first: what the server sends for it is not seen before.
                self.sent += length;
                self.behind.send_to(&up[..length], self.server).await.unwrap();
                Came::FromClient
            }
            got = self.behind.recv_from(&mut down) => {
                let (length, from) = got.unwrap();
                assert_eq!(from, self.server);
                self.got += length;
                Came::FromServer(down[..length].to_vec())
            }
        }
    }

    /// The next datagram of the server's.
    async fn answer(&mut self) -> Vec<u8> {
        loop {
            if let Came::FromServer(datagram) = soon("an answer", self.next()).await {
                return datagram;
            }
        }
    }
}

/// RFC 9000 §8.1.
#[tokio::test]
async fn an_address_that_says_nothing_more_gets_three_times_what_it_sent() {
    // A certificate that is longer than that.
    let rig = Rig::made(spine::Limits::default(), 100, 200);
    let mut forged = Forged::knock(rig.endpoint.local_address().unwrap()).await;
    // Its client sends the same again when it has waited for long; by then the server has sent what it would.
    let (mut full, mut rounds) = (false, 0);
    while !full || rounds < 2 {
        if let Came::FromClient = soon("a datagram", forged.next()).await {
            rounds += usize::from(full);
        }
        assert!(forged.got <= 3 * forged.sent, "{} for {}", forged.got, forged.sent);
        full |= forged.got >= 2 * forged.sent;
    }
    assert_eq!(rig.counters.connections.load(Ordering::Relaxed), 0);
}

/// RFC 9000 §8.1.2, §17.2.5.
#[tokio::test]
async fn with_many_half_open_an_address_has_to_be_proved_first() {
    let rig = Rig::made(spine::Limits::default(), 1, 0);
    let retries = || rig.counters.retries.load(Ordering::Relaxed);
    // One that never says SETUP.
    let (_endpoint, _silent) = rig.raw().await;
    assert_eq!(retries(), 0, "nobody is asked while few are half open");
    let mut forged = Forged::knock(rig.endpoint.local_address().unwrap()).await;
    let answer = forged.answer().await;
    assert_eq!(answer[0] & 0xf0, 0xf0, "a Retry: {answer:?}");
    assert!(forged.got < forged.sent, "{} for {}", forged.got, forged.sent);
    assert_eq!(retries(), 1);
    // Whoever gets the answer comes back with it, and in.
    let (_another, _proved) = rig.raw().await;
    assert_eq!(retries(), 2);
    let in_now = async {
        while rig.counters.connections.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
    };
    soon("both to be in", in_now).await;
}

/// RFC 9000 §8.1.2: packets with an address on them are nobody's until he has shown that it is his.
#[tokio::test(start_paused = true)]
async fn an_address_that_others_write_on_their_packets_is_not_shut_out() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let counted = || (of(&rig.counters.retries), of(&rig.counters.refused_half_open));
    let endpoint = || network.client_of(2, Shape::default()).unwrap();
    let to = rig.endpoint.local_address().unwrap();
    let mut silent = Vec::new();
    let mut say_nothing = async || {
        let (endpoint, trust) = (endpoint(), Trust::Fingerprint(rig.hash));
        let connection = endpoint.connect(to, "localhost", trust, &protocols()).await?;
        silent.push((endpoint, connection));
        Ok::<_, ConnectError>(())
    };
    for _ in 0..HALF_OPEN_PER_ADDRESS_MAX {
        say_nothing().await.unwrap();
    }
    assert_eq!(counted(), (0, 0));
    let one = rig.knock(endpoint()).await.expect("its address is its own");
    assert_eq!(code(&one.ask(status("video")).await.1), Some(RequestCode::DoesNotExist));
    assert_eq!(counted(), (1, 0));
    // Of those there may be as many, who say nothing either.
    for _ in 0..HALF_OPEN_PER_ADDRESS_MAX {
        say_nothing().await.unwrap();
    }
    assert!(say_nothing().await.is_err());
    assert_eq!(counted(), (2 + HALF_OPEN_PER_ADDRESS_MAX as u64, 1));
}

/// Either side may give a padding stream up; what comes of it before that is not held against those beside it. All together
/// it is more than a connection may have under way.
#[tokio::test]
async fn draft18_s11_5_padding_is_thrown_away() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let client = rig.client("/").await;
    let mut seen = client.subscribe(track(&["default", "one"], "video"), next_object()).await;
    let zeros = Bytes::from(vec![0; 1 << 20]);
    for _ in 0..RECEIVE_WINDOW as usize / zeros.len() + 4 {
        let mut opening = BytesMut::new();
        moqt::data::padding_stream(client.link.version, &mut opening);
        let mut stream = client.link.connection.open_uni().await.unwrap();
        let mut padding = [opening.freeze(), zeros.clone()];
        match soon("it to be taken", stream.write(&mut padding)).await {
            Ok(()) => stream.finish(),
            Err(end) => assert!(matches!(end, WriteEnd::Stopped(_)), "the session is over"),
        }
    }
    for zeros in [0, 1, 900] {
        let mut padding = BytesMut::new();
        moqt::data::padding_datagram(client.link.version, zeros, &mut padding);
        assert!(client.link.connection.send_datagram(padding.freeze()));
    }
    // Both ways: a request is answered, and objects come.
    let name = track(&["default", "one"], "video");
    let status = Request::TrackStatus { track: name, parameters: Parameters::default() };
    assert_eq!(code(&client.ask(status).await.1), None);
    group(&video, 0, &["still here"]);
    assert_eq!(text(&seen.next().await), (0, 0, "still here"));
    assert_eq!(rig.counters.session_errors.load(Ordering::Relaxed), 0);
}

/// draft-18 §13.6: who says no SETUP, or half of one, is let go; and who is not heard of any more.
#[tokio::test(start_paused = true)]
async fn draft18_s13_6_who_says_nothing_is_let_go() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let to = rig.endpoint.local_address().unwrap();
    let knock = async || {
        let endpoint = network.client(Shape::default()).unwrap();
        let trust = Trust::Fingerprint(rig.hash);
        let connection = endpoint.connect(to, "localhost", trust, &protocols()).await.unwrap();
        (endpoint, connection)
    };
    for said in [&[][..], &[0xaf], &[0xaf, 0x00, 0x00, 0x09, 0x07]] {
        let (_endpoint, connection) = knock().await;
        let began = Instant::now();
        let mut stream = connection.open_uni().await.unwrap();
        if !said.is_empty() {
            stream.write(&mut [Bytes::copy_from_slice(said)]).await.unwrap();
        }
        // CONTROL_MESSAGE_TIMEOUT
        let ended = connection.closed().await;
        assert_eq!(ended.code, Some(0x11), "{said:?}: {}", ended.reason);
        let waited = began.elapsed();
        assert!(
            waited >= Duration::from_secs(9) && waited <= Duration::from_secs(12),
            "{waited:?}"
        );
    }
    // Its network is gone: nothing comes, not even a word that keeps it alive.
    let client = rig.client_over(&network, Shape::default()).await;
    let open = || rig.counters.open.load(Ordering::Relaxed);
    // It has said SETUP: it is answered.
    let name = track(&["default", "one"], "video");
    let status = Request::TrackStatus { track: name, parameters: Parameters::default() };
    assert_eq!(code(&client.ask(status).await.1), Some(RequestCode::DoesNotExist));
    while open() > 1 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let began = Instant::now();
    let at = client.endpoint.local_address().unwrap();
    network.reshape(at, Shape { loss: 1.0, ..Shape::default() });
    while open() > 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(began.elapsed() < IDLE * 3, "it is still here");
    }
    assert!(began.elapsed() >= IDLE / 2, "{:?}", began.elapsed());
}
