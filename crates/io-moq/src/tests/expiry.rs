//! A right that ends, ends what it allowed within a second: what is sent, what is fetched, what is offered, what is said, what is
//! published.

use std::sync::atomic::Ordering;
use std::time::Duration;

use moqt::session::{Command, Event};
use moqt::{
    Answer, DoneCode, Fetch, Location, Parameters, Properties, Range, Request, RequestId, ResetCode,
};
use spine::TrackInfo;
use testkit::Shape;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::time::Instant;

use super::duties::{VIDEO, code, group};
use super::live::ms;
use super::rig::{Client, Rig, Set, namespace, soon, track, use_value, with_token};
use crate::limits::{GATE_AGAIN, GATE_NAMES_OPEN, GATE_SELDOM, GATE_UNKNOWN_MAX};
use crate::link::Told;
use crate::listen::Why;
use crate::transport::{Congestion, Network};

/// How something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Done(DoneCode),
    Cancelled(ResetCode),
    /// A namespace that was told is not there any more.
    Gone,
}

/// Waits for the end of a request, for as long as anybody would.
async fn end(told: &mut UnboundedReceiver<Told>) -> End {
    let ended = async {
        loop {
            match told.recv().await {
                Some(Told::Event(Event::Done { done, .. })) => return End::Done(done.code),
                Some(Told::Event(Event::Cancelled { code, .. })) => return End::Cancelled(code),
                Some(Told::Event(Event::NamespaceDone { .. })) => return End::Gone,
                Some(_) => {}
                None => panic!("it was never said"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ended).await.expect("it does not end")
}

fn secret() -> moqt::TrackName {
    track(&["default", "secret"], "video")
}

/// What a token allows.
#[derive(Debug, Clone, Copy)]
enum What {
    Subscribe,
    Fetch,
    SubscribeTracks,
    SubscribeNamespace,
    Say,
}

struct Begun {
    client: Client,
    told: UnboundedReceiver<Told>,
    _id: RequestId,
}

async fn begin(rig: &Rig, network: &Network, what: What) -> Begun {
    let line = Shape { delay: ms(20), ..Shape::default() };
    let mut client = rig.client_over(network, line).await;
    let token = || Parameters { filter: None, ..with_token("TOKEN") };
    let request = match what {
        What::Subscribe => Request::Subscribe { track: secret(), parameters: with_token("TOKEN") },
        What::Fetch => {
            // Of what nobody brings: it waits.
            let range = Range { start: Location::new(0, 0), end: Location::new(5, 0) };
            let fetch = Fetch::Standalone { track: secret(), range };
            Request::Fetch { fetch, parameters: token() }
        }
        What::SubscribeTracks => {
            let prefix = namespace(&["default", "secret"]);
            Request::SubscribeTracks { prefix, parameters: token() }
        }
        What::SubscribeNamespace => {
            let prefix = namespace(&["default"]);
            Request::SubscribeNamespace { prefix, tracks: false, parameters: token() }
        }
        What::Say => {
            let track = track(&["default", "aside", "secret"], "one");
            let (parameters, properties) = (token(), Properties::empty());
            Request::Publish { track, parameters, properties }
        }
    };
    let (id, answer, mut told) = client.ask(request).await;
    assert_eq!(code(&answer), None, "{what:?}");
    if let What::SubscribeNamespace = what {
        let news = soon("a namespace", told.recv()).await;
        assert!(matches!(news, Some(Told::Event(Event::Namespace { .. }))));
    }
    let What::SubscribeTracks = what else { return Begun { client, told, _id: id } };
    let (id, Request::Publish { .. }) = client.asked().await else { panic!("no track") };
    let told = client.link.own(id);
    let parameters = Parameters { forward: Some(true), ..Parameters::default() };
    let answer = Answer::Ok { parameters, properties: Properties::empty() };
    client.command(moqt::session::Command::Answer { id, answer });
    Begun { client, told, _id: id }
}

#[tokio::test(start_paused = true)]
async fn d01_d19_whatever_a_token_allowed_ends_within_a_second_of_it() {
    use DoneCode::{Expired, Unauthorized};
    use ResetCode::{Cancelled, ExpiredAuthToken};
    for (what, revoked, expired) in [
        (What::Subscribe, End::Done(Unauthorized), End::Done(Expired)),
        (What::Fetch, End::Cancelled(Cancelled), End::Cancelled(ExpiredAuthToken)),
        (What::SubscribeTracks, End::Done(Unauthorized), End::Done(Expired)),
        (What::SubscribeNamespace, End::Gone, End::Gone),
        (What::Say, End::Cancelled(Cancelled), End::Cancelled(Cancelled)),
    ] {
        for (why, expect) in [(Why::Unauthorized, revoked), (Why::Expired, expired)] {
            let network = Network::new(7);
            let rig = Rig::over(&network, Congestion::Ours);
            *rig.why.lock().unwrap() = why;
            let broadcast = rig.broadcast(&["default", "secret"]);
            let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
            group(&video, 5, &["a"]);
            let mut responder = rig.origin.responder(broadcast.path().clone(), 1);
            // It takes what it is asked for, and says nothing.
            let held = tokio::spawn(async move {
                let mut held = Vec::new();
                loop {
                    held.push(std::future::poll_fn(|cx| responder.poll(cx)).await);
                }
            });
            // At any time of what is looked at now and then.
            for after in [0, 60, 130, 390, 399, 401, 700, 1_234] {
                let mut begun = begin(&rig, &network, what).await;
                tokio::time::sleep(ms(after)).await;
                rig.revoked.store(true, Ordering::Relaxed);
                let from = Instant::now();
                assert_eq!(end(&mut begun.told).await, expect, "{what:?} {why:?}");
                let waited = from.elapsed();
                // What is remembered of an answer is half of the second.
                assert!(waited <= ms(500), "{what:?} {why:?} after {after} ms: {waited:?}");
                rig.revoked.store(false, Ordering::Relaxed);
                drop(begun.client);
            }
            held.abort();
        }
    }
}

/// Found out with the next track that would be offered, too.
#[tokio::test(start_paused = true)]
async fn d01_d19_what_was_offered_ends_for_the_reason_that_nothing_more_is_offered() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    *rig.why.lock().unwrap() = Why::Expired;
    let broadcast = rig.broadcast(&["default", "secret"]);
    let _video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let mut begun = begin(&rig, &network, What::SubscribeTracks).await;
    tokio::time::sleep(ms(100)).await;
    rig.revoked.store(true, Ordering::Relaxed);
    let from = Instant::now();
    let audio = spine::TrackName::from_static("audio");
    let _audio = broadcast.track(audio, TrackInfo::default()).unwrap();
    assert_eq!(end(&mut begun.told).await, End::Done(DoneCode::Expired));
    assert!(from.elapsed() < GATE_AGAIN, "by the look for the other track");
}

/// What everybody may watch, its owner may lock; and open again.
#[tokio::test(start_paused = true)]
async fn d01_namespaces_that_are_locked_later_are_withdrawn_and_told_when_they_are_opened() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let names: Vec<String> = (0..2 * GATE_NAMES_OPEN + 1).map(|n| n.to_string()).collect();
    let broadcast = |name| rig.broadcast(&["default", name, "locked"]);
    let _locked: Vec<_> = names.iter().map(|name| broadcast(name)).collect();
    let _open = rig.broadcast(&["default", "one"]);
    let client = rig.client_over(&network, Shape::default()).await;
    let prefix = namespace(&["default"]);
    let parameters = Parameters::default();
    let request = Request::SubscribeNamespace { prefix, tracks: false, parameters };
    let (_, answer, mut told) = client.ask(request).await;
    assert_eq!(code(&answer), None);
    for _ in 0..=names.len() {
        let news = soon("a namespace", told.recv()).await;
        assert!(matches!(news, Some(Told::Event(Event::Namespace { .. }))));
    }
    rig.revoked.store(true, Ordering::Relaxed);
    for _ in &names {
        assert_eq!(end(&mut told).await, End::Gone);
    }
    // The other one stays, and all of it costs no more than a few looks now and then.
    let looks = rig.looks.load(Ordering::Relaxed);
    tokio::time::sleep(GATE_AGAIN * 10).await;
    assert!(told.try_recv().is_err());
    assert!(rig.looks.load(Ordering::Relaxed) - looks <= 10 * (1 + GATE_NAMES_OPEN));
    rig.revoked.store(false, Ordering::Relaxed);
    for _ in &names {
        let news = soon("what is opened", told.recv()).await;
        assert!(matches!(news, Some(Told::Event(Event::Namespace { .. }))));
    }
}

#[tokio::test(start_paused = true)]
async fn d01_a_publisher_whose_key_is_changed_is_off_the_air_at_once() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let line = Shape { delay: ms(20), ..Shape::default() };
    let client = rig.client_over(&network, line).await;
    let name = track(&["default", "one"], "catalog");
    let parameters = Parameters { tokens: vec![use_value("KEY")], ..Parameters::default() };
    let request = Request::Publish { track: name, parameters, properties: Properties::empty() };
    let (_, answer, mut told) = client.ask(request).await;
    assert_eq!(code(&answer), None);
    let path = spine::Path::new(["default", "one"]).unwrap();
    assert!(rig.origin.get(&path).is_some());
    tokio::time::sleep(ms(1_500)).await;
    let from = Instant::now();
    rig.origin.end(&path, spine::Close::KeyChanged);
    end(&mut told).await;
    assert!(from.elapsed() <= ms(100), "{:?}", from.elapsed());
    let live = rig.counters.live.load(Ordering::Relaxed);
    assert_eq!(live, 0);
}

