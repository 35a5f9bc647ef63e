//! The storyboard of a video: which picture stands for which time, as WebVTT whose cues are tiles of sheets
//! (`sheet-1-100-124.jpg#xywh=192,0,192,108`). What players show above their bar.
//!
//! A cue's id is the number of the segment whose picture it is, so that live players, whose time begins anywhere, find it
//! by what they play.

use std::fmt::Write as _;

use package::{Index, Segment};

use super::query::{Sheet, TILES};
use crate::levels::ORIGINAL;
use crate::limits::STORYBOARD_TILES_MAX;

/// A picture of the storyboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cue {
    pub(crate) segment: u64,
    /// The initialisation segment that it is decoded with.
    pub(crate) init: u64,
    pub(crate) from_ns: u64,
    pub(crate) to_ns: u64,
    pub(crate) sheet: Sheet,
}

/// The pictures of what there is: every segment's, or one of every two, four..., so that there are not too many. Sheets
/// begin at numbers that don't depend on what else there is: those that are full stay as they are while a broadcast goes on.
pub(crate) fn cues(index: &Index) -> Vec<Cue> {
    let Some(rendition) = index.rendition(ORIGINAL) else { return Vec::new() };
    let segments = &rendition.segments;
    let every = (segments.len() as u64).div_ceil(STORYBOARD_TILES_MAX).next_power_of_two();
    // The first of each that has one: groups of pictures may be two segments long.
    let mut pictured: Vec<&Segment> = segments.iter().filter(|s| has_key(s)).collect();
    pictured.dedup_by_key(|s| s.number / every);
    let end_ns = segments.iter().rev().find(|s| s.complete).map_or(0, Segment::end_ns);
    let same = |a: &&Segment, b: &&Segment| {
        let sheet = |s: &Segment| (s.number / (every * TILES), s.info.init);
        sheet(a) == sheet(b)
    };
    let mut cues = Vec::with_capacity(pictured.len());
    for group in pictured.chunk_by(same) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let begin = |s: &Segment| s.number / every * every;
        let sheet = Sheet { every, from: begin(first), to: begin(last) };
        cues.extend(group.iter().map(|s| Cue {
            segment: s.number,
            init: s.info.init,
            from_ns: s.at_ns,
            to_ns: end_ns,
            sheet,
        }));
    }
    // Each lasts until the next.
    let next: Vec<u64> = cues.iter().skip(1).map(|cue| cue.from_ns).collect();
    for (cue, next) in cues.iter_mut().zip(next) {
        cue.to_ns = next;
    }
    cues
}

/// The segment whose picture stands for those from this one on, as many as one stands for.
pub(crate) fn first_key(index: &Index, from: u64, every: u64) -> Option<u64> {
    let segments = &index.rendition(ORIGINAL)?.segments;
    let at = segments.partition_point(|s| s.number < from);
    let those = segments.iter().skip(at).take_while(|s| s.number - from < every);
    those.into_iter().find(|s| has_key(s)).map(|s| s.number)
}

/// Whether there is a picture that can be decoded alone.
pub(crate) fn has_key(segment: &Segment) -> bool {
    segment.complete && !segment.info.gap && segment.independent()
}

/// The text; `tile`: the size of the tiles of an initialisation segment's pictures.
pub(crate) fn render(
    cues: &[Cue],
    columns: u64,
    tile: impl Fn(u64) -> Option<(u32, u32)>,
) -> String {
    let mut text = String::from("WEBVTT\n");
    for cue in cues {
        let Some((width, height)) = tile(cue.init) else { continue };
        let place = (cue.segment - cue.sheet.from) / cue.sheet.every;
        let (left, top) = (place % columns * u64::from(width), place / columns * u64::from(height));
        let _ = write!(
            text,
            "\n{}\n{} --> {}\n{}#xywh={left},{top},{width},{height}\n",
            cue.segment,
            clock(cue.from_ns),
            clock(cue.to_ns),
            cue.sheet.name(),
        );
    }
    text
}

