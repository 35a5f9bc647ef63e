//! Levels of quality in catalogs: beside their originals for as long as those are what they were, and no longer.

use media::Slot;
use media::catalog::{Init, Role, TrackDescription};
use package::{CATALOG, CATALOG_LOC};

use crate::studio::{Show, Studio, VIDEO, h264};

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
    assert_eq!(original.name, "video.cmaf");
    // Sound has its levels behind it, too.
    let sound = studio.original(Role::Audio).expect("one sound");
    let opus = TrackDescription { name: "audio.opus.cmaf".to_owned(), ..sound.clone() };
    studio.offer(&sound, vec![opus]);
    let with_sound = ["video.cmaf", "audio.cmaf", "audio.opus.cmaf", "catalog.loc"];
    assert_eq!(studio.listed(CATALOG), with_sound);
    studio.offer(&sound, Vec::new());
    studio.offer(&original, vec![level("720p"), level("360p")]);
    assert_eq!(studio.listed(CATALOG), with, "behind their original");
    assert_eq!(studio.listed(CATALOG_LOC), raw, "frame by frame there are none");
    // An answer about what is not sent any more comes too late.
    let another = Init { id: "another".to_owned(), ..original.init.clone() };
    let another = TrackDescription { init: another, ..original.clone() };
    studio.offer(&another, vec![level("480p")]);
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
    assert_ne!(studio.original(Role::Video).unwrap().init.id, original.init.id);
    assert_eq!(studio.listed(CATALOG), alone, "nobody has offered those yet");
    let original = studio.original(Role::Video).unwrap();
    studio.offer(&original, vec![level("720p"), level("360p")]);
    assert_eq!(studio.listed(CATALOG), with);

    // An encoder that sends a second picture brings its own ladder.
    let mut second = frames;
    second.retain(|sent| sent.slot == VIDEO);
    for sent in &mut second {
        sent.slot = Slot::Video(1);
        sent.timestamp += 8_000;
    }
    studio.send(&second, |_| ());
    assert_eq!(studio.original(Role::Video), None);
    let own = ["video.cmaf", "video2.cmaf", "audio.cmaf", "catalog.loc"];
    assert_eq!(studio.listed(CATALOG), own);
}
