//! Objects that a peer publishes go into a track of the spine, cut-through.

mod fault;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use moqt::data::{
    Body, Datagram, ObjectHead, Status, SubgroupHeader, SubgroupItem, SubgroupReader,
};
use moqt::properties::kind;
use moqt::session::{Command, DataHeader, Event};
use moqt::{Answer, DoneCode, Location, Parameters, Properties, RequestId, ResetCode};
use spine::{Close, Demand, Header, ObjectWriter, Waiting, WriteError, group, track};
use tokio::sync::mpsc;
use tokio::time::Sleep;

use fault::Fault;

use crate::clock;
use crate::flow::{Flow, OpenFlow, Role};
use crate::limits::{
    BEFORE_AGAIN, BEFORE_TRIES_MAX, BEGUN_LINGER, FORWARD_LINGER, UPDATE_AGAIN, UPLINK_PAUSED_MAX,
};
use crate::link::{DataStream, Link, Told, rest_of_head};
use crate::names::{path_of, reset, reset_of};
use crate::play::{at, location};
use crate::transport::{Read, RecvStream};
use crate::upstream::{self, Begun};
use crate::viewer::{Viewer, secrets};

/// How what was taken came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The publisher says that it is over, for this reason.
    Done(DoneCode),
    /// The publisher broke it off.
    Cancelled,
    /// The publisher wants to be asked again (GOAWAY of a request, draft-18 §10.4).
    Moved,
    /// Nobody has read it for long: it is to be asked for again when somebody does.
    Unread,
    /// The track is over here, or can't be kept.
    Refused,
    /// What came contradicts itself (draft-18 §2.4.2): the track is over, for all who read it.
    Malformed,
}

/// Counts what comes of this track of the peer's.
fn flow_of(link: &Link, name: &moqt::TrackName) -> Option<OpenFlow> {
    let path = path_of(name.namespace())?;
    Some(link.flows.begin(Role::Publication, path, name.name().clone()))
}

/// Where what comes goes.
pub(crate) struct Target {
    pub(crate) track: track::Producer,
    /// For readers who come and go: what was there before, up to here, is fetched once somebody wants it, and nothing is sent to us
    /// while there is nobody.
    pub(crate) relayed: bool,
    pub(crate) before: Option<Location>,
    /// Updates that it was sent already.
    pub(crate) updates: u64,
    /// What nobody has read for long comes to its end.
    pub(crate) leaves: bool,
}

impl From<track::Producer> for Target {
    /// All of it is wanted.
    fn from(track: track::Producer) -> Self {
        Self { track, relayed: false, before: None, updates: 0, leaves: false }
    }
}

