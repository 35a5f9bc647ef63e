//! WebTransport: one session of it on a QUIC connection that speaks HTTP/3 (RFC 9114, RFC 9220,
//! draft-ietf-webtrans-http3). The crate `web-transport-proto` knows the bytes; who may do what, and how
//! much of it, is here.
//!
//! One session a connection, as browsers open them: what belongs to another one is turned away. Nothing is
//! spawned: [`Pump`] is a future that the connection's owner polls. It reads the beginning of every stream
//! and hands out those of the session, and it hears the session's end.

pub(crate) mod fuzzing;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use quinn::VarInt;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{mpsc, watch};
use web_transport_proto as proto;

use super::grants::{Granted, Grants};
use super::room::Room;
use super::stream::{Codes, RecvStream, SendStream};
use super::{Address, Ended, WebError};
use crate::limits;

/// RFC 9114 §8.1: a goodbye.
const H3_NO_ERROR: u32 = 0x100;
/// A stream of a kind that may not be there.
const H3_STREAM_CREATION_ERROR: u32 = 0x103;
/// A stream that must stay open was closed.
const H3_CLOSED_CRITICAL_STREAM: u32 = 0x104;
/// Something that is not HTTP/3.
const H3_GENERAL_PROTOCOL_ERROR: u32 = 0x101;
/// The peer's settings are not those of WebTransport.
const H3_SETTINGS_ERROR: u32 = 0x109;
/// A request that was not looked at.
const H3_REQUEST_REJECTED: u32 = 0x10b;
/// draft-ietf-webtrans-http3 §9.5: a stream of a session that is not there.
const WT_BUFFERED_STREAM_REJECTED: u32 = 0x3994_bd84;

/// SETTINGS_WT_MAX_SESSIONS of the drafts from 13 on, which the crate does not send.
const WT_MAX_SESSIONS: u32 = 0x14e9_cd29;

/// The longest reason of a close, in bytes (draft-ietf-webtrans-http3 §5).
const REASON_BYTES: usize = 1_024;

/// What is known of a session when it begins.
#[derive(Clone)]
pub(super) struct Hello {
    /// What was agreed on, of `WT-Available-Protocols`.
    pub(super) protocol: String,
    /// Where it was opened.
    pub(super) address: Address,
}

/// A session.
pub(super) struct Web {
    quic: quinn::Connection,
    room: Arc<Room>,
    grants: Arc<Grants>,
    /// Its number: that of the stream of its CONNECT.
    session: u64,
    pub(super) hello: Hello,
    connect: Mutex<Option<quinn::SendStream>>,
    bi: tokio::sync::Mutex<mpsc::UnboundedReceiver<(SendStream, RecvStream)>>,
    uni: tokio::sync::Mutex<mpsc::UnboundedReceiver<RecvStream>>,
    ended: watch::Sender<Option<Ended>>,
    pump: Mutex<Option<Pump>>,
    /// Closed, it would end the connection.
    _control: quinn::SendStream,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A refused handshake: what the peer is told.
fn refuse(quic: &quinn::Connection, code: u32, error: WebError) -> WebError {
    quic.close(VarInt::from_u32(code), error.to_string().as_bytes());
    error
}

impl Web {
    /// Answers a client's handshake. `protocols` are ours, the most wanted first.
    pub(super) async fn accept(
        quic: quinn::Connection,
        protocols: &[&str],
    ) -> Result<Self, WebError> {
        let control = send_settings(&quic).await?;
        let requests = async {
            // The first stream of a client: QUIC hands them out in their order.
            let (send, mut recv) = quic.accept_bi().await.map_err(|_| WebError::Lost)?;
            let request = proto::ConnectRequest::read(&mut recv).await;
            let request = request
                .map_err(|_| refuse(&quic, H3_GENERAL_PROTOCOL_ERROR, WebError::NotWebTransport))?;
            Ok((send, recv, request))
        };
        let ((mut send, recv, request), early) = tokio::try_join!(requests, read_settings(&quic))?;
        let ours = protocols.iter().find(|ours| request.protocols.iter().any(|p| p == **ours));
        let Some(protocol) = ours else {
            let answer = proto::ConnectResponse::new(proto::http::StatusCode::BAD_REQUEST);
            if answer.write(&mut send).await.is_ok() && send.finish().is_ok() {
                let _ = send.stopped().await;
            }
            return Err(refuse(&quic, H3_NO_ERROR, WebError::NoProtocol));
        };
        let answer = proto::ConnectResponse::OK.with_protocol(*protocol);
        answer.write(&mut send).await.map_err(|_| WebError::Lost)?;
        let url = &request.url;
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let origin = request.headers.get("origin").and_then(|origin| origin.to_str().ok());
        let address = Address {
            path: format!("{}{query}", url.path()),
            authority: url.authority().to_owned(),
            origin: origin.map(str::to_owned),
        };
        let hello = Hello { protocol: (*protocol).to_owned(), address };
        Ok(Self::begin(quic, hello, control, early, (send, recv)))
    }

