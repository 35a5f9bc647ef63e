//! A listener, and clients of it.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::Publication;
use media::admission::{Admitted, Door, Refused};
use moqt::session::{Command, Config, Event};
use moqt::{
    Answer, AuthToken, Filter, Namespace, Node, Parameters, Properties, Request, RequestId,
    Session, Token, TrackName, Version,
};
use proxy::network::Networks;
use proxy::share::Shares;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use spine::{
    Chunk, Header, NodeId, Origin, Path, Policy, Route, SubgroupEvent, Takeover, TrackInfo,
};
use testkit::Shape;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub(super) use super::told::answered;
use crate::client::Server;
use crate::clock;
use crate::limits::{AHEAD_BYTES_ALL_MAX, CONNECTIONS_MAX, HALF_OPEN_UNPROVED_MAX};
use crate::link::{DataStream, Driver, Link, Told};
use crate::listen::{
    self, Barred, Counters, Elsewhere, Judge, Pass, Place, Service, Watching, Why, protocols,
};
use crate::qlog::{Log, Logs};
use crate::take::{Taken, take};
use crate::traffic::Traffic;
use crate::transport::{
    Certificate, Congestion, ConnectError, Connection, Endpoint, Network, Returning, Trust,
    fingerprint,
};
use crate::uplink::Uplink;

/// Long enough for a busy machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, future).await;
    waited.unwrap_or_else(|_| panic!("waited for {what}"))
}

pub(super) fn namespace(fields: &[&str]) -> Namespace {
    Namespace::new(fields.iter().map(|f| Bytes::copy_from_slice(f.as_bytes()))).unwrap()
}

pub(super) fn track(fields: &[&str], name: &str) -> TrackName {
    TrackName::new(namespace(fields), Bytes::copy_from_slice(name.as_bytes())).unwrap()
}

/// What carries a session, of this draft.
#[derive(Debug, Clone, Copy)]
pub(super) enum Carrier {
    Quic(Version),
    WebTransport(Version),
}

pub(super) struct Rig {
    pub(super) origin: Origin,
    /// What is over.
    pub(super) past: Origin,
    /// What viewers publish.
    pub(super) guests: Origin,
    pub(super) endpoint: Endpoint,
    pub(super) hash: [u8; 32],
    stop: watch::Sender<bool>,
    /// Set: no token is good any more.
    pub(super) revoked: Arc<AtomicBool>,
    /// Set: nor was it taken back, its time is over; or nobody can say.
    pub(super) why: Arc<Mutex<Why>>,
    /// How often it was looked who may watch.
    pub(super) looks: Arc<AtomicUsize>,
    /// Places among those who watch.
    pub(super) watching: Arc<AtomicUsize>,
    /// Where peers are sent when it stops.
    pub(super) elsewhere: Elsewhere,
    /// Whom it pulls from.
    pub(super) uplinks: watch::Sender<Vec<Arc<Uplink>>>,
    /// Who wants to publish has no answer while this is not set.
    pub(super) answers: watch::Sender<bool>,
    /// Nobody says whether `SLOW` is good while this is not set.
    pub(super) says: watch::Sender<bool>,
    pub(super) counters: Arc<Counters>,
}

/// A new certificate with so many names more, and its fingerprint.
pub(super) fn certificate(names: usize) -> (Certificate, [u8; 32]) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let more = (0..names).map(|n| format!("one-of-its-many-other-names-{n}.example.com"));
    let names: Vec<String> = std::iter::once("localhost".to_owned()).chain(more).collect();
    let params = rcgen::CertificateParams::new(names).unwrap();
    let made = params.self_signed(&pair).unwrap();
    let hash = fingerprint(made.der());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
    (Certificate { chain: vec![made.der().clone()], key }, hash)
}

/// What is different from what users get.
pub(super) struct Set {
    pub(super) limits: spine::Limits,
    pub(super) half_open_unproved: usize,
    pub(super) logs: Option<Logs>,
    pub(super) connections: Arc<Shares>,
    pub(super) proxies: Networks,
    /// Bytes read ahead, of all sessions.
    pub(super) ahead: usize,
    /// Which node it is.
    pub(super) node: Option<Node>,
    /// What it pulls from.
    pub(super) uplinks: Vec<Uplink>,
    /// What says that a right may have ended, and how long they last.
    pub(super) changes: Option<watch::Receiver<()>>,
    pub(super) lasts: Option<Duration>,
}

