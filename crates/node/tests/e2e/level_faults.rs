//! Encoders that crash, frames that are none, and hardware that is not there: what viewers and owners see of it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use testkit::{Child, Clip, ClipSpec, Follower, Response, Server, Url, request, wait_until};

use crate::AIRWAVE;
use crate::levels::{LADDER, with_levels};

/// Segments of a second.
fn short_groups() -> Clip {
    Clip::make(&ClipSpec { group: 30, ..ClipSpec::plain("short-groups", 90) })
}

fn list(server: &Server, id: &str, name: &str) -> testkit::Url {
    server.url(&format!("/{id}/manifest/{name}.m3u8"))
}

/// The program that was built, started by this script.
pub(crate) fn scripted(folder: &Path, script: &str) -> String {
    let real = Path::new(AIRWAVE).with_file_name("airwave-encode");
    let path = folder.join("scripted");
    let script = script.replace("REAL", &real.display().to_string());
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// It dies in the middle of each segment: whoever wants that of a level hears that there is none, the original plays.
#[test]
fn an_encoder_that_crashes_each_time_costs_its_levels_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let crashes = "case $1 in work) /usr/bin/head -c 6000 | REAL work;; *) exec REAL \"$@\";; esac";
    let program = format!("encode.program={:?}", scripted(folder.path(), crashes));
    let server = Server::start(AIRWAVE, &[LADDER, "hls.segment_ms=1000", &*program]);
    let input = server.input();
    let _publisher = short_groups().publish(&input.rtmp, -1);
    server.wait_live(&input);
    with_levels(&server, &input.uid);
    let mut original = Follower::new(list(&server, &input.uid, "video.cmaf"));
    while original.segments.len() < 2 {
        original.reload();
    }
    let level = list(&server, &input.uid, "video.96p.cmaf");
    let newest = request("GET", &level, &[], b"");
    assert_eq!(newest.status, 200, "{}", newest.text());
    let text = newest.text();
    let uri = text.lines().rfind(|line| line.ends_with(".m4s")).unwrap();
    for _ in 0..3 {
        let refused = answered(&level.join(uri));
        let again = refused.headers.get("retry-after").cloned();
        assert_eq!((refused.status, again.as_deref()), (503, Some("30")), "{}", refused.text());
        assert_eq!(refused.text(), "this segment can't be encoded: watch the original\n");
    }
    assert_eq!(server.metric("encoder_jobs_lost_total"), 2, "each attempt is counted");
    assert_eq!(server.metric("level_segments_encoded_total"), 0);
    let before = original.segments.len();
    while original.segments.len() < before + 2 {
        original.reload();
    }
    assert_eq!(server.admin("/readyz").status, 200);
}

/// What is answered of a segment once its encoders are not busy any more, which they may be on a slow machine.
fn answered(url: &Url) -> Response {
    wait_until("an encoder", 60, || {
        let answer = request("GET", url, &[], b"");
        let busy = answer.headers.get("retry-after").is_some_and(|s| s == "1");
        (!busy).then_some(answer)
    })
}

/// The clip with other bytes in the place of some frames, whose lengths stay: what a fuzzer leaves of it. Of three groups the first
/// is whole, the second lacks ten frames, of the third there is nothing.
fn spoilt(clip: &Clip, folder: &Path) -> std::path::PathBuf {
    let file = bytes::Bytes::from(std::fs::read(clip.path()).unwrap());
    let mut other = file.to_vec();
    let movie = media::mp4::demux(&file).unwrap();
    let is_video =
        |track: &&media::mp4::Track| matches!(track.config, media::codec::Config::Video(_));
    let track = movie.tracks.iter().find(is_video).unwrap();
    let mut state = 0x9e37_79b9_u32;
    let is_spoilt = |n: usize| matches!(n % 90, 40..50 | 60..90);
    let samples = track.samples.iter().enumerate().filter(|(n, _)| is_spoilt(*n));
    for (n, sample) in samples {
        // The head of each unit is left, so that it goes where frames go.
        let mut unit = sample.range.start;
        while unit + 5 < sample.range.end {
            let length = u32::from_be_bytes(other[unit..unit + 4].try_into().unwrap()) as usize;
            let payload = &mut other[unit + 5..unit + 4 + length];
            for byte in payload.iter_mut() {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = (state >> 24) as u8 | 1;
            }
            // Type 30 is no type of a slice: nothing is made up in its place.
            if n % 90 >= 60 && payload.len() > 2 {
                payload[..2].copy_from_slice(&[0x87, 0xff]);
            }
            unit += 4 + length;
        }
    }
    let path = folder.join("spoilt.mp4");
    std::fs::write(&path, other).unwrap();
    path
}

