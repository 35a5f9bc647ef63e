//! Clips that are videos of their own: cut to the frame in every player, and nothing of their source is needed any more.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use testkit::{
    Clip, Input, Response, Server, check, decode_errors, packets, request, try_request, wait_until,
};

use crate::AIRWAVE;
use crate::clips::{pictures, save, source};
use crate::codecs::run;
use crate::dash::values;

fn cut(server: &Server, fields: &Value) -> Response {
    server.api("POST", "/stream/clip", Some(fields))
}

fn video(server: &Server, uid: &str) -> Value {
    server.api("GET", &format!("/stream/{uid}"), None).json()["result"].clone()
}

/// What ffmpeg gets of a list or an MPD, as a file.
fn fetched(folder: &Path, server: &Server, path: &str) -> std::path::PathBuf {
    let file = folder.join("fetched.mp4");
    let url = server.url(path).to_string();
    run(Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y", "-i", &url, "-c", "copy"])
        .arg(&file));
    file
}

/// The bytes of a media playlist, its initialisation segment first, and its length in seconds.
fn listed(server: &Server, uid: &str, track: &str) -> (Vec<u8>, f64) {
    let url = server.url(&format!("/{uid}/manifest/{track}.cmaf.m3u8"));
    let text = server.get(&url.path).text();
    let map = text.split("#EXT-X-MAP:URI=\"").nth(1).unwrap().split('"').next().unwrap();
    let mut bytes = server.get(&url.join(map).path).body;
    let mut seconds = 0.0;
    for line in text.lines() {
        if let Some(length) = line.strip_prefix("#EXTINF:") {
            seconds += length.split(',').next().unwrap().parse::<f64>().unwrap();
        } else if !line.starts_with('#') {
            bytes.extend(server.get(&url.join(line).path).body);
        }
    }
    (bytes, seconds)
}

/// The MPD of a clip: the same bytes as its playlists, in one Period that is as long as the clip, and as what is only decoded
/// ahead of it (`lead_s`).
fn check_mpd(server: &Server, uid: &str, lead_s: f64, duration_s: f64) {
    const MS: f64 = 0.001;
    let near = |a: f64, b: f64| (a - b).abs() <= MS + 1e-9;
    let url = server.url(&format!("/{uid}/manifest/video.mpd"));
    let mpd = server.get(&url.path).text();
    assert_eq!((values(&mpd, "type")[0], mpd.matches("<Period ").count()), ("static", 1), "{mpd}");
    let seconds = |attribute: &str| -> f64 {
        let value = values(&mpd, attribute)[0].strip_prefix("PT").unwrap();
        value.strip_suffix('S').unwrap().parse().unwrap()
    };
    let length = seconds("mediaPresentationDuration");
    assert_eq!((seconds("start"), seconds("duration")), (0.0, length), "{mpd}");
    assert!(near(length, lead_s + duration_s), "{length} is not {lead_s} + {duration_s}: {mpd}");
    let sets: Vec<&str> = mpd.split("<AdaptationSet ").skip(1).collect();
    assert_eq!(sets.len(), 2, "{mpd}");
    let mut origins = Vec::new();
    for (set, track) in sets.into_iter().zip(["video", "audio"]) {
        let number = |attribute: &str| values(set, attribute)[0].parse::<u64>().unwrap();
        let ticks = |ticks: u64| ticks as f64 / number("timescale") as f64;
        let origin = number("presentationTimeOffset");
        let mut bytes = server.get(&url.join(values(set, "initialization")[0]).path).body;
        let (mut next, mut at, mut begin) = (number("startNumber"), 0, None);
        for s in set.split("<S").filter(|s| s.starts_with(' ')) {
            let s = s.split("/>").next().unwrap();
            let of = |name: &str| values(s, name).first().map(|v| v.parse::<u64>().unwrap());
            at = of("t").unwrap_or(at);
            begin.get_or_insert(at);
            for _ in 0..=of("r").unwrap_or(0) {
                let media = values(set, "media")[0].replace("$Number$", &next.to_string());
                let answer = server.get(&url.join(&media).path);
                assert_eq!(answer.status, 200, "{media}");
                bytes.extend(answer.body);
                (next, at) = (next + 1, at + of("d").unwrap());
            }
        }
        let (expect, listed_s) = listed(server, uid, track);
        assert!(bytes == expect, "{track}: {} bytes, {} in its list", bytes.len(), expect.len());
        let taken = ticks(at - begin.unwrap());
        assert!(near(taken, listed_s), "{track}: {taken} s, {listed_s} in its list");
        let reach = ticks(at) - ticks(origin);
        if track == "video" {
            assert_eq!(begin, Some(origin), "it begins with a picture: {mpd}");
            assert!(near(reach, length), "and ends with one: {reach} of {length}: {mpd}");
        } else {
            // Sound comes in frames of 21 ms, which begin and end where they like; the Period ends with the clip all the same.
            let behind = reach - length;
            assert!((-0.022..0.065).contains(&behind), "{track}: {reach} of {length}: {mpd}");
        }
        origins.push(ticks(origin));
    }
    assert!(near(origins[0], origins[1]), "one moment in all tracks: {origins:?}");
}

