//! One connection of a peer: what it asks for, and who serves it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use media::admission::Door;
use moqt::session::{Command, Config, Event, Peer};
use moqt::{
    Answer, AuthToken, Fetch, Filter, Namespace, Node, Parameters, Request, RequestCode, RequestId,
    ResetCode, Secret, Session, SessionCode, Version,
};
use proxy::share::Share;
use spine::{NodeId, Origin, Path, Waiting};
use tokio::sync::{mpsc, oneshot, watch};

use crate::announce::{Announcing, filters_stay};
use crate::answers::{Misread, subscribed, track_ok};
use crate::limits::{
    DRAIN_HERE, DRAIN_LOOK, FILTER_RANGES_MAX, NAMESPACES_MAX, NOTHING_ASKED, NOTHING_ASKED_LOOK,
    RENDEZVOUS_MAX, RESUME_MAX,
};
use crate::link::{Driver, Link, linger};
use crate::listen::{Audience, Counters, Elsewhere, Gate, Guests, Past, Why};
use crate::names::{name_of, path_of};
use crate::open::OpenBroadcasts;
use crate::own::Own;
use crate::play::{Serving, Wishes, ask_for_group, location, order_of};
use crate::publish::{Offer, Offered, Publisher};
use crate::qlog::{Log, Logs, Side};
use crate::transport::Connection;
use crate::updates::{Update, Updates};
use crate::viewer::{Credentials, Seats, Viewer, secrets};
use crate::{clock, fetch};

/// What all connections share.
pub(crate) struct Relay {
    pub(crate) origin: Origin,
    pub(crate) door: Door,
    pub(crate) gate: Gate,
    /// Changed whenever a right may have ended.
    pub(crate) changes: Option<watch::Receiver<()>>,
    pub(crate) audience: Audience,
    pub(crate) past: Past,
    pub(crate) guests: Guests,
    pub(crate) counters: Arc<Counters>,
    /// First fields of namespaces in which anybody may publish; `*` for all.
    pub(crate) open_namespaces: Vec<String>,
    pub(crate) open: OpenBroadcasts,
    /// Where peers are sent when the listener stops.
    pub(crate) elsewhere: Elsewhere,
    /// Where sessions are written down.
    pub(crate) logs: Option<Logs>,
    /// Which node of a network this is.
    pub(crate) node: Option<Node>,
}

impl Relay {
    /// Whether anybody may publish there. Live inputs are never open.
    pub(crate) fn is_open(&self, path: &Path) -> bool {
        let Some(first) = path.fields().first() else { return false };
        let named = |open: &String| open == "*" || open.as_bytes() == first;
        first != ACCOUNT && self.open_namespaces.iter().any(named)
    }

    /// Whether what is there, or may be had from above it, came over this node.
    fn came_over(&self, path: &Path, node: Node) -> bool {
        let fields = path.fields();
        let above =
            (1..=fields.len()).rev().filter_map(|n| Path::new(fields[..n].iter().cloned()).ok());
        let nearest = above.filter_map(|above| self.origin.get(&above)).next();
        nearest.is_some_and(|nearest| {
            let (route, node) = (nearest.route(), NodeId(node.get()));
            !route.is_local() && (route.origin == node || route.hops.contains(&node))
        })
    }

    /// Whether whoever comes may watch there: an open namespace, or what an upstream brings, which was
    /// let in by what our own address there shows.
    pub(crate) fn is_for_all(&self, path: &Path) -> bool {
        self.is_open(path) || self.open.brings(path)
    }
}

/// The account of a single-tenant installation: the first field of its inputs' namespaces.
pub(crate) const ACCOUNT: &str = "default";

