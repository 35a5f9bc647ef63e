//! The requests of a session that are open, of both sides.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::api::StreamId;
use crate::code::RequestCode;
use crate::filter::Filter;
use crate::limits;
use crate::location::{GroupOrder, Location, Range};
use crate::message::{Message, MessageReader};
use crate::name::{Namespace, TrackName};
use crate::parameters::{Parameters, Scope};
use crate::properties::Properties;
use crate::request::{Done, JoiningStart, RequestId};
use crate::token::AuthToken;
use crate::version::Version;
use crate::wire::Body;

/// Why a request is refused without asking the owner.
pub(super) type Refusal = (RequestCode, &'static str);

/// One request.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) place: Place,
    /// Who made it.
    ours: bool,
    pub(super) kind: Kind,
    /// OK was said.
    pub(super) answered: bool,
    pub(super) reader: MessageReader,
    /// The peer's side of the stream is open.
    pub(super) receiving: bool,
    /// Our side of the stream is open.
    pub(super) sending: bool,
    /// The peer's updates without an answer.
    pub(super) updates: VecDeque<PeerUpdate>,
    /// So many of them were told to the owner.
    pub(super) updates_told: usize,
    /// Our updates without an answer.
    pub(super) our_updates: VecDeque<OurUpdate>,
    pub(super) goaway_received: bool,
    pub(super) goaway_sent: bool,
    /// Its answer is wanted without the track's properties (draft-21 §9.20.22).
    pub(super) bare: bool,
}

/// Where a request is spoken about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// On a stream of its own, whose end says something as well.
    Stream(StreamId),
    /// On the control stream, with all others.
    Control,
}

#[derive(Debug)]
pub(super) struct OurUpdate {
    pub(super) id: RequestId,
    /// The prefix that it sets.
    pub(super) prefix: Option<Namespace>,
}

#[derive(Debug)]
pub(super) struct PeerUpdate {
    pub(super) id: RequestId,
    /// As it came.
    pub(super) bytes: usize,
    pub(super) parameters: Parameters,
    pub(super) tokens: Vec<AuthToken>,
}

/// What a request is to us. Whose it is says [`Entry::is_ours`].
#[derive(Debug)]
pub(super) enum Kind {
    /// A subscription that we publish to: the peer's SUBSCRIBE or our PUBLISH.
    Publishing(Publishing),
    /// A subscription of ours: our SUBSCRIBE or the peer's PUBLISH.
    Receiving(Receiving),
    /// The peer's FETCH.
    Serving(Serving),
    /// Our FETCH.
    Fetching(Fetching),
    TrackStatus,
    /// PUBLISH_NAMESPACE
    Namespace,
    /// SUBSCRIBE_NAMESPACE, SUBSCRIBE_TRACKS
    Prefix(Prefix),
}

#[derive(Debug)]
pub(super) struct Publishing {
    pub(super) track: TrackName,
    /// Once the subscription is accepted or offered.
    pub(super) alias: Option<u64>,
    pub(super) forward: bool,
    /// Its filter is Largest Object.
    pub(super) at_largest: bool,
    /// draft-18 §5.1: the Joining Location; draft-16 §5.1: the saved Largest Location.
    pub(super) joining: Option<Location>,
    /// Data streams, ever and now.
    pub(super) streams: u64,
    pub(super) streams_open: u64,
    /// To be said when no stream is open.
    pub(super) done: Option<Done>,
    /// Joining fetches that wait for the subscription, or for an update of it.
    pub(super) held: Vec<RequestId>,
}

#[derive(Debug)]
pub(super) struct Receiving {
    pub(super) track: TrackName,
    pub(super) alias: Option<u64>,
    /// Data streams, ever and now.
    pub(super) streams: u64,
    pub(super) streams_open: u64,
    /// PUBLISH_DONE came; with its count, if it had one.
    pub(super) done: Option<Option<u64>>,
    /// The wait after it is over.
    pub(super) done_waited: bool,
    /// When that wait is over.
    pub(super) done_at: Option<Instant>,
    /// Delivery timeouts in milliseconds, 0 for none: of objects and of subgroups, by us and by the track.
    pub(super) our_timeouts: [u64; 2],
    pub(super) track_timeouts: [u64; 2],
    pub(super) dynamic_groups: bool,
}

