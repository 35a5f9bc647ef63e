//! Recorder and history against a real index and store.

mod outage;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use control::{
    Claim, ClaimMode, Claimed, Control, DocumentError, End, Expect, InputSettings, InputUid,
    MasterKey, NodeId, Owned, Page, SegmentRecord, SessionId, VideoFilter, VideoUid,
};
use package::hls::{MediaOptions, Reach, render_media};
use package::properties::{Part, Segment, encode};
use package::{CATALOG, INIT, Index};
use spine::broadcast::Producer;
use spine::{
    Close, Header, Limits, Location, Origin, Route, Takeover, TrackInfo, TrackName, track,
};
use store::Store;
use tokio::sync::watch;

use crate::limits::{BACKLOG_BYTES, LATE, LATE_START, NODE_BACKLOG_BYTES, UNKNOWN};
use crate::{
    Backlog, DeleteError, File, History, Outcome, Pass, Recorder, Retention, Setup, Status,
};

const NOW: u64 = 1_763_812_800_000;
const INIT_ID: u64 = 0x1f;
const PARTS: u64 = 3;

/// Parts by track, segment and place.
type Media = BTreeMap<(&'static str, u64, u64), Vec<u8>>;

fn random() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

struct Node {
    control: Arc<Control>,
    store: Arc<Store>,
    history: History,
    folder: tempfile::TempDir,
}

impl Node {
    fn open(folder: tempfile::TempDir) -> Self {
        let path = folder.path().join("db");
        let control = Arc::new(Control::open(&path, MasterKey::new(&[7; 32])).unwrap());
        let store = Arc::new(Store::open(&media(folder.path())).unwrap());
        let history = History::new(control.clone(), store.clone());
        Self { control, store, history, folder }
    }

    async fn new() -> Self {
        let node = Self::open(tempfile::tempdir().unwrap());
        let settings =
            InputSettings { delete_recording_after_days: Some(30), ..InputSettings::default() };
        node.control
            .create_input(input(), settings, std::array::from_fn(|i| i as u8), NOW)
            .await
            .unwrap();
        node
    }

    /// As after a kill -9 and a new start.
    async fn again(self) -> Self {
        let Self { control, store, history, folder } = self;
        drop((control, store, history));
        let node = Self::open(folder);
        node.control.park_all(&node_id(), NOW, Duration::from_secs(2)).await.unwrap();
        node
    }

    async fn claim(&self, session: u8) -> Claimed {
        let claim = Claim {
            input: input(),
            node: node_id(),
            session: SessionId::parse(&session.to_string()).unwrap(),
            mode: ClaimMode::TakeOver,
            now_ms: NOW,
            resume_within_ms: 15_000,
            new_video: VideoUid::from_random([session; 16]),
        };
        self.control.claim(claim).await.unwrap()
    }

    async fn records(&self, video: &VideoUid) -> Vec<SegmentRecord> {
        let read = async |page: &control::PageRef| {
            self.store.read(&store::Key::parse(&page.object).unwrap()).await
        };
        self.control.committed(video, 0..1 << 40, read).await.unwrap()
    }

    fn media(&self) -> std::path::PathBuf {
        media(self.folder.path())
    }
}

fn media(folder: &Path) -> std::path::PathBuf {
    folder.join("media")
}

fn input() -> InputUid {
    InputUid::from_random([1; 15])
}

fn node_id() -> NodeId {
    NodeId::parse("local").unwrap()
}

/// A broadcast of packaged tracks, and the index that a live node makes of it.
struct Live {
    producer: Producer,
    tracks: BTreeMap<&'static str, track::Producer>,
    open: BTreeMap<&'static str, (spine::group::Producer, spine::group::SubgroupProducer)>,
    index: Index,
    epoch: u64,
    init: u64,
    media: Media,
    /// Its last producers: `init` and `catalog` last as long as packaging.
    packaging: Vec<track::Producer>,
    _origin: Origin,
}

impl Live {
    fn new(epoch: u64) -> Self {
        let origin = Origin::new(Limits::default());
        let path = spine::Path::new(["default".to_owned(), "x".to_owned()]).unwrap();
        let route = Route::local(spine::NodeId(0), epoch);
        let producer = origin.publish(&path, route, Takeover::Replace).unwrap();
        let mut live = Self {
            producer,
            tracks: BTreeMap::new(),
            open: BTreeMap::new(),
            index: Index::new(),
            epoch,
            init: INIT_ID,
            media: BTreeMap::new(),
            packaging: Vec::new(),
            _origin: origin,
        };
        live.alone(INIT, INIT_ID, b"the initialisation segment");
        live.alone(CATALOG, 0, b"{\"version\":\"draft-01\"}");
        live
    }

    fn alone(&mut self, name: TrackName, group: u64, bytes: &'static [u8]) {
        let info = TrackInfo { pinned: true, ..TrackInfo::default() };
        let track = self.producer.consume().derive(name, info).unwrap();
        write_alone(&track, group, bytes);
        self.packaging.push(track);
    }

    /// All tracks have another configuration from now on.
    fn change(&mut self, init: u64) {
        self.init = init;
        let track = self.packaging.iter().find(|track| *track.name() == INIT);
        write_alone(track.unwrap(), init, b"another initialisation segment");
    }

    /// One part of segment `number`; the last one ends it.
    fn part(&mut self, name: &'static str, number: u64, object: u64, discontinuities: u64) {
        let now = Instant::now();
        let last = object + 1 == PARTS;
        let duration = if last { 60_001 } else { 60_000 };
        let part = Part {
            duration,
            independent: object == 0,
            last,
            closes: last && number == 2,
            target_ms: 667,
            target_duration: (number > 1).then_some(2),
            open: false,
            key_bytes: (object == 0).then_some(3),
        };
        let segment = Segment {
            timescale: 90_000,
            epoch: self.epoch,
            wall_clock_ms: NOW + number * 2_000,
            start: number * 180_001,
            discontinuity: discontinuities > 0 && !self.open_since(name),
            discontinuity_sequence: discontinuities,
            gap: false,
            init: self.init,
        };
        let properties = encode(&part, (object == 0).then_some(&segment));
        let bytes = format!("{name} {number}.{object} ").repeat(100).into_bytes();
        let producer = self.tracks.entry(name).or_insert_with(|| {
            let cmaf = TrackName::new(name).unwrap();
            self.producer.consume().derive(cmaf, TrackInfo::default()).unwrap()
        });
        if object == 0 {
            let group = producer.group(number, now).unwrap();
            let subgroup = group.subgroup(0, now).unwrap();
            self.open.insert(name, (group, subgroup));
        }
        let (group, subgroup) = &self.open[name];
        let payload = producer.budget().payload(bytes.clone());
        let header = Header { properties: properties.clone(), ..Header::new(object, now) };
        subgroup.write(header, vec![payload.slice(..7), payload.slice(7..)]).unwrap();
        let at = Location { group: number, object };
        self.index.apply(name, at, &properties, bytes.len() as u64).unwrap();
        self.media.insert((name, number, object), bytes);
        if last {
            group.end(Some(object), now);
            self.open.remove(name).unwrap().1.fin();
        }
    }

    /// An encoder says that it has such a track, and sends nothing of it yet.
    fn announce(&mut self, name: &'static str) {
        let name = TrackName::new(name).unwrap();
        self.packaging.push(self.producer.track(name, TrackInfo::default()).unwrap());
    }

    fn open_since(&self, name: &str) -> bool {
        self.index.rendition(name).is_some_and(|r| !r.segments.is_empty())
    }

    fn segment(&mut self, name: &'static str, number: u64) {
        (0..PARTS).for_each(|object| self.part(name, number, object, 0));
    }

    fn both(&mut self, number: u64) {
        self.segment("video.cmaf", number);
        self.segment("audio.cmaf", number);
    }

    /// Ends the broadcast; answers the index and the media that were live.
    fn end(mut self) -> (Index, Media) {
        self.open.clear();
        self.producer.end(Close::Ended);
        self.packaging.clear();
        for (_, track) in std::mem::take(&mut self.tracks) {
            track.end(Close::Ended);
        }
        self.index.end();
        (self.index, self.media)
    }
}

/// An object by itself.
fn write_alone(track: &track::Producer, group: u64, bytes: &'static [u8]) {
    let now = Instant::now();
    let group = track.group(group, now).unwrap();
    let subgroup = group.subgroup(0, now).unwrap();
    let payload = track.budget().payload(Bytes::from_static(bytes));
    subgroup.write(Header::new(0, now), vec![payload]).unwrap();
    subgroup.fin();
    group.end(Some(0), now);
}

fn playlists(index: &Index) -> Vec<Option<String>> {
    let forms = [(true, false), (false, false), (true, true), (false, true)];
    let render = |name: &str, (low_latency, everything): (bool, bool)| {
        let options = MediaOptions { low_latency, reach: Reach::of(everything), skip: false };
        render_media(index, name, "../media/V", options)
    };
    let names = ["video.cmaf", "audio.cmaf"];
    names.iter().flat_map(|name| forms.map(|form| render(name, form))).collect()
}

struct Bounds {
    backlog_bytes: usize,
    patience: Duration,
}

const WIDE: Bounds = Bounds { backlog_bytes: BACKLOG_BYTES, patience: Duration::from_secs(60) };

struct Running {
    task: tokio::task::JoinHandle<Outcome>,
    status: Arc<Status>,
    owner: watch::Sender<Owned>,
}

fn record(node: &Node, live: &Live, claimed: &Claimed, bounds: &Bounds) -> Running {
    let (owner, owned) = watch::channel(claimed.owned.clone());
    let recorder = Recorder::new(Setup {
        control: node.control.clone(),
        store: node.store.clone(),
        broadcast: live.producer.consume(),
        owner: owned,
        gap: claimed.gap.clone(),
        first: claimed.first_segment,
        backlog: Backlog::new(NODE_BACKLOG_BYTES),
        space: Arc::default(),
        backlog_bytes: bounds.backlog_bytes,
        patience: bounds.patience,
        random,
    });
    let status = recorder.status();
    Running { task: tokio::spawn(recorder.run()), status, owner }
}

async fn until(what: &str, status: &Status, ready: impl Fn() -> bool) {
    while !ready() {
        let changed = tokio::time::timeout(Duration::from_secs(60), status.changed()).await;
        assert!(changed.is_ok(), "waited for {what}");
    }
}

/// Lets the recorder do what it can do now.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_recording_is_what_was_live_byte_for_byte() {
    let node = Node::new().await;
    let claimed = node.claim(1).await;
    let (video, first) = (claimed.owned.video.clone(), claimed.first_segment);
    let mut live = Live::new(claimed.owned.epoch.0);
    let running = record(&node, &live, &claimed, &WIDE);
    let last = first + 149;
    for number in first..=last {
        live.both(number);
        tokio::task::yield_now().await;
    }
    let (index, media) = live.end();
    assert_eq!(running.task.await.unwrap(), Outcome::Complete);
    assert_eq!((running.status.committed(), running.status.gaps()), (last, 0));
    assert!(running.status.reserved_to() > last);
    assert_eq!(running.status.backlog_bytes(), 0);
    node.control.release(&running.owner.borrow(), End::Goodbye, NOW + 300_000).await.unwrap();
    let sealed = node.control.committed_index(&video, 0..1 << 40).await.unwrap();
    assert_eq!(sealed.pages.len(), 2, "pages of 64");

    let node = node.again().await;
    let orphan = format!("o/{video}/1-7-00000000deadbeef");
    let orphan = store::Key::parse(&orphan).unwrap();
    node.store.put(&orphan, vec![Bytes::from_static(b"lost")]).await.unwrap();
    assert_eq!(node.history.tidy(&video).await.unwrap(), 1);
    assert_eq!(node.history.tidy(&video).await.unwrap(), 0);
    assert_eq!(node.store.list(video.as_str()).await.unwrap().len(), 150 + 2);
    let recording = node.history.recording(&video).await.unwrap().unwrap();
    assert_eq!(recording.index, index);
    assert_eq!(playlists(&recording.index), playlists(&index));
    assert!(playlists(&index)[0].as_ref().unwrap().contains("ENDLIST"));
    assert_eq!(recording.catalog.as_deref(), Some(&b"{\"version\":\"draft-01\"}"[..]));
    let file =
        async |track: &str, file: File| node.history.file(&video, track, file).await.unwrap();
    let epoch = recording.last().unwrap().epoch.0;
    assert_eq!(
        file("video.cmaf", File::Init(INIT_ID)).await.unwrap(),
        &b"the initialisation segment"[..]
    );
    for track in ["video.cmaf", "audio.cmaf"] {
        for number in [first, first + 70, last] {
            let mut whole = Vec::new();
            for part in 0..PARTS {
                let read = file(track, File::Part { epoch, number, part }).await.unwrap();
                let expect =
                    &media.iter().find(|((t, n, p), _)| (*t, *n, *p) == (track, number, part));
                assert_eq!(&read, expect.unwrap().1);
                whole.extend_from_slice(&read);
            }
            assert_eq!(file(track, File::Segment { epoch, number }).await.unwrap(), whole);
        }
        for missing in [
            File::Segment { epoch: epoch + 1, number: first },
            File::Segment { epoch, number: last + 1 },
            File::Part { epoch, number: first, part: PARTS },
            File::Init(7),
        ] {
            assert_eq!(file(track, missing).await, None);
        }
    }
    assert_eq!(recording.video.duration_ms, 150 * 180_001 / 90);
}

