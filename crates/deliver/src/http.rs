//! Routes, and what all answers share.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ::chat::limits::MESSAGE_BYTES_MAX;
use ::media::limits::CMCD_BYTES_MAX;
use access::table::Row;
use access::{Access, Pass};
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Extension, Path, RawQuery, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use bytes::Bytes;
use control::VideoUid;
use serde_json::{Value, json};

use crate::body::Pieces;
use crate::gate::Gate;
use crate::library::{Found, Library, may_have_pictures};
use crate::past_levels::Source;
use crate::shelf::Shelf;
use crate::waiting::Waiter;
use crate::{
    captions, chat, clip, dash, gate, level_files, media, pages, pictures, playback, playlist,
    share, whole, window,
};

/// What delivery serves.
#[derive(Clone)]
pub struct Site {
    /// Everything that can be watched.
    pub library: Arc<Library>,
    /// Who may watch it.
    pub access: Arc<Access>,
    /// What viewers say to each other.
    pub chat: Arc<::chat::Rooms>,
    /// The server to paste into an encoder; none where there is no RTMP.
    pub rtmp_url: Option<String>,
    /// The host name in URLs; none: the request's own.
    pub public_host: Option<String>,
    /// What the addresses of pages begin with; none: as they are asked for.
    pub public_url: Option<Arc<str>>,
    /// The longest clip that is cut while it is sent.
    pub clip_max: Duration,
    /// How this listener is reached: `http` or `https`.
    pub scheme: &'static str,
    /// Where pages get the same over MoQ; none where QUIC is off.
    pub moq: Option<Moq>,
}

/// Where MoQ is spoken to browsers, over WebTransport.
#[derive(Clone)]
pub struct Moq {
    /// Of UDP, on the same host.
    pub port: u16,
    /// The account: the first field of namespaces, before the input.
    pub account: &'static str,
    /// The SHA-256 of the certificate in hex, for `serverCertificateHashes`; none if browsers trust it.
    pub certificate: Arc<dyn Fn() -> Option<String> + Send + Sync>,
}

/// Who passes to a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// It belongs to nobody.
    Everybody,
    /// It belongs to `{id}`: whoever its owner lets in, by the gate. There is no other way to it.
    Gate,
    /// The same. Caches keep what it answers under what they read of the query: who asks in a way that they may read
    /// otherwise is refused. What reads no such parameter answers whatever stands there, and so does a page, which reads when a
    /// clip begins and is kept by nobody (`no-cache`).
    GateAndQuery,
    /// As `Gate`; the handler asks it itself, because the id is in the query.
    GateInside,
}

/// Who passes, how, where, and what answers.
type Route = (Who, &'static str, &'static str, MethodRouter<Arc<Site>>);

/// Every route with who passes: the router is made of this list, and so is the table in `docs/security.md`
/// (`AIRWAVE_WRITE_SNAPSHOTS=1 cargo nextest run -p node authorisation` writes it).
#[rustfmt::skip]
fn routes() -> Vec<Route> {
    use Who::{Everybody, Gate, GateAndQuery, GateInside};
    vec![
        (Everybody, "GET", "/", get(async |State(site): State<Arc<Site>>| pages::landing(site.quic()))),
        (Everybody, "GET", "/publish", get(async |State(site): State<Arc<Site>>| pages::publish(site.quic()))),
        (Everybody, "GET", "/moq.json", get(async |State(site): State<Arc<Site>>| as_json(&site.moq_address()))),
        (Everybody, "GET", "/live.json", get(live)),
        (Everybody, "GET", "/time", get(time)),
        (Everybody, "GET", "/assets/{*file}", get(asset)),
        (Everybody, "GET", "/favicon.ico", get(async || pages::favicon())),
        (Everybody, "GET", "/embed/{file}", get(script)),
        (GateInside, "GET", "/oembed", get(share::oembed)),
        (Gate, "GET", "/{id}/watch", get(share::watch)),
        (Gate, "GET", "/{id}/iframe", get(share::iframe)),
        (Gate, "GET", "/{id}/lifecycle", get(lifecycle)),
        (Gate, "GET", "/{id}/views", get(views)),
        (Gate, "GET", "/{id}/metadata/{file}", get(metadata)),
        (Gate, "GET", "/{id}/allowed", get(gate::allowed)),
        (Gate, "GET", "/{id}/allowed/{video}", get(gate::allowed)),
        (Gate, "POST", "/{id}/cmcd", post(playback::message).layer(DefaultBodyLimit::max(CMCD_BYTES_MAX))),
        (Gate, "GET", "/{id}/chat", get(chat::read)),
        (Gate, "GET", "/{id}/chat/{which}/{bound}", get(chat::page)),
        (Gate, "POST", "/{id}/chat", post(chat::say).layer(DefaultBodyLimit::max(MESSAGE_BYTES_MAX))),
        (GateAndQuery, "GET", "/{id}/manifest/{file}", get(manifest)),
        (GateAndQuery, "GET", "/{id}/clip.mp4", get(clip::mp4)),
        (GateAndQuery, "GET", "/{id}/downloads/{file}", get(clip::download)),
        (GateAndQuery, "GET", "/{id}/thumbnails/{file}", get(pictures::file)),
        (Gate, "GET", "/{id}/media/{video}/{track}/{file}", get(media_file)),
    ]
}

