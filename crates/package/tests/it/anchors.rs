//! T10 and T11 of the reliability anchors, whole: what comes of a broken encoder on the timeline and in
//! segments. Each row has what is sent and the one reaction that is right; what always holds is checked
//! on all of them: decode times rise, sound stays with its picture, no segment is much too long.

use std::collections::BTreeSet;
use std::time::Duration;

use media::codec::Config;
use package::{Earlier, Findings};

use crate::studio::{AUDIO, Sent, Show, Studio, TRACKS, VIDEO, aac, h264, hevc, opus};

/// What is right.
#[derive(Debug, PartialEq)]
struct Expect {
    /// In the list of each rendition.
    discontinuities: usize,
    /// Initialisation segments of picture and sound; none where there is no such rendition.
    inits: [usize; 2],
    target: u32,
    /// Every segment of the picture can be started with.
    independent: bool,
    /// Segments of the main rendition.
    segments: std::ops::RangeInclusive<usize>,
}

/// Twenty seconds with a key frame every two.
const PLAIN: Expect =
    Expect { discontinuities: 0, inits: [1, 1], target: 2, independent: true, segments: 10..=10 };

struct Row {
    name: &'static str,
    frames: Vec<Sent>,
    expect: Expect,
    /// From these seconds of content on picture and sound are within 100 ms.
    aligned_from: f64,
}

fn row(name: &'static str, frames: Vec<Sent>, expect: Expect) -> Row {
    Row { name, frames, expect, aligned_from: 0.0 }
}

fn plain() -> Vec<Sent> {
    Show::default().frames()
}

/// The plain show, each frame changed.
fn changed(mut change: impl FnMut(&mut Sent)) -> Vec<Sent> {
    let mut frames = plain();
    frames.iter_mut().for_each(&mut change);
    frames
}

/// The source's clock jumps after ten seconds.
fn jump(name: &'static str, by: i64) -> Row {
    let frames = changed(|f| f.timestamp += 5_000_000 + if f.truth >= 10.0 { by } else { 0 });
    let expect = Expect { discontinuities: 1, segments: 10..=11, ..PLAIN };
    Row { aligned_from: 12.5, ..row(name, frames, expect) }
}

fn timestamps() -> Vec<Row> {
    let skewed = changed(|f| f.timestamp += if f.slot == AUDIO { 30_000 } else { 0 });
    let mut equal = plain();
    let mut last = 0;
    for (n, f) in equal.iter_mut().filter(|f| f.slot == VIDEO).enumerate() {
        if n % 50 == 20 {
            f.timestamp = last;
        }
        last = f.timestamp;
    }
    let without_times = |from: f64, sound| {
        let mut frames = changed(|f| {
            if f.slot == VIDEO && f.truth >= from {
                f.timestamp = (from * 1000.0) as i64;
            }
        });
        frames.retain(|f| sound || f.slot == VIDEO);
        frames
    };
    // Four to a picture: not what RTMP is for, and the pictures stay where they were.
    let sliced = |sound| {
        let of = |f: Sent| {
            let rest = (0..if f.slot == VIDEO { 3 } else { 0 })
                .map(|_| Sent { sync: false, config: None, ..f.clone() })
                .collect::<Vec<_>>();
            std::iter::once(f).chain(rest)
        };
        let frames = plain().into_iter().filter(|f| sound || f.slot == VIDEO);
        frames.flat_map(of).collect::<Vec<Sent>>()
    };
    let mut drift = Show { seconds: 600.0, ..Show::default() }.frames();
    for f in drift.iter_mut().filter(|f| f.slot == AUDIO) {
        f.truth *= 1.001;
        f.timestamp = (f.truth * 1000.0) as i64;
    }
    drift.sort_by(|a, b| a.truth.total_cmp(&b.truth));
    let b_frames = Show { b_frames: true, ..Show::default() };
    let mut negative = b_frames.frames();
    negative.iter_mut().filter(|f| f.slot == VIDEO).for_each(|f| f.composition -= 80);
    vec![
        jump("back by a second", -1_000),
        jump("back by an hour", -3_600_000),
        jump("on by ten minutes", 600_000),
        row("24 bits overflow", changed(|f| f.timestamp += 0xff_ffff - 10_000), PLAIN),
        row("32 bits wrap", changed(|f| f.timestamp += (1 << 32) - 10_000), PLAIN),
        row("B-frames", b_frames.frames(), PLAIN),
        row("negative composition offsets", negative, PLAIN),
        row("equal times", equal, PLAIN),
        Row { aligned_from: 1.5, ..row("no picture has a time", without_times(0.0, true), PLAIN) },
        Row {
            aligned_from: 11.5,
            ..row("pictures lose their times", without_times(10.0, true), PLAIN)
        },
        row("slices one by one", sliced(true), PLAIN),
        row("slices one by one, and no sound", sliced(false), Expect { inits: [1, 0], ..PLAIN }),
        row(
            "no picture has a time, and there is no sound",
            without_times(0.0, false),
            Expect { inits: [1, 0], ..PLAIN },
        ),
        Row { aligned_from: 4.0, ..row("sound starts half a minute off", skewed, PLAIN) },
        row("sound drifts by a thousandth", drift, Expect { segments: 299..=301, ..PLAIN }),
    ]
}

