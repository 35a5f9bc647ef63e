//! The node's state: configuration documents, who owns which input, and the index of recordings.
//!
//! One [`Control`] over its engine, SQLite ([`mod@sqlite`]; no other module names it but for the
//! mapping of errors and columns). Times are arguments, in milliseconds since 1970; randomness is an
//! argument too. A write is answered when the disk has it.
//!
//! | what | where |
//! |---|---|
//! | live inputs, their keys | [`Input`], [`InputKeys`] |
//! | ownership: claim, park, release, expire | [`Claim`], [`Claimed`], [`Owned`] |
//! | videos | [`Video`] |
//!
//! Deliberately absent: a trait for engines (there is one), watches, and knowledge of media.

#![forbid(unsafe_code)]

#[cfg(feature = "conformance")]
pub mod conformance;
mod control;
mod error;
pub mod failpoint;
mod ids;
mod input;
pub mod limits;
mod ownership;
mod secret;
mod sqlite;
mod video;

pub use control::Control;
pub use error::{ClaimError, DocumentError, EngineError, OpenError, OwnerError};
pub use ids::{
    Epoch, Expect, InputUid, NodeId, NotAName, NotAnId, REGION, Rev, SessionId, VideoUid,
};
pub use input::{
    Input, InputKeys, InputSettings, KEY_RANDOM_BYTES, KeyKind, List, Page, RecordingMode,
    RecordingSettings,
};
pub use ownership::{Claim, ClaimMode, Claimed, End, Ended, Owned, Reserved, Resolved};
pub use secret::{CannotOpen, KeyHash, MasterKey, Secret};
pub use video::{Video, VideoSettings};
