//! What a decoder must know before the first frame, per codec, and what the bitstream says about each frame.
//!
//! A further codec is a further variant of [`VideoCodec`] or [`AudioCodec`], a file beside `h264` and `aac`, and an arm in
//! `stream`, through which protocols feed them.

pub mod aac;
pub mod ac3;
pub mod av1;
pub mod captions;
pub mod flac;
pub mod h264;
pub mod hevc;
pub mod mp3;
pub mod opus;
mod stream;
pub mod vpx;
mod vui;

pub use stream::{AccessUnit, AudioFormat, AudioStream, SoundUnit, VideoFormat, VideoStream};

use std::fmt;
use std::sync::Arc;

use crate::limits;

/// What a peer did wrong in a decoder configuration or a bitstream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes end before the field that is named.
    #[error("{codec}: ends before {field}")]
    Truncated {
        /// Codec in words.
        codec: &'static str,
        /// The field that is missing.
        field: &'static str,
    },
    /// A value that the specification does not allow.
    #[error("{codec}: {what}")]
    Malformed {
        /// Codec in words.
        codec: &'static str,
        /// What is wrong, in words.
        what: &'static str,
    },
    /// Legal, but not carried by this server.
    #[error("{codec}: {what} is not supported")]
    Unsupported {
        /// Codec in words.
        codec: &'static str,
        /// The feature by its name.
        what: &'static str,
    },
    /// Beyond a bound of [`limits`].
    #[error("{codec}: {what} is larger than {max}")]
    TooLarge {
        /// Codec in words.
        codec: &'static str,
        /// What is too large.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// No decoder configuration has arrived yet, neither in a header nor in band.
    #[error("{codec}: no decoder configuration has arrived yet")]
    NoConfiguration {
        /// Codec in words.
        codec: &'static str,
    },
}

impl Error {
    /// The same under another codec's name: for what codecs share.
    pub(crate) fn of(self, codec: &'static str) -> Self {
        match self {
            Self::Truncated { field, .. } => Self::Truncated { codec, field },
            Self::Malformed { what, .. } => Self::Malformed { codec, what },
            Self::Unsupported { what, .. } => Self::Unsupported { codec, what },
            Self::TooLarge { what, max, .. } => Self::TooLarge { codec, what, max },
            Self::NoConfiguration { .. } => Self::NoConfiguration { codec },
        }
    }
}

/// A positive ratio in lowest terms: frame rates, sample aspect ratios.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ratio {
    num: u32,
    den: u32,
}

impl Ratio {
    /// `None` when either side is zero.
    pub fn new(num: u32, den: u32) -> Option<Self> {
        if num == 0 || den == 0 {
            return None;
        }
        let (mut a, mut b) = (num, den);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        Some(Self { num: num / a, den: den / a })
    }

    /// The rate that an encoder means by a float such as 29.97 or 30.0: one of the broadcast rates or an integer if it
    /// is within 0.005 of it, else thousandths. `None` when it is no plausible rate.
    pub fn from_frame_rate(rate: f64) -> Option<Self> {
        if !(0.1..=f64::from(limits::FRAME_RATE_MAX)).contains(&rate) {
            return None;
        }
        let near = |r: &Self| (r.as_f64() - rate).abs() < 0.005;
        // In this range the casts are exact enough and cannot overflow.
        let integer = Self::new(rate.round() as u32, 1);
        integer
            .filter(near)
            .or_else(|| {
                [24, 30, 48, 60, 120].iter().filter_map(|n| Self::new(n * 1000, 1001)).find(near)
            })
            .or_else(|| Self::new((rate * 1000.0).round() as u32, 1000))
    }

    /// Numerator, never zero.
    pub fn num(self) -> u32 {
        self.num
    }

    /// Denominator, never zero.
    pub fn den(self) -> u32 {
        self.den
    }

    /// As a float, for texts.
    pub fn as_f64(self) -> f64 {
        f64::from(self.num) / f64::from(self.den)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.num, self.den)
    }
}

/// A decoder configuration. Comparing two says whether a new initialisation segment is needed; cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Config {
    /// Pictures.
    Video(VideoConfig),
    /// Sound.
    Audio(AudioConfig),
}

impl Config {
    /// RFC 6381 codec string, such as `avc1.64001f`.
    pub fn codec_string(&self) -> String {
        match self {
            Self::Video(v) => v.codec_string(),
            Self::Audio(a) => a.codec_string(),
        }
    }

    /// The timescale of a track with this configuration: 90,000 for video, the sample rate for audio (DESIGN §4).
    pub fn timescale(&self) -> u32 {
        match self {
            Self::Video(_) => VIDEO_TIMESCALE,
            Self::Audio(a) => a.sample_rate,
        }
    }
}

/// Ticks per second of every video track (DESIGN §4).
pub const VIDEO_TIMESCALE: u32 = 90_000;

