//! QUIC: its certificate, and where MoQ listens.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use access::{Access, Refusal, TokenError, Visitor};
use acme::keep::Kept;
use anyhow::{Context, Result};
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use deliver::uid_of;
use io_moq::limits::CONNECTIONS_MAX;
use io_moq::listen::{Audience, Barred, Gate, Guests, Judge, Pass, Place, Why, protocols_of};
use io_moq::transport::{Certificate, Endpoint, fingerprint};
use proxy::network::Networks;
use proxy::share::Shares;
use rcgen::{CertificateParams, KeyPair};
use spine::TrackName;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::attempts::Attempts;
use crate::config::{Config, Tls};
use crate::ingest::now_ms;
use crate::tls;

/// Browsers take a certificate by its hash only if it is valid for at most 14 days. It begins a day ago,
/// for clocks that are behind.
const VALID_DAYS: u64 = 13;

/// A new one takes its place after so many days: pages that hold the old one's hash have days to come
/// back.
const RENEW_DAYS: u64 = 6;

/// How often the date is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(600);

const DAY_MS: u64 = 24 * 3_600 * 1_000;

/// The SHA-256 of the certificate that is shown now, in hex; none if it needs no hash.
#[derive(Clone, Default)]
pub(crate) struct Fingerprint(Arc<Mutex<Option<String>>>);

/// The QUIC listener.
pub(crate) struct Quic {
    pub(crate) endpoint: Endpoint,
    pub(crate) address: SocketAddr,
    pub(crate) fingerprint: Fingerprint,
    /// For whom certificates are made here; none if there is another.
    made_for: Option<String>,
}

/// Who may watch over MoQ: whoever may watch over HTTP. The namespace of an input is `(account, uid)`.
pub(crate) fn judge(access: Arc<Access>, attempts: Arc<Attempts>) -> Judge {
    let changes = Some(access.changes().watch());
    Judge { gate: gate(access, attempts), changes }
}

fn gate(access: Arc<Access>, attempts: Arc<Attempts>) -> Gate {
    Arc::new(move |watching| {
        let (access, attempts) = (access.clone(), attempts.clone());
        Box::pin(async move {
            let uid = uid_of(&watching.path).ok_or_else(|| barred(Refusal::Nothing))?;
            let visitor = Visitor {
                address: watching.peer.ip().to_canonical(),
                origin: watching.origin.as_deref(),
                host: own_host(watching.origin.as_deref(), watching.host.as_deref()),
                now_ms: now_ms(),
            };
            // What the index does not know (any more) is nobody's, whatever is still on the air of it.
            let lasts = |until: u64| Duration::from_millis(until.saturating_sub(visitor.now_ms));
            let known = |pass: access::Pass| {
                let pass = pass.known()?;
                Ok(Pass { lasts: pass.until_ms.map(lasts) })
            };
            let refusal = match access.enter(uid, |_| None, visitor).await.and_then(known) {
                Ok(pass) => return Ok(pass),
                Err(refusal @ Refusal::NeedsToken) => refusal,
                Err(refusal) => return Err(barred(refusal)),
            };
            let (address, now, guesses) = (visitor.address, visitor.now_ms, &watching.guesses);
            let (mut told, mut unread) = (None::<(usize, Refusal)>, false);
            let tokens = watching.tokens.iter().map(|token| std::str::from_utf8(token.expose()));
            let tokens = tokens.flatten().enumerate();
            // One that was wrong may be right by now, if its key is new. It is read last: a look is for one that may be good.
            let (wrong, others): (Vec<_>, Vec<_>) = tokens.partition(|(_, t)| guesses.knows(t));
            for (place, token) in others.into_iter().chain(wrong) {
                // Now, and not once before all: others of the session are looked at meanwhile.
                let look = if access.needs_no_check(token) || !guesses.any() {
                    Look::Free
                } else if !guesses.knows(token) && guesses.take_look() {
                    Look::OfSession
                } else if attempts.look(address, now) {
                    Look::OfAddress
                } else {
                    unread = true;
                    continue;
                };
                let said = access.media(token, uid, |_| None, visitor).await.and_then(known);
                let refused = said.as_ref().err().copied();
                let is_wrong = refused.as_ref().is_some_and(Refusal::is_wrong_token);
                match look {
                    Look::OfSession if !is_wrong => guesses.give_look_back(),
                    Look::OfAddress if !is_wrong => attempts.look_was_good(address),
                    Look::Free | Look::OfSession if is_wrong => {
                        attempts.look(address, now);
                    }
                    _ => {}
                }
                let refused = match said {
                    Ok(pass) => return Ok(pass),
                    Err(refused) => refused,
                };
                if is_wrong {
                    guesses.wrong(token);
                }
                // What was said of the most particular token is what is told.
                if told.as_ref().is_none_or(|(before, _)| place < *before) {
                    told = Some((place, refused));
                }
            }
            if unread {
                let words = "too many wrong tokens from this address: wait a while".to_owned();
                return Err(Barred { why: Why::TooMany, words });
            }
            Err(barred(told.map_or(refusal, |(_, refused)| refused)))
        })
    })
}