/// Writes everything that comes for a subscription of ours to the track of this name to its end. `offered`: by whom, if not we
/// have asked.
pub(crate) async fn take(
    link: Arc<Link>,
    (id, name): (RequestId, moqt::TrackName),
    mut told: mpsc::UnboundedReceiver<Told>,
    target: Target,
    offered: Option<Viewer>,
) -> Taken {
    let Some(flow) = flow_of(&link, &name) else { return Taken::Refused };
    let track = target.track.clone().checked();
    let mut streams = FuturesUnordered::new();
    let mut past: FuturesUnordered<Past> = FuturesUnordered::new();
    let mut end = None;
    let mut wanted = Wants::new(target);
    let taken = loop {
        let fault = tokio::select! {
            next = poll_fn(|cx| wanted.poll(cx)) => match next {
                // Of this publisher's; another one of the same track may say otherwise.
                Wanted::Group(_) if !link.with(|session| session.has_dynamic_groups(id)) => {
                    wanted.never();
                    continue;
                }
                Wanted::Group(group) => {
                    let new_group = Some(group);
                    let parameters = Parameters { new_group, ..Parameters::default() };
                    wanted.asked(group, link.update(id, parameters));
                    continue;
                }
                Wanted::Forward(forward) => {
                    let parameters =
                        Parameters { forward: Some(forward), ..Parameters::default() };
                    wanted.told(forward, link.update(id, parameters));
                    continue;
                }
                Wanted::Before(largest) => {
                    // Nobody has read since an older one: it goes on with nothing any more.
                    past.clear();
                    let (link, name, track) = (link.clone(), name.clone(), track.clone());
                    past.push(Box::pin(async move {
                        (largest, upstream::begun(&link, name, largest, track).await)
                    }));
                    continue;
                }
                Wanted::Leave => break Taken::Unread,
                // Another publisher of it says so, or an answer about its past.
                Wanted::Nothing => break Taken::Malformed,
            },
            told = told.recv() => match told {
                Some(Told::Data(data)) => {
                    streams.push(subgroup(&link, data, &track, &flow));
                    continue;
                }
                Some(Told::Datagram(queued)) => {
                    let Some(datagram) = queued.take() else { continue };
                    link.log.datagram("parsed", &datagram);
                    datagram_object(datagram, &track, &flow).err()
                }
                Some(Told::Event(Event::Done { done, .. })) => {
                    if done.code == DoneCode::MalformedTrack {
                        track.end(Close::Malformed);
                    }
                    end = Some(done.code);
                    continue;
                }
                Some(Told::Event(Event::Drained { .. })) | None => {
                    break end.map_or(Taken::Cancelled, Taken::Done);
                }
                // The session has seen a datagram that can't be right, or the peer has.
                Some(Told::Event(Event::Cancelled { code: ResetCode::MalformedTrack, .. })) => {
                    track.end(Close::Malformed);
                    break Taken::Malformed;
                }
                Some(Told::Event(Event::Cancelled { .. })) => break Taken::Cancelled,
                // Who offered it offers it again by itself.
                Some(Told::Event(Event::GoAway { .. })) if offered.is_none() => break Taken::Moved,
                // draft-18 §10.9: by who published it.
                Some(Told::Event(Event::Update { id, tokens, .. })) => {
                    link.command(Command::AnswerUpdate { id, answer: Answer::ok() });
                    if let Some(viewer) = &offered {
                        viewer.renew(secrets(&tokens));
                    }
                    continue;
                }
                Some(Told::Event(Event::UpdateAnswered { answer, .. })) => {
                    // draft-21 §9.20.18: a relay does not say less than its publisher does.
                    let parameters = match answer {
                        Answer::Ok { parameters, .. } => parameters,
                        Answer::Error(_) | Answer::FetchOk(_) => Parameters::default(),
                    };
                    saw(&track, &parameters);
                    wanted.answered(parameters.largest);
                    continue;
                }
                Some(Told::Event(_)) => continue,
            },
            Some(result) = streams.next() => result.err(),
            Some((before, came)) = past.next() => {
                wanted.came(before, came);
                continue;
            }
        };
        let Some(fault) = fault else { continue };
        if let Some(why) = fault.malformed() {
            tracing::info!(peer = %link.connection.peer(), track = ?track.name(), why, "moq: a malformed track");
            track.end(Close::Malformed);
            break Taken::Malformed;
        }
        match fault {
            // Of a relayed track with several publishers, or little memory, one group is gone here: it goes on with the others.
            Fault::Write(WriteError::Closed(Close::Evicted)) if wanted.relayed => {}
            Fault::Write(WriteError::Closed(_)) => break Taken::Refused,
            _ => {}
        }
    };
    drop((streams, past));
    link.disown(id);
    if taken == Taken::Malformed {
        // draft-18 §2.4.2: of this publisher nothing more is taken.
        link.command(Command::Cancel { id, code: ResetCode::MalformedTrack });
    }
    taken
}

/// The largest object that the publisher knows is the largest here too (draft-18 §10.2.5: a relay does not
/// lie about it).
pub(crate) fn saw(track: &track::Producer, parameters: &Parameters) {
    if let Some(largest) = parameters.largest {
        track.saw(at(largest));
    }
}

