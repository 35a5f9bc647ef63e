//! The numbers that protect access control, each with its reason.

use std::time::Duration;

/// Bytes of a token. One with five rules of a hundred networks each and an RSA signature has half of it;
/// it stands in every URL, and proxies take 8 KiB.
pub const TOKEN_BYTES: usize = 6 << 10;

/// Rules in a token; as the service whose clients this serves.
pub const RULES: usize = 5;

/// Networks or countries of one rule.
pub const RULE_ENTRIES: usize = 100;

/// Signing keys of an installation; as the service whose clients this serves. Each is kept in memory.
pub const KEYS: usize = 1_000;

/// Tokens that were checked and are remembered, so that a signature is checked once and not with every
/// part. Beyond it all are forgotten: the price is one more check each.
pub const TOKENS_KEPT: usize = 20_000;

/// Settings of inputs and videos that are remembered; a stranger may ask for any id.
pub const POLICIES_KEPT: usize = 20_000;

/// How long the settings of an input or a video may be remembered: a change holds after this.
pub const POLICY_AGE: Duration = Duration::from_millis(500);

/// A token of the server's own making is good for so long at most.
pub const TOKEN_AGE: Duration = Duration::from_secs(24 * 3_600);

/// And for so long if nobody says.
pub const TOKEN_AGE_DEFAULT: Duration = Duration::from_secs(3_600);

/// Clocks of those who sign may be ahead by this.
pub const CLOCK_SKEW: Duration = Duration::from_secs(10);
