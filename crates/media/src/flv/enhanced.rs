//! ExVideoTagHeader, ExAudioTagHeader and what follows them: E-RTMP v2 "Enhanced Video" and "Enhanced Audio".

use bytes::Bytes;

use super::body::{Audio, Codec, Error, Message, Video};
use crate::codec::{AudioFormat, VideoFormat};
use crate::limits::{FLV_MOD_EX_MAX, FLV_TRACKS_MAX};
use crate::read::Reader;

/// VideoPacketType, E-RTMP v2 "Enhanced Video".
mod video_packet {
    pub(super) const SEQUENCE_START: u8 = 0;
    pub(super) const CODED_FRAMES: u8 = 1;
    pub(super) const SEQUENCE_END: u8 = 2;
    pub(super) const CODED_FRAMES_X: u8 = 3;
    pub(super) const METADATA: u8 = 4;
    pub(super) const MPEG2TS_SEQUENCE_START: u8 = 5;
    pub(super) const MULTITRACK: u8 = 6;
}

/// AudioPacketType, E-RTMP v2 "Enhanced Audio".
mod audio_packet {
    pub(super) const SEQUENCE_START: u8 = 0;
    pub(super) const CODED_FRAMES: u8 = 1;
    pub(super) const SEQUENCE_END: u8 = 2;
    pub(super) const MULTICHANNEL_CONFIG: u8 = 4;
    pub(super) const MULTITRACK: u8 = 5;
}

/// VideoPacketType and AudioPacketType share it.
const MOD_EX: u8 = 7;

/// VideoFrameType of commands, which have no body.
const FRAME_TYPE_COMMAND: u8 = 5;

/// AvMultitrackType.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Multitrack {
    OneTrack,
    ManyTracks,
    ManyTracksManyCodecs,
}

/// What stands ahead of the tracks' bodies.
struct Head<'a> {
    kind: &'static str,
    packet_type: u8,
    offset_ns: u32,
    multitrack: Option<Multitrack>,
    reader: Reader<'a>,
    len: usize,
}

pub(super) fn video(
    body: &Bytes,
    first: u8,
    mut reader: Reader<'_>,
) -> Result<Message<Video>, Error> {
    let short = || Error::Short("video", body.len());
    let frame_type = first >> 4 & 0x07;
    let (packet_type, offset_ns) = mod_ex(first & 0x0f, &mut reader).ok_or_else(short)?;
    // "ExVideoTagBody has no payload if we got here."
    if frame_type == FRAME_TYPE_COMMAND && packet_type != video_packet::METADATA {
        return Ok(Message { offset_ns, tracks: vec![(0, Video::Command)] });
    }
    let head = Head::read("video", packet_type, video_packet::MULTITRACK, offset_ns, reader, body)?;
    let packet_type = head.packet_type;
    head.split(body, |four, data| video_body(packet_type, frame_type == 1, four, data))
}

pub(super) fn audio(
    body: &Bytes,
    first: u8,
    mut reader: Reader<'_>,
) -> Result<Message<Audio>, Error> {
    let short = || Error::Short("audio", body.len());
    let (packet_type, offset_ns) = mod_ex(first & 0x0f, &mut reader).ok_or_else(short)?;
    let head = Head::read("audio", packet_type, audio_packet::MULTITRACK, offset_ns, reader, body)?;
    let packet_type = head.packet_type;
    head.split(body, |four, data| audio_body(packet_type, four, data))
}

/// "Process each ModEx data packet": answers the packet type behind them and the sum of their time offsets, which is
/// less than a millisecond or ignored. `None`: the body ends before.
fn mod_ex(mut packet_type: u8, reader: &mut Reader<'_>) -> Option<(u8, u32)> {
    let mut offset_ns = 0;
    let mut seen = 0;
    while packet_type == MOD_EX {
        seen += 1;
        if seen > FLV_MOD_EX_MAX {
            return None;
        }
        let mut size = usize::from(reader.u8()?) + 1;
        if size == 256 {
            size = usize::from(reader.u16()?) + 1;
        }
        let data = reader.take(size)?;
        let types = reader.u8()?;
        packet_type = types & 0x0f;
        // TimestampOffsetNano: at least three bytes, at most 999,999 ns.
        if types >> 4 == 0 {
            let nanos = Reader::new(data).u24().filter(|n| *n < 1_000_000);
            offset_ns = nanos.unwrap_or(offset_ns);
        }
    }
    Some((packet_type, offset_ns))
}

