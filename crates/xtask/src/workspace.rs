//! What cargo knows about the workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A package: one of ours, or one that ours depend on, directly or not.
#[derive(Debug, Clone, Default)]
pub struct Package {
    /// As in its manifest.
    pub name: String,
    /// As in its manifest.
    pub version: String,
    /// Whether it is a member of this workspace.
    pub ours: bool,
    /// The SPDX expression of its manifest; empty if it has none.
    pub license: String,
    /// What its manifest asks for.
    pub dependencies: Vec<Dependency>,
}

/// One line of a manifest's dependency tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The package's name, also where it is renamed.
    pub name: String,
    /// Which of the tables.
    pub kind: Kind,
    /// Whether it is given by path, that is, ours.
    pub ours: bool,
}

/// The three dependency tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `[dependencies]`
    Normal,
    /// `[dev-dependencies]`
    Dev,
    /// `[build-dependencies]`
    Build,
}

/// Per crate of ours, the names of everything that it is built with, itself included.
pub type Closures = BTreeMap<String, BTreeSet<String>>;

/// All packages of the workspace at `root`, on Linux.
pub fn packages(root: &Path) -> Result<Vec<Package>> {
    let arguments = [
        "metadata",
        "--format-version=1",
        "--all-features",
        "--filter-platform=x86_64-unknown-linux-gnu",
        "--filter-platform=aarch64-unknown-linux-gnu",
    ];
    let metadata: Value = serde_json::from_str(&cargo(root, &arguments)?)?;
    read_packages(&metadata)
}

/// What the crate `name` is built with by its normal dependencies, itself included.
///
/// From `cargo tree` and not from the metadata: there, features are unified over the whole workspace, and a pure crate
/// would seem to use what only another crate switches on.
pub fn closure(root: &Path, name: &str) -> Result<BTreeSet<String>> {
    let scope = ["--package", name, "--edges=normal"];
    Ok(tree_names(&cargo_tree(root, &scope)?))
}

/// What the whole workspace is built with: normal and build dependencies.
pub fn built_with(root: &Path) -> Result<BTreeSet<String>> {
    let scope = ["--workspace", "--edges=normal,build"];
    Ok(tree_names(&cargo_tree(root, &scope)?))
}

/// Name and version of what the programs that users run are built with, on this platform.
pub fn shipped(root: &Path) -> Result<BTreeSet<(String, String)>> {
    let scope = ["--package=node", "--package=encoder", "--edges=normal,build"];
    let tree = cargo_tree(root, &scope)?;
    let name_and_version = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned()))
    };
    Ok(tree.lines().filter_map(name_and_version).collect())
}

fn cargo_tree(root: &Path, scope: &[&str]) -> Result<String> {
    let format = ["tree", "--all-features", "--prefix=none", "--format={p}"];
    cargo(root, &[&format, scope].concat())
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<String> {
    // Cargo names itself to what it runs; a debugger does not.
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root)
        // What a crate is built with by itself, also where builds share the features of the whole workspace.
        .env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION")
        .output()
        .context("starting cargo")?;
    if !output.status.success() {
        bail!("cargo {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Lines such as `bytes v1.12.0` and `spine v0.1.0 (/path)`.
fn tree_names(text: &str) -> BTreeSet<String> {
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn read_packages(metadata: &Value) -> Result<Vec<Package>> {
    let members: BTreeSet<&str> =
        array(metadata, "workspace_members")?.iter().filter_map(Value::as_str).collect();
    array(metadata, "packages")?
        .iter()
        .map(|package| {
            Ok(Package {
                name: text(package, "name")?.to_owned(),
                version: text(package, "version")?.to_owned(),
                ours: members.contains(text(package, "id")?),
                license: package["license"].as_str().unwrap_or_default().to_owned(),
                dependencies: array(package, "dependencies")?
                    .iter()
                    .map(read_dependency)
                    .collect::<Result<_>>()?,
            })
        })
        .collect()
}

fn read_dependency(value: &Value) -> Result<Dependency> {
    let kind = match value["kind"].as_str() {
        None => Kind::Normal,
        Some("dev") => Kind::Dev,
        Some("build") => Kind::Build,
        Some(other) => bail!("a kind of dependency that is not known here: {other}"),
    };
    Ok(Dependency { name: text(value, "name")?.to_owned(), kind, ours: !value["path"].is_null() })
}

fn array<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value[key].as_array().with_context(|| format!("cargo metadata: no list {key}"))
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().with_context(|| format!("cargo metadata: no text {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_of_a_tree() {
        let text = "spine v0.1.0 (/x/crates/spine)\nbytes v1.12.0\n\nserde_derive v1.0.0 (proc-macro)\nbytes v1.12.0 (*)\n";
        let names: Vec<_> = tree_names(text).into_iter().collect();
        assert_eq!(names, ["bytes", "serde_derive", "spine"]);
    }

    #[test]
    fn packages_of_metadata() {
        let dependency = json!({"name": "bytes", "kind": "dev", "path": null});
        let metadata = json!({
            "workspace_members": ["id-a"],
            "packages": [
                {"id": "id-a", "name": "a", "version": "1", "license": null, "dependencies": [dependency]},
                {"id": "id-b", "name": "bytes", "version": "1", "license": "MIT", "dependencies": []},
            ],
        });
        let packages = read_packages(&metadata).unwrap();
        assert!(packages[0].ours && !packages[1].ours);
        assert_eq!(packages[1].license, "MIT");
        let want = Dependency { name: "bytes".into(), kind: Kind::Dev, ours: false };
        assert_eq!(packages[0].dependencies, [want]);
    }
}
