//! What both ends share above the chunk stream: protocol control, acknowledgements, pings, and the
//! outputs in their order.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use sansio::stream::Output;

use crate::amf0::Value;
use crate::chunk::writer::Pieces;
use crate::chunk::{Bounds, ChunkError, ChunkReader, ChunkWriter, Message};
use crate::limits;
use crate::message::{self, Command, Media, MessageError, type_id, user_control};

/// Where commands about the connection, and all of ours to clients, go; also by custom.
pub(crate) const COMMAND_CHUNKS: u32 = 3;
/// RTMP 1.0 §5.4: protocol control goes on chunk stream 2, message stream 0.
const CONTROL_CHUNKS: u32 = 2;

/// Why a connection can't go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// In the chunk stream.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// In a message's body.
    #[error(transparent)]
    Message(#[from] MessageError),
}

/// What the peer said, protocol control aside.
pub(crate) enum Incoming {
    Command(Command),
    Media(Media),
}

pub(crate) struct Connection<E> {
    reader: ChunkReader,
    writer: ChunkWriter,
    outputs: VecDeque<Output<E>>,
    pieces: Pieces,
    /// Parts of the last aggregate.
    parts: VecDeque<Media>,
    /// Bytes of the chunk stream so far, as RTMP counts them: modulo 2^32.
    received: u32,
    acknowledged: u32,
    /// The peer's wish; 0: it wants none.
    ack_window: u32,
    /// The last Window Acknowledgement Size that we sent.
    sent_window: u32,
}

impl<E> Connection<E> {
    pub(crate) fn new() -> Connection<E> {
        Connection {
            reader: ChunkReader::new(Bounds::SETUP),
            writer: ChunkWriter::new(),
            outputs: VecDeque::new(),
            pieces: Pieces::default(),
            parts: VecDeque::new(),
            received: 0,
            acknowledged: 0,
            ack_window: limits::ACK_WINDOW,
            sent_window: 0,
        }
    }

    pub(crate) fn set_bounds(&mut self, bounds: Bounds) {
        self.reader.set_bounds(bounds);
    }

    /// Raw bytes outside the chunk stream: the handshake.
    pub(crate) fn raw(&mut self) -> &mut BytesMut {
        self.pieces.tail()
    }

    /// Counts what arrived in one piece, and acknowledges if it is time (RTMP 1.0 §5.4.3): at most once
    /// per piece, so that a tiny window can't make us send more than we get.
    pub(crate) fn arrived(&mut self, count: usize) {
        self.received = self.received.wrapping_add(count as u32);
        if self.ack_window > 0 && self.received.wrapping_sub(self.acknowledged) >= self.ack_window {
            self.acknowledged = self.received;
            self.control(type_id::ACKNOWLEDGEMENT, &self.received.to_be_bytes());
        }
    }

    /// The next thing that the peer said. `None`: `input` is used up.
    pub(crate) fn read(&mut self, input: &mut &[u8]) -> Result<Option<Incoming>, WireError> {
        loop {
            if let Some(part) = self.parts.pop_front() {
                return Ok(Some(Incoming::Media(part)));
            }
            let Some(message) = self.reader.read(input)? else {
                return Ok(None);
            };
            match message.type_id {
                type_id::COMMAND | type_id::COMMAND_AMF3 => {
                    return Ok(Some(Incoming::Command(Command::decode(&message)?)));
                }
                1..=6 => self.on_control(&message)?,
                _ => message::media(message, &mut |media| self.parts.push_back(media))?,
            }
        }
    }

    fn on_control(&mut self, message: &Message) -> Result<(), WireError> {
        let type_id = message.type_id;
        let body = &message.payload[..];
        let number = |at: usize| {
            let field = body.get(at..at + 4).and_then(|field| field.try_into().ok());
            field.map(u32::from_be_bytes).ok_or(MessageError::CutOff(type_id))
        };
        match type_id {
            type_id::SET_CHUNK_SIZE => self.reader.set_chunk_size(number(0)?)?,
            type_id::ABORT => self.reader.abort(number(0)?),
            type_id::ACKNOWLEDGEMENT => {}
            type_id::WINDOW_ACK_SIZE => self.ack_window = number(0)?,
            // RTMP 1.0 §5.4.5: answered with our window if that is new to the peer.
            type_id::SET_PEER_BANDWIDTH => {
                let window = number(0)?;
                if window != self.sent_window {
                    self.window_ack_size(window);
                }
            }
            type_id::USER_CONTROL => {
                let event = body.first_chunk::<2>().ok_or(MessageError::CutOff(type_id))?;
                if u16::from_be_bytes(*event) == user_control::PING_REQUEST {
                    self.user_control(user_control::PING_RESPONSE, number(2)?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn window_ack_size(&mut self, window: u32) {
        self.sent_window = window;
        self.control(type_id::WINDOW_ACK_SIZE, &window.to_be_bytes());
    }

    /// RTMP 1.0 §5.4.5; 2 is "dynamic".
    pub(crate) fn set_peer_bandwidth(&mut self, window: u32) {
        let mut body = window.to_be_bytes().to_vec();
        body.push(2);
        self.control(type_id::SET_PEER_BANDWIDTH, &body);
    }

    /// Announces the size of our chunks, and writes them so from then on.
    pub(crate) fn set_chunk_size(&mut self) {
        self.control(type_id::SET_CHUNK_SIZE, &limits::CHUNK_SIZE_SENT.to_be_bytes());
        self.writer.set_chunk_size(limits::CHUNK_SIZE_SENT);
    }

    pub(crate) fn user_control(&mut self, event: u16, value: u32) {
        let mut body = event.to_be_bytes().to_vec();
        body.put_u32(value);
        self.control(type_id::USER_CONTROL, &body);
    }

    fn control(&mut self, type_id: u8, body: &[u8]) {
        let payload = Bytes::copy_from_slice(body);
        self.message(&Message {
            chunk_stream: CONTROL_CHUNKS,
            stream_id: 0,
            type_id,
            timestamp: 0,
            payload,
        });
    }

    pub(crate) fn command(
        &mut self,
        stream_id: u32,
        name: &str,
        transaction: f64,
        values: &[Value],
    ) {
        let payload = message::command(name, transaction, values);
        let type_id = type_id::COMMAND;
        self.message(&Message {
            chunk_stream: COMMAND_CHUNKS,
            stream_id,
            type_id,
            timestamp: 0,
            payload,
        });
    }

    /// Any message.
    pub(crate) fn message(&mut self, message: &Message) {
        self.writer.write(message, &mut self.pieces);
    }

    /// An event, after what was sent before it.
    pub(crate) fn event(&mut self, event: E) {
        self.flush();
        self.outputs.push_back(Output::Event(event));
    }

    /// The last output.
    pub(crate) fn close(&mut self) {
        self.flush();
        self.outputs.push_back(Output::Close);
    }

    pub(crate) fn poll(&mut self) -> Option<Output<E>> {
        if self.outputs.is_empty() {
            self.flush();
        }
        self.outputs.pop_front()
    }

    fn flush(&mut self) {
        self.outputs.extend(self.pieces.take().map(Output::Send));
    }
}
