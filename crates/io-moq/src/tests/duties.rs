//! What a relay owes, one test a duty.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use moqt::data::{
    FetchItem, FetchReader, Missing, ObjectHead, Status, SubgroupHeader, SubgroupId, SubgroupWriter,
};
use moqt::session::{Command, Event};
use moqt::{
    Answer, Fetch, Filter, GroupOrder, Location, Parameters, Properties, Range, Request,
    RequestCode, RequestId,
};
use spine::{Header, ResetCode, TrackInfo, TrackName, Via};

use super::rig::{Client, Object, Rig, answered, namespace, next_object, soon, track};
use crate::link::{DataStream, Told};
use crate::take::Taken;
use crate::transport::Read;

pub(super) const VIDEO: TrackName = TrackName::from_static("video");

pub(super) fn code(answer: &Answer) -> Option<RequestCode> {
    match answer {
        Answer::Error(error) => Some(error.code),
        _ => None,
    }
}

pub(super) fn largest(answer: &Answer) -> Option<Location> {
    match answer {
        Answer::Ok { parameters, .. } => parameters.largest,
        other => panic!("{other:?}"),
    }
}

fn from(group: u64, object: u64) -> Parameters {
    let filter = Some(Filter::From(Location::new(group, object)));
    Parameters { filter, ..Parameters::default() }
}

/// A whole group of one subgroup.
pub(super) fn group(track: &spine::track::Producer, id: u64, payloads: &[&'static str]) {
    let now = crate::clock::now();
    let group = track.group(id, now).unwrap();
    let subgroup = group.subgroup(0, now).unwrap();
    for (object, payload) in payloads.iter().enumerate() {
        let payload = track.budget().payload(Bytes::from_static(payload.as_bytes()));
        subgroup.write(Header::new(object as u64, now), vec![payload]).unwrap();
    }
    subgroup.fin();
    group.end(Some(payloads.len() as u64 - 1), now);
}

pub(super) fn text(object: &Object) -> (u64, u64, &str) {
    (object.group, object.id, std::str::from_utf8(&object.payload).unwrap())
}

#[tokio::test]
async fn d01_nobody_publishes_in_a_namespace_that_is_not_his() {
    let rig = Rig::new();
    for (path, fields, expect) in [
        ("/KEY", &["default", "one"][..], None),
        ("/KEY", &["default", "two"], Some(RequestCode::Unauthorized)),
        ("/WRONG", &["default", "one"], Some(RequestCode::Unauthorized)),
        ("/", &["default", "one"], Some(RequestCode::Unauthorized)),
        ("/", &["open"], None),
        ("/", &["open", "room"], None),
        ("/", &["opener"], Some(RequestCode::Unauthorized)),
        ("/", &[], Some(RequestCode::Unauthorized)),
    ] {
        let client = rig.client(path).await;
        let announced = client.publish_namespace(fields).await;
        assert_eq!(code(&announced), expect, "PUBLISH_NAMESPACE {fields:?} at {path}");
        let client = rig.client(path).await;
        let (_, published) = client.publish(track(fields, "chat")).await;
        assert_eq!(code(&published), expect, "PUBLISH {fields:?} at {path}");
    }
}

#[tokio::test]
async fn d01_each_request_to_watch_is_looked_at() {
    let rig = Rig::new();
    let broadcasts = ["one", "secret"].map(|name| rig.broadcast(&["default", name]));
    for broadcast in &broadcasts {
        let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
        group(&video, 0, &["a"]);
    }
    for (path, name, expect) in [
        ("/", "one", None),
        ("/", "secret", Some(RequestCode::Unauthorized)),
        ("/KEY", "secret", Some(RequestCode::Unauthorized)),
        ("/TOKEN", "secret", None),
        ("/?jwt=TOKEN", "secret", None),
        ("/KEY?a=b&jwt=TOKEN", "secret", None),
    ] {
        let name = track(&["default", name], "video");
        let client = rig.client(path).await;
        let watched = client.subscribe(name.clone(), next_object()).await;
        assert_eq!(code(&watched.answer), expect, "SUBSCRIBE {name:?} at {path}");
        let range = Range { start: Location::new(0, 0), end: Location::new(0, 0) };
        let fetch = Fetch::Standalone { track: name.clone(), range };
        let fetch = Request::Fetch { fetch, parameters: Parameters::default() };
        assert_eq!(code(&client.ask(fetch).await.1), expect, "FETCH {name:?} at {path}");
        let status = Request::TrackStatus { track: name, parameters: Parameters::default() };
        assert_eq!(code(&client.ask(status).await.1), expect, "TRACK_STATUS at {path}");
    }
    // Who may not watch it does not hear of it.
    let client = rig.client("/").await;
    let prefix = namespace(&["default"]);
    let request =
        Request::SubscribeNamespace { prefix, tracks: false, parameters: Parameters::default() };
    let (_, _, mut told) = client.ask(request).await;
    let _third = rig.broadcast(&["default", "third"]);
    for expect in ["one", "third"] {
        let news = soon("a namespace", told.recv()).await;
        let Some(Told::Event(Event::Namespace { namespace: found, .. })) = news else { panic!() };
        assert_eq!(found, namespace(&["default", expect]));
    }
}

#[tokio::test]
async fn d02_an_answer_says_the_largest_object_and_only_of_what_is_there() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let client = rig.client("/").await;
    let missing = client.subscribe(track(&["default", "one"], "sound"), next_object()).await;
    assert_eq!(code(&missing.answer), Some(RequestCode::DoesNotExist));
    let missing = client.subscribe(track(&["default", "two"], "video"), next_object()).await;
    assert_eq!(code(&missing.answer), Some(RequestCode::DoesNotExist));
    let empty = client.subscribe(track(&["default", "one"], "video"), next_object()).await;
    assert_eq!(largest(&empty.answer), None);
    group(&video, 7, &["a", "b"]);
    let other = rig.client("/").await;
    let some = other.subscribe(track(&["default", "one"], "video"), next_object()).await;
    assert_eq!(largest(&some.answer), Some(Location::new(7, 1)));
    let status = Request::TrackStatus {
        track: track(&["default", "one"], "video"),
        parameters: Parameters::default(),
    };
    assert_eq!(largest(&other.ask(status).await.1), Some(Location::new(7, 1)));
}

