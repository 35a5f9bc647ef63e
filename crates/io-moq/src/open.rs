//! Open namespaces: tracks are relayed as they come, whatever they hold.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use moqt::{Answer, Filter, RequestCode, RequestId};
use spine::broadcast::{Consumer, Liveness, Producer};
use spine::{
    Close, LookupError, NodeId, Origin, Path, PublishError, Request, Responder, Route, Takeover,
    TrackInfo, TrackName, TrackRequest, Waiting,
};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::handover::{Carried, Stage};
use crate::limits::{
    PUBLISHED_TRACKS_MAX, UNTOLD_MAX, UNTOLD_PER_NAMESPACE_MAX, UPLINK_MOVE_MAX, UPLINK_SETTLE,
    WANTED_MAX,
};
use crate::names::namespace_of;
use crate::play::at;
use crate::publish::{Offer, Publisher, Unwanted, info_of};
use crate::session::Relay;
use crate::take::Taken;
use crate::upstream;

/// How an upstream is asked compared with who has what is wanted at hand.
const COST: u32 = 10;

/// Broadcasts of open namespaces. All who publish in one share it, and write its tracks together: what
/// one of them has written already is dropped when it comes from another.
#[derive(Default)]
pub(crate) struct OpenBroadcasts {
    broadcasts: Mutex<BTreeMap<Path, There>>,
    /// Namespaces that are published, and by how many.
    announced: Mutex<BTreeMap<Path, usize>>,
    /// The largest group that is wanted of a track, and by how many.
    wanted: Mutex<BTreeMap<(Path, TrackName), (u64, usize)>>,
    /// Whether an upstream has ever brought one: who has none is not looked up with each look at the gate.
    has_brought: AtomicBool,
    /// Changed with each broadcast that comes.
    joined: watch::Sender<()>,
    /// Changed with each namespace that is published.
    namespaces: watch::Sender<()>,
    /// Changed with each broadcast whose upstream goes away.
    going: watch::Sender<()>,
}

/// A broadcast that is there for as long as somebody keeps it.
struct There {
    producer: Weak<Producer>,
    /// The namespace whose publishers may have it, while nobody has published it itself: it is untold.
    below: Option<Path>,
    /// An upstream brings it, and nobody else writes it.
    brought: Option<Arc<Carried>>,
}

/// Who waits for a track that is being asked for wants it to begin a new group; forgotten when the last of
/// them is dropped.
pub(crate) struct Wanted<'a> {
    open: &'a OpenBroadcasts,
    key: (Path, TrackName),
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        let mut wanted = self.open.wanted();
        if let Some((_, count)) = wanted.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                wanted.remove(&self.key);
            }
        }
    }
}

/// A namespace that somebody publishes, until this is dropped.
struct Announced {
    relay: Arc<Relay>,
    path: Path,
}

