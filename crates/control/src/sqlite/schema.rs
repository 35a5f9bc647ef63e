//! The tables, and how older formats become this one.

use rusqlite::Connection;

use super::names::Names;
use crate::error::{EngineError, OpenError};

/// Marks the file as ours: "AWCP".
const APPLICATION: i64 = 0x4157_4350;

/// What turns format N into N + 1, in order. Never change an entry that was released: add one.
const MIGRATIONS: &[&str] = &[FORMAT_1, FORMAT_2, FORMAT_3, FORMAT_4, FORMAT_5, FORMAT_6, FORMAT_7];

/// The format that this program writes.
pub(crate) const FORMAT: u32 = MIGRATIONS.len() as u32;

const FORMAT_1: &str = "
CREATE TABLE inputs (
    ordinal         INTEGER PRIMARY KEY AUTOINCREMENT,
    uid             TEXT NOT NULL UNIQUE,
    document        TEXT NOT NULL,
    secrets         BLOB NOT NULL,
    created_ms      INTEGER NOT NULL,
    modified_ms     INTEGER NOT NULL,
    keys_rotated_ms INTEGER,
    rev             INTEGER NOT NULL
) STRICT;

CREATE TABLE input_keys (
    hash     BLOB NOT NULL PRIMARY KEY,
    kind     INTEGER NOT NULL,
    input    TEXT NOT NULL REFERENCES inputs (uid) ON DELETE CASCADE,
    until_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX input_keys_of ON input_keys (input);

-- Who has an input, and the counters that belong to it whoever has it.
CREATE TABLE owners (
    input         TEXT NOT NULL PRIMARY KEY REFERENCES inputs (uid) ON DELETE CASCADE,
    epoch         INTEGER NOT NULL,
    node          TEXT,
    session       TEXT,
    since_ms      INTEGER NOT NULL,
    video         TEXT,
    resume_ms     INTEGER NOT NULL,
    expires_ms    INTEGER,
    last_number   INTEGER NOT NULL,
    reserved_to   INTEGER NOT NULL,
    group_ceiling INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX owners_of ON owners (node) WHERE node IS NOT NULL;
CREATE INDEX owners_expiring ON owners (expires_ms) WHERE expires_ms IS NOT NULL;

-- The log of claims: what another engine fences with, and a broadcast's history.
CREATE TABLE claims (
    input        TEXT NOT NULL,
    epoch        INTEGER NOT NULL,
    video        INTEGER NOT NULL REFERENCES videos (ordinal) ON DELETE CASCADE,
    node         TEXT NOT NULL,
    session      TEXT NOT NULL,
    at_ms        INTEGER NOT NULL,
    first_number INTEGER NOT NULL,
    first_group  INTEGER NOT NULL,
    resumed      INTEGER NOT NULL,
    PRIMARY KEY (input, epoch)
) STRICT, WITHOUT ROWID;
CREATE INDEX claims_of ON claims (video);

CREATE TABLE videos (
    ordinal       INTEGER PRIMARY KEY AUTOINCREMENT,
    uid           TEXT NOT NULL UNIQUE,
    input         TEXT NOT NULL,
    document      TEXT NOT NULL,
    rev           INTEGER NOT NULL,
    created_ms    INTEGER NOT NULL,
    modified_ms   INTEGER NOT NULL,
    ended_ms      INTEGER,
    ended_why     INTEGER,
    delete_ms     INTEGER,
    retain_days   INTEGER,
    segments      INTEGER NOT NULL,
    first_number  INTEGER,
    last_number   INTEGER,
    duration_ms   INTEGER NOT NULL,
    bytes         INTEGER NOT NULL,
    catalog       BLOB
) STRICT;
CREATE INDEX videos_of ON videos (input, ordinal);
CREATE INDEX videos_due ON videos (delete_ms) WHERE delete_ms IS NOT NULL;
CREATE INDEX videos_ended ON videos (ended_ms) WHERE ended_ms IS NOT NULL;

CREATE TABLE segments (
    video  INTEGER NOT NULL REFERENCES videos (ordinal) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (video, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE pages (
    video        INTEGER NOT NULL REFERENCES videos (ordinal) ON DELETE CASCADE,
    first_number INTEGER NOT NULL,
    last_number  INTEGER NOT NULL,
    object       TEXT NOT NULL,
    bytes        INTEGER NOT NULL,
    PRIMARY KEY (video, first_number)
) STRICT, WITHOUT ROWID;

-- What other layers keep here; one counter gives all of their versions.
CREATE TABLE documents (
    kind    TEXT NOT NULL,
    id      TEXT NOT NULL,
    content BLOB NOT NULL,
    rev     INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE document_rev (rev INTEGER NOT NULL) STRICT;
INSERT INTO document_rev VALUES (0);

-- Deleted from the index, objects not yet: what a crash must not make us forget.
CREATE TABLE doomed (
    video    TEXT NOT NULL PRIMARY KEY,
    since_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

const FORMAT_2: &str = "
-- Who changed what. Numbers are never used again: what is missing was there.
CREATE TABLE audit (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms      INTEGER NOT NULL,
    actor      TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    via        TEXT NOT NULL,
    address    TEXT,
    action     TEXT NOT NULL,
    kind       TEXT NOT NULL,
    resource   TEXT NOT NULL,
    fields     TEXT NOT NULL,
    status     INTEGER NOT NULL
) STRICT;
CREATE INDEX audit_at ON audit (at_ms);
";

/// Nothing changes in the tables: records of segments may have another shape, which older programs can't read.
const FORMAT_3: &str = "";

const FORMAT_4: &str = "
-- Why an input's encoder is away, or its last broadcast over.
ALTER TABLE owners ADD COLUMN why INTEGER;
UPDATE owners SET why = (SELECT ended_why FROM videos WHERE videos.input = owners.input
    ORDER BY ordinal DESC LIMIT 1) WHERE video IS NULL;

-- How long a track plays, where it ends, and in which segment: a video is as long as its longest one.
CREATE TABLE lengths (
    video  INTEGER NOT NULL REFERENCES videos (ordinal) ON DELETE CASCADE,
    track  TEXT NOT NULL,
    ns     INTEGER NOT NULL,
    end_ns INTEGER NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (video, track)
) STRICT, WITHOUT ROWID;
-- Broadcasts that go on; which tracks they have was not kept, the first picture and sound are as good as all.
INSERT INTO lengths SELECT ordinal, track, duration_ms * 1000000, 0, coalesce(last_number, 0)
    FROM videos, (SELECT 'video.cmaf' AS track UNION SELECT 'audio.cmaf') WHERE ended_ms IS NULL;
";

const FORMAT_5: &str = "
-- What a video was cut from, as JSON; null for a broadcast.
ALTER TABLE videos ADD COLUMN clip TEXT;
";

const FORMAT_6: &str = "
-- What was said while a video was on the air; no text: it was deleted.
CREATE TABLE chat (
    video INTEGER NOT NULL REFERENCES videos (ordinal) ON DELETE CASCADE,
    id    INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    name  TEXT NOT NULL,
    text  TEXT,
    PRIMARY KEY (video, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX chat_at ON chat (video, at_ms);
";

const FORMAT_7: &str = "
-- By which parts of its name a row is found; no text is kept in these.
CREATE VIRTUAL TABLE input_names
    USING fts5(name, content='', contentless_delete=1, tokenize='ascii', prefix='6 12');
CREATE TRIGGER input_names_gone AFTER DELETE ON inputs
    BEGIN DELETE FROM input_names WHERE rowid = old.ordinal; END;
CREATE VIRTUAL TABLE video_names
    USING fts5(name, content='', contentless_delete=1, tokenize='ascii', prefix='6 12');
CREATE TRIGGER video_names_gone AFTER DELETE ON videos
    BEGIN DELETE FROM video_names WHERE rowid = old.ordinal; END;

-- What else lists of videos are asked for.
CREATE INDEX videos_named ON videos (json_extract(document, '$.meta.name'));
CREATE INDEX videos_creator ON videos (json_extract(document, '$.creator'));
CREATE INDEX videos_created ON videos (created_ms);
CREATE INDEX videos_live ON videos (ordinal) WHERE ended_ms IS NULL;
";

/// The format that has names in tables of their own: they are filled once.
const NAMES: usize = 7;

/// Refuses what this program can't read, before anything is written.
pub(super) fn check(db: &Connection) -> Result<u32, OpenError> {
    let format: u32 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let application: i64 = db.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let used = || db.prepare("SELECT 1 FROM sqlite_schema")?.exists([]);
    if application != APPLICATION && (application != 0 || format != 0 || used()?) {
        return Err(OpenError::Foreign);
    }
    if format > FORMAT {
        return Err(OpenError::Newer { found: format, known: FORMAT });
    }
    Ok(format)
}

/// Brings the tables to this program's format, in one transaction. Answers the format of before, if there was another one.
pub(super) fn migrate(db: &mut Connection) -> Result<Option<u32>, OpenError> {
    migrate_to(db, FORMAT)
}

pub(super) fn migrate_to(db: &mut Connection, format: u32) -> Result<Option<u32>, OpenError> {
    if check(db)? == format {
        return Ok(None);
    }
    let transaction = db.transaction().map_err(EngineError::from)?;
    // Another process may have done it while we waited for the lock.
    let from = check(&transaction)?;
    let left = MIGRATIONS.iter().enumerate().take(format as usize).skip(from as usize);
    for (done, migration) in left {
        transaction.execute_batch(migration)?;
        if done + 1 == NAMES {
            Names::Inputs.fill(&transaction)?;
            Names::Videos.fill(&transaction)?;
        }
        failpoint::hit("schema.migrated");
        transaction.pragma_update(None, "user_version", done as u32 + 1)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.commit()?;
    // A database that is made has none.
    Ok((1..format).contains(&from).then_some(from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(user_version: u32, application: i64, sql: &str) -> Connection {
        let db = Connection::open_in_memory().unwrap();
        db.pragma_update(None, "user_version", user_version).unwrap();
        db.pragma_update(None, "application_id", application).unwrap();
        db.execute_batch(sql).unwrap();
        db
    }

    #[test]
    fn only_our_own_formats_are_opened() {
        let check = |user_version, application, sql: &str, expect: Result<(), OpenError>| {
            let mut db = with(user_version, application, sql);
            assert_eq!(migrate(&mut db).map(drop), expect, "{user_version} {application:x} {sql}");
        };
        let newer = Err(OpenError::Newer { found: FORMAT + 2, known: FORMAT });
        check(0, 0, "", Ok(()));
        check(FORMAT + 2, APPLICATION, "", newer);
        check(0, 0, "CREATE TABLE recipes (name TEXT)", Err(OpenError::Foreign));
        check(1, 0, "", Err(OpenError::Foreign));
        check(0, 77, "", Err(OpenError::Foreign));
    }

    #[test]
    fn a_newer_format_is_refused_in_words() {
        let text = OpenError::Newer { found: 3, known: 1 }.to_string();
        let expect = "this data directory was written by a newer Airwave (format 3, this program \
                      knows 1)";
        assert!(text.starts_with(expect), "{text}");
    }

    #[test]
    fn what_an_older_format_knows_of_endings_and_lengths_is_kept() {
        let tables = [FORMAT_1, FORMAT_2, FORMAT_3].concat();
        let mut db = with(3, APPLICATION, &tables);
        db.execute_batch(
            "INSERT INTO inputs VALUES (1, 'off', '{\"meta\":{\"name\":\"Old hall\"}}', x'', 1, 1, NULL, 1),
                 (2, 'on', '{}', x'', 1, 1, NULL, 1), (3, 'new', '{}', x'', 1, 1, NULL, 1);
             INSERT INTO owners VALUES ('off', 1, NULL, NULL, 9, NULL, 0, NULL, 5, 5, 0),
                 ('on', 1, 'n', 's', 9, 'b', 0, NULL, 5, 5, 0), ('new', 0, NULL, NULL, 9, NULL, 0, NULL, 0, 0, 0);
             INSERT INTO videos VALUES (1, 'a', 'off', '{}', 1, 1, 1, 9, 2, NULL, NULL, 3, 1, 3, 6000, 9, NULL),
                 (2, 'b', 'on', '{\"meta\":{\"name\":\"Halle\"}}', 1, 1, 1, NULL, NULL, NULL, NULL, 5, 1, 5, 10000, 9, NULL);",
        )
        .unwrap();
        assert_eq!(migrate(&mut db), Ok(Some(3)));
        let of = |sql: &str| -> Vec<(String, Option<i64>)> {
            let mut all = db.prepare(sql).unwrap();
            let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            rows.map(Result::unwrap).collect()
        };
        let why = of("SELECT input, why FROM owners ORDER BY input");
        let expect = [("new", None), ("off", Some(2)), ("on", None)];
        assert_eq!(why, expect.map(|(input, why)| (input.to_owned(), why)));
        let lengths = of("SELECT track, ns FROM lengths WHERE video = 2 ORDER BY track");
        let expect = ["audio.cmaf", "video.cmaf"].map(|t| (t.to_owned(), Some(10_000_000_000)));
        assert_eq!(lengths, expect);
        assert_eq!(of("SELECT track, ns FROM lengths WHERE video = 1"), []);
        for (table, at) in [("input_names", 1), ("video_names", 2)] {
            let sql = format!("SELECT 'found', rowid FROM {table} WHERE {table} MATCH ?1");
            let found = db.query_row(&sql, [super::super::names::query("HALL")], |row| row.get(1));
            assert_eq!(found, Ok(at), "{table}");
        }
    }

    #[test]
    fn migrating_twice_changes_nothing() {
        let mut db = with(0, 0, "");
        assert_eq!(migrate(&mut db), Ok(None), "a new one has no format of before");
        let before = db.total_changes();
        assert_eq!(migrate(&mut db), Ok(None));
        assert_eq!(db.total_changes(), before);
        assert_eq!(check(&db), Ok(FORMAT));
    }
}
