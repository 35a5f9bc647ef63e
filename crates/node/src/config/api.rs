//! `[api]`: who may use all of it.

use control::Secret;
use serde::{Deserialize, Deserializer, de};

/// Characters of a token at least: one that is shorter can be guessed.
pub(crate) const TOKEN_MIN: usize = 16;
/// And at most: a header has to hold it.
const TOKEN_MAX: usize = 256;

/// `[api]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// The token that may do everything; none: the one in the data directory, which the first start makes.
    #[serde(deserialize_with = "token")]
    pub token: Option<Secret>,
}

/// What a header can carry (RFC 6750 §2.1). What is wrong is said without it.
fn token<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
    let words = || {
        let words = format!(
            "a token has {TOKEN_MIN} to {TOKEN_MAX} letters, digits and characters of -._~+/="
        );
        de::Error::custom(words)
    };
    let toml::Value::String(text) = toml::Value::deserialize(from)? else { return Err(words()) };
    let of_token = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    match text.len() {
        0 => Ok(None),
        TOKEN_MIN..=TOKEN_MAX if text.chars().all(of_token) => Ok(Some(Secret::new(text))),
        _ => Err(words()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Layer, load};

    #[test]
    fn a_token_is_one_that_a_header_carries_and_nobody_guesses() {
        let of = |value: &str| {
            let layer = Layer::text("a.toml", &format!("[api]\ntoken = {value}")).unwrap();
            load(&[layer]).map(|loaded| loaded.config.api.token)
        };
        assert_eq!(of("\"\""), Ok(None));
        let good = "aw_0123456789-._~+/=";
        assert_eq!(of(&format!("\"{good}\"")), Ok(Some(Secret::new(good))));
        for bad in ["\"aw_012345678901\"", "\"aw_SECRET 0123456789\"", "5", "[\"aw_SECRET\"]"] {
            let errors = format!("{:?}", of(bad).unwrap_err());
            assert!(errors.contains("api.token"), "{errors}");
            assert!(!errors.contains("SECRET") && !errors.contains("0123"), "{errors}");
        }
        assert!(of(&format!("\"{}\"", "a".repeat(257))).is_err());
    }
}
