//! A track in one session: its objects, group by group in the order in which those began.

use std::future::poll_fn;
use std::time::Instant;

use io_moq::client::{Denial, Handle, Remote, Subscribed};
use moqt::{Filter, Location, Namespace};
use spine::{Objects, Policy, Read, Start};

/// A track in one session.
pub(super) struct Reading {
    pub(super) session: u64,
    pub(super) subscribed: Subscribed,
    objects: Objects,
    /// Looked at, and not handed out.
    first: Option<Read>,
    /// What is subscribed to is kept in it.
    _remote: Remote,
}

impl Reading {
    pub(super) async fn begin(
        (session, handle): (u64, Handle),
        namespace: Namespace,
        name: &str,
    ) -> Result<Self, Denial> {
        let remote = handle.remote(namespace).map_err(|_| Denial::Misuse)?;
        // From the group that is under way: it may have been written long ago.
        let subscribed = remote.subscribe(name, Filter::From(Location::default())).await?;
        let start = Start::At(spine::Location { group: 0, object: 0 });
        let cursor = subscribed.track.subscribe(spine::Filter::from(start), Policy::EVERYTHING);
        Ok(Self {
            session,
            subscribed,
            objects: Objects::new(cursor),
            first: None,
            _remote: remote,
        })
    }

    pub(super) async fn next(&mut self) -> Read {
        match self.first.take() {
            Some(first) => first,
            None => poll_fn(|cx| self.objects.poll(cx, Instant::now())).await,
        }
    }

    /// It comes again.
    pub(super) fn put_back(&mut self, read: Read) {
        self.first = Some(read);
    }

    /// Looks at the first object, or at the end.
    pub(super) async fn look(&mut self) {
        while self.first.is_none() {
            self.first = match poll_fn(|cx| self.objects.poll(cx, Instant::now())).await {
                // Before anything is taken from here nothing is missing.
                Read::Cut | Read::Skipped => None,
                first => Some(first),
            };
        }
    }

    pub(super) fn was_looked_at(&self) -> bool {
        self.first.is_some()
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.first, Some(Read::End(_)))
    }

    /// The first object: its group, and its id.
    pub(super) fn first(&self) -> Option<(u64, u64)> {
        match &self.first {
            Some(Read::Object { group, header, .. }) => Some((*group, header.id)),
            _ => None,
        }
    }

    /// The newest group that is known here.
    pub(super) fn newest(&self) -> Option<u64> {
        self.subscribed.track.largest().map(|largest| largest.group)
    }
}
