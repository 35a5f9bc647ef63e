//! Sound that does not come, while pictures do: players show them, and a recording is as long in both.

use std::process::Command;

use testkit::{Child, Clip, ClipSpec, MediaPlaylist, Server, check, play, skip};

use crate::AIRWAVE;

/// Publishes a clip whose sound is missing from 5 to 8 s and from 11 s on, in the milliseconds of FLV. The muxer must not
/// wait for it.
fn encode(url: &str) -> Child {
    let spec = ClipSpec { size: (640, 360), group: 30, ..ClipSpec::plain("silence", 120) };
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-re", "-i"]).arg(Clip::make(&spec).path());
    command.args(["-c", "copy", "-max_interleave_delta", "100000", "-flush_packets", "1"]);
    let missing = r"noise=drop=between(pts\,5000\,8000)+gt(pts\,11000)";
    command.args(["-bsf:a", missing, "-f", "flv", url]);
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
    let mut encoder = encode(&input.rtmp);
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
    encoder.terminate();
    encoder.wait(20);
    server.wait_ready(&video);

    let lasts = ["video.cmaf", "audio.cmaf"].map(|track| {
        let text = server.get(&format!("/{video}/manifest/{track}.m3u8")).text();
        assert_eq!(check(&text), [], "{text}");
        let segments = MediaPlaylist::parse(&text).unwrap().segments;
        assert!(segments.iter().all(|s| !s.gap && !s.discontinuity), "{text}");
        segments.iter().filter_map(|s| Some(s.file.as_ref()?.0)).sum::<f64>()
    });
    assert!((lasts[0] - lasts[1]).abs() < 0.1, "{lasts:?}");
}
