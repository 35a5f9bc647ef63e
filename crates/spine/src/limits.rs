//! The numbers that protect a node's memory, each with its reason.

use std::time::Duration;

/// Fields of a broadcast's path. draft-ietf-moq-transport §2.4.1 allows 32.
pub const PATH_FIELDS_MAX: usize = 32;

/// Bytes of a path, or of a path and a track name together. draft-ietf-moq-transport §2.4.1.
pub const NAME_BYTES_MAX: usize = 4096;

/// What one object costs besides its payload (cell, header, index entry), charged to the budget so
/// that a flood of tiny objects is not free.
pub const OBJECT_OVERHEAD_BYTES: usize = 256;

/// The largest id of a group or an object. One less than an id can hold, so that there is always a
/// next one.
pub const ID_MAX: u64 = u64::MAX - 1;

/// Ranges of groups that a track remembers as never having existed; the oldest is forgotten.
pub const GAPS_MAX: usize = 1_024;

/// Gaps of a group that are remembered, to see what contradicts them; the oldest is forgotten.
pub const HOLES_MAX: usize = 64;

/// Runs of one subgroup: it was cut and gone on with so often. All of them are looked at for each object, and each is a stream
/// for every subscriber.
pub const RUNS_MAX: u32 = 64;

/// Entries of a track's log, 48 bytes each, from which on those of groups that are gone are looked for: they are not charged.
pub const LOG_LOOK_MIN: usize = 32;

/// The newest groups of a track that stay whatever is short: the one that is being written, and the one
/// before it, at whose end those read who keep up. With one only, a packager lost the last frames of
/// each group as soon as the cache was full.
pub const GROUPS_KEPT_MIN: usize = 2;

/// The newest groups of a track that stay as long as the whole cache is not over its limit: a live window
/// of six segments, the one that is being made, and one for those who are late; more of a track that says so. Without it
/// tracks of one broadcast, which pay at random, would not keep the same segments.
pub const GROUPS_KEPT: usize = 8;

/// Tracks of a broadcast that are relayed, those that are over and whose past may be fetched among them: more than who takes part in a
/// large room has in a day. Those that are over make room for others.
pub const RELAYED_TRACKS_MAX: usize = 1_024;

/// What is over is kept so long for who reads it, and for who fetches its past; then it goes when memory is short.
pub const OVER_KEPT: Duration = Duration::from_secs(90);

/// The share of the cache, one in so many, that only live windows may fill. Above it all older groups go.
pub const SHARE_OF_WINDOWS: usize = 8;

/// Beyond the cache newest groups have a share of it, one in so many, or what one of them may have; then nothing more is kept of what
/// is relayed, which anybody may publish, and its groups have holes. Live inputs go on.
pub const SHARE_BEYOND: usize = 2;

/// Subgroups of a track that are read side by side, or wait behind the group that is read: as many as Airwave sends at once over
/// MoQ. Behind a group that does not end there may be no more; then it is left.
pub const SUBGROUPS_AHEAD_MAX: usize = 64;

/// Bounds of one [`Origin`](crate::Origin). A user may need to change any of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Cached media on the node. The writers pay: their oldest groups go when it is exceeded.
    pub cache_bytes: usize,
    /// One object. A larger one is refused and ends its publish: no encoder makes a 16 MiB frame.
    pub object_bytes: usize,
    /// One group, its objects' [`OBJECT_OVERHEAD_BYTES`] included. Its writer must cut before: a
    /// group is the smallest thing that can be evicted.
    pub group_bytes: usize,
    /// Broadcasts at one time. Each may hold a newest group that can't be evicted.
    pub broadcasts: usize,
    /// Tracks of one broadcast that its publisher makes (derived ones are not counted).
    pub tracks_per_broadcast: usize,
    /// Requests waiting in one responder's queue; more are declined at once.
    pub requests_per_responder: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cache_bytes: 1 << 30,
            object_bytes: 16 << 20,
            group_bytes: 64 << 20,
            broadcasts: 2_000,
            tracks_per_broadcast: 256,
            requests_per_responder: 1_024,
        }
    }
}
