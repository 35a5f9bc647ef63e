//! Subscriptions of a peer: a track of the spine, followed live, group by group onto streams.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use media::trace::Departure;
use moqt::data::{ObjectHead, Status, SubgroupHeader, SubgroupId, SubgroupWriter};
use moqt::session::Command;
use moqt::{
    Answer, Done, DoneCode, GroupOrder, Location, Parameters, Properties, RequestCode, RequestId,
    ResetCode, Selection,
};
use spine::{
    Chunk, Close, Cursor, Event, Filter, Header, ObjectReader, OnLag, Policy, Start, SubgroupEvent,
    SubgroupReader, Via, track,
};
use tokio::sync::watch;
use tokio::time::timeout_at;

use crate::clock;
use crate::fetch::{self, Fill, Subscriber};
use crate::flow::{Flow, OpenFlow, Role};
use crate::limits::{
    DATAGRAMS_HELD_MAX, DELIVERY_MAX, FILLS_PER_SUBSCRIPTION, FILTER_RANGES_MAX, HEADER_ARRIVES,
    LAG_MAX, STREAMS_PER_SUBSCRIPTION,
};
use crate::link::Link;
use crate::listen::Counters;
use crate::names::{done_code, reset_code};
use crate::priority::{self, Count};
use crate::timeouts::{Lifetimes, Timeouts};
use crate::transport::SendStream;
use crate::updates::Updates;
use crate::wishes::Change;
pub(crate) use crate::wishes::Wishes;
use ends::{Cut, GivenUp};

mod ends;
mod lone;

/// A location as the wire has it.
pub(crate) fn location(location: spine::Location) -> Location {
    Location::new(location.group, location.object)
}

/// The same the other way.
pub(crate) fn at(location: Location) -> spine::Location {
    spine::Location { group: location.group, object: location.object }
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
        // 0: the subscriber knows of no group. Who names one that is far off would have everybody wait for it.
        track.request_group(wanted.checked_sub(1).unwrap_or(largest).min(largest));
    }
}

/// One stream of a subscription.
type Sending = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves an accepted subscription to its end.
pub(crate) struct Serving {
    pub(crate) link: Arc<Link>,
    pub(crate) id: RequestId,
    pub(crate) track: track::Consumer,
    pub(crate) order: GroupOrder,
    pub(crate) wishes: Wishes,
    /// It counts as a reader, until it has its place in the track.
    pub(crate) reads: Option<spine::Interest>,
    /// The past that is wanted as well, and which object was the largest when it began.
    pub(crate) fill: Option<(Box<Parameters>, Location)>,
    pub(crate) updates: Updates,
    pub(crate) counters: Arc<Counters>,
}

/// Counts what goes of this track over this session.
pub(crate) fn flow_of(link: &Link, role: Role, track: &track::Consumer) -> OpenFlow {
    let name = Bytes::copy_from_slice(track.name().as_bytes());
    link.flows.begin(role, track.path().clone(), name)
}

/// Counts a subscription as open until it is dropped.
struct OpenSubscription(Arc<Counters>);

impl OpenSubscription {
    fn new(counters: &Arc<Counters>) -> Self {
        counters.subscriptions.fetch_add(1, Ordering::Relaxed);
        counters.subscriptions_open.fetch_add(1, Ordering::Relaxed);
        Self(counters.clone())
    }
}

