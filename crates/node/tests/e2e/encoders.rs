//! Encoders that come, go, come back and fight.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use io_rtmp::push::{Message, Options, Push};
use rtmp::client::Target;
use serde_json::json;
use testkit::{
    Child, Clip, ClipSpec, Follower, Server, check_hints, check_versions, play, skip, wait_until,
};

use crate::AIRWAVE;

/// Reloads until `done`, at most as often as a playlist of a minute changes.
fn follow_until(follower: &mut Follower, what: &str, done: impl Fn(&Follower) -> bool) {
    for _ in 0..300 {
        follower.reload();
        if done(follower) {
            return;
        }
        assert!(!follower.newest.ended, "the broadcast ended before {what}");
    }
    panic!("no {what}");
}

fn discontinuities(follower: &Follower) -> usize {
    follower.segments.values().filter(|(s, _)| s.discontinuity).count()
}

fn video_of(server: &Server, uid: &str) -> Follower {
    Follower::new(server.url(&format!("/{uid}/manifest/video.cmaf.m3u8")))
}

fn both_of(server: &Server, uid: &str) -> [Follower; 2] {
    let list = |track| server.url(&format!("/{uid}/manifest/{track}.m3u8"));
    ["video.cmaf", "audio.cmaf"].map(|track| Follower::new(list(track)))
}

/// Reloads the lists of pictures and of sound, one after the other, until it is so in both.
fn follow_both(both: &mut [Follower; 2], what: &str, done: impl Fn(&Follower) -> bool) {
    for _ in 0..300 {
        for follower in both.iter_mut() {
            follower.reload();
        }
        if both.iter().all(&done) {
            return;
        }
        assert!(!both.iter().any(|f| f.newest.ended), "the broadcast ended before {what}");
    }
    panic!("no {what}");
}

/// Another encoder goes on after the first in both lists, which have the same numbers: behind one discontinuity in one place, no
/// number twice and none left out, and no time goes back.
fn check_one_break(both: &mut [Follower; 2]) {
    follow_both(both, "a discontinuity", |f| discontinuities(f) == 1);
    let at = both.iter().map(|f| f.segments.len()).max().unwrap();
    follow_both(both, "two more segments", |f| f.segments.len() >= at + 2);
    let breaks = both.each_ref().map(|follower| {
        assert_eq!(discontinuities(follower), 1, "one discontinuity");
        assert!(follower.numbers().len() >= at + 2, "no number twice, none left out");
        check_times_rise(follower);
        assert_eq!(check_versions(&follower.versions), []);
        assert_eq!(check_hints(&follower.versions), []);
        let broken = follower.segments.values().find(|(segment, _)| segment.discontinuity);
        broken.unwrap().0.number
    });
    assert_eq!(breaks[0], breaks[1], "the discontinuity is in one place");
}

#[test]
fn a_wrong_key_is_refused_in_words() {
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let port = server.addresses["rtmp"].as_str().unwrap().to_owned();
    let cases = [
        (format!("rtmp://{port}/live/wrong"), "stream key is not known"),
        (format!("rtmp://{port}/live/{}x", input.key), "stream key is not known"),
    ];
    for (url, words) in cases {
        let mut encoder = clip.publish(&url, 1);
        assert!(!encoder.wait(10).success());
        assert!(encoder.output().contains(words), "{}", encoder.output());
    }
    let disabled = server.create_input(&json!({ "enabled": false }));
    let mut encoder = clip.publish(&disabled.rtmp, 1);
    assert!(!encoder.wait(10).success());
    assert!(encoder.output().contains("disabled"), "{}", encoder.output());
    assert_eq!(server.metric("rtmp_publishes_refused_total"), 3);
}

