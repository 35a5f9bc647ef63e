//! Who has an input: claims, owners and how broadcasts end. `reference/control-plane.md` §6.
//!
//! One broadcast is one video. An input's owner changes in one transaction that also decides whether
//! the open broadcast goes on, and raises the input's epoch; every later write of an owner compares
//! it. Numbers belong to the input: they rise over all of its broadcasts, and none that a viewer may
//! have seen is given out again.

use std::ops::Range;

use crate::ids::{Epoch, InputUid, NodeId, SessionId, VideoUid};
use crate::record::SegmentRecord;

/// What a node asks for when an encoder has connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The input.
    pub input: InputUid,
    /// Who asks.
    pub node: NodeId,
    /// The encoder's connection. The same claim repeated (an answer was lost) gives the same answer.
    pub session: SessionId,
    /// What to do when somebody has it.
    pub mode: ClaimMode,
    /// Milliseconds since 1970.
    pub now_ms: u64,
    /// How long the broadcast is waited for should this node vanish without a word.
    pub resume_within_ms: u64,
    /// The id of the video if a new broadcast begins; random, used for nothing else.
    pub new_video: VideoUid,
}

/// What to do when somebody has the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimMode {
    /// Leave it to them.
    IfFree,
    /// Take it.
    TakeOver,
    /// Take it, and go on with what is open: the node still waits for it, however late it is by the clock on the wall.
    GoOn,
}

/// The right to write to a broadcast, until somebody else claims the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// The input.
    pub input: InputUid,
    /// The ownership that every write compares.
    pub epoch: Epoch,
    /// The broadcast.
    pub video: VideoUid,
}

/// A claim that was granted.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// The right to write.
    pub owned: Owned,
    /// The broadcast was open already and goes on.
    pub resumed: bool,
    /// Numbers that viewers may have seen and that were never committed: to be committed as gaps,
    /// before anything else. Ends where `first_segment` begins; empty for a new broadcast.
    pub gap: Range<u64>,
    /// The number of the first new segment; reserved already.
    pub first_segment: u64,
    /// The first of [`crate::limits::GROUP_BLOCK`] raw group ids; reserved already.
    pub first_group: u64,
    /// The newest committed segment of the broadcast: where its tracks' times end, and how many
    /// discontinuities there were; none for a new broadcast.
    pub last: Option<SegmentRecord>,
    /// Who had it until now, if somebody did: to be told.
    pub superseded: Option<(NodeId, SessionId)>,
    /// The earlier broadcast that this claim ended, because its time to come back was over.
    pub ended: Option<Ended>,
    /// How the broadcast was waited for that goes on, if nobody had it: to be parked so again by who can't go on with it.
    pub waited: Option<Away>,
}

/// Why a broadcast ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The encoder said goodbye.
    Goodbye,
    /// The encoder vanished and did not come back in time.
    SourceLost,
    /// The input was switched off.
    Disabled,
    /// The input was deleted.
    InputDeleted,
    /// What the encoder sent could not be used.
    Malformed,
    /// The node was stopped.
    Shutdown,
    /// The input's keys were changed.
    KeysChanged,
    /// The node died while it was on the air, and the encoder did not come back in time.
    NodeLost,
    /// The encoder was connected and sent nothing for too long.
    Idle,
}

impl End {
    const ALL: [Self; 9] = [
        Self::Goodbye,
        Self::SourceLost,
        Self::Disabled,
        Self::InputDeleted,
        Self::Malformed,
        Self::Shutdown,
        Self::KeysChanged,
        Self::NodeLost,
        Self::Idle,
    ];

    pub(crate) fn column(self) -> i64 {
        self as i64
    }

    pub(crate) fn from_column(n: i64) -> Option<Self> {
        Self::ALL.get(usize::try_from(n).ok()?).copied()
    }
}

/// That the encoder of a broadcast is away, and may come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Away {
    /// Why; and why the broadcast ended, should it not come back.
    pub why: End,
    /// Milliseconds since 1970 when it left.
    pub now_ms: u64,
    /// Until when it is waited for.
    pub until_ms: u64,
}

/// How an input stands. Kept over restarts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// On the air, waited for, or off the air.
    pub presence: Presence,
    /// Milliseconds since 1970 since when.
    pub since_ms: u64,
}

/// Whether an input is on the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Nobody has published to it, as far as is known.
    Never,
    /// Somebody publishes to it.
    OnAir {
        /// An encoder has come back to its broadcast, or taken it over.
        resumed: bool,
    },
    /// Its broadcast waits for its encoder.
    Away(End),
    /// Its last broadcast is over.
    Off(End),
}

/// A broadcast that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The input.
    pub input: InputUid,
    /// The video.
    pub video: VideoUid,
    /// It has committed segments and stays as a video; else it is gone.
    pub kept: bool,
}

/// What an id names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// A live input.
    Input(InputUid),
    /// A video.
    Video {
        /// Its id.
        uid: VideoUid,
        /// The input that it was broadcast on, which may be deleted by now.
        input: InputUid,
        /// It is on the air, or waited for.
        live: bool,
    },
}

/// How far numbers are reserved: those up to here may be shown to viewers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserved {
    /// The last segment number.
    pub segments_to: u64,
    /// One more than the last raw group id.
    pub groups_end: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_survive_their_column() {
        for why in End::ALL {
            assert_eq!(End::from_column(why.column()), Some(why));
        }
        assert_eq!(End::from_column(End::ALL.len() as i64), None);
        assert_eq!(End::from_column(-1), None);
    }
}
