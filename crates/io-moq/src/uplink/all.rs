//! All upstreams of a node: which there are changes while it runs.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Uplink, run};
use crate::limits::{UPLINK_LEAVE, UPLINKS_CARRIED_MAX};
use crate::session::Relay;

/// Whether an upstream is pulled from any longer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Stay {
    #[default]
    Here,
    /// Until all that it brings comes from elsewhere: the same one is pulled from in another way.
    Replaced,
    /// It is not an upstream any more, or this node stops.
    Gone,
}

/// Those that are pulled from.
pub(crate) struct Uplinks {
    relay: Arc<Relay>,
    /// Places among those that are carried, of all upstreams.
    places: Arc<Semaphore>,
    tasks: JoinSet<()>,
    there: Vec<(Arc<Uplink>, watch::Sender<Stay>)>,
    /// Those that go once all that they bring comes from elsewhere.
    replaced: Vec<watch::Sender<Stay>>,
}

impl Uplinks {
    pub(crate) fn new(relay: &Arc<Relay>) -> Self {
        let places = Arc::new(Semaphore::new(UPLINKS_CARRIED_MAX));
        Self {
            relay: relay.clone(),
            places,
            tasks: JoinSet::new(),
            there: Vec::new(),
            replaced: Vec::new(),
        }
    }

    /// From now on it is these. One that is in both lists goes on as it is.
    pub(crate) fn change(&mut self, wanted: &[Arc<Uplink>]) {
        self.replaced.retain(|stay| !stay.is_closed());
        for (uplink, stay) in std::mem::take(&mut self.there) {
            let at = |one: &Uplink| (one.server.host.clone(), one.server.port);
            if wanted.iter().any(|wanted| Arc::ptr_eq(wanted, &uplink)) {
                self.there.push((uplink, stay));
            } else if wanted.iter().any(|wanted| at(wanted) == at(&uplink)) {
                stay.send_replace(Stay::Replaced);
                self.replaced.push(stay);
            } else {
                stay.send_replace(Stay::Gone);
            }
        }
        for uplink in wanted {
            if self.there.iter().any(|(there, _)| Arc::ptr_eq(there, uplink)) {
                continue;
            }
            let (stay, stays) = watch::channel(Stay::Here);
            let (relay, places) = (self.relay.clone(), self.places.clone());
            self.tasks.spawn(run(uplink.clone(), relay, places, stays));
            self.there.push((uplink.clone(), stay));
        }
    }

    /// The next that is over, and whether it panicked.
    pub(crate) async fn ended(&mut self) -> Option<bool> {
        let ended = self.tasks.join_next().await?;
        Some(ended.is_err_and(|error| error.is_panic()))
    }

    /// Says goodbye to all of them.
    pub(crate) async fn leave(mut self) {
        let all = self.there.iter().map(|(_, stay)| stay).chain(&self.replaced);
        for stay in all {
            stay.send_replace(Stay::Gone);
        }
        let goodbye = async { while self.tasks.join_next().await.is_some() {} };
        let _ = timeout(UPLINK_LEAVE, goodbye).await;
        self.tasks.shutdown().await;
    }
}
