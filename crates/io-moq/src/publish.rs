//! What a peer publishes: media for a live input, or tracks of an open namespace.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use bytes::Bytes;
use moqt::session::{Command, Event};
use moqt::{
    Answer, DoneCode, Filter, Location, Namespace, Parameters, Properties, Request, RequestCode,
    RequestId, Secret,
};
use spine::{Close, PublishError, TrackInfo, Waiting, track};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use crate::handover::{Hands, Stage};
use crate::limits::{RENDEZVOUS_MAX, SUBSCRIBE_ANSWER_MAX, TRACK_OVER_WAIT};
use crate::link::{Link, Told};
use crate::names::path_of;
use crate::own::Mark;
use crate::play::{at, location};
use crate::session::Relay;
use crate::take::{Taken, Target, saw, take};
use crate::uplink::{OneMore, Pull};
use crate::upstream::Asked;
use crate::viewer::Viewer;
use crate::{guest, ingest, open};

/// What a peer says of one namespace.
pub(crate) enum Offer {
    /// It has tracks in it.
    Namespace(RequestId),
    /// It publishes this one.
    Track(Box<Offered>),
    /// A relay that we have asked tells that it has tracks in it.
    Told,
    /// It withdrew an offer.
    Gone(RequestId),
}

/// A track that is offered with PUBLISH.
pub(crate) struct Offered {
    pub(crate) id: RequestId,
    /// Its name in the namespace.
    pub(crate) name: Bytes,
    pub(crate) parameters: Parameters,
    pub(crate) properties: Properties,
    pub(crate) told: mpsc::UnboundedReceiver<Told>,
}

/// A peer that publishes in a namespace.
pub(crate) struct Publisher {
    pub(crate) link: Arc<Link>,
    pub(crate) relay: Arc<Relay>,
    pub(crate) namespace: Namespace,
    /// It as one who watches.
    pub(crate) viewer: Viewer,
    /// The stream key that it has shown.
    pub(crate) key: Secret,
    pub(crate) implementation: String,
    pub(crate) offers: mpsc::UnboundedReceiver<Offer>,
    /// Set when the peer closes the session in good order.
    pub(crate) goodbye: Arc<AtomicBool>,
    /// Its tracks are relayed: what it has written of them before is fetched for who wants that.
    pub(crate) relayed: bool,
    /// It is an upstream.
    pub(crate) uplink: Option<Pull>,
}

/// Ready when nobody wants any more what is asked for.
pub(crate) type Unwanted = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How a track is asked for.
pub(crate) struct Wish {
    pub(crate) filter: Filter,
    /// NEW_GROUP_REQUEST
    pub(crate) new_group: Option<u64>,
    pub(crate) unwanted: Option<Unwanted>,
    /// There was one of its name, which is over.
    pub(crate) before: Option<track::Consumer>,
}

impl Publisher {
    /// Serves the namespace for as long as the peer publishes in it.
    pub(crate) async fn run(mut self) {
        let Some(path) = path_of(&self.namespace) else { return };
        // Who publishes is held to limits by his address, which is known when the handshake is over.
        if !self.link.connection.established().await {
            return;
        }
        if self.relay.is_open(&path) {
            self.relayed = true;
            open::run(self, path).await;
        } else if let Some(place) = (self.relay.guests)(&path, self.link.connection.peer()) {
            guest::run(self, path, place).await;
        } else {
            ingest::run(self, path).await;
        }
    }

    pub(crate) fn said_goodbye(&self) -> bool {
        self.goodbye.load(Ordering::Relaxed)
    }

    pub(crate) fn answer(&self, id: RequestId, answer: Answer) {
        self.link.command(Command::Answer { id, answer });
    }

    /// Refuses what is offered, and all that will be.
    pub(crate) async fn refuse(mut self, code: RequestCode, reason: String) {
        while let Some(offer) = self.offers.recv().await {
            self.refuse_one(offer, code, &reason);
        }
    }

    /// Refuses what is offered by now. What is offered later is looked at anew.
    pub(crate) fn refuse_now(mut self, code: RequestCode, reason: &str) {
        while let Ok(offer) = self.offers.try_recv() {
            self.refuse_one(offer, code, reason);
        }
    }

