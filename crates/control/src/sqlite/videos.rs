//! Videos: their documents and what an id names.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::inputs::{document, from, one, order, paged};
use super::names::{self, Names};
use crate::error::{CommitError, DocumentError, EngineError};
use crate::ids::{Expect, InputUid, Rev, VideoUid, column};
use crate::index::Usage;
use crate::input::{List, Page};
use crate::limits::{CATALOG_BYTES, LIST_ROWS};
use crate::ownership::{End, Resolved};
use crate::record::SegmentRecord;
use crate::video::{NewClip, Video, VideoChange, VideoFilter};

const COLUMNS: &str = "uid, input, created_ms, modified_ms, rev, ended_ms, ended_why, delete_ms,
    segments, first_number, last_number, duration_ms, bytes, document, ordinal, clip";

fn video(row: &Row<'_>) -> rusqlite::Result<Video> {
    let wrong = |column: usize, e: serde_json::Error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, e.into())
    };
    let document: String = row.get(13)?;
    let settings = serde_json::from_str(&document).map_err(|e| wrong(13, e))?;
    let clip: Option<String> = row.get(15)?;
    let clip =
        clip.map(|text| serde_json::from_str(&text).map_err(|e| wrong(15, e))).transpose()?;
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
        clip,
        settings,
    })
}

pub(crate) fn get(db: &Connection, uid: &VideoUid) -> Result<Option<Video>, EngineError> {
    let sql = format!("SELECT {COLUMNS} FROM videos WHERE uid = ?1");
    Ok(db.prepare_cached(&sql)?.query_row([uid], video).optional()?)
}

/// The broadcast on the air, else the newest one; a clip is none.
pub(crate) fn newest_of(db: &Connection, input: &InputUid) -> Result<Option<Video>, EngineError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM videos WHERE input = ?1 AND clip IS NULL ORDER BY ordinal DESC LIMIT 1"
    );
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

/// The tables and conditions of a filter, in SQL, and what stands for its question marks.
struct Chosen {
    from: &'static str,
    conditions: String,
    values: Vec<Value>,
}

impl Chosen {
    /// Only what is set becomes a condition, so that each finds its index.
    fn by(filter: &VideoFilter) -> Self {
        let mut chosen = Self { from: "videos", conditions: String::new(), values: Vec::new() };
        if let Some(part) = &filter.search {
            // The names come first, in the order of the videos: a page is read and no more.
            chosen.from = "video_names CROSS JOIN videos ON ordinal = video_names.rowid";
            chosen.and("video_names MATCH ?", [names::query(part).into()]);
        }
        if let Some(input) = &filter.input {
            chosen.and("input = ?", [input.as_str().to_owned().into()]);
        }
        match filter.live {
            Some(true) => chosen.and("ended_ms IS NULL", []),
            Some(false) => chosen.and("ended_ms IS NOT NULL", []),
            None => {}
        }
        if let Some(at) = filter.ended_before_ms {
            chosen.and("ended_ms < ?", [column::to(at).into()]);
        }
        match filter.clips {
            Some(true) => chosen.and("clip IS NOT NULL", []),
            Some(false) => chosen.and("clip IS NULL", []),
            None => {}
        }
        if let Some(creator) = &filter.creator {
            chosen.and("json_extract(document, '$.creator') = ?", [creator.clone().into()]);
        }
        if let Some(uids) = &filter.uids {
            chosen.and("uid IN (SELECT value FROM json_each(?))", [list_of(uids)]);
        }
        if let Some(names) = &filter.named {
            chosen.and(
                "(json_extract(document, '$.meta.name') IN (SELECT value FROM json_each(?))
                    OR uid IN (SELECT value FROM json_each(?)))",
                [list_of(names), list_of(names)],
            );
        }
        let timed = filter.created_from_ms.is_some() || filter.created_before_ms.is_some();
        if timed && chosen.conditions.is_empty() {
            // By the order of the list alone, all that is newer would be walked through.
            chosen.from = "videos INDEXED BY videos_created";
        }
        if let Some(at) = filter.created_from_ms {
            chosen.and("created_ms >= ?", [column::to(at).into()]);
        }
        if let Some(at) = filter.created_before_ms {
            chosen.and("created_ms < ?", [column::to(at).into()]);
        }
        chosen
    }

    fn and<const N: usize>(&mut self, condition: &str, values: [Value; N]) {
        // Without any, SQLite counts all by the pages of an index.
        self.conditions.push_str(if self.conditions.is_empty() { " WHERE " } else { " AND " });
        self.conditions.push_str(condition);
        self.values.extend(values);
    }

    fn count(&self, db: &Connection) -> Result<u64, EngineError> {
        let sql = format!("SELECT count(*) FROM {}{}", self.from, self.conditions);
        let values: Vec<&dyn rusqlite::ToSql> = self.values.iter().map(|v| v as _).collect();
        one(db, &sql, &values)
    }
}

