//! API tokens, in the vendor's shape: `/user/tokens` and `/accounts/{account}/tokens`.

use std::collections::BTreeMap;

use access::Principal;
use access::api_token::{ApiToken, TokenChangeError, Wanted};
use access::permission::{Policy, Resources, SCOPES, Scope};
use access::rules::Network;
use axum::Extension;
use axum::extract::{RawPathParams, RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use media::date::{date_time, parse_date_time};
use serde_json::{Map, Value, json};

use crate::Api;
use crate::auth::Caller;
use crate::envelope::{ApiError, ok, ok_page, ok_with};
use crate::inputs::{now_ms, object, random};
use crate::limits::{TOKEN_LIST_MAX, TOKEN_NAME_CHARS_MAX, TOKEN_POLICIES_MAX};
use crate::paging::Paging;

type Answer = Result<Response, ApiError>;

const MISSING: &str = "there is no such API token";

pub(crate) async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    let paging = Paging::parse(&query.unwrap_or_default())?;
    let mut tokens = api.tokens.list().await?;
    tokens.sort_by_key(|token| (token.created_ms, token.id.clone()));
    if paging.descending {
        tokens.reverse();
    }
    let rows: Vec<Value> = paging.page_of(&tokens).iter().map(|t| value(&api, t)).collect();
    Ok(ok_page(&rows, &paging, tokens.len() as u64))
}

