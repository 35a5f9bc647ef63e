//! What an initialisation segment says of its track, as an MPD needs it.

use std::fmt::Write;

use bytes::Bytes;
use media::codec::{Config, Ratio};
use media::mp4;

/// A track as its initialisation segment describes it: an older Period may have another codec or size
/// than the broadcast has today.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// RFC 6381 codec string.
    pub codec: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Video {
        width: u32,
        height: u32,
        /// Width at which it is shown.
        display_width: u32,
        /// Shape of a pixel, where that is no square.
        sample_aspect: Option<Ratio>,
        frame_rate: Option<Ratio>,
    },
    Audio {
        sample_rate: u32,
        channels: u8,
    },
}

impl Content {
    /// Reads an initialisation segment. None if it is not one of ours.
    pub fn from_init(init: &Bytes) -> Option<Self> {
        let movie = mp4::demux(init).ok()?;
        movie.tracks.first().map(|track| Self::new(&track.config))
    }

    /// The content of a track with this configuration.
    pub fn new(config: &Config) -> Self {
        let kind = match config {
            Config::Video(video) => Kind::Video {
                width: video.width,
                height: video.height,
                display_width: video.display_width(),
                sample_aspect: video.sample_aspect.filter(|sar| sar.num() != sar.den()),
                frame_rate: video.frame_rate,
            },
            Config::Audio(audio) => {
                Kind::Audio { sample_rate: audio.output_sample_rate, channels: audio.channels }
            }
        };
        Self { codec: config.codec_string(), kind }
    }

    /// The same pictures in another size and codec, with square pixels.
    pub(super) fn resized(&self, codec: &str, (width, height): (u32, u32)) -> Self {
        let frame_rate = match self.kind {
            Kind::Video { frame_rate, .. } => frame_rate,
            Kind::Audio { .. } => None,
        };
        let (display_width, sample_aspect) = (width, None);
        let kind = Kind::Video { width, height, display_width, sample_aspect, frame_rate };
        Self { codec: codec.to_owned(), kind }
    }

    /// Sound of this codec.
    pub(super) fn sound(codec: &str, sample_rate: u32, channels: u8) -> Self {
        Self { codec: codec.to_owned(), kind: Kind::Audio { sample_rate, channels } }
    }

    /// Width and height at which pictures are shown.
    pub fn display_size(&self) -> Option<(u32, u32)> {
        match self.kind {
            Kind::Video { display_width, height, .. } => Some((display_width, height)),
            Kind::Audio { .. } => None,
        }
    }

    /// The shape of pictures whose pixels are not square: width to height, as they are shown.
    pub(super) fn picture_aspect(&self) -> Option<(u64, u64)> {
        let Kind::Video { width, height, sample_aspect: Some(sar), .. } = self.kind else {
            return None;
        };
        let wide = u64::from(width) * u64::from(sar.num());
        let high = u64::from(height) * u64::from(sar.den());
        let (mut divisor, mut rest) = (wide, high);
        while rest > 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        Some((wide / divisor.max(1), high / divisor.max(1)))
    }

    pub(super) fn is_video(&self) -> bool {
        matches!(self.kind, Kind::Video { .. })
    }

    /// Codecs of one family can follow each other in one buffer: the four characters in front.
    pub(super) fn family(&self) -> &str {
        self.codec.split('.').next().unwrap_or(&self.codec)
    }

    pub(super) fn write_attributes(&self, out: &mut String) {
        match self.kind {
            Kind::Video { width, height, sample_aspect, frame_rate, .. } => {
                // §5.3.7.2: as they are coded, and the shape of a pixel beside it.
                let _ = write!(out, " width=\"{width}\" height=\"{height}\"");
                if let Some(sar) = sample_aspect {
                    let _ = write!(out, " sar=\"{}:{}\"", sar.num(), sar.den());
                }
                if let Some(rate) = frame_rate {
                    let _ = match rate.den() {
                        1 => write!(out, " frameRate=\"{}\"", rate.num()),
                        den => write!(out, " frameRate=\"{}/{den}\"", rate.num()),
                    };
                }
            }
            Kind::Audio { sample_rate, .. } => {
                let _ = write!(out, " audioSamplingRate=\"{sample_rate}\"");
            }
        }
    }

    pub(super) fn write_channels(&self, out: &mut String) {
        if let Kind::Audio { channels, .. } = self.kind {
            let _ = writeln!(
                out,
                "        <AudioChannelConfiguration \
                 schemeIdUri=\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" \
                 value=\"{channels}\"/>"
            );
        }
    }
}