impl Default for Set {
    fn default() -> Self {
        Self {
            limits: spine::Limits::default(),
            half_open_unproved: HALF_OPEN_UNPROVED_MAX,
            logs: None,
            connections: Shares::configured(CONNECTIONS_MAX, 0),
            proxies: Networks::default(),
            ahead: AHEAD_BYTES_ALL_MAX,
            node: None,
            uplinks: Vec::new(),
            changes: None,
            lasts: None,
        }
    }
}

struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Rig {
    /// Listens; the key `KEY` is that of the input `one`, and `open` is an open namespace.
    pub(super) fn new() -> Self {
        Self::with(spine::Limits::default())
    }

    /// The same with this much memory.
    pub(super) fn with(limits: spine::Limits) -> Self {
        Self::made(limits, HALF_OPEN_UNPROVED_MAX, 0)
    }

    /// The same that asks for proofs above so many half-open connections, with so many names more in its certificate.
    pub(super) fn made(limits: spine::Limits, half_open_unproved: usize, names: usize) -> Self {
        let (certificate, hash) = certificate(names);
        let any = ([127, 0, 0, 1], 0).into();
        let endpoint = Endpoint::server(any, certificate, &protocols()).unwrap();
        Self::serve(endpoint, hash, Set { limits, half_open_unproved, ..Set::default() })
    }

    /// The same with this that is different, on the loopback.
    pub(super) fn configured(set: Set) -> Self {
        let (certificate, hash) = certificate(0);
        let endpoint = Endpoint::server(([127, 0, 0, 1], 0).into(), certificate, &protocols());
        Self::serve(endpoint.unwrap(), hash, set)
    }

    /// The same in a network of virtual time.
    pub(super) fn over(network: &Network, congestion: Congestion) -> Self {
        Self::set(network, congestion, Set::default())
    }

    /// The same with this that is different.
    pub(super) fn set(network: &Network, congestion: Congestion, set: Set) -> Self {
        let (certificate, hash) = certificate(0);
        let endpoint = network.server(certificate, &protocols(), congestion).unwrap();
        Self::serve(endpoint, hash, set)
    }

    /// The same whose sessions are written down.
    pub(super) fn logged(logs: Logs) -> Self {
        let (certificate, hash) = certificate(0);
        let endpoint = Endpoint::server(([127, 0, 0, 1], 0).into(), certificate, &protocols());
        Self::serve(endpoint.unwrap(), hash, Set { logs: Some(logs), ..Set::default() })
    }

    fn serve(endpoint: Endpoint, hash: [u8; 32], set: Set) -> Self {
        let Set { limits, half_open_unproved, logs, connections, proxies, ahead, .. } = set;
        let uplinks = watch::Sender::new(set.uplinks.into_iter().map(Arc::new).collect());
        let (node, lasts) = (set.node, set.lasts);
        let origin = Origin::new(limits);
        let past = Origin::new(spine::Limits::default());
        let guests = Origin::new(spine::Limits::default());
        let (stop, mut stopped) = watch::channel(false);
        let (revoked, watching) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (why, looks) = (Arc::new(Mutex::new(Why::Unauthorized)), Arc::<AtomicUsize>::default());
        let traffic = Arc::new(Traffic::with(ahead));
        let counters = Arc::new(Counters { traffic, ..Counters::default() });
        let elsewhere = Elsewhere::default();
        let (answers, answered) = watch::channel(true);
        let (says, said) = watch::channel(false);
        let service = Service {
            origin: origin.clone(),
            door: door(origin.clone(), answered),
            judge: Judge {
                gate: {
                    let (revoked, why, looks) = (revoked.clone(), why.clone(), looks.clone());
                    Arc::new(move |watching| {
                        looks.fetch_add(1, Ordering::Relaxed);
                        let gone = revoked.load(Ordering::Relaxed).then(|| *why.lock().unwrap());
                        let mut said = said.clone();
                        let is_slow =
                            watching.tokens.iter().any(|t| t.expose() == b"SLOW".as_slice());
                        Box::pin(async move {
                            if is_slow {
                                let _ = said.wait_for(|said| *said).await;
                            }
                            gate(&watching, gone).map(|()| Pass { lasts })
                        })
                    })
                },
                changes: set.changes,
            },
            audience: {
                let watching = watching.clone();
                Arc::new(move |_| Box::new(Counted::new(&watching)))
            },
            past: {
                let past = past.clone();
                Arc::new(move |path| {
                    let found = past.get(&path);
                    Box::pin(async move { found })
                })
            },
            guests: {
                let guests = guests.clone();
                Arc::new(move |path, _| place(&guests, path))
            },
            open_namespaces: vec!["open".to_owned()],
            connections,
            proxies: Arc::new(proxies),
            half_open_unproved,
            elsewhere: elsewhere.clone(),
            logs,
            node,
            uplinks: uplinks.subscribe(),
            counters: counters.clone(),
        };
        let until = async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        tokio::spawn(listen::run(endpoint.clone(), service, until));
        Self {
            origin,
            past,
            guests,
            endpoint,
            hash,
            stop,
            revoked,
            why,
            looks,
            watching,
            elsewhere,
            uplinks,
            answers,
            says,
            counters,
        }
    }

    /// A client with this path in its URL.
    pub(super) async fn client(&self, path: &str) -> Client {
        self.client_with(path, Vec::new()).await
    }

    /// A client with this path in its URL and these tokens in its SETUP.
    pub(super) async fn client_with(&self, path: &str, tokens: Vec<Token>) -> Client {
        let to = self.endpoint.local_address().unwrap();
        let endpoint = Endpoint::client(to).unwrap();
        let trust = Trust::Fingerprint(self.hash);
        let connection = endpoint.connect(to, "localhost", trust, &protocols()).await.unwrap();
        self.drive(endpoint, connection, path, tokens)
    }

    /// A client that says which node it is.
    pub(super) async fn node(&self, id: Option<u64>) -> Client {
        let to = self.endpoint.local_address().unwrap();
        let endpoint = Endpoint::client(to).unwrap();
        let trust = Trust::Fingerprint(self.hash);
        let connection = endpoint.connect(to, "localhost", trust, &protocols()).await.unwrap();
        let config =
            Config { node: id.and_then(Node::new), ..config(&connection, "/", Vec::new()) };
        self.drive_as(endpoint, connection, config)
    }

    /// What another node needs to pull from this one.
    pub(super) fn uplink(&self) -> Uplink {
        let (host, port) = ("127.0.0.1".to_owned(), self.endpoint.local_address().unwrap().port());
        Uplink {
            server: Server { host, port, path: "/".to_owned(), draft: None },
            trust: Trust::Fingerprint(self.hash),
            prefixes: vec![Namespace::root()],
            opens: None,
            status: Arc::default(),
        }
    }

    /// A client that finds the listener at this address.
    pub(super) async fn client_at(&self, to: SocketAddr) -> Client {
        let endpoint = Endpoint::client(to).unwrap();
        let trust = Trust::Fingerprint(self.hash);
        let connection = endpoint.connect(to, "localhost", trust, &protocols()).await.unwrap();
        self.drive(endpoint, connection, "/", Vec::new())
    }

    /// A client at the other end of this network.
    pub(super) async fn client_over(&self, network: &Network, line: Shape) -> Client {
        self.client_from(network.client(line).unwrap()).await
    }

    /// An encoder at the other end of this network, with its key.
    pub(super) async fn encoder_over(&self, network: &Network, line: Shape) -> Client {
        let endpoint = network.client(line).unwrap();
        let connection = self.connect(&endpoint, Carrier::Quic(Version::Draft18)).await;
        self.drive(endpoint, connection, "/KEY", Vec::new())
    }

    /// The same that speaks this draft alone.
    pub(super) async fn client_over_in(&self, network: &Network, version: Version) -> Client {
        self.client_by(network, Shape::default(), Carrier::Quic(version)).await
    }

    /// The same that takes so many updates of a request before it has answered one.
    pub(super) async fn client_taking(
        &self,
        network: &Network,
        version: Version,
        request_updates: usize,
    ) -> Client {
        let endpoint = network.client(Shape::default()).unwrap();
        let connection = self.connect(&endpoint, Carrier::Quic(version)).await;
        let config = Config { request_updates, ..config(&connection, "/", Vec::new()) };
        self.drive_as(endpoint, connection, config)
    }

    /// The same over this, at the end of this line.
    pub(super) async fn client_by(
        &self,
        network: &Network,
        line: Shape,
        carrier: Carrier,
    ) -> Client {
        self.client_on(network.client(line).unwrap(), carrier).await
    }

    /// The same behind this socket.
    pub(super) async fn client_on(&self, endpoint: Endpoint, carrier: Carrier) -> Client {
        let connection = self.connect(&endpoint, carrier).await;
        self.drive(endpoint, connection, "/", Vec::new())
    }

    async fn connect(&self, endpoint: &Endpoint, carrier: Carrier) -> Connection {
        let (to, trust) = (self.endpoint.local_address().unwrap(), Trust::Fingerprint(self.hash));
        let connected = match carrier {
            Carrier::Quic(version) => {
                endpoint.connect(to, "localhost", trust, &[version.alpn()]).await
            }
            Carrier::WebTransport(version) => {
                let url = format!("https://{to}/");
                endpoint.connect_web(to, &url, trust, &[version.alpn()]).await
            }
        };
        connected.unwrap()
    }

    /// A client behind this socket, which others may share.
    pub(super) async fn client_from(&self, endpoint: Endpoint) -> Client {
        self.knock(endpoint).await.unwrap()
    }

    /// A client behind this socket, if it is let in.
    pub(super) async fn knock(&self, endpoint: Endpoint) -> Result<Client, ConnectError> {
        let to = self.endpoint.local_address().unwrap();
        let trust = Trust::Fingerprint(self.hash);
        let connection = endpoint.connect(to, "localhost", trust, &protocols()).await?;
        Ok(self.drive(endpoint, connection, "/", Vec::new()))
    }

    /// A client that may have been here before. Says whether it had not to wait for its handshake.
    pub(super) async fn client_again(
        &self,
        endpoint: Endpoint,
        client: &Returning,
    ) -> (Client, bool) {
        let to = self.endpoint.local_address().unwrap();
        let (connection, early) = endpoint.connect_again(to, client).await.unwrap();
        (self.drive(endpoint, connection, "/", Vec::new()), early)
    }

    /// A client that speaks this draft alone.
    pub(super) async fn client_of(&self, version: Version) -> Client {
        let to = self.endpoint.local_address().unwrap();
        let endpoint = Endpoint::client(to).unwrap();
        let trust = Trust::Fingerprint(self.hash);
        let protocols = [version.alpn()];
        let connection = endpoint.connect(to, "localhost", trust, &protocols).await.unwrap();
        self.drive(endpoint, connection, "/", Vec::new())
    }

    /// A client with this path in its URL, over WebTransport.
    pub(super) async fn web_client(&self, path: &str) -> Client {
        let to = self.endpoint.local_address().unwrap();
        let endpoint = Endpoint::client(to).unwrap();
        let trust = Trust::Fingerprint(self.hash);
        let url = format!("https://{to}{path}");
        let connection = endpoint.connect_web(to, &url, trust, &protocols()).await.unwrap();
        self.drive(endpoint, connection, path, Vec::new())
    }

    fn drive(
        &self,
        endpoint: Endpoint,
        connection: Connection,
        path: &str,
        tokens: Vec<Token>,
    ) -> Client {
        let config = config(&connection, path, tokens);
        self.drive_as(endpoint, connection, config)
    }

    fn drive_as(&self, endpoint: Endpoint, connection: Connection, config: Config) -> Client {
        Client::drive(endpoint, connection, Session::client(clock::now(), config))
    }

    /// Asks everybody to leave, and stops.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// A connection that says whatever it is told to.
    pub(super) async fn raw(&self) -> (Endpoint, crate::transport::Connection) {
        let to = self.endpoint.local_address().unwrap();
        let endpoint = Endpoint::client(to).unwrap();
        let trust = Trust::Fingerprint(self.hash);
        let connection = endpoint.connect(to, "localhost", trust, &protocols()).await.unwrap();
        (endpoint, connection)
    }

    /// The same, over this.
    pub(super) async fn stranger(&self, carrier: Carrier) -> (Endpoint, Connection) {
        let to = self.endpoint.local_address().unwrap();
        let endpoint = Endpoint::client(to).unwrap();
        let connection = self.connect(&endpoint, carrier).await;
        // Else the end of its session would not be read.
        tokio::spawn(connection.pump());
        (endpoint, connection)
    }

    /// A broadcast of our own with one track, and a writer of it.
    pub(super) fn broadcast(&self, fields: &[&str]) -> spine::broadcast::Producer {
        let path = Path::new(fields.iter().map(|f| Bytes::copy_from_slice(f.as_bytes()))).unwrap();
        self.origin.publish(&path, Route::local(NodeId(0), 1), Takeover::Replace).unwrap()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
    }
}