#[tokio::test]
async fn all_pages_are_sealed_when_it_is_over_however_it_came() {
    // So many segments between two moments in which the recorder can do something.
    for at_once in [1, 5, 63, 64, 65, 200] {
        let node = Node::new().await;
        let claimed = node.claim(1).await;
        let mut live = Live::new(claimed.owned.epoch.0);
        let running = record(&node, &live, &claimed, &WIDE);
        for number in 0..200 {
            live.both(claimed.first_segment + number);
            if number % at_once == at_once - 1 {
                settle().await;
            }
        }
        live.end();
        assert_eq!(running.task.await.unwrap(), Outcome::Complete);
        let sealed = node.control.committed_index(&claimed.owned.video, 0..1 << 40).await.unwrap();
        assert_eq!((sealed.pages.len(), sealed.tail.len()), (3, 200 - 3 * 64), "{at_once}");
    }
}

#[tokio::test]
async fn a_page_that_was_begun_before_a_kill_is_sealed_after_it() {
    let node = Node::new().await;
    let claimed = node.claim(1).await;
    let first = claimed.first_segment;
    let mut live = Live::new(claimed.owned.epoch.0);
    let running = record(&node, &live, &claimed, &WIDE);
    (first..first + 50).for_each(|number| live.both(number));
    until("fifty", &running.status, || running.status.committed() == first + 49).await;
    running.task.abort();
    let _ = running.task.await;
    drop(live);
    let node = node.again().await;
    let claimed = node.claim(2).await;
    let mut live = Live::new(claimed.owned.epoch.0);
    let running = record(&node, &live, &claimed, &WIDE);
    for number in claimed.first_segment..claimed.first_segment + 30 {
        live.both(number);
        settle().await;
    }
    live.end();
    assert_eq!(running.task.await.unwrap(), Outcome::Complete);
    let sealed = node.control.committed_index(&claimed.owned.video, 0..1 << 40).await.unwrap();
    assert_eq!(sealed.pages.len(), 1);
}

