//! Joints: originals of every codec, cut by the packager as live, and their levels: every frame at its time, whatever
//! the groups of pictures are; and sound, of which no sample is lost or doubled where segments meet.
//!
//! The gate takes a few rows of the table. `AIRWAVE_JOINTS=all` takes all of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use encode::{Ladder, Level, OriginalPart};
use media::codec::{Config, VIDEO_TIMESCALE};
use media::mp4::{Event, Reader};
use package::{CutRules, Frame, Output, Packager, Rules};

use crate::studio::{Coded, FIRST, Seen, Studio, difference, renditions, seen, track};

/// Key frames are so far apart, in frames: scenes of one picture, and one of 250. The rest in dozens.
const GROUPS: [u32; 12] = [1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 250];
const FRAMES: u32 = 640;
/// Of an encoder that puts its key frames where it likes: only every 250.
const OWN_FRAMES: u32 = 2_000;
const RATE: u32 = 60;
const SEGMENTS: usize = 20;

/// A codec, with closed groups and, where it can, with open ones and a pyramid of references.
struct Codec {
    name: &'static str,
    closed: &'static str,
    open: &'static str,
}

const AV1: usize = 2;
const CODECS: [Codec; 5] = [
    Codec {
        name: "H.264",
        closed: "-c:v libx264 -preset veryfast -bf 0 -g 250 -sc_threshold 0",
        open: "-c:v libx264 -preset veryfast -bf 3 -b_strategy 0 -g 250 -sc_threshold 0 \
               -x264-params b-pyramid=normal:open-gop=1:min-keyint=1",
    },
    Codec {
        name: "HEVC",
        closed: "-c:v libx265 -preset ultrafast -tag:v hvc1 \
                 -x265-params log-level=none:keyint=250:min-keyint=1:scenecut=0:open-gop=0:bframes=0",
        open: "-c:v libx265 -preset ultrafast -tag:v hvc1 \
               -x265-params log-level=none:keyint=250:min-keyint=1:scenecut=0:open-gop=1:bframes=4:b-pyramid=1",
    },
    Codec {
        name: "AV1",
        closed: "-c:v libaom-av1 -usage realtime -cpu-used 8 -g 250 -b:v 300k",
        // Key frames where it likes, a pyramid of 16.
        open: "-c:v libsvtav1 -preset 12 -g 250",
    },
    Codec {
        name: "VP9",
        closed: "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 250 -b:v 300k",
        open: "-c:v libvpx-vp9 -deadline good -cpu-used 5 -auto-alt-ref 1 -lag-in-frames 16 -g 250 -b:v 300k",
    },
    // It has no open groups, and nothing that is shown later than it is coded.
    Codec {
        name: "VP8",
        closed: "-c:v libvpx -deadline good -cpu-used 5 -g 250 -b:v 3M",
        open: "-c:v libvpx -deadline good -cpu-used 2 -g 250 -b:v 3M",
    },
];

/// What a row of the table is.
#[derive(Debug, Clone, Copy)]
struct Row {
    codec: usize,
    /// Open groups and pyramids.
    open: bool,
    /// In every other second frames last half as long again.
    variable: bool,
    /// A frame that the camera did not deliver.
    dropped: bool,
}

const fn row(codec: usize, open: bool, variable: bool, dropped: bool) -> Row {
    Row { codec, open, variable, dropped }
}

const GATE: [Row; 6] = [
    row(0, false, false, true),
    row(0, true, true, true),
    row(1, true, false, true),
    row(2, false, true, true),
    row(3, false, true, false),
    row(4, false, false, true),
];

/// In the soak.
pub(crate) fn all_rows() -> bool {
    std::env::var("AIRWAVE_JOINTS").is_ok_and(|which| which == "all")
}

fn rows() -> Vec<Row> {
    if all_rows() {
        let bits = |n: usize| row(n / 8, n & 1 > 0, n & 2 > 0, n & 4 > 0);
        return (0..CODECS.len() * 8).map(bits).collect();
    }
    GATE.to_vec()
}

