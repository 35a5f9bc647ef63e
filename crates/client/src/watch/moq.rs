//! Watching over MoQ: the CMAF tracks of a catalog, each object as it comes. Where a server goes away they are followed on
//! elsewhere ([`super::moved`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use io_moq::client::{Client, Denial, Handle, Trust, place};
use media::catalog::{Catalog, CatalogTrack};
use media::mp4::{Event as Boxes, Reader};
use moqt::{Namespace, Redirect};
use package::properties::{self, Part, Segment};
use spine::Origin;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::moved::{Broadcast, Came, Following, Object, Place, Reads, drive};
use super::past::{Stopped, TrackReader};
use super::track::{Event, Media, What};
use super::{ASK_AGAIN, Begin, Begun, Options, SETTLE_ROUNDS, TrackName, WatchError};
use crate::address::MoqAddress;
use crate::limits::{CONNECT_TIMEOUT, INIT_WAIT, REDIRECTS_MAX, TRACKS_MAX};

/// Initialisation segments by their id, and by the track that has them now.
type Inits = BTreeMap<String, Bytes>;

/// Begins where the address says, or where the server there wants the catalog asked for instead
/// (REDIRECT).
pub(super) async fn begin(
    address: &MoqAddress,
    options: &Options,
    sender: mpsc::Sender<Event>,
) -> Result<Begun, WatchError> {
    let (mut address, mut prefix) = (address.clone(), Namespace::root());
    for left in (0..=REDIRECTS_MAX).rev() {
        let begun = begin_at(&address, &prefix, options, sender.clone()).await;
        let (redirect, next) = match begun {
            Ok(begun) => return Ok(begun),
            Err(NotBegun::Failed(error)) => return Err(error),
            Err(NotBegun::Elsewhere(redirect)) => {
                let next = redirected(&address, &redirect);
                (redirect, next)
            }
            // It names a prefix (draft-18 §10.6.1 with §10.17), or none.
            Err(NotBegun::ListElsewhere(redirect)) => {
                if !redirect.namespace.is_root() {
                    prefix = redirect.namespace.clone();
                }
                let server = address.server.redirected(&redirect.uri);
                let next = server.map(|server| MoqAddress { server, ..address.clone() });
                (redirect, next)
            }
        };
        let Some(next) = next.filter(|_| left > 0) else {
            let (address, place) = (address.to_string(), place(&redirect));
            return Err(WatchError::Elsewhere { address, place, often: left == 0 });
        };
        address = next;
    }
    Err(WatchError::NotOnAir(address.to_string()))
}

/// Why it did not begin here.
enum NotBegun {
    Failed(WatchError),
    /// The catalog.
    Elsewhere(Box<Redirect>),
    /// A list of what is there.
    ListElsewhere(Box<Redirect>),
}

impl From<WatchError> for NotBegun {
    fn from(error: WatchError) -> Self {
        Self::Failed(error)
    }
}

/// Without its catalog.
fn not_begun(address: &MoqAddress, denial: Denial) -> NotBegun {
    match denial.redirect() {
        Some(redirect) => NotBegun::Elsewhere(Box::new(redirect.clone())),
        None => NotBegun::Failed(denied(address, "the catalog", denial)),
    }
}

/// Without a list of what is there.
fn not_listed(address: &MoqAddress, denial: Denial) -> NotBegun {
    match denial.redirect() {
        Some(redirect) => NotBegun::ListElsewhere(Box::new(redirect.clone())),
        None => NotBegun::Failed(denied(address, "a list of what is there", denial)),
    }
}

/// Where a redirect leads (draft-18 §10.6.1): what it does not say stays as it is. None, if that is
/// nothing that is understood.
fn redirected(address: &MoqAddress, redirect: &Redirect) -> Option<MoqAddress> {
    let server = address.server.redirected(&redirect.uri)?;
    if redirect.namespace.is_root() && redirect.name.is_empty() {
        return Some(MoqAddress { server, ..address.clone() });
    }
    let catalog = match redirect.name.is_empty() {
        true => address.catalog.clone(),
        false => String::from_utf8(redirect.name.to_vec()).ok()?,
    };
    Some(MoqAddress { server, namespace: Some(redirect.namespace.clone()), catalog })
}

