//! The past of a relayed track, from its publisher: one FETCH for all who ask for the same range, and one of the group that was
//! under way when we subscribed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moqt::data::{FetchItem, FetchObject, FetchReader, Missing, Via};
use moqt::session::{Command, Event};
use moqt::{
    Answer, DataError, Fetch, GroupOrder, Location, Namespace, Parameters, Range, Request,
    RequestCode, RequestError, RequestId, ResetCode,
};
use spine::group::SubgroupProducer;
use spine::{
    Absence, Close, FetchProducer, FetchRequest, Header, Order, Payload, WriteError, track,
};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::clock;
use crate::limits::{
    FETCH_MAX, FETCH_UNREAD_MAX, FETCHED_OBJECT_BYTES_MAX, HURRY_MAX, PAST_PRIORITY,
};
use crate::link::{DataStream, Link, Told};
use crate::publish::is_left_behind;
use crate::transport::Read;

/// What is asked for without a word is as urgent as this (draft-18 §10.2.6).
pub(crate) const PRIORITY: u8 = 128;

/// Asks the publisher, and answers with what it says. A publisher that does not know is passed over: the next
/// responder is asked then. One that goes away, or is lost before it answers, knows it perhaps: the request comes back.
pub(crate) async fn fetch(
    link: Arc<Link>,
    namespace: Namespace,
    request: FetchRequest,
) -> Option<FetchRequest> {
    let name = Bytes::copy_from_slice(request.name().as_bytes());
    let track = moqt::TrackName::new(namespace, name).ok()?;
    let (start, end) = request.range().into_inner();
    let range = Range {
        start: Location::new(start.group, start.object),
        end: Location::new(end.group, end.object),
    };
    let order = match request.order() {
        Order::Ascending => GroupOrder::Ascending,
        Order::Descending => GroupOrder::Descending,
    };
    let (_asked, covered, data) = match ask(&link, track, range, (order, None)).await {
        Ok(asked) => asked,
        Err(Unanswered::LeftBehind) => return Some(request),
        Err(Unanswered::Refused(_)) => return None,
    };
    let into = To::Answer(request.accept());
    let mut answering = Answering { into, order, range, covered, at: None, object: None };
    let ended = answering.run(&link, data).await;
    let To::Answer(answer) = answering.into else { return None };
    match ended {
        // What the publisher did not speak of is behind its largest object.
        Ok(()) => answer.end(),
        Err(Broken::Malformed) => answer.malformed(),
        Err(Broken::Unread) => answer.leave_off(),
        Err(Broken::Off) => {}
    }
    None
}

/// Subgroups of a group that had begun before we subscribed. They are open for as long as these are kept: what comes live may go
/// on in them.
pub(crate) type Begun = BTreeMap<u64, SubgroupProducer>;

/// Brings what the publisher has written of the group of this object, up to it, into the track: it was there before we
/// subscribed. What has come of it; and if it is not all, when it may be asked for again, which may be never.
///
/// Who reads on from here has it before what is live, if it is little, a catalog perhaps, and the first one. Of several levels it is
/// as much as there is of a group of each: that comes with what all that is live leaves of the path.
pub(crate) async fn begun(
    link: &Arc<Link>,
    name: moqt::TrackName,
    largest: Location,
    track: track::Producer,
) -> (Begun, Option<Duration>) {
    let range = Range { start: Location::new(largest.group, 0), end: largest };
    let order = GroupOrder::Ascending;
    let hurries = link.may_hurry();
    let priority = hurries.then_some(PAST_PRIORITY);
    let (asked, covered, data) = match ask(link, name, range, (order, priority)).await {
        Ok(asked) => asked,
        Err(Unanswered::Refused(again)) => return (Begun::new(), again),
        Err(Unanswered::LeftBehind) => return (Begun::new(), Some(Duration::ZERO)),
    };
    let into = To::Track { track: track.clone(), group: largest.group, open: Begun::new() };
    let mut answering = Answering { into, order, range, covered, at: None, object: None };
    let ended = {
        let mut answer = std::pin::pin!(answering.run(link, data));
        match timeout(HURRY_MAX, &mut answer).await {
            Ok(ended) => ended,
            Err(_) => {
                if hurries {
                    let (_, id) = asked.request();
                    let subscriber_priority = Some(PRIORITY);
                    let parameters = Parameters { subscriber_priority, ..Parameters::default() };
                    link.command(Command::Update { id, parameters });
                }
                answer.await
            }
        }
    };
    let again = match ended {
        Ok(()) => None,
        Err(Broken::Malformed) => {
            track.end(Close::Malformed);
            None
        }
        Err(Broken::Off | Broken::Unread) => Some(Duration::ZERO),
    };
    match answering.into {
        To::Track { open, .. } => (open, again),
        To::Answer(_) => (Begun::new(), again),
    }
}

