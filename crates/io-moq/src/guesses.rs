//! Wrong tokens that a session has shown.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::{LOOKS_OF_GUESSERS, WRONG_TOKENS_KEPT};
use crate::listen::Counters;

/// What a session has shown of wrong tokens: one for all that it asks.
#[derive(Debug, Clone, Default)]
pub struct Guesses {
    pub(crate) shown: Arc<Mutex<Shown>>,
    pub(crate) counters: Arc<Counters>,
}

/// The same, without the counters of all sessions.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// Hashes of them, the newest last. Who finds two tokens of one hash has his own read later.
    wrong: VecDeque<u64>,
    /// Looks that are under way, or were for nothing.
    looks: usize,
}

impl Guesses {
    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it has shown one.
    pub fn any(&self) -> bool {
        !self.shown().wrong.is_empty()
    }

    /// Whether this is one of those it has shown lately.
    pub fn knows(&self, token: &str) -> bool {
        self.shown().wrong.contains(&hash_of(token))
    }

    /// Takes a look of the session's own at a token that it has not shown before. False: it had them.
    pub fn take_look(&self) -> bool {
        let mut shown = self.shown();
        let has = shown.looks < LOOKS_OF_GUESSERS;
        shown.looks += usize::from(has);
        has
    }

    /// What it looked at was not wrong.
    pub fn give_look_back(&self) {
        let mut shown = self.shown();
        shown.looks = shown.looks.saturating_sub(1);
    }

    /// It has shown this one now.
    pub fn wrong(&self, token: &str) {
        self.counters.wrong_tokens.fetch_add(1, Ordering::Relaxed);
        let (mut shown, hash) = (self.shown(), hash_of(token));
        shown.wrong.retain(|kept| *kept != hash);
        if shown.wrong.len() >= WRONG_TOKENS_KEPT {
            shown.wrong.pop_front();
        }
        shown.wrong.push_back(hash);
    }
}

fn hash_of(token: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    token.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_wrong_tokens_are_known() {
        let guesses = Guesses::default();
        assert!(!guesses.any());
        for n in 0..2 * WRONG_TOKENS_KEPT {
            guesses.wrong("always");
            guesses.wrong(&n.to_string());
            assert!(guesses.any() && guesses.knows("always") && guesses.knows(&n.to_string()));
        }
        let known = (0..2 * WRONG_TOKENS_KEPT).filter(|n| guesses.knows(&n.to_string()));
        assert_eq!(known.count(), WRONG_TOKENS_KEPT - 1);
        assert_eq!(guesses.shown().wrong.len(), WRONG_TOKENS_KEPT);
    }

    #[test]
    fn looks_at_once_are_counted_at_once() {
        let guesses = Guesses::default();
        let taken = (0..10).filter(|_| guesses.take_look());
        assert_eq!(taken.count(), LOOKS_OF_GUESSERS);
        guesses.give_look_back();
        assert_eq!([guesses.take_look(), guesses.take_look()], [true, false]);
    }
}
