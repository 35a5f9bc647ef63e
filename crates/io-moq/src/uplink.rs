//! A link to another relay (decision 112): we connect to it, and what it tells of is here as if its publisher had come. Nothing of
//! it is pulled until somebody wants it ([`crate::open`]).
//!
//! A namespace has one upstream at a time. Over which nodes it came is known between nodes that both say who they are; what
//! has come over this one, or is published here, is not taken.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use moqt::session::Event;
use moqt::{
    Answer, Namespace, Node, Parameters, Request, RequestCode, RequestError, RequestId, Secret,
};
use spine::{NodeId, Origin, Path};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::client::{Client, ClientError, Denial, Over, Server};
use crate::limits::{
    SUBSCRIBE_ANSWER_MAX, UPLINK_AGAIN, UPLINK_AGAIN_MAX, UPLINK_ASKS_MAX, UPLINK_BEYOND_MAX,
    UPLINK_CHANGES_BURST, UPLINK_CHANGES_PER_S, UPLINK_FETCHES_MAX, UPLINK_HOP, UPLINK_LOOK,
    UPLINK_NAMESPACES_MAX, UPLINK_REASONS_KEPT, UPLINK_REFUSED_MAX, UPLINK_SETTLE, UPLINK_STEADY,
};
use crate::link::{Link, Told};
use crate::listen::{Guesses, Watching, Why};
use crate::names::path_of;
use crate::own::Own;
use crate::publish::{Offer, Publisher};
use crate::session::{ACCOUNT, Relay};
use crate::transport::{ConnectError, Trust};
use crate::viewer::{Seats, Viewer};
use crate::{clock, open};

/// Another relay, that we pull from.
pub struct Uplink {
    /// Where, with what it wants to see.
    pub server: Server,
    /// Whom to take for it.
    pub trust: Trust,
    /// What is wanted of it.
    pub prefixes: Vec<Namespace>,
    /// How it stands.
    pub status: Arc<UplinkStatus>,
}

/// How an upstream stands.
#[derive(Default)]
pub struct UplinkStatus {
    /// Whether it tells us what it has.
    pub connected: AtomicBool,
    /// How often that began.
    pub connections: AtomicU64,
    /// Namespaces that it tells of.
    pub namespaces: AtomicUsize,
    /// Subscriptions of ours there.
    pub subscriptions: AtomicUsize,
    /// Bytes of connections that are over, and the one that is there.
    received: Mutex<(u64, Weak<Link>)>,
}

impl UplinkStatus {
    fn received(&self) -> MutexGuard<'_, (u64, Weak<Link>)> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that have come from it, all of its datagrams.
    pub fn received_bytes(&self) -> u64 {
        let (before, link) = &*self.received();
        before + link.upgrade().map_or(0, |link| link.connection.numbers().bytes_received)
    }
}

/// One more of something, until this is dropped.
pub(crate) struct OneMore(Arc<UplinkStatus>, fn(&UplinkStatus) -> &AtomicUsize);

impl OneMore {
    fn new(status: &Arc<UplinkStatus>, of: fn(&UplinkStatus) -> &AtomicUsize) -> Self {
        of(status).fetch_add(1, Ordering::Relaxed);
        Self(status.clone(), of)
    }

    /// A subscription.
    pub(crate) fn subscription(status: &Arc<UplinkStatus>) -> Self {
        Self::new(status, |status| &status.subscriptions)
    }
}

