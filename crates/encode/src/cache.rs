//! Made segments on the disk: what memory has no more, and what a server before this one has made.
//!
//! A file is one segment of one level, in a folder of its video. It is written under another name and renamed, and says
//! its own hash: one that a crash has cut short is not there. Files of another ladder's version are never asked for, and
//! go as the oldest. Nothing here is the only copy of anything, and where the disk has little room there is less of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};

use crate::limits::{CACHE_FILE_BYTES_MIN, CACHE_GONE_MAX};

/// Which segment of which level of which video.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    /// The video's uid.
    pub(crate) video: String,
    /// Of everything by which a level's bytes differ from others.
    pub(crate) level: u64,
    /// The ownership under which the original was made.
    pub(crate) epoch: u64,
    /// The segment.
    pub(crate) number: u64,
}

/// A folder of made segments.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    bytes_max: u64,
    /// The last one was not written.
    failing: AtomicBool,
    /// Held while a folder gets its first file, or goes with its last one.
    folders: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<Name, File>,
    /// The same by when they were used last; no two at one time.
    by_use: BTreeMap<u64, Name>,
    /// Videos that are gone: what is still being made of them is not kept.
    gone: BTreeSet<String>,
    bytes: u64,
    /// Of those that are being written.
    reserved: u64,
    /// How many were begun to be written.
    written: u64,
    /// At most so many, by what the disk has room for.
    room: u64,
    clock: u64,
}

#[derive(Debug)]
struct File {
    bytes: u64,
    used: u64,
}

impl File {
    /// A small one takes a block and a name, too.
    fn weight(&self) -> u64 {
        self.bytes.max(CACHE_FILE_BYTES_MIN)
    }
}

const ENDING: &str = "level";
const MAGIC: &[u8; 8] = b"AWLEVEL1";
const HASH: usize = 32;

