use std::collections::BTreeMap;

use bytes::Bytes;
use media::fmp4::{Sample, fragment_header, init_segment};
use media::mp4::{Movie, demux};
use spine::Location;

use super::*;
use crate::index::Index;
use crate::properties;
use crate::testing::{audio_config, video_config};

/// A broadcast of 30 frames a second with B-frames, segments of 2 s and parts of 1/3 s, and of sound.
#[derive(Default)]
struct World {
    index: Index,
    objects: BTreeMap<(String, u64, u64), Bytes>,
    /// Where segments are on the clock of the broadcast: holes make it later.
    clock_ms: u64,
    inits: BTreeMap<u64, Bytes>,
}

const FRAMES: u64 = 60;
const VIDEO: &str = "video.cmaf";
const AUDIO: &str = "audio.cmaf";

/// In decoding order: which picture of a segment is it, and how much later is it shown.
fn picture(i: u64) -> (u64, i32) {
    match i {
        0 => (0, 3_000),
        i if i == FRAMES - 1 => (i, 3_000),
        i if i % 2 == 1 => (i + 1, 6_000),
        i => (i - 1, 0),
    }
}

impl World {
    fn of(segments: u64) -> Self {
        let mut world = Self::default();
        world.inits.insert(7, init_segment(&video_config(), 90_000));
        world.inits.insert(8, init_segment(&audio_config(), 48_000));
        (0..segments).for_each(|number| world.segment(number, false, true));
        world
    }

    fn segment(&mut self, number: u64, discontinuity: bool, key: bool) {
        let start = self.clock_ms * 90;
        for part in 0..6 {
            let frames = (0..10).map(|f| {
                let i = part * 10 + f;
                let (shown, composition_offset) = picture(i);
                let payload = format!("v{number}.{shown:02}{}", "x".repeat(shown as usize));
                let (size, sync) = (payload.len() as u32, i == 0 && key);
                (Sample { duration: 3_000, size, sync, composition_offset }, payload)
            });
            let at = (VIDEO, number, part);
            let info = (start, 90_000, 7, discontinuity);
            self.part(at, info, start + part * 30_000, part == 5, frames.collect());
        }
        // Sound is on its own grid.
        let first = (self.clock_ms * 48).div_ceil(1_024);
        let until = ((self.clock_ms + 2_000) * 48).div_ceil(1_024);
        for part in 0..2 {
            let half = (first + until) / 2;
            let of = if part == 0 { first..half } else { half..until };
            let begin = of.start * 1_024;
            let frames = of.map(|i| {
                let payload = format!("a{i:05}");
                let size = payload.len() as u32;
                (Sample { duration: 1_024, size, sync: true, composition_offset: 0 }, payload)
            });
            let info = (first * 1_024, 48_000, 8, discontinuity);
            self.part((AUDIO, number, part), info, begin, part == 1, frames.collect());
        }
        self.clock_ms += 2_000;
    }

    fn part(
        &mut self,
        (name, number, part): (&str, u64, u64),
        (start, timescale, init, discontinuity): (u64, u32, u64, bool),
        decode: u64,
        last: bool,
        frames: Vec<(Sample, String)>,
    ) {
        let samples: Vec<Sample> = frames.iter().map(|(sample, _)| *sample).collect();
        let mut bytes = fragment_header(1, decode, &samples).unwrap();
        frames.iter().for_each(|(_, payload)| bytes.extend(payload.as_bytes()));
        let said = properties::Part {
            duration: samples.iter().map(|s| s.duration).sum(),
            independent: samples[0].sync,
            last,
            closes: false,
            target_ms: 334,
            target_duration: Some(2),
            open: false,
            key_bytes: None,
        };
        let segment = properties::Segment {
            timescale,
            epoch: 3,
            wall_clock_ms: 0,
            start,
            discontinuity,
            discontinuity_sequence: 0,
            gap: false,
            init,
        };
        let at = Location { group: number, object: part };
        let segment = (part == 0).then_some(segment);
        self.index.add(name, at, &said, segment, bytes.len() as u64).unwrap();
        self.objects.insert((name.to_owned(), number, part), bytes.into());
    }

