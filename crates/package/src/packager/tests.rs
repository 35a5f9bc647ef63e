use super::*;
use crate::index::Index;
use crate::testing::{audio_config, video_config, video_config_with};
use spine::Location;
use std::time::Instant;

mod beside;
mod changes;
mod holes;

#[allow(clippy::disallowed_methods)]
fn frame(decode: i64, duration: u32, sync: bool) -> Frame {
    Frame {
        decode,
        present: decode,
        duration,
        sync,
        asked: false,
        discontinuity: false,
        wall_clock_ms: 1_000_000 + u64::try_from(decode).unwrap() / 90,
        arrived: Instant::now(),
        payload: vec![spine::Budget::new(usize::MAX).payload(vec![1; 100])],
    }
}

/// A packager with the index that its output makes.
struct Bench {
    packager: Packager,
    index: Index,
    out: Outputs,
    names: Vec<&'static str>,
}

impl Bench {
    fn new(tracks: &[bool]) -> Self {
        let mut packager = Packager::new(Rules::default(), 1, 100);
        let mut out = Vec::new();
        let mut names = Vec::new();
        for video in tracks {
            let track = packager.add_track(*video);
            let config = if *video { video_config() } else { audio_config() };
            packager.configure(track, &config, &mut out);
            names.push(if *video { "video" } else { "audio" });
        }
        Self { packager, index: Index::new(), out, names }
    }

    fn push(&mut self, track: usize, frame: Frame) {
        self.packager.push(TrackId(track), frame, &mut self.out);
        self.drain();
    }

    fn all_taken(&mut self) {
        self.packager.all_taken(&mut self.out);
        self.drain();
    }

    fn flush(&mut self) {
        self.packager.flush(&mut self.out);
        self.drain();
    }

    fn drain(&mut self) {
        for (track, output) in std::mem::take(&mut self.out) {
            let Output::Part { segment, part, properties, head, .. } = output else { continue };
            let at = Location { group: segment, object: part };
            let name = self.names[track.0];
            let bytes = head.len() as u64;
            let hint = self.hint(name);
            self.index.apply(name, at, &properties, bytes).unwrap();
            let newest = self.index.rendition(name).unwrap().segments.back().unwrap();
            let came = (newest.number, part, newest.info.epoch, newest.info.init);
            assert!(hint.is_none_or(|hint| hint == came), "{name}: {hint:?} has come as {came:?}");
        }
    }

    /// Which part lists say that comes next, if they do: its segment, its place, whose it is and how it is decoded.
    fn hint(&self, name: &str) -> Option<(u64, u64, u64, u64)> {
        let newest = self.index.rendition(name)?.segments.back().filter(|s| !s.closes)?;
        let (number, part) = match newest.complete {
            true => (newest.number + 1, 0),
            false => (newest.number, newest.parts.len() as u64),
        };
        Some((number, part, newest.info.epoch, newest.info.init))
    }

    /// Video at 30 fps with a key frame every `group` frames and audio at 48 kHz, as an encoder
    /// interleaves them, from one time to another.
    fn run(&mut self, from_ms: i64, to_ms: i64, group: i64, discontinuity: bool) {
        let mut sound = (from_ms * 48 + 1023) / 1024;
        let mut fresh = discontinuity;
        for i in from_ms * 30 / 1000..to_ms * 30 / 1000 {
            while sound * 1024 * 90_000 < i * 3_000 * 48_000 {
                self.push(1, frame(sound * 1024, 1024, true));
                sound += 1;
            }
            let mut picture = frame(i * 3_000, 3_000, i % group == 0);
            picture.discontinuity = std::mem::take(&mut fresh);
            self.push(0, picture);
        }
    }

    fn segments(&self, name: &str) -> Vec<(u64, f64, usize, bool)> {
        let r = self.index.rendition(name).unwrap();
        let seconds = |s: &crate::Segment| (s.seconds(s.duration()) * 1000.0).round() / 1000.0;
        r.segments.iter().map(|s| (s.number, seconds(s), s.parts.len(), s.complete)).collect()
    }
}