/// Who pays for a look at a token, if it is wrong.
enum Look {
    /// The address afterwards, if there is anything left: of who has shown no wrong one before.
    Free,
    /// The session, and the address afterwards.
    OfSession,
    /// The address, before.
    OfAddress,
}

fn barred(refusal: Refusal) -> Barred {
    let why = match refusal {
        Refusal::Token(TokenError::Expired) => Why::Expired,
        Refusal::Token(TokenError::Malformed) => Why::Malformed,
        wrong if wrong.is_wrong_token() => Why::Wrong,
        Refusal::Nothing => Why::Nothing,
        Refusal::Unavailable => Why::Unknown,
        _ => Why::Unauthorized,
    };
    Barred { why, words: refusal.to_string() }
}

/// Viewers publish what they say beside what they watch: in `(account, uid, "chat")`.
pub(crate) fn guests(chat: Arc<chat::Rooms>) -> Guests {
    Arc::new(move |path, peer| {
        let [account, uid, of] = path.fields() else { return None };
        let uid = std::str::from_utf8(uid).ok().filter(|_| account == "default" && of == "chat")?;
        let (chat, uid, address) = (chat.clone(), uid.to_owned(), peer.ip().to_canonical());
        let take = move || chat.guest(&uid, address).map_err(|refused| refused.to_string());
        Some(Place { track: TrackName::from_static("messages"), take: Box::new(take) })
    })
}

/// Who watches over MoQ is counted with the others.
pub(crate) fn audience(library: Arc<deliver::Library>) -> Audience {
    Arc::new(move |path| Box::new(uid_of(path).and_then(|uid| library.seat(uid))))
}

/// What a page's host is to be compared with. Our pages come from another port than QUIC's: of one name is
/// of this server.
fn own_host<'a>(origin: Option<&'a str>, host: Option<&str>) -> Option<&'a str> {
    let (_, authority) = origin?.split_once("://")?;
    (name_of(authority) == name_of(host?)).then_some(authority)
}

/// An authority without its port. RFC 3986 §3.2.2: an IPv6 address stands in brackets.
fn name_of(authority: &str) -> &str {
    let behind_brackets = authority.rfind(']').unwrap_or(0);
    match authority[behind_brackets..].find(':') {
        Some(colon) => &authority[..behind_brackets + colon],
        None => authority,
    }
}

/// How many connections there may be.
pub(crate) fn connections(config: &Config) -> Arc<Shares> {
    Shares::configured(CONNECTIONS_MAX, config.limits.moq_connections_per_address)
}

/// Those that come from here are of many people, whoever hands them on: proxies of HTTP and balancers of connections are often
/// those of datagrams too.
pub(crate) fn proxies(config: &Config) -> Arc<Networks> {
    Arc::new(config.http.trusted_proxies.and(&config.proxy_protocol.trusted))
}

