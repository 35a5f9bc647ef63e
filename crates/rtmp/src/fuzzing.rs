//! The bodies of the fuzz targets in `fuzz/`, plain functions so that `cargo test` runs the committed
//! seeds through them. Each panics on a broken promise.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use sansio::stream::{Input, Output};
use sansio::{Core, Poll};

use crate::amf0;
use crate::chunk::writer::Pieces;
use crate::chunk::{Bounds, ChunkReader, ChunkWriter};
use crate::client::{self, Client, Target};
use crate::handshake::digest::Schema;
use crate::handshake::{Done, PACKET_BYTES};
use crate::message::Kind;
use crate::server::{Command, Config, Event, Refusal, RefusalCode, Server};

/// What every message is made of. The first byte says which: values or chunks.
pub fn wire(data: &[u8]) {
    match data.split_first() {
        Some((0, data)) => amf0(data),
        Some((_, data)) => chunk(data),
        None => {}
    }
}

/// Whatever decodes, encodes to something that decodes to the same.
pub fn amf0(data: &[u8]) {
    let Ok(values) = amf0::decode_all(data) else {
        return;
    };
    let mut first = BytesMut::new();
    amf0::encode_all(&values, &mut first);
    let mut second = BytesMut::new();
    // Bytes are compared, not values: not-a-number is not itself.
    match amf0::decode_all(&first) {
        Ok(again) => amf0::encode_all(&again, &mut second),
        Err(error) => panic!("own encoding: {error}"),
    }
    assert_eq!(first, second);
}

/// Cut differently, the same messages come out; memory stays in its bounds; what was read can be
/// written and read again. The first byte says how to cut.
pub fn chunk(data: &[u8]) {
    let Some((cut, data)) = data.split_first() else {
        return;
    };
    let read = |piece: usize, bounds: Bounds, data: &[u8]| {
        let mut reader = ChunkReader::new(bounds);
        let mut messages = Vec::new();
        for mut input in data.chunks(piece) {
            while !input.is_empty() {
                match reader.read(&mut input) {
                    Ok(message) => messages.extend(message),
                    Err(_) => return messages,
                }
                assert!(reader.held_bytes() <= bounds.partial_bytes_max);
                for message in messages.iter().rev().take(1).filter(|message| message.type_id == 1)
                {
                    if let Some(size) = message.payload.first_chunk::<4>() {
                        let _ = reader.set_chunk_size(u32::from_be_bytes(*size));
                    }
                }
            }
        }
        messages
    };
    let messages = read(1 + usize::from(*cut), Bounds::SETUP, data);
    // The end of a long input may differ: where memory is refused depends on the pieces.
    let whole = read(usize::MAX, Bounds::SETUP, data);
    let count = messages.len().min(whole.len());
    assert_eq!(messages[..count], whole[..count]);
    let mut writer = ChunkWriter::new();
    let mut out = Pieces::default();
    for message in messages.iter().filter(|message| message.type_id != 1) {
        writer.write(message, &mut out);
    }
    let written: Vec<u8> = out.take().flatten().collect();
    let again = read(usize::MAX, Bounds::MEDIA, &written);
    assert!(again.iter().eq(messages.iter().filter(|message| message.type_id != 1)));
}

/// Bit of a session's first byte: its bytes begin with the handshake, else that is done already.
const WITH_HANDSHAKE: u8 = 8;

/// A whole session. The first bytes choose the owner's answers and the cuts.
/// Promise: every offer ends exactly once, media lies between acceptance and end, and `Close` is last.
pub fn server_session(now: Instant, data: &[u8]) {
    let Some((&[answers, cut], data)) = data.split_first_chunk::<2>() else {
        return;
    };
    let mut session = SessionCheck {
        server: Server::new(now, Config::new([0; 32])),
        open: Vec::new(),
        closed: false,
    };
    if answers & WITH_HANDSHAKE == 0 {
        let _ = session.server.handle(now, Input::Bytes(&hello()));
        session.drain(now, answers);
    }
    let mut time = now;
    for piece in data.chunks(1 + usize::from(cut)) {
        time += Duration::from_millis(u64::from(answers >> 4));
        let failed = session.server.handle(time, Input::Bytes(piece)).is_err();
        session.drain(time, answers);
        if failed {
            assert!(session.closed);
        }
    }
    let _ = session.server.handle(time, Input::Eof);
    session.drain(time, answers);
    assert!(session.closed && session.open.is_empty());
}

/// C0 to C2, or S0 to S2: nobody looks at what plain ones hold.
fn hello() -> Vec<u8> {
    let mut hello = vec![3];
    hello.resize(1 + 2 * PACKET_BYTES, 0);
    hello
}

