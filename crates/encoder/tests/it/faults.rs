//! Programs that are none, workers that die, frames that are none, and what the process may not do.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use encode::{Failed, Ladder, Program, Renditions, Unavailable};

use crate::studio::{ENCODER, FIRST, Studio, renditions, settings};

const X264: &str = "-c:v libx264 -preset ultrafast -bf 0 -g 15 -sc_threshold 0";
const SOURCE: &str = "testsrc2=size=320x180:rate=30:duration=2";

fn ladder() -> Ladder {
    Ladder::new(vec!["96p".parse().unwrap()])
}

#[tokio::test]
async fn what_is_no_encoder_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("airwave-encode");
    assert_eq!(Program::ask(&missing).await, Err(Unavailable::Missing(missing)));
    let not_executable = dir.path().join("text");
    std::fs::write(&not_executable, "x").unwrap();
    let asked = Program::ask(&not_executable).await;
    assert!(matches!(asked, Err(Unavailable::NotStarted { .. })), "{asked:?}");
    for other in ["/bin/true", "/bin/false", "/bin/ls"] {
        let asked = Program::ask(Path::new(other)).await;
        assert!(matches!(asked, Err(Unavailable::Strange { .. })), "{other}: {asked:?}");
    }
    let program = Program::ask(Path::new(ENCODER)).await.unwrap();
    assert!(program.has_encoder("libx264") && !program.has_encoder("libx26"), "{}", program.words);
}

#[test]
fn by_hand_it_says_who_starts_it() {
    let output = Command::new(ENCODER).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--version"));
    // A closed pipe is its end, not an error.
    let mut child = Command::new(ENCODER)
        .arg("work")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Processes that this one has started and that still run.
fn children() -> Vec<u32> {
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
        let mut fields = rest.split(' ');
        let (state, parent) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
        if parent == own && state != "Z" {
            found.push(pid);
        }
    }
    found
}

fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

#[tokio::test]
async fn a_worker_that_is_killed_in_the_middle_costs_a_retry() {
    let studio = Studio::make(SOURCE, X264);
    let renditions = renditions(1).await;
    let level = &ladder().levels(&studio.config)[0];
    studio.there.send_replace((1, 1));
    let made = renditions.segment(&studio.original(), FIRST, level).unwrap();
    let first = made.part(0).await.unwrap().unwrap();
    let running = children();
    assert_eq!(running.len(), 1, "{running:?}");
    kill(running[0]);
    studio.there.send_replace((4, 3));
    let mut parts = Vec::new();
    for part in 0..studio.parts(FIRST) {
        parts.push(made.part(part).await.unwrap().unwrap());
    }
    assert_eq!(parts[0], first, "what viewers have stays");
    assert_eq!(renditions.counters().lost.load(Ordering::Relaxed), 1);
    // The second attempt gave the same bytes as an undisturbed one.
    let undisturbed = crate::studio::renditions(1).await;
    let again = undisturbed.segment(&studio.original(), FIRST, level).unwrap();
    for (part, bytes) in parts.iter().enumerate() {
        assert_eq!(again.part(part).await.unwrap().as_ref(), Some(bytes), "{part}");
    }
}

#[tokio::test]
async fn frames_that_are_none_cost_their_pictures_and_nobody_elses() {
    // Noise in the place of a frame, of three, and of all.
    for (name, from, to) in [("one", 20, 21), ("three", 20, 23), ("all", 0, 60)] {
        let studio = Studio::edit(SOURCE, X264, |frames| {
            for frame in &mut frames[from..to] {
                let noise = (0..frame.data.len()).map(|i| (i * 7919 % 251) as u8);
                frame.data = noise.collect::<Vec<u8>>().into();
            }
        });
        let renditions = renditions(1).await;
        let level = &ladder().levels(&studio.config)[0];
        for number in studio.numbers() {
            let made = renditions.segment(&studio.original(), number, level).unwrap();
            let outcome = made.part(99).await;
            if name == "all" {
                assert_eq!(outcome, Err(Failed::Encoder), "{name} {number}");
            } else {
                assert_eq!(outcome, Ok(None), "{name} {number}");
            }
        }
    }
    assert!(children().len() <= 3, "none was lost to it: {:?}", children());
}

#[tokio::test]
async fn originals_that_are_not_there_and_codecs_that_are_wrong_are_said() {
    let studio = Studio::make(SOURCE, X264);
    let renditions = renditions(1).await;
    let level = &ladder().levels(&studio.config)[0];
    let made = renditions.segment(&studio.original(), 99, level).unwrap();
    assert_eq!(made.part(0).await, Err(Failed::NoOriginal));
    // A part that ends in the middle of a box.
    let cut =
        Studio::edit(SOURCE, X264, |frames| frames.iter_mut().for_each(|f| f.data = Bytes::new()));
    let made = renditions.segment(&cut.original(), FIRST + 1, level).unwrap();
    assert_eq!(made.part(0).await, Err(Failed::Encoder));
}

#[tokio::test]
async fn out_of_workers_those_who_wait_hear_of_it_in_time() {
    let studio = Studio::make(SOURCE, X264);
    let program = Program::ask(Path::new(ENCODER)).await.unwrap();
    let patience = std::time::Duration::from_millis(1);
    let renditions = Renditions::new(program, encode::Settings { patience, ..settings(1) });
    tokio::spawn(renditions.clone().run());
    let level = &ladder().levels(&studio.config)[0];
    // The only worker is busy with a segment that does not go on.
    studio.there.send_replace((2, 1));
    let live = renditions.segment(&studio.original(), FIRST + 1, level).unwrap();
    assert!(live.part(0).await.unwrap().is_some());
    let past = renditions.segment(&studio.original(), FIRST, level).unwrap();
    assert_eq!(past.part(0).await, Err(Failed::Busy));
    assert_eq!(renditions.counters().refused.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_idle_worker_goes() {
    let studio = Studio::make(SOURCE, X264);
    let program = Program::ask(Path::new(ENCODER)).await.unwrap();
    let linger = std::time::Duration::ZERO;
    let renditions = Renditions::new(program, encode::Settings { linger, ..settings(1) });
    tokio::spawn(renditions.clone().run());
    let level = &ladder().levels(&studio.config)[0];
    let made = renditions.segment(&studio.original(), FIRST, level).unwrap();
    assert_eq!(made.part(99).await, Ok(None));
    let counters: Arc<encode::Counters> = renditions.counters().clone();
    while counters.processes.load(Ordering::Relaxed) > 0 || !children().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(counters.prefetched.load(Ordering::Relaxed), 0, "nobody watches any more");
}
