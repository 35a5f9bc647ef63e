//! The threads: one that writes in groups, some that read.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rusqlite::Connection;
use tokio::sync::mpsc;

use super::open_reader;
use crate::error::EngineError;
use crate::limits::{GROUP_COLLECT, GROUP_OPERATIONS};

/// Tells one caller its result, given what became of the group.
pub(super) type Deliver = Box<dyn FnOnce(Result<(), EngineError>) + Send>;

/// One operation: whether its changes are kept, and how its caller hears of it. Without a connection
/// (the group is lost already) it does nothing.
pub(super) type Job = Box<dyn FnOnce(Option<&Connection>) -> (bool, Deliver) + Send>;

/// One read.
pub(super) type ReadJob = Box<dyn FnOnce(Result<&Connection, EngineError>) + Send>;

/// Writes until nobody can ask any more. A group is what is waiting when the last one was synced:
/// while the disk syncs, the next group gathers, and a lone operation waits for nobody.
pub(super) fn write(db: Connection, mut queue: mpsc::Receiver<Job>) {
    while let Some(first) = queue.blocking_recv() {
        let mut answers = Vec::new();
        let outcome = group(&db, first, &mut queue, &mut answers);
        if outcome.is_err() && !db.is_autocommit() {
            let _ = db.execute_batch("ROLLBACK");
        }
        for deliver in answers {
            deliver(outcome.clone());
        }
    }
}

fn group(
    db: &Connection,
    first: Job,
    queue: &mut mpsc::Receiver<Job>,
    answers: &mut Vec<Deliver>,
) -> Result<(), EngineError> {
    let begun = Instant::now();
    let mut opened = statement(db, "BEGIN IMMEDIATE");
    let mut next = Some(first);
    while let Some(job) = next.take() {
        if opened.is_ok() {
            opened = one(db, job, answers);
        } else {
            answers.push(job(None).1);
        }
        if answers.len() < GROUP_OPERATIONS && begun.elapsed() < GROUP_COLLECT {
            next = queue.try_recv().ok();
        }
    }
    opened?;
    failpoint::hit("engine.before_commit");
    statement(db, "COMMIT")?;
    failpoint::hit("engine.after_commit");
    Ok(())
}

/// Runs one operation inside the group; a refused one leaves no trace and disturbs no other.
fn one(db: &Connection, job: Job, answers: &mut Vec<Deliver>) -> Result<(), EngineError> {
    let opened = statement(db, "SAVEPOINT operation");
    let (keep, deliver) = job(opened.is_ok().then_some(db));
    answers.push(deliver);
    opened?;
    if db.is_autocommit() {
        // SQLite gives up the whole transaction by itself when a write fails: for want of room.
        return Err(EngineError::DiskFull);
    }
    if !keep {
        statement(db, "ROLLBACK TO operation")?;
    }
    statement(db, "RELEASE operation")
}

fn statement(db: &Connection, sql: &str) -> Result<(), EngineError> {
    Ok(db.prepare_cached(sql)?.execute([]).map(|_| ())?)
}

/// Reads until nobody can ask any more. The connection is opened by the first read, off the path to
/// readiness.
pub(super) fn read(path: &Path, queue: &Mutex<mpsc::Receiver<ReadJob>>) {
    let mut db = None;
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(job) = job else { return };
        if db.is_none() {
            match open_reader(path) {
                Ok(opened) => db = Some(opened),
                Err(error) => {
                    job(Err(error));
                    continue;
                }
            }
        }
        if let Some(db) = &db {
            job(Ok(db));
        }
    }
}
