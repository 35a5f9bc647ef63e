//! Rules about documents.

use std::collections::BTreeSet;

use crate::Finding;
use crate::tree::Tree;
use crate::workspace::Package;

/// A decision that needs more is an essay: it goes elsewhere in docs/, and the decision points to it.
const DECISION_LINES_MAX: usize = 25;

/// Where the crates of others are listed, each with why it is here.
pub const DEPENDENCIES: &str = "docs/dependencies.md";

/// Where the table of [`not_older`] begins in it.
const NOT_OLDER: &str = "\n## Not older than\n";

/// Relative links lead somewhere, and to a heading that is there.
#[must_use]
pub fn links(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, text) in tree.with_ending(&["md"]) {
        for (number, target) in targets(text) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            if file.contains(':') {
                continue;
            }
            let page = if file.is_empty() { Some(path.to_owned()) } else { resolve(path, file) };
            let what = match page.filter(|page| tree.contains(page)) {
                None => format!("a link to {file}, which does not exist"),
                Some(page) if !has_heading(tree, &page, heading) => {
                    format!("a link to #{heading}, which is no heading of {page}")
                }
                Some(_) => continue,
            };
            found.push(Finding::new(format!("{path}:{number}"), what));
        }
    }
    found
}

/// `heading`: as in an address. None at all is all right, and so is any of what is no page.
fn has_heading(tree: &Tree, page: &str, heading: &str) -> bool {
    let text = tree.text(page).filter(|_| page.ends_with(".md") && !heading.is_empty());
    text.is_none_or(|text| headings(text).contains(heading))
}

/// The headings of a page as addresses have them: small letters, without signs; a second one of a name has `-1` behind it.
fn headings(text: &str) -> BTreeSet<String> {
    let (mut found, mut fenced) = (BTreeSet::new(), false);
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        let title = line.trim_start_matches('#').strip_prefix(' ');
        let Some(title) = title.filter(|_| line.starts_with('#') && !fenced) else { continue };
        let kept = |c: &char| c.is_alphanumeric() || "-_ ".contains(*c);
        let name: String = title.trim().chars().filter(kept).collect();
        let name = name.to_lowercase().replace(' ', "-");
        let numbered = (1..).map(|n| format!("{name}-{n}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !found.contains(name));
        found.extend(free);
    }
    found
}

/// The targets of `[text](target)` outside of code, with their line numbers.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Every second piece stands between backticks.
        for piece in line.split('`').step_by(2) {
            let links = piece.split("](").skip(1);
            let inside = links.filter_map(|rest| rest.split([')', ' ']).next());
            found.extend(inside.map(|target| (index + 1, target)));
        }
    }
    found
}

/// A relative target as a path from the root; none if it leaves the repository.
fn resolve(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// Decisions are short, and each has a number of its own.
#[must_use]
pub fn decisions(tree: &Tree) -> Vec<Finding> {
    let (mut findings, mut numbers) = (Vec::new(), BTreeSet::new());
    for (path, text) in tree.with_ending(&["md"]) {
        let Some(name) = path.strip_prefix("docs/decisions/") else { continue };
        let lines = text.lines().count();
        if lines > DECISION_LINES_MAX {
            let what = format!("{lines} lines, at most {DECISION_LINES_MAX}");
            findings.push(Finding::new(path, what));
        }
        let number = name.split('-').next().unwrap_or_default().to_owned();
        if !numbers.insert(number) {
            findings.push(Finding::new(path, "another decision has its number"));
        }
    }
    findings
}

/// Every crate of others that a manifest names is in the table of [`DEPENDENCIES`].
#[must_use]
pub fn dependencies(tree: &Tree, packages: &[Package]) -> Vec<Finding> {
    let listed: BTreeSet<&str> = tree
        .text(DEPENDENCIES)
        .and_then(|text| text.split(NOT_OLDER).next())
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let named: BTreeSet<&str> = packages
        .iter()
        .filter(|package| package.ours)
        .flat_map(|package| &package.dependencies)
        .filter(|dependency| !dependency.ours)
        .map(|dependency| dependency.name.as_str())
        .collect();
    named
        .difference(&listed)
        .map(|name| {
            Finding::new(DEPENDENCIES, format!("add a row for {name}: why it is here, its licence"))
        })
        .collect()
}

/// No crate in a lock file is older than the table in [`DEPENDENCIES`] says: versions before have known holes. `locks`: paths and texts.
#[must_use]
pub fn not_older(tree: &Tree, locks: &[(&str, String)]) -> Vec<Finding> {
    let text = tree.text(DEPENDENCIES).unwrap_or_default();
    let table = text.split_once(NOT_OLDER).map_or("", |(_, table)| table);
    let table = table.split_once("\n## ").map_or(table, |(table, _)| table);
    let rows: Vec<(&str, &str)> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .filter_map(|(name, rest)| Some((name, rest.split_once(" |")?.0)))
        .collect();
    if rows.is_empty() {
        return vec![Finding::new(
            DEPENDENCIES,
            "no table of versions that nothing may be older than",
        )];
    }
    let mut found = Vec::new();
    for (path, lock) in locks {
        for package in lock.split("[[package]]\n") {
            let value = |key: &str| {
                let line =
                    package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""));
                line.and_then(|line| line.strip_suffix('"')).unwrap_or_default()
            };
            let (name, is) = (value("name"), value("version"));
            for (_, least) in
                rows.iter().filter(|(of, least)| *of == name && numbers(is) < numbers(least))
            {
                found.push(Finding::new(
                    *path,
                    format!("{name} {is} is older than {least}: {DEPENDENCIES} says why not"),
                ));
            }
        }
    }
    found
}

