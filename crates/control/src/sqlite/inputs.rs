//! Live inputs and their keys.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::names::{self, Names};
use crate::error::{DocumentError, EngineError};
use crate::ids::{Expect, InputUid, Rev, column};
use crate::input::{Input, InputKeys, InputSettings, KeyKind, List, Page};
use crate::limits::{DOCUMENT_BYTES, GRACE_KEYS, INPUTS, LIST_ROWS};
use crate::secret::{KeyHash, MasterKey};

const COLUMNS: &str = "uid, created_ms, modified_ms, keys_rotated_ms, rev, document, ordinal";

/// Settings or a video's document as the text that is stored.
pub(super) fn document(value: &impl serde::Serialize) -> Result<String, DocumentError> {
    let text = serde_json::to_string(value).map_err(|e| EngineError::Internal(e.to_string()))?;
    if text.len() > DOCUMENT_BYTES { Err(DocumentError::TooLarge) } else { Ok(text) }
}

fn input(row: &Row<'_>) -> rusqlite::Result<Input> {
    let document: String = row.get(5)?;
    let settings = serde_json::from_str(&document).map_err(|e| {
        rusqlite::Error::FromSqlConversionFailure(5, rusqlite::types::Type::Text, e.into())
    })?;
    Ok(Input {
        uid: row.get(0)?,
        created_ms: column::u64(row, 1)?,
        modified_ms: column::u64(row, 2)?,
        keys_rotated_ms: column::optional(row, 3)?,
        rev: Rev(column::u64(row, 4)?),
        ordinal: column::u64(row, 6)?,
        settings,
    })
}

pub(crate) fn create(
    db: &Connection,
    master: &MasterKey,
    uid: &InputUid,
    settings: &InputSettings,
    (keys, nonce): &(InputKeys, [u8; 12]),
    now_ms: u64,
) -> Result<Input, DocumentError> {
    let text = document(settings)?;
    let count: i64 =
        db.prepare_cached("SELECT count(*) FROM inputs")?.query_row([], |row| row.get(0))?;
    if column::to(INPUTS) <= count {
        return Err(DocumentError::TooMany);
    }
    if get(db, uid)?.is_some() {
        return Err(DocumentError::Exists);
    }
    let secrets = master.seal(uid.as_str(), *nonce, keys.to_text().as_bytes());
    let now = column::to(now_ms);
    db.prepare_cached(
        "INSERT INTO inputs (uid, document, secrets, created_ms, modified_ms, rev)
         VALUES (?1, ?2, ?3, ?4, ?4, 1)",
    )?
    .execute(params![uid, text, secrets, now])?;
    Names::Inputs.put(db, db.last_insert_rowid(), &settings.meta)?;
    add_keys(db, uid, keys)?;
    db.prepare_cached(
        "INSERT INTO owners VALUES (?1, 0, NULL, NULL, ?2, NULL, 0, NULL, 0, 0, 0, NULL)",
    )?
    .execute(params![uid, now])?;
    get(db, uid)?.ok_or(DocumentError::NotFound)
}

fn add_keys(db: &Connection, uid: &InputUid, keys: &InputKeys) -> Result<(), DocumentError> {
    let mut add = db.prepare_cached("INSERT INTO input_keys VALUES (?1, ?2, ?3, NULL)")?;
    for kind in KeyKind::ALL {
        add.execute(params![keys.of(kind).hash().0, kind.column(), uid])?;
    }
    Ok(())
}

pub(crate) fn get(db: &Connection, uid: &InputUid) -> Result<Option<Input>, EngineError> {
    let sql = format!("SELECT {COLUMNS} FROM inputs WHERE uid = ?1");
    Ok(db.prepare_cached(&sql)?.query_row([uid], input).optional()?)
}

pub(crate) fn keys(
    db: &Connection,
    master: &MasterKey,
    uid: &InputUid,
) -> Result<Option<InputKeys>, EngineError> {
    let mut find = db.prepare_cached("SELECT secrets FROM inputs WHERE uid = ?1")?;
    let Some(sealed) = find.query_row([uid], |row| row.get::<_, Vec<u8>>(0)).optional()? else {
        return Ok(None);
    };
    let text = master.open(uid.as_str(), &sealed)?;
    let damaged = || EngineError::Corrupt("the keys of an input".into());
    InputKeys::from_text(&text).map(Some).ok_or_else(damaged)
}

pub(crate) fn by_key(
    db: &Connection,
    kind: KeyKind,
    hash: &KeyHash,
    now_ms: u64,
) -> Result<Option<Input>, EngineError> {
    let uid = db
        .prepare_cached(
            "SELECT input FROM input_keys
             WHERE hash = ?1 AND kind = ?2 AND (until_ms IS NULL OR until_ms > ?3)",
        )?
        .query_row(params![hash.0, kind.column(), column::to(now_ms)], |row| row.get(0))
        .optional()?;
    uid.map_or(Ok(None), |uid: InputUid| get(db, &uid))
}

