//! T11 of the reliability anchors at the bitstream: each case of missing, changing and broken configuration
//! has its one reaction. What becomes of it in segments is tested in `package`.

use bytes::Bytes;
use media::codec::{AudioFormat, AudioStream, Error, VideoFormat, VideoStream};

use crate::hostile::{AV1C, HVCC, PPS, SPS, VP9_KEY, avcc};

/// What came of one packet or header.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    /// A frame; `sync`: decoding can start with it.
    Frame { sync: bool },
    /// A frame with which another configuration begins.
    Changed { sync: bool },
    /// A header with something new.
    Configured,
    /// Nothing to show, nothing wrong.
    Nothing,
    /// Refused: there is no configuration yet.
    NoConfiguration,
    /// Refused: nonsense, with words.
    Broken,
    /// Refused by name: not carried.
    Unsupported,
}

/// What is sent.
enum Send {
    Header(Vec<u8>),
    Packet(Vec<u8>),
}

use Came::{Broken, Changed, Configured, Frame, NoConfiguration, Nothing, Unsupported};
use Send::{Header, Packet};

fn refused(error: &Error) -> Came {
    match error {
        Error::NoConfiguration { .. } => NoConfiguration,
        Error::Unsupported { .. } => Unsupported,
        _ => Broken,
    }
}

fn video(format: VideoFormat, rows: Vec<(Send, Came)>, case: &str) {
    let mut stream = VideoStream::new(format);
    let of_units = matches!(format, VideoFormat::H264 | VideoFormat::Hevc);
    for (at, (send, expect)) in rows.into_iter().enumerate() {
        let came = match send {
            Header(record) => match stream.header(&record) {
                Ok(Some(_)) => Configured,
                Ok(None) => Nothing,
                Err(error) => refused(&error),
            },
            Packet(data) => match stream.access_unit(Bytes::from(data)) {
                Ok(unit) => {
                    let written = !of_units || has_lengths(&unit.data);
                    assert!(written, "{case}, {at}: samples have 4-byte lengths");
                    match (unit.has_picture, unit.changed.is_some(), unit.sync) {
                        (true, true, sync) => Changed { sync },
                        (true, false, sync) => Frame { sync },
                        (false, true, _) => Configured,
                        (false, false, _) => Nothing,
                    }
                }
                Err(error) => refused(&error),
            },
        };
        assert_eq!(came, expect, "{case}, {at}");
    }
}

fn has_lengths(mut data: &[u8]) -> bool {
    while let Some((length, rest)) = data.split_first_chunk() {
        let Some(rest) = rest.get(u32::from_be_bytes(*length) as usize..) else { return false };
        data = rest;
    }
    data.is_empty()
}

fn lengths(units: &[&[u8]]) -> Send {
    let with = |unit: &&[u8]| [&(unit.len() as u32).to_be_bytes()[..], unit].concat();
    Packet(units.iter().flat_map(with).collect())
}

fn annex_b(units: &[&[u8]]) -> Send {
    Packet(units.iter().flat_map(|unit| [&[0, 0, 0, 1][..], unit].concat()).collect())
}

/// An IDR slice, a P slice, and supplemental information.
const IDR: &[u8] = &[0x65, 0x88, 0x84, 0x00, 0x33, 0xff];
const P: &[u8] = &[0x41, 0x9a, 0x24, 0x6c, 0x41, 0x4f];
const SEI: &[u8] = &[0x06, 0x05, 0x01, 0xaa, 0x80];

/// The same picture, at another level.
fn other_sps() -> Vec<u8> {
    let mut sps = SPS.to_vec();
    sps[3] = 0x29;
    sps
}

