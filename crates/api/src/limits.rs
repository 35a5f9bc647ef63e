//! The numbers that bound what a request may hold, each with its reason.

use std::time::Duration;

/// The largest body of a request that is not an upload.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 10;

/// How long, and how much, is read of a body that says it is too long, before it is refused.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// See [`LINGER`].
pub(crate) const LINGER_BYTES: usize = 16 << 20;

/// The body of an upload of captions: the file (10 MiB) and the form around it.
pub(crate) const CAPTIONS_BODY_MAX: usize = (10 << 20) + (16 << 10);

/// Origins in a list of an input's or a video's settings.
pub(crate) const ORIGINS_MAX: usize = 100;

/// One origin: a host name has no more.
pub(crate) const ORIGIN_BYTES_MAX: usize = 255;

/// Characters of what is none that are said again in the answer: enough to find it.
pub(crate) const ORIGIN_SHOWN_CHARS: usize = 80;

/// `recording.timeoutSeconds`. The vendor's bounds are not published; a day is more than anybody waits for an encoder.
pub(crate) const TIMEOUT_SECONDS_MAX: u64 = 86_400;

/// How many videos a list has at most, and unless something else is asked for.
pub(crate) const LIST_VIDEOS_MAX: usize = 1_000;

/// The vendor's minimum until a video is deleted: 30 days after the upload.
pub(crate) const DELETION_MS_MIN: u64 = 30 * 86_400_000;

/// Rows of a page of API tokens or of the audit log; the vendor's bound for the latter.
pub(crate) const PER_PAGE_MAX: u64 = 1_000;

/// The number of a page: more rows than anybody has, and what stands before them fits into an integer of the database.
pub(crate) const PAGE_MAX: u64 = 1_000_000_000;

/// Policies of one API token: as many as there are scopes, with room for denials.
pub(crate) const TOKEN_POLICIES_MAX: usize = 20;

/// Networks, or live inputs and videos, that one policy of an API token names. Its document has 16 KiB.
pub(crate) const TOKEN_LIST_MAX: usize = 100;

/// Characters of an API token's name; the vendor's bound.
pub(crate) const TOKEN_NAME_CHARS_MAX: usize = 120;

/// Characters of what a link is called.
pub(crate) const LINK_NAME_CHARS_MAX: usize = 64;

/// Live inputs of a page of their list, at most and unless something else is asked for: as many as the vendor lists.
pub(crate) const LIST_INPUTS_MAX: usize = 1_000;

/// Characters of an `Idempotency-Key`; the vendor's bound.
pub(crate) const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;

/// Keys that are remembered; the oldest go first. Clients that try again do so within a minute.
pub(crate) const IDEMPOTENCY_KEYS: usize = 500;

/// And no longer than this, as the vendor has it.
pub(crate) const IDEMPOTENCY_AGE: Duration = Duration::from_secs(6 * 3_600);

/// Of what the framework says when it refuses a request, what is kept.
pub(crate) const WORDS_BYTES_MAX: usize = 4 << 10;

/// Characters of each of a video's `publicDetails`: an address of a page, a line of text.
pub(crate) const PUBLIC_DETAIL_CHARS_MAX: usize = 500;

/// Characters of a creator's name, of live inputs and videos; the vendor's bound.
pub(crate) const CREATOR_CHARS_MAX: usize = 64;

/// Levels of a ladder, as of the server's own (`encode::limits::LADDER_MAX`).
pub(crate) const LADDER_MAX: usize = 12;
