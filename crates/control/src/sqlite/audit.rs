//! The audit log.

use rusqlite::{Connection, Row, named_params};

use crate::audit::{AuditEntry, AuditFilter};
use crate::error::EngineError;
use crate::ids::column;
use crate::limits::{
    AUDIT_AGE, AUDIT_COUNTED_EVERY, AUDIT_FIELDS, AUDIT_ROWS, AUDIT_TEXT_CHARS, LIST_ROWS,
};

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
    if id % AUDIT_COUNTED_EVERY == 0 {
        trim(db, AUDIT_ROWS)?;
    }
    let age = u64::try_from(AUDIT_AGE.as_millis()).unwrap_or(u64::MAX);
    db.prepare_cached("DELETE FROM audit WHERE at_ms < ?1")?
        .execute([column::to(entry.at_ms.saturating_sub(age))])?;
    Ok(u64::try_from(id).unwrap_or(0))
}

/// Keeps so many. The oldest go of who has most of them: nobody writes so much that what others did is forgotten.
fn trim(db: &Connection, rows: u64) -> Result<(), EngineError> {
    loop {
        let count = "SELECT count(*) FROM audit";
        let all = db.prepare_cached(count)?.query_row([], |row| column::u64(row, 0))?;
        let Some(excess) = all.checked_sub(rows).filter(|excess| *excess > 0) else {
            return Ok(());
        };
        let most = "SELECT actor FROM audit GROUP BY actor ORDER BY count(*) DESC LIMIT 1";
        let most: String = db.prepare_cached(most)?.query_row([], |row| row.get(0))?;
        db.prepare_cached(
            "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE actor = ?1 ORDER BY id LIMIT ?2)",
        )?
        .execute((most, column::to(excess)))?;
    }
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
    fn there_is_a_bound_and_the_oldest_go_of_who_has_most() {
        let mut db = Connection::open_in_memory().unwrap();
        super::super::schema::migrate(&mut db).unwrap();
        let one =
            |query: &str| -> u64 { db.query_row(query, [], |row| column::u64(row, 0)).unwrap() };
        let by = |actor: &str| AuditEntry { actor: actor.to_owned(), ..AuditEntry::default() };
        append(&db, &by("a")).unwrap();
        // As if somebody had written as much as there may be, and then goes on.
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
             INSERT INTO audit (at_ms, actor, actor_name, via, action, kind, resource, fields, status)
             SELECT 0, 'b', '', '', '', '', '', '[]', 200 FROM n",
            [column::to(AUDIT_ROWS)],
        )
        .unwrap();
        let mut newest = AUDIT_ROWS + 1;
        while !newest.is_multiple_of(AUDIT_COUNTED_EVERY.unsigned_abs()) {
            newest = append(&db, &by("b")).unwrap();
        }
        assert_eq!(one("SELECT count(*) FROM audit"), AUDIT_ROWS);
        assert_eq!(one("SELECT max(id) FROM audit"), newest);
        assert_eq!(one("SELECT id FROM audit WHERE actor = 'a'"), 1, "what another one did stays");
        assert_eq!(one("SELECT min(id) FROM audit WHERE actor = 'b'"), newest - AUDIT_ROWS + 2);
    }
}
