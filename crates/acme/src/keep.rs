//! What is kept in the data directory: `acme/AUTHORITY/account.json` and `certificate.pem`, the key and its chain in one
//! file, so that they are never of two minds. Only their owner may read them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::limits::KEPT_BYTES_MAX;
use crate::validity::Validity;

/// The folder in the data directory.
pub const FOLDER: &str = "acme";

const ACCOUNT: &str = "account.json";
const CERTIFICATE: &str = "certificate.pem";

/// Where what belongs to one authority is kept: an account of one is none of another, and a certificate for trials must
/// not be taken for a real one.
#[derive(Debug, Clone)]
pub struct Keep(PathBuf);

/// Copies what is kept in one data directory into another one: a backup.
pub fn copy(from: &Path, to: &Path) -> Result<(), KeepError> {
    let from = from.join(FOLDER);
    let wrong =
        |error: std::io::Error| KeepError { path: from.clone(), problem: error.to_string() };
    let authorities = match fs::read_dir(&from) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        read => read.map_err(wrong)?,
    };
    for authority in authorities {
        let authority = authority.map_err(wrong)?;
        let keep = Keep(to.join(FOLDER).join(authority.file_name()));
        for name in [ACCOUNT, CERTIFICATE] {
            if let Some(bytes) = read(&authority.path().join(name))? {
                keep.write(name, &bytes)?;
            }
        }
    }
    Ok(())
}

/// A certificate that can be served.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Chain and key.
    pub certified: Arc<CertifiedKey>,
    /// The chain, the certificate itself first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: Arc<PrivateKeyDer<'static>>,
    /// From when until when, for whom.
    pub validity: Validity,
}

/// Why something could not be kept, or read again.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct KeepError {
    path: PathBuf,
    problem: String,
}

impl Keep {
    /// In the data directory `data`, for the authority with this directory's URL.
    pub fn new(data: &Path, directory: &str) -> Self {
        let host = directory.split("//").nth(1).unwrap_or_default();
        let host: String = host
            .chars()
            .take_while(|c| *c != '/')
            .filter(|c| c.is_ascii_alphanumeric() || ".-".contains(*c))
            .take(100)
            .collect();
        let digest = Sha256::digest(directory.as_bytes());
        let short: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        Self(data.join(FOLDER).join(format!("{host}-{short}")))
    }

    /// The account, as it was kept.
    pub fn account(&self) -> Result<Option<Vec<u8>>, KeepError> {
        read(&self.0.join(ACCOUNT))
    }

    /// Keeps the account.
    pub fn keep_account(&self, json: &[u8]) -> Result<(), KeepError> {
        self.write(ACCOUNT, json)
    }

    /// The certificate, if there is one that can be read.
    pub fn certificate(&self) -> Result<Option<Kept>, KeepError> {
        let path = self.0.join(CERTIFICATE);
        let Some(pem) = read(&path)? else { return Ok(None) };
        Kept::read(&pem).map(Some).map_err(|problem| KeepError { path, problem })
    }

    /// Keeps a certificate in the place of the one before.
    pub fn keep_certificate(&self, key: &str, chain: &str) -> Result<Kept, KeepError> {
        let pem = format!("{}\n{}\n", key.trim_end(), chain.trim_end());
        // What could not be read again does not replace what can.
        let kept = Kept::read(pem.as_bytes());
        let kept = kept.map_err(|problem| KeepError { path: self.0.join(CERTIFICATE), problem })?;
        self.write(CERTIFICATE, pem.as_bytes())?;
        Ok(kept)
    }

    /// At once or not at all, also through a power cut.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), KeepError> {
        let (path, temporary) = (self.0.join(name), self.0.join(format!("{name}.tmp")));
        let write = || {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
            match fs::remove_file(&temporary) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let options =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary);
            let mut file = options?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.0)?.sync_all()
        };
        write().map_err(|error| KeepError { path: path.clone(), problem: error.to_string() })
    }
}

