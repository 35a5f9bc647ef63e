//! The list of a recording's captions: one WebVTT file for all of it (RFC 8216bis §3.1.4).

use std::ops::RangeInclusive;

use super::media::longest;
use crate::clip::source_tracks;
use crate::index::{Index, Rendition};

/// Renders the list beside segments of these numbers; `file` is relative to it, and the same for any of them. None if there is no media.
pub fn render_captions(index: &Index, file: &str, numbers: RangeInclusive<u64>) -> Option<String> {
    let r = main(index)?;
    let mut within = r.segments.iter().filter(|segment| numbers.contains(&segment.number));
    let first = within.next()?;
    let last = within.next_back().unwrap_or(first);
    let seconds = last.end_ns().saturating_sub(first.at_ns) as f64 / 1e9;
    let target = (seconds.ceil() as u64).max(u64::from(longest(r)));
    Some(format!(
        "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:{target}\n#EXT-X-MEDIA-SEQUENCE:0\n\
         #EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:{seconds:.5},\n{file}\n#EXT-X-ENDLIST\n"
    ))
}

/// Media time at which a recording begins, in 90,000 a second: what captions are counted from.
pub fn clock(index: &Index) -> Option<u64> {
    let info = main(index)?.segments.front()?.info;
    let ticks = u128::from(info.start) * 90_000 / u128::from(info.timescale.max(1));
    // §3.5: 33 bits.
    Some((ticks % (1 << 33)) as u64)
}

fn main(index: &Index) -> Option<&Rendition> {
    let (picture, sound) = source_tracks(index);
    index.rendition(picture.or(sound)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::index_of;

    #[test]
    fn one_file_lasts_as_long_as_the_media() {
        let index = index_of(10, &[2; 3], true);
        let list = render_captions(&index, "captions-en.vtt", 0..=u64::MAX).unwrap();
        assert!(list.contains("#EXT-X-TARGETDURATION:6\n"), "{list}");
        assert!(list.ends_with("#EXTINF:6.00000,\ncaptions-en.vtt\n#EXT-X-ENDLIST\n"), "{list}");
        assert_eq!(clock(&index), Some(10 * 180_000));
        let some = render_captions(&index, "captions-en.vtt", 11..=12).unwrap();
        assert!(some.ends_with("#EXTINF:4.00000,\ncaptions-en.vtt\n#EXT-X-ENDLIST\n"), "{some}");
        assert_eq!(render_captions(&index, "x", 13..=20), None);
        assert_eq!(render_captions(&Index::new(), "x", 0..=u64::MAX), None);
    }
}
