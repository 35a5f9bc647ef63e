//! Ownership: epochs rise, numbers are used once, broadcasts go on or end.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{NOW, WAIT, an_input, away, claim, on_air, random, segment, uid, video_uid};
use crate::ClaimMode::{GoOn, IfFree, TakeOver};
use crate::limits::{GROUP_BLOCK, OUTAGE_NUMBERS, RESERVE_AHEAD};
use crate::{
    Away, Claim, ClaimError, Control, End, Ended, Epoch, Expect, InputSettings, InputUid, NodeId,
    OwnerError, Presence, Reserved, SegmentRecord, Standing,
};

/// Nobody waits for anything.
fn none() -> BTreeSet<InputUid> {
    BTreeSet::new()
}

/// How long segments are that a node cuts.
const SEGMENT: Duration = Duration::from_secs(4);

pub async fn a_first_claim_begins_a_broadcast(control: &Control) {
    let first = on_air(control).await;
    assert_eq!((first.owned.epoch, &first.owned.video), (Epoch(1), &video_uid(1)));
    assert_eq!((first.resumed, first.gap, first.first_segment), (false, 1..1, 1));
    assert_eq!((first.first_group, first.superseded, first.ended), (0, None, None));
    let video = control.broadcast_of(&uid(1)).await.unwrap().unwrap();
    assert_eq!((video.uid.clone(), video.live(), video.segments), (video_uid(1), true, 0));
}

pub async fn a_claim_needs_an_input_that_is_enabled(control: &Control) {
    let refused = control.claim(claim(1, TakeOver, NOW)).await;
    assert_eq!(refused, Err(ClaimError::NoSuchInput));
    an_input(control, 1).await;
    let off = InputSettings { enabled: false, ..InputSettings::default() };
    control.update_input(&uid(1), Expect::Any, off, NOW).await.unwrap();
    assert_eq!(control.claim(claim(1, TakeOver, NOW)).await, Err(ClaimError::Disabled));
}

pub async fn a_claim_with_a_key_needs_the_inputs_own(control: &Control) {
    an_input(control, 1).await;
    let other = control.create_input(uid(2), InputSettings::default(), random(3), NOW).await;
    let key = async |input| control.input_keys(&input).await.unwrap().unwrap().stream_key;
    let (old, of_other) = (key(uid(1)).await, key(other.unwrap().uid).await);
    let ask = async |session, key| control.claim_with_key(claim(session, TakeOver, NOW), key).await;
    assert_eq!(ask(1, &of_other).await, Err(ClaimError::OtherKey));
    assert_eq!(ask(1, &old).await.unwrap().owned.epoch, Epoch(1));
    control.rotate_keys(&uid(1), random(4), NOW, None).await.unwrap();
    assert_eq!(ask(2, &old).await, Err(ClaimError::OtherKey));
    assert_eq!(ask(3, &key(uid(1)).await).await.unwrap().owned.epoch, Epoch(2), "nothing taken");
}

pub async fn who_was_waited_for_can_be_waited_for_as_before(control: &Control) {
    let first = on_air(control).await;
    assert_eq!(first.waited, None);
    control.park(&first.owned, away(NOW + WAIT)).await.unwrap();
    let back = control.claim(claim(2, IfFree, NOW + 5)).await.unwrap();
    assert_eq!(back.waited, Some(away(NOW + WAIT)));
    let over = control.claim(claim(3, TakeOver, NOW + 6)).await.unwrap();
    assert_eq!(over.waited, None, "somebody had it");
    control.park(&over.owned, back.waited.unwrap()).await.unwrap();
    let late = control.claim(claim(4, IfFree, NOW + WAIT)).await.unwrap();
    assert_eq!((late.resumed, late.waited), (false, None));
}

pub async fn a_claim_whose_answer_was_lost_is_repeated(control: &Control) {
    let first = on_air(control).await;
    assert_eq!(control.claim(claim(1, IfFree, NOW + 1)).await.unwrap(), first);
    assert_eq!(control.claim(claim(1, TakeOver, NOW + 2)).await.unwrap(), first);
}

pub async fn if_free_leaves_the_owner_alone_and_take_over_does_not(control: &Control) {
    let first = on_air(control).await;
    let (node, session) = (claim(1, IfFree, 0).node, claim(1, IfFree, 0).session);
    let refused = control.claim(claim(2, IfFree, NOW + 1)).await;
    let owned = ClaimError::Owned { node: node.clone(), session: session.clone(), epoch: Epoch(1) };
    assert_eq!(refused, Err(owned));
    control.park(&first.owned, away(NOW + WAIT)).await.unwrap();
    let back = control.claim(claim(2, IfFree, NOW + 2)).await.unwrap();
    assert!(back.resumed && back.superseded.is_none());
    let third = control.claim(claim(3, TakeOver, NOW + 3)).await.unwrap();
    let second = claim(2, IfFree, 0);
    assert_eq!(third.superseded, Some((second.node, second.session)));
    assert_eq!((third.owned.epoch, third.owned.video), (Epoch(3), video_uid(1)));
}

