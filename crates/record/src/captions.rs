//! Captions that were added to a recording: an object beside its segments, named in its document.

use bytes::Bytes;
use control::{Captions, DocumentError, EngineError, Video, VideoChange, VideoSettings, VideoUid};
use store::{Key, Kind, Object, ReadError};

use crate::history::{DeleteError, History, HistoryError};
use crate::limits::CAPTIONS_LANGUAGES;

/// Why captions were not stored.
#[derive(Debug, thiserror::Error)]
pub enum CaptionsError {
    /// The broadcast is not over.
    #[error("the broadcast is not over")]
    Live,
    /// More languages than a video has.
    #[error("a video has captions in at most {CAPTIONS_LANGUAGES} languages")]
    TooMany,
    /// The video's document.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The object.
    #[error(transparent)]
    Store(#[from] store::PutError),
    /// It can't be remembered that an object is on its way.
    #[error(transparent)]
    Expect(#[from] DeleteError),
}

impl From<EngineError> for CaptionsError {
    fn from(error: EngineError) -> Self {
        Self::Document(error.into())
    }
}

fn room_for(settings: &VideoSettings, language: &str) -> Result<(), CaptionsError> {
    let known = settings.captions.contains_key(language);
    let room = known || settings.captions.len() < CAPTIONS_LANGUAGES;
    room.then_some(()).ok_or(CaptionsError::TooMany)
}

impl History {
    /// Stores captions in the place of those before. `random` makes the object's name unique. When this returns, they are
    /// durable.
    pub async fn put_captions(
        &self,
        video: &Video,
        language: &str,
        label: String,
        text: Bytes,
        random: u64,
        now_ms: u64,
    ) -> Result<Video, CaptionsError> {
        if video.live() {
            return Err(CaptionsError::Live);
        }
        room_for(&video.settings, language)?;
        let object = Object {
            video: video.uid.to_string(),
            kind: Kind::Captions,
            epoch: 0,
            number: 0,
            random,
        };
        let key = Key::new(&object).map_err(|_| DocumentError::NotFound)?;
        let captions = Captions { label, object: random, bytes: text.len() as u64 };
        self.expect_objects(&video.uid).await?;
        // Who looks for orphans meanwhile takes it for one.
        let naming = self.naming.lock().await;
        self.store().put(&key, vec![text]).await?;
        let language = language.to_owned();
        let named = move |settings: &mut VideoSettings| {
            // Others may have been added meanwhile.
            room_for(settings, &language)?;
            settings.captions.insert(language, captions);
            Ok(())
        };
        let video = self.change(video, named, now_ms).await?;
        drop(naming);
        self.tidy_later(&video).await;
        Ok(video)
    }

    /// Deletes captions.
    pub async fn delete_captions(
        &self,
        video: &Video,
        language: &str,
        now_ms: u64,
    ) -> Result<(), CaptionsError> {
        self.expect_objects(&video.uid).await?;
        let language = language.to_owned();
        let removed = move |settings: &mut VideoSettings| {
            settings.captions.remove(&language);
            Ok(())
        };
        let video = self.change(video, removed, now_ms).await?;
        self.tidy_later(&video).await;
        Ok(())
    }

    /// The text of captions; none if there are none in this language.
    pub async fn captions(
        &self,
        video: &Video,
        language: &str,
    ) -> Result<Option<Bytes>, HistoryError> {
        let Some(captions) = video.settings.captions.get(language) else { return Ok(None) };
        self.captions_of(&video.uid, captions).await
    }

    /// The text of these captions of a video; none if they are gone.
    pub(crate) async fn captions_of(
        &self,
        video: &VideoUid,
        captions: &Captions,
    ) -> Result<Option<Bytes>, HistoryError> {
        let key = key(video, captions)?;
        match self.store().read(&key).await {
            Ok(text) => Ok(Some(text)),
            Err(ReadError::NotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn change(
        &self,
        video: &Video,
        change: impl FnOnce(&mut VideoSettings) -> Result<(), CaptionsError> + Send + 'static,
        now_ms: u64,
    ) -> Result<Video, CaptionsError> {
        let change = |_: &Video, to: &mut VideoChange| change(&mut to.settings);
        let changed = self.control().change_video(&video.uid, change, now_ms).await;
        self.forget(&video.uid);
        changed
    }

    /// What was replaced or not named is an orphan now. If it can't be deleted, it is remembered.
    async fn tidy_later(&self, video: &Video) {
        if let Err(error) = self.tidy(&video.uid).await {
            tracing::warn!(video = %video.uid, %error, "orphans stay for now");
        }
    }
}

/// The object of captions.
pub(crate) fn key(video: &VideoUid, captions: &Captions) -> Result<Key, store::NotAKey> {
    let (uid, random) = (video.to_string(), captions.object);
    Key::new(&Object { video: uid, kind: Kind::Captions, epoch: 0, number: 0, random })
}
