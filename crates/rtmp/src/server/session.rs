//! Commands and message streams of a server's connection, after the handshake.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::connect::{self, Connect};
use super::{End, Event, Play, Publish, PublishKind, Refusal, RefusalCode};
use crate::amf0::Value;
use crate::chunk::Bounds;
use crate::connection::{Connection as Wire, Incoming};
use crate::error::{PeerFault, ServerError};
use crate::message::{Command, Media, user_control};
use crate::{Secret, limits};

type Connection = Wire<Event>;

/// A connected peer.
pub(super) struct Session {
    connect: Arc<Connect>,
    streams: BTreeMap<u32, Stream>,
    next_stream: u32,
    /// Whether the peer sent `FCPublish`, and may wait for `onFCPublish`.
    announced: bool,
}

/// A message stream (RTMP 1.0 §7.2.2).
enum Stream {
    Idle,
    PublishOffered(Offered),
    Publishing(Publishing),
    PlayOffered,
}

/// Waits for the owner.
struct Offered {
    /// As it was sent, query included.
    name: Secret,
    /// What a hasty peer has sent already.
    held: Vec<Media>,
    held_bytes: usize,
}

struct Publishing {
    name: Secret,
}

impl Offered {
    fn hold(&mut self, media: Media) -> Result<(), PeerFault> {
        self.held_bytes += media.payload.len();
        self.held.push(media);
        if self.held_bytes > limits::UNANSWERED_BYTES_MAX
            || self.held.len() > limits::UNANSWERED_MESSAGES_MAX
        {
            return Err(PeerFault::TooMuchUnanswered);
        }
        Ok(())
    }

    fn accept(self, stream_id: u32, announced: bool, connection: &mut Connection) -> Publishing {
        let code = "NetStream.Publish.Start";
        if announced {
            connection.command(0, "onFCPublish", 0.0, &[Value::Null, status("status", code, "")]);
        }
        connection.user_control(user_control::STREAM_BEGIN, stream_id);
        let status = status("status", code, "Publishing.");
        connection.command(stream_id, "onStatus", 0.0, &[Value::Null, status]);
        for media in self.held {
            connection.event(Event::Media(media));
        }
        Publishing { name: self.name }
    }
}

impl Stream {
    /// Ends a publish, if there is one. The one place that tells of it.
    fn end(&mut self, stream_id: u32, why: End, connection: &mut Connection) {
        let before = std::mem::replace(self, Stream::Idle);
        if matches!(before, Stream::PublishOffered(_) | Stream::Publishing(_)) {
            connection.event(Event::Ended { stream_id, why });
        }
    }

    fn publishes(&self, by_name: &str) -> bool {
        match self {
            Stream::PublishOffered(Offered { name, .. })
            | Stream::Publishing(Publishing { name }) => name.expose() == by_name,
            Stream::Idle | Stream::PlayOffered => false,
        }
    }
}

impl Session {
    /// Takes what comes first, which has to be `connect`; media before it means nothing.
    pub(super) fn connect(
        incoming: &Incoming,
        connection: &mut Connection,
    ) -> Result<Option<Session>, ServerError> {
        let command = match incoming {
            Incoming::Media(_) => return Ok(None),
            Incoming::Command(command) if command.name == "connect" => command,
            Incoming::Command(_) => return Err(PeerFault::NotConnected.into()),
        };
        let connect = Arc::new(Connect::parse(command.object())?);
        connection.window_ack_size(limits::ACK_WINDOW);
        connection.set_peer_bandwidth(limits::ACK_WINDOW);
        connection.set_chunk_size();
        // RTMP 1.0 §7.2.1.1
        connection.command(0, "_result", command.transaction, &connect::answer());
        Ok(Some(Session { connect, streams: BTreeMap::new(), next_stream: 1, announced: false }))
    }

    pub(super) fn is_publishing(&self) -> bool {
        self.streams.values().any(|stream| matches!(stream, Stream::Publishing(_)))
    }

    /// Whether the owner owes an answer.
    pub(super) fn has_offer(&self) -> bool {
        self.streams
            .values()
            .any(|stream| matches!(stream, Stream::PublishOffered(_) | Stream::PlayOffered))
    }

