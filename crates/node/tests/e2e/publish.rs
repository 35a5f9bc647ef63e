//! `airwave publish`: what it sends arrives, and what it can't send it says.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Child, Clip, ClipSpec, Server, free_address, listens, packets, wait_until};

use crate::AIRWAVE;
use crate::live::{check_same, follow_to_the_end, received};

fn publish(file: &Path, url: &str, more: &[&str]) -> Child {
    let mut command = Command::new(AIRWAVE);
    Child::start(command.arg("publish").arg(file).args(["--to", url]).args(more))
}

fn ffmpeg(arguments: &[&str]) {
    let mut ffmpeg =
        Child::start(Command::new("ffmpeg").args(["-v", "error", "-y"]).args(arguments));
    assert!(ffmpeg.wait(60).success(), "{}", ffmpeg.output());
}

/// Runs to its end; what it said.
fn outcome(mut program: Child) -> (i32, String) {
    let status = program.wait(30);
    (status.code().unwrap_or(-1), program.output())
}

fn short() -> Clip {
    Clip::make(&ClipSpec::plain("short", 4))
}

/// The clip in other forms.
fn converted(folder: &Path, name: &str, options: &[&str]) -> PathBuf {
    let file = folder.join(name);
    let clip = short();
    let mut arguments = vec!["-i", clip.path().to_str().unwrap(), "-c", "copy"];
    arguments.extend(options);
    arguments.push(file.to_str().unwrap());
    ffmpeg(&arguments);
    file
}

#[test]
fn files_and_pipes_arrive_packet_by_packet() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["-movflags", "frag_keyframe+empty_moov+default_base_moof"];
    let fragmented = converted(folder.path(), "fragmented.mp4", &flags);
    let flv = converted(folder.path(), "clip.flv", &[]);
    let server = Server::start(AIRWAVE, &[]);
    let from_pipe = |file: &Path, url: &str| {
        let mut command = Command::new(AIRWAVE);
        Child::start_reading(command.args(["publish", "-", "--to", url]), File::open(file).unwrap())
    };
    let from_file = |file: &Path, url: &str| publish(file, url, &[]);
    let clip = short();
    type Way<'a> = &'a (dyn Fn(&Path, &str) -> Child + Sync);
    let ways: [(&str, &Path, Way<'_>); 5] = [
        ("progressive", clip.path(), &from_file),
        ("fragmented", &fragmented, &from_file),
        ("fragmented pipe", &fragmented, &from_pipe),
        ("flv", &flv, &from_file),
        ("flv pipe", &flv, &from_pipe),
    ];
    std::thread::scope(|scope| {
        for (name, file, publish) in ways {
            let server = &server;
            scope.spawn(move || {
                let input = server.input();
                let mut program = publish(file, &input.rtmp);
                let video = server.wait_video(&input, &[]);
                let followed = follow_to_the_end(server, &video);
                assert!(program.wait(20).success(), "{name}: {}", program.output());
                let output = program.output();
                assert!(output.contains("sent 00:00:04 in 309 frames"), "{name}: {output}");
                assert!(!output.contains(&input.key), "{output}");
                let folder = tempfile::tempdir().unwrap();
                for (kind, follower) in ['v', 'a'].into_iter().zip(&followed) {
                    let got = received(folder.path(), follower, kind);
                    check_same(&packets(short().path(), kind), &got, kind);
                }
            });
        }
    });
}

/// Somebody else's server: FFmpeg takes one encoder and writes down what it sends.
#[test]
fn a_file_is_published_to_another_server_packet_by_packet() {
    let folder = tempfile::tempdir().unwrap();
    let got = folder.path().join("got.mkv");
    let url = format!("rtmp://{}/live/somebodys-key", free_address());
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-listen", "1", "-i", &url, "-c", "copy"]);
    let mut server = Child::start(command.arg(&got));
    wait_until("FFmpeg to listen", 20, || listens(server.id()));
    let (code, output) = outcome(publish(short().path(), &url, &[]));
    assert_eq!(code, 0, "{output}\n{}", server.output());
    assert!(output.contains("sent 00:00:04 in 309 frames"), "{output}");
    assert!(server.wait(20).success(), "{}", server.output());
    for kind in ['v', 'a'] {
        check_same(&packets(short().path(), kind), &packets(&got, kind), kind);
    }
}

