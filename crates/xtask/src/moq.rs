//! Which test shows what of MoQ: `docs/protocols/moq-tests.md`, from the tables that people write and the names
//! of tests. A name says the section (`draft18_s10_9_...`) and the relay's duty (`d17`) that it is about.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::Finding;
use crate::tree::Tree;

const SECTIONS: &str = "docs/protocols/moq.md";
const DUTIES: &str = "docs/protocols/moq-relay.md";
const TESTS: &[&str] = &["crates/moqt/", "crates/io-moq/", "crates/node/tests/e2e/moq"];

/// Tables of sections in that file: under which heading, how tests of it begin, and their heading here.
const DRAFTS: &[(&str, &str, &str)] = &[
    ("## Draft 18", "draft18_s", "## Sections of draft 18"),
    ("## Draft 16", "draft16_s", "## Sections of draft 16, where they are not those of 18"),
    ("## Drafts 20 to 22", "draft21_s", "## Sections of draft 21, where they are not those of 18"),
];

/// One row of a table that people write.
struct Row {
    what: String,
    state: String,
    /// `10.9` or `d17`.
    labels: Vec<String>,
}

/// The page.
pub fn page(tree: &Tree) -> String {
    let mut out = String::from(
        "# MoQ: what is shown by which test\n\nWritten by `cargo run -p xtask -- docs`, from the tables of [moq.md](moq.md) and \
         [moq-relay.md](moq-relay.md) and the names\nof the tests. More tests than these look at MoQ: these have a section or a duty \
         in their name.\n",
    );
    let tests = tests(tree);
    for (heading, prefix, title) in DRAFTS {
        let _ = write!(out, "\n{title}\n\n| section | state | tests |\n|---|---|---|\n");
        let rows = sections(tree, heading);
        table(&mut out, &rows, &by_section(&rows, &tests, prefix));
    }
    out.push_str("\n## Duties of a relay\n\n| duty | state | tests |\n|---|---|---|\n");
    table(&mut out, &duties(tree), &by_duty(&tests));
    out
}

/// Duties that are said to be done, and no test names them.
pub fn untested(tree: &Tree) -> Vec<Finding> {
    let tests = by_duty(&tests(tree));
    let mut found = Vec::new();
    for row in duties(tree).iter().filter(|row| !row.state.starts_with("omitted")) {
        for label in row.labels.iter().filter(|label| !tests.contains_key(*label)) {
            let what = format!("says that duty {label} is done, and no test has it in its name");
            found.push(Finding::new(DUTIES, what));
        }
    }
    found
}

/// Sections of a draft that no test names, and that are not said to be the driver's (whose tests have names of their own) or omitted.
pub fn unshown(tree: &Tree) -> Vec<Finding> {
    let tests = tests(tree);
    let mut found = Vec::new();
    for (heading, prefix, _) in DRAFTS {
        let rows = sections(tree, heading);
        let shown = by_section(&rows, &tests, prefix);
        let is_none = |row: &&Row| !row.labels.iter().any(|label| shown.contains_key(label));
        let excused =
            |row: &&Row| ["driver's", "omitted"].iter().any(|word| row.state.contains(word));
        for row in rows.iter().filter(is_none).filter(|row| !excused(row)) {
            let what = format!(
                "{heading}: no test has \"{}\" in its name, nor is it the driver's or omitted",
                row.what
            );
            found.push(Finding::new(SECTIONS, what));
        }
    }
    found
}

fn table(out: &mut String, rows: &[Row], tests: &BTreeMap<String, Vec<String>>) {
    for row in rows {
        let mut names: Vec<&String> =
            row.labels.iter().filter_map(|label| tests.get(label)).flatten().collect();
        names.sort();
        names.dedup();
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(out, "| {} | {} | {} |", row.what, row.state, names.join(", "));
    }
}

fn sections(tree: &Tree, heading: &str) -> Vec<Row> {
    let text = tree.text(SECTIONS).unwrap_or_default();
    let behind = text.split_once(&format!("{heading}\n")).map_or("", |(_, behind)| behind);
    let own = behind.split("\n## ").next().unwrap_or_default();
    rows(own, |what| {
        let mut labels = Vec::new();
        for part in what.split('§').skip(1) {
            let end = part.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(part.len());
            labels.push(part[..end].trim_end_matches('.').to_owned());
        }
        labels
    })
}

fn duties(tree: &Tree) -> Vec<Row> {
    rows(tree.text(DUTIES).unwrap_or_default(), |what| {
        let words = what.split(|c: char| !c.is_ascii_alphanumeric());
        let number = |word: &str| word.strip_prefix('D')?.parse::<u8>().ok();
        words.filter_map(number).map(|n| format!("d{n:02}")).collect()
    })
}

fn rows(text: &str, labels: impl Fn(&str) -> Vec<String>) -> Vec<Row> {
    let cells = |line: &str| {
        let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
        let (what, state) = inner.split_once(" | ")?;
        Some((what.to_owned(), state.to_owned()))
    };
    let row = |(what, state): (String, String)| Row { labels: labels(&what), what, state };
    text.lines().filter_map(cells).map(row).filter(|row| !row.labels.is_empty()).collect()
}

