//! What the listeners show while the authority looks whether a name leads here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;

/// What a client that looks for a TLS-ALPN-01 proof offers, and nothing else (RFC 8737 §3).
pub const ACME_TLS: &[u8] = b"acme-tls/1";

/// The proofs that are shown now. Cheap to clone; the listeners read it.
#[derive(Debug, Clone, Default)]
pub struct Challenges(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    /// By token: what to answer.
    http: BTreeMap<String, String>,
    /// By name.
    tls: BTreeMap<String, Arc<CertifiedKey>>,
}

/// Shows one proof until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Showing {
    challenges: Challenges,
    what: What,
}

#[derive(Debug)]
enum What {
    Http(String),
    Tls(String),
}

impl Challenges {
    /// The answer to `/.well-known/acme-challenge/TOKEN`.
    pub fn http(&self, token: &str) -> Option<String> {
        self.with(|shown| shown.http.get(token).cloned())
    }

    /// The certificate for who comes to look for a proof by TLS.
    pub fn tls(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.with(|shown| shown.tls.get(&name.to_ascii_lowercase()).cloned())
    }

    /// Shows the proof of HTTP-01.
    pub fn show_http(&self, token: &str, answer: &str) -> Showing {
        self.with(|shown| shown.http.insert(token.to_owned(), answer.to_owned()));
        Showing { challenges: self.clone(), what: What::Http(token.to_owned()) }
    }

    /// Shows the proof of TLS-ALPN-01: a self-signed certificate for the name, with the digest in it (RFC 8737 §3).
    pub fn show_tls(&self, name: &str, digest: &[u8]) -> Result<Showing, rcgen::Error> {
        let pair = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let made = params.self_signed(&pair)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        // rustls would look whether both belong together, and knows no certificate with such an extension.
        let key = default_provider().key_provider.load_private_key(key);
        let key = key.map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
        let certified = CertifiedKey::new(vec![made.der().clone()], key);
        let name = name.to_ascii_lowercase();
        self.with(|shown| shown.tls.insert(name.clone(), Arc::new(certified)));
        Ok(Showing { challenges: self.clone(), what: What::Tls(name) })
    }

    fn with<T>(&self, look: impl FnOnce(&mut Shown) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Showing {
    fn drop(&mut self) {
        self.challenges.with(|shown| match &self.what {
            What::Http(token) => drop(shown.http.remove(token)),
            What::Tls(name) => drop(shown.tls.remove(name)),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validity::Validity;

    #[test]
    fn a_proof_is_shown_while_it_is_wanted() {
        let challenges = Challenges::default();
        let one = challenges.show_http("token", "token.thumb");
        let two = challenges.show_tls("Live.example.org", &[7; 32]).unwrap();
        assert_eq!(challenges.http("token").as_deref(), Some("token.thumb"));
        assert_eq!(challenges.http("other"), None);
        let shown = challenges.tls("live.EXAMPLE.org").unwrap();
        assert!(Validity::of(&shown.cert[0]).unwrap().names.contains("live.example.org"));
        // RFC 8737 §3: the digest as an octet string, in the extension 1.3.6.1.5.5.7.1.31, critical.
        let oid = [6, 8, 43, 6, 1, 5, 5, 7, 1, 31, 1, 1, 0xff, 4, 34, 4, 32, 7, 7, 7];
        assert!(shown.cert[0].windows(oid.len()).any(|w| w == oid));
        assert!(challenges.tls("example.org").is_none());
        drop((one, two));
        assert!(challenges.http("token").is_none() && challenges.tls("live.example.org").is_none());
    }
}
