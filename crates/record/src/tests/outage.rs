//! An index that can't be written for hours, and pages of it that are lost.

use super::*;
use crate::limits::RECORDS_WAITING;

/// Of segments of a broadcast, in order: whether each is a gap.
async fn gaps(node: &Node, claimed: &Claimed) -> Vec<bool> {
    let records = node.records(&claimed.owned.video).await;
    let numbers = claimed.first_segment..;
    assert!(records.iter().zip(numbers).all(|(record, number)| record.number == number));
    records.iter().map(|record| record.gap).collect()
}

#[tokio::test]
async fn an_index_that_refuses_for_hours_costs_what_came_meanwhile_and_no_more() {
    let node = Node::new().await;
    let claimed = node.claim(1).await;
    let first = claimed.first_segment;
    let mut live = Live::new(claimed.owned.epoch.0);
    let running = record(&node, &live, &claimed, &WIDE);
    live.both(first);
    until("the first segment", &running.status, || running.status.committed() == first).await;
    let db = rusqlite::Connection::open(node.folder.path().join("db")).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON segments
                  BEGIN SELECT RAISE(ABORT, 'no room'); END";
    db.execute_batch(refuse).unwrap();
    // Numbers without anything, and two segments behind them.
    let back = first + RECORDS_WAITING as u64 + 1_000;
    live.both(back);
    live.both(back + 1);
    let lost = back - first + 1;
    while running.status.gaps() < lost {
        assert!(!running.task.is_finished(), "recording stopped");
        tokio::task::yield_now().await;
    }
    db.execute_batch("DROP TRIGGER refuse").unwrap();
    until("all of them", &running.status, || running.status.committed() == back + 1).await;
    live.both(back + 2);
    live.end();
    assert_eq!(running.task.await.unwrap(), Outcome::Complete);
    assert!(!running.status.stopped());
    let gaps = gaps(&node, &claimed).await;
    assert_eq!(gaps.len() as u64, back + 2 - first + 1);
    let there: Vec<_> = (0..).zip(&gaps).filter(|(_, gap)| !**gap).map(|(n, _)| n).collect();
    assert_eq!(there, [0, back + 2 - first]);
    let index = node.control.committed_index(&claimed.owned.video, 0..1 << 40).await.unwrap();
    assert!(index.tail.len() <= control::limits::PAGE_RECORDS, "{} unsealed", index.tail.len());
}

#[tokio::test]
async fn a_lost_page_of_the_index_is_a_gap_until_it_is_back() {
    let node = Node::new().await;
    let claimed = node.claim(1).await;
    let video = &claimed.owned.video;
    let mut live = Live::new(claimed.owned.epoch.0);
    let running = record(&node, &live, &claimed, &WIDE);
    for number in claimed.first_segment..claimed.first_segment + 140 {
        live.both(number);
        tokio::task::yield_now().await;
    }
    live.end();
    assert_eq!(running.task.await.unwrap(), Outcome::Complete);
    node.control.release(&claimed.owned, End::Goodbye, NOW).await.unwrap();
    let pages = node.control.committed_index(video, 0..1 << 40).await.unwrap().pages;
    assert_eq!(pages.len(), 2);
    let listed = async |history: &History| {
        let recording = history.recording(video).await.unwrap().unwrap();
        let list = playlists(&recording.index)[3].clone().unwrap();
        let gaps = list.matches("#EXT-X-GAP").count();
        (recording.segments(), list.matches("#EXTINF").count(), gaps)
    };
    assert_eq!(listed(&node.history).await, (140, 140, 0));
    let objects = async || node.store.list(video.as_str()).await.unwrap().len();
    for (page, damage, expect) in
        [(0, None, (140, 76, 0)), (1, None, (140, 140, 64)), (1, Some("damage"), (140, 140, 64))]
    {
        let history = History::new(node.control.clone(), node.store.clone());
        let path = node.media().join(&pages[page].object);
        let kept = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        if let Some(damage) = damage {
            std::fs::write(&path, damage).unwrap();
        }
        assert_eq!(listed(&history).await, expect, "page {page}");
        assert!(history.missing() > 0);
        // Also what the lost one had first.
        let init = history.file(video, "video.cmaf", File::Init(INIT_ID)).await.unwrap();
        assert_eq!(init.unwrap(), &b"the initialisation segment"[..], "page {page}");
        // What it names is not known, and no orphan.
        let there = objects().await;
        assert!(history.tidy(video).await.is_err(), "page {page}");
        // A copy has all of it.
        let (named, lost) = history.named_or_there(video).await.unwrap();
        assert_eq!((named.len(), lost), (there, true));
        assert_eq!(objects().await, there, "page {page}");
        std::fs::write(&path, kept).unwrap();
        assert_eq!(listed(&history).await, expect, "it is looked for now and then");
        history.forget(video);
        assert_eq!(listed(&history).await, (140, 140, 0));
        assert_eq!(history.tidy(video).await.unwrap(), 0);
        assert_eq!(objects().await, 142);
        let (named, lost) = history.named_or_there(video).await.unwrap();
        assert_eq!((named.len(), lost), (142, false));
    }
}