/// What is to be said to the publisher next.
enum Wanted {
    /// A new group.
    Group(u64),
    /// What it has written before, up to here, of the group of this.
    Before(Location),
    /// Objects, or none for a while (draft-18 §9.5).
    Forward(bool),
    /// It is paused, and nobody has read it for long.
    Leave,
    /// The track is malformed: nothing more of it.
    Nothing,
}

/// Says up to where it was asked for, what has come, and when it may be asked for again, if that is not all.
type Past = Pin<Box<dyn Future<Output = (Location, (Begun, Option<Duration>))> + Send>>;

/// What our readers want, on its way to the publisher.
struct Wants {
    track: track::Producer,
    waiting: Waiting,
    demand: Demand,
    /// The publisher can be asked for new groups.
    dynamic: bool,
    /// A new group that the publisher was asked for and has not begun yet (NEW_GROUP_REQUEST, draft-18 §10.2.13).
    outstanding: Option<u64>,
    /// What was there before, up to here, and was not asked for. Who begins at or before it wants it: a catalog, perhaps, that is
    /// written once.
    before: Option<Location>,
    /// Not before this is over: it was refused so often.
    again: Option<Pin<Box<Sleep>>>,
    tries: u32,
    /// What has come of that, and of which group.
    begun: (u64, Begun),
    /// When that is let go.
    let_go: Option<Pin<Box<Sleep>>>,
    /// Whether it is paused when nobody reads.
    relayed: bool,
    /// What it was told.
    forward: bool,
    /// For as long as it is paused, and has not answered that it goes on.
    paused: Option<spine::Paused>,
    /// Updates that were sent, and answered; they are in turn.
    updates: u64,
    answers: u64,
    /// Until when no other is tried, unless an answer comes: the peer had no room for the last one.
    full: Option<Pin<Box<Sleep>>>,
    /// With which update it was told to go on, and what was the largest object here then.
    resuming: Option<(u64, Option<Location>)>,
    /// When it is told that nobody reads.
    linger: Option<Pin<Box<Sleep>>>,
    /// It is left when it was paused for long, then.
    leaves: bool,
    unread: Option<Pin<Box<Sleep>>>,
}

impl Wants {
    fn new(Target { track, relayed, before, updates, leaves }: Target) -> Self {
        Self {
            dynamic: track.info().dynamic_groups,
            track,
            waiting: Waiting::new(),
            demand: Demand::default(),
            outstanding: None,
            before: before.filter(|_| relayed),
            again: None,
            tries: 0,
            begun: (0, Begun::new()),
            let_go: None,
            relayed,
            forward: true,
            paused: None,
            updates,
            answers: 0,
            full: None,
            resuming: None,
            linger: None,
            leaves,
            unread: None,
        }
    }

    /// It is asked for a new group, if that `went`; else it is asked later.
    fn asked(&mut self, group: u64, went: bool) {
        if !went {
            return self.wait();
        }
        self.updates += 1;
        self.outstanding = Some(group);
    }

    /// It takes no such requests.
    fn never(&mut self) {
        self.dynamic = false;
    }

    fn wait(&mut self) {
        self.full = Some(Box::pin(tokio::time::sleep(UPDATE_AGAIN)));
    }

    /// It is told to pause, or to go on, if that `went`; else it is told later, if that is wanted then.
    fn told(&mut self, forward: bool, went: bool) {
        if !went {
            self.forward = !forward;
            self.paused.take_if(|_| !forward);
            return self.wait();
        }
        self.updates += 1;
        let known = self.track.consume().largest().map(location);
        self.resuming = forward.then_some((self.updates, known));
    }

    /// It has answered an update, and says what is the largest object. What came to be while it was paused was not sent; what is
    /// live may be here before the answer.
    fn answered(&mut self, largest: Option<Location>) {
        self.answers += 1;
        self.full = None;
        if let Some((_, known)) = self.resuming.take_if(|(update, _)| *update == self.answers) {
            if largest > known {
                (self.before, self.again, self.tries) = (largest, None, 0);
            }
            // Who has waited for this begins behind it.
            self.paused = None;
        }
    }

