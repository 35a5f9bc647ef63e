//! Accepting connections.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use media::admission::Door;
use media::trace::Departures;
use moqt::Version;
use moqt::limits::URI_BYTES_MAX;
use moqt::session::Transport;
pub use moqt::{Node, Secret};
use proxy::network::Networks;
use proxy::share::{Full, Share, Shares};
use spine::Origin;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use crate::guesses::Guesses;
use crate::limits::{DRAIN, DRAIN_HERE, HALF_OPEN_MAX, HALF_OPEN_PER_ADDRESS_MAX};
use crate::open::OpenBroadcasts;
use crate::qlog::Logs;
use crate::session::{self, Relay};
use crate::traffic::Traffic;
use crate::transport::{Connection, Endpoint, Incoming};
use crate::uplink::{Uplink, Uplinks};

/// The versions that are spoken, the most wanted first: tokens of ALPN and names of WebTransport's
/// protocols.
pub fn protocols() -> Vec<&'static str> {
    Version::ALL.iter().map(|version| version.alpn()).collect()
}

/// The numbers of the drafts that are spoken.
pub fn drafts() -> impl Iterator<Item = u8> {
    Version::ALL.iter().map(|version| version.draft())
}

/// Those of these drafts alone, in this order. Nothing: one of them is not spoken, or there is none.
pub fn protocols_of(drafts: &[u8]) -> Option<Vec<&'static str>> {
    let token = |draft: &u8| Version::from_draft(*draft).map(Version::alpn);
    let known: Vec<_> = drafts.iter().map(token).collect::<Option<_>>()?;
    (!known.is_empty()).then_some(known)
}

/// What the listener counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections whose handshake succeeded.
    pub connections: AtomicU64,
    /// Connections open now.
    pub open: AtomicUsize,
    /// Connections refused before their handshake, because too many were half open.
    pub refused_half_open: AtomicU64,
    /// The same, because there were too many in all.
    pub refused: AtomicU64,
    /// The same, because there were too many of their address.
    pub refused_address: AtomicU64,
    /// Connections whose peer had to show first that the address is its own.
    pub retries: AtomicU64,
    /// Handshakes that failed.
    pub failed_handshakes: AtomicU64,
    /// Publishes refused.
    pub refused_publishes: AtomicU64,
    /// Tokens of who wants to watch that were looked at, and wrong.
    pub wrong_tokens: AtomicU64,
    /// Looks at who may watch.
    pub looks: AtomicU64,
    /// Looks at who may watch at which tokens were not looked at, as too many had been wrong.
    pub unread_tokens: AtomicU64,
    /// Connections whose task panicked.
    pub panics: AtomicU64,
    /// Encoders live now.
    pub live: AtomicUsize,
    /// Sessions that ended with an error, the peer's or ours.
    pub session_errors: AtomicU64,
    /// Subscriptions accepted.
    pub subscriptions: AtomicU64,
    /// Subscriptions served now.
    pub subscriptions_open: AtomicUsize,
    /// Fetches accepted.
    pub fetches: AtomicU64,
    /// Objects sent, for subscriptions and fetches.
    pub objects: AtomicU64,
    /// Bytes of their payloads.
    pub object_bytes: AtomicU64,
    /// Groups that a subscriber was too slow for, or that were too old for it.
    pub groups_skipped: AtomicU64,
    /// Who is connected, and what goes to whom.
    pub traffic: Arc<Traffic>,
    /// What is sent, for who follows a frame.
    pub departures: Arc<Departures>,
}

impl Counters {
    /// An object was sent.
    pub(crate) fn sent(&self, bytes: u64) {
        self.objects.fetch_add(1, Ordering::Relaxed);
        self.object_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Somebody wants to watch a broadcast.
#[derive(Clone)]
pub struct Watching {
    /// Which one.
    pub path: spine::Path,
    /// What may be tokens, the most particular first: of the request, of the session, the first segment of
    /// the path of its URL, and what follows `jwt=` in its query.
    pub tokens: Vec<Secret>,
    /// Where from.
    pub peer: SocketAddr,
    /// The page that asks; none if it is no page.
    pub origin: Option<String>,
    /// The host that it asks, with its port, if it is a page.
    pub host: Option<String>,
    /// What its session has shown before, and shows at the same time.
    pub guesses: Guesses,
}

/// Why somebody may not watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Barred {
    /// For programs.
    pub why: Why,
    /// For people.
    pub words: String,
}

/// The kinds of reasons that MoQ tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A token is missing, or not for this.
    Unauthorized,
    /// The token was good once.
    Expired,
    /// It is no token.
    Malformed,
    /// Nobody here has signed it.
    Wrong,
    /// It was not looked at: too many were wrong.
    TooMany,
    /// There is no such thing, or not any more.
    Nothing,
    /// Nobody can say at the moment.
    Unknown,
}

impl Barred {
    /// Without a right to it.
    pub fn unauthorized(words: impl Into<String>) -> Self {
        Self { why: Why::Unauthorized, words: words.into() }
    }
}

