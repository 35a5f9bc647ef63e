//! AMF0, the value format of RTMP's commands (Action Message Format AMF 0, 2007).
//!
//! Deliberately absent: references and movie clips (no encoder sends them), XML documents and
//! recordsets, AMF3 (what peers send as "AMF3 commands" is AMF0 behind one zero byte).

use bytes::{BufMut, BytesMut};

use crate::limits::{AMF_DEPTH_MAX, AMF_VALUES_MAX};

/// Why bytes are not AMF0 that we take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmfError {
    /// The message ends inside a value.
    #[error("AMF0 value is cut off")]
    CutOff,
    /// A type marker that is unknown or that we do not take.
    #[error("AMF0 type {0} is not supported")]
    Type(u8),
    /// Values inside values, too deep.
    #[error("AMF0 values nest deeper than {AMF_DEPTH_MAX}")]
    Depth,
    /// Too many values in one message.
    #[error("more than {AMF_VALUES_MAX} AMF0 values in one message")]
    Count,
}

/// Names and values in their order; names may repeat.
pub type Properties = Vec<(String, Value)>;

/// One AMF0 value. Text that is not UTF-8 is read with replacement characters.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// §2.2
    Number(f64),
    /// §2.3
    Boolean(bool),
    /// §2.4 and §2.14: encoded as a long string when it has to be.
    String(String),
    /// §2.5
    Object(Properties),
    /// §2.7
    Null,
    /// §2.8
    Undefined,
    /// §2.10
    EcmaArray(Properties),
    /// §2.12
    StrictArray(Vec<Value>),
    /// §2.13
    Date {
        /// Since 1970, in UTC.
        ms: f64,
        /// Minutes; reserved, should be 0.
        zone: i16,
    },
    /// §2.18: an object with a class name.
    TypedObject(String, Properties),
}

const NUMBER: u8 = 0;
const BOOLEAN: u8 = 1;
const STRING: u8 = 2;
const OBJECT: u8 = 3;
const NULL: u8 = 5;
const UNDEFINED: u8 = 6;
const ECMA_ARRAY: u8 = 8;
const OBJECT_END: u8 = 9;
const STRICT_ARRAY: u8 = 10;
const DATE: u8 = 11;
const LONG_STRING: u8 = 12;
const TYPED_OBJECT: u8 = 16;

impl Value {
    /// A text value.
    pub fn text(text: impl Into<String>) -> Value {
        Value::String(text.into())
    }

    /// An object from names and values.
    pub fn object<const N: usize>(properties: [(&str, Value); N]) -> Value {
        Value::Object(
            properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        )
    }

    /// The number, if it is one.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The properties of an object or ECMA array.
    pub fn properties(&self) -> &[(String, Value)] {
        match self {
            Value::Object(p) | Value::EcmaArray(p) | Value::TypedObject(_, p) => p,
            _ => &[],
        }
    }

    /// The first property of that name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.properties().iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    /// Appends this value.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Value::Number(number) => {
                out.put_u8(NUMBER);
                out.put_f64(*number);
            }
            Value::Boolean(on) => {
                out.put_u8(BOOLEAN);
                out.put_u8(u8::from(*on));
            }
            Value::String(text) => match u16::try_from(text.len()) {
                Ok(len) => {
                    out.put_u8(STRING);
                    out.put_u16(len);
                    out.put_slice(text.as_bytes());
                }
                Err(_) => {
                    out.put_u8(LONG_STRING);
                    put_count(text.len(), out);
                    out.put_slice(text.as_bytes());
                }
            },
            Value::Object(properties) => {
                out.put_u8(OBJECT);
                put_properties(properties, out);
            }
            Value::Null => out.put_u8(NULL),
            Value::Undefined => out.put_u8(UNDEFINED),
            Value::EcmaArray(properties) => {
                out.put_u8(ECMA_ARRAY);
                put_count(properties.len(), out);
                put_properties(properties, out);
            }
            Value::StrictArray(values) => {
                out.put_u8(STRICT_ARRAY);
                put_count(values.len(), out);
                for value in values {
                    value.encode(out);
                }
            }
            Value::Date { ms, zone } => {
                out.put_u8(DATE);
                out.put_f64(*ms);
                out.put_i16(*zone);
            }
            Value::TypedObject(class, properties) => {
                out.put_u8(TYPED_OBJECT);
                put_name(class, out);
                put_properties(properties, out);
            }
        }
    }
}

/// Appends values one after the other, as in a command.
pub fn encode_all(values: &[Value], out: &mut BytesMut) {
    for value in values {
        value.encode(out);
    }
}

