//! Names of objects: made of opaque ids only, so nothing that a user wrote is ever a path.
//!
//! `o/<video>/<epoch>-<number>-<random>` is a segment, `o/<video>/p<epoch>-<number>-<random>` a
//! sealed page that begins with that number, `o/<video>/c0-0-<random>` captions. The epoch and the random part make every attempt's name
//! its own: a late put of an old owner is an orphan, never an overwrite.

use std::fmt;

/// The prefix of all objects.
const OBJECTS: &str = "o";

/// An object's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// What a name says of its object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The video that it belongs to.
    pub video: String,
    /// What it holds.
    pub kind: Kind,
    /// The ownership under which it was made.
    pub epoch: u64,
    /// The segment's number, or the first of the page's.
    pub number: u64,
    /// What makes the name unique.
    pub random: u64,
}

/// What an object holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A segment: all of its tracks.
    Segment,
    /// A sealed page of the index.
    Page,
    /// Captions in one language.
    Captions,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Page, Self::Captions, Self::Segment];

    /// What the names of this kind begin with.
    fn prefix(self) -> &'static str {
        match self {
            Self::Segment => "",
            Self::Page => "p",
            Self::Captions => "c",
        }
    }
}

/// Not the name of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of an object")]
pub struct NotAKey;

fn video(id: &str) -> Result<&str, NotAKey> {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if id.len() == 32 && id.bytes().all(hex) { Ok(id) } else { Err(NotAKey) }
}

impl Key {
    /// The name of an object; refused if `video` is not an id.
    pub fn new(object: &Object) -> Result<Self, NotAKey> {
        let Object { video: id, kind, epoch, number, random } = object;
        let kind = kind.prefix();
        Ok(Self(format!("{OBJECTS}/{}/{kind}{epoch}-{number}-{random:016x}", video(id)?)))
    }

    /// Takes a name that was kept as text.
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        let key = Self(text.to_owned());
        match Self::new(&key.object()?) {
            Ok(same) if same == key => Ok(key),
            _ => Err(NotAKey),
        }
    }

    /// What the name says.
    pub fn object(&self) -> Result<Object, NotAKey> {
        let mut fields = self.0.split('/');
        let (Some(OBJECTS), Some(id), Some(name), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(NotAKey);
        };
        let of = |kind: Kind| Some((kind, name.strip_prefix(kind.prefix())?));
        // The empty prefix is the last one.
        let (kind, name) = Kind::ALL.into_iter().find_map(of).ok_or(NotAKey)?;
        let mut numbers = name.splitn(3, '-');
        let mut number = |radix| {
            let text = numbers.next().ok_or(NotAKey)?;
            u64::from_str_radix(text, radix).map_err(|_| NotAKey)
        };
        let (epoch, number, random) = (number(10)?, number(10)?, number(16)?);
        Ok(Object { video: video(id)?.to_owned(), kind, epoch, number, random })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the names of all objects of a video begin with, without the slash.
    pub(crate) fn prefix(id: &str) -> Result<String, NotAKey> {
        Ok(format!("{OBJECTS}/{}", video(id)?))
    }

    pub(crate) fn path(&self) -> object_store::path::Path {
        object_store::path::Path::from(self.as_str())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_are() {
        let id = "0123456789abcdef0123456789abcdef";
        for kind in Kind::ALL {
            let object =
                Object { video: id.into(), kind, epoch: 3, number: u64::MAX, random: 0xbeef };
            let key = Key::new(&object).unwrap();
            assert_eq!(Key::parse(key.as_str()), Ok(key.clone()));
            assert_eq!(key.object(), Ok(object));
        }
        let key = Key::parse(&format!("o/{id}/p3-7-000000000000beef")).unwrap();
        assert_eq!(key.object().unwrap().kind, Kind::Page);
    }

    #[test]
    fn nothing_else_is_a_name() {
        let id = "0123456789abcdef0123456789abcdef";
        for text in [
            "",
            "format",
            "../../etc/passwd",
            "o/../3-7-000000000000beef",
            &format!("o/{id}/3-7-beef"),
            &format!("o/{id}/03-7-000000000000beef"),
            &format!("o/{id}/+3-7-000000000000beef"),
            &format!("o/{id}/3-7-000000000000BEEF"),
            &format!("o/{id}/3-7-000000000000beef/"),
            &format!("o/{id}/3-7"),
            &format!("x/{id}/3-7-000000000000beef"),
        ] {
            assert_eq!(Key::parse(text), Err(NotAKey), "{text}");
        }
    }
}
