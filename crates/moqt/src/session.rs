//! One end of a session (draft-18 §3, §10): SETUP, requests of both sides, and which data stream belongs
//! to which request. Objects themselves do not pass through it; [`crate::data`] reads and writes them.
//!
//! To publish: answer the peer's SUBSCRIBE (or ask with PUBLISH). For each data stream call
//! [`Session::open_data`], which counts it and says the track alias for its header; write it by
//! [`crate::data::SubgroupWriter`]; say [`Command::DataClosed`] when it is finished or reset. Datagrams
//! take [`Session::alias`].

mod api;

use std::collections::VecDeque;
use std::time::Instant;

use sansio::{Core, Poll};

pub use api::{
    Command, Config, DataHeader, DataId, Event, Input, Output, Peer, StreamId, Transport,
};

use crate::error::SessionError;
use crate::request::{Request, RequestId};
use crate::version::Version;

/// One end of a session.
pub struct Session {
    config: Config,
    outputs: VecDeque<Output>,
}

impl Session {
    /// The client's end. Its SETUP is the first output.
    pub fn client(_now: Instant, config: Config) -> Session {
        Session { config, outputs: VecDeque::new() }
    }

    /// The server's end. Its SETUP is the first output.
    pub fn server(_now: Instant, config: Config) -> Session {
        Session { config, outputs: VecDeque::new() }
    }

    /// The draft that is spoken.
    pub fn version(&self) -> Version {
        self.config.version
    }

    /// Asks the peer, and says which name the request has. It is misuse after a GOAWAY of the peer, and
    /// for a second subscription to a track in the same role (draft-18 §5.1).
    pub fn request(&mut self, _now: Instant, _request: Request) -> Result<RequestId, SessionError> {
        Err(SessionError::Misuse("the session is not open"))
    }

    /// The alias of a track that we publish: to a subscription that is accepted, or offered with PUBLISH.
    pub fn alias(&self, _id: RequestId) -> Option<u64> {
        None
    }

    /// Counts one more data stream of a subscription that we publish to, or of a fetch that we serve, and
    /// says the track alias for a subgroup's header. `None`: the request is over, or objects may not be
    /// sent yet; open no stream.
    pub fn open_data(&mut self, _id: RequestId) -> Option<u64> {
        None
    }
}

impl Core for Session {
    type Input<'a> = Input;
    type Command = Command;
    type Output = Output;
    type Error = SessionError;

    fn handle(&mut self, _now: Instant, _input: Input) -> Result<(), SessionError> {
        Ok(())
    }

    fn command(&mut self, _now: Instant, _command: Command) -> Result<(), SessionError> {
        Ok(())
    }

    fn poll(&mut self) -> Poll<Output> {
        self.outputs.pop_front().map_or(Poll::Wait(None), Poll::Output)
    }
}
