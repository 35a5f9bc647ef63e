//! Clips and downloads: what is cut out is what was sent, to the frame; live, recorded, and over what went wrong.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use testkit::{
    Child, Clip, ClipSpec, Input, Response, Server, check, decode_errors, packets, request,
    wait_until,
};

use crate::AIRWAVE;
use crate::codecs::run;

pub(crate) fn source() -> Clip {
    Clip::make(&ClipSpec { rising: true, ..ClipSpec::plain("rising", 12) })
}

/// MD5 of the pictures that a player shows, in order.
pub(crate) fn pictures(file: &Path) -> Vec<String> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-i"]).arg(file);
    let text =
        run(command.args(["-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framemd5", "-"]));
    let rows = text.lines().filter(|l| !l.starts_with('#') && !l.is_empty());
    rows.map(|l| l.rsplit(',').next().unwrap().trim().to_owned()).collect()
}

pub(crate) fn save(folder: &Path, name: &str, answer: &Response) -> PathBuf {
    assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    let file = folder.join(name);
    std::fs::write(&file, &answer.body).unwrap();
    file
}

/// Microseconds by which a file's packets are away from the source's, smallest and largest, for what is shown of it; and
/// that they are the source's, one after the other.
fn shifts(file: &Path, source: &Clip, kind: char) -> (i64, i64) {
    let sent = packets(source.path(), kind);
    let got = packets(file, kind);
    let at: BTreeMap<&str, usize> =
        sent.iter().enumerate().map(|(i, p)| (p.hash.as_str(), i)).collect();
    assert_eq!(at.len(), sent.len(), "every packet is another one");
    let places: Vec<usize> = got.iter().map(|p| at[p.hash.as_str()]).collect();
    assert!(places.windows(2).all(|w| w[1] == w[0] + 1), "{kind}: in order, none left out");
    let shifts = || places.iter().zip(&got).map(|(i, p)| sent[*i].present_us - p.present_us);
    (shifts().min().unwrap(), shifts().max().unwrap())
}

/// A clip of the first round of the source: exactly its pictures, its sound beside them.
fn check_clip(folder: &Path, server: &Server, id: &str, source: &Clip, from: f64, seconds: f64) {
    let path = format!("/{id}/clip.mp4?time={from}s&duration={seconds}s");
    let file = save(folder, "clip.mp4", &server.get(&path));
    assert_eq!(decode_errors(&file), "", "{path}");
    let sent = pictures(source.path());
    let frame = |at: f64| ((at * 30.0 - 0.01).ceil() as usize).min(sent.len());
    let expect = &sent[frame(from)..frame(from + seconds)];
    let shown = pictures(&file);
    assert!(shown == expect, "{path}: {} pictures, {} expected", shown.len(), expect.len());
    let begin = (frame(from) as f64 / 30.0 * 1e6) as i64;
    // RTMP has milliseconds; the source's own edit list moves its sound by less.
    let (video, audio) = (shifts(&file, source, 'v'), shifts(&file, source, 'a'));
    for (kind, (least, most)) in [("picture", video), ("sound", audio)] {
        let off = (least - begin).abs().max((most - begin).abs());
        assert!(off <= 2_000, "{path}: {kind} is {least} to {most} us away, not {begin}");
    }
}

