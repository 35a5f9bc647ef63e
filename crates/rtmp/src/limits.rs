//! Every number that protects a node from an RTMP peer, each with its reason.

use std::time::Duration;

/// The largest message of a peer that publishes. A key frame of a 100 Mbit/s encoder is below 2 MiB;
/// the format could announce 16 MiB - 1.
pub const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// The largest message before `publish` is asked for. Until then a peer is a stranger and sends only
/// commands, of a few hundred bytes each.
pub const SETUP_MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Memory reserved for unfinished messages of one publishing peer: one message of the full size on the
/// video and one on the audio chunk stream.
pub const PARTIAL_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;

/// The same before `publish` is asked for: half-open connections must stay cheap.
pub const SETUP_PARTIAL_BYTES_MAX: usize = 128 << 10;

/// How far memory is reserved ahead of a message's arrival (or as much as has arrived, if that is more),
/// so that a frame is copied once, and a lie about a length costs next to nothing.
pub const AHEAD_BYTES_MAX: usize = 64 << 10;

/// The same before `publish` is asked for.
pub const SETUP_AHEAD_BYTES_MAX: usize = 4 << 10;

/// Chunk streams with state. Encoders use three to six; a server that plays to many uses more.
pub const CHUNK_STREAMS_MAX: usize = 64;

/// The largest chunk size that a peer may set: no message can be longer than 24 bits say (RTMP 1.0 §5.4.1).
pub const CHUNK_SIZE_MAX: u32 = 0xff_ffff;

/// The chunk size that we send with: FFmpeg's own, known to be taken by every server. Some refuse more
/// than 65,536.
pub const CHUNK_SIZE_SENT: u32 = 60_000;

/// The window after which we want an acknowledgement, and after which we acknowledge to a peer that has
/// not said what it wants. 2.5 MB is what Adobe's servers announce and encoders are used to.
pub const ACK_WINDOW: u32 = 2_500_000;

/// Nesting of AMF0 values. Real commands nest three deep; deeper costs stack.
pub const AMF_DEPTH_MAX: usize = 16;

/// AMF0 values in one message, names not counted: a one-byte value takes about 50 bytes of memory.
pub const AMF_VALUES_MAX: usize = 4_096;

/// Message streams that one connection has open at once. An encoder needs one.
pub const MESSAGE_STREAMS_MAX: usize = 8;

/// Parts of one aggregate message: a second of sound and pictures has about a hundred.
pub const AGGREGATE_PARTS_MAX: usize = 4_096;

/// Media of a peer that sends before its `publish` was answered, held until the answer. Two key frames;
/// owners should stop reading while they think.
pub const UNANSWERED_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

/// The same as a number of messages: small ones cost more memory than their bytes.
pub const UNANSWERED_MESSAGES_MAX: usize = 4_096;

/// Application, stream name and URL, in bytes each. Long enough for a signed token in the query.
pub const NAME_BYTES_MAX: usize = 4_096;

/// FourCCs that we remember of an encoder's announcement; Enhanced RTMP v2 names 13.
pub const FOUR_CCS_MAX: usize = 64;

/// From the connection to the `publish` command, handshake included; and from the end of a publish to
/// the next one on the same connection. Real encoders need three round trips.
pub const SETUP_TIMEOUT: Duration = Duration::from_secs(10);

/// A publisher without a byte for so long is gone. Encoders send sound or a picture every second; TCP
/// itself would take minutes to notice.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
