//! Publishing to a server, this one or another: the demo, `airwave publish`, live outputs.

use std::io::ErrorKind;
use std::time::Instant;

use bytes::Bytes;
use rtmp::Kind;
use rtmp::client::{Client, ClientError, Command, Config, Event, Target};
use sansio::stream::{Input, Output};
use sansio::{Core, Poll};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::limits::{CLOSE_LINGER, READ_BYTES};

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
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] std::io::Error),
    /// In the protocol, or the server's refusal.
    #[error(transparent)]
    Client(#[from] ClientError),
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
    socket: TcpStream,
    client: Client,
    buffer: Vec<u8>,
}

impl Push {
    /// Connects and waits until media may be sent. `seed` is fresh random bytes.
    pub async fn connect(target: Target, seed: [u8; 32]) -> Result<Self, PushError> {
        let (host, port) = (target.host.clone(), target.port);
        let socket = TcpStream::connect((host.as_str(), port))
            .await
            .map_err(|error| PushError::Connect { host, port, error })?;
        socket.set_nodelay(true)?;
        let client = Client::new(Instant::now(), Config::new(target, seed));
        let mut push = Self { socket, client, buffer: vec![0; READ_BYTES] };
        loop {
            let (publishing, deadline) = push.drain().await?;
            if publishing {
                return Ok(push);
            }
            push.read(deadline).await?;
        }
    }

    /// Sends one message, as fast as the server takes it.
    pub async fn send(&mut self, message: Message) -> Result<(), PushError> {
        let Message { kind, timestamp, payload } = message;
        self.client.command(Instant::now(), Command::Media { kind, timestamp, payload })?;
        self.drain().await?;
        // What the server says is read when there is something; a publisher does not wait for it.
        while let Some(n) = self.try_read()? {
            let input = if n == 0 { Input::Eof } else { Input::Bytes(&self.buffer[..n]) };
            self.client.handle(Instant::now(), input)?;
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

    fn try_read(&mut self) -> Result<Option<usize>, PushError> {
        match self.socket.try_read(&mut self.buffer) {
            Ok(n) => Ok(Some(n)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
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
                let input = if n == 0 { Input::Eof } else { Input::Bytes(&self.buffer[..n]) };
                self.client.handle(Instant::now(), input)?;
            }
            () = deadline => self.client.handle(Instant::now(), Input::Timeout)?,
        }
        Ok(())
    }

    /// Sends what the core has; whether publishing may begin, and the core's deadline.
    async fn drain(&mut self) -> Result<(bool, Option<Instant>), PushError> {
        let mut publishing = false;
        loop {
            match self.client.poll() {
                Poll::Wait(deadline) => return Ok((publishing, deadline)),
                Poll::Output(Output::Send(bytes)) => self.socket.write_all(&bytes).await?,
                Poll::Output(Output::Event(Event::Publishing)) => publishing = true,
                Poll::Output(Output::Event(Event::ReconnectRequest { .. }) | Output::Close) => {}
            }
        }
    }
}
