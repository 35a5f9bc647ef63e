//! The numbers that protect packaging and playlists, each with its reason.

use std::time::Duration;

/// Target durations of media that the live window has at least. A list may not become shorter than three (RFC 8216bis
/// §6.2.2), and a player begins three behind the edge (§6.3.3); six leave it as much again to load from. Key frames that
/// viewers ask for make short segments: then it has more of them.
pub const WINDOW_TARGET_DURATIONS: u32 = 6;

/// Segments of the live window, also if fewer would last as long.
pub const WINDOW_SEGMENTS: usize = 6;

/// What may be missing of the live window's time: sound is cut at the borders of its own frames, and has the window of its
/// pictures all the same.
pub const WINDOW_SLACK: Duration = Duration::from_millis(200);

/// Groups of packaged tracks behind the live window that stay in memory with it: the one that is being made, and one for
/// those who are late.
pub const WINDOW_GROUPS_BESIDE: usize = 2;

/// Parts are listed for the newest three target durations. RFC 8216bis §6.2.2 lets a server remove
/// them behind that; Apple's players want them up to there.
pub const PARTS_TARGET_DURATIONS: u32 = 3;

/// How far a reload may ask ahead of the newest segment. RFC 8216bis §6.2.5.2: "more than two".
pub const AHEAD_SEGMENTS: u64 = 2;

/// A blocking reload is answered after three target durations at the latest. RFC 8216bis §6.2.5.2.
pub const RELOAD_TARGET_DURATIONS: u32 = 3;

/// Segments that an index keeps of one rendition: a week of 2 s, half a gigabyte and 40 MB of text in all.
/// Beyond it the oldest go. Of a longer recording playlists list the newest week.
pub const INDEX_SEGMENTS: usize = 302_400;

/// Segments that the list of a broadcast on the air reaches back to, a day of 2 s: it is rendered anew
/// with every part.
pub const LIVE_SEGMENTS: usize = 43_200;

/// Parts of one segment that an index takes: 0.2 s parts of a 12 s segment, three times over.
pub const SEGMENT_PARTS: usize = 192;

/// Audio waits this long for the video that decides where it is cut, or longer than video has been late; then it goes on
/// alone.
pub const CUT_WAIT: Duration = Duration::from_millis(1_500);

/// The longest wait for pictures that come late all the time, and how late a picture may be and still get into the
/// segments that sound has cut without it: what a player's buffer bears, and few enough frames to hold.
pub const LATE_MAX: Duration = Duration::from_secs(10);

/// Sound that has not come when its picture is so much further, or as much more than it has been late, is silence from then
/// on: less than what players hold in low latency, who would stand with the picture.
pub const SOUND_WAIT: Duration = Duration::from_millis(500);

/// A picture that has begun and has not come when its sound is so much further stands from then on, and sound waits as long to be
/// cut: what players hold that stay three target durations behind the edge, but for the segment that they load.
pub const PICTURE_WAIT: Duration = Duration::from_secs(4);

/// Silence and pictures that stand, made at once at most. Times that jump in each packet would make hundreds of frames of a few
/// bytes.
pub const MADE_MAX: Duration = Duration::from_secs(120);

/// How much of them comes with the time that passes: an encoder that sends faster than it plays has it, too.
pub const MADE_SPEED: i64 = 4;

/// How long it is remembered how late sound has been: over the hiccups of a bad uplink.
pub const LATE_REMEMBERED: Duration = Duration::from_secs(30);

/// The longest hole that is made silence at once: more than the timeline lets a source be silent with its times going on.
/// While pictures come, silence goes on with them, however long.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How long after its beginning (or the return of its encoder) a broadcast's first segments are open to sound or pictures
/// that nothing is known of: encoders announce all tracks with their first messages, and a camera or an uplink that is
/// slow needs seconds. What is announced later begins where the others are.
pub const UNKNOWN_MAX: Duration = Duration::from_secs(5);

/// How long they are open to sound or pictures that are announced and have not come: as late as the timeline takes a track
/// for late, 30 s, and what packaging holds back. What comes later begins where the others are.
pub const LATE_START: Duration = Duration::from_secs(32);

/// Initialisation segments of one broadcast. An encoder that changes its configuration more often
/// than this in one broadcast is broken, and each one is kept in memory.
pub const INITS: usize = 64;

/// The largest number or time that an index takes, as large as a variable-length integer (RFC 9000 §16) can be: what is
/// added to one stays below 2^64.
pub const NUMBER_MAX: u64 = (1 << 62) - 1;

/// The longest target duration that an index takes, in seconds. The configuration allows 10; an hour is a lie.
pub const TARGET_DURATION_MAX: u32 = 3_600;

/// Segments in a row that a rendition may leave out; a longer hole begins a new list.
pub const GAP_SEGMENTS: u64 = 1_800;

/// What low-latency DASH aims at behind the live edge: a segment is known half a second after its first
/// part at the latest, and then comes as it is made; the rest is what the network may take.
pub const LATENCY_TARGET_MS: u32 = 1_500;

/// Segments, parts and renditions of a playlist that a client reads: a day of 2 s segments, twice.
pub const PLAYLIST_ENTRIES_MAX: usize = 100_000;

/// Sound is decoded so much ahead of what is heard: Opus wants 80 ms (RFC 7845 §4.2), AAC one frame.
pub const CLIP_PREROLL: Duration = Duration::from_millis(100);

/// Parts behind a clip that are looked at: pictures are decoded in another order than they are shown, by less than this.
pub const CLIP_MARGIN: Duration = Duration::from_secs(1);

/// How far before a clip its key frame is looked for. Encoders that send fewer key frames have none that a viewer could
/// begin with either.
pub const CLIP_LOOK_BACK: Duration = Duration::from_secs(30);

/// Parts of one file: 12 hours of picture and sound in parts of 1/3 s twice over. Each takes a hundred bytes while the file
/// is prepared.
pub const CLIP_PARTS: usize = 600_000;

/// Samples of one file: 12 hours at 60 frames a second with sound. Each takes 8 to 16 bytes of its `moov`.
pub const CLIP_SAMPLES: usize = 5_000_000;

/// What is read of a part to learn its samples: the `moof` of 120 frames. A longer one is read again.
pub const CLIP_HEAD_BYTES: u64 = 2_048;