    /// Begins a session as a client.
    pub(super) async fn connect(
        quic: quinn::Connection,
        request: proto::ConnectRequest,
    ) -> Result<Self, WebError> {
        let control = send_settings(&quic).await?;
        let early = read_settings(&quic).await?;
        let (hello, streams) = ask(&quic, request).await?;
        Ok(Self::begin(quic, hello, control, early, streams))
    }

    /// The same of who has been here before, and knows the server's settings.
    #[cfg(test)]
    pub(super) async fn connect_again(
        quic: quinn::Connection,
        request: proto::ConnectRequest,
    ) -> Result<Self, WebError> {
        let control = send_settings(&quic).await?;
        let (early, (hello, streams)) =
            tokio::try_join!(read_settings(&quic), ask(&quic, request))?;
        Ok(Self::begin(quic, hello, control, early, streams))
    }

    fn begin(
        quic: quinn::Connection,
        hello: Hello,
        control: quinn::SendStream,
        early: Early,
        (send, recv): (quinn::SendStream, quinn::RecvStream),
    ) -> Self {
        let session = VarInt::from(send.id()).into_inner();
        let (bi, bi_arrived) = mpsc::unbounded_channel();
        let (uni, uni_arrived) = mpsc::unbounded_channel();
        let ended = watch::Sender::new(None);
        let (room, grants) = (Arc::new(Room::new(quic.clone())), Grants::new(quic.clone()));
        let pump = Pump {
            quic: quic.clone(),
            room: room.clone(),
            grants: grants.clone(),
            session,
            early,
            connect: recv,
            bi,
            uni,
            ended: ended.clone(),
        };
        Self {
            quic,
            room,
            grants,
            session,
            hello,
            connect: Mutex::new(Some(send)),
            bi: tokio::sync::Mutex::new(bi_arrived),
            uni: tokio::sync::Mutex::new(uni_arrived),
            ended,
            pump: Mutex::new(Some(pump)),
            _control: control,
        }
    }

    pub(super) fn quic(&self) -> &quinn::Connection {
        &self.quic
    }

    pub(super) fn room(&self) -> &Arc<Room> {
        &self.room
    }

    pub(super) fn grants(&self) -> &Arc<Grants> {
        &self.grants
    }

    /// What is to be polled for as long as the session lasts; there is one.
    pub(super) fn take_pump(&self) -> Option<Pump> {
        lock(&self.pump).take()
    }

    pub(super) async fn accept_bi(&self) -> Option<(SendStream, RecvStream)> {
        self.bi.lock().await.recv().await
    }

    pub(super) async fn accept_uni(&self) -> Option<RecvStream> {
        self.uni.lock().await.recv().await
    }

    pub(super) async fn open_bi(&self) -> Option<(SendStream, RecvStream)> {
        let (mut send, recv) = self.quic.open_bi().await.ok()?;
        send.write_all(&self.beginning(proto::Frame::WEBTRANSPORT.0)).await.ok()?;
        Some((SendStream::new(send, Codes::Http3, &self.room), RecvStream::new(recv, Codes::Http3)))
    }

    pub(super) async fn open_uni(&self) -> Option<SendStream> {
        let mut send = self.quic.open_uni().await.ok()?;
        send.write_all(&self.beginning(proto::StreamUni::WEBTRANSPORT.0)).await.ok()?;
        Some(SendStream::new(send, Codes::Http3, &self.room))
    }

    fn beginning(&self, kind: proto::VarInt) -> Bytes {
        let mut bytes = BytesMut::with_capacity(2 * proto::VarInt::MAX_SIZE);
        kind.encode(&mut bytes);
        number(self.session).encode(&mut bytes);
        bytes.freeze()
    }

