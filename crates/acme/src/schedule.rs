//! When what is due. Pure: time and chance are arguments.

use std::time::Duration;

use crate::limits::{RETRY_FIRST, RETRY_MAX, WINDOW_EVERY_MAX, WINDOW_EVERY_MIN};
use crate::validity::Validity;

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing, until then (milliseconds since 1970).
    Wait(u64),
    /// Ask the authority when it wants the certificate renewed.
    AskWindow,
    /// Get a certificate. Attempts are counted from 0 and begin anew after one that worked.
    Issue {
        /// How many failed before this one.
        attempt: u32,
    },
}

/// When the authority wants a certificate renewed. RFC 9773 §4.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Milliseconds since 1970.
    pub start_ms: u64,
    /// Milliseconds since 1970.
    pub end_ms: u64,
}

/// What there is and what was tried.
#[derive(Debug, Clone)]
pub struct Schedule {
    held: Option<Held>,
    failures: u32,
    not_before_ms: u64,
}

/// A certificate that may be served.
#[derive(Debug, Clone)]
struct Held {
    begins_ms: u64,
    ends_ms: u64,
    /// Where in its window this certificate is renewed, in 65536ths: not all servers of the world at once.
    chance: u16,
    window: Option<Window>,
    ask_window_ms: u64,
}

impl Held {
    fn new(validity: &Validity, now_ms: u64, chance: u16) -> Self {
        let (begins_ms, ends_ms) = (validity.not_before_ms, validity.not_after_ms);
        Self { begins_ms, ends_ms, chance, window: None, ask_window_ms: now_ms }
    }

    /// After two thirds of its life, or where the authority says: a chosen moment within its window, but never later than
    /// what a certificate without one would get less a fifth of what is left then.
    fn renew_ms(&self) -> u64 {
        let life = self.ends_ms.saturating_sub(self.begins_ms);
        let within = |start: u64, length: u64| {
            start
                + u64::try_from(u128::from(length) * u128::from(self.chance) / 65_536).unwrap_or(0)
        };
        match self.window {
            // RFC 9773 §4.2: a moment in the window, at random; a window that has passed means now.
            Some(window) => {
                let chosen = within(window.start_ms, window.end_ms.saturating_sub(window.start_ms));
                // An authority that errs must not let the certificate run out.
                chosen.min(self.begins_ms + life / 10 * 9)
            }
            // A thirtieth of a life is three days of ninety.
            None => within(self.begins_ms + life / 3 * 2, life / 30),
        }
    }
}

impl Schedule {
    /// Begins with what is kept from an earlier run: none if there is nothing, or if it is not for all names.
    pub fn new(kept: Option<&Validity>, now_ms: u64, chance: u16) -> Self {
        let held = kept.map(|kept| Held::new(kept, now_ms, chance));
        Self { held, failures: 0, not_before_ms: 0 }
    }

    /// What is due.
    pub fn step(&self, now_ms: u64) -> Step {
        let issue = Step::Issue { attempt: self.failures };
        let Some(held) = &self.held else {
            return if now_ms >= self.not_before_ms {
                issue
            } else {
                Step::Wait(self.not_before_ms)
            };
        };
        let due = held.renew_ms().max(self.not_before_ms);
        if now_ms >= due {
            return issue;
        }
        if now_ms >= held.ask_window_ms {
            return Step::AskWindow;
        }
        Step::Wait(due.min(held.ask_window_ms))
    }

    /// When the next attempt is due.
    pub fn next_attempt_ms(&self) -> u64 {
        self.held.as_ref().map_or(0, Held::renew_ms).max(self.not_before_ms)
    }

    /// There is a new certificate.
    pub fn issued(&mut self, validity: &Validity, now_ms: u64, chance: u16) {
        *self = Self::new(Some(validity), now_ms, chance);
        // One whose life is over before it begins, or whose clock is another: not again at once.
        self.not_before_ms = now_ms + millis(RETRY_FIRST);
    }