fn config(connection: &Connection, path: &str, tokens: Vec<Token>) -> Config {
    // Before the handshake is over: what was agreed on the last time, which is what both want most.
    let protocol = connection.protocol().unwrap_or_else(|| protocols()[0].into());
    Config {
        transport: connection.transport(),
        path: path.to_owned(),
        authority: connection.peer().to_string(),
        tokens,
        ..Config::new(Version::from_alpn(&protocol).unwrap())
    }
}

/// `secret` needs the token `TOKEN`, until it is revoked, or `FRESH`, or `SLOW`; `OLD` was good
/// once. `late` needs `LATE`, and `locked` is open until then. Nobody can say who may watch
/// `unsaid`.
fn gate(watching: &Watching, gone: Option<Why>) -> Result<(), Barred> {
    let is = |name: &str| watching.path.fields().last().is_some_and(|field| field == name);
    if is("near") && watching.peer.ip() != std::net::IpAddr::from([127, 0, 0, 1]) {
        return Err(Barred::unauthorized("not from there"));
    }
    if is("unsaid") {
        return Err(Barred { why: Why::Unknown, words: "ask later".to_owned() });
    }
    let has = |token: &str| watching.tokens.iter().any(|t| t.expose() == token.as_bytes());
    if (is("locked") && gone.is_some()) || (is("late") && !has("LATE")) {
        return Err(Barred::unauthorized("it is locked"));
    }
    assert!(!is("panic"), "a fault of ours");
    let secret = is("secret");
    let is_guess = |token: &moqt::Secret| token.expose().starts_with(b"GUESS");
    let (guesses, guessed) = (watching.tokens.iter().any(is_guess), watching.guesses.any());
    if secret && guesses && !guessed {
        watching.guesses.wrong("GUESS");
    }
    if !secret || has("FRESH") || has("SLOW") || (has("TOKEN") && gone.is_none()) {
        return Ok(());
    }
    if let Some(why) = gone.filter(|_| has("TOKEN")) {
        return Err(Barred { why, words: "it was good until now".to_owned() });
    }
    if guesses {
        // Of the most particular one.
        let is_first = watching.tokens.first().is_some_and(is_guess);
        let first = if is_first { Why::Wrong } else { Why::Unauthorized };
        let why = if guessed { Why::TooMany } else { first };
        return Err(Barred { why, words: "this is not it".to_owned() });
    }
    if has("OLD") {
        return Err(Barred { why: Why::Expired, words: "this token has expired".to_owned() });
    }
    Err(Barred::unauthorized("this needs a token"))
}

