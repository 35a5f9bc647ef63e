//! The loop that does what is due, for as long as the node runs.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{sleep, timeout};

use crate::authority::{Authority, Issued, Proof, Refused};
use crate::keep::Kept;
use crate::limits::{ATTEMPT_TIMEOUT, LOOK_EVERY};
use crate::schedule::{Schedule, Step};
use crate::status::{Status, span};

/// What is to be had and kept.
pub struct Renewal {
    /// Whom to ask.
    pub authority: Authority,
    /// The names, the first of which people know.
    pub names: Vec<String>,
    /// The kinds of proof, in the order in which they are tried: one an attempt. Not empty.
    pub proofs: Vec<Proof>,
    /// Where it is told how it stands.
    pub status: Arc<Status>,
    /// 16 bits of chance.
    pub chance: fn() -> u16,
}

impl Renewal {
    /// What is kept from an earlier run and has not expired. It may be for other names than are wanted now: better than
    /// one that nobody believes, until there is a new one.
    pub fn kept(&self) -> Option<Kept> {
        let kept = match self.authority.keep.certificate() {
            Ok(kept) => kept?,
            Err(error) => {
                tracing::warn!(%error, "the certificate that was kept can't be read: a new one is asked for");
                return None;
            }
        };
        if kept.validity.not_after_ms <= now_ms() {
            return None;
        }
        self.status.kept(kept.validity.not_after_ms);
        Some(kept)
    }

    /// Runs for ever. `kept` is served already; `serve` is called with each new certificate.
    pub async fn run(self, mut kept: Option<Kept>, serve: impl Fn(&Kept)) {
        let good = kept.as_ref().map(|kept| &kept.validity).filter(|v| v.covers(&self.names));
        let mut schedule = Schedule::new(good, now_ms(), (self.chance)());
        loop {
            match schedule.step(now_ms()) {
                // The wall clock may be set, and the machine may sleep: it is looked at again and again.
                Step::Wait(until) => {
                    let wait = Duration::from_millis(until.saturating_sub(now_ms()));
                    sleep(wait.min(LOOK_EVERY)).await;
                }
                Step::AskWindow => {
                    let answer = match kept.as_ref().and_then(|kept| kept.chain.first()) {
                        Some(certificate) => self.authority.window(certificate).await,
                        None => Ok(None),
                    };
                    let answer = answer.unwrap_or_else(|error| {
                        tracing::debug!(%error, "the authority does not say when to renew");
                        None
                    });
                    schedule.window(answer, now_ms());
                }
                Step::Issue { attempt } => match self.attempt(attempt, kept.as_ref()).await {
                    Ok(new) => {
                        serve(&new);
                        schedule.issued(&new.validity, now_ms(), (self.chance)());
                        self.issued(&new, &schedule);
                        kept = Some(new);
                    }
                    Err(refused) => {
                        schedule.failed(now_ms(), refused.at_least(), (self.chance)());
                        self.failed(&refused, &schedule, kept.as_ref());
                    }
                },
            }
        }
    }

    async fn attempt(&self, attempt: u32, kept: Option<&Kept>) -> Result<Kept, Refused> {
        let turn = usize::try_from(attempt).unwrap_or(0) % self.proofs.len().max(1);
        let proof = self.proofs.get(turn).copied().unwrap_or(Proof::Http01);
        let names = self.names.join(", ");
        tracing::info!(names, %proof, from = self.authority.directory, "asking for a certificate");
        let old = kept.and_then(|kept| kept.chain.first());
        let issue = self.authority.issue(&self.names, proof, old);
        let issued = timeout(ATTEMPT_TIMEOUT, issue).await;
        let Issued { chain, key } = issued.map_err(|_| Refused::TimedOut(ATTEMPT_TIMEOUT))??;
        Ok(self.authority.keep.keep_certificate(&key, &chain)?)
    }

    fn issued(&self, new: &Kept, schedule: &Schedule) {
        self.status.issued(new.validity.not_after_ms);
        let (names, now) = (self.names.join(", "), now_ms());
        let good_for = span(new.validity.not_after_ms.saturating_sub(now));
        let renewed_in = span(schedule.next_attempt_ms().saturating_sub(now));
        tracing::info!(names, good_for, renewed_in, "new certificate in use");
    }

    fn failed(&self, refused: &Refused, schedule: &Schedule, kept: Option<&Kept>) {
        let again_ms = schedule.next_attempt_ms();
        self.status.failed(refused.to_string(), again_ms);
        let (names, now) = (self.names.join(", "), now_ms());
        let next_try_in = span(again_ms.saturating_sub(now));
        match kept {
            Some(kept) => {
                let old_ends_in = span(kept.validity.not_after_ms.saturating_sub(now));
                tracing::warn!(names, error = %refused, next_try_in, old_ends_in, "certificate not renewed; the old one is served");
            }
            None => tracing::warn!(
                names, error = %refused, next_try_in,
                "no certificate yet; a self-signed one is served, browsers warn of it"
            ),
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
