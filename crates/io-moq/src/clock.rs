//! The clock that timers run by. Tests stop it and let it run by itself: minutes of a bad network are seconds then.

use std::time::Instant;

pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
