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
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use control::Downloads;
use futures_util::{Stream, StreamExt, stream};
use package::clip::{Piece, Plan, Refused, Wanted};

pub(crate) use plans::Plans;
pub(crate) use query::{Wrong, filename, named, range, time};

use crate::http::{Site, cors, plain, too_busy};
use crate::library::Found;
use crate::playlist::{bad_request, not_found};
use crate::ranges::ranged;
use source::{Failed, Source};

/// `/ID/clip.mp4?time=&duration=&filename=`.
pub(crate) async fn mp4(
    State(site): State<Site>,
    Extension(pass): Extension<Pass>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
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
    send(&site, found, wanted, attached, "video/mp4", &headers).await
}

/// `/ID/downloads/default.mp4`, `/ID/downloads/audio.m4a`.
pub(crate) async fn download(
    State(site): State<Site>,
    Extension(pass): Extension<Pass>,
    Path((_, file)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
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
    send(&site, found, wanted, attached, kind, &headers).await
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
    found: Found,
    wanted: Wanted,
    attached: Option<String>,
    kind: &'static str,
    headers: &HeaderMap,
) -> Response {
    let Some(source) = Source::of(&site.library, found) else {
        return not_found("no such video, or not on the air");
    };
    let plans = site.library.plans();
    let (plan, whole) = match plans.plan(&source, wanted).await {
        Ok(planned) => planned,
        Err(failed) => return refused(&failed),
    };
    let counters = site.library.counters().clone();
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
    ranged(base, &etag, plan.len, headers, |start, len| {
        counters.media_bytes.fetch_add(len, Ordering::Relaxed);
        body(source, &plan, start, len)
    })
}

/// The bytes, of one segment at a time: what is not taken is not read.
fn body(source: Source, plan: &Arc<Plan>, start: u64, len: u64) -> Body {
    let (head, pieces) = plan.cut(start..start.saturating_add(len));
    let plan = plan.clone();
    let groups: Vec<Vec<Piece>> =
        pieces.chunk_by(|a, b| a.segment == b.segment).map(<[Piece]>::to_vec).collect();
    let media = stream::iter(groups).then(move |group| {
        let (source, plan) = (source.clone(), plan.clone());
        async move { source.pieces(&plan.tracks, &group).await }
    });
    // A body that ends early is an error: its length was promised.
    let gone = || io::Error::new(io::ErrorKind::NotFound, "this is no longer there");
    let media = media.flat_map(move |read| chunks(read.ok_or_else(gone)));
    let head = stream::iter((!head.is_empty()).then_some(Ok(head)));
    Body::from_stream(head.chain(media))
}

fn chunks(read: io::Result<Vec<Bytes>>) -> impl Stream<Item = io::Result<Bytes>> {
    let items: Vec<io::Result<Bytes>> = match read {
        Ok(chunks) => chunks.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    };
    stream::iter(items)
}

pub(crate) fn refused(failed: &Failed) -> Response {
    let refused = match failed {
        Failed::Refused(refused) => refused,
        Failed::Gone => return not_found("some of it is no longer there"),
        Failed::Busy => return too_busy(),
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
        ] {
            assert_eq!(refused(&why).status().as_u16(), status, "{why:?}");
        }
    }
}
