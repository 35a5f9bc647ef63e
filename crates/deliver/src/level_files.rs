//! Files of levels, which are made when they are asked for.

use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, header};
use axum::response::Response;
use bytes::Bytes;
use encode::{Failed, Made, Renditions};
use futures_util::StreamExt;
use package::Index;
use package::hls::still_of_file;
use record::File;

use crate::http::{cors, not_now};
use crate::levels::{Offered, Shown};
use crate::limits::LEVEL_WAIT;
use crate::media::{IMMUTABLE, built, kind, parse, sent_as};
use crate::past_levels::Source;
use crate::playlist::not_found;
use crate::shelf::Counters;
use crate::waiting::Waiter;

impl Shown {
    /// The level that this folder is of.
    pub(crate) fn in_folder(&self, folder: &str) -> Option<Folder<'_>> {
        let (name, init) = match package::hls::level_of_folder(folder) {
            Some((name, init)) => (name, Some(init)),
            None => (folder.to_owned(), None),
        };
        let (offered, renditions) = self.get(&name)?;
        Some(Folder { offered, renditions, init })
    }
}

/// Where files of a level lie.
#[derive(Clone, Copy)]
pub(crate) struct Folder<'a> {
    offered: &'a Offered,
    renditions: &'a Arc<Renditions>,
    /// What all of it begins with, where its name says so: as lists have it.
    init: Option<u64>,
}

impl Folder<'_> {
    /// How long what lies there and begins with this may be kept. Under another name there is tomorrow what is encoded in another
    /// way then.
    fn cache(&self, file: File, init: u64) -> &'static str {
        let own = matches!(file, File::Init(_)) || self.init == Some(init);
        if own { IMMUTABLE } else { "max-age=1" }
    }
}

/// A file of a level.
pub(crate) async fn file(
    source: &Source,
    folder: Folder<'_>,
    (counters, waiter): (&Arc<Counters>, Waiter),
    (method, name): (&Method, &str),
    headers: &HeaderMap,
) -> Response {
    let kind = kind(&folder.offered.name);
    if let Some(still) = still_of_file(name) {
        return sent_as(counters, vec![still.into()], (kind, IMMUTABLE), name, headers);
    }
    let Some(file) = parse(name) else { return not_found("no such file") };
    if *method == Method::HEAD && !matches!(file, File::Init(_)) {
        let head = begun(source, folder, file).map(|init| head(kind, folder.cache(file, init)));
        return head.unwrap_or_else(|| not_found("no longer, or not yet"));
    }
    match answer(source, folder, (counters, waiter), file).await {
        Ok(Answered::Pieces(pieces, init, tag)) => {
            let about = (kind, folder.cache(file, init));
            sent_as(counters, pieces, about, &format!("{name}-{init:014x}{tag}"), headers)
        }
        Ok(Answered::Begun(made, init)) => {
            as_it_is_made(made, (counters.clone(), waiter), (kind, folder.cache(file, init)))
        }
        Err(response) => *response,
    }
}

/// What a segment of a level, or a part of it, begins with, if its original has begun: who asks for its head does not watch, and nothing
/// is made for him.
fn begun(source: &Source, folder: Folder<'_>, file: File) -> Option<u64> {
    let Folder { offered, renditions, .. } = folder;
    let (number, epoch, part) = match file {
        File::Init(_) => return None,
        File::Part { epoch, number, part } => (number, epoch, part),
        File::Segment { epoch, number } => (number, epoch, 0),
    };
    let segment = source.original(&offered.original).segment(number)?;
    let there = segment.epoch == epoch && part < segment.parts as u64;
    there.then(|| renditions.init_id(segment.init, &offered.level))
}

/// RFC 9110 §9.3.2: without what only making it tells, its length and its entity tag.
fn head(kind: &'static str, cache: &'static str) -> Response {
    let body = Body::from_stream(futures_util::stream::empty::<io::Result<Bytes>>());
    let response = cors().header(header::CACHE_CONTROL, cache).header(header::CONTENT_TYPE, kind);
    built(response.body(body))
}

enum Answered {
    /// All of it, the id of what it begins with, which says how it is encoded, and what else its entity tag says.
    Pieces(Vec<Bytes>, u64, String),
    /// A segment that is being made, likewise.
    Begun(Arc<Made>, u64),
}

/// The original's initialisation segment to which this one of the level belongs.
fn original_init(index: &Index, renditions: &Renditions, of: &Offered, id: u64) -> Option<u64> {
    let mut last = None;
    let mut inits = index.rendition(&of.original)?.segments.iter().map(|s| s.info.init);
    let is_it = |init: u64| renditions.init_id(init, &of.level) == id;
    inits.find(|init| last.replace(*init) != Some(*init) && is_it(*init))
}

/// The epoch of a segment; that of the newest one for the one that comes next.
fn epoch_of(index: &Index, original: &str, number: u64) -> Option<u64> {
    let rendition = index.rendition(original)?;
    let newest = rendition.segments.back()?;
    match rendition.segment(number) {
        Some(segment) => Some(segment.info.epoch),
        None => (number == newest.number + 1 && !index.ended()).then_some(newest.info.epoch),
    }
}

