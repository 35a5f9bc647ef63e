//! Chats of videos.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::chat::{ChatChange, ChatMessage, ChatPage};
use crate::error::EngineError;
use crate::ids::{VideoUid, column};
use crate::limits::{CHAT_MESSAGES, LIST_ROWS};

fn message(row: &Row<'_>) -> rusqlite::Result<ChatMessage> {
    Ok(ChatMessage {
        id: column::u64(row, 0)?,
        at_ms: column::u64(row, 1)?,
        name: row.get(2)?,
        text: row.get(3)?,
    })
}

fn ordinal(db: &Connection, video: &VideoUid) -> Result<Option<i64>, EngineError> {
    let mut select = db.prepare_cached("SELECT ordinal FROM videos WHERE uid = ?1")?;
    Ok(select.query_row([video], |row| row.get(0)).optional()?)
}

pub(crate) fn change(
    db: &Connection,
    video: &VideoUid,
    changes: &[ChatChange],
) -> Result<Vec<usize>, EngineError> {
    let Some(video) = ordinal(db, video)? else { return Ok(vec![0; changes.len()]) };
    let one = |change: &ChatChange| match change {
        ChatChange::Said(said) => add(db, video, said),
        ChatChange::Deleted(id) => {
            let sql = "UPDATE chat SET name = '', text = NULL WHERE video = ?1 AND id = ?2 AND text IS NOT NULL";
            Ok(db.prepare_cached(sql)?.execute(params![video, column::to(*id)])?)
        }
        ChatChange::Cleared => {
            let sql =
                "UPDATE chat SET name = '', text = NULL WHERE video = ?1 AND text IS NOT NULL";
            Ok(db.prepare_cached(sql)?.execute([video])?)
        }
    };
    changes.iter().map(one).collect()
}

fn add(db: &Connection, video: i64, said: &ChatMessage) -> Result<usize, EngineError> {
    let id = column::to(said.id);
    let added = db
        .prepare_cached("INSERT OR IGNORE INTO chat VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![video, id, column::to(said.at_ms), said.name, said.text])?;
    // Numbers rise by one, so what is too much is known without counting.
    db.prepare_cached("DELETE FROM chat WHERE video = ?1 AND id <= ?2")?
        .execute(params![video, id - column::to(CHAT_MESSAGES)])?;
    Ok(added)
}

pub(crate) fn list(
    db: &Connection,
    video: &VideoUid,
    page: ChatPage,
    rows: usize,
) -> Result<Vec<ChatMessage>, EngineError> {
    let Some(video) = ordinal(db, video)? else { return Ok(Vec::new()) };
    let (which, bound, forward) = match page {
        ChatPage::After(id) => ("id > ?2", id, true),
        ChatPage::Before(id) => ("id < ?2", id, false),
        ChatPage::Until(ms) => ("at_ms <= ?2", ms, false),
    };
    let order = if forward { "ASC" } else { "DESC" };
    let sql = format!(
        "SELECT id, at_ms, name, text FROM chat WHERE video = ?1 AND {which} AND text IS NOT NULL
         ORDER BY id {order} LIMIT ?3"
    );
    let rows = i64::try_from(rows.min(LIST_ROWS)).unwrap_or(i64::MAX);
    let mut found: Vec<ChatMessage> = db
        .prepare_cached(&sql)?
        .query_map(params![video, column::to(bound), rows], message)?
        .collect::<rusqlite::Result<_>>()?;
    if !forward {
        found.reverse();
    }
    Ok(found)
}

pub(crate) fn end(db: &Connection, video: &VideoUid) -> Result<(u64, u64), EngineError> {
    let Some(video) = ordinal(db, video)? else { return Ok((0, 0)) };
    let sql = "SELECT id, at_ms FROM chat WHERE video = ?1 ORDER BY id DESC LIMIT 1";
    let newest = db
        .prepare_cached(sql)?
        .query_row([video], |row| Ok((column::u64(row, 0)?, column::u64(row, 1)?)))
        .optional()?;
    Ok(newest.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_bound_and_the_oldest_go() {
        let mut db = Connection::open_in_memory().unwrap();
        super::super::schema::migrate(&mut db).unwrap();
        let uid = VideoUid::from_random([1; 16]);
        db.execute(
            "INSERT INTO videos (uid, input, document, rev, created_ms, modified_ms, segments, duration_ms, bytes)
             VALUES (?1, 'i', '{}', 1, 1, 1, 0, 0, 0)",
            [&uid],
        )
        .unwrap();
        let say = |id: u64| {
            let text = format!("number {id}");
            ChatChange::Said(ChatMessage { id, at_ms: id, name: "a".to_owned(), text })
        };
        change(&db, &uid, &[say(1), say(2)]).unwrap();
        // As if there had been as many as there may be.
        change(&db, &uid, &[say(CHAT_MESSAGES + 1)]).unwrap();
        let ids = |page| -> Vec<u64> {
            list(&db, &uid, page, 10).unwrap().iter().map(|said| said.id).collect()
        };
        assert_eq!(ids(ChatPage::After(0)), [2, CHAT_MESSAGES + 1]);
        assert_eq!(end(&db, &uid).unwrap(), (CHAT_MESSAGES + 1, CHAT_MESSAGES + 1));
    }
}