    fn plan(&self, wanted: Wanted) -> Result<Plan, Refused> {
        let outline = Outline::new(&self.index, wanted)?;
        let inits: Vec<Bytes> =
            outline.tracks.iter().map(|track| self.inits[&track.init].clone()).collect();
        let mut assembly = Assembly::new(&outline, &inits)?;
        for part in &outline.parts {
            let name = &outline.tracks[part.track].name;
            let object = &self.objects[&(name.clone(), part.segment, part.part)];
            let moof = media::fmp4::moof_bytes(object).unwrap() as usize;
            assembly.push(part, &object[..moof])?;
        }
        assembly.finish()
    }

    fn bytes(&self, plan: &Plan, range: std::ops::Range<u64>) -> Vec<u8> {
        self.bytes_by(plan, range, u64::MAX)
    }

    /// Taken by so many at most.
    fn bytes_by(&self, plan: &Plan, range: std::ops::Range<u64>, most: u64) -> Vec<u8> {
        let (head, mut rest) = plan.cut(range);
        let mut out = head.to_vec();
        loop {
            let pieces = plan.take(&mut rest, most);
            let Some(first) = pieces.first() else { return out };
            assert!(pieces.iter().all(|piece| piece.segment == first.segment), "{pieces:?}");
            assert!(pieces.iter().map(|piece| piece.len).sum::<u64>() <= most, "{pieces:?}");
            for piece in pieces {
                let name = plan.tracks[piece.track].clone();
                let object = &self.objects[&(name, piece.segment, piece.part)];
                out.extend(&object[piece.start as usize..(piece.start + piece.len) as usize]);
            }
        }
    }

    fn movie(&self, plan: &Plan) -> (Bytes, Movie) {
        let file = Bytes::from(self.bytes(plan, 0..plan.len));
        assert_eq!(file.len() as u64, plan.len);
        let movie = demux(&file).unwrap();
        (file, movie)
    }
}

fn wanted(from: f64, to: f64) -> Wanted {
    let ns = |s: f64| (s * 1e9).round() as u64;
    Wanted { from_ns: ns(from), to_ns: ns(to), picture: true }
}

/// What of a track is shown, and when, in milliseconds of the file.
fn shown(file: &Bytes, movie: &Movie, track: usize, duration_ns: u64) -> Vec<(i64, String)> {
    let track = &movie.tracks[track];
    let mut all: Vec<(i64, String)> = track
        .samples
        .iter()
        .map(|s| {
            let at = track.shared_us(s.decode + i64::from(s.composition)) / 1_000;
            let text = String::from_utf8(s.data(file).unwrap().to_vec()).unwrap();
            (at, text.trim_end_matches('x').to_owned())
        })
        .filter(|(at, _)| (0..(duration_ns / 1_000_000) as i64).contains(at))
        .collect();
    all.sort();
    all
}

