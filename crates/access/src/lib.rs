//! Who may watch: one module for every protocol.
//!
//! A live input or a video is open, or asks for a token (`requireSignedURLs`), and may name the pages
//! that embed it (`allowedOrigins`). A token is a JWT that names it (`sub`), signed by the server itself
//! ([`Access::sign`]) or by its owner with a signing key ([`keys`]); it ends (`exp`), and may carry
//! [`rules`] about addresses and countries. Whoever watches passes [`Access::enter`] or [`Access::media`]
//! with every request, and again after each wait and when he hears of a change ([`Access::changes`]), so that an end or a
//! revocation cuts a view that is under way.
//!
//! Followed: RFC 7519 (JWT), RFC 7515 (JWS) with RS256, ES256 and EdDSA (RFC 8037) only, and the claims
//! of the service whose clients this serves.

#![forbid(unsafe_code)]

pub mod api_token;
mod changes;
mod claims;
#[doc(hidden)]
pub mod fuzzing;
mod gate;
pub mod keys;
pub mod limits;
pub mod link;
mod lookups;
mod origins;
pub mod permission;
pub mod rate;
pub mod rules;
pub mod session;
pub mod table;
mod token;

pub use api_token::{ApiTokens, Denied, Principal};
pub use changes::Changes;
pub use claims::Grant;
pub use gate::{Access, Pass, Refusal, Visitor};
pub use origins::frame_sources;
pub use permission::{Permission, Resource};
pub use rules::{Countries, Rule, RuleError, WrongDatabase};
pub use session::Sessions;
pub use token::{TokenError, subject};
