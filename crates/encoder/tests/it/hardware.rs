//! An encoder in hardware that fails, in the middle of a broadcast and in the middle of a segment. There is no such hardware
//! here: a process makes believe to be it. It hands what it is sent to the real program, as a job for libx264 with parameter
//! sets of its own, and fails when it is told to.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use encode::wire::{self, FromEncoder, H264, Output, ToEncoder};
use encode::{Disk, Ladder, Level, Made, Program, Renditions, Settings};

use crate::studio::{ENCODER, FIRST, Studio, difference, seen, settings};

const NAME: &str = "h264_vaapi";

/// With it, this program is the hardware; what it says is how the hardware is, as files in this folder.
const INSIDE: &str = "AIRWAVE_ENCODER_HARDWARE";

/// The hardware, as who tries it out sees it: it works when nothing is wrong with it.
struct Hardware(tempfile::TempDir);

impl Hardware {
    fn new() -> Self {
        let hardware = Self(tempfile::tempdir().unwrap());
        fs::create_dir(hardware.state()).unwrap();
        hardware
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    /// `broken` when it is opened, `fails` or `dies` with the next frame.
    fn is(&self, what: &str) {
        fs::write(self.state().join(what), "").unwrap();
    }

    fn is_well(&self) {
        fs::read_dir(self.state())
            .unwrap()
            .flatten()
            .for_each(|f| fs::remove_file(f.path()).unwrap());
    }

    /// Another driver says other parameter sets.
    fn has_another_driver(&self) {
        fs::write(self.0.path().join("driver"), "").unwrap();
    }

    async fn program(&self) -> Program {
        use std::os::unix::fs::PermissionsExt;
        let words = Program::ask(Path::new(ENCODER)).await.unwrap().words;
        let (own, folder) = (std::env::current_exe().unwrap(), self.0.path().display());
        let inside = "--exact hardware::make_believe --nocapture";
        let text = format!(
            "#!/bin/sh\ncase $1 in\n--version) echo '{words},{NAME}'; exit;;\n\
             --try) /bin/rmdir {folder}/state && /bin/mkdir {folder}/state; exit;;\nesac\n\
             [ -n \"$2\" ] || exec {ENCODER} work\n\
             {INSIDE}={folder} exec {} {inside} 3>&1 1>/dev/null\n",
            own.display()
        );
        let script = self.0.path().join("scripted");
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        Program::ask(&script).await.unwrap()
    }

    async fn renditions(&self, more: impl FnOnce(Settings) -> Settings) -> Arc<Renditions> {
        let hardware_again = Duration::from_millis(1);
        let settings = Settings { encoder: NAME.to_owned(), hardware_again, ..settings(2) };
        let renditions = Renditions::new(self.program().await, more(settings));
        tokio::spawn(renditions.clone().run());
        renditions
    }
}

/// Not a test by itself: the process that makes believe.
#[test]
fn make_believe() {
    let Ok(folder) = std::env::var(INSIDE) else { return };
    let folder = Path::new(&folder);
    let is = |what: &str| folder.join("state").join(what).exists();
    // The standard output is the harness's.
    let out = File::options().write(true).open("/proc/self/fd/3").unwrap();
    let out = Arc::new(Mutex::new(out));
    let mut command = Command::new(ENCODER);
    command.arg("work").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut real = command.spawn().unwrap();
    let (mut to, mut from) = (real.stdin.take().unwrap(), real.stdout.take().unwrap());
    let said = out.clone();
    // Whole messages only: it may be killed in the middle of one.
    let says = std::thread::spawn(move || {
        while let Ok(Some((kind, body))) = wire::read(&mut from) {
            let message = FromEncoder::decode(kind, body).unwrap();
            said.lock().unwrap().write_all(&message.encode()).unwrap();
        }
    });
    let mut input = std::io::stdin().lock();
    // The software's jobs are none of its business.
    let (mut own, mut failed) = (false, false);
    while let Ok(Some((kind, body))) = wire::read(&mut input) {
        let message = match ToEncoder::decode(kind, body).unwrap() {
            ToEncoder::Begin { source, outputs } => {
                own = outputs.iter().any(is_own);
                failed |= own && (is("broken") || outputs.iter().any(is_too_large));
                let another = folder.join("driver").exists();
                let outputs = outputs.into_iter().map(|output| believed(output, another));
                ToEncoder::Begin { source, outputs: outputs.collect() }
            }
            frame @ ToEncoder::Frame(_) if own && is("dies") => {
                real.kill().unwrap();
                drop(frame);
                std::process::exit(1);
            }
            frame @ ToEncoder::Frame(_) => {
                failed |= own && is("fails");
                frame
            }
            end @ ToEncoder::End => end,
        };
        if !failed {
            to.write_all(&message.encode()).unwrap();
            continue;
        }
        // It takes what it is still sent.
        if real.try_wait().unwrap().is_none() {
            real.kill().unwrap();
            real.wait().unwrap();
            let words = FromEncoder::NoEncoder("the card has fallen off the bus".to_owned());
            out.lock().unwrap().write_all(&words.encode()).unwrap();
        }
    }
    drop(to);
    says.join().unwrap();
    let _ = real.wait();
}

/// Cards have sizes that they can't encode.
fn is_too_large(output: &Output) -> bool {
    matches!(output, Output::H264(h264) if h264.height > 150)
}

fn is_own(output: &Output) -> bool {
    matches!(output, Output::H264(h264) if h264.encoder == NAME)
}

fn believed(output: Output, another: bool) -> Output {
    match output {
        Output::H264(h264) if h264.encoder == NAME => {
            assert_eq!(h264.parameter_set, 0, "it can't be told");
            let level = if another { 51 } else { h264.level };
            Output::H264(H264 {
                encoder: encode::SOFTWARE.to_owned(),
                crf_tenths: 300,
                level,
                ..h264
            })
        }
        other => other,
    }
}

fn level(studio: &Studio, rung: &str) -> Level {
    Ladder::new(vec![rung.parse().unwrap()]).levels(&studio.config).remove(0)
}

/// Waits for what comes soon.
async fn until(what: &str, is: impl Fn() -> bool) {
    let soon = async {
        while !is() {
            tokio::task::yield_now().await;
        }
    };
    let soon = tokio::time::timeout(Duration::from_secs(240), soon).await;
    assert!(soon.is_ok(), "{what}");
}

async fn works(renditions: &Renditions) {
    until("the hardware to work again", || renditions.complaint().is_none()).await;
}

/// The parts of a segment.
async fn parts_of(made: &Made) -> Vec<Vec<Bytes>> {
    let mut parts = Vec::new();
    while let Some(part) = made.part(parts.len()).await.unwrap() {
        parts.push(part);
    }
    parts
}

/// Whose parameter sets the pictures of a part refer to, and whether it begins with one that refers to no other: H.264 §7.3.3.
fn coded_by(part: &[Bytes]) -> (u64, bool) {
    let mut seen = Vec::new();
    for frame in &part[1..] {
        let mut rest = &frame[..];
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let (unit, next) = behind.split_at(u32::from_be_bytes(*length) as usize);
            if matches!(unit[0] & 0x1f, 1 | 5) {
                let mut bits =
                    unit[1..].iter().flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1));
                let mut number = || {
                    let zeros = bits.by_ref().take_while(|bit| *bit == 0).count();
                    (0..zeros).fold(1u64, |n, _| n << 1 | u64::from(bits.next().unwrap())) - 1
                };
                let (_first, _kind, set) = (number(), number(), number());
                seen.push((set, unit[0] & 0x1f == 5));
            }
            rest = next;
        }
    }
    assert!(seen.iter().all(|(set, _)| *set == seen[0].0), "one encoder made all of a part");
    seen[0]
}

