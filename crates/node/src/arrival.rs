//! Who comes: for whom a load balancer hands on a connection, and how many connections an address has.

use std::collections::BTreeMap;
use std::io::{Error, Result};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{ConnectInfo, Request};
use axum::http::HeaderName;
use deliver::OfMany;
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

/// Writes beside a request who made it: the client of its connection, or whom a trusted proxy names.
pub(crate) fn introduce(request: &mut Request, client: SocketAddr, trusted: &Networks) -> Way {
    let (mut client, mut way) = (client, Way::Direct);
    if trusted.have(client.ip()) {
        let field = |name| request.headers().get_all(name).iter().map(|v| v.to_str().unwrap_or(""));
        let https = forwarded::https(field(FORWARDED_PROTO));
        way = if https { Way::ProxiedSecure } else { Way::Proxied };
        client = forwarded::client(client, field(FORWARDED_FOR), trusted);
    }
    // It did not say whom it heard from.
    if trusted.have(client.ip()) {
        request.extensions_mut().insert(OfMany);
    }
    request.extensions_mut().insert(ConnectInfo(client));
    way
}

/// How many connections each address has.
#[derive(Debug)]
pub(crate) struct PerAddress {
    max: usize,
    open: Mutex<BTreeMap<IpAddr, usize>>,
}

/// Counts a connection until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    of: Arc<PerAddress>,
    who: IpAddr,
}

impl PerAddress {
    /// With at most so many; 0 for any number.
    pub(crate) fn new(max: u32) -> Arc<Self> {
        let max = if max == 0 { usize::MAX } else { usize::try_from(max).unwrap_or(usize::MAX) };
        Arc::new(Self { max, open: Mutex::default() })
    }

    /// One more; none if there are too many.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Counted> {
        let who = customer(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let here = open.get(&who).copied().unwrap_or(0);
        if here >= self.max {
            return None;
        }
        open.insert(who, here + 1);
        Some(Counted { of: self.clone(), who })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.of.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get(&self.who).copied().unwrap_or(0) {
            0 | 1 => drop(open.remove(&self.who)),
            more => drop(open.insert(self.who, more - 1)),
        }
    }
}

/// Who has IPv6 has a /64 of it at least.
fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections_and_no_more() {
        let bound = PerAddress::new(2);
        let enter = |address: &str| bound.enter(address.parse().unwrap());
        let (one, _two) = (enter("192.0.2.1").unwrap(), enter("::ffff:192.0.2.1").unwrap());
        assert!(enter("192.0.2.1").is_none());
        let _other = enter("192.0.2.2").unwrap();
        let six = [enter("2001:db8::1"), enter("2001:db8::ffff:1")].map(Option::unwrap);
        assert!(enter("2001:db8::2:3").is_none() && enter("2001:db8:0:1::1").is_some());
        drop(one);
        assert!(enter("192.0.2.1").is_some());
        drop(six);
        assert_eq!(bound.open.lock().unwrap().len(), 2, "who has gone is forgotten");
        let any = PerAddress::new(0);
        let all: Vec<_> = (0..5_000).map(|_| any.enter([192, 0, 2, 1].into())).collect();
        assert!(all.iter().all(Option::is_some));
    }

    #[test]
    fn who_made_a_request_is_written_beside_it() {
        let trusted = Networks::new(vec!["10.0.0.0/8".parse().unwrap()]);
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
        ] {
            let mut request = axum::http::Request::builder().uri("/");
            for (name, value) in fields {
                request = request.header(*name, value.as_bytes());
            }
            let mut request = request.body(axum::body::Body::empty()).unwrap();
            let found = introduce(&mut request, peer.parse().unwrap(), &trusted);
            let ConnectInfo(client) =
                request.extensions().get::<ConnectInfo<SocketAddr>>().unwrap();
            assert_eq!(client.ip().to_string(), expect, "{peer} {fields:?}");
            assert_eq!(found, way, "{peer} {fields:?}");
            let many = request.extensions().get::<OfMany>().is_some();
            assert_eq!(many, expect == "10.0.0.1", "{peer} {fields:?}");
        }
    }
}
