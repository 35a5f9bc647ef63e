//! What viewers publish beside what they watch.

use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::time::Instant;

use media::{FrameEvent, Frames};
use moqt::session::Event;
use moqt::{Parameters, Properties, Request, RequestCode, RequestId};
use spine::broadcast::Consumer;
use spine::{Close, Filter, Location, Path, Policy, Start, TrackName};
use tokio::sync::mpsc::UnboundedReceiver;

use super::duties::code;
use super::relay::{give, send};
use super::rig::{Client, Rig, next_object, soon, track, until, with_token};
use crate::link::Told;

const SECRET: [&str; 3] = ["default", "aside", "secret"];

fn published(rig: &Rig) -> Option<Consumer> {
    rig.guests.get(&Path::new(SECRET).unwrap())
}

/// The whole objects of a track, as who reads it gets them.
fn frames(broadcast: &Consumer, name: &'static str) -> Frames {
    let track = broadcast.get(&TrackName::from_static(name)).unwrap();
    let start = Start::At(Location { group: 0, object: 0 });
    Frames::new(track.subscribe(Filter::from(start), Policy::EVERYTHING))
}

async fn object(frames: &mut Frames) -> (u64, Vec<u8>) {
    match soon("an object", poll_fn(|cx| frames.poll(cx, Instant::now()))).await {
        FrameEvent::Frame { group, payload, .. } => {
            (group, payload.into_iter().flat_map(|piece| piece.into_bytes().to_vec()).collect())
        }
        other => panic!("{other:?}"),
    }
}

/// Publishes a track: its request, and what is told of it.
async fn publish(client: &Client, parameters: Parameters) -> (RequestId, UnboundedReceiver<Told>) {
    let (track, properties) = (track(&SECRET, "one"), Properties::empty());
    let request = Request::Publish { track, parameters, properties };
    let (id, answer, told) = client.ask(request).await;
    assert_eq!(code(&answer), None);
    (id, told)
}

/// The server wants no more of it.
async fn cancelled(told: &mut UnboundedReceiver<Told>) {
    while let Some(told) = soon("the end of it", told.recv()).await {
        if matches!(told, Told::Event(Event::Cancelled { .. })) {
            return;
        }
    }
    panic!("it was never said");
}

#[tokio::test]
async fn a_viewers_tracks_reach_who_reads_them_as_they_are_and_nobody_else() {
    let rig = Rig::new();
    let mut client = rig.client("/TOKEN").await;
    let (one, mut told) = publish(&client, Parameters::default()).await;
    let (two, answer) = client.publish(track(&SECRET, "two")).await;
    assert_eq!(code(&answer), None);
    send(&client, one, 4, 0, "any \0 bytes", true).await;
    send(&client, one, 9, 0, "more", true).await;
    send(&client, two, 0, 0, "others", true).await;
    let broadcast = published(&rig).unwrap();
    let mut read = frames(&broadcast, "one");
    assert_eq!(object(&mut read).await, (4, b"any \0 bytes".to_vec()));
    assert_eq!(object(&mut read).await, (9, b"more".to_vec()));
    assert_eq!(object(&mut frames(&broadcast, "two")).await, (0, b"others".to_vec()));
    // Whoever may watch does not get it from the relay.
    let watcher = rig.client("/TOKEN").await;
    let seen = watcher.subscribe(track(&SECRET, "one"), next_object()).await;
    assert_eq!(code(&seen.answer), Some(RequestCode::DoesNotExist));
    // Who announces the namespace is asked for one track.
    assert_eq!(code(&client.publish_namespace(&SECRET).await), None);
    let (three, _) = give(&mut client, Properties::empty()).await;
    send(&client, three, 0, 0, "asked for", true).await;
    let name = TrackName::from_static("said");
    until("the track", || broadcast.get(&name).is_some()).await;
    assert_eq!(object(&mut frames(&broadcast, "said")).await, (0, b"asked for".to_vec()));
    // Who reads has had enough.
    rig.guests.end(&Path::new(SECRET).unwrap(), Close::Ended);
    cancelled(&mut told).await;
    // That is not for ever.
    let (three, answer) = client.publish(track(&SECRET, "three")).await;
    assert_eq!(code(&answer), None);
    send(&client, three, 0, 0, "again", true).await;
    let broadcast = published(&rig).unwrap();
    assert_eq!(object(&mut frames(&broadcast, "three")).await, (0, b"again".to_vec()));
}

#[tokio::test]
async fn d01_only_who_may_watch_publishes_beside_it_and_only_as_long() {
    let rig = Rig::new();
    let closed = track(&["default", "aside", "closed"], "one");
    for (what, path, name, expect) in [
        ("nothing", "/", track(&SECRET, "one"), RequestCode::Unauthorized),
        ("an old token", "/OLD", track(&SECRET, "one"), RequestCode::ExpiredAuthToken),
        ("no place", "/TOKEN", closed, RequestCode::Uninterested),
    ] {
        let (_, answer) = rig.client(path).await.publish(name).await;
        assert_eq!(code(&answer), Some(expect), "{what}");
        assert!(published(&rig).is_none(), "{what}");
    }
    // One refusal does not bar a session.
    let client = rig.client("/TOKEN").await;
    rig.revoked.store(true, Ordering::Relaxed);
    let (_, answer) = client.publish(track(&SECRET, "one")).await;
    assert_eq!(code(&answer), Some(RequestCode::Unauthorized));
    rig.revoked.store(false, Ordering::Relaxed);
    let (_, answer) = client.publish(track(&SECRET, "one")).await;
    assert_eq!(code(&answer), None);
    drop(client);
    until("the end of it", || published(&rig).is_none()).await;
    let client = rig.client("/").await;
    let parameters = Parameters { filter: None, ..with_token("TOKEN") };
    let (id, mut told) = publish(&client, parameters).await;
    send(&client, id, 0, 0, "said", true).await;
    let broadcast = published(&rig).unwrap();
    assert_eq!(object(&mut frames(&broadcast, "one")).await.1, b"said");
    rig.revoked.store(true, Ordering::Relaxed);
    cancelled(&mut told).await;
    until("the end of it", || published(&rig).is_none()).await;
    // Gone with its session, too.
    rig.revoked.store(false, Ordering::Relaxed);
    let client = rig.client("/TOKEN").await;
    assert_eq!(code(&client.publish(track(&SECRET, "one")).await.1), None);
    assert!(published(&rig).is_some());
    drop(client);
    until("the end of it", || published(&rig).is_none()).await;
}
