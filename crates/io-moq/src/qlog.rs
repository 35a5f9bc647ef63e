//! Sessions written down, for whom somebody asks for it: JSON text sequences of qlog, with the events of
//! draft-pardue-moq-qlog-moq-events-08 and now and then how the QUIC path does.
//!
//! Who sends waits for nothing here: an event is put into a queue that a thread of its own empties onto the disk, and is
//! counted as lost where the queue is full. A disk that is full, or a folder that is not there, ends a log and nothing else.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use media::date::date_time;
use moqt::data::{Datagram, SubgroupHeader, SubgroupId};
use moqt::describe::{Describer, Field};
use moqt::session::Transport;
use moqt::{RequestId, Version};
use serde_json::{Value, json};

use crate::clock;
use crate::limits::{
    QLOG_EVENTS_QUEUED_MAX, QLOG_FILE_BYTES_MAX, QLOG_METRICS_EVERY, QLOG_QUEUED_BYTES_MAX,
};
use crate::transport::Connection;

mod writer;

pub use writer::Writer;

/// Whose sessions are written down.
pub type Wanted = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// Which end of a session writes it down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Server,
    Client,
}

impl Side {
    fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

/// Where logs go.
#[derive(Clone)]
pub struct Logs {
    sender: SyncSender<Entry>,
    /// Bytes that wait.
    queued: Arc<AtomicUsize>,
    next: Arc<AtomicU64>,
    wanted: Wanted,
}

/// What the writer is told.
enum Entry {
    Begin { file: u64, name: String },
    Record { file: u64, text: String },
    End { file: u64 },
}

/// Logs in this folder of the sessions of these peers. The writer is to be run by a thread of the caller's.
pub fn logs(folder: std::path::PathBuf, wanted: Wanted) -> (Logs, Writer) {
    let (sender, receiver): (_, Receiver<Entry>) = sync_channel(QLOG_EVENTS_QUEUED_MAX);
    let queued = Arc::<AtomicUsize>::default();
    let writer = Writer::new(folder, receiver, queued.clone());
    (Logs { sender, queued, next: Arc::default(), wanted }, writer)
}

impl Logs {
    /// Begins the log of a session, if it is wanted.
    pub(crate) fn begin(&self, connection: &Connection, version: Version, side: Side) -> Log {
        let peer = connection.peer();
        if !(self.wanted)(peer.ip().to_canonical()) {
            return Log::off();
        }
        let web = connection.transport() == Transport::WebTransport;
        let header = Header { side, peer, draft: version.draft(), web, now_ms: now_ms() };
        let path = Some(connection.clone());
        Log(Some(Arc::new(SessionLog::begin(self.clone(), &header, path))))
    }

