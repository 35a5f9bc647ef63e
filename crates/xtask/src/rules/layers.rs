//! Who may import whom. The table is the one of ARCHITECTURE.md; the reasons stand there.

use crate::Finding;
use crate::workspace::{Closures, Dependency, Kind, Package};
use std::collections::BTreeSet;

/// Where a crate stands. Lower layers never import higher ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// No socket, no clock, no randomness: time and random numbers are arguments.
    Pure,
    /// What survives a restart.
    State,
    /// What touches sockets, or programs of its own.
    Driver,
    /// Configuration to running node.
    Assembly,
    /// Never in what users run.
    Dev,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    name: &'static str,
    layer: Layer,
    imports: &'static [&'static str],
}

const fn row(name: &'static str, layer: Layer, imports: &'static [&'static str]) -> Row {
    Row { name, layer, imports }
}

/// Everything; for the assembly and for tests only.
const ANY: &[&str] = &["*"];

/// Every crate of the workspace, also those that are still to come.
pub const TABLE: &[Row] = &[
    row("sansio", Layer::Pure, &[]),
    row("spine", Layer::Pure, &[]),
    row("media", Layer::Pure, &["spine"]),
    row("moqt", Layer::Pure, &["sansio"]),
    row("proxy", Layer::Pure, &[]),
    row("rtmp", Layer::Pure, &["sansio"]),
    row("srt", Layer::Pure, &["sansio"]),
    row("package", Layer::Pure, &["spine", "media"]),
    row("failpoint", Layer::State, &[]),
    row("store", Layer::State, &["failpoint"]),
    row("control", Layer::State, &["failpoint"]),
    row("record", Layer::State, &["spine", "media", "package", "store", "control", "failpoint"]),
    row("access", Layer::State, &["control", "proxy"]),
    row("chat", Layer::State, &["spine", "media", "control", "access"]),
    row("acme", Layer::Driver, &[]),
    row("encode", Layer::Driver, &["spine", "media", "package"]),
    row("encoder", Layer::Driver, &["encode"]),
    row(
        "io-moq",
        Layer::Driver,
        &["moqt", "sansio", "spine", "media", "control", "access", "proxy"],
    ),
    row("io-rtmp", Layer::Driver, &["rtmp", "sansio", "spine", "media", "control", "proxy"]),
    row("io-srt", Layer::Driver, &["srt", "sansio", "spine", "media", "control"]),
    row("io-webrtc", Layer::Driver, &["sansio", "spine", "media", "control"]),
    row(
        "deliver",
        Layer::Driver,
        &["package", "spine", "media", "record", "control", "access", "chat", "encode"],
    ),
    row("api", Layer::Driver, &["control", "record", "spine", "media", "access", "chat", "store"]),
    row(
        "client",
        Layer::Driver,
        &["io-rtmp", "rtmp", "io-moq", "moqt", "package", "media", "spine"],
    ),
    row("node", Layer::Assembly, ANY),
    row("testkit", Layer::Dev, ANY),
    row("e2e", Layer::Dev, ANY),
    row("bench", Layer::Dev, ANY),
    row("xtask", Layer::Dev, &[]),
];

/// The only crates that may import `node`.
const IMPORT_NODE: &[&str] = &["testkit", "e2e"];

/// What a pure crate is never built with, directly or through others: runtimes, sockets, clocks, randomness.
const IMPURE: &[&str] = &[
    "async-std",
    "chrono",
    "fastrand",
    "getrandom",
    "hyper",
    "jiff",
    "mio",
    "quanta",
    "quinn",
    "rand",
    "reqwest",
    "smol",
    "socket2",
    "time",
    "tokio",
    "uuid",
    "web-time",
];

/// Heavy dependencies, and the only crates that may name them.
const HEAVY: &[(&str, &[&str])] = &[
    ("axum", &["deliver", "api", "node"]),
    ("etcd-client", &["control"]),
    ("ffmpeg-the-third", &["encoder"]),
    ("instant-acme", &["acme"]),
    ("mp4-atom", &["media"]),
    ("object_store", &["store"]),
    ("quinn", &["io-moq"]),
    ("quinn-proto", &["io-moq"]),
    ("rusqlite", &["control"]),
    ("str0m", &["io-webrtc"]),
];

/// In no build of ours, and why.
const BANNED: &[(&str, &str)] = &[
    ("ring", "aws-lc-rs is the one library for TLS, QUIC, DTLS and tokens"),
    ("openssl-sys", "aws-lc-rs is the one library for TLS"),
];

/// The names of the pure crates.
pub fn pure_crates() -> impl Iterator<Item = &'static str> {
    let pure = |row: &&Row| row.layer == Layer::Pure;
    TABLE.iter().filter(pure).map(|row| row.name)
}