#[test]
fn a_clip_is_the_range_of_what_was_sent_to_the_frame() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(AIRWAVE, &[]);
    let (input, source) = (server.input(), source());
    let mut encoder = source.publish_at(2.0, &input.rtmp, -1);
    let uid = server.wait_live(&input);
    // On the air: a clip has what is there by then, and no cache may keep it.
    let path = format!("/{uid}/clip.mp4?time=0&duration=60s");
    let early = wait_until("something to cut", 20, || {
        let answer = server.get(&path);
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(early.headers["cache-control"], "no-store");
    wait_until("seven seconds", 20, || {
        let list = server.get(&format!("/{uid}/manifest/video.cmaf.m3u8?dvrEnabled=true")).text();
        (list.matches("#EXTINF").count() >= 4).then_some(())
    });
    for id in [&uid, &input.uid] {
        for (from, seconds) in [(1.5, 3.0), (0.0, 2.0), (2.0, 0.5), (3.9, 2.7)] {
            check_clip(folder.path(), &server, id, &source, from, seconds);
        }
    }
    check_preview(folder.path(), &server, &input);
    encoder.kill();
    assert_eq!(
        server
            .api(
                "PUT",
                &format!("/stream/live_inputs/{}", input.uid),
                Some(&json!({ "enabled": false }))
            )
            .status,
        200
    );
    server.wait_ready(&uid);
    // Recorded, the same; in any ranges of bytes, the same.
    for (from, seconds) in [(1.5, 3.0), (0.0, 60.0)] {
        let path = format!("/{uid}/clip.mp4?time={from}s&duration={seconds}s&filename=My-clip");
        if seconds < 60.0 {
            check_clip(folder.path(), &server, &uid, &source, from, seconds);
        }
        check_ranges(&server, &path);
    }
    check_clip_list(folder.path(), &server, &uid, &source);
    check_refusals(&server, &uid);
}

fn check_ranges(server: &Server, path: &str) {
    let whole = server.get(path);
    assert_eq!(whole.headers["content-disposition"], "attachment; filename=\"My-clip.mp4\"");
    assert_eq!(whole.headers["accept-ranges"], "bytes");
    let n = whole.body.len();
    assert_eq!(whole.headers["content-length"], n.to_string());
    let etag = whole.headers["etag"].clone();
    let ranged = |range: &str, more: &[(&str, &str)]| {
        let headers = [&[("range", range)], more].concat();
        request("GET", &server.url(path), &headers, b"")
    };
    for (start, end) in [(0, 0), (0, 100), (1_000, n / 2), (n / 2 + 1, n - 1), (n - 1, n - 1)] {
        let answer = ranged(&format!("bytes={start}-{end}"), &[("if-range", &etag)]);
        assert_eq!(answer.status, 206);
        assert_eq!(answer.headers["content-range"], format!("bytes {start}-{end}/{n}"));
        assert!(answer.body == whole.body[start..=end], "{start}-{end} of {path}");
    }
    assert_eq!(ranged(&format!("bytes={n}-"), &[]).status, 416);
    assert_eq!(ranged("bytes=0-9", &[("if-range", "\"another\"")]).status, 200);
    // RFC 9110 §13: lists of tags, weak ones and dates.
    let weak = format!("W/{etag}");
    let list = format!("\"another\", {weak}");
    for (field, value, status) in [
        ("if-none-match", &*etag, 304),
        ("if-none-match", &list, 304),
        ("if-none-match", "*", 304),
        ("if-none-match", "\"another\"", 200),
        ("if-match", &etag, 200),
        ("if-match", "\"another\"", 412),
    ] {
        let answer = request("GET", &server.url(path), &[(field, value)], b"");
        let body = if status == 200 { n } else { 0 };
        assert_eq!((answer.status, answer.body.len()), (status, body), "{field}: {value}");
        assert_eq!(answer.headers["etag"], etag);
    }
    // §14.2: there are ranges for GET only.
    let head = request("HEAD", &server.url(path), &[("range", "bytes=0-9")], b"");
    assert_eq!((head.status, &head.headers["content-length"]), (200, &n.to_string()));
    for date_or_weak in ["Sun, 06 Nov 1994 08:49:37 GMT", &weak] {
        assert_eq!(ranged("bytes=0-9", &[("if-range", date_or_weak)]).status, 200);
    }
}

/// The last seconds of what is on the air, for choosing a clip.
fn check_preview(folder: &Path, server: &Server, input: &Input) {
    let path = format!("/{}/manifest/video.m3u8?duration=4s&protocol=llhls", input.uid);
    let list = server.get(&path);
    assert_eq!(list.status, 200, "{}", list.text());
    let begin: f64 = list.headers["preview-start-seconds"].parse().unwrap();
    assert_eq!(list.headers["stream-media-id"], server.lifecycle(&input.uid)["videoUID"]);
    let exposed = &list.headers["access-control-expose-headers"];
    assert!(exposed.contains("preview-start-seconds") && exposed.contains("stream-media-id"));
    let text = list.text();
    let media = text.lines().find(|l| l.starts_with("video.cmaf")).unwrap();
    let media = server.get(&server.url(&path).join(media).path).text();
    // Two of two seconds; RTMP's milliseconds may make them a little less, and then it takes a third.
    let length = |line: &str| line.strip_prefix("#EXTINF:")?.strip_suffix(',')?.parse().ok();
    let lengths: Vec<f64> = media.lines().filter_map(length).collect();
    assert!(media.contains("#EXT-X-ENDLIST") && (2..=3).contains(&lengths.len()), "{media}");
    assert_eq!(check(&media), []);
    // What plays there at its beginning is what a clip from there on has. The newest seconds move on: those are named.
    let file = folder.join("preview.mp4");
    let named = text.split("segments=").nth(1).unwrap().split(['&', '"', '\n']).next().unwrap();
    let same = format!("/{}/manifest/video.m3u8?segments={named}", input.uid);
    assert_eq!(server.get(&same).headers["preview-start-seconds"], format!("{begin:.3}"));
    let url = server.url(&same).to_string();
    run(Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y", "-i", &url, "-c", "copy"])
        .arg(&file));
    let seconds: f64 = lengths.iter().sum();
    let path = format!("/{}/clip.mp4?time={begin}s&duration={seconds:.3}s", input.uid);
    let clip = save(folder, "same.mp4", &server.get(&path));
    assert!(pictures(&clip) == pictures(&file), "preview-start-seconds is where it begins");
    for wrong in ["duration=0", "duration=301", "duration=NaN", "duration=-1"] {
        let path = format!("/{}/manifest/video.m3u8?{wrong}", input.uid);
        assert_eq!(server.get(&path).status, 400, "{wrong}");
    }
}

/// The same range in HLS: whole segments, and where to begin.
fn check_clip_list(folder: &Path, server: &Server, uid: &str, source: &Clip) {
    let path = format!("/{uid}/manifest/clip.m3u8?time=3s&duration=4s");
    let text = server.get(&path).text();
    for kind in ["video", "audio"] {
        let at = text.find(&format!("{kind}.cmaf.m3u8")).unwrap_or_else(|| panic!("{text}"));
        let media = text[at..].split(['"', '\n']).next().unwrap();
        let media = server.get(&server.url(&path).join(media).path).text();
        assert_eq!(check(&media), [], "{media}");
        assert_eq!(media.matches("#EXTINF").count(), 3, "from 2 to 8 s: {media}");
        assert!(media.contains("#EXT-X-START:TIME-OFFSET=1.000,PRECISE=YES"), "{media}");
    }
    let file = folder.join("list.mp4");
    let url = server.url(&path).to_string();
    run(Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y", "-i", &url, "-c", "copy"])
        .arg(&file));
    assert!(pictures(source.path())[60..240] == pictures(&file));
    for (query, status) in [("segments=9-1", 400), ("segments=1-9999", 400), ("segments=a-b", 400)]
    {
        let path = format!("/{uid}/manifest/video.cmaf.m3u8?{query}");
        assert_eq!(server.get(&path).status, status, "{query}");
    }
    let none = server.get(&format!("/{uid}/manifest/video.cmaf.m3u8?segments=70000-70001"));
    assert_eq!(none.status, 404, "{}", none.text());
}

fn check_refusals(server: &Server, uid: &str) {
    for (query, status, words) in [
        ("", 400, "duration: how long"),
        ("duration=10", 200, ""),
        ("time=NaN&duration=10", 400, "time: a time such as"),
        ("time=-1&duration=10", 400, "time: a time such as"),
        ("time=1e99&duration=10", 400, "time: a time such as"),
        ("time=99999999999999999999&duration=10", 400, "time: a time such as"),
        ("time=9999999&duration=10", 404, "there is nothing at 9999999.000 s"),
        ("time=0&duration=61", 400, "at most 60 s"),
        ("time=0&duration=0", 400, "more than nothing"),
        ("time=0&duration=1&filename=../x", 400, "filename: letters"),
        ("time=0&duration=1&filename=a&filename=b", 400, "filename: one value"),
        ("time=0&duration=1&FileName=a", 400, "write it as filename"),
    ] {
        let answer = server.get(&format!("/{uid}/clip.mp4?{query}"));
        assert_eq!(
            answer.status,
            status,
            "{query}: {}",
            answer.text().chars().take(80).collect::<String>()
        );
        assert!(status == 200 || answer.text().contains(words), "{query}: {}", answer.text());
    }
    let nobody = "0".repeat(32);
    assert_eq!(server.get(&format!("/{nobody}/clip.mp4?duration=1")).status, 404);
}

/// A video's downloads, as the API has them.
fn downloads(server: &Server, uid: &str, method: &str, kind: &str) -> Value {
    let answer = server.api(method, &format!("/stream/{uid}/downloads{kind}"), None);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["result"].clone()
}

#[test]
fn a_whole_recording_is_a_file_for_who_may_have_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(AIRWAVE, &[]);
    let (input, source) =
        (server.create_input(&json!({ "recording": { "timeoutSeconds": 1 } })), source());
    let mut encoder = source.publish_at(4.0, &input.rtmp, 1);
    // Of another one, which is on the air for as long as this takes.
    let on_air = server.input();
    let live_encoder = source.publish(&on_air.rtmp, -1);
    let live = server.wait_live(&on_air);
    assert_eq!(downloads(&server, &live, "GET", ""), json!({}));
    let created = downloads(&server, &live, "POST", "");
    assert_eq!(created["default"]["status"], "inprogress", "it is on the air: {created}");
    assert_eq!(server.get(&format!("/{live}/downloads/default.mp4")).status, 404);
    drop(live_encoder);
    let uid = server.wait_video(&input, &[]);
    downloads(&server, &uid, "POST", "");
    assert!(encoder.wait(30).success(), "{}", encoder.output());
    let ready = wait_until("the end", 30, || {
        let now = downloads(&server, &uid, "GET", "");
        (now["default"]["status"] == "ready").then_some(now)
    });
    assert_eq!((&ready["default"]["percentComplete"], ready.get("audio")), (&json!(100), None));
    let url = ready["default"]["url"].as_str().unwrap().to_owned();
    let path = url[url.find(&format!("/{uid}/")).unwrap()..].to_owned();
    let answer = server.get(&path);
    assert_eq!(answer.headers["content-disposition"], "attachment; filename=\"default.mp4\"");
    let file = save(folder.path(), "default.mp4", &answer);
    assert!(pictures(&file) == pictures(source.path()), "every picture");
    let hashes = |file: &Path| packets(file, 'a').into_iter().map(|p| p.hash).collect::<Vec<_>>();
    assert!(hashes(&file) == hashes(source.path()), "every sound");
    // The sound alone is a file of its own, once its owner offers it.
    let audio = format!("/{uid}/downloads/audio.m4a?filename=sound");
    assert_eq!(server.get(&audio).status, 404);
    assert_eq!(server.api("GET", &format!("/stream/{uid}/downloads/audio"), None).status, 404);
    assert_eq!(downloads(&server, &uid, "POST", "/audio")["audio"]["status"], "ready");
    let answer = server.get(&audio);
    assert_eq!(answer.headers["content-disposition"], "attachment; filename=\"sound.m4a\"");
    let file = save(folder.path(), "audio.m4a", &answer);
    assert!(hashes(&file) == hashes(source.path()) && decode_errors(&file).is_empty());
    assert_eq!(server.api("POST", &format!("/stream/{uid}/downloads/gif"), None).status, 404);
    // Settings that are edited leave it as it is; taking it back does not.
    let edit = json!({ "meta": { "name": "Renamed" } });
    assert_eq!(server.api("POST", &format!("/stream/{uid}"), Some(&edit)).status, 200);
    assert_eq!(server.get(&audio).status, 200);
    assert_eq!(downloads(&server, &uid, "DELETE", "/audio"), json!(""));
    assert_eq!((server.get(&audio).status, server.get(&path).status), (404, 200));
    assert_eq!(downloads(&server, &uid, "DELETE", ""), json!(""));
    assert_eq!(server.get(&path).status, 404);
    check_links(&server, &uid);
}

