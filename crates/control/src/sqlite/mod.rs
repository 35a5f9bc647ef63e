//! The embedded engine: SQLite with a write-ahead log, one writer thread with group commit, and
//! readers that never wait for it.

pub(crate) mod audit;
pub(crate) mod chat;
pub(crate) mod documents;
pub(crate) mod index;
pub(crate) mod inputs;
mod names;
pub(crate) mod ownership;
mod schema;
pub(crate) mod videos;
#[cfg(test)]
mod visits;
mod worker;

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{mpsc, oneshot};

use crate::error::{EngineError, OpenError};
use crate::limits::{BUSY_WAIT, CACHE_KIB, READ_QUEUE, READERS, WAL_PAGES, WRITE_QUEUE};
use worker::{Job, ReadJob};

/// An open database and its threads.
#[derive(Debug)]
pub(crate) struct Engine {
    writes: Option<mpsc::Sender<Job>>,
    reads: Option<mpsc::Sender<ReadJob>>,
    writer: Option<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
    path: PathBuf,
    pub(crate) migrated: Option<Migrated>,
}

/// An older database was brought to this program's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// The format that it had.
    pub from: u32,
    /// The one that it has now.
    pub to: u32,
    /// How long that took.
    pub took: Duration,
}

impl Engine {
    /// Opens or makes the database, migrates it if it is older, and starts one writer and
    /// [`READERS`] readers.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let mut db = Connection::open(path)?;
        db.busy_timeout(BUSY_WAIT)?;
        schema::check(&db)?;
        configure(&db)?;
        let begun = Instant::now();
        let from = schema::migrate(&mut db)?;
        let migrated =
            from.map(|from| Migrated { from, to: schema::FORMAT, took: begun.elapsed() });
        let (writes, write_queue) = mpsc::channel(WRITE_QUEUE);
        let (reads, read_queue) = mpsc::channel(READ_QUEUE);
        let writer = Some(spawn("control-write", move || worker::write(db, write_queue))?);
        let mut readers = Vec::with_capacity(READERS);
        let read_queue = std::sync::Arc::new(std::sync::Mutex::new(read_queue));
        for _ in 0..READERS {
            let (path, queue) = (path.to_owned(), read_queue.clone());
            readers.push(spawn("control-read", move || worker::read(&path, &queue))?);
        }
        let path = path.to_owned();
        let (writes, reads) = (Some(writes), Some(reads));
        Ok(Self { writes, reads, writer, readers, path, migrated })
    }

    /// Runs `op` in the next group's transaction and answers when the disk has it. The future may be
    /// dropped: once it was polled and there was room, the operation happens.
    pub(crate) async fn write<T, E>(
        &self,
        op: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<EngineError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |db| {
            let result = match db {
                Some(db) => op(db),
                None => Err(EngineError::Closed.into()),
            };
            let keep = result.is_ok();
            let deliver = move |committed: Result<(), EngineError>| {
                // Nobody may be waiting any more.
                let _ = answer.send(committed.map_err(E::from).and(result));
            };
            (keep, Box::new(deliver))
        });
        let writes = self.writes.as_ref().ok_or(EngineError::Closed)?;
        writes.send(job).await.map_err(|_| EngineError::Closed)?;
        answered.await.unwrap_or_else(|_| Err(EngineError::Closed.into()))
    }

    /// Runs `op` on one consistent view of what is committed.
    pub(crate) async fn read<T, E>(
        &self,
        op: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<EngineError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: ReadJob = Box::new(move |db| {
            let result = db.and_then(|db| Ok((db, db.unchecked_transaction()?)));
            let result = match result {
                Ok((db, _view)) => op(db),
                Err(error) => Err(error.into()),
            };
            let _ = answer.send(result);
        });
        let reads = self.reads.as_ref().ok_or(EngineError::Closed)?;
        reads.send(job).await.map_err(|_| EngineError::Closed)?;
        answered.await.unwrap_or_else(|_| Err(EngineError::Closed.into()))
    }

    /// A consistent copy into a new file. `VACUUM INTO` refuses a transaction and a reader's
    /// `query_only`, so it has a connection and a thread of its own.
    pub(crate) async fn copy_to(&self, to: String) -> Result<(), EngineError> {
        let (answer, answered) = oneshot::channel();
        let from = self.path.clone();
        spawn("control-copy", move || {
            let copied = connect(&from).and_then(|db| copy(&db, &to));
            let _ = answer.send(copied);
        })?;
        answered.await.unwrap_or(Err(EngineError::Closed))
    }

    /// Where the database is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Engine {
    /// Does what is queued and closes the database. Who closes it last brings the log into it; of two that close it at once,
    /// each leaves that to the other, and whoever then moves the file loses what was written last.
    fn drop(&mut self) {
        // A panic of a worker was seen by its callers.
        self.reads = None;
        self.readers.drain(..).for_each(|thread| drop(thread.join()));
        self.writes = None;
        self.writer.take().map(JoinHandle::join);
    }
}

