//! The recorder of one broadcast: follow, put (several at once), commit (in order), seal pages.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use control::limits::{COMMIT_RECORDS, PAGE_RECORDS};
use control::{CommitError, Control, Head, Owned, OwnerError, SegmentRecord};
use futures_util::stream::{FuturesOrdered, StreamExt};
use spine::broadcast::Consumer;
use store::{Key, Kind, Object, PutError, Store};
use tokio::sync::watch;

use crate::follow::{Follower, News};
use crate::limits::{
    INIT_AGAIN, OWNER_WAIT, PATIENCE, PUTS, RECORDS_WAITING, RESERVE_AHEAD, RETRY, RETRY_MAX,
};
use crate::segment::Sealed;
use crate::space::Space;
use crate::status::{Backlog, Status, Waiting};

/// What a recorder is told.
pub struct Setup {
    /// The index.
    pub control: Arc<Control>,
    /// The objects.
    pub store: Arc<Store>,
    /// The packaged broadcast.
    pub broadcast: Consumer,
    /// Who may write: the newest claim of this broadcast on this node. Dropped: nobody any more.
    pub owner: watch::Receiver<Owned>,
    /// Numbers that are to be committed as gaps before anything else ([`control::Claimed::gap`]).
    pub gap: Range<u64>,
    /// The number of the first segment.
    pub first: u64,
    /// What the node's recorders have waiting.
    pub backlog: Backlog,
    /// The room that they have on the disk.
    pub space: Arc<Space>,
    /// Bytes of this broadcast that may wait: [`crate::limits::BACKLOG_BYTES`]. Half of it for late tracks.
    pub backlog_bytes: usize,
    /// How long the store may fail: [`PATIENCE`], unless the node's owner chose otherwise.
    pub patience: Duration,
    /// Fresh random numbers, for names.
    pub random: fn() -> u64,
}

/// How a recording came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is committed, gaps among it.
    Complete,
    /// Somebody else has the broadcast now; what was in flight is theirs to mark.
    Fenced,
    /// The index could not be written for so long that recording stopped.
    GaveUp,
}

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Records one broadcast.
pub struct Recorder {
    control: Arc<Control>,
    store: Arc<Store>,
    owner: watch::Receiver<Owned>,
    follower: Follower,
    backlog: Backlog,
    space: Arc<Space>,
    backlog_bytes: usize,
    patience: Duration,
    random: fn() -> u64,
    status: Arc<Status>,
    queue: VecDeque<(Sealed, Instant, Waiting)>,
    putting: FuturesOrdered<Task<Stored>>,
    /// The number of the newest stored object that has an initialisation segment.
    inits: BTreeMap<u64, u64>,
    /// What can be committed, and since when it was whole; nothing for what has no bytes.
    ready: VecDeque<(SegmentRecord, Option<Instant>)>,
    catalog: Option<Bytes>,
    /// At most so many records of the index are in no page.
    unsealed: usize,
    over: bool,
}

/// What became of a segment.
struct Stored {
    record: SegmentRecord,
    since: Option<Instant>,
    inits: Vec<u64>,
}

impl Stored {
    /// A record without bytes.
    fn nothing(record: SegmentRecord) -> Self {
        Self { record, since: None, inits: Vec::new() }
    }
}

impl Recorder {
    /// A recorder; [`Recorder::run`] does the work.
    pub fn new(setup: Setup) -> Self {
        let status = Arc::new(Status::default());
        let epoch = setup.owner.borrow().epoch;
        let gap = |number| SegmentRecord { number, epoch, gap: true, ..SegmentRecord::default() };
        Self {
            follower: Follower::new(
                setup.broadcast,
                setup.first,
                setup.backlog_bytes / 2,
                status.clone(),
            ),
            control: setup.control,
            store: setup.store,
            owner: setup.owner,
            backlog: setup.backlog,
            space: setup.space,
            backlog_bytes: setup.backlog_bytes,
            patience: setup.patience,
            random: setup.random,
            status,
            queue: VecDeque::new(),
            putting: FuturesOrdered::new(),
            inits: BTreeMap::new(),
            // Its commit fills in the others.
            ready: setup.gap.last().map(|number| (gap(number), None)).into_iter().collect(),
            catalog: None,
            // After a restart there may be a page's worth already.
            unsealed: PAGE_RECORDS + 1,
            over: false,
        }
    }

