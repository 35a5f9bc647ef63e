//! One connection against its door, over a pipe and in virtual time; and strangers at a listener.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use media::admission::{Admitted, Door, Left, Refused};
use media::codec::h264::DecoderConfiguration;
use media::properties::GroupStart;
use media::{Publication, Slot};
use proxy::network::Networks;
use rtmp::amf0::Value;
use rtmp::chunk::writer::Pieces;
use rtmp::chunk::{ChunkWriter, Message};
use rtmp::client::{Client, ClientError, Command, Config, Event, Target};
use rtmp::{Kind, Secret};
use sansio::stream::{Input, Output};
use sansio::{Core, Poll};
use spine::{Close, Limits, Location, NodeId, Origin, Path, Route, Takeover};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::listen::{Common, Counters, HalfOpen, Shared, run};
use crate::push::{Options, Push};
use crate::session;

fn common(door: Door, counters: Arc<Counters>, half_open: usize) -> Common {
    Common { door, counters, half_open: HalfOpen::new(half_open), random: |seed| seed.fill(7) }
}

/// An encoder at its end of the pipe.
struct Encoder {
    socket: DuplexStream,
    client: Client,
    counters: Arc<Counters>,
    session: tokio::task::JoinHandle<()>,
}

impl Encoder {
    fn new(door: Door, key: &str) -> Self {
        let (socket, other) = duplex(64 << 10);
        let counters = Arc::new(Counters::default());
        let peer: SocketAddr = "192.0.2.1:9".parse().unwrap();
        let common = common(door, counters.clone(), 1);
        let (guard, _) = common.half_open.enter(Some(peer.ip()));
        let session = session::run(other, peer, "rtmp", Shared::of(common), guard);
        let session = tokio::spawn(session);
        let mut target = Target::parse("rtmp://a/live/x").unwrap();
        target.name = Secret::new(key);
        let client = Client::new(std::time::Instant::now(), Config::new(target, [7; 32]));
        Self { socket, client, counters, session }
    }

    /// Talks until it may publish, or is told why not.
    async fn publish(&mut self) -> Result<(), ClientError> {
        self.talk(true).await
    }

    fn send(&mut self, kind: Kind, payload: impl Into<Vec<u8>>) {
        let payload = Bytes::from(payload.into());
        let media = Command::Media { kind, timestamp: 0, payload };
        self.client.command(std::time::Instant::now(), media).unwrap();
    }

    /// Sends what there is to send; whether it may publish.
    async fn flush(&mut self) -> bool {
        let mut begins = false;
        loop {
            match self.client.poll() {
                Poll::Output(Output::Send(bytes)) => self.socket.write_all(&bytes).await.unwrap(),
                Poll::Output(Output::Event(Event::Publishing)) => begins = true,
                Poll::Output(_) => {}
                Poll::Wait(_) => return begins,
            }
        }
    }

    async fn talk(&mut self, to_begin: bool) -> Result<(), ClientError> {
        let mut buffer = [0; 4 << 10];
        loop {
            if self.flush().await && to_begin {
                return Ok(());
            }
            let input = match self.socket.read(&mut buffer).await.unwrap() {
                0 => Input::Eof,
                n => Input::Bytes(&buffer[..n]),
            };
            let over = matches!(input, Input::Eof);
            self.client.handle(std::time::Instant::now(), input)?;
            if over {
                return Ok(());
            }
        }
    }

    /// Waits for the server to close, and says no word meanwhile.
    async fn closes_within(mut self, bound: Duration) {
        let since = tokio::time::Instant::now();
        while self.socket.read(&mut [0; 512]).await.is_ok_and(|n| n > 0) {}
        self.session.await.unwrap();
        assert!(since.elapsed() <= bound, "{:?}", since.elapsed());
    }

