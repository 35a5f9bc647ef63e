//! Chats as those who take part see them.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use control::{
    ChatPage, Claim, ClaimMode, Control, InputSettings, InputUid, KEY_RANDOM_BYTES, MasterKey,
    NodeId, SessionId, VideoUid,
};
use media::{FrameEvent, Frames};
use serde_json::{Value, json};
use spine::broadcast::{Consumer, Producer};
use spine::{
    Close, Filter, Header, Limits, Location, Origin, Path, Policy, Route, Start, Takeover,
    TrackInfo, TrackName, Waiting, track,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::limits::{
    GROUP_MESSAGES, GUEST_BYTES, GUEST_SILENCE, GUEST_TRACKS, GUESTS_PER_ADDRESS,
    MESSAGE_BYTES_MAX, REFUSED_WAIT, SHOWN,
};
use crate::{Refused, Room, Rooms, Sender, TRACK};

/// An input on the air, with its chat.
struct Studio {
    rooms: Arc<Rooms>,
    control: Arc<Control>,
    input: InputUid,
    video: VideoUid,
    _dir: TempDir,
}

/// One term of its broadcast.
struct OnAir {
    broadcast: Producer,
    consumer: Consumer,
    running: JoinHandle<()>,
}

const NOW: u64 = 1_763_812_800_000;

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(Duration::from_secs(60), future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come"),
    }
}

impl Studio {
    async fn new(allowed: bool) -> Self {
        let dir = TempDir::new().unwrap();
        let master = MasterKey::new(&[7; 32]);
        let control = Arc::new(Control::open(&dir.path().join("control.db"), master).unwrap());
        let (input, video) = (InputUid::from_random([1; 15]), VideoUid::from_random([2; 16]));
        let mut settings = InputSettings::default();
        settings.recording.allow_chat = allowed;
        let random = std::array::from_fn::<u8, KEY_RANDOM_BYTES, _>(|i| i as u8);
        control.create_input(input.clone(), settings, random, NOW).await.unwrap();
        let claim = Claim {
            input: input.clone(),
            node: NodeId::parse("here").unwrap(),
            session: SessionId::parse("one").unwrap(),
            mode: ClaimMode::IfFree,
            now_ms: NOW,
            resume_within_ms: 15_000,
            new_video: video.clone(),
        };
        control.claim(claim).await.unwrap();
        let rooms = Arc::new(Rooms::new(control.clone()));
        Self { rooms, control, input, video, _dir: dir }
    }

    /// Goes on the air; the chat is there when this returns.
    async fn go_live(&self, recorded: bool) -> OnAir {
        let path = Path::new(["default".to_owned(), self.input.to_string()]).unwrap();
        let route = Route::local(spine::NodeId(0), 0);
        let origin = Origin::new(Limits::default());
        let broadcast = origin.publish(&path, route, Takeover::Refuse).unwrap();
        let consumer = broadcast.consume();
        let (rooms, on) = (self.rooms.clone(), consumer.clone());
        let (input, video) = (self.input.clone(), self.video.clone());
        let running = tokio::spawn(async move { rooms.run(&input, &video, recorded, on).await });
        OnAir { broadcast, consumer, running }
    }

    fn room(&self) -> Arc<Room> {
        self.rooms.find(self.input.as_str()).unwrap()
    }

    fn say(&self, address: [u8; 4], text: &str, now_ms: u64) -> Result<u64, Refused> {
        let sender = Sender { address: IpAddr::from(address), who: "a browser".to_owned() };
        self.rooms.say(&self.room(), &sender, &message("Bob", text), now_ms)
    }

    async fn kept(&self) -> Vec<(u64, String)> {
        let all = self.control.chat(&self.video, ChatPage::After(0), 200).await.unwrap();
        all.into_iter().map(|said| (said.id, said.text)).collect()
    }
}

impl OnAir {
    async fn read(&self) -> Reader {
        let (mut seen, mut changed) = (u64::MAX, Waiting::new());
        let begun = async {
            loop {
                seen = poll_fn(|cx| self.consumer.poll_changed(seen, &mut changed, cx)).await;
                if let Some(track) = self.consumer.get(&TRACK) {
                    return track;
                }
            }
        };
        let track = soon("the chat", begun).await;
        let cursor = track.subscribe(Filter::from(Start::NewestGroup), Policy::EVERYTHING);
        Reader { frames: Frames::new(cursor), track }
    }

    /// The broadcast ends, and its chat with it.
    async fn end(self) {
        self.broadcast.end(Close::Ended);
        soon("the end of the chat", self.running).await.unwrap();
    }
}

/// A viewer who reads the track.
struct Reader {
    frames: Frames,
    track: track::Consumer,
}

