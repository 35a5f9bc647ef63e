//! Random bytes and mutated good bytes into every parser: no panic, and the invariants that `fuzzing` asserts.

use media::codec::{Config, aac::AudioSpecificConfig};
use media::flv::{TagKind, write_header, write_tag};
use media::fmp4::{Sample, fragment_header, init_segment};
use media::fuzzing;
use media::properties::{FrameProperties, GroupStart};
use proptest::prelude::*;

type Parser = fn(&[u8]);

pub(crate) const SPS: &[u8] = &[
    0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03,
    0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58,
];
pub(crate) const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

// From x265, SVT-AV1, libvpx, libopus and FFmpeg 9.
pub(crate) const HVCC: &[u8] = &[
    0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0xf0, 0x00, 0xfc,
    0xfd, 0xf8, 0xf8, 0x00, 0x00, 0x0f, 0x03, 0xa0, 0x00, 0x01, 0x00, 0x18, 0x40, 0x01, 0x0c, 0x01,
    0xff, 0xff, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00,
    0x3c, 0x95, 0x94, 0x09, 0xa1, 0x00, 0x01, 0x00, 0x2b, 0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00,
    0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x3c, 0xa0, 0x0a, 0x08, 0x0c, 0x1f,
    0x3e, 0x59, 0x59, 0x52, 0x93, 0x0b, 0xc0, 0x5a, 0x02, 0x00, 0x00, 0x03, 0x00, 0x02, 0x00, 0x00,
    0x03, 0x00, 0x3c, 0x10, 0xa2, 0x00, 0x01, 0x00, 0x06, 0x44, 0x01, 0xc0, 0x73, 0xc1, 0x89,
];
pub(crate) const AV1C: &[u8] = &[
    0x81, 0x00, 0x0c, 0x00, 0x0a, 0x0b, 0x02, 0x00, 0x00, 0x05, 0x21, 0xe7, 0xf6, 0x60, 0x17, 0xc0,
    0x02,
];
pub(crate) const VP9_KEY: &[u8] =
    &[0x82, 0x49, 0x83, 0x42, 0x00, 0x13, 0xf0, 0x0b, 0x36, 0x06, 0x38];
const VP8_KEY: &[u8] = &[0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00];
const FLAC: &[u8] = &[
    0x66, 0x4c, 0x61, 0x43, 0x00, 0x00, 0x00, 0x22, 0x04, 0x00, 0x04, 0x00, 0x00, 0x0d, 0x0e, 0x00,
    0x10, 0x0d, 0x0b, 0xb8, 0x03, 0x70, 0x00, 0x05, 0xdc, 0x00, 0xcb, 0x85, 0x2c, 0xd6, 0xa4, 0x69,
    0x28, 0x22, 0x37, 0x4f, 0xaf, 0x46, 0x0d, 0x5e, 0x01, 0x59,
];
const AC3: &[u8] = &[0x0b, 0x77, 0x73, 0xda, 0x14, 0x40, 0x43, 0xe1, 0x06, 0xf4, 0x63, 0x70];
const EAC3: &[u8] = &[0x0b, 0x77, 0x01, 0x7f, 0x34, 0x87, 0xc0, 0x00, 0x20, 0xd0, 0x20, 0x08];
const OPUS_HEAD: &[u8] = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0";

pub(crate) fn avcc() -> Vec<u8> {
    [&[1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 27], SPS, &[1, 0, 6], PPS].concat()
}

fn fragmented() -> Vec<u8> {
    let config = Config::Audio(AudioSpecificConfig::parse(&[0x11, 0x90]).unwrap().config());
    let sample = Sample { duration: 1024, size: 4, sync: true, composition_offset: -1 };
    let mut file = init_segment(&config, 48_000).to_vec();
    for n in 0..3 {
        file.extend(fragment_header(n, u64::from(n) * 2048, &[sample; 2]).unwrap());
        file.extend([7; 8]);
    }
    file
}

