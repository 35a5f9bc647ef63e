//! One connection: drives the session core over QUIC streams.
//!
//! [`Driver::next`] does all the work of a connection and answers what happened, event by event. What runs
//! beside it (a stream that is read, a subscription that is served) is a *job*: a future that the driver
//! polls. Nothing is spawned; a connection is one task.

mod data;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use moqt::session::{Command, DataHeader, DataId, Event, Input, Output, Session, StreamId};
use moqt::version::ControlStream;
use moqt::{
    DataError, Parameters, Request, RequestId, SessionCode, SessionError, TrackName, Version,
};
use sansio::{Core, Poll};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};

use data::{read_control, read_data};

use crate::ahead::Share;
use crate::clock;
use crate::datagrams::{Datagrams, Held, Queued};
use crate::flow::Flows;
use crate::limits::{
    AHEAD_BYTES_MAX, CLOSE_LINGER, HURRY_EVERY, LAST_TURNS, OFFERS_OPENING_MAX,
    PAST_PER_CONNECTION, PIECE_BYTES, QUEUED_ANSWERS_BYTES_MAX, QUEUED_ANSWERS_MAX,
};
use crate::priority;
use crate::qlog::{Log, Messages};
use crate::traffic::Traffic;
use crate::transport::{Connection, Ended, Read, RecvStream, SendStream, WriteEnd};
pub(crate) use data::rest_of_head;

/// Answers which request stream is over with it.
type Job = Pin<Box<dyn Future<Output = Option<StreamId>> + Send>>;

/// What jobs share with the driver.
pub(crate) struct Link {
    pub(crate) connection: Connection,
    pub(crate) version: Version,
    /// What goes over it, in numbers.
    pub(crate) flows: Arc<Flows>,
    /// What happens, if somebody wants it written down.
    pub(crate) log: Log,
    /// Places for the past that is sent.
    pub(crate) past: Semaphore,
    /// Pieces of it that QUIC has taken.
    pub(crate) past_taken: AtomicU64,
    /// Places for tracks that are offered and have no answer yet.
    pub(crate) offers: Semaphore,
    /// Tracks that are offered, or were and are not over yet.
    pub(crate) offered: watch::Sender<BTreeSet<TrackName>>,
    /// Bytes of objects in datagrams that nobody has taken yet.
    pub(crate) datagrams: Held,
    /// When something of the past was last asked for before all that is live.
    hurried: Mutex<Option<Instant>>,
    /// Bytes of data streams whose request is not known yet.
    ahead: Share,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    session: Session,
    /// What the session has said and the driver has not taken yet.
    outputs: VecDeque<Output>,
    unwritten: Unwritten,
    /// Jobs that the driver has not taken up yet.
    jobs: Vec<Job>,
    /// Data streams of the peer that wait for the session to say whose they are.
    waiting: BTreeMap<DataId, oneshot::Sender<Belongs>>,
    /// Who hears of a request: of ours, and of a track that the peer publishes to us.
    owners: BTreeMap<RequestId, Owner>,
}

/// Who hears of a request. Streams are bounded by QUIC, messages by the session, datagrams here.
#[derive(Clone)]
struct Owner {
    told: mpsc::UnboundedSender<Told>,
    datagrams: Arc<Datagrams>,
}

impl State {
    /// Takes what the session has said. At once: many jobs may answer before the driver has its turn.
    fn collect(&mut self) {
        while let Poll::Output(output) = self.session.poll() {
            if let Output::Control(bytes) | Output::Send { bytes, .. } = &output
                && self.unwritten.add(bytes)
            {
                let _ = self.session.command(clock::now(), unread());
            }
            self.outputs.push_back(output);
        }
    }
}

/// Whoever asks and reads no answers is let go: what waits for them is memory of ours.
fn unread() -> Command {
    let reason = "answers are not read".to_owned();
    Command::Close { code: SessionCode::ControlMessageTimeout, reason }
}

/// Bytes of messages that are not written yet, on all streams of a connection.
#[derive(Clone, Default)]
struct Unwritten(Arc<AtomicUsize>);