/// Segments are of two seconds.
fn segments(duration: Duration) -> u64 {
    duration.as_secs() / 2
}

#[tokio::test]
async fn what_comes_late_at_the_beginning_is_recorded_whole() {
    let most = segments(LATE_START) - 1;
    for (on_time, late_track) in [("video.cmaf", "audio.cmaf"), ("audio.cmaf", "video.cmaf")] {
        for late in [1, 3, 7, most] {
            let node = Node::new().await;
            let claimed = node.claim(1).await;
            let first = claimed.first_segment;
            let mut live = Live::new(claimed.owned.epoch.0);
            live.announce(late_track.strip_suffix(".cmaf").unwrap());
            let running = record(&node, &live, &claimed, &WIDE);
            for number in first..first + late {
                live.segment(on_time, number);
                settle().await;
            }
            assert_eq!(running.status.committed(), 0, "{late_track} may still come");
            // It stays behind by as much.
            for number in first..=first + 20 {
                live.segment(on_time, number + late);
                live.segment(late_track, number);
                settle().await;
            }
            let sealed = || running.status.committed() >= first + 19;
            until("the segments with both", &running.status, sealed).await;
            live.end();
            assert_eq!(running.task.await.unwrap(), Outcome::Complete);
            let tracks = node.records(&claimed.owned.video).await;
            let tracks: Vec<usize> = tracks.iter().map(|r| r.tracks.len()).collect();
            let alone = usize::try_from(late).unwrap();
            assert_eq!(tracks, [vec![2; 21], vec![1; alone]].concat(), "{late_track} {late}");
            assert_eq!(running.status.late_parts(), 0);
        }
    }
}