pub(crate) fn list(db: &Connection, page: Page) -> Result<List<Input>, EngineError> {
    let (order, behind) = order(page);
    let total = match page.counts {
        true => one(db, "SELECT count(*) FROM inputs", &[])?,
        false => 0,
    };
    let remaining = match page.after.filter(|_| page.counts) {
        None => total,
        // The plus leaves the documents aside: the index of ids has all that is to be counted.
        Some(_) => {
            let sql = format!("SELECT count(*) FROM inputs WHERE +ordinal {behind} ?1");
            one(db, &sql, &[&from(page)])?
        }
    };
    let rows = page.rows.min(LIST_ROWS);
    let sql = format!(
        "SELECT {COLUMNS} FROM inputs WHERE ordinal {behind} ?1 ORDER BY ordinal {order}
         LIMIT ?2 OFFSET ?3"
    );
    let asked = params![from(page), rows as i64 + 1, column::to(page.skip)];
    let found =
        db.prepare_cached(&sql)?.query_map(asked, placed)?.collect::<Result<Vec<_>, _>>()?;
    Ok(paged(found, page, rows, (total, remaining)))
}

/// Those whose name contains `part`, or whose id begins so. What is looked through has a row for each that is found, and no
/// documents but those of the page.
pub(crate) fn find(db: &Connection, part: &str, page: Page) -> Result<List<Input>, EngineError> {
    let (order, behind) = order(page);
    let named = names::query(part);
    let id = part.to_lowercase();
    // No id has a character above the digits and letters of hex.
    let id_end = format!("{id}g");
    let found = "(SELECT rowid AS ordinal FROM input_names WHERE input_names MATCH ?1
        UNION SELECT ordinal FROM inputs WHERE uid >= ?2 AND uid < ?3)";
    let count =
        format!("SELECT count(*), count(*) FILTER (WHERE ordinal {behind} ?4) FROM {found}");
    let counted = match page.counts {
        true => {
            db.prepare_cached(&count)?.query_row(params![named, id, id_end, from(page)], |row| {
                Ok((column::u64(row, 0)?, column::u64(row, 1)?))
            })?
        }
        false => (0, 0),
    };
    let rows = page.rows.min(LIST_ROWS);
    let sql = format!(
        "SELECT {COLUMNS} FROM inputs WHERE ordinal IN (SELECT ordinal FROM {found}
            WHERE ordinal {behind} ?4 ORDER BY ordinal {order} LIMIT ?5 OFFSET ?6)
         ORDER BY ordinal {order}"
    );
    let (limit, skip) = (rows as i64 + 1, column::to(page.skip));
    let asked = params![named, id, id_end, from(page), limit, skip];
    let found =
        db.prepare_cached(&sql)?.query_map(asked, placed)?.collect::<Result<Vec<_>, _>>()?;
    Ok(paged(found, page, rows, counted))
}

fn placed(row: &Row<'_>) -> rusqlite::Result<(Input, u64)> {
    let input = input(row)?;
    let ordinal = input.ordinal;
    Ok((input, ordinal))
}

/// One number.
pub(super) fn one(
    db: &Connection,
    sql: &str,
    params: &[&dyn rusqlite::ToSql],
) -> Result<u64, EngineError> {
    Ok(db.prepare_cached(sql)?.query_row(params, |row| column::u64(row, 0))?)
}

/// The direction, and how what comes behind an ordinal compares with it.
pub(super) fn order(page: Page) -> (&'static str, &'static str) {
    if page.newest_first { ("DESC", "<") } else { ("ASC", ">") }
}

/// The ordinal that the page begins behind.
pub(super) fn from(page: Page) -> i64 {
    page.after.map_or(if page.newest_first { i64::MAX } else { 0 }, column::to)
}

/// Cuts the one row more that tells whether there is another page.
pub(super) fn paged<T>(
    mut found: Vec<(T, u64)>,
    page: Page,
    rows: usize,
    (total, behind): (u64, u64),
) -> List<T> {
    let more = found.len() > rows;
    found.truncate(rows);
    let next = found.last().map(|(_, ordinal)| *ordinal).filter(|_| more);
    let remaining = behind.saturating_sub(page.skip);
    List { rows: found.into_iter().map(|(row, _)| row).collect(), total, remaining, next }
}

/// The document if its version is the expected one.
fn expected(db: &Connection, uid: &InputUid, expect: Expect) -> Result<Input, DocumentError> {
    let found = get(db, uid)?.ok_or(DocumentError::NotFound)?;
    if expect.holds(found.rev) {
        Ok(found)
    } else {
        Err(DocumentError::Changed { current: found.rev })
    }
}

