//! A client and a server with a network between them: streams keep their order, among each other there
//! is none; bytes are cut anywhere. The same seed gives the same run.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use moqt::data::{
    FetchItem, FetchObject, FetchReader, FetchWriter, ObjectHead, Opening, OpeningReader, Status,
    SubgroupHeader, SubgroupId, SubgroupItem, SubgroupReader, SubgroupWriter, Via,
};
use moqt::session::{Command, Config, DataHeader, DataId, Event, Input, Output, Session, StreamId};
use moqt::version::ControlStream;
use moqt::{
    Answer, GroupOrder, Location, Namespace, Parameters, Properties, Request, RequestId,
    SessionError, TrackName, Version,
};
use sansio::harness::{Rng, epoch};
use sansio::{Core, Poll};

pub(crate) const V: Version = Version::Draft18;

/// Which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Client,
    Server,
}

pub(crate) use Side::{Client, Server};

impl Side {
    pub(crate) fn other(self) -> Side {
        if self == Client { Server } else { Client }
    }
}

/// What keeps its order on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Channel {
    Control,
    Request(StreamId),
    Data(DataId),
    /// Each by itself.
    Datagram(u64),
}

#[derive(Debug, Clone)]
enum Item {
    Bytes(Bytes),
    Finish,
    Reset(u64),
    Stop(u64),
}

/// An object that came.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Received {
    pub(crate) request: RequestId,
    pub(crate) group: u64,
    pub(crate) object: u64,
    pub(crate) payload: Vec<u8>,
}

/// A data stream of the peer, on its way to us.
enum Incoming {
    Opening(OpeningReader),
    /// The session has not said whose it is.
    Waiting(SubgroupHeaderOrFetch, VecDeque<Item>),
    Subgroup(RequestId, u64, SubgroupReader),
    Fetch(RequestId, FetchReader),
    Over,
}

/// What has come of the peer's control stream.
enum Control {
    /// A unidirectional stream: its beginning must be read.
    Opening(OpeningReader),
    /// One that is known by how it is opened; nothing has come.
    Bidirectional,
    Open,
}

#[derive(Clone, Copy)]
enum SubgroupHeaderOrFetch {
    Subgroup(SubgroupHeader),
    Fetch,
}

pub(crate) struct End {
    pub(crate) session: Session,
    pub(crate) events: Vec<Event>,
    pub(crate) received: Vec<Received>,
    /// Data streams that the peer wants nothing more of.
    pub(crate) stopped: Vec<(DataId, u64)>,
    pub(crate) closed: Option<(u64, String)>,
    pub(crate) error: Option<SessionError>,
    /// Request streams on which it has said all.
    finished: BTreeSet<StreamId>,
    incoming: BTreeMap<DataId, Incoming>,
    control: Control,
    deadline: Option<Instant>,
}

impl End {
    fn new(session: Session) -> End {
        let version = session.version();
        End {
            session,
            events: Vec::new(),
            received: Vec::new(),
            stopped: Vec::new(),
            closed: None,
            error: None,
            finished: BTreeSet::new(),
            incoming: BTreeMap::new(),
            control: match version.control_stream() {
                ControlStream::Unidirectional => Control::Opening(OpeningReader::new(version)),
                ControlStream::Bidirectional => Control::Bidirectional,
            },
            deadline: None,
        }
    }
}

pub(crate) struct Pair {
    version: Version,
    pub(crate) now: Instant,
    pub(crate) client: End,
    pub(crate) server: End,
    rng: Rng,
    /// Most that something is late.
    pub(crate) jitter: Duration,
    /// On the way: by when it comes, and in the order of sending.
    queue: BTreeMap<(Instant, u64), (Side, Channel, Item)>,
    last: BTreeMap<(Side, Channel), Instant>,
    sent: u64,
    next_data: u64,
}

impl Pair {
    /// Two ends that have not heard of each other.
    pub(crate) fn raw(seed: u64, client: Config, server: Config) -> Pair {
        let now = epoch();
        let mut pair = Pair {
            version: client.version,
            now,
            client: End::new(Session::client(now, client)),
            server: End::new(Session::server(now, server)),
            rng: Rng::new(seed),
            jitter: Duration::from_millis(20),
            queue: BTreeMap::new(),
            last: BTreeMap::new(),
            sent: 0,
            next_data: 0,
        };
        pair.drain(Client);
        pair.drain(Server);
        pair
    }

