//! Pictures of a video (`/ID/thumbnails/`): thumbnails, films, and the storyboard with its sheets. Made when they are asked for.

mod query;
mod storyboard;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use access::Pass;
use axum::body::Body;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use encode::limits::SHEET_SIDE;
use encode::{Failed, Fit, Original, Picture, Renditions, Size, What};
use package::{Index, Segment};
use record::Recording;

use crate::http::{SHARED_MOMENT, Site, cors, not_now, plain, text, too_busy};
use crate::level_files::parked;
use crate::levels::ORIGINAL;
use crate::library::{Found, Library};
use crate::limits::{POSTER_SEGMENTS, STORYBOARD_SIDE};
use crate::media::IMMUTABLE;
use crate::originals::{original_of, recorded_original};
use crate::playlist::{bad_request, not_found};
use crate::ranges::ranged;
use crate::shelf::{Counters, Shelf};
use crate::waiting::Waiter;
pub(crate) use query::Asked;
use query::Sheet;

const NONE: &str = "there are no pictures on this server: it has no encoder program (airwave-encode), or encode.pictures is off";

/// What a storyboard's pictures are within: enough to tell what is going on.
const TILE: Size =
    Size { width: Some(STORYBOARD_SIDE), height: Some(STORYBOARD_SIDE), fit: Fit::Clip };

