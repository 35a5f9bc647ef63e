//! How the world reaches the node: certificates, and load balancers in between.

use std::fmt;

use acme::authority::{Binding, Proof};
use acme::limits::NAMES_MAX;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proxy::limits::NETWORKS_MAX;
use proxy::network::Networks;
use serde::{Deserialize, Deserializer, de};

use super::{Config, Listen};

/// `[tls]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Names to get a certificate for; in lower case, each once.
    #[serde(deserialize_with = "domains")]
    pub domain: Vec<String>,
    /// PEM file with the certificate and its chain; empty: a self-signed one is made.
    pub certificate: String,
    /// PEM file with its private key.
    pub key: String,
}

/// `[acme]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acme {
    /// The URL of the authority's directory.
    #[serde(deserialize_with = "directory")]
    pub directory: String,
    /// An address for mail; empty: none.
    #[serde(deserialize_with = "contact")]
    pub contact: String,
    /// What the authority calls its customer; empty: nobody has to be one.
    pub eab_kid: String,
    /// The key that the authority shares with its customer, decoded.
    #[serde(deserialize_with = "shared_key")]
    pub eab_hmac_key: Option<SharedKey>,
    /// A PEM file with a root that the authority's server may have; empty: those of the machine.
    pub authority: String,
    /// How names are proved.
    pub challenge: Challenge,
    /// A program and its arguments; empty: none.
    pub dns_hook: Vec<String>,
    /// Where names are proved in clear, and visitors are led to HTTPS.
    pub http_listen: Listen,
    /// HTTPS where everybody looks for it.
    pub https_listen: Listen,
}

/// How names are proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Challenge {
    /// By what there is.
    Auto,
    /// Over port 80.
    #[serde(rename = "http-01")]
    Http01,
    /// Over port 443.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// In the DNS.
    #[serde(rename = "dns-01")]
    Dns01,
}

/// `[proxy_protocol]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyProtocol {
    /// Who sends a PROXY header.
    #[serde(deserialize_with = "networks")]
    pub trusted: Networks,
    /// Where.
    pub listeners: Vec<Listener>,
}

/// A listener that may stand behind a load balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Listener {
    /// `http.listen`, and `acme.http_listen`.
    Http,
    /// `https.listen`, and `acme.https_listen`.
    Https,
    /// `rtmp.listen`.
    Rtmp,
    /// `rtmps.listen`.
    Rtmps,
}

/// A key that must not be read.
#[derive(Clone, PartialEq)]
pub struct SharedKey(Vec<u8>);

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey(…)")
    }
}

impl ProxyProtocol {
    /// Who must send a header to this listener.
    pub fn trusted_at(&self, listener: Listener) -> Networks {
        if self.listeners.contains(&listener) { self.trusted.clone() } else { Networks::default() }
    }
}

impl Acme {
    /// Whose account at the authority ours shall be.
    pub fn binding(&self) -> Option<Binding> {
        let key = self.eab_hmac_key.as_ref()?.0.clone();
        Some(Binding { kid: self.eab_kid.clone(), key })
    }

    /// The kinds of proof, in the order in which they are tried.
    pub fn proofs(&self) -> Vec<Proof> {
        match self.challenge {
            Challenge::Http01 => vec![Proof::Http01],
            Challenge::TlsAlpn01 => vec![Proof::TlsAlpn01],
            Challenge::Dns01 => vec![Proof::Dns01],
            Challenge::Auto if !self.dns_hook.is_empty() => vec![Proof::Dns01],
            Challenge::Auto => match (self.http_listen.0, self.https_listen.0) {
                (None, Some(_)) => vec![Proof::TlsAlpn01],
                (Some(_), Some(_)) => vec![Proof::Http01, Proof::TlsAlpn01],
                // Without both, somebody hands on what comes to port 80.
                (_, None) => vec![Proof::Http01],
            },
        }
    }
}

