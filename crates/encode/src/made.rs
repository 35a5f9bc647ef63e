//! A segment of a level while it is made, and afterwards: parts that many wait for.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::asks::Asks;
use crate::limits::{FAILED_KEPT, NO_ORIGINAL_KEPT};

/// Why a segment of a level is not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// No worker in time.
    #[error("all encoders are busy: try again")]
    Busy,
    /// The original is not there (any more, or yet).
    #[error("its original is not there")]
    NoOriginal,
    /// The original is there, and can't be read now.
    #[error("its original can't be read now: try again")]
    Store,
    /// There is no encoder program now.
    #[error("there is no encoder now: watch the original")]
    Program,
    /// The original can't be decoded, or the encoder fails with it.
    #[error("this segment can't be encoded: watch the original")]
    Encoder,
}

impl Failed {
    /// Nothing is known of the segment: whoever asks next begins anew.
    pub fn is_passing(self) -> bool {
        matches!(self, Self::Busy | Self::Store | Self::Program)
    }

    /// For how long whoever asks hears the same, and nothing is tried.
    pub(crate) fn kept(self) -> Duration {
        match self {
            Self::Busy | Self::Store | Self::Program => Duration::ZERO,
            Self::NoOriginal => NO_ORIGINAL_KEPT,
            Self::Encoder => FAILED_KEPT,
        }
    }
}

/// One segment of one level.
#[derive(Debug)]
pub struct Made {
    state: Mutex<State>,
    changes: watch::Sender<()>,
    /// Who has asked for what its job makes, if addresses take turns for it.
    asks: Option<Arc<Asks>>,
    /// It was begun before anybody asked.
    ahead: bool,
}

#[derive(Debug, Default)]
struct State {
    parts: Vec<Vec<Bytes>>,
    /// Of each part, 64 bits of the hash of its bytes.
    tags: Vec<u64>,
    bytes: usize,
    outcome: Option<Result<(), Failed>>,
    since: Option<Instant>,
    /// Whether anybody has asked for it.
    asked: bool,
}

impl Made {
    pub(crate) fn new() -> Self {
        let (changes, _) = watch::channel(());
        Self { state: Mutex::default(), changes, asks: None, ahead: false }
    }

    /// One whose job these have asked for.
    pub(crate) fn asked_by(asks: Arc<Asks>) -> Self {
        Self { asks: Some(asks), ..Self::new() }
    }

    /// One that is begun before anybody asks.
    pub(crate) fn ahead(asks: Arc<Asks>) -> Self {
        Self { ahead: true, ..Self::asked_by(asks) }
    }

    /// Who has asked for what its job makes.
    pub(crate) fn asks(&self) -> Option<&Arc<Asks>> {
        self.asks.as_ref()
    }

    /// The next part. What a second attempt makes again is there already.
    pub(crate) fn push(&self, number: usize, part: Vec<Bytes>) {
        let tag = tag(&part);
        {
            let mut state = self.state();
            if state.parts.len() != number || state.outcome.is_some() {
                return;
            }
            state.bytes += part.iter().map(Bytes::len).sum::<usize>();
            state.parts.push(part);
            state.tags.push(tag);
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

    /// What its bytes are known by, or those of a part of it: others have another, where the same segment was made twice and not of the same
    /// pictures. None of what is not there.
    pub fn tag(&self, part: Option<usize>) -> Option<u64> {
        let state = self.state();
        match part {
            Some(part) => state.tags.get(part).copied(),
            None => (state.outcome == Some(Ok(())))
                .then(|| tag(state.tags.iter().map(|tag| tag.to_be_bytes()))),
        }
    }

    /// Its parts, one by one.
    pub(crate) fn parts(&self) -> Vec<Vec<Bytes>> {
        self.state().parts.clone()
    }

    /// Whether it has failed, so long ago that it may be tried again.
    pub(crate) fn is_stale(&self, now: Instant) -> bool {
        self.outcome().is_some_and(|(how, at)| {
            how.is_err_and(|failed| now.saturating_duration_since(at) >= failed.kept())
        })
    }

    /// Whether anybody waits for it now.
    pub(crate) fn is_awaited(&self) -> bool {
        self.changes.receiver_count() > 0
    }

    /// How it ended, and when.
    pub(crate) fn outcome(&self) -> Option<(Result<(), Failed>, Instant)> {
        let state = self.state();
        state.outcome.zip(state.since)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.state().bytes
    }

    /// Somebody asks: this address, or many people. True if it is the first one, of a segment that was begun ahead.
    pub(crate) fn ask(&self, address: Option<IpAddr>) -> bool {
        let first = !std::mem::replace(&mut self.state().asked, true);
        if let Some(asks) = &self.asks {
            asks.ask(address);
        }
        first && self.ahead
    }

    /// Whether anybody has asked.
    pub(crate) fn is_asked(&self) -> bool {
        self.state().asked
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tag(bytes: impl IntoIterator<Item: AsRef<[u8]>>) -> u64 {
    let mut hash = Sha256::new();
    bytes.into_iter().for_each(|bytes| hash.update(bytes));
    hash.finalize().iter().take(8).fold(0, |tag, byte| tag << 8 | u64::from(*byte))
}
