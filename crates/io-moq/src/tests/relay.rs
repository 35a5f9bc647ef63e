//! What a relay does between a publisher and many subscribers.

use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use moqt::data::{
    FetchObject, FetchWriter, ObjectHead, Status, SubgroupHeader, SubgroupId, SubgroupWriter,
};
use moqt::session::{Command, DataHeader, Event};
use moqt::{
    Answer, Fetch, FetchOk, Filter, GroupOrder, Location, Parameters, Properties, Range, Request,
    RequestId, Version,
};
use spine::{Absence, Header, TrackInfo};

use super::duties::{VIDEO, code, group, read_fetch, text};
use super::rig::{Carrier, Client, Rig, next_object, soon, track, until};
use crate::link::Told;
use crate::transport::Read;

const PAIRS: u64 = 0x30;

pub(super) fn room() -> moqt::TrackName {
    track(&["open", "room"], "chat")
}

/// Properties of a track.
pub(super) fn properties(pairs: &[(u64, u64)]) -> Properties {
    let pairs: Vec<_> =
        pairs.iter().map(|(k, v)| (*k, moqt::properties::Value::Number(*v))).collect();
    Properties::from_pairs(&pairs).unwrap()
}

/// A client that has announced the open namespace.
pub(super) async fn announced(rig: &Rig) -> Client {
    let client = rig.client("/").await;
    assert_eq!(code(&client.publish_namespace(&["open", "room"]).await), None);
    client
}

/// Answers a SUBSCRIBE of the relay; what it asked for.
pub(super) async fn give(client: &mut Client, properties: Properties) -> (RequestId, Parameters) {
    loop {
        if let (id, Request::Subscribe { parameters, .. }) = client.asked().await {
            let said = Parameters::default();
            let answer = Answer::Ok { parameters: said, properties };
            client.command(Command::Answer { id, answer });
            return (id, parameters);
        }
    }
}

/// A stream of one object.
pub(super) async fn send(
    client: &Client,
    id: RequestId,
    group: u64,
    object: u64,
    payload: &'static str,
    last: bool,
) {
    let alias = client.link.with(|session| session.open_data(id)).unwrap();
    let header = SubgroupHeader {
        alias,
        group,
        subgroup: SubgroupId::Zero,
        priority: None,
        properties: false,
        end_of_group: last,
        first_object: object == 0,
    };
    let mut bytes = BytesMut::new();
    header.encode(client.link.version, &mut bytes).unwrap();
    let mut writer = SubgroupWriter::new(client.link.version, &header);
    let head = ObjectHead {
        id: object,
        properties: Properties::empty(),
        status: Status::Normal,
        payload_length: payload.len() as u64,
    };
    writer.object(&head, &mut bytes).unwrap();
    bytes.extend_from_slice(payload.as_bytes());
    let mut stream = client.link.connection.open_uni().await.unwrap();
    stream.write(&mut [bytes.freeze()]).await.unwrap();
    stream.finish();
    client.command(Command::DataClosed { id });
}

#[tokio::test]
async fn d03_all_who_announce_a_namespace_are_asked_also_who_comes_late() {
    let rig = Rig::new();
    let mut one = announced(&rig).await;
    let viewer = rig.client("/").await;
    let request = Request::Subscribe { track: room(), parameters: next_object() };
    let (id, told) = viewer.link.request(request).unwrap();
    let (first, _) = give(&mut one, Properties::empty()).await;
    let mut told = told;
    let answer = super::rig::answered(&mut told).await;
    let mut seen = viewer.follow(id, answer, told);
    send(&one, first, 0, 0, "from one", true).await;
    assert_eq!(text(&seen.next().await), (0, 0, "from one"));
    // Who announces it now is asked for what is subscribed to already.
    let mut two = announced(&rig).await;
    let (second, _) = give(&mut two, Properties::empty()).await;
    send(&two, second, 1, 0, "from two", true).await;
    assert_eq!(text(&seen.next().await), (1, 0, "from two"));
    // One of them leaves: the other goes on.
    drop(one);
    send(&two, second, 2, 0, "alone", true).await;
    assert_eq!(text(&seen.next().await), (2, 0, "alone"));
}

