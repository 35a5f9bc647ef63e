//! What is made before anybody asks, and what was made before: the next segment of a level that is watched, and the disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::task::spawn_blocking;

use crate::asks::Asks;
use crate::cache::{Cache, Name};
use crate::inits::hash;
use crate::ladder::Level;
use crate::made::Made;
use crate::original::Original;
use crate::pool::Priority;
use crate::renditions::{Begun, Entry, Renditions, Segment, Wanted, priority_at};

impl Renditions {
    /// The segment behind this one, for those who have asked for this one. And the one behind that, if somebody fills a
    /// buffer and no encoder would do anything else.
    pub(crate) fn make_ahead(
        &self,
        segment: &Segment,
        original: &Arc<dyn Original>,
        filling: bool,
    ) {
        let (video, track, number) = segment;
        let next = (video.clone(), track.clone(), number + 1);
        let wanted = self.wanted(&next);
        if wanted.is_empty() {
            return;
        }
        self.state().goes_on(&next, &wanted, is_live(original, next.2));
        // The next one has no place yet.
        let begun = self.begin_ahead(next, original, &wanted);
        let whole = |number| original.segment(number).is_some_and(|s| s.complete);
        if filling && whole(number + 2) && self.pool().is_idle(1 + usize::from(begun)) {
            self.begin_ahead((video.clone(), track.clone(), number + 2), original, &wanted);
        }
    }

    /// Whether anything of it was left to be made.
    fn begin_ahead(&self, next: Segment, original: &Arc<dyn Original>, wanted: &[Level]) -> bool {
        let priority = priority_ahead(original, next.2);
        let asks: Arc<Asks> = Arc::default();
        let mut state = self.state();
        if state.open.contains_key(&next) {
            return true;
        }
        let mut levels = Vec::new();
        for level in wanted {
            let key = (next.clone(), level.clone());
            if !state.made.contains_key(&key) {
                let made = Arc::new(Made::ahead(asks.clone()));
                let used = state.clock;
                state.made.insert(key, Entry { made: made.clone(), used });
                levels.push((level.clone(), made));
            }
        }
        if levels.is_empty() {
            return false;
        }
        self.counters().prefetched.fetch_add(levels.len() as u64, Ordering::Relaxed);
        let begun = Begun { segment: next, original: original.clone(), priority, asks };
        // Too much is going on: then it is made when it is asked for.
        self.begin(&mut state, begun, levels).is_ok()
    }

    /// Levels that the disk has are done; the others are left.
    pub(crate) async fn take_from_disk(&self, begun: &Begun, levels: &mut Wanted) {
        let Some(disk) = self.disk().filter(|_| begun.original.is_kept()) else { return };
        for (level, made) in levels.iter() {
            let found = match self.name_of(begun, level).await {
                Some(name) => {
                    let disk = disk.clone();
                    spawn_blocking(move || disk.get(&name)).await.ok().flatten()
                }
                None => None,
            };
            let Some(parts) = found else { continue };
            for (number, part) in parts.into_iter().enumerate() {
                made.push(number, vec![part]);
            }
            made.finish(Ok(()));
            self.counters().cached.fetch_add(1, Ordering::Relaxed);
        }
        levels.retain(|(_, made)| made.outcome().is_none());
    }

    /// What was made is there again after memory has lost it, also for the next server.
    pub(crate) async fn put_on_disk(&self, begun: &Begun, levels: Wanted) {
        // What nobody records is nowhere when it is over, and nobody would delete its levels.
        let Some(disk) = self.disk().filter(|_| begun.original.is_kept()) else { return };
        for (level, made) in levels {
            let Some(name) = self.name_of(begun, &level).await else { continue };
            put(disk.clone(), name, move || made.parts()).await;
        }
    }

    async fn name_of(&self, begun: &Begun, level: &Level) -> Option<Name> {
        let (video, track, number) = &begun.segment;
        let original = begun.original.segment(*number)?;
        let text = match self.hardware().filter(|_| level.as_sound().is_none()) {
            None => format!("{track} {}", self.init_id(original.init, level)),
            // Its driver may be another one than that of the server before. What it begins with tells.
            Some(_) => {
                let init = self.init(begun.original.as_ref(), original.init, level).await.ok()?;
                format!("{track} {:?} {init:?}", level.rung())
            }
        };
        Some(Name {
            video: video.clone(),
            level: hash(&text),
            epoch: original.epoch,
            number: *number,
        })
    }

