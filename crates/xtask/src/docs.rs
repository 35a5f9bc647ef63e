//! Documents that are written by the code: `cargo run -p xtask -- docs`. A test compares them.

use std::fmt::Write;

use crate::tree::Tree;
use crate::{Finding, moq};

/// The file of every key of the configuration, with its explanation.
const DEFAULTS: &str = "crates/node/src/config/defaults.toml";

type Make = fn(&Tree) -> String;

/// What is generated: its path, and what makes it.
const GENERATED: &[(&str, Make)] = &[
    ("docs/limits.md", limits),
    ("docs/configuration.md", configuration),
    ("docs/protocols/moq-tests.md", moq::page),
];

/// Every generated document that is not what the code says.
#[must_use]
pub fn stale(tree: &Tree) -> Vec<Finding> {
    GENERATED
        .iter()
        .filter(|(path, make)| tree.text(path) != Some(&make(tree)))
        .map(|(path, _)| {
            Finding::new(*path, "is not what the code says; write it: cargo run -p xtask -- docs")
        })
        .collect()
}

/// Every generated document with its text.
pub fn all(tree: &Tree) -> impl Iterator<Item = (&'static str, String)> {
    GENERATED.iter().map(|(path, make)| (*path, make(tree)))
}

/// One key of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// `section.key`
    pub name: String,
    /// As TOML.
    pub default: String,
    /// The comment above it; of several keys under one comment, all have it.
    pub explanation: String,
}

/// Every key of the configuration, in the order of the file.
#[must_use]
pub fn keys(tree: &Tree) -> Vec<Key> {
    let (mut section, mut comment, mut keys) = ("", Vec::new(), Vec::new());
    for line in tree.text(DEFAULTS).unwrap_or_default().lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = name;
            comment.clear();
        } else if let Some(text) = line.strip_prefix('#') {
            // A comment behind a key begins anew.
            if keys.last().is_some_and(|k: &(Key, bool)| !k.1) {
                comment.clear();
                keys.iter_mut().for_each(|k| k.1 = true);
            }
            comment.push(text.trim());
        } else if let Some((key, default)) = line.split_once(" = ") {
            let (name, explanation) = (format!("{section}.{key}"), comment.join(" "));
            keys.push((Key { name, default: default.to_owned(), explanation }, false));
        }
    }
    keys.into_iter().map(|(key, _)| key).collect()
}

fn configuration(tree: &Tree) -> String {
    let mut out = String::from(
        "# Configuration\n\nEvery key with its default, written from `crates/node/src/config/defaults.toml`, which is also \
         what\n`airwave config init` prints. Later ones win: built-in defaults, `--config FILE` (TOML), the environment\n\
         (`AIRWAVE__HTTP__LISTEN`), `--data` and `--set http.listen=127.0.0.1:8080`. An unknown key is an error; \
         `airwave config\ncheck` tells all errors at once, `airwave config print` where each value came from. `SIGHUP` \
         reads everything again.\n",
    );
    let mut section = String::new();
    for key in keys(tree) {
        let (own, _) = key.name.split_once('.').unwrap_or((&key.name, ""));
        if own != section {
            let _ = write!(out, "\n## {own}\n\n| key | default | |\n|---|---|---|\n");
            own.clone_into(&mut section);
        }
        let _ = writeln!(
            out,
            "| `{}` | `{}` | {} |",
            key.name,
            key.default,
            key.explanation.replace('|', "\\|")
        );
    }
    out
}

fn limits(tree: &Tree) -> String {
    let mut out = String::from(
        "# Limits\n\nEvery number that protects a node or a client from what others send, with its reason, written from \
         the `limits.rs` of each\ncrate. What users may change is in [the configuration](configuration.md).\n",
    );
    for (path, text) in tree.files().filter(|(path, _)| path.ends_with("/src/limits.rs")) {
        let name = path.split('/').nth(1).unwrap_or_default();
        let about: Vec<&str> =
            text.lines().map_while(|l| l.strip_prefix("//!")).map(str::trim).collect();
        let _ = write!(
            out,
            "\n## {name}\n\n{}\n\n| limit | number | why, and what happens |\n|---|---|---|\n",
            about.join(" ")
        );
        for limit in of_file(text) {
            let _ = writeln!(out, "| `{}` | {} | {} |", limit.name, limit.number, limit.why);
        }
    }
    out
}