#[tokio::test]
async fn a_broadcast_of_one_kind_is_held_back_at_its_beginning_only() {
    for (there, missing) in [("video.cmaf", "audio"), ("audio.cmaf", "video")] {
        for announced in [false, true] {
            let node = Node::new().await;
            let claimed = node.claim(1).await;
            let first = claimed.first_segment;
            let mut live = Live::new(claimed.owned.epoch.0);
            if announced {
                live.announce(missing);
            }
            let running = record(&node, &live, &claimed, &WIDE);
            let held = segments(if announced { LATE_START } else { UNKNOWN });
            assert!(announced || held <= 4, "what is lost at a kill in the beginning");
            for number in first..first + held - 1 {
                live.segment(there, number);
            }
            settle().await;
            assert_eq!(running.status.committed(), 0, "{missing} may still come");
            for number in first + held - 1..first + held + 3 {
                live.segment(there, number);
                let committed = || running.status.committed() == number;
                until("each at once", &running.status, committed).await;
            }
            live.end();
            assert_eq!(running.task.await.unwrap(), Outcome::Complete);
        }
    }
}

#[tokio::test]
async fn late_tracks_are_waited_for_within_bounds() {
    let node = Node::new().await;
    let claimed = node.claim(1).await;
    let first = claimed.first_segment;
    let mut live = Live::new(claimed.owned.epoch.0);
    live.announce("audio");
    let bounds = Bounds { backlog_bytes: 40_000, ..WIDE };
    let running = record(&node, &live, &claimed, &bounds);
    // Four of 4,500 bytes fit into the half of it, one more does not.
    for number in first..first + 6 {
        live.segment("video.cmaf", number);
        settle().await;
    }
    until("the oldest", &running.status, || running.status.committed() >= first).await;
    settle().await;
    assert!(running.status.committed() < first + 3, "{}", running.status.committed());
    live.end();
    assert_eq!(running.task.await.unwrap(), Outcome::Complete);
}

