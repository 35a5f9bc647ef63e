//! What messages mean: type numbers, user control, media, aggregates, commands.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::amf0::{self, AmfError, Value};
use crate::chunk::Message;
use crate::limits;

/// Message types (RTMP 1.0 §5.4, §6.2, §7.1).
pub(crate) mod type_id {
    pub(crate) const SET_CHUNK_SIZE: u8 = 1;
    pub(crate) const ABORT: u8 = 2;
    pub(crate) const ACKNOWLEDGEMENT: u8 = 3;
    pub(crate) const USER_CONTROL: u8 = 4;
    pub(crate) const WINDOW_ACK_SIZE: u8 = 5;
    pub(crate) const SET_PEER_BANDWIDTH: u8 = 6;
    pub(crate) const AUDIO: u8 = 8;
    pub(crate) const VIDEO: u8 = 9;
    pub(crate) const DATA_AMF3: u8 = 15;
    pub(crate) const COMMAND_AMF3: u8 = 17;
    pub(crate) const DATA: u8 = 18;
    pub(crate) const COMMAND: u8 = 20;
    pub(crate) const AGGREGATE: u8 = 22;
}

/// User control events (RTMP 1.0 §7.1.7).
pub(crate) mod user_control {
    pub(crate) const STREAM_BEGIN: u16 = 0;
    pub(crate) const PING_REQUEST: u16 = 6;
    pub(crate) const PING_RESPONSE: u16 = 7;
}

/// What a media message carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The body of an FLV audio tag, Enhanced RTMP's included.
    Audio,
    /// The body of an FLV video tag, Enhanced RTMP's included.
    Video,
    /// AMF0: a name such as `onMetaData`, and its values. `@setDataFrame` is already taken off.
    Data,
}

/// One media message, as it came: nothing in it was parsed or gated by what was negotiated.
#[derive(Clone, PartialEq, Eq)]
pub struct Media {
    /// The message stream: which publish of this connection.
    pub stream_id: u32,
    /// What it carries.
    pub kind: Kind,
    /// Decode time in milliseconds, absolute, wraps at 32 bits.
    pub timestamp: u32,
    /// Shared, never empty.
    pub payload: Bytes,
}

impl std::fmt::Debug for Media {
    /// Without the payload, which is long.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Media { stream_id, kind, timestamp, payload } = self;
        write!(
            f,
            "Media {{ stream_id: {stream_id}, {kind:?} at {timestamp} ms, {} bytes }}",
            payload.len()
        )
    }
}

/// Why a message's body can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// A control message that is too short.
    #[error("message of type {0} is cut off")]
    CutOff(u8),
    /// A command that is not one.
    #[error("command: {0}")]
    Command(#[from] AmfError),
    /// A command without a name.
    #[error("command without a name")]
    NoName,
    /// More parts in an aggregate than we take.
    #[error("aggregate message with more than {} parts", limits::AGGREGATE_PARTS_MAX)]
    Parts,
}

/// A command (RTMP 1.0 §7.2). No `Debug`: its values may be a stream key.
pub(crate) struct Command {
    pub(crate) stream_id: u32,
    pub(crate) name: String,
    /// 0 if no answer is wanted, or a fraction, or nothing: peers do all of that.
    pub(crate) transaction: f64,
    /// The command object and what follows it.
    values: Vec<Value>,
}

impl Command {
    pub(crate) fn decode(message: &Message) -> Result<Command, MessageError> {
        let mut body = &message.payload[..];
        // Type 17 is meant to switch to AMF3; peers put a zero byte before plain AMF0.
        if message.type_id == type_id::COMMAND_AMF3 && body.first() == Some(&0) {
            body = &body[1..];
        }
        let mut values = amf0::decode_all(body)?.into_iter();
        let Some(Value::String(name)) = values.next() else {
            return Err(MessageError::NoName);
        };
        let transaction = values.next().and_then(|value| value.as_number()).unwrap_or(0.0);
        Ok(Command { stream_id: message.stream_id, name, transaction, values: values.collect() })
    }

    /// The command object.
    pub(crate) fn object(&self) -> &Value {
        self.values.first().unwrap_or(&Value::Null)
    }

    /// The argument of that number after the command object.
    pub(crate) fn argument(&self, index: usize) -> &Value {
        self.values.get(index + 1).unwrap_or(&Value::Null)
    }

    /// Whether the peer waits for `_result` or `_error`.
    pub(crate) fn wants_answer(&self) -> bool {
        self.transaction != 0.0
    }
}

/// The body of a command.
pub(crate) fn command(name: &str, transaction: f64, values: &[Value]) -> Bytes {
    let mut out = BytesMut::new();
    Value::text(name).encode(&mut out);
    Value::Number(transaction).encode(&mut out);
    amf0::encode_all(values, &mut out);
    out.freeze()
}

/// The media of a message: one, the parts of an aggregate, or nothing.
pub(crate) fn media(message: Message, push: &mut impl FnMut(Media)) -> Result<(), MessageError> {
    let Message { stream_id, type_id, timestamp, payload, .. } = message;
    if type_id == type_id::AGGREGATE {
        return aggregate(stream_id, timestamp, payload, push);
    }
    one_media(stream_id, type_id, timestamp, payload, push);
    Ok(())
}

fn one_media(
    stream_id: u32,
    type_id: u8,
    timestamp: u32,
    mut payload: Bytes,
    push: &mut impl FnMut(Media),
) {
    let kind = match type_id {
        type_id::AUDIO => Kind::Audio,
        type_id::VIDEO => Kind::Video,
        type_id::DATA | type_id::DATA_AMF3 => {
            if type_id == type_id::DATA_AMF3 && payload.first() == Some(&0) {
                payload.advance(1);
            }
            payload = without_set_data_frame(payload);
            Kind::Data
        }
        _ => return,
    };
    // Encoders send empty messages to say that nothing has changed, or by mistake; they mean nothing.
    if !payload.is_empty() {
        push(Media { stream_id, kind, timestamp, payload });
    }
}