    /// Whether there are newer groups by now: who reads those has no use for it any more. A catalog has none for hours.
    fn is_past(&self, group: u64) -> bool {
        self.track.consume().largest().is_some_and(|largest| largest.group > group)
    }

    /// So much of what was before has come. The rest is not to be had, perhaps for a while only (draft-18 §10.6).
    fn came(&mut self, before: Location, (begun, again): (Begun, Option<Duration>)) {
        match &mut self.begun {
            // Who reads what came of it earlier reads on.
            (group, open) if *group == before.group => open.extend(begun),
            open => *open = (before.group, begun),
        }
        self.let_go = None;
        if let (None, Some(again)) = (self.before, again)
            && self.tries < BEFORE_TRIES_MAX
            && !self.is_past(before.group)
        {
            let wait = again.max(BEFORE_AGAIN * (1 << self.tries));
            self.before = Some(before);
            self.again = Some(Box::pin(tokio::time::sleep(wait)));
            self.tries += 1;
        }
    }

    /// The next thing to say.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Wanted> {
        loop {
            if let Some(again) = &mut self.again
                && again.as_mut().poll(cx).is_ready()
            {
                self.again = None;
            }
            if let Some(full) = &mut self.full
                && full.as_mut().poll(cx).is_ready()
            {
                self.full = None;
            }
            if let Some(wanted) = self.next() {
                return Poll::Ready(wanted);
            }
            self.demand = match self.track.poll_demand(&mut self.waiting, cx) {
                Poll::Ready(demand) => demand,
                // Registered first, looked at second.
                Poll::Pending => match self.track.consume().ended() {
                    Some(Close::Malformed) => return Poll::Ready(Wanted::Nothing),
                    _ => {
                        self.poll_begun(cx);
                        return self.poll_pause(cx);
                    }
                },
            };
        }
    }

    /// What ends with a reset may be lost on its way to a reader: so not at once. But who waits for the end of a group that had
    /// begun should not wait for long when there is a newer one.
    fn poll_begun(&mut self, cx: &mut Context<'_>) {
        let (group, open) = &self.begun;
        if open.is_empty() || !self.is_past(*group) {
            self.let_go = None;
            return;
        }
        let linger = || Box::pin(tokio::time::sleep(BEGUN_LINGER));
        if self.let_go.get_or_insert_with(linger).as_mut().poll(cx).is_ready() {
            self.let_go = None;
            self.begun.1.clear();
        }
    }

    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<Wanted> {
        if self.leaves && !self.forward && !self.demand.forward {
            let unread = || Box::pin(tokio::time::sleep(UPLINK_PAUSED_MAX));
            ready!(self.unread.get_or_insert_with(unread).as_mut().poll(cx));
            return Poll::Ready(Wanted::Leave);
        }
        self.unread = None;
        if !self.relayed || !self.forward || self.demand.forward {
            self.linger = None;
            return Poll::Pending;
        }
        let linger = || Box::pin(tokio::time::sleep(FORWARD_LINGER));
        ready!(self.linger.get_or_insert_with(linger).as_mut().poll(cx));
        (self.linger, self.forward) = (None, false);
        self.paused = Some(self.track.pause());
        Poll::Ready(Wanted::Forward(false))
    }

    fn next(&mut self) -> Option<Wanted> {
        if self.demand.forward && !self.forward && self.full.is_none() {
            self.forward = true;
            return Some(Wanted::Forward(true));
        }
        if self.tries > 0 {
            self.before = self.before.filter(|before| !self.is_past(before.group));
        }
        let begins_at = self.demand.from.map(location);
        if let Some(before) = self.before
            && self.again.is_none()
            && self.demand.forward
            && begins_at.is_some_and(|from| from <= before)
        {
            self.before = None;
            return Some(Wanted::Before(before));
        }
        let may = self.dynamic && self.full.is_none();
        let above = self.demand.new_group_above.filter(|_| may)?;
        let largest = self.track.consume().largest().map(|largest| largest.group);
        to_ask(above.saturating_add(1), largest, self.outstanding).map(Wanted::Group)
    }
}

