//! Names, found by any part of them whatever its case: an index (FTS5) of their characters in threes.
//!
//! Such a table holds no text, only which rows have which three characters, and where. A part of three characters or more
//! is threes in a row; a shorter one is how some begin, and two marks behind each name let its last characters begin
//! some, too. So what is found contains the part, none is left out, and it comes in the order of the rows.

use rusqlite::{Connection, params};
use serde_json::{Map, Value};

use crate::error::EngineError;
use crate::limits::NAME_SEARCHED_CHARS;

/// Whose names.
#[derive(Clone, Copy)]
pub(super) enum Names {
    Inputs,
    Videos,
}

/// Stands behind a name; no character is so large.
const END: u32 = 0xff_ffff;

impl Names {
    /// The table.
    pub(super) fn table(self) -> &'static str {
        match self {
            Self::Inputs => "input_names",
            Self::Videos => "video_names",
        }
    }

    /// The row is called what its own values say, from now on.
    pub(super) fn put(
        self,
        db: &Connection,
        ordinal: i64,
        meta: &Map<String, Value>,
    ) -> Result<(), EngineError> {
        let table = self.table();
        match meta.get("name").and_then(Value::as_str) {
            Some(name) => {
                let sql = format!("INSERT OR REPLACE INTO {table} (rowid, name) VALUES (?1, ?2)");
                db.prepare_cached(&sql)?.execute(params![ordinal, threes(name)])?;
            }
            None => {
                let sql = format!("DELETE FROM {table} WHERE rowid = ?1");
                db.prepare_cached(&sql)?.execute([ordinal])?;
            }
        }
        Ok(())
    }

    /// Takes the names of all rows: there was no index before.
    pub(super) fn fill(self, db: &Connection) -> Result<(), EngineError> {
        let rows = match self {
            Self::Inputs => "inputs",
            Self::Videos => "videos",
        };
        let sql = format!("SELECT ordinal, json_extract(document, '$.meta') FROM {rows}");
        let mut select = db.prepare(&sql)?;
        let mut found = select.query([])?;
        while let Some(row) = found.next()? {
            let meta: Option<String> = row.get(1)?;
            let meta = meta.and_then(|text| serde_json::from_str(&text).ok());
            self.put(db, row.get(0)?, &meta.unwrap_or_default())?;
        }
        Ok(())
    }
}

/// What a table is asked for to find the names that contain this; nothing is found by what is longer than what is kept.
pub(super) fn query(part: &str) -> String {
    let part: Vec<u32> = characters(part, NAME_SEARCHED_CHARS + 1);
    match part.len() {
        1 | 2 => format!("\"{}\"*", token(&part)),
        3..=NAME_SEARCHED_CHARS => format!("\"{}\"", tokens(&part)),
        _ => format!("\"{}\"", token(&[END; 3])),
    }
}

fn threes(name: &str) -> String {
    let mut all = characters(name, NAME_SEARCHED_CHARS);
    all.extend([END; 2]);
    tokens(&all)
}

fn characters(text: &str, max: usize) -> Vec<u32> {
    text.chars().flat_map(char::to_lowercase).take(max).map(u32::from).collect()
}

fn tokens(characters: &[u32]) -> String {
    let all: Vec<String> = characters.windows(3).map(token).collect();
    all.join(" ")
}

/// Six hex digits a character: letters and digits, which the table takes as one word.
fn token(characters: &[u32]) -> String {
    characters.iter().map(|c| format!("{c:06x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_finds_the_names_that_contain_it_and_no_others() {
        let mut db = Connection::open_in_memory().unwrap();
        super::super::schema::migrate(&mut db).unwrap();
        let long = format!("{}z", "y".repeat(NAME_SEARCHED_CHARS));
        let names = [
            "Hall 1",
            "hall 11",
            "Größe \u{130}",
            "日本語の放送",
            "a\"b*c OR d",
            "x",
            "",
            "abcabd",
            long.as_str(),
            "hel\u{0}lo",
        ];
        for (ordinal, name) in (1..).zip(names) {
            let meta = Map::from_iter([("name".to_owned(), (*name).into())]);
            Names::Videos.put(&db, ordinal, &meta).unwrap();
        }
        let find = |part: &str| -> Vec<i64> {
            let sql = "SELECT rowid FROM video_names WHERE video_names MATCH ?1";
            let mut select = db.prepare(sql).unwrap();
            let rows = select.query_map([query(part)], |row| row.get(0)).unwrap();
            rows.map(Result::unwrap).collect()
        };
        let kept = |name: &str| -> String {
            let all = name.chars().flat_map(char::to_lowercase);
            all.take(NAME_SEARCHED_CHARS).collect()
        };
        let parts = [
            "h",
            "ha",
            "hal",
            "HALL 1",
            "l 11",
            "11",
            "1",
            "öße",
            "SS",
            "語",
            "本語",
            "の放送",
            "\"b*",
            " or d",
            "x",
            "xx",
            "abd",
            "cab",
            "bca",
            "bcb",
            "i\u{307}",
            "\u{0}lo",
            "yyy",
            "z",
            "nothing",
            "*",
            "\"",
            "abcabdx",
            "zz",
            "\u{10ffff}",
        ];
        for part in parts {
            let contains = |name: &&str| kept(name).contains(&kept(part));
            let expect: Vec<i64> =
                (1..).zip(names).filter(|(_, name)| contains(name)).map(|(at, _)| at).collect();
            assert_eq!(find(part), expect, "{part:?}");
        }
        assert_eq!(find(&long), [0_i64; 0], "longer than what is kept");
        Names::Videos.put(&db, 1, &Map::new()).unwrap();
        assert_eq!(find("hall"), [2], "a name that was taken away");
    }
}