    fn refuse_one(&self, offer: Offer, code: RequestCode, reason: &str) {
        match offer {
            Offer::Namespace(id) => self.answer(id, Answer::error(code, reason)),
            Offer::Track(offered) => {
                self.link.disown(offered.id);
                self.answer(offered.id, Answer::error(code, reason));
            }
            Offer::Told | Offer::Gone(_) => {}
        }
    }

    /// Takes a track that the peer offers.
    pub(crate) fn accept(
        &self,
        offered: Box<Offered>,
        track: Result<track::Producer, PublishError>,
    ) -> impl Future<Output = Taken> + Send + use<> {
        let Offered { id, told, parameters, name, .. } = *offered;
        let name = moqt::TrackName::new(self.namespace.clone(), name);
        let answer = match &track {
            Ok(track) => {
                saw(track, &parameters);
                Answer::ok()
            }
            Err(error) => Answer::error(RequestCode::ExcessiveLoad, error.to_string()),
        };
        self.answer(id, answer);
        let own = match &track {
            Ok(track) => self.own(track.name()),
            Err(_) => None,
        };
        let link = self.link.clone();
        let mut updates = 0;
        if track.is_ok() && parameters.forward == Some(false) && link.version.fills() {
            // draft-21 §9.8: it waits, and the OK can't say that it need not.
            let parameters = Parameters { forward: Some(true), ..Parameters::default() };
            updates = u64::from(link.update(id, parameters));
        }
        let (viewer, relayed) = (self.viewer.clone(), self.relayed);
        async move {
            let _own = own;
            match (track, name) {
                (Ok(track), Ok(name)) => {
                    let (before, leaves) = (parameters.largest, false);
                    let (largest, hands, heard) = (before, None, None);
                    let target =
                        Target { track, relayed, before, largest, updates, leaves, hands, heard };
                    take(link, (id, name), told, target, Some(viewer)).await
                }
                _ => {
                    link.disown(id);
                    Taken::Refused
                }
            }
        }
    }

    /// Asks the peer for a track. What it says of the track makes the one that it is written to.
    pub(crate) fn subscribe<M>(
        &self,
        name: Bytes,
        (filter, new_group): (Filter, Option<u64>),
        make: M,
    ) -> impl Future<Output = Taken> + Send + use<M>
    where
        M: FnOnce(TrackInfo) -> Result<track::Producer, PublishError> + Send + 'static,
    {
        let make = move |info: Result<_, _>| make(info.ok()?).ok();
        let wish = Wish { filter, new_group, unwanted: None, before: None };
        self.subscribe_in(self.namespace.clone(), name, wish, make)
    }

    /// The same of a namespace below its own, until it is unwanted or answered; also who refuses it is told on, with his code.
    pub(crate) fn subscribe_in<M>(
        &self,
        namespace: Namespace,
        name: Bytes,
        wish: Wish,
        make: M,
    ) -> impl Future<Output = Taken> + Send + use<M>
    where
        M: FnOnce(Result<TrackInfo, RequestCode>) -> Option<track::Producer> + Send + 'static,
    {
        let kind = (self.relayed, self.uplink.clone());
        let link = self.link.clone();
        let own = path_of(&namespace).zip(spine::TrackName::new(name.clone()).ok());
        let own = own.map(|(path, name)| (self.viewer.own_tracks.clone(), path, name));
        async move {
            // Only what it gives is its own: of a namespace that is several publishers', all are asked for everything.
            let mark = || own.as_ref().map(|(own, path, name)| own.mark(path, Some(name)));
            let Ok(track) = moqt::TrackName::new(namespace, name) else { return Taken::Refused };
            subscribe((link, kind), track, wish, mark, make).await
        }
    }

