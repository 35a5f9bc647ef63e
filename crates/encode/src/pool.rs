//! Workers for everybody: who gets the next one, and when an idle one goes.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::asks::Asks;
use crate::places::Places;
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
    /// Nobody waits yet for what comes live. It is no more work than what somebody watches live, and holds its place as long.
    LiveAhead,
    /// Nobody waits yet.
    Prefetch,
    /// A picture of it: nobody watches.
    Picture,
}

/// What a job wants of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Want {
    pub(crate) priority: Priority,
    /// Bytes of memory that its process will take.
    pub(crate) bytes: u64,
    /// While it waits for memory everybody else may go first.
    pub(crate) yields: bool,
}

impl From<Priority> for Want {
    fn from(priority: Priority) -> Self {
        Self { priority, bytes: 0, yields: false }
    }
}

pub(crate) const PRIORITIES: usize = 5;

impl Priority {
    /// What it is once somebody asks.
    pub(crate) fn once_asked(self) -> Self {
        match self {
            Self::LiveAhead => Self::Live,
            Self::Prefetch => Self::Seeking,
            asked => asked,
        }
    }

    pub(crate) const ALL: [Self; PRIORITIES] =
        [Self::Live, Self::Seeking, Self::LiveAhead, Self::Prefetch, Self::Picture];
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
    /// Told when somebody has to wait for a place.
    comes: Notify,
}

struct State {
    places: Places,
    idle: Vec<Worker>,
}

impl Pool {
    pub(crate) fn new(program: Program, settings: &Settings, hardware: bool) -> Arc<Self> {
        let Settings { patience, silent_max, .. } = *settings;
        let hardware = AtomicBool::new(hardware);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let places = Places::new(settings.workers, cores, settings.memory);
        let state = State { places, idle: Vec::new() };
        let (presence, counters) = (Presence::new(program), Arc::default());
        let (state, comes) = (state.into(), Notify::new());
        Arc::new(Self { presence, patience, silent_max, hardware, counters, state, comes })
    }