/// All routes of delivery.
pub fn router(site: Site) -> Router {
    // Each request has it several times, for as long as it waits.
    let site = Arc::new(site);
    // Once a path, whatever methods it has.
    let mut preflights = BTreeSet::new();
    let add = |router: Router<Arc<Site>>, (who, _, path, handler): Route| {
        let gate = Gate { site: site.clone(), reads_query: who == Who::GateAndQuery };
        let gate = axum::middleware::from_fn_with_state(gate, gate::gate);
        let handler = match who {
            Who::Gate | Who::GateAndQuery if !preflights.insert(path) => handler.route_layer(gate),
            Who::Gate | Who::GateAndQuery => handler.route_layer(gate).options(gate::preflight),
            Who::Everybody | Who::GateInside => handler,
        };
        router.route(path, handler)
    };
    let router = routes().into_iter().fold(Router::new(), add);
    // Not `layer`: that one would stand before the routes that this router is merged with.
    let router = router.route_layer(axum::middleware::map_response(in_our_words));
    let router = router.route_layer(axum::middleware::from_fn(whole::whole_for_old_clients));
    router.fallback(async || playlist::not_found("no such address")).with_state(site)
}

/// What a library refuses has neither what caches and pages of other origins need, nor words of ours.
async fn in_our_words(response: Response) -> Response {
    let status = response.status();
    let fault = status.is_client_error() || status.is_server_error();
    if !fault || response.headers().contains_key(header::CACHE_CONTROL) {
        return response;
    }
    let words = match status {
        StatusCode::METHOD_NOT_ALLOWED => "not by this method; Allow says by which",
        StatusCode::PAYLOAD_TOO_LARGE => "the body is too large",
        _ => status.canonical_reason().unwrap_or("refused"),
    };
    let mut answer = plain(status, words);
    if let Some(allow) = response.headers().get(header::ALLOW) {
        answer.headers_mut().insert(header::ALLOW, allow.clone());
    }
    answer
}

/// The rows of the authorisation table.
pub fn table() -> Vec<Row> {
    let row = |(who, method, path, _): Route| {
        let (who, of) = match who {
            Who::Everybody => ("everybody", "nobody's"),
            Who::Gate | Who::GateAndQuery | Who::GateInside => {
                ("whom its owner lets in", "the video or live input")
            }
        };
        Row { method, path: path.to_owned(), who, of }
    };
    routes().into_iter().map(row).collect()
}

async fn asset(Path(file): Path<String>, headers: HeaderMap) -> Response {
    pages::asset(&format!("assets/{file}"), &headers)
}

async fn script(Path(file): Path<String>, headers: HeaderMap) -> Response {
    pages::script(&format!("embed/{file}"), &headers)
}

async fn live(State(site): State<Arc<Site>>) -> Response {
    let now = Instant::now();
    let mut on_air = Vec::new();
    for shelf in site.library.on_air() {
        if site.access.listed(&shelf.about().input, gate::now_ms()).await {
            on_air.push(shelf);
        }
    }
    let pictures = site.library.levels().pictures().is_some();
    let broadcasts: Vec<_> = on_air
        .iter()
        .map(|shelf| {
            let about = shelf.about();
            json!({
                "id": about.input,
                "name": about.name,
                "live": shelf.live(),
                "startedAt": about.started_ms,
                "viewers": (!about.hide_viewers).then(|| shelf.viewers(now)),
                "thumbnail": (pictures && shelf.with_index(may_have_pictures))
                    .then(|| share::thumbnail("", &about.input, "width=640")),
            })
        })
        .collect();
    let ingest = site.rtmp_url.as_ref().map(|rtmp| json!({ "rtmp": rtmp }));
    as_json(&json!({ "broadcasts": broadcasts, "ingest": ingest }))
}