/// A link to watch is not one to keep.
fn check_links(server: &Server, uid: &str) {
    downloads(server, uid, "POST", "");
    let locked = json!({ "requireSignedURLs": true });
    assert_eq!(server.api("POST", &format!("/stream/{uid}"), Some(&locked)).status, 200);
    let token = |body: &Value| {
        let answer = server.api("POST", &format!("/stream/{uid}/token"), Some(body));
        answer.json()["result"]["token"].as_str().unwrap().to_owned()
    };
    let (watch, keep) = (token(&json!({})), token(&json!({ "downloadable": true })));
    let files = ["clip.mp4?duration=5s", "downloads/default.mp4"];
    wait_until("the lock", 10, || {
        (server.get(&format!("/{uid}/{}", files[0])).status == 401).then_some(())
    });
    for file in files {
        for (id, status) in [(uid, 401), (&watch, 403), (&keep, 200)] {
            let answer = server.get(&format!("/{id}/{file}"));
            assert_eq!(answer.status, status, "{file}");
            assert!(status != 403 || answer.text().contains("downloadable"), "{}", answer.text());
        }
    }
    for (id, status) in [(uid, 401), (&watch, 200), (&keep, 200)] {
        assert_eq!(server.get(&format!("/{id}/manifest/clip.m3u8?duration=5s")).status, status);
    }
}

