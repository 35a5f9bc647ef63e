//! The audit log.

use rusqlite::{Connection, Row, named_params};

use crate::audit::{AuditEntry, AuditFilter};
use crate::error::EngineError;
use crate::ids::column;
use crate::limits::{AUDIT_AGE, AUDIT_FIELDS, AUDIT_ROWS, AUDIT_TEXT_CHARS, LIST_ROWS};

pub(crate) fn append(db: &Connection, entry: &AuditEntry) -> Result<u64, EngineError> {
    let short = |text: &str| text.chars().take(AUDIT_TEXT_CHARS).collect::<String>();
    let fields: Vec<String> = entry.fields.iter().take(AUDIT_FIELDS).map(|f| short(f)).collect();
    let fields = serde_json::to_string(&fields).unwrap_or_default();
    db.prepare_cached(
        "INSERT INTO audit (at_ms, actor, actor_name, via, address, action, kind, resource, fields, status)
         VALUES (:at, :actor, :name, :via, :address, :action, :kind, :resource, :fields, :status)",
    )?
    .execute(named_params! {
        ":at": column::to(entry.at_ms),
        ":actor": short(&entry.actor),
        ":name": short(&entry.actor_name),
        ":via": short(&entry.via),
        ":address": entry.address.as_deref().map(short),
        ":action": short(&entry.action),
        ":kind": short(&entry.kind),
        ":resource": short(&entry.resource),
        ":fields": fields,
        ":status": entry.status,
    })?;
    let id = db.last_insert_rowid();
    // Numbers rise by one and are never used again, so what is too much is known without counting.
    db.prepare_cached("DELETE FROM audit WHERE id <= ?1")?
        .execute([id - column::to(AUDIT_ROWS)])?;
    let age = u64::try_from(AUDIT_AGE.as_millis()).unwrap_or(u64::MAX);
    db.prepare_cached("DELETE FROM audit WHERE at_ms < ?1")?
        .execute([column::to(entry.at_ms.saturating_sub(age))])?;
    Ok(u64::try_from(id).unwrap_or(0))
}

const WHERE: &str = "(:id IS NULL OR id = :id) AND (:since IS NULL OR at_ms >= :since)
    AND (:before IS NULL OR at_ms < :before) AND (:actor IS NULL OR actor = :actor)
    AND (:address IS NULL OR address = :address) AND (:action IS NULL OR action = :action)";

pub(crate) fn list(
    db: &Connection,
    filter: &AuditFilter,
    newest_first: bool,
    skip: u64,
    rows: u64,
) -> Result<(Vec<AuditEntry>, u64), EngineError> {
    let (id, since) = (filter.id.map(column::to), filter.since_ms.map(column::to));
    let before = filter.before_ms.map(column::to);
    let AuditFilter { actor, address, action, .. } = filter;
    let total =
        db.prepare_cached(&format!("SELECT count(*) FROM audit WHERE {WHERE}"))?.query_row(
            named_params! { ":id": id, ":since": since, ":before": before, ":actor": actor,
            ":address": address, ":action": action },
            |row| column::u64(row, 0),
        )?;
    let order = if newest_first { "DESC" } else { "ASC" };
    let sql =
        format!("SELECT * FROM audit WHERE {WHERE} ORDER BY id {order} LIMIT :rows OFFSET :skip");
    let rows = rows.min(LIST_ROWS as u64);
    let entries = db
        .prepare_cached(&sql)?
        .query_map(
            named_params! { ":id": id, ":since": since, ":before": before, ":actor": actor,
                ":address": address, ":action": action, ":rows": column::to(rows), ":skip": column::to(skip) },
            entry,
        )?
        .collect::<rusqlite::Result<_>>()?;
    Ok((entries, total))
}

fn entry(row: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    let fields: String = row.get("fields")?;
    Ok(AuditEntry {
        id: column::u64(row, 0)?,
        at_ms: column::u64(row, 1)?,
        actor: row.get("actor")?,
        actor_name: row.get("actor_name")?,
        via: row.get("via")?,
        address: row.get("address")?,
        action: row.get("action")?,
        kind: row.get("kind")?,
        resource: row.get("resource")?,
        fields: serde_json::from_str(&fields).unwrap_or_default(),
        status: row.get("status")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_bound_and_the_oldest_go() {
        let mut db = Connection::open_in_memory().unwrap();
        super::super::schema::migrate(&mut db).unwrap();
        let count = |db: &Connection| -> u64 {
            db.query_row("SELECT count(*) FROM audit", [], |row| column::u64(row, 0)).unwrap()
        };
        append(&db, &AuditEntry::default()).unwrap();
        append(&db, &AuditEntry::default()).unwrap();
        // As if there had been as many as there may be.
        db.execute("UPDATE audit SET id = ?1 WHERE id = 2", [column::to(AUDIT_ROWS)]).unwrap();
        db.execute(
            "UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'audit'",
            [column::to(AUDIT_ROWS)],
        )
        .unwrap();
        assert_eq!(append(&db, &AuditEntry::default()).unwrap(), AUDIT_ROWS + 1);
        assert_eq!(count(&db), 2, "the first one went");
    }
}
