//! Merging what users wrote: each layer is a table; later ones win key by key.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use serde::Deserialize;
use toml::{Table, Value};

use super::{Config, conflicts};

/// Every key with its default and its explanation. The order is the one in which people read them.
pub const SAMPLE: &str = include_str!("defaults.toml");

/// Where a value comes from that nobody gave.
const DEFAULT: &str = "default";

/// One place where configuration comes from.
#[derive(Debug, Clone)]
pub struct Layer {
    from: String,
    table: Table,
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// `section.key`; empty if a file can't be read at all.
    pub key: String,
    /// In words.
    pub problem: String,
    /// The file, the variable, the flag.
    pub from: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, problem, from } = self;
        let colon = if key.is_empty() { "" } else { ": " };
        write!(f, "{key}{colon}{problem} (from {from})")
    }
}

impl Layer {
    /// A file's text.
    pub fn text(name: &str, text: &str) -> Result<Self, ConfigError> {
        let from = name.to_owned();
        match text.parse::<Table>() {
            Ok(table) => Ok(Self { from, table }),
            Err(error) => {
                let problem = without_text(text, &error);
                Err(ConfigError { key: String::new(), problem, from })
            }
        }
    }

    /// `AIRWAVE__SECTION__KEY=value`, of all environment variables: a layer each.
    pub fn environment(
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Vec<Result<Self, ConfigError>> {
        let ours = variables.filter_map(|(name, value)| {
            let name = name.to_str()?.to_owned();
            let path = name.strip_prefix("AIRWAVE__")?.to_ascii_lowercase();
            let path: Vec<String> = path.split("__").map(str::to_owned).collect();
            Some((name, path, value))
        });
        ours.map(|(from, path, value)| {
            let Some(value) = value.to_str() else {
                let (key, problem) = (path.join("."), "the value is not UTF-8".to_owned());
                return Err(ConfigError { key, problem, from });
            };
            let mut table = Table::new();
            insert(&mut table, &path, value_of(&path, value));
            Ok(Self { from, table })
        })
        .collect()
    }

    /// `--data DIR`.
    pub fn data_dir(dir: &std::path::Path) -> Result<Self, ConfigError> {
        let Some(dir) = dir.to_str() else {
            let problem = "the path is not UTF-8".to_owned();
            return Err(ConfigError { key: "data.dir".into(), problem, from: "--data".into() });
        };
        let mut table = Table::new();
        insert(&mut table, &["data".into(), "dir".into()], Value::String(dir.to_owned()));
        Ok(Self { from: "--data".to_owned(), table })
    }

    /// `--domain NAME`, given once or more often.
    pub fn domains(names: &[String]) -> Self {
        let names = names.iter().cloned().map(Value::String).collect();
        let mut table = Table::new();
        insert(&mut table, &["tls".into(), "domain".into()], Value::Array(names));
        Self { from: "--domain".to_owned(), table }
    }

    /// `section.key=value` of `--set`. The value is TOML where it parses as TOML, else text.
    pub fn setting(text: &str) -> Result<Self, ConfigError> {
        let from = format!("--set {}", text.split('=').next().unwrap_or(text));
        let Some((key, value)) = text.split_once('=') else {
            let problem = "write --set section.key=value".to_owned();
            return Err(ConfigError { key: text.to_owned(), problem, from });
        };
        let path: Vec<String> = key.trim().split('.').map(str::to_owned).collect();
        let mut table = Table::new();
        insert(&mut table, &path, value_of(&path, value));
        Ok(Self { from, table })
    }
}

/// Where a file can't be read, and why: not with its line, which may hold a secret.
fn without_text(text: &str, error: &toml::de::Error) -> String {
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else {
        return error.message().to_owned();
    };
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}: {}", error.message())
}