/// With so many bits that each picture is seen for what it is; the first one is that of the original's own size.
fn ladder() -> Ladder {
    let rungs = ["180p=4000", "144p=4000", "120p=4000", "96p=4000"];
    Ladder::new(rungs.map(|r| r.parse().unwrap()).to_vec())
}

/// Short segments, so that twenty of them are a few seconds; long groups are cut at parts.
fn rules() -> Rules {
    let cut = CutRules {
        segment: Duration::from_millis(100),
        first_group_max: Duration::from_secs(1),
        ..CutRules::default()
    };
    Rules { cut, part: Duration::from_millis(100) }
}

impl Row {
    /// Key frames stand where the encoder likes.
    fn own(self) -> bool {
        self.codec == AV1 && self.open
    }

    fn length(self) -> u32 {
        if self.own() { OWN_FRAMES } else { FRAMES }
    }

    fn source(self) -> (String, String) {
        let mut at = 0;
        let keys = GROUPS.into_iter().chain([12; 13]).map(|group| {
            at += group;
            format!("+eq(n,{at})")
        });
        let keys = format!("eq(n,0){}", keys.collect::<String>());
        let drop = if self.dropped { ",select=not(eq(n\\,77))" } else { "" };
        let codec = &CODECS[self.codec];
        let arguments = if self.open { codec.open } else { codec.closed };
        let seconds = f64::from(self.length()) / f64::from(RATE);
        (
            format!("testsrc2=size=320x180:rate={RATE}:duration={seconds}{drop}"),
            format!("{arguments} -fps_mode passthrough -force_key_frames expr:{keys}"),
        )
    }

    fn frames(self) -> (Config, Vec<Coded>) {
        let (source, arguments) = self.source();
        let mut command = vec!["-f", "lavfi", "-i", &source];
        command.extend(arguments.split_whitespace());
        command.extend(["-video_track_timescale", "90000"]);
        let (config, _, mut frames) = track(&command);
        if self.variable {
            let half = |t: i64| {
                let (second, within) = (t / 90_000, t % 90_000);
                second / 2 * 225_000
                    + if second % 2 == 0 { within } else { 90_000 + within * 3 / 2 }
            };
            for frame in &mut frames {
                (frame.decode, frame.present) = (half(frame.decode), half(frame.present));
            }
        }
        (config, frames)
    }
}

/// A track as it comes out of the packager: its initialisation segment, and parts by segment.
pub(crate) struct Packaged {
    pub(crate) init: Bytes,
    pub(crate) segments: Vec<Vec<OriginalPart>>,
    pub(crate) independent: Vec<bool>,
    /// Whether pictures of a segment may be coded in the next one.
    pub(crate) open: Vec<bool>,
}

