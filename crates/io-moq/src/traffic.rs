//! All sessions, and what goes and went over them: for those who run a server.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use moqt::session::Transport;
use spine::Path;

use crate::ahead::Ahead;
use crate::clock;
use crate::flow::{Flow, Waits};
pub use crate::flow::{FlowReport, Newest, Role, Sum, WAIT_MS};
use crate::limits::{AHEAD_BYTES_ALL_MAX, TRACKS_REMEMBERED_MAX};
use crate::link::Link;
use crate::transport::PathNumbers;

/// One open session.
#[derive(Debug, Clone)]
pub struct SessionReport {
    /// Its number, never used again while this server runs.
    pub id: u64,
    /// Where the peer is now.
    pub peer: SocketAddr,
    /// The number of the draft that is spoken.
    pub draft: u8,
    /// Whether WebTransport carries it, and not QUIC itself.
    pub over_web: bool,
    /// What the peer says of its software. A stranger's words, without control characters; never long.
    pub software: String,
    /// Since when.
    pub age: Duration,
    /// How the path does.
    pub numbers: PathNumbers,
    /// Its tracks.
    pub flows: Vec<FlowReport>,
}

/// One track, over all sessions, also those that are over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackReport {
    /// Of which broadcast.
    pub path: Path,
    /// Which track.
    pub track: Bytes,
    /// Who subscribes to it now.
    pub subscribers: u64,
    /// Sent to subscribers.
    pub sent: Sum,
    /// Sent to who asked for the past.
    pub fetched: Sum,
    /// Received from who publishes it.
    pub received: Sum,
}

/// Sessions of one draft that are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Over {
    /// How many.
    pub sessions: u64,
    /// The last round trip of each.
    pub round_trips: Waits,
    /// Packets that were sent.
    pub packets_sent: u64,
    /// Packets that were lost of these.
    pub packets_lost: u64,
}

/// Everything at one moment, for metrics: by role and draft, and by draft.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// What went, also over sessions that are open.
    pub by_role: BTreeMap<(Role, u8), Sum>,
    /// Sessions that are over, and the packets of all.
    pub by_draft: BTreeMap<u8, Over>,
    /// Sessions that are open, by draft and whether over WebTransport.
    pub open: BTreeMap<(u8, bool), u64>,
}

/// All sessions of a server.
pub struct Traffic {
    sessions: Mutex<Sessions>,
    ended: Mutex<Ended>,
    /// What is held of streams whose request is not known yet.
    pub(crate) ahead: Arc<Ahead>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self::with(AHEAD_BYTES_ALL_MAX)
    }
}

#[derive(Default)]
struct Sessions {
    next: u64,
    open: BTreeMap<u64, Weak<Link>>,
}

/// What is over.
#[derive(Default)]
pub(crate) struct Ended {
    by_role: BTreeMap<(Role, u8), Sum>,
    by_draft: BTreeMap<u8, Over>,
    tracks: BTreeMap<(Path, Bytes), Track>,
    clock: u64,
}

#[derive(Default)]
struct Track {
    sums: [Sum; 3],
    /// When something of it was over last.
    last: u64,
}

impl Ended {
    /// Something of a track is over.
    pub(crate) fn add(&mut self, draft: u8, flow: &Flow) {
        let sum = flow.sum();
        self.by_role.entry((flow.role, draft)).or_default().join(&sum);
        let key = (flow.path.clone(), flow.track.clone());
        if self.tracks.len() >= TRACKS_REMEMBERED_MAX && !self.tracks.contains_key(&key) {
            let oldest = self.tracks.iter().min_by_key(|(_, track)| track.last);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.tracks.remove(&oldest);
            }
        }
        self.clock += 1;
        let track = self.tracks.entry(key).or_default();
        track.last = self.clock;
        track.sums[flow.role as usize].join(&sum);
    }
}

