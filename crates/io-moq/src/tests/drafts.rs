//! Publishers and viewers of different drafts, over one relay.

use moqt::session::Command;
use moqt::{Answer, Fetch, Location, Parameters, Properties, Range, Request, Version};

use super::duties::{code, text};
use super::relay::{give, send};
use super::rig::{Rig, next_object, soon, track};
use crate::transport::{ConnectError, Endpoint, Trust};

/// The first of the server's that the client has.
#[tokio::test]
async fn the_first_common_draft_is_taken_and_none_is_a_refusal() {
    let rig = Rig::new();
    let newest = rig.client("/").await;
    assert_eq!(newest.link.version, Version::ALL[0]);
    let to = rig.endpoint.local_address().unwrap();
    let trust = || Trust::Fingerprint(rig.hash);
    for (offered, taken) in [
        (vec!["moqt-16", "moqt-18"], Some(Version::Draft18)),
        (vec!["moqt-16", "moq-00"], Some(Version::Draft16)),
        (vec!["moqt-20", "moqt-22", "moqt-16"], Some(Version::Draft22)),
        (vec!["moqt-21", "moqt-20"], Some(Version::Draft21)),
        (vec!["moqt-22", "moqt-18"], Some(Version::Draft18)),
        (vec!["moq-00", "moqt-99"], None),
    ] {
        let endpoint = Endpoint::client(to).unwrap();
        let raw = endpoint.connect(to, "localhost", trust(), &offered).await;
        let url = format!("https://{to}/");
        let web = endpoint.connect_web(to, &url, trust(), &offered).await;
        for connected in [raw, web] {
            match (connected, taken) {
                (Ok(connection), Some(version)) => {
                    let protocol = connection.protocol().unwrap();
                    assert_eq!(Version::from_alpn(&protocol), Some(version), "{offered:?}");
                }
                (Err(ConnectError::Protocol | ConnectError::Web(_)), None) => {}
                (other, _) => panic!("{offered:?}: {:?}", other.err()),
            }
        }
    }
}

/// Objects with their properties, live and from the past, and the end of the track: from each draft to each.
#[tokio::test]
async fn what_one_draft_publishes_another_one_watches() {
    let pairs =
        Version::ALL.iter().flat_map(|from| Version::ALL.iter().map(move |to| (*from, *to)));
    for (from, to) in pairs {
        let rig = Rig::new();
        let mut publisher = rig.client_of(from).await;
        assert_eq!(code(&publisher.publish_namespace(&["open", "room"]).await), None);
        let viewer = rig.client_of(to).await;
        let room = || track(&["open", "room"], "chat");
        let request = Request::Subscribe { track: room(), parameters: next_object() };
        let (id, mut told) = viewer.link.request(request).unwrap();
        // A number that both forms write in two bytes, and differently.
        let pairs = [(0x3fe, moqt::properties::Value::Number(300))];
        let properties = Properties::from_pairs(&pairs).unwrap();
        let (asked, _) = give(&mut publisher, properties.clone()).await;
        let answer = super::rig::answered(&mut told).await;
        let Answer::Ok { properties: got, .. } = &answer else { panic!("{answer:?}") };
        assert_eq!(*got, properties, "{from:?} to {to:?}");
        let mut seen = viewer.follow(id, answer, told);
        for group in [300, 301] {
            send(&publisher, asked, group, 0, "one", true).await;
            assert_eq!(text(&seen.next().await), (group, 0, "one"), "{from:?} to {to:?}");
        }
        // The second viewer, of the past.
        let second = rig.client_of(to).await;
        let range =
            Range { start: Location::new(300, 0), end: Location::new(301, Range::WHOLE_GROUP) };
        let fetch = Fetch::Standalone { track: room(), range };
        let parameters = Parameters::default();
        let (_, mut fetched) = second.link.request(Request::Fetch { fetch, parameters }).unwrap();
        let items = super::duties::read_fetch(&mut fetched, moqt::GroupOrder::Ascending).await;
        assert_eq!(items, "300.0one 301.0one", "{from:?} to {to:?}");
        if to.fills() {
            // The same with a subscription.
            let past =
                Parameters { filter: Some(moqt::Filter::Recent(2)), ..Parameters::default() };
            let parameters = Parameters { fill: Some(Box::new(past)), ..next_object() };
            let third = rig.client_of(to).await;
            let request = Request::Subscribe { track: room(), parameters };
            let (_, mut told) = third.link.request(request).unwrap();
            let items = super::duties::read_fetch(&mut told, moqt::GroupOrder::Ascending).await;
            assert_eq!(items, "300.0one 301.0one", "{from:?} to {to:?}");
        }
        // The end.
        let done = moqt::Done { code: moqt::DoneCode::TrackEnded, reason: String::new() };
        publisher.command(Command::Done { id: asked, done });
        let taken = soon("the end", seen.taken).await.unwrap();
        assert!(matches!(taken, crate::take::Taken::Done(moqt::DoneCode::TrackEnded)), "{from:?}");
    }
}
