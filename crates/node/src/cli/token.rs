//! `airwave token`: the token of a data directory, and those that may do less.

use std::collections::BTreeSet;
use std::process::ExitCode;

use access::ApiTokens;
use access::api_token::{ApiToken, TokenChangeError, Wanted};
use access::permission::{Policy, Resources, SCOPES, Scope};
use clap::{Args, Subcommand};
use control::{AuditEntry, InputUid, Secret, VideoUid};

use super::configured::Configured;
use super::state::State;
use super::{failed, misused, say, wrong};
use crate::files;
use crate::ingest::now_ms;
use crate::node;

const EXAMPLES: &str = "\
Examples:
  airwave token                                     of ./airwave-data
  TOKEN=$(airwave token --data /var/lib/airwave)    for curl -H \"Authorization: Bearer $TOKEN\"
  airwave token create --name shop --scope links:write --input UID --expires-days 365
  airwave token list
  airwave token revoke ID                           holds within a second";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(super) struct Token {
    #[command(flatten)]
    configured: Configured,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a token that may do less, and print it: it can't be read again
    Create(Create),
    /// List the tokens, without their values
    List(List),
    /// Take a token back; a server that runs refuses it within a second
    Revoke(Revoke),
}

#[derive(Debug, Args)]
struct Create {
    #[command(flatten)]
    configured: Configured,
    /// What it is called in lists and in the audit log
    #[arg(long)]
    name: String,
    /// What it may do, several times for more: stream:read, stream:write,
    /// inputs:read, inputs:write, videos:read, videos:write, links:write,
    /// keys:read, keys:write, tokens:read, tokens:write, audit:read, all
    #[arg(long, value_name = "SCOPE", required = true, verbatim_doc_comment)]
    scope: Vec<String>,
    /// Only this live input with its videos; several times for more
    #[arg(long, value_name = "UID")]
    input: Vec<String>,
    /// Only this video; several times for more
    #[arg(long, value_name = "UID")]
    video: Vec<String>,
    /// It ends after so many days
    #[arg(long, value_name = "DAYS")]
    expires_days: Option<u32>,
    /// Not before this time, such as 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    not_before: Option<String>,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    configured: Configured,
}

#[derive(Debug, Args)]
struct Revoke {
    #[command(flatten)]
    configured: Configured,
    /// Its id, as `airwave token list` shows it
    id: String,
}

impl Token {
    pub(super) fn run(&self) -> ExitCode {
        match &self.what {
            None => self.own(),
            Some(What::Create(create)) => create.run(),
            Some(What::List(list)) => list.run(),
            Some(What::Revoke(revoke)) => revoke.run(),
        }
    }

    fn own(&self) -> ExitCode {
        let config = match self.configured.load() {
            Ok(loaded) => loaded.config,
            Err(errors) => return wrong(&errors),
        };
        if let Some(token) = &config.api.token {
            return say(&format!("{}\n", token.expose()));
        }
        let path = config.data.dir.join(node::API_TOKEN);
        match std::fs::read(&path) {
            Ok(token) => match files::word(&token, &path) {
                Ok(token) => say(&format!("{token}\n")),
                Err(error) => failed(&format!("{error:#}")),
            },
            Err(error) => {
                let path = path.display();
                failed(&format!("can't read {path}: {error}\nThe first `airwave serve` makes it."))
            }
        }
    }
}

/// The tokens of a data directory.
struct Desk {
    state: State,
    tokens: ApiTokens,
}

fn open(configured: &Configured) -> Result<Desk, ExitCode> {
    let state = State::open(configured)?;
    let kept = || std::fs::read_to_string(state.dir.join(node::API_TOKEN)).unwrap_or_default();
    let root = state.api_token.clone().unwrap_or_else(|| Secret::new(kept().trim()));
    let tokens = ApiTokens::new(state.control.clone(), &root);
    Ok(Desk { state, tokens })
}

impl Desk {
    /// The same log as that of the API: who has the directory, from this machine.
    fn note(&self, action: &str, resource: &str, done: bool) {
        let entry = AuditEntry {
            at_ms: now_ms(),
            actor: access::Principal::ROOT.to_owned(),
            actor_name: "who has the data directory".to_owned(),
            via: "command line".to_owned(),
            action: action.to_owned(),
            kind: "tokens".to_owned(),
            resource: resource.to_owned(),
            status: if done { 200 } else { 400 },
            ..AuditEntry::default()
        };
        if let Err(error) = self.state.runtime.block_on(self.state.control.record_change(entry)) {
            tracing::error!(%error, "a change is missing in the audit log");
        }
    }
}

