//! FETCH, and the fill of a subscription: a range of the past, from memory or from who can bring it.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use moqt::data::{FetchObject, FetchWriter, Missing};
use moqt::session::Command;
use moqt::{
    Answer, FetchOk, Filter, GroupOrder, Location, Parameters, Properties, Range, RequestCode,
    RequestId, Selection,
};
use spine::{Absence, Chunk, Close, FetchCursor, FetchEvent, ObjectReader, Order, Waiting, track};
use tokio::sync::watch;

use crate::clock;
use crate::flow::{OpenFlow, Role};
use crate::limits::{FETCH_MAX, HEADER_ARRIVES};
use crate::link::Link;
use crate::listen::Counters;
use crate::play::{Counted, flow_of, location, via_of};
use crate::priority::{self, Count};
use crate::timeouts::Lifetimes;
use crate::transport::SendStream;
use crate::wishes::{Wishes, selects};

/// Answers a FETCH, then sends what there is. `urgency` is the subscriber's priority, which it may change.
pub(crate) async fn serve(
    link: &Arc<Link>,
    id: RequestId,
    track: track::Consumer,
    filter: Filter,
    parameters: Parameters,
    urgency: watch::Receiver<u8>,
    counters: &Counters,
) {
    let answer = |answer| link.command(Command::Answer { id, answer });
    if track.ended() == Some(Close::Malformed) {
        let words = "its publisher contradicts itself";
        return answer(Answer::error(RequestCode::MalformedTrack, words));
    }
    let Some(largest) = track.largest().map(location) else {
        // draft-18 §10.12: nothing was published.
        return answer(Answer::error(RequestCode::InvalidRange, "the track has no object yet"));
    };
    let range = filter.past(largest);
    if range.is_backward() {
        let words = "the range starts behind the largest object";
        return answer(Answer::error(RequestCode::InvalidRange, words));
    }
    let properties = Properties::from_checked(track.info().properties.clone());
    // draft-18 §10.13: what was lost, or taken away, may go on elsewhere, or later.
    let is_whole = track.ended() == Some(Close::Ended) || track.is_final();
    answer(Answer::FetchOk(FetchOk {
        end_of_track: is_whole && range.end == largest,
        end: range.end,
        parameters: Parameters::default(),
        properties,
    }));
    if link.with(|session| session.open_data(id)).is_none() {
        return;
    }
    counters.fetches.fetch_add(1, Ordering::Relaxed);
    let publisher = track.info().priority;
    // draft-18 §10.12: ascending, unless the subscriber says otherwise.
    let order = parameters.group_order.unwrap_or(GroupOrder::Ascending);
    let joins = link.with(|session| session.joins(id));
    let number = |subscriber| priority::of_fetch((subscriber, publisher), (order, joins), id);
    let urgency = Urgency { subscriber: Subscriber::Fetch(urgency), number: &number };
    let timeout_ms = parameters.fill_timeout_ms;
    let selection = Arc::new(Selection::new(&parameters.range_filters));
    let wanted = Wanted { id, range, order, urgency, timeout_ms, selection, at_once: false };
    if let Some(code) = send(link, &track, wanted, counters, &mut false).await {
        link.command(Command::Cancel { id, code });
    }
    link.command(Command::DataClosed { id });
}

/// The past of a subscription (draft-21 §3.4).
pub(crate) struct Fill {
    /// The SUBSCRIBE or REQUEST_UPDATE that asks for it.
    pub(crate) by: RequestId,
    /// What of the past.
    pub(crate) range: Range,
    pub(crate) order: GroupOrder,
    /// That of the subscription.
    pub(crate) live_order: GroupOrder,
    pub(crate) priority: Subscriber,
    /// Of the groups of the subscription.
    pub(crate) count: Arc<Count>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) selection: Arc<Selection>,
}

/// Sends the past of a subscription. Dropped, its stream is reset.
pub(crate) async fn fill(
    link: &Arc<Link>,
    subscription: RequestId,
    track: &track::Consumer,
    fill: Fill,
    counters: &Counters,
) {
    if link.with(|session| session.open_data(subscription)).is_none() {
        return;
    }
    let mut counted = Counted { link: link.clone(), id: subscription, opened: false };
    counters.fetches.fetch_add(1, Ordering::Relaxed);
    let Fill { by: id, range, order, timeout_ms, selection, .. } = fill;
    let first = match order {
        GroupOrder::Ascending => range.start.group,
        GroupOrder::Descending => range.end.group,
    };
    let publisher = track.info().priority;
    let number = |subscriber| {
        let group = fill.count.of(first);
        priority::of_fill((subscriber, publisher), (order, fill.live_order), group, id)
    };
    let urgency = Urgency { subscriber: fill.priority, number: &number };
    // The subscriber has no other word that it comes.
    let wanted = Wanted { id, range, order, urgency, timeout_ms, selection, at_once: true };
    send(link, track, wanted, counters, &mut counted.opened).await;
}

