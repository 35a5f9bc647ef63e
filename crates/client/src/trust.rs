//! Whom a client trusts over TLS.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use io_moq::transport::fingerprint;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// Whom to trust.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// The authorities that this machine trusts.
    #[default]
    System,
    /// These certificates, and the authorities that this machine trusts: a PEM file with a server's self-signed
    /// certificate, or with a private authority's.
    File(PathBuf),
    /// The one whose certificate has this SHA-256, and nobody else.
    Fingerprint([u8; 32]),
    /// Anybody. What is sent can be read by who sits in between.
    Anybody,
}

/// Why there is nobody to trust.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file.
    #[error("can't read {}: {problem}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// In words.
        problem: String,
    },
    /// The library.
    #[error("TLS: {0}")]
    Tls(#[from] Error),
}

impl Trust {
    /// What connections over TLS are made with.
    pub fn connector(&self) -> Result<TlsConnector, TrustError> {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .dangerous();
        let config =
            builder.with_custom_certificate_verifier(self.verifier()?).with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }

    /// The certificates of its file, as they are now; none, if it has no file.
    pub fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TrustError> {
        match self {
            Self::File(path) => certificates(path),
            Self::System | Self::Fingerprint(_) | Self::Anybody => Ok(Vec::new()),
        }
    }

    /// What looks at a server's certificate.
    pub fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, TrustError> {
        let provider = Arc::new(default_provider());
        Ok(match self {
            Self::Anybody => Arc::new(Unchecked { fingerprint: None, provider }),
            Self::Fingerprint(hash) => Arc::new(Unchecked { fingerprint: Some(*hash), provider }),
            Self::System => Arc::new(Pinned::new(Vec::new(), &provider)?),
            Self::File(path) => Arc::new(Pinned::new(certificates(path)?, &provider)?),
        })
    }
}

/// Reads a SHA-256 in hexadecimal digits, with or without colons.
pub fn parse_fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    let mut hash = [0; 32];
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    for (i, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(hash)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let wrong = |problem: String| TrustError::File { path: path.to_owned(), problem };
    let text = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|e| wrong(e.to_string()))?;
    if found.is_empty() {
        return Err(wrong("there is no certificate in it (PEM)".to_owned()));
    }
    Ok(found)
}

/// The machine's authorities and those of a file. A certificate that stands in the file itself is trusted as it is: a
/// self-signed one is no authority, and its names need not match.
#[derive(Debug)]
struct Pinned {
    pinned: Vec<CertificateDer<'static>>,
    /// None where there is no authority at all.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    fn new(
        pinned: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots.add_parsable_certificates(pinned.iter().cloned());
        let authorities = match roots.is_empty() {
            true => None,
            false => {
                let builder =
                    WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone());
                Some(builder.build().map_err(|e| Error::General(e.to_string()))?)
            }
        };
        Ok(Self { pinned, authorities, provider: provider.clone() })
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.pinned.iter().any(|pinned| pinned == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.authorities {
            Some(authorities) => authorities.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
            None => Err(Error::General("this machine knows no certificate authorities".to_owned())),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Takes any certificate, or the one with this SHA-256. The peer still proves that it has the key of the one it shows.
#[derive(Debug)]
struct Unchecked {
    fingerprint: Option<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.fingerprint {
            Some(wanted) if fingerprint(end_entity) != wanted => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_as_tools_write_them() {
        let plain = "00ff".repeat(16);
        let colons = plain.as_bytes().chunks(2).map(|b| std::str::from_utf8(b).unwrap());
        let colons = colons.collect::<Vec<_>>().join(":").to_uppercase();
        let hash: [u8; 32] = std::array::from_fn(|i| if i % 2 == 0 { 0 } else { 0xff });
        for (text, expect) in [
            (plain.as_str(), Some(hash)),
            (&colons, Some(hash)),
            (&plain[2..], None),
            (&plain.replace('f', "g"), None),
            (&plain.replace("ff", "é"), None),
            ("", None),
        ] {
            assert_eq!(parse_fingerprint(text), expect, "{text}");
        }
    }
}
