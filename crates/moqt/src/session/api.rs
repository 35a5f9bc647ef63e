//! What goes into a session and comes out of it.

use std::time::Duration;

use bytes::Bytes;

use crate::code::{ResetCode, SessionCode};
use crate::data::{Datagram, SubgroupHeader};
use crate::limits;
use crate::location::GroupOrder;
use crate::name::{Namespace, TrackName};
use crate::parameters::Parameters;
use crate::request::{Answer, Done, Request, RequestId};
use crate::route::{Node, Route};
use crate::token::{AuthToken, Token};
use crate::version::Version;

/// A bidirectional stream, named by who opened it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamId {
    /// The session asked for it with [`Output::Open`]; the number is the session's.
    Ours(u64),
    /// The peer opened it; the number is the driver's choice, as QUIC's own. It is never used again.
    Peers(u64),
}

/// A unidirectional stream that the peer opened and that carries objects; the number is the driver's
/// choice, as QUIC's own. It is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataId(pub u64);

/// What the transport tells.
///
/// Streams end in one way each: after `Finished` or `Reset` no bytes follow. Codes are as QUIC has them
/// (a WebTransport layer maps them back first).
#[derive(Debug)]
pub enum Input {
    /// A unidirectional stream of the peer turned out to be its control stream
    /// ([`crate::data::Opening::Control`]); its first bytes.
    ControlOpened(Bytes),
    /// The next bytes of the peer's control stream.
    Control(Bytes),
    /// The peer's control stream ended or was reset, or the peer stopped ours.
    ControlClosed,
    /// The next bytes of a request stream. One that the peer opened begins with its first bytes.
    Bytes {
        /// Which one.
        stream: StreamId,
        /// Cut anywhere.
        bytes: Bytes,
    },
    /// The peer finished its side of a request stream.
    Finished(StreamId),
    /// The peer reset its side of a request stream.
    Reset {
        /// Which one.
        stream: StreamId,
        /// RESET_STREAM's code.
        code: u64,
    },
    /// The peer wants nothing more on our side of a request stream.
    Stopped {
        /// Which one.
        stream: StreamId,
        /// STOP_SENDING's code.
        code: u64,
    },
    /// The header of a data stream was read. Answered by [`Event::Data`] or [`Output::StopData`], at
    /// once or (if its request is not known yet) a little later; until then the driver hands out nothing of it.
    DataOpened {
        /// Which one.
        stream: DataId,
        /// [`crate::data::Opening::Subgroup`] or [`crate::data::Opening::Fetch`].
        header: DataHeader,
    },
    /// A data stream ended, was reset, or was stopped by us for reasons of our own.
    DataClosed(DataId),
    /// A datagram, whole.
    Datagram(Bytes),
    /// The time that [`sansio::Poll::Wait`] named has come.
    Timeout,
}

/// How a data stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataHeader {
    /// Objects of a subscription.
    Subgroup(SubgroupHeader),
    /// The answer to a FETCH.
    Fetch(RequestId),
}

/// What the owner wants. What is about a request that is over, because its end crossed the command, is
/// without effect.
#[derive(Debug, Clone)]
pub enum Command {
    /// Ask the peer. [`super::Session::request`] does the same and says the request's ID.
    Request(Request),
    /// Answer a request of the peer.
    Answer {
        /// From [`Event::Request`].
        id: RequestId,
        /// What to say.
        answer: Answer,
    },
    /// Change a request: by who made it, and (a subscription that was made by PUBLISH) by its subscriber.
    Update {
        /// Which one.
        id: RequestId,
        /// Only what changes.
        parameters: Parameters,
    },
    /// Answer the oldest update of a request that is not answered. A refusal ends a subscription (send
    /// nothing after it; PUBLISH_DONE is said by the session once its streams are closed), a fetch and a
    /// request about namespaces (draft-18 §10.9.1).
    AnswerUpdate {
        /// From [`Event::Update`].
        id: RequestId,
        /// What to say.
        answer: Answer,
    },
    /// End a request, of either side, without a word more.
    Cancel {
        /// Which one.
        id: RequestId,
        /// Why.
        code: ResetCode,
    },
    /// A data stream that was counted with [`super::Session::open_data`] is finished, or was reset.
    DataClosed {
        /// Its request.
        id: RequestId,
    },
    /// What was counted with [`super::Session::open_data`] got no stream: the peer, which is told how many there were
    /// (draft-18 §10.11), would wait for it.
    DataUnopened {
        /// Its request.
        id: RequestId,
    },
    /// End a subscription that we publish to. It is said to the peer when the last open data stream of
    /// the subscription is closed (draft-18 §10.11).
    Done {
        /// Which one.
        id: RequestId,
        /// How.
        done: Done,
    },
    /// Tell a namespace to a subscriber of its prefix (SUBSCRIBE_NAMESPACE).
    Namespace {
        /// The peer's request.
        id: RequestId,
        /// The whole namespace.
        namespace: Namespace,
        /// How it came here, with this node as the last: told to [`Session::peer_node`], and to nobody else.
        route: Route,
    },
    /// Tell that a namespace is gone.
    NamespaceDone {
        /// The peer's request.
        id: RequestId,
        /// The whole namespace.
        namespace: Namespace,
    },
    /// Tell a subscriber what has become of its subscription without an update of its own
    /// (PUBLISH_STATE_NOTIFY, draft-21 §9.10). A draft that can't say it leaves it unsaid.
    Notify {
        /// A subscription that we publish to.
        id: RequestId,
        /// What changed, and the largest object.
        parameters: Parameters,
    },
    /// Tell that a track will not be published to the peer (SUBSCRIBE_TRACKS), which may subscribe.
    PublishBlocked {
        /// The peer's request.
        id: RequestId,
        /// The track.
        track: TrackName,
    },
    /// Ask the peer to leave: the session, or one request.
    GoAway {
        /// `None`: the session.
        request: Option<RequestId>,
        /// Where to; empty: the same server. A client must leave it empty.
        uri: String,
        /// After this the session (if requests are open still) or request is closed by force. Zero: the
        /// peer is told no time, and nothing is done by force.
        timeout: Duration,
    },
    /// End the session.
    Close {
        /// Why, for programs.
        code: SessionCode,
        /// Why, for people.
        reason: String,
    },
}