/// Viewers publish below `aside`; in `closed` there is no place.
fn place(guests: &Origin, path: &Path) -> Option<Place> {
    let [_, aside, of] = path.fields() else { return None };
    let (closed, guests, path) = (of == "closed", guests.clone(), path.clone());
    let take = move || match closed {
        true => Err("there is no place".to_owned()),
        false => {
            let route = Route::local(NodeId(0), 0);
            guests.publish(&path, route, Takeover::Refuse).map_err(|error| error.to_string())
        }
    };
    let track = spine::TrackName::from_static("said");
    (aside == "aside").then(|| Place { track, take: Box::new(take) })
}

fn door(origin: Origin, answers: watch::Receiver<bool>) -> Door {
    Arc::new(move |asking| {
        let (origin, mut answers) = (origin.clone(), answers.clone());
        Box::pin(async move {
            let _ = answers.wait_for(|answers| *answers).await;
            let own = Path::new(["default", "one"]).unwrap();
            if asking.key != "KEY" {
                return Err(Refused::UnknownKey);
            }
            if asking.path.is_some_and(|path| path != own) {
                return Err(Refused::NotItsInput);
            }
            let now = Instant::now();
            let route = Route::local(NodeId(0), 1);
            let broadcast = origin.publish(&own, route, Takeover::Replace).unwrap();
            let publication = Publication::new(broadcast, asking.clock, 0, now);
            let leave = |publication: Publication, _| {
                publication.end(spine::Close::Ended, Instant::now());
            };
            Ok(Admitted { publication, leave: Box::new(leave) })
        })
    })
}

