//! Playlists of a range: clips and previews. They never change.

use std::fmt::Write;
use std::ops::RangeInclusive;

use super::media::{Names, SegmentTags, discontinuity_sequence, longest, write_segment};
use crate::index::{Index, Segment};

/// Renders the complete segments with these numbers as a playlist that is over. `start_ns`: where in it a player shall
/// begin. None if there is none of them.
pub fn render_range(
    index: &Index,
    names: Names<'_>,
    base: &str,
    numbers: RangeInclusive<u64>,
    start_ns: u64,
) -> Option<String> {
    let original = index.rendition(names.original)?;
    let regridded = names.grid.map(|grid| grid.rendition(original));
    let r = regridded.as_ref().unwrap_or(original);
    let first = r.segments.front()?.number;
    let skip = usize::try_from(numbers.start().saturating_sub(first)).ok()?;
    let listed: Vec<&Segment> = r
        .segments
        .iter()
        .skip(skip)
        .take_while(|s| numbers.contains(&s.number))
        .filter(|s| s.complete)
        .collect();
    let sequence = listed.first()?.number;
    let target = index.target_duration().unwrap_or_else(|| longest(r));
    let mut out = String::with_capacity(256 + listed.len() * 160);
    let _ = write!(out, "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:{target}\n");
    let _ = writeln!(out, "#EXT-X-MEDIA-SEQUENCE:{sequence}");
    discontinuity_sequence(&mut out, listed.first().copied());
    if listed.iter().all(|s| names.begins_alone(s)) {
        out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    out.push_str("#EXT-X-PLAYLIST-TYPE:VOD\n");
    if start_ns > 0 {
        out.push_str(&start_tag(start_ns));
    }
    let mut map = None;
    for segment in listed {
        let tags = SegmentTags { map: map != Some(segment.info.init), part_target_ms: None };
        map = Some(segment.info.init);
        write_segment(&mut out, names, segment, base, tags);
    }
    out.push_str("#EXT-X-ENDLIST\n");
    Some(out)
}

/// RFC 8216bis §4.4.2.2: players begin there, and show nothing of before.
fn start_tag(start_ns: u64) -> String {
    format!("#EXT-X-START:TIME-OFFSET={:.3},PRECISE=YES\n", start_ns as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::index_of;

    #[test]
    fn a_range_is_over_whatever_goes_on_around_it() {
        let mut index = index_of(100, &[2, 2, 2, 2, 1], false);
        index.lose("video", 102);
        let render =
            |numbers, start| render_range(&index, Names::own("video", &[]), "m", numbers, start);
        let expect = "\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:2
#EXT-X-MEDIA-SEQUENCE:101
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-PLAYLIST-TYPE:VOD
#EXT-X-START:TIME-OFFSET=1.250,PRECISE=YES
#EXT-X-MAP:URI=\"m/video/init-00000000000007.mp4\"
#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:03:22.000Z
#EXTINF:2.00000,
m/video/3-101.m4s
#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:03:24.000Z
#EXT-X-GAP
#EXTINF:2.00000,
m/video/3-102.m4s
#EXT-X-ENDLIST
";
        assert_eq!(render(101..=102, 1_250_000_000).as_deref(), Some(expect));
        let all = render(0..=u64::MAX, 0).unwrap();
        assert_eq!(all.matches("#EXTINF").count(), 4, "what is still made is not listed");
        for none in [104..=104, 200..=300, 5..=7] {
            assert_eq!(render(none, 0), None);
        }
        assert_eq!(render_range(&index, Names::own("audio", &[]), "m", 101..=102, 0), None);
    }

    #[test]
    fn a_level_has_the_range_of_its_original() {
        let index = index_of(100, &[2, 2, 2, 2, 1], false);
        let level = Names {
            original: "video",
            name: "video.360p.cmaf",
            grid: None,
            levels: &[],
            init: &|init| init + 0x10,
        };
        let of = |names| render_range(&index, names, "m", 101..=102, 0).unwrap();
        let renamed = of(Names::own("video", &[]))
            .replace(
                "m/video/init-00000000000007",
                "m/video.360p.00000000000017.cmaf/init-00000000000017",
            )
            .replace("m/video/", "m/video.360p.00000000000017.cmaf/");
        assert_eq!(of(level), renamed);
    }
}
