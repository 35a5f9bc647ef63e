//! Programs that are none, workers that die, frames that are none, and what the process may not do.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use encode::wire::{FromEncoder, Hello};
use encode::{Allowance, Failed, Ladder, Program, Renditions, Unavailable};

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
pub(crate) fn children() -> Vec<u32> {
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
async fn a_live_job_whose_worker_is_killed_goes_on_before_those_who_wait() {
    let (live, past) = (Studio::make(SOURCE, X264), Studio::make(SOURCE, X264));
    let renditions = renditions(1).await;
    let level = &ladder().levels(&live.config)[0];
    live.there.send_replace((1, 1));
    let watched = renditions.segment(&live.original(), FIRST, level).unwrap();
    assert!(watched.part(0).await.unwrap().is_some());
    let sought = renditions.segment(&past.original(), FIRST, level).unwrap();
    let sought = sought.part(99);
    tokio::pin!(sought);
    // It waits for the only place.
    for _ in 0..100 {
        tokio::select! {
            biased;
            outcome = &mut sought => panic!("{outcome:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
    kill(children()[0]);
    live.there.send_replace((4, 3));
    tokio::select! {
        biased;
        _ = &mut sought => panic!("who seeks was served first"),
        outcome = watched.part(99) => assert_eq!(outcome, Ok(None)),
    }
    assert_eq!(renditions.counters().lost.load(Ordering::Relaxed), 1);
    assert_eq!(sought.await, Ok(None), "and is served");
}

/// Its picture is encoded as it came out, and whoever looks at the counter knows.
#[tokio::test]
async fn damage_that_a_decoder_hides_is_counted() {
    for damaged in [false, true] {
        let studio = Studio::edit(SOURCE, X264, |frames| {
            // The second half of a frame that is no key frame.
            let mut data = frames[20].data.to_vec();
            let half = data.len() / 2;
            if damaged {
                data[half..].iter_mut().for_each(|byte| *byte ^= 0x5a);
            }
            frames[20].data = data.into();
        });
        let renditions = renditions(1).await;
        let level = &ladder().levels(&studio.config)[0];
        for number in studio.numbers() {
            let made = renditions.segment(&studio.original(), number, level).unwrap();
            assert_eq!(made.part(99).await, Ok(None), "{number}");
        }
        let counters = renditions.counters();
        assert_eq!(counters.pictures.load(Ordering::Relaxed), 60, "all come out");
        let broken = counters.broken_frames.load(Ordering::Relaxed);
        assert_eq!(broken > 0, damaged, "{broken}");
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
        let counters = renditions.counters();
        assert_eq!(counters.lost.load(Ordering::Relaxed), 0, "{name}: no process is lost to it");
        assert_eq!(counters.started.load(Ordering::Relaxed), 1, "{name}: and none is started anew");
    }
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

/// A program that says of itself `words`, and does what is scripted where it shall work: `REAL` is the one that was built.
pub(crate) async fn scripted(dir: &Path, words: &str, work: &str) -> Program {
    use std::os::unix::fs::PermissionsExt;
    let script = dir.join("scripted");
    let work = work.replace("REAL", ENCODER);
    let text = format!("#!/bin/sh\ncase $1 in --version) echo '{words}'; exit;; esac\n{work}\n");
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    Program::ask(&script).await.unwrap()
}

pub(crate) async fn real_words() -> String {
    Program::ask(Path::new(ENCODER)).await.unwrap().words
}

/// What a program says, as a file that a script can put out.
pub(crate) fn said(dir: &Path, name: &str, messages: &[FromEncoder]) -> String {
    let path = dir.join(name);
    let bytes: Vec<Bytes> = messages.iter().map(FromEncoder::encode).collect();
    std::fs::write(&path, bytes.concat()).unwrap();
    path.display().to_string()
}

/// A program that greets and is not heard of again.
async fn silent(dir: &Path) -> Program {
    let words = real_words().await;
    let greeting = said(dir, "greeting", &[FromEncoder::Hello(Hello { words: words.clone() })]);
    scripted(dir, &words, &format!("/bin/cat {greeting}; exec /bin/sleep 600")).await
}

#[tokio::test]
async fn an_encoder_that_dies_when_it_is_asked_what_levels_begin_with_is_asked_once_more() {
    let dir = tempfile::tempdir().unwrap();
    let once = dir.path().join("once").display().to_string();
    let work = format!("[ -e {once} ] || {{ : > {once}; exit 1; }}; exec REAL work");
    let program = scripted(dir.path(), &real_words().await, &work).await;
    let renditions = Renditions::new(program, settings(1));
    tokio::spawn(renditions.clone().run());
    let studio = Studio::make(SOURCE, X264);
    let level = &ladder().levels(&studio.config)[0];
    assert!(renditions.init(studio.original().as_ref(), 7, level).await.is_ok());
    let counters = renditions.counters();
    assert_eq!(counters.lost.load(Ordering::Relaxed), 1, "the incident is counted");
    // One that always dies is given up, for all who ask before it is looked for again.
    let dies = scripted(dir.path(), &real_words().await, "exit 1").await;
    let renditions = Renditions::new(dies, settings(1));
    tokio::spawn(renditions.clone().run());
    for _ in 0..20 {
        let asked = renditions.init(studio.original().as_ref(), 7, level).await;
        assert_eq!(asked, Err(Failed::Program));
    }
    let counters = renditions.counters();
    assert_eq!(counters.lost.load(Ordering::Relaxed), 2);
    let complaint = renditions.complaint().unwrap();
    assert!(complaint.contains("the encoder has ended"), "{complaint}");
}

#[tokio::test]
async fn what_hangs_is_killed_once_and_not_tried_again_for_whoever_asks_next() {
    let dir = tempfile::tempdir().unwrap();
    let silent_max = std::time::Duration::from_millis(200);
    let settings = encode::Settings { silent_max, ..settings(1) };
    let renditions = Renditions::new(silent(dir.path()).await, settings);
    tokio::spawn(renditions.clone().run());
    let studio = Studio::make(SOURCE, X264);
    let level = &ladder().levels(&studio.config)[0];
    for _ in 0..20 {
        let made = renditions.segment(&studio.original(), FIRST, level).unwrap();
        assert_eq!(made.part(0).await, Err(Failed::Encoder));
    }
    let counters = renditions.counters();
    assert_eq!(counters.started.load(Ordering::Relaxed), 1, "one process for all who asked");
    assert_eq!(counters.lost.load(Ordering::Relaxed), 1, "and the incident is counted");
    let what = encode::What::Key(FIRST);
    let picture = encode::Picture { size: encode::Size::default(), what };
    for _ in 0..3 {
        let made = renditions.picture(&studio.original(), &picture).unwrap();
        assert_eq!(made.part(0).await, Err(Failed::Encoder), "pictures go by the same rule");
    }
    assert_eq!(counters.started.load(Ordering::Relaxed), 2);
}

/// It says every moment that it goes on, and nothing else: that is not silence, and still it is killed.
#[tokio::test]
async fn what_goes_on_for_ever_is_killed_once_and_not_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let words = real_words().await;
    let greeting =
        said(dir.path(), "greeting", &[FromEncoder::Hello(Hello { words: words.clone() })]);
    let goes_on = said(dir.path(), "goes-on", &[FromEncoder::GoesOn]);
    let work = format!(
        "/bin/cat {greeting}; exec 4<&0; /bin/cat <&4 > /dev/null &
        while /bin/cat {goes_on}; do /bin/sleep 0.1; done"
    );
    let program = scripted(dir.path(), &words, &work).await;
    let allowance = Allowance { least: Duration::from_millis(1_500), times: 1 };
    let renditions = Renditions::new(program, encode::Settings { allowance, ..settings(1) });
    tokio::spawn(renditions.clone().run());
    let studio = Studio::make(SOURCE, X264);
    let level = &ladder().levels(&studio.config)[0];
    for _ in 0..20 {
        let made = renditions.segment(&studio.original(), FIRST, level).unwrap();
        assert_eq!(made.part(0).await, Err(Failed::Encoder));
    }
    let counters = renditions.counters();
    let counted = || {
        let (started, lost) = (&counters.started, &counters.lost);
        (started.load(Ordering::Relaxed), lost.load(Ordering::Relaxed))
    };
    assert_eq!(counted(), (1, 1), "one process for all who asked, and the incident is counted");
    // Who asks what the level begins with, and who asks for a picture, likewise.
    let asked = renditions.init(studio.original().as_ref(), 7, level).await;
    assert_eq!((asked, counted()), (Err(Failed::Encoder), (2, 2)));
    let what = encode::What::Key(FIRST);
    let picture = encode::Picture { size: encode::Size::default(), what };
    let made = renditions.picture(&studio.original(), &picture).unwrap();
    assert_eq!((made.part(0).await, counted()), (Err(Failed::Encoder), (3, 3)));
}

/// A process that was taken over by what it decodes: more than this, and the server's memory would be its.
#[tokio::test]
async fn what_gives_without_end_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let words = real_words().await;
    let greeting =
        said(dir.path(), "greeting", &[FromEncoder::Hello(Hello { words: words.clone() })]);
    let mut data = vec![0xff; 8 << 20];
    data[..5].copy_from_slice(&[0, 0, 0, 1, 0x65]);
    let (output, present, sync) = (0, 0, true);
    let packet = FromEncoder::Packet { output, present, sync, data: data.into() };
    let packet = said(dir.path(), "packet", &[packet]);
    let done = said(dir.path(), "done", &[FromEncoder::Done { decoded: 1, broken: 0 }]);
    for (packets, expect) in [(1, Ok(None)), (40, Err(Failed::Encoder))] {
        let all = [packet.as_str()].repeat(packets).join(" ");
        // Not before it has been told of frames.
        let work = format!(
            "/bin/cat {greeting}; /usr/bin/head -c 4000 > /dev/null; exec 4<&0; \
             /bin/cat <&4 > /dev/null & exec /bin/cat {all} {done}"
        );
        let program = scripted(dir.path(), &words, &work).await;
        let renditions = Renditions::new(program, settings(1));
        tokio::spawn(renditions.clone().run());
        let studio = Studio::make(SOURCE, X264);
        let level = &ladder().levels(&studio.config)[0];
        let made = renditions.segment(&studio.original(), FIRST, level).unwrap();
        assert_eq!(made.part(99).await, expect, "{packets}");
        let lost = renditions.counters().lost.load(Ordering::Relaxed);
        assert_eq!(lost, u64::from(expect.is_err()), "{packets}");
    }
}

/// Live, a job lasts as long as its segment is on its way: that is not its encoder's to answer for.
#[tokio::test]
async fn a_segment_that_comes_late_is_no_job_that_takes_too_long() {
    let studio = Studio::make(SOURCE, X264);
    let program = Program::ask(Path::new(ENCODER)).await.unwrap();
    let allowance = Allowance { least: Duration::from_secs(60), times: 1 };
    let renditions = Renditions::new(program, encode::Settings { allowance, ..settings(1) });
    tokio::spawn(renditions.clone().run());
    let level = &ladder().levels(&studio.config)[0];
    studio.there.send_replace((1, 1));
    let made = renditions.segment(&studio.original(), FIRST, level).unwrap();
    assert!(made.part(0).await.unwrap().is_some());
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    // Two minutes pass for all but the processes, which have nothing to do.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(120)).await;
    tokio::time::resume();
    studio.there.send_replace((4, 3));
    assert_eq!(made.part(99).await, Ok(None));
    assert_eq!(renditions.counters().lost.load(Ordering::Relaxed), 0);
}

/// Numbers as from a die, the same in each run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

pub(crate) fn rounds(name: &str, gate: usize) -> usize {
    std::env::var(name).ok().map_or(gate, |n| n.parse().unwrap())
}

/// What a fuzzer does to frames: cut short, bits turned, parts doubled, swapped, gone.
pub(crate) fn spoil(frames: &mut [Bytes], dice: &mut Dice) {
    for _ in 0..1 + dice.roll(6) {
        let at = dice.roll(frames.len());
        let mut data = frames[at].to_vec();
        match dice.roll(6) {
            0 => data.truncate(dice.roll(data.len().max(1))),
            1 => {
                for _ in 0..1 + dice.roll(40) {
                    let byte = dice.roll(data.len().max(1));
                    data.get_mut(byte).into_iter().for_each(|b| *b ^= 1 << dice.roll(8));
                }
            }
            2 => {
                let from = dice.roll(data.len().max(1));
                let tail = data[from..].to_vec();
                data.extend(tail);
            }
            3 => {
                let other = dice.roll(frames.len());
                frames.swap(at, other);
                continue;
            }
            4 => data.iter_mut().skip(5).for_each(|b| *b = dice.roll(256) as u8),
            _ => {
                let byte = dice.roll(data.len().max(1));
                data.splice(byte..byte, std::iter::repeat_n(0xff, dice.roll(300)));
            }
        }
        frames[at] = data.into();
    }
}

#[tokio::test]
async fn spoilt_frames_of_every_codec_cost_their_segment_at_most() {
    let rounds = rounds("AIRWAVE_SPOILT_ROUNDS", 8);
    let source = "testsrc2=size=320x180:rate=30:duration=1";
    let x265 = "-c:v libx265 -preset ultrafast -tag:v hvc1 -x265-params log-level=none:keyint=15";
    let renditions = renditions(2).await;
    let (mut dice, mut failed) = (Dice(0x9e37_79b9_7f4a_7c15), 0);
    for (name, arguments) in [
        ("H.264", X264),
        ("HEVC", x265),
        ("AV1", "-c:v libaom-av1 -usage realtime -cpu-used 8 -g 15 -b:v 300k"),
        ("VP9", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 15 -b:v 300k"),
        ("VP8", "-c:v libvpx -deadline realtime -cpu-used 8 -g 15 -b:v 300k"),
    ] {
        let before = renditions.counters().broken_frames.load(Ordering::Relaxed);
        let good = Studio::make(source, arguments);
        let level = ladder().levels(&good.config).pop().unwrap();
        for round in 0..rounds {
            let mut frames = good.frames();
            spoil(&mut frames, &mut dice);
            let bad = good.with_frames(&frames);
            for number in bad.numbers() {
                let made = renditions.segment(&bad.original(), number, &level).unwrap();
                match made.part(99).await {
                    Ok(None) => {}
                    Err(Failed::Encoder) => failed += 1,
                    other => panic!("{name} {round} {number}: {other:?}"),
                }
            }
        }
        // What strangers send costs nobody else anything.
        for number in good.numbers() {
            let made = renditions.segment(&good.original(), number, &level).unwrap();
            assert_eq!(made.part(99).await, Ok(None), "{name} {number}: those who are well");
        }
        let broken = renditions.counters().broken_frames.load(Ordering::Relaxed);
        assert!(broken > before, "{name}: the incidents are counted");
    }
    let counters = renditions.counters();
    let broken = counters.broken_frames.load(Ordering::Relaxed);
    let lost = counters.lost.load(Ordering::Relaxed);
    println!(
        "{} rounds: {failed} segments given up, {broken} frames broken, {lost} processes lost",
        rounds * 5
    );
}

#[tokio::test]
async fn what_fuzzers_found_is_no_picture_and_no_harm() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds");
    let mut seeds: Vec<Bytes> = Vec::new();
    for target in ["media_codecs", "media_containers", "rtmp_wire"] {
        for seed in std::fs::read_dir(Path::new(folder).join(target)).unwrap() {
            seeds.push(std::fs::read(seed.unwrap().path()).unwrap().into());
        }
    }
    seeds.sort();
    seeds.retain(|seed| !seed.is_empty());
    assert!(seeds.len() > 20, "the seeds are gone");
    let good = Studio::make(SOURCE, X264);
    let renditions = renditions(1).await;
    let level = &ladder().levels(&good.config)[0];
    let count = good.frames().len();
    for seeds in seeds.chunks(count) {
        let mut frames = good.frames();
        frames.iter_mut().skip(1).zip(seeds).for_each(|(frame, seed)| *frame = seed.clone());
        let bad = good.with_frames(&frames);
        for number in bad.numbers() {
            let made = renditions.segment(&bad.original(), number, level).unwrap();
            let outcome = made.part(99).await;
            assert!(matches!(outcome, Ok(None) | Err(Failed::Encoder)), "{number}: {outcome:?}");
        }
    }
    let made = renditions.segment(&good.original(), FIRST, level).unwrap();
    assert_eq!(made.part(99).await, Ok(None));
}

#[tokio::test]
async fn workers_that_are_killed_again_and_again_cost_retries() {
    let kills = rounds("AIRWAVE_WORKER_KILLS", 12);
    let good = Studio::make(SOURCE, X264);
    let renditions = renditions(1).await;
    let level = &ladder().levels(&good.config)[0];
    let (mut dice, mut done, mut given_up) = (Dice(77), 0, 0);
    while done < kills {
        // Another video each time, of which one part is there: its worker is in the middle of it.
        let studio = good.with_frames(&good.frames());
        studio.there.send_replace((1, 1));
        let made = renditions.segment(&studio.original(), FIRST, level).unwrap();
        assert!(made.part(0).await.unwrap().is_some());
        let twice = dice.roll(3) == 0;
        let mut before = Vec::new();
        for kill_again in [true, twice] {
            if !kill_again {
                continue;
            }
            let running = loop {
                let running = children();
                if running.len() == 1 && running != before {
                    break running;
                }
                tokio::task::yield_now().await;
            };
            kill(running[0]);
            done += 1;
            before = running;
        }
        // And nothing behind it, which would be made ahead: the only worker is the next one's.
        studio.there.send_replace((1, studio.parts(FIRST)));
        match made.part(99).await {
            Ok(None) if !twice => {}
            Err(Failed::Encoder) if twice => given_up += 1,
            other => panic!("{done}: killed twice {twice}: {other:?}"),
        }
    }
    let lost = renditions.counters().lost.load(Ordering::Relaxed);
    assert_eq!(lost, done as u64, "each is counted");
    let made = renditions.segment(&good.original(), FIRST, level).unwrap();
    assert_eq!(made.part(99).await, Ok(None), "the node goes on");
    println!("{done} kills of workers: {given_up} segments given up, all others made");
}

#[tokio::test]
async fn an_encoder_that_does_not_work_here_is_said() {
    let program = Program::ask(Path::new(ENCODER)).await.unwrap();
    for name in ["vaapi", "nvenc", "qsv", "v4l2"] {
        let encoder: encode::Encoder = name.parse().unwrap();
        assert_eq!(encoder.name(), name);
        // Where there is such hardware it works; else it is said why not.
        if let Err(why) = program.try_out(encoder).await {
            assert!(!why.is_empty() && !why.contains("panicked"), "{name}: {why}");
            println!("{name}: {why}");
        }
    }
    assert!("nvidia".parse::<encode::Encoder>().is_err());
    // One that is configured and fails all the same, later: software does it.
    let settings = encode::Settings { encoder: "h264_nothing".to_owned(), ..settings(1) };
    let renditions = Renditions::new(program, settings);
    tokio::spawn(renditions.clone().run());
    let studio = Studio::make(SOURCE, X264);
    let level = &ladder().levels(&studio.config)[0];
    let made = renditions.segment(&studio.original(), FIRST, level).unwrap();
    assert_eq!(made.part(99).await, Ok(None));
}

/// What is installed over a program that runs is asked what it is, before anything goes out under the old one's name.
#[tokio::test]
async fn a_program_that_is_replaced_is_asked_again_and_its_levels_are_others() {
    let dir = tempfile::tempdir().unwrap();
    let words = real_words().await;
    let before = words.replacen("libavcodec", "libavcodec of before,", 1);
    let older = dir.path().join("older");
    std::fs::create_dir(&older).unwrap();
    let hello = FromEncoder::Hello(Hello { words: before.clone() });
    let greeting = said(dir.path(), "greeting", &[hello]);
    let work = format!("/bin/cat {greeting}; exec /bin/sleep 600");
    let program = scripted(&older, &before, &work).await;
    let path = program.path.clone();
    let renditions = Renditions::new(program, settings(1));
    tokio::spawn(renditions.clone().run());
    let studio = Studio::make(SOURCE, X264);
    let level = &ladder().levels(&studio.config)[0];
    let id = renditions.init_id(7, level);
    // Over it, as packages are: whatever begins from now on is the new one.
    let newer = scripted(dir.path(), &words, "exec REAL work").await;
    std::fs::rename(newer.path, path).unwrap();
    let made = renditions.segment(&studio.original(), FIRST, level).unwrap();
    assert!(made.part(0).await.unwrap().is_some());
    assert_ne!(renditions.init_id(7, level), id, "what it begins with has another name");
    let counters = renditions.counters();
    assert_eq!(counters.started.load(Ordering::Relaxed), 1, "nobody notices");
    assert_eq!(renditions.complaint(), None);
}
