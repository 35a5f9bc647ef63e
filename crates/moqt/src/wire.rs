//! Reading and writing message bodies.

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::Violation;
use crate::limits;
use crate::location::Location;
use crate::name::{NameError, Namespace, TrackName};
use crate::properties::Properties;
use crate::varint::Coding;
use crate::version::Version;

/// The rest of one message's body, which is whole.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    bytes: Bytes,
    coding: Coding,
}

/// draft-18 §10: the length does not match what the body needs.
const CUT_OFF: Violation = Violation::protocol("a message is shorter than its fields");

impl Body {
    pub(crate) fn new(coding: Coding, bytes: Bytes) -> Body {
        Body { bytes, coding }
    }

    /// How its integers are written.
    pub(crate) fn coding(&self) -> Coding {
        self.coding
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Violation> {
        let byte = *self.bytes.first().ok_or(CUT_OFF)?;
        self.skip(1);
        Ok(byte)
    }

    pub(crate) fn number(&mut self) -> Result<u64, Violation> {
        let (value, length) = self.coding.read(&self.bytes).map_err(|_| CUT_OFF)?;
        self.skip(length);
        Ok(value)
    }

    pub(crate) fn bytes(&mut self, length: u64) -> Result<Bytes, Violation> {
        if length > self.bytes.len() as u64 {
            return Err(CUT_OFF);
        }
        Ok(self.bytes.split_to(length as usize))
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

    /// Everything that is left, as a body.
    pub(crate) fn take(&mut self) -> Body {
        Body::new(self.coding, self.rest())
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.bytes)
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// draft-18 §10: nothing may be left behind the last field.
    pub(crate) fn end(self) -> Result<(), Violation> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(Violation::protocol("a message is longer than its fields"))
        }
    }

    fn skip(&mut self, count: usize) {
        bytes::Buf::advance(&mut self.bytes, count);
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

/// Writes a message's body: the mirror of [`Body`].
pub(crate) struct Writer<'a> {
    out: &'a mut BytesMut,
    coding: Coding,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(coding: Coding, out: &'a mut BytesMut) -> Writer<'a> {
        Writer { out, coding }
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.out.put_u8(byte);
    }

    pub(crate) fn number(&mut self, value: u64) {
        self.coding.write(value, self.out);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.out.put_slice(bytes);
    }

    /// A length, then so many bytes.
    pub(crate) fn prefixed(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes(bytes);
    }

    /// The length of what is written inside, then that.
    pub(crate) fn nested(&mut self, inside: impl FnOnce(&mut Writer<'_>)) {
        let mut value = BytesMut::new();
        inside(&mut Writer::new(self.coding, &mut value));
        self.prefixed(&value);
    }

    pub(crate) fn location(&mut self, location: Location) {
        self.number(location.group);
        self.number(location.object);
    }

    pub(crate) fn namespace(&mut self, namespace: &Namespace) {
        self.number(namespace.fields().len() as u64);
        for field in namespace.fields() {
            self.prefixed(field);
        }
    }

    pub(crate) fn track(&mut self, track: &TrackName) {
        self.namespace(track.namespace());
        self.prefixed(track.name());
    }

    /// Cut at a character, to the draft's bound.
    pub(crate) fn reason(&mut self, reason: &str) {
        let mut end = reason.len().min(limits::REASON_BYTES_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        self.prefixed(&reason.as_bytes()[..end]);
    }

    /// Of a track: to the end of the message.
    pub(crate) fn properties(&mut self, version: Version, properties: &Properties) {
        self.bytes(&properties.to_wire(version));
    }
}
