//! A client that is both: it watches what it publishes.

use moqt::{Parameters, Properties, Request, Version};

use super::duties::{code, text};
use super::offers::next_named;
use super::relay::{give, room, send};
use super::rig::{Rig, answered, namespace, next_object};

/// draft-16 §5.1, draft-18 §5.1, draft-21 §3.1: a relay is to serve who subscribes to a track that it has from him, as anybody else.
#[tokio::test]
async fn draft18_s5_1_draft21_s3_1_who_publishes_a_track_may_subscribe_to_it() {
    for version in Version::ALL.iter().copied() {
        let rig = Rig::new();
        let mut client = rig.client_of(version).await;
        assert_eq!(code(&client.publish_namespace(&["open", "room"]).await), None);
        let request = Request::Subscribe { track: room(), parameters: next_object() };
        let (id, mut told) = client.link.request(request).unwrap();
        let (upstream, _) = give(&mut client, Properties::empty()).await;
        let answer = answered(&mut told).await;
        assert_eq!(code(&answer), None, "{version:?}");
        let mut seen = client.follow(id, answer, told);
        for group in [3, 4] {
            send(&client, upstream, group, 0, "mine", true).await;
            assert_eq!(text(&seen.next().await), (group, 0, "mine"), "{version:?}");
        }
    }
}

/// draft-18 §6.1, draft-21 §4.1: namespaces are told to who publishes them, too; their tracks are not offered to him
/// (`draft18_s6_1_d06_nobody_is_offered_his_own_tracks`).
#[tokio::test]
async fn draft18_s6_1_draft21_s4_1_a_namespace_is_told_to_who_publishes_it() {
    for version in Version::ALL.iter().copied() {
        let rig = Rig::new();
        let client = rig.client_of(version).await;
        assert_eq!(code(&client.publish_namespace(&["open", "before"]).await), None);
        let (prefix, parameters) = (namespace(&["open"]), Parameters::default());
        let request = Request::SubscribeNamespace { prefix, tracks: false, parameters };
        let (_, answer, mut told) = client.ask(request).await;
        assert_eq!(code(&answer), None, "{version:?}");
        assert_eq!(next_named(&mut told).await, (true, namespace(&["open", "before"])));
        assert_eq!(code(&client.publish_namespace(&["open", "behind"]).await), None);
        assert_eq!(next_named(&mut told).await, (true, namespace(&["open", "behind"])));
    }
}
