//! The numbers that protect access control, each with its reason.

use std::time::Duration;

use crate::rate::Rate;

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

/// API tokens of an installation. Each is kept in memory once it was used.
pub const API_TOKENS: usize = 1_000;

/// How long an API token may be remembered: what another process changes, `airwave token revoke` say, holds after this.
pub const API_TOKEN_AGE: Duration = Duration::from_millis(500);

/// Tokens of which it is remembered when they were last used: as many as there can be.
pub(crate) const TOKEN_USES_KEPT: usize = API_TOKENS;

/// A session of the pages ends after this, however much it is used.
pub const SESSION_AGE: Duration = Duration::from_secs(7 * 86_400);

/// And after this, if it is not used: a working day and a night's sleep are apart.
pub const SESSION_IDLE: Duration = Duration::from_secs(12 * 3_600);

/// How often the disk hears that a session is used: a restart costs no more than this of its idle time.
pub const SESSION_SAVED_EVERY: Duration = Duration::from_secs(3_600);

/// Sessions at one time; each is kept in memory. Beyond it the one that was used longest ago ends.
pub const SESSIONS: usize = 1_000;

/// And of one token: as many browsers as a team has that shares it. Beyond it the one of them that was used longest ago ends, so that nobody
/// signs out others.
pub const SESSIONS_EACH: usize = 50;

/// API requests of one address. A page with a hundred inputs asks that much in its first second; offices share one.
pub const API_ADDRESS: Rate = Rate { per_second: 200.0, burst: 1_000.0 };

/// API requests with one token.
pub const API_TOKEN: Rate = Rate { per_second: 100.0, burst: 500.0 };

/// Wrong API tokens from one address. Nobody finds 192 bits by trying; this keeps the log and the disk quiet.
pub const WRONG_TOKENS: Rate = Rate { per_second: 10.0 / 60.0, burst: 10.0 };

/// Publishing attempts with one stream key, each of which is a write to the disk. No encoder comes back that often.
pub const STREAM_KEY: Rate = Rate { per_second: 100.0, burst: 500.0 };

/// Wrong stream keys from one address before it is told to wait.
pub const WRONG_STREAM_KEYS: Rate = Rate { per_second: 10.0 / 60.0, burst: 10.0 };

/// Wrong playback tokens from one address over MoQ, where a message of a few bytes can name eight
/// of them. After that, sessions that have shown one have no other looked at that is not known
/// already: a signature is what a look costs.
pub const WRONG_PLAYBACK_TOKENS: Rate = Rate { per_second: 10.0 / 60.0, burst: 10.0 };

/// Addresses, tokens and keys that are counted, of each rate.
pub const RATES_KEPT: usize = 10_000;

/// Links of one video or live input that can be taken back one by one: more than a person keeps in mind.
pub const LINKS: usize = 100;

/// Such a link opens for so long at most: it can be taken back, so it may live longer than other tokens.
pub const LINK_AGE: Duration = Duration::from_secs(400 * 86_400);

/// And for so long if nobody says.
pub const LINK_AGE_DEFAULT: Duration = Duration::from_secs(86_400);

/// What an address names may be an input or a video up to this many bytes; their names have 32.
pub const ID_BYTES_MAX: usize = 64;
