//! Names as text (draft-18 §1.5): fields joined by `-`, then `--`, then the track; letters, digits and
//! `_` as they are, every other byte as `.` and two lower-case hexadecimal digits. Each name has exactly
//! one text.

use std::fmt;

use bytes::Bytes;

use super::{NameError, Namespace, TrackName};

/// A text that is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// No `--` between namespace and track.
    #[error("a track's name has -- between its namespace and the track")]
    NoTrack,
    /// A byte that stands only as `.xx`, or a `.xx` for one that stands as it is.
    #[error(
        "byte {0} of a name: letters, digits and _ stand as they are, all else as . and two lower-case hexadecimal digits"
    )]
    Escape(usize),
    /// A text of a name that nothing can have.
    #[error(transparent)]
    Name(#[from] NameError),
}

fn is_literal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

pub(super) fn write_field(field: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for byte in field {
        if is_literal(*byte) {
            write!(f, "{}", char::from(*byte))?;
        } else {
            write!(f, ".{byte:02x}")?;
        }
    }
    Ok(())
}

pub(super) fn write_namespace(namespace: &Namespace, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (i, field) in namespace.fields().iter().enumerate() {
        if i > 0 {
            f.write_str("-")?;
        }
        write_field(field, f)?;
    }
    Ok(())
}

pub(super) fn parse(text: &str) -> Result<TrackName, TextError> {
    // A hyphen is never literal, so the first pair of them is the separator.
    let (namespace, name) = text.split_once("--").ok_or(TextError::NoTrack)?;
    let name_at = namespace.len() + 2;
    let namespace = match namespace {
        "" => Namespace::root(),
        fields => {
            let mut at = 0;
            let mut parsed = Vec::new();
            for field in fields.split('-') {
                parsed.push(parse_field(field, at)?);
                at += field.len() + 1;
            }
            Namespace::new(parsed)?
        }
    };
    Ok(TrackName::new(namespace, parse_field(name, name_at)?)?)
}

/// draft-18 §1.5.1: a parser rejects what the writer would not write.
fn parse_field(text: &str, at: usize) -> Result<Bytes, TextError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let error = TextError::Escape(at + text.len() - rest.len());
        if is_literal(first) {
            bytes.push(first);
            rest = after;
            continue;
        }
        let (Some(&[high, low]), b'.') = (after.first_chunk::<2>(), first) else {
            return Err(error);
        };
        let (Some(high), Some(low)) = (lower_hex(high), lower_hex(low)) else {
            return Err(error);
        };
        let byte = high << 4 | low;
        if is_literal(byte) {
            return Err(error);
        }
        bytes.push(byte);
        rest = &after[2..];
    }
    Ok(bytes.into())
}

fn lower_hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// draft-18 §1.5.1, example.
    #[test]
    fn draft18_s1_5_1_example() {
        let namespace = Namespace::new(["example.net", "team2", "project_x"]).unwrap();
        let name = TrackName::new(namespace, "report").unwrap();
        assert_eq!(name.to_string(), "example.2enet-team2-project_x--report");
        assert_eq!(TrackName::from_text(&name.to_string()), Ok(name));
    }

    #[test]
    fn draft18_s1_5_1_texts_that_are_no_names() {
        for (text, error) in [
            ("a", TextError::NoTrack),
            ("a-b", TextError::NoTrack),
            ("a--.2E", TextError::Escape(3)),
            ("a--.61", TextError::Escape(3)),
            ("a--x.", TextError::Escape(4)),
            ("a--.2", TextError::Escape(3)),
            ("a b--c", TextError::Escape(1)),
            ("a--b--c", TextError::Escape(4)),
            ("a--\u{e9}", TextError::Escape(3)),
            ("-a--b", TextError::Name(NameError::EmptyField)),
        ] {
            assert_eq!(TrackName::from_text(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_name_has_one_text(
            fields in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..6),
            name in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let name = TrackName::new(Namespace::new(fields).unwrap(), name).unwrap();
            let text = name.to_string();
            prop_assert!(text.bytes().all(|byte| is_literal(byte) || b"-.".contains(&byte)));
            prop_assert_eq!(TrackName::from_text(&text), Ok(name));
        }
    }
}
