//! How many files and sockets the process may hold, and how many of those may be connections.
//!
//! A shell gives a program 1,024 (the soft limit), for the sake of programs that use `select`, and lets it have more (the hard
//! limit). Who takes all of them with idle connections keeps encoders out and, as segments are files, empties recordings.

use io_rtmp::limits::HALF_OPEN_MAX;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::CONNECTIONS_MAX;

/// Fewer than these are worth a word to the operator: a thousand viewers over HTTP/1.1 and what they watch.
const FEW: u64 = 4_096;

/// Takes as many as the system gives, and says so where they are few.
pub(crate) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "the limit of open files can't be raised");
    }
    let most = most();
    if most < FEW {
        tracing::warn!(
            open_files = most,
            http_connections = connections(most),
            "few files may be open at once: raise the limit (`ulimit -n 65536`, `LimitNOFILE=65536` in a unit of systemd, \
             `--ulimit nofile=65536` of a container) before many watch"
        );
    }
}

/// How many may be open now.
fn most() -> u64 {
    // None: there is no limit.
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// HTTP connections that there may be at one time, over all listeners.
pub(crate) fn http_connections() -> usize {
    connections(most())
}

/// Three quarters, so that encoders, the recording and the database always have some.
fn connections(of: u64) -> usize {
    usize::try_from(of / 4 * 3).unwrap_or(usize::MAX).clamp(1, CONNECTIONS_MAX)
}

/// RTMP and RTMPS connections that have not been admitted, over both listeners.
pub(crate) fn half_open_encoders() -> usize {
    half_open(most())
}

/// A quarter of what HTTP leaves: who says nothing leaves the rest to encoders, the recording and the database.
fn half_open(of: u64) -> usize {
    usize::try_from(of / 16).unwrap_or(usize::MAX).clamp(1, HALF_OPEN_MAX)
}

#[cfg(test)]
mod tests {
    use super::{connections, half_open};

    #[test]
    fn a_quarter_is_left_for_what_is_no_connection() {
        assert_eq!(connections(0), 1);
        assert_eq!(connections(256), 192);
        assert_eq!(connections(20_000), 15_000);
        assert_eq!(connections(u64::MAX), 15_000);
        assert_eq!([0, 1_024, 20_000, u64::MAX].map(half_open), [1, 64, 1_250, 2_000]);
    }
}