impl Reader {
    /// The next object: its group, its id, and what it says.
    async fn next(&mut self) -> (u64, u64, Value) {
        loop {
            let next = poll_fn(|cx| self.frames.poll(cx, Instant::now()));
            match soon("an object of the chat", next).await {
                FrameEvent::Frame { group, header, payload } => {
                    let bytes: Vec<u8> =
                        payload.into_iter().flat_map(|piece| piece.into_bytes().to_vec()).collect();
                    return (group, header.id, serde_json::from_slice(&bytes).unwrap());
                }
                // Of a group that is forgotten; the next one says everything anew.
                FrameEvent::Lost => {}
                FrameEvent::End(why) => panic!("{why}"),
            }
        }
    }

    /// What is said anew, once it is this open.
    async fn everything(&mut self, open: bool) -> (u64, Vec<u64>) {
        loop {
            let (group, id, value) = self.next().await;
            if id == 0 && value["open"] == open {
                return (group, ids(&value["messages"]));
            }
        }
    }
}

fn ids(messages: &Value) -> Vec<u64> {
    messages.as_array().unwrap().iter().map(|said| said["id"].as_u64().unwrap()).collect()
}

fn message(name: &str, text: &str) -> Vec<u8> {
    json!({ "name": name, "text": text }).to_string().into_bytes()
}