#[test]
fn a_clip_has_exactly_the_frames_of_its_range_with_their_sound() {
    let world = World::of(6);
    for (from, to) in [(3.5, 7.25), (0.0, 2.0), (4.0, 4.1), (3.9995, 6.0), (11.0, 99.0)] {
        let plan = world.plan(wanted(from, to)).unwrap();
        let (file, movie) = world.movie(&plan);
        // Where frames are: every thirtieth of a second.
        let until = f64::min(to, 12.0);
        let of = |at: f64| (at * 30.0 - 0.03).ceil() as u64;
        let expect: Vec<String> =
            (of(from)..of(until)).map(|i| format!("v{}.{:02}", i / 60, i % 60)).collect();
        let video = shown(&file, &movie, 0, plan.duration_ns);
        let names: Vec<&String> = video.iter().map(|(_, name)| name).collect();
        assert_eq!(names, expect.iter().collect::<Vec<_>>(), "{from}-{to}");
        assert_eq!(video[0].0, 0, "it begins with a picture");
        let frames = expect.len() as u64;
        let off = plan.duration_ns.abs_diff(frames * 1_000_000_000 / 30);
        assert!(off < 1_000, "{from}-{to}: {off} ns");
        assert!(plan.from_ns.abs_diff(of(from) * 1_000_000_000 / 30) < 1_000);
        // It is decoded from a key frame on, and no further back than the last one.
        let first = &movie.tracks[0].samples[0];
        assert!(first.sync && first.decode == 0);
        assert_eq!(
            movie.tracks[0].samples.iter().filter(|s| s.sync).count() as u64,
            (of(until) - 1) / 60 - of(from) / 60 + 1
        );
        // The sound that belongs to it: presented with 3,000 ticks of delay, like the picture.
        for (at, name) in shown(&file, &movie, 1, plan.duration_ns) {
            let number: f64 = name[1..].parse().unwrap();
            let source = number * 1_024.0 / 48.0 - 1_000.0 / 30.0;
            let here = at as f64 + plan.from_ns as f64 / 1e6;
            assert!((source - here).abs() < 1.1, "{name}: {source} at {here}");
        }
    }
}

/// GStreamer's first picture is shown without the delay that all others have.
#[test]
fn up_to_the_end_is_all_of_it() {
    let mut world = World::of(2);
    let (name, at) = (VIDEO.to_owned(), 2_000 * 90 * 2);
    world.clock_ms += 2_000;
    let frames = [(0, true), (9_000, false), (9_000, false)].map(|(composition_offset, sync)| {
        let sample = Sample { duration: 3_000, size: 1, sync, composition_offset };
        (sample, "y".to_owned())
    });
    world.part((&name, 2, 0), (at, 90_000, 7, true), at, true, frames.to_vec());
    for wanted in [Wanted::everything(true), wanted(4.0, 60.0)] {
        let plan = world.plan(wanted).unwrap();
        let (_, movie) = world.movie(&plan);
        let last = movie.tracks[0].samples.iter().rev().take(3).filter(|s| s.range.len() == 1);
        assert_eq!(last.count(), 3, "{wanted:?}");
    }
}

#[test]
fn every_range_of_the_file_is_the_same_bytes() {
    let world = World::of(3);
    let plan = world.plan(wanted(1.0, 4.5)).unwrap();
    let whole = world.bytes(&plan, 0..plan.len);
    let n = plan.len;
    for step in [1, 7, 100, 1_001, n] {
        let mut again = Vec::new();
        let mut at = 0;
        while at < n {
            again.extend(world.bytes(&plan, at..(at + step).min(n)));
            at += step;
        }
        assert!(again == whole, "in steps of {step}");
    }
    assert_eq!(world.bytes(&plan, n..n + 5), b"");
    for most in [1, 7, 1_001] {
        assert!(world.bytes_by(&plan, 0..n, most) == whole, "taken by {most}");
        assert!(world.bytes_by(&plan, 5..n - 5, most) == whole[5..whole.len() - 5], "by {most}");
    }
}

#[test]
fn sound_alone_is_a_file_too() {
    let world = World::of(3);
    let plan = world.plan(Wanted::everything(false)).unwrap();
    let (file, movie) = world.movie(&plan);
    assert_eq!((movie.tracks.len(), &*plan.tracks), (1, &[AUDIO.to_owned()][..]));
    let heard = shown(&file, &movie, 0, plan.duration_ns);
    assert_eq!(heard.len(), 282, "all of 6 s");
    let plan = world.plan(Wanted { picture: false, ..wanted(2.0, 3.0) }).unwrap();
    let (file, movie) = world.movie(&plan);
    let heard = shown(&file, &movie, 0, plan.duration_ns);
    assert_eq!(heard.len(), 47);
    assert!(movie.tracks[0].samples.len() > 50, "some of it is there to be decoded only");
}

