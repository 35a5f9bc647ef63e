//! Puts on a local disk: many share their syncs.
//!
//! object_store's `LocalFileSystem` does not sync unless told to (`with_fsync`), and then each put
//! pays for its own file and directory. Here a thread takes what is waiting: writes all files under
//! `tmp/`, syncs them (the first sync commits the file system's journal for all), links each to its
//! name, which fails if there is one, and syncs each directory once. Then all are answered.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::error::{OpenError, PutError};
use crate::key::Key;
use crate::limits::{GROUP_BYTES, GROUP_PUTS, QUEUE_PUTS};

/// What the file `format` says, and the format that this program writes.
const MARK: &str = "airwave media, format ";
const FORMAT: u32 = 1;

/// Chunks in one write; the system takes no more (`IOV_MAX`).
const SLICES: usize = 1_024;

/// One object on its way; `_room` is its share of the queue.
pub(crate) struct Put {
    pub(crate) key: Key,
    pub(crate) chunks: Vec<Bytes>,
    pub(crate) answer: oneshot::Sender<Result<(), PutError>>,
    pub(crate) _room: OwnedSemaphorePermit,
}

/// The thread that puts.
#[derive(Debug)]
pub(crate) struct Putter {
    queue: Option<mpsc::Sender<Put>>,
    thread: Option<JoinHandle<()>>,
}