impl Drop for OneMore {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is pulled over one connection.
#[derive(Clone)]
pub(crate) struct Pull {
    pub(crate) status: Arc<UplinkStatus>,
    /// Places for SUBSCRIBEs that have no answer yet.
    pub(crate) asks: Arc<Semaphore>,
    /// And for FETCHes, until all of the answer is here.
    pub(crate) fetches: Arc<Semaphore>,
}

impl Pull {
    pub(crate) fn new(status: Arc<UplinkStatus>) -> Self {
        let places = |most| Arc::new(Semaphore::new(most));
        Self { status, asks: places(UPLINK_ASKS_MAX), fetches: places(UPLINK_FETCHES_MAX) }
    }
}

/// The connection is there, until this is dropped.
struct ConnectedGuard(Arc<UplinkStatus>, Arc<Link>);

impl ConnectedGuard {
    fn new(status: &Arc<UplinkStatus>, link: &Arc<Link>) -> Self {
        status.received().1 = Arc::downgrade(link);
        Self(status.clone(), link.clone())
    }
}

impl Drop for ConnectedGuard {
    fn drop(&mut self) {
        self.0.connected.store(false, Ordering::Relaxed);
        let (before, link) = &mut *self.0.received();
        *before += self.1.connection.numbers().bytes_received;
        *link = Weak::new();
    }
}

/// Why an upstream does not tell us anything.
enum Ended {
    Failed(ClientError),
    Refused(Denial),
    Silent,
    Over(Over),
    /// It tells of more changes than are taken.
    Restless,
    Panicked,
    /// This node stops.
    Left,
}

impl Ended {
    /// In words, and what helps.
    fn words(&self) -> (String, &'static str) {
        let unauthorized = |error: &RequestError| error.code == RequestCode::Unauthorized;
        let advice = match self {
            Self::Failed(ClientError::Name { .. }) => "is the name in moq.upstreams right?",
            Self::Failed(ClientError::Connect { error: ConnectError::Untrusted(_), .. }) => {
                "moq.upstream_trust says whose certificates are believed"
            }
            Self::Failed(ClientError::Connect { error: ConnectError::Protocol, .. }) => {
                "it must speak a draft that this one speaks: moq.drafts, there"
            }
            Self::Failed(_) => "does it run, and does UDP get there?",
            Self::Refused(Denial::Answered(error)) if unauthorized(error) => {
                "is the token in moq.upstreams good, and not over?"
            }
            Self::Refused(_) => "moq.upstream_namespaces says what is asked for",
            Self::Silent => "is it a relay of MoQ?",
            Self::Restless => "what does it tell of? moq.upstream_namespaces can leave some out",
            Self::Over(_) | Self::Panicked | Self::Left => "it is tried again by itself",
        };
        let words = match self {
            Self::Failed(error) => error.to_string(),
            Self::Refused(denial) => denial.to_string(),
            Self::Silent => "it does not say what it has".to_owned(),
            Self::Over(over) => over.reason().to_owned(),
            Self::Restless => "its namespaces come and go too fast".to_owned(),
            Self::Panicked => "an error of this program (a panic, which the log has)".to_owned(),
            Self::Left => "this node stops".to_owned(),
        };
        // Some of them are a stranger's.
        (words.escape_debug().to_string(), advice)
    }

    /// Where it is to be tried next. A redirect (decision 103) under other names is not followed: what comes would have those.
    fn next(&self, configured: &Server) -> Server {
        let there = match self {
            Self::Over(Over::GoAway { uri }) => Some(configured.moved(uri)),
            Self::Refused(denial) => {
                let redirect = denial.redirect().filter(|it| it.namespace.is_root());
                redirect.and_then(|redirect| configured.redirected(&redirect.uri))
            }
            _ => None,
        };
        there.unwrap_or_else(|| configured.clone())
    }
}

fn random() -> u64 {
    RandomState::new().hash_one(0)
}

/// How long to wait before the next try.
struct Again {
    wait: Duration,
    /// When it went on at once, as it was asked to.
    moved: Option<Instant>,
}

impl Again {
    fn new() -> Self {
        Self { wait: UPLINK_AGAIN, moved: None }
    }

    /// After a link that has told what it has for so long, or never did.
    fn after(
        &mut self,
        ended: &Ended,
        stood: Option<Duration>,
        now: Instant,
        random: u64,
    ) -> Duration {
        if stood >= Some(UPLINK_STEADY) {
            self.wait = UPLINK_AGAIN;
        }
        match ended {
            // It said where it goes on: it is there by now, and viewers wait. Two that send us to and fro do not
            // hurry us.
            Ended::Over(Over::GoAway { .. })
                if stood.is_some()
                    && self.moved.is_none_or(|at| now.duration_since(at) >= UPLINK_STEADY) =>
            {
                self.moved = Some(now);
                return Duration::ZERO;
            }
            // When it wants to be asked again.
            Ended::Refused(Denial::Answered(error)) if error.redirect.is_none() => {
                // Not at all, if it says nothing: what is wrong may be mended there all the same.
                let least = error.retry_after.unwrap_or(UPLINK_AGAIN_MAX).min(UPLINK_REFUSED_MAX);
                return self.next(random).max(least);
            }
            _ => {}
        }
        self.next(random)
    }