/// Why a range does not come.
enum Unanswered {
    /// When it may be asked for again; none: never.
    Refused(Option<Duration>),
    /// The publisher goes away (draft-18 §10.4), or is lost.
    LeftBehind,
}

/// Asks for a range; what the answer covers, and its stream.
async fn ask(
    link: &Arc<Link>,
    track: moqt::TrackName,
    range: Range,
    (order, subscriber_priority): (GroupOrder, Option<u8>),
) -> Result<(Asked, Location, DataStream), Unanswered> {
    // Not now: it was not said that it is for ever.
    let not_now = || match is_left_behind(link) {
        true => Unanswered::LeftBehind,
        false => Unanswered::Refused(Some(Duration::ZERO)),
    };
    let parameters =
        Parameters { group_order: Some(order), subscriber_priority, ..Parameters::default() };
    let request = Request::Fetch { fetch: Fetch::Standalone { track, range }, parameters };
    let (id, mut told) = link.request(request).map_err(|_| not_now())?;
    let asked = Asked::new(link, id);
    let waited = async {
        tokio::select! {
            biased;
            stream = stream_of(&mut told) => stream,
            _ = link.connection.closed() => None,
        }
    };
    match timeout(FETCH_MAX, waited).await {
        Ok(Some(Ok((covered, data)))) => Ok((asked, covered, data)),
        Ok(Some(Err(error))) if error.code == RequestCode::GoingAway => Err(Unanswered::LeftBehind),
        Ok(Some(Err(error))) => Err(Unanswered::Refused(error.retry_after)),
        Ok(None) | Err(_) => Err(not_now()),
    }
}

/// Where what comes goes.
enum To {
    /// To those who have asked for it.
    Answer(FetchProducer),
    /// Into the track, of which this group is meant; with the subgroups that are there then.
    Track { track: track::Producer, group: u64, open: Begun },
}

impl To {
    fn payload(&self, bytes: Bytes) -> Payload {
        match self {
            Self::Answer(answer) => answer.budget().payload(bytes),
            Self::Track { track, .. } => track.budget().payload(bytes),
        }
    }

    fn object(
        &mut self,
        group: u64,
        header: Header,
        mut chunks: Vec<Payload>,
    ) -> Result<(), Broken> {
        let (track, open) = match self {
            Self::Answer(answer) => {
                answer.object(group, header, chunks);
                return Ok(());
            }
            Self::Track { group: meant, .. } if *meant != group => return Ok(()),
            Self::Track { track, open, .. } => (track, open),
        };
        let (now, header) = (clock::now(), Header { first: header.id == 0, ..header });
        let begun = track.group(group, now)?;
        match header.via {
            spine::Via::Datagram => {
                let payload = match chunks.len() {
                    1 => chunks.remove(0),
                    _ => {
                        let all: Vec<Bytes> = chunks.into_iter().map(Payload::into_bytes).collect();
                        track.budget().payload(all.concat())
                    }
                };
                begun.datagram(header, payload)?;
            }
            spine::Via::Subgroup(id) => {
                let subgroup = match open.entry(id) {
                    Entry::Occupied(there) => there.into_mut(),
                    Entry::Vacant(place) => place.insert(begun.subgroup(id, now)?),
                };
                subgroup.write(header, chunks)?;
            }
        }
        Ok(())
    }
}

