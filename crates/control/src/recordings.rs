//! The part of [`Control`] that deals with recordings: the index and the videos.

use std::ops::Range;

use bytes::Bytes;

use crate::control::Control;
use crate::error::{CommitError, DocumentError, EngineError, SealError};
use crate::ids::{Expect, VideoUid};
use crate::index::{Committed, CommittedError, Head, PageRef, UnsealedPage, Usage};
use crate::input::{List, Page};
use crate::ownership::Owned;
use crate::page;
use crate::record::SegmentRecord;
use crate::sqlite::{index, videos};
use crate::video::{NewClip, Video, VideoChange, VideoFilter};

impl Control {
    /// Commits segments whose objects are in the store, and gaps. Numbers rise by one, from
    /// [`Claimed::gap`](crate::Claimed::gap) on. Repeating a record is a success, so whoever got no
    /// answer asks again. `reserve_to` is the newest number that viewers are about to see (the one
    /// that is being made); the one above the last committed is reserved in any case.
    pub async fn commit(
        &self,
        owned: &Owned,
        records: Vec<SegmentRecord>,
        reserve_to: u64,
    ) -> Result<Head, CommitError> {
        let owned = owned.clone();
        self.engine.write(move |db| index::commit(db, &owned, &records, reserve_to)).await
    }

    /// The oldest records of a broadcast that fill a page, if there are enough.
    pub async fn unsealed_page(
        &self,
        video: &VideoUid,
    ) -> Result<Option<UnsealedPage>, EngineError> {
        let video = video.clone();
        self.engine.read(move |db| index::unsealed(db, &video)).await
    }

    /// Replaces a page's records by its object, which the store has under the key `object`. When the
    /// broadcast is over, anybody may; until then only its owner.
    pub async fn seal_page(
        &self,
        owned: &Owned,
        page: UnsealedPage,
        object: &str,
    ) -> Result<(), SealError> {
        let (owned, object) = (owned.clone(), object.to_owned());
        self.engine.write(move |db| index::seal(db, &owned, &page, &object)).await
    }

    /// What is committed of these numbers: sealed pages by name, and the records above them.
    pub async fn committed_index(
        &self,
        video: &VideoUid,
        numbers: Range<u64>,
    ) -> Result<Committed, EngineError> {
        let video = video.clone();
        self.engine.read(move |db| index::committed(db, &video, &numbers)).await
    }

    /// The committed records of these numbers, in order. `fetch` reads a page from the store; a page
    /// never changes, so it may be kept.
    pub async fn committed<E>(
        &self,
        video: &VideoUid,
        numbers: Range<u64>,
        fetch: impl AsyncFn(&PageRef) -> Result<Bytes, E>,
    ) -> Result<Vec<SegmentRecord>, CommittedError<E>> {
        let Committed { pages, tail } = self.committed_index(video, numbers.clone()).await?;
        let mut records = Vec::new();
        for page in pages {
            let bytes =
                fetch(&page).await.map_err(|e| CommittedError::Store(page.object.clone(), e))?;
            let sealed =
                page::decode(&bytes).map_err(|e| CommittedError::Page(page.object.clone(), e))?;
            records.extend(sealed.into_iter().filter(|r| numbers.contains(&r.number)));
        }
        records.extend(tail);
        Ok(records)
    }

    /// Keeps the broadcast's catalog with its video, for playing it later.
    pub async fn set_catalog(&self, owned: &Owned, catalog: Bytes) -> Result<(), CommitError> {
        let owned = owned.clone();
        self.engine.write(move |db| index::set_catalog(db, &owned, &catalog)).await
    }

    /// The catalog that was kept.
    pub async fn catalog(&self, video: &VideoUid) -> Result<Option<Bytes>, EngineError> {
        let video = video.clone();
        self.engine.read(move |db| index::catalog(db, &video)).await
    }

    /// Videos in the order in which their broadcasts began.
    pub async fn videos(
        &self,
        filter: VideoFilter,
        page: Page,
    ) -> Result<List<Video>, EngineError> {
        self.engine.read(move |db| videos::list(db, &filter, page)).await
    }

    /// Makes a clip a video, whole and at once. Its objects must be in the store.
    pub async fn create_clip(&self, clip: NewClip) -> Result<Video, DocumentError> {
        self.engine.write(move |db| videos::create_clip(db, &clip)).await
    }

    /// Changes some of what a video's owner chose, as [`Control::change_input`] does; `change` also sees the video.
    pub async fn change_video<E>(
        &self,
        uid: &VideoUid,
        change: impl FnOnce(&Video, &mut VideoChange) -> Result<(), E> + Send + 'static,
        now_ms: u64,
    ) -> Result<Video, E>
    where
        E: From<DocumentError> + From<EngineError> + Send + 'static,
    {
        let uid = uid.clone();
        self.engine.write(move |db| videos::change(db, &uid, change, now_ms)).await
    }

    /// Replaces what a video's owner chose, if its version is the expected one.
    pub async fn update_video(
        &self,
        uid: &VideoUid,
        expect: Expect,
        change: VideoChange,
        now_ms: u64,
    ) -> Result<Video, DocumentError> {
        let uid = uid.clone();
        self.engine.write(move |db| videos::update(db, &uid, expect, &change, now_ms)).await
    }

    /// Deletes a video whose broadcast is over: it is gone from the index at once. Its objects (all
    /// that the store has of this video, orphans and pages included) are the caller's to delete;
    /// [`Control::doomed`] remembers it until [`Control::forget`], over a crash too.
    pub async fn delete_video(&self, uid: &VideoUid, now_ms: u64) -> Result<(), DocumentError> {
        let uid = uid.clone();
        self.engine.write(move |db| videos::delete(db, &uid, now_ms)).await
    }

    /// Deleted videos whose objects may still be there, the longest first.
    pub async fn doomed(&self) -> Result<Vec<VideoUid>, EngineError> {
        self.engine.read(videos::doomed).await
    }

    /// The objects of a deleted video are gone.
    pub async fn forget(&self, uid: &VideoUid) -> Result<(), EngineError> {
        let uid = uid.clone();
        self.engine.write(move |db| videos::forget(db, &uid)).await
    }

    /// Videos whose time to be deleted has come, the most overdue first; at most
    /// [`crate::limits::LIST_ROWS`].
    pub async fn due_videos(&self, now_ms: u64) -> Result<Vec<VideoUid>, EngineError> {
        self.engine.read(move |db| videos::due(db, now_ms)).await
    }

    /// What each input's videos take up.
    pub async fn usage(&self) -> Result<Vec<Usage>, EngineError> {
        self.engine.read(videos::usage).await
    }
}
