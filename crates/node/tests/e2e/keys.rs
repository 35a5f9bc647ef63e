//! Each key of the configuration, flipped: what it changes is seen from outside. A rule of the repository wants a test for
//! every key; some stand where their subject is.

use std::net::TcpStream;
use std::process::Command;

use serde_json::Value;
use testkit::{Child, Clip, ClipSpec, Follower, Server, free_address, wait_until};

use crate::AIRWAVE;

fn run(arguments: &[&str]) -> (i32, String) {
    let mut child = Child::start(Command::new(AIRWAVE).args(arguments));
    let status = child.wait(20);
    (status.code().unwrap_or(-1), child.output())
}

/// Flips `data.dir`.
#[test]
fn the_data_directory() {
    let server = Server::start(AIRWAVE, &[]);
    let dir = format!("data.dir={}", server.data().display());
    assert_eq!(run(&["token", "--set", &dir]), (0, format!("{}\n", server.token)));
}

/// A listener that is off is not there; else it is where the key says.
fn check_listener(key: &str) {
    let name = key.strip_suffix(".listen").unwrap();
    let free = free_address().to_string();
    let server = Server::start(AIRWAVE, &[&format!("{key}={free}")]);
    assert_eq!(server.addresses[name], free.as_str());
    assert!(TcpStream::connect(&free).is_ok());
    drop(server);
    let server = Server::start(AIRWAVE, &[&format!("{key}=off")]);
    assert_eq!(server.addresses[name], Value::Null);
    assert!(TcpStream::connect(&free).is_err());
}

/// Flips `http.listen`.
#[test]
fn the_http_listener() {
    check_listener("http.listen");
}

/// Flips `https.listen`.
#[test]
fn the_https_listener() {
    check_listener("https.listen");
}

/// Flips `rtmp.listen`.
#[test]
fn the_rtmp_listener() {
    check_listener("rtmp.listen");
}

/// Flips `rtmps.listen`.
#[test]
fn the_rtmps_listener() {
    check_listener("rtmps.listen");
}

/// Flips `admin.listen`.
#[test]
fn the_admin_listener() {
    check_listener("admin.listen");
}

/// Flips `quic.listen`.
#[test]
fn the_quic_listener() {
    for (setting, on) in [("quic.listen=127.0.0.1:0", true), ("quic.listen=off", false)] {
        let server = Server::start(AIRWAVE, &[setting]);
        let hash = server.get("/certificate.sha256");
        assert_eq!(server.addresses["quic"].is_string(), on, "{}", server.addresses);
        assert_eq!(hash.status, if on { 200 } else { 404 }, "{}", hash.text());
        let made = server.api("POST", "/stream/live_inputs", Some(&serde_json::json!({}))).json();
        assert_eq!(made["result"]["moq"].is_object(), on, "{made}");
    }
}

/// Flips `tls.certificate` and `tls.key`.
#[test]
fn certificates_are_those_of_the_files_and_must_belong_together() {
    let [one, two] = [(); 2].map(|()| Server::start(AIRWAVE, &[]));
    let file = |server: &Server, name: &str| server.data().join(name).display().to_string();
    let certificate = format!("tls.certificate={}", file(&one, "self-signed.pem"));
    let key = format!("tls.key={}", file(&one, "self-signed.key"));
    let server = Server::start(AIRWAVE, &[&certificate, &key]);
    let address = server.addresses["https"].as_str().unwrap();
    let url = format!("https://{address}/00000000000000000000000000000000");
    let trusts = |ca: &str| {
        let (_, output) = run(&["watch", &url, "--ca", ca]);
        assert!(output.contains("answers 404") != output.contains("TLS"), "{output}");
        output.contains("answers 404")
    };
    assert!(trusts(&file(&one, "self-signed.pem")) && !trusts(&file(&two, "self-signed.pem")));
    let other = format!("tls.key={}", file(&two, "self-signed.key"));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let mut serve = vec!["serve", "--data", data, "--set", &certificate, "--set", &other];
    for listener in [
        "http.listen=127.0.0.1:0",
        "https.listen=127.0.0.1:0",
        "rtmp.listen=127.0.0.1:0",
        "rtmps.listen=127.0.0.1:0",
        "quic.listen=127.0.0.1:0",
        "admin.listen=127.0.0.1:0",
    ] {
        serve.extend(["--set", listener]);
    }
    let (code, output) = run(&serve);
    assert_eq!(code, 2, "{output}");
    assert!(output.contains("the certificate and the key do not belong together"), "{output}");
}

