//! Merging a request's fields into an input's settings: what is not named stays, `null` resets.

use std::net::Ipv6Addr;

use control::{InputSettings, RecordingMode};
use media::rung::{NoRung, Rung, each_once};
use serde_json::{Map, Value};

use crate::envelope::ApiError;
use crate::limits::{
    CREATOR_CHARS_MAX, LADDER_MAX, ORIGIN_BYTES_MAX, ORIGIN_SHOWN_CHARS, ORIGINS_MAX,
    TIMEOUT_SECONDS_MAX,
};
use crate::number;

/// Applies the fields of a create or update body.
pub(crate) fn settings(
    into: &mut InputSettings,
    body: &Map<String, Value>,
) -> Result<(), ApiError> {
    for (name, value) in body {
        match name.as_str() {
            "meta" => into.meta = object(name, value)?,
            "enabled" => into.enabled = boolean(name, value, true)?,
            "preferLowLatency" => into.prefer_low_latency = boolean(name, value, true)?,
            "ladder" => into.ladder = ladder(name, value)?,
            "defaultCreator" => into.default_creator = text(name, value)?,
            "deleteRecordingAfterDays" => into.delete_recording_after_days = days(name, value)?,
            "recording" => recording(into, value)?,
            // Read-only fields of an object that was read and is written back, and those of others.
            _ => {}
        }
    }
    Ok(())
}

fn recording(into: &mut InputSettings, value: &Value) -> Result<(), ApiError> {
    let recording = &mut into.recording;
    for (key, value) in &object("recording", value)? {
        let name = &format!("recording.{key}");
        match key.as_str() {
            "mode" => recording.mode = mode(name, value)?,
            "timeoutSeconds" => recording.timeout_seconds = timeout(name, value)?,
            "maxTotalBytes" => recording.max_total_bytes = bytes(name, value)?,
            "requireSignedURLs" => {
                recording.require_signed_urls = boolean(name, value, false)?;
            }
            "hideLiveViewerCount" => {
                recording.hide_live_viewer_count = boolean(name, value, false)?;
            }
            "allowedOrigins" => recording.allowed_origins = origins(name, value)?,
            "allowClips" => recording.allow_clips = boolean(name, value, false)?,
            "allowChat" => recording.allow_chat = boolean(name, value, false)?,
            _ => {}
        }
    }
    Ok(())
}

pub(crate) fn object(name: &str, value: &Value) -> Result<Map<String, Value>, ApiError> {
    match value {
        Value::Object(map) => Ok(map.clone()),
        Value::Null => Ok(Map::new()),
        _ => Err(ApiError::field(name, "must be an object")),
    }
}

pub(crate) fn boolean(name: &str, value: &Value, default: bool) -> Result<bool, ApiError> {
    match value {
        Value::Bool(value) => Ok(*value),
        Value::Null => Ok(default),
        _ => Err(ApiError::field(name, "must be true or false")),
    }
}

pub(crate) fn text(name: &str, value: &Value) -> Result<Option<String>, ApiError> {
    match value {
        Value::String(text) if text.chars().count() <= CREATOR_CHARS_MAX => Ok(Some(text.clone())),
        Value::String(_) => {
            Err(ApiError::field(name, format!("must have at most {CREATOR_CHARS_MAX} characters")))
        }
        Value::Null => Ok(None),
        _ => Err(ApiError::field(name, "must be a text")),
    }
}

fn days(name: &str, value: &Value) -> Result<Option<u32>, ApiError> {
    if value.is_null() {
        return Ok(None);
    }
    let days =
        number::of_value(value).and_then(|days| u32::try_from(days).ok()).filter(|days| *days >= 1);
    let words = "must be a whole number of days, at least 1, or null";
    days.map(Some).ok_or_else(|| ApiError::field(name, words))
}

fn timeout(name: &str, value: &Value) -> Result<u32, ApiError> {
    if value.is_null() {
        return Ok(0);
    }
    let seconds = number::of_value(value).filter(|s| *s <= TIMEOUT_SECONDS_MAX);
    let words = || format!("must be a whole number of seconds, 0 to {TIMEOUT_SECONDS_MAX}");
    let seconds = seconds.and_then(|seconds| u32::try_from(seconds).ok());
    seconds.ok_or_else(|| ApiError::field(name, words()))
}

fn bytes(name: &str, value: &Value) -> Result<Option<u64>, ApiError> {
    if value.is_null() {
        return Ok(None);
    }
    // The database has 63 bits.
    let bytes = number::of_value(value).filter(|n| (1..=i64::MAX as u64).contains(n));
    let words = "must be a whole number of bytes, at least 1, or null";
    bytes.map(Some).ok_or_else(|| ApiError::field(name, words))
}

