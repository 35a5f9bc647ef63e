//! How much of the database a list walks through, counted in steps of SQLite's machine (a row that is looked at takes
//! several), those of its name indexes among them. Never in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;

use super::{inputs, schema, videos};
use crate::error::EngineError;
use crate::input::Page;
use crate::video::VideoFilter;

/// Of each kind.
const ROWS: u64 = 100_000;

/// A database of the format before names were indexed, brought to this one.
fn full() -> Connection {
    let mut db = Connection::open_in_memory().unwrap();
    schema::migrate_to(&mut db, 6).unwrap();
    db.execute_batch(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
         INSERT INTO inputs SELECT i, printf('%032x', i * 2654435761), json_object('meta', json_object('name', 'Hall ' || i)),
             x'', i, i, NULL, 1 FROM n;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
         INSERT INTO videos SELECT i, printf('%032x', i * 2654435761), printf('%032x', i % 50),
             json_object('meta', json_object('name', 'Hall ' || i), 'creator', 'c' || (i % 5000)), 1, i, i,
             iif(i % 1000, i + 9, NULL), 0, NULL, NULL, 1, 1, 1, 2000, 9, NULL, NULL FROM n;"
    ))
    .unwrap();
    schema::migrate(&mut db).unwrap();
    db
}

/// The steps of what is done with a database.
fn steps<T>(db: &mut Connection, run: impl FnOnce(&Connection) -> T) -> (T, u64) {
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    let step = move || counted.fetch_add(1, Ordering::Relaxed) == u64::MAX;
    db.progress_handler(1, Some(step)).unwrap();
    let done = run(db);
    db.progress_handler(0, None::<fn() -> bool>).unwrap();
    (done, count.load(Ordering::Relaxed))
}

/// What a page may take beside what it counts: its own rows, and the way to them, each three characters of a part by itself.
const PAGE_STEPS: u64 = 10_000;
/// And what is counted, for each: numbers out of two indexes, put together.
const COUNTED_STEPS: u64 = 60;

#[test]
fn a_list_looks_at_what_it_has_and_not_at_a_hundred_thousand_others() {
    let mut db = full();
    let page = Page { rows: 20, ..Page::default() };
    let check = |what: &str,
                 list: (Result<(usize, u64), EngineError>, u64),
                 expect: (usize, u64),
                 counted: u64| {
        assert_eq!(list.0, Ok(expect), "{what}");
        let most = PAGE_STEPS + COUNTED_STEPS * counted;
        assert!(list.1 <= most, "{what}: {} steps, {most} allowed", list.1);
    };
    let after = Page { after: Some(50), ..page };
    // The index of names counts what it finds; a part that is short is no other way.
    for (part, page, rows, total) in [
        ("hall 99999", page, 1, 1),
        ("L 4242", page, 11, 11),
        ("9999", page, 19, 19),
        ("99999", after, 0, 1),
        ("77", page, 20, 3_691),
        ("zzz", page, 0, 0),
        ("q", page, 0, 0),
    ] {
        let inputs =
            steps(&mut db, |db| inputs::find(db, part, page).map(|l| (l.rows.len(), l.total)));
        check(&format!("inputs: {part}"), inputs, (rows, total), total);
        let filter = VideoFilter { search: Some(part.to_owned()), ..VideoFilter::default() };
        let videos =
            steps(&mut db, |db| videos::list(db, &filter, page).map(|l| (l.rows.len(), l.total)));
        check(&format!("videos: {part}"), videos, (rows, total), total);
    }
    let id = format!("{:032x}", 7_u64 * 2_654_435_761);
    let list =
        steps(&mut db, |db| inputs::find(db, &id[..28], page).map(|l| (l.rows.len(), l.total)));
    check("the beginning of an id", list, (1, 1), 1);
    let any = VideoFilter::default;
    let text = |text: &str| Some(text.to_owned());
    for (filter, rows, total) in [
        (any(), 20, ROWS),
        (VideoFilter { creator: text("c77"), ..any() }, 20, 20),
        (VideoFilter { creator: text("c77"), search: text("hall 77"), ..any() }, 1, 1),
        (VideoFilter { named: Some(vec!["Hall 7".into(), id.clone()]), ..any() }, 1, 1),
        (VideoFilter { uids: Some(vec![id, "x".into()]), ..any() }, 1, 1),
        (VideoFilter { live: Some(true), ..any() }, 20, 100),
        (VideoFilter { created_from_ms: Some(ROWS - 30), ..any() }, 20, 31),
        (VideoFilter { created_before_ms: Some(31), ..any() }, 20, 30),
    ] {
        let list =
            steps(&mut db, |db| videos::list(db, &filter, page).map(|l| (l.rows.len(), l.total)));
        let counted = match &filter {
            // All of them are counted by the pages of an index, not row by row.
            _ if total == ROWS => 0,
            // What a search finds is looked at for what else is asked for.
            VideoFilter { search: Some(_), .. } => 1_111,
            _ => total,
        };
        check(&format!("{filter:?}"), list, (rows, total), counted);
    }
    let list = steps(&mut db, |db| inputs::list(db, page).map(|l| (l.rows.len(), l.total)));
    check("inputs", list, (20, ROWS), 0);
    // What is gone is not found any more.
    db.execute("DELETE FROM videos WHERE ordinal = 99999", []).unwrap();
    let filter = VideoFilter { search: text("hall 99999"), ..any() };
    assert_eq!(videos::list(&db, &filter, page).unwrap().rows, []);
}
