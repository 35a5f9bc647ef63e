//! Chat over HTTP: for who has no MoQ, and for replays. Whoever may watch may read, and say something.

use std::net::SocketAddr;
use std::sync::Arc;

use access::Pass;
use axum::extract::{ConnectInfo, Extension, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use chat::{Refused, Sender};
use control::{ChatMessage, ChatPage, EngineError, VideoUid};
use serde_json::json;

use crate::gate::now_ms;
use crate::http::{Site, no_content, plain, text, too_busy};
use crate::library::Found;
use crate::limits::AGENT_CHARS_MAX;
use crate::playlist::{bad_request, not_found};

const JSON: &str = "application/json";

/// `GET`: what is shown of a chat that goes on; of a recording, what was said first.
pub(crate) async fn read(
    State(site): State<Arc<Site>>,
    Extension(Pass { id, .. }): Extension<Pass>,
    headers: HeaderMap,
) -> Response {
    match site.chat.find(&id) {
        Some(room) => shown(&room, &headers),
        None => page_of(&site, &id, ChatPage::After(0)).await,
    }
}

/// `GET` of a page of what was said, on the air or in a recording: `after` an id, or `until` milliseconds since 1970. Not in
/// the query, of which shared caches hand on only what media needs.
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    Extension(Pass { id, .. }): Extension<Pass>,
    Path((_, which, bound)): Path<(String, String, String)>,
) -> Response {
    // The database has 63 bits.
    let Some(bound) = bound.parse::<u64>().ok().filter(|bound| *bound <= u64::MAX >> 1) else {
        return bad_request("after and until go with a whole number");
    };
    match &*which {
        "after" => page_of(&site, &id, ChatPage::After(bound)).await,
        "until" => page_of(&site, &id, ChatPage::Until(bound)).await,
        _ => not_found("there are pages after and until"),
    }
}

async fn page_of(site: &Site, id: &str, page: ChatPage) -> Response {
    let video = match site.chat.find(id) {
        // Closed, there is nothing to be seen of it.
        Some(room) => room.is_open().then(|| room.video().clone()),
        None => match site.library.find(id).await {
            Found::Recording { recording, .. } => Some(recording.video.uid.clone()),
            Found::Shelf { shelf, .. } => VideoUid::parse(&shelf.about().video).ok(),
            Found::OffAir { .. } => None,
            Found::Nothing => return not_found("no such video or live input"),
            Found::Unknown => return too_busy(),
        },
    };
    let messages = match video {
        None => Vec::new(),
        Some(video) => match said(site, &video, page).await {
            Ok(messages) => messages,
            Err(error) => {
                tracing::warn!(%video, %error, "can't read a chat");
                return too_busy();
            }
        },
    };
    let body = json!({ "open": false, "messages": messages });
    text(JSON, "no-store", body.to_string().into())
}

/// What was said in a video; nothing, if its owner has closed that since.
async fn said(
    site: &Site,
    video: &VideoUid,
    page: ChatPage,
) -> Result<Vec<ChatMessage>, EngineError> {
    match site.library.chat_allowed(video).await? {
        true => site.chat.messages(video, page).await,
        false => Ok(Vec::new()),
    }
}

/// What everybody sees; nothing, if who asks has seen it.
fn shown(room: &chat::Room, headers: &HeaderMap) -> Response {
    let (json, revision) = room.shown();
    let tag = format!("\"{revision}\"");
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut response = match known == Some(&*tag) {
        true => no_content("no-store"),
        false => text(JSON, "no-store", json.into()),
    };
    if known == Some(&*tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// `POST`: one message.
pub(crate) async fn say(
    State(site): State<Arc<Site>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(Pass { id, .. }): Extension<Pass>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(room) = site.chat.find(&id) else {
        return plain(StatusCode::FORBIDDEN, &Refused::Closed.to_string());
    };
    let agent = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or("");
    let who = agent.chars().take(AGENT_CHARS_MAX).collect();
    let sender = Sender { address: peer.ip(), who };
    match site.chat.say(&room, &sender, &body, now_ms()) {
        Ok(id) => text(JSON, "no-store", json!({ "id": id }).to_string().into()),
        Err(refused) => {
            let (status, wait) = match refused {
                Refused::Closed => (StatusCode::FORBIDDEN, None),
                Refused::Unfit(_) => (StatusCode::BAD_REQUEST, None),
                Refused::TooOften(wait) => (StatusCode::TOO_MANY_REQUESTS, Some(wait)),
                Refused::Busy => (StatusCode::SERVICE_UNAVAILABLE, Some(1)),
            };
            let mut response = plain(status, &refused.to_string());
            if let Some(wait) = wait {
                response.headers_mut().insert(header::RETRY_AFTER, wait.into());
            }
            response
        }
    }
}
