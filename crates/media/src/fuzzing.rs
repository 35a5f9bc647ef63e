//! One function per parser, for fuzz targets and property tests: any bytes in, no panic out.

use bytes::Bytes;

use crate::codec::captions::{Embedded, instream_ids};
use crate::codec::{aac, h264, hevc};
use crate::properties::{FrameProperties, GroupStart, pairs};
use crate::timeline::{SourceClock, SourceFrame, Timeline, TrackKind};
use crate::webvtt::{WebVtt, WebVttError};
use crate::{catalog, cmcd, flv, fmp4, mp4};

/// What wraps media. The first byte says in what: bodies of RTMP messages, an FLV file, an MP4 file, a
/// fragmented one as it comes, segments that are put into one file, captions.
pub fn containers(data: &[u8]) {
    dispatch(data, &[flv_bodies, flv_file, mp4, mp4_stream, merged, captions]);
}

/// Configuration records, bitstreams and the clock. The first byte says which of them.
pub fn codecs(data: &[u8]) {
    dispatch(data, &[stream, avcc, hvcc, sps, asc, annex_b, timeline]);
}

/// What is written for other nodes and for later, or said by players. The first byte says which: properties, a
/// catalog, CMCD.
pub fn written(data: &[u8]) {
    dispatch(data, &[properties, catalog, cmcd]);
}

/// What a player says of itself: a list, and the same as a query.
pub fn cmcd(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (mut said, mut again) = (cmcd::Said::default(), cmcd::Said::default());
    if !said.take(text) {
        return;
    }
    let coded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    assert!(again.take_query(&format!("CMCD={coded}")), "{text:?}");
    assert_eq!(again, said);
}

fn dispatch(data: &[u8], bodies: &[fn(&[u8])]) {
    if let Some((which, data)) = data.split_first()
        && let Some(body) = bodies.get(usize::from(*which) % bodies.len())
    {
        body(data);
    }
}

/// Captions: what was taken reads back as it was, and counted anew it is still a file of captions.
pub fn captions(data: &[u8]) {
    let Ok(file) = WebVtt::parse(data) else { return };
    assert_eq!(WebVtt::parse(file.as_str().as_bytes()), Ok(file.clone()));
    let clock = file.on_clock(u64::MAX);
    assert_eq!(WebVtt::parse(clock.as_bytes()), Ok(file.clone()), "the clock is in the header");
    if let Ok(later) = WebVtt::parse(file.counted_from(1_000).as_bytes()) {
        assert!(later.cues() <= file.cues());
        assert_eq!(WebVtt::parse(file.between(2_000, 1_000).as_bytes()), Err(WebVttError::Empty));
    }
}

/// Properties of an object: pairs, and those of a group's first one, which read back.
pub fn properties(data: &[u8]) {
    let count = pairs(data).count();
    assert!(count <= data.len(), "each pair has at least a byte");
    if let Ok(start) = GroupStart::decode(data) {
        let _ = fmp4::init_segment(&start.config, start.config.timescale());
        let again = GroupStart::decode(
            &FrameProperties { present: 0, picture: None, start: Some(&start) }.encode(),
        );
        assert!(again.is_ok_and(|again| similar(&again, &start)), "{start:?}");
    }
}

/// avcC, and what can be rebuilt of it.
pub fn avcc(data: &[u8]) {
    if let Ok((record, _)) = h264::DecoderConfiguration::parse(data) {
        let again = h264::DecoderConfiguration::parse(&record.to_avcc());
        assert!(again.is_ok_and(|(again, _)| again == record), "an avcC must read back as itself");
        let config = crate::codec::Config::Video(std::sync::Arc::new(record).config());
        let _ = fmp4::init_segment(&config, config.timescale());
    }
}

/// One SPS.
pub fn sps(data: &[u8]) {
    let _ = h264::Sps::parse(data);
}

