//! A phone that is turned in the middle of a broadcast, a ladder that changes behind it, a store that fails: what becomes of the levels of
//! what was recorded.

use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Child, Clip, ClipSpec, Follower, Response, Server, Url, request, skip, wait_until};

use crate::AIRWAVE;
use crate::codecs::FFMPEG;
use crate::levels::{LADDER, with_levels};

/// Segments of a second.
const SEGMENTS: &str = "hls.segment_ms=1000";

fn clip(name: &'static str, size: (u32, u32)) -> Clip {
    Clip::make(&ClipSpec { size, group: 30, ..ClipSpec::plain(name, 30) })
}

fn get(url: &Url) -> Response {
    request("GET", url, &[], b"")
}

/// The segments of a list, each with its initialisation segment.
fn segments(list: &str) -> Vec<(String, String)> {
    let (mut map, mut all) = (String::new(), Vec::new());
    for line in list.lines() {
        if let Some(named) = line.strip_prefix("#EXT-X-MAP:URI=\"") {
            map = named.split('"').next().unwrap().to_owned();
        } else if !line.starts_with('#') && line.ends_with(".m4s") {
            all.push((map.clone(), line.to_owned()));
        }
    }
    all
}

/// The epoch and the number in a segment's name.
fn named(uri: &str) -> (u64, u64) {
    let name = uri.rsplit('/').next().unwrap().strip_suffix(".m4s").unwrap();
    let (epoch, number) = name.split_once('-').unwrap();
    (epoch.parse().unwrap(), number.parse().unwrap())
}

fn size_of(file: &[u8]) -> String {
    probed(file, "stream=width,height")
}

fn probed(file: &[u8], what: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mp4");
    std::fs::write(&path, file).unwrap();
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-of", "csv=p=0:s=x", "-show_entries", what]).arg(&path);
    String::from_utf8(command.output().unwrap().stdout).unwrap().trim().to_owned()
}

/// The same file of another track.
fn file_in(track: &str, uri: &str) -> String {
    let mut all: Vec<&str> = uri.split('/').collect();
    let at = all.len() - 2;
    all[at] = track;
    all.join("/")
}

/// Objects of a video in the store.
fn objects(folder: &Path, video: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let text = path.to_string_lossy().into_owned();
        match path.is_dir() {
            true if text.ends_with("/levels") => {}
            true => found.extend(objects(&path, video)),
            false if text.contains(video) => found.push(path),
            false => {}
        }
    }
    found
}

#[test]
fn each_segment_has_its_level_in_its_own_shape() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_in(AIRWAVE, data.path(), &[LADDER, SEGMENTS]);
    let input = server.input();
    let mut wide = clip("wide", (320, 180)).publish(&input.rtmp, -1);
    let video = server.wait_video(&input, &[]);
    with_levels(&server, &video);
    let list = |server: &Server, name: &str| server.url(&format!("/{video}/manifest/{name}.m3u8"));
    let mut original = Follower::new(list(&server, "video.cmaf"));
    while original.reload().segments.len() < 4 {}
    let newest = *original.numbers().last().unwrap();
    wide.kill();
    // Who waits for what comes next, which is another encoder's by then.
    let level = list(&server, "video.144p.cmaf");
    let (begun, asked) = std::thread::scope(|scope| {
        let ask = |number: u64| {
            let uri = format!("../media/{video}/video.144p.cmaf/1-{number}.0.m4s");
            let url = level.join(&uri);
            (number, scope.spawn(move || get(&url).status))
        };
        let asked: Vec<_> = (newest + 1..newest + 4).map(ask).collect();
        let upright = clip("upright", (180, 320)).publish(&input.rtmp, -1);
        let asked: Vec<_> = asked.into_iter().map(|(n, ask)| (n, ask.join().unwrap())).collect();
        (upright, asked)
    });
    let mut upright = begun;
    let all = wait_until("segments of both", 60, || {
        let all = segments(&get(&list(&server, "video.cmaf")).text());
        (all.iter().filter(|(_, uri)| named(uri).0 == 2).count() > 2).then_some(all)
    });
    for (number, status) in asked {
        let epoch = all.iter().map(|(_, uri)| named(uri)).find(|(_, n)| *n == number).unwrap().0;
        assert!(status != 200 || epoch == 1, "{number} is of epoch {epoch}: {status}");
    }
    upright.terminate();
    upright.wait(20);
    server.wait_ready(&video);
    let all = segments(&get(&level).text());
    let mut sizes = Vec::new();
    for (map, uri) in &all {
        let parts = [map, uri].map(|uri| get(&level.join(uri)));
        for part in &parts {
            assert_eq!(part.status, 200, "{uri}: {}", part.text());
        }
        let size = size_of(&parts.map(|part| part.body).concat());
        let expect = if named(uri).0 == 1 { "256x144" } else { "144x256" };
        assert_eq!(size, expect, "{uri}");
        sizes.push(size);
    }
    sizes.dedup();
    assert_eq!(sizes, ["256x144", "144x256"]);
    a_ladder_that_changes(&level, &all[0].1, server, data.path());
    let server = Server::start_in(AIRWAVE, data.path(), &[LADDER, SEGMENTS]);
    a_store_that_fails(&server, &video, &list(&server, "video.96p.cmaf"), data.path());
}