#[tokio::test]
async fn d08_many_subscribers_are_one_upstream_whose_wishes_are_their_own() {
    let rig = Rig::new();
    let mut publisher = announced(&rig).await;
    let wishes = Parameters {
        subscriber_priority: Some(3),
        group_order: Some(GroupOrder::Descending),
        object_delivery_timeout_ms: Some(10_000),
        ..next_object()
    };
    let mut viewers = Vec::new();
    for _ in 0..3 {
        let client = rig.client("/").await;
        let request = Request::Subscribe { track: room(), parameters: wishes.clone() };
        let (id, told) = client.link.request(request).unwrap();
        viewers.push((client, id, told));
    }
    let (id, asked) = give(&mut publisher, Properties::empty()).await;
    assert_eq!(asked.filter, Some(Filter::NextObject));
    let copied = (asked.subscriber_priority, asked.group_order, asked.object_delivery_timeout_ms);
    assert_eq!(copied, (None, None, None), "what subscribers wish stays with them");
    let mut following = Vec::new();
    for (client, id, mut told) in viewers {
        let answer = super::rig::answered(&mut told).await;
        assert_eq!(code(&answer), None);
        following.push((client.follow(id, answer, told), client));
    }
    send(&publisher, id, 0, 0, "once", true).await;
    for (seen, _) in &mut following {
        assert_eq!(text(&seen.next().await), (0, 0, "once"));
    }
    let more = std::iter::from_fn(|| publisher.events.try_recv().ok());
    let more = more.filter(|event| matches!(event, Event::Request { .. })).count();
    assert_eq!(more, 0, "nobody else was subscribed for");
}

#[tokio::test]
async fn d09_the_end_of_a_group_is_repeated_with_its_stream() {
    let rig = Rig::new();
    let mut publisher = announced(&rig).await;
    let viewer = rig.client("/").await;
    let request = Request::Subscribe { track: room(), parameters: next_object() };
    let (_, mut told) = viewer.link.request(request).unwrap();
    let (id, _) = give(&mut publisher, Properties::empty()).await;
    for (group, last) in [(0, true), (1, false)] {
        send(&publisher, id, group, 0, "x", last).await;
        let data = Client::fetched(&mut told).await;
        let DataHeader::Subgroup(header) = data.header else { panic!() };
        assert_eq!((header.group, header.end_of_group), (group, last));
    }
}

#[tokio::test]
async fn d12_what_may_not_be_kept_any_longer_is_unknown() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let info = TrackInfo {
        properties: properties(&[(0x04, 60_000)]).as_bytes().clone(),
        ..TrackInfo::default()
    };
    let video = broadcast.track(VIDEO, info).unwrap();
    let now = Instant::now();
    // Two groups of long ago, and one of now.
    let long_ago = now.checked_sub(Duration::from_secs(61)).unwrap();
    for (id, arrived) in [(1, long_ago), (2, long_ago), (3, now)] {
        let group = video.group(id, now).unwrap();
        let subgroup = group.subgroup(0, now).unwrap();
        let payload = video.budget().payload(Bytes::from_static(b"x"));
        subgroup.write(Header::new(0, arrived), vec![payload]).unwrap();
        subgroup.fin();
        group.end(Some(0), now);
    }
    let client = rig.client("/").await;
    for (order, expect) in [(GroupOrder::Ascending, "?2 3.0x"), (GroupOrder::Descending, "3.0x ?1")]
    {
        let range = Range { start: Location::new(1, 0), end: Location::new(3, 0) };
        let fetch = Fetch::Standalone { track: track(&["default", "one"], "video"), range };
        let parameters = Parameters { group_order: Some(order), ..Parameters::default() };
        let (_, answer, mut told) = client.ask(Request::Fetch { fetch, parameters }).await;
        assert_eq!(code(&answer), None);
        assert_eq!(read_fetch(&mut told, order).await, expect, "{order:?}");
    }
}