/// Levels as the configuration has them.
fn ladder(name: &str, value: &Value) -> Result<Option<Vec<String>>, ApiError> {
    let wrong = || {
        ApiError::field(
            name,
            format!(
                "must be a list of at most {LADDER_MAX} levels such as \"720p\" or \"480p=1200\" (kbit/s at most), \
                 [] for the original only, or null for the server's own"
            ),
        )
    };
    if value.is_null() {
        return Ok(None);
    }
    let list = value.as_array().filter(|list| list.len() <= LADDER_MAX).ok_or_else(wrong)?;
    let rung = |v: &Value| {
        let text = v.as_str().ok_or_else(wrong)?;
        text.parse().map_err(|e: NoRung| ApiError::field(name, e.to_string()))
    };
    let rungs = list.iter().map(rung).collect::<Result<Vec<Rung>, _>>()?;
    each_once(&rungs).map_err(|e| ApiError::field(name, e.to_string()))?;
    Ok(Some(rungs.iter().map(Rung::to_string).collect()))
}

fn mode(name: &str, value: &Value) -> Result<RecordingMode, ApiError> {
    match value.as_str() {
        Some("automatic") => Ok(RecordingMode::Automatic),
        Some("off") => Ok(RecordingMode::Off),
        None if value.is_null() => Ok(RecordingMode::default()),
        _ => Err(ApiError::field(name, "must be \"automatic\" or \"off\"")),
    }
}

/// A name or an address, with a wildcard before it and a port behind it if need be, as the gate compares it.
fn host(entry: &str) -> Option<String> {
    let (wildcard, name) = entry.strip_prefix("*.").map_or(("", entry), |name| ("*.", name));
    let (host, port) = match name.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (name, None),
    };
    let digits = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    let number = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    if entry.len() > ORIGIN_BYTES_MAX || !port.is_none_or(|port| digits(port) && number(port)) {
        return None;
    }
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        // Pages say it in its one short form.
        let address = address.parse::<Ipv6Addr>().ok().filter(|_| wildcard.is_empty())?;
        return Some(port.map_or(format!("[{address}]"), |port| format!("[{address}]:{port}")));
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    let label = |label: &str| !label.is_empty() && label.bytes().all(plain);
    host.split('.').all(label).then(|| entry.to_owned())
}