/// Who reads lost no right by it: he may look for what was recorded. A player takes UNAUTHORIZED for the end of all of it.
#[tokio::test(start_paused = true)]
async fn d01_who_watches_hears_that_a_track_is_over_whatever_becomes_of_its_publisher() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    for why in [spine::Close::KeyChanged, spine::Close::Disabled, spine::Close::Deleted] {
        let broadcast = rig.broadcast(&["default", "one"]);
        let _video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
        let client = rig.client_over(&network, Shape::default()).await;
        let (track, parameters) = (track(&["default", "one"], "video"), Parameters::default());
        let request = Request::Subscribe { track, parameters };
        let (_, answer, mut told) = client.ask(request).await;
        assert_eq!(code(&answer), None);
        rig.origin.end(broadcast.path(), why);
        assert_eq!(end(&mut told).await, End::Done(DoneCode::TrackEnded), "{why:?}");
    }
}

/// A database that is busy for a moment hides nothing for longer; nor does what somebody guessed
/// before, also where it is an update that shows the good one.
#[tokio::test(start_paused = true)]
async fn d01_what_nobody_could_say_for_a_moment_is_told_then() {
    for (why, in_update) in
        [(Why::Unknown, false), (Why::TooMany, false), (Why::Unknown, true), (Why::TooMany, true)]
    {
        let network = Network::new(7);
        let rig = Rig::over(&network, Congestion::Ours);
        *rig.why.lock().unwrap() = why;
        rig.revoked.store(true, Ordering::Relaxed);
        let broadcast = rig.broadcast(&["default", "secret"]);
        let _video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
        let mut client = rig.client_over(&network, Shape::default()).await;
        let token = || Parameters { filter: None, ..with_token("TOKEN") };
        let first = || if in_update { Parameters::default() } else { token() };
        let prefix = || namespace(&["default"]);
        let names =
            Request::SubscribeNamespace { prefix: prefix(), tracks: false, parameters: first() };
        let (of_names, answer, mut told) = client.ask(names).await;
        assert_eq!(code(&answer), None);
        let tracks = Request::SubscribeTracks { prefix: prefix(), parameters: first() };
        let (of_tracks, answer, _) = client.ask(tracks).await;
        assert_eq!(code(&answer), None);
        if in_update {
            for id in [of_names, of_tracks] {
                client.command(Command::Update { id, parameters: token() });
            }
        }
        tokio::time::sleep(GATE_AGAIN * 5).await;
        let events = std::iter::from_fn(|| client.events.try_recv().ok());
        let asked = events.filter(|event| matches!(event, Event::Request { .. })).count();
        let named = std::iter::from_fn(|| told.try_recv().ok());
        let named =
            named.filter(|told| matches!(told, Told::Event(Event::Namespace { .. }))).count();
        assert_eq!((named, asked), (0, 0), "nobody can say: {why:?}");
        rig.revoked.store(false, Ordering::Relaxed);
        let from = Instant::now();
        let news = soon("the namespace", told.recv()).await;
        assert!(matches!(news, Some(Told::Event(Event::Namespace { .. }))), "{why:?}");
        let (_, Request::Publish { .. }) = client.asked().await else { panic!("no track") };
        assert!(from.elapsed() <= ms(500), "{:?}", from.elapsed());
    }
}

