//! What is shown of a broadcast elsewhere: the head of its watch page (`OpenGraph`, Twitter), and oEmbed.
//!
//! Names are what owners typed, ids and hosts what strangers sent: all of them are escaped for where they stand.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use access::{Pass, Visitor};
use axum::extract::{ConnectInfo, Extension, Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::Response;
use serde_json::json;

use crate::http::{Site, plain, text, too_busy};
use crate::library::Found;
use crate::limits::SHARED_NAME_CHARS_MAX;
use crate::{clip, gate, pages, playlist};
use media::markup::escaped;

/// The size that players are offered in, where nobody asks for another.
const SIZE: (u64, u64) = (1280, 720);

/// What of the browser an embedded player may use.
const ALLOW: &str = "autoplay; fullscreen; picture-in-picture";

/// `/ID/watch`.
pub(crate) async fn watch(
    State(site): State<Arc<Site>>,
    Extension(pass): Extension<Pass>,
    // The uid, or the token by which it is shared.
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let clip = query.as_deref().and_then(|query| clip::named(query, site.clip_max));
    let found = site.library.find(&pass.id).await;
    let otherwise = match found {
        Found::Unknown => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::NOT_FOUND,
    };
    let has_pictures = found.may_have_pictures(&site.library).await;
    match About::of(found) {
        Some(about) => {
            let pictured =
                about.pictured && has_pictures && site.library.levels().pictures().is_some();
            let about = About { clip, pictured, ..about };
            let head = about.head(&origin(&site, &uri, &headers), &id);
            pages::watch(StatusCode::OK, site.quic(), &head)
        }
        None => {
            let head = "<title>Airwave</title>\n    <meta name=\"robots\" content=\"noindex\" />";
            pages::watch(otherwise, site.quic(), head)
        }
    }
}

/// `/ID/iframe`.
pub(crate) async fn iframe(
    State(site): State<Arc<Site>>,
    Extension(pass): Extension<Pass>,
) -> Response {
    pages::embedded(site.quic(), &pass.embedders)
}

/// `/oembed?url=…`: <https://oembed.com>, version 1.0, JSON.
pub(crate) async fn oembed(
    State(site): State<Arc<Site>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    if parameter(&query, "format").is_some_and(|format| format != "json") {
        return plain(StatusCode::NOT_IMPLEMENTED, "only format=json");
    }
    let Some(url) = parameter(&query, "url") else {
        return playlist::bad_request("url: the address of a page /ID/watch or /ID/iframe");
    };
    let origin = origin(&site, &uri, &headers);
    let Some(id) = page_of(&url, &origin) else {
        return playlist::not_found("url: not a page of this server");
    };
    let page = headers.get(header::ORIGIN).and_then(|value| value.to_str().ok());
    let visitor = Visitor {
        address: peer.ip().to_canonical(),
        origin: page,
        host: site.own_host(page, asked(&uri, &headers)),
        now_ms: gate::now_ms(),
    };
    let shown = |video: &str| site.library.input_of(video);
    let pass = match site.access.enter(&id, shown, visitor).await {
        Ok(pass) => pass,
        Err(refusal) => return gate::refused(refusal),
    };
    let found = site.library.find(&pass.id).await;
    if matches!(found, Found::Unknown) {
        return too_busy();
    }
    let has_pictures = found.may_have_pictures(&site.library).await;
    let Some(about) = About::of(found) else {
        return playlist::not_found("no such video or live input");
    };
    let clip = url.split('#').next().and_then(|url| url.split_once('?'));
    let clip = clip.and_then(|(_, query)| clip::named(query, site.clip_max));
    let about = About { clip, ..about };
    let player = address(&origin, &id, "iframe");
    let player = about.clip.iter().fold(player, |player, clip| format!("{player}?{clip}"));
    let bound = |name| parameter(&query, name).and_then(|n| n.parse().ok()).filter(|n| *n > 0);
    let (width, height) = fitted(bound("maxwidth"), bound("maxheight"));
    let title = about.title();
    let html = format!(
        "<iframe src=\"{}\" title=\"{}\" width=\"{width}\" height=\"{height}\" style=\"border: 0\" \
         allow=\"{ALLOW}\" allowfullscreen></iframe>",
        escaped(&player),
        escaped(&title),
    );
    let mut answer = json!({
        "version": "1.0",
        "type": "video",
        "provider_name": "Airwave",
        "provider_url": format!("{origin}/"),
        "title": title,
        "html": html,
        "width": width,
        "height": height,
    });
    if about.pictured && has_pictures && site.library.levels().pictures().is_some() {
        let (width, height) = fitted(Some(640), None);
        let query = format!("{}width={width}&height={height}", about.beginning());
        answer["thumbnail_url"] = thumbnail(&origin, &id, &query).into();
        answer["thumbnail_width"] = width.into();
        answer["thumbnail_height"] = height.into();
    }
    text("application/json", "no-cache", answer.to_string().into())
}

/// What strangers may be told of a broadcast.
#[derive(Debug)]
struct About {
    name: Option<String>,
    now: Now,
    /// The query of the clip of it that is shared.
    clip: Option<String>,
    /// There is something to see.
    pictured: bool,
}

#[derive(Debug)]
enum Now {
    Live,
    OffAir,
    Recorded,
}

impl About {
    fn of(found: Found) -> Option<Self> {
        let (name, now) = match found {
            Found::Shelf { shelf, .. } => {
                let now = if shelf.live() { Now::Live } else { Now::Recorded };
                (shelf.about().name.clone(), now)
            }
            Found::Recording { recording, .. } => {
                let video = &recording.video;
                let name = video.settings.meta.get("name").and_then(|name| name.as_str());
                (name.map(str::to_owned), if video.live() { Now::Live } else { Now::Recorded })
            }
            Found::OffAir { name, .. } => (name, Now::OffAir),
            Found::Nothing | Found::Unknown => return None,
        };
        let pictured = !matches!(now, Now::OffAir);
        let name = name.map(|n| shortened(&n)).filter(|n| !n.is_empty());
        Some(Self { name, now, clip: None, pictured })
    }

    fn title(&self) -> String {
        let otherwise = match self.now {
            Now::Live | Now::OffAir => "Live broadcast",
            Now::Recorded => "Recording",
        };
        let whole = self.name.clone().unwrap_or_else(|| otherwise.to_owned());
        if self.clip.is_some() { format!("Clip of {whole}") } else { whole }
    }

    fn description(&self) -> &'static str {
        match self.now {
            _ if self.clip.is_some() => "A clip",
            Now::Live => "Live now",
            Now::OffAir => "Not live at the moment",
            Now::Recorded => "Recording of a broadcast",
        }
    }

    /// Where a clip begins, as the query of its picture has it.
    fn beginning(&self) -> String {
        let time = self.clip.as_deref().and_then(|clip| clip.split_once('&'));
        time.map(|(time, _)| format!("{time}&")).unwrap_or_default()
    }

    /// For the `<head>` of the watch page.
    fn head(&self, origin: &str, id: &str) -> String {
        let (title, description) = (self.title(), self.description());
        let (mut page, mut player) = (address(origin, id, "watch"), address(origin, id, "iframe"));
        let mut kind = "text/html";
        if let Some(query) = &self.clip {
            page = format!("{page}?{query}");
            player = format!("{}?{query}", address(origin, id, "clip.mp4"));
            kind = "video/mp4";
        }
        let (width, height) = (SIZE.0.to_string(), SIZE.1.to_string());
        let picture = self.pictured.then(|| {
            let at = self.beginning();
            thumbnail(origin, id, &format!("{at}width={width}&height={height}"))
        });
        // Twitter embeds players over HTTPS only.
        let secure = origin.starts_with("https:");
        // A file is none.
        let framed = secure && self.clip.is_none();
        let mut tags = vec![
            ("name", "description", description),
            ("property", "og:site_name", "Airwave"),
            ("property", "og:type", "video.other"),
            ("property", "og:title", &*title),
            ("property", "og:description", description),
            ("property", "og:url", &*page),
            ("property", "og:video", &*player),
            ("property", "og:video:type", kind),
            ("property", "og:video:width", &*width),
            ("property", "og:video:height", &*height),
            (
                "name",
                "twitter:card",
                match (framed, &picture) {
                    (true, _) => "player",
                    (false, Some(_)) => "summary_large_image",
                    (false, None) => "summary",
                },
            ),
            ("name", "twitter:title", &*title),
            ("name", "twitter:description", description),
        ];
        if secure {
            tags.push(("property", "og:video:secure_url", &player));
        }
        if let Some(picture) = &picture {
            tags.push(("property", "og:image", picture));
            tags.push(("property", "og:image:width", &width));
            tags.push(("property", "og:image:height", &height));
            tags.push(("name", "twitter:image", picture));
        }
        if framed {
            tags.push(("name", "twitter:player", &player));
            tags.push(("name", "twitter:player:width", &width));
            tags.push(("name", "twitter:player:height", &height));
        }
        let mut head = format!("<title>{} · Airwave</title>", escaped(&title));
        for (kind, name, content) in tags {
            let _ =
                write!(head, "\n    <meta {kind}=\"{name}\" content=\"{}\" />", escaped(content));
        }
        let _ = write!(
            head,
            "\n    <link rel=\"canonical\" href=\"{}\" />\
             \n    <link rel=\"alternate\" type=\"application/json+oembed\" \
             href=\"{}/oembed?url={}\" title=\"{}\" />",
            escaped(&page),
            escaped(origin),
            percent_encoded(&page),
            escaped(&title),
        );
        head
    }
}

