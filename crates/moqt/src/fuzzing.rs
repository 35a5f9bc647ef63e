//! The fuzz targets in `fuzz/` as functions, so that the committed seeds are tests too. Each panics on a
//! broken promise.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use sansio::{Core, Poll};

use crate::data::{
    Datagram, FetchItem, FetchObject, FetchReader, FetchWriter, Missing, ObjectHead, Opening,
    OpeningReader, SubgroupHeader, SubgroupItem, SubgroupReader, SubgroupWriter,
};
use crate::describe::Describer;
use crate::error::DataError;
use crate::limits;
use crate::location::{GroupOrder, Location, Range};
use crate::message::MessageReader;
use crate::message::first::First;
use crate::message::goaway::GoAway;
use crate::message::publish::PublishDone;
use crate::message::response::{RequestOk, check_about};
use crate::message::setup::Setup;
use crate::message::shared::{NamespaceCancel, decode_maximum, encode_maximum};
use crate::message::subscribe::SubscribeOk;
use crate::message::update::{Update, decode_notify, encode_notify};
use crate::message::{Message, TooLong, frame, namespace};
use crate::name::{Namespace, TrackName};
use crate::parameters::{Parameters, Scope};
use crate::properties::Properties;
use crate::request::{Answer, Done, Fetch, FetchOk, Request, RequestError, RequestId};
use crate::route::Node;
use crate::session::{
    Command, Config, DataHeader, DataId, Event, Input, Output, Session, StreamId,
};
use crate::version::{Requests, Version};
use crate::wire::Body;
use crate::{DoneCode, RequestCode, ResetCode};

/// What answers are about, where they say so.
const ABOUT: RequestId = RequestId(1);

/// One control message of a draft. The first byte says of what type it is taken. Promise: what can be read
/// can be written, and means the same then.
pub fn control(v: Version, data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    let body = Body::new(v.row().integers, Bytes::copy_from_slice(rest));
    // Reads; writes and reads again. An answer names what it is about, where the draft has it so.
    fn round<T: PartialEq + std::fmt::Debug, E: std::fmt::Debug>(
        v: Version,
        body: Body,
        about: bool,
        decode: impl Fn(Message, Body) -> Result<T, E>,
        kind: Message,
        encode: impl Fn(&T) -> Result<Bytes, TooLong>,
    ) where
        Result<T, E>: PartialEq,
    {
        let Ok(value) = decode(kind, body) else { return };
        // What came in one message may be too long only if it was not written in the shortest way.
        let Ok(bytes) = encode(&value) else { return };
        let mut reader = MessageReader::new(v);
        reader.push(&bytes);
        let message = reader.next();
        assert!(reader.held() == 0);
        let Some((kind, mut body)) = message else { panic!("half a message is written") };
        if about {
            let named = check_about(v, RequestId(0), &mut body);
            let shared = v.row().requests == Requests::OnControl;
            assert_eq!(named, Ok(shared.then_some(ABOUT)));
        }
        assert_eq!(decode(kind, body), Ok(value));
    }
    let message = v.message_of(u64::from(kind));
    // Who only looks on can say something of anything.
    if let Ok(bytes) = frame(v, message, |out| out.bytes(rest)) {
        assert_eq!(Describer::new(v).read(&bytes).len(), 1);
    }
    match (kind, message) {
        (0x00, _) => {
            let decode = |_, body| Setup::decode(v, body);
            round(v, body, false, decode, message, |setup| setup.encode(v, true));
        }
        (_, Message::RequestUpdate) => {
            let decode = |_, mut body: Body| {
                let (id, _) = Update::ids(v, &mut body)?;
                Update::decode(v, Scope::UpdateOfSubscription, id, body)
            };
            round(v, body, false, decode, message, |update| update.encode(v, ABOUT));
        }
        (_, Message::SubscribeOk) => {
            let decode = |_, body| SubscribeOk::decode(v, body);
            round(v, body, true, decode, message, |ok| ok.encode(v, ABOUT));
        }
        (_, Message::RequestError) => {
            let decode = |_, body| RequestError::decode(v, body);
            round(v, body, true, decode, message, |error| error.encode(v, ABOUT));
        }
        (_, Message::RequestOk) => {
            let decode = |_, body| RequestOk::decode(v, Scope::TrackStatusOk, body);
            round(v, body, true, decode, message, |ok| ok.encode(v, Message::RequestOk, ABOUT));
        }
        (_, Message::PublishOk) => {
            let decode = |_, body| RequestOk::decode(v, Scope::PublishOk, body);
            round(v, body, true, decode, message, |ok| ok.encode(v, Message::PublishOk, ABOUT));
        }
        (_, Message::Namespace) => {
            let decode = |_, body| namespace::decode_suffix(body);
            round(v, body, false, decode, message, |it| namespace::encode_suffix(v, false, it));
            // The same between nodes.
            let body = Body::new(v.row().integers, Bytes::copy_from_slice(rest));
            let decode = |_, body| namespace::decode_routed(body);
            let encode = |(suffix, route): &_| namespace::encode_routed(v, suffix, route);
            round(v, body, false, decode, message, encode);
        }
        (_, Message::PublishDone) => {
            let decode = |_, body| PublishDone::decode(v, body);
            round(v, body, true, decode, message, |done| done.encode(v, ABOUT));
        }
        (_, Message::PublishBlocked) => {
            let decode = |_, body| namespace::decode_blocked(body);
            round(v, body, false, decode, message, |it| namespace::encode_blocked(v, it));
        }
        (_, Message::PublishNamespaceCancel) => {
            let decode = |_, body| NamespaceCancel::decode(v, body);
            round(v, body, true, decode, message, |it| it.encode(v, ABOUT));
        }
        (_, Message::PublishStateNotify) => {
            let decode = |_, body| decode_notify(v, body);
            round(v, body, false, decode, message, |it| encode_notify(v, it));
        }
        (_, Message::MaxRequestId) => {
            let decode = |_, body| decode_maximum(body);
            let encode = |it: &u64| encode_maximum(v, Message::MaxRequestId, *it);
            round(v, body, false, decode, message, encode);
        }
        (_, Message::GoAway) => {
            let decode = |_, body| GoAway::decode(v, body, true);
            round(v, body, false, decode, message, |goaway| goaway.encode(v));
        }
        (_, Message::FetchOk) => {
            let decode = |_, body| FetchOk::decode(v, body);
            round(v, body, true, decode, message, |ok| ok.encode(v, ABOUT));
        }
        _ => {
            let decode = |message, body| First::decode(v, message, body);
            round(v, body, false, decode, message, |first| first.encode(v));
        }
    }
}