/// A consistent copy of a database that this process may not have open, and another one may. Nothing of it is migrated.
pub(crate) fn copy_file(from: &Path, to: &Path) -> Result<(), OpenError> {
    let db = connect(from)?;
    schema::check(&db)?;
    Ok(copy(&db, &to.to_string_lossy())?)
}

/// A connection to a database that is there.
fn connect(path: &Path) -> Result<Connection, EngineError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY_WAIT)?;
    Ok(db)
}

fn copy(db: &Connection, to: &str) -> Result<(), EngineError> {
    db.execute("VACUUM INTO ?1", [to])?;
    let file = std::fs::File::open(to).and_then(|file| file.sync_all());
    file.map_err(|e| EngineError::Io(e.to_string()))
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, EngineError> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(run).map_err(|e| EngineError::Io(e.to_string()))
}

/// What every connection needs. The journal mode is kept in the file; FULL syncs every commit.
fn configure(db: &Connection) -> Result<(), EngineError> {
    db.set_prepared_statement_cache_capacity(128);
    let mode: String = db.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(EngineError::Internal(format!("journal mode {mode} instead of wal")));
    }
    db.pragma_update(None, "synchronous", "full")?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "cache_size", -CACHE_KIB)?;
    db.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
    Ok(())
}

/// A connection that can't write.
fn open_reader(path: &Path) -> Result<Connection, EngineError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY_WAIT)?;
    db.set_prepared_statement_cache_capacity(128);
    db.pragma_update(None, "query_only", true)?;
    db.pragma_update(None, "cache_size", -CACHE_KIB)?;
    Ok(db)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever moves the file once it is closed, as a restore does, has all of it.
    #[test]
    fn the_writer_waits_for_the_readers_and_closes_to_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(&folder.path().join("control.db")).unwrap();
        let (reads, writes) = (engine.reads.as_ref().unwrap(), engine.writes.as_ref().unwrap());
        let (reading, go_on) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        let barriers = std::sync::Arc::new((reading, go_on));
        let of_reader = barriers.clone();
        let job: ReadJob = Box::new(move |db| {
            db.unwrap().execute_batch("SELECT 1 FROM owners").unwrap();
            of_reader.0.wait();
            of_reader.1.wait();
        });
        assert!(reads.try_send(job).is_ok());
        barriers.0.wait();
        let (reads, writes) = (reads.downgrade(), writes.downgrade());
        let closing = std::thread::spawn(move || drop(engine));
        while reads.strong_count() > 0 {
            std::thread::yield_now();
        }
        // Readers are told to end, and one is not done: the writer may not even know.
        assert_eq!(writes.strong_count(), 1);
        barriers.1.wait();
        closing.join().unwrap();
        assert_eq!(writes.strong_count(), 0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
