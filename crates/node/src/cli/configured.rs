//! The options that every command with a configuration has.

use std::path::PathBuf;

use clap::Args;

use crate::config::{ConfigError, Layer, Loaded, load};

#[derive(Debug, Args)]
pub(super) struct Configured {
    /// The configuration, a TOML file; `airwave config init` writes a sample
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data directory; the same as --set data.dir=DIR
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// HTTPS with a real certificate, for this name of the server; may be repeated
    #[arg(long, value_name = "NAME")]
    domain: Vec<String>,
    /// One key of the configuration, as in --set http.listen=127.0.0.1:8080
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

impl Configured {
    /// Reads all places anew.
    pub(super) fn load(&self) -> Result<Loaded, Vec<ConfigError>> {
        let mut layers = Vec::new();
        let mut errors = Vec::new();
        let mut add = |layer: Result<Layer, ConfigError>| match layer {
            Ok(layer) => layers.push(layer),
            Err(error) => errors.push(error),
        };
        if let Some(path) = &self.config {
            let name = path.display().to_string();
            match std::fs::read_to_string(path) {
                Ok(text) => add(Layer::text(&name, &text)),
                Err(error) => add(Err(ConfigError {
                    key: String::new(),
                    problem: format!("can't read the file: {error}"),
                    from: name,
                })),
            }
        }
        for layer in Layer::environment(std::env::vars_os()) {
            add(layer);
        }
        if let Some(dir) = &self.data {
            add(Layer::data_dir(dir));
        }
        if !self.domain.is_empty() {
            add(Ok(Layer::domains(&self.domain)));
        }
        for setting in &self.set {
            add(Layer::setting(setting));
        }
        match load(&layers) {
            Ok(loaded) if errors.is_empty() => Ok(loaded),
            Ok(_) => Err(errors),
            Err(more) => Err(errors.into_iter().chain(more).collect()),
        }
    }
}
