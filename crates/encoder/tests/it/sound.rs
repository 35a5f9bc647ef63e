//! Sound of every codec, cut by the packager as live, and its level: segments that are made one by one, and sound behind
//! each other as if it had been made at once. Every sample is where it is in the source, in levels, too.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use encode::{
    Answer, Failed, Ladder, Level, Original, OriginalPart, OriginalSegment, Renditions, Unreadable,
};
use media::codec::{AudioCodec, AudioConfig, Config};
use package::{CutRules, Rules};

use crate::faults::{Dice, rounds, spoil};
use crate::joints::{Packaged, all_rows, package, samples};
use crate::studio::{Coded, FIRST, Failing, renditions, track};

/// Segments of half a second, in five parts.
fn rules() -> Rules {
    let (segment, first_group_max) = (Duration::from_millis(500), Duration::from_secs(1));
    Rules {
        cut: CutRules { segment, first_group_max, ..CutRules::default() },
        part: Duration::from_millis(100),
    }
}

/// Sound whose segments are counted from [`FIRST`].
struct Tape {
    uid: String,
    /// Initialisation segments, and which each segment has.
    inits: Vec<Bytes>,
    init_of: Vec<usize>,
    segments: Vec<Vec<OriginalPart>>,
}

impl Tape {
    fn new(packaged: Packaged) -> Self {
        static TAPES: AtomicU64 = AtomicU64::new(0);
        let uid = format!("sound{}", TAPES.fetch_add(1, Ordering::Relaxed));
        let (inits, init_of) = (vec![packaged.init], vec![0; packaged.segments.len()]);
        Self { uid, inits, init_of, segments: packaged.segments }
    }

    /// All of it as a file.
    fn file(&self) -> Vec<u8> {
        let parts = self.segments.iter().flatten();
        parts.fold(self.inits[0].to_vec(), |file, part| [file, part.pieces.concat()].concat())
    }
}

impl Original for Tape {
    fn video(&self) -> &str {
        &self.uid
    }

    fn track(&self) -> &str {
        "audio.cmaf"
    }

    fn is_kept(&self) -> bool {
        false
    }

    fn segment(&self, number: u64) -> Option<OriginalSegment> {
        let index = usize::try_from(number.checked_sub(FIRST)?).ok()?;
        let init = *self.init_of.get(index)? as u64;
        let (bytes, duration_ns) = (1_000, 500_000_000);
        Some(OriginalSegment {
            init,
            epoch: 1,
            independent: true,
            complete: true,
            open: false,
            parts: self.segments.get(index)?.len(),
            bytes,
            duration_ns,
        })
    }

    fn part(&self, number: u64, part: usize) -> Answer<'_, OriginalPart> {
        let index = number.checked_sub(FIRST).map_or(usize::MAX, |n| n as usize);
        Box::pin(async move { Ok(self.segments.get(index).and_then(|s| s.get(part)).cloned()) })
    }

    fn init(&self, id: u64) -> Answer<'_, Bytes> {
        Box::pin(async move { Ok(self.inits.get(id as usize).cloned()) })
    }
}

/// What ffmpeg makes of a source.
fn sound(source: &str, arguments: &str) -> (AudioConfig, Vec<Coded>) {
    let mut command = vec!["-f", "lavfi", "-i", source];
    command.extend(arguments.split_whitespace());
    let (config, timescale, frames) = track(&command);
    assert_eq!(timescale, config.timescale());
    let Config::Audio(config) = config else { panic!("no sound") };
    (config, frames)
}

fn tape(config: &AudioConfig, frames: Vec<Coded>) -> Tape {
    Tape::new(package(rules(), &[(Config::Audio(config.clone()), frames)]).remove(0))
}

fn level_of(config: &AudioConfig) -> Level {
    Ladder::parse(&["96p".to_owned()]).sound(config).unwrap()
}

