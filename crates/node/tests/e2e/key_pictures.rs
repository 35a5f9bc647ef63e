//! Lists of key pictures: each entry is one picture that a decoder shows, live and recorded.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use testkit::{Server, check_key_pictures, leaf_through, request, skip, wait_until};

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
        let part = request("GET", &url.join(&uri), &[], b"");
        assert_eq!(part.status, 200, "{uri}: {}", part.text());
        assert_eq!(&part.body[4..8], b"moof");
        let cache = &part.headers["cache-control"];
        assert_eq!(cache, "public, max-age=31536000, immutable", "{uri}");
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

/// Nobody may ask for one that is not listed.
fn others_are_not_there(server: &Server, path: &str) {
    let url = server.url(path);
    let (entries, _) = check_key_pictures(&server.get(path).text());
    let uri = entries.into_iter().find_map(|entry| entry.uri).unwrap();
    let name = uri.rsplit('/').next().unwrap().to_owned();
    let (epoch, number) = name.split_once('-').unwrap();
    for other in [
        format!("9{epoch}-{number}"),
        format!("{epoch}-0{number}"),
        format!("{epoch}-9999999.key.m4s"),
        name.replace(".key", ".key.key"),
        name.replace(".key", ".0.key"),
    ] {
        let answer = request("GET", &url.join(&uri.replace(&name, &other)), &[], b"");
        assert_eq!(answer.status, 404, "{other}");
    }
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
    others_are_not_there(&server, &path);
    let list = server.get(&format!("/{uid}/manifest/video.m3u8")).text();
    let line = list.lines().find(|l| l.starts_with("#EXT-X-I-FRAME-STREAM-INF:")).unwrap();
    let uri = "RESOLUTION=320x180,URI=\"video.cmaf.iframes.m3u8?dvrEnabled=false\"";
    assert!(line.contains(uri), "{line}");
    assert!(encoder.wait(30).success(), "{}", encoder.output());
    wait_until("the recording", 30, || {
        server.get(&path).text().contains("#EXT-X-PLAYLIST-TYPE:VOD").then_some(())
    });
    assert_eq!(shown(&server, &path, folder.path()), sent, "recorded: all of them");
    others_are_not_there(&server, &path);
    let sound = server.get(&format!("/{uid}/manifest/audio.cmaf.iframes.m3u8"));
    assert_eq!(sound.status, 404, "sound has none");
}

/// Four times as fast, by the list of key pictures and nothing else; then every frame again.
#[test]
fn stock_shaka_player_leafs_through_a_recording_in_chromium() {
    if skip("browser") {
        return;
    }
    let server = Server::start(AIRWAVE, &[]);
    let input = server.create_input(&json!({ "recording": { "timeoutSeconds": 1 } }));
    let mut encoder = crate::browser::clip().publish_at(60.0, &input.rtmp, 1);
    let uid = server.wait_video(&input, &[]);
    assert!(encoder.wait(60).success(), "{}", encoder.output());
    let list = format!("/{uid}/manifest/video.cmaf.iframes.m3u8");
    wait_until("the recording", 30, || {
        server.get(&list).text().contains("#EXT-X-PLAYLIST-TYPE:VOD").then_some(())
    });
    // A segment of two seconds has one key picture in the list, at 30 frames a second.
    let seen = leaf_through(&server.url(&format!("/{uid}/watch")).to_string(), 60);
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    assert_eq!(seen["errors"], json!([]), "{seen}");
    assert_eq!((&seen["rate"], &seen["back"]["rate"]), (&json!(4), &json!(1)), "{seen}");
    let leafed = seen["leafed"].as_array().unwrap();
    assert_eq!(leafed.len(), 4, "key pictures alone: {seen}");
    let files = seen["files"].as_array().unwrap();
    assert!(files.len() >= 4 && files.iter().all(|status| *status == 200), "{seen}");
    let [first, last] = [&leafed[0], &leafed[3]];
    let media = number(&last["mediaTime"]) - number(&first["mediaTime"]);
    let shown = (number(&last["shownMs"]) - number(&first["shownMs"])) / 1_000.0;
    println!("{media:.1} s of media in {shown:.1} s");
    assert!(media > 5.9, "three segments at least: {seen}");
    assert!(shown < media / 2.0 || !crate::browser::soak(), "{media} s in {shown} s");
}
