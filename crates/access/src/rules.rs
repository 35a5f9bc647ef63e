//! Access rules: who may use a token, by address and country.

use std::net::IpAddr;
use std::path::Path;

pub use proxy::network::Network;
use serde_json::{Map, Value, json};

use crate::limits::{RULE_ENTRIES, RULES};

/// One rule of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    allow: bool,
    of: Of,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Of {
    Any,
    Networks(Vec<Network>),
    /// ISO 3166-1 alpha-2, upper case.
    Countries(Vec<String>),
}

/// What is wrong with a list of rules; for whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RuleError(String);

/// Reads `accessRules`.
pub fn parse(rules: &Value) -> Result<Vec<Rule>, RuleError> {
    let rules = rules.as_array().ok_or_else(|| RuleError("accessRules is a list".to_owned()))?;
    if rules.len() > RULES {
        return Err(RuleError(format!("at most {RULES} accessRules")));
    }
    rules.iter().map(rule).collect()
}

fn rule(rule: &Value) -> Result<Rule, RuleError> {
    let wrong = |words: &str| RuleError(format!("accessRules: {words}"));
    let text = |name: &str| rule.get(name).and_then(Value::as_str);
    let allow = match text("action") {
        Some("allow") => true,
        Some("block") => false,
        _ => return Err(wrong("action is allow or block")),
    };
    let entries = |name: &str| -> Result<Vec<&str>, RuleError> {
        let list = rule.get(name).and_then(Value::as_array);
        let list = list.filter(|list| list.len() <= RULE_ENTRIES);
        let list = list.map(|list| list.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        let words = format!("{name} is a list of at most {RULE_ENTRIES} texts");
        list.flatten().ok_or_else(|| wrong(&words))
    };
    let of = match text("type") {
        Some("any") => Of::Any,
        Some("ip.src") => {
            let network = |text: &str| text.parse::<Network>().ok()?.to_canonical();
            let networks = entries("ip")?.into_iter().map(network).collect::<Option<_>>();
            let words =
                "ip is a list of addresses and networks, such as 192.0.2.0/24 and 2001:db8::/32";
            Of::Networks(networks.ok_or_else(|| wrong(words))?)
        }
        Some("ip.geoip.country") => {
            let countries = entries("country")?.into_iter().map(country).collect::<Option<_>>();
            let words = "country is a list of two letters each, such as DE (ISO 3166-1)";
            Of::Countries(countries.ok_or_else(|| wrong(words))?)
        }
        _ => return Err(wrong("type is any, ip.src or ip.geoip.country")),
    };
    Ok(Rule { allow, of })
}

fn country(text: &str) -> Option<String> {
    let letters = text.len() == 2 && text.bytes().all(|b| b.is_ascii_alphabetic());
    letters.then(|| text.to_ascii_uppercase())
}

impl Rule {
    /// As it is written in a token.
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("action".to_owned(), if self.allow { "allow" } else { "block" }.into());
        let (kind, list) = match &self.of {
            Of::Any => ("any", None),
            Of::Networks(networks) => {
                let text = |n: &Network| n.to_string();
                ("ip.src", Some(("ip", json!(networks.iter().map(text).collect::<Vec<_>>()))))
            }
            Of::Countries(countries) => ("ip.geoip.country", Some(("country", json!(countries)))),
        };
        map.insert("type".to_owned(), kind.into());
        map.extend(list.map(|(name, list)| (name.to_owned(), list)));
        Value::Object(map)
    }

    /// Whether it needs to know the country.
    pub fn asks_for_country(&self) -> bool {
        matches!(self.of, Of::Countries(_))
    }
}

/// Whether these rules let an address pass: the first that fits decides, and none lets it pass. Without
/// a database no country fits, so a rule that allows countries and then blocks any lets nobody pass.
pub fn allow(rules: &[Rule], address: IpAddr, countries: Option<&Countries>) -> bool {
    let address = address.to_canonical();
    let fits = |rule: &&Rule| match &rule.of {
        Of::Any => true,
        Of::Networks(networks) => networks.iter().any(|network| network.has(address)),
        Of::Countries(list) => countries
            .and_then(|database| database.of(address))
            .is_some_and(|country| list.contains(&country)),
    };
    rules.iter().find(fits).is_none_or(|rule| rule.allow)
}