/// Runs one connection to its end.
pub(crate) async fn run(
    connection: Connection,
    relay: Arc<Relay>,
    guard: Share,
    mut draining: watch::Receiver<bool>,
) {
    let version = connection.protocol().and_then(|alpn| Version::from_alpn(&alpn));
    let Some(version) = version else { return connection.close(0x15, "no common version") };
    let config = Config {
        transport: connection.transport(),
        implementation: concat!("airwave/", env!("CARGO_PKG_VERSION")).to_owned(),
        filter_ranges: FILTER_RANGES_MAX,
        node: relay.node,
        ..Config::new(version)
    };
    let (session, traffic) = (Session::server(clock::now(), config), &relay.counters.traffic);
    let log = relay
        .logs
        .as_ref()
        .map_or(Log::off(), |logs| logs.begin(&connection, version, Side::Server));
    let mut driver = Driver::new(connection.clone(), session, traffic.clone(), log);
    let _joined = traffic.join(driver.link());
    let mut serving = Connected::new(driver.link().clone(), relay, Some(guard));
    // When a peer that was asked to leave is looked at next; and when something was asked for last, and that is looked at next.
    let mut leaving: Option<Instant> = None;
    let mut asked = clock::now();
    let mut look_at = asked + NOTHING_ASKED_LOOK;
    let ended = loop {
        let look = tokio::time::sleep_until(leaving.unwrap_or(look_at).into());
        tokio::select! {
            event = driver.next() => match event {
                Ok(event) => {
                    asked = clock::now();
                    serving.event(event);
                }
                Err(ended) => break ended,
            },
            _ = draining.wait_for(|draining| *draining), if leaving.is_none() => {
                leaving = Some(clock::now() + DRAIN_HERE);
                serving.ask_to_leave();
            }
            () = look => {
                let now = clock::now();
                if leaving.is_some() {
                    leaving = Some(now + DRAIN_LOOK);
                    serving.let_go();
                    continue;
                }
                look_at = now + NOTHING_ASKED_LOOK;
                if serving.has_something_open() {
                    asked = now;
                } else if now >= asked + NOTHING_ASKED {
                    serving.link.close(SessionCode::NoError, "nothing was asked for");
                }
            }
        }
    };
    if driver.closed_with().or(ended.code).is_some_and(|code| code != 0) {
        serving.relay.counters.session_errors.fetch_add(1, Ordering::Relaxed);
    }
    driver.log_end(&ended);
    // NO_ERROR: the peer is done, it was not lost.
    serving.goodbye.store(ended.code == Some(0), Ordering::Relaxed);
    tracing::debug!(peer = %connection.peer(), reason = %ended.reason.escape_debug(), "moq: closed");
    drop((serving, driver));
    linger(&connection).await;
}

/// What a peer has asked for.
pub(crate) struct Connected {
    link: Arc<Link>,
    relay: Arc<Relay>,
    guard: Option<Share>,
    /// What the peer said of itself when it came.
    credentials: Credentials,
    /// The path of its URL, with its query. It may hold a key.
    path: String,
    implementation: String,
    requests: BTreeMap<RequestId, Open>,
    publishing: BTreeMap<Namespace, Publishing>,
    seats: Seats,
    own: Own,
    goodbye: Arc<AtomicBool>,
}

/// A namespace that the peer publishes in.
struct Publishing {
    /// The stream key that it showed first.
    key: Secret,
    viewer: Viewer,
    offers: mpsc::UnboundedSender<Offer>,
}

/// A request of the peer that is not over.
enum Open {
    /// Told of its updates; cancelled when dropped.
    Subscription(mpsc::UnboundedSender<Box<Update>>),
    Job(Job),
    /// An offer in this namespace.
    Offer(Namespace),
}

/// What runs for a request.
struct Job {
    /// Cancelled when dropped.
    cancel: oneshot::Sender<()>,
    /// Told of its updates.
    updates: mpsc::UnboundedSender<Box<Update>>,
}

