//! A live input that is published over MoQ: catalog and media become frames.
//!
//! What comes is written to a spine of its own first (`staging`), cut-through and in whatever order
//! streams arrive; read from there in the order of its groups and objects, it is an encoder's stream as any other.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use media::admission::{Admitted, Asking, Left, Refused};
use media::catalog::{Catalog, CatalogTrack};
use media::moq::{Fault, Track};
use media::timeline::SourceClock;
use media::{Arrival, Publication, Slot, Unreadable};
use moqt::session::Command;
use moqt::{Answer, DoneCode, Filter, Location, RequestCode, RequestId, ResetCode};
use spine::broadcast::Producer;
use spine::{
    Close, NodeId, Objects, Origin, Path, Patience, Policy, Read, Route, Start, Takeover,
    TrackInfo, TrackName, Waiting,
};
use tokio::sync::oneshot;
use tokio::time::Sleep;

mod editions;

use self::editions::Editions;
use crate::clock;
use crate::limits::{
    AUDIO_TRACKS_MAX, GONE_LINGER, LAG_MAX, MISSING_WAIT, PUBLISHED_TRACKS_MAX, REMOVED_TRACKS_MAX,
    STAGING_BYTES, UNREADABLE_MAX, VIDEO_TRACKS_MAX,
};
use crate::play::joined;
use crate::publish::{Offer, Offered, Publisher, info_of};
use crate::session::Relay;
use crate::take::Taken;

const CATALOG: &str = "catalog";

/// Frames are decoded one after the other: what comes behind those that need it is of no use.
const PATIENCE: Patience = Patience { missing: MISSING_WAIT, stalled: LAG_MAX };

/// Serves a live input's namespace for as long as the peer publishes in it.
pub(crate) async fn run(publisher: Publisher, path: Path) {
    let asking = Asking {
        // A key is text; what is none is nobody's.
        key: String::from_utf8_lossy(publisher.key.expose()).into_owned(),
        path: Some(path),
        peer: publisher.link.connection.peer(),
        protocol: "moq",
        encoder: publisher.implementation.clone(),
        clock: SourceClock::MICROSECONDS,
    };
    let own = publisher.viewer.own_tracks.clone();
    let path = asking.path.clone();
    let answer = match asking.key.is_empty() {
        true => Err(Refused::NoKey),
        false => (publisher.relay.door)(asking).await,
    };
    let admitted = match answer {
        Ok(admitted) => admitted,
        Err(refused) => {
            publisher.relay.counters.refused_publishes.fetch_add(1, Ordering::Relaxed);
            tracing::info!(
                peer = %publisher.link.connection.peer(), reason = %refused, "moq: publish refused"
            );
            return publisher.refuse(code_of(&refused), refused.to_string()).await;
        }
    };
    publisher.link.connection.receives();
    // All that comes of it is the peer's own.
    let _own = path.map(|path| own.mark(&path, None));
    let on_air = OnAir::new(&publisher, admitted);
    match staging() {
        Ok(staging) => Ingest::new(publisher, on_air, staging).run().await,
        Err(error) => tracing::error!(%error, "moq: no staging"),
    }
}

fn code_of(refused: &Refused) -> RequestCode {
    match refused {
        Refused::Unavailable(_) | Refused::TooManyAttempts => RequestCode::ExcessiveLoad,
        Refused::Busy | Refused::TakenOver => RequestCode::Uninterested,
        _ => RequestCode::Unauthorized,
    }
}

fn staging() -> Result<Producer, spine::PublishError> {
    let limits = spine::Limits {
        cache_bytes: STAGING_BYTES,
        broadcasts: 1,
        // Each return of one that was taken out is read apart.
        tracks_per_broadcast: PUBLISHED_TRACKS_MAX + REMOVED_TRACKS_MAX,
        ..spine::Limits::default()
    };
    let route = Route::local(NodeId(0), 0);
    Origin::new(limits).publish(&Path::root(), route, Takeover::Refuse)
}

/// An admitted encoder. Dropped, also with its connection, it is lost, unless it said goodbye.
struct OnAir {
    publication: Option<Publication>,
    leave: Option<Box<dyn FnOnce(Publication, Left) + Send>>,
    relay: Arc<Relay>,
    goodbye: Arc<std::sync::atomic::AtomicBool>,
}

