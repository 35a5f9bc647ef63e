//! What an upstream tells of, and who carries it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use moqt::session::Event;
use moqt::{Answer, Namespace, Node, Secret};
use spine::broadcast::Producer;
use spine::{NodeId, Path};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::Uplink;
use super::again::Ended;
use super::status::{ConnectedGuard, OneMore, Pull};
use crate::client::Denial;
use crate::handover::{Carried, Stage};
use crate::limits::{
    UPLINK_BEYOND_MAX, UPLINK_CHANGES_BURST, UPLINK_CHANGES_PER_S, UPLINK_HOP, UPLINK_LAST_MAX,
    UPLINK_LOOK, UPLINK_NAMESPACES_MAX, UPLINK_SETTLE,
};
use crate::link::Link;
use crate::listen::{Guesses, Watching, Why};
use crate::names::path_of;
use crate::own::Own;
use crate::publish::{Offer, Publisher};
use crate::session::{ACCOUNT, Relay};
use crate::viewer::{Seats, Viewer};
use crate::{clock, open};

/// How many changes are taken of an upstream.
pub(super) struct Pace {
    left: f64,
    at: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
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
pub(super) struct Heard<'a> {
    pub(super) uplink: &'a Uplink,
    pub(super) relay: &'a Arc<Relay>,
    pub(super) link: Arc<Link>,
    pub(super) stranger: NodeId,
    pub(super) pull: Pull,
    pub(super) connected: ConnectedGuard,
    /// How far it is with its leaving.
    pub(super) going: watch::Sender<Going>,
    /// Held by who carries something, and by this until it is going.
    pub(super) carries: Option<mpsc::Sender<Infallible>>,
    /// Places among those that are carried, of all upstreams.
    pub(super) places: Arc<Semaphore>,
    pub(super) pace: Pace,
    /// When it began to tell.
    pub(super) since: Option<Instant>,
    /// What it has; carried until that is said to be over, or dropped.
    pub(super) here: BTreeMap<Namespace, (OneMore, oneshot::Sender<()>)>,
    /// What it has besides, which waits for others to go.
    pub(super) beyond: BTreeMap<Namespace, (OneMore, spine::Route)>,
    /// It has had more than are taken.
    pub(super) full: Arc<AtomicBool>,
}

impl Heard<'_> {
    pub(super) fn news(&mut self, news: Option<Event>) -> Result<(), Ended> {
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
                if self.connected.tells() {
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

    /// It asks us to leave (draft-18 §10.4), or is lost: what is carried goes on until somebody else brings it, and nothing is begun.
    pub(super) fn leave(&mut self, going: Going) {
        self.carries = None;
        self.beyond.clear();
        if going == Going::Lost {
            self.connected.is_silent();
        }
        self.going.send_if_modified(|now| {
            let further = going > *now;
            *now = going.max(*now);
            further
        });
    }

    fn begin(&mut self, namespace: Namespace, route: &moqt::Route) {
        if self.carries.is_none() {
            return;
        }
        let Some(route) = route_here(route, self.relay.node, self.stranger) else { return };
        if carried_as(&namespace).is_none() {
            return;
        }
        let told = OneMore::new(&self.pull.status, |status| &status.namespaces);
        if self.here.len() < UPLINK_NAMESPACES_MAX {
            return self.carry(namespace, (told, route));
        }
        full(&self.full, &self.uplink.server.authority());
        if self.beyond.len() < UPLINK_BEYOND_MAX {
            self.beyond.insert(namespace, (told, route));
        }
    }

    fn end(&mut self, namespace: &Namespace) {
        self.beyond.remove(namespace);
        if let Some((_, withdraw)) = self.here.remove(namespace) {
            // Without effect, if it is over.
            let _ = withdraw.send(());
        }
        while self.here.len() < UPLINK_NAMESPACES_MAX
            && let Some((namespace, waiting)) = self.beyond.pop_first()
        {
            self.carry(namespace, waiting);
        }
    }

    fn carry(&mut self, namespace: Namespace, (told, route): (OneMore, spine::Route)) {
        let (Some(path), Some(carries)) = (carried_as(&namespace), self.carries.clone()) else {
            return;
        };
        let (withdraw, withdrawn) = oneshot::channel::<()>();
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
        self.here.insert(namespace, (told, withdraw));
        let going = self.going.subscribe();
        self.link.run(async move {
            let _carries = carries;
            carrier.run(going, withdrawn).await;
        });
    }
}

/// Gives up its place and its broadcast when it is dropped, unless they are another's by then.
struct Leaves<'a>(&'a Carrier, &'a Arc<Carried>);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.relay.open.loses(&self.0.path, self.1);
        drop(self.1.give_place());
    }
}

