//! Many short connections: what each of them takes is given back.
//!
//! `AIRWAVE_ROUNDS` is how often an encoder comes and goes (2,000 in the gate, 40,000 in soak). 10,000 take two
//! minutes on two processors, of the thirty-five that the gate may take, and find nothing that the thousand behind the first
//! thousand do not: what stays of a round stays of each. When it is set, the end of what is kept for the last viewers is
//! waited for too (a minute).

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use media::codec::h264::DecoderConfiguration;
use media::flv::{self, AudioFormat, VideoFormat};
use rtmp::Kind;
use rtmp::client::{Client, Command, Config, Event, Target};
use sansio::stream::{Input as Arrived, Output};
use sansio::{Core, Poll};
use testkit::{Input, Server, wait_until};

use crate::AIRWAVE;
use crate::beside::size;

/// Encoders at a time, each on an input of its own.
const ENCODERS: usize = 4;

/// How much memory may grow behind the first thousand rounds.
const GROWTH_KIB_MAX: u64 = 4 << 10;

/// By how much what is kept of two broadcasts may differ; 64 bytes that stay of each round would be more.
const KEPT_BYTES_DIFFER: u64 = 4 << 10;

/// The messages of the shortest broadcast: a picture and a moment of sound.
fn messages() -> Vec<(Kind, u32, Vec<u8>)> {
    let sps = [
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00,
        0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58,
    ];
    let pps = [0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];
    let record =
        DecoderConfiguration::new(vec![sps.to_vec().into()], vec![pps.to_vec().into()]).unwrap();
    let picture = [
        &flv::video_frame(VideoFormat::H264, 0, true, 0)[..],
        &[0, 0, 0, 40, 0x65, 0x88],
        &[0x80; 38],
    ]
    .concat();
    let sound = [&flv::audio_frame(AudioFormat::Aac, 0)[..], &[0x21; 60]].concat();
    vec![
        (Kind::Video, 0, flv::video_header(VideoFormat::H264, 0, &record.to_avcc())),
        (Kind::Audio, 0, flv::audio_header(AudioFormat::Aac, 0, &[0x11, 0x90]).unwrap()),
        (Kind::Video, 0, picture.clone()),
        (Kind::Audio, 5, sound.clone()),
        (Kind::Video, 33, picture),
        (Kind::Audio, 26, sound),
    ]
}

/// Connects, publishes, leaves in good order.
fn round(url: &str) {
    let mut encoder = Encoder::publishing(url);
    for (kind, timestamp, payload) in messages() {
        encoder.send(kind, timestamp, payload);
    }
    encoder.client.command(Instant::now(), Command::Goodbye).unwrap();
    encoder.drain();
    encoder.socket.shutdown(Shutdown::Write).unwrap();
    while encoder.socket.read(&mut [0; 4096]).unwrap() > 0 {}
}

/// Our own client core on a socket.
pub(crate) struct Encoder {
    pub(crate) socket: TcpStream,
    client: Client,
}

impl Encoder {
    /// Connects and waits until media may be sent.
    pub(crate) fn publishing(url: &str) -> Self {
        let target = Target::parse(url).unwrap();
        let socket = TcpStream::connect((&*target.host, target.port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let client = Client::new(Instant::now(), Config::new(target, [7; 32]));
        let mut encoder = Self { socket, client };
        let mut buffer = [0; 4096];
        while !encoder.drain() {
            let count = encoder.socket.read(&mut buffer).unwrap();
            assert!(count > 0, "the server has closed");
            encoder.client.handle(Instant::now(), Arrived::Bytes(&buffer[..count])).unwrap();
        }
        encoder
    }

    /// Sends what there is to send; whether media may be sent from now on. The server may have closed.
    fn drain(&mut self) -> bool {
        let mut publishing = false;
        while let Poll::Output(output) = self.client.poll() {
            match output {
                Output::Send(bytes) => drop(self.socket.write_all(&bytes)),
                Output::Event(Event::Publishing) => publishing = true,
                Output::Close => {}
            }
        }
        publishing
    }

    pub(crate) fn send(&mut self, kind: Kind, timestamp: u32, payload: Vec<u8>) {
        let media = Command::Media { kind, timestamp, payload: payload.into() };
        self.client.command(Instant::now(), media).unwrap();
        self.drain();
    }
}

fn rounds(inputs: &[Input], each: usize) {
    std::thread::scope(|scope| {
        for input in inputs {
            scope.spawn(move || (0..each).for_each(|_| round(&input.rtmp)));
        }
    });
}

/// Waits until no broadcast has a task any more, and tells what is left: charged bytes and descriptors.
fn left(server: &Server, idle_tasks: u64) -> (u64, usize) {
    wait_until("all broadcasts to be over, and their tasks", 30, || {
        let metrics = server.metrics();
        let live = metrics["broadcasts"] + metrics["rtmp_connections_open"];
        // Fewer, where the connection that made the last input was still closing when they were counted.
        let over = live == 0 && metrics["tasks"] <= idle_tasks;
        over.then_some((metrics["media_cache_bytes"], server.descriptors()))
    })
}

#[test]
fn encoders_that_come_and_go_leave_nothing_behind() {
    let total = size("AIRWAVE_ROUNDS", 2_000);
    let server = Server::start(AIRWAVE, &[]);
    let inputs: Vec<Input> = (0..ENCODERS).map(|_| server.input()).collect();
    let idle = server.metric("tasks");
    // Each input's newest broadcast is kept for a minute for its viewers to see the end: part of what is normal.
    let first = total.min(1_000) / ENCODERS;
    rounds(&inputs, first);
    let (before, resident) = (left(&server, idle), server.resident_kib());
    let began = Instant::now();
    rounds(&inputs, total / ENCODERS - first);
    let took = began.elapsed();
    let after = left(&server, idle);
    let grown = server.resident_kib().saturating_sub(resident);
    println!(
        "{total} rounds, the last {} in {took:?}; resident {resident} KiB after the first {}, {grown} KiB more at the \
         end; charged bytes, descriptors {before:?} and {after:?}, tasks {idle}",
        total - first * ENCODERS,
        first * ENCODERS
    );
    // A connection to the admin listener of ours may still be closing when they are counted.
    wait_until("descriptors to return", 30, || (server.descriptors() <= before.1).then_some(()));
    // A kept broadcast has one or two editions of its catalog, as its tracks came together or not.
    assert!(after.0.abs_diff(before.0) <= ENCODERS as u64 * KEPT_BYTES_DIFFER, "charged bytes");
    assert!(grown <= GROWTH_KIB_MAX, "{grown} KiB more in memory");
    let metrics = server.metrics();
    assert_eq!(metrics["rtmp_connections_total"], (total / ENCODERS * ENCODERS) as u64);
    assert_eq!((metrics["rtmp_protocol_errors_total"], metrics["task_panics_total"]), (0, 0));
    let videos = server.api(
        "GET",
        &format!("/stream/live_inputs/{}/videos?limit=1&include_counts=true", inputs[0].uid),
        None,
    );
    let videos = videos.json();
    assert_eq!(videos["total"], total / ENCODERS, "a video a round");
    assert!(videos["result"][0]["size"].as_u64() > Some(0), "{videos}");
    if std::env::var_os("AIRWAVE_ROUNDS").is_some() {
        wait_until("the last broadcasts to be forgotten", 100, || {
            (server.metric("media_cache_bytes") == 0).then_some(())
        });
    }
}
