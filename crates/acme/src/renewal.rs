//! The loop that does what is due, for as long as the node runs.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{sleep, timeout};
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::authority::{Authority, Issued, Proof, Refused};
use crate::keep::{Keep, Kept};
use crate::limits::{ATTEMPT_TIMEOUT, LOOK_EVERY};
use crate::schedule::{Schedule, Step, Window};
use crate::status::{Status, span};

/// Who signs certificates: an [`Authority`] over the network, or one that a test makes up.
pub trait Issuer {
    /// The URL of its directory.
    fn directory(&self) -> &str;

    /// Where what it signs is kept.
    fn keep(&self) -> &Keep;

    /// Gets a certificate: [`Authority::issue`].
    fn issue(
        &self,
        names: &[String],
        proof: Proof,
        replaces: Option<&CertificateDer<'_>>,
    ) -> impl Future<Output = Result<Issued, Refused>> + Send;

    /// When it wants one renewed: [`Authority::window`].
    fn window(
        &self,
        certificate: &CertificateDer<'_>,
    ) -> impl Future<Output = Result<Option<(Window, Duration)>, Refused>> + Send;
}

/// What is to be had and kept.
pub struct Renewal<A = Authority> {
    /// Whom to ask.
    pub authority: A,
    /// The names, the first of which people know.
    pub names: Vec<String>,
    /// The kinds of proof, in the order in which they are tried: one an attempt. Not empty.
    pub proofs: Vec<Proof>,
    /// Where it is told how it stands.
    pub status: Arc<Status>,
    /// 16 bits of chance.
    pub chance: fn() -> u16,
    /// Milliseconds since 1970: [`wall_clock_ms`].
    pub now_ms: fn() -> u64,
}

impl<A: Issuer> Renewal<A> {
    /// What is kept from an earlier run and has not expired. It may be for other names than are wanted now: better than
    /// one that nobody believes, until there is a new one.
    pub fn kept(&self) -> Option<Kept> {
        let kept = match self.authority.keep().certificate() {
            Ok(kept) => kept?,
            Err(error) => {
                tracing::warn!(%error, "the certificate that was kept can't be read: a new one is asked for");
                return None;
            }
        };
        if kept.validity.not_after_ms <= (self.now_ms)() {
            return None;
        }
        self.status.kept(kept.validity.not_after_ms);
        Some(kept)
    }

