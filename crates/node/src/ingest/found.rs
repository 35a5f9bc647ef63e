//! What packaging misses, and what it puts in the place of what does not come: counted for the node and for each broadcast.

use std::sync::atomic::{AtomicU64, Ordering};

use package::Findings;

/// So much silence is told: a second. Less is an encoder's hiccup.
const SILENT_FRAMES_TOLD: u64 = 50;

/// What was found, of a broadcast or of all.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Places where frames had left the cache before they were packaged.
    pub(crate) holes: AtomicU64,
    /// Frames of silence in the place of sound that did not come.
    pub(crate) silent_frames: AtomicU64,
    /// Key pictures in the place of pictures that did not come.
    pub(crate) pictures_shown_again: AtomicU64,
}

impl Found {
    /// Adds what a broadcast's packaging has found since it had found `before`.
    pub(super) fn add(&self, found: &Findings, before: &Findings) {
        for (sum, now, then) in [
            (&self.holes, found.holes, before.holes),
            (&self.silent_frames, found.silent_frames, before.silent_frames),
            (&self.pictures_shown_again, found.pictures_shown_again, before.pictures_shown_again),
        ] {
            sum.fetch_add(now.saturating_sub(then), Ordering::Relaxed);
        }
    }

    /// What its owner should know.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let silent = self.silent_frames.load(Ordering::Relaxed);
        if silent >= SILENT_FRAMES_TOLD {
            words.push(format!(
                "sound was missing beside its picture: viewers heard {silent} frames of silence in its place"
            ));
        }
        match self.pictures_shown_again.load(Ordering::Relaxed) {
            0 => {}
            1 => words.push(format!("{PICTURES} once")),
            n => words.push(format!("{PICTURES} {n} times")),
        }
        words
    }
}

const PICTURES: &str = "pictures were missing beside their sound: viewers were shown the last key picture in their place";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_told_in_words() {
        let (found, mut before) = (Found::default(), Findings::default());
        for (silent_frames, pictures_shown_again, words) in [
            (0, 0, &[][..]),
            (49, 0, &[]),
            (49, 1, &["once"]),
            (60, 7, &["60 frames of silence", "7 times"]),
            // As they are still.
            (60, 7, &["60 frames of silence", "7 times"]),
        ] {
            let now = Findings { silent_frames, pictures_shown_again, ..before };
            found.add(&now, &before);
            before = now;
            let told = found.words();
            assert_eq!(told.len(), words.len(), "{told:?}");
            assert!(told.iter().zip(words).all(|(told, words)| told.contains(words)), "{told:?}");
        }
    }
}