/// Only what is new is asked for, and not while as much is outstanding.
fn to_ask(wanted: u64, largest: Option<u64>, outstanding: Option<u64>) -> Option<u64> {
    let begun = |group: u64| largest.is_some_and(|largest| largest >= group);
    let asked = outstanding.is_some_and(|asked| asked >= wanted && !begun(asked));
    (!begun(wanted) && !asked).then_some(wanted)
}

/// One subgroup's stream, or what is left of it.
async fn subgroup(
    link: &Arc<Link>,
    data: DataStream,
    track: &track::Producer,
    flow: &Flow,
) -> Result<(), Fault> {
    let DataStream { header, first, mut stream, .. } = data;
    let DataHeader::Subgroup(header) = header else { return Ok(()) };
    let result = copy(link, (&header, first), &mut stream, (track, flow)).await;
    match &result {
        Ok(()) => {}
        Err(Fault::Data(error)) => stream.stop(link.fault(*error)),
        Err(Fault::Write(WriteError::Malformed(_))) => {
            stream.stop(link.version.reset_code(ResetCode::MalformedTrack));
        }
        Err(Fault::Write(error)) => {
            tracing::debug!(track = ?track.name(), %error, "moq: a stream is not kept");
            stream.stop(link.version.reset_code(ResetCode::ExcessiveLoad));
        }
    }
    result
}

async fn copy(
    link: &Link,
    (header, first): (&SubgroupHeader, Bytes),
    stream: &mut RecvStream,
    (track, flow): (&track::Producer, &Flow),
) -> Result<(), Fault> {
    let mut reader = SubgroupReader::new(link.version, header);
    let group = track.group(header.group, clock::now())?;
    let mut copying = Copying {
        from: (link, stream.id()),
        header,
        track,
        flow,
        group,
        subgroup: None,
        object: None,
        last: None,
    };
    let mut arrived = Arrived { bytes: first, end: None };
    // When the head that it stands in began.
    let mut began = None;
    loop {
        while let Some(item) = reader.read(&mut arrived.bytes)? {
            began = None;
            match item {
                SubgroupItem::Object(head) => {
                    copying.object(reader.subgroup().unwrap_or(head.id), head)?;
                }
                SubgroupItem::Payload { bytes, last } => copying.payload(bytes, last)?,
            }
        }
        match arrived.end {
            None if reader.is_inside_head() => {
                let began = *began.get_or_insert_with(clock::now);
                let Some(rest) = rest_of_head(link, began, arrive(stream)).await else {
                    copying.reset(reset(ResetCode::SessionClosed));
                    return Ok(());
                };
                arrived = rest;
            }
            None => arrived = arrive(stream).await,
            Some(End::Fin) => {
                reader.finish()?;
                return Ok(copying.fin(reader.largest())?);
            }
            Some(End::Reset(code)) => {
                flow.reset();
                copying.reset(reset_of(link.version, code));
                return Ok(());
            }
            Some(End::Lost) => {
                copying.reset(reset(ResetCode::SessionClosed));
                return Ok(());
            }
        }
    }
}

/// What has come on a stream.
struct Arrived {
    bytes: Bytes,
    end: Option<End>,
}

/// How a stream ends.
#[derive(Clone, Copy)]
enum End {
    Fin,
    Reset(u64),
    Lost,
}