impl OnAir {
    fn new(publisher: &Publisher, admitted: Admitted) -> Self {
        let relay = publisher.relay.clone();
        relay.counters.live.fetch_add(1, Ordering::Relaxed);
        let Admitted { publication, leave } = admitted;
        let (publication, leave) = (Some(publication), Some(leave));
        Self { publication, leave, relay, goodbye: publisher.goodbye.clone() }
    }

    fn leave(&mut self, left: Left) {
        if let (Some(publication), Some(leave)) = (self.publication.take(), self.leave.take()) {
            self.relay.counters.live.fetch_sub(1, Ordering::Relaxed);
            leave(publication, left);
        }
    }
}

impl Drop for OnAir {
    fn drop(&mut self) {
        let goodbye = self.goodbye.load(Ordering::Relaxed);
        self.leave(if goodbye { Left::Goodbye } else { Left::Lost });
    }
}

/// A track of the catalog that is read.
struct Reading {
    /// In the catalog.
    name: String,
    /// Here.
    staged: TrackName,
    /// What its catalog said when it was taken up.
    shape: Shape,
    track: Track,
    objects: Option<Objects>,
    ended: bool,
    /// The catalog has taken it out: until when what is under way of it is taken.
    leaves: Option<tokio::time::Instant>,
    /// It was said that it can't be shown as it is.
    warned: bool,
}

impl Reading {
    /// What is said of the whole track. What of it can't be used may be said anew, as it may with its
    /// objects.
    fn says(&mut self, properties: &[u8]) {
        if let Err(fault) = self.track.properties(properties) {
            self.warn(&fault);
        }
    }

    /// Once.
    fn warn(&mut self, fault: &Fault) {
        if !std::mem::replace(&mut self.warned, true) {
            let track = self.name.escape_debug();
            tracing::warn!(%track, "moq: nothing of a track is shown for now: {fault}");
        }
    }
}

/// What its media is made of. In another edition of the catalog, another one is another track.
#[derive(PartialEq, Eq)]
struct Shape {
    packaging: String,
    /// Of which codec; profile and level may change on the way.
    codec: Option<String>,
    /// Of what its decoder begins with, whatever name that has.
    init: Option<u64>,
    timescale: Option<u32>,
}

impl Shape {
    fn of(entry: &CatalogTrack, catalog: &Catalog) -> Self {
        let init = catalog.init_data(entry).map(|init| {
            let mut hash = DefaultHasher::new();
            (&init.kind, &init.data).hash(&mut hash);
            hash.finish()
        });
        let family = |codec: &String| codec.split('.').next().unwrap_or_default().to_owned();
        Self {
            packaging: entry.packaging.clone(),
            codec: entry.codec.as_ref().map(family),
            init,
            timescale: entry.timescale,
        }
    }
}

struct Ingest {
    publisher: Publisher,
    on_air: OnAir,
    staging: Producer,
    seen: u64,
    changed: Waiting,
    closed: Waiting,
    catalog: Editions,
    readings: Vec<Reading>,
    /// Names that the catalog has and that were asked for or left out.
    known: BTreeSet<String>,
    /// How often tracks were taken away, and what they were: they may come again.
    removed: BTreeMap<Bytes, (u32, Slot)>,
    /// So many of them, each time.
    taken_away: usize,
    /// Subscriptions of ours, by name: dropped, they are over.
    asked: BTreeMap<Bytes, oneshot::Sender<()>>,
    unreadable: Unreadable,
    /// When what is held back comes, whatever else does.
    held: Option<Pin<Box<Sleep>>>,
    /// Requests of the peer that are open.
    namespaces: Vec<RequestId>,
    offered: BTreeMap<RequestId, Bytes>,
}

/// Why reading stops for a moment.
enum Woke {
    Catalog(Arc<Catalog>),
    Replaced,
    Faulty(String),
    /// All of its media is over.
    Over,
}

enum Next {
    Offer(Option<Offer>),
    Woke(Woke),
}

type Taking = Pin<Box<dyn Future<Output = (Option<RequestId>, Bytes, Taken)> + Send>>;

