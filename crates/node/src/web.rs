//! Serving HTTP: connections with their deadlines and bounds, in clear and over TLS, HTTP/1.1 and
//! HTTP/2.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use acme::challenges::ACME_TLS;
use axum::Router;
use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown, Watcher};
use proxy::network::Networks;
use proxy::seldom::Seldom;
use proxy::share::Shares;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use crate::arrival::{self, Way};
use crate::bodies::Timely;
use crate::config::Config;
use crate::descriptors;
use crate::limits::{DRAIN, HANDSHAKE, HEAD_BYTES_MAX, STREAMS_MAX, UNSENT_BYTES};
use crate::patient::Patient;
use crate::streams::Streams;
use crate::unread::{Answers, Unread};

/// What the HTTP listeners count.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Connections accepted.
    pub(crate) connections: AtomicU64,
    /// Connections now.
    pub(crate) open: AtomicU64,
    /// Connections refused because there were too many.
    pub(crate) refused: AtomicU64,
    /// Connections refused because their address has too many.
    pub(crate) refused_address: AtomicU64,
    /// TLS handshakes that failed or took too long.
    pub(crate) handshakes_failed: AtomicU64,
    /// Connections of trusted load balancers that did not say whom they are for.
    pub(crate) proxy_lies: AtomicU64,
    /// Connections ended because an answer was not read.
    pub(crate) unread: AtomicU64,
    /// What is logged of connections that could not be accepted.
    accept_lines: Seldom,
    /// What is logged of [`Counters::proxy_lies`].
    lie_lines: Seldom,
}

/// What the HTTP listeners have in common.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) counters: Arc<Counters>,
    /// Places for connections, on all of them.
    room: Arc<Semaphore>,
    /// Connections of each address, on all of them.
    pub(crate) per_address: Arc<Shares>,
    /// Whose `X-Forwarded-For` is believed.
    pub(crate) proxies: Arc<Networks>,
}

impl Common {
    /// As it is configured. One address has a quarter of the places at most, where they are few.
    pub(crate) fn of(config: &Config, counters: Arc<Counters>) -> Self {
        let places = descriptors::http_connections();
        let quarter = u32::try_from(places.div_ceil(4)).unwrap_or(u32::MAX);
        let each = config.limits.http_connections_per_address.min(quarter);
        let proxies = Arc::new(config.http.trusted_proxies.clone());
        let room = Arc::new(Semaphore::new(places));
        Self { counters, room, per_address: Shares::configured(usize::MAX, each), proxies }
    }

    /// Of a listener by itself, for the operator: who looks after a node finds a place when viewers have taken theirs.
    pub(crate) fn alone() -> Self {
        let (counters, proxies) = (Arc::default(), Arc::default());
        let room = Arc::new(Semaphore::new(descriptors::http_connections().div_ceil(8)));
        Self { counters, room, per_address: Shares::configured(usize::MAX, 0), proxies }
    }
}

/// What answers, by the way that a request came: URLs that are handed out differ, and who may use the API.
#[derive(Clone)]
pub(crate) struct Routers {
    pub(crate) direct: Router,
    pub(crate) proxied: Router,
    pub(crate) proxied_secure: Router,
}

impl Routers {
    /// One for all.
    pub(crate) fn one(router: Router) -> Self {
        Self { direct: router.clone(), proxied: router.clone(), proxied_secure: router }
    }

    fn of(&self, way: Way) -> Router {
        match way {
            Way::Direct => &self.direct,
            Way::Proxied => &self.proxied,
            Way::ProxiedSecure => &self.proxied_secure,
        }
        .clone()
    }
}

/// One of them.
pub(crate) struct Front {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) routers: Routers,
    /// Who must send a PROXY header.
    pub(crate) balancers: Arc<Networks>,
    pub(crate) common: Common,
}

/// What a connection needs of its listener.
#[derive(Clone)]
struct Serving {
    tls: Option<TlsAcceptor>,
    routers: Routers,
    balancers: Arc<Networks>,
    common: Common,
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

/// Serves until `stop`, then lets answers finish.
pub(crate) async fn serve(front: Front, stop: impl Future<Output = ()>) {
    let Front { listener, tls, routers, balancers, common } = front;
    let counters = common.counters.clone();
    let room = common.room.clone();
    let service = Serving { tls, routers, balancers, common };
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "http: a connection's task failed");
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(line) = counters.accept_lines.line(Instant::now()) {
                    tracing::warn!(%error, left_out = line.left_out, "http: accept failed");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(permit) = room.clone().try_acquire_owned() else {
            counters.refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        counters.connections.fetch_add(1, Ordering::Relaxed);
        let _ = socket.set_nodelay(true);
        // Best effort: what has gone into the system's buffer is out of our hands, whoever reads it, and when.
        let _ = SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT_BYTES);
        let (service, watcher) = (service.clone(), graceful.watcher());
        let open = OpenGuard::new(&counters);
        connections.spawn(async move {
            let (_permit, _open) = (permit, open);
            service.greet(socket, peer, watcher).await;
        });
    }
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
    connections.shutdown().await;
}

type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