#[tokio::test]
async fn filters_decide_what_is_sent() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    group(&video, 4, &["old"]);
    group(&video, 5, &["a", "b"]);
    let name = || track(&["default", "one"], "video");
    let range = Filter::Range { start: Location::new(6, 1), end_group: 6 };
    let past = Filter::Range { start: Location::new(1, 0), end_group: 4 };
    let clients = [
        // The group that is under way from its start: a late viewer begins at once.
        (from(0, 0), "5a 5b 6c 6d 7e"),
        (Parameters::default(), "5a 5b 6c 6d 7e"),
        (next_object(), "6c 6d 7e"),
        (Parameters { filter: Some(Filter::NextGroup), ..Parameters::default() }, "6c 6d 7e"),
        (from(6, 1), "6d 7e"),
        (Parameters { filter: Some(range), ..Parameters::default() }, "6d"),
    ];
    let mut subscribed = Vec::new();
    for (parameters, expect) in clients {
        let client = rig.client("/").await;
        let one = client.subscribe(name(), parameters.clone()).await;
        subscribed.push((client, one, parameters, expect));
    }
    let client = rig.client("/").await;
    let refused = Parameters { filter: Some(past), ..Parameters::default() };
    let refused = client.subscribe(name(), refused).await;
    assert_eq!(code(&refused.answer), Some(RequestCode::InvalidRange));
    group(&video, 6, &["c", "d"]);
    group(&video, 7, &["e"]);
    for (_client, one, parameters, expect) in &mut subscribed {
        let mut got = Vec::new();
        for _ in expect.split(' ') {
            let object = one.next().await;
            got.push((
                object.group,
                object.id,
                String::from_utf8(object.payload.to_vec()).unwrap(),
            ));
        }
        // Streams have no order between them.
        got.sort();
        let got: Vec<_> = got.iter().map(|(group, _, text)| format!("{group}{text}")).collect();
        assert_eq!(got.join(" "), *expect, "{parameters:?}");
    }
    // The end of a filter ends its subscription, the end of the track all others.
    let (_client, ranged, ..) = subscribed.pop().unwrap();
    let done = soon("the end of the range", ranged.taken).await.unwrap();
    assert_eq!(done, Taken::Done(moqt::DoneCode::SubscriptionEnded));
    broadcast.end(spine::Close::Ended);
    for (_client, one, ..) in subscribed {
        let done = soon("the end of the track", one.taken).await.unwrap();
        assert_eq!(done, Taken::Done(moqt::DoneCode::TrackEnded));
    }
}

