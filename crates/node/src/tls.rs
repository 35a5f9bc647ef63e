//! Certificates: by files, or from an authority (`domain`), else a self-signed one that is kept in the data directory.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use acme::challenges::{ACME_TLS, Challenges};
use acme::validity::Validity;
use anyhow::{Context, Result, bail};
use rcgen::{CertificateParams, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::config::Tls;
use crate::files;

pub(crate) const CERTIFICATE: &str = "self-signed.pem";
pub(crate) const KEY: &str = "self-signed.key";

/// What HTTPS and RTMPS greet their peers with.
pub(crate) struct Acceptors {
    /// HTTP/2 and HTTP/1.1, and whoever looks for a proof of a name.
    pub(crate) https: TlsAcceptor,
    /// No protocol is negotiated.
    pub(crate) rtmps: TlsAcceptor,
    /// Where both take their certificate from.
    pub(crate) certificate: Arc<Certificate>,
}

/// The certificate in use; connections that are made after a change get the new one.
#[derive(Debug)]
pub(crate) struct Certificate {
    used: RwLock<Arc<CertifiedKey>>,
    challenges: Challenges,
}

impl Certificate {
    pub(crate) fn replace(&self, new: Arc<CertifiedKey>) {
        *self.used.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    fn used(&self) -> Arc<CertifiedKey> {
        self.used.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its end, in milliseconds since 1970.
    pub(crate) fn not_after_ms(&self) -> Option<u64> {
        self.used().cert.first().and_then(Validity::of).map(|validity| validity.not_after_ms)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // RFC 8737 §3: this protocol and no other. Who gets nothing is told that the handshake failed.
        if hello.alpn().is_some_and(|mut offered| offered.next() == Some(ACME_TLS)) {
            return self.challenges.tls(hello.server_name()?);
        }
        Some(self.used())
    }
}

/// Greets with `first`, until that is replaced. Who looks for proofs of names gets those of `challenges`.
pub(crate) fn acceptors(first: Arc<CertifiedKey>, challenges: Challenges) -> Result<Acceptors> {
    let provider = Arc::new(default_provider());
    let certificate = Arc::new(Certificate { used: RwLock::new(first), challenges });
    Ok(Acceptors {
        https: acceptor(&provider, &certificate, &[b"h2", b"http/1.1", ACME_TLS])?,
        rtmps: acceptor(&provider, &certificate, &[])?,
        certificate,
    })
}

/// Loads the certificate of the configuration, or makes one for `host` and this machine. Certificate and key must both be
/// there and belong together.
pub(crate) fn load(tls: &Tls, dir: &Path, host: &str) -> Result<CertifiedKey> {
    if let Some((certificate, key)) = files_of(tls)? {
        return certified(&certificate, &key).with_context(|| named(tls));
    }
    let (certificate, key) = self_signed(dir, host)?;
    certified(&certificate, &key).with_context(|| {
        let [certificate, key] = [CERTIFICATE, KEY].map(|name| dir.join(name));
        format!(
            "{} and {} can't be used: delete both, and the next start makes new ones",
            certificate.display(),
            key.display()
        )
    })
}

/// Which files were looked at.
fn named(tls: &Tls) -> String {
    format!("tls.certificate={:?}, tls.key={:?}", tls.certificate, tls.key)
}

/// Whether the files of the configuration, if it names any, can be used.
pub(crate) fn check(tls: &Tls) -> Result<()> {
    match files_of(tls)? {
        Some((certificate, key)) => {
            certified(&certificate, &key).map(drop).with_context(|| named(tls))
        }
        None => Ok(()),
    }
}

/// The contents of the files that the configuration names: the certificate, and its key.
pub(crate) fn files_of(tls: &Tls) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
    match (tls.certificate.as_str(), tls.key.as_str()) {
        ("", "") => Ok(None),
        (certificate, key) => Ok(Some((read(Path::new(certificate))?, read(Path::new(key))?))),
    }
}

fn certified(certificate: &[u8], key: &[u8]) -> Result<CertifiedKey> {
    let chain = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<Vec<_>, _>>()
        .context("the certificate is not PEM")?;
    if chain.is_empty() {
        bail!("there is no certificate in the certificate's file");
    }
    let key = PrivateKeyDer::from_pem_slice(key).context("the key is not a PEM private key")?;
    CertifiedKey::from_der(chain, key, &default_provider())
        .context("the certificate and the key do not belong together")
}

fn acceptor(
    provider: &Arc<CryptoProvider>,
    certificate: &Arc<Certificate>,
    protocols: &[&[u8]],
) -> Result<TlsAcceptor> {
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .context("TLS versions")?
        .with_no_client_auth()
        .with_cert_resolver(certificate.clone());
    config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
    // Who was here before resumes his session by what it shows, however many others were here meanwhile: nothing is kept for it.
    config.ticketer = Ticketer::new().context("keys for TLS sessions")?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("can't read {}", path.display()))
}

/// Made at the first start; players and encoders that trusted it once still do after a restart.
fn self_signed(dir: &Path, host: &str) -> Result<(Vec<u8>, Vec<u8>)> {
    let (certificate, key) = (dir.join(CERTIFICATE), dir.join(KEY));
    if !certificate.exists() || !key.exists() {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        if !host.is_empty() && !names.iter().any(|n| n == host) {
            names.push(host.to_owned());
        }
        let pair = KeyPair::generate().context("can't make a key")?;
        let params = CertificateParams::new(names).context("the certificate's names")?;
        let made = params.self_signed(&pair).context("can't make a certificate")?;
        let _ = std::fs::remove_file(&key);
        files::secret(&key, || pair.serialize_pem().into_bytes())?;
        files::write_atomically(&certificate, made.pem().as_bytes())?;
    }
    Ok((read(&certificate)?, read(&key)?))
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::{
        ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConnection,
    };

    use super::*;

    /// Everything that one end has to say to the other one.
    macro_rules! tell {
        ($from:ident, $to:ident) => {
            let mut bytes = Vec::new();
            while $from.wants_write() {
                $from.write_tls(&mut bytes).unwrap();
            }
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                $to.read_tls(&mut rest).unwrap();
                $to.process_new_packets().unwrap();
            }
        };
    }

    fn greeted(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Option<HandshakeKind> {
        let name = "localhost".try_into().unwrap();
        let mut client = ClientConnection::new(client.clone(), name).unwrap();
        let mut server = ServerConnection::new(server.clone()).unwrap();
        for _ in 0..3 {
            tell!(client, server);
            tell!(server, client);
        }
        client.handshake_kind()
    }

    #[test]
    fn who_comes_back_resumes_however_many_others_were_there() {
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = self_signed(folder.path(), "").unwrap();
        let first = Arc::new(certified(&chain, &key).unwrap());
        let acceptors = acceptors(first.clone(), Challenges::default()).unwrap();
        let client = || {
            let mut roots = RootCertStore::empty();
            roots.add(first.cert[0].clone()).unwrap();
            let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap();
            Arc::new(config.with_root_certificates(roots).with_no_client_auth())
        };
        for acceptor in [&acceptors.https, &acceptors.rtmps] {
            let (server, returning) = (acceptor.config(), client());
            assert_eq!(greeted(server, &returning), Some(HandshakeKind::Full));
            for _ in 0..200 {
                assert_eq!(greeted(server, &client()), Some(HandshakeKind::Full));
            }
            assert_eq!(greeted(server, &returning), Some(HandshakeKind::Resumed));
        }
    }
}
