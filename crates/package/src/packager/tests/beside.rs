//! Pictures that stop beside others.

use super::*;

/// Where a track's list ends, in seconds.
fn end(bench: &Bench, name: &str) -> f64 {
    let last = bench.index.rendition(name).unwrap().segments.back().unwrap();
    last.seconds(last.info.start + last.duration())
}

/// No gap, each number at the same time as in the other list, and parts as long as was promised.
fn check_beside(bench: &Bench, name: &str, other: &str, from: u64) {
    let [own, other] = [name, other].map(|name| bench.index.rendition(name).unwrap());
    let target = u64::from(own.part_target_ms) * 90;
    let numbers: Vec<u64> = own.segments.iter().map(|s| s.number).collect();
    assert!(numbers.windows(2).all(|w| w[1] == w[0] + 1), "{numbers:?}");
    for segment in own.segments.iter().filter(|s| s.number >= from) {
        assert!(!segment.info.gap && segment.parts[0].independent, "{segment:?}");
        assert!(segment.parts.iter().all(|p| u64::from(p.duration) <= target), "{segment:?}");
        let beside = other.segment(segment.number).unwrap();
        let [at, beside] = [(own, segment), (other, beside)].map(|(_, s)| s.seconds(s.info.start));
        assert!((at - beside).abs() < 0.03, "{}: {at} {beside}", segment.number);
    }
}

/// The second picture stops at 5 s and comes back at 12 s in the midst of a group, or not; the first goes on.
#[test]
fn a_second_picture_that_stops_stands_for_as_long_as_the_first_one_comes() {
    for back in [360 + 20, i64::MAX] {
        let mut bench = Bench::new(&[true, true]);
        bench.names = vec!["video", "video2"];
        for i in 0..16 * 30 {
            bench.push(0, frame(i * 3_000, 3_000, i % 60 == 0));
            if !(150..back).contains(&i) {
                bench.push(1, frame(i * 3_000, 3_000, i % 60 == 0));
            }
            bench.all_taken();
            if i > 150 + 4 * 30 {
                let behind = end(&bench, "video") - end(&bench, "video2");
                assert!(behind < 0.5 + 0.7, "{i}: {behind}");
            }
        }
        bench.flush();
        check_beside(&bench, "video2", "video", 0);
        assert!((end(&bench, "video2") - 16.0).abs() < 0.05, "{}", end(&bench, "video2"));
        let found = bench.packager.findings();
        let (again, dropped) = if back < 480 { (27, 40) } else { (33, 0) };
        assert!(found.pictures_shown_again.abs_diff(again) < 4, "{found:?}");
        assert_eq!(found.frames_dropped(), dropped, "{found:?}");
    }
}

/// An encoder that had a picture comes back without it, and a third one with it.
#[test]
fn a_picture_that_is_gone_when_its_encoder_comes_back_stands() {
    let mut bench = Bench::new(&[true, false]);
    bench.run(0, 6_000, 60, false);
    bench.flush();
    let back = bench.packager.next_number();
    for sound in 6_100 * 48 / 1_024..18_000 * 48 / 1_024 {
        let discontinuity = sound == 6_100 * 48 / 1_024;
        bench.push(1, Frame { discontinuity, ..frame(sound * 1_024, 1_024, true) });
        bench.all_taken();
    }
    assert!(end(&bench, "audio") - end(&bench, "video") < 1.3, "{}", end(&bench, "video"));
    bench.flush();
    check_beside(&bench, "video", "audio", back);
    let list = |bench: &Bench, name: &str| {
        let segments = &bench.index.rendition(name).unwrap().segments;
        let breaks = segments.iter().filter(|s| s.info.discontinuity).map(|s| s.number);
        breaks.collect::<Vec<_>>()
    };
    assert_eq!((list(&bench, "video"), list(&bench, "audio")), (vec![back], vec![back]));
    let third = bench.packager.next_number();
    bench.run(18_100, 24_000, 60, true);
    bench.flush();
    let both = vec![back, third];
    assert_eq!((list(&bench, "video"), list(&bench, "audio")), (both.clone(), both));
    assert!((end(&bench, "video") - 24.0).abs() < 0.05, "{}", end(&bench, "video"));
}

/// An encoder comes back, and its camera long after its microphone: who watches has the one discontinuity of the sound. A camera whose
/// time is another one has its own.
#[test]
fn a_camera_that_comes_long_after_its_microphone_goes_on_from_the_picture_that_stood() {
    for (ahead_ms, breaks) in [(0, 1), (200, 1), (-200, 1), (90_000, 2)] {
        let mut bench = Bench::new(&[true, false]);
        bench.run(0, 6_000, 60, false);
        bench.flush();
        let back = bench.packager.next_number();
        let mut pictures = (0..).map(|i| (12_000 + ahead_ms + i * 100 / 3, i));
        let mut picture = pictures.next().unwrap();
        for sound in 6_100 * 48 / 1_024..24_000 * 48 / 1_024 {
            let now_ms = sound * 1_024 / 48;
            let discontinuity = sound == 6_100 * 48 / 1_024;
            bench.push(1, Frame { discontinuity, ..frame(sound * 1_024, 1_024, true) });
            while now_ms >= picture.0 - ahead_ms {
                let (at, i) = picture;
                let next = frame(at * 90, 3_000, i % 60 == 0);
                bench.push(0, Frame { discontinuity: i == 0, ..next });
                picture = pictures.next().unwrap();
            }
            bench.all_taken();
        }
        bench.flush();
        let count = |name: &str| {
            let segments = &bench.index.rendition(name).unwrap().segments;
            segments.iter().filter(|s| s.info.discontinuity).count()
        };
        assert_eq!(count("video"), breaks, "{ahead_ms}");
        if breaks == 1 {
            assert_eq!(count("audio"), 1, "{ahead_ms}");
            check_beside(&bench, "video", "audio", back + 6);
            let found = bench.packager.findings();
            assert!(found.frames_dropped() < 3, "{ahead_ms}: {found:?}");
        }
    }
}
