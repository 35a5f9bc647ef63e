//! The REST API under `/client/v4`: shapes, errors and habits of the vendor's, so
//! that existing clients work after a change of URL.
//!
//! Bodies are read leniently where official SDKs are sloppy (an empty body with a JSON content type,
//! unknown fields), strictly where a user would want to know (a value out of range names its field).

#![forbid(unsafe_code)]

mod audit;
mod auth;
mod captions;
mod chat;
mod clips;
mod downloads;
mod embed;
mod envelope;
#[doc(hidden)]
pub mod fuzzing;
mod idempotency;
mod inputs;
mod limits;
mod links;
mod list;
mod merge;
mod moq;
mod multipart;
mod number;
mod paging;
mod routes;
mod session;
mod signing;
mod tokens;
mod videos;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use access::{Access, ApiTokens, Sessions};
use axum::Router;
use control::{Control, InputUid};
use media::health::Report;
use media::playback;
use record::{History, Space};
use spine::Origin;

pub use crate::auth::Rates;
use crate::limits::BODY_BYTES_MAX;
pub use crate::routes::table;

/// What the API works on.
#[derive(Clone)]
pub struct Api {
    /// The node's state.
    pub control: Arc<Control>,
    /// Who may watch.
    pub access: Arc<Access>,
    /// What viewers say to each other.
    pub chat: Arc<::chat::Rooms>,
    /// Recordings.
    pub history: Arc<History>,
    /// Who may use this API.
    pub tokens: Arc<ApiTokens>,
    /// Who is signed in to the pages.
    pub sessions: Arc<Sessions>,
    /// How often; one for all listeners.
    pub rates: Arc<Rates>,
    /// The broadcasts on the air.
    pub origin: Origin,
    /// Where encoders publish; none where RTMP is off.
    pub rtmp_port: Option<u16>,
    /// Where encoders publish over TLS; none where that is off.
    pub rtmps_port: Option<u16>,
    /// Where MoQ listens, if it does.
    pub quic_port: Option<u16>,
    /// Room on the disk.
    pub space: Arc<Space>,
    /// The longest clip that becomes a video, in seconds.
    pub clip_video_max_s: u32,
    /// The host name in URLs; none: the request's own.
    pub public_host: Option<String>,
    /// What the addresses of pages and of media begin with, such as `https://live.example.org`; none: as they are asked for.
    pub public_url: Option<String>,
    /// Serve the API in clear to others than this machine.
    pub allow_plain: bool,
    /// This is the router of a listener with TLS: URLs that are handed out say https.
    pub tls: bool,
    /// Fills a buffer with random bytes.
    pub random: fn(&mut [u8]),
    /// How the encoder of a live input is doing.
    pub health: HealthOf,
    /// How a live input plays for those who watch it.
    pub playback: PlaybackOf,
    /// Ends the broadcast of a live input.
    pub dismiss: Dismiss,
    /// What goes over MoQ.
    pub moq: MoqOf,
    /// Whether there are thumbnails: the encoder program may be there a moment after the start.
    pub pictures: Pictures,
    /// What is wrong with levels of quality.
    pub levels: LevelsOf,
}

/// Tells how the encoder of a live input is doing; nothing while there is none.
pub type HealthOf = Arc<dyn Fn(&InputUid) -> Option<Report> + Send + Sync>;

/// Tells how what a live input has on the air plays, by what players say; nothing while it is not on the air.
pub type PlaybackOf = Arc<dyn Fn(&InputUid) -> Option<playback::Report> + Send + Sync>;

/// A list of what goes over MoQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoqList {
    /// The sessions that are open, the newest first, with their `tracks`.
    Sessions,
    /// Tracks, also of sessions that are over.
    Tracks,
}

/// Tells what goes over MoQ, as rows of an answer: each track has its `namespace`, a list, and its `track`.
pub type MoqOf = Arc<dyn Fn(MoqList) -> Vec<serde_json::Value> + Send + Sync>;

/// Tells whether this server makes pictures.
pub type Pictures = Arc<dyn Fn() -> bool + Send + Sync>;

/// Tells why a live input with this ladder, or with none of its own, has no levels, or not as the configuration asks for.
pub type LevelsOf = Arc<dyn Fn(Option<&[String]>) -> Option<String> + Send + Sync>;

/// Ends the broadcast of a live input; done when everything of it is recorded, or that takes too long.
pub type Dismiss = Arc<dyn Fn(InputUid) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// All routes of the API.
pub fn router(api: Api) -> Router {
    routes::router(&api).layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX)).with_state(api)
}
