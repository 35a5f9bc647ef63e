//! Tables and round trips of the chunk stream, reader and writer together.

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;
use sansio::harness::Rng;

use super::*;
use crate::chunk::writer::{ChunkWriter, Pieces, basic_header, put_u24};
use crate::limits::{AHEAD_BYTES_MAX, CHUNK_STREAMS_MAX, MESSAGE_BYTES_MAX, PARTIAL_BYTES_MAX};

fn message(chunk_stream: u32, timestamp: u32, payload: impl Into<Bytes>) -> Message {
    Message { chunk_stream, stream_id: 1, type_id: 9, timestamp, payload: payload.into() }
}

fn written(writer: &mut ChunkWriter, messages: &[Message]) -> Vec<u8> {
    let mut out = Pieces::default();
    for message in messages {
        writer.write(message, &mut out);
    }
    out.take().flatten().collect()
}

/// Reads everything, cut at random.
fn read(reader: &mut ChunkReader, bytes: &[u8], seed: u64) -> Result<Vec<Message>, ChunkError> {
    let mut rng = Rng::new(seed);
    let mut messages = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (mut now, later) = rest.split_at((1 + rng.below(40)).min(rest.len()));
        rest = later;
        while !now.is_empty() {
            messages.extend(reader.read(&mut now)?);
        }
    }
    Ok(messages)
}

/// A header as wanted, where the writer would choose another.
fn header(format: u8, id: u32, time: u32, length: usize) -> BytesMut {
    let mut out = BytesMut::new();
    basic_header(format, id, &mut out);
    if format < 3 {
        put_u24(time.min(EXTENDED), &mut out);
    }
    if format < 2 {
        put_u24(length as u32, &mut out);
        out.put_u8(9);
    }
    if format == 0 {
        out.put_u32_le(1);
    }
    if format < 3 && time >= EXTENDED {
        out.put_u32(time);
    }
    out
}

#[test]
fn all_widths_of_chunk_stream_ids() {
    for id in [2, 3, 63, 64, 65, 318, 319, 320, 321, 65_598, 65_599] {
        let sent = [message(id, 5, vec![1; 300])];
        let bytes = written(&mut ChunkWriter::new(), &sent);
        assert_eq!(bytes[0] & 0x3f, if id < 64 { id as u8 } else { u8::from(id > 319) });
        assert_eq!(
            read(&mut ChunkReader::new(Bounds::MEDIA), &bytes, 1),
            Ok(sent.to_vec()),
            "{id}"
        );
    }
}

#[test]
fn every_header_type_is_written_and_read() {
    let times = [10, 30, 50, 70, 95, 40];
    let sizes = [7, 7, 7, 7, 9, 9];
    let sent: Vec<_> =
        times.iter().zip(sizes).map(|(time, size)| message(4, *time, vec![0; size])).collect();
    let bytes = written(&mut ChunkWriter::new(), &sent);
    let mut formats = Vec::new();
    let mut at = 0;
    for size in sizes {
        formats.push(bytes[at] >> 6);
        at += 1 + [11, 7, 3, 0][usize::from(bytes[at] >> 6)] + size;
    }
    // Full; a delta; the same delta; again; another size; back in time.
    assert_eq!(formats, [0, 2, 3, 3, 1, 0]);
    assert_eq!(read(&mut ChunkReader::new(Bounds::MEDIA), &bytes, 2), Ok(sent));
}

#[test]
fn a_type_3_header_repeats_the_delta() {
    // RTMP 1.0 §5.3.2.1 is the table of this test: audio at 1000, then 20 ms each.
    let mut bytes = header(0, 3, 1_000, 1);
    bytes.put_u8(0);
    bytes.put(header(2, 3, 20, 1));
    bytes.put_u8(0);
    for _ in 0..2 {
        bytes.put(header(3, 3, 0, 1));
        bytes.put_u8(0);
    }
    let times: Vec<_> = read(&mut ChunkReader::new(Bounds::MEDIA), &bytes, 3)
        .unwrap()
        .iter()
        .map(|m| m.timestamp)
        .collect();
    assert_eq!(times, [1_000, 1_020, 1_040, 1_060]);
    // §5.3.1.2.4: after a type 0 the delta is its timestamp.
    let mut bytes = header(0, 3, 40, 1);
    bytes.put_u8(0);
    bytes.put(header(3, 3, 0, 1));
    bytes.put_u8(0);
    let messages = read(&mut ChunkReader::new(Bounds::MEDIA), &bytes, 3).unwrap();
    assert_eq!(messages[1].timestamp, 80);
}

