//! A client of HTTP/1.1: one connection that is kept, one request at a time.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::url::{Url, UrlProblem};
use crate::limits::{ANSWER_TIMEOUT, BODY_BYTES_MAX, CONNECT_TIMEOUT, REDIRECTS_MAX};

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The server can't be reached.
    #[error("can't connect to {server}: {error}")]
    Connect {
        /// Host and port.
        server: String,
        /// The system's words.
        error: std::io::Error,
    },
    /// It is there, but not to be trusted.
    #[error("{server}: TLS: {error}")]
    Tls {
        /// Host and port.
        server: String,
        /// The library's words.
        error: std::io::Error,
    },
    /// The connection broke, or what came is no HTTP.
    #[error("{server}: {problem}")]
    Broken {
        /// Host and port.
        server: String,
        /// In words.
        problem: String,
    },
    /// No answer in time.
    #[error("{0} does not answer")]
    Timeout(String),
    /// More than anybody needs.
    #[error("{0} is larger than {max} MiB", max = BODY_BYTES_MAX >> 20)]
    TooLarge(Url),
    /// From one place to the next without end, or to nowhere.
    #[error("{0} leads elsewhere, and that can't be followed")]
    Redirect(Url),
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// Such as 200.
    pub(super) status: u16,
    /// The whole body.
    pub(super) body: Bytes,
    /// Where it came from in the end.
    pub(super) url: Url,
}

/// A client with at most one open connection.
pub(super) struct Http {
    tls: TlsConnector,
    open: Option<Open>,
}

struct Open {
    to: Url,
    sender: SendRequest<Empty<Bytes>>,
    /// Moves the bytes of the connection, and ends with it.
    driver: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Http {
    /// No connection yet.
    pub(super) fn new(tls: TlsConnector) -> Self {
        Self { tls, open: None }
    }

    /// Gets a URL, following redirects. Spawns a task for each connection that it makes.
    pub(super) async fn get(&mut self, url: &Url) -> Result<Answer, HttpError> {
        let mut url = url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let answer = timeout(ANSWER_TIMEOUT, self.ask(&url)).await;
            if answer.is_err() {
                self.open = None;
            }
            let (status, location, body) =
                answer.map_err(|_| HttpError::Timeout(url.authority()))??;
            match (status, location) {
                (301 | 302 | 303 | 307 | 308, Some(to)) => {
                    let to: Result<Url, UrlProblem> = url.join(&to);
                    url = to.map_err(|_| HttpError::Redirect(url))?;
                }
                _ => return Ok(Answer { status, body, url }),
            }
        }
        Err(HttpError::Redirect(url))
    }

    async fn ask(&mut self, url: &Url) -> Result<(u16, Option<String>, Bytes), HttpError> {
        let kept =
            self.open.as_ref().is_some_and(|o| o.to.same_server(url) && !o.sender.is_closed());
        if kept {
            // A kept connection may have been closed just now: then a new one is tried.
            match self.exchange(url).await {
                Err(HttpError::Broken { .. }) => {}
                answered => return answered,
            }
        }
        self.open = Some(self.connect(url).await?);
        self.exchange(url).await
    }

    async fn exchange(&mut self, url: &Url) -> Result<(u16, Option<String>, Bytes), HttpError> {
        let broken = |problem: String| HttpError::Broken { server: url.authority(), problem };
        let Some(open) = &mut self.open else { return Err(broken("not connected".to_owned())) };
        let request = hyper::Request::get(&url.path)
            .header(header::HOST, url.authority())
            .header(header::USER_AGENT, concat!("airwave/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|e| broken(e.to_string()))?;
        open.sender.ready().await.map_err(|e| broken(e.to_string()))?;
        let answer = open.sender.send_request(request).await.map_err(|e| broken(e.to_string()))?;
        let status = answer.status().as_u16();
        let location = answer.headers().get(header::LOCATION);
        let location = location.and_then(|l| l.to_str().ok()).map(str::to_owned);
        let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await;
        match body {
            Ok(body) => Ok((status, location, body.to_bytes())),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                self.open = None;
                Err(HttpError::TooLarge(url.clone()))
            }
            Err(error) => Err(broken(error.to_string())),
        }
    }

    async fn connect(&self, url: &Url) -> Result<Open, HttpError> {
        let server = url.authority();
        let to = (url.host.as_str(), url.port);
        let socket = match within(CONNECT_TIMEOUT, TcpStream::connect(to)).await {
            Ok(socket) => socket,
            Err(error) => return Err(HttpError::Connect { server, error }),
        };
        let _ = socket.set_nodelay(true);
        let (sender, driver) = if url.tls {
            let name = ServerName::try_from(url.host.clone()).map_err(std::io::Error::other);
            let greeted = match name {
                Ok(name) => within(CONNECT_TIMEOUT, self.tls.connect(name, socket)).await,
                Err(error) => Err(error),
            };
            let stream =
                greeted.map_err(|error| HttpError::Tls { server: server.clone(), error })?;
            begin(stream).await
        } else {
            begin(socket).await
        }
        .map_err(|error| HttpError::Broken { server, problem: error.to_string() })?;
        Ok(Open { to: url.clone(), sender, driver })
    }
}

async fn within<T>(
    time: Duration,
    doing: impl Future<Output = std::io::Result<T>>,
) -> std::io::Result<T> {
    timeout(time, doing).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

async fn begin<S>(stream: S) -> hyper::Result<(SendRequest<Empty<Bytes>>, JoinHandle<()>)>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(async move {
        // Its error reaches the one who asked.
        let _ = connection.await;
    });
    Ok((sender, driver))
}
