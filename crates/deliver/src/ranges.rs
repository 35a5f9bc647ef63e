//! Files, whole and in ranges, and the conditions that requests for them have. RFC 9110 §13 and §14.

use axum::body::Body;
use axum::http::header::{self, GetAll};
use axum::http::response::Builder;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;

use crate::media::built;

/// The whole of something, or the range that is asked for. `body` makes the bytes from `start` on, so many. `etag` is a
/// strong one: of what has another byte it is another.
pub(crate) fn ranged(
    base: Builder,
    etag: &str,
    whole: u64,
    headers: &HeaderMap,
    body: impl FnOnce(u64, u64) -> Body,
) -> Response {
    let base = base.header(header::ETAG, format!("\"{etag}\""));
    let base = base.header(header::ACCEPT_RANGES, "bytes");
    match asked(headers, etag, whole) {
        Asked::Whole => built(base.header(header::CONTENT_LENGTH, whole).body(body(0, whole))),
        Asked::Part(start, len) => built(
            base.status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_LENGTH, len)
                .header(header::CONTENT_RANGE, format!("bytes {start}-{}/{whole}", start + len - 1))
                .body(body(start, len)),
        ),
        Asked::Known => empty(base.status(StatusCode::NOT_MODIFIED)),
        Asked::Another => refused(base.status(StatusCode::PRECONDITION_FAILED)),
        Asked::Outside => refused(
            base.status(StatusCode::RANGE_NOT_SATISFIABLE)
                .header(header::CONTENT_RANGE, format!("bytes */{whole}")),
        ),
    }
}

/// An answer without the file has no type of it (RFC 9110 §15.4.5).
fn empty(base: Builder) -> Response {
    let mut response = built(base.body(Body::empty()));
    response.headers_mut().remove(header::CONTENT_TYPE);
    response
}

/// What is kept of the file for long is not to be kept of a refusal.
fn refused(base: Builder) -> Response {
    let mut response = empty(base);
    let never = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, never);
    response
}

/// What a request comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Whole,
    /// From there, so many bytes.
    Part(u64, u64),
    /// The client has it.
    Known,
    /// It wants something else that was here.
    Another,
    /// Nothing is there.
    Outside,
}

/// The order of RFC 9110 §13.2.2. There are no dates here: times of change are not kept.
pub(crate) fn asked(headers: &HeaderMap, etag: &str, whole: u64) -> Asked {
    let among = |name, weakly| {
        let fields = headers.get_all(name);
        fields.iter().next().is_some().then(|| has(&fields, etag, weakly))
    };
    if among(header::IF_MATCH, false) == Some(false) {
        return Asked::Another;
    }
    if among(header::IF_NONE_MATCH, true) == Some(true) {
        return Asked::Known;
    }
    let Some(range) = headers.get(header::RANGE).and_then(|value| value.to_str().ok()) else {
        return Asked::Whole;
    };
    // §13.1.5: a range of something else is of no use. A date says nothing here, and a weak tag too little.
    let same = |value: &HeaderValue| tags(value).eq([(etag, false)]);
    if !headers.get(header::IF_RANGE).is_none_or(same) {
        return Asked::Whole;
    }
    byte_range(range, whole)
}

/// Whether a list of tags has this one, which is strong. `*` is whatever is there.
fn has(fields: &GetAll<'_, HeaderValue>, etag: &str, weakly: bool) -> bool {
    fields.iter().any(|field| {
        field.as_bytes().trim_ascii() == b"*"
            || tags(field).any(|(tag, weak)| tag == etag && (weakly || !weak))
    })
}

/// The tags of a field, without their quotes, and whether each is a weak one; as far as they can be read. §8.8.3: a tag may
/// have commas in it.
fn tags(field: &HeaderValue) -> impl Iterator<Item = (&str, bool)> {
    let mut rest = field.to_str().unwrap_or_default();
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let weak = rest.strip_prefix("W/");
        let (tag, behind) = weak.unwrap_or(rest).strip_prefix('"')?.split_once('"')?;
        rest = behind;
        Some((tag, weak.is_some()))
    })
}