    /// The next datagram of this session; those of others are dropped.
    pub(super) async fn read_datagram(&self) -> Option<Bytes> {
        loop {
            let mut datagram = self.quic.read_datagram().await.ok()?;
            // RFC 9297 §2.1: a quarter of the stream's number.
            let of = proto::VarInt::decode(&mut datagram);
            if of.is_ok_and(|of| of.into_inner() == self.session / 4) {
                return Some(datagram);
            }
        }
    }

    pub(super) fn send_datagram(&self, payload: &[u8]) -> bool {
        let mut datagram = BytesMut::with_capacity(proto::VarInt::MAX_SIZE + payload.len());
        number(self.session / 4).encode(&mut datagram);
        datagram.put_slice(payload);
        self.quic.send_datagram(datagram.freeze()).is_ok()
    }

    /// Ends the session with words that fit into a close.
    pub(super) fn close(&self, code: u64, reason: &str) {
        let mut end = reason.len().min(REASON_BYTES);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let words = reason[..end].to_owned();
        let code = u32::try_from(code).unwrap_or(u32::MAX);
        self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            if first {
                *ended = Some(Ended { code: None, reason: format!("closed: {words}") });
            }
            first
        });
        let mut capsule = BytesMut::new();
        proto::Capsule::CloseWebTransportSession { code, reason: words }.encode(&mut capsule);
        let mut frame = BytesMut::new();
        proto::Frame::DATA.0.encode(&mut frame);
        number(capsule.len() as u64).encode(&mut frame);
        frame.put(capsule);
        let mut connect = lock(&self.connect);
        // A peer that gives this stream no room for a few bytes gets no words.
        let written = connect
            .as_mut()
            .and_then(|send| send.write_all(&frame).now_or_never())
            .is_some_and(|written| written.is_ok());
        match connect.as_mut() {
            Some(send) if written => drop(send.finish()),
            _ => self.quic.close(VarInt::from_u32(H3_NO_ERROR), b""),
        }
    }

    /// Waits for the session's end, the peer's or ours.
    pub(super) async fn closed(&self) -> Ended {
        let mut ended = self.ended.subscribe();
        let said = async {
            let ended = ended.wait_for(Option::is_some).await;
            // invariant: `self` holds a sender, and waited for a value.
            ended.ok().and_then(|ended| ended.clone())
        };
        tokio::select! {
            biased;
            Some(ended) = said => ended,
            // The peer is gone without a word of the session's: it was lost, whatever it told HTTP/3.
            error = self.quic.closed() => Ended { code: None, reason: error.to_string() },
        }
    }

    /// Waits until the peer has our last words, or is gone.
    pub(super) async fn flushed(&self) {
        let connect = lock(&self.connect).take();
        if let Some(connect) = connect {
            let _ = connect.stopped().await;
        }
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.quic.close(VarInt::from_u32(H3_NO_ERROR), b"");
    }
}

fn number(n: u64) -> proto::VarInt {
    // Numbers of streams and lengths of ours are far below 2^62.
    proto::VarInt::from_u64(n).unwrap_or(proto::VarInt::MAX)
}

/// Asks for a session; what is agreed on, and its stream.
async fn ask(
    quic: &quinn::Connection,
    request: proto::ConnectRequest,
) -> Result<(Hello, (quinn::SendStream, quinn::RecvStream)), WebError> {
    let (mut send, mut recv) = quic.open_bi().await.map_err(|_| WebError::Lost)?;
    request.write(&mut send).await.map_err(|_| WebError::Lost)?;
    let answer = proto::ConnectResponse::read(&mut recv).await;
    let answer = answer.map_err(|_| refuse(quic, H3_NO_ERROR, WebError::Refused))?;
    let protocol = answer.protocol.filter(|p| request.protocols.contains(p));
    let Some(protocol) = protocol else {
        return Err(refuse(quic, H3_NO_ERROR, WebError::NoProtocol));
    };
    let address = Address {
        path: request.url.path().to_owned(),
        authority: request.url.authority().to_owned(),
        origin: None,
    };
    Ok((Hello { protocol, address }, (send, recv)))
}