fn seeds() -> Vec<(Parser, Vec<u8>)> {
    let mut flv = Vec::new();
    write_header(&mut flv, true, true);
    write_tag(&mut flv, TagKind::Video, 0, &[&[0x17, 0, 0, 0, 0][..], &avcc()].concat());
    write_tag(&mut flv, TagKind::Audio, 0, &[0xaf, 0, 0x11, 0x90]);
    let slice =
        [0, 0, 0, 3, 0x65, 0x88, 0x80, 0, 0, 0, 4, 6, 6, 1, 0xc4, 0, 0, 1, 0x41, 0x88, 0x80];
    let captions = b"\0\0\0\x12\x06\x04\x0e\xb5\0\x31GA94\x03\xc1\xff\xfc\x94\x2c\xff\x80";
    let stream = |which: u8, pieces: &[&[u8]]| {
        let pieces = pieces.iter().flat_map(|p| [&(p.len() as u16).to_be_bytes()[..], p].concat());
        [which].into_iter().chain(pieces).collect::<Vec<u8>>()
    };
    let config = Config::Audio(AudioSpecificConfig::parse(&[0x11, 0x90]).unwrap().config());
    let properties = GroupStart {
        config,
        wall_clock_ms: 1_700_000_000_000,
        discontinuity: true,
        bitrate: Some(6_000_000),
        language: Some("pt-BR".to_owned()),
    };
    let progressive = include_bytes!("seed.mp4");
    let catalog = br#"{"version":"draft-01","generatedAt":1,"tracks":[{"name":"v","packaging":"cmaf","isLive":true,
        "role":"video","initRef":"v0","framerate":30,"bitrate":1}],"initDataList":[{"id":"v0","type":"inline",
        "data":"aW5pdA=="}]}"#;
    let delta = br#"{"version":"1","tracks":[{"name":"v","packaging":"loc","isLive":true,"codec":"avc1.640028"}]}
{"generatedAt":2,"deltaUpdate":[{"op":"clone","tracks":[{"parentName":"v","name":"w","width":9}]},{"op":"remove","tracks":[{"name":"v"}]}]}"#;
    vec![
        (fuzzing::avcc, avcc()),
        (fuzzing::sps, SPS.to_vec()),
        (fuzzing::asc, vec![0x2b, 0x11, 0x88, 0x00]),
        (fuzzing::asc, vec![0x13, 0x10, 0x56, 0xe5, 0x98]),
        (fuzzing::asc, vec![0x11, 0x80, 0x04, 0xc8, 0x40, 0, 0x20, 0, 0, 0, 0]),
        (fuzzing::hvcc, HVCC.to_vec()),
        (fuzzing::annex_b, [&[0, 0, 1][..], SPS, &[0, 0, 0, 1], PPS].concat()),
        (fuzzing::stream, stream(0, &[&avcc(), &slice])),
        (fuzzing::stream, stream(0, &[&avcc(), captions, &slice])),
        (fuzzing::stream, stream(1, &[HVCC, &[0, 0, 0, 3, 0x28, 1, 0x80]])),
        (fuzzing::stream, stream(2, &[AV1C, &[&AV1C[4..], &[0x32, 2, 0x10, 0]].concat()])),
        (fuzzing::stream, stream(3, &[&[0, 11, 0x82, 2, 2, 2, 0, 0], VP9_KEY])),
        (fuzzing::stream, stream(4, &[&[], VP8_KEY])),
        (fuzzing::stream, stream(6, &[OPUS_HEAD, &[0xff, 0x83]])),
        (fuzzing::stream, stream(7, &[&[], AC3])),
        (fuzzing::stream, stream(8, &[&[], EAC3])),
        (fuzzing::stream, stream(9, &[FLAC, &[0xff, 0xf8, 0xaa, 0x1c, 0]])),
        (fuzzing::stream, stream(10, &[&[], &[0xff, 0xfb, 0x94, 0x44, 0, 0]])),
        (fuzzing::flv_bodies, b"\x96\x21avc1\0\0\0\x04\0\0\x01aav01\x07\0\0\x01b".to_vec()),
        (fuzzing::flv_bodies, b"\x97\x02\x0f\x42\x3f\x03av01ab".to_vec()),
        (fuzzing::flv_bodies, b"\x95\x11mp4a\0\0\0\x02ab\x01\0\0\x02ab".to_vec()),
        (fuzzing::flv_bodies, vec![0x17, 1, 0xff, 0xff, 0xd8, 1, 2, 3]),
        (fuzzing::flv_file, flv),
        (
            fuzzing::timeline,
            (0..64).flat_map(|n: u8| [n, 3, 9, 0, 0, 0, n / 8, n.wrapping_mul(33)]).collect(),
        ),
        (fuzzing::mp4, fragmented()),
        (fuzzing::mp4, progressive.to_vec()),
        (fuzzing::mp4_stream, fragmented()),
        (fuzzing::mp4_stream, progressive.to_vec()),
        (fuzzing::catalog, catalog.to_vec()),
        (fuzzing::catalog, delta.to_vec()),
        (fuzzing::cmcd, b"bs,cid=\"a\\\",b\",br=3200,msd=480,ot=av,sid=\"6e2f\",su".to_vec()),
        (
            fuzzing::properties,
            FrameProperties { present: 0, picture: Some(true), start: Some(&properties) }
                .encode()
                .to_vec(),
        ),
    ]
}

#[test]
fn seeds_of_the_fuzz_targets() {
    sansio::harness::replay("media_containers", 300, fuzzing::containers);
    sansio::harness::replay("media_codecs", 300, fuzzing::codecs);
}

#[test]
fn every_cut_of_a_good_input() {
    for (parser, seed) in seeds() {
        for n in 0..=seed.len() {
            parser(&seed[..n]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(data in proptest::collection::vec(any::<u8>(), 0..600)) {
        for (parser, _) in seeds() {
            parser(&data);
        }
    }

    #[test]
    fn mutated_good_bytes(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 1..8)
    ) {
        for (parser, seed) in seeds() {
            let mut data = seed.clone();
            for (at, value, how) in &changes {
                let at = at.index(data.len().max(1));
                match how {
                    0 if at < data.len() => data[at] = *value,
                    1 if at < data.len() => data[at] ^= 1 << (value & 7),
                    2 => data.insert(at.min(data.len()), *value),
                    _ if at < data.len() => { data.remove(at); }
                    _ => {}
                }
            }
            parser(&data);
        }
    }
}
