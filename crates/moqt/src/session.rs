//! One end of a session (draft-18 §3, §10): SETUP, requests of both sides, and which data stream belongs
//! to which request. Objects themselves do not pass through it; [`crate::data`] reads and writes them.
//!
//! To publish: answer the peer's SUBSCRIBE (or ask with PUBLISH). For each data stream call
//! [`Session::open_data`], which counts it and says the track alias for its header; write it by
//! [`crate::data::SubgroupWriter`]; say [`Command::DataClosed`] when it is finished or reset. Datagrams
//! take [`Session::alias`].

mod api;
mod data;
mod filters;
mod goaway;
mod ids;
mod owner;
mod peer;
mod requests;
mod responses;
mod setup;
mod shared;
mod tokens;
mod updates;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use sansio::{Core, Poll};

pub use api::{
    Command, Config, DataHeader, DataId, Event, Input, Output, Peer, StreamId, Transport,
};

use crate::code::{ResetCode, SessionCode};
use crate::error::{SessionError, Violation};
use crate::message::MessageReader;
use crate::request::{Request, RequestId};
use crate::route::Node;
use crate::version::{SetupForm, Version};
use data::Routes;
use goaway::GoAways;
use ids::SeenIds;
use requests::{Place, Requests};
use setup::Early;
use shared::Allowance;
use tokens::TokenCache;

/// One end of a session.
pub struct Session {
    config: Config,
    role: Role,
    phase: Phase,
    outputs: VecDeque<Output>,
    control: MessageReader,
    control_opened: bool,
    early: Early,
    /// Streams of the peer whose first message is not whole.
    nascent: BTreeMap<StreamId, MessageReader>,
    /// Streams of the peer that are of no interest any more, but not at their end.
    dead: BTreeSet<StreamId>,
    requests: Requests,
    routes: Routes,
    tokens: TokenCache,
    seen: SeenIds,
    allowance: Allowance,
    /// How many updates of a request the peer takes without an answer; 0: any number.
    peer_updates_max: u64,
    /// How many ranges the peer takes in the filters of a request.
    peer_filter_ranges: u64,
    /// Which node the peer is, if we have said that we are one.
    peer_node: Option<Node>,
    /// Tracks that the peer publishes may come with their past.
    fills_offered: bool,
    next_id: u64,
    next_stream: u64,
    next_alias: u64,
    goaways: GoAways,
    timers: BTreeSet<(Instant, Timer)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Client,
    Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The peer's SETUP has not come.
    Opening,
    Open,
    Closed,
}

/// What a time that passes is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The peer's SETUP must be there.
    Setup,
    /// Data streams and datagrams whose alias did not become known.
    Waiting,
    /// Streams of a subscription after its PUBLISH_DONE.
    Done(RequestId),
    /// The peer must have left.
    GoAway,
    /// The peer must have left one request.
    RequestGoAway(RequestId),
}

impl Session {
    /// The client's end. Its SETUP is the first output.
    pub fn client(now: Instant, config: Config) -> Session {
        Session::new(now, config, Role::Client)
    }

    /// The server's end. Its SETUP is the first output.
    pub fn server(now: Instant, config: Config) -> Session {
        Session::new(now, config, Role::Server)
    }

    fn new(now: Instant, config: Config, role: Role) -> Session {
        // draft-18 §10.1: the client's IDs are even.
        let (ours, peers) = if role == Role::Client { (0, 1) } else { (1, 0) };
        let mut session = Session {
            role,
            phase: Phase::Opening,
            outputs: VecDeque::new(),
            control: MessageReader::new(config.version),
            control_opened: false,
            early: Early::default(),
            nascent: BTreeMap::new(),
            dead: BTreeSet::new(),
            requests: Requests::default(),
            routes: Routes::default(),
            tokens: TokenCache::new(config.token_cache_bytes),
            seen: SeenIds::new(peers),
            allowance: Allowance::new(config.version.row().requests, role),
            peer_updates_max: 0,
            peer_filter_ranges: 0,
            peer_node: None,
            fills_offered: false,
            next_id: ours,
            next_stream: 0,
            next_alias: 0,
            goaways: GoAways::default(),
            timers: BTreeSet::from([(now + config.setup_timeout, Timer::Setup)]),
            config,
        };
        // draft-16 §9.3: the server's comes second.
        if role == Role::Client || session.config.version.row().setup == SetupForm::ToTheEnd {
            session.send_setup();
        }
        session
    }

    fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// The draft that is spoken.
    pub fn version(&self) -> Version {
        self.config.version
    }

    /// Asks the peer, and says which name the request has. It is misuse after a GOAWAY of the peer, for a
    /// second subscription to a track in the same role (draft-18 §5.1), and for parameters that the
    /// request does not have.
    pub fn request(&mut self, _now: Instant, request: Request) -> Result<RequestId, SessionError> {
        self.ask(request).map_err(SessionError::Misuse)
    }

