//! Rules about the configuration.

use std::collections::{BTreeMap, BTreeSet};

use crate::Finding;
use crate::docs::keys;
use crate::tree::Tree;

/// Every key of the configuration has a test that flips it and sees the effect, from outside or at the place that acts on
/// it. The test says so in its documentation, ``/// Flips `section.key`.``, and names the key: in its body, or in that of a
/// function or constant beside it that it uses.
#[must_use]
pub fn tested(tree: &Tree) -> Vec<Finding> {
    let claims: Vec<Claim> = tree.with_ending(&["rs"]).flat_map(|(_, text)| flips(text)).collect();
    let found = keys(tree).into_iter().filter_map(|key| {
        let of_it: Vec<&Claim> = claims.iter().filter(|claim| claim.key == key.name).collect();
        let what = match of_it.first() {
            None => format!(
                "no test flips it: write one, and above it /// Flips `{}`. (most are in crates/node/tests/e2e/keys.rs)",
                key.name
            ),
            Some(_) if of_it.iter().any(|claim| claim.names_it) => return None,
            Some(claim) => {
                format!("the test {}() says that it flips it, and does not name it", claim.test)
            }
        };
        Some(Finding::new(key.name, what))
    });
    found.collect()
}

/// What a test says of itself.
struct Claim {
    key: String,
    test: String,
    names_it: bool,
}

/// The keys that the tests of a file say they flip.
fn flips(text: &str) -> Vec<Claim> {
    let items = items(text);
    let (mut found, mut pending, mut test) = (Vec::new(), Vec::new(), false);
    for line in text.lines().map(str::trim) {
        if let Some(doc) = line.strip_prefix("/// Flips ") {
            // `a.b` and `c.d`.
            pending.extend(doc.split('`').skip(1).step_by(2).map(str::to_owned));
        } else if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            test = true;
        } else if let Some(name) = item_name(line) {
            if test {
                let reached = reached(&items, name);
                found.extend(pending.drain(..).map(|key: String| {
                    let names_it = reached.iter().any(|body| body.contains(&*key));
                    Claim { key, test: name.to_owned(), names_it }
                }));
            }
            pending.clear();
            test = false;
        } else if !line.starts_with("///") && !line.starts_with("#[") {
            pending.clear();
            test = false;
        }
    }
    found
}

/// The name of the function or constant that begins on this line.
fn item_name(line: &str) -> Option<&str> {
    let line = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub ");
    let line = line.trim_start_matches("async ");
    let rest = line.strip_prefix("fn ").or_else(|| line.strip_prefix("const "))?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().filter(|name| !name.is_empty())
}

/// Functions and constants by their names, with their text: from where they begin to the brace, or the end of the statement,
/// at the same depth.
fn items(text: &str) -> BTreeMap<&str, String> {
    let (mut items, mut open): (BTreeMap<&str, String>, Vec<(&str, usize)>) = Default::default();
    for line in text.lines() {
        let depth = line.len() - line.trim_start().len();
        if let Some(name) = item_name(line) {
            open.push((name, depth));
        }
        for (name, _) in &open {
            let body = items.entry(name).or_default();
            body.push_str(line);
            body.push('\n');
        }
        let ends = |at: usize| depth == at && (line.ends_with('}') || line.ends_with(';'));
        open.retain(|(_, at)| !ends(*at));
    }
    items
}

/// The texts of an item and of all that it uses of the same file.
fn reached<'a>(items: &'a BTreeMap<&str, String>, name: &str) -> Vec<&'a str> {
    let (mut known, mut reached, mut next) = (BTreeSet::new(), Vec::new(), vec![name]);
    while let Some(name) = next.pop() {
        let Some((name, body)) = items.get_key_value(name) else { continue };
        if known.insert(*name) {
            reached.push(body.as_str());
            let words = body.split(|c: char| !c.is_alphanumeric() && c != '_');
            next.extend(words.filter(|word| items.contains_key(word)));
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_without_a_test_is_found() {
        let defaults = (
            "crates/node/src/config/defaults.toml",
            "[a]\nb = 1\nc = 2\nd = 3\ne = 4\nf = 5\ng = 6\nh = 7\n",
        );
        let tests = "/// Flips `a.b` and `a.d`.\n#[test]\nfn one() {\n    start(\"a.b=1\", \"a.d=2\");\n}\n\
                     /// Flips `a.c`.\nfn no_test() {\n    start(\"a.c=1\");\n}\n\
                     /// Flips `a.e`.\n\n#[test]\nfn apart() {\n    start(\"a.e=1\");\n}\n\
                     /// Flips `a.f`, `a.g` and `a.h`.\n#[test]\nfn by_others() {\n    helper(SET);\n}\n\
                     const SET: &str = \"a.f=1\";\nfn helper() {\n    start(\"a.g=1\");\n}\n\
                     fn nobody_calls_it() {\n    start(\"a.h=1\");\n}\n";
        let tree = Tree::fake(&[defaults, ("crates/node/tests/e2e/keys.rs", tests)]);
        let found: Vec<String> = tested(&tree).into_iter().map(|f| f.place).collect();
        assert_eq!(found, ["a.c", "a.e", "a.h"]);
    }
}
