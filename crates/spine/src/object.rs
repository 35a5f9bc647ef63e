//! Objects: the smallest thing with a name. A payload may still be arriving while it is read.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;

use crate::budget::{Charge, Payload};
use crate::error::{ResetCode, WriteError};
use crate::limits::ID_MAX;
use crate::track::Shared;
use crate::wake::{Ticket, lock};

/// Where an object is in its track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The group's id. Ids rise; they may have holes.
    pub group: u64,
    /// The object's id in its group. Ids rise; they may have holes.
    pub object: u64,
}

impl Location {
    /// This one, or the nearest that an object can have.
    pub(crate) fn clamped(self) -> Self {
        Self { group: self.group.min(ID_MAX), object: self.object.min(ID_MAX) }
    }
}

/// How an object came in, and so how it goes out. Kept per object, never changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// In order on the stream of this subgroup.
    Subgroup(u64),
    /// On its own.
    Datagram,
}

/// What an object says besides its payload. draft-ietf-moq-transport §10.2.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// A payload.
    Normal,
    /// No payload: no object of the group has this id or a higher one.
    EndOfGroup,
    /// No payload: no object of the track is here or behind.
    EndOfTrack,
}

/// When an object is decoded and shown, in units of the track's timescale. Absent on opaque tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Decode time.
    pub decode: i64,
    /// Presentation time.
    pub present: i64,
    /// Duration as known when it arrived; exact is the next decode time minus this one.
    pub duration: u32,
    /// Whether decoding can start here.
    pub sync: bool,
}

/// What is known of an object before its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The object's id in its group.
    pub id: u64,
    /// How it travels.
    pub via: Via,
    /// The publisher's priority; lower is sent first.
    pub priority: u8,
    /// Payload, or a mark.
    pub status: Status,
    /// When its first byte came in.
    pub arrived: Instant,
    /// Its publisher says that no object of its subgroup was before it.
    pub first: bool,
    /// Media time, if the track has any.
    pub timing: Option<Timing>,
    /// Key-value pairs of the publisher, passed on as they are.
    pub properties: Bytes,
}

impl Header {
    /// An ordinary object of subgroup 0 without properties.
    pub fn new(id: u64, arrived: Instant) -> Self {
        Self {
            id,
            via: Via::Subgroup(0),
            priority: 128,
            status: Status::Normal,
            arrived,
            first: false,
            timing: None,
            properties: Bytes::new(),
        }
    }
}

/// One object in memory, shared by the group that holds it and everybody who reads it.
pub(crate) struct Cell {
    pub(crate) header: Header,
    /// The payload's length, where the first writer knew it.
    declared: Option<u64>,
    body: Mutex<Body>,
    _overhead: Charge,
}

struct Body {
    chunks: Vec<Payload>,
    len: usize,
    state: State,
    /// Writers that have not finished. Identical objects from several writers become one: whatever
    /// one of them brings beyond the longest prefix so far is appended.
    writers: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Done,
    Reset(ResetCode),
}

impl Body {
    /// Whether bytes that are at this offset are others than those that are here.
    fn differs(&self, offset: usize, bytes: &[u8]) -> bool {
        let mut at = 0;
        self.chunks.iter().any(|chunk| {
            let (begin, end) = (at.max(offset), (at + chunk.len()).min(offset + bytes.len()));
            let here = at;
            at += chunk.len();
            begin < end && chunk[begin - here..end - here] != bytes[begin - offset..end - offset]
        })
    }
}

impl Cell {
    pub(crate) fn whole(header: Header, chunks: Vec<Payload>, overhead: Charge) -> Self {
        let len = chunks.iter().map(|c| c.len()).sum();
        let body = Body { chunks, len, state: State::Done, writers: 0 };
        Self { header, declared: Some(len as u64), body: Mutex::new(body), _overhead: overhead }
    }

