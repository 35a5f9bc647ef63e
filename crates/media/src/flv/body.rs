//! AUDIODATA and VIDEODATA, Adobe FLV 10.1 §E.4.2 and §E.4.3; E-RTMP v2 "Enhanced Audio" and "Enhanced Video".

use std::fmt;

use bytes::Bytes;

use super::enhanced;
use crate::codec::{AudioFormat, VideoFormat};
use crate::read::Reader;

/// What a video message holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Video {
    /// A decoder configuration.
    Header(VideoFormat, Bytes),
    /// One access unit.
    Frame {
        /// Its format.
        format: VideoFormat,
        /// What the container claims about decoding from here; the bitstream decides.
        flagged_key: bool,
        /// Presentation time minus decode time.
        composition_ms: i32,
        /// The bytes, by reference.
        data: Bytes,
    },
    /// The publisher says that the sequence is over.
    EndOfSequence(VideoFormat),
    /// AMF pairs such as `colorInfo`: nothing to show, and the bitstream decides.
    Metadata(Bytes),
    /// A descriptor of MPEG-2 TS in place of a configuration. It holds nothing that the sequence header in the
    /// bitstream does not.
    Descriptor(VideoFormat, Bytes),
    /// A command or information frame (frame type 5): nothing to show.
    Command,
}

/// What an audio message holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audio {
    /// A decoder configuration.
    Header(AudioFormat, Bytes),
    /// One access unit.
    Frame(AudioFormat, Bytes),
    /// The publisher says that the sequence is over, or that there is silence.
    EndOfSequence(AudioFormat),
    /// Which channel goes to which speaker; the codecs that are carried say it themselves.
    Channels(AudioFormat, Bytes),
}

/// A message, taken apart into what it holds of each track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<B> {
    /// Nanoseconds, less than a millisecond, after the message's timestamp (ModEx TimestampOffsetNano).
    pub offset_ns: u32,
    /// Track ids with their bodies, in order. A message without multitrack is of track 0.
    pub tracks: Vec<(u8, B)>,
}

impl<B> Message<B> {
    pub(super) fn of(body: B) -> Self {
        Self { offset_ns: 0, tracks: vec![(0, body)] }
    }
}

/// Why a message body was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Empty, or shorter than its header. Some encoders send empty messages as a heartbeat: may be skipped.
    #[error("an FLV {0} body of only {1} bytes")]
    Short(&'static str, usize),
    /// A packet type that is in no document.
    #[error("unknown {codec} packet type {value}")]
    UnknownPacketType {
        /// Codec by name.
        codec: &'static str,
        /// The value.
        value: u8,
    },
    /// A codec that this server does not carry.
    #[error("{0} is not supported")]
    Unsupported(Codec),
    /// A length in the message goes beyond its end.
    #[error("an FLV {0} body that ends inside of a track")]
    Overrun(&'static str),
    /// Beyond a bound of [`crate::limits`].
    #[error("an FLV {0} body of more than {1}")]
    TooMany(&'static str, &'static str),
}

/// A codec by its name, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// One of the codecs of FLV 10.1, or one of the unofficial numbers after it.
    Legacy(&'static str),
    /// A FourCC of E-RTMP.
    Enhanced([u8; 4]),
    /// What E-RTMP reserves for later.
    Reserved(&'static str),
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Legacy(name) => f.write_str(name),
            Self::Reserved(what) => write!(f, "{what} (Enhanced RTMP)"),
            Self::Enhanced(four) => {
                let name = match four {
                    b"avc1" => "H.264",
                    b"hvc1" => "HEVC",
                    b"vvc1" => "VVC",
                    b"av01" => "AV1",
                    b"vp08" => "VP8",
                    b"vp09" => "VP9",
                    b"mp4a" => "AAC",
                    b"Opus" => "Opus",
                    b"fLaC" => "FLAC",
                    b"ac-3" => "AC-3",
                    b"ec-3" => "E-AC-3",
                    b".mp3" => "MP3",
                    _ => return write!(f, "codec {} (Enhanced RTMP)", four.escape_ascii()),
                };
                write!(f, "{name} over Enhanced RTMP")
            }
        }
    }
}

/// Reads the body of a video message (RTMP type 9, FLV tag type 9), legacy or enhanced.
pub fn video(body: &Bytes) -> Result<Message<Video>, Error> {
    let mut reader = Reader::new(body);
    let short = || Error::Short("video", body.len());
    let first = reader.u8().ok_or_else(short)?;
    // E-RTMP v2 "ExVideoTagHeader": the top bit says that what was the codec is a packet type.
    if first & 0x80 != 0 {
        return enhanced::video(body, first, reader);
    }
    let frame_type = first >> 4;
    if frame_type == 5 {
        return Ok(Message::of(Video::Command));
    }
    match first & 0x0f {
        7 => {}
        id => return Err(Error::Unsupported(Codec::Legacy(legacy_video(id)))),
    }
    let format = VideoFormat::H264;
    let packet_type = reader.u8().ok_or_else(short)?;
    if packet_type == 2 {
        return Ok(Message::of(Video::EndOfSequence(format)));
    }
    let composition_ms = reader.i24().ok_or_else(short)?;
    let data = body.slice_ref(reader.rest());
    match packet_type {
        0 => Ok(Message::of(Video::Header(format, data))),
        1 => Ok(Message::of(Video::Frame {
            format,
            flagged_key: frame_type == 1,
            composition_ms,
            data,
        })),
        value => Err(Error::UnknownPacketType { codec: "AVC", value }),
    }
}

