//! Two cores against each other over a byte stream, in virtual time: no socket, no sleep, and the same
//! seed gives the same run. Writes are cut and joined at random on their way, as TCP may do.

mod seeds;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use seeds::replay;

use crate::Poll;
use crate::stream::{Input, Output, StreamCore};

/// A small seeded generator (SplitMix64), for tests only.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// A generator that always gives the same numbers for the same seed.
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// Any number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next_u64() % (bound.max(1) as u64)) as usize
    }
}

/// The time at which every virtual clock starts.
#[allow(clippy::disallowed_methods)] // An `Instant` can be had in no other way; only differences matter.
pub fn epoch() -> Instant {
    Instant::now()
}

/// How the link between the two ends behaves.
#[derive(Debug, Clone)]
pub struct Link {
    /// Decides where writes are cut.
    pub seed: u64,
    /// The longest piece that is delivered at once; 1 delivers byte by byte.
    pub piece_max: usize,
    /// One way.
    pub delay: Duration,
}

impl Link {
    /// Pieces of up to 4,000 bytes, no delay.
    pub fn seeded(seed: u64) -> Link {
        Link { seed, piece_max: 4_000, delay: Duration::ZERO }
    }
}

/// One end: a core, and what it has told so far.
pub struct End<C: StreamCore> {
    /// The core itself, for a look inside.
    pub core: C,
    /// Its events with their virtual time; tests take them out.
    pub events: Vec<(Instant, C::Event)>,
    /// Why it failed, if it did.
    pub error: Option<C::Error>,
    /// When it asked to close, failed, or was cut off.
    pub closed: Option<Instant>,
    /// What is on the way to it.
    arriving: VecDeque<(Instant, Arriving)>,
    deadline: Option<Instant>,
}

enum Arriving {
    Bytes(Bytes),
    Eof,
}

impl<C: StreamCore> End<C> {
    fn new(core: C) -> End<C> {
        End {
            core,
            events: Vec::new(),
            error: None,
            closed: None,
            arriving: VecDeque::new(),
            deadline: None,
        }
    }

    /// Takes the events told so far.
    pub fn take_events(&mut self) -> Vec<C::Event> {
        self.events.drain(..).map(|(_, event)| event).collect()
    }

    fn next_arrival(&self) -> Option<Instant> {
        self.arriving.front().map(|(at, _)| *at)
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.deadline.filter(|_| self.closed.is_none())
    }

    /// Delivers what is due: a random piece of what has arrived, or the end.
    fn deliver(&mut self, now: Instant, rng: &mut Rng, piece_max: usize) -> Vec<Arriving> {
        let wanted = if rng.below(4) == 0 { 1 } else { 1 + rng.below(piece_max) };
        let mut piece = Vec::new();
        while piece.len() < wanted {
            match self.arriving.front_mut() {
                Some((at, Arriving::Bytes(bytes))) if *at <= now => {
                    piece.extend_from_slice(&bytes.split_to(bytes.len().min(wanted - piece.len())));
                    if bytes.is_empty() {
                        self.arriving.pop_front();
                    }
                }
                Some((at, Arriving::Eof)) if *at <= now && piece.is_empty() => {
                    self.arriving.pop_front();
                    return self.handle(now, Input::Eof);
                }
                _ => break,
            }
        }
        self.handle(now, Input::Bytes(&piece))
    }

    fn handle(&mut self, now: Instant, input: Input<'_>) -> Vec<Arriving> {
        if self.closed.is_some() {
            return Vec::new();
        }
        let result = self.core.handle(now, input);
        self.drain(now, result)
    }

    fn command(&mut self, now: Instant, command: C::Command) -> Vec<Arriving> {
        let result = self.core.command(now, command);
        self.drain(now, result)
    }

    /// "Change once, then drain", also after an error: those are the last words.
    fn drain(&mut self, now: Instant, result: Result<(), C::Error>) -> Vec<Arriving> {
        let mut sent = Vec::new();
        loop {
            match self.core.poll() {
                Poll::Output(Output::Send(bytes)) => sent.push(Arriving::Bytes(bytes)),
                Poll::Output(Output::Event(event)) => self.events.push((now, event)),
                Poll::Output(Output::Close) => self.closed = self.closed.or(Some(now)),
                Poll::Wait(deadline) => {
                    self.deadline = deadline;
                    break;
                }
            }
        }
        if let Err(error) = result {
            self.error = Some(error);
            self.closed = self.closed.or(Some(now));
        }
        if self.closed.is_some() {
            sent.push(Arriving::Eof);
        }
        sent
    }
}

