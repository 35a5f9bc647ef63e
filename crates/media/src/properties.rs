//! Key-value pairs on objects, as MoQ has them: the type as the difference to the one before, even
//! types with a number, odd types with a length and bytes (draft-ietf-moq-transport-18 §1.4.3).
//! Numbers are the variable-length integers of the drafts from 17 on (§1.4.1), so that what stands on
//! an object is sent as it is.
//!
//! Raw tracks are LOC tracks (draft-ietf-moq-loc-04): every frame says when it is shown
//! ([`FrameProperties`]). On the first object of each raw group stands besides what a reader needs to
//! start there: the codec, its configuration, the wall clock, and whether it follows from the group
//! before.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use std::sync::Arc;

use crate::codec::aac::AudioSpecificConfig;
use crate::codec::{
    AudioCodec, AudioConfig, Config, VideoCodec, VideoConfig, ac3, av1, flac, h264, hevc, mp3,
    opus, vpx,
};
use crate::limits::PICTURE_SIDE_MAX;
use crate::webvtt::is_language;

/// draft-ietf-moq-loc-04: TIMESCALE, of a track or an object.
pub const TIMESCALE: u64 = 0x08;
/// draft-ietf-moq-loc-04: VIDEO_FRAME_MARKING.
pub const VIDEO_FRAME_MARKING: u64 = 0x09;
/// draft-ietf-moq-loc-04: VIDEO_CONFIG.
pub const VIDEO_CONFIG: u64 = 0x0d;
/// draft-ietf-moq-msf-01: MSF_INITIALIZATION, of a track or of an object.
pub const MSF_INITIALIZATION: u64 = 0x79;
/// draft-ietf-moq-loc-04: AUDIO_CONFIG.
pub const AUDIO_CONFIG: u64 = 0x0f;
/// draft-ietf-moq-loc-04: TIMESTAMP, when a frame is shown.
pub const TIMESTAMP: u64 = 0x10;
/// draft-ietf-moq-transport-18: DEFAULT_PUBLISHER_PRIORITY, of a track.
pub const DEFAULT_PUBLISHER_PRIORITY: u64 = 0x0e;
/// draft-ietf-moq-transport-18: DYNAMIC_GROUPS, of a track.
pub const DYNAMIC_GROUPS: u64 = 0x30;
/// Ours, in the range for applications: the sample entry's four characters.
const CODEC: u64 = 0x3805;
/// Ours: milliseconds since 1970 when the first frame of the group was taken.
const WALL_CLOCK: u64 = 0x3806;
/// Ours: 1 if the group does not follow from the one before.
const DISCONTINUITY: u64 = 0x3808;

/// Ours: width and height, for codecs whose record does not say them; 32 bits each.
const SIZE: u64 = 0x380a;
/// Ours: bits a second that the publisher declares.
const BITRATE: u64 = 0x380c;
/// Ours: the language that the publisher declares (BCP 47).
const LANGUAGE: u64 = 0x380d;

/// Properties that can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed object properties")]
pub struct Malformed;

/// Writes pairs in rising order of their types.
#[derive(Debug, Default)]
pub struct PairsWriter {
    out: BytesMut,
    last: u64,
}

impl PairsWriter {
    /// An even type and its number.
    pub fn number(mut self, kind: u64, value: u64) -> Self {
        debug_assert!(kind.is_multiple_of(2) && kind >= self.last);
        put_varint(&mut self.out, kind - self.last);
        put_varint(&mut self.out, value);
        self.last = kind;
        self
    }

    /// An odd type and its bytes.
    pub fn bytes(mut self, kind: u64, value: &[u8]) -> Self {
        debug_assert!(!kind.is_multiple_of(2) && kind >= self.last);
        put_varint(&mut self.out, kind - self.last);
        put_varint(&mut self.out, value.len() as u64);
        self.out.put_slice(value);
        self.last = kind;
        self
    }

    /// The pairs.
    pub fn finish(self) -> Bytes {
        self.out.freeze()
    }
}

/// A pair's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Of an even type.
    Number(u64),
    /// Of an odd type.
    Bytes(&'a [u8]),
}

