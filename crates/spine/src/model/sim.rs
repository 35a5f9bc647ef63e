//! The spine and its model side by side: every handle that is open, and what the model knows of it.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::asks::{Asks, Kind};
use super::readers;
use super::reference::{Ledger, Place, Track};
use super::{Loc, Outcome, same};
use crate::track::Waiting;
use crate::*;

/// Random numbers that a seed repeats (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of `len` things.
    pub(super) fn index(&mut self, len: usize) -> Option<usize> {
        (len > 0).then(|| self.below(len as u64) as usize)
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether a reader waits, and whether it was woken.
pub(super) struct Wait {
    flag: Arc<Flag>,
    waker: Waker,
    pending: bool,
}

impl Wait {
    pub(super) fn new() -> Self {
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        Self { waker: Waker::from(flag.clone()), flag, pending: false }
    }

    pub(super) fn cx(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }

    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Compares what was polled with what the model says. Nobody may have to poll without a wake.
    pub(super) fn judge<T: PartialEq + Debug>(
        &mut self,
        what: &str,
        real: &Poll<T>,
        model: Option<T>,
    ) -> Outcome {
        let woken = self.flag.0.swap(false, Ordering::Relaxed);
        let skipped = self.pending && !woken && real.is_ready();
        self.pending = real.is_pending();
        let model = model.map_or(Poll::Pending, Poll::Ready);
        same!(what, *real, model);
        if skipped {
            return Err(format!("{what}: {real:?} is there and the reader was not woken"));
        }
        Ok(())
    }

    /// The next answer comes from the clock.
    pub(super) fn by_clock(&mut self) {
        self.pending = false;
    }
}

/// A track of a broadcast that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    pub(super) slot: usize,
    pub(super) track: usize,
}

pub(super) struct Named {
    pub(super) name: usize,
    pub(super) derived: bool,
    pub(super) model: Track,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Live,
    Parked(u64),
    Ended(Close),
}

pub(super) struct Broadcast {
    pub(super) serial: u64,
    pub(super) consumer: broadcast::Consumer,
    pub(super) life: Life,
    pub(super) epoch: u64,
    pub(super) term: u64,
    pub(super) revision: u64,
    pub(super) tracks: Vec<Named>,
    pub(super) watch: (u64, Waiting, Wait),
}

pub(super) struct Publisher {
    pub(super) slot: usize,
    pub(super) term: u64,
    pub(super) producer: broadcast::Producer,
    pub(super) waiting: Waiting,
    pub(super) wait: Wait,
}

pub(super) struct Writer {
    pub(super) at: At,
    pub(super) term: u64,
    pub(super) producer: track::Producer,
    pub(super) seen_demand: u64,
    pub(super) waiting: Waiting,
    pub(super) wait: Wait,
}

pub(super) struct GroupWriter {
    pub(super) at: At,
    pub(super) term: u64,
    pub(super) id: u64,
    pub(super) producer: group::Producer,
}

pub(super) struct SubWriter {
    pub(super) at: At,
    pub(super) term: u64,
    pub(super) place: Place,
    pub(super) producer: group::SubgroupProducer,
}

pub(super) struct Writing {
    pub(super) at: At,
    pub(super) object: usize,
    pub(super) offset: usize,
    pub(super) declared: Option<u64>,
    pub(super) writer: ObjectWriter,
}

pub(super) struct Following {
    pub(super) at: At,
    pub(super) cursor: Cursor,
    pub(super) model: readers::Cursor,
    pub(super) wait: Wait,
}

pub(super) struct SubReading {
    pub(super) at: At,
    /// The group, and the run of a subgroup.
    pub(super) place: (u64, (u64, u32)),
    pub(super) next: u64,
    pub(super) reader: SubgroupReader,
    pub(super) wait: Wait,
}