    /// Refused, dismissed, unusable, and how many are live.
    fn counted(&self) -> [u64; 4] {
        let of = |n: &std::sync::atomic::AtomicU64| n.load(std::sync::atomic::Ordering::Relaxed);
        let Counters { refused_publishes, dismissed, unusable, live, .. } = &*self.counters;
        let live = live.load(std::sync::atomic::Ordering::Relaxed) as u64;
        [of(refused_publishes), of(dismissed), of(unusable), live]
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn words(told: Result<(), ClientError>) -> String {
    told.map_err(|error| error.to_string()).unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_reads_why_and_is_cut_off_within_a_second() {
    let door = |refused: Refused| -> Door {
        Arc::new(move |_| {
            let refused = refused.clone();
            Box::pin(async move { Err(refused) })
        })
    };
    for (key, refused) in [
        ("", Refused::NoKey),
        ("wrong", Refused::UnknownKey),
        ("off", Refused::Disabled),
        ("late", Refused::TakenOver),
        ("often", Refused::TooManyAttempts),
    ] {
        // Without a key nobody is asked.
        let answer = if key.is_empty() { Refused::Busy } else { refused.clone() };
        let mut encoder = Encoder::new(door(answer), key);
        let told = words(encoder.publish().await);
        assert!(told.contains("NetStream.Publish.Denied"), "{told}");
        assert!(told.contains(&refused.to_string()), "{told}");
        assert_eq!(encoder.counted(), [1, 0, 0, 0], "{key}");
        encoder.closes_within(SECOND).await;
    }
}

/// Else a stranger had what an encoder may send, for ever: it is asked for and taken back in one go.
#[tokio::test(start_paused = true)]
async fn who_is_refused_goes_also_when_it_was_taken_back() {
    let door: Door = Arc::new(|_| Box::pin(async { Err(Refused::UnknownKey) }));
    let mut encoder = Encoder::new(door, "key");
    let mut words = vec![3; 1];
    words.resize(1 + 2 * rtmp::handshake::PACKET_BYTES, 0);
    let mut out = Pieces::default();
    let mut writer = ChunkWriter::new();
    for (stream_id, name, value) in [
        (0, "connect", Value::object([("app", Value::text("live"))])),
        (0, "createStream", Value::Null),
        (1, "publish", Value::Null),
        (0, "deleteStream", Value::Null),
    ] {
        let argument = match name {
            "publish" => Value::text("guess"),
            _ => Value::Number(1.0),
        };
        let mut payload = bytes::BytesMut::new();
        let values = [Value::text(name), Value::Number(1.0), value, argument];
        rtmp::amf0::encode_all(&values, &mut payload);
        let (chunk_stream, type_id, payload) = (3, 20, payload.freeze());
        let message = Message { chunk_stream, stream_id, type_id, timestamp: 0, payload };
        writer.write(&message, &mut out);
    }
    words.extend(out.take().flatten());
    encoder.socket.write_all(&words).await.unwrap();
    let counters = encoder.counters.clone();
    encoder.closes_within(SECOND).await;
    assert_eq!(counters.refused_publishes.load(std::sync::atomic::Ordering::Relaxed), 1);
}

/// Lets everybody in, on one broadcast; and how they left.
fn open_door(origin: &Origin) -> (Door, Arc<Mutex<Vec<Left>>>) {
    let (origin, left) = (origin.clone(), Arc::new(Mutex::new(Vec::new())));
    let noted = left.clone();
    let door: Door = Arc::new(move |asking| {
        let (origin, noted) = (origin.clone(), noted.clone());
        Box::pin(async move {
            let broadcast =
                origin.publish(&path(), Route::local(NodeId(0), 1), Takeover::Replace).unwrap();
            let now = std::time::Instant::now();
            let publication = Publication::new(broadcast, asking.clock, 0, now);
            let leave = move |publication: Publication, left| {
                noted.lock().unwrap().push(left);
                if publication.closed().is_none() {
                    publication.end(Close::Ended, std::time::Instant::now());
                }
            };
            Ok(Admitted { publication, leave: Box::new(leave) })
        })
    });
    (door, left)
}

fn path() -> Path {
    Path::new(["default", "input"]).unwrap()
}

#[tokio::test(start_paused = true)]
async fn who_has_to_go_is_counted_as_that_and_as_nothing_else() {
    let origin = Origin::new(Limits::default());
    let (door, left) = open_door(&origin);
    // Another encoder takes over.
    let mut encoder = Encoder::new(door.clone(), "key");
    encoder.publish().await.unwrap();
    assert_eq!(encoder.counted(), [0, 0, 0, 1]);
    let route = Route::local(NodeId(0), 2);
    let other = origin.publish(&path(), route, Takeover::Replace).unwrap();
    let told = words(encoder.talk(false).await);
    assert!(told.contains("another encoder has taken over this input"), "{told}");
    assert_eq!(encoder.counted(), [0, 1, 0, 0]);
    encoder.closes_within(SECOND).await;
    drop(other);
    // What it sends can't go on air: Sorenson H.263.
    let mut encoder = Encoder::new(door, "key");
    encoder.publish().await.unwrap();
    encoder.send(Kind::Video, [0x12, 0, 0, 0]);
    let told = words(encoder.talk(false).await);
    assert!(told.contains("Sorenson H.263 is not supported: send H.264, HEVC"), "{told}");
    assert_eq!(encoder.counted(), [0, 0, 1, 0]);
    encoder.closes_within(SECOND).await;
    assert_eq!(*left.lock().unwrap(), [Left::Dismissed, Left::Faulty]);
}

/// The sequence header of H.264, in an E-RTMP packet.
fn avc_header() -> Vec<u8> {
    let sps = [
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00,
        0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58,
    ];
    let pps = [0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];
    let record = DecoderConfiguration::new(vec![sps.to_vec().into()], vec![pps.to_vec().into()]);
    [&b"\x90avc1"[..], &record.unwrap().to_avcc()].concat()
}

/// Nobody can see such a picture, and only its owner can do something about it.
#[tokio::test(start_paused = true)]
async fn pictures_before_any_parameter_sets_are_counted() {
    let (origin, counted) = (Origin::new(Limits::default()), Arc::new(Mutex::new(None)));
    let ((inner, _), noted) = (open_door(&origin), counted.clone());
    let door: Door = Arc::new(move |asking| {
        let (inner, noted) = (inner.clone(), noted.clone());
        Box::pin(async move {
            let Admitted { publication, .. } = inner(asking).await?;
            let leave = move |publication: Publication, _| {
                *noted.lock().unwrap() = Some(publication.counts());
            };
            Ok(Admitted { publication, leave: Box::new(leave) })
        })
    });
    let mut encoder = Encoder::new(door, "key");
    encoder.publish().await.unwrap();
    for _ in 0..3 {
        encoder.send(Kind::Video, b"\x91avc1\0\0\0\0\0\0\x03\x65\x88\x80".as_slice());
    }
    encoder.flush().await;
    drop(encoder.socket);
    encoder.session.await.unwrap();
    let counts = counted.lock().unwrap().unwrap();
    assert_eq!((counts.unconfigured, counts.frames, counts.unreadable), (3, 0, 0));
}

/// `onMetaData` comes before the tracks that it describes; what it says of them is a claim.
#[tokio::test(start_paused = true)]
async fn declared_bitrates_go_on_air_with_their_tracks_and_lies_do_not() {
    let origin = Origin::new(Limits::default());
    let (door, _) = open_door(&origin);
    for (kbps, bits) in [
        (Value::Number(2_500.0), Some(2_500_000)),
        (Value::Number(128.5), Some(128_500)),
        (Value::Number(0.0), None),
        (Value::Number(-3_000.0), None),
        // Bits instead of kilobits, and no number at all.
        (Value::Number(2_500_000.0), None),
        (Value::Number(f64::INFINITY), None),
        (Value::Number(f64::NAN), None),
        (Value::text("2500"), None),
        (Value::Null, None),
    ] {
        let mut encoder = Encoder::new(door.clone(), "key");
        encoder.publish().await.unwrap();
        let broadcast = origin.get(&path()).unwrap();
        let mut said = bytes::BytesMut::new();
        let values = [("videodatarate", kbps.clone()), ("audiodatarate", kbps.clone())];
        rtmp::amf0::encode_all(&[Value::text("onMetaData"), Value::object(values)], &mut said);
        encoder.send(Kind::Data, said);
        encoder.send(Kind::Video, avc_header());
        encoder.send(Kind::Video, b"\x91avc1\0\0\0\0\0\0\x03\x65\x88\x80".as_slice());
        encoder.send(Kind::Audio, [0xaf, 0, 0x11, 0x90]);
        encoder.send(Kind::Audio, [0xaf, 1, 0x21, 0x10]);
        encoder.flush().await;
        drop(encoder.socket);
        encoder.session.await.unwrap();
        for slot in [Slot::Video(0), Slot::Audio(0)] {
            let track = broadcast.get(&slot.name()).unwrap();
            let frame = track.object(Location { group: 0, object: 0 }).unwrap();
            let start = GroupStart::decode(&frame.header().properties).unwrap();
            assert_eq!(start.bitrate, bits, "{kbps:?} of {slot:?}");
        }
    }
}

/// E-RTMP v2 "ModEx": what stands before a packet does not keep it from the air, and moves it.
#[tokio::test(start_paused = true)]
async fn a_packet_with_an_offset_of_nanoseconds_before_it_goes_on_air_at_its_time() {
    const FRAME: &[u8] = &[0, 0, 0, 3, 0x65, 0x88, 0x80];
    let origin = Origin::new(Limits::default());
    let (door, _) = open_door(&origin);
    let mut encoder = Encoder::new(door, "key");
    encoder.publish().await.unwrap();
    let broadcast = origin.get(&path()).unwrap();
    let header = avc_header();
    encoder.send(Kind::Video, header);
    // TimestampOffsetNano of three bytes, one that nobody knows, and a frame without composition time.
    encoder.send(Kind::Video, [&b"\x97\x02\x0f\x42\x3f\x07\x00\xee\x13avc1"[..], FRAME].concat());
    encoder.flush().await;
    drop(encoder.socket);
    encoder.session.await.unwrap();
    let video = broadcast.get(&Slot::Video(0).name()).unwrap();
    let frame = video.object(Location { group: 0, object: 0 }).unwrap();
    let pieces = frame.whole().unwrap();
    assert_eq!(pieces.iter().flat_map(|piece| piece.to_vec()).collect::<Vec<u8>>(), FRAME);
    let timing = frame.header().timing.unwrap();
    assert!(timing.sync);
    // The timeline begins at one second: 999,999 ns later are 90 ticks of 90 kHz, all but rounding.
    assert!((90_089..=90_090).contains(&timing.decode), "{timing:?}");
}

/// A connection from an address of its own.
async fn connect(to: SocketAddr, from: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 1, from], 0))).unwrap();
    socket.connect(to).await.unwrap()
}