    /// Two ends that have said SETUP.
    pub(crate) fn new(seed: u64) -> Pair {
        Pair::of(V, seed)
    }

    /// The same, of any draft.
    pub(crate) fn of(version: Version, seed: u64) -> Pair {
        let mut pair = Pair::raw(seed, Config::new(version), Config::new(version));
        pair.settle();
        for side in [Client, Server] {
            let events = pair.take(side);
            assert!(matches!(events[..], [Event::Ready(_)]), "{events:?}");
        }
        pair
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    pub(crate) fn end(&mut self, side: Side) -> &mut End {
        if side == Client { &mut self.client } else { &mut self.server }
    }

    /// The events since the last look.
    pub(crate) fn take(&mut self, side: Side) -> Vec<Event> {
        std::mem::take(&mut self.end(side).events)
    }

    /// Asks, and nothing more.
    pub(crate) fn ask(&mut self, side: Side, request: Request) -> RequestId {
        let now = self.now;
        let id = self.end(side).session.request(now, request).unwrap();
        self.drain(side);
        id
    }

    pub(crate) fn try_command(&mut self, side: Side, command: Command) -> Result<(), SessionError> {
        let now = self.now;
        let result = self.end(side).session.command(now, command);
        self.drain(side);
        result
    }

    pub(crate) fn command(&mut self, side: Side, command: Command) {
        self.try_command(side, command).unwrap();
    }

    pub(crate) fn answer(&mut self, side: Side, id: RequestId, answer: Answer) {
        self.command(side, Command::Answer { id, answer });
    }

    /// Asks, has the request arrive, and says its event at the other end.
    pub(crate) fn ask_and_see(&mut self, side: Side, request: Request) -> RequestId {
        let id = self.ask(side, request);
        self.settle();
        let events = self.take(side.other());
        assert!(
            matches!(&events[..], [Event::Request { id: seen, .. }] if *seen == id),
            "{events:?}"
        );
        id
    }

    /// A request that is accepted.
    pub(crate) fn establish(&mut self, side: Side, request: Request) -> RequestId {
        let id = self.ask_and_see(side, request);
        self.answer(side.other(), id, Answer::ok());
        self.settle();
        let events = self.take(side);
        assert!(
            matches!(&events[..], [Event::Answered { answer: Answer::Ok { .. }, .. }]),
            "{events:?}"
        );
        id
    }

    /// Opens a data stream for a subscription, and sends its header and these objects.
    pub(crate) fn send_group(
        &mut self,
        side: Side,
        id: RequestId,
        group: u64,
        payloads: &[&str],
    ) -> Option<DataId> {
        let alias = self.end(side).session.open_data(id)?;
        let header = SubgroupHeader {
            alias,
            group,
            subgroup: SubgroupId::Zero,
            priority: None,
            properties: false,
            end_of_group: true,
            first_object: true,
        };
        let mut out = BytesMut::new();
        header.encode(self.version, &mut out).unwrap();
        let mut writer = SubgroupWriter::new(self.version, &header);
        for (object, payload) in payloads.iter().enumerate() {
            let head = ObjectHead {
                id: object as u64,
                properties: Properties::empty(),
                status: Status::Normal,
                payload_length: payload.len() as u64,
            };
            writer.object(&head, &mut out).unwrap();
            out.extend_from_slice(payload.as_bytes());
        }
        Some(self.send_data(side, out.freeze()))
    }

    /// Opens the stream of a fill of a subscription, and sends these groups, of one object each.
    pub(crate) fn send_fill(
        &mut self,
        side: Side,
        id: RequestId,
        header: RequestId,
        groups: &[u64],
    ) -> Option<DataId> {
        self.end(side).session.open_data(id)?;
        let descending = groups.windows(2).any(|pair| pair[1] < pair[0]);
        let order = if descending { GroupOrder::Descending } else { GroupOrder::Ascending };
        let mut out = BytesMut::new();
        let mut writer = FetchWriter::new(self.version, header, order, &mut out);
        for group in groups {
            let head = FetchObject {
                location: Location::new(*group, 0),
                via: Via::Subgroup(0),
                priority: 3,
                properties: Properties::empty(),
                payload_length: 2,
            };
            writer.object(&head, &mut out).unwrap();
            out.extend_from_slice(b"xy");
        }
        Some(self.send_data(side, out.freeze()))
    }

    /// Opens a data stream with these bytes.
    pub(crate) fn send_data(&mut self, side: Side, bytes: Bytes) -> DataId {
        let stream = DataId(self.next_data);
        self.next_data += 1;
        self.send_bytes(side.other(), Channel::Data(stream), bytes);
        stream
    }

    /// Finishes a data stream, and tells the session so.
    pub(crate) fn finish_data(&mut self, side: Side, id: RequestId, stream: DataId) {
        self.send(side.other(), Channel::Data(stream), Item::Finish);
        self.command(side, Command::DataClosed { id });
    }

    /// Resets a data stream, and tells the session so.
    pub(crate) fn reset_data(&mut self, side: Side, id: RequestId, stream: DataId) {
        self.send(side.other(), Channel::Data(stream), Item::Reset(1));
        self.command(side, Command::DataClosed { id });
    }

    pub(crate) fn send_datagram(&mut self, side: Side, bytes: Bytes) {
        let number = self.sent;
        self.send(side.other(), Channel::Datagram(number), Item::Bytes(bytes));
    }

    /// Delivers until nothing is on the way.
    pub(crate) fn settle(&mut self) {
        while let Some(((at, _), item)) = self.queue.pop_first() {
            self.now = self.now.max(at);
            self.deliver(item);
        }
    }

    /// Lets time pass, with all that comes in it.
    pub(crate) fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        loop {
            let arrival = self.queue.first_key_value().map(|((at, _), _)| *at);
            let timer = [self.client.deadline, self.server.deadline].into_iter().flatten().min();
            let Some(at) = [arrival, timer].into_iter().flatten().min().filter(|at| *at <= end)
            else {
                break;
            };
            self.now = self.now.max(at);
            if arrival == Some(at)
                && let Some((_, item)) = self.queue.pop_first()
            {
                self.deliver(item);
                continue;
            }
            for side in [Client, Server] {
                if self.end(side).deadline.is_some_and(|deadline| deadline <= at) {
                    self.input(side, Input::Timeout);
                }
            }
        }
        self.now = end;
    }

