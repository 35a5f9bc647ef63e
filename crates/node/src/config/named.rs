//! Files that a configuration names: whether they can be used. What is wrong with them is wrong with the configuration,
//! at a start, at a reload and for `config check` alike.

use std::path::Path;

use access::Countries;
use client::trust::Trust;

use super::{ConfigError, Loaded};

impl Loaded {
    /// Itself, if the files that it names are what they should be; else all that is wrong with them. They are read as
    /// this process may read them.
    pub fn with_its_files(self) -> Result<Self, Vec<ConfigError>> {
        let config = &self.config;
        let mut errors = Vec::new();
        let mut add = |key: &str, problem: String| errors.push(self.error(key, problem));
        if let Err(error) = crate::tls::check(&config.tls) {
            add("tls.certificate", format!("{error:#}"));
        }
        let database = &config.access.country_database;
        if !database.is_empty()
            && let Err(error) = Countries::open(Path::new(database))
        {
            add("access.country_database", error.to_string());
        }
        let authority = &config.acme.authority;
        if !authority.is_empty()
            && let Err(error) = Trust::File(authority.into()).connector()
        {
            add("acme.authority", format!("{error:#}"));
        }
        if !config.moq.upstreams.is_empty()
            && let Err(error) = config.moq.upstream_trust.verifier()
        {
            add("moq.upstream_trust", format!("{error:#}"));
        }
        if errors.is_empty() { Ok(self) } else { Err(errors) }
    }
}