pub(crate) fn update(
    db: &Connection,
    uid: &InputUid,
    expect: Expect,
    settings: &InputSettings,
    now_ms: u64,
) -> Result<Input, DocumentError> {
    let text = document(settings)?;
    let before = expected(db, uid, expect)?;
    if before.settings.meta.get("name") != settings.meta.get("name") {
        Names::Inputs.put(db, column::to(before.ordinal), &settings.meta)?;
    }
    db.prepare_cached(
        "UPDATE inputs SET document = ?2, modified_ms = ?3, rev = rev + 1 WHERE uid = ?1",
    )?
    .execute(params![uid, text, column::to(now_ms)])?;
    lock_on_air(db, &before, settings, now_ms)?;
    get(db, uid)?.ok_or(DocumentError::NotFound)
}

/// Who locks an input locks what is on the air, and that stays locked when it is over: its video, which has what the input said
/// when it began, gets the lock that was added since. A lock that is taken off stays on the video until there is another one,
/// and what its owner has chosen for this video alone stays his choice.
fn lock_on_air(
    db: &Connection,
    before: &Input,
    settings: &InputSettings,
    now_ms: u64,
) -> Result<(), DocumentError> {
    let (was, is) = (&before.settings.recording, &settings.recording);
    let locked = is.require_signed_urls && !was.require_signed_urls;
    // A list without an entry is no lock.
    let list = |origins: &Option<Vec<String>>| origins.clone().filter(|list| !list.is_empty());
    let (was, is) = (list(&was.allowed_origins), list(&is.allowed_origins));
    let origins = is.filter(|is| was.as_ref() != Some(is));
    if !locked && origins.is_none() {
        return Ok(());
    }
    let Some(video) = super::ownership::on_air(db, &before.uid)? else { return Ok(()) };
    super::videos::lock(db, &video, (locked, origins), now_ms)
}

/// The input before, and after.
pub(crate) fn change<E: From<DocumentError>>(
    db: &Connection,
    uid: &InputUid,
    change: impl FnOnce(&mut InputSettings) -> Result<(), E>,
    now_ms: u64,
) -> Result<(Input, Input), E> {
    let before = expected(db, uid, Expect::Any)?;
    let mut settings = before.settings.clone();
    change(&mut settings)?;
    let after = update(db, uid, Expect::Any, &settings, now_ms)?;
    Ok((before, after))
}

/// New keys; the old ones stay valid until `grace_until_ms`, or not at all.
pub(crate) fn rotate(
    db: &Connection,
    master: &MasterKey,
    uid: &InputUid,
    (keys, nonce): &(InputKeys, [u8; 12]),
    now_ms: u64,
    grace_until_ms: Option<u64>,
) -> Result<Input, DocumentError> {
    expected(db, uid, Expect::Any)?;
    let now = column::to(now_ms);
    match grace_until_ms {
        // An older grace is not made longer, and only the newest old keys stay.
        Some(until) => {
            db.prepare_cached(
                "UPDATE input_keys SET until_ms = ?2 WHERE input = ?1 AND until_ms IS NULL",
            )?
            .execute(params![uid, column::to(until)])?;
            db.prepare_cached(
                "DELETE FROM input_keys WHERE input = ?1 AND (until_ms <= ?2 OR hash NOT IN (
                    SELECT hash FROM input_keys WHERE input = ?1
                    ORDER BY until_ms DESC LIMIT ?3))",
            )?
            .execute(params![uid, now, (GRACE_KEYS * KeyKind::ALL.len()) as i64])?;
        }
        None => {
            db.prepare_cached("DELETE FROM input_keys WHERE input = ?1")?.execute([uid])?;
        }
    }
    add_keys(db, uid, keys)?;
    let secrets = master.seal(uid.as_str(), *nonce, keys.to_text().as_bytes());
    db.prepare_cached(
        "UPDATE inputs SET secrets = ?2, modified_ms = ?3, keys_rotated_ms = ?3, rev = rev + 1
         WHERE uid = ?1",
    )?
    .execute(params![uid, secrets, now])?;
    get(db, uid)?.ok_or(DocumentError::NotFound)
}

/// Deletes an input for good; its recordings stay, its broadcast on the air ends.
pub(crate) fn delete(
    db: &Connection,
    uid: &InputUid,
    expect: Expect,
    now_ms: u64,
) -> Result<(), DocumentError> {
    expected(db, uid, expect)?;
    super::ownership::end_open(db, uid, crate::End::InputDeleted, now_ms)?;
    db.prepare_cached("DELETE FROM inputs WHERE uid = ?1")?.execute([uid])?;
    Ok(())
}