impl Serving {
    /// Finds out who came, and encrypts.
    async fn greet(self, mut socket: TcpStream, peer: SocketAddr, watcher: Watcher) {
        let counters = &self.common.counters;
        let client = match arrival::client(&mut socket, peer, &self.balancers).await {
            Ok(client) => client,
            // A balancer that looks whether somebody is there.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return,
            Err(error) => {
                counters.proxy_lies.fetch_add(1, Ordering::Relaxed);
                if let Some(line) = counters.lie_lines.line(Instant::now()) {
                    let left_out = line.left_out;
                    tracing::warn!(%peer, %error, left_out, "http: connection refused");
                }
                return;
            }
        };
        // Those of a proxy are of many people.
        let own = !self.common.proxies.have(client.ip());
        let counted = own.then(|| self.common.per_address.enter(Some(client.ip())));
        if matches!(counted, Some(Err(_))) {
            counters.refused_address.fetch_add(1, Ordering::Relaxed);
            return;
        }
        match &self.tls {
            None => self.answer(socket, client, watcher).await,
            Some(tls) => match handshake(tls, socket).await {
                // RFC 8737 §3: who looked for a proof has seen it; nothing else is said.
                Some(mut stream) if stream.get_ref().1.alpn_protocol() == Some(ACME_TLS) => {
                    let _ = tokio::time::timeout(HANDSHAKE, stream.shutdown()).await;
                }
                Some(stream) => self.answer(stream, client, watcher).await,
                None => {
                    counters.handshakes_failed.fetch_add(1, Ordering::Relaxed);
                }
            },
        }
    }

    async fn answer<S>(&self, stream: S, client: SocketAddr, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let answers = Answers::new();
        // A proxy that speaks HTTP/2 has answers of many people, and deadlines of its own.
        let proxied = self.common.proxies.have(client.ip());
        let streams = if proxied { Streams::Apart } else { Streams::together() };
        let mut unread = (!proxied).then(|| Unread::of(&answers));
        let connection = connection(stream, client, self, &answers, streams.clone());
        let watched = pin!(watcher.watch(connection));
        let mut serving = streams.with(watched);
        let ended = poll_fn(|cx| match Pin::new(&mut serving).poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending => match &mut unread {
                Some(unread) => unread.poll(cx).map(|()| None),
                None => Poll::Pending,
            },
        });
        match ended.await {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::debug!(peer = %client, %error, "http: connection ended");
            }
            None => {
                self.common.counters.unread.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(peer = %client, "http: connection ended: an answer is not read");
            }
        }
    }
}

async fn handshake(tls: &TlsAcceptor, socket: TcpStream) -> Option<TlsStream> {
    tokio::time::timeout(HANDSHAKE, tls.accept(socket)).await.ok()?.ok()
}

fn connection<S>(
    stream: S,
    client: SocketAddr,
    of: &Serving,
    answers: &Arc<Answers>,
    streams: Streams,
) -> impl GracefulConnection<Error = Box<dyn std::error::Error + Send + Sync>> + use<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (routers, proxies) = (of.routers.clone(), of.common.proxies.clone());
    let answers = answers.clone();
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let version = request.version();
        let (head, body) = request.into_parts();
        let (body, late) = Timely::new(body);
        let mut request = Request::from_parts(head, axum::body::Body::new(body));
        let answers = answers.clone();
        let wrong = wrong_host(version, request.headers());
        let way = arrival::introduce(&mut request, client, &proxies);
        let answered = match wrong {
            None => Ok(routers.of(way).call(request)),
            Some(words) => Err(words),
        };
        async move {
            let response = match answered {
                Ok(answered) => answered.await?,
                Err(words) => (StatusCode::BAD_REQUEST, words).into_response(),
            };
            let response = without_a_body(late.told(response, version), version);
            Ok::<_, Infallible>(answers.follow(response))
        }
    });
    let mut builder = Builder::new(streams);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(HANDSHAKE);
    let stream = TokioIo::new(Patient::new(stream, HANDSHAKE));
    builder.serve_connection(stream, service).into_owned()
}

/// RFC 9112 §3.2: one Host, and an authority, so that nobody in between believes another one, and pages name what is one. In
/// HTTP/2 it stands in the target, and before HTTP/1.1 it may be missing.
fn wrong_host(version: Version, fields: &HeaderMap) -> Option<&'static str> {
    let mut hosts = fields.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::HTTP_11 => Some("a request of HTTP/1.1 has a Host\n"),
        (None, _) => None,
        (Some(_), Some(_)) => Some("more than one Host\n"),
        (Some(host), None) => (!is_host(host)).then_some("this Host is none\n"),
    }
}

/// RFC 9110 §7.2: a name or address, with a port or without, and nobody's name before it.
fn is_host(value: &HeaderValue) -> bool {
    let Ok(authority) = Authority::try_from(value.as_bytes()) else { return false };
    let port = authority.as_str().strip_prefix(authority.host());
    let digits = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    let port = port.is_some_and(|p| p.is_empty() || p.strip_prefix(':').is_some_and(digits));
    port && !authority.host().is_empty()
}

/// RFC 9110 §8.6: what has no body says no length, not even to HEAD. RFC 9112 §9.6: where the rest of a body is not read, the
/// connection ends, and says so.
fn without_a_body(mut response: Response, version: Version) -> Response {
    let (status, fields) = (response.status(), response.headers_mut());
    if status == StatusCode::NO_CONTENT {
        fields.remove(header::CONTENT_LENGTH);
    }
    // HTTP/2 has streams to end.
    if status == StatusCode::PAYLOAD_TOO_LARGE && version < Version::HTTP_2 {
        fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[cfg(test)]
mod tests;
