//! What levels and pictures are made of: a broadcast on the air, or a recording.

use std::sync::Arc;

use bytes::Bytes;
use encode::{Answer, Original, OriginalPart, OriginalSegment, Unreadable};
use package::{Index, Segment};
use record::{File, History, Recording};
use spine::Payload;

use crate::limits::ORIGINAL_WAIT;
use crate::shelf::Shelf;
use crate::waiting::{Awaited, Waiter, wait_for};

/// What levels and pictures of a broadcast on the air are made of.
pub(crate) fn original_of(shelf: &Arc<Shelf>, track: &str) -> Arc<dyn Original> {
    Arc::new(OnAir { shelf: shelf.clone(), track: track.to_owned() })
}

/// The same of a recording.
pub(crate) fn recorded_original(
    history: &Arc<History>,
    recording: &Arc<Recording>,
    track: &str,
) -> Arc<dyn Original> {
    let (history, recording) = (history.clone(), recording.clone());
    Arc::new(Recorded { history, recording, track: track.to_owned() })
}

/// A track of a broadcast on the air.
struct OnAir {
    shelf: Arc<Shelf>,
    track: String,
}

fn known(segment: Option<&Segment>) -> Option<OriginalSegment> {
    segment.filter(|s| !s.info.gap).map(|s| OriginalSegment {
        init: s.info.init,
        epoch: s.info.epoch,
        independent: s.independent(),
        complete: s.complete,
        open: s.open,
        parts: s.parts.len(),
        bytes: s.bytes(),
        duration_ns: s.ns(s.duration()),
    })
}

impl Original for OnAir {
    fn video(&self) -> &str {
        &self.shelf.about().video
    }

    fn track(&self) -> &str {
        &self.track
    }

    fn is_kept(&self) -> bool {
        self.shelf.is_recorded()
    }

    fn segment(&self, number: u64) -> Option<OriginalSegment> {
        self.shelf.with_index(|index| known(index.rendition(&self.track)?.segment(number)))
    }

    fn is_ahead(&self, number: u64) -> bool {
        self.shelf.with_index(|index| is_ahead(index, &self.track, number))
    }

    fn part(&self, number: u64, part: usize) -> Answer<'_, OriginalPart> {
        Box::pin(async move {
            // A lost encoder may come back; then it is a next segment, and this one is ended.
            let found =
                wait_for(&self.shelf, Waiter::NODE, ORIGINAL_WAIT, Awaited::Change, |shelf| {
                    let look = shelf.with_index(|index| look(index, &self.track, number, part));
                    (!matches!(look, Look::Later)).then_some(look)
                });
            let Ok(Some(Look::There { epoch, duration, last })) = found.await else {
                return Ok(None);
            };
            let pieces = self.shelf.original_part(&self.track, epoch, number, part as u64).await?;
            Ok(pieces.map(|pieces| OriginalPart { pieces, duration, last }))
        })
    }

    fn init(&self, id: u64) -> Answer<'_, Bytes> {
        Box::pin(async move {
            match self.shelf.init(id) {
                Some(pieces) => Ok(Some(pieces.concat().into())),
                None => self.shelf.recorded(&self.track, File::Init(id)).await,
            }
        })
    }
}

enum Look {
    There { epoch: u64, duration: u32, last: bool },
    Later,
    Never,
}

fn is_ahead(index: &Index, track: &str, number: u64) -> bool {
    let newest = index.rendition(track).and_then(|rendition| rendition.segments.back());
    number > newest.map_or(0, |segment| segment.number) && !index.ended()
}

fn look(index: &Index, track: &str, number: u64, part: usize) -> Look {
    let Some(rendition) = index.rendition(track) else { return Look::Never };
    let Some(segment) = rendition.segment(number) else {
        return if is_ahead(index, track, number) { Look::Later } else { Look::Never };
    };
    match segment.parts.get(part) {
        Some(_) if segment.info.gap => Look::Never,
        Some(found) => Look::There {
            epoch: segment.info.epoch,
            duration: found.duration,
            last: segment.complete && part + 1 == segment.parts.len(),
        },
        None if segment.complete || index.ended() => Look::Never,
        None => Look::Later,
    }
}

/// A track of a recording.
struct Recorded {
    history: Arc<History>,
    recording: Arc<Recording>,
    track: String,
}

impl Recorded {
    async fn file(&self, file: File) -> Result<Option<Bytes>, Unreadable> {
        let video = &self.recording.video.uid;
        self.history.file(video, &self.track, file).await.map_err(|error| {
            tracing::warn!(%video, %error, "can't read a recording");
            Unreadable
        })
    }
}

impl Original for Recorded {
    fn video(&self) -> &str {
        self.recording.video.uid.as_str()
    }

    fn track(&self) -> &str {
        &self.track
    }

    fn is_kept(&self) -> bool {
        true
    }

    fn segment(&self, number: u64) -> Option<OriginalSegment> {
        known(self.recording.index.rendition(&self.track)?.segment(number))
    }

    fn part(&self, number: u64, part: usize) -> Answer<'_, OriginalPart> {
        Box::pin(async move {
            let look = look(&self.recording.index, &self.track, number, part);
            let Look::There { epoch, duration, last } = look else { return Ok(None) };
            let file = File::Part { epoch, number, part: part as u64 };
            let read = self.file(file).await?;
            Ok(read.map(|bytes| OriginalPart { pieces: vec![bytes], duration, last }))
        })
    }

    fn init(&self, id: u64) -> Answer<'_, Bytes> {
        Box::pin(self.file(File::Init(id)))
    }
}

impl Shelf {
    /// A part of the original, from memory or from the recording.
    async fn original_part(
        &self,
        track: &str,
        epoch: u64,
        number: u64,
        part: u64,
    ) -> Result<Option<Vec<Bytes>>, Unreadable> {
        let at = spine::Location { group: number, object: part };
        let here = self.track(track).and_then(|track| track.object(at).ok()?.whole());
        match here {
            Some(pieces) => Ok(Some(pieces.into_iter().map(Payload::into_bytes).collect())),
            None => {
                let file = File::Part { epoch, number, part };
                Ok(self.recorded(track, file).await?.map(|bytes| vec![bytes]))
            }
        }
    }
}