    /// Whether there was room.
    fn put(&self, entry: Entry) -> bool {
        let bytes = entry.bytes();
        let queued = self.queued.fetch_add(bytes, Ordering::Relaxed);
        let fits = queued + bytes <= QLOG_QUEUED_BYTES_MAX && self.sender.try_send(entry).is_ok();
        if !fits {
            self.queued.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        match self {
            Self::Record { text, .. } => text.len(),
            Self::Begin { name, .. } => name.len(),
            Self::End { .. } => 0,
        }
    }
}

/// What stands before all events.
struct Header {
    side: Side,
    peer: SocketAddr,
    draft: u8,
    web: bool,
    now_ms: u64,
}

impl Header {
    fn value(&self, group: &str) -> Value {
        let carrier = if self.web { "WebTransport" } else { "QUIC" };
        json!({
            "file_schema": "urn:ietf:params:qlog:file:sequential",
            "serialization_format": "application/qlog+json-seq",
            "title": format!("MoQ draft {} over {carrier} with {}", self.draft, self.peer),
            "trace": {
                "vantage_point": { "type": self.side.word() },
                "event_schemas": [
                    "urn:ietf:params:qlog:events:moqt-08",
                    "urn:ietf:params:qlog:events:quic-12",
                    "urn:ietf:params:qlog:events:loglevel-13",
                ],
                "common_fields": {
                    "group_id": group,
                    "time_format": "relative_to_epoch",
                    "reference_time": {
                        "clock_type": "monotonic",
                        "epoch": "unknown",
                        "wall_clock_time": date_time(self.now_ms),
                    },
                },
            },
        })
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The log of one session, or none.
#[derive(Clone)]
pub(crate) struct Log(Option<Arc<SessionLog>>);

struct SessionLog {
    logs: Logs,
    file: u64,
    since: Instant,
    /// None in tests.
    path: Option<Connection>,
    /// When it was written how the path does.
    looked: Mutex<Option<Instant>>,
    written: AtomicUsize,
    full: AtomicBool,
    lost: AtomicU64,
}

impl SessionLog {
    fn begin(logs: Logs, header: &Header, path: Option<Connection>) -> Self {
        let file = logs.next.fetch_add(1, Ordering::Relaxed);
        // Sorted by name they are sorted by time. One process never names two alike, nor do two within a millisecond.
        let stamp = date_time(header.now_ms).replace([':', '-', '.'], "");
        let group = format!("{stamp}-{}-{file}", std::process::id());
        let name = format!("{group}_{}.sqlog", header.side.word());
        let log = Self {
            logs,
            file,
            since: clock::now(),
            path,
            looked: Mutex::new(None),
            written: AtomicUsize::new(0),
            full: AtomicBool::new(false),
            lost: AtomicU64::new(0),
        };
        if log.logs.put(Entry::Begin { file, name }) {
            log.record(&header.value(&group));
        } else {
            log.full.store(true, Ordering::Relaxed);
        }
        log
    }

    fn event(&self, name: &str, data: Value) {
        if self.full.load(Ordering::Relaxed) {
            return;
        }
        self.look();
        self.record(&self.timed(name, data));
    }

    fn timed(&self, name: &str, data: Value) -> Value {
        let ms = clock::now().saturating_duration_since(self.since).as_secs_f64() * 1e3;
        json!({ "time": (ms * 1e3).round() / 1e3, "name": name, "data": data })
    }

    /// How the path does, from time to time.
    fn look(&self) {
        let Some(path) = &self.path else { return };
        let now = clock::now();
        {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            if looked.is_some_and(|looked| now < looked + QLOG_METRICS_EVERY) {
                return;
            }
            *looked = Some(now);
        }
        let numbers = path.numbers();
        let metrics = json!({
            "smoothed_rtt": numbers.round_trip.as_secs_f64() * 1e3,
            "congestion_window": numbers.congestion_window,
            "airwave_packets_sent": numbers.packets_sent,
            "airwave_packets_lost": numbers.packets_lost,
            "airwave_bytes_sent": numbers.bytes_sent,
            "airwave_bytes_received": numbers.bytes_received,
        });
        self.record(&self.timed("quic:recovery_metrics_updated", metrics));
    }

    fn record(&self, value: &Value) {
        // RFC 7464 §2.2
        let text = |value: &Value| format!("\u{1e}{value}\n");
        // A session is one task: nobody counts in between.
        let lost = self.lost.load(Ordering::Relaxed);
        let gap = (lost > 0).then(|| {
            let message = format!("{lost} events are missing here: the disk was too slow for them");
            text(&self.timed("loglevel:warning", json!({ "message": message })))
        });
        let text = gap.unwrap_or_default() + &text(value);
        let bytes = text.len();
        if !self.logs.put(Entry::Record { file: self.file, text }) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.lost.fetch_sub(lost, Ordering::Relaxed);
        let before = self.written.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > QLOG_FILE_BYTES_MAX && !self.full.swap(true, Ordering::Relaxed) {
            let message = "this log is as long as one may be: nothing follows";
            self.record(&self.timed("loglevel:warning", json!({ "message": message })));
        }
    }
}

impl Drop for SessionLog {
    fn drop(&mut self) {
        // Of a full queue the writer learns it when the file's turn to be forgotten comes.
        self.logs.put(Entry::End { file: self.file });
    }
}

impl Log {
    pub(crate) fn off() -> Self {
        Self(None)
    }

    /// Something happened; what, is only made if it is written down.
    pub(crate) fn event(&self, name: &str, data: impl FnOnce() -> Value) {
        if let Some(log) = &self.0 {
            log.event(name, data());
        }
    }

    /// Something was `created` or `parsed`.
    fn moqt(&self, (what, how): (&str, &str), data: impl FnOnce() -> Value) {
        if let Some(log) = &self.0 {
            log.event(&format!("moqt:{what}_{how}"), data());
        }
    }

    /// A stream has turned out to be one of this kind.
    pub(crate) fn stream(&self, owner: &str, stream: u64, kind: &str) {
        self.event(
            "moqt:stream_type_set",
            || json!({ "owner": owner, "stream_id": stream, "stream_type": kind }),
        );
    }

    /// Tells the control messages of one direction of a stream: `created` or `parsed` ones.
    pub(crate) fn messages(&self, version: Version, stream: u64, how: &'static str) -> Messages {
        let log = self.0.clone();
        Messages(log.map(|log| {
            Box::new(Reading {
                log,
                describer: Describer::new(version),
                stream,
                name: format!("moqt:control_message_{how}"),
            })
        }))
    }

    pub(crate) fn subgroup(&self, how: &str, stream: u64, header: &SubgroupHeader) {
        self.moqt(("subgroup_header", how), || {
            let (mode, subgroup) = match header.subgroup {
                SubgroupId::Zero => (0, Some(0)),
                SubgroupId::FirstObject => (1, None),
                SubgroupId::Given(id) => (2, Some(id)),
            };
            let mut told = json!({
                "stream_id": stream,
                "track_alias": header.alias,
                "group_id": header.group,
                "subgroup_id_mode": mode,
                "contains_end_of_group": header.end_of_group,
                "properties_present": header.properties,
            });
            put(&mut told, "subgroup_id", subgroup);
            put(&mut told, "publisher_priority", header.priority);
            told
        });
    }

    /// An object of a subgroup: which one, that before it on its stream, and how long it is. `age`: since it came into
    /// this server.
    pub(crate) fn subgroup_object(
        &self,
        how: &str,
        stream: u64,
        (object, before): (u64, Option<u64>),
        (length, status): (u64, u64),
        age: Option<Duration>,
    ) {
        self.moqt(("subgroup_object", how), || {
            let delta = before.map_or(object, |before| object.saturating_sub(before + 1));
            let mut told = json!({
                "stream_id": stream,
                "object_id_delta": delta,
                "object_payload_length": length,
                "object_payload": { "length": length },
                "airwave_object_id": object,
            });
            put(&mut told, "object_status", Some(status).filter(|_| length == 0));
            put(&mut told, "airwave_age_ms", age.map(|age| age.as_secs_f64() * 1e3));
            told
        });
    }

    pub(crate) fn datagram(&self, how: &str, datagram: &Datagram) {
        self.moqt(("object_datagram", how), || {
            let mut told = json!({
                "track_alias": datagram.alias,
                "group_id": datagram.group,
                "object_id": datagram.object,
                "end_of_group": datagram.end_of_group,
                "properties_length": datagram.properties.as_bytes().len(),
            });
            put(&mut told, "publisher_priority", datagram.priority);
            match &datagram.body {
                moqt::data::Body::Payload(payload) => {
                    told["object_payload"] = json!({ "length": payload.len() });
                }
                moqt::data::Body::Status(status) => told["object_status"] = status.number().into(),
            }
            told
        });
    }

    /// A stream with objects of a fetch or a fill begins.
    pub(crate) fn fetch(&self, owner: &str, stream: u64, request: RequestId) {
        self.stream(owner, stream, "fetch_header");
        let how = if owner == "local" { "created" } else { "parsed" };
        self.moqt(
            ("fetch_header", how),
            || json!({ "stream_id": stream, "request_id": request.0 }),
        );
    }

    /// An object of a fetch.
    pub(crate) fn fetch_object(&self, how: &str, stream: u64, object: &moqt::data::FetchObject) {
        self.moqt(("fetch_object", how), || {
            let (datagram, subgroup) = match object.via {
                moqt::data::Via::Subgroup(id) => (false, Some(id)),
                moqt::data::Via::Datagram => (true, None),
            };
            let mut told = json!({
                "stream_id": stream,
                "datagram": datagram,
                "end_of_nonexistent_range": false,
                "end_of_unknown_range": false,
                "group_id": object.location.group,
                "object_id": object.location.object,
                "publisher_priority": object.priority,
                "properties_length": object.properties.as_bytes().len(),
                "object_payload_length": object.payload_length,
                "object_payload": { "length": object.payload_length },
            });
            put(&mut told, "subgroup_id", subgroup);
            told
        });
    }
}

/// Some fields are there or not.
fn put(told: &mut Value, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        told[name] = value.into();
    }
}

/// Control messages of one direction of a stream, if they are written down.
pub(crate) struct Messages(Option<Box<Reading>>);

struct Reading {
    log: Arc<SessionLog>,
    describer: Describer,
    stream: u64,
    name: String,
}

impl Messages {
    /// The next bytes of it.
    pub(crate) fn see(&mut self, bytes: &[u8]) {
        let Some(reading) = &mut self.0 else { return };
        for told in reading.describer.read(bytes) {
            let message = json!({
                "stream_id": reading.stream,
                "length": told.length,
                "message": value(told.message),
            });
            reading.log.event(&reading.name, message);
        }
    }
}

fn value(field: Field) -> Value {
    match field {
        Field::Number(number) => number.into(),
        Field::Text(text) => text.into(),
        Field::List(fields) => fields.into_iter().map(value).collect(),
        Field::Map(fields) => {
            let fields = fields.into_iter().map(|(name, field)| (name.to_owned(), value(field)));
            Value::Object(fields.collect())
        }
    }
}

#[cfg(test)]
mod tests;
