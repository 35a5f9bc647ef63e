//! The API of live inputs, over the wire.

use serde_json::{Value, json};
use testkit::{Clip, ClipSpec, Server, request};

use crate::AIRWAVE;

#[test]
fn live_inputs_are_made_read_changed_and_deleted() {
    let server = Server::start(AIRWAVE, &[]);
    let made = server.api(
        "POST",
        "/stream/live_inputs",
        Some(&json!({
            "meta": { "name": "Hall 1" }, "recording": { "mode": "off", "timeoutSeconds": 3 },
            "somethingNew": 1,
        })),
    );
    assert_eq!(made.status, 200, "{}", made.text());
    let envelope = made.json();
    assert_eq!((&envelope["success"], &envelope["errors"]), (&json!(true), &json!([])));
    let input = &envelope["result"];
    let uid = input["uid"].as_str().unwrap();
    assert!(uid.len() == 32 && uid.starts_with("00"), "{uid}");
    assert_eq!(input["meta"]["name"], "Hall 1");
    assert_eq!(input["recording"]["mode"], "off");
    assert_eq!((&input["preferLowLatency"], &input["enabled"]), (&json!(true), &json!(true)));
    assert_eq!(input["status"], Value::Null);
    assert!(input["rtmps"]["url"].as_str().unwrap().ends_with("/live/"));
    assert!(input["playback"]["hls"].as_str().unwrap().ends_with("/manifest/video.m3u8"));

    let path = format!("/stream/live_inputs/{uid}");
    // PUT merges.
    let changed = server.api("PUT", &path, Some(&json!({ "preferLowLatency": false }))).json();
    assert_eq!(changed["result"]["meta"]["name"], "Hall 1");
    assert_eq!(changed["result"]["preferLowLatency"], false);
    let read = server.api("GET", &path, None).json();
    assert_eq!(read["result"]["rtmp"], input["rtmp"], "keys stay");

    let list = server.api("GET", "/stream/live_inputs", None).json();
    let rows = list["result"]["liveInputs"].as_array().unwrap();
    let row = rows.iter().find(|r| r["uid"] == uid).unwrap();
    assert!(row.get("rtmps").is_none(), "lists show no keys: {row}");

    let rotated = server.api("POST", &format!("{path}/rotate_keys"), None).json();
    assert_ne!(rotated["result"]["rtmp"]["streamKey"], input["rtmp"]["streamKey"]);
    assert!(rotated["result"]["keysRotatedAt"].is_string());

    assert_eq!(server.api("DELETE", &path, None).status, 200);
    assert_eq!(server.api("GET", &path, None).status, 404);
    assert_eq!(server.get(&format!("/{uid}/lifecycle")).status, 404);
}

#[test]
fn refusals_say_what_is_wrong() {
    let server = Server::start(AIRWAVE, &[]);
    let inputs = "/stream/live_inputs";
    let wrong = server.api("POST", inputs, Some(&json!({ "recording": { "mode": "maybe" } })));
    assert_eq!(wrong.status, 400);
    let error = &wrong.json()["errors"][0];
    assert!(error["message"].as_str().unwrap().contains("recording.mode: must be"), "{error}");
    assert_eq!(error["source"]["pointer"], "/recording/mode");

    let url = server.url(&format!("/client/v4/accounts/default{inputs}"));
    assert_eq!(request("GET", &url, &[], b"").status, 401);
    assert_eq!(request("GET", &url, &[("authorization", "Bearer nonsense")], b"").status, 401);
    let token = format!("bearer {}", server.token);
    assert_eq!(request("GET", &url, &[("authorization", &token)], b"").status, 200);
    let body = request("POST", &url, &[("authorization", &token)], b"{not json");
    assert_eq!(body.status, 400);
    let huge = vec![b' '; 100 << 10];
    assert_eq!(request("POST", &url, &[("authorization", &token)], &huge).status, 413);
    for path in [
        "/client/v4/accounts/somebody/stream/live_inputs",
        "/client/v4/accounts/default/nonsense",
        "/client/v4/accounts/default/stream/live_inputs/00000000000000000000000000000000",
        "/client/v4/accounts/default/stream/live_inputs/..%2f..",
    ] {
        let answer = request("GET", &server.url(path), &[("authorization", &token)], b"");
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        assert_eq!(answer.json()["success"], false);
    }
}

