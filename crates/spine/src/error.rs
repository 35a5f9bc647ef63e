//! Why things end and why writes are refused.

/// Why a track or a broadcast is over, or a reader was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Close {
    /// The publisher ended it.
    #[error("the broadcast has ended")]
    Ended,
    /// The publisher vanished and did not come back in time.
    #[error("the source was lost")]
    SourceLost,
    /// Another publisher has taken over.
    #[error("another encoder has taken over this input")]
    Replaced,
    /// What was asked for is no longer in memory.
    #[error("no longer in memory")]
    Evicted,
    /// The reader fell further behind than its policy allows.
    #[error("too far behind the live edge")]
    TooFarBehind,
    /// The publisher broke the rules of its protocol or media.
    #[error("malformed media")]
    Malformed,
    /// A deadline passed.
    #[error("the deadline passed")]
    Expired,
    /// The key that it was published with is not valid any more.
    #[error("the stream key of this input was changed: copy the new one from the input's page")]
    KeyChanged,
    /// Its owner switched the input off.
    #[error("this input was disabled: enable it to go live")]
    Disabled,
    /// Its owner deleted the input.
    #[error("this input was deleted")]
    Deleted,
    /// The node asks its peers to leave.
    #[error("the node is going away")]
    GoingAway,
    /// The node stops.
    #[error("the node is shutting down")]
    Shutdown,
    /// A fault of ours.
    #[error("internal error")]
    Internal,
}

/// Why a stream of objects was cut, in the numbers of the protocol that carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResetCode(pub u64);

impl ResetCode {
    /// The writer gave up. draft-ietf-moq-transport: CANCELLED.
    pub const CANCELLED: Self = Self(0x1);
    /// The reader was slower than what memory holds. draft-ietf-moq-transport: TOO_FAR_BEHIND.
    pub const TOO_FAR_BEHIND: Self = Self(0x5);
}

/// Why a write was refused. The object that it belonged to will not be complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The track is over for this writer.
    #[error("{0}")]
    Closed(Close),
    /// The object or its subgroup was reset.
    #[error("the stream was reset")]
    Reset,
    /// The object passes its bound.
    #[error("an object is larger than the bound")]
    ObjectTooLarge,
    /// The group passes its bound; its writer should have begun another.
    #[error("a group is larger than the bound")]
    GroupTooLarge,
    /// More payload than was declared.
    #[error("the payload is longer than declared")]
    LongerThanDeclared,
    /// Less payload than was declared.
    #[error("the payload is shorter than declared")]
    ShorterThanDeclared,
    /// It contradicts what is there.
    #[error("{0}")]
    Malformed(&'static str),
}

/// Why a publish was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Somebody else publishes it, and the policy is that the first wins.
    #[error("this input is already live from another encoder")]
    Busy,
    /// It is published under a newer ownership already: this publisher was replaced before it began.
    #[error("another encoder has taken over this input")]
    Superseded,
    /// The node has as many broadcasts as it may.
    #[error("this node has as many broadcasts as it may hold")]
    TooManyBroadcasts,
    /// What can't be evicted fills the node's memory for media.
    #[error("this node's memory for media is full")]
    OutOfMemory,
    /// The broadcast has as many tracks as it may.
    #[error("this broadcast has as many tracks as it may hold")]
    TooManyTracks,
    /// The broadcast is over for this publisher.
    #[error("{0}")]
    Closed(Close),
}

/// Why something that was asked for can't be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// Nobody has it and nobody can make it.
    #[error("not found")]
    NotFound,
    /// Nobody answered in time.
    #[error("nobody answered in time")]
    TimedOut,
    /// It is over.
    #[error("{0}")]
    Closed(Close),
    /// Who has it says something of it that is not understood here, and has to be.
    #[error("it needs something that is not understood here")]
    NotUnderstood,
    /// Too many are being looked for already where it may be.
    #[error("too many tracks are being looked for: ask again later")]
    TooMany,
}
