//! The envelope `{success, errors, messages, result}`, and errors in it.

use access::Permission;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use control::{DocumentError, EngineError};
use serde_json::{Value, json};

use crate::paging::Paging;

/// The id of what an answer is about; the audit log takes it from there.
#[derive(Debug, Clone)]
pub(crate) struct Made(pub(crate) String);

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

/// A page of a list.
pub(crate) fn ok_page(rows: &[Value], paging: &Paging, total: u64) -> Response {
    let body = json!({
        "success": true, "errors": [], "messages": [], "result": rows,
        "result_info": paging.info(rows.len(), total),
    });
    respond(StatusCode::OK, &body)
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
}

impl ApiError {
    fn new(status: StatusCode, code: u32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), pointer: None, retry_after_s: None }
    }

    pub(crate) fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, 10_000, message)
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
            // RFC 9110 §11.6.1.
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
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
            DocumentError::Exists | DocumentError::Changed { .. } | DocumentError::Live => {
                Self::new(StatusCode::CONFLICT, 10_007, message)
            }
        }
    }
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
