//! What comes of a track that was offered (a PUBLISH of ours), and from where on.

use std::time::Instant;

use bytes::Bytes;
use moqt::session::{Command, DataHeader};
use moqt::{
    Answer, Fetch, Filter, GroupOrder, JoiningStart, Location, Parameters, Properties, Request,
    Version,
};
use spine::{Header, TrackInfo, group::SubgroupProducer, track};
use tokio::sync::mpsc::UnboundedReceiver;

use super::duties::{VIDEO, code, group, read_fetch, read_past, text};
use super::offers::{offered, subscribe_tracks, update};
use super::rig::{Rig, soon, track as name};
use crate::link::{DataStream, Told};

fn taken(forward: Option<bool>) -> Answer {
    let parameters = Parameters { forward, ..Parameters::default() };
    Answer::Ok { parameters, properties: Properties::empty() }
}

/// In drafts whose PUBLISH_OK can say it. In the others what SUBSCRIBE_TRACKS says stays.
#[tokio::test]
async fn draft16_s9_2_2_8_draft18_s10_2_12_an_ok_of_a_publish_without_forward_means_that_it_does() {
    for version in Version::ALL.iter().copied() {
        for (said, comes) in [(None, !version.fills()), (Some(true), true), (Some(false), false)] {
            if version.fills() && said.is_some() {
                continue;
            }
            let rig = Rig::new();
            let broadcast = rig.broadcast(&["default", "one"]);
            let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
            let mut client = rig.client_of(version).await;
            let paused = Parameters { forward: Some(false), ..Parameters::default() };
            let _asked = subscribe_tracks(&client, &["default"], paused).await;
            let (id, _, publish) = offered(&mut client).await;
            assert_eq!(publish.forward, Some(false), "{version:?}");
            let told = client.link.own(id);
            client.command(Command::Answer { id, answer: taken(said) });
            group(&video, 0, &["one"]);
            if comes {
                let mut seen = client.follow(id, Answer::ok(), told);
                assert_eq!(text(&seen.next().await), (0, 0, "one"), "{version:?} {said:?}");
                continue;
            }
            // Not before it is wanted.
            let mut asked = (id, told);
            let on = Parameters { forward: Some(true), ..Parameters::default() };
            update(&client, &mut asked, on).await;
            group(&video, 1, &["two"]);
            let mut seen = client.follow(id, Answer::ok(), asked.1);
            assert_eq!(text(&seen.next().await), (1, 0, "two"), "{version:?} {said:?}");
        }
    }
}

/// Begins group 7 with two objects.
fn begun(video: &track::Producer) -> SubgroupProducer {
    let now = Instant::now();
    let subgroup = video.group(7, now).unwrap().subgroup(0, now).unwrap();
    write(video, &subgroup, 0, "a");
    write(video, &subgroup, 1, "b");
    subgroup
}

fn write(video: &track::Producer, subgroup: &SubgroupProducer, id: u64, text: &'static str) {
    let payload = video.budget().payload(Bytes::from_static(text.as_bytes()));
    subgroup.write(Header::new(id, Instant::now()), vec![payload]).unwrap();
}

/// The stream of the past, before which nothing else comes.
async fn filled(told: &mut UnboundedReceiver<Told>) -> DataStream {
    loop {
        if let Some(Told::Data(data)) = soon("the past", told.recv()).await {
            assert!(matches!(data.header, DataHeader::Fetch(_)), "{:?}", data.header);
            return data;
        }
    }
}

fn fill() -> Parameters {
    let fill = Parameters { filter: Some(Filter::Recent(1)), ..Parameters::default() };
    Parameters { fill: Some(Box::new(fill)), ..Parameters::default() }
}

/// draft-21 §9.8: with the next object. What was there is told of, and comes to who asks for it, once.
#[tokio::test]
async fn draft18_s10_12_2_1_draft21_s9_8_d06_no_object_of_an_offered_track_comes_twice() {
    for version in Version::ALL.iter().copied() {
        let rig = Rig::new();
        let broadcast = rig.broadcast(&["default", "one"]);
        let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
        let subgroup = begun(&video);
        let mut client = rig.client_of(version).await;
        let wishes = if version.fills() { fill() } else { Parameters::default() };
        let _asked = subscribe_tracks(&client, &["default"], wishes).await;
        let (id, _, publish) = offered(&mut client).await;
        assert_eq!(publish.largest, Some(Location::new(7, 1)), "{version:?}");
        let mut told = client.link.own(id);
        client.command(Command::Answer { id, answer: Answer::ok() });
        if version.fills() {
            let past = read_past(filled(&mut told).await, GroupOrder::Ascending).await;
            assert_eq!(past, "7.0a 7.1b", "{version:?}");
        } else if version != Version::Draft16 {
            // There only a filter that says so can be joined.
            let fetch = Fetch::Joining { subscription: id, start: JoiningStart::Relative(0) };
            let fetch = Request::Fetch { fetch, parameters: Parameters::default() };
            let (_, answer, mut fetched) = client.ask(fetch).await;
            assert_eq!(code(&answer), None, "{version:?}");
            let past = read_fetch(&mut fetched, GroupOrder::Ascending).await;
            assert_eq!(past, "7.0a 7.1b", "{version:?}");
        }
        write(&video, &subgroup, 2, "c");
        let mut seen = client.follow(id, Answer::ok(), told);
        assert_eq!(text(&seen.next().await), (7, 2, "c"), "{version:?}");
    }
}

/// The same of who subscribes without a filter, and has the past filled.
#[tokio::test]
async fn draft21_s3_4_d24_a_subscription_without_a_filter_begins_where_its_fill_ends() {
    for version in Version::ALL.iter().copied().filter(|version| version.fills()) {
        let rig = Rig::new();
        let broadcast = rig.broadcast(&["default", "one"]);
        let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
        let subgroup = begun(&video);
        let client = rig.client_of(version).await;
        let track = name(&["default", "one"], "video");
        let request = Request::Subscribe { track, parameters: fill() };
        let (id, mut told) = client.link.request(request).unwrap();
        let past = read_past(filled(&mut told).await, GroupOrder::Ascending).await;
        assert_eq!(past, "7.0a 7.1b", "{version:?}");
        write(&video, &subgroup, 2, "c");
        let mut seen = client.follow(id, Answer::ok(), told);
        assert_eq!(text(&seen.next().await), (7, 2, "c"), "{version:?}");
    }
}
