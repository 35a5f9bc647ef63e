//! The numbers that protect from proxies and from those who pretend to be one, each with its reason.

use std::time::Duration;

/// A line of version 1, its end included: the specification's own bound.
pub const LINE_BYTES_MAX: usize = 107;

/// What version 2 may carry after its fixed part. Addresses take 36 bytes; what a balancer adds about TLS, certificates
/// included, stays below this.
pub const BODY_BYTES_MAX: usize = 4 << 10;

/// Proxies in a row. More is a loop, or somebody who wants us to read.
pub const HOPS_MAX: usize = 32;

/// Networks in one list of the configuration.
pub const NETWORKS_MAX: usize = 1_000;

/// Lines of one kind that strangers may cause in [`LINES_SPAN`]: enough to see who comes and what is wrong.
pub const LINES: u32 = 5;

/// The span of these: a day of it is some thousand lines a kind.
pub const LINES_SPAN: Duration = Duration::from_secs(10);
