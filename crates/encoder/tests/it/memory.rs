//! How much memory jobs of large pictures take: what is known of it before is more, and what takes more than may be is refused.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use encode::limits::{PROCESS_BYTES_MAX, PROCESS_OOM_SCORE};
use encode::{Failed, Ladder, Level, Program, Renditions, Settings};

use crate::studio::{ENCODER, FIRST, Studio, settings};

/// What an encoder process has mapped and used at most, in bytes, and how soon it is ended where no memory is left.
struct Process {
    mapped: u64,
    used: u64,
    score: i32,
}

/// The encoder processes of this test.
fn processes() -> Vec<Process> {
    let own = std::process::id().to_string();
    let of = |pid: &str| {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
        let status = read("status")?;
        let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).map(str::trim);
        let bytes = |name: &str| {
            let kib = field(name)?.trim_end_matches(" kB").parse::<u64>().ok()?;
            Some(kib * 1_024)
        };
        let ours = field("PPid:")? == own && field("Name:")?.starts_with("airwave-encode");
        let score = read("oom_score_adj")?.trim().parse().ok()?;
        let (mapped, used) = (bytes("VmPeak:")?, bytes("VmHWM:")?);
        ours.then_some(Process { mapped, used, score })
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| of(entry.file_name().to_str()?)).collect()
}

async fn renditions(memory: u64) -> Arc<Renditions> {
    let program = Program::ask(std::path::Path::new(ENCODER)).await.unwrap();
    let renditions = Renditions::new(program, Settings { memory, ..settings(4) });
    tokio::spawn(renditions.clone().run());
    renditions
}

fn levels(studio: &Studio) -> Vec<Level> {
    let rungs = ["1080p", "720p", "480p", "360p"].map(|rung| rung.parse().unwrap());
    Ladder::new(rungs.to_vec()).levels(&studio.config)
}

/// All levels of a first segment, from one decode.
async fn made(
    renditions: &Arc<Renditions>,
    studio: &Arc<Studio>,
) -> Vec<Result<Option<Vec<bytes::Bytes>>, Failed>> {
    let original = studio.original();
    let begun = levels(studio).into_iter().map(|l| renditions.segment(&original, FIRST, &l));
    let begun: Vec<_> = begun.map(Result::unwrap).collect();
    let mut done = Vec::new();
    for made in begun {
        done.push(made.part(99).await);
    }
    done
}

/// As many pictures as its decoder holds.
const HELD: &str = "-c:v libx264 -preset ultrafast -bf 3 -b_strategy 0 -refs 16 -sc_threshold 0";

#[tokio::test]
async fn large_pictures_take_what_was_known_before_and_less_than_a_process_may() {
    let hevc = "-c:v libx265 -preset ultrafast -pix_fmt yuv420p10le -x265-params log-level=none";
    let mut sources = vec![
        ("4K", "testsrc2=size=3840x2160:rate=20:duration=1", HELD),
        ("4K, 10 bits", "testsrc2=size=3840x2160:rate=8:duration=1", hevc),
    ];
    // Minutes of work on a small machine.
    if std::env::var("AIRWAVE_JOINTS").is_ok() {
        sources.extend([
            ("8K", "testsrc2=size=7680x4320:rate=20:duration=1", HELD),
            ("8K, 10 bits", "testsrc2=size=7680x4320:rate=8:duration=1", hevc),
        ]);
    }
    for (name, source, arguments) in sources {
        let studio = Studio::make(source, arguments);
        let renditions = renditions(u64::MAX).await;
        let known = renditions.fits(&studio.config, &levels(&studio)).unwrap();
        let done = made(&renditions, &studio).await;
        assert!(done.iter().all(|done| *done == Ok(None)), "{name}: {done:?}");
        let counters = renditions.counters();
        assert_eq!(counters.broken_frames.load(Ordering::Relaxed), 0, "{name}");
        assert_eq!(counters.lost.load(Ordering::Relaxed), 0, "{name}");
        let processes = processes();
        let most = |of: fn(&Process) -> u64| processes.iter().map(of).max().unwrap();
        let (mapped, used) = (most(|p| p.mapped), most(|p| p.used));
        println!("{name}: {used} used, {mapped} mapped, {known} known");
        assert!(used < known && mapped < PROCESS_BYTES_MAX, "{name}: {used} {mapped} {known}");
        assert!(processes.iter().all(|p| p.score >= PROCESS_OOM_SCORE), "{name}");
    }
}

/// No process is begun for it, however often it is asked for.
#[tokio::test]
async fn pictures_that_there_is_no_memory_for_are_refused_with_a_word() {
    let studio = Studio::make("testsrc2=size=3840x2160:rate=2:duration=1", HELD);
    let renditions = renditions(256 << 20).await;
    let refused = renditions.fits(&studio.config, &levels(&studio)).unwrap_err();
    let words =
        "3840x2160 in its format takes 443 MB of memory to encode, and there are 269 MB for it";
    assert_eq!(refused.to_string(), words);
    for _ in 0..2 {
        let done = made(&renditions, &studio).await;
        assert!(done.iter().all(|done| *done == Err(Failed::Encoder)), "{done:?}");
    }
    let counters = renditions.counters();
    assert_eq!(counters.lost.load(Ordering::Relaxed), 0);
    assert_eq!(counters.decodes.load(Ordering::Relaxed), 0);
    // Less than all of the memory is enough for what is smaller.
    let small = Studio::make("testsrc2=size=640x360:rate=2:duration=1", HELD);
    assert!(renditions.fits(&small.config, &levels(&small)).is_ok());
}