    /// A video is gone, and all that was made of it. Blocks for as long as the disk does.
    pub fn forget(&self, video: &str) {
        {
            let mut state = self.state();
            state.made.retain(|((of, ..), _), _| of != video);
            state.rates.forget(video);
        }
        self.pictures().forget(video);
        if let Some(disk) = self.disk() {
            disk.forget(video);
        }
    }

    /// The disk has room for so many bytes beside what is kept, or lacks so many: those are given back, and no more is kept
    /// until it is said otherwise. Blocks.
    pub fn fit_disk(&self, beside: i64) {
        if let Some(disk) = self.disk() {
            disk.fit(beside);
        }
    }

    /// Bytes of made segments on the disk.
    pub fn disk_bytes(&self) -> u64 {
        self.disk().map_or(0, |disk| disk.bytes())
    }
}

/// Writes it. Where that fails again and again it is told once.
pub(crate) async fn put(
    disk: Arc<Cache>,
    name: Name,
    parts: impl FnOnce() -> Vec<Vec<Bytes>> + Send + 'static,
) {
    let written = spawn_blocking(move || {
        let put = disk.put(name, &parts());
        let news = disk.is_news(put.is_err());
        news.then_some(put)
    });
    match written.await {
        Ok(Some(Err(error))) => {
            tracing::warn!(%error, "made segments of levels are not kept on the disk");
        }
        Ok(Some(Ok(()))) => tracing::info!("made segments of levels are kept on the disk again"),
        _ => {}
    }
}

/// How a segment is made that nobody asks for yet: whoever watches another broadcast live comes before it.
fn priority_ahead(original: &Arc<dyn Original>, number: u64) -> Priority {
    match priority_at(original, number, Priority::Prefetch) {
        Priority::Live => Priority::LiveAhead,
        past => past,
    }
}

