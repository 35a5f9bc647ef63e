//! The state of a data directory for commands that work on it beside a server.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use control::{Control, Secret};

use super::configured::Configured;
use super::{failed, wrong};
use crate::node;

/// A server may be using the same database at the same time: SQLite keeps the two apart, and the server looks at what
/// others may change again twice a second.
pub(super) struct State {
    pub(super) dir: PathBuf,
    /// That of the configuration, if it has one.
    pub(super) api_token: Option<Secret>,
    pub(super) control: Arc<Control>,
    pub(super) runtime: tokio::runtime::Runtime,
}

impl State {
    /// Opens it, or says why not.
    pub(super) fn open(configured: &Configured) -> Result<Self, ExitCode> {
        let config = configured.load().map_err(|errors| wrong(&errors))?.config;
        let (dir, api_token) = (config.data.dir, config.api.token);
        // Nothing is made here: a directory that nobody has served is a mistyped one.
        if !dir.join(node::DATABASE).exists() {
            let dir = dir.display();
            let words = format!("{dir} is no data directory: the first `airwave serve` makes it");
            return Err(failed(&words));
        }
        let control = node::open_control(&dir).map_err(|error| failed(&format!("{error:#}")))?;
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.map_err(|error| failed(&format!("can't start: {error}")))?;
        Ok(Self { dir, api_token, control: Arc::new(control), runtime })
    }
}
