//! Live inputs whose encoder publishes over MoQ.

use std::future::poll_fn;
use std::sync::atomic::Ordering;

use bytes::{BufMut, Bytes, BytesMut};
use media::{FrameEvent, Frames};
use moqt::data::{Body, Datagram, ObjectHead, Status, SubgroupHeader, SubgroupId, SubgroupWriter};
use moqt::properties::Value;
use moqt::session::{Command, Event};
use moqt::{Answer, Parameters, Properties, Request, RequestId, ResetCode, SessionCode};
use testkit::Shape;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::duties::code;
use super::live::ms;
use super::relay::give;
use super::rig::{Client, Rig, namespace, next_object, soon, track};
use crate::clock;
use crate::limits::{DATAGRAMS_WAITING_MAX, LAG_MAX, REMOVED_TRACKS_MAX, UNREADABLE_MAX};
use crate::link::Told;
use crate::play::joined;
use crate::transport::{Congestion, Network, SendStream};

/// LOC-04
const TIMESTAMP: u64 = 0x10;
const VIDEO_CONFIG: u64 = 0x0d;
/// draft-18 §12.6
const DYNAMIC_GROUPS: u64 = 0x30;

const SPS: [u8; 27] = [
    0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03,
    0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58,
];
const PPS: [u8; 6] = [0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

fn record() -> Bytes {
    let mut record = BytesMut::from(&[1, 0x64, 0, 0x28, 0xff, 0xe1, 0, SPS.len() as u8][..]);
    record.extend_from_slice(&SPS);
    record.extend_from_slice(&[1, 0, PPS.len() as u8]);
    record.extend_from_slice(&PPS);
    // High profile: chroma format and bit depths (ISO 14496-15 §5.3.3.1.2).
    record.extend_from_slice(&[0xfd, 0xf8, 0xf8, 0]);
    record.freeze()
}

/// A picture that decoding can start with, in one NAL unit.
fn key_frame() -> Bytes {
    let mut picture = BytesMut::new();
    picture.put_u32(9);
    picture.extend_from_slice(&[0x65, 0x88, 0x84, 0, 1, 2, 3, 4, 5]);
    picture.freeze()
}

const CATALOG: &str = r#"{"version":"draft-01","tracks":[
    {"name":"camera","packaging":"loc","isLive":true,"role":"video","codec":"avc1.640028","width":1920,"height":1080}]}"#;

fn line() -> Shape {
    Shape { delay: ms(25), ..Shape::default() }
}

/// A stream of a track.
struct Stream<'a> {
    client: &'a Client,
    id: RequestId,
    stream: SendStream,
    writer: SubgroupWriter,
    group: u64,
}

impl<'a> Stream<'a> {
    /// Of this subgroup of a group; `first`: it begins with its first object.
    async fn begin(
        client: &'a Client,
        id: RequestId,
        (group, subgroup): (u64, SubgroupId),
        first: bool,
    ) -> Self {
        let alias = client.link.with(|session| session.open_data(id)).unwrap();
        let header = SubgroupHeader {
            alias,
            group,
            subgroup,
            priority: None,
            properties: true,
            end_of_group: false,
            first_object: first,
        };
        let mut bytes = BytesMut::new();
        header.encode(client.link.version, &mut bytes).unwrap();
        let writer = SubgroupWriter::new(client.link.version, &header);
        let mut stream = client.link.connection.open_uni().await.unwrap();
        stream.write(&mut [bytes.freeze()]).await.unwrap();
        Self { client, id, stream, writer, group }
    }

