//! Where a node listens: its sockets, and what is said where one can't be had.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::net::TcpListener;

use crate::config::Listen;

/// Where a node listens, as its ready file says. None where a listener is off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// The program's version.
    pub version: &'static str,
    /// The account's id.
    pub account: &'static str,
    /// HTTP.
    pub http: Option<SocketAddr>,
    /// HTTPS.
    pub https: Option<SocketAddr>,
    /// Port 80 of `tls.domain`: proofs of the names, and the way to HTTPS.
    pub domain_http: Option<SocketAddr>,
    /// Port 443 of `tls.domain`: HTTPS.
    pub domain_https: Option<SocketAddr>,
    /// RTMP.
    pub rtmp: Option<SocketAddr>,
    /// RTMPS.
    pub rtmps: Option<SocketAddr>,
    /// SRT.
    pub srt: Option<SocketAddr>,
    /// QUIC.
    pub quic: Option<SocketAddr>,
    /// WebRTC media.
    pub webrtc: Option<SocketAddr>,
    /// Metrics and health.
    pub admin: Option<SocketAddr>,
}

impl Addresses {
    /// In words, for a log.
    pub(crate) fn listeners(&self) -> String {
        let all = [
            ("HTTP", self.http),
            ("HTTPS", self.https),
            ("RTMP", self.rtmp),
            ("RTMPS", self.rtmps),
            ("QUIC", self.quic),
            ("metrics", self.admin),
        ];
        let on = all.into_iter().filter_map(|(name, at)| Some(format!("{name} on {}", at?)));
        on.collect::<Vec<_>>().join(", ")
    }
}

/// Port 80 or 443, where something else may listen already, and which not everybody may have.
pub(super) async fn bind_known(listen: Listen, key: &str) -> Result<Option<TcpListener>> {
    use std::io::ErrorKind::{AddrInUse, PermissionDenied};
    bind(listen, key).await.map_err(|error| {
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        match kind {
            Some(PermissionDenied) => error.context(format!(
                "ports below 1024 are for programs with the right to them: start Airwave as a service with \
                 AmbientCapabilities=CAP_NET_BIND_SERVICE, or once run setcap cap_net_bind_service=+ep on the program, \
                 or hand on the port to another one and set {key}, or do without: {key} = \"off\""
            )),
            Some(AddrInUse) => error.context(format!(
                "another program listens there, a web server perhaps: stop it, or let it hand on what comes and set \
                 {key} = \"off\" (docs/https.md says how)"
            )),
            _ => error,
        }
    })
}

pub(super) async fn bind(listen: Listen, key: &str) -> Result<Option<TcpListener>> {
    let Some(address) = listen.0 else { return Ok(None) };
    let bound = match TcpListener::bind(address).await {
        // A machine without IPv6: all of IPv4 is what was meant.
        Err(_) if address.ip().is_unspecified() && address.is_ipv6() => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    };
    bound.map(Some).with_context(|| format!("can't listen on {address}: {}", elsewhere(key)))
}

/// What to do where a listener can't be. `make run` takes variables, and no flags.
pub(crate) fn elsewhere(key: &str) -> String {
    let variable = key.to_ascii_uppercase().replace('.', "__");
    format!(
        "choose another address with --set {key}=IP:PORT, or with AIRWAVE__{variable}=IP:PORT in the environment"
    )
}

pub(super) fn address_of(listener: Option<&TcpListener>) -> Result<Option<SocketAddr>> {
    Ok(listener.map(TcpListener::local_addr).transpose()?)
}