/// What the session wants done, or tells.
#[derive(Debug)]
// Moved once through a short queue: boxes would cost more.
#[allow(clippy::large_enum_variant)]
pub enum Output {
    /// Write on our control stream: a unidirectional stream, opened with the first of these, never closed,
    /// more urgent than all others.
    Control(Bytes),
    /// Open a bidirectional stream. What is sent on it until it is open waits.
    Open(StreamId),
    /// Write on a request stream.
    Send {
        /// Which one.
        stream: StreamId,
        /// In this order.
        bytes: Bytes,
    },
    /// Finish our side of a request stream.
    Finish(StreamId),
    /// Reset our side of a request stream. (One that waits for being opened is not opened.)
    Reset {
        /// Which one.
        stream: StreamId,
        /// RESET_STREAM's code.
        code: u64,
    },
    /// Stop the peer's side of a request stream.
    Stop {
        /// Which one.
        stream: StreamId,
        /// STOP_SENDING's code.
        code: u64,
    },
    /// Stop a data stream of the peer, and throw away what still comes.
    StopData {
        /// Which one.
        stream: DataId,
        /// STOP_SENDING's code.
        code: u64,
    },
    /// Something happened.
    Event(Event),
    /// Nothing follows. Close the session, all of it, with this.
    Close {
        /// CONNECTION_CLOSE's (or CLOSE_WEBTRANSPORT_SESSION's) code.
        code: u64,
        /// And its reason.
        reason: String,
    },
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The peer said SETUP: the session is open. A server decides now whether it serves this client, and
    /// closes the session if not. Always the first event.
    Ready(Peer),
    /// The peer asks. To be answered exactly once with [`Command::Answer`], unless it is cancelled.
    Request {
        /// Names it.
        id: RequestId,
        /// What it asks.
        request: Request,
        /// Its authorization tokens, resolved.
        tokens: Vec<AuthToken>,
    },
    /// The peer answered a request of ours. After an error the request is over.
    Answered {
        /// Which one.
        id: RequestId,
        /// What it said.
        answer: Answer,
    },
    /// The peer changes a request of its own, or the subscription that we offered it with PUBLISH. Told
    /// only after the request itself was answered. To be answered with [`Command::AnswerUpdate`].
    Update {
        /// Which one.
        id: RequestId,
        /// The update's own name: the header of a fill that it asks for has it.
        update: RequestId,
        /// Only what changes.
        parameters: Parameters,
        /// Its authorization tokens, resolved.
        tokens: Vec<AuthToken>,
    },
    /// The peer answered the oldest update of ours that was not answered. What the refusal of an update
    /// ends, the peer ends.
    UpdateAnswered {
        /// Which request.
        id: RequestId,
        /// What it said.
        answer: Answer,
    },
    /// The publisher says what became of a subscription of ours (PUBLISH_STATE_NOTIFY, draft-21 §9.10).
    Notified {
        /// Which one.
        id: RequestId,
        /// What changed.
        parameters: Parameters,
    },
    /// The peer ended a request, of either side, with a reset instead of words; or broke it off before
    /// its answer. It is over: data streams that we have open for it are to be reset, those of the peer
    /// are stopped already. Namespaces that it told are gone, without [`Event::NamespaceDone`].
    Cancelled {
        /// Which one.
        id: RequestId,
        /// Why.
        code: ResetCode,
    },
    /// The publisher ended a subscription of ours. Data streams may still be open, or come.
    Done {
        /// Which one.
        id: RequestId,
        /// How.
        done: Done,
    },
    /// After `Done`: the last data stream of the subscription has ended, or we waited long enough.
    Drained {
        /// Which one.
        id: RequestId,
    },
    /// A namespace below the prefix of a SUBSCRIBE_NAMESPACE of ours.
    Namespace {
        /// Our request.
        id: RequestId,
        /// The whole namespace.
        namespace: Namespace,
        /// How it came there, if [`Session::peer_node`] says who that is.
        route: Route,
    },
    /// It is gone.
    NamespaceDone {
        /// Our request.
        id: RequestId,
        /// The whole namespace.
        namespace: Namespace,
    },
    /// A track below the prefix of a SUBSCRIBE_TRACKS of ours that will not be published to us; we may
    /// subscribe to it.
    PublishBlocked {
        /// Our request.
        id: RequestId,
        /// The track.
        track: TrackName,
    },
    /// The peer asks us to leave: the session, or one request.
    GoAway {
        /// `None`: the session. New requests are refused by the session from now on.
        request: Option<RequestId>,
        /// Where to; empty: the same server.
        uri: String,
        /// How long the peer waits; zero: it does not say.
        timeout: Duration,
    },
    /// A data stream belongs to this request: read on.
    Data {
        /// Which stream.
        stream: DataId,
        /// The subscription or fetch.
        id: RequestId,
        /// For a fetch or a fill, the order of its groups ([`crate::data::FetchReader::new`] wants it).
        order: GroupOrder,
        /// The past of a subscription: the SUBSCRIBE or REQUEST_UPDATE that asked for it.
        fill: Option<RequestId>,
    },
    /// An object came in a datagram.
    Datagram {
        /// The subscription.
        id: RequestId,
        /// The object.
        datagram: Datagram,
    },
}

