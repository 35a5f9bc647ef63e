//! How long a job may take in all, whatever its process says meanwhile. Waiting for the original takes none of it: live, a job
//! lasts as long as its segment, and only what is behind that counts. And whether its original stands still.

use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use crate::job::has_part;
use crate::limits::{JOB_MIN, JOB_TIMES, STANDS_STILL};
use crate::original::{Answer, Original, OriginalPart, OriginalSegment};

/// How long a job may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// At least.
    pub least: Duration,
    /// As many times as its segment is long.
    pub times: u32,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { least: JOB_MIN, times: JOB_TIMES }
    }
}

/// How often it is looked whether a job that waits for its original has taken too long: it does no work meanwhile.
const LOOK: Duration = Duration::from_secs(1);

/// The original of a job, and how long the job has worked on it.
pub(crate) struct Timed<'a> {
    original: &'a dyn Original,
    number: u64,
    allowance: Allowance,
    clock: Mutex<Clock>,
    /// Told whenever the job begins or ends to wait for the original.
    turned: Notify,
}

/// A part of a segment.
pub(crate) type At = (u64, usize);

struct Clock {
    worked: Duration,
    /// Since when that is so.
    since: Instant,
    /// The original is waited for.
    waits: bool,
    /// Which part of it, if that has not come yet.
    awaited: Option<At>,
}

impl Clock {
    fn turn(&mut self, waits: bool, awaited: Option<At>) {
        self.worked = self.worked();
        (self.since, self.waits, self.awaited) = (Instant::now(), waits, awaited);
    }

    fn worked(&self) -> Duration {
        let more = if self.waits { Duration::ZERO } else { self.since.elapsed() };
        self.worked.saturating_add(more)
    }
}

/// The original is waited for until this is dropped.
struct Waits<'a>(&'a Timed<'a>);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.turn(false, None);
    }
}

impl<'a> Timed<'a> {
    /// A job on this segment begins.
    pub(crate) fn new(original: &'a dyn Original, number: u64, allowance: Allowance) -> Self {
        let (worked, since) = (Duration::ZERO, Instant::now());
        let clock = Clock { worked, since, waits: false, awaited: None };
        Self { original, number, allowance, clock: Mutex::new(clock), turned: Notify::new() }
    }

    fn turn(&self, waits: bool, awaited: Option<At>) {
        self.clock().turn(waits, awaited);
        self.turned.notify_waiters();
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By what there is of the segment now.
    fn allowed(&self) -> Duration {
        let Allowance { least, times } = self.allowance;
        let ns = self.original.segment(self.number).map_or(0, |segment| segment.duration_ns);
        Duration::from_nanos(ns.saturating_mul(times.into())).max(least)
    }

    /// Ends when the job has taken too long.
    pub(crate) async fn overdue(&self) {
        loop {
            let left = self.allowed().saturating_sub(self.clock().worked());
            if left.is_zero() {
                return;
            }
            sleep(left.max(LOOK)).await;
        }
    }

    /// Ends when the original has stood still for a while: which part of it does not come.
    pub(crate) async fn stands_still(&self) -> At {
        loop {
            let mut turned = pin!(self.turned.notified());
            turned.as_mut().enable();
            let (awaited, since) = {
                let clock = self.clock();
                (clock.awaited, clock.since)
            };
            let Some(at) = awaited else {
                turned.await;
                continue;
            };
            if timeout_at(since + STANDS_STILL, turned).await.is_err() {
                return at;
            }
        }
    }

    /// Ends when it does not any more.
    pub(crate) async fn goes_on(&self) {
        let mut turned = pin!(self.turned.notified());
        turned.as_mut().enable();
        if self.clock().awaited.is_some() {
            turned.await;
        }
    }
}

impl Original for Timed<'_> {
    fn video(&self) -> &str {
        self.original.video()
    }

    fn track(&self) -> &str {
        self.original.track()
    }

    fn is_kept(&self) -> bool {
        self.original.is_kept()
    }