impl Connected {
    pub(crate) fn new(link: Arc<Link>, relay: Arc<Relay>, guard: Option<Share>) -> Self {
        Self {
            link,
            relay,
            guard,
            credentials: Credentials::default(),
            path: String::new(),
            implementation: String::new(),
            requests: BTreeMap::new(),
            publishing: BTreeMap::new(),
            seats: Seats::default(),
            own: Own::default(),
            goodbye: Arc::default(),
        }
    }

    /// draft-18 §3.6: says where it goes on, and how long that may take.
    fn ask_to_leave(&self) {
        let elsewhere = &self.relay.elsewhere;
        let uri = elsewhere.uri(self.link.connection.transport(), &self.path);
        let (request, timeout) = (None, elsewhere.patience());
        self.link.command(Command::GoAway { request, uri, timeout });
    }

    /// Ends the session once nothing is open in it that somebody waits for: no subscription and no fetch (draft-21 §6.6.1).
    /// Who publishes is needed for as long as anybody is left who reads.
    fn let_go(&self) {
        let (sends, receives) = self.link.with(|session| session.open_media());
        let readers = self.relay.counters.subscriptions_open.load(Ordering::Relaxed);
        if !sends && (!receives || readers == 0) {
            self.link.close(SessionCode::NoError, "");
        }
    }

    /// Whether a request is open, of either side.
    fn has_something_open(&self) -> bool {
        self.link.with(|session| session.open_requests()) > 0
    }

    /// Whether something is still being sent.
    pub(crate) fn serves(&self) -> bool {
        self.requests.values().any(|open| match open {
            Open::Subscription(updates) => !updates.is_closed(),
            Open::Job(job) => !job.cancel.is_closed(),
            Open::Offer(_) => false,
        })
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.requests.retain(|_, open| match open {
            Open::Subscription(updates) => !updates.is_closed(),
            Open::Job(job) => !job.cancel.is_closed(),
            Open::Offer(_) => true,
        });
        match event {
            Event::Ready(peer) => self.ready(&peer),
            Event::Request { id, request, tokens } => self.request(id, request, &tokens),
            Event::Update { id, update, parameters, tokens } => {
                let tokens = secrets(&tokens);
                self.update(id, Box::new(Update { id: update, parameters, tokens }));
            }
            Event::Cancelled { id, .. } => {
                if let Some(Open::Offer(namespace)) = self.requests.remove(&id)
                    && let Some(publishing) = self.publishing.get(&namespace)
                {
                    let _ = publishing.offers.send(Offer::Gone(id));
                }
            }
            Event::GoAway { .. } => {
                tracing::debug!(peer = %self.link.connection.peer(), "moq: goaway");
            }
            // About requests of ours that nobody waits for any more.
            _ => {}
        }
    }

    /// A request of the peer changes (draft-18 §10.9): who serves it answers.
    fn update(&self, id: RequestId, update: Box<Update>) {
        let left = match self.requests.get(&id) {
            Some(Open::Subscription(updates) | Open::Job(Job { updates, .. })) => {
                updates.send(update).err().map(|unsent| unsent.0)
            }
            Some(Open::Offer(namespace)) => {
                // Nothing but a token can change of it.
                if let Some(publishing) = self.publishing.get(namespace) {
                    publishing.viewer.renew(update.tokens);
                }
                return self.link.command(Command::AnswerUpdate { id, answer: Answer::ok() });
            }
            None => Some(update),
        };
        // It is over, or about to be.
        if left.is_some() {
            self.link.command(Command::AnswerUpdate { id, answer: Answer::ok() });
        }
    }

