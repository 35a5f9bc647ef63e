//! What other nodes and players send, for the fuzz targets in `fuzz/` and for tests: any bytes in, no panic out.

use spine::Location;

use crate::clip::{Outline, Wanted};
use crate::hls::{
    MediaOptions, Names, Playlist, Reach, Variant, VariantKind, render_captions, render_iframes,
    render_media, render_multivariant, render_range,
};
use crate::reload::{Decision, Directives, decide};
use crate::{Index, properties};

/// Properties of objects of a `.cmaf` track, one after the other with their length before them in a byte: an index
/// takes them or not, and can be asked and rendered all the same.
pub fn objects(mut data: &[u8]) {
    let (mut index, mut at) = (Index::new(), Location { group: 7, object: 0 });
    while let Some((length, rest)) = data.split_first() {
        let (object, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        data = rest;
        if let Ok((part, segment)) = properties::decode(object) {
            let again = properties::encode(&part, segment.as_ref());
            assert_eq!(properties::decode(&again), Ok((part, segment)));
            if segment.is_some() && at.object > 0 {
                at = Location { group: at.group + 1, object: 0 };
            }
        }
        if index.apply("video.cmaf", at, object, u64::from(*length) << 10).is_ok() {
            at.object += 1;
        }
    }
    for directives in ["", "_HLS_msn=8&_HLS_part=1", "_HLS_msn=9&_HLS_skip=YES"] {
        asked(&index, directives);
    }
    index.end();
    asked(&index, "");
}

fn asked(index: &Index, directives: &str) {
    let Ok(directives) = Directives::parse(directives) else {
        return;
    };
    files(index);
    let decision = decide(index, "video.cmaf", &directives);
    assert_ne!(decide(index, "nobody", &directives), Decision::Ready);
    for low_latency in [true, false] {
        let options = MediaOptions { low_latency, reach: Reach::Window, skip: directives.skip };
        let list = render_media(index, "video.cmaf", "../media/V", options);
        assert!(decision != Decision::Ready || list.is_some());
        list.into_iter().for_each(|list| well_formed(&list));
    }
}

/// Everything else that is made of an index.
fn files(index: &Index) {
    let lists = [
        render_iframes(index, "video.cmaf", "m", Reach::Everything),
        render_iframes(index, "video.cmaf", "m", Reach::Window),
        render_range(index, Names::own("video.cmaf", &[]), "m", 7..=9, 1_500_000_000),
        render_captions(index, "captions-en.vtt", 0..=u64::MAX),
    ];
    lists.into_iter().flatten().for_each(|list| well_formed(&list));
    for (from_ns, to_ns) in
        [(0, u64::MAX), (0, 1), (1_000_000_000, 3_000_000_000), (1 << 62, 1 << 63)]
    {
        for picture in [true, false] {
            let outline = Outline::new(index, Wanted { from_ns, to_ns, picture });
            let parts = outline.map_or(0, |outline| outline.parts.len());
            assert!(parts <= index.renditions().map(|(_, r)| r.segments.len() * 256).sum());
        }
    }
}

/// The query of a request for a playlist: directives, and what is passed on to the playlists that are listed.
pub fn query(query: &str) {
    if let Ok(directives) = Directives::parse(query) {
        assert!(directives.msn.is_some() || directives.part.is_none());
    }
    let kind = VariantKind::Audio { channels: 2, language: None, original: None };
    let (name, codec) = ("audio".to_owned(), "mp4a.40.2".to_owned());
    let sound =
        Variant { name, codec, peak: 1, room_percent: 20, average: None, kind, iframes: None };
    let picture = VariantKind::Video { width: 2, height: 2, frame_rate: None };
    let picture =
        Variant { name: "video".to_owned(), kind: picture, iframes: Some(1), ..sound.clone() };
    let list = render_multivariant(&[picture, sound], Some(query));
    well_formed(&list);
    assert_eq!(list.lines().count(), 6, "a query adds no lines: {list}");
    let uri = |start: &str| list.split_once(start).map(|(_, rest)| rest);
    assert!(uri("URI=\"audio.m3u8").is_some_and(|rest| rest.starts_with(['"', '?'])), "{list}");
}

/// A playlist of somebody else's.
pub fn playlist(text: &str) {
    match Playlist::parse(text) {
        Ok(Playlist::Media(list)) => {
            let lines = text.lines().count();
            assert!(list.segments.len() <= lines, "a segment has a line");
        }
        Ok(Playlist::Multivariant(list)) => {
            assert!(list.variants.iter().all(|v| !v.uri.is_empty()));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Lines of RFC 8216 §4.1, and every quoted string ends where it began.
pub fn well_formed(list: &str) {
    assert!(list.starts_with("#EXTM3U\n") && list.ends_with('\n'), "{list}");
    for line in list.lines() {
        let plain = line.chars().all(|c| !c.is_control());
        assert!(plain && line.matches('"').count().is_multiple_of(2), "{line:?}");
    }
}
