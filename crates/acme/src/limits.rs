//! The numbers that protect the conversation with an authority, each with its reason.

use std::time::Duration;

/// Names of one certificate. Let's Encrypt takes no more.
pub const NAMES_MAX: usize = 100;

/// An authority that can't be reached within this is not there.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// One request to the authority, until its answer is whole. Let's Encrypt answers within seconds; some are slower.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// An answer's body. Chains of certificates are a few KiB.
pub const ANSWER_BYTES_MAX: usize = 1 << 20;

/// How long the authority may take to look at the proofs, and then to sign.
pub const DECISION_TIMEOUT: Duration = Duration::from_secs(120);

/// A whole attempt, the operator's program included. Whatever hangs then is tried anew.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// The operator's program: DNS takes minutes to spread, not hours.
pub const HOOK_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// What is read of what the operator's program says. The last line of it is told.
pub const HOOK_SAYS_BYTES_MAX: usize = 4 << 10;

/// A file of ours that is read whole: an account, or a key and its chain.
pub const KEPT_BYTES_MAX: u64 = 1 << 20;

/// Orders that are begun anew at once because the authority did not know its own nonces any more: it is many machines, or was
/// started again.
pub const NONCE_RETRIES: usize = 3;

/// The first attempt after a failure. The cause may be a name that was made a minute ago.
pub const RETRY_FIRST: Duration = Duration::from_secs(60);

/// Attempts are never further apart. Let's Encrypt lets five an hour fail for each name; and who mends what was wrong
/// does not want to wait for a day.
pub const RETRY_MAX: Duration = Duration::from_secs(6 * 3_600);

/// After the authority said that it is asked too often. Its windows are an hour and longer.
pub const RATE_LIMITED: Duration = Duration::from_secs(3_600);

/// How often the authority is asked when it wants the certificate renewed, at the most and at the least (RFC 9773
/// §4.3.2: it names a time itself).
pub const WINDOW_EVERY_MIN: Duration = Duration::from_secs(3_600);
/// The longest time between two looks: a certificate that will be revoked must be replaced soon.
pub const WINDOW_EVERY_MAX: Duration = Duration::from_secs(24 * 3_600);

/// The loop looks at the clock at least so often: a machine that slept, or whose clock was set, must not miss a renewal.
pub const LOOK_EVERY: Duration = Duration::from_secs(600);
