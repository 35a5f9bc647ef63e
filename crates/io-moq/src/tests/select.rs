//! Range filters (draft-21 §3.3.2), in the drafts that have them: which objects and tracks a subscriber gets.

use std::time::Instant;

use bytes::Bytes;
use moqt::session::{Command, Event};
use moqt::{
    Answer, Fetch, Filter, GroupOrder, Location, Parameters, Range, RangeFilter, Ranged, Ranges,
    Request, RequestCode, Version,
};
use spine::{Header, TrackInfo, Via, track::Producer};

use super::duties::{VIDEO, code, read_fetch, text};
use super::rig::{Client, Object, Rig, Subscribed, namespace, next_object, soon, track};
use crate::limits::FILTER_RANGES_MAX;
use crate::link::Told;

const LATER: [Version; 3] = [Version::Draft20, Version::Draft21, Version::Draft22];

/// A client that knows how many ranges the server takes.
async fn client(rig: &Rig, version: Version) -> Client {
    let mut client = rig.client_of(version).await;
    let Event::Ready(peer) = client.event().await else { panic!("SETUP comes first") };
    assert_eq!(peer.filter_ranges, FILTER_RANGES_MAX);
    client
}

pub(super) fn filter(of: Ranged, property: Option<u64>, ranges: &[(u64, u64)]) -> RangeFilter {
    let ranges = ranges.iter().map(|(start, end)| (*start, Some(*end))).collect();
    RangeFilter::new(of, &Ranges { set: 0, property, ranges })
}

fn filtered(filters: Vec<RangeFilter>) -> Parameters {
    Parameters { range_filters: filters, ..next_object() }
}

/// A group of two subgroups, with objects 0 and 2 in the first and 1 and 3 in the second, then 4 in a datagram.
fn write(track: &Producer, id: u64) {
    let now = Instant::now();
    let group = track.group(id, now).unwrap();
    let subgroups = [0, 1].map(|id| group.subgroup(id, now).unwrap());
    for object in 0..4 {
        let payload = track.budget().payload(Bytes::from(format!("{id}.{object}")));
        let header = Header { priority: 10 * object as u8, ..Header::new(object, now) };
        subgroups[object as usize % 2].write(header, vec![payload]).unwrap();
    }
    let payload = track.budget().payload(Bytes::from_static(b"datagram"));
    group.datagram(Header::new(4, now), payload).unwrap();
    for subgroup in subgroups {
        subgroup.fin();
    }
    group.end(Some(4), now);
}

/// The objects that came up to the first one of this group, by number.
async fn until_group(seen: &mut Subscribed, last: u64) -> Vec<(u64, u64)> {
    let mut objects = Vec::new();
    loop {
        let Object { group, id, .. } = seen.next().await;
        objects.push((group, id));
        if group == last {
            objects.sort_unstable();
            return objects;
        }
    }
}

fn video() -> moqt::TrackName {
    track(&["default", "one"], "video")
}

#[tokio::test]
async fn draft21_s3_3_2_what_does_not_pass_is_not_sent() {
    for version in LATER {
        let rig = Rig::new();
        let broadcast = rig.broadcast(&["default", "one"]);
        let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
        write(&track, 0);
        let mut watching = Vec::new();
        for (filters, expect) in [
            (vec![filter(Ranged::Subgroup, None, &[(1, 9)])], &[1, 3][..]),
            (vec![filter(Ranged::Object, None, &[(2, 2), (4, 9)])], &[2, 4]),
            (vec![filter(Ranged::Priority, None, &[(0, 19)])], &[0, 1]),
            (
                vec![
                    filter(Ranged::Subgroup, None, &[(0, 0)]),
                    filter(Ranged::Object, None, &[(1, 9)]),
                ],
                &[2],
            ),
        ] {
            let viewer = client(&rig, version).await;
            let seen = viewer.subscribe(video(), filtered(filters)).await;
            assert_eq!(code(&seen.answer), None);
            watching.push((viewer, seen, expect));
        }
        write(&track, 1);
        write(&track, 2);
        for (_viewer, seen, expect) in &mut watching {
            let mut came = Vec::new();
            // Of both groups, in whatever order their streams come.
            while came.len() < 2 * expect.len() {
                let object = seen.next().await;
                assert_eq!(object.via == Via::Datagram, object.id == 4);
                came.push((object.group, object.id));
            }
            came.sort_unstable();
            let both = [1, 2].into_iter();
            let wanted: Vec<_> = both.flat_map(|g| expect.iter().map(move |o| (g, *o))).collect();
            assert_eq!(came, wanted, "{version:?}");
        }
    }
}

