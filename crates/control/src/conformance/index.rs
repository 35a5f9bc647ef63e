//! The index: idempotent, fenced, without holes; pages read like records.

use std::collections::BTreeMap;
use std::convert::Infallible;

use super::{NOW, WAIT, away, claim, commit_all, gap, on_air, segment, tail, uid};
use crate::ClaimMode::{IfFree, TakeOver};
use crate::limits::{COMMIT_RECORDS, PAGE_RECORDS, RESERVE_AHEAD};
use crate::{
    CommitError, CommittedError, Control, End, Epoch, Head, OwnerError, PageError, RecordError,
    SealError, SegmentRecord,
};

fn fenced(current: u64) -> OwnerError {
    OwnerError::Fenced { current: Epoch(current) }
}

pub async fn what_was_committed_is_read_back_exactly(control: &Control) {
    let owned = on_air(control).await.owned;
    let records: Vec<_> = (1..4).map(|n| segment(&owned, n)).collect();
    let head = control.commit(&owned, records.clone(), 0).await.unwrap();
    assert_eq!(head, Head { last_number: 3, reserved_to: 4 });
    let head = control.commit(&owned, vec![segment(&owned, 4)], 7).await.unwrap();
    assert_eq!(head, Head { last_number: 4, reserved_to: 7 });
    let read = control.committed_index(&owned.video, 0..4).await.unwrap();
    assert_eq!(read.tail, records);
    let video = control.video(&owned.video).await.unwrap().unwrap();
    assert_eq!((video.segments, video.numbers), (4, Some((1, 4))));
    assert_eq!((video.duration_ms, video.bytes), (8_000, 4_000));
}

pub async fn a_video_is_as_long_as_its_longest_track(control: &Control) {
    let owned = on_air(control).await.owned;
    let mut longest = 0;
    // Pictures stop; sound begins late, leaves numbers out, and outlasts them.
    for (number, picture, sound, expect_ms) in [
        (1, true, false, 2_000),
        (2, true, true, 4_000),
        (3, true, true, 6_000),
        (4, false, true, 6_000),
        (5, false, true, 8_000),
        (6, false, false, 8_000),
        (7, false, true, 12_000),
    ] {
        let whole = segment(&owned, number);
        let mut record = SegmentRecord { tracks: Vec::new(), ..whole.clone() };
        if picture {
            record.tracks.extend(whole.tracks.clone());
        }
        if sound {
            let mut track = whole.tracks[0].clone();
            track.name = "audio.cmaf".into();
            (track.timescale, track.start) = (48_000, track.start * 48 / 90);
            track.parts[0].duration = 96_000;
            record.tracks.push(track);
        }
        control.commit(&owned, vec![record.clone()], 0).await.unwrap();
        // Said again: counted once.
        control.commit(&owned, vec![record], 0).await.unwrap();
        longest = expect_ms.max(longest);
        let video = control.video(&owned.video).await.unwrap().unwrap();
        assert_eq!(video.duration_ms, longest, "with {number}");
    }
}

pub async fn commit_ok_ack_lost(control: &Control) {
    let owned = on_air(control).await.owned;
    let record = segment(&owned, 1);
    let head = control.commit(&owned, vec![record.clone()], 0).await.unwrap();
    let again = vec![record.clone(), segment(&owned, 2)];
    assert_eq!(control.commit(&owned, vec![record.clone()], 0).await, Ok(head));
    assert_eq!(control.commit(&owned, again, 0).await.unwrap().last_number, 2);
    let video = control.video(&owned.video).await.unwrap().unwrap();
    assert_eq!((video.segments, video.bytes), (2, 2_000), "counted once");
    let other = SegmentRecord { object: Some(99), ..record };
    let conflict = control.commit(&owned, vec![other], 0).await;
    assert_eq!(conflict, Err(CommitError::Conflict { number: 1 }));
}

