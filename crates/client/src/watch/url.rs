//! `http://` and `https://` URLs, as far as playlists need them.

use std::fmt;

use crate::address::AddressProblem;

/// A URL that can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// `https`.
    pub tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// As given, or 80, or 443.
    pub port: u16,
    /// From the first slash on, with its query.
    pub path: String,
}

/// Why a URL can't be watched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlProblem {
    /// A protocol that Airwave will watch.
    #[error("watching over {0} is not there yet; http:// and https:// (HLS) and moqt:// are")]
    NotYet(&'static str),
    /// Another one, or none.
    #[error(
        "write http(s)://HOST/ID, the address of a watch page, or of a playlist (.m3u8); or moqt://HOST:4443/"
    )]
    Scheme,
    /// An address of MoQ that is wrong.
    #[error(transparent)]
    Moq(AddressProblem),
    /// It has no host, or no port number where one should be.
    #[error("the URL's host or port is wrong")]
    Host,
    /// A host and nothing behind it.
    #[error(
        "the URL names no broadcast: write http(s)://HOST/ID, a watch page, or a playlist (.m3u8)"
    )]
    NoBroadcast,
}

impl Url {
    /// Reads an absolute URL.
    pub fn parse(url: &str) -> Result<Self, UrlProblem> {
        let (scheme, rest) = url.split_once("://").ok_or(UrlProblem::Scheme)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            "rtmp" | "rtmps" => return Err(UrlProblem::NotYet("RTMP")),
            "srt" => return Err(UrlProblem::NotYet("SRT")),
            _ => return Err(UrlProblem::Scheme),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => v6.split_once(']').ok_or(UrlProblem::Host)?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(port) => port.parse().map_err(|_| UrlProblem::Host)?,
            None => return Err(UrlProblem::Host),
        };
        if host.is_empty() || path.chars().any(|c| c.is_control() || c == ' ') {
            return Err(UrlProblem::Host);
        }
        Ok(Self { tls, host: host.to_owned(), port, path })
    }

    /// The playlist that this address means: itself if it is one, else the one of the broadcast whose page or id it is.
    pub fn playlist(&self) -> Result<Self, UrlProblem> {
        let (path, query) =
            self.path.split_once('?').map_or((&*self.path, None), |(p, q)| (p, Some(q)));
        if path.ends_with(".m3u8") {
            return Ok(self.clone());
        }
        let id = path.split('/').find(|s| !s.is_empty()).ok_or(UrlProblem::NoBroadcast)?;
        let query = query.map(|q| format!("?{q}")).unwrap_or_default();
        Ok(Self { path: format!("/{id}/manifest/video.m3u8{query}"), ..self.clone() })
    }

    /// Resolves a reference as RFC 3986 §5.2 does.
    pub fn join(&self, reference: &str) -> Result<Self, UrlProblem> {
        if reference.contains("://") {
            return Self::parse(reference);
        }
        if let Some(rest) = reference.strip_prefix("//") {
            let scheme = if self.tls { "https" } else { "http" };
            return Self::parse(&format!("{scheme}://{rest}"));
        }
        let own = self.path.split('?').next().unwrap_or("/");
        if reference.starts_with('?') {
            return Ok(Self { path: format!("{own}{reference}"), ..self.clone() });
        }
        let (path, query) = reference.split_at(reference.find('?').unwrap_or(reference.len()));
        let mut segments: Vec<&str> = own.split('/').collect();
        segments.pop();
        if path.starts_with('/') {
            segments.clear();
        }
        for segment in path.split('/') {
            match segment {
                ".." if segments.len() > 1 => {
                    segments.pop();
                }
                "." | ".." => {}
                segment => segments.push(segment),
            }
        }
        let path = segments.join("/");
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { path: format!("{slash}{path}{query}"), ..self.clone() })
    }

    /// The same with a parameter more.
    pub fn with(&self, parameter: &str) -> Self {
        let mark = if self.path.contains('?') { '&' } else { '?' };
        Self { path: format!("{}{mark}{parameter}", self.path), ..self.clone() }
    }

    /// Host and port as a `Host` field has them.
    pub fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// Whether one connection serves both.
    pub fn same_server(&self, other: &Self) -> bool {
        (self.tls, &self.host, self.port) == (other.tls, &other.host, other.port)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_playlists() {
        for (address, expect) in [
            ("http://h/ID", "http://h/ID/manifest/video.m3u8"),
            ("http://h:8080/ID/watch", "http://h:8080/ID/manifest/video.m3u8"),
            ("https://h/ID/iframe?muted=1#x", "https://h/ID/manifest/video.m3u8?muted=1"),
            ("HTTPS://[::1]:8443/ID/", "https://[::1]:8443/ID/manifest/video.m3u8"),
            ("http://h/a/live.m3u8?b=c", "http://h/a/live.m3u8?b=c"),
        ] {
            let got = Url::parse(address).and_then(|u| u.playlist()).map(|u| u.to_string());
            assert_eq!(got.as_deref(), Ok(expect), "{address}");
        }
        for (address, expect) in [
            ("rtmp://h/live/KEY", UrlProblem::NotYet("RTMP")),
            ("h/ID", UrlProblem::Scheme),
            ("ftp://h/ID", UrlProblem::Scheme),
            ("http://h", UrlProblem::NoBroadcast),
            ("http:///ID", UrlProblem::Host),
            ("http://h:x/ID", UrlProblem::Host),
            ("http://[::1/ID", UrlProblem::Host),
            ("http://h/I\r\nD", UrlProblem::Host),
        ] {
            assert_eq!(Url::parse(address).and_then(|u| u.playlist()), Err(expect), "{address}");
        }
    }

    #[test]
    fn references_are_resolved() {
        let base = Url::parse("https://h/ID/manifest/video.m3u8?a=b").unwrap();
        for (reference, expect) in [
            ("audio.m3u8?a=b", "https://h/ID/manifest/audio.m3u8?a=b"),
            ("../media/V/1-2.m4s", "https://h/ID/media/V/1-2.m4s"),
            ("../../../x", "https://h/x"),
            ("/x/./y", "https://h/x/y"),
            ("?c=d", "https://h/ID/manifest/video.m3u8?c=d"),
            ("//cdn/x", "https://cdn/x"),
            ("http://other:81/x", "http://other:81/x"),
        ] {
            assert_eq!(base.join(reference).map(|u| u.to_string()).as_deref(), Ok(expect));
        }
        assert_eq!(base.with("c=d").path, "/ID/manifest/video.m3u8?a=b&c=d");
    }
}
