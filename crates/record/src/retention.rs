//! Deleting what is too old or too much: records first, objects after, the oldest broadcast first.

use std::time::Duration;

use control::{DocumentError, EngineError, InputUid, Page, VideoFilter, VideoUid};

use crate::history::{DeleteError, History};
use crate::limits::PASS_DELETES;

/// What is kept. None: without end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// How long after their end.
    pub max_age: Option<Duration>,
    /// The recordings of each input that has no bound of its own.
    pub max_input_bytes: Option<u64>,
    /// All recordings together.
    pub max_total_bytes: Option<u64>,
    /// What must stay free on the disk.
    pub min_free_bytes: Option<u64>,
}

/// What a pass did.
#[derive(Debug, Default)]
pub struct Pass {
    /// Videos that were deleted, and the reason in a word.
    pub deleted: Vec<(VideoUid, &'static str)>,
    /// What came of those that were deleted for free space.
    pub freed: Option<Freed>,
    /// The first thing that failed. One video that can't be deleted is not the end of a pass.
    pub failed: Option<DeleteError>,
}

/// What deleting for free space was to give, and gave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freed {
    /// Bytes of the videos that were deleted.
    pub deleted: u64,
    /// Bytes of the videos that are gone from the index, while their media could not be deleted.
    pub stuck: u64,
    /// Bytes that are free now and were not before, or were written to meanwhile.
    pub gained: u64,
}

/// What became of a video that was to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Deleted,
    /// It is gone from the index, and its media has still to go.
    Stuck,
    Kept,
}

impl Retention {
    /// Deletes what has to go now: videos whose own time has come, then by age, size of an input's, total
    /// size and free space. A broadcast on the air is never deleted.
    pub async fn pass(&self, history: &History, now_ms: u64) -> Pass {
        let mut pass = Pass::default();
        let done = self.rules(history, now_ms, &mut pass).await;
        pass.note(done);
        pass
    }

    /// A database that refuses ends it: others need its one writer.
    async fn rules(
        &self,
        history: &History,
        now_ms: u64,
        pass: &mut Pass,
    ) -> Result<(), DeleteError> {
        match history.finish_deletions().await {
            Err(error @ DeleteError::Document(_)) => return Err(error),
            done => pass.note(done.map(drop)),
        }
        if let Err(error) = history.tidy_clips().await {
            tracing::warn!(%error, "orphans of clips stay for now");
        }
        self.end_times(history, now_ms, pass).await?;
        self.bound_inputs(history, now_ms, pass).await?;
        self.bound_total(history, now_ms, pass).await?;
        self.keep_free(history, now_ms, pass).await
    }

    async fn end_times(
        &self,
        history: &History,
        now_ms: u64,
        pass: &mut Pass,
    ) -> Result<(), DeleteError> {
        let due = history.control().due_videos(now_ms).await.map_err(DocumentError::from)?;
        for video in due {
            pass.delete(history, video, now_ms, "due").await?;
        }
        let Some(age) = self.max_age else { return Ok(()) };
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let before = Some(now_ms.saturating_sub(age_ms));
        for video in oldest(history, None, before).await.map_err(DocumentError::from)? {
            pass.delete(history, video, now_ms, "age").await?;
        }
        Ok(())
    }

    async fn bound_inputs(
        &self,
        history: &History,
        now_ms: u64,
        pass: &mut Pass,
    ) -> Result<(), DeleteError> {
        let control = history.control();
        for usage in control.usage().await.map_err(DocumentError::from)? {
            let bound = usage.max_bytes.or(self.max_input_bytes).filter(|_| !usage.clips);
            let Some(max) = bound else { continue };
            let mut over = usage.bytes.saturating_sub(max);
            if over == 0 {
                continue;
            }
            let old =
                oldest(history, Some(usage.input), None).await.map_err(DocumentError::from)?;
            for video in old {
                if over == 0 || pass.deleted.len() >= PASS_DELETES {
                    break;
                }
                let size = control.video(&video).await.map_err(DocumentError::from)?;
                if pass.delete(history, video, now_ms, "size of the input's").await? != Fate::Kept {
                    over = over.saturating_sub(size.map_or(0, |video| video.bytes));
                }
            }
        }
        Ok(())
    }