/// The names of the crates whose code is test code as a whole.
pub fn dev_crates() -> impl Iterator<Item = &'static str> {
    let dev = |row: &&Row| row.layer == Layer::Dev && row.name != "xtask";
    TABLE.iter().filter(dev).map(|row| row.name)
}

/// Whether a table keeps the rules that hold for any table.
#[must_use]
pub fn table(table: &[Row]) -> Vec<Finding> {
    let mut found = Vec::new();
    for row in table {
        for import in row.imports.iter().filter(|import| **import != "*") {
            let Some(imported) = table.iter().find(|other| other.name == *import) else {
                found.push(Finding::new(row.name, format!("imports {import}, which has no row")));
                continue;
            };
            if imported.layer > row.layer {
                found.push(Finding::new(row.name, format!("imports {import} from a higher layer")));
            }
            if row.name.starts_with("io-") && import.starts_with("io-") {
                found.push(Finding::new(row.name, "a protocol driver imports another one"));
            }
        }
        if row.imports == ANY && row.layer < Layer::Assembly {
            found.push(Finding::new(row.name, "only the assembly and tests may import everything"));
        }
    }
    found
}

/// Whether the manifests keep to the table.
#[must_use]
pub fn manifests(packages: &[Package]) -> Vec<Finding> {
    let mut found = Vec::new();
    for package in packages.iter().filter(|package| package.ours) {
        let Some(row) = find(&package.name) else {
            let what = format!(
                "add crate {} to the layer table, crates/xtask/src/rules/layers.rs",
                package.name
            );
            found.push(Finding::new(&package.name, what));
            continue;
        };
        for dependency in &package.dependencies {
            let complaint =
                if dependency.ours { ours(row, dependency) } else { heavy(row, dependency) };
            found.extend(complaint.map(|what| Finding::new(&package.name, what)));
        }
    }
    found
}

/// Whether pure crates are built with nothing impure.
#[must_use]
pub fn purity(closures: &Closures) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, closure) in closures {
        for impure in IMPURE.iter().filter(|impure| closure.contains(**impure)) {
            let what = format!(
                "is pure, but is built with {impure}; `cargo tree -e normal -p {name} -i {impure}` says through what"
            );
            found.push(Finding::new(name, what));
        }
    }
    found
}

/// Whether nothing is built with a banned crate. `built_with`: of the whole workspace, normal and build.
#[must_use]
pub fn banned(built_with: &BTreeSet<String>) -> Vec<Finding> {
    BANNED
        .iter()
        .filter(|(name, _)| built_with.contains(*name))
        .map(|(name, why)| {
            Finding::new(
                *name,
                format!("is in the build: {why}; `cargo tree -i {name}` says through what"),
            )
        })
        .collect()
}

fn find(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.name == name)
}

fn ours(row: &Row, dependency: &Dependency) -> Option<String> {
    let name = dependency.name.as_str();
    if name == "node" && !IMPORT_NODE.contains(&row.name) {
        return Some(format!("imports node; only {} may", IMPORT_NODE.join(" and ")));
    }
    let allowed = match dependency.kind {
        _ if row.imports == ANY || row.imports.contains(&name) => true,
        // Its own test features.
        Kind::Dev if name == row.name => true,
        // Tests may also use what is pure; those of drivers what holds state, and all above the pure layer the testkit.
        Kind::Dev => match find(name).map(|imported| imported.layer) {
            Some(Layer::Pure) => true,
            Some(Layer::State) => row.layer > Layer::State,
            _ => name == "testkit" && row.layer > Layer::Pure,
        },
        Kind::Normal | Kind::Build => false,
    };
    let list = match row.imports {
        [] => "nothing of ours".to_owned(),
        imports => imports.join(", "),
    };
    (!allowed).then(|| format!("imports {name}; by the layer table it may import {list}"))
}

