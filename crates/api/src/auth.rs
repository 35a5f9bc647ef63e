//! Who asks: an API token in a header, or the session of a page. And who may ask at all.

use std::net::{IpAddr, SocketAddr};

use access::rate::{Limiter, neighbourhood};
use access::session::csrf_matches;
use access::{Denied, Principal, limits};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use control::Secret;

use crate::Api;
use crate::envelope::ApiError;
use crate::inputs::now_ms;
use crate::session::cookie;

/// Who asks, and from where; beside every request that got past [`identify`].
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    pub(crate) address: IpAddr,
    /// The cookie, if it is the session of a page.
    pub(crate) session: Option<Secret>,
}

/// How often whom.
#[derive(Debug)]
pub struct Rates {
    address: Limiter<IpAddr>,
    token: Limiter<String>,
    wrong: Limiter<IpAddr>,
    /// Milliseconds since 1970.
    now_ms: fn() -> u64,
}

impl Default for Rates {
    fn default() -> Self {
        Self::by(now_ms)
    }
}

impl Rates {
    /// By this clock, in milliseconds.
    pub fn by(now_ms: fn() -> u64) -> Self {
        Self {
            now_ms,
            address: Limiter::new(limits::API_ADDRESS, limits::RATES_KEPT),
            token: Limiter::new(limits::API_TOKEN, limits::RATES_KEPT),
            wrong: Limiter::new(limits::WRONG_TOKENS, limits::RATES_KEPT),
        }
    }
}

/// Before anything else: in clear from this machine only, and not too often.
pub(crate) async fn admit(
    State(api): State<Api>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    name_host(&mut request);
    if !may_ask(api.allow_plain, peer.ip()) {
        return ApiError::forbidden(
            "the API is served in clear to this machine only, because a token could be overheard: \
             set http.allow_plain_api = true to allow it",
        )
        .into_response();
    }
    if let Err(wait_s) = api.rates.address.take(neighbourhood(peer.ip()), (api.rates.now_ms)()) {
        let words = "too many requests from this address";
        return ApiError::too_many(words, wait_s).into_response();
    }
    next.run(request).await
}

/// Puts the [`Caller`] beside the request, or refuses it.
pub(crate) async fn identify(
    State(api): State<Api>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let (method, headers) = (request.method().clone(), request.headers().clone());
    match caller(&api, peer.ip(), &method, &headers).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

async fn caller(
    api: &Api,
    address: IpAddr,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Caller, ApiError> {
    let now = now_ms();
    let (principal, session) = match credential(headers) {
        Some(token) => (known(api, token, address, now).await?, None),
        None => {
            let (principal, cookie) = of_session(api, address, method, headers, now).await?;
            (principal, Some(cookie))
        }
    };
    not_too_often(api, &principal)?;
    Ok(Caller { principal, address, session })
}

/// Of each token so many requests, whatever they are about.
pub(crate) fn not_too_often(api: &Api, principal: &Principal) -> Result<(), ApiError> {
    let taken = api.rates.token.take(principal.id.clone(), (api.rates.now_ms)());
    let words = "too many requests with this API token";
    taken.map_err(|wait_s| ApiError::too_many(words, wait_s))
}

/// Whose token this is. Who tries too many wrong ones waits, and nobody else behind his address does: a good one is looked up,
/// which costs a hash, however many wrong ones came before.
pub(crate) async fn known(
    api: &Api,
    token: &str,
    address: IpAddr,
    now_ms: u64,
) -> Result<Principal, ApiError> {
    let (neighbourhood, asked_ms) = (neighbourhood(address), (api.rates.now_ms)());
    let wait = |wait_s| ApiError::too_many("too many wrong API tokens from this address", wait_s);
    let found = api.tokens.authenticate(token, address, now_ms).await;
    if found == Err(Denied::Unknown) {
        api.rates.wrong.take(neighbourhood, asked_ms).map_err(wait)?;
        tracing::warn!(%address, "api: a wrong API token");
    }
    found.map_err(denied)
}

async fn of_session(
    api: &Api,
    address: IpAddr,
    method: &Method,
    headers: &HeaderMap,
    now_ms: u64,
) -> Result<(Principal, Secret), ApiError> {
    let cookie = cookie(headers, api.tls).ok_or_else(|| {
        ApiError::unauthorized("send the API token as: Authorization: Bearer TOKEN")
    })?;
    let over = || ApiError::unauthorized("this session is over: sign in again");
    let holder = api.sessions.holder(&cookie, now_ms).await?.ok_or_else(over)?;
    let principal = api.tokens.holder(&holder, address, now_ms).await.map_err(denied)?;
    if !method.is_safe() {
        let given = headers.get(CSRF_TOKEN).and_then(|value| value.to_str().ok());
        if !given.is_some_and(|given| csrf_matches(&cookie, given)) {
            return Err(ApiError::forbidden(
                "a page must send what GET /client/v4/session calls csrfToken as X-CSRF-Token",
            ));
        }
        if !of_this_server(headers, api.public_url.as_deref()) {
            return Err(ApiError::forbidden(
                "this page is of another address than the server was asked by: behind a proxy, \
                 http.public_url is what the page's address begins with",
            ));
        }
    }
    Ok((principal, cookie))
}

pub(crate) const CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");

fn denied(denied: Denied) -> ApiError {
    match denied {
        Denied::Engine(error) => error.into(),
        Denied::Address => ApiError::forbidden(&denied.to_string()),
        Denied::Unknown | Denied::Disabled | Denied::Expired | Denied::NotYet => {
            ApiError::invalid_token(&denied.to_string())
        }
    }
}

/// Whether no page of another server asks. Browsers say who asks; other programs say nothing, and have no cookies that
/// somebody else could use.
pub(crate) fn of_this_server(headers: &HeaderMap, public_url: Option<&str>) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(header::HOST).unwrap_or_default();
    let origin = text(header::ORIGIN).is_none_or(|origin| {
        // A proxy in between may ask by another name than the page has.
        if public_url == Some(origin) {
            return true;
        }
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    });
    let site = text(HeaderName::from_static("sec-fetch-site"));
    origin && site.is_none_or(|site| site == "same-origin" || site == "none")
}

/// The token of a request, wherever clients of the vendor's put it: a bearer token, the key of the older pair
/// `X-Auth-Email` and `X-Auth-Key` (there are no addresses here, so the first is not looked at), or the user service key.
fn credential(headers: &HeaderMap) -> Option<&str> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let own = |name| text(HeaderName::from_static(name)).map(str::trim);
    text(header::AUTHORIZATION)
        .map(|given| bearer(given).unwrap_or_default())
        .or_else(|| own("x-auth-key"))
        .or_else(|| own("x-auth-user-service-key"))
}

