//! Levels of quality in catalogs: beside their originals for as long as those are what they were, and no longer.

use media::Slot;
use media::catalog::{Catalog, Init, Role, TrackDescription};
use package::{CATALOG, CATALOG_LOC};

use crate::studio::{AUDIO, Show, Studio, TRACKS, VIDEO, h264};

fn level(name: &str) -> TrackDescription {
    let init = Init { id: format!("of {name}"), data: b"init".as_slice().into() };
    TrackDescription::new(format!("video.{name}.cmaf"), &h264(0x1f), None, init)
}

#[test]
fn catalogs_list_the_levels_of_the_original_that_is_sent() {
    let mut studio = Studio::new();
    let frames = Show { seconds: 4.0, ..Show::default() }.frames();
    studio.send(&frames, |_| ());
    let raw = ["video", "audio"];
    let alone = ["video.cmaf", "audio.cmaf", "catalog.loc"];
    let with = ["video.cmaf", "video.720p.cmaf", "video.360p.cmaf", "audio.cmaf", "catalog.loc"];
    assert_eq!(studio.listed(CATALOG), alone);
    let original = studio.original(Role::Video).expect("one picture");
    assert_eq!((original.0.name.as_str(), original.1.len()), ("video.cmaf", 0));
    // Sound has its levels behind it, too.
    let sound = studio.original(Role::Audio).expect("one sound");
    let opus = TrackDescription { name: "audio.opus.cmaf".to_owned(), ..sound.0.clone() };
    studio.offer(&sound, vec![opus]);
    let with_sound = ["video.cmaf", "audio.cmaf", "audio.opus.cmaf", "catalog.loc"];
    assert_eq!(studio.listed(CATALOG), with_sound);
    studio.offer(&sound, Vec::new());
    studio.offer(&original, vec![level("720p"), level("360p")]);
    assert_eq!(studio.listed(CATALOG), with, "behind their original");
    assert_eq!(studio.listed(CATALOG_LOC), raw, "frame by frame there are none");
    // An answer about what is not sent any more comes too late.
    let another = Init { id: "another".to_owned(), ..original.0.init.clone() };
    let another = TrackDescription { init: another, ..original.0.clone() };
    studio.offer(&(another, Vec::new()), vec![level("480p")]);
    assert_eq!(studio.listed(CATALOG), alone);
    studio.offer(&original, vec![level("720p"), level("360p")]);

    // Another size: its levels are others.
    let mut changed = frames.clone();
    for sent in changed.iter_mut().filter(|sent| sent.slot == VIDEO && sent.config.is_some()) {
        sent.config = Some(h264(0x32));
    }
    for sent in &mut changed {
        sent.timestamp += 4_000;
    }
    studio.send(&changed, |_| ());
    assert_ne!(studio.original(Role::Video).unwrap().0.init.id, original.0.init.id);
    assert_eq!(studio.listed(CATALOG), alone, "nobody has offered those yet");
    let original = studio.original(Role::Video).unwrap();
    studio.offer(&original, vec![level("720p"), level("360p")]);
    assert_eq!(studio.listed(CATALOG), with);

    // An encoder that sends a second picture brings its own ladder: its levels are others.
    let mut second = frames;
    second.retain(|sent| sent.slot == VIDEO);
    for sent in &mut second {
        sent.slot = Slot::Video(1);
        sent.timestamp += 8_000;
    }
    studio.send(&second, |_| ());
    let own = ["video.cmaf", "video2.cmaf", "audio.cmaf", "catalog.loc"];
    assert_eq!(studio.listed(CATALOG), own);
    let both = studio.original(Role::Video).unwrap();
    assert_eq!((&both.0.name, both.1.len()), (&original.0.name, 1));
    studio.offer(&both, vec![level("h264")]);
    let with = ["video.cmaf", "video.h264.cmaf", "video2.cmaf", "audio.cmaf", "catalog.loc"];
    assert_eq!(studio.listed(CATALOG), with);
}

