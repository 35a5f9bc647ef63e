//! A viewer that asks one thing after the other over one HTTPS connection, and keeps what it gets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, StreamOwned};

/// A connection that is kept.
pub(crate) struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr, tls: Arc<ClientConfig>) -> Result<Self> {
        let socket = TcpStream::connect(address).context("can't reach the server")?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        let connection = ClientConnection::new(tls, ServerName::try_from("localhost")?)?;
        Ok(Self { stream: StreamOwned::new(connection, socket), buffer: Vec::new() })
    }

    /// The body of what a path answers with 200.
    pub(crate) fn get(&mut self, path: &str) -> Result<Vec<u8>> {
        self.ask(path, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }

    /// Sends a text.
    pub(crate) fn post(&mut self, path: &str, text: &str) -> Result<Vec<u8>> {
        let length = text.len();
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n");
        self.ask(path, &format!("{head}\r\n{text}"))
    }

    fn ask(&mut self, path: &str, request: &str) -> Result<Vec<u8>> {
        self.stream.write_all(request.as_bytes())?;
        let head = loop {
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                let rest = self.buffer.split_off(end + 4);
                let head = std::mem::replace(&mut self.buffer, rest);
                break String::from_utf8_lossy(&head).to_ascii_lowercase();
            }
            self.more()?;
        };
        ensure!(head.starts_with("http/1.1 20"), "{path}: {head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.and_then(|v| v.trim().parse().ok()).context("no length")?;
        while self.buffer.len() < length {
            self.more()?;
        }
        let rest = self.buffer.split_off(length);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    fn more(&mut self) -> Result<()> {
        let mut piece = [0; 16 << 10];
        let n = self.stream.read(&mut piece)?;
        ensure!(n > 0, "the server has closed the connection");
        self.buffer.extend_from_slice(&piece[..n]);
        Ok(())
    }
}
