//! Points at which a test kills the process. They do nothing unless the feature `failpoints` is on,
//! which only tests switch on.

/// The variable that names a failpoint, `name` or `name:N` for its Nth passing.
pub const VARIABLE: &str = "AIRWAVE_FAILPOINT";

/// Ends the process here and now, without destructors, if the environment asks for it.
#[cfg(feature = "failpoints")]
pub fn hit(name: &str) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let Ok(wanted) = std::env::var(VARIABLE) else { return };
    let (at, times) = wanted.split_once(':').unwrap_or((&wanted, "1"));
    let times: u64 = times.parse().unwrap_or(1);
    if at == name && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == times {
        std::process::abort();
    }
}

/// Does nothing.
#[cfg(not(feature = "failpoints"))]
pub(crate) fn hit(_name: &str) {}
