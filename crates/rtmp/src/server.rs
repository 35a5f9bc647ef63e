//! The server's end of a connection: takes publishers.
//!
//! A driver reads bytes into [`Server`], and for each [`Event::Publish`] decides who may publish what
//! and answers with [`Command::Accept`] or [`Command::Reject`]. It should stop reading until it has
//! answered. Every `Publish` is followed by exactly one [`Event::Ended`], whatever happens, and its
//! media lies between the two.

mod connect;
mod session;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sansio::stream::{Input, Output};
use sansio::{Core, Poll};

pub use connect::{CapsEx, Connect, FourCc};

use crate::connection::Connection;
use crate::error::{PeerFault, ServerError};
use crate::message::Media;
use crate::{Secret, handshake, limits};
use session::Session;

/// What a session needs to know.
#[derive(Clone)]
pub struct Config {
    /// 32 fresh random bytes for the handshake.
    pub seed: [u8; 32],
    /// From the connection to `publish`; also from the end of one publish to the next.
    pub setup_timeout: Duration,
    /// Without a byte from a publisher.
    pub idle_timeout: Duration,
}

impl Config {
    /// The bounds of [`limits`].
    pub fn new(seed: [u8; 32]) -> Config {
        Config { seed, setup_timeout: limits::SETUP_TIMEOUT, idle_timeout: limits::IDLE_TIMEOUT }
    }
}

/// What the peer wants, or does.
#[derive(Debug, Clone)]
pub enum Event {
    /// It asks to publish.
    Publish(Publish),
    /// It asks to play. There is no playing yet: reject it.
    Play(Play),
    /// It publishes.
    Media(Media),
    /// A publish is over. Exactly once for each [`Event::Publish`], accepted or not.
    Ended {
        /// Which publish.
        stream_id: u32,
        /// How.
        why: End,
    },
}

/// How a publish came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The encoder said so: `FCUnpublish`, `closeStream` or `deleteStream`.
    Goodbye,
    /// The connection ended or failed.
    Lost,
    /// The encoder sent nothing for [`Config::idle_timeout`].
    Idle,
    /// The owner rejected or closed it.
    Dismissed,
}

/// An encoder asks to publish.
#[derive(Debug, Clone)]
pub struct Publish {
    /// Names this publish in events and commands of this connection.
    pub stream_id: u32,
    /// What `connect` said.
    pub connect: Arc<Connect>,
    /// The stream name without its query: mostly the stream key. Empty if the key is the last segment
    /// of the application.
    pub name: Secret,
    /// What followed a `?` in the stream name.
    pub query: Secret,
    /// What to do with it.
    pub kind: PublishKind,
}

/// RTMP 1.0 §7.2.2.6. Encoders send `live`, and we do the same for all three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishKind {
    /// Do not record; also what we take an unknown word for.
    Live,
    /// Record anew.
    Record,
    /// Record at the end of what is there.
    Append,
}

/// A player asks to play.
#[derive(Debug, Clone)]
pub struct Play {
    /// Names this request.
    pub stream_id: u32,
    /// What `connect` said.
    pub connect: Arc<Connect>,
    /// The stream name without its query.
    pub name: Secret,
    /// What followed a `?` in the stream name.
    pub query: Secret,
}

/// What the owner wants.
#[derive(Debug, Clone)]
pub enum Command {
    /// Let it publish. Without effect if the publish has ended meanwhile.
    Accept {
        /// From the event.
        stream_id: u32,
    },
    /// Refuse a publish, accepted before or not, or a play: says so in words and closes. Without effect
    /// if it has ended meanwhile.
    Reject {
        /// From the event.
        stream_id: u32,
        /// What to say.
        refusal: Refusal,
    },
    /// End everything, without words.
    Close,
}

/// A refusal, as encoders show it to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people.
    pub description: String,
}

/// The codes that encoders know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalCode {
    /// `NetStream.Publish.Denied`: not with this key.
    PublishDenied,
    /// `NetStream.Publish.BadName`: somebody else publishes there.
    PublishBadName,
    /// `NetStream.Play.StreamNotFound`
    PlayStreamNotFound,
    /// `NetStream.Play.Failed`
    PlayFailed,
}

impl RefusalCode {
    /// As it stands in `onStatus`.
    pub fn as_str(self) -> &'static str {
        match self {
            RefusalCode::PublishDenied => "NetStream.Publish.Denied",
            RefusalCode::PublishBadName => "NetStream.Publish.BadName",
            RefusalCode::PlayStreamNotFound => "NetStream.Play.StreamNotFound",
            RefusalCode::PlayFailed => "NetStream.Play.Failed",
        }
    }
}

