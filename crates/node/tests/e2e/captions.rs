//! Captions that an owner adds to a recording, through the API and on every way out.

use serde_json::{Value, json};
use testkit::{
    Child, Clip, ClipSpec, Response, Server, browser_script, read_captions, request, skip,
    wait_until,
};

use crate::AIRWAVE;

const ENGLISH: &str =
    "WEBVTT\n\n00:01.000 --> 00:02.000\nOne to two\n\n00:04.000 --> 00:06.000\nFour to six\n";

/// A recording of ten seconds.
pub(crate) fn recorded(server: &Server) -> String {
    let input = server.create_input(&json!({ "recording": { "timeoutSeconds": 1 } }));
    let mut encoder = Clip::make(&ClipSpec::plain("plain", 12)).publish_at(4.0, &input.rtmp, 1);
    let uid = server.wait_video(&input, &[]);
    assert!(encoder.wait(30).success(), "{}", encoder.output());
    wait_until("the end", 30, || {
        let video = server.api("GET", &format!("/stream/{uid}"), None).json();
        (video["result"]["readyToStream"] == true).then_some(())
    });
    uid
}

/// As curl and the SDKs send it.
pub(crate) fn put(server: &Server, uid: &str, language: &str, file: &str) -> Response {
    let path = format!("/client/v4/accounts/default/stream/{uid}/captions/{language}");
    let authorization = format!("Bearer {}", server.token);
    let headers =
        [("authorization", &*authorization), ("content-type", "multipart/form-data; boundary=e2e")];
    let body = format!(
        "--e2e\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x.vtt\"\r\n\
         Content-Type: text/vtt\r\n\r\n{file}\r\n--e2e--\r\n"
    );
    request("PUT", &server.url(&path), &headers, body.as_bytes())
}

fn listed(server: &Server, uid: &str) -> Value {
    server.api("GET", &format!("/stream/{uid}/captions"), None).json()["result"].clone()
}

