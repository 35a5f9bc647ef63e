//! What becomes of what is being sent when its subscriber changes his mind, and of what got too old.

use std::time::Duration;

use bytes::Bytes;
use moqt::session::{Command, DataHeader, Event};
use moqt::{Filter, Location, Parameters, Properties, Request, RequestId, Version};
use spine::{Header, TrackInfo, group, track};
use testkit::Shape;
use tokio::sync::mpsc::UnboundedReceiver;

use super::duties::{VIDEO, code};
use super::live::ms;
use super::rig::{Client, Rig, next_object, soon, track as name};
use super::streams::end_of;
use crate::clock;
use crate::limits::STREAMS_PER_SUBSCRIPTION;
use crate::link::{DataStream, Told};
use crate::transport::{Congestion, Network, Read};

fn video() -> moqt::TrackName {
    name(&["default", "one"], "video")
}

async fn subscribe(client: &Client, wishes: Parameters) -> (RequestId, UnboundedReceiver<Told>) {
    let request = Request::Subscribe { track: video(), parameters: wishes };
    let (id, answer, told) = client.ask(request).await;
    assert_eq!(code(&answer), None);
    (id, told)
}

/// A subgroup of a group, open.
fn subgroup(track: &track::Producer, group: u64) -> group::SubgroupProducer {
    let now = clock::now();
    track.group(group, now).unwrap().subgroup(0, now).unwrap()
}

fn write(track: &track::Producer, to: &group::SubgroupProducer, id: u64) {
    let payload = track.budget().payload(Bytes::from_static(b"x"));
    to.write(Header::new(id, clock::now()), vec![payload]).unwrap();
}

/// Changes a subscription, and waits for the answer. What came meanwhile is kept.
async fn update(
    client: &Client,
    id: RequestId,
    told: &mut UnboundedReceiver<Told>,
    parameters: Parameters,
) -> Vec<Told> {
    client.command(Command::Update { id, parameters });
    let mut before = Vec::new();
    loop {
        match soon("the answer to an update", told.recv()).await {
            Some(Told::Event(Event::UpdateAnswered { answer, .. })) => {
                assert_eq!(code(&answer), None);
                return before;
            }
            Some(other) => before.push(other),
            None => panic!("the subscription is over"),
        }
    }
}

fn group_of(data: &DataStream) -> u64 {
    match data.header {
        DataHeader::Subgroup(header) => header.group,
        DataHeader::Fetch(_) => panic!("a fetch"),
    }
}

/// Reads until so many bytes of it are here.
async fn read(data: &mut DataStream, bytes: usize) {
    let mut here = data.first.len();
    while here < bytes {
        match soon("an object", data.stream.read()).await {
            Read::Chunk(chunk) => here += chunk.len(),
            end => panic!("{end:?}"),
        }
    }
}

/// An object of one byte, with its head: number, properties, length.
const OBJECT: usize = 4;

#[tokio::test]
async fn d05_what_is_under_way_is_reset_by_a_pause_and_goes_on_behind_it() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let client = rig.client("/").await;
    let (id, mut told) = subscribe(&client, next_object()).await;
    let open = subgroup(&track, 0);
    write(&track, &open, 0);
    let mut data = Client::fetched(&mut told).await;
    read(&mut data, OBJECT).await;
    let forward = |forward| Parameters { forward: Some(forward), ..Parameters::default() };
    update(&client, id, &mut told, forward(false)).await;
    // CANCELLED: what is left out by a pause was not delivered (draft-18 §11.4.3).
    assert_eq!(end_of(&mut data).await, Read::Reset(0x1));
    write(&track, &open, 1);
    update(&client, id, &mut told, forward(true)).await;
    write(&track, &open, 2);
    open.fin();
    let mut data = Client::fetched(&mut told).await;
    let DataHeader::Subgroup(header) = data.header else { panic!() };
    assert_eq!((header.group, header.first_object), (0, false));
    let first = data.first.first().copied();
    assert_eq!(first, Some(2), "the one that was written meanwhile is left out");
    assert_eq!(end_of(&mut data).await, Read::Fin);
}

#[tokio::test]
async fn d10_who_moves_the_end_of_a_filter_gets_nothing_twice_and_loses_nothing() {
    for version in [Version::Draft16, Version::Draft18, Version::Draft21] {
        let rig = Rig::new();
        let broadcast = rig.broadcast(&["default", "one"]);
        let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
        let client = rig.client_of(version).await;
        let until = |end_group| {
            let filter = Filter::Range { start: Location::default(), end_group };
            Parameters { filter: Some(filter), ..Parameters::default() }
        };
        let (id, mut told) = subscribe(&client, until(5)).await;
        let open = subgroup(&track, 0);
        write(&track, &open, 0);
        let mut data = Client::fetched(&mut told).await;
        for end in [9, 3] {
            let came = update(&client, id, &mut told, until(end)).await;
            assert!(!came.iter().any(|told| matches!(told, Told::Data(_))), "{version:?} {end}");
        }
        write(&track, &open, 1);
        open.fin();
        assert_eq!(end_of(&mut data).await, Read::Fin, "{version:?}");
        let open = subgroup(&track, 3);
        write(&track, &open, 0);
        let data = Client::fetched(&mut told).await;
        assert_eq!(group_of(&data), 3, "{version:?}: group 0 does not come again");
    }
}

