//! The data directory: its files, its lock, and the database in it.

use std::path::Path;

use anyhow::{Context, Result};
use control::{Control, MasterKey, Migrated, Page, VideoFilter};

use super::random;
use crate::files;

/// The file of the API token in the data directory.
pub(crate) const API_TOKEN: &str = "api-token";
pub(crate) const MASTER_KEY: &str = "master.key";
pub(crate) const DATABASE: &str = "airwave.db";
pub(crate) const MEDIA: &str = "media";
const LOCK: &str = "lock";

/// One process for each data directory. The lock goes with the process, however it ends.
pub(super) fn lock(dir: &Path) -> Result<std::fs::File> {
    let path = dir.join(LOCK);
    let file = std::fs::File::options().create(true).truncate(false).write(true).open(&path);
    let file =
        file.with_context(|| format!("can't write to the data directory {}", dir.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => anyhow::bail!(
            "another Airwave uses the data directory {}: stop it, or choose another one with --data",
            dir.display()
        ),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("can't lock {}", path.display()))
        }
    }
}

pub(crate) fn open_control(dir: &Path) -> Result<Control> {
    // Another key than the one that it was written with reads nothing.
    let lost = dir.join(DATABASE).exists() && !dir.join(MASTER_KEY).exists();
    anyhow::ensure!(
        !lost,
        "{} is missing: the keys in {} are encrypted with it. Put it back, from a backup if need be",
        dir.join(MASTER_KEY).display(),
        dir.join(DATABASE).display()
    );
    if let Some(left) = left_behind(dir) {
        anyhow::bail!(
            "{} is missing or empty, and {left} is there: nothing in it could be found or deleted any more. Put the \
             database back, from a backup if need be; or move {left} away to begin anew",
            dir.join(DATABASE).display()
        );
    }
    let key = files::secret(&dir.join(MASTER_KEY), || random::<32>().to_vec())?;
    let key: [u8; 32] = key.try_into().ok().with_context(|| {
        format!("{} must hold exactly 32 bytes", dir.join(MASTER_KEY).display())
    })?;
    let path = dir.join(DATABASE);
    // What SQLite puts beside it has its mode.
    files::only_its_owners(&path)
        .with_context(|| format!("can't make {} its owner's only", path.display()))?;
    let control = Control::open(&path, MasterKey::new(&key))
        .with_context(|| format!("can't open {}", path.display()))?;
    if let Some(Migrated { from, to, took }) = control.migrated() {
        tracing::info!(
            from,
            to,
            ?took,
            "the data directory was of an older format: an older Airwave refuses it now"
        );
    }
    Ok(control)
}

/// Says so if there are recordings in the index and no media at all: a disk that is not mounted looks
/// like that.
pub(super) async fn media_lost(control: &Control, media: &Path) -> Result<Option<String>> {
    if has_recordings(media) {
        return Ok(None);
    }
    let mut page = Page::default();
    loop {
        let found = control.videos(VideoFilter::default(), page).await;
        let found = found.context("can't list the videos")?;
        if found.rows.iter().any(|video| video.bytes > 0) {
            let words = format!(
                "{} had no media at the start, and the index has recordings: is its disk not mounted? Stop the server \
                 and put it back, or delete what can't be played",
                media.display()
            );
            tracing::error!("{words}");
            return Ok(Some(words));
        }
        match found.next {
            Some(next) => page.after = Some(next),
            None => return Ok(None),
        }
    }
}

/// What a database belongs to that is not there: the key that its secrets are encrypted with, and
/// recordings.
fn left_behind(dir: &Path) -> Option<String> {
    let database = dir.join(DATABASE).metadata().is_ok_and(|database| database.len() > 0);
    // The token is made after the database: a first start that was cut off has a key and none.
    let keys = [MASTER_KEY, API_TOKEN].iter().all(|name| dir.join(name).exists());
    match (database, has_recordings(&dir.join(MEDIA)), keys) {
        (true, ..) | (false, false, false) => None,
        (false, true, _) => Some(dir.join(MEDIA).display().to_string()),
        (false, false, true) => Some(dir.join(MASTER_KEY).display().to_string()),
    }
}

fn has_recordings(media: &Path) -> bool {
    media.join("o").read_dir().is_ok_and(|mut videos| videos.next().is_some())
}

/// `aw_` makes it easy to find for scanners that look for leaked secrets.
pub(super) fn api_token() -> String {
    let secret = control::Secret::from_random(random());
    format!("aw_{}\n", secret.expose())
}
