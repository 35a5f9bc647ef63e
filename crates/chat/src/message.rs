//! What a viewer sends: `{"name": "...", "text": "..."}`, and what is made of it.
//!
//! Text is text: nothing in it is markup to anybody. What is taken out here is what would change how *other* text is shown:
//! control characters, changes of direction, characters that cannot be seen, and towers of marks.

use serde::Deserialize;

use crate::limits::{MARKS_MAX, MESSAGE_BYTES_MAX, NAME_CHARS_MAX, TEXT_CHARS_MAX};

/// What somebody says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What he calls himself.
    pub name: String,
    /// What he says.
    pub text: String,
}

/// Why a message is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is no JSON object with a name and a text.
    #[error("a message is JSON with a name and a text")]
    Malformed,
    /// Nothing of the name can be seen.
    #[error("a message needs a name")]
    NoName,
    /// The name is too long.
    #[error("a name has at most {NAME_CHARS_MAX} characters")]
    LongName,
    /// Nothing of the text can be seen.
    #[error("a message needs a text")]
    NoText,
    /// The text is too long.
    #[error("a message has at most {TEXT_CHARS_MAX} characters")]
    LongText,
}

#[derive(Deserialize)]
struct Sent {
    name: String,
    text: String,
}

impl Said {
    /// Reads a message.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unfit> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(Unfit::LongText);
        }
        let Sent { name, text } = serde_json::from_slice(bytes).map_err(|_| Unfit::Malformed)?;
        let (name, text) = (clean(&name), clean(&text));
        if name.is_empty() {
            return Err(Unfit::NoName);
        }
        if text.is_empty() {
            return Err(Unfit::NoText);
        }
        if name.chars().count() > NAME_CHARS_MAX {
            return Err(Unfit::LongName);
        }
        if text.chars().count() > TEXT_CHARS_MAX {
            return Err(Unfit::LongText);
        }
        Ok(Self { name, text })
    }
}

/// One line of what can be seen.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut marks = 0;
    for c in text.chars() {
        if c.is_whitespace() {
            // One between words, none before the first.
            if !out.is_empty() && !out.ends_with(' ') {
                out.push(' ');
            }
            marks = 0;
            continue;
        }
        if c.is_control() || unseen(c) {
            continue;
        }
        marks = if is_mark(c) { marks + 1 } else { 0 };
        if marks <= MARKS_MAX {
            out.push(c);
        }
    }
    out.truncate(out.trim_end().len());
    // Joiners alone are nothing to see.
    if out.chars().all(|c| is_joiner(c) || c == ' ' || is_mark(c)) {
        out.clear();
    }
    out
}

/// Format characters of Unicode: those that change the direction of what follows, and those without width, but for the
/// joiners, which emoji and several languages are written with.
fn unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

/// Blocks of marks that belong to no language's letters of their own.
fn is_mark(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(name: &str, text: &str) -> Vec<u8> {
        serde_json::json!({ "name": name, "text": text }).to_string().into_bytes()
    }

    /// The same table holds for the page, which knows what it has said by what comes back.
    #[test]
    fn a_line_is_what_can_be_seen_of_it() {
        let lines: Vec<(String, String)> =
            serde_json::from_str(include_str!("lines.json")).unwrap();
        assert!(lines.len() > 10);
        for (line, shown) in lines {
            assert_eq!(clean(&line), shown, "{}", line.escape_unicode());
        }
    }

    #[test]
    fn what_is_sent_is_read_as_one_line_of_text() {
        for (name, text, expect) in [
            ("Ann", "hello", Ok(("Ann", "hello"))),
            ("  Ann \t B ", "one\n\n two\r\n", Ok(("Ann B", "one two"))),
            // Markup is text like any other: it is kept, and shown as it is.
            (
                "<b>Ann</b>",
                "<script>alert(1)</script> & \"'",
                Ok(("<b>Ann</b>", "<script>alert(1)</script> & \"'")),
            ),
            ("A\u{0}n\u{1b}[1mn", "a\u{202e}b\u{2066}c", Ok(("An[1mn", "abc"))),
            (
                "Ann",
                "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} caf\u{65}\u{301}",
                Ok(("Ann", "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} caf\u{65}\u{301}")),
            ),
            (
                "Ann",
                "Z\u{300}\u{301}\u{302}\u{303}\u{304}\u{305}algo",
                Ok(("Ann", "Z\u{300}\u{301}\u{302}algo")),
            ),
            (" \u{200b}\u{200d} ", "hello", Err(Unfit::NoName)),
            ("\u{3164}", "hello", Err(Unfit::NoName)),
            ("Ann", "\u{200f}\n", Err(Unfit::NoText)),
            ("Ann", "", Err(Unfit::NoText)),
        ] {
            let expect = expect
                .map(|(name, text): (&str, &str)| Said { name: name.into(), text: text.into() });
            assert_eq!(Said::parse(&sent(name, text)), expect, "{name:?} {text:?}");
        }
    }

    #[test]
    fn there_are_bounds() {
        let (name, text) = ("n".repeat(NAME_CHARS_MAX), "\u{1f600}".repeat(TEXT_CHARS_MAX));
        let both = Said { name: name.clone(), text: text.clone() };
        assert_eq!(Said::parse(&sent(&name, &text)), Ok(both), "the longest fits");
        assert_eq!(Said::parse(&sent(&(name + "n"), "a")), Err(Unfit::LongName));
        assert_eq!(Said::parse(&sent("n", &(text + "!"))), Err(Unfit::LongText));
        assert_eq!(Said::parse(&sent("n", &" ".repeat(MESSAGE_BYTES_MAX))), Err(Unfit::LongText));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bytes in [
            &b""[..],
            b"hello",
            b"[]",
            b"null",
            b"{\"name\":\"a\"}",
            b"{\"name\":1,\"text\":\"b\"}",
            b"{\"name\":\"a\",\"text\":\"b\"} x",
            b"{\"name\":\"a\",\"text\":\"\\ud800\"}",
            b"{\"name\":\"a\",\"text\":\"\xff\"}",
        ] {
            assert_eq!(Said::parse(bytes), Err(Unfit::Malformed), "{:?}", bytes.escape_ascii());
        }
        let more = br#"{"text":"b","name":"a","colour":{"red":[1]}}"#;
        assert_eq!(Said::parse(more), Ok(Said { name: "a".into(), text: "b".into() }));
    }
}