pub async fn encoder_reconnects_elsewhere_while_a_is_alive(control: &Control) {
    let a = on_air(control).await.owned;
    let b = control.claim(claim(2, TakeOver, NOW + 100)).await.unwrap();
    assert!(b.resumed && b.owned.epoch > a.epoch && b.owned.video == a.video);
    let fenced = OwnerError::Fenced { current: b.owned.epoch };
    assert_eq!(control.reserve(&a, 9, 9).await, Err(fenced.clone()));
    assert_eq!(control.park(&a, away(NOW)).await, Err(fenced.clone()));
    assert_eq!(control.release(&a, End::Goodbye, NOW).await, Err(fenced));
    let live = control.broadcast_of(&uid(1)).await.unwrap().unwrap().live();
    assert!(live, "what the old owner says has no effect");
}

pub async fn numbers_that_were_reserved_are_a_gap_for_the_next_owner(control: &Control) {
    let a = on_air(control).await.owned;
    let reserved = control.reserve(&a, 3, 0).await.unwrap();
    assert_eq!(reserved, Reserved { segments_to: 3, groups_end: GROUP_BLOCK });
    let fewer = control.reserve(&a, 2, 0).await.unwrap();
    assert_eq!(fewer.segments_to, 3, "never fewer than before");
    let b = control.claim(claim(2, TakeOver, NOW)).await.unwrap();
    assert_eq!((b.gap, b.first_segment), (1..4, 4));
    let c = control.claim(claim(3, TakeOver, NOW)).await.unwrap();
    assert_eq!((c.gap, c.first_segment), (1..5, 5), "the first number was reserved by the claim");
}

pub async fn groups_come_in_blocks_that_are_given_out_once(control: &Control) {
    let a = on_air(control).await;
    let reserved = control.reserve(&a.owned, 0, GROUP_BLOCK + 1).await.unwrap();
    assert_eq!(reserved.groups_end, 2 * GROUP_BLOCK);
    let b = control.claim(claim(2, TakeOver, NOW)).await.unwrap();
    assert_eq!(b.first_group, 2 * GROUP_BLOCK);
    control.release(&b.owned, End::Goodbye, NOW).await.unwrap();
    let c = control.claim(claim(3, TakeOver, NOW)).await.unwrap();
    assert_eq!(c.first_group, 3 * GROUP_BLOCK, "in the next broadcast too");
}

pub async fn reservations_are_bounded(control: &Control) {
    let a = on_air(control).await.owned;
    for (segments, groups, ok) in [
        (1 + RESERVE_AHEAD, 0, true),
        (3 + 2 * RESERVE_AHEAD, 0, false),
        (0, u64::MAX, false),
        (u64::MAX, 0, false),
    ] {
        let reserved = control.reserve(&a, segments, groups).await;
        assert_eq!(reserved.is_ok(), ok, "{segments} {groups} {reserved:?}");
    }
}

pub async fn a_broadcast_without_media_leaves_no_video_and_its_numbers_are_not_reused(
    control: &Control,
) {
    let a = on_air(control).await.owned;
    control.reserve(&a, 7, 0).await.unwrap();
    let ended = control.release(&a, End::Goodbye, NOW + 1).await.unwrap();
    assert_eq!(ended, Ended { input: uid(1), video: a.video.clone(), kept: false });
    assert_eq!(control.video(&a.video).await.unwrap(), None);
    assert_eq!(control.broadcast_of(&uid(1)).await.unwrap(), None);
    let again = control.release(&a, End::Goodbye, NOW + 1).await;
    assert_eq!(again, Err(OwnerError::Fenced { current: a.epoch }));
    let b = control.claim(claim(2, IfFree, NOW + 2)).await.unwrap();
    assert_eq!((b.resumed, b.gap, b.first_segment), (false, 8..8, 8));
}