/// All tracks of a broadcast, packaged as live.
pub(crate) fn package(rules: Rules, tracks: &[(Config, Vec<Coded>)]) -> Vec<Packaged> {
    let mut packager = Packager::new(rules, 1, FIRST);
    let budget = spine::Budget::new(usize::MAX);
    let (mut out, mut arriving) = (Vec::new(), Vec::new());
    for (config, frames) in tracks {
        let id = packager.add_track(matches!(config, Config::Video(_)));
        packager.configure(id, config, &mut out);
        arriving.extend(frames.iter().map(|frame| (frame, config.timescale(), id)));
    }
    // As an encoder interleaves them.
    arriving.sort_by_key(|(frame, timescale, _)| frame.decode * 1_000_000 / i64::from(*timescale));
    for (frame, _, id) in arriving {
        let taken = Frame {
            decode: frame.decode,
            present: frame.present,
            duration: frame.duration,
            sync: frame.sync,
            discontinuity: false,
            asked: false,
            wall_clock_ms: 0,
            arrived: Instant::now(),
            payload: vec![budget.payload(frame.data.clone())],
        };
        packager.push(id, taken, &mut out);
    }
    packager.flush(&mut out);
    assert_eq!(packager.findings().frames_dropped(), 0);
    let empty = || Packaged {
        init: Bytes::new(),
        segments: Vec::new(),
        independent: Vec::new(),
        open: Vec::new(),
    };
    let mut packaged: Vec<Packaged> = tracks.iter().map(|_| empty()).collect();
    for (id, output) in out {
        let own = &mut packaged[id.0];
        match output {
            Output::Init { bytes, .. } => own.init = bytes,
            Output::Part { segment, part, last, properties, timing, head, body, .. } => {
                if part == 0 {
                    assert_eq!(segment, FIRST + own.segments.len() as u64, "numbers rise by one");
                    own.segments.push(Vec::new());
                    own.independent.push(timing.sync);
                }
                let mut pieces = vec![Bytes::from(head)];
                pieces.extend(body.into_iter().map(spine::Payload::into_bytes));
                let parts = own.segments.last_mut().unwrap();
                parts.push(OriginalPart { pieces, duration: timing.duration, last });
                let (said, _) = package::properties::decode(&properties).unwrap();
                own.open.resize(own.segments.len(), false);
                own.open[own.segments.len() - 1] = said.open;
            }
        }
    }
    packaged
}

/// Frames of a fragmented file: time, duration, whether it is a key frame, data.
pub(crate) fn samples(file: &[u8]) -> Vec<(i64, u32, bool, Bytes)> {
    let mut reader = Reader::new();
    reader.push(file);
    let mut found = Vec::new();
    while let Some(event) = reader.next_event().unwrap() {
        let Event::Fragment(fragment) = event else { continue };
        let time = |s: &media::mp4::Sample| s.decode + i64::from(s.composition);
        let frame =
            |f: media::mp4::Frame| (time(&f.sample), f.sample.duration, f.sample.sync, f.data);
        found.extend(fragment.into_iter().map(frame));
    }
    found
}

/// Three levels of all segments of a row, asked for as three viewers do.
async fn check(row: Row) {
    let name = format!("{} {row:?}", CODECS[row.codec].name);
    let (config, frames) = row.frames();
    assert_eq!(frames.len() as u32, row.length() - u32::from(row.dropped), "{name}");
    let groups: Vec<usize> =
        frames.iter().enumerate().filter(|(_, f)| f.sync).map(|f| f.0).collect();
    let lengths: Vec<usize> = groups.windows(2).map(|g| g[1] - g[0]).collect();
    assert!(row.own() || lengths.contains(&1), "{name}: {lengths:?}");
    assert!(lengths.iter().any(|l| *l >= 240), "{name}: {lengths:?}");
    let Config::Video(video) = config.clone() else { panic!("{name}: no picture") };
    let packaged = package(rules(), &[(config, frames.clone())]).remove(0);
    assert!(packaged.segments.len() >= SEGMENTS, "{name}: {} segments", packaged.segments.len());
    assert!(packaged.independent.contains(&false), "{name}: a group of several segments");
    let Packaged { init, segments, independent, open } = packaged;
    let whole = segments.iter().flatten().flat_map(|part| part.pieces.concat());
    let (source, complaints) = seen(&init.iter().copied().chain(whole).collect::<Vec<u8>>());
    assert_eq!((source.len(), complaints.as_str()), (frames.len(), ""), "{name}");
    let goes_through = |(number, open): (usize, &bool)| *open && !independent[number + 1];
    let through = open.iter().enumerate().filter(|(n, _)| n + 1 < open.len());
    // Of H.264 and HEVC pictures are coded later than others that are shown behind them.
    assert!(!row.open || row.codec > 1 || through.clone().any(goes_through), "{name}: {open:?}");
    assert!(row.open || !through.clone().any(|(_, open)| *open), "{name}: {open:?}");
    let studio = Studio::of(video, init, segments, independent, &frames).saying(open);
    let levels = ladder().levels(&studio.config);
    assert!(levels.len() >= 3, "{name}: {levels:?}");
    assert_eq!(levels[0].name == "h264", row.codec > 0, "{name}: its own size, for old devices");
    let all = studio.there.borrow().to_owned();
    let mut later = None;
    for live in [true, false] {
        let name = format!("{name} {}", if live { "live" } else { "later" });
        studio.there.send_replace(if live { (0, 0) } else { all });
        let files = made(&name, &studio, &levels, live).await;
        for (level, file) in levels.iter().zip(&files) {
            let slack = if row.variable { 2_250 } else { 0 };
            let name = format!("{name} {}", level.name);
            check_file(&name, level, file, (&studio, slack), &source);
        }
        let same = later.replace(files.clone()).is_none_or(|before| before == files);
        assert!(same, "{name}: what is made live is what is made later");
    }
}