/// draft-18 §10.13: all objects have been published. What has begun before that may go on.
#[tokio::test]
async fn draft18_s10_13_the_end_of_a_track_is_told_when_all_of_it_is_there() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let now = Instant::now();
    let open = video.group(0, now).unwrap().subgroup(0, now).unwrap();
    let payload = || video.budget().payload(Bytes::from_static(b"x"));
    open.write(Header::new(0, now), vec![payload()]).unwrap();
    group(&video, 1, &["last"]);
    video.end_at(spine::Location { group: 1, object: 1 }).unwrap();
    let client = rig.client("/").await;
    let is_over = async || {
        let range = Range { start: Location::new(0, 0), end: Location::new(1, 0) };
        let fetch = Fetch::Standalone { track: track(&["default", "one"], "video"), range };
        let fetch = Request::Fetch { fetch, parameters: Parameters::default() };
        match client.ask(fetch).await.1 {
            Answer::FetchOk(ok) => ok.end_of_track,
            other => panic!("{other:?}"),
        }
    };
    assert!(!is_over().await);
    open.write(Header::new(1, now), vec![payload()]).unwrap();
    open.fin();
    assert!(is_over().await);
}

/// What is lost may come back with more: that it is all there is nobody has said.
#[tokio::test]
async fn draft18_s10_13_a_track_whose_source_was_lost_is_not_said_to_be_complete() {
    for (why, expect) in [(spine::Close::SourceLost, false), (spine::Close::Ended, true)] {
        let rig = Rig::new();
        let broadcast = rig.broadcast(&["default", "one"]);
        let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
        group(&video, 1, &["last"]);
        video.end(why);
        let client = rig.client("/").await;
        let range = Range { start: Location::new(0, 0), end: Location::new(1, 0) };
        let fetch = Fetch::Standalone { track: track(&["default", "one"], "video"), range };
        let fetch = Request::Fetch { fetch, parameters: Parameters::default() };
        let Answer::FetchOk(ok) = client.ask(fetch).await.1 else { panic!("{why:?}") };
        assert_eq!((ok.end, ok.end_of_track), (Location::new(1, 0), expect), "{why:?}");
    }
}

/// A group of three objects of a megabyte: more than a stream takes without being read.
fn large(track: &spine::track::Producer, id: u64, first: &[(u64, u64)]) {
    let now = Instant::now();
    let group = track.group(id, now).unwrap();
    let subgroup = group.subgroup(0, now).unwrap();
    let first = properties(first).as_bytes().clone();
    for object in 0..3 {
        let payload = track.budget().payload(Bytes::from(vec![id as u8; 1 << 20]));
        let properties = if object == 0 { first.clone() } else { Bytes::new() };
        subgroup.write(Header { properties, ..Header::new(object, now) }, vec![payload]).unwrap();
    }
    subgroup.fin();
    group.end(Some(2), now);
}

/// What a stream ends with, once its reader wakes up.
async fn end_of(told: &mut tokio::sync::mpsc::UnboundedReceiver<Told>) -> (u64, Read) {
    let mut data = Client::fetched(told).await;
    let DataHeader::Subgroup(header) = data.header else { panic!() };
    loop {
        match soon("the end of a stream", data.stream.read()).await {
            Read::Chunk(_) => {}
            end => return (header.group, end),
        }
    }
}

#[tokio::test]
async fn draft18_s8_d15_d16_a_slow_subscriber_loses_whole_groups_and_its_neighbour_nothing() {
    let object = Parameters { object_delivery_timeout_ms: Some(200), ..next_object() };
    let subgroup = Parameters { subgroup_delivery_timeout_ms: Some(200), ..next_object() };
    for (name, parameters, first, expect) in [
        // OBJECT_DELIVERY_TIMEOUT; DELIVERY_TIMEOUT
        ("object", object, &[][..], 0x2),
        // SUBGROUP_DELIVERY_TIMEOUT
        ("subgroup", subgroup, &[], 0x2),
        // The publisher's, with the first object of a subgroup (draft-21 §10.2).
        ("first object", next_object(), &[(0x02, 200)], 0x2),
        // Nothing asked for: what is not the newest group goes after LAG_MAX. TOO_FAR_BEHIND would be the end of all of it.
        ("nothing", next_object(), &[], 0x2),
    ] {
        let rig = Rig::new();
        let broadcast = rig.broadcast(&["default", "one"]);
        let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
        let subscribed = || track(&["default", "one"], "video");
        let (slow, quick) = (rig.client_of(Version::Draft21).await, rig.client("/").await);
        let request = Request::Subscribe { track: subscribed(), parameters };
        let (_, answer, mut told) = slow.ask(request).await;
        assert_eq!(code(&answer), None);
        let mut neighbour = quick.subscribe(subscribed(), next_object()).await;
        large(&video, 0, first);
        large(&video, 1, first);
        for group in [0, 1] {
            for object in 0..3 {
                let came = neighbour.next().await;
                assert_eq!(
                    (came.group, came.id, came.payload.len()),
                    (group, object, 1 << 20),
                    "{name}"
                );
            }
        }
        // The slow one has not read a byte.
        let skipped = || rig.counters.groups_skipped.load(Ordering::Relaxed);
        until("the slow one to lose a group", || skipped() >= 1).await;
        let (group, end) = end_of(&mut told).await;
        assert_eq!((group, end), (0, Read::Reset(expect)), "{name}");
        // It goes on with what is new.
        group_of_one(&video, 2);
        let mut seen = Vec::new();
        while !seen.contains(&2) {
            seen.push(end_of(&mut told).await.0);
        }
    }
}