#[test]
fn picture_and_sound_are_cut_at_the_same_times_into_the_same_numbers() {
    let mut bench = Bench::new(&[true, false]);
    bench.run(0, 6_100, 60, false);
    assert_eq!(bench.index.target_duration(), Some(2));
    let video = bench.segments("video");
    assert_eq!(&video[..3], [(100, 2.0, 6, true), (101, 2.0, 6, true), (102, 2.0, 6, true)]);
    let audio = bench.segments("audio");
    assert_eq!(audio.iter().map(|s| s.0).collect::<Vec<_>>()[..3], [100, 101, 102]);
    for segment in &audio[..2] {
        assert!((segment.1 - 2.0).abs() <= 0.0214, "nearest frame border: {segment:?}");
    }
    let (mut sum, r) = (0, bench.index.rendition("audio").unwrap());
    for segment in &r.segments {
        assert_eq!(segment.info.start, sum, "sums never drift");
        sum += segment.duration();
    }
    assert!(r.segments.iter().all(Segment2::whole), "{:?}", r.segments);
    assert_eq!(bench.packager.findings(), Findings::default());
}

trait Segment2 {
    fn whole(&self) -> bool;
}

impl Segment2 for crate::Segment {
    /// Every part but the last has the same duration and can be started with (sound).
    fn whole(&self) -> bool {
        let full = self.parts[0].duration;
        let (last, others) = self.parts.split_last().unwrap();
        others.iter().all(|p| p.duration == full && p.independent) && last.duration <= full
    }
}

/// AAC of eight channels, of which no silence is known.
fn unknown_silence() -> Config {
    use media::codec::aac::AudioSpecificConfig;
    Config::Audio(AudioSpecificConfig::parse(&[0x11, 0xb8]).unwrap().config())
}

#[test]
fn sound_that_lacks_frames_inside_a_segment_stays_in_its_place() {
    let lacking = [(1, true), (5, true), (6, true), (7, false), (40, false)];
    let codecs = [(audio_config(), true), (unknown_silence(), false)];
    let announced = [false, true];
    let cases = codecs.iter().flat_map(|codec| lacking.map(|missing| (codec, missing)));
    for (((config, silent), (missing, bridged)), announced) in
        cases.flat_map(|case| announced.map(|announced| (case, announced)))
    {
        let mut bench = Bench::new(&[true, false]);
        bench.packager.configure(TrackId(1), config, &mut bench.out);
        let lacks = 50..50 + missing;
        let mut placed = BTreeMap::new();
        for i in 0..150 {
            for sound in i * 1_600 / 1_024..(i + 1) * 1_600 / 1_024 {
                if !lacks.contains(&sound) {
                    let mut frame = frame(sound * 1024, 1024, true);
                    frame.discontinuity = announced && sound == lacks.end;
                    bench.packager.push(TrackId(1), frame, &mut bench.out);
                }
            }
            bench.packager.push(TrackId(0), frame(i * 3_000, 3_000, i % 60 == 0), &mut bench.out);
            for (track, output) in bench.out.drain(..) {
                let (TrackId(1), Output::Part { timing, body, .. }) = (track, output) else {
                    continue;
                };
                placed.insert(timing.decode, (i64::from(timing.duration), body.len() as i64));
            }
        }
        let mut ends = 0;
        for (start, (duration, frames)) in placed {
            let hole = start - ends;
            let here = ends == lacks.start * 1024;
            let left = here && !bridged && !silent;
            assert_eq!(hole, if left { missing * 1024 } else { 0 }, "at {start}");
            let within = (start..start + duration).contains(&(lacks.start * 1024));
            let lacking = if bridged && within && !silent { missing } else { 0 };
            assert_eq!(duration, (frames + lacking) * 1024, "at {start}");
            ends = start + duration;
        }
        assert!(ends > 200 * 1024, "the sound goes on: {ends}");
        let found = bench.packager.findings().silent_frames;
        assert_eq!(found, if *silent { missing as u64 } else { 0 }, "{missing}");
    }
}