#[test]
fn captions_of_a_recording_reach_players() {
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let encoder = Clip::make(&ClipSpec::plain("plain", 12)).publish(&input.rtmp, -1);
    let live = put(&server, &server.wait_live(&input), "en", ENGLISH);
    assert_eq!(live.status, 400, "{}", live.text());
    assert!(live.text().contains("not over"), "{}", live.text());
    drop(encoder);
    let uid = recorded(&server);
    assert_eq!(listed(&server, &uid), json!([]));
    let answer = put(&server, &uid, "en", ENGLISH);
    let english =
        json!({ "language": "en", "label": "English", "generated": false, "status": "ready" });
    assert_eq!(answer.json()["result"], english, "{}", answer.text());
    assert_eq!(put(&server, &uid, "pt-BR", &ENGLISH.replace("One", "Um")).status, 200);
    assert_eq!(listed(&server, &uid)[1]["label"], "Portuguese (BR)");
    let of = |what: &str| server.api("GET", &format!("/stream/{uid}/captions/{what}"), None);
    assert_eq!(of("en").json()["result"], english);
    let file = of("en/vtt");
    assert_eq!(file.headers["content-type"], "text/vtt; charset=utf-8");
    assert!(file.text().contains("00:04.000 --> 00:06.000\nFour to six\n"), "{}", file.text());
    for (name, value) in [("cache-control", "no-store"), ("x-content-type-options", "nosniff")] {
        assert_eq!(file.headers.get(name).map(String::as_str), Some(value), "{name}");
    }
    // RFC 5646 §2.1.1: in letters of any case it is the same language.
    assert_eq!(put(&server, &uid, "EN", ENGLISH).json()["result"], english);
    assert_eq!(of("En").json()["result"], english);
    assert_eq!(listed(&server, &uid).as_array().unwrap().len(), 2);
    assert_eq!(server.get(&format!("/{uid}/manifest/captions-PT-br.vtt")).status, 200);

    // HLS: a rendition beside the picture, one file on the clock of the media.
    let text = server.get(&format!("/{uid}/manifest/video.m3u8")).text();
    assert_eq!(text.matches("TYPE=SUBTITLES").count(), 2, "{text}");
    assert!(text.contains("SUBTITLES=\"captions\""), "{text}");
    let list = server.get(&format!("/{uid}/manifest/captions-en.m3u8"));
    assert_eq!(list.headers["content-type"], "application/vnd.apple.mpegurl");
    assert_eq!(list.headers["cache-control"], "max-age=1");
    let list = list.text();
    assert!(list.contains("#EXTINF:12.") && list.contains("\ncaptions-en.vtt\n"), "{list}");
    let lines = server.get(&format!("/{uid}/manifest/captions-en.vtt"));
    assert_eq!(lines.headers["content-type"], "text/vtt; charset=utf-8");
    assert_eq!(lines.headers["cache-control"], "max-age=1");
    assert!(lines.text().starts_with("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:"), "{}", lines.text());
    // DASH: a file counted from the Period's beginning.
    let mpd = server.get(&format!("/{uid}/manifest/video.mpd")).text();
    assert!(mpd.contains("<BaseURL>captions-pt-BR.vtt?start=0.000</BaseURL>"), "{mpd}");
    let later = server.get(&format!("/{uid}/manifest/captions-en.vtt?start=1.5")).text();
    assert!(later.contains("00:00:00.000 --> 00:00:00.500\nOne to two"), "{later}");
    assert_eq!(server.get(&format!("/{uid}/manifest/captions-en.vtt?start=-1")).status, 400);

    // Another file takes the place of the one before, whose object is gone; so is one that is taken away.
    let objects = || {
        let of = server.data().join(format!("media/o/{uid}"));
        let names = std::fs::read_dir(of).unwrap().map(|e| e.unwrap().file_name());
        names.filter(|n| n.to_string_lossy().starts_with('c')).count()
    };
    assert_eq!(put(&server, &uid, "en", &ENGLISH.replace("Four", "4")).status, 200);
    assert_eq!(objects(), 2);
    assert!(of("en/vtt").text().contains("4 to six"));
    let path = format!("/stream/{uid}/captions/pt-BR");
    assert_eq!(server.api("DELETE", &path, None).json()["result"], json!(""));
    assert_eq!((server.api("DELETE", &path, None).status, objects()), (404, 1));
    assert_eq!(server.get(&format!("/{uid}/manifest/captions-pt-BR.vtt")).status, 404);
    refused(&server, &uid);
}

