//! Answering for initialisation segments, segments and parts.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::http::response::Builder;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use control::VideoUid;
use futures_util::StreamExt;
use record::File;
use spine::{Location, Payload};

use crate::body::Pieces;
use crate::http::{cors, too_busy};
use crate::library::Library;
use crate::limits::PART_AHEAD_SEGMENTS;
use crate::playlist::not_found;
use crate::shelf::{Counters, Shelf};
use crate::waiting::{Awaited, wait_for};

/// What a file name stands for: `init-HASH.mp4`, `EPOCH-N.m4s`, `EPOCH-N.P.m4s`, exactly as playlists
/// write them.
pub(crate) fn parse(name: &str) -> Option<File> {
    if let Some(hash) = name.strip_prefix("init-") {
        let hash = hash.strip_suffix(".mp4")?;
        let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let plain = hash.len() == 14 && hash.bytes().all(lower);
        return plain.then(|| u64::from_str_radix(hash, 16).ok().map(File::Init)).flatten();
    }
    let (epoch, rest) = name.strip_suffix(".m4s")?.split_once('-')?;
    let epoch = number(epoch)?;
    match rest.split_once('.') {
        Some((n, part)) => Some(File::Part { epoch, number: number(n)?, part: number(part)? }),
        None => Some(File::Segment { epoch, number: number(rest)? }),
    }
}

fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

/// One file of a rendition.
pub(crate) async fn file(
    shelf: &Arc<Shelf>,
    rendition: &str,
    name: &str,
    headers: &HeaderMap,
) -> Response {
    let Some(file) = parse(name) else { return not_found("no such file") };
    let in_memory = match file {
        File::Init(id) => shelf.init(id),
        File::Segment { epoch, number } if growing(shelf, rendition, number) => {
            match wait_for_part(shelf, rendition, number, 0).await {
                Ok(true) if same_epoch(shelf, rendition, epoch, number) => {
                    return as_it_grows(shelf, rendition, epoch, number);
                }
                Ok(_) => None,
                Err(response) => return *response,
            }
        }
        File::Segment { epoch, number } => segment(shelf, rendition, epoch, number),
        File::Part { epoch, number, part } => {
            match wait_for_part(shelf, rendition, number, part).await {
                Ok(true) => this_part(shelf, rendition, epoch, number, part),
                Ok(false) => None,
                Err(response) => return *response,
            }
        }
    };
    let pieces = match in_memory {
        Some(pieces) => Some(pieces),
        None => shelf.recorded(rendition, file).await.map(|bytes| vec![bytes]),
    };
    let Some(pieces) = pieces else { return not_found("no longer, or not yet") };
    sent(shelf.counters(), pieces, rendition, name, headers)
}

/// One file of a broadcast that is not in memory.
pub(crate) async fn recorded(
    library: &Library,
    video: &VideoUid,
    rendition: &str,
    name: &str,
    headers: &HeaderMap,
) -> Response {
    let Some(file) = parse(name) else { return not_found("no such file") };
    match library.history().file(video, rendition, file).await {
        Ok(Some(bytes)) => sent(library.counters(), vec![bytes], rendition, name, headers),
        Ok(None) => not_found("not in this recording"),
        Err(error) => {
            tracing::warn!(%video, %error, "can't read a recording");
            too_busy()
        }
    }
}

pub(crate) fn sent(
    counters: &Counters,
    pieces: Vec<Bytes>,
    rendition: &str,
    name: &str,
    headers: &HeaderMap,
) -> Response {
    counters.media.fetch_add(1, Ordering::Relaxed);
    let response = respond(pieces, kind(rendition), name, headers);
    if let Some(length) = http_body::Body::size_hint(response.body()).exact() {
        counters.media_bytes.fetch_add(length, Ordering::Relaxed);
    }
    response
}

/// A part that a playlist has hinted at is waited for. RFC 8216bis §6.2.2: such a request blocks.
async fn wait_for_part(
    shelf: &Arc<Shelf>,
    rendition: &str,
    number: u64,
    part: u64,
) -> Result<bool, Box<Response>> {
    let awaited = Awaited::Version { rendition: rendition.to_owned(), number, part: Some(part) };
    let there = wait_for(shelf, patience(shelf), awaited, |shelf| {
        shelf.with_index(|index| {
            let Some(newest) = index.rendition(rendition).and_then(|r| r.segments.back()) else {
                return Some(false);
            };
            let parts = newest.parts.len() as u64;
            let next =
                if newest.complete { (newest.number + 1, 0) } else { (newest.number, parts) };
            if number < newest.number || (number == newest.number && part < parts) {
                Some(true)
            } else if index.ended()
                || (number, part) > next
                || number > newest.number + PART_AHEAD_SEGMENTS
            {
                Some(false)
            } else {
                None
            }
        })
    });
    match there.await {
        Ok(there) => Ok(there.unwrap_or(false)),
        Err(_) => Err(Box::new(too_busy())),
    }
}

