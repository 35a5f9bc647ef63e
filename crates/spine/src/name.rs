//! Names: of broadcasts (paths) and of tracks. Any bytes; bounded; compared field by field.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::limits::{NAME_BYTES_MAX, PATH_FIELDS_MAX};

/// A name that no broadcast or track can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// More fields than [`PATH_FIELDS_MAX`].
    #[error("a path has at most {PATH_FIELDS_MAX} fields")]
    TooManyFields,
    /// More bytes than [`NAME_BYTES_MAX`].
    #[error("a name has at most {NAME_BYTES_MAX} bytes")]
    TooLong,
}

/// The name of a broadcast: 0 to 32 fields of any bytes. (MoQ: track namespace.)
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(Arc<[Bytes]>);

impl Path {
    /// Builds a path of these fields.
    pub fn new<I>(fields: I) -> Result<Self, NameError>
    where
        I: IntoIterator,
        I::Item: Into<Bytes>,
    {
        let fields: Vec<Bytes> =
            fields.into_iter().take(PATH_FIELDS_MAX + 1).map(Into::into).collect();
        if fields.len() > PATH_FIELDS_MAX {
            return Err(NameError::TooManyFields);
        }
        if fields.iter().map(Bytes::len).sum::<usize>() > NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        Ok(Self(fields.into()))
    }

    /// The path without fields: the prefix of every path.
    pub fn root() -> Self {
        Self(Arc::new([]))
    }

    /// The fields, in order.
    pub fn fields(&self) -> &[Bytes] {
        &self.0
    }

    /// Whether the first fields of this path are all of `prefix`'s.
    pub fn starts_with(&self, prefix: &Path) -> bool {
        self.0.starts_with(&prefix.0)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, field) in self.0.iter().enumerate() {
            let slash = if i == 0 { "" } else { "/" };
            write!(f, "{slash}{}", field.escape_ascii())?;
        }
        Ok(())
    }
}

/// The name of a track inside its broadcast: any bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrackName(Bytes);

impl TrackName {
    /// Builds a track name.
    pub fn new(name: impl Into<Bytes>) -> Result<Self, NameError> {
        let name = name.into();
        if name.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        Ok(Self(name))
    }

    /// A name of our own, known when the program is written.
    ///
    /// # Panics
    /// At compile time of a `const`, or at once, if the name is too long.
    pub const fn from_static(name: &'static str) -> Self {
        assert!(name.len() <= NAME_BYTES_MAX);
        Self(Bytes::from_static(name.as_bytes()))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name as text, if it is UTF-8. All of Airwave's own names are.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for TrackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_bounded() {
        assert_eq!(Path::new(vec!["a"; 33]), Err(NameError::TooManyFields));
        assert_eq!(Path::new([vec![0u8; 4097]]), Err(NameError::TooLong));
        assert!(Path::new(vec!["a"; 32]).is_ok());
        assert_eq!(TrackName::new(vec![0u8; 4097]), Err(NameError::TooLong));
    }

    #[test]
    fn a_prefix_is_whole_fields() {
        let path = Path::new(["default", "abc"]).unwrap();
        assert!(path.starts_with(&Path::new(["default"]).unwrap()));
        assert!(path.starts_with(&Path::root()));
        assert!(!path.starts_with(&Path::new(["def"]).unwrap()));
    }
}
