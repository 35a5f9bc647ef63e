//! Files of the data directory that are gone: whoever looks is told which, and nothing makes it
//! worse.

use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Child, Clip, ClipSpec, MediaPlaylist, Server, check, wait_until};

use crate::AIRWAVE;

/// A data directory with a recording, and its video.
fn recorded(data: &Path) -> String {
    let mut server = Server::start_in(AIRWAVE, data, &[]);
    let input = server.input();
    let mut encoder = Clip::make(&ClipSpec::plain("short", 4)).publish(&input.rtmp, 1);
    let video = server.wait_video(&input, &[]);
    assert!(encoder.wait(30).success(), "{}", encoder.output());
    server.wait_ready(&video);
    server.child().terminate();
    assert!(server.child().wait(30).success());
    video
}

fn objects(data: &Path, video: &str) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(data.join("media/o").join(video)).unwrap();
    let mut found: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[test]
fn an_object_that_is_gone_is_told_once_and_counted_and_is_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let video = recorded(&data);
    let (gone, away) = (objects(&data, &video)[1].clone(), folder.path().join("away"));
    std::fs::rename(&gone, &away).unwrap();
    let mut server = Server::start_in(AIRWAVE, &data, &[]);
    assert_eq!(server.admin("/readyz").text(), "ready\n");
    let path = format!("/{video}/manifest/video.cmaf.m3u8");
    let list = server.url(&path);
    let text = server.get(&path).text();
    assert!(!text.contains("#EXT-X-GAP"), "nobody has looked: {text}");
    let segments = || text.lines().filter(|line| line.ends_with(".m4s"));
    // Each viewer asks for it.
    let answers: Vec<u16> = segments()
        .chain(segments())
        .map(|segment| server.get(&list.join(segment).path).status)
        .collect();
    assert_eq!(answers.iter().filter(|status| **status == 404).count(), 2, "{answers:?} {text}");
    assert_eq!(server.metric("recording_objects_missing_total"), 2);
    let words = "a recording has lost this object";
    // What it says is read a moment after it happens.
    let log = wait_until("words about it", 20, || {
        let log = server.child().output();
        log.contains(words).then_some(log)
    });
    assert_eq!(log.matches(words).count(), 1, "{log}");
    // From then on lists say so.
    let lost = answers.iter().position(|status| *status == 404).unwrap();
    for track in ["video.cmaf", "audio.cmaf"] {
        let text = server.get(&format!("/{video}/manifest/{track}.m3u8")).text();
        let found = MediaPlaylist::parse(&text).unwrap().segments;
        let gaps: Vec<usize> = (0..found.len()).filter(|i| found[*i].gap).collect();
        assert_eq!((found.len(), gaps), (answers.len() / 2, vec![lost]), "{text}");
        assert_eq!(check(&text), [], "{text}");
    }
    let mpd = server.get(&format!("/{video}/manifest/video.mpd")).text();
    assert_eq!(mpd.matches("<Period ").count(), if lost + 1 < answers.len() / 2 { 2 } else { 1 });
    // Put back, it is there again as soon as somebody finds it.
    std::fs::rename(&away, &gone).unwrap();
    let back = list.join(segments().nth(lost).unwrap()).path;
    wait_until("a list without a gap", 20, || {
        assert_eq!(server.get(&back).status, 200);
        (server.get(&path).text() == text).then_some(())
    });
}

/// What it begins with was in the object that is gone; the catalog has it too.
#[test]
fn a_recording_that_has_lost_its_first_object_plays_from_the_second() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let video = recorded(&data);
    let gone = objects(&data, &video).remove(0);
    std::fs::remove_file(gone).unwrap();
    let server = Server::start_in(AIRWAVE, &data, &[]);
    let list = server.url(&format!("/{video}/manifest/video.cmaf.m3u8"));
    let read = || MediaPlaylist::parse(&server.get(&list.path).text()).unwrap().segments;
    let first = read().remove(0);
    assert_eq!(server.get(&list.join(&first.file.unwrap().1).path).status, 404);
    let again = read();
    assert!(again[0].gap && again[1..].iter().all(|segment| !segment.gap), "{again:?}");
    let file = [&again[1].map, &again[1].file.as_ref().unwrap().1].map(|uri| {
        let answer = server.get(&list.join(uri).path);
        assert_eq!(answer.status, 200, "{uri}");
        answer.body
    });
    let at = folder.path().join("a.mp4");
    std::fs::write(&at, file.concat()).unwrap();
    let mut probe = Command::new("ffprobe");
    probe.args(["-v", "error", "-count_frames", "-of", "csv=p=0"]);
    probe.args(["-show_entries", "stream=nb_read_frames"]).arg(&at);
    let frames = String::from_utf8(probe.output().unwrap().stdout).unwrap();
    assert!(frames.trim().parse::<u32>().unwrap() > 10, "{frames}");
}

