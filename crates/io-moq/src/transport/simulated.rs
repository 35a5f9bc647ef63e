//! A network in virtual time, below real QUIC: under `start_paused`, minutes of a bad path are seconds, and nothing
//! depends on how busy the machine is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, EndpointConfig, TokioRuntime, UdpPoller};
use testkit::{Path, Shape};
use tokio::time::{Instant, Sleep};

use super::{
    Certificate, ConnectError, Connection, Endpoint, EndpointError, Trust, Web, WebError,
    client_config, server_config, transport,
};

/// Who decides how much is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Congestion {
    /// What users get.
    Ours,
    Cubic,
    Bbr,
}

/// Sockets, each at the end of a line of its own, with nothing between the lines.
#[derive(Clone)]
pub(crate) struct Network(Arc<Mutex<State>>);

struct State {
    lines: BTreeMap<SocketAddr, Line>,
    seed: u64,
    next: u16,
}

struct Line {
    socket: Arc<Socket>,
    up: Path,
    down: Path,
}

impl Network {
    /// Lines are cables, until they are reshaped.
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State { lines: BTreeMap::new(), seed, next: 1 })))
    }

    /// The line of this socket is different from now on, in both directions.
    pub(crate) fn reshape(&self, of: SocketAddr, shape: Shape) {
        let mut state = self.0.lock().unwrap();
        let line = state.lines.get_mut(&of).unwrap();
        line.up.reshape(shape);
        line.down.reshape(shape);
    }

    /// A client goes on behind another address, at the end of this line.
    pub(crate) fn move_client(&self, client: &Endpoint, line: Shape) -> io::Result<()> {
        client.quic().rebind_abstract(self.socket(line))
    }

    /// The same to another network.
    pub(crate) fn move_client_to(
        &self,
        client: &Endpoint,
        host: u8,
        line: Shape,
    ) -> io::Result<()> {
        client.quic().rebind_abstract(self.socket_of(host, line))
    }

    /// A client of another machine, at the end of this line.
    pub(crate) fn client_of(&self, host: u8, line: Shape) -> Result<Endpoint, EndpointError> {
        let socket = self.socket_of(host, line);
        Ok(Endpoint::of_one(self.endpoint_at(None, socket)?))
    }

    /// Datagrams lost on the way to this socket.
    pub(crate) fn lost(&self, to: SocketAddr) -> u64 {
        self.0.lock().unwrap().lines[&to].down.lost()
    }

    fn socket(&self, shape: Shape) -> Arc<Socket> {
        self.socket_of(1, shape)
    }

    fn socket_of(&self, host: u8, shape: Shape) -> Arc<Socket> {
        let mut state = self.0.lock().unwrap();
        let address = SocketAddr::from(([127, 0, 0, host], state.next));
        state.next += 1;
        let socket = Arc::new(Socket {
            network: self.clone(),
            address,
            inbox: Mutex::new(Inbox {
                due: BinaryHeap::new(),
                bytes: BTreeMap::new(),
                next: 0,
                reader: None,
                timer: Box::pin(tokio::time::sleep_until(Instant::now())),
            }),
        });
        let seed = state.seed ^ u64::from(address.port()) << 32;
        let (up, down) = (Path::new(shape, seed), Path::new(shape, seed ^ 1 << 48));
        state.lines.insert(address, Line { socket: socket.clone(), up, down });
        socket
    }

    /// A server.
    pub(crate) fn server(
        &self,
        certificate: Certificate,
        protocols: &[&'static str],
        congestion: Congestion,
    ) -> Result<Endpoint, EndpointError> {
        let mut config = transport();
        match congestion {
            Congestion::Ours => {}
            Congestion::Cubic => {
                let cubic = quinn::congestion::CubicConfig::default();
                config.congestion_controller_factory(Arc::new(cubic));
            }
            Congestion::Bbr => {
                let bbr = quinn::congestion::BbrConfig::default();
                config.congestion_controller_factory(Arc::new(bbr));
            }
        }
        let sessions = Arc::default();
        let config = server_config(certificate, protocols, config, 1, &sessions)?;
        let quic = self.endpoint(Some(config), Shape::default())?;
        Ok(Endpoint { protocols: protocols.into(), sessions, ..Endpoint::of_one(quic) })
    }

    /// A client, at the end of this line.
    pub(crate) fn client(&self, line: Shape) -> Result<Endpoint, EndpointError> {
        Ok(Endpoint::of_one(self.endpoint(None, line)?))
    }

    fn endpoint(
        &self,
        server: Option<quinn::ServerConfig>,
        line: Shape,
    ) -> io::Result<quinn::Endpoint> {
        self.endpoint_at(server, self.socket(line))
    }

    fn endpoint_at(
        &self,
        server: Option<quinn::ServerConfig>,
        socket: Arc<Socket>,
    ) -> io::Result<quinn::Endpoint> {
        let (config, runtime) = (EndpointConfig::default(), Arc::new(TokioRuntime));
        quinn::Endpoint::new_with_abstract_socket(config, server, socket, runtime)
    }
}

