//! `airwave audit`: who changed what.

use std::process::ExitCode;

use clap::Args;
use control::{AuditEntry, AuditFilter};
use media::date::date_time;

use super::configured::Configured;
use super::state::State;
use super::{failed, say};

const EXAMPLES: &str = "\
Examples:
  airwave audit                           the last 50 changes, the newest first
  airwave audit --last 1000 --by root     those of the token of the data directory
  airwave audit --action delete";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Audit {
    #[command(flatten)]
    configured: Configured,
    /// How many, at most 1000
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    last: u64,
    /// Of this token only: its id, as `airwave token list` shows it
    #[arg(long, value_name = "ID")]
    by: Option<String>,
    /// Only this action: create, update, delete, sign_in, ...
    #[arg(long)]
    action: Option<String>,
}

impl Audit {
    pub(super) fn run(&self) -> ExitCode {
        let state = match State::open(&self.configured) {
            Ok(state) => state,
            Err(code) => return code,
        };
        let (actor, action) = (self.by.clone(), self.action.clone());
        let filter = AuditFilter { actor, action, ..AuditFilter::default() };
        let found = state.runtime.block_on(state.control.changes(filter, true, 0, self.last));
        match found {
            Ok((entries, _)) if entries.is_empty() => say("nothing was changed\n"),
            Ok((entries, _)) => say(&entries.iter().map(line).collect::<String>()),
            Err(error) => failed(&error.to_string()),
        }
    }
}

/// One entry in one line. Names are what owners typed: nothing of them steers a terminal.
fn line(entry: &AuditEntry) -> String {
    let plain = |text: &str| text.replace(char::is_control, "?");
    let from = entry.address.as_deref().unwrap_or("this machine");
    let what = match entry.resource.as_str() {
        "" => entry.kind.clone(),
        id => format!("{} {id}", entry.kind),
    };
    let fields = match entry.fields.as_slice() {
        [] => String::new(),
        fields => format!(" ({})", fields.join(", ")),
    };
    let outcome = if entry.status < 400 { "" } else { " REFUSED" };
    plain(&format!(
        "{}  {} \"{}\" from {from} by {}: {} {what}{fields}{outcome}",
        date_time(entry.at_ms),
        entry.actor,
        entry.actor_name,
        entry.via,
        entry.action,
    )) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_line() {
        let entry = AuditEntry {
            actor: "root".to_owned(),
            actor_name: "the\u{1b}[31m token\n".to_owned(),
            via: "api".to_owned(),
            address: Some("192.0.2.1".to_owned()),
            action: "update".to_owned(),
            kind: "live_inputs".to_owned(),
            resource: "r".to_owned(),
            fields: vec!["enabled".to_owned(), "meta".to_owned()],
            status: 403,
            ..AuditEntry::default()
        };
        assert_eq!(
            line(&entry),
            "1970-01-01T00:00:00.000Z  root \"the?[31m token?\" from 192.0.2.1 by api: update live_inputs r \
             (enabled, meta) REFUSED\n"
        );
    }
}