/// A unidirectional stream or a datagram. The first byte says which, and how the stream is cut. Promises:
/// cut differently it means the same, and what was read can be written and read again.
pub fn data(v: Version, data: &[u8]) {
    let Some((&[how, cut], bytes)) = data.split_first_chunk::<2>() else { return };
    if how % 4 == 0 {
        return datagram(v, bytes);
    }
    let order = if how % 4 == 1 { GroupOrder::Descending } else { GroupOrder::Ascending };
    let whole = read(v, bytes, usize::MAX, order);
    let pieces = read(v, bytes, 1 + usize::from(cut), order);
    assert_eq!(whole, pieces);
    if let Some(written) = write(v, &whole, order) {
        let again = read(v, &written, usize::MAX, order);
        assert_eq!(again.opening, whole.opening);
        // All but an object that was cut off.
        assert_eq!(again.items, whole.items);
    }
}

fn datagram(v: Version, bytes: &[u8]) {
    if let Ok(Some(datagram)) = Datagram::decode(v, Bytes::copy_from_slice(bytes)) {
        let again = datagram.encode(v).map(|bytes| Datagram::decode(v, bytes));
        assert_eq!(again, Ok(Ok(Some(datagram))));
    }
}

/// What a stream held until its end or its first error.
#[derive(Debug, PartialEq)]
struct Stream {
    opening: Option<Opening>,
    items: Vec<Item>,
    error: Option<DataError>,
}

/// An object with its payload so far, or a gap.
#[derive(Debug, PartialEq)]
enum Item {
    Object(ObjectHead, Vec<u8>),
    Fetched(FetchObject, Vec<u8>),
    Gap(Missing, Location),
}

enum Reading {
    Subgroup(SubgroupReader),
    Fetch(FetchReader),
}

