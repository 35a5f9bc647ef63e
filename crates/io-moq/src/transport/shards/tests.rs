#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::in_turn;
use crate::transport::{Certificate, Endpoint, Read, RecvStream, Trust};

const SOCKETS: u8 = 4;
const PROTOCOLS: &[&str] = &["moqt-18"];

fn server() -> Endpoint {
    let pair = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let made = params.self_signed(&pair).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
    let certificate = Certificate { chain: vec![made.der().clone()], key };
    let any = ([127, 0, 0, 1], 0).into();
    Endpoint::server_of(any, certificate, PROTOCOLS, SOCKETS).unwrap()
}

async fn all_of(recv: &mut RecvStream) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        match recv.read().await {
            Read::Chunk(bytes) => all.extend_from_slice(&bytes),
            Read::Fin => return Some(all),
            _ => return None,
        }
    }
}

/// Answers what comes on each stream of each connection with the same.
async fn echoes(endpoint: Endpoint, taken: Arc<Mutex<BTreeMap<usize, u32>>>) {
    while let Some((number, incoming)) = endpoint.accept_at().await {
        *taken.lock().unwrap().entry(number).or_default() += 1;
        tokio::spawn(async move {
            let connection = incoming.accept().await.unwrap();
            while let Some((mut send, mut recv)) = connection.accept_bi().await {
                let said = all_of(&mut recv).await.unwrap();
                send.write(&mut [Bytes::from(said)]).await.unwrap();
                send.finish();
            }
        });
    }
}

/// Without the steering most are lost: the socket that gets their packets does not know them.
#[tokio::test(flavor = "multi_thread")]
async fn forty_clients_change_their_addresses_and_each_stays_with_its_socket() {
    let (endpoint, taken) = (server(), Arc::<Mutex<BTreeMap<usize, u32>>>::default());
    if endpoint.sockets() == 1 {
        return testkit::skipped("quic-sockets", "the system has no SO_ATTACH_REUSEPORT_CBPF");
    }
    let to = endpoint.local_address().unwrap();
    tokio::spawn(echoes(endpoint, taken.clone()));
    let mut clients = Vec::new();
    for number in 0..40_u8 {
        let client = Endpoint::client(to).unwrap();
        let connection = client.connect(to, "localhost", Trust::Anybody, PROTOCOLS).await.unwrap();
        clients.push((number, client, connection));
    }
    let clients = clients.into_iter().map(|(number, client, connection)| async move {
        for round in 0..4 {
            let (mut send, mut recv) = connection.open_bi().await.unwrap();
            send.write(&mut [Bytes::from(vec![number, round])]).await.unwrap();
            send.finish();
            assert_eq!(all_of(&mut recv).await, Some(vec![number, round]));
            client.move_elsewhere().unwrap();
        }
    });
    futures_util::future::join_all(clients).await;
    let taken = taken.lock().unwrap();
    assert_eq!(taken.values().sum::<u32>(), 40);
    // A client's first id is random: that all forty lead to one is 1 in 4^39.
    assert!(taken.len() > 1, "{taken:?}");
}

/// Who knocks at one socket all the time keeps nobody from another: it is asked last, once it was its turn.
#[test]
fn sockets_take_turns() {
    assert_eq!(in_turn(0, 4).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(in_turn(3, 4).collect::<Vec<_>>(), [3, 0, 1, 2]);
    assert_eq!(in_turn(0, 1).collect::<Vec<_>>(), [0]);
}

#[tokio::test]
async fn a_port_that_another_has_is_an_error_also_with_several_sockets() {
    let first = server();
    let address = first.local_address().unwrap();
    let again = std::net::UdpSocket::bind(address);
    assert_eq!(again.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
}

/// Where the system cuts one large piece into packets, it is handed that: a call for each packet is a fifth of all work.
#[tokio::test]
async fn packets_go_out_several_at_a_time() {
    let any = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let state = quinn::udp::UdpSocketState::new((&any).into()).unwrap();
    let server = server();
    let to = server.local_address().unwrap();
    let accepting = tokio::spawn(async move {
        let connection = server.accept().await.unwrap().accept().await.unwrap();
        let mut stream = connection.open_uni().await.unwrap();
        stream.write(&mut [Bytes::from(vec![7; 4 << 20])]).await.unwrap();
        stream.finish();
        stream.stopped().await;
        connection.quic.stats().udp_tx
    });
    let endpoint = Endpoint::client(to).unwrap();
    let trust = Trust::Anybody;
    let connection = endpoint.connect(to, "localhost", trust, PROTOCOLS).await.unwrap();
    let mut stream = connection.accept_uni().await.unwrap();
    assert_eq!(all_of(&mut stream).await.unwrap().len(), 4 << 20);
    let sent = accepting.await.unwrap();
    let at_a_time = sent.datagrams / sent.ios;
    let several = state.max_gso_segments() > 1;
    assert!(at_a_time >= if several { 2 } else { 1 }, "{sent:?}");
}
