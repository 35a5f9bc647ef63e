//! `airwave watch`: it sees what is there, and what it records is what was sent.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use testkit::{Child, Clip, ClipSpec, Server, decode_errors, packets};

use crate::AIRWAVE;
use crate::live::check_same;

fn watch(url: &str, more: &[&str]) -> Child {
    Child::start(Command::new(AIRWAVE).args(["watch", url]).args(more))
}

fn outcome(mut program: Child) -> (i32, String) {
    let status = program.wait(90);
    (status.code().unwrap_or(-1), program.output())
}

/// Every line of `--json`; the last one is the summary.
fn reports(output: &str) -> Vec<Value> {
    output.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
}

fn publish(clip: &Path, url: &str) -> Child {
    Child::start(Command::new(AIRWAVE).arg("publish").arg(clip).args(["--to", url]))
}

#[test]
fn what_is_published_is_recorded_packet_by_packet() {
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("got.mp4");
    let page = server.url(&format!("/{}/watch", input.uid)).to_string();
    let program = watch(&page, &["--wait", "--json", "--record", file.to_str().unwrap()]);
    let mut publisher = publish(clip.path(), &input.rtmp);
    let video = server.wait_video(&input, &[]);
    let (code, output) = outcome(program);
    assert_eq!(code, 0, "{output}");
    assert!(publisher.wait(20).success(), "{}", publisher.output());

    assert_eq!(decode_errors(&file), "", "all tracks of one file decode");
    for kind in ['v', 'a'] {
        check_same(&packets(clip.path(), kind), &packets(&file, kind), kind);
    }
    let lines = reports(&output);
    assert!(lines.len() > 2, "a line a second: {output}");
    let summary = &lines.last().unwrap()["summary"];
    assert_eq!(summary["recorded"][0], file.to_str().unwrap());
    let [picture, sound] = &summary["tracks"].as_array().unwrap()[..] else { panic!("{summary}") };
    let near = |v: &Value, expect: f64, by: f64| (v.as_f64().unwrap() - expect).abs() <= by;
    assert_eq!(picture["name"], "video");
    assert_eq!((picture["width"].as_u64(), picture["frames"].as_u64()), (Some(320), Some(360)));
    assert!(near(&picture["framesPerSecond"], 30.0, 0.2), "{picture}");
    assert!(near(&picture["seconds"], 12.0, 0.1), "{picture}");
    assert_eq!(picture["keyFrames"], 6);
    assert_eq!(sound["sampleRate"], 48_000);
    for track in [picture, sound] {
        for nothing in ["lost", "holes", "gaps", "discontinuities", "timeJumps"] {
            assert_eq!(track[nothing], 0, "{nothing}: {track}");
        }
        assert!(track["parts"].as_u64() > Some(0), "live, part by part: {track}");
        // How near it is to live is for the bench.
        assert!(track["latencyMs"].is_number(), "{track}");
    }

    // The recording of the server is the same, segment by segment.
    let again = folder.path().join("again.mp4");
    let url = server.url(&format!("/{video}/manifest/video.m3u8")).to_string();
    let (code, output) = outcome(watch(&url, &["--record", again.to_str().unwrap()]));
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("6 segments and 0 parts, nothing lost"), "{output}");
    for kind in ['v', 'a'] {
        check_same(&packets(clip.path(), kind), &packets(&again, kind), kind);
    }
}