/// Connects, reads the catalog, and follows each track in a task of its own; two more drive the
/// connection and read the catalog on.
async fn begin_at(
    address: &MoqAddress,
    prefix: &Namespace,
    options: &Options,
    sender: mpsc::Sender<Event>,
) -> Result<Begun, NotBegun> {
    let trust = Trust::Verified(options.trust.verifier().map_err(WatchError::from)?);
    let origin = Origin::new(spine::Limits::default());
    let client = Client::connect(&address.server, trust.clone(), origin).await;
    let client = client.map_err(WatchError::from)?;
    let handle = client.handle();
    let mut tasks = JoinSet::new();
    let end: End = Arc::default();
    let ended = end.clone();
    let (gone, left) = oneshot::channel();
    let (tell, places) = watch::channel(Place::At(0, handle.clone()));
    let server = address.server.clone();
    tasks.spawn(async move {
        // Kept until the reason is told: its end tells the others that there is one.
        let kept = tell.clone();
        let (client, reason) = drive(client, server, trust, tell).await;
        let reason = reason.escape_debug().to_string();
        // Before the connection is dropped, and with it what the others wait for.
        *ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        drop(kept);
        if let Some(client) = client {
            client.leave().await;
        }
        let _ = gone.send(());
    });
    let namespace = match &address.namespace {
        Some(namespace) => namespace.clone(),
        None => the_only_one(&handle, (address, prefix), options.wait).await?,
    };
    let address = MoqAddress { namespace: Some(namespace.clone()), ..address.clone() };
    let broadcast = Broadcast { places: places.clone(), namespace };
    let listed = catalog(&broadcast, &address, options.wait, &mut tasks).await?;
    let (mut catalog, mut editions) = listed;
    // A broadcast that has just begun lists its tracks as they come.
    for _ in 0..if options.wait { SETTLE_ROUNDS } else { 0 } {
        if tokio::time::timeout(ASK_AGAIN, editions.changed()).await.is_err() {
            break;
        }
        catalog = editions.borrow_and_update().clone();
    }
    let entries: Vec<CatalogTrack> = followed(&catalog).cloned().collect();
    if !(1..=TRACKS_MAX).contains(&entries.len()) {
        return Err(WatchError::Tracks { url: address.to_string(), count: entries.len() }.into());
    }
    let (tell, inits) = watch::channel(Inits::new());
    tasks.spawn(collect(editions.clone(), tell));
    let mut tracks = Vec::new();
    for (track, entry) in entries.iter().enumerate() {
        tracks.push(name_of(entry));
        let begin = match options.begin {
            // It is over: all of it is past.
            Begin::Live | Begin::Oldest if !entry.is_live => Begin::Start,
            begin => begin,
        };
        let aligned = aligned(&catalog, entry);
        let asked = TrackReader::begin(&broadcast, &entry.name, begin, aligned).await;
        let reader = asked.map_err(|stopped| match stopped {
            Stopped::Denied(denial) => denied(&address, &entry.name, denial),
            Stopped::Broken(problem) => broken(&address, problem),
        })?;
        let follower = Follower {
            track,
            name: entry.name.clone(),
            address: address.clone(),
            events: sender.clone(),
            inits: inits.clone(),
            end: end.clone(),
            next: None,
            seconds: 0.0,
            segment: None,
            boxes: None,
            old_init: None,
        };
        tasks.spawn(follower.run(reader));
    }
    let leave = Some(Leave { places, left });
    Ok(Begun { tracks, tasks, leave })
}

/// Says goodbye, so that nobody is waited for who has left.
pub(super) struct Leave {
    places: watch::Receiver<Place>,
    left: oneshot::Receiver<()>,
}

