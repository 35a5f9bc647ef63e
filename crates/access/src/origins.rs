//! `allowedOrigins`: which pages may embed.

/// Whether a page of this origin may: `*.x.com` is any name below `x.com`, at any depth, and not `x.com`
/// itself; a name without a port stands for any port but of `localhost`. None and an empty list allow all.
pub(crate) fn allowed(list: &[String], origin: &str) -> bool {
    let Some(authority) = authority(origin) else { return list.is_empty() };
    list.is_empty() || list.iter().any(|entry| fits(entry, authority))
}

/// `https://name:port` without its scheme.
pub(crate) fn authority(origin: &str) -> Option<&str> {
    let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"))?;
    rest.split(['/', '?', '#']).next().filter(|authority| !authority.is_empty())
}

fn fits(entry: &str, authority: &str) -> bool {
    let entry = entry.trim().to_ascii_lowercase();
    let authority = authority.to_ascii_lowercase();
    let host = host(&authority);
    match (entry.strip_prefix("*."), port(&entry)) {
        (Some(suffix), Some(_)) => below(&authority, suffix),
        (Some(suffix), None) => below(host, suffix),
        (None, Some(_)) => entry == authority,
        (None, None) => entry == host && (host != "localhost" || port(&authority).is_none()),
    }
}

fn below(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|sub| sub.len() > 1 && sub.ends_with('.'))
}

fn host(authority: &str) -> &str {
    port(authority).map_or(authority, |port| &authority[..authority.len() - port.len() - 1])
}

fn port(authority: &str) -> Option<&str> {
    let (_, port) = authority.rsplit_once(':')?;
    port.bytes().all(|b| b.is_ascii_digit()).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_names_below_them() {
        for (entry, origin, expect) in [
            ("x.com", "https://x.com", true),
            ("x.com", "https://X.com:8443", true),
            ("x.com", "https://www.x.com", false),
            ("x.com", "https://x.com.evil.org", false),
            ("*.x.com", "https://www.x.com", true),
            ("*.x.com", "https://a.b.x.com", true),
            ("*.x.com", "https://x.com", false),
            ("*.x.com", "https://evilx.com", false),
            ("*.x.com", "https://.x.com", false),
            ("localhost:3000", "http://localhost:3000", true),
            ("localhost", "http://localhost:3000", false),
            ("x.com:444", "https://x.com", false),
            ("[::1]:8080", "http://[::1]:8080", true),
            ("x.com", "null", false),
            ("x.com", "ftp://x.com", false),
            ("x.com", "https://", false),
        ] {
            assert_eq!(allowed(&[entry.to_owned()], origin), expect, "{entry} {origin}");
        }
        assert!(allowed(&[], "null"));
    }
}