/// The encoder's own log says what its owner did, and the input's status afterwards.
#[test]
fn an_encoder_that_is_sent_away_is_told_why() {
    let server = Server::start(AIRWAVE, &[]);
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let off = json!({ "enabled": false });
    for (method, more, body, words, reason) in [
        (
            "POST",
            "/rotate_keys",
            None,
            "the stream key of this input was changed",
            "key was changed",
        ),
        ("PUT", "", Some(&off), "this input was disabled", "disabled while it was on the air"),
        ("DELETE", "", None, "this input was deleted", ""),
    ] {
        let input = server.input();
        let mut encoder = clip.publish(&input.rtmp, -1);
        let video = server.wait_live(&input);
        // Of what is shorter nothing is kept, nor why it ended.
        follow_until(&mut video_of(&server, &video), "a segment", |f| !f.segments.is_empty());
        let path = format!("/stream/live_inputs/{}", input.uid);
        assert_eq!(server.api(method, &format!("{path}{more}"), body).status, 200);
        assert!(!encoder.wait(20).success());
        assert!(encoder.output().contains(words), "{words} in {}", encoder.output());
        if reason.is_empty() {
            continue;
        }
        let current = wait_until("the end in the status", 10, || {
            let status = server.api("GET", &path, None).json()["result"]["status"].clone();
            let current = status["current"].clone();
            (current["state"] == "client_disconnect" && current["reason"].is_string())
                .then_some(current)
        });
        assert!(current["reason"].as_str().unwrap().contains(reason), "{current}");
        assert!(current["statusEnteredAt"].as_str().unwrap().starts_with("20"), "{current}");
    }
}

#[test]
fn a_stranger_who_guesses_keys_is_told_to_wait() {
    let server = Server::start(AIRWAVE, &[]);
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let port = server.addresses["rtmp"].as_str().unwrap().to_owned();
    // He has ten, and one more for each six seconds that he needs for them.
    let told = (0..60).position(|guess| {
        let mut encoder = clip.publish(&format!("rtmp://{port}/live/guess{guess}"), 1);
        encoder.wait(60);
        let words = encoder.output();
        words.contains("too many attempts")
    });
    assert!(told >= Some(10), "told to wait after {told:?} guesses");
    // Who has a key does not pay for a neighbour behind the same address.
    let input = server.input();
    let _encoder = clip.publish(&input.rtmp, -1);
    server.wait_live(&input);
}