/// Whether this part lies behind the one that comes next.
fn is_far(index: &Index, original: &str, number: u64, part: u64) -> bool {
    let segment = index.rendition(original).and_then(|rendition| rendition.segment(number));
    let next = segment.map_or(0, |s| s.parts.len() as u64);
    part > next || (part == next && segment.is_some_and(|s| s.complete))
}

async fn answer(
    source: &Source,
    folder: Folder<'_>,
    (counters, waiter): (&Arc<Counters>, Waiter),
    file: File,
) -> Result<Answered, Box<Response>> {
    let Folder { offered, renditions, .. } = folder;
    let none = || Box::new(not_found("no longer, or not yet"));
    let refused = |failed| Box::new(refused(failed));
    let original = source.original(&offered.original);
    let (number, epoch, part) = match file {
        File::Init(id) => {
            let init = |index: &Index| original_init(index, renditions, offered, id);
            let init = source.with_index(init).ok_or_else(none)?;
            let init = renditions.init(original.as_ref(), init, &offered.level);
            let init = parked(counters, waiter, init).await?.map_err(refused)?;
            return Ok(Answered::Pieces(vec![init], id, String::new()));
        }
        File::Part { epoch, number, part } => (number, epoch, Some(part)),
        File::Segment { epoch, number } => (number, epoch, None),
    };
    let epoch_of = || source.with_index(|index| epoch_of(index, &offered.original, number));
    let far = |part| source.with_index(|index| is_far(index, &offered.original, number, part));
    if epoch_of() != Some(epoch) || part.is_some_and(far) {
        return Err(none());
    }
    let made = renditions.segment_for(&original, number, &offered.level, waiter.address());
    let made = made.map_err(refused)?;
    let whole = made.whole().filter(|_| part.is_none());
    let pieces = match whole {
        Some(pieces) => Some(pieces),
        None => {
            let part = wait(&made, part.unwrap_or(0));
            parked(counters, waiter, part).await?.map_err(refused)?
        }
    };
    // Another encoder may have begun the segment that was waited for.
    let pieces = pieces.filter(|_| epoch_of().is_none_or(|now| now == epoch)).ok_or_else(none)?;
    let init = original.segment(number).map_or(0, |segment| segment.init);
    let init = renditions.init_id(init, &offered.level);
    // What is made again may be of other bytes: it was scaled from another level.
    let tag = made.tag(part.map(|part| usize::try_from(part).unwrap_or(usize::MAX)));
    match tag {
        Some(tag) => {
            let pieces = made.whole().filter(|_| part.is_none()).unwrap_or(pieces);
            Ok(Answered::Pieces(pieces, init, format!("-{tag:016x}")))
        }
        None => Ok(Answered::Begun(made, init)),
    }
}

/// What is there at once, or is waited for: in a place among all who wait, of which each address has a share.
pub(crate) async fn parked<T>(
    counters: &Counters,
    waiter: Waiter,
    answer: impl Future<Output = Result<T, Failed>>,
) -> Result<Result<T, Failed>, Box<Response>> {
    let mut answer = std::pin::pin!(tokio::time::timeout(LEVEL_WAIT, answer));
    let there = futures_util::poll!(answer.as_mut());
    if let Poll::Ready(answer) = there {
        return Ok(answer.unwrap_or(Err(Failed::Busy)));
    }
    let _place = counters.parked.take(waiter).map_err(|busy| Box::new(busy.response()))?;
    Ok(answer.await.unwrap_or(Err(Failed::Busy)))
}

/// A part, at most for as long as somebody waits.
pub(crate) async fn wait(made: &Made, part: u64) -> Result<Option<Vec<Bytes>>, Failed> {
    let part = usize::try_from(part).unwrap_or(usize::MAX);
    tokio::time::timeout(LEVEL_WAIT, made.part(part)).await.unwrap_or(Err(Failed::Busy))
}

/// A player takes another level; or tries again when that may help.
pub(crate) fn refused(failed: Failed) -> Response {
    match failed {
        Failed::NoOriginal => not_found("no longer, or not yet"),
        Failed::Busy | Failed::Store => not_now(&failed.to_string(), Duration::from_secs(1)),
        Failed::Program => not_now(&failed.to_string(), encode::limits::PROGRAM_AGAIN),
        // Whoever asks before then hears the same.
        Failed::Encoder => not_now(&failed.to_string(), encode::limits::FAILED_KEPT),
    }
}

