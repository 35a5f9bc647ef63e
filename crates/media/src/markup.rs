//! Text in HTML and XML.

/// For text and for attributes in quotes. What controls a terminal has no place there (XML 1.0 §2.2), and lines are no
/// words.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // Of HTML and XML both; `&apos;` is not of HTML 4.
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(' '),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        for (text, expect) in [
            ("Hall 1 · ü", "Hall 1 · ü"),
            ("\"><script>'&", "&quot;&gt;&lt;script&gt;&#39;&amp;"),
            ("a\nb\u{7}\u{85}c\td", "a bc d"),
        ] {
            assert_eq!(escaped(text), expect);
        }
    }
}
