//! One connection of a peer: what it asks for, and who serves it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use media::admission::Door;
use moqt::session::{Command, Config, Event, Peer};
use moqt::{
    Answer, Fetch, Namespace, Parameters, Request, RequestCode, RequestId, Session, Version,
};
use spine::{Announce, Origin, Path, Waiting, track};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::limits::{GATE_AGAIN, NAMESPACES_MAX, RENDEZVOUS_MAX};
use crate::link::{Driver, Link, linger};
use crate::listen::{Counters, Gate, HalfOpenGuard, Watching};
use crate::names::{name_of, path_of};
use crate::open::OpenBroadcasts;
use crate::play::{Serving, Wishes, ask_for_group, location, order_of, track_ok};
use crate::publish::{Offer, Offered, Publisher};
use crate::transport::Connection;
use crate::{announce, fetch};

/// What all connections share.
pub(crate) struct Relay {
    pub(crate) origin: Origin,
    pub(crate) door: Door,
    pub(crate) gate: Gate,
    pub(crate) counters: Arc<Counters>,
    /// First fields of namespaces in which anybody may publish; `*` for all.
    pub(crate) open_namespaces: Vec<String>,
    pub(crate) open: OpenBroadcasts,
}

impl Relay {
    /// Whether anybody may publish there. Live inputs are never open.
    pub(crate) fn is_open(&self, path: &Path) -> bool {
        let Some(first) = path.fields().first() else { return false };
        let named = |open: &String| open == "*" || open.as_bytes() == first;
        first != ACCOUNT && self.open_namespaces.iter().any(named)
    }
}

/// The account of a single-tenant installation: the first field of its inputs' namespaces.
const ACCOUNT: &str = "default";

/// Runs one connection to its end.
pub(crate) async fn run(connection: Connection, relay: Arc<Relay>, guard: HalfOpenGuard) {
    let version = connection.protocol().and_then(|alpn| Version::from_alpn(&alpn));
    let Some(version) = version else { return connection.close(0x15, "no common version") };
    let config = Config {
        implementation: concat!("airwave/", env!("CARGO_PKG_VERSION")).to_owned(),
        ..Config::new(version)
    };
    let mut driver = Driver::new(connection.clone(), Session::server(Instant::now(), config));
    let mut serving = Connected::new(driver.link().clone(), relay, Some(guard));
    let ended = loop {
        match driver.next().await {
            Ok(event) => serving.event(event),
            Err(ended) => break ended,
        }
    };
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
    guard: Option<HalfOpenGuard>,
    /// The first segment of the path: a stream key, if the peer has one.
    key: String,
    /// What may be a viewer's token: the same, or the `jwt` of the query.
    token: String,
    implementation: String,
    requests: BTreeMap<RequestId, Open>,
    publishing: BTreeMap<Namespace, mpsc::UnboundedSender<Offer>>,
    goodbye: Arc<AtomicBool>,
}

/// A request of the peer that is not over.
enum Open {
    /// Told of its updates; cancelled when dropped.
    Subscription(mpsc::UnboundedSender<Parameters>),
    /// Cancelled when dropped.
    Job(#[allow(dead_code, reason = "its end is the message")] oneshot::Sender<()>),
    /// An offer in this namespace.
    Offer(Namespace),
}

impl Connected {
    pub(crate) fn new(link: Arc<Link>, relay: Arc<Relay>, guard: Option<HalfOpenGuard>) -> Self {
        Self {
            link,
            relay,
            guard,
            key: String::new(),
            token: String::new(),
            implementation: String::new(),
            requests: BTreeMap::new(),
            publishing: BTreeMap::new(),
            goodbye: Arc::default(),
        }
    }

