//! One conversation with an authority: an account, an order, the proofs, a certificate.

use std::future::Future;
use std::time::Duration;

use instant_acme::{
    Account, AccountBuilder, AccountCredentials, AuthorizationStatus, CertificateIdentifier,
    ChallengeType, Error, ExternalAccountKey, Identifier, NewAccount, NewOrder, Order, OrderStatus,
    Problem, RetryPolicy,
};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::challenges::{Challenges, Showing};
use crate::hook::{Hook, HookError, Record};
use crate::http::Https;
use crate::keep::{Keep, KeepError};
use crate::limits::{DECISION_TIMEOUT, NONCE_RETRIES, RATE_LIMITED};
use crate::renewal::Issuer;
use crate::schedule::Window;

/// How it is proved that a name leads here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A file on port 80 (RFC 8555 §8.3).
    Http01,
    /// A certificate on port 443 (RFC 8737).
    TlsAlpn01,
    /// A record in the DNS (RFC 8555 §8.4), by the operator's program.
    Dns01,
}

/// A customer's account with the authority, which ours there is bound to (RFC 8555 §7.3.4).
#[derive(Clone)]
pub struct Binding {
    /// What the authority calls it.
    pub kid: String,
    /// The key that it shares with the customer, decoded.
    pub key: Vec<u8>,
}

/// An authority, and what is needed to speak with it.
#[derive(Clone)]
pub struct Authority {
    /// The URL of its directory.
    pub directory: String,
    /// Where it may write to somebody; empty for nowhere.
    pub contact: String,
    /// Whose account a new one of ours shall be; none where anybody may have one.
    pub binding: Option<Binding>,
    /// Whom it must be to be believed.
    pub tls: TlsConnector,
    /// Where the proofs are shown.
    pub challenges: Challenges,
    /// The program for DNS.
    pub hook: Option<Hook>,
    /// Where the account is.
    pub keep: Keep,
}

/// What an authority has signed.
pub struct Issued {
    /// PEM, the certificate itself first.
    pub chain: String,
    /// PEM.
    pub key: String,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The authority, or the way to it.
    #[error("{}", said(.0))]
    Authority(#[from] Error),
    /// It could not convince itself of a name.
    #[error("{name} could not be proved by {proof}: {why}")]
    NotProved {
        /// The name.
        name: String,
        /// How.
        proof: Proof,
        /// The authority's words.
        why: String,
    },
    /// It does not take this kind of proof.
    #[error("the authority takes no proof of {name} by {proof}")]
    NotOffered {
        /// The name.
        name: String,
        /// How.
        proof: Proof,
    },
    /// The operator's program.
    #[error("acme.dns_hook: {0}")]
    Hook(#[from] HookError),
    /// The data directory.
    #[error("{0}")]
    Keep(#[from] KeepError),
    /// Our own certificate for TLS-ALPN-01.
    #[error("can't make the certificate that proves a name: {0}")]
    Made(#[from] rcgen::Error),
    /// It hung.
    #[error("the attempt took longer than {} minutes", .0.as_secs() / 60)]
    TimedOut(Duration),
}

impl std::fmt::Display for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Dns01 => "dns-01",
        })
    }
}

impl Refused {
    /// How long the authority wants to be left alone.
    pub fn at_least(&self) -> Duration {
        match self {
            // RFC 8555 §6.6.
            Self::Authority(Error::Api(problem)) if is(problem, "rateLimited") => RATE_LIMITED,
            _ => Duration::ZERO,
        }
    }
}

fn is(problem: &Problem, kind: &str) -> bool {
    let name =
        problem.r#type.as_deref().and_then(|t| t.strip_prefix("urn:ietf:params:acme:error:"));
    name == Some(kind)
}

/// The authority's words, without its quotation marks around ours.
fn said(error: &Error) -> String {
    match error {
        Error::Api(problem) => words(problem),
        Error::Timeout(_) => "the authority did not decide in time".to_owned(),
        other => other.to_string(),
    }
}

/// What comes from outside is shown in logs: on one line.
fn words(problem: &Problem) -> String {
    let detail = problem.detail.as_deref().unwrap_or("no reason given");
    let kind = problem.r#type.as_deref().unwrap_or("no type");
    let mut words = format!("{detail} ({kind})");
    for sub in problem.subproblems.iter().take(10) {
        words.push_str(&format!("; {sub}"));
    }
    words.chars().take(1_000).collect::<String>().escape_debug().to_string()
}

