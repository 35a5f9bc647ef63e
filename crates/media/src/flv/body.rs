//! AUDIODATA and VIDEODATA, Adobe FLV 10.1 §E.4.2 and §E.4.3; E-RTMP v2 "Enhanced Audio" and "Enhanced Video".

use std::fmt;

use bytes::{BufMut, Bytes};

use crate::read::Reader;

/// Video formats that are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VideoFormat {
    /// CodecID 7.
    H264,
}

/// Audio formats that are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AudioFormat {
    /// SoundFormat 10.
    Aac,
}

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
}

/// What a publisher said in `onMetaData`. Everything is a claim: the bitstream decides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeclaredMetadata {
    /// Pixels.
    pub width: Option<f64>,
    /// Pixels.
    pub height: Option<f64>,
    /// Frames per second, see [`crate::codec::Ratio::from_frame_rate`].
    pub frame_rate: Option<f64>,
    /// Kilobits per second.
    pub video_kbps: Option<f64>,
    /// Kilobits per second.
    pub audio_kbps: Option<f64>,
    /// Samples per second.
    pub audio_sample_rate: Option<f64>,
    /// Name and version of the encoder.
    pub encoder: Option<String>,
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
}

/// A codec by its name, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// One of the codecs of FLV 10.1, or one of the unofficial numbers after it.
    Legacy(&'static str),
    /// A FourCC of E-RTMP.
    Enhanced([u8; 4]),
    /// A tag of E-RTMP whose FourCC is not at its usual place (multitrack, ModEx) or is missing.
    EnhancedUnnamed(&'static str),
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Legacy(name) => f.write_str(name),
            Self::EnhancedUnnamed(what) => write!(f, "{what} (Enhanced RTMP)"),
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

/// Reads the body of a video message (RTMP type 9, FLV tag type 9).
pub fn video(body: &Bytes) -> Result<Video, Error> {
    let mut reader = Reader::new(body);
    let short = || Error::Short("video", body.len());
    let first = reader.u8().ok_or_else(short)?;
    // E-RTMP v2 "ExVideoTagHeader": the top bit says that what was the codec is a packet type.
    if first & 0x80 != 0 {
        return Err(Error::Unsupported(enhanced(first & 0x0f, 6, 7, &mut reader)));
    }
    let frame_type = first >> 4;
    if frame_type == 5 {
        return Ok(Video::Command);
    }
    match first & 0x0f {
        7 => {}
        id => return Err(Error::Unsupported(Codec::Legacy(legacy_video(id)))),
    }
    let format = VideoFormat::H264;
    let packet_type = reader.u8().ok_or_else(short)?;
    if packet_type == 2 {
        return Ok(Video::EndOfSequence(format));
    }
    let composition_ms = reader.i24().ok_or_else(short)?;
    let data = body.slice_ref(reader.rest());
    match packet_type {
        0 => Ok(Video::Header(format, data)),
        1 => Ok(Video::Frame { format, flagged_key: frame_type == 1, composition_ms, data }),
        value => Err(Error::UnknownPacketType { codec: "AVC", value }),
    }
}

/// Reads the body of an audio message (RTMP type 8, FLV tag type 8).
pub fn audio(body: &Bytes) -> Result<Audio, Error> {
    let mut reader = Reader::new(body);
    let short = || Error::Short("audio", body.len());
    let first = reader.u8().ok_or_else(short)?;
    match first >> 4 {
        10 => {}
        // E-RTMP v2 "ExAudioTagHeader"
        9 => {
            return Err(Error::Unsupported(enhanced(first & 0x0f, 5, 7, &mut reader)));
        }
        id => return Err(Error::Unsupported(Codec::Legacy(legacy_audio(id)))),
    }
    let packet_type = reader.u8().ok_or_else(short)?;
    let data = body.slice_ref(reader.rest());
    match packet_type {
        0 => Ok(Audio::Header(AudioFormat::Aac, data)),
        1 => Ok(Audio::Frame(AudioFormat::Aac, data)),
        value => Err(Error::UnknownPacketType { codec: "AAC", value }),
    }
}

fn enhanced(packet_type: u8, multitrack: u8, mod_ex: u8, reader: &mut Reader<'_>) -> Codec {
    if packet_type == multitrack {
        return Codec::EnhancedUnnamed("multitrack");
    }
    if packet_type == mod_ex {
        return Codec::EnhancedUnnamed("ModEx");
    }
    reader.array().map_or(Codec::EnhancedUnnamed("a tag without codec"), Codec::Enhanced)
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
        2 => "MP3",
        3 => "linear PCM (little endian)",
        4 => "Nellymoser 16 kHz",
        5 => "Nellymoser 8 kHz",
        6 => "Nellymoser",
        7 => "G.711 A-law",
        8 => "G.711 mu-law",
        11 => "Speex",
        13 => "Opus as unofficial FLV codec 13 (use Enhanced RTMP)",
        14 => "MP3 8 kHz",
        15 => "device-specific sound",
        _ => "an unknown FLV audio codec",
    }
}

/// The body of a message with a video configuration.
pub fn video_header(record: &[u8]) -> Vec<u8> {
    [&[0x17, 0, 0, 0, 0], record].concat()
}

/// The head of a message with a video frame; the access unit follows.
pub fn video_frame(key: bool, composition_ms: i32) -> [u8; 5] {
    let [_, a, b, c] = composition_ms.clamp(-0x80_0000, 0x7f_ffff).to_be_bytes();
    [if key { 0x17 } else { 0x27 }, 1, a, b, c]
}

/// The body of a message with an audio configuration.
pub fn audio_header(record: &[u8]) -> Vec<u8> {
    let mut out = vec![0xaf, 0];
    out.put_slice(record);
    out
}

/// The head of a message with an audio frame; the access unit follows.
pub fn audio_frame() -> [u8; 2] {
    [0xaf, 1]
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
            (b"\x90hvc1", Err("HEVC over Enhanced RTMP is not supported")),
            (b"\x91zz\x00z", Err("codec zz\\x00z (Enhanced RTMP) is not supported")),
            (b"\x96", Err("multitrack (Enhanced RTMP) is not supported")),
        ];
        for (bytes, expect) in table {
            let got = video(&Bytes::from_static(bytes)).map_err(|e| e.to_string());
            assert_eq!(got.as_ref().map_err(String::as_str), expect.as_ref().map_err(|e| *e));
        }
    }

    #[test]
    fn audio_bodies() {
        let data = Bytes::from_static(&[9, 9]);
        let table: &[(&'static [u8], Result<Audio, &str>)] = &[
            (&[0xaf, 0, 9, 9], Ok(Audio::Header(AudioFormat::Aac, data.clone()))),
            (&[0xaf, 1, 9, 9], Ok(Audio::Frame(AudioFormat::Aac, data.clone()))),
            (&[0xaf], Err("an FLV audio body of only 1 bytes")),
            (&[0x2f, 1], Err("MP3 is not supported")),
            (&[0xb2, 1], Err("Speex is not supported")),
            (b"\x90Opus", Err("Opus over Enhanced RTMP is not supported")),
        ];
        for (bytes, expect) in table {
            let got = audio(&Bytes::from_static(bytes)).map_err(|e| e.to_string());
            assert_eq!(got.as_ref().map_err(String::as_str), expect.as_ref().map_err(|e| *e));
        }
    }

    #[test]
    fn written_heads_read_back() {
        for composition in [0, 1, -1, 0x7f_ffff, -0x80_0000] {
            let body = Bytes::copy_from_slice(&video_frame(true, composition));
            let Video::Frame { composition_ms, .. } = video(&body).unwrap() else { panic!() };
            assert_eq!(composition_ms, composition);
        }
    }
}