/// A database that is busy for a moment ends nothing; one that says nothing any more does.
#[tokio::test(start_paused = true)]
async fn d01_what_nobody_can_say_for_a_moment_ends_nothing() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    *rig.why.lock().unwrap() = Why::Unknown;
    let broadcast = rig.broadcast(&["default", "secret"]);
    let _video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let mut begun = begin(&rig, &network, What::Subscribe).await;
    for _ in 0..3 {
        rig.revoked.store(true, Ordering::Relaxed);
        tokio::time::sleep(GATE_AGAIN * (GATE_UNKNOWN_MAX - 2)).await;
        assert!(begun.told.try_recv().is_err());
        rig.revoked.store(false, Ordering::Relaxed);
        tokio::time::sleep(GATE_AGAIN * 2).await;
    }
    rig.revoked.store(true, Ordering::Relaxed);
    let from = Instant::now();
    assert_eq!(end(&mut begun.told).await, End::Done(DoneCode::ExcessiveLoad));
    assert!(from.elapsed() >= GATE_AGAIN * GATE_UNKNOWN_MAX);
}

/// Where it is said that something has changed, a right is looked at then, when its time is over, and seldom else.
#[tokio::test(start_paused = true)]
async fn d01_d19_a_right_is_looked_at_when_it_may_have_ended() {
    for lasts in [None, Some(Duration::from_secs(2))] {
        let (network, changes) = (Network::new(7), watch::Sender::new(()));
        let set = Set { changes: Some(changes.subscribe()), lasts, ..Set::default() };
        let rig = Rig::set(&network, Congestion::Ours, set);
        let broadcast = rig.broadcast(&["default", "secret"]);
        let _video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
        let mut begun = begin(&rig, &network, What::Subscribe).await;
        let (before, minute) = (rig.looks.load(Ordering::Relaxed), Duration::from_secs(60));
        tokio::time::sleep(minute).await;
        let looks = rig.looks.load(Ordering::Relaxed) - before;
        let most = minute.as_millis() / lasts.unwrap_or(GATE_SELDOM).as_millis() + 1;
        assert!(looks as u128 <= most, "{lasts:?}: {looks}");
        rig.revoked.store(true, Ordering::Relaxed);
        let from = Instant::now();
        // Nobody says that time has gone by.
        if lasts.is_none() {
            changes.send_replace(());
        }
        assert_eq!(end(&mut begun.told).await, End::Done(DoneCode::Unauthorized));
        let waited = from.elapsed();
        assert!(waited <= lasts.unwrap_or_default() + ms(500), "{lasts:?}: {waited:?}");
    }
}