pub(super) struct Reading {
    pub(super) at: At,
    pub(super) object: usize,
    pub(super) next: usize,
    pub(super) reader: ObjectReader,
    pub(super) wait: Wait,
}

pub(super) struct Fetching {
    pub(super) at: At,
    pub(super) cursor: FetchCursor,
    pub(super) model: readers::Fetch,
    pub(super) wait: Wait,
}

pub(super) struct Answering {
    pub(super) at: At,
    pub(super) ask: usize,
    pub(super) left: Option<Loc>,
    pub(super) order: Order,
    pub(super) next_object: u64,
    pub(super) producer: FetchProducer,
}

pub(super) enum Lookup {
    Broadcast(usize, Pending<broadcast::Consumer>),
    Track(usize, usize, Pending<track::Consumer>),
}

pub(super) struct Looking {
    /// What it found at once, or the request that it waits for.
    pub(super) ask: Result<Result<(), LookupError>, usize>,
    pub(super) lookup: Lookup,
    pub(super) wait: Wait,
}

pub(super) struct Answerer {
    pub(super) responder: Responder,
    pub(super) wait: Wait,
}

pub(super) struct Listening {
    pub(super) announcements: Announcements,
    /// For each path: what happened since it was told, and whether it knows of a broadcast.
    pub(super) heard: Vec<(Vec<bool>, bool)>,
    pub(super) wait: Wait,
}

pub(super) const PATHS: usize = 2;
pub(super) const NAMES: [&str; 5] = ["video", "audio", "init", "video.cmaf", "late"];
pub(super) const PINNED: usize = 2;
pub(super) const OPAQUE: usize = 1;

pub(super) struct Sim {
    pub(super) random: Random,
    pub(super) base: Instant,
    pub(super) now: u64,
    pub(super) origin: Origin,
    pub(super) ledger: Ledger,
    pub(super) paths: Vec<Path>,
    pub(super) serials: u64,
    pub(super) slots: Vec<Option<Broadcast>>,
    pub(super) asks: Asks,
    pub(super) answerers: Vec<Answerer>,
    pub(super) publishers: Vec<Publisher>,
    pub(super) writers: Vec<Writer>,
    pub(super) groups: Vec<GroupWriter>,
    pub(super) subs: Vec<SubWriter>,
    pub(super) writing: Vec<Writing>,
    pub(super) following: Vec<Following>,
    pub(super) sub_reading: Vec<SubReading>,
    pub(super) reading: Vec<Reading>,
    pub(super) fetching: Vec<Fetching>,
    pub(super) answering: Vec<Answering>,
    pub(super) looking: Vec<Looking>,
    pub(super) held: Vec<(usize, Request)>,
    pub(super) listening: Vec<Listening>,
    pub(super) trace: Option<Vec<String>>,
    /// How often each thing was seen, to know what the histories cover.
    pub(super) seen: std::collections::BTreeMap<&'static str, u64>,
}

#[allow(clippy::disallowed_methods)]
pub(super) fn base() -> Instant {
    Instant::now()
}

impl Sim {
    pub(super) fn new(seed: u64, traced: bool) -> Self {
        let mut random = Random(seed);
        let cache = [8_000, 30_000, 1 << 30][random.below(3) as usize];
        let group = [1_500, 1 << 30][random.below(2) as usize];
        let ledger = Ledger { used: 0, cache, object: 300, group };
        let limits = Limits {
            cache_bytes: cache,
            object_bytes: ledger.object,
            group_bytes: group,
            requests_per_responder: 4,
            ..Limits::default()
        };
        let origin = Origin::new(limits);
        let asks = Asks { queue_max: 4, ..Asks::default() };
        let paths = ["a", "b"].map(|p| Path::new(["live", p]).unwrap()).to_vec();
        Self {
            random,
            base: base(),
            now: 0,
            origin,
            ledger,
            paths,
            serials: 0,
            slots: (0..PATHS).map(|_| None).collect(),
            asks,
            answerers: Vec::new(),
            publishers: Vec::new(),
            writers: Vec::new(),
            groups: Vec::new(),
            subs: Vec::new(),
            writing: Vec::new(),
            following: Vec::new(),
            sub_reading: Vec::new(),
            reading: Vec::new(),
            fetching: Vec::new(),
            answering: Vec::new(),
            looking: Vec::new(),
            held: Vec::new(),
            listening: Vec::new(),
            trace: traced.then(Vec::new),
            seen: std::collections::BTreeMap::new(),
        }
    }

