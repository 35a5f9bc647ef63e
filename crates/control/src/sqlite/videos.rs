//! Videos: their documents and what an id names.

use rusqlite::{Connection, OptionalExtension, Row};

use crate::error::EngineError;
use crate::ids::{InputUid, Rev, VideoUid, column};
use crate::ownership::{End, Resolved};
use crate::video::Video;

const COLUMNS: &str = "uid, input, created_ms, modified_ms, rev, ended_ms, ended_why, delete_ms,
    segments, first_number, last_number, duration_ms, bytes, document, ordinal";

fn video(row: &Row<'_>) -> rusqlite::Result<Video> {
    let document: String = row.get(13)?;
    let settings = serde_json::from_str(&document).map_err(|e| {
        rusqlite::Error::FromSqlConversionFailure(13, rusqlite::types::Type::Text, e.into())
    })?;
    let why: Option<i64> = row.get(6)?;
    // A reason that a newer program of this format knows is still an end.
    let why = why.map(|why| End::from_column(why).unwrap_or(End::SourceLost));
    Ok(Video {
        uid: row.get(0)?,
        input: row.get(1)?,
        created_ms: column::u64(row, 2)?,
        modified_ms: column::u64(row, 3)?,
        rev: Rev(column::u64(row, 4)?),
        ended: column::optional(row, 5)?.zip(why),
        delete_ms: column::optional(row, 7)?,
        segments: column::u64(row, 8)?,
        numbers: column::optional(row, 9)?.zip(column::optional(row, 10)?),
        duration_ms: column::u64(row, 11)?,
        bytes: column::u64(row, 12)?,
        settings,
    })
}

pub(crate) fn get(db: &Connection, uid: &VideoUid) -> Result<Option<Video>, EngineError> {
    let sql = format!("SELECT {COLUMNS} FROM videos WHERE uid = ?1");
    Ok(db.prepare_cached(&sql)?.query_row([uid], video).optional()?)
}

/// The broadcast on the air, else the newest one.
pub(crate) fn newest_of(db: &Connection, input: &InputUid) -> Result<Option<Video>, EngineError> {
    let sql =
        format!("SELECT {COLUMNS} FROM videos WHERE input = ?1 ORDER BY ordinal DESC LIMIT 1");
    Ok(db.prepare_cached(&sql)?.query_row([input], video).optional()?)
}

pub(crate) fn resolve(db: &Connection, id: &str) -> Result<Option<Resolved>, EngineError> {
    let found = db
        .prepare_cached("SELECT uid, input, ended_ms IS NULL FROM videos WHERE uid = ?1")?
        .query_row([id], |row| {
            Ok(Resolved::Video { uid: row.get(0)?, input: row.get(1)?, live: row.get(2)? })
        })
        .optional()?;
    if found.is_some() {
        return Ok(found);
    }
    Ok(db
        .prepare_cached("SELECT uid FROM inputs WHERE uid = ?1")?
        .query_row([id], |row| Ok(Resolved::Input(row.get(0)?)))
        .optional()?)
}
