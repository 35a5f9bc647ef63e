//! The audit log: written for every change that somebody known asks for, and read in the vendor's shape.

use std::net::IpAddr;

use access::Principal;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{RawQuery, Request, State};
use axum::http::header;
use axum::response::Response;
use control::{AuditEntry, AuditFilter};
use media::date::date_time;
use serde_json::{Map, Value, json};

use crate::Api;
use crate::auth::Caller;
use crate::envelope::{ApiError, Made, Repeated, ok_page};
use crate::inputs::now_ms;
use crate::limits::BODY_BYTES_MAX;
use crate::paging::Paging;
use crate::videos::{date, decoded};

type Answer = Result<Response, ApiError>;

/// What a change is called, from its route: `("POST", "/accounts/{account}/stream/live_inputs/{uid}/rotate_keys")` is
/// `rotate_keys` of `live_inputs`.
fn action(method: &'static str, path: &str) -> (String, String) {
    let segments: Vec<&str> =
        path.split('/').filter(|s| !s.is_empty() && !s.starts_with('{')).collect();
    let kinds = ["stream", "live_inputs", "keys", "tokens", "links", "chat", "session"];
    let of_kind = segments.iter().rposition(|segment| kinds.contains(segment));
    let kind = of_kind.map_or("other", |at| segments[at]);
    let kind = if kind == "stream" { "videos" } else { kind };
    let last = of_kind.and_then(|at| segments.get(at + 1));
    let named = path.ends_with('}');
    let verb = match (method, last) {
        (_, Some(verb)) => verb,
        ("DELETE", _) if kind == "session" => "sign_out",
        ("DELETE", _) => "delete",
        ("POST", _) if !named => "create",
        _ => "update",
    };
    (verb.to_owned(), kind.to_owned())
}

/// A change that is under way.
pub(crate) struct Change(AuditEntry);

impl Change {
    /// Notes who wants what; none if nothing is changed. The body is read for the names of its fields, and put back.
    pub(crate) async fn begin(
        caller: &Caller,
        method: &'static str,
        path: &str,
        resource: &str,
        request: Request,
    ) -> Result<(Option<Self>, Request), ApiError> {
        if method == "GET" {
            return Ok((None, request));
        }
        let (request, fields) = fields(request).await?;
        let (action, kind) = action(method, path);
        let via = if caller.session.is_some() { "page" } else { "api" };
        Ok((
            Some(Self(AuditEntry {
                actor: caller.principal.id.clone(),
                actor_name: caller.principal.name.clone(),
                via: via.to_owned(),
                address: Some(caller.address.to_canonical().to_string()),
                action,
                kind,
                resource: resource.to_owned(),
                fields,
                ..AuditEntry::default()
            })),
            request,
        ))
    }

    /// Notes what became of it.
    pub(crate) fn ended(mut self, answer: &Response) -> Self {
        self.0.at_ms = now_ms();
        self.0.status = answer.status().as_u16();
        if let Some(Made(id)) = answer.extensions().get()
            && self.0.resource.is_empty()
        {
            self.0.resource.clone_from(id);
        }
        if answer.extensions().get::<Repeated>().is_some() {
            "repeat".clone_into(&mut self.0.action);
        }
        self
    }

    pub(crate) async fn write(self, api: &Api) {
        let (action, kind) = (self.0.action.clone(), self.0.kind.clone());
        if let Err(error) = api.control.record_change(self.0).await {
            tracing::error!(%error, action, kind, "a change is missing in the audit log");
        }
    }
}

/// Somebody has opened a session: the beginning of what a page changes.
pub(crate) async fn signed_in(api: &Api, principal: &Principal, address: IpAddr) {
    let entry = AuditEntry {
        at_ms: now_ms(),
        actor: principal.id.clone(),
        actor_name: principal.name.clone(),
        via: "page".to_owned(),
        address: Some(address.to_canonical().to_string()),
        action: "sign_in".to_owned(),
        kind: "session".to_owned(),
        status: 200,
        ..AuditEntry::default()
    };
    if let Err(error) = api.control.record_change(entry).await {
        tracing::error!(%error, "a session is missing in the audit log");
    }
}

