//! The same over WebTransport.

use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use moqt::{Answer, Parameters, RequestCode};
use spine::{Header, TrackInfo, TrackName, Via};
use testkit::Shape;

use super::live::ms;
use super::rig::{Rig, next_object, track};
use crate::listen::protocols;
use crate::transport::{Congestion, Network, Returning, Trust};

const VIDEO: TrackName = TrackName::from_static("video");

fn refused(answer: &Answer) -> Option<RequestCode> {
    match answer {
        Answer::Error(error) => Some(error.code),
        _ => None,
    }
}

#[tokio::test]
async fn objects_arrive_in_streams_and_datagrams() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let client = rig.web_client("/").await;
    let mut watched = client.subscribe(track(&["default", "one"], "video"), next_object()).await;
    assert_eq!(refused(&watched.answer), None);

    let now = Instant::now();
    let group = video.group(7, now).unwrap();
    let subgroup = group.subgroup(0, now).unwrap();
    // More than one packet holds.
    let large = Bytes::from(vec![7; 100_000]);
    for (id, payload) in [(0, large.clone()), (1, Bytes::from_static(b"small"))] {
        let payload = video.budget().payload(payload);
        subgroup.write(Header::new(id, now), vec![payload]).unwrap();
    }
    subgroup.fin();
    let payload = video.budget().payload(Bytes::from_static(b"alone"));
    let header = Header { via: Via::Datagram, ..Header::new(2, now) };
    group.datagram(header, payload).unwrap();

    let mut got = Vec::new();
    for _ in 0..3 {
        let object = watched.next().await;
        assert_eq!(object.group, 7);
        got.push((object.id, object.payload.len(), object.via));
    }
    got.sort_unstable_by_key(|(id, ..)| *id);
    let expect = [(0, 100_000, Via::Subgroup(0)), (1, 5, Via::Subgroup(0)), (2, 5, Via::Datagram)];
    assert_eq!(got, expect);
}

#[tokio::test]
async fn the_path_says_who_may_what() {
    let rig = Rig::new();
    let secret = rig.broadcast(&["default", "secret"]);
    let _video = secret.track(VIDEO, TrackInfo::default()).unwrap();
    for (path, expect) in [
        ("/", Some(RequestCode::Unauthorized)),
        ("/TOKEN", None),
        ("/?jwt=TOKEN", None),
        ("/KEY?jwt=TOKEN", None),
    ] {
        let client = rig.web_client(path).await;
        let name = track(&["default", "secret"], "video");
        let watched = client.subscribe(name, Parameters::default()).await;
        assert_eq!(refused(&watched.answer), expect, "SUBSCRIBE at {path}");
    }
    for (path, expect) in [("/KEY", None), ("/WRONG", Some(RequestCode::Unauthorized))] {
        let client = rig.web_client(path).await;
        let announced = client.publish_namespace(&["default", "one"]).await;
        assert_eq!(refused(&announced), expect, "PUBLISH_NAMESPACE at {path}");
    }
}

/// RFC 9000 §8.1: what comes with a first packet may have anybody's address for its sender's.
#[tokio::test(start_paused = true)]
async fn who_comes_back_and_asks_for_a_session_with_its_first_packet_counts_once_its_address_is_proved()
 {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let to = rig.endpoint.local_address().unwrap();
    let returning = Returning::new(Trust::Fingerprint(rig.hash), &["h3"]).unwrap();
    let line = Shape { delay: ms(25), ..Shape::default() };
    for (before, known) in [(0, false), (1, true), (2, true)] {
        let endpoint = network.client(line).unwrap();
        let began = tokio::time::Instant::now();
        let protocols = protocols();
        let asked = endpoint.connect_web_again(to, (&returning, &protocols));
        let (connection, early) = asked.await.unwrap();
        assert_eq!(early, known);
        let count = || rig.counters.connections.load(Ordering::Relaxed);
        if known {
            // It has its session, and what shows where it is has not arrived.
            assert!(began.elapsed() < ms(60), "{:?}", began.elapsed());
            assert_eq!(count(), before);
        }
        // The server's tickets come behind its handshake.
        tokio::time::sleep(ms(500)).await;
        assert_eq!(count(), before + 1);
        drop(connection);
    }
}
