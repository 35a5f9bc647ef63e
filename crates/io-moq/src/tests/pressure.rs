//! Bad networks: who loses what, and that nobody else loses anything.

use std::collections::BTreeSet;
use std::time::Duration;

use moqt::{Fetch, Filter, GroupOrder, Location, Parameters, Range, Request, Version};
use spine::{Close, Header, TrackInfo, track};
use testkit::{Impaired, Shape};
use tokio::time::Instant;

use super::duties::{VIDEO, code};
use super::live::{FPS, Seen, Source, Watcher, descending, layers, mile, ms, stamped};
use super::rig::{
    Client, Rig, certificate, namespace, next_object, track as name, until, use_value,
};
use super::streams::end_of;
use crate::client::{self, Server};
use crate::clock;
use crate::limits::DELIVERY_MAX;
use crate::listen::protocols;
use crate::transport::{Congestion, Network, Read, Returning, Trust};

/// Routers that hold back seconds, as those of mobile networks do.
const DEEP: u64 = 1 << 20;

const TIMED_OUT: u64 = 0x2;

const fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// What a subscriber at the end of this line has seen of a source after `seconds`.
async fn watched(
    source: &Source,
    seconds: u64,
    line: Shape,
    parameters: Parameters,
    change: Option<(u64, Shape)>,
) -> Seen {
    let (start, network) = (Instant::now(), Network::new(7));
    let rig = Rig::over(&network, Congestion::Ours);
    let broadcast = rig.broadcast(&["default", "one"]);
    let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let client = rig.client_over(&network, line).await;
    let watcher = Watcher::new(client, start, parameters).await;
    let changes = async {
        if let Some((at, line)) = change {
            tokio::time::sleep_until(start + s(at)).await;
            network.reshape(watcher.address(), line);
        }
    };
    tokio::join!(source.run(&track, start, seconds), changes);
    watcher.take()
}

#[tokio::test(start_paused = true)]
async fn d14_d16_on_a_path_that_drops_to_a_quarter_only_the_higher_subgroup_loses() {
    let seen = watched(&layers(), 15, mile(4, DEEP), next_object(), Some((5, mile(1, DEEP)))).await;
    // Until it drops nobody loses anything; from 2 s after that on, what is newest is as new as before.
    assert!(seen.age_max(s(1), s(5)) < ms(300), "{:?}", seen.age_max(s(1), s(5)));
    assert!(seen.age_max(s(7), s(15)) < ms(800), "{:?}", seen.age_max(s(7), s(15)));
    let lower: BTreeSet<_> = seen.of(0).map(|came| (came.group, came.object)).collect();
    assert!(lower.len() >= 15 * 30 - 10, "all but what is under way: {}", lower.len());
    assert!(seen.resets(0).is_empty(), "{:?}", seen.resets(0));
    // What was begun of the higher one is reset, and what nothing was sent of never comes.
    let cut = seen.resets(1);
    assert!(!cut.is_empty() && cut.iter().all(|(_, code)| *code == TIMED_OUT), "{cut:?}");
    assert!(cut.iter().all(|(group, _)| *group >= 4), "{cut:?}");
    let lost = (0..10).filter(|group| seen.ends.get(&(*group, 1)) != Some(&None)).count();
    assert!(lost >= 3, "{lost} {:?}", seen.ends);
}