    /// Whether [`Session::poll`] has something to say.
    pub fn has_output(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// When time alone makes a difference next.
    pub fn timer(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Which node of a network of relays the peer is, as it says; none, if one of both is none. Then NAMESPACE has a route.
    pub fn peer_node(&self) -> Option<Node> {
        self.peer_node
    }

    /// Whether the peer has said GOAWAY of the whole session: it takes no more requests (draft-18 §10.4).
    pub fn peer_goes_away(&self) -> bool {
        self.goaways.received
    }

    /// Requests that are open, of both sides.
    pub fn open_requests(&self) -> usize {
        self.requests.len()
    }

    /// Whether objects are sent for a subscription or a fetch of the peer, and whether some are received for one of ours.
    pub fn open_media(&self) -> (bool, bool) {
        self.requests.media()
    }

    /// How many things are held on behalf of requests and streams; 0 when all are over. For tests.
    #[doc(hidden)]
    pub fn kept(&self) -> usize {
        self.requests.len()
            + self.nascent.len()
            + self.dead.len()
            + self.routes.len()
            + self.early.len()
    }

    /// Bytes of the peer that are held. For tests.
    #[doc(hidden)]
    pub fn kept_bytes(&self) -> usize {
        let nascent: usize = self.nascent.values().map(MessageReader::held).sum();
        nascent + self.requests.held() + self.routes.held() + self.early.held()
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Says something about a request.
    fn send(&mut self, id: RequestId, place: Place, bytes: Bytes) {
        self.put(
            id,
            match place {
                Place::Stream(stream) => Output::Send { stream, bytes },
                Place::Control => Output::Control(bytes),
            },
        );
    }

    /// Has nothing more to say about a request.
    fn finish(&mut self, id: RequestId, place: Place) {
        if let Place::Stream(stream) = place {
            self.put(id, Output::Finish(stream));
        }
    }

    fn reset(&mut self, stream: StreamId, code: ResetCode) {
        let code = self.config.version.reset_code(code);
        self.outputs.push_back(Output::Reset { stream, code });
    }

    fn stop(&mut self, stream: StreamId, code: ResetCode) {
        let code = self.config.version.reset_code(code);
        self.outputs.push_back(Output::Stop { stream, code });
    }

    fn stop_data(&mut self, stream: DataId, code: ResetCode) {
        let code = self.config.version.reset_code(code);
        self.outputs.push_back(Output::StopData { stream, code });
    }

    fn close(&mut self, code: SessionCode, reason: String) {
        if self.phase != Phase::Closed {
            self.phase = Phase::Closed;
            self.timers.clear();
            let code = self.config.version.session_code(code);
            self.outputs.push_back(Output::Close { code, reason });
        }
    }

    fn input(&mut self, now: Instant, input: Input) -> Result<(), Violation> {
        match input {
            Input::ControlOpened(bytes) => {
                if std::mem::replace(&mut self.control_opened, true) {
                    return Err(Violation::protocol("a second control stream"));
                }
                self.on_control(now, &bytes)
            }
            Input::Control(bytes) => self.on_control(now, &bytes),
            // draft-18 §3.3
            Input::ControlClosed => Err(Violation::protocol("the control stream was closed")),
            Input::Timeout => Ok(()),
            input if self.phase == Phase::Opening => {
                self.keep_early(input);
                Ok(())
            }
            Input::Bytes { stream, bytes } => self.on_bytes(now, stream, &bytes),
            Input::Finished(stream) => self.on_finished(stream),
            Input::Reset { stream, code } => {
                self.on_reset(stream, code);
                Ok(())
            }
            Input::Stopped { stream, code } => {
                self.on_stopped(stream, code);
                Ok(())
            }
            Input::DataOpened { stream, header } => self.on_data_opened(now, stream, header),
            Input::DataClosed(stream) => {
                self.on_data_closed(stream);
                Ok(())
            }
            Input::Datagram(bytes) => self.on_datagram(now, bytes),
        }
    }

    fn on_timers(&mut self, now: Instant) -> Result<(), SessionError> {
        while let Some((at, timer)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Setup if self.phase == Phase::Opening => {
                    return Err(SessionError::Timeout(Violation::new(
                        SessionCode::ControlMessageTimeout,
                        "no SETUP in time",
                    )));
                }
                Timer::Setup => {}
                Timer::Waiting => self.give_up_waiting(now),
                Timer::Done(id) => self.done_waited(id),
                Timer::GoAway => self.goaway_is_over()?,
                Timer::RequestGoAway(id) => self.request_goaway_is_over(id),
            }
        }
        Ok(())
    }
}

impl Core for Session {
    type Input<'a> = Input;
    type Command = Command;
    type Output = Output;
    type Error = SessionError;

    fn handle(&mut self, now: Instant, input: Input) -> Result<(), SessionError> {
        if self.phase == Phase::Closed {
            return Ok(());
        }
        let result = self.on_timers(now).and_then(|()| Ok(self.input(now, input)?));
        self.raise_allowance();
        if let Err(SessionError::Peer(violation) | SessionError::Timeout(violation)) = &result {
            self.close(violation.code, violation.what.to_owned());
        }
        result
    }

    fn command(&mut self, now: Instant, command: Command) -> Result<(), SessionError> {
        if self.phase == Phase::Closed {
            return Ok(());
        }
        let result = self.on_command(now, command).map_err(SessionError::Misuse);
        self.raise_allowance();
        result
    }

    fn poll(&mut self) -> Poll<Output> {
        match self.outputs.pop_front() {
            Some(output) => Poll::Output(output),
            None => {
                // Events are large, and seldom: none of their places is kept.
                self.outputs = VecDeque::new();
                Poll::Wait(self.timer())
            }
        }
    }
}
