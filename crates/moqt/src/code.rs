//! The registries of error codes (draft-18 §15.10). Their numbers differ between drafts and stand in
//! `version.rs`; a number that a draft does not know, grease included, is read as `InternalError`
//! (draft-18 §14).

/// Why a session ends (draft-18 §3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionCode {
    /// Nothing is wrong.
    NoError,
    /// Something failed at the sender.
    InternalError,
    /// The client may not establish a session.
    Unauthorized,
    /// The peer did what the draft forbids.
    ProtocolViolation,
    /// A Request ID of the wrong parity, or a second time.
    InvalidRequestId,
    /// One track alias for two tracks.
    DuplicateTrackAlias,
    /// A key-value pair or token that is not what its type says.
    KeyValueFormattingError,
    /// More requests than MAX_REQUEST_ID lets the peer make; of drafts that count them.
    TooManyRequests,
    /// PATH where it must not be, or of no use here.
    InvalidPath,
    /// PATH that is no path.
    MalformedPath,
    /// The peer did not leave in time after GOAWAY.
    GoawayTimeout,
    /// The peer took too long to answer.
    ControlMessageTimeout,
    /// The peer took too long with a stream's data.
    DataStreamTimeout,
    /// More registered tokens than we said we hold.
    AuthTokenCacheOverflow,
    /// A token alias that is in use.
    DuplicateAuthTokenAlias,
    /// No common version.
    VersionNegotiationFailed,
    /// A token that makes no sense.
    MalformedAuthToken,
    /// A token alias that was not registered.
    UnknownAuthTokenAlias,
    /// A token whose time is over.
    ExpiredAuthToken,
    /// AUTHORITY where it must not be, or of another server.
    InvalidAuthority,
    /// AUTHORITY that is no authority.
    MalformedAuthority,
    /// More updates of one request without an answer than MAX_REQUEST_UPDATES allows.
    TooManyRequestUpdates,
}

/// Why a request failed (draft-18 §10.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestCode {
    /// Something failed at the sender.
    InternalError,
    /// Not with these tokens; perhaps later.
    Unauthorized,
    /// It took too long, for example to find a publisher.
    Timeout,
    /// Not a request that the sender serves.
    NotSupported,
    /// A token that makes no sense.
    MalformedAuthToken,
    /// A token whose time is over.
    ExpiredAuthToken,
    /// GOAWAY was said.
    GoingAway,
    /// Too busy; the retry interval says when to come back.
    ExcessiveLoad,
    /// No such track or namespace.
    DoesNotExist,
    /// A filter or range that nothing can match.
    InvalidRange,
    /// The track breaks the rules (draft-18 §2.4.2).
    MalformedTrack,
    /// A second subscription to a track in the same role.
    DuplicateSubscription,
    /// The subscriber does not want what is offered.
    Uninterested,
    /// A prefix that overlaps with another one of the session.
    PrefixOverlap,
    /// A prefix with too much below it.
    NamespaceTooLarge,
    /// A joining FETCH without its subscription.
    InvalidJoiningRequestId,
    /// A mandatory track property that the sender does not understand.
    UnsupportedExtension,
    /// Elsewhere: a redirect follows.
    Redirect,
    /// Filters of too many kinds among those who ask for these tracks.
    ConflictingFilters,
    /// A range filter that makes no sense, or one more than MAX_FILTER_RANGES allows.
    InvalidFilter,
}

/// Why a subscription is over (draft-18 §10.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DoneCode {
    /// Something failed at the publisher.
    InternalError,
    /// The subscriber may no longer have it.
    Unauthorized,
    /// The track is over.
    TrackEnded,
    /// The end of the subscription's filter.
    SubscriptionEnded,
    /// GOAWAY was said.
    GoingAway,
    /// The subscriber is too slow.
    TooFarBehind,
    /// The time that EXPIRES named.
    Expired,
    /// A REQUEST_UPDATE failed.
    UpdateFailed,
    /// The publisher is too busy.
    ExcessiveLoad,
    /// The track breaks the rules (draft-18 §2.4.2).
    MalformedTrack,
}

impl From<ResetCode> for DoneCode {
    /// Where a subscription is cancelled by words.
    fn from(code: ResetCode) -> DoneCode {
        match code {
            ResetCode::GoingAway | ResetCode::SessionClosed => DoneCode::GoingAway,
            ResetCode::TooFarBehind | ResetCode::DeliveryTimeout => DoneCode::TooFarBehind,
            ResetCode::ExpiredAuthToken => DoneCode::Expired,
            ResetCode::ExcessiveLoad => DoneCode::ExcessiveLoad,
            ResetCode::MalformedTrack => DoneCode::MalformedTrack,
            ResetCode::InternalError | ResetCode::Cancelled | ResetCode::UnknownObjectStatus => {
                DoneCode::InternalError
            }
        }
    }
}

/// Why a stream ends early, either side (draft-18 §3.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResetCode {
    /// Something failed.
    InternalError,
    /// No longer wanted.
    Cancelled,
    /// Too late (draft-18 §8).
    DeliveryTimeout,
    /// The session ends.
    SessionClosed,
    /// GOAWAY was said.
    GoingAway,
    /// The subscriber is too slow.
    TooFarBehind,
    /// In a FETCH: nobody knows whether the next object exists.
    UnknownObjectStatus,
    /// A token whose time is over.
    ExpiredAuthToken,
    /// Too busy.
    ExcessiveLoad,
    /// The track breaks the rules (draft-18 §2.4.2).
    MalformedTrack,
}
