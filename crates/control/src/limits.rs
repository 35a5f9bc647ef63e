//! The numbers that protect the node's state, each with its reason.

use std::time::Duration;

/// Operations that share one sync of the disk. 64 appends a commit gave 8,384 appends a second where
/// one a commit gave 505 (measured); more only makes the first of them wait longer.
pub const GROUP_OPERATIONS: usize = 64;

/// A group takes no further operation after this long, so that slow ones don't delay the others.
pub const GROUP_COLLECT: Duration = Duration::from_millis(5);

/// Operations that wait for the writer; the next caller waits for room. 16 full groups: a stalled disk
/// must not turn into memory.
pub const WRITE_QUEUE: usize = 1_024;

/// Reads that wait for a reader; the next caller waits for room.
pub const READ_QUEUE: usize = 1_024;

/// Threads that read. Two, so that one long list does not stand in the way of a look-up by key.
pub const READERS: usize = 2;

/// How long SQLite waits for another process's lock (a backup tool's) before it is an error.
pub const BUSY_WAIT: Duration = Duration::from_secs(2);

/// SQLite's page cache of each connection, in KiB; the system's cache is behind it.
pub const CACHE_KIB: i64 = 1_024;

/// Pages of the write-ahead log after which it is written back: 4 MiB, ~10,000 records.
pub const WAL_PAGES: i64 = 1_000;

/// The document of one input or one video. Cloudflare's own bound is not published; 16 KiB is a long
/// name, a page of user values and 100 origins.
pub const DOCUMENT_BYTES: usize = 16 << 10;

/// Characters of a name by which parts of it are found: a line of text, and more than any list shows.
pub const NAME_SEARCHED_CHARS: usize = 256;

/// Rows in one page of a list, whatever is asked for.
pub const LIST_ROWS: usize = 1_000;

/// Live inputs of an installation: they all fit a list page walk and the idle memory goal.
pub const INPUTS: u64 = 100_000;

/// Old keys of one input that are still valid after rotations with a grace time.
pub const GRACE_KEYS: usize = 8;

/// Raw group ids are reserved in blocks of this many. DESIGN §4; one write per 1,024 GOPs, and a new
/// owner skips at most so many ids.
pub const GROUP_BLOCK: u64 = 1_024;

/// Segment numbers that are left out at most for what a node may have shown before it died: a minute of 2 s. When it died
/// is not known, so that each long downtime costs so many gaps.
pub const OUTAGE_NUMBERS: u64 = 32;

/// Segment numbers that one write may reserve beyond those that are: two hours of 2 s, so that an error in reckoning can't
/// use them up. How far what is shown may be ahead of what is committed is bound by the recorder's backlog, not by this.
pub const RESERVE_AHEAD: u64 = 4_096;

/// Records of one sealed page.
pub const PAGE_RECORDS: usize = 64;

/// Records in one commit: a full page after a store came back.
pub const COMMIT_RECORDS: usize = 64;

/// Tracks of one record. As many as the spine takes of one publisher.
pub const RECORD_TRACKS: usize = 256;

/// Parts of one track in one record. `package` takes 192 in a segment.
pub const RECORD_PARTS: usize = 192;

/// Bytes of a track's name in a record.
pub const TRACK_NAME_BYTES: usize = 256;

/// Bytes of one encoded record: 256 tracks of 192 parts would be more; none that an encoder makes is.
pub const RECORD_BYTES: usize = 64 << 10;

/// Bytes of one sealed page, read back from a store that we don't trust to be ours.
pub const PAGE_BYTES: usize = PAGE_RECORDS * (RECORD_BYTES + 8) + 64;

/// The catalog kept with a video.
pub const CATALOG_BYTES: usize = 64 << 10;

/// Characters of a node's name and of a session's.
pub const NAME_BYTES: usize = 128;

/// Epochs and numbers that are skipped after a backup was restored: what was given out since the
/// backup is not known. A year of segments of 2 s.
pub const RESTORE_SKIP: u64 = 1 << 24;

/// Entries of the audit log. A change a minute for two months; some 30 MB.
pub const AUDIT_ROWS: u64 = 100_000;

/// They are counted with every so many, which takes some fifty milliseconds of that many rows; there may be as many more.
pub const AUDIT_COUNTED_EVERY: i64 = 1_000;

/// And no older than this: a year, and time to look at it.
pub const AUDIT_AGE: Duration = Duration::from_secs(400 * 86_400);

/// Characters of one text of an entry: ids and names are shorter.
pub const AUDIT_TEXT_CHARS: usize = 128;

/// Names of fields in one entry.
pub const AUDIT_FIELDS: usize = 32;

/// Messages that the chat of one video keeps, the newest; a few megabytes as people write, 60 MB at the very most.
pub const CHAT_MESSAGES: u64 = 50_000;
