//! Links for somebody, which can be taken back one by one. Ours: `/stream/{uid}/links`.

use access::limits::{LINK_AGE, LINK_AGE_DEFAULT};
use access::link::{Link, LinkError};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use media::date::date_time;
use serde_json::{Value, json};

use crate::Api;
use crate::envelope::{ApiError, ok};
use crate::inputs::{now_ms, object, random, web};
use crate::limits::LINK_NAME_CHARS_MAX;
use crate::merge;
use crate::signing::{exists, time};

type Answer = Result<Response, ApiError>;

pub(crate) async fn list(
    State(api): State<Api>,
    Path((_, uid)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    exists(&api, &uid).await?;
    let links = api.access.links(&uid).await?;
    let now = now_ms();
    let valid = links.iter().filter(|link| link.expires_ms > now);
    Ok(ok(&valid.map(|link| value(&api, &headers, &uid, link)).collect::<Value>()))
}

pub(crate) async fn create(
    State(api): State<Api>,
    Path((_, uid)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    exists(&api, &uid).await?;
    let body = object(&body)?;
    let name = match body.get("name") {
        None | Some(Value::Null) => "",
        Some(name) => name.as_str().map(str::trim).unwrap_or("\0"),
    };
    if name.chars().count() > LINK_NAME_CHARS_MAX || name.contains('\0') {
        let words = format!("must be a text of at most {LINK_NAME_CHARS_MAX} characters");
        return Err(ApiError::field("name", words));
    }
    let now = now_ms();
    let age = |age: std::time::Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    let expires_ms = time("exp", &body)?.unwrap_or(now + age(LINK_AGE_DEFAULT));
    if expires_ms <= now || expires_ms > now + age(LINK_AGE) {
        return Err(ApiError::field("exp", "must be seconds since 1970, within the next 400 days"));
    }
    let downloadable = body.get("downloadable").map(|d| merge::boolean("downloadable", d, false));
    let downloadable = downloadable.transpose()?.unwrap_or(false);
    let link = Link {
        id: String::new(),
        name: name.to_owned(),
        created_ms: now,
        expires_ms,
        downloadable,
    };
    let link =
        api.access.create_link(&uid, link, random(&api)).await.map_err(|error| match error {
            LinkError::TooMany => ApiError::forbidden(&error.to_string()),
            LinkError::Engine(error) => error.into(),
        })?;
    tracing::info!(uid, link = link.id, "link created");
    Ok(ok(&value(&api, &headers, &uid, &link)))
}

pub(crate) async fn delete(
    State(api): State<Api>,
    Path((_, uid, id)): Path<(String, String, String)>,
) -> Answer {
    if !api.access.delete_link(&uid, &id).await? {
        return Err(ApiError::not_found("there is no such link"));
    }
    tracing::info!(uid, link = id, "link taken back");
    Ok(ok(&json!({ "id": id })))
}

fn value(api: &Api, headers: &HeaderMap, uid: &str, link: &Link) -> Value {
    let token = api.access.link_token(uid, link).unwrap_or_default();
    json!({
        "id": link.id,
        "name": link.name,
        "created": date_time(link.created_ms),
        "expires": date_time(link.expires_ms),
        "downloadable": link.downloadable,
        "watch": format!("{}/{token}/watch", web(api, headers)),
        "token": token,
    })
}
