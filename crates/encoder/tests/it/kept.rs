//! Who makes a segment, when, how often: once for all, ahead for those who watch, never again what is kept.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use encode::limits::LIVE_BEHIND;
use encode::{Disk, Failed, Ladder, Level, Original, Program, Renditions, Settings, Unreadable};
use tokio::task::JoinSet;

use crate::studio::{ENCODER, FIRST, Failing, Studio, renditions, settings};

const X264: &str = "-c:v libx264 -preset ultrafast -bf 0 -g 10 -sc_threshold 0";

fn level(studio: &Studio) -> Level {
    Ladder::new(vec!["96p".parse().unwrap()]).levels(&studio.config).remove(0)
}

fn studio(seconds: u32) -> Arc<Studio> {
    Studio::make(&format!("testsrc2=size=320x180:rate=10:duration={seconds}"), X264)
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

async fn with(settings: Settings) -> Arc<Renditions> {
    let program = Program::ask(Path::new(ENCODER)).await.unwrap();
    let renditions = Renditions::new(program, settings);
    tokio::spawn(renditions.clone().run());
    renditions
}

#[tokio::test]
async fn a_thousand_at_once_are_one_encode() {
    let studio = studio(1);
    let (renditions, level) = (renditions(4).await, level(&studio));
    let mut viewers = JoinSet::new();
    for viewer in 0..1_000 {
        let (renditions, original, level) = (renditions.clone(), studio.original(), level.clone());
        viewers.spawn(async move {
            // Some come while it is made.
            for _ in 0..viewer % 50 {
                tokio::task::yield_now().await;
            }
            // Players begin with this, all at once after a restart.
            let init = renditions.init(original.as_ref(), 7, &level).await.unwrap();
            let made = renditions.segment(&original, FIRST, &level).unwrap();
            assert_eq!(made.part(99).await, Ok(None));
            [&init[..], &made.whole().unwrap().concat()].concat()
        });
    }
    let got = viewers.join_all().await;
    assert_eq!(got.len(), 1_000);
    assert!(got.windows(2).all(|pair| pair[0] == pair[1]), "all got the same");
    let counters = renditions.counters();
    assert_eq!((count(&counters.decodes), count(&counters.encodes)), (1, 1));
    assert_eq!(count(&counters.started), 1);
}

/// Its encoder is stuck, in the midst of a segment or before the next one; what others send is made meanwhile.
#[tokio::test]
async fn what_stands_still_gives_its_place_to_who_waits_and_goes_on_where_it_was() {
    let alone = renditions(1).await;
    for (parts, open) in [(1, false), (2, true)] {
        let patience = Duration::from_secs(20);
        let renditions = with(Settings { patience, ..settings(1) }).await;
        let (stuck, other) = (studio(2).saying(vec![open, false]), studio(1));
        let level = level(&stuck);
        stuck.there.send_replace((1, parts));
        let made = renditions.segment(&stuck.original(), FIRST, &level).unwrap();
        assert!(made.part(0).await.unwrap().is_some());
        let watched = renditions.segment(&other.original(), FIRST, &level).unwrap();
        assert_eq!(watched.part(99).await, Ok(None), "{parts}");
        assert!(made.whole().is_none());
        stuck.there.send_replace((2, 2));
        assert_eq!(made.part(99).await, Ok(None), "{parts}");
        let expect = alone.segment(&stuck.original(), FIRST, &level).unwrap();
        assert_eq!(expect.part(99).await, Ok(None));
        assert_eq!(made.whole(), expect.whole(), "as if it had never stood still");
        assert_eq!(count(&renditions.counters().lost), 0);
    }
}

#[tokio::test]
async fn steady_play_finds_every_segment_made_or_being_made() {
    let studio = studio(60);
    let (renditions, level) = (renditions(2).await, level(&studio));
    let counters = renditions.counters().clone();
    let original = studio.original();
    let numbers: Vec<u64> = studio.numbers().collect();
    let (watched, ahead) = numbers.split_at(50);
    for number in watched {
        let made = renditions.segment(&original, *number, &level).unwrap();
        assert_eq!(made.part(99).await, Ok(None));
    }
    let (begun, used) = (count(&counters.prefetched), count(&counters.prefetched_used));
    assert_eq!(used, watched.len() as u64 - 1, "all but the first");
    // The next one, or two where the last one was made when it was asked for (`ahead.rs`); and then no more.
    assert!((1..=2).contains(&(begun - used)), "{begun} begun, {used} used");
    assert!(ahead.len() > 2);
}

#[tokio::test]
async fn who_takes_its_time_has_one_made_ahead_and_leaves_one_at_most() {
    let studio = studio(10);
    let (renditions, level) = (renditions(2).await, level(&studio));
    let counters = renditions.counters().clone();
    let original = studio.original();
    // Every second one: nobody fills a buffer.
    for number in studio.numbers().step_by(2).take(4) {
        let made = renditions.segment(&original, number, &level).unwrap();
        assert_eq!(made.part(99).await, Ok(None));
    }
    while count(&counters.encodes) < 8 {
        tokio::task::yield_now().await;
    }
    assert_eq!((count(&counters.prefetched), count(&counters.prefetched_used)), (4, 0));
    assert_eq!(count(&counters.encodes), 8, "one for each that was asked for, no more");
}

#[tokio::test]
async fn what_was_made_is_on_the_disk_for_the_next_server_until_its_video_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("levels");
    let disk = |bytes_max| Some(Disk { folder: folder.clone(), bytes_max });
    let studio = studio(4);
    let level = level(&studio);
    let all = async |renditions: &Renditions| {
        let mut made = Vec::new();
        for number in studio.numbers() {
            let segment = renditions.segment(&studio.original(), number, &level).unwrap();
            let mut parts = Vec::new();
            while let Some(part) = segment.part(parts.len()).await.unwrap() {
                parts.push(part.concat());
            }
            made.push(parts);
        }
        made
    };
    let segments = studio.numbers().count() as u64;
    let first = with(Settings { disk: disk(10_000_000), ..settings(2) }).await;
    let made = all(&first).await;
    assert_eq!(count(&first.counters().encodes), segments);
    // The last one is put there a moment after it is made.
    let files = || std::fs::read_dir(folder.join(studio_uid(&studio))).map_or(0, Iterator::count);
    while files() < segments as usize {
        tokio::task::yield_now().await;
    }
    assert!(first.disk_bytes() > 0);
    let second = with(Settings { disk: disk(10_000_000), ..settings(2) }).await;
    assert_eq!(all(&second).await, made, "the same parts");
    let counters = second.counters();
    assert_eq!(
        (count(&counters.encodes), count(&counters.started)),
        (0, 0),
        "nothing is made again"
    );
    assert_eq!(count(&counters.cached), segments);
    // Another way to encode is another level.
    let other = Level { max_kbps: level.max_kbps + 1, ..level.clone() };
    let changed = second.segment(&studio.original(), FIRST, &other).unwrap();
    assert_eq!(changed.part(99).await, Ok(None));
    assert_eq!(count(&counters.encodes), 1);
    second.forget(&studio_uid(&studio));
    // Gone with its video, also what was on its way.
    while files() > 0 {
        tokio::task::yield_now().await;
    }
    let again = second.segment(&studio.original(), FIRST + 1, &level).unwrap();
    assert_eq!(again.part(99).await, Ok(None));
    assert!(count(&counters.encodes) > 1, "made anew");
    // Where there is no room nothing is kept, and all is made all the same.
    let small = with(Settings { disk: disk(4_096), cache_bytes: 0, ..settings(2) }).await;
    assert_eq!(all(&small).await.len(), made.len());
    assert_eq!(small.disk_bytes(), 0);
}

