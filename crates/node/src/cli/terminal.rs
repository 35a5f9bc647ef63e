//! Progress for people: one line that changes on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

/// Where progress is shown: standard error, so that standard output stays what was asked for.
pub(super) struct Line {
    terminal: bool,
    /// Something stands on the line that is still to be ended.
    open: bool,
    updates: u64,
}

/// Elsewhere than on a terminal every so manieth update is a line.
const PLAIN_EVERY: u64 = 10;

impl Line {
    pub(super) fn new() -> Self {
        Self { terminal: stderr().is_terminal(), open: false, updates: 0 }
    }

    /// Shows the newest state in place of the last one. To be called once a second.
    pub(super) fn update(&mut self, text: &str) {
        self.updates += 1;
        if self.terminal {
            // Back to the start, and what was longer is wiped out.
            let _ = write!(stderr(), "\r{text}\x1b[K");
            let _ = stderr().flush();
            self.open = true;
        } else if self.updates % PLAIN_EVERY == 1 {
            let _ = writeln!(stderr(), "{text}");
        }
    }

    /// Says something that stays.
    pub(super) fn say(&mut self, text: &str) {
        self.end();
        let _ = writeln!(stderr(), "{text}");
    }

    /// Leaves what is shown.
    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.open) {
            let _ = writeln!(stderr());
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.end();
    }
}

/// `00:01:05`
pub(super) fn clock(time: Duration) -> String {
    let s = time.as_secs();
    format!("{:02}:{:02}:{:02}", s / 3_600, s / 60 % 60, s % 60)
}

/// Bits a second, for people.
pub(super) fn rate(bytes: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let bits = if seconds > 0.0 { bytes as f64 * 8.0 / seconds } else { 0.0 };
    match bits {
        b if b >= 1e6 => format!("{:.2} Mbit/s", b / 1e6),
        b => format!("{:.0} kbit/s", b / 1e3),
    }
}

/// Bytes, for people.
pub(super) fn size(bytes: u64) -> String {
    match bytes as f64 {
        b if b >= 1e9 => format!("{:.2} GB", b / 1e9),
        b if b >= 1e6 => format!("{:.1} MB", b / 1e6),
        b => format!("{:.0} kB", b / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(clock(Duration::from_secs(3_725)), "01:02:05");
        assert_eq!(rate(1_250_000, Duration::from_secs(2)), "5.00 Mbit/s");
        assert_eq!(rate(16_000, Duration::from_secs(1)), "128 kbit/s");
        assert_eq!((size(1_500_000_000), size(12_340_000), size(2_000)), {
            ("1.50 GB".to_owned(), "12.3 MB".to_owned(), "2 kB".to_owned())
        });
    }
}