struct Limit {
    name: String,
    number: String,
    why: String,
}

/// Constants, and the fields of a struct whose `Default` gives them their numbers.
fn of_file(text: &str) -> Vec<Limit> {
    let mut found: Vec<Limit> = Vec::new();
    let mut doc: Vec<&str> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("///") {
            doc.push(text.trim());
            continue;
        }
        let why = plain(&doc.join(" "));
        let constant =
            line.strip_prefix("pub const ").or_else(|| line.strip_prefix("pub(crate) const "));
        let field = line
            .strip_prefix("pub ")
            .and_then(|l| l.strip_suffix(','))
            .and_then(|l| l.split_once(": "));
        if let Some((name, rest)) = constant.and_then(|c| c.split_once(':')) {
            let mut value = rest.split_once('=').map_or("", |(_, v)| v).trim().to_owned();
            // A long value stands on the next lines.
            while !value.ends_with(';') {
                let Some(more) = lines.next() else { break };
                value.push_str(more.trim());
            }
            let number = number(name, value.trim_end_matches(';'));
            found.push(Limit { name: name.to_owned(), number, why });
        } else if let Some((name, _)) = field.filter(|_| !doc.is_empty()) {
            found.push(Limit { name: name.to_owned(), number: String::new(), why });
        } else if let Some((name, value)) = line.strip_suffix(',').and_then(|l| l.split_once(": "))
            && let Some(limit) = found.iter_mut().find(|l| l.name == name && l.number.is_empty())
        {
            limit.number = number(name, value);
        }
        if !line.starts_with("#[") {
            doc.clear();
        }
    }
    found.retain(|limit| !limit.number.is_empty());
    found
}

/// Links of rustdoc lead nowhere in a document of ours.
fn plain(doc: &str) -> String {
    let mut out = String::new();
    let mut rest = doc;
    while let Some((before, link)) = rest.split_once('[') {
        out.push_str(before);
        match link.split_once(']') {
            Some((text, after)) => {
                out.push_str(text);
                rest = match after.strip_prefix('(') {
                    Some(target) => target.split_once(')').map_or("", |(_, after)| after),
                    None => after,
                };
            }
            None => rest = link,
        }
    }
    out.push_str(rest);
    out.replace('|', "\\|")
}

/// A value as people read it: with its unit, where the name or the type says which.
fn number(name: &str, value: &str) -> String {
    let inside = |start: &str| value.strip_prefix(start).and_then(|v| v.strip_suffix(')'));
    for (start, unit) in [
        ("Duration::from_secs(", "s"),
        ("Duration::from_millis(", "ms"),
        ("Duration::from_micros(", "us"),
    ] {
        if let Some(n) = inside(start).and_then(evaluate) {
            return format!("{} {unit}", grouped(n));
        }
    }
    let Some(n) = evaluate(value) else {
        return format!("`{}`", value.replace('|', "\\|"));
    };
    let name = name.to_ascii_uppercase();
    match () {
        () if name.contains("BYTES") => bytes(n),
        () if name.contains("KIB") => bytes(n << 10),
        () if name.split('_').any(|word| word == "MS") => format!("{} ms", grouped(n)),
        () => grouped(n),
    }
}

/// Products and shifts of plain numbers.
fn evaluate(text: &str) -> Option<u128> {
    if let Some((left, right)) = text.split_once("<<") {
        return evaluate(left)?.checked_shl(u32::try_from(evaluate(right)?).ok()?);
    }
    text.split('*').try_fold(1u128, |product, factor| {
        let factor = factor.trim().replace('_', "");
        let n = match factor.strip_prefix("0x") {
            Some(hex) => u128::from_str_radix(hex, 16).ok()?,
            None => factor.parse().ok()?,
        };
        product.checked_mul(n)
    })
}