/// Of the segment itself, and of what lies before it.
#[tokio::test]
async fn sound_that_can_not_be_read_now_is_no_shorter_for_it() {
    let (config, frames) = sound("sine=frequency=440:duration=2", "-c:a aac -b:a 64k");
    let level = level_of(&config);
    let renditions = renditions(1).await;
    for part in [(FIRST + 1, 2), (FIRST, 1)] {
        let tape: Arc<dyn Original> = Arc::new(tape(&config, frames.clone()));
        let original: Arc<dyn Original> = Arc::new(Failing::new(tape, part, Some(Unreadable)));
        let made = renditions.segment(&original, FIRST + 1, &level).unwrap();
        assert_eq!(made.part(99).await, Err(Failed::Store), "{part:?}");
        let again = renditions.segment(&original, FIRST + 1, &level).unwrap();
        assert_eq!(again.part(99).await, Ok(None), "{part:?}");
    }
}

/// All segments of a level, each made by itself.
async fn made(renditions: &Arc<Renditions>, tape: Tape, level: &Level) -> (Vec<u8>, Vec<usize>) {
    let counts: Vec<usize> = tape.segments.iter().map(Vec::len).collect();
    let original: Arc<dyn Original> = Arc::new(tape);
    let mut file = renditions.init(original.as_ref(), 0, level).await.unwrap().to_vec();
    let mut begins = Vec::new();
    for (number, count) in (FIRST..).zip(counts) {
        let made = renditions.segment(&original, number, level).unwrap();
        let mut parts = 0;
        while let Some(part) = made.part(parts).await.unwrap_or_else(|e| panic!("{number}: {e}")) {
            file.extend(part.concat());
            parts += 1;
        }
        assert_eq!(parts, count, "{number}: parts are the original's");
        begins.push(samples(&file).len());
    }
    (file, begins)
}

/// Samples of a file, both channels in one.
fn decoded(file: &[u8]) -> Vec<f32> {
    decoded_as(file, "1")
}

/// The same in so many channels, a sample of each behind the other.
fn decoded_as(file: &[u8], channels: &str) -> Vec<f32> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mp4");
    std::fs::write(&path, file).unwrap();
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error"]);
    if file.windows(4).any(|w| w == b"Opus") {
        // The other decoder puts out another number of samples at first.
        command.args(["-c:a", "libopus"]);
    }
    command.arg("-i").arg(&path).args(["-ac", channels, "-ar", "48000", "-f", "f32le", "-"]);
    let output = command.output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// How much of `made` is not `source`, of its energy, however loud it is.
fn error(made: &[f32], source: &[f32]) -> f64 {
    let product = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let gain = product(made, source) / product(source, source);
    let off = made.iter().zip(source).map(|(m, s)| (f64::from(*m) - gain * f64::from(*s)).powi(2));
    off.sum::<f64>() / product(made, made)
}

struct Row {
    name: &'static str,
    rate: u32,
    arguments: &'static str,
}

const fn row(name: &'static str, rate: u32, arguments: &'static str) -> Row {
    Row { name, rate, arguments }
}

const ROWS: [Row; 10] = [
    row("Opus", 48_000, "-ac 2 -c:a libopus -b:a 128k"),
    row("Opus, mono, 60 ms", 48_000, "-c:a libopus -b:a 64k -frame_duration 60"),
    row("AC-3, 44.1 kHz", 44_100, "-ac 2 -c:a ac3 -b:a 192k"),
    row("E-AC-3", 48_000, "-ac 2 -c:a eac3 -b:a 192k"),
    row("MP3, 44.1 kHz", 44_100, "-ac 2 -c:a libmp3lame -b:a 128k"),
    row("MP3, mono, 32 kHz", 32_000, "-c:a libmp3lame -b:a 64k"),
    row("FLAC, 44.1 kHz", 44_100, "-ac 2 -c:a flac -strict -2"),
    row("FLAC, 96 kHz, 7.1", 96_000, "-ac 8 -c:a flac -strict -2"),
    row("AAC", 48_000, "-ac 2 -c:a aac -b:a 128k"),
    row("AAC, 44.1 kHz, 5.1", 44_100, "-ac 6 -c:a aac -b:a 384k"),
];

