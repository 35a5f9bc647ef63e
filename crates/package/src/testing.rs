//! Indexes for the tests of this crate.

use std::sync::Arc;

use media::codec::Config;
use media::codec::aac::AudioSpecificConfig;
use media::codec::h264::DecoderConfiguration;
use spine::Location;

use crate::index::Index;
use crate::properties::{Part, Segment, encode};

pub(crate) fn segment(number: u64) -> Segment {
    Segment {
        timescale: 90_000,
        epoch: 3,
        wall_clock_ms: number * 2_000,
        start: number * 180_000,
        discontinuity: false,
        discontinuity_sequence: 0,
        gap: false,
        init: 7,
    }
}

/// Segments of 2 s from `first` on, with so many parts of 1/6, 1/2... of it; one of fewer than the
/// first one's is still open.
pub(crate) fn index_of(first: u64, parts: &[u64], ended: bool) -> Index {
    let mut index = Index::new();
    add(&mut index, "video", first, parts);
    if ended {
        index.end();
    }
    index
}

/// Video with one complete segment and one part of the next, audio with one complete segment.
pub(crate) fn two_renditions() -> Index {
    let mut index = Index::new();
    add(&mut index, "video", 10, &[2, 1]);
    add(&mut index, "audio", 10, &[2]);
    index
}

/// Sound at 48 kHz from segment 10 on, whose parts have so many samples.
pub(crate) fn sound(target_ms: u32, segments: &[&[u32]]) -> Index {
    let mut index = Index::new();
    let mut start = 96_000;
    for (number, parts) in (10..).zip(segments) {
        for (object, duration) in (0..).zip(*parts) {
            let part = Part {
                duration: *duration,
                independent: true,
                last: object + 1 == parts.len() as u64,
                closes: false,
                target_ms,
                target_duration: Some(2),
                open: false,
                key_bytes: None,
            };
            let (timescale, wall_clock_ms) = (48_000, 1_000_000 + start / 48);
            let segment = Segment { timescale, start, wall_clock_ms, init: 8, ..segment(number) };
            let at = Location { group: number, object };
            index.add("audio", at, &part, (object == 0).then_some(segment), 9).unwrap();
        }
        start += parts.iter().map(|d| u64::from(*d)).sum::<u64>();
    }
    index
}

/// Whole segments of so many milliseconds from 10 on, with a target duration of 2 s; the last one is still open.
pub(crate) fn lasting(index: &mut Index, rendition: &str, segments_ms: &[u32]) {
    let mut at_ms = 20_000;
    for (i, ms) in segments_ms.iter().enumerate() {
        let number = 10 + i as u64;
        let part = Part {
            duration: ms * 90,
            independent: true,
            last: i + 1 < segments_ms.len(),
            closes: false,
            target_ms: 2_500,
            target_duration: Some(2),
            open: false,
            key_bytes: None,
        };
        let (start, wall_clock_ms) = (at_ms * 90, at_ms);
        let init = init_of(rendition);
        let segment = Segment { start, wall_clock_ms, init, ..segment(number) };
        let at = Location { group: number, object: 0 };
        index.add(rendition, at, &part, Some(segment), 9).unwrap();
        at_ms += u64::from(*ms);
    }
}

/// The initialisation segment of a rendition in these indexes.
pub(crate) fn init_of(rendition: &str) -> u64 {
    if rendition.starts_with("audio") { 8 } else { 7 }
}

pub(crate) fn add(index: &mut Index, rendition: &str, first: u64, parts: &[u64]) {
    let whole = parts[0];
    for (i, count) in parts.iter().enumerate() {
        let number = first + i as u64;
        for object in 0..*count {
            let duration = u32::try_from(180_000 / whole).unwrap();
            let part = Part {
                duration,
                independent: object == 0,
                last: object + 1 == whole,
                closes: false,
                target_ms: duration.div_ceil(90),
                target_duration: Some(2),
                open: false,
                key_bytes: None,
            };
            let segment = Segment { init: init_of(rendition), ..segment(number) };
            let properties = encode(&part, (object == 0).then_some(&segment));
            let at = Location { group: number, object };
            index.apply(rendition, at, &properties, 1_000).unwrap();
        }
    }
}

pub(crate) fn video_config() -> Config {
    video_config_with(&[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0])
}

/// The same with this picture parameter set.
pub(crate) fn video_config_with(pps: &'static [u8]) -> Config {
    let sps: &'static [u8] = &[
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00,
        0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58,
    ];
    let record = DecoderConfiguration::new(vec![sps.into()], vec![pps.into()]).unwrap();
    Config::Video(Arc::new(record).config())
}

/// AAC-LC, 48 kHz, stereo.
pub(crate) fn audio_config() -> Config {
    Config::Audio(AudioSpecificConfig::parse(&[0x11, 0x90]).unwrap().config())
}