    fn send(&mut self, to: Side, channel: Channel, item: Item) {
        let late = self.rng.below(self.jitter.as_micros() as usize + 1) as u64;
        let last = self.last.get(&(to, channel)).copied().unwrap_or(self.now);
        let at = last.max(self.now + Duration::from_micros(late));
        self.last.insert((to, channel), at);
        self.sent += 1;
        self.queue.insert((at, self.sent), (to, channel, item));
    }

    /// In pieces.
    fn send_bytes(&mut self, to: Side, channel: Channel, mut bytes: Bytes) {
        while !bytes.is_empty() {
            let piece = bytes.split_to(1 + self.rng.below(bytes.len()));
            self.send(to, channel, Item::Bytes(piece));
        }
    }

    fn deliver(&mut self, (to, channel, item): (Side, Channel, Item)) {
        if self.end(to).closed.is_some() {
            return;
        }
        match (channel, item) {
            (Channel::Control, Item::Bytes(mut bytes)) => {
                match std::mem::replace(&mut self.end(to).control, Control::Open) {
                    Control::Open => self.input(to, Input::Control(bytes)),
                    Control::Bidirectional => self.input(to, Input::ControlOpened(bytes)),
                    Control::Opening(mut reader) => match reader.read(&mut bytes).unwrap() {
                        None => self.end(to).control = Control::Opening(reader),
                        Some(Opening::Control(first)) => {
                            self.input(to, Input::ControlOpened(first));
                            self.input(to, Input::Control(bytes));
                        }
                        Some(other) => panic!("{other:?}"),
                    },
                }
            }
            (Channel::Request(stream), item) => {
                let input = match item {
                    Item::Bytes(bytes) => Input::Bytes { stream, bytes },
                    Item::Finish => Input::Finished(stream),
                    Item::Reset(code) => Input::Reset { stream, code },
                    Item::Stop(code) => Input::Stopped { stream, code },
                };
                self.input(to, input);
            }
            (Channel::Data(stream), item) => self.deliver_data(to, stream, item),
            (Channel::Datagram(_), Item::Bytes(bytes)) => self.input(to, Input::Datagram(bytes)),
            (channel, item) => panic!("{item:?} on {channel:?}"),
        }
    }

