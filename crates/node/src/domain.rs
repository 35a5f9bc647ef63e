//! The names of this server: their certificate, where they are proved, and the way from port 80 to HTTPS.

use std::path::Path;
use std::sync::Arc;

use acme::authority::Authority;
use acme::challenges::Challenges;
use acme::hook::Hook;
use acme::keep::{Keep, Kept};
use acme::renewal::Renewal;
use acme::status::Status;
use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Path as Segment, Request};
use axum::http::uri::{Authority as HostAndPort, PathAndQuery};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use client::trust::Trust;

use crate::config::Config;
use crate::ingest::now_ms;
use crate::node::random;
use crate::quic;
use crate::tls::Certificate;

/// What `tls.domain` needs.
pub(crate) struct Domain {
    renewal: Renewal,
    /// From an earlier run.
    pub(crate) kept: Option<Kept>,
    pub(crate) challenges: Challenges,
    pub(crate) status: Arc<Status>,
}

impl Domain {
    /// None without a name. Asks nobody yet.
    pub(crate) fn new(config: &Config, dir: &Path) -> Result<Option<Self>> {
        let (names, acme) = (config.tls.domain.clone(), &config.acme);
        if names.is_empty() {
            return Ok(None);
        }
        let trust = match acme.authority.as_str() {
            "" => Trust::System,
            file => Trust::File(file.into()),
        };
        let challenges = Challenges::default();
        let authority = Authority {
            directory: acme.directory.clone(),
            contact: acme.contact.clone(),
            binding: acme.binding(),
            tls: trust.connector().context("acme.authority")?,
            challenges: challenges.clone(),
            hook: Hook::new(&acme.dns_hook),
            keep: Keep::new(dir, &acme.directory),
        };
        let status = Arc::new(Status::new(&names));
        let chance = || u16::from_be_bytes(random());
        let proofs = acme.proofs();
        let now_ms = acme::renewal::wall_clock_ms;
        let renewal = Renewal { authority, names, proofs, status: status.clone(), chance, now_ms };
        let kept = renewal.kept();
        Ok(Some(Self { renewal, kept, challenges, status }))
    }

    /// What a newcomer reads of it.
    pub(crate) fn words(&self) -> String {
        let names = self.status.names().join(", ");
        match &self.kept {
            Some(kept) => {
                let left = kept.validity.not_after_ms.saturating_sub(now_ms());
                format!("for {names}, valid for {}", acme::status::span(left))
            }
            None => format!("for {names}: asked for now, the log says how it went"),
        }
    }

    /// Keeps the listeners in certificates, for as long as the node runs.
    pub(crate) async fn run(self, https: Option<Arc<Certificate>>, quic: Option<quic::Shown>) {
        let serve = |new: &Kept| {
            if let Some(https) = &https {
                https.replace(new.certified.clone());
            }
            if let Some(Err(error)) = quic.as_ref().map(|quic| quic.renewed(new)) {
                tracing::error!("QUIC can't use the new certificate: {error:#}");
            }
        };
        self.renewal.run(self.kept, serve).await;
    }
}

/// Where proofs are (RFC 8555 §8.3); a row of the authorisation table.
pub(crate) const PROOF: &str = "/.well-known/acme-challenge/{token}";

/// All else on port 80; a row of the authorisation table.
pub(crate) const ELSEWHERE: &str = "/{*path}";

/// Answers whoever looks for proofs.
pub(crate) fn proofs(challenges: Challenges) -> Router {
    let answer = async move |Segment(token): Segment<String>| match challenges.http(&token) {
        // RFC 8555 §8.3.
        Some(answer) => {
            ([(header::CONTENT_TYPE, "application/octet-stream")], answer).into_response()
        }
        None => (StatusCode::NOT_FOUND, "no such proof\n").into_response(),
    };
    Router::new().route(PROOF, get(answer))
}

/// Port 80: proofs, and the way to HTTPS for all others.
pub(crate) fn to_https(challenges: Challenges, names: Vec<String>, port: Option<u16>) -> Router {
    let lead = async move |request: Request| elsewhere(&request, &names, port);
    proofs(challenges).fallback(lead)
}