    fn ready(&mut self, peer: &Peer) {
        if let Some(half_open) = self.guard.take() {
            // SETUP may come before it is known that the address is the peer's.
            let connection = self.link.connection.clone();
            self.link.run(async move {
                connection.established().await;
                drop(half_open);
            });
        }
        if self.link.with(|session| session.peer_node()).is_some() {
            self.link.connection.is_node();
        }
        let address = self.link.connection.address();
        let path = address.map_or(peer.path.as_str(), |address| address.path.as_str());
        self.credentials = Credentials::new(path, &peer.tokens);
        self.path = path.to_owned();
        self.implementation =
            peer.implementation.chars().filter(|c| !c.is_control()).take(64).collect();
        let _ = self.link.flows.software.set(self.implementation.clone());
        tracing::debug!(peer = %self.link.connection.peer(), software = self.implementation, "moq: connected");
    }

    fn request(&mut self, id: RequestId, request: Request, tokens: &[AuthToken]) {
        let tokens = secrets(tokens);
        // Tokens in it cannot be printed.
        tracing::trace!(peer = %self.link.connection.peer(), %id, ?request, "moq: asked");
        match request {
            Request::Subscribe { track, parameters } => {
                self.subscribe(id, track, parameters, tokens);
            }
            Request::Fetch { fetch, parameters } => {
                let (track, filter) = match fetch {
                    Fetch::Standalone { track, range } => (track, Filter::Within(range)),
                    Fetch::Filtered { track, filter } => (track, filter),
                    // The session works out what joins what.
                    Fetch::Joining { .. } => {
                        return self.answer(id, RequestCode::InvalidJoiningRequestId);
                    }
                };
                if self.brought(track.namespace()) {
                    return self.answer(id, RequestCode::DoesNotExist);
                }
                let (link, viewer) = (self.link.clone(), self.viewer(tokens));
                self.job(id, move |updates| async move {
                    let found = match viewer.find(&track, Duration::ZERO).await {
                        Ok(found) => found,
                        Err(answer) => return link.command(Command::Answer { id, answer }),
                    };
                    let Some(path) = path_of(track.namespace()) else { return };
                    let counters = viewer.relay.counters.clone();
                    let (urge, urgency) =
                        watch::channel(parameters.subscriber_priority.unwrap_or(128));
                    let updates = Updates::new(updates, viewer.clone(), path.clone());
                    let updated = updated(&link, id, updates, urge);
                    let served =
                        fetch::serve(&link, id, found, filter, parameters, urgency, &counters);
                    tokio::select! {
                        () = served => {}
                        () = updated => {}
                        barred = viewer.shut_out(path) => {
                            let code = match barred.why {
                                Why::Expired => ResetCode::ExpiredAuthToken,
                                Why::Unknown | Why::TooMany => ResetCode::ExcessiveLoad,
                                _ => ResetCode::Cancelled,
                            };
                            link.command(Command::Cancel { id, code });
                        }
                    }
                });
            }
            Request::TrackStatus { track, .. } => {
                let (link, viewer) = (self.link.clone(), self.viewer(tokens));
                self.job(id, move |_| async move {
                    let found = viewer.find(&track, Duration::ZERO).await;
                    let answer = found.map_or_else(|refusal| refusal, |track| track_ok(&track));
                    link.command(Command::Answer { id, answer });
                });
            }
            Request::SubscribeNamespace { prefix, tracks, parameters } => {
                self.announce(id, &prefix, parameters, tokens, (true, tracks));
            }
            Request::SubscribeTracks { prefix, parameters } => {
                self.announce(id, &prefix, parameters, tokens, (false, true));
            }
            Request::PublishNamespace { namespace, .. } => {
                self.offer(id, namespace, tokens, Offer::Namespace(id));
            }
            Request::Publish { track, properties, parameters } => {
                let told = self.link.own(id);
                let (namespace, name) = (track.namespace().clone(), track.name().clone());
                self.offer(
                    id,
                    namespace,
                    tokens,
                    Offer::Track(Box::new(Offered { id, name, parameters, properties, told })),
                );
            }
        }
    }

    /// Whether the peer is a node that this came over: it would ask us, and we it.
    fn brought(&self, namespace: &Namespace) -> bool {
        let peer = self.link.with(|session| session.peer_node());
        let path = path_of(namespace);
        peer.zip(path).is_some_and(|(peer, path)| self.relay.came_over(&path, peer))
    }

