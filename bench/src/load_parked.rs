//! Viewers that wait: many connections over TLS on one thread, HTTP/1.1 or HTTP/2, all of whom ask at once and are
//! answered when the server thinks fit. HTTP/2 is spoken by hand (RFC 9113): a few frames, and a client library for
//! ten thousand connections would be measured more than the server.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::epoll;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection};

use crate::load_http::{Answer, Answered};

/// Bytes read from a socket at once; answers are small.
const READ_BYTES: usize = 16 << 10;

/// Nobody waits for longer: a reload is answered within three target durations.
const PATIENCE: Duration = Duration::from_secs(20);

/// Connections that are made before all of them ask for something: a server closes those that ask for nothing.
const BATCH: usize = 1_000;

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// One request at a time.
    Http1,
    /// So many streams on each connection.
    Http2(usize),
}

/// Connections, all of which ask for the same.
pub(crate) struct Crowd {
    connections: Vec<Connection>,
    epoll: rustix::fd::OwnedFd,
    buffer: Vec<u8>,
    plain: Vec<u8>,
    streams: usize,
}

struct Connection {
    socket: TcpStream,
    tls: ClientConnection,
    speaks: Speaks,
}

enum Speaks {
    Http1(Answer),
    Http2 { frames: Frames, next: u32 },
}

impl Crowd {
    /// So many connections; `keep` is a path that is answered at once.
    pub(crate) fn connect(
        address: SocketAddr,
        tls: &ClientConfig,
        count: usize,
        protocol: Protocol,
        keep: &str,
    ) -> Result<Self> {
        let mut tls = tls.clone();
        let (name, streams) = match protocol {
            Protocol::Http1 => (&b"http/1.1"[..], 1),
            Protocol::Http2(streams) => (&b"h2"[..], streams),
        };
        tls.alpn_protocols = vec![name.to_vec()];
        let (tls, epoll) = (Arc::new(tls), epoll::create(epoll::CreateFlags::CLOEXEC)?);
        let (buffer, plain) = (vec![0; READ_BYTES], vec![0; READ_BYTES]);
        let mut crowd = Self { connections: Vec::new(), epoll, buffer, plain, streams };
        while crowd.connections.len() < count {
            for _ in 0..BATCH.min(count - crowd.connections.len()) {
                crowd.one_more(address, &tls, protocol)?;
            }
            crowd.ask(keep)?;
            crowd.answers()?;
        }
        Ok(crowd)
    }

    fn one_more(
        &mut self,
        address: SocketAddr,
        tls: &Arc<ClientConfig>,
        protocol: Protocol,
    ) -> Result<()> {
        let mut socket = TcpStream::connect(address).context("can't reach the server")?;
        socket.set_nodelay(true)?;
        let mut tls = ClientConnection::new(Arc::clone(tls), ServerName::try_from("localhost")?)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).context("TLS handshake")?;
        }
        socket.set_nonblocking(true)?;
        let speaks = match protocol {
            Protocol::Http1 => Speaks::Http1(Answer::default()),
            Protocol::Http2(_) => {
                tls.writer().write_all(&opening())?;
                Speaks::Http2 { frames: Frames::default(), next: 1 }
            }
        };
        let data = epoll::EventData::new_u64(self.connections.len() as u64);
        epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN)?;
        self.connections.push(Connection { socket, tls, speaks });
        Ok(())
    }

    /// How many requests all of them make together.
    pub(crate) fn requests(&self) -> usize {
        self.connections.len() * self.streams
    }

    /// All ask for this path.
    pub(crate) fn ask(&mut self, path: &str) -> Result<()> {
        self.ask_each(|_| path.to_owned())
    }

    /// Each connection asks for a path of its own, by its number.
    pub(crate) fn ask_each(&mut self, path: impl Fn(usize) -> String) -> Result<()> {
        for (n, connection) in self.connections.iter_mut().enumerate() {
            let path = path(n);
            let plain = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let block = header_block(&path);
            match &mut connection.speaks {
                Speaks::Http1(_) => connection.tls.writer().write_all(plain.as_bytes())?,
                Speaks::Http2 { next, .. } => {
                    for _ in 0..self.streams {
                        // END_HEADERS and END_STREAM: a request without a body.
                        connection.tls.writer().write_all(&frame(1, 5, *next, &block))?;
                        *next += 2;
                    }
                }
            }
            connection.flush()?;
        }
        Ok(())
    }

    /// Waits until all are answered, with 200 and a body; when each of them was.
    pub(crate) fn answers(&mut self) -> Result<Vec<Instant>> {
        let (all, start) = (self.requests(), Instant::now());
        let mut times = Vec::with_capacity(all);
        let mut events: Vec<epoll::Event> = Vec::with_capacity(1_024);
        let tick = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
        while times.len() < all {
            ensure!(start.elapsed() < PATIENCE, "{} of {all} are answered", times.len());
            events.clear();
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&tick))?;
            for event in &events {
                // invariant: the number was given as an index of `connections`.
                let connection = &mut self.connections[event.data.u64() as usize];
                let whole = connection.ready(&mut self.buffer, &mut self.plain)?;
                times.extend((0..whole).map(|_| Instant::now()));
            }
        }
        Ok(times)
    }
}

