//! Floods in virtual time: who asks for things without end holds no more than what he has asked for in the last moment,
//! and nobody else notices. Over both transports, in drafts that carry requests in different ways.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use moqt::session::{Command, Event};
use moqt::{Answer, Parameters, Request, RequestCode, RequestId, ResetCode, Version};
use spine::{Header, TrackInfo, TrackName};
use testkit::Shape;
use tokio::time::Instant;

use super::duties::{VIDEO, code};
use super::live::{Seen, Source, Watcher, ms};
use super::rig::{Carrier, Client, Rig, answered, namespace, next_object, soon, track as name};
use crate::clock;
use crate::limits::{
    GATE_AGAIN, PUBLISHED_TRACKS_MAX, SUBSCRIBE_ANSWER_MAX, UNTOLD_PER_NAMESPACE_MAX,
};
use crate::link::Told;
use crate::transport::{Congestion, Network};

/// Draft 16 has requests on the control stream, later ones on streams of their own.
const CARRIERS: [Carrier; 6] = [
    Carrier::Quic(Version::Draft16),
    Carrier::WebTransport(Version::Draft16),
    Carrier::Quic(Version::Draft18),
    Carrier::WebTransport(Version::Draft18),
    Carrier::Quic(Version::Draft22),
    Carrier::WebTransport(Version::Draft22),
];

/// Floods over each of them, in a network of its own.
async fn over_each(flood: impl AsyncFn(Carrier, Network, Rig)) {
    for carrier in CARRIERS {
        // Seen where a test fails.
        eprintln!("{carrier:?}");
        let network = Network::new(7);
        let rig = Rig::over(&network, Congestion::Ours);
        flood(carrier, network, rig).await;
    }
}

/// How many things are asked for over one of them; `AIRWAVE_MOQ_FLOOD` says another number, of all.
fn size() -> usize {
    let said = std::env::var("AIRWAVE_MOQ_FLOOD").ok();
    let all: usize =
        said.map_or(1_800, |n| n.parse().unwrap_or_else(|_| panic!("AIRWAVE_MOQ_FLOOD={n}")));
    all / CARRIERS.len()
}

fn near() -> Shape {
    Shape { delay: ms(5), queue: 1 << 20, ..Shape::default() }
}

/// Seconds that the neighbour watches.
const SECONDS: u64 = 3;

/// Has somebody watch a source of 1 Mbit/s beside this flood, who may not notice it.
async fn beside(rig: &Rig, network: &Network, flood: impl Future<Output = ()>) {
    let start = Instant::now();
    let broadcast = rig.broadcast(&["default", "one"]);
    let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let neighbour = rig.client_over(network, near()).await;
    let neighbour = Watcher::new(neighbour, start, next_object()).await;
    let source = Source::single(1_000_000);
    tokio::join!(source.run(&track, start, SECONDS), flood);
    // What is on its way.
    tokio::time::sleep(ms(200)).await;
    let seen: Seen = neighbour.take();
    assert_eq!(seen.objects.len(), source.objects(SECONDS), "every object");
    let age = seen.age_max(ms(500), Duration::from_secs(SECONDS));
    assert!(age < ms(150), "the newest object was {age:?} old");
}

/// Looks again and again, while time passes.
async fn settled(what: &str, done: impl Fn() -> bool) {
    soon(what, async {
        while !done() {
            tokio::time::sleep(ms(10)).await;
        }
    })
    .await;
}

fn cancel(client: &Client, id: RequestId) {
    client.command(Command::Cancel { id, code: ResetCode::Cancelled });
    client.link.disown(id);
}

#[tokio::test(start_paused = true)]
async fn subscriptions_without_end_hold_what_those_of_a_moment_do() {
    over_each(come_and_go).await;
}

async fn come_and_go(carrier: Carrier, network: Network, rig: Rig) {
    /// At once: more than a peer may have before it has any.
    const TOGETHER: usize = 50;
    let track_of = |n: usize| format!("track{n}");
    let broadcast = rig.broadcast(&["default", "two"]);
    let media = || TrackInfo { timescale: Some(90_000), ..TrackInfo::default() };
    let tracks =
        (0..TOGETHER / 2).map(|n| broadcast.track(TrackName::new(track_of(n)).unwrap(), media()));
    let _tracks: Vec<_> = tracks.map(Result::unwrap).collect();
    let flooder = rig.client_by(&network, near(), carrier).await;
    let open = || rig.counters.subscriptions_open.load(Ordering::Relaxed);
    let flood = async {
        for _ in 0..size() / TOGETHER {
            let asked: Vec<_> = (0..TOGETHER)
                .map(|n| {
                    // Half of them are not there.
                    let path = if n < TOGETHER / 2 { "two" } else { "three" };
                    let track = name(&["default", path], &track_of(n));
                    let request = Request::Subscribe { track, parameters: next_object() };
                    flooder.link.request(request).unwrap()
                })
                .collect();
            let ids: Vec<RequestId> = asked.iter().map(|(id, _)| *id).collect();
            let answers =
                asked.into_iter().map(|(_, mut told)| async move { answered(&mut told).await });
            let answers = join_all(answers).await;
            let granted = answers.iter().filter(|answer| code(answer).is_none()).count();
            assert_eq!(granted, TOGETHER / 2);
            assert!(open() <= TOGETHER + 1, "{} are open", open());
            ids.into_iter().for_each(|id| cancel(&flooder, id));
        }
    };
    beside(&rig, &network, flood).await;
    settled("the last of them to end", || open() == 0).await;
    settled("their places to be free", || rig.watching.load(Ordering::Relaxed) == 0).await;
}

