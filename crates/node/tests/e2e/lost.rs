//! Files of the data directory that are gone: whoever looks is told which, and nothing makes it
//! worse.

use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Child, Clip, ClipSpec, Server, wait_until};

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
fn an_object_that_is_gone_is_told_once_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let video = recorded(&data);
    std::fs::remove_file(&objects(&data, &video)[1]).unwrap();
    let mut server = Server::start_in(AIRWAVE, &data, &[]);
    assert_eq!(server.admin("/readyz").text(), "ready\n");
    let path = format!("/{video}/manifest/video.cmaf.m3u8");
    let (list, text) = (server.url(&path), server.get(&path).text());
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
