//! Workers for everybody: how many there may be, who gets the next one, and when an idle one goes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::limits::{PICTURES_AT_ONCE, WAITING_MAX};
use crate::presence::Presence;
use crate::program::Program;
use crate::renditions::Settings;
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

/// Which places pictures have. Strangers ask for them, and those who seek must not wait behind any number of those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pictures {
    /// So many more of their own.
    Own(usize),
    /// Those of the past, but for so many.
    Shared(usize),
}

const PRIORITIES: usize = 4;

impl Priority {
    const ALL: [Self; PRIORITIES] = [Self::Live, Self::Seeking, Self::Prefetch, Self::Picture];
}

/// Why a job got no worker.
#[derive(Debug)]
pub(crate) enum NoWorker {
    /// None was free.
    Busy,
    /// None can be started.
    Worker(WorkerError),
}

/// All workers are busy, and were for as long as a job may wait.
#[derive(Debug)]
pub(crate) struct Busy;

impl From<Busy> for NoWorker {
    fn from(_: Busy) -> Self {
        Self::Busy
    }
}

/// A worker that can't be started, and the place that was had for it.
pub(crate) struct Unstarted {
    pub(crate) error: WorkerError,
    pub(crate) place: Place,
}

impl From<Unstarted> for NoWorker {
    fn from(unstarted: Unstarted) -> Self {
        Self::Worker(unstarted.error)
    }
}

/// All workers of a node.
pub(crate) struct Pool {
    presence: Presence,
    patience: Duration,
    silent_max: Duration,
    hardware: AtomicBool,
    pub(crate) counters: Arc<Counters>,
    state: Mutex<State>,
}

struct State {
    /// How many more jobs may run.
    free: usize,
    /// How many more that are not live: those keep a core busy each, and live ones mostly wait for their encoder.
    free_past: usize,
    /// What pictures may take.
    pictures: Pictures,
    idle: Vec<Worker>,
    waiting: [VecDeque<oneshot::Sender<Place>>; PRIORITIES],
}

impl Pool {
    pub(crate) fn new(program: Program, settings: &Settings, hardware: bool) -> Arc<Self> {
        let Settings { patience, silent_max, .. } = *settings;
        let hardware = AtomicBool::new(hardware);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let state = State::new(settings.workers, cores);
        let (presence, counters) = (Presence::new(program), Arc::default());
        Arc::new(Self { presence, patience, silent_max, hardware, counters, state: state.into() })
    }

    /// A worker, in the order of priorities.
    pub(crate) async fn lease(self: &Arc<Self>, priority: Priority) -> Result<Lease, NoWorker> {
        let place = self.place(priority).await?;
        Ok(self.lease_at(place).await?)
    }

    /// The same. It waits in another queue from when somebody waits for what nobody has asked for yet.
    pub(crate) async fn lease_before(
        self: &Arc<Self>,
        somebody_waits: impl Future<Output = ()>,
        order: (Priority, Priority),
    ) -> Result<Lease, NoWorker> {
        let place = self.place_before(somebody_waits, order).await?;
        Ok(self.lease_at(place).await?)
    }

    /// The right to a worker, in the order of priorities. It waits in another queue from when somebody waits for what nobody
    /// has asked for yet.
    pub(crate) async fn place_before(
        self: &Arc<Self>,
        somebody_waits: impl Future<Output = ()>,
        (priority, then): (Priority, Priority),
    ) -> Result<Place, Busy> {
        tokio::select! {
            place = self.place(priority) => place,
            () = somebody_waits => self.place(then).await,
        }
    }

    /// A worker for who has the right to one.
    pub(crate) async fn lease_at(self: &Arc<Self>, place: Place) -> Result<Lease, Unstarted> {
        let mut idle = self.state().idle.pop();
        while let Some(worker) = &mut idle {
            if worker.is_alive() {
                break;
            }
            idle = self.state().idle.pop();
        }
        let worker = match idle {
            Some(worker) => worker,
            None => match self.start(self.hardware.load(Ordering::Relaxed)).await {
                Ok(worker) => worker,
                Err(error) => return Err(Unstarted { error, place }),
            },
        };
        Ok(Lease { worker: Some(worker), place })
    }

    /// The right to a worker, in the order of priorities.
    pub(crate) async fn place(self: &Arc<Self>, priority: Priority) -> Result<Place, Busy> {
        let waiting = {
            let mut state = self.state();
            if state.has_place(priority) {
                state.take(priority);
                return Ok(Place { pool: self.clone(), priority, waited: false });
            }
            let waiting = &mut state.waiting[priority as usize];
            waiting.retain(|tell| !tell.is_closed());
            // Of each kind so many: those who seek do not keep out those who watch live.
            if waiting.len() >= WAITING_MAX {
                self.counters.refused.fetch_add(1, Ordering::Relaxed);
                return Err(Busy);
            }
            let (tell, told) = oneshot::channel();
            waiting.push_back(tell);
            told
        };
        match timeout(self.patience, waiting).await {
            Ok(Ok(place)) => Ok(place),
            _ => {
                self.counters.refused.fetch_add(1, Ordering::Relaxed);
                Err(Busy)
            }
        }
    }

