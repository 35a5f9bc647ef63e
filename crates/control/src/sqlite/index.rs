//! Commits, pages and reading back.

use std::ops::Range;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

use super::ownership::fenced;
use crate::error::{CommitError, EngineError, OwnerError, SealError};
use crate::ids::{VideoUid, column};
use crate::index::{Committed, Head, PageRef, UnsealedPage};
use crate::limits::{CATALOG_BYTES, COMMIT_RECORDS, PAGE_RECORDS, RESERVE_AHEAD};
use crate::ownership::Owned;
use crate::page;
use crate::record::{RecordError, SegmentRecord};

pub(super) fn ordinal(db: &Connection, video: &VideoUid) -> Result<Option<i64>, EngineError> {
    let mut find = db.prepare_cached("SELECT ordinal FROM videos WHERE uid = ?1")?;
    Ok(find.query_row([video], |row| row.get(0)).optional()?)
}

pub(crate) fn commit(
    db: &Connection,
    owned: &Owned,
    records: &[SegmentRecord],
    reserve_to: u64,
) -> Result<Head, CommitError> {
    let owner = fenced(db, owned)?;
    let current = owned.epoch;
    let video = ordinal(db, &owned.video)?.ok_or(OwnerError::Fenced { current })?;
    if records.len() > COMMIT_RECORDS {
        return Err(CommitError::TooMany);
    }
    let mut last_number = owner.last_number;
    for record in records {
        // What began under an earlier ownership of the same broadcast may be committed under this one:
        // a publisher that was replaced on this node has left segments behind.
        if record.epoch > owned.epoch {
            return Err(RecordError::Epoch.into());
        }
        let encoded = record.encode()?;
        if record.number <= last_number {
            same(db, video, record.number, &encoded)?;
            continue;
        }
        if record.number != last_number + 1 {
            return Err(CommitError::Hole { expected: last_number + 1 });
        }
        db.prepare_cached("INSERT INTO segments VALUES (?1, ?2, ?3)")?.execute(params![
            video,
            column::to(record.number),
            encoded
        ])?;
        lengthen(db, video, record)?;
        db.prepare_cached(
            "UPDATE videos SET segments = segments + 1, first_number = coalesce(first_number, ?2),
             last_number = ?2, bytes = bytes + ?3, duration_ms = max(duration_ms,
             coalesce((SELECT max(ns) / 1000000 FROM lengths WHERE video = ?1), 0))
             WHERE ordinal = ?1",
        )?
        .execute(params![video, column::to(record.number), column::to(record.bytes)])?;
        last_number = record.number;
        failpoint::hit("index.inserted");
    }
    let reserved_to = reserve_to.max(owner.reserved_to).max(last_number.saturating_add(1));
    if reserved_to > owner.reserved_to.saturating_add(RESERVE_AHEAD) {
        return Err(OwnerError::TooFarAhead.into());
    }
    db.prepare_cached("UPDATE owners SET last_number = ?2, reserved_to = ?3 WHERE input = ?1")?
        .execute(params![owned.input, column::to(last_number), column::to(reserved_to)])?;
    Ok(Head { last_number, reserved_to })
}

/// How long each track plays, as its playlist says: its segments, and the time of those that it left out.
fn lengthen(db: &Connection, video: i64, record: &SegmentRecord) -> Result<(), EngineError> {
    for track in record.tracks.iter().filter(|track| track.timescale > 0) {
        let ns = |ticks: u64| {
            let ns = u128::from(ticks) * 1_000_000_000 / u128::from(track.timescale);
            u64::try_from(ns).unwrap_or(u64::MAX)
        };
        let (start, end) = (ns(track.start), ns(track.end()));
        db.prepare_cached(
            "INSERT INTO lengths VALUES (?1, ?2, ?3 - ?4, ?3, ?5)
             ON CONFLICT (video, track) DO UPDATE SET
             ns = ns + excluded.ns + CASE WHEN excluded.number > number + 1 AND end_ns > 0
                 THEN max(0, ?4 - end_ns) ELSE 0 END,
             end_ns = excluded.end_ns, number = excluded.number",
        )?
        .execute(params![
            video,
            track.name,
            column::to(end),
            column::to(start),
            column::to(record.number)
        ])?;
    }
    Ok(())
}

/// A record that is there already must be the same one.
fn same(db: &Connection, video: i64, number: u64, encoded: &[u8]) -> Result<(), CommitError> {
    let found: Option<Vec<u8>> = db
        .prepare_cached("SELECT record FROM segments WHERE video = ?1 AND number = ?2")?
        .query_row(params![video, column::to(number)], |row| row.get(0))
        .optional()?;
    // What is sealed was acknowledged long ago: nobody repeats it.
    if found.as_deref() == Some(encoded) { Ok(()) } else { Err(CommitError::Conflict { number }) }
}

/// The newest committed record of a broadcast. It is never sealed.
pub(crate) fn last(
    db: &Connection,
    video: &VideoUid,
) -> Result<Option<SegmentRecord>, EngineError> {
    let Some(video) = ordinal(db, video)? else { return Ok(None) };
    let found: Option<(u64, Vec<u8>)> = db
        .prepare_cached(
            "SELECT number, record FROM segments WHERE video = ?1 ORDER BY number DESC LIMIT 1",
        )?
        .query_row([video], |row| Ok((column::u64(row, 0)?, row.get(1)?)))
        .optional()?;
    found.map(|(number, record)| decode(number, &record)).transpose()
}

