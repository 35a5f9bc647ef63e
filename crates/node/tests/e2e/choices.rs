//! What viewers choose in our player in Chromium: the language of the sound, and how far back they look.

use std::process::Command;

use testkit::{Child, Clip, ClipSpec, MediaPlaylist, Server, browser_script, skip, wait_until};

use crate::AIRWAVE;
use crate::moq_program::address;

/// A minute of a picture and two tones, of which each is in a language of its own. The file.
fn in_two_languages(folder: &tempfile::TempDir) -> String {
    let file = folder.path().join("languages.mp4").display().to_string();
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=30"]);
    for tone in ["1000", "2000"] {
        command.args(["-f", "lavfi", "-i", &format!("sine=frequency={tone}:sample_rate=48000")]);
    }
    command.args(["-map", "0:v", "-map", "1:a", "-map", "2:a", "-t", "60", "-c:v", "libx264"]);
    command.args(["-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "60", "-c:a", "aac"]);
    command.args(["-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=deu", &file]);
    let mut encoder = Child::start(&mut command);
    let status = encoder.wait(120);
    assert!(status.success(), "{}", encoder.output());
    file
}

/// A file says which languages are spoken in it: over MoQ that gets into every list.
#[test]
fn languages_and_what_lies_back_are_chosen_in_chromium() {
    if skip("browser") || skip("codecs") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = in_two_languages(&folder);
    let server = Server::start(AIRWAVE, &[]);
    let past = Server::start(AIRWAVE, &["quic.listen=off"]);
    let clip = Clip::make(&ClipSpec::plain("leafed", 10));
    let before = past.input();
    let _before = clip.publish(&before.rtmp, -1);
    let [spoken, raw] = [server.input(), server.input()];
    let mut publishers = Vec::new();
    for (input, packaging) in [(&spoken, "cmaf"), (&raw, "loc")] {
        let to = address(&server, &input.key, &input.uid);
        let mut publish = Command::new(AIRWAVE);
        publish.args([
            "publish",
            &file,
            "--loop",
            "--insecure",
            "--packaging",
            packaging,
            "--to",
            &to,
        ]);
        publishers.push(Child::start(&mut publish));
        server.wait_live(input);
        let list = format!("/{}/manifest/video.m3u8", input.uid);
        let text = wait_until("both sounds", 60, || {
            let text = server.get(&list).text();
            (text.matches("TYPE=AUDIO").count() == 2).then_some(text)
        });
        for said in ["NAME=\"en\",LANGUAGE=\"en\"", "NAME=\"de\",LANGUAGE=\"de\""] {
            assert!(text.contains(said), "{packaging}: {text}");
        }
        let mpd = server.get(&format!("/{}/manifest/video.mpd", input.uid)).text();
        assert!(mpd.contains(" lang=\"en\"") && mpd.contains(" lang=\"de\""), "{mpd}");
    }
    let list = format!("/{}/manifest/video.cmaf.m3u8?dvrEnabled=true", before.uid);
    wait_until("half a minute", 120, || {
        let playlist = MediaPlaylist::parse(&past.get(&list).text()).ok()?;
        (playlist.segments.len() > 15).then_some(())
    });

    let mut node = browser_script("check-choices.mjs");
    let url = |server: &Server| format!("http://{}", server.url("").authority);
    node.args(["--server", &url(&server), "--id", &spoken.uid, "--tones", "1000,2000"]);
    node.args(["--names", "English,German"]);
    node.args(["--past", &url(&past), "--past-id", &before.uid]);
    let mut node = Child::start(&mut node);
    let status = node.wait(470);
    assert!(status.success(), "check-choices.mjs: {status}\n{}", node.output());
}
