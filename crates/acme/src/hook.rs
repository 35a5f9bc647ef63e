//! The operator's program that puts proofs into the DNS (RFC 8555 §8.4).
//!
//! It is run without a shell, with its own fixed arguments and then three of ours: `add` or `remove`, the record's name
//! and its value. When it ends with 0 after `add`, the record can be seen from everywhere: waiting for that is its
//! business. Two records may be wanted under one name, for `example.org` and for `*.example.org`, so it adds and does
//! not replace.

use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;

use crate::limits::{HOOK_SAYS_BYTES_MAX, HOOK_TIMEOUT};

/// The program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook(Vec<String>);

/// A record of type TXT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Such as `_acme-challenge.live.example.org`.
    pub name: String,
    /// The digest as text.
    pub value: String,
}

/// Why there is no record.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// It does not start.
    #[error("can't run {program}: {error}")]
    Start {
        /// The program.
        program: String,
        /// The system's words.
        error: std::io::Error,
    },
    /// It said no.
    #[error("{program} {action} {name}: {status}{said}")]
    Failed {
        /// The program.
        program: String,
        /// `add` or `remove`.
        action: &'static str,
        /// The record.
        name: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// Its last line.
        said: String,
    },
    /// It did not end.
    #[error("{program} {action} {name} took longer than {} minutes", HOOK_TIMEOUT.as_secs() / 60)]
    TimedOut {
        /// The program.
        program: String,
        /// `add` or `remove`.
        action: &'static str,
        /// The record.
        name: String,
    },
}

impl Record {
    /// The record that proves a name; a wildcard is proved under the name that it stands under.
    pub fn of(name: &str, value: String) -> Self {
        let name = name.strip_prefix("*.").unwrap_or(name);
        Self { name: format!("_acme-challenge.{name}"), value }
    }
}

impl Hook {
    /// None if there is no program.
    pub fn new(command: &[String]) -> Option<Self> {
        (!command.is_empty()).then(|| Self(command.to_vec()))
    }

    /// Publishes a record; it can be seen when this returns.
    pub async fn add(&self, record: &Record) -> Result<(), HookError> {
        self.run("add", record).await
    }

    /// Takes a record away.
    pub async fn remove(&self, record: &Record) -> Result<(), HookError> {
        self.run("remove", record).await
    }

    async fn run(&self, action: &'static str, record: &Record) -> Result<(), HookError> {
        let (program, fixed) = self.0.split_first().map_or(("", &[][..]), |(p, f)| (p, f));
        let mut command = Command::new(program);
        command.args(fixed).args([action, &record.name, &record.value]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let program = program.to_owned();
        let started = command.kill_on_drop(true).spawn();
        let mut child =
            started.map_err(|error| HookError::Start { program: program.clone(), error })?;
        let says = child.stderr.take();
        let (name, ran) = (record.name.clone(), async {
            let said = match says {
                Some(says) => last_line(says).await,
                None => String::new(),
            };
            (child.wait().await, said)
        });
        match timeout(HOOK_TIMEOUT, ran).await {
            Ok((Ok(status), _)) if status.success() => Ok(()),
            Ok((Ok(status), said)) => {
                Err(HookError::Failed { program, action, name, status, said })
            }
            Ok((Err(error), _)) => Err(HookError::Start { program, error }),
            Err(_) => Err(HookError::TimedOut { program, action, name }),
        }
    }
}

/// Reads all, so that the program does not wait for us, and keeps the end of it.
async fn last_line(mut says: impl AsyncRead + Unpin) -> String {
    let (mut kept, mut buffer) = (Vec::new(), [0; 1_024]);
    while let Ok(n @ 1..) = says.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..n]);
        let beyond = kept.len().saturating_sub(HOOK_SAYS_BYTES_MAX);
        kept.drain(..beyond);
    }
    let text = String::from_utf8_lossy(&kept);
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    line.map(|line| format!(": {}", line.trim().escape_debug())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(script: &str) -> Hook {
        let command = ["sh", "-c", script, "hook", "fixed"].map(str::to_owned);
        Hook::new(&command).unwrap()
    }

    #[tokio::test]
    async fn it_is_told_what_to_do_and_asked_how_it_went() {
        let folder = tempfile::tempdir().unwrap();
        let told = folder.path().join("told");
        let writes = hook(&format!("echo \"$@\" >> {}", told.display()));
        let record = Record::of("*.example.org", "va lue;$(x)".to_owned());
        writes.add(&record).await.unwrap();
        writes.remove(&record).await.unwrap();
        let lines = std::fs::read_to_string(told).unwrap();
        let line =
            |action: &str| format!("fixed {action} _acme-challenge.example.org va lue;$(x)\n");
        assert_eq!(lines, line("add") + &line("remove"));

        let error = hook("echo early >&2; echo 'no zone' >&2; echo >&2; exit 3").add(&record).await;
        let words = error.unwrap_err().to_string();
        assert_eq!(words, "sh add _acme-challenge.example.org: exit status: 3: no zone");
        let missing = Hook::new(&["/nowhere/hook".to_owned()]).unwrap().add(&record).await;
        assert!(missing.unwrap_err().to_string().starts_with("can't run /nowhere/hook: "));
        assert_eq!(Hook::new(&[]), None);
    }

    #[tokio::test]
    async fn what_it_says_is_bounded() {
        let noisy = "i=0; while [ $i -lt 2000 ]; do echo 0123456789 >&2; i=$((i+1)); done; exit 1";
        let error = hook(noisy).add(&Record::of("a", String::new())).await.unwrap_err();
        assert!(error.to_string().ends_with(": 0123456789"), "{error}");
    }
}