/// A key of text has text, also where that is a number: a token may have digits only.
fn value_of(path: &[String], text: &str) -> Value {
    let defaults: Table = SAMPLE.parse().unwrap_or_default();
    let default =
        path.split_first().and_then(|(section, key)| defaults.get(section)?.get(key.first()?));
    let is_text = default.is_some_and(Value::is_str);
    let parsed = format!("value = {text}").parse::<Table>().ok();
    let parsed = parsed.and_then(|mut t| t.remove("value"));
    let scalar = |value: &Value| !(value.is_table() || value.is_array() || value.is_str());
    let parsed = parsed.filter(|value| !(is_text && scalar(value)));
    parsed.unwrap_or_else(|| Value::String(text.to_owned()))
}

fn insert(table: &mut Table, path: &[String], value: Value) {
    match path {
        [] => {}
        [key] => {
            table.insert(key.clone(), value);
        }
        [section, rest @ ..] => {
            let entry = table.entry(section.clone()).or_insert_with(|| Table::new().into());
            if let Value::Table(inner) = entry {
                insert(inner, rest, value);
            }
        }
    }
}

/// A configuration, and where each of its values came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What holds.
    pub config: Config,
    values: Table,
    origins: BTreeMap<String, String>,
}

/// Every key, as `section.key`, in the order in which people read them.
pub fn keys() -> Vec<String> {
    let mut section = "";
    let mut keys = Vec::new();
    for line in SAMPLE.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = name;
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            keys.push(format!("{section}.{key}"));
        }
    }
    keys
}

impl Loaded {
    /// The value of a key as it was written; nothing if there is no such key.
    fn value(&self, key: &str) -> Option<&Value> {
        let (section, key) = key.split_once('.')?;
        self.values.get(section)?.get(key)
    }

    fn origin(&self, key: &str) -> &str {
        self.origins.get(key).map_or(DEFAULT, String::as_str)
    }

    /// An error of a key, with where its value came from.
    pub fn error(&self, key: &str, problem: String) -> ConfigError {
        ConfigError { key: key.to_owned(), problem, from: self.origin(key).to_owned() }
    }

    /// The keys whose values differ.
    pub fn differing(&self, other: &Self) -> Vec<String> {
        keys().into_iter().filter(|key| self.value(key) != other.value(key)).collect()
    }

    /// As TOML that could be read again, with where each value came from.
    pub fn print(&self) -> String {
        let shown: Vec<(String, String)> = keys()
            .into_iter()
            .map(|key| {
                let value = self.value(&key).map(Value::to_string).unwrap_or_default();
                let value = if is_secret(&key) && !matches!(&*value, "\"\"" | "[]") {
                    MASKED.into()
                } else {
                    value
                };
                let name = key.split_once('.').map_or(key.as_str(), |(_, name)| name).to_owned();
                let line = format!("{name} = {value}");
                (key, line)
            })
            .collect();
        let width = shown.iter().map(|(_, line)| line.chars().count()).max().unwrap_or(0);
        let mut out = String::from("# What is in effect, and where it came from.\n");
        let mut section = "";
        for (key, line) in &shown {
            let own = key.split('.').next().unwrap_or_default();
            if own != section {
                out.push_str(&format!("\n[{own}]\n"));
                section = own;
            }
            out.push_str(&format!("{line:width$}  # {}\n", self.origin(key)));
        }
        out
    }
}

const MASKED: &str = "\"********\"";

/// Keys whose values nobody may read over a shoulder. `tls.key` is the name of a file.
fn is_secret(key: &str) -> bool {
    let name = key.rsplit('.').next().unwrap_or(key);
    let words =
        ["token", "secret", "password", "passphrase", "master_key", "hmac_key", "upstreams"];
    words.iter().any(|s| name.contains(s))
}

