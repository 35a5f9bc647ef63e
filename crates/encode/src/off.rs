//! Something that does not work now, and is tried again when its time has come, by one who does.

use tokio::time::Instant as Timestamp;

/// Why it does not work, and when it is tried again.
#[derive(Debug)]
pub(crate) struct Off {
    why: String,
    /// None while it is tried.
    until: Option<Timestamp>,
}

impl Off {
    pub(crate) fn new(why: impl Into<String>, until: Timestamp) -> Self {
        Self { why: why.into(), until: Some(until) }
    }

    pub(crate) fn why(&self) -> &str {
        &self.why
    }

    /// When it is to be tried again.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// Whether it is to be tried now; then it is, and nobody else does.
    pub(crate) fn is_due(&mut self) -> bool {
        let now = Timestamp::now();
        self.until.take_if(|until| *until <= now).is_some()
    }
}
