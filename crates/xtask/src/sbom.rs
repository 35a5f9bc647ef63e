//! What a release is made of, for those who ask which version of what is in it: a list in CycloneDX 1.6 (ECMA-424), from the
//! two lock files. No time and no serial number are in it, so the same commit gives the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use crate::workspace::{self, Package};

/// Where the lists come from.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// `Cargo.lock`.
    pub cargo: &'a str,
    /// What cargo knows of these packages besides: licences. It knows none that no platform of ours is built with.
    pub packages: &'a [Package],
    /// Name and version of what the programs are built with.
    pub built_with: &'a BTreeSet<(String, String)>,
    /// `web/package-lock.json`.
    pub npm: &'a str,
}

/// One package of either lock file.
#[derive(Debug, Default)]
struct Component {
    name: String,
    version: String,
    /// Package URL, which also names it in this document.
    purl: String,
    licence: String,
    /// Algorithm and hex digits.
    hash: Option<(&'static str, String)>,
    /// In what users run, and not only in building or testing it.
    shipped: bool,
    /// Package URLs.
    depends_on: BTreeSet<String>,
}

/// The list of the repository at `root`.
pub fn of_repository(root: &Path) -> Result<Value> {
    let read = |path: &str| fs::read_to_string(root.join(path)).context(path.to_owned());
    document(Sources {
        cargo: &read("Cargo.lock")?,
        packages: &workspace::packages(root)?,
        built_with: &workspace::shipped(root)?,
        npm: &read("web/package-lock.json")?,
    })
}

/// The list, as a document.
pub fn document(sources: Sources<'_>) -> Result<Value> {
    let (mut own, mut all) = cargo(&sources)?;
    let node = own.remove("node").context("Cargo.lock has no package node")?;
    // The server carries its pages.
    let pages = npm(sources.npm, &mut all)?;
    let root = "airwave";
    let mut dependencies = vec![json!({ "ref": root, "dependsOn": [node.purl, pages.purl] })];
    let licence = |expression: &str| json!([{ "expression": expression }]);
    let components: Vec<Value> = all
        .values()
        .chain(own.values())
        .chain([&node, &pages])
        .map(|component| {
            dependencies.push(json!({ "ref": component.purl, "dependsOn": component.depends_on }));
            let mut fields = Map::new();
            let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
            put("type", "library".into());
            put("bom-ref", component.purl.as_str().into());
            put("name", component.name.as_str().into());
            put("version", component.version.as_str().into());
            put("purl", component.purl.as_str().into());
            put("scope", if component.shipped { "required" } else { "excluded" }.into());
            if !component.licence.is_empty() {
                put("licenses", licence(&component.licence));
            }
            if let Some((algorithm, content)) = &component.hash {
                put("hashes", json!([{ "alg": algorithm, "content": content }]));
            }
            Value::Object(fields)
        })
        .collect();
    let component = json!({
        "type": "application", "bom-ref": root, "name": root, "version": node.version, "licenses": licence(&node.licence),
    });
    Ok(json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "component": component },
        "components": components,
        "dependencies": dependencies,
    }))
}

type Components = BTreeMap<String, Component>;

/// Ours by name, and the others by their URL.
fn cargo(sources: &Sources<'_>) -> Result<(Components, Components)> {
    let lock: toml::Table = sources.cargo.parse().context("Cargo.lock")?;
    let locked = lock.get("package").and_then(toml::Value::as_array).context("Cargo.lock")?;
    let text = |package: &toml::Value, key: &str| -> String {
        package.get(key).and_then(toml::Value::as_str).unwrap_or_default().to_owned()
    };
    let purl = |name: &str, version: &str| format!("pkg:cargo/{}@{}", part(name), part(version));
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in locked {
        versions.entry(text(package, "name")).or_default().push(text(package, "version"));
    }
    let (mut own, mut others) = (Components::new(), Components::new());
    for package in locked {
        let (name, version) = (text(package, "name"), text(package, "version"));
        let mut depends_on = BTreeSet::new();
        let none = Vec::new();
        let listed = package.get("dependencies").and_then(toml::Value::as_array);
        for line in listed.unwrap_or(&none).iter().filter_map(toml::Value::as_str) {
            // `name`, and `name version` where there are several.
            let mut words = line.split(' ');
            let other = words.next().unwrap_or_default();
            let version = words.next().or_else(|| Some(versions.get(other)?.first()?.as_str()));
            depends_on.insert(purl(other, version.context("a dependency that is not locked")?));
        }
        let same = |known: &&Package| known.name == name && known.version == version;
        let licence = sources.packages.iter().find(same).map(|known| known.license.clone());
        let checksum = Some(text(package, "checksum")).filter(|sum| !sum.is_empty());
        let component = Component {
            purl: purl(&name, &version),
            // Older manifests wrote OR so.
            licence: licence.unwrap_or_default().replace('/', " OR "),
            hash: checksum.map(|sum| ("SHA-256", sum)),
            shipped: sources.built_with.contains(&(name.clone(), version.clone())),
            depends_on,
            name,
            version,
        };
        if package.get("source").is_none() {
            own.insert(component.name.clone(), component);
        } else {
            others.insert(component.purl.clone(), component);
        }
    }
    Ok((own, others))
}

