//! The files of the repository, by their path from its root; or a fake, for the rules' own tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// What is built, fetched or recorded; never part of the repository. Mirrors `.gitignore`.
const NOT_OURS: &[&str] =
    &[".cache", ".git", "airwave-data", "artifacts", "corpus", "dist", "node_modules", "target"];

/// The endings of the files that some rule reads. Others are known by name only.
const READ: &[&str] = &["rs", "ts", "svelte", "mjs", "md", "toml"];

/// All files, path to text. Paths use `/` and have no leading `./`.
#[derive(Debug, Default)]
pub struct Tree(BTreeMap<String, String>);

impl Tree {
    /// Reads the repository at `root`.
    pub fn load(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.load_folder(root, "")?;
        Ok(tree)
    }

    /// A tree of these files and no others.
    #[must_use]
    pub fn fake(files: &[(&str, &str)]) -> Self {
        let own = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
        Self(files.iter().map(own).collect())
    }

    /// Every file whose name ends in one of `endings`, in the order of paths.
    pub fn with_ending<'a>(
        &'a self,
        endings: &'a [&str],
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files().filter(move |(path, _)| endings.contains(&ending(path)))
    }

    /// Every file, in the order of paths.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Whether there is a file or a folder of this path. The empty path is the root.
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        path.is_empty()
            || self.0.contains_key(path)
            || self.0.keys().any(|file| file.starts_with(&folder))
    }

    /// The text of a file.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    fn load_folder(&mut self, folder: &Path, prefix: &str) -> Result<()> {
        let entries =
            fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if NOT_OURS.contains(&name.as_str()) {
                continue;
            }
            let path = format!("{prefix}{name}");
            if entry.file_type()?.is_dir() {
                self.load_folder(&entry.path(), &format!("{path}/"))?;
            } else {
                let text = if READ.contains(&ending(&path)) {
                    fs::read_to_string(entry.path()).with_context(|| format!("reading {path}"))?
                } else {
                    String::new()
                };
                self.0.insert(path, text);
            }
        }
        Ok(())
    }
}

/// The part after the last dot of the file's name; empty if it has none.
#[must_use]
pub fn ending(path: &str) -> &str {
    path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, ending)| ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings() {
        for (path, want) in
            [("a.rs", "rs"), ("a.b/Makefile", ""), ("x/a.test.ts", "ts"), (".ci/run", "")]
        {
            assert_eq!(ending(path), want, "{path}");
        }
    }

    #[test]
    fn folders_exist_by_their_files() {
        let tree = Tree::fake(&[("docs/a.md", "")]);
        assert!(tree.contains("docs") && tree.contains("docs/a.md") && tree.contains(""));
        assert!(!tree.contains("doc") && !tree.contains("docs/b.md"));
    }
}