    /// An attempt failed; `at_least` is how long the authority wants to be left alone.
    pub fn failed(&mut self, now_ms: u64, at_least: Duration, chance: u16) {
        let doubled = RETRY_FIRST.saturating_mul(1 << self.failures.min(16)).min(RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        let wait = millis(doubled.max(at_least));
        // A fifth more or less.
        let spread = wait / 5 * 2 * u64::from(chance) / 65_536;
        self.not_before_ms = now_ms + (wait - wait / 5 + spread).max(millis(at_least));
    }

    /// What came of asking for the window: none if the authority has none, or did not answer.
    pub fn window(&mut self, answer: Option<(Window, Duration)>, now_ms: u64) {
        let Some(held) = &mut self.held else { return };
        let again = match answer {
            // RFC 9773 §4.2: an end before its beginning is no window.
            Some((window, again)) if window.start_ms < window.end_ms => {
                held.window = Some(window);
                again.clamp(WINDOW_EVERY_MIN, WINDOW_EVERY_MAX)
            }
            // The one that was told last holds.
            Some(_) | None => WINDOW_EVERY_MAX / 4,
        };
        held.ask_window_ms = now_ms + millis(again);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const HOUR: u64 = 3_600_000;
    const DAY: u64 = 24 * HOUR;
    const NOW: u64 = 1_800_000_000_000;

    fn days(from_ms: u64, days: u64) -> Validity {
        Validity {
            not_before_ms: from_ms,
            not_after_ms: from_ms + days * DAY,
            names: BTreeSet::new(),
        }
    }

    /// Waits as the loop does, without a window, until a certificate is asked for.
    fn until_due(schedule: &mut Schedule, mut now: u64) -> u64 {
        loop {
            match schedule.step(now) {
                Step::Wait(until) => {
                    assert!(until > now, "it must go on");
                    now = until;
                }
                Step::AskWindow => schedule.window(None, now),
                Step::Issue { .. } => return now,
            }
        }
    }

    #[test]
    fn two_years_of_ninety_days_each() {
        let (mut schedule, mut now) = (Schedule::new(None, NOW, 0), NOW);
        assert_eq!(schedule.step(now), Step::Issue { attempt: 0 }, "at once where there is none");
        for round in 0..12_u16 {
            let (chance, issued) = (round * 5_000, now);
            schedule.issued(&days(now, 90), now, chance);
            now = until_due(&mut schedule, now);
            let after = now - issued;
            let day = |chance: u16| 60 * DAY + 3 * DAY * u64::from(chance) / 65_536;
            assert_eq!(after, day(chance), "two thirds, and up to three days more");
        }
        assert!(now > NOW + 700 * DAY);
    }

    #[test]
    fn the_same_for_any_lifetime() {
        for (lifetime, chance, expect) in [
            (90 * DAY, 0, 60 * DAY),
            (6 * DAY, 0, 4 * DAY),
            (6 * DAY, u16::MAX, 4 * DAY + DAY / 5),
            (300_000, 0, 200_000),
            // One that is over at once is not asked for in a loop.
            (0, 0, 60_000),
        ] {
            let mut schedule = Schedule::new(None, NOW, 0);
            let validity = Validity { not_after_ms: NOW + lifetime, ..days(NOW, 0) };
            schedule.issued(&validity, NOW, chance);
            let due = until_due(&mut schedule, NOW) - NOW;
            assert!(due.abs_diff(expect) <= 1_000, "{lifetime}: {due}");
        }
    }

    #[test]
    fn failures_are_further_and_further_apart() {
        let mut schedule = Schedule::new(Some(&days(NOW - 60 * DAY, 90)), NOW, 0);
        let (mut now, mut waits) = (until_due(&mut schedule, NOW), Vec::new());
        assert_eq!(now, NOW);
        for attempt in 0..12 {
            assert_eq!(schedule.step(now), Step::Issue { attempt });
            schedule.failed(now, Duration::ZERO, 32_768);
            let next = until_due(&mut schedule, now);
            assert_eq!(schedule.next_attempt_ms(), next);
            waits.push((next - now) / 60_000);
            now = next;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360, 360]);
        // What worked begins anew.
        schedule.issued(&days(now, 90), now, 0);
        assert_eq!(until_due(&mut schedule, now), now + 60 * DAY);
    }

    #[test]
    fn chance_spreads_attempts_and_an_authority_that_wants_peace_gets_it() {
        for (at_least, chance, least, most) in [
            (0, 0, 48, 48),
            (0, u16::MAX, 71, 72),
            (3_600, 0, 3_600, 3_600),
            (3_600, u16::MAX, 4_300, 4_320),
        ] {
            let mut schedule = Schedule::new(None, NOW, 0);
            schedule.failed(NOW, Duration::from_secs(at_least), chance);
            let wait = (until_due(&mut schedule, NOW) - NOW) / 1_000;
            assert!((least..=most).contains(&wait), "{at_least} {chance}: {wait}");
        }
    }

    #[test]
    fn the_authoritys_window_holds() {
        let mut schedule = Schedule::new(Some(&days(NOW, 90)), NOW, 16_384);
        assert_eq!(schedule.step(NOW), Step::AskWindow);
        let window = |from, to| Window { start_ms: NOW + from * DAY, end_ms: NOW + to * DAY };
        let every = Duration::from_secs(6 * 3_600);
        schedule.window(Some((window(40, 44), every)), NOW);
        assert_eq!(schedule.step(NOW), Step::Wait(NOW + 6 * HOUR));
        assert_eq!(schedule.step(NOW + 6 * HOUR), Step::AskWindow);
        assert_eq!(schedule.next_attempt_ms(), NOW + 41 * DAY, "a quarter into it");
        // Something is wrong with the certificate: it is to go at once.
        let today = NOW + 7 * DAY;
        schedule.window(Some((window(1, 2), every)), today);
        assert_eq!(schedule.step(today), Step::Issue { attempt: 0 });
    }

    #[test]
    fn a_window_that_lies_does_not_let_the_certificate_run_out() {
        let hour = Duration::from_secs(3_600);
        for (start_ms, end_ms, expect) in [
            (NOW + 400 * DAY, NOW + 500 * DAY, NOW + 81 * DAY),
            (u64::MAX - 1, u64::MAX, NOW + 81 * DAY),
            // No window at all: as without one.
            (NOW + 50 * DAY, NOW + 50 * DAY, NOW + 60 * DAY),
            (NOW + 50 * DAY, NOW + 40 * DAY, NOW + 60 * DAY),
        ] {
            let mut schedule = Schedule::new(Some(&days(NOW, 90)), NOW, 0);
            schedule.window(Some((Window { start_ms, end_ms }, hour)), NOW);
            assert_eq!(schedule.next_attempt_ms(), expect, "{start_ms}");
        }
        // How often it is asked is bounded as well.
        for (again, expect) in [(0, 1), (1_000_000_000, 24)] {
            let mut schedule = Schedule::new(Some(&days(NOW, 90)), NOW, 0);
            let window = Window { start_ms: NOW + 50 * DAY, end_ms: NOW + 51 * DAY };
            schedule.window(Some((window, Duration::from_secs(again))), NOW);
            assert_eq!(schedule.step(NOW), Step::Wait(NOW + expect * HOUR));
        }
    }

    #[test]
    fn a_clock_that_jumps_is_followed() {
        let schedule = Schedule::new(Some(&days(NOW, 90)), NOW, 0);
        assert_eq!(schedule.step(NOW + 3_650 * DAY), Step::Issue { attempt: 0 });
        let mut schedule = Schedule::new(Some(&days(NOW, 90)), NOW, 0);
        schedule.window(None, NOW);
        assert!(matches!(schedule.step(NOW - 3_650 * DAY), Step::Wait(_)));
    }
}