/// Our control stream, with our settings on it.
async fn send_settings(quic: &quinn::Connection) -> Result<quinn::SendStream, WebError> {
    let mut settings = proto::Settings::default();
    // One session a connection: with more, flow control of sessions would have to be spoken.
    settings.enable_webtransport(1);
    let sessions = proto::Setting(proto::VarInt::from_u32(WT_MAX_SESSIONS));
    settings.insert(sessions, proto::VarInt::from_u32(1));
    let mut control = quic.open_uni().await.map_err(|_| WebError::Lost)?;
    settings.write(&mut control).await.map_err(|_| WebError::Lost)?;
    Ok(control)
}

/// What came with the peer's settings.
struct Early {
    /// The peer's control stream, behind its settings.
    control: quinn::RecvStream,
    /// What else arrived before it, and its kind.
    streams: Vec<(quinn::RecvStream, proto::StreamUni)>,
}

/// Waits for the peer's control stream. No more streams come before it than a peer may open.
async fn read_settings(quic: &quinn::Connection) -> Result<Early, WebError> {
    let mut streams = Vec::new();
    loop {
        let mut stream = quic.accept_uni().await.map_err(|_| WebError::Lost)?;
        let kind = proto::VarInt::read(&mut stream).await.map_err(|_| WebError::Lost)?;
        let kind = proto::StreamUni(kind);
        if kind != proto::StreamUni::CONTROL {
            streams.push((stream, kind));
            continue;
        }
        let supported = settings(&mut stream).await?.supports_webtransport();
        if supported == 0 {
            return Err(refuse(quic, H3_SETTINGS_ERROR, WebError::NotWebTransport));
        }
        return Ok(Early { control: stream, streams });
    }
}

/// The settings behind the kind of the control stream, which the crate wants to read itself.
async fn settings(stream: &mut (impl AsyncRead + Unpin)) -> Result<proto::Settings, WebError> {
    let kind: &[u8] = &[0x00];
    let settings = proto::Settings::read(&mut kind.chain(stream)).await;
    settings.map_err(|_| WebError::NotWebTransport)
}