/// §14.1.2, a single range. Several, or what is no range of bytes: the whole (§14.2).
fn byte_range(value: &str, whole: u64) -> Asked {
    let range = value.split_once('=').filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes"));
    let Some((first, last)) = range.and_then(|(_, range)| range.split_once('-')) else {
        return Asked::Whole;
    };
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        // What has more digits than fit is far outside.
        (digits && !text.is_empty()).then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (first, last) = (first.trim(), last.trim());
    let (start, end) = match (number(first), number(last)) {
        (None, Some(suffix)) if first.is_empty() => (whole.saturating_sub(suffix), whole),
        (Some(start), None) if last.is_empty() => (start, whole),
        (Some(start), Some(last)) if last >= start => (start, last.saturating_add(1).min(whole)),
        _ => return Asked::Whole,
    };
    if start < end { Asked::Part(start, end - start) } else { Asked::Outside }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_rfc_9110() {
        for (value, expect) in [
            ("bytes=0-9", Asked::Part(0, 10)),
            ("Bytes=0-9", Asked::Part(0, 10)),
            ("bytes=90-", Asked::Part(90, 10)),
            ("bytes=-5", Asked::Part(95, 5)),
            ("bytes=-500", Asked::Part(0, 100)),
            ("bytes=90-200", Asked::Part(90, 10)),
            ("bytes=0-99999999999999999999", Asked::Part(0, 100)),
            ("bytes=100-", Asked::Outside),
            ("bytes=99999999999999999999-", Asked::Outside),
            ("bytes=-0", Asked::Outside),
            ("bytes=9-0", Asked::Whole),
            ("bytes=+1-5", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=0-1,5-6", Asked::Whole),
            ("pages=1-2", Asked::Whole),
            ("0-9", Asked::Whole),
        ] {
            assert_eq!(byte_range(value, 100), expect, "{value}");
        }
    }

    #[test]
    fn conditions_are_rfc_9110() {
        const RANGE: (&str, &str) = ("range", "bytes=0-9");
        for (fields, expect) in [
            (&[("if-none-match", "\"a,b\"")][..], Asked::Known),
            (&[("if-none-match", "W/\"a,b\"")], Asked::Known),
            (&[("if-none-match", "\"x\", W/\"y\",\"a,b\"")], Asked::Known),
            (&[("if-none-match", "\"x\""), ("if-none-match", "\"a,b\"")], Asked::Known),
            (&[("if-none-match", "*")], Asked::Known),
            (&[("if-none-match", "\"a\"")], Asked::Whole),
            (&[("if-none-match", "a,b")], Asked::Whole),
            (&[("if-none-match", "")], Asked::Whole),
            // A client that has it gets no part of it either.
            (&[("if-none-match", "\"a,b\""), RANGE], Asked::Known),
            (&[("if-none-match", "\"x\""), RANGE], Asked::Part(0, 10)),
            (&[RANGE], Asked::Part(0, 10)),
            (&[RANGE, ("if-range", "\"a,b\"")], Asked::Part(0, 10)),
            // Ranges go by strong tags.
            (&[RANGE, ("if-range", "W/\"a,b\"")], Asked::Whole),
            (&[RANGE, ("if-range", "\"x\"")], Asked::Whole),
            (&[RANGE, ("if-range", "\"a,b\", \"x\"")], Asked::Whole),
            (&[RANGE, ("if-range", "Sun, 06 Nov 1994 08:49:37 GMT")], Asked::Whole),
            (&[("range", "bytes=100-"), ("if-range", "\"x\"")], Asked::Whole),
            (&[("if-range", "\"x\"")], Asked::Whole),
            (&[("if-match", "\"a,b\"")], Asked::Whole),
            (&[("if-match", "*"), RANGE], Asked::Part(0, 10)),
            (&[("if-match", "\"x\", \"a,b\"")], Asked::Whole),
            (&[("if-match", "W/\"a,b\"")], Asked::Another),
            (&[("if-match", "\"x\""), ("if-none-match", "\"a,b\"")], Asked::Another),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(asked(&headers, "a,b", 100), expect, "{fields:?}");
        }
    }

    #[test]
    fn a_refusal_is_not_kept() {
        let base = || Response::builder().header(header::CACHE_CONTROL, "immutable");
        let range =
            |value| HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static(value))]);
        let answer = |value| {
            ranged(base(), "a", 100, &range(value), |_, len| Body::from(vec![0; len as usize]))
        };
        let outside = answer("bytes=100-");
        assert_eq!(outside.status(), 416);
        assert_eq!(outside.headers()[header::CONTENT_RANGE], "bytes */100");
        assert_eq!(outside.headers()[header::CACHE_CONTROL], "no-store");
        let part = answer("bytes=99-");
        assert_eq!(part.status(), 206);
        assert_eq!(part.headers()[header::CONTENT_RANGE], "bytes 99-99/100");
        assert_eq!(part.headers()[header::CACHE_CONTROL], "immutable");
    }
}