/// Waits for something, then takes all that is there and what comes while others have their turn: packets come in trains,
/// and each time that something is written everybody who reads has work. All of it is one piece then, which is its copy out
/// of the packets. No more than the stream's window comes at once.
async fn arrive(stream: &mut RecvStream) -> Arrived {
    let mut pieces: Vec<Bytes> = Vec::new();
    let mut next = stream.read().await;
    let mut waited = false;
    let end = loop {
        match next {
            Read::Chunk(bytes) => pieces.push(bytes),
            Read::Fin => break Some(End::Fin),
            Read::Reset(code) => break Some(End::Reset(code)),
            Read::Lost => break Some(End::Lost),
        }
        next = match stream.read().now_or_never() {
            Some(read) => read,
            None if waited => break None,
            None => {
                waited = true;
                tokio::task::yield_now().await;
                match stream.read().now_or_never() {
                    Some(read) => read,
                    None => break None,
                }
            }
        };
    };
    Arrived { bytes: joined(pieces), end }
}

fn joined(mut pieces: Vec<Bytes>) -> Bytes {
    match pieces.len() {
        0 => Bytes::new(),
        // A short piece would keep the whole packet that it came in for as long as its group lives.
        1 if pieces[0].len() >= crate::limits::SHORT_BYTES => pieces.remove(0),
        _ => pieces.concat().into(),
    }
}

/// A subgroup on its way into the spine.
struct Copying<'a> {
    /// The session, and the number of its stream.
    from: (&'a Link, u64),
    header: &'a SubgroupHeader,
    track: &'a track::Producer,
    flow: &'a Flow,
    group: group::Producer,
    subgroup: Option<group::SubgroupProducer>,
    object: Option<ObjectWriter>,
    /// The object that came before on this stream.
    last: Option<u64>,
}

impl Copying<'_> {
    fn object(&mut self, subgroup: u64, head: ObjectHead) -> Result<(), WriteError> {
        let now = clock::now();
        let last = self.last.replace(head.id);
        let first = last.is_none() && self.header.first_object;
        let at = spine::Location { group: self.header.group, object: head.id };
        self.flow.object(at, now, head.payload_length);
        let (link, stream) = self.from;
        let length = (head.payload_length, head.status.number());
        link.log.subgroup_object("parsed", stream, (head.id, last), length, None);
        gaps(&self.group, head.id, &head.properties)?;
        let subgroup = match &self.subgroup {
            Some(subgroup) => subgroup,
            None => {
                let subgroup = self.group.subgroup(subgroup, now)?;
                if self.header.end_of_group {
                    subgroup.ends_group();
                }
                self.subgroup.insert(subgroup)
            }
        };
        let header = Header {
            priority: self.header.priority.unwrap_or(self.track.info().priority),
            status: status_of(head.status),
            properties: head.properties.as_bytes().clone(),
            first,
            ..Header::new(head.id, now)
        };
        if head.payload_length == 0 {
            subgroup.write(header, Vec::new())?;
            return end_by(self.track, &self.group, head.id, status_of(head.status));
        }
        // Nothing, if it is there already: its payload is passed over.
        self.object = subgroup.begin(header, Some(head.payload_length))?;
        Ok(())
    }

    fn payload(&mut self, bytes: Bytes, last: bool) -> Result<(), WriteError> {
        let Some(object) = &mut self.object else { return Ok(()) };
        object.write(self.track.budget().payload(bytes))?;
        if last && let Some(object) = self.object.take() {
            object.finish()?;
        }
        Ok(())
    }

    fn fin(&mut self, largest: Option<u64>) -> Result<(), WriteError> {
        if let Some(subgroup) = self.subgroup.take() {
            subgroup.try_fin()?;
        }
        // Without an object it says nothing of where the group ends.
        if self.header.end_of_group && largest.is_some() {
            self.group.try_end(largest, clock::now())?;
        }
        Ok(())
    }

    fn reset(&mut self, code: spine::ResetCode) {
        self.object = None;
        if let Some(subgroup) = self.subgroup.take() {
            subgroup.reset(code);
        }
    }
}