#[tokio::test]
async fn draft21_s3_3_2_of_the_past_too() {
    for version in LATER {
        let rig = Rig::new();
        let broadcast = rig.broadcast(&["default", "one"]);
        let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
        (0..2).for_each(|id| write(&track, id));
        let viewer = client(&rig, version).await;
        let range = Range { start: Location::new(0, 0), end: Location::new(1, 3) };
        let fetch = Fetch::Standalone { track: video(), range };
        let range_filters = vec![filter(Ranged::Object, None, &[(1, 2)])];
        let parameters = Parameters { range_filters, ..Parameters::default() };
        // The stream may come before the answer.
        let (_, mut told) = viewer.link.request(Request::Fetch { fetch, parameters }).unwrap();
        let got = read_fetch(&mut told, GroupOrder::Ascending).await;
        assert_eq!(got, "0.10.1 0.20.2 1.11.1 1.21.2", "{version:?}");
        // That of a subscription is for its fill as well.
        let fill = Parameters { filter: Some(Filter::Recent(1)), ..Parameters::default() };
        let parameters = Parameters {
            fill: Some(Box::new(fill)),
            ..filtered(vec![filter(Ranged::Subgroup, None, &[(1, 1)])])
        };
        let request = Request::Subscribe { track: video(), parameters };
        let (_, mut told) = viewer.link.request(request).unwrap();
        let got = read_fetch(&mut told, GroupOrder::Ascending).await;
        assert_eq!(got, "1.11.1 1.31.3", "{version:?}");
    }
}

#[tokio::test]
async fn draft21_s3_3_2_updates_choose_anew_within_the_bound() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let viewer = client(&rig, Version::Draft22).await;
    let first = filter(Ranged::Object, None, &[(0, 0)]);
    let (id, answer, mut told) =
        viewer.ask(Request::Subscribe { track: video(), parameters: filtered(vec![first]) }).await;
    assert_eq!(code(&answer), None);
    let update = |range_filters| {
        let parameters = Parameters { range_filters, ..Parameters::default() };
        viewer.command(Command::Update { id, parameters });
    };
    let ranges: Vec<(u64, u64)> = (0..FILTER_RANGES_MAX).map(|n| (3 * n, 3 * n)).collect();
    update(vec![filter(Ranged::Object, None, &[(2, 2)])]);
    let mut answers = Vec::new();
    let mut answered = async || loop {
        match soon("an answer", told.recv()).await {
            Some(Told::Event(Event::UpdateAnswered { answer, .. })) => return answer,
            Some(_) => {}
            None => panic!("the request is over"),
        }
    };
    answers.push(code(&answered().await));
    // Each by itself is within the bound; together they are not.
    update(vec![filter(Ranged::Subgroup, None, &ranges)]);
    answers.push(code(&answered().await));
    assert_eq!(answers, [None, Some(RequestCode::InvalidFilter)]);
    drop(track);
}

#[tokio::test]
async fn draft21_s3_3_2_an_update_holds_for_what_is_sent_then() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let viewer = client(&rig, Version::Draft20).await;
    let first = vec![filter(Ranged::Object, None, &[(0, 0)])];
    let mut seen = viewer.subscribe(video(), filtered(first)).await;
    write(&track, 1);
    assert_eq!(until_group(&mut seen, 1).await, [(1, 0)]);
    let range_filters = vec![filter(Ranged::Object, None, &[(3, 3)])];
    let parameters = Parameters { range_filters, ..Parameters::default() };
    viewer.command(Command::Update { id: seen.id, parameters });
    // On its way: what is written from then on is chosen by it.
    let mut id = 2;
    while !until_object(&mut seen, 3, &track, &mut id).await {}
}

