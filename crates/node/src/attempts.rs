//! How often who may try to publish, or to watch with a token.

use std::net::IpAddr;

use access::limits::{RATES_KEPT, STREAM_KEY, WRONG_PLAYBACK_TOKENS, WRONG_STREAM_KEYS};
use access::rate::{Limiter, neighbourhood};
use control::InputUid;

/// Those who have a key, and those who guess.
#[derive(Debug)]
pub(crate) struct Attempts {
    wrong_keys: Limiter<IpAddr>,
    wrong_tokens: Limiter<IpAddr>,
    keys: Limiter<String>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            wrong_keys: Limiter::new(WRONG_STREAM_KEYS, RATES_KEPT),
            wrong_tokens: Limiter::new(WRONG_PLAYBACK_TOKENS, RATES_KEPT),
            keys: Limiter::new(STREAM_KEY, RATES_KEPT),
        }
    }
}

impl Attempts {
    /// With a key of this input. False: it was tried too often, and has to wait.
    pub(crate) fn known(&self, input: &InputUid, now_ms: u64) -> bool {
        self.keys.take(input.to_string(), now_ms).is_ok()
    }

    /// With a wrong one. Only who has no key waits: an encoder with a wrong one does not lock out its neighbours behind one address.
    pub(crate) fn wrong(&self, from: IpAddr, now_ms: u64) -> bool {
        self.wrong_keys.take(neighbourhood(from), now_ms).is_ok()
    }

    /// Takes a look at a playback token that may be wrong; false: too many were. Whoever has shown a wrong one asks: his neighbours
    /// have theirs looked at all the same, and pay afterwards. Before the look, as others look at the same time.
    pub(crate) fn look(&self, from: IpAddr, now_ms: u64) -> bool {
        self.wrong_tokens.take(neighbourhood(from), now_ms).is_ok()
    }

    /// It was not wrong.
    pub(crate) fn look_was_good(&self, from: IpAddr) {
        self.wrong_tokens.give_back(&neighbourhood(from));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_so_many_wrong_tokens() {
        let attempts = Attempts::default();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let may = |from, at_ms| attempts.look(address(from), at_ms);
        // All at once: none of them is over.
        let shown = (0..10_000).take_while(|_| may("192.0.2.1", 0));
        assert_eq!(shown.count(), WRONG_PLAYBACK_TOKENS.burst as usize);
        let later = [(0, false), (5_999, false), (6_001, true), (6_001, false)];
        assert_eq!(later.map(|(at_ms, _)| (at_ms, may("192.0.2.1", at_ms))), later);
        attempts.look_was_good(address("192.0.2.1"));
        assert_eq!([may("192.0.2.1", 6_001), may("192.0.2.1", 6_001)], [true, false]);
        assert!(may("192.0.2.2", 0));
    }

    #[test]
    fn a_key_and_an_address_may_be_tried_so_often() {
        let attempts = Attempts::default();
        let input = |byte| InputUid::from_random([byte; 15]);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let known = |byte, at_ms| attempts.known(&input(byte), at_ms);
        let wrong = |from, at_ms| attempts.wrong(address(from), at_ms);
        let burst = |try_one: &dyn Fn() -> bool| (0..10_000).take_while(|_| try_one()).count();
        assert_eq!(burst(&|| known(1, 0)), STREAM_KEY.burst as usize);
        assert_eq!(burst(&|| wrong("2001:db8::1", 0)), WRONG_STREAM_KEYS.burst as usize);
        for (at_ms, of_one, of_other, from_one, from_other) in [
            (0, false, true, false, true),
            (9, false, true, false, true),
            // 100 a second: one is back.
            (11, true, true, false, true),
            (11, false, true, false, true),
            // 10 a minute.
            (5_999, true, true, false, true),
            (6_001, true, true, true, true),
            (6_001, true, true, false, true),
        ] {
            let found = (known(1, at_ms), known(2, at_ms));
            assert_eq!(found, (of_one, of_other), "keys at {at_ms}");
            let found = (wrong("2001:db8::2", at_ms), wrong("2001:db8:0:1::1", at_ms));
            assert_eq!(found, (from_one, from_other), "addresses at {at_ms}");
        }
    }
}
