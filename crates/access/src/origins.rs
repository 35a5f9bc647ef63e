//! `allowedOrigins`: which pages may embed.

/// Whether a page of this origin may: `*.x.com` is any name below `x.com`, at any depth, and not `x.com`
/// itself; a name without a port stands for any port but of `localhost`. None and an empty list allow all.
pub(crate) fn allowed(list: &[String], origin: &str) -> bool {
    list.is_empty() || list.iter().any(|entry| fits(entry, origin))
}

/// One list as sources of a content security policy (CSP 3 §2.3.1), for `frame-ancestors`; this server's
/// own pages are always among them. What is no host there, and might be something else, names nobody.
pub fn frame_sources(list: &[String]) -> String {
    let mut sources = String::from("'self'");
    for entry in list {
        let entry = entry.trim().to_ascii_lowercase();
        let name = entry.strip_prefix("*.").unwrap_or(&entry);
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
        if name.is_empty() || !name.bytes().all(plain) {
            continue;
        }
        // Without a port a source stands for the scheme's own one alone.
        let any_port = if port(&entry).is_none() && entry != "localhost" { ":*" } else { "" };
        for scheme in ["http", "https"] {
            sources.extend([" ", scheme, "://", &entry, any_port]);
        }
    }
    sources
}

/// `https://name:port` without its scheme.
pub(crate) fn authority(origin: &str) -> Option<&str> {
    let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"))?;
    rest.split(['/', '?', '#']).next().filter(|authority| !authority.is_empty())
}

fn fits(entry: &str, origin: &str) -> bool {
    let (entry, origin) = (entry.trim().to_ascii_lowercase(), origin.to_ascii_lowercase());
    let Some(authority) = authority(&origin) else { return false };
    let (wanted, page) = (host(&entry), host(authority));
    let named = wanted.strip_prefix("*.").map_or(wanted == page, |suffix| below(page, suffix));
    // RFC 6454 §6.2: an origin does not say the port that its scheme has by itself.
    let own = if origin.starts_with("https:") { "443" } else { "80" };
    let at = match port(&entry) {
        Some(wanted) => wanted == port(authority).unwrap_or(own),
        None => wanted != "localhost" || port(authority).is_none(),
    };
    named && at
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
            ("x.com:443", "https://x.com", true),
            ("x.com:443", "http://x.com", false),
            ("x.com:80", "http://x.com", true),
            ("x.com:80", "https://x.com", false),
            ("*.x.com:443", "https://a.x.com", true),
            ("*.x.com:443", "https://a.x.com:444", false),
            ("*.x.com:444", "https://a.x.com:444", true),
            ("localhost:80", "http://localhost", true),
            ("[::1]:8080", "http://[::1]:8080", true),
            ("x.com", "null", false),
            ("x.com", "ftp://x.com", false),
            ("x.com", "https://", false),
            ("x.com", "https:x.com", false),
            ("", "https://x.com", false),
            ("", "null", false),
        ] {
            assert_eq!(allowed(&[entry.to_owned()], origin), expect, "{entry} {origin}");
        }
        assert!(allowed(&[], "null"));
    }

    #[test]
    fn lists_are_sources_of_a_policy() {
        for (list, expect) in [
            (vec![], "'self'"),
            (vec!["X.com"], "'self' http://x.com:* https://x.com:*"),
            (vec!["*.x.com"], "'self' http://*.x.com:* https://*.x.com:*"),
            (vec!["localhost"], "'self' http://localhost https://localhost"),
            (
                vec!["localhost:3000", "[::1]:80"],
                "'self' http://localhost:3000 https://localhost:3000 http://[::1]:80 https://[::1]:80",
            ),
            (vec!["*", "", "*.", "x.com; script-src *", "x.com y.com", "'none'", "x/y"], "'self'"),
        ] {
            let list: Vec<String> = list.into_iter().map(str::to_owned).collect();
            assert_eq!(frame_sources(&list), expect, "{list:?}");
        }
    }
}