#[tokio::test]
async fn a_track_that_falls_behind_is_waited_for_and_no_longer() {
    let node = Node::new().await;
    let claimed = node.claim(1).await;
    let first = claimed.first_segment;
    let mut live = Live::new(claimed.owned.epoch.0);
    let running = record(&node, &live, &claimed, &WIDE);
    live.both(first);
    let late = segments(LATE);
    for number in first + 1..=first + late {
        live.segment("video.cmaf", number);
    }
    until("the first segment", &running.status, || running.status.committed() == first).await;
    settle().await;
    assert_eq!(running.status.committed(), first, "audio may still come");
    live.segment("video.cmaf", first + 1 + late);
    until("the second segment", &running.status, || running.status.committed() == first + 1).await;
    live.segment("audio.cmaf", first + 1);
    until("the late parts", &running.status, || running.status.late_parts() == PARTS).await;
    for number in first + 2..=first + 1 + late {
        live.segment("audio.cmaf", number);
    }
    live.end();
    assert_eq!(running.task.await.unwrap(), Outcome::Complete);
    let records = node.records(&claimed.owned.video).await;
    let tracks: Vec<usize> = records.iter().map(|r| r.tracks.len()).collect();
    assert_eq!(tracks, [2, 1, 2, 2, 2, 2, 2]);
    node.control.release(&claimed.owned, End::Goodbye, NOW).await.unwrap();
    let recording = node.history.recording(&claimed.owned.video).await.unwrap().unwrap();
    let audio = recording.index.rendition("audio.cmaf").unwrap();
    assert!(audio.segment(first + 1).unwrap().info.gap, "what audio left out is a gap");
}