/// What a stream of the peer turned out to be.
enum Arrived {
    Uni(quinn::RecvStream),
    Bi(quinn::SendStream, quinn::RecvStream),
    /// Nothing for the session.
    Nothing,
    /// Something that ends the connection.
    Violation(u32, &'static str),
}

/// What arrives counts as open from its first byte on.
type Arriving = Pin<Box<dyn Future<Output = (Arrived, Option<Arc<Granted>>)> + Send>>;

/// Reads the beginnings of streams, and the session's end.
pub(super) struct Pump {
    quic: quinn::Connection,
    room: Arc<Room>,
    grants: Arc<Grants>,
    session: u64,
    early: Early,
    connect: quinn::RecvStream,
    bi: mpsc::UnboundedSender<(SendStream, RecvStream)>,
    uni: mpsc::UnboundedSender<RecvStream>,
    ended: watch::Sender<Option<Ended>>,
}

impl Pump {
    /// To the end of the session. As many streams arrive at once as QUIC lets the peer open.
    pub(super) async fn run(self) {
        let Self { quic, room, grants, session, early, connect, bi, uni, ended } = self;
        let mut arriving: FuturesUnordered<Arriving> = FuturesUnordered::new();
        arriving.push(Box::pin(critical(early.control).map(|arrived| (arrived, None))));
        for (stream, kind) in early.streams {
            let granted = grants.data();
            let arrived = known_uni(stream, kind, session);
            arriving.push(Box::pin(arrived.map(|arrived| (arrived, Some(granted)))));
        }
        let mut end = std::pin::pin!(end_of(connect));
        loop {
            let (arrived, granted) = tokio::select! {
                end = &mut end => {
                    ended.send_if_modified(|ended| {
                        let first = ended.is_none();
                        if first {
                            *ended = Some(end);
                        }
                        first
                    });
                    return;
                }
                stream = quic.accept_uni() => match stream {
                    Ok(stream) => {
                        let granted = grants.data();
                        let arrived = any_uni(stream, session);
                        arriving.push(Box::pin(arrived.map(|arrived| (arrived, Some(granted)))));
                        continue;
                    }
                    Err(_) => return,
                },
                streams = quic.accept_bi() => match streams {
                    Ok((send, recv)) => {
                        let granted = grants.request();
                        let arrived = any_bi(send, recv, session);
                        arriving.push(Box::pin(arrived.map(|arrived| (arrived, Some(granted)))));
                        continue;
                    }
                    Err(_) => return,
                },
                Some(arrived) = arriving.next() => arrived,
            };
            match arrived {
                Arrived::Uni(stream) => {
                    let _ = uni.send(RecvStream::new(stream, Codes::Http3).granted(granted));
                }
                Arrived::Bi(send, recv) => {
                    let send = SendStream::new(send, Codes::Http3, &room).granted(granted.clone());
                    let recv = RecvStream::new(recv, Codes::Http3).granted(granted);
                    let _ = bi.send((send, recv));
                }
                Arrived::Nothing => {}
                Arrived::Violation(code, words) => {
                    return quic.close(VarInt::from_u32(code), words.as_bytes());
                }
            }
        }
    }
}

async fn any_uni(mut stream: quinn::RecvStream, session: u64) -> Arrived {
    match proto::VarInt::read(&mut stream).await {
        Ok(kind) => known_uni(stream, proto::StreamUni(kind), session).await,
        Err(_) => Arrived::Nothing,
    }
}

async fn known_uni(mut stream: quinn::RecvStream, kind: proto::StreamUni, session: u64) -> Arrived {
    match kind {
        proto::StreamUni::WEBTRANSPORT => match proto::VarInt::read(&mut stream).await {
            Ok(of) if of.into_inner() == session => Arrived::Uni(stream),
            Ok(_) => {
                let _ = stream.stop(VarInt::from_u32(WT_BUFFERED_STREAM_REJECTED));
                Arrived::Nothing
            }
            Err(_) => Arrived::Nothing,
        },
        // RFC 9204 §4.2: they carry nothing, as we allow no dynamic table, and stay.
        proto::StreamUni::QPACK_ENCODER | proto::StreamUni::QPACK_DECODER => critical(stream).await,
        // RFC 9114 §6.2.1, §6.2.2: there is one of these, and a client pushes nothing.
        proto::StreamUni::CONTROL | proto::StreamUni::PUSH => {
            Arrived::Violation(H3_STREAM_CREATION_ERROR, "a second control stream, or a push")
        }
        _ => {
            let _ = stream.stop(VarInt::from_u32(H3_STREAM_CREATION_ERROR));
            Arrived::Nothing
        }
    }
}

/// Throws away what a stream says that may not end (RFC 9114 §6.2.1).
async fn critical(mut stream: quinn::RecvStream) -> Arrived {
    loop {
        match stream.read_chunk(limits::READ_BYTES, true).await {
            Ok(Some(_)) => {}
            Ok(None) | Err(quinn::ReadError::Reset(_)) => {
                let words = "a stream that must stay open was closed";
                return Arrived::Violation(H3_CLOSED_CRITICAL_STREAM, words);
            }
            Err(_) => return Arrived::Nothing,
        }
    }
}

async fn any_bi(mut send: quinn::SendStream, mut recv: quinn::RecvStream, session: u64) -> Arrived {
    let Ok(kind) = proto::VarInt::read(&mut recv).await else { return Arrived::Nothing };
    let code = if proto::Frame(kind) == proto::Frame::WEBTRANSPORT {
        match proto::VarInt::read(&mut recv).await {
            Ok(of) if of.into_inner() == session => return Arrived::Bi(send, recv),
            Ok(_) => WT_BUFFERED_STREAM_REJECTED,
            Err(_) => return Arrived::Nothing,
        }
    } else {
        // Another request, or another session: one is all that a connection has.
        H3_REQUEST_REJECTED
    };
    let _ = send.reset(VarInt::from_u32(code));
    let _ = recv.stop(VarInt::from_u32(code));
    Arrived::Nothing
}

/// How the peer ends the session. A stream that ends without a word is a goodbye
/// (draft-ietf-webtrans-http3 §6).
async fn end_of(connect: impl AsyncRead + Unpin) -> Ended {
    let mut capsules = proto::Http3CapsuleReader::new(connect);
    loop {
        match capsules.read().await {
            Ok(Some(proto::Capsule::CloseWebTransportSession { code, reason })) => {
                return Ended { code: Some(u64::from(code)), reason };
            }
            Ok(Some(_)) => {}
            Ok(None) => return Ended { code: Some(0), reason: "closed".to_owned() },
            Err(error) => return Ended { code: None, reason: error.to_string() },
        }
    }
}

#[cfg(test)]
mod tests;
