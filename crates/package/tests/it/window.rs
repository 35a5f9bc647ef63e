//! What the live window lists is in memory, whatever else has to go.

use std::time::Duration;

use package::Index;
use spine::{Location, TrackName, track};

use crate::studio::{Show, Studio, TRACKS};

/// Seconds that are sent before the tracks are looked at.
const BEGUN: f64 = 5.0;

fn is_there(track: &track::Consumer, number: u64) -> bool {
    track.object(Location { group: number, object: 0 }).is_ok()
}

/// How many segments the list of a track has, if all of them are there.
fn listed(index: &Index, name: &str, track: &track::Consumer) -> usize {
    let rendition = index.rendition(name).unwrap();
    let from = rendition.window_start(index.target_duration().unwrap());
    let listed = rendition.segments.range(from..);
    let gone: Vec<u64> =
        listed.clone().map(|s| s.number).filter(|number| !is_there(track, *number)).collect();
    assert!(gone.is_empty(), "{name}: {gone:?} of {} are gone", listed.len());
    listed.len()
}

/// The target duration is that of the first group of pictures, 4 s; those behind it have 2 s and less.
#[test]
fn short_segments_behind_a_long_one_are_all_in_memory() {
    let show = Show { seconds: 90.0, group: 57, ..Show::default() };
    let mut frames = show.frames();
    // The second key frame comes late.
    for sent in frames.iter_mut().filter(|sent| sent.samples == 0) {
        let n = (sent.truth * 30.0).round() as u32;
        sent.sync = n == 0 || (n >= 120 && (n - 120).is_multiple_of(57));
    }
    let mut studio = Studio::cramped(850_000, Duration::ZERO);
    let begun = frames.iter().position(|sent| sent.truth >= BEGUN).unwrap();
    let mut rest = frames.split_off(begun);
    studio.send(&frames, |_| ());
    let before = frames.last().unwrap().truth;
    rest.iter_mut().for_each(|sent| sent.truth -= before);
    let tracks = TRACKS.map(|name| studio.track(TrackName::new(name).unwrap()));
    let mut most = 0;
    studio.send(&rest, |index| {
        for (name, track) in TRACKS.iter().zip(&tracks) {
            most = most.max(listed(index, name, track));
        }
    });
    assert_eq!(studio.index.target_duration(), Some(4));
    assert!(most >= 13, "{most} segments");
    assert!(!is_there(&tracks[0], 101), "nothing had to go");
}