fn decode(number: u64, record: &[u8]) -> Result<SegmentRecord, EngineError> {
    let damaged = |_| EngineError::Corrupt(format!("the record of segment {number}"));
    SegmentRecord::decode(number, record).map_err(damaged)
}

pub(crate) fn unsealed(
    db: &Connection,
    video: &VideoUid,
) -> Result<Option<UnsealedPage>, EngineError> {
    let Some(ordinal) = ordinal(db, video)? else { return Ok(None) };
    // One more than a page: the newest record stays where the next owner finds it.
    let rows: Vec<(u64, Vec<u8>)> = db
        .prepare_cached(
            "SELECT number, record FROM segments WHERE video = ?1 ORDER BY number LIMIT ?2",
        )?
        .query_map(params![ordinal, PAGE_RECORDS as i64 + 1], |row| {
            Ok((column::u64(row, 0)?, row.get(1)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let (Some((first_number, _)), true) = (rows.first(), rows.len() > PAGE_RECORDS) else {
        return Ok(None);
    };
    let first_number = *first_number;
    let records: Vec<_> = rows.into_iter().take(PAGE_RECORDS).map(|(_, record)| record).collect();
    let last_number = first_number + PAGE_RECORDS as u64 - 1;
    let bytes: Bytes = page::encode(first_number, &records);
    Ok(Some(UnsealedPage { video: video.clone(), first_number, last_number, bytes }))
}

/// Replaces a page's records by the reference to its object. Allowed to the owner, and to anybody
/// when the broadcast is over: its records don't change any more.
pub(crate) fn seal(
    db: &Connection,
    owned: &Owned,
    page: &UnsealedPage,
    object: &str,
) -> Result<(), SealError> {
    let over: Option<(i64, bool)> = db
        .prepare_cached("SELECT ordinal, ended_ms IS NOT NULL FROM videos WHERE uid = ?1")?
        .query_row([&page.video], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((video, over)) = over else { return Err(SealError::NoSuchPage) };
    if !over {
        fenced(db, owned)?;
        if owned.video != page.video {
            return Err(SealError::NoSuchPage);
        }
    }
    let (first, last) = (column::to(page.first_number), column::to(page.last_number));
    let sealed: Option<String> = db
        .prepare_cached("SELECT object FROM pages WHERE video = ?1 AND first_number = ?2")?
        .query_row(params![video, first], |row| row.get(0))
        .optional()?;
    if let Some(sealed) = sealed {
        return if sealed == object { Ok(()) } else { Err(SealError::NoSuchPage) };
    }
    db.prepare_cached("INSERT INTO pages VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        video,
        first,
        last,
        object,
        page.bytes.len() as i64
    ])?;
    failpoint::hit("index.page_inserted");
    let gone = db
        .prepare_cached("DELETE FROM segments WHERE video = ?1 AND number BETWEEN ?2 AND ?3")?
        .execute(params![video, first, last])?;
    if gone == PAGE_RECORDS { Ok(()) } else { Err(SealError::NoSuchPage) }
}

pub(crate) fn committed(
    db: &Connection,
    video: &VideoUid,
    numbers: &Range<u64>,
) -> Result<Committed, EngineError> {
    let Some(video) = ordinal(db, video)? else { return Ok(Committed::default()) };
    let range = params![video, column::to(numbers.start), column::to(numbers.end)];
    let pages = db
        .prepare_cached(
            "SELECT first_number, last_number, object, bytes FROM pages
             WHERE video = ?1 AND last_number >= ?2 AND first_number < ?3 ORDER BY first_number",
        )?
        .query_map(range, |row| {
            Ok(PageRef {
                first_number: column::u64(row, 0)?,
                last_number: column::u64(row, 1)?,
                object: row.get(2)?,
                bytes: column::u64(row, 3)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let rows: Vec<(u64, Vec<u8>)> = db
        .prepare_cached(
            "SELECT number, record FROM segments
             WHERE video = ?1 AND number >= ?2 AND number < ?3 ORDER BY number",
        )?
        .query_map(range, |row| Ok((column::u64(row, 0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let tail =
        rows.iter().map(|(number, record)| decode(*number, record)).collect::<Result<_, _>>()?;
    Ok(Committed { pages, tail })
}

pub(crate) fn set_catalog(
    db: &Connection,
    owned: &Owned,
    catalog: &[u8],
) -> Result<(), CommitError> {
    fenced(db, owned)?;
    if catalog.len() > CATALOG_BYTES {
        return Err(CommitError::CatalogTooLarge);
    }
    db.prepare_cached("UPDATE videos SET catalog = ?2 WHERE uid = ?1")?
        .execute(params![owned.video, catalog])?;
    Ok(())
}

pub(crate) fn catalog(db: &Connection, video: &VideoUid) -> Result<Option<Bytes>, EngineError> {
    let mut find = db.prepare_cached("SELECT catalog FROM videos WHERE uid = ?1")?;
    let found: Option<Option<Vec<u8>>> = find.query_row([video], |row| row.get(0)).optional()?;
    Ok(found.flatten().map(Bytes::from))
}