/// Adds what pages are built of and tested with; what remains is the package of the pages themselves.
fn npm(lock: &str, all: &mut Components) -> Result<Component> {
    let lock: Value = serde_json::from_str(lock).context("package-lock.json")?;
    let locked = lock["packages"].as_object().context("package-lock.json has no packages")?;
    let mut pages = None;
    for (path, package) in locked {
        let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        // Installed at node_modules/NAME, also below another package; ours is at the empty path.
        let name = match path.rsplit_once("node_modules/") {
            Some((_, name)) => name.to_owned(),
            None => text("name"),
        };
        let version = text("version");
        if name.is_empty() || version.is_empty() {
            bail!("package-lock.json: {path} has no name or version");
        }
        let hash = package["integrity"].as_str().map(integrity).transpose()?;
        let mut depends_on = BTreeSet::new();
        for table in ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies"]
        {
            let wanted = package[table].as_object();
            for other in wanted.into_iter().flatten().map(|(other, _)| other) {
                // What is not there was optional.
                depends_on.extend(resolved(locked, path, other));
            }
        }
        let component = Component {
            purl: npm_purl(&name, &version),
            licence: text("license"),
            hash,
            shipped: package["dev"] != true && package["devOptional"] != true,
            depends_on,
            name,
            version,
        };
        if path.is_empty() {
            pages = Some(component);
            continue;
        }
        // The same may be installed in several places.
        let known = all.entry(component.purl.clone()).or_default();
        let (shipped, depends_on) = (known.shipped, std::mem::take(&mut known.depends_on));
        *known = component;
        known.shipped |= shipped;
        known.depends_on.extend(depends_on);
    }
    pages.context("package-lock.json does not name our own package")
}

/// As Node.js looks for it: beside the package that asks, then a folder up.
fn resolved(locked: &Map<String, Value>, from: &str, name: &str) -> Option<String> {
    let mut folder = Some(from);
    while let Some(at) = folder {
        let separator = if at.is_empty() { "" } else { "/" };
        if let Some(found) = locked.get(&format!("{at}{separator}node_modules/{name}")) {
            return Some(npm_purl(name, found["version"].as_str()?));
        }
        folder = match at.rsplit_once("node_modules/") {
            Some((above, _)) => Some(above.trim_end_matches('/')),
            None => None,
        };
    }
    None
}

fn npm_purl(name: &str, version: &str) -> String {
    let name = match name.split_once('/') {
        Some((scope, name)) => format!("{}/{}", part(scope), part(name)),
        None => part(name),
    };
    format!("pkg:npm/{name}@{}", part(version))
}

/// `sha512-BASE64`.
fn integrity(text: &str) -> Result<(&'static str, String)> {
    let (algorithm, content) = text.split_once('-').context("an integrity without a name")?;
    let algorithm = match algorithm {
        "sha512" => "SHA-512",
        "sha1" => "SHA-1",
        other => bail!("an integrity of a kind that is not known here: {other}"),
    };
    let mut hex = String::new();
    for byte in BASE64.decode(content)? {
        let _ = write!(hex, "{byte:02x}");
    }
    Ok((algorithm, hex))
}

