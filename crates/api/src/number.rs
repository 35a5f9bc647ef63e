//! Whole numbers, which the SDKs send as floats at times.

use serde_json::Value;

use crate::envelope::ApiError;

/// Of a body.
pub(crate) fn of_value(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| exact(value.as_f64()?))
}

/// Of a query: 1 to `most`.
pub(crate) fn of_query(name: &str, text: &str, most: u64) -> Result<u64, ApiError> {
    let number = text.parse().ok().or_else(|| exact(text.parse().ok()?));
    let wrong = || ApiError::field(name, format!("must be 1 to {most}"));
    number.filter(|n| (1..=most).contains(n)).ok_or_else(wrong)
}

/// 2^53: beyond it floats are not exact.
fn exact(float: f64) -> Option<u64> {
    let whole = float.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&float);
    whole.then_some(float as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_whole_numbers_or_none() {
        for (text, query) in [
            ("7", Some(7)),
            ("7.0", Some(7)),
            ("7e0", Some(7)),
            ("1000", Some(1_000)),
            ("1001", None),
            ("0", None),
            ("-1", None),
            ("1.5", None),
            ("NaN", None),
            ("inf", None),
            ("1e300", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(of_query("limit", text, 1_000).ok(), query, "{text}");
        }
        for (json, expect) in [
            ("7", Some(7)),
            ("7.0", Some(7)),
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("9007199254740994.0", None),
            ("-1", None),
            ("1.5", None),
            ("\"7\"", None),
        ] {
            assert_eq!(of_value(&serde_json::from_str(json).unwrap()), expect, "{json}");
        }
    }
}
