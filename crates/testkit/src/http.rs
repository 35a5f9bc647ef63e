//! A plain HTTP/1.1 client, one request a connection: what it sends is what the test says.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// `http://host:port/path?query`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// `host:port`.
    pub authority: String,
    /// From the first slash on.
    pub path: String,
}

impl Url {
    /// Reads an absolute URL.
    pub fn parse(url: &str) -> Self {
        let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("{url} is not http://"));
        let at = rest.find('/').unwrap_or(rest.len());
        let path = if at == rest.len() { "/".to_owned() } else { rest[at..].to_owned() };
        Self { authority: rest[..at].to_owned(), path }
    }

    /// Resolves a relative reference as RFC 3986 §5.2 does, as far as playlists need it.
    pub fn join(&self, reference: &str) -> Self {
        let base = self.path.split('?').next().unwrap_or("/");
        let mut segments: Vec<&str> = base.split('/').collect();
        segments.pop();
        if reference.starts_with('/') {
            segments.clear();
        }
        for part in reference.split('/') {
            match part {
                ".." if segments.len() > 1 => {
                    segments.pop();
                }
                "." | ".." => {}
                part => segments.push(part),
            }
        }
        Self { authority: self.authority.clone(), path: segments.join("/") }
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Its header fields, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {:?}", self.text()))
    }
}

/// Sends one request; fails the test if nothing comes for a minute.
pub fn request(method: &str, url: &Url, headers: &[(&str, &str)], body: &[u8]) -> Response {
    try_request(method, url, headers, body).unwrap_or_else(|e| panic!("{method} {url}: {e}"))
}

/// Sends one request to a server that may be gone at any moment.
pub fn try_request(
    method: &str,
    url: &Url,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Response> {
    let mut socket = TcpStream::connect(&url.authority)?;
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut head = format!("{method} {} HTTP/1.1\r\nhost: {}\r\n", url.path, url.authority);
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len()));
    socket.write_all(head.as_bytes())?;
    socket.write_all(body)?;
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes)?;
    let words = || std::io::Error::other(format!("{} bytes are no answer", bytes.len()));
    parse(&bytes, method == "HEAD").ok_or_else(words)
}

/// Of a request for the head only: the length is that of a body which is not there.
fn parse(bytes: &[u8], head_only: bool) -> Option<Response> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: BTreeMap<String, String> = lines
        .filter_map(|l| l.split_once(':'))
        .map(|(n, v)| (n.trim().to_ascii_lowercase(), v.trim().to_owned()))
        .collect();
    let rest = &bytes[end + 4..];
    let chunked = headers.get("transfer-encoding").is_some_and(|v| v == "chunked");
    let body = if chunked { unchunk(rest)? } else { rest.to_vec() };
    let length = headers.get("content-length").and_then(|v| v.parse::<usize>().ok());
    if !head_only && length.is_some_and(|length| length != body.len()) {
        return None;
    }
    Some(Response { status, headers, body })
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|w| w == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        let chunk = rest.get(end + 2..end + 2 + size)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(chunk);
        rest = rest.get(end + 2 + size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved() {
        let base = Url::parse("http://h:1/ID/manifest/video.m3u8?a=b");
        for (reference, expect) in [
            ("audio.m3u8", "/ID/manifest/audio.m3u8"),
            ("../media/V/1-2.m4s", "/ID/media/V/1-2.m4s"),
            ("/x", "/x"),
        ] {
            assert_eq!(base.join(reference).path, expect);
        }
    }
}