#[tokio::test]
async fn d10_groups_that_a_filter_leaves_behind_are_reset() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let client = rig.client("/").await;
    let (id, mut told) = subscribe(&client, next_object()).await;
    let open = [0, 1].map(|group| subgroup(&track, group));
    let mut streams = Vec::new();
    for open in &open {
        write(&track, open, 0);
        let mut data = Client::fetched(&mut told).await;
        read(&mut data, OBJECT).await;
        streams.push(data);
    }
    let filter = Some(Filter::From(Location::new(1, 2)));
    let parameters = Parameters { filter, ..Parameters::default() };
    update(&client, id, &mut told, parameters).await;
    for (open, ids) in open.iter().zip([[1, 2], [1, 2]]) {
        ids.iter().for_each(|id| write(&track, open, *id));
    }
    open.into_iter().for_each(group::SubgroupProducer::fin);
    assert_eq!(end_of(&mut streams[0]).await, Read::Reset(0x1));
    // Of the other one what passes comes: object 2, as the second one on its stream.
    let mut rest = Vec::new();
    loop {
        match soon("the rest", streams[1].stream.read()).await {
            Read::Chunk(chunk) => rest.extend_from_slice(&chunk),
            end => break assert_eq!(end, Read::Fin),
        }
    }
    assert_eq!(rest, [1, 0, 1, b'x']);
}

fn properties(pairs: &[(u64, u64)]) -> Bytes {
    let number = |n: u64| moqt::properties::Value::Number(n);
    let pairs: Vec<_> = pairs.iter().map(|(kind, n)| (*kind, number(*n))).collect();
    Properties::from_pairs(&pairs).unwrap().as_bytes().clone()
}

#[tokio::test(start_paused = true)]
async fn draft18_s8_d15_d12_a_datagram_that_is_too_old_is_dropped() {
    let wished = |object, subgroup| Parameters {
        object_delivery_timeout_ms: object,
        subgroup_delivery_timeout_ms: subgroup,
        ..next_object()
    };
    for (what, wishes, said, comes) in [
        ("nothing said", wished(None, None), &[][..], true),
        ("objects, by the subscriber", wished(Some(200), None), &[], false),
        ("subgroups, by the subscriber", wished(None, Some(200)), &[], false),
        ("objects, by the publisher", wished(None, None), &[(0x02, 200)], false),
        ("subgroups, by the publisher", wished(Some(9_000), None), &[(0x06, 200)], false),
        ("later", wished(Some(900), Some(900)), &[(0x02, 900)], true),
        ("not to be kept for so long", wished(None, None), &[(0x04, 200)], false),
    ] {
        let network = Network::new(7);
        let rig = Rig::over(&network, Congestion::Ours);
        let broadcast = rig.broadcast(&["default", "one"]);
        let info = TrackInfo { properties: properties(said), ..TrackInfo::default() };
        let track = broadcast.track(VIDEO, info).unwrap();
        let client = rig.client_over(&network, Shape::default()).await;
        let (_, mut told) = subscribe(&client, wishes).await;
        // What was there before it was asked for ages from then on.
        tokio::time::sleep(ms(1_000)).await;
        let group = track.group(0, clock::now()).unwrap();
        for (id, age) in [(0, ms(300)), (1, Duration::ZERO)] {
            let arrived = clock::now().checked_sub(age).unwrap();
            let payload = track.budget().payload(Bytes::from_static(b"x"));
            group.datagram(Header::new(id, arrived), payload).unwrap();
        }
        let first = loop {
            match soon(what, told.recv()).await {
                Some(Told::Datagram(queued)) => break queued.take().unwrap().object,
                Some(_) => {}
                None => panic!("{what}: it is over"),
            }
        };
        assert_eq!(first, u64::from(!comes), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn d15_what_waits_behind_many_streams_gets_no_younger() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let broadcast = rig.broadcast(&["default", "one"]);
    let track = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let client = rig.client_over(&network, Shape::default()).await;
    let wishes = Parameters { object_delivery_timeout_ms: Some(500), ..next_object() };
    let (_, mut told) = subscribe(&client, wishes).await;
    // As many streams as there may be, and one group more.
    let full = STREAMS_PER_SUBSCRIPTION as u64;
    let mut open = Vec::new();
    for group in 0..=full {
        let subgroup = subgroup(&track, group);
        write(&track, &subgroup, 0);
        open.push(subgroup);
    }
    let mut came = Vec::new();
    // The control stream is one of those that a client lets us have.
    while came.len() < STREAMS_PER_SUBSCRIPTION - 1 {
        came.push(Client::fetched(&mut told).await);
    }
    tokio::time::sleep(ms(600)).await;
    // So many that the client lets us have more.
    open.drain(..16).for_each(group::SubgroupProducer::fin);
    for data in &mut came[..16] {
        assert_eq!(end_of(data).await, Read::Fin);
    }
    came.drain(..16);
    tokio::time::sleep(ms(100)).await;
    let newest = subgroup(&track, full + 5);
    write(&track, &newest, 0);
    let data = Client::fetched(&mut told).await;
    assert_eq!(group_of(&data), full + 5, "what waited is too old");
}
