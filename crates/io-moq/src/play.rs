//! Subscriptions of a peer: a track of the spine, followed live, group by group onto streams.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use moqt::data::{Body, Datagram, ObjectHead, Status, SubgroupHeader, SubgroupId, SubgroupWriter};
use moqt::session::Command;
use moqt::{
    Answer, Done, DoneCode, GroupOrder, Location, Parameters, Properties, RequestId, ResetCode,
};
use spine::{
    Chunk, Close, Cursor, Event, Filter, ObjectReader, OnLag, Policy, Start, SubgroupEvent,
    SubgroupReader, Via, track,
};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout_at;

use crate::limits::{LAG_MAX, STREAMS_PER_SUBSCRIPTION};
use crate::link::Link;
use crate::names::{done_code, reset_code};
use crate::priority;
use crate::transport::{SendStream, WriteEnd};

/// What a subscriber may change while it is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// Objects are sent.
    pub(crate) forward: bool,
    /// 0 is the most urgent.
    pub(crate) priority: u8,
    /// Which objects, resolved.
    pub(crate) from: Location,
    /// The last group, if there is one.
    pub(crate) end_group: Option<u64>,
    /// Milliseconds after which an object is too old; 0: never.
    pub(crate) timeout_ms: u64,
}

impl Wishes {
    /// Of a new subscription, on a track whose largest object this is.
    pub(crate) fn new(parameters: &Parameters, largest: Option<Location>) -> Self {
        let (from, end_group) = resolve(parameters.filter, largest);
        Self {
            forward: parameters.forward.unwrap_or(true),
            priority: parameters.subscriber_priority.unwrap_or(128),
            from,
            end_group,
            timeout_ms: parameters.object_delivery_timeout_ms.unwrap_or(0),
        }
    }

    /// Takes what an update says. What it does not say stays.
    pub(crate) fn update(&mut self, parameters: &Parameters, largest: Option<Location>) {
        if parameters.filter.is_some() {
            (self.from, self.end_group) = resolve(parameters.filter, largest);
        }
        if parameters.forward == Some(true) && !self.forward {
            // draft-18 §5.1: it goes on with what is new.
            let (next, _) = moqt::Filter::NextObject.resolve(largest);
            self.from = self.from.max(next);
        }
        self.forward = parameters.forward.unwrap_or(self.forward);
        self.priority = parameters.subscriber_priority.unwrap_or(self.priority);
        self.timeout_ms = parameters.object_delivery_timeout_ms.unwrap_or(self.timeout_ms);
    }
}

/// Where a subscription starts, and the group that it ends with. Only what is new counts (draft-18 §5.1.2);
/// who asks for the past as well gets the group that is under way from its start, as a courtesy: players
/// that do not FETCH find the catalog so.
fn resolve(filter: Option<moqt::Filter>, largest: Option<Location>) -> (Location, Option<u64>) {
    let unfiltered = moqt::Filter::From(Location::default());
    let (from, end_group) = filter.unwrap_or(unfiltered).resolve(largest);
    let group = largest.map_or(Location::default(), |largest| Location::new(largest.group, 0));
    (from.max(group), end_group)
}

/// A location as the wire has it.
pub(crate) fn location(location: spine::Location) -> Location {
    Location::new(location.group, location.object)
}

/// What an answer says of a track.
pub(crate) fn track_ok(track: &track::Consumer) -> Answer {
    let largest = track.largest().map(location);
    Answer::Ok {
        parameters: Parameters { largest, ..Parameters::default() },
        properties: Properties::from_checked(track.info().properties.clone()),
    }
}

/// The order of groups: the subscriber's, else the publisher's.
pub(crate) fn order_of(parameters: &Parameters, track: &track::Consumer) -> GroupOrder {
    parameters.group_order.unwrap_or(match track.info().order {
        spine::Order::Ascending => GroupOrder::Ascending,
        spine::Order::Descending => GroupOrder::Descending,
    })
}

/// NEW_GROUP_REQUEST (draft-18 §10.2.13) reaches whoever writes the track, if it can begin groups. A
/// track that can is also asked by us for who follows it live, so that a newcomer need not wait.
pub(crate) fn ask_for_group(track: &track::Consumer, parameters: &Parameters) {
    if let Some(wanted) = parameters.new_group
        && track.info().dynamic_groups
    {
        let largest = track.largest().map_or(0, |largest| largest.group);
        // 0: the subscriber knows of no group.
        track.request_group(wanted.checked_sub(1).unwrap_or(largest));
    }
}

