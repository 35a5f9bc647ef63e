//! Playlists of key pictures only, for leafing through (RFC 8216bis §4.4.3.6). One picture stands for each segment, so their numbers
//! are the segments' own. Each is a fragment of its own that lasts as long as its segment: a byte range of that would say of
//! itself that it lasts for a part, and between two pictures players would have nothing to show.

use std::fmt::Write;

use media::date::date_time;

use super::media::{Reach, discontinuity_sequence, init_file, key_file, longest};
use crate::index::{Index, Segment};

/// Renders the list of `rendition`'s key pictures: so far back. None if nothing is known of any.
pub fn render_iframes(index: &Index, rendition: &str, base: &str, reach: Reach) -> Option<String> {
    let r = index.rendition(rendition)?;
    r.key_bitrate(index.target_duration())?;
    let target = index.target_duration().or(index.ended().then(|| longest(r)))?;
    let first = reach.first(r, target);
    let listed: Vec<&Segment> = r.segments.iter().skip(first).filter(|s| s.complete).collect();
    let sequence = listed.first()?.number;
    let mut out = String::with_capacity(256 + listed.len() * 160);
    let _ = write!(out, "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:{target}\n");
    let _ = writeln!(out, "#EXT-X-MEDIA-SEQUENCE:{sequence}");
    discontinuity_sequence(&mut out, listed.first().copied());
    if index.ended() && reach != Reach::Window {
        out.push_str("#EXT-X-PLAYLIST-TYPE:VOD\n");
    }
    out.push_str("#EXT-X-I-FRAMES-ONLY\n");
    let mut map = None;
    for segment in listed {
        let fresh = map != Some(segment.info.init);
        map = Some(segment.info.init);
        write_picture(&mut out, &format!("{base}/{rendition}"), segment, fresh);
    }
    if index.ended() {
        out.push_str("#EXT-X-ENDLIST\n");
    }
    Some(out)
}

fn write_picture(out: &mut String, folder: &str, segment: &Segment, map: bool) {
    let info = &segment.info;
    if info.discontinuity {
        out.push_str("#EXT-X-DISCONTINUITY\n");
    }
    if map || info.discontinuity {
        let _ = writeln!(out, "#EXT-X-MAP:URI=\"{folder}/{}\"", init_file(info.init));
    }
    let _ = writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{}", date_time(info.wall_clock_ms));
    let file = key_file(info.epoch, segment.number);
    if info.gap || segment.key_part().is_none() {
        // Keeps its number: there is none to show.
        out.push_str("#EXT-X-GAP\n");
    }
    // It is shown until the next one.
    let duration = segment.seconds(segment.duration());
    let _ = writeln!(out, "#EXTINF:{duration:.5},\n{folder}/{file}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::properties::{Part, Segment as Info, encode};
    use crate::testing;

    /// Segments of two parts; `keys`: how long the key picture of each part is.
    fn index(segments: &[[Option<u32>; 2]]) -> Index {
        let mut index = Index::new();
        for (number, keys) in (10..).zip(segments) {
            for (object, key_bytes) in (0..).zip(keys) {
                let part = Part {
                    duration: 90_000,
                    independent: key_bytes.is_some(),
                    open: false,
                    last: object == 1,
                    closes: false,
                    target_ms: 1_000,
                    target_duration: Some(2),
                    key_bytes: *key_bytes,
                };
                let info = Info { discontinuity: number == 12, ..testing::segment(number) };
                let at = spine::Location { group: number, object };
                let properties = encode(&part, (object == 0).then_some(&info));
                index.apply("video", at, &properties, 1_000).unwrap();
            }
        }
        index
    }

    #[test]
    fn each_segment_has_one_picture_and_its_number() {
        let mut index =
            index(&[[Some(300), None], [None, Some(400)], [None, None], [Some(99), Some(1)]]);
        index.end();
        let expect = "\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:2
#EXT-X-MEDIA-SEQUENCE:10
#EXT-X-PLAYLIST-TYPE:VOD
#EXT-X-I-FRAMES-ONLY
#EXT-X-MAP:URI=\"m/video/init-00000000000007.mp4\"
#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:20.000Z
#EXTINF:2.00000,
m/video/3-10.key.m4s
#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:22.000Z
#EXTINF:2.00000,
m/video/3-11.key.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI=\"m/video/init-00000000000007.mp4\"
#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:24.000Z
#EXT-X-GAP
#EXTINF:2.00000,
m/video/3-12.key.m4s
#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:26.000Z
#EXTINF:2.00000,
m/video/3-13.key.m4s
#EXT-X-ENDLIST
";
        assert_eq!(
            render_iframes(&index, "video", "m", Reach::Everything).as_deref(),
            Some(expect)
        );
    }

    #[test]
    fn a_window_moves_on_and_what_is_not_known_is_not_listed() {
        let keys = index(&[[Some(300), None]; 12]);
        let window = render_iframes(&keys, "video", "m", Reach::Window).unwrap();
        assert_eq!(window.matches(".key.m4s").count(), 6);
        assert!(window.contains("#EXT-X-MEDIA-SEQUENCE:16\n") && !window.contains("ENDLIST"));
        assert_eq!(keys.rendition("video").unwrap().key_bitrate(Some(2)), Some(1_200));
        assert_eq!(
            render_iframes(&index(&[[None, None]; 3]), "video", "m", Reach::Everything),
            None
        );
        assert_eq!(render_iframes(&keys, "audio", "m", Reach::Everything), None);
    }

    #[test]
    fn a_last_segment_of_one_frame_makes_no_peak() {
        let mut keys = index(&[[Some(300), None], [Some(300), None]]);
        let part = Part {
            duration: 3_000,
            independent: true,
            last: true,
            closes: false,
            target_ms: 1_000,
            target_duration: Some(2),
            open: false,
            key_bytes: Some(300),
        };
        let at = spine::Location { group: 12, object: 0 };
        let properties = encode(&part, Some(&testing::segment(12)));
        keys.apply("video", at, &properties, 1_000).unwrap();
        keys.end();
        // RFC 8216bis §4.1: 600 bytes in 2.033 s, not 300 in 0.033 s.
        let rate = keys.rendition("video").unwrap().key_bitrate(Some(2));
        assert_eq!(rate, Some(600 * 8 * 90_000 / 183_000));
    }

    #[test]
    fn a_picture_that_is_longer_than_its_part_is_a_lie() {
        let keys = index(&[[Some(1_001), Some(1_000)]]);
        assert_eq!(keys.rendition("video").unwrap().segments[0].key_part(), Some((1, 1_000)));
    }
}
