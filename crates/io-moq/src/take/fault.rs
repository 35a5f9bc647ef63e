//! Why what comes is not taken any further.

use moqt::{DataError, Violation};
use spine::WriteError;

/// Why a stream is not read on.
pub(super) enum Fault {
    /// What came can't be read.
    Data(DataError),
    /// It can't be kept.
    Write(WriteError),
}

impl Fault {
    /// Whether the track can't be right (draft-18 §2.4.2), and why.
    pub(super) fn malformed(&self) -> Option<&'static str> {
        match self {
            Self::Data(DataError::MalformedTrack(why))
            | Self::Write(WriteError::Malformed(why)) => Some(why),
            _ => None,
        }
    }
}

impl From<DataError> for Fault {
    fn from(error: DataError) -> Self {
        Self::Data(error)
    }
}

impl From<Violation> for Fault {
    fn from(violation: Violation) -> Self {
        Self::Data(violation.into())
    }
}

impl From<WriteError> for Fault {
    fn from(error: WriteError) -> Self {
        Self::Write(error)
    }
}