fn datagram_object(datagram: Datagram, track: &track::Producer, flow: &Flow) -> Result<(), Fault> {
    let now = clock::now();
    let group = track.group(datagram.group, now)?;
    let (status, payload) = match datagram.body {
        Body::Payload(payload) => (spine::Status::Normal, payload),
        Body::Status(status) => (status_of(status), Bytes::new()),
    };
    let at = spine::Location { group: datagram.group, object: datagram.object };
    flow.object(at, now, payload.len() as u64);
    gaps(&group, datagram.object, &datagram.properties)?;
    let header = Header {
        priority: datagram.priority.unwrap_or(track.info().priority),
        status,
        properties: datagram.properties.as_bytes().clone(),
        ..Header::new(datagram.object, now)
    };
    let payload = track.budget().payload(payload);
    match datagram.end_of_group {
        true => group.last_datagram(header, payload)?,
        false => group.datagram(header, payload)?,
    }
    Ok(end_by(track, &group, datagram.object, status)?)
}

/// What a status says of its group and track.
fn end_by(
    track: &track::Producer,
    group: &group::Producer,
    object: u64,
    status: spine::Status,
) -> Result<(), WriteError> {
    if status == spine::Status::Normal {
        return Ok(());
    }
    group.try_end(Some(object), clock::now())?;
    match status {
        spine::Status::EndOfTrack => track.end_at(spine::Location { group: group.id(), object }),
        _ => Ok(()),
    }
}

/// What an object says that does not exist (draft-18 §12.8, §12.9).
fn gaps(group: &group::Producer, object: u64, properties: &Properties) -> Result<(), WriteError> {
    if properties.is_empty() {
        return Ok(());
    }
    let before = |kind| properties.number(kind).unwrap_or(0);
    match (before(kind::PRIOR_OBJECT_ID_GAP), before(kind::PRIOR_GROUP_ID_GAP)) {
        (0, 0) => Ok(()),
        (objects, groups) => group.lacks(object, objects, groups),
    }
}

fn status_of(status: Status) -> spine::Status {
    match status {
        Status::Normal => spine::Status::Normal,
        Status::EndOfGroup => spine::Status::EndOfGroup,
        Status::EndOfTrack => spine::Status::EndOfTrack,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draft18_s10_2_13_d17_only_what_is_new_is_asked_for() {
        for (wanted, largest, outstanding, expect) in [
            (1, None, None, Some(1)),
            (5, Some(4), None, Some(5)),
            // It has begun already.
            (5, Some(5), None, None),
            (3, Some(9), None, None),
            // As much, or more, is outstanding.
            (5, Some(4), Some(5), None),
            (5, Some(4), Some(7), None),
            (8, Some(4), Some(7), Some(8)),
            // It was, and came.
            (8, Some(7), Some(7), Some(8)),
        ] {
            assert_eq!(to_ask(wanted, largest, outstanding), expect, "{wanted} {largest:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn draft18_s10_2_13_who_takes_no_requests_for_groups_is_asked_once() {
        let origin = spine::Origin::new(spine::Limits::default());
        let (path, route) = (spine::Path::new(["open"]), spine::Route::local(spine::NodeId(0), 0));
        let broadcast = origin.publish(&path.unwrap(), route, spine::Takeover::Refuse).unwrap();
        let info = spine::TrackInfo { dynamic_groups: true, ..spine::TrackInfo::default() };
        let track = broadcast.track(spine::TrackName::from_static("video"), info).unwrap();
        let mut wanted = Wants::new(track.clone().into());
        for above in [4, 5] {
            track.consume().request_group(above);
            let next = poll_fn(|cx| wanted.poll(cx));
            let asked = tokio::time::timeout(UPDATE_AGAIN * 2, next).await;
            match above {
                4 => assert!(matches!(asked, Ok(Wanted::Group(5)))),
                _ => assert!(asked.is_err(), "it was asked again"),
            }
            wanted.never();
        }
    }
}
