//! A consistent copy of a data directory, made while a server uses it or not; and back.
//!
//! The database is copied first, in one moment; then every object that this copy names. Objects are written once and never
//! changed, so what is missing can only have been deleted meanwhile (by retention, by its owner): then the database
//! is copied again, which no longer names it. The mark that makes a folder a backup is written last.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use control::{Control, MasterKey, Page, VideoFilter, VideoUid};
use record::History;
use serde::{Deserialize, Serialize};
use store::Store;

use crate::files;
use crate::ingest::now_ms;
use crate::limits::BACKUP_ROUNDS_MAX;
use crate::node::{API_TOKEN, DATABASE, MASTER_KEY, MEDIA};
use crate::tls;

/// The mark of a backup that is complete.
const MARK: &str = "airwave-backup.json";

/// The format of backups that this program makes and knows.
const FORMAT: u32 = 1;

/// What the mark says.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    format: u32,
    version: String,
    made_ms: u64,
    videos: u64,
    objects: u64,
    bytes: u64,
}

/// What was copied.
#[derive(Debug, Default, Clone)]
pub(crate) struct Copied {
    pub(crate) videos: u64,
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    /// Objects that the index names and the store does not have: recordings with holes.
    pub(crate) missing: u64,
    /// Objects that have another length than the index says, in words.
    pub(crate) damaged: Vec<String>,
    /// Restored: in all, it is not what the backup had when it was made.
    pub(crate) differs: Option<String>,
    /// Backups: of which time, in milliseconds since 1970.
    pub(crate) made_ms: u64,
}

/// What the index names and nobody has.
type Missing = BTreeSet<String>;

/// Copies the data directory `data` into the new or empty folder `to`. `progress` hears of every object.
pub(crate) async fn backup(
    data: &Path,
    to: &Path,
    mut progress: impl FnMut(&Copied),
) -> Result<Copied> {
    let database = data.join(DATABASE);
    if !database.is_file() {
        bail!("{} is no data directory: there is no {DATABASE} in it", data.display());
    }
    empty_folder(to)?;
    let made_ms = now_ms();
    copy_keys(data, to)?;
    let copy = to.join(DATABASE);
    let mut still_missing = Missing::new();
    let mut round = 0;
    loop {
        round += 1;
        if round > 1 {
            fs::remove_file(&copy).context("can't begin anew")?;
        }
        Control::copy(&database, &copy)
            .with_context(|| format!("can't copy {}", database.display()))?;
        private(&copy)?;
        let control = Arc::new(open(&copy, to)?);
        let store = Store::open_to_read(&data.join(MEDIA)).with_context(|| {
            format!("can't read the recordings in {}", data.join(MEDIA).display())
        })?;
        let history = History::new(control, Arc::new(store));
        let (copied, missing) =
            copy_objects(&history, &data.join(MEDIA), &to.join(MEDIA), &mut progress).await?;
        // What is missing twice was not deleted in between: it is gone in the source too.
        if missing.iter().all(|key| still_missing.contains(key)) || round >= BACKUP_ROUNDS_MAX {
            let copied = Copied { made_ms, missing: missing.len() as u64, ..copied };
            drop(history);
            finish(&copied, to)?;
            return Ok(copied);
        }
        still_missing = missing;
    }
}

/// Writes what makes the folder a complete backup.
fn finish(copied: &Copied, to: &Path) -> Result<()> {
    let mark = Mark {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made_ms: copied.made_ms,
        videos: copied.videos,
        objects: copied.objects,
        bytes: copied.bytes,
    };
    let mut json = serde_json::to_vec_pretty(&mark)?;
    json.push(b'\n');
    files::write_atomically(&to.join(MARK), &json)?;
    File::open(to)?.sync_all().context("can't sync the folder")
}

/// Makes a data directory of the backup `from` in the new or empty folder `to`.
pub(crate) async fn restore(
    from: &Path,
    to: &Path,
    mut progress: impl FnMut(&Copied),
) -> Result<Copied> {
    let mark = read_mark(from)?;
    empty_folder(to)?;
    copy_keys(from, to)?;
    // Under its own name only when everything is there.
    let copy = to.join("airwave.db.restoring");
    Control::copy(&from.join(DATABASE), &copy).context("can't copy the database")?;
    private(&copy)?;
    let control = Arc::new(open(&copy, to)?);
    let store =
        Store::open_to_read(&from.join(MEDIA)).context("can't read the backup's recordings")?;
    let history = History::new(control.clone(), Arc::new(store));
    let (copied, missing) =
        copy_objects(&history, &from.join(MEDIA), &to.join(MEDIA), &mut progress).await?;
    control.restored(now_ms()).await.context("can't end the broadcasts of the backup")?;
    drop(history);
    drop(control);
    fs::rename(&copy, to.join(DATABASE)).context("can't name the database")?;
    File::open(to)?.sync_all().context("can't sync the folder")?;
    let differs = (copied.objects, copied.bytes) != (mark.objects, mark.bytes);
    let differs = differs.then(|| {
        let Mark { objects, bytes, .. } = mark;
        format!("the backup had {objects} objects with {bytes} bytes when it was made")
    });
    Ok(Copied { missing: missing.len() as u64, made_ms: mark.made_ms, differs, ..copied })
}

