//! Why an operation was refused. One type per operation.

use std::io;

/// Why a store can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A newer program wrote it.
    #[error(
        "this media directory was written by a newer Airwave (format {found}, this program knows \
         {known})"
    )]
    Newer {
        /// The format on disk.
        found: u32,
        /// The newest that we know.
        known: u32,
    },
    /// It holds something else.
    #[error("this directory holds something else than Airwave's media")]
    Foreign,
    /// The disk.
    #[error("the media directory can't be opened: {0}")]
    Io(#[from] io::Error),
    /// object_store.
    #[error("the media directory can't be opened: {0}")]
    Store(#[from] object_store::Error),
}

/// Why an object was not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// There is one of this name, and it stays.
    #[error("an object of this name exists")]
    Exists,
    /// No room is left.
    #[error("the disk is full")]
    DiskFull,
    /// The directory can't be written to.
    #[error("the media directory is read-only")]
    ReadOnly,
    /// The disk, or the network to it.
    #[error("the object could not be stored: {0}")]
    Failed(String),
    /// The node is stopping.
    #[error("the store is closed")]
    Closed,
}

impl From<io::Error> for PutError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::AlreadyExists => Self::Exists,
            Kind::StorageFull | Kind::QuotaExceeded => Self::DiskFull,
            Kind::ReadOnlyFilesystem | Kind::PermissionDenied => Self::ReadOnly,
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<object_store::Error> for PutError {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::AlreadyExists { .. } => Self::Exists,
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Why an object can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is none, or no longer.
    #[error("no such object")]
    NotFound,
    /// It ends before the range does: something has cut it off.
    #[error("the object is shorter than it was")]
    Short,
    /// It is larger than what is read as a whole.
    #[error("an object larger than {} bytes", crate::limits::READ_BYTES)]
    TooLarge,
    /// The disk, or the network to it.
    #[error("the object could not be read: {0}")]
    Failed(String),
}

impl From<object_store::Error> for ReadError {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::NotFound,
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Why objects were not listed or deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeleteError {
    /// More than [`crate::limits::LIST_KEYS`].
    #[error("more objects than can be listed")]
    TooMany,
    /// The disk, or the network to it.
    #[error("the objects could not be deleted: {0}")]
    Failed(String),
}

impl From<object_store::Error> for DeleteError {
    fn from(error: object_store::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<io::Error> for DeleteError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}
