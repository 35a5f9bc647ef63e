//! Reading and writing message bodies.

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::Violation;
use crate::limits;
use crate::location::Location;
use crate::name::{NameError, Namespace, TrackName};
use crate::varint;

/// The rest of one message's body, which is whole.
#[derive(Debug, Clone)]
pub(crate) struct Body(Bytes);

/// draft-18 §10: the length does not match what the body needs.
const CUT_OFF: Violation = Violation::protocol("a message is shorter than its fields");

impl Body {
    pub(crate) fn new(bytes: Bytes) -> Body {
        Body(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Violation> {
        let byte = *self.0.first().ok_or(CUT_OFF)?;
        self.skip(1);
        Ok(byte)
    }

    pub(crate) fn number(&mut self) -> Result<u64, Violation> {
        let (value, length) = varint::read(&self.0).map_err(|_| CUT_OFF)?;
        self.skip(length);
        Ok(value)
    }

    pub(crate) fn bytes(&mut self, length: u64) -> Result<Bytes, Violation> {
        if length > self.0.len() as u64 {
            return Err(CUT_OFF);
        }
        Ok(self.0.split_to(length as usize))
    }

    /// A length, then so many bytes.
    pub(crate) fn prefixed(&mut self) -> Result<Bytes, Violation> {
        let length = self.number()?;
        self.bytes(length)
    }

    pub(crate) fn location(&mut self) -> Result<Location, Violation> {
        Ok(Location { group: self.number()?, object: self.number()? })
    }

    /// The names that are kept are copied out, so that they do not keep a whole packet in memory.
    pub(crate) fn namespace(&mut self) -> Result<Namespace, Violation> {
        let count = self.number()?;
        if count > limits::NAMESPACE_FIELDS_MAX as u64 {
            // draft-18 §2.4.1
            return Err(Violation::protocol("a namespace has more than 32 fields"));
        }
        let mut fields = Vec::with_capacity(count as usize);
        for _ in 0..count {
            fields.push(Bytes::copy_from_slice(&self.prefixed()?));
        }
        Namespace::new(fields).map_err(name_violation)
    }

    pub(crate) fn track(&mut self) -> Result<TrackName, Violation> {
        let namespace = self.namespace()?;
        let name = Bytes::copy_from_slice(&self.prefixed()?);
        TrackName::new(namespace, name).map_err(name_violation)
    }

    /// draft-18 §1.4.4. What is not UTF-8 is made so: it is only for people to read.
    pub(crate) fn reason(&mut self) -> Result<String, Violation> {
        let length = self.number()?;
        if length > limits::REASON_BYTES_MAX as u64 {
            return Err(Violation::protocol("a reason phrase is longer than 1,024 bytes"));
        }
        Ok(String::from_utf8_lossy(&self.bytes(length)?).into_owned())
    }

    /// draft-18 §10.4; a redirect's URI (§10.6.1) is held to the same bound.
    pub(crate) fn uri(&mut self) -> Result<String, Violation> {
        let length = self.number()?;
        if length > limits::URI_BYTES_MAX as u64 {
            return Err(Violation::protocol("a URI is longer than 8,192 bytes"));
        }
        let bytes = self.bytes(length)?;
        let text =
            std::str::from_utf8(&bytes).map_err(|_| Violation::protocol("a URI is not text"))?;
        Ok(text.to_owned())
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        self.0
    }

    /// draft-18 §10: nothing may be left behind the last field.
    pub(crate) fn end(self) -> Result<(), Violation> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Violation::protocol("a message is longer than its fields"))
        }
    }

    fn skip(&mut self, count: usize) {
        bytes::Buf::advance(&mut self.0, count);
    }
}

fn name_violation(error: NameError) -> Violation {
    // draft-18 §2.4.1
    Violation::protocol(match error {
        NameError::TooManyFields => "a namespace has more than 32 fields",
        NameError::EmptyField => "a namespace has an empty field",
        NameError::TooLong => "a name is longer than 4,096 bytes",
    })
}

pub(crate) fn put_prefixed(bytes: &[u8], out: &mut BytesMut) {
    varint::write(bytes.len() as u64, out);
    out.put_slice(bytes);
}

pub(crate) fn put_location(location: Location, out: &mut BytesMut) {
    varint::write(location.group, out);
    varint::write(location.object, out);
}

pub(crate) fn put_namespace(namespace: &Namespace, out: &mut BytesMut) {
    varint::write(namespace.fields().len() as u64, out);
    for field in namespace.fields() {
        put_prefixed(field, out);
    }
}

pub(crate) fn put_track(track: &TrackName, out: &mut BytesMut) {
    put_namespace(track.namespace(), out);
    put_prefixed(track.name(), out);
}

/// Cut at a character, to the draft's bound.
pub(crate) fn put_reason(reason: &str, out: &mut BytesMut) {
    let mut end = reason.len().min(limits::REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    put_prefixed(&reason.as_bytes()[..end], out);
}