/// A clip of these seconds, as file, HLS and DASH: the source's pictures, no other one for as long as anybody sees it.
fn check_clip(
    folder: &Path,
    server: &Server,
    of: &str,
    source: &Clip,
    from: f64,
    to: f64,
) -> String {
    let fields =
        json!({ "clippedFromVideoUID": of, "startTimeSeconds": from, "endTimeSeconds": to });
    let answer = cut(server, &fields);
    assert_eq!(answer.status, 200, "{fields}: {}", answer.text());
    let made = answer.json()["result"].clone();
    let uid = made["uid"].as_str().unwrap().to_owned();
    assert_eq!((&made["clippedFrom"], &made["status"]["state"]), (&json!(of), &json!("ready")));
    let duration = made["duration"].as_f64().unwrap();
    assert!((duration - (to - from)).abs() < 0.04, "{fields}: {made}");
    assert_eq!(video(server, &uid), made);

    let sent = pictures(source.path());
    let frame = |at: f64| (at * 30.0 - 0.01).ceil() as usize;
    let expect = &sent[frame(from)..frame(to)];
    let path = format!("/stream/{uid}/downloads");
    assert_eq!(server.api("POST", &path, None).status, 200);
    let file = save(folder, "download.mp4", &server.get(&format!("/{uid}/downloads/default.mp4")));
    assert_eq!(decode_errors(&file), "");
    assert!(pictures(&file) == expect, "{fields}: as a file");

    let file = fetched(folder, server, &format!("/{uid}/manifest/video.m3u8"));
    // What is only decoded stands before and behind it and takes no time; between there is nothing but the clip.
    let got = pictures(&file);
    let ahead = got.iter().position(|picture| *picture == expect[0]).unwrap();
    let end = ahead + expect.len();
    assert!(got[ahead..end] == *expect, "{fields}: nothing in between");
    assert!(got.len() - end <= 2, "{fields}: {} behind", got.len() - end);
    let mut at: Vec<i64> = packets(&file, 'v').iter().map(|p| p.present_us).collect();
    at.sort_unstable();
    let lead = at[ahead] - at[0];
    assert!(lead < 20_000, "{fields}: seen for {lead} us");
    let last = at[at.len() - 1] - at[end - 1];
    assert!(last < 35_000, "{fields}: {last} us behind");
    let whole = (expect.len() - 1) as i64 * 1_000_000 / 30;
    let seen = at[end - 1] - at[ahead];
    assert!((seen - whole).abs() < 2_000, "{fields}: {seen} us of {whole}");
    check_mpd(server, &uid, lead as f64 / 1e6, duration);
    for track in ["video", "audio"] {
        let list = server.get(&format!("/{uid}/manifest/{track}.cmaf.m3u8")).text();
        assert_eq!(check(&list), [], "{list}");
        assert!(
            list.contains("#EXT-X-PLAYLIST-TYPE:VOD") || list.ends_with("#EXT-X-ENDLIST\n"),
            "{list}"
        );
    }
    uid
}

