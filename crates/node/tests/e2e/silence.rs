//! Sound that does not come while pictures do, and pictures that do not come while sound does: players go on, and a recording is as
//! long in both.

use std::process::Command;

use testkit::{Child, Clip, ClipSpec, Input, MediaPlaylist, Server, check, play, skip, wait_until};

use crate::AIRWAVE;

/// Publishes a clip that lacks sound (`a`) or pictures (`v`) at these milliseconds of FLV. The muxer must not wait for them.
fn encode(url: &str, kind: char, missing: &str) -> Child {
    let spec = ClipSpec { size: (640, 360), group: 30, ..ClipSpec::plain("silence", 120) };
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-re", "-i"]).arg(Clip::make(&spec).path());
    command.args(["-c", "copy", "-max_interleave_delta", "100000", "-flush_packets", "1"]);
    command.args([&format!("-bsf:{kind}"), &format!("noise=drop={missing}"), "-f", "flv", url]);
    Child::start(&mut command)
}

/// Its frames are looked at until there are more than came before the sound ended, however long that takes.
#[test]
fn pictures_go_on_without_their_sound_in_a_browser() {
    if skip("browser") {
        return;
    }
    let server = Server::start(AIRWAVE, &["quic.listen=off", "ingest.reconnect_s=0"]);
    let input = server.input();
    let mut encoder = encode(&input.rtmp, 'a', r"between(pts\,5000\,8000)+gt(pts\,11000)");
    let video = server.wait_live(&input);
    let list = |id: &str, track: &str| server.url(&format!("/{id}/manifest/{track}.m3u8"));
    let shown = |player: &str, url: &str, frames: &str| {
        let more = ["--counter", "--source-width", "640", "--settle", "0", "--frames", frames];
        let played = play(url, player, 1, &more);
        assert_eq!(played.size(), (640, 360), "{}", played.0);
    };
    shown("hlsjs", &list(&input.uid, "video").to_string(), "420");
    // Who comes when there is silence only.
    shown("shaka", &list(&input.uid, "video").to_string(), "60");
    shown("airwave", &server.url(&format!("/{}/watch", input.uid)).to_string(), "60");
    check_told(&server, &input, "packaging_silent_frames_total", "frames of silence");
    encoder.terminate();
    encoder.wait(20);
    server.wait_ready(&video);
    check_recording(&server, &video);
}

/// Pictures whose key frames are missing, at the start and behind a hole, and sound before any picture: counted as what they are,
/// and their owner is told how many, why, and since when.
#[test]
fn what_came_and_was_left_out_is_told() {
    let server = Server::start(AIRWAVE, &["quic.listen=off", "ingest.reconnect_s=0"]);
    let input = server.input();
    let before = std::time::SystemTime::now();
    // Groups of a second: twenty pictures without the key frame before them.
    let mut encoder = encode(&input.rtmp, 'v', r"lt(n\,40)");
    server.wait_live(&input);
    let metric = "packaging_pictures_without_key_frame_total";
    wait_until("pictures", 30, || (server.metric(metric) >= 20).then_some(()));
    check_told(&server, &input, metric, "20 pictures were left out");
    let left_out = ["pictures_without_key_frame", "frames_early", "frames_late"];
    let all = left_out.map(|name| server.metric(&format!("packaging_{name}_total")));
    let health = server.api("GET", &format!("/stream/live_inputs/{}", input.uid), None).json();
    let health = &health["result"]["health"];
    assert_eq!(
        (all[0], &health["framesDropped"]),
        (20, &all.iter().sum::<u64>().into()),
        "{health}"
    );
    let words = health["advice"].as_array().unwrap();
    let at =
        words.iter().position(|words| words.as_str().unwrap().starts_with("20 pictures")).unwrap();
    let since = health["adviceSince"][at].as_str().and_then(media::date::parse_date_time).unwrap();
    let before = before.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    assert!((before / 1_000 * 1_000..before + 60_000).contains(&since), "{since} {before}");
    encoder.terminate();
    encoder.wait(20);
}

/// What was made is counted, and its owner is told.
fn check_told(server: &Server, input: &Input, metric: &str, words: &str) {
    assert!(server.metric(metric) > 0, "{metric}");
    let path = format!("/stream/live_inputs/{}", input.uid);
    let found = server.api("GET", &path, None).text();
    assert!(found.contains(words), "{found}");
}

