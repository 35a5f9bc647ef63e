//! What a dead server has left in its data directory, looked at with nobody's help: the index, the
//! objects, and every frame in them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use control::{Control, MasterKey, SegmentRecord, VideoUid};
use media::mp4::demux;
use record::{File, History};
use store::Store;

/// The packaged tracks, as ffmpeg calls their kind.
pub(crate) const TRACKS: [(&str, char); 2] = [("video.cmaf", 'v'), ("audio.cmaf", 'a')];

/// The frames of the clip that is published again and again, by track.
pub(crate) struct Source(BTreeMap<&'static str, Vec<Bytes>>);

impl Source {
    pub(crate) fn new(clip: &Path) -> Self {
        let file = Bytes::from(std::fs::read(clip).unwrap());
        let movie = demux(&file).unwrap();
        let frames = movie.tracks.iter().map(|track| {
            let video = matches!(track.config, media::codec::Config::Video(_));
            let name = if video { TRACKS[0].0 } else { TRACKS[1].0 };
            (name, track.samples.iter().map(|s| s.data(&file).unwrap()).collect())
        });
        Self(frames.collect())
    }

    /// Where in the clip these frames may end, if they begin at one of these places, or anywhere: they must
    /// follow each other as in the clip, which begins anew after its end. A tone is the same in many places.
    fn follow(&self, track: &str, frames: &[Bytes], begin: Option<&Vec<usize>>) -> Vec<usize> {
        let source = &self.0[track];
        let fits = |at: &usize| {
            frames.iter().enumerate().all(|(i, frame)| *frame == source[(at + i) % source.len()])
        };
        let anywhere = || (0..source.len()).collect();
        let places = begin.cloned().unwrap_or_else(anywhere);
        places.into_iter().filter(fits).map(|at| (at + frames.len()) % source.len()).collect()
    }
}

/// What is known of one video over all lives of the server.
#[derive(Default)]
pub(crate) struct Known {
    /// By number: its epoch, and the bytes of each track. Once here, for ever here.
    pub(crate) segments: BTreeMap<u64, (u64, BTreeMap<&'static str, Bytes>)>,
    gaps: BTreeSet<u64>,
    pub(crate) orphans: usize,
}

/// The state of a data directory.
pub(crate) struct Aftermath {
    control: Arc<Control>,
    store: Arc<Store>,
    history: History,
    data: PathBuf,
}

impl Aftermath {
    /// Opens what is there, as the next server would.
    pub(crate) fn open(data: &Path) -> Self {
        let key = std::fs::read(data.join("master.key")).unwrap();
        let key = MasterKey::new(key.as_slice().try_into().unwrap());
        let control = Arc::new(Control::open(&data.join("airwave.db"), key).unwrap());
        let store = Arc::new(Store::open(&data.join("media")).unwrap());
        let history = History::new(control.clone(), store.clone());
        Self { control, store, history, data: data.to_owned() }
    }

    /// Bytes that the index has of a video.
    pub(crate) async fn bytes(&self, video: &VideoUid) -> u64 {
        self.control.video(video).await.unwrap().map_or(0, |video| video.bytes)
    }

    /// Reads everything that is committed: nothing that was known is lost or another, and what is new is
    /// the source, frame by frame.
    pub(crate) async fn check(&self, video: &VideoUid, source: &Source, known: &mut Known) {
        let records = self.history.records(video).await.unwrap();
        let numbers: Vec<u64> = records.iter().map(|r| r.number).collect();
        let first = numbers.first().copied().unwrap_or(0);
        assert_eq!(numbers, (first..first + numbers.len() as u64).collect::<Vec<_>>());
        let ids = self.store.list(video.as_str()).await.unwrap().len();
        let named = records.iter().filter(|r| r.object.is_some()).count();
        known.orphans = known.orphans.max(ids.saturating_sub(named));
        for number in known.segments.keys().chain(&known.gaps) {
            assert!(numbers.contains(number), "segment {number} was acknowledged and is lost");
        }
        let mut next: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut before: Option<&SegmentRecord> = None;
        for record in &records {
            let number = record.number;
            if record.gap {
                assert!(!known.segments.contains_key(&number), "segment {number} became a gap");
                known.gaps.insert(number);
                next.clear();
                before = None;
                continue;
            }
            assert!(!known.gaps.contains(&number), "the gap {number} became a segment");
            let goes_on = before.is_some_and(|b| b.epoch == record.epoch) && !record.discontinuity;
            if !goes_on {
                next.clear();
            }
            before = Some(record);
            let bytes = self.segment(video, record).await;
            for (track, (frames, _)) in &bytes {
                let ends = source.follow(track, frames, next.get(track));
                assert!(
                    !ends.is_empty(),
                    "segment {number} of {track} is not the source's from {:?} on, {} frames",
                    next.get(track),
                    frames.len()
                );
                next.insert(track, ends);
            }
            let whole = bytes.into_iter().map(|(track, (_, whole))| (track, whole)).collect();
            let found = (record.epoch.0, whole);
            match known.segments.get(&number) {
                Some(was) => assert!(*was == found, "segment {number} has another content"),
                None => drop(known.segments.insert(number, found)),
            }
        }
    }

    /// The frames of a segment and its bytes, by track.
    async fn segment(
        &self,
        video: &VideoUid,
        record: &SegmentRecord,
    ) -> BTreeMap<&'static str, (Vec<Bytes>, Bytes)> {
        let mut found = BTreeMap::new();
        for (track, _) in TRACKS {
            let Some(said) = record.tracks.iter().find(|t| t.name == track && !t.gap) else {
                continue;
            };
            let read = async |file| {
                let read = self.history.file(video, track, file).await.unwrap();
                read.unwrap_or_else(|| panic!("{file:?} of {track} is committed and not there"))
            };
            let init = read(File::Init(said.init)).await;
            let (epoch, number) = (record.epoch.0, record.number);
            let bytes = read(File::Segment { epoch, number }).await;
            let file = Bytes::from([&init[..], &bytes[..]].concat());
            let movie = demux(&file).unwrap_or_else(|e| panic!("segment {number}: {e}"));
            let samples = &movie.tracks[0].samples;
            found.insert(track, (samples.iter().map(|s| s.data(&file).unwrap()).collect(), bytes));
        }
        found
    }

    /// After the end nothing is kept that nothing names.
    pub(crate) async fn check_tidy(&self, video: &VideoUid) {
        let index = self.control.committed_index(video, 0..u64::MAX >> 1).await.unwrap();
        let records = self.history.records(video).await.unwrap();
        let objects = records.iter().filter(|r| r.object.is_some()).count();
        let listed = self.store.list(video.as_str()).await.unwrap();
        assert_eq!(listed.len(), objects + index.pages.len(), "objects that nothing names");
        let videos = std::fs::read_dir(self.data.join("media/o")).unwrap().count();
        assert_eq!(videos, 1, "folders of videos that are not there");
        assert_eq!(std::fs::read_dir(self.data.join("media/tmp")).unwrap().count(), 0);
        assert!(index.pages.len() + 1 >= records.len() / 64, "pages are sealed");
    }
}