/// Serves an accepted subscription to its end.
pub(crate) struct Serving {
    pub(crate) link: Arc<Link>,
    pub(crate) id: RequestId,
    pub(crate) track: track::Consumer,
    pub(crate) order: GroupOrder,
    pub(crate) wishes: Wishes,
    /// REQUEST_UPDATEs; closed when the request is over.
    pub(crate) updates: mpsc::UnboundedReceiver<Parameters>,
}

impl Serving {
    /// Sends until the track, the subscription or its filter is over.
    pub(crate) async fn run(mut self) {
        let Some(code) = self.deliver().await else { return };
        let done = Done { code, reason: String::new() };
        self.link.command(Command::Done { id: self.id, done });
    }

    /// Answers how it ended; nothing, if the subscriber ended it.
    async fn deliver(&mut self) -> Option<DoneCode> {
        let (tell, changes) = watch::channel(self.wishes);
        let mut cursor = self.follow();
        let mut streams = FuturesUnordered::new();
        let mut end = None;
        loop {
            if let Some(code) = end
                && streams.is_empty()
            {
                return Some(code);
            }
            // A full house: groups that nobody can take are stepped over by the cursor.
            let room =
                end.is_none() && self.wishes.forward && streams.len() < STREAMS_PER_SUBSCRIPTION;
            tokio::select! {
                biased;
                update = self.updates.recv() => {
                    if self.update(&update?) {
                        streams.clear();
                        cursor = self.follow();
                    }
                    tell.send_replace(self.wishes);
                }
                Some(()) = streams.next() => {}
                event = poll_fn(|cx| cursor.poll(cx, Instant::now())), if room => match event {
                    Event::Subgroup(reader) => streams.push(self.stream(reader, changes.clone())),
                    Event::Datagram(object) => self.datagram(&object),
                    Event::Group(_) | Event::GroupEnd { .. } | Event::Skipped { .. } => {}
                    // draft-18 §10.11: the end of the filter is not the end of the track.
                    Event::End(Close::Ended) if self.track.ended().is_none() => {
                        end = Some(DoneCode::SubscriptionEnded);
                    }
                    Event::End(why) => end = Some(done_code(why)),
                },
            }
        }
    }

    /// Takes an update and answers it. Says whether what is sent changes.
    fn update(&mut self, parameters: &Parameters) -> bool {
        let (before, largest) = (self.wishes, self.track.largest().map(location));
        self.wishes.update(parameters, largest);
        ask_for_group(&self.track, parameters);
        let said = Parameters { largest, ..Parameters::default() };
        let answer = Answer::Ok { parameters: said, properties: Properties::empty() };
        self.link.command(Command::AnswerUpdate { id: self.id, answer });
        let what = |wishes: &Wishes| (wishes.forward, wishes.from, wishes.end_group);
        what(&before) != what(&self.wishes)
    }

    fn follow(&self) -> Cursor {
        let wishes = &self.wishes;
        let start = spine::Location { group: wishes.from.group, object: wishes.from.object };
        let filter = Filter { start: Start::At(start), end_group: wishes.end_group };
        let policy =
            Policy { latency_max: LAG_MAX, on_lag: OnLag::SkipToLatest, priority: wishes.priority };
        self.track.subscribe(filter, policy)
    }

    fn datagram(&self, object: &ObjectReader) {
        let (Some(alias), Some(chunks)) =
            (self.link.with(|session| session.alias(self.id)), object.whole())
        else {
            return;
        };
        let header = object.header();
        let body = match status_of(header.status) {
            Status::Normal => Body::Payload(joined(chunks)),
            other => Body::Status(other),
        };
        let datagram = Datagram {
            alias,
            group: object.location().group,
            object: header.id,
            priority: Some(header.priority).filter(|p| *p != self.track.info().priority),
            end_of_group: false,
            properties: Properties::from_checked(header.properties.clone()),
            body,
        };
        // draft-18 §11.3: one that is too large for the path is dropped.
        if let Ok(bytes) = datagram.encode(self.link.version) {
            self.link.connection.send_datagram(bytes);
        }
    }

    /// One subgroup on a stream of its own.
    fn stream(
        &self,
        reader: SubgroupReader,
        changes: watch::Receiver<Wishes>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (link, id, order) = (self.link.clone(), self.id, self.order);
        let (track, wishes) = (self.track.clone(), self.wishes);
        Streaming { link, id, track, order, wishes, changes, began: Instant::now(), reader }.run()
    }
}