/// What is said meanwhile, counted from where the clip begins; also when its source is gone.
#[test]
fn captions_of_a_recording_are_in_its_clips() {
    let server = Server::start(AIRWAVE, &[]);
    let uid = recorded(&server);
    assert_eq!(put(&server, &uid, "en", ENGLISH).status, 200);
    assert_eq!(put(&server, &uid, "de", "WEBVTT\n\n00:05.000 --> 00:06.000\nBald\n").status, 200);
    let clip = |from: f64, to: f64| {
        let fields =
            json!({ "clippedFromVideoUID": uid, "startTimeSeconds": from, "endTimeSeconds": to });
        let answer = server.api("POST", "/stream/clip", Some(&fields));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["result"]["uid"].as_str().unwrap().to_owned()
    };
    let (both, none) = (clip(1.5, 4.5), clip(2.2, 3.8));
    let languages = listed(&server, &both);
    assert_eq!((&languages[0]["language"], languages.as_array().unwrap().len()), (&json!("en"), 1));
    assert_eq!(listed(&server, &none), json!([]), "nothing is said meanwhile");
    // As a list, a clip has the same file, and a list of its own length.
    let list = server.get(&format!("/{uid}/manifest/clip.m3u8?time=3s&duration=2s")).text();
    let captions = list.split("URI=\"").find(|rest| rest.starts_with("captions-en.m3u8?segments="));
    let captions = captions.unwrap_or_else(|| panic!("{list}")).split('"').next().unwrap();
    let track =
        server.get(&format!("/{uid}/manifest/{}", captions.replace("captions-en", "video.cmaf")));
    let seconds = |list: &str| {
        let lengths = list.lines().filter_map(|line| line.strip_prefix("#EXTINF:"));
        lengths.map(|length| length.trim_end_matches(',').parse::<f64>().unwrap()).sum::<f64>()
    };
    let captions = server.get(&format!("/{uid}/manifest/{captions}")).text();
    let (length, expect) = (seconds(&captions), seconds(&track.text()));
    assert!(expect > 1.0 && (length - expect).abs() < 0.001, "{length} of {expect}: {captions}");
    assert!(captions.contains("\ncaptions-en.vtt\n"), "{captions}");
    let wrong = server.get(&format!("/{uid}/manifest/captions-en.m3u8?segments=7-3"));
    assert_eq!(wrong.status, 400, "{}", wrong.text());

    assert_eq!(server.api("DELETE", &format!("/stream/{uid}"), None).status, 200);
    let file = server.api("GET", &format!("/stream/{both}/captions/en/vtt"), None).text();
    let cues: Vec<&str> = file.split("\n\n").skip(1).collect();
    // To the frame, which the encoder's clock has in milliseconds.
    let times = |cue: &str| -> Vec<f64> {
        let line = cue.lines().next().unwrap();
        let of = |time: &str| time.rsplit(':').next().unwrap().parse().unwrap();
        line.split(" --> ").map(of).collect()
    };
    let near = |cue: &str, expect: [f64; 2]| {
        times(cue).iter().zip(expect).all(|(is, expect)| (is - expect).abs() < 0.04)
    };
    assert!(near(cues[0], [0.0, 0.5]) && cues[0].ends_with("\nOne to two"), "{file}");
    assert!(near(cues[1], [2.5, 3.0]) && cues[1].contains("\nFour to six"), "{file}");
    let lines = server.get(&format!("/{both}/manifest/captions-en.vtt"));
    assert_eq!((lines.status, lines.text().matches("-->").count()), (200, 2), "{}", lines.text());
    // Deleted, nothing of it is left.
    assert_eq!(server.api("DELETE", &format!("/stream/{both}"), None).status, 200);
    wait_until("its objects to go", 60, || {
        let of = server.data().join(format!("media/o/{both}"));
        std::fs::read_dir(of).map_or(0, Iterator::count).eq(&0).then_some(())
    });
}

fn refused(server: &Server, uid: &str) {
    for (language, file, words) in [
        ("en", "1\n00:00:01,000 --> 00:00:02,000\nSRT\n", "not WebVTT"),
        ("en", "WEBVTT\n\n00:02.000 --> 00:01.000\nx\n", "line 3"),
        ("en", "WEBVTT\n", "no cues"),
        ("e%22", ENGLISH, "a tag such as en"),
        ("..%2Fx", ENGLISH, "a tag such as en"),
    ] {
        let answer = put(server, uid, language, file);
        assert_eq!(answer.status, 400, "{language}: {}", answer.text());
        assert!(answer.text().contains(words), "{}", answer.text());
    }
    let path = format!("/stream/{uid}/captions/en");
    let empty = server.api("PUT", &path, None);
    assert_eq!(empty.status, 400, "{}", empty.text());
    let large = put(server, uid, "en", &"x".repeat(11 << 20));
    assert_eq!(large.status, 413, "{}", large.text());
    assert_eq!(put(server, &"0".repeat(32), "en", ENGLISH).status, 404);
    // What was there is there still.
    assert_eq!(listed(server, uid).as_array().unwrap().len(), 1);
}

/// Chromium: a viewer makes a clip of what is on the air and plays it; captions stand where they were written.
#[test]
fn a_viewer_makes_a_clip_and_reads_captions_in_chromium() {
    if skip("browser") {
        return;
    }
    let server = Server::start(AIRWAVE, &[]);
    let recording = recorded(&server);
    assert_eq!(put(&server, &recording, "en", ENGLISH).status, 200);
    let input = server.create_input(&json!({
        "meta": { "name": "Harbour" }, "recording": { "allowClips": true },
    }));
    let encoder = Clip::make(&ClipSpec::plain("plain", 12)).publish(&input.rtmp, -1);
    server.wait_live(&input);
    assert_eq!(server.lifecycle(&input.uid)["clips"], true);
    assert_eq!(server.lifecycle(&recording)["clips"], false, "its input does not allow it");
    wait_until("eight seconds", 30, || {
        let list = server.get(&format!("/{}/manifest/video.cmaf.m3u8", input.uid)).text();
        (list.matches("#EXTINF").count() >= 4).then_some(())
    });
    let mut node = browser_script("check-clips.mjs");
    let server_url = format!("http://{}", server.url("").authority);
    node.args(["--server", &server_url, "--id", &input.uid, "--recording", &recording]);
    node.args(["--end-by", &encoder.id().to_string()]);
    let mut node = Child::start(&mut node);
    let status = node.wait(280);
    assert!(status.success(), "check-clips.mjs: {status}\n{}", node.output());
}