#[derive(Debug)]
pub(super) struct Serving {
    /// A joining fetch that was not told to the owner yet.
    pub(super) joining: Option<Joining>,
    /// It is one, also when it was told.
    pub(super) joins: bool,
    pub(super) streams_open: u64,
    pub(super) streams: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Joining {
    /// As it came.
    pub(super) bytes: usize,
    pub(super) subscription: RequestId,
    pub(super) start: JoiningStart,
    pub(super) parameters: Parameters,
    pub(super) tokens: Vec<AuthToken>,
}

#[derive(Debug)]
pub(super) struct Fetching {
    pub(super) order: GroupOrder,
    /// Where the fetch starts, if we know.
    pub(super) start: Option<Location>,
    /// Its data stream came, and went.
    pub(super) arrived: bool,
    pub(super) closed: bool,
}

#[derive(Debug)]
pub(super) struct Prefix {
    /// SUBSCRIBE_TRACKS: no namespaces.
    pub(super) tracks: bool,
    pub(super) prefix: Namespace,
    /// What was told on the stream and is not gone.
    pub(super) namespaces: BTreeSet<Namespace>,
    /// Their bytes.
    pub(super) bytes: usize,
    /// Of our SUBSCRIBE_TRACKS: the past that comes with what it brings, in which order (draft-21 §9.18.1).
    pub(super) fill: Option<GroupOrder>,
}

impl Entry {
    pub(super) fn new(version: Version, place: Place, ours: bool, kind: Kind) -> Entry {
        Entry {
            place,
            ours,
            kind,
            answered: false,
            reader: MessageReader::new(version),
            receiving: true,
            sending: true,
            updates: VecDeque::new(),
            updates_told: 0,
            our_updates: VecDeque::new(),
            goaway_received: false,
            goaway_sent: false,
            bare: false,
        }
    }

    pub(super) fn is_ours(&self) -> bool {
        self.ours
    }

    /// Of the track's properties those that its answer is to hold.
    pub(super) fn wanted(&self, properties: Properties) -> Properties {
        if self.bare { Properties::empty() } else { properties }
    }

    /// Where the parameters of its updates stand; `None`: it has no updates (draft-18 §10.9).
    pub(super) fn update_scope(&self) -> Option<Scope> {
        match self.kind {
            Kind::Publishing(_) | Kind::Receiving(_) => Some(Scope::UpdateOfSubscription),
            Kind::Serving(_) | Kind::Fetching(_) => Some(Scope::UpdateOfFetch),
            // draft-18 §10.14
            Kind::TrackStatus => None,
            Kind::Namespace => Some(Scope::UpdateOfNamespace),
            Kind::Prefix(Prefix { tracks: true, .. }) => Some(Scope::UpdateOfTracks),
            Kind::Prefix(_) => Some(Scope::UpdateOfPrefix),
        }
    }

    /// Where the parameters of the OK stand that answers it; not for SUBSCRIBE and FETCH.
    pub(super) fn ok_scope(&self) -> Scope {
        match self.kind {
            Kind::Publishing(_) | Kind::Receiving(_) => Scope::PublishOk,
            Kind::Serving(_) | Kind::Fetching(_) => Scope::FetchOk,
            Kind::TrackStatus => Scope::TrackStatusOk,
            Kind::Namespace => Scope::PublishNamespaceOk,
            Kind::Prefix(_) => Scope::PrefixOk,
        }
    }

    /// Bytes of what waits here.
    fn pending(&self) -> usize {
        let joining = match &self.kind {
            Kind::Serving(Serving { joining: Some(joining), .. }) => joining.bytes,
            _ => 0,
        };
        joining + self.updates.iter().map(|update| update.bytes).sum::<usize>()
    }

