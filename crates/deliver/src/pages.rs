//! The pages, embedded when the program was built.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;

include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// Nothing is inline, nothing comes from another host. Players hand media to the browser as blobs, and
/// hls.js gives its tracks of captions an empty file (`data:,WEBVTT`). Text becomes elements or scripts in two places only:
/// the player's (web/src/shared/trusted.ts), and that of Svelte, which makes the elements of its own templates.
macro_rules! policy {
    ($more:literal) => {
        concat!(
            "default-src 'self'; media-src 'self' blob: data:; object-src 'none'; base-uri 'none'; ",
            "form-action 'self'; require-trusted-types-for 'script'; ",
            "trusted-types airwave svelte-trusted-html; ",
            $more
        )
    };
}

/// Nobody else's page may put ours into a frame: a click on it would be a click on the dashboard.
const POLICY: &str = policy!("frame-ancestors 'none'");

/// The player is there to be framed, by pages from anywhere (also from a file or an app, which no
/// `frame-ancestors` matches), unless its owner has named them: then [`embedded`] adds a policy for
/// each list, as a browser obeys all that it gets. Its poster is whatever the page around it chose.
const EMBEDDED_POLICY: &str = policy!("img-src 'self' https: http:");

/// Scripts with a name that stays are asked for again after this.
const SCRIPT_CACHE: &str = "public, max-age=300";

const WITHOUT_PAGES: &str = "The pages are not in this build of Airwave. With Node.js: \
                             (cd web && npm ci && npm run build), then build the server again.\n";

/// Whether the pages are in this build.
pub(crate) fn there() -> bool {
    find("watch.html").is_some()
}

/// The page at `/`.
pub(crate) fn landing(quic: Option<u16>) -> Response {
    html(StatusCode::OK, POLICY, quic, find("index.html").map(Bytes::from_static))
}

