//! Who asks for the past and does not read it: what is live over the same link goes on, and the past of others.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use moqt::session::Config;
use moqt::{Fetch, GroupOrder, Location, Node, Parameters, Range, Request, Session, Version};
use spine::{Header, Path, TrackInfo, TrackName};
use testkit::Shape;
use tokio::sync::mpsc;

use super::duties::{VIDEO, code, group, read_fetch, text};
use super::live::mile;
use super::rig::{Client, Rig, Set, Subscribed, next_object, track, until};
use crate::clock;
use crate::limits::{FETCH_MAX, PAST_PER_CONNECTION, UPLINK_FETCHES_MAX};
use crate::link::Told;
use crate::traffic::Role;
use crate::transport::{Congestion, Known, Network, Trust};

const CHAT: TrackName = TrackName::from_static("chat");

/// Objects of the past.
const OBJECT_BYTES: usize = 40 << 10;

/// A group of the past with so many of them.
fn past(video: &spine::track::Producer, id: u64, objects: u64) {
    let now = clock::now();
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

fn group_of_the_past(id: u64) -> Request {
    let range = Range { start: Location::new(id, 0), end: Location::new(id, Range::WHOLE_GROUP) };
    let fetch = Fetch::Standalone { track: track(&["open", "room"], "video"), range };
    Request::Fetch { fetch, parameters: Parameters::default() }
}

/// Asks for a group of it, and reads nothing.
async fn fetch(client: &Client, id: u64) -> mpsc::UnboundedReceiver<Told> {
    let (_, answer, told) = client.ask(group_of_the_past(id)).await;
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

/// A listener that has so many groups of the past, and a live track beside them.
struct Archive {
    rig: Rig,
    network: Network,
    objects: u64,
    many: u64,
    chat: spine::track::Producer,
    _broadcast: (spine::broadcast::Producer, spine::track::Producer),
}

impl Archive {
    fn new(many: u64, objects: u64) -> Self {
        let network = Network::new(7);
        let rig = Rig::over(&network, Congestion::Ours);
        let broadcast = rig.broadcast(&["open", "room"]);
        let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
        let chat = broadcast.track(CHAT, TrackInfo::default()).unwrap();
        (0..many).for_each(|id| past(&video, id, objects));
        Self { rig, network, objects, many, chat, _broadcast: (broadcast, video) }
    }

    /// Asks for all of it, and reads nothing. The answers are under the window of the connection as well.
    fn fetches(&self, client: &Client) -> Vec<mpsc::UnboundedReceiver<Told>> {
        let ask = |id| client.link.request(group_of_the_past(id)).unwrap().1;
        (0..self.many).map(ask).collect()
    }

    async fn comes(&self, id: usize, told: &mut mpsc::UnboundedReceiver<Told>) {
        let came = read_fetch(told, GroupOrder::Ascending).await;
        let payload = "x".repeat(OBJECT_BYTES);
        let all: Vec<String> =
            (0..self.objects).map(|object| format!("{id}.{object}{payload}")).collect();
        assert!(came == all.join(" "), "{id}: {}", came.len());
    }

    async fn come_at_once(&self, asked: &mut [mpsc::UnboundedReceiver<Told>]) {
        let reads = asked.iter_mut().enumerate().map(|(id, told)| self.comes(id, told));
        futures_util::future::join_all(reads).await;
    }
}

/// The last of them begins when it has got nothing for more than twice [`FETCH_MAX`].
#[tokio::test(start_paused = true)]
async fn fetches_that_wait_behind_others_on_a_narrow_path_all_come_whole() {
    let archive = Archive::new(PAST_PER_CONNECTION as u64, 9);
    let client = archive.rig.client_over(&archive.network, mile(1, 1 << 20)).await;
    let mut asked = archive.fetches(&client);
    let start = clock::now();
    tokio::time::sleep(FETCH_MAX / 2).await;
    archive.come_at_once(&mut asked).await;
    assert!(clock::now() > start + 2 * FETCH_MAX, "{:?}", clock::now() - start);
}

/// Seven of them fill the window of their connection, and more than 16 have numbers twice.
#[tokio::test(start_paused = true)]
async fn fetches_that_are_left_unread_and_then_read_one_after_the_other_all_come_whole() {
    let archive = Archive::new(PAST_PER_CONNECTION as u64, 36);
    let client = archive.rig.client_over(&archive.network, Shape::default()).await;
    let mut asked = archive.fetches(&client);
    tokio::time::sleep(FETCH_MAX / 2).await;
    for (id, told) in asked.iter_mut().enumerate() {
        archive.comes(id, told).await;
    }
}

/// It is the window of the connection in which what is live has its place: here it has room for all of them.
#[tokio::test(start_paused = true)]
async fn what_is_live_goes_on_beside_unread_fetches_that_the_window_has_room_for() {
    let archive = Archive::new(PAST_PER_CONNECTION as u64, 36);
    let endpoint = archive.network.client(Shape::default()).unwrap();
    let to = archive.rig.endpoint.local_address().unwrap();
    let (trust, version) = (Trust::Fingerprint(archive.rig.hash), Version::Draft18);
    let (with, known) = ((trust, &[version.alpn()][..]), Known::default());
    let connected = endpoint.connect_up(to, "localhost", with, (&known, false)).await.unwrap();
    let config = Config { path: "/".to_owned(), authority: to.to_string(), ..Config::new(version) };
    let client = Client::drive(endpoint, connected, Session::client(clock::now(), config));
    let mut seen = client.subscribe(track(&["open", "room"], "chat"), next_object()).await;
    assert_eq!(code(&seen.answer), None);
    let mut unread = archive.fetches(&client);
    tokio::time::sleep(FETCH_MAX / 2).await;
    let mut more = 0..1_000;
    goes_on_until((&archive.chat, &mut seen), || more.next().is_none()).await;
    archive.come_at_once(&mut unread).await;
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