#[tokio::test]
async fn d05_a_subscriber_pauses_and_goes_on() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let client = rig.client("/").await;
    let paused = Parameters { forward: Some(false), ..next_object() };
    let mut one = client.subscribe(track(&["default", "one"], "video"), paused).await;
    group(&video, 1, &["not sent"]);
    let parameters = Parameters { forward: Some(true), ..Parameters::default() };
    client.command(Command::Update { id: one.id, parameters });
    // The answer to the update says from where: everything after it is sent.
    let status = Request::TrackStatus {
        track: track(&["default", "one"], "video"),
        parameters: Parameters::default(),
    };
    client.ask(status).await;
    tokio::task::yield_now().await;
    let mut group_id = 2;
    let first = loop {
        group(&video, group_id, &["sent"]);
        group_id += 1;
        if let Ok(object) = one.objects.try_recv() {
            break object;
        }
        tokio::task::yield_now().await;
    };
    assert!(first.group >= 2, "{first:?}");
}

#[tokio::test]
async fn d07_a_subscriber_waits_for_its_publisher() {
    let rig = Rig::new();
    let client = rig.client("/").await;
    let name = || track(&["default", "one"], "video");
    let rendezvous = |ms| Parameters { rendezvous_timeout_ms: Some(ms), ..next_object() };
    let late = client.subscribe(name(), rendezvous(1)).await;
    assert_eq!(code(&late.answer), Some(RequestCode::Timeout));
    let request = Request::Subscribe { track: name(), parameters: rendezvous(20_000) };
    let (id, mut told) = client.link.request(request).unwrap();
    let broadcast = rig.broadcast(&["default", "one"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let answer = answered(&mut told).await;
    assert_eq!(largest(&answer), None);
    let mut one = client.follow(id, answer, told);
    group(&video, 0, &["here"]);
    assert_eq!(text(&one.next().await), (0, 0, "here"));
}

#[tokio::test]
async fn d03_d04_d09_tracks_of_open_namespaces_are_relayed_as_they_are() {
    let rig = Rig::new();
    let name = || track(&["open", "room"], "chat");
    let publishers = [rig.client("/").await, rig.client("/").await];
    let mut ids = Vec::new();
    for publisher in &publishers {
        let (id, answer) = publisher.publish(name()).await;
        assert_eq!(code(&answer), None);
        ids.push(id);
    }
    let viewer = rig.client("/").await;
    let mut one = viewer.subscribe(name(), next_object()).await;
    assert_eq!(code(&one.answer), None);
    // Whatever it holds: unknown properties, a subgroup, a priority.
    let properties = Properties::from_checked(Bytes::from_static(&[0x38, 0x01, 0x3c, 0x2a]));
    let object = |id| ObjectHead {
        id,
        properties: properties.clone(),
        status: Status::Normal,
        payload_length: 5,
    };
    // Both send the same: it arrives once.
    for (publisher, id) in publishers.iter().zip(&ids) {
        write(publisher, *id, 3, &[object(0), object(1)], "hello").await;
    }
    for id in [0, 1] {
        let came = one.next().await;
        assert_eq!(text(&came), (3, id, "hello"));
        assert_eq!(came.via, Via::Subgroup(2));
        assert_eq!(came.properties, *properties.as_bytes());
    }
    write(&publishers[1], ids[1], 4, &[object(0)], "again").await;
    assert_eq!(text(&one.next().await), (4, 0, "again"), "nothing came twice");
}

/// A stream of a published track, with subgroup 2.
async fn write(
    client: &Client,
    id: RequestId,
    group: u64,
    objects: &[ObjectHead],
    payload: &'static str,
) {
    let alias = client.link.with(|session| session.open_data(id)).unwrap();
    let header = SubgroupHeader {
        alias,
        group,
        subgroup: SubgroupId::Given(2),
        priority: Some(7),
        properties: true,
        end_of_group: true,
        first_object: true,
    };
    let mut bytes = BytesMut::new();
    header.encode(client.link.version, &mut bytes).unwrap();
    let mut writer = SubgroupWriter::new(client.link.version, &header);
    for object in objects {
        writer.object(object, &mut bytes).unwrap();
        bytes.extend_from_slice(payload.as_bytes());
    }
    let mut stream = client.link.connection.open_uni().await.unwrap();
    stream.write(&mut [bytes.freeze()]).await.unwrap();
    stream.finish();
    client.command(Command::DataClosed { id });
}

#[tokio::test]
async fn d10_d11_what_is_cut_short_is_reset_and_never_finished() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let client = rig.client("/").await;
    let request = Request::Subscribe {
        track: track(&["default", "one"], "video"),
        parameters: next_object(),
    };
    let (_, answer, mut told) = client.ask(request).await;
    assert_eq!(code(&answer), None);
    let now = Instant::now();
    let group = video.group(0, now).unwrap();
    let subgroup = group.subgroup(0, now).unwrap();
    let object = subgroup.begin(Header::new(0, now), Some(10)).unwrap().unwrap();
    let mut data = Client::fetched(&mut told).await;
    // Cut-through: the head is here before the payload is whole.
    assert!(!data.first.is_empty());
    drop(object);
    subgroup.reset(ResetCode::TOO_FAR_BEHIND);
    let end = loop {
        match soon("the end of the stream", data.stream.read()).await {
            Read::Chunk(_) => {}
            end => break end,
        }
    };
    assert!(matches!(end, Read::Reset(_)), "{end:?}");
}

#[tokio::test]
async fn datagrams_stay_datagrams() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let client = rig.client("/").await;
    let mut one = client.subscribe(track(&["default", "one"], "video"), next_object()).await;
    let now = Instant::now();
    let group = video.group(9, now).unwrap();
    let payload = video.budget().payload(Bytes::from_static(b"alone"));
    group.datagram(Header::new(0, now), payload).unwrap();
    let came = one.next().await;
    assert_eq!((text(&came), came.via), ((9, 0, "alone"), Via::Datagram));
}