impl Announced {
    fn new(relay: &Arc<Relay>, path: &Path) -> Self {
        *relay.open.announced().entry(path.clone()).or_default() += 1;
        relay.open.namespaces.send_replace(());
        Self { relay: relay.clone(), path: path.clone() }
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        let mut announced = self.relay.open.announced();
        if let Some(count) = announced.get_mut(&self.path) {
            *count -= 1;
            if *count == 0 {
                announced.remove(&self.path);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OpenBroadcasts {
    fn wanted(&self) -> MutexGuard<'_, BTreeMap<(Path, TrackName), (u64, usize)>> {
        lock(&self.wanted)
    }

    fn announced(&self) -> MutexGuard<'_, BTreeMap<Path, usize>> {
        lock(&self.announced)
    }

    /// Remembers NEW_GROUP_REQUEST of a subscriber for the SUBSCRIBE that it may cause.
    pub(crate) fn want(&self, path: &Path, name: &TrackName, new_group: u64) -> Option<Wanted<'_>> {
        let key = (path.clone(), name.clone());
        let mut wanted = self.wanted();
        if wanted.len() >= WANTED_MAX && !wanted.contains_key(&key) {
            return None;
        }
        let (largest, count) = wanted.entry(key.clone()).or_default();
        *largest = new_group.max(*largest);
        *count += 1;
        drop(wanted);
        Some(Wanted { open: self, key })
    }

    /// Hears of namespaces that somebody publishes.
    pub(crate) fn namespaces(&self) -> watch::Receiver<()> {
        self.namespaces.subscribe()
    }

    /// The broadcast of a namespace in which nobody has published yet, if somebody publishes one above it
    /// (draft-18 §9.5): he may have its tracks. It lasts for as long as what is returned, or who brings one of them.
    /// Nothing, if nobody does; an error, if there are too many of its kind already: their names may be made up.
    pub(crate) fn below(
        &self,
        origin: &Origin,
        path: &Path,
    ) -> Option<Result<Arc<Producer>, PublishError>> {
        let fields = path.fields();
        let mut above =
            (1..=fields.len()).rev().filter_map(|n| Path::new(fields[..n].iter().cloned()).ok());
        let announced = self.announced();
        let nearest = above.find(|above| announced.contains_key(above));
        drop(announced);
        Some(self.join(origin, path, Some(nearest?)))
    }

    /// The broadcast of a namespace. Those who ask for namespaces hear of it, unless it is only looked for `below` another.
    fn join(
        &self,
        origin: &Origin,
        path: &Path,
        below: Option<Path>,
    ) -> Result<Arc<Producer>, PublishError> {
        let mut open = lock(&self.broadcasts);
        open.retain(|_, there| there.producer.strong_count() > 0);
        if let Some(there) = open.get_mut(path)
            && let Some(producer) = there.producer.upgrade()
        {
            match (&below, there.brought.is_some()) {
                // Who publishes it here has it to himself; from elsewhere it comes again when he is gone.
                (None, true) => origin.end(path, Close::Replaced),
                (None, false) => {
                    there.below = None;
                    origin.tell(&producer.consume());
                    return Ok(producer);
                }
                (Some(_), _) => return Ok(producer),
            }
        }
        if let Some(below) = &below {
            let untold = || open.values().filter_map(|there| there.below.as_ref());
            let beside = untold().filter(|above| *above == below).count();
            if beside >= UNTOLD_PER_NAMESPACE_MAX || untold().count() >= UNTOLD_MAX {
                return Err(PublishError::TooManyBroadcasts);
            }
        }
        let above = below.as_ref().and_then(|above| origin.get(above));
        let route = above.map_or_else(|| Route::local(NodeId(0), 0), |above| above.route());
        let producer = match &below {
            None => origin.publish(path, route, Takeover::Refuse)?,
            Some(_) => origin.publish_untold(path, route)?,
        };
        let producer = Arc::new(producer);
        let there = There { producer: Arc::downgrade(&producer), below, brought: None };
        open.insert(path.clone(), there);
        drop(open);
        self.joined.send_replace(());
        Ok(producer)
    }

    /// The broadcast of a namespace that an upstream has, unless somebody else has it already.
    pub(crate) fn relayed(
        &self,
        origin: &Origin,
        path: &Path,
        route: Route,
        by: &Arc<Carried>,
    ) -> Result<Arc<Producer>, PublishError> {
        let mut open = lock(&self.broadcasts);
        open.retain(|_, there| there.producer.strong_count() > 0);
        if open.contains_key(path) {
            return Err(PublishError::Busy);
        }
        let producer = Arc::new(origin.publish(path, route, Takeover::Refuse)?);
        let there =
            There { producer: Arc::downgrade(&producer), below: None, brought: Some(by.clone()) };
        self.has_brought.store(true, Ordering::Relaxed);
        open.insert(path.clone(), there);
        drop(open);
        self.joined.send_replace(());
        Ok(producer)
    }

    /// The broadcast of a namespace that an upstream has, if another one brings it and goes away, with how that brings it: it is this
    /// one's from now on, which comes by this `route` from this `peer`.
    pub(crate) fn take_over(
        &self,
        path: &Path,
        (route, peer): (&Route, Option<NodeId>),
        by: &Arc<Carried>,
    ) -> Option<(Arc<Producer>, Arc<Carried>)> {
        let mut open = lock(&self.broadcasts);
        let there = open.get_mut(path)?;
        let goes = |brought: &&mut Arc<Carried>| {
            brought.stage() == Stage::Going && brought.goes_to(route, peer)
        };
        let brought = there.brought.as_mut().filter(goes)?;
        let broadcast = there.producer.upgrade()?;
        if matches!(broadcast.consume().liveness(), Liveness::Ended(_)) {
            return None;
        }
        broadcast.reroute(route.clone());
        Some((broadcast, std::mem::replace(brought, by.clone())))
    }

    /// What waits for its upstream, which is lost, is over when it is another publisher's by now: his numbers and contents are others.
    /// Whether it is.
    pub(crate) fn gives_way(&self, path: &Path, route: &Route) -> bool {
        let mut open = lock(&self.broadcasts);
        let waits = |there: &&There| {
            there.brought.as_ref().is_some_and(|it| it.stage() == Stage::Going && it.is_lost())
        };
        let broadcast = open.get(path).filter(waits).and_then(|there| there.producer.upgrade());
        let other = |it: &Arc<Producer>| it.consume().route().origin != route.origin;
        let Some(broadcast) = broadcast.filter(other) else { return false };
        open.remove(path);
        drop(open);
        broadcast.end_for_all(Close::SourceLost);
        true
    }

    /// Who brought it does no more, and nobody has taken it over: it ends (decision 148), also where one that he took it over from has some of it still. What came
    /// from him alone has ended, and who asks for something new would ask nobody.
    pub(crate) fn loses(&self, path: &Path, by: &Arc<Carried>) {
        let open = lock(&self.broadcasts);
        let his = |there: &&There| there.brought.as_ref().is_some_and(|it| Arc::ptr_eq(it, by));
        let broadcast = open.get(path).filter(his).and_then(|there| there.producer.upgrade());
        drop(open);
        if let Some(broadcast) = broadcast {
            broadcast.end_for_all(Close::SourceLost);
        }
    }

    /// Hears of broadcasts whose upstreams go away, or are lost.
    pub(crate) fn going(&self) -> watch::Receiver<()> {
        self.going.subscribe()
    }

    /// This one's does.
    pub(crate) fn goes(&self, carried: &Carried) {
        carried.become_(Stage::Going);
        self.going.send_replace(());
    }

    /// Whether it is an upstream that brings what is there, or what is above it.
    pub(crate) fn brings(&self, path: &Path) -> bool {
        if !self.has_brought.load(Ordering::Relaxed) {
            return false;
        }
        let (open, fields) = (lock(&self.broadcasts), path.fields());
        (1..=fields.len()).filter_map(|n| Path::new(fields[..n].iter().cloned()).ok()).any(|path| {
            let there = open.get(&path).filter(|there| there.brought.is_some());
            there.and_then(|there| there.producer.upgrade()).is_some_and(|broadcast| {
                !matches!(broadcast.consume().liveness(), Liveness::Ended(_))
            })
        })
    }

    /// Whether it is only looked for, below another one.
    fn is_untold(&self, path: &Path) -> bool {
        lock(&self.broadcasts).get(path).is_some_and(|there| there.below.is_some())
    }

    /// What keeps a broadcast.
    pub(crate) fn there(&self, path: &Path) -> Option<Arc<Producer>> {
        lock(&self.broadcasts).get(path)?.producer.upgrade()
    }

    /// The broadcasts in a namespace and below it.
    fn all(&self, path: &Path) -> Vec<Consumer> {
        let open = lock(&self.broadcasts);
        let all = open.range(path.clone()..).take_while(|(at, _)| at.starts_with(path));
        all.filter_map(|(_, there)| Some(there.producer.upgrade()?.consume())).collect()
    }
}

/// A broadcast whose tracks a peer may have.
struct Place {
    broadcast: Consumer,
    seen: u64,
    waiting: Waiting,
    /// Tracks that the peer brings, or was asked for.
    asked: BTreeSet<TrackName>,
}

impl Place {
    fn new(broadcast: Consumer) -> Self {
        let (seen, waiting, asked) = (u64::MAX, Waiting::new(), BTreeSet::new());
        Self { broadcast, seen, waiting, asked }
    }