/// What the peer's SETUP said (draft-18 §10.3.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peer {
    /// A client's path with its query, on raw QUIC. It may hold a token: keep it out of logs.
    pub path: String,
    /// A client's authority, on raw QUIC.
    pub authority: String,
    /// Name and version of its software. It may hold anything: escape it before showing it.
    pub implementation: String,
    /// How much we may register as tokens: 16 bytes and the value for each (draft-18 §10.3.1.3).
    pub token_cache_bytes: u64,
    /// Its authorization tokens.
    pub tokens: Vec<AuthToken>,
    /// How many ranges the filters of one request of ours may have (draft-21 §9.1.6).
    pub filter_ranges: u64,
}

/// What carries the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// QUIC itself.
    Quic,
    /// WebTransport over HTTP/3, where the URL says path and authority.
    WebTransport,
}

/// What a session needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// By ALPN, or by `wt-protocol`; never guessed.
    pub version: Version,
    /// What carries the session.
    pub transport: Transport,
    /// A client's path and query on raw QUIC: what follows the authority in the URL, as it is.
    pub path: String,
    /// A client's authority on raw QUIC: host and port as in the URL.
    pub authority: String,
    /// Name and version of our software; empty: not told.
    pub implementation: String,
    /// Tokens in our SETUP.
    pub tokens: Vec<Token>,
    /// How much the peer may register as tokens.
    pub token_cache_bytes: u64,
    /// How many ranges the filters of one request of the peer may have, of drafts that have such filters. 0:
    /// the owner applies none, and all are refused.
    pub filter_ranges: u64,
    /// How many updates of one request the peer may send without an answer (draft-21 §9.1.7); drafts that can't say it
    /// refuse more.
    pub request_updates: usize,
    /// Types of mandatory track properties that our owner understands (draft-18 §2.5.1). Tracks with
    /// others are refused.
    pub mandatory_properties: Vec<u64>,
    /// Which node of a network of relays this is; none: it is none. A server tells of it in answer only, where a draft lets
    /// it know who asks.
    pub node: Option<Node>,
    /// Any number: which reserved option stands in our SETUP (draft-18 §14).
    pub grease: u16,
    /// From the start to the peer's SETUP.
    pub setup_timeout: Duration,
}

impl Config {
    /// The bounds of [`limits`], on raw QUIC.
    pub fn new(version: Version) -> Config {
        Config {
            version,
            transport: Transport::Quic,
            path: String::new(),
            authority: String::new(),
            implementation: String::new(),
            tokens: Vec::new(),
            token_cache_bytes: limits::TOKEN_CACHE_BYTES,
            filter_ranges: 0,
            request_updates: limits::UPDATES_MAX,
            mandatory_properties: Vec::new(),
            node: None,
            grease: 0,
            setup_timeout: limits::SETUP_TIMEOUT,
        }
    }
}
