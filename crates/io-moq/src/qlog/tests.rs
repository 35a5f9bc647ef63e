//! Files of logs, without a session.

use std::path::Path;
use std::thread;

use super::*;
use crate::limits::QLOG_FILES_MAX;

const HEADER: Header = Header {
    side: Side::Server,
    peer: SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9),
    draft: 18,
    web: false,
    now_ms: 1_700_000_000_000,
};

/// Does something with logs in this folder, and waits until all is written.
fn with_logs(folder: &Path, work: impl FnOnce(&Logs)) {
    let (logs, writer) = logs(folder.to_owned(), Arc::new(|_| true));
    let thread = thread::spawn(|| writer.run());
    work(&logs);
    drop(logs);
    thread.join().unwrap();
}

fn begin(logs: &Logs) -> Log {
    Log(Some(Arc::new(SessionLog::begin(logs.clone(), &HEADER, None))))
}

/// The records of each file, in the order of names.
fn read(folder: &Path) -> Vec<Vec<Value>> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let records = |text: String| {
        let records = text.split('\u{1e}').skip(1);
        records.map(|record| serde_json::from_str(record).unwrap()).collect()
    };
    files.into_iter().map(|file| records(std::fs::read_to_string(file).unwrap())).collect()
}

#[test]
fn a_log_is_a_sequence_of_json_texts() {
    let folder = tempfile::tempdir().unwrap();
    with_logs(&folder.path().join("new/folder"), |logs| {
        let log = begin(logs);
        log.stream("local", 3, "control");
        log.event("moqt:control_message_created", || json!({ "message": { "type": "setup" } }));
        let other = begin(logs);
        other.stream("remote", 7, "fetch_header");
        Log::off().event("nobody", || panic!("nothing is made for a log that is off"));
    });
    let files = read(&folder.path().join("new/folder"));
    assert_eq!(files.len(), 2);
    let header = &files[0][0];
    assert_eq!(header["serialization_format"], "application/qlog+json-seq");
    assert_eq!(header["title"], "MoQ draft 18 over QUIC with 127.0.0.1:9");
    let time = &header["trace"]["common_fields"]["reference_time"];
    assert_eq!(time["wall_clock_time"], date_time(HEADER.now_ms));
    let names: Vec<_> = files[0][1..].iter().map(|event| event["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["moqt:stream_type_set", "moqt:control_message_created"]);
    assert!(files[0][1]["time"].is_f64());
    assert_eq!(
        files[1][1]["data"],
        json!({ "owner": "remote", "stream_id": 7, "stream_type": "fetch_header" })
    );
}

#[test]
fn logs_are_bounded_in_size_and_number_and_leave_other_files_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("0-mine.sqlog"), "x").unwrap();
    for n in 0..QLOG_FILES_MAX {
        std::fs::write(folder.path().join(format!("1-{n:04}_server.sqlog")), "").unwrap();
    }
    with_logs(folder.path(), |logs| {
        let log = begin(logs);
        let session = log.0.as_ref().unwrap();
        // The writer may be slower than this: what does not fit is lost.
        while !session.full.load(Ordering::Relaxed) {
            log.event("moqt:test", || json!("x".repeat(500_000)));
        }
        log.event("moqt:test", || json!("behind its end"));
    });
    let mut names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|f| f.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), QLOG_FILES_MAX + 1, "the oldest went");
    assert_eq!((&*names[0], &*names[1]), ("0-mine.sqlog", "1-0001_server.sqlog"));
    let length = std::fs::metadata(folder.path().join(names.last().unwrap())).unwrap().len();
    let bound = QLOG_FILE_BYTES_MAX as u64;
    assert!((bound..bound + 600_000).contains(&length), "{length}");
}

#[test]
fn a_queue_that_is_full_loses_events_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (logs, writer) = logs(folder.path().to_owned(), Arc::new(|_| true));
    let log = begin(&logs);
    // Nobody writes yet.
    let each = QLOG_QUEUED_BYTES_MAX / 10;
    for _ in 0..15 {
        log.event("moqt:test", || json!("x".repeat(each)));
    }
    let thread = thread::spawn(|| writer.run());
    while logs.queued.load(Ordering::Relaxed) > 0 {
        thread::yield_now();
    }
    log.event("moqt:after", || json!(1));
    drop((log, logs));
    thread.join().unwrap();
    let records = read(folder.path()).remove(0);
    let told: Vec<_> = records.iter().filter_map(|r| r["data"]["message"].as_str()).collect();
    assert_eq!(told, ["6 events are missing here: the disk was too slow for them"]);
    assert_eq!(records.last().unwrap()["name"], "moqt:after");
}

#[test]
fn a_folder_that_cannot_be_written_disturbs_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    // A folder cannot be below a file; and a device takes nothing.
    with_logs(&file.join("logs"), |logs| {
        let log = begin(logs);
        log.stream("local", 1, "control");
    });
    assert_eq!(std::fs::read(&file).unwrap(), b"");
}

#[test]
fn a_full_disk_ends_a_log_and_the_next_one_is_tried() {
    let folder = tempfile::tempdir().unwrap();
    let (sender, receiver) = sync_channel(10);
    let mut writer = Writer::new(folder.path().to_owned(), receiver, Arc::default());
    writer.open_on(7, std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    for entry in [
        Entry::Record { file: 7, text: "lost".into() },
        Entry::End { file: 7 },
        Entry::Begin { file: 8, name: "a_server.sqlog".into() },
        Entry::Record { file: 8, text: "there".into() },
    ] {
        sender.send(entry).unwrap();
    }
    drop(sender);
    writer.run();
    assert_eq!(std::fs::read(folder.path().join("a_server.sqlog")).unwrap(), b"there");
}
