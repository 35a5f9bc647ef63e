//! What packaging misses and leaves out, and what it puts in the place of what does not come: counted for the node and for each
//! broadcast.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use media::health::Advice;
use package::Findings;

/// So much silence is told: a second. Less is an encoder's hiccup.
const SILENT_FRAMES_TOLD: u64 = 50;

/// What was found, of a broadcast or of all.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Places where frames had left the cache before they were packaged.
    pub(crate) holes: Count,
    /// Frames of silence in the place of sound that did not come.
    pub(crate) silent_frames: Count,
    /// Key pictures in the place of pictures that did not come.
    pub(crate) pictures_shown_again: Count,
    /// Frames left out: their place was taken when they came.
    pub(crate) frames_late: Count,
    /// Pictures left out: there was no key frame before them.
    pub(crate) pictures_without_key_frame: Count,
    /// Frames left out: they came before the picture that they could begin beside.
    pub(crate) frames_early: Count,
    /// Of all encoders of the node: frames that were left out before they were packaged.
    pub(crate) dropped: Arc<AtomicU64>,
}

/// How often, and when for the first time, in milliseconds since 1970.
#[derive(Debug, Default)]
pub(crate) struct Count {
    pub(crate) n: AtomicU64,
    since_ms: AtomicU64,
}

impl Count {
    fn add(&self, more: u64, now_ms: u64) {
        if more > 0 && self.n.fetch_add(more, Ordering::Relaxed) == 0 {
            self.since_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    fn get(&self) -> u64 {
        self.n.load(Ordering::Relaxed)
    }
}

impl Found {
    /// Adds what a broadcast's packaging has found since it had found `before`.
    pub(super) fn add(&self, found: &Findings, before: &Findings, now_ms: u64) {
        for (sum, of) in [
            (&self.holes, (|f| f.holes) as fn(&Findings) -> u64),
            (&self.silent_frames, |f| f.silent_frames),
            (&self.pictures_shown_again, |f| f.pictures_shown_again),
            (&self.frames_late, |f| f.frames_late),
            (&self.pictures_without_key_frame, |f| f.pictures_without_key_frame),
            (&self.frames_early, |f| f.frames_early),
        ] {
            sum.add(of(found).saturating_sub(of(before)), now_ms);
        }
    }

    /// Frames that came and were left out.
    pub(super) fn left_out(&self) -> u64 {
        let all = [&self.frames_late, &self.pictures_without_key_frame, &self.frames_early];
        all.map(Count::get).iter().sum()
    }

    /// What its owner should know.
    pub(super) fn advice(&self, now_ms: u64) -> Vec<Advice> {
        let told = |count: &Count, least: u64, words: fn(u64) -> String| {
            let for_ms = now_ms.saturating_sub(count.since_ms.load(Ordering::Relaxed));
            let n = Some(count.get()).filter(|n| *n >= least);
            n.map(|n| Advice { words: words(n), for_ms: Some(for_ms) })
        };
        let all = [
            told(&self.silent_frames, SILENT_FRAMES_TOLD, |n| {
                format!(
                    "sound was missing beside its picture: viewers heard {n} frames of silence in its place"
                )
            }),
            told(&self.pictures_shown_again, 1, |n| {
                let n = times(n);
                format!(
                    "pictures were missing beside their sound: viewers were shown the last key picture in their place {n}"
                )
            }),
            told(&self.frames_late, 1, |n| {
                let n = of(n, "frame");
                format!(
                    "{n} left out, as viewers had got past their time when they came: lower the bitrate, or use a better connection"
                )
            }),
            told(&self.pictures_without_key_frame, 1, |n| {
                let n = of(n, "picture");
                format!(
                    "{n} left out, as nobody can see them without a key frame before them: set the key-frame interval to 2 s"
                )
            }),
            told(&self.frames_early, 1, |n| {
                let n = of(n, "frame");
                format!(
                    "{n} left out, as the picture beside them began later: nothing to do, unless they become more"
                )
            }),
            told(&self.holes, 1, |n| {
                let n = times(n);
                format!(
                    "frames were lost inside the server {n}: its machine is too busy, or limits.cache_mb is too small"
                )
            }),
        ];
        all.into_iter().flatten().collect()
    }
}

fn of(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what} was") } else { format!("{n} {what}s were") }
}

fn times(n: u64) -> String {
    if n == 1 { "once".to_owned() } else { format!("{n} times") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_and_left_out_is_told_in_words() {
        let (found, mut before) = (Found::default(), Findings::default());
        let made = |silent_frames, pictures_shown_again| Findings {
            silent_frames,
            pictures_shown_again,
            ..Findings::default()
        };
        let left_out = Findings {
            frames_late: 1,
            pictures_without_key_frame: 40,
            frames_early: 3,
            holes: 2,
            ..made(60, 7)
        };
        let mut now_ms = 0;
        for (now, words) in [
            (made(0, 0), &[][..]),
            (made(49, 0), &[]),
            (made(49, 1), &[("once", 0)]),
            (made(60, 7), &[("60 frames of silence", 2), ("7 times", 1)]),
            // As they are still.
            (made(60, 7), &[("60 frames of silence", 3), ("7 times", 2)]),
            (
                left_out,
                &[
                    ("60 frames of silence", 4),
                    ("7 times", 3),
                    ("1 frame was left out, as viewers had got past", 0),
                    ("40 pictures were left out", 0),
                    ("3 frames were left out, as the picture", 0),
                    ("lost inside the server 2 times", 0),
                ],
            ),
        ] {
            now_ms += 1_000;
            found.add(&now, &before, now_ms);
            before = now;
            let told = found.advice(now_ms);
            assert_eq!(told.len(), words.len(), "{told:?}");
            for (told, (words, for_s)) in told.iter().zip(words) {
                assert!(
                    told.words.contains(words) && told.for_ms == Some(for_s * 1_000),
                    "{told:?}"
                );
            }
        }
        assert_eq!(found.left_out(), 44);
    }
}