#[test]
fn extended_timestamps_at_their_edges() {
    let edges = [0xff_fffe, 0xff_ffff, 0x100_0000, 0xffff_fffe, 0xffff_ffff, 0, 33];
    let sent: Vec<_> = edges.map(|time| message(4, time, vec![8; 500])).to_vec();
    for seed in 0..20 {
        let bytes = written(&mut ChunkWriter::new(), &sent);
        assert_eq!(read(&mut ChunkReader::new(Bounds::MEDIA), &bytes, seed), Ok(sent.clone()));
    }
}

#[test]
fn deltas_wrap_and_may_be_extended() {
    let mut bytes = header(0, 4, 0xffff_fff0, 1);
    bytes.put_u8(0);
    bytes.put(header(1, 4, 0x20, 1));
    bytes.put_u8(0);
    bytes.put(header(2, 4, 0x100_0000, 1));
    bytes.put_u8(0);
    let times: Vec<_> = read(&mut ChunkReader::new(Bounds::MEDIA), &bytes, 4)
        .unwrap()
        .iter()
        .map(|m| m.timestamp)
        .collect();
    assert_eq!(times, [0xffff_fff0, 0x10, 0x100_0010]);
}

/// The same message of 300 bytes with the extended field on type 3 chunks as peers write it.
#[test]
fn the_extended_field_on_type_3_chunks_may_be_missing() {
    for repeated in [None, Some(0x123_4567), Some(0x223_4567)] {
        for fill in [0u8, 0x01, 0x02] {
            let mut bytes = header(0, 4, 0x100_0000, 0);
            bytes.put(header(1, 4, 0x123_4567, 300));
            for (index, part) in vec![fill; 300].chunks(128).enumerate() {
                if index > 0 {
                    bytes.put(header(3, 4, 0, 0));
                    if let Some(field) = repeated {
                        bytes.put_u32(field);
                    }
                }
                bytes.put_slice(part);
            }
            bytes.put(header(0, 5, 1, 1));
            bytes.put_u8(7);
            for seed in 0..10 {
                let messages = read(&mut ChunkReader::new(Bounds::MEDIA), &bytes, seed).unwrap();
                assert_eq!(messages[1].payload, vec![fill; 300], "{repeated:?} {fill}");
                assert_eq!(messages[1].timestamp, 0x223_4567);
                assert_eq!(messages[2].payload, vec![7]);
            }
        }
    }
}

#[test]
fn a_missing_extended_field_does_not_hold_back_the_last_byte() {
    let mut bytes = header(0, 4, 0x100_0000, 129);
    bytes.put_slice(&[7; 128]);
    bytes.put(header(3, 4, 0, 0));
    bytes.put_u8(7);
    assert_eq!(read(&mut ChunkReader::new(Bounds::MEDIA), &bytes, 5).unwrap().len(), 1);
}

#[test]
fn messages_of_several_chunk_streams_interleave() {
    let (video, audio) = (vec![1; 400], vec![2; 200]);
    let mut bytes = header(0, 6, 10, 400);
    bytes.put_slice(&video[..128]);
    bytes.put(header(0, 4, 11, 200));
    bytes.put_slice(&audio[..128]);
    for rest in [&video[128..256], &video[256..384]] {
        bytes.put(header(3, 6, 0, 0));
        bytes.put_slice(rest);
    }
    bytes.put(header(3, 4, 0, 0));
    bytes.put_slice(&audio[128..]);
    bytes.put(header(3, 6, 0, 0));
    bytes.put_slice(&video[384..]);
    let messages = read(&mut ChunkReader::new(Bounds::MEDIA), &bytes, 6).unwrap();
    assert_eq!(messages, [message(4, 11, audio), message(6, 10, video)]);
}

#[test]
fn an_aborted_message_is_forgotten() {
    let mut reader = ChunkReader::new(Bounds::MEDIA);
    let mut bytes = header(0, 6, 10, 400);
    bytes.put_slice(&[1; 128]);
    assert_eq!(read(&mut reader, &bytes, 7), Ok(vec![]));
    assert!(reader.held_bytes() >= 128);
    reader.abort(6);
    reader.abort(99);
    assert_eq!(reader.held_bytes(), 0);
    let sent = [message(6, 20, vec![3; 10])];
    assert_eq!(read(&mut reader, &written(&mut ChunkWriter::new(), &sent), 7), Ok(sent.to_vec()));
}

