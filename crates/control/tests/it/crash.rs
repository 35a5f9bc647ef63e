//! Kill -9 at named points and anywhere: what was acknowledged is there, and no number that a viewer
//! may have seen is used again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use control::conformance::{NOW, gap, random, segment, uid};
use control::{Claim, ClaimMode, Control, InputSettings, MasterKey, NodeId, SessionId, VideoUid};
use tempfile::TempDir;

const DIR: &str = "AIRWAVE_TEST_DIR";
const ROUND: &str = "AIRWAVE_TEST_ROUND";

fn open(dir: &Path) -> Control {
    Control::open(&dir.join("control.db"), MasterKey::new(&[7; 32])).unwrap()
}

/// The process that is killed: one node's life. It says on its standard output what it may show to
/// viewers (`@shown N`) and what was acknowledged to it (`@acked N EPOCH`, `@sealed N`).
#[tokio::test]
#[ignore = "child: run by the tests below, as a process of its own"]
async fn node() {
    let (Ok(dir), Ok(round)) = (std::env::var(DIR), std::env::var(ROUND)) else { return };
    let (dir, round): (_, u8) = (Path::new(&dir), round.parse().unwrap());
    let control = open(dir);
    if control.input(&uid(1)).await.unwrap().is_none() {
        let settings = InputSettings::default();
        control.create_input(uid(1), settings, random(1), NOW).await.unwrap();
    }
    let node = NodeId::parse("node").unwrap();
    control.park_all(&node, NOW, Duration::from_secs(2)).await.unwrap();
    let claim = Claim {
        input: uid(1),
        node,
        session: SessionId::parse(&format!("round {round}")).unwrap(),
        mode: ClaimMode::IfFree,
        now_ms: NOW,
        resume_within_ms: 1_000,
        new_video: VideoUid::from_random([round; 16]),
    };
    let claimed = control.claim(claim).await.unwrap();
    let owned = &claimed.owned;
    println!("\n@claimed {} {}", claimed.gap.start, owned.video);
    for number in claimed.gap.clone() {
        control.commit(owned, vec![gap(owned, number)], 0).await.unwrap();
        println!("@acked {number} {}", owned.epoch.0);
    }
    for number in claimed.first_segment.. {
        println!("@shown {number}");
        let head = control.commit(owned, vec![segment(owned, number)], 0).await.unwrap();
        assert!(head.reserved_to > number);
        println!("@acked {number} {}", owned.epoch.0);
        if let Some(page) = control.unsealed_page(&owned.video).await.unwrap() {
            let (first, object) = (page.first_number, format!("page-{}", page.first_number));
            std::fs::write(dir.join(&object), &page.bytes).unwrap();
            control.seal_page(owned, page, &object).await.unwrap();
            println!("@sealed {first}");
        }
    }
}

fn spawn(dir: &Path, round: u8, failpoint: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::node", "--ignored", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(ROUND, round.to_string())
        .env(failpoint::VARIABLE, failpoint)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What all rounds have seen of one database.
#[derive(Default)]
struct Seen {
    video: Option<String>,
    acked: BTreeMap<u64, u64>,
    shown: BTreeSet<u64>,
    sealed: BTreeSet<u64>,
}

impl Seen {
    /// Reads what a process says until it is dead; kills it after this many acknowledgements.
    fn round(&mut self, mut child: Child, kill_after: usize) {
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acks = 0;
        for line in lines {
            let line = line.unwrap();
            let fields: Vec<_> = line.split(' ').collect();
            let number = || fields[1].parse::<u64>().unwrap();
            match fields[0] {
                "@claimed" => {
                    let video = self.video.get_or_insert_with(|| fields[2].to_owned());
                    assert_eq!(video, fields[2], "the broadcast goes on");
                }
                "@shown" => {
                    let newest = self.shown.last().copied().unwrap_or(0);
                    assert!(number() > newest, "{} was shown before", number());
                    self.shown.insert(number());
                }
                "@acked" => {
                    let before = self.acked.insert(number(), fields[2].parse().unwrap());
                    assert_eq!(before, None, "{} was acknowledged before", number());
                    acks += 1;
                    if acks == kill_after {
                        child.kill().unwrap();
                    }
                }
                "@sealed" => drop(self.sealed.insert(number())),
                _ => {}
            }
        }
        let status = child.wait().unwrap();
        assert!(status.signal().is_some(), "it was to be killed, and: {status}");
    }

    /// Opens what is left: everything that was acknowledged is there, under its ownership, with no
    /// hole before it.
    async fn check(&self, dir: &Path) {
        let Some(video) = &self.video else { return };
        let control = open(dir);
        let video = VideoUid::parse(video).unwrap();
        let read = control
            .committed(&video, 0..u64::MAX >> 1, async |page| {
                std::fs::read(dir.join(&page.object)).map(Into::into)
            })
            .await
            .unwrap();
        let numbers: Vec<_> = read.iter().map(|record| record.number).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
        for (number, epoch) in &self.acked {
            let record = &read[usize::try_from(number - 1).unwrap()];
            assert_eq!(record.epoch.0, *epoch, "segment {number}");
            assert_eq!(record.gap, !self.shown.contains(number) || record.object.is_none());
        }
        let index = control.committed_index(&video, 0..u64::MAX >> 1).await.unwrap();
        let pages: BTreeSet<_> = index.pages.iter().map(|page| page.first_number).collect();
        assert!(self.sealed.is_subset(&pages), "{:?} {pages:?}", self.sealed);
        let video = control.video(&video).await.unwrap().unwrap();
        assert_eq!(video.segments, numbers.len() as u64);
    }
}

#[tokio::test]
async fn killed_at_every_point_nothing_acknowledged_is_lost_and_no_number_is_used_twice() {
    let dir = TempDir::new().unwrap();
    let mut seen = Seen::default();
    let points = [
        "schema.migrated",
        "engine.before_commit:1",
        "engine.after_commit:1",
        "engine.before_commit:2",
        "engine.after_commit:2",
        "engine.before_commit:3",
        "engine.after_commit:3",
        "index.inserted",
        "index.inserted:5",
        "index.inserted:70",
        "index.page_inserted",
        "engine.after_commit:40",
        "index.page_inserted:2",
        "engine.before_commit:9",
    ];
    for (round, point) in (0..).zip(points) {
        seen.round(spawn(dir.path(), round, point), usize::MAX);
        seen.check(dir.path()).await;
    }
    assert!(seen.sealed.len() >= 2 && seen.acked.len() > 180, "{}", seen.acked.len());
}

#[tokio::test]
async fn killed_anywhere_nothing_acknowledged_is_lost_and_no_number_is_used_twice() {
    let dir = TempDir::new().unwrap();
    let mut seen = Seen::default();
    for round in 0..10_u8 {
        let acks = 1 + usize::from(round) * 37 % 90;
        seen.round(spawn(dir.path(), round, ""), acks);
        seen.check(dir.path()).await;
    }
}