fn rates() -> Vec<Row> {
    let table = [
        ("23.976 and 44.1", 24_000.0 / 1001.0, 44_100, 48),
        ("25 and 48", 25.0, 48_000, 50),
        ("29.97 and 44.1", 30_000.0 / 1001.0, 44_100, 60),
        ("59.94 and 48", 60_000.0 / 1001.0, 48_000, 120),
        ("a phone and 44.1", 0.0, 44_100, 50),
    ];
    let seconds = 600.0;
    let rows = table.map(|(name, rate, sample_rate, group)| {
        let (rate, sample_rate) = (Some(rate), Some(sample_rate));
        let frames = Show { rate, sample_rate, group, seconds, b_frames: false }.frames();
        let target = if rate == Some(0.0) { 3 } else { 2 };
        let keys = frames.iter().filter(|f| f.slot == VIDEO && f.sync).count();
        row(name, frames, Expect { segments: keys..=keys, target, ..PLAIN })
    });
    rows.into()
}

/// Sound of 48 kHz for ten seconds, of 44.1 kHz from then on.
fn resampled() -> Vec<Sent> {
    let mut frames = plain();
    frames.retain(|f| f.slot != AUDIO || f.truth < 10.0);
    let other = Show { rate: None, sample_rate: Some(44_100), ..Show::default() }.frames();
    let mut config = Some(aac(44_100));
    frames.extend(other.into_iter().filter(|f| f.truth >= 10.0).map(|mut f| {
        f.config = config.take();
        f
    }));
    frames.sort_by(|a, b| a.truth.total_cmp(&b.truth));
    frames
}

/// What is timed right and comes late: nothing is lost or moved, though sound may be cut before its picture is there.
fn late() -> Vec<Row> {
    let by = |name, slot, late: fn(f64) -> f64, expect| {
        let mut frames = changed(|f| f.late = if f.slot == slot { late(f.truth) } else { 0.0 });
        frames.sort_by(|a, b| (a.truth + a.late).total_cmp(&(b.truth + b.late)));
        row(name, frames, expect)
    };
    let cut_by_sound = |segments| Expect { independent: false, segments, ..PLAIN };
    vec![
        by("picture 1.3 s late", VIDEO, |_| 1.3, PLAIN),
        // Sound begins alone.
        by("picture 3 s late", VIDEO, |_| 3.0, cut_by_sound(10..=11)),
        by("sound 1.3 s late", AUDIO, |_| 1.3, PLAIN),
        by("sound 3 s late", AUDIO, |_| 3.0, PLAIN),
        by("picture stalls and comes in one burst", VIDEO, stall, PLAIN),
    ]
}

/// What is of four to seven and a half seconds comes then.
fn stall(truth: f64) -> f64 {
    if (4.0..7.5).contains(&truth) { 7.5 - truth } else { 0.0 }
}