/// The server's clock, for players that measure latency.
async fn time() -> Response {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = ::media::date::date_time(u64::try_from(since.as_millis()).unwrap_or(0));
    text("text/plain; charset=utf-8", "no-store", now.into())
}

impl Site {
    /// The port that pages may open WebTransport to.
    pub(crate) fn quic(&self) -> Option<u16> {
        self.moq.as_ref().map(|moq| moq.port)
    }

    /// The host whose pages are this server's own: the one that was asked, or the public one, where a proxy in between
    /// names another.
    pub(crate) fn own_host<'a>(
        &'a self,
        origin: Option<&str>,
        asked: Option<&'a str>,
    ) -> Option<&'a str> {
        let authority = |url: &'a str| url.split_once("://").map(|(_, authority)| authority);
        let public = self.public_url.as_deref().filter(|url| origin == Some(*url));
        public.and_then(authority).or(asked)
    }

    /// Whether viewers chat, or did until it ended a moment ago.
    async fn chatting(&self, video: &str, live: bool) -> bool {
        match VideoUid::parse(video) {
            Ok(video) if !live => self.chatted(&video).await,
            _ => self.chat.find(video).is_some_and(|room| room.is_open()),
        }
    }

    /// Whether something was said while this was on the air, and may be seen.
    async fn chatted(&self, video: &VideoUid) -> bool {
        self.chat.anything(video).await.unwrap_or(false)
            && self.library.chat_allowed(video).await.unwrap_or(false)
    }

    /// Where MoQ is, on the page's host; null where it is not.
    fn moq_address(&self) -> Value {
        self.moq.as_ref().map_or(Value::Null, |moq| {
            json!({
                "port": moq.port,
                "account": moq.account,
                "certificate": (moq.certificate)(),
            })
        })
    }

    /// How to watch a live input over MoQ. The path is the id that the page has, which may be a token.
    fn over_moq(&self, input: &str) -> Value {
        let mut address = self.moq_address();
        if let Value::Object(fields) = &mut address {
            fields.insert("input".to_owned(), input.into());
        }
        address
    }
}

/// The vendor's name for a video's `publicDetails`; of an input, those of what it has on the air.
async fn metadata(
    State(site): State<Arc<Site>>,
    Extension(pass): Extension<Pass>,
    Path((_, file)): Path<(String, String)>,
) -> Response {
    if file != "playerEnhancementInfo.json" {
        return playlist::not_found("no such file: there is playerEnhancementInfo.json");
    }
    match site.library.public_details(&pass.id).await {
        Ok(Some(details)) => as_json(&json!(details)),
        Ok(None) => playlist::not_found("no such video, or not on the air"),
        Err(_) => too_busy(),
    }
}

async fn lifecycle(State(site): State<Arc<Site>>, Extension(pass): Extension<Pass>) -> Response {
    let pictures = site.library.levels().pictures().is_some();
    let found = site.library.find(&pass.id).await;
    let pictures = pictures && found.may_have_pictures(&site.library).await;
    match found {
        Found::Shelf { shelf, by_input } => {
            let about = shelf.about();
            let live = shelf.live();
            let status = if live { "live" } else { "the broadcast has ended" };
            as_json(&json!({
                "isInput": by_input,
                "videoUID": about.video,
                "live": live,
                "status": status,
                "name": about.name,
                // A video has its own address over HTTP only.
                "moq": if live && by_input { site.over_moq(&about.input) } else { Value::Null },
                "clips": about.allow_clips,
                "chat": site.chatting(&about.video, live).await,
                "thumbnails": pictures,
                "clipSeconds": site.clip_max.as_secs(),
            }))
        }
        Found::Recording { recording, by_input } => {
            let video = &recording.video;
            let live = video.live();
            let status = if live { "waiting for the encoder" } else { "the broadcast has ended" };
            as_json(&json!({
                "isInput": by_input,
                "videoUID": video.uid.as_str(),
                "live": live,
                "status": status,
                "name": video.settings.meta.get("name"),
                "clips": video.settings.allow_clips,
                "chat": site.chatted(&video.uid).await,
                "thumbnails": pictures,
                "clipSeconds": site.clip_max.as_secs(),
            }))
        }
        Found::OffAir { name, recording, allow_clips } => {
            let chat = match &recording {
                Some(video) => site.chatted(video).await,
                None => false,
            };
            as_json(&json!({
                "isInput": true,
                "videoUID": recording.as_ref().map(VideoUid::as_str),
                "live": false,
                "status": "the broadcaster is not live at the moment",
                "name": name,
                "clips": allow_clips,
                "chat": chat,
                // Of the recording: the input has none now.
                "thumbnails": pictures,
                "clipSeconds": site.clip_max.as_secs(),
            }))
        }
        Found::Nothing => playlist::not_found("no such video or live input"),
        Found::Unknown => too_busy(),
    }
}

