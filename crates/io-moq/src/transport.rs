//! QUIC. The only module that names the library below, so that another one can take its place.

use std::any::Any;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use quinn::{EndpointConfig, TokioRuntime, TransportConfig, VarInt};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error as TlsError, SignatureScheme};

use crate::limits;

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
}

impl ConnectError {
    /// TLS ends a QUIC handshake with 0x100 and its alert (RFC 9001 §4.8).
    fn of(error: quinn::ConnectionError) -> Self {
        let quinn::ConnectionError::TransportError(wrong) = &error else {
            return match error {
                quinn::ConnectionError::TimedOut => Self::TimedOut,
                other => Self::Connection(other),
            };
        };
        match u64::from(wrong.code).checked_sub(0x100) {
            Some(NO_APPLICATION_PROTOCOL) => Self::Protocol,
            // bad_certificate to certificate_unknown, and unknown_ca.
            Some(42..=46 | 48) => Self::Untrusted(wrong.reason.clone()),
            _ => Self::Connection(error),
        }
    }
}

/// RFC 7301 §3.2.
const NO_APPLICATION_PROTOCOL: u64 = 120;

/// A UDP socket with everything behind it.
#[derive(Clone)]
pub struct Endpoint(quinn::Endpoint);

/// A peer that knocks.
pub(crate) struct Incoming(quinn::Incoming);

impl Endpoint {
    /// A server on this address. `protocols` are its ALPN tokens, the most wanted first.
    pub fn server(
        address: SocketAddr,
        certificate: Certificate,
        protocols: &[&str],
    ) -> Result<Self, EndpointError> {
        let config = server_config(certificate, protocols)?;
        let socket = match UdpSocket::bind(address) {
            // A machine without IPv6: all of IPv4 is what was meant.
            Err(_) if address.ip() == Ipv6Addr::UNSPECIFIED => {
                UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, address.port()))?
            }
            bound => bound?,
        };
        let runtime = Arc::new(TokioRuntime);
        let endpoint =
            quinn::Endpoint::new(EndpointConfig::default(), Some(config), socket, runtime)?;
        Ok(Self(endpoint))
    }

    /// A client on any free port.
    pub fn client(to: SocketAddr) -> Result<Self, EndpointError> {
        let any = match to {
            SocketAddr::V4(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        Ok(Self(quinn::Endpoint::client(any)?))
    }

    /// Where it listens.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// New connections are greeted with another certificate.
    pub fn set_certificate(
        &self,
        certificate: Certificate,
        protocols: &[&str],
    ) -> Result<(), EndpointError> {
        self.0.set_server_config(Some(server_config(certificate, protocols)?));
        Ok(())
    }

    /// The next peer that knocks; nothing once the endpoint is closed.
    pub(crate) async fn accept(&self) -> Option<Incoming> {
        self.0.accept().await.map(Incoming)
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
        let connecting = self.0.connect_with(config, to, name)?;
        finish(connecting).await
    }

    /// Closes everything; peers are told.
    pub fn close(&self) {
        self.0.close(VarInt::from_u32(0), b"");
    }

    /// Until the last word has gone out.
    pub async fn wait_idle(&self) {
        self.0.wait_idle().await;
    }
}

impl Incoming {
    pub(crate) fn peer(&self) -> SocketAddr {
        self.0.remote_address()
    }

    pub(crate) fn refuse(self) {
        self.0.refuse();
    }

    pub(crate) async fn accept(self) -> Result<Connection, ConnectError> {
        finish(self.0.accept()?).await
    }
}

async fn finish(connecting: quinn::Connecting) -> Result<Connection, ConnectError> {
    match tokio::time::timeout(limits::HANDSHAKE, connecting).await {
        Ok(connected) => Ok(Connection(connected.map_err(ConnectError::of)?)),
        Err(_) => Err(ConnectError::TimedOut),
    }
}

fn transport() -> TransportConfig {
    let mut config = TransportConfig::default();
    // Exact priorities need fairness: without it a stream that always has data keeps the wire for ever.
    config
        .send_fairness(true)
        .max_concurrent_bidi_streams(VarInt::from_u32(limits::REQUEST_STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(limits::DATA_STREAMS))
        .stream_receive_window(VarInt::from_u32(limits::STREAM_WINDOW))
        .receive_window(VarInt::from_u32(limits::RECEIVE_WINDOW))
        .send_window(limits::SEND_WINDOW)
        .datagram_receive_buffer_size(Some(limits::DATAGRAM_BUFFER))
        .datagram_send_buffer_size(limits::DATAGRAM_BUFFER)
        .keep_alive_interval(Some(limits::KEEP_ALIVE))
        .max_idle_timeout(quinn::IdleTimeout::try_from(limits::IDLE).ok());
    let mut acks = quinn::AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(limits::ACK_THRESHOLD));
    config.ack_frequency_config(Some(acks));
    config
}

fn server_config(
    certificate: Certificate,
    protocols: &[&str],
) -> Result<quinn::ServerConfig, EndpointError> {
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(certificate.chain, certificate.key)?;
    tls.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    let crypto = QuicServerConfig::try_from(tls)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport())).max_incoming(limits::INCOMING);
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

