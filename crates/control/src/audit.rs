//! The audit log: who changed what, from where, when, and what became of it. Never a secret.

use crate::control::Control;
use crate::error::EngineError;
use crate::sqlite::audit;

/// One change, or the attempt. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditEntry {
    /// Its number; given when it is written.
    pub id: u64,
    /// When.
    pub at_ms: u64,
    /// Who: the id of a token.
    pub actor: String,
    /// What that one is called.
    pub actor_name: String,
    /// By what means: a token, a session of the pages, the command line, the configuration file.
    pub via: String,
    /// From where; none if it was this machine's own doing.
    pub address: Option<String>,
    /// What was done: create, update, delete...
    pub action: String,
    /// What kind of thing, as routes name it.
    pub kind: String,
    /// Which one; empty if there is none.
    pub resource: String,
    /// The names of the fields that were sent; never their values.
    pub fields: Vec<String>,
    /// What became of it: a status of HTTP.
    pub status: u16,
}

/// Which entries are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditFilter {
    /// This one.
    pub id: Option<u64>,
    /// Not before.
    pub since_ms: Option<u64>,
    /// Before.
    pub before_ms: Option<u64>,
    /// Of this actor.
    pub actor: Option<String>,
    /// From this address.
    pub address: Option<String>,
    /// This action.
    pub action: Option<String>,
}

impl Control {
    /// Writes an entry; the oldest ones go when there are more than
    /// [`AUDIT_ROWS`](crate::limits::AUDIT_ROWS), or when they are too old.
    pub async fn record_change(&self, entry: AuditEntry) -> Result<u64, EngineError> {
        self.engine.write(move |db| audit::append(db, &entry)).await
    }

    /// Entries, and how many there are of this kind; at most [`LIST_ROWS`](crate::limits::LIST_ROWS) at a time.
    pub async fn changes(
        &self,
        filter: AuditFilter,
        newest_first: bool,
        skip: u64,
        rows: u64,
    ) -> Result<(Vec<AuditEntry>, u64), EngineError> {
        self.engine.read(move |db| audit::list(db, &filter, newest_first, skip, rows)).await
    }
}