/// Sound stops at 4 s and comes back at 12 s, or not; pictures go on.
#[test]
fn sound_that_stops_is_silence_for_as_long_as_pictures_come() {
    for back_ms in [12_000, i64::MAX] {
        let mut bench = Bench::new(&[true, false]);
        let mut sound = 0;
        for i in 0..16 * 30 {
            while sound * 1024 * 90_000 < i * 3_000 * 48_000 {
                let ms = sound * 1024 / 48;
                if ms < 4_000 || ms >= back_ms {
                    bench.push(1, frame(sound * 1024, 1024, true));
                }
                sound += 1;
            }
            bench.push(0, frame(i * 3_000, 3_000, i % 60 == 0));
            bench.all_taken();
            let ends = |name| {
                let r = bench.index.rendition(name)?;
                let last = r.segments.back()?;
                Some(last.seconds(last.info.start + last.duration()))
            };
            if let (Some(picture), Some(sound)) = (ends("video"), ends("audio")) {
                // What is waited for, and a part and a frame on either side.
                assert!(picture - sound < 0.5 + 0.42, "{picture} {sound}");
            }
        }
        bench.flush();
        let [video, audio] = ["video", "audio"].map(|name| bench.index.rendition(name).unwrap());
        let mut end = 0;
        for segment in &audio.segments {
            assert!(!segment.info.gap && segment.whole(), "{segment:?}");
            assert_eq!(segment.info.start, end, "{}", segment.number);
            end += segment.duration();
            let other = video.segment(segment.number).unwrap();
            let [at, beside] = [segment, other].map(|s| s.seconds(s.info.start));
            assert!((at - beside).abs() < 0.0214, "{}: {at} {beside}", segment.number);
        }
        assert!(end.abs_diff(16 * 48_000) < 4 * 1_024, "{end}");
        let found = bench.packager.findings();
        let silent = if back_ms == 12_000 { 8 } else { 12 } * 48_000 / 1_024;
        assert!(found.silent_frames.abs_diff(silent) < 4, "{found:?}");
        assert_eq!(Findings { silent_frames: 0, ..found }, Findings::default());
    }
}

/// Sound that comes after all is heard as soon as it comes in time again, or as late as it now always is.
#[test]
fn sound_that_comes_late_is_silent_once() {
    let mut bench = Bench::new(&[true, false]);
    let mut sound = 0;
    for i in 0..30 * 30 {
        // Three seconds late, from the fourth on.
        let late_ms = if i > 4 * 30 { 3_000 } else { 0 };
        while sound * 1024 * 1000 < (i * 1000 / 30 - late_ms) * 48_000 {
            bench.push(1, frame(sound * 1024, 1024, true));
            sound += 1;
        }
        bench.push(0, frame(i * 3_000, 3_000, i % 60 == 0));
        bench.all_taken();
    }
    let found = bench.packager.findings();
    let (silent, dropped) = (found.silent_frames, found.frames_late);
    assert!((100..150).contains(&silent) && silent.abs_diff(dropped) < 3, "{found:?}");
}

#[test]
fn a_publisher_that_comes_back_goes_on_behind_a_discontinuity() {
    let mut bench = Bench::new(&[true, false]);
    bench.run(0, 3_000, 60, false);
    bench.flush();
    let before = bench.segments("video").len();
    assert!(bench.segments("video").iter().all(|s| s.3), "nothing stays open");
    bench.run(4_000, 8_050, 60, true);
    for name in ["video", "audio"] {
        let r = bench.index.rendition(name).unwrap();
        let marks: Vec<bool> = r.segments.iter().map(|s| s.info.discontinuity).collect();
        assert_eq!(marks.iter().filter(|m| **m).count(), 1, "{name} {marks:?}");
        assert!(marks[before], "{name}: at the first new segment");
        assert_eq!(r.segments[before].info.discontinuity_sequence, 1);
        assert!(
            r.segments.iter().zip(r.segments.iter().skip(1)).all(|(a, b)| a.number + 1 == b.number)
        );
    }
}

#[test]
fn sound_alone_decides_the_cuts_itself() {
    let mut bench = Bench::new(&[false]);
    for i in 0..300 {
        bench.push(0, frame(i * 1024, 1024, true));
    }
    bench.flush();
    let audio = bench.segments("audio");
    assert_eq!(audio[0].0, 100);
    assert!(audio[..3].iter().all(|s| (1.9..=2.0).contains(&s.1)), "{audio:?}");
    assert_eq!(bench.index.target_duration(), Some(2));
    let total: f64 = audio.iter().map(|s| s.1).sum();
    assert!((total - 300.0 * 1024.0 / 48_000.0).abs() < 0.01, "every frame is there: {total}");
}

#[test]
fn a_camera_that_stops_leaves_gaps_and_the_sound_goes_on() {
    let mut bench = Bench::new(&[true, false]);
    bench.run(0, 4_000, 60, false);
    let mut sound = 4_000 * 48 / 1024 + 1;
    while sound * 1024 < 12_000 * 48 {
        bench.push(1, frame(sound * 1024, 1024, true));
        sound += 1;
    }
    let audio = bench.segments("audio");
    assert!(audio.len() >= 4, "{audio:?}");
    assert!(audio.iter().all(|s| s.1 < 2.5), "{audio:?}");
    bench.run(12_000, 16_100, 60, false);
    let r = bench.index.rendition("video").unwrap();
    assert!(r.segments.iter().any(|s| s.info.gap));
    let starts: Vec<u64> = r.segments.iter().map(|s| s.info.start).collect();
    assert!(starts.is_sorted(), "{starts:?}");
    assert!(r.segments.back().unwrap().number + 2 >= bench.packager.next_number());
}

