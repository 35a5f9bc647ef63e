//! Heads that are spread over several chunks.

use bytes::{Buf, Bytes, BytesMut};

use crate::error::{DataError, Violation};
use crate::varint::{Coding, Need};

/// Why a head was not parsed.
pub(super) enum Stop {
    /// So many bytes more, at least.
    Need(usize),
    Error(DataError),
}

impl From<Need> for Stop {
    fn from(need: Need) -> Stop {
        Stop::Need(need.0)
    }
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Stop {
        Stop::Error(violation.into())
    }
}

impl From<DataError> for Stop {
    fn from(error: DataError) -> Stop {
        Stop::Error(error)
    }
}

/// Reads fields from the front of a slice that may be too short.
pub(super) struct Fields<'a> {
    coding: Coding,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn new(coding: Coding, bytes: &'a [u8]) -> Fields<'a> {
        Fields { coding, bytes, at: 0 }
    }

    /// The largest number of the draft.
    pub(super) fn max(&self) -> u64 {
        self.coding.max()
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    #[inline]
    pub(super) fn number(&mut self) -> Result<u64, Stop> {
        let (value, length) = self.coding.read(&self.bytes[self.at..])?;
        self.at += length;
        Ok(value)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Stop> {
        let byte = *self.bytes.get(self.at).ok_or(Stop::Need(1))?;
        self.at += 1;
        Ok(byte)
    }

    /// Skips bytes, and says where they are.
    pub(super) fn span(&mut self, length: usize) -> Result<std::ops::Range<usize>, Stop> {
        let end = self.at + length;
        if end > self.bytes.len() {
            return Err(Stop::Need(end - self.bytes.len()));
        }
        let span = self.at..end;
        self.at = end;
        Ok(span)
    }
}

/// The part of a head that has come; empty between heads, so that what lies in one chunk is not copied.
#[derive(Debug, Default)]
pub(super) struct Carry(BytesMut);

/// A head's bytes, of which slices may be kept.
pub(super) enum Head<'a> {
    /// At the front of the input, which is moved on by `drop`.
    Input(&'a mut Bytes, usize),
    Carried(Bytes),
}

impl Head<'_> {
    /// A piece of the head.
    pub(super) fn slice(&self, span: std::ops::Range<usize>) -> Bytes {
        match self {
            Head::Input(input, _) => input.slice(span),
            Head::Carried(bytes) => bytes.slice(span),
        }
    }
}

impl Drop for Head<'_> {
    fn drop(&mut self) {
        if let Head::Input(input, length) = self {
            input.advance(*length);
        }
    }
}

impl Carry {
    /// Whether the stream stands between two heads.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all that has come of a head is a byte of 0.
    pub(super) fn is_zero(&self) -> bool {
        self.0[..] == [0]
    }

    /// Parses one head: its value and its bytes. `None`: the input is used up, and the head not whole.
    #[inline]
    pub(super) fn take<'a, T>(
        &mut self,
        coding: Coding,
        input: &'a mut Bytes,
        parse: impl Fn(&mut Fields<'_>) -> Result<T, Stop>,
    ) -> Result<Option<(T, Head<'a>)>, DataError> {
        if self.0.is_empty() {
            let mut fields = Fields::new(coding, input);
            match parse(&mut fields) {
                Ok(value) => {
                    let length = fields.at();
                    return Ok(Some((value, Head::Input(input, length))));
                }
                Err(Stop::Error(error)) => return Err(error),
                Err(Stop::Need(_)) => {}
            }
        }
        self.take_carried(coding, input, parse)
    }

    #[cold]
    fn take_carried<'a, T>(
        &mut self,
        coding: Coding,
        input: &'a mut Bytes,
        parse: impl Fn(&mut Fields<'_>) -> Result<T, Stop>,
    ) -> Result<Option<(T, Head<'a>)>, DataError> {
        loop {
            let mut fields = Fields::new(coding, &self.0);
            match parse(&mut fields) {
                Ok(value) => return Ok(Some((value, Head::Carried(self.0.split().freeze())))),
                Err(Stop::Error(error)) => return Err(error),
                // Never more than is needed: what follows the head stays in the input.
                Err(Stop::Need(_)) if input.is_empty() => return Ok(None),
                Err(Stop::Need(count)) => {
                    let piece = input.split_to(count.min(input.len()));
                    self.0.extend_from_slice(&piece);
                }
            }
        }
    }
}