impl Ingest {
    fn new(publisher: Publisher, on_air: OnAir, staging: Producer) -> Self {
        Self {
            publisher,
            on_air,
            staging,
            seen: u64::MAX,
            changed: Waiting::new(),
            closed: Waiting::new(),
            catalog: Editions::default(),
            readings: Vec::new(),
            known: BTreeSet::new(),
            removed: BTreeMap::new(),
            taken_away: 0,
            asked: BTreeMap::new(),
            unreadable: Unreadable::default(),
            held: None,
            namespaces: Vec::new(),
            offered: BTreeMap::new(),
        }
    }

    async fn run(mut self) {
        let mut taking: FuturesUnordered<Taking> = FuturesUnordered::new();
        let mut asked_for_catalog = false;
        // It has withdrawn all it offered: until when what is under way is taken.
        let mut gone: Option<tokio::time::Instant> = None;
        let left = loop {
            self.drop_tracks(tokio::time::Instant::now());
            if gone.is_some() && taking.is_empty() {
                // All of it has come, and is handed on with this.
                let _ = poll_fn(|cx| Poll::Ready(self.poll(cx).is_ready())).await;
                break Left::Goodbye;
            }
            let leaves = self.readings.iter().filter_map(|r| r.leaves).min();
            let next = poll_fn(|cx| match self.publisher.offers.poll_recv(cx) {
                Poll::Ready(offer) => Poll::Ready(Next::Offer(offer)),
                Poll::Pending => self.poll(cx).map(Next::Woke),
            });
            let offer = tokio::select! {
                () = until(leaves) => continue,
                Some((id, name, taken)) = taking.next() => {
                    tracing::debug!(track = %name.escape_ascii(), ?taken, "moq: a track is over");
                    id.map(|id| self.offered.remove(&id));
                    // The publisher may offer its catalog itself, or begin again.
                    if name == CATALOG && id.is_none() && taken != Taken::Done(DoneCode::TrackEnded) {
                        asked_for_catalog = false;
                    }
                    continue;
                }
                () = until(gone) => break Left::Goodbye,
                next = next => match next {
                    Next::Offer(offer) => offer,
                    Next::Woke(Woke::Catalog(catalog)) if catalog.is_complete => break Left::Goodbye,
                    Next::Woke(Woke::Catalog(catalog)) => {
                        self.take_leave(&catalog);
                        for name in self.new_tracks(&catalog) {
                            // From its start, or that of the group that is under way: nothing that
                            // went on air before we asked need be lost.
                            let all = Filter::From(Location::default());
                            taking.push(self.subscribe(name, all));
                        }
                        continue;
                    }
                    Next::Woke(Woke::Over) => break Left::Goodbye,
                    Next::Woke(Woke::Replaced) => {
                        // A server that stops wants all of it again when it is back.
                        let closed = self.on_air.publication.as_ref().and_then(Publication::closed);
                        if matches!(closed, Some(Close::Shutdown | Close::GoingAway)) {
                            self.namespaces.clear();
                        }
                        break Left::Dismissed;
                    }
                    Next::Woke(Woke::Faulty(reason)) => {
                        let peer = self.publisher.link.connection.peer();
                        tracing::info!(%peer, %reason, "moq: publish ended");
                        break Left::Faulty;
                    }
                },
            };
            match offer {
                Some(Offer::Namespace(id)) => {
                    gone = None;
                    self.publisher.answer(id, Answer::ok());
                    self.namespaces.push(id);
                    let offered = self.offered.values().any(|name| name == CATALOG);
                    if !asked_for_catalog && !offered {
                        asked_for_catalog = true;
                        // From its start: a catalog may have been written once, and long ago.
                        let all = Filter::From(Location::default());
                        taking.push(self.subscribe(Bytes::from_static(CATALOG.as_bytes()), all));
                    }
                }
                Some(Offer::Track(offered)) => {
                    gone = None;
                    taking.push(self.accept(offered));
                }
                Some(Offer::Gone(id)) => {
                    self.namespaces.retain(|namespace| *namespace != id);
                    self.offered.remove(&id);
                    if self.namespaces.is_empty() && self.offered.is_empty() {
                        gone = Some(tokio::time::Instant::now() + GONE_LINGER);
                    }
                }
                // Of an upstream, which has no key.
                Some(Offer::Told) => {}
                None => break Left::Lost,
            }
        };
        let left = if self.publisher.said_goodbye() { Left::Goodbye } else { left };
        self.on_air.leave(left);
        let Self { publisher, staging, namespaces, offered, .. } = self;
        drop((taking, staging));
        // draft-18 §10.15: we want no more of it.
        for id in namespaces.into_iter().chain(offered.into_keys()) {
            publisher.link.disown(id);
            publisher.link.command(Command::Cancel { id, code: ResetCode::Cancelled });
        }
        let reason = match left {
            Left::Dismissed => Refused::TakenOver.to_string(),
            _ => "the broadcast has ended".to_owned(),
        };
        publisher.refuse(RequestCode::Uninterested, reason).await;
    }