/// The picture stops at 5 s and comes back at 12 s in the midst of a group, or not; sound goes on.
#[test]
fn a_picture_that_stops_stands_for_as_long_as_sound_comes() {
    for back in [360 + 20, i64::MAX] {
        let mut bench = Bench::new(&[true, false]);
        let (mut sound, mut stood) = (0, false);
        for i in 0..16 * 30 {
            while sound * 1024 * 90_000 < i * 3_000 * 48_000 {
                bench.push(1, frame(sound * 1024, 1024, true));
                sound += 1;
            }
            if !(150..back).contains(&i) {
                bench.push(0, frame(i * 3_000, 3_000, i % 60 == 0));
            }
            bench.all_taken();
            let ends = |name| {
                let r = bench.index.rendition(name)?;
                let last = r.segments.back()?;
                Some(last.seconds(last.info.start + last.duration()))
            };
            stood |= bench.packager.findings().pictures_shown_again > 0;
            if let (Some(picture), true) = (ends("video"), stood) {
                let heard = sound as f64 * 1024.0 / 48_000.0;
                assert!(heard - picture < 0.5 + 0.8, "{picture} {heard}");
                assert!(ends("audio").unwrap() - picture < 0.4, "{picture}");
            }
        }
        bench.flush();
        let [video, audio] = ["video", "audio"].map(|name| bench.index.rendition(name).unwrap());
        let (mut end, target) = (0, u64::from(video.part_target_ms) * 90);
        for segment in &video.segments {
            assert!(!segment.info.gap && segment.independent(), "{segment:?}");
            assert!(segment.parts.iter().all(|p| u64::from(p.duration) <= target), "{segment:?}");
            assert!(segment.duration() <= 180_000 + 36_000, "{segment:?}");
            assert_eq!(segment.info.start, end, "{}", segment.number);
            end += segment.duration();
            let other = audio.segment(segment.number).unwrap();
            let [at, beside] = [segment, other].map(|s| s.seconds(s.info.start));
            assert!((at - beside).abs() < 0.0214, "{}: {at} {beside}", segment.number);
        }
        assert!(end.abs_diff(16 * 90_000) < 4_500, "{end}");
        let found = bench.packager.findings();
        // Behind what was shown again it begins with a key frame.
        let (again, dropped) = if back < 480 { (27, 40) } else { (33, 0) };
        assert!(found.pictures_shown_again.abs_diff(again) < 3, "{found:?}");
        let rest = Findings { pictures_without_key_frame: dropped, ..Findings::default() };
        assert_eq!(Findings { pictures_shown_again: 0, ..found }, rest);
    }
}

/// Where all was silent for seconds, sound that comes a moment before its picture does not let it stand.
#[test]
fn a_picture_behind_a_hole_in_everything_goes_on() {
    let mut bench = Bench::new(&[true, false]);
    bench.run(0, 5_000, 60, false);
    bench.push(1, frame(14_000 * 48 / 1_024 * 1_024, 1_024, true));
    bench.all_taken();
    bench.push(0, frame(420 * 3_000, 3_000, false));
    bench.all_taken();
    let found = bench.packager.findings();
    assert_eq!((found.pictures_shown_again, found.frames_dropped()), (0, 0), "{found:?}");
}

/// Pictures whose times jump with each of them by just so much that it is no other time.
#[test]
fn how_much_is_made_is_bound_by_the_clock_on_the_wall() {
    for (jump_ms, wall_ms, most_s) in [(5_000, 10, 130.0), (5_000, 5_000, 2_000.0)] {
        let mut bench = Bench::new(&[true, false]);
        bench.run(0, 4_000, 60, false);
        let begins = frame(0, 1, true).arrived;
        for i in 0..300 {
            let arrived = begins + Duration::from_millis(wall_ms * i as u64);
            let at = 4_000 + jump_ms * (i + 1);
            bench.push(0, Frame { arrived, ..frame(at * 90, 3_000, true) });
            bench.all_taken();
        }
        let made = bench.packager.findings().silent_frames as f64 * 1024.0 / 48_000.0;
        assert!(made < most_s, "{made} s in {jump_ms} {wall_ms}");
        assert!(made > 1_400.0 || wall_ms < 1_000, "{made} s: who plays as time passes has all");
    }
}

