//! The numbers that protect the RTMP listener, each with its reason.

use std::time::Duration;

/// Bytes read from a socket at once. 64 KiB reads cost a third of 4 KiB ones at 6 Mbit/s.
pub const READ_BYTES: usize = 64 << 10;

/// Bytes read at once from a peer that has not been admitted: half-open connections must stay cheap.
pub const SETUP_READ_BYTES: usize = 4 << 10;

/// A peer that does not take our answers (they are tiny) for so long is gone.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// After a refusal the connection stays open for the encoder to read it; then it is cut.
pub const CLOSE_LINGER: Duration = Duration::from_millis(500);

/// Connections that have not been admitted, from all addresses, where the system lets the program have many.
pub const HALF_OPEN_MAX: usize = 2_000;

/// Connections that have not been admitted, from one address: an office behind one address has fewer.
pub const HALF_OPEN_PER_ADDRESS_MAX: usize = 64;

/// Media that could not be read and was passed over, in [`media::limits::UNREADABLE_WITHIN`], after which an encoder is shown the
/// door.
pub const UNREADABLE_MAX: u64 = 1_000;

/// Publishing: a server that does not answer to a connection for so long is not there.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Publishing: a server that takes nothing for so long is gone. What is behind by half a minute is not live.
pub const PUSH_STALL: Duration = Duration::from_secs(30);

/// A load balancer says whom a connection is for as soon as it makes it.
pub const PROXY_HEADER: Duration = Duration::from_secs(10);

/// A peer must finish its TLS handshake within this.
pub const TLS_HANDSHAKE: Duration = Duration::from_secs(10);

/// Video tracks of one connection: encoders' ladders have three to six steps.
pub const VIDEO_TRACKS_MAX: usize = 8;

/// Audio tracks of one connection: more than OBS has (six).
pub const AUDIO_TRACKS_MAX: usize = 16;

/// How far the shapes of two pictures may differ and still be the same, in per cent: 426x240 is 0.2 off 16:9, and odd sizes
/// of small pictures are up to 1.
pub const ASPECT_OFF_PERCENT_MAX: u64 = 2;
