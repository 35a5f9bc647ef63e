//! The pages, embedded when the program was built.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::Response;
use bytes::Bytes;

include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// Nothing is inline, nothing comes from another host. Players hand media to the browser as blobs.
const POLICY: &str = "default-src 'self'; media-src 'self' blob:; object-src 'none'; \
                      base-uri 'none'; form-action 'self'";

const WITHOUT_PAGES: &str = "The pages are not in this build of Airwave. With Node.js: \
                             (cd web && npm ci && npm run build), then build the server again.\n";

/// A page by its file name.
pub(crate) fn page(name: &str) -> Response {
    match find(name) {
        Some(bytes) => respond("text/html; charset=utf-8", "no-cache", bytes),
        None => crate::http::plain(StatusCode::OK, WITHOUT_PAGES),
    }
}

/// A file that pages load; its name has a hash of its content.
pub(crate) fn asset(name: &str) -> Response {
    let kind = match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("json" | "webmanifest") => "application/json",
        _ => "application/octet-stream",
    };
    match find(name) {
        Some(bytes) => respond(kind, "public, max-age=31536000, immutable", bytes),
        None => crate::http::plain(StatusCode::NOT_FOUND, "no such file"),
    }
}

fn find(name: &str) -> Option<&'static [u8]> {
    FILES.iter().find(|(file, _)| *file == name).map(|(_, bytes)| *bytes)
}

fn respond(kind: &'static str, cache: &'static str, bytes: &'static [u8]) -> Response {
    Response::builder()
        .header(header::CONTENT_TYPE, kind)
        .header(header::CACHE_CONTROL, cache)
        .header(header::CONTENT_SECURITY_POLICY, POLICY)
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(header::REFERRER_POLICY, "no-referrer")
        .body(Body::from(Bytes::from_static(bytes)))
        .unwrap_or_default()
}
