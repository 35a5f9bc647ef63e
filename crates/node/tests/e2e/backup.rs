//! `airwave backup` and `airwave restore`: what was recorded is there again, complete.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Child, Clip, ClipSpec, Follower, Server, packets, wait_until};

use crate::AIRWAVE;

fn run(arguments: &[&str]) -> (i32, String) {
    let mut child = Child::start(Command::new(AIRWAVE).args(arguments));
    let status = child.wait(30);
    (status.code().unwrap_or(-1), child.output())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Hashes of all packets of what a playlist lists.
fn hashes(server: &Server, id: &str, kind: char) -> Vec<String> {
    let track = if kind == 'v' { "video" } else { "audio" };
    let mut follower = Follower::new(server.url(&format!("/{id}/manifest/{track}.cmaf.m3u8")));
    follower.reload();
    let list = &follower.newest;
    assert!(list.ended && list.segments.iter().all(|s| !s.gap), "{id} {kind}: {list:?}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("got.mp4");
    let map = follower.inits.keys().next().unwrap();
    std::fs::write(&file, follower.file(map)).unwrap();
    packets(&file, kind).into_iter().map(|p| p.hash).collect()
}

/// The media of a backup.
fn objects(backup: &Path) -> Vec<PathBuf> {
    let list = |folder: PathBuf| {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    list(backup.join("media/o")).into_iter().flat_map(list).collect()
}

#[test]
fn a_backup_during_a_broadcast_is_restored_elsewhere_and_plays_completely() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let server = Server::start_in(AIRWAVE, &at("data"), &[]);
    // One recording that is over, and a broadcast on the air.
    let (done, input) = (server.input(), server.input());
    let clip = Clip::make(&ClipSpec::plain("short", 4));
    let long = Clip::make(&crate::moq_program::long());
    let mut encoder = clip.publish(&done.rtmp, 1);
    let _encoder = long.publish(&input.rtmp, -1);
    let finished = server.wait_video(&done, &[]);
    let running = server.wait_live(&input);
    assert!(encoder.wait(20).success());
    server.wait_ready(&finished);
    // Two of the recording, three of this.
    wait_until("segments of the broadcast", 60, || {
        (server.metric("segment_commit_seconds_count") >= 5).then_some(())
    });

    let (code, output) = run(&["backup", text(&at("backup")), "--data", text(&at("data"))]);
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("2 videos") && output.contains("is complete"), "{output}");
    for (name, mode) in
        [("", 0o700), ("master.key", 0o600), ("api-token", 0o600), ("airwave.db", 0o600)]
    {
        let found = std::fs::metadata(at("backup").join(name)).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{name}");
    }
    assert_eq!(server.lifecycle(&input.uid)["live"], true, "the broadcast goes on");
    let numbers = |server: &Server, id: &str| -> Vec<u64> {
        let mut follower =
            Follower::new(server.url(&format!("/{id}/manifest/video.cmaf.m3u8?dvrEnabled=true")));
        follower.reload().segments.iter().filter(|s| s.file.is_some()).map(|s| s.number).collect()
    };
    let on_air = numbers(&server, &running);
    drop(server);

    // A backup that has lost bytes says so.
    let object = objects(&at("backup")).remove(0);
    let whole = std::fs::read(&object).unwrap();
    std::fs::remove_file(&object).unwrap();
    std::fs::write(&object, &whole[..10]).unwrap();
    let (code, output) = run(&["restore", text(&at("backup")), "--data", text(&at("damaged"))]);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains(&format!("has 10 bytes instead of {}", whole.len())), "{output}");
    assert!(at("damaged/airwave.db").exists(), "the copy is kept");
    std::fs::remove_file(&object).unwrap();
    std::fs::write(&object, &whole).unwrap();
    let (code, output) = run(&["restore", text(&at("backup")), "--data", text(&at("restored"))]);
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("start with: airwave serve --data"), "{output}");
    // The source and the backup may go.
    std::fs::remove_dir_all(at("data")).unwrap();
    std::fs::remove_dir_all(at("backup")).unwrap();
    let server = Server::start_in(AIRWAVE, &at("restored"), &[]);
    for kind in ['v', 'a'] {
        let source: Vec<String> = packets(clip.path(), kind).into_iter().map(|p| p.hash).collect();
        assert!(hashes(&server, &finished, kind) == source, "{kind}: every packet");
        let source: Vec<String> = packets(long.path(), kind).into_iter().map(|p| p.hash).collect();
        let got = hashes(&server, &running, kind);
        assert!(got.len() > 60 && source.starts_with(&got), "{kind}: {} packets", got.len());
    }
    assert_eq!(server.lifecycle(&running)["live"], false);
    // The keys are the same, and no number is used twice.
    let url = format!("rtmp://{}/live/{}", server.addresses["rtmp"].as_str().unwrap(), input.key);
    let mut encoder = clip.publish(&url, 1);
    let again = server.wait_video(&input, std::slice::from_ref(&running));
    assert!(encoder.wait(20).success(), "{}", encoder.output());
    wait_until("the end", 20, || (server.lifecycle(&again)["live"] == false).then_some(()));
    assert!(numbers(&server, &again)[0] > *on_air.last().unwrap());
}

#[test]
fn what_can_not_be_copied_is_said_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    drop(Server::start_in(AIRWAVE, &at("data"), &[]));
    let data = at("data");
    let data = text(&data);
    let good = at("backup");
    assert_eq!(run(&["backup", text(&good), "--data", data]).0, 0, "of a server that is stopped");

    let check = |arguments: &[&str], words: &str| {
        let (code, output) = run(arguments);
        assert_eq!(code, 1, "{output}");
        assert!(output.contains(words), "{words} in {output}");
    };
    check(&["backup", text(&good), "--data", data], "is not empty");
    let nothing = at("nothing");
    check(&["backup", text(&at("new")), "--data", text(&nothing)], "is no data directory");
    check(&["restore", text(&good), "--data", data], "is not empty");
    check(
        &["restore", data, "--data", text(&at("new"))],
        "is no backup, or one that was not finished",
    );
    let mark = good.join("airwave-backup.json");
    let newer = std::fs::read_to_string(&mark).unwrap().replace("\"format\": 1", "\"format\": 2");
    std::fs::write(&mark, newer).unwrap();
    check(&["restore", text(&good), "--data", text(&at("new"))], "was made by a newer Airwave");
    assert!(!at("new").exists(), "nothing was made");
}
