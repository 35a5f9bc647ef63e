//! Publishing to a server, this one or another: the demo, `airwave publish`, live outputs.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::Context;
use std::time::Instant;

use bytes::{Buf, Bytes};
use rtmp::Kind;
use rtmp::client::{Client, ClientError, Command, Config, Event, Target};
use sansio::stream::{Input, Output};
use sansio::{Core, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::limits::{CLOSE_LINGER, CONNECT_TIMEOUT, PUSH_STALL, READ_BYTES, TLS_HANDSHAKE};

/// Why publishing failed or ended.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The server can't be reached.
    #[error("can't connect to {host}:{port}: {error}")]
    Connect {
        /// From the URL.
        host: String,
        /// From the URL.
        port: u16,
        /// The system's words.
        error: std::io::Error,
    },
    /// The server is there, but its certificate or its TLS is not to be trusted.
    #[error("{host}:{port}: TLS: {error}")]
    Tls {
        /// From the URL.
        host: String,
        /// From the URL.
        port: u16,
        /// The library's words.
        error: std::io::Error,
    },
    /// The target wants TLS, and nobody said what to trust. The caller's mistake.
    #[error("rtmps:// needs a TLS connector")]
    NoTls,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] std::io::Error),
    /// The server takes nothing any more.
    #[error("the server has not taken anything for {} s", PUSH_STALL.as_secs())]
    Stalled,
    /// In the protocol, or the server's refusal.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// How to connect.
pub struct Options {
    /// Fresh random bytes.
    pub seed: [u8; 32],
    /// FourCCs of Enhanced RTMP that will be sent, to be announced.
    pub four_ccs: Vec<String>,
    /// For `rtmps://`: what to trust.
    pub tls: Option<TlsConnector>,
}

/// One message to send: the body of an FLV tag.
#[derive(Debug, Clone)]
pub struct Message {
    /// What it carries.
    pub kind: Kind,
    /// Decode time in milliseconds; wraps at 32 bits.
    pub timestamp: u32,
    /// The body.
    pub payload: Bytes,
}

/// A connection that publishes.
pub struct Push {
    socket: Box<dyn Socket>,
    client: Client,
    /// What the core has given and the socket has not taken: a caller may drop our futures between two writes.
    outgoing: VecDeque<Bytes>,
    buffer: Vec<u8>,
}

/// TCP, or TLS over it.
trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

impl Push {
    /// Connects and waits until media may be sent.
    pub async fn connect(target: Target, options: Options) -> Result<Self, PushError> {
        let socket = open(&target, options.tls).await?;
        let mut config = Config::new(target, options.seed);
        config.four_ccs = options.four_ccs;
        let client = Client::new(Instant::now(), config);
        let outgoing = VecDeque::new();
        let mut push = Self { socket, client, outgoing, buffer: vec![0; READ_BYTES] };
        loop {
            let (publishing, deadline) = push.drain().await?;
            if publishing {
                return Ok(push);
            }
            push.read(deadline).await?;
        }
    }

    /// Waits, and notices meanwhile when the server ends the publish. May be dropped at any time.
    pub async fn wait_until(&mut self, at: Instant) -> Result<(), PushError> {
        loop {
            let (_, deadline) = self.drain().await?;
            let reading = self.read(deadline);
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(at.into()) => return Ok(()),
                read = reading => read?,
            }
        }
    }

    /// Sends one message, as fast as the server takes it.
    pub async fn send(&mut self, message: Message) -> Result<(), PushError> {
        let Message { kind, timestamp, payload } = message;
        self.client.command(Instant::now(), Command::Media { kind, timestamp, payload })?;
        self.drain().await?;
        // What the server says is read when there is something; a publisher does not wait for it.
        while let Some(n) = self.try_read().await? {
            self.take(n)?;
            self.drain().await?;
        }
        Ok(())
    }

    /// Ends the publish in good order.
    pub async fn goodbye(mut self) -> Result<(), PushError> {
        self.client.command(Instant::now(), Command::Goodbye)?;
        self.drain().await?;
        let _ = self.socket.shutdown().await;
        let _ = tokio::time::timeout(CLOSE_LINGER, async {
            while self.socket.read(&mut self.buffer).await.is_ok_and(|n| n > 0) {}
        })
        .await;
        Ok(())
    }

    /// What has arrived already; zero bytes are the end.
    async fn try_read(&mut self) -> Result<Option<usize>, PushError> {
        let (socket, buffer) = (&mut self.socket, &mut self.buffer);
        let read = std::future::poll_fn(|cx: &mut Context<'_>| {
            let mut read = ReadBuf::new(buffer);
            std::task::Poll::Ready(match Pin::new(&mut *socket).poll_read(cx, &mut read) {
                std::task::Poll::Pending => Ok(None),
                std::task::Poll::Ready(done) => done.map(|()| Some(read.filled().len())),
            })
        });
        Ok(read.await?)
    }

    fn take(&mut self, n: usize) -> Result<(), PushError> {
        let input = match n {
            0 => Input::Eof,
            n => Input::Bytes(self.buffer.get(..n).unwrap_or_default()),
        };
        Ok(self.client.handle(Instant::now(), input)?)
    }

    async fn read(&mut self, deadline: Option<Instant>) -> Result<(), PushError> {
        let deadline = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            read = self.socket.read(&mut self.buffer) => {
                let n = read?;
                self.take(n)?;
            }
            () = deadline => self.client.handle(Instant::now(), Input::Timeout)?,
        }
        Ok(())
    }

    /// Sends what the core has; whether publishing may begin, and the core's deadline.
    async fn drain(&mut self) -> Result<(bool, Option<Instant>), PushError> {
        let mut publishing = false;
        let deadline = loop {
            match self.client.poll() {
                Poll::Wait(deadline) => break deadline,
                Poll::Output(Output::Send(bytes)) => self.outgoing.push_back(bytes),
                Poll::Output(Output::Event(Event::Publishing)) => publishing = true,
                Poll::Output(Output::Close) => {}
            }
        };
        let sent = timeout(PUSH_STALL, async {
            while let Some(bytes) = self.outgoing.front_mut() {
                let n = self.socket.write(bytes).await?;
                if n == 0 {
                    return Err(std::io::ErrorKind::WriteZero.into());
                }
                bytes.advance(n);
                if bytes.is_empty() {
                    self.outgoing.pop_front();
                }
            }
            // TLS may hold the last record back.
            self.socket.flush().await
        });
        sent.await.map_err(|_| PushError::Stalled)??;
        Ok((publishing, deadline))
    }
}

async fn open(target: &Target, tls: Option<TlsConnector>) -> Result<Box<dyn Socket>, PushError> {
    let (host, port) = (target.host.clone(), target.port);
    let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect((host.as_str(), port))).await;
    let socket = match connecting.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
        Ok(socket) => socket,
        Err(error) => return Err(PushError::Connect { host, port, error }),
    };
    socket.set_nodelay(true)?;
    if !target.tls {
        return Ok(Box::new(socket));
    }
    let tls = tls.ok_or(PushError::NoTls)?;
    let greeted = async {
        let name = ServerName::try_from(host.clone()).map_err(std::io::Error::other)?;
        let greeted = timeout(TLS_HANDSHAKE, tls.connect(name, socket)).await;
        greeted.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
    };
    match greeted.await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(PushError::Tls { host, port, error }),
    }
}
