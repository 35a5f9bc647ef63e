//! A track whose publisher sends nothing while nobody reads it: what is its newest object is not known here then.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::track::{Consumer, Producer, Shared, Waiting};
use crate::wake::lock;

/// The publisher of a track was told to pause, and has not said since that it goes on; until this is dropped.
pub struct Paused(Arc<Shared>);

impl Drop for Paused {
    fn drop(&mut self) {
        self.0.change(|state| state.paused = state.paused.saturating_sub(1));
    }
}

/// Somebody reads a track, or is about to; until this is dropped.
pub struct Interest(Arc<Shared>);

impl Drop for Interest {
    fn drop(&mut self) {
        self.0.demand(|_, readers| *readers = readers.saturating_sub(1));
    }
}

impl Producer {
    /// Who brings this track has told its publisher to pause. One of several is enough.
    pub fn pause(&self) -> Paused {
        self.shared.change(|state| state.paused += 1);
        Paused(self.shared.clone())
    }
}

impl Consumer {
    /// Counts as a reader, before it is known where to begin.
    pub fn interest(&self) -> Interest {
        self.shared.demand(|_, readers| *readers += 1);
        Interest(self.shared.clone())
    }

    /// Whether somebody reads it, or is about to.
    pub fn is_read(&self) -> bool {
        self.shared.is_read()
    }

    /// Ready when what is newest is known here: nobody who brings it is paused, or it is over.
    pub fn poll_current(&self, waiting: &mut Waiting, cx: &Context<'_>) -> Poll<()> {
        let mut state = lock(&self.shared.state);
        if state.paused == 0 || state.end.is_some() {
            return Poll::Ready(());
        }
        state.wakers.register(&mut waiting.0, cx);
        Poll::Pending
    }
}

impl fmt::Debug for Paused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Paused({:?} {:?})", self.0.path, self.0.name)
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Interest({:?} {:?})", self.0.path, self.0.name)
    }
}