/// Whoever goes back on the air to what memory has no more.
#[test]
fn what_is_gone_behind_the_live_window_is_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start_in(AIRWAVE, &data, &["hls.segment_ms=1000", "limits.cache_mb=1"]);
    let input = server.input();
    let spec = ClipSpec { group: 30, ..ClipSpec::plain("gone", 30) };
    let mut encoder = Clip::make(&spec).publish_at(2.0, &input.rtmp, -1);
    let video = server.wait_live(&input);
    let list = server.url(&format!("/{}/manifest/video.cmaf.m3u8?dvrEnabled=true", input.uid));
    let read = || MediaPlaylist::parse(&server.get(&list.path).text()).unwrap().segments;
    // Memory has let the first ones go.
    wait_until("a list of 14 segments", 60, || (read().len() > 14).then_some(()));
    let named = read()[1].file.clone().unwrap().1;
    // EPOCH-NUMBER, and in the store something random behind them.
    let begins = named.rsplit('/').next().unwrap().replace(".m4s", "-");
    let mut objects = objects(&data, &video);
    objects.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&begins));
    std::fs::remove_file(&objects[0]).unwrap();
    wait_until("memory to let it go", 60, || {
        (server.get(&list.join(&named).path).status == 404).then_some(())
    });
    let gaps: Vec<bool> = wait_until("a gap", 20, || {
        let gaps = read().iter().map(|segment| segment.gap).collect::<Vec<_>>();
        gaps.contains(&true).then_some(gaps)
    });
    assert_eq!((gaps[1], gaps.iter().filter(|gap| **gap).count()), (true, 1));
    encoder.terminate();
    encoder.wait(20);
    server.wait_ready(&video);
    let text = server.get(&format!("/{video}/manifest/video.cmaf.m3u8")).text();
    assert_eq!(text.matches("#EXT-X-GAP").count(), 1, "{text}");
    assert_eq!(check(&text), [], "{text}");
}

#[test]
fn media_that_is_gone_as_a_whole_is_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    recorded(&data);
    std::fs::remove_dir_all(data.join("media")).unwrap();
    let mut server = Server::start_in(AIRWAVE, &data, &[]);
    let words = "had no media at the start, and the index has recordings";
    assert!(server.admin("/readyz").text().contains(words), "{}", server.admin("/readyz").text());
    wait_until("words in the log", 20, || server.child().output().contains(words).then_some(()));
}

#[test]
fn a_database_that_is_gone_is_not_begun_anew_beside_recordings_or_keys() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let video = recorded(&data);
    let database = data.join("airwave.db");
    let kept = folder.path().join("kept.db");
    std::fs::rename(&database, &kept).unwrap();
    let refused = |left: &str| {
        let mut serve = Command::new(AIRWAVE);
        serve.args(["serve", "--data"]).arg(&data);
        for port in ["http", "https", "rtmp", "rtmps", "quic", "admin"] {
            serve.args(["--set", &format!("{port}.listen=127.0.0.1:0")]);
        }
        let mut serve = Child::start(&mut serve);
        assert_eq!(serve.wait(30).code(), Some(1), "{}", serve.output());
        let words = format!("{} is missing or empty, and {left} is there", database.display());
        assert!(serve.output().contains(&words), "{words} in {}", serve.output());
    };
    let media = data.join("media");
    refused(media.to_str().unwrap());
    std::fs::write(&database, b"").unwrap();
    refused(media.to_str().unwrap());
    let away = folder.path().join("media");
    std::fs::rename(&media, &away).unwrap();
    let key = data.join("master.key");
    refused(key.to_str().unwrap());
    // A first start that was cut off had no token yet.
    let new = folder.path().join("new");
    std::fs::create_dir(&new).unwrap();
    std::fs::copy(&key, new.join("master.key")).unwrap();
    Server::start_in(AIRWAVE, &new, &[]).input();
    assert!(new.join("api-token").exists());
    // Put back as the words say, everything is there.
    std::fs::rename(&away, &media).unwrap();
    std::fs::rename(&kept, &database).unwrap();
    let server = Server::start_in(AIRWAVE, &data, &[]);
    assert_eq!(server.lifecycle(&video)["live"], false);
}