    async fn object(&mut self, id: u64, properties: &[(u64, Value<'_>)], payload: &[u8]) {
        self.some_of(id, properties, (payload, payload.len())).await;
    }

    /// So many bytes of its payload.
    async fn some_of(
        &mut self,
        id: u64,
        properties: &[(u64, Value<'_>)],
        (payload, bytes): (&[u8], usize),
    ) {
        let properties = Properties::from_pairs(properties).unwrap();
        let payload_length = payload.len() as u64;
        let head = ObjectHead { id, properties, status: Status::Normal, payload_length };
        let mut object = BytesMut::new();
        self.writer.object(&head, &mut object).unwrap();
        object.extend_from_slice(&payload[..bytes]);
        self.stream.write(&mut [object.freeze()]).await.unwrap();
    }

    /// A picture that is known by its place.
    async fn picture(&mut self, id: u64) {
        let (record, picture) = (record(), picture(self.group, id));
        let time = (TIMESTAMP, Value::Number((self.group * 10 + id) * 100_000));
        match id {
            0 => {
                let properties = [(VIDEO_CONFIG, Value::Bytes(&record)), time];
                self.object(id, &properties, &picture).await;
            }
            _ => self.object(id, &[time], &picture).await,
        }
    }

    async fn pictures(&mut self, ids: &[u64]) {
        for id in ids {
            self.picture(*id).await;
        }
    }

    fn finish(mut self) {
        self.stream.finish();
        self.client.command(Command::DataClosed { id: self.id });
    }

    fn reset(mut self) {
        self.stream.reset(self.client.link.version.reset_code(ResetCode::Cancelled));
        self.client.command(Command::DataClosed { id: self.id });
    }
}

/// The first one of a group can be decoded by itself.
fn picture(group: u64, id: u64) -> Bytes {
    let mut picture = BytesMut::new();
    picture.put_u32(8);
    let kind = if id == 0 { 0x65 } else { 0x41 };
    picture.extend_from_slice(&[kind, 0x88, 0x84, 1, 2, 3, group as u8, id as u8]);
    picture.freeze()
}

/// A group of one object.
async fn object(
    client: &Client,
    id: RequestId,
    group: u64,
    properties: &[(u64, Value<'_>)],
    payload: Bytes,
) {
    let mut stream = Stream::begin(client, id, (group, SubgroupId::Zero), true).await;
    stream.object(0, properties, &payload).await;
    stream.finish();
}

/// An encoder that is asked for its camera, as this.
async fn camera(encoder: &mut Client, properties: Properties) -> RequestId {
    assert_eq!(code(&encoder.publish_namespace(&["default", "one"]).await), None);
    let (catalog, _) = give(encoder, Properties::empty()).await;
    object(encoder, catalog, 0, &[], CATALOG.as_bytes().into()).await;
    give(encoder, properties).await.0
}

/// The pictures of the live input.
struct Pictures(Frames);

impl Pictures {
    /// From the first one on.
    async fn of(rig: &Rig, track: &'static str) -> Self {
        let one = spine::Path::new(["default", "one"]).unwrap();
        let video = spine::TrackName::from_static(track);
        let track = soon("a picture", async {
            loop {
                match rig.origin.get(&one).and_then(|broadcast| broadcast.get(&video)) {
                    Some(track) => return track,
                    None => tokio::time::sleep(ms(1)).await,
                }
            }
        });
        let start = spine::Start::At(spine::Location { group: 0, object: 0 });
        let filter = spine::Filter::from(start);
        Self(Frames::new(track.await.subscribe(filter, spine::Policy::EVERYTHING)))
    }

    /// The next one, by its place; nothing at the end.
    async fn next(&mut self) -> Option<(u8, u8)> {
        let frames = &mut self.0;
        match soon("a picture", poll_fn(|cx| frames.poll(cx, clock::now()))).await {
            FrameEvent::Frame { payload, .. } => {
                let bytes = joined(payload);
                let [.., group, id] = &bytes[..] else { panic!("{bytes:?}") };
                Some((*group, *id))
            }
            FrameEvent::Lost => panic!("frames follow each other"),
            FrameEvent::End(_) => None,
        }
    }

    /// So many of them.
    async fn take(&mut self, count: usize) -> Vec<(u8, u8)> {
        let mut pictures = Vec::new();
        while pictures.len() < count {
            pictures.extend(Some(self.next().await.expect("more pictures")));
        }
        pictures
    }
}

#[tokio::test(start_paused = true)]
async fn draft18_s2_2_a_live_input_of_two_subgroups_a_group_is_in_decode_order() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let mut encoder = rig.encoder_over(&network, line()).await;
    let camera = camera(&mut encoder, Properties::empty()).await;
    for group in [1, 2] {
        let mut layers = Vec::new();
        for subgroup in [SubgroupId::Zero, SubgroupId::Given(1)] {
            layers.push(Stream::begin(&encoder, camera, (group, subgroup), true).await);
        }
        // The one that needs the other is ahead of it at the beginning, and behind it later.
        layers[1].pictures(&[1, 3]).await;
        tokio::time::sleep(ms(100)).await;
        layers[0].pictures(&[0, 2, 4, 6, 8]).await;
        tokio::time::sleep(ms(100)).await;
        layers[1].pictures(&[5, 7, 9]).await;
        layers.into_iter().for_each(Stream::finish);
    }
    let places = (1..=2).flat_map(|group| (0..10).map(move |id| (group, id)));
    let got = Pictures::of(&rig, "video").await.take(20).await;
    assert_eq!(got, places.collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_subgroup_that_stalls_and_is_reset_does_not_stop_a_live_input() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let mut encoder = rig.encoder_over(&network, line()).await;
    let camera = camera(&mut encoder, Properties::empty()).await;
    let mut low = Stream::begin(&encoder, camera, (1, SubgroupId::Zero), true).await;
    let mut high = Stream::begin(&encoder, camera, (1, SubgroupId::Given(1)), true).await;
    low.picture(0).await;
    let time = (TIMESTAMP, Value::Number(1_100_000));
    high.some_of(1, &[time], (&picture(1, 1), 3)).await;
    low.pictures(&[2, 4]).await;
    low.finish();
    let mut pictures = Pictures::of(&rig, "video").await;
    assert_eq!(pictures.next().await, Some((1, 0)));
    let began = Instant::now();
    assert_eq!(pictures.take(2).await, [(1, 2), (1, 4)]);
    let waited = began.elapsed();
    assert!(waited > LAG_MAX / 2 && waited < LAG_MAX * 2, "{waited:?}");
    // Its end says nothing new; nor is the next group held up by one that is cut at once.
    high.reset();
    let mut low = Stream::begin(&encoder, camera, (2, SubgroupId::Zero), true).await;
    let mut high = Stream::begin(&encoder, camera, (2, SubgroupId::Given(1)), true).await;
    low.picture(0).await;
    high.picture(1).await;
    assert_eq!(pictures.take(2).await, [(2, 0), (2, 1)]);
    high.reset();
    let began = Instant::now();
    low.pictures(&[2, 3]).await;
    low.finish();
    let mut next = Stream::begin(&encoder, camera, (3, SubgroupId::Zero), true).await;
    next.picture(0).await;
    assert_eq!(pictures.take(3).await, [(2, 2), (2, 3), (3, 0)]);
    assert!(began.elapsed() < ms(100), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn draft18_s11_4_3_a_beginning_that_comes_late_is_where_it_belongs() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let mut encoder = rig.encoder_over(&network, line()).await;
    let camera = camera(&mut encoder, Properties::empty()).await;
    let mut rest = Stream::begin(&encoder, camera, (1, SubgroupId::Zero), false).await;
    rest.pictures(&[2, 3]).await;
    tokio::time::sleep(ms(200)).await;
    let mut beginning = Stream::begin(&encoder, camera, (1, SubgroupId::Zero), true).await;
    beginning.pictures(&[0, 1]).await;
    tokio::time::sleep(ms(100)).await;
    beginning.reset();
    rest.picture(4).await;
    rest.finish();
    let got = Pictures::of(&rig, "video").await.take(5).await;
    assert_eq!(got, [(1, 0), (1, 1), (1, 2), (1, 3), (1, 4)]);
}

/// Its last words come in the same moment as its last pictures.
#[tokio::test(start_paused = true)]
async fn what_an_encoder_sent_before_it_left_is_in_its_live_input() {
    for withdraws in [false, true] {
        let network = Network::new(7);
        let rig = Rig::over(&network, Congestion::Ours);
        let mut encoder = rig.encoder_over(&network, line()).await;
        let request = Request::PublishNamespace {
            namespace: namespace(&["default", "one"]),
            parameters: Parameters::default(),
        };
        let (offer, answer, _told) = encoder.ask(request).await;
        assert_eq!(code(&answer), None);
        let (catalog, _) = give(&mut encoder, Properties::empty()).await;
        object(&encoder, catalog, 0, &[], CATALOG.as_bytes().into()).await;
        let (camera, _) = give(&mut encoder, Properties::empty()).await;
        let mut stream = Stream::begin(&encoder, camera, (1, SubgroupId::Zero), true).await;
        stream.picture(0).await;
        let mut pictures = Pictures::of(&rig, "video").await;
        assert_eq!(pictures.next().await, Some((1, 0)));
        stream.pictures(&[1, 2]).await;
        stream.finish();
        let mut next = Stream::begin(&encoder, camera, (2, SubgroupId::Zero), true).await;
        next.pictures(&[0, 1]).await;
        next.finish();
        if withdraws {
            encoder.command(Command::Cancel { id: offer, code: ResetCode::Cancelled });
        }
        // All of it leaves, and no time passes.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        if !withdraws {
            encoder.link.close(SessionCode::NoError, "");
        }
        assert_eq!(pictures.take(4).await, [(1, 1), (1, 2), (2, 0), (2, 1)], "{withdraws}");
        assert_eq!(pictures.next().await, None);
    }
}

#[tokio::test]
async fn d17_a_request_for_a_new_group_of_a_live_input_reaches_its_encoder() {
    let rig = Rig::new();
    let mut encoder = rig.client("/KEY").await;
    let dynamic = Properties::from_pairs(&[(DYNAMIC_GROUPS, Value::Number(1))]).unwrap();
    let camera = camera(&mut encoder, dynamic).await;
    let record = record();
    let properties = [(VIDEO_CONFIG, Value::Bytes(&record)), (TIMESTAMP, Value::Number(1_000_000))];
    object(&encoder, camera, 7, &properties, key_frame()).await;
    let viewer = rig.client("/").await;
    let wishes = Parameters { rendezvous_timeout_ms: Some(10_000), ..next_object() };
    let one = viewer.subscribe(track(&["default", "one"], "video"), wishes).await;
    let Answer::Ok { parameters, properties } = one.answer else { panic!("{:?}", one.answer) };
    assert!(properties.dynamic_groups(), "what the encoder can do is said of what is watched");
    // Asked in the numbers of what is watched, and passed on in those of the encoder: once, whoever asks.
    let largest = parameters.largest.map_or(0, |largest| largest.group);
    for group in [largest + 1, u64::MAX >> 8, 0] {
        let wanted = Parameters { new_group: Some(group), ..Parameters::default() };
        viewer.command(Command::Update { id: one.id, parameters: wanted });
    }
    let asked = soon("the encoder to be asked", async {
        loop {
            if let Event::Update { id, parameters, .. } = encoder.event().await {
                encoder.command(Command::AnswerUpdate { id, answer: Answer::ok() });
                return (id, parameters.new_group);
            }
        }
    });
    assert_eq!(asked.await, (camera, Some(8)));
}

/// The next track that an encoder is asked for, by name.
async fn asked_for(
    client: &Client,
    events: &mut mpsc::UnboundedReceiver<Event>,
) -> (RequestId, Bytes) {
    loop {
        let event = soon("a request", events.recv()).await.unwrap();
        if let Event::Request { id, request: Request::Subscribe { track, .. }, .. } = event {
            client.command(Command::Answer { id, answer: Answer::ok() });
            return (id, track.name().clone());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn msf01_s5_3_tracks_come_and_go_with_changes_of_the_catalog() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let mut encoder = rig.encoder_over(&network, line()).await;
    let mut events = std::mem::replace(&mut encoder.events, mpsc::unbounded_channel().1);
    let encoder = encoder;
    assert_eq!(code(&encoder.publish_namespace(&["default", "one"]).await), None);
    let (id, _) = asked_for(&encoder, &mut events).await;
    let mut catalog = Stream::begin(&encoder, id, (3, SubgroupId::Zero), true).await;
    catalog.object(0, &[], CATALOG.as_bytes()).await;
    let (camera, _) = asked_for(&encoder, &mut events).await;
    let mut stream = Stream::begin(&encoder, camera, (1, SubgroupId::Zero), true).await;
    stream.pictures(&[0, 1]).await;
    let mut pictures = Pictures::of(&rig, "video").await;
    assert_eq!(pictures.take(2).await, [(1, 0), (1, 1)]);

    let add = r#"{"generatedAt":1,"deltaUpdate":[{"op":"add","tracks":[
        {"name":"second","packaging":"loc","isLive":true,"role":"video","codec":"avc1.640028"}]}]}"#;
    catalog.object(1, &[], add.as_bytes()).await;
    let (second, name) = asked_for(&encoder, &mut events).await;
    assert_eq!(name, "second");
    let mut beside = Stream::begin(&encoder, second, (1, SubgroupId::Zero), true).await;
    beside.picture(0).await;
    assert_eq!(Pictures::of(&rig, "video2").await.take(1).await, [(1, 0)]);

    // What does not apply changes nothing, and ends nothing.
    catalog.object(2, &[], b"{").await;
    let unknown = br#"{"deltaUpdate":[{"op":"remove","tracks":[{"name":"camera"},{"name":"x"}]}]}"#;
    catalog.object(3, &[], unknown).await;
    tokio::time::sleep(ms(500)).await;
    stream.picture(2).await;
    assert_eq!(pictures.take(1).await, [(1, 2)]);

    let remove = br#"{"deltaUpdate":[{"op":"remove","tracks":[{"name":"camera"}]}]}"#;
    catalog.object(4, &[], remove).await;
    // What is under way still comes.
    tokio::time::sleep(ms(500)).await;
    stream.picture(3).await;
    assert_eq!(pictures.take(1).await, [(1, 3)]);
    let ended = soon("the camera to be let go", async {
        loop {
            if let Some(Event::Cancelled { id, .. }) = events.recv().await {
                return id;
            }
        }
    });
    assert_eq!(ended.await, camera);
    let one = spine::Path::new(["default", "one"]).unwrap();
    let rests = |name| rig.origin.get(&one).unwrap().get(&name).unwrap().rests();
    assert!(rests(spine::TrackName::from_static("video")));
    assert!(!rests(spine::TrackName::from_static("video2")));
    beside.picture(1).await;

    let again =
        br#"{"deltaUpdate":[{"op":"clone","tracks":[{"parentName":"second","name":"camera"}]}]}"#;
    catalog.object(5, &[], again).await;
    let (camera, name) = asked_for(&encoder, &mut events).await;
    assert_eq!(name, "camera");
    let mut stream = Stream::begin(&encoder, camera, (7, SubgroupId::Zero), true).await;
    stream.pictures(&[0, 1]).await;
    assert_eq!(pictures.take(2).await, [(7, 0), (7, 1)], "where it was");
    assert!(!rests(spine::TrackName::from_static("video")));
}

/// A group whose first object could not be read has nothing to change.
#[tokio::test(start_paused = true)]
async fn msf01_s5_3_a_change_without_its_catalog_is_refused() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let mut encoder = rig.encoder_over(&network, line()).await;
    let mut events = std::mem::replace(&mut encoder.events, mpsc::unbounded_channel().1);
    let encoder = encoder;
    assert_eq!(code(&encoder.publish_namespace(&["default", "one"]).await), None);
    let (id, _) = asked_for(&encoder, &mut events).await;
    let entry = |name| {
        format!(r#"{{"name":"{name}","packaging":"loc","isLive":true,"codec":"avc1.640028"}}"#)
    };
    let add = |name| format!(r#"{{"deltaUpdate":[{{"op":"add","tracks":[{}]}}]}}"#, entry(name));
    let whole = |name| format!(r#"{{"version":"draft-01","tracks":[{}]}}"#, entry(name));
    let mut first = Stream::begin(&encoder, id, (1, SubgroupId::Zero), true).await;
    first.object(0, &[], whole("camera").as_bytes()).await;
    first.finish();
    assert_eq!(asked_for(&encoder, &mut events).await.1, "camera");
    let mut second = Stream::begin(&encoder, id, (2, SubgroupId::Zero), true).await;
    second.object(0, &[], b"{").await;
    second.object(1, &[], add("refused").as_bytes()).await;
    second.finish();
    let mut third = Stream::begin(&encoder, id, (3, SubgroupId::Zero), true).await;
    third.object(0, &[], whole("camera").as_bytes()).await;
    third.object(1, &[], add("taken").as_bytes()).await;
    assert_eq!(asked_for(&encoder, &mut events).await.1, "taken");
}

/// An encoder whose catalog has a camera, and its catalog's stream.
async fn with_catalog(
    rig: &Rig,
    network: &Network,
) -> (Client, mpsc::UnboundedReceiver<Event>, RequestId) {
    let mut encoder = rig.encoder_over(network, line()).await;
    let mut events = std::mem::replace(&mut encoder.events, mpsc::unbounded_channel().1);
    assert_eq!(code(&encoder.publish_namespace(&["default", "one"]).await), None);
    let (id, _) = asked_for(&encoder, &mut events).await;
    (encoder, events, id)
}

async fn cancelled(events: &mut mpsc::UnboundedReceiver<Event>) -> RequestId {
    soon("something to be let go", async {
        loop {
            if let Some(Event::Cancelled { id, .. }) = events.recv().await {
                return id;
            }
        }
    })
    .await
}

/// What a change is made to must be all of what it was.
#[tokio::test(start_paused = true)]
async fn msf01_s5_3_behind_a_change_that_did_not_come_the_next_whole_catalog_is_waited_for() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let (encoder, mut events, id) = with_catalog(&rig, &network).await;
    let add = |name| {
        format!(
            r#"{{"deltaUpdate":[{{"op":"clone","tracks":[{{"parentName":"camera","name":"{name}"}}]}}]}}"#
        )
    };
    let mut catalog = Stream::begin(&encoder, id, (0, SubgroupId::Zero), true).await;
    catalog.object(0, &[], CATALOG.as_bytes()).await;
    assert_eq!(asked_for(&encoder, &mut events).await.1, "camera");
    catalog.object(1, &[], add("second").as_bytes()).await;
    assert_eq!(asked_for(&encoder, &mut events).await.1, "second");
    catalog.object(3, &[], add("third").as_bytes()).await;
    catalog.finish();
    tokio::time::sleep(ms(2_000)).await;
    let mut catalog = Stream::begin(&encoder, id, (1, SubgroupId::Zero), true).await;
    catalog.object(0, &[], CATALOG.as_bytes()).await;
    catalog.object(1, &[], add("fourth").as_bytes()).await;
    assert_eq!(asked_for(&encoder, &mut events).await.1, "fourth");
}

#[tokio::test(start_paused = true)]
async fn msf01_s5_3_who_sends_nothing_but_changes_that_do_not_apply_is_shown_the_door() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let (encoder, mut events, id) = with_catalog(&rig, &network).await;
    let mut catalog = Stream::begin(&encoder, id, (0, SubgroupId::Zero), true).await;
    catalog.object(0, &[], CATALOG.as_bytes()).await;
    asked_for(&encoder, &mut events).await;
    for id in 1..=UNREADABLE_MAX + 1 {
        catalog.object(id, &[], b"{").await;
    }
    cancelled(&mut events).await;
    let one = spine::Path::new(["default", "one"]).unwrap();
    super::rig::until("its broadcast to end", || {
        rig.origin
            .get(&one)
            .is_none_or(|b| matches!(b.liveness(), spine::broadcast::Liveness::Ended(_)))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn msf01_s5_3_a_track_that_becomes_another_one_is_read_anew() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let (encoder, mut events, id) = with_catalog(&rig, &network).await;
    let mut catalog = Stream::begin(&encoder, id, (0, SubgroupId::Zero), true).await;
    catalog.object(0, &[], CATALOG.as_bytes()).await;
    let (camera, _) = asked_for(&encoder, &mut events).await;
    // The same of other words is the same.
    let same = br#"{"deltaUpdate":[{"op":"update","tracks":[{"name":"camera","codec":"avc1.64001f","bitrate":1}]}]}"#;
    catalog.object(1, &[], same).await;
    let other = br#"{"deltaUpdate":[{"op":"update","tracks":[{"name":"camera","codec":"hvc1.1.6.L93.B0"}]}]}"#;
    catalog.object(2, &[], other).await;
    assert_eq!(cancelled(&mut events).await, camera);
    assert_eq!(asked_for(&encoder, &mut events).await.1, "camera");
    let replaced = br#"{"deltaUpdate":[{"op":"remove","tracks":[{"name":"camera"}]},
        {"op":"add","tracks":[{"name":"camera","packaging":"loc","isLive":true,"role":"video","codec":"avc1.640028"}]}]}"#;
    catalog.object(3, &[], replaced).await;
    assert_eq!(asked_for(&encoder, &mut events).await.1, "camera");
}

/// In whole catalogs, too; and the other way round what has another name only is the same.
#[tokio::test(start_paused = true)]
async fn msf01_a_track_whose_init_data_become_other_ones_is_read_anew() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let (encoder, mut events, id) = with_catalog(&rig, &network).await;
    let whole = |id: &str, data: &str| {
        format!(
            r#"{{"version":"draft-01","tracks":[{{"name":"camera","packaging":"loc","isLive":true,
            "role":"video","codec":"avc1.640028","initRef":"{id}"}}],
            "initDataList":[{{"id":"{id}","type":"inline","data":"{data}"}}]}}"#
        )
    };
    let editions = [("a", "AWQ="), ("a", "AWU="), ("b", "AWU="), ("b", "AWQ=")];
    let mut asked = Vec::new();
    for (group, (init, data)) in (0..).zip(editions) {
        let mut catalog = Stream::begin(&encoder, id, (group, SubgroupId::Zero), true).await;
        catalog.object(0, &[], whole(init, data).as_bytes()).await;
        catalog.finish();
        if group != 2 {
            if let Some(camera) = asked.last() {
                assert_eq!(cancelled(&mut events).await, *camera, "{group}");
            }
            asked.push(asked_for(&encoder, &mut events).await.0);
        }
    }
}