    /// Whether something is still being sent.
    pub(crate) fn serves(&self) -> bool {
        self.requests.values().any(|open| match open {
            Open::Subscription(updates) => !updates.is_closed(),
            Open::Job(cancel) => !cancel.is_closed(),
            Open::Offer(_) => false,
        })
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.requests.retain(|_, open| match open {
            Open::Subscription(updates) => !updates.is_closed(),
            Open::Job(cancel) => !cancel.is_closed(),
            Open::Offer(_) => true,
        });
        match event {
            Event::Ready(peer) => self.ready(&peer),
            Event::Request { id, request, .. } => self.request(id, request),
            Event::Update { id, parameters, .. } => match self.requests.get(&id) {
                Some(Open::Subscription(updates)) => drop(updates.send(parameters)),
                _ => self.link.command(Command::AnswerUpdate { id, answer: Answer::ok() }),
            },
            Event::Cancelled { id, .. } => {
                if let Some(Open::Offer(namespace)) = self.requests.remove(&id)
                    && let Some(offers) = self.publishing.get(&namespace)
                {
                    let _ = offers.send(Offer::Gone(id));
                }
            }
            Event::GoAway { .. } => {
                tracing::debug!(peer = %self.link.connection.peer(), "moq: goaway");
            }
            // About requests of ours that nobody waits for any more.
            _ => {}
        }
    }

    fn ready(&mut self, peer: &Peer) {
        self.guard = None;
        let path = peer.path.split('?').next().unwrap_or_default();
        self.key = path.trim_start_matches('/').split('/').next().unwrap_or_default().to_owned();
        let query = peer.path.split_once('?').map_or("", |(_, query)| query);
        let jwt = query.split('&').find_map(|pair| pair.strip_prefix("jwt="));
        self.token = jwt.unwrap_or(&self.key).to_owned();
        self.implementation =
            peer.implementation.chars().filter(|c| !c.is_control()).take(64).collect();
        tracing::debug!(peer = %self.link.connection.peer(), software = self.implementation, "moq: connected");
    }

    fn request(&mut self, id: RequestId, request: Request) {
        // Tokens in it cannot be printed.
        tracing::trace!(peer = %self.link.connection.peer(), %id, ?request, "moq: asked");
        match request {
            Request::Subscribe { track, parameters } => self.subscribe(id, track, parameters),
            Request::Fetch { fetch: Fetch::Standalone { track, range }, parameters } => {
                let (link, viewer) = (self.link.clone(), self.viewer());
                self.job(id, async move {
                    match viewer.find(&track, Duration::ZERO).await {
                        Ok(track) => fetch::serve(link, id, track, range, parameters).await,
                        Err(answer) => link.command(Command::Answer { id, answer }),
                    }
                });
            }
            // The session works out what joins what.
            Request::Fetch { .. } => self.answer(id, RequestCode::InvalidJoiningRequestId),
            Request::TrackStatus { track, .. } => {
                let (link, viewer) = (self.link.clone(), self.viewer());
                self.job(id, async move {
                    let found = viewer.find(&track, Duration::ZERO).await;
                    let answer = found.map_or_else(|refusal| refusal, |track| track_ok(&track));
                    link.command(Command::Answer { id, answer });
                });
            }
            Request::SubscribeNamespace { prefix, .. } => {
                let Some(prefix) = path_of(&prefix) else { return };
                self.link.command(Command::Answer { id, answer: Answer::ok() });
                self.job(id, announce::namespaces(self.link.clone(), id, self.viewer(), prefix));
            }
            Request::SubscribeTracks { prefix, parameters } => {
                let Some(prefix) = path_of(&prefix) else { return };
                self.link.command(Command::Answer { id, answer: Answer::ok() });
                let (link, viewer) = (self.link.clone(), self.viewer());
                self.job(id, announce::tracks(link, viewer, prefix, parameters));
            }
            Request::PublishNamespace { namespace, .. } => {
                self.offer(id, namespace, Offer::Namespace(id));
            }
            Request::Publish { track, properties, parameters } => {
                let told = self.link.own(id);
                let (namespace, name) = (track.namespace().clone(), track.name().clone());
                self.offer(
                    id,
                    namespace,
                    Offer::Track(Box::new(Offered { id, name, parameters, properties, told })),
                );
            }
        }
    }