#[test]
fn over_a_discontinuity_picture_and_sound_stay_together() {
    let mut world = World::of(2);
    // The encoder was away for 7.3 s: players do not wait for that.
    world.clock_ms += 7_300;
    (2..4).for_each(|number| world.segment(number, number == 2, true));
    let plan = world.plan(wanted(3.0, 6.0)).unwrap();
    let (file, movie) = world.movie(&plan);
    let video = shown(&file, &movie, 0, plan.duration_ns);
    let names: Vec<String> = (90..180).map(|i| format!("v{}.{:02}", i / 60, i % 60)).collect();
    assert_eq!(
        video.iter().map(|(_, name)| name).collect::<Vec<_>>(),
        names.iter().collect::<Vec<_>>()
    );
    assert!(video.windows(2).all(|w| (30..=37).contains(&(w[1].0 - w[0].0))), "no hole: {video:?}");
    for (at, name) in shown(&file, &movie, 1, plan.duration_ns) {
        let mut source = name[1..].parse::<f64>().unwrap() * 1_024.0 / 48.0 - 1_000.0 / 30.0;
        if source > 8_000.0 {
            source -= 7_300.0;
        }
        let here = at as f64 + 3_000.0;
        assert!((source - here).abs() < 22.0, "{name}: {source} at {here}");
    }
}

#[test]
fn what_was_lost_is_a_hole_in_the_picture_and_never_a_shift() {
    let mut world = World::of(4);
    for name in [VIDEO, AUDIO] {
        world.index.lose(name, 1);
    }
    let plan = world.plan(wanted(1.0, 5.0)).unwrap();
    let (file, movie) = world.movie(&plan);
    let video = shown(&file, &movie, 0, plan.duration_ns);
    assert_eq!(video.len(), 30 + 30);
    assert_eq!((video[29].1.as_str(), video[30].1.as_str()), ("v0.59", "v2.00"));
    assert!((2_999..=3_001).contains(&video[30].0), "{:?}", video[30]);
    // A range within it has nothing.
    assert_eq!(world.plan(wanted(2.1, 3.9)), Err(Refused::Gap));
    // Where nothing was lost, it may be too short for a frame.
    assert_eq!(world.plan(wanted(1.005, 1.01)), Err(Refused::Empty));
    // One that begins in it begins behind it.
    let plan = world.plan(wanted(3.0, 5.0)).unwrap();
    assert_eq!((plan.from_ns, plan.duration_ns / 1_000_000), (4_000_000_000, 1_000));
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    let mut world = World::of(3);
    let outside = world.plan(wanted(6.0, 7.0)).unwrap_err();
    let words = "there is nothing at 6.000 s: what is to be had is from 0.000 s to 6.000 s";
    assert_eq!(outside.to_string(), words);
    assert!(matches!(world.plan(wanted(1e9, 2e9)), Err(Refused::Outside { .. })));
    assert_eq!(World::default().plan(wanted(0.0, 1.0)), Err(Refused::NoTrack("sound")));
    // Segments that go on without a key frame are decoded from the one before.
    (3..6).for_each(|number| world.segment(number, false, false));
    let plan = world.plan(wanted(11.0, 11.5)).unwrap();
    let (file, movie) = world.movie(&plan);
    assert_eq!(movie.tracks[0].samples.len() as u64, 3 * 60 + 45);
    assert_eq!(shown(&file, &movie, 0, plan.duration_ns).len(), 15);
    // From too far away they are not.
    (6..22).for_each(|number| world.segment(number, false, false));
    assert_eq!(world.plan(wanted(42.0, 43.0)), Err(Refused::NoKeyFrame));
    // Another format.
    world.inits.insert(9, init_segment(&video_config(), 90_000));
    let mut changed = world.index.rendition(VIDEO).unwrap().segments.back().unwrap().info;
    (changed.init, changed.start) = (9, world.clock_ms * 90);
    let part = properties::Part {
        duration: 180_000,
        independent: true,
        last: true,
        closes: false,
        target_ms: 334,
        target_duration: None,
        open: false,
        key_bytes: None,
    };
    let at = Location { group: 22, object: 0 };
    world.index.add(VIDEO, at, &part, Some(changed), 9).unwrap();
    assert_eq!(
        world.plan(Wanted::everything(true)),
        Err(Refused::Changes { what: "picture", at: 44.0 })
    );
}

