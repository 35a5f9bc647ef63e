//! Would a player have stood still?

use std::time::{Duration, Instant};

use crate::limits::PLAYER_BUFFER;

/// A player that begins with [`PLAYER_BUFFER`] in hand, and again after each stall.
#[derive(Debug, Default)]
pub(super) struct Player {
    /// When it will have shown all that has come.
    runs_dry: Option<Instant>,
}

impl Player {
    /// So much media has come by now; answers for how long the picture had stood still before, if it had.
    pub(super) fn took(&mut self, now: Instant, seconds: f64) -> Option<Duration> {
        let more = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let (from, stalled) = match self.runs_dry {
            Some(dry) if dry >= now => (dry, None),
            Some(dry) => (now + PLAYER_BUFFER, Some(now - dry)),
            None => (now + PLAYER_BUFFER, None),
        };
        self.runs_dry = Some(from + more);
        stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_player_stalls_when_its_buffer_is_empty_and_not_before() {
        let begin = Instant::now();
        let ms = Duration::from_millis;
        let mut player = Player::default();
        // When, how much, and for how long the picture stood still.
        for (at_ms, seconds, stalled_ms) in [
            (0, 0.3, None),
            (300, 0.3, None),
            // Late by as much as the buffer holds.
            (1_100, 0.3, None),
            // Dry at 500 + 3 x 300.
            (1_500, 0.3, Some(100)),
            // It holds half a second again.
            (2_300, 1.0, None),
            (3_300, 1.0, None),
            (9_000, 1.0, Some(4_700)),
        ] {
            let got = player.took(begin + ms(at_ms), seconds);
            assert_eq!(got, stalled_ms.map(ms), "at {at_ms} ms");
        }
    }
}