/// Merges the layers over the defaults, the last one strongest, and checks the result.
pub fn load(layers: &[Layer]) -> Result<Loaded, Vec<ConfigError>> {
    // invariant: the defaults are part of the program and a test loads them.
    let mut values: Table = SAMPLE.parse().unwrap_or_default();
    let mut origins = BTreeMap::new();
    let mut errors = Vec::new();
    for layer in layers {
        for (section, value) in &layer.table {
            let mut merge = Merge { values: &mut values, origins: &mut origins, layer };
            merge.section(section, value, &mut errors);
        }
    }
    let config = Config::deserialize(Value::Table(values.clone())).map_err(|error| {
        let problem = error.to_string();
        vec![ConfigError { key: String::new(), problem, from: "the configuration".to_owned() }]
    })?;
    let loaded = Loaded { config, values, origins };
    for (key, problem, why) in conflicts(&loaded.config) {
        let from = loaded.origin(why).to_owned();
        errors.push(ConfigError { key: key.to_owned(), problem, from });
    }
    if errors.is_empty() { Ok(loaded) } else { Err(errors) }
}

/// The library's words for types are those of programmers.
fn in_words(problem: &str) -> String {
    problem
        .replace("expected u64", "expected a whole number, 0 or more")
        .replace("expected u32", "expected a whole number, 0 or more")
        .replace("expected f64", "expected a number")
        .replace("unknown variant", "unknown value")
}

/// One layer on its way into what is merged.
struct Merge<'a> {
    values: &'a mut Table,
    origins: &'a mut BTreeMap<String, String>,
    layer: &'a Layer,
}