pub async fn back_in_time_goes_on_and_too_late_begins_anew(control: &Control) {
    let first = on_air(control).await.owned;
    control.park(&first, away(NOW + WAIT)).await.unwrap();
    assert_eq!(control.next_expiry().await.unwrap(), Some(NOW + WAIT));
    assert_eq!(control.expire(NOW + WAIT - 1, none()).await.unwrap(), []);
    let back = control.claim(claim(2, IfFree, NOW + WAIT - 1)).await.unwrap();
    assert!(back.resumed && back.ended.is_none());
    assert_eq!(back.owned.video, first.video);
    assert_eq!(control.next_expiry().await.unwrap(), None);

    control.park(&back.owned, away(NOW + 2 * WAIT)).await.unwrap();
    let on = control.claim(claim(9, GoOn, NOW + 3 * WAIT)).await.unwrap();
    assert_eq!((on.resumed, &on.owned.video), (true, &first.video), "waited for elsewhere");
    control.park(&on.owned, away(NOW + 2 * WAIT)).await.unwrap();
    let late = control.claim(claim(3, IfFree, NOW + 2 * WAIT)).await.unwrap();
    assert_eq!((late.resumed, &late.owned.video), (false, &video_uid(3)));
    assert_eq!(late.ended.unwrap().video, first.video);
}

pub async fn ownerless_broadcasts_expire(control: &Control) {
    let owned = on_air(control).await.owned;
    assert_eq!(control.expire(u64::MAX >> 1, none()).await.unwrap(), [], "it has an owner");
    control.park(&owned, away(NOW + WAIT)).await.unwrap();
    let held = BTreeSet::from([uid(1)]);
    assert_eq!(control.expire(NOW + WAIT, held).await.unwrap(), [], "somebody still waits for it");
    let ended = control.expire(NOW + WAIT, none()).await.unwrap();
    assert_eq!(ended, [Ended { input: uid(1), video: owned.video, kept: false }]);
    assert_eq!(control.expire(NOW + WAIT, none()).await.unwrap(), []);
}

pub async fn a_node_that_starts_again_waits_for_its_encoders(control: &Control) {
    let owned = on_air(control).await.owned;
    let node = |n: &str| NodeId::parse(n).unwrap();
    assert_eq!(control.park_all(&node("node 2"), NOW, SEGMENT).await.unwrap(), []);
    let parked = control.park_all(&node("node 1"), NOW + 60_000, SEGMENT).await.unwrap();
    assert_eq!(parked, std::slice::from_ref(&owned));
    assert_eq!(control.expire(NOW + 60_000 + WAIT - 1, none()).await.unwrap(), []);
    let back = control.claim(claim(2, IfFree, NOW + 60_001)).await.unwrap();
    assert_eq!((back.resumed, back.owned.video), (true, owned.video));
}

pub async fn numbers_that_a_node_may_have_shown_are_left_out(control: &Control) {
    // How much was committed, how far its clock is off, when the node started again, and which number comes next.
    let cases = [
        (0, 0, 0, 2),
        // By the claim, in segments as the node cuts them: one that has begun is one.
        (0, 0, 60_000, 16),
        (0, 0, 60_001, 17),
        (0, 0, 1 << 40, 1 + OUTAGE_NUMBERS + 1),
        // By the last record, which ends at 20 s, in segments as they were. Two were reserved with it.
        (10, 0, 21_000, 13),
        (10, 0, 24_000, 13),
        (10, 0, 24_001, 14),
        (10, 0, 60_000, 31),
        (10, 0, 3_600_000, 12 + OUTAGE_NUMBERS + 1),
        // By the claim, if this is by another clock; and what is ahead of ours says nothing.
        (10, -3_600_000, 60_000, 31),
        (10, 3_600_000, 60_000, 13),
    ];
    for (seed, (committed, off_ms, died_ms, next)) in (1..).zip(cases) {
        let (input, step) = (uid(seed), seed * 2 + 1);
        let random = std::array::from_fn(|i| (i as u8).wrapping_mul(step));
        let settings = InputSettings::default();
        control.create_input(input.clone(), settings, random, NOW).await.unwrap();
        let claim =
            |now_ms, session| Claim { input: input.clone(), now_ms, ..claim(session, IfFree, NOW) };
        let begun = Claim { new_video: video_uid(seed), ..claim(NOW, 1) };
        let owned = control.claim(begun).await.unwrap().owned;
        for number in 1..=committed {
            let wall_clock_ms = (NOW + (number - 1) * 2_000).checked_add_signed(off_ms).unwrap();
            let record = SegmentRecord { wall_clock_ms, ..segment(&owned, number) };
            control.commit(&owned, vec![record], number + 2).await.unwrap();
        }
        let node = NodeId::parse("node 1").unwrap();
        let parked = control.park_all(&node, NOW + died_ms, SEGMENT).await.unwrap();
        assert_eq!(parked, [owned]);
        let back = control.claim(claim(NOW + died_ms, 2)).await.unwrap();
        let expect = (true, committed + 1..next, next);
        assert_eq!((back.resumed, back.gap, back.first_segment), expect, "case {seed}");
    }
}