    /// How it is doing.
    pub fn status(&self) -> Arc<Status> {
        self.status.clone()
    }

    /// Records until the broadcast is over and everything of it is committed. Dropped early, what is
    /// in flight is lost and what was committed stays.
    pub async fn run(self) -> Outcome {
        let status = self.status.clone();
        let outcome = self.record().await;
        status.stopped.store(outcome != Outcome::Complete, Ordering::Relaxed);
        outcome
    }

    async fn record(mut self) -> Outcome {
        let mut committing: Option<Task<Result<Committed, Outcome>>> = None;
        let mut sealing: Option<Task<Page>> = None;
        let mut asked = 0;
        loop {
            self.start_puts();
            if committing.is_none() && (self.catalog.is_some() || !self.ready.is_empty()) {
                committing = Some(self.commit());
            }
            // A page's newest record is never in it.
            if sealing.is_none() && self.unsealed > PAGE_RECORDS {
                asked = self.unsealed;
                sealing = Some(self.seal_page());
            }
            let stored = self.putting.is_empty() && self.queue.is_empty();
            let idle = stored && committing.is_none() && sealing.is_none();
            if self.over && idle {
                return Outcome::Complete;
            }
            tokio::select! {
                news = poll_fn(|cx| self.follower.poll(cx, Instant::now())), if !self.over => {
                    self.take(news);
                }
                Some(stored) = self.putting.next(), if !self.putting.is_empty() => {
                    let number = stored.record.number;
                    self.inits.extend(stored.inits.into_iter().map(|id| (id, number)));
                    self.push_record(stored.record, stored.since);
                }
                committed = maybe(&mut committing), if committing.is_some() => {
                    committing = None;
                    match committed {
                        Ok(committed) => self.committed(&committed),
                        Err(outcome) => return outcome,
                    }
                }
                page = maybe(&mut sealing), if sealing.is_some() => {
                    sealing = None;
                    let since = self.unsealed - asked;
                    self.unsealed = match page {
                        Page::Sealed => self.unsealed - PAGE_RECORDS,
                        Page::NotFull => PAGE_RECORDS + since,
                        // The records stay where they are, and the next page's time will come.
                        Page::Failed => since,
                    };
                }
            }
        }
    }

    fn take(&mut self, news: News) {
        match news {
            News::Over => self.over = true,
            News::Catalog(catalog) => self.catalog = Some(catalog),
            News::Sealed(sealed) => {
                let bytes = sealed.bytes();
                let room = self.backlog.take(&self.status, bytes, self.backlog_bytes);
                let space = self.space.look(&self.store).is_ok();
                let listed = self.ready.len() < RECORDS_WAITING;
                match room {
                    Some(room) if space && listed && !sealed.shares.is_empty() => {
                        self.queue.push_back((sealed, Instant::now(), room));
                    }
                    _ => {
                        // A full disk was told once, and an index that refuses is told with each attempt.
                        if space && listed && !sealed.shares.is_empty() {
                            tracing::error!(
                                segment = sealed.number,
                                "the store is too slow: this segment is not recorded"
                            );
                        }
                        let record = self.gap(&sealed);
                        self.push_ready(record);
                    }
                }
            }
        }
    }

    /// A record that needs no put, in its order.
    fn push_ready(&mut self, record: SegmentRecord) {
        if self.putting.is_empty() && self.queue.is_empty() {
            self.push_record(record, None);
        } else if self.queue.is_empty() {
            self.putting.push_back(Box::pin(async move { Stored::nothing(record) }));
        } else {
            // Behind what waits: without bytes, and put at once when it is its turn.
            let waiting = self.backlog.take(&self.status, 0, usize::MAX);
            let sealed = Sealed { number: record.number, shares: Vec::new() };
            if let Some(waiting) = waiting {
                self.queue.push_back((sealed, Instant::now(), waiting));
            }
        }
    }

