//! The envelope `{success, errors, messages, result}`, and errors in it.

use access::Permission;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use control::{DocumentError, EngineError};
use serde_json::{Value, json};

use crate::limits::WORDS_BYTES_MAX;
use crate::paging::Paging;

/// The id of what an answer is about; the audit log takes it from there.
#[derive(Debug, Clone)]
pub(crate) struct Made(pub(crate) String);

/// It was made before: a request that was sent again.
#[derive(Clone, Copy)]
pub(crate) struct Repeated;

/// An answer that worked.
pub(crate) fn ok(result: &Value) -> Response {
    ok_with(result, &json!([]))
}

/// The same with something to say.
pub(crate) fn ok_with(result: &Value, messages: &Value) -> Response {
    let body = json!({ "success": true, "errors": [], "messages": messages, "result": result });
    let mut response = respond(StatusCode::OK, &body);
    let id = ["uid", "id"].iter().find_map(|name| result.get(name)?.as_str());
    if let Some(id) = id {
        response.extensions_mut().insert(Made(id.to_owned()));
    }
    response
}

/// The same with more beside the result, as the vendor has it for counts and pages.
pub(crate) fn ok_beside(result: &Value, beside: &[(&str, Value)]) -> Response {
    let mut body = json!({ "success": true, "errors": [], "messages": [], "result": result });
    for (name, value) in beside {
        body[*name] = value.clone();
    }
    respond(StatusCode::OK, &body)
}

/// A page of a list.
pub(crate) fn ok_page(rows: &[Value], paging: &Paging, total: u64) -> Response {
    ok_beside(&rows.into(), &[("result_info", paging.info(rows.len(), total))])
}

/// An answer that did not.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: u32,
    message: String,
    /// The field that is wrong, as a JSON pointer.
    pointer: Option<String>,
    /// Worth trying again, in so many seconds.
    retry_after_s: Option<u32>,
    /// Whether it is worth trying again at all, where the status alone makes the SDKs do so.
    should_retry: Option<bool>,
    /// A token came with the request, and is not valid.
    invalid_token: bool,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: u32, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            pointer: None,
            retry_after_s: None,
            should_retry: None,
            invalid_token: false,
        }
    }

    /// No token, or no session.
    pub(crate) fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, 10_000, message)
    }

    pub(crate) fn invalid_token(message: &str) -> Self {
        Self { invalid_token: true, ..Self::unauthorized(message) }
    }

    /// Not as things are; `retry`: they may be otherwise in a moment.
    pub(crate) fn conflict(message: impl Into<String>, retry: bool) -> Self {
        Self { should_retry: Some(retry), ..Self::new(StatusCode::CONFLICT, 10_007, message) }
    }

    pub(crate) fn forbidden(message: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, 10_001, message)
    }

    /// The token is good, and may not do this.
    pub(crate) fn lacks(permission: Permission) -> Self {
        Self::forbidden(&format!("this API token has no permission {}", permission.name()))
    }

    pub(crate) fn too_many(words: &str, wait_s: u32) -> Self {
        let message = format!("{words}: wait {wait_s} s");
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, 10_011, message);
        Self { retry_after_s: Some(wait_s), ..error }
    }

    pub(crate) fn internal(message: &str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, 10_010, message)
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, 10_003, what)
    }

    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, 10_004, message)
    }

    /// A field has a value that is not accepted; the message says what would be.
    pub(crate) fn field(name: &str, message: impl Into<String>) -> Self {
        let pointer = Some(format!("/{}", name.replace('.', "/")));
        let message = format!("{name}: {}", message.into());
        Self { pointer, ..Self::new(StatusCode::BAD_REQUEST, 10_005, message) }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(pointer) = self.pointer {
            error["source"] = json!({ "pointer": pointer });
        }
        let body = json!({
            "success": false, "errors": [error], "messages": [], "result": null,
        });
        let mut response = respond(self.status, &body);
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 §11.6.1, RFC 6750 §3: who has sent no token is told of no error of it.
            let challenge = match self.invalid_token {
                true => "Bearer realm=\"airwave\", error=\"invalid_token\"",
                false => "Bearer realm=\"airwave\"",
            };
            let challenge = HeaderValue::from_static(challenge);
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(retry) = self.should_retry {
            let retry = HeaderValue::from_static(if retry { "true" } else { "false" });
            response.headers_mut().insert(SHOULD_RETRY, retry);
        }
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let status = match error {
            EngineError::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
            EngineError::Busy | EngineError::Closed => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        tracing::error!(%error, "api: the state");
        let retry_after_s = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(1);
        Self { retry_after_s, ..Self::new(status, 10_010, error.to_string()) }
    }
}

impl From<DocumentError> for ApiError {
    fn from(error: DocumentError) -> Self {
        let message = error.to_string();
        match error {
            DocumentError::Engine(error) => error.into(),
            DocumentError::NotFound => Self::not_found(&message),
            DocumentError::TooLarge => Self::malformed(message),
            DocumentError::TooMany => Self::new(StatusCode::FORBIDDEN, 10_006, message),
            DocumentError::Exists | DocumentError::Live => Self::conflict(message, false),
            DocumentError::Changed { .. } => Self::conflict(message, true),
        }
    }
}

/// What the SDKs read before they send a request again: they do so by themselves at 408, 409, 429 and from 500 on.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Puts what the framework answers to requests that it refuses (a method that a route has not, a path that is no text, a
/// body that is too large or does not come) into an envelope too.
pub(crate) async fn enveloped(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    // All of it is for who asked, and what was uploaded is no page: RFC 9111 §5.2.2.5.
    for (name, value) in
        [(header::CACHE_CONTROL, "no-store"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")]
    {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    let status = response.status();
    let json = |kind: &HeaderValue| kind.as_bytes().starts_with(b"application/json");
    let fault = status.is_client_error() || status.is_server_error();
    if !fault || response.headers().get(header::CONTENT_TYPE).is_some_and(json) {
        return response;
    }
    let (head, body) = response.into_parts();
    let said = to_bytes(body, WORDS_BYTES_MAX).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    let (code, words) = match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            (10_008, "this route does not have this method; Allow says which it has".to_owned())
        }
        StatusCode::PAYLOAD_TOO_LARGE => (10_012, "the body is too large".to_owned()),
        _ if said.is_empty() => (10_004, status.to_string()),
        _ => (10_004, said),
    };
    let mut answer = ApiError::new(status, code, words).into_response();
    for (name, value) in &head.headers {
        if !matches!(*name, header::CONTENT_TYPE | header::CONTENT_LENGTH) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    answer
}

pub(crate) async fn no_such_route() -> ApiError {
    ApiError::not_found("no such API route")
}

fn respond(status: StatusCode, body: &Value) -> Response {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .body(Body::from(body.to_string()))
        .unwrap_or_default()
}
