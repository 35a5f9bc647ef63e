//! The past that comes with a subscription, in the drafts that have it (draft-21 §3.4).

use std::future::poll_fn;
use std::sync::atomic::Ordering;

use moqt::session::{Command, DataHeader, Event};
use moqt::{
    Answer, Filter, GroupOrder, Location, Parameters, Properties, Range, Request, RequestId,
    ResetCode, Version,
};
use spine::TrackInfo;
use testkit::Shape;
use tokio::sync::mpsc::UnboundedReceiver;

use super::duties::{VIDEO, code, group, read_past, text};
use super::live::ms;
use super::relay::{give, send, tell_past};
use super::rig::{Carrier, Client, Rig, next_object, soon, track, until};
use crate::clock;
use crate::limits::{HEADER_ARRIVES, SEND_WINDOW_MIN};
use crate::link::{DataStream, Told};
use crate::transport::{Congestion, Network, Read};

const LATER: [Version; 3] = [Version::Draft20, Version::Draft21, Version::Draft22];

fn fill(filter: Filter) -> Parameters {
    Parameters { filter: Some(filter), ..Parameters::default() }
}

/// What is new, and this of the past.
fn filled(fill: Parameters) -> Parameters {
    Parameters { fill: Some(Box::new(fill)), ..next_object() }
}

fn video() -> moqt::TrackName {
    track(&["default", "one"], "video")
}

fn subscribe(client: &Client, parameters: Parameters) -> (RequestId, UnboundedReceiver<Told>) {
    client.link.request(Request::Subscribe { track: video(), parameters }).unwrap()
}

/// The next stream of the past, and whose name it bears.
async fn past(told: &mut UnboundedReceiver<Told>) -> (RequestId, DataStream) {
    loop {
        if let Some(Told::Data(data)) = soon("the past", told.recv()).await
            && let DataHeader::Fetch(id) = data.header
        {
            return (id, data);
        }
    }
}

#[tokio::test]
async fn d24_the_past_comes_with_a_subscription_and_what_is_new_behind_it() {
    let within = Range { start: Location::new(4, 0), end: Location::new(5, 0) };
    for version in LATER {
        let rig = Rig::new();
        let broadcast = rig.broadcast(&["default", "one"]);
        let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
        group(&track, 4, &["old"]);
        group(&track, 5, &["a", "b"]);
        let descending = Parameters {
            group_order: Some(GroupOrder::Descending),
            ..fill(Filter::From(Location::new(4, 0)))
        };
        let mut watched = Vec::new();
        for (parameters, order, expect) in [
            (filled(fill(Filter::Recent(1))), GroupOrder::Ascending, "5.0a 5.1b"),
            (filled(fill(Filter::Recent(2))), GroupOrder::Ascending, "4.0old 5.0a 5.1b"),
            (filled(descending), GroupOrder::Descending, "5.0a 5.1b 4.0old"),
            (filled(fill(Filter::Within(within))), GroupOrder::Ascending, "4.0old 5.0a"),
            // All of it; where it begins nobody knows.
            (filled(fill(Filter::All)), GroupOrder::Ascending, "?3 4.0old 5.0a 5.1b"),
        ] {
            let client = rig.client_of(version).await;
            let (id, mut told) = subscribe(&client, parameters);
            let (named, data) = past(&mut told).await;
            assert_eq!(named, id);
            assert_eq!(read_past(data, order).await, expect, "{version:?}");
            watched.push((client.follow(id, Answer::ok(), told), client));
        }
        group(&track, 6, &["new"]);
        for (seen, _) in &mut watched {
            assert_eq!(text(&seen.next().await), (6, 0, "new"), "{version:?}");
        }
    }
}

