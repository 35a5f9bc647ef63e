//! Datagrams from addresses that may be somebody else's.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use tokio::net::UdpSocket;

use super::rig::{Rig, soon};
use crate::listen::protocols;
use crate::transport::{Endpoint, Trust};

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
