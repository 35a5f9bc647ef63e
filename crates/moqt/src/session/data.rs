//! Which request a data stream or datagram of the peer belongs to (draft-18 §11.1), and how many there
//! were.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;

use super::api::{DataHeader, DataId, Event};
use super::requests::{Entry, Kind, Receiving};
use super::{Session, Timer};
use crate::code::{ResetCode, SessionCode};
use crate::data::Datagram;
use crate::error::{DataError, Violation};
use crate::limits;
use crate::location::GroupOrder;
use crate::name::TrackName;
use crate::request::RequestId;

/// What an alias of the peer means.
#[derive(Debug, Clone, Copy)]
enum Alias {
    Live(RequestId),
    /// Of a subscription that is over: late objects are thrown away at once (draft-18 §11.1).
    Retired,
}

/// The peer's aliases and data streams.
#[derive(Debug, Default)]
pub(super) struct Routes {
    aliases: BTreeMap<u64, Alias>,
    retired: VecDeque<u64>,
    streams: BTreeMap<DataId, RequestId>,
    /// The past that subscriptions of ours asked for and that has not begun to come: by the SUBSCRIBE or the
    /// update that asked, the subscription, and in which order.
    fills: BTreeMap<RequestId, (RequestId, GroupOrder)>,
    /// Streams whose alias or request is not known yet, oldest first.
    waiting: VecDeque<WaitingStream>,
    datagrams: VecDeque<(Instant, u64, Bytes)>,
    datagram_bytes: usize,
    /// When the oldest of both is given up, if a timer runs.
    armed: Option<Instant>,
}

/// What a stream of the peer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// The message that says what this alias means.
    Alias(u64),
    /// The PUBLISH of this name, whose past it is.
    Publish(RequestId),
}

#[derive(Debug)]
struct WaitingStream {
    until: Instant,
    awaited: Awaited,
    stream: DataId,
    /// It was reset meanwhile, and only counts.
    closed: bool,
}

impl Routes {
    pub(super) fn len(&self) -> usize {
        self.streams.len() + self.waiting.len() + self.datagrams.len() + self.fills.len()
    }

    pub(super) fn await_fill(&mut self, by: RequestId, of: RequestId, order: GroupOrder) {
        self.fills.insert(by, (of, order));
    }

    pub(super) fn held(&self) -> usize {
        self.datagram_bytes
    }
}

impl Session {
    /// The alias of a track that we publish: to a subscription that is accepted, or offered with PUBLISH.
    pub fn alias(&self, id: RequestId) -> Option<u64> {
        match &self.requests.get(id)?.kind {
            // What is not offered yet has no alias for the peer.
            Kind::Publishing(publishing) if !self.allowance.is_blocked(id) => publishing.alias,
            _ => None,
        }
    }

    /// Whether the peer has a subscription to this track of ours, or is offered one.
    pub fn publishes(&self, track: &TrackName) -> bool {
        self.requests.publishing(track).is_some()
    }

    /// Whether a subscription of ours may ask for new groups (draft-18 §10.2.13), by what its
    /// publisher has said of the track.
    pub fn has_dynamic_groups(&self, id: RequestId) -> bool {
        let kind = self.requests.get(id).map(|entry| &entry.kind);
        matches!(kind, Some(Kind::Receiving(receiving)) if receiving.dynamic_groups)
    }

    /// Whether a fetch that we serve joins a subscription.
    pub fn joins(&self, id: RequestId) -> bool {
        let kind = self.requests.get(id).map(|entry| &entry.kind);
        matches!(kind, Some(Kind::Serving(serving)) if serving.joins)
    }

    /// Counts one more data stream of a subscription that we publish to, or of a fetch that we serve, and
    /// says the track alias for a subgroup's header (for a fetch: 0). A fill of a subscription is a data stream of
    /// it. `None`: open no stream, because the
    /// request is over, not accepted yet, or (a fetch) has its stream.
    pub fn open_data(&mut self, id: RequestId) -> Option<u64> {
        if self.allowance.is_blocked(id) {
            return None;
        }
        match &mut self.requests.get_mut(id)?.kind {
            Kind::Publishing(publishing) if publishing.done.is_none() => {
                let alias = publishing.alias?;
                publishing.streams += 1;
                publishing.streams_open += 1;
                Some(alias)
            }
            // draft-18 §10.12.3: objects may precede FETCH_OK; there is one stream.
            Kind::Serving(serving) if serving.joining.is_none() && serving.streams == 0 => {
                serving.streams = 1;
                serving.streams_open = 1;
                Some(0)
            }
            _ => None,
        }
    }

