//! A recording as it was read: its index, its catalog, and where its media is.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use control::{SegmentRecord, Video, VideoUid};
use media::catalog::Catalog;
use package::Index;
use package::clip::{Outline, Wanted};
use package::dash::Content;
use package::hls::{MediaOptions, Reach, render_media};
use store::{Key, Kind, Object};

use crate::index;

/// A file of a recording, as playlists name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// An initialisation segment.
    Init(u64),
    /// A segment.
    Segment {
        /// The ownership in its name.
        epoch: u64,
        /// Its number.
        number: u64,
    },
    /// A part.
    Part {
        /// The ownership in its name.
        epoch: u64,
        /// The segment's number.
        number: u64,
        /// Its place in the segment.
        part: u64,
    },
}

/// What is committed of a video.
#[derive(Debug)]
pub struct Recording {
    /// The video as it was.
    pub video: Video,
    /// What playlists say; ended if the broadcast is.
    pub index: Index,
    /// The catalog that was kept, as bytes.
    pub catalog: Option<Bytes>,
    /// What the initialisation segments say of renditions that have several: lists name all of them.
    pub contents: BTreeMap<u64, Content>,
    /// Numbers whose object is gone from the store: gaps in [`index`](Self::index).
    gone: BTreeSet<u64>,
    records: Vec<SegmentRecord>,
    /// Which record's object has an initialisation segment, and where.
    inits: BTreeMap<u64, (usize, Range<u64>)>,
    rendered: Mutex<BTreeMap<(String, Reach), Bytes>>,
    derived: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Recording {
    /// What was recorded of a video, in order; nothing is known of what its initialisation segments say.
    pub fn new(video: Video, catalog: Option<Bytes>, records: Vec<SegmentRecord>) -> Self {
        Self::without(video, catalog, records, BTreeSet::new())
    }

    /// The same, where the objects of some numbers are gone from the store.
    pub(crate) fn without(
        video: Video,
        catalog: Option<Bytes>,
        records: Vec<SegmentRecord>,
        gone: BTreeSet<u64>,
    ) -> Self {
        let (mut index, mut inits) = (Index::new(), BTreeMap::new());
        let is_gone = |record: &SegmentRecord| gone.contains(&record.number);
        let stored = |record: &SegmentRecord| record.object.is_some() && !is_gone(record);
        for (i, record) in records.iter().enumerate().filter(|(_, record)| stored(record)) {
            for track in &record.tracks {
                if let Some(range) = &track.init_at {
                    inits.entry(track.init).or_insert((i, range.clone()));
                }
            }
        }
        let listed = catalog.as_deref().and_then(|json| Catalog::parse(json).ok());
        let in_catalog = |id| listed.as_ref().is_some_and(|list| init_in(list, id).is_some());
        let has = |id| inits.contains_key(&id) || in_catalog(id);
        for record in &records {
            if let Err(error) = index::add(&mut index, record, is_gone(record), &has) {
                tracing::error!(video = %video.uid, segment = record.number, %error, "in no order");
            }
        }
        if !video.live() {
            index.end();
        }
        let (contents, rendered, derived) = (BTreeMap::new(), Mutex::default(), OnceLock::new());
        Self { video, index, catalog, contents, gone, records, inits, rendered, derived }
    }

    /// Whether the store said that the object of this number is gone.
    pub fn is_gone(&self, number: u64) -> bool {
        self.gone.contains(&number)
    }

    /// Whether the store said that this object is gone.
    pub(crate) fn lacks(&self, object: &Key) -> bool {
        !self.gone.is_empty() && object.object().is_ok_and(|object| self.is_gone(object.number))
    }

    /// Of the records that have an object, those whose one is not among these with their sizes, or is shorter there: their numbers.
    pub(crate) fn absent(
        video: &VideoUid,
        records: &[SegmentRecord],
        there: &BTreeMap<Key, u64>,
    ) -> BTreeSet<u64> {
        let whole = |record: &SegmentRecord, object: Key| {
            there.get(&object).is_some_and(|bytes| *bytes >= record.bytes)
        };
        let gone = records.iter().filter(|record| {
            key(video.as_str(), record).is_some_and(|object| !whole(record, object))
        });
        gone.map(|record| record.number).collect()
    }

    /// An initialisation segment as the catalog has it, whose object may be gone.
    pub(crate) fn init_of_catalog(&self, id: u64) -> Option<Bytes> {
        init_in(&Catalog::parse(self.catalog.as_deref()?).ok()?, id)
    }

    /// What whoever delivers it derives of all this, once: it never changes. Of one type, for one reader.
    pub fn derived<T: Any + Send + Sync>(&self, derive: impl FnOnce() -> T) -> Option<&T> {
        self.derived.get_or_init(|| Box::new(derive())).downcast_ref()
    }

    /// Where the initialisation segments are that [`contents`](Self::contents) shall know.
    pub(crate) fn several_inits(&self) -> Vec<(u64, Key, Range<u64>)> {
        let mut several = BTreeSet::new();
        for (_, rendition) in self.index.renditions() {
            let own: BTreeSet<u64> = rendition.segments.iter().map(|s| s.info.init).collect();
            if own.len() > 1 {
                several.extend(own);
            }
        }
        let located = several.into_iter().filter_map(|id| {
            let (key, range) = self.locate("", File::Init(id))?;
            Some((id, key, range))
        });
        located.collect()
    }

    /// A media playlist, rendered once. None if there is no such rendition, or nothing to list yet.
    pub fn playlist(&self, rendition: &str, reach: Reach) -> Option<Bytes> {
        let rendered = || self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (rendition.to_owned(), reach);
        if let Some(there) = rendered().get(&key) {
            return Some(there.clone());
        }
        let options = MediaOptions { low_latency: false, reach, skip: false };
        let base = format!("../media/{}", self.video.uid);
        let text = Bytes::from(render_media(&self.index, rendition, &base, options)?);
        rendered().insert(key, text.clone());
        Some(text)
    }

    /// The list of a rendition's key pictures, as [`playlist`](Self::playlist) has all pictures.
    pub fn iframes(&self, rendition: &str, reach: Reach) -> Option<Bytes> {
        let base = format!("../media/{}", self.video.uid);
        package::hls::render_iframes(&self.index, rendition, &base, reach).map(Bytes::from)
    }

    /// Whether all of it can be one file, with the picture or the sound alone; why not, if not.
    pub fn one_file(&self, picture: bool) -> Result<(), package::clip::Refused> {
        Outline::new(&self.index, Wanted::everything(picture)).map(drop)
    }

    /// How many segments it has, gaps among them.
    pub fn segments(&self) -> usize {
        self.records.len()
    }

    /// The newest record.
    pub fn last(&self) -> Option<&SegmentRecord> {
        self.records.last()
    }

    /// The objects of these of its segments.
    pub(crate) fn objects_of(&self, records: &[SegmentRecord]) -> impl Iterator<Item = Key> {
        records.iter().filter_map(|record| key(self.video.uid.as_str(), record))
    }

    /// The same with their lengths.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = (Key, u64)> {
        let sized = |record| Some((key(self.video.uid.as_str(), record)?, record.bytes));
        self.records.iter().filter_map(sized)
    }