/// Somebody may watch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pass {
    /// For so long by what he shows; none: until something changes.
    pub lasts: Option<Duration>,
}

/// Decides who may watch what. Asked again when something [changes](Judge::changes), and now and then, while somebody watches.
pub type Gate = Arc<dyn Fn(Watching) -> Passing + Send + Sync>;

/// Who decides, and who says that he may decide otherwise from now on: they go together.
#[derive(Clone)]
pub struct Judge {
    /// Who may watch.
    pub gate: Gate,
    /// Changed whenever somebody may not watch any more what he might. None: nobody says so, and the gate is asked again and again.
    pub changes: Option<watch::Receiver<()>>,
}

/// An answer of the gate.
pub type Passing = Pin<Box<dyn Future<Output = Result<Pass, Barred>> + Send>>;

/// Counts who watches a broadcast, until what it answers is dropped. Once for each session.
pub type Audience = Arc<dyn Fn(&spine::Path) -> Seat + Send + Sync>;

/// A place among those who watch.
pub type Seat = Box<dyn Send + Sync>;

/// Finds a broadcast that is over, by the namespace of its recording.
pub type Past = Arc<
    dyn Fn(spine::Path) -> Pin<Box<dyn Future<Output = Option<spine::broadcast::Consumer>> + Send>>
        + Send
        + Sync,
>;

/// Gives a viewer of a broadcast a place to publish in, where there is one below this namespace: tracks that the server takes
/// as they are, for somebody else to read. Whether he may watch is looked at before, and again and again.
pub type Guests = Arc<dyn Fn(&spine::Path, SocketAddr) -> Option<Place> + Send + Sync>;

/// Where a viewer may publish.
pub struct Place {
    /// The track that is asked for of who announces the namespace. Those that he publishes may have any name.
    pub track: spine::TrackName,
    /// Takes the place, or says in words why there is none.
    pub take: Box<dyn FnOnce() -> Result<spine::broadcast::Producer, String> + Send>,
}

/// Where a listener that stops sends its peers (GOAWAY, draft-18 §10.4), as `HOST:PORT`; none: they may come back here.
#[derive(Debug, Clone, Default)]
pub struct Elsewhere(Arc<Mutex<Option<String>>>);

impl Elsewhere {
    /// From now on it is this one.
    pub fn set(&self, authority: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = authority;
    }

