//! `moqt://` addresses (draft-ietf-moq-transport-18 §3.1.1), with the broadcast in the fragment as
//! draft-ietf-moq-cmsf-01 has it: `moqt://HOST:4443/KEY#msf:default-ID--catalog`.

use std::fmt;

use io_moq::client::Server;
use moqt::{Namespace, TrackName};

/// A server, and a broadcast there.
#[derive(Debug, Clone)]
pub struct MoqAddress {
    /// Where to, with the path that may hold a key or a token.
    pub server: Server,
    /// Which broadcast; none if the address does not say.
    pub namespace: Option<Namespace>,
    /// The track that lists the others.
    pub catalog: String,
}

/// What is wrong with an address. Never shows it: it may hold a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressProblem {
    /// No host, or no port number where one should be.
    #[error("the URL's host or port is wrong; write moqt://HOST:4443/")]
    Host,
    /// Something in the path that no URL has.
    #[error("the URL's path has characters that are not allowed there")]
    Path,
    /// The fragment is no `#msf:`.
    #[error("what follows the # must name a broadcast: #msf:default-ID--catalog")]
    Fragment,
}

/// That of MoQ in Airwave; the draft's is 443.
const PORT: u16 = 4443;

const CATALOG: &str = "catalog";

impl MoqAddress {
    /// Whether this is one; then it can be parsed.
    pub fn is_one(url: &str) -> bool {
        url.get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
    }

    /// Reads an address.
    pub fn parse(url: &str) -> Result<Self, AddressProblem> {
        let rest = url.get(SCHEME.len()..).filter(|_| Self::is_one(url));
        let rest = rest.ok_or(AddressProblem::Host)?;
        let (rest, fragment) = match rest.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment)),
            None => (rest, None),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => v6.split_once(']').ok_or(AddressProblem::Host)?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| AddressProblem::Host)?,
            None if port.is_empty() => PORT,
            None => return Err(AddressProblem::Host),
        };
        if host.is_empty() || host.chars().any(|c| c.is_control() || " @/".contains(c)) {
            return Err(AddressProblem::Host);
        }
        if path.chars().any(|c| !c.is_ascii_graphic() || "\"<>\\^`{|}".contains(c)) {
            return Err(AddressProblem::Path);
        }
        let (namespace, catalog) = fragment.map_or(Ok((None, CATALOG.to_owned())), named)?;
        let server = Server { host: host.to_owned(), port, path: path.to_owned(), draft: None };
        Ok(Self { server, namespace, catalog })
    }

    /// The same, to be spoken to in this draft alone.
    pub fn speaking(mut self, draft: Option<u8>) -> Self {
        self.server.draft = draft;
        self
    }
}

/// The numbers of the drafts of MoQ Transport that are spoken, the newest first.
pub fn drafts() -> Vec<u8> {
    let mut drafts: Vec<u8> = moqt::Version::ALL.iter().map(|version| version.draft()).collect();
    drafts.sort_unstable_by(|a, b| b.cmp(a));
    drafts
}

const SCHEME: &str = "moqt://";

/// `msf:NAMESPACE--TRACK&key=value`, both in the text form of draft-18 §1.5; without a track it is the catalog.
fn named(fragment: &str) -> Result<(Option<Namespace>, String), AddressProblem> {
    let name = fragment.strip_prefix("msf:").ok_or(AddressProblem::Fragment)?;
    let name = name.split('&').next().unwrap_or_default();
    let whole = match name.contains("--") {
        true => name.to_owned(),
        false => format!("{name}--{CATALOG}"),
    };
    let name = TrackName::from_text(&whole).map_err(|_| AddressProblem::Fragment)?;
    let track = String::from_utf8(name.name().to_vec()).map_err(|_| AddressProblem::Fragment)?;
    let track = if track.is_empty() { CATALOG.to_owned() } else { track };
    Ok((Some(name.namespace().clone()).filter(|namespace| !namespace.is_root()), track))
}

/// Without its path, which may hold a key.
impl fmt::Display for MoqAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "moqt://{}/", self.server.authority())?;
        match &self.namespace {
            Some(namespace) => write!(f, "#msf:{namespace}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_a_server_and_a_broadcast() {
        for (url, server, path, shown) in [
            ("moqt://h/", "h:4443", "/", "moqt://h:4443/"),
            ("moqt://h", "h:4443", "", "moqt://h:4443/"),
            ("MOQT://[::1]:443/KEY?a=b", "[::1]:443", "/KEY?a=b", "moqt://[::1]:443/"),
            (
                "moqt://h:1/?jwt=a.b.c#msf:default-00ab--catalog",
                "h:1",
                "/?jwt=a.b.c",
                "moqt://h:1/#msf:default-00ab",
            ),
            ("moqt://h:1/K#msf:a.2eb&c4m=x", "h:1", "/K", "moqt://h:1/#msf:a.2eb"),
        ] {
            let address = MoqAddress::parse(url).unwrap();
            assert_eq!(address.server.authority(), server, "{url}");
            assert_eq!(address.server.path, path, "{url}");
            assert_eq!(address.to_string(), shown, "{url}");
            assert_eq!(address.catalog, "catalog");
        }
        let other = MoqAddress::parse("moqt://h/#msf:default-00ab--catalog.2eloc").unwrap();
        assert_eq!(other.catalog, "catalog.loc");
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said() {
        for (url, expect) in [
            ("moqt:///KEY", AddressProblem::Host),
            ("moqt://h:x/", AddressProblem::Host),
            ("moqt://[::1/", AddressProblem::Host),
            ("moqt://[::1]x/", AddressProblem::Host),
            ("https://h/", AddressProblem::Host),
            ("moqt://h/a b", AddressProblem::Path),
            ("moqt://h/\u{e9}", AddressProblem::Path),
            ("moqt://h/#default-00ab", AddressProblem::Fragment),
            ("moqt://h/#msf:default/00ab", AddressProblem::Fragment),
        ] {
            assert_eq!(MoqAddress::parse(url).map(|a| a.to_string()), Err(expect), "{url}");
        }
    }
}
