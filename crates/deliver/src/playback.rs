//! Listening to what players say of themselves (CMCD, CTA-5004): with their requests, in header fields or in the query, or
//! in a message of its own, which is how it gets past a shared cache.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use access::Pass;
use axum::extract::{ConnectInfo, Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use media::cmcd::{HEADERS, Said};

use crate::http::{Site, no_content, plain};
use crate::library::Found;
use crate::limits::CMCD_LINES_MAX;

/// What a request says of its player. Most say nothing, so that is found out first.
pub(crate) fn said(headers: &HeaderMap, query: &str) -> Option<Said> {
    let mut said = Said::default();
    let mut any = false;
    for name in HEADERS {
        if let Some(list) = headers.get(name).and_then(|v| v.to_str().ok()) {
            any |= said.take(list);
        }
    }
    if query.contains(media::cmcd::PARAMETER) {
        any |= said.take_query(query);
    }
    any.then_some(said)
}

/// A message: a list of pairs a line. What is on the air takes note; whoever watches a recording is told the same.
pub(crate) async fn message(
    State(site): State<Arc<Site>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(Pass { id, .. }): Extension<Pass>,
    body: Bytes,
) -> Response {
    let Ok(text) = std::str::from_utf8(&body) else {
        return plain(StatusCode::BAD_REQUEST, "CMCD is text");
    };
    if let Found::Shelf { shelf, .. } = site.library.find(&id).await {
        for line in text.lines().take(CMCD_LINES_MAX) {
            let mut said = Said::default();
            if said.take(line) {
                shelf.heard(peer.ip(), &said, Instant::now());
            }
        }
    }
    no_content("no-store")
}
