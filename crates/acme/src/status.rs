//! How it stands with the certificate, in numbers and in words.

use std::sync::{Mutex, PoisonError};

/// What is told of the certificate. The loop writes it, everybody reads it.
#[derive(Debug)]
pub struct Status {
    names: Vec<String>,
    now: Mutex<Standing>,
}

/// At a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The end of the certificate that is served, in milliseconds since 1970; none while there is none.
    pub not_after_ms: Option<u64>,
    /// Certificates got since the start.
    pub issued: u64,
    /// Attempts that failed since the start.
    pub failed: u64,
    /// The last attempt's failure, if it failed.
    pub failure: Option<Failure>,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In words.
    pub why: String,
    /// When it is tried again, in milliseconds since 1970.
    pub again_ms: u64,
}

impl Status {
    /// Of a certificate for these names.
    pub fn new(names: &[String]) -> Self {
        Self { names: names.to_vec(), now: Mutex::default() }
    }

    /// The names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        self.with(|standing| standing.clone())
    }

    /// One is served that was kept from before.
    pub(crate) fn kept(&self, not_after_ms: u64) {
        self.with(|standing| standing.not_after_ms = Some(not_after_ms));
    }

    /// A new one is served.
    pub(crate) fn issued(&self, not_after_ms: u64) {
        self.with(|standing| {
            standing.not_after_ms = Some(not_after_ms);
            standing.issued += 1;
            standing.failure = None;
        });
    }

    /// An attempt failed.
    pub(crate) fn failed(&self, why: String, again_ms: u64) {
        self.with(|standing| {
            standing.failed += 1;
            standing.failure = Some(Failure { why, again_ms });
        });
    }

    /// What an operator should know, if anything.
    pub fn complaint(&self, now_ms: u64) -> Option<String> {
        let standing = self.standing();
        let names = self.names.join(", ");
        let held = match standing.not_after_ms {
            None => format!("there is no certificate for {names} yet"),
            Some(end) if end <= now_ms => format!("the certificate for {names} has expired"),
            // One that was renewed in time, or will be.
            Some(_) if standing.failure.is_none() => return None,
            Some(end) => {
                format!(
                    "the certificate for {names} ends in {} and was not renewed",
                    span(end - now_ms)
                )
            }
        };
        Some(match standing.failure {
            None => held,
            Some(Failure { why, again_ms }) => {
                format!("{held}: {why}; next try in {}", span(again_ms.saturating_sub(now_ms)))
            }
        })
    }

    fn with<T>(&self, look: impl FnOnce(&mut Standing) -> T) -> T {
        look(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Milliseconds as people say them.
pub fn span(ms: u64) -> String {
    let minutes = ms.div_ceil(60_000);
    match (minutes / 1_440, minutes / 60) {
        (2.., _) => format!("{} days", minutes / 1_440),
        (_, 2..) => format!("{} hours", minutes / 60),
        _ if minutes == 1 => "1 minute".to_owned(),
        _ => format!("{minutes} minutes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000;

    #[test]
    fn what_an_operator_reads() {
        let status = Status::new(&["a.example".to_owned(), "b.example".to_owned()]);
        let mut said = Vec::new();
        said.push(status.complaint(0));
        status.failed("a.example could not be proved by http-01: nobody there".to_owned(), 60_000);
        said.push(status.complaint(0));
        status.issued(90 * DAY);
        said.push(status.complaint(0));
        status.failed("rate limited".to_owned(), 60 * DAY + 2 * 3_600_000);
        said.push(status.complaint(60 * DAY));
        said.push(status.complaint(90 * DAY));
        let said: Vec<_> = said.iter().map(|words| words.as_deref().unwrap_or("-")).collect();
        assert_eq!(
            said,
            [
                "there is no certificate for a.example, b.example yet",
                "there is no certificate for a.example, b.example yet: a.example could not be proved by \
             http-01: nobody there; next try in 1 minute",
                "-",
                "the certificate for a.example, b.example ends in 30 days and was not renewed: rate limited; \
             next try in 2 hours",
                "the certificate for a.example, b.example has expired: rate limited; next try in 0 minutes",
            ]
        );
        let standing = status.standing();
        assert_eq!((standing.issued, standing.failed), (1, 2));
    }
}