    fn next(&mut self, random: u64) -> Duration {
        let wait = self.wait;
        self.wait = (wait * 2).min(UPLINK_AGAIN_MAX);
        // Three quarters of it to five quarters.
        wait * 3 / 4 + (wait / 2).mul_f64((random % 1_000) as f64 / 1_000.0)
    }
}

/// Reasons that were said since the link was there: each once, and not with each try.
#[derive(Default)]
struct Said(BTreeSet<String>);

impl Said {
    /// Whether it is to be said.
    fn is_new(&mut self, words: &str, was_there: bool) -> bool {
        if was_there || self.0.len() >= UPLINK_REASONS_KEPT {
            self.0.clear();
        }
        self.0.insert(words.to_owned())
    }
}

/// Keeps the link until this node `leave`s.
pub(crate) async fn run(
    uplink: Uplink,
    relay: Arc<Relay>,
    places: Arc<Semaphore>,
    mut leave: watch::Receiver<bool>,
) {
    let (name, uplink) = (uplink.server.authority(), Arc::new(uplink));
    // Of what tells nothing of itself it is known that it is another one.
    let stranger = NodeId(random() >> 11 | 1);
    let (mut server, mut again) = (uplink.server.clone(), Again::new());
    let mut said = Said::default();
    loop {
        // A task of its own: what panics in it ends that connection alone.
        let mut link = JoinSet::new();
        let there = There { uplink: uplink.clone(), relay: relay.clone(), places: places.clone() };
        link.spawn(there.once(server.clone(), stranger, leave.clone()));
        let (ended, stood) = match link.join_next().await {
            Some(Ok(ended)) => ended,
            _ => {
                relay.counters.panics.fetch_add(1, Ordering::Relaxed);
                (Ended::Panicked, None)
            }
        };
        if matches!(ended, Ended::Left) {
            return;
        }
        server = ended.next(&uplink.server);
        let (words, advice) = ended.words();
        if said.is_new(&words, stood.is_some()) {
            tracing::warn!(upstream = name, reason = words, advice, "moq: no upstream");
        }
        let wait = again.after(&ended, stood, clock::now(), random());
        tokio::select! {
            () = sleep(wait) => {}
            _ = leave.wait_for(|leave| *leave) => return,
        }
    }
}

/// Where an upstream is, and what is done with what it tells.
struct There {
    uplink: Arc<Uplink>,
    relay: Arc<Relay>,
    places: Arc<Semaphore>,
}

impl There {
    /// Connects, and takes what is told until that is over; for how long it told what it has, if it did.
    async fn once(
        self,
        server: Server,
        stranger: NodeId,
        mut leave: watch::Receiver<bool>,
    ) -> (Ended, Option<Duration>) {
        let Self { uplink, relay, places } = &self;
        // It may ask us for nothing.
        let nothing = Origin::new(spine::Limits { broadcasts: 0, ..spine::Limits::default() });
        let connecting = Client::connect_as(&server, uplink.trust.clone(), nothing, relay.node);
        let connected = tokio::select! {
            connected = connecting => connected,
            _ = leave.wait_for(|leave| *leave) => return (Ended::Left, None),
        };
        let mut client = match connected {
            Ok(client) => client,
            Err(error) => return (Ended::Failed(error), None),
        };
        let link = client.handle().link;
        let _connected = ConnectedGuard::new(&uplink.status, &link);
        link.connection.is_upstream();
        let mut asked = Vec::new();
        for prefix in &uplink.prefixes {
            let parameters = Parameters::default();
            let request =
                Request::SubscribeNamespace { prefix: prefix.clone(), tracks: false, parameters };
            match link.request(request) {
                Ok(request) => asked.push(request),
                Err(_) => return (Ended::Refused(Denial::Misuse), None),
            }
        }
        let mut told = Heard {
            uplink,
            relay,
            link,
            stranger,
            pull: Pull::new(uplink.status.clone()),
            places: places.clone(),
            pace: Pace::new(clock::now()),
            since: None,
            here: BTreeMap::new(),
            beyond: BTreeMap::new(),
            full: Arc::default(),
        };
        let mut answer = std::pin::pin!(sleep(SUBSCRIBE_ANSWER_MAX));
        let ended = {
            let mut run = std::pin::pin!(client.run());
            loop {
                tokio::select! {
                    // Nothing more is read while news wait: they are memory of ours.
                    biased;
                    news = poll_fn(|cx| next(&mut asked, cx)) => {
                        if let Err(ended) = told.news(news) {
                            break ended;
                        }
                    }
                    () = &mut answer, if told.since.is_none() => break Ended::Silent,
                    _ = leave.wait_for(|leave| *leave) => break Ended::Left,
                    over = &mut run => break Ended::Over(over),
                }
            }
        };
        let stood = told.since.map(|since| clock::now().duration_since(since));
        drop(told);
        if matches!(ended, Ended::Left) {
            client.leave().await;
        }
        (ended, stood)
    }
}

/// What is said about one of these requests; nothing more, if it is over.
fn next(
    asked: &mut [(RequestId, mpsc::UnboundedReceiver<Told>)],
    cx: &mut std::task::Context<'_>,
) -> Poll<Option<Event>> {
    for (_, told) in asked {
        while let Poll::Ready(news) = told.poll_recv(cx) {
            match news {
                Some(Told::Event(event)) => return Poll::Ready(Some(event)),
                Some(_) => {}
                None => return Poll::Ready(None),
            }
        }
    }
    Poll::Pending
}

/// How many changes are taken of an upstream.
struct Pace {
    left: f64,
    at: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { left: f64::from(UPLINK_CHANGES_BURST), at: now }
    }

