//! Files that are prepared: few at a time, each once for all who ask while it is used.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use control::VideoUid;
use package::clip::{Piece, Plan, Wanted};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::source::{Failed, Source};
use crate::limits::{PLANS_AT_ONCE, PLANS_BYTES, PLANS_KEPT};
use crate::shelf::Counters;
use crate::waiting::Waiter;

/// The prepared files of a node.
pub(crate) struct Plans {
    room: Semaphore,
    /// Of each address that waits for room.
    turns: Mutex<BTreeMap<IpAddr, Arc<Semaphore>>>,
    /// The one that was used last is the last one.
    kept: Mutex<Vec<Kept>>,
}

struct Kept {
    video: VideoUid,
    wanted: Wanted,
    plan: Arc<Plan>,
}

impl Default for Plans {
    fn default() -> Self {
        let (room, turns) = (Semaphore::new(PLANS_AT_ONCE), Mutex::default());
        Self { room, turns, kept: Mutex::default() }
    }
}

impl Plans {
    /// The plan of a file, and whether all that was asked for is in it.
    pub(crate) async fn plan(
        &self,
        (source, wanted): (&Source, Wanted),
        (counters, waiter): (&Counters, Waiter),
    ) -> Result<(Arc<Plan>, bool), Failed> {
        if let Some(plan) = self.known(&source.video, wanted) {
            return Ok((plan, true));
        }
        let _place = counters.parked.take(waiter).map_err(Failed::Full)?;
        let _room = self.room(waiter).await?;
        // Somebody else may have made it while this one waited.
        if let Some(plan) = self.known(&source.video, wanted) {
            return Ok((plan, true));
        }
        let (plan, whole) = source.plan(wanted).await?;
        let plan = Arc::new(plan);
        if whole {
            self.keep(Kept { video: source.video.clone(), wanted, plan: plan.clone() });
        }
        Ok((plan, whole))
    }

    /// Room to make one. Of each address one waits for it at a time, and the others for that one: so addresses take turns.
    async fn room(&self, waiter: Waiter) -> Result<SemaphorePermit<'_>, Failed> {
        let turn = waiter.address().map(|address| {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody waits there any more.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry(address).or_insert_with(|| Arc::new(Semaphore::new(1))).clone()
        });
        let closed = |_| Failed::Busy;
        let _turn = match &turn {
            Some(turn) => Some(turn.acquire().await.map_err(closed)?),
            None => None,
        };
        self.room.acquire().await.map_err(closed)
    }

    fn known(&self, video: &VideoUid, wanted: Wanted) -> Option<Arc<Plan>> {
        let mut kept = self.kept();
        let at = kept.iter().position(|k| k.video == *video && k.wanted == wanted)?;
        let found = kept.remove(at);
        let plan = found.plan.clone();
        kept.push(found);
        Some(plan)
    }

    fn keep(&self, new: Kept) {
        let mut kept = self.kept();
        kept.push(new);
        let size = |k: &Kept| k.plan.head.len() + k.plan.pieces.len() * size_of::<Piece>();
        while kept.len() > 1
            && (kept.len() > PLANS_KEPT || kept.iter().map(size).sum::<usize>() > PLANS_BYTES)
        {
            kept.remove(0);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use futures_util::FutureExt;

    use super::*;

    /// However many files one address asks for, that of another one is next.
    #[tokio::test]
    async fn addresses_take_turns() {
        let plans = Plans::default();
        let from = |text: &str| Waiter(Some(text.parse().unwrap()));
        let mut made: Vec<_> = (0..PLANS_AT_ONCE)
            .map(|_| plans.room(from("192.0.2.1")).now_or_never().unwrap().unwrap())
            .collect();
        let mut wake = Context::from_waker(Waker::noop());
        let mut one: Vec<_> = (0..100).map(|_| Box::pin(plans.room(from("192.0.2.1")))).collect();
        assert!(one.iter_mut().all(|room| room.poll_unpin(&mut wake).is_pending()));
        let mut other = Box::pin(plans.room(from("192.0.2.2")));
        let mut many = Box::pin(plans.room(Waiter(None)));
        assert!(other.poll_unpin(&mut wake).is_pending());
        assert!(many.poll_unpin(&mut wake).is_pending());
        made.pop();
        let first = one.remove(0).now_or_never().unwrap().unwrap();
        // The next of it waits behind the others.
        assert!(one.iter_mut().all(|room| room.poll_unpin(&mut wake).is_pending()));
        drop(first);
        drop(other.now_or_never().expect("it is next").unwrap());
        drop(many.now_or_never().expect("and then those who are many").unwrap());
        assert!(one.remove(0).now_or_never().unwrap().is_ok());
        drop((one, made));
        drop(plans.room(from("192.0.2.3")).now_or_never().unwrap().unwrap());
        let waiting = plans.turns.lock().unwrap().len();
        assert_eq!(waiting, 1, "who has gone is forgotten");
    }
}
