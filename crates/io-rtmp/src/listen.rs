//! Accepting connections.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use media::admission::Door;
use proxy::header::{Header, Step};
use proxy::network::Networks;
use proxy::seldom::Seldom;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

pub use crate::half_open::HalfOpen;
use crate::half_open::HalfOpenGuard;
use crate::limits::{PROXY_HEADER, TLS_HANDSHAKE};
use crate::session;

/// What the listener counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Connections now.
    pub open: AtomicUsize,
    /// Connections ended before they were admitted, to make room for others: too many were half open.
    pub refused_half_open: AtomicU64,
    /// Connections of trusted load balancers that did not say whom they are for.
    pub proxy_lies: AtomicU64,
    /// Publishes refused at the door.
    pub refused_publishes: AtomicU64,
    /// Encoders dismissed: another one has taken over, or their broadcast was ended.
    pub dismissed: AtomicU64,
    /// Publishes ended because what came can't go on air.
    pub unusable: AtomicU64,
    /// Connections that ended because the peer broke the protocol.
    pub protocol_errors: AtomicU64,
    /// Connections whose task panicked.
    pub panics: AtomicU64,
    /// Encoders live now.
    pub live: AtomicUsize,
}

/// What the listeners of a node have in common.
#[derive(Clone)]
pub struct Common {
    /// Who may publish.
    pub door: Door,
    /// What they count.
    pub counters: Arc<Counters>,
    /// Places for connections that have not been admitted.
    pub half_open: Arc<HalfOpen>,
    /// Fills handshakes.
    pub random: fn(&mut [u8; 32]),
}

/// What all connections of a listener share.
pub(crate) struct Shared {
    pub(crate) door: Door,
    pub(crate) counters: Arc<Counters>,
    pub(crate) random: fn(&mut [u8; 32]),
    pub(crate) lines: Lines,
}

/// What strangers may log, kind by kind.
#[derive(Default)]
pub(crate) struct Lines {
    /// Connections that broke the protocol.
    pub(crate) ended: Seldom,
    /// Publishes that were refused.
    pub(crate) refused: Seldom,
    /// Connections that could not be accepted.
    accept: Seldom,
    /// Load balancers that did not say whom a connection is for.
    lies: Seldom,
}

/// Counts a connection as open until it is dropped.
struct OpenGuard(Arc<Counters>);

impl OpenGuard {
    fn new(counters: &Arc<Counters>) -> Self {
        counters.open.fetch_add(1, Ordering::Relaxed);
        Self(counters.clone())
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    pub(crate) fn of(common: Common) -> Arc<Self> {
        let Common { door, counters, random, .. } = common;
        Arc::new(Self { door, counters, random, lines: Lines::default() })
    }

    /// Others had to make room.
    fn ended_half_open(&self, ended: bool) {
        self.counters.refused_half_open.fetch_add(u64::from(ended), Ordering::Relaxed);
    }
}

/// Accepts encoders until `stop` is ready, then ends their connections as if they were lost.
/// With `tls` this is RTMPS. Who is in `balancers` must send a PROXY header.
pub async fn run(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    balancers: Networks,
    common: Common,
    stop: impl Future<Output = ()>,
) {
    let half_open = common.half_open.clone();
    let shared = Shared::of(common);
    let balancers = Arc::new(balancers);
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            Some(ended) = connections.join_next() => {
                if ended.is_err_and(|e| e.is_panic()) {
                    shared.counters.panics.fetch_add(1, Ordering::Relaxed);
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: leave the queue alone for a moment.
                if let Some(line) = shared.lines.accept.line(Instant::now()) {
                    tracing::warn!(%error, left_out = line.left_out, "rtmp: accept failed");
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        let balanced = balancers.have(peer.ip());
        let (guard, ended) = half_open.enter((!balanced).then_some(peer.ip()));
        shared.ended_half_open(ended);
        let number = guard.number();
        shared.counters.connections.fetch_add(1, Ordering::Relaxed);
        let _ = socket.set_nodelay(true);
        let (shared, tls) = (shared.clone(), tls.clone());
        let open = OpenGuard::new(&shared.counters);
        let task = connections.spawn(async move {
            let _open = open;
            match balanced {
                true => behind_balancer(socket, peer, tls, shared, guard).await,
                false => greet(socket, peer, tls, shared, guard).await,
            }
        });
        half_open.runs(number, task);
    }
    connections.shutdown().await;
}

/// A load balancer says first whom the connection is for.
async fn behind_balancer(
    mut socket: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    guard: HalfOpenGuard,
) {
    let told = timeout(PROXY_HEADER, client(&mut socket, peer)).await;
    let client = match told.unwrap_or_else(|elapsed| Err(elapsed.into())) {
        Ok(client) => client,
        // A balancer that looks whether somebody is there.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return,
        Err(error) => {
            shared.counters.proxy_lies.fetch_add(1, Ordering::Relaxed);
            if let Some(line) = shared.lines.lies.line(Instant::now()) {
                let left_out = line.left_out;
                tracing::warn!(%peer, %error, left_out, "rtmp: connection refused");
            }
            return;
        }
    };
    shared.ended_half_open(guard.is_of(client.ip()));
    greet(socket, client, tls, shared, guard).await;
}

async fn client(socket: &mut TcpStream, peer: SocketAddr) -> std::io::Result<SocketAddr> {
    let mut header = Header::default();
    loop {
        match header.step().map_err(std::io::Error::other)? {
            Step::Read(room) => drop(socket.read_exact(room).await?),
            Step::For(client) => return Ok(client.unwrap_or(peer)),
        }
    }
}

async fn greet(
    socket: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    guard: HalfOpenGuard,
) {
    let Some(tls) = tls else {
        return session::run(socket, peer, "rtmp", shared, guard).await;
    };
    match timeout(TLS_HANDSHAKE, tls.accept(socket)).await {
        Ok(Ok(stream)) => session::run(stream, peer, "rtmps", shared, guard).await,
        Ok(Err(_)) | Err(_) => {
            shared.counters.protocol_errors.fetch_add(1, Ordering::Relaxed);
        }
    }
}
