//! Random bytes and mutated good bytes into every parser: no panic, and the invariants that `fuzzing` asserts.

use media::codec::{Config, aac::AudioSpecificConfig};
use media::flv::{TagKind, write_header, write_tag};
use media::fmp4::{Sample, fragment_header, init_segment};
use media::fuzzing;
use proptest::prelude::*;

type Parser = fn(&[u8]);

const SPS: &[u8] = &[
    0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03,
    0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58,
];
const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

fn avcc() -> Vec<u8> {
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
    let stream = [&[avcc().len() as u8][..], &avcc(), &slice].concat();
    let progressive = include_bytes!("seed.mp4");
    let catalog = br#"{"version":"draft-01","generatedAt":1,"tracks":[{"name":"v","packaging":"cmaf","isLive":true,
        "role":"video","initRef":"v0","framerate":30,"bitrate":1}],"initDataList":[{"id":"v0","type":"inline",
        "data":"aW5pdA=="}]}"#;
    vec![
        (fuzzing::avcc, avcc()),
        (fuzzing::sps, SPS.to_vec()),
        (fuzzing::asc, vec![0x2b, 0x11, 0x88, 0x00]),
        (fuzzing::asc, vec![0x13, 0x10, 0x56, 0xe5, 0x98]),
        (fuzzing::asc, vec![0x11, 0x80, 0x04, 0xc8, 0x40, 0, 0x20, 0, 0, 0, 0]),
        (fuzzing::h264_stream, stream),
        (fuzzing::flv_bodies, vec![0x17, 1, 0xff, 0xff, 0xd8, 1, 2, 3]),
        (fuzzing::flv_file, flv),
        (
            fuzzing::timeline,
            (0..64).flat_map(|n: u8| [n, 3, 9, 0, 0, 0, n / 8, n.wrapping_mul(33)]).collect(),
        ),
        (fuzzing::mp4, fragmented()),
        (fuzzing::mp4, progressive.to_vec()),
        (fuzzing::catalog, catalog.to_vec()),
    ]
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