/// A subgroup that is sent.
struct Streaming {
    link: Arc<Link>,
    id: RequestId,
    track: track::Consumer,
    order: GroupOrder,
    wishes: Wishes,
    changes: watch::Receiver<Wishes>,
    began: Instant,
    reader: SubgroupReader,
}

/// Why a stream ends before its subgroup does.
enum Cut {
    /// For this reason, which the peer is told.
    Reset(ResetCode),
    /// With the code that the publisher gave.
    Source(spine::ResetCode),
    /// The peer has had enough, or is gone.
    Gone,
}

impl From<WriteEnd> for Cut {
    fn from(_: WriteEnd) -> Self {
        Self::Gone
    }
}

/// Tells the session that a data stream is over, when it is dropped.
struct Counted {
    link: Arc<Link>,
    id: RequestId,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.link.command(Command::DataClosed { id: self.id });
    }
}

impl Streaming {
    async fn run(mut self) {
        // A subgroup without objects for this subscriber is not sent.
        let first = match poll_fn(|cx| self.reader.poll(cx)).await {
            SubgroupEvent::Object(first) => first,
            SubgroupEvent::Fin | SubgroupEvent::Reset(_) => return,
        };
        let Some(alias) = self.link.with(|session| session.open_data(self.id)) else { return };
        let _counted = Counted { link: self.link.clone(), id: self.id };
        let opened = match self.stale_at(&first) {
            Some(at) => timeout_at(at.into(), self.link.connection.open_uni()).await.ok().flatten(),
            None => self.link.connection.open_uni().await,
        };
        let Some(mut stream) = opened else { return };
        self.prioritise(&stream);
        match self.send(&mut stream, alias, first).await {
            Ok(()) => {
                stream.finish();
                stream.stopped().await;
            }
            Err(Cut::Reset(code)) => stream.reset(self.link.version.reset_code(code)),
            Err(Cut::Source(code)) => stream.reset(reset_code(self.link.version, code)),
            Err(Cut::Gone) => {}
        }
    }

    fn prioritise(&self, stream: &SendStream) {
        let (group, subgroup) = (self.reader.group(), self.reader.id());
        let publisher = self.track.info().priority;
        let number =
            priority::of_stream(self.wishes.priority, publisher, self.order, group, subgroup);
        stream.set_priority(number);
    }

    async fn send(
        &mut self,
        stream: &mut SendStream,
        alias: u64,
        first: ObjectReader,
    ) -> Result<(), Cut> {
        let info = self.track.info();
        let header = SubgroupHeader {
            alias,
            group: self.reader.group(),
            subgroup: match self.reader.id() {
                0 => SubgroupId::Zero,
                id => SubgroupId::Given(id),
            },
            priority: Some(first.header().priority).filter(|p| *p != info.priority),
            properties: true,
            // Our own media has one subgroup a group.
            end_of_group: info.timescale.is_some(),
            first_object: first.header().id == 0,
        };
        let mut head = BytesMut::with_capacity(64);
        header.encode(self.link.version, &mut head);
        let mut writer = SubgroupWriter::new(self.link.version, &header);
        let mut object = first;
        loop {
            self.object(stream, &mut writer, head, &mut object).await?;
            head = BytesMut::with_capacity(32);
            if self.changes.has_changed().unwrap_or(false) {
                self.wishes = *self.changes.borrow_and_update();
                self.prioritise(stream);
            }
            object = match poll_fn(|cx| self.reader.poll(cx)).await {
                SubgroupEvent::Object(next) => next,
                SubgroupEvent::Fin => return Ok(()),
                SubgroupEvent::Reset(code) => return Err(Cut::Source(code)),
            };
        }
    }