/// How far an upstream is with its leaving.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Going {
    #[default]
    No,
    /// It asks us to leave.
    Asked,
    /// Nothing comes of it any more.
    Lost,
    /// What nobody has taken over by now is over.
    Over,
}

/// Until it is further than that; how far it is then.
pub(super) async fn further(going: &mut watch::Receiver<Going>, than: Going) -> Going {
    let further = going.wait_for(|going| *going > than).await.map(|going| *going);
    match further {
        Ok(going) => going,
        // What it has told is dropped with that.
        Err(_) => std::future::pending().await,
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
    /// Whenever nobody else does, until it is `withdrawn`: then to the end of what is under way. Or until the upstream is `going`:
    /// then for as long as nobody else brings all of it.
    async fn run(self, mut going: watch::Receiver<Going>, mut withdrawn: oneshot::Receiver<()>) {
        let mut goes = Going::No;
        while goes == Going::No {
            let began = tokio::select! {
                began = self.begin() => began,
                _ = further(&mut going, Going::No) => return,
                _ = &mut withdrawn => return,
            };
            let Some((broadcast, pull)) = began else { return };
            let _carried = OneMore::new(&pull.status, |status| &status.carried);
            let (tell, offers) = mpsc::unbounded_channel();
            let _ = tell.send(Offer::Told);
            let carried = pull.carried.clone();
            let _leaves = Leaves(&self, &carried);
            let publisher = self.publisher(offers, pull);
            let mut serving = std::pin::pin!(open::serve(publisher, self.path.clone(), broadcast));
            loop {
                tokio::select! {
                    () = &mut serving => break,
                    now = further(&mut going, goes) => {
                        goes = now;
                        if self.link.connection.is_over() {
                            carried.lose(self.peer());
                        }
                        self.relay.open.goes(&carried);
                        // What another one has by now goes on, track by track, as it is taken over.
                        if goes == Going::Over && self.relay.open.loses(&self.path, &carried) {
                            return;
                        }
                    }
                    withdrawn = &mut withdrawn => {
                        if withdrawn.is_err() {
                            return;
                        }
                        carried.become_(Stage::Withdrawn);
                        if carried.stage() == Stage::TakenOver {
                            return serving.await;
                        }
                        let _ = timeout(UPLINK_LAST_MAX, serving).await;
                        return;
                    }
                }
            }
        }
    }

    /// The broadcast, once this one may bring it. None: the node stops.
    async fn begin(&self) -> Option<(Arc<Producer>, Pull)> {
        let (open, origin) = (&self.relay.open, &self.relay.origin);
        let mut announcements = origin.announcements(self.path.clone());
        let mut going = open.going();
        let hops = u32::try_from(self.route.hops.len()).unwrap_or(u32::MAX);
        let (mut waits, mut was) = (UPLINK_HOP.saturating_mul(hops), false);
        loop {
            let pull = self.pull.of_another();
            // He who has it now is another one: what he has is told behind the end of that.
            was |= open.gives_way(&self.path, &self.route);
            let way = (&self.route, self.peer());
            if let Some((broadcast, before)) = open.take_over(&self.path, way, &pull.carried) {
                pull.carried.keep_place(before.give_place());
                return Some((broadcast, Pull { before: Some(Arc::downgrade(&before)), ..pull }));
            }
            if origin.get(&self.path).is_some() {
                was = true;
                // What nobody was told of, nobody is told the end of.
                let changed = async {
                    tokio::select! {
                        _ = poll_fn(|cx| announcements.poll(cx)) => {}
                        Ok(()) = going.changed() => {}
                    }
                };
                let _ = timeout(UPLINK_LOOK, changed).await;
                continue;
            }
            if std::mem::take(&mut was) {
                // What is gone at one upstream goes at others in a moment: only what stays is taken.
                waits = waits.max(UPLINK_SETTLE);
            }
            if !waits.is_zero() {
                sleep(std::mem::take(&mut waits)).await;
                continue;
            }
            let place = self.place().await?;
            if self.is_nobodys().await
                && let Ok(broadcast) =
                    open.relayed(origin, &self.path, self.route.clone(), &pull.carried)
            {
                pull.carried.keep_place(Some(place));
                return Some((broadcast, pull));
            }
            drop(place);
            sleep(UPLINK_LOOK).await;
        }
    }

    /// Which node the upstream is, if it says so.
    fn peer(&self) -> Option<NodeId> {
        self.link.with(|session| session.peer_node()).map(|node| NodeId(node.get()))
    }

    /// A place among those that are carried. None: it is over.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Some(place);
        }
        full(&self.full, &self.upstream);
        self.places.clone().acquire_owned().await.ok()
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

    fn publisher(&self, offers: mpsc::UnboundedReceiver<Offer>, pull: Pull) -> Publisher {
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
            uplink: Some(pull),
        }
    }
}
#[cfg(test)]
mod tests {
    use std::time::Duration;

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
}