/// `00:00:00.000`.
fn clock(ns: u64) -> String {
    let ms = ns / 1_000_000;
    let (s, m, h) = (ms / 1_000 % 60, ms / 60_000 % 60, ms / 3_600_000);
    format!("{h:02}:{m:02}:{s:02}.{:03}", ms % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use package::properties;
    use spine::Location;

    /// Segments of 2 s from `first` on; the last one is still being made.
    fn index(first: u64, count: u64, of: impl Fn(u64) -> (bool, bool, u64)) -> Index {
        let mut index = Index::new();
        for n in 0..count {
            let (independent, gap, init) = of(first + n);
            let part = properties::Part {
                duration: 180_000,
                independent,
                last: n + 1 < count,
                closes: false,
                target_ms: 2_000,
                target_duration: Some(2),
                open: false,
                key_bytes: None,
            };
            let info = properties::Segment {
                timescale: 90_000,
                epoch: 1,
                wall_clock_ms: 0,
                start: 180_000 * n,
                discontinuity: false,
                discontinuity_sequence: 0,
                gap,
                init,
            };
            let at = Location { group: first + n, object: 0 };
            index.add(ORIGINAL, at, &part, Some(info), 1).unwrap();
        }
        index
    }

    #[test]
    fn every_picture_stands_at_its_time_on_its_tile() {
        let index = index(98, 6, |n| (n != 101, false, u64::from(n > 101)));
        let text =
            render(&cues(&index), 5, |init| Some(if init == 0 { (192, 108) } else { (96, 54) }));
        assert_eq!(
            text,
            "WEBVTT\n\n\
             98\n00:00:00.000 --> 00:00:02.000\nsheet-1-98-99.jpg#xywh=0,0,192,108\n\n\
             99\n00:00:02.000 --> 00:00:04.000\nsheet-1-98-99.jpg#xywh=192,0,192,108\n\n\
             100\n00:00:04.000 --> 00:00:08.000\nsheet-1-100-100.jpg#xywh=0,0,192,108\n\n\
             102\n00:00:08.000 --> 00:00:10.000\nsheet-1-102-102.jpg#xywh=0,0,96,54\n"
        );
    }

    #[test]
    fn a_long_video_has_no_more_pictures_than_a_short_one_and_full_sheets_stay() {
        for count in [1, 2, 399, 400, 401, 3_000, 40_000] {
            let all = cues(&index(7, count, |_| (true, false, 0)));
            assert!(all.len() as u64 <= STORYBOARD_TILES_MAX, "{count}: {}", all.len());
            for pair in all.windows(2) {
                assert_eq!(pair[0].to_ns, pair[1].from_ns, "{count}");
            }
            for cue in &all {
                let Sheet { every, from, to } = cue.sheet;
                assert!((to - from) / every < TILES);
                assert!((from..to + every).contains(&cue.segment));
            }
        }
        let names = |count| -> Vec<String> {
            let mut names: Vec<_> = cues(&index(7, count, |_| (true, false, 0)))
                .iter()
                .map(|c| c.sheet.name())
                .collect();
            names.dedup();
            names
        };
        assert_eq!(names(60), ["sheet-1-7-24.jpg", "sheet-1-25-49.jpg", "sheet-1-50-65.jpg"]);
        assert_eq!(names(61), ["sheet-1-7-24.jpg", "sheet-1-25-49.jpg", "sheet-1-50-66.jpg"]);
        assert!(cues(&index(7, 9, |_| (true, true, 0))).is_empty(), "gaps have no pictures");
    }

    /// Groups of pictures of two segments: keys are on odd numbers, and there are as many pictures as of any other.
    #[test]
    fn groups_of_two_segments_have_a_storyboard() {
        for (count, pictures) in [(200, 100), (401, 200), (900, 225)] {
            let index = index(1, count, |n| (n % 2 == 1, false, 0));
            let all = cues(&index);
            assert_eq!(all.len(), pictures, "{count}");
            for cue in &all {
                let Sheet { every, from, .. } = cue.sheet;
                let begin = from + (cue.segment - from) / every * every;
                assert_eq!(first_key(&index, begin, every), Some(cue.segment), "{cue:?}");
                assert_eq!(Sheet::parse(&cue.sheet.name()), Some(cue.sheet));
            }
        }
    }
}
