//! Workers for everybody: how many there may be, who gets the next one, and when an idle one goes.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::limits::{PICTURES_AT_ONCE, WAITING_MAX, WAITING_PER_ADDRESS_MAX};
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
    /// Who asked for it, of those who share with others.
    pub(crate) address: Option<IpAddr>,
    /// While it waits for memory everybody else may go first.
    pub(crate) yields: bool,
}

impl From<Priority> for Want {
    fn from(priority: Priority) -> Self {
        Self { priority, bytes: 0, address: None, yields: false }
    }
}

/// Who waits for a place, and for how much memory.
struct Waiting {
    bytes: u64,
    address: Option<IpAddr>,
    /// How many of the same address waited when it came. Whose first one this is comes before the second one of others.
    turn: usize,
    yields: bool,
    tell: oneshot::Sender<Place>,
}

/// Which places pictures have. Strangers ask for them, and those who seek must not wait behind any number of those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pictures {
    /// So many more of their own.
    Own(usize),
    /// Those of the past, but for so many.
    Shared(usize),
}

const PRIORITIES: usize = 5;

impl Priority {
    /// What it is once somebody asks.
    pub(crate) fn once_asked(self) -> Self {
        match self {
            Self::LiveAhead => Self::Live,
            Self::Prefetch => Self::Seeking,
            asked => asked,
        }
    }

    const ALL: [Self; PRIORITIES] =
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
}

struct State {
    /// How many more jobs may run.
    free: usize,
    /// How many more that are not live: those keep a core busy each, and live ones mostly wait for their encoder.
    free_past: usize,
    /// How many of those there are in all.
    past: usize,
    /// How many live ones run.
    live: usize,
    /// What pictures may take.
    pictures: Pictures,
    /// Bytes of memory that jobs may take besides, and what those take that run.
    room: u64,
    taken: u64,
    idle: Vec<Worker>,
    waiting: [VecDeque<Waiting>; PRIORITIES],
}

impl Pool {
    pub(crate) fn new(program: Program, settings: &Settings, hardware: bool) -> Arc<Self> {
        let Settings { patience, silent_max, .. } = *settings;
        let hardware = AtomicBool::new(hardware);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let state = State::new(settings.workers, cores, settings.memory);
        let (presence, counters) = (Presence::new(program), Arc::default());
        Arc::new(Self { presence, patience, silent_max, hardware, counters, state: state.into() })
    }

    /// A worker, in the order of priorities.
    pub(crate) async fn lease(self: &Arc<Self>, want: impl Into<Want>) -> Result<Lease, NoWorker> {
        let place = self.place(want).await?;
        Ok(self.lease_at(place).await?)
    }

