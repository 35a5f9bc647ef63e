//! What a clip is asked for with. `reference/cloudflare-api.md` §5.1: `time=600s&duration=30s&filename=`.

use std::time::Duration;

use package::clip::Wanted;

use crate::limits::{FILE_NAME_CHARS_MAX, TIME_MAX_S};
use crate::share::parameter;

/// A query that is refused, in words.
pub(crate) type Wrong = String;

/// The range of a clip, of at most this length.
pub(crate) fn range(query: &str, longest: Duration) -> Result<Wanted, Wrong> {
    let from_ns = time(query, "time")?.unwrap_or(0);
    let duration = time(query, "duration")?.ok_or("duration: how long, such as 30s")?;
    if duration == 0 || u128::from(duration) > longest.as_nanos() {
        return Err(format!("duration: more than nothing, at most {} s", longest.as_secs()));
    }
    Ok(Wanted { from_ns, to_ns: from_ns.saturating_add(duration), picture: true })
}

/// A clip's query in the one form that links to it have; none if the query names none.
pub(crate) fn named(query: &str, longest: Duration) -> Option<String> {
    parameter(query, "duration")?;
    let Wanted { from_ns, to_ns, .. } = range(query, longest).ok()?;
    let seconds = |ns: u64| ns as f64 / 1e9;
    Some(format!("time={}s&duration={}s", seconds(from_ns), seconds(to_ns - from_ns)))
}

/// A time in nanoseconds: `8m`, `5m2s`, `1h`, `12.5s` or plain seconds.
pub(crate) fn time(query: &str, name: &str) -> Result<Option<u64>, Wrong> {
    let Some(text) = parameter(query, name) else { return Ok(None) };
    let wrong =
        || format!("{name}: a time such as 90, 12.5s, 5m or 1h2m3s, at most {TIME_MAX_S} s");
    parsed(&text).map(Some).ok_or_else(wrong)
}

fn parsed(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut sum = 0u64;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, unit) = rest.split_at(end);
        let (unit_s, unit_len) = match unit.bytes().next() {
            None => (1, 0),
            Some(b's') => (1, 1),
            Some(b'm') => (60, 1),
            Some(b'h') => (3_600, 1),
            Some(_) => return None,
        };
        // From large to small, each once.
        if unit_s >= smallest {
            return None;
        }
        smallest = unit_s;
        sum = sum.checked_add(nanoseconds(number)?.checked_mul(unit_s)?)?;
        rest = unit.get(unit_len..)?;
    }
    (smallest != u64::MAX && sum <= TIME_MAX_S * 1_000_000_000).then_some(sum)
}

/// A decimal number of whole and parts; nothing else, such as a sign, an exponent or `NaN`.
fn nanoseconds(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !digits(whole) || !digits(part) {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let nine: String = part.chars().chain("000000000".chars()).take(9).collect();
    whole.checked_mul(1_000_000_000)?.checked_add(nine.parse().ok()?)
}

/// The name that a browser shall save the file under, without its ending.
pub(crate) fn filename(query: &str) -> Result<Option<String>, Wrong> {
    let Some(name) = parameter(query, "filename") else { return Ok(None) };
    let stem = name.strip_suffix(".mp4").or_else(|| name.strip_suffix(".m4a")).unwrap_or(&name);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let fits = (1..=FILE_NAME_CHARS_MAX).contains(&stem.len()) && stem.bytes().all(plain);
    let wrong = || format!("filename: letters, digits, _ and -, at most {FILE_NAME_CHARS_MAX}");
    fits.then(|| Some(stem.to_owned())).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, expect) in [
            ("0", Some(0)),
            ("90", Some(90_000)),
            ("600s", Some(600_000)),
            ("12.5s", Some(12_500)),
            ("12.5", Some(12_500)),
            (".25", Some(250)),
            ("5m2s", Some(302_000)),
            ("1h2m3.25s", Some(3_723_250)),
            ("5m2", Some(302_000)),
            ("0.0011111111111111111111", Some(1)),
            ("10000000", Some(10_000_000_000)),
            ("", None),
            ("s", None),
            (".", None),
            ("NaN", None),
            ("-1", None),
            ("+1", None),
            ("1e3", None),
            ("inf", None),
            ("2s5m", None),
            ("5m5m", None),
            ("1.2.3", None),
            ("10000001", None),
            ("18446744073709551615", None),
            ("99999999999999999999999h", None),
            ("1d", None),
            ("\u{0661}s", None),
        ] {
            let found = parsed(text).map(|ns| ns / 1_000_000);
            assert_eq!(found, expect, "{text:?}");
        }
    }

    #[test]
    fn a_clip_is_at_most_a_minute() {
        const MINUTE: Duration = Duration::from_secs(60);
        let named = |query: &str| super::named(query, MINUTE);
        let range = |query: &str| {
            super::range(query, MINUTE).map(|w| (w.from_ns / 1_000_000, w.to_ns / 1_000_000))
        };
        assert_eq!(range("time=600s&duration=30s"), Ok((600_000, 630_000)));
        assert_eq!(range("duration=60"), Ok((0, 60_000)));
        assert_eq!(range("time=1&time=2&duration=1"), Ok((1_000, 2_000)));
        assert_eq!(named("time=1m2.5s&duration=30").as_deref(), Some("time=62.5s&duration=30s"));
        assert_eq!((named("time=1"), named("duration=x")), (None, None));
        for (query, words) in [
            ("time=1", "duration: how long, such as 30s"),
            ("duration=0", "duration: more than nothing, at most 60 s"),
            ("duration=61", "duration: more than nothing, at most 60 s"),
            ("duration=-5", "duration: a time such as 90, 12.5s, 5m or 1h2m3s, at most 10000000 s"),
            (
                "time=NaN&duration=5",
                "time: a time such as 90, 12.5s, 5m or 1h2m3s, at most 10000000 s",
            ),
        ] {
            assert_eq!(range(query), Err(words.to_owned()), "{query}");
        }
    }

    #[test]
    fn names_of_files_are_plain() {
        assert_eq!(filename("time=1"), Ok(None));
        assert_eq!(filename("filename=My_clip-1.mp4"), Ok(Some("My_clip-1".to_owned())));
        let long = format!("filename={}", "x".repeat(121));
        for query in
            ["filename=", "filename=a%20b", "filename=a\"b", "filename=../x", "filename=a.b", &long]
        {
            assert!(filename(query).is_err(), "{query}");
        }
    }
}