    fn accept(&mut self, offered: Box<Offered>) -> Taking {
        let (id, name) = (offered.id, offered.name.clone());
        self.offered.insert(id, name.clone());
        let track = match self.staged(&name) {
            Some(name) => self.staging.track(name, info_of(&offered.properties)),
            None => Err(spine::PublishError::TooManyTracks),
        };
        if let Some(reading) = self.readings.iter_mut().find(|r| name == r.name.as_bytes()) {
            reading.says(offered.properties.as_bytes());
        }
        let take = self.publisher.accept(offered, track);
        Box::pin(async move { (Some(id), name, take.await) })
    }

    fn subscribe(&mut self, name: Bytes, filter: Filter) -> Taking {
        let staging = self.staging.consume();
        let track = self.staged(&name);
        let make = move |info: TrackInfo| {
            staging.derive(track.ok_or(spine::PublishError::TooManyTracks)?, info)
        };
        let take = self.publisher.subscribe(name.clone(), (filter, None), make);
        let (wanted, unwanted) = oneshot::channel();
        self.asked.insert(name.clone(), wanted);
        Box::pin(async move {
            let taken = tokio::select! {
                taken = take => taken,
                // Dropped, it is cancelled.
                _ = unwanted => Taken::Cancelled,
            };
            (None, name, taken)
        })
    }

    /// What a track is called here. One that was taken away and comes again is read apart from what it was: no track is a
    /// catalog's whose name is no text.
    fn staged(&self, name: &Bytes) -> Option<TrackName> {
        let times = self.removed.get(name).map_or(0, |(times, _)| *times);
        let again = [&[0xff][..], &times.to_be_bytes(), name].concat();
        TrackName::new(if times == 0 { name.clone() } else { again.into() }).ok()
    }

    /// Tracks that a change has taken out leave when what is under way of them has come; others take the place of some at once.
    /// Whole catalogs may be of one of several writers, and lack what the others have: they take nothing out.
    fn take_leave(&mut self, catalog: &Catalog) {
        let now = tokio::time::Instant::now();
        let changed = self.catalog.is_changed();
        for r in &mut self.readings {
            let listed = catalog.tracks.iter().find(|entry| entry.name == r.name);
            let stays = listed.map(|entry| Shape::of(entry, catalog) == r.shape);
            r.leaves = match (stays, r.leaves) {
                (Some(true), None) => None,
                // It is back before it had ended.
                (Some(true), Some(_)) if !r.ended => None,
                (Some(_), _) => Some(now),
                (None, None) if changed => Some(now + GONE_LINGER),
                (None, leaves) => leaves,
            };
        }
        let listed = |name: &str| catalog.tracks.iter().any(|entry| entry.name == name);
        let is_read = |name: &str| self.readings.iter().any(|r| r.name == name);
        self.known.retain(|name| !changed || listed(name) || is_read(name));
        self.drop_tracks(now);
    }

    /// Ends those that have left. Lists leave them out until they come again.
    fn drop_tracks(&mut self, now: tokio::time::Instant) {
        let stays = |r: &Reading| r.leaves.is_none_or(|at| at > now && !r.ended);
        let (stay, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.readings).into_iter().partition(stays);
        self.readings = stay;
        self.known.retain(|name| gone.iter().all(|r| r.name != *name));
        self.taken_away += gone.len();
        for Reading { name, staged, track, .. } in gone {
            tracing::info!(track = %name.escape_debug(), "moq: a track is taken out of its catalog");
            if let Some(publication) = &mut self.on_air.publication {
                publication.rest(track.slot(), clock::now());
            }
            let name = Bytes::from(name);
            self.asked.remove(&name);
            let offered = self.offered.extract_if(.., |_, offered| *offered == name);
            for (id, _) in offered {
                self.publisher.link.disown(id);
                let code = ResetCode::Cancelled;
                self.publisher.link.command(Command::Cancel { id, code });
            }
            // Nobody reads what is left of it.
            if let Ok(left) = self.staging.consume().derive(staged, TrackInfo::default()) {
                left.clear();
            }
            let removed = self.removed.entry(name).or_insert((0, track.slot()));
            *removed = (removed.0 + 1, track.slot());
        }
    }