/// Which country an address is in, by an operator's MaxMind database.
pub struct Countries(maxminddb::Reader<Vec<u8>>);

/// A file that is no database of countries.
#[derive(Debug, thiserror::Error)]
#[error("{path} is no MaxMind database: {reason}")]
pub struct WrongDatabase {
    path: String,
    reason: String,
}

impl Countries {
    /// Reads a database in the MaxMind format, GeoLite2-Country or one with the same fields.
    pub fn open(path: &Path) -> Result<Self, WrongDatabase> {
        let wrong = |error: maxminddb::MaxMindDbError| WrongDatabase {
            path: path.display().to_string(),
            reason: error.to_string(),
        };
        maxminddb::Reader::open_readfile(path).map(Self).map_err(wrong)
    }

    /// ISO 3166-1 alpha-2, upper case.
    fn of(&self, address: IpAddr) -> Option<String> {
        let found = self.0.lookup(address).ok()?;
        let country: maxminddb::geoip2::Country<'_> = found.decode().ok()??;
        country.country.iso_code.map(str::to_ascii_uppercase)
    }
}

impl std::fmt::Debug for Countries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Countries")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Result<Vec<Rule>, RuleError> {
        parse(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let office = r#"[{"type":"ip.src","action":"allow","ip":["192.0.2.0/24","2001:db8::/32"]},
            {"type":"any","action":"block"}]"#;
        let mapped = r#"[{"type":"ip.src","action":"allow","ip":["::ffff:192.0.2.0/120"]},
            {"type":"any","action":"block"}]"#;
        let one_out = r#"[{"type":"ip.src","action":"block","ip":["192.0.2.7"]}]"#;
        let four_only = r#"[{"type":"ip.src","action":"allow","ip":["0.0.0.0/0"]},{"type":"any","action":"block"}]"#;
        let country = r#"[{"type":"ip.geoip.country","action":"allow","country":["de"]},{"type":"any","action":"block"}]"#;
        for (list, address, expect) in [
            (office, "192.0.2.9", true),
            (office, "::ffff:192.0.2.9", true),
            (office, "192.0.3.9", false),
            (mapped, "192.0.2.9", true),
            (mapped, "::ffff:192.0.2.9", true),
            (mapped, "192.0.3.9", false),
            (office, "2001:db8:7::1", true),
            (office, "2001:db9::1", false),
            (one_out, "192.0.2.7", false),
            (one_out, "192.0.2.8", true),
            (four_only, "203.0.113.9", true),
            (four_only, "::1", false),
            (country, "192.0.2.9", false),
            ("[]", "192.0.2.9", true),
        ] {
            let rules = rules(list).unwrap();
            assert_eq!(allow(&rules, address.parse().unwrap(), None), expect, "{list} {address}");
            let again = Value::Array(rules.iter().map(Rule::to_json).collect());
            assert_eq!(parse(&again).unwrap(), rules);
        }
    }

    #[test]
    fn what_is_no_rule_is_told() {
        let many = format!("[{}]", [r#"{"type":"any","action":"allow"}"#; 6].join(","));
        for (list, words) in [
            ("{}", "list"),
            (&*many, "at most 5"),
            (r#"["any"]"#, "action"),
            (r#"[{"type":"any","action":"maybe"}]"#, "action"),
            (r#"[{"type":"moon","action":"allow"}]"#, "type"),
            (r#"[{"type":"ip.src","action":"allow"}]"#, "ip is"),
            (r#"[{"type":"ip.src","action":"allow","ip":["192.0.2.0/33"]}]"#, "networks"),
            (r#"[{"type":"ip.src","action":"allow","ip":["::ffff:192.0.2.0/95"]}]"#, "networks"),
            (r#"[{"type":"ip.src","action":"allow","ip":[7]}]"#, "texts"),
            (
                r#"[{"type":"ip.geoip.country","action":"allow","country":["Germany"]}]"#,
                "two letters",
            ),
        ] {
            let told = rules(list).unwrap_err().to_string();
            assert!(told.contains(words), "{list}: {told}");
        }
    }
}
