//! What either end asks of the other, and the answers.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::code::{DoneCode, RequestCode};
use crate::filter::Filter;
use crate::limits;
use crate::location::{Location, Range};
use crate::name::{Namespace, TrackName};
use crate::parameters::Parameters;
use crate::properties::Properties;

/// Names a request in its session, whoever made it: the client's are even, the server's odd
/// (draft-18 §10.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A request. Tokens in the parameters of one that the peer made are as they travelled; those to decide
/// by stand beside it in the event, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Send me what is published in a track from now on (draft-18 §10.7).
    Subscribe {
        /// Which track.
        track: TrackName,
        /// How.
        parameters: Parameters,
    },
    /// I publish a track; shall I send it (draft-18 §10.10)? Objects may come before the answer, unless
    /// FORWARD is 0.
    Publish {
        /// Which track.
        track: TrackName,
        /// How.
        parameters: Parameters,
        /// The track's properties.
        properties: Properties,
    },
    /// Send me what was published (draft-18 §10.12).
    Fetch {
        /// What.
        fetch: Fetch,
        /// How.
        parameters: Parameters,
    },
    /// How is this track (draft-18 §10.14)?
    TrackStatus {
        /// Which track.
        track: TrackName,
        /// How.
        parameters: Parameters,
    },
    /// I have tracks below this namespace (draft-18 §10.15).
    PublishNamespace {
        /// Which namespace.
        namespace: Namespace,
        /// How.
        parameters: Parameters,
    },
    /// Tell me the namespaces that begin so (draft-18 §10.18).
    SubscribeNamespace {
        /// How they begin.
        prefix: Namespace,
        /// Publish to me all tracks in them as well; only in drafts that have one message for both
        /// (draft-16 §9.25).
        tracks: bool,
        /// How.
        parameters: Parameters,
    },
    /// Publish to me all tracks in namespaces that begin so (draft-18 §10.19).
    SubscribeTracks {
        /// How they begin.
        prefix: Namespace,
        /// How.
        parameters: Parameters,
    },
}

impl Request {
    /// Whether it is about a namespace without a field, and not as a prefix.
    pub(crate) fn names_nothing(&self) -> bool {
        match self {
            Request::Subscribe { track, .. }
            | Request::Publish { track, .. }
            | Request::TrackStatus { track, .. } => track.namespace().is_root(),
            Request::Fetch { fetch, .. } => {
                fetch.track().is_some_and(|track| track.namespace().is_root())
            }
            Request::PublishNamespace { namespace, .. } => namespace.is_root(),
            Request::SubscribeNamespace { .. } | Request::SubscribeTracks { .. } => false,
        }
    }

    /// Its parameters.
    pub fn parameters(&self) -> &Parameters {
        match self {
            Request::Subscribe { parameters, .. }
            | Request::Publish { parameters, .. }
            | Request::Fetch { parameters, .. }
            | Request::TrackStatus { parameters, .. }
            | Request::PublishNamespace { parameters, .. }
            | Request::SubscribeNamespace { parameters, .. }
            | Request::SubscribeTracks { parameters, .. } => parameters,
        }
    }
}

/// What a FETCH is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetch {
    /// A range of a track. In events, every fetch is told so: the session works out what a joining one
    /// means.
    Standalone {
        /// Which track.
        track: TrackName,
        /// Which objects.
        range: Range,
    },
    /// What a filter selects of what was published, up to the largest object that its receiver knows (of drafts
    /// from 20 on). In events only those are told so whose range depends on that.
    Filtered {
        /// Which track.
        track: TrackName,
        /// Which objects.
        filter: Filter,
    },
    /// What came before a subscription that the fetch's sender has, contiguous with it
    /// (draft-18 §10.12.2).
    Joining {
        /// The subscription's request.
        subscription: RequestId,
        /// From where.
        start: JoiningStart,
    },
}

impl Fetch {
    /// The track, if it is named.
    pub(crate) fn track(&self) -> Option<&TrackName> {
        match self {
            Fetch::Standalone { track, .. } | Fetch::Filtered { track, .. } => Some(track),
            Fetch::Joining { .. } => None,
        }
    }
}

/// Where a joining fetch starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoiningStart {
    /// So many groups before the one of the subscription's start; 0: that group.
    Relative(u64),
    /// This group.
    Absolute(u64),
}

/// The answer to a request or an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// SUBSCRIBE_OK to SUBSCRIBE, REQUEST_OK to all others but FETCH.
    Ok {
        /// How.
        parameters: Parameters,
        /// The track's; only for SUBSCRIBE and TRACK_STATUS.
        properties: Properties,
    },
    /// FETCH_OK.
    FetchOk(FetchOk),
    /// REQUEST_ERROR.
    Error(RequestError),
}

impl Answer {
    /// Yes, with nothing to add.
    pub fn ok() -> Answer {
        Answer::Ok { parameters: Parameters::default(), properties: Properties::empty() }
    }

    /// No.
    pub fn error(code: RequestCode, reason: impl Into<String>) -> Answer {
        Answer::Error(RequestError::new(code, reason))
    }
}

/// FETCH_OK (draft-18 §10.13).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchOk {
    /// Whether the end is the last object of the track, which is complete.
    pub end_of_track: bool,
    /// The last location that the answer covers, inclusive; its object is [`Range::WHOLE_GROUP`] if the
    /// group is covered to its end.
    pub end: Location,
    /// How.
    pub parameters: Parameters,
    /// The track's properties.
    pub properties: Properties,
}

/// REQUEST_ERROR (draft-18 §10.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestError {
    /// Why, for programs.
    pub code: RequestCode,
    /// When to ask again; `None`: not at all. Coded in milliseconds.
    pub retry_after: Option<Duration>,
    /// Why, for people. From a peer it may hold anything: escape it before showing it.
    pub reason: String,
    /// Where else; only with [`RequestCode::Redirect`].
    pub redirect: Option<Redirect>,
}

impl RequestError {
    /// An error that may be retried after a while if it passes, and else never.
    pub fn new(code: RequestCode, reason: impl Into<String>) -> RequestError {
        // draft-18 §10.6: what a load refuses today it grants tomorrow; who was not there in time may come.
        let retry_after = match code {
            RequestCode::ExcessiveLoad => Some(limits::RETRY_LOAD),
            RequestCode::Timeout => Some(limits::RETRY_SOON),
            _ => None,
        };
        RequestError { code, retry_after, reason: reason.into(), redirect: None }
    }
}

/// Where to ask instead (draft-18 §10.6.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// Another server; empty: this one.
    pub uri: String,
    /// What to ask for there; with no field and an empty name: the same as before.
    pub namespace: Namespace,
    /// The track's name in it; empty for a namespace.
    pub name: Bytes,
}

/// How a subscription came to its end (PUBLISH_DONE, draft-18 §10.11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Why, for programs.
    pub code: DoneCode,
    /// Why, for people. From a peer it may hold anything: escape it before showing it.
    pub reason: String,
}