/// Reads pairs, in order.
pub fn pairs(mut input: &[u8]) -> impl Iterator<Item = Result<(u64, Value<'_>), Malformed>> {
    let mut kind = 0u64;
    std::iter::from_fn(move || {
        if input.is_empty() {
            return None;
        }
        let pair = read_pair(&mut input, &mut kind);
        if pair.is_err() {
            input = &[];
        }
        Some(pair)
    })
}

fn read_pair<'a>(input: &mut &'a [u8], kind: &mut u64) -> Result<(u64, Value<'a>), Malformed> {
    *kind = kind.checked_add(varint(input)?).ok_or(Malformed)?;
    if kind.is_multiple_of(2) {
        return Ok((*kind, Value::Number(varint(input)?)));
    }
    let len = usize::try_from(varint(input)?).map_err(|_| Malformed)?;
    let (value, rest) = input.split_at_checked(len).ok_or(Malformed)?;
    *input = rest;
    Ok((*kind, Value::Bytes(value)))
}

/// draft-ietf-moq-transport-18 §1.4.1: as many ones lead the first byte as bytes follow it.
pub fn put_varint(out: &mut BytesMut, value: u64) {
    // 7 bits fit one byte, 14 two, and so on; 64 bits take nine.
    let bits = (u64::BITS - value.leading_zeros()).max(1);
    let more = bits.div_ceil(7) - 1;
    if more >= 8 {
        out.put_u8(0xff);
        return out.put_u64(value);
    }
    let ones = !(0xff_u8 >> more);
    let head = (value >> (8 * more)) as u8;
    out.put_u8(ones | head);
    let bytes = value.to_be_bytes();
    out.put_slice(&bytes[bytes.len() - more as usize..]);
}

/// draft-ietf-moq-transport-18 §1.4.1; encodings that are longer than need be are valid.
pub fn varint(input: &mut &[u8]) -> Result<u64, Malformed> {
    let first = *input.first().ok_or(Malformed)?;
    let more = first.leading_ones() as usize;
    if input.len() <= more {
        return Err(Malformed);
    }
    input.advance(1);
    let mut value = u64::from(first & (0x7f_u16 >> more) as u8);
    for _ in 0..more {
        value = value << 8 | u64::from(input.get_u8());
    }
    Ok(value)
}

/// What the first object of a raw group says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupStart {
    /// The configuration of everything in the group.
    pub config: Config,
    /// Milliseconds since 1970 when its first frame was taken.
    pub wall_clock_ms: u64,
    /// It does not follow from the group before.
    pub discontinuity: bool,
    /// Bits a second at most, as the publisher says.
    pub bitrate: Option<u64>,
    /// What is spoken, as the publisher says (BCP 47).
    pub language: Option<String>,
}

/// What a frame of a raw track says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameProperties<'a> {
    /// When it is shown, in the track's timescale.
    pub present: i64,
    /// Whether it is a picture, and then whether decoding can start here.
    pub picture: Option<bool>,
    /// On the first of a group.
    pub start: Option<&'a GroupStart>,
}

impl FrameProperties<'_> {
    /// As properties of the object.
    pub fn encode(&self) -> Bytes {
        let mut pairs = PairsWriter::default();
        if let Some(sync) = self.picture {
            pairs = pairs.bytes(VIDEO_FRAME_MARKING, &[frame_marking(sync)]);
        }
        let start = self.start.map(|start| (start, start.record()));
        if let Some((_, (kind, _, record))) = &start {
            pairs = pairs.bytes(*kind, record);
        }
        pairs = pairs.number(TIMESTAMP, u64::try_from(self.present).unwrap_or(0));
        match &start {
            Some((start, (_, codec, _))) => start.ours(pairs, codec).finish(),
            None => pairs.finish(),
        }
    }
}

/// RFC 9626 §3.2, a frame without layers that is one object: start, end, independent.
fn frame_marking(sync: bool) -> u8 {
    if sync { 0b1110_0000 } else { 0b1100_0000 }
}

impl GroupStart {
    fn record(&self) -> (u64, &'static [u8], Bytes) {
        match &self.config {
            Config::Video(video) => {
                let (codec, record) = video_record(video);
                (VIDEO_CONFIG, codec, record)
            }
            Config::Audio(audio) => {
                let (codec, record) = audio_record(audio);
                (AUDIO_CONFIG, codec, record)
            }
        }
    }

