//! Room on the disk: below its floor, recording pauses in good order instead of failing somewhere.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use store::Store;
use tokio::sync::Notify;

/// The room that all recorders of a node have. Retention works for the floor; recording pauses at half of
/// it, which is left for the index and for deleting, and goes on when the floor is free again.
#[derive(Debug, Default)]
pub struct Space {
    floor: Mutex<Option<u64>>,
    input: Mutex<Option<u64>>,
    paused: Mutex<Option<Paused>>,
    lost: AtomicU64,
    short: Notify,
}

/// Recording is paused for want of room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paused {
    /// Bytes that were free when it was last looked.
    pub free: u64,
    /// Bytes that must be free.
    pub floor: u64,
}

impl std::fmt::Display for Paused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        write!(
            f,
            "recording is paused: the disk has {:.1} MB free, and {:.1} MB must be \
             (retention.min_free_gb); the broadcast goes on, and what is not recorded will be a gap",
            mb(self.free),
            mb(self.floor)
        )
    }
}

impl Space {
    /// With a floor in bytes, or without.
    pub fn new(floor: Option<u64>) -> Self {
        Self { floor: Mutex::new(floor), ..Self::default() }
    }

    /// Another floor holds.
    pub fn set_floor(&self, floor: Option<u64>) {
        *self.floor.lock().unwrap_or_else(PoisonError::into_inner) = floor;
    }

    /// What the clips of an input without a bound of its own may take up together, in bytes: as much as its broadcasts.
    pub fn set_input_max(&self, max: Option<u64>) {
        *self.input.lock().unwrap_or_else(PoisonError::into_inner) = max;
    }

    pub(crate) fn input_max(&self) -> Option<u64> {
        *self.input.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing is recorded at the moment, if that is so.
    pub fn paused(&self) -> Option<Paused> {
        *self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Segments that were lost, of all broadcasts since the start.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until there is less room than there must be.
    pub async fn short(&self) {
        self.short.notified().await;
    }

    pub(crate) fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks the disk whether recording may go on.
    pub fn look(&self, store: &Store) -> Result<(), Paused> {
        self.judge(store.free_bytes())
    }

    fn judge(&self, free: Option<u64>) -> Result<(), Paused> {
        let floor = *self.floor.lock().unwrap_or_else(PoisonError::into_inner);
        let floor = floor.unwrap_or(0);
        let Some(free) = free else { return Ok(()) };
        if free < floor {
            self.short.notify_one();
        }
        let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        let least = if paused.is_some() { floor } else { floor / 2 };
        let now = (free < least).then_some(Paused { free, floor });
        match (&*paused, now) {
            (None, Some(why)) => tracing::error!("{why}"),
            (Some(_), None) => tracing::info!(free, "there is room again: recording goes on"),
            _ => {}
        }
        *paused = now;
        now.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recording_pauses_at_half_the_floor_and_goes_on_at_the_floor() {
        let space = Space::new(Some(1_000));
        for (free, goes_on) in [
            (5_000, true),
            (900, true),
            (500, true),
            (499, false),
            (600, false),
            (999, false),
            (1_000, true),
            (600, true),
            (0, false),
        ] {
            assert_eq!(space.judge(Some(free)).is_ok(), goes_on, "{free}");
            assert_eq!(space.paused().is_none(), goes_on, "{free}");
        }
        assert_eq!(Space::new(None).judge(Some(0)), Ok(()));
        // Another floor ends a pause, too.
        space.set_floor(None);
        assert_eq!(space.judge(Some(0)), Ok(()));
        space.set_floor(Some(1_000));
        assert_eq!(space.judge(None), Ok(()), "not known: nobody pauses");
        let words = Paused { free: 1_234_567, floor: 1_000_000_000 }.to_string();
        let expect = "recording is paused: the disk has 1.2 MB free, and 1000.0 MB must be \
                      (retention.min_free_gb); the broadcast goes on, and what is not recorded will \
                      be a gap";
        assert_eq!(words, expect);
    }
}
