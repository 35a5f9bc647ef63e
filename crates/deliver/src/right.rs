//! The right of one request to what it asks for. It is looked at when the request comes; what follows may take as long as an encoder is
//! silent, or as its client likes, and the right may end meanwhile.

use std::time::Duration;

use access::{Changes, Pass, Refusal};
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::limits::LOOK_EVERY;

/// Whether who asked may still have it.
pub(crate) type Look = BoxFuture<'static, Result<Pass, Refusal>>;

/// How one right stands.
pub(crate) struct Right<F> {
    ask: F,
    /// The clock on the wall, in milliseconds since 1970.
    now_ms: fn() -> u64,
    changes: Changes,
    looked: Instant,
    /// When its token ends.
    ends: Option<Instant>,
    /// Looks that nobody could answer, one after the other.
    unknown: u32,
}

impl<F: Fn() -> Look> Right<F> {
    /// Nothing was looked at yet. `ask` asks anew each time.
    pub(crate) fn new(ask: F, changes: Changes, now_ms: fn() -> u64) -> Self {
        Self { ask, now_ms, changes, looked: Instant::now(), ends: None, unknown: 0 }
    }

    /// How long ago it was looked at.
    pub(crate) fn age(&self) -> Duration {
        self.looked.elapsed()
    }

    /// How many looks in a row nobody could answer.
    pub(crate) fn unknown(&self) -> u32 {
        self.unknown
    }

    /// Looks.
    pub(crate) async fn look(&mut self) -> Result<Pass, Refusal> {
        let look = self.begin();
        let said = look.await;
        self.learn(&said);
        said
    }

    /// Begins to look; what is said is then to be [learned](Self::learn).
    pub(crate) fn begin(&mut self) -> Look {
        // What is changed while this is on its way may not be in it.
        self.changes.see();
        self.looked = Instant::now();
        (self.ask)()
    }

    pub(crate) fn learn(&mut self, said: &Result<Pass, Refusal>) {
        match said {
            Ok(pass) => {
                let left =
                    |until: u64| Duration::from_millis(until.saturating_sub((self.now_ms)()));
                // What is too far away for a clock never comes.
                self.ends = pass.until_ms.and_then(|until| Instant::now().checked_add(left(until)));
                self.unknown = 0;
            }
            Err(_) => self.unknown = self.unknown.saturating_add(1),
        }
    }

    /// When it has to be looked at again because it may have ended: its token's time is over, somebody has changed who may watch, or nobody
    /// could say. Until then nothing is done for it. Where changes come one upon the other it is looked at each
    /// [so often](LOOK_EVERY) and no more.
    pub(crate) fn may_have_ended(&self) -> impl Future<Output = ()> + Send + use<F> {
        let (mut changes, unknown, ends) = (self.changes.clone(), self.unknown > 0, self.ends);
        let not_before = self.looked + LOOK_EVERY;
        async move {
            // Clocks have memory of their own: most who wait need none.
            if !unknown {
                match ends {
                    Some(ends) => drop(Box::pin(timeout_at(ends, changes.next())).await),
                    None => changes.next().await,
                }
            }
            Box::pin(sleep_until(not_before)).await;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use access::Access;
    use control::{Control, MasterKey};
    use futures_util::FutureExt;
    use tempfile::TempDir;
    use tokio::time::{advance, sleep};

    use super::*;

    /// Where changes are said.
    pub(crate) struct Desk {
        _folder: TempDir,
        pub(crate) access: Access,
    }

    impl Desk {
        pub(crate) async fn new() -> Self {
            let folder = TempDir::new().unwrap();
            let path = folder.path().join("control.db");
            let control = Arc::new(Control::open(&path, MasterKey::new(&[7; 32])).unwrap());
            let access = Access::load(control, &[9; 32], None).await.unwrap();
            Self { _folder: folder, access }
        }

        /// One that counts as looked at now.
        pub(crate) fn right<F: Fn() -> Look>(&self, ask: F) -> Right<F> {
            Right::new(ask, self.access.changes(), now_ms)
        }
    }

    thread_local! {
        static BEGAN: Instant = Instant::now();
    }

    /// A clock on the wall that goes as that of the test does.
    fn now_ms() -> u64 {
        let since = BEGAN.with(Instant::elapsed);
        1_763_812_800_000 + u64::try_from(since.as_millis()).unwrap()
    }

    pub(crate) fn pass(until_ms: Option<u64>) -> Pass {
        Pass {
            id: "id".to_owned(),
            known: true,
            restricted: false,
            downloadable: true,
            until_ms,
            embedders: Vec::new(),
        }
    }

    fn says(said: Result<Pass, Refusal>) -> impl Fn() -> Look {
        move || {
            let said = said.clone();
            async move { said }.boxed()
        }
    }

    /// After how many milliseconds it has to be looked at; none: not within a day.
    async fn looked_at(right: &Right<impl Fn() -> Look>) -> Option<u128> {
        let began = Instant::now();
        let day = Duration::from_secs(86_400);
        let due = tokio::time::timeout(day, right.may_have_ended()).await;
        due.ok().map(|()| began.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_looked_at_while_nothing_changes() {
        let desk = Desk::new().await;
        // What a token's end is away, and after how long it is looked at.
        for (ends_in, after) in [
            (None, None),
            (Some(u64::MAX), None),
            (Some(7_000), Some(7_000)),
            // No sooner than half a second after the last look.
            (Some(200), Some(500)),
            (Some(0), Some(500)),
        ] {
            let until_ms = ends_in.map(|ms| now_ms().saturating_add(ms));
            let mut right = desk.right(says(Ok(pass(until_ms))));
            right.look().await.unwrap();
            assert_eq!(looked_at(&right).await, after, "{ends_in:?}");
        }
        // Nobody could say.
        let mut right = desk.right(says(Err(Refusal::Unavailable)));
        right.look().await.unwrap_err();
        assert_eq!(looked_at(&right).await, Some(500));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_looked_at_at_once_and_many_of_them_once_in_half_a_second() {
        let desk = Desk::new().await;
        let mut right = desk.right(says(Ok(pass(None))));
        right.look().await.unwrap();
        let change = async |after_ms| {
            sleep(Duration::from_millis(after_ms)).await;
            desk.access.forget_policies();
        };
        for (after_ms, due_ms) in [(7_000, 7_000), (100, 500), (0, 500)] {
            let (due, ()) = tokio::join!(looked_at(&right), change(after_ms));
            assert_eq!(due, Some(due_ms));
            right.look().await.unwrap();
        }
        // What changes while nobody waits is not missed, and what was looked at is not looked at again.
        desk.access.forget_policies();
        advance(Duration::from_secs(7)).await;
        assert_eq!(looked_at(&right).await, Some(0));
        right.look().await.unwrap();
        assert_eq!(looked_at(&right).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_changes_while_it_is_looked_at_is_looked_at_again() {
        let desk = Desk::new().await;
        let looks = Arc::new(AtomicUsize::new(0));
        let counted = looks.clone();
        let mut right = desk.right(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            async {
                sleep(Duration::from_millis(100)).await;
                Ok(pass(None))
            }
            .boxed()
        });
        let change = async {
            sleep(Duration::from_millis(50)).await;
            desk.access.forget_policies();
        };
        let (said, ()) = tokio::join!(right.look(), change);
        said.unwrap();
        assert_eq!(looked_at(&right).await, Some(400));
        assert_eq!(looks.load(Ordering::Relaxed), 1);
    }
}
