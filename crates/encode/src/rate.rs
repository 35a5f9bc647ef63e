//! How many bits a level takes, for lists: before any of it was made, and afterwards.
//!
//! A level is encoded at a constant quality under a cap, so its bits are the content's to say. Before anything was made the
//! number is a bound: the cap, or what a level took of its original at most, of all clips that were measured, if that is less.
//! The more of it was made, the more the number is what that took, beside what its originals took. It is never below what
//! was seen, and moves in steps, so that lists do not change with each segment.

use std::collections::BTreeMap;

use crate::ladder::Level;
use crate::limits::RATES_MAX;

/// Bits a second of a level, as lists have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LevelBits {
    /// Of its largest segment.
    pub peak: u64,
    /// Of all of it, once something was made.
    pub average: Option<u64>,
}

/// Bits a second of an original, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OriginalBits {
    /// Of its largest segment; 0: nothing is known yet.
    pub peak: u64,
    /// Of all of it.
    pub average: u64,
    /// How long it is so far.
    pub ns: u64,
    /// More comes.
    pub live: bool,
    /// Seconds of its segments; 0: not known.
    pub segment_s: u32,
}

/// What the segments of a level took that were made so far, by their video and track.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    levels: BTreeMap<(String, String, Level), Taken>,
    clock: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    /// Bits a second of the largest.
    peak: u64,
    /// Bits a second of the largest of their originals.
    original_peak: u64,
    bytes: u64,
    original_bytes: u64,
    ns: u64,
    used: u64,
}

impl Rates {
    /// A segment was made: so many bytes of a level, from so many of the original that last so many nanoseconds.
    pub(crate) fn made(
        &mut self,
        (video, track): (&str, &str),
        level: &Level,
        bytes: u64,
        (original_bytes, ns): (u64, u64),
    ) {
        if bytes == 0 || original_bytes == 0 || ns == 0 {
            return;
        }
        if self.levels.len() >= RATES_MAX {
            let oldest = self.levels.iter().min_by_key(|(_, taken)| taken.used);
            let oldest = oldest.map(|(key, _)| key.clone());
            oldest.map(|key| self.levels.remove(&key));
        }
        self.clock += 1;
        let key = (video.to_owned(), track.to_owned(), level.clone());
        let taken = self.levels.entry(key).or_default();
        taken.used = self.clock;
        taken.ns = taken.ns.saturating_add(ns);
        taken.bytes = taken.bytes.saturating_add(bytes);
        taken.original_bytes = taken.original_bytes.saturating_add(original_bytes);
        if ns >= ALONE_NS {
            taken.peak = taken.peak.max(per_second(bytes, ns));
            taken.original_peak = taken.original_peak.max(per_second(original_bytes, ns));
        }
    }

    /// What lists say of a level.
    pub(crate) fn of(
        &self,
        (video, track): (&str, &str),
        level: &Level,
        original: OriginalBits,
    ) -> LevelBits {
        let enough = if original.live { ENOUGH_NS } else { original.ns.clamp(1, ENOUGH_NS) };
        let key = (video.to_owned(), track.to_owned(), level.clone());
        if level.as_sound().is_some() {
            return self.of_sound(&key, enough);
        }
        let most = most_of(level, original.segment_s);
        let share = scaled(original.peak, u64::from(level.share_permille), 1_000).min(most);
        let bound = towards(most, share, original.ns, enough);
        let Some(taken) = self.levels.get(&key).filter(|taken| taken.original_peak > 0) else {
            return LevelBits { peak: stepped(bound), average: None };
        };
        // Segments whose originals are larger than those of all that were made will take more.
        let larger = original.peak.max(taken.original_peak);
        let seen = scaled(taken.peak, larger, taken.original_peak).min(most).max(taken.peak);
        let seen = seen.saturating_add(seen / ROOM);
        let peak = stepped(towards(bound, seen, taken.ns, enough).max(taken.peak));
        let average = scaled(original.average, taken.bytes, taken.original_bytes);
        LevelBits { peak, average: (average > 0).then(|| average.min(peak)) }
    }