/// An object as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) group: u64,
    pub(super) id: u64,
    pub(super) via: spine::Via,
    pub(super) properties: Bytes,
    pub(super) payload: Bytes,
}

pub(super) struct Client {
    pub(super) link: Arc<Link>,
    pub(super) events: mpsc::UnboundedReceiver<Event>,
    task: JoinHandle<()>,
    local: Origin,
    pub(super) endpoint: Endpoint,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A subscription of a client.
pub(super) struct Subscribed {
    pub(super) id: RequestId,
    pub(super) answer: Answer,
    pub(super) objects: mpsc::UnboundedReceiver<Object>,
    pub(super) taken: JoinHandle<Taken>,
    _broadcast: spine::broadcast::Producer,
}

impl Subscribed {
    pub(super) async fn next(&mut self) -> Object {
        soon("an object", self.objects.recv()).await.unwrap()
    }
}

impl Client {
    /// Who is at our end of this session, a server's as well.
    pub(super) fn drive(endpoint: Endpoint, connection: Connection, session: Session) -> Self {
        let mut driver = Driver::new(connection, session, Arc::default(), Log::off());
        let link = driver.link().clone();
        let (sender, events) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            // Nobody listening is no end of the connection.
            loop {
                match driver.next().await {
                    Ok(event) => drop(sender.send(event)),
                    // Seen where a test fails.
                    Err(ended) => {
                        break eprintln!("a client: {:?} {}", driver.closed_with(), ended.reason);
                    }
                }
            }
        });
        Client { link, events, task, local: Origin::new(spine::Limits::default()), endpoint }
    }

    pub(super) async fn event(&mut self) -> Event {
        soon("an event", self.events.recv()).await.unwrap()
    }

    /// The next request of the server.
    pub(super) async fn asked(&mut self) -> (RequestId, Request) {
        loop {
            if let Event::Request { id, request, .. } = self.event().await {
                return (id, request);
            }
        }
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(
        &self,
        request: Request,
    ) -> (RequestId, Answer, mpsc::UnboundedReceiver<Told>) {
        let (id, mut told) = self.link.request(request).unwrap();
        let answer = answered(&mut told).await;
        (id, answer, told)
    }

    /// Subscribes; a refused subscription has no objects.
    pub(super) async fn subscribe(&self, track: TrackName, parameters: Parameters) -> Subscribed {
        let request = Request::Subscribe { track, parameters };
        let (id, answer, told) = self.ask(request).await;
        self.follow(id, answer, told)
    }

    /// Follows what comes for a subscription.
    pub(super) fn follow(
        &self,
        id: RequestId,
        answer: Answer,
        told: mpsc::UnboundedReceiver<Told>,
    ) -> Subscribed {
        let path = Path::new([format!("{}", id.0)]).unwrap();
        let route = Route::local(NodeId(0), 0);
        let broadcast = self.local.publish(&path, route, Takeover::Refuse).unwrap();
        let name = spine::TrackName::from_static("copy");
        let producer = broadcast.track(name, TrackInfo::default()).unwrap();
        let (sender, objects) = mpsc::unbounded_channel();
        tokio::spawn(read(producer.consume(), sender));
        let named = (id, super::rig::track(&["copy"], "copy"));
        let taken = tokio::spawn(take(self.link.clone(), named, told, producer.into(), None));
        Subscribed { id, answer, objects, taken, _broadcast: broadcast }
    }

    /// Publishes in a namespace: what the server answers.
    pub(super) async fn publish_namespace(&self, fields: &[&str]) -> Answer {
        self.publish_namespace_with(fields, Parameters::default()).await
    }

    /// The same with these parameters.
    pub(super) async fn publish_namespace_with(
        &self,
        fields: &[&str],
        parameters: Parameters,
    ) -> Answer {
        let request = Request::PublishNamespace { namespace: namespace(fields), parameters };
        self.ask(request).await.1
    }

    /// Publishes a track: what the server answers.
    pub(super) async fn publish(&self, track: TrackName) -> (RequestId, Answer) {
        self.publish_with(track, Parameters::default()).await
    }

    /// The same with these parameters.
    pub(super) async fn publish_with(
        &self,
        track: TrackName,
        parameters: Parameters,
    ) -> (RequestId, Answer) {
        let request = Request::Publish { track, parameters, properties: Properties::empty() };
        let (id, answer, _) = self.ask(request).await;
        (id, answer)
    }

    /// The bytes of a data stream for a fetch.
    pub(super) async fn fetched(told: &mut mpsc::UnboundedReceiver<Told>) -> DataStream {
        loop {
            if let Some(Told::Data(data)) = soon("the fetch's stream", told.recv()).await {
                return data;
            }
        }
    }

    pub(super) fn command(&self, command: Command) {
        self.link.command(command);
    }
}

