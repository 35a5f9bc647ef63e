//! `airwave token`

use std::process::ExitCode;

use clap::Args;

use super::configured::Configured;
use super::{failed, say, wrong};

const EXAMPLES: &str = "\
Examples:
  airwave token                                     of ./airwave-data
  TOKEN=$(airwave token --data /var/lib/airwave)    for curl -H \"Authorization: Bearer $TOKEN\"";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Token {
    #[command(flatten)]
    configured: Configured,
}

impl Token {
    pub(super) fn run(&self) -> ExitCode {
        let config = match self.configured.load() {
            Ok(loaded) => loaded.config,
            Err(errors) => return wrong(&errors),
        };
        let path = config.data.dir.join(crate::node::API_TOKEN);
        match std::fs::read_to_string(&path) {
            Ok(token) => say(&format!("{}\n", token.trim())),
            Err(error) => {
                let path = path.display();
                failed(&format!("can't read {path}: {error}\nThe first `airwave serve` makes it."))
            }
        }
    }
}