#[test]
fn h264_with_every_fault_of_parameter_sets() {
    let sync = |sync| Frame { sync };
    let header = || Header(avcc());
    let other = other_sps();
    let cases = vec![
        ("none at all", vec![(lengths(&[IDR]), NoConfiguration), (lengths(&[P]), NoConfiguration)]),
        (
            "only in band",
            vec![
                (lengths(&[P]), NoConfiguration),
                (lengths(&[SPS, PPS, IDR]), Changed { sync: true }),
                (lengths(&[P]), sync(false)),
            ],
        ),
        (
            "SPS and PPS in packets of their own",
            vec![
                (lengths(&[SPS]), Nothing),
                (lengths(&[PPS]), Configured),
                (lengths(&[IDR]), sync(true)),
            ],
        ),
        ("the same header again", vec![(header(), Configured), (header(), Nothing)]),
        (
            "the same sets again with each key frame",
            vec![(header(), Configured), (lengths(&[SPS, PPS, IDR]), sync(true))],
        ),
        (
            "another SPS mid-stream",
            vec![
                (header(), Configured),
                (lengths(&[IDR]), sync(true)),
                (lengths(&[&other, PPS, IDR]), Changed { sync: true }),
                (lengths(&[P]), sync(false)),
            ],
        ),
        (
            "a broken SPS mid-stream is left to the decoder",
            vec![(header(), Configured), (lengths(&[&[0x67, 0xff], IDR]), sync(true))],
        ),
        (
            "Annex B between lengths",
            vec![
                (header(), Configured),
                (annex_b(&[SPS, PPS, IDR]), sync(true)),
                (lengths(&[P]), sync(false)),
                (annex_b(&[P]), sync(false)),
            ],
        ),
        (
            "Annex B where the avcC belongs",
            vec![
                (Header([&[0, 0, 0, 1][..], SPS, &[0, 0, 0, 1], PPS].concat()), Configured),
                (annex_b(&[IDR]), sync(true)),
            ],
        ),
        ("an empty header", vec![(Header(Vec::new()), Broken), (lengths(&[IDR]), NoConfiguration)]),
        (
            "lengths that lie",
            vec![
                (header(), Configured),
                (Packet(vec![0, 0, 0x10, 0, 0x65]), Broken),
                (lengths(&[IDR]), sync(true)),
            ],
        ),
        ("only SEI", vec![(header(), Configured), (lengths(&[SEI]), Nothing)]),
        ("an empty packet", vec![(header(), Configured), (Packet(Vec::new()), Nothing)]),
        // No key frame ever: each frame says of itself that nothing can begin with it.
        ("no key frame ever", vec![(header(), Configured), (lengths(&[P]), sync(false))]),
    ];
    for (case, rows) in cases {
        video(VideoFormat::H264, rows, case);
    }
}

#[test]
fn hevc_with_every_fault_of_parameter_sets() {
    // Units of the record, IDR_W_RADL (19) and TRAIL_R (1).
    let (record, _) = media::codec::hevc::DecoderConfiguration::parse(HVCC).unwrap();
    let sets: Vec<Bytes> = record.units().cloned().collect();
    let idr: &[u8] = &[0x26, 0x01, 0xaf, 0x08];
    let trail: &[u8] = &[0x02, 0x01, 0xd0, 0x09];
    let mut with_key: Vec<&[u8]> = sets.iter().map(|unit| &unit[..]).collect();
    with_key.push(idr);
    let header = || Header(HVCC.to_vec());
    // The SPS at another level.
    let mut other_sps = sets[1].to_vec();
    assert_eq!((other_sps[0], other_sps[17]), (0x42, 60));
    other_sps[17] = 63;
    let others: [&[u8]; 4] = [&sets[0], &other_sps, &sets[2], idr];
    let cases = vec![
        ("none at all", vec![(lengths(&[idr]), NoConfiguration)]),
        (
            "only in band",
            vec![
                (lengths(&with_key), Changed { sync: true }),
                (lengths(&[trail]), Frame { sync: false }),
            ],
        ),
        (
            "again with each key frame",
            vec![(header(), Configured), (lengths(&with_key), Frame { sync: true })],
        ),
        (
            "another SPS mid-stream",
            vec![
                (header(), Configured),
                (lengths(&with_key), Frame { sync: true }),
                (lengths(&others), Changed { sync: true }),
                (lengths(&[trail]), Frame { sync: false }),
            ],
        ),
        (
            "a broken SPS mid-stream is left to the decoder",
            vec![(header(), Configured), (lengths(&[&[0x42, 0x01], idr]), Frame { sync: true })],
        ),
        (
            "Annex B between lengths",
            vec![(header(), Configured), (annex_b(&with_key), Frame { sync: true })],
        ),
        ("an empty header", vec![(Header(Vec::new()), Broken), (lengths(&[idr]), NoConfiguration)]),
    ];
    for (case, rows) in cases {
        video(VideoFormat::Hevc, rows, case);
    }
}

