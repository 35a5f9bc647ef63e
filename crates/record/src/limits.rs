//! The numbers that protect recording, each with its reason.

use std::time::Duration;

/// Sealed segments of one broadcast that wait for the store. DESIGN §8: 64 MiB, more than a minute of
/// 6 Mbit/s. Half as much, 40 s, may wait for a late track; beyond it the oldest segment is sealed without.
pub const BACKLOG_BYTES: usize = 64 << 20;

/// Sealed segments of all broadcasts that wait for the store: eight broadcasts at their own bound. They
/// are shared with the live cache, but can't be evicted while they wait.
pub const NODE_BACKLOG_BYTES: usize = 512 << 20;

/// How long the store may fail before a segment becomes a gap. DESIGN §8: 60 s.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Puts of one broadcast at one time: a slow store is used in parallel, commits stay in order.
pub const PUTS: usize = 4;

/// An initialisation segment is stored again with the first segment that is so many behind the one that has it: where the index
/// has lost a page, of 64 records, what comes behind it can be decoded all the same. It has a kilobyte.
pub const INIT_AGAIN: u64 = 16;

/// Classes of the time from a segment's last part to its commit, in milliseconds: from a disk that acknowledges at once,
/// by the 20 ms that one machine should stay under, to one that is about to lose segments.
pub const COMMIT_MS: [u64; 10] = [1, 5, 10, 20, 50, 100, 500, 1_000, 10_000, 30_000];

/// The first pause after a failure, and the longest; it doubles in between.
pub const RETRY: Duration = Duration::from_millis(100);
/// The longest pause after failures.
pub const RETRY_MAX: Duration = Duration::from_secs(5);

/// Records that wait for the database. A record is small; beyond this many (hours) what comes is a gap, until it takes some.
pub const RECORDS_WAITING: usize = 4_096;

/// How long a commit that was refused waits for the claim of the same node that replaced its owner.
pub const OWNER_WAIT: Duration = Duration::from_secs(5);

/// How much longer than a track is late already it is waited for before a segment is sealed without it: as late as
/// packaging takes pictures that were on time, and well within what memory keeps of every track (eight groups).
pub const LATE: Duration = package::limits::LATE_MAX;

/// The longest wait for a track that is late all the time, and for sound or pictures that are announced and have not come
/// since the beginning: as late as packaging puts them there.
pub const LATE_START: Duration = package::limits::LATE_START;

/// The wait at the beginning for sound or pictures that nobody has announced: a second longer than packaging puts them
/// there, which counts from the first picture shown and not from the first one decoded.
pub const UNKNOWN: Duration = package::limits::UNKNOWN_MAX.saturating_add(Duration::from_secs(1));

/// Numbers reserved above the committed one, with each commit: the one that is being made, and the next,
/// which begins before that one is committed. After a kill they are what viewers see as a gap.
pub const RESERVE_AHEAD: u64 = 2;

/// Recordings whose index is kept in memory.
pub const RECORDINGS: usize = 256;

/// Segments of all of them: a day of 2 s segments is 43,200, about 20 MB.
pub const RECORDING_SEGMENTS: usize = 100_000;

/// How long the index of a broadcast that is not over is taken as it was read.
pub const LIVE_INDEX_KEPT: Duration = Duration::from_secs(1);

/// How long lists say that objects are gone before the store is asked again, as a disk may be mounted late: each time is a
/// listing of the video's folder.
pub const GONE_KEPT: Duration = Duration::from_secs(60);

/// Languages of one video's captions. Each takes a hundred bytes of its document, of 16 KiB.
pub const CAPTIONS_LANGUAGES: usize = 40;

/// Pages of the index kept in memory, for reads of single segments of a broadcast on the air.
pub const PAGES: usize = 256;

/// Videos that one pass of retention deletes at most, so that a pass ends.
pub const PASS_DELETES: usize = 1_000;

/// Of what is deleted for room a share of one in so many must have become free, or it was in vain: others write to the
/// disk meanwhile.
pub const GAINED_LEAST: u64 = 4;

/// How long no more is deleted for room after it was in vain: longer than file systems take that free what is deleted
/// later (btrfs: 30 s). It doubles with each time, for a backup on the same disk stays.
pub const IN_VAIN_WAIT: Duration = Duration::from_secs(60);

/// The longest of these waits: what is lost in vain each hour is what is missing to the floor, in whole recordings, so at
/// least one of whatever size.
pub const IN_VAIN_WAIT_MAX: Duration = Duration::from_secs(3_600);

/// Lost segments remembered for playlists that list them after memory has let them go: hours of a full
/// disk. Beyond it the oldest are listed without media until the broadcast ends.
pub const LOST_KEPT: usize = 16_384;

/// Records of the index that are read at once for who fetches the past: four minutes of segments.
pub const PAST_RECORDS: u64 = 128;

/// Clips that are made at one time: each holds some segments of its source in memory, and reads and writes the disk that
/// broadcasts are recorded on.
pub const CLIPS_AT_ONCE: usize = 2;

/// Segments of one clip that are on their way to the store at once: enough for the next one to be read while the disk syncs,
/// and few enough to hold in memory.
pub const CLIP_PUTS: usize = 4;

/// For so long after its last failure a store is said to fail: who records tries again every few seconds.
pub const FAILING_KNOWN: Duration = Duration::from_secs(30);

/// Recordings that are named in the log, once each, because they have lost objects.
pub const MISSING_TOLD: usize = 1_000;