    pub(super) fn read(
        &mut self,
        incoming: Incoming,
        connection: &mut Connection,
    ) -> Result<(), ServerError> {
        match incoming {
            Incoming::Command(command) => self.on_command(&command, connection)?,
            Incoming::Media(media) => match self.streams.get_mut(&media.stream_id) {
                Some(Stream::Publishing(_)) => connection.event(Event::Media(media)),
                Some(Stream::PublishOffered(offered)) => offered.hold(media)?,
                // After a goodbye, or to nobody: some encoders go on for a moment.
                _ => {}
            },
        }
        Ok(())
    }

    fn on_command(
        &mut self,
        command: &Command,
        connection: &mut Connection,
    ) -> Result<(), PeerFault> {
        let transaction = command.transaction;
        match command.name.as_str() {
            "connect" => return Err(PeerFault::ConnectedTwice),
            "createStream" => self.create_stream(transaction, connection)?,
            "publish" => self.publish(command, connection)?,
            "play" | "play2" => self.play(command, connection)?,
            // RTMP 1.0 §7.2.2.3: no answer.
            "deleteStream" => {
                let id = command.argument(0).as_number().map_or(command.stream_id, |id| id as u32);
                if let Some(mut stream) = self.streams.remove(&id) {
                    stream.end(id, End::Goodbye, connection);
                }
            }
            "closeStream" => self.close_stream(command.stream_id, connection),
            "FCUnpublish" => {
                let name = command.argument(0).as_str().unwrap_or_default();
                for (id, stream) in &mut self.streams {
                    if stream.publishes(name) {
                        stream.end(*id, End::Goodbye, connection);
                    }
                }
                acknowledge(command, connection);
            }
            "FCPublish" => {
                self.announced = true;
                acknowledge(command, connection);
            }
            "releaseStream" | "_checkbw" => acknowledge(command, connection),
            "getStreamLength" => {
                connection.command(0, "_result", transaction, &[Value::Null, Value::Number(0.0)]);
            }
            // A player's, meaningless here; and what answers nothing of ours.
            "pause" | "seek" | "receiveAudio" | "receiveVideo" | "_result" | "_error"
            | "onStatus" => {}
            _ if command.wants_answer() => {
                let status = status("error", "NetConnection.Call.Failed", "Unknown command.");
                connection.command(
                    command.stream_id,
                    "_error",
                    transaction,
                    &[Value::Null, status],
                );
            }
            _ => {}
        }
        Ok(())
    }

    fn create_stream(
        &mut self,
        transaction: f64,
        connection: &mut Connection,
    ) -> Result<(), PeerFault> {
        if self.streams.len() >= limits::MESSAGE_STREAMS_MAX {
            return Err(PeerFault::TooManyStreams);
        }
        let id = self.next_stream;
        self.next_stream = self.next_stream.wrapping_add(1);
        self.streams.insert(id, Stream::Idle);
        // RTMP 1.0 §7.2.1.3
        connection.command(0, "_result", transaction, &[Value::Null, Value::Number(f64::from(id))]);
        Ok(())
    }

    fn publish(&mut self, command: &Command, connection: &mut Connection) -> Result<(), PeerFault> {
        let stream_id = command.stream_id;
        if self.refuse_beside(stream_id, RefusalCode::PublishDenied, connection) {
            return Ok(());
        }
        let stream = self.idle_stream(stream_id)?;
        let full_name = command.argument(0).as_str().unwrap_or_default();
        let (name, query) = connect::split_query(full_name)?;
        *stream = Stream::PublishOffered(Offered {
            name: Secret::new(full_name),
            held: Vec::new(),
            held_bytes: 0,
        });
        let kind = match command.argument(1).as_str() {
            Some("record") => PublishKind::Record,
            Some("append") => PublishKind::Append,
            _ => PublishKind::Live,
        };
        connection.set_bounds(Bounds::MEDIA);
        let connect = self.connect.clone();
        connection.event(Event::Publish(Publish { stream_id, connect, name, query, kind }));
        Ok(())
    }

