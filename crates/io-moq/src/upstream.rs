//! The past of a relayed track, from its publisher: one FETCH for all who ask for the same range.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moqt::data::{FetchItem, FetchObject, FetchReader, Missing, Via};
use moqt::session::{Command, Event};
use moqt::{
    Answer, DataError, Fetch, GroupOrder, Location, Namespace, Parameters, Range, Request,
    RequestId, ResetCode,
};
use spine::{Absence, FetchProducer, FetchRequest, Header, Order, Payload};
use tokio::sync::mpsc;

use crate::clock;
use crate::limits::FETCH_MAX;
use crate::link::{DataStream, Link, Told};
use crate::transport::Read;

/// How often it is looked whether anybody still wants the answer, while nobody reads it.
const LOOK: Duration = Duration::from_secs(1);

/// Asks the publisher, and answers with what it says. A publisher that does not know is passed over: the next
/// responder is asked then.
pub(crate) async fn fetch(link: Arc<Link>, namespace: Namespace, request: FetchRequest) {
    let name = Bytes::copy_from_slice(request.name().as_bytes());
    let Ok(track) = moqt::TrackName::new(namespace, name) else { return };
    let (start, end) = request.range().into_inner();
    let range = Range {
        start: Location::new(start.group, start.object),
        end: Location::new(end.group, end.object),
    };
    let order = match request.order() {
        Order::Ascending => GroupOrder::Ascending,
        Order::Descending => GroupOrder::Descending,
    };
    let parameters = Parameters { group_order: Some(order), ..Parameters::default() };
    let asked = Request::Fetch { fetch: Fetch::Standalone { track, range }, parameters };
    let Ok((id, mut told)) = link.request(asked) else { return };
    let _asked = Asked::new(&link, id);
    let waited = tokio::time::timeout(FETCH_MAX, stream_of(&mut told));
    let Ok(Some((covered, data))) = waited.await else { return };
    let groups = (start.group, end.group);
    let answer = request.accept();
    let mut answering = Answering { answer, order, groups, covered, at: None, object: None };
    match answering.run(&link, data).await {
        // What the publisher did not speak of is behind its largest object.
        Ok(()) => answering.answer.end(),
        Err(Broken::Malformed) => answering.answer.malformed(),
        Err(Broken::Off) => {}
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

/// What the answer covers, and its stream; they come in any order.
async fn stream_of(told: &mut mpsc::UnboundedReceiver<Told>) -> Option<(Location, DataStream)> {
    let (mut covered, mut data) = (None, None);
    loop {
        match told.recv().await? {
            Told::Event(Event::Answered { answer: Answer::FetchOk(ok), .. }) => {
                covered = Some(ok.end);
            }
            Told::Event(Event::Answered { .. } | Event::Cancelled { .. }) => return None,
            Told::Data(stream) => data = Some(stream),
            Told::Event(_) | Told::Datagram(_) => {}
        }
        if let (Some(covered), true) = (covered, data.is_some()) {
            return data.map(|data| (covered, data));
        }
    }
}

/// The rest can't be told.
enum Broken {
    /// It does not come, or nobody wants it.
    Off,
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

struct Answering {
    answer: FetchProducer,
    order: GroupOrder,
    /// First and last group that were asked for.
    groups: (u64, u64),
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
                data.stream.stop(link.fault(error));
                Broken::from(error)
            })? {
                if let FetchItem::Object(object) = &item {
                    link.log.fetch_object("parsed", stream, object);
                }
                self.item(item).await?;
            }
            match data.stream.read().await {
                Read::Chunk(bytes) => chunk = bytes,
                Read::Fin => {
                    return reader.finish().map_err(|error| {
                        link.fault(error.into());
                        Broken::Off
                    });
                }
                Read::Reset(_) | Read::Lost => return Err(Broken::Off),
            }
        }
    }

    async fn item(&mut self, item: FetchItem) -> Result<(), Broken> {
        match item {
            FetchItem::Object(head) => {
                self.room().await?;
                let empty = head.payload_length == 0;
                self.object = Some((head, Vec::new()));
                if empty {
                    self.object_is_whole();
                }
            }
            FetchItem::Payload { bytes, last } => {
                if let Some((_, chunks)) = &mut self.object {
                    chunks.push(self.answer.budget().payload(bytes));
                }
                if last {
                    self.object_is_whole();
                }
            }
            FetchItem::Gap { missing, end } => self.gap(missing, end)?,
        }
        Ok(())
    }

    fn object_is_whole(&mut self) {
        let Some((head, chunks)) = self.object.take() else { return };
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
        self.answer.object(head.location.group, header, chunks);
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
        let (from, to) = match self.order {
            GroupOrder::Ascending => {
                let from = self.at.map_or(self.groups.0, |at| at.group.saturating_add(1));
                (from, if whole { Some(end.group) } else { end.group.checked_sub(1) })
            }
            GroupOrder::Descending => {
                let to = self.at.map_or(Some(self.groups.1), |at| at.group.checked_sub(1));
                (if whole { end.group } else { end.group.saturating_add(1) }, to)
            }
        };
        self.at = Some(end);
        if let Some(to) = to.filter(|to| !begun && from <= *to) {
            self.answer.gap(from, to, why);
        }
        Ok(())
    }

    /// Waits until somebody reads.
    async fn room(&mut self) -> Result<(), Broken> {
        loop {
            let room = poll_fn(|cx| self.answer.poll_room(cx));
            if tokio::time::timeout(LOOK, room).await.is_ok() {
                return Ok(());
            }
            if !self.answer.is_wanted() {
                return Err(Broken::Off);
            }
        }
    }
}
