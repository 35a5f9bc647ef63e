//! Files that are prepared: few at a time, each once for all who ask while it is used.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use control::VideoUid;
use package::clip::{Piece, Plan, Wanted};
use tokio::sync::Semaphore;

use super::source::{Failed, Source};
use crate::limits::{PLANS_AT_ONCE, PLANS_BYTES, PLANS_KEPT};

/// The prepared files of a node.
pub(crate) struct Plans {
    room: Semaphore,
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
        Self { room: Semaphore::new(PLANS_AT_ONCE), kept: Mutex::default() }
    }
}

impl Plans {
    /// The plan of a file, and whether all that was asked for is in it.
    pub(crate) async fn plan(
        &self,
        source: &Source,
        wanted: Wanted,
    ) -> Result<(Arc<Plan>, bool), Failed> {
        if let Some(plan) = self.known(&source.video, wanted) {
            return Ok((plan, true));
        }
        let _room = self.room.acquire().await.map_err(|_| Failed::Busy)?;
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