#[tokio::test(start_paused = true)]
async fn namespaces_that_come_and_go_are_told_in_their_order_and_leave_nothing() {
    over_each(namespaces).await;
}

async fn namespaces(carrier: Carrier, network: Network, rig: Rig) {
    /// At once, as many as one connection may have.
    const TOGETHER: usize = 10;
    let flooder = rig.client_by(&network, near(), carrier).await;
    let listener = rig.client_by(&network, near(), carrier).await;
    let request = Request::SubscribeNamespace {
        tracks: false,
        prefix: namespace(&["open"]),
        parameters: Parameters::default(),
    };
    let (_, answer, mut told) = listener.ask(request).await;
    assert_eq!(code(&answer), None);
    let fields: Vec<String> = (0..TOGETHER).map(|n| format!("room{n}")).collect();
    let flood = async {
        for _ in 0..size() / 10 / TOGETHER {
            let flooder = &flooder;
            let published = fields.iter().map(|field| async move {
                let namespace = namespace(&["open", field]);
                let parameters = Parameters::default();
                let request = Request::PublishNamespace { namespace, parameters };
                let (id, answer, _) = flooder.ask(request).await;
                assert_eq!(code(&answer), None);
                id
            });
            let ids = join_all(published).await;
            let mut here = 0;
            while here < TOGETHER {
                match soon("a namespace", told.recv()).await {
                    Some(Told::Event(Event::Namespace { .. })) => here += 1,
                    _ => panic!("something else than a namespace that comes"),
                }
            }
            ids.into_iter().for_each(|id| cancel(flooder, id));
            let mut gone = 0;
            while gone < TOGETHER {
                // The node does so now and then: what has ended is told with it.
                rig.origin.expire(clock::now());
                let news = tokio::time::timeout(ms(5), told.recv()).await;
                match news {
                    Ok(Some(Told::Event(Event::NamespaceDone { .. }))) => gone += 1,
                    Err(_) => {}
                    Ok(_) => panic!("something else than a namespace that goes"),
                }
            }
        }
    };
    beside(&rig, &network, flood).await;
    for field in &fields {
        let path = spine::Path::new(["open".to_owned(), field.clone()]).unwrap();
        assert!(rig.origin.get(&path).is_none(), "{field} is gone");
    }
}

/// Each move is a new path, whose address has to be proved before much is sent to it (RFC 9000 §9.3).
#[tokio::test(start_paused = true)]
async fn clients_that_move_all_the_time_get_all_objects_and_are_no_new_ones() {
    over_each(moves).await;
}

async fn moves(carrier: Carrier, network: Network, rig: Rig) {
    const CLIENTS: usize = 8;
    /// Of each of them.
    const MOVES: u64 = 30;
    let broadcast = rig.broadcast(&["default", "two"]);
    let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let mut movers = Vec::new();
    for _ in 0..CLIENTS {
        let client = rig.client_by(&network, near(), carrier).await;
        let seen = client.subscribe(name(&["default", "two"], "video"), next_object()).await;
        assert_eq!(code(&seen.answer), None);
        movers.push((client, seen));
    }
    let connections = || rig.counters.connections.load(Ordering::Relaxed);
    let before = connections();
    let flood = async {
        for turn in 0..MOVES {
            let group = track.group(turn, clock::now()).unwrap();
            let subgroup = group.subgroup(0, clock::now()).unwrap();
            let payload = track.budget().payload(&b"while it moves"[..]);
            subgroup.write(Header::new(0, clock::now()), vec![payload]).unwrap();
            subgroup.fin();
            group.end(Some(0), clock::now());
            for (client, _) in &movers {
                network.move_client(&client.endpoint, near()).unwrap();
            }
            tokio::time::sleep(ms(80)).await;
        }
        for (_, seen) in &mut movers {
            let mut groups = Vec::new();
            for _ in 0..MOVES {
                groups.push(seen.next().await.group);
            }
            groups.sort_unstable();
            assert!(groups.iter().copied().eq(0..MOVES), "{groups:?}");
        }
    };
    beside(&rig, &network, flood).await;
    // The neighbour is the only one that came.
    assert_eq!(connections(), before + 1);
    settled("the neighbour to leave", || rig.counters.open.load(Ordering::Relaxed) == CLIENTS)
        .await;
}

