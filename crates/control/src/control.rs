//! [`Control`]: what the rest of the node asks of its state.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::Connection;

use crate::document::{Document, DocumentKey};
use crate::error::{ClaimError, DocumentError, EngineError, OpenError, OwnerError};
use crate::ids::{Expect, InputUid, NodeId, VideoUid};
use crate::input::{Input, InputKeys, InputSettings, KEY_RANDOM_BYTES, KeyKind, List, Page};
use crate::ownership::{Away, Claim, Claimed, End, Ended, Owned, Reserved, Resolved, Standing};
use crate::secret::{MasterKey, Secret};
use crate::sqlite::{Engine, Migrated, documents, inputs, ownership, videos};
use crate::video::Video;

/// The node's state. Share it in an `Arc`.
///
/// A write is answered when it is on the disk; many writes share one sync. Dropping a method's
/// future does not undo what was begun. Dropping the `Control` finishes what is queued.
#[derive(Debug)]
pub struct Control {
    pub(crate) engine: Engine,
    master: Arc<MasterKey>,
}

/// What came of [`Control::create_input_once`].
#[derive(Debug, Clone, PartialEq)]
pub enum Once {
    /// It was made.
    Made(Box<Input>),
    /// It was made before: the document of then.
    Before(Document),
}

impl Control {
    /// Opens the database at `path`, or makes it; older formats are migrated. Starts three threads,
    /// which live as long as the `Control`. Takes a few milliseconds, whatever the size.
    pub fn open(path: &Path, master: MasterKey) -> Result<Self, OpenError> {
        Ok(Self { engine: Engine::open(path)?, master: Arc::new(master) })
    }

    /// What was done with the database when it was opened, if it was of an older format.
    pub fn migrated(&self) -> Option<Migrated> {
        self.engine.migrated
    }

    /// A key for another purpose than what is stored here, made from the master key: the same for the
    /// same `purpose` at every start, and telling nothing of the master key.
    pub fn derive_key(&self, purpose: &str) -> [u8; 32] {
        self.master.derive(purpose)
    }

    /// Makes a live input. `uid` and `random` are fresh random bytes, used for nothing else.
    pub async fn create_input(
        &self,
        uid: InputUid,
        settings: InputSettings,
        random: [u8; KEY_RANDOM_BYTES],
        now_ms: u64,
    ) -> Result<Input, DocumentError> {
        let master = self.master.clone();
        let keys = InputKeys::from_random(&random);
        self.engine
            .write(move |db| inputs::create(db, &master, &uid, &settings, &keys, now_ms))
            .await
    }

    /// Makes a live input once: with a document in the same transaction, which says so to who asks again. If it is there
    /// already, nothing is made.
    pub async fn create_input_once(
        &self,
        once: (DocumentKey, Bytes),
        uid: InputUid,
        settings: InputSettings,
        random: [u8; KEY_RANDOM_BYTES],
        now_ms: u64,
    ) -> Result<Once, DocumentError> {
        let master = self.master.clone();
        let keys = InputKeys::from_random(&random);
        let made = move |db: &Connection| -> Result<Once, DocumentError> {
            let (key, content) = once;
            if let Some(before) = documents::get(db, &key)? {
                return Ok(Once::Before(before));
            }
            documents::put(db, &key, &content, Expect::Absent)?;
            let input = inputs::create(db, &master, &uid, &settings, &keys, now_ms)?;
            Ok(Once::Made(Box::new(input)))
        };
        self.engine.write(made).await
    }

    /// An input by its id.
    pub async fn input(&self, uid: &InputUid) -> Result<Option<Input>, EngineError> {
        let uid = uid.clone();
        self.engine.read(move |db| inputs::get(db, &uid)).await
    }

    /// The keys of an input, decrypted.
    pub async fn input_keys(&self, uid: &InputUid) -> Result<Option<InputKeys>, EngineError> {
        let (uid, master) = (uid.clone(), self.master.clone());
        self.engine.read(move |db| inputs::keys(db, &master, &uid)).await
    }

    /// The input that a key belongs to, at this time (an old key may have a grace time). Found by
    /// the key's hash: see [`Secret::hash`] for why that needs no comparison in constant time.
    pub async fn input_by_key(
        &self,
        kind: KeyKind,
        key: &Secret,
        now_ms: u64,
    ) -> Result<Option<Input>, EngineError> {
        let hash = key.hash();
        self.engine.read(move |db| inputs::by_key(db, kind, &hash, now_ms)).await
    }

