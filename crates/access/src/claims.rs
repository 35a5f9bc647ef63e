//! What a token says.

use serde_json::{Map, Value, json};

use crate::rules::{self, Rule};
use crate::token::TokenError;

/// What the holder of a token may do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grant {
    /// The uid of a video or of a live input.
    pub sub: String,
    /// Good until then, ms since 1970.
    pub expires_ms: u64,
    /// And not before.
    pub not_before_ms: Option<u64>,
    /// Files may be downloaded.
    pub downloadable: bool,
    /// Who may use it.
    pub rules: Vec<Rule>,
    /// The link that it belongs to, which may be taken back.
    pub link: Option<String>,
}

impl Grant {
    /// Reads the claims of a token whose signature is good.
    pub(crate) fn from_claims(claims: &Map<String, Value>) -> Result<Self, TokenError> {
        let sub = claims.get("sub").and_then(Value::as_str);
        let sub = sub.filter(|sub| !sub.is_empty()).ok_or(TokenError::Claim("sub"))?;
        let expires = seconds(claims, "exp")?.ok_or(TokenError::Claim("exp"))?;
        let rules = match claims.get("accessRules") {
            None | Some(Value::Null) => Vec::new(),
            Some(list) => rules::parse(list).map_err(|_| TokenError::Claim("accessRules"))?,
        };
        Ok(Self {
            sub: sub.to_owned(),
            expires_ms: expires,
            not_before_ms: seconds(claims, "nbf")?,
            downloadable: claims.get("downloadable").is_some_and(|d| d == true),
            rules,
            link: claims.get("jti").and_then(Value::as_str).map(str::to_owned),
        })
    }

    pub(crate) fn to_claims(&self, kid: &str) -> Map<String, Value> {
        let mut claims = Map::new();
        claims.insert("sub".to_owned(), json!(self.sub));
        claims.insert("kid".to_owned(), json!(kid));
        claims.insert("exp".to_owned(), json!(self.expires_ms / 1000));
        if let Some(not_before) = self.not_before_ms {
            claims.insert("nbf".to_owned(), json!(not_before / 1000));
        }
        if self.downloadable {
            claims.insert("downloadable".to_owned(), json!(true));
        }
        if !self.rules.is_empty() {
            let rules: Vec<Value> = self.rules.iter().map(Rule::to_json).collect();
            claims.insert("accessRules".to_owned(), rules.into());
        }
        if let Some(link) = &self.link {
            claims.insert("jti".to_owned(), json!(link));
        }
        claims
    }
}

/// A time in seconds since 1970, in milliseconds. RFC 7519 §2 NumericDate, and the same as text: the
/// vendor's sample writes it so.
fn seconds(claims: &Map<String, Value>, name: &'static str) -> Result<Option<u64>, TokenError> {
    let seconds = match claims.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
        Some(_) => None,
    };
    // Up to the year 9999.
    let plausible = seconds.filter(|s| (0.0..253_402_300_800.0).contains(s));
    plausible.map(|s| Some((s * 1000.0) as u64)).ok_or(TokenError::Claim(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_numbers_or_digits() {
        for (exp, expect) in [
            ("1700000000", Some(1_700_000_000_000)),
            ("\"1700000000\"", Some(1_700_000_000_000)),
            ("1700000000.5", Some(1_700_000_000_500)),
            ("\"soon\"", None),
            ("\"\"", None),
            ("\"-1\"", None),
            ("-1", None),
            ("1e300", None),
            ("true", None),
            ("[1700000000]", None),
            ("null", None),
        ] {
            let text = format!(r#"{{"sub":"a","exp":{exp}}}"#);
            let claims = serde_json::from_str(&text).unwrap();
            let grant = Grant::from_claims(&claims);
            assert_eq!(grant.ok().map(|g| g.expires_ms), expect, "{exp}");
        }
    }

    #[test]
    fn a_grant_comes_back_from_its_claims() {
        let rules = json!([{ "type": "any", "action": "block" }]);
        let grant = Grant {
            sub: "a".to_owned(),
            expires_ms: 7_000,
            not_before_ms: Some(5_000),
            downloadable: true,
            rules: rules::parse(&rules).unwrap(),
            link: Some("l".to_owned()),
        };
        assert_eq!(Grant::from_claims(&grant.to_claims("k")), Ok(grant));
    }
}