/// The store fails for a moment, or memory has lost a part: that is not the end of the segment, and nothing is kept of it.
#[tokio::test]
async fn a_part_that_can_not_be_read_now_is_no_end_of_its_segment() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("levels");
    let arguments = "-c:v libx264 -preset ultrafast -bf 0 -g 20 -sc_threshold 0";
    for how in [Some(Unreadable), None] {
        let studio = Studio::make("testsrc2=size=320x180:rate=10:duration=2", arguments);
        let (level, part) = (level(&studio), (FIRST, 2));
        assert_eq!(studio.parts(FIRST), 4);
        let disk = Some(Disk { folder: folder.clone(), bytes_max: 10_000_000 });
        let renditions = with(Settings { disk, ..settings(1) }).await;
        let original: Arc<dyn Original> = Arc::new(Failing::new(studio.original(), part, how));
        let made = renditions.segment(&original, FIRST, &level).unwrap();
        let failed = if how.is_some() { Failed::Store } else { Failed::NoOriginal };
        assert_eq!(made.part(99).await, Err(failed));
        assert!(made.whole().is_none() && !folder.join(studio_uid(&studio)).exists());
        if how.is_none() {
            continue;
        }
        let again = renditions.segment(&original, FIRST, &level).unwrap();
        assert_eq!(again.part(99).await, Ok(None));
        assert!(again.part(3).await.unwrap().is_some(), "when it can be read, all of it is there");
    }
}

