//! Where the media of a file comes from: memory, while it has it, else the recording.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use control::VideoUid;
use package::clip::{Outline, PartRef, Piece, Plan, Planner, Refused, Wanted};
use record::{File, History, Recording};
use spine::{Location, Payload};

use crate::body::Pieces;
use crate::library::{Found, Library};
use crate::shelf::Shelf;
use crate::waiting::Busy;

/// A broadcast or a recording to cut from.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) video: VideoUid,
    history: Arc<History>,
    from: From,
}

#[derive(Clone)]
enum From {
    /// Its newest segments are in memory, perhaps all of them.
    Shelf(Arc<Shelf>),
    Recording(Arc<Recording>),
}

/// Why there is no file.
#[derive(Debug)]
pub(crate) enum Failed {
    /// It can't be made.
    Refused(Refused),
    /// Something of it is not there any more.
    Gone,
    /// The node is stopping.
    Busy,
    /// Too many wait already.
    Full(Busy),
}

impl Source {
    /// What an id stands for, if there is something to cut from.
    pub(crate) fn of(library: &Library, found: Found) -> Option<Self> {
        let history = library.history().clone();
        let (video, from) = match found {
            Found::Shelf { shelf, .. } => {
                (VideoUid::parse(&shelf.about().video).ok()?, From::Shelf(shelf))
            }
            Found::Recording { recording, .. } => {
                (recording.video.uid.clone(), From::Recording(recording))
            }
            Found::OffAir { .. } | Found::Nothing | Found::Unknown => return None,
        };
        Some(Self { video, history, from })
    }

    /// Plans a file. The index is looked at once; the heads of its parts are read segment by segment.
    pub(crate) async fn plan(&self, wanted: Wanted) -> Result<(Plan, bool), Failed> {
        let outline = match &self.from {
            From::Shelf(shelf) => shelf.with_index(|index| Outline::new(index, wanted)),
            From::Recording(recording) => Outline::new(&recording.index, wanted),
        };
        let outline = outline.map_err(Failed::Refused)?;
        let mut inits = Vec::with_capacity(outline.tracks.len());
        for track in &outline.tracks {
            inits.push(self.init(&track.name, track.init).await.ok_or(Failed::Gone)?);
        }
        let mut planner = Planner::new(outline, &inits).map_err(Failed::Refused)?;
        while let Some((parts, bytes)) = planner.wanted() {
            let heads = self.heads(planner.outline(), parts, bytes).await?;
            planner.take(&heads).map_err(Failed::Refused)?;
        }
        planner.finish().map_err(Failed::Refused)
    }

    async fn heads(
        &self,
        outline: &Outline,
        parts: &[PartRef],
        bytes: u64,
    ) -> Result<Vec<Bytes>, Failed> {
        let name = |track: usize| outline.tracks.get(track).map_or("", |t| &t.name);
        let wanted = parts.iter().map(|p| Want {
            track: name(p.track),
            epoch: p.epoch,
            segment: p.segment,
            part: p.part,
            range: 0..bytes.min(p.bytes),
        });
        let read = self.read(&wanted.collect::<Vec<_>>()).await.ok_or(Failed::Gone)?;
        Ok(read.into_iter().map(joined).collect())
    }

    /// The bytes of pieces of one segment.
    pub(crate) async fn pieces(&self, tracks: &[String], pieces: &[Piece]) -> Option<Vec<Bytes>> {
        let wanted = pieces.iter().map(|p| Want {
            track: tracks.get(p.track).map_or("", String::as_str),
            epoch: p.epoch,
            segment: p.segment,
            part: p.part,
            range: p.start..p.start + p.len,
        });
        let read = self.read(&wanted.collect::<Vec<_>>()).await?;
        let len = |chunks: &Vec<Bytes>| chunks.iter().map(|c| c.len() as u64).sum::<u64>();
        let whole = read.iter().zip(pieces).all(|(chunks, piece)| len(chunks) == piece.len);
        whole.then(|| read.into_iter().flatten().collect())
    }

    /// Reads of parts of one segment. All or nothing.
    async fn read(&self, wanted: &[Want<'_>]) -> Option<Vec<Vec<Bytes>>> {
        let first = wanted.first()?;
        if let From::Shelf(shelf) = &self.from {
            let held: Option<Vec<Vec<Bytes>>> = wanted.iter().map(|w| w.in_memory(shelf)).collect();
            if held.is_some() {
                return held;
            }
        }
        let stored: Vec<(&str, u64, Range<u64>)> =
            wanted.iter().map(|w| (w.track, w.part, w.range.clone())).collect();
        let read = self.history.parts(&self.video, first.epoch, first.segment, &stored).await;
        let read = read.unwrap_or_else(|error| {
            tracing::warn!(video = %self.video, %error, "can't read a recording");
            None
        });
        Some(read?.into_iter().map(|bytes| vec![bytes]).collect())
    }

    async fn init(&self, track: &str, id: u64) -> Option<Bytes> {
        if let From::Shelf(shelf) = &self.from
            && let Some(pieces) = shelf.init(id)
        {
            return Some(joined(pieces));
        }
        let read = self.history.file(&self.video, track, File::Init(id)).await;
        read.ok().flatten()
    }
}

/// Bytes of one part.
struct Want<'a> {
    track: &'a str,
    epoch: u64,
    segment: u64,
    part: u64,
    range: Range<u64>,
}

impl Want<'_> {
    /// By reference.
    fn in_memory(&self, shelf: &Shelf) -> Option<Vec<Bytes>> {
        let epoch = shelf.with_index(|index| {
            Some(index.rendition(self.track)?.segment(self.segment)?.info.epoch)
        });
        if epoch != Some(self.epoch) {
            return None;
        }
        let at = Location { group: self.segment, object: self.part };
        let object = shelf.track(self.track)?.object(at).ok()?;
        let pieces = Pieces::new(object.whole()?.into_iter().map(Payload::into_bytes));
        let Range { start, end } = self.range;
        Some(pieces.cut(start, end - start).into_iter().collect())
    }
}

fn joined(mut pieces: Vec<Bytes>) -> Bytes {
    if pieces.len() == 1 {
        return pieces.remove(0);
    }
    let mut all = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    pieces.iter().for_each(|piece| all.extend_from_slice(piece));
    all.freeze()
}
