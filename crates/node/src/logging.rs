//! The log: on standard error, short for people or JSON for machines.

use std::io::{IsTerminal, stderr};

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

/// Begins logging. A second call (in tests) changes nothing.
pub(crate) fn start(log: &Log) -> LogLevel {
    let filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_writer(stderr);
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
