//! How a broadcast plays for those who watch it, out of what their players say ([`cmcd`](crate::cmcd)).
//!
//! What is said can't be checked. So that nobody spoils the picture: a player counts as one of its address, an address
//! has so many; a player stalls at most once a second; a bitrate is at most what the broadcast has.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::cmcd::{Object, Said};
use crate::limits::{
    PLAYBACK_ADDRESS_SESSIONS_MAX, PLAYBACK_SESSIONS_MAX, PLAYBACK_SILENT, PLAYBACK_STALL_APART,
};

/// Upper bounds of the classes of start times in milliseconds; one more class is without a bound.
pub const START_MS: [u32; 7] = [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000];

/// What all players of one broadcast have said.
#[derive(Debug, Default)]
pub struct Playback {
    /// By address and what the player calls its session, as hashes.
    sessions: BTreeMap<(u64, u64), Session>,
    report: Report,
}

#[derive(Debug)]
struct Session {
    first: Instant,
    last: Instant,
    /// It has said that it starts, and not yet that it plays.
    starting: bool,
    started: bool,
    stalled: Option<Instant>,
    bitrate_kbps: Option<u32>,
}

/// The same in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Players that have said anything within the last minute.
    pub sessions: u64,
    /// Players that have said anything, since the broadcast began.
    pub sessions_seen: u64,
    /// How many began to play within each of [`START_MS`], and after more.
    pub starts: [u64; START_MS.len() + 1],
    /// Milliseconds of all starts together.
    pub start_ms_sum: u64,
    /// Times that a picture stood still for want of media.
    pub stalls: u64,
    /// Mean bitrate of what is being watched, in kbit/s; none if no player says.
    pub bitrate_kbps: Option<u64>,
}

impl Report {
    /// Players that have begun to play.
    pub fn started(&self) -> u64 {
        self.starts.iter().sum()
    }

    /// The time within which this share of all starts were done: the upper bound of its class, none above the highest.
    pub fn start_ms_within(&self, share: f64) -> Option<u32> {
        let wanted = (self.started() as f64 * share).ceil() as u64;
        let mut starts = 0;
        let mut classes = START_MS.iter().zip(&self.starts);
        let class = classes.find(|(_, n)| {
            starts += **n;
            starts >= wanted.max(1)
        });
        class.map(|(ms, _)| *ms)
    }
}

impl Playback {
    /// A player of this address (any number that stands for it) has said something. `kbps_max` is the highest bitrate
    /// that the broadcast has.
    pub fn heard(&mut self, address: u64, said: &Said, kbps_max: u32, now: Instant) {
        let Some(session) = said.session.as_deref() else { return };
        let key = (address, fnv(session.as_bytes()));
        if !self.sessions.contains_key(&key) && !self.welcome(key, said.starting, now) {
            return;
        }
        let Some(session) = self.sessions.get_mut(&key) else { return };
        session.last = now;
        if let Some(kbps) = said.bitrate_kbps
            && said.object != Some(Object::Audio)
        {
            session.bitrate_kbps = Some(kbps.min(kbps_max));
        }
        let plays = !said.starting && said.object == Some(Object::Video);
        let start = match said.start_ms {
            Some(ms) => Some(ms),
            // Without its own word: from the first request until it no longer needs media at once.
            None if session.starting && plays => {
                let ms = now.saturating_duration_since(session.first).as_millis();
                Some(u32::try_from(ms).unwrap_or(u32::MAX))
            }
            None => None,
        };
        if let Some(ms) = start.filter(|_| !session.started) {
            session.started = true;
            session.starting = false;
            let class = START_MS.iter().position(|bound| ms <= *bound).unwrap_or(START_MS.len());
            self.report.starts[class] += 1;
            self.report.start_ms_sum += u64::from(ms);
        }
        let apart = |at: Instant| now.saturating_duration_since(at) >= PLAYBACK_STALL_APART;
        if said.starved && session.stalled.is_none_or(apart) {
            session.stalled = Some(now);
            self.report.stalls += 1;
        }
    }

