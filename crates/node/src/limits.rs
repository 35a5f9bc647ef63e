//! The numbers that protect a running node, each with its reason.

use std::time::Duration;

/// A peer must finish its TLS handshake, say which HTTP it speaks, and finish the head of each request, within this each.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);

/// HTTP connections at one time, over all listeners. Where the system lets the program have fewer than 20,000 open files and
/// sockets it is three quarters of those: encoders, recordings and the database need some, too.
pub(crate) const CONNECTIONS_MAX: usize = 15_000;

/// Request heads beyond this are refused. Cookies and tokens fit; nothing else is long.
pub(crate) const HEAD_BYTES_MAX: usize = 16 << 10;

/// The body of a request must be there whole this long after its head. The largest, captions of 10 MiB, need 4 Mbit/s.
pub(crate) const REQUEST_BODY: Duration = Duration::from_secs(20);

/// An answer of which nothing is read for so long has no reader. It holds media in memory meanwhile.
pub(crate) const STALLED: Duration = Duration::from_secs(30);

/// What of an answer lies in the system's buffer unsent (`TCP_NOTSENT_LOWAT`), beyond what is on its way. A viewer that reads
/// slowly gets little more than that after his link has ended, where the system takes megabytes.
pub(crate) const UNSENT_BYTES: u32 = 128 << 10;

/// An HTTP/2 connection on which nothing is asked ends after this, or a ping (20 s) later: who watches asks every few seconds, and to come back is
/// one round trip or two. Those of trusted proxies stay.
pub(crate) const IDLE: Duration = Duration::from_secs(60);

/// How long its client has to go when it is told to.
pub(crate) const LEAVE: Duration = Duration::from_secs(10);

/// Streams of one HTTP/2 connection: a player holds a few parked reloads and downloads.
pub(crate) const STREAMS_MAX: u32 = 128;

/// After a stop, answers that are under way may take this long.
pub(crate) const DRAIN: Duration = Duration::from_secs(5);

/// A publisher that was replaced is refused for so long, so that two machines do not fight.
pub(crate) const REPLACED_REFUSED: Duration = Duration::from_secs(30);

/// So many that were replaced are remembered of an input: more machines than one owner has, a few hundred bytes.
pub(crate) const LOSERS_KEPT: usize = 16;

/// A publisher without a frame for so long is taken for dead when another one comes.
pub(crate) const HEARD_LATELY: Duration = Duration::from_secs(3);

/// Raw group ids reserved ahead of the newest one. Sound begins one a second.
pub(crate) const GROUPS_AHEAD: u64 = 1_024;

/// Segment numbers reserved at a time where nothing is recorded: nobody sees them left out.
pub(crate) const RESERVED_AHEAD: u64 = 256;

/// Segment numbers reserved above the next one while a recorder's commits, which reserve too, are late.
/// After a kill they are a gap, so there are none to spare.
pub(crate) const RESERVED_AHEAD_RECORDING: u64 = 0;

/// A new broadcast on an input waits so long for the last commits of the one before.
pub(crate) const FINISH_WAIT: Duration = Duration::from_secs(5);

/// The first pause after the index could not be told that a broadcast is over or waited for; it doubles in between.
pub(crate) const RETRY: Duration = Duration::from_millis(100);

/// The longest of these pauses: well within [`FINISH_WAIT`], so that who comes next begins a broadcast of its own.
pub(crate) const RETRY_MAX: Duration = Duration::from_secs(1);

/// A parked broadcast's end is decided in memory. The index waits a little longer, so that what the
/// recorder still has can be committed.
pub(crate) const PARK_MARGIN_MS: u64 = 15_000;

/// How often broadcasts are looked for that a server before this one left open.
pub(crate) const EXPIRE_EVERY: Duration = Duration::from_secs(5);

/// Numbers of a gap whose time is left out on the timeline too; more are of an outage.
pub(crate) const GAP_NUMBERS_TIMED: u64 = 32;

/// How often what is kept too long is looked for. The floor of free space must be looked after before
/// a busy node has written a gigabyte.
pub(crate) const RETENTION_EVERY: Duration = Duration::from_secs(10);

/// How soon after a pass of retention the next one may be, if there is less room than there must be.
pub(crate) const RETENTION_AT_ONCE: Duration = Duration::from_secs(1);

/// How long a stop may take: broadcasts end, answers go out.
pub(crate) const STOP: Duration = Duration::from_secs(10);

/// A backup copies the database again so often at most, because something that it names was deleted meanwhile.
pub(crate) const BACKUP_ROUNDS_MAX: u32 = 5;

/// Recordings that are offered over MoQ at once. Each is an index that is in memory anyway, and a few kilobytes.
pub(crate) const PAST_BROADCASTS: usize = 64;

/// Media of recordings that is on its way to who fetches it over MoQ.
pub(crate) const PAST_BYTES: usize = 64 << 20;

/// Ranges of recordings that are read at once; more wait.
pub(crate) const PAST_ANSWERS: usize = 64;

/// How long who opens a recording over MoQ waits for the encoder to say what its levels begin with: ten times what that
/// takes on a busy machine. Without an answer there is the original, and who comes next asks again.
pub(crate) const PAST_LEVELS_WAIT: Duration = Duration::from_secs(2);

/// How soon it is asked again after that: a first time costs who comes the wait.
pub(crate) const PAST_LEVELS_AGAIN: Duration = Duration::from_secs(10);

/// How often a segment of a recording's level is asked for over MoQ before it is a gap: all encoders may be busy for a moment.
pub(crate) const PAST_LEVEL_TRIED: u32 = 4;

/// Ranges that wait to be read.
pub(crate) const PAST_WAITING: usize = 1_024;

/// Live inputs whose playback is in the metrics, those with the most players: each costs a dozen series.
pub(crate) const PLAYBACK_INPUTS_MAX: usize = 100;

/// Made segments of levels that are kept: a minute of a ladder for a dozen broadcasts; of a small machine or
/// container no more than an eighth of the memory. They can be made again.
pub(crate) const LEVELS_CACHE_BYTES: usize = 256 << 20;

/// When no more than this is free beside what must be free, made segments of levels on the disk go: before recordings do.
pub(crate) const LEVELS_YIELD_BYTES: u64 = 1_000_000_000;

/// What an encoder process is expected to take when their number is not configured: some 60 pictures of 1080p that x264 looks
/// ahead at and refers to, as much again for the levels below, and those of the decoder.
pub(crate) const WORKER_BYTES: u64 = 400 << 20;

/// How long a frame is waited for that is to be followed: what is on the air sends thirty in this time, or is stuck.
pub(crate) const TRACE_FRAME: Duration = Duration::from_secs(5);

/// How long its part is waited for, behind it: audio waits for the video that decides its cut.
pub(crate) const TRACE_PART: Duration = Duration::from_secs(5);

/// How long it is watched to whom it is sent. Players that keep away from the edge ask a second later.
pub(crate) const TRACE_VIEWERS: Duration = Duration::from_millis(1_500);
