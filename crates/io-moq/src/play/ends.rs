//! Streams that end before their subgroups do.

use std::sync::{Mutex, MutexGuard, PoisonError};

use moqt::ResetCode;

use crate::transport::WriteEnd;

/// Why a stream ends before its subgroup does.
pub(super) enum Cut {
    /// For this reason, which the peer is told.
    Reset(ResetCode),
    /// With the code that the publisher gave.
    Source(spine::ResetCode),
    /// The filter ends, and the subgroup goes on.
    Behind,
    /// The peer has had enough, or is gone.
    Gone,
}

impl From<WriteEnd> for Cut {
    fn from(_: WriteEnd) -> Self {
        Self::Gone
    }
}

/// Who falls too far behind goes on with what is live: the groups between are given up as well,
/// before anything of them is sent. One by one, each of them would be begun and then cut.
#[derive(Default)]
pub(super) struct GivenUp(Mutex<Option<(u8, u64)>>);

impl GivenUp {
    fn state(&self) -> MutexGuard<'_, Option<(u8, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is before this group, and no more urgent than this (the publisher's numbers: lower is
    /// more urgent).
    pub(super) fn before(&self, group: u64, priority: u8) {
        *self.state() = Some((priority, group));
    }

    pub(super) fn has(&self, group: u64, priority: u8) -> bool {
        self.state().is_some_and(|(at, before)| group < before && priority >= at)
    }
}
