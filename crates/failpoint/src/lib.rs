//! Named points at which a test kills the process: between a put and its sync, a commit and its answer.
//!
//! In builds without debug assertions (what users run) a point is nothing at all.

#![forbid(unsafe_code)]

/// The variable that names a point: `name`, or `name:N` for its Nth passing.
pub const VARIABLE: &str = "AIRWAVE_FAILPOINT";

/// Ends the process here and now, without destructors, if the environment asks for it.
#[cfg(debug_assertions)]
pub fn hit(name: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static WANTED: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let wanted = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty())?;
        let (name, times) = wanted.split_once(':').unwrap_or((&wanted, "1"));
        Some((name.to_owned(), times.parse().unwrap_or(1)))
    });
    static PASSED: AtomicU64 = AtomicU64::new(0);

    if let Some((wanted, times)) = &*WANTED
        && wanted == name
        && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *times
    {
        std::process::abort();
    }
}

/// Does nothing.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn hit(_name: &str) {}
