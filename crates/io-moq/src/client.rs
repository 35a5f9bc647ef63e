//! Our end of a connection to somebody else's server: watching its tracks, publishing ours.
//!
//! A [`Client`] does the work of the connection for as long as [`Client::run`] is polled; a [`Handle`] asks. What
//! we publish is a broadcast on a spine of our own, which the server subscribes to as any peer does; what we
//! subscribe to is written into tracks of a [`Remote`], as what is published to us is.

mod fetch;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use media::admission::{Door, Refused};
use moqt::session::{Command, Config, Event};
use moqt::{
    Answer, DoneCode, Filter, Location, Node, Parameters, Redirect, Request, RequestError,
    ResetCode, Session, SessionCode, Version,
};
use spine::broadcast::Producer;
use spine::{NodeId, Origin, Path, PublishError, Route, Takeover, TrackName, track};
use tokio::sync::{mpsc, oneshot};

use crate::clock;
use crate::limits::{PUBLISHED_TRACKS_MAX, STAGING_BYTES};
use crate::link::{Driver, Link, Told};
use crate::listen::{Counters, Pass, protocols};
use crate::names::path_of;
use crate::publish::{Denied, ask, info_of};
use crate::qlog::{Log, Logs, Side};
use crate::session::{Connected, Relay};
use crate::take::Taken;
pub use fetch::{Fetched, Item};
pub use moqt::Namespace;

pub use crate::transport::{ConnectError, Ended, EndpointError, Trust};
use crate::transport::{Connection, Endpoint, Known};

/// Where to, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// A name or an address, without brackets: what the certificate must be for.
    pub host: String,
    /// UDP.
    pub port: u16,
    /// What follows the authority in the URL, with its query. It may hold a key: keep it out of logs.
    pub path: String,
    /// The draft that is spoken, by its number; none: the one that the server prefers.
    pub draft: Option<u8>,
}

impl Server {
    /// Where a server that goes away sends us with this URI (draft-18 §10.4): the MUST is to go there. Nothing, what is no
    /// address, and what is one of another scheme (a SHOULD NOT): here.
    #[must_use]
    pub fn moved(&self, uri: &str) -> Self {
        self.there(uri).unwrap_or_else(|| self.clone())
    }

    /// Where a request is to be made that a server refuses with REDIRECT and this URI (draft-18
    /// §10.6.1); none, if that is no address of this client's. Decision 103: the path is that of
    /// the URI, and our own, which may hold a key or a token, goes nowhere but to the host and port
    /// that it is for.
    pub fn redirected(&self, uri: &str) -> Option<Self> {
        if uri.is_empty() {
            return Some(self.clone());
        }
        let mut there = self.there(uri)?;
        let here = there.port == self.port && there.host.eq_ignore_ascii_case(&self.host);
        if here && matches!(&*there.path, "" | "/") {
            there.path.clone_from(&self.path);
        }
        Some(there)
    }

    fn there(&self, uri: &str) -> Option<Self> {
        let url = url::Url::parse(uri).ok()?;
        let host = url.host_str().filter(|host| !host.is_empty())?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = match url.scheme() {
            // draft-18 §3.1. `https` is WebTransport's alone, which this client does not speak.
            "moqt" => url.port().unwrap_or(443),
            _ => return None,
        };
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let path = format!("{}{query}", url.path());
        Some(Self { host, port, path, draft: self.draft })
    }

    /// Host and port as a URL has them.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The name leads nowhere.
    #[error("can't find {host}: {error}")]
    Name {
        /// The host.
        host: String,
        /// The system's words.
        error: std::io::Error,
    },
    /// There is no socket, or no TLS.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// No connection.
    #[error("can't connect to {server}: {error}")]
    Connect {
        /// Host and port.
        server: String,
        /// Why.
        error: ConnectError,
    },
}

/// Why something that was asked for is not given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The server says why.
    #[error("{}", words(.0))]
    Answered(RequestError),
    /// The session is over.
    #[error("the connection ended")]
    Over,
    /// The name can't be asked for, or is asked for already.
    #[error("this can't be asked for")]
    Misuse,
}