/// A client that comes back: it keeps what resumes its sessions.
#[derive(Clone)]
pub(crate) struct Returning(quinn::ClientConfig);

impl Returning {
    pub(crate) fn new(trust: Trust, protocols: &[&str]) -> Result<Self, EndpointError> {
        Ok(Self(client_config(trust, protocols)?))
    }
}

impl Connection {
    /// How often the peer said that more of all streams may be in flight.
    pub(crate) fn windows_raised(&self) -> u64 {
        self.quic.stats().frame_rx.max_data
    }
}

impl Endpoint {
    /// Connects; at once, if the server is known. Says whether it was.
    pub(crate) async fn connect_again(
        &self,
        to: SocketAddr,
        client: &Returning,
    ) -> Result<(Connection, bool), ConnectError> {
        let connecting = self.quic().connect_with(client.0.clone(), to, "localhost")?;
        match connecting.into_0rtt() {
            Ok((quic, _)) => Ok((Connection::raw(quic), true)),
            Err(connecting) => Ok((Connection::raw(super::finish(connecting).await?), false)),
        }
    }

    /// The same with a session of WebTransport, which is asked for with the first packet then.
    pub(crate) async fn connect_web_again(
        &self,
        to: SocketAddr,
        (client, protocols): (&Returning, &[&str]),
    ) -> Result<(Connection, bool), ConnectError> {
        let url: url::Url = format!("https://{to}/").parse().map_err(|_| WebError::Address)?;
        let request = web_transport_proto::ConnectRequest::new(url);
        let request = request.with_protocols(protocols.iter().map(|&p| p.to_owned()));
        let connecting = self.quic().connect_with(client.0.clone(), to, "localhost")?;
        let (quic, early) = match connecting.into_0rtt() {
            Ok((quic, _)) => (quic, true),
            Err(connecting) => (super::finish(connecting).await?, false),
        };
        Ok((Connection::web(Web::connect_again(quic, request).await?), early))
    }

    /// How many there are.
    pub(crate) fn sockets(&self) -> usize {
        self.shards.len()
    }

    /// Goes on at another port, as after a change of networks.
    pub(crate) fn move_elsewhere(&self) -> io::Result<()> {
        self.quic().rebind(std::net::UdpSocket::bind("127.0.0.1:0")?)
    }
}

impl State {
    /// When a datagram that is sent now arrives, and where.
    fn send(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        bytes: usize,
    ) -> Option<(std::time::Instant, Arc<Socket>)> {
        let now = Instant::now().into_std();
        let between = self.lines.get_mut(&from)?.up.send(now, bytes)?;
        let line = self.lines.get_mut(&to)?;
        Some((line.down.send(between, bytes)?, line.socket.clone()))
    }
}

struct Socket {
    network: Network,
    address: SocketAddr,
    inbox: Mutex<Inbox>,
}

struct Inbox {
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    bytes: BTreeMap<u64, (SocketAddr, Bytes)>,
    next: u64,
    reader: Option<Waker>,
    timer: Pin<Box<Sleep>>,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Socket({})", self.address)
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let (to, bytes) = (transmit.destination, transmit.contents.len());
        let sent = self.network.0.lock().unwrap().send(self.address, to, bytes);
        if let Some((at, to)) = sent {
            to.arrive(at.into(), self.address, Bytes::copy_from_slice(transmit.contents));
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [io::IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut inbox = self.inbox.lock().unwrap();
        let mut count = 0;
        while count < buffers.len()
            && let Some(Reverse((at, number))) = inbox.due.peek().copied()
            && at <= Instant::now()
        {
            inbox.due.pop();
            let Some((addr, bytes)) = inbox.bytes.remove(&number) else { continue };
            let len = bytes.len();
            buffers[count][..len].copy_from_slice(&bytes);
            meta[count] = RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None };
            count += 1;
        }
        if count > 0 {
            return Poll::Ready(Ok(count));
        }
        inbox.reader = Some(cx.waker().clone());
        if let Some(Reverse((at, _))) = inbox.due.peek().copied() {
            inbox.timer.as_mut().reset(at);
            if inbox.timer.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

impl Socket {
    fn arrive(&self, at: Instant, from: SocketAddr, bytes: Bytes) {
        let reader = {
            let mut inbox = self.inbox.lock().unwrap();
            inbox.next += 1;
            let number = inbox.next;
            inbox.due.push(Reverse((at, number)));
            inbox.bytes.insert(number, (from, bytes));
            inbox.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// Whatever is sent is taken, and lost where there is no room.
#[derive(Debug)]
struct Writable;

impl UdpPoller for Writable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