    /// One more. Whether that is not too many.
    fn keeps(&mut self, now: Instant) -> bool {
        let more = now.saturating_duration_since(self.at).as_secs_f64();
        let left = self.left + more * f64::from(UPLINK_CHANGES_PER_S) - 1.0;
        (self.left, self.at) = (left.min(f64::from(UPLINK_CHANGES_BURST)), now);
        self.left >= 0.0
    }
}

/// What an upstream has told.
struct Heard<'a> {
    uplink: &'a Uplink,
    relay: &'a Arc<Relay>,
    link: Arc<Link>,
    stranger: NodeId,
    pull: Pull,
    /// Places among those that are carried, of all upstreams.
    places: Arc<Semaphore>,
    pace: Pace,
    /// When it began to tell.
    since: Option<Instant>,
    /// What it has; carried until this is dropped.
    here: BTreeMap<Namespace, oneshot::Sender<()>>,
    /// What it has besides, which waits for others to go.
    beyond: BTreeMap<Namespace, spine::Route>,
    /// It has had more than are taken.
    full: Arc<AtomicBool>,
}

impl Heard<'_> {
    fn news(&mut self, news: Option<Event>) -> Result<(), Ended> {
        let status = &self.uplink.status;
        match news {
            Some(Event::Answered { answer: Answer::Error(error), .. }) => {
                return Err(Ended::Refused(Denial::Answered(error)));
            }
            Some(Event::Namespace { .. } | Event::NamespaceDone { .. })
                if !self.pace.keeps(clock::now()) =>
            {
                return Err(Ended::Restless);
            }
            Some(Event::Answered { .. }) => {
                self.since.get_or_insert_with(clock::now);
                if !status.connected.swap(true, Ordering::Relaxed) {
                    status.connections.fetch_add(1, Ordering::Relaxed);
                    let upstream = self.uplink.server.authority();
                    let routes = self.link.with(|session| session.peer_node()).is_some();
                    let draft = self.link.version.draft();
                    tracing::info!(upstream, draft, routes, "moq: upstream connected");
                }
            }
            Some(Event::Namespace { namespace, route, .. }) => self.begin(namespace, &route),
            Some(Event::NamespaceDone { namespace, .. }) => self.end(&namespace),
            Some(Event::Cancelled { .. }) | None => {
                return Err(Ended::Refused(Denial::Over));
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn begin(&mut self, namespace: Namespace, route: &moqt::Route) {
        let Some(route) = route_here(route, self.relay.node, self.stranger) else { return };
        if carried_as(&namespace).is_none() {
            return;
        }
        if self.here.len() < UPLINK_NAMESPACES_MAX {
            return self.carry(namespace, route);
        }
        full(&self.full, &self.uplink.server.authority());
        if self.beyond.len() < UPLINK_BEYOND_MAX {
            self.beyond.insert(namespace, route);
        }
    }

    fn end(&mut self, namespace: &Namespace) {
        self.beyond.remove(namespace);
        self.here.remove(namespace);
        while self.here.len() < UPLINK_NAMESPACES_MAX
            && let Some((namespace, route)) = self.beyond.pop_first()
        {
            self.carry(namespace, route);
        }
    }

    fn carry(&mut self, namespace: Namespace, route: spine::Route) {
        let Some(path) = carried_as(&namespace) else { return };
        let (carried, over) = oneshot::channel::<()>();
        let carrier = Carrier {
            upstream: self.uplink.server.authority(),
            full: self.full.clone(),
            places: self.places.clone(),
            relay: self.relay.clone(),
            link: self.link.clone(),
            namespace: namespace.clone(),
            path,
            route,
            pull: self.pull.clone(),
        };
        self.here.insert(namespace, carried);
        self.link.run(async move {
            tokio::select! {
                _ = over => {}
                () = carrier.run() => {}
            }
        });
    }
}

/// What a namespace is here; none, if it is not taken.
fn carried_as(namespace: &Namespace) -> Option<Path> {
    let path = path_of(namespace).filter(|_| !namespace.is_reserved())?;
    // Not all of them at once: each input by itself.
    let first = path.fields().first()?;
    (first != ACCOUNT || path.fields().len() > 1).then_some(path)
}

/// Says once for each connection that not all of it is carried.
fn full(said: &AtomicBool, upstream: &str) {
    if !said.swap(true, Ordering::Relaxed) {
        let advice = "moq.upstream_namespaces can leave some out";
        tracing::warn!(upstream, advice, "moq: upstreams have too many namespaces");
    }
}

/// The route of what came so; none, if it has been here, and goes round.
fn route_here(told: &moqt::Route, here: Option<Node>, stranger: NodeId) -> Option<spine::Route> {
    if here.is_some_and(|here| told.nodes().contains(&here)) {
        return None;
    }
    let mut nodes = told.nodes().iter().map(|node| NodeId(node.get()));
    let origin = nodes.next().unwrap_or(stranger);
    Some(spine::Route { origin, hops: nodes.collect(), epoch: 0 })
}

/// The route as it is told to another node: with this one. None, if it is as long as it may be, or leads over that node.
pub(crate) fn route_on(
    route: &spine::Route,
    here: Option<Node>,
    to: Option<Node>,
) -> Option<moqt::Route> {
    let came = (!route.is_local()).then(|| std::iter::once(&route.origin).chain(&route.hops));
    let came = came.into_iter().flatten().filter_map(|node| Node::new(node.0));
    let nodes: Vec<Node> = came.chain(here).collect();
    match to {
        // The drafts have no word for it.
        None => Some(moqt::Route::default()),
        Some(to) if nodes.contains(&to) => None,
        Some(_) => moqt::Route::new(nodes),
    }
}

/// Carries one namespace of an upstream.
struct Carrier {
    relay: Arc<Relay>,
    link: Arc<Link>,
    namespace: Namespace,
    path: Path,
    route: spine::Route,
    pull: Pull,
    places: Arc<Semaphore>,
    upstream: String,
    full: Arc<AtomicBool>,
}

impl Carrier {
    /// Whenever nobody else does.
    async fn run(self) {
        let _told = OneMore::new(&self.pull.status, |status| &status.namespaces);
        let hops = u32::try_from(self.route.hops.len()).unwrap_or(u32::MAX);
        if hops > 0 {
            sleep(UPLINK_HOP.saturating_mul(hops)).await;
        }
        loop {
            if self.free().await {
                // What is gone at one upstream goes at others in a moment: only what stays is taken.
                sleep(UPLINK_SETTLE).await;
                continue;
            }
            let Some(place) = self.place().await else { return };
            if !self.is_nobodys().await {
                drop(place);
                sleep(UPLINK_LOOK).await;
                continue;
            }
            let (open, origin) = (&self.relay.open, &self.relay.origin);
            let Ok(broadcast) = open.relayed(origin, &self.path, self.route.clone()) else {
                drop(place);
                sleep(UPLINK_LOOK).await;
                continue;
            };
            let (tell, offers) = mpsc::unbounded_channel();
            let _ = tell.send(Offer::Told);
            open::serve(self.publisher(offers), self.path.clone(), broadcast).await;
        }
    }

    /// A place among those that are carried. None: it is over.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Some(place);
        }
        full(&self.full, &self.upstream);
        self.places.clone().acquire_owned().await.ok()
    }

    /// Until there is no broadcast of this name; whether there was one.
    async fn free(&self) -> bool {
        let (origin, mut was) = (&self.relay.origin, false);
        let mut announcements = origin.announcements(self.path.clone());
        while origin.get(&self.path).is_some() {
            was = true;
            // What nobody was told of, nobody is told the end of.
            let _ = timeout(UPLINK_LOOK, poll_fn(|cx| announcements.poll(cx))).await;
        }
        was
    }

    /// Whether no live input and no recording of this node has the name.
    async fn is_nobodys(&self) -> bool {
        if self.relay.is_open(&self.path) {
            return true;
        }
        let watching = Watching {
            path: self.path.clone(),
            tokens: Vec::new(),
            peer: self.link.connection.peer(),
            origin: None,
            host: None,
            guesses: Guesses::default(),
        };
        let answer = (self.relay.gate)(watching).await;
        answer.is_err_and(|barred| barred.why == Why::Nothing)
    }

    fn publisher(&self, offers: mpsc::UnboundedReceiver<Offer>) -> Publisher {
        let (relay, link) = (self.relay.clone(), self.link.clone());
        let kept = (&Seats::default(), &Own::default());
        Publisher {
            viewer: Viewer::new(&relay, &link.connection, Vec::new(), &[], kept),
            link,
            relay,
            namespace: self.namespace.clone(),
            key: Secret::new(Vec::new()),
            implementation: String::new(),
            offers,
            goodbye: Arc::default(),
            relayed: true,
            uplink: Some(self.pull.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64) -> Node {
        Node::new(id).unwrap()
    }

    fn told(ids: &[u64]) -> moqt::Route {
        moqt::Route::new(ids.iter().map(|id| node(*id)).collect()).unwrap()
    }

    #[test]
    fn what_has_been_here_does_not_come_again() {
        let here = |ids: &[u64]| route_here(&told(ids), Some(node(5)), NodeId(77));
        let route = here(&[1, 2, 3]).unwrap();
        assert_eq!((route.origin, route.hops), (NodeId(1), vec![NodeId(2), NodeId(3)]));
        assert_eq!(here(&[5]), None);
        assert_eq!(here(&[1, 5]), None);
        // Who tells nothing is somebody.
        assert_eq!(here(&[]).unwrap().origin, NodeId(77));
    }

    #[test]
    fn a_route_is_not_told_to_who_is_on_it_and_ends_somewhere() {
        let local = spine::Route::local(NodeId(0), 7);
        let on = |route: &spine::Route, to| route_on(route, Some(node(5)), to);
        assert_eq!(on(&local, Some(node(9))), Some(told(&[5])));
        assert_eq!(on(&local, None), Some(told(&[])));
        let came = route_here(&told(&[1, 2]), Some(node(5)), NodeId(77)).unwrap();
        assert_eq!(on(&came, Some(node(9))), Some(told(&[1, 2, 5])));
        assert_eq!(on(&came, Some(node(1))), None);
        assert_eq!(on(&came, Some(node(2))), None);
        assert_eq!(on(&came, None), Some(told(&[])));
        let longest = told(&[11, 12, 13, 14, 15, 16, 17, 18]);
        let came = route_here(&longest, Some(node(5)), NodeId(77)).unwrap();
        assert_eq!(on(&came, Some(node(9))), None, "it has come to its end");
        assert_eq!(on(&came, None), Some(told(&[])), "who watches here has it");
    }

    #[test]
    fn changes_are_taken_so_fast_and_no_faster() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        let at_once = (0..20_000).take_while(|_| pace.keeps(now)).count();
        assert_eq!(at_once, UPLINK_CHANGES_BURST as usize);
        let mut pace = Pace::new(now);
        let gap = Duration::from_secs(1) / UPLINK_CHANGES_PER_S;
        assert!((0..100_000).all(|n| pace.keeps(now + gap * n)), "for ever at that pace");
        let mut pace = Pace::new(now);
        assert!(!(0..100_000).all(|n| pace.keeps(now + gap / 2 * n)), "not twice as fast");
    }

    #[test]
    fn who_is_lost_is_asked_less_and_less_often() {
        let (mut again, now) = (Again::new(), Instant::now());
        let lost = Ended::Silent;
        let waits: Vec<Duration> = (0..10).map(|_| again.after(&lost, None, now, 0)).collect();
        assert!(waits.is_sorted() && waits[0] >= UPLINK_AGAIN / 2, "{waits:?}");
        assert_eq!(waits[9], UPLINK_AGAIN_MAX * 3 / 4);
        assert!(again.after(&lost, None, now, 999) < UPLINK_AGAIN_MAX * 5 / 4);
        // One that comes for a moment is no better; one that stood for a while begins anew.
        let moment = Some(UPLINK_STEADY / 2);
        assert_eq!(again.after(&lost, moment, now, 0), UPLINK_AGAIN_MAX * 3 / 4);
        assert_eq!(again.after(&lost, Some(UPLINK_STEADY), now, 0), UPLINK_AGAIN * 3 / 4);
    }

    #[test]
    fn who_asks_to_leave_is_followed_at_once_and_not_to_and_fro() {
        let (mut again, now) = (Again::new(), Instant::now());
        let away = Ended::Over(Over::GoAway { uri: String::new() });
        let moment = Some(Duration::from_millis(1));
        assert_eq!(again.after(&away, moment, now, 0), Duration::ZERO);
        let waits: Vec<Duration> = (0..9).map(|_| again.after(&away, moment, now, 0)).collect();
        assert!(waits.is_sorted() && waits[0] == UPLINK_AGAIN * 3 / 4, "{waits:?}");
        assert_eq!(waits[8], UPLINK_AGAIN_MAX * 3 / 4);
        let later = now + UPLINK_STEADY;
        assert_eq!(again.after(&away, Some(UPLINK_STEADY), later, 0), Duration::ZERO);
        assert_eq!(again.after(&away, moment, later, 0), UPLINK_AGAIN * 3 / 4);
        // Who never told anything has nothing to go on with.
        assert!(Again::new().after(&away, None, now, 0) > Duration::ZERO);
    }

    #[test]
    fn who_refuses_is_asked_again_when_he_wants_it() {
        let refused = |retry_after| {
            let error = RequestError::new(RequestCode::Unauthorized, "");
            let error = RequestError { retry_after, ..error };
            Again::new().after(&Ended::Refused(Denial::Answered(error)), None, Instant::now(), 0)
        };
        assert_eq!(refused(None), UPLINK_AGAIN_MAX);
        assert_eq!(refused(Some(Duration::ZERO)), UPLINK_AGAIN * 3 / 4);
        assert_eq!(refused(Some(Duration::from_secs(77))), Duration::from_secs(77));
        assert_eq!(refused(Some(Duration::MAX)), UPLINK_REFUSED_MAX);
    }

    #[test]
    fn each_reason_is_said_once_until_the_link_was_there() {
        let mut said = Said::default();
        let mut say = |words: &str, was_there| said.is_new(words, was_there);
        assert!(say("timed out", false) && say("refused", false));
        assert!(!say("timed out", false) && !say("refused", false));
        assert!(say("timed out", true) && !say("timed out", false) && say("refused", false));
        let many = (0..10_000).map(|n| n.to_string());
        assert!(many.into_iter().all(|words| said.is_new(&words, false)));
        assert!(said.0.len() <= UPLINK_REASONS_KEPT);
    }
}