impl Unwritten {
    /// One more. Whether that is too much.
    fn add(&self, bytes: &Bytes) -> bool {
        let more = bytes.len() + PIECE_BYTES;
        self.0.fetch_add(more, Ordering::Relaxed) + more > QUEUED_ANSWERS_BYTES_MAX
    }
}

/// One of them; given back when it is dropped.
struct Said {
    bytes: Bytes,
    of: Unwritten,
}

impl Drop for Said {
    fn drop(&mut self) {
        self.of.0.fetch_sub(self.bytes.len() + PIECE_BYTES, Ordering::Relaxed);
    }
}

/// What the owner of a request is told.
// Moved once through a queue: boxes would cost more.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Told {
    /// A data stream of it.
    Data(DataStream),
    /// An object of it in a datagram.
    Datagram(Queued),
    /// Its answer, its end, and what is between them.
    Event(Event),
}

/// What a data stream of the peer turned out to be.
enum Belongs {
    To(RequestId),
    /// To nobody: stop it with this code.
    Nobody(u64),
}

/// A data stream of the peer, behind its header, and whom it belongs to.
pub(crate) struct DataStream {
    pub(crate) header: DataHeader,
    /// What came with the header.
    pub(crate) first: Bytes,
    pub(crate) stream: RecvStream,
    _closed: DataClosed,
}

#[cfg(test)]
impl DataStream {
    /// The draft in which its objects are written.
    pub(crate) fn version(&self) -> Version {
        self._closed.link.version
    }
}

/// Tells the session that a data stream is over, when it is dropped.
pub(crate) struct DataClosed {
    link: Arc<Link>,
    id: DataId,
}

impl Drop for DataClosed {
    fn drop(&mut self) {
        self.link.state().waiting.remove(&self.id);
        self.link.handle(Input::DataClosed(self.id));
    }
}

impl Link {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the session, then has the driver take what it says. Most of what happens to data streams it
    /// only counts, and the driver is left alone.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Session) -> R) -> R {
        let mut state = self.state();
        let timer = state.session.timer();
        let result = f(&mut state.session);
        let changed = state.session.has_output() || state.session.timer() != timer;
        state.collect();
        drop(state);
        if changed {
            self.changed.notify_one();
        }
        result
    }

    pub(crate) fn command(&self, command: Command) {
        // Misuse is without effect: the request ended while the command was made.
        if let Err(error) = self.with(|session| session.command(clock::now(), command)) {
            tracing::debug!(peer = %self.connection.peer(), %error, "moq: command without effect");
        }
    }

    /// Changes a request of ours. Whether that went: the peer may take no more updates before it has answered some.
    pub(crate) fn update(&self, id: RequestId, parameters: Parameters) -> bool {
        let update = Command::Update { id, parameters };
        let sent = self.with(|session| session.command(clock::now(), update));
        if let Err(error) = &sent {
            tracing::debug!(peer = %self.connection.peer(), %error, "moq: an update has to wait");
        }
        sent.is_ok()
    }

    fn handle(&self, input: Input) {
        // A violation is also the last output of the session.
        if let Err(error) = self.with(|session| session.handle(clock::now(), input)) {
            tracing::info!(peer = %self.connection.peer(), %error, "moq: session ended");
        }
    }

    /// Asks the peer; everything about it goes to the receiver.
    pub(crate) fn request(
        &self,
        request: Request,
    ) -> Result<(RequestId, mpsc::UnboundedReceiver<Told>), SessionError> {
        let (owner, receiver) = self.owner();
        let id = {
            let mut state = self.state();
            let id = state.session.request(clock::now(), request)?;
            state.owners.insert(id, owner);
            id
        };
        self.changed.notify_one();
        Ok((id, receiver))
    }

    /// Becomes the owner of a track that the peer publishes to us. Before it is answered.
    pub(crate) fn own(&self, id: RequestId) -> mpsc::UnboundedReceiver<Told> {
        let (owner, receiver) = self.owner();
        self.state().owners.insert(id, owner);
        receiver
    }

    fn owner(&self) -> (Owner, mpsc::UnboundedReceiver<Told>) {
        let (told, receiver) = mpsc::unbounded_channel();
        (Owner { told, datagrams: Datagrams::new(&self.datagrams) }, receiver)
    }

    /// Whether something of the past may be asked for before all that is live, now and then.
    pub(crate) fn may_hurry(&self) -> bool {
        let mut hurried = self.hurried.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::now();
        let may = hurried.is_none_or(|at| now.saturating_duration_since(at) >= HURRY_EVERY);
        if may {
            *hurried = Some(now);
        }
        may
    }

    /// Nobody wants to hear of this request any more.
    pub(crate) fn disown(&self, id: RequestId) {
        self.state().owners.remove(&id);
    }

    /// Runs this future for as long as the connection lasts.
    pub(crate) fn run(&self, job: impl Future<Output = ()> + Send + 'static) {
        // An `async` block around it would have room for it twice.
        self.state().jobs.push(Box::pin(job.map(|()| None)));
        self.changed.notify_one();
    }

    /// Ends the session because a data stream or datagram can't be read; or only says how to stop that
    /// stream.
    pub(crate) fn fault(&self, error: DataError) -> u64 {
        match error {
            DataError::Session(violation) => {
                self.close(violation.code, violation.what);
                self.version.session_code(violation.code)
            }
            DataError::MalformedTrack(_) => {
                self.version.reset_code(moqt::ResetCode::MalformedTrack)
            }
            DataError::Limit(code, _) => self.version.reset_code(code),
        }
    }

    pub(crate) fn close(&self, code: SessionCode, reason: &str) {
        self.command(Command::Close { code, reason: reason.to_owned() });
    }
}