async fn views(State(site): State<Arc<Site>>, Extension(pass): Extension<Pass>) -> Response {
    match site.library.find(&pass.id).await {
        Found::Shelf { shelf, .. } if shelf.about().hide_viewers => {
            plain(StatusCode::FORBIDDEN, "the number of viewers is not shown")
        }
        Found::Shelf { shelf, .. } => {
            as_json(&json!({ "liveViewers": shelf.viewers(Instant::now()) }))
        }
        Found::OffAir { .. } | Found::Recording { .. } => as_json(&json!({ "liveViewers": 0 })),
        Found::Nothing => playlist::not_found("no such video or live input"),
        Found::Unknown => too_busy(),
    }
}

async fn manifest(
    State(site): State<Arc<Site>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(Pass { id, .. }): Extension<Pass>,
    Extension(waiter): Extension<Waiter>,
    Path((_, file)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    // All but the last of these waits are in memory of their own, so that whoever waits in the last one is small.
    let found = match site.library.shelf(&id) {
        Some(found) => found,
        None => Box::pin(site.library.find_begun(&id)).await,
    };
    let captions = Box::pin(captions::asked(&site.library, &found, &file, &query));
    if let Some(answer) = captions.await {
        return answer;
    }
    let (name, mpd) = match (file.strip_suffix(".m3u8"), &*file) {
        (Some(name), _) => (name, false),
        (None, "video.mpd") => ("video", true),
        (None, _) => return playlist::not_found("no such manifest"),
    };
    if let (Found::Shelf { shelf, .. }, "clip" | "video", false) = (&found, name, mpd) {
        // What the tracks are that are listed.
        Box::pin(dash::learn(shelf)).await;
    }
    if !mpd {
        let levels = site.library.levels();
        if let Some(answer) = window::asked(&found, name, &query, site.clip_max, levels) {
            return answer;
        }
    }
    let (shelf, by_input): (Arc<Shelf>, bool) = match found {
        Found::Shelf { shelf, by_input } => (shelf, by_input),
        Found::Recording { recording, by_input } => {
            site.library.counters().playlists.fetch_add(1, Ordering::Relaxed);
            return match mpd {
                true => Box::pin(dash::recorded(&site.library, &recording, &query)).await,
                false => {
                    let levels = site.library.levels();
                    playlist::recorded(&recording, levels, name, &query, by_input)
                }
            };
        }
        Found::OffAir { .. } => match site.library.lately(&id).filter(|_| mpd || name != "video") {
            // Those who were watching see the end of it.
            Some(shelf) => (shelf, true),
            // The vendor's clients know 204 as "not started".
            None => return no_content(SHARED_MOMENT),
        },
        Found::Nothing => return playlist::not_found("no such video or live input"),
        Found::Unknown => return too_busy(),
    };
    if name == "video" && !mpd {
        let levels = site.library.levels();
        return Box::pin(playlist::multivariant(&shelf, levels, &query, by_input, waiter)).await;
    }
    let agent = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or("");
    shelf.saw_viewer(peer.ip(), agent, Instant::now());
    if let Some(said) = playback::said(&headers, &query) {
        shelf.heard(peer.ip(), &said, Instant::now());
    }
    // They keep the buffer that they were read into, and what follows may wait for long.
    drop(headers);
    if mpd {
        return Box::pin(dash::mpd(&shelf, site.library.levels(), &query, waiter)).await;
    }
    playlist::media(&shelf, site.library.levels(), name, &query, by_input, waiter).await
}

async fn media_file(
    State(site): State<Arc<Site>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(Pass { id: video, .. }): Extension<Pass>,
    Extension(waiter): Extension<Waiter>,
    Path((_, _, track, file)): Path<(String, String, String, String)>,
    RawQuery(query): RawQuery,
    Parts { method, headers, .. }: Parts,
) -> Response {
    match site.library.find(&video).await {
        Found::Shelf { shelf, by_input: false } => {
            if let Some(said) = playback::said(&headers, query.as_deref().unwrap_or_default()) {
                shelf.heard(peer.ip(), &said, Instant::now());
            }
            let levels = shelf.levels(site.library.levels());
            match levels.in_folder(&track) {
                Some(level) => {
                    let (source, places) =
                        (Source::OnAir(shelf.clone()), (shelf.counters(), waiter));
                    Box::pin(level_files::file(&source, level, places, (&method, &file), &headers))
                        .await
                }
                None => {
                    let asked = (&method, &headers);
                    media::file(&shelf, &track, &file, asked, peer, waiter).await
                }
            }
        }
        Found::Recording { recording, by_input: false } => {
            let library = &site.library;
            let levels = playlist::levels_of(&recording, library.levels());
            if let Some(level) = levels.in_folder(&track) {
                let source = Source::Recording(library.history().clone(), recording.clone());
                let places = (library.counters(), waiter);
                return Box::pin(level_files::file(
                    &source,
                    level,
                    places,
                    (&method, &file),
                    &headers,
                ))
                .await;
            }
            let asked = (&method, &headers);
            // It is large, and others of these wait for long.
            Box::pin(media::recorded(library, &recording, &track, &file, asked, waiter)).await
        }
        _ => playlist::not_found("no such video"),
    }
}

/// What pages of other origins may read of an answer's head.
const EXPOSED: &str =
    "Content-Length, Content-Range, Date, ETag, preview-start-seconds, stream-media-id";

/// Delivery may be used by pages of other origins. Nothing here depends on cookies.
pub(crate) fn cors() -> axum::http::response::Builder {
    Response::builder()
        .header(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")
        .header(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED)
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
}

pub(crate) fn text(kind: &'static str, cache: impl Into<String>, body: Bytes) -> Response {
    cors()
        .header(header::CONTENT_TYPE, kind)
        .header(header::CACHE_CONTROL, cache.into())
        .body(Body::from(body))
        .unwrap_or_default()
}

/// Text of pieces, some of which others share.
pub(crate) fn in_pieces(kind: &'static str, cache: String, pieces: Pieces) -> Response {
    cors()
        .header(header::CONTENT_TYPE, kind)
        .header(header::CACHE_CONTROL, cache)
        .header(header::CONTENT_LENGTH, pieces.len())
        .body(pieces.into_body())
        .unwrap_or_default()
}

pub(crate) fn plain(status: StatusCode, words: &str) -> Response {
    let mut words = words.to_owned();
    if !words.ends_with('\n') {
        words.push('\n');
    }
    cors()
        .status(status)
        .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
        .header(header::CACHE_CONTROL, "no-store")
        .body(Body::from(words))
        .unwrap_or_default()
}

/// What changes at any moment and is the same for all who ask: a shared cache asks once a second for all of them,
/// a browser always.
pub(crate) const SHARED_MOMENT: &str = "max-age=0, s-maxage=1";

pub(crate) fn no_content(cache: &'static str) -> Response {
    let response = cors().status(StatusCode::NO_CONTENT).header(header::CACHE_CONTROL, cache);
    response.body(Body::empty()).unwrap_or_default()
}

pub(crate) fn too_busy() -> Response {
    not_now("too much is going on: try again in a moment", Duration::from_secs(1))
}

/// Not now: why, and when to try again.
pub(crate) fn not_now(words: &str, again: Duration) -> Response {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, words);
    response.headers_mut().insert(header::RETRY_AFTER, again.as_secs().max(1).into());
    response
}

fn as_json(value: &serde_json::Value) -> Response {
    text("application/json", SHARED_MOMENT, value.to_string().into())
}