#[tokio::test]
async fn no_sample_of_a_level_is_lost_or_doubled_where_segments_meet() {
    let renditions = renditions(2).await;
    let (segments, seconds, tone) = match all_rows() {
        true => (20, 13, "2500*t+t*t*500"),
        false => (5, 3, "t*t*2500"),
    };
    for Row { name, rate, arguments } in ROWS {
        // A tone that rises, so that every moment is another.
        let source = format!("aevalsrc=0.4*sin({tone}):s={rate}:d={seconds}");
        let (config, frames) = sound(&source, arguments);
        let level = level_of(&config);
        let opus = matches!(config.codec, AudioCodec::Aac(_));
        assert_eq!(level.name, if opus { "opus" } else { "aac" }, "{name}");
        let tape = tape(&config, frames);
        assert!(tape.segments.len() >= segments, "{name}: {}", tape.segments.len());
        let grid = level.as_sound().unwrap().grid();
        let source = tape.file();
        let starts: Vec<i64> = tape
            .segments
            .iter()
            .map(|s| samples(&[&tape.inits[0][..], &s[0].pieces.concat()].concat())[0].0)
            .collect();
        let (file, ends) = made(&renditions, tape, &level).await;
        // Frames lie on the grid, one behind the other, and segments meet where the grid says.
        let frames = samples(&file);
        for (n, frame) in frames.iter().enumerate() {
            assert_eq!(
                (frame.0, frame.1),
                (n as i64 * i64::from(grid.frame), grid.frame),
                "{name}"
            );
        }
        for (end, start) in ends.iter().zip(&starts[1..]) {
            assert_eq!(*end as u64, grid.first(*start as u64, rate), "{name}");
        }
        let (made, mut source) = (decoded(&file), decoded(&source));
        assert_eq!(made.len(), frames.len() * grid.frame as usize, "{name}");
        if let AudioCodec::Opus(head) = &config.codec {
            // ffmpeg skips these of the original.
            source.splice(0..0, vec![0.0; head.pre_skip.into()]);
        }
        // Not what is there before decoders and encoders know the past.
        let whole = 4_800..made.len();
        let off = error(&made[whole.clone()], &source[whole]);
        assert!(off < 0.001, "{name}: {off} of it is something else");
        for end in &ends[..ends.len() - 1] {
            let joint = end * grid.frame as usize;
            let around = joint - 1_500..made.len().min(joint + 1_500);
            let off = error(&made[around.clone()], &source[around]);
            assert!(off < 0.003, "{name}: {off} around sample {joint}");
        }
    }
    let counters = renditions.counters();
    assert_eq!(counters.broken_frames.load(Ordering::Relaxed), 0);
    assert_eq!(counters.lost.load(Ordering::Relaxed), 0);
}

/// A tone's amplitude, in samples of a second.
fn loudness(second: &[f32], hz: u32) -> f64 {
    let turn = std::f64::consts::TAU * f64::from(hz) / second.len() as f64;
    let (sin, cos) = second.iter().enumerate().fold((0.0, 0.0), |(sin, cos), (n, sample)| {
        let (s, c) = (turn * n as f64).sin_cos();
        (sin + s * f64::from(*sample), cos + c * f64::from(*sample))
    });
    f64::hypot(sin, cos) * 2.0 / second.len() as f64
}