/// Writes a group, and looks whether this object has come.
async fn until_object(seen: &mut Subscribed, object: u64, track: &Producer, id: &mut u64) -> bool {
    write(track, *id);
    *id += 1;
    let came = seen.next().await;
    assert!(came.id == 0 || came.id == object, "{:?}", text(&came));
    came.id == object
}

#[tokio::test]
async fn draft21_s3_3_2_tracks_are_offered_by_their_properties() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let info = |value: u64| {
        let pairs = [(0x100, moqt::properties::Value::Number(value))];
        let properties = moqt::Properties::from_pairs(&pairs).unwrap();
        TrackInfo { properties: properties.as_bytes().clone(), ..TrackInfo::default() }
    };
    let _low = broadcast.track(spine::TrackName::from_static("low"), info(1)).unwrap();
    let high = broadcast.track(spine::TrackName::from_static("high"), info(7)).unwrap();
    let mut viewer = client(&rig, Version::Draft22).await;
    let range_filters = vec![
        filter(Ranged::Object, None, &[(1, 1)]),
        filter(Ranged::TrackProperty, Some(0x100), &[(5, 9)]),
    ];
    let request = Request::SubscribeTracks {
        prefix: namespace(&["default"]),
        parameters: Parameters { range_filters, ..Parameters::default() },
    };
    let (id, answer, mut told) = viewer.ask(request).await;
    assert_eq!(code(&answer), None);
    let (offer, offered) = viewer.asked().await;
    let Request::Publish { track: name, .. } = offered else { panic!("{offered:?}") };
    assert_eq!(name, track(&["default", "one"], "high"), "low is not offered");
    let own = viewer.link.own(offer);
    viewer.command(Command::Answer { id: offer, answer: Answer::ok() });
    let mut seen = viewer.follow(offer, Answer::ok(), own);
    // Accepted on its way: what is written from then on comes.
    let mut at = 0;
    let came = loop {
        write(&high, at);
        at += 1;
        if let Ok(object) = seen.objects.try_recv() {
            break object;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(came.id, 1, "of its objects only those that pass");
    // Another choice is another request.
    let range_filters = vec![RangeFilter::none(Ranged::TrackProperty)];
    let parameters = Parameters { range_filters, ..Parameters::default() };
    viewer.command(Command::Update { id, parameters });
    let refused = loop {
        match soon("an answer", told.recv()).await {
            Some(Told::Event(Event::UpdateAnswered { answer, .. })) => break code(&answer),
            Some(_) => {}
            None => panic!("the request is over"),
        }
    };
    assert_eq!(refused, Some(RequestCode::NotSupported));
}

#[tokio::test]
async fn draft21_s3_3_2_of_the_past_of_offered_tracks_too() {
    for version in LATER {
        let rig = Rig::new();
        let broadcast = rig.broadcast(&["default", "one"]);
        let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
        (0..2).for_each(|id| write(&track, id));
        let mut viewer = client(&rig, version).await;
        let fill = Parameters { filter: Some(Filter::Recent(1)), ..Parameters::default() };
        let parameters = Parameters {
            fill: Some(Box::new(fill)),
            ..filtered(vec![filter(Ranged::Subgroup, None, &[(1, 1)])])
        };
        let prefix = namespace(&["default"]);
        let (_, answer, _told) = viewer.ask(Request::SubscribeTracks { prefix, parameters }).await;
        assert_eq!(code(&answer), None);
        let (offer, _) = viewer.asked().await;
        let mut told = viewer.link.own(offer);
        viewer.command(Command::Answer { id: offer, answer: Answer::ok() });
        let got = read_fetch(&mut told, GroupOrder::Ascending).await;
        assert_eq!(got, "1.11.1 1.31.3", "{version:?}");
    }
}
