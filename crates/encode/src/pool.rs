//! Workers for everybody: how many there may be, who gets the next one, and when an idle one goes.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::limits::WAITING_MAX;
use crate::program::Program;
use crate::worker::{Counters, Worker, WorkerError};

/// Who is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    /// Somebody watches live.
    Live,
    /// Somebody waits for a segment of the past.
    Seeking,
    /// Nobody waits yet.
    Prefetch,
    /// A picture of it: nobody watches.
    Picture,
}

const PRIORITIES: usize = 4;

/// Why a job got no worker.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoWorker {
    /// All are busy, and were for as long as a job may wait.
    #[error("all encoders are busy")]
    Busy,
    /// None can be started.
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

/// All workers of a node.
pub(crate) struct Pool {
    program: Program,
    patience: Duration,
    hardware: bool,
    pub(crate) counters: Arc<Counters>,
    state: Mutex<State>,
}

struct State {
    /// How many more jobs may run.
    free: usize,
    idle: Vec<Worker>,
    waiting: [VecDeque<oneshot::Sender<Place>>; PRIORITIES],
}

impl Pool {
    pub(crate) fn new(
        program: Program,
        workers: usize,
        patience: Duration,
        hardware: bool,
    ) -> Arc<Self> {
        let state = State { free: workers.max(1), idle: Vec::new(), waiting: Default::default() };
        let counters = Arc::default();
        Arc::new(Self { program, patience, hardware, counters, state: state.into() })
    }

    /// A worker, in the order of priorities.
    pub(crate) async fn lease(self: &Arc<Self>, priority: Priority) -> Result<Lease, NoWorker> {
        let place = self.place(priority).await?;
        let mut idle = self.state().idle.pop();
        while let Some(worker) = &mut idle {
            if worker.is_alive() {
                break;
            }
            idle = self.state().idle.pop();
        }
        let worker = match idle {
            Some(worker) => worker,
            None => Worker::start(&self.program, self.hardware, &self.counters).await?,
        };
        Ok(Lease { worker: Some(worker), place })
    }

    async fn place(self: &Arc<Self>, priority: Priority) -> Result<Place, NoWorker> {
        let waiting = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Place(self.clone()));
            }
            let waiting: usize = state.waiting.iter().map(VecDeque::len).sum();
            if waiting >= WAITING_MAX {
                return Err(NoWorker::Busy);
            }
            let (tell, told) = oneshot::channel();
            state.waiting[priority as usize].push_back(tell);
            told
        };
        match timeout(self.patience, waiting).await {
            Ok(Ok(place)) => Ok(place),
            _ => {
                self.counters.refused.fetch_add(1, Ordering::Relaxed);
                Err(NoWorker::Busy)
            }
        }
    }

    /// To the next who waits. One who gives up in the same moment drops it, and it comes here again.
    fn give_back(self: &Arc<Self>) {
        let next = {
            let mut state = self.state();
            let next = state.waiting.iter_mut().find_map(VecDeque::pop_front);
            if next.is_none() {
                state.free += 1;
            }
            next
        };
        if let Some(next) = next {
            // A place that nobody takes comes back through its drop.
            let _ = next.send(Place(self.clone()));
        }
    }

    /// Ends the processes that had nothing to do for `longest`. Answers when to look again.
    pub(crate) fn reap(&self, now: Instant, longest: Duration) -> Option<Instant> {
        let mut state = self.state();
        state.idle.retain_mut(|w| now.saturating_duration_since(w.idle_since) < longest);
        state.idle.iter().map(|w| w.idle_since + longest).min()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to run a job.
struct Place(Arc<Pool>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

/// A worker for one job. Dropped before the job is done, the process is killed.
pub(crate) struct Lease {
    worker: Option<Worker>,
    place: Place,
}

impl Lease {
    pub(crate) fn worker(&mut self) -> Option<&mut Worker> {
        self.worker.as_mut()
    }

    /// The job is done: the process may do another one.
    pub(crate) fn done(mut self) {
        if let Some(mut worker) = self.worker.take() {
            worker.idle_since = Instant::now();
            self.place.0.state().idle.push(worker);
        }
    }
}