/// A viewer of a level has each segment, or hears that it is none; the others have what they had.
#[test]
fn frames_that_a_fuzzer_made_cost_their_segments_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(AIRWAVE, &[LADDER, "hls.segment_ms=1000"]);
    let clip = short_groups();
    let (bad, good) = (server.input(), server.input());
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "quiet", "-readrate", "1", "-stream_loop", "-1", "-i"]);
    command.arg(spoilt(&clip, folder.path()));
    command.args(["-c", "copy", "-f", "flv", &bad.rtmp]);
    let _publishers = [Child::start(&mut command), clip.publish(&good.rtmp, -1)];
    for input in [&bad, &good] {
        server.wait_live(input);
        with_levels(&server, &input.uid);
    }
    let mut original = Follower::new(list(&server, &bad.uid, "video.cmaf"));
    while original.segments.len() < 7 {
        original.reload();
    }
    let level = list(&server, &bad.uid, "video.96p.cmaf");
    let text = request("GET", &level, &[], b"").text();
    let mut answers = Vec::new();
    for uri in text.lines().filter(|line| line.ends_with(".m4s")).take(6) {
        let answer = answered(&level.join(uri));
        let again = answer.headers.get("retry-after").cloned();
        match answer.status {
            200 => assert!(!answer.body.is_empty(), "{uri}"),
            status => assert_eq!((status, again.as_deref()), (503, Some("30")), "{uri}"),
        }
        answers.push(answer.status);
    }
    assert_eq!(answers.len(), 6, "{text}");
    // Two rounds of three groups, wherever the list begins.
    let none: Vec<bool> = answers.iter().map(|status| *status == 503).collect();
    assert_eq!(none.iter().filter(|none| **none).count(), 2, "{answers:?}");
    assert_eq!(none[..3], none[3..], "{answers:?}");
    assert!(server.metric("level_frames_broken_total") > 0, "the incident is counted");
    assert_eq!(server.metric("encoder_jobs_lost_total"), 0, "no process is lost to it");
    // Those who are well.
    let mut others = Follower::of_level(list(&server, &good.uid, "video.96p.cmaf"));
    while others.segments.len() < 2 {
        others.reload();
    }
    assert_eq!(server.admin("/readyz").status, 200);
}

/// The program, on a machine whose hardware is not there when it is tried.
pub(crate) fn without_card(folder: &Path) -> String {
    let tried = "echo 'there is no card' >&2; exit 1";
    scripted(folder, &format!("case $1 in --try) {tried};; *) exec REAL \"$@\";; esac"))
}

/// Flips `encode.workers` and `encode.encoder`. Where there is no such hardware software does it, and whoever looks reads so.
#[test]
fn hardware_that_is_not_there_is_said_by_its_name_and_software_does_it() {
    let clip = short_groups();
    for name in ["vaapi", "nvenc", "qsv", "v4l2"] {
        let configured = format!("encode.encoder={name}");
        let settings = [LADDER, "encode.workers=1", "hls.segment_ms=1000", &*configured];
        let mut server = Server::start(AIRWAVE, &settings);
        let input = server.input();
        let _publisher = clip.publish(&input.rtmp, -1);
        server.wait_live(&input);
        with_levels(&server, &input.uid);
        let mut follower = Follower::of_level(list(&server, &input.uid, "video.96p.cmaf"));
        while follower.reload().segments.len() < 2 {}
        assert_eq!(server.metric("encoder_processes"), 1, "{name}: one worker");
        if server.child().output().contains("levels are encoded by hardware") {
            continue;
        }
        let words = format!("the encoder {name} does not work here, libx264 does it: ");
        let ready = server.admin("/readyz");
        assert_eq!(ready.status, 200, "{name}: {}", ready.text());
        let input = server.api("GET", &format!("/stream/live_inputs/{}", input.uid), None).json();
        let complaint = input["result"]["ladderComplaint"].as_str().unwrap_or_default();
        let why = complaint.strip_prefix(&words).unwrap_or_default();
        assert!(why.len() > 10 && !why.contains("panicked"), "{name}: {input}");
        assert!(ready.text().contains(complaint), "{name}: {}", ready.text());
        wait_until("the log", 10, || server.child().output().contains(complaint).then_some(()));
    }
}