impl Connection {
    fn flush(&mut self) -> Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    /// Reads what is there; answers how many answers it completes.
    fn ready(&mut self, buffer: &mut [u8], plain: &mut [u8]) -> Result<u64> {
        let read = match self.socket.read(buffer) {
            Ok(0) => bail!("the server has closed a connection"),
            Ok(n) => &buffer[..n],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error).context("the server has cut a connection"),
        };
        let (mut whole, mut rest, mut reply) = (0, read, Vec::new());
        while !rest.is_empty() {
            self.tls.read_tls(&mut rest)?;
            self.tls.process_new_packets()?;
            loop {
                let bytes = match self.tls.reader().read(plain) {
                    Ok(0) => bail!("the server has closed a connection"),
                    Ok(n) => &plain[..n],
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                };
                whole += match &mut self.speaks {
                    Speaks::Http1(answer) => answer.take(bytes, &mut Answered::default())?,
                    Speaks::Http2 { frames, .. } => frames.take(bytes, &mut reply)?,
                };
            }
        }
        if !reply.is_empty() {
            self.tls.writer().write_all(&reply)?;
            self.flush()?;
        }
        Ok(whole)
    }
}

/// The preface, SETTINGS without push and with a large window, and a large window for the connection.
fn opening() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let settings = [[0, 2, 0, 0, 0, 0], [0, 4, 0x3f, 0xff, 0xff, 0xff]].concat();
    bytes.extend(frame(4, 0, 0, &settings));
    bytes.extend(frame(8, 0, 0, &[0x3f, 0, 0, 0]));
    bytes
}

/// RFC 9113 §4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A GET, in literals that need no state. RFC 7541 §6: `:method GET` and `:scheme https` are indexed.
fn header_block(path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x87];
    for (index, value) in [(4, path), (1, "localhost")] {
        block.push(index);
        // A length beyond 126 goes on in further bytes. RFC 7541 §5.1.
        let mut length = value.len();
        if length < 127 {
            block.push(length as u8);
        } else {
            block.push(127);
            length -= 127;
            while length >= 128 {
                block.push((length % 128) as u8 | 128);
                length /= 128;
            }
            block.push(length as u8);
        }
        block.extend_from_slice(value.as_bytes());
    }
    block
}

/// Frames as they come in.
#[derive(Default)]
struct Frames {
    /// Less than a frame.
    rest: Vec<u8>,
}

impl Frames {
    /// Takes bytes; answers how many streams they end, and adds what is to be said to `reply`.
    fn take(&mut self, bytes: &[u8], reply: &mut Vec<u8>) -> Result<u64> {
        self.rest.extend_from_slice(bytes);
        let (mut ended, mut at) = (0, 0);
        while let Some([a, b, c, kind, flags, _, _, _, _]) = self.rest.get(at..at + 9) {
            let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            let (kind, flags) = (*kind, *flags);
            let Some(payload) = self.rest.get(at + 9..at + 9 + length) else { break };
            match kind {
                // An index of `:status 200` comes first.
                1 => ensure!(payload.first() == Some(&0x88), "not answered with 200"),
                3 => bail!("the server has reset a stream"),
                4 if flags & 1 == 0 => reply.extend(frame(4, 1, 0, &[])),
                6 if flags & 1 == 0 => reply.extend(frame(6, 1, 0, payload)),
                7 => bail!("the server has closed a connection"),
                _ => {}
            }
            ended += u64::from(kind <= 1 && flags & 1 == 1);
            at += 9 + length;
        }
        self.rest.drain(..at);
        // Ten thousand of them: what is not needed is given back.
        if self.rest.is_empty() {
            self.rest = Vec::new();
        }
        Ok(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_counted_however_they_are_cut() {
        let mut stream = frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]);
        stream.extend(frame(1, 4, 1, &[0x88, 1]));
        stream.extend(frame(0, 0, 1, b"some"));
        stream.extend(frame(1, 4, 3, &[0x88]));
        stream.extend(frame(0, 1, 3, b"all"));
        stream.extend(frame(6, 0, 0, &[7; 8]));
        stream.extend(frame(0, 1, 1, b""));
        for size in 1..stream.len() {
            let (mut frames, mut reply) = (Frames::default(), Vec::new());
            let pieces = stream.chunks(size);
            let ended: u64 = pieces.map(|piece| frames.take(piece, &mut reply).unwrap()).sum();
            assert_eq!(ended, 2, "in pieces of {size}");
            assert_eq!(reply, [frame(4, 1, 0, &[]), frame(6, 1, 0, &[7; 8])].concat());
        }
    }

    #[test]
    fn anything_else_makes_the_run_void() {
        for bad in [frame(1, 5, 1, &[0x8d]), frame(3, 0, 1, &[0; 4]), frame(7, 0, 0, &[0; 8])] {
            assert!(Frames::default().take(&bad, &mut Vec::new()).is_err());
        }
    }

    #[test]
    fn long_paths_have_long_lengths() {
        for (length, expect) in [(126, &[126][..]), (127, &[127, 0]), (300, &[127, 0xad, 1])] {
            let block = header_block(&"x".repeat(length));
            assert_eq!(&block[3..3 + expect.len()], expect, "{length}");
        }
    }
}