/// The lists keep all rules, and the recording is as long in sound as in pictures.
fn check_recording(server: &Server, video: &str) {
    let lasts = ["video.cmaf", "audio.cmaf"].map(|track| {
        let text = server.get(&format!("/{video}/manifest/{track}.m3u8")).text();
        assert_eq!(check(&text), [], "{text}");
        let segments = MediaPlaylist::parse(&text).unwrap().segments;
        assert!(segments.iter().all(|s| !s.gap && !s.discontinuity), "{text}");
        segments.iter().filter_map(|s| Some(s.file.as_ref()?.0)).sum::<f64>()
    });
    assert!((lasts[0] - lasts[1]).abs() < 0.1, "{lasts:?}");
}

/// Pictures stop for eleven seconds, come back in the midst of a group for six, and stop for good.
#[test]
fn sound_goes_on_without_its_pictures_in_a_browser() {
    if skip("browser") {
        return;
    }
    let server = Server::start(AIRWAVE, &["quic.listen=off", "ingest.reconnect_s=0"]);
    let input = server.input();
    let missing = r"between(pts\,9000\,20500)+gt(pts\,26500)";
    let mut encoder = encode(&input.rtmp, 'v', missing);
    let video = server.wait_live(&input);
    let shown = |player: &str, path: &str, more: &[&str]| {
        let url = server.url(&format!("/{}/{path}", input.uid)).to_string();
        let usual = ["--counter", "--source-width", "640", "--settle", "0"];
        let played = play(&url, player, 1, &[&usual[..], more].concat());
        assert_eq!(played.size(), (640, 360), "{}", played.0);
        played
    };
    // More than came before they stopped and while they stood.
    shown("hlsjs", "manifest/video.m3u8", &["--frames", "340"]);
    // Who comes when the picture stands: three times a second it is shown again.
    shown("airwave", "watch", &["--frames", "20"]);
    shown("dashjs", "manifest/video.mpd", &["--frames", "20"]);
    let metric = "packaging_pictures_shown_again_total";
    check_told(&server, &input, metric, "the last key picture in their place");
    let process = encoder.id().to_string();
    let to_the_end = ["--frames", "20", "--end-by", &process];
    let heard = shown("shaka", "manifest/video.m3u8?protocol=hls", &to_the_end);
    assert!(heard.0["tone"]["levelDb"].as_f64() > Some(-60.0), "{}", heard.0);
    assert_eq!(heard.0["ended"], true, "{}", heard.0);
    encoder.wait(20);
    server.wait_ready(&video);
    check_recording(&server, &video);
    // The replay, to its end.
    let url = server.url(&format!("/{video}/manifest/video.m3u8")).to_string();
    play(&url, "hlsjs", 1, &["--frames", "340", "--settle", "0"]);
}

/// An encoder that has sent pictures for eight seconds comes back without them.
#[test]
fn sound_alone_of_who_comes_back_goes_on_in_a_browser() {
    if skip("browser") {
        return;
    }
    let server = Server::start(AIRWAVE, &["quic.listen=off", "ingest.reconnect_s=60"]);
    let input = server.input();
    let spec = ClipSpec { size: (640, 360), group: 30, ..ClipSpec::plain("back", 60) };
    let clip = Clip::make(&spec);
    let sent = |seconds: &str, more: &[&str]| {
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-re", "-t", seconds, "-i"]).arg(clip.path()).args(more);
        Child::start(command.args(["-c", "copy", "-flush_packets", "1", "-f", "flv", &input.rtmp]))
    };
    let first = sent("60", &[]);
    let video = server.wait_live(&input);
    let path = format!("/{video}/manifest/video.cmaf.m3u8");
    let newest = || {
        let list = MediaPlaylist::parse(&server.get(&path).text()).ok()?;
        list.segments.iter().rfind(|s| s.file.is_some() && !s.gap).map(|s| s.number)
    };
    let before = wait_until("pictures", 30, || newest().filter(|n| *n > 3));
    // Without a goodbye.
    drop(first);
    let mut second = sent("40", &["-vn"]);
    wait_until("pictures that stand", 40, || newest().filter(|n| *n > before + 4));
    let text = server.get(&path).text();
    assert_eq!(check(&text), [], "{text}");
    let url = server.url(&format!("/{}/watch", input.uid)).to_string();
    let more = ["--counter", "--source-width", "640", "--settle", "0", "--frames", "20"];
    for player in ["hlsjs", "airwave"] {
        let played = play(&url, player, 1, &more);
        assert_eq!(played.size(), (640, 360), "{}", played.0);
        assert!(played.0["tone"]["levelDb"].as_f64() > Some(-60.0), "{}", played.0);
    }
    second.terminate();
    second.wait(20);
}