    fn ours(&self, pairs: PairsWriter, codec: &[u8]) -> PairsWriter {
        let pairs = pairs
            .bytes(CODEC, codec)
            .number(WALL_CLOCK, self.wall_clock_ms)
            .number(DISCONTINUITY, u64::from(self.discontinuity));
        let pairs = match &self.config {
            Config::Video(VideoConfig { codec: VideoCodec::Vpx(_), width, height, .. }) => {
                pairs.number(SIZE, u64::from(*width) << 32 | u64::from(*height))
            }
            _ => pairs,
        };
        let pairs = match self.bitrate {
            Some(bits) => pairs.number(BITRATE, bits),
            None => pairs,
        };
        match &self.language {
            Some(language) => pairs.bytes(LANGUAGE, language.as_bytes()),
            None => pairs,
        }
    }

    /// Reads the properties of a group's first object; pairs that are not known are passed over.
    pub fn decode(properties: &[u8]) -> Result<Self, Malformed> {
        let (mut codec, mut record, mut wall_clock_ms, mut discontinuity) = (None, None, 0, false);
        let (mut size, mut bitrate, mut language) = (None, None, None);
        for pair in pairs(properties) {
            match pair? {
                (VIDEO_CONFIG | AUDIO_CONFIG, Value::Bytes(bytes)) => record = Some(bytes),
                (CODEC, Value::Bytes(bytes)) => codec = Some(bytes),
                (WALL_CLOCK, Value::Number(ms)) => wall_clock_ms = ms,
                (DISCONTINUITY, Value::Number(n)) => discontinuity = n != 0,
                (SIZE, Value::Number(n)) => size = Some(((n >> 32) as u32, n as u32)),
                (BITRATE, Value::Number(bits)) => bitrate = Some(bits),
                (LANGUAGE, Value::Bytes(tag)) => {
                    let tag = std::str::from_utf8(tag).ok().filter(|tag| is_language(tag));
                    language = tag.map(str::to_owned);
                }
                _ => {}
            }
        }
        let record = record.ok_or(Malformed)?;
        let config = config_of(codec.ok_or(Malformed)?, record, size).ok_or(Malformed)?;
        Ok(Self { config, wall_clock_ms, discontinuity, bitrate, language })
    }
}

/// The record that a decoder of this configuration needs.
pub fn record(config: &Config) -> Bytes {
    match config {
        Config::Video(video) => video_record(video).1,
        Config::Audio(audio) => audio_record(audio).1,
    }
}

/// The name of the sample entry, and the record that goes into it (LOC: VIDEO_CONFIG is that record).
fn video_record(video: &VideoConfig) -> (&'static [u8], Bytes) {
    match &video.codec {
        VideoCodec::H264(record) => (b"avc1", record.to_avcc()),
        VideoCodec::Hevc(record) => (b"hvc1", record.to_hvcc()),
        VideoCodec::Av1(record) => (b"av01", record.to_av1c()),
        VideoCodec::Vpx(config) => {
            let codec = if config.vp9 { b"vp09" } else { b"vp08" };
            (codec, Bytes::copy_from_slice(&config.to_record()))
        }
    }
}

fn audio_record(audio: &AudioConfig) -> (&'static [u8], Bytes) {
    match &audio.codec {
        AudioCodec::Aac(asc) => (b"mp4a", asc.bytes().clone()),
        AudioCodec::Opus(head) => (b"Opus", head.to_opus_head()),
        AudioCodec::Flac(info) => (b"fLaC", info.to_dfla()),
        AudioCodec::Ac3(config) => {
            let codec = if config.is_enhanced() { b"ec-3" } else { b"ac-3" };
            (codec, config.record().clone())
        }
        // Its sample entry is `mp4a` too.
        AudioCodec::Mp3(config) => (b".mp3", Bytes::copy_from_slice(&config.to_record())),
    }
}