/// The page at `/ID/iframe`; `embedders`: whose pages may frame it, none: everybody's.
pub(crate) fn embedded(quic: Option<u16>, embedders: &[Vec<String>]) -> Response {
    let page = find("embed.html").map(Bytes::from_static);
    let mut response = html(StatusCode::OK, EMBEDDED_POLICY, quic, page);
    for list in embedders {
        let ancestors = format!("frame-ancestors {}", access::frame_sources(list));
        // invariant: hosts are visible ASCII; if they were not, nobody's page may frame it.
        let policy = HeaderValue::from_str(&ancestors)
            .unwrap_or(HeaderValue::from_static("frame-ancestors 'none'"));
        response.headers_mut().append(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// The page at `/ID/watch`; `about`: elements of its head, instead of the title that the file has.
pub(crate) fn watch(status: StatusCode, quic: Option<u16>, about: &str) -> Response {
    html(status, POLICY, quic, find("watch.html").map(|page| with_head(page, about)))
}

fn with_head(page: &'static [u8], about: &str) -> Bytes {
    let marked = std::str::from_utf8(page).ok().and_then(|text| {
        let (before, rest) = text.split_once("<!--about-->")?;
        let (_, after) = rest.split_once("<!--/about-->")?;
        Some([before, about, after].concat())
    });
    marked.map_or(Bytes::from_static(page), Bytes::from)
}

/// The page at `/publish`.
pub(crate) fn publish(quic: Option<u16>) -> Response {
    html(StatusCode::OK, POLICY, quic, find("publish.html").map(Bytes::from_static))
}

fn html(
    status: StatusCode,
    policy: &'static str,
    quic: Option<u16>,
    page: Option<Bytes>,
) -> Response {
    let Some(page) = page else {
        return crate::http::plain(status, WITHOUT_PAGES);
    };
    let mut response = respond("text/html; charset=utf-8", "no-cache", policy, page);
    if let Some(port) = quic {
        // Another port is another origin. Which host it is the page knows: a policy that names it would
        // have to believe the request's.
        let more = format!("{policy}; connect-src 'self' https://*:{port}");
        if let Ok(more) = HeaderValue::from_str(&more) {
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, more);
        }
    }
    *response.status_mut() = status;
    response
}

/// A file that pages load; its name has a hash of its content.
pub(crate) fn asset(name: &str, headers: &HeaderMap) -> Response {
    let file = file(name, "public, max-age=31536000, immutable", headers);
    file.unwrap_or_else(|| crate::http::plain(StatusCode::NOT_FOUND, "no such file"))
}

/// A script for pages of other origins.
pub(crate) fn script(name: &str, headers: &HeaderMap) -> Response {
    let Some(mut response) = file(name, SCRIPT_CACHE, headers) else {
        return crate::http::plain(StatusCode::NOT_FOUND, "no such file");
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    let anywhere = HeaderValue::from_static("cross-origin");
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), anywhere);
    response
}

/// What stands compressed beside a file (web/compressed.ts).
const PACKED: &str = ".gz";

/// A file, compressed if it is there so and whoever asks can read that.
fn file(name: &str, cache: &'static str, headers: &HeaderMap) -> Option<Response> {
    let whole = find(name).filter(|_| !name.ends_with(PACKED))?;
    let packed = find(&format!("{name}{PACKED}"));
    let sent = packed.filter(|_| reads_gzip(headers));
    let mut response = respond(kind(name), cache, POLICY, sent.unwrap_or(whole).into());
    let headers = response.headers_mut();
    if packed.is_some() {
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    if sent.is_some() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Some(response)
}

/// RFC 9110 §12.5.3: a coding is named, or all others are by `*`, and not with a weight of 0.
fn reads_gzip(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut others = false;
    for entry in fields.filter_map(|field| field.to_str().ok()).flat_map(|text| text.split(',')) {
        let (coding, weight) = entry.split_once(';').unwrap_or((entry, ""));
        let weight = weight.trim().strip_prefix("q=").and_then(|q| q.trim().parse::<f32>().ok());
        let wanted = weight.is_none_or(|q| q > 0.0);
        match coding.trim() {
            coding if coding.eq_ignore_ascii_case("gzip") => return wanted,
            "*" => others = wanted,
            _ => {}
        }
    }
    others
}

/// Browsers ask for this one beside everything that is no page of ours, a playlist say.
pub(crate) fn favicon() -> Response {
    let icon = |name: &str| name.starts_with("assets/airwave-") && name.ends_with(".svg");
    match FILES.iter().find(|(name, _)| icon(name)) {
        Some((name, bytes)) => {
            respond(kind(name), "public, max-age=86400", POLICY, (*bytes).into())
        }
        None => crate::http::no_content("no-store"),
    }
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("json" | "webmanifest") => "application/json",
        _ => "application/octet-stream",
    }
}

fn find(name: &str) -> Option<&'static [u8]> {
    FILES.iter().find(|(file, _)| *file == name).map(|(_, bytes)| *bytes)
}

fn respond(kind: &'static str, cache: &'static str, policy: &'static str, body: Bytes) -> Response {
    Response::builder()
        .header(header::CONTENT_TYPE, kind)
        .header(header::CACHE_CONTROL, cache)
        .header(header::CONTENT_SECURITY_POLICY, policy)
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(header::REFERRER_POLICY, "no-referrer")
        .body(Body::from(body))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_gzip_says_so() {
        for (fields, expect) in [
            (&["gzip, deflate, br, zstd"][..], true),
            (&["GZIP"], true),
            (&["br;q=1.0, gzip;q=0.8, *;q=0.1"], true),
            (&["br", "gzip; q=0.5"], true),
            (&["*"], true),
            (&[], false),
            (&[""], false),
            (&["identity"], false),
            (&["br, deflate"], false),
            (&["gzip;q=0"], false),
            (&["*, gzip;q=0.000"], false),
            (&["*;q=0"], false),
            (&["gzipped, x;gzip"], false),
        ] {
            let field = |f: &&str| (header::ACCEPT_ENCODING, HeaderValue::from_str(f).unwrap());
            assert_eq!(reads_gzip(&fields.iter().map(field).collect()), expect, "{fields:?}");
        }
    }

    #[test]
    fn the_head_is_put_where_the_page_marks_it() {
        let page = b"<head><!--about--><title>x</title><!--/about--></head>";
        assert_eq!(with_head(page, "<title>y</title>"), "<head><title>y</title></head>");
        for unmarked in [&b"<head></head>"[..], b"<!--about-->", b"\xff"] {
            assert_eq!(with_head(unmarked, "y"), unmarked);
        }
    }
}