fn read(v: Version, bytes: &[u8], piece: usize, order: GroupOrder) -> Stream {
    let mut stream = Stream { opening: None, items: Vec::new(), error: None };
    let mut opening = OpeningReader::new(v);
    let mut reading = None;
    for chunk in bytes.chunks(piece) {
        let mut chunk = Bytes::copy_from_slice(chunk);
        if stream.opening.is_none() {
            match opening.read(&mut chunk) {
                Ok(None) => {
                    assert!(chunk.is_empty());
                    continue;
                }
                Ok(Some(opening)) => {
                    reading = match &opening {
                        Opening::Subgroup(header) => {
                            Some(Reading::Subgroup(SubgroupReader::new(v, header)))
                        }
                        Opening::Fetch(_) => Some(Reading::Fetch(FetchReader::new(v, order))),
                        Opening::Control(_) | Opening::Padding => None,
                    };
                    stream.opening = Some(opening);
                }
                Err(error) => {
                    stream.error = Some(error);
                    return stream;
                }
            }
        }
        if let Some(reading) = &mut reading
            && let Err(error) = read_on(reading, &mut chunk, &mut stream.items)
        {
            stream.error = Some(error);
            return stream;
        }
    }
    stream
}

fn read_on(
    reading: &mut Reading,
    chunk: &mut Bytes,
    items: &mut Vec<Item>,
) -> Result<(), DataError> {
    let before = chunk.clone();
    let payload = |items: &mut Vec<Item>, bytes: Bytes, last: bool| {
        assert!(!bytes.is_empty());
        // A slice of the chunk, not a copy.
        assert!(before.as_ptr_range().contains(&bytes.as_ptr()));
        let (payload, length) = match items.last_mut() {
            Some(Item::Object(head, payload)) => (payload, head.payload_length),
            Some(Item::Fetched(head, payload)) => (payload, head.payload_length),
            _ => panic!("a payload without an object"),
        };
        payload.extend_from_slice(&bytes);
        assert_eq!(last, payload.len() as u64 == length);
    };
    match reading {
        Reading::Subgroup(reader) => {
            while let Some(item) = reader.read(chunk)? {
                match item {
                    SubgroupItem::Object(head) => items.push(Item::Object(head, Vec::new())),
                    SubgroupItem::Payload { bytes, last } => payload(items, bytes, last),
                }
            }
        }
        Reading::Fetch(reader) => {
            while let Some(item) = reader.read(chunk)? {
                match item {
                    FetchItem::Object(head) => items.push(Item::Fetched(head, Vec::new())),
                    FetchItem::Payload { bytes, last } => payload(items, bytes, last),
                    FetchItem::Gap { missing, end } => items.push(Item::Gap(missing, end)),
                }
            }
        }
    }
    assert!(chunk.is_empty());
    Ok(())
}

/// The same stream in our own words.
fn write(v: Version, stream: &Stream, order: GroupOrder) -> Option<BytesMut> {
    let mut out = BytesMut::new();
    match stream.opening.as_ref()? {
        Opening::Subgroup(header) => write_subgroup(v, header, &stream.items, &mut out),
        Opening::Fetch(id) => write_fetch(v, *id, order, &stream.items, &mut out)?,
        Opening::Control(_) | Opening::Padding => return None,
    }
    Some(out)
}

fn write_subgroup(v: Version, header: &SubgroupHeader, items: &[Item], out: &mut BytesMut) {
    assert_eq!(header.encode(v, out), Ok(()));
    let mut writer = SubgroupWriter::new(v, header);
    for item in items {
        let Item::Object(head, payload) = item else { panic!("{item:?}") };
        assert_eq!(writer.object(head, out), Ok(()));
        out.put_slice(payload);
    }
}

/// `None`: in an order that no publisher sends.
fn write_fetch(
    v: Version,
    id: RequestId,
    order: GroupOrder,
    items: &[Item],
    out: &mut BytesMut,
) -> Option<()> {
    let mut writer = FetchWriter::new(v, id, order, out);
    for item in items {
        match item {
            Item::Fetched(head, payload) => {
                writer.object(head, out).ok()?;
                out.put_slice(payload);
            }
            Item::Gap(missing, end) => writer.gap(*missing, *end, out).ok()?,
            Item::Object(..) => panic!("{item:?}"),
        }
    }
    Some(())
}

