//! RTMP sessions that no encoder of ours makes: refused, repeated, unanswered; and what servers answer.

use std::io::Result;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use rtmp::amf0::{self, Value};
use rtmp::chunk::writer::Pieces;
use rtmp::chunk::{ChunkWriter, Message};
use rtmp::client::{self, Client, Target};
use rtmp::server::{self, Config, Event, Refusal, RefusalCode, Server};
use sansio::stream::{Input, Output};
use sansio::{Core, Poll};

use crate::Seeds;

pub(crate) fn write(seeds: &Seeds) -> Result<()> {
    seeds.add("rtmp_wire", "amf0-all-types", 0, &all_types())?;
    let [setup, media, ends] = [setup(), media(), ends()];
    let play = [setup[1].clone(), setup[4].clone(), command("play", 1, &["x"])];
    seeds.add("rtmp_wire", "chunks-media", 1, &written(&[9], &[&media]))?;
    let session = |cut, parts: &[&[Message]]| written(&[cut], parts);
    let server = |name, answers, data: Vec<u8>| seeds.add("rtmp_server", name, answers, &data);
    server("accepted", 1, session(99, &[&setup, &media, &ends]))?;
    server("rejected", 2, session(7, &[&setup, &media]))?;
    server("unanswered", 4, session(255, &[&setup, &media, &ends]))?;
    server("twice", 3, session(60, &[&setup, &media, &ends[1..2], &setup[5..], &media]))?;
    server("play", 1, session(50, &[&play]))?;
    let client = |name, wishes, data: &[u8]| seeds.add("rtmp_client", name, wishes, data);
    client("accepts", 0, &[&[99], &answers(true)[..]].concat())?;
    client("accepts-goodbye", 3, &[&[7], &answers(true)[..]].concat())?;
    client("refuses", 1, &[&[255], &answers(false)[..]].concat())
}

/// What our server says to our client behind the handshake.
fn answers(accept: bool) -> Vec<u8> {
    let now = Instant::now();
    let target = Target::parse("rtmp://host/live/key?token=1").expect("a target");
    let mut client = Client::new(now, client::Config::new(target, [0; 32]));
    let mut server = Server::new(now, Config::new([0; 32]));
    let mut said = Vec::new();
    loop {
        let mut progress = false;
        while let Poll::Output(output) = client.poll() {
            if let Output::Send(bytes) = output {
                progress = true;
                server.handle(now, Input::Bytes(&bytes)).expect("our own client");
            }
        }
        while let Poll::Output(output) = server.poll() {
            progress = true;
            match output {
                Output::Send(bytes) => {
                    said.extend_from_slice(&bytes);
                    // A refusal is an error, and its words are what is wanted.
                    let _ = client.handle(now, Input::Bytes(&bytes));
                }
                Output::Event(Event::Publish(publish)) => {
                    let stream_id = publish.stream_id;
                    let description = "The stream key is not known.".to_owned();
                    let refusal = Refusal { code: RefusalCode::PublishDenied, description };
                    let command = match accept {
                        true => server::Command::Accept { stream_id },
                        false => server::Command::Reject { stream_id, refusal },
                    };
                    server.command(now, command).expect("it was asked");
                }
                _ => {}
            }
        }
        if !progress {
            return said.split_off(1 + 2 * rtmp::handshake::PACKET_BYTES);
        }
    }
}

fn all_types() -> Bytes {
    let metadata = Value::EcmaArray(vec![
        ("width".to_owned(), Value::Number(640.0)),
        ("stereo".to_owned(), Value::Boolean(true)),
        ("when".to_owned(), Value::Date { ms: 1.0, zone: 0 }),
        ("tracks".to_owned(), Value::StrictArray(vec![Value::Null, Value::Undefined])),
        ("typed".to_owned(), Value::TypedObject("C".to_owned(), vec![])),
    ]);
    let mut body = BytesMut::new();
    amf0::encode_all(
        &[Value::text("@setDataFrame"), Value::text("onMetaData"), metadata],
        &mut body,
    );
    body.freeze()
}

fn setup() -> Vec<Message> {
    let list = Value::StrictArray(vec![Value::text("av01"), Value::text("hvc1")]);
    let connect = Value::object([
        ("app", Value::text("live")),
        ("tcUrl", Value::text("rtmp://host/live")),
        ("capsEx", Value::Number(15.0)),
        ("fourCcList", list),
    ]);
    let mut body = BytesMut::new();
    amf0::encode_all(&[Value::text("connect"), Value::Number(1.0), connect], &mut body);
    let publish = command("publish", 1, &["key?token=1"]);
    let amf3 = [&[0][..], &publish.payload].concat();
    vec![
        message(2, 0, 5, 0, &2_500_000u32.to_be_bytes()),
        message(3, 0, 20, 0, &body),
        command("releaseStream", 0, &["key?token=1"]),
        command("FCPublish", 0, &["key?token=1"]),
        command("createStream", 0, &[]),
        message(3, 1, 17, 0, &amf3),
    ]
}

/// Extended timestamps, an aggregate, a high chunk stream, user control.
fn media() -> Vec<Message> {
    let mut tags = vec![8, 0, 0, 1, 0, 0, 5, 0, 0, 0, 0, 0xaf, 0, 0, 0, 12];
    tags.extend_from_slice(&[9, 0, 0, 2, 0, 0, 9, 0, 0, 0, 0, 0x17, 1, 0, 0, 0, 13]);
    vec![
        message(5, 1, 18, 0, &all_types()),
        message(6, 1, 9, 0, &[0x17; 300]),
        message(4, 1, 8, 0xff_fffe, &[0xaf; 20]),
        message(4, 1, 8, 0xff_ffff, &[0xaf; 200]),
        message(6, 1, 9, 0x100_0000, &[0x27; 300]),
        message(6, 1, 9, 0x100_0028, &[0x27; 300]),
        message(400, 1, 22, 50, &tags),
        message(2, 0, 4, 0, &[0, 6, 0, 0, 0, 1]),
    ]
}

fn ends() -> Vec<Message> {
    vec![
        command("FCUnpublish", 0, &["key?token=1"]),
        command("closeStream", 1, &[]),
        command("deleteStream", 0, &[]),
    ]
}

fn command(name: &str, stream_id: u32, arguments: &[&str]) -> Message {
    let mut body = BytesMut::new();
    amf0::encode_all(&[Value::text(name), Value::Number(4.0), Value::Null], &mut body);
    arguments.iter().for_each(|text| amf0::encode_all(&[Value::text(*text)], &mut body));
    message(3, stream_id, 20, 0, &body)
}

fn message(
    chunk_stream: u32,
    stream_id: u32,
    type_id: u8,
    timestamp: u32,
    payload: &[u8],
) -> Message {
    let payload = Bytes::copy_from_slice(payload);
    Message { chunk_stream, stream_id, type_id, timestamp, payload }
}

fn written(head: &[u8], messages: &[&[Message]]) -> Vec<u8> {
    let (mut writer, mut out) = (ChunkWriter::new(), Pieces::default());
    messages.iter().flat_map(|part| *part).for_each(|message| writer.write(message, &mut out));
    [head.to_vec(), out.take().flatten().collect()].concat()
}