    /// To the next who waits. One who gives up in the same moment drops it, and it comes here again.
    fn give_back(self: &Arc<Self>, priority: Priority) {
        let next = {
            let mut state = self.state();
            state.give_back(priority);
            state.next()
        };
        if let Some((priority, next)) = next {
            // A place that nobody takes comes back through its drop.
            let _ = next.send(Place { pool: self.clone(), priority, waited: true });
        }
    }

    /// A process of this program that has greeted.
    pub(crate) async fn greeted(
        &self,
        program: &Arc<Program>,
        hardware: bool,
    ) -> Result<Worker, WorkerError> {
        Worker::start(program, hardware, self.silent_max, &self.counters).await
    }

    pub(crate) fn presence(&self) -> &Presence {
        &self.presence
    }

    /// What encodes from now on is the program that is there now.
    pub(crate) fn replace_idle(&self) {
        self.state().idle.clear();
    }

    /// Whether processes may open files from now on. Those of the other kind end when they have nothing to do.
    pub(crate) fn use_hardware(&self, may: bool) {
        let mut state = self.state();
        self.hardware.store(may, Ordering::Relaxed);
        state.idle.clear();
    }

    /// Whether so many jobs that nobody waits for would be in nobody's way.
    pub(crate) fn is_idle(&self, jobs: usize) -> bool {
        let state = self.state();
        let free = state.free.min(state.free_past);
        free >= jobs && state.waiting.iter().all(VecDeque::is_empty)
    }