impl Leave {
    pub(super) async fn run(self) {
        let place = self.places.borrow().clone();
        let Place::At(_, handle) = place else { return };
        handle.goodbye();
        let _ = tokio::time::timeout(CONNECT_TIMEOUT, self.left).await;
    }
}

/// Why the connection ended, once it has.
type End = Arc<Mutex<Option<String>>>;

fn denied(address: &MoqAddress, what: &str, denial: Denial) -> WatchError {
    match denial.is_absence() {
        true => WatchError::NotOnAir(address.to_string()),
        false => WatchError::Denied {
            address: address.to_string(),
            what: what.to_owned(),
            denial: Box::new(denial),
        },
    }
}

fn broken(address: &MoqAddress, problem: String) -> WatchError {
    WatchError::Broken { address: address.to_string(), problem }
}

/// The broadcast that is there, if it is the only one.
async fn the_only_one(
    handle: &Handle,
    (address, prefix): (&MoqAddress, &Namespace),
    wait: bool,
) -> Result<Namespace, NotBegun> {
    let list = |denial| not_listed(address, denial);
    let mut namespaces = handle.namespaces(prefix.clone()).map_err(list)?;
    let first = match wait {
        true => namespaces.next().await.map_err(list)?,
        false => match tokio::time::timeout(LIST_WAIT, namespaces.next()).await {
            Ok(first) => first.map_err(list)?,
            Err(_) => return Err(WatchError::NotOnAir(address.to_string()).into()),
        },
    };
    let mut found = vec![first];
    while let Ok(more) = tokio::time::timeout(LIST_MORE, namespaces.next()).await {
        found.push(more.map_err(list)?);
        if found.len() > TRACKS_MAX {
            break;
        }
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        many => {
            let named = |namespace| MoqAddress { namespace: Some(namespace), ..address.clone() };
            let list = many.iter().map(|n| named(n.clone()).to_string()).collect();
            Err(WatchError::Several { address: address.to_string(), list }.into())
        }
    }
}

/// A server tells of what it has at once; one that is far away takes a moment.
const LIST_WAIT: Duration = CONNECT_TIMEOUT;

/// All that is there comes in one go.
const LIST_MORE: Duration = Duration::from_millis(300);

/// The catalog, and every further edition of it.
async fn catalog(
    broadcast: &Broadcast,
    address: &MoqAddress,
    wait: bool,
    tasks: &mut JoinSet<()>,
) -> Result<(Catalog, watch::Receiver<Catalog>), NotBegun> {
    let mut following = loop {
        match Following::begin(broadcast.clone(), &address.catalog, Reads::Afresh).await {
            Err(denial) if wait && denial.is_absence() => tokio::time::sleep(ASK_AGAIN).await,
            asked => break asked.map_err(|denial| not_begun(address, denial))?,
        }
    };
    let first = match edition(&mut following).await {
        Some(first) => first.map_err(|error| broken(address, format!("the catalog: {error}")))?,
        None => return Err(WatchError::NotOnAir(address.to_string()).into()),
    };
    let (tell, editions) = watch::channel(first.clone());
    tasks.spawn(async move {
        while let Some(next) = edition(&mut following).await {
            // One that can't be read changes nothing.
            if let Ok(next) = next {
                tell.send_replace(next);
            }
        }
    });
    Ok((first, editions))
}

/// The next whole catalog; none when the track is over. Changes to one are passed over.
async fn edition(following: &mut Following) -> Option<Result<Catalog, media::catalog::Error>> {
    loop {
        if let Came::Object(object) = following.next().await.ok()??
            && object.id == 0
        {
            return Some(Catalog::parse(&object.payload));
        }
    }
}

/// Keeps every initialisation segment that a catalog has named, and which of them is each track's.
async fn collect(mut editions: watch::Receiver<Catalog>, tell: watch::Sender<Inits>) {
    loop {
        let catalog = editions.borrow_and_update().clone();
        tell.send_modify(|inits| {
            for entry in followed(&catalog) {
                if let (Some(id), Some(init)) = (&entry.init_ref, catalog.init_of(entry)) {
                    if inits.len() < INITS_MAX {
                        inits.insert(id.clone(), init.clone());
                    }
                    inits.insert(own(&entry.name), init);
                }
            }
        });
        if editions.changed().await.is_err() {
            return;
        }
    }
}

