//! Small files of the data directory: secrets that only their owner may read, the ready file.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};

use crate::config::TOKEN_MIN;

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
            write_mode(path, &bytes, 0o600)?;
            Ok(bytes)
        }
        Err(error) => Err(error).with_context(|| format!("can't read {}", path.display())),
    }
}

/// The word that a file of secrets holds. One that lost it, on a full disk or by hand, is no secret.
pub(crate) fn word(bytes: &[u8], path: &Path) -> Result<String> {
    let word = String::from_utf8_lossy(bytes).trim().to_owned();
    let path = path.display();
    anyhow::ensure!(
        word.len() >= TOKEN_MIN,
        "{path} holds no token of at least {TOKEN_MIN} characters: delete it, and the next start makes a new one"
    );
    Ok(word)
}

/// A file that others can't read, made if it is not there. One that we may not change stays as it is.
pub(crate) fn only_its_owners(path: &Path) -> std::io::Result<()> {
    let Ok(found) = fs::metadata(path) else {
        return OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop);
    };
    if found.mode() & 0o077 != 0 {
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o600));
    }
    Ok(())
}

/// Writes a file under its name at once or not at all.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    write_mode(path, bytes, 0o644)
}

fn write_mode(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = Path::new(&temporary);
    let _ = fs::remove_file(temporary);
    let written = write_new(temporary, bytes, mode).and_then(|()| {
        fs::rename(temporary, path)
            .and_then(|()| sync_name(path))
            .with_context(|| format!("can't write {}", path.display()))
    });
    if written.is_err() {
        let _ = fs::remove_file(temporary);
    }
    written
}

/// A name is on the disk when its folder is: a power cut must not leave a database without the key that it was written with.
fn sync_name(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    let mut file = file.with_context(|| format!("can't write {}", path.display()))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .with_context(|| format!("can't write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let made = secret(&path, || b"aw_0123456789abcdef\n".to_vec()).unwrap();
        assert_eq!(secret(&path, || panic!("it is there")).unwrap(), made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(word(&made, &path).unwrap(), "aw_0123456789abcdef");
        let away = folder.path().join("no/folder");
        assert!(secret(&away, || b"x".to_vec()).is_err());
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "nothing half written stays");
    }

    #[test]
    fn an_empty_file_holds_no_token() {
        for bytes in [&b""[..], b"\n", b" short "] {
            let error = word(bytes, Path::new("d/api-token")).unwrap_err().to_string();
            assert!(error.starts_with("d/api-token holds no token"), "{error}");
        }
    }
}