/// Also more of them than usual; what was written first is on its way by then.
#[tokio::test(start_paused = true)]
async fn draft18_s7_2_d14_six_subgroups_of_a_group_come_one_after_the_other() {
    let (start, network) = (Instant::now(), Network::new(7));
    let rig = Rig::over(&network, Congestion::Ours);
    let broadcast = rig.broadcast(&["default", "one"]);
    let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let client = rig.client_over(&network, mile(1, DEEP)).await;
    let watcher = Watcher::new(client, start, next_object()).await;
    let group = track.group(0, clock::now()).unwrap();
    // Half a second of the path each.
    for id in (0..6).rev() {
        let subgroup = group.subgroup(id, clock::now()).unwrap();
        let payload = stamped(&track, start, 60_000);
        subgroup.write(Header::new(id, clock::now()), vec![payload]).unwrap();
        subgroup.fin();
    }
    tokio::time::sleep(s(6)).await;
    let came: Vec<u64> = watcher.take().objects.iter().map(|came| came.subgroup).collect();
    assert_eq!(came, [5, 0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn d16_on_a_narrow_path_whole_groups_are_lost_and_a_neighbour_loses_nothing() {
    let (start, network) = (Instant::now(), Network::new(7));
    let rig = Rig::over(&network, Congestion::Ours);
    let broadcast = rig.broadcast(&["default", "one"]);
    let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let narrow = rig.client_over(&network, mile(1, DEEP)).await;
    let narrow = Watcher::new(narrow, start, next_object()).await;
    let neighbour = rig.client_over(&network, mile(20, DEEP)).await;
    let neighbour = Watcher::new(neighbour, start, next_object()).await;
    let source = Source::single(3_000_000);
    source.run(&track, start, 20).await;
    let (narrow, neighbour) = (narrow.take(), neighbour.take());
    let cut = narrow.resets(0);
    assert!(!cut.is_empty() && cut.iter().all(|(_, code)| *code == TIMED_OUT), "{cut:?}");
    // A third fits; nearly all of what comes is whole.
    let whole = narrow.ends.values().filter(|end| end.is_none()).count();
    assert!(whole >= 5 && cut.len() <= 4, "{whole} whole, cut: {cut:?}");
    for group in 0..20 {
        // Never single objects out of the middle: what came of a group is its beginning.
        let came = narrow.objects.iter().filter(|came| came.group == group);
        let came: Vec<u64> = came.map(|came| came.object).collect();
        assert!(came.iter().copied().eq(0..came.len() as u64), "{group}: {came:?}");
        if narrow.ends.get(&(group, 0)) == Some(&None) {
            assert_eq!(came.len() as u64, FPS);
        }
    }
    assert!(neighbour.objects.len() >= source.objects(20) - 5, "{}", neighbour.objects.len());
    assert!(neighbour.resets(0).is_empty());
    assert!(neighbour.age_max(s(1), s(20)) < ms(200), "{:?}", neighbour.age_max(s(1), s(20)));
}

#[tokio::test(start_paused = true)]
async fn d14_descending_order_jumps_to_the_live_group() {
    for (order, jumps) in [(GroupOrder::Descending, true), (GroupOrder::Ascending, false)] {
        // Nearly dark for 3 s, in which 900 kB are made and 100 kB pass.
        let (start, network) = (Instant::now(), Network::new(7));
        let rig = Rig::over(&network, Congestion::Ours);
        let broadcast = rig.broadcast(&["default", "one"]);
        let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
        let client = rig.client_over(&network, mile(4, DEEP)).await;
        let parameters = Parameters { group_order: Some(order), ..next_object() };
        let watcher = Watcher::new(client, start, parameters).await;
        let dark = Shape { rate: Some(300_000), ..mile(1, 16 << 10) };
        let changes = async {
            for (at, line) in [(3, dark), (6, mile(4, DEEP))] {
                tokio::time::sleep_until(start + s(at)).await;
                network.reshape(watcher.address(), line);
            }
        };
        let source = Source::single(2_400_000);
        tokio::join!(source.run(&track, start, 9), changes);
        let seen = watcher.take();
        // Objects of what is past that came between the light and the first one of a group that was live then.
        let after = seen.objects.iter().filter(|came| came.at >= s(6));
        let before = after.take_while(|came| came.group < 6).count();
        let lived = seen.objects.iter().any(|came| came.group == 6);
        assert_eq!((before <= 5, lived), (jumps, true), "{order:?}: {before} objects first");
    }
}

/// draft-18 §7.2: "all subscriptions will be able to send some data".
#[tokio::test(start_paused = true)]
async fn d14_a_fetch_of_a_long_past_is_sent_behind_what_is_live() {
    let (start, network) = (Instant::now(), Network::new(7));
    let rig = Rig::over(&network, Congestion::Ours);
    let broadcast = rig.broadcast(&["default", "one"]);
    let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    // A minute of what the path takes.
    let recorded = spine::TrackName::from_static("recorded");
    let recorded = broadcast.track(recorded, TrackInfo::default()).unwrap();
    for id in 0..60 {
        let group = recorded.group(id, clock::now()).unwrap();
        let subgroup = group.subgroup(0, clock::now()).unwrap();
        let payload = recorded.budget().payload(vec![0; 125_000]);
        subgroup.write(Header::new(0, clock::now()), vec![payload]).unwrap();
        subgroup.fin();
        group.end(Some(0), clock::now());
    }
    let client = rig.client_over(&network, mile(1, DEEP)).await;
    let watcher = Watcher::new(client, start, next_object()).await;
    let range = Range { start: Location::default(), end: Location::new(59, Range::WHOLE_GROUP) };
    let fetch = Fetch::Standalone { track: name(&["default", "one"], "recorded"), range };
    let request = Request::Fetch { fetch, parameters: Parameters::default() };
    let (_, mut told) = watcher.client.link.request(request).unwrap();
    let past = tokio::spawn(async move {
        let (mut data, mut bytes) = (Client::fetched(&mut told).await, 0);
        while let Read::Chunk(chunk) = data.stream.read().await {
            bytes += chunk.len();
            if bytes > 300_000 {
                return;
            }
        }
        panic!("it ended after {bytes} bytes");
    });
    Source::single(400_000).run(&track, start, 12).await;
    let seen = watcher.take();
    assert!(seen.resets(0).is_empty() && seen.objects.len() as u64 >= 12 * FPS - 10);
    assert!(seen.age_max(s(1), s(12)) < s(1), "{:?}", seen.age_max(s(1), s(12)));
    // It comes, with what is left of the path.
    assert!(past.is_finished(), "nothing came of the past");
    past.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn d14_what_a_newer_group_supersedes_is_not_handed_over() {
    // Four times what the path takes: a group has 500 kB, and the path takes 125 kB while it is the newest.
    let source = Source::single(4_000_000);
    let seen = watched(&source, 12, mile(1, DEEP), descending(), None).await;
    for group in 2..11 {
        let bytes = seen.bytes.get(&group).copied().unwrap_or_default();
        assert!((80_000..200_000).contains(&bytes), "{group}: {bytes} bytes");
        // It begins before its second is over: nothing older stands before it.
        let first = seen.objects.iter().find(|came| came.group == group && came.object == 0);
        let first = first.unwrap_or_else(|| panic!("group {group} never began"));
        assert!(first.at - first.written < s(1), "{group}: {:?}", first.at - first.written);
    }
    assert!(seen.resets(0).iter().all(|(_, code)| *code == TIMED_OUT));
}

#[tokio::test(start_paused = true)]
async fn draft18_s8_d15_what_is_too_late_is_not_handed_over() {
    let parameters = Parameters { object_delivery_timeout_ms: Some(500), ..next_object() };
    let source = Source::single(3_000_000);
    let seen = watched(&source, 15, mile(1, DEEP), parameters, None).await;
    // What was handed over in time has to get there: 48 kB take less than half a second.
    let oldest = seen.objects.iter().map(|came| came.at - came.written).max().unwrap();
    assert!(oldest < s(1), "{oldest:?}");
    let lost = seen.resets(0);
    assert!(lost.len() >= 8 && lost.iter().all(|(_, code)| *code == TIMED_OUT), "{lost:?}");
    assert!(seen.objects.len() >= 40, "and what is in time comes: {}", seen.objects.len());
}

/// Two relays: the second one has the broadcast from the first, by a session that the first one publishes to it in.
struct Two {
    network: Network,
    relays: [Rig; 2],
    /// Where what the first one has is written.
    track: spine::track::Producer,
    /// Of the session between them.
    between: std::net::SocketAddr,
    broadcast: spine::broadcast::Producer,
    publishing: tokio::task::JoinHandle<()>,
}

impl Two {
    async fn new(line: Shape) -> Self {
        let network = Network::new(7);
        let relays = [(); 2].map(|()| Rig::over(&network, Congestion::Ours));
        let broadcast = relays[0].broadcast(&ROOM);
        let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
        let (endpoint, trust) = (network.client(line).unwrap(), Trust::Fingerprint(relays[1].hash));
        let (to, between) =
            (relays[1].endpoint.local_address().unwrap(), endpoint.local_address().unwrap());
        let connection = endpoint.connect(to, "localhost", trust, &protocols()).await.unwrap();
        let (host, path) = (to.ip().to_string(), "/".to_owned());
        let server = Server { host, port: to.port(), path, draft: None };
        let mut client =
            client::Client::begin(connection, endpoint, &server, relays[0].origin.clone(), None);
        let handle = client.handle();
        let publishing = tokio::spawn(async move {
            let published = async {
                let published = handle.publish(&namespace(&ROOM)).await;
                let _published = published.map_err(|_| "refused").unwrap();
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = published => {}
                ended = client.run_out() => panic!("it ended: {}", ended.reason),
            }
        });
        Self { network, relays, track, between, broadcast, publishing }
    }

    /// Somebody who watches at one of them.
    async fn watcher(&self, relay: usize, line: Shape, start: Instant) -> Watcher {
        let client = self.relays[relay].client_over(&self.network, line).await;
        // Its publisher may be on its way.
        let parameters = Parameters { rendezvous_timeout_ms: Some(5_000), ..next_object() };
        Watcher::of(name(&ROOM, "video"), client, start, parameters).await
    }
}

const ROOM: [&str; 2] = ["open", "room"];

impl Drop for Two {
    fn drop(&mut self) {
        self.publishing.abort();
    }
}

/// `make soak` takes ten minutes.
#[tokio::test(start_paused = true)]
async fn one_packet_in_a_hundred_is_lost_and_no_object_over_one_relay_and_over_two() {
    let seconds = std::env::var("AIRWAVE_LOSS_SECONDS").ok().and_then(|n| n.parse().ok());
    let seconds = seconds.unwrap_or(10);
    let lossy = Shape { loss: 0.01, ..mile(10, 256 << 10) };
    let two = Two::new(lossy).await;
    let first = two.watcher(0, lossy, Instant::now()).await;
    let second = two.watcher(1, lossy, Instant::now()).await;
    let source = Source::single(2_000_000);
    source.run(&two.track, Instant::now(), seconds).await;
    // What was lost last is sent again.
    tokio::time::sleep(s(3)).await;
    let lost = [first.address(), two.between, second.address()].map(|to| two.network.lost(to));
    for (watcher, relays) in [(first, 1), (second, 2)] {
        let seen = watcher.take();
        let came: BTreeSet<_> = seen.objects.iter().map(|came| (came.group, came.object)).collect();
        let whole = (0..seconds).flat_map(|group| (0..FPS).map(move |object| (group, object)));
        let missing = whole.filter(|object| !came.contains(object)).count();
        assert_eq!(missing, 0, "over {relays}");
        assert_eq!(seen.objects.len(), came.len(), "none twice, over {relays}");
        assert!(seen.ends.values().all(Option::is_none), "over {relays}: {:?}", seen.ends);
    }
    // What goes to the second relay is no download: there are acknowledgements only.
    assert!(lost[0] >= seconds && lost[2] >= seconds, "{lost:?}");
    let objects = source.objects(seconds);
    eprintln!(
        "{} packets lost on three ways, {objects} objects over each of two, 0 missing",
        lost.iter().sum::<u64>()
    );
}

/// Who begins in the middle of a group has its beginning fetched, of each level that he watches: several seconds of each of them.
#[tokio::test(start_paused = true)]
async fn d14_beginnings_that_a_relay_fetches_do_not_hold_up_what_is_live() {
    let (wide, thin) = (mile(100, DEEP), mile(10, DEEP));
    let two = Two::new(thin).await;
    let levels = ["low", "middle", "high", "full"].map(|level| {
        let name = spine::TrackName::from_static(level);
        (level, two.broadcast.track(name, TrackInfo::default()).unwrap())
    });
    let source = Source { group_s: 10, ..Source::single(800_000) };
    let start = Instant::now();
    let watching = two.watcher(1, wide, start).await;
    let comes = async {
        tokio::time::sleep_until(start + s(5)).await;
        let mut watchers = Vec::new();
        for (level, _) in &levels {
            let client = two.relays[1].client_over(&two.network, wide).await;
            // From the beginning of the group that is under way.
            let parameters = Parameters {
                filter: Some(Filter::From(Location::default())),
                rendezvous_timeout_ms: Some(5_000),
                ..Parameters::default()
            };
            watchers.push(Watcher::of(name(&ROOM, level), client, start, parameters).await);
        }
        watchers
    };
    let run = |track: track::Producer| {
        let source = source.clone();
        async move { source.run(&track, start, 10).await }
    };
    let [low, middle, high, full] = levels.clone().map(|(_, track)| track);
    let all = (run(two.track.clone()), run(low), run(middle), run(high), run(full));
    let (watchers, ..) = tokio::join!(comes, all.0, all.1, all.2, all.3, all.4);
    let seen = watching.take();
    let age = seen.age_max(s(1), s(10));
    assert!(age < ms(800), "{age:?}");
    // And they come, with what is left of the path, before their group is over.
    for (watcher, (level, _)) in watchers.into_iter().zip(&levels) {
        let seen = watcher.take();
        let first = seen.objects.iter().filter(|came| came.object < 4 * FPS).count() as u64;
        assert_eq!(first, 4 * FPS, "{level}");
    }
}

/// What a relay adds is its way, and less than a frame.
#[tokio::test(start_paused = true)]
async fn a_second_relay_adds_its_way_and_less_than_a_frame() {
    let line = mile(10, 256 << 10);
    let two = Two::new(line).await;
    let start = Instant::now();
    let watchers = [two.watcher(0, line, start).await, two.watcher(1, line, start).await];
    // After the first seconds, in which a path is learnt.
    let source = Source::single(2_000_000);
    source.run(&two.track, start, 12).await;
    tokio::time::sleep(s(1)).await;
    let [first, second] = watchers.map(|watcher| {
        let mut seen = watcher.take();
        assert_eq!(seen.objects.len(), source.objects(12));
        seen.objects.retain(|came| came.group >= 2);
        (seen.age_of(0.5), seen.age_of(0.95))
    });
    let frame = s(1) / FPS as u32;
    assert!(second.0 < first.0 + line.delay + frame, "{first:?} {second:?}");
    assert!(second.1 < first.1 + line.delay + frame, "{first:?} {second:?}");
    eprintln!(
        "{} objects over each of two: p50 {:?} and {:?}, p95 {:?} and {:?}",
        source.objects(10),
        first.0,
        second.0,
        first.1,
        second.1
    );
}

/// Addresses change on real sockets.
#[tokio::test]
async fn a_client_whose_address_changes_three_times_loses_no_object() {
    const EACH: u64 = 20;
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let shape = Shape { delay: ms(1), loss: 0.01, ..Shape::default() };
    let relay = Impaired::start(rig.endpoint.local_address().unwrap(), shape, shape, 5);
    let client = rig.client_at(relay.address()).await;
    let mut seen = client.subscribe(name(&["default", "one"], "video"), next_object()).await;
    assert_eq!(code(&seen.answer), None);
    for round in 0..4 {
        let group = track.group(round, clock::now()).unwrap();
        let subgroup = group.subgroup(0, clock::now()).unwrap();
        for object in 0..EACH {
            let payload = stamped(&track, Instant::now(), 5_000);
            subgroup.write(Header::new(object, clock::now()), vec![payload]).unwrap();
            // They are on their way while it moves.
            if round > 0 && object == EACH / 2 {
                client.endpoint.move_elsewhere().unwrap();
            }
        }
        subgroup.fin();
        group.end(Some(EACH - 1), clock::now());
        for object in 0..EACH {
            let came = seen.next().await;
            assert_eq!((came.group, came.id, came.payload.len()), (round, object, 5_000));
        }
        let addresses = usize::try_from(round).unwrap() + 1;
        until("the relay to see its new address", || relay.clients() == addresses).await;
    }
}

#[tokio::test(start_paused = true)]
async fn draft18_s3_3_1_d26_who_comes_back_gets_its_first_object_a_round_trip_earlier() {
    let (start, network) = (Instant::now(), Network::new(7));
    let rig = Rig::over(&network, Congestion::Ours);
    let broadcast = rig.broadcast(&["default", "one"]);
    let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let subgroup = track.group(0, clock::now()).unwrap().subgroup(0, clock::now()).unwrap();
    let payload = stamped(&track, start, 100);
    subgroup.write(Header::new(0, clock::now()), vec![payload]).unwrap();
    let returning = Returning::new(Trust::Fingerprint(rig.hash), &protocols()).unwrap();
    let mut waits = Vec::new();
    // What a token allows may depend on the address, which is proved by then.
    for (known, shows) in [(false, false), (true, false), (true, false), (true, true)] {
        let line = Shape { delay: ms(25), ..Shape::default() };
        let endpoint = network.client(line).unwrap();
        let began = Instant::now();
        let (client, early) = rig.client_again(endpoint, &returning).await;
        assert_eq!(early, known);
        let tokens = shows.then(|| use_value("TOKEN")).into_iter().collect();
        let parameters = Parameters { tokens, ..Parameters::default() };
        let mut seen = client.subscribe(name(&["default", "one"], "video"), parameters).await;
        assert_eq!(seen.next().await.group, 0);
        waits.push(began.elapsed());
        // The server's tickets come behind its handshake.
        tokio::time::sleep(ms(500)).await;
    }
    let round_trip = ms(50);
    println!("the first object after {waits:?}: new, come back twice, come back with a token");
    for (early, wanted) in waits[1..].iter().zip([round_trip, round_trip, ms(0)]) {
        let sooner = waits[0].saturating_sub(*early);
        assert!(sooner + ms(5) > wanted && sooner < wanted + ms(5), "{waits:?}");
    }
}

/// As after a switch between them and the server was restarted: what resumes sessions is there for all, and survives a new
/// certificate.
#[tokio::test(start_paused = true)]
async fn d26_who_comes_back_is_known_however_many_others_were_there_meanwhile() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let broadcast = rig.broadcast(&["default", "one"]);
    broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let returning = Returning::new(Trust::Fingerprint(rig.hash), &protocols()).unwrap();
    let mut asked = Vec::new();
    for known in [false, true] {
        let line = Shape { delay: ms(25), ..Shape::default() };
        let endpoint = network.client(line).unwrap();
        let began = Instant::now();
        let (client, early) = rig.client_again(endpoint, &returning).await;
        assert_eq!(early, known);
        let seen = client.subscribe(name(&["default", "one"], "video"), next_object()).await;
        assert_eq!(code(&seen.answer), None);
        asked.push(began.elapsed());
        // The server's tickets come behind its handshake.
        tokio::time::sleep(ms(500)).await;
        if !known {
            for _ in 0..200 {
                drop(rig.client_over(&network, Shape::default()).await);
            }
            rig.endpoint.set_certificate(certificate(0).0).unwrap();
        }
    }
    // A round trip less: it was not only said early, but heard.
    let sooner = asked[0].saturating_sub(asked[1]);
    assert!(sooner + ms(5) > ms(50), "{asked:?}");
}

/// However long a subscriber would wait, what he does not read is not kept for him for so long. The newest group is.
#[tokio::test(start_paused = true)]
async fn d15_an_hour_of_timeout_keeps_nothing_for_who_reads_nothing() {
    for version in Version::ALL.iter().copied() {
        let network = Network::new(7);
        let rig = Rig::over(&network, Congestion::Ours);
        let broadcast = rig.broadcast(&["default", "one"]);
        let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
        let client = rig.client_over_in(&network, version).await;
        let parameters =
            Parameters { object_delivery_timeout_ms: Some(3_600_000), ..next_object() };
        let video = name(&["default", "one"], "video");
        let request = Request::Subscribe { track: video, parameters };
        let (_, answer, mut told) = client.ask(request).await;
        assert_eq!(code(&answer), None);
        for id in 0..2 {
            let group = track.group(id, clock::now()).unwrap();
            let subgroup = group.subgroup(0, clock::now()).unwrap();
            // Three times what a stream takes without being read.
            let payload = track.budget().payload(vec![0; 4_000_000]);
            subgroup.write(Header::new(0, clock::now()), vec![payload]).unwrap();
            subgroup.fin();
            group.end(Some(0), clock::now());
            tokio::time::sleep(s(1)).await;
        }
        tokio::time::sleep(DELIVERY_MAX).await;
        // In each draft: this one took too long. The subscription goes on.
        for expect in [Read::Reset(TIMED_OUT), Read::Fin] {
            let mut data = Client::fetched(&mut told).await;
            assert_eq!(end_of(&mut data).await, expect, "{version:?}");
        }
    }
}

/// Nor is the last group, once nothing newer can come.
#[tokio::test(start_paused = true)]
async fn d15_the_last_group_of_what_is_over_is_not_kept_for_who_reads_nothing() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let broadcast = rig.broadcast(&["default", "one"]);
    let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let client = rig.client_over(&network, Shape::default()).await;
    let video = name(&["default", "one"], "video");
    let request = Request::Subscribe { track: video, parameters: next_object() };
    let (_, answer, mut told) = client.ask(request).await;
    assert_eq!(code(&answer), None);
    let group = track.group(0, clock::now()).unwrap();
    let subgroup = group.subgroup(0, clock::now()).unwrap();
    // Three times what a stream takes without being read.
    let payload = track.budget().payload(vec![0; 4_000_000]);
    subgroup.write(Header::new(0, clock::now()), vec![payload]).unwrap();
    subgroup.fin();
    track.end(Close::Ended);
    tokio::time::sleep(2 * DELIVERY_MAX).await;
    let mut data = Client::fetched(&mut told).await;
    assert_eq!(end_of(&mut data).await, Read::Reset(TIMED_OUT));
}

/// What was too old by then takes nothing along that is not.
#[tokio::test(start_paused = true)]
async fn d15_who_says_how_long_he_waits_loses_only_what_is_too_old() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let broadcast = rig.broadcast(&["default", "one"]);
    let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let client = rig.client_over(&network, Shape::default()).await;
    let parameters = Parameters { object_delivery_timeout_ms: Some(3_600_000), ..next_object() };
    let video = name(&["default", "one"], "video");
    let request = Request::Subscribe { track: video, parameters };
    let (_, answer, mut told) = client.ask(request).await;
    assert_eq!(code(&answer), None);
    // The second one is begun when the first one is too old, and is not.
    for (id, wait) in [(0, DELIVERY_MAX * 2 / 3), (1, DELIVERY_MAX / 6), (2, DELIVERY_MAX / 3)] {
        let group = track.group(id, clock::now()).unwrap();
        let subgroup = group.subgroup(0, clock::now()).unwrap();
        // Three times what a stream takes without being read.
        let payload = track.budget().payload(vec![0; 4_000_000]);
        subgroup.write(Header::new(0, clock::now()), vec![payload]).unwrap();
        subgroup.fin();
        group.end(Some(0), clock::now());
        tokio::time::sleep(wait).await;
    }
    for expect in [Read::Reset(TIMED_OUT), Read::Fin, Read::Fin] {
        let mut data = Client::fetched(&mut told).await;
        assert_eq!(end_of(&mut data).await, expect);
    }
}
