//! Just enough of Rust's grammar for rules about text: what is code, what is comment or string, what is test.

use std::collections::BTreeSet;

use crate::tree::Tree;

/// One Rust file, seen line by line.
#[derive(Debug)]
pub struct Source {
    lines: Vec<Line>,
}

/// One line of a Rust file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Counted from 1.
    pub number: usize,
    /// As it stands in the file.
    pub raw: String,
    /// The same with comments and the insides of strings and characters blanked.
    pub code: String,
    /// Whether it belongs to an item under `#[cfg(test)]`.
    pub test: bool,
}

impl Source {
    /// Reads a file's text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let code = blank(text);
        let test = test_lines(&code);
        let lines = text
            .lines()
            .zip(code.lines())
            .enumerate()
            .map(|(index, (raw, code))| Line {
                number: index + 1,
                raw: raw.to_owned(),
                code: code.to_owned(),
                test: test.contains(&index),
            })
            .collect();
        Self { lines }
    }

    /// All lines.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }
}

/// The Rust files under the `src` folders of crates, each with whether all of it is test code, because a
/// `#[cfg(test)] mod name;` elsewhere brings it in.
#[must_use]
pub fn sources(tree: &Tree) -> Vec<(&str, Source, bool)> {
    let files: Vec<_> = tree
        .with_ending(&["rs"])
        .filter(|(path, _)| in_src(path))
        .map(|(path, text)| (path, Source::new(text)))
        .collect();
    let test_modules: Vec<String> =
        files.iter().flat_map(|(path, source)| test_modules(path, source)).collect();
    let is_test = |path: &str| {
        test_modules
            .iter()
            .any(|module| path == format!("{module}.rs") || path.starts_with(&format!("{module}/")))
    };
    files.into_iter().map(|(path, source)| (path, source, is_test(path))).collect()
}

/// `crates/NAME/src/...`
fn in_src(path: &str) -> bool {
    let mut parts = path.split('/');
    parts.next() == Some("crates") && parts.nth(1) == Some("src")
}

/// The paths, without ending, of the modules that this file declares under `#[cfg(test)]` and keeps elsewhere.
fn test_modules(path: &str, source: &Source) -> Vec<String> {
    let stem = path.trim_end_matches(".rs");
    let beside = stem.rsplit_once('/').map_or("", |(folder, _)| folder);
    let below = match stem.strip_prefix(beside) {
        Some("/lib" | "/main" | "/mod") => beside,
        _ => stem,
    };
    let mut found = Vec::new();
    let mut named_file = None;
    for line in source.lines.iter().filter(|line| line.test) {
        if let Some((_, rest)) = line.raw.split_once("#[path = \"") {
            named_file = rest.split(".rs\"").next();
        }
        let module = line.code.split("mod ").nth(1);
        if let Some(name) = module.and_then(|rest| rest.strip_suffix(';')) {
            found.push(match named_file.take() {
                Some(file) => format!("{beside}/{file}"),
                None => format!("{below}/{name}"),
            });
        }
    }
    found
}

/// Replaces what is inside comments, strings and characters by blanks. Line ends stay, so lines keep their numbers.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => line_comment(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => block_comment(&chars, at),
            '"' => string(&chars, at),
            'r' if !follows_name(&chars, at) => raw_string(&chars, at),
            '\'' => character(&chars, at),
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

fn line_comment(chars: &[char], at: usize) -> usize {
    let length = chars[at..].iter().position(|c| *c == '\n');
    length.map_or(chars.len(), |length| at + length)
}

/// Block comments nest.
fn block_comment(chars: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (at, depth) = (at + 2, depth + 1),
            ('*', Some('/')) => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at.min(chars.len())
}