/// Opens the listener, if it is on.
pub(crate) fn open(config: &Config, kept: Option<&Kept>) -> Result<Option<Quic>> {
    let Some(address) = config.quic.listen.0 else { return Ok(None) };
    let host = config.public_host().unwrap_or_default();
    let shown = Fingerprint::default();
    let (certificate, made_for) = match (kept.map(of_authority), configured(&config.tls)?) {
        (Some(certificate), _) | (None, Some(certificate)) => (certificate, None),
        (None, None) => (self_signed(host, &shown)?, Some(host.to_owned())),
    };
    let protocols =
        protocols_of(&config.moq.drafts).context("moq.drafts: a draft is not spoken")?;
    let endpoint = Endpoint::server(address, certificate, &protocols).with_context(|| {
        format!("can't listen on {address} (UDP): {}", crate::node::elsewhere("quic.listen"))
    })?;
    let address = endpoint.local_address()?;
    Ok(Some(Quic { endpoint, address, fingerprint: shown, made_for }))
}

/// Renews a certificate that was made here, for as long as the node runs.
pub(crate) async fn renew(endpoint: Endpoint, shown: Fingerprint, made_for: Option<String>) {
    let Some(host) = made_for else { return std::future::pending().await };
    let mut made = now_ms();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // Without a hash to show, an authority has signed another one meanwhile.
        if now_ms().saturating_sub(made) < RENEW_DAYS * DAY_MS || shown.hex().is_none() {
            continue;
        }
        let renewed = self_signed(&host, &shown)
            .and_then(|certificate| Ok(endpoint.set_certificate(certificate)?));
        match renewed {
            Ok(()) => made = now_ms(),
            Err(error) => tracing::error!("can't renew the certificate of QUIC: {error:#}"),
        }
    }
}

/// What the listener greets with, for those who change it.
#[derive(Clone)]
pub(crate) struct Shown {
    endpoint: Endpoint,
    fingerprint: Fingerprint,
}

impl Shown {
    /// Takes the files of the configuration, which may have new contents. One that was made here stays.
    pub(crate) fn replace(&self, config: &Config) -> Result<()> {
        match configured(&config.tls)? {
            Some(certificate) => self.show(certificate),
            None => Ok(()),
        }
    }

    /// Takes what an authority has signed. Connections that are open stay.
    pub(crate) fn renewed(&self, kept: &Kept) -> Result<()> {
        self.show(of_authority(kept))
    }

    fn show(&self, certificate: Certificate) -> Result<()> {
        self.endpoint.set_certificate(certificate)?;
        *self.fingerprint.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}

impl Quic {
    pub(crate) fn shown(&self) -> Shown {
        Shown { endpoint: self.endpoint.clone(), fingerprint: self.fingerprint.clone() }
    }

    /// What [`renew`] needs.
    pub(crate) fn renewal(&self) -> impl Future<Output = ()> + Send + use<> {
        renew(self.endpoint.clone(), self.fingerprint.clone(), self.made_for.clone())
    }
}

/// For `serverCertificateHashes` of WebTransport; a row of the authorisation table.
pub(crate) const CERTIFICATE_HASH: &str = "/certificate.sha256";

/// The only route.
pub(crate) fn router(shown: Fingerprint) -> Router {
    Router::new().route(CERTIFICATE_HASH, get(async move || shown.answer()))
}

impl Fingerprint {
    fn set(&self, hash: [u8; 32]) {
        let hex = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(hex);
    }

