//! The node's state: configuration documents, who owns which input, and the index of recordings.
//!
//! One [`Control`] over its engine, SQLite (module `sqlite`; no other module names it but for the
//! mapping of errors and columns). Times are arguments, in milliseconds since 1970; randomness is an
//! argument too. A write is answered when the disk has it.
//!
//! | what | where |
//! |---|---|
//! | live inputs, their keys | [`Input`], [`InputKeys`] |
//! | documents of other layers (tokens, outputs) | [`DocumentKey`], [`Document`] |
//! | ownership: claim, park, release, expire | [`Claim`], [`Claimed`], [`Owned`] |
//! | the index: commit, seal, read back | [`SegmentRecord`], [`UnsealedPage`], [`page`] |
//! | who changed what | [`AuditEntry`], [`AuditFilter`] |
//! | chats of videos | [`ChatMessage`], [`ChatChange`] |
//! | videos: documents, retention, deletion | [`Video`], [`VideoFilter`], [`Usage`] |
//!
//! Deliberately absent: a trait for engines (there is one), watches, and knowledge of media.

#![forbid(unsafe_code)]

mod audit;
mod chat;
#[cfg(feature = "conformance")]
pub mod conformance;
mod control;
mod document;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod ids;
mod index;
mod input;
pub mod limits;
mod ownership;
pub mod page;
mod record;
mod recordings;
mod secret;
mod sqlite;
mod varint;
mod video;

pub use audit::{AuditEntry, AuditFilter};
pub use chat::{ChatChange, ChatMessage, ChatPage};
pub use control::{Control, Once};
pub use document::{Document, DocumentKey};
pub use error::{
    ClaimError, CommitError, DocumentError, EngineError, OpenError, OwnerError, SealError,
};
pub use ids::{
    Epoch, Expect, InputUid, NodeId, NotAName, NotAnId, REGION, Rev, SessionId, VideoUid,
};
pub use index::{Committed, CommittedError, Head, PageRef, UnsealedPage, Usage};
pub use input::{
    Input, InputKeys, InputSettings, KEY_RANDOM_BYTES, KeyKind, List, Page, RecordingMode,
    RecordingSettings,
};
pub use ownership::{
    Away, Claim, ClaimMode, Claimed, End, Ended, Owned, Presence, Reserved, Resolved, Standing,
};
pub use page::PageError;
pub use record::{Damaged, PartRecord, RecordError, SegmentRecord, TrackRecord};
pub use secret::{CannotOpen, KeyHash, MasterKey, Secret};
pub use sqlite::Migrated;
pub use video::{
    Captions, ClipOf, Downloads, NewClip, PublicDetails, Video, VideoChange, VideoFilter,
    VideoSettings,
};