fn heavy(row: &Row, dependency: &Dependency) -> Option<String> {
    let (name, users) = HEAVY.iter().find(|(name, _)| *name == dependency.name.as_str())?;
    let allowed = users.contains(&row.name) || dependency.kind == Kind::Dev;
    (!allowed).then(|| format!("names {name}; only {} may", users.join(" and ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[(&str, Kind, bool)]) -> Package {
        let dependencies = dependencies
            .iter()
            .map(|(name, kind, ours)| Dependency {
                name: (*name).to_owned(),
                kind: *kind,
                ours: *ours,
            })
            .collect();
        Package { name: name.to_owned(), ours: true, dependencies, ..Package::default() }
    }

    fn check(name: &str, dependency: (&str, Kind, bool)) -> Vec<String> {
        manifests(&[package(name, &[dependency])]).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn edges() {
        for (name, dependency, kind, allowed) in [
            ("media", "spine", Kind::Normal, true),
            ("spine", "media", Kind::Normal, false),
            ("rtmp", "sansio", Kind::Normal, true),
            ("rtmp", "media", Kind::Normal, false),
            ("rtmp", "media", Kind::Dev, true),
            ("rtmp", "testkit", Kind::Dev, false),
            ("io-rtmp", "testkit", Kind::Dev, true),
            ("io-rtmp", "testkit", Kind::Normal, false),
            ("io-rtmp", "io-srt", Kind::Normal, false),
            ("package", "control", Kind::Normal, false),
            ("deliver", "node", Kind::Dev, false),
            ("deliver", "store", Kind::Dev, true),
            ("deliver", "store", Kind::Normal, false),
            ("record", "chat", Kind::Dev, false),
            ("node", "io-rtmp", Kind::Normal, true),
            ("testkit", "node", Kind::Normal, true),
            ("bench", "io-rtmp", Kind::Normal, true),
            ("bench", "node", Kind::Normal, false),
            ("spine", "media", Kind::Build, false),
        ] {
            let found = check(name, (dependency, kind, true));
            assert_eq!(found.is_empty(), allowed, "{name} {dependency} {kind:?}: {found:?}");
        }
    }

    #[test]
    fn an_unknown_crate_is_told_where_to_go() {
        let found = manifests(&[package("gadget", &[])]);
        assert!(found[0].what.contains("add crate gadget to the layer table"));
    }

    #[test]
    fn heavy_dependencies_have_one_home() {
        assert_eq!(check("io-moq", ("quinn", Kind::Normal, false)).len(), 0);
        assert_eq!(check("node", ("quinn", Kind::Normal, false)).len(), 1);
        assert_eq!(check("record", ("rusqlite", Kind::Normal, false)).len(), 1);
        assert_eq!(check("record", ("object_store", Kind::Dev, false)).len(), 0);
    }

    #[test]
    fn purity_is_of_the_whole_closure() {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        let closures = Closures::from([
            ("spine".to_owned(), names(&["spine", "bytes"])),
            ("media".to_owned(), names(&["media", "mp4-atom", "tokio"])),
        ]);
        let found = purity(&closures);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "media");
        assert!(found[0].what.contains("tokio"));
    }

    #[test]
    fn banned_crates_are_found() {
        assert_eq!(banned(&BTreeSet::from(["ring".to_owned()])).len(), 1);
        assert_eq!(banned(&BTreeSet::from(["rustls".to_owned()])).len(), 0);
    }

    #[test]
    fn a_table_that_breaks_the_layers_is_found() {
        assert_eq!(table(TABLE), []);
        let upward = [row("low", Layer::Pure, &["high"]), row("high", Layer::State, &[])];
        assert_eq!(table(&upward).len(), 1);
        let sideways = [row("io-a", Layer::Driver, &["io-b"]), row("io-b", Layer::Driver, &[])];
        assert_eq!(table(&sideways).len(), 1);
        assert_eq!(table(&[row("low", Layer::Pure, ANY)]).len(), 1);
        assert_eq!(table(&[row("low", Layer::Pure, &["nobody"])]).len(), 1);
    }

    /// What strangers send is parsed in these: in a release, too, a sum that is too large ends something.
    #[test]
    fn parsers_check_their_sums_in_a_release() {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
        let manifest = std::fs::read_to_string(manifest).unwrap();
        for name in ["access", "media", "moqt", "package", "proxy", "rtmp"] {
            let checked = format!("[profile.release.package.{name}]\noverflow-checks = true\n");
            assert!(manifest.contains(&checked), "{name}");
        }
    }
}