    /// Whether of so many tracks it is not known yet if there are such: their names may be made up.
    fn is_full(&self) -> bool {
        let open = self.asked.iter().filter(|name| self.broadcast.get(name).is_none());
        open.count() >= PUBLISHED_TRACKS_MAX
    }
}

/// Relays what a peer publishes in an open namespace.
pub(crate) async fn run(publisher: Publisher, path: Path) {
    let relay = publisher.relay.clone();
    let broadcast = match relay.open.join(&relay.origin, &path, None) {
        Ok(broadcast) => broadcast,
        Err(error) => {
            return publisher.refuse(RequestCode::ExcessiveLoad, error.to_string()).await;
        }
    };
    serve(publisher, path, broadcast).await;
}

/// Relays what a peer publishes into this broadcast.
pub(crate) async fn serve(mut publisher: Publisher, path: Path, broadcast: Arc<Producer>) {
    let relay = publisher.relay.clone();
    // Behind all that keeps the broadcast.
    let _tells = TellsEnd(relay.clone());
    // From an upstream it is more already.
    if publisher.uplink.is_none() {
        publisher.link.connection.receives();
    }
    let mut joined = relay.open.joined.subscribe();
    let mut relaying = Relaying::new(&publisher, path.clone(), broadcast);
    let carried = publisher.uplink.as_ref().map(|pull| pull.carried.clone());
    let mut relaying_stage = Stage::Here;
    loop {
        let next = poll_fn(|cx| relaying.poll(cx));
        let stage = async {
            match &carried {
                Some(carried) => carried.stage_after(relaying_stage).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            offer = publisher.offers.recv() => match offer {
                Some(offer) => relaying.offer(&publisher, offer),
                None => return,
            },
            next = next => match next {
                Next::Asked(Request::Track(request)) => relaying.track(&publisher, request),
                Next::Asked(Request::Fetch(request)) => relaying.fetch(&publisher, request),
                Next::Asked(Request::Broadcast(_)) => {}
                // Somebody publishes it here.
                Next::Changed(_) if publisher.uplink.is_some() && relaying.has_ended() => return,
                Next::Changed(at) => relaying.ask_for_all(&publisher, &at),
                Next::Over(over) => relaying.over(&publisher, over),
            },
            stage = stage => {
                relaying_stage = stage;
                relaying.goes(stage);
            }
            Ok(()) = joined.changed() => relaying.look(),
        }
        if relaying.is_over() {
            return;
        }
    }
}

/// What ends before this is dropped is told to who listens at once.
struct TellsEnd(Arc<Relay>);

impl Drop for TellsEnd {
    fn drop(&mut self) {
        self.0.origin.forget_ended();
    }
}

/// What a peer publishes in a namespace.
struct Relaying {
    relay: Arc<Relay>,
    path: Path,
    upstream: bool,
    /// The broadcast of the namespace lasts as long as this.
    _broadcast: Arc<Producer>,
    places: BTreeMap<Path, Place>,
    responder: Option<Responder>,
    /// It is asked for nothing new.
    going: bool,
    /// PUBLISH_NAMESPACE, or what an upstream tells.
    announced: Option<(Option<RequestId>, Announced)>,
    /// PUBLISH
    published: BTreeSet<RequestId>,
    begun: bool,
    taking: FuturesUnordered<Taking>,
}

/// What is to be done.
enum Next {
    /// Somebody wants something.
    Asked(Request),
    /// A broadcast has other tracks than before.
    Changed(Path),
    Over(Over),
}

/// What has come to its end.
enum Over {
    Published(RequestId),
    Asked(Path, TrackName),
    /// What was not given yet of this broadcast is asked for again.
    Again(Path),
    Fetched,
}

type Taking = std::pin::Pin<Box<dyn Future<Output = Over> + Send>>;

impl Relaying {
    fn new(publisher: &Publisher, path: Path, broadcast: Arc<Producer>) -> Self {
        let own = Place::new(broadcast.consume());
        Self {
            relay: publisher.relay.clone(),
            places: BTreeMap::from([(path.clone(), own)]),
            path,
            upstream: publisher.uplink.is_some(),
            _broadcast: broadcast,
            responder: None,
            going: false,
            announced: None,
            published: BTreeSet::new(),
            begun: false,
            taking: FuturesUnordered::new(),
        }
    }

    fn is_over(&self) -> bool {
        let idle = self.published.is_empty() && self.taking.is_empty();
        self.begun && self.announced.is_none() && idle
    }

    fn poll(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Next> {
        if let Poll::Ready(Some(over)) = self.taking.poll_next_unpin(cx) {
            return Poll::Ready(Next::Over(over));
        }
        // What is asked for now waits for who takes it over.
        if let Some(responder) = self.responder.as_mut().filter(|_| !self.going)
            && let Poll::Ready(request) = responder.poll(cx)
        {
            return Poll::Ready(Next::Asked(request));
        }
        for (path, place) in &mut self.places {
            let Place { broadcast, seen, waiting, .. } = place;
            if let Poll::Ready(revision) = broadcast.poll_changed(*seen, waiting, cx) {
                *seen = revision;
                return Poll::Ready(Next::Changed(path.clone()));
            }
        }
        Poll::Pending
    }

    /// Looks for broadcasts below what the peer has announced.
    fn look(&mut self) {
        if self.announced.is_none() {
            return;
        }
        let ended = |place: &Place| matches!(place.broadcast.liveness(), Liveness::Ended(_));
        self.places.retain(|path, place| *path == self.path || !ended(place));
        for broadcast in self.relay.open.all(&self.path) {
            let path = broadcast.path().clone();
            if !self.serves(&path) {
                continue;
            }
            self.places.entry(path).or_insert_with(|| Place::new(broadcast));
        }
    }

    /// An upstream is asked for what it brings, and what nobody here has: else two nodes that pull from each other go round.
    fn serves(&self, at: &Path) -> bool {
        !self.upstream || *at == self.path || self.relay.open.is_untold(at)
    }

    fn respond(&mut self) {
        let (origin, path) = (&self.relay.origin, &self.path);
        self.responder.get_or_insert_with(|| origin.responder(path.clone(), COST));
    }

    fn offer(&mut self, publisher: &Publisher, offer: Offer) {
        self.begun = true;
        match offer {
            Offer::Namespace(id) => {
                publisher.answer(id, Answer::ok());
                self.announce(Some(id));
            }
            Offer::Told => {
                self.announce(None);
                let before = publisher.uplink.as_ref().and_then(|pull| pull.before.as_ref());
                if let Some(before) = before.and_then(Weak::upgrade) {
                    before.become_(Stage::TakenOver);
                }
            }
            Offer::Track(offered) => {
                let room = self.published.len() < PUBLISHED_TRACKS_MAX;
                let name = TrackName::new(offered.name.clone());
                let own = self.places.get_mut(&self.path);
                let track = match (name, own) {
                    (Ok(name), Some(own)) if room => {
                        own.asked.insert(name.clone());
                        let largest = offered.parameters.largest.map(at);
                        let info = TrackInfo { largest, ..info_of(&offered.properties) };
                        own.broadcast.derive_anew(name, info)
                    }
                    _ => Err(PublishError::TooManyTracks),
                };
                // Who publishes a track may also know its past.
                self.respond();
                let id = offered.id;
                self.published.insert(id);
                let take = publisher.accept(offered, track);
                self.taking.push(Box::pin(async move {
                    take.await;
                    Over::Published(id)
                }));
            }
            Offer::Gone(id) => {
                self.published.remove(&id);
                self.announced.take_if(|(announced, _)| *announced == Some(id));
            }
        }
    }

    fn announce(&mut self, id: Option<RequestId>) {
        self.respond();
        self.announced = Some((id, Announced::new(&self.relay, &self.path)));
        // It is asked for what others are asked for already (draft-18 §9.5).
        self.look();
        self.places.values_mut().for_each(|place| place.seen = u64::MAX);
    }

    /// Its upstream asks us to leave; or has no more of it; or somebody else brings it already, and is asked for what waits here.
    fn goes(&mut self, stage: Stage) {
        self.going = true;
        if stage > Stage::Going {
            (self.responder, self.announced) = (None, None);
        }
    }

    /// Whether the broadcast of the namespace is over.
    fn has_ended(&self) -> bool {
        let own = self.places.get(&self.path);
        own.is_none_or(|own| matches!(own.broadcast.liveness(), Liveness::Ended(_)))
    }

    /// Only who is asked brings: a track costs nothing until somebody wants it.
    fn track(&mut self, publisher: &Publisher, request: TrackRequest) {
        let at = request.broadcast().path().clone();
        if self.announced.is_none() || !self.serves(&at) {
            return;
        }
        let name = request.name().clone();
        if self.places.get(&at).is_some_and(Place::is_full) {
            // That it is not there nobody has said.
            return request.decline(LookupError::TooMany);
        }
        let wanted = self.relay.open.wanted().get(&(at.clone(), name.clone())).copied();
        let new_group = wanted.map(|(largest, _)| largest);
        let unwanted = self.upstream.then(|| -> Unwanted { Box::pin(request.unwanted()) });
        let make = move |info| match info {
            Ok(info) => request.accept_anew(info).ok(),
            Err(code) => {
                // draft-18 §2.5.1: who asked for it is told so.
                if code == RequestCode::UnsupportedExtension {
                    request.decline(LookupError::NotUnderstood);
                }
                None
            }
        };
        self.subscribe(publisher, &at, (name, new_group, unwanted), make);
    }

    /// draft-18 §9.5: all publishers of a namespace are asked for what somebody subscribes to.
    fn ask_for_all(&mut self, publisher: &Publisher, at: &Path) {
        let asks = self.announced.is_some() && !self.going && self.serves(at);
        let Some(place) = self.places.get(at).filter(|_| asks) else { return };
        let broadcast = place.broadcast.clone();
        let takes_over = publisher.uplink.as_ref().is_some_and(|pull| pull.before.is_some());
        let most = PUBLISHED_TRACKS_MAX;
        for name in broadcast.tracks() {
            let Some(place) = self.places.get(at) else { return };
            let track = broadcast.get(&name);
            let over = track.as_ref().is_none_or(|track| track.ended().is_some());
            // What another one has brought is brought on, however much it is.
            let full = if takes_over { place.is_full() } else { place.asked.len() >= most };
            if over || full || place.asked.contains(&name) {
                continue;
            }
            // What nobody reads costs its publisher nothing: it is this one's, and asked for once somebody does.
            if takes_over && track.is_some_and(|track| !track.is_read()) {
                self.keep(publisher, at, name);
                continue;
            }
            let (all, wanted) = (broadcast.clone(), name.clone());
            let make = move |info: Result<_, _>| all.derive(wanted, info.ok()?).ok();
            self.subscribe(publisher, at, (name, None, None), make);
        }
    }

    fn subscribe(
        &mut self,
        publisher: &Publisher,
        at: &Path,
        (name, new_group, unwanted): (TrackName, Option<u64>, Option<Unwanted>),
        make: impl FnOnce(Result<TrackInfo, RequestCode>) -> Option<spine::track::Producer>
        + Send
        + 'static,
    ) {
        let (Some(namespace), Some(kept)) = (namespace_of(at), self.relay.open.there(at)) else {
            return;
        };
        let place = self.places.entry(at.clone()).or_insert_with(|| Place::new(kept.consume()));
        place.asked.insert(name.clone());
        let bytes = Bytes::copy_from_slice(name.as_bytes());
        // draft-18 §10.7: what is newly published; who wants the past fetches it.
        let how = (Filter::NextObject, new_group);
        let take = publisher.subscribe_in(namespace, bytes, how, unwanted, make);
        let at = at.clone();
        self.taking.push(Box::pin(async move {
            let _: Taken = take.await;
            drop(kept);
            Over::Asked(at, name)
        }));
    }

    /// Has a track that another one brought, and asks for it when somebody reads it.
    fn keep(&mut self, publisher: &Publisher, at: &Path, name: TrackName) {
        let (Some(namespace), Some(kept)) = (namespace_of(at), self.relay.open.there(at)) else {
            return;
        };
        let Some(place) = self.places.get_mut(at) else { return };
        let Ok(track) = place.broadcast.derive(name.clone(), TrackInfo::default()) else { return };
        place.asked.insert(name.clone());
        let bytes = Bytes::copy_from_slice(name.as_bytes());
        let keep = publisher.keep(namespace, bytes, track);
        let at = at.clone();
        self.taking.push(Box::pin(async move {
            let _: Taken = keep.await;
            drop(kept);
            Over::Asked(at, name)
        }));
    }

    fn fetch(&mut self, publisher: &Publisher, request: spine::FetchRequest) {
        let at = request.path().clone();
        let Some(namespace) = namespace_of(&at) else { return };
        if (self.announced.is_none() && at != self.path) || !self.serves(&at) {
            return;
        }
        let (pull, link) = (publisher.uplink.clone(), publisher.link.clone());
        self.taking.push(Box::pin(async move {
            let turn = match &pull {
                Some(pull) => pull.fetches.acquire().await.ok(),
                None => None,
            };
            // Nobody may have waited so long.
            if !request.is_wanted() {
                return Over::Fetched;
            }
            let left = upstream::fetch(link, namespace, request).await;
            drop(turn);
            if let (Some(request), Some(pull)) = (left, pull) {
                // Whoever takes over what it brings is asked, once this is dropped; that it goes may be heard of behind the answer.
                let taken_over = pull.carried.stage_after(Stage::Going);
                let _ = timeout(UPLINK_MOVE_MAX, taken_over).await;
                drop(request);
            }
            Over::Fetched
        }));
    }

    fn over(&mut self, publisher: &Publisher, over: Over) {
        match over {
            Over::Published(id) => drop(self.published.remove(&id)),
            // A name that nobody has is not kept.
            Over::Asked(at, name) => {
                let before = publisher.uplink.as_ref().and_then(|pull| pull.before.as_ref());
                let key = (at, name);
                let waits = before
                    .and_then(Weak::upgrade)
                    .is_some_and(|before| !before.comes_elsewhere(&key));
                let (at, name) = key;
                let Some(place) = self.places.get_mut(&at) else { return };
                let there = place.broadcast.get(&name);
                // One that is over may come again under its name.
                if waits || there.is_none_or(|track| track.ended().is_some()) {
                    place.asked.remove(&name);
                }
                // It may be there in a moment: its publisher moves, too.
                if waits && !self.going {
                    self.taking.push(Box::pin(async move {
                        tokio::time::sleep(UPLINK_SETTLE).await;
                        Over::Again(at)
                    }));
                }
            }
            Over::Again(at) => self.ask_for_all(publisher, &at),
            Over::Fetched => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(fields: &[&str]) -> Path {
        Path::new(fields.iter().map(ToString::to_string)).unwrap()
    }

    #[test]
    fn d03_names_that_are_made_up_leave_room_for_others() {
        let (open, origin) = (OpenBroadcasts::default(), Origin::new(spine::Limits::default()));
        let spaces: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        for space in &spaces {
            open.announced().insert(path(&["open", space]), 1);
        }
        let ask = |space: &str, name: usize| {
            open.below(&origin, &path(&["open", space, &name.to_string()])).unwrap().ok()
        };
        let mut kept: Vec<_> = (0..1_000).filter_map(|name| ask("0", name)).collect();
        assert_eq!(kept.len(), UNTOLD_PER_NAMESPACE_MAX);
        assert!(ask("0", 0).is_some(), "it is there already");
        // One that is published is none of them any more.
        kept.push(open.join(&origin, &path(&["open", "0", "0"]), None).unwrap());
        kept.push(ask("0", 1_000).unwrap());
        assert!(ask("0", 1_001).is_none());
        for space in &spaces[1..] {
            assert!(kept.len() > UNTOLD_MAX || ask(space, 0).is_some(), "{space}");
            kept.extend((0..1_000).filter_map(|name| ask(space, name)));
        }
        // That one, held twice.
        assert_eq!(kept.len(), UNTOLD_MAX + 2);
        assert!(open.join(&origin, &path(&["open", "more"]), None).is_ok(), "published");
        kept.clear();
        assert!(ask("9", 0).is_some(), "they are gone");
    }

    #[test]
    fn draft18_s10_2_13_a_wish_lasts_as_long_as_one_who_has_it() {
        let open = OpenBroadcasts::default();
        let key = (path(&["open"]), TrackName::new("chat").unwrap());
        let largest = || open.wanted().get(&key).map(|(largest, _)| *largest);
        let first = open.want(&key.0, &key.1, 3);
        let second = open.want(&key.0, &key.1, 5);
        assert_eq!(largest(), Some(5));
        drop(first);
        assert_eq!(largest(), Some(5));
        drop(second);
        assert_eq!(largest(), None);
    }
}
