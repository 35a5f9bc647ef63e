//! From committed records to the index that playlists are rendered from.

use control::{SegmentRecord, TrackRecord};
use package::Index;
use package::properties::{Malformed, Part, Segment};
use spine::Location;

/// Adds one record's tracks, as if their parts had come in live; as a gap, if its object is `gone`, or of a track whose
/// initialisation segment nobody `has`. A gap without tracks adds nothing: the index says itself what lies between two segments. A
/// track that does not fit keeps none of the others out.
pub(crate) fn add(
    index: &mut Index,
    record: &SegmentRecord,
    gone: bool,
    has: &dyn Fn(u64) -> bool,
) -> Result<(), Malformed> {
    let mut added = Ok(());
    for track in &record.tracks {
        let init = match has(track.init) {
            true => Some(track.init),
            // Players load what lists name, before gaps too: it is listed with the one before, if there is any.
            false => index.rendition(&track.name).and_then(|r| Some(r.segments.back()?.info.init)),
        };
        let Some(init) = init else { continue };
        let one = match gone || init != track.init {
            true => add_track(index, record, &TrackRecord { init, ..track.clone().lost() }),
            false => add_track(index, record, track),
        };
        added = added.and(one);
    }
    added
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
            closes: part.last && track.closes,
            target_ms: track.part_target_ms,
            target_duration: part.target_known.then_some(track.target_duration),
            open: false,
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

#[cfg(test)]
mod tests {
    use control::{Epoch, PartRecord};

    use super::*;

    fn track(name: &str, timescale: u32, start_ms: u64) -> TrackRecord {
        let part = PartRecord {
            duration: timescale * 2,
            bytes: 1_000,
            independent: true,
            last: true,
            target_known: true,
            key_bytes: None,
        };
        TrackRecord {
            name: name.to_owned(),
            timescale,
            start: start_ms * u64::from(timescale) / 1_000,
            wall_clock_ms: 1_000_000 + start_ms,
            part_target_ms: 334,
            target_duration: 2,
            parts: vec![part],
            ..TrackRecord::default()
        }
    }

    /// A segment of two seconds.
    fn record(number: u64, names: &[&str]) -> SegmentRecord {
        let timescale = |name| if name == "video" { 90_000 } else { 48_000 };
        let tracks = names.iter().map(|name| track(name, timescale(*name), number * 2_000));
        SegmentRecord {
            number,
            epoch: Epoch(1),
            object: Some(number),
            duration_ms: 2_000,
            bytes: 1_000,
            wall_clock_ms: 1_000_000 + number * 2_000,
            gap: false,
            discontinuity: false,
            tracks: tracks.collect(),
        }
    }

    /// The picture is away for an hour and more, as a replay reads it: what comes back is there, in its place.
    #[test]
    fn a_picture_that_was_away_for_long_comes_back_in_the_replay() {
        for away in [600, 1_800, 1_801, 2_000] {
            let mut index = Index::new();
            let back = 3 + away;
            for number in 0..back + 3 {
                let both = number < 3 || number >= back;
                let names = if both { &["video", "audio"][..] } else { &["audio"] };
                add(&mut index, &record(number, names), false, &|_| true).unwrap();
            }
            let (video, audio) =
                (index.rendition("video").unwrap(), index.rendition("audio").unwrap());
            let numbers = |r: &package::Rendition| {
                (r.segments.front().unwrap().number, r.segments.back().unwrap().number)
            };
            let first = if away > 1_800 { back } else { 0 };
            assert_eq!((numbers(video), numbers(audio)), ((first, back + 2), (0, back + 2)));
            let there = video.segment(back).unwrap();
            assert_eq!((there.info.gap, there.info.start), (false, back * 180_000), "{away}");
            assert_eq!(there.at_ns, audio.segment(back).unwrap().at_ns, "{away}");
        }
    }

    /// Of a damaged record the tracks that can be read are played.
    #[test]
    fn a_track_that_does_not_fit_keeps_none_of_the_others_out() {
        let mut index = Index::new();
        add(&mut index, &record(0, &["audio", "video"]), false, &|_| true).unwrap();
        let mut damaged = record(1, &["audio", "video"]);
        damaged.tracks[0].start = u64::MAX;
        assert!(add(&mut index, &damaged, false, &|_| true).is_err());
        add(&mut index, &record(2, &["audio", "video"]), false, &|_| true).unwrap();
        let gaps = |name: &str| {
            let segments = &index.rendition(name).unwrap().segments;
            segments.iter().map(|s| s.info.gap).collect::<Vec<_>>()
        };
        assert_eq!(gaps("video"), [false, false, false]);
        assert_eq!(gaps("audio"), [false, true, false]);
    }
}