/// A connection. Clones share it.
#[derive(Clone)]
pub struct Connection(quinn::Connection);

impl Connection {
    /// What was negotiated by ALPN.
    pub fn protocol(&self) -> Option<Vec<u8>> {
        let data: Box<dyn Any> = self.0.handshake_data()?;
        data.downcast::<HandshakeData>().ok()?.protocol
    }

    /// Where the peer is now.
    pub fn peer(&self) -> SocketAddr {
        self.0.remote_address()
    }

    /// Ends it; the peer is told the code and the words.
    pub fn close(&self, code: u64, reason: &str) {
        self.0.close(number(code), reason.as_bytes());
    }

    /// Waits for its end: whether the peer said goodbye with code 0, and the words.
    pub(crate) async fn closed(&self) -> Ended {
        Ended::from(self.0.closed().await)
    }

    pub(crate) async fn accept_bi(&self) -> Option<(SendStream, RecvStream)> {
        let (send, recv) = self.0.accept_bi().await.ok()?;
        Some((SendStream::new(send), RecvStream(recv)))
    }

    pub(crate) async fn accept_uni(&self) -> Option<RecvStream> {
        self.0.accept_uni().await.ok().map(RecvStream)
    }

    pub(crate) async fn open_bi(&self) -> Option<(SendStream, RecvStream)> {
        let (send, recv) = self.0.open_bi().await.ok()?;
        Some((SendStream::new(send), RecvStream(recv)))
    }

    pub(crate) async fn open_uni(&self) -> Option<SendStream> {
        self.0.open_uni().await.ok().map(SendStream::new)
    }

    pub(crate) async fn read_datagram(&self) -> Option<Bytes> {
        self.0.read_datagram().await.ok()
    }

    /// Sends a datagram, or drops it: it is too large for the path, or the connection is over.
    pub(crate) fn send_datagram(&self, datagram: Bytes) -> bool {
        self.0.send_datagram(datagram).is_ok()
    }

    /// How long a packet takes there and back.
    pub fn round_trip(&self) -> Duration {
        self.0.rtt()
    }
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

/// Our side of a stream. Dropped without a word it is reset, never finished: what is cut short must not
/// look complete.
pub(crate) struct SendStream {
    stream: quinn::SendStream,
    open: bool,
}

/// Why nothing more can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteEnd {
    /// The peer does not want more, with this code.
    Stopped(u64),
    /// The connection is over.
    Lost,
}

/// CANCELLED, in all drafts.
const CANCELLED: u64 = 0x1;

impl SendStream {
    fn new(stream: quinn::SendStream) -> Self {
        Self { stream, open: true }
    }

    /// Writes all of it, by reference. A write that is dropped half done leaves a stream of no use.
    pub(crate) async fn write(&mut self, chunks: &mut [Bytes]) -> Result<(), WriteEnd> {
        self.stream.write_all_chunks(chunks).await.map_err(|error| match error {
            quinn::WriteError::Stopped(code) => WriteEnd::Stopped(code.into_inner()),
            _ => WriteEnd::Lost,
        })
    }

    /// Higher is sent first; strict between different numbers.
    pub(crate) fn set_priority(&self, priority: i32) {
        let _ = self.stream.set_priority(priority);
    }

    pub(crate) fn finish(&mut self) {
        self.open = false;
        let _ = self.stream.finish();
    }

    /// Takes back what was not sent yet.
    pub(crate) fn reset(&mut self, code: u64) {
        self.open = false;
        let _ = self.stream.reset(number(code));
    }

    /// Waits until the peer has everything after `finish`, or wants no more: with its code then.
    pub(crate) async fn stopped(&mut self) -> Option<u64> {
        self.stream.stopped().await.ok().flatten().map(VarInt::into_inner)
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        if self.open {
            self.reset(CANCELLED);
        }
    }
}

/// The peer's side of a stream. Dropped before its end it is stopped.
pub(crate) struct RecvStream(quinn::RecvStream);

/// What a stream holds next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Read {
    /// Bytes.
    Chunk(Bytes),
    /// It is complete.
    Fin,
    /// The peer gave it up.
    Reset(u64),
    /// The connection is over.
    Lost,
}

impl RecvStream {
    /// Its number in the connection.
    pub(crate) fn id(&self) -> u64 {
        VarInt::from(self.0.id()).into_inner()
    }

    pub(crate) async fn read(&mut self) -> Read {
        match self.0.read_chunk(limits::READ_BYTES, true).await {
            Ok(Some(chunk)) => Read::Chunk(chunk.bytes),
            Ok(None) => Read::Fin,
            Err(quinn::ReadError::Reset(code)) => Read::Reset(code.into_inner()),
            Err(_) => Read::Lost,
        }
    }

    pub(crate) fn stop(&mut self, code: u64) {
        let _ = self.0.stop(number(code));
    }
}

/// Codes have 62 bits on the wire; ours are all small.
fn number(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}
