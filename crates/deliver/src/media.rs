//! Answering for initialisation segments, segments and parts.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, Method, header};
use axum::response::Response;
use bytes::Bytes;
use control::VideoUid;
use encode::Unreadable;
use futures_util::StreamExt;
use media::fmp4::first_sample_alone;
use media::trace::Departure;
use package::Index;
use package::hls::still_of_file;
use record::{File, History, Recording};
use spine::{Location, Payload};

use crate::body::Pieces;
use crate::disk::{self, OnDisk, held};
use crate::http::{cors, too_busy};
use crate::library::Library;
use crate::limits::PART_AHEAD_SEGMENTS;
use crate::playlist::not_found;
use crate::ranges::ranged;
use crate::shelf::{Counters, Shelf, unreadable};
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
    (method, headers): (&Method, &HeaderMap),
    peer: SocketAddr,
    waiter: Waiter,
) -> Response {
    let asker = (&**shelf.counters(), waiter);
    if let Some(key) = key_picture(name) {
        return match Box::pin(key_on_air(shelf, rendition, key)).await {
            Ok(Some(pieces)) => sent_alone(asker, pieces, (rendition, name), headers),
            Err(Unreadable) => too_busy(),
            Ok(None) => not_found("no such key picture, no longer or not yet"),
        };
    }
    let known = || shelf.with_index(|index| index.rendition(rendition).is_some());
    if let Some(still) = still_of_file(name).filter(|_| known()) {
        return sent(shelf.counters(), vec![still.into()], rendition, name, headers);
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
    let Some(pieces) = in_memory else {
        return Box::pin(off_disk(shelf, waiter, (rendition, name, file), (method, headers))).await;
    };
    if let (Some(begun), File::Part { number, part, .. }) = (begun, file) {
        let location = Location { group: number, object: part };
        departed(shelf, rendition, location, &pieces, (peer, begun));
    }
    sent(shelf.counters(), pieces, rendition, name, headers)
}

/// What memory has no more, from the recording.
async fn off_disk(
    shelf: &Shelf,
    waiter: Waiter,
    of: (&str, &str, File),
    asked: (&Method, &HeaderMap),
) -> Response {
    let read = match shelf.past() {
        Some((history, video)) => {
            of_recording((&**shelf.counters(), waiter), (&history, &video), of, asked).await
        }
        None => Ok(None),
    };
    match read {
        Ok(Some(answer)) => answer,
        Ok(None) => {
            if let File::Segment { number, .. } | File::Part { number, .. } = of.2
                && shelf.look_for(number).await.is_err()
            {
                return too_busy();
            }
            not_found("no longer, or not yet")
        }
        Err(Unreadable) => too_busy(),
    }
}

/// A file of a recording; none if it has none such.
async fn of_recording(
    asker: (&Counters, Waiter),
    (history, video): (&Arc<History>, &VideoUid),
    (rendition, name, file): (&str, &str, File),
    (method, headers): (&Method, &HeaderMap),
) -> Result<Option<Response>, Unreadable> {
    let unreadable = |error| unreadable(video, &error);
    if let File::Init(_) = file {
        let read = history.file(video, rendition, file).await.map_err(unreadable)?;
        return Ok(read.map(|bytes| sent(asker.0, vec![bytes], rendition, name, headers)));
    }
    let stored = history.stored(video, rendition, file).await.map_err(unreadable)?;
    let Some(stored) = stored else { return Ok(None) };
    let file = OnDisk { history: history.clone(), video: video.clone(), stored };
    let about = (kind(rendition), IMMUTABLE, name);
    disk::answer(file, asker, about, (method, headers)).await
}

async fn key_on_air(
    shelf: &Arc<Shelf>,
    rendition: &str,
    (epoch, number): (u64, u64),
) -> Result<Option<Vec<Bytes>>, Unreadable> {
    let key = shelf.with_index(|index| KeyPicture::of(index, rendition, (epoch, number)));
    let Some(key) = key else { return Ok(None) };
    let part = match this_part(shelf, rendition, epoch, number, key.part) {
        Some(pieces) => pieces.concat().into(),
        None => {
            let part = File::Part { epoch, number, part: key.part };
            let Some(part) = shelf.recorded(rendition, part).await? else { return Ok(None) };
            part
        }
    };
    Ok(key.alone(&part))
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
    (method, headers): (&Method, &HeaderMap),
    waiter: Waiter,
) -> Response {
    let (history, video) = (library.history(), &recording.video.uid);
    let asker = (&**library.counters(), waiter);
    let answer = match (key_picture(name), parse(name)) {
        (Some((epoch, number)), _) => {
            let key = KeyPicture::of(&recording.index, rendition, (epoch, number));
            let Some(key) = key else { return not_found("no such file") };
            let part = File::Part { epoch, number, part: key.part };
            let read = history.file(video, rendition, part).await;
            let alone = read.map(|part| part.and_then(|part| key.alone(&part)));
            alone
                .map(|alone| alone.map(|a| sent_alone(asker, a, (rendition, name), headers)))
                .map_err(|error| unreadable(video, &error))
        }
        (None, Some(file)) => {
            of_recording(asker, (history, video), (rendition, name, file), (method, headers)).await
        }
        (None, None) => return not_found("no such file"),
    };
    match answer {
        Ok(answer) => answer.unwrap_or_else(|| not_found("not in this recording")),
        Err(Unreadable) => too_busy(),
    }
}

/// A picture by itself, which is in memory for whoever asked alone.
fn sent_alone(
    (counters, waiter): (&Counters, Waiter),
    pieces: Vec<Bytes>,
    (rendition, name): (&str, &str),
    headers: &HeaderMap,
) -> Response {
    let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
    match counters.read.take_some(waiter, bytes) {
        Ok(place) => {
            let place = Arc::new(place);
            let pieces = pieces.into_iter().map(|piece| held(piece, &place)).collect();
            sent(counters, pieces, rendition, name, headers)
        }
        Err(busy) => disk::refused(busy),
    }
}

fn sent(
    counters: &Counters,
    pieces: Vec<Bytes>,
    rendition: &str,
    name: &str,
    headers: &HeaderMap,
) -> Response {
    sent_as(counters, pieces, (kind(rendition), IMMUTABLE), name, headers)
}

pub(crate) fn sent_as(
    counters: &Counters,
    pieces: Vec<Bytes>,
    about: (&'static str, &'static str),
    etag: &str,
    headers: &HeaderMap,
) -> Response {
    counters.media.fetch_add(1, Ordering::Relaxed);
    let response = respond(pieces, about, etag, headers);
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
/// length is not known yet, so there are no ranges of it. If a part can't be had the answer ends in an error: what is
/// short nobody keeps for the whole.
fn as_it_grows(
    shelf: &Arc<Shelf>,
    waiter: Waiter,
    rendition: &str,
    epoch: u64,
    number: u64,
) -> Response {
    shelf.counters().media.fetch_add(1, Ordering::Relaxed);
    let (shelf, name) = (shelf.clone(), rendition.to_owned());
    let parts = futures_util::stream::unfold(Some(0), move |part| {
        let (shelf, name) = (shelf.clone(), name.clone());
        async move {
            let part = part?;
            let pieces = match grown(&shelf, waiter, &name, (epoch, number, part)).await {
                Ok(pieces) => pieces?,
                Err(missing) => {
                    tracing::debug!(track = name, number, part, missing, "a segment breaks off");
                    return Some((vec![Err(io::Error::other(missing))], None));
                }
            };
            let bytes = pieces.iter().map(|p| p.len() as u64).sum();
            shelf.counters().media_bytes.fetch_add(bytes, Ordering::Relaxed);
            Some((pieces.into_iter().map(Ok).collect(), Some(part + 1)))
        }
    });
    let response = cors()
        .header(header::CACHE_CONTROL, IMMUTABLE)
        .header(header::CONTENT_TYPE, kind(rendition))
        .body(Body::from_stream(parts.flat_map(futures_util::stream::iter)));
    built(response)
}

/// The next part of a segment that is being made; none if it is complete without it.
async fn grown(
    shelf: &Arc<Shelf>,
    waiter: Waiter,
    rendition: &str,
    (epoch, number, part): (u64, u64, u64),
) -> Result<Option<Vec<Bytes>>, &'static str> {
    // Not a version: that its segment is complete without it is an answer too.
    let there = wait_for(shelf, waiter, patience(shelf), Awaited::Change, |shelf| {
        shelf.with_index(|index| {
            let segment = index.rendition(rendition).and_then(|r| r.segment(number));
            match segment {
                Some(s) if part < s.parts.len() as u64 && !s.info.gap => Some(Ok(true)),
                Some(s) if s.complete && !s.info.gap => Some(Ok(false)),
                Some(s) if !s.info.gap => None,
                _ => Some(Err("the segment is no longer there")),
            }
        })
    });
    match there.await {
        Ok(Some(Ok(true))) => {
            let pieces = this_part(shelf, rendition, epoch, number, part);
            pieces.map(Some).ok_or("a part is no longer in memory")
        }
        Ok(Some(Ok(false))) => Ok(None),
        Ok(Some(Err(words))) => Err(words),
        Ok(None) => Err("the next part does not come"),
        Err(_) => Err("too many requests wait"),
    }
}

fn patience(shelf: &Shelf) -> Duration {
    shelf.with_index(|i| Duration::from_secs(u64::from(i.target_duration().unwrap_or(2)) * 3))
}

pub(crate) fn kind(rendition: &str) -> &'static str {
    if rendition.starts_with("audio") { "audio/mp4" } else { "video/mp4" }
}

