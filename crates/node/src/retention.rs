//! Deleting what is kept too long, and what can be made again where there is little room.

use std::sync::Arc;

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
        let retention = rules(*kept.borrow_and_update());
        space.set_floor(retention.min_free_bytes);
        space.set_input_max(retention.max_input_bytes);
        // Before a recording goes, what was made of recordings goes.
        encoding.make_room(retention.min_free_bytes, history.store().free_bytes()).await;
        match retention.pass(&history, now_ms()).await {
            Ok(pass) => {
                for (video, why) in pass.deleted {
                    tracing::info!(%video, why, "recording deleted by retention");
                }
            }
            Err(error) => tracing::warn!(%error, "retention"),
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
    use std::time::Duration;

    use super::*;
    use crate::config::{Layer, load};

    /// Flips `retention.max_age_days`. What a pass then deletes is tested where it is done, in `record`: a day is too long
    /// to wait for here.
    #[test]
    fn retention_takes_the_age_from_the_configuration() {
        let layer = Layer::setting("retention.max_age_days=2").unwrap();
        let age = |layers: &[Layer]| rules(load(layers).unwrap().config.retention).max_age;
        assert_eq!((age(&[]), age(&[layer])), (None, Some(Duration::from_secs(2 * 86_400))));
    }
}