    fn play(&mut self, command: &Command, connection: &mut Connection) -> Result<(), PeerFault> {
        let stream_id = command.stream_id;
        if self.refuse_beside(stream_id, RefusalCode::PlayFailed, connection) {
            return Ok(());
        }
        let stream = self.idle_stream(stream_id)?;
        let (name, query) = connect::split_query(command.argument(0).as_str().unwrap_or_default())?;
        *stream = Stream::PlayOffered;
        let connect = self.connect.clone();
        connection.event(Event::Play(Play { stream_id, connect, name, query }));
        Ok(())
    }

    /// Whether the stream is on the air: then more is refused on it, and the broadcast goes on.
    fn refuse_beside(
        &self,
        stream_id: u32,
        code: RefusalCode,
        connection: &mut Connection,
    ) -> bool {
        let on_air = matches!(self.streams.get(&stream_id), Some(Stream::Publishing(_)));
        if on_air {
            let status = status("error", code.as_str(), "This stream is already publishing.");
            connection.command(stream_id, "onStatus", 0.0, &[Value::Null, status]);
        }
        on_air
    }

    fn idle_stream(&mut self, stream_id: u32) -> Result<&mut Stream, PeerFault> {
        match self.streams.get_mut(&stream_id) {
            None => Err(PeerFault::NoSuchStream(stream_id)),
            Some(stream @ Stream::Idle) => Ok(stream),
            Some(_) => Err(PeerFault::StreamInUse(stream_id)),
        }
    }

    fn close_stream(&mut self, stream_id: u32, connection: &mut Connection) {
        let Some(stream) = self.streams.get_mut(&stream_id) else {
            return;
        };
        if matches!(stream, Stream::Publishing(_)) {
            let status = status("status", "NetStream.Unpublish.Success", "Unpublished.");
            connection.command(stream_id, "onStatus", 0.0, &[Value::Null, status]);
        }
        stream.end(stream_id, End::Goodbye, connection);
    }

    pub(super) fn accept(
        &mut self,
        stream_id: u32,
        connection: &mut Connection,
    ) -> Result<(), ServerError> {
        let Some(stream) = self.streams.get_mut(&stream_id) else {
            return Ok(());
        };
        match std::mem::replace(stream, Stream::Idle) {
            Stream::PublishOffered(offered) => {
                *stream = Stream::Publishing(offered.accept(stream_id, self.announced, connection));
                Ok(())
            }
            // It ended while the owner was thinking.
            Stream::Idle => Ok(()),
            Stream::Publishing(publishing) => {
                *stream = Stream::Publishing(publishing);
                Err(ServerError::Misuse("accepted twice"))
            }
            Stream::PlayOffered => {
                *stream = Stream::PlayOffered;
                Err(ServerError::Misuse("there is no playing yet"))
            }
        }
    }

    /// Whether the connection is to be closed: something was refused, and nothing else of it is on the air.
    pub(super) fn reject(
        &mut self,
        stream_id: u32,
        refusal: &Refusal,
        connection: &mut Connection,
    ) -> bool {
        match self.streams.get_mut(&stream_id) {
            None | Some(Stream::Idle) => return false,
            Some(_) => {}
        }
        let status = status("error", refusal.code.as_str(), &refusal.description);
        connection.command(stream_id, "onStatus", 0.0, &[Value::Null, status]);
        let mut others = self.streams.iter().filter(|(id, _)| **id != stream_id);
        let alone = !others.any(|(_, other)| matches!(other, Stream::Publishing(_)));
        if !alone && let Some(stream) = self.streams.get_mut(&stream_id) {
            stream.end(stream_id, End::Dismissed, connection);
        }
        alone
    }

    pub(super) fn end_all(&mut self, why: End, connection: &mut Connection) {
        for (id, stream) in &mut self.streams {
            stream.end(*id, why, connection);
        }
    }
}

/// An empty `_result` to those that wait for one.
fn acknowledge(command: &Command, connection: &mut Connection) {
    if command.wants_answer() {
        connection.command(0, "_result", command.transaction, &[Value::Null, Value::Undefined]);
    }
}

fn status(level: &str, code: &str, description: &str) -> Value {
    Value::object([
        ("level", Value::text(level)),
        ("code", Value::text(code)),
        ("description", Value::text(description)),
    ])
}