fn config_of(codec: &[u8], record: &[u8], size: Option<(u32, u32)>) -> Option<Config> {
    let vpx = |vp9| {
        let sides = 1..=PICTURE_SIDE_MAX;
        let (width, height) = size.filter(|(w, h)| sides.contains(w) && sides.contains(h))?;
        Some(vpx::CodecConfiguration::parse(vp9, record).ok()?.config(width, height))
    };
    let ac3 = |enhanced| Some(ac3::Configuration::parse(enhanced, record).ok()?.config());
    Some(match codec {
        b"avc1" => {
            Config::Video(Arc::new(h264::DecoderConfiguration::parse(record).ok()?.0).config())
        }
        b"hvc1" => {
            Config::Video(Arc::new(hevc::DecoderConfiguration::parse(record).ok()?.0).config())
        }
        b"av01" => Config::Video(Arc::new(av1::CodecConfiguration::parse(record).ok()?).config()),
        b"vp09" => Config::Video(vpx(true)?),
        b"vp08" => Config::Video(vpx(false)?),
        b"mp4a" => Config::Audio(AudioSpecificConfig::parse(record).ok()?.config()),
        b"Opus" => Config::Audio(opus::Head::parse(record).ok()?.config()),
        b"fLaC" => Config::Audio(flac::StreamInfo::parse(record).ok()?.config()),
        b"ac-3" => Config::Audio(ac3(false)?),
        b"ec-3" => Config::Audio(ac3(true)?),
        b".mp3" => Config::Audio(mp3::Configuration::parse(record).ok()?.config()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_says_what_a_reader_needs_to_start_there() {
        let asc = AudioSpecificConfig::parse(&[0x11, 0x90]).unwrap();
        let start = GroupStart {
            config: Config::Audio(asc.config()),
            wall_clock_ms: 1_763_812_800_123,
            discontinuity: true,
            bitrate: Some(128_000),
            language: Some("pt-BR".to_owned()),
        };
        let encoded =
            FrameProperties { present: 90_000, picture: None, start: Some(&start) }.encode();
        assert_eq!(GroupStart::decode(&encoded), Ok(start.clone()));
        for len in 0..encoded.len() {
            assert_ne!(GroupStart::decode(&encoded[..len]), Ok(start.clone()), "cut at {len}");
        }
        let silent = GroupStart { bitrate: None, ..start };
        let encoded =
            FrameProperties { present: 90_000, picture: None, start: Some(&silent) }.encode();
        assert_eq!(GroupStart::decode(&encoded), Ok(silent));
    }

    #[test]
    fn pairs_are_bounded_by_what_is_there() {
        let lie = PairsWriter::default().bytes(3, b"abc").finish();
        let mut lie = lie.to_vec();
        lie[1] = 60;
        assert_eq!(pairs(&lie).next(), Some(Err(Malformed)));
        assert_eq!(pairs(&[0xff; 16]).count(), 1, "stops at the first that can't be read");
    }

    #[test]
    fn frames_are_loc_objects() {
        // TIMESTAMP 1234 as in the drafts' vectors; a picture has its marking before it.
        let sound = FrameProperties { present: 1234, picture: None, start: None };
        assert_eq!(sound.encode(), [0x10, 0x84, 0xd2][..]);
        let picture = FrameProperties { picture: Some(true), ..sound };
        assert_eq!(picture.encode(), [0x09, 0x01, 0xe0, 0x07, 0x84, 0xd2][..]);
    }

    #[test]
    fn numbers_as_the_drafts_print_them() {
        for (value, bytes) in [
            (0, &[0x00][..]),
            (37, &[0x25]),
            (127, &[0x7f]),
            (128, &[0x80, 0x80]),
            (15_293, &[0xbb, 0xbd]),
            (226_442_877, &[0xed, 0x7f, 0x3e, 0x7d]),
            (2_893_212_287_960, &[0xfa, 0xa1, 0xa0, 0xe4, 0x03, 0xd8]),
            (151_288_809_941_952, &[0xfc, 0x89, 0x98, 0xab, 0xc6, 0x6b, 0xc0]),
            (70_423_237_261_249_041, &[0xfe, 0xfa, 0x31, 0x8f, 0xa8, 0xe3, 0xca, 0x11]),
            (u64::MAX, &[0xff; 9]),
        ] {
            let mut out = BytesMut::new();
            put_varint(&mut out, value);
            assert_eq!(out, bytes, "{value}");
            let mut rest = bytes;
            assert_eq!((varint(&mut rest), rest), (Ok(value), &[][..]));
        }
        assert_eq!(varint(&mut &[0x80, 0x25][..]), Ok(37), "longer than need be");
        for cut in [&[][..], &[0x80], &[0xff; 8]] {
            assert_eq!(varint(&mut &cut[..]), Err(Malformed));
        }
    }
}