impl From<WriteError> for Broken {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Malformed(_) => Self::Malformed,
            _ => Self::Off,
        }
    }
}

/// Cancels what is not over when it is dropped.
pub(crate) struct Asked {
    link: Arc<Link>,
    id: RequestId,
}

impl Asked {
    pub(crate) fn new(link: &Arc<Link>, id: RequestId) -> Self {
        Self { link: link.clone(), id }
    }

    pub(crate) fn request(&self) -> (Arc<Link>, RequestId) {
        (self.link.clone(), self.id)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.link.disown(self.id);
        self.link.command(Command::Cancel { id: self.id, code: ResetCode::Cancelled });
    }
}

/// What the answer covers, and its stream; they come in any order. Or what he says who refuses it.
async fn stream_of(
    told: &mut mpsc::UnboundedReceiver<Told>,
) -> Option<Result<(Location, DataStream), RequestError>> {
    let (mut covered, mut data) = (None, None);
    loop {
        match told.recv().await? {
            Told::Event(Event::Answered { answer: Answer::FetchOk(ok), .. }) => {
                covered = Some(ok.end);
            }
            Told::Event(Event::Answered { answer: Answer::Error(error), .. }) => {
                return Some(Err(error));
            }
            Told::Event(Event::Answered { .. } | Event::Cancelled { .. }) => return None,
            Told::Data(stream) => data = Some(stream),
            Told::Event(_) | Told::Datagram(_) => {}
        }
        match (covered, data.take()) {
            (Some(covered), Some(stream)) => return Some(Ok((covered, stream))),
            (_, stream) => data = stream,
        }
    }
}

/// The rest can't be told.
enum Broken {
    /// It does not come, or nobody wants it.
    Off,
    /// Nobody reads on.
    Unread,
    /// What came contradicts itself (draft-18 §2.4.2).
    Malformed,
}

impl From<DataError> for Broken {
    fn from(error: DataError) -> Self {
        match error {
            DataError::MalformedTrack(_) => Self::Malformed,
            DataError::Session(_) | DataError::Limit(..) => Self::Off,
        }
    }
}

/// What the stream is stopped with. What an end of a range means to others, and what is behind it, isn't sure
/// (moq-wg/moq-transport#1861): such a stream is given up, and neither the session nor the track with what is live of it.
fn fault(link: &Link, reader: &FetchReader, error: DataError) -> (u64, Broken) {
    match error {
        DataError::Session(_) | DataError::MalformedTrack(_) if reader.has_ranges() => {
            (link.version.reset_code(ResetCode::Cancelled), Broken::Off)
        }
        error => (link.fault(error), error.into()),
    }
}

struct Answering {
    into: To,
    order: GroupOrder,
    /// What was asked for.
    range: Range,
    /// The publisher speaks of nothing behind this.
    covered: Location,
    /// The last location that was spoken of.
    at: Option<Location>,
    object: Option<(FetchObject, Vec<Payload>)>,
}

impl Answering {
    async fn run(&mut self, link: &Link, mut data: DataStream) -> Result<(), Broken> {
        let mut reader = FetchReader::new(link.version, self.order);
        let (mut chunk, stream) = (std::mem::take(&mut data.first), data.stream.id());
        loop {
            while let Some(item) = reader.read(&mut chunk).map_err(|error| {
                let (code, broken) = fault(link, &reader, error);
                data.stream.stop(code);
                broken
            })? {
                if let FetchItem::Object(object) = &item {
                    link.log.fetch_object("parsed", stream, object);
                }
                self.item(item).await?;
            }
            // Who goes silent in the middle has no more of it.
            match timeout(FETCH_MAX, data.stream.read()).await.unwrap_or(Read::Lost) {
                Read::Chunk(bytes) => chunk = bytes,
                Read::Fin => {
                    return reader.finish().map_err(|error| fault(link, &reader, error.into()).1);
                }
                Read::Reset(_) | Read::Lost => return Err(Broken::Off),
            }
        }
    }