impl Drop for OpenSubscription {
    fn drop(&mut self) {
        self.0.subscriptions_open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Serving {
    /// Sends until the track, the subscription or its filter is over.
    pub(crate) async fn run(mut self) {
        let _open = OpenSubscription::new(&self.counters);
        let flow = flow_of(&self.link, Role::Subscription, &self.track);
        let Some(code) = self.deliver(&flow).await else { return };
        let done = Done { code, reason: String::new() };
        self.link.command(Command::Done { id: self.id, done });
    }

    /// Answers how it ended; nothing, if the subscriber ended it.
    async fn deliver(&mut self, flow: &OpenFlow) -> Option<DoneCode> {
        let (tell, changes) = watch::channel(self.wishes.clone());
        let (given_up, count) = (Arc::<GivenUp>::default(), Arc::<Count>::default());
        let (began, mut cursor) = (clock::now(), self.follow());
        self.reads = None;
        let lifetimes = Lifetimes::of(self.track.info());
        // In boxes: each of these has room for one that is no stream at all.
        let mut streams: FuturesUnordered<Sending> = FuturesUnordered::new();
        let mut fills: FuturesUnordered<Sending> = FuturesUnordered::new();
        let fill = self.fill.take();
        let kept = (changes.clone(), count.clone());
        fills.extend(fill.and_then(|(fill, at)| self.past(self.id, (&fill, at), &kept)));
        // Datagrams that wait for their turn, of which only the first one has work.
        let mut lone: VecDeque<Sending> = VecDeque::new();
        let mut end = None;
        loop {
            if let Some(code) = end
                && streams.is_empty()
                && fills.is_empty()
                && lone.is_empty()
            {
                return Some(code);
            }
            // A full house: groups that nobody can take are stepped over by the cursor.
            let paused = !self.wishes.forward;
            let room = !paused && streams.len() < STREAMS_PER_SUBSCRIPTION;
            tokio::select! {
                biased;
                update = self.updates.next() => {
                    let update = match update? {
                        Ok(update) => *update,
                        Err(answer) => {
                            self.link.command(Command::AnswerUpdate { id: self.id, answer });
                            // The session says PUBLISH_DONE for it, and for those below.
                            return None;
                        }
                    };
                    let fill = update.parameters.fill.as_ref();
                    if fill.is_some() && fills.len() >= FILLS_PER_SUBSCRIPTION {
                        let words = "too much of the past at once";
                        let answer = Answer::error(RequestCode::ExcessiveLoad, words);
                        self.link.command(Command::AnswerUpdate { id: self.id, answer });
                        return None;
                    }
                    let filters = &update.parameters.range_filters;
                    if self.wishes.selection.updated(filters).ranges() > FILTER_RANGES_MAX {
                        // draft-21 §9.1.6: those of all messages about it count.
                        let words = "more ranges in filters than MAX_FILTER_RANGES";
                        let answer = Answer::error(RequestCode::InvalidFilter, words);
                        self.link.command(Command::AnswerUpdate { id: self.id, answer });
                        return None;
                    }
                    let largest = self.track.largest().map(location);
                    match self.update(&update.parameters, largest) {
                        Change::Nothing => {}
                        Change::Paused => {
                            streams.clear();
                            lone.clear();
                        }
                        Change::Anew => {
                            streams.clear();
                            cursor = self.follow();
                        }
                        Change::Narrower => cursor.narrow(at(self.wishes.from), self.end_group()),
                        Change::Further(from) => cursor = self.follow_from(from),
                    }
                    let fill = fill.zip(largest);
                    let past = fill.and_then(|(fill, at)| self.past(update.id, (fill, at), &kept));
                    fills.extend(past);
                    tell.send_replace(self.wishes.clone());
                }
                Some(()) = streams.next() => {}
                Some(()) = fills.next() => {}
                () = poll_fn(|cx| match lone.front_mut() {
                    Some(first) => first.as_mut().poll(cx),
                    None => Poll::Pending,
                }) => drop(lone.pop_front()),
                event = poll_fn(|cx| match room {
                    true => cursor.poll(cx, clock::now()),
                    // draft-18 §5.1: also who is paused is told how it ends.
                    false => cursor.poll_end(cx, paused).map(Event::End),
                }), if end.is_none() => match event {
                    // draft-18 §2.4.2: at once; what is dropped here is reset.
                    Event::End(why @ Close::Malformed) => return Some(done_code(why)),
                    Event::Subgroup(reader) => {
                        let told = (changes.clone(), given_up.clone(), count.clone());
                        count.see(reader.group());
                        streams.push(self.stream(reader, (began, lifetimes), told, flow.share()));
                    }
                    Event::Datagram(object)
                        if !self.wishes.is_behind(location(object.location()))
                            && self.wishes.selects(object.header())
                            && lone.len() < DATAGRAMS_HELD_MAX =>
                    {
                        count.see(object.location().group);
                        let flow = flow.share();
                        lone.push_back(self.datagram(object, (began, lifetimes), kept.clone(), flow));
                    }
                    Event::Datagram(_) => {}
                    Event::Skipped { .. } => {
                        self.counters.groups_skipped.fetch_add(1, Ordering::Relaxed);
                        flow.skipped();
                    }
                    Event::Group(_) | Event::GroupEnd { .. } => {}
                    // draft-18 §10.11: the end of the filter is not the end of the track.
                    Event::End(Close::Ended) if self.track.ended().is_none() => {
                        end = Some(DoneCode::SubscriptionEnded);
                    }
                    Event::End(why) => end = Some(done_code(why)),
                },
            }
        }
    }

    /// Takes an update and answers it. Says what becomes of what is being sent.
    fn update(&mut self, parameters: &Parameters, largest: Option<Location>) -> Change {
        let before = self.wishes.clone();
        self.wishes.update(parameters, largest);
        ask_for_group(&self.track, parameters);
        let said = Parameters { largest, ..Parameters::default() };
        let answer = Answer::Ok { parameters: said, properties: Properties::empty() };
        self.link.command(Command::AnswerUpdate { id: self.id, answer });
        self.wishes.change(&before, largest)
    }

    /// The past that a message asks for, of which this is the name (draft-21 §3.4): nothing while paused, and
    /// nothing behind what was the largest object then, as that comes by the subscription.
    fn past(
        &self,
        by: RequestId,
        (fill, largest): (&Parameters, Location),
        (changes, count): &(watch::Receiver<Wishes>, Arc<Count>),
    ) -> Option<Sending> {
        let wishes = &self.wishes;
        let wanted = Fill {
            by,
            range: fill.filter.unwrap_or(wishes.filter).past(largest),
            order: fill.group_order.unwrap_or(self.order),
            live_order: self.order,
            priority: match fill.subscriber_priority {
                Some(priority) => Subscriber::Said(priority),
                None => Subscriber::Wishes(changes.clone()),
            },
            count: count.clone(),
            timeout_ms: fill.fill_timeout_ms,
            selection: match fill.range_filters.is_empty() {
                true => wishes.selection.clone(),
                false => Arc::new(Selection::new(&fill.range_filters)),
            },
        };
        // draft-21 §3.4: then there is no stream.
        let any = wishes.forward && !wanted.range.is_backward();
        let (link, id, counters) = (self.link.clone(), self.id, self.counters.clone());
        let track = self.track.clone();
        let past = async move { fetch::fill(&link, id, &track, wanted, &counters).await };
        any.then(|| Box::pin(past) as Sending)
    }

    fn follow(&self) -> Cursor {
        self.follow_from(self.wishes.from)
    }

    fn follow_from(&self, from: Location) -> Cursor {
        let filter = Filter { start: Start::At(at(from)), end_group: self.end_group() };
        let priority = self.wishes.priority;
        let policy = Policy { latency_max: LAG_MAX, on_lag: OnLag::SkipToLatest, priority };
        self.track.subscribe(filter, policy)
    }

    /// draft-21 §3.3.1: the end of the filter is not that of the subscription.
    fn end_group(&self) -> Option<u64> {
        let last = self.wishes.end.filter(|_| self.link.version.ends_with_filter());
        last.map(|end| end.group)
    }

    /// One subgroup on a stream of its own.
    fn stream(
        &self,
        reader: SubgroupReader,
        (began, lifetimes): (Instant, Lifetimes),
        (changes, given_up, count): (watch::Receiver<Wishes>, Arc<GivenUp>, Arc<Count>),
        flow: Arc<Flow>,
    ) -> Sending {
        let (link, id, order) = (self.link.clone(), self.id, self.order);
        let (track, wishes) = (self.track.clone(), self.wishes.clone());
        let counters = self.counters.clone();
        let (complete_since, priority) = (None, track.info().priority);
        let (said, timeouts) = (lifetimes.timeouts, lifetimes.timeouts);
        let streaming = Streaming {
            link,
            id,
            track,
            order,
            lifetimes,
            wishes,
            changes,
            given_up,
            count,
            number: 0,
            flow,
            began,
            said,
            timeouts,
            priority,
            reader,
            counters,
            complete_since,
        };
        Box::pin(streaming.run())
    }
}

/// A subgroup that is sent.
struct Streaming {
    link: Arc<Link>,
    id: RequestId,
    track: track::Consumer,
    order: GroupOrder,
    lifetimes: Lifetimes,
    wishes: Wishes,
    changes: watch::Receiver<Wishes>,
    given_up: Arc<GivenUp>,
    count: Arc<Count>,
    /// What the stream has.
    number: i32,
    flow: Arc<Flow>,
    /// When the subscription began.
    began: Instant,
    /// The publisher's timeouts of this subgroup.
    said: Timeouts,
    /// Those, or the subscriber's.
    timeouts: Timeouts,
    /// The publisher's, of this subgroup.
    priority: u8,
    reader: SubgroupReader,
    counters: Arc<Counters>,
    /// When the end of the subgroup was first known.
    complete_since: Option<Instant>,
}

/// Tells the session that a data stream which it has counted is over, or was none, when it is dropped.
pub(crate) struct Counted {
    pub(crate) link: Arc<Link>,
    pub(crate) id: RequestId,
    pub(crate) opened: bool,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let id = self.id;
        self.link.command(match self.opened {
            true => Command::DataClosed { id },
            false => Command::DataUnopened { id },
        });
    }
}

impl Streaming {
    async fn run(mut self) {
        // A subgroup without objects for this subscriber is not sent.
        let Ok(Some(first)) = self.next().await else { return };
        let track = self.lifetimes.timeouts;
        self.said = Timeouts::of_subgroup(track, first.header(), self.link.version);
        self.timeouts = self.said.or_less(&self.wishes);
        let Some(alias) = self.link.with(|session| session.open_data(self.id)) else { return };
        let mut counted = Counted { link: self.link.clone(), id: self.id, opened: false };
        let opened = match self.stale_at(&first, false) {
            Some(at) => timeout_at(at.into(), self.link.connection.open_uni()).await.ok().flatten(),
            None => self.link.connection.open_uni().await,
        };
        let Some(mut stream) = opened else {
            self.counters.groups_skipped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        counted.opened = true;
        self.priority = first.header().priority;
        self.prioritise(&mut stream);
        match self.send(&mut stream, alias, first).await {
            Ok(()) => {
                stream.finish();
                self.arrive(&mut stream).await;
            }
            Err(Cut::Reset(code)) => {
                self.counters.groups_skipped.fetch_add(1, Ordering::Relaxed);
                self.flow.reset();
                stream.reset(self.link.version.reset_code(code));
            }
            Err(Cut::Source(code)) => {
                self.flow.reset();
                stream.reset(reset_code(self.link.version, code));
            }
            Err(Cut::Behind) => {
                // draft-21 §11.3.2: it was not all of it.
                self.carry(&mut stream).await;
                stream.reset(self.link.version.reset_code(ResetCode::Cancelled));
            }
            Err(Cut::Gone) => {}
        }
    }

    /// The next object that is wanted; nothing at the end.
    async fn next(&mut self) -> Result<Option<ObjectReader>, Cut> {
        loop {
            let event = poll_fn(|cx| self.reader.poll(cx)).await;
            if self.changes.has_changed().unwrap_or(false) {
                self.take_wishes();
            }
            let object = match event {
                SubgroupEvent::Object(object) => object,
                SubgroupEvent::Fin => return Ok(None),
                SubgroupEvent::Reset(code) => return Err(Cut::Source(code)),
            };
            let at = location(object.location());
            if self.wishes.leaves_out(at.group) {
                // draft-18 §11.4.3: a filter that has moved on.
                return Err(Cut::Reset(ResetCode::Cancelled));
            }
            if self.lifetimes.are_over_for(object.header(), clock::now()) {
                return Err(Cut::Reset(ResetCode::DeliveryTimeout));
            }
            if self.wishes.is_behind(at) {
                return Err(Cut::Behind);
            }
            if at >= self.wishes.from && self.wishes.selects(object.header()) {
                return Ok(Some(object));
            }
        }
    }

    /// Until everything is acknowledged, or it is too late for that (draft-18 §8).
    async fn arrive(&mut self, stream: &mut SendStream) {
        let count = self.count.clone();
        loop {
            let moved = count.moved();
            self.prioritise(stream);
            let late = async {
                match self.timeouts.subgroup {
                    Some(timeout) => {
                        let since = *self.complete_since.get_or_insert_with(clock::now);
                        tokio::time::sleep_until((since + timeout).into()).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = stream.stopped() => return,
                () = late => break,
                // QUIC may still have some of it to send, behind what is more urgent by now.
                () = moved => {}
                Ok(()) = self.changes.changed() => self.take_wishes(),
            }
        }
        self.counters.groups_skipped.fetch_add(1, Ordering::Relaxed);
        self.flow.reset();
        stream.reset(self.link.version.reset_code(ResetCode::DeliveryTimeout));
    }

    /// Until a peer has read what QUIC was given, which a reset would take back; on a path that
    /// does not carry it for a while.
    async fn carry(&mut self, stream: &mut SendStream) {
        let (until, count) = (clock::now() + DELIVERY_MAX, self.count.clone());
        let (mut carried, mut arrived) = (pin!(stream.carried()), None);
        loop {
            let (until, moved) = (arrived.unwrap_or(until), count.moved());
            self.prioritise(stream);
            tokio::select! {
                biased;
                _ = stream.stopped() => return,
                () = tokio::time::sleep_until(until.into()) => return,
                () = &mut carried, if arrived.is_none() => {
                    arrived = Some(clock::now() + HEADER_ARRIVES);
                }
                () = moved => {}
                Ok(()) = self.changes.changed() => self.take_wishes(),
            }
        }
    }

    /// What the subscriber wishes now.
    fn take_wishes(&mut self) {
        self.wishes = self.changes.borrow_and_update().clone();
        self.timeouts = self.said.or_less(&self.wishes);
    }

    /// What the subscriber wishes, or the groups that are counted, may have changed.
    fn prioritise(&mut self, stream: &mut SendStream) {
        let at = (self.count.of(self.reader.group()), self.reader.id());
        let priorities = (self.wishes.priority, self.priority);
        let number = priority::of_stream(priorities, self.order, at, self.id);
        if number != self.number {
            self.number = number;
            stream.set_priority(number);
        }
    }

    async fn send(
        &mut self,
        stream: &mut SendStream,
        alias: u64,
        first: ObjectReader,
    ) -> Result<(), Cut> {
        let track = self.track.clone();
        let info = track.info();
        let header = SubgroupHeader {
            alias,
            group: self.reader.group(),
            subgroup: match self.reader.id() {
                0 => SubgroupId::Zero,
                id => SubgroupId::Given(id),
            },
            priority: Some(first.header().priority).filter(|p| *p != info.priority),
            properties: true,
            // Our own media has one subgroup a group; of what is relayed, its publisher has said so.
            end_of_group: (info.timescale.is_some() || self.reader.ends_group())
                && !self.wishes.is_cut(self.reader.group()),
            // Of id 0 none can be before it.
            first_object: first.header().first || first.header().id == 0,
        };
        let mut head = BytesMut::with_capacity(64);
        if header.encode(self.link.version, &mut head).is_err() {
            // A group that the peer's draft has no number for.
            return Err(Cut::Reset(ResetCode::InternalError));
        }
        self.link.log.stream("local", stream.id(), "subgroup_header");
        self.link.log.subgroup("created", stream.id(), &header);
        let mut writer = SubgroupWriter::new(self.link.version, &header);
        let (mut object, mut last) = (first, None);
        loop {
            let begun = self.counters.departures.wanted().then(clock::now);
            let bytes = self.object(stream, &mut writer, head, &mut object).await?;
            self.sent(stream.id(), (&object, last), bytes);
            if let Some(begun) = begun {
                self.departed(&object, bytes, begun);
            }
            last = Some(object.header().id);
            head = BytesMut::with_capacity(32);
            let Some(next) = self.next().await? else { return Ok(()) };
            object = next;
            self.prioritise(stream);
        }
    }

    /// QUIC has all of an object; that before it on its stream is the last one.
    fn sent(&self, stream: u64, (object, last): (&ObjectReader, Option<u64>), bytes: u64) {
        let Header { id, status, arrived, .. } = *object.header();
        self.counters.sent(bytes);
        self.flow.object(object.location(), arrived, bytes);
        // What was there already waits from the moment when it was asked for.
        let now = clock::now();
        self.flow.waited(now.saturating_duration_since(arrived.max(self.began)));
        let (age, status) = (now.saturating_duration_since(arrived), status_of(status).number());
        let log = &self.link.log;
        log.subgroup_object("created", stream, (id, last), (bytes, status), Some(age));
    }

    /// Somebody follows what is sent.
    fn departed(&self, object: &ObjectReader, bytes: u64, begun: Instant) {
        self.counters.departures.note(Departure {
            path: self.track.path().clone(),
            track: self.track.name().clone(),
            location: object.location(),
            via: "MoQ",
            peer: self.link.connection.peer(),
            bytes,
            begun,
            left: clock::now(),
        });
    }

    /// Sends one object, by reference, also while it is still arriving. Answers how long it was.
    async fn object(
        &mut self,
        stream: &mut SendStream,
        writer: &mut SubgroupWriter,
        mut head: BytesMut,
        object: &mut ObjectReader,
    ) -> Result<u64, Cut> {
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
        if chunks.len() > 1 {
            self.write(stream, &mut chunks, object).await?;
            return Ok(length);
        }
        // In as few writes as it has come in: an object of the network is a piece for each packet, and each write costs
        // a look at the clock, at the connection and at who else wants to write.
        loop {
            chunks.extend(object.take_ready().into_iter().map(spine::Payload::into_bytes));
            self.write(stream, &mut chunks, object).await?;
            chunks.clear();
            match poll_fn(|cx| object.poll_chunk(cx)).await {
                Chunk::Data(chunk) => chunks.push(chunk.into_bytes()),
                Chunk::End => return Ok(length),
                Chunk::Reset(code) => return Err(Cut::Source(code)),
            }
        }
    }

    /// Writes, unless the object gets too old over it.
    async fn write(
        &mut self,
        stream: &mut SendStream,
        chunks: &mut [Bytes],
        object: &ObjectReader,
    ) -> Result<(), Cut> {
        if self.wishes.ends_within(self.reader.group())
            && let Some(last) = chunks.iter_mut().rfind(|chunk| !chunk.is_empty())
        {
            *last = stream.hold(std::mem::take(last));
        }
        loop {
            if self.timeouts.subgroup.is_some() && self.reader.is_complete() {
                self.complete_since.get_or_insert_with(clock::now);
            }
            let late = self.complete_since.zip(self.timeouts.subgroup).map(|(at, t)| at + t);
            if late.is_some_and(|late| late <= clock::now()) {
                return Err(Cut::Reset(ResetCode::DeliveryTimeout));
            }
            let newest = self.is_newest();
            let asked = self.timeouts.object.is_some_and(|age| newest || age <= DELIVERY_MAX);
            let until = match self.stale_at(object, newest) {
                Some(at) if clock::now() < at => at,
                None => return Ok(stream.write(chunks).await?),
                Some(_) if asked => {
                    return Err(Cut::Reset(ResetCode::DeliveryTimeout));
                }
                // The newest group is worth waiting for, whatever its age.
                Some(_) if newest && !self.is_long_over(object) => clock::now() + LAG_MAX / 10,
                // Not TOO_FAR_BEHIND (draft-21 §12.5): the subscription goes on.
                Some(_) => {
                    // Who said how old they may be wants each until then.
                    if self.timeouts.object.is_none() {
                        self.give_up();
                    }
                    return Err(Cut::Reset(ResetCode::DeliveryTimeout));
                }
            };
            if self.given_up.has(self.reader.group(), self.priority) {
                return Err(Cut::Reset(ResetCode::DeliveryTimeout));
            }
            // Its end may come while this waits, or that of an older group.
            let look = Some(clock::now() + LAG_MAX / 50);
            let until = [late, look].into_iter().flatten().fold(until, Instant::min);
            self.prioritise(stream);
            // What was written is taken out of the chunks, also when time is up.
            if let Ok(written) = timeout_at(until.into(), stream.write(chunks)).await {
                return Ok(written?);
            }
        }
    }

    /// In descending order what is live has come first anyway.
    fn give_up(&self) {
        if self.order == GroupOrder::Ascending
            && let Some(largest) = self.track.largest()
        {
            self.given_up.before(largest.group, self.priority);
        }
    }

    /// Of a track that is over no group is newer: this one is kept no longer than any other that its subscriber wants late.
    fn is_long_over(&self, object: &ObjectReader) -> bool {
        let since = object.header().arrived.max(self.began);
        self.track.ended().is_some() && clock::now() >= since + DELIVERY_MAX
    }

    fn is_newest(&self) -> bool {
        self.track.largest().is_none_or(|largest| largest.group <= self.reader.group())
    }

    /// When this object is too old to be sent. What was there already ages from the moment when it was
    /// asked for. The newest group is waited for as long as its subscriber says.
    fn stale_at(&self, object: &ObjectReader, newest: bool) -> Option<Instant> {
        let most = if newest { Duration::MAX } else { DELIVERY_MAX };
        let age = self.timeouts.object.map_or(LAG_MAX, |age| age.min(most));
        object.header().arrived.max(self.began).checked_add(age)
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
