//! The gate in front of everything that belongs to an id: `access` says who passes.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use access::{Pass, Refusal, Visitor};
use axum::extract::{ConnectInfo, Extension, RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt;

use crate::guarded::guarded;
use crate::http::{Site, no_content, plain};
use crate::right::Right;
use crate::waiting::{OfMany, Waiter};
use crate::{pages, playlist, query};

/// Whoever waited longer than this is looked at again: a link may have ended meanwhile, or been taken
/// back.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// In front of one route.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) site: Arc<Site>,
    /// What is asked for depends on the query, and caches keep it.
    pub(crate) reads_query: bool,
}

/// Lets a request pass, with its [`Pass`] beside it, or refuses it. Handlers take the id from the `Pass`:
/// what was looked at and what is served are then the same.
pub(crate) async fn gate(
    State(Gate { site, reads_query }): State<Gate>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    params: RawPathParams,
    mut request: Request,
    next: Next,
) -> Response {
    let asked_with = request.uri().query().filter(|_| reads_query).unwrap_or_default();
    if let Err(words) = query::unequivocal(asked_with) {
        return playlist::bad_request(&words);
    }
    let param = |name| params.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
    let page = Page::of(request.uri().path());
    let asked = Arc::new(Asked {
        segment: param("id").unwrap_or_default().to_owned(),
        video: param("video").map(str::to_owned),
        peer,
        origin: if page == Page::None {
            embedder(request.headers())
        } else {
            field(request.headers(), header::ORIGIN).map(str::to_owned)
        },
        host: field(request.headers(), header::HOST)
            .map(str::to_owned)
            .or_else(|| request.uri().authority().map(ToString::to_string)),
        page,
        site,
    });
    let quic = asked.site.quic();
    let changes = asked.site.access.changes();
    // In memory of its own: it is large, done at once, and the request around it may wait for long afterwards.
    let ask = move || {
        let asked = asked.clone();
        async move { asked.ask().await }.boxed()
    };
    let mut right = Right::new(ask, changes, now_ms);
    let pass = match right.look().await {
        Ok(pass) => pass,
        Err(refusal) => return turned_away(refusal, page, quic),
    };
    let (restricted, by_origin) = (pass.restricted, !pass.embedders.is_empty());
    let edge = request.headers().get(EDGE).is_some_and(|v| v == CHECKS);
    // RFC 9110 §14.2: there are ranges for GET only.
    if request.method() != Method::GET {
        request.headers_mut().remove(header::RANGE);
    }
    let many = request.extensions().get::<OfMany>().is_some();
    request.extensions_mut().insert(Waiter((!many).then_some(peer.ip())));
    request.extensions_mut().insert(pass);
    let mut answering = pin!(next.run(request));
    let mut response = loop {
        tokio::select! {
            biased;
            response = &mut answering => break response,
            // What an edge waits for that checks each of those who get it is not only his who asked first.
            () = right.may_have_ended(), if !edge => {}
        }
        match right.look().await {
            Ok(_) | Err(Refusal::Unavailable) => {}
            Err(refusal) => return turned_away(refusal, page, quic),
        }
    };
    // Where an edge checks each of those who get what it keeps, that is not only his who asked first.
    let shared = edge && !is_unkept(response.headers());
    if !shared
        && right.age() > AGAIN_AFTER
        && let Err(refusal) = right.look().await
    {
        return turned_away(refusal, page, quic);
    }
    if by_origin {
        // RFC 9110 §12.5.5: who asks decides.
        let by =
            HeaderValue::from_static("Origin, Referer, Sec-Fetch-Dest, Sec-Fetch-Site, Accept");
        response.headers_mut().insert(header::VARY, by);
    }
    if shared {
        return response;
    }
    if restricted {
        keep_private(response.headers_mut());
    }
    // What is open may be locked meanwhile.
    response.map(|body| guarded(body, right))
}

/// A page of another host asks whether it may send header fields of its own: those of CMCD, and ranges. It says nothing,
/// so there is nothing to let it in for; what it asks next is looked at.
pub(crate) async fn preflight() -> Response {
    let fields = "CMCD-Object, CMCD-Request, CMCD-Session, CMCD-Status, Content-Type, Range";
    let mut response = no_content("no-store");
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, fields),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What a shared cache sends with each request if it asks [`allowed`] before it answers from what it has. Only who is trusted to
/// say whom a request is from may promise that: the node takes it off all other requests.
pub const EDGE: HeaderName = HeaderName::from_static("airwave-edge");
const CHECKS: &str = "checks";

/// Which uid a path segment stands for, for the key of a cache.
const ID: HeaderName = HeaderName::from_static("airwave-id");

