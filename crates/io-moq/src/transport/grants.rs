//! How many streams a peer may have open: a few at first, and more as it opens them.
//!
//! QUIC lays out places for all that a peer may open when it connects, some 65 bytes for each request and 25 for each
//! stream of data, and most peers are viewers with a handful of both.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use quinn::VarInt;

use crate::limits::{
    DATA_STREAMS, DATA_STREAMS_FIRST, NODE_REQUEST_STREAMS, REQUEST_STREAMS, REQUEST_STREAMS_FIRST,
    UPLINK_DATA_STREAMS,
};

/// What a peer may open on one connection.
pub(super) struct Grants {
    quic: quinn::Connection,
    requests: Grant,
    data: Grant,
}

impl Grants {
    pub(super) fn new(quic: quinn::Connection) -> Arc<Self> {
        let requests = Grant::new(REQUEST_STREAMS_FIRST, REQUEST_STREAMS);
        let data = Grant::new(DATA_STREAMS_FIRST, DATA_STREAMS);
        Arc::new(Self { quic, requests, data })
    }

    /// It is a node that pulls from us: many viewers are behind it.
    pub(super) fn node(&self) {
        self.requests.most.store(NODE_REQUEST_STREAMS, Ordering::Relaxed);
    }

    /// We pull from it.
    pub(super) fn upstream(&self) {
        self.data.most.store(UPLINK_DATA_STREAMS, Ordering::Relaxed);
    }

    /// The peer has opened a stream in both directions.
    pub(super) fn request(self: &Arc<Self>) -> Arc<Granted> {
        if let Some(more) = self.requests.opened() {
            self.quic.set_max_concurrent_bi_streams(VarInt::from_u32(more));
        }
        Arc::new(Granted { grants: self.clone(), of: |grants| &grants.requests })
    }

    /// The peer has opened a stream in one direction.
    pub(super) fn data(self: &Arc<Self>) -> Arc<Granted> {
        if let Some(more) = self.data.opened() {
            self.quic.set_max_concurrent_uni_streams(VarInt::from_u32(more));
        }
        Arc::new(Granted { grants: self.clone(), of: |grants| &grants.data })
    }
}

/// A stream that the peer has opened, until this is dropped.
pub(super) struct Granted {
    grants: Arc<Grants>,
    of: fn(&Grants) -> &Grant,
}

impl Drop for Granted {
    fn drop(&mut self) {
        (self.of)(&self.grants).open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Streams of one kind.
struct Grant {
    open: AtomicU32,
    allowed: AtomicU32,
    most: AtomicU32,
}

impl Grant {
    fn new(first: u32, most: u32) -> Self {
        Self { open: AtomicU32::new(0), allowed: AtomicU32::new(first), most: most.into() }
    }

    /// One more is open. How many may be from now on, if that are more than before: who has half of them open gets
    /// twice as many, so that nobody has to wait for the last one.
    fn opened(&self) -> Option<u32> {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        let allowed = self.allowed.load(Ordering::Relaxed);
        let most = self.most.load(Ordering::Relaxed);
        if open < allowed / 2 || allowed >= most {
            return None;
        }
        let more = allowed.saturating_mul(2).min(most);
        self.allowed.store(more, Ordering::Relaxed);
        Some(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_opens_many_may_open_more_up_to_a_bound() {
        let grant = Grant::new(8, 20);
        let raised: Vec<Option<u32>> = (0..12).map(|_| grant.opened()).collect();
        let expect = [(3, 16), (7, 20)];
        for (n, raised) in raised.into_iter().enumerate() {
            let wanted = expect.iter().find(|(at, _)| *at == n).map(|(_, more)| *more);
            assert_eq!(raised, wanted, "stream {n}");
        }
        // Who turns out to be a node may open more.
        grant.most.store(40, Ordering::Relaxed);
        assert_eq!(grant.opened(), Some(40));
        // Few at a time, however many: nothing is raised.
        let grant = Grant::new(8, 20);
        for _ in 0..1_000 {
            assert_eq!(grant.opened(), None);
            grant.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
