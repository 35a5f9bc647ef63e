//! The past: recordings and their media, read from the index and the store.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use control::{
    Committed, Control, DocumentError, DocumentKey, EngineError, Expect, PageError, PageRef,
    SegmentRecord, VideoUid, page,
};
use package::dash::Content;
use store::{Key, NotAKey, ReadError, Store};
use tokio::sync::{OnceCell, Semaphore};

use crate::captions;
use crate::limits::{
    CLIPS_AT_ONCE, GONE_KEPT, LIVE_INDEX_KEPT, MISSING_TOLD, PAGES, RECORDING_SEGMENTS, RECORDINGS,
};
use crate::recording::{File, Recording, locate};

/// Why something of the past can't be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The index.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A page of the index is not what was written.
    #[error("the page {0}: {1}")]
    Damaged(String, PageError),
    /// The name of a page is none of ours.
    #[error(transparent)]
    Name(#[from] NotAKey),
    /// A page or media.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Orphans can't be listed or deleted.
    #[error(transparent)]
    Orphans(#[from] store::DeleteError),
    /// What was tidied can't be written down.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

impl HistoryError {
    /// It is not there, or not what it was; else it could not be had at the moment.
    fn is_loss(&self) -> bool {
        let lost = matches!(self, Self::Read(ReadError::NotFound | ReadError::Short));
        lost || matches!(self, Self::Damaged(..) | Self::Name(_))
    }
}

/// Why a video was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// The index refuses: there is none, or it is live.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// It is gone from the index; its objects are deleted later.
    #[error("the video is deleted, its media not yet: {0}")]
    Media(#[from] store::DeleteError),
}

/// Reads what was recorded. Share it in an `Arc`.
pub struct History {
    control: Arc<Control>,
    store: Arc<Store>,
    state: Mutex<State>,
    clips: Semaphore,
    /// Held while it is found out what of a video nothing names, and until that is deleted; and while an object is stored that has no name yet.
    pub(crate) naming: tokio::sync::Mutex<()>,
    on_delete: Mutex<Vec<OnDelete>>,
    /// Reads of objects that the index names and that are not there.
    missing: AtomicU64,
}

/// Where a file of a recording is.
#[derive(Debug, Clone)]
pub struct Stored {
    video: VideoUid,
    key: Key,
    range: Range<u64>,
}

impl Stored {
    /// How many bytes it has: never none.
    pub fn size(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// Told of each video that is deleted.
type OnDelete = Arc<dyn Fn(&VideoUid) + Send + Sync>;

/// A clip whose objects nothing names yet, and which are no orphans.
pub(crate) struct Making<'a> {
    history: &'a History,
    uid: VideoUid,
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        let mut state = self.history.state();
        state.making.remove(&self.uid);
        state.left.insert(self.uid.clone());
    }
}

/// Documents that name videos whose orphans were not looked for.
const UNTIDY: &str = "untidy";

fn untidy(video: &VideoUid) -> Result<DocumentKey, DocumentError> {
    let key = DocumentKey::new(UNTIDY, video.as_str());
    key.map_err(|error| EngineError::Internal(error.to_string()).into())
}

#[derive(Default)]
struct State {
    recordings: BTreeMap<VideoUid, Kept>,
    pages: BTreeMap<String, (u64, Bytes)>,
    /// Clips whose objects are being stored.
    making: BTreeSet<VideoUid>,
    /// Clips that are made, or not wanted any more, and whose orphans were not looked for.
    left: BTreeSet<VideoUid>,
    /// Videos that have lost objects, as far as it was told.
    missing: BTreeSet<VideoUid>,
    /// Counts uses, to know what was not used for longest.
    clock: u64,
}

struct Kept {
    cell: Arc<OnceCell<Option<Arc<Recording>>>>,
    since: Instant,
    used: u64,
    /// Some of its objects were not there: which are is looked at when it is read.
    gone: bool,
}

impl Kept {
    fn new(used: u64, gone: bool) -> Self {
        Self { cell: Arc::default(), since: Instant::now(), used, gone }
    }

    /// It is to be read again.
    fn is_stale(&self, now: Instant) -> bool {
        let Some(read) = self.cell.get() else { return false };
        let age = now.saturating_duration_since(self.since);
        let over = read.as_ref().is_some_and(|recording| !recording.video.live());
        (!over && age >= LIVE_INDEX_KEPT) || (self.gone && age >= GONE_KEPT)
    }
}

impl History {
    /// Reads what `control` and `store` have.
    pub fn new(control: Arc<Control>, store: Arc<Store>) -> Self {
        let (state, clips) = (Mutex::default(), Semaphore::new(CLIPS_AT_ONCE));
        let (on_delete, missing) = (Mutex::default(), AtomicU64::new(0));
        let naming = tokio::sync::Mutex::default();
        Self { control, store, state, clips, naming, on_delete, missing }
    }

    /// Whoever keeps something of videos is told of each that is deleted, before its media goes. It must not block.
    pub fn on_delete(&self, tell: impl Fn(&VideoUid) + Send + Sync + 'static) {
        self.listeners().push(Arc::new(tell));
    }

    fn listeners(&self) -> MutexGuard<'_, Vec<OnDelete>> {
        self.on_delete.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for clips that are made.
    pub(crate) fn clips(&self) -> &Semaphore {
        &self.clips
    }

    /// Until the answer is dropped, nobody takes this video's objects for orphans.
    pub(crate) fn making(&self, uid: &VideoUid) -> Making<'_> {
        self.state().making.insert(uid.clone());
        Making { history: self, uid: uid.clone() }
    }

    /// The index that it reads.
    pub fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// The objects that it reads.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// A video as far as it is committed; none if there is no such video. Read once, however many
    /// ask; that of a broadcast which is not over is up to a second old.
    pub async fn recording(
        &self,
        video: &VideoUid,
    ) -> Result<Option<Arc<Recording>>, HistoryError> {
        let cell = self.cell(video);
        let read = cell.get_or_try_init(|| self.read(video)).await?.clone();
        self.trim();
        Ok(read)
    }

    /// A video that is over, if it is in memory.
    pub fn kept(&self, video: &VideoUid) -> Option<Arc<Recording>> {
        self.known(video).filter(|recording| !recording.video.live())
    }

    async fn read(&self, uid: &VideoUid) -> Result<Option<Arc<Recording>>, HistoryError> {
        let Some(video) = self.control.video(uid).await? else { return Ok(None) };
        let catalog = self.control.catalog(uid).await?;
        let records = self.records(uid).await?;
        let gone = self.gone(uid, &records).await;
        let mut recording = Recording::without(video, catalog, records, gone);
        for (id, key, range) in recording.several_inits() {
            match self.store.read_ranges(&key, &[range]).await {
                Ok(read) => {
                    let content = read.first().and_then(Content::from_init);
                    recording.contents.extend(content.map(|content| (id, content)));
                }
                // It plays all the same; of this one its lists say nothing.
                Err(error) => {
                    tracing::warn!(video = %uid, %error, "can't read an initialisation segment");
                }
            }
        }
        Ok(Some(Arc::new(recording)))
    }

    /// The numbers of a video whose objects are gone, if any is known to be: the store says which are there, and whole.
    async fn gone(&self, uid: &VideoUid, records: &[SegmentRecord]) -> BTreeSet<u64> {
        if !self.state().recordings.get(uid).is_some_and(|kept| kept.gone) {
            return BTreeSet::new();
        }
        match self.store.list(uid.as_str()).await {
            Ok(there) => Recording::absent(uid, records, &there.into_iter().collect()),
            // It says nothing for a moment: what it lacks is found again.
            Err(error) => {
                tracing::warn!(video = %uid, %error, "can't look at what a recording has lost");
                BTreeSet::new()
            }
        }
    }

    /// Everything that is committed of a video, in order.
    pub async fn records(&self, video: &VideoUid) -> Result<Vec<SegmentRecord>, HistoryError> {
        self.committed(video, 0..u64::MAX >> 1).await
    }

    async fn page(&self, page: &PageRef) -> Result<Bytes, HistoryError> {
        let kept = {
            let mut state = self.state();
            state.clock += 1;
            let clock = state.clock;
            state.pages.get_mut(&page.object).map(|(used, bytes)| {
                *used = clock;
                bytes.clone()
            })
        };
        if let Some(bytes) = kept {
            return Ok(bytes);
        }
        let bytes = self.store.read(&Key::parse(&page.object)?).await?;
        let mut state = self.state();
        if state.pages.len() >= PAGES
            && let Some(oldest) =
                state.pages.iter().min_by_key(|(_, (used, _))| *used).map(|(name, _)| name.clone())
        {
            state.pages.remove(&oldest);
        }
        let clock = state.clock;
        state.pages.insert(page.object.clone(), (clock, bytes.clone()));
        Ok(bytes)
    }

    /// The records of a sealed page.
    async fn sealed(&self, page: &PageRef) -> Result<Vec<SegmentRecord>, HistoryError> {
        let bytes = self.page(page).await?;
        page::decode(&bytes).map_err(|error| {
            self.state().pages.remove(&page.object);
            HistoryError::Damaged(page.object.clone(), error)
        })
    }

    /// What is committed of these numbers, in order. What a page names that is lost is a gap, as what an object has that is
    /// lost.
    pub(crate) async fn committed(
        &self,
        video: &VideoUid,
        numbers: Range<u64>,
    ) -> Result<Vec<SegmentRecord>, HistoryError> {
        let Committed { pages, tail } =
            self.control.committed_index(video, numbers.clone()).await?;
        let mut records = Vec::new();
        for page in pages {
            let sealed = match self.sealed(&page).await {
                Err(error) if error.is_loss() => {
                    self.page_lost(video, &page, &error).await;
                    let lost = page.first_number..=page.last_number;
                    lost.map(|number| SegmentRecord { number, gap: true, ..Default::default() })
                        .collect()
                }
                read => read?,
            };
            records.extend(sealed.into_iter().filter(|r| numbers.contains(&r.number)));
        }
        records.extend(tail);
        Ok(records)
    }

    /// One record of a video, of a broadcast on the air too.
    async fn record(
        &self,
        video: &VideoUid,
        number: u64,
    ) -> Result<Option<SegmentRecord>, HistoryError> {
        let range = number..number.saturating_add(1);
        let found = self.committed(video, range).await?;
        Ok(found.into_iter().next())
    }

    /// Where a file is; none if it is not committed, or a gap. Nothing of it is read.
    pub async fn stored(
        &self,
        video: &VideoUid,
        track: &str,
        file: File,
    ) -> Result<Option<Stored>, HistoryError> {
        let known = self.known(video).and_then(|r| r.locate(track, file));
        let located = match (known, file) {
            (Some(located), _) => Some(located),
            (None, File::Init(_)) => {
                self.recording(video).await?.and_then(|r| r.locate(track, file))
            }
            (None, File::Segment { number, .. } | File::Part { number, .. }) => {
                let record = self.record(video, number).await?;
                record.and_then(|record| locate(video.as_str(), &record, track, file))
            }
        };
        Ok(located.map(|(key, range)| Stored { video: video.clone(), key, range }))
    }

    /// Bytes of what is [stored](Self::stored), counted from its beginning, and no more of them than it has; none if it is gone.
    pub async fn bytes(
        &self,
        stored: &Stored,
        range: Range<u64>,
    ) -> Result<Option<Bytes>, HistoryError> {
        let Stored { video, key, range: whole } = stored;
        let at = |offset: u64| whole.start.saturating_add(offset).min(whole.end);
        let range = at(range.start)..at(range.end);
        if range.is_empty() {
            return Ok(Some(Bytes::new()));
        }
        let read = self.ranges(video, key, &[range]).await?;
        Ok(read.and_then(|read| read.into_iter().next()))
    }

    /// The bytes of a file; none if it is not committed, or a gap.
    pub async fn file(
        &self,
        video: &VideoUid,
        track: &str,
        file: File,
    ) -> Result<Option<Bytes>, HistoryError> {
        let read = match self.stored(video, track, file).await? {
            Some(stored) => self.bytes(&stored, 0..stored.size()).await?,
            None => None,
        };
        match (read, file) {
            (None, File::Init(id)) => {
                Ok(self.recording(video).await?.and_then(|r| r.init_of_catalog(id)))
            }
            (read, _) => Ok(read),
        }
    }

    /// Ranges of an object that the index names; none if it is gone, or less of it is left.
    pub(crate) async fn ranges(
        &self,
        video: &VideoUid,
        key: &Key,
        ranges: &[Range<u64>],
    ) -> Result<Option<Vec<Bytes>>, HistoryError> {
        match self.store.read_ranges(key, ranges).await {
            Ok(read) => {
                if self.known(video).is_some_and(|recording| recording.lacks(key)) {
                    self.read_again(video, key, false);
                }
                Ok(Some(read))
            }
            Err(ReadError::NotFound | ReadError::Short) => {
                self.not_there(video, key).await;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the object of this number, which could not be had, is gone from the store.
    pub async fn is_gone(&self, video: &VideoUid, number: u64) -> Result<bool, HistoryError> {
        let known = self.state().recordings.get(video).is_some_and(|kept| kept.gone);
        Ok(known && self.recording(video).await?.is_some_and(|r| r.is_gone(number)))
    }

    /// How often objects were to be read that the index names and that are not there.
    pub fn missing(&self) -> u64 {
        self.missing.load(Ordering::Relaxed)
    }

    /// An object is not there: its video was deleted a moment ago, or somebody has taken it away.
    async fn not_there(&self, video: &VideoUid, key: &Key) {
        if !matches!(self.control.video(video).await, Ok(Some(_))) {
            return;
        }
        self.missing.fetch_add(1, Ordering::Relaxed);
        self.read_again(video, key, true);
        if self.tells_of(video) {
            tracing::error!(
                %video, object = key.as_str(),
                "a recording has lost this object, and perhaps more: was it deleted, or is its disk not mounted?"
            );
        }
    }

    /// The same of a page of the index. What is being read knows it already, and is read again later, as it may be back.
    async fn page_lost(&self, video: &VideoUid, page: &PageRef, error: &HistoryError) {
        if !matches!(self.control.video(video).await, Ok(Some(_))) {
            return;
        }
        self.missing.fetch_add(1, Ordering::Relaxed);
        if let Some(kept) = self.state().recordings.get_mut(video) {
            kept.gone = true;
        }
        if self.tells_of(video) {
            tracing::error!(
                %video, object = page.object, %error,
                "a recording has lost a page of its index, and perhaps more: its {} segments are gaps",
                page.last_number - page.first_number + 1
            );
        }
    }

    /// Once of each video.
    fn tells_of(&self, video: &VideoUid) -> bool {
        let missing = &mut self.state().missing;
        missing.len() < MISSING_TOLD && missing.insert(video.clone())
    }

    /// Lists say of what is gone that it is a gap, and of what is back that it is none: the video is read again, unless that
    /// was done for this object or a moment ago.
    fn read_again(&self, video: &VideoUid, key: &Key, gone: bool) {
        let mut state = self.state();
        let told = state.recordings.get(video).is_some_and(|kept| {
            let read = kept.cell.get().and_then(Option::as_ref);
            let same = read.is_some_and(|recording| recording.lacks(key) == gone);
            kept.gone && (same || kept.since.elapsed() < LIVE_INDEX_KEPT)
        });
        if !told {
            state.clock += 1;
            let new = Kept::new(state.clock, true);
            state.recordings.insert(video.clone(), new);
        }
        drop(state);
        self.trim();
    }

    /// Bytes of parts of one segment, of each a range or as much of that as there is; in one go, since they are in one
    /// object. None if one of them is not committed, or a gap.
    pub async fn parts(
        &self,
        video: &VideoUid,
        epoch: u64,
        number: u64,
        wanted: &[(&str, u64, Range<u64>)],
    ) -> Result<Option<Vec<Bytes>>, HistoryError> {
        let ranges = |record: &SegmentRecord| {
            let mut all = Vec::with_capacity(wanted.len());
            for (track, part, range) in wanted {
                let file = File::Part { epoch, number, part: *part };
                let (key, whole) = locate(video.as_str(), record, track, file)?;
                let at = |offset: u64| whole.start.saturating_add(offset).min(whole.end);
                let range = at(range.start)..at(range.end);
                all.push((key, (!range.is_empty()).then_some(range)?));
            }
            Some(all)
        };
        let known = self.known(video);
        let located = match known.as_ref().and_then(|r| r.record(number)) {
            Some(record) => ranges(record),
            None => self.record(video, number).await?.as_ref().and_then(ranges),
        };
        let Some(located) = located else { return Ok(None) };
        let Some((key, _)) = located.first() else { return Ok(Some(Vec::new())) };
        let ranges: Vec<Range<u64>> = located.iter().map(|(_, range)| range.clone()).collect();
        self.ranges(video, key, &ranges).await
    }

    /// Deletes a video that is over: gone from the index and from here at once, its disk space when
    /// this returns.
    pub async fn delete(&self, video: &VideoUid, now_ms: u64) -> Result<(), DeleteError> {
        self.control.delete_video(video, now_ms).await?;
        self.forget(video);
        self.free(video).await?;
        self.control.forget(video).await.map_err(DocumentError::from)?;
        Ok(())
    }

    async fn free(&self, video: &VideoUid) -> Result<(), store::DeleteError> {
        let listeners = self.listeners().clone();
        for tell in listeners {
            tell(video);
        }
        self.store.delete_video(video.as_str()).await
    }

    /// Frees the disk of videos that were deleted before a crash, or while the store failed: of all of which it can be
    /// done, also behind one that fails. A database that refuses is asked once.
    pub async fn finish_deletions(&self) -> Result<usize, DeleteError> {
        let doomed = self.control.doomed().await.map_err(DocumentError::from)?;
        let (mut media, mut index) = (None, None);
        for video in &doomed {
            match self.free(video).await {
                Err(error) => media = media.or(Some(error)),
                Ok(()) if index.is_none() => index = self.control.forget(video).await.err(),
                Ok(()) => {}
            }
        }
        let index = index.map(|error| DocumentError::from(error).into());
        index.or(media.map(DeleteError::from)).map_or(Ok(doomed.len()), Err)
    }

    /// The objects that the index names for a video: its segments, and the sealed pages of the index itself. Empty if there
    /// is no such video.
    pub async fn named(&self, video: &VideoUid) -> Result<BTreeSet<Key>, HistoryError> {
        match self.recording(video).await? {
            Some(recording) => self.named_by(&recording).await,
            None => Ok(BTreeSet::new()),
        }
    }

    /// The same for a copy: where a page of the index is lost or damaged it is not known what that names, and these are all objects that there
    /// are of the video. Whether that is so.
    pub async fn named_or_there(
        &self,
        video: &VideoUid,
    ) -> Result<(BTreeSet<Key>, bool), HistoryError> {
        match self.named(video).await {
            Err(error) if error.is_loss() => {
                let there = self.store.list(video.as_str()).await;
                let there = there.map_err(|_| error)?;
                Ok((there.into_iter().map(|(key, _)| key).collect(), true))
            }
            named => Ok((named?, false)),
        }
    }

    /// How many bytes each object of its segments has.
    pub async fn sizes(&self, video: &VideoUid) -> Result<BTreeMap<Key, u64>, HistoryError> {
        let recording = self.recording(video).await?;
        Ok(recording.iter().flat_map(|recording| recording.sizes()).collect())
    }

    async fn named_by(&self, recording: &Recording) -> Result<BTreeSet<Key>, HistoryError> {
        let video = &recording.video.uid;
        let index = self.control.committed_index(video, 0..u64::MAX >> 1).await?;
        let mut named: BTreeSet<Key> = recording.objects_of(&index.tail).collect();
        for captions in recording.video.settings.captions.values() {
            named.insert(captions::key(video, captions)?);
        }
        for page in index.pages {
            // What one that is lost names is not known, and no orphan.
            named.extend(recording.objects_of(&self.sealed(&page).await?));
            named.insert(Key::parse(&page.object)?);
        }
        Ok(named)
    }

    /// Objects of this video may be stored from now on. Until [`History::tidy`] has looked for those that
    /// nothing names, this is remembered, also over a crash.
    pub async fn expect_objects(&self, video: &VideoUid) -> Result<(), DeleteError> {
        self.control.put_document(untidy(video)?, Bytes::new(), Expect::Any).await?;
        Ok(())
    }

    /// Deletes what nothing names of a video that is over, and remembers that this was done. Answers how
    /// many objects there were.
    pub async fn tidy(&self, video: &VideoUid) -> Result<usize, HistoryError> {
        let orphans = self.collect_orphans(video).await?;
        self.state().left.remove(video);
        match self.control.delete_document(untidy(video)?, Expect::Any).await {
            Ok(()) | Err(DocumentError::NotFound) => Ok(orphans),
            Err(error) => Err(error.into()),
        }
    }

    /// Tidies what is left of clips that nobody waited for. Answers how many objects nothing named.
    pub async fn tidy_clips(&self) -> Result<usize, HistoryError> {
        let left = self.state().left.clone();
        let (mut orphans, mut failed) = (0, None);
        for video in &left {
            match self.tidy(video).await {
                Ok(found) => orphans += found,
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(orphans), Err)
    }

    /// Tidies the videos that ended while nobody could: before a crash, or while the store failed.
    /// Answers how many objects nothing named.
    pub async fn tidy_left(&self) -> Result<usize, HistoryError> {
        let (mut orphans, mut failed, mut after) = (0, None, String::new());
        loop {
            let left = self.control.documents(UNTIDY, &after).await?;
            let Some(last) = left.last() else { return failed.map_or(Ok(orphans), Err) };
            after = last.key.id().to_owned();
            for document in &left {
                let Ok(video) = VideoUid::parse(document.key.id()) else { continue };
                let live = self.control.video(&video).await?.is_some_and(|v| v.live());
                if live || self.state().making.contains(&video) {
                    continue;
                }
                match self.tidy(&video).await {
                    Ok(found) => orphans += found,
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
        }
    }

    /// Deletes objects of a video that is over which its index does not name: puts whose answer was lost,
    /// what an owner left that was fenced. Answers how many there were.
    async fn collect_orphans(&self, video: &VideoUid) -> Result<usize, HistoryError> {
        let _naming = self.naming.lock().await;
        let Some(recording) = self.recording(video).await? else {
            // It ended before anything was committed: what was stored is no video's.
            let stored = self.store.list(video.as_str()).await?.len();
            self.store.delete_video(video.as_str()).await?;
            return Ok(stored);
        };
        if recording.video.live() {
            return Ok(0);
        }
        let named = self.named_by(&recording).await?;
        let mut orphans = 0;
        for (key, _) in self.store.list(video.as_str()).await? {
            if !named.contains(&key) {
                self.store.delete(&key).await?;
                orphans += 1;
            }
        }
        Ok(orphans)
    }

    /// What was read of a video is no longer true: it was changed, ended or deleted. That some of its objects are gone stays so.
    pub fn forget(&self, video: &VideoUid) {
        let recordings = &mut self.state().recordings;
        match recordings.get_mut(video) {
            Some(kept) if kept.gone => *kept = Kept::new(kept.used, true),
            _ => _ = recordings.remove(video),
        }
    }

    /// What is in memory of a video, however old: what is committed does not change.
    fn known(&self, video: &VideoUid) -> Option<Arc<Recording>> {
        let cell = self.state().recordings.get(video)?.cell.clone();
        cell.get()?.clone()
    }

    fn cell(&self, video: &VideoUid) -> Arc<OnceCell<Option<Arc<Recording>>>> {
        let now = Instant::now();
        let mut state = self.state();
        state.clock += 1;
        let used = state.clock;
        let kept = state.recordings.entry(video.clone()).or_insert_with(|| Kept::new(used, false));
        if kept.is_stale(now) {
            *kept = Kept::new(used, kept.gone);
        }
        kept.used = used;
        kept.cell.clone()
    }

    /// Forgets what was not used for longest, beyond the bounds.
    fn trim(&self) {
        let mut state = self.state();
        loop {
            let size =
                |kept: &Kept| kept.cell.get().and_then(Option::as_ref).map_or(0, |r| r.segments());
            let segments: usize = state.recordings.values().map(size).sum();
            let count = state.recordings.len();
            if count <= 1 || (count <= RECORDINGS && segments <= RECORDING_SEGMENTS) {
                return;
            }
            let oldest = state.recordings.iter().min_by_key(|(_, kept)| kept.used);
            let Some(oldest) = oldest.map(|(video, _)| video.clone()) else { return };
            state.recordings.remove(&oldest);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