pub async fn gaps_of_one_crash_do_not_make_more_of_the_next(control: &Control) {
    let (node, hour) = (|n: &str| NodeId::parse(n).unwrap(), NOW + 3_600_000);
    let first = on_air(control).await.owned;
    for number in 1..=10 {
        control.commit(&first, vec![segment(&first, number)], number + 2).await.unwrap();
    }
    control.park_all(&node("node 1"), hour, SEGMENT).await.unwrap();
    let back = control.claim(claim(2, IfFree, hour)).await.unwrap();
    assert_eq!((back.resumed, &back.gap), (true, &(11..45)));
    // As a recorder does: gaps first, which have no length.
    let epoch = back.owned.epoch;
    let gap = |number| SegmentRecord { number, epoch, gap: true, ..SegmentRecord::default() };
    let number = back.first_segment;
    let (wall_clock_ms, duration_ms) = (hour, 4_000);
    let record = SegmentRecord { wall_clock_ms, duration_ms, ..segment(&back.owned, number) };
    let records = back.gap.map(gap).chain([record]).collect();
    control.commit(&back.owned, records, number + 2).await.unwrap();
    // It ends at 4 s; three more as long fit before the next start.
    control.park_all(&node("node 2"), hour + 16_000, SEGMENT).await.unwrap();
    let again = control.claim(claim(3, IfFree, hour + 16_000)).await.unwrap();
    assert_eq!((again.resumed, again.gap), (true, number + 1..number + 4));
}

pub async fn an_input_says_since_when_it_is_so_and_why(control: &Control) {
    let standing = async || control.standing(&uid(1)).await.unwrap();
    let is = |presence, since_ms| Some(Standing { presence, since_ms });
    assert_eq!(standing().await, None);
    an_input(control, 1).await;
    assert_eq!(standing().await.map(|s| s.presence), Some(Presence::Never));
    let first = control.claim(claim(1, IfFree, NOW)).await.unwrap();
    assert_eq!(standing().await, is(Presence::OnAir { resumed: false }, NOW));
    control.commit(&first.owned, vec![segment(&first.owned, 1)], 0).await.unwrap();
    let idle = Away { why: End::Idle, now_ms: NOW + 1, until_ms: NOW + WAIT };
    control.park(&first.owned, idle).await.unwrap();
    assert_eq!(standing().await, is(Presence::Away(End::Idle), NOW + 1));
    control.claim(claim(2, IfFree, NOW + 2)).await.unwrap();
    assert_eq!(standing().await, is(Presence::OnAir { resumed: true }, NOW + 2));
    // The node dies.
    let parked =
        control.park_all(&NodeId::parse("node 2").unwrap(), NOW + 3, SEGMENT).await.unwrap();
    assert_eq!(parked.len(), 1);
    assert_eq!(standing().await, is(Presence::Away(End::NodeLost), NOW + 3));
    control.expire(NOW + 3 + WAIT, none()).await.unwrap();
    assert_eq!(standing().await, is(Presence::Off(End::NodeLost), NOW + 3 + WAIT));
    let ended = control.video(&first.owned.video).await.unwrap().unwrap().ended;
    assert_eq!(ended, Some((NOW + 3 + WAIT, End::NodeLost)));
    // Nothing of it is kept, and still it is known.
    let third = control.claim(claim(3, IfFree, NOW + 2 * WAIT)).await.unwrap();
    control.release(&third.owned, End::KeysChanged, NOW + 3 * WAIT).await.unwrap();
    assert_eq!(standing().await, is(Presence::Off(End::KeysChanged), NOW + 3 * WAIT));
    // Too late: why it was away is why it ended.
    let fourth = control.claim(claim(4, IfFree, NOW + 4 * WAIT)).await.unwrap();
    control
        .commit(&fourth.owned, vec![segment(&fourth.owned, fourth.first_segment)], 0)
        .await
        .unwrap();
    let lost = Away { why: End::SourceLost, now_ms: NOW + 5 * WAIT, until_ms: NOW + 6 * WAIT };
    control.park(&fourth.owned, lost).await.unwrap();
    control.claim(claim(5, IfFree, NOW + 7 * WAIT)).await.unwrap();
    let ended = control.video(&fourth.owned.video).await.unwrap().unwrap().ended;
    assert_eq!(ended, Some((NOW + 7 * WAIT, End::SourceLost)));
}

pub async fn a_video_id_is_used_once(control: &Control) {
    let a = on_air(control).await.owned;
    control.reserve(&a, 1, 0).await.unwrap();
    let mut other = claim(1, IfFree, NOW);
    other.input = uid(2);
    an_input(control, 2).await;
    assert_eq!(control.claim(other).await, Err(ClaimError::VideoExists));
}