    pub(super) fn on_data_opened(
        &mut self,
        now: Instant,
        stream: DataId,
        header: DataHeader,
    ) -> Result<(), Violation> {
        match header {
            DataHeader::Fetch(id) => self.on_fetch_stream(now, stream, id),
            DataHeader::Subgroup(header) => {
                match self.routes.aliases.get(&header.alias) {
                    Some(Alias::Live(id)) => {
                        self.attach(stream, *id, GroupOrder::Ascending, None);
                    }
                    Some(Alias::Retired) => self.stop_data(stream, ResetCode::Cancelled),
                    None => self.await_stream(now, stream, Awaited::Alias(header.alias)),
                }
                Ok(())
            }
        }
    }

    fn await_stream(&mut self, now: Instant, stream: DataId, awaited: Awaited) {
        if self.routes.waiting.len() >= limits::WAITING_STREAMS_MAX {
            return self.stop_data(stream, ResetCode::ExcessiveLoad);
        }
        let until = now + limits::ALIAS_WAIT;
        self.routes.waiting.push_back(WaitingStream { until, awaited, stream, closed: false });
        self.arm_waiting();
    }

    fn on_fetch_stream(
        &mut self,
        now: Instant,
        stream: DataId,
        id: RequestId,
    ) -> Result<(), Violation> {
        if let Some((of, order)) = self.routes.fills.remove(&id) {
            self.attach(stream, of, order, Some(id));
            return Ok(());
        }
        let ours = id.0 % 2 == self.next_id % 2;
        if !ours && self.fills_offered {
            match self.seen.contains(id) {
                // Of a subscription that is over, or that has no past.
                true => self.stop_data(stream, ResetCode::Cancelled),
                false => self.await_stream(now, stream, Awaited::Publish(id)),
            }
            return Ok(());
        }
        // A name that we never gave. (The draft is silent; it can be no late stream.)
        if !ours || id.0 >= self.next_id {
            return Err(Violation::protocol("a fetch stream of a request that does not exist"));
        }
        let Some(Kind::Fetching(fetching)) = self.requests.get_mut(id).map(|entry| &mut entry.kind)
        else {
            self.stop_data(stream, ResetCode::Cancelled);
            return Ok(());
        };
        if std::mem::replace(&mut fetching.arrived, true) {
            // draft-18 §10.12.3: on a single stream.
            return Err(Violation::protocol("a second stream for one fetch"));
        }
        let order = fetching.order;
        self.routes.streams.insert(stream, id);
        self.event(Event::Data { stream, id, order, fill: None });
        Ok(())
    }

    /// Data of a subscription of ours. A fill counts as well (draft-21 §9.9).
    fn attach(
        &mut self,
        stream: DataId,
        id: RequestId,
        order: GroupOrder,
        fill: Option<RequestId>,
    ) {
        let Some(Kind::Receiving(receiving)) =
            self.requests.get_mut(id).map(|entry| &mut entry.kind)
        else {
            return;
        };
        receiving.streams += 1;
        receiving.streams_open += 1;
        self.routes.streams.insert(stream, id);
        self.event(Event::Data { stream, id, order, fill });
    }

    pub(super) fn on_data_closed(&mut self, stream: DataId) {
        if let Some(waiting) = self.routes.waiting.iter_mut().find(|it| it.stream == stream) {
            waiting.closed = true;
            return;
        }
        let Some(id) = self.routes.streams.remove(&stream) else { return };
        match self.requests.get_mut(id).map(|entry| &mut entry.kind) {
            Some(Kind::Receiving(receiving)) => {
                receiving.streams_open = receiving.streams_open.saturating_sub(1);
                self.end_if_drained(id);
            }
            Some(Kind::Fetching(fetching)) => {
                fetching.closed = true;
                self.end_if_fetched(id);
            }
            _ => {}
        }
    }