fn string(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// `r"..."`, `r#"..."#`, and with `b` or `c` before the `r`; `start` itself if it is none of them.
fn raw_string(chars: &[char], start: usize) -> usize {
    let hashes = chars[start + 1..].iter().take_while(|c| **c == '#').count();
    let open = start + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return start;
    }
    let closes = |at: usize| {
        chars[at] == '"' && (1..=hashes).all(|offset| chars.get(at + offset) == Some(&'#'))
    };
    (open + 1..chars.len()).find(|at| closes(*at)).map_or(chars.len(), |at| at + hashes + 1)
}

fn follows_name(chars: &[char], at: usize) -> bool {
    let name = |c: char| c.is_alphanumeric() || c == '_';
    match at.checked_sub(1).map(|before| chars[before]) {
        Some('b' | 'c') => at >= 2 && name(chars[at - 2]),
        Some(before) => name(before),
        None => false,
    }
}

/// A character literal, or `start` itself if this quote begins a lifetime.
fn character(chars: &[char], start: usize) -> usize {
    if chars.get(start + 1) == Some(&'\\') {
        let rest = chars.get(start + 3..).unwrap_or_default();
        let length = rest.iter().position(|c| *c == '\'');
        return length.map_or(chars.len(), |length| start + 3 + length + 1);
    }
    if chars.get(start + 2) == Some(&'\'') { start + 3 } else { start }
}

/// The indices of the lines that belong to an item under `#[cfg(test)]`, in text that went through [`blank`].
fn test_lines(code: &str) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    for (start, _) in code.match_indices("#[cfg(test)]") {
        let end = start + item_length(&code[start..]);
        let line = |offset: usize| code[..offset].matches('\n').count();
        found.extend(line(start)..=line(end));
    }
    found
}

/// The length of the item that `code` begins with: up to its `;` or its closing brace.
fn item_length(code: &str) -> usize {
    let mut depth = 0_i32;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' => depth -= 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
            ';' if depth == 0 => return at,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_blanked() {
        for (text, want) in [
            ("a // b", "a     "),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("x\"y", 'z', '\'', "w")"#, "f(      ,    ,     ,    )"),
            ("f(r#\"a\"b\"#, br\"c\")", "f(        , b    )"),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("var\"s\"", "var   "),
        ] {
            assert_eq!(blank(text), want, "{text}");
        }
    }

    #[test]
    fn lines_keep_their_numbers() {
        let source = Source::new("/* a\nb */ let c = \"d\ne\";\nf();\n");
        assert_eq!(source.lines().len(), 4);
        assert_eq!(source.lines()[3].code, "f();");
    }

    #[test]
    fn test_items_end_where_they_end() {
        let text = "#[cfg(test)]\nmod tests;\nfn a() {}\n#[cfg(test)]\nmod more {\n    fn b() { \"}\"; }\n}\nfn c() {}\n";
        let source = Source::new(text);
        let test: Vec<_> = source.lines().iter().map(|line| line.test).collect();
        assert_eq!(test, [true, true, false, true, true, true, true, false]);
    }

    #[test]
    fn modules_declared_for_tests_are_test_files() {
        let tree = Tree::fake(&[
            ("crates/x/src/lib.rs", "#[cfg(test)]\nmod tests;\nmod real;"),
            ("crates/x/src/tests.rs", ""),
            ("crates/x/src/real.rs", "#[cfg(test)]\npub(crate) mod model;"),
            ("crates/x/src/real/model.rs", ""),
            ("crates/x/src/real/part.rs", "#[cfg(test)]\n#[path = \"part_tests.rs\"]\nmod tests;"),
            ("crates/x/src/real/part_tests.rs", ""),
            ("crates/x/src/real/model/deep.rs", ""),
            ("crates/x/tests/it.rs", ""),
        ]);
        let test: Vec<_> = sources(&tree)
            .into_iter()
            .filter(|(_, _, test)| *test)
            .map(|(path, _, _)| path)
            .collect();
        assert_eq!(
            test,
            [
                "crates/x/src/real/model.rs",
                "crates/x/src/real/model/deep.rs",
                "crates/x/src/real/part_tests.rs",
                "crates/x/src/tests.rs"
            ]
        );
    }
}