impl<'a> Head<'a> {
    fn read(
        kind: &'static str,
        mut packet_type: u8,
        multitrack_type: u8,
        offset_ns: u32,
        mut reader: Reader<'a>,
        body: &Bytes,
    ) -> Result<Self, Error> {
        let mut multitrack = None;
        if packet_type == multitrack_type {
            let types = reader.u8().ok_or(Error::Short(kind, body.len()))?;
            packet_type = types & 0x0f;
            multitrack = Some(match types >> 4 {
                0 => Multitrack::OneTrack,
                1 => Multitrack::ManyTracks,
                2 => Multitrack::ManyTracksManyCodecs,
                _ => return Err(Error::Unsupported(Codec::Reserved("a reserved multitrack type"))),
            });
            // "This fetch MUST not result in a VideoPacketType.Multitrack"; ModEx stands ahead of it only.
            if packet_type == multitrack_type || packet_type == MOD_EX {
                return Err(Error::UnknownPacketType { codec: "multitrack", value: packet_type });
            }
        }
        Ok(Self { kind, packet_type, offset_ns, multitrack, reader, len: body.len() })
    }

    /// Takes the body apart into tracks.
    fn split<B>(
        mut self,
        body: &Bytes,
        read: impl Fn([u8; 4], Bytes) -> Result<B, Error>,
    ) -> Result<Message<B>, Error> {
        let short = Error::Short(self.kind, self.len);
        let overrun = Error::Overrun(self.kind);
        let offset_ns = self.offset_ns;
        let shared = match self.multitrack {
            Some(Multitrack::ManyTracksManyCodecs) => None,
            _ => Some(self.reader.array::<4>().ok_or_else(|| short.clone())?),
        };
        let Some(multitrack) = self.multitrack else {
            let four = shared.ok_or(short)?;
            let data = body.slice_ref(self.reader.rest());
            return Ok(Message { offset_ns, tracks: vec![(0, read(four, data)?)] });
        };
        let mut tracks = Vec::new();
        loop {
            let four = match shared {
                Some(four) => four,
                None => self.reader.array::<4>().ok_or_else(|| short.clone())?,
            };
            let id = self.reader.u8().ok_or_else(|| short.clone())?;
            let data = if multitrack == Multitrack::OneTrack {
                self.reader.take(self.reader.len())
            } else {
                // "This size starts counting immediately after the position where [it] is located."
                let size = self.reader.u24().ok_or_else(|| short.clone())?;
                self.reader.take(size as usize)
            };
            let data = body.slice_ref(data.ok_or_else(|| overrun.clone())?);
            if tracks.len() == FLV_TRACKS_MAX {
                return Err(Error::TooMany(self.kind, "256 tracks"));
            }
            tracks.push((id, read(four, data)?));
            if self.reader.is_empty() {
                return Ok(Message { offset_ns, tracks });
            }
        }
    }
}