    /// How many pictures may be made at one time.
    pub(crate) fn pictures_at_once(&self) -> usize {
        let state = self.state();
        match state.pictures {
            Pictures::Own(free) => free,
            Pictures::Shared(kept) => (state.free_past - kept).min(PICTURES_AT_ONCE),
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

impl State {
    fn new(workers: usize, cores: usize) -> Self {
        let free = workers.max(1);
        // Where there are several, one is always left to those who watch live.
        let free_past = cores.min(free - 1).max(1);
        // And one to those who seek.
        let own = free.saturating_sub(1 + free_past);
        let pictures = match own.min(cores.saturating_sub(1).max(1)).min(PICTURES_AT_ONCE) {
            0 => Pictures::Shared(1.min(free_past - 1)),
            own => Pictures::Own(own),
        };
        Self { free, free_past, pictures, idle: Vec::new(), waiting: Default::default() }
    }

    fn has_place(&self, priority: Priority) -> bool {
        let free = match (priority, self.pictures) {
            (Priority::Live, _) => true,
            (Priority::Picture, Pictures::Own(free)) => free > 0,
            (Priority::Picture, Pictures::Shared(kept)) => self.free_past > kept,
            (Priority::Seeking | Priority::Prefetch, _) => self.free_past > 0,
        };
        self.free > 0 && free
    }

    fn take(&mut self, priority: Priority) {
        self.free -= 1;
        match (priority, &mut self.pictures) {
            (Priority::Live, _) => {}
            (Priority::Picture, Pictures::Own(free)) => *free -= 1,
            _ => self.free_past -= 1,
        }
    }

    fn give_back(&mut self, priority: Priority) {
        self.free += 1;
        match (priority, &mut self.pictures) {
            (Priority::Live, _) => {}
            (Priority::Picture, Pictures::Own(free)) => *free += 1,
            _ => self.free_past += 1,
        }
    }

    /// Whether somebody waits who comes before these.
    fn is_outranked(&self, priority: Priority) -> bool {
        let before = self.waiting.iter().take(priority as usize);
        before.flatten().any(|tell| !tell.is_closed())
    }

    /// Who gets a place that is free, and has it now.
    fn next(&mut self) -> Option<(Priority, oneshot::Sender<Place>)> {
        for priority in Priority::ALL {
            while self.has_place(priority) {
                let Some(next) = self.waiting[priority as usize].pop_front() else { break };
                if !next.is_closed() {
                    self.take(priority);
                    return Some((priority, next));
                }
            }
        }
        None
    }
}

/// The right to run a job.
pub(crate) struct Place {
    pool: Arc<Pool>,
    priority: Priority,
    waited: bool,
}

impl Place {
    /// Whether none was free when it was asked for.
    pub(crate) fn has_waited(&self) -> bool {
        self.waited
    }

    /// For a job of this kind that is begun anew: those who wait have come behind it, but for who comes first anyway.
    pub(crate) fn kept(self, priority: Priority) -> Option<Self> {
        let outranked = self.pool.state().is_outranked(priority);
        (!outranked).then_some(self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pool.give_back(self.priority);
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

    /// The process is killed, and the job may be begun anew.
    pub(crate) fn lost(self) -> Place {
        self.place
    }

    /// The job is done: the process may do another one.
    pub(crate) fn done(mut self) {
        let pool = &self.place.pool;
        let program = pool.presence.program();
        let mut state = pool.state();
        let may = pool.hardware.load(Ordering::Relaxed);
        let goes_on =
            |worker: &Worker| worker.hardware == may && Arc::ptr_eq(&worker.program, &program);
        if let Some(mut worker) = self.worker.take().filter(goes_on) {
            worker.idle_since = Instant::now();
            state.idle.push(worker);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use tokio::task::JoinSet;
    use tokio::time::Instant as Timestamp;

    use super::*;

    fn pool(workers: usize) -> Arc<Pool> {
        let (path, words) = ("/nowhere".into(), "airwave-encode".to_owned());
        let settings = Settings { workers, ..Settings::of_tests() };
        Pool::new(Program { path, words }, &settings, false)
    }

    fn waiting(pool: &Pool, priority: Priority) -> usize {
        pool.state().waiting[priority as usize].len()
    }

    #[tokio::test]
    async fn live_comes_before_seeks_these_before_what_is_made_ahead_and_pictures_last() {
        let pool = pool(1);
        let held = pool.place(Priority::Live).await.unwrap();
        let served = Arc::new(Mutex::new(Vec::new()));
        let mut jobs = JoinSet::new();
        // Whoever is last comes first.
        for priority in Priority::ALL.into_iter().rev() {
            for n in 0..2 {
                let (all, served) = (pool.clone(), served.clone());
                jobs.spawn(async move {
                    let place = all.place(priority).await.unwrap();
                    assert!(place.has_waited());
                    served.lock().unwrap().push((priority, n));
                });
                while waiting(&pool, priority) == n {
                    tokio::task::yield_now().await;
                }
            }
        }
        drop(held);
        jobs.join_all().await;
        let order = [Priority::Live, Priority::Seeking, Priority::Prefetch, Priority::Picture];
        let expect = order.into_iter().flat_map(|p| [(p, 0), (p, 1)]);
        assert_eq!(*served.lock().unwrap(), expect.collect::<Vec<_>>());
        assert!(pool.is_idle(1));
    }

    #[tokio::test]
    async fn one_place_of_several_is_for_those_who_watch_live() {
        let pool = pool(2);
        let seek = pool.place(Priority::Seeking).await.unwrap();
        let mut ahead = pin!(pool.place(Priority::Prefetch));
        let mut wake = Context::from_waker(Waker::noop());
        assert!(ahead.as_mut().poll(&mut wake).is_pending());
        assert!(!pool.place(Priority::Live).await.unwrap().has_waited());
        drop(seek);
        assert!(ahead.await.unwrap().has_waited());
    }

    /// However many ask for pictures, who seeks has a place at once, and who watches live another one.
    #[test]
    fn pictures_leave_a_place_to_those_who_seek() {
        for (workers, cores, pictures) in [
            (1, 1, 1),
            (2, 2, 1),
            (3, 2, 1),
            (4, 1, 1),
            (4, 2, 1),
            (8, 2, 1),
            (16, 4, 2),
            (64, 16, 2),
        ] {
            let words = format!("{workers} workers, {cores} cores");
            let mut state = State::new(workers, cores);
            let mut taken = 0;
            while state.has_place(Priority::Picture) {
                state.take(Priority::Picture);
                taken += 1;
            }
            assert_eq!(taken, pictures, "{words}");
            if workers > 2 {
                assert!(state.has_place(Priority::Seeking), "{words}");
                state.take(Priority::Seeking);
            }
            // Of two places one is that of those who watch live.
            assert_eq!(state.has_place(Priority::Live), workers > 1, "{words}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_of_a_kind_wait_and_none_for_longer_than_it_has_patience() {
        let pool = pool(1);
        let _held = pool.place(Priority::Live).await.unwrap();
        let mut wake = Context::from_waker(Waker::noop());
        let mut seeks: Vec<_> =
            (0..WAITING_MAX).map(|_| Box::pin(pool.place(Priority::Seeking))).collect();
        assert!(seeks.iter_mut().all(|seek| seek.as_mut().poll(&mut wake).is_pending()));
        let refused = || pool.counters.refused.load(Ordering::Relaxed);
        let began = Timestamp::now();
        let more = pool.place(Priority::Seeking).await;
        assert!(matches!(more, Err(Busy)), "one too many");
        assert_eq!((began.elapsed(), refused()), (Duration::ZERO, 1), "at once");
        // Others wait all the same, and who gives up makes room.
        seeks.pop();
        for (n, priority) in (2..).zip([Priority::Live, Priority::Seeking, Priority::Picture]) {
            let began = Timestamp::now();
            assert!(matches!(pool.place(priority).await, Err(Busy)));
            assert_eq!((began.elapsed(), refused()), (pool.patience, n), "{priority:?}");
        }
    }
}