/// Whose the parts of a segment are: by how many one in hardware has made, and how many the software behind them.
fn shares(parts: &[Vec<Bytes>]) -> (usize, usize) {
    let by: Vec<(u64, bool)> = parts.iter().map(|part| coded_by(part)).collect();
    let hardware = by.iter().take_while(|(set, _)| *set == 0).count();
    assert!(by[hardware..].iter().all(|(set, _)| *set == 1), "{by:?}");
    assert!(by[0].1, "a segment begins anew");
    assert!(
        by.get(hardware).is_none_or(|(_, anew)| *anew),
        "and so does what another goes on with"
    );
    (hardware, by.len() - hardware)
}

fn file(init: &Bytes, segments: &[Vec<Vec<Bytes>>]) -> Vec<u8> {
    let pieces = segments.iter().flatten().flatten();
    init.iter().copied().chain(pieces.flat_map(|piece| piece.to_vec())).collect()
}

const SOURCES: [&str; 2] = [
    "-c:v libx264 -preset ultrafast -bf 0 -g 30 -sc_threshold 0",
    "-c:v libx264 -preset veryfast -bf 3 -b_strategy 0 -g 30 -sc_threshold 0 -x264-params b-pyramid=normal",
];

const PARTS: usize = 6;

/// Segments, and what happens to the hardware when one begins, or when it is under way.
const HAPPENS: [(&str, &str); 11] = [
    ("", ""),
    ("", ""),
    ("broken", ""),
    ("", ""),
    ("well", ""),
    ("", "fails"),
    ("well", ""),
    ("", "dies"),
    ("", ""),
    ("well", ""),
    ("", ""),
];