impl Denial {
    /// Whether asking again later may help: nothing is there yet.
    pub fn is_absence(&self) -> bool {
        use moqt::RequestCode::{DoesNotExist, Timeout};
        matches!(self, Self::Answered(error) if matches!(error.code, DoesNotExist | Timeout))
    }

    /// Where the server wants it asked for, if it says so.
    pub fn redirect(&self) -> Option<&Redirect> {
        match self {
            Self::Answered(error) => error.redirect.as_ref(),
            _ => None,
        }
    }

    /// Whether there is no object yet where a range begins.
    pub fn is_ahead(&self) -> bool {
        matches!(self, Self::Answered(error) if error.code == moqt::RequestCode::InvalidRange)
    }

    /// Whether the server took us for somebody who may not do this.
    pub fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Answered(error) if error.code == moqt::RequestCode::Unauthorized)
    }
}

fn words(error: &RequestError) -> String {
    if let Some(redirect) = &error.redirect {
        return format!("it is {}", place(redirect));
    }
    match error.reason.escape_debug().to_string() {
        reason if reason.is_empty() => format!("{:?}", error.code),
        reason => reason,
    }
}

/// Where a server sends us, in words: without the path, which may hold a key.
pub fn place(redirect: &Redirect) -> String {
    let url = url::Url::parse(&redirect.uri).ok().filter(url::Url::has_host);
    let at = match (url, &*redirect.uri) {
        (None, "") => "under another name".to_owned(),
        (None, _) => "at something that is no address".to_owned(),
        (Some(url), _) => {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            let host = url.host_str().unwrap_or_default();
            format!("at {}://{host}{port}/", url.scheme())
        }
    };
    match redirect.namespace.is_root() {
        true => at,
        false => format!("{at}, as {}", redirect.namespace),
    }
}

impl From<Denied> for Denial {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Answered(error) => Self::Answered(error),
            Denied::Over => Self::Over,
            Denied::Misuse => Self::Misuse,
        }
    }
}

/// Why [`Client::run`] comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Over {
    /// The connection is over.
    Ended(Ended),
    /// The server asks us to leave (draft-18 §10.4): nothing new can be asked for here, while what is open goes on for some
    /// seconds, if this is run further. Where to is what [`Server::moved`] makes of it.
    GoAway {
        /// Another server's address; empty: the same. It may hold a key.
        uri: String,
    },
}

impl Over {
    /// In words, the peer's or ours. A stranger's: to be escaped.
    pub fn reason(&self) -> &str {
        match self {
            Self::Ended(ended) => &ended.reason,
            Self::GoAway { .. } => "the server is going away",
        }
    }
}

/// Who pulls from a server for others.
pub(crate) struct Pulling {
    /// Which node of a network it is.
    pub(crate) node: Option<Node>,
    /// Where its sessions are written down.
    pub(crate) logs: Option<Logs>,
    /// What is known of the server from earlier.
    pub(crate) known: Arc<Known>,
    /// What is said first may go with the first packet: it is no secret, and may be said again by anybody.
    pub(crate) early: bool,
}

/// A connection to a server, and what it asks of us.
pub struct Client {
    driver: Driver,
    serving: Connected,
    endpoint: Endpoint,
}

impl Client {
    /// Connects. What `origin` holds is what the server may subscribe to.
    pub async fn connect(
        server: &Server,
        trust: Trust,
        origin: Origin,
    ) -> Result<Self, ClientError> {
        Self::connect_as(server, trust, origin, None).await
    }

