//! The numbers that protect delivery, each with its reason.

use std::time::Duration;

/// Requests that wait for a playlist or a part at one time, on the node.
pub const PARKED_MAX: usize = 50_000;

/// And of one address (of IPv6, one /64): a quarter of them, so that one that asks for everything at once leaves room for others,
/// and three thousand viewers behind one gateway, of up to four requests each, still find theirs.
pub const PARKED_PER_ADDRESS_MAX: usize = 12_500;

/// A body in memory that is longer than this is handed out in pieces of it, between which it is asked whether its viewer may still
/// have it: beyond that, what is left to send is in no hands but ours.
pub const PIECE_BYTES: usize = 256 << 10;

/// What is read of a recording at one time for who takes it, and so what a reader that stalls holds of it. To read so costs 0.06 CPU-s/GB more
/// than to read 1.5 MB at once; by halves of it 0.17 more, by quarters 0.4.
pub const READ_BYTES: u64 = 256 << 10;

/// Bytes of recordings that were read and are not taken yet, on the node: 4,000 who read at one moment, each of whom has a piece.
pub const READ_BYTES_MAX: u64 = 1 << 30;

/// And for one address (of IPv6, one /64): a quarter of them.
pub const READ_BYTES_PER_ADDRESS_MAX: u64 = 256 << 20;

/// The longest body of unknown length that is gathered for who asks by HTTP/1.0: a segment of ten seconds at 50 Mbit/s. Longer ones are made
/// for as long as somebody watches.
pub const WHOLE_BYTES_MAX: usize = 64 << 20;

/// Renderings kept of one rendition: plain, low latency, everything, delta, of the newest version.
pub const RENDERINGS_MAX: usize = 8;

/// How long a body that is made as it is sent goes on before it is asked again whether its viewer may have it; and where changes come one upon
/// the other, how often it is asked about a body or a request that waits. Together with what
/// is remembered of the answer (`POLICY_AGE` in `access`), a link that is taken back ends within a second.
pub const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How often one after the other such a body may be asked about without an answer before it ends: about five seconds, longer than
/// a database is busy, and no more of what may be locked meanwhile.
pub const LOOKS_UNKNOWN_MAX: u32 = 10;

/// A broadcast that is over is kept for its viewers to see its end.
pub const ENDED_KEPT: Duration = Duration::from_secs(60);

/// Viewers counted of one broadcast; more are not told apart.
pub const VIEWERS_MAX: usize = 100_000;

/// How far behind the newest segment media is promised without a recording is up to memory; requests
/// for parts that are not there yet are held only this many segments ahead.
pub const PART_AHEAD_SEGMENTS: u64 = 1;

/// A broadcast whose claim is recorded gets its shelf within this; a request between the two waits.
pub const BEGINNING: Duration = Duration::from_secs(1);

/// Of a name in the head of a page and in oEmbed: more than any preview shows, less than a page of text.
pub const SHARED_NAME_CHARS_MAX: usize = 200;

/// Reports in one message of a player. One for each kind of event is plenty.
pub const CMCD_LINES_MAX: usize = 16;

/// The longest preview (`?duration=`): the vendor's.
pub const PREVIEW_MAX: Duration = Duration::from_secs(300);

/// The largest time that a query may name, in seconds: 115 days; no broadcast is longer.
pub const TIME_MAX_S: u64 = 10_000_000;

/// Of a file's name in a query: the vendor's.
pub const FILE_NAME_CHARS_MAX: usize = 120;

/// Files that are prepared at one time. Each reads the heads of all its parts and holds its tables.
pub const PLANS_AT_ONCE: usize = 4;

/// Files that are kept prepared: players ask for one in many ranges.
pub const PLANS_KEPT: usize = 32;

/// Bytes of the heads of those, and 64 for each of their pieces. One file may have more: it is kept alone.
pub const PLANS_BYTES: usize = 64 << 20;

/// Segments of a playlist of a range: a preview of five minutes in segments of a second, and as much again.
pub const RANGE_SEGMENTS: u64 = 600;

/// A track that is so many segments behind the one that decides cuts is not waited for where a range ends.
pub(crate) const STOPPED_SEGMENTS: u64 = 2;

/// How many segments before a range its key frame is looked for: half a minute of 2 s.
pub const KEY_SEGMENTS_BACK: usize = 15;

/// How long a viewer waits for a part of a level: as long as a job may wait for an encoder, and a few seconds to encode.
pub const LEVEL_WAIT: Duration = Duration::from_secs(10);

/// How often an encoder that fails over it is asked what it would write of a broadcast's levels before they stay out of its catalog, half
/// a minute after each time (`FAILED_KEPT` in `encode`). Encoders that are busy are asked for as long as the broadcast lasts.
pub const INITS_TRIED: u32 = 5;

/// What could not be had for a level because too much is going on is tried again after this.
pub const LEVEL_AGAIN: Duration = Duration::from_secs(2);

/// Segments of a level that fail one after the other before its track ends: a single one is left out.
pub const LEVEL_FAILURES_MAX: u32 = 4;

/// How many segments a level may be behind its original on the air before it goes on with the newest: who asks for a level
/// wants it live.
pub const LEVEL_LAG_SEGMENTS: u64 = 1;

/// How long an original's next part is waited for, to be encoded: an encoder that was lost has come back by then.
pub const ORIGINAL_WAIT: Duration = Duration::from_secs(60);

/// A thumbnail's time is counted in steps, in milliseconds: else everybody who asks makes a picture of his own.
pub const PICTURE_STEP_MS: u64 = 100;

/// The poster of what is on the air is a new one every so many segments.
pub const POSTER_SEGMENTS: u64 = 4;

/// The longest film (`thumbnail.gif`): twice the vendor's usual.
pub const FILM_MAX: Duration = Duration::from_secs(10);

/// Pictures a second of a film at most.
pub const FILM_FPS_MAX: u32 = 15;

/// Pictures of a storyboard; a longer video has one for every second, fourth... segment.
pub const STORYBOARD_TILES_MAX: u64 = 400;

/// Pixels of the longer side of a storyboard's pictures.
pub const STORYBOARD_SIDE: u32 = 192;

/// How long who asks for a recording waits while the last of its broadcast is being committed. A disk that takes longer is
/// in trouble.
pub const FINISHING: Duration = Duration::from_secs(5);

/// Of what a browser calls itself, to tell those of one address apart.
pub const AGENT_CHARS_MAX: usize = 100;