/// Adds what is wrong between keys.
pub(super) fn conflicts(config: &Config, found: &mut Vec<(&'static str, String, &'static str)>) {
    let (tls, acme) = (&config.tls, &config.acme);
    if !tls.domain.is_empty() && !tls.certificate.is_empty() {
        let problem = "tls.certificate is set: a certificate is in files or is asked for, not both";
        found.push(("tls.domain", problem.to_owned(), "tls.domain"));
    }
    if acme.eab_kid.is_empty() != acme.eab_hmac_key.is_none() {
        let problem = "the authority gives both: set acme.eab_kid and acme.eab_hmac_key".to_owned();
        found.push(("acme.eab_kid", problem, "acme.eab_kid"));
    }
    let only_dns = acme.proofs() == [Proof::Dns01];
    if let Some(wild) = tls.domain.iter().find(|name| name.starts_with("*.")).filter(|_| !only_dns)
    {
        let problem = format!("{wild} can be proved in the DNS only: set acme.dns_hook");
        found.push(("tls.domain", problem, "tls.domain"));
    }
    if only_dns && acme.dns_hook.is_empty() {
        let problem = "dns-01 needs a program: set acme.dns_hook".to_owned();
        found.push(("acme.challenge", problem, "acme.challenge"));
    }
}

pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Networks, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    if texts.len() > NETWORKS_MAX {
        return Err(de::Error::custom(format!("more than {NETWORKS_MAX} networks")));
    }
    let networks = texts.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>();
    networks.map(Networks::new).map_err(de::Error::custom)
}

fn domains<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let mut names = Vec::new();
    for text in Vec::<String>::deserialize(deserializer)? {
        let name = text.trim_end_matches('.').to_ascii_lowercase();
        if !is_name(name.strip_prefix("*.").unwrap_or(&name)) {
            return Err(de::Error::custom(format!(
                "{text:?} is no name of a server: write it like live.example.org, without https:// and port; \
                 names in other scripts in their xn-- form"
            )));
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.len() > NAMES_MAX {
        return Err(de::Error::custom(format!("more than {NAMES_MAX} names")));
    }
    Ok(names)
}

/// RFC 1035 §2.3.1, RFC 1123 §2.1; an address is none.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253 && name.split('.').all(label) && !last.bytes().all(|b| b.is_ascii_digit())
}

fn directory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.as_str() {
        "letsencrypt" => Ok("https://acme-v02.api.letsencrypt.org/directory".to_owned()),
        "staging" => Ok("https://acme-staging-v02.api.letsencrypt.org/directory".to_owned()),
        // RFC 8555 §6.1.
        url if url.starts_with("https://") && url.len() > "https://".len() => Ok(text),
        _ => Err(de::Error::custom(format!(
            "{text:?} is no authority: write \"letsencrypt\", \"staging\" or an https:// URL"
        ))),
    }
}

fn contact<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let text = text.strip_prefix("mailto:").map(str::to_owned).unwrap_or(text);
    let plain = text.bytes().all(|b| b.is_ascii_graphic()) && !text.contains(['?', ',', '%']);
    match text.split_once('@') {
        None if text.is_empty() => Ok(text),
        // RFC 8555 §7.3: one address, no fields.
        Some((who, at)) if plain && !who.is_empty() && is_name(&at.to_ascii_lowercase()) => {
            Ok(text)
        }
        _ => Err(de::Error::custom(format!("{text:?} is no address for mail"))),
    }
}

/// RFC 8555 §7.3.4: base64url; some authorities show it with the other two signs, or filled up. What is wrong is said without it.
fn shared_key<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SharedKey>, D::Error> {
    let words = || de::Error::custom("write the key as the authority shows it, in base64url");
    let toml::Value::String(text) = toml::Value::deserialize(from)? else { return Err(words()) };
    let text = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
    if text.is_empty() {
        return Ok(None);
    }
    URL_SAFE_NO_PAD.decode(text).map(|key| Some(SharedKey(key))).map_err(|_| words())
}

/// `http://` or `https://`, a host, perhaps a port: addresses are appended to it as they are.
pub(super) fn public_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let url = text.strip_suffix('/').unwrap_or(&text).to_ascii_lowercase();
    // Browsers leave the scheme's own port out, and are compared with.
    let url = match url.split_once("://") {
        Some(("https", rest)) => rest.strip_suffix(":443").map(|host| format!("https://{host}")),
        Some(("http", rest)) => rest.strip_suffix(":80").map(|host| format!("http://{host}")),
        _ => None,
    }
    .unwrap_or(url);
    if text.is_empty() || host_of(&url).is_some() {
        return Ok(url);
    }
    Err(de::Error::custom(format!(
        "{text:?} is no address of this server: write it like https://live.example.org, with a port if need be, \
         without a path"
    )))
}