/// A video codec with its configuration record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VideoCodec {
    /// H.264; length-prefixed NAL units with 4-byte lengths.
    H264(Arc<h264::DecoderConfiguration>),
    /// HEVC; length-prefixed NAL units with 4-byte lengths.
    Hevc(Arc<hevc::DecoderConfiguration>),
    /// AV1; temporal units without delimiters, each OBU with its size.
    Av1(Arc<av1::CodecConfiguration>),
    /// VP9 or VP8; frames and superframes as they are.
    Vpx(vpx::CodecConfiguration),
}

/// Colour as ISO 23091-2 code points (`colr` box of type `nclx`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    /// colour_primaries
    pub primaries: u8,
    /// transfer_characteristics
    pub transfer: u8,
    /// matrix_coefficients
    pub matrix: u8,
    /// video_full_range_flag
    pub full_range: bool,
}

/// Pictures: what a player must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoConfig {
    /// The codec and its record.
    pub codec: VideoCodec,
    /// Width in pixels after cropping.
    pub width: u32,
    /// Height in pixels after cropping.
    pub height: u32,
    /// Shape of a pixel; `None` = unknown, to be taken as 1:1.
    pub sample_aspect: Option<Ratio>,
    /// Nominal frame rate that the bitstream states.
    pub frame_rate: Option<Ratio>,
    /// Colour, where the bitstream states it.
    pub colour: Option<Colour>,
}

impl VideoConfig {
    /// RFC 6381 codec string.
    pub fn codec_string(&self) -> String {
        match &self.codec {
            VideoCodec::H264(record) => record.codec_string(),
            VideoCodec::Hevc(record) => record.codec_string(),
            VideoCodec::Av1(record) => record.codec_string(),
            VideoCodec::Vpx(record) => record.codec_string(),
        }
    }

    /// Width at which the picture is shown when its height is kept.
    pub fn display_width(&self) -> u32 {
        let Some(sar) = self.sample_aspect else {
            return self.width;
        };
        let wide = (u64::from(self.width) * u64::from(sar.num()) + u64::from(sar.den()) / 2)
            / u64::from(sar.den());
        u32::try_from(wide)
            .ok()
            .filter(|w| (1..=limits::PICTURE_SIDE_MAX * 4).contains(w))
            .unwrap_or(self.width)
    }
}

/// An audio codec with its configuration record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AudioCodec {
    /// AAC; raw access units without ADTS headers.
    Aac(aac::AudioSpecificConfig),
    /// Opus packets.
    Opus(opus::Head),
    /// AC-3 or E-AC-3 sync frames.
    Ac3(ac3::Configuration),
    /// FLAC frames.
    Flac(flac::StreamInfo),
    /// MP3 frames.
    Mp3(mp3::Configuration),
}

/// Sound: what a player must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioConfig {
    /// The codec and its record.
    pub codec: AudioCodec,
    /// Samples per second in which the track is counted (the core rate; with SBR half of what is heard).
    pub sample_rate: u32,
    /// Samples per second that a decoder puts out.
    pub output_sample_rate: u32,
    /// Channels that a decoder puts out, without parametric stereo.
    pub channels: u8,
    /// Samples of one access unit at [`Self::sample_rate`]; of codecs whose packets differ, what is usual.
    pub samples_per_frame: u32,
}

impl AudioConfig {
    /// RFC 6381 codec string.
    pub fn codec_string(&self) -> String {
        match &self.codec {
            AudioCodec::Aac(asc) => asc.codec_string(),
            // Opus-in-ISOBMFF §4.4 and FLAC-in-ISOBMFF §3.4: the name of the sample entry.
            AudioCodec::Opus(_) => "Opus".to_owned(),
            AudioCodec::Flac(_) => "fLaC".to_owned(),
            AudioCodec::Ac3(config) => config.codec_string(),
            AudioCodec::Mp3(config) => config.codec_string(),
        }
    }

    /// A frame of [`samples_per_frame`](Self::samples_per_frame) in which nothing is heard, where one can be made: of all usual
    /// ones but AAC of more than six channels, Opus of several streams and E-AC-3 of substreams that depend on others.
    pub fn silence(&self) -> Option<Vec<u8>> {
        match &self.codec {
            AudioCodec::Aac(asc) => asc.silence().map(<[u8]>::to_vec),
            AudioCodec::Opus(head) => head.silence().map(<[u8]>::to_vec),
            AudioCodec::Flac(info) => Some(info.silence()),
            AudioCodec::Ac3(config) => config.silence(),
            AudioCodec::Mp3(config) => config.silence(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_rates_that_encoders_declare() {
        let table = [
            (29.97, Some((30_000, 1001))),
            (29.97003, Some((30_000, 1001))),
            (23.976, Some((24_000, 1001))),
            (23.98, Some((24_000, 1001))),
            (59.94, Some((60_000, 1001))),
            (30.0, Some((30, 1))),
            (25.0, Some((25, 1))),
            (12.5, Some((25, 2))),
            (0.0, None),
            (f64::NAN, None),
            (1e9, None),
        ];
        for (rate, expect) in table {
            assert_eq!(Ratio::from_frame_rate(rate).map(|r| (r.num(), r.den())), expect, "{rate}");
        }
    }
}
