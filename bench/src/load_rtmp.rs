//! Encoders without an encoder: one thread replays a ring over many RTMP connections, each message at
//! its time.
//!
//! The schedule is fixed beforehand and never waits for the server: what it can't take at once is
//! queued here and counted, so a slow server shows.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::{Buf, Bytes};
use rtmp::Kind;
use rtmp::client::{Client, Command, Config, Event, Target};
use sansio::stream::{Input, Output};
use sansio::{Core, Poll};

use crate::ring::{FRAMES, FRAMES_PER_S, GROUP, ROUND_US, Ring};

/// A connection that was silent for so long while it was set up is given up.
const SETUP: Duration = Duration::from_secs(10);

/// Pieces of one write.
const SLICES_MAX: usize = 64;

/// One encoder's connection.
struct Encoder {
    socket: TcpStream,
    client: Client,
    unsent: VecDeque<Bytes>,
    unsent_bytes: usize,
}

impl Encoder {
    fn connect(url: &str, n: usize) -> Result<Self> {
        let target = Target::parse(url).context("the encoder's URL")?;
        let socket = TcpStream::connect((target.host.as_str(), target.port))
            .context("can't reach the server")?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(SETUP))?;
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&(n as u64).to_be_bytes());
        let client = Client::new(Instant::now(), Config::new(target, seed));
        let mut encoder = Self { socket, client, unsent: VecDeque::new(), unsent_bytes: 0 };
        let mut buffer = [0; 4096];
        while !encoder.take_outputs() {
            encoder.flush()?;
            let n = encoder.socket.read(&mut buffer).context("no answer from the server")?;
            let input = if n == 0 { Input::Eof } else { Input::Bytes(&buffer[..n]) };
            encoder.client.handle(Instant::now(), input)?;
        }
        encoder.flush()?;
        encoder.socket.set_nonblocking(true)?;
        Ok(encoder)
    }

    fn send(&mut self, kind: Kind, timestamp: u32, payload: Bytes) -> Result<()> {
        self.client.command(Instant::now(), Command::Media { kind, timestamp, payload })?;
        self.take_outputs();
        self.flush()
    }

    /// Whether publishing may begin.
    fn take_outputs(&mut self) -> bool {
        let mut publishing = false;
        while let Poll::Output(output) = self.client.poll() {
            match output {
                Output::Send(bytes) => {
                    self.unsent_bytes += bytes.len();
                    self.unsent.push_back(bytes);
                }
                Output::Event(Event::Publishing) => publishing = true,
                Output::Close => {}
            }
        }
        publishing
    }

    /// Writes what the socket takes.
    fn flush(&mut self) -> Result<()> {
        while !self.unsent.is_empty() {
            let slices: Vec<IoSlice<'_>> =
                self.unsent.iter().take(SLICES_MAX).map(|b| IoSlice::new(b)).collect();
            match self.socket.write_vectored(&slices) {
                Ok(n) => self.sent(n),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("the server has cut a connection"),
            }
        }
        Ok(())
    }

    fn sent(&mut self, mut n: usize) {
        self.unsent_bytes -= n;
        while let Some(first) = self.unsent.front_mut() {
            if n < first.len() {
                first.advance(n);
                return;
            }
            n -= first.len();
            self.unsent.pop_front();
        }
    }

    /// Reads what the server says: acknowledgements, or that it has enough of us.
    fn listen(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => bail!("the server has closed a connection"),
                Ok(n) => self.client.handle(Instant::now(), Input::Bytes(&buffer[..n]))?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("the server has cut a connection"),
            }
        }
        self.take_outputs();
        self.flush()
    }
}

/// When which encoder sends what. Encoder `n` of `count` starts later than the first one by `n` parts
/// of a group of pictures, so that key frames do not all come at once.
struct Schedule {
    due: BinaryHeap<Reverse<(u64, usize)>>,
    /// Messages that each has sent.
    next: Vec<u64>,
    times_us: Vec<u64>,
}