pub async fn put_ok_commit_failed_or_unknown(control: &Control) {
    let owned = on_air(control).await.owned;
    let record = segment(&owned, 1);
    control.park(&owned, away(NOW + WAIT)).await.unwrap();
    let late = control.commit(&owned, vec![record.clone()], 0).await;
    assert!(late.is_ok(), "it is retried for as long as the epoch holds, without an encoder too");
    let next = control.claim(claim(2, TakeOver, NOW + 1)).await.unwrap();
    let orphan = control.commit(&owned, vec![segment(&owned, 2)], 0).await;
    assert_eq!(orphan, Err(fenced(2).into()));
    assert_eq!(next.last, Some(record));
}

pub async fn a_refused_batch_leaves_nothing(control: &Control) {
    let owned = on_air(control).await.owned;
    let hole = vec![segment(&owned, 1), segment(&owned, 3)];
    let refused = control.commit(&owned, hole, 0).await;
    assert_eq!(refused, Err(CommitError::Hole { expected: 2 }));
    let foreign = SegmentRecord { epoch: Epoch(9), ..segment(&owned, 1) };
    let refused = control.commit(&owned, vec![foreign], 0).await;
    assert_eq!(refused, Err(CommitError::Record(RecordError::Epoch)));
    let many = (1..2 + COMMIT_RECORDS as u64).map(|n| segment(&owned, n)).collect();
    assert_eq!(control.commit(&owned, many, 0).await, Err(CommitError::TooMany));
    let ahead = control.commit(&owned, vec![segment(&owned, 1)], 9 + RESERVE_AHEAD).await;
    assert_eq!(ahead, Err(OwnerError::TooFarAhead.into()));
    assert_eq!(tail(control, &owned.video).await, []);
    assert_eq!(control.video(&owned.video).await.unwrap().unwrap().segments, 0);
}

pub async fn ingest_node_dies_mid_segment(control: &Control) {
    let a = on_air(control).await.owned;
    commit_all(control, &a, 1..4).await;
    // Number 4 was on its way: viewers may have seen parts of it.
    let b = control.claim(claim(2, TakeOver, NOW + 8_500)).await.unwrap();
    assert_eq!((b.resumed, b.gap.clone(), b.first_segment), (true, 4..5, 5));
    assert_eq!(b.last.as_ref().map(|r| r.tracks[0].end()), Some(4 * 180_000));
    let go_on = vec![gap(&b.owned, 4), segment(&b.owned, 5)];
    control.commit(&b.owned, go_on, 0).await.unwrap();
    let expect = [(1, false), (2, false), (3, false), (4, true), (5, false)];
    assert_eq!(tail(control, &a.video).await, expect, "no committed segment is lost");
}

pub async fn a_new_owner_writes_the_gap_before_anything_else(control: &Control) {
    on_air(control).await;
    let b = control.claim(claim(2, TakeOver, NOW)).await.unwrap();
    let early = control.commit(&b.owned, vec![segment(&b.owned, b.first_segment)], 0).await;
    assert_eq!(early, Err(CommitError::Hole { expected: b.gap.start }));
}

pub async fn old_node_returns_after_a_pause_or_partition(control: &Control) {
    let a = on_air(control).await.owned;
    commit_all(control, &a, 1..2 + PAGE_RECORDS as u64).await;
    let page = control.unsealed_page(&a.video).await.unwrap().unwrap();
    control.claim(claim(2, TakeOver, NOW)).await.unwrap();
    let commit = control.commit(&a, vec![segment(&a, 66)], 0).await;
    assert_eq!(commit, Err(fenced(2).into()));
    let repeated = control.commit(&a, vec![segment(&a, 1)], 0).await;
    assert_eq!(repeated, Err(fenced(2).into()));
    assert_eq!(control.seal_page(&a, page, "p").await, Err(SealError::Owner(fenced(2))));
    assert_eq!(control.release(&a, End::Goodbye, NOW).await, Err(fenced(2)));
    let catalog = control.set_catalog(&a, "late".into()).await;
    assert_eq!(catalog, Err(fenced(2).into()));
    assert_eq!(control.catalog(&a.video).await.unwrap(), None);
}