pub(crate) const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// Of what type it is, and how long it may be kept: media never changes under its name.
fn respond(
    pieces: Vec<Bytes>,
    (kind, cache): (&'static str, &'static str),
    etag: &str,
    headers: &HeaderMap,
) -> Response {
    let pieces = Pieces::new(pieces);
    let base = cors().header(header::CACHE_CONTROL, cache).header(header::CONTENT_TYPE, kind);
    ranged(base, etag, pieces.len(), headers, |start, len| pieces.cut(start, len).into_body())
}

pub(crate) fn built(response: Result<Response, axum::http::Error>) -> Response {
    response.unwrap_or_else(|_| Response::new(Body::empty()))
}

#[cfg(test)]
mod tests {
    use package::properties;
    use spine::{Header, Limits, NodeId, Origin, Path, Route, Takeover, TrackInfo, TrackName};

    use super::*;
    use crate::shelf::About;

    /// Three parts of segment 1, the last of which may say so.
    fn index(parts: u64, whole: bool) -> Index {
        let mut index = Index::new();
        for n in 0..parts {
            let part = properties::Part {
                duration: 30_000,
                independent: n == 0,
                last: whole && n + 1 == parts,
                closes: false,
                target_ms: 334,
                target_duration: Some(2),
                open: false,
                key_bytes: None,
            };
            let segment = properties::Segment {
                timescale: 90_000,
                epoch: 1,
                wall_clock_ms: 0,
                start: 0,
                discontinuity: false,
                discontinuity_sequence: 0,
                gap: false,
                init: 7,
            };
            let at = Location { group: 1, object: n };
            index.add("video", at, &part, (n == 0).then_some(segment), 4).unwrap();
        }
        index
    }