impl Schedule {
    fn new(ring: &Ring, count: usize) -> Self {
        let apart_us = GROUP * 1_000_000 / FRAMES_PER_S / count.max(1) as u64;
        let times_us: Vec<u64> = ring.round.iter().map(|message| message.at_us).collect();
        let first = times_us.first().copied().unwrap_or(0);
        let due = (0..count).map(|n| Reverse((n as u64 * apart_us + first, n))).collect();
        Self { due, next: vec![0; count], times_us }
    }

    /// The next message that is due: when, whose, the how manieth of its encoder's. Always from the
    /// fixed plan, however late it is asked for.
    fn next(&mut self) -> Option<(u64, usize, u64)> {
        let Reverse((at_us, encoder)) = self.due.pop()?;
        let n = self.next[encoder];
        self.next[encoder] += 1;
        let later = self.time(n + 1) - self.time(n);
        self.due.push(Reverse((at_us + later, encoder)));
        Some((at_us, encoder, n))
    }

    /// From an encoder's start to its message `n`.
    fn time(&self, n: u64) -> u64 {
        let round = self.times_us.len() as u64;
        n / round * ROUND_US + self.times_us[(n % round) as usize]
    }
}

/// What all encoders together have done so far.
#[derive(Debug, Default)]
struct Counted {
    bytes: AtomicU64,
    messages: AtomicU64,
    late_us_max: AtomicU64,
    unsent_max: AtomicU64,
}

/// What was sent between two looks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sent {
    /// Bytes of message bodies that the sockets have taken or that wait.
    pub(crate) bytes: u64,
    /// Messages.
    pub(crate) messages: u64,
    /// The latest that one left after its time, since the start.
    pub(crate) late_ms_max: f64,
    /// The most bytes that a server let wait here on one connection, since the start.
    pub(crate) unsent_max: u64,
}

/// What there is to say when all is sent.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// When each picture of each encoder was given to its socket; if that was asked for.
    pub(crate) pictures: Vec<Vec<Instant>>,
    /// When the last goodbye was given to its socket.
    pub(crate) goodbye: Option<Instant>,
}

/// Encoders that send until they are stopped.
pub(crate) struct Fleet {
    thread: Option<JoinHandle<Result<Ended>>>,
    counted: Arc<Counted>,
    stop: Arc<AtomicBool>,
    goodbye: Arc<AtomicBool>,
}

impl Fleet {
    /// Connects one encoder to each URL, and begins. Pictures' send times are kept if `mark` is set.
    pub(crate) fn start(ring: &Arc<Ring>, urls: &[String], mark: bool) -> Result<Self> {
        let mut encoders = Vec::new();
        for (n, url) in urls.iter().enumerate() {
            encoders.push(Encoder::connect(url, n)?);
        }
        let counted: Arc<Counted> = Arc::default();
        let (stop, goodbye): (Arc<AtomicBool>, Arc<AtomicBool>) = Default::default();
        let run = Run {
            schedule: Schedule::new(ring, encoders.len()),
            marks: vec![Vec::new(); if mark { encoders.len() } else { 0 }],
            ring: ring.clone(),
            encoders,
            counted: counted.clone(),
            stop: stop.clone(),
            goodbye: goodbye.clone(),
        };
        let thread = std::thread::Builder::new().name("encoders".to_owned());
        let thread = Some(thread.spawn(move || run.send())?);
        Ok(Self { thread, counted, stop, goodbye })
    }

    /// What was sent so far.
    pub(crate) fn sent(&self) -> Sent {
        let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
        Sent {
            bytes: of(&self.counted.bytes),
            messages: of(&self.counted.messages),
            late_ms_max: of(&self.counted.late_us_max) as f64 / 1e3,
            unsent_max: of(&self.counted.unsent_max),
        }
    }

    /// Whether all still send. A connection that was lost ends all: the run is void.
    pub(crate) fn running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Cuts all connections, as if the machine had lost its network.
    pub(crate) fn cut(mut self) -> Result<Ended> {
        self.end()
    }

    /// Says goodbye on all connections.
    pub(crate) fn goodbye(mut self) -> Result<Ended> {
        self.goodbye.store(true, Ordering::Relaxed);
        self.end()
    }

