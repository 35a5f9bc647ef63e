//! The log: on standard error, short for people or JSON for machines.

use std::io::{self, IsTerminal, Write, stderr};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Changes what is logged while the program runs.
pub(crate) struct LogLevel(Box<dyn Fn(EnvFilter) + Send + Sync>);

impl LogLevel {
    /// From now on this level or filter, which the configuration has checked.
    pub(crate) fn set(&self, level: &str) {
        if let Ok(filter) = EnvFilter::try_new(level) {
            (self.0)(filter);
        }
    }
}

/// Lines that nobody could take.
static LOST: AtomicU64 = AtomicU64::new(0);

/// How many lines of the log are lost since the start: its disk was full, or nobody read it.
pub(crate) fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Standard error, to which a write never fails: a log that is lost ends neither a broadcast nor its
/// recording.
struct Lenient;

impl Write for Lenient {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if stderr().write_all(line).is_err() {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = stderr().flush();
        Ok(())
    }
}

/// Begins logging. A second call (in tests) changes nothing.
pub(crate) fn start(log: &Log) -> LogLevel {
    let filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_writer(|| Lenient);
    // It would say on standard error, too, that this can't be written, and panic where that fails.
    let builder = builder.log_internal_errors(false);
    match log.format {
        LogFormat::Text => {
            let builder = builder.with_ansi(stderr().is_terminal()).with_target(false).compact();
            let builder = builder.with_env_filter(filter).with_filter_reloading();
            let handle = builder.reload_handle();
            let _ = builder.try_init();
            LogLevel(Box::new(move |filter| {
                let _ = handle.reload(filter);
            }))
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true);
            let builder = builder.with_env_filter(filter).with_filter_reloading();
            let handle = builder.reload_handle();
            let _ = builder.try_init();
            LogLevel(Box::new(move |filter| {
                let _ = handle.reload(filter);
            }))
        }
    }
}