/// None comes, or one that can't be used: who has a good track beside it is heard all the same.
#[tokio::test(start_paused = true)]
async fn msf01_a_track_without_its_initialisation_segment_keeps_no_other_one_out() {
    const MSF_INITIALIZATION: u64 = 0x79;
    for init in [&[][..], &[(MSF_INITIALIZATION, Value::Bytes(b"nonsense"))]] {
        let network = Network::new(7);
        let rig = Rig::over(&network, Congestion::Ours);
        let (encoder, mut events, id) = with_catalog(&rig, &network).await;
        let both = r#"{"version":"draft-01","tracks":[
            {"name":"camera","packaging":"loc","isLive":true,"role":"video","codec":"avc1.640028"},
            {"name":"sound","packaging":"cmaf","isLive":true,"role":"audio","codec":"mp4a.40.2",
            "initRef":"own"}],
            "initDataList":[{"id":"own","type":"object-property","data":"79"}]}"#;
        let mut catalog = Stream::begin(&encoder, id, (0, SubgroupId::Zero), true).await;
        catalog.object(0, &[], both.as_bytes()).await;
        let (camera, name) = asked_for(&encoder, &mut events).await;
        assert_eq!(name, "camera");
        let (sound, _) = asked_for(&encoder, &mut events).await;
        let mut silent = Stream::begin(&encoder, sound, (0, SubgroupId::Zero), true).await;
        for id in 0..=UNREADABLE_MAX {
            silent.object(id, init, b"no sound").await;
        }
        tokio::time::sleep(ms(1_000)).await;
        let mut pictures = Stream::begin(&encoder, camera, (0, SubgroupId::Zero), true).await;
        pictures.pictures(&[0, 1, 2]).await;
        let mut seen = Pictures::of(&rig, "video").await;
        assert_eq!(seen.take(3).await, [(0, 0), (0, 1), (0, 2)]);
    }
}

