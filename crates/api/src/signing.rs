//! Links that only the right people can open: signing keys, and tokens of the server's own making.

use std::time::Duration;

use access::keys::{Algorithm, generate};
use access::limits::{KEYS, TOKEN_AGE, TOKEN_AGE_DEFAULT};
use access::{Grant, Rule, rules};
use axum::extract::{Path, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use control::{InputUid, VideoUid};
use serde_json::{Map, Value, json};

use crate::Api;
use crate::envelope::{ApiError, ok};
use crate::inputs::{date, now_ms, object, random};
use crate::merge;

pub(crate) const MISSING: &str = "there is no such video or live input";

type Answer = Result<Response, ApiError>;

/// The key's private half is in this answer and nowhere else.
pub(crate) async fn create_key(State(api): State<Api>, body: Bytes) -> Answer {
    let body = object(&body)?;
    let algorithm = match body.get("algorithm") {
        None | Some(Value::Null) => Algorithm::default(),
        Some(name) => serde_json::from_value(name.clone())
            .map_err(|_| ApiError::field("algorithm", "must be RS256, ES256 or EdDSA"))?,
    };
    let id: [u8; 16] = random(&api);
    let id = id.iter().map(|byte| format!("{byte:02x}")).collect();
    // An RSA key takes a while to find.
    let made = tokio::task::spawn_blocking(move || generate(algorithm, id, now_ms())).await;
    let made = made.ok().and_then(Result::ok);
    let key = made.ok_or_else(|| ApiError::internal("a signing key can't be made"))?;
    if !api.access.add_key(&key).await? {
        return Err(ApiError::forbidden(&format!("at most {KEYS} signing keys: delete one first")));
    }
    tracing::info!(key = key.id, ?algorithm, "signing key created");
    Ok(ok(&json!({
        "id": key.id,
        "created": date(key.created_ms),
        "algorithm": algorithm,
        // Base64 around both, as the vendor has them.
        "pem": STANDARD.encode(key.pem.expose()),
        "jwk": STANDARD.encode(key.jwk.expose()),
    })))
}

pub(crate) async fn keys(State(api): State<Api>) -> Answer {
    let row = |(id, created): &(String, u64)| json!({ "id": id, "key_id": id, "created": date(*created) });
    Ok(ok(&api.access.keys().iter().map(row).collect::<Value>()))
}

pub(crate) async fn delete_key(
    State(api): State<Api>,
    Path((_, id)): Path<(String, String)>,
) -> Answer {
    if !api.access.delete_key(&id).await? {
        return Err(ApiError::not_found("there is no such signing key"));
    }
    tracing::info!(key = id, "signing key deleted");
    Ok(ok(&json!("Revoked")))
}

/// A token for a video or a live input.
pub(crate) async fn token(
    State(api): State<Api>,
    Path((_, uid)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    exists(&api, &uid).await?;
    let body = object(&body)?;
    let now = now_ms();
    let grant = grant(&body, uid, now)?;
    if grant.rules.iter().any(Rule::asks_for_country) && !api.access.knows_countries() {
        return Err(ApiError::field(
            "accessRules",
            "countries are not known here: set access.country_database to a MaxMind database",
        ));
    }
    let token = match (body.get("id"), body.get("pem")) {
        (None, None) => api.access.sign(&grant),
        (Some(id), Some(pem)) => {
            // The body has a bound already.
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let signed = api.access.sign_with(&text(id), &text(pem), &grant);
            Some(signed.ok_or_else(|| {
                ApiError::field("pem", "must be a signing key as it was answered, and id its id")
            })?)
        }
        _ => return Err(ApiError::field("id", "goes together with pem, or leave both out")),
    };
    let token = token.ok_or_else(|| ApiError::internal("the token can't be signed"))?;
    Ok(ok(&json!({ "token": token })))
}

pub(crate) async fn exists(api: &Api, uid: &str) -> Result<(), ApiError> {
    let missing = || ApiError::not_found(MISSING);
    let input = InputUid::parse(uid).map_err(|_| missing())?;
    if api.control.input(&input).await?.is_some() {
        return Ok(());
    }
    let video = VideoUid::parse(uid).map_err(|_| missing())?;
    api.control.video(&video).await?.map(|_| ()).ok_or_else(missing)
}

/// What the body asks for; bounds as the vendor's.
pub(crate) fn grant(body: &Map<String, Value>, sub: String, now: u64) -> Result<Grant, ApiError> {
    let age = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    let expires_ms = time("exp", body)?.unwrap_or(now + age(TOKEN_AGE_DEFAULT));
    if expires_ms <= now || expires_ms > now + age(TOKEN_AGE) {
        return Err(ApiError::field("exp", "must be seconds since 1970, within the next 24 hours"));
    }
    let rules = match body.get("accessRules") {
        None | Some(Value::Null) => Vec::new(),
        Some(list) => {
            rules::parse(list).map_err(|error| ApiError::field("accessRules", error.to_string()))?
        }
    };
    let not_before_ms = time("nbf", body)?.unwrap_or(now - age(TOKEN_AGE_DEFAULT));
    if not_before_ms >= expires_ms {
        return Err(ApiError::field("nbf", "must be before exp: the token could never be used"));
    }
    let downloadable = body.get("downloadable").map(|d| merge::boolean("downloadable", d, false));
    Ok(Grant {
        sub,
        expires_ms,
        not_before_ms: Some(not_before_ms),
        downloadable: downloadable.transpose()?.unwrap_or(false),
        rules,
        link: None,
    })
}

/// Seconds since 1970 as a number or as digits, in milliseconds.
pub(crate) fn time(name: &str, body: &Map<String, Value>) -> Result<Option<u64>, ApiError> {
    let wrong = || ApiError::field(name, "must be seconds since 1970");
    let seconds = match body.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.parse::<u64>().ok(),
        Some(number) => number.as_f64().filter(|n| (0.0..1e11).contains(n)).map(|n| n as u64),
    };
    let seconds = seconds.filter(|s| *s < 100_000_000_000).ok_or_else(wrong)?;
    Ok(Some(seconds * 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lives_an_hour_or_as_long_as_is_asked_within_a_day() {
        const NOW: u64 = 1_700_000_000_000;
        for (body, expect) in [
            ("{}", Some(1_700_003_600_000)),
            (r#"{"exp":1700000060}"#, Some(1_700_000_060_000)),
            (r#"{"exp":"1700000060"}"#, Some(1_700_000_060_000)),
            (r#"{"exp":1700086400}"#, Some(1_700_086_400_000)),
            (r#"{"exp":1700086401}"#, None),
            (r#"{"exp":1700000000}"#, None),
            (r#"{"exp":-1}"#, None),
            (r#"{"exp":"soon"}"#, None),
            (r#"{"exp":1e300}"#, None),
            (r#"{"nbf":true}"#, None),
            (r#"{"nbf":1700000059,"exp":1700000060}"#, Some(1_700_000_060_000)),
            (r#"{"nbf":1700000060,"exp":1700000060}"#, None),
            (r#"{"nbf":1700000900,"exp":1700000300}"#, None),
            (r#"{"downloadable":"yes"}"#, None),
            (r#"{"accessRules":[{}]}"#, None),
        ] {
            let body: Map<String, Value> = serde_json::from_str(body).unwrap();
            let granted = grant(&body, "a".to_owned(), NOW);
            assert_eq!(granted.as_ref().ok().map(|g| g.expires_ms), expect, "{body:?}");
        }
    }
}