/// As JSON, so that a list is one value however long it is.
fn list_of(texts: &[String]) -> Value {
    serde_json::to_string(texts).unwrap_or_default().into()
}

/// The documents of the page are read, and no others.
pub(crate) fn list(
    db: &Connection,
    filter: &VideoFilter,
    page: Page,
) -> Result<List<Video>, EngineError> {
    let (order, behind) = order(page);
    let mut chosen = Chosen::by(filter);
    let total = if page.counts { chosen.count(db)? } else { 0 };
    let place = if filter.search.is_some() { "video_names.rowid" } else { "ordinal" };
    let mut remaining = total;
    if page.after.is_some() {
        chosen.and(&format!("{place} {behind} ?"), [from(page).into()]);
        remaining = if page.counts { chosen.count(db)? } else { 0 };
    }
    let rows = page.rows.min(LIST_ROWS);
    let sql = format!(
        "SELECT {COLUMNS} FROM videos WHERE ordinal IN
            (SELECT {place} FROM {}{} ORDER BY {place} {order} LIMIT ? OFFSET ?)
         ORDER BY ordinal {order}",
        chosen.from, chosen.conditions
    );
    let limits = [rows as i64 + 1, column::to(page.skip)].map(Value::from);
    let found = db
        .prepare_cached(&sql)?
        .query_map(params_from_iter(chosen.values.iter().chain(&limits)), |row| {
            Ok((video(row)?, column::u64(row, 14)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(paged(found, page, rows, (total, remaining)))
}

pub(crate) fn update(
    db: &Connection,
    uid: &VideoUid,
    expect: Expect,
    change: &VideoChange,
    now_ms: u64,
) -> Result<Video, DocumentError> {
    let found = get(db, uid)?.ok_or(DocumentError::NotFound)?;
    if !expect.holds(found.rev) {
        return Err(DocumentError::Changed { current: found.rev });
    }
    let mut change = change.clone();
    let settings = &mut change.settings;
    if settings.allowed_origins != found.settings.allowed_origins {
        // A list without an entry is no lock: the next one of the input's is one again.
        settings.origins_chosen = settings.allowed_origins.as_ref().is_some_and(|l| !l.is_empty());
    }
    put(db, &found, &change, now_ms)
}

/// What the input of a video on the air has got meanwhile: whether it needs tokens, and origins. Nobody has chosen those for
/// this video.
pub(crate) fn lock(
    db: &Connection,
    uid: &VideoUid,
    (locked, origins): (bool, Option<Vec<String>>),
    now_ms: u64,
) -> Result<(), DocumentError> {
    let found = get(db, uid)?.ok_or(DocumentError::NotFound)?;
    let mut to = VideoChange { settings: found.settings.clone(), delete_ms: found.delete_ms };
    to.settings.require_signed_urls |= locked;
    if origins.is_some() && !to.settings.origins_chosen {
        to.settings.allowed_origins = origins;
    }
    put(db, &found, &to, now_ms).map(drop)
}

fn put(
    db: &Connection,
    found: &Video,
    change: &VideoChange,
    now_ms: u64,
) -> Result<Video, DocumentError> {
    let (uid, text) = (&found.uid, document(&change.settings)?);
    if found.settings.meta.get("name") != change.settings.meta.get("name") {
        let ordinal = super::index::ordinal(db, uid)?.ok_or(DocumentError::NotFound)?;
        Names::Videos.put(db, ordinal, &change.settings.meta)?;
    }
    db.prepare_cached(
        "UPDATE videos SET document = ?2, delete_ms = ?3, modified_ms = ?4, rev = rev + 1
         WHERE uid = ?1",
    )?
    .execute(params![uid, text, change.delete_ms.map(column::to), column::to(now_ms)])?;
    get(db, uid)?.ok_or(DocumentError::NotFound)
}

/// The video as it is then.
pub(crate) fn change<E: From<DocumentError>>(
    db: &Connection,
    uid: &VideoUid,
    change: impl FnOnce(&Video, &mut VideoChange) -> Result<(), E>,
    now_ms: u64,
) -> Result<Video, E> {
    let found = get(db, uid).map_err(DocumentError::from)?.ok_or(DocumentError::NotFound)?;
    let mut to = VideoChange { settings: found.settings.clone(), delete_ms: found.delete_ms };
    change(&found, &mut to)?;
    Ok(update(db, uid, Expect::Any, &to, now_ms)?)
}

/// Deletes a video's records, and remembers that its objects are still to be deleted.
pub(crate) fn delete(db: &Connection, uid: &VideoUid, now_ms: u64) -> Result<(), DocumentError> {
    let found = get(db, uid)?.ok_or(DocumentError::NotFound)?;
    if found.live() {
        return Err(DocumentError::Live);
    }
    db.prepare_cached("INSERT OR IGNORE INTO doomed VALUES (?1, ?2)")?
        .execute(params![uid, column::to(now_ms)])?;
    db.prepare_cached("DELETE FROM videos WHERE uid = ?1")?.execute([uid])?;
    Ok(())
}

pub(crate) fn doomed(db: &Connection) -> Result<Vec<VideoUid>, EngineError> {
    let mut select = db.prepare_cached("SELECT video FROM doomed ORDER BY since_ms, video")?;
    Ok(select.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}

pub(crate) fn forget(db: &Connection, uid: &VideoUid) -> Result<(), EngineError> {
    db.prepare_cached("DELETE FROM doomed WHERE video = ?1")?.execute([uid])?;
    Ok(())
}

/// Videos whose time to be deleted has come, the most overdue first.
pub(crate) fn due(db: &Connection, now_ms: u64) -> Result<Vec<VideoUid>, EngineError> {
    let mut select = db.prepare_cached(
        "SELECT uid FROM videos WHERE delete_ms <= ?1 AND ended_ms IS NOT NULL
         ORDER BY delete_ms, ordinal LIMIT ?2",
    )?;
    let due = select.query_map(params![column::to(now_ms), LIST_ROWS as i64], |row| row.get(0))?;
    Ok(due.collect::<rusqlite::Result<_>>()?)
}

/// Makes a clip: a broadcast that is over, in one step.
pub(crate) fn create_clip(db: &Connection, clip: &NewClip) -> Result<Video, DocumentError> {
    let source = get(db, &clip.of.video)?.ok_or(DocumentError::NotFound)?;
    if source.settings != clip.source {
        return Err(DocumentError::Changed { current: source.rev });
    }
    let settings = document(&clip.settings)?;
    let of = serde_json::to_string(&clip.of).unwrap_or_default();
    if clip.catalog.len() > CATALOG_BYTES {
        return Err(internal(CommitError::CatalogTooLarge).into());
    }
    let sum = |f: fn(&SegmentRecord) -> u64| clip.records.iter().map(f).sum::<u64>();
    let numbers = clip.records.first().zip(clip.records.last());
    db.prepare_cached(
        "INSERT INTO videos (uid, input, document, rev, created_ms, modified_ms, ended_ms, ended_why, delete_ms,
         segments, first_number, last_number, duration_ms, bytes, catalog, clip)
         VALUES (?1, ?2, ?3, 1, ?4, ?4, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?
    .execute(params![
        clip.uid,
        clip.input,
        settings,
        column::to(clip.now_ms),
        End::Goodbye.column(),
        clip.delete_ms.map(column::to),
        clip.records.len() as i64,
        numbers.map(|(first, _)| column::to(first.number)),
        numbers.map(|(_, last)| column::to(last.number)),
        column::to(sum(|r| r.duration_ms)),
        column::to(sum(|r| r.bytes)),
        &clip.catalog[..],
        of,
    ])?;
    let ordinal = db.last_insert_rowid();
    Names::Videos.put(db, ordinal, &clip.settings.meta)?;
    for record in &clip.records {
        db.prepare_cached("INSERT INTO segments VALUES (?1, ?2, ?3)")?.execute(params![
            ordinal,
            column::to(record.number),
            record.encode().map_err(internal)?
        ])?;
        failpoint::hit("clip.inserted");
    }
    get(db, &clip.uid)?.ok_or(DocumentError::NotFound)
}

/// Whoever makes clips keeps to the bounds.
fn internal(error: impl std::fmt::Display) -> EngineError {
    EngineError::Internal(error.to_string())
}

/// What an input's clips take up is not counted against what its owner wants to keep of its broadcasts: a row of their own.
pub(crate) fn usage(db: &Connection) -> Result<Vec<Usage>, EngineError> {
    let mut select = db.prepare_cached(
        "SELECT input, count(*), sum(bytes),
             (SELECT json_extract(document, '$.recording.maxTotalBytes') FROM inputs WHERE uid = input),
             clip IS NOT NULL AS clips
         FROM videos GROUP BY input, clips ORDER BY input, clips",
    )?;
    let usage = select.query_map([], |row| {
        let bound = row.get::<_, Option<i64>>(3)?;
        Ok(Usage {
            input: row.get(0)?,
            videos: column::u64(row, 1)?,
            bytes: column::u64(row, 2)?,
            max_bytes: bound.and_then(|bytes| u64::try_from(bytes).ok()),
            clips: row.get(4)?,
        })
    })?;
    Ok(usage.collect::<rusqlite::Result<_>>()?)
}