/// All names of functions in test code that have a label.
fn tests(tree: &Tree) -> Vec<String> {
    let ours = |path: &str| TESTS.iter().any(|folder| path.starts_with(folder));
    let files = tree.with_ending(&["rs"]).filter(|(path, _)| ours(path));
    let mut names: Vec<String> = files.flat_map(|(_, text)| of_file(text)).collect();
    names.sort();
    names.dedup();
    names
}

fn of_file(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut test = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            test = true;
        } else if let Some(rest) = line.split("fn ").nth(1).filter(|_| test) {
            test = false;
            let name = rest.split(['(', '<']).next().unwrap_or_default();
            let is_of = |(_, prefix, _): &(&str, &str, &str)| section(name, prefix).is_some();
            if DRAFTS.iter().any(is_of) || !duties_of(name).is_empty() {
                found.push(name.to_owned());
            }
        }
    }
    found
}

/// A name may be of several drafts: `draft18_s3_5_draft21_s12_2_codes`.
fn section(name: &str, prefix: &str) -> Option<String> {
    let rest = name.split_once(prefix)?.1;
    let numbers =
        rest.split('_').take_while(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_digit()));
    let section = numbers.collect::<Vec<_>>().join(".");
    (!section.is_empty()).then_some(section)
}

fn duties_of(name: &str) -> Vec<String> {
    let is_one = |word: &&str| {
        word.len() == 3 && word.starts_with('d') && word[1..].bytes().all(|b| b.is_ascii_digit())
    };
    name.split('_').filter(is_one).map(str::to_owned).collect()
}

fn by_duty(tests: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in tests {
        for duty in duties_of(name) {
            out.entry(duty).or_default().push(name.clone());
        }
    }
    out
}

/// Each test at the row whose section is the longest that its own begins with.
fn by_section(rows: &[Row], tests: &[String], prefix: &str) -> BTreeMap<String, Vec<String>> {
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in tests {
        let Some(own) = section(name, prefix) else { continue };
        let holds = |label: &&String| own == **label || own.starts_with(&format!("{label}."));
        let labels = rows.iter().flat_map(|row| &row.labels).filter(holds);
        if let Some(label) = labels.max_by_key(|label| label.len()) {
            out.entry(label.clone()).or_default().push(name.clone());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: &[(&str, &str)] = &[
        (
            SECTIONS,
            "## Draft 18\n\n| section | state |\n|---|---|\n| §3.5, §15.10 codes | done |\n| §10 messages | all |\n\
             | §10.9 updates | done |\n\n## Drafts 20 to 22\n\n| §3.4 fill | done |\n| §10 more | no |\n\n## Bounds\n",
        ),
        (
            DUTIES,
            "| D3, D4 all publishers | yes |\n| D9 nothing is changed | yes |\n| D24 fill | omitted: later |\n",
        ),
        (
            "crates/io-moq/src/tests/a.rs",
            "#[tokio::test]\nasync fn d03_d04_both() {\n}\nfn d09_no_test() {}\n",
        ),
        (
            "crates/moqt/tests/it/b.rs",
            "#[test]\nfn draft18_s10_9_1_draft21_s3_4_ends() {}\n#[test]\nfn draft18_s10_frames() {}\n#[test]\nfn other() {}\n",
        ),
    ];

    #[test]
    fn tests_are_found_by_their_names() {
        let page = page(&Tree::fake(FILES));
        for line in [
            "| §3.5, §15.10 codes | done |  |",
            "| §10 messages | all | `draft18_s10_frames` |",
            "| §10.9 updates | done | `draft18_s10_9_1_draft21_s3_4_ends` |",
            "| §3.4 fill | done | `draft18_s10_9_1_draft21_s3_4_ends` |",
            "| §10 more | no |  |",
            "| D3, D4 all publishers | yes | `d03_d04_both` |",
            "| D9 nothing is changed | yes |  |",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} in\n{page}");
        }
        assert!(!page.contains("other"));
    }

    #[test]
    fn a_section_without_a_test_is_found() {
        let found = unshown(&Tree::fake(FILES));
        // Codes of 18, and what is more of 21.
        assert_eq!(found.len(), 2, "{found:?}");
        let excused: Vec<_> = FILES
            .iter()
            .map(|(path, text)| {
                (*path, text.replace("done", "the driver's").replace("no |", "omitted |"))
            })
            .collect();
        let excused: Vec<_> = excused.iter().map(|(path, text)| (*path, &text[..])).collect();
        assert!(unshown(&Tree::fake(&excused)).is_empty());
    }

    #[test]
    fn a_duty_without_a_test_is_found() {
        let found = untested(&Tree::fake(FILES));
        assert_eq!(found.len(), 1, "D24 is omitted, D9 has none: {found:?}");
    }
}