    /// Whether the owner knows of it.
    pub(super) fn is_told(&self) -> bool {
        !matches!(&self.kind, Kind::Serving(serving) if serving.joining.is_some())
    }
}

impl Receiving {
    pub(super) fn new(track: TrackName, alias: Option<u64>, parameters: &Parameters) -> Receiving {
        Receiving {
            track,
            alias,
            streams: 0,
            streams_open: 0,
            done: None,
            done_waited: false,
            done_at: None,
            our_timeouts: [
                parameters.object_delivery_timeout_ms.unwrap_or(0),
                parameters.subgroup_delivery_timeout_ms.unwrap_or(0),
            ],
            track_timeouts: [0, 0],
            dynamic_groups: false,
        }
    }

    /// Notes what we say of delivery timeouts later.
    pub(super) fn set_parameters(&mut self, parameters: &Parameters) {
        let said = [parameters.object_delivery_timeout_ms, parameters.subgroup_delivery_timeout_ms];
        for (ours, said) in self.our_timeouts.iter_mut().zip(said) {
            *ours = said.unwrap_or(*ours);
        }
    }

    /// Notes the track's properties.
    pub(super) fn set_properties(&mut self, properties: &Properties) {
        self.dynamic_groups = properties.dynamic_groups();
        self.track_timeouts =
            [properties.object_delivery_timeout_ms(), properties.subgroup_delivery_timeout_ms()];
    }

    /// How long to wait for late streams after PUBLISH_DONE: at least the larger one of the two delivery
    /// timeouts (draft-18 §10.11), of each the smaller one of both sides (§8).
    pub(super) fn done_wait(&self) -> Duration {
        let smaller = |(ours, theirs): (&u64, &u64)| match (*ours, *theirs) {
            (0, ms) | (ms, 0) => ms,
            (ours, theirs) => ours.min(theirs),
        };
        let timeouts = self.our_timeouts.iter().zip(&self.track_timeouts).map(smaller);
        let wait = Duration::from_millis(timeouts.max().unwrap_or(0));
        wait.clamp(limits::DONE_WAIT_MIN, limits::DONE_WAIT_MAX)
    }

    /// Whether all streams that were announced have come and gone.
    pub(super) fn is_drained(&self) -> bool {
        let counted = matches!(self.done, Some(Some(count)) if self.streams >= count);
        self.done.is_some() && self.streams_open == 0 && (counted || self.done_waited)
    }
}

impl Publishing {
    pub(super) fn new(track: TrackName, alias: Option<u64>, parameters: &Parameters) -> Publishing {
        Publishing {
            track,
            alias,
            // draft-18 §10.2.12
            forward: parameters.forward.unwrap_or(true),
            at_largest: parameters.filter == Some(Filter::NextObject),
            joining: None,
            streams: 0,
            streams_open: 0,
            done: None,
            held: Vec::new(),
        }
    }
}

impl Prefix {
    pub(super) fn new(prefix: Namespace, tracks: bool) -> Prefix {
        Prefix { tracks, prefix, namespaces: BTreeSet::new(), bytes: 0, fill: None }
    }
}

impl Serving {
    pub(super) fn new(joining: Option<Joining>) -> Serving {
        let joins = joining.is_some();
        Serving { joining, joins, streams: 0, streams_open: 0 }
    }
}

impl Joining {
    /// draft-18 §10.12.2.1. A relative start before group 0 is group 0: the draft does not say.
    pub(super) fn range(&self, joining: Location) -> Range {
        let group = match self.start {
            JoiningStart::Relative(groups) => joining.group.saturating_sub(groups),
            JoiningStart::Absolute(group) => group,
        };
        Range { start: Location::new(group, 0), end: joining }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// In boxes: a node of the map has places for eleven, and most sessions have a handful of requests.
    entries: BTreeMap<RequestId, Box<Entry>>,
    by_stream: BTreeMap<StreamId, RequestId>,
    /// Our updates without an answer, and what they change.
    by_update: BTreeMap<RequestId, RequestId>,
    /// Subscriptions by track and role (true: we publish): at most one each (draft-18 §5.1).
    publishing: BTreeMap<TrackName, RequestId>,
    receiving: BTreeMap<TrackName, RequestId>,
    /// Tracks that the peer offered, while they are not accepted. Our SUBSCRIBE for one may be on its way.
    offered: BTreeMap<TrackName, RequestId>,
    peers: usize,
    /// Bytes of messages that are not whole.
    partial: usize,
    /// Bytes of updates and joining fetches that wait.
    pending: usize,
}

impl Requests {
    pub(super) fn get(&self, id: RequestId) -> Option<&Entry> {
        self.entries.get(&id).map(|entry| &**entry)
    }

