//! Writing groups and subgroups.

use std::sync::Arc;
use std::time::Instant;

use crate::budget::Payload;
use crate::error::{ResetCode, WriteError};
use crate::object::{Cell, Header, ObjectWriter, Via};
use crate::track::{Added, Shared, Term};

/// Writes one group. Several subgroups may be open at once.
pub struct Producer {
    shared: Arc<Shared>,
    term: Term,
    id: u64,
}

impl Producer {
    pub(crate) fn new(shared: Arc<Shared>, term: Term, id: u64) -> Self {
        Self { shared, term, id }
    }

    /// The group's id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Opens a subgroup: objects that depend on each other, in order. One that is open already gets
    /// a second writer.
    pub fn subgroup(&self, id: u64, now: Instant) -> Result<SubgroupProducer, WriteError> {
        self.shared.open_subgroup(self.id, id, now, self.term)?;
        let shared = self.shared.clone();
        Ok(SubgroupProducer { shared, term: self.term, group: self.id, id, open: true })
    }

    /// Adds an object that travels on its own.
    pub fn datagram(&self, header: Header, payload: Payload) -> Result<(), WriteError> {
        let header = Header { via: Via::Datagram, ..header };
        let bytes = payload.len();
        self.shared.add(self.id, |o| Cell::whole(header, vec![payload], o), bytes, self.term)?;
        Ok(())
    }

    /// The group is complete; `last` is its last object's id, if it has any object.
    pub fn end(&self, last: Option<u64>, now: Instant) {
        self.shared.end_group(self.id, last, now, self.term);
    }
}

/// Writes one subgroup: objects with rising ids. Dropping it early resets the subgroup, unless
/// another writer of the same subgroup goes on.
pub struct SubgroupProducer {
    shared: Arc<Shared>,
    term: Term,
    group: u64,
    id: u64,
    open: bool,
}

impl SubgroupProducer {
    /// Adds an object whose payload is complete. Its pieces are kept as they are.
    pub fn write(&self, header: Header, chunks: Vec<Payload>) -> Result<(), WriteError> {
        let header = Header { via: Via::Subgroup(self.id), ..header };
        let bytes = chunks.iter().map(|c| c.len()).sum();
        self.shared.add(self.group, |o| Cell::whole(header, chunks, o), bytes, self.term)?;
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
        let added = self.shared.add(self.group, |o| Cell::open(header, len, o), 0, self.term)?;
        Ok(match added {
            Added::New(cell) | Added::There(cell) => {
                Some(ObjectWriter::new(self.shared.clone(), self.group, cell, len))
            }
            Added::Dropped => None,
        })
    }

    /// It will hold the largest object of its group: who reads it is told before the group ends.
    pub fn ends_group(&self) {
        self.shared.ends_group(self.group, self.id);
    }

    /// The subgroup is complete.
    pub fn fin(mut self) {
        self.open = false;
        self.shared.close_subgroup(self.group, self.id, Ok(()));
    }

    /// The rest of the subgroup will not come.
    pub fn reset(mut self, code: ResetCode) {
        self.open = false;
        self.shared.close_subgroup(self.group, self.id, Err(code));
    }
}

impl Drop for SubgroupProducer {
    fn drop(&mut self) {
        if self.open {
            self.shared.close_subgroup(self.group, self.id, Err(ResetCode::CANCELLED));
        }
    }
}
