//! RTMP that lies: about lengths, depth, chunk sizes, media. Each lie is told in the log, costs next to nothing, and is
//! the affair of its own connection.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use bytes::BytesMut;
use rtmp::Kind;
use rtmp::amf0::{Value, encode_all};
use testkit::{Server, wait_until};

use crate::AIRWAVE;
use crate::beside::{Beside, Held};
use crate::hostile::{closed, connect};
use crate::rounds::Encoder;

/// Memory that all of them together may cost. Each announces up to 4 GiB.
const GROWTH_KIB_MAX: u64 = 16 << 10;

const IN_TIME: Duration = Duration::from_secs(60);

/// One message in one chunk with a whole header.
fn message(stream: u8, kind: u8, announced: usize, body: &[u8]) -> Vec<u8> {
    let length = (announced as u32).to_be_bytes();
    let header = [3 + stream, 0, 0, 0, length[1], length[2], length[3], kind, stream, 0, 0, 0];
    [&header[..], body].concat()
}

fn whole(stream: u8, kind: u8, body: &[u8]) -> Vec<u8> {
    message(stream, kind, body.len(), body)
}

fn command(name: &str, values: &[Value]) -> Vec<u8> {
    let mut body = BytesMut::new();
    encode_all(&[Value::text(name), Value::Number(1.0)], &mut body);
    encode_all(values, &mut body);
    whole(0, 20, &body)
}

fn connected() -> Vec<u8> {
    command("connect", &[Value::object([("app", Value::text("live"))])])
}

/// What a stranger says behind the handshake, and what the log says of it.
fn lies_of_strangers() -> Vec<(Vec<u8>, &'static str)> {
    let name = [&[2, 0, 7][..], b"connect", &[0; 9]].concat();
    let amf = |value: &[u8]| {
        // In chunks of 128 bytes, which is where everybody begins.
        let body = [&name[1..], value].concat();
        let body = [&[2][..], &body].concat();
        let mut chunks = message(0, 20, body.len(), &body[..body.len().min(128)]);
        for piece in body.chunks(128).skip(1) {
            chunks.push(0xc3);
            chunks.extend_from_slice(piece);
        }
        chunks
    };
    let nested = [3, 0, 1, b'a'].repeat(2_000);
    // The first chunk of 256 bytes each.
    let begun = |id| [&[0, id, 0, 0, 0, 0, 1, 0, 9, 1, 0, 0, 0][..], &[7; 128]].concat();
    let many: Vec<u8> = (64..200).flat_map(begun).collect();
    let streams = command("createStream", &[Value::Null]).repeat(50);
    vec![
        (message(0, 20, 0xff_ffff, &[2; 128]), "a message of 16777215 bytes is over the limit"),
        (message(0, 9, 0xff_ffff, &[0x17; 128]), "over the limit"),
        (whole(0, 1, &[0, 0, 0, 0]), "chunk size 0 is not between"),
        (whole(0, 1, &[0x7f, 0xff, 0xff, 0xff]), "chunk size 2147483647 is not between"),
        (whole(0, 1, &[1]), "message of type 1 is cut off"),
        (amf(&nested), "nest deeper than"),
        (amf(&[0x0c, 0xff, 0xff, 0xff, 0xff, b'a']), "AMF0 value is cut off"),
        (amf(&[8, 0xff, 0xff, 0xff, 0xff, 0, 1]), "AMF0 value is cut off"),
        (amf(&[10, 0xff, 0xff, 0xff, 0xff, 5, 5]), "cut off"),
        (amf(&[5; 9_000]), "more than 4096 AMF0 values"),
        (amf(&[0x11]), "AMF0 type 17 is not supported"),
        (many, "chunk streams"),
        (vec![0xc5, 1, 2, 3], "refers to an earlier one"),
        (command("publish", &[Value::Null, Value::text("key")]), "a command before connect"),
        ([connected(), connected()].concat(), "connect a second time"),
        ([connected(), streams].concat(), "message streams"),
        (whole(0, 20, &[5]), "command"),
    ]
}

fn ends(mut socket: TcpStream, what: &str) {
    let _ = socket.shutdown(Shutdown::Write);
    assert!(closed(&mut socket, IN_TIME), "{what}: the connection is kept");
}

#[test]
fn lies_of_strangers_and_publishers_are_told_and_cost_nothing() {
    let mut server = Server::start(AIRWAVE, &[]);
    let held = Held::by(&server);
    let beside = Beside::start(&server);
    let resident = server.resident_kib();
    let hello = [&[3][..], &[0; 2 * 1_536]].concat();
    for (number, (lie, words)) in lies_of_strangers().into_iter().enumerate() {
        // Of strangers' lines the log has a few in some seconds: he says it until it is told.
        wait_until(words, 60, || {
            let mut socket = connect(&server, "rtmp", 1 + number as u8);
            socket.write_all(&hello).unwrap();
            // The server may close before it has all of it.
            let _ = socket.write_all(&lie);
            ends(socket, words);
            server.child().output().contains(words).then_some(())
        });
    }
    publishers(&mut server);
    let grown = server.resident_kib().saturating_sub(resident);
    beside.finish(&server);
    held.again(&server);
    assert!(grown <= GROWTH_KIB_MAX, "{grown} KiB more in memory");
}

/// Somebody with a key, and media that is none.
fn publishers(server: &mut Server) {
    let avcc = [0x17, 0, 0, 0, 0, 1, 100, 0, 40, 0xff, 0xff, 0xff, 0xff, 0x67];
    let length = [0x17, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x65, 0x88];
    let multitrack = [0x96, 0x21, b'a', b'v', b'0', b'1', 0, 0xff, 0xff, 0xff, 1];
    for (kind, body, words) in [
        (Kind::Video, &avcc[..], "the media can't be read"),
        (Kind::Video, &multitrack, "the media can't be read"),
        (Kind::Video, &[0x12, 0, 0], "send H.264"),
        (Kind::Audio, &[0x60, 1, 2], "send H.264"),
    ] {
        let mut encoder = Encoder::publishing(&server.input().rtmp);
        for at in 0..1_100 {
            encoder.send(kind, at, body.to_vec());
        }
        ends(encoder.socket, words);
        told(server, words);
    }
    // Slices before any configuration are waited out; what follows is not.
    let deep = [&[2, 0, 10][..], b"onMetaData", &[3, 0, 1, b'a'].repeat(3_000)].concat();
    let aggregate = [9, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3];
    for (bytes, words) in [
        (message(1, 9, 0xff_ffff, &[0x17; 500]), "over the limit of 8388608"),
        (whole(1, 22, &aggregate), "message of type 22 is cut off"),
        (whole(1, 18, &deep), ""),
    ] {
        let mut encoder = Encoder::publishing(&server.input().rtmp);
        encoder.send(Kind::Video, 0, length.to_vec());
        let _ = encoder.socket.write_all(&bytes);
        ends(encoder.socket, words);
        told(server, words);
    }
}

fn told(server: &mut Server, words: &str) {
    wait_until(words, 60, || server.child().output().contains(words).then_some(()));
}