    fn viewer(&self) -> Viewer {
        let peer = self.link.connection.peer();
        Viewer { relay: self.relay.clone(), token: self.token.clone(), peer }
    }

    fn answer(&self, id: RequestId, code: RequestCode) {
        let answer = Answer::error(code, "");
        self.link.command(Command::Answer { id, answer });
    }

    /// Runs this until it is done or the peer cancels the request.
    fn job(&mut self, id: RequestId, job: impl Future<Output = ()> + Send + 'static) {
        let (cancel, mut cancelled) = oneshot::channel();
        self.requests.insert(id, Open::Job(cancel));
        self.link.run(async move {
            tokio::select! {
                () = job => {}
                _ = &mut cancelled => {}
            }
        });
    }

    fn subscribe(&mut self, id: RequestId, name: moqt::TrackName, parameters: Parameters) {
        let (updates, mut receiver) = mpsc::unbounded_channel();
        self.requests.insert(id, Open::Subscription(updates));
        let (link, viewer) = (self.link.clone(), self.viewer());
        self.link.run(async move {
            let wait = parameters.rendezvous_timeout_ms.unwrap_or(0);
            let wait = Duration::from_millis(wait).min(RENDEZVOUS_MAX);
            let found = tokio::select! {
                found = viewer.find(&name, wait) => found,
                // Nothing is updated before it is answered: the subscriber has given up.
                None = receiver.recv() => return,
            };
            let answer = |answer| link.command(Command::Answer { id, answer });
            let track = match found {
                Ok(track) => track,
                Err(refusal) => return answer(refusal),
            };
            let largest = track.largest().map(location);
            let wishes = Wishes::new(&parameters, largest);
            // draft-18 §5.1.2: what is published already is no live subscription's.
            if let (Some(end), Some(largest)) = (wishes.end_group, largest)
                && end < largest.group
            {
                let words = "all groups of the filter are published already";
                return answer(Answer::error(RequestCode::InvalidRange, words));
            }
            answer(track_ok(&track));
            ask_for_group(&track, &parameters);
            // Players that follow live and FETCH nothing get a catalog that was written long ago.
            if track.info().dynamic_groups && track.info().timescale.is_none() {
                track.request_group(largest.map_or(0, |largest| largest.group));
            }
            let order = order_of(&parameters, &track);
            let Some(path) = path_of(name.namespace()) else { return };
            let serving =
                Serving { link: link.clone(), id, track, order, wishes, updates: receiver };
            tokio::select! {
                () = serving.run() => {}
                reason = viewer.shut_out(path) => {
                    let done = moqt::Done { code: moqt::DoneCode::Unauthorized, reason };
                    link.command(Command::Done { id, done });
                }
            }
        });
    }

    /// A namespace is served by one job; the first offer in it begins it.
    fn offer(&mut self, id: RequestId, namespace: Namespace, offer: Offer) {
        self.publishing.retain(|_, offers| !offers.is_closed());
        if namespace.is_reserved() || namespace.is_root() {
            self.link.disown(id);
            return self.answer(id, RequestCode::Unauthorized);
        }
        if !self.publishing.contains_key(&namespace) {
            if self.publishing.len() >= NAMESPACES_MAX {
                self.link.disown(id);
                return self.answer(id, RequestCode::ExcessiveLoad);
            }
            let (sender, offers) = mpsc::unbounded_channel();
            let publisher = Publisher {
                link: self.link.clone(),
                relay: self.relay.clone(),
                namespace: namespace.clone(),
                key: self.key.clone(),
                implementation: self.implementation.clone(),
                offers,
                goodbye: self.goodbye.clone(),
            };
            self.publishing.insert(namespace.clone(), sender);
            self.link.run(publisher.run());
        }
        if let Some(offers) = self.publishing.get(&namespace) {
            let _ = offers.send(offer);
        }
        self.requests.insert(id, Open::Offer(namespace));
    }
}

/// Who wants to see something, and what there is to see.
#[derive(Clone)]
pub(crate) struct Viewer {
    pub(crate) relay: Arc<Relay>,
    token: String,
    peer: std::net::SocketAddr,
}

impl Viewer {
    /// Whether this broadcast may be watched; else the words.
    pub(crate) async fn may_watch(&self, path: &Path) -> Result<(), String> {
        if self.relay.is_open(path) {
            return Ok(());
        }
        let (path, token) = (path.clone(), self.token.clone());
        (self.relay.gate)(Watching { path, token, peer: self.peer }).await
    }

