//! Every rule, on this repository.

use std::path::{Path, PathBuf};

use anyhow::Result;
use xtask::Finding;
use xtask::rules::{configuration, documents, layers, layout, licences, text};
use xtask::tree::Tree;
use xtask::workspace::{self, Closures, Package};
use xtask::{docs, moq, sbom};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// This repository, and not an empty folder in which every rule holds.
fn tree() -> Result<Tree> {
    let tree = Tree::load(&root())?;
    for path in ["Cargo.toml", "README.md", "crates/xtask/tests/repository.rs"] {
        assert!(
            tree.contains(path),
            "the repository has no {path}: is {} its root?",
            root().display()
        );
    }
    Ok(tree)
}

fn packages() -> Result<Vec<Package>> {
    let packages = workspace::packages(&root())?;
    assert!(packages.iter().any(|package| package.ours && package.name == "xtask"));
    Ok(packages)
}

#[track_caller]
fn none(found: Vec<Finding>) {
    let lines: Vec<String> = found.into_iter().map(|finding| finding.to_string()).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

#[test]
fn crates_import_only_what_their_layer_allows() -> Result<()> {
    none(layers::table(layers::TABLE));
    none(layers::manifests(&packages()?));
    Ok(())
}

#[test]
fn pure_crates_are_built_with_nothing_impure() -> Result<()> {
    let packages = packages()?;
    let mut closures = Closures::new();
    for name in layers::pure_crates() {
        if packages.iter().any(|package| package.ours && package.name == name) {
            closures.insert(name.to_owned(), workspace::closure(&root(), name)?);
        }
    }
    assert!(closures.contains_key("sansio"));
    none(layers::purity(&closures));
    Ok(())
}

#[test]
fn nothing_is_built_with_a_banned_crate() -> Result<()> {
    let built_with = workspace::built_with(&root())?;
    assert!(built_with.contains("xtask"));
    none(layers::banned(&built_with));
    Ok(())
}

#[test]
fn all_licences_are_permissive() -> Result<()> {
    none(licences::permissive(&packages()?));
    Ok(())
}

/// By another reading of the lock files than the list itself is made with: line by line.
#[test]
fn a_release_says_of_every_locked_package_that_it_is_in_it() -> Result<()> {
    let bom = sbom::of_repository(&root())?;
    let list = |name: &str| bom[name].as_array().cloned().unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let named: Vec<(String, String)> =
        list("components").iter().map(|c| (text(&c["name"]), text(&c["version"]))).collect();
    let read = |path: &str| std::fs::read_to_string(root().join(path));
    let (cargo, npm) = (read("Cargo.lock")?, read("web/package-lock.json")?);
    let value = |line: &str| line.split('"').rev().nth(1).unwrap_or_default().to_owned();
    let mut locked = std::collections::BTreeSet::new();
    let mut name = String::new();
    for line in cargo.lines() {
        match line.split_once(" = ") {
            Some(("name", _)) => name = value(line),
            Some(("version", _)) if !name.is_empty() => {
                locked.insert((std::mem::take(&mut name), value(line)));
            }
            _ => {}
        }
    }
    for line in npm.lines() {
        if let Some((_, path)) = line.split_once("node_modules/").filter(|_| line.ends_with("{")) {
            let path = path.split('"').next().unwrap_or_default();
            name = path.rsplit("node_modules/").next().unwrap_or_default().to_owned();
        } else if line.trim_start().starts_with("\"version\"") && !name.is_empty() {
            locked.insert((std::mem::take(&mut name), value(line)));
        }
    }
    assert!(locked.len() > 500, "{}", locked.len());
    for package in &locked {
        let times = named.iter().filter(|name| *name == package).count();
        assert_eq!(times, 1, "{package:?}");
    }
    // And nothing else, but for the package of the pages.
    assert_eq!(named.len(), locked.len() + 1);
    // What is named as a dependency is there, and so are the licences of what users run.
    let names: std::collections::BTreeSet<String> =
        list("components").iter().map(|c| text(&c["bom-ref"])).collect();
    for one in list("dependencies") {
        for other in one["dependsOn"].as_array().into_iter().flatten() {
            assert!(names.contains(&text(other)), "{other} of {}", one["ref"]);
        }
    }
    let shipped: Vec<_> =
        list("components").into_iter().filter(|c| c["scope"] == "required").collect();
    for wanted in ["tokio", "hyper", "rusqlite", "hls.js", "svelte", "node", "encoder"] {
        assert!(shipped.iter().any(|c| c["name"] == wanted), "{wanted} is in what users run");
    }
    for tool in ["testkit", "bench", "tempfile", "vite", "playwright-core"] {
        assert!(!shipped.iter().any(|c| c["name"] == tool), "{tool} is in nothing that users run");
    }
    Ok(())
}

#[test]
fn dependencies_are_explained() -> Result<()> {
    none(documents::dependencies(&tree()?, &packages()?));
    Ok(())
}

#[test]
fn nothing_is_locked_that_has_known_holes() -> Result<()> {
    let mut locks = Vec::new();
    for path in ["Cargo.lock", "fuzz/Cargo.lock", "tests/moq/peer-rs/Cargo.lock"] {
        locks.push((path, std::fs::read_to_string(root().join(path))?));
    }
    none(documents::not_older(&tree()?, &locks));
    Ok(())
}

#[test]
fn manifests_are_complete() -> Result<()> {
    none(layout::manifests(&tree()?));
    Ok(())
}

#[test]
fn end_to_end_tests_run_one_at_a_time() -> Result<()> {
    none(layout::end_to_end(&tree()?));
    Ok(())
}

#[test]
fn files_are_short() -> Result<()> {
    none(text::length(&tree()?));
    Ok(())
}

#[test]
fn unwraps_say_why_they_cannot_fail() -> Result<()> {
    none(text::invariants(&tree()?));
    Ok(())
}

#[test]
fn unsafe_code_has_one_home() -> Result<()> {
    none(text::unsafe_code(&tree()?));
    Ok(())
}

#[test]
fn pure_crates_read_no_clock() -> Result<()> {
    none(text::clocks(&tree()?));
    Ok(())
}

#[test]
fn tests_neither_sleep_nor_hide() -> Result<()> {
    none(text::test_habits(&tree()?));
    Ok(())
}

#[test]
fn links_lead_somewhere() -> Result<()> {
    none(documents::links(&tree()?));
    Ok(())
}

#[test]
fn decisions_are_short() -> Result<()> {
    none(documents::decisions(&tree()?));
    Ok(())
}

#[test]
fn every_key_of_the_configuration_has_a_test() -> Result<()> {
    assert!(docs::keys(&tree()?).len() > 15, "the keys are found");
    none(configuration::tested(&tree()?));
    Ok(())
}

#[test]
fn every_section_and_duty_of_moq_has_a_test() -> Result<()> {
    none(moq::untested(&tree()?));
    none(moq::unshown(&tree()?));
    Ok(())
}

#[test]
fn generated_documents_are_what_the_code_says() -> Result<()> {
    none(docs::stale(&tree()?));
    Ok(())
}

#[test]
fn libraries_of_quic_are_named_in_one_module() -> Result<()> {
    none(text::transports(&tree()?));
    Ok(())
}

#[test]
fn drafts_of_moq_differ_in_one_table() -> Result<()> {
    none(text::versions(&tree()?));
    Ok(())
}

#[test]
fn every_route_says_who_may_use_it() -> Result<()> {
    none(text::routes(&tree()?));
    Ok(())
}