#[tokio::test]
async fn a_store_that_fails_makes_gaps_and_recovers() {
    let node = Node::new().await;
    let claimed = node.claim(1).await;
    let first = claimed.first_segment;
    let mut live = Live::new(claimed.owned.epoch.0);
    // Room for two segments, and little patience, but more than a busy machine needs for one that is good.
    let bounds = Bounds { backlog_bytes: 20_000, patience: Duration::from_secs(6) };
    let running = record(&node, &live, &claimed, &bounds);
    live.both(first);
    until("the first segment", &running.status, || running.status.committed() == first).await;
    let tmp = node.media().join("tmp");
    std::fs::remove_dir_all(&tmp).unwrap();
    for number in first + 1..first + 6 {
        live.both(number);
    }
    until("all given up", &running.status, || running.status.committed() == first + 5).await;
    assert_eq!(running.status.gaps(), 5);
    assert!(running.status.failures() > 0 && running.status.backlog_bytes() == 0);
    std::fs::create_dir(&tmp).unwrap();
    live.both(first + 6);
    live.end();
    assert_eq!(running.task.await.unwrap(), Outcome::Complete);
    node.control.release(&claimed.owned, End::Goodbye, NOW).await.unwrap();
    let recording = node.history.recording(&claimed.owned.video).await.unwrap().unwrap();
    let text = playlists(&recording.index)[3].clone().unwrap();
    assert_eq!((text.matches("#EXT-X-GAP").count(), text.matches("#EXTINF").count()), (5, 7));
    let gap = File::Segment { epoch: claimed.owned.epoch.0, number: first + 1 };
    let read = node.history.file(&claimed.owned.video, "video.cmaf", gap).await.unwrap();
    assert_eq!(read, None);
}

#[tokio::test]
async fn another_encoder_of_the_same_node_goes_on_and_a_stranger_ends_it() {
    let node = Node::new().await;
    let first_claim = node.claim(1).await;
    let first = first_claim.first_segment;
    let mut live = Live::new(first_claim.owned.epoch.0);
    let running = record(&node, &live, &first_claim, &WIDE);
    live.both(first);
    until("the first segment", &running.status, || running.status.committed() == first).await;
    // The next segment began under the first ownership and is committed under the second.
    live.segment("video.cmaf", first + 1);
    let second = node.claim(2).await;
    assert!(second.resumed);
    live.segment("audio.cmaf", first + 1);
    settle().await;
    running.owner.send_replace(second.owned.clone());
    live.epoch = second.owned.epoch.0;
    live.both(first + 2);
    until("three segments", &running.status, || running.status.committed() == first + 2).await;
    let epochs: Vec<u64> =
        node.records(&second.owned.video).await.iter().map(|r| r.epoch.0).collect();
    assert_eq!(epochs, [1, 1, 2]);
    let _stranger = node.claim(3).await;
    drop(running.owner);
    live.both(first + 3);
    assert_eq!(running.task.await.unwrap(), Outcome::Fenced);
    assert!(running.status.stopped());
}

#[tokio::test]
async fn after_a_kill_the_same_video_goes_on_above_a_gap() {
    let node = Node::new().await;
    let claimed = node.claim(1).await;
    let first = claimed.first_segment;
    let mut live = Live::new(claimed.owned.epoch.0);
    let running = record(&node, &live, &claimed, &WIDE);
    live.both(first);
    live.both(first + 1);
    live.part("video.cmaf", first + 2, 0, 0);
    until("two segments", &running.status, || running.status.committed() == first + 1).await;
    running.task.abort();
    let _ = running.task.await;
    drop(live);

    let node = node.again().await;
    let again = node.claim(2).await;
    assert!(again.resumed && again.owned.video == claimed.owned.video);
    assert_eq!(again.gap.start, first + 2);
    assert!(again.gap.end - again.gap.start <= 3, "a short gap: {:?}", again.gap);
    let mut live = Live::new(again.owned.epoch.0);
    let running = record(&node, &live, &again, &WIDE);
    for object in 0..PARTS {
        live.part("video.cmaf", again.first_segment, object, 1);
    }
    live.end();
    assert_eq!(running.task.await.unwrap(), Outcome::Complete);
    let records = node.records(&again.owned.video).await;
    let numbers: Vec<u64> = records.iter().map(|r| r.number).collect();
    assert_eq!(numbers, (first..=again.first_segment).collect::<Vec<_>>());
    let gaps: Vec<bool> = records.iter().map(|r| r.gap).collect();
    let count = usize::try_from(again.gap.end - again.gap.start).unwrap();
    assert_eq!(gaps, [vec![false; 2], vec![true; count], vec![false]].concat());
    node.control.release(&again.owned, End::Goodbye, NOW).await.unwrap();
    let recording = node.history.recording(&again.owned.video).await.unwrap().unwrap();
    let text = playlists(&recording.index)[3].clone().unwrap();
    assert_eq!(text.matches("#EXT-X-GAP").count(), count);
    assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n").count(), 1);
}