    /// Sends one object, by reference, also while it is still arriving.
    async fn object(
        &self,
        stream: &mut SendStream,
        writer: &mut SubgroupWriter,
        mut head: BytesMut,
        object: &mut ObjectReader,
    ) -> Result<(), Cut> {
        let mut chunks: Vec<Bytes> = vec![Bytes::new()];
        let length = match object.length() {
            Some(length) => length,
            // Who writes it could not say how long it is: it is sent when it is whole.
            None => {
                chunks.extend(whole(object).await?);
                chunks.iter().map(|chunk| chunk.len() as u64).sum()
            }
        };
        let header = object.header();
        let status = status_of(header.status);
        let properties = match status {
            Status::Normal => Properties::from_checked(header.properties.clone()),
            _ => Properties::empty(),
        };
        let described = ObjectHead { id: header.id, properties, status, payload_length: length };
        if writer.object(&described, &mut head).is_err() {
            return Err(Cut::Reset(ResetCode::InternalError));
        }
        chunks[0] = head.freeze();
        if let Some(ready) = object.whole().filter(|_| chunks.len() == 1) {
            chunks.extend(ready.into_iter().map(spine::Payload::into_bytes));
            return self.write(stream, &mut chunks, object).await;
        }
        self.write(stream, &mut chunks, object).await?;
        loop {
            match poll_fn(|cx| object.poll_chunk(cx)).await {
                Chunk::Data(chunk) => {
                    self.write(stream, &mut [chunk.into_bytes()], object).await?;
                }
                Chunk::End => return Ok(()),
                Chunk::Reset(code) => return Err(Cut::Source(code)),
            }
        }
    }

    /// Writes, unless the object gets too old over it.
    async fn write(
        &self,
        stream: &mut SendStream,
        chunks: &mut [Bytes],
        object: &ObjectReader,
    ) -> Result<(), Cut> {
        loop {
            let until = match self.stale_at(object) {
                Some(at) if Instant::now() < at => at,
                None => return Ok(stream.write(chunks).await?),
                Some(_) if self.timeout().is_some() => {
                    return Err(Cut::Reset(ResetCode::DeliveryTimeout));
                }
                // The newest group is worth waiting for, whatever its age.
                Some(_) if self.is_newest() => Instant::now() + LAG_MAX / 10,
                Some(_) => return Err(Cut::Reset(ResetCode::TooFarBehind)),
            };
            // What was written is taken out of the chunks, also when time is up.
            if let Ok(written) = timeout_at(until.into(), stream.write(chunks)).await {
                return Ok(written?);
            }
        }
    }

    fn is_newest(&self) -> bool {
        self.track.largest().is_none_or(|largest| largest.group <= self.reader.group())
    }

    /// When this object is too old to be sent. What was there already ages from the moment when it was
    /// asked for.
    fn stale_at(&self, object: &ObjectReader) -> Option<Instant> {
        let age = self.timeout().unwrap_or(LAG_MAX);
        object.header().arrived.max(self.began).checked_add(age)
    }

    /// OBJECT_DELIVERY_TIMEOUT: the smaller one of the subscriber's and the publisher's (draft-18 §8).
    fn timeout(&self) -> Option<Duration> {
        let properties = Properties::from_checked(self.track.info().properties.clone());
        let said = [self.wishes.timeout_ms, properties.object_delivery_timeout_ms()];
        said.into_iter().filter(|ms| *ms > 0).min().map(Duration::from_millis)
    }
}

async fn whole(object: &mut ObjectReader) -> Result<Vec<Bytes>, Cut> {
    let mut chunks = Vec::new();
    loop {
        match poll_fn(|cx| object.poll_chunk(cx)).await {
            Chunk::Data(chunk) => chunks.push(chunk.into_bytes()),
            Chunk::End => return Ok(chunks),
            Chunk::Reset(code) => return Err(Cut::Source(code)),
        }
    }
}

/// The pieces of a payload in one: a copy, unless it is in one piece already.
pub(crate) fn joined(chunks: Vec<spine::Payload>) -> Bytes {
    let mut chunks = chunks.into_iter().map(spine::Payload::into_bytes);
    match (chunks.next(), chunks.next()) {
        (None, _) => Bytes::new(),
        (Some(one), None) => one,
        (Some(first), Some(second)) => {
            let mut all = BytesMut::from(&first[..]);
            all.extend_from_slice(&second);
            chunks.for_each(|chunk| all.extend_from_slice(&chunk));
            all.freeze()
        }
    }
}

pub(crate) fn status_of(status: spine::Status) -> Status {
    match status {
        spine::Status::Normal => Status::Normal,
        spine::Status::EndOfGroup => Status::EndOfGroup,
        spine::Status::EndOfTrack => Status::EndOfTrack,
    }
}

/// How an object came in, for a FETCH.
pub(crate) fn via_of(via: Via) -> moqt::data::Via {
    match via {
        Via::Subgroup(id) => moqt::data::Via::Subgroup(id),
        Via::Datagram => moqt::data::Via::Datagram,
    }
}