    /// Waits until the broadcast may not be watched any more; answers why.
    pub(crate) async fn shut_out(&self, path: Path) -> String {
        loop {
            tokio::time::sleep(GATE_AGAIN).await;
            if let Err(reason) = self.may_watch(&path).await {
                return reason;
            }
        }
    }

    /// A track by its name, if it may be watched.
    async fn find(
        &self,
        name: &moqt::TrackName,
        wait: Duration,
    ) -> Result<track::Consumer, Answer> {
        // One authorised track says nothing about others: each request is looked at.
        if let Some(path) = path_of(name.namespace())
            && let Err(reason) = self.may_watch(&path).await
        {
            return Err(Answer::error(RequestCode::Unauthorized, reason));
        }
        find(&self.relay.origin, name, wait).await
    }
}

/// A track by its name; waits for its publisher as long as the subscriber would.
async fn find(
    origin: &Origin,
    name: &moqt::TrackName,
    wait: Duration,
) -> Result<track::Consumer, Answer> {
    let missing = || Answer::error(RequestCode::DoesNotExist, "no such track here");
    let (Some(path), Some(track)) = (path_of(name.namespace()), name_of(name)) else {
        return Err(missing());
    };
    let deadline = Instant::now() + wait.max(LOOKUP);
    let here = async {
        if let Some(broadcast) = origin.get(&path)
            && let Ok(track) = broadcast.track(&track, deadline).await
        {
            return Some(track);
        }
        None
    };
    if let Ok(Some(track)) = timeout(LOOKUP, here).await {
        return Ok(track);
    }
    // A catalog names packaged tracks before their first part is made.
    let beginning = wait.is_zero() && origin.get(&path).is_some_and(|b| is_live(&b));
    if wait.is_zero() && !beginning {
        return Err(missing());
    }
    // draft-18 §10.2.4: the publisher may be on its way.
    let come = async {
        let mut announcements = origin.announcements(path.clone());
        loop {
            let news = poll_fn(|cx| announcements.poll(cx)).await;
            let Announce::Live(broadcast) = news else { continue };
            if *broadcast.path() != path {
                continue;
            }
            let (mut seen, mut waiting) = (u64::MAX, Waiting::new());
            loop {
                seen = poll_fn(|cx| broadcast.poll_changed(seen, &mut waiting, cx)).await;
                if let Some(track) = broadcast.get(&track) {
                    return track;
                }
                if !is_live(&broadcast) {
                    break;
                }
            }
        }
    };
    if beginning {
        return timeout(BEGINNING, come).await.map_err(|_| missing());
    }
    let late = || Answer::error(RequestCode::Timeout, "the publisher did not come in time");
    timeout(wait, come).await.map_err(|_| late())
}

fn is_live(broadcast: &spine::broadcast::Consumer) -> bool {
    !matches!(broadcast.liveness(), spine::broadcast::Liveness::Ended(_))
}

/// How long a track of a broadcast that is on the air may take to begin: two parts of the longest kind.
const BEGINNING: Duration = Duration::from_secs(2);

/// How long an upstream may take to say whether it has a track.
const LOOKUP: Duration = Duration::from_secs(5);
