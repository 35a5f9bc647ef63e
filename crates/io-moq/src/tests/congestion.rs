//! The deciding test of congestion controllers: how old what is newest gets on bad paths, and what that costs
//! elsewhere. `AIRWAVE_CONTROLLERS=all` prints the table of docs/decisions/0059-short-queues.md.

use std::collections::BTreeMap;
use std::time::Duration;

use moqt::{GroupOrder, Parameters};
use spine::TrackInfo;
use testkit::Shape;
use tokio::time::Instant;

use super::duties::VIDEO;
use super::live::{Seen, Source, Watcher, descending, layers, mile, ms};
use super::rig::{Rig, next_object};
use crate::limits::LAG_MAX;
use crate::transport::{Congestion, Network};

const fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A line that drops from 4 to 1 Mbit/s for 15 s: how old the newest object gets from 2 s after that on.
async fn drops(congestion: Congestion, source: &Source, queue: u64) -> Duration {
    let (start, network) = (Instant::now(), Network::new(7));
    let rig = Rig::over(&network, congestion);
    let broadcast = rig.broadcast(&["default", "one"]);
    let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let client = rig.client_over(&network, mile(4, queue)).await;
    let watcher = Watcher::new(client, start, descending()).await;
    let drop = async {
        for (at, mbit) in [(5, 1), (20, 4)] {
            tokio::time::sleep_until(start + s(at)).await;
            network.reshape(watcher.address(), mile(mbit, queue));
        }
    };
    tokio::join!(source.run(&track, start, 20), drop);
    watcher.take().age_max(s(7), s(20))
}

/// The same to who wants old groups first (`ascending`), who has 10 s more afterwards: all that came.
async fn drops_ascending(source: &Source) -> Seen {
    let (start, network) = (Instant::now(), Network::new(7));
    let rig = Rig::over(&network, Congestion::Ours);
    let broadcast = rig.broadcast(&["default", "one"]);
    let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let client = rig.client_over(&network, mile(4, DEEP)).await;
    let ascending = Parameters { group_order: Some(GroupOrder::Ascending), ..next_object() };
    let watcher = Watcher::new(client, start, ascending).await;
    let drop = async {
        for (at, mbit) in [(5, 1), (20, 4)] {
            tokio::time::sleep_until(start + s(at)).await;
            network.reshape(watcher.address(), mile(mbit, DEEP));
        }
    };
    tokio::join!(source.run(&track, start, 30), drop);
    // What is on its way.
    tokio::time::sleep(s(1)).await;
    watcher.take()
}

/// Mbit/s of a line that is offered more than it passes.
async fn filled(congestion: Congestion, line: Shape) -> f64 {
    let (start, network) = (Instant::now(), Network::new(9));
    let rig = Rig::over(&network, congestion);
    let broadcast = rig.broadcast(&["default", "one"]);
    let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let client = rig.client_over(&network, line).await;
    let watcher = Watcher::new(client, start, descending()).await;
    Source::single(30_000_000).run(&track, start, 5).await;
    watcher.take().bytes.values().sum::<u64>() as f64 * 8e-6 / 5.0
}

/// Mbit/s of a source of 3 Mbit/s on a line of 8 that somebody else fills.
async fn beside_cubic(congestion: Congestion, queue: u64) -> f64 {
    let (start, network) = (Instant::now(), Network::new(9));
    let endpoint = network.client(mile(8, queue)).unwrap();
    let mut all = Vec::new();
    for (congestion, bits) in [(congestion, 3_000_000), (Congestion::Cubic, 30_000_000)] {
        let rig = Rig::over(&network, congestion);
        let broadcast = rig.broadcast(&["default", "one"]);
        let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
        let client = rig.client_from(endpoint.clone()).await;
        let watcher = Watcher::new(client, start, next_object()).await;
        all.push((rig, broadcast, track, watcher, Source::single(bits)));
    }
    let [one, two] = &all[..] else { panic!() };
    tokio::join!(one.4.run(&one.2, start, 30), two.4.run(&two.2, start, 30));
    let seen = one.3.seen.lock().unwrap();
    seen.bytes.values().sum::<u64>() as f64 * 8e-6 / 30.0
}

const SHALLOW: u64 = 64 << 10;
const DEEP: u64 = 1 << 20;