    /// Live inputs in the order of their creation.
    pub async fn inputs(&self, page: Page) -> Result<List<Input>, EngineError> {
        self.engine.read(move |db| inputs::list(db, page)).await
    }

    /// Of these, those whose name contains `part`, whatever its case, or whose id begins so.
    pub async fn find_inputs(&self, part: &str, page: Page) -> Result<List<Input>, EngineError> {
        let part = part.to_owned();
        self.engine.read(move |db| inputs::find(db, &part, page)).await
    }

    /// Changes some of what an input's owner chose, in one transaction: of changes at the same time none is lost, and
    /// none has to be tried again. `change` is quick and asks nobody. The input before, and after.
    pub async fn change_input<E>(
        &self,
        uid: &InputUid,
        change: impl FnOnce(&mut InputSettings) -> Result<(), E> + Send + 'static,
        now_ms: u64,
    ) -> Result<(Input, Input), E>
    where
        E: From<DocumentError> + From<EngineError> + Send + 'static,
    {
        let uid = uid.clone();
        self.engine.write(move |db| inputs::change(db, &uid, change, now_ms)).await
    }

    /// Replaces what an input's owner chose, if its version is the expected one.
    pub async fn update_input(
        &self,
        uid: &InputUid,
        expect: Expect,
        settings: InputSettings,
        now_ms: u64,
    ) -> Result<Input, DocumentError> {
        let uid = uid.clone();
        self.engine.write(move |db| inputs::update(db, &uid, expect, &settings, now_ms)).await
    }

    /// Gives an input new keys. The old ones are valid until `grace_until_ms`, or no longer. Ending
    /// the broadcast that runs on them is the caller's part.
    pub async fn rotate_keys(
        &self,
        uid: &InputUid,
        random: [u8; KEY_RANDOM_BYTES],
        now_ms: u64,
        grace_until_ms: Option<u64>,
    ) -> Result<Input, DocumentError> {
        let (uid, master) = (uid.clone(), self.master.clone());
        let keys = InputKeys::from_random(&random);
        self.engine
            .write(move |db| inputs::rotate(db, &master, &uid, &keys, now_ms, grace_until_ms))
            .await
    }

    /// Deletes an input for good: its broadcast on the air ends, its recordings stay.
    pub async fn delete_input(
        &self,
        uid: &InputUid,
        expect: Expect,
        now_ms: u64,
    ) -> Result<(), DocumentError> {
        let uid = uid.clone();
        self.engine.write(move |db| inputs::delete(db, &uid, expect, now_ms)).await
    }

    /// Takes ownership of an input, in one transaction that also decides whether the open broadcast
    /// goes on. It does if somebody has it, or if it was parked and its time is not over.
    pub async fn claim(&self, claim: Claim) -> Result<Claimed, ClaimError> {
        self.engine.write(move |db| ownership::claim(db, &claim)).await
    }

    /// The same for who has shown this stream key: refused, in the same transaction, if it is no longer the input's.
    pub async fn claim_with_key(&self, claim: Claim, key: &Secret) -> Result<Claimed, ClaimError> {
        let hash = key.hash();
        let claimed = move |db: &Connection| {
            let of = inputs::by_key(db, KeyKind::Stream, &hash, claim.now_ms)?;
            match of.is_some_and(|input| input.uid == claim.input) {
                true => ownership::claim(db, &claim),
                false => Err(ClaimError::OtherKey),
            }
        };
        self.engine.write(claimed).await
    }

    /// Ends the broadcast.
    pub async fn release(&self, owned: &Owned, why: End, now_ms: u64) -> Result<Ended, OwnerError> {
        let owned = owned.clone();
        self.engine.write(move |db| ownership::release(db, &owned, why, now_ms)).await
    }

    /// The encoder is away: whoever claims the input in time goes on with the broadcast; after that
    /// [`Control::expire`] ends it. The owner may still commit what it has.
    pub async fn park(&self, owned: &Owned, away: Away) -> Result<(), OwnerError> {
        let owned = owned.clone();
        self.engine.write(move |db| ownership::park(db, &owned, away)).await
    }

