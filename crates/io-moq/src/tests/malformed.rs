//! Tracks that contradict themselves (draft-18 §2.4.2), and what comes in parts and does not.

use bytes::{Bytes, BytesMut};
use moqt::data::{FetchObject, FetchWriter, Status, SubgroupHeader, SubgroupId};
use moqt::session::{Command, DataHeader, Event};
use moqt::{
    Answer, DoneCode, Fetch, FetchOk, GroupOrder, Location, Parameters, Properties, Range, Request,
    RequestCode, ResetCode,
};

use spine::{Close, Header, TrackInfo};

use super::duties::{VIDEO, code, text};
use super::rig::{Client, Rig, next_object, soon, track, until};
use super::streams::{Out, Published, cancelled, datagram, done, end_of, header, payload, publish};
use crate::clock;
use crate::limits::STREAMS_PER_SUBSCRIPTION;
use crate::link::Told;
use crate::transport::Read;

fn room() -> moqt::TrackName {
    track(&["open", "room"], "chat")
}

/// One thing that a publisher sends: a stream, or a datagram.
enum Sends {
    /// Subgroup, priority, objects, and how it ends.
    Stream(u64, Option<u8>, &'static [(u64, &'static str)], Ends),
    Datagram(u64, &'static str),
    /// An object with a property.
    Gap(u64, u64, u64),
    /// An object that says that its group or track ends with it.
    Mark(u64, Status),
}

#[derive(Clone, Copy, PartialEq)]
enum Ends {
    Fin,
    /// And with it its group.
    FinOfGroup,
    Open,
}

const OBJECT_GAP: u64 = 0x3e;
const GROUP_GAP: u64 = 0x3c;

/// Sends it in group 7. What stays open is answered.
async fn send<'a>(client: &'a Client, to: &Published, what: &Sends) -> Option<Out<'a>> {
    match what {
        Sends::Stream(subgroup, priority, objects, ends) => {
            let header = SubgroupHeader {
                subgroup: SubgroupId::Given(*subgroup),
                priority: *priority,
                end_of_group: *ends == Ends::FinOfGroup,
                ..header(7)
            };
            let mut out = Out::open(client, to.id, header).await;
            for (id, text) in *objects {
                out.object(*id, text).await;
            }
            if *ends == Ends::Open {
                return Some(out);
            }
            out.finish();
            None
        }
        Sends::Datagram(id, text) => {
            datagram(client, to.id, (7, *id), payload(text), false);
            None
        }
        Sends::Gap(id, kind, count) => {
            let value = moqt::properties::Value::Number(*count);
            let properties = Properties::from_pairs(&[(*kind, value)]).unwrap();
            let header = SubgroupHeader { subgroup: SubgroupId::Given(9), ..header(7) };
            let mut out = Out::open(client, to.id, header).await;
            out.with(*id, "gap", properties).await;
            out.finish();
            None
        }
        Sends::Mark(id, status) => {
            let header = SubgroupHeader { subgroup: SubgroupId::Given(8), ..header(7) };
            let mut out = Out::open(client, to.id, header).await;
            out.status(*id, *status).await;
            out.finish();
            None
        }
    }
}