#[test]
fn a_loop_has_no_seam_and_ends_in_good_order_when_asked() {
    // 4.8 s: 120 frames at 25 fps are as long as 225 of sound.
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("loop.mp4");
    ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=320x180:r=25",
        "-f",
        "lavfi",
        "-i",
        "sine=sample_rate=48000",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-g",
        "24",
        "-sc_threshold",
        "0",
        "-bf",
        "2",
        "-frames:v",
        "48",
        "-c:a",
        "aac",
        "-frames:a",
        "90",
        clip.to_str().unwrap(),
    ]);
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let mut program = publish(&clip, &input.rtmp, &["--loop"]);
    server.wait_live(&input);
    let mut video =
        testkit::Follower::new(server.url(&format!("/{}/manifest/video.cmaf.m3u8", input.uid)));
    // Three rounds of 1.92 s.
    while video.reload().segments.iter().filter(|s| s.file.is_some()).count() < 3 {}
    program.signal("INT");
    assert_eq!(program.wait(20).code(), Some(0), "{}", program.output());
    while !video.reload().ended {}
    assert!(video.segments.values().all(|(s, _)| !s.discontinuity && !s.gap));
    let file = folder.path().join("got.mp4");
    let map = video.inits.keys().next().unwrap();
    std::fs::write(&file, video.file(map)).unwrap();
    let times: Vec<i64> = {
        let mut times: Vec<i64> = packets(&file, 'v').iter().map(|p| p.present_us).collect();
        times.sort_unstable();
        times
    };
    assert!(times.len() > 100, "{}", times.len());
    // It ends where it was asked to: a picture that was sent ahead of those shown before it may be the last one.
    let steps = times[..times.len() - 1].windows(2).map(|w| w[1] - w[0]);
    assert!(
        steps.clone().all(|step| (step - 40_000).abs() < 1_500),
        "{:?}",
        steps.collect::<Vec<_>>()
    );
}

#[test]
fn a_server_with_a_certificate_of_its_own_is_trusted_on_request_only() {
    let server = Server::start(AIRWAVE, &[]);
    let clip = Clip::make(&ClipSpec::plain("tiny", 1));
    let address = server.addresses["rtmps"].as_str().unwrap();
    let certificate = server.data().join("self-signed.pem");
    let certificate = certificate.to_str().unwrap();
    let check = |more: &[&str], expect: i32| {
        let input = server.input();
        let url = format!("rtmps://{address}/live/{}", input.key);
        let (code, output) = outcome(publish(clip.path(), &url, more));
        assert_eq!(code, expect, "{output}");
        output
    };
    let refused = check(&[], 1);
    for word in ["TLS", "certificate", "--ca FILE", "--insecure", "self-signed.pem"] {
        assert!(refused.contains(word), "{word} in {refused}");
    }
    check(&["--insecure"], 0);
    check(&["--ca", certificate], 0);
    let other = Server::start(AIRWAVE, &[]);
    let other = other.data().join("self-signed.pem");
    assert!(check(&["--ca", other.to_str().unwrap()], 1).contains("--ca FILE"));
    assert!(check(&["--ca", "/nonexistent.pem"], 1).contains("can't read /nonexistent.pem"));
}

#[test]
fn what_can_not_be_sent_is_said_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let matroska = converted(folder.path(), "it's.mkv", &[]);
    let prores = folder.path().join("prores.mov");
    let prores_name = prores.to_str().unwrap();
    ffmpeg(&["-f", "lavfi", "-i", "testsrc2=s=64x64:r=5:d=1", "-c:v", "prores_ks", prores_name]);
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let clip = short();
    let missing = folder.path().join("missing.mp4");
    let wrong_key = input.rtmp.replace(&input.key, "wrong");
    let nobody = "rtmp://127.0.0.1:1/live/KEY";
    let table: [(&Path, &str, i32, &str); 7] = [
        (&matroska, &input.rtmp, 1, "is Matroska or WebM; MP4 and FLV are read."),
        (&matroska, &input.rtmp, 1, "it'\\''s.mkv' -c copy -f mp4 -movflags frag_keyframe"),
        (&prores, &input.rtmp, 1, "has video in ProRes, which can't be sent"),
        (&missing, &input.rtmp, 1, "No such file"),
        (clip.path(), "srt://127.0.0.1:8890?streamid=KEY", 2, "SRT is not there yet"),
        (clip.path(), nobody, 1, "can't connect to 127.0.0.1:1: Connection refused"),
        (clip.path(), &wrong_key, 1, "the server refused: "),
    ];
    for (file, url, code, words) in table {
        let (got, output) = outcome(publish(file, url, &[]));
        assert_eq!(got, code, "{output}");
        assert!(output.contains(words), "{words} in {output}");
        assert!(!output.contains(&input.key), "{output}");
    }
    // A progressive file out of a pipe.
    let mut command = Command::new(AIRWAVE);
    command.args(["publish", "-", "--to", &input.rtmp]);
    let (code, output) =
        outcome(Child::start_reading(&mut command, File::open(clip.path()).unwrap()));
    assert_eq!(code, 1);
    assert!(output.contains("is an MP4 that is not fragmented"), "{output}");
}

#[test]
fn a_publish_that_the_server_ends_says_why() {
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let mut program = publish(short().path(), &input.rtmp, &["--loop"]);
    server.wait_live(&input);
    let path = format!("/stream/live_inputs/{}", input.uid);
    server.api("PUT", &path, Some(&serde_json::json!({ "enabled": false })));
    let status = wait_until("the end", 20, || program.ended());
    assert_eq!(status.code(), Some(1));
    program.wait(5);
    let output = program.output();
    assert!(
        output.contains("the server refused: ") || output.contains("the server closed"),
        "{output}"
    );
}