impl Cache {
    /// Takes up what is there. Blocks.
    pub(crate) fn open(folder: PathBuf, bytes_max: u64) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let state = State { room: bytes_max, ..State::default() };
        let (failing, folders, state) = (AtomicBool::default(), Mutex::default(), state.into());
        let cache = Self { folder, bytes_max, failing, folders, state };
        let mut found = Vec::new();
        for video in fs::read_dir(&cache.folder)?.flatten() {
            let uid = video.file_name().to_string_lossy().into_owned();
            for file in fs::read_dir(video.path()).into_iter().flatten().flatten() {
                let name = Name::parse(&uid, &file.file_name().to_string_lossy());
                match (name, file.metadata()) {
                    (Some(name), Ok(about)) => {
                        let used = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                        found.push((used, name, about.len()));
                    }
                    // Half written when a server ended.
                    _ => _ = fs::remove_file(file.path()),
                }
            }
        }
        found.sort();
        {
            let mut state = cache.state();
            for (_, name, bytes) in found {
                state.insert(name, bytes);
            }
        }
        cache.shrink();
        Ok(cache)
    }

    /// The parts of a segment. Blocks.
    pub(crate) fn get(&self, name: &Name) -> Option<Vec<Bytes>> {
        self.state().touch(name)?;
        let path = self.path(name);
        let parts = fs::read(&path).ok().and_then(|file| read(file.into()));
        match &parts {
            // So that it is known after a restart, too.
            Some(_) => {
                _ = fs::File::options()
                    .append(true)
                    .open(&path)
                    .and_then(|f| f.set_modified(SystemTime::now()));
            }
            None => self.remove(name),
        }
        parts
    }

    /// Keeps a segment, at the expense of those that were not used for longest. Blocks.
    pub(crate) fn put(&self, name: Name, parts: &[Vec<Bytes>]) -> io::Result<()> {
        let file = written(parts);
        let bytes = file.len() as u64;
        let weight = bytes.max(CACHE_FILE_BYTES_MIN);
        let number = {
            let mut state = self.state();
            // Several are written at one time, perhaps.
            if bytes > state.room / 4 || state.reserved.saturating_add(weight) > state.room {
                return Ok(());
            }
            state.reserved += weight;
            state.written += 1;
            state.written
        };
        self.shrink();
        let written = self.write(&name, number, &file);
        let mut state = self.state();
        state.reserved -= weight;
        written?;
        let gone = state.gone.contains(&name.video);
        match gone {
            true => {
                drop(state);
                self.unlink(&name);
            }
            false => state.insert(name, bytes),
        }
        Ok(())
    }

    /// Under a name of its own at first, by its number: two may be the same segment.
    fn write(&self, name: &Name, number: u64, file: &[u8]) -> io::Result<()> {
        let path = self.path(name);
        let half = path.with_extension(format!("{number}.half"));
        let created = {
            let _folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
            fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
            fs::File::create(&half)
        };
        let written = created.and_then(|mut f| f.write_all(file));
        written.and_then(|()| fs::rename(&half, &path)).inspect_err(|_| {
            let _ = fs::remove_file(&half);
        })
    }

    /// A video is gone, and all that was made of it. Blocks.
    pub(crate) fn forget(&self, video: &str) {
        let mut state = self.state();
        if state.gone.len() >= CACHE_GONE_MAX {
            state.gone.clear();
        }
        state.gone.insert(video.to_owned());
        let of = |level, number| Name { video: video.to_owned(), level, epoch: level, number };
        let names: Vec<Name> =
            state.files.range(of(0, 0)..=of(u64::MAX, u64::MAX)).map(|(n, _)| n.clone()).collect();
        for name in &names {
            state.remove(name);
        }
        drop(state);
        let folder = self.folder.join(video);
        if !names.is_empty() && folder.parent() == Some(self.folder.as_path()) {
            let _ = fs::remove_dir_all(folder);
        }
    }

    /// The disk has so many bytes for it beside those that it has, or lacks so many: it gives those back, and no more than
    /// that is kept until it hears otherwise. Blocks.
    pub(crate) fn fit(&self, beside: i64) {
        {
            let mut state = self.state();
            state.room = state.bytes.saturating_add_signed(beside).min(self.bytes_max);
        }
        self.shrink();
    }

    /// Whether people are to be told how the last one was written: not of each that fails.
    pub(crate) fn is_news(&self, failed: bool) -> bool {
        self.failing.swap(failed, Ordering::Relaxed) != failed
    }

    /// Bytes that are kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.state().bytes
    }

    /// To what there is room for, beside what is being written.
    fn shrink(&self) {
        let mut gone = Vec::new();
        {
            let mut state = self.state();
            while state.bytes.saturating_add(state.reserved) > state.room {
                let Some((_, oldest)) = state.by_use.pop_first() else { break };
                state.remove(&oldest);
                gone.push(oldest);
            }
        }
        gone.iter().for_each(|name| self.unlink(name));
    }

    /// Blocks.
    pub(crate) fn remove(&self, name: &Name) {
        self.state().remove(name);
        self.unlink(name);
    }

    fn unlink(&self, name: &Name) {
        let path = self.path(name);
        let _ = fs::remove_file(&path);
        let _folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        // Only when it was the last one.
        let _ = path.parent().map(fs::remove_dir);
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.folder.join(&name.video).join(name.file())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, name: Name, bytes: u64) {
        self.remove(&name);
        self.clock += 1;
        let file = File { bytes, used: self.clock };
        self.bytes += file.weight();
        self.by_use.insert(self.clock, name.clone());
        self.files.insert(name, file);
    }

    fn remove(&mut self, name: &Name) {
        if let Some(file) = self.files.remove(name) {
            self.bytes -= file.weight();
            self.by_use.remove(&file.used);
        }
    }

    /// It is used now.
    fn touch(&mut self, name: &Name) -> Option<()> {
        let file = self.files.get_mut(name)?;
        self.clock += 1;
        let before = std::mem::replace(&mut file.used, self.clock);
        if let Some(name) = self.by_use.remove(&before) {
            self.by_use.insert(self.clock, name);
        }
        Some(())
    }
}

impl Name {
    fn file(&self) -> String {
        format!("{:016x}-{}-{}.{ENDING}", self.level, self.epoch, self.number)
    }

    fn parse(video: &str, file: &str) -> Option<Self> {
        let path = Path::new(file);
        if path.extension()? != ENDING {
            return None;
        }
        let mut fields = path.file_stem()?.to_str()?.split('-');
        let level = u64::from_str_radix(fields.next()?, 16).ok()?;
        let (epoch, number) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let name = Self { video: video.to_owned(), level, epoch, number };
        (name.file() == file).then_some(name)
    }
}