/// AudioSpecificConfig.
pub fn asc(data: &[u8]) {
    if let Ok(asc) = aac::AudioSpecificConfig::parse(data) {
        let config = crate::codec::Config::Audio(asc.config());
        let _ = fmp4::init_segment(&config, config.timescale());
    }
}

/// hvcC, and what can be rebuilt of it.
pub fn hvcc(data: &[u8]) {
    if let Ok((record, _)) = hevc::DecoderConfiguration::parse(data) {
        let again = hevc::DecoderConfiguration::parse(&record.to_hvcc());
        assert!(again.is_ok_and(|(again, _)| again == record), "an hvcC must read back as itself");
    }
    let _ = hevc::Sps::parse(data);
}

/// One codec through the door that protocols use. The first byte says which; what follows is cut by [`pieces`] into a
/// header, which may be empty, and packets. Each configuration must read back from a group's properties; captions inside
/// packets, if there are any, have a name in lists.
pub fn stream(data: &[u8]) {
    use crate::codec::{AudioFormat as A, AudioStream, Config, VideoFormat as V, VideoStream};
    let Some((which, rest)) = data.split_first() else {
        return;
    };
    let mut pieces = pieces(rest);
    let header = pieces.next().unwrap_or_default();
    let video = [V::H264, V::Hevc, V::Av1, V::Vp9, V::Vp8];
    let audio = [A::Aac, A::Opus, A::Ac3, A::Eac3, A::Flac, A::Mp3];
    let which = usize::from(*which) % (video.len() + audio.len());
    if let Some(format) = video.get(which) {
        let mut stream = VideoStream::new(*format);
        let first = stream.header(header).ok().flatten();
        let packets: Vec<&[u8]> = pieces.collect();
        let units = packets.iter().map(|packet| stream.access_unit(Bytes::copy_from_slice(packet)));
        let changed = units.filter_map(|unit| unit.ok()?.changed);
        let configs: Vec<_> = first.into_iter().chain(changed).map(Config::Video).collect();
        if let Some(config) = configs.last() {
            for packet in packets {
                let found = Embedded::of(config, packet).descriptors();
                let pairs = found.iter().map(|(scheme, value)| (*scheme, &**value));
                assert_eq!(instream_ids(pairs).is_empty(), found.is_empty(), "{found:?}");
            }
        }
        configs.into_iter().for_each(reads_back);
    } else if let Some(format) = audio.get(which - video.len()) {
        let mut stream = AudioStream::new(*format);
        let first = stream.header(header).ok().flatten();
        let changed = pieces.filter_map(|packet| stream.frame(packet).ok()?.changed);
        first.into_iter().chain(changed).for_each(|config| reads_back(Config::Audio(config)));
    }
}

/// Pieces with their length before them, in two bytes.
fn pieces(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = data.split_first_chunk::<2>()?;
        let (piece, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
        data = rest;
        Some(piece)
    })
}

fn reads_back(config: crate::codec::Config) {
    let _ = fmp4::init_segment(&config, config.timescale());
    let start = GroupStart {
        config,
        wall_clock_ms: 1,
        discontinuity: false,
        bitrate: None,
        language: None,
    };
    let again = GroupStart::decode(
        &FrameProperties { present: 0, picture: None, start: Some(&start) }.encode(),
    );
    assert!(again.is_ok_and(|again| similar(&again, &start)), "{start:?}");
}

/// The same, but for what a record does not hold: how long frames of AC-3 are.
fn similar(a: &GroupStart, b: &GroupStart) -> bool {
    let strings = |s: &GroupStart| (s.config.codec_string(), s.config.timescale());
    strings(a) == strings(b) && a.language == b.language
}

/// An H.264 access unit with start codes.
pub fn annex_b(data: &[u8]) {
    let _ = h264::annex_b_to_lengths(data);
}

/// Bodies of RTMP messages.
pub fn flv_bodies(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    let _ = (flv::video(&body), flv::audio(&body));
}

