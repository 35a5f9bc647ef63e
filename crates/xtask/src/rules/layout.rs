//! Rules about folders and manifests.

use toml::{Table, Value};

use crate::Finding;
use crate::tree::Tree;

/// Crates with lints of their own: the workspace forbids `unsafe`, and `forbid` cannot be lifted.
const OWN_LINTS: &[&str] = &["encoder"];

/// Every crate is named as its folder, says in a line what it is, is not published, and has the workspace's lints.
#[must_use]
pub fn manifests(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, text) in tree.files() {
        let Some(folder) = crate_folder(path) else {
            continue;
        };
        match text.parse::<Table>() {
            Ok(manifest) => {
                let complaints = check(folder, &manifest);
                found.extend(complaints.map(|what| Finding::new(path, what)));
            }
            Err(error) => found.push(Finding::new(path, error.to_string())),
        }
    }
    found
}

/// The members that do not stand in `crates/`: what is run by hand and never shipped.
const AT_THE_ROOT: &[&str] = &["bench"];

/// `NAME` of `crates/NAME/Cargo.toml`, or of one of those [`AT_THE_ROOT`].
fn crate_folder(path: &str) -> Option<&str> {
    let folder = path.strip_suffix("/Cargo.toml")?;
    if AT_THE_ROOT.contains(&folder) {
        return Some(folder);
    }
    folder.strip_prefix("crates/").filter(|folder| !folder.contains('/'))
}

fn check(folder: &str, manifest: &Table) -> impl Iterator<Item = String> {
    let get = |table: &str, key: &str| manifest.get(table).and_then(|table| table.get(key));
    let name = get("package", "name").and_then(Value::as_str) == Some(folder);
    let description = get("package", "description")
        .and_then(Value::as_str)
        .is_some_and(|text| !text.trim().is_empty());
    let private = match get("package", "publish") {
        Some(Value::Boolean(publish)) => !publish,
        Some(inherited) => inherited.get("workspace").is_some(),
        None => false,
    };
    let lints = OWN_LINTS.contains(&folder)
        || get("lints", "workspace").and_then(Value::as_bool) == Some(true);
    [
        (name, "the package's name is not its folder's"),
        (description, "no description: say in a line what the crate is"),
        (private, "not private: add publish.workspace = true"),
        (lints, "no lints: add [lints] workspace = true"),
    ]
    .into_iter()
    .filter(|(good, _)| !good)
    .map(|(_, what)| what.to_owned())
}

/// End-to-end tests are bounded: all at once they would only measure each other.
#[must_use]
pub fn end_to_end(tree: &Tree) -> Vec<Finding> {
    const CONFIG: &str = ".config/nextest.toml";
    let is_e2e = |path: &str| path.ends_with("tests/e2e.rs") || path.contains("tests/e2e/");
    let exists = tree.files().any(|(path, _)| is_e2e(path));
    let config = tree.text(CONFIG).unwrap_or_default();
    let limited =
        config.lines().any(|line| line.starts_with("filter") && line.contains("binary(e2e)"));
    let what = "the test binary `e2e` exists: uncomment its override";
    (exists && !limited).then(|| Finding::new(CONFIG, what)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> usize {
        manifests(&Tree::fake(&[(path, text)])).len()
    }

    #[test]
    fn unlimited_end_to_end_tests() {
        let commented = "# filter = 'binary(e2e)'\n";
        for (test, config, want) in [
            ("crates/node/tests/e2e/main.rs", commented, 1),
            ("crates/node/tests/e2e.rs", &commented[2..], 0),
            ("crates/node/tests/other.rs", commented, 0),
        ] {
            let tree = Tree::fake(&[(test, ""), (".config/nextest.toml", config)]);
            assert_eq!(end_to_end(&tree).len(), want, "{test}");
        }
    }

    #[test]
    fn each_omission_is_found() {
        let good = "[package]\nname = \"a\"\npublish.workspace = true\ndescription = \"x\"\n[lints]\nworkspace = true\n";
        assert_eq!(check("crates/a/Cargo.toml", good), 0);
        for line in [
            "name = \"a\"\n",
            "publish.workspace = true\n",
            "description = \"x\"\n",
            "[lints]\nworkspace = true\n",
        ] {
            assert_eq!(check("crates/a/Cargo.toml", &good.replace(line, "")), 1, "{line}");
        }
        assert_eq!(check("crates/b/Cargo.toml", good), 1);
        assert_eq!(check("crates/a/Cargo.toml", "not toml"), 1);
        assert_eq!(check("fuzz/Cargo.toml", ""), 0);
        assert_eq!(check("bench/Cargo.toml", good), 1, "its name is another one");
    }
}