const SET_DATA_FRAME: &str = "@setDataFrame";

/// `@setDataFrame` tells the server to keep what follows; what follows is the message.
fn without_set_data_frame(payload: Bytes) -> Bytes {
    let mut rest = &payload[..];
    match amf0::decode_text(&mut rest) {
        Some(name) if name == SET_DATA_FRAME => payload.slice(payload.len() - rest.len()..),
        _ => payload,
    }
}

/// The opposite, for publishing.
pub(crate) fn with_set_data_frame(payload: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    Value::text(SET_DATA_FRAME).encode(&mut out);
    out.put_slice(payload);
    out.freeze()
}

/// RTMP 1.0 §7.1.6: FLV tags with back pointers. Their times count from the first one's, which stands
/// for the time of the message.
fn aggregate(
    stream_id: u32,
    timestamp: u32,
    mut body: Bytes,
    push: &mut impl FnMut(Media),
) -> Result<(), MessageError> {
    let cut_off = |_| MessageError::CutOff(type_id::AGGREGATE);
    let mut first = None;
    let mut parts = 0;
    while !body.is_empty() {
        parts += 1;
        if parts > limits::AGGREGATE_PARTS_MAX {
            return Err(MessageError::Parts);
        }
        let type_id = body.try_get_u8().map_err(cut_off)?;
        let length = body.try_get_uint(3).map_err(cut_off)? as usize;
        let low = body.try_get_uint(3).map_err(cut_off)? as u32;
        let time = (u32::from(body.try_get_u8().map_err(cut_off)?) << 24) | low;
        body.try_get_uint(3).map_err(cut_off)?;
        if body.len() < length {
            return Err(MessageError::CutOff(type_id::AGGREGATE));
        }
        let payload = body.split_to(length);
        let since_first = time.wrapping_sub(*first.get_or_insert(time));
        one_media(stream_id, type_id, timestamp.wrapping_add(since_first), payload, push);
        // The back pointer tells nothing new, and some peers leave the last one out.
        body.advance(body.len().min(4));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(message: Message) -> Result<Vec<Media>, MessageError> {
        let mut parts = Vec::new();
        media(message, &mut |part| parts.push(part))?;
        Ok(parts)
    }

    fn message(type_id: u8, timestamp: u32, payload: impl Into<Bytes>) -> Message {
        Message { chunk_stream: 4, stream_id: 1, type_id, timestamp, payload: payload.into() }
    }

    fn tag(type_id: u8, time: u32, body: &[u8]) -> Vec<u8> {
        let mut tag = vec![type_id];
        tag.extend_from_slice(&(body.len() as u32).to_be_bytes()[1..]);
        tag.extend_from_slice(&time.to_be_bytes()[1..]);
        tag.push((time >> 24) as u8);
        tag.extend_from_slice(&[0, 0, 0]);
        tag.extend_from_slice(body);
        tag.extend_from_slice(&(body.len() as u32 + 11).to_be_bytes());
        tag
    }

    #[test]
    fn aggregates_are_split_with_their_times_moved() {
        let body = [tag(8, 0xffff_fff0, b"a"), tag(9, 5, b"vv"), tag(99, 6, b"x"), tag(9, 7, b"")]
            .concat();
        let expect = |kind, timestamp, payload: &'static [u8]| Media {
            stream_id: 1,
            kind,
            timestamp,
            payload: payload.into(),
        };
        let all = parts(message(22, 1_000, body.clone())).unwrap();
        assert_eq!(all, [expect(Kind::Audio, 1_000, b"a"), expect(Kind::Video, 1_021, b"vv")]);
        // Without the last back pointer, and cut off elsewhere.
        assert!(parts(message(22, 0, body[..body.len() - 4].to_vec())).is_ok());
        assert_eq!(parts(message(22, 0, body[..7].to_vec())), Err(MessageError::CutOff(22)));
        assert_eq!(parts(message(22, 0, body[..11].to_vec())), Err(MessageError::CutOff(22)));
        let many = tag(8, 0, b"").repeat(limits::AGGREGATE_PARTS_MAX + 1);
        assert_eq!(parts(message(22, 0, many)), Err(MessageError::Parts));
    }

    #[test]
    fn set_data_frame_is_taken_off() {
        let mut body = BytesMut::new();
        Value::text("onMetaData").encode(&mut body);
        Value::EcmaArray(vec![("width".into(), Value::Number(640.0))]).encode(&mut body);
        let plain = body.freeze();
        let wrapped = with_set_data_frame(&plain);
        let amf3 = [&[0][..], &wrapped].concat();
        for (type_id, payload) in [(18, plain.clone()), (18, wrapped), (15, amf3.into())] {
            assert_eq!(parts(message(type_id, 0, payload)).unwrap()[0].payload, plain);
        }
    }

    #[test]
    fn commands_in_both_types() {
        let body = command("publish", 4.0, &[Value::Null, Value::text("key")]);
        let amf3 = [&[0][..], &body].concat();
        for message in [message(20, 0, body), message(17, 0, amf3)] {
            let command = Command::decode(&message).unwrap();
            assert_eq!((command.name.as_str(), command.transaction), ("publish", 4.0));
            assert_eq!(command.argument(0).as_str(), Some("key"));
            assert_eq!(command.argument(7), &Value::Null);
        }
        assert!(matches!(Command::decode(&message(20, 0, vec![5])), Err(MessageError::NoName)));
        assert!(matches!(Command::decode(&message(20, 0, vec![])), Err(MessageError::NoName)));
    }
}
