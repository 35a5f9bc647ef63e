//! Objects in datagrams. QUIC sends them before all streams, so they are kept from it for as long
//! as something more urgent waits.

use std::sync::Arc;
use std::time::Instant;

use moqt::Properties;
use moqt::data::{Body, Datagram, Status};
use spine::ObjectReader;
use tokio::sync::watch;
use tokio::time::timeout_at;

use super::{Sending, Serving, Wishes, joined, status_of};
use crate::clock;
use crate::flow::Flow;
use crate::limits::DATAGRAM_HELD;
use crate::priority::{self, Count};
use crate::timeouts::Lifetimes;

impl Serving {
    /// One of them, which waits for its turn, and not for long.
    pub(super) fn datagram(
        &self,
        object: ObjectReader,
        (began, lifetimes): (Instant, Lifetimes),
        (changes, count): (watch::Receiver<Wishes>, Arc<Count>),
        flow: Arc<Flow>,
    ) -> Sending {
        let (link, id, order) = (self.link.clone(), self.id, self.order);
        let (track, counters) = (self.track.clone(), self.counters.clone());
        let until = clock::now() + DATAGRAM_HELD;
        Box::pin(async move {
            let header = object.header();
            let urgency = || {
                let priorities = (changes.borrow().priority, header.priority);
                let group = count.of(object.location().group);
                priority::of_stream(priorities, order, (group, 0), id)
            };
            let turn = link.connection.datagrams_turn(urgency);
            if timeout_at(until.into(), turn).await.is_err() {
                return;
            }
            let now = clock::now();
            let timeouts = lifetimes.timeouts.or_less(&changes.borrow());
            if lifetimes.are_over_for(header, now)
                || timeouts.are_over_for(header.arrived.max(began), now)
            {
                return;
            }
            let (Some(alias), Some(chunks)) =
                (link.with(|session| session.alias(id)), object.whole())
            else {
                return;
            };
            let body = match status_of(header.status) {
                Status::Normal => Body::Payload(joined(chunks)),
                other => Body::Status(other),
            };
            let datagram = Datagram {
                alias,
                group: object.location().group,
                object: header.id,
                priority: Some(header.priority).filter(|p| *p != track.info().priority),
                end_of_group: object.ends_group() && header.status == spine::Status::Normal,
                properties: Properties::from_checked(header.properties.clone()),
                body,
            };
            let length = match &datagram.body {
                Body::Payload(payload) => payload.len() as u64,
                Body::Status(_) => 0,
            };
            // draft-18 §11.3: one that is too large for the path is dropped.
            if let Ok(bytes) = datagram.encode(link.version)
                && link.connection.send_datagram(bytes)
            {
                link.log.datagram("created", &datagram);
                counters.sent(length);
                flow.object(object.location(), header.arrived, length);
            }
        })
    }
}