#[tokio::test(start_paused = true)]
async fn queues_stay_short_and_chance_is_not_taken_for_a_full_queue() {
    let (ours, cubic) = (Congestion::Ours, Congestion::Cubic);
    let (old, older) = (drops(ours, &layers(), DEEP).await, drops(cubic, &layers(), DEEP).await);
    assert!(old < ms(800) && older > old * 5, "{old:?}, CUBIC {older:?}");
    let lossy = Shape { loss: 0.01, ..mile(20, 128 << 10) };
    let (fast, slow) = (filled(ours, lossy).await, filled(cubic, lossy).await);
    assert!(fast > slow * 2.0, "{fast} Mbit/s, CUBIC {slow}");
    // Where nothing is wrong with a line, it is used as well.
    let (fast, slow) = (filled(ours, mile(20, DEEP)).await, filled(cubic, mile(20, DEEP)).await);
    assert!(fast > slow * 0.9, "{fast} Mbit/s, CUBIC {slow}");
    if std::env::var("AIRWAVE_CONTROLLERS").is_ok() {
        table().await;
    }
}

/// Whoever asks for old groups first is served so, and pays with age: as much as a subscriber may lag, and no more, however long the
/// line stays narrow.
#[tokio::test(start_paused = true)]
async fn who_wants_old_groups_first_on_a_narrow_line_lags_by_a_bound() {
    let seen = drops_ascending(&Source::single(3_000_000)).await;
    let narrow = seen.age_max(s(7), s(20));
    assert!(narrow > ms(3_000), "the newest first would be {narrow:?}: old groups came first");
    assert!(narrow < LAG_MAX + ms(1_000), "{narrow:?}");
    let after = seen.age_max(s(23), s(30));
    assert!(after < ms(500), "live again 3 s after the line is: {after:?}");
    // What is lost are the ends of groups, which is said, and whole groups behind them.
    let cut: Vec<u64> = seen.resets(0).iter().map(|(group, _)| *group).collect();
    let mut groups: BTreeMap<u64, usize> = BTreeMap::new();
    seen.objects.iter().for_each(|came| *groups.entry(came.group).or_default() += 1);
    let torn = groups.iter().filter(|(group, objects)| **objects < 30 && !cut.contains(group));
    assert_eq!(torn.collect::<Vec<_>>(), [], "cut: {cut:?}");
    assert!(!cut.is_empty() && groups.len() < 30, "{} groups, cut: {cut:?}", groups.len());
    // The layer that a line can carry stays live whatever the order is.
    let seen = drops_ascending(&layers()).await;
    let narrow = seen.age_max(s(7), s(20));
    assert!(narrow < ms(800), "{narrow:?}");
    assert_eq!((seen.of(0).count(), seen.resets(0)), (900, vec![]), "all of the lower layer");
    assert!(!seen.resets(1).is_empty(), "and not all of the higher one");
}

async fn table() {
    for congestion in [Congestion::Ours, Congestion::Cubic, Congestion::Bbr] {
        for queue in [SHALLOW, DEEP] {
            let two = drops(congestion, &layers(), queue).await;
            let one = drops(congestion, &Source::single(3_000_000), queue).await;
            eprintln!(
                "{congestion:?}, 4 to 1 Mbit/s, queue {queue}: two layers {two:?}, one {one:?}"
            );
        }
        let late = |share| Shape { reorder: share, reorder_by: ms(20), ..mile(20, SHALLOW * 2) };
        for (what, line) in [
            ("", mile(20, SHALLOW * 2)),
            (", deep", mile(20, DEEP * 4)),
            (", 1 % lost", Shape { loss: 0.01, ..mile(20, SHALLOW * 2) }),
            (", 5 % lost", Shape { loss: 0.05, ..mile(20, SHALLOW * 2) }),
            (", 5 % overtaken", late(0.05)),
            (", 4 ms", Shape { delay: ms(2), ..mile(20, SHALLOW * 2) }),
            (", 200 ms", Shape { delay: ms(100), ..mile(20, SHALLOW * 4) }),
        ] {
            eprintln!("{congestion:?}, 20 Mbit/s{what}: {:.1}", filled(congestion, line).await);
        }
        for queue in [SHALLOW, SHALLOW * 4, DEEP] {
            let got = beside_cubic(congestion, queue).await;
            eprintln!("{congestion:?}, 3 Mbit/s beside CUBIC, queue {queue}: {got:.1}");
        }
    }
}
