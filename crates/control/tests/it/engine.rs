//! What only SQLite does: formats, groups, backups, failing disks.

use std::path::Path;
use std::sync::Arc;

use control::conformance::{NOW, an_input, claim, commit_all, random, segment, tail, uid};
use control::{ClaimMode, Control, EngineError, Expect, InputSettings, MasterKey, OpenError, Page};
use rusqlite::Connection;
use tempfile::TempDir;

fn open(path: &Path) -> Result<Control, OpenError> {
    Control::open(path, MasterKey::new(&[7; 32]))
}

#[tokio::test]
async fn state_survives_closing_and_opening() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("control.db");
    let control = open(&path).unwrap();
    let made = an_input(&control, 1).await;
    let keys = control.input_keys(&uid(1)).await.unwrap();
    let owned = control.claim(claim(1, ClaimMode::IfFree, NOW)).await.unwrap().owned;
    commit_all(&control, &owned, 1..4).await;
    drop(control);
    let control = open(&path).unwrap();
    assert_eq!(control.input(&uid(1)).await.unwrap(), Some(made));
    assert_eq!(control.input_keys(&uid(1)).await.unwrap(), keys);
    assert_eq!(tail(&control, &owned.video).await.len(), 3);
    drop(control);
    let control = Control::open(&path, MasterKey::new(&[8; 32])).unwrap();
    assert_eq!(control.input_keys(&uid(1)).await, Err(EngineError::WrongMasterKey));
}

#[tokio::test]
async fn no_secret_is_on_the_disk_in_clear() {
    let dir = TempDir::new().unwrap();
    let control = open(&dir.path().join("control.db")).unwrap();
    an_input(&control, 1).await;
    let keys = control.input_keys(&uid(1)).await.unwrap().unwrap();
    drop(control);
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for secret in
            [&keys.stream_key, &keys.playback_key, &keys.srt_passphrase, &keys.webrtc_secret]
        {
            let text = secret.expose().as_bytes();
            assert!(!bytes.windows(text.len()).any(|window| window == text));
        }
    }
}

#[test]
fn a_newer_database_is_refused_and_left_alone() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("control.db");
    drop(open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = std::fs::read(&path).unwrap();
    let refused = open(&path).unwrap_err();
    assert!(refused.to_string().contains("newer Airwave (format 99"), "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn what_is_no_database_is_said_so() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("control.db");
    std::fs::write(&path, "no database at all, but long enough to be looked at".repeat(99))
        .unwrap();
    assert!(matches!(open(&path), Err(OpenError::Engine(EngineError::Corrupt(_)))));
    let nowhere = open(&dir.path().join("missing").join("control.db"));
    assert!(matches!(nowhere, Err(OpenError::Engine(EngineError::Io(_)))));
}

#[tokio::test]
async fn another_process_that_holds_the_lock_makes_writes_fail_and_reads_go_on() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("control.db");
    let control = open(&path).unwrap();
    an_input(&control, 1).await;
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let id = uid(1);
    let write = control.update_input(&id, Expect::Any, InputSettings::default(), NOW);
    let read = control.inputs(Page::default());
    let (write, read) = tokio::join!(write, read);
    assert_eq!(write, Err(EngineError::Busy.into()));
    assert_eq!(read.unwrap().total, 1);
    other.execute_batch("ROLLBACK").unwrap();
    let write = control.update_input(&uid(1), Expect::Any, InputSettings::default(), NOW).await;
    assert!(write.is_ok(), "it recovers");
}

#[tokio::test]
async fn a_full_disk_refuses_writes_keeps_what_is_there_and_recovers() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("control.db");
    let control = open(&path).unwrap();
    an_input(&control, 1).await;
    control.fail_writes_beyond(Some(1)).await.unwrap();
    let mut settings = InputSettings::default();
    settings.meta.insert("name".into(), "x".repeat(9_000).into());
    let mut refused = None;
    for seed in 2..40 {
        let made = control.create_input(uid(seed), settings.clone(), random(seed), NOW).await;
        if let Err(error) = made {
            refused = Some(error);
            break;
        }
    }
    assert_eq!(refused, Some(EngineError::DiskFull.into()));
    assert!(control.input(&uid(1)).await.unwrap().is_some());
    control.fail_writes_beyond(None).await.unwrap();
    an_input(&control, 60).await;
}

#[tokio::test]
async fn many_writers_share_syncs_and_each_gets_its_own_answer() {
    let dir = TempDir::new().unwrap();
    let control = Arc::new(open(&dir.path().join("control.db")).unwrap());
    an_input(&control, 1).await;
    let owned = control.claim(claim(1, ClaimMode::IfFree, NOW)).await.unwrap().owned;
    commit_all(&control, &owned, 1..2).await;
    let mut tasks = Vec::new();
    for n in 0..200_u64 {
        let (control, owned) = (control.clone(), owned.clone());
        tasks.push(tokio::spawn(async move {
            // Every other one is refused, and must not take its neighbours with it.
            let number = if n % 2 == 0 { 1 } else { 999 };
            control.commit(&owned, vec![segment(&owned, number)], 0).await
        }));
    }
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.await.unwrap().is_ok(), n % 2 == 0, "{n}");
    }
    assert_eq!(tail(&control, &owned.video).await, [(1, false)]);
}

#[tokio::test]
async fn a_backup_is_made_while_it_is_in_use_and_opens() {
    let dir = TempDir::new().unwrap();
    let control = open(&dir.path().join("control.db")).unwrap();
    let made = an_input(&control, 1).await;
    let copy = dir.path().join("backup.db");
    control.backup(&copy).await.unwrap();
    an_input(&control, 2).await;
    let restored = open(&copy).unwrap();
    assert_eq!(restored.inputs(Page::default()).await.unwrap().rows, [made]);
    let again = control.backup(&copy).await;
    assert!(again.is_err(), "never over a file that is there");
}

#[tokio::test]
async fn a_restored_backup_gives_out_nothing_that_was_given_out_after_it_was_made() {
    let dir = TempDir::new().unwrap();
    let control = open(&dir.path().join("control.db")).unwrap();
    an_input(&control, 1).await;
    let owned = control.claim(claim(1, ClaimMode::IfFree, NOW)).await.unwrap().owned;
    commit_all(&control, &owned, 1..3).await;
    let copy = dir.path().join("backup.db");
    control.backup(&copy).await.unwrap();
    commit_all(&control, &owned, 3..30).await;
    let later = control.claim(claim(2, ClaimMode::TakeOver, NOW)).await.unwrap();

    let restored = open(&copy).unwrap();
    let ended = restored.restored(NOW).await.unwrap();
    assert_eq!((ended.len(), &ended[0].video, ended[0].kept), (1, &owned.video, true));
    let new = restored.claim(claim(3, ClaimMode::IfFree, NOW)).await.unwrap();
    assert!(!new.resumed && new.owned.epoch > later.owned.epoch);
    assert!(new.first_segment > later.first_segment && new.first_group > later.first_group);
    commit_all(&restored, &new.owned, new.first_segment..new.first_segment + 2).await;
}