/// Recordings that ended a minute after each other.
async fn recorded(node: &Node, count: u8) -> Vec<VideoUid> {
    let mut videos = Vec::new();
    for session in 1..=count {
        let claimed = node.claim(session).await;
        let mut live = Live::new(claimed.owned.epoch.0);
        let running = record(node, &live, &claimed, &WIDE);
        live.both(claimed.first_segment);
        live.end();
        assert_eq!(running.task.await.unwrap(), Outcome::Complete);
        let ended = NOW + u64::from(session) * 60_000;
        node.control.release(&claimed.owned, End::Goodbye, ended).await.unwrap();
        videos.push(claimed.owned.video);
    }
    videos
}

/// Makes the media of a video something that can't be deleted, and answers how to put it back.
fn stick(node: &Node, video: &VideoUid) -> impl FnOnce() + use<> {
    let (place, aside) = (node.media().join("o").join(video.as_str()), node.media().join("aside"));
    std::fs::rename(&place, &aside).unwrap();
    std::fs::write(&place, "a file where a folder was").unwrap();
    move || {
        std::fs::remove_file(&place).unwrap();
        std::fs::rename(&aside, &place).unwrap();
    }
}

#[tokio::test]
async fn one_video_whose_media_stays_does_not_keep_the_others() {
    let node = Node::new().await;
    let videos = recorded(&node, 4).await;
    let stored =
        async |video: &VideoUid| !node.store.list(video.as_str()).await.unwrap().is_empty();
    let age = |minutes| Retention {
        max_age: Some(minutes * Duration::from_secs(60)),
        ..Retention::default()
    };
    // The oldest of two fails, and then all passes begin with it.
    let put_back = stick(&node, &videos[0]);
    let pass = age(2).pass(&node.history, NOW + 4 * 60_000 + 1).await;
    assert!(matches!(pass.failed, Some(DeleteError::Media(_))), "{pass:?}");
    assert_eq!(pass.deleted, [(videos[0].clone(), "age"), (videos[1].clone(), "age")]);
    assert!(!stored(&videos[1]).await);
    let pass = age(2).pass(&node.history, NOW + 5 * 60_000 + 1).await;
    assert!(matches!(pass.failed, Some(DeleteError::Media(_))), "{pass:?}");
    assert_eq!(pass.deleted, [(videos[2].clone(), "age")]);
    assert!(!stored(&videos[2]).await && stored(&videos[3]).await);
    // Doomed ones behind it are finished, too.
    node.control.delete_video(&videos[3], NOW + 6 * 60_000).await.unwrap();
    assert!(node.history.finish_deletions().await.is_err());
    assert!(!stored(&videos[3]).await);
    assert_eq!(node.control.doomed().await.unwrap(), videos[..1]);
    put_back();
    assert_eq!(node.history.finish_deletions().await.unwrap(), 1);
    assert!(!stored(&videos[0]).await);
}

#[tokio::test]
async fn a_database_that_refuses_ends_a_pass() {
    let node = Node::new().await;
    let videos = recorded(&node, 4).await;
    let (now, least) = (NOW + 10 * 60_000, Some(0));
    let by_age = Retention { max_age: Some(Duration::from_secs(1)), ..Retention::default() };
    let by_size = Retention { max_input_bytes: least, ..Retention::default() };
    let by_total = Retention { max_total_bytes: least, ..Retention::default() };
    let by_room = Retention { min_free_bytes: Some(u64::MAX), ..Retention::default() };
    let all = Retention { max_age: by_age.max_age, max_input_bytes: least, ..by_room };
    let db = rusqlite::Connection::open(node.folder.path().join("db")).unwrap();
    // Of the oldest alone, so that whoever goes on is seen by what he deletes.
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON doomed
                  WHEN NEW.video = (SELECT uid FROM videos ORDER BY ordinal LIMIT 1)
                  BEGIN SELECT RAISE(ABORT, 'no room'); END";
    db.execute_batch(refuse).unwrap();
    let refused =
        |pass: &Pass| matches!(pass.failed, Some(DeleteError::Document(DocumentError::Engine(_))));
    for rules in [by_age, by_size, by_total, by_room, all] {
        let pass = rules.pass(&node.history, now).await;
        assert!(refused(&pass) && pass.deleted.is_empty(), "{rules:?}: {pass:?}");
    }
    // Media of what was deleted goes all the same: it may be the room that is missing.
    db.execute_batch("DROP TRIGGER refuse").unwrap();
    for video in &videos[..2] {
        node.control.delete_video(video, now).await.unwrap();
    }
    let refuse = "CREATE TRIGGER refuse BEFORE DELETE ON doomed
                  WHEN OLD.video = (SELECT video FROM doomed ORDER BY since_ms, video LIMIT 1)
                  BEGIN SELECT RAISE(ABORT, 'no room'); END";
    db.execute_batch(refuse).unwrap();
    let pass = all.pass(&node.history, now).await;
    assert!(refused(&pass) && pass.deleted.is_empty(), "{pass:?}");
    for video in &videos[..2] {
        assert!(node.store.list(video.as_str()).await.unwrap().is_empty());
    }
    assert_eq!(node.control.doomed().await.unwrap().len(), 2, "asked once");
    db.execute_batch("DROP TRIGGER refuse").unwrap();
    assert_eq!(all.pass(&node.history, now).await.deleted.len(), 2);
    assert!(node.control.doomed().await.unwrap().is_empty());
}

