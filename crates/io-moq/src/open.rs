//! Open namespaces: tracks are relayed as they come, whatever they hold.

mod broadcasts;

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::Poll;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use moqt::{Answer, Filter, RequestCode, RequestId};
use spine::broadcast::{Consumer, Liveness, Producer};
use spine::{
    LookupError, Path, PublishError, Request, Responder, TrackInfo, TrackName, TrackRequest,
    Waiting,
};
use tokio::time::timeout;

use crate::handover::Stage;
use crate::limits::{PUBLISHED_TRACKS_MAX, UPLINK_MOVE_MAX, UPLINK_SETTLE};
use crate::names::namespace_of;
use crate::play::at;
use crate::publish::{Offer, Publisher, Unwanted, Wish, info_of};
use crate::session::Relay;
use crate::take::Taken;
use crate::upstream;
use broadcasts::Announced;
pub(crate) use broadcasts::OpenBroadcasts;

/// How an upstream is asked compared with who has what is wanted at hand.
const COST: u32 = 10;

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

    /// One that is over may come again under its name.
    fn forget_over(&mut self, name: &TrackName) {
        if self.broadcast.get(name).is_none_or(|track| track.ended().is_some()) {
            self.asked.remove(name);
        }
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
    let mut joined = relay.open.joined();
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

/// draft-18 §10.7: what is newly published; who wants the past fetches it.
fn next_object() -> Wish {
    Wish { filter: Filter::NextObject, new_group: None, unwanted: None, before: None }
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
    Published(RequestId, Option<TrackName>),
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
                let name = TrackName::new(offered.name.clone()).ok();
                let own = self.places.get_mut(&self.path);
                let track = match (name.clone(), own) {
                    (Some(name), Some(own)) if room => {
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
                    Over::Published(id, name)
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
        let before = request.broadcast().get(&name);
        let unwanted = self.upstream.then(|| -> Unwanted { Box::pin(request.unwanted()) });
        let wish = Wish { new_group, unwanted, before, ..next_object() };
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
        self.subscribe(publisher, &at, (name, wish), make);
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
            self.subscribe(publisher, at, (name, next_object()), make);
        }
    }

    fn subscribe(
        &mut self,
        publisher: &Publisher,
        at: &Path,
        (name, wish): (TrackName, Wish),
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
        let take = publisher.subscribe_in(namespace, bytes, wish, make);
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
            Over::Published(id, name) => {
                self.published.remove(&id);
                if let (Some(name), Some(own)) = (name, self.places.get_mut(&self.path)) {
                    own.forget_over(&name);
                }
            }
            // A name that nobody has is not kept.
            Over::Asked(at, name) => {
                let before = publisher.uplink.as_ref().and_then(|pull| pull.before.as_ref());
                let key = (at, name);
                let waits = before
                    .and_then(Weak::upgrade)
                    .is_some_and(|before| !before.comes_elsewhere(&key));
                let (at, name) = key;
                let Some(place) = self.places.get_mut(&at) else { return };
                if waits {
                    place.asked.remove(&name);
                }
                place.forget_over(&name);
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