    async fn bound_total(
        &self,
        history: &History,
        now_ms: u64,
        pass: &mut Pass,
    ) -> Result<(), DeleteError> {
        let Some(max) = self.max_total_bytes else { return Ok(()) };
        let usage = history.control().usage().await.map_err(DocumentError::from)?;
        let total: u64 = usage.iter().map(|u| u.bytes).sum();
        let (over, mut of) = (total.saturating_sub(max), Freed::default());
        pass.delete_oldest(history, over, now_ms, "total size", &mut of).await
    }

    /// What is missing is asked for once: a deletion may free nothing, or not yet.
    async fn keep_free(
        &self,
        history: &History,
        now_ms: u64,
        pass: &mut Pass,
    ) -> Result<(), DeleteError> {
        let store = history.store();
        let Some((min, before)) = self.min_free_bytes.zip(store.free_bytes()) else {
            return Ok(());
        };
        let (stored, short) = (store.stored_bytes(), min.saturating_sub(before));
        let mut freed = Freed::default();
        let done = pass.delete_oldest(history, short, now_ms, "free space", &mut freed).await;
        if freed != Freed::default() {
            let written = store.stored_bytes() - stored;
            let after = store.free_bytes().unwrap_or(before).saturating_add(written);
            pass.freed = Some(Freed { gained: after.saturating_sub(before), ..freed });
        }
        done
    }
}

impl Pass {
    /// Deletes the oldest videos until they have so many bytes together, and counts them.
    async fn delete_oldest(
        &mut self,
        history: &History,
        over: u64,
        now_ms: u64,
        why: &'static str,
        freed: &mut Freed,
    ) -> Result<(), DeleteError> {
        if over == 0 {
            return Ok(());
        }
        for video in oldest(history, None, None).await.map_err(DocumentError::from)? {
            if freed.deleted + freed.stuck >= over || self.deleted.len() >= PASS_DELETES {
                break;
            }
            let found = history.control().video(&video).await.map_err(DocumentError::from)?;
            let bytes = found.map_or(0, |video| video.bytes);
            match self.delete(history, video, now_ms, why).await? {
                Fate::Deleted => freed.deleted += bytes,
                Fate::Stuck => freed.stuck += bytes,
                Fate::Kept => {}
            }
        }
        Ok(())
    }

    /// Only a database that refuses is an error.
    async fn delete(
        &mut self,
        history: &History,
        video: VideoUid,
        now_ms: u64,
        why: &'static str,
    ) -> Result<Fate, DeleteError> {
        let deleted = history.delete(&video, now_ms).await;
        let fate = match &deleted {
            Ok(()) => Fate::Deleted,
            Err(DeleteError::Media(_)) => Fate::Stuck,
            Err(DeleteError::Document(DocumentError::Engine(_))) => {
                return deleted.map(|()| Fate::Kept);
            }
            // Its owner was faster.
            Err(DeleteError::Document(DocumentError::NotFound)) => return Ok(Fate::Kept),
            Err(DeleteError::Document(_)) => Fate::Kept,
        };
        self.note(deleted);
        if fate != Fate::Kept {
            self.deleted.push((video, why));
        }
        Ok(fate)
    }

    fn note(&mut self, done: Result<(), DeleteError>) {
        self.failed = self.failed.take().or(done.err());
    }
}

/// Videos that are over, the oldest first.
async fn oldest(
    history: &History,
    input: Option<InputUid>,
    ended_before_ms: Option<u64>,
) -> Result<Vec<VideoUid>, EngineError> {
    // What an input's owner bounds are broadcasts: a clip was made to stay.
    let clips = input.is_some().then_some(false);
    let filter =
        VideoFilter { input, live: Some(false), ended_before_ms, clips, ..VideoFilter::default() };
    let page = Page { newest_first: false, ..Page::default() };
    let list = history.control().videos(filter, page).await?;
    Ok(list.rows.into_iter().map(|video| video.uid).collect())
}
