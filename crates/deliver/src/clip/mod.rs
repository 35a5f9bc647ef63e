//! Files: clips (`clip.mp4`) and downloads (`downloads/default.mp4`, `audio.m4a`). Nothing is kept of them: the head is
//! computed from the index, the media is read from where it is, segment by segment, as the client takes it.

mod plans;
mod query;
mod source;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use access::Pass;
use axum::body::Body;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use control::Downloads;
use futures_util::{StreamExt, stream};
use package::clip::{Plan, Refused, Wanted};

pub(crate) use plans::Plans;
pub(crate) use query::{Wrong, filename, named, range, time};

use crate::disk::{self, held};
use crate::http::{Site, cors, plain, too_busy};
use crate::library::Found;
use crate::limits::READ_BYTES;
use crate::playlist::{bad_request, not_found};
use crate::ranges::{Asked, asked, ranged};
use crate::shelf::Counters;
use crate::waiting::{Place, Waiter};
use source::{Failed, Source};

/// `/ID/clip.mp4?time=&duration=&filename=`.
pub(crate) async fn mp4(
    State(site): State<Arc<Site>>,
    Extension(pass): Extension<Pass>,
    Extension(waiter): Extension<Waiter>,
    RawQuery(query): RawQuery,
    Parts { method, headers, .. }: Parts,
) -> Response {
    let query = query.unwrap_or_default();
    let (wanted, name) =
        match range(&query, site.clip_max).and_then(|wanted| Ok((wanted, filename(&query)?))) {
            Ok(asked) => asked,
            Err(words) => return bad_request(&words),
        };
    let found = match allowed(&site, &pass).await {
        Ok(found) => found,
        Err(response) => return *response,
    };
    let attached = name.map(|name| format!("attachment; filename=\"{name}.mp4\""));
    send(&site, (found, wanted), (attached, "video/mp4"), waiter, (&method, &headers)).await
}

