//! A job and its second attempt: a worker may die under it, an encoder in hardware may fail in the middle, and one whose original stands
//! still gives its place to others.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::allowance::{At, Timed};
use crate::hardware::{Coder, Hardware};
use crate::job::{Job, JobError, config_of, ends_before};
use crate::ladder::Level;
use crate::limits::STOOD_STILL_MAX;
use crate::made::{Failed, Made};
use crate::memory::of_sound;
use crate::original::{Original, OriginalPart, Unreadable};
use crate::pool::{Busy, Lease, Place, Priority, Unstarted, Want};
use crate::renditions::{Begun, Renditions};
use crate::sound::{SoundJob, sound_of};
use crate::worker::WorkerError;

enum Attempt {
    /// For good.
    Failed(Failed),
    /// The worker, not necessarily the job.
    Lost(Lost),
    /// The place, while the original stood still here. `hardware`: an encoder in hardware had the job.
    StandsStill { at: At, hardware: bool },
}

impl From<Busy> for Attempt {
    fn from(_: Busy) -> Self {
        Self::Failed(Failed::Busy)
    }
}

impl From<Unreadable> for Attempt {
    fn from(_: Unreadable) -> Self {
        Self::Failed(Failed::Store)
    }
}

struct Lost {
    error: JobError,
    /// An encoder in hardware had the job.
    hardware: bool,
    /// Where the job was done.
    place: Place,
}

/// How a job is done once more.
#[derive(Default)]
struct Again {
    /// A worker was lost: the software does it.
    lost: bool,
    /// The encoder in hardware may be to blame, for this.
    hardware: Option<String>,
    /// How often its original stood still.
    stood_still: u32,
    /// Parts from which on nothing refers to what is before: that is in other bits than would be made now.
    anew: Vec<usize>,
}

impl Again {
    /// `hardware`: an encoder in hardware had the job.
    fn after(&mut self, hardware: bool, levels: &[(Level, Arc<Made>)]) {
        if hardware {
            let parts = levels.iter().map(|(_, made)| made.parts().len());
            self.anew = parts.filter(|parts| *parts > 0).collect();
        }
    }
}

impl Renditions {
    /// A worker may die under a job, and an encoder in hardware may fail: then it is done once more, by the software, and does not
    /// wait for its turn anew.
    pub(crate) async fn attempts(
        &self,
        begun: &Begun,
        first: OriginalPart,
        levels: &[(Level, Arc<Made>)],
    ) -> Result<(), Failed> {
        self.attempts_at(begun, first, levels, None).await
    }

    /// The same, of one that has its place.
    async fn attempts_at(
        &self,
        begun: &Begun,
        first: OriginalPart,
        levels: &[(Level, Arc<Made>)],
        mut place: Option<Place>,
    ) -> Result<(), Failed> {
        let mut again = Again::default();
        let (video, number) = (&begun.segment.0, begun.segment.2);
        loop {
            let attempt = self.attempt(begun, first.clone(), levels, &again, place).await;
            let Lost { error, hardware, place: kept } = match attempt {
                Ok(()) => {
                    // The frames were not to blame.
                    if let Some(why) = again.hardware {
                        self.hardware_fails(&why);
                    }
                    return Ok(());
                }
                Err(Attempt::Failed(failed)) => return Err(failed),
                Err(Attempt::StandsStill { at, hardware }) => {
                    tracing::debug!(%video, number, "it stands still, and gives its place to others");
                    again.stood_still += 1;
                    if again.stood_still > STOOD_STILL_MAX {
                        return Err(Failed::Busy);
                    }
                    again.after(hardware, levels);
                    goes_on(begun.original.as_ref(), number, at).await?;
                    place = None;
                    continue;
                }
                Err(Attempt::Lost(lost)) => lost,
            };
            if again.lost {
                tracing::warn!(%video, number, %error, "an encoder was lost again");
                return Err(self.lost_again());
            }
            tracing::warn!(%video, number, %error, "an encoder was lost");
            again.after(hardware, levels);
            (again.lost, again.hardware) = (true, hardware.then(|| error.to_string()));
            place = kept.kept(priority_of(begun, levels));
        }
    }

