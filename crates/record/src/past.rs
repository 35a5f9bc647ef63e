//! The objects that a recorded track was made of: what a FETCH of the past gets, byte for byte as it was live.

use std::ops::RangeInclusive;

use bytes::Bytes;
use control::{SegmentRecord, VideoUid};
use package::properties::{self, Part, Segment};

use crate::history::{History, HistoryError};
use crate::limits::PAST_RECORDS;
use crate::recording::{File, locate};

/// One object of a track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastObject {
    /// Its place in the group.
    pub id: u64,
    /// What it said of itself.
    pub properties: Bytes,
    /// The part.
    pub payload: Bytes,
}

/// What is known of one group of a recorded track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PastGroup {
    /// All of its objects.
    Whole(Vec<PastObject>),
    /// Nothing was recorded of it.
    Lost,
}

/// The numbers that are committed of a video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The first one.
    pub first: u64,
    /// The last one.
    pub last: u64,
}

impl History {
    /// Which numbers are committed of a video; none if nothing is.
    pub async fn extent(&self, video: &VideoUid) -> Result<Option<Extent>, HistoryError> {
        let found = self.control().video(video).await?;
        let numbers = found.and_then(|video| video.numbers);
        Ok(numbers.map(|(first, last)| Extent { first, last }))
    }

    /// The index of some of a video's segments: at most [`PAST_RECORDS`] from the first of them on, in order.
    pub async fn indexed(
        &self,
        video: &VideoUid,
        numbers: RangeInclusive<u64>,
    ) -> Result<Vec<SegmentRecord>, HistoryError> {
        let (first, last) = numbers.into_inner();
        let end = last.min(first.saturating_add(PAST_RECORDS - 1)).saturating_add(1);
        self.committed(video, first..end).await
    }

    /// The objects of a track in a committed segment.
    pub async fn objects(
        &self,
        video: &VideoUid,
        track: &str,
        record: &SegmentRecord,
    ) -> Result<PastGroup, HistoryError> {
        let Some(share) = record.tracks.iter().find(|t| t.name == track && !t.gap) else {
            return Ok(PastGroup::Lost);
        };
        let file = File::Segment { epoch: record.epoch.0, number: record.number };
        let Some((key, range)) = locate(video.as_str(), record, track, file) else {
            return Ok(PastGroup::Lost);
        };
        let from = range.start;
        let Some(read) = self.ranges(video, &key, &[range]).await? else {
            return Ok(PastGroup::Lost);
        };
        let read = read.into_iter().next().unwrap_or_default();
        let segment = Segment {
            timescale: share.timescale,
            epoch: record.epoch.0,
            wall_clock_ms: share.wall_clock_ms,
            start: share.start,
            discontinuity: share.discontinuity,
            discontinuity_sequence: share.discontinuity_sequence,
            gap: share.gap,
            init: share.init,
        };
        let mut objects = Vec::with_capacity(share.parts.len());
        for ((part, range), id) in share.ranges().zip(0..) {
            let at = |n: u64| usize::try_from(n - from).unwrap_or(usize::MAX).min(read.len());
            let said = Part {
                duration: part.duration,
                independent: part.independent,
                last: part.last,
                closes: part.last && share.closes,
                target_ms: share.part_target_ms,
                target_duration: part.target_known.then_some(share.target_duration),
                open: false,
                key_bytes: part.key_bytes,
            };
            objects.push(PastObject {
                id,
                properties: properties::encode(&said, Some(&segment).filter(|_| id == 0)),
                payload: read.slice(at(range.start)..at(range.end)),
            });
        }
        Ok(PastGroup::Whole(objects))
    }
}