fn codecs() -> Vec<Row> {
    // A change comes with a key frame, as it must.
    let change = |slot, config: fn() -> Config| {
        let mut config = Some(config());
        changed(|f| {
            if f.slot == slot && f.truth >= 10.0 && f.sync {
                f.config = config.take().or_else(|| f.config.clone());
            }
        })
    };
    let other = |inits| Expect { discontinuities: 1, inits, segments: 10..=11, ..PLAIN };
    // Sound changes between two key frames, and the picture is cut with it.
    let heard = Expect { independent: false, ..other([1, 2]) };
    let without = |slot, from: f64, to: f64| {
        let mut frames = plain();
        let config = frames.iter().find(|f| f.slot == slot).unwrap().config.clone();
        frames.retain(|f| f.slot != slot || !(from..to).contains(&f.truth));
        let first = frames.iter_mut().find(|f| f.slot == slot);
        if let Some(first) = first {
            first.config = config;
        }
        frames
    };
    let show = |group, seconds| Show { group, seconds, ..Show::default() }.frames();
    let never = Expect { inits: [0, 1], segments: 10..=11, ..PLAIN };
    vec![
        row("another size", change(VIDEO, || h264(0x29)), other([2, 1])),
        row("H.264 becomes HEVC", change(VIDEO, hevc), other([2, 1])),
        row("48 becomes 44.1 kHz", resampled(), heard),
        row(
            "AAC becomes Opus",
            change(AUDIO, opus),
            Expect { independent: false, ..other([1, 2]) },
        ),
        row("no sound", without(AUDIO, 0.0, 99.0), Expect { inits: [1, 0], ..PLAIN }),
        row("no picture", without(VIDEO, 0.0, 99.0), never),
        row("sound comes late", without(AUDIO, 0.0, 7.0), PLAIN),
        // The picture before them can't be shown: nothing of it is kept, and it begins with the next key frame.
        Row {
            frames: {
                let mut frames = plain();
                let config = frames.iter_mut().find_map(|f| f.config.take_if(|_| f.slot == VIDEO));
                let late = frames.iter_mut().find(|f| f.slot == VIDEO && f.sync && f.truth >= 4.0);
                late.unwrap().config = config;
                frames
            },
            ..row("parameter sets come late", Vec::new(), Expect { segments: 10..=11, ..PLAIN })
        },
        row("sound goes", without(AUDIO, 13.0, 99.0), PLAIN),
        row(
            "no key frame ever",
            show(0, 20.0),
            Expect { inits: [0, 1], segments: 10..=11, ..PLAIN },
        ),
        row(
            "a key frame a minute",
            show(1_800, 150.0),
            Expect { target: 4, independent: false, segments: 34..=38, ..PLAIN },
        ),
        row("every frame is a key frame", show(1, 20.0), Expect { segments: 10..=11, ..PLAIN }),
    ]
}

fn check(row: &Row) {
    let mut studio = Studio::new();
    studio.send(&row.frames, |_| ());
    studio.end();
    let (name, index) = (row.name, &studio.index);
    let found = Expect {
        discontinuities: 0,
        inits: TRACKS.map(|track| {
            let segments = index.rendition(track).into_iter().flat_map(|r| &r.segments);
            segments.map(|s| s.info.init).collect::<BTreeSet<_>>().len()
        }),
        target: index.target_duration().unwrap(),
        independent: TRACKS
            .iter()
            .filter_map(|t| index.rendition(t))
            .all(|r| r.segments.iter().all(package::Segment::independent)),
        segments: row.expect.segments.clone(),
    };
    let mut count = 0;
    let mut marks = BTreeSet::new();
    for (track, rendition) in index.renditions() {
        let breaks = rendition.segments.iter().filter(|s| s.info.discontinuity);
        marks.insert(breaks.map(|s| s.number).collect::<Vec<_>>());
        count = count.max(rendition.segments.len());
        check_rendition(&format!("{name}, {track}"), rendition, found.target);
    }
    assert_eq!(marks.len(), 1, "{name}: the same breaks in picture and sound: {marks:?}");
    let discontinuities = marks.first().unwrap().len();
    assert_eq!(Expect { discontinuities, ..found }, row.expect, "{name}");
    assert!(row.expect.segments.contains(&count), "{name}: {count} segments");
    check_alignment(row, &studio);
    check_numbers(name, index);
}

/// A number is the same time in all renditions, but for a frame of sound that lies across the cut, and where one of them
/// begins in the midst of a segment.
fn check_numbers(name: &str, index: &package::Index) {
    let [Some(video), Some(audio)] = TRACKS.map(|track| index.rendition(track)) else { return };
    let begins = |s: &package::Segment| s.seconds(s.info.start);
    let fresh = [video, audio].map(|r| r.segments[0].number);
    for segment in video.segments.iter().filter(|s| !s.info.gap && !fresh.contains(&s.number)) {
        let Some(other) = audio.segment(segment.number).filter(|s| !s.info.gap) else { continue };
        let (picture, sound) = (begins(segment), begins(other));
        assert!((picture - sound).abs() < 0.4, "{name}: {}: {picture}, {sound}", segment.number);
    }
}

