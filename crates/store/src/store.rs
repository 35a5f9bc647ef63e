//! [`Store`]: what the rest of the node asks of its objects.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use tokio::sync::{Semaphore, oneshot};

use crate::error::{DeleteError, OpenError, PutError, ReadError};
use crate::key::Key;
use crate::limits::{LIST_KEYS, QUEUE_KIB, READ_BYTES};
use crate::local::{self, Put, Putter};

/// The node's objects. Share it in an `Arc`. Its methods need a tokio runtime.
#[derive(Debug)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    /// On a local disk: who puts, and where.
    local: Option<(Putter, PathBuf)>,
    room: Arc<Semaphore>,
    /// Bytes of all puts.
    stored: AtomicU64,
    /// Somebody else's store, perhaps in use: nothing is put or deleted.
    read_only: bool,
}

impl Store {
    /// Opens the store in a directory, or makes it. Starts one thread, which lives as long as the
    /// store. Dropping the store finishes what is queued.
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        local::prepare(root)?;
        let objects = Arc::new(LocalFileSystem::new_with_prefix(root)?);
        let local = Some((Putter::start(root)?, root.to_owned()));
        Ok(Self { objects, local, room: room(), stored: AtomicU64::new(0), read_only: false })
    }

    /// Opens the store in a directory to read it, while another process may be putting into it. Puts and deletes are
    /// refused.
    pub fn open_to_read(root: &Path) -> Result<Self, OpenError> {
        local::check(root)?;
        let objects = Arc::new(LocalFileSystem::new_with_prefix(root)?);
        Ok(Self { objects, local: None, room: room(), stored: AtomicU64::new(0), read_only: true })
    }

    /// A store in memory, for tests.
    pub fn in_memory() -> Self {
        let objects = Arc::new(object_store::memory::InMemory::new());
        Self { objects, local: None, room: room(), stored: AtomicU64::new(0), read_only: false }
    }

    /// Stores an object, given in chunks, under a name that is not in use. When this returns, the
    /// object is durable. Waits for room when [`QUEUE_KIB`] are on their way already. The future may
    /// be dropped: the object is then stored or not, never in part.
    pub async fn put(&self, key: &Key, chunks: Vec<Bytes>) -> Result<(), PutError> {
        if self.read_only {
            return Err(PutError::Closed);
        }
        let bytes = chunks.iter().map(Bytes::len).sum::<usize>();
        let kib = bytes.div_ceil(1024);
        let kib = u32::try_from(kib).unwrap_or(u32::MAX).clamp(1, QUEUE_KIB);
        let room = self.room.clone().acquire_many_owned(kib).await;
        let room = room.map_err(|_| PutError::Closed)?;
        let Some((putter, _)) = &self.local else {
            let payload = PutPayload::from_iter(chunks);
            self.objects.put_opts(&key.path(), payload, PutMode::Create.into()).await?;
            self.stored.fetch_add(bytes as u64, Ordering::Relaxed);
            return Ok(());
        };
        let (answer, answered) = oneshot::channel();
        putter.put(Put { key: key.clone(), chunks, answer, _room: room }).await?;
        answered.await.map_err(|_| PutError::Closed)??;
        self.stored.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(())
    }

    /// A whole object, such as a page of the index.
    pub async fn read(&self, key: &Key) -> Result<Bytes, ReadError> {
        let found = self.objects.get(&key.path()).await?;
        if found.meta.size > READ_BYTES {
            return Err(ReadError::TooLarge);
        }
        Ok(found.bytes().await?)
    }

    /// Bytes of an object, as it was put: each range must be in that and not empty.
    pub async fn read_ranges(
        &self,
        key: &Key,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>, ReadError> {
        let error = match self.objects.get_ranges(&key.path(), ranges).await {
            Ok(read) => {
                let whole = |(bytes, range): (&Bytes, &Range<u64>)| {
                    bytes.len() as u64 == range.end.saturating_sub(range.start)
                };
                let whole = read.iter().zip(ranges).all(whole);
                return if whole { Ok(read) } else { Err(ReadError::Short) };
            }
            Err(error) => ReadError::from(error),
        };
        let end = ranges.iter().map(|range| range.end).max().unwrap_or(0);
        match self.objects.head(&key.path()).await {
            Ok(found) if found.size < end => Err(ReadError::Short),
            _ => Err(error),
        }
    }

    /// The objects of a video with their sizes, in the order of their names. Names that are not ours
    /// are passed over.
    pub async fn list(&self, video: &str) -> Result<Vec<(Key, u64)>, DeleteError> {
        let prefix = Key::prefix(video).map_err(io::Error::other)?;
        let prefix = object_store::path::Path::from(prefix);
        let mut found = Vec::new();
        let mut list = self.objects.list(Some(&prefix));
        while let Some(object) = list.next().await {
            let object = object?;
            if found.len() >= LIST_KEYS {
                return Err(DeleteError::TooMany);
            }
            if let Ok(key) = Key::parse(object.location.as_ref()) {
                found.push((key, object.size));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Deletes one object; one that is not there is deleted. A crash may bring it back on a local
    /// disk: whoever collects orphans finds it again.
    pub async fn delete(&self, key: &Key) -> Result<(), DeleteError> {
        self.writable()?;
        match self.objects.delete(&key.path()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes all objects of a video. When it returns, they are gone for good and the disk has
    /// their room. Call it again after a failure or a crash.
    pub async fn delete_video(&self, video: &str) -> Result<(), DeleteError> {
        self.writable()?;
        let prefix = Key::prefix(video).map_err(io::Error::other)?;
        if let Some((_, root)) = &self.local {
            let root = root.clone();
            let removed = tokio::task::spawn_blocking(move || local::remove(&root, &prefix)).await;
            return Ok(removed.map_err(io::Error::other)??);
        }
        let prefix = object_store::path::Path::from(prefix);
        let names = self.objects.list(Some(&prefix)).map_ok(|object| object.location).boxed();
        self.objects.delete_stream(names).try_for_each(|_| async { Ok(()) }).await?;
        Ok(())
    }

    fn writable(&self) -> io::Result<()> {
        if self.read_only { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }

    /// Bytes of all objects that were put since this was opened.
    pub fn stored_bytes(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    /// Bytes that may still be written to the disk; none if that is not known.
    pub fn free_bytes(&self) -> Option<u64> {
        let (_, root) = self.local.as_ref()?;
        let disk = rustix::fs::statvfs(root).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(QUEUE_KIB as usize))
}