/// What goes onto a fetch stream.
struct Wanted<'a> {
    /// What the header says.
    id: RequestId,
    range: Range,
    order: GroupOrder,
    urgency: Urgency<'a>,
    /// FILL_TIMEOUT
    timeout_ms: Option<u64>,
    selection: Arc<Selection>,
    /// The header goes out before the first object is there.
    at_once: bool,
}

/// How urgent a subscriber finds what is sent to him.
pub(crate) enum Subscriber {
    /// As a fill says itself.
    Said(u8),
    /// As its subscription, which may change (draft-21 §3.4).
    Wishes(watch::Receiver<Wishes>),
    /// As a FETCH, which may change as well.
    Fetch(watch::Receiver<u8>),
}

/// How urgent a stream is.
struct Urgency<'a> {
    subscriber: Subscriber,
    /// That of the stream, by it.
    number: &'a (dyn Fn(u8) -> i32 + Send + Sync),
}

impl Urgency<'_> {
    fn now(&mut self) -> i32 {
        (self.number)(match &mut self.subscriber {
            Subscriber::Said(priority) => *priority,
            Subscriber::Wishes(wishes) => wishes.borrow_and_update().priority,
            Subscriber::Fetch(priority) => *priority.borrow_and_update(),
        })
    }

    async fn changed(&mut self) {
        let changed = match &mut self.subscriber {
            Subscriber::Said(_) => return std::future::pending().await,
            Subscriber::Wishes(wishes) => wishes.changed().await,
            Subscriber::Fetch(priority) => priority.changed().await,
        };
        if changed.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// If it breaks off before its stream says whose it is, says why.
async fn send(
    link: &Link,
    track: &track::Consumer,
    wanted: Wanted<'_>,
    counters: &Counters,
    opened: &mut bool,
) -> Option<moqt::ResetCode> {
    let Wanted { id, range, order, mut urgency, timeout_ms, selection, at_once } = wanted;
    // Never closed.
    let place = link.past.acquire().await.ok()?;
    let mut stream = link.connection.open_uni().await?;
    *opened = true;
    let number = urgency.now();
    stream.set_priority_in(number, priority::turn_of_past(number, id));
    link.log.fetch("local", stream.id(), id);
    let mut out = Out { link, stream, id, urgency, number, begun: None };
    // FILL_TIMEOUT is for all that is waited for; without one, each wait has its own end.
    let patient = timeout_ms.is_none();
    let fill = timeout_ms.map_or(FETCH_MAX, Duration::from_millis).min(FETCH_MAX);
    let deadline = clock::now() + fill;
    let at = |at: Location| spine::Location { group: at.group, object: at.object };
    let spine_order = match order {
        GroupOrder::Ascending => Order::Ascending,
        GroupOrder::Descending => Order::Descending,
    };
    let lifetimes = Lifetimes::of(track.info());
    let cursor = track.fetch(at(range.start)..=at(range.end), spine_order, deadline);
    // draft-18 §12.2: what may not be kept any longer is asked for again.
    let cursor = cursor.no_older_than(lifetimes.cached());
    let mut head = BytesMut::new();
    let writer = FetchWriter::new(link.version, id, order, &mut head);
    if at_once && out.write(&mut [head.split().freeze()]).await.is_break() {
        return None;
    }
    let (last, expired, end) = (None, None, range.end);
    let flow = flow_of(link, Role::Fetch, track);
    let mut answer = Answering {
        link,
        writer,
        order,
        end,
        last,
        head,
        counters,
        flow,
        lifetimes,
        expired,
        selection,
        patient,
    };
    let sent = tokio::select! {
        biased;
        // draft-18 §2.4.2
        () = malformed(track) => ControlFlow::Break(moqt::ResetCode::MalformedTrack),
        sent = answer.all(cursor, &mut out) => sent,
    };
    // Nothing is read for it any more.
    drop(place);
    match sent {
        ControlFlow::Continue(()) => {
            out.arrive().await;
            None
        }
        ControlFlow::Break(code) => {
            answer.flow.reset();
            let Some(begun) = out.begun else { return Some(code) };
            // draft-21 §3.4.1: it is reset behind its header, which is all that says whose it is. A reset takes back what is still
            // under way.
            tokio::time::sleep_until((begun + HEADER_ARRIVES).into()).await;
            out.stream.reset(link.version.reset_code(code));
            None
        }
    }
}

/// Waits until the track turns out to contradict itself.
async fn malformed(track: &track::Consumer) {
    let mut waiting = Waiting::new();
    if poll_fn(|cx| track.poll_ended(&mut waiting, cx)).await != Close::Malformed {
        std::future::pending::<()>().await;
    }
}

/// A fetch stream that is written.
struct Answering<'a> {
    link: &'a Link,
    writer: FetchWriter,
    order: GroupOrder,
    end: Location,
    last: Option<Location>,
    /// What is written but not sent.
    head: BytesMut,
    counters: &'a Counters,
    flow: OpenFlow,
    lifetimes: Lifetimes,
    /// Up to here objects were passed over, because they may not be kept any longer.
    expired: Option<Location>,
    /// Which of the objects.
    selection: Arc<Selection>,
    /// Waits anew for each object.
    patient: bool,
}

