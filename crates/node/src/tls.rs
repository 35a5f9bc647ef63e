//! Certificates: by files, else a self-signed one that is kept in the data directory.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rcgen::{CertificateParams, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::Tls;
use crate::files;

const CERTIFICATE: &str = "self-signed.pem";
const KEY: &str = "self-signed.key";

/// What HTTPS and RTMPS greet their peers with.
pub(crate) struct Acceptors {
    /// HTTP/2 and HTTP/1.1.
    pub(crate) https: TlsAcceptor,
    /// No protocol is negotiated.
    pub(crate) rtmps: TlsAcceptor,
}

/// Loads the certificate of the configuration, or makes one for `host` and this machine.
pub(crate) fn acceptors(tls: &Tls, dir: &Path, host: &str) -> Result<Acceptors> {
    let files = match (tls.certificate.as_str(), tls.key.as_str()) {
        ("", "") => self_signed(dir, host)?,
        ("", _) | (_, "") => bail!("tls.certificate and tls.key belong together: set both or none"),
        (certificate, key) => (read(Path::new(certificate))?, read(Path::new(key))?),
    };
    Ok(Acceptors { https: acceptor(&files, &[b"h2", b"http/1.1"])?, rtmps: acceptor(&files, &[])? })
}

fn acceptor((certificate, key): &(Vec<u8>, Vec<u8>), protocols: &[&[u8]]) -> Result<TlsAcceptor> {
    let chain = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<Vec<_>, _>>()
        .context("the certificate is not PEM")?;
    if chain.is_empty() {
        bail!("there is no certificate in the certificate's file");
    }
    let key = PrivateKeyDer::from_pem_slice(key).context("the key is not a PEM private key")?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the certificate and the key do not belong together")?;
    config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
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
