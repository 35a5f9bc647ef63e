//! Levels of quality in catalogs: beside their original for as long as that is what it was, and no longer.

use media::Slot;
use media::catalog::{Init, TrackDescription};
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
    let original = studio.original().expect("one picture");
    assert_eq!(original.name, "video.cmaf");
    studio.offer(&original.init.id, vec![level("720p"), level("360p")]);
    assert_eq!(studio.listed(CATALOG), with, "behind their original");
    assert_eq!(studio.listed(CATALOG_LOC), raw, "frame by frame there are none");
    // An answer about what is not sent any more comes too late.
    studio.offer("another", vec![level("480p")]);
    assert_eq!(studio.listed(CATALOG), alone);
    studio.offer(&original.init.id, vec![level("720p"), level("360p")]);

    // Another size: its levels are others.
    let mut changed = frames.clone();
    for sent in changed.iter_mut().filter(|sent| sent.slot == VIDEO && sent.config.is_some()) {
        sent.config = Some(h264(0x32));
    }
    for sent in &mut changed {
        sent.timestamp += 4_000;
    }
    studio.send(&changed, |_| ());
    assert_ne!(studio.original().unwrap().init.id, original.init.id);
    assert_eq!(studio.listed(CATALOG), alone, "nobody has offered those yet");
    let original = studio.original().unwrap();
    studio.offer(&original.init.id, vec![level("720p"), level("360p")]);
    assert_eq!(studio.listed(CATALOG), with);

    // An encoder that sends a second picture brings its own ladder.
    let mut second = frames;
    second.retain(|sent| sent.slot == VIDEO);
    for sent in &mut second {
        sent.slot = Slot::Video(1);
        sent.timestamp += 8_000;
    }
    studio.send(&second, |_| ());
    assert_eq!(studio.original(), None);
    let own = ["video.cmaf", "video2.cmaf", "audio.cmaf", "catalog.loc"];
    assert_eq!(studio.listed(CATALOG), own);
}
