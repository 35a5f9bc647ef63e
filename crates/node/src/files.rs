//! Small files of the data directory: secrets that only their owner may read, the ready file.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};

/// Reads a secret, or makes it with `new` at the first start. Mode 0600.
pub(crate) fn secret(path: &Path, new: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>> {
    match fs::File::open(path) {
        Ok(mut file) => {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)
                .with_context(|| format!("can't read {}", path.display()))?;
            Ok(bytes)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let bytes = new();
            write_new(path, &bytes, 0o600)?;
            Ok(bytes)
        }
        Err(error) => Err(error).with_context(|| format!("can't read {}", path.display())),
    }
}

/// Writes a file under its name at once or not at all.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = Path::new(&temporary);
    let _ = fs::remove_file(temporary);
    write_new(temporary, bytes, 0o644)?;
    fs::rename(temporary, path).with_context(|| format!("can't write {}", path.display()))
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    let mut file = file.with_context(|| format!("can't write {}", path.display()))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .with_context(|| format!("can't write {}", path.display()))
}
