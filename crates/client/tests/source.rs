//! Sources with real files.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

use std::collections::BTreeMap;

use client::source::{Codec, Frame, Item, Place, start};
use testkit::{Clip, ClipSpec};

/// The frames of each kind in `rounds` rounds.
fn rounds(clip: &Clip, rounds: usize) -> BTreeMap<bool, Vec<Frame>> {
    let place = Place::File { path: clip.path().to_owned(), again: true };
    let mut items = start(place).unwrap();
    let (mut frames, mut over): (BTreeMap<bool, Vec<Frame>>, usize) = (BTreeMap::new(), 0);
    while over < rounds {
        match items.blocking_recv().unwrap().unwrap() {
            Item::Frame(frame) => {
                let video = matches!(frame.codec, Codec::Video(_));
                frames.entry(video).or_default().push(frame);
            }
            Item::Round => over += 1,
            Item::Track(_) | Item::Script(_) => {}
        }
    }
    frames
}

#[test]
fn a_loop_goes_on_as_if_it_had_no_end() {
    // With B-frames: pictures are decoded 67 ms ahead of their time, sound begins 21 ms ahead.
    let clip = Clip::make(&ClipSpec::plain("short", 4));
    let frames = rounds(&clip, 3);
    let mut longest_seam = i64::MAX;
    for (video, frames) in frames {
        let round = frames.len() / 3;
        let at = |n: usize| i64::try_from(frames[n].at_us).unwrap();
        let step = at(1) - at(0);
        for n in 1..frames.len() {
            let off = at(n) - at(n - 1) - step;
            if n % round == 0 {
                assert!(off >= -2, "{video}: no two frames at one time, {off} us");
                longest_seam = longest_seam.min(off);
            } else {
                assert!(off.abs() <= 2, "{video}: frame {n} is {off} us off");
            }
        }
        for n in 0..round {
            assert_eq!(at(n + round) - at(n), at(n + 2 * round) - at(n + round));
            assert_eq!(frames[n].data, frames[n + round].data);
        }
    }
    // The track that is the longest goes on without any seam.
    assert!(longest_seam.abs() <= 2, "{longest_seam} us");
}