    fn end(&mut self) -> Result<Ended> {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(Ended::default()) };
        thread.join().map_err(|_| anyhow::anyhow!("the encoders' thread panicked"))?
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

struct Run {
    ring: Arc<Ring>,
    encoders: Vec<Encoder>,
    schedule: Schedule,
    counted: Arc<Counted>,
    marks: Vec<Vec<Instant>>,
    stop: Arc<AtomicBool>,
    goodbye: Arc<AtomicBool>,
}

impl Run {
    fn send(mut self) -> Result<Ended> {
        for encoder in &mut self.encoders {
            for (kind, body) in &self.ring.headers {
                encoder.send(*kind, 0, body.clone())?;
            }
        }
        let start = Instant::now();
        while let Some((at_us, encoder, n)) = self.schedule.next() {
            let due = start + Duration::from_micros(at_us);
            let now = Instant::now();
            if let Some(wait) = due.checked_duration_since(now) {
                std::thread::sleep(wait);
            }
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            self.one(due, encoder, n)?;
        }
        let goodbye = self.goodbye.load(Ordering::Relaxed);
        if goodbye {
            for encoder in &mut self.encoders {
                encoder.client.command(Instant::now(), Command::Goodbye)?;
                encoder.take_outputs();
                encoder.flush()?;
            }
        }
        Ok(Ended { pictures: self.marks, goodbye: goodbye.then(Instant::now) })
    }

    fn one(&mut self, due: Instant, encoder: usize, n: u64) -> Result<()> {
        let message = &self.ring.round[(n % self.ring.round.len() as u64) as usize];
        let timestamp = (self.schedule.time(n) / 1000) as u32;
        let (kind, payload) = (message.kind, message.payload.clone());
        let bytes = payload.len() as u64;
        let now = Instant::now();
        if kind == Kind::Video
            && let Some(marks) = self.marks.get_mut(encoder)
        {
            marks.push(now);
        }
        let encoder = &mut self.encoders[encoder];
        encoder.send(kind, timestamp, payload)?;
        if n.is_multiple_of(32) {
            encoder.listen()?;
        }
        let counted = &self.counted;
        counted.bytes.fetch_add(bytes, Ordering::Relaxed);
        counted.messages.fetch_add(1, Ordering::Relaxed);
        let late = now.saturating_duration_since(due).as_micros() as u64;
        counted.late_us_max.fetch_max(late, Ordering::Relaxed);
        counted.unsent_max.fetch_max(encoder.unsent_bytes as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// The number that is drawn into the picture that an encoder sends as its `n`th.
pub(crate) fn counter_of(n: u64) -> u64 {
    n % FRAMES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Timed;

    fn ring(times: &[u64]) -> Ring {
        let round = times
            .iter()
            .map(|&at_us| Timed { at_us, kind: Kind::Video, payload: Bytes::new() })
            .collect();
        Ring { headers: Vec::new(), round }
    }

    #[test]
    fn a_round_follows_the_other_without_a_seam() {
        let mut schedule = Schedule::new(&ring(&[0, 10, 4_000_000]), 1);
        let mut next = || schedule.next().unwrap();
        assert_eq!(next(), (0, 0, 0));
        assert_eq!(next(), (10, 0, 1));
        assert_eq!(next(), (4_000_000, 0, 2));
        assert_eq!(next(), (ROUND_US, 0, 3));
        assert_eq!(next(), (ROUND_US + 10, 0, 4));
    }

    #[test]
    fn key_frames_of_many_are_spread_over_a_group() {
        let mut schedule = Schedule::new(&ring(&[0, 3_000_000]), 4);
        let starts: Vec<_> = (0..4).map(|_| schedule.next().unwrap()).collect();
        assert_eq!(starts, [(0, 0, 0), (500_000, 1, 0), (1_000_000, 2, 0), (1_500_000, 3, 0)]);
        assert_eq!(schedule.next().unwrap(), (3_000_000, 0, 1));
    }

    #[test]
    fn counters_begin_anew_with_each_round() {
        assert_eq!([0, 239, 240, 481].map(counter_of), [0, 239, 0, 1]);
    }
}
