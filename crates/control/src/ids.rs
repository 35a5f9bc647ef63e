//! Identifiers and versions: opaque, of fixed shape, checked where they come in.

use std::fmt;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::{Deserialize, Serialize};

use crate::limits::NAME_BYTES;

/// The region of an installation on one machine: the first two characters of an input's id.
pub const REGION: &str = "00";

/// Not an id: 32 lowercase hex characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id has 32 lowercase hex characters")]
pub struct NotAnId;

/// Not a name: 1 to 128 bytes of UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to {NAME_BYTES} bytes")]
pub struct NotAName;

/// 32 lowercase hex characters.
fn checked(text: &str) -> Result<String, NotAnId> {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if text.len() == 32 && text.bytes().all(hex) { Ok(text.to_owned()) } else { Err(NotAnId) }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // invariant: writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

macro_rules! text_id {
    ($name:ident, $check:path, $error:ty, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Takes a text of the right shape.
            pub fn parse(text: &str) -> Result<Self, $error> {
                $check(text).map(Self)
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;
            fn try_from(text: String) -> Result<Self, $error> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                self.0.to_sql()
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                Self::parse(value.as_str()?).map_err(FromSqlError::other)
            }
        }
    };
}

pub(crate) fn name(text: &str) -> Result<String, NotAName> {
    if (1..=NAME_BYTES).contains(&text.len()) { Ok(text.to_owned()) } else { Err(NotAName) }
}

text_id!(InputUid, checked, NotAnId, "A live input. The first two characters are its region.");
text_id!(VideoUid, checked, NotAnId, "A video: one broadcast, live or over.");
text_id!(NodeId, name, NotAName, "A node of the installation.");
text_id!(
    SessionId,
    name,
    NotAName,
    "One connection of an encoder; unique, so that a claim can be repeated."
);

impl InputUid {
    /// An id of the region of one machine from random bytes.
    pub fn from_random(random: [u8; 15]) -> Self {
        Self(format!("{REGION}{}", hex(&random)))
    }
}

impl VideoUid {
    /// An id from random bytes.
    pub fn from_random(random: [u8; 16]) -> Self {
        Self(hex(&random))
    }
}

/// The ownership of an input: strictly rises with every claim.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Epoch(pub u64);

/// The version of a document: rises with every change of it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Rev(pub u64);

/// What a write expects to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// This version of the document, and no later one.
    Rev(Rev),
    /// Nothing.
    Absent,
    /// Whatever is there: the last write wins.
    Any,
}

impl Expect {
    /// Whether `found` is what was expected.
    pub(crate) fn holds(self, found: Rev) -> bool {
        self == Self::Any || self == Self::Rev(found)
    }
}

/// Numbers in SQLite are signed; ours fit 63 bits.
pub(crate) mod column {
    use rusqlite::Row;

    pub(crate) fn to(n: u64) -> i64 {
        i64::try_from(n).unwrap_or(i64::MAX)
    }

    pub(crate) fn u64(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
        let n: i64 = row.get(index)?;
        u64::try_from(n).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(index, n))
    }

    pub(crate) fn optional(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<u64>> {
        let n: Option<i64> = row.get(index)?;
        n.map(|n| u64::try_from(n).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(index, n)))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_shape() {
        let check = |text: &str, ok: bool| assert_eq!(InputUid::parse(text).is_ok(), ok, "{text}");
        check("00112233445566778899aabbccddeeff", true);
        check("00112233445566778899AABBCCDDEEFF", false);
        check("00112233445566778899aabbccddeef", false);
        check("00112233445566778899aabbccddeeffa", false);
        check("../../../../../../../../etc/passw", false);
        check("", false);
        assert_eq!(InputUid::from_random([0xab; 15]).as_str(), "00ababababababababababababababab");
    }
}