#[tokio::test]
async fn every_channel_is_on_its_side_and_full_scale_in_all_of_them_does_not_clip() {
    /// What stands in the middle or beside is 3 dB quieter where it is mixed in, the lowest tones are left out (ITU-R BS.775).
    const LESS: f64 = std::f64::consts::FRAC_1_SQRT_2;
    // Each channel's tone, and how loud it is on the left and on the right beside those of the front.
    const ALL: [(u32, [f64; 2]); 8] = [
        (500, [1.0, 0.0]),
        (700, [0.0, 1.0]),
        (1_100, [LESS, LESS]),
        (60, [0.0, 0.0]),
        (1_700, [LESS, 0.0]),
        (2_300, [0.0, LESS]),
        (2_900, [LESS, 0.0]),
        (3_700, [0.0, LESS]),
    ];
    let renditions = renditions(1).await;
    let rows = [
        ("mono", "flac", &[(500, [1.0, 1.0])][..]),
        ("mono", "aac", &[(500, [1.0, 1.0])]),
        ("stereo", "flac", &ALL[..2]),
        ("5.1", "flac", &ALL[..6]),
        ("5.1", "aac", &ALL[..6]),
        ("7.1", "flac", &ALL),
        ("7.1", "aac", &ALL),
    ];
    for (layout, codec, channels) in rows {
        // As much quieter as it takes.
        let most: f64 = channels.iter().map(|(_, [left, _])| left).sum();
        for alike in [true, false] {
            let name = format!("{layout} in {codec}, alike: {alike}");
            let tone = |(hz, _): &(u32, _)| match alike {
                true => "sin(2*PI*1000*t)".to_owned(),
                false => format!("0.5*sin(2*PI*{hz}*t)"),
            };
            let tones: Vec<String> = channels.iter().map(tone).collect();
            let source = format!("aevalsrc={}:c={layout}:s=48000:d=2", tones.join("|"));
            let arguments = format!("-c:a {codec} -b:a 512k -strict -2");
            let (config, frames) = sound(&source, &arguments);
            assert_eq!(usize::from(config.channels), channels.len(), "{name}");
            let levels = Ladder::parse(&["96p".to_owned()]).sounds(&config, &[]);
            // AAC has one in Opus, and more channels than everything plays another in AAC.
            let names: Vec<&str> = levels.iter().map(|level| level.name.as_str()).collect();
            let expect = match (codec, channels.len()) {
                ("aac", 1 | 2) => &["opus"][..],
                ("aac", _) => &["opus", "aac"],
                _ => &["aac"],
            };
            assert_eq!(names, expect, "{name}");
            let level = levels.last().unwrap();
            let (file, _) = made(&renditions, tape(&config, frames), level).await;
            let samples = decoded_as(&file, "2");
            for side in [0, 1] {
                let own = samples.chunks_exact(2).skip(24_000).take(48_000);
                let second: Vec<f32> = own.map(|pair| pair[side]).collect();
                assert_eq!(second.len(), 48_000, "{name}");
                if alike {
                    let peak = second.iter().fold(0.0_f32, |peak, s| peak.max(s.abs()));
                    assert!((0.95..1.03).contains(&peak), "{name}, {side}: {peak}");
                    continue;
                }
                for (hz, share) in channels {
                    let (found, expect) = (loudness(&second, *hz), 0.5 * share[side] / most);
                    assert!(
                        (found - expect).abs() < 0.01,
                        "{name}, {side}, {hz} Hz: {found}, {expect}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn spoilt_sound_of_every_codec_costs_its_segment_at_most() {
    let rounds = rounds("AIRWAVE_SPOILT_ROUNDS", 6);
    let renditions = renditions(2).await;
    let (mut dice, mut failed) = (Dice(0x2545_f491_4f6c_dd1d), 0);
    for Row { name, rate, arguments } in ROWS {
        let before = renditions.counters().broken_frames.load(Ordering::Relaxed);
        let source = format!("aevalsrc=0.4*sin(t*t*2500):s={rate}:d=1.2");
        let (config, frames) = sound(&source, arguments);
        let level = level_of(&config);
        for round in 0..=rounds {
            let mut spoilt = frames.clone();
            // The last ones are well: what strangers send costs nobody else anything.
            if round < rounds {
                let mut data: Vec<Bytes> = frames.iter().map(|f| f.data.clone()).collect();
                spoil(&mut data, &mut dice);
                spoilt.iter_mut().zip(data).for_each(|(frame, data)| frame.data = data);
            }
            let tape = tape(&config, spoilt);
            let numbers = FIRST..FIRST + tape.segments.len() as u64;
            let original: Arc<dyn Original> = Arc::new(tape);
            for number in numbers {
                let made = renditions.segment(&original, number, &level).unwrap();
                match made.part(99).await {
                    Ok(None) => {}
                    Err(encode::Failed::Encoder) if round < rounds => failed += 1,
                    other => panic!("{name} {round} {number}: {other:?}"),
                }
            }
        }
        let broken = renditions.counters().broken_frames.load(Ordering::Relaxed);
        // Opus makes sound of anything.
        let opus = matches!(config.codec, AudioCodec::Opus(_));
        assert!(broken > before || opus, "{name}: the incidents are counted");
    }
    println!("{rounds} rounds of {} codecs: {failed} segments given up", ROWS.len());
}

#[tokio::test]
async fn silence_and_what_cannot_be_decoded_have_every_frame() {
    let renditions = renditions(1).await;
    let (config, frames) = sound("anullsrc=r=48000:cl=stereo:d=2", "-c:a libopus -b:a 64k");
    let level = level_of(&config);
    let (file, _) = made(&renditions, tape(&config, frames), &level).await;
    let silent = decoded(&file);
    assert!(silent.len() > 90_000 && silent.iter().all(|s| s.abs() < 1e-3));
    // A second of two is broken: it is silent, and what is behind it is where it was.
    let source = "aevalsrc=0.4*sin(t*t*2500):s=48000:d=4";
    let (config, mut frames) = sound(source, "-ac 2 -c:a flac -strict -2");
    let good = decoded(&tape(&config, frames.clone()).file());
    let broken = |f: &Coded| (48_000..96_000).contains(&f.present);
    for frame in frames.iter_mut().filter(|f| broken(f)) {
        frame.data = vec![0xa5; 100].into();
    }
    let gap: Vec<i64> = frames.iter().filter(|f| broken(f)).map(|f| f.present).collect();
    let count = gap.len() as u64;
    let (from, to) =
        (gap[0] as usize, (gap[gap.len() - 1] + i64::from(frames[20].duration)) as usize);
    let (file, _) = made(&renditions, tape(&config, frames), &level).await;
    let found = decoded(&file);
    assert!(renditions.counters().broken_frames.load(Ordering::Relaxed) >= count);
    assert!(found[from + 2_048..to - 2_048].iter().all(|s| s.abs() < 1e-3), "silence");
    for whole in [4_800..from - 2_048, to + 2_048..found.len()] {
        let off = error(&found[whole.clone()], &good[whole]);
        assert!(off < 0.01, "{off}");
    }
    // Nothing of a segment: there is none of the level.
    let nothing: Vec<Coded> = (0..50)
        .map(|n| Coded {
            decode: n * 4_608,
            present: n * 4_608,
            duration: 4_608,
            sync: true,
            data: vec![0xa5; 100].into(),
        })
        .collect();
    let original: Arc<dyn Original> = Arc::new(tape(&config, nothing));
    let made = renditions.segment(&original, FIRST + 3, &level).unwrap();
    assert_eq!(made.part(0).await, Err(encode::Failed::Encoder));
}

/// From 48 to 44.1 kHz and from two channels to one in the middle: another initialisation segment, and the level goes on.
#[tokio::test]
async fn another_rate_and_other_channels_go_on_in_the_same_level() {
    let renditions = renditions(1).await;
    let (config, frames) = sound("sine=frequency=1000:sample_rate=48000:d=2", "-ac 2 -c:a ac3");
    let (other, mut behind) = sound("sine=frequency=1000:sample_rate=44100:d=2", "-ac 1 -c:a ac3");
    let level = level_of(&config);
    assert_eq!(level_of(&other), level, "one and the same");
    let end = frames.last().map_or(0, |f| f.decode + i64::from(f.duration)) * 147 / 160;
    for frame in &mut behind {
        frame.decode += end;
        frame.present += end;
    }
    let (mut first, second) = (tape(&config, frames), tape(&other, behind));
    let meet = first.segments.len();
    first.inits.extend(second.inits);
    first.init_of.extend(vec![1; second.segments.len()]);
    first.segments.extend(second.segments);
    let (file, ends) = made(&renditions, first, &level).await;
    let frames = samples(&file);
    for (n, frame) in frames.iter().enumerate() {
        assert_eq!(frame.0, n as i64 * 1_024, "{n}");
    }
    // A tone of the same height on both sides.
    let (found, joint) = (decoded(&file), ends[meet - 1] * 1_024);
    for side in [&found[joint - 48_000..joint - 9_600], &found[joint + 9_600..joint + 48_000]] {
        let rises = side.windows(2).filter(|w| w[0] < 0.0 && w[1] >= 0.0).count();
        let expect = side.len() / 48;
        assert!(rises.abs_diff(expect) <= 1, "{rises} of {expect}");
    }
}