/// Also where the framework, and not the API, refuses.
#[test]
fn every_refusal_over_the_wire_is_an_envelope() {
    let server = Server::start(AIRWAVE, &[]);
    let token = format!("Bearer {}", server.token);
    let token = ("authorization", &*token);
    let account = "/client/v4/accounts/default/stream";
    let huge = vec![b' '; 100 << 10];
    for (method, path, body, status) in [
        ("GET", "/client/v4".to_owned(), &b""[..], 404),
        ("GET", "/client/v4/".to_owned(), b"", 404),
        ("GET", format!("{account}/%ff"), b"", 400),
        ("PATCH", format!("{account}/live_inputs"), b"{}", 405),
        ("OPTIONS", format!("{account}/live_inputs"), b"", 405),
        ("POST", format!("{account}/live_inputs"), &huge, 413),
    ] {
        let answer = request(method, &server.url(&path), &[token], body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        let json = answer.json();
        assert_eq!((&json["success"], &json["result"]), (&json!(false), &Value::Null), "{path}");
        assert!(json["errors"][0]["code"].is_u64(), "{method} {path}: {json}");
        assert_eq!(answer.headers.contains_key("allow"), status == 405, "{method} {path}");
    }
    let none = request("GET", &server.url("/client/v4/accounts/default/stream"), &[], b"");
    assert_eq!(
        (none.status, &*none.headers["www-authenticate"]),
        (401, "Bearer realm=\"airwave\"")
    );
}

#[test]
fn a_request_that_is_sent_again_after_a_restart_makes_nothing_new() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let create = |server: &Server, key: &str| {
        let url = server.url("/client/v4/accounts/default/stream/live_inputs");
        let token = format!("Bearer {}", server.token);
        let headers = [("authorization", &*token), ("idempotency-key", key)];
        let made = request("POST", &url, &headers, br#"{"meta":{"name":"Hall"}}"#);
        assert_eq!(made.status, 200, "{}", made.text());
        made.json()["result"].clone()
    };
    let made = create(&Server::start_in(AIRWAVE, &data, &[]), "one");
    let server = Server::start_in(AIRWAVE, &data, &[]);
    let total = || server.api("GET", "/stream/live_inputs", None).json()["result"]["total"].clone();
    let before = total().as_u64().unwrap();
    let again = create(&server, "one");
    assert_eq!(
        (&again["uid"], &again["rtmp"]["streamKey"]),
        (&made["uid"], &made["rtmp"]["streamKey"])
    );
    assert_eq!(total(), before);
    assert_ne!(create(&server, "two")["uid"], made["uid"]);
    assert_eq!(total(), before + 1);
}

/// Of many at once each is kept, and none is answered with a conflict.
#[test]
fn changes_at_the_same_time_all_come_through() {
    let server = Server::start(AIRWAVE, &[]);
    let path = format!("/stream/live_inputs/{}", server.input().uid);
    let changes: Vec<Value> = vec![
        json!({ "meta": { "name": "Hall 1" } }),
        json!({ "defaultCreator": "me" }),
        json!({ "preferLowLatency": false }),
        json!({ "deleteRecordingAfterDays": 45 }),
        json!({ "recording": { "timeoutSeconds": 7 } }),
        json!({ "recording": { "hideLiveViewerCount": true } }),
    ];
    std::thread::scope(|scope| {
        for change in changes.iter().cycle().take(24) {
            scope.spawn(|| {
                let answer = server.api("PUT", &path, Some(change));
                assert_eq!(answer.status, 200, "{}", answer.text());
            });
        }
    });
    let input = server.api("GET", &path, None).json()["result"].clone();
    for (pointer, expect) in [
        ("/meta/name", json!("Hall 1")),
        ("/defaultCreator", json!("me")),
        ("/preferLowLatency", json!(false)),
        ("/deleteRecordingAfterDays", json!(45)),
        ("/recording/timeoutSeconds", json!(7)),
        ("/recording/hideLiveViewerCount", json!(true)),
    ] {
        assert_eq!(input.pointer(pointer), Some(&expect), "{pointer} of {input}");
    }
}

#[test]
fn what_an_input_is_doing_shows_in_its_status() {
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let path = format!("/stream/live_inputs/{}", input.uid);
    let current = || server.api("GET", &path, None).json()["result"]["status"]["current"].clone();
    let state = || current()["state"].clone();
    assert_eq!(server.lifecycle(&input.uid)["live"], false);
    assert_eq!(server.get(&format!("/{}/manifest/video.m3u8", input.uid)).status, 204);
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let mut encoder = clip.publish(&input.rtmp, -1);
    server.wait_live(&input);
    assert_eq!(state(), "connected");
    assert!(current()["statusEnteredAt"].is_string() && current()["reason"].is_null());
    assert_eq!(server.get(&format!("/{}/views", input.uid)).json(), json!({ "liveViewers": 0 }));
    server.get(&format!("/{}/manifest/video.cmaf.m3u8", input.uid));
    assert_eq!(server.get(&format!("/{}/views", input.uid)).json(), json!({ "liveViewers": 1 }));
    // How its encoder is doing, after a few seconds of measuring.
    let health = testkit::wait_until("health", 20, || {
        let health = server.api("GET", &path, None).json()["result"]["health"].clone();
        (health["uploadRatio"].is_number() && health["keyFrameIntervalSeconds"].is_number())
            .then_some(health)
    });
    // By the frames' own times; how evenly they come here says what this machine does (media::health has a clock of its own).
    let interval = health["keyFrameIntervalSeconds"].as_f64().unwrap();
    assert!((interval - 2.0).abs() < 0.01, "{health}");
    assert!(health["video"]["framesPerSecond"].as_f64() > Some(0.0), "{health}");
    assert!(health["uploadRatio"].as_f64() > Some(0.0) && health["advice"].is_array(), "{health}");
    for track in ["video", "audio"] {
        assert!(health[track]["bitsPerSecond"].as_u64() > Some(10_000), "{health}");
    }
    assert_eq!((&health["framesDropped"], &health["framesUnreadable"]), (&0.into(), &0.into()));
    let repairs = json!({
        "clockJumps": 0, "timesNotRising": 0, "audioReanchored": 0, "audioGaps": 0, "audioOverlaps": 0,
        "droppedAtStart": 0, "alignedByArrival": 0
    });
    assert_eq!(health["repairs"], repairs);
    // Disabling ends the broadcast.
    let disabled = server.api("PUT", &path, Some(&json!({ "enabled": false })));
    assert_eq!(disabled.status, 200);
    assert!(!encoder.wait(20).success());
    testkit::wait_until("the end", 10, || {
        (server.lifecycle(&input.uid)["live"] == false).then_some(())
    });
}