    fn segment(&self, number: u64) -> Option<OriginalSegment> {
        self.original.segment(number)
    }

    fn is_ahead(&self, number: u64) -> bool {
        self.original.is_ahead(number)
    }

    fn part(&self, number: u64, part: usize) -> Answer<'_, OriginalPart> {
        Box::pin(async move {
            let there = has_part(self.original, number, part);
            self.turn(true, (!there).then_some((number, part)));
            let _waits = Waits(self);
            self.original.part(number, part).await
        })
    }

    fn init(&self, id: u64) -> Answer<'_, Bytes> {
        self.original.init(id)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// A segment of two seconds, of which the next part comes after an hour.
    struct Slow;

    const HOUR: Duration = Duration::from_secs(3_600);

    impl Original for Slow {
        fn video(&self) -> &str {
            "slow"
        }

        fn track(&self) -> &str {
            "video.cmaf"
        }

        fn is_kept(&self) -> bool {
            false
        }

        fn segment(&self, number: u64) -> Option<OriginalSegment> {
            (number == 7).then_some(OriginalSegment {
                init: 1,
                epoch: 1,
                independent: true,
                complete: false,
                open: false,
                parts: 1,
                bytes: 1,
                duration_ns: 2_000_000_000,
            })
        }

        fn part(&self, _: u64, _: usize) -> Answer<'_, OriginalPart> {
            Box::pin(async {
                sleep(HOUR).await;
                Ok(None)
            })
        }

        fn init(&self, _: u64) -> Answer<'_, Bytes> {
            Box::pin(async { Ok(None) })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_has_so_many_times_its_segment_but_for_what_it_waits_for() {
        for (number, times, least, expect) in [(7, 100, 5, 200), (7, 100, 300, 300), (8, 100, 5, 5)]
        {
            let allowance = Allowance { least: Duration::from_secs(least), times };
            let expect = Duration::from_secs(expect);
            let (job, began) = (Timed::new(&Slow, number, allowance), Instant::now());
            job.overdue().await;
            assert_eq!(began.elapsed(), expect, "{number} {times} {least}");
        }
        let job = Timed::new(&Slow, 7, Allowance { least: Duration::from_secs(90), times: 1 });
        let began = Instant::now();
        assert!(timeout(Duration::from_secs(60), job.overdue()).await.is_err());
        let waits = async {
            assert!(matches!(job.part(7, 1).await, Ok(None)));
        };
        let overdue = async {
            job.overdue().await;
            began.elapsed()
        };
        let ((), overdue) = tokio::join!(waits, overdue);
        let all = HOUR + Duration::from_secs(90);
        assert!((all..all + LOOK * 30).contains(&overdue), "{overdue:?}");
        // It stands still once it has not come for a while, and no longer than that.
        let job = Timed::new(&Slow, 7, Allowance::default());
        let began = Instant::now();
        let waits = async {
            assert!(matches!(job.part(7, 1).await, Ok(None)));
        };
        let stands_still = async {
            let at = job.stands_still().await;
            let stood = began.elapsed();
            job.goes_on().await;
            (at, stood, began.elapsed())
        };
        let ((), stood) = tokio::join!(waits, stands_still);
        assert_eq!(stood, ((7, 1), STANDS_STILL, HOUR));
        // What was there is only slow to be had.
        let read = async {
            assert!(matches!(job.part(7, 0).await, Ok(None)));
        };
        let (stands_still, ()) = tokio::join!(timeout(2 * HOUR, job.stands_still()), read);
        assert!(stands_still.is_err());
        // One that is dropped while it waits works again.
        let job = Timed::new(&Slow, 7, Allowance { least: Duration::from_secs(90), times: 1 });
        assert!(timeout(HOUR / 2, job.part(7, 1)).await.is_err());
        let began = Instant::now();
        job.overdue().await;
        assert_eq!(began.elapsed(), Duration::from_secs(90));
    }
}