impl Merge<'_> {
    fn section(&mut self, section: &str, value: &Value, errors: &mut Vec<ConfigError>) {
        let mut wrong = |key: &str, problem: String| {
            let from = self.layer.from.clone();
            errors.push(ConfigError { key: key.to_owned(), problem, from });
        };
        let known = self.values.get(section).and_then(Value::as_table).cloned();
        if known.is_some() && value.as_table().is_none() {
            let words = format!("a section, not a value: write --set {section}.KEY=VALUE");
            return wrong(section, words);
        }
        let (Some(known), Some(values)) = (known, value.as_table()) else {
            let sections: Vec<&str> = self.values.keys().map(String::as_str).collect();
            return wrong(section, format!("no such section; there are {}", sections.join(", ")));
        };
        for (key, value) in values {
            let path = format!("{section}.{key}");
            if !known.contains_key(key) {
                let keys: Vec<&str> = known.keys().map(String::as_str).collect();
                wrong(&path, format!("no such key; [{section}] has {}", keys.join(", ")));
                continue;
            }
            // Each value is tried alone over the defaults, so that every error is found and has its key.
            let mut tried: Table = SAMPLE.parse().unwrap_or_default();
            let place = [section.to_owned(), key.clone()];
            insert(&mut tried, &place, value.clone());
            if let Err(error) = Config::deserialize(Value::Table(tried)) {
                let text = error.to_string();
                let problem = text.lines().next().unwrap_or("not understood");
                // What the library says may have the value in it; those who read theirs themselves don't.
                if is_secret(&path) && path != "moq.upstreams" {
                    wrong(&path, "not understood; its value is a secret and not shown".to_owned());
                    continue;
                }
                wrong(&path, in_words(problem));
                continue;
            }
            insert(self.values, &place, value.clone());
            self.origins.insert(path, self.layer.from.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        for (key, secret) in [
            ("api.token", true),
            ("secrets.master_key", true),
            ("store.s3_secret", true),
            ("moq.upstreams", true),
            ("acme.eab_hmac_key", true),
            ("acme.eab_kid", false),
            ("tls.key", false),
            ("http.listen", false),
        ] {
            assert_eq!(is_secret(key), secret, "{key}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_secret_is_said_without_it() {
        let text = "[moq]\nopen_namespaces = []\nupstreams = [\"moqt://a/?jwt=SECRET\" 5]\n";
        let error = Layer::text("a.toml", text).unwrap_err();
        assert!(error.problem.starts_with("line 3, column 37: "), "{error}");
        for value in [
            r#"["moqt://a/?jwt=SECRET" 5]"#,
            r#"["moqt://a/?jwt=SECRET"#,
            r#"["moqt://a/\q?jwt=SECRET"]"#,
            r#"["moqt://a/?jwt=SECRET"] SECRET"#,
            "moqt://a/?jwt=SECRET",
            "SECRET",
            "[]\nSECRET",
        ] {
            let error = Layer::text("a.toml", &format!("[moq]\nupstreams = {value}")).unwrap_err();
            assert!(error.problem.starts_with("line ") && error.from == "a.toml", "{error}");
            assert!(!error.to_string().contains("SECRET"), "{error}");
        }
        for key in keys().iter().filter(|key| is_secret(key)) {
            for value in ["[[\"SECRET\"]]", "{SECRET=1}", "\"SECRET\"", "123456789"] {
                let layer = Layer::setting(&format!("{key}={value}")).unwrap();
                let problems = load(&[layer]).err().unwrap_or_default();
                let words = format!("{problems:?}");
                assert!(!words.contains("SECRET") && !words.contains("123456789"), "{words}");
            }
        }
        for (variable, value) in [
            ("AIRWAVE__MOQ__UPSTREAMS", "moqt://a/?jwt=SECRET"),
            ("AIRWAVE__MOQ__UPSTREAMS", "[\"moqt://a/?jwt=SECRET\""),
            ("AIRWAVE__MOQ__UPSTREAMS__0", "moqt://a/?jwt=SECRET"),
        ] {
            let variables = [(variable.into(), value.into())].into_iter();
            let layers = Layer::environment(variables).into_iter().map(Result::unwrap);
            let problems = load(&layers.collect::<Vec<_>>()).unwrap_err();
            let words = format!("{problems:?}");
            assert!(words.contains("write a list") && !words.contains("SECRET"), "{words}");
        }
    }

    #[test]
    fn a_text_may_look_like_a_number() {
        for text in ["1234567890123456", "1e15000000000000", "0x12345678901234"] {
            let set = Layer::setting(&format!("api.token={text}")).unwrap();
            let variable = ("AIRWAVE__ENCODE__PROGRAM".into(), text.into());
            let variable = Layer::environment([variable].into_iter()).remove(0).unwrap();
            let config = load(&[set, variable]).unwrap().config;
            assert!(config.api.token.is_some(), "{text}");
            assert_eq!(config.encode.program, text);
        }
        let quoted = Layer::setting("encode.program=\"12\"").unwrap();
        assert_eq!(load(&[quoted]).unwrap().config.encode.program, "12");
        let number = Layer::setting("hls.part_ms=200").unwrap();
        assert!(load(&[number]).is_ok());
    }

    #[test]
    fn every_key_of_the_sample_is_listed_once() {
        let mut listed = keys();
        let values: Table = SAMPLE.parse().unwrap();
        let sections = values.iter().map(|(name, section)| (name, section.as_table().unwrap()));
        let mut there: Vec<String> =
            sections.flat_map(|(name, s)| s.keys().map(move |k| format!("{name}.{k}"))).collect();
        listed.sort();
        there.sort();
        assert_eq!(listed, there);
    }

    #[test]
    fn the_printed_configuration_says_where_values_came_from_and_reads_back() {
        let file = Layer::text("a.toml", "[hls]\npart_ms = 200").unwrap();
        let set = Layer::setting("http.listen=127.0.0.1:1").unwrap();
        let printed = load(&[file, set]).unwrap().print();
        let line = |start: &str| printed.lines().find(|l| l.starts_with(start)).unwrap().to_owned();
        assert!(line("part_ms = 200 ").ends_with("  # a.toml"), "{printed}");
        assert!(line("listen = \"127.0.0.1:1\"").ends_with("  # --set http.listen"), "{printed}");
        assert!(line("reconnect_s = 15").ends_with("  # default"), "{printed}");
        let again = load(&[Layer::text("printed", &printed).unwrap()]).unwrap();
        assert_eq!(again.print().replace("# printed", ""), {
            let lines = printed.lines().map(|l| match l.split_once("  # ") {
                Some((value, _)) => format!("{value}  "),
                None => l.to_owned(),
            });
            lines.map(|l| l + "\n").collect::<String>()
        });
    }
}