pub(crate) async fn create(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Answer {
    let wanted = wanted(&object(&body)?)?;
    within(&caller.principal, &wanted.policies, wanted.expires_ms)?;
    let (token, secret) = api.tokens.create(wanted, random(&api), now_ms()).await?;
    tracing::info!(token = token.id, name = token.name, "API token created");
    let mut answer = value(&api, &token);
    // In this answer and nowhere else.
    answer["value"] = secret.expose().into();
    Ok(ok(&answer))
}

pub(crate) async fn get(State(api): State<Api>, params: RawPathParams) -> Answer {
    Ok(ok(&value(&api, &find(&api, id(&params)).await?)))
}

pub(crate) async fn update(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    params: RawPathParams,
    body: Bytes,
) -> Answer {
    let wanted = wanted(&object(&body)?)?;
    let token = find(&api, id(&params)).await?;
    // Neither may it be widened, nor one that may do more be touched.
    within(&caller.principal, &token.policies, token.expires_ms)?;
    within(&caller.principal, &wanted.policies, wanted.expires_ms)?;
    let token = api.tokens.update(&token.id, wanted, now_ms()).await?;
    Ok(ok(&value(&api, &token)))
}

pub(crate) async fn delete(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    params: RawPathParams,
) -> Answer {
    let token = find(&api, id(&params)).await?;
    within(&caller.principal, &token.policies, token.expires_ms)?;
    api.tokens.delete(&token.id).await?;
    tracing::info!(token = token.id, name = token.name, "API token deleted");
    Ok(ok(&json!({ "id": token.id })))
}

pub(crate) async fn roll(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    params: RawPathParams,
) -> Answer {
    let token = find(&api, id(&params)).await?;
    within(&caller.principal, &token.policies, token.expires_ms)?;
    let secret = api.tokens.roll(&token.id, random(&api), now_ms()).await?;
    tracing::info!(token = token.id, name = token.name, "API token rolled");
    Ok(ok(&json!(secret.expose())))
}

/// Whose token it is that asks, and whether it is good: that it got here says so.
pub(crate) async fn verify(State(api): State<Api>, Extension(caller): Extension<Caller>) -> Answer {
    let token = api.tokens.get(&caller.principal.id).await?;
    let mut result = json!({ "id": caller.principal.id, "status": "active" });
    if let Some(token) = token {
        result["status"] = token.status(now_ms()).into();
        result["not_before"] = json!(token.not_before_ms.map(date_time));
        result["expires_on"] = json!(token.expires_ms.map(date_time));
    }
    let said = "This API Token is valid and active";
    Ok(ok_with(&result, &json!([{ "code": 10_000, "message": said, "type": null }])))
}

/// What the vendor calls permission groups.
pub(crate) async fn scopes() -> Answer {
    let row = |scope: &Scope| {
        json!({
            "id": scope.id,
            "name": scope.title,
            "scope": scope.name,
            "category": "media",
            "is_selectable": true,
            "scopes": ["com.cloudflare.api.account"],
        })
    };
    Ok(ok(&SCOPES.iter().map(row).collect::<Value>()))
}

async fn find(api: &Api, id: &str) -> Result<ApiToken, ApiError> {
    api.tokens.get(id).await?.ok_or_else(|| ApiError::not_found(MISSING))
}

fn id(params: &RawPathParams) -> &str {
    params.iter().find(|(name, _)| *name == "id").map_or("", |(_, value)| value)
}

/// Nobody gives, or touches, what may do more than they may.
fn within(
    caller: &Principal,
    policies: &[Policy],
    expires_ms: Option<u64>,
) -> Result<(), ApiError> {
    let words = "this token may do more, or for longer, than the one that you ask with";
    caller.covers(policies, expires_ms).then_some(()).ok_or_else(|| ApiError::forbidden(words))
}

impl From<TokenChangeError> for ApiError {
    fn from(error: TokenChangeError) -> Self {
        let words = error.to_string();
        match error {
            TokenChangeError::NotFound => Self::not_found(&words),
            TokenChangeError::TooMany => Self::forbidden(&words),
            TokenChangeError::TooLarge => Self::malformed(words),
            TokenChangeError::Changed => control::DocumentError::Exists.into(),
            TokenChangeError::Engine(error) => error.into(),
        }
    }
}

fn value(api: &Api, token: &ApiToken) -> Value {
    let networks = |list: &[Network]| list.iter().copied().map(String::from).collect::<Vec<_>>();
    let mut request_ip = Map::new();
    for (name, list) in [("in", &token.from), ("not_in", &token.not_from)] {
        if !list.is_empty() {
            request_ip.insert(name.to_owned(), networks(list).into());
        }
    }
    let mut value = json!({
        "id": token.id,
        "name": token.name,
        "status": token.status(now_ms()),
        "issued_on": date_time(token.created_ms),
        "modified_on": date_time(token.modified_ms),
        "last_used_on": api.tokens.last_used(&token.id).map(date_time),
        "not_before": token.not_before_ms.map(date_time),
        "expires_on": token.expires_ms.map(date_time),
        "policies": token.policies.iter().enumerate().map(|(n, p)| policy_value(n, p)).collect::<Value>(),
    });
    if !request_ip.is_empty() {
        value["condition"] = json!({ "request_ip": request_ip });
    }
    value
}

const ACCOUNT: &str = "com.cloudflare.api.account.";
const INPUT: &str = "airwave.input.";
const VIDEO: &str = "airwave.video.";

fn policy_value(number: usize, policy: &Policy) -> Value {
    let groups = policy.scopes.iter().filter_map(|name| Scope::find(name));
    let group = |s: &Scope| json!({ "id": s.id, "name": s.title, "scope": s.name });
    let resources: BTreeMap<String, &str> = match &policy.resources {
        Resources::All => [(format!("{ACCOUNT}default"), "*")].into(),
        Resources::Only { inputs, videos } => {
            let named = |prefix: &'static str| move |uid: &String| (format!("{prefix}{uid}"), "*");
            inputs.iter().map(named(INPUT)).chain(videos.iter().map(named(VIDEO))).collect()
        }
    };
    json!({
        "id": format!("{number:032x}"),
        "effect": if policy.allow { "allow" } else { "deny" },
        "permission_groups": groups.map(group).collect::<Value>(),
        "resources": resources,
    })
}

/// Reads what a token should be.
pub(crate) fn wanted(body: &Map<String, Value>) -> Result<Wanted, ApiError> {
    let name = body.get("name").and_then(Value::as_str).map(str::trim).unwrap_or_default();
    if !(1..=TOKEN_NAME_CHARS_MAX).contains(&name.chars().count()) {
        let words = format!("must be a text of 1 to {TOKEN_NAME_CHARS_MAX} characters");
        return Err(ApiError::field("name", words));
    }
    let disabled = match body.get("status") {
        None | Some(Value::Null) => false,
        Some(status) => match status.as_str() {
            Some("active" | "expired") => false,
            Some("disabled") => true,
            _ => return Err(ApiError::field("status", "must be active or disabled")),
        },
    };
    Ok(Wanted {
        name: name.to_owned(),
        disabled,
        not_before_ms: date(body, "not_before")?,
        expires_ms: date(body, "expires_on")?,
        from: networks(body, "in")?,
        not_from: networks(body, "not_in")?,
        policies: policies(body)?,
    })
}

fn date(body: &Map<String, Value>, name: &str) -> Result<Option<u64>, ApiError> {
    let value = match body.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value.as_str().and_then(parse_date_time),
    };
    value
        .map(Some)
        .ok_or_else(|| ApiError::field(name, "must be a date such as 2027-01-31T12:00:00Z"))
}

fn networks(body: &Map<String, Value>, name: &str) -> Result<Vec<Network>, ApiError> {
    let list = body.get("condition").and_then(|c| c.get("request_ip")).and_then(|c| c.get(name));
    let Some(list) = list.filter(|list| !list.is_null()) else { return Ok(Vec::new()) };
    let list = list.as_array().filter(|list| list.len() <= TOKEN_LIST_MAX);
    let networks = list.and_then(|list| {
        list.iter().map(|text| text.as_str()?.parse().ok()).collect::<Option<Vec<_>>>()
    });
    networks.ok_or_else(|| {
        let words =
            format!("must be a list of at most {TOKEN_LIST_MAX} networks such as 192.0.2.0/24");
        ApiError::field(&format!("condition.request_ip.{name}"), words)
    })
}

fn policies(body: &Map<String, Value>) -> Result<Vec<Policy>, ApiError> {
    let list = body.get("policies").and_then(Value::as_array);
    let list = list.filter(|list| (1..=TOKEN_POLICIES_MAX).contains(&list.len()));
    let words = format!("must be a list of 1 to {TOKEN_POLICIES_MAX} policies");
    list.ok_or_else(|| ApiError::field("policies", words))?.iter().map(policy).collect()
}