    /// The newest record that has times, and how many gaps without any come after it.
    pub fn newest_timed(&self) -> Option<(&SegmentRecord, u64)> {
        let mut newest = self.records.iter().rev().zip(0..);
        newest.find(|(record, _)| record.tracks.iter().any(|t| t.timescale > 0))
    }

    pub(crate) fn record(&self, number: u64) -> Option<&SegmentRecord> {
        let first = self.records.first()?.number;
        self.records.get(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    /// Where a file is.
    pub(crate) fn locate(&self, track: &str, file: File) -> Option<(Key, Range<u64>)> {
        match file {
            File::Init(id) => {
                let (record, range) = self.inits.get(&id)?;
                let key = key(self.video.uid.as_str(), self.records.get(*record)?)?;
                Some((key, range.clone()))
            }
            File::Segment { number, .. } | File::Part { number, .. } => {
                locate(self.video.uid.as_str(), self.record(number)?, track, file)
            }
        }
    }
}

fn init_in(catalog: &Catalog, id: u64) -> Option<Bytes> {
    let id = format!("{id:014x}");
    let track = catalog.tracks.iter().find(|t| t.init_ref.as_ref() == Some(&id))?;
    catalog.init_of(track)
}

/// Where a segment or a part is in its record's object.
pub(crate) fn locate(
    video: &str,
    record: &SegmentRecord,
    track: &str,
    file: File,
) -> Option<(Key, Range<u64>)> {
    let key = key(video, record)?;
    let track = record.tracks.iter().find(|t| t.name == track && !t.gap)?;
    let range = match file {
        File::Init(_) => return None,
        File::Segment { epoch, .. } | File::Part { epoch, .. } if epoch != record.epoch.0 => {
            return None;
        }
        File::Segment { .. } => {
            let end = track.ranges().last().map_or(track.offset, |(_, range)| range.end);
            track.offset..end
        }
        File::Part { part, .. } => track.ranges().nth(usize::try_from(part).ok()?)?.1,
    };
    (!range.is_empty()).then_some((key, range))
}

fn key(video: &str, record: &SegmentRecord) -> Option<Key> {
    let object = Object {
        video: video.to_owned(),
        kind: Kind::Segment,
        epoch: record.epoch.0,
        number: record.number,
        random: record.object?,
    };
    Key::new(&object).ok()
}

#[cfg(test)]
mod tests {
    use control::{End, Epoch, InputUid, PartRecord, Rev, TrackRecord, VideoSettings};
    use package::limits::INDEX_SEGMENTS;

    use super::*;

    fn record(number: u64) -> SegmentRecord {
        let (independent, last, target_known) = (true, true, true);
        let (duration, bytes, key_bytes) = (180_000, 9, None);
        let part = PartRecord { duration, bytes, independent, last, target_known, key_bytes };
        let track = TrackRecord {
            name: "video.cmaf".into(),
            timescale: 90_000,
            start: number * 180_000,
            wall_clock_ms: number * 2_000,
            discontinuity: false,
            discontinuity_sequence: 0,
            gap: false,
            init: 7,
            init_at: (number == 1).then_some(0..5),
            part_target_ms: 334,
            target_duration: 2,
            offset: 5,
            parts: vec![part],
            closes: false,
        };
        let (epoch, object, tracks) = (Epoch(1), Some(number), vec![track]);
        SegmentRecord { number, epoch, object, bytes: 14, tracks, ..SegmentRecord::default() }
    }

    fn recording(segments: u64) -> Recording {
        let video = Video {
            uid: VideoUid::from_random([7; 16]),
            input: InputUid::from_random([8; 15]),
            created_ms: 0,
            modified_ms: 0,
            rev: Rev(1),
            ended: Some((1, End::Goodbye)),
            delete_ms: None,
            segments,
            numbers: Some((1, segments)),
            duration_ms: segments * 2_000,
            bytes: segments * 14,
            clip: None,
            settings: VideoSettings::default(),
        };
        Recording::new(video, None, (1..=segments).map(record).collect())
    }

    #[test]
    fn a_recording_of_days_is_listed_whole_up_to_a_week() {
        for (segments, first) in [(100_000, 1), (INDEX_SEGMENTS as u64 + 5, 6)] {
            let recording = recording(segments);
            let text = recording.playlist("video.cmaf", Reach::Everything).unwrap();
            let text = std::str::from_utf8(&text).unwrap();
            assert!(text.contains(&format!("#EXT-X-MEDIA-SEQUENCE:{first}\n")), "{segments}");
            let listed = text.matches("#EXTINF").count();
            assert_eq!(listed as u64, segments.min(INDEX_SEGMENTS as u64));
            assert!(text.ends_with(&format!("1-{segments}.m4s\n#EXT-X-ENDLIST\n")));
            // What is not listed is there all the same, and so is what it needs.
            let file = File::Segment { epoch: 1, number: 1 };
            assert!(recording.locate("video.cmaf", file).is_some());
            assert!(recording.locate("video.cmaf", File::Init(7)).is_some());
        }
    }
}