/// What is encoded in another way has another address. Who asks for what has none of its own hears that it is another one.
fn a_ladder_that_changes(level: &Url, uri: &str, server: Server, data: &Path) {
    const KEPT: &str = "public, max-age=31536000, immutable";
    let before = get(&level.join(uri));
    assert_eq!(before.headers["cache-control"], KEPT);
    let whatever = file_in("video.144p.cmaf", uri);
    let plain = get(&level.join(&whatever));
    assert_eq!((&plain.body, &*plain.headers["cache-control"]), (&before.body, "max-age=1"));
    let tag = plain.headers["etag"].clone();
    let again = request("GET", &level.join(&whatever), &[("if-none-match", &tag)], b"");
    assert_eq!(again.status, 304);
    let (list, path, whatever) = (&level.path, level.join(uri).path, level.join(&whatever).path);
    drop(server);
    let server = Server::start_in(AIRWAVE, data, &["encode.ladder=[\"144p=60\"]", SEGMENTS]);
    let other = wait_until("a level", 30, || {
        let other = request("GET", &server.url(&whatever), &[("if-none-match", &tag)], b"");
        assert_ne!(other.status, 304, "that is another one");
        // While it is made it has none.
        other.headers.contains_key("etag").then_some(other)
    });
    assert_ne!(other.headers["etag"], tag);
    assert_ne!(other.body, before.body);
    // Who plays a list of before goes on.
    let old = get(&server.url(&path));
    assert_eq!((&old.body, &*old.headers["cache-control"]), (&other.body, "max-age=1"));
    let level = server.url(list);
    let all = segments(&get(&level).text());
    let url = level.join(&all[0].1);
    assert!(url.path != path && url.path.ends_with(path.rsplit('/').next().unwrap()));
    let now = get(&url);
    assert_eq!((&now.body, &*now.headers["cache-control"]), (&other.body, KEPT));
}

/// Objects can't be opened for a moment.
fn a_store_that_fails(server: &Server, video: &str, level: &Url, data: &Path) {
    with_levels(server, video);
    let uri = segments(&get(level).text())[0].1.clone();
    let objects = objects(data, video);
    assert!(!objects.is_empty());
    let away = |path: &Path| path.with_extension("away");
    for path in &objects {
        std::fs::rename(path, away(path)).unwrap();
        // Opening it goes round for ever, which the system refuses.
        std::os::unix::fs::symlink(path, path).unwrap();
    }
    let own = level.join(&file_in("video.cmaf", &uri));
    let original = get(&own);
    let failed = get(&level.join(&uri));
    assert_eq!((original.status, failed.status), (503, 503), "{}", failed.text());
    for path in &objects {
        std::fs::rename(away(path), path).unwrap();
    }
    let made = get(&level.join(&uri));
    assert_eq!(made.status, 200, "{}", made.text());
    let frames = |body: &[u8]| body.windows(4).filter(|w| *w == b"trun").count();
    let original = get(&own);
    assert_eq!(frames(&made.body), frames(&original.body), "all parts of it");
}

/// Who leaves with other codecs than he came with: those who can't play the first ones have levels of them.
#[test]
fn what_was_in_another_codec_before_has_a_level_that_all_can_play() {
    if skip("codecs") {
        return;
    }
    let server = Server::start(AIRWAVE, &[LADDER, SEGMENTS]);
    let input = server.input();
    let publish = |codecs: &str| {
        let mut command = Command::new(FFMPEG);
        command.args(["-nostdin", "-v", "error", "-re", "-f", "lavfi"]);
        command.args(["-i", "testsrc2=s=320x180:r=30,format=yuv420p", "-f", "lavfi"]);
        command.args(["-i", "sine=sample_rate=48000", "-preset", "ultrafast", "-g", "30"]);
        command.args(codecs.split(' ')).args(["-ac", "2", "-f", "flv", &input.rtmp]);
        Child::start(&mut command)
    };
    let newer = "-c:v libx265 -x265-params keyint=30:min-keyint=30:scenecut=0:log-level=0 \
                 -c:a libopus";
    let mut encoder = publish(newer);
    let video = server.wait_video(&input, &[]);
    let list = |name: &str| server.url(&format!("/{video}/manifest/{name}.m3u8?dvrEnabled=true"));
    let mut original = Follower::new(list("video.cmaf"));
    while original.reload().segments.len() < 3 {}
    encoder.kill();
    let mut encoder = publish("-c:v libx264 -c:a aac");
    let both = |list: &str| {
        let epochs: Vec<u64> = segments(list).iter().map(|(_, uri)| named(uri).0).collect();
        epochs.contains(&1) && epochs.iter().filter(|epoch| **epoch == 2).count() > 1
    };
    let levels = ["video.h264.cmaf", "audio.aac.cmaf"];
    // On the air, and when it is over.
    for name in ["video.cmaf"].into_iter().chain(levels) {
        wait_until("segments of both", 60, || both(&get(&list(name)).text()).then_some(()));
    }
    encoder.terminate();
    encoder.wait(20);
    server.wait_ready(&video);
    let all = get(&list("video")).text();
    for (level, codec) in levels.into_iter().zip(["h264", "aac"]) {
        assert!(all.contains(level), "{level}: {all}");
        let list = list(level);
        let text = get(&list).text();
        assert!(both(&text), "{level}: {text}");
        let (map, uri) = &segments(&text)[0];
        assert_eq!(named(uri).0, 1);
        let parts = [map, uri].map(|uri| get(&list.join(uri)));
        assert_eq!(parts.each_ref().map(|part| part.status), [200, 200], "{level}");
        let file = parts.map(|part| part.body).concat();
        assert_eq!(probed(&file, "stream=codec_name"), codec);
    }
}
