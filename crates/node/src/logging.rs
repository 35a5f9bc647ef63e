//! The log: on standard error, short for people or JSON for machines.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Begins logging. A second call (in tests) changes nothing.
pub(crate) fn start(log: &Log) {
    let filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let _ = match log.format {
        LogFormat::Text => {
            builder.with_ansi(stderr().is_terminal()).with_target(false).compact().try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