impl Create {
    fn run(&self) -> ExitCode {
        let wanted = match self.wanted() {
            Ok(wanted) => wanted,
            Err(words) => return misused(&words),
        };
        let desk = match open(&self.configured) {
            Ok(desk) => desk,
            Err(code) => return code,
        };
        let made =
            desk.state.runtime.block_on(desk.tokens.create(wanted, node::random(), now_ms()));
        let id = made.as_ref().map(|(token, _)| token.id.clone()).unwrap_or_default();
        desk.note("create", &id, made.is_ok());
        match made {
            Ok((_, value)) => say(&format!("{}\n", value.expose())),
            Err(error) => failed(&error.to_string()),
        }
    }

    fn wanted(&self) -> Result<Wanted, String> {
        let known = || SCOPES.iter().map(|scope| scope.name).collect::<Vec<_>>().join(", ");
        if let Some(unknown) = self.scope.iter().find(|name| Scope::find(name).is_none()) {
            return Err(format!("--scope {unknown}: there are {}", known()));
        }
        let uids = |list: &[String], good: fn(&str) -> bool, option: &str| {
            let wrong = list.iter().find(|uid| !good(uid));
            match wrong {
                Some(uid) => Err(format!("{option} {uid}: a uid has 32 lowercase hex characters")),
                None => Ok(list.iter().cloned().collect::<BTreeSet<_>>()),
            }
        };
        let inputs = uids(&self.input, |uid| InputUid::parse(uid).is_ok(), "--input")?;
        let videos = uids(&self.video, |uid| VideoUid::parse(uid).is_ok(), "--video")?;
        let resources = match inputs.is_empty() && videos.is_empty() {
            true => Resources::All,
            false => Resources::Only { inputs, videos },
        };
        let not_before_ms = match &self.not_before {
            None => None,
            Some(text) => Some(media::date::parse_date_time(text).ok_or_else(|| {
                format!("--not-before {text}: must be a time such as 2027-01-31T12:00:00Z")
            })?),
        };
        let days = |days: u32| now_ms() + u64::from(days) * 86_400_000;
        let policies = vec![Policy { allow: true, scopes: self.scope.clone(), resources }];
        let (name, expires_ms) = (self.name.clone(), self.expires_days.map(days));
        Ok(Wanted { name, not_before_ms, expires_ms, policies, ..Wanted::default() })
    }
}

impl List {
    fn run(&self) -> ExitCode {
        let desk = match open(&self.configured) {
            Ok(desk) => desk,
            Err(code) => return code,
        };
        match desk.state.runtime.block_on(desk.tokens.list()) {
            Ok(tokens) if tokens.is_empty() => say("no tokens but the one of the data directory\n"),
            Ok(tokens) => {
                say(&tokens.iter().map(|token| line(token, now_ms())).collect::<String>())
            }
            Err(error) => failed(&error.to_string()),
        }
    }
}

/// One token in one line: what a person and `cut` can read.
fn line(token: &ApiToken, now_ms: u64) -> String {
    let policy = |policy: &Policy| {
        let scopes = policy.scopes.join(" ");
        let sign = if policy.allow { "" } else { "not " };
        match &policy.resources {
            Resources::All => format!("{sign}{scopes}"),
            Resources::Only { inputs, videos } => {
                let uids: Vec<&str> = inputs.iter().chain(videos).map(String::as_str).collect();
                format!("{sign}{scopes} on {}", uids.join(" "))
            }
        }
    };
    let may: Vec<String> = token.policies.iter().map(policy).collect();
    let until = match token.expires_ms {
        Some(at) => format!("until {}", media::date::date_time(at)),
        None => "without end".to_owned(),
    };
    format!("{}  {}  {until}  {}: {}\n", token.id, token.status(now_ms), token.name, may.join("; "))
}

impl Revoke {
    fn run(&self) -> ExitCode {
        let desk = match open(&self.configured) {
            Ok(desk) => desk,
            Err(code) => return code,
        };
        let revoked = desk.state.runtime.block_on(desk.tokens.delete(&self.id));
        desk.note("delete", &self.id, revoked.is_ok());
        match revoked {
            Ok(()) => say(&format!("{} is revoked\n", self.id)),
            Err(TokenChangeError::NotFound) => {
                failed("there is no such token: `airwave token list` shows their ids")
            }
            Err(error) => failed(&error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_line() {
        let json = r#"{"name":"shop","hash":"","disabled":false,"created_ms":0,"modified_ms":0,
            "not_before_ms":null,"expires_ms":1795700000000,"from":[],"not_from":[],"policies":[
            {"allow":true,"scopes":["links:write","videos:read"],"resources":"all"},
            {"allow":false,"scopes":["videos:read"],"resources":{"only":{"inputs":["a"],"videos":["b"]}}}]}"#;
        let mut token: ApiToken = serde_json::from_str(json).unwrap();
        token.id = "id".to_owned();
        assert_eq!(
            line(&token, 0),
            "id  active  until 2026-11-26T13:33:20.000Z  shop: links:write videos:read; not videos:read on a b\n"
        );
    }
}