/// A whole session. The first byte says which end it is and what its owner answers; then follow steps: a
/// byte that says what, one that says on which stream, one that says how many bytes, the bytes. Promises:
/// nothing follows `Close`, an error closes, a request is told once, and what is held is bounded.
pub fn session(v: Version, now: Instant, data: &[u8]) {
    let Some((&owner, mut data)) = data.split_first() else { return };
    // One that is a node takes another NAMESPACE.
    let node = Node::new(u64::from(owner & 4));
    let config = Config { node, ..Config::new(v) };
    let session =
        if owner & 1 == 0 { Session::server(now, config) } else { Session::client(now, config) };
    let mut check = Check {
        v,
        session,
        now,
        owner,
        told: BTreeSet::new(),
        finished: BTreeSet::new(),
        ended: BTreeSet::new(),
        closed: false,
        data: 0,
    };
    check.drain();
    if owner & 2 != 0 {
        check.input(Input::ControlOpened(setup(v, owner & 1 == 0, node)));
    }
    if owner & 1 == 1 {
        check.ask();
    }
    while let Some((&[what, stream, length], rest)) = data.split_first_chunk::<3>() {
        let (bytes, rest) = rest.split_at(rest.len().min(usize::from(length)));
        data = rest;
        check.step(what, u64::from(stream), bytes);
    }
    check.now += Duration::from_secs(100);
    check.input(Input::Timeout);
}

/// The peer's SETUP: as it stands in the draft, with leave for many requests.
fn setup(v: Version, by_client: bool, node: Option<Node>) -> Bytes {
    let setup = Setup { max_request_id: 1_000, node, ..Setup::default() };
    // A few bytes are no message that is too long.
    setup.encode(v, by_client).unwrap_or_default()
}

struct Check {
    v: Version,
    session: Session,
    now: Instant,
    owner: u8,
    told: BTreeSet<RequestId>,
    /// Streams on which we have nothing more to say.
    finished: BTreeSet<StreamId>,
    /// Streams on which the peer has: a transport tells nothing after that.
    ended: BTreeSet<StreamId>,
    closed: bool,
    data: u64,
}

impl Check {
    /// A request of each kind that has an answer of its own.
    fn ask(&mut self) {
        let parameters = Parameters::default;
        let track = TrackName::from_text("a--b");
        let prefix = Namespace::new(["a"]);
        let (Ok(track), Ok(prefix)) = (track, prefix) else { return };
        let range = Range { start: Location::new(1, 0), end: Location::new(2, 0) };
        for request in [
            Request::Subscribe {
                track: track.clone(),
                // Where the draft can bring it, with the past.
                parameters: Parameters { fill: self.v.fills().then(Box::default), ..parameters() },
            },
            Request::Publish {
                track: track.clone(),
                parameters: parameters(),
                properties: Properties::empty(),
            },
            Request::Fetch { fetch: Fetch::Standalone { track, range }, parameters: parameters() },
            Request::SubscribeNamespace {
                prefix: prefix.clone(),
                tracks: false,
                parameters: parameters(),
            },
            Request::SubscribeTracks { prefix: prefix.clone(), parameters: parameters() },
            Request::PublishNamespace { namespace: prefix, parameters: parameters() },
        ] {
            assert!(self.session.request(self.now, request).is_ok());
        }
        self.drain();
    }

    fn step(&mut self, what: u8, stream: u64, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        let side = if what & 0x80 == 0 { StreamId::Peers(stream) } else { StreamId::Ours(stream) };
        let input = match what & 0x0f {
            0 => Input::Control(bytes),
            1 => Input::ControlOpened(bytes),
            2..=6 => Input::Bytes { stream: side, bytes },
            7 => Input::Finished(side),
            8 => Input::Reset { stream: side, code: stream },
            9 => Input::Stopped { stream: side, code: stream },
            10 => {
                self.data += 1;
                let header = DataHeader::Fetch(RequestId(stream));
                Input::DataOpened { stream: DataId(self.data), header }
            }
            11 => match OpeningReader::new(self.v).read(&mut bytes.clone()) {
                Ok(Some(Opening::Subgroup(header))) => {
                    self.data += 1;
                    let header = DataHeader::Subgroup(header);
                    Input::DataOpened { stream: DataId(self.data), header }
                }
                _ => return,
            },
            12 => Input::DataClosed(DataId(stream)),
            13 => Input::Datagram(bytes),
            14 => {
                self.now += Duration::from_millis(100 * stream);
                Input::Timeout
            }
            _ => return self.act(RequestId(stream)),
        };
        let new = match &input {
            Input::Bytes { stream, .. } => !self.ended.contains(stream),
            Input::Finished(stream) | Input::Reset { stream, .. } => self.ended.insert(*stream),
            _ => true,
        };
        if new {
            self.input(input);
        }
    }