/// An Opus packet that is known by its place.
async fn said(client: &Client, alias: u64, (group, object): (u64, u64)) {
    let time = (TIMESTAMP, Value::Number((group * 10 + object) * 20_000));
    let datagram = Datagram {
        alias,
        group,
        object,
        priority: None,
        end_of_group: false,
        properties: Properties::from_pairs(&[time]).unwrap(),
        body: Body::Payload(vec![0xfc, group as u8, object as u8].into()),
    };
    assert!(client.link.connection.send_datagram(datagram.encode(client.link.version).unwrap()));
    tokio::time::sleep(ms(20)).await;
}

/// Small enough for that: one by one, some of which are lost or overtake each other, and to the
/// end.
#[tokio::test(start_paused = true)]
async fn draft18_s11_3_d09_sound_in_datagrams_is_heard() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let (encoder, mut events, id) = with_catalog(&rig, &network).await;
    let catalog = r#"{"version":"draft-01","tracks":[
        {"name":"sound","packaging":"loc","isLive":true,"role":"audio","codec":"opus","samplerate":48000,"channelConfig":"2"}]}"#;
    object(&encoder, id, 0, &[], catalog.as_bytes().into()).await;
    let (sound, _) = asked_for(&encoder, &mut events).await;
    let alias = encoder.link.with(|session| session.alias(sound)).unwrap();
    let lost = (2, 4);
    for group in 1..5 {
        for object in [0, 1, 3, 2, 4, 5, 6, 7, 8, 9] {
            if (group, object) != lost {
                said(&encoder, alias, (group, object)).await;
            }
        }
    }
    let places = (1..5).flat_map(|group| (0..10).map(move |object| (group, object)));
    let places: Vec<(u8, u8)> = places.filter(|(g, o)| (*g, *o) != (2, 4)).collect();
    let mut heard = Pictures::of(&rig, "audio").await;
    assert_eq!(heard.take(places.len()).await, places);
}

