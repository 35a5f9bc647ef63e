//! The past of a track, from a server.

use bytes::{Bytes, BytesMut};
use moqt::data::{FetchItem, FetchReader, Missing};
use moqt::session::{Command, DataHeader, Event};
use moqt::{
    Answer, Fetch, FetchOk, Filter, GroupOrder, Location, Parameters, Properties, Range, Request,
    RequestCode, RequestError, RequestId,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Denial, Remote};
use crate::limits::{
    FETCH_MAX, FETCHED_OBJECT_BYTES_MAX, HURRY_MAX, PAST_PRIORITY, SUBSCRIBE_ANSWER_MAX,
};
use crate::link::{DataStream, Told};
use crate::publish::Denied;
use crate::transport::Read;
use crate::upstream::{Asked, PRIORITY};

/// What comes of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An object.
    Object {
        /// Where.
        at: Location,
        /// As its publisher gave them.
        properties: Properties,
        /// All of it.
        payload: Bytes,
    },
    /// From what came before up to and with this location there is nothing, or nobody knows.
    Gap {
        /// Why.
        missing: Missing,
        /// The last location of it.
        end: Location,
    },
}

/// How a range is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// By a FETCH, before what is live or not.
    Fetch { hurries: bool },
    /// As the past of a subscription.
    Fill,
}

/// A range that comes. Dropped, it is cancelled.
pub struct Fetched {
    /// What the server said of it.
    pub ok: FetchOk,
    _asked: Asked,
    _told: mpsc::UnboundedReceiver<Told>,
    data: DataStream,
    reader: FetchReader,
    chunk: Bytes,
    object: Option<(Location, Properties, BytesMut)>,
}

impl Remote {
    /// Asks for a range of a track.
    pub async fn fetch(
        &self,
        name: &str,
        range: Range,
        order: GroupOrder,
    ) -> Result<Fetched, Denial> {
        // Decision 99: it may be the beginning of what is live, and hurries a little, now and then.
        let hurries = self.link.may_hurry();
        let parameters = Parameters {
            group_order: Some(order),
            subscriber_priority: hurries.then_some(PAST_PRIORITY),
            ..Parameters::default()
        };
        let fetch = Fetch::Standalone { track: self.name(name)?, range };
        let request = Request::Fetch { fetch, parameters };
        let asked = self.link.request(request).map_err(|_| Denial::Misuse)?;
        self.past(asked, Asks::Fetch { hurries }, order, range).await
    }

    /// Asks for the same as the past of a subscription, which gets nothing else: in drafts that have it so (draft-21 §3.4),
    /// what is said of its end is what was asked for.
    pub async fn fill(
        &self,
        name: &str,
        range: Range,
        order: GroupOrder,
    ) -> Result<Fetched, Denial> {
        let past = Parameters { group_order: Some(order), ..Parameters::default() };
        let parameters = Parameters {
            filter: Some(Filter::Within(range)),
            fill: Some(Box::new(past)),
            ..Parameters::default()
        };
        let track = self.name(name)?;
        let request = Request::Subscribe { track, parameters };
        let asked = self.link.request(request).map_err(|_| Denial::Misuse)?;
        self.past(asked, Asks::Fill, order, range).await
    }

    /// What a moment did not do is as urgent as what is live from then on.
    fn hurry_no_more(&self, id: RequestId) {
        let link = self.link.clone();
        self.link.run(async move {
            tokio::time::sleep(HURRY_MAX).await;
            let subscriber_priority = Some(PRIORITY);
            let parameters = Parameters { subscriber_priority, ..Parameters::default() };
            // Without effect, if it is over.
            link.command(Command::Update { id, parameters });
        });
    }

    fn name(&self, name: &str) -> Result<moqt::TrackName, Denial> {
        let bytes = Bytes::copy_from_slice(name.as_bytes());
        moqt::TrackName::new(self.namespace.clone(), bytes).map_err(|_| Denial::Misuse)
    }