/// Flips `public.host`.
#[test]
fn the_host_in_urls() {
    let server = Server::start(AIRWAVE, &["public.host=live.example.org"]);
    let made = server.api("POST", "/stream/live_inputs", Some(&serde_json::json!({}))).json();
    let result = &made["result"];
    for url in [&result["rtmps"]["url"], &result["playback"]["hls"]] {
        assert!(url.as_str().unwrap().contains("//live.example.org"), "{result}");
    }
}

/// The first media playlist of a broadcast with key frames every second.
fn playlist(setting: &str) -> String {
    let server = Server::start(AIRWAVE, &[setting]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec { group: 30, ..ClipSpec::plain("short-groups", 10) });
    let _encoder = clip.publish(&input.rtmp, -1);
    server.wait_live(&input);
    server.get(&format!("/{}/manifest/video.cmaf.m3u8", input.uid)).text()
}

/// Flips `hls.part_ms`.
#[test]
fn the_length_of_parts() {
    let list = playlist("hls.part_ms=200");
    assert!(list.contains("PART-TARGET=0.200"), "{list}");
}

/// Flips `hls.segment_ms`.
#[test]
fn the_length_of_segments() {
    let list = playlist("hls.segment_ms=4000");
    assert!(list.contains("#EXT-X-TARGETDURATION:4\n"), "{list}");
    assert!(list.contains("#EXTINF:4.0"), "{list}");
}

/// Flips `retention.min_free_gb`.
#[test]
fn the_floor_of_free_space() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start_in(AIRWAVE, &data, &["retention.min_free_gb=0"]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec::plain("tiny", 1));
    let mut encoder = clip.publish(&input.rtmp, 1);
    let uid = server.wait_video(&input, &[]);
    assert!(encoder.wait(20).success());
    wait_until("the end", 20, || (server.lifecycle(&uid)["live"] == false).then_some(()));
    drop(server);
    // No disk has so much: whatever is kept is too much.
    let server = Server::start_in(AIRWAVE, &data, &["retention.min_free_gb=1000000"]);
    wait_until("retention", 20, || {
        (server.get(&format!("/{uid}/lifecycle")).status == 404).then_some(())
    });
}

fn metric(server: &Server, name: &str) -> u64 {
    let authority = server.addresses["admin"].as_str().unwrap().to_owned();
    let url = testkit::Url { authority, path: "/metrics".to_owned() };
    let text = testkit::request("GET", &url, &[], b"").text();
    let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_else(|| panic!("{text}"));
    line.trim().parse().unwrap()
}

/// Flips `limits.cache_mb`.
#[test]
fn the_memory_for_live_media() {
    let spec = ClipSpec { size: (640, 360), group: 30, ..ClipSpec::plain("past-short", 12) };
    let clip = Clip::make(&spec);
    for (mib, all) in [(2, false), (64, true)] {
        let server =
            Server::start(AIRWAVE, &[&format!("limits.cache_mb={mib}"), "hls.segment_ms=1000"]);
        assert_eq!(metric(&server, "airwave_media_cache_limit_bytes "), mib << 20);
        let input = server.input();
        let _encoder = clip.publish_at(4.0, &input.rtmp, -1);
        server.wait_live(&input);
        let list = format!("/{}/manifest/video.cmaf.m3u8?dvrEnabled=true", input.uid);
        let mut follower = Follower::new(server.url(&list));
        let came = |follower: &Follower| -> u64 {
            follower.segments.values().map(|(_, bytes)| bytes.len() as u64).sum()
        };
        while came(&follower) < 8 << 20 {
            follower.reload();
        }
        let kept = metric(&server, "airwave_media_cache_bytes ");
        assert_eq!(kept > 8 << 20, all, "{kept} bytes in memory, with {mib} MiB");
    }
}

const LADDER: &str = "encode.ladder=[\"96p\"]";