fn this_part(
    shelf: &Shelf,
    rendition: &str,
    epoch: u64,
    number: u64,
    part: u64,
) -> Option<Vec<Bytes>> {
    if !same_epoch(shelf, rendition, epoch, number) {
        return None;
    }
    let track = shelf.track(rendition)?;
    let object = track.object(Location { group: number, object: part }).ok()?;
    Some(object.whole()?.into_iter().map(Payload::into_bytes).collect())
}

fn segment(shelf: &Shelf, rendition: &str, epoch: u64, number: u64) -> Option<Vec<Bytes>> {
    let parts = shelf.with_index(|index| {
        let segment = index.rendition(rendition)?.segment(number)?;
        let there = segment.complete && segment.info.epoch == epoch && !segment.info.gap;
        there.then_some(segment.parts.len() as u64)
    })?;
    let mut pieces = Vec::new();
    for part in 0..parts {
        pieces.extend(this_part(shelf, rendition, epoch, number, part)?);
    }
    Some(pieces)
}

fn same_epoch(shelf: &Shelf, rendition: &str, epoch: u64, number: u64) -> bool {
    shelf.with_index(|index| {
        let segment = index.rendition(rendition).and_then(|r| r.segment(number));
        segment.is_some_and(|s| s.info.epoch == epoch)
    })
}

/// Whether this is the segment that is being made, or the next one.
fn growing(shelf: &Shelf, rendition: &str, number: u64) -> bool {
    shelf.with_index(|index| {
        let newest = index.rendition(rendition).and_then(|r| r.segments.back());
        let live = newest.filter(|_| !index.ended());
        live.is_some_and(|s| number == s.number + u64::from(s.complete))
    })
}

/// The segment that is being made, each part as soon as it is there: what low-latency DASH plays. Its
/// length is not known yet, so there are no ranges of it.
fn as_it_grows(shelf: &Arc<Shelf>, rendition: &str, epoch: u64, number: u64) -> Response {
    shelf.counters().media.fetch_add(1, Ordering::Relaxed);
    let (shelf, name) = (shelf.clone(), rendition.to_owned());
    let parts = futures_util::stream::unfold(0, move |part| {
        let (shelf, name) = (shelf.clone(), name.clone());
        async move {
            let there = wait_for_part_of(&shelf, &name, number, part).await;
            let pieces = there.then(|| this_part(&shelf, &name, epoch, number, part)).flatten()?;
            let bytes = pieces.iter().map(|p| p.len() as u64).sum();
            shelf.counters().media_bytes.fetch_add(bytes, Ordering::Relaxed);
            Some((
                futures_util::stream::iter(pieces.into_iter().map(Ok::<_, Infallible>)),
                part + 1,
            ))
        }
    });
    let response = cors()
        .header(header::CACHE_CONTROL, IMMUTABLE)
        .header(header::CONTENT_TYPE, kind(rendition))
        .body(Body::from_stream(parts.flatten()));
    built(response)
}

/// Whether this part comes; not if its segment is complete without it.
async fn wait_for_part_of(shelf: &Arc<Shelf>, rendition: &str, number: u64, part: u64) -> bool {
    // Not a version: that its segment is complete without it is an answer too.
    let there = wait_for(shelf, patience(shelf), Awaited::Change, |shelf| {
        shelf.with_index(|index| {
            let segment = index.rendition(rendition).and_then(|r| r.segment(number));
            match segment {
                Some(s) if part < s.parts.len() as u64 => Some(true),
                Some(s) if !s.complete && !index.ended() => None,
                _ => Some(false),
            }
        })
    });
    matches!(there.await, Ok(Some(true)))
}

fn patience(shelf: &Shelf) -> Duration {
    shelf.with_index(|i| Duration::from_secs(u64::from(i.target_duration().unwrap_or(2)) * 3))
}

fn kind(rendition: &str) -> &'static str {
    if rendition.starts_with("audio") { "audio/mp4" } else { "video/mp4" }
}

pub(crate) const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// Media never changes under its name.
fn respond(pieces: Vec<Bytes>, kind: &'static str, etag: &str, headers: &HeaderMap) -> Response {
    let pieces = Pieces::new(pieces);
    let base = cors().header(header::CACHE_CONTROL, IMMUTABLE).header(header::CONTENT_TYPE, kind);
    ranged(base, etag, pieces.len(), headers, |start, len| pieces.cut(start, len).into_body())
}

