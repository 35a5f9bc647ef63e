//! Who may use the API: a bearer token, and in clear only from this machine.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use control::Secret;

use crate::Api;
use crate::envelope::ApiError;

pub(crate) async fn check(
    State(api): State<Api>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
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