    pub(super) fn get_mut(&mut self, id: RequestId) -> Option<&mut Entry> {
        self.entries.get_mut(&id).map(|entry| &mut **entry)
    }

    pub(super) fn on_stream(&self, stream: StreamId) -> Option<RequestId> {
        self.by_stream.get(&stream).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes that open requests hold besides themselves.
    pub(super) fn held(&self) -> usize {
        self.partial + self.pending
    }

    /// Takes bytes of a request's stream.
    pub(super) fn push(&mut self, id: RequestId, bytes: &[u8]) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.reader.push(bytes);
            self.partial += bytes.len();
        }
    }

    /// The next whole message on a request's stream.
    pub(super) fn next_message(&mut self, id: RequestId) -> Option<(Message, Body)> {
        let reader = &mut self.entries.get_mut(&id)?.reader;
        let before = reader.held();
        let message = reader.next();
        self.partial -= before - reader.held();
        message
    }

    /// What followed the request itself on its stream.
    pub(super) fn set_reader(&mut self, id: RequestId, reader: MessageReader) {
        if let Some(entry) = self.entries.get_mut(&id) {
            self.partial += reader.held();
            entry.reader = reader;
        }
    }

    /// Whether so much more may be held.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        self.held() + bytes <= limits::PENDING_BYTES_MAX
    }

    /// Holds an update until it is answered.
    pub(super) fn hold_update(&mut self, id: RequestId, update: PeerUpdate) {
        if let Some(entry) = self.entries.get_mut(&id) {
            self.pending += update.bytes;
            entry.updates.push_back(update);
        }
    }

    /// Holds an update of ours until it is answered.
    pub(super) fn await_update(&mut self, id: RequestId, update: OurUpdate) {
        if let Some(entry) = self.entries.get_mut(&id) {
            self.by_update.insert(update.id, id);
            entry.our_updates.push_back(update);
        }
    }

    /// Takes an update of ours that is answered: the one of this name, or the oldest.
    pub(super) fn take_our_update(
        &mut self,
        id: RequestId,
        update: Option<RequestId>,
    ) -> Option<OurUpdate> {
        let entry = self.entries.get_mut(&id)?;
        let at = match update {
            Some(update) => entry.our_updates.iter().position(|it| it.id == update)?,
            None => 0,
        };
        let update = entry.our_updates.remove(at)?;
        self.by_update.remove(&update.id);
        Some(update)
    }

    /// What an update of ours changes.
    pub(super) fn of_update(&self, update: RequestId) -> Option<RequestId> {
        self.by_update.get(&update).copied()
    }

    /// The oldest update that the owner knows.
    pub(super) fn take_update(&mut self, id: RequestId) -> Option<PeerUpdate> {
        let entry = self.entries.get_mut(&id)?;
        let update = entry.updates.pop_front()?;
        entry.updates_told = entry.updates_told.saturating_sub(1);
        self.pending -= update.bytes;
        Some(update)
    }

    /// A joining fetch whose time has come.
    pub(super) fn take_joining(&mut self, id: RequestId) -> Option<Joining> {
        let Kind::Serving(serving) = &mut self.entries.get_mut(&id)?.kind else { return None };
        let joining = serving.joining.take()?;
        self.pending -= joining.bytes;
        Some(joining)
    }