pub async fn numbers_go_on_above_in_the_next_broadcast(control: &Control) {
    let a = on_air(control).await.owned;
    commit_all(control, &a, 1..4).await;
    assert!(control.release(&a, End::Goodbye, NOW).await.unwrap().kept);
    assert_eq!(control.commit(&a, vec![segment(&a, 4)], 0).await, Err(fenced(1).into()));
    let b = control.claim(claim(2, IfFree, NOW)).await.unwrap();
    assert_eq!((b.resumed, b.gap, b.first_segment, b.last), (false, 5..5, 5, None));
    commit_all(control, &b.owned, 5..6).await;
    assert_eq!(tail(control, &b.owned.video).await, [(5, false)]);
    assert_eq!(control.broadcast_of(&uid(1)).await.unwrap().unwrap().uid, b.owned.video);
}

pub async fn pages_read_like_the_records_that_they_replace(control: &Control) {
    let owned = on_air(control).await.owned;
    let last = 2 * PAGE_RECORDS as u64 + 5;
    let (mut store, mut sealed) = (BTreeMap::new(), 0);
    for number in 1..=last {
        control.commit(&owned, vec![segment(&owned, number)], 0).await.unwrap();
        while let Some(page) = control.unsealed_page(&owned.video).await.unwrap() {
            let object = format!("page {}", page.first_number);
            store.insert(object.clone(), page.bytes.clone());
            control.seal_page(&owned, page.clone(), &object).await.unwrap();
            control.seal_page(&owned, page.clone(), &object).await.unwrap();
            let other = control.seal_page(&owned, page, "another").await;
            assert_eq!(other, Err(SealError::NoSuchPage));
            sealed += 1;
        }
    }
    assert_eq!((sealed, store.len()), (2, 2));
    for range in [0..last + 1, 64..65, 65..66, 60..70, 1..2, last..last + 9, 300..400, 5..5] {
        let read = control
            .committed(&owned.video, range.clone(), async |page| {
                Ok::<_, Infallible>(store[&page.object].clone())
            })
            .await
            .unwrap();
        let expect: Vec<_> =
            range.clone().filter(|n| (1..=last).contains(n)).map(|n| segment(&owned, n)).collect();
        assert_eq!(read, expect, "{range:?}");
    }
    let damaged = control
        .committed(&owned.video, 0..9, async |_| Ok::<_, Infallible>("nonsense".into()))
        .await;
    assert!(matches!(damaged, Err(CommittedError::Page(_, PageError::Damaged))));
    let next = control.claim(claim(2, TakeOver, NOW)).await.unwrap();
    assert_eq!(next.last.map(|r| r.number), Some(last), "sealing never takes the newest");
}

pub async fn a_broadcast_that_is_over_can_still_be_sealed(control: &Control) {
    let owned = on_air(control).await.owned;
    commit_all(control, &owned, 1..2 + PAGE_RECORDS as u64).await;
    control.release(&owned, End::Goodbye, NOW).await.unwrap();
    let page = control.unsealed_page(&owned.video).await.unwrap().unwrap();
    control.seal_page(&owned, page, "p").await.unwrap();
    let index = control.committed_index(&owned.video, 0..100).await.unwrap();
    assert_eq!((index.pages.len(), index.tail.len()), (1, 1));
}

pub async fn the_catalog_stays_with_the_video(control: &Control) {
    let owned = on_air(control).await.owned;
    for text in ["one", "two"] {
        control.set_catalog(&owned, text.into()).await.unwrap();
        assert_eq!(control.catalog(&owned.video).await.unwrap().as_deref(), Some(text.as_bytes()));
    }
    let large = vec![0; crate::limits::CATALOG_BYTES + 1].into();
    assert_eq!(control.set_catalog(&owned, large).await, Err(CommitError::CatalogTooLarge));
}