fn read_mark(from: &Path) -> Result<Mark> {
    let path = from.join(MARK);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(
            "{} is no backup, or one that was not finished: there is no {MARK} in it",
            from.display()
        ),
        Err(error) => return Err(error).with_context(|| format!("can't read {}", path.display())),
    };
    let mark: Mark = serde_json::from_slice(&text)
        .with_context(|| format!("{} is not what `airwave backup` writes", path.display()))?;
    if mark.format > FORMAT {
        bail!(
            "{} was made by a newer Airwave ({}, format {}; this program knows {FORMAT}): use that version",
            from.display(),
            mark.version,
            mark.format
        );
    }
    Ok(mark)
}

/// Makes a folder that only its owner can read, or takes an empty one.
fn empty_folder(path: &Path) -> Result<()> {
    match fs::read_dir(path) {
        Ok(mut entries) => {
            if entries.any(|e| e.is_ok_and(|e| e.file_name() != "lost+found")) {
                bail!("{} is not empty: name a folder that is, or a new one", path.display());
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.with_context(|| format!("can't make {}", path.display()))?;
        }
        Err(error) => return Err(error).with_context(|| format!("can't read {}", path.display())),
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        .with_context(|| format!("can't keep {} from others", path.display()))
}

/// Only its owner may read it.
fn private(path: &Path) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("can't keep {} from others", path.display()))
}

/// The key that the stream keys are encrypted with, the API token, the certificate.
fn copy_keys(from: &Path, to: &Path) -> Result<()> {
    for (name, needed) in
        [(MASTER_KEY, true), (API_TOKEN, false), (tls::CERTIFICATE, false), (tls::KEY, false)]
    {
        let bytes = match fs::read(from.join(name)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound && !needed => continue,
            Err(error) => {
                let name = from.join(name);
                return Err(error).with_context(|| format!("can't read {}", name.display()));
            }
        };
        match name {
            tls::CERTIFICATE => files::write_atomically(&to.join(name), &bytes)?,
            _ => drop(files::secret(&to.join(name), || bytes)?),
        }
    }
    acme::keep::copy(from, to).context("can't copy the certificates of authorities")
}

fn open(database: &Path, keys: &Path) -> Result<Control> {
    let key = fs::read(keys.join(MASTER_KEY)).context("can't read the master key")?;
    let key: [u8; 32] = key.try_into().ok().context("the master key has not 32 bytes")?;
    Control::open(database, MasterKey::new(&key)).context("can't open the copy of the database")
}

/// Copies what the index names; answers what is not there.
async fn copy_objects(
    history: &History,
    from: &Path,
    to: &Path,
    progress: &mut impl FnMut(&Copied),
) -> Result<(Copied, Missing)> {
    let mut copied = Copied::default();
    let mut missing: Missing = BTreeSet::new();
    fs::create_dir_all(to.join("o"))?;
    copy_file(&from.join("format"), &to.join("format")).context("can't copy the media's format")?;
    let mut kept = BTreeSet::new();
    for video in videos(history.control()).await? {
        let named = history.named_or_there(&video).await;
        let sizes = history.sizes(&video).await;
        history.forget(&video);
        let (named, lost) =
            named.with_context(|| format!("can't read the index of video {video}"))?;
        if lost {
            missing.insert(format!("a page of the index of video {video}"));
        }
        let sizes = sizes.with_context(|| format!("can't read the index of video {video}"))?;
        copied.videos += 1;
        kept.insert(video.to_string());
        let folder = to.join("o").join(video.as_str());
        fs::create_dir_all(&folder)?;
        for key in named {
            match copy_file(&from.join(key.as_str()), &to.join(key.as_str())) {
                Ok(bytes) => {
                    copied.objects += 1;
                    copied.bytes += bytes;
                    if let Some(size) = sizes.get(&key).filter(|size| **size != bytes) {
                        let key = key.as_str();
                        copied.damaged.push(format!("{key} has {bytes} bytes instead of {size}"));
                    }
                    progress(&copied);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    missing.insert(key.as_str().to_owned());
                }
                Err(error) if unreadable(&from.join(key.as_str())) => {
                    copied.damaged.push(format!("{} can't be read: {error}", key.as_str()));
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("can't copy {}", key.as_str()));
                }
            }
        }
        File::open(&folder)?.sync_all()?;
    }
    // What an earlier round copied of a video that was deleted since.
    for entry in fs::read_dir(to.join("o"))? {
        let entry = entry?;
        if !kept.contains(&*entry.file_name().to_string_lossy()) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok((copied, missing))
}

