//! Objects on the wire (draft-18 §11): small state machines, one per stream, that the owner of the
//! stream drives by itself. They need neither the session nor its lock: a session only says which
//! request a stream belongs to (`Input::DataOpened`).
//!
//! Reading is cut-through. A reader takes the chunks as they come from the transport and gives back the
//! head of each object as soon as it is there, then slices of the payload, without copying:
//!
//! ```
//! # use bytes::Bytes;
//! # use moqt::data::{Opening, OpeningReader, SubgroupItem, SubgroupReader};
//! # fn main() -> Result<(), moqt::DataError> {
//! # let mut chunk = Bytes::from_static(&[0x30, 1, 7, 0, 4, b'a', b'b', b'c', b'd']);
//! let mut opening = OpeningReader::new(moqt::Version::Draft18);
//! let Some(Opening::Subgroup(header)) = opening.read(&mut chunk)? else { panic!() };
//! let mut reader = SubgroupReader::new(moqt::Version::Draft18, &header);
//! while let Some(item) = reader.read(&mut chunk)? {
//!     match item {
//!         SubgroupItem::Object(head) => assert_eq!((head.id, head.payload_length), (0, 4)),
//!         SubgroupItem::Payload { bytes, last } => assert!(bytes == "abcd" && last),
//!     }
//! }
//! // `None`: the chunk is used up. At the end of the stream:
//! reader.finish()?;
//! # Ok(())
//! # }
//! ```
//!
//! Writing is the mirror: a writer puts the head of an object into a buffer, and the payload goes to the
//! transport behind it, as it is.

mod carry;
mod datagram;
mod fetch;
mod opening;
mod subgroup;

pub use datagram::{Body, Datagram};
pub use fetch::{FetchItem, FetchObject, FetchReader, FetchWriter, Missing};
pub use opening::{Opening, OpeningReader, padding_datagram, padding_stream};
pub use subgroup::{
    ObjectHead, SubgroupHeader, SubgroupId, SubgroupItem, SubgroupReader, SubgroupWriter,
};

/// What an object is (draft-18 §11.2.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Status {
    /// An object with a payload, perhaps of no bytes.
    #[default]
    Normal,
    /// No object with this ID or a larger one is in the group.
    EndOfGroup,
    /// No object is at this location or beyond it.
    EndOfTrack,
}

impl Status {
    /// As it stands on the wire (draft-18 §11.2.1.2).
    pub fn number(self) -> u64 {
        match self {
            Status::Normal => 0,
            Status::EndOfGroup => 3,
            Status::EndOfTrack => 4,
        }
    }

    pub(crate) fn from_number(number: u64) -> Result<Status, crate::Violation> {
        match number {
            0 => Ok(Status::Normal),
            3 => Ok(Status::EndOfGroup),
            4 => Ok(Status::EndOfTrack),
            // draft-18 §11.2.1.1
            _ => Err(crate::Violation::protocol("an object of an unknown status")),
        }
    }
}

/// How the original publisher sent an object: kept with it, and obeyed on every subscription
/// (draft-18 §11.2.1, "Object Forwarding Preference").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// On a stream, in this subgroup.
    Subgroup(u64),
    /// As a datagram.
    Datagram,
}

/// An object that can't be written where it was to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The ID (or, in a fetch, the location) is not behind the one before.
    #[error("an object that is not behind the one before it on its stream")]
    Order,
    /// An ID that the draft can't write.
    #[error("an ID that is too large for the draft that is spoken")]
    TooLarge,
    /// Properties on a stream or object that has none.
    #[error("properties where there can be none")]
    Properties,
    /// A payload or an "end of group" flag on an object that is only a status.
    #[error("an object with a status and a payload")]
    Status,
}

#[cfg(test)]
#[path = "data_tests.rs"]
mod tests;