#[test]
fn what_its_encoder_takes_away_is_not_listed_until_it_comes_again() {
    for (gone, left) in
        [(AUDIO, ["video.cmaf", "catalog.loc"]), (VIDEO, ["audio.cmaf", "catalog.loc"])]
    {
        let mut studio = Studio::new();
        let frames = Show { seconds: 4.0, ..Show::default() }.frames();
        studio.send(&frames, |_| ());
        let all = ["video.cmaf", "audio.cmaf", "catalog.loc"];
        assert_eq!(studio.listed(CATALOG), all);
        studio.rest(gone);
        let (name, other) =
            if gone == AUDIO { (TRACKS[1], TRACKS[0]) } else { (TRACKS[0], TRACKS[1]) };
        let open = |studio: &Studio, name| {
            let segments = &studio.index.rendition(name).unwrap().segments;
            (segments.len(), segments.iter().filter(|s| !s.complete).count())
        };
        assert_eq!(studio.listed(CATALOG), left);
        let (had, unfinished) = open(&studio, name);
        assert_eq!(unfinished, 0, "its segments are over");
        let later = |from: i64, what: Option<Slot>| {
            let mut more = frames.clone();
            more.retain(|sent| what.is_none_or(|slot| sent.slot == slot));
            for sent in &mut more {
                (sent.timestamp, sent.config) = (sent.timestamp + from, None);
            }
            more
        };
        let alone = if gone == AUDIO { VIDEO } else { AUDIO };
        studio.send(&later(4_000, Some(alone)), |_| ());
        assert_eq!(studio.listed(CATALOG), left, "the other goes on by itself");
        assert!(open(&studio, other).0 > had, "{other}");
        assert_eq!(open(&studio, name).0, had);
        studio.send(&later(8_000, None), |_| ());
        assert_eq!(studio.listed(CATALOG), all);
        assert!(open(&studio, name).0 > had);
        studio.end();
    }
}

#[test]
fn catalogs_say_the_larger_of_what_was_declared_and_what_was_measured() {
    let mut studio = Studio::new();
    studio.declare_bitrate(VIDEO, 3_000_000);
    let frames = Show { seconds: 4.0, ..Show::default() }.frames();
    studio.send(&frames, |_| ());
    let said = |studio: &Studio| {
        let editions = [CATALOG, CATALOG_LOC].map(|name| {
            let number = studio.track(name.clone()).largest().unwrap().group;
            let catalog = Catalog::parse(&studio.catalog(name)).unwrap();
            let of = |kind: &str| {
                let track = catalog.tracks.iter().find(|t| t.name.starts_with(kind)).unwrap();
                (track.bitrate.unwrap(), track.avg_bitrate)
            };
            (number, of("video"), of("audio"))
        });
        assert_eq!(editions[0], editions[1], "both catalogs");
        editions[0]
    };
    let (first, video, audio) = said(&studio);
    assert_eq!((video, audio), ((3_000_000, None), (0, None)), "before anything was measured");
    // What was declared is enough for the one, nothing was for the other.
    studio.measured(&[("video.cmaf", 2_900_000, 2_000_000), ("audio.cmaf", 128_000, 120_000)]);
    let (number, video, audio) = said(&studio);
    assert_eq!((number, video), (first + 1, (3_000_000, None)));
    assert_eq!(audio, (128_000, Some(120_000)));
    // Up to a tenth too much stays: each edition is read by everybody.
    for (peak, editions, shown) in [
        (128_000, 1, 128_000),
        (117_000, 1, 128_000),
        (116_000, 2, 116_000),
        (116_001, 3, 116_001),
        (900_000, 4, 900_000),
    ] {
        studio.measured(&[("audio.cmaf", peak, 100_000), ("gone.cmaf", 1, 1)]);
        let (number, _, audio) = said(&studio);
        assert_eq!((number, audio.0), (first + editions, shown), "{peak}");
    }
    // A lie is found out, and the encoder may say something else with its next group.
    studio.measured(&[("video.cmaf", 5_000_000, 4_000_000)]);
    assert_eq!(said(&studio).1, (5_000_000, Some(4_000_000)));
    studio.declare_bitrate(VIDEO, 6_000_000);
    studio.declare_bitrate(AUDIO, u64::MAX);
    let mut more = frames;
    for sent in &mut more {
        (sent.timestamp, sent.config) = (sent.timestamp + 4_000, None);
    }
    studio.send(&more, |_| ());
    let (_, video, audio) = said(&studio);
    assert_eq!((video.0, audio.0), (6_000_000, 900_000));
}