/// Nobody can decode them, and what they begin with is 404: no list names it.
#[tokio::test]
async fn what_only_a_lost_page_says_how_to_decode_is_a_gap() {
    const OTHER: u64 = 0x2f;
    const THIRD: u64 = 0x3f;
    // Where the second configuration begins and ends, and which page is lost: what is listed, how many are gaps, and the
    // initialisation segments.
    for (other, third, page, expect) in [
        (122, 134, 1, (200, 64 + 6, vec![INIT_ID, THIRD])),
        // It was stored again behind the page.
        (122, 144, 1, (200, 64, vec![INIT_ID, OTHER, THIRD])),
        // Nothing stands before them.
        (58, 70, 0, (130, 0, vec![THIRD])),
    ] {
        let node = Node::new().await;
        let claimed = node.claim(1).await;
        let video = &claimed.owned.video;
        let mut live = Live::new(claimed.owned.epoch.0);
        let running = record(&node, &live, &claimed, &WIDE);
        for number in 0..200 {
            match number {
                _ if number == other => live.change(OTHER),
                _ if number == third => live.change(THIRD),
                _ => {}
            }
            live.both(claimed.first_segment + number);
            settle().await;
        }
        live.end();
        assert_eq!(running.task.await.unwrap(), Outcome::Complete);
        node.control.release(&claimed.owned, End::Goodbye, NOW).await.unwrap();
        let pages = node.control.committed_index(video, 0..1 << 40).await.unwrap().pages;
        std::fs::remove_file(node.media().join(&pages[page].object)).unwrap();
        let recording = node.history.recording(video).await.unwrap().unwrap();
        let list = playlists(&recording.index)[3].clone().unwrap();
        let inits = [INIT_ID, OTHER, THIRD].map(|id| (id, format!("init-{id:014x}.mp4")));
        let named = inits.into_iter().filter(|(_, file)| list.contains(file)).map(|(id, _)| id);
        let named: Vec<u64> = named.collect();
        for id in &named {
            let init = node.history.file(video, "video.cmaf", File::Init(*id)).await.unwrap();
            assert!(init.is_some(), "{id:x} of {other} to {third}");
        }
        let gaps = list.matches("#EXT-X-GAP").count();
        assert_eq!((list.matches("#EXTINF").count(), gaps, named), expect, "{other} to {third}");
    }
}

/// As a file system may leave it that was repaired.
#[tokio::test]
async fn an_object_that_is_shorter_than_it_was_is_a_gap_until_it_is_whole() {
    let node = Node::new().await;
    let claimed = node.claim(1).await;
    let video = &claimed.owned.video;
    let mut live = Live::new(claimed.owned.epoch.0);
    let running = record(&node, &live, &claimed, &WIDE);
    let number = claimed.first_segment + 1;
    (number - 1..number + 2).for_each(|number| live.both(number));
    live.end();
    assert_eq!(running.task.await.unwrap(), Outcome::Complete);
    node.control.release(&claimed.owned, End::Goodbye, NOW).await.unwrap();
    let objects = node.store.list(video.as_str()).await.unwrap();
    let of = |key: &store::Key| key.object().unwrap().number;
    let object = objects.iter().map(|(key, _)| key).find(|key| of(key) == number).unwrap();
    let path = node.media().join(object.as_str());
    let whole = std::fs::read(&path).unwrap();
    for left in [0, whole.len() / 2, whole.len() - 1] {
        let history = History::new(node.control.clone(), node.store.clone());
        let gaps = async || {
            let recording = history.recording(video).await.unwrap().unwrap();
            let lists = playlists(&recording.index).into_iter().flatten();
            lists.map(|list| list.matches("#EXT-X-GAP").count()).collect::<Vec<_>>()
        };
        // Sound is behind the pictures.
        let file = File::Segment { epoch: claimed.owned.epoch.0, number };
        let sound = async || history.file(video, "audio.cmaf", file).await.unwrap();
        let before = sound().await;
        assert!(before.is_some() && gaps().await.iter().all(|gaps| *gaps == 0));
        std::fs::write(&path, &whole[..left]).unwrap();
        assert_eq!(sound().await, None, "{left}");
        assert!(gaps().await.iter().all(|gaps| *gaps == 1), "{left}: {:?}", gaps().await);
        std::fs::write(&path, &whole).unwrap();
        history.forget(video);
        assert!(gaps().await.iter().all(|gaps| *gaps == 0), "{left}");
        assert_eq!(sound().await, before, "{left}");
    }
}

/// Who looks for orphans knows what is named when he began, and finds what is there a moment later.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn captions_that_come_while_orphans_are_looked_for_stay() {
    let node = Node::new().await;
    let claimed = node.claim(1).await;
    let video = &claimed.owned.video;
    let mut live = Live::new(claimed.owned.epoch.0);
    let running = record(&node, &live, &claimed, &WIDE);
    live.both(claimed.first_segment);
    live.end();
    assert_eq!(running.task.await.unwrap(), Outcome::Complete);
    node.control.release(&claimed.owned, End::Goodbye, NOW).await.unwrap();
    for round in 0..60 {
        let found = node.control.video(video).await.unwrap().unwrap();
        let text = Bytes::from_static(b"WEBVTT\n");
        let (history, random) = (&node.history, 1 + round);
        let put = history.put_captions(&found, "en", "English".to_owned(), text, random, NOW);
        // A moment sooner or later, each time.
        let tidying = async {
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            history.tidy(video).await
        };
        let (put, tidied) = tokio::join!(put, tidying);
        tidied.unwrap();
        let text = node.history.captions(&put.unwrap(), "en").await.unwrap();
        assert!(text.is_some(), "round {round}");
    }
}