    fn authority(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long who has something open may take to go there.
    pub(crate) fn patience(&self) -> Duration {
        if self.authority().is_some() { DRAIN } else { DRAIN_HERE }
    }

    /// The address for who came so and with this path, which may hold its key or token: the same there.
    pub(crate) fn uri(&self, transport: Transport, path: &str) -> String {
        let Some(authority) = self.authority() else { return String::new() };
        let scheme = match transport {
            Transport::Quic => "moqt",
            Transport::WebTransport => "https",
        };
        let uri = format!("{scheme}://{authority}{path}");
        if uri.len() > URI_BYTES_MAX { format!("{scheme}://{authority}/") } else { uri }
    }
}

/// What a listener serves.
pub struct Service {
    /// All broadcasts.
    pub origin: Origin,
    /// Who may publish to live inputs.
    pub door: Door,
    /// Who may watch.
    pub judge: Judge,
    /// Who does.
    pub audience: Audience,
    /// What is over.
    pub past: Past,
    /// Where viewers may publish.
    pub guests: Guests,
    /// First fields of namespaces in which anybody may publish; `*` for all.
    pub open_namespaces: Vec<String>,
    /// How many connections there may be, and of one address.
    pub connections: Arc<Shares>,
    /// Addresses of many people: they have no share.
    pub proxies: Arc<Networks>,
    /// Half-open connections above which an address has to be proved: [`crate::limits::HALF_OPEN_UNPROVED_MAX`].
    pub half_open_unproved: usize,
    /// Where peers are sent when it stops.
    pub elsewhere: Elsewhere,
    /// Where sessions are written down.
    pub logs: Option<Logs>,
    /// Which node of a network this is: a number by chance.
    pub node: Option<Node>,
    /// Other relays, that are pulled from: one that is in the next list, too, goes on as it is.
    pub uplinks: watch::Receiver<Vec<Arc<Uplink>>>,
    /// What is counted.
    pub counters: Arc<Counters>,
}

/// How many connections there may be, and how many that say nothing yet.
struct Bounds {
    /// Of addresses that anybody may have written on his packets: whoever is kept out by others so shows that his is his own.
    unproved: Arc<Shares>,
    /// Of addresses that were shown to be whose they are, or where that can't be asked for.
    proved: Arc<Shares>,
    connections: Arc<Shares>,
    proxies: Arc<Networks>,
}

/// The places of a connection, until they are dropped.
struct Places {
    half_open: Share,
    _connection: Share,
}

impl Bounds {
    /// Who knocks gets its places, or is turned away, which is counted.
    fn enter(&self, incoming: Incoming, counters: &Counters) -> Option<(Incoming, Places)> {
        let address = incoming.peer().ip();
        let own = (!self.proxies.have(address)).then_some(address);
        let unproved = incoming.unproved();
        let half_open = if unproved { &self.unproved } else { &self.proved };
        let refused = match (half_open.enter(own), self.connections.enter(own)) {
            (Ok(half_open), Ok(connection)) => {
                return Some((incoming, Places { half_open, _connection: connection }));
            }
            (Err(_), _) if unproved => {
                counters.retries.fetch_add(1, Ordering::Relaxed);
                incoming.prove();
                return None;
            }
            (Err(_), _) => &counters.refused_half_open,
            (_, Err(Full::All)) => &counters.refused,
            (_, Err(Full::Address)) => &counters.refused_address,
        };
        refused.fetch_add(1, Ordering::Relaxed);
        // RFC 9000 §20.1: CONNECTION_REFUSED. Drafts of MoQ have no code for it, and a handshake is work.
        incoming.refuse();
        None
    }
}

/// Counts a connection as open until it is dropped.
struct OpenGuard(Arc<Counters>);

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts a connection from the end of its handshake on, for as long as this is polled.
async fn counted(connection: Connection, counters: Arc<Counters>) {
    let _open = if connection.established().await {
        counters.connections.fetch_add(1, Ordering::Relaxed);
        counters.open.fetch_add(1, Ordering::Relaxed);
        Some(OpenGuard(counters))
    } else {
        counters.failed_handshakes.fetch_add(1, Ordering::Relaxed);
        None
    };
    std::future::pending::<()>().await;
}

/// Serves peers until `stop` is ready, then closes their connections. A task of its own for each of them.
pub async fn run(endpoint: Endpoint, service: Service, stop: impl Future<Output = ()>) {
    let Service { origin, door, judge, audience, past, guests, open_namespaces, .. } = service;
    let Judge { gate, changes } = judge;
    let counters = service.counters;
    let unproved_max = service.half_open_unproved.min(HALF_OPEN_MAX);
    let (elsewhere, logs, node) = (service.elsewhere, service.logs, service.node);
    let half_open = |most: usize| Shares::new(most, HALF_OPEN_PER_ADDRESS_MAX);
    let (unproved, proved) = (half_open(unproved_max), half_open(HALF_OPEN_MAX - unproved_max));
    let (connections, proxies) = (service.connections, service.proxies);
    let bounds = Bounds { unproved, proved, connections, proxies };
    let open = OpenBroadcasts::default();
    let relay = Relay {
        origin,
        door,
        gate,
        changes,
        audience,
        past,
        guests,
        counters,
        open_namespaces,
        open,
        elsewhere: elsewhere.clone(),
        logs,
        node,
    };
    let (drain, draining) = watch::channel(false);
    let relay = Arc::new(relay);
    let (mut wanted, mut uplinks) = (service.uplinks, Uplinks::new(&relay));
    uplinks.change(&wanted.borrow_and_update());
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let incoming = tokio::select! {
            () = &mut stop => break,
            Some(ended) = connections.join_next() => {
                if ended.is_err_and(|e: tokio::task::JoinError| e.is_panic()) {
                    relay.counters.panics.fetch_add(1, Ordering::Relaxed);
                }
                continue;
            }
            Some(panicked) = uplinks.ended() => {
                relay.counters.panics.fetch_add(u64::from(panicked), Ordering::Relaxed);
                continue;
            }
            Ok(()) = wanted.changed() => {
                uplinks.change(&wanted.borrow_and_update());
                continue;
            }
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => incoming,
                None => break,
            },
        };
        let Some((incoming, places)) = bounds.enter(incoming, &relay.counters) else { continue };
        let Places { half_open, _connection } = places;
        let (relay, draining) = (relay.clone(), draining.clone());
        connections.spawn(async move {
            let (counters, _place) = (relay.counters.clone(), _connection);
            // In a box: what a handshake needs is not kept while its session lasts.
            match Box::pin(incoming.accept()).await {
                Ok(connection) => {
                    let counted = counted(connection.clone(), counters);
                    tokio::select! {
                        () = session::run(connection, relay, half_open, draining) => {}
                        () = counted => {}
                    }
                }
                Err(error) => {
                    counters.failed_handshakes.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(%error, "moq: handshake failed");
                }
            }
        });
    }
    // draft-18 §10.4: who is asked to leave goes elsewhere without a gap. A moment more: sessions end themselves.
    drain.send_replace(true);
    let all = async {
        loop {
            tokio::select! {
                left = connections.join_next() => if left.is_none() { return },
                // Who comes now is told at once that there is nobody any more.
                Some(incoming) = endpoint.accept() => incoming.refuse(),
            }
        }
    };
    let _ = tokio::time::timeout(elsewhere.patience() + DRAIN_HERE, all).await;
    uplinks.leave().await;
    endpoint.close();
    connections.shutdown().await;
    endpoint.wait_idle().await;
}