/// What nobody takes costs no look at who may watch it, however much of it there is.
#[tokio::test(start_paused = true)]
async fn d01_d06_tracks_that_are_offered_and_not_taken_are_not_looked_at_again_and_again() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let mut kept = Vec::new();
    for n in 0..20 {
        let broadcast = rig.broadcast(&["default", &format!("{n}")]);
        kept.push((broadcast.track(VIDEO, TrackInfo::default()).unwrap(), broadcast));
    }
    let mut client = rig.client_by(&network, near(), Carrier::Quic(Version::Draft18)).await;
    let parameters = Parameters::default();
    let request = Request::SubscribeTracks { prefix: namespace(&[]), parameters };
    let (_, answer, _told) = client.ask(request).await;
    assert_eq!(code(&answer), None);
    for n in 0..kept.len() {
        let (id, Request::Publish { .. }) = client.asked().await else { panic!("no track") };
        // One is taken.
        let refused = Answer::error(RequestCode::Uninterested, "");
        let answer = if n == 0 { Answer::ok() } else { refused };
        client.command(Command::Answer { id, answer });
    }
    tokio::time::sleep(ms(100)).await;
    let before = rig.looks.load(Ordering::Relaxed);
    tokio::time::sleep(GATE_AGAIN * 100).await;
    let looks = rig.looks.load(Ordering::Relaxed) - before;
    assert!((90..=110).contains(&looks), "{looks} looks, of one track");
}

/// Of tracks, too: he who has the namespace is asked for so many at once.
#[tokio::test(start_paused = true)]
async fn d03_tracks_that_are_made_up_are_asked_for_a_few_at_once() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let carrier = Carrier::Quic(Version::Draft18);
    let mut above = rig.client_by(&network, near(), carrier).await;
    assert_eq!(code(&above.publish_namespace(&["open", "room"]).await), None);
    let (mut flooders, mut asked) = (Vec::new(), Vec::new());
    for n in 0..2 * PUBLISHED_TRACKS_MAX {
        if n % 30 == 0 {
            flooders.push(rig.client_by(&network, near(), carrier).await);
        }
        let track = name(&["open", "room"], &format!("{n}"));
        let request = Request::Subscribe { track, parameters: next_object() };
        asked.push(flooders.last().unwrap().link.request(request).unwrap());
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut waiting = Vec::new();
    while let Ok(event) = above.events.try_recv() {
        if let Event::Request { id, request: Request::Subscribe { .. }, .. } = event {
            waiting.push(id);
        }
    }
    assert_eq!(waiting.len(), PUBLISHED_TRACKS_MAX);
    // The others have their answer, and there is room when he has said what he knows.
    let missing = Some(RequestCode::DoesNotExist);
    for id in waiting {
        let answer = Answer::error(RequestCode::DoesNotExist, "");
        above.command(Command::Answer { id, answer });
    }
    let mut refused = 0;
    for (_, told) in &mut asked {
        let why = code(&answered(told).await);
        // Of those nobody has said that they are not there.
        refused += usize::from(why == Some(RequestCode::ExcessiveLoad));
        assert!(why == missing || why == Some(RequestCode::ExcessiveLoad), "{why:?}");
    }
    assert_eq!(refused, PUBLISHED_TRACKS_MAX);
    let track = name(&["open", "room"], "one more");
    let request = Request::Subscribe { track, parameters: next_object() };
    let _asked = flooders[0].link.request(request).unwrap();
    let (_, request) = above.asked().await;
    assert!(matches!(request, Request::Subscribe { .. }), "{request:?}");
}

#[tokio::test(start_paused = true)]
async fn names_that_are_made_up_below_a_namespace_are_few_and_go() {
    over_each(made_up).await;
}

async fn made_up(carrier: Carrier, network: Network, rig: Rig) {
    /// Of one connection at once: less than it may have before it has any.
    const TOGETHER: usize = 30;
    // It answers nothing.
    let above = rig.client_by(&network, near(), carrier).await;
    assert_eq!(code(&above.publish_namespace(&["open"]).await), None);
    let named = |n: usize| format!("{n}");
    let (mut flooders, mut asked) = (Vec::new(), Vec::new());
    while asked.len() < 2 * UNTOLD_PER_NAMESPACE_MAX {
        let flooder = rig.client_by(&network, near(), carrier).await;
        for _ in 0..TOGETHER {
            let track = name(&["open", &named(asked.len())], "chat");
            let request = Request::Subscribe { track, parameters: next_object() };
            asked.push(flooder.link.request(request).unwrap());
        }
        flooders.push(flooder);
    }
    let names = asked.len();
    let here = || {
        let there = |n: &usize| {
            let path = spine::Path::new(["open".to_owned(), named(*n)]).unwrap();
            rig.origin.get(&path).is_some()
        };
        (0..names).filter(there).count()
    };
    settled("as many as there may be", || here() == UNTOLD_PER_NAMESPACE_MAX).await;
    for (_, mut told) in asked {
        assert!(code(&answered(&mut told).await).is_some());
        assert!(here() <= UNTOLD_PER_NAMESPACE_MAX);
    }
    // Whoever has the namespace is asked for some time more, and no longer.
    assert_eq!(here(), UNTOLD_PER_NAMESPACE_MAX);
    tokio::time::sleep(SUBSCRIBE_ANSWER_MAX + ms(200)).await;
    assert_eq!(here(), 0);
    drop((above, flooders));
}