/// What the fill does not say it has of the subscription.
#[tokio::test]
async fn d24_a_fill_inherits_the_filter_and_the_order_of_its_subscription() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    (4..8).for_each(|id| group(&track, id, &["x"]));
    let client = rig.client_of(Version::Draft20).await;
    let parameters = Parameters {
        filter: Some(Filter::From(Location::new(6, 0))),
        group_order: Some(GroupOrder::Descending),
        fill: Some(Box::default()),
        ..Parameters::default()
    };
    let (_, mut told) = subscribe(&client, parameters);
    let (_, data) = past(&mut told).await;
    assert_eq!(read_past(data, GroupOrder::Descending).await, "7.0x 6.0x");
}

/// None while paused, none for nothing; each update brings one of its own.
#[tokio::test]
async fn d24_updates_ask_for_more_of_the_past() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    (4..8).for_each(|id| group(&track, id, &["x"]));
    let client = rig.client_of(Version::Draft22).await;
    let paused = Parameters { forward: Some(false), ..filled(fill(Filter::All)) };
    let (id, mut told) = subscribe(&client, paused);
    let changes = |changes| client.command(Command::Update { id, parameters: changes });
    let forward = Parameters { forward: Some(true), ..Parameters::default() };
    changes(forward);
    let more = |filter| Parameters { fill: Some(Box::new(fill(filter))), ..Parameters::default() };
    // Behind the largest object there is no past.
    changes(more(Filter::From(Location::new(8, 0))));
    changes(more(Filter::Recent(2)));
    changes(more(Filter::Recent(1)));
    let mut came = Vec::new();
    for _ in 0..2 {
        let (named, data) = past(&mut told).await;
        came.push((named.0 - id.0, read_past(data, GroupOrder::Ascending).await));
    }
    came.sort();
    // The third update and the fourth.
    assert_eq!(came, [(6, "6.0x 7.0x".to_owned()), (8, "7.0x".to_owned())]);
}

/// Who brings it does not answer: an end of patience is told as such, and the end of the subscription ends it.
#[tokio::test]
async fn d24_a_fill_that_waits_has_an_end() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    group(&track, 4, &["x"]);
    let mut responder = rig.origin.responder(broadcast.path().clone(), 1);
    let client = rig.client_of(Version::Draft20).await;
    let at_once =
        Parameters { fill_timeout_ms: Some(0), ..fill(Filter::From(Location::new(1, 0))) };
    let (_, mut told) = subscribe(&client, filled(at_once));
    let (_, data) = past(&mut told).await;
    assert_eq!(read_past(data, GroupOrder::Ascending).await, "late3 4.0x");
    let other = rig.client_of(Version::Draft20).await;
    let (id, mut told) = subscribe(&other, filled(fill(Filter::From(Location::new(1, 0)))));
    let (_, mut data) = past(&mut told).await;
    // It is asked for, and never comes.
    let asked = soon("the request", poll_fn(|cx| responder.poll(cx))).await;
    other.command(Command::Cancel { id, code: ResetCode::Cancelled });
    let end = soon("the end of the fill", data.stream.read()).await;
    assert!(matches!(end, Read::Reset(_)), "{end:?}");
    drop(asked);
}

/// A reset takes back what is under way, and without its header nobody knows whose a stream is (draft-21 §3.4.1).
#[tokio::test(start_paused = true)]
async fn d24_a_fill_that_breaks_off_says_whose_it_was() {
    for version in LATER {
        let network = Network::new(7);
        let rig = Rig::over(&network, Congestion::Ours);
        let broadcast = rig.broadcast(&["default", "one"]);
        let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
        let begun = track.group(4, clock::now()).unwrap();
        let subgroup = begun.subgroup(0, clock::now()).unwrap();
        let header = spine::Header::new(0, clock::now());
        let object = subgroup.begin(header, Some(10)).unwrap().unwrap();
        let client = rig.client_over_in(&network, version).await;
        let (id, mut told) = subscribe(&client, filled(fill(Filter::Recent(1))));
        let served = || rig.counters.fetches.load(Ordering::Relaxed) == 1;
        // As soon as it is on its way.
        until("the fill", served).await;
        let from = tokio::time::Instant::now();
        drop(object);
        let (named, mut data) = past(&mut told).await;
        assert_eq!(named, id, "{version:?}");
        loop {
            match soon("its end", data.stream.read()).await {
                Read::Chunk(_) => {}
                end => {
                    let code = version.reset_code(ResetCode::UnknownObjectStatus);
                    break assert_eq!(end, Read::Reset(code), "{version:?}");
                }
            }
        }
        let late = HEADER_ARRIVES + ms(200);
        assert!(from.elapsed() < late, "{:?}", from.elapsed());
        // The subscription goes on.
        let mut seen = client.follow(id, Answer::ok(), told);
        group(&track, 5, &["new"]);
        assert_eq!(text(&seen.next().await), (5, 0, "new"), "{version:?}");
    }
}

