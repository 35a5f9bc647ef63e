//! Viewers without a player: many HTTP/1.1 connections on one thread, each with one request at a time,
//! in clear or over TLS. It reads and forgets; nothing of it is measured but its own share of a core.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::epoll;
use tokio_rustls::rustls;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::host::Cpu;

/// Bytes read from a socket at once.
const READ_BYTES: usize = 256 << 10;

/// An answer's head.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// TLS 1.3 with AES-128-GCM for every peer, trusting this certificate only.
pub(crate) fn tls(certificate: &std::path::Path) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate)?)?;
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites =
        vec![rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// What is asked for.
#[derive(Clone)]
pub(crate) struct Target {
    /// Whom.
    pub(crate) address: SocketAddr,
    /// Over TLS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// What, from the first slash on.
    pub(crate) path: String,
}

/// What came.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Answered {
    /// Answers that came whole.
    pub(crate) requests: u64,
    /// Bytes of bodies.
    pub(crate) bytes: u64,
    /// How long it took.
    pub(crate) seconds: f64,
    /// What this thread used of a core.
    pub(crate) busy: f64,
}

/// Connections that ask again as soon as they are answered.
pub(crate) struct Viewers {
    viewers: Vec<Viewer>,
    epoll: rustix::fd::OwnedFd,
    buffer: Vec<u8>,
    plain: Vec<u8>,
}

struct Viewer {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    request: Vec<u8>,
    answer: Answer,
}

impl Viewers {
    /// Connects, and asks for the first time.
    pub(crate) fn connect(target: &Target, count: usize) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut viewers = Vec::new();
        for n in 0..count {
            let viewer = Viewer::connect(target)?;
            let data = epoll::EventData::new_u64(n as u64);
            epoll::add(&epoll, &viewer.socket, data, epoll::EventFlags::IN)?;
            viewers.push(viewer);
        }
        let (buffer, plain) = (vec![0; READ_BYTES], vec![0; READ_BYTES]);
        Ok(Self { viewers, epoll, buffer, plain })
    }

    /// Asks and reads for so long. What is under way at the end goes on at the next call.
    pub(crate) fn run(&mut self, window: Duration) -> Result<Answered> {
        let (start, cpu) = (Instant::now(), Cpu::of_this_thread());
        let mut answered = Answered::default();
        let mut events: Vec<epoll::Event> = Vec::with_capacity(self.viewers.len().max(1));
        let tick = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
        while start.elapsed() < window {
            events.clear();
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&tick))?;
            ensure!(!events.is_empty(), "no answer within a second");
            for event in &events {
                // invariant: the number was given as an index of `viewers`.
                let viewer = &mut self.viewers[event.data.u64() as usize];
                viewer.ready(&mut self.buffer, &mut self.plain, &mut answered)?;
            }
        }
        answered.seconds = start.elapsed().as_secs_f64();
        answered.busy = (Cpu::of_this_thread() - cpu) / answered.seconds;
        Ok(answered)
    }
}

impl Viewer {
    fn connect(target: &Target) -> Result<Self> {
        let mut socket = TcpStream::connect(target.address).context("can't reach the server")?;
        socket.set_nodelay(true)?;
        let tls = match &target.tls {
            None => None,
            Some(config) => {
                let name = ServerName::try_from("localhost")?;
                let mut tls = Box::new(ClientConnection::new(config.clone(), name)?);
                while tls.is_handshaking() {
                    tls.complete_io(&mut socket).context("TLS handshake")?;
                }
                Some(tls)
            }
        };
        socket.set_nonblocking(true)?;
        let request = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", target.path);
        let answer = Answer::default();
        let mut viewer = Self { socket, tls, request: request.into_bytes(), answer };
        viewer.ask()?;
        Ok(viewer)
    }

