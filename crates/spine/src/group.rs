//! Writing groups and subgroups.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::budget::Payload;
use crate::error::{ResetCode, WriteError};
use crate::object::{Cell, Header, Location, ObjectWriter, Via};
use crate::track::Shared;
use crate::wake::lock;
use crate::writing::{Added, How, Place, Writer};

/// Writes one group. Several subgroups may be open at once.
pub struct Producer {
    shared: Arc<Shared>,
    writer: Writer,
    id: u64,
}

impl Producer {
    pub(crate) fn new(shared: Arc<Shared>, writer: Writer, id: u64) -> Self {
        Self { shared, writer, id }
    }

    /// The group's id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Opens a subgroup: objects that depend on each other, in order. One that is open already gets
    /// a second writer.
    pub fn subgroup(&self, id: u64, now: Instant) -> Result<SubgroupProducer, WriteError> {
        let place = self.shared.open_subgroup(self.id, id, now, self.writer.term)?;
        let (shared, writer, group) = (self.shared.clone(), self.writer, self.id);
        Ok(SubgroupProducer { shared, writer, group, id, place: Mutex::new(place), open: true })
    }

    /// Adds an object that travels on its own.
    pub fn datagram(&self, header: Header, payload: Payload) -> Result<(), WriteError> {
        self.add_datagram(header, payload, false)
    }

    /// The same with the last object of the group.
    pub fn last_datagram(&self, header: Header, payload: Payload) -> Result<(), WriteError> {
        self.add_datagram(header, payload, true)
    }

    fn add_datagram(&self, header: Header, payload: Payload, last: bool) -> Result<(), WriteError> {
        let header = Header { via: Via::Datagram, ..header };
        let (bytes, how) = (payload.len(), How::Datagram { last });
        let cell = |overhead| Cell::whole(header, vec![payload], overhead);
        self.shared.add(self.id, cell, bytes, self.writer, how)?;
        Ok(())
    }

    /// The group is complete; `last` is its last object's id, if it has any object.
    pub fn end(&self, last: Option<u64>, now: Instant) {
        let _ = self.try_end(last, now);
    }

    /// The same; says why not.
    pub fn try_end(&self, last: Option<u64>, now: Instant) -> Result<(), WriteError> {
        self.shared.end_group(self.id, last, now, self.writer)
    }

    /// So many objects before this one, and so many groups before this group, do not exist.
    pub fn lacks(&self, object: u64, objects: u64, groups: u64) -> Result<(), WriteError> {
        let at = Location { group: self.id, object };
        self.shared.lacks(at, (objects, groups), self.writer)
    }
}

/// Writes one subgroup: objects with rising ids. Dropping it early resets the subgroup, unless
/// another writer of the same subgroup goes on.
pub struct SubgroupProducer {
    shared: Arc<Shared>,
    writer: Writer,
    group: u64,
    id: u64,
    place: Mutex<Place>,
    open: bool,
}

impl SubgroupProducer {
    /// Adds an object whose payload is complete. Its pieces are kept as they are.
    pub fn write(&self, header: Header, chunks: Vec<Payload>) -> Result<(), WriteError> {
        let header = Header { via: Via::Subgroup(self.id), ..header };
        let bytes = chunks.iter().map(|c| c.len()).sum();
        let mut place = lock(&self.place);
        let (how, cell) = (How::Stream(&mut place), |o| Cell::whole(header, chunks, o));
        self.shared.add(self.group, cell, bytes, self.writer, how)?;
        Ok(())
    }

    /// Begins an object whose payload is still arriving. Readers can follow it. Without a writer
    /// (`None`) the object is there already, or its group is gone: the payload is not wanted.
    pub fn begin(
        &self,
        header: Header,
        len: Option<u64>,
    ) -> Result<Option<ObjectWriter>, WriteError> {
        if len.is_some_and(|len| len > self.shared.limits.object_bytes as u64) {
            return Err(WriteError::ObjectTooLarge);
        }
        let header = Header { via: Via::Subgroup(self.id), ..header };
        let mut place = lock(&self.place);
        let (how, cell) = (How::Stream(&mut place), |o| Cell::open(header, len, o));
        let added = self.shared.add(self.group, cell, 0, self.writer, how)?;
        Ok(match added {
            Added::New(cell) | Added::There(cell) => {
                let (track, checked) = (self.shared.clone(), self.writer.checked);
                Some(ObjectWriter::new(track, self.group, cell, (len, checked)))
            }
            Added::Dropped => None,
        })
    }

    /// It will hold the largest object of its group: who reads it is told before the group ends.
    pub fn ends_group(&self) {
        self.shared.ends_group(self.group, self.id, *lock(&self.place));
    }

    /// The subgroup is complete.
    pub fn fin(self) {
        let _ = self.try_fin();
    }

    /// The same; says why not.
    pub fn try_fin(mut self) -> Result<(), WriteError> {
        self.close(Ok(()))
    }

    /// The rest of the subgroup will not come.
    pub fn reset(mut self, code: ResetCode) {
        let _ = self.close(Err(code));
    }

    fn close(&mut self, how: Result<(), ResetCode>) -> Result<(), WriteError> {
        self.open = false;
        let place = *lock(&self.place);
        self.shared.close_subgroup(self.group, self.id, (place, self.writer.checked), how)
    }
}

impl Drop for SubgroupProducer {
    fn drop(&mut self) {
        if self.open {
            let _ = self.close(Err(ResetCode::CANCELLED));
        }
    }
}
