//! One file out of a `multipart/form-data` body (RFC 7578): the SDKs and curl send captions so. The whole body is in memory
//! and bounded; nothing of it is copied.

use bytes::Bytes;

/// Longest boundary, RFC 2046 §5.1.1.
const BOUNDARY_MAX: usize = 70;

/// Parts that are looked at; forms of ours have one.
const PARTS_MAX: usize = 16;

/// The boundary that a content type names.
pub(crate) fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let named = parameters.split(';').filter_map(|p| p.trim().split_once('='));
    let (_, value) = { named }.find(|(name, _)| name.eq_ignore_ascii_case("boundary"))?;
    let value = value.trim_matches('"');
    (1..=BOUNDARY_MAX).contains(&value.len()).then_some(value)
}

/// The content of the part with this name.
pub(crate) fn part(body: &Bytes, boundary: &str, name: &str) -> Option<Bytes> {
    let first = format!("--{boundary}");
    let between = format!("\r\n--{boundary}");
    // The first boundary may stand at the very beginning.
    let mut at = find(body, first.as_bytes(), 0)? + first.len();
    for _ in 0..PARTS_MAX {
        // What follows a boundary: the end of its line, or two dashes at the end of all.
        let rest = body.get(at..)?;
        if rest.starts_with(b"--") {
            return None;
        }
        let head_end = find(body, b"\r\n\r\n", at)?;
        let head = std::str::from_utf8(body.get(at..head_end)?).ok()?;
        let begin = head_end + 4;
        let end = find(body, between.as_bytes(), begin)?;
        if named(head, name) {
            return Some(body.slice(begin..end));
        }
        at = end + between.len();
    }
    None
}

/// Whether a part's head gives it this name. RFC 7578 §4.2: `Content-Disposition: form-data; name="file"`.
fn named(head: &str, name: &str) -> bool {
    let wanted = format!("name=\"{name}\"");
    let disposition = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let mut disposition =
        disposition.filter(|(k, _)| k.eq_ignore_ascii_case("content-disposition"));
    disposition.any(|(_, value)| {
        let mut parameters = value.split(';').map(str::trim);
        parameters.next() == Some("form-data")
            && parameters.any(|p| p == wanted || p.strip_prefix("name=") == Some(name))
    })
}

fn find(data: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    let rest = data.get(from..)?;
    rest.windows(wanted.len()).position(|w| w == wanted).map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_curl_and_the_sdks_send_is_read() {
        let curl = "--x\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\nno\r\n\
            --x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a;b.vtt\"\r\n\
            Content-Type: text/vtt\r\n\r\nWEBVTT\r\n\r\n--\r\n--x--\r\n";
        let python = "--x\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\nWEBVTT\r\n--x--";
        let check = |text: &'static str, expect: Option<&'static str>| {
            let found = part(&Bytes::from_static(text.as_bytes()), "x", "file");
            assert_eq!(found, expect.map(|t| Bytes::from_static(t.as_bytes())), "{text}");
        };
        check(curl, Some("WEBVTT\r\n\r\n--"));
        check(python, Some("WEBVTT"));
        for broken in [
            "",
            "--x",
            "--x--",
            "--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nno end",
            "--x\r\nContent-Disposition: form-data; name=\"file2\"\r\n\r\nother\r\n--x--",
            "--x\r\nContent-Disposition: attachment; name=\"file\"\r\n\r\nother\r\n--x--",
        ] {
            check(broken, None);
        }
    }

    #[test]
    fn boundaries_are_read() {
        let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
        for (content_type, expect) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            ("Multipart/Form-Data; charset=utf-8; Boundary=\"a b\"", Some("a b")),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("application/json; boundary=abc", None),
            (&long, None),
        ] {
            assert_eq!(boundary(content_type), expect, "{content_type}");
        }
    }
}