    /// The same as a node of a network, which wants to know soon that the server is gone.
    pub(crate) async fn connect_as(
        server: &Server,
        trust: Trust,
        origin: Origin,
        pulling: Option<Pulling>,
    ) -> Result<Self, ClientError> {
        let failed = |error| ClientError::Connect { server: server.authority(), error };
        let protocols = match server.draft {
            None => protocols(),
            Some(draft) => {
                let version = Version::from_draft(draft);
                vec![version.ok_or_else(|| failed(ConnectError::Protocol))?.alpn()]
            }
        };
        let found = tokio::net::lookup_host((server.host.as_str(), server.port)).await;
        let wrong = |error| ClientError::Name { host: server.host.clone(), error };
        let mut last = failed(ConnectError::TimedOut);
        let mut found: Vec<SocketAddr> = found.map_err(wrong)?.collect();
        // Where it was the last time.
        let was = pulling.as_ref().and_then(|pulling| pulling.known.address());
        found.sort_by_key(|address| Some(*address) != was);
        let only = found.len() == 1;
        for address in found {
            let endpoint = Endpoint::client(address)?;
            let (name, trust) = (&server.host, trust.clone());
            let connected = match &pulling {
                None => endpoint.connect(address, name, trust, &protocols).await,
                Some(Pulling { known, early, .. }) => {
                    let with = (trust, &*protocols);
                    // Nobody has answered yet where it is early: of several addresses the next one would not be tried.
                    let early = *early && only;
                    endpoint.connect_up(address, name, with, (known, early)).await
                }
            };
            match connected {
                Ok(connection) => {
                    return Ok(Self::begin(connection, endpoint, server, origin, pulling));
                }
                Err(error) => last = failed(error),
            }
        }
        Err(last)
    }

    /// Begins a session over a connection.
    pub(crate) fn begin(
        connection: Connection,
        endpoint: Endpoint,
        server: &Server,
        origin: Origin,
        pulling: Option<Pulling>,
    ) -> Self {
        let (node, logs) = pulling.map_or((None, None), |pulling| (pulling.node, pulling.logs));
        let version = connection.protocol().and_then(|alpn| Version::from_alpn(&alpn));
        let config = Config {
            path: server.path.clone(),
            authority: server.authority(),
            implementation: concat!("airwave/", env!("CARGO_PKG_VERSION")).to_owned(),
            node,
            // invariant: TLS lets nothing pass that we did not offer.
            ..Config::new(version.unwrap_or(Version::Draft18))
        };
        let log =
            logs.map_or(Log::off(), |logs| logs.begin(&connection, config.version, Side::Client));
        let counters = Arc::new(Counters::default());
        let session = Session::client(clock::now(), config);
        let driver = Driver::new(connection, session, counters.traffic.clone(), log);
        // A server may subscribe and fetch; it publishes nothing to us that we did not ask for.
        let closed: Door = Arc::new(|_| Box::pin(async { Err(Refused::NoKey) }));
        let relay = Relay {
            origin,
            door: closed,
            gate: Arc::new(|_| Box::pin(async { Ok(Pass::default()) })),
            changes: None,
            audience: Arc::new(|_| Box::new(())),
            past: Arc::new(|_| Box::pin(async { None })),
            guests: Arc::new(|_, _| None),
            counters,
            open_namespaces: Vec::new(),
            open: Default::default(),
            elsewhere: Default::default(),
            logs: None,
            node: None,
        };
        let serving = Connected::new(driver.link().clone(), Arc::new(relay), None);
        Self { driver, serving, endpoint }
    }

    /// Who asks over this connection.
    pub fn handle(&self) -> Handle {
        Handle { link: self.driver.link().clone() }
    }

    /// Works until the connection is over, or the server asks us to leave. Dropping the future loses nothing.
    pub async fn run(&mut self) -> Over {
        loop {
            match self.driver.next().await {
                // Of one request that goes on elsewhere, all do.
                Ok(Event::GoAway { request, uri, .. }) if request.is_none() || !uri.is_empty() => {
                    return Over::GoAway { uri };
                }
                Ok(event) => self.serving.event(event),
                Err(ended) => {
                    self.driver.log_end(&ended);
                    return Over::Ended(ended);
                }
            }
        }
    }

