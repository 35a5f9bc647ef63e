//! The framing of an FLV file, Adobe FLV 10.1 §E.2 to §E.4.1.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::limits;
use crate::read;

/// What a tag carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagKind {
    /// Type 8; also the RTMP message type.
    Audio,
    /// Type 9.
    Video,
    /// Type 18, AMF0.
    Script,
    /// Something else, to be skipped.
    Other(u8),
}

impl TagKind {
    fn from_number(number: u8) -> Self {
        match number {
            8 => Self::Audio,
            9 => Self::Video,
            18 => Self::Script,
            other => Self::Other(other),
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Audio => 8,
            Self::Video => 9,
            Self::Script => 18,
            Self::Other(other) => other & 0x1f,
        }
    }
}

/// One tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// What it carries.
    pub kind: TagKind,
    /// Milliseconds, wrapping at 2^32.
    pub timestamp: u32,
    /// The body, as in an RTMP message.
    pub body: Bytes,
}

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The first bytes are not those of an FLV file.
    #[error("not an FLV file")]
    NotFlv,
    /// The header says where the tags begin, and that is nonsense.
    #[error("an FLV header of {0} bytes")]
    Header(u32),
    /// Encrypted tags are not read.
    #[error("an encrypted FLV tag")]
    Encrypted,
}

/// Reads a file piece by piece: [`Reader::push`] bytes, then take tags until `None`.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    buffer: BytesMut,
    state: State,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Header,
    /// Bytes to skip before the next tag.
    Skip(usize),
    Tags,
}

const HEADER: usize = 9;
const TAG_HEADER: usize = 11;
const BACK_POINTER: usize = 4;

impl Reader {
    /// A reader at the start of a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next bytes of the file. What is held is what was pushed and not yet taken.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole tag, or `None` until more bytes come.
    pub fn next_tag(&mut self) -> Result<Option<Tag>, FileError> {
        loop {
            match self.state {
                State::Header => {
                    let Some(head) = self.buffer.first_chunk::<HEADER>() else {
                        // Refuse early, so that a wrong file is not buffered in the hope of a header.
                        return if b"FLV".starts_with(self.buffer.get(..3).unwrap_or(&self.buffer)) {
                            Ok(None)
                        } else {
                            Err(FileError::NotFlv)
                        };
                    };
                    let [b'F', b'L', b'V', 1, _flags, a, b, c, d] = *head else {
                        return Err(FileError::NotFlv);
                    };
                    let offset = u32::from_be_bytes([a, b, c, d]);
                    if !(HEADER as u32..=1024).contains(&offset) {
                        return Err(FileError::Header(offset));
                    }
                    self.state = State::Skip(offset as usize + BACK_POINTER);
                }
                State::Skip(bytes) => {
                    let now = bytes.min(self.buffer.len());
                    self.buffer.advance(now);
                    if now < bytes {
                        self.state = State::Skip(bytes - now);
                        return Ok(None);
                    }
                    self.state = State::Tags;
                }
                State::Tags => return self.tag(),
            }
        }
    }

    fn tag(&mut self) -> Result<Option<Tag>, FileError> {
        let Some(head) = self.buffer.first_chunk::<TAG_HEADER>() else {
            return Ok(None);
        };
        let mut reader = read::Reader::new(head);
        let (Some(kind), Some(size), Some(low), Some(high)) =
            (reader.u8(), reader.u24(), reader.u24(), reader.u8())
        else {
            return Ok(None);
        };
        if kind & 0x20 != 0 {
            return Err(FileError::Encrypted);
        }
        // A body has at most 24 bits of length: FLV_TAG_BYTES_MAX, and it is never allocated ahead.
        let size = (size as usize).min(limits::FLV_TAG_BYTES_MAX);
        if self.buffer.len() < TAG_HEADER + size {
            return Ok(None);
        }
        self.buffer.advance(TAG_HEADER);
        let body = self.buffer.split_to(size).freeze();
        self.state = State::Skip(BACK_POINTER);
        Ok(Some(Tag {
            kind: TagKind::from_number(kind & 0x1f),
            timestamp: u32::from(high) << 24 | low,
            body,
        }))
    }
}

/// Writes the header of a file.
pub fn write_header(out: &mut Vec<u8>, audio: bool, video: bool) {
    out.put_slice(b"FLV\x01");
    out.put_u8(u8::from(audio) << 2 | u8::from(video));
    out.put_u32(HEADER as u32);
    out.put_u32(0);
}

/// Writes one tag with the size that follows it. Bytes of the body beyond 2^24 - 1 are not written.
pub fn write_tag(out: &mut Vec<u8>, kind: TagKind, timestamp: u32, body: &[u8]) {
    let body = body.get(..limits::FLV_TAG_BYTES_MAX).unwrap_or(body);
    let size = body.len() as u32;
    out.put_u32(u32::from(kind.number()) << 24 | size);
    out.put_uint(u64::from(timestamp & 0x00ff_ffff), 3);
    out.put_u8((timestamp >> 24) as u8);
    out.put_uint(0, 3);
    out.put_slice(body);
    out.put_u32(size + TAG_HEADER as u32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_in_pieces_of_every_size() {
        let tags = [
            Tag { kind: TagKind::Script, timestamp: 0, body: Bytes::from_static(b"meta") },
            Tag { kind: TagKind::Video, timestamp: 0xff_ffff, body: Bytes::from_static(&[1; 300]) },
            Tag { kind: TagKind::Audio, timestamp: u32::MAX, body: Bytes::new() },
        ];
        let mut file = Vec::new();
        write_header(&mut file, true, true);
        for tag in &tags {
            write_tag(&mut file, tag.kind, tag.timestamp, &tag.body);
        }
        for piece in [1, 2, 7, 64, file.len()] {
            let mut reader = Reader::new();
            let mut got = Vec::new();
            for bytes in file.chunks(piece) {
                reader.push(bytes);
                while let Some(tag) = reader.next_tag().unwrap() {
                    got.push(tag);
                }
            }
            assert_eq!(got, tags);
        }
    }

    #[test]
    fn other_files() {
        for (bytes, error) in [
            (&b"FLX"[..], FileError::NotFlv),
            (b"F1", FileError::NotFlv),
            (b"FLV\x01\x05\0\0\0\0", FileError::Header(0)),
            (b"FLV\x02\x05\0\0\0\x09", FileError::NotFlv),
        ] {
            let mut reader = Reader::new();
            reader.push(bytes);
            assert_eq!(reader.next_tag(), Err(error));
        }
    }
}