#[test]
fn no_key_frame_ever_gives_no_picture_but_sound() {
    let mut bench = Bench::new(&[true, false]);
    for i in 0..200 {
        bench.push(0, frame(i * 3_000 + 1, 3_000, false));
        bench.push(1, frame(i * 1_600, 1_600, true));
    }
    assert!(bench.index.rendition("video").is_none());
    assert!(bench.segments("audio").len() > 2);
    assert_eq!(bench.packager.findings().pictures_without_key_frame, 200);
}

/// Two pictures at 30 fps, the second with its key frames `late` frames behind those of the first; `group` frames long.
fn ladder(late: i64, group: i64) -> Bench {
    let mut bench = Bench::new(&[true, true]);
    bench.names = vec!["video", "video2"];
    for i in 0..300 {
        bench.push(0, frame(i * 3_000, 3_000, i % group == 0));
        // Encoders put milliseconds on their times.
        let jitter = [0, 30, -30][(i % 3) as usize] * i.min(1);
        bench.push(1, frame(i * 3_000 + jitter, 3_000, (i - late) % group == 0));
    }
    bench.flush();
    bench
}

#[test]
fn an_alternate_is_cut_at_its_own_key_frames_where_they_are_aligned() {
    let bench = ladder(0, 60);
    let (main, other) = (bench.segments("video"), bench.segments("video2"));
    assert_eq!(main.len(), 5);
    assert_eq!(
        main.iter().map(|s| s.0).collect::<Vec<_>>(),
        other.iter().map(|s| s.0).collect::<Vec<_>>()
    );
    for segment in &bench.index.rendition("video2").unwrap().segments {
        assert!(segment.parts[0].independent, "{}", segment.number);
        assert!((segment.seconds(segment.duration()) - 2.0).abs() < 0.002);
    }
    assert_eq!(bench.packager.findings(), Findings::default());
}

#[test]
fn an_alternate_with_key_frames_elsewhere_says_that_its_segments_are_not_independent() {
    let bench = ladder(7, 60);
    let main = &bench.index.rendition("video").unwrap().segments;
    let other = &bench.index.rendition("video2").unwrap().segments;
    assert!(main.iter().all(|s| s.parts[0].independent));
    assert!(other[0].parts[0].independent, "it begins with a key frame");
    assert!(other.iter().skip(1).all(|s| !s.parts[0].independent));
    let pairs = main.iter().zip(other).skip(1);
    assert!(pairs.clone().count() == 4);
    for (a, b) in pairs {
        assert_eq!(a.number, b.number);
        assert!(a.info.start.abs_diff(b.info.start) <= 90, "cut at the same time");
    }
    assert_eq!(
        bench.packager.findings().pictures_without_key_frame,
        7,
        "before its first key frame"
    );
}

#[test]
fn a_new_configuration_begins_a_new_segment_behind_a_discontinuity() {
    let mut bench = Bench::new(&[true, false]);
    bench.run(0, 3_000, 30, false);
    let config = video_config();
    bench.packager.configure(TrackId(0), &config, &mut bench.out);
    bench.drain();
    bench.run(3_000, 6_050, 30, false);
    let r = bench.index.rendition("video").unwrap();
    let at = r.segments.iter().position(|s| s.info.discontinuity).unwrap();
    assert_eq!((r.segments[at].info.start, at), (270_000, 2));
}

/// What a publisher that comes back sends before his first picture is neither lost with what was before him nor part of it,
/// also where a segment had begun that sound had not reached.
#[test]
fn sound_waits_for_the_first_picture_of_another_configuration() {
    for (changed, until_ms) in [(true, 3_000), (false, 3_000), (true, 2_034), (false, 2_034)] {
        let mut bench = Bench::new(&[true, false]);
        bench.run(0, until_ms, 60, false);
        bench.flush();
        let first = 188 * 1_024;
        bench.push(1, frame(first, 1_024, true));
        if changed {
            bench.packager.configure(TrackId(0), &video_config(), &mut bench.out);
            bench.drain();
        }
        bench.push(0, Frame { discontinuity: true, ..frame(361_000, 3_000, true) });
        bench.push(1, frame(first + 1_024, 1_024, true));
        bench.flush();
        let r = bench.index.rendition("audio").unwrap();
        let last = r.segments.back().unwrap();
        assert_eq!((last.info.discontinuity, last.info.start), (true, first as u64), "{changed}");
        assert_eq!(last.duration(), 2 * 1_024, "{changed}");
        assert_eq!(bench.packager.findings().frames_dropped(), 0, "{changed}");
    }
}