    /// A request is far smaller than a socket's buffer, so it goes out at once.
    fn ask(&mut self) -> Result<()> {
        match &mut self.tls {
            None => self.socket.write_all(&self.request)?,
            Some(tls) => {
                tls.writer().write_all(&self.request)?;
                while tls.wants_write() {
                    tls.write_tls(&mut self.socket)?;
                }
            }
        }
        Ok(())
    }

    fn ready(
        &mut self,
        buffer: &mut [u8],
        plain: &mut [u8],
        answered: &mut Answered,
    ) -> Result<()> {
        let read = match self.socket.read(buffer) {
            Ok(0) => bail!("the server has closed a connection"),
            Ok(n) => &buffer[..n],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("the server has cut a connection"),
        };
        let mut whole = 0;
        match &mut self.tls {
            None => whole += self.answer.take(read, answered)?,
            Some(tls) => {
                let mut rest = read;
                while !rest.is_empty() {
                    tls.read_tls(&mut rest)?;
                    tls.process_new_packets()?;
                    loop {
                        match tls.reader().read(plain) {
                            Ok(0) => bail!("the server has closed a connection"),
                            Ok(n) => whole += self.answer.take(&plain[..n], answered)?,
                            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                            Err(error) => return Err(error.into()),
                        }
                    }
                }
            }
        }
        for _ in 0..whole {
            self.ask()?;
        }
        Ok(())
    }
}

/// An answer as it comes in.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    head: Vec<u8>,
    /// Bytes of the body that are still to come, once the head is known.
    left: Option<u64>,
}

impl Answer {
    /// Takes bytes of the stream; answers how many answers they complete.
    pub(crate) fn take(&mut self, mut bytes: &[u8], answered: &mut Answered) -> Result<u64> {
        let mut whole = 0;
        while !bytes.is_empty() {
            let Some(left) = self.left else {
                bytes = self.take_head(bytes)?;
                if self.left == Some(0) {
                    whole += self.done(answered);
                }
                continue;
            };
            let now = left.min(bytes.len() as u64);
            answered.bytes += now;
            bytes = &bytes[now as usize..];
            self.left = Some(left - now);
            if left == now {
                whole += self.done(answered);
            }
        }
        Ok(whole)
    }

    fn done(&mut self, answered: &mut Answered) -> u64 {
        self.left = None;
        answered.requests += 1;
        1
    }

    fn take_head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8]> {
        let before = self.head.len();
        let room = HEAD_BYTES_MAX - before;
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let Some(end) = self.head.windows(4).position(|w| w == b"\r\n\r\n") else {
            ensure!(self.head.len() < HEAD_BYTES_MAX, "the head of an answer does not end");
            return Ok(&[]);
        };
        let head = String::from_utf8_lossy(&self.head[..end]).to_ascii_lowercase();
        ensure!(head.starts_with("http/1.1 200"), "not answered with 200: {head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.and_then(|v| v.trim().parse().ok());
        self.left = Some(length.with_context(|| format!("no content-length: {head}"))?);
        self.head.clear();
        Ok(&bytes[end + 4 - before..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_however_they_are_cut() {
        let stream = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\
                       x: y\r\nCONTENT-LENGTH: 0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc";
        for size in 1..stream.len() {
            let (mut answer, mut answered) = (Answer::default(), Answered::default());
            let mut whole = 0;
            for piece in stream.chunks(size) {
                whole += answer.take(piece, &mut answered).unwrap();
            }
            assert_eq!(
                (whole, answered.requests, answered.bytes),
                (3, 3, 8),
                "in pieces of {size}"
            );
        }
    }

    #[test]
    fn anything_else_makes_the_run_void() {
        for bad in [
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        ] {
            let mut answer = Answer::default();
            assert!(answer.take(bad.as_bytes(), &mut Answered::default()).is_err(), "{bad}");
        }
        let mut answer = Answer::default();
        assert!(answer.take(&[b'x'; HEAD_BYTES_MAX], &mut Answered::default()).is_err());
    }
}