/// What holds whatever was sent.
fn check_rendition(name: &str, rendition: &package::Rendition, target: u32) {
    let mut end = 0.0;
    for segment in &rendition.segments {
        // In seconds: with another rate, time counts otherwise.
        let start = segment.seconds(segment.info.start);
        assert!(start > end - 1e-4, "{name}: {} at {start} goes back", segment.number);
        end = start + segment.seconds(segment.duration());
        let seconds = segment.seconds(segment.duration());
        assert!(seconds.round() <= f64::from(target), "{name}: {} has {seconds}", segment.number);
        let longest = f64::from(rendition.part_target_ms) / 1000.0 + 1e-6;
        for part in segment.parts.iter().filter(|_| !segment.info.gap) {
            let seconds = segment.seconds(part.duration.into());
            assert!(seconds <= longest, "{name}: {} part {seconds}", segment.number);
        }
    }
    let numbers: Vec<u64> = rendition.segments.iter().map(|s| s.number).collect();
    assert!(numbers.windows(2).all(|w| w[1] == w[0] + 1), "{name}: {numbers:?}");
}

/// Parts of the same content are at the same time, in picture and sound.
fn check_alignment(row: &Row, studio: &Studio) {
    let mut newest: [Option<f64>; 2] = [None; 2];
    let mut last = [f64::MIN; 2];
    for (track, segment, truth, decode) in &studio.placed {
        let at = usize::from(*track != TRACKS[0]);
        assert!(*decode > last[at], "{}: {track} {segment} at {decode}", row.name);
        last[at] = *decode;
        newest[at] = Some(decode - truth);
        if let [Some(video), Some(audio)] = newest
            && *truth >= row.aligned_from
        {
            let ms = (video - audio).abs() * 1000.0;
            assert!(ms < 100.0, "{}: {ms} ms apart in segment {segment}", row.name);
        }
    }
}

#[test]
fn every_wrong_clock_is_made_right() {
    timestamps().iter().for_each(check);
}

#[test]
fn what_comes_late_is_in_its_place() {
    for row in late() {
        check(&row);
        let mut studio = Studio::new();
        studio.send(&row.frames, |_| ());
        let found = Findings { cuts_not_waited_for: 0, ..studio.findings() };
        assert_eq!(found, Findings::default(), "{}", row.name);
        studio.end();
        for track in TRACKS {
            let segments = &studio.index.rendition(track).unwrap().segments;
            let seconds: f64 = segments.iter().map(|s| s.seconds(s.duration())).sum();
            assert!(segments.iter().all(|s| !s.info.gap), "{}: {track} has gaps", row.name);
            assert!((seconds - 20.0).abs() < 0.05, "{}: {track} has {seconds} s", row.name);
        }
    }
}

#[test]
fn every_rate_is_cut_without_drift() {
    rates().iter().for_each(check);
}

#[test]
fn every_case_of_codecs_has_its_reaction() {
    codecs().iter().for_each(check);
}

#[test]
fn a_reconnect_goes_on_where_it_was_also_after_another_rate() {
    for (first, then) in [(48_000, 44_100), (44_100, 48_000), (48_000, 48_000)] {
        let mut studio = Studio::new();
        let show = Show { sample_rate: Some(first), ..Show::default() };
        studio.send(&show.frames(), |_| ());
        let mut config = Some(aac(then));
        let mut frames = show.frames();
        // Behind the first twenty seconds, and with the other rate from ten seconds on.
        for f in &mut frames {
            f.timestamp += 20_000;
            f.config = None;
            if f.slot == AUDIO && f.truth >= 10.0 {
                f.config = config.take();
            }
        }
        studio.send(&frames, |_| ());
        let before = studio.placed.iter().map(|(.., decode)| *decode).fold(0.0, f64::max);
        studio.reconnect_after(std::time::Duration::from_secs(3), |_| ());
        let old = studio.placed.len();
        studio.send(&plain(), |_| ());
        studio.end();
        let next = studio.placed[old..].iter().map(|(.., decode)| *decode).fold(f64::MAX, f64::min);
        let step = next - before;
        assert!((0.0..0.8).contains(&step), "{first} {then}: {before} s, then {next} s");
    }
}

