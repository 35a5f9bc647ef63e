//! Documents of other layers.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::document::{Document, DocumentKey};
use crate::error::{DocumentError, EngineError};
use crate::ids::{Expect, Rev, column};
use crate::limits::DOCUMENT_BYTES;

fn document(row: &Row<'_>) -> rusqlite::Result<Document> {
    Ok(Document {
        key: DocumentKey { kind: row.get(0)?, id: row.get(1)? },
        content: Bytes::from(row.get::<_, Vec<u8>>(2)?),
        rev: Rev(column::u64(row, 3)?),
    })
}

pub(crate) fn get(db: &Connection, key: &DocumentKey) -> Result<Option<Document>, EngineError> {
    Ok(db
        .prepare_cached("SELECT kind, id, content, rev FROM documents WHERE kind = ?1 AND id = ?2")?
        .query_row(params![key.kind, key.id], document)
        .optional()?)
}

pub(crate) fn list(
    db: &Connection,
    kind: &str,
    after: &str,
    rows: usize,
) -> Result<Vec<Document>, EngineError> {
    Ok(db
        .prepare_cached(
            "SELECT kind, id, content, rev FROM documents WHERE kind = ?1 AND id > ?2
             ORDER BY id LIMIT ?3",
        )?
        .query_map(params![kind, after, rows as i64], document)?
        .collect::<rusqlite::Result<_>>()?)
}

fn expected(found: Option<Rev>, expect: Expect) -> Result<Option<Rev>, DocumentError> {
    match (found, expect) {
        (Some(_), Expect::Absent) => Err(DocumentError::Exists),
        (None, Expect::Rev(_)) => Err(DocumentError::NotFound),
        (Some(current), Expect::Rev(rev)) if current != rev => {
            Err(DocumentError::Changed { current })
        }
        _ => Ok(found),
    }
}

/// Versions rise over deletion too: what is made again is not taken for what was there before.
pub(crate) fn put(
    db: &Connection,
    key: &DocumentKey,
    content: &[u8],
    expect: Expect,
) -> Result<Rev, DocumentError> {
    if content.len() > DOCUMENT_BYTES {
        return Err(DocumentError::TooLarge);
    }
    expected(get(db, key)?.map(|found| found.rev), expect)?;
    let rev = db
        .prepare_cached("UPDATE document_rev SET rev = rev + 1 RETURNING rev")?
        .query_row([], |row| column::u64(row, 0))?;
    db.prepare_cached("INSERT OR REPLACE INTO documents VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![key.kind, key.id, content, column::to(rev)])?;
    Ok(Rev(rev))
}

/// The next version of a document, made of the one that is there.
pub(crate) fn change<E: From<DocumentError>>(
    db: &Connection,
    key: &DocumentKey,
    change: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<Document, E> {
    let found = get(db, key).map_err(DocumentError::from)?.ok_or(DocumentError::NotFound)?;
    let content = Bytes::from(change(&found.content)?);
    let rev = put(db, key, &content, Expect::Any)?;
    Ok(Document { content, rev, ..found })
}

pub(crate) fn delete(
    db: &Connection,
    key: &DocumentKey,
    expect: Expect,
) -> Result<(), DocumentError> {
    let found = get(db, key)?.map(|found| found.rev).ok_or(DocumentError::NotFound)?;
    expected(Some(found), expect)?;
    db.prepare_cached("DELETE FROM documents WHERE kind = ?1 AND id = ?2")?
        .execute(params![key.kind, key.id])?;
    Ok(())
}