fn broadcast(server: &Server, fields: &Value) -> (Input, String, Clip) {
    let (input, source) = (server.create_input(fields), source());
    let mut encoder = source.publish_at(4.0, &input.rtmp, 1);
    let uid = server.wait_video(&input, &[]);
    assert!(encoder.wait(30).success(), "{}", encoder.output());
    server.wait_ready(&uid);
    (input, uid, source)
}

#[test]
fn a_clip_is_a_video_that_outlives_its_source() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start_in(AIRWAVE, &data, &[]);
    let fields = json!({ "meta": { "name": "Derby" }, "recording": { "timeoutSeconds": 1 } });
    let (input, uid, source) = broadcast(&server, &fields);
    let clips: Vec<String> = [(1.5, 4.5), (0.0, 2.0), (3.9, 6.6)]
        .map(|(from, to)| check_clip(folder.path(), &server, &uid, &source, from, to))
        .into();
    // A clip of a clip.
    let nested =
        json!({ "clippedFromVideoUID": clips[0], "startTimeSeconds": 1, "endTimeSeconds": 2 });
    assert_eq!(cut(&server, &nested).status, 200);
    // It is no broadcast of its input's: whoever watches that gets the recording.
    assert_eq!(server.lifecycle(&input.uid)["recording"].as_str().unwrap_or(&uid), uid);
    let listed = server.api("GET", "/stream", None).json()["result"].as_array().unwrap().len();
    assert_eq!(listed, 5);
    // Its source is deleted, and the server started again.
    let kept = |server: &Server| server.get(&format!("/{}/downloads/default.mp4", clips[0])).body;
    let before = kept(&server);
    assert_eq!(server.api("DELETE", &format!("/stream/{uid}"), None).status, 200);
    assert_eq!(server.get(&format!("/{uid}/manifest/video.m3u8")).status, 404);
    drop(server);
    let server = Server::start_in(AIRWAVE, &data, &[]);
    assert!(!before.is_empty() && kept(&server) == before);
    assert_eq!(video(&server, &clips[0])["clippedFrom"], json!(uid));
    assert_eq!(video(&server, &clips[0])["meta"]["name"], "Derby");
    // Deleted, its own disk space is free.
    let media = |uid: &str| data.join("media/o").join(uid);
    assert!(media(&clips[1]).is_dir());
    assert_eq!(server.api("DELETE", &format!("/stream/{}", clips[1]), None).status, 200);
    assert!(!media(&clips[1]).exists());
    assert_eq!(server.get(&format!("/{}/manifest/video.m3u8", clips[1])).status, 404);
}