#[test]
fn what_playlists_have_said_holds_also_for_another_packaging() {
    let part_targets_ms = [("video.cmaf", 320), ("audio.cmaf", 256)];
    let earlier = Earlier {
        discontinuities: 3,
        target_duration: Some(4),
        part_targets_ms: part_targets_ms.map(|(name, ms)| (name.to_owned(), ms)).into(),
    };
    let mut studio = Studio::after(earlier);
    studio.send(&plain(), |_| ());
    studio.end();
    assert_eq!(studio.index.target_duration(), Some(4));
    for (name, promised) in part_targets_ms {
        let rendition = studio.index.rendition(name).unwrap();
        assert_eq!(rendition.part_target_ms, promised, "{name}");
        check_rendition(name, rendition, 4);
        let first = &rendition.segments[0].info;
        assert_eq!((first.discontinuity, first.discontinuity_sequence), (true, 4), "{name}");
    }
}

#[test]
fn what_an_encoder_does_wrong_is_found() {
    let found = |frames: Vec<Sent>| {
        let mut studio = Studio::new();
        studio.send(&frames, |_| ());
        studio.findings()
    };
    assert_eq!(found(plain()), Findings::default());
    let show = |group, seconds| Show { group, seconds, ..Show::default() }.frames();
    let long = found(show(1_800, 61.0));
    assert!(long.segments_without_key_frame >= 13, "{long:?}");
    assert_eq!(found(show(0, 20.0)).frames_dropped(), 600);
}

#[test]
fn in_a_cache_that_is_full_nothing_is_lost_to_a_packager_less_than_a_group_late() {
    for (every_ms, lost) in [(0, false), (300, false), (900, false), (2_500, true)] {
        let mut studio = Studio::cramped(16 << 10, Duration::from_millis(every_ms));
        studio.send(&plain(), |_| ());
        assert_eq!(studio.findings().holes > 0, lost, "{every_ms} ms: {:?}", studio.findings());
        studio.end();
        for name in ["video.cmaf", "audio.cmaf"] {
            let rendition = studio.index.rendition(name).unwrap();
            let (mut holes, mut end) = (0, rendition.segments[0].info.start);
            for segment in rendition.segments.iter().filter(|s| !s.info.gap) {
                holes += u64::from(segment.info.start != end);
                end = segment.info.start + segment.duration();
            }
            assert_eq!(holes > 0, lost, "{name} every {every_ms} ms");
        }
    }
}

/// Of B-frames a segment that begins without a key frame has one first that is shown third.
#[test]
fn dates_go_on_with_durations_wherever_segments_begin() {
    for (rate, group) in [(30.0, 0x1000), (25.0, 0x1000), (30_000.0 / 1001.0, 0x1000), (30.0, 48)] {
        let mut show = Show { group, b_frames: true, seconds: 60.0, ..Show::default() };
        show.rate = Some(rate);
        let mut studio = Studio::new();
        studio.send(&show.frames(), |_| {});
        studio.end();
        let index = &studio.index;
        let (video, audio) =
            (index.rendition("video.cmaf").unwrap(), index.rendition("audio.cmaf").unwrap());
        for r in [video, audio] {
            for (a, b) in r.segments.iter().zip(r.segments.iter().skip(1)) {
                let lasts_ms = a.seconds(a.duration()) * 1_000.0;
                let dates_ms = (b.info.wall_clock_ms - a.info.wall_clock_ms) as f64;
                assert!((dates_ms - lasts_ms).abs() <= 1.0, "{rate:?} {group} {}", b.number);
            }
        }
        assert!(
            video.segments.len() > 10,
            "{rate:?} {group}: {} {}",
            video.segments.len(),
            audio.segments.len()
        );
        // The first picture is shown one frame after it is decoded.
        let shown_ms = 1_000.0 / rate;
        let [seen, heard] = [(video, shown_ms), (audio, 0.0)].map(|(r, after_ms)| {
            let s = &r.segments[5].info;
            s.wall_clock_ms as f64 - after_ms - s.start as f64 * 1_000.0 / f64::from(s.timescale)
        });
        assert!((seen - heard).abs() <= 1.5, "{rate:?} {group}: {seen} {heard}");
    }
}
