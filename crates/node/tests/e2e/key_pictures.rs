//! Lists of key pictures: each entry is one picture that a decoder shows, live and recorded.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use testkit::{Server, check_key_pictures, request, wait_until};

use crate::AIRWAVE;
use crate::clips::{pictures, source};
use crate::codecs::run;

/// The pictures that a list names, as a decoder sees each of them alone.
fn shown(server: &Server, path: &str, folder: &Path) -> Vec<String> {
    let list = server.get(path);
    assert_eq!(list.status, 200, "{path}: {}", list.text());
    let (entries, broken) = check_key_pictures(&list.text());
    assert_eq!(broken, [], "{}", list.text());
    let url = server.url(path);
    let mut hashes = Vec::new();
    for entry in entries {
        let Some(uri) = entry.uri else { continue };
        let (at, bytes) = entry.range;
        let range = format!("bytes={at}-{}", at + bytes - 1);
        let part = request("GET", &url.join(&uri), &[("range", &range)], b"");
        assert_eq!((part.status, part.body.len() as u64), (206, bytes), "{uri}");
        assert_eq!(&part.body[4..8], b"moof");
        let init = request("GET", &url.join(&entry.map), &[], b"");
        let file = folder.join("picture.mp4");
        std::fs::write(&file, [init.body, part.body].concat()).unwrap();
        let mut command = Command::new("ffmpeg");
        command.args(["-nostdin", "-v", "fatal", "-i"]).arg(&file);
        let text = run(command.args(["-map", "0:v:0", "-frames:v", "1", "-f", "framemd5", "-"]));
        let row = text.lines().find(|l| !l.starts_with('#')).unwrap_or_else(|| panic!("{uri}"));
        hashes.push(row.rsplit(',').next().unwrap().trim().to_owned());
    }
    hashes
}

#[test]
fn each_entry_is_a_picture_that_can_be_shown_alone() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(AIRWAVE, &[]);
    let input = server.create_input(&json!({ "recording": { "timeoutSeconds": 1 } }));
    let source = source();
    let mut encoder = source.publish_at(2.0, &input.rtmp, 1);
    let uid = server.wait_video(&input, &[]);
    let path = format!("/{uid}/manifest/video.cmaf.iframes.m3u8");
    wait_until("three segments", 20, || {
        let answer = server.get(&path);
        (answer.text().matches("#EXTINF").count() >= 3).then_some(())
    });
    let sent: Vec<String> = pictures(source.path()).into_iter().step_by(60).collect();
    let live = shown(&server, &path, folder.path());
    assert!(live.len() >= 3 && sent.starts_with(&live), "live: the key frames that were sent");
    let list = server.get(&format!("/{uid}/manifest/video.m3u8")).text();
    let line = list.lines().find(|l| l.starts_with("#EXT-X-I-FRAME-STREAM-INF:")).unwrap();
    assert!(line.contains("RESOLUTION=320x180,URI=\"video.cmaf.iframes.m3u8\""), "{line}");
    assert!(encoder.wait(30).success(), "{}", encoder.output());
    wait_until("the recording", 30, || {
        server.get(&path).text().contains("#EXT-X-PLAYLIST-TYPE:VOD").then_some(())
    });
    assert_eq!(shown(&server, &path, folder.path()), sent, "recorded: all of them");
    let sound = server.get(&format!("/{uid}/manifest/audio.cmaf.iframes.m3u8"));
    assert_eq!(sound.status, 404, "sound has none");
}