#[test]
fn damaged_heads_are_refused_and_never_a_panic() {
    let world = World::of(2);
    let outline = Outline::new(&world.index, wanted(0.5, 3.0)).unwrap();
    let inits: Vec<Bytes> = outline.tracks.iter().map(|t| world.inits[&t.init].clone()).collect();
    assert_eq!(Assembly::new(&outline, &[]).err(), Some(Refused::Damaged));
    assert_eq!(
        Assembly::new(&outline, &[inits[0].clone(), Bytes::new()]).err(),
        Some(Refused::Damaged)
    );
    let part = outline.parts[0];
    let object = &world.objects[&(VIDEO.to_owned(), part.segment, part.part)];
    let moof = media::fmp4::moof_bytes(object).unwrap() as usize;
    for at in 0..moof {
        let mut head = object[..moof].to_vec();
        head[at] ^= 0xff;
        let mut assembly = Assembly::new(&outline, &inits).unwrap();
        let _ = assembly.push(&part, &head);
        let _ = assembly.finish();
    }
    let mut assembly = Assembly::new(&outline, &inits).unwrap();
    assert_eq!(assembly.push(&part, b"moof"), Err(Refused::Damaged));
}

/// A clip's segments as a player takes them: what is shown, in milliseconds from the first picture that is meant to be
/// seen, of samples that take time.
fn played(world: &World, plan: &Plan, clip: &Fragments, track: usize) -> Vec<(i64, i64, String)> {
    let init = &world.inits[&[7, 8][track]];
    let mut movie = demux(init).unwrap();
    let timescale = i64::from(movie.tracks[0].timescale);
    let mut out = Vec::new();
    let mut at: Option<u64> = None;
    for share in clip.segments.iter().map(|s| &s.shares[track]) {
        assert_eq!(share.start, at.unwrap_or(share.start), "no hole between segments");
        at = Some(share.start + share.parts.iter().map(|p| u64::from(p.duration)).sum::<u64>());
        for part in &share.parts {
            let mut bytes = part.head.clone();
            for piece in &part.pieces {
                let name = plan.tracks[piece.track].clone();
                let object = &world.objects[&(name, piece.segment, piece.part)];
                bytes.extend(&object[piece.start as usize..(piece.start + piece.len) as usize]);
            }
            assert_eq!(bytes.len() as u64, part.bytes());
            let bytes = Bytes::from(bytes);
            movie.fragment(&bytes).unwrap();
            let samples = &movie.tracks[0].samples;
            assert_eq!(samples[0].sync, part.independent);
            let key = part.key_bytes.map(|end| samples[0].range.end as u32 == end);
            assert_eq!(key, (track == 0 && part.independent).then_some(true));
            for s in samples {
                assert!(s.composition >= 0, "decoded before it is shown");
                let present = s.decode + i64::from(s.composition) - timescale / 5;
                let text = String::from_utf8(s.data(&bytes).unwrap().to_vec()).unwrap();
                let duration = i64::from(s.duration) * 1_000 / timescale;
                out.push((
                    present * 1_000 / timescale,
                    duration,
                    text.trim_end_matches('x').into(),
                ));
            }
        }
    }
    out.sort();
    out
}

