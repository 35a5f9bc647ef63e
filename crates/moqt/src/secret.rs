//! Bytes that must not reach a log.

use std::fmt;

use bytes::Bytes;

/// An authorization token's value. It cannot be printed: `Debug` shows `***`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(Bytes);

impl Secret {
    /// Wraps bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Secret {
        Secret(bytes.into())
    }

    /// The bytes themselves, for checking and for the wire.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