/// The numbers of a version, for comparing; a pre-release counts as what it comes before.
fn numbers(version: &str) -> Vec<u64> {
    let plain = version.split(['-', '+']).next().unwrap_or_default();
    let mut numbers: Vec<u64> = plain.split('.').map(|part| part.parse().unwrap_or(0)).collect();
    numbers.resize(3, 0);
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::{Dependency, Kind};

    #[test]
    fn crates_with_known_holes() {
        let table = "# D\n\n| `h2` | why |\n\n## Not older than\n\n| crate | at least | why |\n|---|---|---|\n\
            | `h2` | 0.4.16 | frames |\n| `jsonwebtoken` | 11 | decided |\n\n## Else\n\n| `bytes` | 9 | no |\n";
        let tree = Tree::fake(&[(DEPENDENCIES, table)]);
        let lock = |name: &str, version: &str| {
            let package = |name: &str, version: &str| {
                format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n")
            };
            package("bytes", "1.0.0") + &package(name, version)
        };
        for (name, version, old) in [
            ("h2", "0.4.15", true),
            ("h2", "0.4.16", false),
            ("h2", "0.4.100", false),
            ("h2", "0.3.99", true),
            ("h2", "1.0.0", false),
            ("jsonwebtoken", "10.9.9", true),
            ("jsonwebtoken", "11.0.0", false),
            ("h2o", "0.1.0", false),
        ] {
            let found = not_older(&tree, &[("Cargo.lock", lock(name, version))]);
            assert_eq!(found.len(), usize::from(old), "{name} {version}: {found:?}");
        }
        assert_eq!(not_older(&Tree::fake(&[(DEPENDENCIES, "")]), &[]).len(), 1, "no table");
    }

    #[test]
    fn broken_links() {
        for (link, good) in [
            ("[a](b.md)", true),
            ("[a](../LICENSE)", true),
            ("[a](../docs)", true),
            ("[a](./b.md#part)", true),
            ("[a](b.md#a-part-with-signs-1)", true),
            ("[a](b.md#a-part-with-signs-2)", false),
            ("[a](b.md#no-heading)", false),
            ("[a](../LICENSE#part)", true),
            ("# Part\n[a](#part)", true),
            ("[a](#part)", false),
            ("[a](https://example.org/x)", true),
            ("`[a](c.md)`", true),
            ("```\n[a](c.md)\n```", true),
            ("[a](c.md)", false),
            ("x [a](b.md) and [c](d.md \"title\")", false),
            ("[a](../../b.md)", false),
        ] {
            let other =
                "# Part\n## A `part`, with signs\n## A part with signs\n```\n# No heading\n```\n";
            let tree = Tree::fake(&[("docs/a.md", link), ("docs/b.md", other), ("LICENSE", "")]);
            assert_eq!(links(&tree).is_empty(), good, "{link}");
        }
    }

    #[test]
    fn long_decisions_and_numbers_twice() {
        let tree = Tree::fake(&[
            ("docs/decisions/0001-a.md", &"x\n".repeat(26)),
            ("docs/decisions/0002-b.md", &"x\n".repeat(25)),
            ("docs/decisions/0002-c.md", ""),
            ("docs/c.md", &"x\n".repeat(99)),
        ]);
        let places: Vec<_> = decisions(&tree).into_iter().map(|finding| finding.place).collect();
        assert_eq!(places, ["docs/decisions/0001-a.md", "docs/decisions/0002-c.md"]);
    }

    #[test]
    fn unexplained_dependencies() {
        let dependency =
            |name: &str, ours| Dependency { name: name.to_owned(), kind: Kind::Normal, ours };
        let package = Package {
            name: "a".to_owned(),
            ours: true,
            dependencies: vec![
                dependency("bytes", false),
                dependency("left-pad", false),
                dependency("spine", true),
            ],
            ..Package::default()
        };
        let tree = Tree::fake(&[(
            DEPENDENCIES,
            "| crate | why |\n|---|---|\n| `bytes` | shared memory |\n",
        )]);
        let found = dependencies(&tree, &[package]);
        assert_eq!(found.len(), 1);
        assert!(found[0].what.contains("left-pad"));
    }
}
