//! Every number that protects the process from what a peer sends, each with its reason.

use std::time::Duration;

/// Longest decoder configuration (avcC, AudioSpecificConfig) that is read. Real ones are under 200 bytes; the largest
/// legal avcC (32 SPS and 256 PPS of 64 KiB) serves nobody.
pub const CONFIG_BYTES_MAX: usize = 64 * 1024;

/// Longest SPS that is parsed. Scaling lists and HRD parameters together stay below 1 KiB.
pub const SPS_BYTES_MAX: usize = 4 * 1024;

/// Bytes of an SEI unit that are looked into. Captions of one picture have a hundred at most, and stand at the front.
pub const SEI_BYTES_MAX: usize = 4 * 1024;

/// Parameter sets kept per kind. ISO 14496-10 allows 32 SPS and 256 PPS; encoders use one to four.
pub const PARAMETER_SETS_MAX: usize = 32;

/// NAL units in one access unit. A 4K picture has at most a few hundred slices; without a bound one 16 MiB object of
/// empty units would cost millions of iterations.
pub const NAL_UNITS_MAX: usize = 16 * 1024;

/// Largest picture side in pixels. H.264 level 6.2 ends at 16,888; nothing decodes more.
pub const PICTURE_SIDE_MAX: u32 = 16_384;

/// Plausible frame rates in frames per second; outside of them a declaration is ignored.
pub const FRAME_RATE_MAX: u32 = 300;

/// Bits a second that a publisher may declare of a track; more is a lie or a slip of units, and ignored: three times what
/// 4K at 60 frames a second takes.
pub const DECLARED_BITS_MAX: u64 = 200_000_000;

/// Highest audio sample rate: 96 kHz is AAC's highest index, twice that is room for lossless codecs.
pub const SAMPLE_RATE_MAX: u32 = 192_000;

/// Samples of one fragment. A segment of 10 s at 300 frames a second has 3,000.
pub const FRAGMENT_SAMPLES_MAX: usize = 64 * 1024;

/// Longest FLV tag body, equal to the object bound of the spine (DESIGN §8), and what 24 bits can say.
pub const FLV_TAG_BYTES_MAX: usize = 16 * 1024 * 1024 - 1;

/// Tracks of one E-RTMP message: their ids have 8 bits.
pub const FLV_TRACKS_MAX: usize = 256;

/// ModEx packets ahead of one message. One kind is defined; each costs three bytes, so that without a bound a message of
/// 16 MiB would cost millions of rounds.
pub const FLV_MOD_EX_MAX: usize = 16;

/// OBUs of one AV1 temporal unit. A 4K picture has at most 128 tiles, each of which may be an OBU.
pub const OBUS_MAX: usize = 4 * 1024;

/// Frames of one audio packet that are counted. Opus has 48 at most, E-AC-3 has up to 8 + 8 substreams of 6.
pub const AUDIO_FRAMES_MAX: usize = 128;

/// An encoder that makes key frames when viewers ask for one is asked at most so often: each costs several times what
/// another picture does, and any viewer may ask.
pub const GROUP_ASKED_AGAIN: Duration = Duration::from_secs(1);

/// Tracks of one timeline: the publisher-made tracks of one broadcast (DESIGN §8).
pub const TIMELINE_TRACKS_MAX: usize = 256;

/// A composition offset beyond this is a mistake and taken as zero. Sixteen reference frames at one frame a second
/// would need more, no encoder does that live.
pub const COMPOSITION_MS_MAX: i64 = 10_000;

/// Longest catalog that is parsed: 256 tracks with 2 KiB of description and initialisation data each, doubled.
pub const CATALOG_BYTES_MAX: usize = 1024 * 1024;

/// Tracks of a catalog that are read, see [`TIMELINE_TRACKS_MAX`]; derived ones come on top.
pub const CATALOG_TRACKS_MAX: usize = 1024;

/// Samples of an MP4 file that is read: 24 h at 60 frames a second, and never more than the file has bytes.
pub const MP4_SAMPLES_MAX: usize = 6_000_000;

/// Tracks of an MP4 file.
pub const MP4_TRACKS_MAX: usize = 64;

/// Boxes that are walked in an MP4 file. A fragmented file of 24 h with parts of 0.2 s has 432,000 `moof`.
pub const MP4_BOXES_MAX: usize = 4_000_000;

/// The index of an MP4 file (`moov`): [`MP4_SAMPLES_MAX`] samples of a track cost up to 16 bytes each.
pub const MP4_MOOV_BYTES_MAX: usize = 128 * 1024 * 1024;

/// A fragment of an MP4 file that is read as it comes: 10 s at 50 Mbit/s.
pub const MP4_FRAGMENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A raw group of pictures is cut here without a key frame: readers that start at a group must not wait longer, and a
/// group is the smallest thing that memory can give back.
pub const RAW_GROUP_MAX: Duration = Duration::from_secs(4);

/// Raw audio begins a group at least this often.
pub const RAW_AUDIO_GROUP_MAX: Duration = Duration::from_secs(1);

/// A raw group is cut here, well below the spine's bound for a group: 4 s at 64 Mbit/s.
pub const RAW_GROUP_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Frames that may be decoded ahead of their turn: H.264 and HEVC allow 16.
pub const REORDER_FRAMES_MAX: usize = 16;

/// Longest list of pairs that a player says of itself. CTA-5004 asks for short ones: whole reports are under 500 bytes.
pub const CMCD_BYTES_MAX: usize = 2_048;

/// Longest session id of a player. CTA-5004 recommends a UUID (36) and allows 64.
pub const CMCD_SESSION_BYTES_MAX: usize = 64;

/// Longest start that a player is believed, in milliseconds: nobody waits for longer.
pub const CMCD_START_MS_MAX: u32 = 60_000;

/// Players of one broadcast that are told apart by what they say: 1 MB. More are not listened to.
pub const PLAYBACK_SESSIONS_MAX: usize = 10_000;

/// Of these, so many of one address: an office fits, and a single liar is a hundredth of the picture.
pub const PLAYBACK_ADDRESS_SESSIONS_MAX: usize = 100;

/// A player that says nothing for so long has gone.
pub const PLAYBACK_SILENT: Duration = Duration::from_secs(60);

/// Reports of a stall that are closer together are of the same one: players add it to several requests.
pub const PLAYBACK_STALL_APART: Duration = Duration::from_secs(1);

/// A file of captions: the vendor's bound. A film has 100 KB.
pub const CAPTIONS_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Cues of one file: one a second for a day. Each takes 64 bytes while the file is looked at.
pub const CAPTIONS_CUES_MAX: usize = 100_000;

/// Hours that captions may count: no recording is longer than a few weeks.
pub const CAPTIONS_HOURS_MAX: u64 = 9_999;

/// Objects that were sent, kept while a frame is followed: a part to each of so many viewers. A megabyte.
pub const DEPARTURES_MAX: usize = 8_192;

/// What can't be read of an encoder is counted anew after so long: one odd message a second, of hundreds, ends nothing, and what
/// can't be read at all ends within a minute.
pub const UNREADABLE_WITHIN: Duration = Duration::from_secs(600);