fn group_of_one(track: &spine::track::Producer, id: u64) {
    group(track, id, &["new"]);
}

#[tokio::test]
async fn d17_a_request_for_a_new_group_reaches_the_publisher() {
    let rig = Rig::new();
    let mut publisher = announced(&rig).await;
    let viewer = rig.client("/").await;
    let wanting = |group| Parameters { new_group: Some(group), ..next_object() };
    let request = Request::Subscribe { track: room(), parameters: wanting(0) };
    let (id, told) = viewer.link.request(request).unwrap();
    // The SUBSCRIBE that it causes says so too.
    let dynamic = properties(&[(PAIRS, 1)]);
    let (upstream, asked) = give(&mut publisher, dynamic).await;
    assert_eq!(asked.new_group, Some(0));
    let mut told = told;
    let answer = super::rig::answered(&mut told).await;
    let mut seen = viewer.follow(id, answer, told);
    send(&publisher, upstream, 4, 0, "x", true).await;
    assert_eq!(seen.next().await.group, 4);
    // On one that stands: an update, once for all who want the same.
    for _ in 0..2 {
        let other = rig.client("/").await;
        let joined = other.subscribe(room(), wanting(5)).await;
        assert_eq!(code(&joined.answer), None);
    }
    let mut wanted = Vec::new();
    loop {
        match publisher.event().await {
            Event::Update { id, parameters, .. } => {
                assert_eq!(id, upstream);
                wanted.extend(parameters.new_group);
                client_ok(&publisher, id);
                if wanted.last() == Some(&5) {
                    break;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(wanted.iter().filter(|group| **group == 5).count(), 1, "{wanted:?}");
}

fn client_ok(client: &Client, id: RequestId) {
    client.command(Command::AnswerUpdate { id, answer: Answer::ok() });
}

/// Answers the next FETCH with groups 3, 4 and 8; of 5 to 7 nobody knows. Says what was asked for.
pub(super) async fn tell_past(publisher: &mut Client) -> Range {
    let (id, asked) = loop {
        if let (id, Request::Fetch { fetch: Fetch::Standalone { range, .. }, .. }) =
            publisher.asked().await
        {
            break (id, range);
        }
    };
    let end = asked.end;
    let properties = Properties::empty();
    let ok = FetchOk { end_of_track: false, end, parameters: Parameters::default(), properties };
    publisher.command(Command::Answer { id, answer: Answer::FetchOk(ok) });
    publisher.link.with(|session| session.open_data(id)).unwrap();
    let mut bytes = BytesMut::new();
    let mut writer =
        FetchWriter::new(publisher.link.version, id, GroupOrder::Ascending, &mut bytes);
    // 3 and 4 are there, 5 to 7 nobody knows, 8 is there.
    for (group, unknown_before) in [(3, None), (4, None), (8, Some(7))] {
        if let Some(group) = unknown_before {
            let at = Location::new(group, Range::WHOLE_GROUP);
            writer.gap(moqt::data::Missing::Unknown, at, &mut bytes).unwrap();
        }
        let object = FetchObject {
            location: Location::new(group, 0),
            via: moqt::data::Via::Subgroup(0),
            priority: 128,
            properties: Properties::empty(),
            payload_length: 3,
        };
        writer.object(&object, &mut bytes).unwrap();
        bytes.extend_from_slice(b"old");
    }
    let mut stream = publisher.link.connection.open_uni().await.unwrap();
    stream.write(&mut [bytes.freeze()]).await.unwrap();
    stream.finish();
    publisher.command(Command::DataClosed { id });
    asked
}

/// With little memory groups are given up while streams of them are still under way.
#[tokio::test]
async fn d02_a_stream_that_comes_when_its_group_is_gone_ends_nothing_else() {
    let rig = Rig::with(spine::Limits { cache_bytes: 100_000, ..spine::Limits::default() });
    let mut publisher = announced(&rig).await;
    let viewer = rig.client("/").await;
    let request = Request::Subscribe { track: room(), parameters: next_object() };
    let (id, mut told) = viewer.link.request(request).unwrap();
    let (upstream, _) = give(&mut publisher, Properties::empty()).await;
    let answer = super::rig::answered(&mut told).await;
    let mut seen = viewer.follow(id, answer, told);
    let much: &str = Box::leak("x".repeat(20_000).into_boxed_str());
    for group in 0..20 {
        send(&publisher, upstream, group, 0, much, true).await;
        assert_eq!(seen.next().await.group, group);
        if group == 11 {
            send(&publisher, upstream, 0, 1, "late", true).await;
        }
    }
}

#[tokio::test]
async fn d23_the_past_of_a_relayed_track_is_fetched_once_from_its_publisher() {
    let rig = Rig::new();
    let mut publisher = announced(&rig).await;
    let viewer = rig.client("/").await;
    let request = Request::Subscribe { track: room(), parameters: next_object() };
    let (id, mut told) = viewer.link.request(request).unwrap();
    let (upstream, _) = give(&mut publisher, Properties::empty()).await;
    let answer = super::rig::answered(&mut told).await;
    let mut seen = viewer.follow(id, answer, told);
    send(&publisher, upstream, 9, 0, "live", true).await;
    assert_eq!(seen.next().await.group, 9);
    // Two ask for the same: the publisher is asked once.
    let range = Range { start: Location::new(3, 0), end: Location::new(9, 0) };
    let fetch = || Request::Fetch {
        fetch: Fetch::Standalone { track: room(), range },
        parameters: Parameters::default(),
    };
    let other = rig.client("/").await;
    let (_, _, mut first) = viewer.ask(fetch()).await;
    let (_, _, mut second) = other.ask(fetch()).await;
    let asked = tell_past(&mut publisher).await;
    assert_eq!((asked.start.group, asked.end.group), (3, 8));
    for told in [&mut first, &mut second] {
        let got = read_fetch(told, GroupOrder::Ascending).await;
        assert_eq!(got, "3.0old 4.0old ?7 8.0old 9.0live");
    }
    let more = std::iter::from_fn(|| publisher.events.try_recv().ok());
    let more = more.filter(|event| matches!(event, Event::Request { .. })).count();
    assert_eq!(more, 0, "the publisher was asked once");
}

#[tokio::test]
async fn d23_what_is_over_is_fetched_from_where_it_is_kept() {
    let rig = Rig::new();
    let path = spine::Path::new(["default", "video"]).unwrap();
    let route = spine::Route::local(spine::NodeId(0), 0);
    let over = rig.past.publish(&path, route, spine::Takeover::Refuse).unwrap();
    let video = over.track(VIDEO, TrackInfo::default()).unwrap();
    video.saw(spine::Location { group: 7, object: 0 });
    video.gap(0..=4);
    video.end(spine::Close::Ended);
    let mut responder = rig.past.responder(path, 1);
    let client = rig.client("/").await;
    let range = Range { start: Location::new(0, 0), end: Location::new(99, 0) };
    let fetch = Fetch::Standalone { track: track(&["default", "video"], "video"), range };
    let fetch = Request::Fetch { fetch, parameters: Parameters::default() };
    let (_, answer, mut told) = client.ask(fetch).await;
    let Answer::FetchOk(ok) = answer else { panic!("{answer:?}") };
    assert_eq!((ok.end, ok.end_of_track), (Location::new(7, 0), true));
    let request = soon("the responder", poll_fn(|cx| responder.poll(cx))).await;
    let spine::Request::Fetch(request) = request else { panic!() };
    let mut answer = request.accept();
    for (group, text) in [(5, "five"), (7, "seven")] {
        let payload = answer.budget().payload(Bytes::from_static(text.as_bytes()));
        answer.object(group, Header::new(0, Instant::now()), vec![payload]);
        if group == 5 {
            answer.gap(6, 6, Absence::Unknown);
        }
    }
    answer.end();
    let got = read_fetch(&mut told, GroupOrder::Ascending).await;
    assert_eq!(got, "!4 5.0five ?6 7.0seven");
}

/// By the numbers of draft 18; those of 20 and 22 are the same for all of these.
#[tokio::test]
async fn d21_malformed_input_closes_with_the_drafts_code_and_nobody_elses_session() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let neighbour = rig.client("/").await;
    let mut seen = neighbour.subscribe(track(&["default", "one"], "video"), next_object()).await;
    const SETUP: [u8; 4] = [0xaf, 0x00, 0x00, 0x00];
    // SETUP is 0x2f00, in two bytes; a message has its length in two more.
    let control: [(&str, &[u8], u64); 6] = [
        ("a stream of an unknown type", &[0x20], 0x3),
        ("a subgroup whose id is told in no way", &[0x16], 0x3),
        ("an option without its length", &[0xaf, 0x00, 0x00, 0x01, 0x07], 0x6),
        ("SETUP twice", &[0xaf, 0x00, 0x00, 0x00, 0xaf, 0x00, 0x00, 0x00], 0x3),
        ("a message of an unknown type", &[0xaf, 0x00, 0x00, 0x00, 0x3f, 0x00, 0x00], 0x3),
        // Of a browser the URL says it: INVALID_PATH.
        ("a path that is none", &[0xaf, 0x00, 0x00, 0x04, 0x01, 0x02, b'x', b'y'], 0x9),
    ];
    // Behind a SETUP on the control stream, on a stream of their own.
    let requests: [(&str, &[u8], u64); 4] = [
        ("an answer to nothing", &[0x07, 0x00, 0x01, 0x00], 0x3),
        ("a namespace of 33 fields", &[0x50, 0x00, 0x03, 0x00, 0x21, 0x00], 0x3),
        ("a Request ID of the server's", &[0x50, 0x00, 0x03, 0x01, 0x00, 0x00], 0x4),
        ("a parameter that is none", &[0x50, 0x00, 0x05, 0x00, 0x00, 0x01, 0x05, 0x00], 0x3),
    ];
    let mut group_id = 0;
    for carrier in [
        Carrier::Quic(Version::Draft18),
        Carrier::Quic(Version::Draft20),
        Carrier::Quic(Version::Draft22),
        Carrier::WebTransport(Version::Draft18),
        Carrier::WebTransport(Version::Draft20),
        Carrier::WebTransport(Version::Draft22),
    ] {
        let rows = control.map(|row| (row, false)).into_iter();
        for ((what, bytes, code), request) in rows.chain(requests.map(|row| (row, true))) {
            let (_endpoint, connection) = rig.stranger(carrier).await;
            let mut stream = connection.open_uni().await.unwrap();
            let first = if request { &SETUP } else { bytes };
            stream.write(&mut [Bytes::copy_from_slice(first)]).await.unwrap();
            let asking = if request { connection.open_bi().await } else { None };
            if let Some((mut asking, _answers)) = asking {
                asking.write(&mut [Bytes::copy_from_slice(bytes)]).await.unwrap();
                // Held open until it is answered.
                let ended = soon(what, connection.closed()).await;
                assert_eq!(ended.code, Some(code), "{carrier:?} {what}: {}", ended.reason);
            } else {
                let ended = soon(what, connection.closed()).await;
                let path = code == 0x9 && matches!(carrier, Carrier::WebTransport(_));
                let code = if path { 0x8 } else { code };
                assert_eq!(ended.code, Some(code), "{carrier:?} {what}: {}", ended.reason);
            }
            group(&video, group_id, &["still here"]);
            let came = seen.next().await;
            assert_eq!(text(&came), (group_id, 0, "still here"), "{carrier:?} {what}");
            group_id += 1;
        }
    }
}

/// An object is on its way to who reads it while it is still coming from who publishes it.
#[tokio::test]
async fn d10_half_an_object_of_a_publisher_is_with_its_subscriber_before_the_rest_is_sent() {
    const HALF: usize = 40_000;
    let rig = Rig::new();
    let mut publisher = announced(&rig).await;
    let viewer = rig.client("/").await;
    let request = Request::Subscribe { track: room(), parameters: next_object() };
    let (_, mut told) = viewer.link.request(request).unwrap();
    let (id, _) = give(&mut publisher, Properties::empty()).await;
    assert_eq!(code(&super::rig::answered(&mut told).await), None);
    let alias = publisher.link.with(|session| session.open_data(id)).unwrap();
    let header = SubgroupHeader { alias, properties: false, ..super::streams::header(0) };
    let mut bytes = BytesMut::new();
    header.encode(publisher.link.version, &mut bytes).unwrap();
    let head = ObjectHead {
        id: 0,
        properties: Properties::empty(),
        status: Status::Normal,
        payload_length: 2 * HALF as u64,
    };
    SubgroupWriter::new(publisher.link.version, &header).object(&head, &mut bytes).unwrap();
    bytes.extend_from_slice(&[b'a'; HALF]);
    let mut stream = publisher.link.connection.open_uni().await.unwrap();
    stream.write(&mut [bytes.freeze()]).await.unwrap();
    let mut data = Client::fetched(&mut told).await;
    let mut came = data.first.to_vec();
    let count = |came: &[u8], of: u8| came.iter().filter(|byte| **byte == of).count();
    while count(&came, b'a') < HALF {
        let Read::Chunk(bytes) = soon("the first half", data.stream.read()).await else {
            panic!("a stream ends in the middle of an object");
        };
        came.extend_from_slice(&bytes);
    }
    stream.write(&mut [Bytes::from(vec![b'b'; HALF])]).await.unwrap();
    stream.finish();
    while let Read::Chunk(bytes) = soon("the other half", data.stream.read()).await {
        came.extend_from_slice(&bytes);
    }
    assert_eq!(count(&came, b'b'), HALF);
}

/// The same of draft 16, whose control stream is the client's first one, with requests on it (draft-16 §3.3).
#[tokio::test]
async fn draft16_s9_d21_malformed_input_closes_with_the_drafts_code() {
    const SETUP: &[u8] = &[0x20, 0x00, 0x01, 0x00];
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let neighbour = rig.client("/").await;
    let mut seen = neighbour.subscribe(track(&["default", "one"], "video"), next_object()).await;
    let rows: [(&str, bool, &[u8], u64); 9] = [
        ("another message than SETUP", false, &[0x07, 0, 2, 0, 0], 0x3),
        ("a path that is none", false, &[0x20, 0, 4, 1, 1, 1, b'a'], 0x9),
        ("SETUP twice", true, SETUP, 0x3),
        ("a message of an unknown type", true, &[0x3f, 0, 0], 0x3),
        ("one of a later draft", true, &[0x40, 0x50, 0, 5, 0, 1, 1, b'a', 0], 0x3),
        ("a Request ID of the server's", true, &[0x06, 0, 5, 1, 1, 1, b'a', 0], 0x4),
        ("a Request ID that is not allowed", true, &[0x06, 0, 6, 0x5f, 0xfe, 1, 1, b'a', 0], 0x7),
        ("an update of nothing", true, &[0x02, 0, 3, 0, 2, 0], 0x3),
        ("a client that says where to go", true, &[0x10, 0, 2, 1, b'a'], 0x3),
    ];
    let mut group_id = 0;
    for carrier in [Carrier::Quic(Version::Draft16), Carrier::WebTransport(Version::Draft16)] {
        for (what, behind, bytes, code) in rows {
            let (_endpoint, connection) = rig.stranger(carrier).await;
            let (mut control, _answers) = connection.open_bi().await.unwrap();
            let first = if behind { SETUP } else { &[] };
            control.write(&mut [Bytes::from([first, bytes].concat())]).await.unwrap();
            let ended = soon(what, connection.closed()).await;
            // Of a browser the URL says it: INVALID_PATH.
            let web = matches!(carrier, Carrier::WebTransport(_));
            let code = if code == 0x9 && web { 0x8 } else { code };
            assert_eq!(ended.code, Some(code), "{carrier:?} {what}: {}", ended.reason);
            group(&video, group_id, &["still here"]);
            let came = seen.next().await;
            assert_eq!(text(&came), (group_id, 0, "still here"), "{carrier:?} {what}");
            group_id += 1;
        }
    }
}
