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
use hyper_util::server::graceful::GracefulConnection;
use proxy::network::Networks;
use proxy::seldom::Seldom;
use proxy::share::{Share, Shares};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use crate::arrival::{self, Way};
use crate::bodies::Timely;
use crate::config::Config;
use crate::descriptors;
use crate::limits::{DRAIN, HANDSHAKE, HEAD_BYTES_MAX, IDLE, LEAVE, STREAMS_MAX, UNSENT_BYTES};
use crate::patient::Patient;
use crate::streams::{self, Streams};
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
    /// Which of them check each viewer of what they keep.
    pub(crate) checking: Arc<Networks>,
}

impl Common {
    /// As it is configured. One address has a quarter of the places at most, where they are few.
    pub(crate) fn of(config: &Config, counters: Arc<Counters>) -> Self {
        let places = descriptors::http_connections();
        let quarter = u32::try_from(places.div_ceil(4)).unwrap_or(u32::MAX);
        let each = config.limits.http_connections_per_address.min(quarter);
        let proxies = Arc::new(config.http.trusted_proxies.clone());
        let checking = Arc::new(config.http.checking_caches.clone());
        let room = Arc::new(Semaphore::new(places));
        let per_address = Shares::configured(usize::MAX, each);
        Self { counters, room, per_address, proxies, checking }
    }

    /// Of a listener by itself, for the operator: who looks after a node finds a place when viewers have taken theirs.
    pub(crate) fn alone() -> Self {
        let (counters, proxies, checking) = (Arc::default(), Arc::default(), Arc::default());
        let room = Arc::new(Semaphore::new(descriptors::http_connections().div_ceil(8)));
        let per_address = Shares::configured(usize::MAX, 0);
        Self { counters, room, per_address, proxies, checking }
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
    let (say, stopping) = watch::channel(false);
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
        let (service, stopping) = (service.clone(), stopping.clone());
        let open = OpenGuard::new(&counters);
        connections.spawn(async move {
            let (_permit, _open) = (permit, open);
            service.whole(socket, peer, stopping).await;
        });
    }
    say.send_replace(true);
    let ended = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN, ended).await;
    connections.shutdown().await;
}

/// Whether the listener stops.
type Stopping = watch::Receiver<bool>;

type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

/// Somebody who came.
struct Greeted {
    client: SocketAddr,
    /// His place among those of his address.
    _counted: Option<Share>,
    stream: Stream,
}

enum Stream {
    Clear(TcpStream),
    Encrypted(Box<TlsStream>),
}

impl Serving {
    /// One connection from its beginning to its end.
    async fn whole(self, socket: TcpStream, peer: SocketAddr, stopping: Stopping) {
        // In memory of its own, which goes with it: what follows is there for long, and small.
        let Some(greeted) = Box::pin(self.greet(socket, peer)).await else { return };
        let Greeted { client, _counted, stream } = greeted;
        match stream {
            Stream::Clear(stream) => self.answer(stream, client, stopping).await,
            Stream::Encrypted(stream) => self.answer(*stream, client, stopping).await,
        }
    }