    /// A new player, if there is room for it.
    fn welcome(&mut self, key: (u64, u64), starting: bool, now: Instant) -> bool {
        let of_address = || self.sessions.range((key.0, 0)..=(key.0, u64::MAX)).count();
        if self.sessions.len() >= PLAYBACK_SESSIONS_MAX
            || of_address() >= PLAYBACK_ADDRESS_SESSIONS_MAX
        {
            self.forget(now);
        }
        let of_address = self.sessions.range((key.0, 0)..=(key.0, u64::MAX)).count();
        if self.sessions.len() >= PLAYBACK_SESSIONS_MAX
            || of_address >= PLAYBACK_ADDRESS_SESSIONS_MAX
        {
            return false;
        }
        let session = Session {
            first: now,
            last: now,
            starting,
            started: false,
            stalled: None,
            bitrate_kbps: None,
        };
        self.sessions.insert(key, session);
        self.report.sessions_seen += 1;
        true
    }

    /// The numbers at this time.
    pub fn report(&mut self, now: Instant) -> Report {
        self.forget(now);
        let rates: Vec<u64> =
            self.sessions.values().filter_map(|s| s.bitrate_kbps.map(u64::from)).collect();
        self.report.sessions = self.sessions.len() as u64;
        self.report.bitrate_kbps = rates.iter().sum::<u64>().checked_div(rates.len() as u64);
        self.report.clone()
    }

    fn forget(&mut self, now: Instant) {
        let silent = |s: &Session| now.saturating_duration_since(s.last) > PLAYBACK_SILENT;
        self.sessions.retain(|_, session| !silent(session));
    }
}

/// Addresses and sessions are told apart by a hash of fixed state: who collides on purpose only hides behind himself,
/// because the address is part of the key.
fn fnv(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[allow(clippy::disallowed_methods, reason = "any time will do")]
    fn now() -> Instant {
        Instant::now()
    }

    fn said(list: &str) -> Said {
        let mut said = Said::default();
        said.take(list);
        said
    }

    #[test]
    fn start_stalls_and_bitrate_of_a_player() {
        let start = now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut playback = Playback::default();
        for (ms, list) in [
            (0, "sid=\"a\",ot=m,su"),
            (300, "sid=\"a\",ot=v,su,br=900"),
            (700, "sid=\"a\",ot=a,br=128"),
            (900, "sid=\"a\",ot=v,br=3000"),
            (2_000, "sid=\"a\",ot=v,br=3000,bs"),
            (2_500, "sid=\"a\",ot=a,bs"),
            (9_000, "sid=\"a\",ot=v,bs,su,br=9000"),
            (9_500, "sid=\"a\",ot=v,br=9000"),
            (9_600, "sid=\"b\",msd=260"),
            (9_700, "sid=\"b\",msd=9"),
            (9_800, "ot=v,br=1"),
        ] {
            playback.heard(1, &said(list), 5_000, at(ms));
        }
        let report = playback.report(at(10_000));
        assert_eq!(report.starts, [0, 1, 1, 0, 0, 0, 0, 0], "260 ms, 900 ms");
        assert_eq!((report.started(), report.start_ms_sum), (2, 1_160));
        assert_eq!(
            (report.start_ms_within(0.5), report.start_ms_within(1.0)),
            (Some(500), Some(1_000))
        );
        assert_eq!(report.stalls, 2, "two reports of one stall are one");
        assert_eq!((report.sessions, report.sessions_seen), (2, 2));
        assert_eq!(report.bitrate_kbps, Some(5_000), "not more than the broadcast has");
        let later = playback.report(at(10_000) + PLAYBACK_SILENT);
        assert_eq!((later.sessions, later.bitrate_kbps), (0, None));
        assert_eq!((later.sessions_seen, later.stalls), (2, 2));
        assert_eq!(Report::default().start_ms_within(0.5), None);
    }

    #[test]
    fn an_address_and_a_broadcast_have_so_many_players() {
        let start = now();
        let mut playback = Playback::default();
        for n in 0..PLAYBACK_ADDRESS_SESSIONS_MAX + 50 {
            playback.heard(7, &said(&format!("sid=\"{n}\",bs")), 1, start);
        }
        let one = PLAYBACK_ADDRESS_SESSIONS_MAX as u64;
        let report = playback.report(start);
        assert_eq!((report.sessions, report.stalls), (one, one));
        for n in 0..PLAYBACK_SESSIONS_MAX as u64 + 50 {
            playback.heard(100 + n, &said("sid=\"x\""), 1, start);
        }
        assert_eq!(playback.report(start).sessions, PLAYBACK_SESSIONS_MAX as u64);
        // Those who are gone make room.
        let later = start + PLAYBACK_SILENT * 2;
        playback.heard(7, &said("sid=\"new\""), 1, later);
        assert_eq!(playback.report(later).sessions, 1);
    }
}
