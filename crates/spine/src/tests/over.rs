//! What is over and is still held by somebody.

use super::{header, path, route, start};
use crate::limits::{OVER_KEPT, RELAYED_TRACKS_MAX};
use crate::*;

fn name(n: usize) -> TrackName {
    TrackName::new(n.to_string()).unwrap()
}

fn broadcast(origin: &Origin) -> broadcast::Producer {
    origin.publish(&path(), route(), Takeover::Refuse).unwrap()
}

/// A group of so many bytes.
fn group(track: &track::Producer, id: u64, bytes: usize) -> Result<(), WriteError> {
    let group = track.group(id, start())?;
    let subgroup = group.subgroup(0, start())?;
    let payload = track.budget().payload(vec![0; bytes]);
    subgroup.write(header(0, start()), vec![payload])?;
    subgroup.fin();
    Ok(())
}

/// A track that is relayed, with a group of so many bytes.
fn relayed(of: &broadcast::Producer, n: usize, bytes: usize) -> track::Producer {
    let track = of.consume().derive_anew(name(n), TrackInfo::default()).unwrap();
    group(&track, 0, bytes).unwrap();
    track
}

#[test]
fn tracks_that_are_over_make_room_for_others_that_are_relayed() {
    let origin = Origin::new(Limits::default());
    let there = broadcast(&origin);
    let all = there.consume();
    let _read = relayed(&there, 0, 10).consume().interest();
    let live = relayed(&there, 1, 10);
    for n in 2..3 * RELAYED_TRACKS_MAX {
        drop(relayed(&there, n, 10));
        assert!(all.tracks().len() <= RELAYED_TRACKS_MAX);
        assert!(all.get(&name(n)).is_some(), "its past can be fetched");
    }
    assert!(all.get(&name(0)).is_some() && all.get(&name(1)).is_some());
    assert!(all.get(&name(2)).is_none());
    // Those that are not over do not.
    let mut kept = vec![live];
    let refused = loop {
        match all.derive_anew(name(10_000 + kept.len()), TrackInfo::default()) {
            Ok(track) => kept.push(track),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, PublishError::TooManyTracks);
    assert_eq!(kept.len(), RELAYED_TRACKS_MAX - 1);
    assert!(all.derive_anew(name(1), TrackInfo::default()).is_ok(), "it is there already");
}

#[test]
fn what_is_over_goes_when_memory_is_short_whoever_holds_it() {
    let origin = Origin::new(Limits { cache_bytes: 100_000, ..Limits::default() });
    let (there, now) = (broadcast(&origin), start());
    let everything = Filter::from(Start::At(Location { group: 0, object: 0 }));
    let held = |n| relayed(&there, n, 30_000).consume().subscribe(everything, Policy::EVERYTHING);
    // The first makes room for another one of its name.
    let [_one, _two, _three] = [held(1), held(1), held(2)];
    let used = || origin.budget().used();
    origin.give_back(now);
    origin.give_back(now + OVER_KEPT - std::time::Duration::from_millis(1));
    assert!(used() > 90_000, "who reads it has his time");
    drop(there);
    origin.expire(now);
    origin.give_back(now + OVER_KEPT);
    assert_eq!(used(), 0);
}

#[test]
fn what_is_over_stays_for_who_reads_it_while_there_is_memory() {
    let origin = Origin::new(Limits { cache_bytes: 100_000, ..Limits::default() });
    let (there, now) = (broadcast(&origin), start());
    let track = relayed(&there, 1, 30_000).consume();
    origin.give_back(now);
    origin.give_back(now + 2 * OVER_KEPT);
    assert!(origin.budget().used() > 30_000);
    assert_eq!(track.oldest_group(), Some(0));
}

#[test]
fn of_what_anybody_may_publish_half_a_cache_is_kept_beyond_the_cache() {
    let limits = Limits { cache_bytes: 100_000, group_bytes: 40_000, ..Limits::default() };
    let origin = Origin::new(limits);
    let there = broadcast(&origin);
    let own = there.track(name(1_000), TrackInfo::default()).unwrap();
    group(&own, 0, 10).unwrap();
    let strangers: Vec<_> = (0..4).map(|n| relayed(&there, n, 35_000)).collect();
    let used = || origin.budget().used();
    assert!(used() > 140_000, "their newest groups stay");
    for stranger in &strangers {
        let refused = group(stranger, 1, 30_000);
        assert_eq!(refused, Err(WriteError::Closed(Close::Evicted)));
        assert!(stranger.consume().ended().is_none(), "it goes on when there is room");
    }
    for id in 1..10 {
        group(&own, id, 20_000).unwrap();
    }
    assert!(used() < 200_000, "{}", used());
    drop(strangers);
}