#[tokio::test]
async fn who_plays_does_not_notice_which_of_two_encoders_made_a_segment() {
    for source in SOURCES {
        let count = HAPPENS.len();
        let studio =
            Studio::make(&format!("testsrc2=size=320x180:rate=30:duration={count}"), source);
        assert_eq!((studio.numbers().count(), studio.parts(FIRST)), (count, PARTS));
        let level = level(&studio, "96p");
        let hardware = Hardware::new();
        let renditions = hardware.renditions(|settings| settings).await;
        let original = studio.original();
        let id = renditions.init_id(7, &level);
        let init = renditions.init(original.as_ref(), 7, &level).await.unwrap();
        let (mut segments, mut made_by) = (Vec::new(), Vec::new());
        for (number, (at_first, under_way)) in studio.numbers().zip(HAPPENS) {
            match at_first {
                "well" => {
                    hardware.is_well();
                    works(&renditions).await;
                }
                "" => {}
                what => hardware.is(what),
            }
            let begun = segments.len() + 1;
            studio.there.send_replace((begun, if under_way.is_empty() { PARTS } else { 3 }));
            let made = renditions.segment(&original, number, &level).unwrap();
            if !under_way.is_empty() {
                assert!(made.part(0).await.unwrap().is_some());
                hardware.is(under_way);
                studio.there.send_replace((begun, PARTS));
            }
            let parts = parts_of(&made).await;
            made_by.push(shares(&parts));
            segments.push(parts);
        }
        for (n, (by_hardware, by_software)) in made_by.iter().enumerate() {
            match n {
                5 | 7 => assert!((1..=3).contains(by_hardware) && *by_software > 0, "{made_by:?}"),
                2 | 3 | 8 => assert_eq!((*by_hardware, *by_software), (0, PARTS), "{made_by:?}"),
                _ => assert_eq!((*by_hardware, *by_software), (PARTS, 0), "{n}: {made_by:?}"),
            }
        }
        // Who came before, meanwhile or afterwards has the same.
        assert_eq!(renditions.init_id(7, &level), id);
        assert_eq!(renditions.init(original.as_ref(), 7, &level).await.unwrap(), init);
        let (shown, complaints) = seen(&file(&init, &segments));
        assert_eq!((shown.len(), complaints.as_str()), (studio.times.len(), ""), "{source}");
        let whole: Vec<u8> = studio.numbers().flat_map(|number| studio.file(number)).collect();
        let (expected, _) = seen(&whole);
        for (n, (shown, expected)) in shown.iter().zip(&expected).enumerate() {
            let off = difference(shown, expected);
            assert!(off < OFF_MAX, "{source}: picture {n} is off by {off}");
        }
        let counters = renditions.counters();
        assert_eq!(counters.hardware_failed.load(Ordering::Relaxed), 3, "each is counted");
        assert_eq!(counters.lost.load(Ordering::Relaxed), 3);
        // With what only one of them begins with, that of the other is no picture.
        let alone = crate::studio::renditions(1).await;
        let alone = alone.init(original.as_ref(), 7, &level).await.unwrap();
        let (_, complaints) = seen(&file(&alone, &segments[2..3]));
        assert!(complaints.contains("non-existing PPS"), "{complaints}");
    }
}

/// How far a picture may be off, in squares of grey: a picture beside it may be as near as 90, one without what it refers to is
/// thousands off.
const OFF_MAX: f64 = 160.0;