fn contradictions() -> Vec<(&'static str, Sends, Sends)> {
    use Ends::{Fin, FinOfGroup, Open};
    use Sends::{Datagram, Gap, Mark, Stream};
    vec![
        (
            "(1) another priority in a subgroup",
            Stream(0, None, &[(0, "a")], Open),
            Stream(0, Some(3), &[(1, "b")], Open),
        ),
        (
            "(2) behind the end of a subgroup",
            Stream(0, None, &[(0, "a")], Fin),
            Stream(0, None, &[(1, "b")], Open),
        ),
        (
            "(3) two ends of a subgroup",
            Stream(0, None, &[(0, "a"), (1, "b")], Fin),
            Stream(0, None, &[(0, "a")], Fin),
        ),
        (
            "(4) behind the end of a group",
            Stream(0, None, &[(0, "a")], FinOfGroup),
            Stream(1, None, &[(1, "b")], Open),
        ),
        (
            "(4) behind a mark of the end of a group",
            Mark(3, Status::EndOfGroup),
            Stream(1, None, &[(4, "b")], Open),
        ),
        (
            "(4) the end of a group before what it has",
            Stream(1, None, &[(4, "b")], Open),
            Stream(0, None, &[(0, "a")], FinOfGroup),
        ),
        (
            "(5) behind the end of the track",
            Mark(3, Status::EndOfTrack),
            Stream(1, None, &[(4, "b")], Open),
        ),
        (
            "(6) another payload",
            Stream(0, None, &[(0, "a")], Fin),
            Stream(0, None, &[(0, "b")], Open),
        ),
        (
            "(6) another length",
            Stream(0, None, &[(0, "a")], Fin),
            Stream(0, None, &[(0, "ab")], Open),
        ),
        ("(7) another way", Stream(0, None, &[(0, "a")], Fin), Datagram(0, "a")),
        ("another subgroup", Stream(0, None, &[(0, "a")], Fin), Stream(1, None, &[(0, "a")], Open)),
        ("a gap over an object", Stream(0, None, &[(4, "a")], Fin), Gap(5, OBJECT_GAP, 2)),
        ("in a gap", Gap(5, OBJECT_GAP, 2), Stream(0, None, &[(4, "a")], Fin)),
        ("two gaps before a group", Gap(5, GROUP_GAP, 2), Gap(6, GROUP_GAP, 3)),
        // What one stream shows: draft-18 §12.8.
        ("a gap that is too large", Stream(0, None, &[(0, "a")], Fin), Gap(1, OBJECT_GAP, 2)),
    ]
}

#[tokio::test]
async fn d13_a_track_that_contradicts_itself_is_over_for_all_who_read_it() {
    for (what, before, then) in contradictions() {
        let rig = Rig::new();
        let (client, viewer) = (rig.client("/").await, rig.client("/").await);
        let mut published = publish(&client, room()).await;
        let other = publish(&client, track(&["open", "room"], "other")).await;
        let request = Request::Subscribe { track: room(), parameters: next_object() };
        let (_, answer, mut told) = viewer.ask(request).await;
        assert_eq!(code(&answer), None, "{what}");
        let beside = track(&["open", "room"], "other");
        let mut neighbour = viewer.subscribe(beside, next_object()).await;
        let _open = send(&client, &published, &before).await;
        // In order: it is there before it is contradicted.
        let path = spine::Path::new(["open", "room"]).unwrap();
        let name = spine::TrackName::from_static("chat");
        let here = rig.origin.get(&path).unwrap().get(&name).unwrap();
        let last = match &before {
            Sends::Stream(_, _, objects, _) => objects.last().unwrap().0,
            Sends::Datagram(id, _) | Sends::Gap(id, ..) | Sends::Mark(id, _) => *id,
        };
        let at = spine::Location { group: 7, object: last };
        until(what, || here.object(at).is_ok_and(|object| object.whole().is_some())).await;
        let _more = send(&client, &published, &then).await;
        assert_eq!(done(&mut told).await, DoneCode::MalformedTrack, "{what}");
        assert_eq!(cancelled(&mut published.told).await, ResetCode::MalformedTrack, "{what}");
        // A track beside it goes on, in the same sessions.
        let mut out = Out::open(&client, other.id, header(0)).await;
        out.object(0, "still here").await;
        assert_eq!(text(&neighbour.next().await), (0, 0, "still here"), "{what}");
        // Nothing of it is told any more.
        let range = Range { start: Location::default(), end: Location::new(9, 0) };
        let fetch = Fetch::Standalone { track: room(), range };
        let fetch = Request::Fetch { fetch, parameters: Parameters::default() };
        let answer = viewer.ask(fetch).await.1;
        assert_eq!(code(&answer), Some(RequestCode::MalformedTrack), "{what}");
    }
}