    /// Whether there are any with objects that we send, and with objects of the peer.
    pub(super) fn media(&self) -> (bool, bool) {
        let any = |kind: fn(&Kind) -> bool| self.entries.values().any(|entry| kind(&entry.kind));
        let sends = any(|kind| matches!(kind, Kind::Publishing(_) | Kind::Serving(_)));
        let receives = any(|kind| matches!(kind, Kind::Receiving(_) | Kind::Fetching(_)));
        (sends, receives)
    }

    /// How many the peer has open.
    pub(super) fn peers(&self) -> usize {
        self.peers
    }

    pub(super) fn insert(&mut self, id: RequestId, entry: Entry) {
        if let Place::Stream(stream) = entry.place {
            self.by_stream.insert(stream, id);
        }
        match &entry.kind {
            Kind::Publishing(publishing) => {
                self.publishing.insert(publishing.track.clone(), id);
            }
            Kind::Receiving(receiving) => {
                let map = if entry.is_ours() { &mut self.receiving } else { &mut self.offered };
                map.insert(receiving.track.clone(), id);
            }
            _ => {}
        }
        self.peers += usize::from(!entry.is_ours());
        self.pending += entry.pending();
        self.entries.insert(id, Box::new(entry));
    }

    pub(super) fn remove(&mut self, id: RequestId) -> Option<Entry> {
        let entry = *self.entries.remove(&id)?;
        if let Place::Stream(stream) = entry.place {
            self.by_stream.remove(&stream);
        }
        for update in &entry.our_updates {
            self.by_update.remove(&update.id);
        }
        self.peers -= usize::from(!entry.is_ours());
        self.partial -= entry.reader.held();
        self.pending -= entry.pending();
        match &entry.kind {
            Kind::Publishing(publishing) => release(&mut self.publishing, &publishing.track, id),
            Kind::Receiving(receiving) => {
                release(&mut self.receiving, &receiving.track, id);
                release(&mut self.offered, &receiving.track, id);
            }
            _ => {}
        }
        Some(entry)
    }

    /// The subscription to a track that we publish to.
    pub(super) fn publishing(&self, track: &TrackName) -> Option<RequestId> {
        self.publishing.get(track).copied()
    }

    /// The subscription to a track that we have.
    pub(super) fn receiving(&self, track: &TrackName) -> Option<RequestId> {
        self.receiving.get(track).copied()
    }

    /// What the peer offers of a track and we have not accepted.
    pub(super) fn offered(&self, track: &TrackName) -> Option<RequestId> {
        self.offered.get(track).copied()
    }

    /// An offer that is accepted: the one subscription to its track.
    pub(super) fn accept_offered(&mut self, track: &TrackName, id: RequestId) {
        release(&mut self.offered, track, id);
        self.receiving.insert(track.clone(), id);
    }

    /// A subscription that is over, though late streams may come: another one may begin.
    pub(super) fn release_receiving(&mut self, track: &TrackName, id: RequestId) {
        release(&mut self.receiving, track, id);
        release(&mut self.offered, track, id);
    }

    /// The order of the past that comes with a track which the peer publishes, if we have asked for it.
    pub(super) fn offered_fill(&self, track: &TrackName) -> Option<GroupOrder> {
        self.entries.values().find_map(|entry| match &entry.kind {
            Kind::Prefix(prefix) if entry.is_ours() && prefix.tracks => {
                prefix.fill.filter(|_| track.namespace().starts_with(&prefix.prefix))
            }
            _ => None,
        })
    }

    /// Whether a prefix overlaps with one of the peer's other requests of the same type (`tracks`), or of
    /// either.
    pub(super) fn overlaps(
        &self,
        tracks: Option<bool>,
        prefix: &Namespace,
        but: Option<RequestId>,
    ) -> bool {
        self.entries.iter().any(|(id, entry)| match &entry.kind {
            Kind::Prefix(other) => {
                !entry.is_ours()
                    && tracks.is_none_or(|tracks| other.tracks == tracks)
                    && Some(*id) != but
                    && other.prefix.overlaps(prefix)
            }
            _ => false,
        })
    }
}

fn release(map: &mut BTreeMap<TrackName, RequestId>, track: &TrackName, id: RequestId) {
    if map.get(track) == Some(&id) {
        map.remove(track);
    }
}