impl Answering<'_> {
    async fn all(
        &mut self,
        cursor: FetchCursor,
        out: &mut Out<'_>,
    ) -> ControlFlow<moqt::ResetCode> {
        self.run(cursor, out).await?;
        out.write(&mut [self.head.split().freeze()]).await
    }

    async fn run(
        &mut self,
        mut cursor: FetchCursor,
        out: &mut Out<'_>,
    ) -> ControlFlow<moqt::ResetCode> {
        loop {
            let deadline = cursor.deadline();
            let event = poll_fn(|cx| cursor.poll(cx, clock::now()));
            let event = match deadline {
                Some(at) => match tokio::time::timeout_at(at.into(), event).await {
                    Ok(event) => event,
                    // Polled again, it says so itself.
                    Err(_) => continue,
                },
                None => event.await,
            };
            match event {
                FetchEvent::Object(object) => self.object(object, out).await?,
                FetchEvent::Gap { from, to, why } => {
                    self.expired()?;
                    self.gap(from, to, why)?;
                }
                FetchEvent::Hole { last, why } => {
                    self.expired()?;
                    self.missing(why, location(last))?;
                }
                FetchEvent::End => {
                    if !cursor.has_asked() {
                        self.flow.hit();
                    }
                    return self.expired();
                }
            }
            if self.patient {
                cursor.extend(clock::now() + FETCH_MAX);
            }
        }
    }

    async fn object(
        &mut self,
        mut object: ObjectReader,
        out: &mut Out<'_>,
    ) -> ControlFlow<moqt::ResetCode> {
        let header = object.header();
        if header.status != spine::Status::Normal {
            // draft-18 §11.4.4: a fetch has no status; what does not exist is left out.
            return ControlFlow::Continue(());
        }
        if !selects(&self.selection, header) {
            // draft-21 §9.11: what is left out may also be what does not pass.
            return ControlFlow::Continue(());
        }
        let at = location(object.location());
        if self.lifetimes.are_over_for(header, clock::now()) {
            self.expired = Some(at);
            return ControlFlow::Continue(());
        }
        self.expired()?;
        let mut chunks: Vec<Bytes> = vec![Bytes::new()];
        let payload_length = match object.length() {
            Some(length) => length,
            None => {
                chunks.extend(rest(&mut object).await?);
                chunks.iter().map(|chunk| chunk.len() as u64).sum()
            }
        };
        let header = object.header();
        let described = FetchObject {
            location: at,
            via: via_of(header.via),
            priority: header.priority,
            properties: Properties::from_checked(header.properties.clone()),
            payload_length,
        };
        if self.writer.object(&described, &mut self.head).is_err() {
            return ControlFlow::Break(moqt::ResetCode::InternalError);
        }
        self.last = Some(at);
        self.link.log.fetch_object("created", out.stream.id(), &described);
        self.counters.sent(payload_length);
        self.flow.object(object.location(), header.arrived, payload_length);
        chunks[0] = self.head.split().freeze();
        if let Some(ready) = object.whole().filter(|_| chunks.len() == 1) {
            chunks.extend(ready.into_iter().map(spine::Payload::into_bytes));
            return out.write(&mut chunks).await;
        }
        out.write(&mut chunks).await?;
        loop {
            match poll_fn(|cx| object.poll_chunk(cx)).await {
                Chunk::Data(chunk) => out.write(&mut [chunk.into_bytes()]).await?,
                Chunk::End => return ControlFlow::Continue(()),
                // Its length was told: no other object can follow on this stream.
                Chunk::Reset(_) => {
                    return ControlFlow::Break(moqt::ResetCode::UnknownObjectStatus);
                }
            }
        }
    }

    /// Says that what was passed over is unknown (draft-18 §12.2).
    fn expired(&mut self) -> ControlFlow<moqt::ResetCode> {
        let Some(at) = self.expired.take() else { return ControlFlow::Continue(()) };
        match self.writer.gap(Missing::Unknown, at, &mut self.head) {
            Ok(()) => {
                self.last = Some(at);
                ControlFlow::Continue(())
            }
            Err(_) => ControlFlow::Break(moqt::ResetCode::UnknownObjectStatus),
        }
    }

    /// Nothing (more) of these groups.
    fn gap(&mut self, from: u64, to: u64, why: Absence) -> ControlFlow<moqt::ResetCode> {
        let last = match self.order {
            GroupOrder::Ascending => Location::new(to, u64::MAX).min(self.end),
            GroupOrder::Descending if from == self.end.group => self.end,
            GroupOrder::Descending => Location::new(from, u64::MAX),
        };
        // Everything up to the end of the range was sent: nothing is missing before it.
        if self.last.is_some_and(|sent| sent.group == last.group && sent >= last) {
            return ControlFlow::Continue(());
        }
        self.missing(why, last)
    }

    /// What is unknown is said to be unknown.
    fn missing(&mut self, why: Absence, last: Location) -> ControlFlow<moqt::ResetCode> {
        let missing = match why {
            Absence::Missing => Missing::NonExistent,
            Absence::Unknown => Missing::Unknown,
            Absence::TimedOut => Missing::TimedOut,
        };
        match self.writer.gap(missing, last, &mut self.head) {
            Ok(()) => {
                self.last = Some(last);
                ControlFlow::Continue(())
            }
            Err(_) => ControlFlow::Break(moqt::ResetCode::UnknownObjectStatus),
        }
    }
}