fn policy(policy: &Value) -> Result<Policy, ApiError> {
    let allow = match policy.get("effect").and_then(Value::as_str) {
        Some("allow") => true,
        Some("deny") => false,
        _ => return Err(ApiError::field("policies.effect", "must be allow or deny")),
    };
    let groups = policy.get("permission_groups").and_then(Value::as_array);
    let groups = groups.filter(|groups| (1..=SCOPES.len()).contains(&groups.len()));
    let scope = |group: &Value| {
        let named = |field| group.get(field).and_then(Value::as_str);
        named("id").or_else(|| named("scope")).and_then(Scope::find).map(|s| s.name.to_owned())
    };
    let scopes = groups.and_then(|groups| groups.iter().map(scope).collect::<Option<Vec<_>>>());
    let scopes = scopes.ok_or_else(|| {
        let words = "must name scopes by their id, as GET .../tokens/permission_groups lists them";
        ApiError::field("policies.permission_groups", words)
    })?;
    Ok(Policy { allow, scopes, resources: resources(policy)? })
}

fn resources(policy: &Value) -> Result<Resources, ApiError> {
    let wrong = || {
        let words = format!(
            "must name {ACCOUNT}default, or at most {TOKEN_LIST_MAX} of {INPUT}UID and {VIDEO}UID"
        );
        ApiError::field("policies.resources", words)
    };
    let map = policy.get("resources").and_then(Value::as_object).ok_or_else(wrong)?;
    if !(1..=TOKEN_LIST_MAX).contains(&map.len()) {
        return Err(wrong());
    }
    let (mut all, mut inputs, mut videos) = (false, Vec::new(), Vec::new());
    for name in map.keys() {
        let input = name.strip_prefix(INPUT).and_then(|uid| control::InputUid::parse(uid).ok());
        let video = name.strip_prefix(VIDEO).and_then(|uid| control::VideoUid::parse(uid).ok());
        match (input, video, name.strip_prefix(ACCOUNT)) {
            (Some(uid), ..) => inputs.push(uid.to_string()),
            (_, Some(uid), _) => videos.push(uid.to_string()),
            (.., Some("default" | "*")) => all = true,
            _ => return Err(wrong()),
        }
    }
    if all {
        return Ok(Resources::All);
    }
    Ok(Resources::Only {
        inputs: inputs.into_iter().collect(),
        videos: videos.into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(change: &str) -> Result<Wanted, String> {
        let mut body = json!({
            "name": "a",
            "policies": [{
                "effect": "allow",
                "permission_groups": [{ "id": "a1720000000000000000000000000003" }],
                "resources": { "com.cloudflare.api.account.default": "*" },
            }],
        });
        let change: Map<String, Value> = serde_json::from_str(change).unwrap();
        body.as_object_mut().unwrap().extend(change);
        wanted(body.as_object().unwrap()).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn what_is_no_token_names_its_field() {
        let policy = |text: &str| {
            let whole = r#"{"effect":"allow","permission_groups":[{"id":"inputs:read"}],"resources":{"com.cloudflare.api.account.default":"*"}}"#;
            let mut policy: Map<String, Value> = serde_json::from_str(whole).unwrap();
            policy.extend(serde_json::from_str::<Map<String, Value>>(text).unwrap());
            json!({ "policies": [policy] }).to_string()
        };
        for (change, field) in [
            (r#"{"name":""}"#.to_owned(), "name"),
            (r#"{"name":7}"#.to_owned(), "name"),
            (r#"{"status":"new"}"#.to_owned(), "status"),
            (r#"{"expires_on":"tomorrow"}"#.to_owned(), "expires_on"),
            (r#"{"not_before":1}"#.to_owned(), "not_before"),
            (r#"{"condition":{"request_ip":{"in":["x"]}}}"#.to_owned(), "condition.request_ip.in"),
            (r#"{"policies":[]}"#.to_owned(), "policies"),
            (policy(r#"{"effect":"maybe"}"#), "policies.effect"),
            (policy(r#"{"permission_groups":[]}"#), "policies.permission_groups"),
            (policy(r#"{"permission_groups":[{"id":"x"}]}"#), "policies.permission_groups"),
            (policy(r#"{"resources":{}}"#), "policies.resources"),
            (
                policy(r#"{"resources":{"com.cloudflare.api.account.other":"*"}}"#),
                "policies.resources",
            ),
            (policy(r#"{"resources":{"airwave.input.../x":"*"}}"#), "policies.resources"),
        ] {
            let error = read(&change).unwrap_err();
            assert!(error.contains(&format!("\"{field}: ")), "{change}: {error}");
        }
        let uid = "0".repeat(32);
        let one =
            read(&policy(&format!(r#"{{"resources":{{"airwave.video.{uid}":"*"}}}}"#))).unwrap();
        let videos = [uid].into();
        assert_eq!(one.policies[0].resources, Resources::Only { inputs: [].into(), videos });
    }
}