/// Pages that may embed. `null` and a list without an entry name none, which is no lock; what can't be read is never passed over:
/// it was meant to be one.
pub(crate) fn origins(name: &str, value: &Value) -> Result<Option<Vec<String>>, ApiError> {
    let wrong = |entry: &str| {
        ApiError::field(
            name,
            format!(
                "must be a list of at most {ORIGINS_MAX} host names such as example.com, *.example.com or \
                 localhost:3000, without https:// and paths; or null or [] for all pages{entry}"
            ),
        )
    };
    if value.is_null() {
        return Ok(None);
    }
    let list =
        value.as_array().filter(|list| list.len() <= ORIGINS_MAX).ok_or_else(|| wrong(""))?;
    let origin = |entry: &Value| {
        let host = entry.as_str().and_then(|text| host(text.trim()));
        host.ok_or_else(|| {
            let shown: String = entry.to_string().chars().take(ORIGIN_SHOWN_CHARS).collect();
            wrong(&format!(". No host name: {shown}"))
        })
    };
    list.iter().map(origin).collect::<Result<Vec<_>, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(body: Value) -> Result<InputSettings, String> {
        let mut into = InputSettings { delete_recording_after_days: Some(7), ..Default::default() };
        let Value::Object(body) = body else { panic!("{body}") };
        settings(&mut into, &body).map_err(|e| format!("{e:?}"))?;
        Ok(into)
    }

    #[test]
    fn what_is_not_named_stays_and_null_resets() {
        let stays = merged(json!({"enabled": false, "unknown": 1})).unwrap();
        assert_eq!((stays.enabled, stays.delete_recording_after_days), (false, Some(7)));
        let reset = merged(json!({"deleteRecordingAfterDays": null, "recording": {"mode": "off"}}));
        let reset = reset.unwrap();
        assert_eq!(
            (reset.delete_recording_after_days, reset.recording.mode),
            (None, RecordingMode::Off)
        );
        let days = merged(json!({"deleteRecordingAfterDays": 45.0})).unwrap();
        assert_eq!(days.delete_recording_after_days, Some(45));
        for (ladder, expect) in [
            (json!(null), None),
            (json!([]), Some(vec![])),
            (
                json!(["720p", "360p=500"]),
                Some(vec!["720p=2800".to_owned(), "360p=500".to_owned()]),
            ),
        ] {
            assert_eq!(merged(json!({ "ladder": ladder })).unwrap().ladder, expect);
        }
        let timeout = merged(json!({"recording": {"timeoutSeconds": 10.0}})).unwrap();
        assert_eq!(timeout.recording.timeout_seconds, 10);
        // Characters, whatever they take up.
        let creator = "\u{1f3a5}".repeat(CREATOR_CHARS_MAX);
        let named = merged(json!({ "defaultCreator": creator })).unwrap();
        assert_eq!(named.default_creator.as_deref(), Some(&*creator));
    }

    #[test]
    fn a_wrong_value_names_its_field_and_what_would_do() {
        for (body, field) in [
            (json!({"enabled": "yes"}), "enabled"),
            (json!({"meta": []}), "meta"),
            (json!({"deleteRecordingAfterDays": 0}), "deleteRecordingAfterDays"),
            (json!({"deleteRecordingAfterDays": 1.5}), "deleteRecordingAfterDays"),
            (json!({"recording": {"mode": "on"}}), "recording.mode"),
            (json!({"recording": {"timeoutSeconds": -1}}), "recording.timeoutSeconds"),
            (json!({"recording": {"timeoutSeconds": 1.5}}), "recording.timeoutSeconds"),
            (json!({"recording": {"timeoutSeconds": 86401.0}}), "recording.timeoutSeconds"),
            (json!({"recording": {"timeoutSeconds": "10"}}), "recording.timeoutSeconds"),
            (json!({"recording": {"maxTotalBytes": 0}}), "recording.maxTotalBytes"),
            (json!({"recording": {"maxTotalBytes": 1.5}}), "recording.maxTotalBytes"),
            (json!({"recording": {"maxTotalBytes": 1e30}}), "recording.maxTotalBytes"),
        ] {
            let error = merged(body).unwrap_err();
            assert!(error.contains(&format!("{field}: must be")), "{error}");
        }
        for (ladder, words) in [
            (json!("720p"), "ladder: must be a list of at most 12 levels"),
            (json!([720]), "ladder: must be a list of at most 12 levels"),
            (json!(vec!["720p"; 13]), "ladder: must be a list of at most 12 levels"),
            (json!(["720p", "best"]), "is no level: write 720p"),
            (json!(["720p=1"]), "is no level: write 720p"),
            (json!(["360p", "360p"]), "ladder: 360p stands there twice"),
            (json!(["360p", "720p", "360p=500"]), "ladder: 360p stands there twice"),
        ] {
            let error = merged(json!({ "ladder": ladder })).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn origins_are_host_names_and_none_of_them_is_no_lock() {
        let list = |hosts: &[&str]| Some(hosts.iter().map(|host| (*host).to_owned()).collect());
        for (said, expect) in [
            (json!(null), None),
            (json!([]), list(&[])),
            (json!(["example.com"]), list(&["example.com"])),
            (
                json!([" example.com ", "*.Example.com:8443", "localhost:3000", "192.0.2.1"]),
                list(&["example.com", "*.Example.com:8443", "localhost:3000", "192.0.2.1"]),
            ),
            (json!(["[0:0::1]:80", "[2001:DB8::1]"]), list(&["[::1]:80", "[2001:db8::1]"])),
            (json!(vec!["a"; ORIGINS_MAX]), list(&vec!["a"; ORIGINS_MAX])),
        ] {
            assert_eq!(origins("allowedOrigins", &said).ok(), Some(expect), "{said}");
            let input = merged(json!({"recording": {"allowedOrigins": said}})).unwrap();
            let again = json!(input.recording.allowed_origins);
            assert_eq!(
                origins("allowedOrigins", &again).ok(),
                Some(input.recording.allowed_origins)
            );
        }
        let long = "a".repeat(ORIGIN_BYTES_MAX + 1);
        for (said, named) in [
            (json!([null]), "null"),
            (json!([null, null]), "null"),
            (json!(["a", null, "b"]), "null"),
            (json!([["a"], null, ["b"]]), "[\\\"a\\\"]"),
            (json!([""]), "\\\"\\\""),
            (json!([" ", "a"]), "\\\" \\\""),
            (json!([1]), "1"),
            (json!(["a", "https://example.com"]), "https://example.com"),
            (json!(["example.com/"]), "example.com/"),
            (json!(["a b"]), "a b"),
            (json!(["*"]), "*"),
            (json!(["*."]), "*."),
            (json!(["a.*.b"]), "a.*.b"),
            (json!(["."]), "."),
            (json!([".example.com"]), ".example.com"),
            (json!(["example.com."]), "example.com."),
            (json!(["a..b"]), "a..b"),
            (json!(["a:x"]), "a:x"),
            (json!(["a:"]), "a:"),
            (json!(["a:+80"]), "a:+80"),
            (json!(["a:0"]), "a:0"),
            (json!(["a:65536"]), "a:65536"),
            (json!(["[]"]), "[]"),
            (json!(["[zz]"]), "[zz]"),
            (json!(["*.[::1]"]), "*.[::1]"),
            (json!(["::1"]), "::1"),
            (json!(["m\u{fc}nchen.example"]), "m\u{fc}nchen.example"),
            (json!([long]), "aaa"),
            (json!("example.com"), ""),
            (json!({"0": "a"}), ""),
            (json!(vec!["a"; ORIGINS_MAX + 1]), ""),
        ] {
            let error = merged(json!({"recording": {"allowedOrigins": said}})).unwrap_err();
            let words = "recording.allowedOrigins: must be a list of at most 100 host names";
            assert!(error.contains(words), "{said}: {error}");
            let tail = error.split_once(". No host name: ").map(|(_, tail)| tail);
            match named {
                "" => assert_eq!(tail, None, "{said}"),
                _ => assert!(tail.is_some_and(|tail| tail.contains(named)), "{said}: {error}"),
            }
            assert!(error.len() < 500, "{}", error.len());
        }
    }
}
