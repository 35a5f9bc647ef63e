//! MoQ Transport without I/O: the session of either end, and objects on their streams.
//!
//! [`Session`] is a core in the sense of [`sansio`]: what the transport tells, time and the owner's wishes
//! go in; bytes for streams and events come out. Objects do not pass through it: the owner of a data
//! stream drives a reader or writer of [`data`] by itself, cut-through, without the session's lock.
//!
//! Drafts 16, 18, 20, 21 and 22 of draft-ietf-moq-transport are spoken. What they disagree on stands in [`version`]. Which
//! sections are done is in `docs/protocols/moq.md`, the differences in `docs/protocols/moq-drafts.md`.

#![forbid(unsafe_code)]

#[cfg(test)]
mod arbitrary;
pub mod code;
pub mod data;
pub mod describe;
#[cfg(test)]
mod differential16_tests;
#[cfg(test)]
mod differential_tests;
mod error;
mod filter;
#[doc(hidden)]
pub mod fuzzing;
pub mod limits;
mod location;
mod message;
mod name;
mod parameters;
pub mod properties;
mod request;
mod route;
mod secret;
mod selection;
pub mod session;
mod token;
mod varint;
pub mod version;
mod wire;

pub use code::{DoneCode, RequestCode, ResetCode, SessionCode};
pub use error::{DataError, SessionError, Violation};
pub use filter::{Filter, InvalidFilter, RangeFilter, Ranged, Ranges};
pub use location::{GroupOrder, Location, Range};
pub use name::{NameError, Namespace, TextError, TrackName};
pub use parameters::Parameters;
pub use properties::Properties;
pub use request::{
    Answer, Done, Fetch, FetchOk, JoiningStart, Redirect, Request, RequestError, RequestId,
};
pub use route::{Node, Route};
pub use secret::Secret;
pub use selection::{Looked, Selection};
pub use session::Session;
pub use token::{AuthToken, Token};
pub use version::Version;