/// As often as one that is subscribed to.
#[tokio::test(start_paused = true)]
async fn a_track_that_its_encoder_publishes_itself_comes_and_goes_for_an_evening() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let (encoder, _events, id) = with_catalog(&rig, &network).await;
    let mut catalog = Stream::begin(&encoder, id, (0, SubgroupId::Zero), true).await;
    let none = r#"{"version":"draft-01","tracks":[]}"#;
    catalog.object(0, &[], none.as_bytes()).await;
    let camera =
        r#"{"name":"camera","packaging":"loc","isLive":true,"role":"video","codec":"avc1.640028"}"#;
    let change = |op: &str| format!(r#"{{"deltaUpdate":[{{"op":"{op}","tracks":[{camera}]}}]}}"#);
    for n in 0..REMOVED_TRACKS_MAX as u64 {
        let request = Request::Publish {
            track: track(&["default", "one"], "camera"),
            parameters: Parameters::default(),
            properties: Properties::empty(),
        };
        let (_, answer, mut told) = encoder.ask(request).await;
        assert_eq!(code(&answer), None, "{n}");
        catalog.object(2 * n + 1, &[], change("add").as_bytes()).await;
        catalog.object(2 * n + 2, &[], change("remove").as_bytes()).await;
        soon("the camera to be let go", async {
            while !matches!(told.recv().await, Some(Told::Event(Event::Cancelled { .. }))) {}
        })
        .await;
    }
}