/// His camera is off, or is on at last, three seconds after his sound: with pictures of then, of the beginning, or of any time
/// between and behind, of the same size or another. Whatever it is, he comes back once.
#[test]
fn a_publisher_that_comes_back_with_sound_is_heard_before_his_picture_comes() {
    let pictures =
        [None, Some(3_700), Some(4_000), Some(5_000), Some(6_200), Some(6_900), Some(7_000)];
    let later = [Some(7_500), Some(9_000)];
    for (picture_ms, changed) in
        pictures.into_iter().chain(later).flat_map(|ms| [(ms, false), (ms, true)])
    {
        let case = format!("{picture_ms:?} {changed}");
        let mut bench = Bench::new(&[true, false]);
        bench.run(0, 3_000, 60, false);
        bench.flush();
        let before = bench.segments("audio").len();
        let first = 4_000 * 48 / 1_024 + 1;
        let until = first + 3 * 48_000 / 1_024;
        for sound in first..until {
            let discontinuity = sound == first;
            bench.push(1, Frame { discontinuity, ..frame(sound * 1_024, 1_024, true) });
        }
        let heard = bench.segments("audio").len();
        assert!(heard > before, "{case}");
        if changed && picture_ms.is_some() {
            bench.packager.configure(
                TrackId(0),
                &video_config_with(&[0x68, 0xeb, 0xec, 0xb2, 0x2c]),
                &mut bench.out,
            );
            bench.drain();
        }
        for i in picture_ms.into_iter().flat_map(|ms| (0..60).map(move |i| ms * 90 + i * 3_000)) {
            let discontinuity = Some(i) == picture_ms.map(|ms| ms * 90);
            let wall_clock_ms = 2_000_000 + i64::unsigned_abs(i) / 90;
            let picture = frame(i, 3_000, discontinuity);
            bench.push(0, Frame { discontinuity, wall_clock_ms, ..picture });
        }
        bench.flush();
        let sound = bench.index.rendition("audio").unwrap();
        let from_there: u64 =
            sound.segments.iter().skip(before).map(crate::Segment::duration).sum();
        assert_eq!(from_there, (until - first).unsigned_abs() * 1_024, "{case}");
        assert_eq!(bench.packager.findings().frames_dropped(), 0, "{case}");
        let video = bench.index.rendition("video").unwrap();
        let breaks = |r: &crate::Rendition| {
            let of = r.segments.iter().filter(|s| s.info.discontinuity);
            of.map(|s| (s.number, s.info.discontinuity_sequence)).collect::<Vec<_>>()
        };
        let at = sound.segments[before].number;
        assert_eq!(breaks(sound), [(at, 1)], "{case}");
        let Some(picture_ms) = picture_ms else {
            assert_eq!(breaks(video), [], "{case}");
            continue;
        };
        assert_eq!(breaks(video), [(at, 1)], "{case}");
        let back = video.segments.iter().find(|s| s.number >= at && !s.info.gap).unwrap();
        assert_eq!(back.info.start, picture_ms as u64 * 90, "{case}");
        // What it lacks behind the discontinuity has its configuration: one without a discontinuity is another.
        let behind = video.segments.iter().filter(|s| s.number >= at);
        assert!(behind.clone().all(|s| s.info.init == back.info.init), "{case}");
        // He is later than his times say: all behind the discontinuity has his dates.
        let dates = video.segments.iter().filter(|s| (at..=back.number).contains(&s.number));
        for s in dates {
            let off = s.info.wall_clock_ms.abs_diff(2_000_000 + s.info.start / 90);
            assert!(off <= 1, "{case}: {off} ms, {}", s.number);
        }
        let together = sound.segments.iter().find(|s| s.number == back.number);
        // Later than all sound: nothing of that time is heard yet.
        let Some(together) = together else { continue };
        let begins_ms = together.info.start / 48;
        let lasts_ms = together.duration() / 48;
        let within = begins_ms.saturating_sub(400)..begins_ms + lasts_ms.max(1);
        assert!(within.contains(&(picture_ms as u64)), "{case}: {within:?}");
    }
}

/// His picture is before his sound by more than belongs to a segment: it begins with the next key frame.
#[test]
fn a_late_picture_begins_with_a_key_frame() {
    let mut bench = Bench::new(&[true, false]);
    bench.run(0, 2_000, 60, false);
    bench.flush();
    for sound in 4_000 * 48 / 1_024 + 1..7_000 * 48 / 1_024 {
        bench.push(1, frame(sound * 1_024, 1_024, true));
    }
    for i in 90..180 {
        bench.push(0, Frame { discontinuity: i == 90, ..frame(i * 3_000, 3_000, i % 45 == 0) });
    }
    bench.flush();
    let video = bench.index.rendition("video").unwrap();
    let back = video.segments.iter().find(|s| s.info.start >= 270_000 && !s.info.gap).unwrap();
    assert_eq!((back.info.start, back.parts[0].independent), (405_000, true));
    let found = bench.packager.findings();
    assert_eq!((found.pictures_without_key_frame, found.frames_late), (44, 1));
}