/// Until which second of the clock nginx keeps an answer. It counts a `max-age` in whole seconds, of which the one that has
/// begun is none: a second would last for up to two.
const KEPT_UNTIL: HeaderName = HeaderName::from_static("x-accel-expires");

/// May this visitor watch? The gate has answered that; a cache keeps it for a second, and no longer than the token
/// lasts.
pub(crate) async fn allowed(Extension(pass): Extension<Pass>) -> Response {
    let now_ms = now_ms();
    let left_ms = pass.until_ms.map(|until| until.saturating_sub(now_ms));
    let ends = left_ms.is_some_and(|left| left < 1_000);
    let mut response = no_content(if ends { "no-store" } else { "max-age=1" });
    let until = HeaderValue::from_str(&format!("@{}", now_ms / 1_000));
    if let (false, Ok(until)) = (ends, until) {
        response.headers_mut().insert(KEPT_UNTIL, until);
    }
    if let Ok(id) = HeaderValue::from_str(&pass.id) {
        response.headers_mut().insert(ID, id);
    }
    response
}

/// What is locked belongs to who was let in: a shared cache would hand it to everybody who knows the address, a
/// token that has ended included. RFC 9111 §5.2.2.7.
fn keep_private(headers: &mut HeaderMap) {
    let shared = headers.get(header::CACHE_CONTROL).and_then(|v| v.to_str().ok());
    let Some(shared) = shared.filter(|_| !is_unkept(headers)) else { return };
    let own = format!("private, {}", shared.trim_start_matches("public, "));
    if let Ok(own) = HeaderValue::from_str(&own) {
        headers.insert(header::CACHE_CONTROL, own);
    }
}

fn is_unkept(headers: &HeaderMap) -> bool {
    headers.get(header::CACHE_CONTROL).is_none_or(|v| v == "no-store")
}

/// What a request says of itself, and of whom: kept for the next look.
struct Asked {
    site: Arc<Site>,
    page: Page,
    segment: String,
    video: Option<String>,
    peer: SocketAddr,
    origin: Option<String>,
    host: Option<String>,
}

impl Asked {
    async fn ask(&self) -> Result<Pass, Refusal> {
        let site = &self.site;
        let visitor = Visitor {
            address: self.peer.ip().to_canonical(),
            origin: self.origin.as_deref(),
            host: site.own_host(self.origin.as_deref(), self.host.as_deref()),
            now_ms: now_ms(),
        };
        let shown = |video: &str| site.library.input_of(video);
        let pass = match &self.video {
            Some(video) => site.access.media(&self.segment, video, shown, visitor).await,
            None => site.access.enter(&self.segment, shown, visitor).await,
        };
        pass.and_then(|pass| self.page.lets_in(pass))
    }
}

/// The page that shows this. Browsers name it (`Origin`) where scripts could read the answer; of `<img>` and `<video>` they say where
/// they stand (`Referer`, RFC 9110 §10.1.3), and, if that page wants it kept to itself, that it is another site's
/// (`Sec-Fetch-Site`, W3C Fetch Metadata §2.4). Who opens the address itself is shown by nobody.
fn embedder(headers: &HeaderMap) -> Option<String> {
    if let Some(origin) = field(headers, header::ORIGIN) {
        return Some(origin.to_owned());
    }
    // Without these fields, as over plain HTTP, it is a page that is asked for: no element of one asks for text alone.
    let opened = match field(headers, SEC_FETCH_DEST) {
        Some(dest) => dest == "document",
        None => field(headers, header::ACCEPT).is_some_and(|kinds| kinds.contains("text/html")),
    };
    let site = field(headers, SEC_FETCH_SITE);
    if opened || matches!(site, Some("same-origin" | "none")) {
        return None;
    }
    if let Some(page) = field(headers, header::REFERER).and_then(|url| url.parse::<Uri>().ok())
        && let (Some(scheme), Some(authority)) = (page.scheme_str(), page.authority())
    {
        return Some(format!("{scheme}://{authority}"));
    }
    // As of a page without an origin (WHATWG HTML §7.1.1): it is on no list.
    matches!(site, Some("cross-site" | "same-site")).then(|| "null".to_owned())
}

const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

fn field(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|v| v.to_str().ok())
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What is asked for, as far as a refusal differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    Watch,
    Embedded,
    /// No page: a program reads the answer.
    None,
}

impl Page {
    fn of(path: &str) -> Self {
        match path.rsplit('/').next() {
            Some("watch") => Self::Watch,
            Some("iframe") => Self::Embedded,
            _ => Self::None,
        }
    }