/// Does the work of one connection.
pub(crate) struct Driver {
    link: Arc<Link>,
    jobs: FuturesUnordered<Job>,
    events: VecDeque<Event>,
    /// Our sides of request streams.
    streams: BTreeMap<StreamId, Sides>,
    control: Option<mpsc::Sender<Write>>,
    timer: Option<Instant>,
    unwritten: Unwritten,
    /// What we closed with.
    over: Option<u64>,
    /// In which what came before the end of the connection is taken up.
    last_turns: u32,
}

/// What a stream's writer is told.
enum Write {
    Bytes(Said),
    Finish,
    Reset(u64),
}

/// How the two sides of a request stream are told what to do.
struct Sides {
    write: mpsc::Sender<Write>,
    stop: Option<oneshot::Sender<u64>>,
}

/// The other ends of it.
struct Ends {
    write: mpsc::Receiver<Write>,
    stop: oneshot::Receiver<u64>,
}

fn sides() -> (Sides, Ends) {
    let ((write, writes), (stop, stops)) = (mpsc::channel(QUEUED_ANSWERS_MAX), oneshot::channel());
    (Sides { write, stop: Some(stop) }, Ends { write: writes, stop: stops })
}

impl Driver {
    /// Drives `session` over `connection`; what goes over it is counted in `traffic`, and written into `log`.
    pub(crate) fn new(
        connection: Connection,
        session: Session,
        traffic: Arc<Traffic>,
        log: Log,
    ) -> Self {
        let version = session.version();
        let unwritten = Unwritten::default();
        let state = State {
            session,
            outputs: VecDeque::new(),
            unwritten: unwritten.clone(),
            jobs: Vec::new(),
            waiting: BTreeMap::new(),
            owners: BTreeMap::new(),
        };
        let pump = connection.pump();
        let jobs: FuturesUnordered<Job> = FuturesUnordered::new();
        jobs.push(Box::pin(pump.map(|()| None)));
        let (past, state) = (Semaphore::new(PAST_PER_CONNECTION), Mutex::new(state));
        let ahead = Share::new(&traffic.ahead, AHEAD_BYTES_MAX);
        let (flows, changed) = (Flows::new(traffic, version.draft()), Notify::new());
        let hurried = Mutex::default();
        let (offers, datagrams) = (Semaphore::new(OFFERS_OPENING_MAX), Held::default());
        let offered = watch::Sender::default();
        let link = Link {
            connection,
            version,
            flows,
            log,
            past,
            past_taken: AtomicU64::new(0),
            offers,
            offered,
            datagrams,
            hurried,
            ahead,
            state,
            changed,
        };
        Self {
            link: Arc::new(link),
            jobs,
            events: VecDeque::new(),
            streams: BTreeMap::new(),
            control: None,
            timer: None,
            unwritten,
            over: None,
            last_turns: LAST_TURNS,
        }
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// With which code we have closed the session, if we have.
    pub(crate) fn closed_with(&self) -> Option<u64> {
        self.over
    }

    /// Writes down how it ended.
    pub(crate) fn log_end(&self, ended: &Ended) {
        self.link.log.event("quic:connection_closed", || {
            let owner = if self.over.is_some() { "local" } else { "remote" };
            let code = self.over.or(ended.code);
            serde_json::json!({ "owner": owner, "application_code": code, "reason": ended.reason })
        });
    }

    /// The next thing that happened; how the connection ended, once it has. Dropping the future loses
    /// nothing.
    pub(crate) async fn next(&mut self) -> Result<Event, Ended> {
        loop {
            self.drain();
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            // They are large, and seldom: none of their places is kept.
            self.events = VecDeque::new();
            if self.over.is_some() {
                return Err(self.link.connection.closed().await);
            }
            let link = self.link.clone();
            let timer = async {
                match self.timer {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = link.changed.notified() => {}
                Some(over) = self.jobs.next() => {
                    if let Some(stream) = over {
                        self.streams.remove(&stream);
                    }
                }
                Some((send, recv)) = link.connection.accept_bi() => self.accept(send, recv),
                Some(stream) = link.connection.accept_uni() => {
                    let read = read_data(link.clone(), stream);
                    self.jobs.push(Box::pin(read.map(|()| None)));
                }
                Some(datagram) = link.connection.read_datagram() => {
                    link.handle(Input::Datagram(datagram));
                }
                () = timer => link.handle(Input::Timeout),
                ended = link.connection.closed() => {
                    // Its last words may have come in the same moment as what was said before.
                    if self.last_turns == 0 {
                        return Err(ended);
                    }
                    self.last_turns -= 1;
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Runs the jobs that are left when the connection is over: they wait for something else than the peer.
    pub(crate) async fn run_on(&mut self) -> Infallible {
        loop {
            self.drain();
            let link = self.link.clone();
            tokio::select! {
                () = link.changed.notified() => {}
                Some(_) = self.jobs.next() => {}
            }
        }
    }

    /// Takes all that the session has to say.
    fn drain(&mut self) {
        loop {
            let output = {
                let mut state = self.link.state();
                for job in state.jobs.drain(..) {
                    self.jobs.push(job);
                }
                state.collect();
                state.outputs.pop_front().ok_or_else(|| {
                    // Events are large, and seldom: none of their places is kept.
                    state.outputs = VecDeque::new();
                    state.session.timer()
                })
            };
            match output {
                Ok(output) => self.output(output),
                Err(timer) => {
                    self.timer = timer;
                    return;
                }
            }
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Control(bytes) => self.write_control(bytes),
            Output::Open(id) => {
                let (sides, ends) = sides();
                self.streams.insert(id, sides);
                self.jobs.push(Box::pin(open(self.link.clone(), id, ends)));
            }
            Output::Send { stream, bytes } => self.tell(stream, self.say(bytes)),
            Output::Finish(stream) => self.tell(stream, Write::Finish),
            Output::Reset { stream, code } => self.tell(stream, Write::Reset(code)),
            Output::Stop { stream, code } => {
                let stop = self.streams.get_mut(&stream).and_then(|sides| sides.stop.take());
                if let Some(stop) = stop {
                    let _ = stop.send(code);
                }
            }
            Output::StopData { stream, code } => {
                if let Some(waiting) = self.link.state().waiting.remove(&stream) {
                    let _ = waiting.send(Belongs::Nobody(code));
                }
            }
            Output::Event(Event::Data { stream, id, .. }) => {
                if let Some(waiting) = self.link.state().waiting.remove(&stream) {
                    let _ = waiting.send(Belongs::To(id));
                }
            }
            Output::Event(Event::Datagram { id, datagram }) => {
                let owner = self.link.state().owners.get(&id).cloned();
                if let Some(owner) = owner
                    && let Some(queued) = owner.datagrams.push(datagram)
                {
                    let _ = owner.told.send(Told::Datagram(queued));
                }
            }
            Output::Event(event) => self.event(event),
            Output::Close { code, reason } => {
                self.link.connection.close(code, &reason);
                self.over = Some(code);
            }
        }
    }

    /// What is about an owned request goes to its owner.
    fn event(&mut self, event: Event) {
        let about = match &event {
            Event::Answered { id, .. }
            | Event::UpdateAnswered { id, .. }
            | Event::Update { id, .. }
            | Event::Cancelled { id, .. }
            | Event::Done { id, .. }
            | Event::Drained { id }
            | Event::Notified { id, .. }
            | Event::Namespace { id, .. }
            | Event::NamespaceDone { id, .. }
            | Event::PublishBlocked { id, .. } => Some(*id),
            // Of one that goes on here its owner asks again; where another server is named, that is the client's to do.
            Event::GoAway { request, uri, .. } if uri.is_empty() => *request,
            _ => None,
        };
        let owner = about.and_then(|id| self.link.state().owners.get(&id).cloned());
        match owner {
            Some(owner) => drop(owner.told.send(Told::Event(event))),
            None => self.events.push_back(event),
        }
    }

    fn write_control(&mut self, bytes: Bytes) {
        let write = self.say(bytes);
        let control = self.control.get_or_insert_with(|| {
            let (sender, writes) = mpsc::channel(QUEUED_ANSWERS_MAX);
            let link = self.link.clone();
            self.jobs.push(Box::pin(async move {
                match link.version.control_stream() {
                    ControlStream::Unidirectional => {
                        let stream = link.connection.open_uni().await?;
                        write_control(&link, stream, writes).await;
                    }
                    ControlStream::Bidirectional => {
                        let streams = link.connection.open_bi().await?;
                        both_controls(&link, streams, writes).await;
                    }
                }
                None
            }));
            sender
        });
        let full = queue(control, write);
        self.unread(full);
    }

    /// It was counted when the session said it.
    fn say(&self, bytes: Bytes) -> Write {
        Write::Bytes(Said { bytes, of: self.unwritten.clone() })
    }

    fn tell(&mut self, stream: StreamId, write: Write) {
        let full = self.streams.get(&stream).is_some_and(|sides| queue(&sides.write, write));
        self.unread(full);
    }

    fn unread(&self, full: bool) {
        if full && self.over.is_none() {
            self.link.command(unread());
        }
    }

    /// A request of the peer; or the control stream, which is the first one in drafts that have it in both
    /// directions (draft-16 §3.3). A client has opened its own by then.
    fn accept(&mut self, send: SendStream, recv: RecvStream) {
        let shared = self.link.version.control_stream() == ControlStream::Bidirectional;
        if shared && self.control.is_none() {
            let (sender, writes) = mpsc::channel(QUEUED_ANSWERS_MAX);
            self.control = Some(sender);
            let link = self.link.clone();
            self.jobs.push(Box::pin(async move {
                both_controls(&link, (send, recv), writes).await;
                None
            }));
            return;
        }
        let id = StreamId::Peers(recv.id());
        let (sides, ends) = sides();
        self.streams.insert(id, sides);
        self.jobs.push(Box::pin(both(self.link.clone(), id, (send, recv), ends)));
    }
}

/// Whether there is no room for it. A stream that is over takes nothing, and needs nothing.
fn queue(writes: &mpsc::Sender<Write>, write: Write) -> bool {
    matches!(writes.try_send(write), Err(TrySendError::Full(_)))
}

/// Our side of the control stream.
async fn write_control(link: &Link, mut stream: SendStream, writes: mpsc::Receiver<Write>) {
    stream.set_priority(priority::CONTROL);
    link.log.stream("local", stream.id(), "control");
    let told = link.log.messages(link.version, stream.id(), "created");
    if write_stream(stream, writes, told).await.is_some() {
        link.handle(Input::ControlClosed);
    }
}

/// A control stream in both directions.
async fn both_controls(
    link: &Link,
    (send, recv): (SendStream, RecvStream),
    writes: mpsc::Receiver<Write>,
) {
    link.handle(Input::ControlOpened(Bytes::new()));
    let told = link.log.messages(link.version, recv.id(), "parsed");
    tokio::join!(write_control(link, send, writes), read_control(link, recv, told));
}

/// Opens a request stream of ours.
async fn open(link: Arc<Link>, id: StreamId, ends: Ends) -> Option<StreamId> {
    let streams = link.connection.open_bi().await?;
    both(link, id, streams, ends).await
}

/// Both sides of a request stream, to the end of both.
async fn both(
    link: Arc<Link>,
    id: StreamId,
    (mut send, recv): (SendStream, RecvStream),
    ends: Ends,
) -> Option<StreamId> {
    send.set_priority(priority::REQUEST);
    let told = link.log.messages(link.version, send.id(), "created");
    let write = async {
        if let Some(code) = write_stream(send, ends.write, told).await {
            link.handle(Input::Stopped { stream: id, code });
        }
    };
    tokio::join!(write, read_request(&link, id, recv, ends.stop));
    Some(id)
}

/// Writes what it is told, to the end of the stream; answers the peer's code if it wants no more.
async fn write_stream(
    mut stream: SendStream,
    mut writes: mpsc::Receiver<Write>,
    mut told: Messages,
) -> Option<u64> {
    loop {
        let write = tokio::select! {
            write = writes.recv() => write?,
            code = stream.stopped() => {
                // Dropping the stream resets it, as the peer wants.
                return code;
            }
        };
        match write {
            Write::Bytes(said) => {
                told.see(&said.bytes);
                match stream.write(&mut [said.bytes.clone()]).await {
                    Ok(()) => {}
                    Err(WriteEnd::Stopped(code)) => return Some(code),
                    Err(WriteEnd::Lost) => return None,
                }
            }
            Write::Finish => {
                stream.finish();
                return stream.stopped().await;
            }
            Write::Reset(code) => {
                stream.reset(code);
                return None;
            }
        }
    }
}

async fn read_request(
    link: &Link,
    id: StreamId,
    mut recv: RecvStream,
    mut stop: oneshot::Receiver<u64>,
) {
    let mut told = link.log.messages(link.version, recv.id(), "parsed");
    loop {
        let read = tokio::select! {
            read = recv.read() => read,
            Ok(code) = &mut stop => return recv.stop(code),
        };
        match read {
            Read::Chunk(bytes) => {
                told.see(&bytes);
                link.handle(Input::Bytes { stream: id, bytes });
            }
            Read::Fin => return link.handle(Input::Finished(id)),
            Read::Reset(code) => return link.handle(Input::Reset { stream: id, code }),
            Read::Lost => return,
        }
    }
}

/// Gives the peer time to read the last words.
pub(crate) async fn linger(connection: &Connection) {
    let _ = tokio::time::timeout(CLOSE_LINGER, connection.flushed()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_that_nobody_reads_have_a_bound() {
        let (writes, reader) = mpsc::channel(QUEUED_ANSWERS_MAX);
        assert!((0..QUEUED_ANSWERS_MAX).all(|_| !queue(&writes, Write::Finish)));
        assert!(queue(&writes, Write::Finish), "more than there may be");
        drop(reader);
        assert!(!queue(&writes, Write::Finish), "a stream that is over");
    }

    #[test]
    fn so_have_their_bytes_on_all_streams_together() {
        let (unwritten, message) = (Unwritten::default(), Bytes::from(vec![0; 60_000]));
        let most = QUEUED_ANSWERS_BYTES_MAX / (message.len() + PIECE_BYTES);
        let say = |too_much: bool| {
            assert_eq!(unwritten.add(&message), too_much);
            Said { bytes: message.clone(), of: unwritten.clone() }
        };
        let mut said: Vec<Said> = (0..most).map(|_| say(false)).collect();
        said.push(say(true));
        // Written, or not to be written any more.
        said.truncate(most - 1);
        said.push(say(false));
        drop(said);
        assert_eq!(unwritten.0.load(Ordering::Relaxed), 0);
    }
}