    fn viewer(&self, own: Vec<Secret>) -> Viewer {
        let kept = (&self.seats, &self.own);
        Viewer::new(&self.relay, &self.link.connection, own, &self.credentials.tokens, kept)
    }

    /// Tells what is below a prefix: its namespaces, its tracks, or both.
    fn announce(
        &mut self,
        id: RequestId,
        prefix: &Namespace,
        parameters: Parameters,
        tokens: Vec<Secret>,
        (namespaces, tracks): (bool, bool),
    ) {
        let Some(prefix) = path_of(prefix) else {
            return self.answer(id, RequestCode::DoesNotExist);
        };
        let (link, viewer) = (self.link.clone(), self.viewer(tokens));
        self.job(id, move |updates| {
            let announcing = Announcing { link, id, viewer, prefix, parameters, updates };
            announcing.run(namespaces, tracks)
        });
    }

    fn answer(&self, id: RequestId, code: RequestCode) {
        let answer = Answer::error(code, "");
        self.link.command(Command::Answer { id, answer });
    }

    /// Runs this until it is done or the peer cancels the request.
    fn job<F>(&mut self, id: RequestId, job: impl FnOnce(mpsc::UnboundedReceiver<Box<Update>>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (cancel, mut cancelled) = oneshot::channel();
        let (updates, receiver) = mpsc::unbounded_channel();
        self.requests.insert(id, Open::Job(Job { cancel, updates }));
        let job = job(receiver);
        self.link.run(async move {
            tokio::select! {
                () = job => {}
                _ = &mut cancelled => {}
            }
        });
    }

    fn subscribe(
        &mut self,
        id: RequestId,
        name: moqt::TrackName,
        parameters: Parameters,
        tokens: Vec<Secret>,
    ) {
        if self.brought(name.namespace()) {
            return self.answer(id, RequestCode::DoesNotExist);
        }
        let (updates, mut receiver) = mpsc::unbounded_channel();
        self.requests.insert(id, Open::Subscription(updates));
        let (link, viewer) = (self.link.clone(), self.viewer(tokens));
        let misread = Misread::by(&self.implementation);
        self.link.run(async move {
            let wait = parameters.rendezvous_timeout_ms.unwrap_or(0);
            let wait = Duration::from_millis(wait).min(RENDEZVOUS_MAX);
            // draft-18 §10.2.13: a SUBSCRIBE that this one causes asks for it too.
            let names = path_of(name.namespace()).zip(name_of(&name)).zip(parameters.new_group);
            let open = &viewer.relay.open;
            let _wanted = names.map(|((path, name), group)| open.want(&path, &name, group));
            let found = tokio::select! {
                // In a box: most of the time it is over.
                found = Box::pin(viewer.find(&name, wait)) => found,
                // Nothing is updated before it is answered: the subscriber has given up.
                () = ends(&mut receiver) => return,
            };
            let answer = |answer| link.command(Command::Answer { id, answer });
            let track = match found {
                Ok(track) => track,
                Err(refusal) => return answer(refusal),
            };
            // It counts as a reader: where it begins is known when its publisher goes on.
            let reads = Some(track.interest());
            let mut waiting = Waiting::new();
            let current = poll_fn(|cx| track.poll_current(&mut waiting, cx));
            tokio::select! {
                _ = tokio::time::timeout(RESUME_MAX, current) => {}
                () = ends(&mut receiver) => return,
            }
            let largest = track.largest().map(location);
            let wishes = Wishes::new(&parameters, largest);
            // draft-18 §5.1.2: what is published already is no live subscription's.
            if let (Some(end), Some(largest)) = (wishes.end, largest)
                && end.group < largest.group
                && link.version.ends_with_filter()
            {
                let words = "all groups of the filter are published already";
                return answer(Answer::error(RequestCode::InvalidRange, words));
            }
            answer(subscribed(&track, largest, misread));
            ask_for_group(&track, &parameters);
            // Players that follow live and FETCH nothing get a catalog that was written long ago.
            if track.info().dynamic_groups && track.info().timescale.is_none() {
                track.request_group(largest.map_or(0, |largest| largest.group));
            }
            let order = order_of(&parameters, &track);
            let Some(path) = path_of(name.namespace()) else { return };
            // Who chats beside a picture that comes another way watches there.
            let _seat = track.info().timescale.is_some().then(|| viewer.seat(&path));
            let counters = viewer.relay.counters.clone();
            let serving = Serving {
                link: link.clone(),
                id,
                track,
                order,
                wishes,
                reads,
                fill: parameters.fill.zip(largest),
                updates: Updates::new(receiver, viewer.clone(), path.clone()),
                counters,
            };
            tokio::select! {
                () = serving.run() => {}
                barred = viewer.shut_out(path) => {
                    link.command(Command::Done { id, done: barred.done() });
                }
            }
        });
    }

    /// A namespace is served by one job; the first offer in it begins it.
    fn offer(&mut self, id: RequestId, namespace: Namespace, tokens: Vec<Secret>, offer: Offer) {
        self.publishing.retain(|_, publishing| !publishing.offers.is_closed());
        if namespace.is_reserved() || namespace.is_root() {
            self.link.disown(id);
            return self.answer(id, RequestCode::Unauthorized);
        }
        // One authorised request says nothing about others: who shows a token shows that of the namespace.
        if let (Some(publishing), Some(token)) = (self.publishing.get(&namespace), tokens.first())
            && publishing.key != *token
        {
            self.link.disown(id);
            return self.answer(id, RequestCode::Unauthorized);
        }
        if !self.publishing.contains_key(&namespace) {
            let (viewer, key) = (self.viewer(tokens.clone()), self.credentials.key(tokens));
            if self.publishing.len() >= NAMESPACES_MAX {
                self.link.disown(id);
                return self.answer(id, RequestCode::ExcessiveLoad);
            }
            let (sender, offers) = mpsc::unbounded_channel();
            let publisher = Publisher {
                link: self.link.clone(),
                relay: self.relay.clone(),
                namespace: namespace.clone(),
                viewer,
                key: key.clone(),
                implementation: self.implementation.clone(),
                offers,
                goodbye: self.goodbye.clone(),
                relayed: false,
                uplink: None,
            };
            let publishing = Publishing { key, viewer: publisher.viewer.clone(), offers: sender };
            self.publishing.insert(namespace.clone(), publishing);
            self.link.run(publisher.run());
        }
        if let Some(publishing) = self.publishing.get(&namespace) {
            let _ = publishing.offers.send(offer);
        }
        self.requests.insert(id, Open::Offer(namespace));
    }
}

/// Takes the updates of a FETCH (draft-18 §10.9): other tokens, another priority. Ends with the one that is refused, and takes
/// the request along.
async fn updated(link: &Link, id: RequestId, mut updates: Updates, urge: watch::Sender<u8>) {
    while let Some(update) = updates.next().await {
        let parameters = match update {
            Ok(update) => update.parameters,
            Err(answer) => return link.command(Command::AnswerUpdate { id, answer }),
        };
        if let Some(answer) = filters_stay(&parameters) {
            return link.command(Command::AnswerUpdate { id, answer });
        }
        if let Some(priority) = parameters.subscriber_priority {
            urge.send_replace(priority);
        }
        link.command(Command::AnswerUpdate { id, answer: Answer::ok() });
    }
    std::future::pending::<()>().await;
}

/// Until nobody sends any more.
async fn ends<T>(receiver: &mut mpsc::UnboundedReceiver<T>) {
    while receiver.recv().await.is_some() {}
}