/// The whole of something, or the range that is asked for. `body` makes the bytes from `start` on, so many.
pub(crate) fn ranged(
    base: Builder,
    etag: &str,
    whole: u64,
    headers: &HeaderMap,
    body: impl FnOnce(u64, u64) -> Body,
) -> Response {
    let etag = format!("\"{etag}\"");
    let base = base.header(header::ETAG, &etag).header(header::ACCEPT_RANGES, "bytes");
    let says = |name| headers.get(name).map(HeaderValue::as_bytes);
    if says(header::IF_NONE_MATCH) == Some(etag.as_bytes()) {
        return built(base.status(StatusCode::NOT_MODIFIED).body(Body::empty()));
    }
    // RFC 9110 §13.1.5: a range of something else is of no use.
    let same = says(header::IF_RANGE).is_none_or(|value| value == etag.as_bytes());
    let range = headers.get(header::RANGE).filter(|_| same).and_then(|v| v.to_str().ok());
    match range.map(|range| byte_range(range, whole)) {
        None | Some(Range::Ignored) => {
            built(base.header(header::CONTENT_LENGTH, whole).body(body(0, whole)))
        }
        Some(Range::Part(start, len)) => built(
            base.status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_LENGTH, len)
                .header(header::CONTENT_RANGE, format!("bytes {start}-{}/{whole}", start + len - 1))
                .body(body(start, len)),
        ),
        Some(Range::Outside) => built(
            base.status(StatusCode::RANGE_NOT_SATISFIABLE)
                .header(header::CONTENT_RANGE, format!("bytes */{whole}"))
                .body(Body::empty()),
        ),
    }
}

pub(crate) fn built(response: Result<Response, axum::http::Error>) -> Response {
    response.unwrap_or_else(|_| Response::new(Body::empty()))
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Range {
    Part(u64, u64),
    Outside,
    /// Several ranges, or not bytes: the whole is sent. RFC 9110 §14.2.
    Ignored,
}

/// RFC 9110 §14.1.2, a single range.
pub(crate) fn byte_range(value: &str, whole: u64) -> Range {
    let Some((first, last)) = value.strip_prefix("bytes=").and_then(|r| r.split_once('-')) else {
        return Range::Ignored;
    };
    let (start, end) = match (first.trim(), last.trim()) {
        ("", "") => return Range::Ignored,
        ("", suffix) => match suffix.parse::<u64>() {
            Ok(suffix) => (whole.saturating_sub(suffix), whole),
            Err(_) => return Range::Ignored,
        },
        (first, last) => {
            let Ok(start) = first.parse::<u64>() else { return Range::Ignored };
            match last {
                "" => (start, whole),
                last => match last.parse::<u64>() {
                    Ok(last) if last >= start => (start, last.saturating_add(1).min(whole)),
                    _ => return Range::Ignored,
                },
            }
        }
    };
    if start < end { Range::Part(start, end - start) } else { Range::Outside }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_playlists_write_are_files() {
        let init = File::Init(0x1f);
        for (name, expect) in [
            ("init-0000000000001f.mp4", Some(init)),
            ("3-17.m4s", Some(File::Segment { epoch: 3, number: 17 })),
            ("3-17.0.m4s", Some(File::Part { epoch: 3, number: 17, part: 0 })),
            ("init-0000000000001F.mp4", None),
            ("init-1f.mp4", None),
            ("3-017.m4s", None),
            ("+3-17.m4s", None),
            ("3-17.1.2.m4s", None),
            ("3-99999999999999999999.m4s", None),
            ("../3-17.m4s", None),
            (".m4s", None),
            ("", None),
        ] {
            assert_eq!(parse(name), expect, "{name}");
        }
    }

    #[test]
    fn ranges_are_rfc_9110() {
        for (value, expect) in [
            ("bytes=0-9", Range::Part(0, 10)),
            ("bytes=90-", Range::Part(90, 10)),
            ("bytes=-5", Range::Part(95, 5)),
            ("bytes=-500", Range::Part(0, 100)),
            ("bytes=90-200", Range::Part(90, 10)),
            ("bytes=100-", Range::Outside),
            ("bytes=-0", Range::Outside),
            ("bytes=9-0", Range::Ignored),
            ("bytes=0-1,5-6", Range::Ignored),
            ("pages=1-2", Range::Ignored),
        ] {
            assert_eq!(byte_range(value, 100), expect, "{value}");
        }
    }
}