impl Kept {
    fn read(pem: &[u8]) -> Result<Self, String> {
        let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|_| "the chain is not PEM".to_owned())?;
        let first = chain.first().ok_or("there is no certificate in it")?;
        let validity = Validity::of(first).ok_or("the first certificate can't be read")?;
        let key = PrivateKeyDer::from_pem_slice(pem);
        let key = key.map_err(|_| "there is no private key in it".to_owned())?;
        let certified = CertifiedKey::from_der(chain.clone(), key.clone_key(), &default_provider());
        let certified = certified.map_err(|error| format!("key and certificate: {error}"))?;
        Ok(Self { certified: Arc::new(certified), chain, key: Arc::new(key), validity })
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, KeepError> {
    let wrong = |problem: String| KeepError { path: path.to_owned(), problem };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(error.to_string())),
    };
    let mut bytes = Vec::new();
    let read = file.take(KEPT_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| wrong(error.to_string()))?;
    if bytes.len() as u64 > KEPT_BYTES_MAX {
        return Err(wrong(format!("is larger than {} MiB", KEPT_BYTES_MAX >> 20)));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn pair(name: &str) -> (String, String) {
        let pair = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (pair.serialize_pem(), params.self_signed(&pair).unwrap().pem())
    }

    #[test]
    fn what_is_kept_is_read_again_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let keep = Keep::new(folder.path(), "https://acme.example:14000/dir/../ectory");
        assert!(keep.account().unwrap().is_none() && keep.certificate().unwrap().is_none());
        keep.keep_account(b"{}").unwrap();
        let ((key, chain), (other, _)) = (pair("a.example"), pair("b.example"));
        keep.keep_certificate(&key, &chain).unwrap();
        assert_eq!(keep.account().unwrap().unwrap(), b"{}");
        let names = |keep: &Keep| keep.certificate().unwrap().unwrap().validity.names;
        assert!(names(&keep).contains("a.example"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert!(keep.0.starts_with(folder.path().join(FOLDER)));
        assert!(keep.0.file_name().unwrap().to_str().unwrap().starts_with("acme.example14000-"));
        assert_eq!(mode(&keep.0), 0o700);
        for name in [ACCOUNT, CERTIFICATE] {
            assert_eq!(mode(&keep.0.join(name)), 0o600, "{name}");
        }
        // A write that a power cut ended before its time is written over, and wrong ones change nothing.
        fs::write(keep.0.join("certificate.pem.tmp"), "half").unwrap();
        assert!(keep.keep_certificate(&other, &chain).is_err());
        assert!(keep.keep_certificate(&key, "").is_err());
        assert!(names(&keep).contains("a.example"));
        let (key, chain) = pair("c.example");
        keep.keep_certificate(&key, &chain).unwrap();
        assert!(names(&keep).contains("c.example"));
        // A backup has them.
        let backup = tempfile::tempdir().unwrap();
        copy(folder.path(), backup.path()).unwrap();
        copy(&folder.path().join("nothing"), backup.path()).unwrap();
        let copied = Keep::new(backup.path(), "https://acme.example:14000/dir/../ectory");
        assert!(names(&copied).contains("c.example"));
        assert_eq!(copied.account().unwrap().unwrap(), b"{}");
        assert_eq!(mode(&copied.0.join(CERTIFICATE)), 0o600);
        // Another authority's are others.
        let other = Keep::new(folder.path(), "https://acme.example:14000/dir");
        assert!(other.account().unwrap().is_none() && other.certificate().unwrap().is_none());
    }

    #[test]
    fn what_can_not_be_read_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let keep = Keep::new(folder.path(), "https://acme.example/");
        keep.keep_account(b"{}").unwrap();
        fs::write(keep.0.join(CERTIFICATE), "nothing").unwrap();
        let words = keep.certificate().unwrap_err().to_string();
        assert!(words.ends_with("certificate.pem: there is no certificate in it"), "{words}");
        fs::write(keep.0.join(ACCOUNT), vec![b' '; KEPT_BYTES_MAX as usize + 1]).unwrap();
        assert!(keep.account().unwrap_err().to_string().contains("larger than 1 MiB"));
    }
}
