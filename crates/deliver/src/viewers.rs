//! Who watches: addresses (IPv4, IPv6 /64) x user agent that fetched a media playlist lately. No ids
//! in URLs, nothing kept beyond the window.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::limits::VIEWERS_MAX;

/// Viewers of one broadcast.
#[derive(Debug, Default)]
pub(crate) struct Viewers {
    seen: BTreeMap<u64, Instant>,
}

impl Viewers {
    /// Somebody fetched a media playlist.
    pub(crate) fn saw(&mut self, address: IpAddr, agent: &str, now: Instant, window: Duration) {
        if self.seen.len() >= VIEWERS_MAX {
            self.forget(now, window);
        }
        if self.seen.len() < VIEWERS_MAX {
            self.seen.insert(key(address, agent), now);
        }
    }

    /// How many fetched one within `window`.
    pub(crate) fn count(&mut self, now: Instant, window: Duration) -> usize {
        self.forget(now, window);
        self.seen.len()
    }

    fn forget(&mut self, now: Instant, window: Duration) {
        self.seen.retain(|_, at| now.saturating_duration_since(*at) <= window);
    }
}

/// A viewer, as a hash of this run of the server.
pub(crate) fn key(address: IpAddr, agent: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.octets().hash(&mut hasher),
        IpAddr::V6(v6) => v6.segments()[..4].hash(&mut hasher),
    }
    agent.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_is_an_address_and_a_user_agent_for_a_while() {
        let (start, window) = (Instant::now(), Duration::from_secs(6));
        let mut viewers = Viewers::default();
        for (address, agent) in [
            ("10.0.0.1", "a"),
            ("10.0.0.1", "a"),
            ("::ffff:10.0.0.1", "a"),
            ("10.0.0.1", "b"),
            ("2001:db8::1", "a"),
            ("2001:db8::ffff", "a"),
            ("2001:db8:0:1::1", "a"),
        ] {
            viewers.saw(address.parse().unwrap(), agent, start, window);
        }
        assert_eq!(viewers.count(start + window, window), 4);
        assert_eq!(viewers.count(start + window * 2, window), 0);
    }
}