    /// Who might watch what is not known any more, nobody can say: what is left of it in a cache, or on its way, is for nobody. A
    /// page says so by itself.
    fn lets_in(self, pass: Pass) -> Result<Pass, Refusal> {
        if self == Self::None { pass.known() } else { Ok(pass) }
    }
}

/// Who opens a page reads why in the player, which asks for it again and gets the words.
fn turned_away(refusal: Refusal, page: Page, quic: Option<u16>) -> Response {
    let words = refused(refusal);
    match page {
        Page::Watch if pages::there() => {
            let head = "<title>Airwave</title>\n    <meta name=\"robots\" content=\"noindex\" />";
            pages::watch(words.status(), quic, head)
        }
        // Anybody's page may show that there is nothing to see.
        Page::Embedded if pages::there() => {
            let mut page = pages::embedded(quic, &[]);
            *page.status_mut() = words.status();
            page
        }
        Page::Watch | Page::Embedded | Page::None => words,
    }
}

/// RFC 9110 §15.5.2, §15.5.4: 401 asks for a (better) token, 403 will not change.
pub(crate) fn refused(refusal: Refusal) -> Response {
    let status = match refusal {
        Refusal::NeedsToken | Refusal::Token(_) => StatusCode::UNAUTHORIZED,
        Refusal::OtherSubject | Refusal::Rules | Refusal::Origin => StatusCode::FORBIDDEN,
        Refusal::Nothing => StatusCode::NOT_FOUND,
        Refusal::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = plain(status, &refusal.to_string());
    // RFC 9110 §11.6.1, RFC 6750 §3: who has sent no token is told of no error of it.
    let challenge = match refusal {
        Refusal::NeedsToken => "Bearer realm=\"airwave\"",
        Refusal::Token(_) => "Bearer realm=\"airwave\", error=\"invalid_token\"",
        _ => return response,
    };
    let challenge = HeaderValue::from_static(challenge);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_knows_is_for_nobody_but_a_page_that_says_so() {
        for (page, known, expect) in [
            (Page::None, true, None),
            (Page::None, false, Some(StatusCode::NOT_FOUND)),
            (Page::Watch, false, None),
            (Page::Embedded, false, None),
        ] {
            let pass = Pass {
                id: "id".to_owned(),
                known,
                restricted: false,
                downloadable: true,
                until_ms: None,
                embedders: Vec::new(),
            };
            let answer = page.lets_in(pass).err().map(|refusal| refused(refusal).status());
            assert_eq!(answer, expect, "{page:?} {known}");
        }
    }

    #[test]
    fn whoever_shows_it_is_known_where_no_origin_is_sent() {
        let page = "https://page.example:8443/a?b#c";
        type Sent<'a> = &'a [(&'a str, &'a str)];
        let cases: &[(Sent<'_>, Option<&str>)] = &[
            (&[], None),
            (&[("origin", "https://a.example"), ("referer", page)], Some("https://a.example")),
            (&[("referer", page)], Some("https://page.example:8443")),
            (&[("referer", page), ("sec-fetch-dest", "video")], Some("https://page.example:8443")),
            (&[("referer", page), ("sec-fetch-dest", "document")], None),
            (&[("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "image")], Some("null")),
            (&[("sec-fetch-site", "same-site"), ("sec-fetch-dest", "iframe")], Some("null")),
            (&[("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "document")], None),
            (&[("sec-fetch-site", "same-origin"), ("sec-fetch-dest", "empty")], None),
            (&[("sec-fetch-site", "same-origin"), ("referer", page)], None),
            // Its address was written or chosen from a list.
            (&[("sec-fetch-site", "none")], None),
            // Over plain HTTP: a link that was followed, and elements of a page.
            (&[("referer", page), ("accept", "text/html,*/*;q=0.8")], None),
            (&[("referer", page), ("accept", "image/avif,*/*")], Some("https://page.example:8443")),
            (&[("referer", page), ("accept", "*/*")], Some("https://page.example:8443")),
            (&[("referer", "about:blank"), ("sec-fetch-site", "cross-site")], Some("null")),
            (&[("referer", "no address at all")], None),
        ];
        for (sent, expect) in cases {
            let headers = sent.iter().map(|(name, value)| {
                (HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap())
            });
            assert_eq!(embedder(&headers.collect()).as_deref(), *expect, "{sent:?}");
        }
    }

    #[test]
    fn what_is_locked_is_not_for_shared_caches() {
        for (shared, own) in [
            ("public, max-age=31536000, immutable", "private, max-age=31536000, immutable"),
            ("max-age=12", "private, max-age=12"),
            ("no-store", "no-store"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(shared));
            keep_private(&mut headers);
            assert_eq!(headers[header::CACHE_CONTROL], own);
        }
    }
}
