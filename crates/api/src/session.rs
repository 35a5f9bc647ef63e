//! Sessions of the pages: signing in with an API token, and out. `/client/v4/session`, ours.

use std::net::SocketAddr;

use access::limits::SESSION_AGE;
use access::session::csrf_token;
use access::{Permission, Principal, Resource};
use axum::Extension;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use control::Secret;
use media::date::date_time;
use serde_json::{Value, json};

use crate::auth::{Caller, known, not_too_often, of_this_server};
use crate::envelope::{ApiError, ok};
use crate::inputs::{now_ms, object, random};
use crate::{Api, audit};

type Answer = Result<Response, ApiError>;

/// The cookie goes to the API and nowhere else: what players fetch never has one, so caches may keep it.
const PATH: &str = "/client/v4";

/// Over TLS browsers keep a cookie of this name from being set in clear (RFC 6265bis §4.1.3.1). Both have names of
/// their own, because cookies of a host are the same for all of its ports.
fn name(tls: bool) -> &'static str {
    if tls { "__Secure-airwave-session" } else { "airwave-session" }
}

/// The session's cookie in a request.
pub(crate) fn cookie(headers: &HeaderMap, tls: bool) -> Option<Secret> {
    let fields = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = fields.flat_map(|field| field.split(';')).filter_map(|p| p.split_once('='));
    let found = pairs.find(|(known, _)| known.trim() == name(tls));
    found.map(|(_, value)| Secret::new(value.trim()))
}

/// SameSite=Strict: no page of another site sends it, not even by a link. HttpOnly: no script reads it.
fn set_cookie(response: &mut Response, value: &str, age_s: u64, tls: bool) {
    let secure = if tls { "; Secure" } else { "" };
    let text = format!(
        "{}={value}; Path={PATH}; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}",
        name(tls)
    );
    // invariant: the value is URL-safe characters, the rest is ours; without it nobody is signed in.
    if let Ok(text) = HeaderValue::from_str(&text) {
        response.headers_mut().append(header::SET_COOKIE, text);
    }
}

/// Signs in: `{"token": "..."}`.
pub(crate) async fn sign_in(
    State(api): State<Api>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    if !of_this_server(&headers, api.public_url.as_deref()) {
        return Err(ApiError::forbidden("pages of other servers can't sign in here"));
    }
    let body = object(&body)?;
    let token = body.get("token").and_then(Value::as_str).map(str::trim).unwrap_or_default();
    if token.is_empty() {
        return Err(ApiError::field("token", "must be an API token"));
    }
    let now = now_ms();
    let principal = known(&api, token, peer.ip(), now).await?;
    not_too_often(&api, &principal)?;
    // One that was there before is no longer of use to anybody.
    if let Some(old) = cookie(&headers, api.tls) {
        api.sessions.end(&old).await?;
    }
    let holder = api.tokens.holder_id(&principal);
    let session = api.sessions.begin(holder, random(&api), now).await?;
    tracing::info!(token = principal.id, address = %peer.ip(), "signed in");
    audit::signed_in(&api, &principal, peer.ip()).await;
    let mut response = ok(&about(&principal, &session));
    set_cookie(&mut response, session.expose(), SESSION_AGE.as_secs(), api.tls);
    Ok(response)
}

/// Whether this browser is signed in, and what its pages need to know. Not being signed in is no error.
pub(crate) async fn current(
    State(api): State<Api>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Answer {
    let now = now_ms();
    let found = match cookie(&headers, api.tls) {
        Some(cookie) => api.sessions.holder(&cookie, now).await?.map(|holder| (cookie, holder)),
        None => None,
    };
    let Some((cookie, holder)) = found else { return Ok(ok(&json!({ "signedIn": false }))) };
    Ok(match api.tokens.holder(&holder, peer.ip(), now).await {
        Ok(principal) => ok(&about(&principal, &cookie)),
        Err(_) => ok(&json!({ "signedIn": false })),
    })
}

/// Signs out.
pub(crate) async fn sign_out(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
) -> Answer {
    if let Some(cookie) = &caller.session {
        api.sessions.end(cookie).await?;
    }
    let mut response = ok(&json!({ "signedIn": false }));
    set_cookie(&mut response, "", 0, api.tls);
    Ok(response)
}

fn about(principal: &Principal, session: &Secret) -> Value {
    let may = |permission: &&Permission| principal.may(**permission, Resource::Account);
    json!({
        "signedIn": true,
        "csrfToken": csrf_token(session),
        "token": { "id": principal.id, "name": principal.name },
        "expires": principal.expires_ms.map(date_time),
        "permissions": Permission::ALL.iter().filter(may).map(|p| p.name()).collect::<Value>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others_and_by_its_own_name() {
        for (text, tls, expect) in [
            ("airwave-session=a", false, Some("a")),
            ("x=y; airwave-session=a; z", false, Some("a")),
            ("__Secure-airwave-session=b; airwave-session=a", true, Some("b")),
            ("airwave-session=a", true, None),
            ("xairwave-session=a", false, None),
            ("", false, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, HeaderValue::from_static(text));
            let found = cookie(&headers, tls);
            assert_eq!(found.as_ref().map(Secret::expose), expect, "{text}");
        }
    }

    #[test]
    fn the_cookie_says_what_it_must() {
        for (tls, expect) in [
            (false, "airwave-session=v; Path=/client/v4; Max-Age=9; HttpOnly; SameSite=Strict"),
            (
                true,
                "__Secure-airwave-session=v; Path=/client/v4; Max-Age=9; HttpOnly; SameSite=Strict; Secure",
            ),
        ] {
            let mut response = Response::default();
            set_cookie(&mut response, "v", 9, tls);
            assert_eq!(response.headers()[header::SET_COOKIE], expect);
        }
    }
}