/// Where the client found this server, without the last slash.
fn origin(site: &Site, uri: &Uri, headers: &HeaderMap) -> String {
    if let Some(url) = &site.public_url {
        return url.to_string();
    }
    let asked = asked(uri, headers).filter(|a| is_authority(a)).unwrap_or("localhost");
    match &site.public_host {
        Some(name) => format!("{}://{name}{}", site.scheme, port_of(asked)),
        None => format!("{}://{asked}", site.scheme),
    }
}

/// HTTP/2 has the authority in the target (RFC 9113 §8.3.1), HTTP/1.1 in `Host`.
fn asked<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    uri.authority().map(axum::http::uri::Authority::as_str).or(host)
}

/// A host and perhaps a port, and nothing that could mean something else in a URL.
fn is_authority(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
}

fn port_of(authority: &str) -> &str {
    let colon = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
    &authority[colon.unwrap_or(authority.len())..]
}

/// The id in the address of a page of this server. The scheme may be the other one: pages are on both.
pub(crate) fn page_of(url: &str, origin: &str) -> Option<String> {
    let rest = |text: &str| text.split_once("://").map(|(_, rest)| rest.to_owned());
    let scheme = url.split_once("://")?.0;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let (url, origin) = (rest(url)?, rest(origin)?);
    let (authority, path) = url.split_once('/')?;
    if !authority.eq_ignore_ascii_case(&origin) {
        return None;
    }
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let (id, page) = path.split_once('/')?;
    matches!(page, "watch" | "iframe").then(|| percent_decoded(id))
}