/// A name is at most 65,535 bytes; ours never are, and a longer one is cut at a character.
fn put_name(name: &str, out: &mut BytesMut) {
    let mut len = name.len().min(usize::from(u16::MAX));
    while !name.is_char_boundary(len) {
        len -= 1;
    }
    // invariant: at most u16::MAX after the line above.
    out.put_u16(len as u16);
    out.put_slice(&name.as_bytes()[..len]);
}

fn put_count(count: usize, out: &mut BytesMut) {
    out.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
}

fn put_properties(properties: &[(String, Value)], out: &mut BytesMut) {
    for (name, value) in properties {
        put_name(name, out);
        value.encode(out);
    }
    out.put_u16(0);
    out.put_u8(OBJECT_END);
}

/// Reads values until the end of the message.
pub fn decode_all(input: &[u8]) -> Result<Vec<Value>, AmfError> {
    let mut decoder = Decoder { input, values: 0 };
    let mut values = Vec::new();
    while !decoder.input.is_empty() {
        values.push(decoder.value(0)?);
    }
    Ok(values)
}

/// Reads one value if it is a text, and leaves what follows it.
pub fn decode_text(input: &mut &[u8]) -> Option<String> {
    let mut decoder = Decoder { input, values: 0 };
    if !matches!(decoder.input.first(), Some(&(STRING | LONG_STRING))) {
        return None;
    }
    match decoder.value(0) {
        Ok(Value::String(text)) => {
            *input = decoder.input;
            Some(text)
        }
        _ => None,
    }
}

struct Decoder<'a> {
    input: &'a [u8],
    /// Values so far, in the whole message.
    values: usize,
}

