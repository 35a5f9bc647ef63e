//! How long a job may take in all, whatever its process says meanwhile. Waiting for the original takes none of it: live, a job
//! lasts as long as its segment, and only what is behind that counts.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use crate::limits::{JOB_MIN, JOB_TIMES};
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
}

struct Clock {
    worked: Duration,
    /// Since when that is so.
    since: Instant,
    /// The original is waited for.
    waits: bool,
}

impl Clock {
    fn turn(&mut self, waits: bool) {
        self.worked = self.worked();
        (self.since, self.waits) = (Instant::now(), waits);
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
        self.0.clock().turn(false);
    }
}

impl<'a> Timed<'a> {
    /// A job on this segment begins.
    pub(crate) fn new(original: &'a dyn Original, number: u64, allowance: Allowance) -> Self {
        let clock = Clock { worked: Duration::ZERO, since: Instant::now(), waits: false };
        Self { original, number, allowance, clock: Mutex::new(clock) }
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
            self.clock().turn(true);
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
        // One that is dropped while it waits works again.
        let job = Timed::new(&Slow, 7, Allowance { least: Duration::from_secs(90), times: 1 });
        assert!(timeout(HOUR / 2, job.part(7, 1)).await.is_err());
        let began = Instant::now();
        job.overdue().await;
        assert_eq!(began.elapsed(), Duration::from_secs(90));
    }
}
