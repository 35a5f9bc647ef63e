//! Who asks for the past and does not read it: what is live over the same link goes on, and the past of others.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use moqt::{Fetch, GroupOrder, Location, Node, Parameters, Range, Request};
use spine::{Header, Path, TrackInfo, TrackName};
use tokio::sync::mpsc;

use super::duties::{VIDEO, code, group, read_fetch, text};
use super::rig::{Client, Rig, Set, Subscribed, next_object, track, until};
use crate::limits::{FETCH_MAX, UPLINK_FETCHES_MAX};
use crate::link::Told;
use crate::traffic::Role;

const CHAT: TrackName = TrackName::from_static("chat");

/// Objects of the past.
const OBJECT_BYTES: usize = 40 << 10;

/// A group of the past with so many of them.
fn past(video: &spine::track::Producer, id: u64, objects: u64) {
    let now = Instant::now();
    let group = video.group(id, now).unwrap();
    let subgroup = group.subgroup(0, now).unwrap();
    let payload = Bytes::from(vec![b'x'; OBJECT_BYTES]);
    for object in 0..objects {
        let payload = video.budget().payload(payload.clone());
        subgroup.write(Header::new(object, now), vec![payload]).unwrap();
    }
    subgroup.fin();
    group.end(Some(objects - 1), now);
}

/// Asks for a group of it, and reads nothing.
async fn fetch(client: &Client, id: u64) -> mpsc::UnboundedReceiver<Told> {
    let range = Range { start: Location::new(id, 0), end: Location::new(id, Range::WHOLE_GROUP) };
    let fetch = Fetch::Standalone { track: track(&["open", "room"], "video"), range };
    let (_, answer, told) =
        client.ask(Request::Fetch { fetch, parameters: Parameters::default() }).await;
    assert_eq!(code(&answer), None);
    told
}

/// What is live, object by object, until something has come about: before it is given up that the past is read.
async fn goes_on_until(
    live: (&spine::track::Producer, &mut Subscribed),
    mut done: impl FnMut() -> bool,
) {
    let (chat, seen) = live;
    let goes_on = async {
        for id in 0.. {
            group(chat, id, &["live"]);
            assert_eq!(text(&seen.next().await), (id, 0, "live"));
            if done() {
                break;
            }
        }
    };
    let in_time = tokio::time::timeout(FETCH_MAX - Duration::from_secs(10), goes_on).await;
    in_time.expect("what is live stands still");
}

#[tokio::test]
async fn what_nobody_reads_of_the_past_gives_its_place_to_others_and_comes_when_somebody_does() {
    let there = Rig::new();
    let broadcast = there.broadcast(&["open", "room"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let chat = broadcast.track(CHAT, TrackInfo::default()).unwrap();
    // What a viewer's stream takes, what is kept for him here, what is with QUIC, and more.
    let (more, many) = (256, UPLINK_FETCHES_MAX as u64 + 2);
    (0..many).for_each(|id| past(&video, id, more));
    let uplinks = vec![there.uplink()];
    let edge = Rig::configured(Set { node: Node::new(5), uplinks, ..Set::default() });
    let room = Path::new(["open", "room"]).unwrap();
    until("it is here", || edge.origin.get(&room).is_some()).await;
    let watcher = edge.client("/").await;
    let mut seen = watcher.subscribe(track(&["open", "room"], "chat"), next_object()).await;
    assert_eq!(code(&seen.answer), None);
    let newest = watcher.subscribe(track(&["open", "room"], "video"), next_object()).await;
    assert_eq!(code(&newest.answer), None);
    let (mut viewers, mut unread) = (Vec::new(), Vec::new());
    for id in 0..many {
        let viewer = edge.client("/").await;
        unread.push(fetch(&viewer, id).await);
        viewers.push(viewer);
    }
    // All of them had their turn, and none has it any more.
    let open = || {
        let flows = there.counters.traffic.list().into_iter().flat_map(|session| session.flows);
        flows.filter(|flow| flow.role == Role::Fetch).count()
    };
    let asked = || there.counters.fetches.load(Ordering::Relaxed);
    goes_on_until((&chat, &mut seen), || asked() >= many && open() == 0).await;
    // Who reads after all has all of it, in order.
    let came = read_fetch(&mut unread[0], GroupOrder::Ascending).await;
    let payload = "x".repeat(OBJECT_BYTES);
    let all: Vec<String> = (0..more).map(|object| format!("0.{object}{payload}")).collect();
    assert!(came == all.join(" "), "{}", came.len());
}
