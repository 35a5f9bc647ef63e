//! The conversation's HTTP: a connection for each request, with bounds for time and size. There are a dozen requests in
//! two months.

use std::pin::Pin;

use bytes::Bytes;
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::client::conn::http1::handshake;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::limits::{ANSWER_BYTES_MAX, ANSWER_TIMEOUT, CONNECT_TIMEOUT};

/// Makes requests over TLS, and only so (RFC 8555 §6.1).
pub(crate) struct Https(pub(crate) TlsConnector);

/// Why there was no answer; for who set up the server.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("can't connect to {host}: {error}")]
    Connect { host: String, error: std::io::Error },
    #[error("{host}: TLS: {error}")]
    Tls { host: String, error: std::io::Error },
    #[error("{host} did not answer in time")]
    Silent { host: String },
    #[error("{host}: {problem}")]
    Broken { host: String, problem: String },
    #[error("{0} is no https:// URL")]
    Url(Uri),
}

impl HttpClient for Https {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let tls = self.0.clone();
        Box::pin(async move {
            let answer = exchange(tls, request).await;
            answer.map(BytesResponse::from).map_err(|problem| Error::Other(problem.into()))
        })
    }
}

async fn exchange(
    tls: TlsConnector,
    request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<Full<Bytes>>, Problem> {
    let url = request.uri().clone();
    let (Some("https"), Some(authority)) = (url.scheme_str(), url.authority()) else {
        return Err(Problem::Url(url));
    };
    let host = authority.to_string();
    let broken = |problem: String| Problem::Broken { host: host.clone(), problem };
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
    head.uri = Uri::builder()
        .path_and_query(url.path_and_query().map_or("/", |path| path.as_str()))
        .build()
        .map_err(|error| broken(error.to_string()))?;
    let named = HeaderValue::from_str(&host).map_err(|error| broken(error.to_string()))?;
    head.headers.insert(HOST, named);
    let request = Request::from_parts(head, Full::new(body));

    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    let to = (name.to_owned(), authority.port_u16().unwrap_or(443));
    let connect = async {
        let socket = TcpStream::connect(to).await;
        let socket = socket.map_err(|error| Problem::Connect { host: host.clone(), error })?;
        let tls_problem = |error| Problem::Tls { host: host.clone(), error };
        let name = ServerName::try_from(name.to_owned());
        let name = name.map_err(|error| tls_problem(std::io::Error::other(error)))?;
        tls.connect(name, socket).await.map_err(tls_problem)
    };
    let silent = |_| Problem::Silent { host: host.clone() };
    let stream = timeout(CONNECT_TIMEOUT, connect).await.map_err(silent)??;

    let answered = async {
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        let answer = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            Ok::<_, hyper::Error>((head, body))
        };
        // The connection moves its bytes while the answer is waited for, and goes with it.
        let (mut connection, mut answer) = (std::pin::pin!(connection), std::pin::pin!(answer));
        tokio::select! {
            answered = &mut answer => answered,
            _ = &mut connection => answer.await,
        }
    };
    let answered = timeout(ANSWER_TIMEOUT, answered).await.map_err(silent)?;
    let (head, body) = answered.map_err(|error| broken(error.to_string()))?;
    let body = body.map_err(|error| broken(error.to_string()))?.to_bytes();
    Ok(Response::from_parts(head, Full::new(body)))
}