/// Whether a segment is being made, or comes next.
fn is_live(original: &Arc<dyn Original>, number: u64) -> bool {
    original.segment(number).is_none_or(|segment| !segment.complete)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64};
    use std::time::Duration;

    use super::*;
    use crate::ladder::Kind;
    use crate::original::{Answer, OriginalPart, OriginalSegment};
    use crate::program::Program;
    use crate::renditions::{Abandoned, Disk, Settings};

    /// A video of which only whole segments are known.
    pub(crate) struct Film {
        pub(crate) kept: bool,
    }

    impl Original for Film {
        fn video(&self) -> &str {
            "film"
        }

        fn track(&self) -> &str {
            "video.cmaf"
        }

        fn is_kept(&self) -> bool {
            self.kept
        }

        fn segment(&self, _: u64) -> Option<OriginalSegment> {
            Some(OriginalSegment {
                init: 1,
                epoch: 1,
                independent: true,
                complete: true,
                open: false,
                parts: 2,
                bytes: 1_000,
                duration_ns: 1_000_000_000,
            })
        }

        fn part(&self, _: u64, _: usize) -> Answer<'_, OriginalPart> {
            Box::pin(async { Ok(None) })
        }

        fn init(&self, _: u64) -> Answer<'_, Bytes> {
            Box::pin(async { Ok(Some(Bytes::new())) })
        }
    }

    /// A broadcast: which segment is being made, or comes next if the one before has just ended.
    struct OnAir {
        newest: AtomicU64,
        between: AtomicBool,
    }

    impl OnAir {
        fn begun(&self) -> u64 {
            let between = self.between.load(Ordering::Relaxed);
            self.newest.load(Ordering::Relaxed) + u64::from(!between)
        }
    }

    impl Original for OnAir {
        fn video(&self) -> &str {
            "on air"
        }

        fn track(&self) -> &str {
            "video.cmaf"
        }

        fn is_kept(&self) -> bool {
            false
        }

        fn segment(&self, number: u64) -> Option<OriginalSegment> {
            let film = Film { kept: false }.segment(number);
            let complete = number < self.newest.load(Ordering::Relaxed);
            film.filter(|_| number < self.begun()).map(|s| OriginalSegment { complete, ..s })
        }

        fn is_ahead(&self, number: u64) -> bool {
            number >= self.begun()
        }

        fn part(&self, _: u64, _: usize) -> Answer<'_, OriginalPart> {
            Box::pin(async { Ok(None) })
        }

        fn init(&self, _: u64) -> Answer<'_, Bytes> {
            Box::pin(async { Ok(None) })
        }
    }

    /// Segments of two seconds; which of them are encoded when somebody asks during these, and during no others, for what is so many segments
    /// behind the one under way, by a machine that ends each segment so many segments late.
    async fn encoded(linger_s: u64, lag: (u64, u64), asks: &[u64]) -> Vec<u64> {
        encoded_of(linger_s, lag, asks, false).await
    }

    /// The same; `between`: when somebody asks just before these begin.
    async fn encoded_of(
        linger_s: u64,
        (behind, late): (u64, u64),
        asks: &[u64],
        between: bool,
    ) -> Vec<u64> {
        let linger = Duration::from_secs(linger_s);
        let (renditions, level) = (renditions(linger, None), level());
        let on_air = Arc::new(OnAir { newest: 0.into(), between: false.into() });
        let original: Arc<dyn Original> = on_air.clone();
        let (mut encoded, mut running) = (Vec::new(), Vec::<Segment>::new());
        for number in 0..100 {
            on_air.newest.store(number, Ordering::Relaxed);
            on_air.between.store(between, Ordering::Relaxed);
            if asks.contains(&number) {
                renditions.segment(&original, number - behind, &level).unwrap();
            }
            on_air.between.store(false, Ordering::Relaxed);
            loop {
                let open: Vec<Segment> = renditions.state().open.keys().cloned().collect();
                for segment in open {
                    let mut job = Abandoned::new(&renditions, &segment);
                    if job.take_up(is_live(&original, segment.2)) {
                        encoded.push(segment.2);
                        running.push(segment.clone());
                    }
                    job.finish(Ok(()));
                }
                let ends = |segment: &mut Segment| segment.2 + 1 + late <= number;
                let ended: Vec<Segment> = running.extract_if(.., ends).collect();
                ended.iter().for_each(|done| renditions.make_ahead(done, &original, false));
                if ended.is_empty() {
                    break;
                }
            }
            tokio::time::advance(Duration::from_secs(2)).await;
        }
        encoded
    }

    #[test]
    fn what_comes_live_is_behind_those_who_watch_live_until_somebody_asks() {
        let on_air = OnAir { newest: 5.into(), between: false.into() };
        let on_air: Arc<dyn Original> = Arc::new(on_air);
        for number in [4, 5, 6] {
            assert_eq!(priority_ahead(&on_air, number), Priority::LiveAhead, "{number}");
        }
        let film: Arc<dyn Original> = Arc::new(Film { kept: true });
        assert_eq!(priority_ahead(&film, 5), Priority::Prefetch);
        assert_eq!(Priority::LiveAhead.once_asked(), Priority::Live);
        assert!(Priority::Live < Priority::LiveAhead && Priority::Seeking < Priority::LiveAhead);
    }

    fn from_to(from: u64, to: u64) -> Vec<u64> {
        (from..to).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_live_level_goes_on_for_as_long_as_it_lingers_after_its_last_viewer() {
        let in_time = (0, 0);
        assert_eq!(encoded(12, in_time, &[5]).await, from_to(5, 11));
        assert_eq!(encoded(60, in_time, &[5]).await, from_to(5, 35));
        assert_eq!(encoded(1, in_time, &[5, 6, 9]).await, [5, 6, 9]);
        assert_eq!(
            encoded(12, in_time, &[5, 6, 7, 8]).await,
            from_to(5, 14),
            "from the last one on"
        );
        // Who comes back while it lingers.
        assert_eq!(encoded(12, in_time, &[5, 9]).await, from_to(5, 15));
        // Of whole segments.
        assert_eq!(encoded(12, (1, 0), &[5]).await, from_to(4, 11));
    }

    /// What is next is whole before it is begun.
    #[tokio::test(start_paused = true)]
    async fn a_live_level_lingers_as_long_on_a_machine_that_lags() {
        assert_eq!(encoded(12, (0, 1), &[5]).await, from_to(5, 10));
        assert_eq!(encoded(60, (0, 2), &[5]).await, from_to(5, 33));
        assert_eq!(encoded(60, (0, 1), &[5, 6, 7]).await, from_to(5, 36));
        assert_eq!(encoded(1, (0, 1), &[5, 9]).await, [5, 9]);
        assert_eq!(encoded(12, (1, 1), &[5]).await, from_to(4, 10));
        assert_eq!(encoded(12, (2, 1), &[5]).await, from_to(3, 10));
        // That is the past.
        assert_eq!(encoded(12, (3, 0), &[5]).await, [2, 3]);
    }

    /// A part may be there only a third of a second after the end of the segment before.
    #[tokio::test(start_paused = true)]
    async fn who_asks_between_two_segments_is_as_near_to_what_is_live() {
        for lag in [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (3, 0)] {
            for asks in [&[5][..], &[5, 6, 9]] {
                let during = encoded(12, lag, asks).await;
                assert_eq!(encoded_of(12, lag, asks, true).await, during, "{lag:?} {asks:?}");
            }
        }
    }

    /// What is begun when somebody asks for the second segment so long after the first, both of which are made.
    async fn begun_ahead(after: Duration, workers: usize, busy: bool) -> Vec<u64> {
        let settings =
            Settings { workers, linger: Duration::from_secs(12), ..Settings::of_tests() };
        let (path, words) = ("/nowhere".into(), "airwave-encode".to_owned());
        let (renditions, level) = (Renditions::new(Program { path, words }, settings), level());
        let original: Arc<dyn Original> = Arc::new(Film { kept: false });
        renditions.segment(&original, 1, &level).unwrap();
        for number in [1, 2] {
            let segment = ("film".to_owned(), "video.cmaf".to_owned(), number);
            let mut job = Abandoned::new(&renditions, &segment);
            assert!(job.take_up(false), "{number}");
            job.finish(Ok(()));
            renditions.make_ahead(&segment, &original, false);
        }
        assert!(renditions.state().open.is_empty(), "nobody has asked for the second one");
        tokio::time::advance(after).await;
        let held = if busy { renditions.pool().place(Priority::Prefetch).await.ok() } else { None };
        renditions.segment(&original, 2, &level).unwrap();
        drop(held);
        renditions.state().open.keys().map(|(.., number)| *number).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_fills_a_buffer_has_two_made_ahead_where_nobody_else_wants_anything() {
        let (soon, later) = (Duration::from_millis(900), Duration::from_millis(1_100));
        // One place is that of those who watch live, and what nobody watches live keeps a core busy.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let two: &[u64] = if cores > 1 { &[3, 4] } else { &[3] };
        assert_eq!(begun_ahead(soon, 3, false).await, two);
        assert_eq!(begun_ahead(later, 3, false).await, [3], "who watches takes its time");
        assert_eq!(begun_ahead(soon, 3, true).await, [3], "somebody else's turn");
        assert_eq!(begun_ahead(soon, 2, false).await, [3], "the second would wait for the first");
    }

    pub(crate) fn renditions(linger: Duration, disk: Option<Disk>) -> Arc<Renditions> {
        let settings = Settings { linger, disk, ..Settings::of_tests() };
        let (path, words) = ("/nowhere".into(), "airwave-encode".to_owned());
        Renditions::new(Program { path, words }, settings)
    }

    pub(crate) fn level() -> Level {
        let (name, width, height) = ("360p".to_owned(), 640, 360);
        let kind = Kind::Pictures { width, height, level_idc: 30 };
        Level { name, max_kbps: 800, share_permille: 500, kind }
    }

    #[tokio::test]
    async fn only_levels_of_what_stays_are_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("levels");
        let disk = Disk { folder: folder.clone(), bytes_max: 1 << 20 };
        let (renditions, level) = (renditions(Duration::from_secs(10), Some(disk)), level());
        for kept in [false, true] {
            let begun = Begun {
                segment: ("film".to_owned(), "video.cmaf".to_owned(), 1),
                original: Arc::new(Film { kept }),
                priority: Priority::Seeking,
                asks: Arc::default(),
            };
            let made = Arc::new(Made::new());
            made.push(0, vec![Bytes::from_static(b"part")]);
            renditions.put_on_disk(&begun, vec![(level.clone(), made)]).await;
            assert_eq!(folder.join("film").exists(), kept);
            let mut wanted = vec![(level.clone(), Arc::new(Made::new()))];
            renditions.take_from_disk(&begun, &mut wanted).await;
            assert_eq!(wanted.is_empty(), kept);
        }
        renditions.forget("film");
        assert!(!folder.join("film").exists());
    }
}
