//! Who comes: for whom a load balancer hands on a connection, and a proxy a request.

use std::io::{Error, Result};
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request};
use axum::http::HeaderName;
use deliver::{EDGE, OfMany};
use proxy::forwarded;
use proxy::header::{Header, Step};
use proxy::network::Networks;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::limits::HANDSHAKE;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Whom the connection was made for: its peer, unless that is trusted to say.
pub(crate) async fn client(
    socket: &mut TcpStream,
    peer: SocketAddr,
    trusted: &Networks,
) -> Result<SocketAddr> {
    if !trusted.have(peer.ip()) {
        return Ok(peer);
    }
    let told = async {
        let mut header = Header::default();
        loop {
            match header.step().map_err(Error::other)? {
                Step::Read(room) => drop(socket.read_exact(room).await?),
                Step::For(client) => return Ok(client.unwrap_or(peer)),
            }
        }
    };
    timeout(HANDSHAKE, told).await?
}

/// The way that a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From its client.
    Direct,
    /// Through a trusted proxy, to which its client spoke in clear.
    Proxied,
    /// Through a trusted proxy, to which its client spoke over TLS.
    ProxiedSecure,
}

/// Writes beside a request who made it: the client of its connection, or whom a trusted proxy names. That each viewer is checked may be
/// promised by those of them of whom the operator knows it: it is taken off what others hand on, or a viewer would promise it, and a cache
/// that does not check would keep what is locked.
pub(crate) fn introduce(
    request: &mut Request,
    client: SocketAddr,
    trusted: &Networks,
    checking: &Networks,
) -> Way {
    let (mut client, mut way, mut checks) = (client, Way::Direct, false);
    if trusted.have(client.ip()) {
        let field = |name| request.headers().get_all(name).iter().map(|v| v.to_str().unwrap_or(""));
        let https = forwarded::https(field(FORWARDED_PROTO));
        way = if https { Way::ProxiedSecure } else { Way::Proxied };
        checks = checking.have(client.ip());
        client = forwarded::client(client, field(FORWARDED_FOR), trusted);
    }
    if !checks {
        request.headers_mut().remove(EDGE);
    }
    // It did not say whom it heard from.
    if trusted.have(client.ip()) {
        request.extensions_mut().insert(OfMany);
    }
    request.extensions_mut().insert(ConnectInfo(client));
    way
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_made_a_request_is_written_beside_it() {
        let networks = |text: &str| Networks::new(vec![text.parse().unwrap()]);
        let (trusted, checking) = (networks("10.0.0.0/8"), networks("10.0.0.1/32"));
        for (peer, fields, expect, way) in [
            ("203.0.113.9:5", &[("x-forwarded-for", "127.0.0.1")][..], "203.0.113.9", Way::Direct),
            ("203.0.113.9:5", &[("x-forwarded-proto", "https")], "203.0.113.9", Way::Direct),
            ("10.0.0.1:5", &[], "10.0.0.1", Way::Proxied),
            (
                "10.0.0.1:5",
                &[("x-forwarded-for", "127.0.0.1, 198.51.100.7"), ("x-forwarded-proto", "https")],
                "198.51.100.7",
                Way::ProxiedSecure,
            ),
            (
                "10.0.0.1:5",
                &[("x-forwarded-for", "é"), ("x-forwarded-proto", "é")],
                "10.0.0.1",
                Way::Proxied,
            ),
            ("10.0.0.1:5", &[("forwarded", "for=198.51.100.7")], "10.0.0.1", Way::Proxied),
            // It is trusted to say from whom, and is no cache that checks.
            ("10.0.0.2:5", &[("x-forwarded-for", "198.51.100.7")], "198.51.100.7", Way::Proxied),
        ] {
            let mut request = axum::http::Request::builder().uri("/");
            for (name, value) in fields {
                request = request.header(*name, value.as_bytes());
            }
            request = request.header(EDGE, "checks");
            let mut request = request.body(axum::body::Body::empty()).unwrap();
            let found = introduce(&mut request, peer.parse().unwrap(), &trusted, &checking);
            let ConnectInfo(client) =
                request.extensions().get::<ConnectInfo<SocketAddr>>().unwrap();
            assert_eq!(client.ip().to_string(), expect, "{peer} {fields:?}");
            assert_eq!(found, way, "{peer} {fields:?}");
            let promised = request.headers().contains_key(EDGE);
            assert_eq!(promised, peer == "10.0.0.1:5", "{peer} {fields:?}");
            let many = request.extensions().get::<OfMany>().is_some();
            assert_eq!(many, expect == "10.0.0.1", "{peer} {fields:?}");
        }
    }
}