/// What was put up to prove names, and comes down again.
#[derive(Default)]
struct Shown {
    here: Vec<Showing>,
    records: Vec<Record>,
}

impl Issuer for Authority {
    fn directory(&self) -> &str {
        &self.directory
    }

    fn keep(&self) -> &Keep {
        &self.keep
    }

    fn issue(
        &self,
        names: &[String],
        proof: Proof,
        replaces: Option<&CertificateDer<'_>>,
    ) -> impl Future<Output = Result<Issued, Refused>> + Send {
        Self::issue(self, names, proof, replaces)
    }

    fn window(
        &self,
        certificate: &CertificateDer<'_>,
    ) -> impl Future<Output = Result<Option<(Window, Duration)>, Refused>> + Send {
        Self::window(self, certificate)
    }
}

impl Authority {
    /// Gets a certificate for these names. `replaces` is the one in use, if the authority tells when it wants that renewed.
    pub async fn issue(
        &self,
        names: &[String],
        proof: Proof,
        replaces: Option<&CertificateDer<'_>>,
    ) -> Result<Issued, Refused> {
        let mut shown = Shown::default();
        let mut outcome = self.order(names, proof, replaces, &mut shown).await;
        for _ in 0..NONCE_RETRIES {
            // RFC 8555 §6.5: no reason to give up. The library has tried three times with each request.
            if !matches!(&outcome, Err(Refused::Authority(Error::Api(p))) if is(p, "badNonce")) {
                break;
            }
            outcome = self.order(names, proof, replaces, &mut shown).await;
        }
        if let Some(hook) = &self.hook {
            for record in &shown.records {
                if let Err(error) = hook.remove(record).await {
                    tracing::warn!(%error, "a record in the DNS is left over");
                }
            }
        }
        outcome
    }