/// Two ends and the link between them.
pub struct Pair<A: StreamCore, B: StreamCore> {
    /// Virtual time.
    pub now: Instant,
    /// One end; for protocols with roles, the one that connects.
    pub a: End<A>,
    /// The other end; for protocols with roles, the one that listens.
    pub b: End<B>,
    link: Link,
    rng: Rng,
}

impl<A: StreamCore, B: StreamCore> Pair<A, B> {
    /// Joins two cores that were both made at `now`.
    pub fn new(now: Instant, link: Link, a: A, b: B) -> Pair<A, B> {
        let rng = Rng::new(link.seed);
        let mut pair = Pair { now, a: End::new(a), b: End::new(b), link, rng };
        let sent = pair.a.drain(now, Ok(()));
        pair.send_b(sent);
        let sent = pair.b.drain(now, Ok(()));
        pair.send_a(sent);
        pair
    }

    /// Gives a command to the first end.
    pub fn command_a(&mut self, command: A::Command) {
        let sent = self.a.command(self.now, command);
        self.send_b(sent);
    }

    /// Gives a command to the second end.
    pub fn command_b(&mut self, command: B::Command) {
        let sent = self.b.command(self.now, command);
        self.send_a(sent);
    }

    /// Delivers until nothing is on the way; time passes by the link's delay only.
    pub fn settle(&mut self) {
        while let Some(at) =
            [self.a.next_arrival(), self.b.next_arrival()].into_iter().flatten().min()
        {
            self.now = self.now.max(at);
            self.deliver_due();
        }
    }

    /// Lets time pass, with every delivery and deadline in it.
    pub fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        loop {
            let times = [
                self.a.next_arrival(),
                self.b.next_arrival(),
                self.a.next_deadline(),
                self.b.next_deadline(),
            ];
            let Some(at) = times.into_iter().flatten().min().filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            self.deliver_due();
            if self.a.next_deadline().is_some_and(|at| at <= self.now) {
                let sent = self.a.handle(self.now, Input::Timeout);
                self.send_b(sent);
            }
            if self.b.next_deadline().is_some_and(|at| at <= self.now) {
                let sent = self.b.handle(self.now, Input::Timeout);
                self.send_a(sent);
            }
        }
        self.now = end;
    }

    /// The connection breaks: what is on the way is lost, both ends see its end.
    pub fn cut(&mut self) {
        self.a.arriving.clear();
        self.b.arriving.clear();
        self.send_a(vec![Arriving::Eof]);
        self.send_b(vec![Arriving::Eof]);
        self.settle();
    }

    /// Sends raw bytes to the second end, past the first core: for peers that lie.
    pub fn inject_b(&mut self, bytes: impl Into<Bytes>) {
        self.send_b(vec![Arriving::Bytes(bytes.into())]);
    }

    fn deliver_due(&mut self) {
        if self.a.next_arrival().is_some_and(|at| at <= self.now) {
            let sent = self.a.deliver(self.now, &mut self.rng, self.link.piece_max);
            self.send_b(sent);
        }
        if self.b.next_arrival().is_some_and(|at| at <= self.now) {
            let sent = self.b.deliver(self.now, &mut self.rng, self.link.piece_max);
            self.send_a(sent);
        }
    }

    fn send_a(&mut self, sent: Vec<Arriving>) {
        let at = self.now + self.link.delay;
        self.a.arriving.extend(sent.into_iter().filter(Arriving::matters).map(|item| (at, item)));
    }

    fn send_b(&mut self, sent: Vec<Arriving>) {
        let at = self.now + self.link.delay;
        self.b.arriving.extend(sent.into_iter().filter(Arriving::matters).map(|item| (at, item)));
    }
}

impl Arriving {
    fn matters(&self) -> bool {
        !matches!(self, Arriving::Bytes(bytes) if bytes.is_empty())
    }
}