    /// The same of a level of sound: it is encoded at one rate whatever it is, and what it takes was measured or is a fifth
    /// more, for the boxes around it and a segment that is harder than others.
    fn of_sound(&self, key: &(String, String, Level), enough: u64) -> LevelBits {
        let bound = u64::from(key.2.max_kbps) * 1_200;
        let Some(taken) = self.levels.get(key).filter(|taken| taken.peak > 0) else {
            return LevelBits { peak: bound, average: None };
        };
        let seen = taken.peak.saturating_add(taken.peak / ROOM);
        let peak = stepped(towards(bound, seen, taken.ns, enough).max(taken.peak));
        LevelBits { peak, average: Some(per_second(taken.bytes, taken.ns).min(peak)) }
    }

    /// A video is gone.
    pub(crate) fn forget(&mut self, video: &str) {
        self.levels.retain(|(of, ..), _| of != video);
    }
}

/// So much of what was measured is added for what comes: with the step that is a tenth at most.
const ROOM: u64 = 20;

/// What was measured over so long stands for what comes. What is shorter is measured when all of it was made.
const ENOUGH_NS: u64 = 30_000_000_000;

/// A shorter segment, such as the last one or one that ends at a scene cut, says nothing alone: most of it is its key frame. Half the
/// usual target duration, as RFC 8216bis §4.1 has it, less what segments of one second may lack.
const ALONE_NS: u64 = 900_000_000;

/// Boxes around the frames, three to five parts a second.
const BOXES_BITS: u64 = 10_000;

/// What the cap lets a segment take. The encoder begins each with 0.364 s in hand (`vbv-init`), and may be as much behind at its end: of
/// what presses on its cap segments had 0.1 s less than the cap's to 0.08 s more with 0.38, so this is right within a tenth.
fn most_of(level: &Level, segment_s: u32) -> u64 {
    let cap = u64::from(level.max_kbps) * 1_000;
    let seconds = u64::from(if segment_s == 0 { 2 } else { segment_s });
    cap + cap * 9 / (seconds * 100) + BOXES_BITS
}

/// From one number to another, as far as `ns` is of `enough`.
fn towards(from: u64, to: u64, ns: u64, enough: u64) -> u64 {
    let ns = ns.min(enough);
    scaled(from, enough - ns, enough).saturating_add(scaled(to, ns, enough))
}

fn per_second(bytes: u64, ns: u64) -> u64 {
    scaled(bytes.saturating_mul(8), 1_000_000_000, ns)
}

