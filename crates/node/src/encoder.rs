//! The encoder program beside the server: found at the start, supervised for as long as the node runs.

use std::path::PathBuf;
use std::sync::Arc;

use deliver::Levels;
use encode::{Program, Renditions, SOFTWARE, Settings};

use crate::config;
use crate::limits::{LEVELS_CACHE_BYTES, LEVELS_LINGER};

const PROGRAM: &str = "airwave-encode";

/// Looks for the program, and makes levels and pictures for as long as it is polled. Without it originals are all there is, and the log
/// says why.
pub(crate) async fn serve(config: config::Encode, levels: Arc<Levels>) {
    let program = match Program::ask(&path(&config.program)).await {
        Ok(program) => program,
        Err(error) => {
            let words =
                "no levels of quality and no thumbnails: viewers get what the encoder sends";
            // An input may have a ladder of its own; where the node wants neither, nobody misses them.
            match config.ladder.0.is_copy_only() && !config.pictures {
                true => tracing::debug!(%error, "{words}"),
                false => tracing::warn!(%error, "{words}"),
            }
            return std::future::pending().await;
        }
    };
    tracing::info!(program = %program.words, "levels of quality and pictures are made when they are asked for");
    let settings = Settings {
        workers: workers(config.workers),
        cache_bytes: LEVELS_CACHE_BYTES,
        linger: LEVELS_LINGER,
        patience: encode::limits::WORKER_WAIT,
        encoder: SOFTWARE.to_owned(),
    };
    let renditions = Renditions::new(program, settings);
    levels.ready(renditions.clone());
    renditions.run().await;
}

/// The one that the configuration names, else the one beside this program.
fn path(configured: &str) -> PathBuf {
    if !configured.is_empty() {
        return PathBuf::from(configured);
    }
    let own = std::env::current_exe().unwrap_or_default();
    own.parent().map(|folder| folder.join(PROGRAM)).unwrap_or_else(|| PROGRAM.into())
}

/// A live segment holds its worker while it waits for the original, so there are more than cores.
fn workers(configured: u32) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(4, |cores| cores.get() * 4),
        n => n as usize,
    }
}
