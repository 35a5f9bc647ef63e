//! What lacks so much that no segment can hold it.

use super::*;

/// An encoder says nothing for four seconds and goes on with the times of then, with a picture or with sound first.
#[test]
fn a_hole_in_everything_has_its_numbers_in_everything() {
    for picture_first in [true, false] {
        let mut bench = Bench::new(&[true, false]);
        bench.run(0, 5_000, 60, false);
        let mut sound = 9_000 * 48 / 1_024;
        if picture_first {
            bench.push(0, frame(270 * 3_000, 3_000, true));
            bench.all_taken();
        }
        for i in 271 - i64::from(!picture_first)..420 {
            while sound * 1024 * 90_000 < i * 3_000 * 48_000 {
                bench.push(1, frame(sound * 1024, 1024, true));
                sound += 1;
            }
            bench.push(0, frame(i * 3_000, 3_000, i % 60 == 30));
            bench.all_taken();
        }
        bench.flush();
        let [video, audio] = ["video", "audio"].map(|name| bench.index.rendition(name).unwrap());
        let gaps: Vec<u64> =
            video.segments.iter().filter(|s| s.info.gap).map(|s| s.number).collect();
        assert_eq!(gaps, [103, 104], "{picture_first}");
        assert!(audio.segments.iter().all(|s| !s.info.gap), "{picture_first}");
        for r in [video, audio] {
            let seconds: Vec<f64> = r.segments.iter().map(|s| s.seconds(s.duration())).collect();
            assert!(seconds.iter().all(|s| s.round() <= 2.0), "{picture_first} {seconds:?}");
            let sum: f64 = seconds.iter().sum();
            assert!((sum - 14.0).abs() < 0.05, "{picture_first}: {sum} {seconds:?}");
            let target = f64::from(r.part_target_ms) / 1000.0;
            for segment in r.segments.iter().filter(|s| !s.info.gap) {
                let long = segment.parts.iter().map(|p| segment.seconds(p.duration.into()));
                assert!(long.fold(0.0, f64::max) <= target, "{picture_first} {segment:?}");
            }
        }
    }
}

/// A camera without a microphone lacks frames for so long, from the midst of a segment, and where one ends and begins: each segment is
/// as short as the list says, and all of them together last as long as what came and what did not.
#[test]
fn no_segment_holds_a_hole_that_is_longer_than_itself() {
    for (from, lacks, gaps) in [
        (150, 135, 3),
        (119, 135, 3),
        (120, 135, 3),
        (121, 135, 3),
        (178, 135, 3),
        (150, 60, 0),
        (151, 60, 1),
        (141, 60, 1),
        (121, 70, 0),
        (119, 40, 0),
    ] {
        let mut bench = Bench::new(&[true]);
        for i in 0..600 {
            if !(from..from + lacks).contains(&i) {
                bench.push(0, frame(i * 3_000, 3_000, i % 60 == 0));
            }
            bench.all_taken();
        }
        bench.flush();
        let r = bench.index.rendition("video").unwrap();
        let seconds: Vec<f64> = r.segments.iter().map(|s| s.seconds(s.duration())).collect();
        assert!(seconds.iter().all(|s| s.round() <= 2.0), "{from} {lacks}: {seconds:?}");
        assert!((seconds.iter().sum::<f64>() - 20.0).abs() < 0.05, "{from} {lacks}: {seconds:?}");
        let missing = r.segments.iter().filter(|s| s.info.gap).count();
        assert_eq!(missing, gaps, "{from} {lacks}: {seconds:?}");
    }
}

/// A second picture has nothing for whole segments while the first one goes on, or has nothing either: its numbers pass, and no list
/// had hinted at one of them (the bench looks).
#[test]
fn what_lacks_whole_segments_ends_before_them() {
    for (both, from, lacks) in [
        (false, 150, 135),
        (false, 119, 200),
        (false, 121, 135),
        (false, 178, 65),
        (false, 180, 61),
        (true, 150, 135),
        (true, 119, 200),
        (true, 121, 135),
    ] {
        let mut bench = Bench::new(&[true, true]);
        bench.names = vec!["video", "video2"];
        for i in 0..600 {
            let missing = (from..from + lacks).contains(&i);
            if !(missing && both) {
                bench.push(0, frame(i * 3_000, 3_000, i % 60 == 0));
            }
            if !missing {
                bench.push(1, frame(i * 3_000, 3_000, i % 60 == 0));
            }
        }
        bench.flush();
        let r = bench.index.rendition("video2").unwrap();
        let seconds: Vec<f64> = r.segments.iter().map(|s| s.seconds(s.duration())).collect();
        let told = format!("{both} {from} {lacks}: {seconds:?}");
        let gaps: Vec<bool> = r.segments.iter().map(|s| s.info.gap).collect();
        assert!(gaps.contains(&true), "{told}");
        assert!(seconds.iter().zip(gaps).all(|(s, gap)| gap || s.round() <= 2.0), "{told}");
        assert!((seconds.iter().sum::<f64>() - 20.0).abs() < 0.05, "{told}");
    }
}