    /// For the index, in order. Where that has refused for hours, all that comes beyond the bound is one gap of which the newest
    /// number is kept: whoever commits it fills in the others ([`Commit::fill`]).
    fn push_record(&mut self, record: SegmentRecord, since: Option<Instant>) {
        if self.ready.len() < RECORDS_WAITING {
            return self.ready.push_back((record, since));
        }
        if !record.gap {
            self.status.lose(record.number);
            self.space.lose();
        }
        self.ready.truncate(RECORDS_WAITING);
        let SegmentRecord { number, epoch, .. } = record;
        let gap = SegmentRecord { number, epoch, gap: true, ..SegmentRecord::default() };
        self.ready.push_back((gap, None));
    }

    fn gap(&self, sealed: &Sealed) -> SegmentRecord {
        self.status.lose(sealed.number);
        self.space.lose();
        sealed.gap(self.owner.borrow().epoch)
    }

    fn start_puts(&mut self) {
        while self.putting.len() < PUTS {
            let Some((sealed, at, waiting)) = self.queue.pop_front() else { return };
            if sealed.shares.is_empty() {
                let record = sealed.gap(self.owner.borrow().epoch);
                self.putting.push_back(Box::pin(async move { Stored::nothing(record) }));
                continue;
            }
            let has = |id: &u64| {
                self.inits.get(id).is_some_and(|number| sealed.number < number + INIT_AGAIN)
            };
            let fresh = sealed.inits().into_iter().filter(|id| !has(id));
            let inits: Vec<(u64, Bytes)> =
                fresh.filter_map(|id| Some((id, self.follower.init(id)?))).collect();
            let put = Put {
                store: self.store.clone(),
                video: self.owner.borrow().video.to_string(),
                status: self.status.clone(),
                space: self.space.clone(),
                random: self.random,
                since: at,
                give_up: at + self.patience,
            };
            self.putting.push_back(Box::pin(async move {
                let stored = put.run(&sealed, &inits).await;
                drop(waiting);
                stored
            }));
        }
    }

    fn commit(&mut self) -> Task<Result<Committed, Outcome>> {
        // What is behind a hole comes first in its commit.
        let first = self.ready.front().map_or(0, |(record, _)| record.number);
        let waiting = self.ready.iter().take(COMMIT_RECORDS).map(|(record, _)| record);
        let next = waiting.zip(first..).take_while(|(record, number)| record.number == *number);
        let records: Vec<_> = next.map(|(record, _)| record.clone()).collect();
        let last = records.last().map_or(0, |r| r.number);
        let commit = Commit {
            control: self.control.clone(),
            owner: self.owner.clone(),
            status: self.status.clone(),
            space: self.space.clone(),
            reserve_to: self.follower.newest().max(last + RESERVE_AHEAD),
            catalog: self.catalog.take(),
            records,
            filled: 0,
        };
        Box::pin(commit.run())
    }

    fn committed(&mut self, committed: &Committed) {
        let now = Instant::now();
        let whole = self.ready.drain(..committed.records).filter_map(|(_, since)| since);
        let waited: Vec<_> = whole.map(|since| now.saturating_duration_since(since)).collect();
        if !waited.is_empty() {
            self.space.works();
        }
        self.backlog.committed(waited.into_iter());
        self.unsealed += committed.records + committed.filled;
        if let Some(head) = committed.head {
            self.status.committed.store(head.last_number, Ordering::Release);
            self.status.reserved(head.reserved_to);
            self.status.changed.notify_one();
        }
    }

