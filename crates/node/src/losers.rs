//! Who has lost an input to another encoder lately: two machines must not fight over it.
//!
//! Encoders are told apart by their address, because nothing else of them can't be changed. Behind one address a loser can
//! not be told from its winner; so nobody is refused once the encoder that is on has fallen silent
//! ([`HEARD_LATELY`](crate::limits::HEARD_LATELY)), whoever it was: there is nothing left to fight over. What remains is a
//! winner whose connection breaks within a moment and who comes back before that moment is over: it is refused, as the
//! loser beside it would be, and let in when it tries again.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Instant;

use crate::limits::{LOSERS_KEPT, REPLACED_REFUSED};

/// The losers of one input, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Losers(VecDeque<(IpAddr, Instant)>);

impl Losers {
    /// An encoder at this address is on from now on.
    pub(crate) fn won(&mut self, winner: IpAddr) {
        self.0.retain(|(loser, _)| *loser != winner);
    }

    /// The one at this address had to go.
    pub(crate) fn lost(&mut self, loser: IpAddr, now: Instant) {
        self.0.retain(|(known, at)| *known != loser && is_recent(*at, now));
        if self.0.len() == LOSERS_KEPT {
            self.0.pop_front();
        }
        self.0.push_back((loser, now));
    }

    /// Whether an encoder at this address has to wait.
    pub(crate) fn has(&self, address: IpAddr, now: Instant) -> bool {
        self.0.iter().any(|(loser, at)| *loser == address && is_recent(*at, now))
    }
}

fn is_recent(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < REPLACED_REFUSED
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    /// An encoder takes over from another one.
    fn takes_over(losers: &mut Losers, winner: u8, loser: u8, now: Instant) {
        losers.won(at(winner));
        losers.lost(at(loser), now);
    }

    #[test]
    fn each_loser_waits_for_its_own_half_minute() {
        let (start, mut losers) = (Instant::now(), Losers::default());
        let after = |s: u64, ms: u64| start + Duration::from_secs(s) - Duration::from_millis(ms);
        takes_over(&mut losers, 2, 1, start);
        takes_over(&mut losers, 3, 2, after(10, 0));
        for (now, waiting) in [
            (after(10, 0), &[1, 2][..]),
            (after(30, 1), &[1, 2]),
            (after(30, 0), &[2]),
            (after(40, 1), &[2]),
            (after(40, 0), &[]),
        ] {
            let found: Vec<u8> = (1..=3).filter(|n| losers.has(at(*n), now)).collect();
            assert_eq!(found, waiting, "after {:?}", now - start);
        }
    }

    #[test]
    fn a_winner_is_no_loser_any_more() {
        let (now, mut losers) = (Instant::now(), Losers::default());
        takes_over(&mut losers, 2, 1, now);
        // The second one was silent: the first one is on again, and may come back whenever it likes.
        losers.won(at(1));
        assert!(!losers.has(at(1), now));
        // Behind one address, either of them.
        takes_over(&mut losers, 1, 1, now);
        assert!(losers.has(at(1), now));
    }

    #[test]
    fn there_are_never_many() {
        let (now, mut losers) = (Instant::now(), Losers::default());
        (0..=255).for_each(|n| losers.lost(at(n), now));
        assert_eq!(losers.0.len(), LOSERS_KEPT);
        assert!(losers.has(at(255), now) && !losers.has(at(0), now));
        (0..99).for_each(|_| losers.lost(at(255), now));
        assert_eq!(losers.0.len(), LOSERS_KEPT, "each once");
    }
}