/// A hostile server against the publishing client. The first bytes choose what the client wants, and
/// the cuts. Promise: media is sent only after the server has agreed, an error or a goodbye closes,
/// and `Close` is last.
pub fn client_session(now: Instant, data: &[u8]) {
    let Some((&[wishes, cut], data)) = data.split_first_chunk::<2>() else {
        return;
    };
    // invariant: a constant, and a test connects with it.
    let Ok(target) = Target::parse("rtmp://host/live/key?token=1") else {
        return;
    };
    let mut config = client::Config::new(target, [0; 32]);
    if wishes & 1 == 1 {
        config.handshake = Done::Digest(Schema::DigestFirst);
        config.four_ccs = vec!["av01".to_owned()];
    }
    let mut client = Client::new(now, config);
    let mut closed = drain(&mut client, now);
    let hello = if wishes & WITH_HANDSHAKE == 0 { hello() } else { Vec::new() };
    let mut time = now;
    for piece in hello.chunks(PACKET_BYTES).chain(data.chunks(1 + usize::from(cut))) {
        time += Duration::from_millis(u64::from(wishes >> 4));
        let failed = client.handle(time, Input::Bytes(piece)).is_err();
        let ended = drain(&mut client, time);
        assert!(!(closed && (ended || failed)), "something after Close");
        closed |= ended;
        assert!(!failed || closed, "an error without Close");
    }
    if wishes & 2 == 2 {
        assert!(client.command(time, client::Command::Goodbye).is_ok());
    } else {
        assert_eq!(client.handle(time, Input::Eof).is_err(), !closed);
    }
    assert_ne!(closed, drain(&mut client, time), "one Close, whatever comes");
}

/// Sends media as soon as that is allowed; says whether the client has closed.
fn drain(client: &mut Client, now: Instant) -> bool {
    let mut closed = false;
    while let Poll::Output(output) = client.poll() {
        assert!(!closed, "an output after Close");
        match output {
            Output::Send(bytes) => assert!(!bytes.is_empty()),
            Output::Close => closed = true,
            Output::Event(client::Event::Publishing) => {
                for kind in [Kind::Video, Kind::Audio, Kind::Data] {
                    let payload = bytes::Bytes::from_static(&[0x17; 200]);
                    let media = client::Command::Media { kind, timestamp: u32::MAX, payload };
                    assert!(client.command(now, media).is_ok());
                }
            }
        }
    }
    closed
}

struct SessionCheck {
    server: Server,
    /// Offers without an end, and whether they were accepted.
    open: Vec<(u32, bool)>,
    closed: bool,
}

impl SessionCheck {
    fn drain(&mut self, now: Instant, answers: u8) {
        while let Poll::Output(output) = self.server.poll() {
            assert!(!self.closed, "an output after Close");
            match output {
                Output::Send(bytes) => assert!(!bytes.is_empty()),
                Output::Close => self.closed = true,
                Output::Event(event) => {
                    if let Some(command) = self.on_event(event, answers) {
                        assert!(self.server.command(now, command).is_ok());
                    }
                }
            }
        }
    }

    fn on_event(&mut self, event: Event, answers: u8) -> Option<Command> {
        match event {
            Event::Publish(publish) => {
                let stream_id = publish.stream_id;
                assert!(self.open.iter().all(|(id, _)| *id != stream_id));
                let accepted = answers & 1 == 1;
                self.open.push((stream_id, accepted));
                // A third of owners never answer.
                match answers & 3 {
                    1 | 3 => Some(Command::Accept { stream_id }),
                    2 => Some(Command::Reject { stream_id, refusal: refusal() }),
                    _ => None,
                }
            }
            Event::Play(play) => {
                Some(Command::Reject { stream_id: play.stream_id, refusal: refusal() })
            }
            Event::Media(media) => {
                assert!(self.open.contains(&(media.stream_id, true)) && !media.payload.is_empty());
                None
            }
            Event::Ended { stream_id, .. } => {
                let count = self.open.len();
                self.open.retain(|(id, _)| *id != stream_id);
                assert_eq!(self.open.len() + 1, count, "an end without an offer");
                None
            }
        }
    }
}

fn refusal() -> Refusal {
    Refusal { code: RefusalCode::PublishDenied, description: "No.".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sansio::harness::{epoch, replay};

    #[test]
    fn seeds_and_changes_of_them_pass() {
        replay("rtmp_wire", 1_000, wire);
        replay("rtmp_server", 1_000, |data| server_session(epoch(), data));
        replay("rtmp_client", 1_000, |data| client_session(epoch(), data));
    }
}