    /// What a driver does with a data stream.
    fn deliver_data(&mut self, to: Side, stream: DataId, item: Item) {
        let version = self.version;
        let end = self.end(to);
        let state = end
            .incoming
            .remove(&stream)
            .unwrap_or_else(|| Incoming::Opening(OpeningReader::new(version)));
        let next = match (state, item) {
            (Incoming::Over, _) => Incoming::Over,
            (_, Item::Stop(_)) => Incoming::Over,
            (Incoming::Opening(mut reader), Item::Bytes(mut bytes)) => {
                match reader.read(&mut bytes).unwrap() {
                    None => Incoming::Opening(reader),
                    Some(opening) => {
                        let (header, kind) = match opening {
                            Opening::Subgroup(header) => (
                                DataHeader::Subgroup(header),
                                SubgroupHeaderOrFetch::Subgroup(header),
                            ),
                            Opening::Fetch(id) => {
                                (DataHeader::Fetch(id), SubgroupHeaderOrFetch::Fetch)
                            }
                            other => panic!("{other:?}"),
                        };
                        let rest = VecDeque::from([Item::Bytes(bytes)]);
                        end.incoming.insert(stream, Incoming::Waiting(kind, rest));
                        self.input(to, Input::DataOpened { stream, header });
                        return;
                    }
                }
            }
            (Incoming::Opening(_), _) => Incoming::Over,
            (Incoming::Waiting(..), Item::Reset(_)) => {
                end.incoming.insert(stream, Incoming::Over);
                self.input(to, Input::DataClosed(stream));
                return;
            }
            (Incoming::Waiting(kind, mut items), item) => {
                items.push_back(item);
                Incoming::Waiting(kind, items)
            }
            (mut reading, Item::Bytes(mut bytes)) => {
                read_data(&mut reading, &mut bytes, &mut end.received);
                reading
            }
            (_, Item::Finish | Item::Reset(_)) => {
                end.incoming.insert(stream, Incoming::Over);
                self.input(to, Input::DataClosed(stream));
                return;
            }
        };
        self.end(to).incoming.insert(stream, next);
    }

    pub(crate) fn input(&mut self, to: Side, input: Input) {
        let now = self.now;
        let end = self.end(to);
        if let Err(error) = end.session.handle(now, input) {
            end.error = Some(error);
        }
        self.drain(to);
    }

    fn drain(&mut self, side: Side) {
        let other = side.other();
        loop {
            let output = match self.end(side).session.poll() {
                Poll::Wait(deadline) => {
                    self.end(side).deadline = deadline;
                    return;
                }
                Poll::Output(output) => output,
            };
            assert!(self.end(side).closed.is_none(), "an output after Close: {output:?}");
            match output {
                Output::Control(bytes) => self.send_bytes(other, Channel::Control, bytes),
                Output::Open(_) => {}
                Output::Send { stream, bytes } => {
                    assert!(!self.end(side).finished.contains(&stream), "{stream:?} is finished");
                    self.send_bytes(other, Channel::Request(across(stream)), bytes);
                }
                Output::Finish(stream) => {
                    assert!(self.end(side).finished.insert(stream), "{stream:?} ends twice");
                    self.send(other, Channel::Request(across(stream)), Item::Finish);
                }
                Output::Reset { stream, code } => {
                    assert!(self.end(side).finished.insert(stream), "{stream:?} ends twice");
                    self.send(other, Channel::Request(across(stream)), Item::Reset(code));
                }
                Output::Stop { stream, code } => {
                    self.send(other, Channel::Request(across(stream)), Item::Stop(code));
                }
                Output::StopData { stream, code } => {
                    self.end(side).incoming.insert(stream, Incoming::Over);
                    self.end(other).stopped.push((stream, code));
                }
                Output::Close { code, reason } => self.end(side).closed = Some((code, reason)),
                Output::Event(event) => self.on_event(side, event),
            }
        }
    }