/// Reads the body of an audio message (RTMP type 8, FLV tag type 8), legacy or enhanced.
pub fn audio(body: &Bytes) -> Result<Message<Audio>, Error> {
    let mut reader = Reader::new(body);
    let short = || Error::Short("audio", body.len());
    let first = reader.u8().ok_or_else(short)?;
    match first >> 4 {
        // MP3 and MP3 at 8 kHz have no packet type: each body is frames.
        2 | 14 => {
            let data = body.slice_ref(reader.rest());
            return Ok(Message::of(Audio::Frame(AudioFormat::Mp3, data)));
        }
        // E-RTMP v2 "ExAudioTagHeader"
        9 => return enhanced::audio(body, first, reader),
        10 => {}
        id => return Err(Error::Unsupported(Codec::Legacy(legacy_audio(id)))),
    }
    let packet_type = reader.u8().ok_or_else(short)?;
    let data = body.slice_ref(reader.rest());
    match packet_type {
        0 => Ok(Message::of(Audio::Header(AudioFormat::Aac, data))),
        1 => Ok(Message::of(Audio::Frame(AudioFormat::Aac, data))),
        value => Err(Error::UnknownPacketType { codec: "AAC", value }),
    }
}

fn legacy_video(id: u8) -> &'static str {
    match id {
        1 => "JPEG video",
        2 => "Sorenson H.263",
        3 => "Screen Video",
        4 => "On2 VP6",
        5 => "On2 VP6 with alpha",
        6 => "Screen Video 2",
        8 => "RealVideo (unofficial FLV codec 8)",
        9 => "MPEG-4 Part 2 (unofficial FLV codec 9)",
        12 => "HEVC as unofficial FLV codec 12 (use Enhanced RTMP)",
        13 => "AV1 as unofficial FLV codec 13 (use Enhanced RTMP)",
        _ => "an unknown FLV video codec",
    }
}

fn legacy_audio(id: u8) -> &'static str {
    match id {
        0 => "linear PCM (platform endian)",
        1 => "ADPCM",
        3 => "linear PCM (little endian)",
        4 => "Nellymoser 16 kHz",
        5 => "Nellymoser 8 kHz",
        6 => "Nellymoser",
        7 => "G.711 A-law",
        8 => "G.711 mu-law",
        11 => "Speex",
        13 => "Opus as unofficial FLV codec 13 (use Enhanced RTMP)",
        15 => "device-specific sound",
        _ => "an unknown FLV audio codec",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legacy_video_bodies() {
        let h264 = VideoFormat::H264;
        let data = Bytes::from_static(&[9, 9]);
        let frame = |flagged_key, composition_ms| Video::Frame {
            format: h264,
            flagged_key,
            composition_ms,
            data: data.clone(),
        };
        let table: &[(&'static [u8], Result<Video, &str>)] = &[
            (&[0x17, 0, 0, 0, 0, 9, 9], Ok(Video::Header(h264, data.clone()))),
            (&[0x17, 1, 0, 0, 80, 9, 9], Ok(frame(true, 80))),
            (&[0x27, 1, 0xff, 0xff, 0xd8, 9, 9], Ok(frame(false, -40))),
            (&[0x17, 2], Ok(Video::EndOfSequence(h264))),
            (&[0x57, 0], Ok(Video::Command)),
            (&[], Err("an FLV video body of only 0 bytes")),
            (&[0x17, 1, 0], Err("an FLV video body of only 3 bytes")),
            (&[0x17, 7, 0, 0, 0], Err("unknown AVC packet type 7")),
            (&[0x12, 0], Err("Sorenson H.263 is not supported")),
            (
                &[0x1c, 0],
                Err("HEVC as unofficial FLV codec 12 (use Enhanced RTMP) is not supported"),
            ),
        ];
        for (bytes, expect) in table {
            let got = video(&Bytes::from_static(bytes)).map_err(|e| e.to_string());
            assert_eq!(got, expect.clone().map(Message::of).map_err(str::to_owned));
        }
    }

    #[test]
    fn audio_bodies() {
        let data = Bytes::from_static(&[9, 9]);
        let table: &[(&'static [u8], Result<Audio, &str>)] = &[
            (&[0xaf, 0, 9, 9], Ok(Audio::Header(AudioFormat::Aac, data.clone()))),
            (&[0xaf, 1, 9, 9], Ok(Audio::Frame(AudioFormat::Aac, data.clone()))),
            (&[0xaf], Err("an FLV audio body of only 1 bytes")),
            (&[0x2f, 9, 9], Ok(Audio::Frame(AudioFormat::Mp3, data.clone()))),
            (&[0xb2, 1], Err("Speex is not supported")),
        ];
        for (bytes, expect) in table {
            let got = audio(&Bytes::from_static(bytes)).map_err(|e| e.to_string());
            assert_eq!(got, expect.clone().map(Message::of).map_err(str::to_owned));
        }
    }
}