    /// Has a track that another one brought and nobody reads, and asks the peer for it once somebody does.
    pub(crate) fn keep(
        &self,
        namespace: Namespace,
        name: Bytes,
        mut track: track::Producer,
    ) -> impl Future<Output = Taken> + Send + use<> {
        let (link, relayed, pull) = (self.link.clone(), self.relayed, self.uplink.clone());
        async move {
            let Ok(name) = moqt::TrackName::new(namespace, name) else { return Taken::Refused };
            let paused = track.pause();
            let mut follows_lost = false;
            if let Some(mut hands) = pull.as_ref().and_then(|pull| pull.hands(&name)) {
                follows_lost = hands.follows_who_is_lost();
                // From the next object on, whichever that is.
                hands.tell(None);
            }
            let pull = pull.map(|pull| Pull { before: None, follows_lost, ..pull });
            let granted = ask_when_read(&link, name, &mut track, pull.as_ref()).await;
            drop(paused);
            match granted {
                Ok(granted) => granted.take(track, relayed, pull).await,
                Err(taken) => taken,
            }
        }
    }

    /// A track that the peer brings is its own until this is dropped.
    fn own(&self, name: &spine::TrackName) -> Option<Mark> {
        Some(self.viewer.own_tracks.mark(&path_of(&self.namespace)?, Some(name)))
    }
}

async fn subscribe(
    (link, (relayed, pull)): (Arc<Link>, (bool, Option<Pull>)),
    track: moqt::TrackName,
    wish: Wish,
    mark: impl FnOnce() -> Option<Mark> + Send,
    make: impl FnOnce(Result<TrackInfo, RequestCode>) -> Option<track::Producer> + Send,
) -> Taken {
    let Wish { filter, new_group, unwanted, before } = wish;
    let how = (filter, new_group);
    let mut unwanted = std::pin::pin!(async {
        match unwanted {
            Some(unwanted) => unwanted.await,
            None => std::future::pending().await,
        }
    });
    let asked = tokio::select! {
        asked = ask_over(&link, track, how, pull.as_ref()) => asked,
        () = &mut unwanted => return Taken::Cancelled,
    };
    let granted = match asked {
        Ok(granted) => match before.filter(|before| granted.may_be(before)) {
            Some(_) => match granted.unless_over().await {
                Some(granted) => granted,
                // What there is of it is here already (decision 175).
                None => return Taken::Cancelled,
            },
            None => granted,
        },
        Err(denied) if denied.by_who_goes(&link) => {
            // Whoever takes over what it brings is asked, once this is dropped.
            if let Some(pull) = &pull {
                tokio::select! {
                    _ = pull.carried.stage_after(Stage::Going) => {}
                    () = unwanted => {}
                }
            }
            return Taken::Cancelled;
        }
        Err(Denied::Answered(error)) => {
            let reason = error.reason.escape_debug();
            tracing::info!(code = ?error.code, %reason, "moq: a track is not given");
            drop(make(Err(error.code)));
            return Taken::Cancelled;
        }
        Err(Denied::Over) => return Taken::Cancelled,
        Err(Denied::Misuse) => return Taken::Refused,
    };
    let _own = mark();
    // Said at once: whoever waits for the track begins behind it.
    let largest = granted.parameters.largest.map(at);
    match make(Ok(TrackInfo { largest, ..info_of(&granted.properties) })) {
        Some(track) => granted.take(track, relayed, pull).await,
        None => Taken::Refused,
    }
}

/// Why a track that was asked for does not come.
pub(crate) enum Denied {
    /// The peer says why.
    Answered(moqt::RequestError),
    /// The peer or the connection is gone.
    Over,
    /// It can't be asked for.
    Misuse,
}

impl Denied {
    /// Whether that is because the peer goes away (draft-18 §10.4), or is lost: the same may be had of another one.
    fn by_who_goes(&self, link: &Link) -> bool {
        match self {
            Self::Answered(error) => error.code == RequestCode::GoingAway,
            Self::Over | Self::Misuse => is_left_behind(link),
        }
    }
}

/// Whether the peer takes no requests any more, as it goes away or is lost.
pub(crate) fn is_left_behind(link: &Link) -> bool {
    link.connection.is_over() || link.with(|session| session.peer_goes_away())
}

/// A subscription of ours that the peer has agreed to. Dropped, it is cancelled.
pub(crate) struct Granted {
    track: moqt::TrackName,
    asked: Asked,
    told: mpsc::UnboundedReceiver<Told>,
    parameters: Parameters,
    pub(crate) properties: Properties,
    counted: Option<OneMore>,
    /// The largest object that was here when it was asked for.
    known: Option<Location>,
    /// What was heard of it already.
    heard: Option<Told>,
}