    fn on_event(&mut self, side: Side, event: Event) {
        if let Event::Data { stream, id, order, .. } = &event {
            let state = self.end(side).incoming.remove(stream);
            let Some(Incoming::Waiting(kind, items)) = state else { panic!("{event:?}") };
            let reading = match kind {
                SubgroupHeaderOrFetch::Subgroup(header) => {
                    let reader = SubgroupReader::new(self.version, &header);
                    Incoming::Subgroup(*id, header.group, reader)
                }
                SubgroupHeaderOrFetch::Fetch => {
                    Incoming::Fetch(*id, FetchReader::new(self.version, *order))
                }
            };
            let stream = *stream;
            let end = self.end(side);
            end.events.push(event);
            end.incoming.insert(stream, reading);
            for item in items {
                self.deliver_data(side, stream, item);
            }
        } else {
            self.end(side).events.push(event);
        }
    }
}

fn read_data(reading: &mut Incoming, bytes: &mut Bytes, received: &mut Vec<Received>) {
    // Streams take turns; of each one the object is the last that began.
    let payload_of =
        |received: &mut Vec<Received>, id: RequestId, of: Option<u64>, bytes: &[u8]| {
            let mine =
                |it: &&mut Received| it.request == id && of.is_none_or(|group| it.group == group);
            received.iter_mut().rfind(mine).unwrap().payload.extend_from_slice(bytes);
        };
    match reading {
        Incoming::Subgroup(request, group, reader) => {
            while let Some(item) = reader.read(bytes).unwrap() {
                match item {
                    SubgroupItem::Object(head) => received.push(Received {
                        request: *request,
                        group: *group,
                        object: head.id,
                        payload: Vec::new(),
                    }),
                    SubgroupItem::Payload { bytes, .. } => {
                        payload_of(received, *request, Some(*group), &bytes);
                    }
                }
            }
        }
        Incoming::Fetch(request, reader) => {
            while let Some(item) = reader.read(bytes).unwrap() {
                match item {
                    FetchItem::Object(head) => received.push(Received {
                        request: *request,
                        group: head.location.group,
                        object: head.location.object,
                        payload: Vec::new(),
                    }),
                    FetchItem::Payload { bytes, .. } => {
                        payload_of(received, *request, None, &bytes);
                    }
                    FetchItem::Gap { .. } => {}
                }
            }
        }
        _ => {}
    }
}

/// A stream as the other end names it.
fn across(stream: StreamId) -> StreamId {
    match stream {
        StreamId::Ours(number) => StreamId::Peers(number),
        StreamId::Peers(number) => StreamId::Ours(number),
    }
}

pub(crate) fn config() -> Config {
    Config::new(V)
}

pub(crate) fn namespace(fields: &[&'static str]) -> Namespace {
    Namespace::new(fields.iter().copied()).unwrap()
}

pub(crate) fn track(name: &'static str) -> TrackName {
    TrackName::new(namespace(&["acc", "cam"]), name).unwrap()
}

pub(crate) fn subscribe(name: &'static str) -> Request {
    Request::Subscribe { track: track(name), parameters: Parameters::default() }
}

/// The namespaces that begin so.
pub(crate) fn namespaces_below(prefix: Namespace) -> Request {
    Request::SubscribeNamespace { prefix, tracks: false, parameters: Parameters::default() }
}

pub(crate) fn publish(name: &'static str) -> Request {
    Request::Publish {
        track: track(name),
        parameters: Parameters::default(),
        properties: Properties::empty(),
    }
}

/// Only the answers among events.
pub(crate) fn refusals(events: &[Event]) -> Vec<(RequestId, moqt::RequestCode)> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Answered { id, answer: Answer::Error(error) } => Some((*id, error.code)),
            _ => None,
        })
        .collect()
}