    /// In hex.
    pub(crate) fn hex(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answer(&self) -> Response {
        let hex = self.hex();
        let headers = [
            (header::CACHE_CONTROL, "no-store"),
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        ];
        match hex {
            Some(hex) => (headers, hex).into_response(),
            None => {
                let words = "the certificate of this server is not self-signed, or QUIC is off";
                (StatusCode::NOT_FOUND, headers, words).into_response()
            }
        }
    }
}

fn of_authority(kept: &Kept) -> Certificate {
    Certificate { chain: kept.chain.clone(), key: kept.key.clone_key() }
}

fn configured(config: &Tls) -> Result<Option<Certificate>> {
    tls::check(config)?;
    let Some((certificate, key)) = tls::files_of(config)? else { return Ok(None) };
    let chain = CertificateDer::pem_slice_iter(&certificate)
        .collect::<Result<_, _>>()
        .context("the certificate is not PEM")?;
    let key = PrivateKeyDer::from_pem_slice(&key).context("the key is not a PEM private key")?;
    Ok(Some(Certificate { chain, key }))
}

/// ECDSA over P-256, as browsers want it.
fn self_signed(host: &str, shown: &Fingerprint) -> Result<Certificate> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !host.is_empty() && !names.iter().any(|n| n == host) {
        names.push(host.to_owned());
    }
    let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).context("can't make a key")?;
    let mut params = CertificateParams::new(names).context("the certificate's names")?;
    let yesterday = now_ms().saturating_sub(DAY_MS);
    let date = |ms: u64| {
        let (year, month, day) = media::date::ymd(ms);
        rcgen::date_time_ymd(year, month, day)
    };
    (params.not_before, params.not_after) =
        (date(yesterday), date(yesterday + VALID_DAYS * DAY_MS));
    let made = params.self_signed(&pair).context("can't make a certificate")?;
    shown.set(fingerprint(made.der()));
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
    Ok(Certificate { chain: vec![made.der().clone()], key })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use control::{Control, Expect, InputSettings, InputUid, MasterKey, RecordingSettings};
    use io_moq::listen::{Guesses, Watching};

    use super::*;

