//! What players say of themselves (CMCD) is in the API and in the metrics, within bounds.

use serde_json::{Value, json};
use testkit::{Clip, ClipSpec, Input, Server, play, request, skip};

use crate::AIRWAVE;

fn on_air(server: &Server) -> (Input, testkit::Child) {
    let input = server.input();
    let clip = Clip::make(&ClipSpec { group: 30, ..ClipSpec::plain("short-groups", 10) });
    let encoder = clip.publish(&input.rtmp, -1);
    server.wait_live(&input);
    (input, encoder)
}

pub(crate) fn playback(server: &Server, input: &Input) -> Value {
    let path = format!("/stream/live_inputs/{}", input.uid);
    server.api("GET", &path, None).json()["result"]["audience"].clone()
}

#[test]
fn players_say_how_they_play() {
    let server = Server::start(AIRWAVE, &[]);
    let (input, _encoder) = on_air(&server);
    assert_eq!(playback(&server, &input)["sessionsSeen"], 0);
    let list = server.url(&format!("/{}/manifest/video.cmaf.m3u8", input.uid));
    let get = |query: &str, headers: &[(&str, &str)]| {
        let url = testkit::Url { path: format!("{}{query}", list.path), ..list.clone() };
        let answer = request("GET", &url, headers, b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    let tell = |id: &str, text: &[u8]| {
        let url = server.url(&format!("/{id}/cmcd"));
        request("POST", &url, &[("content-type", "text/plain;charset=UTF-8")], text)
    };
    // In header fields, in the query, and in messages; some of it lies.
    get("", &[("cmcd-session", "sid=\"a\",sf=h,st=l"), ("cmcd-status", "bs")]);
    get("?CMCD=sid%3D%22b%22%2Cot%3Dv%2Cbr%3D4000000000", &[]);
    let answer =
        tell(&input.uid, b"br=100,msd=480,ot=v,sf=h,sid=\"c\",st=l\nbr=200,bs,ot=v,sid=\"c\"");
    assert_eq!((answer.status, &*answer.headers["access-control-allow-origin"]), (204, "*"));
    assert_eq!(answer.headers["cache-control"], "no-store");
    tell(&input.uid, b"msd=99999999,sid=\"d\"");
    for nonsense in [&b""[..], b"\xff\xfe", b"sid", b"sid=\"\"", b",,,=,=,", &[b'x'; 4_000]] {
        let status = tell(&input.uid, nonsense).status;
        assert!([204, 400, 413].contains(&status), "{status}");
    }
    let seen = playback(&server, &input);
    assert_eq!((&seen["sessions"], &seen["sessionsSeen"]), (&json!(4), &json!(4)), "{seen}");
    assert_eq!(seen["stalls"], 2, "{seen}");
    assert_eq!(seen["startMs"], json!({ "count": 2, "mean": 30_240, "p50": 500, "p95": null }));
    // A bitrate is at most what the broadcast has.
    let kbps = seen["bitrateKbps"].as_u64().unwrap();
    assert!((100..3_000).contains(&kbps), "{seen}");
    let metrics = server.metrics();
    let of = |name: &str, more: &str| metrics[&format!("{name}{{input=\"{}\"{more}}}", input.uid)];
    assert_eq!(of("playback_sessions_total", ""), 4);
    assert_eq!(of("playback_stalls_total", ""), 2);
    assert_eq!(of("playback_start_seconds_bucket", ",le=\"0.5\""), 1);
    assert_eq!(of("playback_start_seconds_bucket", ",le=\"+Inf\""), 2);
    assert_eq!(of("playback_start_seconds_count", ""), 2);
    assert_eq!(of("playback_bitrate_bits", ""), kbps * 1_000);
    // Nothing is said of what is not there, and what is locked has to be opened first.
    assert_eq!(tell("nothing", b"sid=\"x\"").status, 404);
    let locked = json!({ "recording": { "requireSignedURLs": true } });
    let locked = server.create_input(&locked);
    assert_eq!(tell(&locked.uid, b"sid=\"x\"").status, 401);
}

#[test]
fn a_page_of_another_host_may_ask_with_header_fields() {
    let server = Server::start(AIRWAVE, &[]);
    let locked = server.create_input(&json!({ "recording": { "requireSignedURLs": true } }));
    // A preflight says nothing, so it needs no token: the request that follows does.
    let url = server.url(&format!("/{}/manifest/video.cmaf.m3u8", locked.uid));
    let answer = request(
        "OPTIONS",
        &url,
        &[
            ("origin", "https://example.com"),
            ("access-control-request-method", "GET"),
            ("access-control-request-headers", "cmcd-object,cmcd-session"),
        ],
        b"",
    );
    assert_eq!(answer.status, 204);
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    let allowed = &answer.headers["access-control-allow-headers"];
    for name in ["CMCD-Object", "CMCD-Request", "CMCD-Session", "CMCD-Status", "Range"] {
        assert!(allowed.contains(name), "{allowed}");
    }
    assert_eq!(request("GET", &url, &[], b"").status, 401);
}

#[test]
fn a_stock_player_in_chromium_with_cmcd_in_header_fields_is_heard() {
    if skip("browser") {
        return;
    }
    let server = Server::start(AIRWAVE, &[]);
    let (input, _encoder) = on_air(&server);
    let url = server.url(&format!("/{}/manifest/video.m3u8", input.uid)).to_string();
    let played = play(&url, "hlsjs", 4, &["--cmcd", "headers"]);
    // What the player gets over by itself, as it does on a machine that stands still for a moment, is none.
    let errors = played.0["errors"].as_array().unwrap().iter().filter_map(Value::as_str);
    let of = ["fatal ", "page:", "play:", "console:", "no moving picture", "tone:"];
    let errors: Vec<_> = errors.filter(|e| of.iter().any(|kind| e.starts_with(kind))).collect();
    assert_eq!(errors, [""; 0], "{}", played.0);
    let seen = playback(&server, &input);
    assert_eq!(
        (&seen["sessionsSeen"], &seen["startMs"]["count"]),
        (&json!(1), &json!(1)),
        "{seen}"
    );
    assert!(seen["bitrateKbps"].as_u64() > Some(0), "{seen}");
}
