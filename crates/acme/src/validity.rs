//! From when until when a certificate is valid, and for which names.

use std::collections::BTreeSet;

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// What of a certificate matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validity {
    /// Milliseconds since 1970.
    pub not_before_ms: u64,
    /// Milliseconds since 1970; from then on nobody takes it.
    pub not_after_ms: u64,
    /// The names that it is for, in lower case.
    pub names: BTreeSet<String>,
}

impl Validity {
    /// Reads a certificate; none if it is none.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, read) = X509Certificate::from_der(certificate).ok()?;
        let ms = |seconds: i64| u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000);
        let names = read.subject_alternative_name().ok().flatten();
        let names = names.iter().flat_map(|names| &names.value.general_names);
        let names = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        Some(Self {
            not_before_ms: ms(read.validity().not_before.timestamp()),
            not_after_ms: ms(read.validity().not_after.timestamp()),
            names: names.collect(),
        })
    }

    /// Whether it is for all of these names.
    pub fn covers(&self, names: &[String]) -> bool {
        names.iter().all(|name| self.names.contains(name))
    }

    /// How long it is valid, from its first moment to its last.
    pub fn lifetime_ms(&self) -> u64 {
        self.not_after_ms.saturating_sub(self.not_before_ms)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn what_is_read_of_a_certificate() {
        let names = vec!["Live.example.org".to_owned(), "*.example.org".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2026, 11, 26);
        params.not_after = date_time_ymd(2027, 2, 24);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let read = Validity::of(made.der()).unwrap();
        assert_eq!((read.not_before_ms, read.lifetime_ms()), (1_795_651_200_000, 90 * 86_400_000));
        let covers = |names: &[&str]| {
            read.covers(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
        };
        assert!(covers(&["live.example.org"]) && covers(&["*.example.org", "live.example.org"]));
        assert!(!covers(&["live.example.org", "other.example.org"]));
        assert_eq!(Validity::of(&CertificateDer::from(vec![0x30, 3, 2, 1, 1])), None);
    }
}