    async fn item(&mut self, item: FetchItem) -> Result<(), Broken> {
        match item {
            FetchItem::Object(head) => {
                let Range { start, end } = self.range;
                // Behind an id that has no next nothing could be asked for.
                let asked = (start..=end).contains(&head.location)
                    && head.location.object <= spine::limits::ID_MAX;
                if head.payload_length > FETCHED_OBJECT_BYTES_MAX || !asked {
                    return Err(Broken::Off);
                }
                self.room().await?;
                let empty = head.payload_length == 0;
                self.object = Some((head, Vec::new()));
                if empty {
                    self.object_is_whole()?;
                }
            }
            FetchItem::Payload { bytes, last } => {
                if let Some((_, chunks)) = &mut self.object {
                    chunks.push(self.into.payload(bytes));
                }
                if last {
                    self.object_is_whole()?;
                }
            }
            FetchItem::Gap { missing, end } => self.gap(missing, end)?,
        }
        Ok(())
    }

    fn object_is_whole(&mut self) -> Result<(), Broken> {
        let Some((head, chunks)) = self.object.take() else { return Ok(()) };
        let via = match head.via {
            Via::Subgroup(id) => spine::Via::Subgroup(id),
            Via::Datagram => spine::Via::Datagram,
        };
        let header = Header {
            via,
            priority: head.priority,
            properties: head.properties.as_bytes().clone(),
            ..Header::new(head.location.object, clock::now())
        };
        self.at = Some(head.location);
        self.into.object(head.location.group, header, chunks)
    }

    /// A gap is told of whole groups. One in the middle of a group that does not exist needs no word; one that
    /// is unknown can't be told, and so nothing behind it is.
    fn gap(&mut self, missing: Missing, end: Location) -> Result<(), Broken> {
        let why = match missing {
            Missing::NonExistent => Absence::Missing,
            // Not in time there; somebody else may know it.
            Missing::Unknown | Missing::TimedOut => Absence::Unknown,
        };
        let whole = end.object == Range::WHOLE_GROUP || end >= self.covered;
        let begun = self.at.is_some_and(|at| at.group == end.group);
        if !whole && missing != Missing::NonExistent {
            return Err(Broken::Off);
        }
        if let (true, Absence::Unknown, To::Answer(answer)) = (begun, why, &mut self.into) {
            // The rest of a group of which something came.
            answer.gap(end.group, end.group, why);
        }
        let (from, to) = match self.order {
            GroupOrder::Ascending => {
                let from = self.at.map_or(self.range.start.group, |at| at.group.saturating_add(1));
                (from, if whole { Some(end.group) } else { end.group.checked_sub(1) })
            }
            GroupOrder::Descending => {
                let to = self.at.map_or(Some(self.range.end.group), |at| at.group.checked_sub(1));
                (if whole { end.group } else { end.group.saturating_add(1) }, to)
            }
        };
        self.at = Some(end);
        if let (Some(to), To::Answer(answer)) =
            (to.filter(|to| !begun && from <= *to), &mut self.into)
        {
            answer.gap(from, to, why);
        }
        Ok(())
    }

    /// Waits until somebody reads. Not for long: what comes meanwhile is with QUIC, where it holds room that all of the connection
    /// shares.
    async fn room(&mut self) -> Result<(), Broken> {
        // A track keeps what comes, within the bounds of its group.
        let To::Answer(answer) = &mut self.into else { return Ok(()) };
        match timeout(FETCH_UNREAD_MAX, poll_fn(|cx| answer.poll_room(cx))).await {
            Ok(()) => Ok(()),
            Err(_) if answer.is_wanted() => Err(Broken::Unread),
            Err(_) => Err(Broken::Off),
        }
    }
}