fn scaled(value: u64, by: u64, of: u64) -> u64 {
    let value = u128::from(value) * u128::from(by) / u128::from(of.max(1));
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// Rounded up to one of 64 steps between a power of two and the next: by a sixty-fourth at most.
fn stepped(bits: u64) -> u64 {
    let low = (u64::BITS - bits.leading_zeros()).saturating_sub(7);
    let step = 1u64 << low;
    bits.div_ceil(step).saturating_mul(step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::Kind;
    use crate::sound::Sound;
    use crate::wire::SoundCoding;

    const LEVEL: (&str, &str) = ("film", "video.cmaf");
    const S: u64 = 1_000_000_000;

    fn level() -> Level {
        let kind = Kind::Pictures { width: 640, height: 360, level_idc: 30 };
        Level { name: "360p".to_owned(), max_kbps: 800, share_permille: 500, kind }
    }

    fn original(peak: u64, seconds: u64, live: bool) -> OriginalBits {
        OriginalBits { peak, average: peak / 2, ns: seconds * S, live, segment_s: 2 }
    }

    #[test]
    fn before_anything_was_made_it_is_a_bound() {
        let most = stepped(800_000 + 36_000 + 10_000);
        for (of, expect) in [
            (OriginalBits::default(), most),
            (original(4_000_000, 60, false), most),
            // A tenth of the cap is all that the original can need.
            (original(160_000, 60, false), 80_000),
            (original(160_000, 4, false), 80_000),
            // What is live may have begun with a black picture.
            (original(160_000, 0, true), most),
            (original(160_000, 15, true), stepped((846_000 + 80_000) / 2)),
            (original(160_000, 60, true), 80_000),
        ] {
            let bits = Rates::default().of(LEVEL, &level(), of);
            assert_eq!(bits.average, None);
            assert_eq!(bits.peak, stepped(expect), "{of:?}");
        }
        // Shorter segments may exceed the cap by more.
        let brief = OriginalBits { segment_s: 1, ..OriginalBits::default() };
        assert_eq!(Rates::default().of(LEVEL, &level(), brief).peak, stepped(882_000));
    }

    #[test]
    fn when_all_was_made_it_is_what_that_took() {
        let (mut rates, of) = (Rates::default(), original(4_000_000, 6, false));
        // 100, 300 and 200 kbit/s, in two seconds each.
        for (bytes, original) in [(25_000, 800_000), (75_000, 1_000_000), (50_000, 500_000)] {
            rates.made(LEVEL, &level(), bytes, (original, 2 * S));
        }
        let LevelBits { peak, average } = rates.of(LEVEL, &level(), of);
        assert!((300_000..=330_000).contains(&peak), "{peak}");
        assert_eq!(average, Some(2_000_000 * 150 / 2_300));
        // Its last segment is short, and all key frame.
        rates.made(LEVEL, &level(), 50_000, (60_000, S / 10));
        assert_eq!(rates.of(LEVEL, &level(), of).peak, peak);
        // Another level, another video.
        let other = Level { max_kbps: 700, ..level() };
        assert_eq!(rates.of(LEVEL, &other, of).average, None);
        assert_eq!(rates.of(("clip", "video.cmaf"), &level(), of).average, None);
        rates.forget("film");
        assert_eq!(rates.of(LEVEL, &level(), of).average, None);
    }

    #[test]
    fn it_goes_from_the_bound_to_what_was_seen_and_not_back() {
        let (mut rates, mut last) = (Rates::default(), u64::MAX);
        let mut said = Vec::new();
        for second in (2..=80).step_by(2) {
            // 100 kbit/s or less.
            rates.made(LEVEL, &level(), 25_000 - second * 10, (200_000, 2 * S));
            let LevelBits { peak, .. } = rates.of(LEVEL, &level(), original(800_000, second, true));
            assert!((100_000..=last).contains(&peak), "{peak} after {second} s");
            if peak != last {
                said.push(peak);
            }
            last = peak;
        }
        assert!(last <= 110_000, "{last}");
        assert!(said.len() <= 16, "{said:?}");
        // What the original has larger ones of is expected to take more, up to the cap.
        let larger = rates.of(LEVEL, &level(), original(1_600_000, 80, true)).peak;
        assert!((2 * last - 8_000..=2 * last + 8_000).contains(&larger), "{larger}");
        let most = rates.of(LEVEL, &level(), original(80_000_000, 80, true)).peak;
        assert_eq!(most, stepped(846_000 + 846_000 / ROOM));
        rates.made(LEVEL, &level(), 250_000, (200_000, 2 * S));
        assert!(rates.of(LEVEL, &level(), original(800_000, 80, true)).peak >= 1_000_000, "seen");
    }

    #[test]
    fn sound_takes_what_it_took_whatever_its_original_does() {
        let kind = Kind::Sound(Sound { coding: SoundCoding::Aac });
        let level = Level { name: "aac".to_owned(), max_kbps: 128, share_permille: 1_000, kind };
        let of = ("film", "audio.cmaf");
        let (mut rates, pictures) = (Rates::default(), original(4_000_000, 6, false));
        let before = LevelBits { peak: 153_600, average: None };
        assert_eq!(rates.of(of, &level, pictures), before);
        for bytes in [30_000, 32_000, 28_000] {
            rates.made(of, &level, bytes, (80_000, 2 * S));
        }
        let LevelBits { peak, average } = rates.of(of, &level, pictures);
        assert!((128_000..=140_800).contains(&peak), "{peak}");
        assert_eq!(average, Some(120_000));
        // Of what goes on for longer it says little yet.
        let live = rates.of(of, &level, original(4_000_000, 60, true)).peak;
        assert!((peak + 1..=before.peak).contains(&live), "{live}");
    }

    #[test]
    fn a_step_is_a_sixty_fourth_at_most() {
        for bits in [0, 1, 31, 32, 63, 64, 65, 1_000, 999_999, 1_000_000, 1 << 40, u64::MAX / 2] {
            let stepped = stepped(bits);
            assert!(stepped >= bits && stepped - bits <= bits / 64, "{bits}: {stepped}");
        }
    }

    #[test]
    fn how_many_are_remembered_is_bounded() {
        let mut rates = Rates::default();
        for n in 0..RATES_MAX + 10 {
            rates.made((&n.to_string(), "video.cmaf"), &level(), 1_000, (9_000, S));
        }
        assert_eq!(rates.levels.len(), RATES_MAX);
        let of = |n: usize| {
            rates.of((&n.to_string(), "video.cmaf"), &level(), original(9_000, 2, false)).average
        };
        assert_eq!((of(9), of(10).is_some()), (None, true), "the oldest are forgotten");
    }
}