/// `/ID/thumbnails/FILE`.
pub(crate) async fn file(
    State(site): State<Arc<Site>>,
    Extension(pass): Extension<Pass>,
    Extension(waiter): Extension<Waiter>,
    Path((_, file)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let asked = match Asked::parse(&file, query.as_deref().unwrap_or_default()) {
        Ok(Some(asked)) => asked,
        Ok(None) => {
            return not_found("no such file: thumbnail.jpg, thumbnail.gif and storyboard.vtt");
        }
        Err(words) => return bad_request(&words),
    };
    let Some(renditions) = site.library.levels().pictures() else {
        return plain(StatusCode::NOT_IMPLEMENTED, NONE);
    };
    let found = site.library.find(&pass.id).await;
    if matches!(found, Found::Unknown) {
        return too_busy();
    }
    let Some(subject) = Subject::of(&site.library, found) else {
        return not_found("no such video, or not on the air");
    };
    let (what, size, cache) = match asked {
        Asked::Storyboard => return subject.storyboard().await,
        Asked::Thumbnail { at_ms, size } => (subject.thumbnail(at_ms), size, subject.cache(at_ms)),
        Asked::Film { at_ms, duration_ms, every_ms, size } => {
            (subject.film(at_ms, duration_ms, every_ms), size, subject.cache(at_ms))
        }
        Asked::Sheet(sheet) => (subject.sheet(sheet), TILE, IMMUTABLE),
    };
    match what {
        Ok(what) => {
            let (picture, places) = (Picture { size, what }, (site.library.counters(), waiter));
            Box::pin(draw(renditions, &subject, &picture, places, cache, &headers)).await
        }
        Err(words) => not_found(words),
    }
}

async fn draw(
    renditions: &Arc<Renditions>,
    subject: &Subject,
    picture: &Picture,
    (counters, waiter): (&Arc<Counters>, Waiter),
    cache: &'static str,
    headers: &HeaderMap,
) -> Response {
    let made = match renditions.picture_for(&subject.original, picture, waiter.address()) {
        Ok(made) => made,
        Err(_) => return too_busy(),
    };
    let drawn = match parked(counters, waiter, made.part(0)).await {
        Ok(drawn) => drawn,
        Err(busy) => return *busy,
    };
    let bytes = match drawn {
        Ok(Some(pieces)) => Bytes::from(pieces.concat()),
        Ok(None) | Err(Failed::NoOriginal) => return not_found("there is no picture there"),
        Err(Failed::Busy | Failed::Store) => return too_busy(),
        Err(Failed::Program) => {
            return not_now("there is no encoder now", encode::limits::PROGRAM_AGAIN);
        }
        // Whoever asks before then hears the same.
        Err(Failed::Encoder) => {
            let words = "this picture can't be drawn";
            return not_now(words, encode::limits::FAILED_KEPT);
        }
    };
    let mut hash = DefaultHasher::new();
    bytes.hash(&mut hash);
    let kind = match picture.what {
        What::Film { .. } => "image/gif",
        _ => "image/jpeg",
    };
    let base = cors().header(header::CACHE_CONTROL, cache).header(header::CONTENT_TYPE, kind);
    ranged(base, &format!("{:016x}", hash.finish()), bytes.len() as u64, headers, |start, len| {
        let range = usize::try_from(start).unwrap_or(0)..usize::try_from(start + len).unwrap_or(0);
        Body::from(bytes.slice(range))
    })
}

/// What pictures are of.
struct Subject {
    original: Arc<dyn Original>,
    from: From,
    by_input: bool,
}

enum From {
    Shelf(Arc<Shelf>),
    Recording(Arc<Recording>),
}

impl Subject {
    fn of(library: &Library, found: Found) -> Option<Self> {
        match found {
            Found::Shelf { shelf, by_input } => Some(Self {
                original: original_of(&shelf, ORIGINAL),
                from: From::Shelf(shelf),
                by_input,
            }),
            Found::Recording { recording, by_input } => {
                let original = recorded_original(library.history(), &recording, ORIGINAL);
                Some(Self { original, from: From::Recording(recording), by_input })
            }
            Found::OffAir { .. } | Found::Nothing | Found::Unknown => None,
        }
    }

    fn with_index<R>(&self, f: impl FnOnce(&Index) -> R) -> R {
        match &self.from {
            From::Shelf(shelf) => shelf.with_index(f),
            From::Recording(recording) => f(&recording.index),
        }
    }

    fn live(&self) -> bool {
        match &self.from {
            From::Shelf(shelf) => shelf.live(),
            From::Recording(recording) => recording.video.live(),
        }
    }

    /// Where its thumbnail is taken from unless a time is asked for, from 0 to 1. None: where it is at.
    fn share(&self) -> Option<f64> {
        match &self.from {
            From::Recording(recording) if !recording.video.live() => {
                Some(recording.video.settings.thumbnail_timestamp_pct.unwrap_or(0.0))
            }
            _ => None,
        }
    }

    /// An input's picture is another one with its next broadcast; a video's stays, but it may be deleted.
    fn cache(&self, at_ms: Option<u64>) -> &'static str {
        match at_ms {
            Some(_) if !self.by_input => "public, max-age=3600",
            _ if self.live() || self.by_input => "public, max-age=5",
            // Its owner may choose another one.
            _ => "public, max-age=60",
        }
    }

    fn thumbnail(&self, at_ms: Option<u64>) -> Result<What, &'static str> {
        let share = self.share();
        self.with_index(|index| match (at_ms, share) {
            (None, None) => newest(index).map(What::Key),
            _ => {
                let at_ms = at_ms.map_or_else(|| begin(index, share), Ok)?;
                let (segment, at_ms) = place(index, at_ms)?;
                Ok(match at_ms {
                    0 if storyboard::has_key(segment) => What::Key(segment.number),
                    at_ms => What::Shown { segment: segment.number, at_ms },
                })
            }
        })
    }

    fn film(
        &self,
        at_ms: Option<u64>,
        duration_ms: u32,
        every_ms: u32,
    ) -> Result<What, &'static str> {
        let share = self.share();
        self.with_index(|index| {
            let at_ms = match (at_ms, share) {
                (Some(at_ms), _) => at_ms,
                (None, Some(_)) => begin(index, share)?,
                // What was just to be seen.
                (None, None) => {
                    let (from, to) = span(index)?;
                    to.saturating_sub(duration_ms.into()).max(from)
                }
            };
            let (segment, from_ms) = place(index, at_ms)?;
            let pictures = (duration_ms / every_ms).max(1);
            Ok(What::Film { segment: segment.number, from_ms, every_ms, pictures })
        })
    }

    fn sheet(&self, Sheet { every, from, to }: Sheet) -> Result<What, &'static str> {
        let step = usize::try_from(every).unwrap_or(usize::MAX);
        let keys = self.with_index(|index| {
            let key = |from| storyboard::first_key(index, from, every);
            let there = key(from).is_some() && key(to).is_some();
            // Where there is none a tile is left black.
            let tiles = (from..=to).step_by(step).map(|from| key(from).unwrap_or(from));
            there.then(|| tiles.collect())
        });
        keys.map(What::Sheet).ok_or("no longer, or not yet")
    }

    async fn storyboard(&self) -> Response {
        let cues = self.with_index(storyboard::cues);
        let mut tiles = BTreeMap::new();
        for pair in cues.chunk_by(|a, b| a.init == b.init) {
            let Some(init) = pair.first().map(|cue| cue.init) else { continue };
            if let Entry::Vacant(entry) = tiles.entry(init) {
                // Without it there are no tiles: what says so must not be kept.
                let Ok(bytes) = self.original.init(init).await else { return too_busy() };
                let config = bytes.and_then(|bytes| encode::config_of(&bytes));
                let tile = config.map(|config| TILE.tile(&config));
                entry.insert(tile.map(|tile| (tile.width, tile.height)));
            }
        }
        let tile = |init| tiles.get(&init).copied().flatten();
        let body = storyboard::render(&cues, SHEET_SIDE.into(), tile);
        // Nobody keeps what is deleted for long, and what grows not at all.
        let cache = if self.live() { SHARED_MOMENT } else { "max-age=60" };
        text("text/vtt; charset=utf-8", cache, body.into())
    }
}

