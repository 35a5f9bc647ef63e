//! The numbers that protect delivery, each with its reason.

use std::time::Duration;

/// Requests that wait for a playlist or a part at one time, on the node.
pub const PARKED_MAX: usize = 50_000;

/// Renderings kept of one rendition: plain, low latency, everything, delta, of the newest version.
pub const RENDERINGS_MAX: usize = 8;

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