/// All segments of levels as one file each. `live`: each is asked for when it is whole and the next one has not begun.
async fn made(name: &str, studio: &Arc<Studio>, levels: &[Level], live: bool) -> Vec<Vec<u8>> {
    let renditions = renditions(2).await;
    let original = studio.original();
    let mut files = Vec::new();
    for level in levels {
        let init = renditions.init(original.as_ref(), 7, level).await.unwrap();
        files.push((init.to_vec(), init));
    }
    for number in studio.numbers() {
        let comes = |number: u64| {
            let there = ((number - FIRST) as usize + 1, studio.parts(number));
            studio.there.send_if_modified(|before| std::mem::replace(before, there) != there)
        };
        if live {
            comes(number);
        }
        let ask = |level| renditions.segment(&original, number, level).unwrap();
        let made: Vec<_> = levels.iter().map(ask).collect();
        let whole = async {
            for made in &made {
                let ended = made.part(usize::MAX).await;
                ended.unwrap_or_else(|e| panic!("{name} {number}: {e}"));
            }
        };
        let mut awaited = studio.awaited.subscribe();
        tokio::select! {
            () = whole => {}
            _ = awaited.wait_for(|part| *part == Some((number + 1, 0))), if live => {
                // What is shown in it may be there.
                comes(number + 1);
            }
        }
        for (made, (file, init)) in made.iter().zip(&mut files) {
            let mut segment = Vec::new();
            for part in 0.. {
                let outcome = made.part(part).await;
                let pieces = outcome.unwrap_or_else(|e| panic!("{name} {number}: {e}"));
                let Some(pieces) = pieces else { break };
                segment.extend(pieces.concat());
            }
            let frames = samples(&[&init[..], &segment].concat());
            assert!(
                frames.first().is_some_and(|f| f.2),
                "{name} {number}: begins with a key frame"
            );
            file.extend(segment);
        }
    }
    let broken = renditions.counters().broken_frames.load(Ordering::Relaxed);
    assert_eq!(broken, 0, "{name}");
    let lost = renditions.counters().lost.load(Ordering::Relaxed);
    assert_eq!(lost, 0, "{name}");
    files.into_iter().map(|(file, _)| file).collect()
}

fn check_file(
    name: &str,
    level: &Level,
    file: &[u8],
    (studio, slack): (&Arc<Studio>, i64),
    source: &[Seen],
) {
    let made = samples(file);
    let times: Vec<i64> = made.iter().map(|f| f.0).collect();
    assert_eq!(times, studio.times, "{name}: every frame's time is the source's");
    for pair in made.windows(2) {
        let (end, next) = (pair[0].0 + i64::from(pair[0].1), pair[1].0);
        // At a variable rate the end of a segment is known with the next one only: at most a frame off, and nobody
        // goes by it, as each segment says when it begins.
        assert!(
            (end - next).abs() <= slack,
            "{name}: a frame lasts until the next one: {end} {next}"
        );
    }
    let (shown, complaints) = seen(file);
    assert_eq!((shown.len(), complaints.as_str()), (times.len(), ""), "{name} {level:?}");
    // What is in a picture is what is in the source's of this time, and in no picture beside it.
    for (n, picture) in shown.iter().enumerate() {
        let off = difference(picture, &source[n]);
        let beside = [n.checked_sub(1), Some(n + 1)].into_iter().flatten();
        let others = beside.filter_map(|other| source.get(other));
        let nearest = others.map(|other| difference(picture, other)).fold(f64::MAX, f64::min);
        assert!(off < OFF_MAX && off < nearest, "{name}: {n} is off by {off}, beside {nearest}");
    }
}