    fn input(&mut self, input: Input) {
        let was_closed = self.closed;
        let result = self.session.handle(self.now, input);
        self.drain();
        assert!(result.is_ok() || (self.closed && !was_closed), "{result:?}");
        let requests = self.session.open_requests();
        assert!(requests <= 6 + limits::REQUESTS_MAX);
        let bytes_max = limits::NASCENT_BYTES_MAX
            + limits::EARLY_BYTES_MAX
            + limits::WAITING_DATAGRAM_BYTES_MAX
            + limits::PENDING_BYTES_MAX;
        assert!(self.session.kept_bytes() <= bytes_max);
    }

    /// The owner does something about a request, or nothing if there is none.
    fn act(&mut self, id: RequestId) {
        let done = Done { code: DoneCode::TrackEnded, reason: String::new() };
        let command = match self.owner >> 4 {
            0..=2 => Command::Cancel { id, code: ResetCode::Cancelled },
            3 | 4 => Command::Done { id, done },
            5 | 6 => Command::AnswerUpdate { id, answer: Answer::ok() },
            7 | 8 => {
                Command::AnswerUpdate { id, answer: Answer::error(RequestCode::Timeout, "late") }
            }
            9 | 10 => Command::Update { id, parameters: Parameters::default() },
            11 => Command::DataClosed { id },
            12 => {
                let _ = self.session.open_data(id);
                return;
            }
            _ => Command::GoAway {
                request: Some(id),
                uri: String::new(),
                timeout: Duration::from_secs(1),
            },
        };
        // Much of it is misuse, which changes nothing.
        let _ = self.session.command(self.now, command);
        self.drain();
    }

    fn drain(&mut self) {
        while let Poll::Output(output) = self.session.poll() {
            assert!(!self.closed, "an output after Close: {output:?}");
            match output {
                Output::Close { .. } => self.closed = true,
                Output::Send { stream, bytes } => {
                    assert!(!bytes.is_empty() && !self.finished.contains(&stream));
                }
                Output::Finish(stream) | Output::Reset { stream, .. } => {
                    assert!(self.finished.insert(stream), "{stream:?} ends twice");
                }
                Output::Event(Event::Request { id, request, .. }) => {
                    assert!(self.told.insert(id), "a request twice");
                    self.answer(id, &request);
                }
                _ => {}
            }
        }
    }

    fn answer(&mut self, id: RequestId, request: &Request) {
        let answer = match (self.owner >> 2 & 3, request) {
            (0, _) => return,
            (1, _) => Answer::error(RequestCode::DoesNotExist, "no"),
            (_, Request::Fetch { fetch, .. }) => {
                let largest = Location::new(7, 7);
                let end = match fetch {
                    Fetch::Standalone { range, .. } => range.end,
                    Fetch::Filtered { filter, .. } => filter.past(largest).end,
                    Fetch::Joining { .. } => largest,
                };
                Answer::FetchOk(FetchOk {
                    end_of_track: false,
                    end,
                    parameters: Parameters::default(),
                    properties: Properties::empty(),
                })
            }
            (_, Request::Subscribe { .. }) => Answer::Ok {
                parameters: Parameters {
                    largest: Some(Location::new(7, 7)),
                    ..Parameters::default()
                },
                properties: Properties::empty(),
            },
            _ => Answer::ok(),
        };
        let result = self.session.command(self.now, Command::Answer { id, answer });
        assert!(result.is_ok(), "{result:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sansio::harness::{epoch, replay};

    #[test]
    fn seeds_and_changes_of_them_pass() {
        for v in Version::ALL {
            // 21 has the bytes of 20.
            let draft = if *v == Version::Draft21 { 20 } else { v.draft() };
            replay(&format!("moqt{draft}_control"), 1_000, |data| control(*v, data));
            replay(&format!("moqt{draft}_data"), 1_000, |bytes| data(*v, bytes));
            replay(&format!("moqt{draft}_session"), 1_000, |data| session(*v, epoch(), data));
        }
    }
}
