//! What stands in the log of a session.

use std::path::Path;
use std::sync::Arc;

use moqt::{Fetch, GroupOrder, Location, Parameters, Range, Request, Version};
use serde_json::Value;
use spine::TrackInfo;

use super::duties::{VIDEO, code, group, read_fetch};
use super::rig::{Rig, Set, soon, track, until, with_token};
use crate::qlog::logs;

/// The events of the only log, and all of it as text.
fn read(folder: &Path) -> (Vec<Value>, String) {
    let file = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(file).unwrap();
    let records = text.split('\u{1e}').skip(1);
    (records.map(|record| serde_json::from_str(record).unwrap()).collect(), text)
}

/// In few words, those about MoQ.
fn told(events: &[Value]) -> Vec<String> {
    let words = |event: &Value| {
        let (name, data) = (event["name"].as_str()?, &event["data"]);
        let name = name.strip_prefix("moqt:")?;
        Some(match name {
            "stream_type_set" => {
                format!("{} {}", data["owner"].as_str()?, data["stream_type"].as_str()?)
            }
            "control_message_created" => format!("> {}", data["message"]["type"].as_str()?),
            "control_message_parsed" => format!("< {}", data["message"]["type"].as_str()?),
            "subgroup_header_created" => format!("group {}", data["group_id"]),
            "subgroup_object_created" => {
                format!("object {} of {}", data["airwave_object_id"], data["object_payload_length"])
            }
            "fetch_object_created" => format!("fetched {}.{}", data["group_id"], data["object_id"]),
            other => other.to_owned(),
        })
    };
    events.iter().filter_map(words).collect()
}

/// One session of this draft: a track is watched, then its past is fetched.
async fn session(version: Version) -> (Vec<Value>, String) {
    let folder = tempfile::tempdir().unwrap();
    let (logs, writer) = logs(folder.path().to_owned(), Arc::new(|_| true));
    let writing = std::thread::spawn(|| writer.run());
    {
        let rig = Rig::logged(logs);
        let broadcast = rig.broadcast(&["default", "secret"]);
        let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
        let viewer = rig.client_of(version).await;
        let name = || track(&["default", "secret"], "video");
        let mut watched = viewer.subscribe(name(), with_token("TOKEN")).await;
        assert_eq!(code(&watched.answer), None);
        group(&video, 0, &["a", "bcd"]);
        for _ in 0..2 {
            soon("an object", watched.objects.recv()).await.unwrap();
        }
        let range = Range { start: Location::new(0, 0), end: Location::new(0, Range::WHOLE_GROUP) };
        let fetch = Fetch::Standalone { track: name(), range };
        let tokens = with_token("TOKEN").tokens;
        let parameters = Parameters { tokens, ..Parameters::default() };
        // Its stream may come before its answer.
        let (_, mut told) = viewer.link.request(Request::Fetch { fetch, parameters }).unwrap();
        assert_eq!(read_fetch(&mut told, GroupOrder::Ascending).await, "0.0a 0.1bcd");
        viewer.link.close(moqt::SessionCode::NoError, "enough");
        until("the end of the session", || rig.counters.traffic.list().is_empty()).await;
        rig.stop();
        soon("the end of the listener", rig.endpoint.wait_idle()).await;
    }
    soon("the writer", tokio::task::spawn_blocking(|| writing.join().unwrap())).await.unwrap();
    read(folder.path())
}

#[tokio::test]
async fn a_log_has_the_events_of_a_session_in_order_and_no_token() {
    for version in [Version::Draft18, Version::Draft22, Version::Draft16] {
        let (events, text) = session(version).await;
        let told = told(&events);
        let mut from = 0;
        for wanted in [
            "< subscribe",
            "> subscribe_ok",
            "local subgroup_header",
            "group 0",
            "object 0 of 1",
            "object 1 of 3",
            "< fetch",
            "local fetch_header",
            "fetch_header_created",
            "fetched 0.0",
            "fetched 0.1",
        ] {
            let at = told[from..].iter().position(|it| it == wanted);
            from += at
                .unwrap_or_else(|| panic!("{version:?}: {wanted} behind {from} in {told:#?}"))
                + 1;
        }
        for wanted in ["> fetch_ok", "< setup", "> setup", "local control"] {
            assert!(told.iter().any(|it| it == wanted), "{version:?}: {wanted} in {told:#?}");
        }
        let times: Vec<f64> = events.iter().filter_map(|event| event["time"].as_f64()).collect();
        assert!(times.len() > 10 && !text.contains("unreadable"), "{text}");
        assert!(text.contains("use_value") && !text.contains("TOKEN"), "{text}");
        let path = events.iter().find(|event| event["name"] == "quic:recovery_metrics_updated");
        assert!(path.unwrap()["data"]["congestion_window"].as_u64().unwrap() > 0);
        assert_eq!(events.last().unwrap()["name"], "quic:connection_closed");
        assert_eq!(events.last().unwrap()["data"]["owner"], "remote");
    }
}

#[tokio::test]
async fn sessions_of_others_are_not_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let (logs, writer) = logs(folder.path().to_owned(), Arc::new(|peer| peer.is_ipv6()));
    let writing = std::thread::spawn(|| writer.run());
    let rig = Rig::logged(logs);
    let viewer = rig.client("/").await;
    until("the session", || !rig.counters.traffic.list().is_empty()).await;
    viewer.link.close(moqt::SessionCode::NoError, "enough");
    until("its end", || rig.counters.traffic.list().is_empty()).await;
    drop(rig);
    soon("the writer", tokio::task::spawn_blocking(|| writing.join().unwrap())).await.unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Sessions with those whom a node pulls from are written down as those with its peers, and without what their address shows.
#[tokio::test]
async fn a_link_is_written_down_by_who_pulls() {
    let folder = tempfile::tempdir().unwrap();
    let (logs, writer) = logs(folder.path().to_owned(), Arc::new(|_| true));
    let writing = std::thread::spawn(|| writer.run());
    {
        let there = Rig::new();
        let uplink = there.uplink();
        let server = crate::client::Server { path: "/?jwt=TOKEN".to_owned(), ..uplink.server };
        let status = uplink.status.clone();
        let uplink = crate::uplink::Uplink { server, ..uplink };
        let set = Set { logs: Some(logs), node: moqt::Node::new(5), ..Set::default() };
        let rig = Rig::configured(Set { uplinks: vec![uplink], ..set });
        let connected = || status.connected.load(std::sync::atomic::Ordering::Relaxed);
        until("the link", connected).await;
        there.stop();
        until("its end", || !connected()).await;
        rig.stop();
        soon("the end of the listener", rig.endpoint.wait_idle()).await;
    }
    soon("the writer", tokio::task::spawn_blocking(|| writing.join().unwrap())).await.unwrap();
    let name = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().file_name();
    assert!(name.to_str().unwrap().ends_with("_client.sqlog"), "{name:?}");
    let (events, text) = read(folder.path());
    assert_eq!(events[0]["trace"]["vantage_point"]["type"], "client");
    let told = told(&events);
    for wanted in ["> setup", "> subscribe_namespace", "< request_ok"] {
        assert!(told.iter().any(|it| it == wanted), "{wanted} in {told:#?}");
    }
    assert!(!text.contains("TOKEN"), "{text}");
}