impl<'a> Decoder<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, AmfError> {
        self.values += 1;
        if self.values > AMF_VALUES_MAX {
            return Err(AmfError::Count);
        }
        let marker = self.array::<1>()?[0];
        // Only what contains values goes deeper: a scalar at the last level is fine.
        if depth >= AMF_DEPTH_MAX
            && matches!(marker, OBJECT | ECMA_ARRAY | STRICT_ARRAY | TYPED_OBJECT)
        {
            return Err(AmfError::Depth);
        }
        Ok(match marker {
            NUMBER => Value::Number(f64::from_be_bytes(self.array()?)),
            BOOLEAN => Value::Boolean(self.array::<1>()?[0] != 0),
            STRING => Value::String(self.short_text()?),
            OBJECT => Value::Object(self.properties(depth)?),
            NULL => Value::Null,
            UNDEFINED => Value::Undefined,
            ECMA_ARRAY => {
                // §2.10: an approximate count. Peers write anything; only the end marker counts.
                self.array::<4>()?;
                Value::EcmaArray(self.properties(depth)?)
            }
            STRICT_ARRAY => {
                let count = u32::from_be_bytes(self.array()?);
                let mut values = Vec::new();
                for _ in 0..count {
                    values.push(self.value(depth + 1)?);
                }
                Value::StrictArray(values)
            }
            DATE => Value::Date {
                ms: f64::from_be_bytes(self.array()?),
                zone: i16::from_be_bytes(self.array()?),
            },
            LONG_STRING => {
                let len = u32::from_be_bytes(self.array()?) as usize;
                Value::String(self.text(len)?)
            }
            TYPED_OBJECT => Value::TypedObject(self.short_text()?, self.properties(depth)?),
            other => return Err(AmfError::Type(other)),
        })
    }

    fn properties(&mut self, depth: usize) -> Result<Properties, AmfError> {
        let mut properties = Vec::new();
        loop {
            let name = self.short_text()?;
            // §2.11: an empty name and the end marker. An empty name before a value is a name.
            if name.is_empty() && self.input.first() == Some(&OBJECT_END) {
                self.input = &self.input[1..];
                return Ok(properties);
            }
            properties.push((name, self.value(depth + 1)?));
        }
    }

    fn short_text(&mut self) -> Result<String, AmfError> {
        let len = u16::from_be_bytes(self.array()?);
        self.text(usize::from(len))
    }

    /// Copies what is there; `len` itself allocates nothing.
    fn text(&mut self, len: usize) -> Result<String, AmfError> {
        let bytes = self.input.get(..len).ok_or(AmfError::CutOff)?;
        self.input = &self.input[len..];
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], AmfError> {
        let (head, rest) = self.input.split_first_chunk::<N>().ok_or(AmfError::CutOff)?;
        self.input = rest;
        Ok(*head)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(value: &Value) -> BytesMut {
        let mut out = BytesMut::new();
        value.encode(&mut out);
        out
    }

    #[test]
    fn the_bytes_of_the_document() {
        let check = |bytes: &[u8], expect: Value| assert_eq!(decode_all(bytes), Ok(vec![expect]));
        check(&[0, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0], Value::Number(1.0));
        check(&[1, 1], Value::Boolean(true));
        check(b"\x02\x00\x03app", Value::text("app"));
        check(b"\x03\x00\x01a\x05\x00\x00\x09", Value::object([("a", Value::Null)]));
        check(&[6], Value::Undefined);
        // The announced count of an ECMA array may lie.
        check(
            b"\x08\xff\xff\xff\xff\x00\x01a\x06\x00\x00\x09",
            Value::EcmaArray(vec![("a".into(), Value::Undefined)]),
        );
        check(
            b"\x0a\x00\x00\x00\x02\x05\x06",
            Value::StrictArray(vec![Value::Null, Value::Undefined]),
        );
        check(&[11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60], Value::Date { ms: 0.0, zone: 60 });
        check(b"\x0c\x00\x00\x00\x01x", Value::text("x"));
        check(b"\x10\x00\x01C\x00\x00\x09", Value::TypedObject("C".into(), vec![]));
        check(b"\x02\x00\x01\xff", Value::text("\u{fffd}"));
    }

    #[test]
    fn what_is_wrong_has_a_name() {
        let check = |bytes: &[u8], expect: AmfError| assert_eq!(decode_all(bytes), Err(expect));
        check(&[0, 1], AmfError::CutOff);
        check(b"\x02\x00\x05app", AmfError::CutOff);
        check(b"\x0c\xff\xff\xff\xffx", AmfError::CutOff);
        check(b"\x0a\xff\xff\xff\xff", AmfError::CutOff);
        check(b"\x03\x00\x01a", AmfError::CutOff);
        check(&[7, 0, 0], AmfError::Type(7));
        check(&[17], AmfError::Type(17));
        check(&[5; AMF_VALUES_MAX + 1], AmfError::Count);
        let mut many = vec![10, 0, 0, 0xff, 0xff];
        many.resize(0x1_0000, 5);
        check(&many, AmfError::Count);
    }

    #[test]
    fn nesting_is_bounded() {
        // T9: nested 10,000 deep, as strict arrays and as objects.
        assert_eq!(decode_all(&[10, 0, 0, 0, 1].repeat(10_000)), Err(AmfError::Depth));
        assert_eq!(decode_all(&[3, 0, 1, b'a'].repeat(10_000)), Err(AmfError::Depth));
        let mut value = Value::Null;
        for _ in 0..AMF_DEPTH_MAX {
            value = Value::StrictArray(vec![value]);
        }
        assert_eq!(decode_all(&encoded(&value)), Ok(vec![value.clone()]));
        let deeper = Value::StrictArray(vec![value]);
        assert_eq!(decode_all(&encoded(&deeper)), Err(AmfError::Depth));
    }

    #[test]
    fn long_texts_become_long_strings() {
        for len in [65_535, 65_536] {
            let value = Value::text("x".repeat(len));
            assert_eq!(encoded(&value)[0], if len > 65_535 { LONG_STRING } else { STRING });
            assert_eq!(decode_all(&encoded(&value)), Ok(vec![value]));
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i32>().prop_map(|n| Value::Number(f64::from(n) / 8.0)),
            any::<bool>().prop_map(Value::Boolean),
            "\\PC{0,12}".prop_map(Value::String),
            Just(Value::Null),
            Just(Value::Undefined),
            (any::<i32>(), any::<i16>())
                .prop_map(|(ms, zone)| Value::Date { ms: f64::from(ms), zone }),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            let properties = prop::collection::vec(("\\PC{0,8}", inner.clone()), 0..6);
            prop_oneof![
                properties.clone().prop_map(Value::Object),
                properties.clone().prop_map(Value::EcmaArray),
                prop::collection::vec(inner, 0..6).prop_map(Value::StrictArray),
                ("\\PC{0,8}", properties).prop_map(|(class, p)| Value::TypedObject(class, p)),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(values in prop::collection::vec(value(), 0..5)) {
            let mut out = BytesMut::new();
            encode_all(&values, &mut out);
            prop_assert_eq!(decode_all(&out), Ok(values));
        }

        #[test]
        fn no_input_panics(bytes in prop::collection::vec(prop_oneof![0u8..18, any::<u8>()], 0..300)) {
            let _ = decode_all(&bytes);
        }
    }
}