#[test]
fn an_encoder_that_vanishes_and_comes_back_goes_on_with_the_same_video() {
    let server = Server::start(AIRWAVE, &["ingest.reconnect_s=120"]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let mut first = clip.publish(&input.rtmp, -1);
    let video = server.wait_live(&input);
    let mut both = both_of(&server, &video);
    follow_both(&mut both, "two segments", |f| f.segments.len() >= 2);
    first.kill();
    let _second = clip.publish(&input.rtmp, -1);
    check_one_break(&mut both);
    assert_eq!(server.lifecycle(&input.uid)["videoUID"], video.as_str(), "the same video");
}

/// His sound comes at once, his pictures four seconds later: longer than sound waits.
#[test]
fn an_encoder_whose_pictures_come_late_comes_back_once() {
    let server = Server::start(AIRWAVE, &["ingest.reconnect_s=120"]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let mut first = clip.publish(&input.rtmp, -1);
    let video = server.wait_live(&input);
    let mut pictures = video_of(&server, &video);
    let sound = server.url(&format!("/{video}/manifest/audio.cmaf.m3u8"));
    let mut sound = Follower::new(sound);
    follow_until(&mut pictures, "two segments", |f| f.segments.len() >= 2);
    sound.reload();
    first.kill();
    let mut command = Command::new("ffmpeg");
    for late in ["0", "4"] {
        command.args(["-v", "error", "-readrate", "1", "-stream_loop", "-1", "-itsoffset", late]);
        command.arg("-i").arg(clip.path());
    }
    command.args(["-map", "1:v", "-map", "0:a", "-c", "copy", "-f", "flv", &input.rtmp]);
    let _second = Child::start(&mut command);
    let back = |f: &Follower| {
        let broken = f.newest.segments.iter().rposition(|s| s.discontinuity);
        broken.is_some_and(|at| f.newest.segments[at..].iter().filter(|s| !s.gap).count() >= 3)
    };
    let mut breaks = [BTreeMap::new(), BTreeMap::new()];
    while !(back(&pictures) && back(&sound)) {
        for (follower, breaks) in [&mut pictures, &mut sound].into_iter().zip(&mut breaks) {
            let mut sequence = follower.reload().discontinuity_sequence;
            for segment in &follower.newest.segments {
                sequence += u64::from(segment.discontinuity);
                breaks.insert(segment.number, sequence);
            }
        }
    }
    let [seen, heard] = &breaks;
    assert_eq!(seen.values().max(), Some(&1), "{seen:?}");
    for (number, sequence) in seen {
        assert_eq!(heard.get(number).unwrap_or(sequence), sequence, "{number}: {seen:?} {heard:?}");
    }
    let gaps = |f: &Follower| f.newest.segments.iter().filter(|s| s.gap).count();
    // What the pictures had left behind the last cut is a number that sound lacks.
    assert!(gaps(&pictures) > 0 && gaps(&sound) <= 1, "{:?}", pictures.newest);
    for follower in [&pictures, &sound] {
        assert_eq!(check_versions(&follower.versions), []);
    }
    assert_eq!(server.lifecycle(&input.uid)["videoUID"], video.as_str(), "the same video");
}

/// Decode times of all segments' first fragments rise: nothing goes back across a discontinuity.
fn check_times_rise(follower: &Follower) {
    let mut last = 0;
    for (number, (_, bytes)) in &follower.segments {
        let at = bytes.windows(4).position(|w| w == b"tfdt").unwrap();
        let time = u64::from_be_bytes(bytes[at + 8..at + 16].try_into().unwrap());
        assert!(time > last, "segment {number} at {time} after {last}");
        last = time;
    }
}

#[test]
fn a_goodbye_is_for_good_unless_the_input_says_to_wait() {
    // What is waited for in vain is waited for to the end of this test.
    let mut server = Server::start(AIRWAVE, &["ingest.reconnect_s=600"]);
    let fields = |seconds: u32| json!({ "recording": { "timeoutSeconds": seconds } });
    let (patient, strict) = (server.create_input(&fields(600)), server.create_input(&fields(0)));
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let mut goodbyes = 0;
    let mut leave = |server: &mut Server, encoder: &mut Child| {
        encoder.signal("INT");
        encoder.wait(20);
        goodbyes += 1;
        wait_until("a goodbye", 20, || {
            let told = server.child().output().matches("it said goodbye").count();
            (told == goodbyes).then_some(())
        });
    };

    let mut encoder = clip.publish(&patient.rtmp, -1);
    let video = server.wait_live(&patient);
    let mut follower = video_of(&server, &video);
    follow_until(&mut follower, "two segments", |f| f.segments.len() >= 2);
    leave(&mut server, &mut encoder);
    for id in [&patient.uid, &video] {
        let lifecycle = server.lifecycle(id);
        assert_eq!((&lifecycle["live"], &lifecycle["videoUID"]), (&json!(true), &json!(video)));
    }
    let state = server.api("GET", &format!("/stream/{video}"), None).json();
    assert_eq!(state["result"]["status"]["state"], "live-inprogress", "{state}");
    let _encoder = clip.publish(&patient.rtmp, -1);
    let at = follower.segments.len();
    follow_until(&mut follower, "two segments more", |f| {
        f.segments.len() >= at + 2 && discontinuities(f) > 0
    });
    assert_eq!(server.lifecycle(&patient.uid)["videoUID"], video.as_str(), "the same video");
    assert_eq!(discontinuities(&follower), 1);
    follower.numbers();
    check_times_rise(&follower);

    let mut encoder = clip.publish(&strict.rtmp, -1);
    let video = server.wait_live(&strict);
    let mut follower = video_of(&server, &video);
    follow_until(&mut follower, "a segment", |f| !f.segments.is_empty());
    leave(&mut server, &mut encoder);
    server.wait_ready(&video);
    let lifecycle = server.lifecycle(&strict.uid);
    assert_eq!(lifecycle["live"], false, "{lifecycle}");
}

#[test]
fn an_encoder_that_does_not_come_back_ends_the_broadcast() {
    let server = Server::start(AIRWAVE, &["ingest.reconnect_s=1"]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let mut encoder = clip.publish(&input.rtmp, -1);
    let video = server.wait_live(&input);
    let mut follower = video_of(&server, &video);
    follow_until(&mut follower, "a segment", |f| !f.segments.is_empty());
    encoder.kill();
    wait_until("the end of the broadcast", 20, || follower.reload().ended.then_some(()));
    assert_eq!(server.lifecycle(&input.uid)["live"], false);

    // The next broadcast is another video, and its numbers go on above.
    let _again = clip.publish(&input.rtmp, -1);
    let next = server.wait_live(&input);
    assert_ne!(next, video);
    let mut second = video_of(&server, &next);
    follow_until(&mut second, "a segment", |f| !f.segments.is_empty());
    assert!(second.segments.keys().next() > follower.segments.keys().next_back());
}

#[test]
fn the_latest_encoder_wins_and_the_loser_does_not_fight() {
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let mut first = clip.publish(&input.rtmp, -1);
    let video = server.wait_live(&input);
    let mut both = both_of(&server, &video);
    follow_both(&mut both, "two segments", |f| f.segments.len() >= 2);
    let mut second = clip.publish(&input.rtmp, -1);
    assert!(!first.wait(20).success(), "the first one is shown the door");
    let mut third = clip.publish(&input.rtmp, 1);
    assert!(!third.wait(20).success());
    assert!(third.output().contains("another encoder has taken over"), "{}", third.output());
    check_one_break(&mut both);
    assert!(second.ended().is_none(), "the second one is live");
    assert_eq!(server.lifecycle(&input.uid)["videoUID"], video.as_str());
}

/// Flips `ingest.takeover`.
#[test]
fn the_first_encoder_stays_if_the_owner_wants_it_so() {
    let server = Server::start(AIRWAVE, &["ingest.takeover=first"]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let mut first = clip.publish(&input.rtmp, -1);
    let video = server.wait_live(&input);
    let mut second = clip.publish(&input.rtmp, 1);
    assert!(!second.wait(60).success(), "the second one is turned away");
    assert!(second.output().contains("already live"), "{}", second.output());
    assert!(first.ended().is_none(), "{}", first.output());
    assert_eq!(server.lifecycle(&input.uid)["videoUID"], video.as_str());
}

#[test]
fn a_codec_that_is_not_carried_is_named() {
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let told = runtime.block_on(async {
        let options = Options { seed: [7; 32], four_ccs: Vec::new(), tls: None };
        let mut push =
            Push::connect(Target::parse(&input.rtmp).unwrap(), options).await.expect("let in");
        let payload = Bytes::from_static(&[0x12, 0, 0, 0]);
        push.send(Message { kind: rtmp::Kind::Video, timestamp: 0, payload }).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        push.wait_until(deadline).await.expect_err("sent away").to_string()
    });
    assert!(told.contains("Sorenson H.263 is not supported: send H.264, HEVC"), "{told}");
    assert_eq!(server.metric("rtmp_publishes_unusable_total"), 1);
    assert_eq!(server.metric("rtmp_publishes_refused_total"), 0);
    assert_eq!(server.lifecycle(&input.uid)["live"], false);
}

/// x264 as OBS has it: a key frame at each scene cut too, and two seconds after the last one at the latest.
#[test]
fn segments_begin_with_the_key_frames_of_scene_cuts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cuts.flv").display().to_string();
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-f", "lavfi", "-i"]);
    // Another picture every 1.3 s and 1.9 s.
    command.arg("testsrc2=s=320x180:r=30,negate=enable='lt(mod(t,3.2),1.3)'");
    command.args(["-f", "lavfi", "-i", "sine=frequency=1000:sample_rate=48000", "-t", "30"]);
    command.args(["-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-g", "60"]);
    command.args(["-pix_fmt", "yuv420p", "-c:a", "aac", &file]);
    let mut made = Child::start(&mut command);
    assert!(made.wait(120).success(), "{}", made.output());
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-re", "-i", &file, "-c", "copy", "-f", "flv"]);
    let mut encoder = Child::start(command.arg(&input.rtmp));
    let video = server.wait_live(&input);
    let list = format!("/{video}/manifest/video.cmaf.m3u8?dvrEnabled=true");
    assert!(encoder.wait(120).success(), "{}", encoder.output());
    let text = wait_until("the end", 60, || {
        let text = server.get(&list).text();
        text.contains("#EXT-X-ENDLIST").then_some(text)
    });
    assert!(text.contains("#EXT-X-INDEPENDENT-SEGMENTS"), "{text}");
    let segments = text.matches("#EXTINF").count();
    assert!((15..=30).contains(&segments), "{segments} of 30 s: {text}");
}

#[test]
fn an_encoder_that_vanishes_and_comes_back_is_seen_and_heard_in_browsers() {
    watched_over(&["hlsjs", "airwave", "shaka"], &["-c:v", "copy"], |first, publish| {
        first.kill();
        publish()
    });
}

/// Shaka loads an initialisation segment only with a part that can be decoded alone.
#[test]
fn an_encoder_that_comes_back_with_another_size_is_seen_and_heard_in_browsers() {
    let larger = ["-vf", "scale=640:-2", "-c:v", "libx264", "-preset", "ultrafast", "-g", "30"];
    watched_over(&["airwave", "shaka"], &larger, |first, publish| {
        first.kill();
        publish()
    });
}

#[test]
fn an_encoder_that_takes_over_is_seen_and_heard_in_browsers() {
    watched_over(&["hlsjs", "airwave", "shaka"], &["-c:v", "copy"], |first, publish| {
        let second = publish();
        assert!(!first.wait(60).success(), "the first one is shown the door");
        second
    });
}

/// Players that have shown frames of a first encoder go on to those of a second one, by themselves: it sends other pictures, and
/// another tone, and `picture` is what it makes of the clip.
fn watched_over(
    players: &[&str],
    picture: &[&str],
    change: impl Fn(&mut Child, &dyn Fn() -> Child) -> Child,
) {
    if skip("browser") {
        return;
    }
    let clip = Clip::make(&ClipSpec { group: 30, ..ClipSpec::plain("two-encoders", 240) });
    let server = Server::start(AIRWAVE, &["quic.listen=off", "ingest.reconnect_s=120"]);
    for player in players {
        let input = server.input();
        let mut first = clip.publish(&input.rtmp, 1);
        // Two minutes into the clip: a frame that is so far behind the first one that was shown is of this encoder.
        let publish = || {
            let mut command = Command::new("ffmpeg");
            command.args(["-v", "error", "-readrate", "1", "-ss", "120", "-i"]).arg(clip.path());
            command.args(["-readrate", "1", "-f", "lavfi", "-i", "sine=2000:sample_rate=48000"]);
            command.args(["-map", "0:v", "-map", "1:a"]).args(picture);
            command.args(["-c:a", "aac", "-ac", "2"]);
            Child::start(command.args(["-shortest", "-f", "flv", &input.rtmp]))
        };
        let video = server.wait_live(&input);
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("shown");
        let url = server.url(&format!("/{}/watch", input.uid)).to_string();
        let more = ["--counter", "--source-width", "320", "--settle", "0", "--frames", "30"];
        let until = ["--span", "2400", "--mark", mark.to_str().unwrap()];
        let played = std::thread::scope(|scope| {
            let playing = scope.spawn(|| play(&url, player, 1, &[&more[..], &until].concat()));
            wait_until("frames of the first encoder", 120, || {
                (mark.exists() || playing.is_finished()).then_some(())
            });
            let _second = change(&mut first, &publish);
            playing.join().unwrap()
        });
        let seen = &played.0;
        let frames = &seen["counter"];
        assert_eq!((&frames["backwards"], &seen["jumpsBack"]), (&json!(0), &json!(0)), "{seen}");
        let last_hz = seen["lastToneHz"].as_f64().unwrap_or(0.0);
        assert!((last_hz - 2_000.0).abs() < 50.0, "{player}: {last_hz} Hz: {seen}");
        // hls.js tells that its buffer ran out, how it went over what is missing between the two, and where a number was left out, as the
        // index was told late on a busy machine; shaka-player that its index is empty
        // where the encoder is away for longer than the list lasts (docs/protocols/hls.md).
        let errors = crate::browser::errors(seen);
        let goes_on = |e: &&&str| match *player {
            "hlsjs" => e.starts_with("mediaError buffer") || e.starts_with("mediaError fragGap"),
            "shaka" => {
                e.starts_with("shaka TypeError: Cannot read properties of null (reading 'next')")
            }
            _ => false,
        };
        let faults: Vec<_> = errors.iter().filter(|e| !goes_on(e)).collect();
        assert!(faults.is_empty(), "{player}: {faults:?}");
        assert_eq!(server.lifecycle(&input.uid)["videoUID"], video.as_str(), "the same video");
        eprintln!("{player}: frames {} to {}, {}", frames["first"], frames["last"], seen["stalls"]);
    }
}
