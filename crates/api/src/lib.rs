//! The REST API under `/client/v4/accounts/{account}`: shapes, errors and habits of the vendor's, so
//! that existing clients work after a change of URL.
//!
//! Bodies are read leniently where official SDKs are sloppy (an empty body with a JSON content type,
//! unknown fields), strictly where a user would want to know (a value out of range names its field).

#![forbid(unsafe_code)]

mod auth;
mod envelope;
#[doc(hidden)]
pub mod fuzzing;
mod inputs;
mod limits;
mod merge;
mod signing;
mod videos;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use access::Access;
use axum::Router;
use axum::routing::{delete, get, post};
use control::{Control, InputUid, Secret};
use media::health::Report;
use record::History;
use spine::Origin;

use crate::limits::BODY_BYTES_MAX;

/// What the API works on.
#[derive(Clone)]
pub struct Api {
    /// The node's state.
    pub control: Arc<Control>,
    /// Who may watch.
    pub access: Arc<Access>,
    /// Recordings.
    pub history: Arc<History>,
    /// The bearer token.
    pub token: Secret,
    /// The broadcasts on the air.
    pub origin: Origin,
    /// Where encoders publish; none where RTMP is off.
    pub rtmp_port: Option<u16>,
    /// Where encoders publish over TLS; none where that is off.
    pub rtmps_port: Option<u16>,
    /// Where MoQ listens, if it does.
    pub quic_port: Option<u16>,
    /// The host name in URLs; none: the request's own.
    pub public_host: Option<String>,
    /// Serve the API in clear to others than this machine.
    pub allow_plain: bool,
    /// This is the router of a listener with TLS: URLs that are handed out say https.
    pub tls: bool,
    /// Fills a buffer with random bytes.
    pub random: fn(&mut [u8]),
    /// How the encoder of a live input is doing.
    pub health: HealthOf,
    /// Ends the broadcast of a live input.
    pub dismiss: Dismiss,
}

/// Tells how the encoder of a live input is doing; nothing while there is none.
pub type HealthOf = Arc<dyn Fn(&InputUid) -> Option<Report> + Send + Sync>;

/// Ends the broadcast of a live input; done when everything of it is recorded, or that takes too long.
pub type Dismiss = Arc<dyn Fn(InputUid) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// All routes of the API.
pub fn router(api: Api) -> Router {
    let account = "/client/v4/accounts/{account}/stream";
    let path = |rest: &str| format!("{account}{rest}");
    let guarded = axum::middleware::from_fn_with_state(api.clone(), auth::check);
    Router::new()
        .route(account, get(videos::list))
        .route(&path("/{uid}"), get(videos::get).post(videos::edit).delete(videos::delete))
        .route(&path("/{uid}/token"), post(signing::token))
        .route(&path("/keys"), get(signing::keys).post(signing::create_key))
        .route(&path("/keys/{id}"), delete(signing::delete_key))
        .route(&path("/live_inputs/{uid}/videos"), get(videos::of_input))
        .route(&path("/live_inputs"), get(inputs::list).post(inputs::create))
        .route(
            &path("/live_inputs/{uid}"),
            get(inputs::get).put(inputs::update).delete(inputs::delete),
        )
        .route(&path("/live_inputs/{uid}/rotate_keys"), post(inputs::rotate_keys))
        .route("/client/v4/{*rest}", axum::routing::any(envelope::no_such_route))
        // Not `layer`: that one would guard the fallback of the router that this one is merged into.
        .route_layer(guarded)
        .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(api)
}
