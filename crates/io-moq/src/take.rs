//! Objects that a peer publishes go into a track of the spine, cut-through.

mod fault;
mod wants;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
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
use spine::{Close, Header, ObjectWriter, WriteError, group, track};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use fault::Fault;
use wants::{Wanted, Wants};

use crate::clock;
use crate::flow::{Flow, OpenFlow, Role};
use crate::handover::{Hands, Rest};
use crate::limits::UPLINK_LATE;
use crate::link::{DataStream, Link, Told, rest_of_head};
use crate::names::{path_of, reset, reset_of};
use crate::play::at;
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
    /// Another connection brings it (decision 148).
    HandedOver,
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
    /// The largest object that there was when the publisher agreed.
    pub(crate) largest: Option<Location>,
    /// Updates that it was sent already.
    pub(crate) updates: u64,
    /// What nobody has read for long comes to its end.
    pub(crate) leaves: bool,
    /// It may go from one connection to another.
    pub(crate) hands: Option<Hands>,
    /// What was heard of it already.
    pub(crate) heard: Option<Told>,
}

impl From<track::Producer> for Target {
    /// All of it is wanted.
    fn from(track: track::Producer) -> Self {
        let (before, largest, hands, heard) = (None, None, None, None);
        Self { track, relayed: false, before, largest, updates: 0, leaves: false, hands, heard }
    }
}

/// Writes everything that comes for a subscription of ours to the track of this name to its end. `offered`: by whom, if not we
/// have asked.
pub(crate) async fn take(
    link: Arc<Link>,
    (id, name): (RequestId, moqt::TrackName),
    mut told: mpsc::UnboundedReceiver<Told>,
    mut target: Target,
    offered: Option<Viewer>,
) -> Taken {
    let Some(flow) = flow_of(&link, &name) else { return Taken::Refused };
    let track = target.track.clone().checked();
    let mut streams = FuturesUnordered::new();
    let mut past: FuturesUnordered<Past> = FuturesUnordered::new();
    let mut end = None;
    let (mut hands, mut heard) = (target.hands.take(), target.heard.take());
    let mut rest = Rest::new(target.largest.map(|largest| largest.group));
    // Who follows one that was lost may have begun anew: a client that publishes into an open namespace numbers by itself, whichever node it is at.
    let follows = hands.as_ref().is_some_and(Hands::follows_who_is_lost);
    let oldest = track.consume().oldest_group().filter(|_| follows);
    let begins_anew = |group: u64| oldest.is_some_and(|oldest| group < oldest);
    let mut anew = target.largest.is_some_and(|largest| begins_anew(largest.group));
    if let Some(hands) = &mut hands
        && hands.takes_over()
    {
        // What began at another connection goes on here: whoever reads it has the beginning of the group before that lets go.
        match target.before.filter(|_| target.relayed && track.consume().is_read()) {
            Some(largest) => {
                target.before = None;
                past.push(before(&link, &name, largest, &track));
            }
            None => hands.tell(target.largest.map(|largest| largest.group)),
        }
    }
    let mut wanted = Wants::new(target);
    // Once the connection is lost nothing more comes here; whoever brings it next is waited for (decision 160).
    let (mut lost, hands_on) = (false, hands.is_some());
    let mut gone = pin!(async {
        match hands_on {
            true => drop(link.connection.closed().await),
            false => std::future::pending().await,
        }
    });
    // When it is left, if nothing more has begun by then.
    let mut left: Option<Instant> = None;
    let taken = loop {
        if anew {
            // Who waits for what comes behind the old numbers would wait for ever.
            track.end(Close::SourceLost);
            break Taken::Refused;
        }
        if lost && rest.is_given() && streams.is_empty() {
            break Taken::HandedOver;
        }
        left = match rest.is_over() && past.is_empty() {
            true => left.or_else(|| Some(Instant::now() + UPLINK_LATE)),
            false => None,
        };
        let given = async {
            match &hands {
                Some(hands) if !rest.is_given() => hands.given().await,
                _ => std::future::pending().await,
            }
        };
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
                    past.push(before(&link, &name, largest, &track));
                    continue;
                }
                Wanted::Leave => break Taken::Unread,
                // Another publisher of it says so, or an answer about its past.
                Wanted::Nothing => break Taken::Malformed,
            },
            told = hear(&mut heard, &mut told) => match told {
                Some(Told::Data(data)) => {
                    let DataHeader::Subgroup(SubgroupHeader { group, .. }) = data.header else {
                        continue;
                    };
                    anew = begins_anew(group);
                    if rest.takes(group) {
                        rest.opens(group);
                        let stream = subgroup(&link, data, &track, &flow);
                        streams.push(stream.map(move |result| (group, result)));
                    }
                    continue;
                }
                Some(Told::Datagram(queued)) => {
                    let Some(datagram) = queued.take() else { continue };
                    anew = begins_anew(datagram.group);
                    if !rest.takes(datagram.group) {
                        continue;
                    }
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
            Some((group, result)) = streams.next() => {
                rest.closes(group);
                result.err()
            }
            Some((before, came)) = past.next() => {
                wanted.came(before, came);
                if let Some(hands) = &mut hands {
                    hands.tell(Some(before.group));
                }
                continue;
            }
            largest = given => {
                rest.comes_elsewhere(largest);
                continue;
            }
            () = at_last(left) => break Taken::HandedOver,
            () = &mut gone, if !lost => {
                lost = true;
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

/// What is heard of it next.
async fn hear(heard: &mut Option<Told>, told: &mut mpsc::UnboundedReceiver<Told>) -> Option<Told> {
    match heard.take() {
        Some(heard) => Some(heard),
        None => told.recv().await,
    }
}

async fn at_last(left: Option<Instant>) {
    match left {
        Some(left) => sleep_until(left).await,
        None => std::future::pending().await,
    }
}

/// The largest object that the publisher knows is the largest here too (draft-18 §10.2.5: a relay does not
/// lie about it).
pub(crate) fn saw(track: &track::Producer, parameters: &Parameters) {
    if let Some(largest) = parameters.largest {
        track.saw(at(largest));
    }
}

/// Says up to where it was asked for, what has come, and when it may be asked for again, if that is not all.
type Past = Pin<Box<dyn Future<Output = (Location, (Begun, Option<Duration>))> + Send>>;

/// What was there before, up to this object, of its group.
fn before(
    link: &Arc<Link>,
    name: &moqt::TrackName,
    largest: Location,
    track: &track::Producer,
) -> Past {
    let (link, name, track) = (link.clone(), name.clone(), track.clone());
    Box::pin(async move { (largest, upstream::begun(&link, name, largest, track).await) })
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