fn bytes(n: u128) -> String {
    match n {
        n if n >= 1 << 20 && n.is_multiple_of(1 << 20) => format!("{} MiB", grouped(n >> 20)),
        n if n >= 1 << 10 && n.is_multiple_of(1 << 10) => format!("{} KiB", grouped(n >> 10)),
        n => format!("{} bytes", grouped(n)),
    }
}

/// `1,234,567`
fn grouped(n: u128) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        for (name, value, expect) in [
            ("MESSAGE_BYTES_MAX", "8 << 20", "8 MiB"),
            ("HEAD_BYTES", "16 * 1024 * 1024 - 1", "`16 * 1024 * 1024 - 1`"),
            ("SPS_BYTES_MAX", "4 * 1024", "4 KiB"),
            ("NAME_BYTES_MAX", "4_097", "4,097 bytes"),
            ("QUEUE_KIB", "64 << 10", "64 MiB"),
            ("CONNECTIONS", "15_000", "15,000"),
            ("SETUP_TIMEOUT", "Duration::from_secs(10)", "10 s"),
            ("CUT_WAIT", "Duration::from_millis(1_500)", "1,500 ms"),
            ("PARTIAL_BYTES_MAX", "2 * MESSAGE_BYTES_MAX", "`2 * MESSAGE_BYTES_MAX`"),
            ("CHUNK_SIZE_MAX", "0xff_ffff", "16,777,215"),
        ] {
            assert_eq!(number(name, value), expect, "{name} = {value}");
        }
    }

    #[test]
    fn constants_and_fields_with_their_reasons() {
        let text = "//! Numbers.\n\n/// Why [`a`](b) is\n/// so | long.\npub const A_BYTES: usize = 1 << 10;\n\
                    /// A table.\npub const B: &[u8] =\n    &[1];\n\
                    pub struct Limits {\n    /// Of a group.\n    pub group_bytes: usize,\n}\n\
                    fn default() {\n    group_bytes: 64 << 20,\n}\nconst PRIVATE: u8 = 1;\n";
        let found: Vec<_> = of_file(text).into_iter().map(|l| (l.name, l.number, l.why)).collect();
        let row = |name: &str, number: &str, why: &str| {
            (name.to_owned(), number.to_owned(), why.to_owned())
        };
        assert_eq!(
            found,
            [
                row("A_BYTES", "1 KiB", "Why `a` is so \\| long."),
                row("B", "`&[1]`", "A table."),
                row("group_bytes", "64 MiB", "Of a group."),
            ]
        );
    }

    #[test]
    fn keys_have_the_comment_above_them() {
        let text = "# The file.\n\n[tls]\n# Both\n# files.\ncertificate = \"\"\nkey = \"\"\n# Other.\nx = 1\n[log]\ny = 2\n";
        let tree = Tree::fake(&[(DEFAULTS, text)]);
        let found: Vec<_> =
            keys(&tree).into_iter().map(|k| (k.name, k.default, k.explanation)).collect();
        let row = |name: &str, default: &str, text: &str| {
            (name.to_owned(), default.to_owned(), text.to_owned())
        };
        assert_eq!(
            found,
            [
                row("tls.certificate", "\"\"", "Both files."),
                row("tls.key", "\"\"", "Both files."),
                row("tls.x", "1", "Other."),
                row("log.y", "2", ""),
            ]
        );
    }

    #[test]
    fn a_document_that_is_behind_is_found() {
        let files = [
            (DEFAULTS, "[a]\n# B.\nb = 1\n"),
            ("crates/x/src/limits.rs", "/// C.\npub const D: u8 = 1;\n"),
        ];
        let tree = Tree::fake(&files);
        assert_eq!(stale(&tree).len(), GENERATED.len());
        let written: Vec<(&str, String)> = all(&tree).collect();
        let mut with: Vec<(&str, &str)> = files.to_vec();
        with.extend(written.iter().map(|(path, text)| (*path, text.as_str())));
        assert_eq!(stale(&Tree::fake(&with)), []);
        with[0].1 = "[a]\n# B.\nb = 2\n";
        assert_eq!(stale(&Tree::fake(&with)).len(), 1);
    }
}