/// While nobody says whether it may publish, the oldest of its datagrams are dropped for newer ones.
#[tokio::test(start_paused = true)]
async fn what_comes_in_datagrams_before_the_door_has_answered_is_bounded() {
    const SENT: u64 = 4_000;
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    rig.answers.send_replace(false);
    let encoder = rig.encoder_over(&network, line()).await;
    let track = super::rig::track(&["default", "one"], "camera");
    let (parameters, properties) = (Parameters::default(), Properties::empty());
    let publish = Request::Publish { track, parameters, properties };
    let (camera, mut told) = encoder.link.request(publish).unwrap();
    let alias = encoder.link.with(|session| session.alias(camera)).unwrap();
    for group in 0..SENT {
        let datagram = Datagram {
            alias,
            group,
            object: 0,
            priority: None,
            end_of_group: true,
            properties: Properties::empty(),
            body: Body::Payload(Bytes::from_static(&[7; 1_000])),
        };
        let bytes = datagram.encode(encoder.link.version).unwrap();
        assert!(encoder.link.connection.send_datagram(bytes));
        tokio::time::sleep(ms(2)).await;
    }
    tokio::time::sleep(ms(500)).await;
    let sessions = rig.counters.traffic.open();
    let held = || sessions[0].1.datagrams.load(Ordering::Relaxed);
    assert!(held() > DATAGRAMS_WAITING_MAX / 2 && held() <= DATAGRAMS_WAITING_MAX, "{}", held());
    rig.answers.send_replace(true);
    assert_eq!(code(&super::rig::answered(&mut told).await), None);
    tokio::time::sleep(ms(500)).await;
    assert_eq!(held(), 0, "they are taken");
}
