//! Names: namespaces and tracks. Any bytes; bounded; compared field by field (draft-18 §2.4.1).

mod text;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::limits::{NAME_BYTES_MAX, NAMESPACE_FIELDS_MAX};

pub use text::TextError;

/// A name that nothing can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// More fields than [`NAMESPACE_FIELDS_MAX`].
    #[error("a namespace has at most {NAMESPACE_FIELDS_MAX} fields")]
    TooManyFields,
    /// A field without a byte.
    #[error("a field of a namespace has at least one byte")]
    EmptyField,
    /// More bytes than [`NAME_BYTES_MAX`].
    #[error("a namespace and a track name have at most {NAME_BYTES_MAX} bytes together")]
    TooLong,
}

/// A track namespace, a prefix or a suffix of one: 0 to 32 fields of at least one byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(Arc<[Bytes]>);

impl Namespace {
    /// Builds a namespace of these fields.
    pub fn new<I>(fields: I) -> Result<Namespace, NameError>
    where
        I: IntoIterator,
        I::Item: Into<Bytes>,
    {
        let fields: Vec<Bytes> =
            fields.into_iter().take(NAMESPACE_FIELDS_MAX + 1).map(Into::into).collect();
        if fields.len() > NAMESPACE_FIELDS_MAX {
            return Err(NameError::TooManyFields);
        }
        if fields.iter().any(Bytes::is_empty) {
            return Err(NameError::EmptyField);
        }
        let namespace = Namespace(fields.into());
        if namespace.bytes() > NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        Ok(namespace)
    }

    /// The namespace without fields: the prefix of every namespace.
    pub fn root() -> Namespace {
        Namespace(Arc::new([]))
    }

    /// The fields, in order.
    pub fn fields(&self) -> &[Bytes] {
        &self.0
    }

    /// Whether it has no field.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes of all fields, as draft-18 §2.4.1 counts.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// Whether the first fields of this namespace are all of `prefix`'s.
    pub fn starts_with(&self, prefix: &Namespace) -> bool {
        self.0.starts_with(&prefix.0)
    }

    /// Whether one of the two is a prefix of the other.
    pub fn overlaps(&self, other: &Namespace) -> bool {
        self.starts_with(other) || other.starts_with(self)
    }

    /// What follows `prefix`. `None`: it does not start so.
    pub fn suffix(&self, prefix: &Namespace) -> Option<Namespace> {
        self.0.strip_prefix(&*prefix.0).map(|rest| Namespace(rest.into()))
    }

    /// This prefix with a suffix behind it.
    pub fn join(&self, suffix: &Namespace) -> Result<Namespace, NameError> {
        Namespace::new(self.0.iter().chain(suffix.0.iter()).cloned())
    }

    /// Whether the namespace is one that no application uses (draft-18 §3.2.1): the first field begins
    /// with a period.
    pub fn is_reserved(&self) -> bool {
        self.0.first().is_some_and(|field| field.first() == Some(&b'.'))
    }

    /// Whether nothing below it exists for anybody but the implementation: `.` alone (draft-18 §3.2.1)
    /// and `.session` (§3.2.2), of which no track is defined.
    pub(crate) fn is_nowhere(&self) -> bool {
        self.0.first().is_some_and(|field| matches!(&field[..], b"." | b".session"))
    }
}

/// The text form of draft-18 §1.5.
impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write_namespace(self, f)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({self})")
    }
}

/// A track's full name. Namespace and name have at most 4,096 bytes together.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackName {
    namespace: Namespace,
    name: Bytes,
}

impl TrackName {
    /// The track `name`, which may be empty, in `namespace`.
    pub fn new(namespace: Namespace, name: impl Into<Bytes>) -> Result<TrackName, NameError> {
        let name = name.into();
        if namespace.bytes() + name.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        Ok(TrackName { namespace, name })
    }

    /// Where the track is.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its name there.
    pub fn name(&self) -> &Bytes {
        &self.name
    }

    /// Parses the text form of draft-18 §1.5, as it stands in URLs and file names.
    pub fn from_text(text: &str) -> Result<TrackName, TextError> {
        text::parse(text)
    }
}

/// The text form of draft-18 §1.5: safe in logs, URLs and file names.
impl fmt::Display for TrackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write_namespace(&self.namespace, f)?;
        f.write_str("--")?;
        text::write_field(&self.name, f)
    }
}

impl fmt::Debug for TrackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(fields: &[&'static str]) -> Namespace {
        Namespace::new(fields.iter().copied()).unwrap()
    }

    #[test]
    fn draft18_s2_4_1_bounds() {
        assert_eq!(Namespace::new(vec!["a"; 33]), Err(NameError::TooManyFields));
        assert_eq!(Namespace::new(["a", ""]), Err(NameError::EmptyField));
        assert_eq!(Namespace::new([vec![0u8; 4097]]), Err(NameError::TooLong));
        assert!(Namespace::new(vec!["a"; 32]).is_ok());
        let long = Namespace::new([vec![0u8; 4000]]).unwrap();
        assert!(TrackName::new(long.clone(), vec![0u8; 96]).is_ok());
        assert_eq!(TrackName::new(long, vec![0u8; 97]), Err(NameError::TooLong));
        assert!(TrackName::new(Namespace::root(), "").is_ok());
    }

    #[test]
    fn prefixes_are_of_whole_fields() {
        let foo = namespace(&["foo"]);
        let foo_bar = namespace(&["foo", "bar"]);
        let foobar = namespace(&["foobar"]);
        for (long, prefix, starts, overlaps) in [
            (&foo_bar, &foo, true, true),
            (&foo, &foo_bar, false, true),
            (&foobar, &foo, false, false),
            (&foo, &foo, true, true),
            (&foobar, &Namespace::root(), true, true),
        ] {
            assert_eq!(long.starts_with(prefix), starts, "{long} {prefix}");
            assert_eq!(long.overlaps(prefix), overlaps, "{long} {prefix}");
            assert_eq!(long.suffix(prefix).is_some(), starts);
        }
        let suffix = foo_bar.suffix(&foo).unwrap();
        assert_eq!(suffix, namespace(&["bar"]));
        assert_eq!(foo.join(&suffix), Ok(foo_bar));
    }

    #[test]
    fn draft18_s3_2_reserved() {
        for (fields, reserved, nowhere) in [
            (&["."][..], true, true),
            (&[".", "a"], true, true),
            (&[".session", "x"], true, true),
            (&[".sessions"], true, false),
            (&["a", "."], false, false),
            (&[], false, false),
        ] {
            let namespace = namespace(fields);
            assert_eq!((namespace.is_reserved(), namespace.is_nowhere()), (reserved, nowhere));
        }
    }
}
