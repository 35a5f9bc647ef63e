//! From committed records to the index that playlists are rendered from.

use control::{SegmentRecord, TrackRecord};
use package::Index;
use package::properties::{Malformed, Part, Segment};
use spine::Location;

/// Adds one record's tracks, as if their parts had come in live. A gap without tracks adds nothing: the
/// index says itself what lies between two segments. A track that does not fit keeps none of the others out.
pub(crate) fn add(index: &mut Index, record: &SegmentRecord) -> Result<(), Malformed> {
    let added = record.tracks.iter().map(|track| add_track(index, record, track));
    added.fold(Ok(()), Result::and)
}

fn add_track(
    index: &mut Index,
    record: &SegmentRecord,
    track: &TrackRecord,
) -> Result<(), Malformed> {
    for (object, part) in (0..).zip(&track.parts) {
        let at = Location { group: record.number, object };
        let segment = (object == 0).then(|| segment(record, track));
        let said = Part {
            duration: part.duration,
            independent: part.independent,
            last: part.last,
            target_ms: track.part_target_ms,
            target_duration: part.target_known.then_some(track.target_duration),
            key_bytes: part.key_bytes,
        };
        index.add(&track.name, at, &said, segment, part.bytes)?;
    }
    Ok(())
}

fn segment(record: &SegmentRecord, track: &TrackRecord) -> Segment {
    Segment {
        timescale: track.timescale,
        epoch: record.epoch.0,
        wall_clock_ms: track.wall_clock_ms,
        start: track.start,
        discontinuity: track.discontinuity,
        discontinuity_sequence: track.discontinuity_sequence,
        gap: track.gap,
        init: track.init,
    }
}
