//! Who may use the API: a bearer token, and in clear only from this machine.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use control::Secret;

use crate::Api;
use crate::envelope::ApiError;

pub(crate) async fn check(
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
    let given = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    match given.and_then(bearer) {
        Some(token) if same(token, &api.token) => next.run(request).await,
        Some(_) => ApiError::unauthorized("this API token is not valid").into_response(),
        None => ApiError::unauthorized("send the API token as: Authorization: Bearer TOKEN")
            .into_response(),
    }
}

/// In clear from this machine only, unless told otherwise.
/// HTTP/2 has the host in its target (RFC 9113 §8.3.1): what answers with URLs reads one field.
fn name_host(request: &mut Request) {
    let host = request.uri().authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok());
    if let Some(host) = host
        && !request.headers().contains_key(header::HOST)
    {
        request.headers_mut().insert(header::HOST, host);
    }
}

fn may_ask(allow_plain: bool, peer: IpAddr) -> bool {
    allow_plain || peer.to_canonical().is_loopback()
}

/// The scheme's case does not matter. RFC 9110 §11.1.
pub(crate) fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Compared by hashes, so that time tells nothing of the token.
fn same(token: &str, expect: &Secret) -> bool {
    Secret::new(token).hash() == expect.hash()
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// Flips `http.allow_plain_api`.
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
