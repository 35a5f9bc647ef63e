//! QUIC, and WebTransport on the same port. The only module that names the libraries below, so that others
//! can take their place.

mod congestion;
mod early;
mod grants;
mod room;
mod sessions;
mod shards;
#[cfg(test)]
mod simulated;
mod stream;
mod web;

use std::any::Any;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::Shared;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use quinn::{EndpointConfig, TokioRuntime, TransportConfig, VarInt};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error as TlsError, SignatureScheme};

use crate::limits;
use congestion::DelayConfig;
pub(crate) use early::Known;
use grants::Grants;
use room::Room;
use sessions::Sessions;
#[cfg(test)]
pub(crate) use simulated::{Congestion, Network, Returning};
use stream::Codes;
pub(crate) use stream::{Read, RecvStream, SendStream, WriteEnd};
use web::Web;
pub(crate) use web::fuzzing as web_fuzzing;

/// The ALPN token of HTTP/3, over which WebTransport runs (RFC 9114 §3.1).
const H3: &[u8] = b"h3";

/// What a server shows its peers.
pub struct Certificate {
    /// The server's own first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
}

/// Whom a client takes for its server.
#[derive(Debug, Clone)]
pub enum Trust {
    /// The one whose certificate has this SHA-256.
    Fingerprint([u8; 32]),
    /// Anybody. For tests, and where somebody said so.
    Anybody,
    /// Whom this lets through.
    Verified(Arc<dyn ServerCertVerifier>),
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Of the system.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Certificate and key are of no use.
    #[error("the certificate can't be used for QUIC: {0}")]
    Certificate(#[from] TlsError),
    /// The cipher that begins every QUIC connection is not there.
    #[error("TLS 1.3 with AES-128-GCM is not available")]
    Cipher(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
}

/// Why there is no connection, or no more.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address can't be used.
    #[error("can't connect: {0}")]
    Address(#[from] quinn::ConnectError),
    /// The peer, or the way to it.
    #[error("{0}")]
    Connection(#[from] quinn::ConnectionError),
    /// Its certificate is not one to trust.
    #[error("TLS: {0}")]
    Untrusted(String),
    /// It speaks something else.
    #[error("the server speaks no draft of MoQ that is spoken here")]
    Protocol,
    /// No answer.
    #[error("the peer did not finish its handshake in time")]
    TimedOut,
    /// No session of WebTransport.
    #[error(transparent)]
    Web(#[from] WebError),
}

/// Why there is no session of WebTransport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebError {
    /// Not an address that WebTransport has.
    #[error("not an https:// address")]
    Address,
    /// The connection ended on the way.
    #[error("the connection ended before its session began")]
    Lost,
    /// The peer speaks HTTP/3 and not this.
    #[error("the peer does not speak WebTransport")]
    NotWebTransport,
    /// None of the protocols is known to both.
    #[error("no protocol in common (WT-Available-Protocols)")]
    NoProtocol,
    /// The server does not want it.
    #[error("the server refused the session")]
    Refused,
}

impl ConnectError {
    /// TLS ends a QUIC handshake with 0x100 and its alert (RFC 9001 §4.8).
    fn of(error: quinn::ConnectionError) -> Self {
        let alert = |code: quinn::TransportErrorCode| u64::from(code).checked_sub(0x100);
        match &error {
            quinn::ConnectionError::TimedOut => Self::TimedOut,
            // The server is who finds that there is no common protocol.
            quinn::ConnectionError::ConnectionClosed(close)
                if alert(close.error_code) == Some(NO_APPLICATION_PROTOCOL) =>
            {
                Self::Protocol
            }
            quinn::ConnectionError::TransportError(wrong) => match alert(wrong.code) {
                Some(NO_APPLICATION_PROTOCOL) => Self::Protocol,
                // bad_certificate to certificate_unknown, unknown_ca, and access_denied: another one than was told.
                Some(42..=46 | 48 | 49) => Self::Untrusted(wrong.reason.clone()),
                _ => Self::Connection(error),
            },
            _ => Self::Connection(error),
        }
    }
}

/// RFC 7301 §3.2.
const NO_APPLICATION_PROTOCOL: u64 = 120;

/// A UDP port with everything behind it.
#[derive(Clone)]
pub struct Endpoint {
    /// One a socket: a server has some, a client has one.
    shards: Arc<[quinn::Endpoint]>,
    /// Whose turn it is to be asked first who knocks.
    turn: Arc<AtomicUsize>,
    /// What a server speaks.
    protocols: Arc<[&'static str]>,
    /// Who was at a server before.
    sessions: Arc<Sessions>,
}

/// A peer that knocks.
pub(crate) struct Incoming {
    quic: quinn::Incoming,
    protocols: Arc<[&'static str]>,
}

impl Endpoint {
    /// A server on this address, with a socket a core. `protocols` are its ALPN tokens, the most wanted first; WebTransport
    /// comes behind them by itself.
    pub fn server(
        address: SocketAddr,
        certificate: Certificate,
        protocols: &[&'static str],
    ) -> Result<Self, EndpointError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let sockets = cores.min(usize::from(limits::SOCKETS_MAX));
        Self::server_of(address, certificate, protocols, u8::try_from(sockets).unwrap_or(1))
    }

    fn server_of(
        address: SocketAddr,
        certificate: Certificate,
        protocols: &[&'static str],
        sockets: u8,
    ) -> Result<Self, EndpointError> {
        let socket = match UdpSocket::bind(address) {
            // A machine without IPv6: all of IPv4 is what was meant.
            Err(_) if address.ip() == Ipv6Addr::UNSPECIFIED => {
                UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, address.port()))?
            }
            bound => bound?,
        };
        let sockets = shards::beside(socket, sockets);
        let of = u8::try_from(sockets.len()).unwrap_or(1);
        let sessions = Arc::default();
        let config = server_config(certificate, protocols, transport(), of, &sessions)?;
        let shards = (0..of).zip(sockets).map(|(number, socket)| {
            let mut endpoint = EndpointConfig::default();
            endpoint.cid_generator(move || Box::new(shards::Ids::new(number, of)));
            let (config, same) = (Some(config.clone()), socket.try_clone()?);
            let quic = quinn::Endpoint::new(endpoint, config, socket, Arc::new(TokioRuntime))?;
            if of > 1 {
                shards::unmerged(&same);
            }
            Ok(quic)
        });
        let shards = shards.collect::<io::Result<_>>()?;
        Ok(Self { shards, turn: Arc::default(), protocols: protocols.into(), sessions })
    }

    /// One socket.
    fn of_one(quic: quinn::Endpoint) -> Self {
        let protocols = Arc::new([]);
        Self { shards: [quic].into(), turn: Arc::default(), protocols, sessions: Arc::default() }
    }

    /// Of a client the only one.
    fn quic(&self) -> &quinn::Endpoint {
        &self.shards[0]
    }

    /// A client on any free port.
    pub fn client(to: SocketAddr) -> Result<Self, EndpointError> {
        let any = match to {
            SocketAddr::V4(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        Ok(Self::of_one(quinn::Endpoint::client(any)?))
    }

    /// Where it listens.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.quic().local_addr()
    }

    /// As a server that was started anew: nobody who was here before is known.
    #[cfg(test)]
    pub(crate) fn forget_all(&self) {
        self.sessions.forget_all();
    }

    /// New connections are greeted with another certificate.
    pub fn set_certificate(&self, certificate: Certificate) -> Result<(), EndpointError> {
        let of = u8::try_from(self.shards.len()).unwrap_or(1);
        let (protocols, sessions) = (&self.protocols, &self.sessions);
        let config = server_config(certificate, protocols, transport(), of, sessions)?;
        for quic in &*self.shards {
            quic.set_server_config(Some(config.clone()));
        }
        Ok(())
    }

    /// The next peer that knocks; nothing once the endpoint is closed.
    pub(crate) async fn accept(&self) -> Option<Incoming> {
        let (_, incoming) = self.accept_at().await?;
        Some(incoming)
    }

    /// And the number of the socket at which it does.
    async fn accept_at(&self) -> Option<(usize, Incoming)> {
        let (of, turn) = (self.shards.len(), self.turn.load(Ordering::Relaxed));
        // Those behind the last one come first: who fills one socket keeps nobody from the others.
        let mut next: FuturesUnordered<_> = shards::in_turn(turn, of)
            .map(|number| async move { (number, self.shards[number].accept().await) })
            .collect();
        // A socket that is closed is no end of the others.
        let (number, quic) = loop {
            if let (number, Some(quic)) = next.next().await? {
                break (number, quic);
            }
        };
        self.turn.store((number + 1) % of, Ordering::Relaxed);
        Some((number, Incoming { quic, protocols: self.protocols.clone() }))
    }

    /// Connects to a server as a client that speaks these protocols.
    pub async fn connect(
        &self,
        to: SocketAddr,
        name: &str,
        trust: Trust,
        protocols: &[&str],
    ) -> Result<Connection, ConnectError> {
        let config = client_config(trust, protocols)
            .map_err(|_| ConnectError::Address(quinn::ConnectError::NoDefaultClientConfig))?;
        let connecting = self.quic().connect_with(config, to, name)?;
        Ok(Connection::raw(finish(connecting).await?))
    }

    /// Begins a session of WebTransport as a client that speaks these protocols. `url` begins with
    /// `https://`, and its path may hold a secret.
    pub async fn connect_web(
        &self,
        to: SocketAddr,
        url: &str,
        trust: Trust,
        protocols: &[&str],
    ) -> Result<Connection, ConnectError> {
        let url: url::Url = url.parse().map_err(|_| WebError::Address)?;
        let request = web_transport_proto::ConnectRequest::new(url);
        let request = request.with_protocols(protocols.iter().map(|&p| p.to_owned()));
        self.ask_web(to, request, trust).await
    }

    async fn ask_web(
        &self,
        to: SocketAddr,
        request: web_transport_proto::ConnectRequest,
        trust: Trust,
    ) -> Result<Connection, ConnectError> {
        let name = request.url.host_str().ok_or(WebError::Address)?;
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let config = client_config(trust, &["h3"])
            .map_err(|_| ConnectError::Address(quinn::ConnectError::NoDefaultClientConfig))?;
        let quic = finish(self.quic().connect_with(config, to, name)?).await?;
        in_time(Web::connect(quic, request)).await
    }

    /// Closes everything; peers are told.
    pub fn close(&self) {
        for quic in &*self.shards {
            quic.close(VarInt::from_u32(0), b"");
        }
    }

    /// Until the last word has gone out.
    pub async fn wait_idle(&self) {
        for quic in &*self.shards {
            quic.wait_idle().await;
        }
    }
}

impl Incoming {
    pub(crate) fn peer(&self) -> SocketAddr {
        self.quic.remote_address()
    }

    pub(crate) fn refuse(self) {
        self.quic.refuse();
    }

    /// Whether it may still be asked to show that the address is its own.
    pub(crate) fn unproved(&self) -> bool {
        !self.quic.remote_address_validated() && self.quic.may_retry()
    }

    /// Asks that. Nothing is kept of it here: it comes again with what it was sent. RFC 9000 §8.1.2.
    pub(crate) fn prove(self) {
        // Refused only to who has proved it.
        let _ = self.quic.retry();
    }

    /// Begins with it. What a peer says that has been here before comes with its first packet, and is answered with our
    /// first one: the handshake goes on beside that ([`Connection::established`]).
    pub(crate) async fn accept(self) -> Result<Connection, ConnectError> {
        let first_peer = self.peer();
        // Not where it is by now: a session of WebTransport begins later.
        Ok(Connection { first_peer, ..self.shake_hands().await? })
    }

    async fn shake_hands(self) -> Result<Connection, ConnectError> {
        let mut connecting = self.quic.accept()?;
        let data = tokio::time::timeout(limits::HANDSHAKE, connecting.handshake_data()).await;
        let data = data.map_err(|_| ConnectError::TimedOut)?.map_err(ConnectError::of)?;
        let web = protocol_of(data).as_deref() == Some(H3);
        // Browsers do not ask for a session before they have our settings, which may go out with our part of the
        // handshake (RFC 9114 §7.2.4.2): a round trip less.
        let (quic, established) = match connecting.into_0rtt() {
            Ok((quic, established)) => (quic, Some(established.shared())),
            Err(connecting) => (finish(connecting).await?, None),
        };
        let connection = match web {
            true => in_time(Web::accept(quic, &self.protocols)).await?,
            false => Connection::raw(quic),
        };
        // Also who asks for a session of WebTransport may do so with its first packet.
        Ok(Connection { early: established, ..connection })
    }
}

async fn finish(connecting: quinn::Connecting) -> Result<quinn::Connection, ConnectError> {
    match tokio::time::timeout(limits::HANDSHAKE, connecting).await {
        Ok(connected) => connected.map_err(ConnectError::of),
        Err(_) => Err(ConnectError::TimedOut),
    }
}

async fn in_time(
    session: impl Future<Output = Result<Web, WebError>>,
) -> Result<Connection, ConnectError> {
    match tokio::time::timeout(limits::HANDSHAKE, session).await {
        Ok(web) => Ok(Connection::web(web?)),
        Err(_) => Err(ConnectError::TimedOut),
    }
}

fn alpn(quic: &quinn::Connection) -> Option<Vec<u8>> {
    protocol_of(quic.handshake_data()?)
}

fn protocol_of(data: Box<dyn Any>) -> Option<Vec<u8>> {
    data.downcast::<HandshakeData>().ok()?.protocol
}

fn transport() -> TransportConfig {
    let mut config = TransportConfig::default();
    // Exact priorities need fairness: without it a stream that always has data keeps the wire for ever.
    config
        .send_fairness(true)
        .max_concurrent_bidi_streams(VarInt::from_u32(limits::REQUEST_STREAMS_FIRST))
        .max_concurrent_uni_streams(VarInt::from_u32(limits::DATA_STREAMS_FIRST))
        .stream_receive_window(VarInt::from_u32(limits::STREAM_WINDOW))
        .receive_window(VarInt::from_u32(limits::RECEIVE_WINDOW))
        .send_window(limits::SEND_WINDOW)
        .datagram_receive_buffer_size(Some(limits::DATAGRAM_BUFFER))
        .datagram_send_buffer_size(limits::DATAGRAM_SEND_BUFFER)
        .keep_alive_interval(Some(limits::KEEP_ALIVE))
        .max_idle_timeout(quinn::IdleTimeout::try_from(limits::IDLE).ok());
    let mut acks = quinn::AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(limits::ACK_THRESHOLD));
    config.ack_frequency_config(Some(acks));
    let mut congestion = quinn::congestion::CubicConfig::default();
    congestion.initial_window(limits::INITIAL_WINDOW);
    config.congestion_controller_factory(Arc::new(DelayConfig(Arc::new(congestion))));
    config
}

fn server_config(
    certificate: Certificate,
    protocols: &[&str],
    mut transport: TransportConfig,
    sockets: u8,
    sessions: &Arc<Sessions>,
) -> Result<quinn::ServerConfig, EndpointError> {
    transport.receive_window(VarInt::from_u32(limits::RECEIVE_WINDOW_FIRST));
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(certificate.chain, certificate.key)?;
    tls.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    tls.alpn_protocols.push(H3.to_vec());
    // 0-RTT, by RFC 9001 §4.6.1 all or nothing. What resumes a session is kept here and given out once: what is said early
    // can't be said again by others (RFC 8446 §8.1).
    tls.max_early_data_size = u32::MAX;
    tls.session_storage = sessions.clone();
    let crypto = QuicServerConfig::try_from(tls)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let sockets = usize::from(sockets.max(1));
    config
        .transport_config(Arc::new(transport))
        .max_incoming(limits::INCOMING)
        .incoming_buffer_size(limits::EARLY_BYTES)
        .incoming_buffer_size_total(limits::EARLY_BYTES_ALL / sockets as u64);
    Ok(config)
}

fn client_config(trust: Trust, protocols: &[&str]) -> Result<quinn::ClientConfig, EndpointError> {
    let provider = provider();
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Fingerprint(hash) => {
            Arc::new(Verifier { hash: Some(hash), provider: provider.clone() })
        }
        Trust::Anybody => Arc::new(Verifier { hash: None, provider: provider.clone() }),
        Trust::Verified(verifier) => verifier,
    };
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    tls.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    tls.enable_early_data = true;
    let crypto = QuicClientConfig::try_from(tls)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport()));
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Checks a server by its fingerprint, as browsers do with `serverCertificateHashes`.
#[derive(Debug)]
struct Verifier {
    /// None: anybody.
    hash: Option<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        match self.hash {
            Some(wanted) if fingerprint(certificate) != wanted => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        // QUIC is TLS 1.3.
        Err(TlsError::General("TLS 1.2 in QUIC".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The SHA-256 of a certificate.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    let digest = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, certificate);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// A connection: QUIC itself, or a session of WebTransport on it. Clones share it.
#[derive(Clone)]
pub struct Connection {
    quic: quinn::Connection,
    /// Where its handshake came from.
    first_peer: SocketAddr,
    room: Arc<Room>,
    grants: Arc<Grants>,
    web: Option<Arc<Web>>,
    /// Ready once the handshake is over, if it was not when this was made.
    early: Option<Shared<quinn::ZeroRttAccepted>>,
    /// What was spoken the last time, with a server that is known from then.
    resumed: Option<Vec<u8>>,
}

impl Connection {
    /// Waits for the end of the handshake. Whether the connection stands then. Before it what comes in 0-RTT may have any
    /// address for its sender's (RFC 9000 §8.1).
    pub(crate) async fn established(&self) -> bool {
        if let Some(early) = self.early.clone() {
            early.await;
        }
        !self.is_over()
    }

    fn raw(quic: quinn::Connection) -> Self {
        let (room, grants) = (Arc::new(Room::new(quic.clone())), Grants::new(quic.clone()));
        let first_peer = quic.remote_address();
        Self { room, grants, quic, first_peer, web: None, early: None, resumed: None }
    }

    fn web(web: Web) -> Self {
        let (quic, room, grants) = (web.quic().clone(), web.room().clone(), web.grants().clone());
        let first_peer = quic.remote_address();
        let (web, early, resumed) = (Some(Arc::new(web)), None, None);
        Self { quic, room, grants, first_peer, web, early, resumed }
    }

    /// What was negotiated, by ALPN or by the session's handshake.
    pub fn protocol(&self) -> Option<Vec<u8>> {
        match &self.web {
            Some(web) => Some(web.hello.protocol.clone().into_bytes()),
            None => alpn(&self.quic).or_else(|| self.resumed.clone()),
        }
    }

    /// What carries it.
    pub fn transport(&self) -> moqt::session::Transport {
        match self.web {
            Some(_) => moqt::session::Transport::WebTransport,
            None => moqt::session::Transport::Quic,
        }
    }

    /// The address that a session of WebTransport was opened at, and by whom.
    pub fn address(&self) -> Option<&Address> {
        self.web.as_ref().map(|web| &web.hello.address)
    }

    /// Where the handshake came from: proved once that is over (RFC 9000 §8.1).
    pub(crate) fn first_peer(&self) -> SocketAddr {
        self.first_peer
    }

    /// Where the peer is now, or says it is: what comes from there is not proved to (RFC 9000 §9.3).
    pub fn peer(&self) -> SocketAddr {
        self.quic.remote_address()
    }

    /// It is a node that pulls from us.
    pub(crate) fn is_node(&self) {
        self.grants.node();
    }

    /// It is one that we pull from.
    pub(crate) fn is_upstream(&self) {
        self.grants.upstream();
    }

    /// What has to be polled beside the streams for as long as the connection lasts. Once: a second call
    /// has nothing to do.
    pub(crate) fn pump(&self) -> impl Future<Output = ()> + Send + use<> {
        let pump = self.web.as_ref().and_then(|web| web.take_pump());
        async move {
            if let Some(pump) = pump {
                pump.run().await;
            }
        }
    }

    /// Ends it; the peer is told the code and the words.
    pub fn close(&self, code: u64, reason: &str) {
        match &self.web {
            Some(web) => web.close(code, reason),
            None => self.quic.close(Codes::Quic.write(code), reason.as_bytes()),
        }
    }

    /// Waits for its end: whether the peer said goodbye with code 0, and the words.
    pub(crate) async fn closed(&self) -> Ended {
        match &self.web {
            Some(web) => web.closed().await,
            None => Ended::from(self.quic.closed().await),
        }
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.quic.close_reason().is_some()
    }

    /// Waits until the last words are with the peer, or the peer is gone.
    pub(crate) async fn flushed(&self) {
        match &self.web {
            Some(web) => web.flushed().await,
            None => drop(self.quic.closed().await),
        }
    }

    pub(crate) async fn accept_bi(&self) -> Option<(SendStream, RecvStream)> {
        if let Some(web) = &self.web {
            return web.accept_bi().await;
        }
        let (send, recv) = self.quic.accept_bi().await.ok()?;
        let granted = Some(self.grants.request());
        let send = SendStream::new(send, Codes::Quic, &self.room).granted(granted.clone());
        Some((send, RecvStream::new(recv, Codes::Quic).granted(granted)))
    }

    pub(crate) async fn accept_uni(&self) -> Option<RecvStream> {
        if let Some(web) = &self.web {
            return web.accept_uni().await;
        }
        let recv = self.quic.accept_uni().await.ok()?;
        Some(RecvStream::new(recv, Codes::Quic).granted(Some(self.grants.data())))
    }

    pub(crate) async fn open_bi(&self) -> Option<(SendStream, RecvStream)> {
        if let Some(web) = &self.web {
            return web.open_bi().await;
        }
        let (send, recv) = self.quic.open_bi().await.ok()?;
        Some((SendStream::new(send, Codes::Quic, &self.room), RecvStream::new(recv, Codes::Quic)))
    }

    pub(crate) async fn open_uni(&self) -> Option<SendStream> {
        if let Some(web) = &self.web {
            return web.open_uni().await;
        }
        let send = self.quic.open_uni().await.ok()?;
        Some(SendStream::new(send, Codes::Quic, &self.room))
    }

    pub(crate) async fn read_datagram(&self) -> Option<Bytes> {
        match &self.web {
            Some(web) => web.read_datagram().await,
            None => self.quic.read_datagram().await.ok(),
        }
    }

    /// Waits until a datagram as urgent as this may be sent: no stream that is more urgent waits
    /// for room, and QUIC has few of them to send. What it has of streams already they pass all the
    /// same.
    pub(crate) async fn datagrams_turn(&self, urgency: impl Fn() -> i32) {
        self.room.datagrams_turn(urgency).await;
    }

    /// Sends a datagram, or drops it: it is too large for the path, or the connection is over.
    pub(crate) fn send_datagram(&self, datagram: Bytes) -> bool {
        match &self.web {
            Some(web) => web.send_datagram(&datagram),
            None => self.quic.send_datagram(datagram).is_ok(),
        }
    }

    /// The peer publishes: more of it may be in flight.
    pub(crate) fn receives(&self) {
        self.quic.set_receive_window(VarInt::from_u32(limits::RECEIVE_WINDOW));
    }

    /// How the path does, in numbers.
    pub fn numbers(&self) -> PathNumbers {
        let stats = self.quic.stats();
        PathNumbers {
            round_trip: stats.path.rtt,
            congestion_window: stats.path.cwnd,
            bytes_sent: stats.udp_tx.bytes,
            bytes_received: stats.udp_rx.bytes,
            packets_sent: stats.path.sent_packets,
            packets_lost: stats.path.lost_packets,
        }
    }

    /// How long a packet takes there and back.
    pub fn round_trip(&self) -> Duration {
        self.quic.rtt()
    }
}

/// How a path does, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathNumbers {
    /// How long a packet takes there and back.
    pub round_trip: Duration,
    /// How many bytes may be under way to the peer.
    pub congestion_window: u64,
    /// Bytes of all datagrams that were sent.
    pub bytes_sent: u64,
    /// And received.
    pub bytes_received: u64,
    /// Packets that were sent.
    pub packets_sent: u64,
    /// Packets that were lost of these.
    pub packets_lost: u64,
}

/// Where a session of WebTransport was opened.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Path and query. They may hold a secret: not for logs.
    pub path: String,
    /// Host and port.
    pub authority: String,
    /// The page that opened it (`Origin`); none if it was no page.
    pub origin: Option<String>,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The peer's code, if it closed the connection itself.
    pub code: Option<u64>,
    /// In words, the peer's or ours. A stranger's: to be escaped.
    pub reason: String,
}

impl From<quinn::ConnectionError> for Ended {
    fn from(error: quinn::ConnectionError) -> Self {
        let code = match &error {
            quinn::ConnectionError::ApplicationClosed(close) => Some(close.error_code.into_inner()),
            _ => None,
        };
        Self { code, reason: error.to_string() }
    }
}