/// An FLV file in pieces.
pub fn flv_file(data: &[u8]) {
    let mut reader = flv::Reader::new();
    for piece in data.chunks(13) {
        reader.push(piece);
        while let Ok(Some(tag)) = reader.next_tag() {
            let _ = (flv::video(&tag.body), flv::audio(&tag.body));
        }
    }
}

/// Timestamps of two tracks: decode times must rise whatever comes.
pub fn timeline(data: &[u8]) {
    let mut timeline = Timeline::new();
    let kinds = [TrackKind::Video { frame_rate: None }, TrackKind::Audio { sample_rate: 44_100 }];
    let mut tracks = Vec::new();
    for kind in kinds {
        tracks.extend(timeline.add_track(kind, SourceClock::RTMP).map(|id| (id, i64::MIN)));
    }
    for step in data.as_chunks::<8>().0 {
        let [what, c, s, _, a, b, d, e] = *step;
        if what == 0xff {
            timeline.resume();
        }
        let at = usize::from(what & 1);
        let Some((id, last)) = tracks.get_mut(at) else {
            return;
        };
        let frame = SourceFrame {
            timestamp: u64::from(u32::from_be_bytes([a, b, d, e])),
            offset_ns: u32::from(c) * 3_921,
            composition: i32::from(c as i8) << (s & 31),
            sync: what & 2 != 0,
            samples: u32::from(s),
        };
        if let crate::timeline::Placed::Frame(timing) = timeline.push(*id, frame) {
            assert!(timing.decode > *last, "decode times must rise");
            *last = timing.decode;
        }
    }
}

/// An MP4 file.
pub fn mp4(data: &[u8]) {
    let file = Bytes::copy_from_slice(data);
    if let Ok(movie) = mp4::demux(&file) {
        for track in movie.tracks {
            assert!(
                track.samples.iter().all(|s| s.data(&file).is_some()),
                "samples lie inside of the file"
            );
        }
    }
}

/// A fragmented MP4 file, in pieces.
pub fn mp4_stream(data: &[u8]) {
    let mut reader = mp4::Reader::new();
    for piece in data.chunks(97) {
        reader.push(piece);
        while let Ok(Some(_)) = reader.next_event() {}
    }
}

/// Initialisation segment and segments to one file.
pub fn merged(data: &[u8]) {
    if let Ok((mut file, ids)) = fmp4::merge_inits(&[data, data]) {
        let head = file.len();
        let (mut sequence, ids) = (0, ids.first().cloned().unwrap_or_default());
        if fmp4::append_fragments(&mut file, data, &ids, &mut sequence).is_ok() {
            assert!(file.len() <= head + data.len(), "nothing is added");
        }
    }
}

/// A catalog, and in further lines changes to it; or these alone, to what others have. It stays within its bounds, and reads back.
pub fn catalog(data: &[u8]) {
    const OTHERS: &[u8] =
        br#"{"version":"draft-01","tracks":[{"name":"v","packaging":"loc","isLive":true}]}"#;
    let lines = data.split(|byte| *byte == b'\n');
    let mut catalog: Option<catalog::Catalog> = None;
    for piece in [data].into_iter().chain(lines).chain([OTHERS, data]) {
        let next = match &catalog {
            Some(catalog) if piece != OTHERS => {
                catalog.updated(piece, &mut catalog.to_json().len())
            }
            _ => catalog::Catalog::parse(piece),
        };
        let Ok(next) = next else { continue };
        assert!(next.tracks.len() <= crate::limits::CATALOG_TRACKS_MAX);
        for track in &next.tracks {
            let _ = next.init_of(track);
        }
        let json = next.to_json();
        if json.len() <= crate::limits::CATALOG_BYTES_MAX {
            assert!(catalog::Catalog::parse(&json).is_ok());
        }
        catalog = Some(next);
    }
}