    /// Runs for ever. `kept` is served already; `serve` is called with each new certificate.
    pub async fn run(self, mut kept: Option<Kept>, serve: impl Fn(&Kept)) {
        let good = kept.as_ref().map(|kept| &kept.validity).filter(|v| v.covers(&self.names));
        let mut schedule = Schedule::new(good, (self.now_ms)(), (self.chance)());
        loop {
            match schedule.step((self.now_ms)()) {
                // The wall clock may be set, and the machine may sleep: it is looked at again and again.
                Step::Wait(until) => {
                    let wait = Duration::from_millis(until.saturating_sub((self.now_ms)()));
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
                    schedule.window(answer, (self.now_ms)());
                }
                Step::Issue { attempt } => match self.attempt(attempt, kept.as_ref()).await {
                    Ok(new) => {
                        serve(&new);
                        schedule.issued(&new.validity, (self.now_ms)(), (self.chance)());
                        self.issued(&new, &schedule);
                        kept = Some(new);
                    }
                    Err(refused) => {
                        schedule.failed((self.now_ms)(), refused.at_least(), (self.chance)());
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
        tracing::info!(names, %proof, from = self.authority.directory(), "asking for a certificate");
        let old = kept.and_then(|kept| kept.chain.first());
        let issue = self.authority.issue(&self.names, proof, old);
        let issued = timeout(ATTEMPT_TIMEOUT, issue).await;
        let Issued { chain, key } = issued.map_err(|_| Refused::TimedOut(ATTEMPT_TIMEOUT))??;
        Ok(self.authority.keep().keep_certificate(&key, &chain)?)
    }

    fn issued(&self, new: &Kept, schedule: &Schedule) {
        self.status.issued(new.validity.not_after_ms);
        let (names, now) = (self.names.join(", "), (self.now_ms)());
        let good_for = span(new.validity.not_after_ms.saturating_sub(now));
        let renewed_in = span(schedule.next_attempt_ms().saturating_sub(now));
        tracing::info!(names, good_for, renewed_in, "new certificate in use");
    }

    fn failed(&self, refused: &Refused, schedule: &Schedule, kept: Option<&Kept>) {
        let again_ms = schedule.next_attempt_ms();
        self.status.failed(refused.to_string(), again_ms);
        let (names, now) = (self.names.join(", "), (self.now_ms)());
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

/// The clock of the machine.
pub fn wall_clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, OnceLock};

    use tokio::time::Instant;

    use super::*;

    const BEGAN: u64 = 1_763_812_800_000;
    const DAY: u64 = 24 * 3_600 * 1_000;

    fn virtual_ms() -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        let elapsed = START.get_or_init(Instant::now).elapsed();
        BEGAN + u64::try_from(elapsed.as_millis()).unwrap()
    }

    /// Signs for ninety days, but for its second attempt, and the two that follow its third.
    struct Forgetful {
        keep: Keep,
        asked: Mutex<Vec<(u64, Proof, bool)>>,
    }

    impl Issuer for Arc<Forgetful> {
        fn directory(&self) -> &str {
            "https://authority.example/directory"
        }

        fn keep(&self) -> &Keep {
            &self.keep
        }

        async fn issue(
            &self,
            names: &[String],
            proof: Proof,
            replaces: Option<&CertificateDer<'_>>,
        ) -> Result<Issued, Refused> {
            let now = virtual_ms();
            let number = {
                let mut asked = self.asked.lock().unwrap();
                asked.push((now, proof, replaces.is_some()));
                asked.len()
            };
            // As long as it takes.
            sleep(Duration::from_secs(20)).await;
            if [2, 4, 5].contains(&number) {
                return Err(Refused::TimedOut(ATTEMPT_TIMEOUT));
            }
            let pair = rcgen::KeyPair::generate()?;
            let mut params = rcgen::CertificateParams::new(names.to_vec())?;
            let at = |ms| UNIX_EPOCH + Duration::from_millis(ms);
            params.not_before = at(now).into();
            params.not_after = at(now + 90 * DAY).into();
            let chain = params.self_signed(&pair)?.pem();
            Ok(Issued { chain, key: pair.serialize_pem() })
        }

        async fn window(
            &self,
            _: &CertificateDer<'_>,
        ) -> Result<Option<(Window, Duration)>, Refused> {
            Ok(None)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_certificate_is_renewed_again_and_again_before_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let keep = Keep::new(folder.path(), "https://authority.example/directory");
        let authority = Arc::new(Forgetful { keep, asked: Mutex::default() });
        let names = vec!["live.example.test".to_owned()];
        let renewal = Renewal {
            authority: authority.clone(),
            names: names.clone(),
            proofs: vec![Proof::Http01, Proof::TlsAlpn01],
            status: Arc::new(Status::new(&names)),
            chance: || 32_768,
            now_ms: virtual_ms,
        };
        assert!(renewal.kept().is_none());
        let served = Mutex::new(Vec::new());
        let run = renewal.run(None, |kept| {
            served.lock().unwrap().push((virtual_ms(), kept.validity.not_after_ms));
        });
        assert!(timeout(Duration::from_millis(200 * DAY), run).await.is_err(), "it runs for ever");
        let served = served.into_inner().unwrap();
        assert_eq!(served.len(), 4, "{served:?}");
        assert!(served[0].0 < BEGAN + DAY / 24, "the first one at once");
        for pair in served.windows(2) {
            let ([(before, ends), (after, _)], day) = ([pair[0], pair[1]], DAY);
            assert!((60 * day..64 * day).contains(&(after - before)), "{served:?}");
            assert!(after + 25 * day < ends, "long before it ends: {served:?}");
        }
        // After a failure it is tried again soon, in the other way, and from then on in the first one.
        let asked = authority.asked.lock().unwrap().clone();
        let proofs: Vec<Proof> = asked.iter().map(|(_, proof, _)| *proof).collect();
        let (http, tls) = (Proof::Http01, Proof::TlsAlpn01);
        assert_eq!(proofs, [http, http, tls, http, tls, http, http]);
        let replaces: Vec<bool> = asked.iter().map(|(_, _, replaces)| *replaces).collect();
        assert_eq!(replaces, [false, true, true, true, true, true, true]);
        for (at, again) in [(1, 2), (3, 4), (4, 5)] {
            let waited = asked[again].0 - asked[at].0;
            assert!(waited <= DAY / 24, "{waited} ms");
        }
        // What is kept is the newest.
        let kept = authority.keep.certificate().unwrap().unwrap();
        assert_eq!(Some(kept.validity.not_after_ms), served.last().map(|(_, ends)| *ends));
    }
}
