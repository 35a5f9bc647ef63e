//! Small file systems of a test's own: a disk that is really full, a disk that loses what was not synced.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::wait::{skip, skipped};

/// A mounted file system. Dropping it unmounts it.
pub struct Mount {
    folder: tempfile::TempDir,
    at: PathBuf,
}

/// Whether this process may mount file systems. If the system forbids it, as containers do, the tests that need it are
/// listed as skipped with its words, under the name `mounts`, which also switches them off. A tool that is missing is a
/// failure.
pub fn can_mount() -> bool {
    if skip("mounts") {
        return false;
    }
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    make_image(&image, 4);
    let forbidden = Mount::image(&image).err().or_else(|| Mount::memory(1).err());
    if let Some(words) = &forbidden {
        skipped("mounts", &format!("not allowed here: {words}"));
    }
    forbidden.is_none()
}

impl Mount {
    /// A file system in memory that holds so many MiB, or the system's words where that is not allowed.
    pub fn memory(mib: u32) -> Result<Self, String> {
        Self::of(&["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"])
    }

    /// The file system in an image that [`make_image`] made. What is written to it reaches the image
    /// when it is synced: nothing is written back by the clock within a test's time.
    pub fn image(image: &Path) -> Result<Self, String> {
        Self::of(&["-o", "loop,commit=600", image.to_str().unwrap()])
    }

    fn of(what: &[&str]) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("mounted");
        std::fs::create_dir(&at).unwrap();
        let mounted = Command::new("mount").args(what).arg(&at).output();
        let mounted = mounted.unwrap_or_else(|error| {
            panic!("can't start mount: {error}; AIRWAVE_TEST_SKIP=mounts does without it")
        });
        let words = String::from_utf8_lossy(&mounted.stderr);
        let told = || words.lines().next().unwrap_or_default().trim().to_owned();
        mounted.status.success().then_some(Self { folder, at }).ok_or_else(told)
    }

    /// Changes how it is mounted: `ro`, `rw`.
    pub fn remount(&self, how: &str) {
        let options = format!("remount,{how}");
        let done = Command::new("mount").args(["-o", &options]).arg(&self.at).output().unwrap();
        let words = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "can't mount it {how}: {words}");
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.at
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = self.folder.path();
        // Lazily: a server that is being killed may still have files open.
        let _ = Command::new("umount").arg("-l").arg(&self.at).output();
    }
}

/// Makes an image of so many MiB with an empty file system in it.
pub fn make_image(image: &Path, mib: u64) {
    let file = std::fs::File::create(image).unwrap();
    file.set_len(mib << 20).unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image).output();
    let made = made.unwrap_or_else(|error| panic!("can't start mkfs.ext4: {error}"));
    assert!(made.status.success(), "mkfs.ext4: {}", String::from_utf8_lossy(&made.stderr));
}