#[test]
fn a_clip_is_locked_as_its_source_is() {
    let server = Server::start(AIRWAVE, &[]);
    let (input, uid, _) = broadcast(&server, &json!({ "recording": { "timeoutSeconds": 1 } }));
    let locked = json!({ "requireSignedURLs": true });
    assert_eq!(server.api("POST", &format!("/stream/{uid}"), Some(&locked)).status, 200);
    let of = |more: &Value| {
        let mut fields =
            json!({ "clippedFromVideoUID": uid, "startTimeSeconds": 1, "endTimeSeconds": 3 });
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = cut(&server, &fields);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["result"]["uid"].as_str().unwrap().to_owned()
    };
    let (same, open) = (of(&json!({})), of(&json!({ "requireSignedURLs": false, "name": "Goal" })));
    assert_eq!(video(&server, &open)["meta"]["name"], "Goal");
    let status = |segment: &str| server.get(&format!("/{segment}/manifest/video.m3u8")).status;
    assert_eq!((status(&same), status(&open)), (401, 200));
    let token = |of: &str| {
        let answer = server.api("POST", &format!("/stream/{of}/token"), Some(&json!({})));
        answer.json()["result"]["token"].as_str().unwrap().to_owned()
    };
    let own = token(&same);
    assert_eq!(status(&own), 200);
    let list = server.get(&format!("/{own}/manifest/video.cmaf.m3u8")).text();
    let media = list.lines().find(|l| l.ends_with(".m4s")).unwrap();
    let media = server.url(&format!("/{own}/manifest/x")).join(media).path;
    assert_eq!(server.get(&media).status, 200);
    let another = broadcast(&server, &json!({ "recording": { "timeoutSeconds": 1 } })).0;
    for (segment, expect) in [
        (&*same, 401),
        (&token(&open), 403),
        (&token(&another.uid), 403),
        (&token(&input.uid), 200),
    ] {
        assert_eq!(server.get(&media.replace(&own, segment)).status, expect, "{segment}");
    }
}

/// Flips `clips.video_max_s`.
#[test]
fn what_cannot_be_cut_is_refused_in_words() {
    let server = Server::start(AIRWAVE, &["clips.video_max_s=4"]);
    let (_, uid, _) = broadcast(&server, &json!({ "recording": { "timeoutSeconds": 1 } }));
    let nobody = "0".repeat(32);
    for (of, from, to, status, words) in [
        (&*uid, json!(1), json!(5), 200, ""),
        (&uid, json!(1), json!(5.1), 400, "by at most 4 s (clips.video_max_s)"),
        (&uid, json!(5), json!(5), 400, "must be after startTimeSeconds"),
        (&uid, json!(-1), json!(2), 400, "startTimeSeconds: must be seconds"),
        (&uid, json!("1"), json!(2), 400, "startTimeSeconds: must be seconds"),
        (&uid, json!(100), json!(102), 400, "there is nothing at 100.000 s"),
        (&nobody, json!(1), json!(2), 404, "there is no such video"),
        ("../../etc", json!(1), json!(2), 404, "there is no such video"),
    ] {
        let fields =
            json!({ "clippedFromVideoUID": of, "startTimeSeconds": from, "endTimeSeconds": to });
        let answer = cut(&server, &fields);
        assert_eq!(answer.status, status, "{fields}: {}", answer.text());
        assert!(answer.text().contains(words), "{fields}: {}", answer.text());
    }
    let missing = cut(&server, &json!({ "startTimeSeconds": 1 }));
    assert!(missing.text().contains("clippedFromVideoUID: must be"), "{}", missing.text());
    // What was refused has left nothing on the disk.
    let videos = server.api("GET", "/stream", None).json()["result"].as_array().unwrap().len();
    let stored = std::fs::read_dir(server.data().join("media/o")).unwrap().count();
    assert_eq!((videos, stored), (2, 2));
}

/// Flips `clips.max_s`.
#[test]
fn how_long_viewers_clips_are_is_the_operators_choice() {
    let server = Server::start(AIRWAVE, &["clips.max_s=3"]);
    let (_, uid, _) = broadcast(&server, &json!({ "recording": { "timeoutSeconds": 1 } }));
    for (query, status) in [("duration=3", 200), ("duration=3.1", 400)] {
        for path in ["clip.mp4", "manifest/clip.m3u8"] {
            let answer = server.get(&format!("/{uid}/{path}?time=1&{query}"));
            assert_eq!(answer.status, status, "{path}?{query}");
            assert!(status == 200 || answer.text().contains("at most 3 s"), "{}", answer.text());
        }
    }
    assert_eq!(server.lifecycle(&uid)["clipSeconds"], 3);
}