#[tokio::test]
async fn d06_tracks_are_offered_to_who_asks_for_all() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let mut client = rig.client("/").await;
    let request = Request::SubscribeTracks {
        prefix: namespace(&["default"]),
        parameters: Parameters::default(),
    };
    assert_eq!(code(&client.ask(request).await.1), None);
    let (id, offered) = client.asked().await;
    let Request::Publish { track: name, .. } = offered else { panic!("{offered:?}") };
    assert_eq!(name, track(&["default", "one"], "video"));
    let told = client.link.own(id);
    client.command(Command::Answer { id, answer: Answer::ok() });
    let mut one = client.follow(id, Answer::ok(), told);
    // Accepted on its way: what is written from then on comes.
    let mut at = 0;
    let first = loop {
        group(&video, at, &["live"]);
        at += 1;
        if let Ok(object) = one.objects.try_recv() {
            break object;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(text(&first).2, "live");
}

#[tokio::test]
async fn d20_d22_namespaces_are_told_as_they_come_and_go() {
    let rig = Rig::new();
    let first = rig.broadcast(&["default", "one"]);
    let _other = rig.broadcast(&["elsewhere"]);
    let client = rig.client("/").await;
    let request = Request::SubscribeNamespace {
        tracks: false,
        prefix: namespace(&["default"]),
        parameters: Parameters::default(),
    };
    let (_, answer, mut told) = client.ask(request).await;
    assert_eq!(code(&answer), None);
    let mut next = async || match soon("news", told.recv()).await {
        Some(Told::Event(event)) => event,
        _ => panic!("the request is over"),
    };
    let named = |event: &Event| match event {
        Event::Namespace { namespace, .. } => ("here", namespace.clone()),
        Event::NamespaceDone { namespace, .. } => ("gone", namespace.clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(named(&next().await), ("here", namespace(&["default", "one"])));
    let _second = rig.broadcast(&["default", "two"]);
    assert_eq!(named(&next().await), ("here", namespace(&["default", "two"])));
    first.end(spine::Close::Ended);
    // Told with the next look at what has ended.
    rig.origin.expire(Instant::now());
    assert_eq!(named(&next().await), ("gone", namespace(&["default", "one"])));
    // Reserved ones are nobody's to publish in.
    for reserved in [&[".session"][..], &[".", "x"]] {
        let answer = client.publish_namespace(reserved).await;
        assert!(code(&answer).is_some(), "{reserved:?}");
    }
}

#[tokio::test]
async fn d23_the_past_is_fetched_and_what_is_unknown_is_said_to_be() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    for (id, payloads) in [(3, &["a", "b"][..]), (4, &["c"]), (7, &["d", "e"])] {
        group(&video, id, payloads);
    }
    video.gap(5..=5);
    let client = rig.client("/").await;
    let at = Location::new;
    let all = Range::WHOLE_GROUP;
    let table = [
        (at(3, 0), at(4, all), GroupOrder::Ascending, "3.0a 3.1b 4.0c"),
        (at(3, 1), at(4, 0), GroupOrder::Ascending, "3.1b 4.0c"),
        (at(3, 0), at(4, all), GroupOrder::Descending, "4.0c 3.0a 3.1b"),
        // 5 never existed, of 6 nothing is known; the end is that of the track.
        (at(4, 0), at(9, 0), GroupOrder::Ascending, "4.0c !5 ?6 7.0d 7.1e"),
        (at(1, 0), at(3, 0), GroupOrder::Ascending, "?2 3.0a"),
    ];
    for (start, end, order, expect) in table {
        let request = Request::Fetch {
            fetch: Fetch::Standalone {
                track: track(&["default", "one"], "video"),
                range: Range { start, end },
            },
            parameters: Parameters { group_order: Some(order), ..Parameters::default() },
        };
        let (_, answer, mut told) = client.ask(request).await;
        let Answer::FetchOk(ok) = answer else { panic!("{answer:?}") };
        assert_eq!(ok.end, end.min(at(7, 1)), "{start:?} to {end:?}");
        let got = read_fetch(&mut told, order).await;
        assert_eq!(got, expect, "{start:?} to {end:?} {order:?}");
    }
    for (start, end) in [(at(8, 0), at(9, 0)), (at(7, 2), at(7, 2))] {
        let request = Request::Fetch {
            fetch: Fetch::Standalone {
                track: track(&["default", "one"], "video"),
                range: Range { start, end },
            },
            parameters: Parameters::default(),
        };
        let answer = client.ask(request).await.1;
        assert_eq!(code(&answer), Some(RequestCode::InvalidRange), "{start:?}");
    }
}

/// Objects as `group.object payload`, gaps as `!` (never existed) or `?` and their last group.
pub(super) async fn read_fetch(
    told: &mut tokio::sync::mpsc::UnboundedReceiver<Told>,
    order: GroupOrder,
) -> String {
    read_past(Client::fetched(told).await, order).await
}

/// The same of a stream.
pub(super) async fn read_past(mut data: DataStream, order: GroupOrder) -> String {
    let mut reader = FetchReader::new(data.version(), order);
    let mut chunk = data.first.clone();
    let mut got: Vec<String> = Vec::new();
    loop {
        while let Some(item) = reader.read(&mut chunk).unwrap() {
            match item {
                FetchItem::Object(object) => {
                    got.push(format!("{}.{}", object.location.group, object.location.object));
                }
                FetchItem::Payload { bytes, .. } => {
                    got.last_mut().unwrap().push_str(std::str::from_utf8(&bytes).unwrap());
                }
                FetchItem::Gap { missing: Missing::NonExistent, end } => {
                    got.push(format!("!{}", end.group));
                }
                FetchItem::Gap { missing: Missing::TimedOut, end } => {
                    got.push(format!("late{}", end.group));
                }
                FetchItem::Gap { missing: Missing::Unknown, end } => {
                    got.push(format!("?{}", end.group));
                }
            }
        }
        match soon("the fetch", data.stream.read()).await {
            Read::Chunk(bytes) => chunk = bytes,
            Read::Fin => break,
            end => panic!("{end:?}"),
        }
    }
    reader.finish().unwrap();
    got.join(" ")
}