/// The newest segment of a level that is listed; made now, or before.
fn level_segment(server: &Server, id: &str) -> Vec<u8> {
    let list = format!("/{id}/manifest/video.96p.cmaf.m3u8");
    let uri = wait_until("a segment of the level to be listed", 30, || {
        let answer = server.get(&list);
        let text = answer.text();
        let listed = text.lines().filter(|_| answer.status == 200);
        let mut uris = listed.filter(|line| !line.is_empty() && !line.starts_with('#'));
        uris.next_back().map(str::to_owned)
    });
    let answer = testkit::request("GET", &server.url(&list).join(&uri), &[], b"");
    assert_eq!(answer.status, 200, "{uri}: {}", answer.text());
    answer.body
}

/// Flips `encode.cache_gb`.
#[test]
fn the_disk_for_levels() {
    let clip = Clip::make(&ClipSpec::plain("tiny", 1));
    for (setting, kept) in [("encode.cache_gb=1", 1), ("encode.cache_gb=0", 0)] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let start = || Server::start_in(AIRWAVE, &data, &[LADDER, setting]);
        let mut server = start();
        let input = server.input();
        let mut encoder = clip.publish(&input.rtmp, 1);
        let video = server.wait_video(&input, &[]);
        assert!(encoder.wait(20).success(), "{}", encoder.output());
        server.wait_ready(&video);
        let made = level_segment(&server, &video);
        assert_eq!(server.metric("level_segments_encoded_total"), 1);
        // What is on its way to the disk is there when the server has stopped, or not at all: here it is waited for.
        let folder = data.join("levels").join(&video);
        let files = || std::fs::read_dir(&folder).into_iter().flatten().flatten().count();
        if kept == 1 {
            wait_until("the segment on the disk", 20, || (files() == 1).then_some(()));
        }
        server.child().terminate();
        server.child().wait(20);
        assert_eq!(files(), kept, "{setting}");
        drop(server);
        let server = start();
        assert!(level_segment(&server, &video) == made, "{setting}: the same bytes");
        let counted = ["level_segments_from_disk_total", "level_segments_encoded_total"];
        let counted = counted.map(|name| server.metric(name) as usize);
        assert_eq!(counted, [kept, 1 - kept], "{setting}");
    }
}

/// Flips `encode.linger_s`.
#[test]
fn how_long_a_level_goes_on_after_its_last_viewer() {
    let settings = [LADDER, "hls.segment_ms=4000", "encode.linger_s=60"];
    let server = Server::start(AIRWAVE, &settings);
    let input = server.input();
    let clip = Clip::make(&ClipSpec { group: 30, ..ClipSpec::plain("short-groups", 90) });
    let _encoder = clip.publish(&input.rtmp, -1);
    server.wait_live(&input);
    let made = || server.metric("level_segments_encoded_total");
    level_segment(&server, &input.uid);
    // Of four seconds each: those that begin within 12 s, as it is by default, are three.
    let then = made();
    wait_until("more than is made by default for who has gone", 90, || {
        (made() >= then + 6).then_some(())
    });
}

/// Flips `limits.broadcasts`.
#[test]
fn the_number_of_broadcasts() {
    let server = Server::start(AIRWAVE, &["limits.broadcasts=1"]);
    let (one, two) = (server.input(), server.input());
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let _first = clip.publish(&one.rtmp, -1);
    server.wait_live(&one);
    let (code, output) = run(&["publish", clip.path().to_str().unwrap(), "--to", &two.rtmp]);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("as many broadcasts as it may hold"), "{output}");
}

/// Flips `log.format`.
#[test]
fn the_form_of_the_log() {
    let mut server = Server::start(AIRWAVE, &["log.format=json"]);
    server.input();
    let line = wait_until("a line", 10, || {
        server
            .child()
            .output()
            .lines()
            .find(|l| l.contains("live input created"))
            .map(str::to_owned)
    });
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["message"], "live input created");
}

/// Flips `log.level`.
#[test]
fn the_level_of_the_log() {
    for (level, expect) in [("log.level=info", true), ("log.level=error", false)] {
        let mut server = Server::start(AIRWAVE, &[level]);
        server.input();
        server.child().terminate();
        server.child().wait(20);
        let log = server.child().output();
        assert_eq!(log.contains("live input created"), expect, "{level}: {log}");
    }
}
