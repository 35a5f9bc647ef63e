//! `rtmp://` URLs: where to connect, and what to say there.

use crate::Secret;

/// Where a client publishes. Application, URL and name may contain the key.
#[derive(Debug, Clone)]
pub struct Target {
    /// `rtmps`.
    pub tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// As given, or 1935, or 443 for `rtmps`.
    pub port: u16,
    /// The path without its last segment.
    pub app: Secret,
    /// The URL without its last segment.
    pub tc_url: Secret,
    /// The last segment, query included: mostly the stream key.
    pub name: Secret,
}

/// Why a URL is none that we can publish to. Never shows the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Another scheme, or none.
    #[error("the URL does not begin with rtmp:// or rtmps://")]
    Scheme,
    /// Nothing between `//` and the path.
    #[error("the URL names no host")]
    Host,
    /// Not a number from 1 to 65535.
    #[error("the URL's port is not a port number")]
    Port,
    /// Less than two path segments.
    #[error("the URL's path is not /application/key")]
    Path,
}

impl Target {
    /// Reads `rtmp[s]://host[:port]/app[/instance]/name[?query]`. Nothing is percent-decoded: encoders
    /// send names as they stand.
    pub fn parse(url: &str) -> Result<Target, TargetError> {
        let (scheme, rest) = url.split_once("://").ok_or(TargetError::Scheme)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "rtmp" => false,
            "rtmps" => true,
            _ => return Err(TargetError::Scheme),
        };
        let (authority, path) = rest.split_once('/').ok_or(TargetError::Path)?;
        // A slash in the query is no segment.
        let end = path.find('?').unwrap_or(path.len());
        let slash = path[..end].rfind('/').ok_or(TargetError::Path)?;
        let (app, name) = (&path[..slash], &path[slash + 1..]);
        if app.is_empty() || name.is_empty() {
            return Err(TargetError::Path);
        }
        let (host, port) = split_port(authority)?;
        let port = port.unwrap_or(if tls { 443 } else { 1935 });
        let scheme = if tls { "rtmps" } else { "rtmp" };
        Ok(Target {
            tls,
            host: host.to_owned(),
            port,
            app: app.into(),
            tc_url: Secret::new(format!("{scheme}://{authority}/{app}")),
            name: name.into(),
        })
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), TargetError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or(TargetError::Host)?;
            (host, after.strip_prefix(':'))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() {
        return Err(TargetError::Host);
    }
    match port.map(str::parse) {
        None => Ok((host, None)),
        Some(Ok(port)) if port > 0 => Ok((host, Some(port))),
        Some(_) => Err(TargetError::Port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let check = |url: &str, expect: (bool, &str, u16, &str, &str, &str)| {
            let t = Target::parse(url).unwrap();
            let (app, tc_url, name) = (t.app.expose(), t.tc_url.expose(), t.name.expose());
            assert_eq!((t.tls, t.host.as_str(), t.port, app, tc_url, name), expect, "{url}");
            assert!(!format!("{t:?}").contains("KEY"));
        };
        check("rtmp://h/live/KEY", (false, "h", 1935, "live", "rtmp://h/live", "KEY"));
        check("rtmps://h/a/b/KEY?x=/y", (true, "h", 443, "a/b", "rtmps://h/a/b", "KEY?x=/y"));
        check(
            "RTMP://[::1]:99/live/KEY",
            (false, "::1", 99, "live", "rtmp://[::1]:99/live", "KEY"),
        );
    }

    #[test]
    fn other_urls_are_refused() {
        let check = |url: &str, expect: TargetError| {
            assert_eq!(Target::parse(url).unwrap_err(), expect, "{url}");
        };
        check("http://h/live/KEY", TargetError::Scheme);
        check("h/live/KEY", TargetError::Scheme);
        check("rtmp:///live/KEY", TargetError::Host);
        check("rtmp://[::1/live/KEY", TargetError::Host);
        check("rtmp://h:0/live/KEY", TargetError::Port);
        check("rtmp://h:x/live/KEY", TargetError::Port);
        check("rtmp://h/KEY", TargetError::Path);
        check("rtmp://h/live/", TargetError::Path);
        check("rtmp://h//KEY", TargetError::Path);
        check("rtmp://h", TargetError::Path);
    }
}
