//! Following single objects on their way out: who sends something tells it here, while somebody wants to know.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use spine::{Location, Path, TrackName};

use crate::limits::DEPARTURES_MAX;

/// An object that was sent to somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// Of which broadcast.
    pub path: Path,
    /// Of which track.
    pub track: TrackName,
    /// Which one.
    pub location: Location,
    /// Over what.
    pub via: &'static str,
    /// To whom.
    pub peer: SocketAddr,
    /// How long its payload is.
    pub bytes: u64,
    /// When its sender turned to it, or was asked for it.
    pub begun: Instant,
    /// When the last of it was handed to the network.
    pub left: Instant,
}

/// What was sent lately. Nothing is noted while nobody looks, which costs a look at a flag.
#[derive(Debug, Default)]
pub struct Departures {
    wanted: AtomicBool,
    seen: Mutex<VecDeque<Departure>>,
}

impl Departures {
    /// Whether somebody wants to know what is sent.
    pub fn wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Notes what was sent; the oldest is forgotten.
    pub fn note(&self, departure: Departure) {
        let mut seen = self.seen();
        if self.wanted.load(Ordering::Relaxed) {
            if seen.len() >= DEPARTURES_MAX {
                seen.pop_front();
            }
            seen.push_back(departure);
        }
    }

    /// Begins to note what is sent; nothing, if somebody else looks already.
    pub fn watch(self: &Arc<Self>) -> Option<Watch> {
        let first = !self.wanted.swap(true, Ordering::Relaxed);
        first.then(|| Watch(self.clone()))
    }

    fn seen(&self) -> MutexGuard<'_, VecDeque<Departure>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who looks, until this is dropped.
#[derive(Debug)]
pub struct Watch(Arc<Departures>);

impl Watch {
    /// What was sent since the last time.
    pub fn take(&self) -> Vec<Departure> {
        self.0.seen().drain(..).collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut seen = self.0.seen();
        self.0.wanted.store(false, Ordering::Relaxed);
        seen.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn what_is_sent_is_noted_while_one_looks() {
        let departures = Arc::<Departures>::default();
        let sent = |object: u64| Departure {
            path: Path::root(),
            track: TrackName::from_static("video"),
            location: Location { group: 0, object },
            via: "MoQ",
            peer: ([127, 0, 0, 1], 1).into(),
            bytes: 1,
            begun: Instant::now(),
            left: Instant::now(),
        };
        departures.note(sent(1));
        assert!(!departures.wanted());
        let watch = departures.watch().unwrap();
        assert!(departures.watch().is_none(), "one at a time");
        assert!(departures.wanted());
        let most = DEPARTURES_MAX as u64;
        (0..most + 5).for_each(|object| departures.note(sent(object)));
        let taken: Vec<u64> = watch.take().iter().map(|d| d.location.object).collect();
        assert_eq!((taken[0], taken.len()), (5, DEPARTURES_MAX));
        departures.note(sent(9));
        drop(watch);
        assert_eq!(departures.watch().unwrap().take(), []);
    }
}