    /// An encoder that stands still, a node with too many who wait, a part that memory has given up: caches keep what ends well
    /// for a year.
    #[tokio::test(start_paused = true)]
    async fn a_segment_that_breaks_off_does_not_end_as_if_it_were_whole() {
        let waiter = Waiter(Some("192.0.2.1".parse().unwrap()));
        for (case, sent, words) in [
            ("whole", 3, None),
            ("still", 2, Some("the next part does not come")),
            ("busy", 2, Some("too many requests wait")),
            ("lost", 0, Some("the segment is no longer there")),
            ("evicted", 2, Some("a part is no longer in memory")),
        ] {
            let origin = Origin::new(Limits::default());
            let path = Path::new(["default", "input"]).unwrap();
            let route = Route::local(NodeId(0), 1);
            let producer = origin.publish(&path, route, Takeover::Refuse).unwrap();
            let track =
                producer.track(TrackName::from_static("video.cmaf"), TrackInfo::default()).unwrap();
            let now = std::time::Instant::now();
            let subgroup = track.group(1, now).unwrap().subgroup(0, now).unwrap();
            for n in 0..if case == "whole" { 3 } else { 2 } {
                subgroup.write(Header::new(n, now), vec![origin.budget().payload("part")]).unwrap();
            }
            let about = About::of_tests();
            let shelf = Shelf::new(about, producer.consume(), Arc::<Counters>::default(), None);
            let mut index = match case {
                "whole" => index(3, true),
                "evicted" => index(3, false),
                _ => index(2, false),
            };
            if case == "lost" {
                index.trim("video", 2);
            }
            shelf.show(index, Location { group: 0, object: 0 }, Vec::new());
            shelf.hold("video", track.consume());
            let mut places = Vec::new();
            while case == "busy"
                && let Ok(place) = shelf.counters().parked.take(waiter)
            {
                places.push(place);
            }
            let answer = as_it_grows(&shelf, waiter, "video", 1, 1);
            let mut frames = answer.into_body().into_data_stream();
            let (mut parts, mut error) = (0, None);
            while let Some(frame) = frames.next().await {
                assert_eq!(error, None, "{case}: nothing follows");
                match frame {
                    Ok(part) => parts += usize::from(part == "part"),
                    Err(why) => error = Some(why.to_string()),
                }
            }
            assert_eq!((parts, error.as_deref()), (sent, words), "{case}");
        }
    }

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