    pub(crate) fn open(header: Header, declared: Option<u64>, overhead: Charge) -> Self {
        let body = Body { chunks: Vec::new(), len: 0, state: State::Open, writers: 0 };
        Self { header, declared, body: Mutex::new(body), _overhead: overhead }
    }

    /// Whether its payload will never be complete.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(lock(&self.body).state, State::Reset(_))
    }

    /// Whether another object of its id is not the same (draft-ietf-moq-transport-18 §2.4.2, §9.1): in how it
    /// travels, its priority, its status, or in what is known of both payloads.
    pub(crate) fn contradicts(&self, other: &Self) -> bool {
        let (a, b) = (&self.header, &other.header);
        let lengths = self.declared.zip(other.declared);
        if (a.via, a.priority, a.status) != (b.via, b.priority, b.status)
            || lengths.is_some_and(|(a, b)| a != b)
        {
            return true;
        }
        let body = lock(&other.body);
        let mut at = 0;
        let differs = |chunk: &Payload| {
            let differs = lock(&self.body).differs(at, chunk);
            at += chunk.len();
            differs
        };
        body.chunks.iter().any(differs)
    }

    /// Resets a payload that will not be completed.
    pub(crate) fn abandon(&self, code: ResetCode) {
        let mut body = lock(&self.body);
        if body.state == State::Open {
            body.state = State::Reset(code);
        }
    }
}

/// Writes the payload of one object as it arrives. Dropping it early resets the object, unless
/// another writer of the same object goes on.
pub struct ObjectWriter {
    track: Arc<Shared>,
    group: u64,
    cell: Arc<Cell>,
    /// How much this writer has brought.
    offset: usize,
    declared: Option<u64>,
    /// Other bytes than those that are there are an error.
    checked: bool,
    finished: bool,
}

impl ObjectWriter {
    pub(crate) fn new(
        track: Arc<Shared>,
        group: u64,
        cell: Arc<Cell>,
        (declared, checked): (Option<u64>, bool),
    ) -> Self {
        lock(&cell.body).writers += 1;
        Self { track, group, cell, offset: 0, declared, checked, finished: false }
    }

    /// Appends to the payload.
    pub fn write(&mut self, chunk: Payload) -> Result<(), WriteError> {
        let end = self.offset.saturating_add(chunk.len());
        if self.declared.is_some_and(|len| end as u64 > len) {
            return Err(WriteError::LongerThanDeclared);
        }
        if end > self.track.limits.object_bytes {
            return Err(WriteError::ObjectTooLarge);
        }
        let added = {
            let mut body = lock(&self.cell.body);
            let known = body.len;
            if self.checked && self.offset < known && body.differs(self.offset, &chunk) {
                return Err(WriteError::Malformed("an object comes again with another payload"));
            }
            match body.state {
                State::Open if end > known => {
                    let fresh = chunk.slice(known.saturating_sub(self.offset)..);
                    body.len = end;
                    body.chunks.push(fresh);
                    end - known
                }
                State::Reset(_) => return Err(WriteError::Reset),
                State::Open | State::Done => 0,
            }
        };
        self.offset = end;
        if added > 0 {
            self.track.grown(self.group, added)?;
        }
        Ok(())
    }

    /// The payload is whole.
    pub fn finish(mut self) -> Result<(), WriteError> {
        if self.declared.is_some_and(|len| self.offset as u64 != len) {
            return Err(WriteError::ShorterThanDeclared);
        }
        self.finished = true;
        let mut body = lock(&self.cell.body);
        body.writers -= 1;
        let changed = body.state == State::Open;
        if changed && self.offset >= body.len {
            body.state = State::Done;
        } else if changed && body.writers == 0 {
            // Two writers disagree about the length and the longer one gave up: no copy is whole.
            body.state = State::Reset(ResetCode::CANCELLED);
        }
        drop(body);
        if changed {
            self.track.wake();
        }
        Ok(())
    }
}