fn studio_uid(studio: &Arc<Studio>) -> String {
    studio.original().video().to_owned()
}

#[tokio::test]
async fn what_levels_begin_with_is_asked_once_for_each_form_and_machine() {
    let dir = tempfile::tempdir().unwrap();
    let disk = || Some(Disk { folder: dir.path().join("levels"), bytes_max: 10_000_000 });
    let (one, other) = (studio(1), studio(2));
    let larger = Studio::make("testsrc2=size=640x360:rate=10:duration=1", X264);
    let levels = |studio: &Studio| {
        let rungs = ["144p", "96p"].map(|rung| rung.parse().unwrap());
        Ladder::new(rungs.to_vec()).levels(&studio.config)
    };
    let init = async |studio: &Arc<Studio>| studio.original().init(7).await.unwrap().unwrap();
    let mut answers = Vec::new();
    for server in ["the first", "the next"] {
        let renditions = with(Settings { disk: disk(), ..settings(2) }).await;
        let started = || count(&renditions.counters().started);
        // A list names both; a viewer comes for one of them meanwhile.
        let (init, levels_of_one, original) = (init(&one).await, levels(&one), one.original());
        let (listed, watched) = tokio::join!(
            renditions.inits(&init, &levels_of_one),
            renditions.init(original.as_ref(), 7, &levels_of_one[1])
        );
        let listed = listed.unwrap();
        assert_eq!(listed[1], watched.unwrap(), "{server}");
        let first = u64::from(server == "the first");
        assert_eq!(started(), first, "{server} server");
        // Another broadcast in the same form, and one whose levels are the same.
        for studio in [&other, &larger] {
            let (init, levels) =
                (studio.original().init(7).await.unwrap().unwrap(), levels(studio));
            assert_eq!(renditions.inits(&init, &levels).await.unwrap(), listed, "{server}");
        }
        assert_eq!(started(), first, "{server} server");
        answers.push(listed);
    }
    assert_eq!(answers[0], answers[1]);
}

/// Part by part, and by whole segments, three behind the one that is being made.
#[tokio::test]
async fn a_storm_of_seeks_does_not_keep_out_who_watches_live() {
    for behind in [0, 3] {
        storm(behind).await;
    }
}