/// An object in a group of its own.
fn write(track: &track::Producer, group: u64, bytes: Vec<u8>) {
    let now = Instant::now();
    let Ok(group) = track.group(group, now) else { return };
    let Ok(subgroup) = group.subgroup(0, now) else { return };
    let _ = subgroup.write(Header::new(0, now), vec![track.budget().payload(bytes)]);
    subgroup.fin();
    group.end(Some(0), now);
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

#[tokio::test]
async fn two_who_chat_a_late_one_a_deletion_and_the_replay() {
    let studio = Studio::new(true).await;
    let on_air = studio.go_live(true).await;
    let mut ann = on_air.read().await;
    let (first, shown) = ann.everything(true).await;
    assert_eq!(shown, [0; 0]);

    // One publishes a track, the other sends a request.
    let guest = studio.rooms.guest(studio.input.as_str(), address(1)).unwrap();
    let messages = guest.track(TrackName::from_static("any"), TrackInfo::default()).unwrap();
    write(&messages, 7, message("Ann", "<b>hello</b>"));
    let (_, _, said) = ann.next().await;
    assert_eq!(
        (&said["id"], &said["name"], &said["text"]),
        (&json!(1), &json!("Ann"), &json!("<b>hello</b>"))
    );
    assert_eq!(studio.say([192, 0, 2, 2], "rude", NOW), Ok(2));
    let (group, id, said) = ann.next().await;
    assert_eq!((group, id, &said["text"]), (first, 2, &json!("rude")));

    // Who comes late sees what was said: all in one group.
    let mut late = on_air.read().await;
    assert_eq!(late.everything(true).await, (first, vec![]));
    assert_eq!([late.next().await.2["id"].clone(), late.next().await.2["id"].clone()], [1, 2]);

    assert_eq!(studio.rooms.delete(&studio.video, Some(2)).await, Ok(true));
    assert_eq!(studio.rooms.delete(&studio.video, Some(2)).await, Ok(false));
    for reader in [&mut ann, &mut late] {
        assert_eq!(reader.everything(true).await, (first + 1, vec![1]));
        // Not to be had any more, whoever asks.
        assert_eq!(reader.track.oldest_group(), Some(first + 1));
        let deleted = reader.track.object(Location { group: first, object: 2 });
        assert!(deleted.is_err());
    }
    let (json, _) = studio.room().shown();
    assert!(!String::from_utf8(json).unwrap().contains("rude"));

    on_air.end().await;
    assert!(studio.rooms.find(studio.input.as_str()).is_none());
    assert!(guest.closed().is_some(), "who still publishes is told");
    assert_eq!(studio.kept().await, [(1, "<b>hello</b>".to_owned())]);
    // Deleted when it is over.
    assert_eq!(studio.rooms.delete(&studio.video, Some(1)).await, Ok(true));
    assert_eq!(studio.kept().await, []);
}

#[tokio::test]
async fn a_chat_goes_on_after_a_restart_and_no_number_is_used_again() {
    let studio = Studio::new(true).await;
    let on_air = studio.go_live(true).await;
    let mut reader = on_air.read().await;
    let (group, _) = reader.everything(true).await;
    for (n, text) in [(1, "one"), (2, "two"), (3, "three")] {
        assert_eq!(studio.say([192, 0, 2, n], text, NOW), Ok(n.into()));
    }
    assert_eq!(studio.rooms.delete(&studio.video, Some(3)).await, Ok(true));
    on_air.end().await;
    let on_air = studio.go_live(true).await;
    let mut reader = on_air.read().await;
    let (later, shown) = reader.everything(true).await;
    assert_eq!(shown, [1, 2]);
    assert!(later > group, "a relay may still have the groups of before");
    // The clock went back.
    assert_eq!(studio.say([192, 0, 2, 9], "four", NOW - 9_000), Ok(4));
    assert_eq!(reader.next().await.2["at"], json!(NOW));
    on_air.end().await;
    assert_eq!(studio.kept().await.len(), 3);
}

#[tokio::test]
async fn it_is_the_owner_who_opens_it() {
    let studio = Studio::new(false).await;
    let on_air = studio.go_live(false).await;
    let mut reader = on_air.read().await;
    assert_eq!(reader.everything(false).await.1, [0; 0]);
    let nobody = studio.rooms.guest("nobody", address(1));
    assert_eq!(nobody.err(), Some(Refused::Closed));
    studio.rooms.switch(&studio.input, true);
    assert_eq!(reader.everything(true).await.1, [0; 0]);
    let guest = studio.rooms.guest(studio.input.as_str(), address(1)).unwrap();
    let messages = guest.track(TrackName::from_static("any"), TrackInfo::default()).unwrap();
    write(&messages, 0, message("Ann", "one"));
    assert_eq!(reader.next().await.2["text"], "one");
    studio.rooms.switch(&studio.input, false);
    assert_eq!(reader.everything(false).await.1, [0; 0]);
    assert_eq!(studio.say([192, 0, 2, 1], "two", NOW), Err(Refused::Closed));
    let refused = studio.rooms.guest(studio.input.as_str(), address(2));
    assert_eq!(refused.err(), Some(Refused::Closed));
    // What was said is still there.
    studio.rooms.switch(&studio.input, true);
    assert_eq!(reader.everything(true).await.1, [1]);
    // Of a broadcast that is not recorded nothing is kept, but its owner sees what is shown.
    let shown = studio.rooms.messages(&studio.video, ChatPage::Before(9)).await.unwrap();
    assert_eq!(shown.len(), 1);
    assert_eq!(studio.rooms.delete(&studio.video, None).await, Ok(true));
    assert_eq!(reader.everything(true).await.1, [0; 0]);
    on_air.end().await;
    assert_eq!(studio.kept().await, []);
}

#[tokio::test]
async fn too_much_is_refused_of_a_viewer_of_an_address_and_of_all() {
    let studio = Studio::new(true).await;
    let on_air = studio.go_live(false).await;
    on_air.read().await.everything(true).await;
    let room = studio.room();
    let say = |address: [u8; 4], who: usize, now_ms: u64| {
        let sender = Sender { address: address.into(), who: format!("browser {who}") };
        studio.rooms.say(&room, &sender, &message("Ann", "hello"), now_ms)
    };
    let taken = |results: Vec<Result<u64, Refused>>| results.iter().filter(|r| r.is_ok()).count();
    // One viewer; a moment later he may say one more thing.
    assert_eq!(taken((0..9).map(|_| say([10, 0, 0, 1], 0, NOW)).collect()), 5);
    assert_eq!(say([10, 0, 0, 1], 0, NOW), Err(Refused::TooOften(2)));
    assert!(say([10, 0, 0, 1], 0, NOW + 2_000).is_ok());
    // One address with many browsers.
    assert_eq!(taken((0..99).map(|who| say([10, 0, 0, 2], who, NOW)).collect()), 30);
    // Many addresses.
    assert!(taken((0..200).map(|last| say([10, 1, 0, last], 0, NOW)).collect()) < 60);
    on_air.end().await;
}

#[tokio::test]
async fn memory_holds_one_group_and_who_comes_sees_the_newest() {
    let studio = Studio::new(true).await;
    let on_air = studio.go_live(false).await;
    let mut reader = on_air.read().await;
    let (first, _) = reader.everything(true).await;
    let many = SHOWN as u64 + 20;
    for n in 1..=many {
        let address = [10, 0, (n / 200) as u8, (n % 200) as u8];
        assert_eq!(studio.say(address, "hello", NOW + n * 1_000), Ok(n));
    }
    let mut late = on_air.read().await;
    let (group, mut shown) = late.everything(true).await;
    assert_eq!(group, first + many / (GROUP_MESSAGES + 1));
    assert_eq!(late.track.oldest_group(), Some(group));
    while shown.last() != Some(&many) {
        shown.push(late.next().await.2["id"].as_u64().unwrap());
    }
    let newest: Vec<u64> = (many - SHOWN as u64 + 1..=many).collect();
    assert!(shown.ends_with(&newest), "{shown:?}");
    on_air.end().await;
}

#[tokio::test]
async fn a_guest_who_floods_costs_a_bound_and_no_neighbour() {
    let studio = Studio::new(true).await;
    let on_air = studio.go_live(false).await;
    let mut reader = on_air.read().await;
    reader.everything(true).await;
    let flood = studio.rooms.guest(studio.input.as_str(), address(1)).unwrap();
    let track =
        |n: usize| flood.track(TrackName::new(format!("{n}")).unwrap(), TrackInfo::default());
    let tracks: Vec<_> = (0..GUEST_TRACKS + 3).filter_map(|n| track(n).ok()).collect();
    assert_eq!(tracks.len(), GUEST_TRACKS);
    for group in 0..20_000 {
        let bytes =
            if group % 3 == 0 { vec![b'x'; MESSAGE_BYTES_MAX + 1] } else { vec![b'['; 900] };
        write(&tracks[0], group, bytes);
        let budget = flood.budget();
        assert!(budget.used() < 2 * GUEST_BYTES, "{}", budget.used());
    }
    // A stream that never ends.
    let endless = tracks[1].group(0, Instant::now()).unwrap();
    let endless = endless.subgroup(0, Instant::now()).unwrap();
    let begun = endless.begin(Header::new(0, Instant::now()), Some(100)).unwrap();
    let guest = studio.rooms.guest(studio.input.as_str(), address(2)).unwrap();
    let messages = guest.track(TrackName::from_static("any"), TrackInfo::default()).unwrap();
    write(&messages, 0, message("Bob", "I am still heard"));
    let (_, _, said) = reader.next().await;
    assert_eq!((&said["id"], &said["text"]), (&json!(1), &json!("I am still heard")));
    assert_eq!(studio.rooms.guests(), 2);
    drop((begun, endless, tracks, messages, flood, guest));
    on_air.end().await;
    assert_eq!(studio.rooms.guests(), 0);
}

#[tokio::test]
async fn what_is_not_shown_any_more_can_still_be_taken_away() {
    let studio = Studio::new(true).await;
    let on_air = studio.go_live(false).await;
    on_air.read().await.everything(true).await;
    for n in 1..=SHOWN as u64 + 20 {
        assert_eq!(studio.say([10, 0, 0, n as u8], "hello", NOW + n * 1_000), Ok(n));
    }
    // On no screen of who reads the newest, but at the start of the group that they get.
    assert_eq!(on_air.read().await.everything(true).await.1[..3], [3, 4, 5]);
    assert_eq!(studio.rooms.delete(&studio.video, Some(5)).await, Ok(true));
    let (_, shown) = on_air.read().await.everything(true).await;
    assert_eq!((shown.len(), shown[0]), (SHOWN, 21));
    // Gone for everybody.
    assert_eq!(studio.rooms.delete(&studio.video, Some(5)).await, Ok(false));
    on_air.end().await;
}

/// What runs beside a chat in one task runs on, however much a guest sends.
#[tokio::test]
async fn a_guest_who_streams_does_not_hold_up_who_is_beside_him() {
    let studio = Studio::new(true).await;
    let on_air = studio.go_live(false).await;
    on_air.read().await.everything(true).await;
    let guest = studio.rooms.guest(studio.input.as_str(), address(1)).unwrap();
    let messages = guest.track(TrackName::from_static("any"), TrackInfo::default()).unwrap();
    tokio::time::pause();
    let refused = || studio.rooms.counters().refused.load(std::sync::atomic::Ordering::Relaxed);
    for round in 1..4 {
        // More than is taken: the first one that is refused makes the others wait.
        (0..100).for_each(|n| write(&messages, round * 100 + n, b"[".to_vec()));
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(refused(), round);
        tokio::time::advance(REFUSED_WAIT * 2).await;
    }
    on_air.end().await;
}

#[tokio::test]
async fn an_address_has_some_places_and_who_is_silent_loses_his() {
    let studio = Studio::new(true).await;
    let on_air = studio.go_live(false).await;
    on_air.read().await.everything(true).await;
    let take = |last| studio.rooms.guest(studio.input.as_str(), address(last));
    let crowd: Vec<_> = (0..GUESTS_PER_ADDRESS + 3).filter_map(|_| take(1).ok()).collect();
    assert_eq!(crowd.len(), GUESTS_PER_ADDRESS);
    let other = take(2).unwrap();
    let messages = other.track(TrackName::from_static("any"), TrackInfo::default()).unwrap();
    let settle = async || {
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
    };
    settle().await;
    assert_eq!(studio.rooms.guests(), GUESTS_PER_ADDRESS + 1);
    tokio::time::pause();
    tokio::time::advance(GUEST_SILENCE / 2).await;
    write(&messages, 0, message("Ann", "still here"));
    settle().await;
    tokio::time::advance(GUEST_SILENCE / 2 + Duration::from_secs(1)).await;
    settle().await;
    assert_eq!(studio.rooms.guests(), 1);
    assert!(crowd.iter().all(|guest| guest.closed().is_some()), "who is silent is told");
    assert!(other.closed().is_none());
    assert!(take(1).is_ok(), "and may come again");
    on_air.end().await;
}