/// The encoder is lost and comes back: picture and sound of a clip across it stay together.
#[test]
fn a_clip_across_a_lost_encoder_plays() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(AIRWAVE, &["ingest.reconnect_s=120"]);
    let (input, source) = (server.input(), source());
    let publish = || -> Child { source.publish_at(2.0, &input.rtmp, -1) };
    let segments = |uid: &str| {
        let list = server.get(&format!("/{uid}/manifest/video.cmaf.m3u8?dvrEnabled=true")).text();
        (list.matches("#EXTINF").count(), list.contains("#EXT-X-DISCONTINUITY\n"))
    };
    let mut encoder = publish();
    let uid = server.wait_live(&input);
    wait_until("two segments", 20, || (segments(&uid).0 >= 2).then_some(()));
    encoder.kill();
    let _again = publish();
    let seen = wait_until("what comes after", 30, || {
        let (count, broken) = segments(&uid);
        let before = if broken { count } else { 0 };
        (before >= 5).then_some(count)
    });
    let seconds = seen as f64 * 2.0;
    let path = format!("/{uid}/clip.mp4?time=0.5s&duration={}s", seconds - 2.0);
    let file = save(folder.path(), "across.mp4", &server.get(&path));
    // An encoder that is killed between a picture and those that are shown before it leaves a last one that is shown a little
    // later than the first of the next; ffmpeg's writer, which has a constant rate, says so.
    let errors = decode_errors(&file);
    let errors: Vec<&str> = errors.lines().filter(|line| !line.contains("monoton")).collect();
    assert_eq!(errors, [""; 0]);
    let sent = pictures(source.path());
    let shown = pictures(&file);
    assert!(shown[..20] == sent[15..35], "from where it was asked for");
    let second = shown.iter().skip(20).position(|p| *p == sent[0]).expect("the second round") + 20;
    assert!(shown[second..second + 60] == sent[..60], "and on");
    // In the second round, too, sound and picture are the source's.
    let at = |kind: char, first: usize| {
        let hash = &packets(source.path(), kind)[first];
        let got = packets(&file, kind);
        let found = got.iter().rev().find(|p| p.hash == hash.hash).expect("of the second round");
        hash.present_us - found.present_us
    };
    let off = at('v', 30) - at('a', 50);
    assert!(off.abs() <= 25_000, "sound and picture are {off} us apart");
}

/// Nothing is recorded: what memory has can be cut.
#[test]
fn what_is_not_recorded_is_cut_from_memory() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(AIRWAVE, &[]);
    let (input, source) =
        (server.create_input(&json!({ "recording": { "mode": "off" } })), source());
    let _encoder = source.publish_at(2.0, &input.rtmp, -1);
    let uid = server.wait_live(&input);
    wait_until("four seconds", 20, || {
        let list = server.get(&format!("/{uid}/manifest/video.cmaf.m3u8?dvrEnabled=true")).text();
        (list.matches("#EXTINF").count() >= 3).then_some(())
    });
    check_clip(folder.path(), &server, &uid, &source, 1.0, 3.5);
    assert_eq!(server.get(&format!("/{uid}/downloads/default.mp4")).status, 404);
}