    /// Finds out who came, and encrypts. None: nothing is answered.
    async fn greet(&self, mut socket: TcpStream, peer: SocketAddr) -> Option<Greeted> {
        let counters = &self.common.counters;
        let client = match arrival::client(&mut socket, peer, &self.balancers).await {
            Ok(client) => client,
            // A balancer that looks whether somebody is there.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return None,
            Err(error) => {
                counters.proxy_lies.fetch_add(1, Ordering::Relaxed);
                if let Some(line) = counters.lie_lines.line(Instant::now()) {
                    let left_out = line.left_out;
                    tracing::warn!(%peer, %error, left_out, "http: connection refused");
                }
                return None;
            }
        };
        // Those of a proxy are of many people.
        let own = !self.common.proxies.have(client.ip());
        let counted = match own.then(|| self.common.per_address.enter(Some(client.ip()))) {
            Some(Err(_)) => {
                counters.refused_address.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            Some(Ok(counted)) => Some(counted),
            None => None,
        };
        let stream = match &self.tls {
            None => Stream::Clear(socket),
            Some(tls) => match handshake(tls, socket).await {
                // RFC 8737 §3: who looked for a proof has seen it; nothing else is said.
                Some(mut stream) if stream.get_ref().1.alpn_protocol() == Some(ACME_TLS) => {
                    let _ = tokio::time::timeout(HANDSHAKE, stream.shutdown()).await;
                    return None;
                }
                Some(stream) => Stream::Encrypted(Box::new(stream)),
                None => {
                    counters.handshakes_failed.fetch_add(1, Ordering::Relaxed);
                    return None;
                }
            },
        };
        Some(Greeted { client, _counted: counted, stream })
    }

    /// Not async itself: what is handed on to it would have room here, there and in the connection.
    fn answer<S>(
        &self,
        stream: S,
        client: SocketAddr,
        stopping: Stopping,
    ) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let answers = Answers::new();
        // A proxy that speaks HTTP/2 has answers of many people, and deadlines of its own.
        let proxied = self.common.proxies.have(client.ip());
        let streams = if proxied { Streams::Apart } else { Streams::together() };
        let unread = (!proxied).then(|| Unread::of(&answers));
        let connection = Box::pin(connection(stream, client, self, &answers, streams.clone()));
        let counters = self.common.counters.clone();
        let serving = streams.with(connection);
        attend(serving, answers, unread, (client, counters), stopping)
    }
}

/// Until a connection has ended, or is to end.
async fn attend<C: GracefulConnection<Error: std::fmt::Display>>(
    mut serving: streams::Serving<Pin<Box<C>>>,
    answers: Arc<Answers>,
    mut unread: Option<Unread>,
    (client, counters): (SocketAddr, Arc<Counters>),
    mut stopping: Stopping,
) {
    let mut stopped = pin!(stopping.wait_for(|stop| *stop));
    let mut leaving = false;
    let ended = poll_fn(|cx| {
        if !leaving && stopped.as_mut().poll(cx).is_ready() {
            leaving = true;
            serving.connection().as_mut().graceful_shutdown();
        }
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut serving).poll(cx) {
                return Poll::Ready(Ended::Served(ended));
            }
            let Some(unread) = &mut unread else { return Poll::Pending };
            if unread.poll(cx).is_ready() {
                return Poll::Ready(Ended::Unread);
            }
            // Pings wake it up often enough to look. Over HTTP/1.1 the next head is waited for by hyper, and not for so long.
            match answers.idle() {
                Some(idle) if idle >= IDLE + LEAVE => return Poll::Ready(Ended::Idle),
                Some(idle) if idle >= IDLE && !leaving => {
                    leaving = true;
                    serving.connection().as_mut().graceful_shutdown();
                }
                _ => return Poll::Pending,
            }
        }
    });
    match ended.await {
        Ended::Served(Ok(())) => {}
        Ended::Served(Err(error)) => {
            tracing::debug!(peer = %client, %error, "http: connection ended");
        }
        Ended::Unread => {
            counters.unread.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(peer = %client, "http: connection ended: an answer is not read");
        }
        Ended::Idle => {
            tracing::debug!(peer = %client, "http: connection ended: nothing was asked");
        }
    }
}

/// How a connection ends.
enum Ended<E> {
    Served(Result<(), E>),
    Unread,
    Idle,
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
    let checking = of.common.checking.clone();
    let answers = answers.clone();
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let version = request.version();
        let (head, body) = request.into_parts();
        let (body, late) = Timely::new(body);
        let mut request = Request::from_parts(head, axum::body::Body::new(body));
        let asked = answers.asked();
        let wrong = wrong_host(version, request.headers());
        let way = arrival::introduce(&mut request, client, &proxies, &checking);
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
            Ok::<_, Infallible>(Answers::follow(asked, response))
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