/// `/ID/downloads/default.mp4`, `/ID/downloads/audio.m4a`.
pub(crate) async fn download(
    State(site): State<Arc<Site>>,
    Extension(pass): Extension<Pass>,
    Extension(waiter): Extension<Waiter>,
    Path((_, file)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    Parts { method, headers, .. }: Parts,
) -> Response {
    let query = query.unwrap_or_default();
    let picture = match &*file {
        "default.mp4" => true,
        "audio.m4a" => false,
        _ => return not_found("no such file: there are default.mp4 and audio.m4a"),
    };
    let name = match filename(&query) {
        Ok(name) => name,
        Err(words) => return bad_request(&words),
    };
    let found = match allowed(&site, &pass).await {
        Ok(found) => found,
        Err(response) => return *response,
    };
    let Found::Recording { recording, .. } = &found else {
        return not_found("there is no file of it: it is on the air, or was not recorded");
    };
    let Downloads { default, audio } = recording.video.settings.downloads;
    if recording.video.live() || !(if picture { default } else { audio }) {
        return not_found("its owner offers no such file");
    }
    let mut wanted = Wanted::everything(picture);
    // What of a clip is only there to be decoded is not shown.
    if let Some(clip) = &recording.video.clip {
        wanted.from_ns = clip.hidden_ns;
        wanted.to_ns = clip.hidden_ns.saturating_add(clip.seen_ns);
    }
    let (ending, kind) = if picture { ("mp4", "video/mp4") } else { ("m4a", "audio/mp4") };
    let otherwise = if picture { "default" } else { "audio" };
    let name = name.as_deref().unwrap_or(otherwise);
    let attached = Some(format!("attachment; filename=\"{name}.{ending}\""));
    send(&site, (found, wanted), (attached, kind), waiter, (&method, &headers)).await
}

async fn allowed(site: &Site, pass: &Pass) -> Result<Found, Box<Response>> {
    if !pass.downloadable {
        let words = "this link is to watch: files need one that says downloadable";
        return Err(plain(StatusCode::FORBIDDEN, words).into());
    }
    match site.library.find(&pass.id).await {
        Found::Unknown => Err(too_busy().into()),
        found => Ok(found),
    }
}

async fn send(
    site: &Site,
    (found, wanted): (Found, Wanted),
    (attached, kind): (Option<String>, &'static str),
    waiter: Waiter,
    (method, headers): (&Method, &HeaderMap),
) -> Response {
    let Some(source) = Source::of(&site.library, found) else {
        return not_found("no such video, or not on the air");
    };
    let counters: &Counters = site.library.counters();
    let planned = site.library.plans().plan((&source, wanted), (counters, waiter)).await;
    let (plan, whole) = match planned {
        Ok(planned) => planned,
        Err(failed) => return refused(&failed),
    };
    counters.media.fetch_add(1, Ordering::Relaxed);
    // It may be deleted at any time; what ends at the live edge is another file a moment later.
    let cache = if whole { "max-age=60" } else { "no-store" };
    let mut base = cors().header(header::CACHE_CONTROL, cache).header(header::CONTENT_TYPE, kind);
    if let Some(attached) = attached {
        base = base.header(header::CONTENT_DISPOSITION, attached);
    }
    let first = plan.pieces.first();
    let (segment, epoch) = first.map_or((0, 0), |p| (p.segment, p.epoch));
    let etag = format!("{epoch}-{segment}-{}-{}-{}", plan.from_ns, plan.duration_ns, plan.len);
    let taken = matches!(asked(headers, &etag, plan.len), Asked::Whole | Asked::Part(..));
    if !taken || *method == Method::HEAD {
        return ranged(base, &etag, plan.len, headers, |_, _| Body::empty());
    }
    // A piece of it, and as much for the tables of a file that nobody else asks for.
    let place = match counters.read.take_some(waiter, 2 * READ_BYTES) {
        Ok(place) => place,
        Err(busy) => return disk::refused(busy),
    };
    ranged(base, &etag, plan.len, headers, |start, len| {
        counters.media_bytes.fetch_add(len, Ordering::Relaxed);
        body(source, &plan, start, len, place)
    })
}

/// The bytes, a few of one segment at a time: what is not taken is not read.
fn body(source: Source, plan: &Arc<Plan>, start: u64, len: u64, place: Place) -> Body {
    let (head, rest) = plan.cut(start..start.saturating_add(len));
    let begun = Some((source, plan.clone(), rest, Arc::new(place)));
    let media = stream::unfold(begun, |begun| async move {
        let (source, plan, mut rest, place) = begun?;
        let pieces = plan.take(&mut rest, READ_BYTES);
        if pieces.is_empty() {
            return None;
        }
        match source.pieces(&plan.tracks, &pieces).await {
            Some(read) => {
                let read = read.into_iter().map(|bytes| Ok(held(bytes, &place)));
                let read: Vec<io::Result<Bytes>> = read.collect();
                Some((read, Some((source, plan, rest, place))))
            }
            // A body that ends early is an error: its length was promised.
            None => {
                let gone = io::Error::new(io::ErrorKind::NotFound, "this is no longer there");
                Some((vec![Err(gone)], None))
            }
        }
    });
    let head = stream::iter((!head.is_empty()).then_some(Ok(head)));
    Body::from_stream(head.chain(media.flat_map(stream::iter)))
}

pub(crate) fn refused(failed: &Failed) -> Response {
    let refused = match failed {
        Failed::Refused(refused) => refused,
        Failed::Gone => return not_found("some of it is no longer there"),
        Failed::Busy => return too_busy(),
        Failed::Full(busy) => return busy.response(),
    };
    let status = match refused {
        Refused::Outside { .. } | Refused::NoTrack(_) => StatusCode::NOT_FOUND,
        Refused::Damaged => StatusCode::INTERNAL_SERVER_ERROR,
        Refused::Changes { .. }
        | Refused::NoKeyFrame
        | Refused::Empty
        | Refused::Gap
        | Refused::TooLong => StatusCode::UNPROCESSABLE_ENTITY,
    };
    plain(status, &refused.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::waiting::Busy;

    /// What another range or video would have is 404, what can't be cut as it stands is 422, and our own fault is 500.
    #[test]
    fn what_is_not_cut_says_whose_fault_it_is() {
        for (why, status) in [
            (Failed::Refused(Refused::Outside { from: 2.0, begin: 0.0, end: 1.0 }), 404),
            (Failed::Refused(Refused::NoTrack("sound")), 404),
            (Failed::Refused(Refused::Changes { what: "picture", at: 1.0 }), 422),
            (Failed::Refused(Refused::NoKeyFrame), 422),
            (Failed::Refused(Refused::Empty), 422),
            (Failed::Refused(Refused::Gap), 422),
            (Failed::Refused(Refused::TooLong), 422),
            (Failed::Refused(Refused::Damaged), 500),
            (Failed::Gone, 404),
            (Failed::Busy, 503),
            (Failed::Full(Busy::Address), 503),
        ] {
            assert_eq!(refused(&why).status().as_u16(), status, "{why:?}");
        }
    }
}