#[test]
fn av1_with_every_fault_of_sequence_headers() {
    // A sequence header, and frames with their size: a key frame that is shown, and one that leans on it.
    let sequence = &AV1C[4..];
    let (key, inter) = (&[0x32, 2, 0x10, 0][..], &[0x32, 2, 0x30, 0][..]);
    // 64 wide, instead of 320.
    let mut other = sequence.to_vec();
    assert_eq!(other[6..8], [0x21, 0xe7]);
    other[7] ^= 0x20;
    let unit = |units: &[&[u8]]| Packet(units.concat());
    let header = || Header(AV1C.to_vec());
    let cases = vec![
        ("none at all", vec![(unit(&[key]), NoConfiguration), (unit(&[inter]), NoConfiguration)]),
        (
            "only in band",
            vec![
                (Header(AV1C[..4].to_vec()), Nothing),
                (unit(&[inter]), NoConfiguration),
                (unit(&[sequence, key]), Changed { sync: true }),
                (unit(&[inter]), Frame { sync: false }),
            ],
        ),
        (
            "in a unit of its own",
            vec![(unit(&[sequence]), Configured), (unit(&[key]), Frame { sync: true })],
        ),
        ("the same header again", vec![(header(), Configured), (header(), Nothing)]),
        (
            "again with each key frame",
            vec![(header(), Configured), (unit(&[sequence, key]), Frame { sync: true })],
        ),
        (
            "another one mid-stream",
            vec![
                (header(), Configured),
                (unit(&[key]), Frame { sync: true }),
                (unit(&[&other, key]), Changed { sync: true }),
                (unit(&[inter]), Frame { sync: false }),
            ],
        ),
        (
            "a broken one mid-stream: the unit goes, the good one holds",
            vec![
                (header(), Configured),
                (unit(&[&[0x0a, 1, 0], key]), Broken),
                (unit(&[key]), Frame { sync: true }),
            ],
        ),
        (
            "sizes that lie",
            vec![
                (header(), Configured),
                (unit(&[&[0x32, 9, 0]]), Broken),
                (unit(&[inter]), Frame { sync: false }),
            ],
        ),
        ("an empty header", vec![(Header(Vec::new()), Broken), (unit(&[key]), NoConfiguration)]),
        ("an empty packet", vec![(header(), Configured), (Packet(Vec::new()), Nothing)]),
        (
            "no key frame ever",
            vec![(header(), Configured), (unit(&[inter]), Frame { sync: false })],
        ),
    ];
    for (case, rows) in cases {
        video(VideoFormat::Av1, rows, case);
    }
}

