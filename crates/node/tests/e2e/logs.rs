//! The log: what becomes of a server whose log can't be written, and how much of it strangers can
//! write.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use testkit::{Child, Clip, ClipSpec, Follower, Server, wait_until};

use crate::AIRWAVE;
use crate::hostile::{closed, connect};

/// A server whose standard error is what this line of a shell makes of it records a broadcast.
fn records_a_broadcast(exec: &str) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("airwave");
    std::fs::write(&program, format!("#!/bin/sh\n{}\n", exec.replace("AIRWAVE", AIRWAVE))).unwrap();
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let server = Server::start_in(program.to_str().unwrap(), &folder.path().join("data"), &[]);
    let input = server.input();
    let mut encoder = Clip::make(&ClipSpec::plain("short", 4)).publish(&input.rtmp, 1);
    let video = server.wait_video(&input, &[]);
    assert!(encoder.wait(30).success(), "{}", encoder.output());
    server.wait_ready(&video);
    let mut replay = Follower::new(server.url(&format!("/{video}/manifest/video.cmaf.m3u8")));
    let list = replay.reload();
    assert!(list.ended && list.segments.iter().all(|s| !s.gap), "{list:?}");
    let durations = replay.versions[0].lines().filter_map(|line| line.strip_prefix("#EXTINF:"));
    let seconds: f64 = durations.map(|d| d.trim_end_matches(',').parse::<f64>().unwrap()).sum();
    assert!(seconds > 3.9, "{}", replay.versions[0]);
    assert_eq!(server.metric("task_panics_total"), 0);
    assert!(server.metric("log_lines_lost_total") > 0);
}

#[test]
fn a_log_whose_disk_is_full_disturbs_nobody() {
    records_a_broadcast(r#"exec AIRWAVE "$@" 2>/dev/full"#);
}

#[test]
fn a_log_that_nobody_reads_any_more_disturbs_nobody() {
    // The only reader of the pipe goes before the program comes.
    records_a_broadcast(
        r#"mkfifo "$0.pipe"; exec 3<>"$0.pipe" 4>"$0.pipe" 3<&-; exec AIRWAVE "$@" 2>&4"#,
    );
}

#[test]
fn strangers_write_a_few_lines_however_often_they_come() {
    const STRANGERS: u64 = 200;
    let mut server = Server::start(AIRWAVE, &[]);
    for number in 0..STRANGERS {
        let mut socket = connect(&server, "rtmp", 1 + (number % 100) as u8);
        // RTMP 1.0 §5.2.2: no version that there is.
        socket.write_all(b"nonsense").unwrap();
        assert!(closed(&mut socket, Duration::from_secs(60)));
    }
    wait_until("all of them to be counted", 20, || {
        (server.metric("rtmp_protocol_errors_total") == STRANGERS).then_some(())
    });
    // What it says is read a moment after it happens.
    let log = wait_until("words about it", 20, || {
        let log = server.child().output();
        log.contains("rtmp: connection ended").then_some(log)
    });
    let lines = log.lines().filter(|line| line.contains("rtmp: connection ended")).count();
    assert!(lines > 0 && lines < STRANGERS as usize / 2, "{lines} lines:\n{log}");
}

#[test]
fn what_is_watched_and_can_not_be_written_is_an_error() {
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let _encoder = Clip::make(&ClipSpec::plain("plain", 12)).publish(&input.rtmp, -1);
    let video = server.wait_live(&input);
    let page = format!("http://{}/{video}", server.addresses["http"].as_str().unwrap());
    let mut watch = Command::new("sh");
    watch.args(["-c", r#"exec "$0" watch "$1" >/dev/full"#, AIRWAVE, &page]);
    let mut watch = Child::start(&mut watch);
    assert_eq!(watch.wait(60).code(), Some(1), "{}", watch.output());
    assert!(watch.output().contains("can't write what is watched"), "{}", watch.output());
}
