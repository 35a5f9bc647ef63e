//! The publishing end: connects, creates a stream, publishes, says goodbye.
//!
//! A driver connects to [`Target::host`] and [`Target::port`] (with TLS if [`Target::tls`]), makes a
//! [`Client`], and feeds it. After [`Event::Publishing`] it gives [`Command::Media`]; each command's
//! bytes come out of the next drain, payloads shared and not copied. The core queues nothing itself:
//! who wants backpressure gives the next message when the last one's bytes are written.

mod session;
mod target;

use std::time::{Duration, Instant};

use bytes::Bytes;
use sansio::stream::{Input, Output};
use sansio::{Core, Poll};

pub use target::{Target, TargetError};

use crate::connection::{Connection, WireError};
use crate::error::Fault;
use crate::handshake::{self, Done, HandshakeError};
use crate::limits;
use crate::message::Kind;
use session::Session;

/// What a session needs to know.
#[derive(Clone)]
pub struct Config {
    /// Where to, and the key.
    pub target: Target,
    /// 32 fresh random bytes for the handshake.
    pub seed: [u8; 32],
    /// Which handshake to offer; servers that know no digests are fine with both.
    pub handshake: Done,
    /// What we call ourselves.
    pub flash_ver: String,
    /// FourCCs of Enhanced RTMP to announce; empty for H.264 and AAC.
    pub four_ccs: Vec<String>,
    /// From the connection to [`Event::Publishing`].
    pub setup_timeout: Duration,
}

impl Config {
    /// The plain handshake and the bounds of [`limits`].
    pub fn new(target: Target, seed: [u8; 32]) -> Config {
        Config {
            target,
            seed,
            handshake: Done::Plain,
            // Some servers look for "FMLE/" to tell encoders from players.
            flash_ver: "FMLE/3.0 (compatible; Airwave)".to_owned(),
            four_ccs: Vec::new(),
            setup_timeout: limits::SETUP_TIMEOUT,
        }
    }
}

/// What the server lets us know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Media may be sent.
    Publishing,
}

/// What the owner wants.
#[derive(Debug, Clone)]
pub enum Command {
    /// Sends one message.
    Media {
        /// What it is. For data, `@setDataFrame` is put before it.
        kind: Kind,
        /// Decode time in milliseconds, wraps at 32 bits.
        timestamp: u32,
        /// The body of the FLV tag.
        payload: Bytes,
    },
    /// Ends the publish in good order, and closes.
    Goodbye,
}

/// Why a publish failed or ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// In the handshake.
    #[error("handshake: {0}")]
    Handshake(#[from] HandshakeError),
    /// In the bytes after it.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The server said no, before or while publishing.
    #[error("the server refused: {0}")]
    Refused(Refused),
    /// The server closed the connection without a word.
    #[error("the server closed the connection {0}")]
    Closed(Stage),
    /// The server did not answer.
    #[error("no answer within {0:?} {1}")]
    Timeout(Duration, Stage),
    /// The owner's command does not fit the state.
    #[error("misuse: {0}")]
    Misuse(&'static str),
}

impl ClientError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            ClientError::Handshake(_) => Fault::Incompatible,
            ClientError::Wire(error) => error.fault(),
            ClientError::Refused(_) | ClientError::Closed(_) | ClientError::Timeout(..) => {
                Fault::Peer
            }
            ClientError::Misuse(_) => Fault::Misuse,
        }
    }
}

/// A server's refusal, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{description} ({code}, {stage})")]
pub struct Refused {
    /// For programs, as `NetStream.Publish.Denied`.
    pub code: String,
    /// For people.
    pub description: String,
    /// What we were about.
    pub stage: Stage,
}

/// How far a client has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stage {
    /// Exchanging C0 to S2.
    #[error("in the handshake")]
    Handshake,
    /// Waiting for `connect`'s answer.
    #[error("at connect")]
    Connect,
    /// Waiting for `createStream`'s answer.
    #[error("at createStream")]
    CreateStream,
    /// Waiting for `publish`'s answer.
    #[error("at publish")]
    Publish,
    /// Sending media.
    #[error("while publishing")]
    Live,
}

/// The publishing end of one connection.
pub struct Client {
    config: Config,
    connection: Connection<Event>,
    state: State,
    setup_deadline: Instant,
}

enum State {
    Handshake(handshake::Client),
    Open(Session),
    Closed,
}

impl Client {
    /// A connection that was made at `now`. The first bytes to send wait in [`Core::poll`].
    pub fn new(now: Instant, config: Config) -> Client {
        let mut connection = Connection::new();
        let handshake = handshake::Client::start(config.seed, config.handshake, connection.raw());
        Client {
            state: State::Handshake(handshake),
            setup_deadline: now + config.setup_timeout,
            connection,
            config,
        }
    }

    /// How far it has come; `None` after the end.
    pub fn stage(&self) -> Option<Stage> {
        match &self.state {
            State::Handshake(_) => Some(Stage::Handshake),
            State::Open(session) => Some(session.stage()),
            State::Closed => None,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.stage().filter(|stage| *stage != Stage::Live).map(|_| self.setup_deadline)
    }

    fn read(&mut self, mut input: &[u8]) -> Result<(), ClientError> {
        if let State::Handshake(handshake) = &mut self.state {
            if handshake.read(&mut input, self.connection.raw())?.is_none() {
                return Ok(());
            }
            self.state = State::Open(Session::connect(&self.config, &mut self.connection));
        }
        let State::Open(session) = &mut self.state else {
            return Ok(());
        };
        self.connection.arrived(input.len());
        while let Some(incoming) = self.connection.read(&mut input)? {
            session.read(&incoming, &self.config, &mut self.connection)?;
        }
        Ok(())
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.connection.close();
    }
}

impl Core for Client {
    type Input<'a> = Input<'a>;
    type Command = Command;
    type Output = Output<Event>;
    type Error = ClientError;

    fn handle(&mut self, now: Instant, input: Input<'_>) -> Result<(), ClientError> {
        let Some(stage) = self.stage() else {
            return Ok(());
        };
        let late = self.deadline().is_some_and(|deadline| deadline <= now);
        let result = match input {
            _ if late => Err(ClientError::Timeout(self.config.setup_timeout, stage)),
            Input::Bytes(bytes) => self.read(bytes),
            Input::Eof => Err(ClientError::Closed(stage)),
            Input::Timeout => Ok(()),
        };
        if result.is_err() {
            self.close();
        }
        result
    }

    fn command(&mut self, _now: Instant, command: Command) -> Result<(), ClientError> {
        match (&mut self.state, command) {
            (State::Closed, _) => Ok(()),
            (State::Open(session), Command::Media { kind, timestamp, payload }) => {
                session.send(kind, timestamp, payload, &mut self.connection)
            }
            (State::Handshake(_), Command::Media { .. }) => {
                Err(ClientError::Misuse("media before the server has agreed"))
            }
            (State::Open(session), Command::Goodbye) => {
                session.goodbye(&self.config, &mut self.connection);
                self.close();
                Ok(())
            }
            (State::Handshake(_), Command::Goodbye) => {
                self.close();
                Ok(())
            }
        }
    }

    fn poll(&mut self) -> Poll<Output<Event>> {
        match self.connection.poll() {
            Some(output) => Poll::Output(output),
            None => Poll::Wait(self.deadline()),
        }
    }
}