/// Percent-encoded as package URLs want it.
fn part(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARGO: &str = r#"
        [[package]]
        name = "node"
        version = "0.1.0"
        dependencies = ["bytes", "syn 2.0.1"]
        [[package]]
        name = "bytes"
        version = "1.0.0+x"
        source = "registry"
        checksum = "ab01"
        [[package]]
        name = "syn"
        version = "1.0.0"
        source = "registry"
        [[package]]
        name = "syn"
        version = "2.0.1"
        source = "registry"
        dependencies = ["bytes"]
    "#;
    const NPM: &str = r#"{ "packages": {
        "": { "name": "pages", "version": "0.1.0", "license": "MIT", "dependencies": { "hls.js": "^1" } },
        "node_modules/hls.js": { "version": "1.7.4", "license": "Apache-2.0", "integrity": "sha512-AQL/", "dependencies": { "@a/b": "1", "not-there": "1" } },
        "node_modules/@a/b": { "version": "2.0.0", "dev": true },
        "node_modules/hls.js/node_modules/@a/b": { "version": "1.0.0" }
    } }"#;

    fn made() -> Value {
        let package = |name: &str, version: &str, license: &str| Package {
            name: name.to_owned(),
            version: version.to_owned(),
            license: license.to_owned(),
            ..Package::default()
        };
        let packages =
            [package("bytes", "1.0.0+x", "MIT/Apache-2.0"), package("node", "0.1.0", "MIT")];
        let built_with = [("bytes", "1.0.0+x"), ("node", "0.1.0"), ("syn", "2.0.1")];
        let built_with = built_with.map(|(name, version)| (name.to_owned(), version.to_owned()));
        let built_with = built_with.into();
        let sources =
            Sources { cargo: CARGO, packages: &packages, built_with: &built_with, npm: NPM };
        document(sources).unwrap()
    }

    #[test]
    fn every_package_of_both_locks_stands_in_the_list_with_what_is_known_of_it() {
        let bom = made();
        let components: BTreeMap<&str, &Value> = bom["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|component| (component["purl"].as_str().unwrap(), component))
            .collect();
        let names: Vec<&str> = components.keys().copied().collect();
        let expect = [
            "pkg:cargo/bytes@1.0.0%2Bx",
            "pkg:cargo/node@0.1.0",
            "pkg:cargo/syn@1.0.0",
            "pkg:cargo/syn@2.0.1",
            "pkg:npm/%40a/b@1.0.0",
            "pkg:npm/%40a/b@2.0.0",
            "pkg:npm/hls.js@1.7.4",
            "pkg:npm/pages@0.1.0",
        ];
        assert_eq!(names, expect);
        let bytes = components["pkg:cargo/bytes@1.0.0%2Bx"];
        assert_eq!(bytes["hashes"], json!([{ "alg": "SHA-256", "content": "ab01" }]));
        assert_eq!(bytes["licenses"], json!([{ "expression": "MIT OR Apache-2.0" }]));
        let hls = components["pkg:npm/hls.js@1.7.4"];
        assert_eq!(hls["hashes"], json!([{ "alg": "SHA-512", "content": "0102ff" }]));
        for (purl, scope) in expect.iter().zip([
            "required", "required", "excluded", "required", "required", "excluded", "required",
            "required",
        ]) {
            assert_eq!(components[purl]["scope"], scope, "{purl}");
        }
        assert_eq!(components["pkg:cargo/syn@1.0.0"]["licenses"], Value::Null);
    }

    #[test]
    fn dependencies_name_the_version_that_is_used() {
        let bom = made();
        let of = |wanted: &str| {
            let all = bom["dependencies"].as_array().unwrap();
            all.iter().find(|one| one["ref"] == wanted).unwrap()["dependsOn"].clone()
        };
        assert_eq!(of("airwave"), json!(["pkg:cargo/node@0.1.0", "pkg:npm/pages@0.1.0"]));
        let node = json!(["pkg:cargo/bytes@1.0.0%2Bx", "pkg:cargo/syn@2.0.1"]);
        assert_eq!(of("pkg:cargo/node@0.1.0"), node);
        assert_eq!(of("pkg:npm/hls.js@1.7.4"), json!(["pkg:npm/%40a/b@1.0.0"]));
        assert_eq!(of("pkg:npm/pages@0.1.0"), json!(["pkg:npm/hls.js@1.7.4"]));
    }
}