/// From its publisher, whatever draft that speaks, asked once for a range (D8, D23).
#[tokio::test]
async fn d24_the_past_of_a_relayed_track_is_fetched_from_its_publisher() {
    for (from, to) in [
        (Version::Draft16, Version::Draft20),
        (Version::Draft18, Version::Draft22),
        (Version::Draft22, Version::Draft21),
    ] {
        let rig = Rig::new();
        let mut publisher = rig.client_of(from).await;
        assert_eq!(code(&publisher.publish_namespace(&["open", "room"]).await), None);
        let room = || track(&["open", "room"], "chat");
        let viewer = rig.client_of(to).await;
        let request = Request::Subscribe { track: room(), parameters: next_object() };
        let (id, mut told) = viewer.link.request(request).unwrap();
        let (upstream, _) = give(&mut publisher, Properties::empty()).await;
        let answer = super::rig::answered(&mut told).await;
        let mut seen = viewer.follow(id, answer, told);
        send(&publisher, upstream, 9, 0, "live", true).await;
        assert_eq!(seen.next().await.group, 9);
        let late = rig.client_of(to).await;
        let parameters = filled(fill(Filter::From(Location::new(3, 0))));
        let request = Request::Subscribe { track: room(), parameters };
        let (_, mut told) = late.link.request(request).unwrap();
        let asked = tell_past(&mut publisher).await;
        assert_eq!((asked.start.group, asked.end.group), (3, 8), "{from:?} to {to:?}");
        let (_, data) = past(&mut told).await;
        let got = read_past(data, GroupOrder::Ascending).await;
        assert_eq!(got, "3.0old 4.0old ?7 8.0old 9.0live", "{from:?} to {to:?}");
    }
}

/// A publisher that waits is told to begin, as the OK of its PUBLISH can't say so (D5).
#[tokio::test]
async fn draft21_s9_8_d05_a_paused_publication_is_asked_to_begin() {
    let rig = Rig::new();
    let publisher = rig.client_of(Version::Draft20).await;
    let paused = Parameters { forward: Some(false), ..Parameters::default() };
    let request = Request::Publish {
        track: track(&["open", "room"], "chat"),
        parameters: paused,
        properties: Properties::empty(),
    };
    let (id, answer, mut told) = publisher.ask(request).await;
    assert_eq!(code(&answer), None);
    let Some(Told::Event(Event::Update { id: of, parameters, .. })) =
        soon("an update", told.recv()).await
    else {
        panic!("something else than an update")
    };
    assert_eq!((of, parameters.forward), (id, Some(true)));
}

