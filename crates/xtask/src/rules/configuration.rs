//! Rules about the configuration.

use crate::Finding;
use crate::docs::keys;
use crate::tree::Tree;

/// Every key of the configuration has a test that flips it and sees the effect, from outside or at the place that acts on
/// it. The test says so in its documentation: ``/// Flips `section.key`.``
#[must_use]
pub fn tested(tree: &Tree) -> Vec<Finding> {
    let flipped: Vec<String> =
        tree.with_ending(&["rs"]).flat_map(|(_, text)| flips(text)).collect();
    keys(tree)
        .into_iter()
        .filter(|key| !flipped.contains(&key.name))
        .map(|key| {
            let what = format!(
                "no test flips it: write one, and above it /// Flips `{}`. (most are in crates/node/tests/e2e/keys.rs)",
                key.name
            );
            Finding::new(key.name, what)
        })
        .collect()
}

/// The keys that the tests of a file flip.
fn flips(text: &str) -> Vec<String> {
    let (mut found, mut pending, mut test) = (Vec::new(), Vec::new(), false);
    for line in text.lines().map(str::trim) {
        if let Some(doc) = line.strip_prefix("/// Flips ") {
            // `a.b` and `c.d`.
            pending.extend(doc.split('`').skip(1).step_by(2).map(str::to_owned));
        } else if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            test = true;
        } else if line.contains("fn ") {
            if test {
                found.append(&mut pending);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_without_a_test_is_found() {
        let defaults =
            ("crates/node/src/config/defaults.toml", "[a]\nb = 1\nc = 2\nd = 3\ne = 4\n");
        let tests = "/// Flips `a.b` and `a.d`.\n#[test]\nfn one() {}\n/// Flips `a.c`.\nfn no_test() {}\n\
                     /// Flips `a.e`.\n\n#[test]\nfn apart() {}\n";
        let tree = Tree::fake(&[defaults, ("crates/node/tests/e2e/keys.rs", tests)]);
        let found: Vec<String> = tested(&tree).into_iter().map(|f| f.place).collect();
        assert_eq!(found, ["a.c", "a.e"]);
    }
}
