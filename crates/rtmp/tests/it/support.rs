//! Pairs of cores, and a peer that writes its own messages.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rtmp::Kind;
use rtmp::amf0::{Value, encode_all};
use rtmp::chunk::writer::Pieces;
use rtmp::chunk::{ChunkWriter, Message};
use rtmp::client::{self, Client, Target};
use rtmp::handshake::Done;
use rtmp::server::{self, Command, Event, Publish, Refusal, RefusalCode, Server};
use sansio::harness::{Link, Pair, epoch};
use sansio::stream::Input;
use sansio::{Core, Poll};

pub(crate) type Clients = Pair<Client, Server>;
pub(crate) type Liars = Pair<Mute, Server>;

pub(crate) const KEY: &str = "sixteen-canaries";

pub(crate) fn pair(link: Link, handshake: Done) -> Clients {
    let now = epoch();
    let target = Target::parse(&format!("rtmp://host/live/{KEY}?token=canary")).unwrap();
    let config = client::Config { handshake, ..client::Config::new(target, [1; 32]) };
    let server = Server::new(now, server::Config::new([2; 32]));
    Pair::new(now, link, Client::new(now, config), server)
}

/// A pair whose client publishes.
pub(crate) fn live(seed: u64) -> Clients {
    let mut pair = pair(Link::seeded(seed), Done::Plain);
    pair.settle();
    accept(&mut pair);
    assert_eq!(pair.a.take_events(), [client::Event::Publishing]);
    pair
}

/// Accepts the one offer that must be there.
pub(crate) fn accept<C: sansio::stream::StreamCore>(pair: &mut Pair<C, Server>) {
    let stream_id = offer(&mut pair.b.take_events()).stream_id;
    pair.command_b(Command::Accept { stream_id });
    pair.settle();
}

pub(crate) fn offer(events: &mut Vec<Event>) -> Publish {
    match events.pop() {
        Some(Event::Publish(publish)) => publish,
        other => panic!("no offer but {other:?}"),
    }
}

pub(crate) fn refusal(code: RefusalCode, description: &str) -> Refusal {
    Refusal { code, description: description.to_owned() }
}

pub(crate) fn send(pair: &mut Clients, kind: Kind, timestamp: u32, payload: impl Into<Bytes>) {
    pair.command_a(client::Command::Media { kind, timestamp, payload: payload.into() });
}

/// What is left of events after media: how publishes ended.
pub(crate) fn ends(events: Vec<Event>) -> Vec<(u32, server::End)> {
    let end = |event| match event {
        Event::Ended { stream_id, why } => Some((stream_id, why)),
        _ => None,
    };
    events.into_iter().filter_map(end).collect()
}

/// A peer that says nothing by itself: tests inject its bytes. It keeps what it hears.
#[derive(Default)]
pub(crate) struct Mute {
    pub(crate) heard: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
#[error("never")]
pub(crate) struct Never;

impl Core for Mute {
    type Input<'a> = Input<'a>;
    type Command = ();
    type Output = sansio::stream::Output<()>;
    type Error = Never;

    fn handle(&mut self, _now: std::time::Instant, input: Input<'_>) -> Result<(), Never> {
        if let Input::Bytes(bytes) = input {
            self.heard.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn command(&mut self, _now: std::time::Instant, _command: ()) -> Result<(), Never> {
        Ok(())
    }

    fn poll(&mut self) -> Poll<Self::Output> {
        Poll::Wait(None)
    }
}

impl Mute {
    /// Whether a text is somewhere in what it heard.
    pub(crate) fn heard(&self, text: &str) -> usize {
        self.heard.windows(text.len()).filter(|window| *window == text.as_bytes()).count()
    }
}

/// A peer of raw bytes, through with the plain handshake.
pub(crate) fn liar(seed: u64) -> Liars {
    let now = epoch();
    let link = Link { delay: Duration::from_millis(5), ..Link::seeded(seed) };
    let server = Server::new(now, server::Config::new([2; 32]));
    let mut pair = Pair::new(now, link, Mute::default(), server);
    let mut hello = vec![3];
    hello.resize(1 + 2 * rtmp::handshake::PACKET_BYTES, 0);
    pair.inject_b(hello);
    pair.settle();
    pair.a.core.heard.clear();
    pair
}

/// A liar that asks to publish on stream 1, and was accepted if `accepted`.
pub(crate) fn publishing_liar(seed: u64, accepted: bool) -> Liars {
    let mut pair = liar(seed);
    say(&mut pair, 0, "connect", 1.0, &[Value::object([("app", Value::text("live"))])]);
    say(&mut pair, 0, "createStream", 2.0, &[Value::Null]);
    say(&mut pair, 1, "publish", 3.0, &[Value::Null, Value::text(KEY), Value::text("live")]);
    if accepted {
        accept(&mut pair);
    }
    pair
}

/// One message as bytes, on a fresh chunk stream.
pub(crate) fn message(
    chunk_stream: u32,
    stream_id: u32,
    type_id: u8,
    payload: impl Into<Bytes>,
) -> Vec<u8> {
    let mut out = Pieces::default();
    let payload = payload.into();
    ChunkWriter::new()
        .write(&Message { chunk_stream, stream_id, type_id, timestamp: 0, payload }, &mut out);
    out.take().flatten().collect()
}

pub(crate) fn command(name: &str, transaction: f64, values: &[Value]) -> Bytes {
    let mut body = BytesMut::new();
    encode_all(&[Value::text(name), Value::Number(transaction)], &mut body);
    encode_all(values, &mut body);
    body.freeze()
}

pub(crate) fn say(
    pair: &mut Liars,
    stream_id: u32,
    name: &str,
    transaction: f64,
    values: &[Value],
) {
    pair.inject_b(message(3, stream_id, 20, command(name, transaction, values)));
    pair.settle();
}