    /// Takes up what the catalog has new; answers the tracks to subscribe to.
    fn new_tracks(&mut self, catalog: &Catalog) -> Vec<Bytes> {
        let mut wanted = Vec::new();
        for entry in choose(&catalog.tracks) {
            let reading = self.readings.iter_mut().find(|r| r.name == entry.name);
            if let Some(reading) = reading {
                reading.track.described(entry);
            }
            if self.known.len() >= PUBLISHED_TRACKS_MAX || !self.known.insert(entry.name.clone()) {
                continue;
            }
            let name = Bytes::copy_from_slice(entry.name.as_bytes());
            let Some(staged) = self.staged(&name) else { continue };
            let video = self.free_slot(&name, Slot::Video, VIDEO_TRACKS_MAX);
            let audio = self.free_slot(&name, Slot::Audio, AUDIO_TRACKS_MAX);
            let track = match Track::new(entry, catalog, video, audio) {
                Ok(track) => track,
                Err(why) => {
                    tracing::warn!(track = %entry.name.escape_debug(), "a track is left out: {why}");
                    continue;
                }
            };
            let none = [Slot::Video(VIDEO_TRACKS_MAX), Slot::Audio(AUDIO_TRACKS_MAX)];
            if none.contains(&track.slot()) {
                tracing::warn!("there are too many tracks in a catalog");
                break;
            }
            if self.taken_away >= REMOVED_TRACKS_MAX {
                tracing::warn!("tracks were taken out of a catalog too often: none comes any more");
                break;
            }
            if !self.offered.values().any(|offered| *offered == name) {
                wanted.push(name);
            }
            let (name, shape) = (entry.name.clone(), Shape::of(entry, catalog));
            let (objects, ended, leaves, warned) = (None, false, None, false);
            let reading = Reading { name, staged, shape, track, objects, ended, leaves, warned };
            self.readings.push(reading);
        }
        // Tracks may be there already, or come while nothing else changes.
        self.seen = u64::MAX;
        wanted
    }

    /// A track that comes again is what it was; another one is what none was, or what none is now. `max`: there is no such.
    fn free_slot(&self, name: &Bytes, slot: fn(u8) -> Slot, max: u8) -> u8 {
        let is_read = |n: &u8| self.readings.iter().any(|r| r.track.slot() == slot(*n));
        let was = |n: &u8, own: bool| {
            self.removed.iter().any(|(of, (_, s))| *s == slot(*n) && (!own || of == name))
        };
        let free = || (0..max).filter(|n| !is_read(n));
        let own = free().find(|n| was(n, true)).or_else(|| free().find(|n| !was(n, false)));
        own.or_else(|| free().next()).unwrap_or(max)
    }