    /// Waits for the answer and for the stream of the past, which come in any order.
    async fn past(
        &self,
        (id, mut told): (RequestId, mpsc::UnboundedReceiver<Told>),
        asks: Asks,
        order: GroupOrder,
        Range { start, end }: Range,
    ) -> Result<Fetched, Denial> {
        let asked = Asked::new(&self.link, id);
        let (mut ok, mut data) = (None, None);
        // A relay may ask its publisher, for so long.
        let until = Instant::now() + FETCH_MAX + SUBSCRIBE_ANSWER_MAX;
        loop {
            match timeout_at(until, told.recv()).await.ok().flatten() {
                Some(Told::Event(Event::Answered { answer, .. })) => match answer {
                    Answer::FetchOk(said) => {
                        if asks == (Asks::Fetch { hurries: true }) {
                            self.hurry_no_more(id);
                        }
                        ok = Some(said);
                    }
                    // draft-21 §3.4: then there is no stream.
                    Answer::Ok { parameters, .. }
                        if asks == Asks::Fill
                            && parameters.largest.is_none_or(|largest| largest < start) =>
                    {
                        let words = "the range starts behind the largest object";
                        let error = RequestError::new(RequestCode::InvalidRange, words);
                        return Err(Denial::Answered(error));
                    }
                    Answer::Ok { parameters, properties } => {
                        ok = Some(FetchOk { end_of_track: false, end, parameters, properties });
                    }
                    Answer::Error(error) => return Err(Denied::Answered(error).into()),
                },
                Some(Told::Data(stream)) if matches!(stream.header, DataHeader::Fetch(_)) => {
                    data = Some(stream);
                }
                Some(Told::Event(Event::Cancelled { .. })) | None => return Err(Denial::Over),
                Some(_) => {}
            }
            match (ok.take(), data.take()) {
                (Some(ok), Some(mut data)) => {
                    let reader = FetchReader::new(self.link.version, order);
                    let chunk = std::mem::take(&mut data.first);
                    let (_asked, _told, object) = (asked, told, None);
                    return Ok(Fetched { ok, _asked, _told, data, reader, chunk, object });
                }
                (said, stream) => (ok, data) = (said, stream),
            }
        }
    }
}

impl Fetched {
    /// The next item; none when the range is complete, and words if it never will be.
    pub async fn next(&mut self) -> Result<Option<Item>, String> {
        loop {
            match self.reader.read(&mut self.chunk).map_err(|error| error.to_string())? {
                Some(FetchItem::Object(head)) => {
                    if head.payload_length > FETCHED_OBJECT_BYTES_MAX {
                        return Err("an object of the past is too large".to_owned());
                    }
                    let empty = head.payload_length == 0;
                    self.object = Some((head.location, head.properties, BytesMut::new()));
                    if empty {
                        return Ok(self.whole());
                    }
                }
                Some(FetchItem::Payload { bytes, last }) => {
                    if let Some((.., payload)) = &mut self.object {
                        payload.extend_from_slice(&bytes);
                    }
                    if last {
                        return Ok(self.whole());
                    }
                }
                Some(FetchItem::Gap { missing, end }) => {
                    return Ok(Some(Item::Gap { missing, end }));
                }
                // Each object may be waited for elsewhere, for so long.
                None => match timeout(2 * FETCH_MAX, self.data.stream.read()).await {
                    Err(_) => return Err("the server says nothing more of the past".to_owned()),
                    Ok(read) => match read {
                        Read::Chunk(bytes) => self.chunk = bytes,
                        Read::Fin => {
                            self.reader.finish().map_err(|error| error.to_string())?;
                            return Ok(None);
                        }
                        Read::Reset(code) => {
                            return Err(format!("the server broke off ({code:#x})"));
                        }
                        Read::Lost => return Err("the connection ended".to_owned()),
                    },
                },
            }
        }
    }

    fn whole(&mut self) -> Option<Item> {
        let (at, properties, payload) = self.object.take()?;
        Some(Item::Object { at, properties, payload: payload.freeze() })
    }
}
