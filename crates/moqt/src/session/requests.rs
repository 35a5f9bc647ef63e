//! The requests of a session that are open, of both sides.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::api::StreamId;
use crate::limits;
use crate::location::{GroupOrder, Location, Range};
use crate::message::MessageReader;
use crate::name::{Namespace, TrackName};
use crate::parameters::{Parameters, Scope};
use crate::request::{Done, JoiningStart, RequestId};
use crate::token::AuthToken;

/// One request.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) stream: StreamId,
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
    /// Our updates without an answer, with the prefix that they set.
    pub(super) our_updates: VecDeque<Option<Namespace>>,
    pub(super) goaway_received: bool,
    pub(super) goaway_sent: bool,
}

#[derive(Debug)]
pub(super) struct PeerUpdate {
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
    /// draft-18 §5.1: the Joining Location.
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
    /// draft-18 §10.11: how long to wait for late streams.
    pub(super) done_wait: Duration,
    /// What we said of delivery timeouts, in milliseconds.
    pub(super) object_timeout_ms: u64,
    pub(super) subgroup_timeout_ms: u64,
    pub(super) dynamic_groups: bool,
}

#[derive(Debug)]
pub(super) struct Serving {
    /// A joining fetch that was not told to the owner yet.
    pub(super) joining: Option<Joining>,
    pub(super) streams_open: u64,
    pub(super) streams: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Joining {
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
    /// SUBSCRIBE_TRACKS.
    pub(super) tracks: bool,
    pub(super) prefix: Namespace,
    /// What was told on the stream and is not gone.
    pub(super) namespaces: BTreeSet<Namespace>,
    /// Their bytes.
    pub(super) bytes: usize,
}

impl Entry {
    pub(super) fn new(stream: StreamId, kind: Kind) -> Entry {
        Entry {
            stream,
            kind,
            answered: false,
            reader: MessageReader::default(),
            receiving: true,
            sending: true,
            updates: VecDeque::new(),
            updates_told: 0,
            our_updates: VecDeque::new(),
            goaway_received: false,
            goaway_sent: false,
        }
    }

    pub(super) fn is_ours(&self) -> bool {
        matches!(self.stream, StreamId::Ours(_))
    }

    /// Where the parameters of its updates stand; `None`: it has no updates (draft-18 §10.9).
    pub(super) fn update_scope(&self) -> Option<Scope> {
        match self.kind {
            Kind::Publishing(_) | Kind::Receiving(_) => Some(Scope::UpdateOfSubscription),
            Kind::Serving(_) | Kind::Fetching(_) => Some(Scope::UpdateOfFetch),
            // draft-18 §10.14
            Kind::TrackStatus => None,
            Kind::Namespace => Some(Scope::UpdateOfNamespace),
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
            done_wait: limits::DONE_WAIT_MIN,
            object_timeout_ms: parameters.object_delivery_timeout_ms.unwrap_or(0),
            subgroup_timeout_ms: parameters.subgroup_delivery_timeout_ms.unwrap_or(0),
            dynamic_groups: false,
        }
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
        Prefix { tracks, prefix, namespaces: BTreeSet::new(), bytes: 0 }
    }
}

impl Serving {
    pub(super) fn new(joining: Option<Joining>) -> Serving {
        Serving { joining, streams: 0, streams_open: 0 }
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
    entries: BTreeMap<RequestId, Entry>,
    by_stream: BTreeMap<StreamId, RequestId>,
    /// Subscriptions by track and role (true: we publish): at most one each (draft-18 §5.1).
    publishing: BTreeMap<TrackName, RequestId>,
    receiving: BTreeMap<TrackName, RequestId>,
    /// Tracks that the peer offered, while they are not accepted. Our SUBSCRIBE for one may be on its way.
    offered: BTreeMap<TrackName, RequestId>,
    peers: usize,
}

impl Requests {
    pub(super) fn get(&self, id: RequestId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: RequestId) -> Option<&mut Entry> {
        self.entries.get_mut(&id)
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

    /// Bytes of messages that are not whole.
    pub(super) fn held(&self) -> usize {
        self.entries.values().map(|entry| entry.reader.held()).sum()
    }

    /// How many the peer has open.
    pub(super) fn peers(&self) -> usize {
        self.peers
    }

    pub(super) fn insert(&mut self, id: RequestId, entry: Entry) {
        self.by_stream.insert(entry.stream, id);
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
        self.entries.insert(id, entry);
    }

    pub(super) fn remove(&mut self, id: RequestId) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.by_stream.remove(&entry.stream);
        self.peers -= usize::from(!entry.is_ours());
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

    /// Whether a prefix overlaps with one of the peer's other requests of the same type.
    pub(super) fn overlaps(
        &self,
        tracks: bool,
        prefix: &Namespace,
        but: Option<RequestId>,
    ) -> bool {
        self.entries.iter().any(|(id, entry)| match &entry.kind {
            Kind::Prefix(other) => {
                !entry.is_ours()
                    && other.tracks == tracks
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