#[test]
fn as_segments_a_clip_begins_and_ends_at_the_frame_in_every_player() {
    let world = World::of(6);
    for (from, to) in [(3.5, 7.25), (0.0, 2.0), (4.0, 4.1), (3.9995, 6.0), (1.0, 1.1), (11.0, 99.0)]
    {
        let plan = world.plan(wanted(from, to)).unwrap();
        let clip = Fragments::new(&plan, &world.index).unwrap();
        let of = |at: f64| (at * 30.0 - 0.03).ceil() as u64;
        let (first, last) = (of(from), of(f64::min(to, 12.0)));
        let expect: Vec<(i64, String)> = (first..last)
            .map(|i| ((i - first) as i64 * 1_000 / 30, format!("v{}.{:02}", i / 60, i % 60)))
            .collect();
        let video = played(&world, &plan, &clip, 0);
        let (seen, hidden): (Vec<_>, Vec<_>) =
            video.into_iter().partition(|(_, takes, _)| *takes > 5);
        let seen: Vec<(i64, String)> = seen.into_iter().map(|(at, _, name)| (at, name)).collect();
        assert_eq!(seen, expect, "{from}-{to}");
        // What is decoded only is shown for no time, in its order, and before what is seen.
        let (ahead, behind): (Vec<_>, Vec<_>) = hidden.into_iter().partition(|(at, _, _)| *at < 0);
        assert!(ahead.iter().all(|(at, _, _)| (-4..=-2).contains(at)), "{ahead:?}");
        assert!(ahead.iter().all(|(_, _, name)| !expect.iter().any(|(_, seen)| seen == name)));
        let end = (plan.duration_ns / 1_000_000) as i64;
        assert!(behind.len() <= 1 && behind.iter().all(|(at, _, _)| (at - end).abs() <= 1));
        assert_eq!(ahead.is_empty(), clip.hidden_ns == 0);
        // The first one is shown `hidden_ns` before them.
        let off = clip.hidden_ns as i64 / 1_000_000 + ahead.first().map_or(0, |(at, _, _)| *at);
        assert!((-1..=1).contains(&off), "{off}");
        for (at, _, name) in played(&world, &plan, &clip, 1) {
            let source = name[1..].parse::<f64>().unwrap() * 1_024.0 / 48.0 - 1_000.0 / 30.0;
            let here = at as f64 + plan.from_ns as f64 / 1e6;
            assert!((source - here).abs() < 1.1, "{name}: {source} at {here}");
            assert!(at > -22 && at as f64 <= plan.duration_ns as f64 / 1e6, "{name} at {at}");
        }
        assert_eq!(clip.target_duration, if plan.duration_ns < 1_500_000_000 { 1 } else { 2 });
        assert!(clip.segments.iter().all(|s| s.shares[0].parts[0].independent));
    }
}

#[test]
fn sound_alone_and_what_was_lost_as_segments() {
    let world = World::of(3);
    let plan = world.plan(Wanted { picture: false, ..wanted(1.5, 3.0) }).unwrap();
    let clip = Fragments::new(&plan, &world.index).unwrap();
    let heard: Vec<&ClipShare> = clip.segments.iter().map(|s| &s.shares[0]).collect();
    assert_eq!((heard.len(), clip.hidden_ns), (2, 0));
    let ticks: u32 = heard.iter().flat_map(|s| &s.parts).map(|p| p.duration).sum();
    assert!(ticks.abs_diff(72_000) < 2_048, "{ticks}");
    let mut world = World::of(4);
    for name in [VIDEO, AUDIO] {
        world.index.lose(name, 1);
    }
    let plan = world.plan(wanted(1.0, 5.0)).unwrap();
    let clip = Fragments::new(&plan, &world.index).unwrap();
    let video = played(&world, &plan, &clip, 0);
    let still = video.iter().find(|(_, takes, _)| *takes > 100).unwrap();
    assert_eq!((still.1 / 10, &*still.2), (203, "v0.59"), "a still picture");
    assert_eq!(clip.target_duration, 3);
    // A plan that says what is not so is refused.
    for at in 0..plan.head.len() {
        let mut head = plan.head.to_vec();
        head[at] ^= 0x81;
        let _ = Fragments::new(&Plan { head: head.into(), ..plan.clone() }, &world.index);
    }
    let other = Plan { pieces: Vec::new(), ..plan };
    assert_eq!(Fragments::new(&other, &world.index), Err(Refused::Damaged));
}