    /// When the authority wants a certificate renewed, and when it wants to be asked again. None where it has no opinion.
    pub async fn window(
        &self,
        certificate: &CertificateDer<'_>,
    ) -> Result<Option<(Window, Duration)>, Refused> {
        let Ok(id) = CertificateIdentifier::try_from(certificate) else { return Ok(None) };
        let (info, again) = match self.account().await?.renewal_info(&id).await {
            Ok(info) => info,
            Err(Error::Unsupported(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let ms = |seconds: i64| u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000);
        let window = info.suggested_window;
        let window = Window {
            start_ms: ms(window.start.unix_timestamp()),
            end_ms: ms(window.end.unix_timestamp()),
        };
        Ok(Some((window, again)))
    }

    async fn order(
        &self,
        names: &[String],
        proof: Proof,
        replaces: Option<&CertificateDer<'_>>,
        shown: &mut Shown,
    ) -> Result<Issued, Refused> {
        let account = self.account().await?;
        let identifiers: Vec<_> = names.iter().cloned().map(Identifier::Dns).collect();
        let mut order = match new_order(&account, &identifiers, replaces).await {
            // RFC 8555 §6.7: it has lost its accounts, as trials are cleared and an office's own authority is set up anew.
            // Asked in the old account's name it would say so until the certificate has run out.
            Err(Error::Api(problem)) if is(&problem, "accountDoesNotExist") => {
                tracing::warn!(
                    directory = self.directory,
                    "the authority does not know our account any more: a new one is made"
                );
                new_order(&self.new_account().await?, &identifiers, replaces).await?
            }
            answered => answered?,
        };
        self.prove(&mut order, proof, shown).await?;
        let retries = RetryPolicy::new().timeout(DECISION_TIMEOUT);
        match order.poll_ready(&retries).await {
            Ok(OrderStatus::Ready) => {}
            Ok(_) => return Err(not_proved(&mut order, proof, None).await),
            Err(Error::Api(problem)) => {
                return Err(not_proved(&mut order, proof, Some(problem)).await);
            }
            Err(error) => return Err(error.into()),
        }
        let key = order.finalize().await?;
        let chain = order.poll_certificate(&retries).await?;
        Ok(Issued { chain, key })
    }

    /// Puts up the proofs of all names that the authority does not remember, and says so.
    async fn prove(
        &self,
        order: &mut Order,
        proof: Proof,
        shown: &mut Shown,
    ) -> Result<(), Refused> {
        let kind = match proof {
            Proof::Http01 => ChallengeType::Http01,
            Proof::TlsAlpn01 => ChallengeType::TlsAlpn01,
            Proof::Dns01 => ChallengeType::Dns01,
        };
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let name = authorization.identifier().to_string();
            let Some(mut challenge) = authorization.challenge(kind.clone()) else {
                return Err(Refused::NotOffered { name, proof });
            };
            let answer = challenge.key_authorization();
            match (proof, &self.hook) {
                (Proof::Http01, _) => {
                    let showing = self.challenges.show_http(&challenge.token, answer.as_str());
                    shown.here.push(showing);
                }
                (Proof::TlsAlpn01, _) => {
                    let digest = answer.digest();
                    shown.here.push(self.challenges.show_tls(&name, digest.as_ref())?);
                }
                (Proof::Dns01, Some(hook)) => {
                    let record = Record::of(&name, answer.dns_value());
                    // Taken away also if it could not be added as a whole.
                    shown.records.push(record.clone());
                    hook.add(&record).await?;
                }
                (Proof::Dns01, None) => return Err(Refused::NotOffered { name, proof }),
            }
            challenge.set_ready().await?;
        }
        Ok(())
    }

    /// The account that is kept, or a new one.
    async fn account(&self) -> Result<Account, Refused> {
        if let Some(json) = self.keep.account()? {
            match serde_json::from_slice::<AccountCredentials>(&json) {
                Ok(credentials) => return Ok(self.client().from_credentials(credentials).await?),
                Err(error) => {
                    tracing::warn!(%error, "the ACME account can't be read: a new one is made");
                }
            }
        }
        self.new_account().await
    }

    fn client(&self) -> AccountBuilder {
        Account::builder_with_http(Box::new(Https(self.tls.clone())))
    }

    /// In the place of the one that is kept. Agrees to the authority's terms: who names a domain wants a certificate.
    async fn new_account(&self) -> Result<Account, Refused> {
        let contact = format!("mailto:{}", self.contact);
        let contact: &[&str] = if self.contact.is_empty() { &[] } else { &[&contact] };
        let new =
            NewAccount { contact, terms_of_service_agreed: true, only_return_existing: false };
        let bound = self.binding.as_ref();
        let bound = bound.map(|b| ExternalAccountKey::new(b.kid.clone(), &b.key));
        let made = self.client().create(&new, self.directory.clone(), bound.as_ref()).await;
        let (account, credentials) = made?;
        self.keep.keep_account(&serde_json::to_vec(&credentials).map_err(Error::from)?)?;
        Ok(account)
    }
}

/// What is refused for these reasons is refused without a certificate to replace, too.
const ABOUT_THE_ACCOUNT: [&str; 3] = ["accountDoesNotExist", "badNonce", "rateLimited"];

/// RFC 9773 §5: says which certificate this one replaces, unless the authority knows better: another account may have asked for
/// that, it may be replaced already, or be one that the authority has forgotten. Authorities have a word of their own for each.
async fn new_order(
    account: &Account,
    identifiers: &[Identifier],
    replaces: Option<&CertificateDer<'_>>,
) -> Result<Order, Error> {
    if let Some(id) = replaces.and_then(|old| CertificateIdentifier::try_from(old).ok()) {
        match account.new_order(&NewOrder::new(identifiers).replaces(id)).await {
            Err(Error::Unsupported(_)) => {}
            Err(Error::Api(problem))
                if !ABOUT_THE_ACCOUNT.iter().any(|kind| is(&problem, kind)) => {}
            answered => return answered,
        }
    }
    account.new_order(&NewOrder::new(identifiers)).await
}

/// Which name it was, and why: the order itself may say no more than that something was wrong.
async fn not_proved(order: &mut Order, proof: Proof, problem: Option<Problem>) -> Refused {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let Ok(mut authorization) = authorization else { break };
        if authorization.refresh().await.is_err() {
            break;
        }
        let problem = authorization.challenges.iter().find_map(|c| c.error.as_ref());
        if let Some(problem) = problem {
            let (name, why) = (authorization.identifier().to_string(), words(problem));
            return Refused::NotProved { name, proof, why };
        }
    }
    let unsaid = Error::Str("the order is invalid, and the authority does not say why");
    Refused::Authority(problem.map_or(unsaid, Error::Api))
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Issued")
    }
}