    /// Whatever of it is still on the air: it was locked perhaps, and who might have watched it went with it.
    #[tokio::test]
    async fn an_input_that_is_deleted_is_not_watched_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.db");
        let control = Arc::new(Control::open(&path, MasterKey::new(&[7; 32])).unwrap());
        let access = Arc::new(Access::load(control.clone(), &[9; 32], None).await.unwrap());
        let ask = gate(access.clone(), Arc::default());
        let ask = async |uid: &InputUid, tokens: &[&str]| {
            let fields = [Bytes::from_static(b"default"), uid.as_str().to_owned().into()];
            let secret = |token: &&str| moqt::Secret::new(Bytes::copy_from_slice(token.as_bytes()));
            let watching = Watching {
                path: spine::Path::new(fields).unwrap(),
                tokens: tokens.iter().map(secret).collect(),
                peer: ([192, 0, 2, 1], 7).into(),
                origin: None,
                host: None,
                guesses: Guesses::default(),
            };
            ask(watching).await.map(drop).map_err(|barred| barred.why)
        };
        for (byte, locked) in [(1, false), (2, true)] {
            let uid = InputUid::from_random([byte; 15]);
            assert_eq!(ask(&uid, &[]).await, Err(Why::Nothing));
            let recording = RecordingSettings { require_signed_urls: locked, ..Default::default() };
            let settings = InputSettings { recording, ..InputSettings::default() };
            let keys = std::array::from_fn(|at| (at as u8).wrapping_add(100 * byte));
            control.create_input(uid.clone(), settings, keys, 0).await.unwrap();
            access.forget_policies();
            let grant = access::Grant {
                sub: uid.to_string(),
                expires_ms: now_ms() + 3_600_000,
                not_before_ms: None,
                downloadable: false,
                rules: Vec::new(),
                link: None,
            };
            let token = access.sign(&grant).unwrap();
            let without = if locked { Err(Why::Unauthorized) } else { Ok(()) };
            assert_eq!(ask(&uid, &[]).await, without);
            assert_eq!(ask(&uid, &[&token]).await, Ok(()));
            control.delete_input(&uid, Expect::Any, 1).await.unwrap();
            access.forget_policies();
            for tokens in [&[][..], &[token.as_str()]] {
                assert_eq!(ask(&uid, tokens).await, Err(Why::Nothing), "locked: {locked}");
            }
        }
    }

    /// Wrong ones, right ones that are not known yet, and those that were looked at before; of who
    /// has shown a wrong one, and of his neighbour.
    #[tokio::test]
    async fn of_who_guesses_no_signature_is_checked_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.db");
        let control = Arc::new(Control::open(&path, MasterKey::new(&[7; 32])).unwrap());
        let access = Arc::new(Access::load(control.clone(), &[9; 32], None).await.unwrap());
        let attempts: Arc<Attempts> = Arc::default();
        let gate = gate(access.clone(), attempts.clone());
        let uid = InputUid::from_random([1; 15]);
        let recording = RecordingSettings { require_signed_urls: true, ..Default::default() };
        let settings = InputSettings { recording, ..InputSettings::default() };
        control
            .create_input(uid.clone(), settings, std::array::from_fn(|n| n as u8), 0)
            .await
            .unwrap();
        let token = |hours: u64| {
            let grant = access::Grant {
                sub: uid.to_string(),
                expires_ms: now_ms() + hours * 3_600_000,
                not_before_ms: None,
                downloadable: false,
                rules: Vec::new(),
                link: None,
            };
            access.sign(&grant).unwrap()
        };
        let ask_from = async |host: u8, tokens: &[&str], guesses: &Guesses| {
            let fields = [Bytes::from_static(b"default"), uid.as_str().to_owned().into()];
            let secret = |token: &&str| moqt::Secret::new(Bytes::copy_from_slice(token.as_bytes()));
            let watching = Watching {
                path: spine::Path::new(fields).unwrap(),
                tokens: tokens.iter().map(secret).collect(),
                peer: ([192, 0, 2, host], 7).into(),
                origin: None,
                host: None,
                guesses: guesses.clone(),
            };
            gate(watching).await.map(drop).map_err(|barred| barred.why)
        };
        let ask = async |tokens: &[&str], guesses: &Guesses| ask_from(1, tokens, guesses).await;
        let new = Guesses::default;
        let [known, fresh, other, another] = [1, 2, 3, 4].map(token);
        let (known, fresh, another) = (known.as_str(), fresh.as_str(), another.as_str());
        // Its head and what it grants are of one, its signature of another one.
        let signed = |by: &str| [&fresh[..fresh.rfind('.').unwrap()], by].concat();
        let wrong = signed(&other[other.rfind('.').unwrap()..]);
        let (wrong, too) = (wrong.as_str(), signed(&known[known.rfind('.').unwrap()..]));
        let too = too.as_str();
        // What is behind a good one is not looked at, what is before it is.
        for (tokens, expect, guesses) in [
            (&[known][..], Ok(()), false),
            (&[known, wrong], Ok(()), false),
            (&[wrong, known], Ok(()), true),
            (&["x", wrong], Err(Why::Unauthorized), true),
            (&[wrong, "x"], Err(Why::Wrong), true),
            (&["x"], Err(Why::Unauthorized), false),
        ] {
            let session = new();
            assert_eq!(ask(tokens, &session).await, expect, "{tokens:?}");
            assert_eq!(session.any(), guesses, "{tokens:?}");
        }
        // One after the other in one session, and in one request.
        let guesser = new();
        for n in 3..access::limits::WRONG_PLAYBACK_TOKENS.burst as usize {
            assert_eq!(ask(&["x", wrong], &guesser).await, Err(Why::Unauthorized), "{n}");
        }
        let neighbours = [new(), new(), new(), new()];
        for (what, tokens, session, expect) in [
            ("another one", &[too][..], &guesser, Err(Why::Wrong)),
            ("the same one", &[wrong], &guesser, Err(Why::TooMany)),
            ("behind none", &["x", wrong], &guesser, Err(Why::TooMany)),
            ("no JWT, which costs nothing", &["x"], &guesser, Err(Why::Unauthorized)),
            ("no JWT, and yet one to be read", &["a.b.c"], &guesser, Err(Why::TooMany)),
            ("a good one", &[fresh], &guesser, Err(Why::TooMany)),
            ("one that is known", &[wrong, known], &guesser, Ok(())),
            ("the neighbour's first", &[wrong], &neighbours[0], Err(Why::Wrong)),
            ("the neighbour's two", &[wrong, too, fresh], &neighbours[1], Err(Why::TooMany)),
            ("a good one behind a wrong one", &[wrong, another], &neighbours[3], Ok(())),
            ("the neighbour's good one", &[fresh], &neighbours[2], Ok(())),
            ("which is known from then on", &[fresh], &guesser, Ok(())),
        ] {
            assert_eq!(ask(tokens, session).await, expect, "{what}");
        }
        // With one look that is left, the good one is looked at, not those that were wrong.
        let (session, later) = (new(), token(5));
        for n in 0..access::limits::WRONG_PLAYBACK_TOKENS.burst as usize - 1 {
            let one = [[wrong], [too]][n % 2];
            assert_eq!(ask_from(2, &one, &session).await, Err(Why::Wrong), "{n}");
        }
        let behind = [wrong, too, later.as_str()];
        assert_eq!(ask_from(2, &behind, &session).await, Ok(()));
        // And it is left again.
        assert_eq!(ask_from(2, &[wrong], &session).await, Err(Why::Wrong));
        assert_eq!(ask_from(2, &[wrong], &session).await, Err(Why::TooMany));
        assert_eq!(ask_from(2, &behind, &session).await, Ok(()), "which is known");
        // Those that wait together for what its owner has said are looked at one by one.
        access.forget_policies();
        let session = new();
        let (one, behind) = ([wrong], ["x", wrong]);
        let answers =
            tokio::join!(ask(&one, &session), ask(&one, &session), ask(&behind, &session));
        let answers: [_; 3] = answers.into();
        let unread = answers.iter().filter(|answer| **answer == Err(Why::TooMany)).count();
        assert_eq!(unread, 2, "{answers:?}");
    }

    /// Who watches over MoQ is looked at again when somebody takes a right away, and not when the next seldom look is due: the listener does
    /// that where it is told (`io-moq`, d01_d19), and this is who tells it.
    #[tokio::test]
    async fn the_listener_is_told_when_a_right_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.db");
        let control = Arc::new(Control::open(&path, MasterKey::new(&[7; 32])).unwrap());
        let access = Arc::new(Access::load(control, &[9; 32], None).await.unwrap());
        let Judge { gate, changes } = judge(access.clone(), Arc::default());
        let mut changes = changes.expect("nobody tells it");
        let uid = InputUid::from_random([1; 15]);
        let link = access::link::Link {
            id: String::new(),
            name: "a friend".to_owned(),
            created_ms: now_ms(),
            expires_ms: now_ms() + 3_600_000,
            downloadable: false,
        };
        let link = access.create_link(uid.as_str(), link, [5; 16]).await.unwrap();
        assert!(!changes.has_changed().unwrap(), "what gives a right takes none");
        assert!(access.delete_link(uid.as_str(), &link.id).await.unwrap());
        assert!(changes.has_changed().unwrap(), "a link");
        changes.mark_unchanged();
        access.forget_policies();
        assert!(changes.has_changed().unwrap(), "what its owner says of it");
        drop(gate);
    }

    #[test]
    fn pages_of_this_server_are_known_by_its_name() {
        let cases = [
            (None, Some("example.net:4443"), None),
            (Some("https://example.net"), None, None),
            (Some("https://example.net"), Some("example.net:4443"), Some("example.net")),
            (Some("https://example.net:8443"), Some("example.net"), Some("example.net:8443")),
            (Some("http://[::1]:8080"), Some("[::1]:4443"), Some("[::1]:8080")),
            (Some("http://[::2]:8080"), Some("[::1]:8080"), None),
            (Some("https://example.net.evil.org"), Some("example.net:4443"), None),
            (Some("null"), Some("example.net"), None),
        ];
        for (origin, host, own) in cases {
            assert_eq!(own_host(origin, host), own, "{origin:?} {host:?}");
        }
    }

    #[test]
    fn a_certificate_that_browsers_take_by_its_hash() {
        let shown = Fingerprint::default();
        assert_eq!(shown.answer().status(), StatusCode::NOT_FOUND);
        let certificate = self_signed("example.net", &shown).unwrap();
        let hash = shown.0.lock().unwrap().clone().unwrap();
        assert_eq!(hash.len(), 64);
        // It covers its renewal, and is never valid for more than 14 days.
        const { assert!(VALID_DAYS <= 14 && RENEW_DAYS + 2 < VALID_DAYS) };
        assert!(matches!(certificate.key, PrivateKeyDer::Pkcs8(_)));
        let again = self_signed("example.net", &shown).unwrap();
        assert_ne!(again.chain, certificate.chain);
        assert_ne!(shown.0.lock().unwrap().clone().unwrap(), hash, "the new one's is shown");
    }
}
