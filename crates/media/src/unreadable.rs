//! How much of what an encoder sends can't be read.

use std::time::Instant;

use crate::limits::UNREADABLE_WITHIN;

/// What could not be read lately: who is on the air for weeks may send something odd now and then.
#[derive(Debug, Default)]
pub struct Unreadable {
    count: u64,
    since: Option<Instant>,
}

impl Unreadable {
    /// One more. Answers how many there are in these [`UNREADABLE_WITHIN`], this one among them.
    pub fn add(&mut self, now: Instant) -> u64 {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= UNREADABLE_WITHIN {
            *self = Self { count: 0, since: Some(now) };
        }
        self.count += 1;
        self.count
    }
}