/// A group of one object.
async fn one(client: &Client, to: &Published, group: u64, text: &'static str) {
    let header = SubgroupHeader { end_of_group: true, ..header(group) };
    let mut out = Out::open(client, to.id, header).await;
    out.object(0, text).await;
    out.finish();
}

#[tokio::test]
async fn d13_fetches_of_a_malformed_track_are_reset() {
    // What shows it: an object that comes live, or the answer of the publisher itself.
    for by_answer in [false, true] {
        let rig = Rig::new();
        let (mut client, viewer) = (rig.client("/").await, rig.client("/").await);
        let mut published = publish(&client, room()).await;
        let mut seen = viewer.subscribe(room(), next_object()).await;
        for group in [1, 3] {
            one(&client, &published, group, "a").await;
            assert_eq!(seen.next().await.group, group);
        }
        // Group 1 is there; of group 2 the publisher is asked, and the stream waits.
        let range = Range { start: Location::new(1, 0), end: Location::new(3, 0) };
        let fetch = Fetch::Standalone { track: room(), range };
        let fetch = Request::Fetch { fetch, parameters: Parameters::default() };
        let (_, answer, mut told) = viewer.ask(fetch).await;
        assert_eq!(code(&answer), None);
        let mut data = Client::fetched(&mut told).await;
        let id = loop {
            if let (id, Request::Fetch { .. }) = client.asked().await {
                break id;
            }
        };
        if by_answer {
            let properties = Properties::empty();
            let (end, parameters) = (Location::new(2, 0), Parameters::default());
            let ok = FetchOk { end_of_track: false, end, parameters, properties };
            client.command(Command::Answer { id, answer: Answer::FetchOk(ok) });
            client.link.with(|session| session.open_data(id)).unwrap();
            let mut bytes = BytesMut::new();
            let version = client.link.version;
            let mut writer = FetchWriter::new(version, id, GroupOrder::Ascending, &mut bytes);
            let object = FetchObject {
                location: Location::new(2, 0),
                via: moqt::data::Via::Subgroup(0),
                priority: 128,
                // Immutable properties inside each other (draft-18 §12.7).
                properties: Properties::from_checked(Bytes::from_static(&[0x0b, 2, 0x0b, 0])),
                payload_length: 1,
            };
            writer.object(&object, &mut bytes).unwrap();
            bytes.extend_from_slice(b"x");
            let mut stream = client.link.connection.open_uni().await.unwrap();
            stream.write(&mut [bytes.freeze()]).await.unwrap();
            stream.finish();
        } else {
            one(&client, &published, 3, "b").await;
        }
        let end = end_of(&mut data).await;
        assert_eq!(end, Read::Reset(0x12), "by its answer: {by_answer}");
        assert_eq!(cancelled(&mut published.told).await, ResetCode::MalformedTrack);
    }
}

#[tokio::test]
async fn d13_who_is_paused_or_full_hears_of_a_malformed_track_too() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let (paused, full) = (rig.client("/").await, rig.client("/").await);
    let subscribe = |parameters| {
        let track = track(&["default", "one"], "video");
        Request::Subscribe { track, parameters }
    };
    let forward = Parameters { forward: Some(false), ..next_object() };
    let (_, _, mut told) = paused.ask(subscribe(forward)).await;
    let (_, _, mut full_told) = full.ask(subscribe(next_object())).await;
    // As many streams as a subscriber may have, and none of them ends.
    let now = clock::now();
    let mut open = Vec::new();
    for id in 0..STREAMS_PER_SUBSCRIPTION as u64 + 1 {
        let subgroup = video.group(id, now).unwrap().subgroup(0, now).unwrap();
        subgroup.write(Header::new(0, now), vec![video.budget().payload(&b"a"[..])]).unwrap();
        open.push(subgroup);
    }
    // The control stream is one of those that a client lets us have.
    let mut came = Vec::new();
    while came.len() < STREAMS_PER_SUBSCRIPTION - 1 {
        if let Some(Told::Data(data)) = soon("a stream", full_told.recv()).await {
            came.push(data);
        }
    }
    video.end(Close::Malformed);
    assert_eq!(done(&mut told).await, DoneCode::MalformedTrack);
    drop(came);
    assert_eq!(done(&mut full_told).await, DoneCode::MalformedTrack);
}

