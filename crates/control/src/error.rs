//! Why an operation was refused. One type per operation; what the engine can suffer is in all.

use crate::ids::{Epoch, NodeId, Rev, SessionId};
use crate::record::RecordError;
use crate::secret::CannotOpen;

/// What the engine suffers from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Another process holds the database.
    #[error("the database is locked by another process")]
    Busy,
    /// The data directory can't be written to.
    #[error("the database is read-only")]
    ReadOnly,
    /// No room is left.
    #[error("the disk is full")]
    DiskFull,
    /// The file is damaged or not a database.
    #[error("the database is damaged: {0}")]
    Corrupt(String),
    /// The disk failed.
    #[error("the disk failed: {0}")]
    Io(String),
    /// The secrets were encrypted under another master key.
    #[error("the master key is not the one that this data was encrypted with")]
    WrongMasterKey,
    /// The node is stopping.
    #[error("the database is closed")]
    Closed,
    /// A fault of ours.
    #[error("the database refused a statement: {0}")]
    Internal(String),
}

impl From<CannotOpen> for EngineError {
    fn from(_: CannotOpen) -> Self {
        Self::WrongMasterKey
    }
}

impl From<rusqlite::Error> for EngineError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => Self::Busy,
            Some(Code::ReadOnly | Code::PermissionDenied) => Self::ReadOnly,
            Some(Code::DiskFull) => Self::DiskFull,
            Some(Code::DatabaseCorrupt | Code::NotADatabase) => Self::Corrupt(text),
            Some(Code::SystemIoFailure | Code::CannotOpen) => Self::Io(text),
            _ => Self::Internal(text),
        }
    }
}

/// An engine's refusal inside an operation keeps its kind.
macro_rules! from_sqlite {
    ($($error:ty),*) => {$(
        impl From<rusqlite::Error> for $error {
            fn from(error: rusqlite::Error) -> Self {
                EngineError::from(error).into()
            }
        }
    )*};
}

from_sqlite!(OpenError, DocumentError, ClaimError, OwnerError, CommitError, SealError);

/// Why the data directory can't be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A newer program wrote it.
    #[error(
        "this data directory was written by a newer Airwave (format {found}, this program knows \
         {known}): start that version, or restore a backup made by this one"
    )]
    Newer {
        /// The format on disk.
        found: u32,
        /// The newest that we know.
        known: u32,
    },
    /// The file is a database, and not ours.
    #[error("the file is a database of another program")]
    Foreign,
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Why a document can't be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// There is none, or no longer.
    #[error("not found")]
    NotFound,
    /// There is one already.
    #[error("this id exists already")]
    Exists,
    /// It was changed in between.
    #[error("it was changed in between (version {})", current.0)]
    Changed {
        /// Its version now.
        current: Rev,
    },
    /// It is larger than the bound.
    #[error("the document is larger than {} bytes", crate::limits::DOCUMENT_BYTES)]
    TooLarge,
    /// There are as many as there may be.
    #[error("this installation has as many live inputs as it may hold ({})", crate::limits::INPUTS)]
    TooMany,
    /// The broadcast is still live.
    #[error("this broadcast is still live")]
    Live,
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Why an input can't be claimed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// There is no such input.
    #[error("there is no such live input")]
    NoSuchInput,
    /// The key that was shown is not its stream key, or no longer.
    #[error("this is no stream key of this live input")]
    OtherKey,
    /// Its owner switched it off.
    #[error("this live input is disabled")]
    Disabled,
    /// Somebody else has it, and the claim was not to take over.
    #[error("this live input is on the air from another encoder")]
    Owned {
        /// The node that has it.
        node: NodeId,
        /// The connection that has it.
        session: SessionId,
        /// Its ownership.
        epoch: Epoch,
    },
    /// The video's id for a new broadcast is in use.
    #[error("this video id exists already")]
    VideoExists,
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Why an owner's write was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OwnerError {
    /// Somebody else has the input now, or the broadcast is over. Final.
    #[error("another encoder has taken over this input (ownership {})", current.0)]
    Fenced {
        /// The newest ownership of the input.
        current: Epoch,
    },
    /// More numbers than may be reserved ahead.
    #[error("at most {} numbers can be reserved ahead", crate::limits::RESERVE_AHEAD)]
    TooFarAhead,
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Why a commit was refused. Nothing of its batch was kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The owner's right is gone, or asks for too much.
    #[error(transparent)]
    Owner(#[from] OwnerError),
    /// Another segment is committed under this number.
    #[error("another segment is committed under the number {number}")]
    Conflict {
        /// The number.
        number: u64,
    },
    /// Numbers rise by one: what is missing must be committed as a gap.
    #[error("segment {expected} must be committed before")]
    Hole {
        /// The number that is next.
        expected: u64,
    },
    /// A record that can't be stored.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// More records than one commit takes.
    #[error("a commit takes at most {} records", crate::limits::COMMIT_RECORDS)]
    TooMany,
    /// The catalog is larger than the bound.
    #[error("the catalog is larger than {} bytes", crate::limits::CATALOG_BYTES)]
    CatalogTooLarge,
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Why a page was not sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The owner's right is gone.
    #[error(transparent)]
    Owner(#[from] OwnerError),
    /// The page's records are not there: it is sealed already, or its video was deleted.
    #[error("there is no such page to seal")]
    NoSuchPage,
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
}