    /// The right to a worker, in the order of priorities. It waits in another queue from when somebody waits for what nobody
    /// has asked for yet.
    pub(crate) async fn place_before(
        self: &Arc<Self>,
        somebody_waits: impl Future<Output = ()>,
        (want, then): (Want, Priority),
    ) -> Result<Place, Busy> {
        tokio::select! {
            place = self.place(want) => place,
            () = somebody_waits => self.place(Want { priority: then, ..want }).await,
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
    pub(crate) async fn place(self: &Arc<Self>, want: impl Into<Want>) -> Result<Place, Busy> {
        let want @ Want { priority, bytes, address, yields } = want.into();
        let waiting = {
            let mut state = self.state();
            if state.may_begin(want) {
                state.take(want);
                return Ok(Place { pool: self.clone(), want, waited: false });
            }
            let waiting = &mut state.waiting[priority as usize];
            waiting.retain(|one| !one.tell.is_closed());
            let same = waiting.iter().filter(|one| address.is_some() && one.address == address);
            let turn = same.count();
            // Of each kind so many: those who seek do not keep out those who watch live. And of each address.
            if waiting.len() >= WAITING_MAX || turn >= WAITING_PER_ADDRESS_MAX {
                self.counters.refused.fetch_add(1, Ordering::Relaxed);
                return Err(Busy);
            }
            let (tell, told) = oneshot::channel();
            // Who yields is behind all others.
            let turn = if yields { usize::MAX } else { turn };
            let at = waiting.partition_point(|one| one.turn <= turn);
            waiting.insert(at, Waiting { bytes, address, turn, yields, tell });
            told
        };
        match timeout(self.patience, waiting).await {
            Ok(Ok(place)) => Ok(place),
            _ => {
                self.counters.refused.fetch_add(1, Ordering::Relaxed);
                // Who waited behind it may need less memory.
                self.hand_out();
                Err(Busy)
            }
        }
    }

    /// To the next who waits. One who gives up in the same moment drops it, and it comes here again.
    fn give_back(self: &Arc<Self>, want: Want) {
        self.state().give_back(want);
        self.hand_out();
    }

    /// Places that are free to those who wait.
    fn hand_out(self: &Arc<Self>) {
        loop {
            // What a large job had is enough for several.
            let next = self.state().next();
            let Some((want, next)) = next else { return };
            // A place that nobody takes comes back through its drop.
            let _ = next.send(Place { pool: self.clone(), want, waited: true });
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
        let free = state.free.min(state.left_to_past());
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
    fn new(workers: usize, cores: usize, room: u64) -> Self {
        let free = workers.max(1);
        // Where there are several, one is always left to those who watch live.
        let free_past = cores.min(free - 1).max(1);
        // And one to those who seek.
        let own = free.saturating_sub(1 + free_past);
        let pictures = match own.min(cores.saturating_sub(1).max(1)).min(PICTURES_AT_ONCE) {
            0 => Pictures::Shared(1.min(free_past - 1)),
            own => Pictures::Own(own),
        };
        let (idle, waiting) = (Vec::new(), Default::default());
        let (past, live, taken) = (free_past, 0, 0);
        Self { free, free_past, past, live, pictures, room, taken, idle, waiting }
    }

    /// How many more may run of what is not live. While something is, a core is left to it, if there are several: all processes are equally nice.
    fn left_to_past(&self) -> usize {
        let kept = usize::from(self.live > 0 && self.past > 1);
        self.free_past.saturating_sub(kept)
    }

    fn has_place(&self, priority: Priority) -> bool {
        let free = match (priority, self.pictures) {
            (Priority::Live | Priority::LiveAhead, _) => true,
            (Priority::Picture, Pictures::Own(free)) => free > 0,
            (Priority::Picture, Pictures::Shared(kept)) => self.free_past > kept,
            (Priority::Seeking | Priority::Prefetch, _) => self.left_to_past() > 0,
        };
        self.free > 0 && free
    }

    /// Whether there is memory for it; one that takes more than there is for all of them runs by itself.
    fn has_room(&self, bytes: u64) -> bool {
        self.taken == 0 || self.taken.saturating_add(bytes) <= self.room
    }

    /// Whether it need not wait. Who comes first and waits for memory is not overtaken by what takes less: it would wait for good.
    fn may_begin(&mut self, Want { priority, bytes, .. }: Want) -> bool {
        if !self.has_place(priority) || !self.has_room(bytes) {
            return false;
        }
        let before = Priority::ALL.into_iter().take(priority as usize + 1);
        let waits = |(_, yields): (u64, bool)| !yields;
        !before
            .into_iter()
            .any(|before| self.front(before).is_some_and(waits) && self.has_place(before))
    }

    /// What the next one of these needs that still waits, and whether it yields.
    fn front(&mut self, priority: Priority) -> Option<(u64, bool)> {
        let waiting = &mut self.waiting[priority as usize];
        while waiting.front().is_some_and(|one| one.tell.is_closed()) {
            waiting.pop_front();
        }
        waiting.front().map(|one| (one.bytes, one.yields))
    }

    fn take(&mut self, Want { priority, bytes, .. }: Want) {
        self.taken += bytes;
        self.free -= 1;
        match (priority, &mut self.pictures) {
            (Priority::Live | Priority::LiveAhead, _) => self.live += 1,
            (Priority::Picture, Pictures::Own(free)) => *free -= 1,
            _ => self.free_past -= 1,
        }
    }

    fn give_back(&mut self, Want { priority, bytes, .. }: Want) {
        self.taken -= bytes;
        self.free += 1;
        match (priority, &mut self.pictures) {
            (Priority::Live | Priority::LiveAhead, _) => self.live -= 1,
            (Priority::Picture, Pictures::Own(free)) => *free += 1,
            _ => self.free_past += 1,
        }
    }

    /// Whether somebody waits who comes before these.
    fn is_outranked(&self, priority: Priority) -> bool {
        let before = self.waiting.iter().take(priority as usize);
        before.flatten().any(|one| !one.tell.is_closed())
    }

    /// Who gets a place that is free, and has it now.
    fn next(&mut self) -> Option<(Want, oneshot::Sender<Place>)> {
        for priority in Priority::ALL {
            let next = self.front(priority).filter(|_| self.has_place(priority));
            let Some((bytes, yields)) = next else { continue };
            if !self.has_room(bytes) {
                if yields {
                    continue;
                }
                return None;
            }
            let next = self.waiting[priority as usize].pop_front();
            let want = Want { bytes, yields, ..priority.into() };
            self.take(want);
            return next.map(|next| (want, next.tell));
        }
        None
    }
}

/// The right to run a job.
pub(crate) struct Place {
    pool: Arc<Pool>,
    want: Want,
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
        self.pool.give_back(self.want);
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

    /// However many seek: live parts have to come in time.
    #[test]
    fn while_something_is_live_a_core_is_left_to_it() {
        for (workers, cores, alone, beside) in
            [(1, 1, 1, 0), (2, 2, 1, 1), (4, 1, 1, 1), (8, 2, 2, 1), (16, 4, 4, 3)]
        {
            let seeks = |live: usize| {
                let mut state = State::new(workers, cores, u64::MAX);
                (0..live).for_each(|_| state.take(Priority::Live.into()));
                let mut seeks = 0;
                while state.has_place(Priority::Seeking) {
                    state.take(Priority::Seeking.into());
                    seeks += 1;
                }
                (0..live).for_each(|_| state.give_back(Priority::Live.into()));
                (seeks, state.has_place(Priority::Seeking))
            };
            let words = format!("{workers} workers, {cores} cores");
            assert_eq!(seeks(0), (alone, false), "{words}");
            assert_eq!(seeks(1), (beside, beside < alone), "{words}");
        }
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
            let mut state = State::new(workers, cores, u64::MAX);
            let mut taken = 0;
            while state.has_place(Priority::Picture) {
                state.take(Priority::Picture.into());
                taken += 1;
            }
            assert_eq!(taken, pictures, "{words}");
            if workers > 2 {
                assert!(state.has_place(Priority::Seeking), "{words}");
                state.take(Priority::Seeking.into());
            }
            // Of two places one is that of those who watch live.
            assert_eq!(state.has_place(Priority::Live), workers > 1, "{words}");
        }
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
        assert_eq!(pool.state().taken, 0);
    }

    /// However much one address asks for, others have room, and wait behind one of its own.
    #[tokio::test]
    async fn addresses_take_turns() {
        let pool = pool(1);
        let held = pool.place(Priority::Live).await.unwrap();
        let seek = |from: &str| {
            let address = Some(from.parse().unwrap());
            Box::pin(pool.place(Want { address, ..Priority::Seeking.into() }))
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