    /// Reserves segment numbers up to `segments_to` and raw group ids below `groups_end` (rounded up
    /// to whole blocks). A number may be shown to viewers only when it is reserved; a claim reserves
    /// its first one, and each commit the one above it.
    pub async fn reserve(
        &self,
        owned: &Owned,
        segments_to: u64,
        groups_end: u64,
    ) -> Result<Reserved, OwnerError> {
        let owned = owned.clone();
        self.engine.write(move |db| ownership::reserve(db, &owned, segments_to, groups_end)).await
    }

    /// Parks every broadcast that `node` had: it has just started, so nobody has them. Each is
    /// waited for as long as its claim said, from now. What it may have shown since its last record, in segments of this
    /// length where there are none to go by, counts as reserved.
    pub async fn park_all(
        &self,
        node: &NodeId,
        now_ms: u64,
        segment: Duration,
    ) -> Result<Vec<Owned>, EngineError> {
        let segment_ms = u64::try_from(segment.as_millis()).unwrap_or(u64::MAX);
        let node = node.clone();
        self.engine.write(move |db| ownership::park_all(db, &node, now_ms, segment_ms)).await
    }

    /// Ends the broadcasts that nobody came back to in time; not those of these inputs, which somebody still waits for.
    pub async fn expire(
        &self,
        now_ms: u64,
        but: BTreeSet<InputUid>,
    ) -> Result<Vec<Ended>, EngineError> {
        self.engine.write(move |db| ownership::expire(db, now_ms, &but)).await
    }

    /// This database is a backup that was put back: epochs and numbers that may have been given out
    /// after it was made are skipped, and open broadcasts end. To be called once, before any claim.
    pub async fn restored(&self, now_ms: u64) -> Result<Vec<Ended>, EngineError> {
        self.engine.write(move |db| ownership::restored(db, now_ms)).await
    }

    /// When [`Control::expire`] will next have something to do, as far as is known now.
    pub async fn next_expiry(&self) -> Result<Option<u64>, EngineError> {
        self.engine.read(ownership::next_expiry).await
    }

    /// How an input stands; none if there is none.
    pub async fn standing(&self, input: &InputUid) -> Result<Option<Standing>, EngineError> {
        let input = input.clone();
        self.engine.read(move |db| ownership::standing(db, &input)).await
    }

    /// The broadcast of an input that is on the air or waited for, else its newest one.
    pub async fn broadcast_of(&self, input: &InputUid) -> Result<Option<Video>, EngineError> {
        let input = input.clone();
        self.engine.read(move |db| videos::newest_of(db, &input)).await
    }

    /// What an id from a URL names.
    pub async fn resolve(&self, id: &str) -> Result<Option<Resolved>, EngineError> {
        if VideoUid::parse(id).is_err() {
            return Ok(None);
        }
        let id = id.to_owned();
        self.engine.read(move |db| videos::resolve(db, &id)).await
    }

    /// A video by its id.
    pub async fn video(&self, uid: &VideoUid) -> Result<Option<Video>, EngineError> {
        let uid = uid.clone();
        self.engine.read(move |db| videos::get(db, &uid)).await
    }

    /// Writes a consistent copy of the database to `path`, which must not exist, while it is in use.
    /// (Not in a write group: a copy is long, and no write waits for it.)
    pub async fn backup(&self, path: &Path) -> Result<(), EngineError> {
        let path = path.to_string_lossy().into_owned();
        self.engine.copy_to(path).await
    }

    /// The same of a database that this process does not have open; another one may, and may write to it. Blocks for as
    /// long as it takes.
    pub fn copy(from: &Path, to: &Path) -> Result<(), OpenError> {
        crate::sqlite::copy_file(from, to)
    }

    /// Where the database is.
    pub fn path(&self) -> &Path {
        self.engine.path()
    }

    /// Makes the disk seem full once the database has grown by this many pages, or no longer.
    #[cfg(feature = "conformance")]
    #[doc(hidden)]
    pub async fn fail_writes_beyond(&self, pages: Option<u32>) -> Result<(), EngineError> {
        self.engine
            .write(move |db| {
                let count: u32 = db.query_row("PRAGMA page_count", [], |row| row.get(0))?;
                let max = pages.map_or(u32::MAX - 1, |pages| count + pages);
                let _: u32 =
                    db.query_row(&format!("PRAGMA max_page_count = {max}"), [], |row| row.get(0))?;
                Ok(())
            })
            .await
    }
}
