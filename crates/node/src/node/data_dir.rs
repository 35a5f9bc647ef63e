//! The data directory: its files, its lock, and the database in it.

use std::path::Path;

use anyhow::{Context, Result};
use control::{Control, MasterKey, Migrated};

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
    let key = files::secret(&dir.join(MASTER_KEY), || random::<32>().to_vec())?;
    let key: [u8; 32] = key.try_into().ok().with_context(|| {
        format!("{} must hold exactly 32 bytes", dir.join(MASTER_KEY).display())
    })?;
    let path = dir.join(DATABASE);
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

/// `aw_` makes it easy to find for scanners that look for leaked secrets.
pub(super) fn api_token() -> String {
    let secret = control::Secret::from_random(random());
    format!("aw_{}\n", secret.expose())
}