async fn videos(control: &Control) -> Result<Vec<VideoUid>> {
    let mut found = Vec::new();
    let mut page = Page { newest_first: false, ..Page::default() };
    loop {
        let list = control.videos(VideoFilter::default(), page).await;
        let list = list.context("can't list the videos")?;
        found.extend(list.rows.into_iter().map(|video| video.uid));
        match list.next {
            Some(next) => page.after = Some(next),
            None => return Ok(found),
        }
    }
}

/// One inode for both on one file system, for the bytes never change; a synced copy on another. What is there stays.
fn copy_file(from: &Path, to: &Path) -> std::io::Result<u64> {
    let bytes = match fs::hard_link(from, to) {
        Ok(()) => fs::metadata(to)?.len(),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => fs::metadata(to)?.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(error),
        Err(_) => {
            let partial: PathBuf = to.with_extension("partial");
            let copied = fs::copy(from, &partial);
            let bytes = copied.inspect_err(|_| drop(fs::remove_file(&partial)))?;
            File::open(&partial)?.sync_all()?;
            fs::rename(&partial, to)?;
            bytes
        }
    };
    Ok(bytes)
}

/// Whether it is the source that fails, as a disk with bad sectors does: what can still be read of that must get away from there.
fn unreadable(from: &Path) -> bool {
    let read = File::open(from).and_then(|mut file| std::io::copy(&mut file, &mut std::io::sink()));
    read.is_err()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use control::conformance::{NOW, an_input, claim, segment};
    use control::{Claim, ClaimMode, End, VideoUid};
    use store::Object;

    use super::*;

    fn key_of(video: &VideoUid, record: &control::SegmentRecord) -> store::Key {
        let object = Object {
            video: video.to_string(),
            kind: store::Kind::Segment,
            epoch: record.epoch.0,
            number: record.number,
            random: record.object.unwrap(),
        };
        store::Key::new(&object).unwrap()
    }

    fn media(record: &control::SegmentRecord) -> Vec<u8> {
        vec![7; usize::try_from(record.bytes).unwrap()]
    }

    /// A data directory with two recordings of two segments.
    async fn data_directory(dir: &Path) -> Vec<VideoUid> {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join(MASTER_KEY), [7; 32]).unwrap();
        fs::write(dir.join(API_TOKEN), "aw_token\n").unwrap();
        let control = open(&dir.join(DATABASE), dir).unwrap();
        let store = Store::open(&dir.join(MEDIA)).unwrap();
        an_input(&control, 1).await;
        let mut videos = Vec::new();
        for session in [1, 2] {
            let wanted = Claim { now_ms: NOW, ..claim(session, ClaimMode::IfFree, NOW) };
            let claimed = control.claim(wanted).await.unwrap();
            let owned = claimed.owned;
            for number in claimed.first_segment..claimed.first_segment + 2 {
                let record = segment(&owned, number);
                let key = key_of(&owned.video, &record);
                store.put(&key, vec![Bytes::from(media(&record))]).await.unwrap();
                control.commit(&owned, vec![record], 0).await.unwrap();
            }
            control.release(&owned, End::Goodbye, NOW).await.unwrap();
            videos.push(owned.video);
        }
        videos
    }

    async fn named(dir: &Path, video: &VideoUid) -> BTreeSet<store::Key> {
        let control = Arc::new(open(&dir.join(DATABASE), dir).unwrap());
        let store = Arc::new(Store::open_to_read(&dir.join(MEDIA)).unwrap());
        History::new(control, store).named(video).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_deleted_meanwhile_is_in_neither_the_index_nor_the_objects_of_the_backup() {
        let folder = tempfile::tempdir().unwrap();
        let (data, to) = (folder.path().join("data"), folder.path().join("backup"));
        let videos = data_directory(&data).await;
        // When the first object of the first video is copied, the second video is deleted, records first.
        let mut deleted = false;
        let (source, doomed) = (data.clone(), videos[1].clone());
        let copied = backup(&data, &to, |_| {
            if std::mem::replace(&mut deleted, true) {
                return;
            }
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    let control = open(&source.join(DATABASE), &source).unwrap();
                    runtime.block_on(control.delete_video(&doomed, NOW)).unwrap();
                    fs::remove_dir_all(source.join(MEDIA).join("o").join(doomed.as_str())).unwrap();
                });
            });
        })
        .await
        .unwrap();
        assert_eq!((copied.videos, copied.objects, copied.missing), (1, 2, 0));
        for key in named(&to, &videos[0]).await {
            let copy = fs::read(to.join(MEDIA).join(key.as_str())).unwrap();
            assert!(!copy.is_empty() && copy.iter().all(|byte| *byte == 7));
        }
        assert_eq!(named(&to, &videos[1]).await, BTreeSet::new());
        assert!(!to.join(MEDIA).join("o").join(videos[1].as_str()).exists());
    }

    #[tokio::test]
    async fn what_is_missing_in_the_source_is_counted_and_the_rest_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (data, to) = (folder.path().join("data"), folder.path().join("backup"));
        let videos = data_directory(&data).await;
        let lost = named(&data, &videos[0]).await.into_iter().next().unwrap();
        fs::remove_file(data.join(MEDIA).join(lost.as_str())).unwrap();
        let copied = backup(&data, &to, |_| {}).await.unwrap();
        assert_eq!((copied.videos, copied.objects, copied.missing), (2, 3, 1));
        let again = folder.path().join("again");
        let restored = restore(&to, &again, |_| {}).await.unwrap();
        assert_eq!((restored.objects, restored.missing), (3, 1));
        assert_eq!(named(&again, &videos[1]).await.len(), 2);
    }

    #[tokio::test]
    async fn what_has_lost_bytes_is_named_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (data, to) = (folder.path().join("data"), folder.path().join("backup"));
        let videos = data_directory(&data).await;
        let made = backup(&data, &to, |_| {}).await.unwrap();
        assert_eq!((made.damaged.as_slice(), &made.differs), ([].as_slice(), &None));
        let whole = restore(&to, &folder.path().join("whole"), |_| {}).await.unwrap();
        assert_eq!((whole.damaged.as_slice(), &whole.differs), ([].as_slice(), &None));
        let key = named(&to, &videos[0]).await.into_iter().next().unwrap();
        let file = to.join(MEDIA).join(key.as_str());
        let size = fs::metadata(&file).unwrap().len();
        // A file of its own: the others are the same on the disk.
        fs::remove_file(&file).unwrap();
        fs::write(&file, [7; 10]).unwrap();
        let again = folder.path().join("again");
        let restored = restore(&to, &again, |_| {}).await.unwrap();
        let words = format!("{} has 10 bytes instead of {size}", key.as_str());
        assert_eq!(restored.damaged, [words]);
        let differs = restored.differs.unwrap();
        assert!(differs.contains(&format!("{} bytes", made.bytes)), "{differs}");
        assert_eq!(named(&again, &videos[1]).await.len(), 2, "the rest is kept");
    }

    /// A folder in its place can't be read either.
    #[tokio::test]
    async fn what_can_not_be_read_is_named_and_the_rest_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (data, to) = (folder.path().join("data"), folder.path().join("backup"));
        let videos = data_directory(&data).await;
        let key = named(&data, &videos[0]).await.into_iter().next().unwrap();
        let file = data.join(MEDIA).join(key.as_str());
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        let copied = backup(&data, &to, |_| {}).await.unwrap();
        assert_eq!((copied.videos, copied.objects, copied.missing), (2, 3, 0));
        let words = format!("{} can't be read: ", key.as_str());
        assert!(matches!(&copied.damaged[..], [said] if said.starts_with(&words)), "{copied:?}");
        let restored = restore(&to, &folder.path().join("again"), |_| {}).await.unwrap();
        assert_eq!((restored.objects, restored.missing), (3, 1));
    }

    #[tokio::test]
    async fn a_backup_that_was_not_finished_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let (data, to) = (folder.path().join("data"), folder.path().join("backup"));
        data_directory(&data).await;
        backup(&data, &to, |_| {}).await.unwrap();
        fs::remove_file(to.join(MARK)).unwrap();
        let error = restore(&to, &folder.path().join("again"), |_| {}).await.unwrap_err();
        assert!(error.to_string().contains("not finished"), "{error}");
    }
}