/// A name or an address, and nothing around it: it is put into URLs of all protocols.
pub(super) fn public_host<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let host = text.to_ascii_lowercase();
    if text.is_empty() || host_of(&format!("http://{host}")) == Some(&host) {
        return Ok(text);
    }
    Err(de::Error::custom(format!(
        "{text:?} is no host: write a name or an address like live.example.org, without a scheme, port or path \
         (addresses of IPv6 in brackets)"
    )))
}

/// The host of such a URL.
pub(super) fn host_of(url: &str) -> Option<&str> {
    let authority = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let host = match authority.rsplit_once(':').filter(|_| !authority.ends_with(']')) {
        Some((host, port)) => port.parse::<u16>().ok().filter(|port| *port > 0).map(|_| host)?,
        None => authority,
    };
    let v6 = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = host.parse::<std::net::Ipv4Addr>().is_ok()
        || v6.is_some_and(|v6| v6.parse::<std::net::Ipv6Addr>().is_ok());
    (address || is_name(host)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::super::{Layer, load};
    use super::*;

    fn config(settings: &[&str]) -> Result<Config, String> {
        let layers: Vec<Layer> = settings.iter().map(|s| Layer::setting(s).unwrap()).collect();
        let errors = |errors: Vec<super::super::ConfigError>| {
            errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        load(&layers).map(|loaded| loaded.config).map_err(errors)
    }

    #[test]
    fn names_of_servers() {
        let set = |names: &str| config(&[&format!("tls.domain={names}")]);
        let read = set(
            r#"["Live.Example.org.", "xn--bcher-kva.example", "live.example.org", "localhost"]"#,
        );
        let read = read.unwrap();
        assert_eq!(read.tls.domain, ["live.example.org", "xn--bcher-kva.example", "localhost"]);
        assert_eq!(read.public_host(), Some("live.example.org"));
        for wrong in [
            "https://a.example",
            "a.example:443",
            "a..example",
            "-a.example",
            "a-.example",
            "",
            "a_b.example",
            "192.0.2.1",
            "bücher.example",
            "a.*.example",
            "*",
            "a.example/x",
        ] {
            let words = set(&format!("[{wrong:?}]")).unwrap_err();
            assert!(
                words.starts_with("tls.domain: ") && words.contains("no name of a server"),
                "{words}"
            );
        }
        let both = config(&["tls.domain=[\"a.example\"]", "public.host=b.example"]).unwrap();
        assert_eq!(both.public_host(), Some("b.example"));
        assert_eq!(config(&[]).unwrap().public_host(), None);
        for host in ["b.example", "B.Example", "192.0.2.1", "[2001:db8::1]", "localhost", ""] {
            let read = config(&[&format!("public.host={host}")]).unwrap();
            assert_eq!(read.public.host, host);
        }
        for wrong in ["http://b.example", "b.example/x", "b.example:80", "a b", "2001:db8::1", "a/"]
        {
            let error = config(&[&format!("public.host={wrong}")]).unwrap_err();
            assert!(error.contains("is no host"), "{error}");
        }
    }

    #[test]
    fn which_proof_is_tried() {
        let wild = r#"tls.domain=["*.a.example"]"#;
        let hook = r#"acme.dns_hook=["/bin/hook"]"#;
        let (http_off, https_off) = ("acme.http_listen=off", "acme.https_listen=off");
        for (settings, expect) in [
            (&[][..], &[Proof::Http01, Proof::TlsAlpn01][..]),
            (&[http_off], &[Proof::TlsAlpn01]),
            (&[https_off], &[Proof::Http01]),
            (&[http_off, https_off], &[Proof::Http01]),
            (&[wild, hook], &[Proof::Dns01]),
            (&[hook, "acme.challenge=tls-alpn-01"], &[Proof::TlsAlpn01]),
            (&["acme.challenge=http-01"], &[Proof::Http01]),
        ] {
            assert_eq!(config(settings).unwrap().acme.proofs(), expect, "{settings:?}");
        }
        for (settings, expect) in [
            (&[wild][..], "tls.domain: *.a.example can be proved in the DNS only"),
            (&[wild, hook, "acme.challenge=http-01"], "can be proved in the DNS only"),
            (&["acme.challenge=dns-01"], "acme.challenge: dns-01 needs a program"),
            (&[r#"tls.domain=["a.example"]"#, "tls.certificate=a", "tls.key=b"], "not both"),
            (
                &[
                    r#"tls.domain=["a.example"]"#,
                    "http.listen=127.0.0.1:443",
                    "acme.https_listen=127.0.0.1:443",
                ],
                "is the address of http.listen too",
            ),
            (&["acme.challenge=http"], "acme.challenge: "),
            (&["acme.directory=http://a.example/"], "acme.directory: "),
            (&["acme.eab_kid=a"], "acme.eab_kid: the authority gives both"),
            (&["acme.eab_hmac_key=QUJD"], "acme.eab_kid: the authority gives both"),
            (&["acme.eab_kid=a", "acme.eab_hmac_key=Q"], "acme.eab_hmac_key: "),
            (&["acme.contact=nobody"], "acme.contact: "),
            (&["acme.contact=a@b.example?cc=x"], "acme.contact: "),
        ] {
            let words = config(settings).unwrap_err();
            assert!(words.contains(expect), "{settings:?}: {words}");
        }
        let contact = config(&["acme.contact=mailto:me@a.example"]).unwrap().acme.contact;
        assert_eq!(contact, "me@a.example");
        for key in ["-_8", "+/8=", "-_8="] {
            let read = config(&["acme.eab_kid=a", &format!("acme.eab_hmac_key=\"{key}\"")]);
            let acme = read.unwrap().acme;
            let bound = acme.binding().unwrap();
            assert_eq!((bound.kid.as_str(), &bound.key[..]), ("a", &[0xfb, 0xff][..]));
            assert!(!format!("{acme:?}").contains("251"), "{acme:?}");
        }
        let staging = config(&["acme.directory=staging"]).unwrap().acme.directory;
        assert_eq!(staging, "https://acme-staging-v02.api.letsencrypt.org/directory");
    }

    #[test]
    fn who_must_send_a_header_and_where() {
        let read = config(&[
            r#"proxy_protocol.trusted=["10.0.0.0/8"]"#,
            r#"proxy_protocol.listeners=["rtmp"]"#,
        ]);
        let protocol = read.unwrap().proxy_protocol;
        assert!(protocol.trusted_at(Listener::Rtmp).have([10, 0, 0, 1].into()));
        assert!(protocol.trusted_at(Listener::Https).is_empty());
        for wrong in
            ["proxy_protocol.trusted=[\"10.0.0.0/40\"]", "proxy_protocol.listeners=[\"quic\"]"]
        {
            assert!(config(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_public_url_is_a_scheme_a_host_and_a_port() {
        for (text, url, host) in [
            ("", "", None),
            ("https://live.example.org", "https://live.example.org", Some("live.example.org")),
            (
                "HTTPS://Live.Example.org:8443/",
                "https://live.example.org:8443",
                Some("live.example.org"),
            ),
            ("http://192.0.2.7:80", "http://192.0.2.7", Some("192.0.2.7")),
            ("https://a.example:443/", "https://a.example", Some("a.example")),
            ("https://[2001:db8::1]:444", "https://[2001:db8::1]:444", Some("[2001:db8::1]")),
            ("https://[2001:db8::1]", "https://[2001:db8::1]", Some("[2001:db8::1]")),
        ] {
            let read = config(&[&format!("http.public_url={text:?}")]).unwrap();
            assert_eq!((read.http.public_url.as_str(), read.public_host()), (url, host));
        }
        for wrong in [
            "live.example.org",
            "ftp://a.example",
            "https://",
            "https://a.example/path",
            "https://a.example?x",
            "https://user@a.example",
            "https://a.example:0",
            "https://a.example:99999",
            "https://a b",
            "https://[::1",
        ] {
            assert!(config(&[&format!("http.public_url={wrong:?}")]).is_err(), "{wrong}");
        }
    }
}