/// The first part goes out while the rest is being made, of which all who ask share the bytes. If that fails the answer ends in an error,
/// and nobody keeps it.
fn as_it_is_made(
    made: Arc<Made>,
    (counters, waiter): (Arc<Counters>, Waiter),
    (kind, cache): (&'static str, &'static str),
) -> Response {
    let parts = futures_util::stream::unfold(Some(0), move |part| {
        let (made, counters) = (made.clone(), counters.clone());
        async move {
            let part = part?;
            match parked(&counters, waiter, wait(&made, part)).await {
                Ok(Ok(Some(pieces))) => {
                    Some((pieces.into_iter().map(Ok).collect(), Some(part + 1)))
                }
                Ok(Ok(None)) => None,
                Ok(Err(failed)) => Some((vec![Err(io::Error::other(failed))], None)),
                Err(_) => Some((vec![Err(io::Error::other("too many requests wait"))], None)),
            }
        }
    });
    let response = cors()
        .header(header::CACHE_CONTROL, cache)
        .header(header::CONTENT_TYPE, kind)
        .body(Body::from_stream(parts.flat_map(futures_util::stream::iter)));
    built(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracks::tests::{NAME, levels, one_segment, published, shelf};

    /// As the original: what comes next is waited for, in a place of its own, and nothing else.
    #[tokio::test(start_paused = true)]
    async fn parts_are_waited_for_as_those_of_the_original() {
        let (_origin, producer) = published();
        let shelf = shelf(&producer, one_segment());
        let shown = shelf.levels(&levels());
        let (source, counters) = (Source::OnAir(shelf.clone()), shelf.counters().clone());
        let waiter = Waiter(Some("192.0.2.1".parse().unwrap()));
        let ask = async |name: &str| {
            let level = shown.in_folder(NAME).unwrap();
            let began = tokio::time::Instant::now();
            let places = (&counters, waiter);
            let name = (&Method::GET, name);
            let answer = file(&source, level, places, name, &HeaderMap::new()).await;
            (answer.status().as_u16(), began.elapsed())
        };
        for (name, expect) in [
            // One part of segment 5 is there.
            ("1-5.1.m4s", (503, LEVEL_WAIT)),
            ("1-5.m4s", (503, LEVEL_WAIT)),
            ("1-6.0.m4s", (503, LEVEL_WAIT)),
            ("1-5.2.m4s", (404, Duration::ZERO)),
            ("1-5.999999.m4s", (404, Duration::ZERO)),
            ("1-6.1.m4s", (404, Duration::ZERO)),
            ("2-5.0.m4s", (404, Duration::ZERO)),
        ] {
            assert_eq!(ask(name).await, expect, "{name}");
        }
        let mut places = Vec::new();
        while let Ok(place) = counters.parked.take(waiter) {
            places.push(place);
        }
        assert_eq!(ask("1-5.1.m4s").await, (503, Duration::ZERO), "its address has its share");
    }

    /// Nobody makes it, and it is not waited for.
    #[tokio::test(start_paused = true)]
    async fn the_head_of_what_is_not_made_is_told_without_making_it() {
        let (_origin, producer) = published();
        let shelf = shelf(&producer, one_segment());
        let shown = shelf.levels(&levels());
        let (source, counters) = (Source::OnAir(shelf.clone()), shelf.counters().clone());
        for (name, status) in [
            ("1-5.0.m4s", 200),
            ("1-5.m4s", 200),
            ("2-5.m4s", 404),
            ("1-5.1.m4s", 404),
            ("1-5.2.m4s", 404),
            ("1-6.m4s", 404),
            ("1-9.m4s", 404),
        ] {
            let level = shown.in_folder(NAME).unwrap();
            let began = tokio::time::Instant::now();
            let (places, asked) = ((&counters, Waiter(None)), (&Method::HEAD, name));
            let answer = file(&source, level, places, asked, &HeaderMap::new()).await;
            assert_eq!(answer.status(), status, "{name}");
            assert_eq!(began.elapsed(), Duration::ZERO, "{name}");
            if status == 200 {
                assert_eq!(answer.headers()[header::CONTENT_TYPE], "video/mp4", "{name}");
                let size = http_body::Body::size_hint(answer.body()).exact();
                assert_eq!(size, None, "{name}: no length is said");
            }
        }
        let (_, renditions) = shown.get(NAME).unwrap();
        assert!(renditions.is_idle());
    }

    /// A player tries again, or takes another level; what is not there is not asked for again.
    #[tokio::test]
    async fn what_cannot_be_had_now_says_why_and_when_to_try_again() {
        for (failed, status, again, words) in [
            (Failed::Busy, 503, Some("1"), "all encoders are busy: try again\n"),
            (
                Failed::Encoder,
                503,
                Some("30"),
                "this segment can't be encoded: watch the original\n",
            ),
            (Failed::NoOriginal, 404, None, "no longer, or not yet\n"),
            (Failed::Store, 503, Some("1"), "its original can't be read now: try again\n"),
            (Failed::Program, 503, Some("5"), "there is no encoder now: watch the original\n"),
        ] {
            let answer = refused(failed);
            let retry = answer.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok());
            assert_eq!((answer.status().as_u16(), retry), (status, again), "{failed:?}");
            let body = axum::body::to_bytes(answer.into_body(), 1_000).await.unwrap();
            assert_eq!(body, words, "{failed:?}");
        }
    }
}
