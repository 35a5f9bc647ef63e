//! A segment on its way into the store: what its tracks brought, its object and its record.

use std::collections::BTreeSet;
use std::ops::Range;

use bytes::Bytes;
use control::{Epoch, PartRecord, SegmentRecord, TrackRecord};
use package::properties::{Part, Segment};

const CMAF: &str = ".cmaf";

/// Whether a track is recorded: packaged from what an encoder brought. Renditions are made again.
pub fn is_recorded(name: &str) -> bool {
    name.strip_suffix(CMAF).is_some_and(|source| !source.contains('.'))
}

/// One track's share of a segment.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    name: String,
    info: Segment,
    part_target_ms: u32,
    target_duration: u32,
    parts: Vec<PartRecord>,
    closes: bool,
    chunks: Vec<Bytes>,
}

impl Share {
    pub(crate) fn new(name: &str, info: Segment) -> Self {
        Self {
            name: name.to_owned(),
            info,
            part_target_ms: 0,
            target_duration: 0,
            parts: Vec::new(),
            closes: false,
            chunks: Vec::new(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn push(&mut self, part: &Part, chunks: Vec<Bytes>) {
        self.part_target_ms = part.target_ms;
        self.target_duration = part.target_duration.unwrap_or(self.target_duration);
        self.parts.push(PartRecord {
            duration: part.duration,
            bytes: chunks.iter().map(|c| c.len() as u64).sum(),
            independent: part.independent,
            last: part.last,
            target_known: part.target_duration.is_some(),
            key_bytes: part.key_bytes,
        });
        self.closes = part.closes;
        self.chunks.extend(chunks);
    }

    /// Where it begins and ends so far, in nanoseconds.
    pub(crate) fn span_ns(&self) -> Range<u64> {
        let ns = |ticks: u64| {
            let ns = u128::from(ticks) * 1_000_000_000 / u128::from(self.info.timescale.max(1));
            u64::try_from(ns).unwrap_or(u64::MAX)
        };
        let parts: u64 = self.parts.iter().map(|p| u64::from(p.duration)).sum();
        ns(self.info.start)..ns(self.info.start.saturating_add(parts))
    }

    /// It does not follow from the segment before.
    pub(crate) fn discontinuity(&self) -> bool {
        self.info.discontinuity
    }

    fn record(&self) -> TrackRecord {
        TrackRecord {
            name: self.name.clone(),
            timescale: self.info.timescale,
            start: self.info.start,
            wall_clock_ms: self.info.wall_clock_ms,
            discontinuity: self.info.discontinuity,
            discontinuity_sequence: self.info.discontinuity_sequence,
            gap: self.info.gap,
            init: self.info.init,
            init_at: None,
            part_target_ms: self.part_target_ms,
            target_duration: self.target_duration,
            offset: 0,
            parts: self.parts.clone(),
            closes: self.closes,
        }
    }
}

/// A segment that nothing will be added to. Without shares it is a hole: nothing came of this number.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub(crate) number: u64,
    pub(crate) shares: Vec<Share>,
}

impl Sealed {
    pub(crate) fn bytes(&self) -> usize {
        self.shares.iter().flat_map(|s| &s.chunks).map(Bytes::len).sum()
    }

    /// Initialisation segments that it refers to.
    pub(crate) fn inits(&self) -> BTreeSet<u64> {
        self.shares.iter().map(|s| s.info.init).collect()
    }

    /// The object's chunks and its record. `inits` are the initialisation segments that it shall
    /// bring along; `object` is the random part of its name.
    pub(crate) fn object(
        &self,
        inits: &[(u64, Bytes)],
        object: u64,
    ) -> (Vec<Bytes>, SegmentRecord) {
        let (mut chunks, mut at) = (Vec::new(), 0);
        let mut tracks = Vec::new();
        let mut brought = BTreeSet::new();
        for share in self.in_order() {
            let mut track = share.record();
            let init = inits.iter().find(|(id, _)| *id == track.init);
            if let Some((id, bytes)) = init.filter(|(id, _)| brought.insert(*id)) {
                track.init_at = Some(at..at + bytes.len() as u64);
                at += bytes.len() as u64;
                chunks.push(bytes.clone());
                debug_assert_eq!(*id, track.init);
            }
            track.offset = at;
            at += track.parts.iter().map(|p| p.bytes).sum::<u64>();
            chunks.extend(share.chunks.iter().cloned());
            tracks.push(track);
        }
        let record = SegmentRecord { object: Some(object), bytes: at, ..self.record(tracks) };
        (chunks, record)
    }

    /// The record that says that it is lost.
    pub(crate) fn gap(&self, epoch: Epoch) -> SegmentRecord {
        let tracks = self.in_order().into_iter().map(|share| share.record().lost());
        let mut record = SegmentRecord { gap: true, ..self.record(tracks.collect()) };
        if self.shares.is_empty() {
            record.epoch = epoch;
        }
        record
    }

    /// Pictures first; the track that decides cuts is the first one.
    fn in_order(&self) -> Vec<&Share> {
        let mut shares: Vec<&Share> = self.shares.iter().collect();
        shares.sort_by_key(|s| (!s.name.starts_with("video"), &s.name));
        shares
    }

    fn record(&self, tracks: Vec<TrackRecord>) -> SegmentRecord {
        let Some(main) = tracks.first() else {
            return SegmentRecord { number: self.number, ..SegmentRecord::default() };
        };
        let ticks = main.end() - main.start;
        SegmentRecord {
            number: self.number,
            epoch: self.shares.first().map_or(Epoch(0), |s| Epoch(s.info.epoch)),
            object: None,
            duration_ms: ticks.saturating_mul(1000) / u64::from(main.timescale.max(1)),
            bytes: 0,
            wall_clock_ms: main.wall_clock_ms,
            gap: false,
            discontinuity: main.discontinuity,
            tracks,
        }
    }
}