async fn rest(object: &mut ObjectReader) -> ControlFlow<moqt::ResetCode, Vec<Bytes>> {
    let mut chunks = Vec::new();
    loop {
        match poll_fn(|cx| object.poll_chunk(cx)).await {
            Chunk::Data(chunk) => chunks.push(chunk.into_bytes()),
            Chunk::End => return ControlFlow::Continue(chunks),
            Chunk::Reset(_) => return ControlFlow::Break(moqt::ResetCode::UnknownObjectStatus),
        }
    }
}

/// The stream of an answer.
struct Out<'a> {
    link: &'a Link,
    stream: SendStream,
    id: RequestId,
    urgency: Urgency<'a>,
    /// What the stream has.
    number: i32,
    /// When QUIC had the first of it, which is the header.
    begun: Option<Instant>,
}

impl Out<'_> {
    fn prioritise(&mut self) {
        let number = self.urgency.now();
        if number != self.number {
            self.number = number;
            self.stream.set_priority_in(number, priority::turn_of_past(number, self.id));
        }
    }

    /// Until the peer has all of it: QUIC may still have some to send, behind what is more urgent
    /// by now.
    async fn arrive(&mut self) {
        self.stream.finish();
        loop {
            tokio::select! {
                _ = self.stream.stopped() => return,
                () = self.urgency.changed() => self.prioritise(),
            }
        }
    }

    /// Writes, for as long as the peer takes something of the past now and then, of this or of what it waits behind: who reads nothing
    /// keeps nobody busy.
    async fn write(&mut self, chunks: &mut [Bytes]) -> ControlFlow<moqt::ResetCode> {
        let taken = &self.link.past_taken;
        let left = |chunks: &[Bytes]| {
            let bytes: usize = chunks.iter().map(Bytes::len).sum();
            (bytes, taken.load(Ordering::Relaxed))
        };
        let (mut before, mut until) = (left(chunks), clock::now() + FETCH_MAX);
        // The live groups that it is sent beside may be counted anew.
        self.prioritise();
        loop {
            // What was written is taken out of the chunks, also when something else comes first.
            tokio::select! {
                written = self.stream.write(chunks) => return match written {
                    Ok(()) => {
                        taken.fetch_add(1, Ordering::Relaxed);
                        self.begun.get_or_insert_with(clock::now);
                        ControlFlow::Continue(())
                    }
                    Err(_) => ControlFlow::Break(moqt::ResetCode::Cancelled),
                },
                () = self.urgency.changed() => self.prioritise(),
                () = tokio::time::sleep_until(until.into()) => {
                    if left(chunks) == before {
                        return ControlFlow::Break(moqt::ResetCode::TooFarBehind);
                    }
                    (before, until) = (left(chunks), clock::now() + FETCH_MAX);
                }
            }
        }
    }
}
