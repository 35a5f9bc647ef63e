//! Answering for initialisation segments, segments and parts.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt;
use media::fmp4::first_sample_alone;
use media::trace::Departure;
use package::Index;
use record::{File, Recording};
use spine::{Location, Payload};

use crate::body::Pieces;
use crate::http::{cors, too_busy};
use crate::library::Library;
use crate::limits::PART_AHEAD_SEGMENTS;
use crate::playlist::not_found;
use crate::ranges::ranged;
use crate::shelf::{Counters, Shelf};
use crate::waiting::{Awaited, Waiter, wait_for};

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

/// A segment's key picture as a file of its own, `EPOCH-N.key.m4s`, as lists of key pictures name it: its epoch and number.
pub(crate) fn key_picture(name: &str) -> Option<(u64, u64)> {
    let (epoch, rest) = name.strip_suffix(".key.m4s")?.split_once('-')?;
    Some((number(epoch)?, number(rest)?))
}

/// Which part a key picture is in, and where on the clock of its track it stands for its segment.
struct KeyPicture {
    part: u64,
    start: u64,
    duration: u32,
}

impl KeyPicture {
    fn of(index: &Index, rendition: &str, (epoch, number): (u64, u64)) -> Option<Self> {
        let segment = index.rendition(rendition)?.segment(number)?;
        let there = segment.complete && segment.info.epoch == epoch && !segment.info.gap;
        let (part, _) = segment.key_part().filter(|_| there)?;
        Some(Self {
            part,
            start: segment.info.start,
            duration: u32::try_from(segment.duration()).ok()?,
        })
    }

    /// Out of its part.
    fn alone(&self, part: &[u8]) -> Option<Vec<Bytes>> {
        let alone = first_sample_alone(part, self.start, self.duration)?;
        Some(vec![alone.into()])
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
    peer: SocketAddr,
    waiter: Waiter,
) -> Response {
    if let Some(key) = key_picture(name) {
        return match Box::pin(key_on_air(shelf, rendition, key)).await {
            Some(pieces) => sent(shelf.counters(), pieces, rendition, name, headers),
            None => not_found("no such key picture, no longer or not yet"),
        };
    }
    let Some(file) = parse(name) else { return not_found("no such file") };
    let begun = shelf.counters().departures.wanted().then(Instant::now);
    let in_memory = match file {
        File::Init(id) => shelf.init(id),
        File::Segment { epoch, number } if growing(shelf, rendition, number) => {
            match wait_for_part(shelf, waiter, (rendition, number, 0)).await {
                Ok(true) if same_epoch(shelf, rendition, epoch, number) => {
                    return as_it_grows(shelf, waiter, rendition, epoch, number);
                }
                Ok(_) => None,
                Err(response) => return *response,
            }
        }
        File::Segment { epoch, number } => segment(shelf, rendition, epoch, number),
        File::Part { epoch, number, part } => {
            match wait_for_part(shelf, waiter, (rendition, number, part)).await {
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
    if let (Some(begun), File::Part { number, part, .. }) = (begun, file) {
        let location = Location { group: number, object: part };
        departed(shelf, rendition, location, &pieces, (peer, begun));
    }
    sent(shelf.counters(), pieces, rendition, name, headers)
}

async fn key_on_air(
    shelf: &Arc<Shelf>,
    rendition: &str,
    (epoch, number): (u64, u64),
) -> Option<Vec<Bytes>> {
    let key = shelf.with_index(|index| KeyPicture::of(index, rendition, (epoch, number)))?;
    let part = match this_part(shelf, rendition, epoch, number, key.part) {
        Some(pieces) => pieces.concat().into(),
        None => {
            let part = File::Part { epoch, number, part: key.part };
            shelf.recorded(rendition, part).await?
        }
    };
    key.alone(&part)
}

/// Somebody follows what is sent.
fn departed(
    shelf: &Shelf,
    rendition: &str,
    location: Location,
    pieces: &[Bytes],
    (peer, begun): (SocketAddr, Instant),
) {
    let Some(track) = shelf.track(rendition) else { return };
    shelf.counters().departures.note(Departure {
        path: track.path().clone(),
        track: track.name().clone(),
        location,
        via: "HTTP",
        peer,
        bytes: pieces.iter().map(|piece| piece.len() as u64).sum(),
        begun,
        left: Instant::now(),
    });
}

/// One file of a broadcast that is not in memory.
pub(crate) async fn recorded(
    library: &Library,
    recording: &Recording,
    rendition: &str,
    name: &str,
    headers: &HeaderMap,
) -> Response {
    let video = &recording.video.uid;
    let key = key_picture(name).map(|(epoch, number)| {
        let key = KeyPicture::of(&recording.index, rendition, (epoch, number))?;
        Some((File::Part { epoch, number, part: key.part }, key))
    });
    let (file, key) = match (key, parse(name)) {
        (Some(Some((part, key))), _) => (part, Some(key)),
        (None, Some(file)) => (file, None),
        (Some(None), _) | (None, None) => return not_found("no such file"),
    };
    let pieces = match library.history().file(video, rendition, file).await {
        Ok(Some(bytes)) => match key {
            Some(key) => key.alone(&bytes),
            None => Some(vec![bytes]),
        },
        Ok(None) => None,
        Err(error) => {
            tracing::warn!(%video, %error, "can't read a recording");
            return too_busy();
        }
    };
    match pieces {
        Some(pieces) => sent(library.counters(), pieces, rendition, name, headers),
        None => not_found("not in this recording"),
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
    waiter: Waiter,
    (rendition, number, part): (&str, u64, u64),
) -> Result<bool, Box<Response>> {
    let awaited = Awaited::Version { rendition: rendition.to_owned(), number, part: Some(part) };
    let there = wait_for(shelf, waiter, patience(shelf), awaited, |shelf| {
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
        Err(busy) => Err(Box::new(busy.response())),
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
fn as_it_grows(
    shelf: &Arc<Shelf>,
    waiter: Waiter,
    rendition: &str,
    epoch: u64,
    number: u64,
) -> Response {
    shelf.counters().media.fetch_add(1, Ordering::Relaxed);
    let (shelf, name) = (shelf.clone(), rendition.to_owned());
    let parts = futures_util::stream::unfold(0, move |part| {
        let (shelf, name) = (shelf.clone(), name.clone());
        async move {
            let there = wait_for_part_of(&shelf, waiter, (&name, number, part)).await;
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
async fn wait_for_part_of(
    shelf: &Arc<Shelf>,
    waiter: Waiter,
    (rendition, number, part): (&str, u64, u64),
) -> bool {
    // Not a version: that its segment is complete without it is an answer too.
    let there = wait_for(shelf, waiter, patience(shelf), Awaited::Change, |shelf| {
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

pub(crate) fn kind(rendition: &str) -> &'static str {
    if rendition.starts_with("audio") { "audio/mp4" } else { "video/mp4" }
}

pub(crate) const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// Media never changes under its name.
fn respond(pieces: Vec<Bytes>, kind: &'static str, etag: &str, headers: &HeaderMap) -> Response {
    let pieces = Pieces::new(pieces);
    let base = cors().header(header::CACHE_CONTROL, IMMUTABLE).header(header::CONTENT_TYPE, kind);
    ranged(base, etag, pieces.len(), headers, |start, len| pieces.cut(start, len).into_body())
}

pub(crate) fn built(response: Result<Response, axum::http::Error>) -> Response {
    response.unwrap_or_else(|_| Response::new(Body::empty()))
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
}