/// The server's end of one connection.
pub struct Server {
    config: Config,
    connection: Connection<Event>,
    state: State,
    setup_deadline: Instant,
    /// When the last byte came.
    heard: Instant,
}

enum State {
    Handshake(handshake::Server),
    AwaitConnect,
    Connected(Session),
    Closed,
}

impl Server {
    /// A connection that was accepted at `now`.
    pub fn new(now: Instant, config: Config) -> Server {
        Server {
            state: State::Handshake(handshake::Server::new(config.seed)),
            setup_deadline: now + config.setup_timeout,
            heard: now,
            connection: Connection::new(),
            config,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Closed => None,
            State::Handshake(_) | State::AwaitConnect => Some(self.setup_deadline),
            // The owner thinks: its time is not the peer's.
            State::Connected(session) if session.has_offer() => None,
            State::Connected(session) if session.is_publishing() => {
                Some(self.heard + self.config.idle_timeout)
            }
            State::Connected(_) => Some(self.setup_deadline),
        }
    }

    fn check_deadline(&self, now: Instant) -> Result<(), PeerFault> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        Err(match &self.state {
            State::Handshake(_) => PeerFault::HandshakeTimeout(self.config.setup_timeout),
            State::Connected(session) if session.is_publishing() => {
                PeerFault::IdleTimeout(self.config.idle_timeout)
            }
            _ => PeerFault::SetupTimeout(self.config.setup_timeout),
        })
    }

    fn read(&mut self, now: Instant, mut input: &[u8]) -> Result<(), ServerError> {
        if let State::Handshake(handshake) = &mut self.state {
            if handshake.read(&mut input, self.connection.raw())?.is_none() {
                return Ok(());
            }
            self.state = State::AwaitConnect;
        }
        self.connection.arrived(input.len());
        while let Some(incoming) = self.connection.read(&mut input)? {
            match &mut self.state {
                State::AwaitConnect => {
                    if let Some(session) = Session::connect(&incoming, &mut self.connection)? {
                        self.state = State::Connected(session);
                    }
                }
                State::Connected(session) => {
                    // What is offered and taken back again is no publish: a stranger could go on so for ever.
                    let before = session.is_publishing();
                    session.read(incoming, &mut self.connection)?;
                    if before && !session.is_publishing() {
                        self.setup_deadline = now + self.config.setup_timeout;
                    }
                }
                State::Handshake(_) | State::Closed => {}
            }
        }
        Ok(())
    }

    /// Nothing follows this.
    fn close(&mut self, why: End) {
        if let State::Connected(mut session) = std::mem::replace(&mut self.state, State::Closed) {
            session.end_all(why, &mut self.connection);
        }
        self.connection.close();
    }
}

impl Core for Server {
    type Input<'a> = Input<'a>;
    type Command = Command;
    type Output = Output<Event>;
    type Error = ServerError;

    fn handle(&mut self, now: Instant, input: Input<'_>) -> Result<(), ServerError> {
        if matches!(self.state, State::Closed) {
            return Ok(());
        }
        let result =
            self.check_deadline(now).map_err(ServerError::from).and_then(|()| match input {
                Input::Bytes(bytes) => {
                    self.heard = now;
                    self.read(now, bytes)
                }
                Input::Eof => {
                    self.close(End::Lost);
                    Ok(())
                }
                Input::Timeout => Ok(()),
            });
        if let Err(error) = &result {
            let idle = matches!(error, ServerError::Peer(PeerFault::IdleTimeout(_)));
            self.close(if idle { End::Idle } else { End::Lost });
        }
        result
    }

    fn command(&mut self, now: Instant, command: Command) -> Result<(), ServerError> {
        if matches!(self.state, State::Closed) {
            return Ok(());
        }
        if matches!(command, Command::Close) {
            self.close(End::Dismissed);
            return Ok(());
        }
        let State::Connected(session) = &mut self.state else {
            return Err(ServerError::Misuse("a command before connect"));
        };
        match command {
            Command::Accept { stream_id } => {
                self.heard = now;
                session.accept(stream_id, &mut self.connection)
            }
            Command::Reject { stream_id, refusal } => {
                if session.reject(stream_id, &refusal, &mut self.connection) {
                    self.close(End::Dismissed);
                }
                Ok(())
            }
            Command::Close => Ok(()),
        }
    }

    fn poll(&mut self) -> Poll<Output<Event>> {
        match self.connection.poll() {
            Some(output) => Poll::Output(output),
            None => Poll::Wait(self.deadline()),
        }
    }
}
