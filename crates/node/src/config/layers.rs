//! Merging what users wrote: each layer is a table; later ones win key by key.

use std::fmt;

use serde::Deserialize;
use toml::{Table, Value};

use super::Config;

/// Every key with its default. The order is the one in which people read them.
const DEFAULTS: &str = include_str!("defaults.toml");

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
                let problem = error.to_string().trim_end().to_owned();
                Err(ConfigError { key: String::new(), problem, from })
            }
        }
    }

    /// `AIRWAVE__SECTION__KEY=value`, of all environment variables.
    pub fn environment(
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut table = Table::new();
        for (name, value) in variables {
            let Some(path) = name.strip_prefix("AIRWAVE__") else { continue };
            let path: Vec<String> = path.split("__").map(str::to_ascii_lowercase).collect();
            insert(&mut table, &path, value_of(&value));
        }
        Ok(Self { from: "the environment".to_owned(), table })
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

    /// `section.key=value` of `--set`. The value is TOML where it parses as TOML, else text.
    pub fn setting(text: &str) -> Result<Self, ConfigError> {
        let from = format!("--set {}", text.split('=').next().unwrap_or(text));
        let Some((key, value)) = text.split_once('=') else {
            let problem = "write --set section.key=value".to_owned();
            return Err(ConfigError { key: text.to_owned(), problem, from });
        };
        let path: Vec<String> = key.trim().split('.').map(str::to_owned).collect();
        let mut table = Table::new();
        insert(&mut table, &path, value_of(value));
        Ok(Self { from, table })
    }
}

fn value_of(text: &str) -> Value {
    let parsed = format!("value = {text}").parse::<Table>().ok();
    parsed.and_then(|mut t| t.remove("value")).unwrap_or_else(|| Value::String(text.to_owned()))
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

/// Merges the layers over the defaults, the last one strongest, and checks the result.
pub fn load(layers: &[Layer]) -> Result<Config, Vec<ConfigError>> {
    // invariant: the defaults are part of the program and a test loads them.
    let mut merged: Table = DEFAULTS.parse().unwrap_or_default();
    let mut errors = Vec::new();
    for layer in layers {
        for (section, value) in &layer.table {
            merge_section(&mut merged, section, value, &layer.from, &mut errors);
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Config::deserialize(Value::Table(merged)).map_err(|error| {
        let problem = error.to_string();
        vec![ConfigError { key: String::new(), problem, from: "the configuration".to_owned() }]
    })
}

fn merge_section(
    merged: &mut Table,
    section: &str,
    value: &Value,
    from: &str,
    errors: &mut Vec<ConfigError>,
) {
    let mut wrong = |key: &str, problem: String| {
        errors.push(ConfigError { key: key.to_owned(), problem, from: from.to_owned() });
    };
    let known = merged.get(section).and_then(Value::as_table).cloned();
    let (Some(known), Some(values)) = (known, value.as_table()) else {
        let sections: Vec<&str> = merged.keys().map(String::as_str).collect();
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
        let mut tried: Table = DEFAULTS.parse().unwrap_or_default();
        insert(&mut tried, &[section.to_owned(), key.clone()], value.clone());
        if let Err(error) = Config::deserialize(Value::Table(tried)) {
            let text = error.to_string();
            let problem = text.lines().next().unwrap_or("not understood").to_owned();
            wrong(&path, problem);
            continue;
        }
        insert(merged, &[section.to_owned(), key.clone()], value.clone());
    }
}