/// Of two pictures the second one comes back first, with sound a while before it, and without any.
#[test]
fn another_picture_leads_until_the_first_one_is_back() {
    for sound in [false, true] {
        let mut bench = Bench::new(&[true, true, false]);
        bench.names = vec!["video", "video2", "audio"];
        let both = |bench: &mut Bench, from: i64, to: i64, which: &[usize]| {
            for i in from..to {
                for track in which {
                    let discontinuity = i == from && from > 0 && *track == which[which.len() - 1];
                    let picture = frame(i * 3_000, 3_000, (i - from) % 60 == 0);
                    bench.push(*track, Frame { discontinuity, ..picture });
                }
            }
        };
        both(&mut bench, 0, 90, &[0, 1]);
        bench.flush();
        let (before, numbers) = (bench.index.clone(), bench.packager.next_number());
        if sound {
            for i in 4_000 * 48 / 1_024 + 1..6_000 * 48 / 1_024 {
                let discontinuity = i == 4_000 * 48 / 1_024 + 1;
                bench.push(2, Frame { discontinuity, ..frame(i * 1_024, 1_024, true) });
            }
        }
        both(&mut bench, 120, 240, &[1]);
        both(&mut bench, 240, 360, &[1, 0]);
        bench.flush();
        let frames = |name: &str| {
            let segments = &bench.index.rendition(name).unwrap().segments;
            let there = segments.iter().filter(|s| s.number >= numbers && !s.info.gap);
            there.map(crate::Segment::duration).sum::<u64>() / 3_000
        };
        assert!(before.rendition("video2").is_some());
        assert_eq!((frames("video2"), frames("video")), (240, 120), "sound {sound}");
        assert_eq!(bench.packager.findings().frames_dropped(), 0, "sound {sound}");
        for name in ["video", "video2"] {
            let segments = &bench.index.rendition(name).unwrap().segments;
            let breaks = segments.iter().filter(|s| s.info.discontinuity).count();
            let last = segments.back().unwrap().info.discontinuity_sequence;
            assert_eq!((breaks, last), (1, 1), "{name}, sound {sound}");
        }
    }
}

