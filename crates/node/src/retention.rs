//! Deleting what is kept too long, and what can be made again where there is little room.

use std::sync::Arc;
use std::time::Instant;

use record::{History, Retention, Space};
use tokio::sync::watch;

use crate::config;
use crate::encoder::Encoding;
use crate::ingest::now_ms;
use crate::limits::{RETENTION_AT_ONCE, RETENTION_EVERY};

/// Deletes what is kept too long, for as long as the node runs.
pub(crate) async fn retain(
    history: Arc<History>,
    space: Arc<Space>,
    encoding: Arc<Encoding>,
    mut kept: watch::Receiver<config::Retention>,
) {
    loop {
        let mut retention = rules(*kept.borrow_and_update());
        space.set_floor(retention.min_free_bytes);
        space.set_input_max(retention.max_input_bytes);
        // Before a recording goes, what was made of recordings goes.
        encoding.make_room(retention.min_free_bytes, history.store().free_bytes()).await;
        retention.min_free_bytes =
            retention.min_free_bytes.filter(|_| space.may_delete(Instant::now()));
        let pass = retention.pass(&history, now_ms()).await;
        if let Some(freed) = pass.freed {
            space.freed(freed, Instant::now());
        }
        for (video, why) in pass.deleted {
            tracing::info!(%video, why, "recording deleted by retention");
        }
        if let Some(error) = pass.failed {
            tracing::warn!(%error, "retention");
        }
        let _ = space.look(history.store());
        // Sooner when other rules hold, or what is being recorded needs room.
        tokio::select! {
            _ = tokio::time::timeout(RETENTION_EVERY, kept.changed()) => {}
            () = async { tokio::join!(space.short(), tokio::time::sleep(RETENTION_AT_ONCE)); } => {}
        }
    }
}

fn rules(config: config::Retention) -> Retention {
    Retention {
        max_age: config.max_age_days,
        max_input_bytes: config.max_input_gb,
        max_total_bytes: config.max_total_gb,
        min_free_bytes: config.min_free_gb,
    }
}

#[cfg(test)]
mod tests {
    use control::{
        Claim, ClaimMode, Control, End, InputSettings, InputUid, MasterKey, NodeId, SegmentRecord,
        SessionId, TrackRecord, VideoUid,
    };

    use super::*;
    use crate::config::{Layer, load};

    const DAY_MS: u64 = 86_400_000;

    /// Flips `retention.max_age_days`.
    #[tokio::test]
    async fn what_has_ended_before_as_many_days_as_configured_is_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let control = Control::open(&dir.path().join("db"), MasterKey::new(&[7; 32])).unwrap();
        let store = store::Store::open(&dir.path().join("media")).unwrap();
        let history = History::new(Arc::new(control), Arc::new(store));
        let (control, now) = (history.control(), now_ms());
        let ended = now - 3 * DAY_MS;
        let input = InputUid::from_random([1; 15]);
        let random = std::array::from_fn(|i| i as u8);
        let settings = InputSettings::default();
        control.create_input(input.clone(), settings, random, ended).await.unwrap();
        let claim = Claim {
            input,
            node: NodeId::parse("local").unwrap(),
            session: SessionId::parse("1").unwrap(),
            mode: ClaimMode::IfFree,
            now_ms: ended,
            resume_within_ms: 15_000,
            new_video: VideoUid::from_random([1; 16]),
        };
        let claimed = control.claim(claim).await.unwrap();
        let owned = claimed.owned;
        let track =
            TrackRecord { name: "video.cmaf".to_owned(), timescale: 90_000, ..Default::default() };
        let segment = SegmentRecord {
            number: claimed.first_segment,
            epoch: owned.epoch,
            object: Some(1),
            duration_ms: 2_000,
            bytes: 1_000,
            wall_clock_ms: ended,
            gap: false,
            discontinuity: false,
            tracks: vec![track],
        };
        control.commit(&owned, vec![segment], 0).await.unwrap();
        control.release(&owned, End::Goodbye, ended).await.unwrap();
        let pass = async |days: Option<&str>| {
            let layer = days.map(|days| format!("retention.max_age_days={days}"));
            let layers: Vec<_> = layer.iter().map(|text| Layer::setting(text).unwrap()).collect();
            let rules = rules(load(&layers).unwrap().config.retention);
            let pass = Retention { min_free_bytes: None, ..rules }.pass(&history, now).await;
            assert!(pass.failed.is_none(), "{pass:?}");
            pass.deleted
        };
        for days in [None, Some("0"), Some("4")] {
            assert_eq!(pass(days).await, [], "{days:?}");
        }
        assert_eq!(pass(Some("2")).await, [(owned.video, "age")]);
    }
}
