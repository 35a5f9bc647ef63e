//! Every number that protects a node from a MoQT peer, each with its reason.

use std::time::Duration;

/// The body of a control message: its length field has 16 bits (draft-18 §10).
pub const MESSAGE_BYTES_MAX: usize = 0xffff;

/// Parameters in one message. Draft 21 defines 20, of which only tokens and range filters may repeat.
pub const PARAMETERS_MAX: u64 = 64;

/// Fields of a namespace (draft-18 §2.4.1).
pub const NAMESPACE_FIELDS_MAX: usize = 32;

/// Bytes of a namespace and a track name together, lengths not counted (draft-18 §2.4.1).
pub const NAME_BYTES_MAX: usize = 4_096;

/// A reason in words (draft-18 §1.4.4).
pub const REASON_BYTES_MAX: usize = 1_024;

/// The URI of a GOAWAY (draft-18 §10.4); we hold redirects to the same.
pub const URI_BYTES_MAX: usize = 8_192;

/// The value of a key-value pair with an odd type (draft-18 §1.4.3).
pub const PAIR_VALUE_BYTES_MAX: u64 = 0xffff;

/// The properties of one object. The draft sets no bound; LOC and CMSF need less than 1 KiB, a codec
/// configuration at most a few. They are held whole, so a stream's memory is bounded by this.
pub const OBJECT_PROPERTIES_BYTES_MAX: u64 = 64 << 10;

/// Requests of the peer that are open at once. QUIC's limit of bidirectional streams is the first bound;
/// this one holds if the driver sets that one too high. Draft 16 is told it with MAX_REQUEST_ID.
pub const REQUESTS_MAX: usize = 1_000;

/// Unanswered REQUEST_UPDATEs of one request. Up to draft 18 there is no way to announce a bound; one more is
/// refused with EXCESSIVE_LOAD, which ends its request. Later it is told with MAX_REQUEST_UPDATES.
pub const UPDATES_MAX: usize = 16;

/// Out-of-order gaps in the peer's Request IDs that we remember. IDs arrive on streams of their own, so
/// some are late and some (of streams that were reset at once) never come.
pub const REQUEST_ID_GAPS_MAX: usize = 1_024;

/// Requests and updates of ours that wait for a peer to allow them (MAX_REQUEST_ID of draft 16). Somebody else
/// may be why we ask, so a peer that allows nothing must not make us keep them all.
pub const BLOCKED_REQUESTS_MAX: usize = 1_000;

/// The gaps where requests share one stream, and only the few with streams of their own are late.
pub const REQUEST_ID_GAPS_SHARED_MAX: usize = 64;

/// From the start of a session to the peer's SETUP. It is one round trip away.
pub const SETUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of requests that came before the peer's SETUP, of all streams. A client pipelines a handful of
/// requests of some hundred bytes.
pub const EARLY_BYTES_MAX: usize = 64 << 10;

/// Inputs that are held before the peer's SETUP: pieces of requests, and data streams that outran it.
pub const EARLY_INPUTS_MAX: usize = 1_024;

/// Bytes of messages that are not whole, on all request streams whose request is not known yet. A request
/// of the full size is 64 KiB; most fit into one packet.
pub const NASCENT_BYTES_MAX: usize = 256 << 10;

/// Bytes that open requests hold besides themselves, of one session: messages that are not whole, updates
/// without an answer, joining fetches that wait. Mostly some hundred; tokens may make them 64 KiB each.
pub const PENDING_BYTES_MAX: usize = 1 << 20;

/// Data streams whose track alias is not known yet: their SUBSCRIBE_OK or PUBLISH is on its way, on
/// another stream. More are refused with STOP_SENDING.
pub const WAITING_STREAMS_MAX: usize = 256;

/// Datagrams that wait for their alias.
pub const WAITING_DATAGRAMS_MAX: usize = 64;

/// Their bytes.
pub const WAITING_DATAGRAM_BYTES_MAX: usize = 128 << 10;

/// How long both wait: some round trips, with a retransmission.
pub const ALIAS_WAIT: Duration = Duration::from_secs(2);

/// Aliases of ended subscriptions that we still know, to discard late objects quickly (draft-18 §11.1).
pub const RETIRED_ALIASES_MAX: usize = 1_024;

/// What we let the peer register as authorization tokens (MAX_AUTH_TOKEN_CACHE_SIZE). A signed token has
/// about 1 KiB; each entry counts 16 bytes more (draft-18 §10.3.1.3).
pub const TOKEN_CACHE_BYTES: u64 = 16 << 10;

/// Bytes of namespaces that one SUBSCRIBE_NAMESPACE of ours may list, each counted with
/// [`NAMESPACE_OVERHEAD_BYTES`]. A relay that has more is asked with a longer prefix.
pub const NAMESPACES_BYTES_MAX: usize = 4 << 20;

/// Nodes that a namespace may have come over. A tree with eight levels has more leaves than anybody has machines, and whatever
/// goes in circles is at its end after so many.
pub const ROUTE_NODES_MAX: usize = 8;

/// What a namespace in a list takes besides its bytes.
pub const NAMESPACE_OVERHEAD_BYTES: usize = 128;

/// The least time that we wait for late streams after PUBLISH_DONE, if it did not count them.
pub const DONE_WAIT_MIN: Duration = Duration::from_secs(2);

/// The longest such wait, whatever the delivery timeouts of the subscription are.
pub const DONE_WAIT_MAX: Duration = Duration::from_secs(30);

/// The longest GOAWAY timeout that we keep. A longer one is as good as none.
pub const GOAWAY_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// When who was refused because there is too much may ask again: sessions that are too many end within that, and a thousand of
/// those who ask are two hundred requests a second.
pub const RETRY_LOAD: Duration = Duration::from_secs(5);

/// When who was refused because something did not come about in time may ask again.
pub const RETRY_SOON: Duration = Duration::from_secs(1);