#[tokio::test]
async fn d05_who_is_paused_hears_how_the_track_ends() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let _video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let client = rig.client("/").await;
    let parameters = Parameters { forward: Some(false), ..next_object() };
    let track = track(&["default", "one"], "video");
    let (_, _, mut told) = client.ask(Request::Subscribe { track, parameters }).await;
    broadcast.end(Close::Ended);
    assert_eq!(done(&mut told).await, DoneCode::TrackEnded);
}

#[tokio::test]
async fn d10_what_is_cut_goes_on_with_another_stream() {
    let rig = Rig::new();
    let (client, viewer) = (rig.client("/").await, rig.client("/").await);
    let published = publish(&client, room()).await;
    let request = Request::Subscribe { track: room(), parameters: next_object() };
    let (id, answer, mut told) = viewer.ask(request).await;
    assert_eq!(code(&answer), None);
    let mut first = Out::open(&client, published.id, header(7)).await;
    first.object(0, "a").await;
    first.object(1, "b").await;
    let mut data = Client::fetched(&mut told).await;
    let here = |data: &crate::link::DataStream| match data.header {
        DataHeader::Subgroup(header) => (header.group, header.first_object),
        DataHeader::Fetch(_) => panic!(),
    };
    assert_eq!(here(&data), (7, true));
    // Both are here before the cut: a reset takes back what is under way.
    let mut bytes = data.first.len();
    while bytes < 8 {
        match soon("an object", data.stream.read()).await {
            Read::Chunk(chunk) => bytes += chunk.len(),
            end => panic!("{end:?}"),
        }
    }
    first.reset();
    assert!(matches!(end_of(&mut data).await, Read::Reset(_)));
    // It begins where the first one was cut, or before.
    let again = SubgroupHeader { first_object: false, ..header(7) };
    let mut second = Out::open(&client, published.id, again).await;
    for (id, text) in [(1, "b"), (2, "c"), (3, "d")] {
        second.object(id, text).await;
    }
    second.finish();
    let mut data = Client::fetched(&mut told).await;
    assert_eq!(here(&data), (7, false));
    assert_eq!(end_of(&mut data).await, Read::Fin);
    viewer.command(Command::Cancel { id, code: ResetCode::Cancelled });
    // All four are kept.
    let range = Range { start: Location::new(7, 0), end: Location::new(7, 9) };
    let fetch = Fetch::Standalone { track: room(), range };
    let fetch = Request::Fetch { fetch, parameters: Parameters::default() };
    let (_, answer, mut told) = viewer.ask(fetch).await;
    assert_eq!(code(&answer), None);
    let got = super::duties::read_fetch(&mut told, GroupOrder::Ascending).await;
    assert!(got.starts_with("7.0a 7.1b 7.2c 7.3d"), "{got}");
}

#[tokio::test]
async fn d09_the_first_object_of_a_subgroup_is_said_to_be_the_first() {
    let rig = Rig::new();
    let (client, viewer) = (rig.client("/").await, rig.client("/").await);
    let published = publish(&client, room()).await;
    let request = Request::Subscribe { track: room(), parameters: next_object() };
    let (_, _, mut told) = viewer.ask(request).await;
    for (group, first) in [(1, true), (2, false)] {
        let (subgroup, first_object) = (SubgroupId::Given(1), first);
        let header = SubgroupHeader { subgroup, first_object, ..header(group) };
        let mut out = Out::open(&client, published.id, header).await;
        // Subgroups above 0 begin with other objects than 0.
        out.object(5, "a").await;
        let data = Client::fetched(&mut told).await;
        let DataHeader::Subgroup(came) = data.header else { panic!() };
        assert_eq!((came.group, came.first_object), (group, first));
    }
}

