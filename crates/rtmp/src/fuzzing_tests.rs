//! The committed seeds, and small random changes of them, through the bodies of the fuzz targets.

use std::path::PathBuf;

use proptest::prelude::*;
use sansio::harness::{Rng, epoch};

use super::*;
use crate::amf0::Value;
use crate::chunk::Message;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// A few changes: flipped bytes, cuts, repeats.
fn mutated(seed: &[u8], random: u64) -> Vec<u8> {
    let mut rng = Rng::new(random);
    let mut data = seed.to_vec();
    for _ in 0..1 + rng.below(6) {
        let at = rng.below(data.len());
        let end = at + rng.below((data.len() - at).min(64) + 1);
        match rng.below(5) {
            0 if data.len() > 2 => drop(data.drain(at..end)),
            1 => data.extend_from_within(at..end),
            2 if at < data.len() => data[at] = [0, 1, 0xff, 0x7f, 0x80][rng.below(5)],
            _ if at < data.len() => data[at] = rng.next_u64() as u8,
            _ => {}
        }
    }
    data
}

#[test]
fn the_seeds_pass() {
    seeds("rtmp_amf0").iter().for_each(|seed| amf0(seed));
    seeds("rtmp_chunk").iter().for_each(|seed| chunk(seed));
    seeds("rtmp_server_session").iter().for_each(|seed| server_session(epoch(), seed));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn changed_amf0_seeds_pass(random in any::<u64>()) {
        seeds("rtmp_amf0").iter().for_each(|seed| amf0(&mutated(seed, random)));
    }

    #[test]
    fn changed_chunk_seeds_pass(random in any::<u64>()) {
        seeds("rtmp_chunk").iter().for_each(|seed| chunk(&mutated(seed, random)));
    }

    #[test]
    fn changed_session_seeds_pass(random in any::<u64>()) {
        seeds("rtmp_server_session").iter().for_each(|seed| server_session(epoch(), &mutated(seed, random)));
    }
}

/// Writes the seeds that our own encoders make: `cargo test -p rtmp --lib write_seeds -- --ignored`.
#[test]
#[ignore = "writes into the tree"]
fn write_seeds() {
    let write = |target: &str, name: &str, data: &[u8]| {
        let folder =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), data).unwrap();
    };
    let metadata = Value::EcmaArray(vec![
        ("width".to_owned(), Value::Number(640.0)),
        ("encoder".to_owned(), Value::text("Lavf63.1.102")),
        ("stereo".to_owned(), Value::Boolean(true)),
        ("when".to_owned(), Value::Date { ms: 1.0, zone: 0 }),
        ("tracks".to_owned(), Value::StrictArray(vec![Value::Null, Value::Undefined])),
        ("typed".to_owned(), Value::TypedObject("C".to_owned(), vec![])),
    ]);
    let mut body = BytesMut::new();
    amf0::encode_all(
        &[Value::text("@setDataFrame"), Value::text("onMetaData"), metadata.clone()],
        &mut body,
    );
    write("rtmp_amf0", "metadata", &body);
    let connect = Value::object([
        ("app", Value::text("live")),
        ("tcUrl", Value::text("rtmp://host/live")),
        ("flashVer", Value::text("FMLE/3.0")),
        ("capsEx", Value::Number(15.0)),
        ("fourCcList", Value::StrictArray(vec![Value::text("av01"), Value::text("hvc1")])),
    ]);
    let command = |name: &str, transaction: f64, values: &[Value]| {
        let mut body = BytesMut::new();
        amf0::encode_all(&[Value::text(name), Value::Number(transaction)], &mut body);
        amf0::encode_all(values, &mut body);
        body.freeze()
    };
    write("rtmp_amf0", "connect", &command("connect", 1.0, std::slice::from_ref(&connect)));

    let message = |chunk_stream, stream_id, type_id, timestamp, payload: &[u8]| {
        let payload = bytes::Bytes::copy_from_slice(payload);
        Message { chunk_stream, stream_id, type_id, timestamp, payload }
    };
    let null = Value::Null;
    let name = Value::text("key?token=1");
    let setup = [
        message(2, 0, 5, 0, &2_500_000u32.to_be_bytes()),
        message(3, 0, 20, 0, &command("connect", 1.0, &[connect])),
        message(3, 0, 20, 0, &command("releaseStream", 2.0, &[null.clone(), name.clone()])),
        message(3, 0, 20, 0, &command("FCPublish", 3.0, &[null.clone(), name.clone()])),
        message(3, 0, 20, 0, &command("createStream", 4.0, std::slice::from_ref(&null))),
        message(
            3,
            1,
            17,
            0,
            &[&[0][..], &command("publish", 5.0, &[null.clone(), name.clone()])].concat(),
        ),
    ];
    let mut tags = vec![8, 0, 0, 1, 0, 0, 5, 0, 0, 0, 0, 0xaf, 0, 0, 0, 12];
    tags.extend_from_slice(&[9, 0, 0, 2, 0, 0, 9, 0, 0, 0, 0, 0x17, 1, 0, 0, 0, 13]);
    let media = [
        message(5, 1, 18, 0, &body),
        message(6, 1, 9, 0, &[0x17; 300]),
        message(4, 1, 8, 0xff_fffe, &[0xaf; 20]),
        message(4, 1, 8, 0xff_ffff, &[0xaf; 200]),
        message(6, 1, 9, 0x100_0000, &[0x27; 300]),
        message(6, 1, 9, 0x100_0028, &[0x27; 300]),
        message(400, 1, 22, 50, &tags),
        message(2, 0, 4, 0, &[0, 6, 0, 0, 0, 1]),
    ];
    let ends = [
        message(3, 0, 20, 0, &command("FCUnpublish", 6.0, &[null.clone(), name])),
        message(3, 1, 20, 0, &command("closeStream", 0.0, std::slice::from_ref(&null))),
        message(3, 0, 20, 0, &command("deleteStream", 7.0, &[null.clone(), Value::Number(1.0)])),
    ];
    let play = [
        setup[1].clone(),
        setup[4].clone(),
        message(3, 1, 20, 0, &command("play", 0.0, &[null, Value::text("x")])),
    ];
    let written = |head: &[u8], messages: &[&[Message]]| {
        let (mut writer, mut out) = (ChunkWriter::new(), Pieces::default());
        messages.iter().flat_map(|part| *part).for_each(|message| writer.write(message, &mut out));
        [head.to_vec(), out.take().flatten().collect()].concat()
    };
    write("rtmp_chunk", "media", &written(&[9], &[&media]));
    write("rtmp_chunk", "whole", &written(&[0], &[&setup, &media, &ends]));
    write("rtmp_server_session", "accepted", &written(&[1, 99], &[&setup, &media, &ends]));
    write("rtmp_server_session", "rejected", &written(&[2, 7], &[&setup, &media]));
    write("rtmp_server_session", "unanswered", &written(&[4, 255], &[&setup, &media, &ends]));
    write(
        "rtmp_server_session",
        "twice",
        &written(&[3, 60], &[&setup, &media, &ends[1..2], &setup[5..], &media]),
    );
    write("rtmp_server_session", "play", &written(&[1, 50], &[&play]));
}