    async fn attempt(
        &self,
        begun: &Begun,
        first: OriginalPart,
        levels: &[(Level, Arc<Made>)],
        again: &Again,
        place: Option<Place>,
    ) -> Result<(), Attempt> {
        let original = &begun.original;
        let number = begun.segment.2;
        let no_original = Attempt::Failed(Failed::NoOriginal);
        let Some(segment) = original.segment(number) else { return Err(no_original) };
        let init = original.init(segment.init).await?;
        let Some(init) = init else { return Err(no_original) };
        let (picture, sound) = (config_of(&init), sound_of(&init));
        let bytes = match &picture {
            Some(config) => {
                let shaped: Vec<_> =
                    levels.iter().map(|(level, _)| level.of_shape(config)).collect();
                self.fits(config, &shaped).map_err(|too_large| {
                    tracing::warn!(video = begun.segment.0, number, %too_large, "not encoded");
                    Attempt::Failed(Failed::Encoder)
                })?
            }
            None => of_sound(),
        };
        // Who has a place does not wait for another one.
        if place.is_none() {
            self.ask_both(&init, levels).await;
        }
        let mut lease = self.lease(begun, levels, place, bytes).await?;
        let timed = Timed::new(original.as_ref(), number, self.allowance());
        let (original, init, counters) = (&timed, &init, &**self.counters());
        // Looked at once the worker is there: what has failed meanwhile may open no files any more.
        let may = lease.worker().is_some_and(|worker| worker.hardware)
            && self.hardware().is_some_and(Hardware::works)
            && !again.lost;
        let (worker, place) = lease.both();
        let mut by_hardware = false;
        let job = async {
            let worker = worker.ok_or(WorkerError::Ended)?;
            match (picture, sound) {
                (Some(config), _) => {
                    let config = &config;
                    let by = |(level, made): &(Level, Arc<Made>)| {
                        let level = level.of_shape(config);
                        let coder = self.coder(config, &level, may);
                        (level, coder, made.clone())
                    };
                    let levels: Vec<_> = levels.iter().map(by).collect();
                    by_hardware = levels.iter().any(|(_, coder, _)| coder.is_hardware());
                    let is_as_asked = |level: &Level, coder: Coder<'_>, parameters: &Bytes| {
                        self.is_as_asked(config, level, coder, parameters)
                    };
                    let is_as_asked = &is_as_asked;
                    let anew = &again.anew[..];
                    let job =
                        Job { original, number, config, init, levels, counters, is_as_asked, anew };
                    job.run(worker, first).await
                }
                (None, Some(config)) => {
                    let (config, levels) = (&config, levels.to_vec());
                    let job = SoundJob { original, number, config, init, levels, counters };
                    job.run(worker, first).await
                }
                (None, None) => Err(JobError::Codec),
            }
        };
        let done = tokio::select! {
            done = job => done,
            () = timed.overdue() => Err(WorkerError::Overdue.into()),
            at = way_given(&timed, place) => Err(JobError::StandsStill(at)),
        };
        match done {
            Ok(()) => {
                lease.done();
                Ok(())
            }
            Err(JobError::NoOriginal) => Err(no_original),
            Err(JobError::StandsStill(at)) => {
                Err(Attempt::StandsStill { at, hardware: by_hardware })
            }
            Err(JobError::Store(unreadable)) => Err(unreadable.into()),
            Err(error) if error.spares_worker() => {
                lease.done();
                tracing::warn!(video = begun.segment.0, number, %error, "not encoded");
                Err(Attempt::Failed(Failed::Encoder))
            }
            Err(error) => {
                self.counters().lost.fetch_add(1, Ordering::Relaxed);
                if by_hardware && error.may_be_hardware() {
                    if error.is_hardware() {
                        self.hardware_fails(&error.to_string());
                    }
                    let place = lease.lost();
                    return Err(Attempt::Lost(Lost { error, hardware: true, place }));
                }
                if matches!(error, JobError::Parameters) {
                    // Frames would go out under parameter sets of others.
                    self.forget_answers().await;
                }
                if error.is_final() {
                    tracing::warn!(video = begun.segment.0, number, %error, "given up");
                    return Err(Attempt::Failed(Failed::Encoder));
                }
                Err(Attempt::Lost(Lost { error, hardware: false, place: lease.lost() }))
            }
        }
    }

    /// A worker, in its turn. What nobody waits for any more by then is not begun.
    async fn lease(
        &self,
        begun: &Begun,
        levels: &[(Level, Arc<Made>)],
        place: Option<Place>,
        bytes: u64,
    ) -> Result<Lease, Attempt> {
        let kept = place.is_some();
        let place = match (place, priority_of(begun, levels)) {
            (Some(place), _) => place,
            (None, ahead @ (Priority::Prefetch | Priority::LiveAhead)) => {
                // Once somebody asks it waits in another queue.
                tokio::select! {
                    place = self.pool().place(Want { bytes, ..ahead.into() }) => place?,
                    () = begun.asks.more() => self.turn(begun, ahead.once_asked(), bytes).await?,
                }
            }
            (None, priority) => self.turn(begun, priority, bytes).await?,
        };
        let unwanted = match begun.priority {
            Priority::Prefetch | Priority::LiveAhead => {
                place.has_waited()
                    && !levels.iter().any(|(_, made)| made.is_asked())
                    && self.wanted(&begun.segment).is_empty()
            }
            Priority::Seeking => {
                !kept && place.has_waited() && !levels.iter().any(|(_, made)| made.is_awaited())
            }
            Priority::Live | Priority::Picture => false,
        };
        if unwanted {
            self.counters().dropped.fetch_add(1, Ordering::Relaxed);
            return Err(Attempt::Failed(Failed::Busy));
        }
        let leased = self.pool().lease_at(place).await;
        self.follow_program();
        leased.map_err(|Unstarted { error, place }| {
            if matches!(error, WorkerError::Gone) {
                return Attempt::Failed(Failed::Program);
            }
            self.counters().lost.fetch_add(1, Ordering::Relaxed);
            Attempt::Lost(Lost { error: error.into(), hardware: false, place })
        })
    }

    /// A place for what somebody has asked for. Those who seek take turns.
    async fn turn(&self, begun: &Begun, priority: Priority, bytes: u64) -> Result<Place, Busy> {
        let asks = (priority == Priority::Seeking).then_some(&*begun.asks);
        self.pool().place_for(Want { bytes, ..priority.into() }, asks).await
    }
}