fn address(origin: &str, id: &str, page: &str) -> String {
    format!("{origin}/{}/{page}", percent_encoded(id))
}

/// The address of its thumbnail; `origin` may be empty, for a page of this server.
pub(crate) fn thumbnail(origin: &str, id: &str, query: &str) -> String {
    format!("{}?{query}", address(origin, id, "thumbnails/thumbnail.jpg"))
}

/// 16:9 within both bounds.
fn fitted(max_width: Option<u64>, max_height: Option<u64>) -> (u64, u64) {
    let width = max_width.unwrap_or(SIZE.0).min(SIZE.0);
    let height = max_height.unwrap_or(SIZE.1).min(SIZE.1);
    let (wide, high) = (height * 16 / 9, width * 9 / 16);
    if high <= height { (width, high.max(1)) } else { (wide.max(1), height) }
}

fn shortened(name: &str) -> String {
    let words = name.split(|c: char| c.is_control() || c.is_whitespace()).filter(|w| !w.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(SHARED_NAME_CHARS_MAX).collect()
}

/// One parameter of a query, decoded.
pub(crate) fn parameter(query: &str, name: &str) -> Option<String> {
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then(|| percent_decoded(&value.replace('+', " ")))
    };
    query.split('&').find_map(pair)
}

/// RFC 3986 §2.3: what needs no encoding.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte.into());
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// What is no encoding stays as it is; what is no UTF-8 is replaced.
pub(crate) fn percent_decoded(text: &str) -> String {
    let hex = |byte: Option<&u8>| byte.and_then(|b| char::from(*b).to_digit(16));
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let digits = (hex(bytes.get(at + 1)), hex(bytes.get(at + 2)));
        if let (b'%', (Some(high), Some(low))) = (byte, digits) {
            out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
            at += 3;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_text() {
        let names = [
            "</title><script>alert(1)</script>",
            "\"><img src=x onerror=alert(1)>",
            "' onload='alert(1)",
            "<!--/about--><script>alert(1)</script>",
            "&lt;script&gt;",
            "\u{0}<svg/onload=alert(1)>\r\n",
            "]]><script>alert(1)</script>",
        ];
        for name in names {
            let name = Some(shortened(name));
            let about = About { name, now: Now::Live, clip: None, pictured: true };
            let head = about.head("https://live.example.org", "0a\"><script>");
            assert_eq!(tags(&head), tags(&plain_head()), "{about:?} in {head}");
            assert!(!head.contains("/about-->"), "{head}");
        }
    }

    fn plain_head() -> String {
        let about =
            About { name: Some("a name".into()), now: Now::Live, clip: None, pictured: true };
        about.head("https://live.example.org", "0a")
    }

    /// The elements with the names of their attributes, as a browser would see them.
    fn tags(html: &str) -> Vec<String> {
        let element = |from: &str| {
            let tag = &from[..from.find('>').unwrap_or(from.len())];
            // Every second piece between quotes is a value.
            tag.split('"').step_by(2).collect::<String>()
        };
        html.split('<').skip(1).map(element).collect()
    }

    #[test]
    fn the_head_reads_like_this() {
        assert_eq!(
            plain_head(),
            r#"<title>a name · Airwave</title>
    <meta name="description" content="Live now" />
    <meta property="og:site_name" content="Airwave" />
    <meta property="og:type" content="video.other" />
    <meta property="og:title" content="a name" />
    <meta property="og:description" content="Live now" />
    <meta property="og:url" content="https://live.example.org/0a/watch" />
    <meta property="og:video" content="https://live.example.org/0a/iframe" />
    <meta property="og:video:type" content="text/html" />
    <meta property="og:video:width" content="1280" />
    <meta property="og:video:height" content="720" />
    <meta name="twitter:card" content="player" />
    <meta name="twitter:title" content="a name" />
    <meta name="twitter:description" content="Live now" />
    <meta property="og:video:secure_url" content="https://live.example.org/0a/iframe" />
    <meta property="og:image" content="https://live.example.org/0a/thumbnails/thumbnail.jpg?width=1280&amp;height=720" />
    <meta property="og:image:width" content="1280" />
    <meta property="og:image:height" content="720" />
    <meta name="twitter:image" content="https://live.example.org/0a/thumbnails/thumbnail.jpg?width=1280&amp;height=720" />
    <meta name="twitter:player" content="https://live.example.org/0a/iframe" />
    <meta name="twitter:player:width" content="1280" />
    <meta name="twitter:player:height" content="720" />
    <link rel="canonical" href="https://live.example.org/0a/watch" />
    <link rel="alternate" type="application/json+oembed" href="https://live.example.org/oembed?url=https%3A%2F%2Flive.example.org%2F0a%2Fwatch" title="a name" />"#
        );
    }

    #[test]
    fn names_are_one_line_of_bounded_length() {
        let table = [("  a\n b\t\u{7}c ", "a b c".to_owned()), ("", String::new())];
        for (name, expect) in table {
            assert_eq!(shortened(name), expect);
        }
        assert_eq!(shortened(&"ä".repeat(5_000)).chars().count(), SHARED_NAME_CHARS_MAX);
    }

    #[test]
    fn pages_of_this_server_are_found() {
        let origin = "http://live.example.org:8080";
        let table = [
            ("http://live.example.org:8080/0a/watch", Some("0a")),
            ("https://LIVE.example.org:8080/0a/iframe?autoplay=true#x", Some("0a")),
            ("http://live.example.org:8080/%30a/watch", Some("0a")),
            ("http://live.example.org:8080/0a/lifecycle", None),
            ("http://live.example.org:8080/0a/b/watch", None),
            ("http://live.example.org:8080/watch", None),
            ("http://live.example.org/0a/watch", None),
            ("http://live.example.org:8080@evil.example/0a/watch", None),
            ("javascript://live.example.org:8080/0a/watch", None),
            ("//live.example.org:8080/0a/watch", None),
            ("", None),
        ];
        for (url, expect) in table {
            assert_eq!(page_of(url, origin).as_deref(), expect, "{url}");
        }
    }

    #[test]
    fn hosts_are_hosts() {
        for good in ["localhost", "live.example.org:8443", "[::1]:8080", "127.0.0.1"] {
            assert!(is_authority(good), "{good}");
        }
        for bad in ["", "a/b", "a@b", "a\"b", "a<b", "a b", "a?b", "a#b", "ä"] {
            assert!(!is_authority(bad), "{bad}");
        }
        assert_eq!(port_of("[::1]:8080"), ":8080");
        assert_eq!(port_of("[::1]"), "");
    }

    #[test]
    fn players_fit_into_what_was_asked_for() {
        let table = [
            ((None, None), (1280, 720)),
            ((Some(640), None), (640, 360)),
            ((None, Some(360)), (640, 360)),
            ((Some(640), Some(180)), (320, 180)),
            ((Some(1), None), (1, 1)),
            ((Some(u64::MAX), Some(u64::MAX)), (1280, 720)),
        ];
        for ((width, height), expect) in table {
            assert_eq!(fitted(width, height), expect, "{width:?} x {height:?}");
        }
    }

    #[test]
    fn parameters_are_decoded() {
        let table = [
            ("url=http%3A%2F%2Fa%2Fb&format=json", Some("http://a/b")),
            ("x=1&url=a+b", Some("a b")),
            ("url", Some("")),
            ("url=%zz%4", Some("%zz%4")),
            ("url=%ff", Some("\u{fffd}")),
            ("curl=a", None),
            ("", None),
        ];
        for (query, expect) in table {
            assert_eq!(parameter(query, "url").as_deref(), expect, "{query}");
        }
        let odd = "a/b?c=ä&\"<>";
        assert_eq!(percent_decoded(&percent_encoded(odd)), odd);
    }
}
