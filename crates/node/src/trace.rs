//! One frame of a broadcast, followed from its encoder to everybody it is sent to: `GET /debug/trace` of the admin listener.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::trace::{Departure, Departures};
use media::{FrameEvent, Frames};
use serde_json::{Value, json};
use spine::broadcast::Consumer;
use spine::{Filter, Header, Location, Origin, Policy, Start, Timing, TrackName, track};
use tokio::time::{sleep, timeout};

use crate::limits::{TRACE_FRAME, TRACE_PART, TRACE_VIEWERS};

/// Why there is nothing to follow.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The input is not on the air, or sends nothing.
    Nothing(&'static str),
    /// Somebody else follows a frame.
    Busy,
}

/// A frame on its way.
struct Followed {
    name: TrackName,
    location: Location,
    header: Header,
    bytes: usize,
    /// When the last of it was here.
    whole: Instant,
}

/// The part that it is in.
struct Part {
    name: TrackName,
    location: Location,
    timing: Timing,
    bytes: usize,
    made: Instant,
}

/// Follows the next frame of this input's picture, or of its sound.
pub(crate) async fn trace(
    origin: &Origin,
    departures: &Arc<Departures>,
    path: &spine::Path,
) -> Result<Value, Refused> {
    let off = Refused::Nothing("this input is not on the air");
    let broadcast = origin.get(path).ok_or(off)?;
    let watch = departures.watch().ok_or(Refused::Busy)?;
    let quiet = || Refused::Nothing("this input sends nothing at the moment");
    let raw = ["video", "audio"].map(TrackName::from_static);
    let raw = raw.iter().find_map(|name| broadcast.get(name)).ok_or_else(quiet)?;
    let mut parts = parts_of(&broadcast, raw.name());
    let frame = timeout(TRACE_FRAME, next_frame(&raw)).await.ok().flatten().ok_or_else(quiet)?;
    let part = async {
        let (packaged, frames) = parts.as_mut()?;
        part_with(packaged, frames, &raw, &frame).await
    };
    let part = timeout(TRACE_PART, part).await.ok().flatten();
    // Who is a little behind is sent it in a moment.
    sleep(TRACE_VIEWERS).await;
    let mine = |d: &Departure| {
        let of_part = part.as_ref().is_some_and(|p| p.name == d.track && p.location == d.location);
        d.path == *path && (of_part || (d.track == frame.name && d.location == frame.location))
    };
    let sent: Vec<Departure> = watch.take().into_iter().filter(mine).collect();
    Ok(report(&frame, &raw, part.as_ref(), &sent))
}

fn parts_of(broadcast: &Consumer, raw: &TrackName) -> Option<(track::Consumer, Frames)> {
    let name = TrackName::new(format!("{}.cmaf", raw.as_str()?)).ok()?;
    let track = broadcast.get(&name)?;
    let cursor = track.subscribe(Filter::from(Start::NewestGroup), Policy::EVERYTHING);
    Some((track, Frames::new(cursor)))
}

async fn next_frame(raw: &track::Consumer) -> Option<Followed> {
    let cursor = raw.subscribe(Filter::from(Start::NextObject), Policy::EVERYTHING);
    let mut frames = Frames::new(cursor);
    loop {
        match poll_fn(|cx| frames.poll(cx, Instant::now())).await {
            FrameEvent::Frame { group, header, payload } if header.timing.is_some() => {
                let location = Location { group, object: header.id };
                let bytes = payload.iter().map(|piece| piece.len()).sum();
                let (name, whole) = (raw.name().clone(), Instant::now());
                return Some(Followed { name, location, header, bytes, whole });
            }
            FrameEvent::Frame { .. } | FrameEvent::Lost => {}
            FrameEvent::End(_) => return None,
        }
    }
}

/// The part whose time the frame's is in.
async fn part_with(
    packaged: &track::Consumer,
    frames: &mut Frames,
    raw: &track::Consumer,
    frame: &Followed,
) -> Option<Part> {
    let (of_raw, of_parts) = (raw.info().timescale?, packaged.info().timescale?);
    let decode = i128::from(frame.header.timing?.decode) * i128::from(of_parts);
    loop {
        match poll_fn(|cx| frames.poll(cx, Instant::now())).await {
            FrameEvent::Frame { group, header, payload } => {
                let Some(timing) = header.timing else { continue };
                let end = i128::from(timing.decode) + i128::from(timing.duration);
                if decode < end * i128::from(of_raw) {
                    let location = Location { group, object: header.id };
                    let bytes = payload.iter().map(|piece| piece.len()).sum();
                    let (name, made) = (packaged.name().clone(), Instant::now());
                    return Some(Part { name, location, timing, bytes, made });
                }
            }
            FrameEvent::Lost => {}
            FrameEvent::End(_) => return None,
        }
    }
}

/// In milliseconds since the first byte of the frame was here.
fn report(
    frame: &Followed,
    raw: &track::Consumer,
    part: Option<&Part>,
    sent: &[Departure],
) -> Value {
    let since = |at: Instant| millis(at.saturating_duration_since(frame.header.arrived));
    let name = |name: &TrackName| String::from_utf8_lossy(name.as_bytes()).into_owned();
    let timing = frame.header.timing;
    let seconds =
        timing.zip(raw.info().timescale).map(|(t, scale)| t.decode as f64 / f64::from(scale));
    let viewers: Vec<Value> = sent
        .iter()
        .map(|d| {
            json!({
                "via": d.via,
                "peer": d.peer.to_string(),
                "track": name(&d.track),
                "group": d.location.group,
                "object": d.location.object,
                "bytes": d.bytes,
                "begunMs": since(d.begun),
                "leftMs": since(d.left),
            })
        })
        .collect();
    json!({
        "frame": {
            "track": name(&frame.name),
            "group": frame.location.group,
            "object": frame.location.object,
            "seconds": seconds,
            "key": timing.is_some_and(|t| t.sync),
            "bytes": frame.bytes,
            "wholeMs": since(frame.whole),
        },
        "part": part.map(|p| json!({
            "track": name(&p.name),
            "segment": p.location.group,
            "part": p.location.object,
            "bytes": p.bytes,
            "independent": p.timing.sync,
            "madeMs": since(p.made),
        })),
        "sent": viewers,
    })
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