/// No id has a slash in Airwave's catalogs, and others' name one init a track.
fn own(track: &str) -> String {
    format!("/{track}")
}

/// More than a broadcast of Airwave may have.
const INITS_MAX: usize = 256;

fn followed(catalog: &Catalog) -> impl Iterator<Item = &CatalogTrack> {
    catalog.tracks.iter().filter(|entry| entry.packaging == "cmaf")
}

/// The first one of its alternatives, if that is another one. Groups of the same number begin at the same time in all of them (MSF-01
/// §4.2), so it is searched in the place of who may have to be encoded to answer.
fn aligned<'a>(catalog: &'a Catalog, entry: &CatalogTrack) -> Option<&'a str> {
    entry.alt_group?;
    let alike = |other: &&CatalogTrack| {
        (other.alt_group, &other.packaging) == (entry.alt_group, &entry.packaging)
    };
    let first = catalog.tracks.iter().find(alike)?;
    (first.name != entry.name).then_some(&*first.name)
}

fn name_of(entry: &CatalogTrack) -> TrackName {
    TrackName {
        name: entry.name.strip_suffix(".cmaf").unwrap_or(&entry.name).to_owned(),
        codecs: entry.codec.clone().filter(|_| entry.role.as_deref() == Some("video")),
        size: entry.width.zip(entry.height),
    }
}

/// Follows one track.
struct Follower {
    track: usize,
    /// In the catalog.
    name: String,
    address: MoqAddress,
    events: mpsc::Sender<Event>,
    inits: watch::Receiver<Inits>,
    end: End,
    /// The segment that should come next.
    next: Option<u64>,
    /// Of the segment, so far.
    seconds: f64,
    segment: Option<Segment>,
    /// Reads durations where objects do not say theirs.
    boxes: Option<(Bytes, Reader)>,
    /// An initialisation segment of the past that the catalog does not name any more.
    old_init: Option<(u64, Option<Bytes>)>,
}

impl Follower {
    async fn run(mut self, mut reader: TrackReader) {
        let what = match self.follow(&mut reader).await {
            Ok(()) => What::Ended,
            Err(error) => What::Failed(error),
        };
        let _ = self.give(what).await;
    }

    async fn follow(&mut self, reader: &mut TrackReader) -> Result<(), WatchError> {
        loop {
            let came = reader.next().await.map_err(|problem| {
                let end = self.end.lock().unwrap_or_else(PoisonError::into_inner).clone();
                broken(&self.address, end.unwrap_or_else(|| problem.to_string()))
            })?;
            match came {
                Some(Came::Object(object)) => self.object(object, reader).await?,
                // Where there are segments, the number of the next one tells.
                Some(Came::LostGroups) if self.segment.is_some() => {}
                Some(Came::Hole | Came::LostGroups) => self.give(What::Hole).await?,
                Some(Came::Anew) => {
                    self.next = None;
                    self.give(What::Discontinuity).await?;
                }
                None => return Ok(()),
            }
        }
    }

    async fn object(&mut self, object: Object, reader: &mut TrackReader) -> Result<(), WatchError> {
        let Object { group, id, properties, payload: bytes, arrived } = object;
        let said = properties::decode(&properties).ok();
        let new = id == 0 || self.next.is_none_or(|next| group >= next);
        if new {
            self.begin(group, said.as_ref().and_then(|(_, segment)| segment.as_ref())).await?;
        }
        if self.segment.as_ref().is_some_and(|segment| segment.gap) {
            return Ok(());
        }
        let Some(init) = self.init(arrived.is_none(), reader).await else {
            return self.give(What::Lost(1)).await;
        };
        let loaded_in = arrived.map_or(Duration::ZERO, |arrived| arrived.elapsed());
        let (seconds, latency) = match (&said, &self.segment) {
            (Some((part, _)), Some(segment)) => {
                let latency = arrived.and_then(|_| latency(segment, self.seconds));
                (seconds_of(part, segment), latency)
            }
            _ => (self.measure(&init, &bytes), None),
        };
        self.seconds += seconds;
        let part = true;
        let media = Media { number: group, part, init, bytes, seconds, latency, loaded_in };
        self.give(What::Media(media)).await
    }