#[tokio::test]
async fn media_that_stays_is_not_told_as_deleted_for_room() {
    let node = Node::new().await;
    let videos = recorded(&node, 2).await;
    let bytes = node.control.video(&videos[0]).await.unwrap().unwrap().bytes;
    let _put_back = stick(&node, &videos[0]);
    let free = Retention { min_free_bytes: Some(u64::MAX), ..Retention::default() };
    let freed = free.pass(&node.history, NOW).await.freed.unwrap();
    assert_eq!(freed.stuck, bytes);
    assert!(freed.deleted > 0, "the other one");
}

#[tokio::test]
async fn retention_deletes_the_oldest_and_frees_the_disk() {
    let node = Node::new().await;
    let videos = recorded(&node, 4).await;
    let left = async || {
        let list = node.control.videos(VideoFilter::default(), Page::default()).await.unwrap();
        list.rows.iter().map(|v| v.uid.clone()).rev().collect::<Vec<_>>()
    };
    let size = async |video: &VideoUid| node.control.video(video).await.unwrap().unwrap().bytes;
    let newest = size(&videos[2]).await + size(&videos[3]).await;
    let age = Retention { max_age: Some(Duration::from_secs(120)), ..Retention::default() };
    let pass = age.pass(&node.history, NOW + 181_000).await;
    assert_eq!(pass.deleted, [(videos[0].clone(), "age")]);
    assert_eq!(left().await, videos[1..]);
    assert!(node.store.list(videos[0].as_str()).await.unwrap().is_empty());
    // What its owner keeps comes before what the node keeps of each.
    let mut settings = node.control.input(&input()).await.unwrap().unwrap().settings;
    settings.recording.max_total_bytes = Some(u64::MAX >> 1);
    node.control.update_input(&input(), Expect::Any, settings.clone(), NOW).await.unwrap();
    let each = Retention { max_input_bytes: Some(newest), ..Retention::default() };
    assert_eq!(each.pass(&node.history, NOW).await.deleted, []);
    settings.recording.max_total_bytes = None;
    node.control.update_input(&input(), Expect::Any, settings, NOW).await.unwrap();
    let pass = each.pass(&node.history, NOW).await;
    assert_eq!(pass.deleted, [(videos[1].clone(), "size of the input's")]);
    let total = Retention { max_total_bytes: Some(newest), ..Retention::default() };
    assert_eq!(total.pass(&node.history, NOW).await.deleted, []);
    let total = Retention { max_total_bytes: Some(newest - 1), ..Retention::default() };
    let pass = total.pass(&node.history, NOW).await;
    assert_eq!(pass.deleted, [(videos[2].clone(), "total size")]);
    let free = Retention { min_free_bytes: Some(u64::MAX), ..Retention::default() };
    node.history.recording(&videos[3]).await.unwrap().unwrap();
    assert_eq!(free.pass(&node.history, NOW).await.deleted.len(), 1);
    assert!(node.history.recording(&videos[3]).await.unwrap().is_none());
    assert_eq!(left().await, []);
    assert!(node.control.doomed().await.unwrap().is_empty());
}
