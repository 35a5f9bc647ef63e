//! A configuration that changes, and publishers that leave.

use media::codec::aac::AudioSpecificConfig;

use super::*;

/// The picture is some frames ahead, and has begun a segment or not, when sound of another rate comes.
#[test]
fn a_change_of_sound_is_behind_the_discontinuity_however_far_the_picture_is() {
    let other = AudioSpecificConfig::parse(&[0x12, 0x10]).unwrap().config();
    for ahead in 0..6 {
        let mut bench = Bench::new(&[true, false]);
        bench.run(0, 5_900, 60, false);
        let mut sound = 5_900 * 48 / 1_024 + 1;
        let mut push = |bench: &mut Bench, i: i64, until_ms: i64| {
            while sound * 1_024 < until_ms * 48 {
                bench.push(1, frame(sound * 1_024, 1_024, true));
                sound += 1;
            }
            bench.push(0, frame(i * 3_000, 3_000, i % 60 == 0));
        };
        for i in 177..180 + ahead {
            push(&mut bench, i, (i * 1_000 / 30).min(5_980));
        }
        bench.packager.configure(TrackId(1), &Config::Audio(other.clone()), &mut bench.out);
        bench.drain();
        let mut sound = sound * 441 / 480 + 1;
        for i in 180 + ahead..300 {
            while sound * 1_024 * 30 < i * 44_100 {
                bench.push(1, frame(sound * 1_024, 1_024, true));
                sound += 1;
            }
            bench.push(0, frame(i * 3_000, 3_000, i % 60 == 0));
        }
        bench.flush();
        let [video, audio] = ["video", "audio"].map(|name| bench.index.rendition(name).unwrap());
        let breaks = [video, audio].map(|r| {
            let breaks = r.segments.iter().filter(|s| s.info.discontinuity);
            breaks.map(|s| s.number).collect::<Vec<_>>()
        });
        assert_eq!((breaks[0].len(), &breaks[0]), (1, &breaks[1]), "{ahead}");
        let had: Vec<_> = audio.segments.iter().filter(|s| !s.info.gap).collect();
        for two in had.windows(2) {
            let another = two[0].info.init != two[1].info.init;
            assert_eq!(another, two[1].info.discontinuity, "{ahead}: {}", two[1].number);
        }
        assert!(audio.segments.len() - had.len() <= 1, "{ahead}: {:?}", audio.segments);
        let found = bench.packager.findings();
        assert_eq!((found.frames_early, found.frames_late), (0, 0), "{ahead}");
    }
}

/// What comes behind is of another publisher or has another configuration, in all tracks.
#[test]
fn the_last_part_before_a_change_closes() {
    let leaves = |bench: &mut Bench| bench.flush();
    let changes = |bench: &mut Bench| {
        bench.packager.configure(TrackId(0), &video_config(), &mut bench.out);
        bench.drain();
    };
    for ends in [leaves as fn(&mut Bench), changes] {
        // In the middle of a part, with one full, at its first frame, and with a segment just begun.
        for frames in [155, 160, 161, 180, 181] {
            let mut bench = Bench::new(&[true, false]);
            bench.run(0, frames * 1_000 / 30 + 1, 60, false);
            let closing = |bench: &Bench| {
                ["video", "audio"].map(|name| {
                    let r = bench.index.rendition(name).unwrap();
                    let closing = r.segments.iter().filter(|s| s.closes);
                    closing.map(|s| (s.number, s.complete)).collect::<Vec<_>>()
                })
            };
            assert_eq!(closing(&bench), [vec![], vec![]], "{frames}");
            ends(&mut bench);
            let newest = ["video", "audio"].map(|name| {
                let r = bench.index.rendition(name).unwrap();
                [(r.segments.back().unwrap().number, true)]
            });
            assert_eq!(closing(&bench), newest, "{frames}");
            bench.run(8_000, 14_050, 60, true);
            assert_eq!(closing(&bench), newest, "{frames}: once");
        }
    }
}

/// Nobody knows when more of it comes, and by which number.
#[test]
fn a_track_that_rests_closes_and_others_do_not() {
    let mut bench = Bench::new(&[true, false]);
    bench.run(0, 5_000, 60, false);
    bench.packager.rest(TrackId(1), &mut bench.out);
    bench.drain();
    let closes = |name: &str| {
        let r = bench.index.rendition(name).unwrap();
        r.segments.iter().filter(|s| s.closes).map(|s| s.number).collect::<Vec<_>>()
    };
    let newest = bench.index.rendition("audio").unwrap().segments.back().unwrap().number;
    assert_eq!((closes("video"), closes("audio")), (vec![], vec![newest]));
}