impl Drop for ObjectWriter {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let mut body = lock(&self.cell.body);
        body.writers -= 1;
        let changed = body.writers == 0 && body.state == State::Open;
        #[cfg(test)]
        let changed = changed && !crate::faults::is(crate::faults::Fault::ResetLost);
        if changed {
            body.state = State::Reset(ResetCode::CANCELLED);
        }
        drop(body);
        if changed {
            self.track.wake();
        }
    }
}

/// What [`ObjectReader::poll_chunk`] finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// The next piece of the payload.
    Data(Payload),
    /// The payload is complete.
    End,
    /// The payload will never be complete.
    Reset(ResetCode),
}

/// Reads one object, also while it is still being written ("cut-through").
pub struct ObjectReader {
    track: Arc<Shared>,
    group: u64,
    cell: Arc<Cell>,
    next: usize,
    ticket: Ticket,
}

impl ObjectReader {
    pub(crate) fn new(track: Arc<Shared>, group: u64, cell: Arc<Cell>) -> Self {
        Self { track, group, cell, next: 0, ticket: Ticket::new() }
    }

    /// What is known of the object.
    pub fn header(&self) -> &Header {
        &self.cell.header
    }

    /// Where it is.
    pub fn location(&self) -> Location {
        Location { group: self.group, object: self.cell.header.id }
    }

    /// Whether it is known that its group has none of these objects.
    pub(crate) fn lacks(&self, ids: RangeInclusive<u64>) -> bool {
        let state = lock(&self.track.state);
        state.groups.get(&self.group).is_some_and(|group| group.lacks(ids))
    }

    /// The next piece of the payload.
    pub fn poll_chunk(&mut self, cx: &Context<'_>) -> Poll<Chunk> {
        // Registered first, looked at second: a change in between wakes once too often, never too
        // seldom.
        if self.pending() {
            self.track.register(&mut self.ticket, cx);
        }
        let body = lock(&self.cell.body);
        if let Some(chunk) = body.chunks.get(self.next) {
            self.next += 1;
            return Poll::Ready(Chunk::Data(chunk.clone()));
        }
        match body.state {
            State::Open => Poll::Pending,
            State::Done => Poll::Ready(Chunk::End),
            State::Reset(code) => Poll::Ready(Chunk::Reset(code)),
        }
    }

    /// The next pieces of the payload that are there already, without waiting: what came in small pieces goes out at
    /// once.
    pub fn take_ready(&mut self) -> Vec<Payload> {
        let body = lock(&self.cell.body);
        let ready = body.chunks.get(self.next..).unwrap_or_default().to_vec();
        self.next += ready.len();
        ready
    }

    /// All pieces of the payload if it is complete already, without waiting.
    pub fn whole(&self) -> Option<Vec<Payload>> {
        let body = lock(&self.cell.body);
        (body.state == State::Done).then(|| body.chunks.clone())
    }

    /// How long the payload is or will be; unknown while it is written by who could not say.
    pub fn length(&self) -> Option<u64> {
        let body = lock(&self.cell.body);
        match body.state {
            State::Done => Some(body.len as u64),
            State::Open | State::Reset(_) => self.cell.declared,
        }
    }

    /// Whether it is known that no object of its group is behind it.
    pub fn ends_group(&self) -> bool {
        let state = lock(&self.track.state);
        let group = state.groups.get(&self.group);
        group.is_some_and(|group| group.end == Some(Some(self.cell.header.id)))
    }

    /// Bytes of the payload that are there.
    pub fn len(&self) -> usize {
        lock(&self.cell.body).len
    }

    /// Whether no byte of the payload is there.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn pending(&self) -> bool {
        let body = lock(&self.cell.body);
        body.state == State::Open && self.next >= body.chunks.len()
    }
}

impl fmt::Debug for ObjectReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectReader({:?}, {} bytes)", self.location(), self.len())
    }
}
