//! `moq.upstreams`: servers that are pulled from.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use client::address::MoqAddress;
use client::trust::{Trust, parse_fingerprint};
use io_moq::client::Namespace;
use io_moq::client::Server;
use serde::{Deserialize, Deserializer, de};

/// So many: each is a connection.
const UPSTREAMS_MAX: usize = 32;

/// So many: each is a request to each of them.
const PREFIXES_MAX: usize = 16;

/// A server that is pulled from. Its path may hold a token, so it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Upstream(pub Server);

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "moqt://{}/", self.0.authority())
    }
}

/// Addresses; what is wrong with one is said without it, as it may hold a token.
pub(super) fn servers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Upstream>, D::Error> {
    // The library's words for what is no list of texts have it in them.
    let wrong = || de::Error::custom(r#"write a list, ["moqt://HOST:4443/"]"#);
    let toml::Value::Array(values) = toml::Value::deserialize(from)? else { return Err(wrong()) };
    let text = |value: toml::Value| match value {
        toml::Value::String(text) => Ok(text),
        _ => Err(wrong()),
    };
    let urls: Vec<String> = values.into_iter().map(text).collect::<Result<_, _>>()?;
    if urls.len() > UPSTREAMS_MAX {
        return Err(de::Error::custom(format!("{UPSTREAMS_MAX} of them at most")));
    }
    let server = |(at, url): (usize, &String)| {
        let wrong = |words: &str| de::Error::custom(format!("number {}: {words}", at + 1));
        match MoqAddress::parse(url) {
            Ok(address) if address.namespace.is_none() => Ok(Upstream(address.server)),
            Ok(_) => Err(wrong("leave out what follows the #; moq.upstream_namespaces says that")),
            Err(problem) => Err(wrong(&problem.to_string())),
        }
    };
    urls.iter().enumerate().map(server).collect()
}

pub(super) fn trust<'de, D: Deserializer<'de>>(from: D) -> Result<Trust, D::Error> {
    let text = String::deserialize(from)?;
    if let Some(hash) = text.strip_prefix("sha256:") {
        let words = "write sha256: and the 64 hexadecimal digits of the certificate's hash";
        return parse_fingerprint(hash)
            .map(Trust::Fingerprint)
            .ok_or_else(|| de::Error::custom(words));
    }
    Ok(match &*text {
        "" => Trust::System,
        "anybody" => Trust::Anybody,
        file => Trust::File(PathBuf::from(file)),
    })
}

pub(super) fn prefixes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Namespace>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    if texts.len() > PREFIXES_MAX {
        return Err(de::Error::custom(format!("{PREFIXES_MAX} of them at most")));
    }
    let read = |text: &String| {
        let wrong = || de::Error::custom(format!("{text:?}: write FIELD or FIELD/FIELD"));
        let fields: Vec<String> = text.split('/').map(str::to_owned).collect();
        if fields.iter().any(String::is_empty) {
            return Err(wrong());
        }
        Namespace::new(fields).map_err(|_| wrong())
    };
    let all: Vec<Namespace> = texts.iter().map(read).collect::<Result<_, _>>()?;
    // draft-18 §10.18: prefixes must not overlap.
    for (at, one) in all.iter().enumerate() {
        let rest = &all[at + 1..];
        if rest.iter().any(|other| one.suffix(other).is_some() || other.suffix(one).is_some()) {
            return Err(de::Error::custom("one of them is below another, or stands there twice"));
        }
    }
    Ok(if all.is_empty() { vec![Namespace::root()] } else { all })
}

/// Series of metrics are told apart by this: the address, and which of those with this address it is.
pub(crate) fn names(upstreams: &[Upstream]) -> Vec<String> {
    let mut known = BTreeSet::new();
    let name = |upstream: &Upstream| {
        let authority = upstream.0.authority();
        let names = (1..).map(|n| match n {
            1 => authority.clone(),
            n => format!("{authority}#{n}"),
        });
        names.into_iter().find(|name| known.insert(name.clone())).unwrap_or_default()
    };
    upstreams.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Layer, load};
    use super::*;

    fn moq(settings: &[&str]) -> Result<super::super::Moq, String> {
        let layers: Vec<Layer> = settings.iter().map(|s| Layer::setting(s).unwrap()).collect();
        let words = |errors: Vec<_>| format!("{errors:?}");
        load(&layers).map(|loaded| loaded.config.moq).map_err(words)
    }

    #[test]
    fn upstreams_are_addresses_that_nobody_reads_over_a_shoulder() {
        let config = Config::default().moq;
        assert_eq!((config.upstreams, config.upstream_trust), (vec![], Trust::System));
        assert_eq!(config.upstream_namespaces, [Namespace::root()]);
        let two = r#"moq.upstreams=["moqt://a/?jwt=SECRET", "moqt://a", "moqt://[::1]:7/SECRET"]"#;
        let config = moq(&[two]).unwrap();
        assert_eq!(config.upstreams[0].0.path, "/?jwt=SECRET");
        assert_eq!(names(&config.upstreams), ["a:4443", "a:4443#2", "[::1]:7"]);
        assert!(!format!("{config:?}").contains("SECRET"), "{config:?}");
        let loaded = load(&[Layer::setting(two).unwrap()]).unwrap();
        assert!(!loaded.print().contains("SECRET"), "{}", loaded.print());
        for wrong in [
            r#"moq.upstreams=["https://a/SECRET"]"#,
            r#"moq.upstreams=["moqt:///SECRET"]"#,
            "moq.upstreams=moqt://a/?jwt=SECRET",
            r#"moq.upstreams="moqt://a/?jwt=SECRET""#,
            r#"moq.upstreams=["moqt://a/?jwt=SECRET""#,
            r#"moq.upstreams=[["moqt://a/?jwt=SECRET"]]"#,
            r#"moq.upstreams={url="moqt://a/?jwt=SECRET"}"#,
            r#"moq.upstreams=["moqt://a/SECRET#msf:b"]"#,
            r#"moq.upstream_trust="sha256:00""#,
            r#"moq.upstream_namespaces=["a//b"]"#,
            r#"moq.upstream_namespaces=["a", "a/b"]"#,
        ] {
            let error = moq(&[wrong]).unwrap_err();
            assert!(error.contains("moq.upstream") && !error.contains("SECRET"), "{error}");
        }
        let files = |settings: &[&str]| {
            let layers: Vec<Layer> = settings.iter().map(|s| Layer::setting(s).unwrap()).collect();
            load(&layers).unwrap().with_its_files().map(drop)
        };
        let nowhere = "moq.upstream_trust=/nowhere/a.pem";
        let error = format!("{:?}", files(&[two, nowhere]).unwrap_err());
        assert!(error.contains("upstream_trust") && error.contains("/nowhere"), "{error}");
        assert_eq!(files(&[nowhere]), Ok(()), "nobody asks for it");
        let off = moq(&[two, "quic.listen=off"]).unwrap_err();
        assert!(off.contains("quic.listen"), "{off}");
        let config = moq(&[
            r#"moq.upstream_namespaces=["default", "events/2026"]"#,
            "moq.upstream_trust=anybody",
        ]);
        let config = config.unwrap();
        assert_eq!(config.upstream_trust, Trust::Anybody);
        let expect = [Namespace::new(["default"]), Namespace::new(["events", "2026"])];
        assert_eq!(config.upstream_namespaces, expect.map(Result::unwrap));
    }
}