fn video_body(packet_type: u8, key: bool, four: [u8; 4], data: Bytes) -> Result<Video, Error> {
    if packet_type == video_packet::METADATA {
        return Ok(Video::Metadata(data));
    }
    let format = match &four {
        b"avc1" => VideoFormat::H264,
        b"hvc1" => VideoFormat::Hevc,
        b"av01" => VideoFormat::Av1,
        b"vp09" => VideoFormat::Vp9,
        b"vp08" => VideoFormat::Vp8,
        _ => return Err(Error::Unsupported(Codec::Enhanced(four))),
    };
    let frame =
        |composition_ms, data| Video::Frame { format, flagged_key: key, composition_ms, data };
    match packet_type {
        video_packet::SEQUENCE_START => Ok(Video::Header(format, data)),
        // Only these two have a composition time ahead of their NAL units.
        video_packet::CODED_FRAMES if matches!(format, VideoFormat::H264 | VideoFormat::Hevc) => {
            let mut reader = Reader::new(&data);
            let composition_ms = reader.i24().ok_or(Error::Short("video", data.len()))?;
            let unit = data.slice_ref(reader.rest());
            Ok(frame(composition_ms, unit))
        }
        video_packet::CODED_FRAMES | video_packet::CODED_FRAMES_X => Ok(frame(0, data)),
        video_packet::SEQUENCE_END => Ok(Video::EndOfSequence(format)),
        video_packet::MPEG2TS_SEQUENCE_START => Ok(Video::Descriptor(format, data)),
        value => Err(Error::UnknownPacketType { codec: "enhanced video", value }),
    }
}