/// Ends when the original stood still and somebody else waited, who has the place now: which part of it did not come.
async fn way_given(timed: &Timed<'_>, place: &mut Place) -> At {
    loop {
        let at = timed.stands_still().await;
        tokio::select! {
            () = place.give_way() => return at,
            () = timed.goes_on() => {}
        }
    }
}

/// Until there is what did not come, and with it the rest of the segment: however slowly it comes, it is begun anew once.
async fn goes_on(original: &dyn Original, number: u64, (of, part): At) -> Result<(), Failed> {
    for index in part.. {
        let Some(there) = original.part(of, index).await.map_err(|Unreadable| Failed::Store)?
        else {
            let whole = of != number || ends_before(original, number, index);
            return if whole { Ok(()) } else { Err(Failed::NoOriginal) };
        };
        if there.last || of != number {
            break;
        }
    }
    Ok(())
}

/// Which kind of job it is by now.
fn priority_of(begun: &Begun, levels: &[(Level, Arc<Made>)]) -> Priority {
    let asked = levels.iter().any(|(_, made)| made.is_asked());
    if asked { begun.priority.once_asked() } else { begun.priority }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::pin::pin;
    use std::sync::Mutex;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use tokio::task::yield_now;

    use super::*;
    use crate::ahead::tests::{Film, level, renditions};
    use crate::asks::Asks;
    use crate::original::Original;
    use crate::renditions::{Abandoned, Entry, Wanted};

    const LINGER: Duration = Duration::from_secs(5);

    /// A segment that nobody has asked for yet.
    fn ahead(original: &Arc<dyn Original>, number: u64) -> (Begun, Wanted) {
        let asks: Arc<Asks> = Arc::default();
        let made = Arc::new(Made::ahead(asks.clone()));
        let segment = (original.video().to_owned(), original.track().to_owned(), number);
        let (original, priority) = (original.clone(), Priority::Prefetch);
        (Begun { segment, original, priority, asks }, vec![(level(), made)])
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_made_ahead_is_dropped_when_its_viewer_has_left() {
        for (leaves, asks, dropped) in [(false, false, 0), (true, false, 1), (true, true, 0)] {
            let renditions = renditions(LINGER, None);
            let original: Arc<dyn Original> = Arc::new(Film { kept: false });
            renditions.segment(&original, 1, &level()).unwrap();
            let held = renditions.pool().place(Priority::Seeking).await.unwrap();
            let (begun, levels) = ahead(&original, 2);
            let turn = async {
                yield_now().await;
                if leaves {
                    tokio::time::advance(LINGER).await;
                }
                if asks {
                    levels[0].1.ask(None);
                }
                drop(held);
            };
            let (leased, ()) = tokio::join!(renditions.lease(&begun, &levels, None, 0), turn);
            let words = format!("leaves: {leaves}, asks: {asks}");
            let counted = renditions.counters().dropped.load(Ordering::Relaxed);
            assert_eq!(counted, dropped, "{words}");
            // There is no such program: this is as far as it comes.
            let begins = matches!(leased, Err(Attempt::Lost(_)));
            assert_eq!(begins, dropped == 0, "{words}");
            assert!(begins || matches!(leased, Err(Attempt::Failed(Failed::Busy))), "{words}");
            drop(leased);
            assert!(renditions.pool().is_idle(1), "{words}: its place is another's");
        }
    }

    /// The second of two that are made ahead has nobody before it who was asked for.
    #[tokio::test]
    async fn what_is_made_ahead_at_once_is_made() {
        let renditions = renditions(LINGER, None);
        let original: Arc<dyn Original> = Arc::new(Film { kept: false });
        let (begun, levels) = ahead(&original, 3);
        let leased = renditions.lease(&begun, &levels, None, 0).await;
        assert!(matches!(leased, Err(Attempt::Lost(_))), "as far as it comes");
        assert_eq!(renditions.counters().dropped.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_made_ahead_comes_first_when_somebody_asks_for_it() {
        let renditions = renditions(LINGER, None);
        let original: Arc<dyn Original> = Arc::new(Film { kept: false });
        let all = [2, 12, 22].map(|number| ahead(&original, number));
        for (begun, _) in &all {
            renditions.segment(&original, begun.segment.2 - 1, &level()).unwrap();
        }
        let held = renditions.pool().place(Priority::Seeking).await.unwrap();
        let turns = Mutex::new(Vec::new());
        let job = async |(begun, levels): &(Begun, Wanted)| {
            let _ = renditions.lease(begun, levels, None, 0).await;
            turns.lock().unwrap().push(begun.segment.2);
        };
        let asks = async {
            yield_now().await;
            all[2].1[0].1.ask(None);
            yield_now().await;
            drop(held);
        };
        tokio::join!(job(&all[0]), job(&all[1]), job(&all[2]), asks);
        assert_eq!(*turns.lock().unwrap(), [22, 2, 12]);
    }

    /// A level that joins when the job has its turn in the queue.
    #[tokio::test(start_paused = true)]
    async fn what_joins_a_job_that_was_begun_ahead_moves_it_up_when_somebody_asks() {
        let renditions = renditions(LINGER, None);
        let original: Arc<dyn Original> = Arc::new(Film { kept: false });
        let other = Level { name: "240p".to_owned(), ..level() };
        let (first, second) = (ahead(&original, 12), ahead(&original, 2));
        renditions.segment(&original, 11, &level()).unwrap();
        for level in [&level(), &other] {
            renditions.segment(&original, 1, level).unwrap();
        }
        {
            let mut state = renditions.state();
            state.open.insert(second.0.segment.clone(), second.1.clone());
            let key = (second.0.segment.clone(), level());
            state.made.insert(key, Entry { made: second.1[0].1.clone(), used: 0 });
        }
        let mut second_job = Abandoned::new(&renditions, &second.0.segment);
        assert!(second_job.take_up(false));
        assert_eq!(second_job.levels.len(), 2, "the other level is wanted, too");
        let counted = || {
            let counters = renditions.counters();
            [&counters.prefetched, &counters.prefetched_used].map(|n| n.load(Ordering::Relaxed))
        };
        assert_eq!(counted(), [1, 0]);
        let held = renditions.pool().place(Priority::Seeking).await.unwrap();
        let turns = Mutex::new(Vec::new());
        let job = async |begun: &Begun, levels: &Wanted| {
            let _ = renditions.lease(begun, levels, None, 0).await;
            turns.lock().unwrap().push(begun.segment.2);
        };
        let asks = async {
            yield_now().await;
            renditions.segment(&original, 2, &other).unwrap();
            // Until the job has heard of it, in whatever order they are looked at.
            for _ in 0..4 {
                yield_now().await;
            }
            drop(held);
        };
        tokio::join!(job(&first.0, &first.1), job(&second.0, &second_job.levels), asks);
        assert_eq!(*turns.lock().unwrap(), [2, 12]);
        assert_eq!(counted(), [1, 1]);
    }

    /// What several ask for is made in the turn of whoever of them has the first one, also where it was begun ahead of all of them.
    #[tokio::test(start_paused = true)]
    async fn who_asks_for_what_another_one_seeks_has_his_own_turn() {
        let renditions = renditions(LINGER, None);
        let original: Arc<dyn Original> = Arc::new(Film { kept: false });
        let [one, other, third] = [1, 2, 3].map(|n| Some(IpAddr::from([192, 0, 2, n])));
        let turns = Mutex::new(Vec::new());
        // As `segment_for` begins it for this address, or `make_ahead` for nobody.
        let begin = |number: u64, of: Option<IpAddr>| {
            let (mut begun, mut levels) = ahead(&original, number);
            if of.is_some() {
                (begun.priority, begun.asks) = (Priority::Seeking, Asks::of(of));
                levels = vec![(level(), Arc::new(Made::asked_by(begun.asks.clone())))];
                levels[0].1.ask(of);
            }
            let made = levels[0].1.clone();
            let key = (begun.segment.clone(), level());
            renditions.state().made.insert(key, Entry { made, used: 0 });
            (begun, levels)
        };
        let seeks = [(10, one), (20, one), (30, one), (40, one), (50, third), (60, None)];
        let jobs = seeks.map(|(number, of)| begin(number, of));
        let held = renditions.pool().place(Priority::Seeking).await.unwrap();
        let job = async |(begun, levels): &(Begun, Wanted)| {
            let waits = async { _ = levels[0].1.part(0).await };
            let lease = async {
                let leased = renditions.lease(begun, levels, None, 0).await;
                turns.lock().unwrap().push(begun.segment.2);
                levels[0].1.finish(Err(Failed::Busy));
                drop(leased);
            };
            tokio::join!(waits, lease);
        };
        let asks = async {
            yield_now().await;
            for (number, of) in [(40, other), (60, one)] {
                renditions.segment_for(&original, number, &level(), of).unwrap();
                yield_now().await;
            }
            drop(held);
        };
        let [a, b, c, d, e, f] = &jobs;
        tokio::join!(job(a), job(b), job(c), job(d), job(e), job(f), asks);
        // The one's first, the third's, the other's; then one by one.
        assert_eq!(*turns.lock().unwrap(), [10, 50, 40, 20, 30, 60]);
    }

    /// Of one whose worker was lost in each of its two attempts: how many were over when another job had its turn.
    async fn lost_before(of: Priority, asked: bool, other: Priority) -> u64 {
        let renditions = renditions(LINGER, None);
        let original: Arc<dyn Original> = Arc::new(Film { kept: false });
        renditions.segment(&original, 1, &level()).unwrap();
        let (begun, levels) = ahead(&original, 2);
        let begun = Begun { priority: of, ..begun };
        // Its viewer waits all the while.
        let mut viewer = pin!(levels[0].1.part(0));
        if asked {
            levels[0].1.ask(None);
            let mut wake = Context::from_waker(Waker::noop());
            assert!(viewer.as_mut().poll(&mut wake).is_pending());
        }
        let held = renditions.pool().place(Priority::Live).await.unwrap();
        let first = OriginalPart { pieces: Vec::new(), duration: 0, last: true };
        let waits = async {
            // Whoever waits has come before.
            let _place = renditions.pool().place(other).await.unwrap();
            renditions.counters().lost.load(Ordering::Relaxed)
        };
        // There is no such program.
        let job = async {
            yield_now().await;
            let place = Some(held);
            let lost = renditions.attempts_at(&begun, first, &levels, place).await;
            assert_eq!(lost, Err(Failed::Program));
        };
        tokio::join!(waits, job).0
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_whose_worker_is_lost_keeps_its_turn_but_for_who_comes_first() {
        use Priority::{Live, LiveAhead, Picture, Prefetch, Seeking};
        for other in [Live, Seeking, LiveAhead, Prefetch, Picture] {
            assert_eq!(lost_before(Live, true, other).await, 2, "live, beside {other:?}");
            assert_eq!(lost_before(LiveAhead, true, other).await, 2, "asked, beside {other:?}");
        }
        for (other, lost) in [(Live, 1), (Seeking, 1), (LiveAhead, 2), (Prefetch, 2)] {
            assert_eq!(lost_before(LiveAhead, false, other).await, lost, "beside {other:?}");
        }
        for (other, lost) in [(Live, 1), (Seeking, 2), (Prefetch, 2), (Picture, 2)] {
            assert_eq!(lost_before(Seeking, true, other).await, lost, "beside {other:?}");
            assert_eq!(lost_before(Prefetch, true, other).await, lost, "asked, beside {other:?}");
        }
        for (other, lost) in [(Live, 1), (Seeking, 1), (Prefetch, 2), (Picture, 2)] {
            assert_eq!(lost_before(Prefetch, false, other).await, lost, "beside {other:?}");
        }
    }
}
