//! The encoder program: where it is, and whether it is one that this server can speak to.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::limits::{VERSION_DEADLINE, WORDS_BYTES_MAX};
use crate::wire;

/// An encoder program that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    /// What it says of itself.
    pub words: String,
}

/// Why there is no encoder; levels are not offered then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// There is no such file.
    #[error("there is no {}", .0.display())]
    Missing(PathBuf),
    /// It can't be started.
    #[error("{} can't be started: {words}", path.display())]
    NotStarted {
        /// The program.
        path: PathBuf,
        /// What the system says.
        words: String,
    },
    /// It gives no answer, or none of an encoder.
    #[error("{} is no encoder for this server: {words}", path.display())]
    Strange {
        /// The program.
        path: PathBuf,
        /// What it said.
        words: String,
    },
}

impl Program {
    /// Asks the program at `path` what it is.
    pub async fn ask(path: &Path) -> Result<Self, Unavailable> {
        if !path.is_file() {
            return Err(Unavailable::Missing(path.to_owned()));
        }
        let strange = |words| Unavailable::Strange { path: path.to_owned(), words };
        let mut command = Command::new(path);
        command.arg("--version").env_clear().kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = tokio::time::timeout(VERSION_DEADLINE, command.output()).await;
        let output = match output {
            Err(_) => return Err(strange("it does not answer".to_owned())),
            Ok(Err(error)) => {
                let (path, words) = (path.to_owned(), error.to_string());
                return Err(Unavailable::NotStarted { path, words });
            }
            Ok(Ok(output)) => output,
        };
        let said = if output.status.success() { &output.stdout } else { &output.stderr };
        let said = said.get(..said.len().min(WORDS_BYTES_MAX)).unwrap_or_default();
        let words = String::from_utf8_lossy(said).trim().to_owned();
        let wire = format!("wire {} ", wire::VERSION);
        let ours = output.status.success() && words.starts_with("airwave-encode ");
        if !ours || !words.contains(&wire) {
            return Err(strange(words));
        }
        Ok(Self { path: path.to_owned(), words })
    }

    /// Whether FFmpeg there has an encoder of this name.
    pub fn has_encoder(&self, name: &str) -> bool {
        let listed = self.words.split("encoders ").nth(1).unwrap_or_default();
        listed.split(',').any(|known| known.trim() == name)
    }
}