/// Reads everything of a track, subgroup by subgroup as they come.
async fn read(track: spine::track::Consumer, sender: mpsc::UnboundedSender<Object>) {
    let start = spine::Start::At(spine::Location { group: 0, object: 0 });
    let mut cursor = track.subscribe(spine::Filter::from(start), Policy::EVERYTHING);
    loop {
        match poll_fn(|cx| cursor.poll(cx, clock::now())).await {
            spine::Event::Subgroup(mut reader) => {
                let sender = sender.clone();
                tokio::spawn(async move {
                    while let SubgroupEvent::Object(object) = poll_fn(|cx| reader.poll(cx)).await {
                        send(object, &sender).await;
                    }
                });
            }
            spine::Event::Datagram(object) => send(object, &sender).await,
            spine::Event::End(_) => return,
            _ => {}
        }
    }
}

async fn send(mut object: spine::ObjectReader, sender: &mpsc::UnboundedSender<Object>) {
    let mut payload = Vec::new();
    loop {
        match poll_fn(|cx| object.poll_chunk(cx)).await {
            Chunk::Data(chunk) => payload.extend_from_slice(&chunk.into_bytes()),
            Chunk::End => break,
            Chunk::Reset(_) => return,
        }
    }
    let Header { id, via, properties, .. } = object.header().clone();
    let group = object.location().group;
    let _ = sender.send(Object { group, id, via, properties, payload: payload.into() });
}

/// What is new from now on.
pub(super) fn next_object() -> Parameters {
    Parameters { filter: Some(Filter::NextObject), ..Parameters::default() }
}

/// With this token.
pub(super) fn with_token(token: &'static str) -> Parameters {
    Parameters { tokens: vec![use_value(token)], ..next_object() }
}

pub(super) fn use_value(token: &'static str) -> Token {
    Token::UseValue(AuthToken::new(moqt::Secret::new(token)))
}

pub(super) fn register(alias: u64, token: &'static str) -> Token {
    Token::Register { alias, token: AuthToken::new(moqt::Secret::new(token)) }
}

/// Looks again and again, while others work.
pub(super) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    soon(what, async {
        while !done() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