    pub(super) fn time(&self, at: u64) -> Instant {
        self.base + Duration::from_millis(at)
    }

    pub(super) fn log(&mut self, what: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{now} ms: {}", what()));
        }
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    pub(super) fn broadcast(&mut self, slot: usize) -> &mut Broadcast {
        self.slots[slot].as_mut().unwrap()
    }

    pub(super) fn track(&mut self, at: At) -> (&mut Track, &mut Ledger) {
        let broadcast = self.slots[at.slot].as_mut().unwrap();
        (&mut broadcast.tracks[at.track].model, &mut self.ledger)
    }

    pub(super) fn name(&self, at: At) -> usize {
        self.slots[at.slot].as_ref().unwrap().tracks[at.track].name
    }

    /// A track of some broadcast, ended or not.
    pub(super) fn any_track(&mut self) -> Option<At> {
        let slot = self.random.below(PATHS as u64) as usize;
        let tracks = self.slots[slot].as_ref()?.tracks.len();
        Some(At { slot, track: self.random.index(tracks)? })
    }

    pub(super) fn consumer(&self, at: At) -> Outcome<track::Consumer> {
        let broadcast = self.slots[at.slot].as_ref().unwrap();
        let name = track_name(broadcast.tracks[at.track].name);
        broadcast.consumer.get(&name).ok_or(format!("{name:?} is not there"))
    }

    /// One random operation.
    pub(super) fn step(&mut self) -> Outcome {
        self.now += self.random.below(4);
        match self.random.below(100) {
            0..10 => self.open_group(),
            10..15 => self.end_group(),
            15..24 => self.open_subgroup(),
            24..33 => self.write_object(),
            33..38 => self.begin_object(),
            38..46 => self.continue_object(),
            46..50 => self.datagram(),
            50..54 => self.close_subgroup(),
            54 => self.write_rarely(),
            55..58 => self.subscribe(),
            58..70 => self.poll_cursor(),
            70..77 => self.poll_subgroup(),
            77..84 => self.poll_object(),
            84..86 => self.drop_reader(),
            86..89 => self.fetch(),
            89..93 => self.respond(),
            93 => self.look_up(),
            94..96 => self.listen(),
            96..99 => self.demand(),
            _ => self.live(),
        }?;
        same!("bytes charged", self.origin.budget().used(), self.ledger.used);
        Ok(())
    }
}

pub(super) fn track_name(name: usize) -> TrackName {
    TrackName::from_static(NAMES[name])
}

/// A byte of an object: whoever writes it, writes the same.
fn byte((path, name): (usize, usize), (group, object): Loc, at: usize) -> u8 {
    let key = group.wrapping_mul(0x9e37_79b9).wrapping_add(object.wrapping_mul(0x85eb_ca6b));
    let key = key.wrapping_add((path * 8 + name) as u64 * 0xc2b2_ae35);
    ((key >> (at % 7 * 8)) as u8).wrapping_add(at as u8)
}

pub(super) fn bytes(track: (usize, usize), place: Loc, range: std::ops::Range<usize>) -> Vec<u8> {
    range.map(|i| byte(track, place, i)).collect()
}

/// A request's subject, as the model names it.
pub(super) fn is_of(kind: Kind, serial: u64) -> bool {
    matches!(kind, Kind::Track(s, _) | Kind::Fetch(s, ..) if s == serial)
}