    /// Whether a connection that has ended so was lost: nobody said goodbye, and it was not us who had enough of it. Who has asked us
    /// to leave says goodbye for itself, and not for what it brings.
    pub(crate) fn was_lost(&self, ended: &Ended) -> bool {
        let link = self.driver.link();
        let goodbye = ended.code == Some(link.version.session_code(SessionCode::NoError));
        let asked = link.with(|session| session.peer_goes_away());
        self.driver.closed_with().is_none() && (asked || !goodbye)
    }

    /// Does what is left to do when the connection is over.
    pub(crate) async fn run_on(&mut self) -> Infallible {
        self.driver.run_on().await
    }

    /// Works until the connection is over, whatever the server asks for.
    pub async fn run_out(&mut self) -> Ended {
        loop {
            if let Over::Ended(ended) = self.run().await {
                return ended;
            }
        }
    }

    /// Works until everything that the server subscribed to was sent, which ends with its tracks; then
    /// says goodbye.
    pub async fn finish(mut self) {
        while self.serving.serves() {
            tokio::select! {
                event = self.driver.next() => match event {
                    Ok(event) => self.serving.event(event),
                    Err(_) => return,
                },
                // What is served may have ended without a word from the peer.
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
        let handle = self.handle();
        handle.goodbye();
        self.run_out().await;
        self.leave().await;
    }

    /// After the connection is over: until the last words have gone out, a second at most. A program that ends
    /// before that looks as if it was lost.
    pub async fn leave(self) {
        self.driver.link().connection.close(0, "");
        let _ = tokio::time::timeout(LAST_WORDS, self.endpoint.wait_idle()).await;
    }
}

/// A connection that is dropped without a word would look like one that broke.
impl Drop for Client {
    fn drop(&mut self) {
        self.driver.link().connection.close(0, "");
    }
}

const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(50);

const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(1);

/// Asks over a connection. While [`Client::run`] is not polled, nothing is answered.
#[derive(Clone)]
pub struct Handle {
    pub(crate) link: Arc<Link>,
}

impl Handle {
    /// Publishes the namespace: from now on the server may subscribe to its tracks.
    pub async fn publish(&self, namespace: &Namespace) -> Result<Published, Denial> {
        let (namespace, parameters) = (namespace.clone(), Parameters::default());
        let request = Request::PublishNamespace { namespace, parameters };
        let (_, mut told) = self.link.request(request).map_err(|_| Denial::Misuse)?;
        loop {
            match told.recv().await {
                Some(Told::Event(Event::Answered { answer, .. })) => {
                    return match answer {
                        Answer::Error(error) => Err(Denial::Answered(error)),
                        Answer::Ok { .. } | Answer::FetchOk(_) => Ok(Published { told }),
                    };
                }
                Some(Told::Event(Event::Cancelled { .. })) | None => return Err(Denial::Over),
                Some(_) => {}
            }
        }
    }

    /// The broadcast of a namespace, to subscribe to its tracks.
    pub fn remote(&self, namespace: Namespace) -> Result<Remote, PublishError> {
        let limits = spine::Limits {
            cache_bytes: STAGING_BYTES,
            broadcasts: 1,
            tracks_per_broadcast: PUBLISHED_TRACKS_MAX,
            ..spine::Limits::default()
        };
        let path = path_of(&namespace).unwrap_or_else(Path::root);
        let route = Route::local(NodeId(0), 0);
        let staging = Origin::new(limits).publish(&path, route, Takeover::Refuse)?;
        Ok(Remote { link: self.link.clone(), namespace, staging })
    }

    /// Hears of the namespaces that begin so. Ends when it is dropped, or with the connection.
    pub fn namespaces(&self, prefix: Namespace) -> Result<Namespaces, Denial> {
        let parameters = Parameters::default();
        let request = Request::SubscribeNamespace { prefix, tracks: false, parameters };
        let (id, told) = self.link.request(request).map_err(|_| Denial::Misuse)?;
        Ok(Namespaces { link: self.link.clone(), id, told })
    }

    /// Ends the session in good order.
    pub fn goodbye(&self) {
        self.link.close(SessionCode::NoError, "");
    }
}

/// A namespace that the server takes tracks of.
pub struct Published {
    told: mpsc::UnboundedReceiver<Told>,
}

impl Published {
    /// Waits until the server wants no more of it.
    pub async fn withdrawn(&mut self) {
        loop {
            match self.told.recv().await {
                Some(Told::Event(Event::Cancelled { .. })) | None => return,
                Some(_) => {}
            }
        }
    }
}

/// The namespaces that a server tells of.
pub struct Namespaces {
    link: Arc<Link>,
    id: moqt::RequestId,
    told: mpsc::UnboundedReceiver<Told>,
}

impl Namespaces {
    /// The next one that is there.
    pub async fn next(&mut self) -> Result<Namespace, Denial> {
        loop {
            match self.told.recv().await {
                Some(Told::Event(Event::Namespace { namespace, .. })) => return Ok(namespace),
                Some(Told::Event(Event::Answered { answer: Answer::Error(error), .. })) => {
                    return Err(Denial::Answered(error));
                }
                Some(Told::Event(Event::Cancelled { .. })) | None => return Err(Denial::Over),
                Some(_) => {}
            }
        }
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        self.link.disown(self.id);
        self.link.command(Command::Cancel { id: self.id, code: ResetCode::Cancelled });
    }
}

/// A broadcast of the server.
pub struct Remote {
    link: Arc<Link>,
    namespace: Namespace,
    staging: Producer,
}

/// Why a track that was subscribed to did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It may go on elsewhere.
    #[error("the server is going away")]
    GoingAway,
    /// With its session.
    #[error("the connection ended")]
    Connection,
    /// For this reason.
    #[error("{0}")]
    Ended(String),
}

/// A track that comes. Dropped, it is not subscribed to any more.
pub struct Subscribed {
    /// What has come.
    pub track: track::Consumer,
    /// The largest object that there was when the server agreed: what is before it and does not come is the past.
    pub largest: Option<Location>,
    over: oneshot::Receiver<Taken>,
}

impl Subscribed {
    /// How it ended, once everything has come: whether the publisher ended the track; else why it did not go on.
    pub async fn over(&mut self) -> Result<(), Broken> {
        let words = match (&mut self.over).await {
            Ok(Taken::Done(DoneCode::TrackEnded | DoneCode::SubscriptionEnded)) => return Ok(()),
            Ok(Taken::Done(DoneCode::GoingAway)) => return Err(Broken::GoingAway),
            Ok(Taken::Done(code)) => format!("the server ended the subscription: {code:?}"),
            Ok(Taken::Cancelled | Taken::Moved | Taken::Unread | Taken::HandedOver) => {
                "the server broke the subscription off".to_owned()
            }
            Ok(Taken::Refused) => "what came can't be kept".to_owned(),
            Ok(Taken::Malformed) => "what came contradicts itself".to_owned(),
            Err(_) => return Err(Broken::Connection),
        };
        Err(Broken::Ended(words))
    }
}

impl Remote {
    /// Subscribes to a track.
    pub async fn subscribe(&self, name: &str, filter: Filter) -> Result<Subscribed, Denial> {
        let bytes = Bytes::copy_from_slice(name.as_bytes());
        let track = moqt::TrackName::new(self.namespace.clone(), bytes);
        let granted = ask(&self.link, track.map_err(|_| Denial::Misuse)?, filter, None).await?;
        let name = TrackName::new(name.to_owned()).map_err(|_| Denial::Misuse)?;
        // Derived: it ends when nobody writes it any more.
        let made = self.staging.consume().derive(name, info_of(&granted.properties));
        let producer = made.map_err(|_| Denial::Misuse)?;
        let largest = granted.largest();
        let track = producer.consume();
        let (mut tell, over) = oneshot::channel();
        self.link.run(async move {
            tokio::select! {
                taken = granted.take(producer, false, None) => {
                    let _ = tell.send(taken);
                }
                () = tell.closed() => {}
            }
        });
        Ok(Subscribed { track, largest, over })
    }
}