impl fmt::Debug for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Traffic({} sessions)", self.sessions().open.len())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Traffic {
    /// One that holds so many bytes ahead.
    pub(crate) fn with(ahead: usize) -> Self {
        let (sessions, ended) = (Mutex::default(), Mutex::default());
        Self { sessions, ended, ahead: Arc::new(Ahead::new(ahead)) }
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        lock(&self.sessions)
    }

    pub(crate) fn ended(&self) -> MutexGuard<'_, Ended> {
        lock(&self.ended)
    }

    /// A session is among those that are told of, until what this answers is dropped.
    pub(crate) fn join(self: &Arc<Self>, link: &Arc<Link>) -> Joined {
        let mut sessions = self.sessions();
        sessions.next += 1;
        let id = sessions.next;
        sessions.open.insert(id, Arc::downgrade(link));
        Joined { traffic: self.clone(), link: link.clone(), id }
    }

    pub(crate) fn open(&self) -> Vec<(u64, Arc<Link>)> {
        let sessions = self.sessions();
        sessions.open.iter().filter_map(|(id, link)| Some((*id, link.upgrade()?))).collect()
    }

    /// The sessions that are open, the newest first.
    pub fn list(&self) -> Vec<SessionReport> {
        let now = clock::now();
        let open = self.open();
        let report = |(id, link): &(u64, Arc<Link>)| SessionReport {
            id: *id,
            peer: link.connection.peer(),
            draft: link.version.draft(),
            over_web: is_web(link),
            software: link.flows.software.get().cloned().unwrap_or_default(),
            age: now.saturating_duration_since(link.flows.since),
            numbers: link.connection.numbers(),
            flows: link.flows.all().iter().map(|flow| flow.report(now)).collect(),
        };
        open.iter().rev().map(report).collect()
    }

    /// The tracks that went over sessions: those that do, and of the others the last ones.
    pub fn tracks(&self) -> Vec<TrackReport> {
        let open = self.open();
        let ended = self.ended();
        let mut tracks: BTreeMap<(Path, Bytes), ([Sum; 3], u64)> = BTreeMap::new();
        for (key, track) in &ended.tracks {
            tracks.insert(key.clone(), (track.sums, 0));
        }
        for flow in open.iter().flat_map(|(_, link)| link.flows.all()) {
            let track = tracks.entry((flow.path.clone(), flow.track.clone())).or_default();
            track.0[flow.role as usize].join(&flow.sum());
            track.1 += u64::from(flow.role == Role::Subscription);
        }
        drop(ended);
        let report = |((path, track), (sums, subscribers))| {
            let [sent, fetched, received] = sums;
            TrackReport { path, track, subscribers, sent, fetched, received }
        };
        tracks.into_iter().map(report).collect()
    }

    /// All of it in a few numbers.
    pub fn totals(&self) -> Totals {
        let open = self.open();
        let ended = self.ended();
        let mut totals = Totals {
            by_role: ended.by_role.clone(),
            by_draft: ended.by_draft.clone(),
            open: BTreeMap::new(),
        };
        for (_, link) in &open {
            let draft = link.version.draft();
            for flow in link.flows.all() {
                totals.by_role.entry((flow.role, draft)).or_default().join(&flow.sum());
            }
            let numbers = link.connection.numbers();
            let over = totals.by_draft.entry(draft).or_default();
            over.packets_sent += numbers.packets_sent;
            over.packets_lost += numbers.packets_lost;
            *totals.open.entry((draft, is_web(link))).or_default() += 1;
        }
        totals
    }
}

fn is_web(link: &Link) -> bool {
    link.connection.transport() == Transport::WebTransport
}

/// A session that is told of.
pub(crate) struct Joined {
    traffic: Arc<Traffic>,
    link: Arc<Link>,
    id: u64,
}

impl Drop for Joined {
    fn drop(&mut self) {
        let numbers = self.link.connection.numbers();
        let mut ended = self.traffic.ended();
        self.traffic.sessions().open.remove(&self.id);
        let over = ended.by_draft.entry(self.link.version.draft()).or_default();
        over.sessions += 1;
        over.round_trips.add(numbers.round_trip);
        over.packets_sent += numbers.packets_sent;
        over.packets_lost += numbers.packets_lost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Flows;

    #[test]
    fn what_is_over_is_remembered_within_a_bound() {
        let traffic = Arc::<Traffic>::default();
        let flows = Flows::new(traffic.clone(), 18);
        let name = |n: usize| Bytes::from(n.to_string());
        for n in 0..TRACKS_REMEMBERED_MAX + 5 {
            let flow = flows.begin(Role::Subscription, Path::root(), name(n));
            flow.object(spine::Location { group: 0, object: 0 }, clock::now(), 7);
            if n == TRACKS_REMEMBERED_MAX - 1 {
                // Used again: it is younger than its neighbours.
                drop(flows.begin(Role::Fetch, Path::root(), name(0)));
            }
        }
        let tracks = traffic.tracks();
        assert_eq!(tracks.len(), TRACKS_REMEMBERED_MAX);
        let has = |n: usize| tracks.iter().any(|track| track.track == name(n));
        assert!(has(0) && !has(1) && !has(5) && has(6), "the oldest went");
        // The sums have all of them.
        let sum = traffic.totals().by_role[&(Role::Subscription, 18)];
        assert_eq!(sum.flows, TRACKS_REMEMBERED_MAX as u64 + 5);
        assert_eq!(sum.bytes, 7 * sum.flows);
    }
}