/// CEA-608 in the pictures: our player and stock shaka-player draw the words at low latency, and of the recording stock hls.js,
/// too, which forgets them at each part.
#[test]
fn captions_inside_the_picture_are_drawn_by_players_in_chromium() {
    if skip("browser") {
        return;
    }
    let server = Server::start(AIRWAVE, &["quic.listen=off"]);
    let input = server.create_input(&json!({ "recording": { "timeoutSeconds": 1 } }));
    let plain = ClipSpec::plain("captioned", 90);
    let spec = ClipSpec { group: 30, b_frames: 0, captions: Some("WORDS"), ..plain };
    let encoder = Clip::make(&spec).publish(&input.rtmp, 1);
    let video = server.wait_live(&input);
    wait_until("captions to be listed", 30, || {
        let list = server.get(&format!("/{}/manifest/video.m3u8", input.uid)).text();
        list.contains("INSTREAM-ID=\"CC1\"").then_some(())
    });
    // More than hls.js has by itself, of the segments that it loads whole.
    drawn(&server, &format!("{}/watch", input.uid), &["airwave", "shaka"], 4, &[]);
    drop(encoder);
    wait_until("the recording", 30, || {
        let video = server.api("GET", &format!("/stream/{video}"), None).json();
        (video["result"]["readyToStream"] == true).then_some(())
    });
    drawn(&server, &format!("{video}/watch"), &["airwave", "hlsjs", "shaka"], 2, &[]);
}

/// MoQ, which our player takes first, has nobody who draws them: who wants captions gets HLS, at once where the page does, and
/// MoQ again without them.
#[test]
fn captions_inside_the_picture_are_offered_over_moq_in_chromium() {
    if skip("browser") {
        return;
    }
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let plain = ClipSpec::plain("captioned", 240);
    let spec = ClipSpec { group: 30, b_frames: 0, captions: Some("WORDS"), ..plain };
    let _encoder = Clip::make(&spec).publish(&input.rtmp, -1);
    server.wait_live(&input);
    let seen = drawn(&server, &format!("{}/watch", input.uid), &["airwave"], 3, &["--moq"]);
    let modes = &seen["airwave"]["modes"];
    let moq = |at: usize| ["MoQ", "Real time"].contains(&modes[at].as_str().unwrap_or_default());
    assert!(moq(0) && modes[1] == "Low latency" && moq(2), "{seen}");
    let begun = format!("{}/iframe?autoplay=true&muted=true&defaultTextTrack=en", input.uid);
    drawn(&server, &begun, &["airwave"], 3, &[]);
}

fn drawn(server: &Server, page: &str, players: &[&str], least: usize, more: &[&str]) -> Value {
    let url = server.url(&format!("/{page}")).to_string();
    let seen = read_captions(&url, &players.join(","), least, more);
    for player in players {
        let lines = seen[player]["lines"].as_array().unwrap();
        let words = |line: &Value| {
            let number = line.as_str().and_then(|line| line.strip_prefix("WORDS "));
            number.and_then(|number| number.parse::<u32>().ok())
        };
        let numbers: Option<Vec<u32>> = lines.iter().map(words).collect();
        let drawn = numbers.is_some_and(|numbers| numbers.len() >= least && numbers.is_sorted());
        assert!(drawn, "{player}: {seen}");
    }
    // Nobody has said which language they are in.
    let expect = json!([{ "kind": "captions", "label": "CC1", "language": "und" }]);
    assert_eq!(seen["airwave"]["tracks"], expect, "{seen}");
    seen
}
