//! A segment of a level while it is made, and afterwards: parts that many wait for.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::watch;

/// Why a segment of a level is not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// No worker in time.
    #[error("all encoders are busy: try again")]
    Busy,
    /// The original is not there (any more, or yet).
    #[error("its original is not there")]
    NoOriginal,
    /// The original can't be decoded, or the encoder fails with it.
    #[error("this segment can't be encoded: watch the original")]
    Encoder,
}

/// One segment of one level.
#[derive(Debug)]
pub struct Made {
    state: Mutex<State>,
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    parts: Vec<Vec<Bytes>>,
    bytes: usize,
    outcome: Option<Result<(), Failed>>,
    since: Option<Instant>,
    /// Whether anybody has asked for it.
    asked: bool,
}

impl Made {
    pub(crate) fn new() -> Self {
        let (changes, _) = watch::channel(());
        Self { state: Mutex::default(), changes }
    }

    /// The next part. What a second attempt makes again is there already.
    pub(crate) fn push(&self, number: usize, part: Vec<Bytes>) {
        {
            let mut state = self.state();
            if state.parts.len() != number || state.outcome.is_some() {
                return;
            }
            state.bytes += part.iter().map(Bytes::len).sum::<usize>();
            state.parts.push(part);
        }
        self.changes.send_replace(());
    }

    pub(crate) fn finish(&self, outcome: Result<(), Failed>) {
        {
            let mut state = self.state();
            state.outcome.get_or_insert(outcome);
            state.since.get_or_insert_with(Instant::now);
        }
        self.changes.send_replace(());
    }

    /// A part, as soon as it is there; none if the segment has fewer.
    pub async fn part(&self, number: usize) -> Result<Option<Vec<Bytes>>, Failed> {
        let mut changes = self.changes.subscribe();
        loop {
            {
                let state = self.state();
                if let Some(part) = state.parts.get(number) {
                    return Ok(Some(part.clone()));
                }
                if let Some(outcome) = state.outcome {
                    return outcome.map(|()| None);
                }
            }
            // The sender is ours, so it does not go.
            let _ = changes.changed().await;
        }
    }

    /// All parts, if it is complete.
    pub fn whole(&self) -> Option<Vec<Bytes>> {
        let state = self.state();
        (state.outcome == Some(Ok(()))).then(|| state.parts.concat())
    }

    /// How it ended, and when.
    pub(crate) fn outcome(&self) -> Option<(Result<(), Failed>, Instant)> {
        let state = self.state();
        state.outcome.zip(state.since)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.state().bytes
    }

    /// Whether this is the first who asks.
    pub(crate) fn ask(&self) -> bool {
        !std::mem::replace(&mut self.state().asked, true)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
