//! Waiting for events, and switching tests off.

use std::io::Write;
use std::time::{Duration, Instant};

/// Nothing that is waited for is given up sooner: a deadline is there for what hangs, and a machine that has other things to
/// do is slow for longer than anybody guesses.
const PATIENCE_S: u64 = 60;

/// Between two looks. Each may be a request to a server that has other things to do, of this test and of those beside it.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Waits until `ready` answers, or fails after `seconds`, but never before a minute, with `what` was waited for. Outside
/// programs tell nothing when they are ready, so this looks again and again.
pub fn wait_until<T>(what: &str, seconds: u64, mut ready: impl FnMut() -> Option<T>) -> T {
    let seconds = seconds.max(PATIENCE_S);
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {seconds} s for {what}");
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether the test `name` is switched off; says so in the log of skipped tests.
pub fn skip(name: &str) -> bool {
    let list = std::env::var("AIRWAVE_TEST_SKIP").unwrap_or_default();
    let off = list.split(',').any(|n| n.trim() == name);
    if off {
        skipped(name, "");
    }
    off
}

/// Lists a test as skipped, with the reason if it was not asked for.
pub fn skipped(name: &str, reason: &str) {
    if let Some(path) = std::env::var_os("AIRWAVE_SKIP_LOG") {
        let log = std::fs::OpenOptions::new().append(true).create(true).open(path);
        let _ = log.and_then(|mut log| {
            writeln!(log, "{}", format!("AIRWAVE-SKIPPED {name} {reason}").trim_end())
        });
    }
}
