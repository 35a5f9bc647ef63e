//! Indexes for the tests of this crate.

use spine::Location;

use crate::index::Index;
use crate::properties::{Part, Segment, encode};

pub(crate) fn segment(number: u64) -> Segment {
    Segment {
        epoch: 3,
        wall_clock_ms: number * 2_000,
        start: number * 180_000,
        discontinuity: false,
        discontinuity_sequence: 0,
        gap: false,
        init: 7,
    }
}

/// Segments of 2 s from `first` on, with so many parts of 1/6, 1/2... of it; one of fewer than the
/// first one's is still open.
pub(crate) fn index_of(first: u64, parts: &[u64], ended: bool) -> Index {
    let mut index = Index::new();
    add(&mut index, "video", first, parts);
    if ended {
        index.end();
    }
    index
}

/// Video with one complete segment and one part of the next, audio with one complete segment.
pub(crate) fn two_renditions() -> Index {
    let mut index = Index::new();
    add(&mut index, "video", 10, &[2, 1]);
    add(&mut index, "audio", 10, &[2]);
    index
}

fn add(index: &mut Index, rendition: &str, first: u64, parts: &[u64]) {
    let whole = parts[0];
    for (i, count) in parts.iter().enumerate() {
        let number = first + i as u64;
        for object in 0..*count {
            let duration = u32::try_from(180_000 / whole).unwrap();
            let part = Part {
                duration,
                independent: object == 0,
                last: object + 1 == whole,
                target_ms: duration.div_ceil(90),
                target_duration: Some(2),
            };
            let properties = encode(&part, (object == 0).then(|| segment(number)).as_ref());
            let at = Location { group: number, object };
            index.apply(rendition, 90_000, at, &properties, 1_000).unwrap();
        }
    }
}