#[test]
fn a_running_broadcast_is_cut_as_far_as_it_is_recorded() {
    let server = Server::start(AIRWAVE, &[]);
    let (input, source) = (server.input(), source());
    let _encoder = source.publish_at(1.0, &input.rtmp, -1);
    let uid = server.wait_live(&input);
    let fields = json!({ "clippedFromVideoUID": uid, "startTimeSeconds": 1, "endTimeSeconds": 3 });
    let early = cut(&server, &fields);
    assert!(early.status == 400 || early.status == 200, "{}", early.text());
    let clip = wait_until("three seconds of it", 30, || {
        let answer = cut(&server, &fields);
        (answer.status == 200).then(|| answer.json()["result"].clone())
    });
    assert_eq!((&clip["clippedFrom"], &clip["readyToStream"]), (&json!(uid), &json!(true)));
    assert_eq!(
        server.lifecycle(&input.uid)["videoUID"],
        json!(uid),
        "the input is on the air as before"
    );
    let page = server.get(&format!("/{}/watch", clip["uid"].as_str().unwrap()));
    assert_eq!(page.status, 200);
}

/// Killed between its objects, or between its records: there is no clip, and nothing of it stays on the disk.
#[test]
fn a_clip_is_whole_or_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start_in(AIRWAVE, &data, &[]);
    let (_, uid, _) = broadcast(&server, &json!({ "recording": { "timeoutSeconds": 1 } }));
    drop(server);
    let fields = json!({ "clippedFromVideoUID": uid, "startTimeSeconds": 1, "endTimeSeconds": 9 });
    for point in ["clip.stored:2", "clip.inserted:3"] {
        let variables = [(failpoint::VARIABLE, point)];
        let mut server = Server::start_as(AIRWAVE, &data, &[], &[], &variables);
        let url = server.url("/client/v4/accounts/default/stream/clip");
        let authorization = format!("Bearer {}", server.token);
        let headers = [("authorization", &*authorization)];
        assert!(
            try_request("POST", &url, &headers, fields.to_string().as_bytes()).is_err(),
            "{point}"
        );
        server.child().wait(20);
        drop(server);
        let server = Server::start_in(AIRWAVE, &data, &[]);
        let videos = server.api("GET", "/stream", None).json()["result"].as_array().unwrap().len();
        assert_eq!(videos, 1, "{point}");
        wait_until("orphans to be gone", 20, || {
            let folders = std::fs::read_dir(data.join("media/o")).unwrap();
            let full = |entry: &std::fs::DirEntry| {
                std::fs::read_dir(entry.path()).unwrap().next().is_some()
            };
            (folders.filter_map(Result::ok).filter(full).count() == 1).then_some(())
        });
        assert_eq!(server.get(&format!("/{uid}/manifest/video.m3u8")).status, 200);
    }
}

#[test]
fn the_line_for_other_pages_is_html() {
    let server = Server::start(AIRWAVE, &[]);
    let fields = json!({ "meta": { "name": "\"><b>&" }, "recording": { "timeoutSeconds": 1 } });
    let (_, uid, _) = broadcast(&server, &fields);
    let answer = server.api("GET", &format!("/stream/{uid}/embed"), None);
    assert_eq!(
        (answer.status, &*answer.headers["content-type"]),
        (200, "text/html; charset=utf-8")
    );
    let text = answer.text();
    assert!(text.starts_with("<iframe src=\"http://127.0.0.1:"), "{text}");
    assert!(
        text.contains(&format!("/{uid}/iframe\" title=\"&quot;&gt;&lt;b&gt;&amp;\"")),
        "{text}"
    );
    let src = text.split('"').nth(1).unwrap();
    let page = request("GET", &testkit::Url::parse(src), &[], b"");
    assert_eq!(page.status, 200);
    let missing = server.api("GET", &format!("/stream/{}/embed", "0".repeat(32)), None);
    assert_eq!((missing.status, missing.json()["success"].clone()), (404, json!(false)));
}