#[tokio::test]
async fn d09_the_end_of_a_group_is_repeated_with_a_datagram() {
    let rig = Rig::new();
    let (client, viewer) = (rig.client("/").await, rig.client("/").await);
    let published = publish(&client, room()).await;
    let request = Request::Subscribe { track: room(), parameters: next_object() };
    let (_, _, mut told) = viewer.ask(request).await;
    for (object, last) in [(0, false), (1, true)] {
        datagram(&client, published.id, (4, object), payload("x"), last);
        let came = loop {
            match soon("a datagram", told.recv()).await {
                Some(Told::Datagram(queued)) => break queued.take().unwrap(),
                Some(_) => {}
                None => panic!("it is over"),
            }
        };
        assert_eq!((came.object, came.end_of_group), (object, last));
    }
}

#[tokio::test]
async fn d09_the_end_of_a_track_is_kept_and_said() {
    let rig = Rig::new();
    let (client, viewer) = (rig.client("/").await, rig.client("/").await);
    let published = publish(&client, room()).await;
    let mut seen = viewer.subscribe(room(), next_object()).await;
    let end_of_track = async |end: Location| {
        let range = Range { start: Location::new(3, 0), end };
        let fetch = Fetch::Standalone { track: room(), range };
        let fetch = Request::Fetch { fetch, parameters: Parameters::default() };
        match viewer.ask(fetch).await.1 {
            Answer::FetchOk(ok) => ok.end_of_track,
            other => panic!("{other:?}"),
        }
    };
    let mut out = Out::open(&client, published.id, header(3)).await;
    out.object(0, "a").await;
    out.object(1, "b").await;
    for id in [0, 1] {
        assert_eq!(seen.next().await.id, id);
    }
    assert!(!end_of_track(Location::new(9, 0)).await);
    out.status(2, Status::EndOfTrack).await;
    assert_eq!(seen.next().await.id, 2);
    assert!(end_of_track(Location::new(9, 0)).await);
    assert!(!end_of_track(Location::new(3, 0)).await, "it ends before");
}

#[tokio::test]
async fn d02_the_largest_object_is_also_what_an_answer_to_an_update_says() {
    let rig = Rig::new();
    let mut client = rig.client("/").await;
    assert_eq!(code(&client.publish_namespace(&["open", "room"]).await), None);
    let viewer = rig.client("/").await;
    let request = Request::Subscribe { track: room(), parameters: next_object() };
    let (_, mut told) = viewer.link.request(request).unwrap();
    let dynamic = [(0x30, moqt::properties::Value::Number(1))];
    let dynamic = Properties::from_pairs(&dynamic).unwrap();
    super::relay::give(&mut client, dynamic).await;
    assert_eq!(code(&super::rig::answered(&mut told).await), None);
    // A subscriber's wish for a new group goes to the publisher with an update.
    let other = rig.client("/").await;
    let parameters = Parameters { new_group: Some(5), ..next_object() };
    let wanting = other.subscribe(room(), parameters).await;
    assert_eq!(code(&wanting.answer), None);
    let id = loop {
        if let Event::Update { id, .. } = client.event().await {
            break id;
        }
    };
    let largest = Location::new(8, 3);
    let parameters = Parameters { largest: Some(largest), ..Parameters::default() };
    let answer = Answer::Ok { parameters, properties: Properties::empty() };
    client.command(Command::AnswerUpdate { id, answer });
    soon("the largest object", async {
        loop {
            let status = Request::TrackStatus { track: room(), parameters: Parameters::default() };
            if let Answer::Ok { parameters, .. } = other.ask(status).await.1
                && parameters.largest == Some(largest)
            {
                return;
            }
        }
    })
    .await;
}