impl Putter {
    pub(crate) fn start(root: &Path) -> io::Result<Self> {
        let (queue, mut puts) = mpsc::channel::<Put>(QUEUE_PUTS);
        let root = root.to_owned();
        let run = move || {
            let mut made = 0;
            while let Some(first) = puts.blocking_recv() {
                let mut size: usize = first.chunks.iter().map(Bytes::len).sum();
                let mut group = vec![first];
                while group.len() < GROUP_PUTS && size < GROUP_BYTES {
                    let Ok(put) = puts.try_recv() else { break };
                    size += put.chunks.iter().map(Bytes::len).sum::<usize>();
                    group.push(put);
                }
                write(&root, &mut made, group);
            }
        };
        let thread = std::thread::Builder::new().name("store-put".into()).spawn(run)?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    pub(crate) async fn put(&self, put: Put) -> Result<(), PutError> {
        let queue = self.queue.as_ref().ok_or(PutError::Closed)?;
        queue.send(put).await.map_err(|_| PutError::Closed)
    }
}

impl Drop for Putter {
    /// Stores what is queued.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Stores a group and answers all of it.
fn write(root: &Path, made: &mut u64, group: Vec<Put>) {
    let mut staged = Vec::new();
    for put in group {
        *made += 1;
        let at = root.join("tmp").join(made.to_string());
        let file = stage(&at, &put.chunks);
        staged.push((put, at, file));
    }
    failpoint::hit("store.written");
    let mut results: Vec<(Put, PathBuf, io::Result<PathBuf>)> = Vec::new();
    for (put, at, file) in staged {
        let result = file.and_then(|file| file.sync_all()).map(|()| root.join(put.key.as_str()));
        results.push((put, at, result));
    }
    failpoint::hit("store.synced");
    let mut directories = BTreeSet::new();
    for (_, at, result) in &mut results {
        if let Ok(name) = result {
            let linked = link(at, name, &mut directories);
            if let Err(error) = linked {
                *result = Err(error);
            }
        }
    }
    failpoint::hit("store.linked");
    let synced = directories.iter().try_for_each(|directory| File::open(directory)?.sync_all());
    failpoint::hit("store.directories_synced");
    for (put, at, result) in results {
        let _ = fs::remove_file(at);
        let synced = synced.as_ref().map_err(|e| io::Error::new(e.kind(), e.to_string()));
        let result = result.and_then(|_| synced.copied()).map_err(PutError::from);
        // Nobody may be waiting any more.
        let _ = put.answer.send(result);
    }
}

fn stage(at: &Path, chunks: &[Bytes]) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(at)?;
    write_all(&mut file, chunks)?;
    Ok(file)
}

/// A segment has a chunk for each frame: written one by one, the calls cost more than the bytes.
fn write_all(file: &mut impl Write, chunks: &[Bytes]) -> io::Result<()> {
    for chunks in chunks.chunks(SLICES) {
        let mut slices: Vec<IoSlice<'_>> = chunks.iter().map(|chunk| IoSlice::new(chunk)).collect();
        let mut slices = slices.as_mut_slice();
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            match file.write_vectored(slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => IoSlice::advance_slices(&mut slices, n),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Gives the file its name, and notes what must be synced for the name to last.
fn link(at: &Path, name: &Path, directories: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    let directory = name.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let linked = match fs::hard_link(at, name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(directory)?;
            let above = directory.parent().ok_or(io::ErrorKind::InvalidInput)?;
            directories.insert(above.to_owned());
            fs::hard_link(at, name)
        }
        other => other,
    };
    linked?;
    directories.insert(directory.to_owned());
    Ok(())
}

/// Checks that a directory is a store that this program can read.
pub(crate) fn check(root: &Path) -> Result<(), OpenError> {
    match fs::read_to_string(root.join("format")) {
        Ok(text) => check_mark(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(OpenError::Foreign),
        Err(error) => Err(error.into()),
    }
}

fn check_mark(text: &str) -> Result<(), OpenError> {
    let format = text.strip_prefix(MARK).and_then(|n| n.trim_end().parse().ok());
    let found: u32 = format.ok_or(OpenError::Foreign)?;
    if found > FORMAT {
        return Err(OpenError::Newer { found, known: FORMAT });
    }
    Ok(())
}

/// Makes or checks a store's directory, and clears what a crash left in `tmp/`.
pub(crate) fn prepare(root: &Path) -> Result<(), OpenError> {
    fs::create_dir_all(root)?;
    let mark = root.join("format");
    match fs::read_to_string(&mark) {
        Ok(text) => check_mark(&text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // `tmp` alone: we were killed while making it.
            let other = |entry: io::Result<fs::DirEntry>| {
                entry.is_ok_and(|entry| {
                    entry.file_name() != "tmp" && entry.file_name() != "lost+found"
                })
            };
            if fs::read_dir(root)?.any(other) {
                return Err(OpenError::Foreign);
            }
        }
        Err(error) => return Err(error.into()),
    }
    let staging = root.join("tmp");
    fs::create_dir_all(&staging)?;
    for left in fs::read_dir(&staging)? {
        fs::remove_file(left?.path())?;
    }
    if !mark.exists() {
        let text = format!("{MARK}{FORMAT}\n").into();
        stage(&staging.join("format"), &[text])?.sync_all()?;
        failpoint::hit("store.format_staged");
        fs::rename(staging.join("format"), &mark)?;
        File::open(root)?.sync_all()?;
    }
    if !root.join("o").exists() {
        fs::create_dir(root.join("o"))?;
        File::open(root)?.sync_all()?;
    }
    Ok(())
}

/// Deletes all objects of a video; when it returns, they don't come back.
pub(crate) fn remove(root: &Path, prefix: &str) -> io::Result<()> {
    let directory = root.join(prefix);
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    directory.parent().map_or(Ok(()), |above| File::open(above)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes at a time, and is interrupted in between.
    #[derive(Default)]
    struct Slow {
        taken: Vec<u8>,
        calls: usize,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.write_vectored(&[IoSlice::new(bytes)])
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            assert!(slices.len() <= SLICES, "the system would refuse this");
            self.calls += 1;
            if self.calls.is_multiple_of(3) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let some: Vec<u8> = slices.iter().flat_map(|s| s.iter().copied()).take(700).collect();
            self.taken.extend(&some);
            Ok(some.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_chunk_is_written_in_its_order() {
        for sizes in [vec![], vec![0], vec![0, 5, 0, 0, 1_999, 0], vec![3; 2 * SLICES + 5]] {
            let chunks: Vec<Bytes> =
                sizes.iter().enumerate().map(|(n, size)| vec![n as u8; *size].into()).collect();
            let mut file = Slow::default();
            write_all(&mut file, &chunks).unwrap();
            assert!(file.taken == chunks.concat(), "{} chunks", chunks.len());
        }
    }
}