/// His picture had stopped before he went; then he comes back twice without any, and stays for some seconds.
#[test]
fn discontinuities_without_pictures_are_counted_in_their_list() {
    let mut bench = Bench::new(&[true, false]);
    bench.run(0, 3_000, 60, false);
    for (from_ms, to_ms) in [(3_000, 9_000), (10_000, 15_000), (20_000, 25_000)] {
        for i in from_ms * 48 / 1_024 + 1..=to_ms * 48 / 1_024 {
            bench.push(1, frame(i * 1_024, 1_024, true));
        }
        bench.flush();
    }
    bench.run(30_000, 31_000, 30, true);
    bench.flush();
    let marks = |name| {
        let segments = bench.index.rendition(name).unwrap().segments.iter();
        segments
            .map(|s| (s.number, s.info.discontinuity, s.info.discontinuity_sequence))
            .collect::<Vec<_>>()
    };
    let breaks = marks("audio").into_iter().filter(|mark| mark.1).map(|mark| mark.2);
    assert_eq!(breaks.collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(marks("video"), marks("audio"));
}

#[test]
fn a_publisher_that_sends_only_sound_before_he_leaves_again_is_heard() {
    let mut bench = Bench::new(&[true, false]);
    bench.run(0, 3_000, 60, false);
    bench.flush();
    let before = bench.segments("audio").len();
    (200..210).for_each(|i| bench.push(1, frame(i * 1_024, 1_024, true)));
    bench.flush();
    let sound = bench.index.rendition("audio").unwrap();
    let last = &sound.segments[before];
    assert_eq!((last.info.discontinuity, last.duration()), (true, 10 * 1_024));
    bench.run(5_000, 6_000, 30, true);
    bench.flush();
    for name in ["video", "audio"] {
        let segments = &bench.index.rendition(name).unwrap().segments;
        assert!(segments.back().unwrap().info.discontinuity, "{name}");
        assert_eq!(segments.back().unwrap().number, before as u64 + 101, "{name}");
    }
}

#[test]
fn a_new_track_begins_where_nothing_can_be_sealed_yet() {
    // Sound begins with the first picture, if it is announced soon and comes within half a minute, as long as there was
    // none; what is new later begins with the segment that is being made.
    for (there, announced_ms, comes_ms, from) in [
        (&[true][..], 0, 7_000, 100),
        (&[true], 4_500, 20_000, 100),
        (&[true], 4_500, 4_500, 100),
        (&[true], 5_500, 5_500, 102),
        (&[true], 20_000, 20_000, 110),
        (&[true], 7_000, 20_000, 103),
        (&[true], 0, 40_000, 120),
        (&[true], 40_000, 40_000, 120),
        (&[true, false], 0, 3_000, 101),
        (&[true, false], 3_000, 3_000, 101),
        (&[true, false], 20_000, 20_000, 110),
    ] {
        let mut bench = Bench::new(there);
        let sound = there.len();
        let late = |bench: &mut Bench, to_ms: i64, pushed: &mut i64| {
            while *pushed * 1_024 < to_ms * 48 {
                bench.push(sound, frame(*pushed * 1_024, 1_024, true));
                *pushed += 1;
            }
        };
        let mut pushed = 0;
        for at in (0..50_000).step_by(500) {
            for i in at * 30 / 1000..(at + 500) * 30 / 1000 {
                bench.push(0, frame(i * 3_000, 3_000, i % 60 == 0));
            }
            if sound == 2 {
                (at * 48 / 1_024 + 1..=(at + 500) * 48 / 1_024)
                    .for_each(|i| bench.push(1, frame(i * 1_024, 1_024, true)));
            }
            if at == announced_ms {
                bench.packager.add_track(false);
            }
            if at == comes_ms {
                bench.packager.configure(TrackId(sound), &audio_config(), &mut bench.out);
                bench.names.push("late");
            }
            if at >= comes_ms {
                late(&mut bench, at + 500, &mut pushed);
            }
        }
        let late = bench.segments("late");
        assert_eq!(late[0].0, from, "{there:?} {announced_ms} {comes_ms}");
        assert_eq!(late.last().unwrap().0, bench.segments("video").last().unwrap().0);
        let numbers = late.iter().map(|s| s.0);
        assert!(numbers.eq(from..from + late.len() as u64), "{late:?}");
        assert!(late.iter().all(|s| s.1 < 2.45), "{late:?}");
    }
}

/// Pictures are late by more than sound waits for, from the middle of a group on: no segment ends there.
#[test]
fn sound_beside_a_late_picture_does_not_end_a_segment_ahead_of_time() {
    let mut bench = Bench::new(&[true, false]);
    bench.run(0, 8_300, 60, false);
    for i in 8_300 * 48 / 1_024 + 1..9_850 * 48 / 1_024 {
        bench.push(1, frame(i * 1_024, 1_024, true));
    }
    for i in 249..420 {
        bench.push(0, frame(i * 3_000, 3_000, i % 60 == 0));
    }
    bench.flush();
    let video = bench.index.rendition("video").unwrap();
    assert!(video.segments.iter().all(|s| s.parts[0].independent), "{:?}", bench.segments("video"));
    let lengths = bench.segments("video").into_iter().map(|s| s.1);
    assert!(lengths.clone().all(|s| (s - 2.0).abs() < 0.001), "{:?}", lengths.collect::<Vec<_>>());
}

/// An hour of sound alone, and more: the list of pictures begins anew behind it.
#[test]
fn a_hole_that_is_too_long_begins_a_new_list() {
    let mut bench = Bench::new(&[true, false]);
    bench.run(0, 3_000, 60, false);
    bench.flush();
    let ends_ms = 3_700_000;
    for sound in 4_000 * 48 / 1_024 + 1..ends_ms * 48 / 1_024 {
        bench.push(1, frame(sound * 1_024, 1_024, true));
    }
    bench.run(ends_ms, ends_ms + 6_000, 60, true);
    bench.flush();
    let (video, audio) =
        (bench.index.rendition("video").unwrap(), bench.index.rendition("audio").unwrap());
    let first = &video.segments[0];
    assert_eq!(first.info.start, ends_ms as u64 * 90);
    assert_eq!(video.segments.back().unwrap().number, audio.segments.back().unwrap().number);
    let together = audio.segment(first.number).unwrap();
    assert!(first.at_ns.abs_diff(together.at_ns) < 2_000_000_000, "at the same time");
}