impl Granted {
    /// The largest object that there is, as the peer says.
    pub(crate) fn largest(&self) -> Option<Location> {
        self.parameters.largest
    }

    /// Whether it may be this one, which is over: it has the same properties, and the same end so far.
    fn may_be(&self, before: &track::Consumer) -> bool {
        let ended = before.ended().is_some_and(|why| why != Close::Malformed);
        let (largest, properties) = (before.largest().map(location), &before.info().properties);
        ended
            && largest.is_some()
            && largest == self.parameters.largest
            && properties == self.properties.as_bytes()
    }

    /// Nothing, if it is over as well. Who has an ended track says so right behind its answer; one that has begun again says something
    /// else, or nothing for a while.
    async fn unless_over(mut self) -> Option<Self> {
        self.heard = timeout(TRACK_OVER_WAIT, self.told.recv()).await.ok().flatten();
        let done = match &self.heard {
            Some(Told::Event(Event::Done { done, .. })) => Some(done.code),
            _ => None,
        };
        (done != Some(DoneCode::TrackEnded)).then_some(self)
    }

    /// Writes what comes into this track, to its end; if it is `relayed`, what there was before as well, for who wants that.
    /// While nobody reads it for long it is not asked for, if it is `pull`ed.
    pub(crate) async fn take(
        mut self,
        mut track: track::Producer,
        relayed: bool,
        pull: Option<Pull>,
    ) -> Taken {
        let mut pull = pull;
        loop {
            let hands = pull.as_ref().and_then(|pull| pull.hands(&self.track));
            // With a track that was brought by another: that is over once it is here, or has ended.
            if let Some(pull) = &mut pull {
                pull.before = None;
            }
            saw(&track, &self.parameters);
            // What is here from earlier is not fetched.
            let largest = self.parameters.largest;
            let before = largest.filter(|largest| Some(*largest) > self.known);
            let Self { track: name, asked, told, counted, heard, .. } = self;
            let (link, id) = asked.request();
            let leaves = pull.is_some();
            let target = Target {
                track: track.clone(),
                relayed,
                before,
                largest,
                updates: 0,
                leaves,
                hands,
                heard,
            };
            let taken = take(link.clone(), (id, name.clone()), told, target, None).await;
            if !matches!(taken, Taken::Moved | Taken::Unread) {
                return taken;
            }
            // Who comes now waits until it is known where it goes on.
            let _paused = (taken == Taken::Unread).then(|| track.pause());
            // The old one first: there is one subscription to a track. What is here already is dropped.
            drop((asked, counted));
            let granted = if taken == Taken::Unread {
                ask_when_read(&link, name, &mut track, pull.as_ref()).await
            } else {
                let largest = track.consume().largest().map_or(0, |largest| largest.group);
                let again = Filter::From(Location::new(largest, 0));
                ask_again(&link, name, again, pull.as_ref()).await
            };
            self = match granted {
                Ok(granted) => granted,
                Err(taken) => return taken,
            };
        }
    }
}

/// Asks for a track that nobody reads once somebody does; or how it came to its end.
async fn ask_when_read(
    link: &Arc<Link>,
    name: moqt::TrackName,
    track: &mut track::Producer,
    pull: Option<&Pull>,
) -> Result<Granted, Taken> {
    let hands = pull.and_then(|pull| pull.hands(&name));
    tokio::select! {
        read = is_read(track) => if !read {
            return Err(Taken::Refused);
        },
        () = is_left(hands.as_ref()) => return Err(Taken::HandedOver),
    }
    let known = track.consume().largest().map(location);
    let granted = ask_again(link, name, Filter::NextObject, pull).await?;
    Ok(Granted { known, ..granted })
}