/// RFC 9110 §15.4.9: for good, and a POST stays one. To one of our own names only: what a client calls this server is no
/// place to send anybody to.
fn elsewhere(request: &Request, names: &[String], port: Option<u16>) -> Response {
    let asked = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let asked = asked.or_else(|| request.uri().authority().map(HostAndPort::as_str));
    let asked = asked.map(|host| host.split(':').next().unwrap_or(host).to_ascii_lowercase());
    let ours = asked.filter(|asked| names.iter().any(|name| covers(name, asked)));
    let first = || names.iter().find(|name| !name.starts_with("*.")).cloned();
    let (Some(host), Some(port)) = (ours.or_else(first), port) else {
        return (StatusCode::NOT_FOUND, "this server is reached over https:// only\n")
            .into_response();
    };
    let path = path_of(request.uri());
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let to = format!("https://{host}{port}{path}");
    (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, to)]).into_response()
}

/// RFC 6797: whoever has seen one of our names over TLS with a certificate that browsers trust asks in clear no more, for
/// half a year. Names beside ours, and addresses, are not spoken for.
pub(crate) async fn stay_secure(mut response: Response) -> Response {
    let value = HeaderValue::from_static("max-age=15552000");
    response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, value);
    response
}

fn path_of(uri: &Uri) -> &str {
    // `OPTIONS *` has no path.
    uri.path_and_query()
        .map(PathAndQuery::as_str)
        .filter(|path| path.starts_with('/'))
        .unwrap_or("/")
}

/// RFC 9525 §6.3: a wildcard stands for one label.
fn covers(name: &str, asked: &str) -> bool {
    match (name.strip_prefix("*."), asked.split_once('.')) {
        (Some(under), Some((label, rest))) => !label.is_empty() && rest == under,
        _ => name == asked,
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;
    use crate::config::{Layer, load};

    #[test]
    fn the_authority_is_told_whom_to_write_to() {
        let folder = tempfile::tempdir().unwrap();
        for (contact, expect) in [("you@example.org", "you@example.org"), ("", "")] {
            let settings =
                [format!("acme.contact={contact}"), r#"tls.domain=["a.example"]"#.to_owned()];
            let layers = settings.map(|setting| Layer::setting(&setting).unwrap());
            let config = load(&layers).unwrap().config;
            let domain = Domain::new(&config, folder.path()).unwrap().unwrap();
            assert_eq!(domain.renewal.authority.contact, expect);
            assert!(domain.kept.is_none());
        }
    }

    #[test]
    fn where_port_80_leads() {
        let names = ["live.example.org", "*.example.net"].map(str::to_owned);
        for (uri, host, port, expect) in [
            ("/", "live.example.org", Some(443), "https://live.example.org/"),
            ("/a/b?c=d", "Live.Example.org:80", Some(443), "https://live.example.org/a/b?c=d"),
            ("/", "live.example.org:8080", Some(8443), "https://live.example.org:8443/"),
            ("http://a.example.net/x", "", Some(443), "https://a.example.net/x"),
            ("/", "a.example.net", Some(443), "https://a.example.net/"),
            // To nobody else's, whatever is asked for.
            ("/", "evil.example", Some(443), "https://live.example.org/"),
            ("/", "evil.example/live.example.org", Some(443), "https://live.example.org/"),
            ("/", "live.example.org@evil.example", Some(443), "https://live.example.org/"),
            ("/", ".example.net", Some(443), "https://live.example.org/"),
            ("/", "a.b.example.net", Some(443), "https://live.example.org/"),
            (
                "//evil.example/",
                "live.example.org",
                Some(443),
                "https://live.example.org//evil.example/",
            ),
            ("*", "live.example.org", Some(443), "https://live.example.org/"),
            ("/", "live.example.org", None, ""),
        ] {
            let mut request = axum::http::Request::builder().uri(uri);
            if !host.is_empty() {
                request = request.header(header::HOST, host);
            }
            let answer = elsewhere(&request.body(Body::empty()).unwrap(), &names, port);
            let to = answer.headers().get(header::LOCATION).map(|to| to.to_str().unwrap());
            assert_eq!(to.unwrap_or_default(), expect, "{uri} {host}");
            let status = if expect.is_empty() { 404 } else { 308 };
            assert_eq!(answer.status(), status);
        }
    }
}
