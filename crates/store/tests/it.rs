//! The store on a real disk: write-once, durable, grouped, clean after a crash.

#![allow(missing_docs, clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use store::{Key, Kind, Object, OpenError, PutError, ReadError, Store};
use tempfile::TempDir;
use tokio::task::JoinSet;

const DIR: &str = "AIRWAVE_TEST_DIR";

fn video(n: u8) -> String {
    format!("{n:032x}")
}

fn key(n: u64) -> Key {
    keyed(1, n)
}

fn keyed(of: u8, number: u64) -> Key {
    let kind = if number == 0 { Kind::Page } else { Kind::Segment };
    let object = Object { video: video(of), kind, epoch: 1, number, random: 7 };
    Key::new(&object).unwrap()
}

fn content(n: u64) -> Bytes {
    Bytes::from(vec![n as u8; 10_000 + n as usize])
}

fn stores() -> Vec<(Store, Option<TempDir>)> {
    let dir = TempDir::new().unwrap();
    vec![(Store::open(dir.path()).unwrap(), Some(dir)), (Store::in_memory(), None)]
}

#[tokio::test]
async fn objects_are_written_once_and_read_in_ranges() {
    for (store, _dir) in stores() {
        let chunks = vec![Bytes::from_static(b"hello "), Bytes::from_static(b"world")];
        store.put(&key(1), chunks).await.unwrap();
        let again = store.put(&key(1), vec![Bytes::from_static(b"other")]).await;
        assert_eq!(again, Err(PutError::Exists));
        assert_eq!(store.read(&key(1)).await.unwrap(), "hello world");
        let ranges = store.read_ranges(&key(1), &[6..11, 0..5, 4..7]).await.unwrap();
        assert_eq!(ranges, ["world", "hello", "o w"]);
        for beyond in [20..30, 11..12, 9..12] {
            let read = store.read_ranges(&key(1), &[0..5, beyond]).await;
            assert_eq!(read, Err(ReadError::Short));
        }
        let read = store.read_ranges(&key(2), std::slice::from_ref(&(0..5))).await;
        assert_eq!(read, Err(ReadError::NotFound));
        assert_eq!(store.read(&key(2)).await, Err(ReadError::NotFound));
    }
}

#[tokio::test]
async fn deleting_a_video_takes_all_of_its_objects_and_no_others() {
    for (store, _dir) in stores() {
        for (of, number) in [(1, 0), (1, 1), (1, 2), (2, 1)] {
            store.put(&keyed(of, number), vec![content(number)]).await.unwrap();
        }
        let listed = store.list(&video(1)).await.unwrap();
        let expect = [(key(1), 10_001), (key(2), 10_002), (key(0), 10_000)];
        assert_eq!(listed, expect);
        store.delete(&key(2)).await.unwrap();
        store.delete(&key(2)).await.unwrap();
        for _ in 0..2 {
            store.delete_video(&video(1)).await.unwrap();
            assert_eq!(store.list(&video(1)).await.unwrap(), []);
        }
        assert_eq!(store.read(&keyed(2, 1)).await.unwrap(), content(1));
        assert!(store.delete_video("../..").await.is_err());
    }
}

#[tokio::test]
async fn many_puts_at_once_are_all_there_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let store = Arc::new(Store::open(dir.path()).unwrap());
    let mut puts = JoinSet::new();
    for n in 0..600 {
        let store = store.clone();
        // Two of each: one of them finds the other.
        puts.spawn(async move { store.put(&key(n / 2), vec![content(n / 2)]).await });
    }
    let results = puts.join_all().await;
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 300);
    assert!(results.iter().all(|r| matches!(r, Ok(()) | Err(PutError::Exists))));
    drop(store);
    assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    let store = Store::open(dir.path()).unwrap();
    for n in 0..300 {
        assert_eq!(store.read(&key(n)).await.unwrap(), content(n));
    }
}

#[tokio::test]
async fn an_object_larger_than_the_queue_is_stored() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mib = Bytes::from(vec![5; 1 << 20]);
    store.put(&key(1), vec![mib.clone(); 65]).await.unwrap();
    assert_eq!(store.list(&video(1)).await.unwrap(), [(key(1), 65 << 20)]);
    assert_eq!(store.read(&key(1)).await, Err(ReadError::TooLarge));
    assert!(store.free_bytes().is_some_and(|free| free > 0));
}

#[test]
fn only_our_own_directories_are_opened() {
    let check = |files: &[(&str, &str)], expect: &str| {
        let dir = TempDir::new().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let found = match Store::open(dir.path()) {
            Ok(_) => "opened".to_owned(),
            Err(OpenError::Newer { found, .. }) => format!("newer {found}"),
            Err(OpenError::Foreign) => "foreign".to_owned(),
            Err(other) => other.to_string(),
        };
        assert_eq!(found, expect, "{files:?}");
    };
    check(&[], "opened");
    check(&[("format", "airwave media, format 1\n")], "opened");
    check(&[("format", "airwave media, format 3\n")], "newer 3");
    check(&[("format", "a recipe")], "foreign");
    check(&[("holiday.jpg", "")], "foreign");
}

#[test]
fn a_directory_that_cannot_be_made_is_refused_in_words() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let error = Store::open(&dir.path().join("file").join("media")).unwrap_err().to_string();
    assert!(error.starts_with("the media directory can't be opened"), "{error}");
}

/// The process that is killed: puts four objects at once, again and again.
#[tokio::test]
#[ignore = "child: run by the test below, as a process of its own"]
async fn node() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let store = Arc::new(Store::open(Path::new(&dir)).unwrap());
    let first = store.list(&video(1)).await.unwrap().len() as u64 + 1;
    for group in 0.. {
        let mut puts = JoinSet::new();
        for n in 0..4 {
            let (store, n) = (store.clone(), first + group * 4 + n);
            puts.spawn(async move {
                // One that an earlier life left unacknowledged is as good.
                let result = store.put(&key(n), vec![content(n)]).await;
                assert!(matches!(result, Ok(()) | Err(PutError::Exists)));
                n
            });
        }
        while let Some(n) = puts.join_next().await {
            println!("\n@acked {}", n.unwrap());
        }
    }
}

#[tokio::test]
async fn killed_at_every_point_what_was_acknowledged_is_there_and_nothing_is_torn() {
    let dir = TempDir::new().unwrap();
    let mut acked = Vec::new();
    for point in [
        "store.format_staged",
        "store.written",
        "store.synced",
        "store.linked",
        "store.directories_synced",
        "store.written:5",
        "store.synced:5",
        "store.linked:5",
        "store.directories_synced:5",
    ] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "node", "--ignored", "--nocapture", "--test-threads=1"])
            .env(DIR, dir.path())
            .env(failpoint::VARIABLE, point)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            acked.extend(line.unwrap().strip_prefix("@acked ").map(|n| n.parse::<u64>().unwrap()));
        }
        let status = child.wait().unwrap();
        assert!(status.signal().is_some(), "{point}: {status}");
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
        let listed = store.list(&video(1)).await.unwrap();
        for n in &acked {
            assert!(listed.iter().any(|(key, _)| *key == self::key(*n)), "{point}: {n} is lost");
        }
        for (key, _) in listed {
            let n = key.object().unwrap().number;
            assert_eq!(store.read(&key).await.unwrap(), content(n), "{point}: {n} is torn");
        }
    }
    assert!(acked.len() > 30, "{}", acked.len());
}