/// Asks for a track that is here already; or how it came to its end.
async fn ask_again(
    link: &Arc<Link>,
    name: moqt::TrackName,
    filter: Filter,
    pull: Option<&Pull>,
) -> Result<Granted, Taken> {
    let hands = pull.and_then(|pull| pull.hands(&name));
    match ask_over(link, name, (filter, None), pull).await {
        Ok(granted) => Ok(granted),
        Err(denied) if hands.is_some() && denied.by_who_goes(link) => {
            // Kept for who takes it over: who waits for it is not told that it is over.
            is_left(hands.as_ref()).await;
            Err(Taken::HandedOver)
        }
        Err(_) => Err(Taken::Cancelled),
    }
}

/// Until a track that is not asked for here comes from elsewhere.
async fn is_left(hands: Option<&Hands>) {
    match hands {
        Some(hands) => hands.carried.is_left(&hands.key).await,
        None => std::future::pending().await,
    }
}

/// Until somebody reads it again; not, if it is over.
async fn is_read(track: &mut track::Producer) -> bool {
    let mut waiting = Waiting::new();
    poll_fn(|cx| {
        loop {
            match track.poll_demand(&mut waiting, cx) {
                Poll::Ready(demand) if demand.forward => return Poll::Ready(true),
                Poll::Ready(_) => {}
                // Registered first, looked at second.
                Poll::Pending if track.consume().ended().is_some() => return Poll::Ready(false),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// Subscribes to a track of the peer.
pub(crate) async fn ask(
    link: &Arc<Link>,
    track: moqt::TrackName,
    filter: Filter,
    new_group: Option<u64>,
) -> Result<Granted, Denied> {
    ask_over(link, track, (filter, new_group), None).await
}

/// The same, maybe of an upstream: many ask it over one connection, so in turn, and it need not wait for a track.
pub(crate) async fn ask_over(
    link: &Arc<Link>,
    track: moqt::TrackName,
    (filter, new_group): (Filter, Option<u64>),
    pull: Option<&Pull>,
) -> Result<Granted, Denied> {
    let _turn = match pull {
        // Who waits for others of his broadcast keeps no place of all.
        Some(pull) => Some((pull.asks_each.acquire().await, pull.asks.acquire().await)),
        None => None,
    };
    let counted = pull.map(|pull| OneMore::subscription(&pull.status));
    let rendezvous = u64::try_from(RENDEZVOUS_MAX.as_millis()).unwrap_or(u64::MAX) / 3;
    let parameters = Parameters {
        filter: Some(filter),
        forward: Some(true),
        new_group,
        // Announced a moment before its tracks, usually.
        rendezvous_timeout_ms: pull.is_none().then_some(rendezvous),
        ..Parameters::default()
    };
    let request = Request::Subscribe { track: track.clone(), parameters };
    let (id, mut told) = link.request(request).map_err(|_| Denied::Misuse)?;
    let asked = Asked::new(link, id);
    let until = Instant::now() + SUBSCRIBE_ANSWER_MAX;
    loop {
        // Who never answers is asked no longer: what waits for it would stay. Nor is an upstream that is lost.
        let news = async {
            tokio::select! {
                biased;
                news = told.recv() => news,
                _ = link.connection.closed(), if pull.is_some() => None,
            }
        };
        match timeout_at(until, news).await.ok().flatten() {
            Some(Told::Event(Event::Answered { answer, .. })) => match answer {
                Answer::Ok { properties, parameters } => {
                    let (known, heard) = (None, None);
                    return Ok(Granted {
                        track,
                        asked,
                        told,
                        parameters,
                        properties,
                        counted,
                        known,
                        heard,
                    });
                }
                Answer::Error(error) => return Err(Denied::Answered(error)),
                Answer::FetchOk(_) => return Err(Denied::Over),
            },
            Some(Told::Event(Event::Cancelled { .. })) | None => return Err(Denied::Over),
            Some(_) => {}
        }
    }
}

/// What a publisher's properties say of a track.
pub(crate) fn info_of(properties: &Properties) -> TrackInfo {
    TrackInfo {
        priority: properties.default_priority(),
        order: match properties.default_group_order() {
            moqt::GroupOrder::Ascending => spine::Order::Ascending,
            moqt::GroupOrder::Descending => spine::Order::Descending,
        },
        dynamic_groups: properties.dynamic_groups(),
        properties: properties.as_bytes().clone(),
        ..TrackInfo::default()
    }
}