/// VP9 says in each key frame what the decoder must know; its header is of no use but for the level.
#[test]
fn vp9_with_every_fault_of_key_frames() {
    let key = || Packet(VP9_KEY.to_vec());
    let inter = || Packet(vec![0x86, 0x00, 0x40, 0x92]);
    let header = || Header(vec![1, 0, 0, 0, 0, 11, 0x82, 2, 2, 2, 0, 0]);
    // 640 wide, and one whose sync code is wrong.
    let with = |at: usize, is: u8| {
        let mut other = VP9_KEY.to_vec();
        other[at] = is;
        Packet(other)
    };
    let cases = vec![
        ("none at all", vec![(inter(), NoConfiguration)]),
        ("a header alone", vec![(header(), Nothing), (inter(), NoConfiguration)]),
        (
            "only key frames say it",
            vec![(key(), Changed { sync: true }), (inter(), Frame { sync: false })],
        ),
        ("the same again", vec![(key(), Changed { sync: true }), (key(), Frame { sync: true })]),
        (
            "another size mid-stream",
            vec![
                (key(), Changed { sync: true }),
                (with(5, 0x27), Changed { sync: true }),
                (inter(), Frame { sync: false }),
            ],
        ),
        (
            "a broken key frame: it goes, what was known holds",
            vec![
                (key(), Changed { sync: true }),
                (with(1, 0), Broken),
                (inter(), Frame { sync: false }),
            ],
        ),
        ("an empty packet", vec![(key(), Changed { sync: true }), (Packet(Vec::new()), Broken)]),
    ];
    for (case, rows) in cases {
        video(VideoFormat::Vp9, rows, case);
    }
}

#[test]
fn sound_with_every_fault_of_configurations() {
    let lc: &[u8] = &[0x11, 0x90];
    let other: &[u8] = &[0x12, 0x10];
    let packet: &[u8] = &[0x21, 0x10, 0x04];
    let opus: &[u8] = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0";
    // Headers and packets in a row: a header is marked.
    type Rows<'a> = Vec<(bool, &'a [u8], Came)>;
    let frame = || Frame { sync: true };
    let cases: Vec<(&str, AudioFormat, Rows<'_>)> = vec![
        (
            "an empty configuration",
            AudioFormat::Aac,
            vec![(true, &[], Broken), (false, packet, NoConfiguration), (true, lc, Configured)],
        ),
        (
            "none, then one",
            AudioFormat::Aac,
            vec![
                (false, packet, NoConfiguration),
                (true, lc, Configured),
                (false, packet, frame()),
                (true, lc, Nothing),
            ],
        ),
        (
            "another rate mid-stream",
            AudioFormat::Aac,
            vec![(true, lc, Configured), (true, other, Configured), (false, packet, frame())],
        ),
        (
            "nonsense after a good one: the good one holds",
            AudioFormat::Aac,
            vec![(true, lc, Configured), (true, &[0x07], Broken), (false, packet, frame())],
        ),
        (
            "an object type that is not carried",
            AudioFormat::Aac,
            // AAC-LD
            vec![(true, &[0xb9, 0x90], Unsupported)],
        ),
        ("Opus without a header", AudioFormat::Opus, vec![(false, &[0xfc, 1, 2], NoConfiguration)]),
        (
            "Opus, and a header that says the same",
            AudioFormat::Opus,
            vec![(true, opus, Configured), (true, opus, Nothing), (false, &[0xfc, 1, 2], frame())],
        ),
        (
            "AC-3 needs no header, and nonsense makes no frame",
            AudioFormat::Ac3,
            vec![
                (true, &[], Nothing),
                (false, &[0, 0, 0, 0, 0, 0, 0], Broken),
                (
                    false,
                    &[0x0b, 0x77, 0x73, 0xda, 0x14, 0x40, 0x43, 0xe1, 0x06, 0xf4],
                    Changed { sync: true },
                ),
            ],
        ),
    ];
    for (case, format, rows) in cases {
        let mut stream = AudioStream::new(format);
        for (at, (header, bytes, expect)) in rows.into_iter().enumerate() {
            let came = if header {
                match stream.header(bytes) {
                    Ok(Some(_)) => Configured,
                    Ok(None) => Nothing,
                    Err(error) => refused(&error),
                }
            } else {
                match stream.frame(bytes) {
                    Ok(unit) if unit.changed.is_some() => Changed { sync: true },
                    Ok(unit) => {
                        assert!(unit.samples > 0, "{case}, {at}");
                        frame()
                    }
                    Err(error) => refused(&error),
                }
            };
            assert_eq!(came, expect, "{case}, {at}");
        }
    }
}