#[test]
fn an_encoder_that_comes_back_is_a_discontinuity_and_another_size_another_file() {
    let server = Server::start(AIRWAVE, &["ingest.reconnect_s=120"]);
    let input = server.input();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("got.mp4");
    let url = server.url(&format!("/{}", input.uid)).to_string();
    let mut program = watch(&url, &["--wait", "--record", file.to_str().unwrap()]);
    let small = Clip::make(&ClipSpec::plain("short", 4));
    let large = Clip::make(&ClipSpec { size: (640, 360), ..ClipSpec::plain("large", 4) });
    // Killed, so that the broadcast is waited for.
    let mut first = Child::start(Command::new(AIRWAVE).arg("publish").arg(small.path()).args([
        "--to",
        &input.rtmp,
        "--loop",
    ]));
    server.wait_live(&input);
    let list = format!("/{}/manifest/video.cmaf.m3u8", input.uid);
    let mut follower = testkit::Follower::new(server.url(&list));
    while follower.reload().segments.iter().filter(|s| s.file.is_some()).count() < 2 {}
    first.kill();
    let mut second = publish(large.path(), &input.rtmp);
    let status = program.wait(60);
    let output = program.output();
    assert!(status.success(), "{output}");
    assert!(second.wait(10).success(), "{}", second.output());
    let other = folder.path().join("got-2.mp4");
    assert!(output.contains("recorded in 2 files"), "{output}");
    assert!(output.contains("1 discontinuities"), "{output}");
    assert!(!output.contains("could not be loaded"), "{output}");
    assert_eq!((decode_errors(&file), decode_errors(&other)), (String::new(), String::new()));
    check_same(&packets(large.path(), 'v'), &packets(&other, 'v'), 'v');
    // Sound from before the first picture belongs to no segment of the new picture.
    let hashes = |file: &Path| packets(file, 'a').into_iter().map(|p| p.hash).collect::<Vec<_>>();
    let (sent, got) = (hashes(large.path()), hashes(&other));
    assert!(sent.ends_with(&got) && sent.len() - got.len() <= 2, "{} of {}", got.len(), sent.len());
}

#[test]
fn https_with_a_certificate_of_ones_own_and_an_end_on_request() {
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let _encoder = clip.publish(&input.rtmp, -1);
    server.wait_live(&input);
    let url = format!("https://{}/{}", server.addresses["https"].as_str().unwrap(), input.uid);
    let (code, output) = outcome(watch(&url, &["--for", "60"]));
    assert_eq!(code, 1, "{output}");
    for word in ["TLS", "--ca FILE", "--insecure"] {
        assert!(output.contains(word), "{word} in {output}");
    }
    let certificate = server.data().join("self-signed.pem");
    // It ends by itself; where it needs longer to begin, it is given longer.
    let seen = ["3", "10", "30"].into_iter().find_map(|seconds| {
        let more = ["--json", "--for", seconds, "--ca", certificate.to_str().unwrap()];
        let (code, output) = outcome(watch(&url, &more));
        assert!(code == 0 || !output.contains("certificate"), "{output}");
        let summary = reports(&output).pop().map(|mut last| last["summary"].take());
        summary.filter(|summary| code == 0 && summary["tracks"][0]["frames"].as_u64() > Some(0))
    });
    let seen = seen.expect("it has seen something");
    let [picture, sound] = &seen["tracks"].as_array().unwrap()[..] else { panic!("{seen}") };
    assert_eq!((&picture["width"], &sound["sampleRate"]), (&320.into(), &48_000.into()), "{seen}");
    let mut program = watch(&url, &["--insecure"]);
    // Two rows of what it sees, of two tracks.
    testkit::wait_until("two rows", 60, || {
        (program.output().matches("bit/s").count() >= 4).then_some(())
    });
    program.signal("INT");
    assert_eq!(program.wait(60).code(), Some(0), "{}", program.output());
    assert!(program.output().contains("watched for 00:00:"), "{}", program.output());
}

#[test]
fn what_can_not_be_watched_is_said_in_words() {
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let at = |path: &str| server.url(path).to_string();
    let table: [(&str, i32, &str); 6] = [
        (&at(&format!("/{}", input.uid)), 1, "nothing is on the air"),
        (&at("/00000000000000000000000000000000"), 1, "answers 404"),
        (&at("/"), 2, "names no broadcast"),
        ("http://127.0.0.1:1/ID", 1, "can't connect to 127.0.0.1:1: Connection refused"),
        (
            "rtmp://127.0.0.1/live/KEY",
            2,
            "RTMP is not there yet; http:// and https:// (HLS) and moqt:// are",
        ),
        ("ID", 2, "write http(s)://HOST/ID"),
    ];
    for (url, code, words) in table {
        let (got, output) = outcome(watch(url, &["--for", "60"]));
        assert_eq!(got, code, "{output}");
        assert!(output.contains(words), "{words} in {output}");
    }
}