/// Magic, hash of what follows, number of parts, their lengths, the parts.
fn written(parts: &[Vec<Bytes>]) -> Vec<u8> {
    let mut rest = BytesMut::new();
    rest.put_u32(u32::try_from(parts.len()).unwrap_or(u32::MAX));
    for part in parts {
        let bytes: usize = part.iter().map(Bytes::len).sum();
        rest.put_u32(u32::try_from(bytes).unwrap_or(u32::MAX));
    }
    parts.iter().flatten().for_each(|piece| rest.put_slice(piece));
    let mut file = MAGIC.to_vec();
    file.extend_from_slice(&Sha256::digest(&rest));
    file.extend_from_slice(&rest);
    file
}

fn read(mut file: Bytes) -> Option<Vec<Bytes>> {
    if file.len() < MAGIC.len() + HASH || file.split_to(MAGIC.len()) != MAGIC[..] {
        return None;
    }
    let hash = file.split_to(HASH);
    if Sha256::digest(&file)[..] != hash[..] {
        return None;
    }
    // What has this hash was written by us.
    let mut parts = Vec::new();
    let count = file.try_get_u32().ok()?;
    let mut lengths = Vec::new();
    for _ in 0..count {
        lengths.push(file.try_get_u32().ok()? as usize);
    }
    for length in lengths {
        if length > file.len() {
            return None;
        }
        parts.push(file.split_to(length));
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    fn name(video: &str, number: u64) -> Name {
        Name { video: video.to_owned(), level: 0xabc, epoch: 3, number }
    }

    fn parts(fill: u8) -> Vec<Vec<Bytes>> {
        vec![
            vec![Bytes::from(vec![fill; 10]), Bytes::from(vec![fill; 9_000])],
            vec![],
            vec![Bytes::from_static(b"x")],
        ]
    }

    fn joined(parts: &[Vec<Bytes>]) -> Vec<Bytes> {
        parts.iter().map(|part| part.concat().into()).collect()
    }

    #[test]
    fn what_is_kept_is_there_after_a_restart_and_within_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path().join("levels"), 100_000).unwrap();
        assert_eq!(cache.get(&name("a", 1)), None);
        for number in 0..8 {
            cache.put(name("a", number), &parts(number as u8)).unwrap();
        }
        assert_eq!(cache.get(&name("a", 0)), Some(joined(&parts(0))), "used: it stays");
        drop(cache);
        let cache = Cache::open(dir.path().join("levels"), 100_000).unwrap();
        for number in 8..13 {
            cache.put(name("b", number), &parts(number as u8)).unwrap();
        }
        assert!(cache.bytes() <= 100_000, "{}", cache.bytes());
        for (video, number, there) in
            [("a", 1, false), ("a", 2, false), ("a", 3, true), ("a", 0, true), ("b", 12, true)]
        {
            assert_eq!(cache.get(&name(video, number)).is_some(), there, "{video} {number}");
        }
        // Another level, another ownership, another video: something else.
        for other in
            [Name { level: 1, ..name("a", 0) }, Name { epoch: 4, ..name("a", 0) }, name("b", 0)]
        {
            assert_eq!(cache.get(&other), None, "{other:?}");
        }
        cache.put(name("b", 12), &parts(12)).unwrap();
        let state = cache.state();
        let by_use: BTreeMap<u64, Name> =
            state.files.iter().map(|(name, file)| (file.used, name.clone())).collect();
        assert_eq!((&by_use, by_use.len()), (&state.by_use, state.files.len()));
        drop(state);
        cache.fit(50_000 - cache.bytes() as i64);
        assert!(cache.bytes() <= 50_000);
        cache.fit(i64::MIN);
        assert_eq!(
            (cache.bytes(), fs::read_dir(dir.path().join("levels")).unwrap().count()),
            (0, 0)
        );
    }

    /// What is given back is not taken again by the next segments: they take the place of others.
    #[test]
    fn where_the_disk_has_little_room_no_more_is_kept_than_fits() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path().to_owned(), 100_000).unwrap();
        let put = |numbers: std::ops::Range<u64>| {
            numbers.for_each(|number| cache.put(name("a", number), &parts(1)).unwrap());
            cache.bytes()
        };
        assert!(put(0..20) > 80_000);
        for (beside, most) in [(-40_000, 60_000), (-15_000, 45_000), (0, 45_000), (5_000, 50_000)] {
            cache.fit(beside);
            let before = cache.bytes();
            assert!(before <= most, "{beside}: {before}");
            assert!(put(20..40) <= before.saturating_add_signed(beside.max(0)), "{beside}");
        }
        assert!(cache.get(&name("a", 39)).is_some(), "the newest stay");
        cache.fit(-1_000_000_000);
        assert_eq!(put(40..60), 0);
        cache.fit(i64::MAX);
        assert!(put(60..80) > 80_000, "there is room again");
    }

    #[test]
    fn many_that_are_written_at_one_time_are_within_the_bound_together() {
        const WRITERS: usize = 8;
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path().to_owned(), 100_000).unwrap();
        let large = vec![vec![Bytes::from(vec![1; 24_000])]];
        let together = Barrier::new(WRITERS);
        std::thread::scope(|scope| {
            for writer in 0..WRITERS as u64 {
                let (cache, large, together, dir) = (&cache, &large, &together, &dir);
                scope.spawn(move || {
                    for number in 0..20 {
                        together.wait();
                        // Every other time the same segment as others.
                        let other = if number % 2 == 0 { 100 * writer } else { 0 };
                        cache.put(name("a", other + number), large).unwrap();
                        together.wait();
                        assert!(cache.bytes() <= 100_000, "{} bytes", cache.bytes());
                        let files = fs::read_dir(dir.path().join("a")).into_iter().flatten();
                        let bytes = files.map(|file| file.unwrap().metadata().unwrap().len());
                        assert!(bytes.sum::<u64>() <= 100_000);
                    }
                });
            }
        });
        assert_eq!(cache.state().reserved, 0);
    }

    #[test]
    fn a_disk_that_fails_is_told_once_and_once_when_it_is_well() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("levels");
        let cache = Cache::open(folder.clone(), 100_000).unwrap();
        let put = |number| {
            let put = cache.put(name("a", number), &parts(1));
            (put.is_err(), cache.is_news(put.is_err()))
        };
        assert_eq!(put(1), (false, false));
        fs::remove_dir_all(&folder).unwrap();
        fs::write(&folder, "in its place").unwrap();
        assert_eq!([put(2), put(3), put(4)], [(true, true), (true, false), (true, false)]);
        fs::remove_file(&folder).unwrap();
        assert_eq!([put(5), put(6)], [(false, true), (false, false)]);
    }

    #[test]
    fn what_is_broken_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let good = written(&parts(7));
        assert_eq!(read(good.clone().into()), Some(joined(&parts(7))));
        for at in (0..good.len()).step_by(97).chain(0..60) {
            assert_eq!(read(good[..at].to_vec().into()), None, "cut at {at}");
            let mut changed = good.clone();
            changed[at] ^= 1;
            assert_eq!(read(changed.into()), None, "changed at {at}");
        }
        let cache = Cache::open(dir.path().to_owned(), 100_000).unwrap();
        cache.put(name("a", 1), &parts(1)).unwrap();
        let path = cache.path(&name("a", 1));
        fs::write(&path, &good[..100]).unwrap();
        fs::write(path.with_file_name("0000000000000abc-3-2.half"), "half").unwrap();
        fs::write(path.with_file_name("x.level"), "strange").unwrap();
        assert_eq!(cache.get(&name("a", 1)), None);
        assert!(!path.exists() && cache.bytes() == 0, "it is forgotten");
        let cache = Cache::open(dir.path().to_owned(), 100_000).unwrap();
        assert_eq!((cache.bytes(), fs::read_dir(path.parent().unwrap()).unwrap().count()), (0, 0));
    }

    #[test]
    fn with_a_video_go_its_levels_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path().to_owned(), 1_000_000).unwrap();
        for video in ["a", "ab", "b"] {
            cache.put(name(video, 1), &parts(1)).unwrap();
        }
        cache.forget("a");
        cache.forget("..");
        cache.forget("");
        assert!(!dir.path().join("a").exists());
        for (video, there) in [("a", false), ("ab", true), ("b", true)] {
            assert_eq!(cache.get(&name(video, 1)).is_some(), there, "{video}");
        }
    }
}