    /// Hands on what came.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Woke> {
        let Some(publication) = &mut self.on_air.publication else { return Poll::Pending };
        if publication.broadcast().poll_closed(&mut self.closed, cx).is_ready() {
            return Poll::Ready(Woke::Replaced);
        }
        let now = clock::now();
        let staging = self.staging.consume();
        while let Poll::Ready(seen) = staging.poll_changed(self.seen, &mut self.changed, cx) {
            self.seen = seen;
            let follow = |name: &TrackName| {
                let start = Start::At(spine::Location { group: 0, object: 0 });
                let track = staging.get(name)?;
                let cursor = track.subscribe(spine::Filter::from(start), Policy::EVERYTHING);
                Some((Objects::in_order(cursor, PATIENCE), track.info().clone()))
            };
            if self.catalog.objects.is_none() {
                let catalog = follow(&TrackName::from_static(CATALOG));
                self.catalog.objects = catalog.map(|(objects, _)| objects);
            }
            for reading in self.readings.iter_mut().filter(|r| r.objects.is_none()) {
                if let Some((objects, info)) = follow(&reading.staged) {
                    reading.says(&info.properties);
                    reading.objects = Some(objects);
                    // Sound begins a group every second anyway.
                    let slot = reading.track.slot();
                    if info.dynamic_groups && matches!(slot, Slot::Video(_)) {
                        publication.begins_groups_when_asked(slot);
                    }
                }
            }
        }
        match self.catalog.poll(cx, now, &mut self.unreadable) {
            Poll::Ready(Ok(catalog)) => return Poll::Ready(Woke::Catalog(catalog)),
            Poll::Ready(Err(reason)) => return Poll::Ready(Woke::Faulty(reason)),
            Poll::Pending => {}
        }
        // Round and round, a frame of each at a time, as the encoder interleaved them.
        loop {
            let mut progress = false;
            for reading in self.readings.iter_mut().filter(|r| !r.ended) {
                let Some(objects) = &mut reading.objects else { continue };
                let (header, payload) = match objects.poll(cx, now) {
                    Poll::Ready(Read::Object { header, payload, .. }) => (header, payload),
                    Poll::Ready(Read::Cut | Read::Skipped) => {
                        progress = true;
                        continue;
                    }
                    Poll::Ready(Read::End(_)) => {
                        (reading.ended, progress) = (true, true);
                        continue;
                    }
                    Poll::Pending => continue,
                };
                progress = true;
                if header.status != spine::Status::Normal {
                    continue;
                }
                let arrival = Arrival { at: header.arrived, wall_clock_ms: wall_clock_ms() };
                let payload = joined(payload);
                let taken =
                    reading.track.object(publication, &header.properties, &payload, arrival);
                match taken {
                    // As in a catalog, that leaves out this track alone. A good one may still come.
                    Err(fault @ Fault::Init(_)) => reading.warn(&fault),
                    Err(fault) => {
                        let slot = reading.track.slot();
                        let left_out = (&mut *publication, slot);
                        if let Some(reason) = faulty(fault, left_out, &mut self.unreadable, now) {
                            return Poll::Ready(Woke::Faulty(reason));
                        }
                    }
                    Ok(()) => {}
                }
            }
            if !progress {
                break;
            }
        }
        // draft-18 §10.2.13: viewers ask for a group of ours, the publisher is asked for one of its own.
        for slot in publication.wanted_groups(cx, now) {
            let reading = self.readings.iter().find(|r| r.track.slot() == slot);
            if let Some(track) = reading.and_then(|r| staging.get(&r.staged))
                && let Some(largest) = track.largest()
            {
                track.request_group(largest.group);
            }
        }
        let mut there = self.readings.iter().filter(|r| r.leaves.is_none()).peekable();
        if there.peek().is_some() && there.all(|r| r.ended) {
            return Poll::Ready(Woke::Over);
        }
        let read = self.readings.iter().filter_map(|r| r.objects.as_ref());
        let read = read.chain(&self.catalog.objects);
        self.held = read.filter_map(Objects::due).min().map(|due| {
            let mut held = Box::pin(tokio::time::sleep_until(due.into()));
            if held.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            held
        });
        Poll::Pending
    }
}

/// Entries that are media. Where the same is there in two packagings, CMAF: it says when frames are
/// decoded.
fn choose(entries: &[CatalogTrack]) -> impl Iterator<Item = &CatalogTrack> {
    let cmaf = entries.iter().filter(|entry| entry.packaging == "cmaf");
    let cmaf: BTreeSet<Option<&str>> = cmaf.map(|entry| entry.role.as_deref()).collect();
    entries.iter().filter(move |entry| {
        entry.packaging == "cmaf"
            || (entry.packaging == "loc" && !cmaf.contains(&entry.role.as_deref()))
    })
}

/// Why this ends the publish, if it does.
fn faulty(
    fault: Fault,
    (publication, slot): (&mut Publication, Slot),
    unreadable: &mut Unreadable,
    now: std::time::Instant,
) -> Option<String> {
    use media::codec::Error;
    match fault {
        // A configuration may still come; until then there is nothing to show.
        Fault::Codec(Error::NoConfiguration { .. }) => {
            if matches!(slot, Slot::Video(_)) {
                publication.unconfigured();
            }
            return None;
        }
        Fault::Codec(Error::Unsupported { .. }) | Fault::Ingest(_) => {
            return Some(fault.to_string());
        }
        _ => {}
    }
    publication.unreadable();
    (unreadable.add(now) > UNREADABLE_MAX).then(|| format!("the media can't be read: {fault}"))
}

/// Until then; for ever, if there is no such time.
async fn until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn wall_clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
