//! What every engine must do. Each case is a function over an empty [`Control`]; the engine's own
//! tests call them all through [`conformance_suite!`](crate::conformance_suite). Cases named after
//! `reference/control-plane.md` §6.1 carry its words.

#![allow(missing_docs, clippy::unwrap_used, clippy::missing_panics_doc)]

pub mod changes;
pub mod chat;
pub mod documents;
pub mod index;
pub mod ownership;
pub mod videos;

use crate::{
    Away, Claim, ClaimMode, Claimed, Control, End, Input, InputSettings, InputUid,
    KEY_RANDOM_BYTES, NodeId, Owned, Page, PartRecord, SegmentRecord, SessionId, TrackRecord,
    VideoUid,
};

/// The time at which cases begin.
pub const NOW: u64 = 1_763_812_800_000;

/// How long a broadcast is waited for in the cases.
pub const WAIT: u64 = 15_000;

/// One test for each case, over `$make`, which gives an empty control and what keeps it alive.
#[macro_export]
macro_rules! conformance_suite {
    ($make:path: $($module:ident { $($case:ident),* $(,)? })*) => {$(
        mod $module {
            $(
                #[tokio::test]
                async fn $case() {
                    let (control, _alive) = $make();
                    $crate::conformance::$module::$case(&control).await;
                }
            )*
        }
    )*};
}

pub fn random(seed: u8) -> [u8; KEY_RANDOM_BYTES] {
    std::array::from_fn(|i| (i as u8).wrapping_mul(7).wrapping_add(seed))
}

pub fn uid(seed: u8) -> InputUid {
    InputUid::from_random([seed; 15])
}

pub fn video_uid(seed: u8) -> VideoUid {
    VideoUid::from_random([seed; 16])
}

pub async fn an_input(control: &Control, seed: u8) -> Input {
    control.create_input(uid(seed), InputSettings::default(), random(seed), NOW).await.unwrap()
}

/// A claim of input 1; `session` also numbers the node and the video that a new broadcast gets.
pub fn claim(session: u8, mode: ClaimMode, now_ms: u64) -> Claim {
    Claim {
        input: uid(1),
        node: NodeId::parse(&format!("node {session}")).unwrap(),
        session: SessionId::parse(&format!("session {session}")).unwrap(),
        mode,
        now_ms,
        resume_within_ms: WAIT,
        new_video: video_uid(session),
    }
}

/// Input 1, claimed by session 1.
pub async fn on_air(control: &Control) -> Claimed {
    an_input(control, 1).await;
    control.claim(claim(1, ClaimMode::IfFree, NOW)).await.unwrap()
}

/// The ids of a list.
pub async fn listed(control: &Control, page: Page) -> (Vec<InputUid>, Option<u64>) {
    let list = control.inputs(page).await.unwrap();
    (list.rows.into_iter().map(|input| input.uid).collect(), list.next)
}

/// An encoder that was lost and is waited for.
pub fn away(until_ms: u64) -> Away {
    Away { why: End::SourceLost, now_ms: NOW, until_ms }
}

/// A segment of 2 s and 1,000 bytes under this ownership.
pub fn segment(owned: &Owned, number: u64) -> SegmentRecord {
    let part = PartRecord {
        duration: 180_000,
        bytes: 1_000,
        independent: true,
        last: true,
        target_known: true,
        key_bytes: Some(700),
    };
    let track = TrackRecord {
        name: "video.cmaf".into(),
        timescale: 90_000,
        start: number * 180_000,
        wall_clock_ms: NOW + number * 2_000,
        part_target_ms: 2_000,
        target_duration: 2,
        parts: vec![part],
        ..TrackRecord::default()
    };
    SegmentRecord {
        number,
        epoch: owned.epoch,
        object: Some(number ^ owned.epoch.0 << 32),
        duration_ms: 2_000,
        bytes: 1_000,
        wall_clock_ms: track.wall_clock_ms,
        gap: false,
        discontinuity: false,
        tracks: vec![track],
    }
}

/// The same number without media.
pub fn gap(owned: &Owned, number: u64) -> SegmentRecord {
    SegmentRecord { object: None, bytes: 0, gap: true, ..segment(owned, number) }
}

/// Commits these numbers as segments, one a time.
pub async fn commit_all(control: &Control, owned: &Owned, numbers: std::ops::Range<u64>) {
    for number in numbers {
        control.commit(owned, vec![segment(owned, number)], 0).await.unwrap();
    }
}

/// The committed numbers of a broadcast that has no pages, and whether each is a gap.
pub async fn tail(control: &Control, video: &VideoUid) -> Vec<(u64, bool)> {
    let committed = control.committed_index(video, 0..u64::MAX >> 1).await.unwrap();
    assert_eq!(committed.pages, []);
    committed.tail.into_iter().map(|record| (record.number, record.gap)).collect()
}