    pub(super) fn on_datagram(&mut self, now: Instant, bytes: Bytes) -> Result<(), Violation> {
        match Datagram::decode(self.config.version, bytes.clone()) {
            Ok(None) => {}
            Ok(Some(datagram)) => match self.routes.aliases.get(&datagram.alias) {
                Some(Alias::Live(id)) => {
                    let id = *id;
                    self.event(Event::Datagram { id, datagram });
                }
                Some(Alias::Retired) => {}
                None => self.keep_datagram(now, datagram.alias, bytes),
            },
            Err(DataError::Session(violation)) => return Err(violation),
            // draft-18 §2.4.2: the subscription must be cancelled.
            Err(DataError::MalformedTrack(_)) => {
                let alias = Datagram::alias_of(self.config.version, &bytes)
                    .and_then(|it| self.routes.aliases.get(&it));
                if let Some(Alias::Live(id)) = alias {
                    let id = *id;
                    self.cancel(id, ResetCode::MalformedTrack);
                    self.event(Event::Cancelled { id, code: ResetCode::MalformedTrack });
                }
            }
            Err(DataError::Limit(..)) => {}
        }
        Ok(())
    }

    fn keep_datagram(&mut self, now: Instant, alias: u64, bytes: Bytes) {
        let routes = &mut self.routes;
        if routes.datagrams.len() < limits::WAITING_DATAGRAMS_MAX
            && routes.datagram_bytes + bytes.len() <= limits::WAITING_DATAGRAM_BYTES_MAX
        {
            let until = now + limits::ALIAS_WAIT;
            routes.datagram_bytes += bytes.len();
            routes.datagrams.push_back((until, alias, bytes));
            self.arm_waiting();
        }
    }

    /// One timer for all that waits: that of the oldest.
    fn arm_waiting(&mut self) {
        let routes = &mut self.routes;
        let stream = routes.waiting.front().map(|waiting| waiting.until);
        let datagram = routes.datagrams.front().map(|(until, ..)| *until);
        if routes.armed.is_none()
            && let Some(until) = [stream, datagram].into_iter().flatten().min()
        {
            routes.armed = Some(until);
            self.timers.insert((until, Timer::Waiting));
        }
    }

    /// Notes the alias that the peer chose for a subscription.
    pub(super) fn learn_alias(
        &mut self,
        alias: u64,
        id: RequestId,
        track: &TrackName,
    ) -> Result<(), Violation> {
        if let Some(Alias::Live(other)) = self.routes.aliases.get(&alias)
            && let Some(Kind::Receiving(receiving)) =
                self.requests.get(*other).map(|entry| &entry.kind)
            && receiving.track != *track
            && receiving.done.is_none()
        {
            // draft-18 §11.1, draft-16 §10.1: while its subscription lasts. Behind PUBLISH_DONE the alias is waited for, and may be
            // another track's by then: what comes is that one's.
            let what = "a track alias that is in use for another track";
            return Err(Violation::new(SessionCode::DuplicateTrackAlias, what));
        }
        self.routes.retired.retain(|retired| *retired != alias);
        self.routes.aliases.insert(alias, Alias::Live(id));
        Ok(())
    }

    /// Hands out what waited for an alias, once its request was told.
    pub(super) fn serve_waiting(&mut self, alias: u64, id: RequestId) {
        let mut rest = VecDeque::new();
        for waiting in std::mem::take(&mut self.routes.waiting) {
            if waiting.awaited != Awaited::Alias(alias) {
                rest.push_back(waiting);
            } else if !waiting.closed {
                self.attach(waiting.stream, id, GroupOrder::Ascending, None);
            } else if let Some(Kind::Receiving(receiving)) =
                self.requests.get_mut(id).map(|entry| &mut entry.kind)
            {
                receiving.streams += 1;
            }
        }
        self.routes.waiting = rest;
        let mut rest = VecDeque::new();
        for (until, waiting, bytes) in std::mem::take(&mut self.routes.datagrams) {
            if waiting != alias {
                rest.push_back((until, waiting, bytes));
                continue;
            }
            self.routes.datagram_bytes -= bytes.len();
            if let Ok(Some(datagram)) = Datagram::decode(self.config.version, bytes) {
                self.event(Event::Datagram { id, datagram });
            }
        }
        self.routes.datagrams = rest;
    }