#[tokio::test]
async fn a_level_that_hardware_has_not_spoken_of_is_made_by_software_as_long_as_the_server_runs() {
    let studio = Studio::make("testsrc2=size=320x180:rate=30:duration=2", SOURCES[0]);
    let (asked, later) = (level(&studio, "96p"), level(&studio, "144p"));
    let hardware = Hardware::new();
    hardware.is("broken");
    let renditions = hardware.renditions(|settings| settings).await;
    let original = studio.original();
    let init = renditions.init(original.as_ref(), 7, &asked).await.unwrap();
    let complaint = renditions.complaint().unwrap();
    assert!(complaint.contains(NAME) && complaint.contains("again"), "{complaint}");
    hardware.is_well();
    works(&renditions).await;
    let mut segments = Vec::new();
    for number in studio.numbers() {
        let made = renditions.segment(&original, number, &asked).unwrap();
        segments.push(parts_of(&made).await);
        assert_eq!(shares(segments.last().unwrap()), (0, PARTS));
    }
    assert_eq!(renditions.init(original.as_ref(), 7, &asked).await.unwrap(), init, "the same");
    let (shown, complaints) = seen(&file(&init, &segments));
    assert_eq!((shown.len(), complaints.as_str()), (60, ""));
    // Nobody has asked what this one begins with.
    let made = renditions.segment(&original, FIRST, &later).unwrap();
    let segment = parts_of(&made).await;
    assert_eq!(shares(&segment), (PARTS, 0));
    let init = renditions.init(original.as_ref(), 7, &later).await.unwrap();
    let (shown, complaints) = seen(&file(&init, &[segment]));
    assert_eq!((shown.len(), complaints.as_str()), (30, ""));
}

/// Whoever publishes chooses the sizes: one that the hardware can't encode is nobody else's loss.
#[tokio::test]
async fn a_size_that_hardware_does_not_have_is_made_by_software_and_no_failure() {
    let studio = Studio::make("testsrc2=size=320x180:rate=30:duration=1", SOURCES[0]);
    let levels = [level(&studio, "96p"), level(&studio, "160p")];
    let hardware = Hardware::new();
    let renditions = hardware.renditions(|settings| settings).await;
    let init = studio.original().init(7).await.unwrap().unwrap();
    let inits = renditions.inits(&init, &levels).await.unwrap();
    for ((level, init), shared) in levels.iter().zip(&inits).zip([(PARTS, 0), (0, PARTS)]) {
        let made = renditions.segment(&studio.original(), FIRST, level).unwrap();
        let segment = parts_of(&made).await;
        assert_eq!(shares(&segment), shared, "{}", level.name);
        let (shown, complaints) = seen(&file(init, &[segment]));
        assert_eq!((shown.len(), complaints.as_str()), (30, ""), "{}", level.name);
    }
    assert_eq!(renditions.complaint(), None);
    assert_eq!(renditions.counters().hardware_failed.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn frames_never_go_out_under_the_parameter_sets_of_another_driver() {
    let studio = Studio::make("testsrc2=size=320x180:rate=30:duration=2", SOURCES[0]);
    let level = level(&studio, "96p");
    let hardware = Hardware::new();
    let renditions = hardware.renditions(|settings| settings).await;
    let original = studio.original();
    let init = renditions.init(original.as_ref(), 7, &level).await.unwrap();
    assert_eq!(renditions.complaint(), None);
    hardware.has_another_driver();
    for number in studio.numbers() {
        let made = renditions.segment(&original, number, &level).unwrap();
        let segment = parts_of(&made).await;
        assert_eq!(shares(&segment), (0, PARTS), "none of its frames");
        let (shown, complaints) = seen(&file(&init, &[segment]));
        assert_eq!((shown.len(), complaints.as_str()), (30, ""));
        assert!(renditions.counters().hardware_failed.load(Ordering::Relaxed) > 0);
        // Whoever tries it out sees nothing of that.
        works(&renditions).await;
    }
}

#[tokio::test]
async fn what_hardware_made_is_on_the_disk_for_the_next_server_with_the_same_driver() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("levels");
    let studio = Studio::make("testsrc2=size=320x180:rate=30:duration=1", SOURCES[0]);
    let level = level(&studio, "96p");
    let hardware = Hardware::new();
    let original = studio.original();
    for (server, from_disk) in [("the first", 0), ("the next", 1), ("with another driver", 0)] {
        if server == "with another driver" {
            hardware.has_another_driver();
        }
        let disk = Some(Disk { folder: folder.clone(), bytes_max: 10_000_000 });
        let renditions = hardware.renditions(|settings| Settings { disk, ..settings }).await;
        let made = renditions.segment(&original, FIRST, &level).unwrap();
        let segment: Vec<Bytes> = parts_of(&made).await.concat();
        let init = renditions.init(original.as_ref(), 7, &level).await.unwrap();
        let file = [init, segment.concat().into()].concat();
        let (shown, complaints) = seen(&file);
        assert_eq!((shown.len(), complaints.as_str()), (30, ""), "{server}");
        let cached = renditions.counters().cached.load(Ordering::Relaxed);
        assert_eq!(cached, from_disk, "{server}");
        // It is put there a moment after it is made.
        until("it to be on the disk", || renditions.disk_bytes() > 0).await;
    }
}