#[test]
fn lies_are_refused_by_name() {
    let check = |bytes: &[u8], expect: ChunkError| {
        let mut reader = ChunkReader::new(Bounds::MEDIA);
        assert_eq!(read(&mut reader, bytes, 8), Err(expect));
        assert!(reader.held_bytes() <= AHEAD_BYTES_MAX);
    };
    check(&header(2, 7, 0, 0), ChunkError::NoEarlierHeader(7));
    check(&header(3, 7, 0, 0), ChunkError::NoEarlierHeader(7));
    let announced = 0xff_ffff;
    check(
        &header(0, 7, 0, announced),
        ChunkError::MessageTooLong { announced, limit: MESSAGE_BYTES_MAX },
    );
    let mut twice = header(0, 7, 0, 200);
    twice.put_slice(&[0; 128]);
    twice.put(header(0, 7, 0, 200));
    check(&twice, ChunkError::Unfinished(7));
    for size in [0, 0x100_0000, 0x8000_0000, u32::MAX] {
        assert_eq!(
            ChunkReader::new(Bounds::MEDIA).set_chunk_size(size),
            Err(ChunkError::ChunkSize(size))
        );
    }
    let mut many = BytesMut::new();
    for id in 0..=CHUNK_STREAMS_MAX as u32 {
        many.put(header(0, 100 + id, 0, 0));
    }
    check(&many, ChunkError::TooManyStreams);
}

#[test]
fn a_length_alone_reserves_little() {
    for (bounds, most) in [(Bounds::MEDIA, AHEAD_BYTES_MAX), (Bounds::SETUP, 4 << 10)] {
        let mut reader = ChunkReader::new(bounds);
        let mut bytes = header(0, 7, 0, bounds.message_bytes_max);
        bytes.put_u8(0);
        assert_eq!(read(&mut reader, &bytes, 9), Ok(vec![]));
        assert!(reader.held_bytes() <= most);
    }
}

#[test]
fn unfinished_messages_are_bounded_together() {
    let mut reader = ChunkReader::new(Bounds::MEDIA);
    reader.set_chunk_size(0xff_ffff).unwrap();
    let body = vec![0; MESSAGE_BYTES_MAX];
    let mut result = Ok(None);
    for id in 10..14 {
        reader.set_chunk_size(MESSAGE_BYTES_MAX as u32 - 1).unwrap();
        let bytes = header(0, id, 0, MESSAGE_BYTES_MAX);
        result = reader.read(&mut &bytes[..]).and_then(|_| reader.read(&mut &body[1..]));
        assert!(reader.held_bytes() <= PARTIAL_BYTES_MAX);
        if result.is_err() {
            break;
        }
    }
    assert_eq!(result, Err(ChunkError::TooMuchUnfinished(PARTIAL_BYTES_MAX)));
}

#[test]
fn large_payloads_are_not_copied_by_the_writer() {
    let payload = Bytes::from(vec![5; 100_000]);
    let mut writer = ChunkWriter::new();
    writer.set_chunk_size(60_000);
    let mut out = Pieces::default();
    writer.write(&message(6, 0, payload.clone()), &mut out);
    let pieces: Vec<_> = out.take().collect();
    assert_eq!(pieces.iter().map(Bytes::len).collect::<Vec<_>>(), [12, 60_000, 1, 40_000]);
    assert_eq!(pieces[1].as_ptr(), payload.as_ptr());
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        messages in prop::collection::vec(
            (
                prop_oneof![2u32..8, 60u32..70, 310u32..330, 65_590u32..65_600],
                prop_oneof![0u32..200, 0xff_fff0u32..0x100_0010, any::<u32>()],
                0u32..3,
                prop_oneof![Just(8u8), Just(9), Just(18)],
                prop_oneof![0usize..10, 100usize..600],
            ),
            1..30,
        ),
        chunk_size in prop_oneof![1u32..5, 100u32..200, Just(60_000)],
        seed in any::<u64>(),
    ) {
        let messages: Vec<_> = messages
            .into_iter()
            .map(|(chunk_stream, timestamp, stream_id, type_id, size)| Message {
                chunk_stream, stream_id, type_id, timestamp, payload: vec![size as u8; size].into(),
            })
            .collect();
        let mut writer = ChunkWriter::new();
        let mut reader = ChunkReader::new(Bounds::MEDIA);
        writer.set_chunk_size(chunk_size);
        reader.set_chunk_size(chunk_size).unwrap();
        let bytes = written(&mut writer, &messages);
        prop_assert_eq!(read(&mut reader, &bytes, seed), Ok(messages));
        prop_assert_eq!(reader.held_bytes(), 0);
    }

    #[test]
    fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..600), seed in any::<u64>()) {
        let mut reader = ChunkReader::new(Bounds::SETUP);
        let _ = read(&mut reader, &bytes, seed);
        prop_assert!(reader.held_bytes() <= Bounds::SETUP.partial_bytes_max);
    }
}