/// How far a picture of a level may be off, in squares of grey: 26 dB. A picture beside it may be as near as 90.
const OFF_MAX: f64 = 160.0;

#[tokio::test]
async fn every_frame_of_every_level_is_where_it_is_in_the_source() {
    let began = Instant::now();
    let rows = rows();
    for row in &rows {
        check(*row).await;
    }
    println!("{} rows of {SEGMENTS} segments and more in {:?}", rows.len(), began.elapsed());
}

/// Sound of these encoders, cut with pictures whose key frames stand where they like.
#[test]
fn no_sample_of_sound_is_lost_or_doubled_where_segments_meet() {
    let (config, frames) = row(0, false, true, true).frames();
    let last = frames.last().unwrap().decode;
    let seconds = (last / i64::from(VIDEO_TIMESCALE)).to_string();
    for (name, rate, arguments) in [
        ("AAC", 48_000, "-c:a aac -b:a 96k"),
        ("AAC, 44.1 kHz", 44_100, "-c:a aac -b:a 64k"),
        ("Opus", 48_000, "-c:a libopus -b:a 48k"),
        ("Opus, 2.5 ms", 48_000, "-c:a libopus -b:a 64k -application lowdelay -frame_duration 2.5"),
        ("Opus, 60 ms", 48_000, "-c:a libopus -b:a 32k -frame_duration 60"),
    ] {
        let source = format!("aevalsrc=0.4*sin(t*t*900):s={rate}:d={seconds}");
        let mut command = vec!["-f", "lavfi", "-i", &source];
        command.extend(arguments.split_whitespace());
        let (sound, timescale, whole) = track(&command);
        let tracks = [(config.clone(), frames.clone()), (sound, whole.clone())];
        let packaged = package(rules(), &tracks);
        let (picture, sound) = (&packaged[0], &packaged[1]);
        assert!(sound.segments.len() >= SEGMENTS, "{name}: {}", sound.segments.len());
        let frame = f64::from(whole[0].duration) * 1_000.0 / f64::from(timescale);
        let mut file = sound.init.to_vec();
        for (number, parts) in sound.segments.iter().enumerate() {
            let bytes = joined(parts);
            let own = samples(&[&sound.init[..], &bytes].concat());
            let of_picture = joined(&picture.segments[number]);
            let shown = samples(&[&picture.init[..], &of_picture].concat());
            let ms = |time: i64, scale: u32| time as f64 * 1_000.0 / f64::from(scale);
            let (cut, begins) = (ms(shown[0].0, VIDEO_TIMESCALE), ms(own[0].0, timescale));
            let off = (begins - cut).abs();
            assert!(number == 0 || off <= frame / 2.0 + 0.1, "{name} {number}: {off} ms off");
            file.extend(bytes);
        }
        let got = samples(&file);
        let source: Vec<(i64, Bytes)> = whole.iter().map(|f| (f.present, f.data.clone())).collect();
        let taken: Vec<(i64, Bytes)> = got.iter().map(|f| (f.0, f.3.clone())).collect();
        assert!(source == taken, "{name}: every frame once, at its sample");
        for pair in got.windows(2) {
            assert_eq!(
                pair[0].0 + i64::from(pair[0].1),
                pair[1].0,
                "{name}: no sample between two frames"
            );
        }
    }
}

fn joined(parts: &[OriginalPart]) -> Vec<u8> {
    parts.iter().flat_map(|part| part.pieces.concat()).collect()
}