const NO_PICTURE: &str = "there is no picture in it";
const NOT_THERE: &str = "there is nothing at that time";

/// The segment of the poster of what is on the air. Not simply the newest one: a poster a second is not worth it.
fn newest(index: &Index) -> Result<u64, &'static str> {
    let segments = &index.rendition(ORIGINAL).ok_or(NO_PICTURE)?.segments;
    let keys = || segments.iter().rev().filter(|s| s.independent() && !s.info.gap);
    let steady = keys().find(|s| s.number % POSTER_SEGMENTS == 0);
    let recent =
        |s: &&Segment| keys().next().is_some_and(|n| n.number - s.number < POSTER_SEGMENTS);
    let found = steady.filter(recent).or_else(|| keys().next());
    found.map(|s| s.number).ok_or("there is no picture yet")
}

/// From when to when there is something, in milliseconds.
fn span(index: &Index) -> Result<(u64, u64), &'static str> {
    let segments = &index.rendition(ORIGINAL).ok_or(NO_PICTURE)?.segments;
    let newest = segments.iter().rev().find(|s| s.complete).ok_or(NOT_THERE)?;
    let oldest = segments.front().ok_or(NOT_THERE)?;
    Ok((oldest.at_ns / 1_000_000, newest.end_ns() / 1_000_000))
}

/// The time of this share of it.
fn begin(index: &Index, share: Option<f64>) -> Result<u64, &'static str> {
    let (from, to) = span(index)?;
    let length = to.saturating_sub(from) as f64;
    let at = from + (length * share.unwrap_or(0.0).clamp(0.0, 1.0)) as u64;
    // The end itself is shown no more.
    Ok(at.min(to.saturating_sub(1)))
}

/// The segment that plays at a time, and the time in it.
fn place(index: &Index, at_ms: u64) -> Result<(&Segment, u32), &'static str> {
    let segments = &index.rendition(ORIGINAL).ok_or(NO_PICTURE)?.segments;
    let at_ns = at_ms.saturating_mul(1_000_000);
    let at = segments.partition_point(|s| s.at_ns <= at_ns).checked_sub(1).ok_or(NOT_THERE)?;
    let segment = segments.get(at).ok_or(NOT_THERE)?;
    if !segment.complete || segment.info.gap || at_ns >= segment.end_ns() {
        return Err(NOT_THERE);
    }
    let within = (at_ns - segment.at_ns) / 1_000_000;
    Ok((segment, u32::try_from(within).map_err(|_| NOT_THERE)?))
}
