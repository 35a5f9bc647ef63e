//! The numbers that protect a client from what it reads, each with its reason.

use std::time::Duration;

/// Frames that wait between the thread that reads a source and the one that sends: about a second.
pub const ITEMS_WAITING: usize = 64;

/// How far tracks of a pipe may lie apart before the slow one is not waited for: a fragment of one track comes after
/// the other's, and fragments of 10 s exist.
pub const INTERLEAVE: Duration = Duration::from_secs(15);

/// Bytes that wait for another track's frames: [`INTERLEAVE`] at 50 Mbit/s.
pub const INTERLEAVE_BYTES: usize = 96 << 20;

/// Bytes read from a pipe or a file at once.
pub const READ_BYTES: usize = 64 << 10;

/// Frames read ahead to learn a source's tracks before anything is sent. In FLV the sound's header may come behind the
/// first pictures.
pub const PEEK_FRAMES: usize = 32;

/// A server that does not answer to a connection for so long is not there.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A request for a playlist may be held for three target durations, of 10 s at most, and a little more.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);

/// One answer: a segment of 10 s at 100 Mbit/s, or the longest playlist.
pub const BODY_BYTES_MAX: usize = 128 << 20;

/// From one address to the next.
pub const REDIRECTS_MAX: usize = 5;

/// How often a request is sent in all, if the server is in trouble or the connection breaks.
pub const RETRIES: u32 = 4;

/// The pause after the first failure; after the n-th it is n times as long.
pub const RETRY_AFTER: Duration = Duration::from_millis(300);

/// Tracks of one broadcast that are followed: a ladder of eight pictures and as many sounds.
pub const TRACKS_MAX: usize = 16;

/// Events that wait between those who load and the one who counts.
pub const EVENTS_WAITING: usize = 64;

/// What may wait in memory for another track while recording, before the file can go on.
pub const RECORD_BYTES_WAITING: usize = 256 << 20;

/// The media of a broadcast that is published over MoQ, in memory for who subscribes: a minute at 8 Mbit/s.
pub const PUBLISHED_BYTES: usize = 64 << 20;

/// The pause after a MoQ session was lost; after the n-th failure in a row it is n times as long.
pub const RECONNECT_AFTER: Duration = Duration::from_millis(500);

/// The longest pause between two tries to connect again: an encoder is waited for 15 s, by default.
pub const RECONNECT_AFTER_MAX: Duration = Duration::from_secs(5);

/// What was published must have been fetched by the server so long after its end.
pub const LAST_MEDIA: Duration = Duration::from_secs(10);

/// An initialisation segment that a catalog does not name yet: it is sent before what needs it.
pub const INIT_WAIT: Duration = Duration::from_secs(5);

/// How much a player holds before it shows something: what a stall is measured against.
pub const PLAYER_BUFFER: Duration = Duration::from_millis(500);

/// How long a session goes on that a server has asked us to leave. Airwave closes it itself before that.
pub const LEAVING_MAX: Duration = Duration::from_secs(15);

/// How often a client lets itself be sent on in a row: a fleet that restarts one by one, and no more of two servers that send
/// it to each other.
pub const MOVES_MAX: u32 = 8;

/// Who has been with a server for so long was not sent to and fro.
pub const STAYED: Duration = Duration::from_secs(30);

/// What was being watched must be there again within this, where a server that goes away has sent us: its publisher is on its way
/// there as well, and a server that starts again takes some seconds.
pub const MOVE_WAIT: Duration = Duration::from_secs(20);

/// How much later than the end of a subscription the word may be that the session goes on elsewhere: some round trips.
pub const GOAWAY_LATE: Duration = Duration::from_secs(2);

/// A server whose groups have numbers that lie so far ahead has counted them by itself: nobody who watches live is behind by
/// so many.
pub const GROUPS_AHEAD_MAX: u64 = 64;

/// What is older than what was handed out last is late, and left out, up to so many groups: what is further back its publisher counts
/// anew, if it is more than one group.
pub const LATE_GROUPS_MAX: u64 = 16;

/// Subgroups of the newest group of which it is remembered what was handed out: some layers, or as many objects as overtake each
/// other where each has a subgroup of its own. What older ones still bring is late.
pub const SUBGROUPS_REMEMBERED_MAX: usize = 64;