async fn storm(behind: usize) {
    let (past, live) = (studio(60), studio(5));
    let (renditions, level) = (renditions(2).await, level(&live));
    live.there.send_replace((1 + behind, 1));
    // The newest one of the past is sought first and does not go on: all others wait for the second place.
    let all = past.there.send_replace((60, 1));
    let mut seeks = JoinSet::new();
    let newest = past.numbers().end - 1;
    // Those right behind it are live, too.
    let is_past = |number: &u64| *number == newest || number + LIVE_BEHIND < newest;
    for number in past.numbers().rev().filter(is_past) {
        let (renditions, original, level) = (renditions.clone(), past.original(), level.clone());
        seeks.spawn(async move {
            let made = renditions.segment(&original, number, &level).unwrap();
            made.part(99).await
        });
    }
    // They are all in the queue before who watches live comes.
    while count(&renditions.counters().started) == 0 {
        tokio::task::yield_now().await;
    }
    let made = renditions.segment(&live.original(), FIRST, &level).unwrap();
    assert!(made.part(0).await.unwrap().is_some());
    let before = std::iter::from_fn(|| seeks.try_join_next()).count();
    assert!(before <= 2, "{behind}: {before} seeks came first: more than were under way");
    past.there.send_replace(all);
    let seeks = seeks.join_all().await;
    assert_eq!(seeks.len() + before, 60 - LIVE_BEHIND as usize);
    assert!(seeks.iter().all(|outcome| *outcome == Ok(None)), "and all seeks are served");
    assert_eq!(count(&renditions.counters().refused), 0);
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_begun() {
    let (past, live) = (studio(4), studio(1));
    let (renditions, level) = (renditions(1).await, level(&live));
    // The only place is taken.
    live.there.send_replace((1, 1));
    let held = renditions.segment(&live.original(), FIRST, &level).unwrap();
    assert!(held.part(0).await.unwrap().is_some());
    let left = renditions.segment(&past.original(), FIRST, &level).unwrap();
    let stays = renditions.segment(&past.original(), FIRST + 2, &level).unwrap();
    let (waiting, renditions_) = (stays.clone(), renditions.clone());
    let waiting = tokio::spawn(async move { waiting.part(99).await });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    live.there.send_replace((1, 2));
    assert_eq!(waiting.await.unwrap(), Ok(None));
    assert_eq!(left.part(0).await, Err(Failed::Busy), "its viewer was gone when its turn came");
    assert_eq!(count(&renditions_.counters().dropped), 1);
    // Who asks for it again gets it.
    let again = renditions.segment(&past.original(), FIRST, &level).unwrap();
    assert_eq!(again.part(99).await, Ok(None));
}

/// Caches keep by the address, and put ranges together by the entity tag.
#[tokio::test]
async fn what_is_scaled_from_another_level_is_known_by_another_tag() {
    let studio = studio(2);
    let ladder = ["144p", "96p"].map(|rung| rung.parse().unwrap());
    let levels = Ladder::new(ladder.to_vec()).levels(&studio.config);
    let small = levels.len() - 1;
    let made = async |asked: &[Level]| {
        let (renditions, original) = (renditions(1).await, studio.original());
        let ask = |level| renditions.segment(&original, FIRST, level).unwrap();
        // The smallest is last.
        let made = asked.iter().map(ask).collect::<Vec<_>>().pop().unwrap();
        assert_eq!(made.tag(None), None, "nothing is there");
        assert_eq!(made.part(99).await, Ok(None));
        let part = made.part(0).await.unwrap().unwrap().concat();
        (made.whole().unwrap().concat(), made.tag(None).unwrap(), part, made.tag(Some(0)).unwrap())
    };
    let (alone, again) = (made(&levels[small..]).await, made(&levels[small..]).await);
    assert_eq!(alone, again);
    let beside = made(&levels).await;
    assert!(alone.0 != beside.0 && alone.2 != beside.2, "it is scaled from the larger one");
    assert!(alone.1 != beside.1 && alone.3 != beside.3);
    assert_eq!(
        (beside.1 == beside.3, beside.2 == beside.0),
        (false, false),
        "one of several parts"
    );
}