/// A program that is not there yet, goes away, and comes back: all who look read so, and nobody needs to start the server anew.
#[test]
fn a_program_that_goes_away_is_missed_aloud_and_comes_back_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (there, away) = (folder.path().join("airwave-encode"), folder.path().join("away"));
    std::fs::copy(Path::new(AIRWAVE).with_file_name("airwave-encode"), &away).unwrap();
    let program = format!("encode.program={:?}", there.display().to_string());
    let more = ["encode.pictures=true", "encode.linger_s=1", "encode.cache_gb=0"];
    let settings = [LADDER, "hls.segment_ms=1000", &*program];
    let mut server = Server::start(AIRWAVE, &[&settings[..], &more[..]].concat());
    let input = server.input();
    let _publisher = short_groups().publish(&input.rtmp, -1);
    server.wait_live(&input);
    let path = format!("/stream/live_inputs/{}", input.uid);
    let why = format!("there is no {}", there.display());
    let words = format!(
        "no levels of quality and no thumbnails: viewers get what the encoder sends ({why})"
    );
    let complaint = |server: &Server| {
        let input = server.api("GET", &path, None).json();
        input["result"]["ladderComplaint"].as_str().map(str::to_owned)
    };
    let said = |server: &mut Server| server.child().output().matches(&*why).count();
    wait_until("what is missing", 30, || {
        (complaint(&server).as_ref() == Some(&words)).then_some(())
    });
    std::fs::rename(&away, &there).unwrap();
    with_levels(&server, &input.uid);
    assert_eq!((complaint(&server), said(&mut server)), (None, 1));
    // Of the newest segment each time: nobody has made that one.
    let level = list(&server, &input.uid, "video.96p.cmaf");
    let newest = || {
        let text = request("GET", &level, &[], b"").text();
        let uri = text.lines().rfind(|line| line.ends_with(".m4s")).unwrap().to_owned();
        answered(&level.join(&uri))
    };
    let until = |status: u16| {
        wait_until("the level's answer", 60, || {
            let answer = newest();
            (answer.status == status).then_some(answer)
        })
    };
    until(200);
    for _ in 0..2 {
        std::fs::rename(&there, &away).unwrap();
        // Who is at work goes on to the end.
        let idle = || (server.metric("encoder_processes") == 0).then_some(());
        wait_until("no encoder to run", 30, idle);
        let refused = until(503);
        assert_eq!(refused.text(), "there is no encoder now: watch the original\n");
        assert_eq!(refused.headers["retry-after"], "5");
        let told = || (complaint(&server).as_ref() == Some(&words)).then_some(());
        wait_until("the complaint", 30, told);
        let ready = server.admin("/readyz");
        assert_eq!((ready.status, ready.text()), (200, format!("ready, but {words}\n")));
        let picture = server.get(&format!("/{}/thumbnails/thumbnail.jpg", input.uid));
        assert_eq!((picture.status, picture.text().trim()), (503, "there is no encoder now"));
        // Its levels stay listed: it is away for a moment, mostly.
        with_levels(&server, &input.uid);
        std::fs::rename(&away, &there).unwrap();
        until(200);
        assert_eq!((complaint(&server), server.admin("/readyz").text()), (None, "ready\n".into()));
    }
    // Once each time, however many segments were asked for.
    assert_eq!(said(&mut server), 3);
    assert_eq!(server.child().output().matches("is there again").count(), 2);
}