    /// Hands out the past that came before its PUBLISH.
    pub(super) fn serve_waiting_fill(&mut self, id: RequestId) {
        let at = self.routes.waiting.iter().position(|it| it.awaited == Awaited::Publish(id));
        let Some(waiting) = at.and_then(|at| self.routes.waiting.remove(at)) else { return };
        let Some((of, order)) = self.routes.fills.remove(&id) else { return };
        if !waiting.closed {
            self.attach(waiting.stream, of, order, Some(id));
        } else if let Some(Kind::Receiving(receiving)) =
            self.requests.get_mut(of).map(|entry| &mut entry.kind)
        {
            receiving.streams += 1;
        }
    }

    pub(super) fn give_up_waiting(&mut self, now: Instant) {
        self.routes.armed = None;
        while let Some(waiting) = self.routes.waiting.pop_front_if(|it| it.until <= now) {
            if !waiting.closed {
                // draft-18 §11.4.2: a stream of an unknown alias may be abandoned.
                self.stop_data(waiting.stream, ResetCode::Cancelled);
            }
        }
        while let Some((.., bytes)) = self.routes.datagrams.pop_front_if(|it| it.0 <= now) {
            self.routes.datagram_bytes -= bytes.len();
        }
        self.arm_waiting();
    }

    /// PUBLISH_DONE came.
    pub(super) fn begin_draining(&mut self, now: Instant, id: RequestId, streams: Option<u64>) {
        let Some(Kind::Receiving(receiving)) =
            self.requests.get_mut(id).map(|entry| &mut entry.kind)
        else {
            return;
        };
        receiving.done = Some(streams);
        let track = receiving.track.clone();
        let at = now + receiving.done_wait();
        receiving.done_at = Some(at);
        self.requests.release_receiving(&track, id);
        self.timers.insert((at, Timer::Done(id)));
        self.end_if_drained(id);
    }

    pub(super) fn done_waited(&mut self, id: RequestId) {
        if let Some(Kind::Receiving(receiving)) =
            self.requests.get_mut(id).map(|entry| &mut entry.kind)
        {
            receiving.done_waited = true;
            self.end_if_drained(id);
        }
    }

    fn end_if_drained(&mut self, id: RequestId) {
        let drained = |entry: &Entry| match &entry.kind {
            Kind::Receiving(receiving) => receiving.is_drained(),
            _ => false,
        };
        if self.requests.get(id).is_some_and(drained) {
            self.finish_and_remove(id);
            self.event(Event::Drained { id });
        }
    }

    /// A fetch of ours is over with its answer and its data stream.
    pub(super) fn end_if_fetched(&mut self, id: RequestId) {
        let over = |entry: &Entry| match &entry.kind {
            Kind::Fetching(fetching) => entry.answered && fetching.closed,
            _ => false,
        };
        if self.requests.get(id).is_some_and(over) {
            self.finish_and_remove(id);
        }
    }

    /// Stops all data streams of a request that is over, and forgets its alias but for its name.
    pub(super) fn drop_data(&mut self, id: RequestId, entry: &Entry, code: ResetCode) {
        if let Kind::Receiving(Receiving { alias: Some(alias), .. }) = entry.kind
            && matches!(self.routes.aliases.get(&alias), Some(Alias::Live(live)) if *live == id)
        {
            self.retire(alias);
        }
        if let Kind::Receiving(Receiving { done_at: Some(at), .. }) = entry.kind {
            self.timers.remove(&(at, Timer::Done(id)));
        }
        if !matches!(entry.kind, Kind::Receiving(_) | Kind::Fetching(_)) {
            return;
        }
        self.routes.fills.retain(|_, (of, _)| *of != id);
        let streams: Vec<DataId> =
            self.routes.streams.iter().filter(|(_, of)| **of == id).map(|(it, _)| *it).collect();
        for stream in streams {
            self.routes.streams.remove(&stream);
            self.stop_data(stream, code);
        }
    }

    /// An alias of a publication that was refused at once: its objects may be on their way.
    pub(super) fn retire_unknown(&mut self, alias: u64) {
        if !self.routes.aliases.contains_key(&alias) {
            self.retire(alias);
        }
    }

    fn retire(&mut self, alias: u64) {
        self.routes.aliases.insert(alias, Alias::Retired);
        self.routes.retired.push_back(alias);
        if self.routes.retired.len() > limits::RETIRED_ALIASES_MAX
            && let Some(oldest) = self.routes.retired.pop_front()
        {
            self.routes.aliases.remove(&oldest);
        }
    }
}