/// The names of what a body says, two levels deep; never what it says. A body of unknown length is no JSON of a client.
async fn fields(request: Request) -> Result<(Request, Vec<String>), ApiError> {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if !length.is_some_and(|length| (1..=BODY_BYTES_MAX).contains(&length)) {
        return Ok((request, Vec::new()));
    }
    let (head, body) = request.into_parts();
    let cut = |error| ApiError::malformed(format!("the body did not come whole: {error}"));
    let body: Bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(cut)?;
    let map: Map<String, Value> = serde_json::from_slice(&body).unwrap_or_default();
    let mut names = Vec::new();
    for (name, value) in &map {
        match value.as_object() {
            // A user's own values have names that are nobody else's business.
            Some(inner) if name != "meta" && !inner.is_empty() => {
                names.extend(inner.keys().map(|inner| format!("{name}.{inner}")));
            }
            _ => names.push(name.clone()),
        }
    }
    Ok((Request::from_parts(head, Body::from(body)), names))
}

/// `GET /accounts/{account}/audit_logs`.
pub(crate) async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    let query = query.unwrap_or_default();
    let paging = Paging::parse(&query)?;
    let filter = filter(&query)?;
    let (entries, total) =
        api.control.changes(filter, paging.descending, paging.skipped(), paging.per_page).await?;
    let rows: Vec<Value> = entries.iter().map(value).collect();
    Ok(ok_page(&rows, &paging, total))
}

fn filter(query: &str) -> Result<AuditFilter, ApiError> {
    let mut filter = AuditFilter::default();
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let value = decoded(value);
        match &*decoded(name) {
            // No number: no such entry.
            "id" => filter.id = Some(value.parse().unwrap_or(0)),
            "since" => filter.since_ms = Some(date(name, &value)?),
            "before" => filter.before_ms = Some(date(name, &value)?),
            "actor.id" | "actor[id]" => filter.actor = Some(value),
            "actor.ip" | "actor[ip]" => filter.address = Some(value),
            "action.type" | "action[type]" => filter.action = Some(value),
            _ => {}
        }
    }
    Ok(filter)
}

fn value(entry: &AuditEntry) -> Value {
    json!({
        "id": entry.id.to_string(),
        "when": date_time(entry.at_ms),
        "action": { "type": entry.action, "result": entry.status < 400 },
        "actor": { "id": entry.actor, "name": entry.actor_name, "ip": entry.address, "type": "user" },
        "interface": entry.via,
        "owner": { "id": "default" },
        "resource": { "id": entry.resource, "type": entry.kind },
        // Values may be secrets: only what was named is kept.
        "metadata": { "fields": entry.fields, "status": entry.status },
        "oldValue": "",
        "newValue": "",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_have_names() {
        let stream = "/client/v4/accounts/{account}/stream";
        for (method, path, expect) in [
            ("POST", format!("{stream}/live_inputs"), ("create", "live_inputs")),
            ("PUT", format!("{stream}/live_inputs/{{uid}}"), ("update", "live_inputs")),
            ("DELETE", format!("{stream}/live_inputs/{{uid}}"), ("delete", "live_inputs")),
            (
                "POST",
                format!("{stream}/live_inputs/{{uid}}/rotate_keys"),
                ("rotate_keys", "live_inputs"),
            ),
            ("POST", format!("{stream}/{{uid}}"), ("update", "videos")),
            ("DELETE", format!("{stream}/{{uid}}"), ("delete", "videos")),
            ("POST", format!("{stream}/{{uid}}/token"), ("token", "videos")),
            ("DELETE", format!("{stream}/{{uid}}/chat"), ("delete", "chat")),
            ("DELETE", format!("{stream}/{{uid}}/chat/{{message}}"), ("delete", "chat")),
            ("POST", format!("{stream}/keys"), ("create", "keys")),
            ("DELETE", format!("{stream}/keys/{{id}}"), ("delete", "keys")),
            ("PUT", "/client/v4/user/tokens/{id}".to_owned(), ("update", "tokens")),
            ("PUT", "/client/v4/user/tokens/{id}/value".to_owned(), ("value", "tokens")),
            ("DELETE", "/client/v4/session".to_owned(), ("sign_out", "session")),
        ] {
            let (action, kind) = action(method, &path);
            assert_eq!((action.as_str(), kind.as_str()), expect, "{method} {path}");
        }
    }
}