/// A subscription stays when its filter is passed (draft-21 §3.3.1), and an update opens it again.
#[tokio::test]
async fn a_subscription_does_not_end_with_its_filter() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    group(&track, 5, &["a"]);
    let client = rig.client_of(Version::Draft20).await;
    // One that is over before it begins, and one that ends within a group.
    let gone = Range { start: Location::new(1, 0), end: Location::new(3, 0) };
    let within = Range { start: Location::new(6, 1), end: Location::new(7, 1) };
    let mut gone = client.subscribe(video(), fill(Filter::Within(gone))).await;
    assert_eq!(code(&gone.answer), None);
    let other = rig.client_of(Version::Draft22).await;
    let mut some = other.subscribe(video(), fill(Filter::Within(within))).await;
    group(&track, 6, &["b", "c"]);
    assert_eq!(text(&some.next().await), (6, 1, "c"));
    group(&track, 7, &["d", "e", "f"]);
    assert_eq!(text(&some.next().await), (7, 0, "d"));
    assert_eq!(text(&some.next().await), (7, 1, "e"));
    let open = fill(Filter::From(Location::new(8, 0)));
    for (client, id) in [(&client, gone.id), (&other, some.id)] {
        client.command(Command::Update { id, parameters: open.clone() });
    }
    group(&track, 8, &["g"]);
    for seen in [&mut gone, &mut some] {
        assert_eq!(text(&seen.next().await), (8, 0, "g"));
    }
}

/// What the end of a filter leaves out of a subgroup was not all of it (draft-21 §11.3.2); what is wanted of it arrives.
#[tokio::test(start_paused = true)]
async fn draft21_s11_3_2_a_subgroup_that_goes_on_behind_the_filter_is_reset() {
    for version in LATER {
        let network = Network::new(7);
        let rig = Rig::over(&network, Congestion::Ours);
        let broadcast = rig.broadcast(&["default", "one"]);
        let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
        group(&track, 5, &["a"]);
        let line = Shape { delay: ms(150), ..Shape::default() };
        let client = rig.client_by(&network, line, Carrier::Quic(version)).await;
        let within = Range { start: Location::new(6, 0), end: Location::new(7, 1) };
        let (_, mut told) = subscribe(&client, fill(Filter::Within(within)));
        assert_eq!(code(&super::rig::answered(&mut told).await), None);
        for (id, payloads, expect) in [
            (6, &["b", "c"][..], Read::Fin),
            // CANCELLED
            (7, &["d", "e", "f"], Read::Reset(0x1)),
        ] {
            group(&track, id, payloads);
            let mut data = Client::fetched(&mut told).await;
            let mut came = data.first.to_vec();
            let end = loop {
                match soon("the end of a stream", data.stream.read()).await {
                    Read::Chunk(chunk) => came.extend_from_slice(&chunk),
                    end => break end,
                }
            };
            assert_eq!(end, expect, "{version:?}");
            assert!(came.ends_with(payloads[1].as_bytes()), "{version:?}: {came:?}");
        }
    }
}

/// Also over a path that takes seconds for it.
#[tokio::test(start_paused = true)]
async fn draft21_s11_3_2_what_is_wanted_of_it_arrives_however_slow_the_path_is() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let broadcast = rig.broadcast(&["default", "one"]);
    let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    group(&track, 5, &["a"]);
    let slow = Shape { rate: Some(100_000), delay: ms(25), ..Shape::default() };
    let client = rig.client_by(&network, slow, Carrier::Quic(Version::Draft21)).await;
    let within = Range { start: Location::new(6, 0), end: Location::new(6, 0) };
    let (_, mut told) = subscribe(&client, fill(Filter::Within(within)));
    assert_eq!(code(&super::rig::answered(&mut told).await), None);
    // Four seconds of it, all of which QUIC takes at once.
    let wanted = &*"d".repeat(SEND_WINDOW_MIN as usize - 1_000).leak();
    group(&track, 6, &[wanted, "e"]);
    let mut data = Client::fetched(&mut told).await;
    let mut came = data.first.to_vec();
    let end = loop {
        match soon("the end of a stream", data.stream.read()).await {
            Read::Chunk(chunk) => came.extend_from_slice(&chunk),
            end => break end,
        }
    };
    assert_eq!(end, Read::Reset(0x1));
    assert!(came.ends_with(wanted.as_bytes()), "{} bytes of it came", came.len());
}