    /// Seals one page, if there is one.
    fn seal_page(&self) -> Task<Page> {
        let (control, store, random) = (self.control.clone(), self.store.clone(), self.random);
        let owner = self.owner.clone();
        Box::pin(async move {
            let owned = owner.borrow().clone();
            seal(&control, &store, &owned, random()).await.unwrap_or_else(|error| {
                tracing::warn!(video = %owned.video, %error, "a page of the index stays unsealed");
                Page::Failed
            })
        })
    }
}

/// What became of a page of the index.
enum Page {
    Sealed,
    /// There are not enough records for one.
    NotFull,
    Failed,
}

async fn maybe<T>(task: &mut Option<Task<T>>) -> T {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

#[derive(Debug, thiserror::Error)]
enum PageFault {
    #[error(transparent)]
    Engine(#[from] control::EngineError),
    #[error(transparent)]
    Key(#[from] store::NotAKey),
    #[error(transparent)]
    Put(#[from] PutError),
    #[error(transparent)]
    Seal(#[from] control::SealError),
}

async fn seal(
    control: &Control,
    store: &Store,
    owned: &Owned,
    random: u64,
) -> Result<Page, PageFault> {
    let Some(page) = control.unsealed_page(&owned.video).await? else { return Ok(Page::NotFull) };
    let (video, epoch) = (owned.video.to_string(), owned.epoch.0);
    let key =
        Key::new(&Object { video, kind: Kind::Page, epoch, number: page.first_number, random })?;
    store.put(&key, vec![page.bytes.clone()]).await?;
    failpoint::hit("record.page_stored");
    control.seal_page(owned, page, key.as_str()).await?;
    Ok(Page::Sealed)
}

/// Puts one segment, until it works or nobody waits any longer.
struct Put {
    store: Arc<Store>,
    video: String,
    status: Arc<Status>,
    space: Arc<Space>,
    random: fn() -> u64,
    since: Instant,
    give_up: Instant,
}

impl Put {
    async fn run(self, sealed: &Sealed, inits: &[(u64, Bytes)]) -> Stored {
        let mut pause = RETRY;
        loop {
            // Every attempt has a name of its own: one that was thought lost may still arrive.
            let random = (self.random)();
            let (chunks, record) = sealed.object(inits, random);
            match self.put(&record, random, chunks).await {
                Ok(()) => {
                    failpoint::hit("record.stored");
                    let inits = inits.iter().map(|(id, _)| *id).collect();
                    return Stored { record, since: Some(self.since), inits };
                }
                Err(error) => {
                    self.status.failures.fetch_add(1, Ordering::Relaxed);
                    self.space.fail(&error, Instant::now());
                    tracing::warn!(
                        video = self.video,
                        segment = sealed.number,
                        error,
                        "not stored"
                    );
                }
            }
            let full = self.space.look(&self.store).is_err();
            if full || Instant::now() + pause >= self.give_up {
                self.status.lose(sealed.number);
                self.space.lose();
                tracing::error!(
                    video = self.video,
                    segment = sealed.number,
                    "the store fails for too long: this segment is not recorded"
                );
                return Stored::nothing(sealed.gap(record.epoch));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    async fn put(
        &self,
        record: &SegmentRecord,
        random: u64,
        chunks: Vec<Bytes>,
    ) -> Result<(), String> {
        let (video, epoch, number) = (self.video.clone(), record.epoch.0, record.number);
        let key = Key::new(&Object { video, kind: Kind::Segment, epoch, number, random });
        let key = key.map_err(|e| e.to_string())?;
        // A put that hangs must not outlast the patience with it.
        let left = self.give_up.saturating_duration_since(Instant::now());
        let put = tokio::time::timeout(left.max(RETRY), self.store.put(&key, chunks));
        put.await.map_err(|_| "it takes too long".to_owned())?.map_err(|e| e.to_string())
    }
}

/// One round of commits.
struct Commit {
    control: Arc<Control>,
    owner: watch::Receiver<Owned>,
    status: Arc<Status>,
    space: Arc<Space>,
    reserve_to: u64,
    catalog: Option<Bytes>,
    records: Vec<SegmentRecord>,
    /// Records beside those that it was given.
    filled: usize,
}

struct Committed {
    records: usize,
    filled: usize,
    head: Option<Head>,
}

impl Commit {
    async fn run(mut self) -> Result<Committed, Outcome> {
        let count = self.records.len();
        let (mut pause, mut failed_since) = (RETRY, None);
        loop {
            let owned = self.owner.borrow_and_update().clone();
            match self.attempt(&owned).await {
                Ok(head) => return Ok(Committed { records: count, filled: self.filled, head }),
                Err(CommitError::Owner(OwnerError::Fenced { .. })) => {
                    // An encoder of this node may have claimed the input a moment ago.
                    let changed = tokio::time::timeout(OWNER_WAIT, self.owner.changed()).await;
                    if !matches!(changed, Ok(Ok(()))) {
                        tracing::warn!(video = %owned.video, "somebody else has this broadcast");
                        return Err(Outcome::Fenced);
                    }
                }
                Err(CommitError::Owner(OwnerError::TooFarAhead)) => self.reserve_to = 0,
                Err(CommitError::Hole { expected }) => self.fill(expected, &owned),
                Err(CommitError::CatalogTooLarge) => {
                    tracing::error!(video = %owned.video, "the catalog is too large to be kept");
                    self.catalog = None;
                }
                Err(CommitError::Conflict { number }) => {
                    tracing::error!(video = %owned.video, number, "committed by somebody else");
                    self.records.retain(|r| r.number != number);
                }
                Err(CommitError::Record(error)) => {
                    // No encoder makes such a segment. Without its tracks it is still a number.
                    tracing::error!(video = %owned.video, %error, "a record can't be kept");
                    self.records.iter_mut().filter(|r| r.encode().is_err()).for_each(lose);
                }
                Err(error @ (CommitError::Engine(_) | CommitError::Owner(_))) => {
                    self.status.failures.fetch_add(1, Ordering::Relaxed);
                    self.space.fail(&error.to_string(), Instant::now());
                    let since = *failed_since.get_or_insert_with(Instant::now);
                    let closed = self.owner.has_changed().is_err();
                    if closed && since.elapsed() > PATIENCE {
                        return Err(Outcome::GaveUp);
                    }
                    tracing::warn!(video = %owned.video, %error, "not committed");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
                Err(CommitError::TooMany) => self.records.truncate(COMMIT_RECORDS),
            }
        }
    }

    async fn attempt(&mut self, owned: &Owned) -> Result<Option<Head>, CommitError> {
        if let Some(catalog) = self.catalog.clone() {
            self.control.set_catalog(owned, catalog).await?;
            self.catalog = None;
        }
        let mut head = None;
        while !self.records.is_empty() {
            let batch: Vec<_> = self.records.iter().take(COMMIT_RECORDS).cloned().collect();
            let count = batch.len();
            let committed = self.control.commit(owned, batch, self.reserve_to).await?;
            failpoint::hit("record.committed");
            self.records.drain(..count);
            head = Some(committed);
        }
        Ok(head)
    }

    /// Numbers that were given out by a claim and never used, or that came while there were too many to be kept apart. Of many
    /// the first ones: the others are found to be missing then.
    fn fill(&mut self, expected: u64, owned: &Owned) {
        let Some(first) = self.records.first().map(|r| r.number) else { return };
        let epoch = owned.epoch;
        let gap = |number| SegmentRecord { number, epoch, gap: true, ..SegmentRecord::default() };
        let missing: Vec<_> = (expected..first).take(RECORDS_WAITING).map(gap).collect();
        self.filled += missing.len();
        if missing.is_empty() {
            // A number below what is committed, and a hole above: nothing of ours fits any more.
            self.records.retain(|r| r.number >= expected);
        }
        self.records.splice(0..0, missing);
    }
}

fn lose(record: &mut SegmentRecord) {
    (record.gap, record.object, record.bytes) = (true, None, 0);
    record.tracks.clear();
}