    /// A segment begins.
    async fn begin(&mut self, group: u64, segment: Option<&Segment>) -> Result<(), WatchError> {
        // Another server, or another broadcast of the input, counts by itself.
        let epoch = |segment: &Segment| segment.epoch;
        let anew = self.segment.as_ref().map(epoch).zip(segment.map(epoch));
        let discontinuity = segment.is_some_and(|segment| segment.discontinuity)
            || anew.is_some_and(|(before, now)| before != now);
        // Numbers of segments rise by one; those of other publishers' groups need not.
        if let (Some(next), Some(_)) = (self.next, segment)
            && group > next
            && !discontinuity
        {
            self.give(What::Lost(group - next)).await?;
        }
        if discontinuity && self.next.is_some() {
            self.give(What::Discontinuity).await?;
        }
        if segment.is_some_and(|segment| segment.gap) {
            self.give(What::Gap).await?;
        }
        self.next = Some(group.saturating_add(1));
        self.seconds = 0.0;
        self.segment = segment.copied();
        Ok(())
    }

    /// The initialisation segment of what comes now. The catalog is on a stream of its own, and may be later.
    async fn init(&mut self, past: bool, reader: &mut TrackReader) -> Option<Bytes> {
        let id = match &self.segment {
            Some(segment) => format!("{:014x}", segment.init),
            None => own(&self.name),
        };
        if let Some(segment) = self.segment.filter(|_| past)
            && !self.inits.borrow().contains_key(&id)
        {
            if self.old_init.as_ref().is_none_or(|(known, _)| *known != segment.init) {
                // What can't be had is not asked for with each object.
                self.old_init = Some((segment.init, reader.init(segment.init).await));
            }
            return self.old_init.as_ref().and_then(|(_, init)| init.clone());
        }
        let there = self.inits.wait_for(|inits| inits.contains_key(&id));
        let found = tokio::time::timeout(INIT_WAIT, there).await.ok()?.ok()?;
        found.get(&id).cloned()
    }

    /// How long the fragments of this object last.
    fn measure(&mut self, init: &Bytes, bytes: &Bytes) -> f64 {
        if self.boxes.as_ref().is_none_or(|(known, _)| known != init) {
            let mut reader = Reader::new();
            reader.push(init);
            self.boxes = Some((init.clone(), reader));
        }
        let Some((_, reader)) = &mut self.boxes else { return 0.0 };
        reader.push(bytes);
        let mut ticks = 0;
        while let Ok(Some(event)) = reader.next_event() {
            if let Boxes::Fragment(frames) = event {
                ticks += frames.iter().map(|frame| u64::from(frame.sample.duration)).sum::<u64>();
            }
        }
        let timescale = reader.movie().and_then(|m| m.tracks.first()).map_or(1, |t| t.timescale);
        ticks as f64 / f64::from(timescale.max(1))
    }

    async fn give(&self, what: What) -> Result<(), WatchError> {
        let event = Event { track: self.track, what };
        self.events.send(event).await.map_err(|_| WatchError::Stopped)
    }
}

fn seconds_of(part: &Part, segment: &Segment) -> f64 {
    f64::from(part.duration) / f64::from(segment.timescale.max(1))
}

/// How old the frame is that stands so far behind the segment's start, by both clocks.
fn latency(segment: &Segment, seconds: f64) -> Option<Duration> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let at =
        Duration::from_millis(segment.wall_clock_ms) + Duration::try_from_secs_f64(seconds).ok()?;
    Some(now.saturating_sub(at))
}
