//! Accepting connections.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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

use crate::limits::{HALF_OPEN_MAX, HALF_OPEN_PER_ADDRESS_MAX, PROXY_HEADER, TLS_HANDSHAKE};
use crate::session;

/// What the listener counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Connections now.
    pub open: AtomicUsize,
    /// Connections refused before their handshake, because too many were half open.
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

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) door: Door,
    pub(crate) counters: Arc<Counters>,
    pub(crate) random: fn(&mut [u8; 32]),
    pub(crate) lines: Lines,
    half_open: Mutex<HalfOpen>,
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

#[derive(Default)]
struct HalfOpen {
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
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

/// Counts a connection as half open until it is dropped.
pub(crate) struct HalfOpenGuard {
    shared: Arc<Shared>,
    /// None while a load balancer has not said whom the connection is for.
    address: Option<IpAddr>,
}

/// What the connections of one listener share.
pub(crate) fn shared(
    door: Door,
    counters: Arc<Counters>,
    random: fn(&mut [u8; 32]),
) -> Arc<Shared> {
    let lines = Lines::default();
    Arc::new(Shared { door, counters, random, lines, half_open: Mutex::default() })
}

impl Shared {
    pub(crate) fn half_open(self: &Arc<Self>) -> Option<HalfOpenGuard> {
        let mut open = self.half_open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.all >= HALF_OPEN_MAX {
            return None;
        }
        open.all += 1;
        Some(HalfOpenGuard { shared: self.clone(), address: None })
    }
}

impl HalfOpenGuard {
    /// Counts it for its address, too.
    fn of(mut self, client: SocketAddr) -> Option<Self> {
        let address = client.ip().to_canonical();
        let mut open = self.shared.half_open.lock().unwrap_or_else(PoisonError::into_inner);
        let here = open.by_address.entry(address).or_default();
        if *here >= HALF_OPEN_PER_ADDRESS_MAX {
            return None;
        }
        *here += 1;
        drop(open);
        self.address = Some(address);
        Some(self)
    }
}

impl Drop for HalfOpenGuard {
    fn drop(&mut self) {
        let mut open = self.shared.half_open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all = open.all.saturating_sub(1);
        let Some(address) = self.address else { return };
        let here = open.by_address.get(&address).copied().unwrap_or(0);
        if here <= 1 {
            open.by_address.remove(&address);
        } else {
            open.by_address.insert(address, here - 1);
        }
    }
}

/// Accepts encoders until `stop` is ready, then ends their connections as if they were lost.
/// With `tls` this is RTMPS. Who is in `balancers` must send a PROXY header. `random` fills handshakes.
pub async fn run(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    balancers: Networks,
    door: Door,
    counters: Arc<Counters>,
    random: fn(&mut [u8; 32]),
    stop: impl Future<Output = ()>,
) {
    let shared = shared(door, counters, random);
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
        let guard = shared.half_open();
        let guard = if balanced { guard } else { guard.and_then(|guard| guard.of(peer)) };
        let Some(guard) = guard else {
            shared.counters.refused_half_open.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        shared.counters.connections.fetch_add(1, Ordering::Relaxed);
        let _ = socket.set_nodelay(true);
        let (shared, tls) = (shared.clone(), tls.clone());
        let open = OpenGuard::new(&shared.counters);
        connections.spawn(async move {
            let _open = open;
            match balanced {
                true => behind_balancer(socket, peer, tls, shared, guard).await,
                false => greet(socket, peer, tls, shared, guard).await,
            }
        });
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
    match guard.of(client) {
        Some(guard) => greet(socket, client, tls, shared, guard).await,
        None => {
            shared.counters.refused_half_open.fetch_add(1, Ordering::Relaxed);
        }
    }
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