    /// A worker, in the order of priorities.
    pub(crate) async fn lease(self: &Arc<Self>, want: impl Into<Want>) -> Result<Lease, NoWorker> {
        let place = self.place(want).await?;
        Ok(self.lease_at(place).await?)
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
    pub(crate) async fn place(self: &Arc<Self>, want: impl Into<Want>) -> Result<Place, Busy> {
        self.place_for(want.into(), None).await
    }

    /// The same, in the first turn that any of these have who ask for it. Whoever comes to them waits as long as the first one.
    pub(crate) async fn place_for(
        self: &Arc<Self>,
        want: Want,
        asks: Option<&Asks>,
    ) -> Result<Place, Busy> {
        let (id, mut waiting) = {
            let mut state = self.state();
            if state.places.may_begin(want) {
                state.places.take(want);
                return Ok(Place { pool: self.clone(), want: Some(want), waited: false });
            }
            let Some(waits) = state.places.wait(want, asks) else {
                self.counters.refused.fetch_add(1, Ordering::Relaxed);
                return Err(Busy);
            };
            waits
        };
        self.comes.notify_waiters();
        loop {
            let more = async {
                match asks {
                    Some(asks) => asks.more().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                place = timeout(self.patience, &mut waiting) => {
                    if let Ok(Ok(place)) = place {
                        return Ok(place);
                    }
                    break;
                }
                () = more => {
                    self.state().places.move_up(want.priority, id, asks);
                    self.hand_out();
                }
            }
        }
        // One that is given up waits no more.
        drop(waiting);
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        // Who waited behind it may need less memory.
        self.hand_out();
        Err(Busy)
    }

    /// To the next who waits. One who gives up in the same moment drops it, and it comes here again.
    fn give_back(self: &Arc<Self>, want: Want) {
        self.state().places.give_back(want);
        self.hand_out();
    }

    /// Places that are free to those who wait.
    fn hand_out(self: &Arc<Self>) {
        loop {
            // What a large job had is enough for several.
            let next = self.state().places.next();
            let Some((want, next)) = next else { break };
            // A place that nobody takes comes back through its drop.
            let _ = next.send(Place { pool: self.clone(), want: Some(want), waited: true });
        }
        // Who waits still may be another one now, who can begin in the place of one that stands still.
        self.comes.notify_waiters();
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
        self.state().places.is_idle(jobs)
    }

    /// How many pictures may be made at one time.
    pub(crate) fn pictures_at_once(&self) -> usize {
        self.state().places.pictures_at_once()
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
pub(crate) struct Place {
    pool: Arc<Pool>,
    /// None when somebody else has it.
    want: Option<Want>,
    waited: bool,
}

impl Place {
    /// Whether none was free when it was asked for.
    pub(crate) fn has_waited(&self) -> bool {
        self.waited
    }

    /// For a job of this kind that is begun anew: those who wait have come behind it, but for who comes first anyway.
    pub(crate) fn kept(self, priority: Priority) -> Option<Self> {
        let outranked = self.pool.state().places.is_outranked(priority);
        (!outranked).then_some(self)
    }

    /// Ends when somebody had to wait who could begin with it, and has it now. It is none any more.
    pub(crate) async fn give_way(&mut self) {
        let Self { pool, want, .. } = self;
        loop {
            let mut comes = pin!(pool.comes.notified());
            comes.as_mut().enable();
            if want.is_none_or(|want| pool.state().places.give_way(want)) {
                *want = None;
                return pool.hand_out();
            }
            comes.await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(want) = self.want {
            self.pool.give_back(want);
        }
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

    /// The worker, and the place, which may be given to others while it waits.
    pub(crate) fn both(&mut self) -> (Option<&mut Worker>, &mut Place) {
        (self.worker.as_mut(), &mut self.place)
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
    use std::collections::VecDeque;
    use std::net::IpAddr;
    use std::task::{Context, Waker};

    use tokio::task::JoinSet;
    use tokio::time::Instant as Timestamp;

    use super::*;
    use crate::limits::{WAITING_MAX, WAITING_PER_ADDRESS_MAX};

    fn pool(workers: usize) -> Arc<Pool> {
        let (path, words) = ("/nowhere".into(), "airwave-encode".to_owned());
        let settings = Settings { workers, ..Settings::of_tests() };
        Pool::new(Program { path, words }, &settings, false)
    }

    fn waiting(pool: &Pool, priority: Priority) -> usize {
        pool.state().places.waiting(priority)
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
        let order = [Priority::Live, Priority::Seeking, Priority::LiveAhead];
        let order = order.into_iter().chain([Priority::Prefetch, Priority::Picture]);
        let expect = order.flat_map(|p| [(p, 0), (p, 1)]);
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

    /// However many cores there are: large pictures take memory.
    #[tokio::test]
    async fn jobs_share_the_memory_and_what_needs_much_of_it_is_not_overtaken() {
        let (path, words) = ("/nowhere".into(), "airwave-encode".to_owned());
        let settings = Settings { workers: 8, memory: 1_000, ..Settings::of_tests() };
        let pool = Pool::new(Program { path, words }, &settings, false);
        let want = |priority: Priority, bytes| Want { bytes, ..priority.into() };
        let mut wake = Context::from_waker(Waker::noop());
        let first = pool.place(want(Priority::Live, 400)).await.unwrap();
        let second = pool.place(want(Priority::Live, 500)).await.unwrap();
        let mut large = pin!(pool.place(want(Priority::Live, 700)));
        assert!(large.as_mut().poll(&mut wake).is_pending(), "1,600 of 1,000");
        let mut small = pin!(pool.place(want(Priority::Live, 50)));
        let mut seek = pin!(pool.place(want(Priority::Seeking, 50)));
        assert!(small.as_mut().poll(&mut wake).is_pending(), "behind it");
        assert!(seek.as_mut().poll(&mut wake).is_pending(), "and who seeks");
        drop(first);
        assert!(large.as_mut().poll(&mut wake).is_pending(), "1,200 of 1,000");
        drop(second);
        // It has its room, and the others what is left.
        let large = large.await.unwrap();
        assert!(large.has_waited());
        let (small, seek) = (small.await.unwrap(), seek.await.unwrap());
        // By itself one may take more.
        let mut huge = pin!(pool.place(want(Priority::Live, 5_000)));
        assert!(huge.as_mut().poll(&mut wake).is_pending());
        drop((large, small, seek));
        let huge = huge.await.unwrap();
        let mut other = pin!(pool.place(want(Priority::Live, 1)));
        assert!(other.as_mut().poll(&mut wake).is_pending());
        drop(huge);
        drop(other.await.unwrap());
        // What nobody waits for any more holds nobody up.
        let held = pool.place(want(Priority::Live, 900)).await.unwrap();
        {
            let mut left = Box::pin(pool.place(want(Priority::Live, 900)));
            assert!(left.as_mut().poll(&mut wake).is_pending());
        }
        assert!(!pool.place(want(Priority::Live, 100)).await.unwrap().has_waited());
        drop(held);
        assert_eq!(pool.state().places.taken().2, 0);
    }

    /// However much one address asks for, others have room, and wait behind one of its own.
    #[tokio::test]
    async fn addresses_take_turns() {
        let pool = pool(1);
        let held = pool.place(Priority::Live).await.unwrap();
        let seek = |from: &str| {
            let (pool, asks) = (pool.clone(), Asks::of(from.parse().ok()));
            Box::pin(async move { pool.place_for(Priority::Seeking.into(), Some(&asks)).await })
        };
        let mut wake = Context::from_waker(Waker::noop());
        let mut one: VecDeque<_> =
            (0..WAITING_PER_ADDRESS_MAX).map(|_| seek("192.0.2.1")).collect();
        assert!(one.iter_mut().all(|seek| seek.as_mut().poll(&mut wake).is_pending()));
        let more = seek("192.0.2.1").as_mut().poll(&mut wake);
        assert!(matches!(more, std::task::Poll::Ready(Err(Busy))), "it has its share");
        let mut other = seek("192.0.2.2");
        assert!(other.as_mut().poll(&mut wake).is_pending());
        let mut many = Box::pin(pool.place(Priority::Seeking));
        assert!(many.as_mut().poll(&mut wake).is_pending());
        drop(held);
        let first = one.pop_front().unwrap().await.unwrap();
        assert!(other.as_mut().poll(&mut wake).is_pending(), "its first one came first");
        drop(first);
        drop(other.await.unwrap());
        drop(many.await.unwrap());
        assert!(one.pop_front().unwrap().await.unwrap().has_waited());
    }

    /// What these seek, one behind the other, and who of them joins which of those; in which order they have their turn.
    async fn turns(seeks: &[&str], joins: &[(&str, usize)]) -> Vec<usize> {
        let pool = pool(1);
        let held = pool.place(Priority::Live).await.unwrap();
        let address = |name: &str| Some(IpAddr::from([192, 0, 2, name.as_bytes()[0]]));
        let asks: Vec<_> = seeks.iter().map(|name| Asks::of(address(name))).collect();
        let served = Mutex::new(Vec::new());
        let seek = async |n: usize| {
            let place = pool.place_for(Priority::Seeking.into(), Some(&asks[n])).await;
            served.lock().unwrap().push(n);
            drop(place.unwrap());
        };
        let mut all: Vec<_> = (0..seeks.len()).map(|n| Box::pin(seek(n))).collect();
        let mut wake = Context::from_waker(Waker::noop());
        let mut poll = || {
            let polled = all.iter_mut().map(|one| one.as_mut().poll(&mut wake));
            polled.filter(std::task::Poll::is_pending).count()
        };
        assert_eq!(poll(), seeks.len());
        for (name, which) in joins {
            asks[*which].ask(address(name));
            assert_eq!(poll(), seeks.len());
        }
        drop(held);
        // Each drops its place for the next one.
        let served = || served.lock().unwrap().clone();
        while served().len() < seeks.len() {
            for (n, one) in all.iter_mut().enumerate() {
                if !served().contains(&n) {
                    let _ = one.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                }
            }
        }
        served()
    }

    /// Else who asks for all of a video first would hold up those who watch it, or be first with what others ask for.
    #[tokio::test]
    async fn who_joins_anothers_seek_has_his_own_turn() {
        for (seeks, joins, expect) in [
            (&["a", "a", "a", "b"][..], &[][..], [0, 3, 1, 2]),
            // The first of his own.
            (&["a", "a", "a", "c"], &[("b", 2)], [0, 3, 2, 1]),
            // He has one already: the second.
            (&["a", "a", "a", "b"], &[("b", 2)], [0, 3, 1, 2]),
            // What he joins is never later for it, and no other one is.
            (&["a", "b", "a", "c"], &[("b", 0), ("c", 1), ("b", 0)], [0, 1, 3, 2]),
        ] {
            assert_eq!(turns(seeks, joins).await, expect, "{seeks:?} {joins:?}");
        }
    }

    /// However long its original stands still, only one who waits and could begin then gets its place.
    #[tokio::test]
    async fn who_stands_still_gives_its_place_to_one_who_waits() {
        let (path, words) = ("/nowhere".into(), "airwave-encode".to_owned());
        let settings = Settings { workers: 2, memory: 1_000, ..Settings::of_tests() };
        let pool = Pool::new(Program { path, words }, &settings, false);
        let want = |bytes| Want { bytes, ..Priority::Live.into() };
        let mut wake = Context::from_waker(Waker::noop());
        let [mut one, mut other] =
            [pool.place(want(400)).await.unwrap(), pool.place(want(500)).await.unwrap()];
        {
            let (mut one, mut other) = (pin!(one.give_way()), pin!(other.give_way()));
            let mut gives = || {
                [one.as_mut().poll(&mut wake), other.as_mut().poll(&mut wake)].map(|p| p.is_ready())
            };
            assert_eq!(gives(), [false, false], "nobody waits");
            let mut large = Box::pin(pool.place(want(700)));
            let mut wake = Context::from_waker(Waker::noop());
            assert!(large.as_mut().poll(&mut wake).is_pending());
            assert_eq!(gives(), [false, false], "it would have no room");
            drop(large);
            let mut small = Box::pin(pool.place(want(100)));
            assert!(small.as_mut().poll(&mut wake).is_pending());
            assert_eq!(gives(), [true, false], "one is enough");
            assert!(small.await.unwrap().has_waited());
        }
        drop((one, other));
        assert_eq!(pool.state().places.taken(), (2, 0, 0), "none is given back twice");
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