/// They have all places, and say nothing, or only the beginning; each second that they may is one without an encoder.
#[tokio::test]
async fn strangers_who_say_nothing_make_room_for_an_encoder() {
    let origin = Origin::new(Limits::default());
    let ((door, _), counters) = (open_door(&origin), Arc::new(Counters::default()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let common = common(door, counters.clone(), 4);
    let served = run(listener, None, Networks::default(), common, std::future::pending());
    let served = tokio::spawn(served);
    let mut strangers = Vec::new();
    for from in 1..=4 {
        strangers.push(connect(to, from).await);
    }
    strangers[1].write_all(&[3; 100]).await.unwrap();
    let target = Target::parse(&format!("rtmp://{to}/live/key")).unwrap();
    let options = || Options { seed: [7; 32], four_ccs: Vec::new(), tls: None };
    let encoder = Push::connect(target.clone(), options()).await.unwrap();
    // Who came first is gone, and who is on the air has no place among them.
    assert!(strangers[0].read(&mut [0; 9]).await.is_ok_and(|n| n == 0));
    let ended = || counters.refused_half_open.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(ended(), 1);
    strangers.push(connect(to, 5).await);
    let another = Push::connect(target, options()).await.unwrap();
    // What he had said may not have been read.
    let _ = strangers[1].read_to_end(&mut Vec::new()).await;
    assert_eq!(ended(), 2);
    drop((encoder, another));
    served.abort();
}