fn audio_body(packet_type: u8, four: [u8; 4], data: Bytes) -> Result<Audio, Error> {
    let format = match &four {
        b"mp4a" => AudioFormat::Aac,
        b"Opus" => AudioFormat::Opus,
        b"ac-3" => AudioFormat::Ac3,
        b"ec-3" => AudioFormat::Eac3,
        b"fLaC" => AudioFormat::Flac,
        b".mp3" => AudioFormat::Mp3,
        _ => return Err(Error::Unsupported(Codec::Enhanced(four))),
    };
    match packet_type {
        audio_packet::SEQUENCE_START => Ok(Audio::Header(format, data)),
        audio_packet::CODED_FRAMES => Ok(Audio::Frame(format, data)),
        audio_packet::SEQUENCE_END => Ok(Audio::EndOfSequence(format)),
        audio_packet::MULTICHANNEL_CONFIG => Ok(Audio::Channels(format, data)),
        value => Err(Error::UnknownPacketType { codec: "enhanced audio", value }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{audio, video};
    use super::*;

    fn header(format: VideoFormat, data: &'static [u8]) -> Video {
        Video::Header(format, Bytes::from_static(data))
    }

    fn frame(format: VideoFormat, key: bool, composition_ms: i32, data: &'static [u8]) -> Video {
        Video::Frame { format, flagged_key: key, composition_ms, data: Bytes::from_static(data) }
    }

    #[test]
    fn video_packets() {
        use VideoFormat::{Av1, H264, Hevc, Vp8, Vp9};
        type Row = (&'static [u8], u32, Vec<(u8, Video)>);
        let table: Vec<Row> = vec![
            (b"\x90hvc1abc", 0, vec![(0, header(Hevc, b"abc"))]),
            (b"\x91hvc1\x00\x00\x43ab", 0, vec![(0, frame(Hevc, true, 67, b"ab"))]),
            (b"\xa1avc1\xff\xff\xd8ab", 0, vec![(0, frame(H264, false, -40, b"ab"))]),
            (b"\xa3hvc1ab", 0, vec![(0, frame(Hevc, false, 0, b"ab"))]),
            (b"\x91av01ab", 0, vec![(0, frame(Av1, true, 0, b"ab"))]),
            (b"\xa1vp09ab", 0, vec![(0, frame(Vp9, false, 0, b"ab"))]),
            (b"\xa1vp08ab", 0, vec![(0, frame(Vp8, false, 0, b"ab"))]),
            (b"\x92hvc1", 0, vec![(0, Video::EndOfSequence(Hevc))]),
            // FFmpeg 9 marks metadata with frame type 5; the type is to be ignored there.
            (b"\xd4hvc1\x02x", 0, vec![(0, Video::Metadata(Bytes::from_static(b"\x02x")))]),
            (b"\xd1hvc1", 0, vec![(0, Video::Command)]),
            (
                b"\x95av01\x80\x04",
                0,
                vec![(0, Video::Descriptor(Av1, Bytes::from_static(b"\x80\x04")))],
            ),
            // ModEx with TimestampOffsetNano, with three bytes; then one that is not known.
            (b"\x97\x02\x0f\x42\x3f\x03av01ab", 999_999, vec![(0, frame(Av1, true, 0, b"ab"))]),
            (
                b"\x97\x00\xee\x17\x02\x00\x00\x09\x03av01ab",
                9,
                vec![(0, frame(Av1, true, 0, b"ab"))],
            ),
            // Out of range: ignored.
            (b"\x97\x02\x0f\x42\x40\x03av01ab", 0, vec![(0, frame(Av1, true, 0, b"ab"))]),
            // One track, many tracks, many codecs.
            (b"\x96\x00hvc1\x01abc", 0, vec![(1, header(Hevc, b"abc"))]),
            (
                b"\x96\x10hvc1\x00\x00\x00\x02ab\x02\x00\x00\x01c",
                0,
                vec![(0, header(Hevc, b"ab")), (2, header(Hevc, b"c"))],
            ),
            (
                b"\x96\x21avc1\x00\x00\x00\x04\x00\x00\x01aav01\x07\x00\x00\x01b",
                0,
                vec![(0, frame(H264, true, 1, b"a")), (7, frame(Av1, true, 0, b"b"))],
            ),
        ];
        for (bytes, offset_ns, tracks) in table {
            let got = video(&Bytes::from_static(bytes));
            assert_eq!(got, Ok(Message { offset_ns, tracks }), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn audio_packets() {
        use AudioFormat::{Aac, Ac3, Eac3, Flac, Mp3, Opus};
        let ab = || Bytes::from_static(b"ab");
        type Row = (&'static [u8], Vec<(u8, Audio)>);
        let table: Vec<Row> = vec![
            (b"\x90Opusab", vec![(0, Audio::Header(Opus, ab()))]),
            (b"\x90ac-3", vec![(0, Audio::Header(Ac3, Bytes::new()))]),
            (b"\x91ec-3ab", vec![(0, Audio::Frame(Eac3, ab()))]),
            (b"\x91fLaCab", vec![(0, Audio::Frame(Flac, ab()))]),
            (b"\x91.mp3ab", vec![(0, Audio::Frame(Mp3, ab()))]),
            (b"\x92mp4a", vec![(0, Audio::EndOfSequence(Aac))]),
            (b"\x94Opusab", vec![(0, Audio::Channels(Opus, ab()))]),
            (b"\x95\x01Opus\x03ab", vec![(3, Audio::Frame(Opus, ab()))]),
            (
                b"\x95\x11mp4a\x00\x00\x00\x02ab\x01\x00\x00\x02ab",
                vec![(0, Audio::Frame(Aac, ab())), (1, Audio::Frame(Aac, ab()))],
            ),
        ];
        for (bytes, tracks) in table {
            let got = audio(&Bytes::from_static(bytes));
            assert_eq!(got, Ok(Message { offset_ns: 0, tracks }), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let table: &[(&'static [u8], &str)] = &[
            (b"\x90", "an FLV video body of only 1 bytes"),
            (b"\x90vvc1", "VVC over Enhanced RTMP is not supported"),
            (b"\x91zz\x00z", "codec zz\\x00z (Enhanced RTMP) is not supported"),
            (b"\x98hvc1", "unknown enhanced video packet type 8"),
            (b"\x96", "an FLV video body of only 1 bytes"),
            (b"\x96\x06hvc1", "unknown multitrack packet type 6"),
            (b"\x96\x31hvc1", "a reserved multitrack type (Enhanced RTMP) is not supported"),
            (b"\x96\x10hvc1\x00\x00\x00\x09ab", "an FLV video body that ends inside of a track"),
            (b"\x97\x09ab", "an FLV video body of only 4 bytes"),
            (b"\x97\xff\xff\xffab", "an FLV video body of only 6 bytes"),
        ];
        for (bytes, expect) in table {
            let got = video(&Bytes::from_static(bytes)).map_err(|e| e.to_string());
            assert_eq!(got, Err((*expect).to_owned()), "{}", bytes.escape_ascii());
        }
        assert!(audio(&Bytes::from_static(b"\x93Opus")).is_err());
        assert!(audio(&Bytes::from_static(b"\x91dts ")).is_err());
    }
}
