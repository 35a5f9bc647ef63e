//! An index that can't be written for hours, and pages of it that are lost.

use super::*;

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
        // What it names is not known, and no orphan.
        let there = objects().await;
        assert!(history.tidy(video).await.is_err(), "page {page}");
        assert_eq!(objects().await, there, "page {page}");
        std::fs::write(&path, kept).unwrap();
        assert_eq!(listed(&history).await, expect, "it is looked for now and then");
        history.forget(video);
        assert_eq!(listed(&history).await, (140, 140, 0));
        assert_eq!(history.tidy(video).await.unwrap(), 0);
        assert_eq!(objects().await, 142);
    }
}