/// HTTP/2 has the host in its target (RFC 9113 §8.3.1): what answers with URLs reads one field.
fn name_host(request: &mut Request) {
    let host = request.uri().authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok());
    if let Some(host) = host
        && !request.headers().contains_key(header::HOST)
    {
        request.headers_mut().insert(header::HOST, host);
    }
}

/// In clear from this machine only, unless told otherwise.
fn may_ask(allow_plain: bool, peer: IpAddr) -> bool {
    allow_plain || peer.to_canonical().is_loopback()
}

/// The scheme's case does not matter. RFC 9110 §11.1.
pub(crate) fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        list.iter().map(pair).collect()
    }

    #[test]
    fn tokens_are_found_where_clients_put_them() {
        for (list, expect) in [
            (&[("authorization", "Bearer t")][..], Some("t")),
            (&[("authorization", "bearer  t ")], Some("t")),
            (&[("authorization", "Basic t")], Some("")),
            (&[("authorization", "t")], Some("")),
            (&[("x-auth-email", "a@example.com"), ("x-auth-key", "t")], Some("t")),
            (&[("x-auth-user-service-key", "t")], Some("t")),
            (&[("x-auth-email", "a@example.com")], None),
            (&[("cookie", "t")], None),
        ] {
            assert_eq!(credential(&headers(list)), expect, "{list:?}");
        }
    }

    #[test]
    fn pages_of_other_servers_are_told_apart() {
        for (list, expect) in [
            (&[("host", "x.com:8443")][..], true),
            (&[("host", "x.com:8443"), ("origin", "https://X.com:8443")], true),
            (&[("host", "x.com"), ("origin", "https://x.com:8443")], false),
            (&[("host", "x.com"), ("origin", "https://evil.org")], false),
            (&[("host", "x.com"), ("origin", "null")], false),
            (&[("origin", "https://x.com")], false),
            (&[("host", "x.com"), ("sec-fetch-site", "same-origin")], true),
            (&[("host", "x.com"), ("sec-fetch-site", "same-site")], false),
            (&[("host", "x.com"), ("sec-fetch-site", "cross-site")], false),
        ] {
            assert_eq!(of_this_server(&headers(list), None), expect, "{list:?}");
        }
        // Behind a proxy that asks by another name.
        let list = &[("host", "10.0.0.5:8080"), ("origin", "https://x.com")];
        for (public, expect) in
            [(None, false), (Some("https://x.com"), true), (Some("http://x.com"), false)]
        {
            assert_eq!(of_this_server(&headers(list), public), expect, "{public:?}");
        }
    }

    #[test]
    fn the_host_of_http_2_is_a_field_like_any_other() {
        for (uri, field, expect) in [
            ("https://example.com:8443/x", None, Some("example.com:8443")),
            ("https://example.com/x", Some("other"), Some("other")),
            ("/x", Some("other"), Some("other")),
            ("/x", None, None),
        ] {
            let mut request = axum::http::Request::builder().uri(uri);
            if let Some(field) = field {
                request = request.header(header::HOST, field);
            }
            let mut request = request.body(axum::body::Body::empty()).unwrap();
            name_host(&mut request);
            let host = request.headers().get(header::HOST).and_then(|v| v.to_str().ok());
            assert_eq!(host, expect, "{uri}");
        }
    }

    #[test]
    fn in_clear_from_this_machine_only_unless_told_otherwise() {
        for (peer, allow, expect) in [
            ("127.0.0.1", false, true),
            ("::1", false, true),
            ("::ffff:127.0.0.1", false, true),
            ("192.0.2.1", false, false),
            ("2001:db8::1", false, false),
            ("192.0.2.1", true, true),
        ] {
            assert_eq!(may_ask(allow, peer.parse().unwrap()), expect, "{peer} {allow}");
        }
    }
}
